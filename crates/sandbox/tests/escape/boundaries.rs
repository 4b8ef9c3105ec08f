//! Attacks at the boundary itself: standard streams, the terminal, the first process, the host at work in the same folder,
//! and two sandboxes side by side. Each has its control outside, as the attacks of the list have.

use crate::ground::{Case, Ground, How, Person, Range, SECRET, Said, heard};
use sandbox::Outcome;
use sandbox::profile::End;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A program run where `how` says, in `ground`'s workspace.
fn command(range: &Range, ground: &Ground, how: How, program: &[&str]) -> Command {
    if how == How::Outside {
        let mut command = ground.person.command(Path::new(program[0]));
        command.args(&program[1..]).envs(ground.environment(range, how)).current_dir(&ground.work);
        command
    } else {
        ground.confined(range, ground.profile(range, "ReadWrite", how), program, ground.state())
    }
}

/// Each attack outside, where it must work, and inside, where it must not.
fn each(name: &str, works: impl Fn(&Range, &Ground, How) -> bool, stage: &str) {
    let range = Range::open();
    let mut holes = Vec::new();
    for person in Person::all() {
        for how in [How::Outside, How::Inside] {
            let ground = Ground::lay(&range, person, &Case::plain(stage));
            let worked = works(&range, &ground, how);
            match how {
                How::Outside if !worked => println!("{person}: {name} skipped: fails outside too"),
                How::Inside if worked => holes.push(format!("{person}: HOLE {name}")),
                _ => {}
            }
        }
    }
    assert!(holes.is_empty(), "{}", holes.join("\n"));
}

fn python(range: &Range, ground: &Ground, how: How, script: &str) -> Command {
    command(range, ground, how, &["/usr/bin/python3", "-S", "-E", "-c", script])
}

#[test]
fn output_file_is_not_read() {
    let script = "import os\nfor m in (os.O_RDONLY, os.O_RDWR):\n try: got = os.read(os.open('/proc/self/fd/1', m | os.O_NONBLOCK), 999); open('got','ab').write(got)\n except OSError: pass";
    each(
        "a file given as output, read back",
        |range, ground, how| {
            ground.write_file("out/log", SECRET);
            let log = OpenOptions::new().append(true).open(ground.at("out/log")).unwrap();
            python(range, ground, how, script).stdout(log).status().unwrap();
            fs::read_to_string(ground.at("work/got")).is_ok_and(|got| got.contains(SECRET))
        },
        "",
    );
}

#[test]
fn output_file_keeps_what_it_held() {
    let script =
        "import os, fcntl\nos.ftruncate(1, 0)\nfcntl.fcntl(1, fcntl.F_SETFL, 0)\nos.pwrite(1, b'gone', 0)";
    each(
        "a file given as output for appending, truncated",
        |range, ground, how| {
            ground.write_file("out/log", SECRET);
            let log = OpenOptions::new().append(true).open(ground.at("out/log")).unwrap();
            python(range, ground, how, script).stdout(log).status().unwrap();
            !fs::read_to_string(ground.at("out/log")).unwrap().contains(SECRET)
        },
        "",
    );
}

#[test]
fn input_file_is_not_written() {
    let script = "import os\nfor p in ('/proc/self/fd/0', '/dev/stdin', '/dev/fd/0'):\n try: os.write(os.open(p, os.O_RDWR | os.O_TRUNC), b'mark')\n except OSError: pass";
    each(
        "a file given as input, written",
        |range, ground, how| {
            let input = fs::File::open(ground.at("out/canary")).unwrap();
            python(range, ground, how, script).stdin(input).status().unwrap();
            !fs::read_to_string(ground.at("out/canary")).unwrap().contains(SECRET)
        },
        "",
    );
}

#[test]
fn input_file_keeps_its_mode() {
    let script = "import os\nfor step in (lambda: os.fchmod(0, 0o777), lambda: os.utime(0, (1, 1)), lambda: os.setxattr(0, 'user.mark', b'1')):\n try: step()\n except OSError: pass";
    each(
        "a file given as input, opened to everybody",
        |range, ground, how| {
            let before = fs::metadata(ground.at("out/canary")).unwrap();
            let input = fs::File::open(ground.at("out/canary")).unwrap();
            python(range, ground, how, script).stdin(input).status().unwrap();
            let after = fs::metadata(ground.at("out/canary")).unwrap();
            after.permissions() != before.permissions()
                || after.modified().unwrap() != before.modified().unwrap()
        },
        "",
    );
}

#[test]
fn input_folder_leads_nowhere() {
    each(
        "a folder given as input",
        |range, ground, how| {
            let input = fs::File::open(ground.at("out")).unwrap();
            let script = "cat /proc/self/fd/0/canary > got";
            let mut reading = command(range, ground, how, &["/bin/sh", "-c", script]);
            reading.stdin(input).stderr(Stdio::null()).status().unwrap();
            fs::read_to_string(ground.at("work/got")).is_ok_and(|got| got.contains(SECRET))
        },
        "",
    );
}

#[test]
fn terminal_is_not_typed_into() {
    each(
        "typing into the caller's terminal",
        |range, ground, how| {
            let script = range.attacks().join("terminal.py").display().to_string();
            let typing = command(range, ground, how, &["/usr/bin/python3", "-S", "-E", &script, "type"]);
            let mut watch = Command::new("/usr/bin/python3");
            watch.args(["-S", "-E", &script, "watch"]).arg(typing.get_program()).args(typing.get_args());
            watch.envs(typing.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
            watch.current_dir(&ground.work);
            heard(&mut watch, false).output.contains(&ground.token)
        },
        "",
    );
}

#[test]
fn first_process_outlasts_signals() {
    let range = Range::open();
    let script = "import os, time\nfor s in range(1, 65):\n for _ in range(3):\n  try: os.kill(1, s)\n  except OSError: pass\n\
                  for _ in range(2000): os.kill(1, 17)\ntime.sleep(0.1)\nos._exit(7)";
    for person in Person::all() {
        let ground = Ground::lay(&range, person, &Case::plain(""));
        let said: Said = heard(&mut python(&range, &ground, How::Inside, script), false);
        let outcome: Outcome = serde_json::from_slice(&fs::read(ground.at("outcome")).unwrap_or_default())
            .unwrap_or_else(|_| panic!("{person}: no outcome: {}", said.error));
        assert_eq!(outcome.end, End::Exited(7), "{person}");
    }
}

/// The payload tries, every few milliseconds, to write a protected file; meanwhile the host does its work.
fn while_host_works(name: &str, stage: &str, target: &str, work: &str) {
    let script = format!(
        "import os, time\nprint('UP', flush=True)\nfor _ in range(150):\n try:\n  open('{target}', 'a').write('# ' + os.environ['TOKEN'] + '\\n')\n except OSError: pass\n time.sleep(0.01)"
    );
    each(
        name,
        |range, ground, how| {
            let mut child = python(range, ground, how, &script)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            let _ = ground.shell(&format!("cd '{}'; {work}", ground.work.display())).output();
            child.wait().unwrap();
            fs::read_to_string(ground.at("work").join(target)).is_ok_and(|all| all.contains(&ground.token))
        },
        stage,
    );
}

#[test]
fn host_sets_git_configuration_meanwhile() {
    // git writes a new file and renames it upon the old one, which takes every mount off that name in every namespace.
    while_host_works("`git config` on the host during a run", "git", ".git/config", "git config user.name b");
}

#[test]
fn host_removes_a_reserved_folder_meanwhile() {
    while_host_works("an empty folder removed on the host during a run", "", ".envrc", "rmdir .envrc");
}

#[test]
fn another_gate_ends_meanwhile() {
    let range = Range::open();
    let mut holes = Vec::new();
    for person in Person::all() {
        let ground = Ground::lay(&range, person, &Case::plain(""));
        fs::create_dir(ground.at("state2")).unwrap();
        crate::ground::give(&ground.at("state2"), person);
        let script = "import os, time\nprint('UP', flush=True)\nfor _ in range(150):\n try: open('.envrc', 'a').write(os.environ['TOKEN'])\n except OSError: pass\n time.sleep(0.01)";
        let profile = || ground.profile(&range, "ReadWrite", How::Inside);
        // The first gate reserves the name and ends first; the second found it there.
        let mut first = ground
            .confined(&range, profile(), &["sh", "-c", "echo UP; sleep 0.7"], ground.at("state2"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(first.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let mut second = python(&range, &ground, How::Inside, script).stdout(Stdio::null()).spawn().unwrap();
        first.wait().unwrap();
        second.wait().unwrap();
        let planted = fs::read_to_string(ground.at("work/.envrc")).unwrap_or_default();
        if planted.contains(&ground.token) {
            holes.push(format!("{person}: HOLE the end of a gate with another state gives names away"));
        }
    }
    assert!(holes.is_empty(), "{}", holes.join("\n"));
}

#[test]
fn two_sandboxes_share_only_the_workspace() {
    let range = Range::open();
    let cases = range.cases();
    let mut holes = Vec::new();
    for person in Person::all() {
        let ground = Ground::lay(&range, person, &Case::plain(""));
        fs::create_dir(ground.at("work/near")).unwrap();
        crate::ground::give(&ground.at("work/near"), person);
        let neighbour = range.attacks().join("neighbour.py").display().to_string();
        let near = ground.at("work/near").display().to_string();
        let name = format!("inner-{}-{}", std::process::id(), person.id());
        let line = ["/usr/bin/python3", &neighbour, &near, SECRET, &name];
        let mut profile = ground.profile(&range, "ReadWrite", How::Inside);
        profile.environment.insert("PASSWORD".to_owned(), SECRET.to_owned());
        profile.limits.wall_ms = None;
        let mut running = ground.confined(&range, profile, &line, ground.state());
        let mut running =
            running.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut told = String::new();
        BufReader::new(running.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
        let mut told: serde_json::Value = serde_json::from_str(&told).unwrap();
        // The workspace is shared, so a socket in it is.
        told["sockets"].as_array_mut().unwrap().retain(|path| !path.as_str().unwrap().starts_with(&near));
        let mut tried = 0;
        for name in [
            "environments",
            "daemon_sockets",
            "abstract_sockets",
            "shared_memory",
            "shared_memory_files",
            "message_queue",
            "message_queue_written",
            "posix_queue",
            "loopback",
            "datagrams",
            "command_lines",
        ] {
            assert!(cases.iter().any(|case| case.name == name), "{name}");
            let script = range.attacks().join("attack.py").display().to_string();
            let mut profile = ground.profile(&range, "ReadWrite", How::Inside);
            profile.environment.insert("NEAR".to_owned(), told.to_string());
            let mut attack = ground.confined(
                &range,
                profile,
                &["/usr/bin/python3", "-S", "-E", &script, name, "direct"],
                ground.state(),
            );
            // Its own order's name would hold the secret; that is another case.
            let said = heard(&mut attack, false);
            let arrived = fs::read_to_string(ground.at("work/near/arrived"))
                .unwrap_or_default()
                .contains(&ground.token);
            let output = said.output.replace(&format!("order-{SECRET}.json"), "");
            assert!(said.output.contains("BEGUN"), "{name}: {}", said.error);
            tried += 1;
            if arrived || output.contains(SECRET) {
                holes.push(format!("{person}: HOLE {name} between two sandboxes"));
            }
        }
        drop(running.stdin.take());
        running.wait().unwrap();
        println!("{person}: {tried} attacks between two sandboxes");
    }
    assert!(holes.is_empty(), "{}", holes.join("\n"));
}
