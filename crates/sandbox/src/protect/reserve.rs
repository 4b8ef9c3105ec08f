//! Occupies names that do not exist in a workspace while a sandbox runs there, and gives them back.
//! A name is written down in the user's state before it is taken, so that whoever comes next can finish what a crash left.

use super::ProtectError;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, ResolveFlags};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// Names that are read as files, with what they hold where they must exist. `commondir` says that the folder shared between
/// work trees is this one, which is what its absence says; an empty file `refs` keeps a folder from being a bare repository.
const FILES: [(&str, &[u8]); 4] =
    [(".git/commondir", b".\n"), (".git/config", b""), (".git/config.worktree", b""), ("refs", b"")];
/// How long to wait for another sandbox that is starting or ending on the same workspace, in milliseconds.
const TURN_MS_MAX: u64 = 10_000;
/// Empty folders kept in the state for the next time, at most. On ext4 taking one out and putting it back costs a tenth of
/// making and removing one.
const STASH_ENTRIES_MAX: usize = 64;
/// Room for at least one entry of a folder, with the longest name there is, in bytes.
const ENTRY_BYTES: usize = 512;
/// Length of the list of reserved names, in bytes.
const LIST_BYTES_MAX: u64 = 64 * 1024;

/// The reserved names of one workspace.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    workspace: PathBuf,
    /// Held for a moment by whoever changes the list, and the list itself.
    list: PathBuf,
    stash: PathBuf,
}

/// Says that a sandbox runs, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Presence(#[allow(dead_code, reason = "the lock is what it does")] OwnedFd);

impl Reserve {
    /// The names of `workspace`, remembered in `state`: one folder for all sandboxes of a user, or they would give back each
    /// other's names.
    pub(crate) fn of(workspace: &Path, state: &Path) -> Result<Self, ProtectError> {
        // By device and inode, so that every spelling of its path means the same list.
        let found = std::fs::metadata(workspace).map_err(|error| ProtectError::new(workspace, error))?;
        Ok(Self {
            workspace: workspace.to_owned(),
            list: state.join(format!("reserved-{:x}-{:x}", found.dev(), found.ino())),
            stash: state.join("stash"),
        })
    }

    /// Takes those of `wanted` that are absent. Nobody gives a name back while the answer is held.
    pub(crate) fn take(&self, wanted: &BTreeSet<PathBuf>) -> Result<Presence, ProtectError> {
        let turn = Turn::wait(&self.list)?;
        let presence = open_lock(&self.list.with_extension("held"))?;
        // Shared locks never wait for each other, and nobody holds this one otherwise but during a turn.
        rustix::fs::flock(&presence, FlockOperation::NonBlockingLockShared)
            .map_err(|error| ProtectError::new(&self.list, error))?;
        let workspace = self.open()?;
        let mut absent = Vec::new();
        for path in wanted {
            let (folder, name) = self.folder_of(workspace.as_fd(), path)?;
            if rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                absent.push((path, folder, name));
            }
        }
        let mut names = turn.names()?;
        names.extend(absent.iter().map(|(path, ..)| (*path).clone()));
        // Written down first: what is made is always on the list.
        turn.write(&names)?;
        let mut spare = self.spare();
        for (path, folder, name) in absent {
            let made = match FILES.iter().find(|(file, _)| *path == Path::new(file)) {
                Some((_, content)) => self.put_file(folder.as_fd(), name, path, content),
                None => put_folder(&mut spare, folder.as_fd(), name),
            };
            match made {
                // Another sandbox, or its owner, was faster.
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => {
                    let why = format!("does not exist and cannot be reserved: {error}");
                    return Err(ProtectError::new(&self.workspace.join(path), why));
                }
            }
        }
        Ok(Presence(presence))
    }

    /// Gives all names back, unless a sandbox of the workspace runs.
    pub(crate) fn give_back(&self) {
        if !self.list.exists() {
            return;
        }
        // A name that cannot be given back now is on the list for the next sandbox of this workspace.
        let Ok(turn) = Turn::wait(&self.list) else { return };
        let Ok(presence) = open_lock(&self.list.with_extension("held")) else { return };
        if rustix::fs::flock(&presence, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        let (Ok(names), Ok(workspace)) = (turn.names(), self.open()) else { return };
        let mut room = STASH_ENTRIES_MAX.saturating_sub(self.spare().len());
        // What leads to a name comes after it, and files come first. Whoever else guards names here hears of it when one is
        // removed, not when it is moved away, so the first one that can be is removed.
        let (files, folders): (Vec<PathBuf>, Vec<PathBuf>) =
            names.into_iter().rev().partition(|name| FILES.iter().any(|(file, _)| name == Path::new(file)));
        let mut is_heard = false;
        let left: BTreeSet<PathBuf> = files
            .into_iter()
            .chain(folders)
            .filter(|name| !self.put_back(workspace.as_fd(), name, &mut room, &mut is_heard))
            .collect();
        let _ = turn.write(&left);
    }

    fn open(&self) -> Result<OwnedFd, ProtectError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::open(&self.workspace, flags, Mode::empty())
            .map_err(|error| ProtectError::new(&self.workspace, error))
    }

    /// The folder a name is in, no part of which is a symbolic link or outside of `workspace`.
    fn folder_of<'a>(
        &self,
        workspace: BorrowedFd<'a>,
        path: &'a Path,
    ) -> Result<(Folder<'a>, &'a OsStr), ProtectError> {
        let wrong = |why: String| ProtectError::new(&self.workspace.join(path), why);
        let name = path.file_name().ok_or_else(|| wrong("is no name".to_owned()))?;
        let Some(above) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            return Ok((Folder::Workspace(workspace), name));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let folder = rustix::fs::openat2(workspace, above, flags, Mode::empty(), resolve)
            .map_err(|error| wrong(format!("its folder must be there, and be no link: {error}")))?;
        Ok((Folder::Below(folder), name))
    }

    /// Folders to use again.
    fn spare(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.stash) else { return Vec::new() };
        let is_folder = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|found| found.is_dir());
        entries.flatten().filter(is_folder).map(|entry| entry.path()).take(STASH_ENTRIES_MAX).collect()
    }

    /// Puts a file with all of `content` there: another name for one that is kept, which costs a tenth of making and removing
    /// it, unless somebody else has it now.
    fn put_file(
        &self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        content: &[u8],
    ) -> rustix::io::Result<()> {
        let (here, kept) = (rustix::fs::CWD, self.place_of_file(path));
        let make = || put_whole(here, kept.as_os_str(), content);
        let is_kept = is_whole(&kept, content)
            || make().is_ok()
            || (std::fs::create_dir(&self.stash).is_ok() && make().is_ok());
        if is_kept {
            // Fails where it lies on another file system.
            let linked = rustix::fs::linkat(here, &kept, folder, name, AtFlags::empty());
            if matches!(linked, Ok(()) | Err(rustix::io::Errno::EXIST)) {
                return linked;
            }
        }
        put_whole(folder, name, content)
    }

    /// Where one of [`FILES`] is kept for the next time; one each.
    fn place_of_file(&self, path: &Path) -> PathBuf {
        self.stash.join(format!("file %{}", flat(path)))
    }

    /// Takes back what was reserved, if it still is what it was: an empty folder, or one of [`FILES`] as it was made.
    /// True when nothing of ours is left there. `room` is how many folders more may be kept, once it `is_heard` that names
    /// are given back.
    fn put_back(
        &self,
        workspace: BorrowedFd<'_>,
        path: &Path,
        room: &mut usize,
        is_heard: &mut bool,
    ) -> bool {
        let Ok((folder, name)) = self.folder_of(workspace, path) else { return true };
        let Ok(found) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return true };
        match rustix::fs::FileType::from_raw_mode(found.st_mode) {
            rustix::fs::FileType::Directory => {
                if *is_heard && *room > 0 && self.stash(folder.as_fd(), name, path) {
                    *room -= 1;
                } else {
                    // Fails on a folder with something in it: what somebody has put something into is theirs.
                    *is_heard |= rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR).is_ok();
                }
                true
            }
            rustix::fs::FileType::RegularFile => {
                let ours =
                    FILES.iter().find(|(file, _)| path == Path::new(file)).is_some_and(|(_, content)| {
                        std::fs::read(self.workspace.join(path)).is_ok_and(|now| content.starts_with(&now))
                    });
                if !ours {
                    // What somebody has written to is theirs under no other name.
                    let _ = std::fs::remove_file(self.place_of_file(path));
                    return true;
                }
                let is_removed = rustix::fs::unlinkat(&folder, name, AtFlags::empty()).is_ok();
                *is_heard |= is_removed;
                is_removed
            }
            _ => true,
        }
    }

    /// Keeps an empty folder for the next time. False when it is where it was.
    fn stash(&self, folder: BorrowedFd<'_>, name: &OsStr, path: &Path) -> bool {
        if !is_empty(folder, name) {
            return false;
        }
        let kept = self.stash.join(flat(&self.workspace.join(path)));
        let to_stash = || move_new(folder, name, rustix::fs::CWD, kept.as_os_str()).is_ok();
        let stashed = to_stash() || (std::fs::create_dir(&self.stash).is_ok() && to_stash());
        if !stashed {
            return false;
        }
        // Filled in between: it goes back to whoever filled it.
        is_empty(rustix::fs::CWD, kept.as_os_str())
            || move_new(rustix::fs::CWD, kept.as_os_str(), folder, name).is_err()
    }
}

/// A path as one name.
fn flat(path: &Path) -> String {
    path.to_string_lossy().replace('/', "%")
}

/// Where a reserved name is.
enum Folder<'a> {
    /// In the workspace itself.
    Workspace(BorrowedFd<'a>),
    /// Further down.
    Below(OwnedFd),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Workspace(folder) => *folder,
            Self::Below(folder) => folder.as_fd(),
        }
    }
}

fn put_folder(spare: &mut Vec<PathBuf>, folder: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    while let Some(one) = spare.pop() {
        // One that is not empty is not ours to show to anybody.
        if !is_empty(rustix::fs::CWD, one.as_os_str()) {
            continue;
        }
        match move_new(rustix::fs::CWD, one.as_os_str(), folder, name) {
            // It lies on another file system, or somebody was faster; the others do not help either.
            Err(rustix::io::Errno::XDEV) => break,
            result @ (Ok(()) | Err(rustix::io::Errno::EXIST)) => return result,
            Err(_) => {}
        }
    }
    rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755))
}

/// A new file with all of `content`, or none: a crash in between must not leave half of something that git reads.
fn put_whole(folder: BorrowedFd<'_>, name: &OsStr, content: &[u8]) -> rustix::io::Result<()> {
    let (flags, mode) = (OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o644));
    let here = format!("/proc/self/fd/{}", folder.as_raw_fd());
    match rustix::fs::open(&here, flags | OFlags::TMPFILE, mode) {
        Ok(file) => {
            rustix::io::write(&file, content)?;
            let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(rustix::fs::CWD, unnamed, folder, name, AtFlags::SYMLINK_FOLLOW)
        }
        // A file system without nameless files.
        Err(_) => {
            let file = rustix::fs::openat(folder, name, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            rustix::io::write(&file, content).map(drop)
        }
    }
}

/// Moves a folder to where nothing is (renameat2(2) with RENAME_NOREPLACE).
fn move_new(
    from: BorrowedFd<'_>,
    name: &OsStr,
    to: BorrowedFd<'_>,
    new_name: &OsStr,
) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(from, name, to, new_name, rustix::fs::RenameFlags::NOREPLACE)
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
        let names = bytes.split(|byte| *byte == 0).map(|name| PathBuf::from(OsStr::from_bytes(name)));
        // Whoever could write here could have the gate touch other folders.
        let plain = |name: &PathBuf| {
            !name.as_os_str().is_empty() && name.components().all(|part| matches!(part, Component::Normal(_)))
        };
        Ok(names.filter(plain).collect())
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

/// Whether this is a file that holds `content` and has no other name.
fn is_whole(path: &Path, content: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return false };
    let is_alike = rustix::fs::fstat(&file).is_ok_and(|found| {
        rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile
            && found.st_nlink == 1
            && u64::try_from(found.st_size).is_ok_and(|length| length == content.len() as u64)
    });
    let mut now = vec![0; content.len()];
    is_alike && std::fs::File::from(file).read_exact(&mut now).is_ok() && now == content
}

/// Whether this is a folder with nothing in it.
fn is_empty(above: BorrowedFd<'_>, name: &OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::openat(above, name, flags, Mode::empty()) else { return false };
    let mut space = [std::mem::MaybeUninit::uninit(); ENTRY_BYTES];
    let mut entries = rustix::fs::RawDir::new(&folder, &mut space);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}
