//! Names in a workspace that the host would execute or obey later, and how they are kept as they are.
//! What exists becomes a read-only mount; what does not exist is reserved by an empty folder for as long as a sandbox runs.
//!
//! A mount needs something to stand on, and only the workspace's own file system decides whether a name exists, so an
//! absent name can be kept absent only by occupying it (CVE-2026-25725 is what happens otherwise). The empty folders are
//! written down in the gate's state before they are made, and the last sandbox of a workspace removes them; whoever finds
//! the list after a crash finishes that.

use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names protected at the root of every workspace: what shells, version control, editors and agents run or obey.
pub const NAMES: [&str; 15] = [
    ".git",
    ".envrc",
    ".mcp.json",
    ".bailiwick",
    ".claude",
    ".codex",
    ".cursor",
    ".gemini",
    ".vscode",
    ".idea",
    ".zed",
    ".devcontainer",
    ".exrc",
    ".nvim.lua",
    ".vimrc",
];
/// Names protected in a `.git` folder, which itself stays writable: everything that runs programs or leads elsewhere.
pub const GIT_NAMES: [&str; 6] = ["config", "config.worktree", "hooks", "modules", "worktrees", "commondir"];
/// Names that git reads as files, with what they hold where they must exist. `commondir` says that the folder shared
/// between work trees is this one, which is what its absence says.
const FILES: [(&str, &[u8]); 3] =
    [(".git/commondir", b".\n"), (".git/config", b""), (".git/config.worktree", b"")];
/// The gate's own folder: not even read.
pub const HIDDEN: &str = ".bailiwick";
/// How long to wait for another sandbox that is starting or ending on the same workspace, in milliseconds.
const TURN_MS_MAX: u64 = 10_000;
/// Empty folders kept in the state for the next time, at most. On ext4 taking one out and putting it back costs a tenth of
/// making and removing one.
const STASH_ENTRIES_MAX: usize = 64;
/// Length of the list of reserved names, in bytes.
const LIST_BYTES_MAX: u64 = 64 * 1024;

/// What is done about one protected name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    /// Relative to the workspace.
    pub(crate) path: PathBuf,
    pub(crate) kind: GuardKind,
}

/// How a name is kept as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardKind {
    /// Stays writable within, but cannot be moved away or replaced.
    Pinned,
    /// Read-only.
    Sealed,
    /// Shown as an empty folder that cannot be written to.
    Emptied,
}

/// The guards of one workspace, and the names reserved for them, which are given back at the end.
#[derive(Debug)]
pub(crate) struct Guards {
    pub(crate) guards: Vec<Guard>,
    reserved: Option<Reserved>,
}

/// Absent names occupied on behalf of at least one running sandbox.
#[derive(Debug)]
struct Reserved {
    workspace: PathBuf,
    /// Held for a moment by whoever changes the list, and the list itself.
    list: PathBuf,
    stash: Stash,
    /// Held shared by each sandbox for as long as it runs.
    presence: OwnedFd,
}

/// Why a name cannot be protected; the text says which and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct ProtectError {
    path: PathBuf,
    why: String,
}

impl ProtectError {
    fn new(path: &Path, why: impl ToString) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }
}

impl Guards {
    /// No guards: nothing can be written anyway.
    pub(crate) fn none() -> Self {
        Self { guards: Vec::new(), reserved: None }
    }

    /// Guards for a workspace whose own folder nothing is written to: what must not be read is emptied.
    pub(crate) fn of_existing(workspace: &Path) -> Self {
        let hidden = Path::new(HIDDEN);
        let there = workspace.join(hidden).symlink_metadata().is_ok_and(|found| found.is_dir());
        let guards = there.then(|| Guard { path: hidden.to_owned(), kind: GuardKind::Emptied });
        Self { guards: guards.into_iter().collect(), reserved: None }
    }

    /// Guards the standing names and `more` of `workspace`. Absent names are reserved, which `state`, a private folder of
    /// the caller's, remembers.
    pub(crate) fn take(workspace: &Path, more: &[PathBuf], state: &Path) -> Result<Self, ProtectError> {
        let mut wanted: BTreeSet<PathBuf> = NAMES.iter().map(PathBuf::from).collect();
        for path in more {
            if !path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
                || path.as_os_str().is_empty()
            {
                return Err(ProtectError::new(
                    path,
                    "a protected path is relative to the workspace, without `..`",
                ));
            }
            wanted.insert(path.clone());
        }
        let git = Path::new(".git");
        let is_repository = workspace.join(".git/HEAD").symlink_metadata().is_ok();
        if is_repository {
            wanted.extend(GIT_NAMES.iter().map(|name| git.join(name)));
        }
        // Also where all names exist now: some may be another sandbox's, about to be given back.
        let must_reserve =
            list_path(workspace, state)?.exists() || wanted.iter().any(|path| is_absent(workspace, path));
        let reserved = must_reserve.then(|| Reserved::take(workspace, &wanted, state)).transpose()?;
        let mut guards = Vec::with_capacity(wanted.len());
        for path in &wanted {
            // Whatever leads to a name is pinned, or it could be moved away together with the name.
            let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
            for above in above.collect::<Vec<_>>().into_iter().rev() {
                let pinned = Guard { path: above.to_owned(), kind: GuardKind::Pinned };
                if !guards.iter().any(|guard: &Guard| guard.path == pinned.path) {
                    guards.push(pinned);
                }
            }
            let found = workspace
                .join(path)
                .symlink_metadata()
                .map_err(|error| ProtectError::new(path, format!("cannot be kept as it is: {error}")))?;
            if found.is_symlink() {
                return Err(ProtectError::new(
                    path,
                    "is a symbolic link, which cannot be kept from being replaced; make it a file or folder, or use an \
                     overlay",
                ));
            }
            let is_folder = found.is_dir();
            let kind = match path.to_str() {
                Some(HIDDEN) => GuardKind::Emptied,
                Some(".git") if is_folder && is_repository => GuardKind::Pinned,
                _ => GuardKind::Sealed,
            };
            if let Some(guard) = guards.iter_mut().find(|guard| guard.path == *path) {
                guard.kind = kind;
            } else {
                guards.push(Guard { path: path.clone(), kind });
            }
        }
        Ok(Self { guards, reserved })
    }

    /// Shows the `hidden` folders that lie in `workspace` empty.
    pub(crate) fn hide(&mut self, workspace: &Path, hidden: &[PathBuf]) {
        for path in hidden {
            if let Ok(path) = path.strip_prefix(workspace)
                && workspace.join(path).is_dir()
                && !path.as_os_str().is_empty()
            {
                self.guards.retain(|guard| guard.path != path);
                self.guards.push(Guard { path: path.to_owned(), kind: GuardKind::Emptied });
            }
        }
    }

    /// Gives reserved names back, if no other sandbox of the workspace runs.
    pub(crate) fn release(&self) {
        if let Some(reserved) = &self.reserved {
            reserved.release();
        }
    }

    /// Whether anything must be given back.
    pub(crate) fn is_reserving(&self) -> bool {
        self.reserved.is_some()
    }
}

impl Reserved {
    fn take(workspace: &Path, wanted: &BTreeSet<PathBuf>, state: &Path) -> Result<Self, ProtectError> {
        let list = list_path(workspace, state)?;
        let turn = Turn::wait(&list)?;
        let presence = open_lock(&list.with_extension("held"))?;
        // Shared locks never wait for each other, and nobody holds this one otherwise but during a turn.
        rustix::fs::flock(&presence, FlockOperation::NonBlockingLockShared)
            .map_err(|error| ProtectError::new(&list, error))?;
        let absent: Vec<&PathBuf> = wanted.iter().filter(|path| is_absent(workspace, path)).collect();
        let mut names = turn.names()?;
        names.extend(absent.iter().map(|path| (*path).clone()));
        // Written down first: what is made is always on the list.
        turn.write(&names)?;
        let stash = Stash { folder: state.join("stash") };
        let mut spare = stash.entries();
        for path in absent {
            let place = workspace.join(path);
            let made = match FILES.iter().find(|(file, _)| *path == Path::new(file)) {
                Some((_, content)) => std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o644)
                    .open(&place)
                    .and_then(|mut file| file.write_all(content)),
                None => spare
                    .pop()
                    .map_or(Err(rustix::io::Errno::NOENT), |folder| move_new(&folder, &place))
                    .or_else(|error| {
                        if error == rustix::io::Errno::EXIST {
                            return Err(error.into());
                        }
                        // None left, or another file system.
                        std::fs::create_dir(&place)
                    }),
            };
            match made {
                Ok(()) => {}
                // Another sandbox, or its owner, was faster.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let why = format!("does not exist and cannot be reserved: {error}");
                    return Err(ProtectError::new(&place, why));
                }
            }
        }
        Ok(Self { workspace: workspace.to_owned(), list, stash, presence })
    }

    fn release(&self) {
        // A name that cannot be given back now is on the list for the next sandbox of this workspace.
        let Ok(turn) = Turn::wait(&self.list) else { return };
        if rustix::fs::flock(&self.presence, FlockOperation::NonBlockingLockExclusive).is_err() {
            let _ = rustix::fs::flock(&self.presence, FlockOperation::Unlock);
            return;
        }
        let Ok(names) = turn.names() else { return };
        let left: BTreeSet<PathBuf> =
            names.into_iter().rev().filter(|name| !self.stash.give_back(&self.workspace, name)).collect();
        let _ = turn.write(&left);
        let _ = rustix::fs::flock(&self.presence, FlockOperation::Unlock);
    }
}

/// Where empty folders wait to be used again.
#[derive(Debug)]
struct Stash {
    folder: PathBuf,
}

impl Stash {
    fn entries(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        entries.flatten().map(|entry| entry.path()).take(STASH_ENTRIES_MAX).collect()
    }

    /// Takes back what was reserved, if it still is what it was: an empty folder, or one of [`FILES`] as it was made.
    /// True when nothing of ours is left there.
    fn give_back(&self, workspace: &Path, name: &Path) -> bool {
        let place = workspace.join(name);
        let Ok(found) = place.symlink_metadata() else { return true };
        if found.is_dir() {
            self.take_back(&place);
            // What somebody has put something into is theirs.
            return true;
        }
        let ours = FILES.iter().find(|(file, _)| name == Path::new(file)).is_some_and(|(_, content)| {
            found.is_file() && std::fs::read(&place).is_ok_and(|now| now == *content)
        });
        !ours || std::fs::remove_file(&place).is_ok()
    }

    fn take_back(&self, place: &Path) {
        let kept = self.folder.join(place.to_string_lossy().replace('/', "%"));
        let moved = is_empty(place)
            && (move_new(place, &kept).is_ok()
                || (std::fs::create_dir(&self.folder).is_ok() && move_new(place, &kept).is_ok()));
        if !moved {
            // Fails on a folder with something in it.
            let _ = std::fs::remove_dir(place);
        } else if !is_empty(&kept) {
            // Filled in between: it goes back to whoever filled it.
            let _ = move_new(&kept, place);
        } else if self.entries().len() >= STASH_ENTRIES_MAX {
            let _ = std::fs::remove_dir(&kept);
        }
    }
}

/// Moves a folder to where nothing is (renameat2(2) with RENAME_NOREPLACE).
fn move_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags};
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

/// The right to read and change the list of reserved names.
struct Turn {
    file: std::fs::File,
    path: PathBuf,
}

impl Turn {
    fn wait(path: &Path) -> Result<Self, ProtectError> {
        let file = std::fs::File::from(open_lock(path)?);
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { file, path: path.to_owned() }),
                Err(rustix::io::Errno::WOULDBLOCK)
                    if begun.elapsed() < Duration::from_millis(TURN_MS_MAX) =>
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(ProtectError::new(path, error)),
            }
        }
    }

    fn names(&self) -> Result<BTreeSet<PathBuf>, ProtectError> {
        let wrong = |error: std::io::Error| ProtectError::new(&self.path, error);
        let mut bytes = Vec::new();
        (&self.file).rewind().map_err(wrong)?;
        (&self.file).take(LIST_BYTES_MAX).read_to_end(&mut bytes).map_err(wrong)?;
        let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
    }

    fn write(&self, names: &BTreeSet<PathBuf>) -> Result<(), ProtectError> {
        let wrong = |error: std::io::Error| ProtectError::new(&self.path, error);
        let mut bytes = Vec::new();
        for name in names {
            bytes.extend_from_slice(name.as_os_str().as_bytes());
            bytes.push(0);
        }
        (&self.file).rewind().map_err(wrong)?;
        (&self.file).write_all(&bytes).map_err(wrong)?;
        self.file.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).map_err(wrong)
    }
}

fn open_lock(path: &Path) -> Result<OwnedFd, ProtectError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map_err(|error| ProtectError::new(path, error))
}

/// The list of a workspace, named after its device and inode so that every spelling of its path means the same list.
fn list_path(workspace: &Path, state: &Path) -> Result<PathBuf, ProtectError> {
    let found = std::fs::metadata(workspace).map_err(|error| ProtectError::new(workspace, error))?;
    Ok(state.join(format!("reserved-{:x}-{:x}", found.dev(), found.ino())))
}

fn is_absent(workspace: &Path, path: &Path) -> bool {
    workspace.join(path).symlink_metadata().is_err()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(guards: &Guards) -> Vec<(String, GuardKind)> {
        guards.guards.iter().map(|guard| (guard.path.display().to_string(), guard.kind)).collect()
    }

    #[test]
    fn absent_names_are_reserved_and_given_back() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(workspace.path().join(".git/hooks")).unwrap();
        std::fs::write(workspace.path().join(".git/config"), "[core]\n").unwrap();
        std::fs::write(workspace.path().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::create_dir(workspace.path().join(".vscode")).unwrap();
        let guards = Guards::take(workspace.path(), &["ci".into()], state.path()).unwrap();
        let found = kinds(&guards);
        for (path, kind) in [
            (".git", GuardKind::Pinned),
            (".git/hooks", GuardKind::Sealed),
            (".git/config", GuardKind::Sealed),
            (".git/commondir", GuardKind::Sealed),
            (".envrc", GuardKind::Sealed),
            (".vscode", GuardKind::Sealed),
            (".bailiwick", GuardKind::Emptied),
            ("ci", GuardKind::Sealed),
        ] {
            assert!(found.contains(&(path.to_owned(), kind)), "{path}: {found:?}");
            assert!(workspace.path().join(path).exists(), "{path}");
        }
        guards.release();
        let mut left: Vec<String> = std::fs::read_dir(workspace.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        assert_eq!(left, [".git", ".vscode"], "what was there before stays, even where it is empty");
        assert!(!workspace.path().join(".git/commondir").exists());
    }

    #[test]
    fn names_stay_reserved_until_the_last_sandbox_ends() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Guards::take(workspace.path(), &[], state.path()).unwrap();
        let second = Guards::take(workspace.path(), &[], state.path()).unwrap();
        first.release();
        assert!(workspace.path().join(".envrc").is_dir());
        second.release();
        let left: Vec<_> = std::fs::read_dir(workspace.path()).unwrap().collect();
        assert!(left.is_empty(), "also what the second found in place of a repository: {left:?}");
    }

    #[test]
    fn what_a_crash_left_is_given_back_by_the_next() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(Guards::take(workspace.path(), &[], state.path()).unwrap());
        assert!(workspace.path().join(".envrc").is_dir(), "dropped as by a crash");
        Guards::take(workspace.path(), &[], state.path()).unwrap().release();
        assert!(!workspace.path().join(".envrc").exists());
    }

    #[test]
    fn what_somebody_filled_is_theirs() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let guards = Guards::take(workspace.path(), &[], state.path()).unwrap();
        std::fs::write(workspace.path().join(".vscode/settings.json"), "{}").unwrap();
        guards.release();
        assert!(workspace.path().join(".vscode/settings.json").exists());
        assert!(!workspace.path().join(".idea").exists());
    }

    #[test]
    fn a_link_in_place_of_a_name_is_refused() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink("elsewhere", workspace.path().join(".vscode")).unwrap();
        let error = Guards::take(workspace.path(), &[], state.path()).unwrap_err();
        assert!(error.to_string().contains(".vscode"), "{error}");
    }
}
