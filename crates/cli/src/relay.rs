//! The two thin processes a client starts: a pipe for MCP and a hook for Claude Code.
//! Both only carry bytes to the running gate, and both answer no when there is none.

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::adapters::hook::settings::{asking, settings};
use gateway::adapters::hook::verdict;
use gateway::config::approvals::OnAsk;
use gateway::config::{Config, Place};
use gateway::launch;
use gateway::wire::control::{CONTROL_BYTES_MAX, Control, Opening, Reply};
use gateway::wire::frame::Object;
use gateway::wire::launch::Ended;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the gate may take to answer an event that never waits for a person, in seconds.
const ANSWER_SECONDS_MAX: u64 = 20;
/// Longest message of a user, in bytes.
const SAID_BYTES_MAX: u64 = 1024 * 1024;
/// What Claude Code says of how it was started: `sdk-…` without a person in front of it.
const CLIENT_ENTRYPOINT: &str = "CLAUDE_CODE_ENTRYPOINT";
/// Requests whose answers are watched for; the gate itself allows one client fewer.
const OPEN_REQUESTS_MAX: usize = 4_096;

#[derive(clap::Subcommand)]
pub(crate) enum HookAction {
    /// Print the settings that put Claude Code under this gate
    Settings {
        /// For a client without hooks, whose permission prompts the gate answers: it asks about every tool
        #[arg(long)]
        prompts: bool,
    },
    /// Write the plugin for Claude Code to a folder, with the hooks and servers of this very program
    Plugin {
        /// A new folder, outside of any project
        folder: PathBuf,
    },
}

/// The gate as an agent's programs find it.
pub(crate) enum Way {
    /// At the door in the wall they are behind.
    Door(PathBuf),
    /// Where the project says.
    Place(Place),
}

impl Way {
    /// The door where there is one; otherwise the project's gate. Who names the gate means that one: a variable, which a
    /// repository's settings may set, does not lead past it.
    pub(crate) fn find(dir: Option<&Path>, state: Option<&Path>) -> anyhow::Result<Self> {
        match std::env::var_os(launch::VARIABLE).filter(|_| dir.or(state).is_none()) {
            Some(door) => Ok(Self::Door(door.into())),
            None => Ok(Self::Place(Place::find(dir, state)?)),
        }
    }

    fn connect(&self, opening: &Opening) -> anyhow::Result<UnixStream> {
        match self {
            Self::Door(door) => open(door, opening),
            Self::Place(place) => connect(place, opening),
        }
    }
}

/// Connects to the running gate and says what for.
pub(crate) fn connect(place: &Place, opening: &Opening) -> anyhow::Result<UnixStream> {
    open(&place.socket(), opening)
}

fn open(socket: &Path, opening: &Opening) -> anyhow::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| "no gate is running for this project; start it with `bailiwick serve`")?;
    let line = serde_json::to_string(opening)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    Ok(stream)
}

/// Tells the gate what the user said in a conversation: standard input, whole.
pub(crate) fn said(place: &Place, conversation: String, scope: Vec<String>) -> anyhow::Result<Outcome> {
    let mut text = String::new();
    std::io::stdin().lock().take(SAID_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SAID_BYTES_MAX {
        anyhow::bail!("the message is longer than {SAID_BYTES_MAX} bytes; say what decides in fewer words");
    }
    let scope = (!scope.is_empty()).then_some(scope);
    ask(place, Control::Said { conversation, text, scope })?;
    Ok(Outcome::Done)
}

/// Carries lines between standard streams and the gate. When the gate ends, every request it left open and every
/// further one is answered with an error, so that the client never waits and never believes that something ran.
pub(crate) fn mcp(
    way: &Way,
    server: Option<String>,
    conversation: Option<String>,
) -> anyhow::Result<Outcome> {
    if let (Way::Place(place), Some(name)) = (way, &server) {
        let config = Config::load(&place.config)?;
        if !config.server.contains_key(name) {
            let known: Vec<_> = config.server.keys().cloned().collect();
            anyhow::bail!("no server `{name}` is configured; there are: {}", known.join(", "));
        }
    }
    let cwd = std::env::current_dir().ok().and_then(|cwd| cwd.to_str().map(str::to_owned));
    let stream = way.connect(&Opening::Mcp { server, conversation, cwd })?;
    let from_gate = stream.try_clone()?;
    let mut to_gate = stream;
    let open = Arc::new(Mutex::new(Open::default()));
    let opened = open.clone();
    let down = std::thread::spawn(move || carry_down(from_gate, &opened));
    let mut input = BufReader::with_capacity(64 * 1024, std::io::stdin().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let id = request_id(&line);
        let ended = match &id {
            Some(id) => !locked(&open).begin(id),
            None => false,
        };
        // A request that could not be sent is still open here, or was answered with the others.
        let refused = ended
            || (to_gate.write_all(&line).is_err() && id.as_ref().is_some_and(|id| locked(&open).ends(id)));
        if let Some(id) = id.filter(|_| refused) {
            terminal::say(&unanswered(
                &id,
                "denied: the gate has ended; start it again with `bailiwick serve`",
            ));
        }
    }
    // Half a close: answers under way still arrive.
    drop(to_gate.shutdown(std::net::Shutdown::Write));
    drop(down.join());
    Ok(Outcome::Done)
}

/// Requests the gate has not answered yet, by their ids as written.
#[derive(Default)]
struct Open {
    ids: HashSet<String>,
    gate_ended: bool,
}

impl Open {
    /// False when the gate has ended.
    fn begin(&mut self, id: &RawValue) -> bool {
        // A client that cancels much leaves ids behind; past the limit a gate's end is not told for every one.
        if !self.gate_ended && self.ids.len() < OPEN_REQUESTS_MAX {
            self.ids.insert(id.get().to_owned());
        }
        !self.gate_ended
    }

    /// Whether it was open.
    fn ends(&mut self, id: &RawValue) -> bool {
        self.ids.remove(id.get())
    }
}

/// Carries whole messages to the client, and answers what the gate left open.
fn carry_down(mut from_gate: UnixStream, open: &Mutex<Open>) {
    let mut out = std::io::stdout().lock();
    let mut buffer = vec![0; 64 * 1024];
    let mut pending = Vec::new();
    while let Ok(count @ 1..) = from_gate.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..count]);
        let Some(last) = buffer[..count].iter().rposition(|byte| *byte == b'\n') else { continue };
        // What comes after is the beginning of a message, and worth nothing if the gate ends in the middle of it.
        let rest = pending.split_off(pending.len() - count + last + 1);
        let whole = std::mem::replace(&mut pending, rest);
        if out.write_all(&whole).and_then(|()| out.flush()).is_err() {
            return;
        }
        for line in whole.split(|byte| *byte == b'\n') {
            let response = Object::parse(line).ok().filter(|message| message.get("method").is_none());
            if let Some(id) = response.as_ref().and_then(|response| response.get("id")) {
                locked(open).ends(id);
            }
        }
    }
    let left = {
        let mut open = locked(open);
        open.gate_ended = true;
        std::mem::take(&mut open.ids)
    };
    for id in left.into_iter().filter_map(|id| RawValue::from_string(id).ok()) {
        let why =
            "the gate ended before it answered; the call may have happened, see `bailiwick journal explain`";
        drop(writeln!(out, "{}", unanswered(&id, why)));
    }
    drop(out.flush());
}

/// The id of a request; none for anything else.
fn request_id(line: &[u8]) -> Option<Box<RawValue>> {
    let message = Object::parse(line).ok()?;
    message.get("method").and(message.get("id")).map(RawValue::to_owned)
}

/// The error that answers a request the gate did not.
fn unanswered(id: &RawValue, why: &str) -> String {
    let error = gateway::wire::frame::error(Some(id), gateway::adapters::mcp::DENIED, why, None);
    error.to_raw().get().to_owned()
}

fn locked(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one hook event. Whatever happens, the answer is whole, on standard output, and closed.
pub(crate) fn hook(dir: Option<&Path>, state: Option<&Path>, defers: bool) -> anyhow::Result<Outcome> {
    let mut event = String::new();
    // A panic must not end in an exit code the client takes for consent, nor print half an answer.
    std::panic::set_hook(Box::new(|_| {}));
    let answer =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judged(dir, state, defers, &mut event)));
    let failure = match answer {
        Ok(Ok(answer)) => {
            terminal::say(&answer);
            return Ok(Outcome::Done);
        }
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "the hook failed inside".to_owned(),
    };
    terminal::say(&verdict::unanswered(&event, &failure).to_string());
    Ok(Outcome::Done)
}

fn judged(
    dir: Option<&Path>,
    state: Option<&Path>,
    defers: bool,
    event: &mut String,
) -> anyhow::Result<String> {
    std::io::stdin()
        .lock()
        .take(CONTROL_BYTES_MAX as u64)
        .read_to_string(event)
        .context("the event is not UTF-8 text")?;
    let raw = serde_json::from_str(event.trim()).context("the event is not JSON")?;
    let parsed = Object::parse(event.trim().as_bytes()).context("the event cannot be read")?;
    // Where the gate lives is not for the model, here and below.
    let way = Way::find(dir, state).map_err(|_| anyhow::anyhow!("the gate of this project was not found"))?;
    let waits = parsed.text("hook_event_name").as_deref() == Some("PreToolUse");
    // Only a run without a person in front of it can be ended and resumed.
    let is_headless = std::env::var(CLIENT_ENTRYPOINT).is_ok_and(|name| name.starts_with("sdk"));
    let stream = way.connect(&Opening::Hook { event: raw, defers: defers && is_headless }).map_err(|_| {
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
    let whole =
        Object::parse(answer.as_bytes()).map_err(|_| anyhow::anyhow!("the gate ended before it answered"))?;
    anyhow::ensure!(whole.get("error").is_none(), "the gate could not answer");
    Ok(answer.to_owned())
}

/// Denies when even the command line of the hook is wrong.
pub(crate) fn hook_misused() {
    terminal::say(&verdict::fail_closed("", "the hook is not installed properly").to_string());
}

/// Prints the managed settings for Claude Code, with hooks or for one whose permission prompts are answered.
pub(crate) fn print_settings(place: &Place, prompts: bool) -> anyhow::Result<Outcome> {
    let config = Config::load(&place.config)?;
    let program = std::env::current_exe()?;
    let defers = config.approvals.on_ask == OnAsk::Defer;
    let port = config.proxy.as_ref().and_then(gateway::config::proxy::Proxy::port_for_clients);
    let printed = match prompts {
        true => serde_json::json!({ "permissions": asking() }),
        false => settings(&program, &place.config, &place.state, config.gate.ask_wait_seconds, port, defers),
    };
    terminal::say(&serde_json::to_string_pretty(&printed)?);
    Ok(Outcome::Done)
}

/// Passes the sockets of a sandbox on to the gate, which answers at them for as long as the connection stands.
pub(crate) fn hand_over(
    place: &Place,
    call: &str,
    sockets: &::sandbox::native::network::Sockets,
) -> anyhow::Result<UnixStream> {
    let stream = connect(place, &Opening::Control(Control::Exit(call.to_owned())))?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    let mut line = String::new();
    BufReader::new(&stream).take(CONTROL_BYTES_MAX as u64).read_line(&mut line)?;
    match serde_json::from_str(&line).context("the gate ended before it answered")? {
        Reply::Ok(_) => sockets.send(stream.as_fd())?,
        Reply::Error(why) => anyhow::bail!(why),
    }
    Ok(stream)
}

/// A pipe for what the command `call` prints, and who brings it to `to` as far as it may be shown: true once all of it arrived.
pub(crate) fn shown(place: &Place, call: &str, to: OwnedFd) -> anyhow::Result<(OwnedFd, JoinHandle<bool>)> {
    let stream = connect(place, &Opening::Control(Control::Shown(call.to_owned())))?;
    let mut from_gate = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    (&mut from_gate).take(CONTROL_BYTES_MAX as u64).read_line(&mut line)?;
    if let Reply::Error(why) = serde_json::from_str(&line).context("the gate ended before it answered")? {
        anyhow::bail!(why);
    }
    let (mut reader, writer) = std::io::pipe()?;
    let carried = std::thread::spawn(move || {
        let whole = std::io::copy(&mut reader, &mut &stream).is_ok();
        whole && stream.shutdown(std::net::Shutdown::Write).is_ok()
    });
    let arrives = std::thread::spawn(move || {
        let mut to = std::fs::File::from(to);
        // A client that reads no more is no fault of the gate's.
        let back = std::io::copy(&mut from_gate, &mut to);
        carried.join().unwrap_or(false) && back.is_ok()
    });
    Ok((writer.into(), arrives))
}

/// Has the gate run the permitted command `call` on this process's own streams, from behind the wall of an agent.
pub(crate) fn run_outside(door: &Path, call: &str) -> anyhow::Result<Outcome> {
    let stream = open(door, &Opening::Shell(call.to_owned()))?;
    let mut lines = BufReader::new(&stream);
    let mut answer = || -> anyhow::Result<serde_json::Value> {
        let mut line = String::new();
        (&mut lines).take(CONTROL_BYTES_MAX as u64).read_line(&mut line)?;
        match serde_json::from_str(&line).context("the gate ended before it answered")? {
            Reply::Ok(value) => Ok(value),
            Reply::Error(why) => anyhow::bail!(why),
        }
    };
    answer()?;
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let files = [input.as_fd(), output.as_fd(), error.as_fd()];
    gateway::wire::descriptors::send(stream.as_fd(), &files)?;
    let ended: Ended = serde_json::from_value(answer()?).context("the gate said something else")?;
    if let Some(place) = ended.place {
        crate::sandbox::say_place(&place);
    }
    Ok(Outcome::Ended(ended.status))
}

/// Asks the running gate one thing.
pub(crate) fn ask(place: &Place, control: Control) -> anyhow::Result<serde_json::Value> {
    ask_within(place, control, Some(Duration::from_secs(ANSWER_SECONDS_MAX)))
}

/// The same for what takes as long as the gate lets it.
pub(crate) fn ask_patiently(place: &Place, control: Control) -> anyhow::Result<serde_json::Value> {
    ask_within(place, control, None)
}

fn ask_within(
    place: &Place,
    control: Control,
    patience: Option<Duration>,
) -> anyhow::Result<serde_json::Value> {
    let stream = connect(place, &Opening::Control(control))?;
    stream.set_read_timeout(patience)?;
    let mut line = String::new();
    BufReader::new(&stream).take(CONTROL_BYTES_MAX as u64).read_line(&mut line)?;
    match serde_json::from_str(&line).context("the gate ended before it answered")? {
        Reply::Ok(value) => Ok(value),
        Reply::Error(why) => anyhow::bail!(why),
    }
}
