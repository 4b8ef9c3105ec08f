//! `bailiwick run -- AGENT`: the whole agent behind the wall, on this terminal. The gate that answers it runs beside it, in a process
//! of its own that the agent cannot see; this one builds the wall, waits, and says what happened.

use crate::relay::connect;
use crate::{NotEnforceable, Outcome, terminal};
use anyhow::Context;
use gateway::config::Place;
use gateway::launch::VARIABLE;
use gateway::wire::control::{CONTROL_BYTES_MAX, Opening, Reply};
use gateway::wire::launch::{Launch, Launched};
use gateway::wire::record::{Body, Confined, Record};
use sandbox::overlay::Overlay;
use sandbox::warden;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The overlay's name where none is given.
const OVERLAY: &str = "agent";
/// Variables that agents are given where they are set: where their model is, and nothing that is a key.
const PASSED: [&str; 6] = [
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_MODEL",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "EDITOR",
    "NO_COLOR",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The settings [agent.NAME] of bailiwick.toml [default: those of the program's name, or standing ones]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Keep the agent's changes to the project apart, under this name; see `bailiwick sandbox diff`
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = OVERLAY)]
    overlay: Option<String>,
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
    };
    gate(&place)?;
    let mut line = Connection::open(&place, launch)?;
    let launched: Launched =
        serde_json::from_value(line.answer().map_err(|why| NotEnforceable(why.to_string()))?)?;
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
        sandbox.run(&launched.order.command, None)
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
fn gate(place: &Place) -> anyhow::Result<()> {
    if UnixStream::connect(place.socket()).is_ok() {
        return Ok(());
    }
    place.private_state()?;
    let log = place.state.join("gate.log");
    let errors = std::fs::File::create(&log).with_context(|| log.display().to_string())?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .arg("--dir")
        .arg(&place.config)
        .arg("--state")
        .arg(&place.state)
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
}

impl Connection {
    fn open(place: &Place, launch: Launch) -> anyhow::Result<Self> {
        let stream = connect(place, &Opening::Launch(Box::new(launch)))?;
        let lines = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, lines })
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
        let line = serde_json::to_string(how)?;
        self.stream.write_all(format!("{line}\n").as_bytes())?;
        self.answer()
    }
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
