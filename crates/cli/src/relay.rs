//! The two thin processes a client starts: a pipe for MCP and a hook for Claude Code.
//! Both only carry bytes to the running gate, and both answer no when there is none.

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::adapters::hook::{settings::settings, verdict};
use gateway::config::{Config, Place};
use gateway::wire::control::{CONTROL_BYTES_MAX, Opening};
use gateway::wire::frame::Object;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the gate may take to answer an event that never waits for a person, in seconds.
const ANSWER_SECONDS_MAX: u64 = 20;

#[derive(clap::Subcommand)]
pub(crate) enum HookAction {
    /// Print the settings that put Claude Code under this gate
    Settings,
}

/// Connects to the running gate and says what for.
pub(crate) fn connect(place: &Place, opening: &Opening) -> anyhow::Result<UnixStream> {
    let socket = place.socket();
    let mut stream = UnixStream::connect(&socket)
        .with_context(|| "no gate is running for this project; start it with `bailiwick serve`")?;
    let line = serde_json::to_string(opening)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    Ok(stream)
}

/// Carries lines between standard streams and the gate. When the gate ends, every further request is answered with
/// an error, so that the client never waits and never believes that something ran.
pub(crate) fn mcp(place: &Place, server: Option<String>) -> anyhow::Result<Outcome> {
    let config = Config::load(&place.config)?;
    if let Some(name) = server.as_ref().filter(|name| !config.server.contains_key(*name)) {
        let known: Vec<_> = config.server.keys().cloned().collect();
        anyhow::bail!("no server `{name}` is configured; there are: {}", known.join(", "));
    }
    let stream = connect(place, &Opening::Mcp(server))?;
    let mut from_gate = stream.try_clone()?;
    let mut to_gate = stream;
    let down = std::thread::spawn(move || {
        let mut out = std::io::stdout().lock();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from_gate.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    let mut input = BufReader::with_capacity(64 * 1024, std::io::stdin().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let gone = down.is_finished() || to_gate.write_all(&line).is_err();
        if gone && let Some(refusal) = refusal(&line) {
            terminal::say(&refusal);
        }
    }
    // Half a close: answers under way still arrive.
    drop(to_gate.shutdown(std::net::Shutdown::Write));
    drop(down.join());
    Ok(Outcome::Done)
}

/// The error that answers a request nobody will run.
fn refusal(line: &[u8]) -> Option<String> {
    let id = Object::parse(line).ok()?.get("id")?.to_owned();
    let error = gateway::wire::frame::error(
        Some(&id),
        gateway::adapters::mcp::DENIED,
        "denied: the gate has ended; start it again with `bailiwick serve`",
        None,
    );
    Some(error.to_raw().get().to_owned())
}

/// Answers one hook event. Whatever happens, the answer is whole, on standard output, and closed.
pub(crate) fn hook(dir: Option<&Path>, state: Option<&Path>) -> anyhow::Result<Outcome> {
    let mut event = String::new();
    // A panic must not end in an exit code the client takes for consent, nor print half an answer.
    std::panic::set_hook(Box::new(|_| {}));
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judged(dir, state, &mut event)));
    let failure = match answer {
        Ok(Ok(answer)) => {
            terminal::say(&answer);
            return Ok(Outcome::Done);
        }
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "the hook failed inside".to_owned(),
    };
    let name = Object::parse(event.as_bytes()).ok().and_then(|event| event.text("hook_event_name")).unwrap_or_default();
    terminal::say(&verdict::fail_closed(&name, &failure).to_string());
    Ok(Outcome::Done)
}

fn judged(dir: Option<&Path>, state: Option<&Path>, event: &mut String) -> anyhow::Result<String> {
    std::io::stdin()
        .lock()
        .take(CONTROL_BYTES_MAX as u64)
        .read_to_string(event)
        .context("the event is not UTF-8 text")?;
    let raw = serde_json::from_str(event.trim()).context("the event is not JSON")?;
    let parsed = Object::parse(event.trim().as_bytes()).context("the event cannot be read")?;
    let place = Place::find(dir, state).context("the gate of this project was not found")?;
    let waits = parsed.text("hook_event_name").as_deref() == Some("PreToolUse");
    let stream = connect(&place, &Opening::Hook(raw)).map_err(|_| {
        // Where the gate lives is not for the model.
        anyhow::anyhow!("the gate is not running, so nothing may run; ask the operator to start it")
    })?;
    if !waits {
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    }
    let mut answer = String::new();
    BufReader::new(stream)
        .take(CONTROL_BYTES_MAX as u64)
        .read_line(&mut answer)
        .context("the gate did not answer in time")?;
    let answer = answer.trim();
    let whole = Object::parse(answer.as_bytes()).map_err(|_| anyhow::anyhow!("the gate ended before it answered"))?;
    anyhow::ensure!(whole.get("error").is_none(), "the gate could not answer");
    Ok(answer.to_owned())
}

/// Denies when even the command line of the hook is wrong.
pub(crate) fn hook_misused() {
    terminal::say(&verdict::fail_closed("", "the hook is not installed properly").to_string());
}

/// Prints the managed settings for Claude Code.
pub(crate) fn print_settings(place: &Place) -> anyhow::Result<Outcome> {
    let config = Config::load(&place.config)?;
    let program = std::env::current_exe()?;
    let printed = settings(&program, &place.config, &place.state, config.gate.ask_wait_seconds);
    terminal::say(&serde_json::to_string_pretty(&printed)?);
    Ok(Outcome::Done)
}

/// Asks the running gate one thing.
pub(crate) fn ask(place: &Place, control: gateway::wire::control::Control) -> anyhow::Result<serde_json::Value> {
    let stream = connect(place, &Opening::Control(control))?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    let mut line = String::new();
    BufReader::new(stream).take(CONTROL_BYTES_MAX as u64).read_line(&mut line)?;
    match serde_json::from_str(&line).context("the gate ended before it answered")? {
        gateway::wire::control::Reply::Ok(value) => Ok(value),
        gateway::wire::control::Reply::Error(why) => anyhow::bail!(why),
    }
}
