//! `bailiwick run -- AGENT`: the whole agent behind the wall, on this terminal. The gate that answers it runs beside it, in a process
//! of its own that the agent cannot see; this one builds the wall, waits, and says what happened.

use crate::relay::connect;
use crate::{NotEnforceable, Outcome, terminal};
use anyhow::Context;
use gateway::config::Place;
use gateway::launch::VARIABLE;
use gateway::wire::control::{CONTROL_BYTES_MAX, Opening, Reply};
use gateway::wire::launch::{Launch, Launched, Word};
use gateway::wire::record::{Body, Confined, Record};
use sandbox::native::Ear;
use sandbox::overlay::Overlay;
use sandbox::warden;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The overlay's name where none is given.
const OVERLAY: &str = "agent";
/// How many gates are begun for one launch.
const GATES_MAX: usize = 5;
/// How long is waited for a gate that closes its books.
const BOOKS_CLOSE: Duration = Duration::from_millis(200);
/// How long an old gate may take to end.
const MAKES_ROOM_MAX: Duration = Duration::from_secs(20);
/// How long the gate may take to hear a word.
const VOICE_SECONDS_MAX: Duration = Duration::from_secs(1);
/// Variables that agents are given where they are set: what terminal this is, where their model is, and nothing that is a key.
const PASSED: [&str; 14] = [
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_MODEL",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "COLORTERM",
    "EDITOR",
    "FORCE_COLOR",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "NO_COLOR",
    "TERM",
    "TERM_PROGRAM",
    "TZ",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The settings [agent.NAME] of bailiwick.toml [default: those of the program's name, or standing ones]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Keep the agent's changes to the project apart, under this name; see `bailiwick sandbox diff`
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = OVERLAY)]
    overlay: Option<String>,
    /// The client that the program drives, where its own name does not say: `claude` for programs of the Agent SDK
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Set a variable inside, or pass on the one of this name; `${secret:NAME}` in it becomes a placeholder
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Say nothing when it is over
    #[arg(long, short)]
    quiet: bool,
    /// Write what happened to this file as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The agent and its arguments
    #[arg(last = true, required = true, value_name = "AGENT")]
    command: Vec<String>,
}

pub(crate) fn run(place: Place, args: Args) -> anyhow::Result<Outcome> {
    let mut command = args.command.clone();
    command[0] = program(&command[0])?.display().to_string();
    let launch = Launch {
        profile: args.profile.clone(),
        command,
        cwd: std::env::current_dir()?,
        environment: environment(&args.env)?,
        overlay: args.overlay.clone(),
        client: args.client.clone(),
    };
    let (line, launched) = begin(&place, &launch)?;
    for note in &launched.notes {
        terminal::complain(&format!("bailiwick: {note}"));
    }
    let ran = launched.order.start().and_then(|mut sandbox| {
        if launched.is_captured
            && let Some(sockets) = sandbox.take_sockets()
        {
            sockets
                .send(line.stream.as_fd())
                .map_err(|error| sandbox::RunError::Failed(error.to_string()))?;
        }
        // What came in to it from outside is all that the gate takes as its user's words.
        sandbox.run_heard(&launched.order.command, line.ear()?)
    });
    // A gate that was killed in the meantime does not.
    if let Some(door) = launched.order.profile.environment.get(VARIABLE).map(Path::new).and_then(Path::parent)
    {
        drop(std::fs::remove_dir_all(door));
    }
    let (status, confined) = match &ran {
        Ok(outcome) => {
            for limit in &outcome.reached {
                terminal::complain(&format!("bailiwick: the limit on {limit} was reached"));
            }
            (warden::status(&outcome.end), Confined::from(outcome))
        }
        Err(error) => {
            terminal::complain(&format!("bailiwick: {error}"));
            let status = if matches!(error, sandbox::RunError::Unenforceable(_)) {
                3
            } else {
                warden::refusal_status(error)
            };
            return Ok(Outcome::Ended(status));
        }
    };
    let context = line.end(&confined).unwrap_or_default();
    let report = Report::of(&place, &launched, context);
    if let Some(file) = &args.report {
        let text = serde_json::to_vec(&report)?;
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    if !args.quiet {
        report.say(&launched, args.overlay.as_deref().unwrap_or(OVERLAY));
    }
    Ok(Outcome::Ended(status))
}

/// Begins the launch at a gate that has read the configuration as it is now.
fn begin(place: &Place, launch: &Launch) -> anyhow::Result<(Connection, Launched)> {
    for round in 0..GATES_MAX {
        match gate(place) {
            // The one before may still be closing its books.
            Err(_) if (1..GATES_MAX - 1).contains(&round) => {
                std::thread::sleep(BOOKS_CLOSE);
                continue;
            }
            opened => opened?,
        }
        let mut line = Connection::open(place, launch.clone())?;
        let answer = line.answer().map_err(|why| NotEnforceable(why.to_string()))?;
        if !answer.is_null() {
            return Ok((line, serde_json::from_value(answer)?));
        }
        // An old gate makes room: the connection ends with it.
        line.stream.set_read_timeout(Some(MAKES_ROOM_MAX))?;
        drop(line.lines.read_to_end(&mut Vec::new()));
    }
    Err(NotEnforceable("the configuration changes while the gate reads it; try again".to_owned()).into())
}

/// The program by its absolute path, as this shell would find it.
fn program(word: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    if word.contains('/') {
        let file = here.join(word);
        // Inside it would only be missing; what an image alone has is missing out here.
        return match file.metadata() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(error).with_context(|| file.display().to_string())
            }
            _ => Ok(file),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(word)).find(|file| file.is_file());
    found.with_context(|| format!("`{word}` is not on PATH; install it, or give its path"))
}

fn environment(wanted: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let mut all: BTreeMap<String, String> = passed.collect();
    for variable in wanted {
        let (name, value) = match variable.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (variable.clone(), std::env::var(variable).with_context(|| format!("--env {variable}"))?),
        };
        all.insert(name, value);
    }
    Ok(all)
}

/// Makes sure that a gate answers at `place`: the one that runs there, or one that ends with the last agent.
pub(crate) fn gate(place: &Place) -> anyhow::Result<()> {
    if UnixStream::connect(place.socket()).is_ok() {
        return Ok(());
    }
    place.private_state()?;
    // A client starts all its servers at once; the gate that the first began serves the others.
    let turn = place.state.join("gate.turn");
    let options =
        std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&turn);
    let turn = options.with_context(|| turn.display().to_string())?;
    turn.lock()?;
    if UnixStream::connect(place.socket()).is_ok() {
        return Ok(());
    }
    let log = place.state.join("gate.log");
    let errors = std::fs::File::create(&log).with_context(|| log.display().to_string())?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .arg("--dir")
        .arg(&place.config)
        // Named where it was not chosen, it would have a store of its own.
        .args(
            place
                .is_chosen()
                .then_some([OsStr::new("--state"), place.state.as_os_str()])
                .into_iter()
                .flatten(),
        )
        .args(["serve", "--listen", "127.0.0.1:0", "--json", "--while-launched"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        // Keys of this terminal are not for it.
        .process_group(0);
    let mut child = command.spawn()?;
    let mut ready = String::new();
    let out = child.stdout.take().context("a gate without an output")?;
    BufReader::new(out).take(CONTROL_BYTES_MAX as u64).read_line(&mut ready)?;
    if ready.is_empty() {
        drop(child.wait());
        let why = std::fs::read_to_string(&log).unwrap_or_default();
        return Err(NotEnforceable(format!("the gate did not start: {}", why.trim())).into());
    }
    Ok(())
}

/// The launch's line to the gate: it is over when this ends.
struct Connection {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    /// Says the lines, one at a time.
    voice: Arc<Mutex<UnixStream>>,
}

impl Connection {
    fn open(place: &Place, launch: Launch) -> anyhow::Result<Self> {
        let stream = connect(place, &Opening::Launch(Box::new(launch)))?;
        let lines = BufReader::new(stream.try_clone()?);
        let voice = Arc::new(Mutex::new(stream.try_clone()?));
        Ok(Self { stream, lines, voice })
    }

    /// Hears what comes in to the agent, and tells the gate. A gate that is gone or does not listen is not waited for.
    fn ear(&self) -> std::io::Result<Ear> {
        self.stream.set_write_timeout(Some(VOICE_SECONDS_MAX))?;
        let mut voice = Some(self.voice.clone());
        let mut pending = Vec::new();
        Ok(Box::new(move |input| {
            pending.extend_from_slice(input);
            // The rest of a letter comes with the next piece.
            let whole = match std::str::from_utf8(&pending) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => pending.len(),
            };
            let rest = pending.split_off(whole);
            let word = Word::Given(String::from_utf8_lossy(&pending).into_owned());
            pending = rest;
            if voice.as_deref().is_some_and(|voice| say(voice, &word).is_err()) {
                voice = None;
            }
        }))
    }

    fn answer(&mut self) -> anyhow::Result<serde_json::Value> {
        let mut line = String::new();
        (&mut self.lines).take(CONTROL_BYTES_MAX as u64).read_line(&mut line)?;
        match serde_json::from_str(&line).context("the gate ended before it answered")? {
            Reply::Ok(value) => Ok(value),
            Reply::Error(why) => anyhow::bail!(why),
        }
    }

    fn end(mut self, how: &Confined) -> anyhow::Result<serde_json::Value> {
        say(&self.voice, &Word::Ended(how.clone()))?;
        self.answer()
    }
}

fn say(voice: &Mutex<UnixStream>, word: &Word) -> anyhow::Result<()> {
    let line = serde_json::to_string(word)?;
    let mut stream = voice.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(stream.write_all(format!("{line}\n").as_bytes())?)
}

/// What happened while an agent ran, counted in the journal.
#[derive(Debug, Default, serde::Serialize)]
struct Report {
    /// The first record of it, and how many there were.
    first: u64,
    records: u64,
    /// Calls that were decided, by decision.
    permitted: usize,
    asked: usize,
    denied: usize,
    /// Requests and connections to the network, of those.
    egress: usize,
    /// Results in which something was taken out.
    redacted: usize,
    alerts: BTreeMap<String, usize>,
    /// What was denied, in words, the first of each operation.
    denials: BTreeMap<String, String>,
    /// Changes in the overlay.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<usize>,
    /// What was sent to models, and searched.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    context: serde_json::Value,
}

impl Report {
    fn of(place: &Place, launched: &Launched, context: serde_json::Value) -> Self {
        let mut report = Self { first: launched.records, context, ..Self::default() };
        let counted =
            crate::journal::each(&place.journal(), launched.records, |record| report.count(&record));
        if let Err(error) = counted {
            terminal::complain(&format!("bailiwick: the journal could not be read: {error:#}"));
        }
        report.changed = launched.overlay.as_deref().and_then(|folder| changed(folder, place.project()));
        report
    }

    fn count(&mut self, record: &Record) {
        self.records += 1;
        match &record.body {
            Body::Decision(decided) => {
                match decided.decision.as_str() {
                    "deny" => {
                        self.denied += 1;
                        self.denials.entry(decided.tool.clone()).or_insert_with(|| decided.why.clone());
                    }
                    "ask" => self.asked += 1,
                    _ => self.permitted += 1,
                }
                self.egress += usize::from(decided.tool.starts_with("egress/"));
            }
            Body::Outcome { detail, .. } => self.redacted += usize::from(detail.contains("taken out")),
            Body::Alert { rule, .. } => *self.alerts.entry(rule.clone()).or_default() += 1,
            _ => {}
        }
    }

    fn say(&self, launched: &Launched, overlay: &str) {
        let Self { permitted, asked, denied, egress, redacted, alerts, denials, changed, .. } = self;
        terminal::complain(&format!(
            "\nbailiwick: {permitted} calls permitted, {asked} granted, {denied} denied; {egress} of them to the network; {redacted} \
             results with something taken out"
        ));
        for (tool, why) in denials.iter().take(5) {
            terminal::complain(&format!("  denied  {}", terminal::safe(&format!("{tool}: {why}"))));
        }
        for (rule, count) in alerts {
            terminal::complain(&format!("  alert   {} × {count}", terminal::safe(rule)));
        }
        if let (Some(changed), Some(_)) = (changed, &launched.overlay) {
            terminal::complain(&format!(
                "  {changed} changes are kept apart: `bailiwick sandbox diff --overlay {overlay}`, then `apply` or `discard`"
            ));
        }
        terminal::complain(&format!("  `bailiwick journal show --last {}` tells it whole", self.records));
    }
}

fn changed(folder: &Path, workspace: &Path) -> Option<usize> {
    Some(Overlay::open(folder, workspace).ok()?.changes().ok()?.len())
}
