//! `cargo xtask …`: the chores of this repository, each one command with one result.
//! Nothing here ships; what ships is only built, run and measured from here.
#![expect(clippy::print_stdout, reason = "a chore talks to the person who started it")]

mod bench;
mod fuzz;
mod licences;
mod tidy;

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask demo                    build the gate and run `bailiwick demo`
cargo xtask tidy                    the rules of the house, file by file
cargo xtask licences                every dependency's licence is one of the allowed
cargo xtask fuzz [--seconds N] [--runs N] [TARGET...]
                                    build the fuzz targets once, run each for N seconds (default 8)
cargo xtask bench NAME|all [--json] measure: decision, flow, filter, journal, mcp, hook, sandbox, egress, idle, agentdojo
                                    agentdojo takes [--suites A,B] [--reference HARNESS] [--detail FILE] too
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os(fuzz::INSTRUMENTS).is_some() {
        return fuzz::instrumented(&arguments);
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs one chore; false when the thing asked about does not hold.
fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["demo", rest @ ..] => {
            let mut demo = cargo();
            Ok(demo
                .args(["run", "--quiet", "--package", "bailiwick", "--", "demo"])
                .args(rest)
                .status()?
                .success())
        }
        ["tidy"] => tidy::report(&root()),
        ["licences"] => licences::report(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        // What a benchmark starts beside itself; see `bench`.
        ["bench-inner", rest @ ..] => bench::inner(rest),
        ["fixture", how] => bench::fixture::serve(how).map(|()| true),
        ["pipe", rest @ ..] => bench::fixture::pipe(rest).map(|()| true),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(true)
        }
        [other, ..] => bail!("there is no chore `{other}`\n{USAGE}"),
    }
}

/// The repository's root folder.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo as it started this chore, in the root folder.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a command to its end and refuses anything but success.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
