//! `bailiwick run` with small programs as agents: what they see, what they cannot reach, and what is left when something dies.
//! The wall, the gate and the launcher are real; no client is needed.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod common;

use common::{Project, Ran, eventually, finish};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const POLICY: &str = "permit (principal, action, resource);\n";

fn project() -> Project {
    let project = Project::bare();
    let init = project.run(&["init", "--yes"]);
    assert_eq!(init.code, 0, "{init:?}");
    project.only_policy(POLICY);
    project
}

fn configure(project: &Project, text: &str) {
    let path = project.config().join("bailiwick.toml");
    let before = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(path, format!("{before}\n{text}")).expect("the configuration");
}

/// `bailiwick run OPTIONS -- sh -c SCRIPT`, whose state is the project's own, doors and all.
fn launcher(project: &Project, options: &[&str], script: &str) -> Command {
    let mut command = project.bailiwick();
    command.arg("run").args(options).args(["--", "sh", "-c", script]);
    command.env("XDG_DATA_HOME", data(project)).env("SOME_KEY", "key-of-the-operator");
    command
}

fn data(project: &Project) -> PathBuf {
    project.path().with_file_name("data")
}

fn ran(project: &Project, options: &[&str], script: &str) -> Ran {
    finish(&mut launcher(project, options, script), b"")
}

/// Doors that stand open, wherever this project's gate keeps them.
fn doors(project: &Project) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![data(project), project.state()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if folder.ends_with("doors") {
                found.push(path);
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
    found
}

/// Processes that name this project or its door in their command line or environment, but for this one.
fn left(project: &Project) -> Vec<(u32, String)> {
    let mark = project.path().parent().expect("a folder").display().to_string();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").expect("proc").flatten() {
        let Ok(id) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
        let [line, variables] =
            ["cmdline", "environ"].map(|name| String::from_utf8_lossy(&read(name)).into_owned());
        if id != std::process::id() && (line.contains(&mark) || variables.contains(&mark)) {
            found.push((id, line.replace('\0', " ")));
        }
    }
    found
}

fn gate_of(project: &Project) -> Option<u32> {
    left(project).into_iter().find(|(_, line)| line.contains(" serve ")).map(|(id, _)| id)
}

fn kill9(id: u32) {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("it was running");
}

fn nothing_is_left(project: &Project) {
    eventually("every process has ended", || left(project).is_empty().then_some(()));
    eventually("every door is gone", || doors(project).is_empty().then_some(()));
}

/// An agent that runs until a second after its standard input has ended, having said a first line. Its input comes through its launcher,
/// and so ends with it.
fn waiting(project: &Project, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child =
        launcher(project, &["--quiet"], &format!("{script}\necho here; cat > /dev/null; sleep 1; echo over"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the launcher starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while line != "here\n" {
        line.clear();
        assert!(out.read_line(&mut line).expect("a line") > 0, "the agent ended early: {}", said(&mut child));
    }
    (child, out)
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    drop(child.kill());
    if let Some(errors) = &mut child.stderr {
        drop(std::io::Read::read_to_string(errors, &mut text));
    }
    text
}

#[test]
fn an_end_is_the_agents_own() {
    let project = project();
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        let ended = ran(&project, &["--quiet"], script);
        assert_eq!((ended.code, ended.err.as_str()), (code, ""), "{script}: {ended:?}");
    }
    let echoed = finish(&mut launcher(&project, &["--quiet"], "cat; echo end"), b"one\ntwo\n");
    assert_eq!(echoed.out, "one\ntwo\nend\n", "its input is read to the end: {echoed:?}");
    nothing_is_left(&project);
}

#[test]
fn a_signal_to_the_launcher_reaches_the_agent() {
    let project = project();
    let script = "trap 'echo caught; exit 7' TERM; echo here; while :; do sleep 0.05; done";
    let mut child =
        launcher(&project, &["--quiet"], script).stdout(Stdio::piped()).spawn().expect("the launcher");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    out.read_line(&mut line).expect("a line");
    assert_eq!((line.as_str(), child.wait().expect("it ends").code()), ("here\ncaught\n", Some(7)));
    nothing_is_left(&project);
}

#[test]
fn what_is_the_operators_is_not_inside() {
    let project = project();
    let home = project.path().with_file_name("home");
    std::fs::create_dir_all(home.join(".ssh")).expect("a folder");
    std::fs::write(home.join(".ssh/id"), "key-of-the-operator").expect("a key");
    let looks = format!(
        "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; cat {0}/.ssh/id; ls -a {0} {1} {2}; ls $(dirname $BAILIWICK_DOOR)",
        home.display(),
        project.config().display(),
        project.state().display()
    );
    let inside = ran(&project, &["--quiet"], &looks);
    assert!(
        inside.out.contains("BAILIWICK_DOOR=") && inside.out.lines().any(|line| line == "door"),
        "{inside:?}"
    );
    for hidden in [
        "key-of-the-operator",
        "SOME_KEY",
        "BAILIWICK_STATE",
        "bailiwick.toml",
        "journal",
        "gate.sock",
        "token",
    ] {
        assert!(!inside.out.contains(hidden), "{hidden}: {inside:?}");
    }
    // The nearest that is: what somebody names.
    let named = ran(&project, &["--quiet", "--env", "SOME_KEY", "--env", "OTHER=1"], "echo $SOME_KEY $OTHER");
    assert_eq!(named.out, "key-of-the-operator 1\n", "{named:?}");
    for planted in [
        ".git/hooks/post-checkout",
        ".envrc",
        ".vscode/tasks.json",
        ".claude/settings.json",
        ".mcp.json",
        ".bailiwick/policy/x.cedar",
    ] {
        let tried =
            ran(&project, &["--quiet"], &format!("mkdir -p $(dirname {planted}); echo x > {planted}"));
        assert!(tried.code != 0 && !project.path().join(planted).is_file(), "{planted}: {tried:?}");
    }
    let honest = ran(&project, &["--quiet"], "echo made > made");
    assert!(honest.code == 0 && project.path().join("made").is_file(), "{honest:?}");
}

#[test]
fn the_network_is_what_is_named_for_it() {
    let project = project();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let script = format!(
        "curl -sS -m 3 http://127.0.0.1:{port}/; curl -sS -m 3 http://192.0.2.2:{port}/; curl -sS -m 3 http://other.test/"
    );
    let tried = ran(&project, &["--quiet"], &script);
    assert!(tried.code != 0 && listener.accept().is_err(), "{tried:?}");
    // The same port by a name that leads there, at a gate that has read so.
    nothing_is_left(&project);
    configure(
        &project,
        &format!(
            "[agent.sh]\nworkspace = \"read-write\"\nnetwork = [{{ to = \"http://here.test:{port}\", private = [\"127.0.0.1\"], address = \"127.0.0.1\" }}]\n"
        ),
    );
    listener.set_nonblocking(false).expect("a listener");
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut line = String::new();
        drop(BufReader::new(stream.try_clone().expect("a stream")).read_line(&mut line));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nheard"));
        line
    });
    let reached = ran(&project, &["--quiet"], &format!("curl -sS -m 20 http://here.test:{port}/asked"));
    assert_eq!(reached.out, "heard", "{reached:?}");
    assert!(served.join().expect("it was reached").starts_with("GET /asked"));
}

#[test]
fn its_door_answers_no_operator() {
    let project = project();
    let ask = r#"
import json, os, socket
for opening in ({"control": "status"}, {"control": "approvals"}, {"control": {"grant": {"id": "a", "by": "me"}}}, {"launch": {}}, "x"):
    s = socket.socket(socket.AF_UNIX); s.connect(os.environ["BAILIWICK_DOOR"])
    s.sendall(json.dumps(opening).encode() + b"\n"); s.shutdown(socket.SHUT_WR)
    print(s.makefile().read().strip())
s = socket.socket(socket.AF_UNIX); s.connect(os.environ["BAILIWICK_DOOR"])
s.sendall(json.dumps({"hook": {"event": {"hook_event_name": "PreToolUse", "session_id": "s", "cwd": os.getcwd(), "tool_name": "Read",
    "tool_use_id": "toolu_1", "tool_input": {"file_path": os.getcwd() + "/made"}}}}).encode() + b"\n")
print(s.makefile().readline().strip())
"#;
    std::fs::write(project.path().join("ask.py"), ask).expect("a script");
    let asked = ran(&project, &["--quiet"], "/usr/bin/python3 ask.py");
    let answers: Vec<&str> = asked.out.lines().collect();
    assert_eq!(answers.len(), 6, "{asked:?}");
    for refused in &answers[..3] {
        assert!(refused.contains("this is the agent's door"), "{refused}");
    }
    assert!(answers[3..5].iter().all(|answer| answer.contains("error")), "{answers:?}");
    // The nearest that it does answer.
    assert!(answers[5].contains("\"permissionDecision\":\"allow\""), "{answers:?}");
    let by_program =
        ran(&project, &["--quiet"], &format!("{} approvals list", env!("CARGO_BIN_EXE_bailiwick")));
    assert!(by_program.code != 0 && by_program.out.is_empty(), "{by_program:?}");
    let alerts = project.records("alert");
    let refused = |alert: &&Value| alert["rule"] == "operator-request-from-inside";
    assert!(alerts.iter().filter(refused).count() >= 3, "{alerts:?}");
}

#[test]
fn a_command_is_handed_its_streams_and_no_other_file() {
    let project = project();
    let hand = r#"
import json, os, socket
for count in (3, 4, 2):
    s = socket.socket(socket.AF_UNIX); s.connect(os.environ["BAILIWICK_DOOR"])
    s.sendall(json.dumps({"shell": "--help"}).encode() + b"\n")
    lines = s.makefile(); lines.readline()
    socket.send_fds(s, [b"bwf\x01"], [os.open("/dev/null", os.O_RDWR) for _ in range(count)])
    print(lines.readline().strip())
"#;
    std::fs::write(project.path().join("hand.py"), hand).expect("a script");
    let handed = ran(&project, &["--quiet"], "/usr/bin/python3 hand.py");
    let answers: Vec<Value> =
        handed.out.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    // What is no permitted call does not run, however it is spelled; its end is told like any other.
    assert!(answers[0]["ok"]["status"].as_u64().is_some_and(|status| status != 0), "{handed:?}");
    assert!(answers[1..].iter().all(|answer| answer["error"].is_string()), "{handed:?}");
}

#[test]
fn two_runs_share_a_gate_and_outlive_each_other() {
    let project = project();
    let (mut first, mut first_out) = waiting(&project, "true");
    let gate = gate_of(&project).expect("a gate");
    let (mut second, second_out) = waiting(&project, "true");
    assert_eq!(gate_of(&project), Some(gate), "one gate serves both");
    assert_eq!(doors(&project).len(), 2);
    // The one that began the gate is killed; the other goes on, with a gate.
    let _input = first.stdin.take();
    kill9(first.id());
    first.wait().expect("it ends");
    let mut line = String::new();
    assert_eq!(
        first_out.read_line(&mut line).expect("the end"),
        0,
        "nothing inside outlives its launcher: {line}"
    );
    eventually("its door is gone", || (doors(&project).len() == 1).then_some(()));
    assert_eq!(gate_of(&project), Some(gate));
    let third = ran(&project, &["--quiet"], "echo third");
    assert_eq!(third.out, "third\n", "{third:?}");
    drop(second.stdin.take());
    let over: Vec<String> = second_out.lines().map_while(Result::ok).collect();
    assert_eq!((over, second.wait().expect("it ends").code()), (vec!["over".to_owned()], Some(0)));
    nothing_is_left(&project);
    assert_eq!(project.verifies().code, 0);
}

#[test]
fn nothing_inside_outlives_its_launcher() {
    let project = project();
    let (mut child, mut out) =
        waiting(&project, "(setsid sh -c 'while :; do sleep 0.1; date >> beat; done' &)");
    eventually("it beats", || project.path().join("beat").exists().then_some(()));
    // Held, or the agent would end for want of an input.
    let _input = child.stdin.take();
    kill9(child.id());
    child.wait().expect("it ends");
    let mut rest = String::new();
    drop(out.read_line(&mut rest));
    nothing_is_left(&project);
    let beats = std::fs::read(project.path().join("beat")).expect("beats");
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(std::fs::read(project.path().join("beat")).expect("beats"), beats, "it goes on");
    assert_eq!(rest, "", "it did not end by itself");
}

#[test]
fn a_killed_gate_leaves_neither_door_nor_network() {
    let project = project();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = heard.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
        }
    });
    let place =
        format!("{{ to = \"http://here.test:{port}\", private = [\"127.0.0.1\"], address = \"127.0.0.1\" }}");
    configure(
        &project,
        &format!(
            "[agent.sh]\nworkspace = \"read-write\"\nnetwork = [{place}]\nenv = {{ AT = \"http://here.test:{port}\" }}\n"
        ),
    );
    let beat = r#"
import os, socket, time, urllib.request
while True:
    try: urllib.request.urlopen(os.environ["AT"], timeout=2)
    except OSError: pass
    try:
        s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(os.environ["BAILIWICK_DOOR"])
        s.sendall(b'{"control":"status"}\n'); said = bool(s.makefile().readline())
    except OSError: said = False
    open("beat", "a").write("open\n" if said else "shut\n")
    time.sleep(0.02)
"#;
    std::fs::write(project.path().join("beat.py"), beat).expect("a script");
    let (mut child, _out) = waiting(&project, "/usr/bin/python3 beat.py &");
    let beats = |project: &Project| std::fs::read_to_string(project.path().join("beat")).unwrap_or_default();
    let heard = || heard.load(std::sync::atomic::Ordering::SeqCst);
    eventually("door and network answer", || (beats(&project).contains("open") && heard() > 3).then_some(()));
    kill9(gate_of(&project).expect("a gate"));
    // Either what is inside ends with the gate, or it finds the door shut from then on.
    eventually("the door is shut", || {
        (beats(&project).contains("shut") || child.try_wait().expect("its state").is_some()).then_some(())
    });
    let requests = heard();
    let until = beats(&project).lines().count() + 3;
    eventually("it tried again", || {
        (beats(&project).lines().count() >= until || child.try_wait().expect("its state").is_some())
            .then_some(())
    });
    assert_eq!(heard(), requests, "the network outlived the gate");
    let after = beats(&project);
    let after = after.split_once("shut").map_or("", |(_, after)| after);
    assert!(!after.contains("open"), "the door opened again: {after}");
    drop(child.stdin.take());
    child.wait().expect("it ends");
    eventually("every process has ended", || left(&project).is_empty().then_some(()));
    // A door of a killed gate leads nowhere; the next gate takes it away.
    let again = ran(&project, &["--quiet"], "echo again");
    assert_eq!(again.out, "again\n", "{again:?}");
    nothing_is_left(&project);
    assert_eq!(project.verifies().code, 0);
}

#[test]
fn a_terminal_is_the_agents_own() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: script, which makes a terminal, is not here");
        return;
    }
    let project = project();
    let inside = "tty; stty size; stty rows 50 cols 132; stty size; test -t 0 && test -t 1 && echo is-one";
    std::fs::write(project.path().join("inside.sh"), inside).expect("a script");
    let line = format!(
        "stty rows 24 cols 80; {} run --quiet -- sh inside.sh; echo code $?; stty size",
        env!("CARGO_BIN_EXE_bailiwick")
    );
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]);
    project.point(&mut script);
    let shown = finish(script.env("XDG_DATA_HOME", data(&project)), b"");
    let out = shown.out.replace('\r', "");
    for says in ["24 80\n50 132\n", "is-one", "code 0", "/dev/"] {
        assert!(out.contains(says), "{says}: {shown:?}");
    }
    assert!(!out.contains("not a tty"), "{shown:?}");
}

#[test]
fn an_overlay_keeps_changes_apart_and_the_report_tells() {
    let project = project();
    let report = project.path().with_file_name("report.json");
    let file = report.display().to_string();
    let script = "echo new > new; curl -sS -m 3 http://other.test/; exit 5";
    let told = ran(&project, &["--overlay", "mine", "--report", &file], script);
    assert_eq!(told.code, 5, "{told:?}");
    assert!(told.err.contains("1 changes are kept apart") && told.err.contains("--overlay mine"), "{told:?}");
    assert!(!project.path().join("new").exists());
    let read: Value = serde_json::from_slice(&std::fs::read(&report).expect("a report")).expect("JSON");
    assert_eq!(read["changed"], 1, "{read}");
    assert!(read["records"].as_u64().is_some_and(|count| count > 0), "{read}");
    let diff = finish(
        project.bailiwick().env("XDG_DATA_HOME", data(&project)).args([
            "sandbox",
            "diff",
            "--overlay",
            "mine",
        ]),
        b"",
    );
    assert!(diff.out.contains("new"), "{diff:?}");
    // In place, and without a report, nothing is said of changes.
    let plain = ran(&project, &["--report", &file], "echo new > new");
    assert!(project.path().join("new").exists() && !plain.err.contains("kept apart"), "{plain:?}");
    let read: Value = serde_json::from_slice(&std::fs::read(&report).expect("a report")).expect("JSON");
    assert_eq!(read["changed"], json!(null), "{read}");
}

#[test]
fn bad_input_is_named() {
    let nowhere = tempfile::tempdir().expect("a folder");
    let mut bare = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    bare.current_dir(nowhere.path())
        .env_remove("BAILIWICK_DIR")
        .env("HOME", nowhere.path())
        .args(["run", "--", "true"]);
    let none = finish(&mut bare, b"");
    assert!(none.code != 0 && none.err.contains("bailiwick init"), "{none:?}");
    let project = project();
    configure(&project, "[agent.wide]\nnetwork = \"host\"\n[agent.narrow]\nread = [\"/no/such/folder\"]\n");
    let run = |line: &[&str]| {
        let mut command = project.bailiwick();
        finish(command.arg("run").args(line).env("XDG_DATA_HOME", data(&project)), b"")
    };
    for (line, says) in [
        (
            vec!["--profile", "nobody", "--", "true"],
            "there is no [agent.nobody] in bailiwick.toml; there are narrow, wide",
        ),
        (
            vec!["--profile", "wide", "--", "true"],
            "[agent.wide]: an agent on the host's network passes no gate",
        ),
        (vec!["--profile", "narrow", "--", "true"], "/no/such/folder"),
        (vec!["--", "no-such-program"], "`no-such-program` is not on PATH"),
        (vec!["--", "./no-such-program"], "no-such-program"),
        (vec!["--env", "NOT_SET_AT_ALL", "--", "true"], "--env NOT_SET_AT_ALL"),
        (vec!["--env", "A=${secret:nobody}", "--", "true"], "nobody"),
        (vec![], "AGENT"),
    ] {
        let told = run(&line);
        assert!(told.code != 0 && told.err.contains(says), "{line:?}: {told:?}");
    }
    assert_eq!(run(&["--quiet", "--", "true"]).code, 0, "the nearest that is right");
    std::fs::write(project.config().join("bailiwick.toml"), "nonsense = [").expect("a configuration");
    nothing_is_left(&project);
    let broken = run(&["--", "true"]);
    assert!(broken.code != 0 && broken.err.contains("bailiwick.toml"), "{broken:?}");
    assert!(Path::new(&project.state()).exists());
}

#[test]
fn a_launch_finds_the_configuration_as_it_is_now() {
    let project = project();
    configure(&project, "[agent.sh]\nworkspace = \"read-write\"\nenv = { WORD = \"one\" }\n");
    let path = project.config().join("bailiwick.toml");
    let told = |project: &Project| ran(project, &["--quiet"], "echo $WORD");
    assert_eq!(told(&project).out, "one\n");
    let gate = gate_of(&project);
    assert!(told(&project).err.is_empty() && gate_of(&project) == gate, "nothing changed");
    let change = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&path).expect("a configuration").replace(from, to);
        std::fs::write(&path, text).expect("the configuration");
    };
    // Nobody else needs the old gate: a new one is there.
    change("one", "two");
    let fresh = told(&project);
    assert_eq!((fresh.out.as_str(), fresh.err.as_str()), ("two\n", ""), "{fresh:?}");
    assert_ne!(gate_of(&project), gate);
    // An agent still runs: the gate stays, and says so.
    let (mut child, _out) = waiting(&project, "true");
    change("two", "three");
    let beside = told(&project);
    assert_eq!(beside.out, "two\n", "{beside:?}");
    assert!(beside.err.contains("bailiwick.toml was changed"), "{beside:?}");
    // Policies are loaded anew in any case.
    project.only_policy("forbid (principal, action, resource);\n");
    let changed = told(&project);
    assert!(changed.err.contains("policies were changed, and are loaded anew"), "{changed:?}");
    assert!(!told(&project).err.contains("policies"), "said once");
    project.only_policy("no policy at all");
    let faulty = told(&project);
    assert!(faulty.code == 3 && faulty.err.contains("test.cedar"), "{faulty:?}");
    project.only_policy(POLICY);
    drop(child.stdin.take());
    child.wait().expect("it ends");
    let last = told(&project);
    assert_eq!((last.out.as_str(), last.err.as_str()), ("three\n", ""), "{last:?}");
    nothing_is_left(&project);
    assert_eq!(project.verifies().code, 0);
    // A gate that somebody serves is not ended, and says what it does not follow.
    let served = common::Gate::start(&project);
    change("three", "four");
    project.only_policy("permit (principal, action, resource) when { true };\n");
    let beside = told(&project);
    assert_eq!(beside.out, "three\n", "{beside:?}");
    assert!(beside.err.contains("until it is started again"), "{beside:?}");
    assert!(beside.err.contains("bailiwick policy reload"), "{beside:?}");
    drop(served);
}
