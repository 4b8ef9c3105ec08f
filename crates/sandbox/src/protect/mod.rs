//! Names in a workspace that the host would execute or obey later, and how they are kept as they are.
//! What exists becomes a read-only mount; what does not exist is reserved by an empty folder for as long as a sandbox runs.
//!
//! A mount needs something to stand on, and only the workspace's own file system decides whether a name exists, so an
//! absent name can be kept absent only by occupying it (CVE-2026-25725 is what happens otherwise). The empty folders are
//! written down in the gate's state before they are made, and the last sandbox of a workspace removes them; whoever finds
//! the list after a crash finishes that.

mod reserve;

pub(crate) use reserve::{Presence, Reserve};

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

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
/// The gate's own folder: not even read.
pub const HIDDEN: &str = ".bailiwick";
/// Names sealed only where they exist: other tools' hooks.
const IF_THERE: [&str; 3] = [".husky", ".githooks", ".gitconfig"];
/// How much of a repository's settings is read, in bytes.
const SETTINGS_BYTES_MAX: u64 = 256 * 1024;

/// What is done about one protected name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Guard {
    /// Relative to the workspace.
    pub(crate) path: PathBuf,
    pub(crate) kind: GuardKind,
}

/// How a name is kept as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GuardKind {
    /// Stays writable within, but cannot be moved away or replaced.
    Pinned,
    /// Read-only.
    Sealed,
    /// Shown as an empty folder that cannot be written to.
    Emptied,
    /// Shown as an empty file that cannot be written to.
    Blank,
}

/// The guards of one workspace, which hold for as long as this does.
#[derive(Debug)]
pub(crate) struct Guards {
    pub(crate) guards: Vec<Guard>,
    _presence: Option<Presence>,
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

/// Gives back the names in `workspace` that sandboxes occupied and, killed, did not give back, unless one runs there now. `state` is
/// where they remember them.
pub fn give_back(workspace: &Path, state: &Path) {
    if let Ok(reserve) = Reserve::of(workspace, state) {
        reserve.give_back();
    }
}

impl Guards {
    /// No guards: nothing is there.
    pub(crate) fn none() -> Self {
        Self { guards: Vec::new(), _presence: None }
    }

    /// Guards for a workspace whose own folder nothing is written to: what must not be read is emptied.
    pub(crate) fn of_existing(workspace: &Path) -> Result<Self, ProtectError> {
        let path = PathBuf::from(HIDDEN);
        let guards = match workspace.join(&path).symlink_metadata() {
            Ok(found) if found.is_symlink() => return Err(ProtectError::new(&path, LINK)),
            Ok(found) if found.is_dir() => vec![Guard { path, kind: GuardKind::Emptied }],
            Ok(_) | Err(_) => Vec::new(),
        };
        Ok(Self { guards, _presence: None })
    }

    /// Guards the standing names and `more` of `workspace`; absent ones are reserved in `reserve`.
    pub(crate) fn take(workspace: &Path, more: &[PathBuf], reserve: &Reserve) -> Result<Self, ProtectError> {
        let is_repository = workspace.join(".git/HEAD").symlink_metadata().is_ok();
        let wanted = wanted(workspace, more, is_repository)?;
        let presence = reserve.take(&wanted)?;
        let mut guards: Vec<Guard> = Vec::with_capacity(wanted.len());
        for path in &wanted {
            pin_above(&mut guards, path);
            let found = workspace
                .join(path)
                .symlink_metadata()
                .map_err(|error| ProtectError::new(path, format!("cannot be kept as it is: {error}")))?;
            if found.is_symlink() {
                return Err(ProtectError::new(path, LINK));
            }
            let kind = match path.to_str() {
                Some(HIDDEN) => GuardKind::Emptied,
                Some(".git") if found.is_dir() && is_repository => GuardKind::Pinned,
                _ => GuardKind::Sealed,
            };
            match guards.iter_mut().find(|guard| guard.path == *path) {
                Some(guard) => guard.kind = kind,
                None => guards.push(Guard { path: path.clone(), kind }),
            }
        }
        Ok(Self { guards, _presence: Some(presence) })
    }

    /// The same, and each of `paths` that exists in `workspace` shown empty.
    pub(crate) fn with_blank(mut self, workspace: &Path, paths: &[PathBuf]) -> Result<Self, ProtectError> {
        for path in paths {
            is_below(path)?;
            let found = match workspace.join(path).symlink_metadata() {
                Ok(found) if found.is_symlink() => return Err(ProtectError::new(path, LINK)),
                Ok(found) => found,
                // Nothing to hide: what is made there later is made by whoever may read it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(ProtectError::new(path, format!("cannot be hidden: {error}"))),
            };
            pin_above(&mut self.guards, path);
            let kind = if found.is_dir() { GuardKind::Emptied } else { GuardKind::Blank };
            match self.guards.iter_mut().find(|guard| guard.path == *path) {
                Some(guard) => guard.kind = kind,
                None => self.guards.push(Guard { path: path.clone(), kind }),
            }
        }
        Ok(self)
    }
}

/// Pins whatever leads to a name, or it could be moved away together with the name.
fn pin_above(guards: &mut Vec<Guard>, path: &Path) {
    let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|above| above.parent().is_some()).collect();
    above.reverse();
    for path in above {
        if !guards.iter().any(|guard| guard.path == path) {
            guards.push(Guard { path: path.to_owned(), kind: GuardKind::Pinned });
        }
    }
}

fn is_below(path: &Path) -> Result<(), ProtectError> {
    if path.components().all(|part| matches!(part, Component::Normal(_))) && !path.as_os_str().is_empty() {
        return Ok(());
    }
    Err(ProtectError::new(path, "a path in the workspace is relative to it, without `..`"))
}

const LINK: &str = "is a symbolic link, which cannot be kept from being replaced; make it a file or folder, or use an overlay";

/// All names to guard, relative to the workspace.
fn wanted(
    workspace: &Path,
    more: &[PathBuf],
    is_repository: bool,
) -> Result<BTreeSet<PathBuf>, ProtectError> {
    let mut wanted: BTreeSet<PathBuf> = NAMES.iter().map(PathBuf::from).collect();
    wanted.extend(IF_THERE.iter().map(PathBuf::from).filter(|path| workspace.join(path).exists()));
    for path in more {
        is_below(path)?;
        wanted.insert(path.clone());
    }
    let git = Path::new(".git");
    if is_repository {
        wanted.extend(GIT_NAMES.iter().map(|name| git.join(name)));
        wanted.extend(led_to(workspace));
    } else {
        // Otherwise a folder with the right files in it is a bare repository, with settings that run programs.
        wanted.insert(PathBuf::from("refs"));
    }
    Ok(wanted)
}

/// Where the repository's own settings lead within the workspace: a folder of hooks, more settings. The settings are only
/// scanned: a value that is missed is as unprotected as it was, one too many is only protected.
fn led_to(workspace: &Path) -> Vec<PathBuf> {
    let mut text = Vec::new();
    let Ok(file) = std::fs::File::open(workspace.join(".git/config")) else { return Vec::new() };
    if file.take(SETTINGS_BYTES_MAX).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let base = match key.trim().to_ascii_lowercase().as_str() {
            "hookspath" => workspace.to_owned(),
            "path" => workspace.join(".git"),
            _ => return None,
        };
        let path = plain(&base.join(value.trim().trim_matches('"')));
        path.strip_prefix(workspace).ok().map(Path::to_owned)
    });
    values.filter(|path| !path.as_os_str().is_empty() && !path.starts_with(".git")).collect()
}

/// The path without `.` and `..`, by its words alone.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(
        workspace: &tempfile::TempDir,
        more: &[PathBuf],
        state: &tempfile::TempDir,
    ) -> Result<(Guards, Reserve), ProtectError> {
        let reserve = Reserve::of(workspace.path(), state.path())?;
        Ok((Guards::take(workspace.path(), more, &reserve)?, reserve))
    }

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
        let (guards, reserve) = take(&workspace, &["ci".into()], &state).unwrap();
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
        drop(guards);
        reserve.give_back();
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
        let (first, reserve) = take(&workspace, &[], &state).unwrap();
        let (second, _) = take(&workspace, &[], &state).unwrap();
        drop(first);
        reserve.give_back();
        assert!(workspace.path().join(".envrc").is_dir());
        drop(second);
        reserve.give_back();
        let left: Vec<_> = std::fs::read_dir(workspace.path()).unwrap().collect();
        assert!(left.is_empty(), "also what the second found in place of a repository: {left:?}");
    }

    #[test]
    fn what_a_crash_left_is_given_back_by_the_next() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        drop(take(&workspace, &[], &state).unwrap());
        assert!(workspace.path().join(".envrc").is_dir(), "dropped as by a crash");
        let (guards, reserve) = take(&workspace, &[], &state).unwrap();
        drop(guards);
        reserve.give_back();
        assert!(!workspace.path().join(".envrc").exists());
    }

    #[test]
    fn what_somebody_filled_is_theirs() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (guards, reserve) = take(&workspace, &[], &state).unwrap();
        std::fs::write(workspace.path().join(".vscode/settings.json"), "{}").unwrap();
        drop(guards);
        reserve.give_back();
        assert!(workspace.path().join(".vscode/settings.json").exists());
        assert!(!workspace.path().join(".idea").exists());
    }

    #[test]
    fn a_link_in_place_of_a_name_is_refused() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink("elsewhere", workspace.path().join(".vscode")).unwrap();
        let error = take(&workspace, &[], &state).unwrap_err();
        assert!(error.to_string().contains(".vscode"), "{error}");
    }

    #[test]
    fn nothing_outside_is_touched() {
        let (room, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (workspace, outside) = (room.path().join("w"), room.path().join("out"));
        std::fs::create_dir_all(outside.join("empty")).unwrap();
        std::fs::create_dir(&workspace).unwrap();
        std::os::unix::fs::symlink(&outside, workspace.join("ci")).unwrap();
        let reserve = Reserve::of(&workspace, state.path()).unwrap();
        assert!(Guards::take(&workspace, &["ci/deploy".into()], &reserve).is_err());
        assert!(!outside.join("deploy").exists(), "a link led the gate outside");
        let list = std::fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().path());
        let list = list.into_iter().find(|path| path.extension().is_none() && path.is_file()).unwrap();
        std::fs::write(&list, b"../out/empty\0.envrc\0").unwrap();
        reserve.give_back();
        assert!(outside.join("empty").exists(), "a name on the list led the gate outside");
    }

    #[test]
    fn what_is_hidden_is_shown_empty_and_cannot_be_moved_away() {
        let (workspace, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(workspace.path().join("api/keys")).unwrap();
        std::fs::write(workspace.path().join("api/.env"), "KEY=1\n").unwrap();
        let (guards, reserve) = take(&workspace, &[], &state).unwrap();
        let hidden = ["api/.env", "api/keys", "absent/.env"].map(PathBuf::from);
        let guards = guards.with_blank(workspace.path(), &hidden).unwrap();
        let found = kinds(&guards);
        for (path, kind) in
            [("api", GuardKind::Pinned), ("api/.env", GuardKind::Blank), ("api/keys", GuardKind::Emptied)]
        {
            assert!(found.contains(&(path.to_owned(), kind)), "{path}: {found:?}");
        }
        assert!(!found.iter().any(|(path, _)| path.starts_with("absent")), "{found:?}");
        assert!(!workspace.path().join("absent").exists(), "nothing is made for what is not there");
        for wrong in ["/etc/passwd", "../x", ""] {
            assert!(Guards::none().with_blank(workspace.path(), &[wrong.into()]).is_err(), "{wrong}");
        }
        std::os::unix::fs::symlink("api/.env", workspace.path().join("link")).unwrap();
        assert!(Guards::none().with_blank(workspace.path(), &["link".into()]).is_err());
        drop(guards);
        reserve.give_back();
    }

    #[test]
    fn settings_lead_to_what_is_guarded() {
        let workspace = tempfile::tempdir().unwrap();
        std::fs::create_dir(workspace.path().join(".git")).unwrap();
        let text = "[core]\n\thooksPath = scripts/hooks\n[include]\n path = ../.extra\n[include]\npath=/etc/gitconfig\n";
        std::fs::write(workspace.path().join(".git/config"), text).unwrap();
        assert_eq!(led_to(workspace.path()), [PathBuf::from("scripts/hooks"), ".extra".into()]);
    }
}
