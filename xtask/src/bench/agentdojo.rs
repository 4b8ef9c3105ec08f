//! AgentDojo with a fully steered agent behind a real gate; the replay itself is `agentdojo/replay.py`.
//! It needs a Python with the package `agentdojo`, and is skipped by name where there is none.

use super::stand::{binary, folder, peer};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The version whose tasks the reviews in `agentdojo/` are of.
const VERSION: &str = "0.1.35";
/// Where a Python with the package is, if not on the path and not among the peers.
const PYTHON: &str = "AGENTDOJO_PYTHON";

/// Runs the replay with `options` of its own: `--suites`, `--reference`, `--detail`.
pub(super) fn measure(options: &[&str]) -> anyhow::Result<Value> {
    let Some(python) = python() else {
        println!(
            "  skipped: agentdojo (not installed; run PEERS_BENCH=1 .ci/peers.sh, or name a Python in {PYTHON})"
        );
        return Ok(json!({ "skipped": "agentdojo is not installed" }));
    };
    let disk = folder()?;
    let mut replay = Command::new(python);
    replay
        .arg(crate::root().join("xtask/src/bench/agentdojo/replay.py"))
        .arg("--gate")
        .arg(binary()?)
        .arg("--disk")
        .arg(disk.path())
        .args(options)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = replay.spawn().with_context(|| format!("{replay:?}"))?;
    let mut report = None;
    for line in BufReader::new(child.stdout.take().context("a pipe")?).lines() {
        let line = line?;
        match serde_json::from_str::<Value>(&line) {
            Ok(found @ Value::Object(_)) => report = Some(found),
            _ => println!("{line}"),
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the replay ended with {status}");
    }
    report.context("the replay reported nothing")
}

/// A Python that has the package in the right version.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os(PYTHON).map(PathBuf::from);
    let asked = "import importlib.metadata as m; print(m.version('agentdojo'))";
    named.into_iter().chain(peer(PYTHON)).chain([PathBuf::from("python3")]).find(|python| {
        let answer = Command::new(python).args(["-c", asked]).stderr(Stdio::null()).output();
        answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).trim() == VERSION)
    })
}
