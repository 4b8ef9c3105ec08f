//! A client that can end its run and be resumed is told to defer what a person must approve, and asks again.
//! Nothing runs in between, and a client that does not defer what it was told to runs nothing either.

mod common;

use common::{Gate, Project, Ran, eventually};
use serde_json::{Value, json};
use std::process::{Child, Stdio};

const POLICY: &str = r#"
@id("looking") permit (principal, action == Action::"claude/Bash", resource)
when { context.args.command.program == "ls" && !context.args.command.opaque };
@id("making") permit (principal, action == Action::"claude/Bash", resource)
when { context.args.command.program == "make" && !context.args.command.opaque && context.approved };
"#;

fn project(on_ask: &str) -> Project {
    let project = Project::bare();
    assert_eq!(project.run(&["init", "--yes"]).code, 0);
    project.only_policy(POLICY);
    let config = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let more = format!("\n[shell]\nenabled = false\n\n[approvals]\non_ask = \"{on_ask}\"\n");
    std::fs::write(&config, text + &more).expect("the configuration");
    project.set("ask_wait_seconds", "60");
    project
}

fn event(project: &Project, name: &str, id: &str, command: &str) -> Value {
    json!({
        "hook_event_name": name, "session_id": "0a1b2c3d", "cwd": project.path(), "permission_mode": "default",
        "tool_name": "Bash", "tool_use_id": id, "tool_input": { "command": command, "description": "d" },
    })
}

fn begin(project: &Project, entry: &str, event: &Value) -> Child {
    begin_with(project, &["hook", "--defers"], entry, event)
}

fn begin_with(project: &Project, command: &[&str], entry: &str, event: &Value) -> Child {
    use std::io::Write;
    let mut child = project
        .bailiwick()
        .args(command)
        .env("CLAUDE_CODE_ENTRYPOINT", entry)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the hook starts");
    child.stdin.take().expect("a pipe").write_all(event.to_string().as_bytes()).expect("the hook reads");
    child
}

fn end(child: Child) -> Value {
    let output = child.wait_with_output().expect("the hook ends");
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::new(),
    };
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// What a headless client is told before a call.
fn before(project: &Project, id: &str, command: &str) -> (String, String) {
    said(&end(begin(project, "sdk-cli", &event(project, "PreToolUse", id, command))))
}

fn said(answer: &Value) -> (String, String) {
    let said = &answer["hookSpecificOutput"];
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    (text("permissionDecision"), text("permissionDecisionReason"))
}

fn decisions(project: &Project, command: &str) -> Vec<Value> {
    let of = |record: &Value| record["arguments"]["command"] == command;
    project.records("decision").into_iter().filter(of).collect()
}

#[test]
fn a_deferred_call_runs_once_after_a_grant_and_asks_anew_when_it_changed() {
    let project = project("defer");
    let _gate = Gate::start(&project);
    let (decision, why) = before(&project, "m1", "make all");
    let asked = project.asked();
    let id = asked["id"].as_str().expect("an id");
    assert!(decision == "defer" && why.contains(id), "{decision}: {why}");
    // Nobody answered yet: the same question, and still no decision that anything could act on.
    assert_eq!(before(&project, "m1", "make all").0, "defer");
    assert_eq!(project.pending().len(), 1);
    assert!(decisions(&project, "make all").is_empty());
    // Other arguments under the same id are another question.
    assert_eq!(before(&project, "m1", "make other").0, "defer");
    assert_eq!(project.pending().len(), 2);
    assert_eq!(project.grant(&asked).code, 0);
    assert_eq!(before(&project, "m1", "make other").0, "defer", "granted was something else");
    assert_eq!(before(&project, "m1", "make all").0, "allow");
    let made = decisions(&project, "make all");
    assert_eq!((made.len(), &made[0]["approval"]), (1, &asked["id"]));
    // The grant is spent.
    assert_eq!(before(&project, "m1", "make all").0, "defer");
    assert_eq!(before(&project, "m2", "ls").0, "allow");
}

#[test]
fn a_refusal_reaches_the_resumed_call_and_only_that_one_also_after_a_restart() {
    let project = project("defer");
    let gate = Gate::start(&project);
    assert_eq!(before(&project, "m1", "make all").0, "defer");
    let asked = project.asked();
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(project.run(&["approvals", "refuse", id, "--reason", "not on a Friday"]).code, 0);
    gate.kill9();
    let _gate = Gate::start(&project);
    let (decision, why) = before(&project, "m1", "make all");
    assert!(decision == "deny" && why.contains("not on a Friday"), "{decision}: {why}");
    assert_eq!(decisions(&project, "make all")[0]["decision"], "deny");
    assert_eq!(before(&project, "m2", "make all").0, "defer", "another call asks anew");
}

#[test]
fn only_a_client_that_can_defer_is_told_to_and_only_one_call_of_a_run() {
    for (on_ask, command, entry) in [
        ("hold", ["hook", "--defers"].as_slice(), "sdk-cli"),
        ("defer", &["hook", "--defers"], "cli"),
        ("defer", &["hook", "--defers"], ""),
        // Settings from before it was turned on do not ask about every tool.
        ("defer", &["hook"], "sdk-cli"),
    ] {
        let project = project(on_ask);
        let _gate = Gate::start(&project);
        let child = begin_with(&project, command, entry, &event(&project, "PreToolUse", "m1", "make all"));
        assert_eq!(project.grant(&project.asked()).code, 0);
        assert_eq!(said(&end(child)).0, "allow", "{on_ask} {entry}");
    }
    let project = project("defer");
    let _gate = Gate::start(&project);
    assert_eq!(before(&project, "m1", "make all").0, "defer");
    let second = begin(&project, "sdk-cli", &event(&project, "PreToolUse", "m2", "make clean"));
    let asked = eventually("the second is asked", || {
        project.pending().into_iter().find(|one| one["arguments"]["command"] == "make clean")
    });
    assert_eq!(project.grant(&asked).code, 0);
    assert_eq!(said(&end(second)).0, "allow", "it waited where it was");
    // A new prompt: the run went on without it.
    let prompt = json!({ "hook_event_name": "UserPromptSubmit", "session_id": "0a1b2c3d", "prompt": "p" });
    assert_eq!(end(begin(&project, "sdk-cli", &prompt)), json!({}));
    assert_eq!(before(&project, "m3", "make clean").0, "defer");
}

#[test]
fn what_the_client_did_not_defer_is_refused_where_it_asks_and_what_is_permitted_is_not() {
    let project = project("defer");
    let _gate = Gate::start(&project);
    let permission = |command: &str| {
        let event = event(&project, "PermissionRequest", "", command);
        let answer = end(begin(&project, "sdk-cli", &event));
        let said = &answer["hookSpecificOutput"]["decision"];
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        (text("behavior"), text("message"))
    };
    assert_eq!(before(&project, "m1", "make all").0, "defer");
    let (behavior, why) = permission("make all");
    assert!(behavior == "deny" && why.contains("by itself"), "{behavior}: {why}");
    assert_eq!(permission("make other").0, "deny");
    assert_eq!(project.grant(&project.asked()).code, 0);
    assert_eq!(permission("make all").0, "deny", "a grant alone admits nothing");
    assert_eq!(
        before(&project, "m2", "make all").0,
        "allow",
        "it is for this request, by whichever id it comes"
    );
    assert_eq!(permission("make all").0, "allow");
}

#[test]
fn settings_that_defer_ask_about_every_tool() {
    for (on_ask, defers) in [("defer", true), ("hold", false)] {
        let project = project(on_ask);
        let settings = project.json(&["hook", "settings"]);
        let hook = &settings["hooks"]["PreToolUse"][0]["hooks"][0];
        let has_flag = hook["args"].as_array().is_some_and(|args| args.contains(&json!("--defers")));
        let asks = settings["permissions"]["ask"].as_array().is_some_and(|tools| {
            ["Bash", "Write", "Edit", "Read", "WebFetch"].iter().all(|tool| tools.contains(&json!(tool)))
        });
        assert_eq!((has_flag, asks), (defers, defers), "{on_ask}: {settings}");
    }
}
