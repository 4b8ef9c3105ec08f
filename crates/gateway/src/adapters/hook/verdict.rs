//! Claude Code's hook outputs, each in the shape its event wants (measured on 2.1.329).
//! Whatever goes wrong becomes the strictest answer the event knows; plain text or nothing would let a call run.

use crate::wire::frame::Object;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The reason models see begins with this.
const VOICE: &str = "Bailiwick: ";

/// Nothing to say.
pub fn nothing() -> Value {
    json!({})
}

/// `PreToolUse`: run it.
pub fn allow(why: &str) -> Value {
    pre_tool_use("allow", why)
}

/// `PreToolUse`: run this instead.
pub fn allow_instead(why: &str, input: &Value) -> Value {
    let mut answer = allow(why);
    answer["hookSpecificOutput"]["updatedInput"] = input.clone();
    answer
}

/// `PreToolUse`: do not.
pub fn deny(why: &str) -> Value {
    pre_tool_use("deny", &format!("{VOICE}{why}"))
}

/// `PreToolUse`: end the run, and ask again when it is resumed. A client that cannot do that takes it for nothing said.
pub fn defer(why: &str) -> Value {
    pre_tool_use("defer", &format!("{VOICE}{why}"))
}

/// Whether a `PreToolUse` answer defers.
pub(super) fn defers(answer: &Value) -> bool {
    answer["hookSpecificOutput"]["permissionDecision"] == "defer"
}

/// What a `PreToolUse` answer lets run: `None` for what the client asked about, something else in its place.
///
/// # Errors
/// Nothing, and why.
pub(super) fn said(answer: &Value) -> Result<Option<&Value>, String> {
    let said = &answer["hookSpecificOutput"];
    match said["permissionDecision"].as_str() {
        Some("allow") => Ok(said.get("updatedInput")),
        _ => Err(said["permissionDecisionReason"].as_str().unwrap_or("the gate gave no reason").to_owned()),
    }
}

fn pre_tool_use(decision: &str, why: &str) -> Value {
    json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": decision, "permissionDecisionReason": why,
    }})
}

/// `PermissionRequest`: yes.
pub fn permit() -> Value {
    json!({ "hookSpecificOutput": { "hookEventName": "PermissionRequest", "decision": { "behavior": "allow" } } })
}

/// `PermissionRequest`: no.
pub fn refuse_permission(why: &str) -> Value {
    json!({ "hookSpecificOutput": { "hookEventName": "PermissionRequest",
        "decision": { "behavior": "deny", "message": format!("{VOICE}{why}") } } })
}

/// Events that can be blocked.
pub fn block(why: &str) -> Value {
    json!({ "decision": "block", "reason": format!("{VOICE}{why}") })
}

/// `SessionStart` and `SubagentStart`: the model is told this before anything else.
pub fn told_at_start(event: &str, words: &str) -> Value {
    json!({ "hookSpecificOutput": { "hookEventName": event, "additionalContext": words } })
}

/// `PostToolUse`: the model sees this instead, and is told `about` it where that says anything.
pub fn shown_instead(output: &Value, about: &str) -> Value {
    let mut answer =
        json!({ "hookSpecificOutput": { "hookEventName": "PostToolUse", "updatedToolOutput": output } });
    if !about.is_empty() {
        answer["hookSpecificOutput"]["additionalContext"] = json!(about);
    }
    answer
}

/// What the model may see in place of what `tool` returned, in that tool's shape: any other would not be taken. Nothing where
/// the shape is not known.
pub fn withheld(tool: &str, response: &str, why: &str) -> Option<Value> {
    let note = format!("[{VOICE}withheld: {why}]");
    let kept = |name: &str| {
        let response = Object::parse(response.as_bytes()).ok()?;
        serde_json::from_str::<Value>(response.get(name)?.get()).ok()
    };
    Some(match tool {
        "Bash" => json!({ "stdout": note, "stderr": "", "interrupted": false, "isImage": false }),
        "Read" => {
            let path = kept("file").and_then(|file| file.get("filePath").cloned()).filter(Value::is_string);
            json!({ "type": "text", "file": {
                "filePath": path.unwrap_or_default(), "content": note, "numLines": 1, "startLine": 1, "totalLines": 1,
            } })
        }
        "WebFetch" => json!({
            "bytes": 0, "code": kept("code").filter(Value::is_number).unwrap_or(json!(200)), "codeText": "",
            "result": note, "durationMs": 0, "url": kept("url").filter(Value::is_string).unwrap_or_default(),
        }),
        _ => return None,
    })
}

/// `PostToolUse`: it happened and must not go on.
pub fn halt(why: &str) -> Value {
    let why = format!("{VOICE}{why}");
    json!({ "continue": false, "stopReason": why, "decision": "block", "reason": why })
}

/// The answer to an event as it came when the gate cannot answer: nothing more happens, and what a call returned is not seen.
pub fn unanswered(event: &str, why: &str) -> Value {
    let Ok(event) = Object::parse(event.as_bytes()) else {
        // Too long to be read, or broken. Within a text of its own these quotes would be escaped.
        let is = |name: &str| event.contains(&format!("\"hook_event_name\":\"{name}\""));
        return match (is("PostToolUse"), is("PostToolBatch")) {
            (true, false) => halt(why),
            (false, true) => block(why),
            _ => fail_closed("", why),
        };
    };
    let name = event.text("hook_event_name").unwrap_or_default();
    let tool = event.text("tool_name").filter(|tool| !tool.starts_with("mcp__"));
    match (name.as_str(), tool) {
        ("PostToolUse", Some(tool)) => {
            let response = event.get("tool_response").map_or("", RawValue::get);
            let instead = withheld(&tool, response, why);
            instead.map_or_else(|| halt(why), |instead| shown_instead(&instead, ""))
        }
        ("PostToolBatch", _) => {
            let calls: Option<Vec<Value>> =
                event.get("tool_calls").and_then(|calls| serde_json::from_str(calls.get()).ok());
            // Denials and what was withheld say so; anything else was searched by nobody.
            let is_harmless = |call: &Value| {
                call["tool_name"].as_str().is_some_and(|tool| tool.starts_with("mcp__"))
                    || call["tool_response"]
                        .to_string()
                        .to_ascii_lowercase()
                        .contains(&VOICE.to_ascii_lowercase())
            };
            if calls.is_some_and(|calls| calls.iter().all(is_harmless)) {
                fail_closed(&name, why)
            } else {
                block(why)
            }
        }
        _ => fail_closed(&name, why),
    }
}

/// The answer to an event of this name when the gate cannot answer.
pub fn fail_closed(event: &str, why: &str) -> Value {
    match event {
        "PermissionRequest" => refuse_permission(why),
        "ConfigChange" | "UserPromptSubmit" => block(why),
        "PostToolUse" | "PostToolBatch" | "PostToolUseFailure" | "SessionStart" | "SubagentStart"
        | "SessionEnd" | "Stop" | "Notification" => json!({ "systemMessage": format!("{VOICE}{why}") }),
        // Also for an event that cannot be read: it may have been the one before a call.
        _ => deny(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gate_no_result_is_seen_that_nobody_searched() {
        let event = |name: &str, more: Value| {
            let mut event = json!({ "hook_event_name": name });
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            unanswered(&event.to_string(), "gone")
        };
        let bash = json!({ "tool_name": "Bash", "tool_response": { "stdout": "secret", "stderr": "" } });
        let shown = event("PostToolUse", bash);
        let output = &shown["hookSpecificOutput"]["updatedToolOutput"];
        assert_eq!(
            (&output["stdout"], &output["stderr"]),
            (&json!("[Bailiwick: withheld: gone]"), &json!(""))
        );
        let read = json!({ "tool_name": "Read", "tool_response": { "type": "text", "file": { "filePath": "/a", "content": "s" } } });
        let shown = event("PostToolUse", read);
        assert_eq!(shown.pointer("/hookSpecificOutput/updatedToolOutput/file/filePath"), Some(&json!("/a")));
        assert!(!shown.to_string().contains("\"s\""), "{shown}");
        let other = json!({ "tool_name": "LSP", "tool_response": { "x": 1 } });
        assert_eq!(event("PostToolUse", other)["continue"], false, "its shape is not known");
        for (response, blocks) in [
            (json!("PreToolUse:Bash hook error: Bailiwick: gone"), false),
            (json!("Exit code 2\nbailiwick: no gate"), false),
            (json!("secret"), true),
        ] {
            let calls = json!({ "tool_calls": [{ "tool_name": "Bash", "tool_response": response }] });
            assert_eq!(event("PostToolBatch", calls)["decision"] == "block", blocks, "{response}");
        }
        let long = |name: &str| {
            unanswered(&format!("{{\"hook_event_name\":\"{name}\",\"tool_response\":\"cut"), "long")
        };
        assert_eq!(long("PostToolUse")["continue"], false);
        assert_eq!(long("PostToolBatch")["decision"], "block");
        assert_eq!(
            long("PreToolUse").pointer("/hookSpecificOutput/permissionDecision"),
            Some(&json!("deny"))
        );
    }

    #[test]
    fn every_event_that_can_stop_something_does_when_the_gate_is_gone() {
        for (event, pointer, want) in [
            ("PreToolUse", "/hookSpecificOutput/permissionDecision", "deny"),
            ("", "/hookSpecificOutput/permissionDecision", "deny"),
            ("PermissionRequest", "/hookSpecificOutput/decision/behavior", "deny"),
            ("PostToolUse", "/decision", ""),
            ("UserPromptSubmit", "/decision", "block"),
            ("ConfigChange", "/decision", "block"),
        ] {
            let answer = fail_closed(event, "gone");
            let want = Some(json!(want)).filter(|want| *want != "");
            assert_eq!(answer.pointer(pointer), want.as_ref(), "{event}");
        }
    }
}
