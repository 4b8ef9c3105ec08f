//! Private files: readable by their owner alone, replaced whole or not at all. No link is followed at the last step and
//! nothing is read beyond a bound.

use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Why a private file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system refused.
    #[error("cannot {deed} {path}: {why}")]
    Io {
        /// What was tried.
        deed: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        why: io::Error,
    },
    /// Others could read or change it.
    #[error(
        "{path} is not private: it must belong to this user and have no rights for others (chmod go-rwx)"
    )]
    NotPrivate {
        /// Which.
        path: PathBuf,
    },
    /// It is longer than such a file may be.
    #[error("{path} is longer than {bytes_max} bytes")]
    TooLong {
        /// Which.
        path: PathBuf,
        /// The bound.
        bytes_max: usize,
    },
}

/// The longest tick of a file system's clock, in milliseconds.
const TICK_MS_MAX: u64 = 20;

/// What tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().as_ref().map(Self::from)
    }

    /// Whether a change now could get the same time: file systems count it in ticks of some milliseconds.
    pub(crate) fn is_fresh(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanos) = self.modified;
        let modified = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
        now.abs_diff(modified) < Duration::from_millis(TICK_MS_MAX)
    }

    /// The stamp as one number.
    pub(crate) fn mark(&self) -> u64 {
        let mut hash = std::hash::DefaultHasher::new();
        self.hash(&mut hash);
        hash.finish()
    }
}

impl From<&Metadata> for Stamp {
    fn from(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

fn io_error<'a>(deed: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DiskError + use<'a> {
    move |why| DiskError::Io { deed, path: path.to_owned(), why }
}

fn private(path: &Path, meta: &Metadata) -> Result<(), DiskError> {
    let mine = meta.uid() == rustix::process::geteuid().as_raw();
    if mine && meta.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(DiskError::NotPrivate { path: path.to_owned() })
    }
}

/// Makes `folder` with mode 0700 if it is not there, and insists that it is private.
pub(crate) fn private_folder(folder: &Path) -> Result<(), DiskError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error("make", folder))?;
    let meta = std::fs::metadata(folder).map_err(io_error("look at", folder))?;
    private(folder, &meta)
}

/// A file's bytes, and the stamp it had when they were read.
pub(crate) type Stamped = (Zeroizing<Vec<u8>>, Stamp);

/// All of a private file with the stamp it had, or nothing when there is none.
pub(crate) fn read_private_stamped(path: &Path, bytes_max: usize) -> Result<Option<Stamped>, DiskError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(io_error("open", path)(why)),
    };
    let meta = file.metadata().map_err(io_error("look at", path))?;
    private(path, &meta)?;
    let bytes = read_bounded(file, path, bytes_max)?;
    Ok(Some((bytes, Stamp::from(&meta))))
}

/// All of a private file, or nothing when there is none.
pub(crate) fn read_private(path: &Path, bytes_max: usize) -> Result<Option<Zeroizing<Vec<u8>>>, DiskError> {
    Ok(read_private_stamped(path, bytes_max)?.map(|(bytes, _)| bytes))
}

/// All of an ordinary file that somebody else keeps, such as a mounted secret or a certificate.
pub(crate) fn read_any(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, DiskError> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io_error("open", path))?;
    read_bounded(file, path, bytes_max)
}

fn read_bounded(file: File, path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, DiskError> {
    let meta = file.metadata().map_err(io_error("look at", path))?;
    // One allocation of the right size: a growing one would leave copies behind that nobody wipes.
    let room = usize::try_from(meta.len()).unwrap_or(usize::MAX).min(bytes_max) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() > bytes_max {
        return Err(DiskError::TooLong { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

/// Writes a new private file; an existing one is left as it is, because another process may have been first.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let beside = beside(path, "new")?;
    write_new(&beside, bytes)?;
    let linked = std::fs::hard_link(&beside, path);
    drop(std::fs::remove_file(&beside));
    match linked {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => Err(io_error("create", path)(why)),
        _ => sync_parent(path),
    }
}

/// Replaces a private file whole: a crash leaves the old one or the new one.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    rename_over(path, |beside| write_new(beside, bytes))?;
    sync_parent(path)
}

/// As [`replace_private`], for what may be lost: it waits for no disk.
pub(crate) fn replace_soon(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    rename_over(path, |beside| write_unsynced(beside, bytes).map(drop))
}

fn rename_over(path: &Path, write: impl FnOnce(&Path) -> Result<(), DiskError>) -> Result<(), DiskError> {
    let beside = beside(path, "tmp")?;
    write(&beside)?;
    std::fs::rename(&beside, path).map_err(|why| {
        drop(std::fs::remove_file(&beside));
        io_error("replace", path)(why)
    })
}

/// Removes what a crash in [`replace_private`] left beside `path`. To be called where nobody else can be writing.
pub(crate) fn sweep(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let start = [name.as_encoded_bytes(), b".tmp-"].concat();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(&start) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let synced = write_unsynced(path, bytes)?.sync_all();
    if synced.is_err() {
        drop(std::fs::remove_file(path));
    }
    synced.map_err(io_error("sync", path))
}

fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<File, DiskError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("create", path))?;
    match file.write_all(bytes) {
        Ok(()) => Ok(file),
        Err(why) => {
            drop(std::fs::remove_file(path));
            Err(io_error("write", path)(why))
        }
    }
}

fn beside(path: &Path, what: &str) -> Result<PathBuf, DiskError> {
    let mut random = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| io_error("name a file beside", path)(io::Error::other("no random numbers")))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}-{:016x}", u64::from_le_bytes(random)));
    Ok(path.with_file_name(name))
}

fn sync_parent(path: &Path) -> Result<(), DiskError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
}

/// An exclusive lock between processes, held until the file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, DiskError> {
    let file = lock_file(path)?;
    file.lock().map_err(io_error("lock", path))?;
    Ok(file)
}

/// The same at once, or nothing when another holds it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<File>, DiskError> {
    let file = lock_file(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(why)) => Err(io_error("lock", path)(why)),
    }
}

fn lock_file(path: &Path) -> Result<File, DiskError> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
        .map_err(io_error("open", path))
}
