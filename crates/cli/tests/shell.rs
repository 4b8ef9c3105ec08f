//! Claude Code's shell commands, from the hook's answer to what a shell then really does.
//! The client is played by this test; the shell, the gate and the wall are real.

mod common;

use common::{Gate, Project, Ran, finish};
use serde_json::{Value, json};
use std::process::Command;

const POLICY: &str = r#"
@id("shell") permit (principal, action == Action::"claude/Bash", resource);
"#;

fn project() -> Project {
    let project = Project::bare();
    let init = project.run(&["init", "--yes"]);
    assert_eq!(init.code, 0, "{init:?}");
    project.only_policy(POLICY);
    std::fs::create_dir(project.path().join("sub")).expect("a folder");
    project
}

fn event(project: &Project, name: &str, id: &str, input: &Value) -> Value {
    let event = json!({
        "hook_event_name": name, "session_id": "5e55", "cwd": project.path(), "tool_name": "Bash",
        "tool_use_id": id, "tool_input": input, "tool_response": { "stdout": "", "stderr": "" },
    });
    let ran = project.run_with(&["hook"], event.to_string().as_bytes());
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The input the client is told to run instead of `command`.
fn permitted(project: &Project, id: &str, command: &str) -> Value {
    let input = json!({ "command": command, "description": "d", "timeout": 9_000 });
    let answer = event(project, "PreToolUse", id, &input);
    let answer = &answer["hookSpecificOutput"];
    assert_eq!(answer["permissionDecision"], "allow", "{answer}");
    assert_eq!(answer["updatedInput"]["timeout"], 9_000);
    answer["updatedInput"].clone()
}

/// What the client's shell does with that input, and where it is afterwards.
fn shell(project: &Project, input: &Value) -> Ran {
    let command = input["command"].as_str().expect("a command");
    let mut shell = Command::new("bash");
    shell.args(["-c", "eval \"$1\"; status=$?; echo \"at $PWD\"; exit $status", "bash", command]);
    project.point(&mut shell);
    shell.env("API_KEY", "sk-of-the-user");
    finish(&mut shell, b"")
}

#[test]
fn a_permitted_command_runs_once_behind_the_wall_and_its_end_is_true() {
    let project = project();
    let gate = Gate::start(&project);
    let here = project.path().display().to_string();
    for (number, (command, code, says)) in [
        ("echo out; echo err >&2", 0, vec!["out\n".to_owned(), format!("at {here}\n")]),
        ("exit 42", 42, vec![]),
        ("kill -TERM $$", 143, vec![]),
        ("no-such-program", 127, vec![]),
        ("cd sub && echo \"it's '$((1+1))'\"", 0, vec!["it's '2'\n".to_owned(), format!("at {here}/sub\n")]),
        ("cd /usr && pwd", 0, vec!["/usr\n".to_owned(), format!("at {here}\n")]),
        ("echo made > made; cat made", 0, vec!["made\n".to_owned()]),
        ("cat <<'X'\na 'quoted' \"text\"\nX", 0, vec!["a 'quoted' \"text\"\n".to_owned()]),
        ("echo key=$API_KEY; ls -a $HOME", 0, vec!["key=\n".to_owned()]),
        ("find . -name bailiwick.toml | grep . ; test $? = 1", 0, vec![]),
        ("echo x > .git/hooks/post-checkout || echo x > .envrc", 1, vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("toolu_{number}");
        let input = permitted(&project, &id, command);
        let ran = shell(&project, &input);
        assert_eq!(ran.code, code, "{command}: {ran:?}");
        for text in says {
            assert!(ran.out.contains(&text), "{command}: {ran:?}");
        }
        let again = shell(&project, &input);
        assert!(again.code != 0 && again.err.contains("it runs once"), "{command}: {again:?}");
        assert_eq!(event(&project, "PostToolUse", &id, &input), json!({}), "{command}");
    }
    assert_eq!(std::fs::read_to_string(project.path().join("made")).expect("it was made"), "made\n");
    let outcomes = project.noted("outcome", 11);
    for outcome in outcomes {
        let layers = outcome["confined"]["layers"].as_object().expect("layers");
        for layer in ["namespaces", "root", "seccomp", "privileges", "memory", "protection"] {
            assert!(layers.contains_key(layer), "{outcome}");
        }
    }
    drop(gate);
}

#[test]
fn a_command_in_the_background_runs_after_the_client_has_said_that_it_began() {
    let project = project();
    let gate = Gate::start(&project);
    let input = permitted(&project, "toolu_b", "echo behind > behind; exit 3");
    let mut began = json!({
        "hook_event_name": "PostToolUse", "session_id": "5e55", "cwd": project.path(), "tool_name": "Bash",
        "tool_use_id": "toolu_b", "tool_input": input,
        "tool_response": { "stdout": "", "stderr": "", "interrupted": false, "backgroundTaskId": "b1" },
    });
    let said = project.run_with(&["hook"], began.to_string().as_bytes());
    assert!(!said.out.contains("block") && !said.out.contains("stopReason"), "{said:?}");
    let ran = shell(&project, &input);
    assert_eq!((ran.code, project.path().join("behind").exists()), (3, true), "{ran:?}");
    let again = shell(&project, &input);
    assert!(again.code != 0 && again.err.contains("it runs once"), "{again:?}");
    let outcomes = project.noted("outcome", 1);
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert!(outcomes[0]["confined"]["layers"].is_object(), "{outcomes:?}");
    // The nearest that is over: a command that the client waited for.
    let input = permitted(&project, "toolu_f", "echo x > never");
    began["tool_use_id"] = "toolu_f".into();
    began["tool_input"] = input.clone();
    began["tool_response"] = json!({ "stdout": "", "stderr": "", "interrupted": false });
    project.run_with(&["hook"], began.to_string().as_bytes());
    let late = shell(&project, &input);
    assert!(late.code != 0 && !project.path().join("never").exists(), "{late:?}");
    drop(gate);
}

#[test]
fn what_was_not_permitted_does_not_run() {
    let project = project();
    let gate = Gate::start(&project);
    let input = permitted(&project, "toolu_a", "touch ran");
    let forged = input["command"].as_str().expect("a command").replace("shell c-", "shell c-0");
    let ran = shell(&project, &json!({ "command": forged }));
    assert!(ran.code != 0 && ran.err.contains("no permitted command"), "{ran:?}");
    let halted = event(&project, "PostToolUse", "toolu_a", &json!({ "command": "touch ran" }));
    assert_eq!(halted["continue"], false, "the client ran something else than it was told: {halted}");
    assert!(!project.path().join("ran").exists());
    gate.stop();
    let ran = shell(&project, &input);
    assert!(ran.code != 0 && !project.path().join("ran").exists(), "without a gate nothing runs: {ran:?}");
}

#[test]
fn limits_end_a_command_by_name() {
    let project = project();
    let config = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let limits = "\n[shell]\nworkspace = \"read-only\"\nseconds = 1\noutput_mib = 1\n";
    std::fs::write(&config, text + limits).expect("the configuration");
    let _gate = Gate::start(&project);
    for (id, command, limit) in [("toolu_t", "sleep 30", "time"), ("toolu_o", "yes", "output")] {
        let input = permitted(&project, id, command);
        let ran = shell(&project, &input);
        assert!(ran.code != 0 && ran.err.contains(&format!("the limit on {limit}")), "{command}: {ran:?}");
        event(&project, "PostToolUse", id, &input);
    }
    let input = permitted(&project, "toolu_w", "touch made");
    assert_eq!(shell(&project, &input).code, 1, "the project is read-only");
    assert_eq!(project.noted("outcome", 2)[0]["confined"]["reached"], json!(["time"]));
}
