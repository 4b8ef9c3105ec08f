//! Memory of a gate that waits, beside a gateway of the same duty that waits.
//! Both have been called once, so that nothing is still to be loaded.

use super::load::{Caller, Http};
use super::numbers::round;
use super::stand::{Ctrlrun, Gate, start, this};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const SETTLE_SECONDS: u64 = 3;
const POLICY: &str = r#"@id("echo") permit(principal, action == Action::"web/echo", resource);"#;

pub(super) fn measure() -> anyhow::Result<Value> {
    let (fixture, address) = start(Command::new(this()?).args(["fixture", "http"]))?;
    let upstream = format!("http://{address}/mcp");
    let gate = Gate::open(&[("web", &upstream)], POLICY)?;
    let token = format!("authorization: Bearer {}\r\n", gate.token);
    Http::connect(&format!("{}/web", gate.url), &token)?.call(1)?;
    let peer = Ctrlrun::open(&upstream)?;
    if let Some(peer) = &peer {
        Http::connect(&peer.url, "")?.call(1)?;
    }
    std::thread::sleep(Duration::from_secs(SETTLE_SECONDS));
    let kib = gate.process.resident_kib()?;
    println!("  gate     {:>8.1} MiB", kib as f64 / 1024.0);
    println!("  fixture  {:>8.1} MiB", fixture.resident_kib()? as f64 / 1024.0);
    let mut report = json!({ "gate_kib": kib, "fixture_kib": fixture.resident_kib()?, "skipped": [] });
    match &peer {
        Some(peer) => {
            let theirs = peer.process.resident_kib()?;
            println!(
                "  ctrlrun  {:>8.1} MiB, gate is {:.2} of it",
                theirs as f64 / 1024.0,
                kib as f64 / theirs as f64
            );
            report["ctrlrun_kib"] = json!(theirs);
            report["ratio_to_ctrlrun"] = json!(round(kib as f64 / theirs as f64));
        }
        None => {
            println!("  skipped: ctrlrun (not installed; run PEERS_BENCH=1 .ci/peers.sh)");
            report["skipped"] = json!(["ctrlrun"]);
        }
    }
    Ok(report)
}
