//! Takes changes back by removing them from the upper layer, whatever modes and depths the program chose. The workspace
//! is never touched here.

use super::apply::{Applied, Outcome, Pick, Selection, Skip, plain};
use super::changes::{Change, Kind, Listing};
use super::tree::{self, Entry, Node, Tree, open_freely};
use super::{Overlay, OverlayError, UPPER, WORK};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Where things go that are being removed; a killed discard leaves it, the next command empties it.
const DISCARDED: &str = "discarded";

impl Overlay {
    /// Takes the selected changes back, and tells of each what became of it. [`Selection::All`] needs no listing, so it
    /// works on any overlay; it names what lay at the top, and clears the kernel's work folder too.
    ///
    /// # Errors
    /// [`OverlayError::Busy`] while a sandbox or another command uses the overlay; otherwise when it cannot be read.
    pub fn discard(&self, selection: &Selection) -> Result<Vec<Applied>, OverlayError> {
        let _alone = self.lock(FlockOperation::NonBlockingLockExclusive)?;
        self.finish_discard()?;
        let all = if matches!(selection, Selection::All) {
            self.discard_all().map_err(|source| OverlayError::io("discard", Path::new(UPPER), source))?
        } else {
            let all = self.discard_some(selection)?;
            self.finish_discard()?;
            self.prune()?;
            all
        };
        self.begin_if_empty(false)?;
        Ok(all)
    }

    fn discard_all(&self) -> Result<Vec<Applied>, Errno> {
        let upper = open_freely(&self.state, OsStr::new(UPPER))?;
        let work = open_freely(&self.state, OsStr::new(WORK))?;
        let bin = self.bin()?;
        let mut names = Vec::new();
        let mut serial = 0;
        loop {
            let some = tree::some_children(&upper, tree::BATCH_ENTRIES)?;
            if some.is_empty() {
                break;
            }
            for (name, entry) in some {
                if entry.is_folder() {
                    open_freely(&upper, &name)?; // moving a folder rewrites its `..`: it must be writable
                }
                tree::move_in(&upper, &name, &bin, &mut serial)?;
                names.push(Applied { path: name.into(), outcome: Outcome::Done });
            }
        }
        tree::clear_opaque(&upper)?;
        tree::set_mode(&upper, 0o700)?;
        tree::empty(&work)?;
        tree::empty(&bin)?;
        rustix::fs::unlinkat(&self.state, DISCARDED, AtFlags::REMOVEDIR)?;
        names.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(names)
    }

    fn discard_some(&self, selection: &Selection) -> Result<Vec<Applied>, OverlayError> {
        let mut listing = Listing::read(self)?;
        self.reveal(&listing)?;
        let changes = std::mem::take(&mut listing.changes);
        let mut all: Vec<Applied> = selection.idle(&changes).collect();
        // Folders after what they hold.
        for (index, change) in changes.iter().enumerate().rev() {
            // A new folder leads to what was asked for, but goes only when it was asked for.
            let outcome = match (selection, selection.pick(change, &self.protected)) {
                (_, None) => continue,
                (Selection::Paths(paths), _)
                    if !paths.iter().any(|path| change.path.starts_with(plain(path))) =>
                {
                    continue;
                }
                (_, Some(Pick::Stale)) => Outcome::Skipped(Skip::ChangedSinceShown),
                (_, Some(Pick::ByAll | Pick::ByName)) => {
                    let mut below =
                        changes[index + 1..].iter().take_while(|other| other.path.starts_with(&change.path));
                    let is_whole = below.all(|other| selection.pick(other, &self.protected).is_some());
                    self.take_back(change, is_whole, &mut listing)
                }
            };
            all.push(Applied { path: change.path.clone(), outcome });
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    fn take_back(&self, change: &Change, is_whole: bool, listing: &mut Listing<'_>) -> Outcome {
        let is_folder = change.after.as_ref().is_some_and(Entry::is_folder);
        let done = match (change.kind, &change.before) {
            (Kind::Mode(Node::Folder), Some(before)) => {
                listing.keep_mode(&change.path);
                self.upper.set_mode(&change.path, before.mode)
            }
            _ if is_folder && !is_whole => return Outcome::Skipped(Skip::Holds),
            _ if is_folder => self.upper.parent(&change.path).and_then(|(folder, name)| {
                open_freely(&folder, name)?;
                tree::move_in(&folder, name, &self.bin()?, &mut 0)
            }),
            _ => self.forget(&change.path),
        };
        done.map_or_else(|source| Outcome::Skipped(Skip::Failed(source.to_string())), |()| Outcome::Done)
    }

    fn bin(&self) -> Result<OwnedFd, Errno> {
        match rustix::fs::mkdirat(&self.state, DISCARDED, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => open_freely(&self.state, OsStr::new(DISCARDED)),
            Err(other) => Err(other),
        }
    }

    /// Empties what an earlier discard left.
    pub(super) fn finish_discard(&self) -> Result<(), OverlayError> {
        let done = match open_freely(&self.state, OsStr::new(DISCARDED)) {
            Ok(bin) => tree::empty(&bin)
                .and_then(|()| rustix::fs::unlinkat(&self.state, DISCARDED, AtFlags::REMOVEDIR)),
            Err(Errno::NOENT) => Ok(()),
            Err(other) => Err(other),
        };
        done.map_err(|source| OverlayError::io("empty", Path::new(DISCARDED), source))
    }

    /// Turns each folder that hides a whole folder into one that hides each name on its own, so that names can be taken
    /// from it one by one without the others coming to light or going out. Seen from inside, nothing changes.
    pub(super) fn reveal(&self, listing: &Listing<'_>) -> Result<(), OverlayError> {
        // Inner ones first: they hide by their parent's mark until their own whiteouts are there.
        for (path, _) in listing.folders.iter().rev().filter(|(_, is_hiding)| *is_hiding) {
            reveal(&self.upper, &self.workspace, path)
                .map_err(|source| OverlayError::io("spell out what is hidden below", path, source))?;
        }
        Ok(())
    }
}

fn reveal(upper: &Tree, workspace: &Tree, path: &Path) -> Result<(), Errno> {
    let folder = upper.folder(path)?;
    let hidden = match workspace.children(path) {
        Ok(hidden) => hidden,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Vec::new(),
        Err(other) => return Err(other),
    };
    for (name, _) in hidden {
        if super::risk::is_temporary(name.as_encoded_bytes()) || Entry::at(&folder, &name)?.is_some() {
            continue;
        }
        rustix::fs::mknodat(&folder, &name, FileType::CharacterDevice, Mode::empty(), 0)?;
    }
    rustix::fs::fsync(upper.folder(path)?)?;
    tree::clear_opaque(&folder)
}
