//! The journal on this disk: durable entries a second at 1, 16 and 64 writers, and how fast it is verified.
//! Beside it the disk alone: one file, the same bytes, `fdatasync` after each.

use super::load::Caller;
use super::numbers::{Times, round};
use anyhow::Context;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ENTRY_BYTES: usize = 968;
const SECONDS: u64 = 3;

pub(super) fn measure() -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(crate::root());
    crate::succeed(build.args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "bailiwick-journal",
        "--example",
        "throughput",
    ]))?;
    let disk = crate::target().join("bench");
    std::fs::create_dir_all(&disk)?;
    let alone = disk_alone(&disk)?;
    alone.say("the disk alone, one fdatasync each");
    let alone_rate = alone.per_second();
    let out = Command::new(crate::target().join("release/examples/throughput"))
        .arg(&disk)
        .arg(SECONDS.to_string())
        .output()?;
    anyhow::ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout)?;
    let mut writers = Vec::new();
    let mut verified = 0.0;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["verify,", .., rate, "entries/s"] = words.as_slice() {
            verified = rate.parse().context("the verify rate")?;
        } else if let [count, rate, p50, p99, _] = words.as_slice()
            && let (Ok(count), Ok(rate), Ok(p50), Ok(p99)) =
                (count.parse::<u32>(), rate.parse::<f64>(), p50.parse::<f64>(), p99.parse::<f64>())
        {
            let ratio = rate / alone_rate;
            println!(
                "  {count:>2} writers {rate:>10.0} entries/s   p50 {p50:.2} ms   p99 {p99:.2} ms   {ratio:.2} × the disk alone"
            );
            writers.push(json!({
                "writers": count, "entries_per_s": rate, "p50_ms": p50, "p99_ms": p99, "ratio_to_disk": round(ratio),
            }));
        }
    }
    anyhow::ensure!(writers.len() == 3 && verified > 0.0, "the example printed something else:\n{text}");
    let aim = 500_000.0;
    println!("  verify    {verified:>10.0} entries/s, {:.2} × the aim of {aim}", verified / aim);
    Ok(json!({
        "entry_bytes": ENTRY_BYTES, "disk_alone": alone.summary(), "disk_alone_per_s": round(alone_rate), "writers": writers,
        "verify_per_s": verified, "verify_aim_per_s": aim, "verify_ratio_to_aim": round(verified / aim),
    }))
}

/// One file on this disk, written and synced entry by entry.
pub(super) struct Disk(std::fs::File);

impl Disk {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempfile_in(folder)?))
    }
}

impl Caller for Disk {
    fn exchange(&mut self, _: &str) -> anyhow::Result<Option<Value>> {
        anyhow::bail!("a disk answers nothing")
    }

    fn call(&mut self, _: u64) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.0.write_all(&[b'.'; ENTRY_BYTES])?;
        self.0.sync_data()?;
        Ok(started.elapsed())
    }
}

fn disk_alone(disk: &Path) -> anyhow::Result<Times> {
    let mut file = Disk::open(disk)?;
    let (mut times, end) = (Times::default(), Instant::now() + Duration::from_secs(SECONDS));
    while Instant::now() < end {
        times.add(file.call(0)?);
    }
    Ok(times)
}
