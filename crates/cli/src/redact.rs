//! `bailiwick redact`: standard input to standard output with every secret and everything personal replaced, in any folder. It asks no
//! running gate, keeps nothing, and ends with 0 whether or not something was found.

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::filter::OwnRule;
use judge::filter::handle::SessionKey;
use judge::filter::known::{Guarded, Known, VALUE_BYTES_MIN};
use judge::filter::rule::{RULES_ENTRIES_MAX, Rule};
use judge::filter::{Confidence, FINDINGS_MAX, Filter, Finding, Personal, Settings, Stream};
use serde::Deserialize;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use vault::{Store, Unlock};
use zeroize::Zeroizing;

/// Read at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Largest file of rules, in bytes.
const RULES_BYTES_MAX: u64 = 1024 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print what was found, one JSON object a line, and not the text
    #[arg(long)]
    json: bool,
    /// Say on standard error what was found where, and why
    #[arg(long)]
    explain: bool,
    /// What counts as personal, with commas between: email, phone, card, iban, identity, ip, postal, all, none
    #[arg(long, value_name = "KINDS", default_value = "all", value_parser = personal)]
    personal: Personal,
    /// Leave what is less sure than this
    #[arg(long, value_name = "SURE", default_value = "possible", value_parser = confidence)]
    least: Confidence,
    /// Your own rules: a TOML file of [[rule]] with name, pattern, matches and near_misses
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Leave the vault closed: its values are found only if they look like secrets
    #[arg(long)]
    no_vault: bool,
}

pub(crate) fn personal(kinds: &str) -> Result<Personal, String> {
    kinds.split(',').map(str::trim).try_fold(Personal::NONE, |all, name| {
        let kind = Personal::named(name).ok_or_else(|| format!("`{name}` is no kind of personal data"))?;
        Ok(all.and(kind))
    })
}

pub(crate) fn confidence(word: &str) -> Result<Confidence, String> {
    let all = [Confidence::Possible, Confidence::Likely, Confidence::Certain];
    let found = all.into_iter().find(|confidence| confidence.word() == word);
    found.ok_or_else(|| format!("`{word}` is none of possible, likely, certain"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    rule: Vec<OwnRule>,
}

pub(crate) fn run(dir: Option<&Path>, state: Option<&Path>, args: &Args) -> anyhow::Result<Outcome> {
    let rules = args.rules.as_deref().map(rules).transpose()?.unwrap_or_default();
    let settings = Settings { secrets: true, personal: args.personal, least: args.least, rules };
    let known = if args.no_vault { Known::compile(&[])? } else { known(dir, state)? };
    let mut key = Zeroizing::new([0u8; 32]);
    rustix::rand::getrandom(&mut *key, rustix::rand::GetRandomFlags::empty())?;
    let mut stream = Filter::compile(&settings, known).stream(&SessionKey::new(&key));
    let mut lines = Lines::default();
    let mut told = 0;
    let mut out = Vec::with_capacity(CHUNK_BYTES);
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    loop {
        let read = input.read(&mut chunk).context("standard input")?;
        if read == 0 {
            stream.flush(&mut out);
        } else {
            lines.read(&chunk[..read]);
            stream.push(&chunk[..read], &mut out);
        }
        if !args.json && output.write_all(&out).and_then(|()| output.flush()).is_err() {
            // Whoever read this has gone away.
            return Ok(Outcome::Done);
        }
        out.clear();
        if args.json || args.explain {
            for finding in &stream.findings()[told..] {
                tell(args, &mut output, finding, lines.place(finding.start));
            }
        }
        told = stream.findings().len();
        drop(stream.take_kept());
        if read == 0 {
            break;
        }
    }
    if args.explain {
        terminal::complain(&summary(&stream));
    }
    Ok(Outcome::Done)
}

/// Where lines begin, as far as somebody may still ask.
#[derive(Default)]
pub(crate) struct Lines {
    read: u64,
    /// The number of lines before the first start below.
    passed: u64,
    starts: std::collections::VecDeque<u64>,
}

impl Lines {
    pub(crate) fn read(&mut self, chunk: &[u8]) {
        let ends = chunk.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        self.starts.extend(ends.map(|(at, _)| self.read + at as u64 + 1));
        self.read += chunk.len() as u64;
    }

    /// The line and column of a byte, both from 1; findings come in order.
    pub(crate) fn place(&mut self, at: u64) -> (u64, u64) {
        while self.starts.get(1).is_some_and(|next| *next <= at) {
            self.starts.pop_front();
            self.passed += 1;
        }
        match self.starts.front() {
            Some(start) if *start <= at => (self.passed + 2, at - start + 1),
            _ => (self.passed + 1, at + 1),
        }
    }
}

fn tell(args: &Args, output: &mut impl Write, finding: &Finding, (line, column): (u64, u64)) {
    let Finding { kind, class, confidence, start, end, handle } = finding;
    if args.json {
        let told = serde_json::json!({
            "kind": &**kind, "class": class.word(), "confidence": confidence.word(),
            "line": line, "column": column, "start": start, "end": end, "handle": &**handle,
        });
        drop(writeln!(output, "{told}"));
    }
    if args.explain {
        let why = match confidence {
            Confidence::Certain => "check digits or the vault say so",
            Confidence::Likely => "its form says so",
            Confidence::Possible => "what stands around it says so",
        };
        let kind = terminal::safe(kind);
        terminal::complain(&format!(
            "{line}:{column}: {} ({kind}), {} bytes, {}: {why}; now {handle}",
            class.word(),
            end - start,
            confidence.word()
        ));
    }
}

fn summary(stream: &Stream) -> String {
    let (found, told) = (stream.found(), stream.findings().len());
    if told as u64 == found {
        format!("{found} found")
    } else {
        format!("{found} found and replaced, the first {FINDINGS_MAX} of them told")
    }
}

pub(crate) fn rules(path: &Path) -> anyhow::Result<Vec<Rule>> {
    let shown = || path.display().to_string();
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(shown)?;
    file.take(RULES_BYTES_MAX + 1).read_to_string(&mut text).with_context(shown)?;
    anyhow::ensure!(text.len() as u64 <= RULES_BYTES_MAX, "{}: more than {RULES_BYTES_MAX} bytes", shown());
    let Rules { rule: rules } = toml::from_str(&text).with_context(shown)?;
    anyhow::ensure!(rules.len() <= RULES_ENTRIES_MAX, "{}: more than {RULES_ENTRIES_MAX} rules", shown());
    let compiled = rules.iter().map(|rule| rule.read().map_err(anyhow::Error::msg).with_context(shown));
    compiled.collect()
}

/// Every version of every secret in the store, if there is one.
pub(crate) fn known(dir: Option<&Path>, state: Option<&Path>) -> anyhow::Result<Known> {
    let (folder, _) = crate::secret::folder(dir, state)?;
    let mut values: Vec<(String, Zeroizing<Vec<u8>>)> = Vec::new();
    if folder.join("secrets.vault").exists() {
        let opened = Store::open(&folder, Unlock::KeyFile(Store::key_file(&folder)));
        let store =
            opened.with_context(|| format!("{} (or leave it closed with --no-vault)", folder.display()))?;
        for entry in store.list()? {
            for version in &entry.versions {
                let held = store.get_version(&entry.name, version.number)?;
                let value = held.value.expose(|bytes| Zeroizing::new(bytes.to_vec()));
                values.push((entry.name.as_str().to_owned(), value));
            }
        }
    }
    let guarded: Vec<Guarded<'_>> = values
        .iter()
        .filter(|(_, value)| value.len() >= VALUE_BYTES_MIN)
        .map(|(handle, value)| Guarded { handle, value, stand_in: b"" })
        .collect();
    Ok(Known::compile(&guarded)?)
}
