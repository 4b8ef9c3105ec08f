//! One name in a folder of the workspace, changed in one step by way of a temporary name. Whatever is left at a temporary
//! name when a step ends is removed, and nothing outside the folder is ever touched.

use super::apply::Skip;
use super::risk::TEMPORARY;
use super::tree::{self, Entry, open_freely};
use rustix::fs::{AtFlags, Gid, Mode, RenameFlags, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

/// A name in a folder of the workspace, and what was listed there.
pub(super) struct Place<'c> {
    pub(super) folder: OwnedFd,
    pub(super) name: &'c OsStr,
    pub(super) before: Option<&'c Entry>,
}

/// Why one change was left, in the middle of applying it.
pub(super) enum Stop {
    Skip(Skip),
    Io(io::Error),
}

impl<E: Into<io::Error>> From<E> for Stop {
    fn from(source: E) -> Self {
        Self::Io(source.into())
    }
}

impl Place<'_> {
    pub(super) fn is_as_listed(&self) -> Result<bool, Errno> {
        Ok(match (self.before, Entry::at(&self.folder, self.name)?) {
            (None, None) => true,
            (Some(then), Some(now)) => then.is_still(&now),
            _ => false,
        })
    }

    /// Whose it should be: what it replaces, else its folder's.
    pub(super) fn owner(&self) -> Result<(Option<Uid>, Option<Gid>), Errno> {
        let (user, group) = match self.before {
            Some(before) => before.owner,
            None => Entry::of(&self.folder)?.owner,
        };
        Ok((Some(Uid::from_raw(user)), Some(Gid::from_raw(group))))
    }

    pub(super) fn make_folder(&self) -> Result<(), Stop> {
        let temporary = Temporary::new(&self.folder)?;
        rustix::fs::mkdirat(&self.folder, &temporary.name, Mode::RWXU)?;
        let owner = self.owner()?;
        let _ =
            rustix::fs::chownat(&self.folder, &temporary.name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW);
        self.install(temporary, true)
    }

    /// Puts a finished temporary in place, in one step.
    pub(super) fn install(&self, temporary: Temporary<'_>, is_folder: bool) -> Result<(), Stop> {
        let (folder, name) = (&self.folder, self.name);
        let moved = match self.before {
            None => rustix::fs::renameat_with(folder, &temporary.name, folder, name, RenameFlags::NOREPLACE),
            Some(before) if is_folder || before.is_folder() => {
                rustix::fs::renameat_with(folder, &temporary.name, folder, name, RenameFlags::EXCHANGE)
            }
            Some(_) => rustix::fs::renameat(folder, &temporary.name, folder, name),
        };
        match moved {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOENT) => return Err(Stop::Skip(Skip::Conflict)),
            Err(Errno::INVAL | Errno::NOSYS) => {
                // A file system without these flags, such as NFS: two steps where one was wanted.
                let aside = Temporary::new(folder)?;
                if self.before.is_some() {
                    rustix::fs::renameat(folder, name, folder, &aside.name)?;
                }
                rustix::fs::renameat(folder, &temporary.name, folder, name)?;
            }
            Err(other) => return Err(other.into()),
        }
        temporary.remove()?; // after an exchange, what was there bears this name
        rustix::fs::fsync(folder)?;
        Ok(())
    }

    pub(super) fn clear(&self) -> Result<(), Stop> {
        if self.before.is_some_and(Entry::is_folder) {
            let aside = Temporary::new(&self.folder)?;
            rustix::fs::renameat(&self.folder, self.name, &self.folder, &aside.name)?;
            aside.remove()?;
        } else {
            rustix::fs::unlinkat(&self.folder, self.name, AtFlags::empty())?;
        }
        rustix::fs::fsync(&self.folder)?;
        Ok(())
    }
}

/// A temporary name; whatever bears it when this is dropped is removed.
pub(super) struct Temporary<'f> {
    folder: &'f OwnedFd,
    pub(super) name: String,
}

impl<'f> Temporary<'f> {
    pub(super) fn new(folder: &'f OwnedFd) -> Result<Self, Errno> {
        let mut random = [0; 8];
        let length = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        if length != random.len() {
            return Err(Errno::IO);
        }
        Ok(Self { folder, name: format!("{TEMPORARY}{:016x}", u64::from_le_bytes(random)) })
    }

    fn remove(&self) -> Result<(), Errno> {
        let name = OsStr::new(&self.name);
        Entry::at(self.folder, name)?.map_or(Ok(()), |entry| remove(self.folder, name, &entry))
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let _ = self.remove(); // swept by the next apply
    }
}

/// Removes a name, and all below it.
pub(super) fn remove(folder: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<(), Errno> {
    if !entry.is_folder() {
        return rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    tree::empty(&open_freely(folder, name)?)?;
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

/// Copies all bytes; blocks of zeros stay holes, so that a file of nothing costs nothing.
pub(super) fn copy_sparse(from: &mut File, to: &mut File) -> io::Result<()> {
    let mut block = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let length = match from.read(&mut block) {
            Ok(0) => return to.set_len(total),
            Ok(length) => length,
            Err(again) if again.kind() == io::ErrorKind::Interrupted => continue,
            Err(other) => return Err(other),
        };
        total += length as u64;
        if block[..length].iter().all(|&byte| byte == 0) {
            to.seek(SeekFrom::Start(total))?;
        } else {
            to.write_all(&block[..length])?;
        }
    }
}
