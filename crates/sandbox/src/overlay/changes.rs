//! What the program changed, read from the upper layer and compared with the workspace as it is now. Costs follow the
//! changes, never the workspace; nothing is written, except that modes which lock the owner out are lifted meanwhile.

use super::risk::{self, Risk};
use super::tree::{Entry, Node, Stamp, Tree, children, is_opaque, is_reachable};
use super::{Overlay, OverlayError};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Entries of the upper layer, and of what it hides, that one listing looks at.
pub const ENTRIES_MAX: usize = 1_000_000;
/// Length up to which a `package.json` is read to compare its scripts, in bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// One name of the workspace that is not what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Relative to the workspace. Any bytes: show it with [`super::shown`].
    pub path: PathBuf,
    /// What happened.
    pub kind: Kind,
    /// What the workspace has there now.
    pub before: Option<Entry>,
    /// What the program left there.
    pub after: Option<Entry>,
    /// Why it deserves a second look; sorted.
    pub risks: Vec<Risk>,
    /// The host changed it too, since the overlay began: applying it is a conflict.
    pub host_changed: bool,
}

/// What happened to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is new.
    Added(Node),
    /// Another content, or another target of a link; perhaps another mode too.
    Modified,
    /// It is gone; a folder with everything in it.
    Deleted(Node),
    /// Something of another kind is there now.
    Replaced {
        /// What was there.
        from: Node,
        /// What is there now.
        to: Node,
    },
    /// Only its permissions.
    Mode(Node),
}

impl Change {
    /// Whether it is applied only when a person names it.
    pub fn is_protected(&self) -> bool {
        self.risks.contains(&Risk::Protected)
    }

    /// Permission bits before and after, where both exist and differ.
    pub fn mode_change(&self) -> Option<(u32, u32)> {
        let (before, after) = (self.before.as_ref()?, self.after.as_ref()?);
        (before.node != Node::Symlink && after.node != Node::Symlink && before.mode != after.mode)
            .then_some((before.mode, after.mode))
    }
}

impl Overlay {
    /// What the program changed, sorted by path, folders before what they hold.
    ///
    /// # Errors
    /// [`OverlayError::TooMany`] beyond [`ENTRIES_MAX`]; [`OverlayError::Io`] where the state cannot be read.
    pub fn changes(&self) -> Result<Vec<Change>, OverlayError> {
        let mut listing = Listing::read(self)?;
        Ok(std::mem::take(&mut listing.changes))
    }
}

/// A reading of the upper layer.
pub(super) struct Listing<'o> {
    pub(super) overlay: &'o Overlay,
    pub(super) changes: Vec<Change>,
    /// Folders of the upper layer, parents first; whether each hides the workspace's folder of that name.
    pub(super) folders: Vec<(PathBuf, bool)>,
    /// Entries of the upper layer that change nothing, parents first.
    pub(super) idle: Vec<PathBuf>,
    begun: (i64, i64),
    applied: HashSet<Stamp>,
    seen: usize,
    /// Modes to put back, parents first.
    lifted: Vec<(PathBuf, u32)>,
}

/// A folder of the upper layer still to be read.
struct Todo {
    path: PathBuf,
    /// The workspace has a folder there.
    is_merged: bool,
    is_hiding: bool,
}

impl<'o> Listing<'o> {
    pub(super) fn read(overlay: &'o Overlay) -> Result<Self, OverlayError> {
        let begun = overlay.record()?.map_or((i64::MIN, 0), |record| record.begun);
        let mut listing = Self {
            overlay,
            changes: Vec::new(),
            folders: Vec::new(),
            idle: Vec::new(),
            begun,
            applied: overlay.applied()?,
            seen: 0,
            lifted: Vec::new(),
        };
        listing.lift(Path::new(""))?;
        let mut stack = vec![Todo { path: PathBuf::new(), is_merged: true, is_hiding: false }];
        while let Some(todo) = stack.pop() {
            listing.folder(todo, &mut stack)?;
        }
        listing.changes.sort_by(|a, b| a.path.cmp(&b.path));
        listing.note_bare_repositories();
        listing.folders.sort();
        listing.idle.sort();
        Ok(listing)
    }

    fn count(&mut self, more: usize) -> Result<(), OverlayError> {
        self.seen += more;
        if self.seen > ENTRIES_MAX { Err(OverlayError::TooMany) } else { Ok(()) }
    }

    /// The program may have set any mode; its owner needs to read, and root reads anyway.
    fn lift(&mut self, path: &Path) -> Result<(), OverlayError> {
        let upper = &self.overlay.upper;
        let entry = upper.standing(path).map_err(|source| OverlayError::io("look at", path, source))?;
        if entry.mode & 0o700 != 0o700 && !rustix::process::geteuid().is_root() {
            upper
                .set_mode(path, entry.mode | 0o700)
                .map_err(|source| OverlayError::io("open the permissions of", path, source))?;
            self.lifted.push((path.to_owned(), entry.mode));
        }
        Ok(())
    }

    fn folder(&mut self, todo: Todo, stack: &mut Vec<Todo>) -> Result<(), OverlayError> {
        let Todo { path, is_merged, is_hiding } = todo;
        let Overlay { upper, workspace, .. } = self.overlay;
        let failed = |source| OverlayError::io("read", &path, source);
        let folder = match upper.folder(&path) {
            Ok(folder) => folder,
            // A program that still runs took it away meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if path.parent().is_some() => return Ok(()),
            Err(source) => return Err(failed(source)),
        };
        let entries = children(&folder).map_err(failed)?;
        self.count(entries.len())?;
        let is_hiding = is_hiding || is_opaque(&folder);
        let below = match is_merged.then(|| workspace.folder(&path)) {
            Some(Ok(below)) => Some(below),
            // Gone or locked since; what cannot be seen is handled name by name.
            Some(Err(_)) | None => None,
        };
        if let (true, Some(below)) = (is_hiding, &below) {
            let kept: BTreeSet<&OsStr> = entries.iter().map(|(name, _)| name.as_os_str()).collect();
            for (name, before) in children(below).map_err(failed)? {
                self.count(1)?;
                if !kept.contains(name.as_os_str()) && !risk::is_temporary(name.as_encoded_bytes()) {
                    self.deleted(path.join(name), before)?;
                }
            }
        }
        for (name, after) in entries {
            let path = path.join(&name);
            let before = match &below {
                Some(below) => {
                    Entry::at(below, &name).map_err(|source| OverlayError::io("look at", &path, source))?
                }
                None => None,
            };
            if after.is_whiteout {
                match before {
                    Some(before) => self.deleted(path, before)?,
                    None => self.idle.push(path),
                }
                continue;
            }
            let is_merged = before.as_ref().is_some_and(Entry::is_folder);
            if after.is_folder() && is_reachable(&path) {
                self.lift(&path)?;
                stack.push(Todo { path: path.clone(), is_merged, is_hiding: is_hiding && is_merged });
            }
            self.compared(path, before, after)?;
        }
        self.folders.push((path, is_hiding));
        Ok(())
    }

    fn compared(&mut self, path: PathBuf, before: Option<Entry>, after: Entry) -> Result<(), OverlayError> {
        let Some(old) = before else {
            let kind = Kind::Added(after.node);
            return self.found(path, kind, None, Some(after), false);
        };
        let Overlay { upper, workspace, .. } = self.overlay;
        let mut is_unreadable = false;
        let kind = match (old.node, after.node) {
            (Node::Folder, Node::Folder) => {
                ((old.mode ^ after.mode) & 0o777 != 0).then_some(Kind::Mode(Node::Folder))
            }
            (Node::File, Node::File) => match has_same_content(workspace, upper, &path, &old, &after) {
                Ok(true) => (old.mode != after.mode).then_some(Kind::Mode(Node::File)),
                Ok(false) => Some(Kind::Modified),
                Err(_) => {
                    is_unreadable = true;
                    Some(Kind::Modified)
                }
            },
            (Node::Symlink, Node::Symlink) => match (workspace.target(&path), upper.target(&path)) {
                (Ok(old), Ok(new)) if old == new => None,
                _ => Some(Kind::Modified),
            },
            (from, to) => Some(Kind::Replaced { from, to }),
        };
        match kind {
            Some(kind) => self.found(path, kind, Some(old), Some(after), is_unreadable),
            None => {
                self.idle.push(path);
                Ok(())
            }
        }
    }

    fn deleted(&mut self, path: PathBuf, before: Entry) -> Result<(), OverlayError> {
        self.found(path, Kind::Deleted(before.node), Some(before), None, false)
    }

    fn found(
        &mut self,
        path: PathBuf,
        kind: Kind,
        before: Option<Entry>,
        after: Option<Entry>,
        is_unreadable: bool,
    ) -> Result<(), OverlayError> {
        let overlay = self.overlay;
        let mut change = Change { path, kind, before, after, risks: Vec::new(), host_changed: false };
        let mut risks = risk::of_change(&change, &overlay.protected);
        if is_unreadable {
            risks.push(Risk::Unreadable);
        }
        if let Some(before) = &change.before {
            change.host_changed = self.is_newer(before) && !before.is_folder();
            if before.is_folder() && matches!(kind, Kind::Deleted(_) | Kind::Replaced { .. }) {
                let hidden = self.hidden(&change.path)?;
                change.host_changed = hidden.host_changed;
                risks.extend(hidden.is_protected.then_some(Risk::Protected));
                risks.extend(hidden.is_unreadable.then_some(Risk::Unreadable));
            }
        }
        if change.after.as_ref().is_some_and(|after| after.node == Node::Symlink) {
            let leads_inside = overlay.upper.target(&change.path).is_ok_and(|target| {
                let place = change.path.parent().unwrap_or(Path::new("")).join(OsStr::from_bytes(&target));
                !risk::leads_outside(&change.path, &target) && overlay.workspace.stays_inside(&place)
            });
            risks.extend((!leads_inside).then_some(Risk::LinkOutside));
        }
        if change.path.file_name() == Some(OsStr::new("package.json"))
            && change.after.as_ref().is_some_and(|after| after.node == Node::File)
            && !matches!(kind, Kind::Mode(_))
        {
            let text = |tree: &Tree, entry: &Option<Entry>| match entry {
                Some(entry) if entry.node == Node::File => {
                    read_short(tree, &change.path).map_or_else(|_| Some(b"?".to_vec()), Some)
                }
                _ => None,
            };
            let (old, new) = (text(&overlay.workspace, &change.before), text(&overlay.upper, &change.after));
            risks
                .extend(risk::scripts_differ(old.as_deref(), new.as_deref()).then_some(Risk::PackageScripts));
        }
        change.risks = risk::sorted(risks);
        self.changes.push(change);
        Ok(())
    }

    /// Changed by the host since the overlay began.
    fn is_newer(&self, entry: &Entry) -> bool {
        entry.stamp.ctime > self.begun && !self.applied.contains(&entry.stamp)
    }

    /// What goes when a folder of the workspace goes. Folders' own change times say nothing: they follow what
    /// earlier applies wrote into them.
    pub(super) fn hidden(&mut self, path: &Path) -> Result<Hidden, OverlayError> {
        let mut hidden = Hidden::default();
        let mut stack = vec![path.to_owned()];
        while let Some(folder) = stack.pop() {
            let Ok(entries) = self.overlay.workspace.children(&folder) else {
                (hidden.host_changed, hidden.is_unreadable) = (true, true);
                continue;
            };
            self.count(entries.len())?;
            for (name, entry) in entries {
                if risk::is_temporary(name.as_encoded_bytes()) {
                    continue;
                }
                let path = folder.join(name);
                hidden.is_protected |=
                    risk::is_protected(&path, [Some(entry.node), None], &self.overlay.protected);
                if entry.is_folder() {
                    stack.push(path);
                } else {
                    hidden.host_changed |= self.is_newer(&entry);
                }
            }
        }
        Ok(hidden)
    }

    /// Leaves the mode of a folder as somebody else sets it.
    pub(super) fn keep_mode(&mut self, path: &Path) {
        self.lifted.retain(|(lifted, _)| lifted != path);
    }

    /// Git takes a folder with `HEAD`, `objects` and `refs` for a repository and obeys its `config`, whatever its name.
    fn note_bare_repositories(&mut self) {
        let Overlay { upper, workspace, .. } = self.overlay;
        for change in &mut self.changes {
            let beside = |name: &str| {
                let path = change.path.with_file_name(name);
                [upper, workspace].iter().any(|tree| matches!(tree.entry(&path), Ok(Some(_))))
            };
            let is_config = change.path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("config"));
            if change.after.is_some() && is_config && beside("HEAD") && beside("objects") {
                change.risks.push(Risk::GitConfig);
                change.risks = risk::sorted(std::mem::take(&mut change.risks));
            }
        }
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        for (path, mode) in self.lifted.iter().rev() {
            let _ = self.overlay.upper.set_mode(path, *mode); // gone when it was applied or discarded
        }
    }
}

/// What a deleted or replaced folder held.
#[derive(Default)]
pub(super) struct Hidden {
    pub(super) host_changed: bool,
    is_protected: bool,
    is_unreadable: bool,
}

fn has_same_content(a: &Tree, b: &Tree, path: &Path, old: &Entry, new: &Entry) -> io::Result<bool> {
    if old.size_bytes != new.size_bytes {
        return Ok(false);
    }
    if old.size_bytes == 0 {
        return Ok(true);
    }
    let (mut a, mut b) = (a.file(path)?, b.file(path)?);
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let length = a.read(&mut left)?;
        if length == 0 {
            return Ok(b.read(&mut right)? == 0);
        }
        match b.read_exact(&mut right[..length]) {
            Ok(()) if left[..length] == right[..length] => {}
            Ok(()) => return Ok(false),
            Err(short) if short.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(other) => return Err(other),
        }
    }
}

fn read_short(tree: &Tree, path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    tree.file(path)?.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MANIFEST_BYTES_MAX { Err(Errno::FBIG.into()) } else { Ok(text) }
}
