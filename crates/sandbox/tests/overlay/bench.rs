//! A workspace and an overlay in a temporary folder, and shorthand to fill and read them.

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use sandbox::overlay::{Allow, Applied, Change, Kind, Outcome, Overlay, Selection, Skip};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) workspace: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) upper: PathBuf,
}

/// A workspace made by `lay`, and its overlay.
pub(crate) fn bench(lay: impl FnOnce(&Path)) -> (Bench, Overlay) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (workspace, state, upper) = (root.join("work space"), root.join("state"), root.join("state/upper"));
    fs::create_dir(&workspace).unwrap();
    lay(&workspace);
    let overlay = Overlay::open(&state, &workspace).unwrap();
    (Bench { dir, workspace, state, upper }, overlay)
}

/// `text` at `path`, with the folders above it.
pub(crate) fn put(root: &Path, path: &str, text: &str) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), text).unwrap();
    chmod(&root.join(path), 0o644);
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn whiteout(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

pub(crate) fn opaque(path: &Path) {
    rustix::fs::setxattr(path, "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
}

pub(crate) fn get(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|found| found.kind().to_string())
}

/// Everything below a folder: kind, mode, content.
pub(crate) fn snapshot(root: &Path) -> BTreeMap<PathBuf, (char, u32, Vec<u8>)> {
    let (mut all, mut stack) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = stack.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let seen = if meta.is_dir() {
                stack.push(path.clone());
                ('d', meta.mode() & 0o7777, Vec::new())
            } else if meta.is_symlink() {
                ('l', 0, fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                ('f', meta.mode() & 0o7777, fs::read(&path).unwrap())
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), seen);
        }
    }
    all
}

pub(crate) fn listed(overlay: &Overlay) -> Vec<(String, Kind)> {
    let changes = overlay.changes().unwrap();
    changes.iter().map(|change| (change.path.display().to_string(), change.kind)).collect()
}

pub(crate) fn outcomes(all: Vec<Applied>) -> Vec<(String, Option<Skip>)> {
    let outcome = |one: Applied| match one.outcome {
        Outcome::Done => (one.path.display().to_string(), None),
        Outcome::Skipped(skip) => (one.path.display().to_string(), Some(skip)),
    };
    all.into_iter().map(outcome).collect()
}

pub(crate) fn paths(of: &[&str]) -> Selection {
    Selection::Paths(of.iter().map(PathBuf::from).collect())
}

pub(crate) const ALL: Allow = Allow { protected: true, links_outside: true, conflicts: true };

pub(crate) fn change_of(overlay: &Overlay, path: &str) -> Change {
    let found = overlay.changes().unwrap().into_iter().find(|change| change.path == Path::new(path));
    found.unwrap_or_else(|| panic!("no change at {path}"))
}

/// Waits until a file made now is later than the overlay, by the file system's clock.
pub(crate) fn after_the_beginning(bench: &Bench, write: impl Fn()) {
    let begun = fs::metadata(bench.state.join("workspace")).unwrap();
    loop {
        write();
        let probe = bench.dir.path().join("probe");
        let _ = fs::remove_file(&probe);
        fs::write(&probe, "").unwrap();
        let now = fs::metadata(&probe).unwrap();
        if (now.ctime(), now.ctime_nsec()) > (begun.ctime(), begun.ctime_nsec()) {
            return write();
        }
    }
}
