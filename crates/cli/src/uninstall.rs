//! `bailiwick uninstall`: puts back what `init` changed, byte for byte, and takes away what it made. What somebody changed since is
//! neither written over nor lost without being said; the journal and the vault stay unless they are asked for.

use crate::init::asked;
use crate::init::record::{self, Changed, Record, Standing};
use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::{Place, place};
use std::fs::{File, TryLockError};
use std::io::IsTerminal;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vault::{Store, StoreError, Unlock};

/// How long a gate that is about to end is waited for, in seconds.
const GATE_SECONDS_MAX: u64 = 20;
/// What the gate keeps in a state folder.
const KEPT: [&str; 15] = [
    "gate.log",
    "gate.sock",
    "gate.turn",
    "homes",
    "init",
    "journal",
    "journal.key",
    "journal.vkey",
    "overlays",
    "proxy",
    "state.db",
    "state.db-shm",
    "state.db-wal",
    "token",
    "token.new",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not ask; the journal and the vault stay
    #[arg(long)]
    yes: bool,
    /// Also put back files that were changed since; what they hold now is kept in the state folder
    #[arg(long)]
    force: bool,
    /// Also forget the journal and everything else of this project's gate, and the secrets that `init` stored
    #[arg(long, conflicts_with = "keep_state")]
    purge: bool,
    /// Keep the journal and the secrets without asking
    #[arg(long)]
    keep_state: bool,
}

pub(crate) fn run(dir: Option<&Path>, state: Option<&Path>, args: &Args) -> anyhow::Result<Outcome> {
    let place = find(dir, state)?;
    let Some(record) = Record::read(&place)? else {
        if place.config.join(gateway::config::FILE).exists() {
            anyhow::bail!(
                "there is no record of how {} came to be; remove it by hand, it changed no other file",
                place.config.display()
            );
        }
        terminal::say("There is nothing to put back.");
        return Ok(Outcome::Done);
    };
    let _turn = record::turn(&place)?;
    let mut others = Vec::new();
    for changed in &record.changed {
        if changed.standing(&place)? == Standing::Others {
            others.push(changed);
        }
    }
    if !others.is_empty() && !args.force {
        for changed in others {
            terminal::say(&format!("{} was changed after `bailiwick init`", changed.path.display()));
        }
        terminal::say(
            "Nothing was done. `--force` puts these back as they were before; what they hold now is kept in the state folder.",
        );
        return Ok(Outcome::DoesNotHold);
    }
    say(&place, &record);
    let may_ask = !args.yes && std::io::stdin().is_terminal();
    if !args.yes && !may_ask {
        anyhow::bail!("nobody can be asked here; give `--yes`");
    }
    if may_ask && !asked("Put everything back? [y/N]")? {
        terminal::say("Nothing was done.");
        return Ok(Outcome::DoesNotHold);
    }
    let purges = args.purge
        || (may_ask
            && !args.keep_state
            && asked("Forget the journal, and the secrets that `init` stored, as well? [y/N]")?);
    no_gate(&place)?;
    give_back(&place);
    let kept = Kept::new(&place);
    for changed in &record.changed {
        put_back(&place, changed, &kept)?;
    }
    clear(&place, &record, &kept)?;
    if purges {
        forget_secrets(&place, &record)?;
        forget_state(&place)?;
    } else {
        Record::forget(&place)?;
    }
    if kept.is_used() {
        terminal::say(&format!("kept     what was changed since is in {}", kept.folder.display()));
    }
    if !purges {
        terminal::say(&format!(
            "kept     the journal and state in {}; `--purge` forgets them",
            place.state.display()
        ));
        if !record.secrets.is_empty() {
            terminal::say(&format!(
                "kept     in the vault: {}; `bailiwick secret rm NAME` forgets one",
                record.secrets.join(", ")
            ));
        }
    }
    terminal::say(
        "Everything is as it was. If you installed the hooks as managed settings, take those away too.",
    );
    Ok(Outcome::Done)
}

/// The place whose record there is, from here upwards: an `init` that was killed may have left no folder to find it by.
fn find(dir: Option<&Path>, state: Option<&Path>) -> anyhow::Result<Place> {
    if let Some(dir) = dir {
        return Ok(Place::of(dir.to_owned(), state)?);
    }
    let here = std::env::current_dir()?;
    for folder in here.ancestors() {
        let config = folder.join(place::FOLDER);
        let is_one = config.is_dir();
        let place = Place::of(config, state)?;
        if is_one || (state.is_none() && record::is_there(&place)) {
            return Ok(place);
        }
    }
    Ok(Place::of(here.join(place::FOLDER), state)?)
}

fn say(place: &Place, record: &Record) {
    for changed in &record.changed {
        terminal::say(&format!("restore  {}", terminal::safe(&changed.path.display().to_string())));
    }
    terminal::say(&format!("remove   {}", terminal::safe(&place.config.display().to_string())));
}

/// Waits for a gate that ends by itself; another must be stopped first.
fn no_gate(place: &Place) -> anyhow::Result<()> {
    if is_running(place) {
        terminal::say("waiting  for this project's gate to end");
    }
    let until = Instant::now() + Duration::from_secs(GATE_SECONDS_MAX);
    while is_running(place) {
        anyhow::ensure!(
            Instant::now() < until,
            "the gate of this project is running; stop it, then try again"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Whether a gate answers, or has shut its door and still closes its books.
fn is_running(place: &Place) -> bool {
    let lock = || File::options().append(true).open(place.journal().join("lock"));
    UnixStream::connect(place.socket()).is_ok()
        || lock().is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Has the names given back that a sandbox occupied and, killed, did not give back itself.
fn give_back(place: &Place) {
    ::sandbox::give_back(place.project(), &place.reserves());
}

fn put_back(place: &Place, changed: &Changed, kept: &Kept) -> anyhow::Result<()> {
    changed.sweep();
    match changed.standing(place)? {
        Standing::Before => return Ok(()),
        Standing::After => {}
        // Only where somebody said so, with `--force`.
        Standing::Others => kept.copy(&changed.path)?,
    }
    changed.put_back(place)?;
    terminal::say(&format!("restored {}", terminal::safe(&changed.path.display().to_string())));
    Ok(())
}

/// Takes away what was made in the configuration folder. Whatever somebody put there or changed is kept beside the state.
fn clear(place: &Place, record: &Record, kept: &Kept) -> anyhow::Result<()> {
    let file = place.config.join(gateway::config::FILE);
    // First what makes it a configuration.
    let made = record.created.iter().filter(|made| made.path == file);
    for made in made.chain(record.created.iter().filter(|made| made.path != file)) {
        match record::content(&made.path) {
            Ok((now, _)) if judge::digest::hex(&now) == made.digest => {}
            Ok(_) => kept.copy(&made.path)?,
            Err(_) if made.path.symlink_metadata().is_err() => continue,
            Err(_) => kept.copy(&made.path)?,
        }
        remove(&made.path)?;
    }
    if record.folders.contains(&place.config) {
        kept.rest(&place.config)?;
    }
    for folder in record.folders.iter().rev() {
        match std::fs::remove_dir(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                terminal::complain(&format!("left     {}: {error}", folder.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes a file, if it still is there.
fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Where that is kept which somebody changed, outside of the project.
struct Kept {
    folder: PathBuf,
    project: PathBuf,
}

impl Kept {
    fn new(place: &Place) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { folder: place.state.join(format!("kept-{now}")), project: place.project().to_owned() }
    }

    fn is_used(&self) -> bool {
        self.folder.is_dir()
    }

    fn copy(&self, path: &Path) -> anyhow::Result<()> {
        let Ok(found) = path.symlink_metadata() else { return Ok(()) };
        let target = self.folder.join(path.strip_prefix(&self.project).unwrap_or(path));
        let above = target.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(above).with_context(|| above.display().to_string())?;
        if found.is_symlink() {
            let leads_to = std::fs::read_link(path)?;
            return std::os::unix::fs::symlink(leads_to, &target)
                .with_context(|| target.display().to_string());
        }
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        record::put_durably(&target, &bytes, true)
    }

    /// Moves whatever is left below `folder`.
    fn rest(&self, folder: &Path) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.rest(&path)?;
                drop(std::fs::remove_dir(&path));
            } else {
                self.copy(&path)?;
                remove(&path)?;
            }
        }
        Ok(())
    }
}

fn forget_secrets(place: &Place, record: &Record) -> anyhow::Result<()> {
    let folder = place.secrets();
    if record.secrets.is_empty() || !folder.join("secrets.vault").exists() {
        return Ok(());
    }
    let store = Store::open(&folder, Unlock::KeyFile(Store::key_file(&folder)))?;
    for entry in
        store.list()?.iter().filter(|entry| record.secrets.iter().any(|name| *name == entry.name.as_str()))
    {
        // Of what somebody set anew, no file holds the value.
        if entry.versions.iter().any(|version| version.number > 1) {
            terminal::say(&format!("kept     {} in the vault: it was set anew since", entry.name));
            continue;
        }
        match store.remove(&entry.name) {
            Ok(()) => terminal::say(&format!("forgot   {}", entry.name)),
            Err(StoreError::Absent(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes what is the gate's in the state folder, the record of `init` last, and the folder where nothing else is in it.
fn forget_state(place: &Place) -> anyhow::Result<()> {
    for name in KEPT.iter().filter(|name| **name != "init").chain(["init"].iter()) {
        let path = place.state.join(name);
        let gone = match path.symlink_metadata() {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(_) => continue,
        };
        gone.with_context(|| path.display().to_string())?;
    }
    drop(std::fs::remove_dir(&place.state));
    Ok(())
}
