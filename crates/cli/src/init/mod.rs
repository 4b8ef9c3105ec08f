//! `bailiwick init`: finds servers, agents and keys, looks at tools, proposes a review, writes `.bailiwick/`.
//! It calls no tool, writes no file of the home folder, and no other file without consent and a way back.

mod agents;
mod files;
mod keep;
mod keys;
mod later;
pub(crate) mod record;
mod servers;
mod survey;

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::{Place, place};
use gateway::inventory::lock::Lock;
use keep::Keeping;
use record::{Change, Created, Record};
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use survey::{Told, find};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Accept every proposal without asking; keys stay where they are unless `--keys move`
    #[arg(long)]
    yes: bool,
    /// What becomes of keys that lie in files: into the vault, or only named [default: ask, or leave where nobody can be asked]
    #[arg(long, value_name = "WHAT")]
    keys: Option<Keys>,
    /// Also this server: NAME=URL or NAME='COMMAND ARGUMENTS'; then no client files are searched
    #[arg(long = "server", value_name = "NAME=WHERE")]
    servers: Vec<String>,
    /// Show this to every command, besides what its arguments name
    #[arg(long, value_name = "PATH")]
    read: Vec<PathBuf>,
    /// Show this to every command, and let it be changed
    #[arg(long, value_name = "PATH")]
    write: Vec<PathBuf>,
    /// Let every command change the project
    #[arg(long)]
    write_project: bool,
    /// Leave out Claude Code's built-in tools
    #[arg(long)]
    no_claude_code: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Keys {
    /// Into the vault
    Move,
    /// Where they are
    Leave,
}

pub(crate) fn run(dir: Option<&Path>, state: Option<&Path>, args: Args) -> anyhow::Result<Outcome> {
    let here = std::env::current_dir()?;
    let folder = dir.map_or_else(|| here.join(place::FOLDER), Path::to_owned);
    if folder.join(gateway::config::FILE).exists() && args.keys == Some(Keys::Move) {
        return later::run(&Place::of(folder, state)?, &args, (dir.is_some(), state.is_some()));
    }
    if folder.join(gateway::config::FILE).exists() {
        anyhow::bail!(
            "{} exists already; use `bailiwick inventory review` to take in what changed, or `bailiwick uninstall` to begin anew",
            folder.display()
        );
    }
    let place = Place::of(folder, state)?;
    if record::is_there(&place) {
        anyhow::bail!(
            "an earlier `bailiwick init` ended half-way; `bailiwick uninstall` puts back what it began"
        );
    }
    let mut found = find(&place, &args)?;
    found.say();
    let left = found.choose(&args)?;
    let mut lock = Lock::empty();
    let reached = servers::look(&place, &found.servers, &mut lock)?;
    if !args.yes && std::io::stdin().is_terminal() && !agreed(&place)? {
        terminal::say("Nothing was written.");
        return Ok(Outcome::DoesNotHold);
    }
    terminal::say("");
    let mut keeping = Keeping::open(&place.secrets())?;
    let told = Told { reached, is_elsewhere: (dir.is_some(), state.is_some()), is_new: true };
    let plan = found.plan(&place, &args, &left, &told, &mut keeping, &lock)?;
    plan.carry_out(&place, &keeping)
        .context("init ended half-way; `bailiwick uninstall` puts back what it did")?;
    next(&place, &args, &plan.agents);
    Ok(Outcome::Done)
}

/// What will be made and changed.
struct Plan {
    /// Files of the configuration folder, by their path in it.
    files: Vec<(PathBuf, String)>,
    changes: Vec<Change>,
    /// Agents that can be run.
    agents: Vec<&'static str>,
}

impl Plan {
    /// Writes down what will be, then does it. A kill at any moment leaves something that `uninstall` puts back.
    fn carry_out(&self, place: &Place, keeping: &Keeping) -> anyhow::Result<()> {
        let _turn = record::turn(place)?;
        let folder = &place.config;
        let folders = [folder.clone(), folder.join("policy"), folder.join("cases")];
        let absent: Vec<PathBuf> = folders.into_iter().filter(|folder| !folder.is_dir()).collect();
        let mut created = Vec::new();
        for (path, text) in &self.files {
            let path = folder.join(path);
            // What is there is somebody's: it must be neither written over nor taken away later.
            anyhow::ensure!(
                path.symlink_metadata().is_err(),
                "{} exists already; move it away",
                path.display()
            );
            created.push(Created { path, digest: judge::digest::hex(text.as_bytes()) });
        }
        let secrets = keeping.fresh.iter().map(ToString::to_string).collect();
        let record = Record::begin(place, absent, created, &self.changes, secrets)?;
        keeping.store()?;
        for folder in &record.folders {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        for (path, text) in &self.files {
            let path = folder.join(path);
            record::put_durably(&path, text.as_bytes(), false)?;
            record::sync(path.parent().unwrap_or(folder))?;
        }
        self.changes.iter().try_for_each(|change| change.make(&record))
    }
}

fn say_key(line: &str) {
    terminal::say(&format!("{} {}", terminal::coloured("key", 33), terminal::safe(line)));
}

/// One choice, in one line.
fn choice(line: &str) {
    terminal::say(&terminal::safe(line));
}

/// This program as clients start it: by its name where that leads here.
fn program() -> String {
    let own = std::env::current_exe().ok().and_then(|own| own.canonicalize().ok());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("bailiwick")).find(|file| file.is_file());
    match own {
        Some(own) if found.and_then(|found| found.canonicalize().ok()).as_ref() != Some(&own) => {
            own.display().to_string()
        }
        _ => "bailiwick".to_owned(),
    }
}

fn next(place: &Place, args: &Args, agents: &[&str]) {
    terminal::say(&format!("\nWrote {}. What to do next:", place.config.display()));
    terminal::say(
        "  read     .bailiwick/policy/*.cedar and change what does not fit; `bailiwick policy test` checks it",
    );
    for agent in agents {
        terminal::say(&format!("  run      bailiwick run -- {agent}   (the whole agent behind the wall)"));
    }
    terminal::say("  start    bailiwick serve");
    terminal::say(
        "  connect  in your MCP client, replace the servers by one: command `bailiwick`, argument `mcp`",
    );
    if !args.no_claude_code {
        terminal::say(
            "  hooks    bailiwick hook settings   (for Claude Code's own tools; install as managed settings)",
        );
    }
    terminal::say("  undo     bailiwick uninstall       (puts every file back as it was)");
}

fn agreed(place: &Place) -> anyhow::Result<bool> {
    asked(&format!("\nWrite this review and careful starting policies to {}? [y/N]", place.config.display()))
}

/// Asks on this terminal.
pub(crate) fn asked(question: &str) -> anyhow::Result<bool> {
    answer(question).map(|said| is_yes(&said))
}

fn answer(question: &str) -> anyhow::Result<String> {
    terminal::say(question);
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_ascii_lowercase())
}

fn is_yes(said: &str) -> bool {
    matches!(said, "y" | "yes")
}
