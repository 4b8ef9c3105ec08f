//! The servers of a new configuration: named on the command line, confined by what their commands say, and looked at all at once.
//! No tool of theirs is called.

use crate::terminal;
use anyhow::Context;
use gateway::config::confine::{Access, Reachable};
use gateway::config::{Confinement, Place, Reach, Server, usable_name};
use gateway::inventory::lock::Lock;
use gateway::inventory::survey::{self, Found};
use judge::request::command;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long all servers together may take to say what they offer, in seconds; who is later is asked again by `inventory review`.
const LOOK_SECONDS_MAX: u64 = 40;
/// Servers that are looked at at once.
const LOOKS_RUNNING_MAX: usize = 8;

pub(super) fn named(specs: &[String]) -> anyhow::Result<BTreeMap<String, Server>> {
    let mut servers = BTreeMap::new();
    for spec in specs {
        let (name, target) = spec.split_once('=').with_context(|| format!("`{spec}` is not NAME=WHERE"))?;
        if !usable_name(name) {
            anyhow::bail!(
                "`{name}`: use letters, digits, `-` and single `_` only, at most 48, and not `claude`"
            );
        }
        let server = if target.starts_with("http://") || target.starts_with("https://") {
            Server { url: Some(target.to_owned()), ..Server::default() }
        } else {
            Server { command: words(target)?, ..Server::default() }
        };
        servers.insert(name.to_owned(), server);
    }
    Ok(servers)
}

/// The words of a plain command line, quotes understood.
fn words(line: &str) -> anyhow::Result<Vec<String>> {
    let parsed = command::parse(line);
    match parsed.commands.as_slice() {
        [only] if parsed.opaque.is_none() || only.words.iter().all(|word| word.literal().is_some()) => {
            let rest = only.words.iter().map(|word| word.literal().map(str::to_owned));
            std::iter::once(Some(only.given.clone()))
                .chain(rest)
                .collect::<Option<Vec<_>>>()
                .with_context(|| format!("`{line}` holds something only a shell could expand; write it out"))
        }
        _ => {
            let plain: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if plain.is_empty() || line.contains(['\'', '"', '\\', '$', '|', '&', ';', '<', '>', '`']) {
                anyhow::bail!("`{line}` is not one plain command");
            }
            Ok(plain)
        }
    }
}

/// Programs that fetch what they run before they run it.
const FETCHING: [&str; 9] = ["npx", "npm", "pnpm", "yarn", "bunx", "uvx", "uv", "pipx", "docker"];

/// What a command needs, as far as its words say: folders it names can be changed, and one that fetches programs gets the
/// network. The operator reads all of it in the configuration.
pub(super) fn proposed(server: &Server, place: &Place, args: &super::Args) -> Confinement {
    let mut sandbox = server.sandbox.clone();
    sandbox.read.extend(args.read.iter().cloned());
    sandbox.write.extend(args.write.iter().cloned());
    if args.write_project {
        sandbox.workspace = Access::ReadWrite;
    }
    let Ok(Reach::Command(command)) = server.reach() else { return sandbox };
    for word in command.iter().skip(1).filter(|word| word.starts_with(['/', '.'])) {
        let Ok(path) = place.project().join(word).canonicalize() else { continue };
        if path.is_dir() && path.starts_with(place.project()) {
            sandbox.workspace = Access::ReadWrite;
        } else if path.is_dir() && Path::new(word).is_absolute() {
            sandbox.write.push(path);
        }
    }
    let program = Path::new(&command[0]).file_name().unwrap_or_default();
    if FETCHING.iter().any(|fetching| program == *fetching) {
        sandbox.network = Reachable::Host;
    }
    sandbox
}

/// The walls of a command, in a line.
fn walls(sandbox: &Confinement) -> String {
    if !sandbox.enabled {
        return "not confined".to_owned();
    }
    let project = match sandbox.workspace {
        Access::None => "does not see the project",
        Access::ReadOnly => "reads the project",
        Access::ReadWrite => "changes the project",
        Access::Overlay => "changes a copy of the project",
    };
    let list = |what: &str, paths: &[PathBuf]| match paths {
        [] => String::new(),
        paths => {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("; {what} {}", paths.join(", "))
        }
    };
    let network = match &sandbox.network {
        Reachable::None => "no network".to_owned(),
        Reachable::Host => "the host's network, because it fetches what it runs".to_owned(),
        Reachable::Places(places) => format!("{} places on the network", places.len()),
    };
    format!(
        "confined: {project}{}{}; {network}",
        list("reads", &sandbox.read),
        list("changes", &sandbox.write)
    )
}

/// Looks at every server, puts what was found into `lock`, as a proposal that was accepted, and says who answered.
pub(super) fn look(
    place: &Place,
    servers: &BTreeMap<String, Server>,
    lock: &mut Lock,
) -> anyhow::Result<BTreeSet<String>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut found = runtime.block_on(looked_at(place, servers));
    runtime.shutdown_timeout(Duration::from_secs(2));
    let mut reached = BTreeSet::new();
    for (name, server) in servers {
        terminal::say(&format!(
            "\n{}  {}",
            terminal::coloured(name, 1),
            terminal::safe(&whereabouts(server))
        ));
        if let Ok(Reach::Command(_)) = server.reach() {
            terminal::say(&format!("  {}", terminal::safe(&walls(&server.sandbox))));
        }
        lock.servers.entry(name.clone()).or_default();
        let late = || Err(format!("it said nothing within {LOOK_SECONDS_MAX} seconds"));
        match found.remove(name).unwrap_or_else(late) {
            Ok(found) => {
                taken_in(lock, name, &found);
                reached.insert(name.clone());
            }
            Err(why) => terminal::say(&format!(
                "  {} {}; it stays without tools until `bailiwick inventory review` can reach it",
                terminal::coloured("not reached", 31),
                terminal::safe(&why)
            )),
        }
    }
    Ok(reached)
}

async fn looked_at(
    place: &Place,
    servers: &BTreeMap<String, Server>,
) -> BTreeMap<String, Result<Found, String>> {
    let until = Instant::now() + Duration::from_secs(LOOK_SECONDS_MAX);
    let turns = Arc::new(Semaphore::new(LOOKS_RUNNING_MAX));
    let mut looks = JoinSet::new();
    for (name, server) in servers {
        let (name, server, place, turns) = (name.clone(), server.clone(), place.clone(), turns.clone());
        looks.spawn(async move {
            let _turn = turns.acquire().await;
            let found = survey::look(&name, &server, &place, None).await.map_err(|error| error.to_string());
            (name, found)
        });
    }
    let mut found = BTreeMap::new();
    while let Ok(Some(looked)) = tokio::time::timeout_at(until, looks.join_next()).await {
        found.extend(looked);
    }
    looks.shutdown().await;
    found
}

fn taken_in(lock: &mut Lock, name: &str, found: &Found) {
    for why in &found.malformed {
        terminal::say(&format!("  {} {}", terminal::coloured("left out", 31), terminal::safe(why)));
    }
    for change in survey::changes(lock, name, found) {
        for says in survey::suspicions(&change) {
            terminal::say(&format!(
                "  {} {}: {says}",
                terminal::coloured("look at", 31),
                terminal::safe(change.name())
            ));
        }
        survey::accept(lock, name, &change);
    }
    crate::inventory::table(lock, name);
}

fn whereabouts(server: &Server) -> String {
    match server.reach() {
        Ok(Reach::Command(command)) => command.join(" "),
        Ok(Reach::Url(url)) => url.to_owned(),
        Err(why) => why.to_owned(),
    }
}
