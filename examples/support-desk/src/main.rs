//! The `support-desk` command: serve one server on stdin and stdout, or fill a new database. It decides nothing; the
//! library does the work.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use support_desk::{POISON, Server, seed, serve};

const USAGE: &str = "\
A small support desk on SQLite, as ordinary stdio MCP servers.

  support-desk seed --db FILE             fill a new database
  support-desk SERVER --db FILE           serve crm, billing or mail on stdin and stdout
";

fn main() -> ExitCode {
    let arguments: Vec<String> = match std::env::args_os().skip(1).map(|word| word.into_string()).collect() {
        Ok(arguments) => arguments,
        Err(_) => return wrong_use("arguments must be utf-8"),
    };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (what, db) = match words.as_slice() {
        ["--help" | "-h" | "help"] => {
            let _ = io::stdout().write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        [what, "--db", db] | ["--db", db, what] => (*what, Path::new(*db)),
        _ => return wrong_use("expected a server or `seed`, and `--db FILE`"),
    };
    let done = if what == "seed" {
        seed(db).map(|()| {
            let _ = writeln!(
                io::stdout(),
                "filled {}; ticket {} is the poisoned one",
                db.display(),
                POISON.ticket
            );
        })
    } else {
        match what.parse::<Server>() {
            Ok(server) => serve(server, db, io::stdin().lock(), io::stdout().lock()),
            Err(unknown) => return wrong_use(&unknown.to_string()),
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "support-desk: {error}");
            ExitCode::from(1)
        }
    }
}

fn wrong_use(why: &str) -> ExitCode {
    let _ = write!(io::stderr(), "support-desk: {why}\n\n{USAGE}");
    ExitCode::from(2)
}
