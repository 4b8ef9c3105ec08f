//! Reads the journal without the gate: verify with the public key alone, show, search, explain.
//! It never writes there.

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::Place;
use gateway::wire::record::{Body, Record};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Where {
    /// The journal's folder [default: this project's]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Recompute everything and compare with the signed checkpoint and any you kept elsewhere
    Verify {
        #[command(flatten)]
        at: Where,
        /// The public key, as text or in a file [default: this project's]
        #[arg(long)]
        key: Option<String>,
        /// A checkpoint kept elsewhere; what it saw must still be there
        #[arg(long, value_name = "FILE")]
        seen: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the latest signed checkpoint, to be kept elsewhere
    Checkpoint {
        #[command(flatten)]
        at: Where,
    },
    /// The records, oldest first
    Show {
        #[command(flatten)]
        at: Where,
        /// Only the last N
        #[arg(long, value_name = "N")]
        last: Option<u64>,
        /// Only of this session
        #[arg(long)]
        session: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The records that hold this text
    Search {
        /// What to look for
        text: String,
        #[command(flatten)]
        at: Where,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// What happened in a session, or to one call, in order and why
    Explain {
        /// A session or a call, or enough of its name [default: the last session]
        name: Option<String>,
        #[command(flatten)]
        at: Where,
    },
}

pub(crate) fn run(place: impl Fn() -> anyhow::Result<Place>, action: Action) -> anyhow::Result<Outcome> {
    let folder = |at: &Where| at.log.clone().map_or_else(|| place().map(|place| place.journal()), Ok);
    match action {
        Action::Verify { at, key, seen, json } => {
            let key = match key {
                Some(key) if Path::new(&key).is_file() => std::fs::read_to_string(&key)?,
                Some(key) => key,
                None => {
                    let path = place()?.public_key();
                    std::fs::read_to_string(&path).with_context(|| path.display().to_string())?
                }
            };
            let key: journal::VerifierKey = key.trim().parse().context("the public key")?;
            verify(&folder(&at)?, &key, &seen, json)
        }
        Action::Checkpoint { at } => {
            terminal::say(open(&folder(&at)?)?.latest_checkpoint().trim_end());
            Ok(Outcome::Done)
        }
        Action::Show { at, last, session, json } => {
            let wanted = |record: &Record| {
                session
                    .as_ref()
                    .is_none_or(|wanted| record.session.as_ref().is_some_and(|name| name.starts_with(wanted)))
            };
            print(&folder(&at)?, last, json, wanted)
        }
        Action::Search { text, at, json } => {
            let holds =
                |record: &Record| serde_json::to_string(record).is_ok_and(|record| record.contains(&text));
            print(&folder(&at)?, None, json, holds)
        }
        Action::Explain { name, at } => explain(&folder(&at)?, name.as_deref()),
    }
}

fn verify(
    folder: &Path,
    key: &journal::VerifierKey,
    seen: &[PathBuf],
    json: bool,
) -> anyhow::Result<Outcome> {
    let mut anchors = Vec::new();
    for path in seen {
        let note = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        // Printing a note and saving it may lose or add the last line break.
        let note = format!("{}\n", note.trim_end());
        anchors.push(journal::Checkpoint::verify(&note, key).with_context(|| path.display().to_string())?);
    }
    match journal::verify(folder, key, &anchors) {
        Ok(report) => {
            if json {
                terminal::say_json(
                    &serde_json::json!({ "ok": true, "records": report.size, "checkpoints_seen": report.anchors }),
                );
            } else {
                terminal::say(&format!(
                    "{} {} records, signed and unbroken",
                    terminal::coloured("holds", 32),
                    report.size
                ));
                if anchors.is_empty() {
                    terminal::say(
                        "  Against a cut tail, compare with a checkpoint kept elsewhere: --seen FILE (see `journal checkpoint`).",
                    );
                }
            }
            Ok(Outcome::Done)
        }
        Err(fault) => {
            if json {
                terminal::say_json(&serde_json::json!({ "ok": false, "fault": fault.to_string() }));
            } else {
                terminal::say(&format!("{} {fault}", terminal::coloured("broken", 31)));
            }
            Ok(Outcome::DoesNotHold)
        }
    }
}

fn open(folder: &Path) -> anyhow::Result<journal::Reader> {
    journal::Reader::open(folder).with_context(|| folder.display().to_string())
}

/// The records from index `from` on, each with its index. A record of a newer version is passed over.
fn records(reader: &journal::Reader, from: u64) -> impl Iterator<Item = anyhow::Result<(u64, Record)>> + '_ {
    reader.entries(from..reader.size()).filter_map(|entry| match entry {
        Ok((index, bytes)) => serde_json::from_slice(&bytes).ok().map(|record| Ok((index, record))),
        Err(fault) => Some(Err(fault.into())),
    })
}

/// Every record from index `from` on.
///
/// # Errors
/// The journal cannot be read, or a part of it is broken.
pub(crate) fn each(folder: &Path, from: u64, mut see: impl FnMut(Record)) -> anyhow::Result<()> {
    let reader = open(folder)?;
    records(&reader, from).try_for_each(|found| found.map(|(_, record)| see(record)))
}

fn print(
    folder: &Path,
    last: Option<u64>,
    json: bool,
    wanted: impl Fn(&Record) -> bool,
) -> anyhow::Result<Outcome> {
    let reader = open(folder)?;
    let from = last.map_or(0, |last| reader.size().saturating_sub(last));
    let mut rows = Vec::new();
    for found in records(&reader, from) {
        let (index, record) = found?;
        if !wanted(&record) {
            continue;
        }
        if json {
            let mut row = serde_json::to_value(&record)?;
            row["leaf"] = index.into();
            rows.push(row);
        } else {
            terminal::say(&line(index, &record));
        }
    }
    if json {
        terminal::say_json(&rows);
    }
    Ok(Outcome::Done)
}

fn explain(folder: &Path, name: Option<&str>) -> anyhow::Result<Outcome> {
    let reader = open(folder)?;
    let all: Vec<(u64, Record)> = records(&reader, 0).collect::<anyhow::Result<_>>()?;
    let session = match name {
        Some(name) => all.iter().find_map(|(_, record)| {
            let session = record.session.clone()?;
            let names_call =
                matches!(&record.body, Body::Decision(decided) if decided.call.starts_with(name));
            (session.starts_with(name) || names_call).then_some(session)
        }),
        None => all.iter().rev().find_map(|(_, record)| record.session.clone()),
    };
    let Some(session) = session else {
        anyhow::bail!("no session or call `{}` is in the journal", name.unwrap_or(""))
    };
    let only_call = name.filter(|name| !session.starts_with(*name));
    terminal::say(&format!("Session {session}"));
    for (index, record) in &all {
        let of_call = match (&record.body, only_call) {
            (_, None) => true,
            (Body::Decision(decided), Some(call)) => decided.call.starts_with(call),
            (Body::Outcome { call: of, .. } | Body::Asked { call: of, .. }, Some(call)) => {
                of.starts_with(call)
            }
            (_, Some(_)) => false,
        };
        if record.session.as_deref() == Some(&session) && of_call {
            terminal::say(&line(*index, record));
        }
    }
    Ok(Outcome::Done)
}

/// One record as one line for a person.
pub(crate) fn line(index: u64, record: &Record) -> String {
    let time = record.at.get(11..19).unwrap_or(&record.at);
    let head = format!("{index:>6}  {time}  ");
    let text = match &record.body {
        Body::GateStarted { version, policies, tools, .. } => {
            format!("gate    started, version {version}, {policies} policies over {tools} operations")
        }
        Body::GateStopped => "gate    stopped".to_owned(),
        Body::Recovered { torn_bytes, ambiguous } => format!(
            "gate    came back: {ambiguous} calls had no answer and are ambiguous, {torn_bytes} unacknowledged bytes dropped"
        ),
        Body::PolicyLoaded { policies, tools, .. } => {
            format!("gate    loaded {policies} policies over {tools} operations")
        }
        Body::SessionOpened { transport, agent, user, .. } => {
            format!("session {agent} for {user} over {transport}")
        }
        Body::SessionClosed => "session ended".to_owned(),
        Body::Decision(decided) => {
            let arguments: String = decided.arguments.to_string().chars().take(160).collect();
            let granted = if decided.granted_by.is_empty() {
                String::new()
            } else {
                format!(", granted by {}", decided.granted_by)
            };
            let shown = match decided.decision.as_str() {
                "deny" => "deny",
                _ if decided.granted_by.is_empty() => "allow",
                _ => "granted",
            };
            return format!(
                "{head}{}{} {}\n{:>18}{}{}",
                terminal::word(shown),
                " ".repeat(8usize.saturating_sub(shown.len())),
                terminal::safe(&format!("{} {arguments}", decided.tool)),
                "",
                terminal::safe(&decided.why),
                terminal::safe(&granted)
            );
        }
        Body::Asked { approval, tool, .. } => format!("asked   {tool}, approval {approval}"),
        Body::Answered { approval, answer, by, reason, channel, .. } => {
            let over = if channel.is_empty() { String::new() } else { format!(" over {channel}") };
            format!("answer  {answer} by {by}{over} on {approval} {reason}")
        }
        Body::Granted { grant, by, channel, uses, scope, .. } => {
            let tool = scope["tool"].as_str().unwrap_or_default();
            format!("grant   {grant} stands for {uses} calls of {tool}, given by {by} over {channel}")
        }
        Body::Withdrawn { grant, by, channel } => {
            format!("grant   {grant} taken back by {by} over {channel}")
        }
        Body::Phase { from, to, by, seconds, writes, .. } => {
            let lasts = seconds.map_or(String::new(), |seconds| format!(", for {seconds} s"));
            let writes = writes.map_or(String::new(), |writes| format!(", {writes} writes"));
            format!("phase   {from} → {to} by {by}{lasts}{writes}")
        }
        Body::Outcome { status, bytes, ms, detail, .. } => {
            let status = serde_json::to_value(status)
                .ok()
                .and_then(|word| word.as_str().map(str::to_owned))
                .unwrap_or_default();
            format!("        {status}, {bytes} bytes in {ms} ms {detail}")
        }
        Body::Quarantined { server, tool, why, .. } => {
            format!("alert   {server}/{tool} is quarantined: {why}")
        }
        Body::Extracted { from, bytes, answer, refused, .. } if refused.is_empty() => {
            let answer: String = answer.to_string().chars().take(160).collect();
            format!("read    {bytes} bytes of {from}: {answer}")
        }
        Body::Extracted { from, bytes, refused, .. } => format!("read    {bytes} bytes of {from}: {refused}"),
        Body::Reviewed { server, tool, by, .. } => format!("review  {server}/{tool} by {by}"),
        Body::Sensed { tool, .. } => format!("        the client's hook saw {tool} coming"),
        Body::Context(context) => format!(
            "context {} requests to models, {} bytes searched for {} secrets, {} refused",
            context.requests, context.bytes, context.secrets, context.refused
        ),
        Body::Prompt { bytes, .. } => format!("prompt  {bytes} bytes from the user"),
        Body::Confined { server, how } => {
            let layers: Vec<&str> = how.layers.keys().map(String::as_str).collect();
            format!("wall    {server}: {}", layers.join(", "))
        }
        Body::Person(person) => {
            let whose = if person.name.is_empty() { "for anybody" } else { &person.name };
            format!("people  {} {whose}, {}, by {}", person.what, person.role, person.how)
        }
        Body::Signed(signed) => {
            format!("signed  {} of {} by {} with a passkey", signed.answer, signed.approval, signed.by)
        }
        Body::Alert { rule, detail, .. } => format!("alert   {rule}: {detail}"),
    };
    format!("{head}{}", terminal::safe(&text))
}
