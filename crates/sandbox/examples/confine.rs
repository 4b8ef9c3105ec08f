//! The smallest program that confines another: `confine ORDER.json [OUTCOME.json]`, or `confine warden` as somebody's child.
//! The order is a [`sandbox::warden::Order`]; the exit status is the program's own, as a shell would give it.

use sandbox::Sandbox;
use sandbox::warden::{self, Order};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
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
    let ran = Sandbox::start(&order.profile, &order.state)
        .and_then(|mut sandbox| sandbox.run(&order.command, None));
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
