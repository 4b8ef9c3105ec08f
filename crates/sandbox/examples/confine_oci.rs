//! The smallest program that confines another through an OCI runtime: `confine_oci RUNTIME ORDER.json [OUTCOME.json]`.
//! The order is a [`sandbox::warden::Order`]; the exit status is the program's own, as a shell would give it.

use sandbox::oci::{self, Runtime};
use sandbox::warden::{self, Order};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (runtime, order, outcome) = match arguments.as_slice() {
        [runtime, order] => (runtime, order, None),
        [runtime, order, outcome] => (runtime, order, Some(outcome)),
        _ => {
            eprintln!("usage: confine_oci RUNTIME ORDER.json [OUTCOME.json]");
            return ExitCode::from(2);
        }
    };
    let read = std::fs::read(order).map_err(|error| error.to_string());
    let parsed =
        read.and_then(|text| serde_json::from_slice::<Order>(&text).map_err(|error| error.to_string()));
    let found = Runtime::find(Path::new(runtime)).map_err(|error| error.to_string());
    let (order, runtime) = match (parsed, found) {
        (Ok(order), Ok(runtime)) => (order, runtime),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("confine_oci: {error}");
            return ExitCode::from(2);
        }
    };
    match oci::run(&runtime, &order.profile, &order.command, &order.state) {
        Ok(ran) => {
            if let Some(file) = outcome {
                let text = serde_json::to_vec(&ran).unwrap_or_default();
                if let Err(error) = std::fs::write(file, text) {
                    eprintln!("confine_oci: {}: {error}", file.display());
                }
            }
            warden::status(&ran.end).into()
        }
        Err(error) => {
            eprintln!("confine_oci: {error}");
            warden::refusal_status(&error).into()
        }
    }
}
