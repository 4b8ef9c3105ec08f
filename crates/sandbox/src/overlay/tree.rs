//! A folder and what lies below it, reached only through its descriptor. No symbolic link is followed, no mount is
//! crossed, and a path never leads out (openat2: `BENEATH`, `NO_SYMLINKS`, `NO_XDEV`).

use super::changes::ENTRIES_MAX;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Longest path below a workspace that is looked at, in bytes; the kernel takes 4096.
pub(super) const PATH_BYTES_MAX: usize = 3_800;

/// How many names are taken at a time where all are removed.
pub(super) const BATCH_ENTRIES: usize = 4_096;

const OPAQUE: &str = "user.overlay.opaque";
const WHITEOUT: &str = "user.overlay.whiteout";

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A fifo, socket or device.
    Other,
}

/// One version of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    pub(super) dev: u64,
    pub(super) ino: u64,
    /// Seconds, nanoseconds. No program can set it.
    pub(super) ctime: (i64, i64),
}

/// What is known of a name without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub node: Node,
    /// Its length in bytes; of a symbolic link, that of its target; 0 for a folder.
    pub size_bytes: u64,
    /// Permission bits, set-id and sticky included.
    pub mode: u32,
    pub(super) stamp: Stamp,
    pub(super) mtime: (i64, i64),
    pub(super) owner: (u32, u32),
    pub(super) is_whiteout: bool,
}

impl Stamp {
    pub(super) const BYTES: usize = 32;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let words = [self.dev, self.ino, self.ctime.0.cast_unsigned(), self.ctime.1.cast_unsigned()];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes.as_chunks::<8>().0[at]);
        Self { dev: word(0), ino: word(1), ctime: (word(2).cast_signed(), word(3).cast_signed()) }
    }
}

impl Entry {
    pub(super) fn of(fd: impl AsFd) -> Result<Self, Errno> {
        rustix::fs::fstat(fd).map(|stat| Self::from(&stat))
    }

    pub(super) fn at(folder: impl AsFd, name: &OsStr) -> Result<Option<Self>, Errno> {
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Self::from(&stat))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(other) => Err(other),
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        self.node == Node::Folder
    }

    /// The same file, unchanged; for a folder, whose change time follows its entries, just the same folder.
    pub(super) fn is_still(&self, now: &Self) -> bool {
        let (then, now) = (self, now);
        then.node == now.node
            && (then.stamp.dev, then.stamp.ino) == (now.stamp.dev, now.stamp.ino)
            && (then.is_folder() || then == now)
    }
}

impl From<&Stat> for Entry {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "the widths differ between architectures"
    )]
    fn from(stat: &Stat) -> Self {
        let node = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Node::File,
            FileType::Directory => Node::Folder,
            FileType::Symlink => Node::Symlink,
            _ => Node::Other,
        };
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        Self {
            node,
            size_bytes: if node == Node::Folder { 0 } else { stat.st_size as u64 },
            mode: stat.st_mode as u32 & 0o7777,
            stamp: Stamp {
                dev: stat.st_dev as u64,
                ino: stat.st_ino as u64,
                ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            },
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            owner: (stat.st_uid, stat.st_gid),
            is_whiteout: is_device && stat.st_rdev == 0,
        }
    }
}

/// A folder and what lies below it.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// The folder `name`, itself no symbolic link; opened without reading, since a program may have chosen its mode.
    pub(super) fn open_at(folder: impl AsFd, name: &str) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(folder, name, flags, Mode::empty()).map(Self::new)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_below(&self.root, path.as_os_str(), flags)
    }

    /// A folder, readable; the empty path is the root.
    pub(super) fn folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// The folder that holds the last name of a path, and that name.
    pub(super) fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.folder(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// What a path stands for; `None` where there is nothing, or a parent that is no real folder.
    pub(super) fn entry(&self, path: &Path) -> Result<Option<Entry>, Errno> {
        match self.parent(path) {
            Ok((folder, name)) => Entry::at(folder, name),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// What a path stands for, the root included; not for symbolic links.
    pub(super) fn standing(&self, path: &Path) -> Result<Entry, Errno> {
        Entry::of(self.open(path, OFlags::PATH)?)
    }

    /// A regular file, for reading.
    pub(super) fn file(&self, path: &Path) -> Result<File, Errno> {
        let file = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        if Entry::of(&file)?.node == Node::File { Ok(File::from(file)) } else { Err(Errno::INVAL) }
    }

    /// The target of a symbolic link, any bytes.
    pub(super) fn target(&self, path: &Path) -> Result<Vec<u8>, Errno> {
        let (folder, name) = self.parent(path)?;
        Ok(rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes())
    }

    /// Names and what they stand for, unsorted.
    pub(super) fn children(&self, path: &Path) -> Result<Vec<(OsString, Entry)>, Errno> {
        children(&self.folder(path)?)
    }

    /// Where a path leads when symbolic links *are* followed: `false` if it leaves the tree or cannot be told.
    pub(super) fn stays_inside(&self, path: &Path) -> bool {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside) {
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => true,
            Err(_) => false,
        }
    }

    /// Sets the mode of what a path stands for, whatever its mode now. Not for symbolic links.
    pub(super) fn set_mode(&self, path: &Path, mode: u32) -> Result<(), Errno> {
        set_mode(&self.open(path, OFlags::PATH)?, mode)
    }
}

/// Opens `path` below `folder`, under this room's rules.
pub(super) fn open_below(folder: impl AsFd, path: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { OsStr::new(".") } else { path };
    let strictly = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(folder, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), strictly)
}

/// Sets the mode through a descriptor that need not be readable: fchmod refuses `O_PATH`, the link in /proc does not.
pub(super) fn set_mode(fd: &OwnedFd, mode: u32) -> Result<(), Errno> {
    if Entry::of(fd)?.node == Node::Symlink {
        return Err(Errno::LOOP);
    }
    rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::from_raw_mode(mode as _))
}

/// Names and what they stand for, unsorted; what vanishes meanwhile is left out. Beyond [`ENTRIES_MAX`] the rest is
/// left out too, for the caller counts.
pub(super) fn children(folder: &OwnedFd) -> Result<Vec<(OsString, Entry)>, Errno> {
    some_children(folder, ENTRIES_MAX + 1)
}

/// At most so many of them.
pub(super) fn some_children(folder: &OwnedFd, most: usize) -> Result<Vec<(OsString, Entry)>, Errno> {
    let mut found = Vec::new();
    for item in Dir::read_from(folder)? {
        let name = item?.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        let name = OsString::from_vec(name);
        if let Some(mut entry) = Entry::at(folder, &name)? {
            if entry.node == Node::File && entry.size_bytes == 0 {
                entry.is_whiteout = open_below(folder, &name, OFlags::RDONLY | OFlags::NONBLOCK)
                    .is_ok_and(|file| rustix::fs::fgetxattr(file, WHITEOUT, &mut [0_u8; 16]).is_ok());
            }
            found.push((name, entry));
        }
        if found.len() == most {
            break;
        }
    }
    Ok(found)
}

/// Whether a folder of the upper layer hides the whole folder below it. The value `x` says only that some entries are
/// whiteouts by attribute.
pub(super) fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0_u8; 4];
    rustix::fs::fgetxattr(folder, OPAQUE, &mut value).is_ok_and(|length| &value[..length] == b"y")
}

/// Takes the mark away that [`is_opaque`] reads.
pub(super) fn clear_opaque(folder: &OwnedFd) -> Result<(), Errno> {
    match rustix::fs::fremovexattr(folder, OPAQUE) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Removes everything in a folder, however deep and full, whatever its modes: subfolders move up before they are
/// emptied, so no path grows and no stack does.
pub(super) fn empty(folder: &OwnedFd) -> Result<(), Errno> {
    let mut serial = 0;
    loop {
        let some = some_children(folder, BATCH_ENTRIES)?;
        if some.is_empty() {
            return Ok(());
        }
        for (name, entry) in some {
            if !entry.is_folder() {
                rustix::fs::unlinkat(folder, &name, AtFlags::empty())?;
                continue;
            }
            let inner = open_freely(folder, &name)?;
            loop {
                let some = some_children(&inner, BATCH_ENTRIES)?;
                if some.is_empty() {
                    break;
                }
                for (name, entry) in some {
                    if entry.is_folder() {
                        open_freely(&inner, &name)?; // moving a folder rewrites its `..`: it must be writable
                        move_in(&inner, &name, folder, &mut serial)?;
                    } else {
                        rustix::fs::unlinkat(&inner, &name, AtFlags::empty())?;
                    }
                }
            }
            rustix::fs::unlinkat(folder, &name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Moves `name` into another folder under a name that is free there.
pub(super) fn move_in(from: &OwnedFd, name: &OsStr, into: &OwnedFd, serial: &mut u64) -> Result<(), Errno> {
    loop {
        *serial += 1;
        let free = format!("{serial}");
        match rustix::fs::renameat_with(from, name, into, &free, rustix::fs::RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            // A file system without that flag, such as NFS; nobody else writes to a folder about to be removed.
            Err(Errno::INVAL) if Entry::at(into, OsStr::new(&free))?.is_none() => {
                return rustix::fs::renameat(from, name, into, &free);
            }
            Err(Errno::INVAL) => {}
            moved_or_not => return moved_or_not,
        }
    }
}

/// A folder about to be removed, opened after its owner's permissions were given back.
pub(super) fn open_freely(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let unread = open_below(folder, name, OFlags::PATH | OFlags::DIRECTORY)?;
    if Entry::of(&unread)?.mode & 0o700 != 0o700 {
        set_mode(&unread, 0o700)?;
    }
    open_below(folder, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// A path whose last name is at most as long as the kernel takes.
pub(super) fn is_reachable(path: &Path) -> bool {
    path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX
}
