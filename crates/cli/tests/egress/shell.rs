//! Claude Code's shell commands on the network: from the hook's answer to what a shell then reaches, and what stands for the
//! secret there. The client is played by this test; the shell, the gate and the wall are real.

use crate::common::{Gate, Ran, eventually, finish};
use crate::ground::{CANARY, Ground, found_in, spellings};
use crate::served::set_up;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

fn event(ground: &Ground, name: &str, id: &str, input: &Value) -> Value {
    let event = json!({
        "hook_event_name": name, "session_id": "5e55", "cwd": ground.project(), "tool_name": "Bash",
        "tool_use_id": id, "tool_input": input, "tool_response": { "stdout": "", "stderr": "" },
    });
    let ran = ground.run(&["hook"], event.to_string().as_bytes());
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// What the client is told to run instead of `command`.
fn permitted(ground: &Ground, id: &str, command: &str) -> String {
    let answer = event(ground, "PreToolUse", id, &json!({ "command": command }));
    let answer = &answer["hookSpecificOutput"];
    assert_eq!(answer["permissionDecision"], "allow", "{answer}");
    answer["updatedInput"]["command"].as_str().unwrap().to_owned()
}

/// The client's shell with that command.
fn shell(ground: &Ground, command: &str) -> Command {
    let known = ground.bailiwick();
    let mut shell = Command::new("bash");
    shell.args(["-c", "eval \"$1\"", "bash", command]).current_dir(ground.project()).env_clear();
    shell.envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

fn ran(ground: &Ground, id: &str, command: &str) -> Ran {
    let permitted = permitted(ground, id, command);
    let ran = finish(&mut shell(ground, &permitted), b"");
    event(ground, "PostToolUse", id, &json!({ "command": permitted }));
    ran
}

#[test]
fn a_shell_command_reaches_what_is_named_and_holds_no_secret() {
    let ground = Ground::new();
    set_up(&ground);
    let gate = Gate::start_at(&ground.path("logs"), ground.bailiwick());
    let bearer = "-H \"Authorization: Bearer $TOKEN\"";
    let at = "https://api.example.test:$PORT";
    let right = ran(&ground, "toolu_1", &format!("curl -sS {bearer} {at}/repos/echo/body | tee answer; env"));
    assert!(right.code == 0 && right.out.contains("echo ghp_"), "{right:?}\n{}", gate.log());
    let received = ground.upstream.received();
    assert_eq!(received[0].header("authorization"), format!("Bearer {CANARY}"), "{received:?}");
    let before = ground.upstream.knocks();
    for (id, command, says) in [
        ("toolu_2", "curl -sS https://other.example.test:$PORT/repos/two", "Could not resolve host"),
        ("toolu_3", "curl -sS -m 5 https://127.0.0.1:$PORT/repos/three", "Failed to connect"),
        ("toolu_4", &format!("curl -sS {bearer} {at}/users/four"), "bailiwick: secret `github`"),
        ("toolu_5", &format!("curl -sS -d \"$TOKEN\" {at}/repos/five"), "bailiwick: "),
    ] {
        let wrong = ran(&ground, id, command);
        let said = format!("{}{}", wrong.out, wrong.err);
        assert!(said.contains(says), "{command}: {wrong:?}");
        assert!(!said.contains(CANARY), "{command}: {wrong:?}");
    }
    let later = ground.upstream.received();
    assert!(later.iter().filter(|one| one.holds(CANARY)).count() == 1, "{later:?}");
    // The body that was stopped may have got as far as a connection, and no further.
    assert!(ground.upstream.knocks() <= before + 2, "{} after {before}", ground.upstream.knocks());
    let known = spellings(CANARY);
    let needles: Vec<&str> = known.iter().map(String::as_str).collect();
    assert!(needles.iter().all(|needle| !right.out.contains(needle)), "{right:?}");
    drop(gate);
    let whole = ground.project().parent().unwrap().to_owned();
    assert_eq!(found_in(&whole, &needles), Vec::<PathBuf>::new(), "the value is in a file");
    let journal = format!("{:?}", ground.journal());
    assert!(journal.contains("egress/read") && journal.contains("secret-misuse"), "{journal:.3000}");
}

#[test]
fn the_network_of_a_shell_command_ends_with_the_gate_and_is_given_once() {
    let ground = Ground::new();
    set_up(&ground);
    let gate = Gate::start_at(&ground.path("logs"), ground.bailiwick());
    let command = permitted(
        &ground,
        "toolu_1",
        "while [ ! -e stop ]; do w=before; [ -e killed ] && w=after; \
         curl -sS -m 5 https://api.example.test:$PORT/repos/$w >> said 2>&1; echo $w $? >> tries; sleep 0.01; done",
    );
    let tries = || std::fs::read_to_string(ground.project().join("tries")).unwrap_or_default();
    let many = |word: &str| (tries().matches(word).count() > 3).then_some(());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| finish(&mut shell(&ground, &command), b""));
        eventually("the command is answered", || many("before 0"));
        let call = command.split(" shell ").nth(1).unwrap().split(' ').next().unwrap();
        for (opening, why) in [
            (json!({ "control": { "exit": call } }), "waits for a way out"),
            (json!({ "control": { "fetch": call } }), "it runs once"),
        ] {
            let mut gate = UnixStream::connect(ground.state().join("gate.sock")).unwrap();
            gate.write_all(format!("{opening}\n").as_bytes()).unwrap();
            let mut answer = String::new();
            BufReader::new(gate).read_line(&mut answer).unwrap();
            assert!(answer.contains("error") && answer.contains(why), "{opening}: {answer}");
        }
        gate.kill9();
        std::fs::write(ground.project().join("killed"), "").unwrap();
        eventually("the command goes on without an answer", || {
            (many("after").is_some() || running.is_finished()).then_some(())
        });
        std::fs::write(ground.project().join("stop"), "").unwrap();
        running.join().unwrap();
    });
    assert!(!tries().contains("after 0"), "{}", tries());
    assert!(!ground.upstream.heard("/repos/after"), "the network outlived the gate");
}
