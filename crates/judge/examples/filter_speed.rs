//! Measures the whole filter: `PATH… [MEGABYTES]` reads files and filters them with known values, with detectors, with both. It
//! never changes a file. `findings PATH…` lists what was found instead; `hostile` filters texts that call one detector all the time.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a measuring tool")]

use judge::filter::handle::SessionKey;
use judge::filter::known::{Guarded, Known};
use judge::filter::{Filter, Personal, Settings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let megabytes = args.last().and_then(|last| last.parse::<usize>().ok());
    if megabytes.is_some() {
        args.pop();
    }
    if args.first().is_some_and(|word| word == "hostile") {
        hostile();
        return;
    }
    let lists = args.first().is_some_and(|word| word == "findings");
    let paths = if lists { &args[1..] } else { &args[..] };
    if paths.is_empty() {
        println!("[findings] PATH… [MEGABYTES] | hostile");
        return;
    }
    let mut list = Vec::new();
    paths.iter().for_each(|path| files(Path::new(path), &mut list));
    let mut text = Vec::new();
    for file in &list {
        if text.len() >= megabytes.unwrap_or(64) << 20 {
            break;
        }
        text.extend(std::fs::read(file).unwrap_or_default());
    }
    if lists {
        findings(&text);
        return;
    }
    let all = Settings { personal: Personal::ALL, ..Settings::default() };
    let none = Settings { secrets: false, ..Settings::default() };
    println!("{:.0} MB", text.len() as f64 / 1e6);
    measure("nothing", &none, 0, &text);
    measure("known values, 100", &none, 100, &text);
    measure("known values, 1000", &none, 1000, &text);
    measure("secrets", &Settings::default(), 0, &text);
    measure("secrets and personal", &all, 0, &text);
    measure("secrets, 100 known", &Settings::default(), 100, &text);
    measure("all, 100 known", &all, 100, &text);
    measure("all, 1000 known", &all, 1000, &text);
    latency(&all, &text);
}

fn files(path: &Path, out: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path).unwrap().flatten().map(|e| e.path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| files(entry, out));
    } else if path.is_file() && !path.is_symlink() {
        out.push(path.to_owned());
    }
}

fn known(count: usize) -> Known {
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
        .map(|value| Guarded { handle: "h", value: value.as_bytes(), stand_in: value.as_bytes() })
        .collect();
    Known::compile(&guarded).unwrap()
}

fn measure(name: &str, settings: &Settings, count: usize, text: &[u8]) {
    let filter = Filter::compile(settings, known(count));
    let mut best = f64::MAX;
    let mut found = 0;
    for _ in 0..3 {
        let mut stream = filter.stream(&SessionKey::new(&[1; 32]));
        let mut out = Vec::new();
        let begun = processor_seconds();
        for chunk in text.chunks(65_536) {
            stream.push(chunk, &mut out);
            out.clear();
        }
        stream.flush(&mut out);
        best = best.min(processor_seconds() - begun);
        found = stream.found();
    }
    println!("{name:<24} {:>6.0} MB/s {found:>8} found", text.len() as f64 / 1e6 / best);
}

/// Time this thread was given by the processor: what else runs does not count.
fn processor_seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Anchors as dense as they go: the slowest text shows the worst case.
fn hostile() {
    let all = Settings { personal: Personal::ALL, ..Settings::default() };
    let pem = "-----BEGIN PRIVATE KEY-----";
    let texts = [
        "eyJ",
        "eyJhbGciOiJIUzI1NiJ9.",
        "password=",
        "password=\"",
        "password: \\\"",
        "token token='",
        "key:key:key ",
        pem,
        "://",
        "://a:b",
        "x@",
        "a@b.",
        "1.1.1.1.",
        "1 1 1 1 ",
        "+1 (415) ",
        "12 34 56 ",
        "AKIAZ7QX2LKMN3PTR5VW ",
        "ghp_",
        "sk-",
        "glpat-",
        "xoxb-",
        "authorization: bearer ",
        "cookie: a=",
        "cookie: a=b; ",
        "BW-email-",
        "BW-HIDDEN-x-WB",
        "phone 1234567 ",
        "curl ",
        "$2b$",
        "&sig=",
        "4111 1111 1111 1111 ",
        "DE89 3704 0044 0532 0130 00 ",
        "hooks.slack.com/services/",
        "T3BlbkFJ",
        "2001:",
        "secret",
        "sk-ant-",
    ];
    for pattern in texts {
        let text = pattern.repeat((2 << 20) / pattern.len());
        let filter = Filter::compile(&all, known(0));
        let mut stream = filter.stream(&SessionKey::new(&[1; 32]));
        let (mut out, mut held) = (Vec::new(), 0);
        let begun = processor_seconds();
        for chunk in text.as_bytes().chunks(4096) {
            stream.push(chunk, &mut out);
            held = held.max(stream.held_bytes());
            out.clear();
        }
        stream.flush(&mut out);
        let took = processor_seconds() - begun;
        println!("{:>7.1} MB/s, held {held:>6} bytes  {pattern:?}", text.len() as f64 / 1e6 / took);
    }
}

fn latency(settings: &Settings, text: &[u8]) {
    let filter = Filter::compile(settings, known(100));
    let key = SessionKey::new(&[1; 32]);
    let mut times: Vec<u128> = text
        .chunks(16 * 1024)
        .take(2000)
        .map(|part| {
            let begun = Instant::now();
            drop(filter.redact(part, &key));
            begun.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("16 KB, all, 100 known: p50 {} µs, p99 {} µs", at(50), at(99));
}

fn findings(text: &[u8]) {
    let settings = Settings { personal: Personal::ALL, ..Settings::default() };
    let filter = Filter::compile(&settings, known(0));
    let redacted = filter.redact(text, &SessionKey::new(&[1; 32]));
    let mut kinds: BTreeMap<(String, &str), Vec<(u64, u64)>> = BTreeMap::new();
    for finding in &redacted.findings {
        let kind = (finding.kind.to_string(), finding.confidence.word());
        kinds.entry(kind).or_default().push((finding.start, finding.end));
    }
    for ((kind, sure), places) in kinds {
        println!("{kind} ({sure}): {}", places.len());
        for (start, end) in places.iter().take(12) {
            let from = (*start as usize).saturating_sub(40);
            let line = String::from_utf8_lossy(&text[from..text.len().min(*end as usize + 10)]).into_owned();
            println!("    {}", line.replace(['\n', '\r'], "⏎"));
        }
    }
}
