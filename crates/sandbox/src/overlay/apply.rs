//! Brings chosen changes into the workspace, each file whole or not at all, also across a kill or a power cut. It never
//! writes through a symbolic link, never replaces what the host changed meanwhile, and never sets a set-id bit.
//!
//! Order, per file: a temporary name beside the target, its bytes and mode on disk, a rename over the target, the folder
//! on disk, and only then is it removed from the upper layer. Killed anywhere, what is left is still listed, or is the
//! same on both sides; the next apply ends it and sweeps temporary names.

use super::changes::{Change, Kind, Listing};
use super::place::{Place, Stop, Temporary, copy_sparse, remove};
use super::risk::{self, Risk};
use super::tree::{self, Entry, Node};
use super::{APPLIED, Overlay, OverlayError};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Which changes.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Every one; this names none.
    All,
    /// Those at or below these paths, relative to the workspace, and the new folders that lead there.
    Paths(Vec<PathBuf>),
    /// These, as [`Overlay::changes`] returned them; one that is not as it was is left. This names each.
    Shown(Vec<Change>),
}

/// What is applied beyond the ordinary. A protected change must besides be *named*: by its own path, or by a path above
/// it that is itself protected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allow {
    /// Protected paths, when named.
    pub protected: bool,
    /// Symbolic links that lead outside; one named by its own path needs no leave.
    pub links_outside: bool,
    /// Files that the host changed too, since the overlay began; the host's version is lost.
    pub conflicts: bool,
}

/// What became of one selected change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Relative to the workspace.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of one selected change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, and gone from the overlay.
    Done,
    /// It was left as it is.
    Skipped(Skip),
}

/// Why a selected change was left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// See [`Allow::protected`].
    #[error("it is protected; name it, and allow protected paths")]
    Protected,
    /// See [`Allow::links_outside`].
    #[error("it is a link that leads outside the workspace; name it, or allow such links")]
    LinkOutside,
    /// A fifo, socket or device.
    #[error("it is a fifo, socket or device; these are never applied")]
    Special,
    /// A name of a temporary file.
    #[error("its name is reserved for temporary files")]
    Reserved,
    /// Its path is longer than any program could use.
    #[error("its path is too long")]
    TooDeep,
    /// The host changed it.
    #[error("the workspace's own version changed since the overlay began; compare, then allow conflicts")]
    Conflict,
    /// It differs from what was shown.
    #[error("it changed since it was shown; look again")]
    ChangedSinceShown,
    /// Nothing changed there.
    #[error("nothing changed there")]
    NoChange,
    /// A folder above it is missing, or is no real folder, in the workspace.
    #[error("a folder above it is not in the workspace; apply that first")]
    Parent,
    /// Not all that it holds was selected.
    #[error("it holds changes that were not selected")]
    Holds,
    /// The kernel said no.
    #[error("{0}")]
    Failed(String),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pick {
    ByAll,
    ByName,
    Stale,
}

impl Selection {
    pub(super) fn pick(&self, change: &Change, protected: &[PathBuf]) -> Option<Pick> {
        match self {
            Self::All => Some(Pick::ByAll),
            Self::Shown(shown) => shown.iter().find(|other| other.path == change.path).map(|seen| {
                let is_same = |a: &Option<Entry>, b: &Option<Entry>| match (a, b) {
                    (Some(then), Some(now)) => then.is_still(now) && then.mode == now.mode,
                    (then, now) => then.is_none() && now.is_none(),
                };
                let is_same = is_same(&seen.before, &change.before) && is_same(&seen.after, &change.after);
                if is_same { Pick::ByName } else { Pick::Stale }
            }),
            Self::Paths(paths) => {
                let picks = paths.iter().filter_map(|path| {
                    let path = plain(path);
                    let leads_there =
                        change.kind == Kind::Added(Node::Folder) && path.starts_with(&change.path);
                    if path == change.path || leads_there {
                        return Some(Pick::ByName);
                    }
                    let is_below = change.path.starts_with(&path);
                    let names = path.parent().is_some() && risk::is_protected(&path, [None, None], protected);
                    is_below.then_some(if names { Pick::ByName } else { Pick::ByAll })
                });
                picks.reduce(|a, b| if b == Pick::ByName { b } else { a })
            }
        }
    }

    /// Paths that were asked for and have no change.
    pub(super) fn idle<'s>(&'s self, changes: &'s [Change]) -> impl Iterator<Item = Applied> + 's {
        let asked: Vec<&Path> = match self {
            Self::All => Vec::new(),
            Self::Paths(paths) => paths.iter().map(PathBuf::as_path).collect(),
            Self::Shown(shown) => shown.iter().map(|change| change.path.as_path()).collect(),
        };
        let is_idle = |path: &&Path| {
            let path = plain(path);
            !changes.iter().any(|change| change.path.starts_with(&path))
        };
        let skipped =
            |path: &Path| Applied { path: path.to_owned(), outcome: Outcome::Skipped(Skip::NoChange) };
        asked.into_iter().filter(is_idle).map(skipped).collect::<Vec<_>>().into_iter()
    }

    fn names(&self, change: &Change) -> bool {
        match self {
            Self::All => false,
            Self::Paths(paths) => paths.iter().any(|path| plain(path) == change.path),
            Self::Shown(_) => true,
        }
    }
}

/// A path as changes have it, without `.`.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        Self::Skipped(match stop {
            Stop::Skip(skip) => skip,
            Stop::Io(source) => Skip::Failed(source.to_string()),
        })
    }
}

impl Overlay {
    /// Applies the selected changes to the workspace, and tells of each what became of it.
    ///
    /// # Errors
    /// [`OverlayError::Busy`] while a sandbox or another command uses the overlay or applies to the workspace; otherwise
    /// when the overlay as a whole cannot be read. One change that fails does not stop the others.
    pub fn apply(&self, selection: &Selection, allow: Allow) -> Result<Vec<Applied>, OverlayError> {
        let _alone = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        let _alone_there = self.lock_workspace()?;
        self.finish_discard()?;
        let mut listing = Listing::read(self)?;
        self.sweep(&listing);
        self.reveal(&listing)?;
        let changes = std::mem::take(&mut listing.changes);
        let mut run = Run {
            overlay: self,
            listing: &mut listing,
            ledger: self.part(APPLIED, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?,
        };
        let mut all: Vec<Applied> = selection.idle(&changes).collect();
        let mut folders = Vec::new();
        for change in &changes {
            let Some(pick) = selection.pick(change, &self.protected) else { continue };
            let outcome = match refusal(change, pick, selection.names(change), allow) {
                Some(skip) => Outcome::Skipped(skip),
                None => run.one(change).map_or_else(Outcome::from, |()| Outcome::Done),
            };
            if outcome == Outcome::Done && change.after.as_ref().is_some_and(Entry::is_folder) {
                folders.push((all.len(), change));
            }
            all.push(Applied { path: change.path.clone(), outcome });
        }
        // A folder keeps its owner's permissions until everything in it is there.
        for (index, change) in folders.into_iter().rev() {
            if let Err(stop) = run.close(change) {
                all[index].outcome = stop.into();
            }
        }
        drop(listing);
        self.prune()?;
        self.begin_if_empty(false)?;
        Ok(all)
    }

    /// One apply at a time, whichever overlay it comes from: each sweeps temporary files.
    fn lock_workspace(&self) -> Result<OwnedFd, OverlayError> {
        let failed = |source| OverlayError::io("lock", &self.path, source);
        let root = self.workspace.folder(Path::new("")).map_err(failed)?;
        match rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(root),
            Err(Errno::WOULDBLOCK) => Err(OverlayError::Busy),
            Err(source) => Err(failed(source)),
        }
    }

    /// Removes what a killed apply left: its folders are still in the upper layer.
    fn sweep(&self, listing: &Listing<'_>) {
        for (path, _) in &listing.folders {
            let Ok(folder) = self.workspace.folder(path) else { continue };
            for (name, entry) in tree::children(&folder).unwrap_or_default() {
                if risk::is_temporary(name.as_encoded_bytes()) {
                    let _ = remove(&folder, &name, &entry); // the next apply tries again
                }
            }
        }
    }

    /// Removes what makes no difference from the upper layer.
    pub(super) fn prune(&self) -> Result<(), OverlayError> {
        let listing = Listing::read(self)?;
        for path in listing.idle.iter().rev() {
            let _ = self.forget(path); // a folder that still holds changes stays
        }
        Ok(())
    }

    /// Removes a file, a whiteout or an empty folder from the upper layer.
    pub(super) fn forget(&self, path: &Path) -> Result<(), Errno> {
        let (folder, name) = self.upper.parent(path)?;
        match Entry::at(&folder, name)? {
            None => Ok(()),
            Some(entry) if entry.is_folder() => rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR),
            Some(_) => rustix::fs::unlinkat(folder, name, AtFlags::empty()),
        }
    }
}

fn refusal(change: &Change, pick: Pick, is_named: bool, allow: Allow) -> Option<Skip> {
    let has = |risk| change.risks.contains(&risk);
    let refusals = [
        (pick == Pick::Stale, Skip::ChangedSinceShown),
        (has(Risk::TooDeep), Skip::TooDeep),
        (has(Risk::Special), Skip::Special),
        (has(Risk::Reserved), Skip::Reserved),
        (change.is_protected() && !(allow.protected && pick == Pick::ByName), Skip::Protected),
        (has(Risk::LinkOutside) && !allow.links_outside && !is_named, Skip::LinkOutside),
        (change.host_changed && !allow.conflicts, Skip::Conflict),
    ];
    refusals.into_iter().find_map(|(holds, skip)| holds.then_some(skip))
}

struct Run<'r, 'o> {
    overlay: &'o Overlay,
    listing: &'r mut Listing<'o>,
    ledger: File,
}

impl Run<'_, '_> {
    fn one(&mut self, change: &Change) -> Result<(), Stop> {
        let (folder, name) = self.overlay.workspace.parent(&change.path).map_err(|found| match found {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Stop::Skip(Skip::Parent),
            other => other.into(),
        })?;
        let place = Place { folder, name, before: change.before.as_ref() };
        if !place.is_as_listed()? {
            return Err(Stop::Skip(Skip::Conflict));
        }
        let hides_folder =
            change.before.as_ref().is_some_and(Entry::is_folder) && !matches!(change.kind, Kind::Mode(_));
        if hides_folder && !change.host_changed {
            match self.listing.hidden(&change.path) {
                Ok(hidden) if !hidden.host_changed => {}
                _ => return Err(Stop::Skip(Skip::Conflict)),
            }
        }
        match (change.kind, &change.after) {
            (Kind::Deleted(_), _) | (_, None) => place.clear()?,
            (Kind::Mode(Node::Folder), Some(after)) => return Ok(self.open(change, after)?),
            (Kind::Mode(_), Some(after)) => {
                let fd = tree::open_below(&place.folder, place.name, OFlags::PATH)?;
                tree::set_mode(&fd, after.mode & 0o777)?;
                rustix::fs::fsync(&place.folder)?;
            }
            (_, Some(after)) => match after.node {
                Node::Folder => return place.make_folder(),
                Node::File => self.copy(&place, change, after)?,
                Node::Symlink => {
                    let target = self.overlay.upper.target(&change.path)?;
                    let temporary = Temporary::new(&place.folder)?;
                    rustix::fs::symlinkat(OsStr::from_bytes(&target), &place.folder, &temporary.name)?;
                    let owner = place.owner()?;
                    let _ = rustix::fs::chownat(
                        &place.folder,
                        &temporary.name,
                        owner.0,
                        owner.1,
                        AtFlags::SYMLINK_NOFOLLOW,
                    );
                    place.install(temporary, false)?;
                }
                Node::Other => return Err(Stop::Skip(Skip::Special)),
            },
        }
        self.write_down(&place)?;
        Ok(self.overlay.forget(&change.path)?)
    }

    /// Remembers our own version, so that it is not taken for a change of the host's.
    fn write_down(&mut self, place: &Place<'_>) -> io::Result<()> {
        match Entry::at(&place.folder, place.name)? {
            Some(ours) => self.ledger.write_all(&ours.stamp.to_bytes()),
            None => Ok(()),
        }
    }

    fn copy(&self, place: &Place<'_>, change: &Change, after: &Entry) -> Result<(), Stop> {
        let mut source = match self.overlay.upper.file(&change.path) {
            Err(Errno::ACCESS) => {
                self.overlay.upper.set_mode(&change.path, after.mode | 0o400)?;
                self.overlay.upper.file(&change.path)?
            }
            opened => opened?,
        };
        let found = Entry::of(&source)?;
        if (found.stamp.ino, found.size_bytes) != (after.stamp.ino, after.size_bytes) {
            return Err(Stop::Skip(Skip::ChangedSinceShown));
        }
        let temporary = Temporary::new(&place.folder)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let private = Mode::RUSR | Mode::WUSR;
        let mut copy = File::from(rustix::fs::openat(&place.folder, &temporary.name, flags, private)?);
        if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
            copy_sparse(&mut source, &mut copy)?;
        }
        let owner = place.owner()?;
        let _ = rustix::fs::fchown(&copy, owner.0, owner.1); // an ordinary user may not give files away
        tree::set_mode(&copy.try_clone()?.into(), after.mode & 0o777)?;
        let time = Timespec { tv_sec: after.mtime.0, tv_nsec: after.mtime.1 as _ };
        rustix::fs::futimens(&copy, &Timestamps { last_access: time, last_modification: time })?;
        rustix::fs::fsync(&copy)?;
        place.install(temporary, false)
    }

    /// A folder whose mode changes is writable while its entries are applied.
    fn open(&self, change: &Change, after: &Entry) -> Result<(), Errno> {
        let special = change.before.as_ref().map_or(0, |before| before.mode & 0o7000);
        self.overlay.workspace.set_mode(&change.path, special | (after.mode & 0o777) | 0o700)
    }

    fn close(&mut self, change: &Change) -> Result<(), Stop> {
        let Overlay { workspace, .. } = self.overlay;
        let after = change.after.as_ref().map_or(0o700, |after| after.mode & 0o777);
        let special = workspace.standing(&change.path)?.mode & 0o7000; // a folder's group is its parent's to hand down
        let (parent, _) = workspace.parent(&change.path)?;
        let folder = workspace.folder(&change.path)?;
        tree::set_mode(&folder, special | after)?;
        rustix::fs::fsync(&folder)?;
        rustix::fs::fsync(&parent)?;
        match self.overlay.forget(&change.path) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }
}
