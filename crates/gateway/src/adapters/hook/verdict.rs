//! Claude Code's hook outputs, each in the shape its event wants (measured on 2.1.329).
//! Whatever goes wrong becomes the strictest answer the event knows; plain text or nothing would let a call run.

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

/// `PostToolUse`: it happened and must not go on.
pub fn halt(why: &str) -> Value {
    let why = format!("{VOICE}{why}");
    json!({ "continue": false, "stopReason": why, "decision": "block", "reason": why })
}

/// The answer when the gate cannot answer: nothing more happens. What a permitted call has already done may be seen;
/// the next call is denied.
pub fn fail_closed(event: &str, why: &str) -> Value {
    match event {
        "PermissionRequest" => refuse_permission(why),
        "ConfigChange" | "UserPromptSubmit" => block(why),
        "PostToolUse" | "PostToolBatch" | "PostToolUseFailure" | "SessionStart" | "SessionEnd" | "Stop"
        | "Notification" => json!({ "systemMessage": format!("{VOICE}{why}") }),
        // Also for an event that cannot be read: it may have been the one before a call.
        _ => deny(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
