//! What a confined program changed in a workspace, kept apart in a state folder until a person applies or discards it.
//! Nothing here mounts anything, follows a symbolic link, or believes a name or byte that the program chose.
//!
//! The program writes through overlayfs (`userxattr`, `redirect_dir=nofollow`): the workspace is the lower layer, and
//! `upper` receives what changed. This room reads `upper` from outside, as the ordinary user, after or during a run.
//!
//! A *conflict* is a file of the workspace that the host changed since the overlay began: its change time (`ctime`,
//! which no program sets) is later than the beginning, and it is not a version that [`Overlay::apply`] itself wrote. The
//! overlay begins anew whenever it is found or left empty.

mod apply;
mod changes;
mod diff;
mod discard;
mod place;
mod risk;
mod shown;
mod tree;

pub use apply::{Allow, Applied, Outcome, Selection, Skip};
pub use changes::{Change, ENTRIES_MAX, Kind};
pub use diff::{DIFF_BYTES_MAX, DIFF_EDITS_MAX};
pub use risk::{LARGE_BYTES_MIN, Risk};
pub use shown::shown;
pub use tree::{Entry, Node};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tree::{Stamp, Tree};

const UPPER: &str = "upper";
const WORK: &str = "work";
const LOCK: &str = "lock";
/// First line: when the overlay began, `seconds nanoseconds`. The rest: the workspace, raw bytes.
const RECORD: &str = "workspace";
/// Versions of workspace files that `apply` wrote since then, [`Stamp`] after stamp.
const APPLIED: &str = "applied";
const RECORD_BYTES_MAX: u64 = 8 << 10;
/// How long hold, apply and discard wait for a lock, in milliseconds: opening an overlay takes it for a moment.
const LOCK_WAIT_MS_MAX: u64 = 200;
const LOCK_STEP_MS: u64 = 5;

/// Changes kept apart from one workspace.
#[derive(Debug)]
pub struct Overlay {
    state: OwnedFd,
    upper: Tree,
    workspace: Tree,
    path: PathBuf,
    protected: Vec<PathBuf>,
}

struct Record {
    /// On the file system's clock: seconds, nanoseconds.
    begun: (i64, i64),
    workspace: PathBuf,
}

/// Why an overlay cannot be read, applied or discarded as a whole.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The kernel said no.
    #[error("cannot {what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where, escaped for a terminal.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A part of the state folder is a symbolic link, or a file where a folder belongs, or the reverse.
    #[error(
        "`{0}` in the overlay's state folder is not what this program put there; move the state folder away"
    )]
    Tampered(String),
    /// The workspace is not an absolute path to a folder free of symbolic links.
    #[error(
        "workspace `{0}` is not the real, absolute path of a folder; give the one that `realpath` prints"
    )]
    Workspace(String),
    /// The state folder holds changes to another workspace.
    #[error("the overlay holds changes to `{recorded}`, not to `{asked}`; use another state folder")]
    OtherWorkspace {
        /// The workspace it belongs to, escaped.
        recorded: String,
        /// The workspace that was given, escaped.
        asked: String,
    },
    /// One of the two lies inside the other.
    #[error("state folder and workspace `{0}` contain each other; keep the overlay's state elsewhere")]
    Nested(String),
    /// A sandbox, an apply or a discard uses the overlay at this moment.
    #[error("the overlay is in use by a running sandbox or another command; wait until it ends")]
    Busy,
    /// There is too much to list.
    #[error(
        "more than {ENTRIES_MAX} entries changed or are hidden; discard the overlay, or look with other tools"
    )]
    TooMany,
}

impl OverlayError {
    fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { what, path: shown(path.as_os_str().as_bytes()), source: source.into() }
    }
}

impl Overlay {
    /// Opens the overlay kept in `state` for `workspace`, making `upper` and `work` where they are missing.
    ///
    /// # Errors
    /// [`OverlayError`], above all when `state` belongs to another workspace or has been tampered with.
    pub fn open(state: &Path, workspace: &Path) -> Result<Self, OverlayError> {
        let not_real = || OverlayError::Workspace(shown(workspace.as_os_str().as_bytes()));
        if !workspace.is_absolute() {
            return Err(not_real());
        }
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lower = rustix::fs::openat2(CWD, workspace, folder, Mode::empty(), ResolveFlags::NO_SYMLINKS)
            .map_err(|_| not_real())?;
        let path: PathBuf = workspace.components().collect();
        let nearest = state.ancestors().find_map(|above| above.canonicalize().ok()).unwrap_or_default();
        if nearest.starts_with(&path) || state.canonicalize().is_ok_and(|real| path.starts_with(real)) {
            return Err(OverlayError::Nested(shown(path.as_os_str().as_bytes())));
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)
            .map_err(|source| OverlayError::io("create", state, source))?;
        let root = rustix::fs::open(state, folder, Mode::empty())
            .map_err(|_| OverlayError::Tampered(shown(state.as_os_str().as_bytes())))?;
        let part = |name: &'static str| match rustix::fs::mkdirat(&root, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Tree::open_at(&root, name).map_err(|found| match found {
                Errno::NOTDIR | Errno::LOOP => OverlayError::Tampered(name.to_owned()),
                other => OverlayError::io("open", Path::new(name), other),
            }),
            Err(source) => Err(OverlayError::io("create", Path::new(name), source)),
        };
        let upper = part(UPPER)?;
        part(WORK)?;
        let overlay = Self { workspace: Tree::new(lower), upper, path, protected: Vec::new(), state: root };
        match overlay.record()? {
            Some(record) if record.workspace != overlay.path => Err(OverlayError::OtherWorkspace {
                recorded: shown(record.workspace.as_os_str().as_bytes()),
                asked: shown(overlay.path.as_os_str().as_bytes()),
            }),
            known => {
                let wait_ms = if known.is_none() { LOCK_WAIT_MS_MAX } else { 0 };
                let file = OwnedFd::from(overlay.part(LOCK, OFlags::RDWR | OFlags::CREATE)?);
                match lock(file, FlockOperation::NonBlockingLockExclusive, wait_ms) {
                    Ok(_alone) => overlay.begin_if_empty(known.is_none())?,
                    Err(Errno::WOULDBLOCK) if known.is_some() => {}
                    Err(Errno::WOULDBLOCK) => return Err(OverlayError::Busy),
                    Err(source) => return Err(OverlayError::io("lock", Path::new(LOCK), source)),
                }
                Ok(overlay)
            }
        }
    }

    /// Adds paths, relative to the workspace, below which nothing is applied unless a person names it. The names in
    /// the built-in list (`.git/hooks`, `.envrc`, `.vscode`, …) are protected at any depth without it.
    #[must_use]
    pub fn protecting(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.protected.extend(paths);
        self
    }

    /// A shared hold for as long as a sandbox uses the overlay: apply and discard are refused until it is dropped.
    /// It is closed on exec.
    ///
    /// # Errors
    /// [`OverlayError::Busy`] while somebody applies or discards.
    pub fn hold(&self) -> Result<OwnedFd, OverlayError> {
        self.lock(FlockOperation::NonBlockingLockShared)
    }

    fn lock(&self, how: FlockOperation) -> Result<OwnedFd, OverlayError> {
        let file = OwnedFd::from(self.part(LOCK, OFlags::RDWR | OFlags::CREATE)?);
        lock(file, how, LOCK_WAIT_MS_MAX).map_err(|found| match found {
            Errno::WOULDBLOCK => OverlayError::Busy,
            source => OverlayError::io("lock", Path::new(LOCK), source),
        })
    }

    /// A plain file of the state folder.
    fn part(&self, name: &'static str, flags: OFlags) -> Result<File, OverlayError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.state, name, flags, Mode::RUSR | Mode::WUSR).map_err(
            |found| match found {
                Errno::LOOP | Errno::ISDIR | Errno::NXIO => OverlayError::Tampered(name.to_owned()),
                other => OverlayError::io("open", Path::new(name), other),
            },
        )?;
        match Entry::of(&file) {
            Ok(entry) if entry.node == Node::File => Ok(File::from(file)),
            _ => Err(OverlayError::Tampered(name.to_owned())),
        }
    }

    fn record(&self) -> Result<Option<Record>, OverlayError> {
        let mut text = Vec::new();
        match self.part(RECORD, OFlags::RDONLY) {
            Ok(file) => file
                .take(RECORD_BYTES_MAX)
                .read_to_end(&mut text)
                .map_err(|source| OverlayError::io("read", Path::new(RECORD), source))?,
            Err(OverlayError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(refused) => return Err(refused),
        };
        let parsed = text.iter().position(|&byte| byte == b'\n').and_then(|end| {
            let (sec, nsec) = std::str::from_utf8(&text[..end]).ok()?.split_once(' ')?;
            let workspace = PathBuf::from(std::ffi::OsString::from_vec(text[end + 1..].to_vec()));
            Some(Record { begun: (sec.parse().ok()?, nsec.parse().ok()?), workspace })
        });
        parsed.map(Some).ok_or_else(|| OverlayError::Tampered(RECORD.to_owned()))
    }

    /// With nothing kept apart, what the program sees is the workspace as it is now: conflicts count from here.
    fn begin_if_empty(&self, first: bool) -> Result<(), OverlayError> {
        let broken =
            |source: io::Error| OverlayError::io("record the workspace in", Path::new(RECORD), source);
        let idle = match self.upper.children(Path::new("")) {
            Ok(children) => children.is_empty(),
            Err(Errno::ACCESS) => false, // mode 0000: the program touched it
            Err(source) => return Err(OverlayError::io("list", Path::new(UPPER), source)),
        };
        if !first && !idle {
            return Ok(());
        }
        let fresh = "workspace.new";
        let _ = rustix::fs::unlinkat(&self.state, fresh, AtFlags::empty());
        let mut file = self.part(fresh, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        // The file system's clock, so that it compares with change times there.
        let born = Entry::of(&file).map_err(|source| broken(source.into()))?.stamp;
        file.write_all(format!("{} {}\n", born.ctime.0, born.ctime.1).as_bytes()).map_err(broken)?;
        file.write_all(self.path.as_os_str().as_bytes()).map_err(broken)?;
        file.sync_all().map_err(broken)?;
        rustix::fs::renameat(&self.state, fresh, &self.state, RECORD)
            .map_err(|source| broken(source.into()))?;
        let _ = rustix::fs::unlinkat(&self.state, APPLIED, AtFlags::empty());
        Ok(())
    }

    /// The versions of workspace files that are our own work.
    fn applied(&self) -> Result<HashSet<Stamp>, OverlayError> {
        let mut bytes = Vec::new();
        match self.part(APPLIED, OFlags::RDONLY) {
            Ok(file) => file
                .take((ENTRIES_MAX * Stamp::BYTES) as u64)
                .read_to_end(&mut bytes)
                .map_err(|source| OverlayError::io("read", Path::new(APPLIED), source))?,
            Err(OverlayError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => 0,
            Err(refused) => return Err(refused),
        };
        Ok(bytes.as_chunks::<{ Stamp::BYTES }>().0.iter().map(Stamp::from_bytes).collect())
    }
}

fn lock(file: OwnedFd, how: FlockOperation, wait_ms: u64) -> Result<OwnedFd, Errno> {
    let mut waited_ms = 0;
    loop {
        match rustix::fs::flock(&file, how) {
            Ok(()) => return Ok(file),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if waited_ms < wait_ms => {
                std::thread::sleep(std::time::Duration::from_millis(LOCK_STEP_MS));
                waited_ms += LOCK_STEP_MS;
            }
            Err(refused) => return Err(refused),
        }
    }
}
