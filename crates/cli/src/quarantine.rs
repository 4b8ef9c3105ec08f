//! `bailiwick quarantine`: asks the running gate's reader about standard input, and prints an answer that fits the schema or none.
//! The content goes to that reader only; nothing of it is printed.

use crate::{Outcome, relay, terminal};
use anyhow::Context;
use gateway::config::Place;
use gateway::wire::control::{Control, Read as Answered};
use judge::flow::extract::{SCHEMA_BYTES_MAX, Schema};
use std::io::Read;
use std::path::PathBuf;

/// Largest content, in bytes; `content_bytes_max` is usually less.
const CONTENT_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file with the JSON Schema of the answer, as docs/quarantine.md has it
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// What to find out about the content
    #[arg(long, value_name = "TEXT")]
    question: String,
    /// Print one JSON object: {"answer": …} or {"refused": …}
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(place: &Place, args: Args) -> anyhow::Result<Outcome> {
    let shown = || args.schema.display().to_string();
    let mut schema = Vec::new();
    let file = std::fs::File::open(&args.schema).with_context(shown)?;
    file.take(SCHEMA_BYTES_MAX as u64 + 1).read_to_end(&mut schema).with_context(shown)?;
    let schema = Schema::parse(&schema).with_context(shown)?;
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(CONTENT_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .context("standard input is not UTF-8 text")?;
    anyhow::ensure!(text.len() as u64 <= CONTENT_BYTES_MAX, "the content is over {CONTENT_BYTES_MAX} bytes");
    let schema = serde_json::from_str(&schema.canonical())?;
    let asked = Control::Quarantine { text, question: args.question, schema };
    // The gate keeps the time, and a person may be asked.
    let answered: Answered = serde_json::from_value(relay::ask_patiently(place, asked)?)?;
    if args.json {
        terminal::say_json(&answered);
    }
    match answered {
        Answered::Answer(answer) => {
            if !args.json {
                terminal::say(&terminal::safe(&answer.to_string()));
            }
            Ok(Outcome::Done)
        }
        Answered::Refused(why) => {
            if !args.json {
                terminal::complain(&terminal::safe(&format!("bailiwick: {why}")));
            }
            Ok(Outcome::DoesNotHold)
        }
    }
}
