//! Claude Code's permission prompts, answered by the gate: decided, asked and recorded like a call its hook saw, hooks or not.
//! Whoever calls the tool, nothing is granted by it.

mod common;

use common::{Client, Gate, Project, eventually, words};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("looking") permit (principal, action == Action::"claude/Bash", resource)
when { ["ls", "touch"].contains(context.args.command.program) && !context.args.command.opaque };
@id("making") permit (principal, action == Action::"claude/Bash", resource)
when { context.args.command.program == "make" && !context.args.command.opaque && context.approved };
@id("writing") permit (principal, action == Action::"claude/Write", resource) 
when { context.args.file_path.zone == "workspace" && context.args.file_path.name != "kept.env" };
@id("keeping") permit (principal, action == Action::"claude/Write", resource)
when { context.args.file_path.zone == "workspace" && context.approved };
@id("reading") permit (principal, action == Action::"claude/Read", resource);
"#;
const TOOL: &str = "bailiwick__permission";

fn project() -> Project {
    let project = Project::bare();
    assert_eq!(project.run(&["init", "--yes"]).code, 0);
    project.only_policy(POLICY);
    project.set("ask_wait_seconds", "20");
    project
}

/// A client that calls itself `name`.
fn client(project: &Project, name: &str) -> Client {
    let mut client = Client::open(project, &[]);
    let hello = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": name, "version": "1" },
    });
    assert!(client.request("initialize", hello)["result"].is_object());
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    client
}

fn prompt(tool: &str, id: &str, input: Value) -> Value {
    json!({ "tool_name": tool, "tool_use_id": id, "input": input })
}

fn bash(id: &str, command: &str) -> Value {
    prompt("Bash", id, json!({ "command": command, "description": "d" }))
}

/// What the client reads out of an answer: what it may run, or why not.
fn decided(answer: &Value) -> Result<Value, String> {
    let said: Value =
        serde_json::from_str(&words(answer)).unwrap_or_else(|error| panic!("{error}: {answer}"));
    match said["behavior"].as_str() {
        Some("allow") => Ok(said["updatedInput"].clone()),
        Some("deny") => Err(said["message"].as_str().expect("a reason").to_owned()),
        _ => panic!("{answer}"),
    }
}

fn ask(client: &mut Client, prompt: Value) -> Result<Value, String> {
    decided(&client.call(TOOL, prompt))
}

fn file(project: &Project, name: &str) -> Value {
    json!({ "file_path": project.path().join(name), "content": "x\n" })
}

#[test]
fn a_prompt_is_decided_and_recorded_like_a_call_that_the_hook_saw() {
    let project = project();
    let _gate = Gate::start(&project);
    let mut client = client(&project, "claude-code");
    let input = file(&project, "a.txt");
    assert_eq!(ask(&mut client, prompt("Write", "t1", input.clone())), Ok(input));
    let record = &project.records("decision")[0];
    assert_eq!(
        (&record["tool"], &record["decision"], &record["agent"], &record["client_call"]),
        (&json!("claude/Write"), &json!("allow"), &json!("claude-code"), &json!("t1"))
    );
    let outside = json!({ "file_path": "/etc/passwd", "content": "x" });
    for (what, refused) in [
        ("another zone", prompt("Write", "t2", outside)),
        ("a denied command", bash("t3", "rm -rf .")),
        ("a tool nobody reviewed", prompt("Unheard", "t4", json!({}))),
        ("a server that is not behind the gate", prompt("mcp__other__act", "t5", json!({}))),
        ("itself", prompt("mcp__bailiwick__bailiwick__permission", "t6", bash("t6", "ls"))),
        ("no tool", json!({ "tool_use_id": "t7", "input": {} })),
        ("no id", json!({ "tool_name": "Bash", "input": { "command": "ls" } })),
        ("an empty id", bash("", "ls")),
        ("no input", json!({ "tool_name": "Bash", "tool_use_id": "t8" })),
        ("an input that is no object", prompt("Bash", "t9", json!("ls"))),
    ] {
        assert!(ask(&mut client, refused).is_err(), "{what}");
    }
    let twice = r#"{"tool_name":"Bash","tool_use_id":"t","input":{"command":"ls","command":"touch x"}}"#;
    assert!(decided(&client.call_raw(TOOL, twice)).is_err());
    let twice = r#"{"tool_name":"Bash","tool_name":"Write","tool_use_id":"t","input":{"command":"ls"}}"#;
    assert!(words(&client.call_raw(TOOL, twice)).contains("deny"));
}

#[test]
fn a_permitted_command_runs_behind_the_wall_once_and_its_record_is_closed() {
    let project = project();
    let _gate = Gate::start(&project);
    let mut client = client(&project, "claude-code");
    let input = ask(&mut client, bash("t1", "touch made")).expect("permitted");
    let command = input["command"].as_str().expect("a command");
    assert!(command.contains(" shell c-") && !command.contains("touch"), "{command}");
    let run = || {
        let mut shell = std::process::Command::new("bash");
        shell.args(["-c", command]).current_dir(project.path());
        common::finish(&mut shell, b"")
    };
    let ran = run();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(project.path().join("made").exists());
    assert_ne!(run().code, 0, "it runs once");
    let outcome = &project.noted("outcome", 1)[0];
    assert_eq!(outcome["status"], "ok");
    assert!(
        outcome["confined"]["layers"]["seccomp"].is_object()
            || outcome["confined"]["layers"]["seccomp"].is_string()
    );
    // What was permitted and not fetched is gone with the client.
    let input = ask(&mut client, bash("t2", "touch late")).expect("permitted");
    drop(client);
    let late = eventually("the client is gone", || {
        let mut shell = std::process::Command::new("bash");
        let command = input["command"].as_str().expect("a command");
        project.journal().iter().any(|record| record["status"] == "cancelled").then(|| {
            shell.args(["-c", command]).current_dir(project.path());
            common::finish(&mut shell, b"")
        })
    });
    assert!(late.code != 0 && !project.path().join("late").exists(), "{late:?}");
}

#[test]
fn what_needs_a_person_waits_for_one_whoever_asks() {
    let project = project();
    let _gate = Gate::start(&project);
    let mut client = client(&project, "claude-code");
    let waiting = client.begin_call(TOOL, bash("t1", "make all"));
    let asked = project.asked();
    assert_eq!((&asked["tool"], &asked["arguments"]["command"]), (&json!("claude/Bash"), &json!("make all")));
    assert!(project.records("decision").is_empty());
    assert_eq!(project.grant(&asked).code, 0);
    assert!(decided(&client.answer(waiting)).is_ok());
    // The same call by the same id is another call: nothing was granted to it.
    let again = client.begin_call(TOOL, bash("t1", "make all"));
    let asked = project.asked();
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(project.run(&["approvals", "refuse", id, "--reason", "not on a Friday"]).code, 0);
    let why = decided(&client.answer(again)).expect_err("refused");
    assert!(why.contains("not on a Friday"), "{why}");
}

#[test]
fn nobody_else_is_offered_it_or_answered() {
    let project = project();
    let _gate = Gate::start(&project);
    let mut other = client(&project, "another");
    assert!(!other.tools().contains(&TOOL.to_owned()));
    let answer = other.call(TOOL, bash("t1", "ls"));
    assert!(answer["error"].is_object(), "{answer}");
    assert!(client(&project, "claude-code").tools().contains(&TOOL.to_owned()));
    // The hook lets no model call it.
    let event = json!({
        "hook_event_name": "PreToolUse", "session_id": "s", "cwd": project.path(), "tool_use_id": "t2",
        "tool_name": "mcp__bailiwick__bailiwick__permission", "tool_input": bash("t3", "ls"),
    });
    let said = project.run_with(&["hook"], event.to_string().as_bytes());
    assert!(said.out.contains("\"deny\""), "{said:?}");
}

#[test]
fn what_the_hook_admitted_is_answered_from_that_and_anything_else_is_decided() {
    let project = project();
    let _gate = Gate::start(&project);
    let mut client = client(&project, "claude-code");
    let hook = |id: &str, tool: &str, input: &Value| {
        let event = json!({
            "hook_event_name": "PreToolUse", "session_id": "s", "cwd": project.path(), "tool_use_id": id,
            "tool_name": tool, "tool_input": input,
        });
        let said = project.run_with(&["hook"], event.to_string().as_bytes());
        let said: Value = serde_json::from_str(&said.out).expect("an answer");
        said["hookSpecificOutput"].clone()
    };
    let input = file(&project, "a.txt");
    assert_eq!(hook("t1", "Write", &input)["permissionDecision"], "allow");
    assert_eq!(ask(&mut client, prompt("Write", "t1", input.clone())), Ok(input.clone()));
    assert_eq!(project.records("decision").len(), 1, "decided once");
    let shell = hook("t2", "Bash", &json!({ "command": "ls", "description": "d" }))["updatedInput"].clone();
    assert_eq!(ask(&mut client, prompt("Bash", "t2", shell.clone())), Ok(shell.clone()));
    assert_eq!(project.records("decision").len(), 2);
    // The same under another id, or another input under the same id, is not what was admitted.
    assert!(ask(&mut client, prompt("Bash", "t3", shell)).is_err());
    let outside = json!({ "file_path": "/etc/passwd", "content": "x\n" });
    assert!(ask(&mut client, prompt("Write", "t1", outside)).is_err());
    assert_eq!(project.records("decision").len(), 4);
}

#[test]
fn what_was_taken_out_is_never_in_an_answer_that_a_model_might_read() {
    let project = project();
    let config = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text + "\n[approvals]\non_ask = \"defer\"\n").expect("the configuration");
    let _gate = Gate::start(&project);
    let path = project.path().join("kept.env");
    let hook = |name: &str, id: &str, tool: &str, input: &Value, response: Value| {
        let event = json!({
            "hook_event_name": name, "session_id": "s", "cwd": project.path(), "tool_use_id": id,
            "tool_name": tool, "tool_input": input, "tool_response": response,
        });
        let mut command = project.bailiwick();
        command.args(["hook", "--defers"]).env("CLAUDE_CODE_ENTRYPOINT", "sdk-cli");
        let said = common::finish(&mut command, event.to_string().as_bytes());
        let said: Value = serde_json::from_str(&said.out).expect("an answer");
        said["hookSpecificOutput"].clone()
    };
    let token = format!("gh{}", "p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ");
    std::fs::write(&path, format!("TOKEN={token}\n")).expect("a file");
    let read = json!({ "file_path": path });
    assert_eq!(hook("PreToolUse", "t1", "Read", &read, Value::Null)["permissionDecision"], "allow");
    let file = json!({ "type": "text", "file": { "filePath": path, "content": format!("TOKEN={token}\n"), "numLines": 1 } });
    let shown =
        hook("PostToolUse", "t1", "Read", &read, file)["updatedToolOutput"]["file"]["content"].clone();
    let shown = shown.as_str().expect("the file").to_owned();
    assert!(shown.contains("BW-") && !shown.contains(&token), "{shown}");
    let mut client = client(&project, "claude-code");
    // Its hook would put it back for the client alone; over this way a model may read the answer.
    let write = json!({ "file_path": path, "content": shown });
    let told = hook("PreToolUse", "t2", "Write", &write, Value::Null);
    assert_eq!(told["permissionDecision"], "defer", "{told}");
    let asked = project.asked();
    assert_eq!(project.grant(&asked).code, 0);
    let answer = client.call(TOOL, prompt("Write", "t2", write)).to_string();
    assert!(answer.contains("hidden values") && !answer.contains(&token), "{answer}");
    // Without anything hidden the deferred call is answered here.
    let prompted = json!({ "hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": "go on" });
    project.run_with(&["hook"], prompted.to_string().as_bytes());
    let write = json!({ "file_path": path, "content": "plain" });
    assert_eq!(hook("PreToolUse", "t3", "Write", &write, Value::Null)["permissionDecision"], "defer");
    let waiting = client.begin_call(TOOL, prompt("Write", "t3", write.clone()));
    assert_eq!(project.grant(&project.asked()).code, 0);
    assert_eq!(decided(&client.answer(waiting)), Ok(write));
}
