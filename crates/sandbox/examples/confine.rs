//! The smallest program that confines another: `confine ORDER.json [OUTCOME.json]`, or `confine warden` as somebody's child.
//! With a number in place of the outcome's file, one sandbox runs the command so many times, and says how long each took.
//! The order is a [`sandbox::warden::Order`]; the exit status is the program's own, as a shell would give it.

use sandbox::Standard;
use sandbox::warden::{self, Order};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let Some(first) = arguments.next() else {
        eprintln!("usage: confine ORDER.json [OUTCOME.json] | confine warden");
        return ExitCode::from(2);
    };
    if first == "warden" {
        return warden::serve().into();
    }
    let order: Order = match std::fs::read(&first)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
    {
        Ok(order) => order,
        Err(error) => {
            eprintln!("confine: {}: {error}", first.display());
            return ExitCode::from(2);
        }
    };
    if let Some(times) =
        arguments.next_if(|word| word.to_str().is_some_and(|word| word.parse::<u32>().is_ok()))
    {
        return again_and_again(&order, times.to_str().and_then(|times| times.parse().ok()).unwrap_or(1));
    }
    let ran = order.start().and_then(|sandbox| sandbox.run_last(&order.command, None));
    match ran {
        Ok(outcome) => {
            if let Some(file) = arguments.next() {
                let text = serde_json::to_vec(&outcome).unwrap_or_default();
                if let Err(error) = std::fs::write(&file, text) {
                    eprintln!("confine: {}: {error}", file.display());
                }
            }
            warden::status(&outcome.end).into()
        }
        Err(error) => {
            eprintln!("confine: {error}");
            warden::refusal_status(&error).into()
        }
    }
}

/// Runs the command of `order` in one sandbox, and prints how long each run took, in milliseconds, as one line of JSON.
fn again_and_again(order: &Order, times: u32) -> ExitCode {
    let nothing = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    let run = || -> Result<Vec<f64>, sandbox::RunError> {
        let mut sandbox = order.start()?;
        let mut took = Vec::new();
        for _ in 0..times {
            let begun = Instant::now();
            let standard = Standard::new(nothing()?, nothing()?, nothing()?);
            let outcome = sandbox.run_on(standard, &order.command, None)?;
            took.push(begun.elapsed().as_secs_f64() * 1_000.0);
            if outcome.end != sandbox::End::Exited(0) {
                eprintln!("confine: {:?}", outcome.end);
            }
        }
        Ok(took)
    };
    match run() {
        Ok(took) => {
            let line = serde_json::json!(took).to_string();
            let said = std::io::stdout().write_all(line.as_bytes());
            if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("confine: {error}");
            warden::refusal_status(&error).into()
        }
    }
}
