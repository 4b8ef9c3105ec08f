//! `bailiwick scan`: reads files and says where something stands that must not be kept there, never what it is. It changes nothing, and
//! ends with 1 when something was found.

use crate::{Outcome, redact, terminal};
use anyhow::Context;
use judge::filter::handle::SessionKey;
use judge::filter::known::Known;
use judge::filter::{Class, Confidence, Filter, Personal, Settings};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Read at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most files read in one run.
const FILES_MAX: usize = 1_000_000;

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Find secrets in logs, transcripts or any other files
    Logs(Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file, or a folder with everything below it
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// What counts as personal, with commas between: email, phone, card, iban, identity, ip, postal, all, none
    #[arg(long, value_name = "KINDS", default_value = "none", value_parser = redact::personal)]
    personal: Personal,
    /// Leave what is less sure than this
    #[arg(long, value_name = "SURE", default_value = "likely", value_parser = redact::confidence)]
    least: Confidence,
    /// Your own rules: a TOML file of [[rule]] with name, pattern, matches and near_misses
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Leave the vault closed: its values are found only if they look like secrets
    #[arg(long)]
    no_vault: bool,
}

pub(crate) fn run(dir: Option<&Path>, state: Option<&Path>, action: &Action) -> anyhow::Result<Outcome> {
    let Action::Logs(args) = action;
    let rules = args.rules.as_deref().map(redact::rules).transpose()?.unwrap_or_default();
    let settings = Settings { secrets: true, personal: args.personal, least: args.least, rules };
    let known = if args.no_vault { Known::compile(&[])? } else { redact::known(dir, state)? };
    let filter = Filter::compile(&settings, known);
    let mut files = Vec::new();
    for path in &args.paths {
        // What was named must be there; what is below it may go at any time.
        std::fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
        below(path, &mut files)?;
    }
    let (mut found, mut unread) = (0, 0);
    for file in &files {
        match look(&filter, file, args.json) {
            Ok(count) => found += count,
            Err(error) => {
                unread += 1;
                terminal::complain(&format!(
                    "bailiwick: {}: {error}",
                    terminal::safe(&file.display().to_string())
                ));
            }
        }
    }
    let missed = if unread == 0 { String::new() } else { format!(", {unread} could not be read") };
    terminal::complain(&format!("{found} found in {} files{missed}", files.len() - unread));
    Ok(if found == 0 && unread == 0 { Outcome::Done } else { Outcome::DoesNotHold })
}

/// Every plain file at or below a path, in order of name. Links are not followed.
fn below(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(kind) = std::fs::symlink_metadata(&path) else { continue };
        if kind.is_file() {
            anyhow::ensure!(files.len() < FILES_MAX, "more than {FILES_MAX} files; name fewer folders");
            files.push(path);
        } else if kind.is_dir() {
            let shown = || path.display().to_string();
            let listed = std::fs::read_dir(&path).with_context(shown)?;
            let mut inside =
                listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
            inside.sort();
            waiting.extend(inside.into_iter().rev());
        }
    }
    Ok(())
}

/// Reads one file and prints what stands where.
fn look(filter: &Filter, path: &Path, json: bool) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    // The key of handles that nobody is shown.
    let mut stream = filter.stream(&SessionKey::new(&[0; 32]));
    let mut lines = redact::Lines::default();
    let (mut chunk, mut out) = (vec![0; CHUNK_BYTES], Vec::new());
    let (mut told, mut found) = (0, 0);
    let mut printed = std::io::stdout().lock();
    let shown = terminal::safe(&path.display().to_string()).to_string();
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            stream.flush(&mut out);
        } else {
            lines.read(&chunk[..read]);
            stream.push(&chunk[..read], &mut out);
        }
        out.clear();
        drop(stream.take_kept());
        for finding in &stream.findings()[told..] {
            let (line, column) = lines.place(finding.start);
            if finding.class == Class::Handle {
                continue;
            }
            found += 1;
            let (kind, class, sure) = (&*finding.kind, finding.class.word(), finding.confidence.word());
            let bytes = finding.end - finding.start;
            let told = if json {
                serde_json::json!({
                    "file": path.display().to_string(), "line": line, "column": column, "kind": kind,
                    "class": class, "confidence": sure, "bytes": bytes,
                })
                .to_string()
            } else {
                format!("{shown}:{line}:{column}: {class} ({}), {bytes} bytes, {sure}", terminal::safe(kind))
            };
            if writeln!(printed, "{told}").is_err() {
                return Ok(found);
            }
        }
        told = stream.findings().len();
        if read == 0 {
            // Beyond the most that are told one by one they still count.
            return Ok(found.max(stream.found()));
        }
    }
}
