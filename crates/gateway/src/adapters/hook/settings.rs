//! The settings that put Claude Code under the gate's hooks, and the hooks of a plugin that does what it can without an administrator.
//! Made for a person or a launcher to install; never written anywhere from here.

use crate::inventory::propose;
use serde_json::{Value, json};
use std::path::Path;

/// Events the gate hears, each failing closed.
const EVENTS: [&str; 10] = [
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PostToolBatch",
    "UserPromptSubmit",
    "SessionStart",
    "SubagentStart",
    "SessionEnd",
    "ConfigChange",
    "PermissionRequest",
];

/// Managed settings for a client whose hooks run `program` for the gate in `config` and `state`. A held call may wait
/// `wait_seconds` for an approver. Where the client confines commands by itself, they leave through the gate's proxy at
/// `proxy`, if it has a port there that needs no token: the client shows none (2.1.329). A client that is told to defer calls may
/// ignore that, and would go on by its own rules: these then ask about every tool, and the gate refuses what it has not permitted.
pub fn settings(
    program: &Path,
    config: &Path,
    state: &Path,
    wait_seconds: u64,
    proxy: Option<u16>,
    defers: bool,
) -> Value {
    let [config, state] = [config, state].map(|path| path.display().to_string());
    let mut arguments = vec!["--dir", &config, "--state", &state, "hook"];
    arguments.extend(defers.then_some("--defers"));
    let mut settings = managed(program, &arguments, wait_seconds);
    if let Some(port) = proxy {
        // Both, or the client starts a proxy of its own for the other.
        settings["sandbox"] = json!({ "network": { "httpProxyPort": port, "socksProxyPort": port } });
    }
    if defers {
        settings["permissions"] = asking();
    }
    settings
}

/// The same for a client behind the wall, whose hooks find the gate at its door.
pub fn inside(program: &Path, wait_seconds: u64) -> Value {
    managed(program, &["hook"], wait_seconds)
}

/// The hooks of a plugin, which run `program` as the client's shell finds it. A plugin cannot demand a version of the client, and older
/// ones do not know `onFailure`: there the shell's own exit code says no where `program` is missing or dies.
pub fn plugin(program: &str, wait_seconds: u64) -> Value {
    let command = format!("{program} hook || exit 2");
    json!({
        "description": "Every tool call is judged, recorded and searched by the running gate; without one, nothing runs.",
        "hooks": hooks(&json!({ "type": "command", "command": command }), wait_seconds),
    })
}

fn managed(program: &Path, arguments: &[&str], wait_seconds: u64) -> Value {
    let hook = json!({ "type": "command", "command": program.display().to_string(), "args": arguments });
    let [major, minor, patch] = super::CLIENT_VERSION_MIN;
    json!({
        "requiredMinimumVersion": format!("{major}.{minor}.{patch}"),
        "allowManagedHooksOnly": true,
        "disableAllHooks": false,
        // What a skill of the repository runs by itself passes no hook.
        "disableSkillShellExecution": true,
        "hooks": hooks(&hook, wait_seconds),
    })
}

/// `hook` for each event, each with the time it may take.
fn hooks(hook: &Value, wait_seconds: u64) -> Value {
    let timed = |event: &str| {
        let mut hook = hook.clone();
        // The session's end has a budget of its own in the client.
        hook["timeout"] = json!(if event == "PreToolUse" { wait_seconds + 60 } else { 30 });
        hook["onFailure"] = json!("block");
        json!([{ "hooks": [hook] }])
    };
    Value::Object(EVENTS.iter().map(|event| ((*event).to_owned(), timed(event))).collect())
}

/// Permission rules under which a client asks about each of its own tools, whatever its mode and its other rules say.
pub fn asking() -> Value {
    let tools: Vec<String> = propose::claude_code().into_keys().collect();
    json!({ "ask": tools })
}
