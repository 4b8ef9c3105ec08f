//! What was found, what somebody agreed to, and what becomes of it: the choices of `init`, each said in one line. Nothing is written here.

use super::keep::{self, Keeping};
use super::keys::{self, Key, Keyed, Search, ServerKey};
use super::record::Change;
use super::{Args, Keys, Plan, agents, answer, choice, files, is_yes, program, say_key, servers};
use crate::terminal;
use gateway::config::clients::{self, Found};
use gateway::config::confine::Reachable;
use gateway::config::{Config, Place, Server, place};
use gateway::inventory::lock::Lock;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What the environment of this shell is called.
const SHELL: &str = "this shell's environment";

/// What was found before anything is written.
pub(super) struct Survey {
    /// Every entry of every client's file.
    entries: Vec<Found>,
    /// The servers that the gate will have.
    pub(super) servers: BTreeMap<String, Server>,
    /// Keys of each of the entries, in the same order.
    of_entries: Vec<Vec<ServerKey>>,
    /// Keys in files that programs read themselves.
    of_files: Vec<Keyed>,
    /// Keys of agents in this shell's environment.
    of_shell: Vec<Key>,
}

pub(super) fn find(place: &Place, args: &Args) -> anyhow::Result<Survey> {
    let project = place.project();
    let mut notes = Vec::new();
    let entries = match args.servers.as_slice() {
        [] => {
            let (entries, troubles) = clients::entries(project, place::home().as_deref());
            notes.extend(troubles);
            entries
        }
        _ => Vec::new(),
    };
    let mut all: BTreeMap<String, Server> = servers::named(&args.servers)?;
    for found in &entries {
        if !all.contains_key(&found.name) {
            terminal::say(&format!("found {} in {}", terminal::safe(&found.name), found.file.display()));
            all.insert(found.name.clone(), found.server.clone());
        }
    }
    if all.is_empty() {
        terminal::say(
            "No MCP servers were found here; add some with --server NAME=URL or NAME='COMMAND ARGUMENTS'.",
        );
    }
    let servers = all.into_iter().map(|(name, server)| {
        let sandbox = servers::proposed(&server, place, args);
        (name, Server { sandbox, ..server })
    });
    let search = Search::new()?;
    let variables = keys::files_of_variables(project, &mut notes);
    let mut of_files = search.files(variables, &mut notes);
    of_files.extend(search.settings(project));
    let of_shell = agents::variables().filter_map(|name| {
        let value = Zeroizing::new(std::env::var(name).ok()?.into_bytes());
        (value.len() >= judge::filter::known::VALUE_BYTES_MIN).then(|| Key {
            name: name.to_owned(),
            kind: name.to_owned(),
            value,
        })
    });
    let found = Survey {
        servers: servers.collect(),
        of_entries: entries.iter().map(|found| search.server(found)).collect(),
        of_shell: of_shell.collect(),
        of_files,
        entries,
    };
    for note in notes {
        terminal::complain(&terminal::safe(&note));
    }
    Ok(found)
}

/// What a move of keys has to know besides.
pub(super) struct Told {
    /// Servers whose tools were seen.
    pub(super) reached: BTreeSet<String>,
    /// Whether the configuration, and the state, are elsewhere than where clients would look.
    pub(super) is_elsewhere: (bool, bool),
    /// Whether there is no configuration yet.
    pub(super) is_new: bool,
}

impl Survey {
    pub(super) fn has_keys(&self) -> bool {
        self.of_entries.iter().any(|keys| !keys.is_empty())
            || !self.of_files.is_empty()
            || !self.of_shell.is_empty()
    }

    /// Asks, for each place, whether its keys go into the vault. Those of other places are forgotten here; gives those places.
    pub(super) fn choose(&mut self, args: &Args) -> anyhow::Result<BTreeSet<String>> {
        let may_ask = args.keys.is_none() && !args.yes && std::io::stdin().is_terminal();
        if may_ask && self.has_keys() {
            terminal::say(
                "Into the vault with them? Files are backed up; `bailiwick uninstall` puts them back.",
            );
        }
        let mut answers: BTreeMap<String, bool> = BTreeMap::new();
        let mut all = args.keys == Some(Keys::Move);
        let mut agreed = |place: String| -> anyhow::Result<bool> {
            if let Some(known) = answers.get(&place) {
                return Ok(*known);
            }
            let agreed = all
                || (may_ask
                    && match answer(&format!("  {} [y/N/all]", terminal::safe(&place)))?.as_str() {
                        "a" | "all" => {
                            all = true;
                            true
                        }
                        said => is_yes(said),
                    });
            answers.insert(place, agreed);
            Ok(agreed)
        };
        for (found, keys) in
            self.entries.iter().zip(&mut self.of_entries).filter(|(_, keys)| !keys.is_empty())
        {
            if !agreed(found.file.display().to_string())? {
                keys.clear();
            }
        }
        let mut of_files = Vec::new();
        for file in self.of_files.drain(..) {
            if agreed(file.file.display().to_string())? {
                of_files.push(file);
            }
        }
        self.of_files = of_files;
        if !self.of_shell.is_empty() && !agreed(SHELL.to_owned())? {
            self.of_shell.clear();
        }
        Ok(answers.into_iter().filter(|(_, agreed)| !agreed).map(|(place, _)| place).collect())
    }

    /// Says where keys lie, never what they are.
    pub(super) fn say(&self) {
        for (found, keys) in self.entries.iter().zip(&self.of_entries).filter(|(_, keys)| !keys.is_empty()) {
            let named = keys::named(keys.iter().map(|key| &key.key));
            let from = if keys.iter().any(|key| key.in_file) { "" } else { ", from your environment" };
            say_key(&format!("{}: server {}: {named}{from}", found.file.display(), found.name));
        }
        for file in &self.of_files {
            say_key(&format!(
                "{}: {}",
                file.file.display(),
                keys::named(file.keys.iter().map(|(_, key)| key))
            ));
        }
        for key in &self.of_shell {
            say_key(&format!("{SHELL}: {}", key.name));
        }
    }

    /// Everything that will be made and changed.
    pub(super) fn plan(
        &self,
        place: &Place,
        args: &Args,
        left: &BTreeSet<String>,
        told: &Told,
        keeping: &mut Keeping,
        lock: &Lock,
    ) -> anyhow::Result<Plan> {
        let mut config = Config { server: self.servers.clone(), ..Config::default() };
        config.gate.claude_code = !args.no_claude_code;
        let changes = self.keep_servers(place, keeping, &mut config, told)?;
        let hide = self.keep_all(place, keeping)?;
        for place in left {
            choice(&format!(
                "left     {place}: keys stay there, and those of servers are in bailiwick.toml too: do not commit it"
            ));
        }
        if !left.is_empty() {
            choice(
                "         `bailiwick init --keys move` puts them into the vault; `bailiwick uninstall` takes that back",
            );
        }
        if !hide.is_empty() {
            config.shell = agents::shell(&hide);
        }
        let agents = agents::propose(place.project(), keeping, &mut config);
        agents.says.iter().for_each(|says| choice(says));
        let files = files::files(&config, &agents.text, lock)?;
        if let Some((_, text)) = files.last() {
            agents::is_readable(text)
                .map_err(|why| anyhow::anyhow!("the configuration came out wrong: {why}"))?;
        }
        Ok(Plan { files, changes, agents: agents.programs })
    }

    /// Keys of servers go into the vault; where a file of the project has them, the gate takes the server's place in it.
    pub(super) fn keep_servers(
        &self,
        place: &Place,
        keeping: &mut Keeping,
        config: &mut Config,
        told: &Told,
    ) -> anyhow::Result<Vec<Change>> {
        let mut options = Vec::new();
        let (dir, state) = told.is_elsewhere;
        for (is_given, option, path) in [(dir, "--dir", &place.config), (state, "--state", &place.state)] {
            if is_given {
                options.extend([option.to_owned(), path.display().to_string()]);
            }
        }
        let program = program();
        let mut taken = Vec::new();
        for (found, keys) in self.entries.iter().zip(&self.of_entries).filter(|(_, keys)| !keys.is_empty()) {
            let shown = format!("{} of {}", found.name, found.file.display());
            let is_the_one = self.servers.get(&found.name).is_some_and(|server| {
                (&server.command, &server.url, &server.env, &server.headers)
                    == (&found.server.command, &found.server.url, &found.server.env, &found.server.headers)
            });
            let left = |why: &str, keeping: &mut Keeping| {
                choice(&format!(
                    "left     {shown}: {why}; the vault has its keys too, so that no model reads them"
                ));
                // They must be seen nowhere all the same.
                keys.iter().try_for_each(|key| keeping.name(&key.key.name, &key.key.value).map(drop))
            };
            if !is_the_one {
                left("another file has a server of this name", keeping)?;
                continue;
            }
            let named = match config.server.get_mut(&found.name) {
                None => Err("bailiwick.toml does not have it".to_owned()),
                Some(server)
                    if (&server.command, &server.url) != (&found.server.command, &found.server.url) =>
                {
                    Err("bailiwick.toml has another server of this name".to_owned())
                }
                // A second file with the same server: its names stand there already.
                Some(server) if server.env != found.server.env || server.headers != found.server.headers => {
                    Ok(())
                }
                Some(server) => keep::by_name(&found.name, server, keys, keeping, &mut config.secret)?,
            };
            if let Err(why) = named {
                left(&why, keeping)?;
                continue;
            }
            if !found.in_project {
                choice(&format!(
                    "kept     {shown}: in the vault; the file is not only this project's, so it keeps its own"
                ));
            } else if !keys.iter().any(|key| key.in_file) {
                choice(&format!(
                    "kept     {shown}: in the vault; the file names your environment and stays as it is"
                ));
            } else if !told.reached.contains(&found.name) {
                choice(&format!(
                    "kept     {shown}: in the vault; nobody has seen its tools yet, so the file keeps starting it as before"
                ));
            } else {
                taken.push((found, keep::through_the_gate(&found.name, &program, &options)));
            }
        }
        let changes = keep::changes(place.project(), &taken, &mut |why| choice(&why));
        for (found, _) in
            taken.iter().filter(|(found, _)| changes.iter().any(|change| change.path == found.file))
        {
            let server = config.server.get_mut(&found.name).filter(|server| !server.command.is_empty());
            // What needs a key calls somebody, and it did so until now. Where there is a configuration, somebody decided on it.
            let keeps = server.filter(|server| told.is_new && server.sandbox.network == Reachable::None);
            let network = keeps.map_or("", |server| {
                server.sandbox.network = Reachable::Host;
                "; behind the wall it keeps the network it had"
            });
            choice(&format!(
                "moved    {} of {}: in the vault; the file starts it through the gate from now on{network}",
                found.name,
                found.file.display()
            ));
        }
        Ok(changes)
    }

    /// Keys that programs read from files themselves are guarded, and the files hidden; says which.
    pub(super) fn keep_all(&self, place: &Place, keeping: &mut Keeping) -> anyhow::Result<Vec<PathBuf>> {
        keep::guard(&self.of_files, keeping)?;
        let mut hide = Vec::new();
        for file in &self.of_files {
            choice(&format!(
                "guarded  {}: in the vault, so that no model reads them; the file stays for your programs, and agents see it empty",
                file.file.display()
            ));
            hide.extend(file.file.strip_prefix(place.project()).ok().map(Path::to_owned));
        }
        for key in &self.of_shell {
            let name = keeping.name(&key.name, &key.value)?;
            choice(&format!("kept     {} of this shell is `{name}` in the vault", key.name));
        }
        Ok(hide)
    }
}
