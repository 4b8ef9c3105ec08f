//! One hook event as Claude Code pays for it: start `bailiwick hook`, ask the running gate, read the answer.
//! Beside it the cheapest process there is, `/bin/true`.

use super::numbers::{Times, round};
use super::stand::Gate;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

const EVENTS: usize = 200;
const WARM: usize = 5;
const POLICY: &str = r#"
@id("echo") permit(principal, action == Action::"claude/Bash", resource)
  when { context.args.command.program == "echo" && !context.args.command.opaque };
"#;

pub(super) fn measure() -> anyhow::Result<Value> {
    let gate = Gate::open(&[], POLICY)?;
    let (mut hook, mut nothing) = (Times::default(), Times::default());
    for number in 0..WARM + EVENTS {
        let event = json!({ "hook_event_name": "PreToolUse", "session_id": "bench", "cwd": gate.project(), "tool_name": "Bash",
            "tool_input": { "command": "echo hello" }, "tool_use_id": format!("toolu_{number}") });
        let started = Instant::now();
        let mut child = gate.command()?.arg("hook").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(mut to) = child.stdin.take() {
            to.write_all(event.to_string().as_bytes())?;
        }
        let out = child.wait_with_output()?;
        let took = started.elapsed();
        let answer: Value = serde_json::from_slice(&out.stdout)?;
        anyhow::ensure!(answer["hookSpecificOutput"]["permissionDecision"] == "allow", "{answer}");
        let started = Instant::now();
        crate::succeed(Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()))?;
        let nothing_took = started.elapsed();
        if number >= WARM {
            hook.add(took);
            nothing.add(nothing_took);
        }
    }
    hook.say("bailiwick hook, whole process");
    nothing.say("/bin/true, whole process");
    let ratio = hook.at(0.5) / nothing.at(0.5);
    println!("  ratio of the medians {ratio:.2}");
    Ok(json!({ "hook": hook.summary(), "true": nothing.summary(), "ratio_p50": round(ratio) }))
}
