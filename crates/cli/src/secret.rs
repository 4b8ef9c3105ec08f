//! The encrypted store from the command line: values come from standard input or an unseen prompt, and never go out again.
//! Nothing here prints a value, and no option takes one, because command lines are seen by every process.

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::{Config, Place};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use vault::{Secret, SecretName, Store, Unlock};
use zeroize::Zeroizing;

/// Longest value, in bytes: what the filter can still find in whatever comes back.
const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Shortest value, in bytes: a shorter one is found everywhere.
const VALUE_BYTES_MIN: usize = 8;

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Store a value: typed unseen, or from standard input when that is no terminal
    Set {
        /// Letters, digits, `-`, `_` and `.`
        #[arg(value_parser = SecretName::new)]
        name: SecretName,
    },
    /// Replace a value; requests under way end with the old one
    Rotate {
        /// Its name
        #[arg(value_parser = SecretName::new)]
        name: SecretName,
    },
    /// Name the secrets, their versions and when they were last used
    List {
        /// Print JSON, one line for each
        #[arg(long)]
        json: bool,
    },
    /// Forget a secret, every version of it
    Rm {
        /// Its name
        #[arg(value_parser = SecretName::new)]
        name: SecretName,
    },
}

pub(crate) fn run(dir: Option<&Path>, state: Option<&Path>, action: Action) -> anyhow::Result<Outcome> {
    let (folder, config) = folder(dir, state)?;
    let store = Store::open(&folder, Unlock::KeyFile(Store::key_file(&folder)))
        .with_context(|| folder.display().to_string())?;
    if let Action::Set { name } | Action::Rotate { name } = &action {
        anyhow::ensure!(
            !name.as_str().starts_with(vault::LOGIN_PREFIX),
            "`{name}` is the name of a login; `bailiwick login SERVER` makes those"
        );
    }
    match action {
        Action::Set { name } => {
            let version = store.set(&name, &typed(&name)?)?;
            terminal::say(&format!("set {name}, version {version}"));
        }
        Action::Rotate { name } => {
            let version = store.rotate(&name, &typed(&name)?)?;
            terminal::say(&format!(
                "rotated {name}, now version {version}; a running gate uses it from now on"
            ));
        }
        Action::Rm { name } => {
            store.remove(&name)?;
            terminal::say(&format!("removed {name}"));
        }
        Action::List { json } => list(&store, config.as_ref(), json)?,
    }
    Ok(Outcome::Done)
}

/// Where the store is: beside the given state, or the user's own, with what the project says about secrets.
pub(crate) fn folder(dir: Option<&Path>, state: Option<&Path>) -> anyhow::Result<(PathBuf, Option<Config>)> {
    match Place::find(dir, state) {
        Ok(place) => {
            let config = Config::load(&place.config).ok();
            Ok((place.secrets(), config))
        }
        // Without a project there are secrets all the same.
        Err(error) if dir.is_some() => Err(error.into()),
        Err(_) => Ok((Place::of(PathBuf::from(gateway::config::place::FOLDER), state)?.secrets(), None)),
    }
}

fn list(store: &Store, config: Option<&Config>, json: bool) -> anyhow::Result<()> {
    for entry in store.list()? {
        let last = entry.versions.last();
        let setting = config.and_then(|config| config.secret.get(entry.name.as_str()));
        let exposed = setting.is_some_and(|it| it.expose == gateway::config::secret::Expose::Process);
        if json {
            terminal::say_json(&serde_json::json!({
                "name": entry.name.as_str(),
                "versions": entry.versions.iter().map(|it| it.number).collect::<Vec<_>>(),
                "created": last.map(|version| version.created),
                "last_used": entry.last_used,
                "expose": if exposed { "process" } else { "placeholder" },
                "hosts": setting.map(|it| it.uses.iter().map(|at| at.host.as_str()).collect::<Vec<_>>()),
            }));
            continue;
        }
        let at = |seconds: Option<u64>| {
            seconds
                .and_then(|at| i64::try_from(at).ok())
                .map_or_else(|| "never".to_owned(), gateway::clock::at)
        };
        let uses: Vec<&str> =
            setting.map(|it| it.uses.iter().map(|at| at.host.as_str()).collect()).unwrap_or_default();
        let bound = if entry.name.as_str().starts_with(vault::LOGIN_PREFIX) {
            "a login, for its server only".to_owned()
        } else if exposed {
            terminal::coloured("shown to processes", 31)
        } else if uses.is_empty() {
            "bound nowhere".to_owned()
        } else {
            format!("for {}", uses.join(", "))
        };
        terminal::say(&format!(
            "{:<24} version {:<3} of {}  used {}  {bound}",
            entry.name.as_str(),
            last.map_or(0, |version| version.number),
            at(last.map(|version| version.created)),
            at(entry.last_used),
        ));
    }
    Ok(())
}

/// A value from standard input, without the line break at its end.
fn typed(name: &SecretName) -> anyhow::Result<Secret> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_BYTES_MAX + 2));
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let _unseen = Unseen::begin()?;
        drop(write!(std::io::stderr(), "value of {name}: ").and_then(|()| std::io::stderr().flush()));
        let mut line = Zeroizing::new(String::with_capacity(VALUE_BYTES_MAX + 2));
        stdin.read_line(&mut line)?;
        bytes.extend_from_slice(line.as_bytes());
        terminal::complain("");
    } else {
        stdin.lock().take(VALUE_BYTES_MAX as u64 + 2).read_to_end(&mut bytes)?;
    }
    let value = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    anyhow::ensure!(
        (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len()),
        "a value is {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} bytes; this one is {}{}, so nothing was stored",
        value.len(),
        if value.len() > VALUE_BYTES_MAX { " or more" } else { "" }
    );
    Ok(Secret::copy_of(value)?)
}

/// The terminal without its echo, until this is dropped.
struct Unseen(rustix::termios::Termios);

impl Unseen {
    fn begin() -> anyhow::Result<Self> {
        let before = rustix::termios::tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
        silent.local_modes.insert(rustix::termios::LocalModes::ECHONL);
        rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}
