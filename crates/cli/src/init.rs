//! `bailiwick init`: finds servers, looks at their tools, proposes a review, writes `.bailiwick/`.
//! It calls no tool and changes no client's file.

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::confine::{Access, Reachable};
use gateway::config::{Config, Confinement, Place, Reach, Server, clients, place, usable_name};
use gateway::inventory::lock::Lock;
use gateway::inventory::survey;
use judge::request::command;
use judge::shape::Kind;
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Accept every proposal without asking
    #[arg(long)]
    yes: bool,
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

const START: &str = include_str!("start/00-start.cedar");
const EGRESS: &str = include_str!("start/30-egress.cedar");
const START_CLAUDE: &str = include_str!("start/20-claude-code.cedar");
const CASES: &str = include_str!("start/cases.md");

pub(crate) fn run(dir: Option<&Path>, state: Option<&Path>, args: Args) -> anyhow::Result<Outcome> {
    let here = std::env::current_dir()?;
    let folder = dir.map_or_else(|| here.join(place::FOLDER), Path::to_owned);
    if folder.join(gateway::config::FILE).exists() {
        anyhow::bail!(
            "{} exists already; use `bailiwick inventory review` to take in what changed",
            folder.display()
        );
    }
    let place = Place::of(folder, state)?;
    let servers = if args.servers.is_empty() { discovered(place.project()) } else { named(&args.servers)? };
    if servers.is_empty() {
        terminal::say(
            "No MCP servers were found here; add some with --server NAME=URL or NAME='COMMAND ARGUMENTS'.",
        );
    }
    let mut config = Config::default();
    config.gate.claude_code = !args.no_claude_code;
    let mut lock = Lock::empty();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    for (name, server) in servers {
        terminal::say(&format!(
            "\n{}  {}",
            terminal::coloured(&name, 1),
            terminal::safe(&whereabouts(&server))
        ));
        let server = Server { sandbox: proposed(&server, &place, &args), ..server };
        if let Ok(Reach::Command(_)) = server.reach() {
            terminal::say(&format!("  {}", terminal::safe(&walls(&server.sandbox))));
        }
        lock.servers.entry(name.clone()).or_default();
        match runtime.block_on(survey::look(&name, &server, &place, None)) {
            Ok(found) => {
                for why in &found.malformed {
                    terminal::say(&format!(
                        "  {} {}",
                        terminal::coloured("left out", 31),
                        terminal::safe(why)
                    ));
                }
                for change in survey::changes(&lock, &name, &found) {
                    for says in survey::suspicions(&change) {
                        terminal::say(&format!(
                            "  {} {}: {says}",
                            terminal::coloured("look at", 31),
                            terminal::safe(change.name())
                        ));
                    }
                    survey::accept(&mut lock, &name, &change);
                }
                crate::inventory::table(&lock, &name);
            }
            Err(error) => terminal::say(&format!(
                "  {} {error}; it stays without tools until `bailiwick inventory review` can reach it",
                terminal::coloured("not reached", 31)
            )),
        }
        config.server.insert(name, server);
    }
    drop(runtime);
    if !args.yes && std::io::stdin().is_terminal() && !agreed(&place)? {
        terminal::say("Nothing was written.");
        return Ok(Outcome::DoesNotHold);
    }
    write(&place, &config, &lock)?;
    terminal::say(&format!("\nWrote {}. What to do next:", place.config.display()));
    terminal::say(
        "  read     .bailiwick/policy/*.cedar and change what does not fit; `bailiwick policy test` checks it",
    );
    terminal::say("  start    bailiwick serve");
    terminal::say(
        "  connect  in your MCP client, replace the servers by one: command `bailiwick`, argument `mcp`",
    );
    if config.gate.claude_code {
        terminal::say(
            "  hooks    bailiwick hook settings   (for Claude Code's own tools; install as managed settings)",
        );
    }
    Ok(Outcome::Done)
}

fn discovered(project: &Path) -> BTreeMap<String, Server> {
    let (found, troubles) = clients::discover(project, place::home().as_deref());
    for trouble in troubles {
        terminal::complain(&terminal::safe(&trouble));
    }
    for server in &found {
        terminal::say(&format!("found {} in {}", terminal::safe(&server.name), server.file.display()));
    }
    found.into_iter().map(|found| (found.name, found.server)).collect()
}

fn named(specs: &[String]) -> anyhow::Result<BTreeMap<String, Server>> {
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
fn proposed(server: &Server, place: &Place, args: &Args) -> Confinement {
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

fn whereabouts(server: &Server) -> String {
    match server.reach() {
        Ok(Reach::Command(command)) => command.join(" "),
        Ok(Reach::Url(url)) => url.to_owned(),
        Err(why) => why.to_owned(),
    }
}

fn agreed(place: &Place) -> anyhow::Result<bool> {
    terminal::say(&format!(
        "\nWrite this review and careful starting policies to {}? [y/N]",
        place.config.display()
    ));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn write(place: &Place, config: &Config, lock: &Lock) -> anyhow::Result<()> {
    let folder = &place.config;
    for part in ["policy", "cases"] {
        std::fs::create_dir_all(folder.join(part)).with_context(|| folder.display().to_string())?;
    }
    lock.save(folder)?;
    put(&folder.join("cases/README.md"), CASES)?;
    put(&folder.join("policy/00-start.cedar"), START)?;
    put(&folder.join("policy/30-egress.cedar"), EGRESS)?;
    let questions: Vec<String> = config
        .server
        .keys()
        .flat_map(|server| {
            ["elicitation/create", "roots/list"].map(|method| format!("Action::\"{server}/mcp:{method}\""))
        })
        .collect();
    let mut text = String::new();
    if !questions.is_empty() {
        text.push_str("// Questions of servers to the person at the client, who answers them there.\n@id(\"servers-may-ask\")\n");
        text.push_str(&format!(
            "permit (\n  principal,\n  action in [\n    {}\n  ],\n  resource\n);\n",
            questions.join(",\n    ")
        ));
    }
    for (server, reviewed) in &lock.servers {
        for (tool, known) in &reviewed.tools {
            text.extend(
                known
                    .kinds
                    .iter()
                    .filter(|(_, kind)| kind.0 == Kind::Path)
                    .filter_map(|(at, _)| fence(server, tool, at)),
            );
        }
    }
    if !text.is_empty() {
        put(&folder.join("policy/10-servers.cedar"), &text)?;
    }
    if config.gate.claude_code {
        put(&folder.join("policy/20-claude-code.cedar"), START_CLAUDE)?;
    }
    // Last, for it is what makes the folder a configuration; it may hold credentials that clients had in theirs.
    put(&folder.join(gateway::config::FILE), &toml::to_string_pretty(config)?)
}

/// A path outside the project needs a person, for an argument of the tool itself (not of one nested deeper).
fn fence(server: &str, tool: &str, at: &str) -> Option<String> {
    let name = at.trim_end_matches("[]");
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    if name.contains(['.', '[']) || ![server, tool, name].into_iter().all(plain) {
        return None;
    }
    Some(format!(
        "\n@id(\"{server}-{tool}-{name}-stays-in-the-workspace\")\n\
         forbid (principal, action == Action::\"{server}/{tool}\", resource)\nwhen {{\n  context.args has \"{name}\" &&\n  \
         ![\"workspace\", \"temp\"].contains(context.args[\"{name}\"].zone) && !context.approved\n}};\n"
    ))
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| path.display().to_string())
}
