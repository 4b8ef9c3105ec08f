//! What the filter finds and what it costs, beside other scanners on the same texts in one run. Costs are processor time, so that
//! what else the machine does counts little; what a scanner flags is told, and never called right because it is ours.

mod corpus;
mod peers;

use super::numbers::{Times, round};
use anyhow::Context;
use corpus::{Case, Put};
use judge::filter::handle::SessionKey;
use judge::filter::known::{Guarded, Known};
use judge::filter::{Confidence, Filter, Personal, Settings};
use peers::{PEERS, Peer};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CLEAN_BYTES: usize = 48 << 20;
const SEED: u64 = 0x5eed_0f1e;
const TURNS: usize = 3;
const RESULT_BYTES: usize = 16 * 1024;
const RESULTS: usize = 2_000;

pub(super) fn measure() -> anyhow::Result<Value> {
    let clean = clean()?;
    println!("  {:.0} MB of sources to read", clean.len() as f64 / 1e6);
    let mut report = Map::new();
    report.insert("clean_mb".to_owned(), json!(round(clean.len() as f64 / 1e6)));
    report.insert("speed".to_owned(), speed(&clean)?);
    report.insert("result_16_kb".to_owned(), latency(&clean)?);
    report.insert("memory".to_owned(), memory(&clean)?);
    report.insert("mixed".to_owned(), mixed(&clean)?);
    Ok(Value::Object(report))
}

/// Sources that are on every machine that builds this: the packages it is made of, and Python's library.
fn clean() -> anyhow::Result<Vec<u8>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    let (mut files, mut text) = (Vec::new(), Vec::new());
    for folder in [home.join("registry/src"), PathBuf::from("/usr/lib/python3")] {
        list(&folder, &mut files);
    }
    // Of each kind some, whatever their order on disk is.
    let step = (files.len() / 6_000).max(1);
    for file in files.iter().step_by(step).chain(&files) {
        if text.len() >= CLEAN_BYTES {
            break;
        }
        text.extend(std::fs::read(file).unwrap_or_default());
    }
    anyhow::ensure!(text.len() > 1 << 20, "there are no sources to read under {}", home.display());
    Ok(text)
}

fn list(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        let is_source = |path: &Path| {
            path.extension().is_some_and(|ending| {
                ["rs", "py", "md", "toml", "json", "c", "h"].iter().any(|e| ending == *e)
            })
        };
        if entry.is_dir() && !entry.is_symlink() {
            list(&entry, out);
        } else if is_source(&entry) {
            out.push(entry);
        }
    }
}

/// So many random values.
fn known(count: usize) -> anyhow::Result<Known> {
    let mut seed = 0x1234_5678_9abc_def1u64;
    let mut char = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"[(seed >> 11) as usize % 62],
        )
    };
    let values: Vec<String> = (0..count).map(|at| (0..12 + at % 32).map(|_| char()).collect()).collect();
    let guarded: Vec<Guarded<'_>> = values
        .iter()
        .map(|value| Guarded { handle: "value", value: value.as_bytes(), stand_in: value.as_bytes() })
        .collect();
    Ok(Known::compile(&guarded)?)
}

fn key() -> SessionKey {
    SessionKey::new(&[1; 32])
}

fn all() -> Settings {
    Settings { personal: Personal::ALL, ..Settings::default() }
}

fn nothing() -> Settings {
    Settings { secrets: false, ..Settings::default() }
}

fn speed(clean: &[u8]) -> anyhow::Result<Value> {
    let ways = [
        ("known_100", nothing(), 100),
        ("known_1000", nothing(), 1_000),
        ("secrets", Settings::default(), 0),
        ("secrets_personal", all(), 0),
        ("everything_100", all(), 100),
        ("everything_1000", all(), 1_000),
    ];
    let mut report = Map::new();
    for (name, settings, count) in ways {
        let filter = Filter::compile(&settings, known(count)?);
        let mut rates = Vec::new();
        let mut findings = 0;
        for _ in 0..TURNS {
            let mut stream = filter.stream(&key());
            let mut out = Vec::new();
            let begun = processor_time()?;
            for chunk in clean.chunks(64 * 1024) {
                stream.push(chunk, &mut out);
                out.clear();
            }
            stream.flush(&mut out);
            rates.push(clean.len() as f64 / 1e6 / (processor_time()? - begun).as_secs_f64());
            findings = stream.found();
        }
        rates.sort_by(f64::total_cmp);
        let median = rates[TURNS / 2];
        println!("  {name:<34} {median:>8.1} MB/s a core {findings:>6} findings in text without any");
        anyhow::ensure!(!name.starts_with("known") || findings == 0, "a random value was found in sources");
        report.insert(name.to_owned(), json!({ "mb_per_second": round(median), "findings": findings }));
    }
    Ok(Value::Object(report))
}

/// A result of 16 KB with everything on.
fn latency(clean: &[u8]) -> anyhow::Result<Value> {
    let filter = Filter::compile(&all(), known(100)?);
    let mut wall = Times::default();
    // The kernel tells a thread's processor time by its ticks: it says something about all of them only.
    let begun = processor_time()?;
    for part in clean.chunks(RESULT_BYTES).take(RESULTS) {
        let clock = std::time::Instant::now();
        drop(filter.redact(part, &key()));
        wall.add(clock.elapsed());
    }
    let mean = (processor_time()? - begun).as_secs_f64() * 1e6 / wall.count().max(1) as f64;
    wall.say("16 KB, everything");
    println!("  {:<34} mean {mean:.0} µs of processor", "");
    let mut report = wall.summary();
    report["processor_mean_us"] = json!(round(mean));
    Ok(report)
}

fn memory(clean: &[u8]) -> anyhow::Result<Value> {
    let mut report = Map::new();
    for count in [100, 1_000] {
        let known = known(count)?;
        let compiled = known.bytes_used();
        let filter = Filter::compile(&all(), known);
        let before = resident_bytes()?;
        let mut stream = filter.stream(&key());
        let (mut out, mut held) = (Vec::new(), 0);
        for chunk in clean.chunks(64 * 1024) {
            stream.push(chunk, &mut out);
            held = held.max(stream.held_bytes());
            out.clear();
        }
        let grown = resident_bytes()?.saturating_sub(before);
        println!(
            "  {count:>5} values: compiled {} KiB, a stream of it all {} KiB, at most {held} bytes held",
            compiled >> 10,
            grown >> 10
        );
        report.insert(
            format!("known_{count}"),
            json!({ "compiled_bytes": compiled, "stream_bytes": grown, "held_bytes_max": held }),
        );
    }
    Ok(Value::Object(report))
}

/// What one scanner found of the corpus.
#[derive(Default)]
struct Tally {
    secrets: usize,
    pictures: usize,
    decoys: usize,
    bad_checksums: usize,
    missed: BTreeMap<&'static str, usize>,
    flagged: BTreeMap<&'static str, usize>,
}

impl Tally {
    /// Counts one text; `found` are the stretches that were found in it.
    fn add(&mut self, case: &Case, found: &[String], lines_only: bool) {
        let whole = if lines_only {
            !found.is_empty()
        } else {
            found.iter().any(|part| part.contains(&case.planted))
        };
        match case.put {
            Put::Secret if !whole => *self.missed.entry(case.kind).or_default() += 1,
            Put::Secret => self.secrets += 1,
            Put::Picture => self.pictures += usize::from(whole),
            Put::Decoy if !found.is_empty() => {
                self.decoys += 1;
                *self.flagged.entry(case.kind).or_default() += 1;
            }
            Put::Decoy => {}
            Put::BadChecksum => self.bad_checksums += usize::from(!found.is_empty()),
        }
    }

    fn report(&self) -> Value {
        json!({
            "secrets_of_672": self.secrets,
            "pictures_of_30": self.pictures,
            "decoys_of_384": self.decoys,
            "bad_checksums_of_48": self.bad_checksums,
            "missed": self.missed,
            "flagged": self.flagged,
        })
    }

    fn say(&self, name: &str) {
        println!(
            "  {name:<34} {:>3} of 672 secrets, {:>2} of 30 in pictures, {:>3} of 384 decoys, {:>2} of 48 bad checksums",
            self.secrets, self.pictures, self.decoys, self.bad_checksums
        );
    }
}

fn mixed(clean: &[u8]) -> anyhow::Result<Value> {
    let cases = corpus::drawn(SEED);
    let mut report = Map::new();
    for (name, least) in
        [("bailiwick", Confidence::Likely), ("bailiwick, possible too", Confidence::Possible)]
    {
        let filter = Filter::compile(&Settings { least, ..Settings::default() }, known(0)?);
        let mut tally = Tally::default();
        for case in &cases {
            let found = filter.redact(case.text.as_bytes(), &key()).findings;
            tally.add(case, &joined(case, &found), false);
        }
        tally.say(name);
        report.insert(name.to_owned(), tally.report());
    }
    let folder = tempfile::tempdir()?;
    for (number, case) in cases.iter().enumerate() {
        std::fs::write(folder.path().join(format!("case{number:04}.txt")), &case.text)?;
    }
    for peer in &PEERS {
        let Some(program) = peer.program() else {
            println!("  {:<34} is not there, and is skipped", peer.name);
            continue;
        };
        let told = peer.scan(&program, folder.path())?;
        let mut tally = Tally::default();
        for (number, case) in cases.iter().enumerate() {
            let found =
                told.found.get(&format!("case{number:04}.txt")).map(Vec::as_slice).unwrap_or_default();
            tally.add(case, found, peer.lines_only);
        }
        tally.say(peer.name);
        let mut told = tally.report();
        told["mb_per_second"] = json!(speed_of(peer, &program, clean)?);
        told["lines_only"] = json!(peer.lines_only);
        report.insert(peer.name.to_owned(), told);
    }
    Ok(Value::Object(report))
}

/// The stretches of a text that would be replaced, with those that touch joined: what stands between them is gone too.
fn joined(case: &Case, found: &[judge::filter::Finding]) -> Vec<String> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for finding in found {
        match spans.last_mut() {
            Some((_, end)) if *end == finding.start as usize => *end = finding.end as usize,
            _ => spans.push((finding.start as usize, finding.end as usize)),
        }
    }
    let text = case.text.as_bytes();
    spans
        .iter()
        .filter_map(|(start, end)| Some(String::from_utf8_lossy(text.get(*start..*end)?).into_owned()))
        .collect()
}

/// What a peer reads a second of processor time, its start taken off.
fn speed_of(peer: &Peer, program: &Path, clean: &[u8]) -> anyhow::Result<f64> {
    let cost = |bytes: usize| -> anyhow::Result<f64> {
        let folder = tempfile::tempdir()?;
        for (number, part) in clean[..bytes.min(clean.len())].chunks(1 << 20).enumerate() {
            std::fs::write(folder.path().join(format!("part{number}.txt")), part)?;
        }
        Ok(peer.scan(program, folder.path())?.processor_seconds)
    };
    let bytes = peer.speed_bytes.min(clean.len());
    let (start, whole) = (cost(1024)?, cost(bytes)?);
    let rate = bytes as f64 / 1e6 / (whole - start).max(0.01);
    println!("  {:<34} {rate:>8.1} MB/s a core, start {start:.2} s", peer.name);
    Ok(round(rate))
}

/// Time this thread was given by the processor.
fn processor_time() -> anyhow::Result<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = told.split_whitespace().next().and_then(|field| field.parse().ok());
    Ok(Duration::from_nanos(nanoseconds.context("the kernel tells no processor time")?))
}

fn resident_bytes() -> anyhow::Result<usize> {
    let told = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize =
        told.split_whitespace().nth(1).and_then(|field| field.parse().ok()).context("no statm")?;
    Ok(pages * 4096)
}
