//! `bailiwick init` and `uninstall` on projects of several shapes, with real files, a real gate and a real `kill -9`: whatever was
//! agreed to, in the end every file of the project and of the home is what it was.

mod common;

#[path = "init/ground.rs"]
mod ground;

use common::eventually;
use ground::{Ground, KEYS, MOVE, SERVER, SHAPES};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::time::Duration;

#[test]
fn every_shape_is_put_back_byte_for_byte() {
    for (shape, build) in SHAPES {
        for consent in [&["--yes"][..], &MOVE] {
            let ground = Ground::new();
            build(&ground);
            let before = ground.digest();
            let init = ground.init(consent);
            assert_eq!(init.code, 0, "{shape} {consent:?}: {init:?}");
            let checked = ground.run(&["policy", "check"]);
            assert_eq!(checked.code, 0, "{shape} {consent:?}: {checked:?}");
            let outside = ground.holding_keys();
            if consent == MOVE {
                // What programs read themselves stays theirs, and so does what is the home's.
                let may = |name: &String| {
                    name.contains(".env") || name.contains("settings") || name.contains("home/")
                };
                assert!(outside.iter().all(may), "{shape}: {outside:?}");
            } else {
                assert_eq!(ground.digest_without_configuration(), before, "{shape}: nothing was agreed to");
                assert!(init.out.contains("left "), "{shape}: {init:?}");
            }
            assert!(!KEYS.iter().any(|key| init.out.contains(key) || init.err.contains(key)), "{init:?}");
            let gate = ground.gate();
            drop(gate);
            let undone = ground.run(&["uninstall", "--yes"]);
            assert_eq!(undone.code, 0, "{shape} {consent:?}: {undone:?}");
            assert_eq!(ground.digest(), before, "{shape} {consent:?}: {undone:?}");
            let again = ground.run(&["uninstall", "--yes"]);
            assert!(again.code == 0 && again.out.contains("nothing to put back"), "{again:?}");
        }
    }
}

#[test]
fn what_was_moved_works_through_the_gate_and_no_agent_sees_it() {
    let ground = Ground::new();
    let build = SHAPES.iter().find(|(shape, _)| *shape == "monorepo").expect("a shape").1;
    build(&ground);
    let before = ground.digest();
    assert_eq!(ground.init(&MOVE).code, 0);
    // As the client's own file says from now on, and no gate runs yet.
    let file: Value = ground.json(".mcp.json");
    let entry = &file["mcpServers"]["github"];
    let words: Vec<&str> =
        entry["args"].as_array().expect("arguments").iter().filter_map(Value::as_str).collect();
    assert_eq!(words, ["mcp", "--start", "github"], "{file}");
    // What it could reach it can reach, as long as nobody decides otherwise.
    assert!(ground.configuration().contains("[server.github.sandbox]\nnetwork = \"host\"\n"));
    let mut client = ground.command_of(entry["command"].as_str().expect("a command"), &words);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = client.stdin.take().expect("a pipe");
    let mut output = BufReader::new(client.stdout.take().expect("a pipe"));
    let mut ask = |message: Value| {
        writeln!(input, "{message}").expect("it listens");
        let mut line = String::new();
        output.read_line(&mut line).expect("it answers");
        line
    };
    let hello = ask(json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": common::hello() }));
    // The server says how long its key is, which is how it shows that it has the real one.
    assert!(hello.contains(&format!("key-{}", KEYS[0].len())), "{hello}");
    let tools = ask(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {} }));
    assert!(tools.contains("whoami"), "{tools}");
    drop(input);
    assert!(client.wait().expect("it ends").success());

    // An agent without settings of its own sees the project, and files with keys empty; they can be neither changed nor moved away.
    let script = "cat .env packages/*/.env* ; echo x > .env; rm -f .env; mv packages other; cat package.json";
    let inside = ground.run(&["run", "--quiet", "--", "sh", "-c", script]);
    assert!(inside.out.contains("workspaces"), "{inside:?}");
    assert!(!KEYS.iter().any(|key| inside.out.contains(key)), "{inside:?}");
    let undone = ground.run(&["uninstall", "--yes"]);
    assert_eq!((undone.code, ground.digest()), (0, before), "{undone:?}");
}

#[test]
fn a_kill_at_any_moment_leaves_what_uninstall_puts_back() {
    // Held where everything is written down and nothing is done: the store's lock is a pipe that nobody reads.
    let ground = Ground::new();
    (SHAPES[0].1)(&ground);
    let before = ground.digest();
    let lock = ground.secrets().join("secrets.lock");
    fs::create_dir_all(ground.secrets()).expect("a folder");
    fs::set_permissions(ground.secrets(), fs::Permissions::from_mode(0o700)).expect("its mode");
    ground.pipe(&lock);
    let mut init = ground.command(&["init", "--yes", "--keys", "move"]);
    let mut init =
        init.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("init");
    eventually("the record is written", || ground.record().filter(|record| record.exists()));
    init.kill().expect("kill -9");
    init.wait().expect("it is over");
    fs::remove_file(&lock).expect("the pipe");
    assert_eq!(ground.init(&MOVE).code, 2, "a second init does not go over a half one");
    assert_eq!(ground.run(&["uninstall", "--yes"]).code, 0);
    assert_eq!(ground.digest(), before);

    // And wherever it happens to be, from the first thing written to the last.
    let mut ends = (0, 0);
    for step in 0..40u64 {
        let mut init = ground.command(&["init", "--yes", "--keys", "move", "--no-claude-code"]);
        let mut init =
            init.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("init");
        let begun = (0..4_000).any(|_| {
            std::thread::sleep(Duration::from_micros(500));
            ground.record().is_some_and(|record| record.with_extension("new").exists() || record.exists())
                || init.try_wait().expect("a child").is_some()
        });
        assert!(begun, "init wrote nothing");
        std::thread::sleep(Duration::from_micros(step * step * 100));
        drop(init.kill());
        let is_whole = init.wait().expect("it is over").success();
        ends = (ends.0 + usize::from(!is_whole), ends.1 + usize::from(is_whole));
        let undone = ground.run(&["uninstall", "--yes"]);
        assert_eq!((undone.code, ground.digest()), (0, before.clone()), "step {step}: {undone:?}");
        // What the vault kept would be there already the next time.
        for name in ["db-url", "github-token", "session-secret"] {
            ground.run(&["secret", "rm", name]);
        }
    }
    assert!(ends.0 > 0, "every init was over before it was killed: {ends:?}");
}

#[test]
fn a_kill_on_the_way_back_leaves_the_rest_to_the_next() {
    let ground = Ground::new();
    (SHAPES[0].1)(&ground);
    let before = ground.digest();
    let mut midway = 0;
    for step in 0..30u64 {
        assert_eq!(ground.init(&[&MOVE[..], &["--no-claude-code"]].concat()).code, 0, "step {step}");
        let mut uninstall = ground.command(&["uninstall", "--yes", "--purge"]);
        let uninstall = uninstall.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut uninstall = uninstall.spawn().expect("uninstall");
        std::thread::sleep(Duration::from_micros(1_000 + step * step * 100));
        drop(uninstall.kill());
        midway += usize::from(!uninstall.wait().expect("it is over").success());
        let undone = ground.run(&["uninstall", "--yes", "--purge"]);
        assert_eq!((undone.code, ground.digest()), (0, before.clone()), "step {step}: {undone:?}");
    }
    assert!(midway > 0, "every uninstall was over before it was killed");
    assert_eq!(ground.init(&MOVE).code, 0, "and after all of it there is a whole one");
    assert_eq!(ground.run_with(&["secret", "rotate", "github-token"], b"another-value-1").code, 0);
    let purged = ground.run(&["uninstall", "--yes", "--purge"]);
    assert_eq!((purged.code, ground.digest()), (0, before), "{purged:?}");
    assert!(ground.record().is_none(), "nothing of the state is left");
    let left = ground.run(&["secret", "list"]).out;
    assert!(
        left.lines().count() == 1 && left.starts_with("github-token"),
        "only what nobody else has: {left}"
    );
}

#[test]
fn what_somebody_changed_since_is_said_and_not_lost() {
    let ground = Ground::new();
    (SHAPES[0].1)(&ground);
    let before = ground.digest();
    assert_eq!(ground.init(&MOVE).code, 0);
    assert_eq!(ground.init(&["--yes"]).code, 2, "a second init writes over nothing");
    let file = ground.project().join(".mcp.json");
    let edited = fs::read_to_string(&file).expect("the file").replace("\"plain\"", "\"renamed\"");
    fs::write(&file, &edited).expect("the file");
    let policy = ground.project().join(".bailiwick/policy/00-start.cedar");
    fs::write(&policy, "// mine\n").expect("the policy");
    fs::write(ground.project().join(".bailiwick/policy/50-mine.cedar"), "// mine too\n").expect("the policy");
    let now = ground.digest();
    let refused = ground.run(&["uninstall", "--yes"]);
    assert!(refused.code == 1 && refused.out.contains(".mcp.json was changed after"), "{refused:?}");
    assert_eq!(ground.digest(), now, "nothing was done");
    let unasked = ground.run(&["uninstall", "--force"]);
    assert!(unasked.code == 2 && ground.digest() == now, "{unasked:?}");
    let forced = ground.run(&["uninstall", "--yes", "--force"]);
    assert_eq!((forced.code, ground.digest()), (0, before), "{forced:?}");
    let kept = ground.kept();
    for text in [edited.as_str(), "// mine\n", "// mine too\n"] {
        assert!(kept.iter().any(|kept| kept == text), "{text}: {kept:?}");
    }
}

#[test]
fn keys_that_were_left_can_be_moved_later() {
    let ground = Ground::new();
    (SHAPES[0].1)(&ground);
    ground.program("claude", "#!/bin/sh\n");
    let before = ground.digest();
    let first = ground.init(&["--yes"]);
    assert!(first.code == 0 && first.out.contains("bailiwick init --keys move"), "{first:?}");
    // What somebody wrote in the meantime stays.
    let path = ground.project().join(".bailiwick/bailiwick.toml");
    let text = format!("# mine\n{}", ground.configuration());
    fs::write(&path, &text).expect("the configuration");
    let later = ground.init(&MOVE);
    assert_eq!(later.code, 0, "{later:?}");
    let now = ground.configuration();
    assert!(
        now.starts_with("# mine\n") && now.contains("GITHUB_TOKEN = \"${secret:github-token}\""),
        "{now}"
    );
    assert!(now.contains("[agent.claude]") && now.contains("hide = ["), "{now}");
    let holding = ground.holding_keys();
    assert!(holding.iter().all(|name| name.contains(".env")), "{holding:?}");
    assert_eq!(ground.run(&["policy", "check"]).code, 0);
    let inside = ground.run(&["run", "--quiet", "--", "sh", "-c", "cat .env .mcp.json"]);
    assert!(inside.out.contains("--start") && !inside.out.contains(KEYS[1]), "{inside:?}");
    let twice = ground.init(&MOVE);
    assert_eq!((twice.code, ground.configuration()), (0, now), "{twice:?}");
    fs::write(&path, format!("{}# and later\n", ground.configuration())).expect("the configuration");
    let undone = ground.run(&["uninstall", "--yes"]);
    assert_eq!((undone.code, ground.digest()), (0, before), "{undone:?}");
    assert!(ground.kept().iter().any(|kept| kept.ends_with("# and later\n")), "{undone:?}");
}

#[test]
fn clients_that_start_at_once_share_the_gate_that_the_first_began() {
    let ground = Ground::new();
    let build = SHAPES.iter().find(|(shape, _)| *shape == "ten servers").expect("a shape").1;
    build(&ground);
    assert_eq!(ground.init(&MOVE).code, 0);
    let mut clients: Vec<_> = [0, 2, 4, 6, 8]
        .map(|number| {
            let mut command = ground.command(&["mcp", "--start", &format!("server-{number}")]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts")
        })
        .into();
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": common::hello() });
    for client in &mut clients {
        let input = client.stdin.as_mut().expect("a pipe");
        writeln!(input, "{hello}").expect("it listens");
        let mut line = String::new();
        BufReader::new(client.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("it answers");
        assert!(line.contains(&format!("key-{}", KEYS[0].len())), "{line}");
    }
    let started = ground.run(&["journal", "show", "--json"]);
    let records: Value = serde_json::from_str(&started.out).expect("records");
    let starts =
        records.as_array().expect("records").iter().filter(|record| record["kind"] == "gate-started");
    assert_eq!(starts.count(), 1, "{records}");
    for mut client in clients {
        drop(client.stdin.take());
        assert!(client.wait().expect("it ends").success());
    }
    let undone = ground.run(&["uninstall", "--yes"]);
    assert_eq!(undone.code, 0, "the gate ends after its last client: {undone:?}");
}

#[test]
fn a_header_is_bound_to_its_host_and_place() {
    let table = [
        ("Authorization", "Bearer ", "place = \"bearer\"", "web-authorization"),
        ("X-Api-Key", "", "header = \"X-Api-Key\"", "web-x-api-key"),
        ("Authorization", "token ", "prefix = \"token \"", "web-authorization"),
    ];
    for (header, prefix, place, secret) in table {
        let ground = Ground::new();
        let headers = json!({ (header): format!("{prefix}{}", KEYS[1]) });
        let entry = json!({ "type": "http", "url": "https://mcp.invalid:8443/mcp", "headers": headers });
        ground.write(".mcp.json", &json!({ "mcpServers": { "web": entry } }).to_string());
        let init = ground.init(&MOVE);
        let text = ground.configuration();
        assert!(init.code == 0 && ground.holding_keys() == ["project/.mcp.json"], "{init:?}");
        for says in [&format!("{prefix}${{secret:{secret}}}"), "host = \"mcp.invalid:8443\"", place] {
            assert!(text.contains(says), "{says}: {text}");
        }
        // A gate believes it.
        drop(ground.gate());
    }
}

/// One odd thing in a project: how it is made, and what init says of it.
struct Odd {
    name: &'static str,
    make: fn(&Ground),
    says: &'static [&'static str],
    /// Whether the clients' file is changed all the same.
    changes: bool,
}

#[test]
fn odd_files_are_left_as_they_are() {
    let table = [
        Odd {
            name: "a clients' file that is no JSON",
            make: |ground| ground.write(".mcp.json", "{ \"mcpServers\": { \"github\": "),
            says: &[".mcp.json", "skipped"],
            changes: false,
        },
        Odd {
            name: "variables behind a link that leads outside",
            make: |ground| {
                fs::write(ground.home().join("outside.env"), format!("TOKEN={}\n", KEYS[1])).expect("a file");
                symlink(ground.home().join("outside.env"), ground.project().join(".env")).expect("a link");
            },
            says: &[".env: is a link, which is not followed"],
            changes: false,
        },
        Odd {
            name: "a clients' file behind a link that leads outside",
            make: |ground| {
                let outside = ground.home().join("shared.json");
                fs::write(&outside, ground::servers(&[("github", KEYS[0])])).expect("a file");
                symlink(outside, ground.project().join(".mcp.json")).expect("a link");
            },
            says: &["left     ", "is a link, which is not followed"],
            changes: false,
        },
        Odd {
            name: "a folder of clients' files behind a link that leads outside",
            make: |ground| {
                let outside = ground.home().join("cursor");
                fs::create_dir(&outside).expect("a folder");
                fs::write(outside.join("mcp.json"), ground::servers(&[("github", KEYS[0])])).expect("a file");
                symlink(outside, ground.project().join(".cursor")).expect("a link");
            },
            says: &["left     ", "its folder is a link that leads out of the project"],
            changes: false,
        },
        Odd {
            name: "variables that nobody may read",
            make: |ground| {
                ground.write(".env", &format!("TOKEN={}\n", KEYS[1]));
                fs::set_permissions(ground.project().join(".env"), fs::Permissions::from_mode(0o000))
                    .expect("a mode");
            },
            // Root may read everything.
            says: if rustix::process::geteuid().is_root() {
                &["TOKEN"]
            } else {
                &[".env: Permission denied"]
            },
            changes: false,
        },
        Odd {
            name: "a clients' file with two names",
            make: |ground| {
                ground.write(".mcp.json", &ground::servers(&[("github", KEYS[0])]));
                fs::hard_link(ground.project().join(".mcp.json"), ground.home().join("other.json"))
                    .expect("a name");
            },
            says: &["left     ", "hard links"],
            changes: false,
        },
        Odd {
            name: "a folder of that name",
            make: |ground| fs::create_dir(ground.project().join(".env")).expect("a folder"),
            says: &[],
            changes: false,
        },
        Odd {
            name: "a pipe of that name",
            make: |ground| ground.pipe(&ground.project().join(".env")),
            says: &[".env: is no plain file"],
            changes: false,
        },
        Odd {
            name: "bytes that are no text",
            make: |ground| {
                let line = format!("TOKEN={}\n", KEYS[1]);
                fs::write(
                    ground.project().join(".env"),
                    [&b"\xff\xfe\0="[..], b"\n", line.as_bytes()].concat(),
                )
                .expect("a file");
            },
            says: &["guarded  ", "TOKEN"],
            changes: false,
        },
        Odd {
            name: "carriage returns, a byte order mark, no last line break",
            make: |ground| {
                let text = ground::servers(&[("github", KEYS[0])]).replace('\n', "\r\n");
                ground.write(".mcp.json", &format!("\u{feff}{}", text.trim_end()));
                ground.write(".env", &format!("\u{feff}TOKEN={}\r\nOTHER_TOKEN={}", KEYS[1], KEYS[2]));
            },
            says: &["moved    github", "TOKEN", "OTHER_TOKEN"],
            changes: true,
        },
        Odd {
            name: "a variable twice, and one value in two files",
            make: |ground| {
                ground.write(".env", &format!("API_TOKEN={}\nAPI_TOKEN={}\n", KEYS[1], KEYS[2]));
                ground.write(".env.local", &format!("export API_TOKEN=\"{}\"\n", KEYS[1]));
            },
            says: &["API_TOKEN", "× 2"],
            changes: false,
        },
        Odd {
            name: "a server twice in one file",
            make: |ground| {
                let entry = ground::server(KEYS[0]);
                ground.write(
                    ".mcp.json",
                    &format!("{{\"mcpServers\": {{\"github\": {entry}, \"github\": {entry}}}}}"),
                );
            },
            says: &["moved    github"],
            changes: true,
        },
        Odd {
            name: "a key among the words of a command",
            make: |ground| {
                let entry =
                    json!({ "command": "/usr/bin/python3", "args": ["server.py", "--token", KEYS[0]] });
                ground.write(".mcp.json", &json!({ "mcpServers": { "github": entry } }).to_string());
            },
            says: &["left     github", "an argument of its command"],
            changes: false,
        },
        Odd {
            name: "a key for an address without TLS",
            make: |ground| {
                let headers = json!({ "Authorization": format!("Bearer {}", KEYS[0]) });
                let entry = json!({ "type": "http", "url": "http://127.0.0.1:9/mcp", "headers": headers });
                ground.write(".mcp.json", &json!({ "mcpServers": { "web": entry } }).to_string());
            },
            says: &["left     web", "https"],
            changes: false,
        },
        Odd {
            name: "a server that does not answer",
            make: |ground| {
                let entry = json!({ "command": "/bin/false", "env": { "API_TOKEN": KEYS[0] } });
                ground.write(".mcp.json", &json!({ "mcpServers": { "dead": entry } }).to_string());
            },
            says: &["kept     dead", "keeps starting it as before"],
            changes: false,
        },
    ];
    for odd in table {
        let ground = Ground::new();
        ground.write("server.py", SERVER);
        (odd.make)(&ground);
        let before = ground.digest();
        let init = ground.init(&MOVE);
        let said = init.out.clone() + &init.err;
        assert_eq!(init.code, 0, "{}: {init:?}", odd.name);
        for says in odd.says {
            assert!(said.contains(says), "{}: `{says}`: {said}", odd.name);
        }
        assert_eq!(ground.digest_without_configuration() != before, odd.changes, "{}: {said}", odd.name);
        let undone = ground.run(&["uninstall", "--yes"]);
        assert_eq!((undone.code, ground.digest()), (0, before), "{}: {undone:?}", odd.name);
    }
}

#[test]
fn one_value_has_one_name_and_two_values_have_two() {
    let ground = Ground::new();
    ground.write(".env", &format!("API_TOKEN={}\nAPI_TOKEN={}\n", KEYS[1], KEYS[2]));
    ground.write("sub/.env.local", &format!("OTHER_TOKEN={}\n", KEYS[1]));
    assert_eq!(ground.init(&MOVE).code, 0);
    let listed = ground.run(&["secret", "list"]).out;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["api-token", "api-token-2"], "{listed}");
    // After an uninstall that keeps them, the same keys are the same secrets.
    assert_eq!(ground.run(&["uninstall", "--yes"]).code, 0);
    assert_eq!(ground.init(&MOVE).code, 0);
    assert_eq!(ground.run(&["secret", "list"]).out.lines().count(), 2);
}

#[test]
fn a_file_that_cannot_be_replaced_leaves_what_uninstall_puts_back() {
    let ground = Ground::new();
    (SHAPES[0].1)(&ground);
    // Where the new file would be made before it takes the old one's place.
    fs::create_dir(ground.project().join(".mcp.json.bailiwick-new")).expect("a folder");
    let before = ground.digest();
    let init = ground.init(&MOVE);
    assert!(init.code == 2 && init.err.contains(".mcp.json"), "{init:?}");
    assert_eq!(ground.run(&["uninstall", "--yes"]).code, 0);
    assert_eq!(ground.digest(), before);
}

#[test]
fn modes_and_times_are_put_back() {
    let ground = Ground::new();
    (SHAPES[0].1)(&ground);
    let file = ground.project().join(".mcp.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
    let then = std::time::SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000, 123_456_789);
    fs::File::options().write(true).open(&file).expect("a file").set_modified(then).expect("a time");
    let before = ground.digest();
    assert_eq!(ground.init(&MOVE).code, 0);
    let during = fs::metadata(&file).expect("the file");
    assert_eq!(during.permissions().mode() & 0o7777, 0o640);
    assert_eq!(ground.run(&["uninstall", "--yes"]).code, 0);
    assert_eq!(ground.digest(), before);
    assert_eq!(fs::metadata(&file).expect("the file").modified().expect("a time"), then);
}

#[test]
fn an_agent_that_is_installed_gets_its_section() {
    let ground = Ground::new();
    ground.write("package.json", "{}");
    ground.write("pyproject.toml", "");
    let none = ground.init(&["--yes"]);
    assert!(none.code == 0 && !ground.configuration().contains("[agent."), "{none:?}");
    assert_eq!(ground.run(&["uninstall", "--yes"]).code, 0);
    for agent in ["claude", "codex", "gemini"] {
        ground
            .program(agent, "#!/bin/sh\necho \"model key: ${OPENAI_API_KEY:-none}\"; ls /etc/claude-code\n");
    }
    ground.write(".env", &format!("OPENAI_API_KEY={}\n", KEYS[1]));
    let init = ground.init(&MOVE);
    assert_eq!(init.code, 0, "{init:?}");
    let text = ground.configuration();
    for says in [
        "[agent.claude]",
        "[agent.codex]",
        "[agent.gemini]",
        "# \"https://registry.npmjs.org\"",
        "# \"https://pypi.org\"",
        "# [secret.anthropic-api-key]",
        "OPENAI_API_KEY = \"${secret:openai-api-key}\"",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    // The commented lines are lines that work.
    let lines: Vec<&str> = text.lines().collect();
    let open =
        lines.iter().map(|line| match line.strip_prefix("# [secret.").or(line.strip_prefix("# use = ")) {
            Some(_) => &line[2..],
            None => line.trim_start_matches("  # "),
        });
    let opened = open.collect::<Vec<_>>().join("\n");
    assert!(toml::from_str::<toml::Table>(&opened).is_ok(), "{opened}");
    let ran = ground.run(&["run", "--quiet", "--", "codex"]);
    assert!(ran.out.contains("model key: ") && !ran.out.contains("none"), "{ran:?}");
    assert!(!ran.out.contains(KEYS[1]), "{ran:?}");
    let claude = ground.run(&["run", "--quiet", "--", "claude"]);
    assert!(claude.out.contains("managed-settings.json"), "{claude:?}");
    assert_eq!(ground.run(&["uninstall", "--yes", "--purge"]).code, 0);
    assert!(ground.record().is_none(), "nothing of the state is left, after runs as well");
}
