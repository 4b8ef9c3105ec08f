//! One echo call: direct, through a pipe that only copies, through the gate with its journal on, through a peer gateway.
//! The ways take turns within one run, so a busy machine is busy for all of them.

use super::journal::Disk;
use super::load::{Caller, Http, Lines, crowd};
use super::numbers::{Times, round};
use super::stand::{Ctrlrun, Gate, folder, start, this};
use serde_json::{Map, Value, json};
use std::process::Command;
use std::time::Duration;

const ROUNDS: u64 = 20;
const CALLS: u64 = 100;
/// Calls a round of a way that takes a hundred times as long as the others.
const SLOW_CALLS: u64 = 5;
const CALLERS: usize = 64;
const CROWD_SECONDS: u64 = 4;
const POLICY: &str = r#"
@id("echo") permit(principal, action in [Action::"lines/echo", Action::"web/echo"], resource)
  when { context.args.text like "hello *" };
"#;

/// A way to the echo tool, by name.
type Way<'a> = (&'static str, Box<dyn Fn() -> anyhow::Result<Http> + Sync + 'a>);

pub(super) fn measure() -> anyhow::Result<Value> {
    let this = this()?;
    let (_fixture, address) = start(Command::new(&this).args(["fixture", "http"]))?;
    let (_pipe, piped) = start(Command::new(&this).args(["pipe", &address]))?;
    let upstream = format!("http://{address}/mcp");
    let lines = format!("{} fixture stdio", this.display());
    let gate = Gate::open(&[("lines", &lines), ("web", &upstream)], POLICY)?;
    let mut direct = Command::new(&this);
    direct.args(["fixture", "stdio"]);
    let mut through_pipe = Command::new(&this);
    through_pipe.args(["pipe", "--"]).arg(&this).args(["fixture", "stdio"]);
    let mut through_gate = gate.command()?;
    through_gate.args(["mcp", "lines"]);
    let mut clients: Vec<(&str, Box<dyn Caller>)> = vec![
        ("direct", Box::new(Lines::start(&mut direct)?)),
        ("pipe", Box::new(Lines::start(&mut through_pipe)?)),
        ("gate", Box::new(Lines::start(&mut through_gate)?)),
        ("disk alone", Box::new(disk()?)),
    ];
    println!(" stdio, one caller");
    let stdio = turns(&mut clients)?;
    drop(clients);

    let ctrlrun = Ctrlrun::open(&upstream)?;
    let token = format!("authorization: Bearer {}\r\n", gate.token);
    let at_gate = format!("{}/web", gate.url);
    let through = format!("http://{piped}/mcp");
    let mut ways: Vec<Way> = vec![
        ("direct", Box::new(|| Http::connect(&upstream, ""))),
        ("pipe", Box::new(|| Http::connect(&through, ""))),
        ("gate", Box::new(|| Http::connect(&at_gate, &token))),
    ];
    let mut skipped = vec!["contextforge (needs an account set up by hand; see .ci/peers.sh)"];
    match &ctrlrun {
        Some(peer) => ways.push(("ctrlrun", Box::new(|| Http::connect(&peer.url, "")))),
        None => skipped.push("ctrlrun (not installed; run PEERS_BENCH=1 .ci/peers.sh)"),
    }
    println!(" HTTP, one caller");
    let mut clients: Vec<(&str, Box<dyn Caller>)> = Vec::new();
    for (name, connect) in &ways {
        clients.push((name, Box::new(connect()?)));
    }
    clients.push(("disk alone", Box::new(disk()?)));
    let http = turns(&mut clients)?;
    drop(clients);

    println!(" HTTP, {CALLERS} callers, {CROWD_SECONDS} s each");
    let mut crowds = Map::new();
    let mut direct_rate = 0.0;
    for (name, connect) in &ways {
        let (rate, waits) = crowd(CALLERS, Duration::from_secs(CROWD_SECONDS), connect.as_ref())?;
        let mut times = Times::default();
        times.extend(waits);
        times.say(&format!("{name}: {rate:.0} calls/s"));
        if *name == "direct" {
            direct_rate = rate;
        }
        let mut summary = times.summary();
        summary["calls_per_s"] = json!(round(rate));
        summary["ratio_to_direct"] = json!(round(rate / direct_rate));
        crowds.insert((*name).to_owned(), summary);
    }
    for name in &skipped {
        println!("  skipped: {name}");
    }
    Ok(json!({
        "stdio": stdio, "http": http, "http_callers": CALLERS, "http_crowd": crowds, "skipped": skipped,
    }))
}

/// A decision is durable before its call is made, so what one durable write costs is measured among the ways.
fn disk() -> anyhow::Result<Disk> {
    Disk::open(folder()?.path())
}

/// Every way in turn, round after round; each beside the first.
fn turns(clients: &mut [(&str, Box<dyn Caller>)]) -> anyhow::Result<Value> {
    let mut times: Vec<Times> = clients.iter().map(|_| Times::default()).collect();
    for round in 0..=ROUNDS {
        for ((name, client), times) in clients.iter_mut().zip(&mut times) {
            for number in 0..calls_of(name) {
                let took = client.call(round * CALLS + number)?;
                // The first round warms connections and caches up.
                if round > 0 {
                    times.add(took);
                }
            }
        }
    }
    let mut all = Map::new();
    let (p50, p99) = (times[0].at(0.5), times[0].at(0.99));
    for ((name, _), times) in clients.iter().zip(&times) {
        times.say(name);
        let mut summary = times.summary();
        summary["added_p50_us"] = json!(round(times.at(0.5) - p50));
        summary["added_p99_us"] = json!(round(times.at(0.99) - p99));
        summary["ratio_p50"] = json!(round(times.at(0.5) / p50));
        all.insert((*name).to_owned(), summary);
    }
    Ok(Value::Object(all))
}

fn calls_of(way: &str) -> u64 {
    if way == "ctrlrun" { SLOW_CALLS } else { CALLS }
}
