//! Measures the release build beside something comparable in the same run, and prints numbers with their ratios.
//! It judges nothing: no benchmark fails because a machine is slow, only because an answer was wrong.

mod agentdojo;
mod decision;
mod egress;
mod filter;
pub(super) mod fixture;
mod flow;
mod hook;
mod idle;
mod journal;
mod load;
mod mcp;
mod numbers;
mod sandbox;
mod stand;

use anyhow::bail;
use serde_json::{Value, json};
use std::process::Command;

const NAMES: [&str; 10] =
    ["decision", "flow", "filter", "journal", "mcp", "hook", "sandbox", "egress", "idle", "agentdojo"];

/// Builds the release once, then lets the release build of this program measure.
pub(super) fn run(arguments: &[&str]) -> anyhow::Result<bool> {
    let named = arguments.iter().filter(|word| **word != "--json").copied().collect::<Vec<_>>();
    match named.as_slice() {
        ["all"] => {}
        [name] if NAMES.contains(name) => {}
        // Its options go through to the replay.
        ["agentdojo", ..] => {}
        _ => bail!("name one benchmark or `all`: {}", NAMES.join(", ")),
    }
    crate::succeed(crate::cargo().args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "bailiwick",
        "--package",
        "xtask",
    ]))?;
    let measured =
        Command::new(crate::target().join("release/xtask")).arg("bench-inner").args(arguments).status()?;
    Ok(measured.success())
}

/// Measures in this very process. Called in the release build by [`run`].
pub(super) fn inner(arguments: &[&str]) -> anyhow::Result<bool> {
    let as_json = arguments.contains(&"--json");
    let all = arguments.contains(&"all");
    let named: Vec<&str> = arguments.iter().filter(|word| **word != "--json").copied().collect();
    if let ["agentdojo", options @ ..] = named.as_slice() {
        let report = agentdojo::measure(options)?;
        if as_json {
            println!("{report}");
        }
        return Ok(true);
    }
    let mut report = serde_json::Map::new();
    if cfg!(debug_assertions) {
        println!("a debug build: these numbers mean nothing");
        report.insert("debug".to_owned(), json!(true));
    }
    for name in NAMES.iter().filter(|name| all || arguments.contains(name)) {
        println!("\n{name}");
        let measured = match *name {
            "decision" => decision::measure()?,
            "flow" => flow::measure()?,
            "filter" => filter::measure()?,
            "journal" => journal::measure()?,
            "mcp" => mcp::measure()?,
            "hook" => hook::measure()?,
            "sandbox" => sandbox::measure()?,
            "egress" => egress::measure()?,
            "agentdojo" => agentdojo::measure(&[])?,
            _ => idle::measure()?,
        };
        report.insert((*name).to_owned(), measured);
    }
    if as_json {
        println!("{}", Value::Object(report));
    }
    Ok(true)
}
