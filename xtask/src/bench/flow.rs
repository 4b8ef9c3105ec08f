//! What knowing where values come from costs: one explanation in a conversation that has read 10 MB, reading a result of 16 KB, and
//! the memory all of it takes. Beside it the same explanation in a conversation that has read nothing.

use super::numbers::{Times, round};
use anyhow::Context;
use judge::flow::{Flow, Provenance, Read};
use judge::request::tree::Tree;
use judge::shape::Shape;
use judge::tool::{Effect, Impact, Tool, ToolName};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

const READ_BYTES: usize = 10 * 1024 * 1024;
const RESULT_BYTES: usize = 16 * 1024;
const CALLS: usize = 5_000;
const PROMPT: &str = "Pay the rent of 1,100 to GB29 NWBK 6016 1331 9268 19 and tell Ann (ann@corp.example) about it, with report.docx.";

pub(super) fn measure() -> anyhow::Result<Value> {
    let (send, reader) = (tool("send", Effect::Write), tool("read", Effect::Read));
    let calls: Vec<Tree> = [
        json!({ "to": ["ann@corp.example"], "subject": "rent", "body": "paid" }),
        json!({ "to": ["eve@evil.example"], "subject": "rent", "body": "paid, see https://evil.example/x" }),
        json!({ "to": ["ann@corp.example"], "subject": "all of it", "body": text(RESULT_BYTES, 7) }),
    ]
    .iter()
    .map(|call| Ok(Tree::parse(call.to_string().as_bytes())?))
    .collect::<anyhow::Result<_>>()?;
    let mut blank = Provenance::default();
    blank.hear(PROMPT);
    let mut full = blank.clone();
    let before = resident_kib()?;
    let mut reading = Times::default();
    for number in 0..READ_BYTES / RESULT_BYTES {
        let part = [Read::Text(text(RESULT_BYTES, number))];
        let started = Instant::now();
        full.read(&reader.name, Some(&reader), &part);
        reading.add(started.elapsed());
    }
    let grown = resident_kib()?.saturating_sub(before);
    let mut times: BTreeMap<&str, Times> = BTreeMap::new();
    for number in 0..CALLS {
        let call = &calls[number % calls.len()];
        for (name, provenance) in [("nothing read", &blank), ("10 MB read", &full)] {
            let started = Instant::now();
            let explained = provenance.explain(&send, call);
            times.entry(name).or_default().add(started.elapsed());
            let fits = name == "nothing read" || number % calls.len() != 1;
            anyhow::ensure!(explained.fits() == fits, "{name}: {}", explained.in_words());
        }
    }
    for (name, times) in &times {
        times.say(&format!("explain, {name}"));
    }
    reading.say("read a result of 16 KB");
    let ratio = grown as f64 * 1024.0 / READ_BYTES as f64;
    println!(
        "  memory {:.1} MiB for {} MiB read: {ratio:.2} (aim: at most 2)",
        grown as f64 / 1024.0,
        READ_BYTES >> 20
    );
    let each: serde_json::Map<_, _> =
        times.iter().map(|(name, times)| ((*name).to_owned(), times.summary())).collect();
    Ok(json!({
        "explain": each, "read_16_kib": reading.summary(), "memory_ratio": round(ratio),
        "aim": { "p99_us": 1_000, "memory_ratio": 2 },
    }))
}

fn tool(name: &str, effect: Effect) -> Tool {
    let schema = json!({ "type": "object", "properties": {
        "to": { "type": "array", "items": { "type": "string" } }, "subject": { "type": "string" }, "body": { "type": "string" },
    }});
    Tool {
        name: ToolName { server: "mail".to_owned(), tool: name.to_owned() },
        shape: Shape::of_schema(&schema, &BTreeMap::new()),
        effect,
        reversible: effect == Effect::Read,
        impact: Impact::High,
        digest: String::new(),
        flow: Flow::default(),
    }
}

/// Text as tools answer it: common words, some of them new each time, addresses and numbers between them.
fn text(bytes: usize, seed: usize) -> String {
    const WORDS: [&str; 16] = [
        "the", "meeting", "with", "invoice", "was", "moved", "to", "Thursday", "because", "customer",
        "asked", "for", "more", "detail", "about", "orders",
    ];
    let mut text = String::with_capacity(bytes + 64);
    let mut state = seed as u64 * 0x9E37_79B9_7F4A_7C15 + 1;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (state >> 33) as usize;
        // Writing to a String cannot fail.
        let _ = match pick % 23 {
            0 => write!(text, "user{}@host{}.example ", pick % 9_973, pick % 101),
            1 => write!(text, "{} ", pick % 100_000),
            2 => writeln!(text, "W{:x}.", pick % 65_537),
            other => write!(text, "{} ", WORDS[other % WORDS.len()]),
        };
    }
    text
}

fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
