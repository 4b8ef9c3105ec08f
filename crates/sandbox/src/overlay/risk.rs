//! What a change could do to the host once it is there, as data: patterns of names beside notes. A note never decides
//! by itself; it is what a person reads before they apply, and protected names need to be named by them.

use super::changes::{Change, Kind};
use super::shown::is_plain;
use super::tree::{Node, is_reachable};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// From this length on a file is noted as very large, in bytes.
pub const LARGE_BYTES_MIN: u64 = 64 << 20;

/// Names of temporary files that an apply leaves when it is killed: this, then sixteen hexadecimal digits.
pub(super) const TEMPORARY: &str = ".bailiwick-apply-";

macro_rules! risks {
    ($($variant:ident $note:literal)*) => {
        /// Why a change deserves a second look.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Risk {
            $(#[doc = concat!("It ", $note, ".")] $variant,)*
        }

        impl Risk {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// What the change does, to follow "it".
            pub fn note(self) -> &'static str {
                match self { $(Self::$variant => $note),* }
            }
        }
    };
}

risks! {
    Protected "touches a protected path; it is applied only when named"
    GitHook "adds an executable hook"
    GitConfig "changes git settings, which can run commands"
    GitRedirect "points git at another repository and its settings"
    GitUnfinished "changes an unfinished git operation, which can run commands when continued"
    Environment "runs when a shell enters the folder"
    Editor "changes editor settings that run things"
    Agent "changes what an agent is told or allowed"
    Bailiwick "changes the gate's own policy or settings"
    Pipeline "changes what continuous integration runs"
    PackageScripts "changes what a package manager or build runs"
    Executable "becomes executable"
    SetId "asks for set-user-id or set-group-id, which is not applied"
    LinkOutside "is a symbolic link that leads outside the workspace"
    LinkReplaces "puts a symbolic link where a file or folder was"
    Special "is a fifo, socket or device, which is not applied"
    OddName "has a name with invisible, reordering or control characters"
    Large "is very large"
    Reserved "bears a name reserved for temporary files, which is not applied"
    TooDeep "lies too deep to be read, and is not applied"
    Unreadable "cannot be compared: its mode, or that of what it hides, forbids reading"
}

#[derive(Clone, Copy, PartialEq)]
enum On {
    Any,
    /// `.git` as a folder is ordinary; as a file or link it redirects.
    NotFolder,
}
use On::{Any, NotFolder};

/// Pattern, on what, note, protected. Components match at any depth, ASCII case aside (file systems and git fold it);
/// `*` stands for any part of one name, `**` at the end for the folder and all below.
#[rustfmt::skip]
const NAMES: &[(&str, On, Risk, bool)] = &[
    (".git/hooks/**",            Any, Risk::GitHook, true),
    (".githooks/**",             Any, Risk::GitHook, true),
    (".husky/**",                Any, Risk::GitHook, true),
    (".git/config",              Any, Risk::GitConfig, true),
    (".git/config.worktree",     Any, Risk::GitConfig, true),
    (".git/config.lock",         Any, Risk::GitConfig, true),
    (".git/modules/**",          Any, Risk::GitConfig, true),
    (".git/worktrees/**",        Any, Risk::GitConfig, true),
    (".git/info/attributes",     Any, Risk::GitConfig, false),
    (".gitattributes",           Any, Risk::GitConfig, false),
    (".gitmodules",              Any, Risk::GitConfig, false),
    (".lfsconfig",               Any, Risk::GitConfig, false),
    (".git/commondir",           Any, Risk::GitRedirect, true),
    (".git/gitdir",              Any, Risk::GitRedirect, true),
    (".git/objects/info/alternates", Any, Risk::GitRedirect, false),
    (".git",                     NotFolder, Risk::GitRedirect, true),
    (".git/rebase-merge/**",     Any, Risk::GitUnfinished, false),
    (".git/rebase-apply/**",     Any, Risk::GitUnfinished, false),
    (".git/sequencer/**",        Any, Risk::GitUnfinished, false),
    (".envrc",                   Any, Risk::Environment, true),
    ("mise.toml",                Any, Risk::Environment, false),
    (".mise.toml",               Any, Risk::Environment, false),
    (".autoenv",                 Any, Risk::Environment, true),
    (".bashrc",                  Any, Risk::Environment, true),
    (".bash_profile",            Any, Risk::Environment, true),
    (".profile",                 Any, Risk::Environment, true),
    (".zshrc",                   Any, Risk::Environment, true),
    (".zshenv",                  Any, Risk::Environment, true),
    (".zprofile",                Any, Risk::Environment, true),
    (".gitconfig",               Any, Risk::GitConfig, true),
    (".vscode/**",               Any, Risk::Editor, true),
    ("*.code-workspace",         Any, Risk::Editor, true),
    (".idea/**",                 Any, Risk::Editor, true),
    (".zed/**",                  Any, Risk::Editor, true),
    (".devcontainer/**",         Any, Risk::Editor, true),
    (".devcontainer.json",       Any, Risk::Editor, true),
    (".nvim.lua",                Any, Risk::Editor, true),
    (".nvimrc",                  Any, Risk::Editor, true),
    (".exrc",                    Any, Risk::Editor, true),
    (".vimrc",                   Any, Risk::Editor, true),
    (".dir-locals.el",           Any, Risk::Editor, true),
    (".dir-locals-2.el",         Any, Risk::Editor, true),
    (".mcp.json",                Any, Risk::Agent, true),
    (".claude/**",               Any, Risk::Agent, true),
    (".claude.json",             Any, Risk::Agent, true),
    (".cursor/**",               Any, Risk::Agent, true),
    (".cursorrules",             Any, Risk::Agent, true),
    (".codex/**",                Any, Risk::Agent, true),
    (".gemini/**",               Any, Risk::Agent, true),
    (".windsurf/**",             Any, Risk::Agent, true),
    (".github/copilot-instructions.md", Any, Risk::Agent, false),
    ("CLAUDE.md",                Any, Risk::Agent, false),
    ("CLAUDE.local.md",          Any, Risk::Agent, false),
    ("AGENTS.md",                Any, Risk::Agent, false),
    ("GEMINI.md",                Any, Risk::Agent, false),
    (".bailiwick/**",            Any, Risk::Bailiwick, true),
    (".github/workflows/**",     Any, Risk::Pipeline, false),
    (".github/actions/**",       Any, Risk::Pipeline, false),
    (".gitlab-ci.yml",           Any, Risk::Pipeline, false),
    (".circleci/**",             Any, Risk::Pipeline, false),
    (".buildkite/**",            Any, Risk::Pipeline, false),
    ("Jenkinsfile",              Any, Risk::Pipeline, false),
    ("azure-pipelines.yml",      Any, Risk::Pipeline, false),
    (".travis.yml",              Any, Risk::Pipeline, false),
    ("Makefile",                 Any, Risk::PackageScripts, false), // matches `makefile` too
    ("GNUmakefile",              Any, Risk::PackageScripts, false),
    ("justfile",                 Any, Risk::PackageScripts, false),
    ("build.rs",                 Any, Risk::PackageScripts, false),
    (".cargo/config.toml",       Any, Risk::PackageScripts, false),
    (".cargo/config",            Any, Risk::PackageScripts, false),
    ("setup.py",                 Any, Risk::PackageScripts, false),
    ("conftest.py",              Any, Risk::PackageScripts, false),
    ("sitecustomize.py",         Any, Risk::PackageScripts, false),
    ("*.pth",                    Any, Risk::PackageScripts, false),
    (".npmrc",                   Any, Risk::PackageScripts, false),
    (".yarnrc.yml",              Any, Risk::PackageScripts, false),
    (".pnpmfile.cjs",            Any, Risk::PackageScripts, false),
    (".pre-commit-config.yaml",  Any, Risk::PackageScripts, false),
    ("gradlew",                  Any, Risk::PackageScripts, false),
    ("build.gradle",             Any, Risk::PackageScripts, false),
    ("build.gradle.kts",         Any, Risk::PackageScripts, false),
];

/// What can be told from a change alone, without reading it: sorted.
pub(super) fn of_change(change: &Change, protected: &[PathBuf]) -> Vec<Risk> {
    let mut risks = Vec::new();
    if is_protected(&change.path, nodes(change), protected) {
        risks.push(Risk::Protected);
    }
    if !is_plain(change.path.file_name().unwrap_or_default().as_bytes()) {
        risks.push(Risk::OddName);
    }
    if !is_reachable(&change.path) {
        risks.push(Risk::TooDeep);
    }
    if let Some(after) = &change.after {
        risks.extend(named(&change.path, nodes(change)).map(|(_, _, risk, _)| *risk));
        if is_temporary(change.path.file_name().unwrap_or_default().as_bytes()) {
            risks.push(Risk::Reserved);
        }
        let old_mode = change.before.as_ref().filter(|old| old.node == Node::File).map_or(0, |old| old.mode);
        match after.node {
            Node::File => {
                if after.mode & !old_mode & 0o111 != 0 {
                    risks.push(Risk::Executable);
                }
                if after.mode & 0o6000 != 0 {
                    risks.push(Risk::SetId);
                }
                if after.size_bytes >= LARGE_BYTES_MIN {
                    risks.push(Risk::Large);
                }
            }
            Node::Symlink if matches!(change.kind, Kind::Replaced { .. }) => risks.push(Risk::LinkReplaces),
            Node::Other => risks.push(Risk::Special),
            Node::Folder | Node::Symlink => {}
        }
    }
    sorted(risks)
}

pub(super) fn sorted(mut risks: Vec<Risk>) -> Vec<Risk> {
    risks.sort_unstable();
    risks.dedup();
    risks
}

/// Whether a path lies at or below one that only a person may change: the given ones, relative to the workspace, and
/// the built-in ones at any depth. `nodes` are what stood, or will stand, there.
pub(super) fn is_protected(path: &Path, nodes: [Option<Node>; 2], protected: &[PathBuf]) -> bool {
    // What is no folder, above a protected path, stands in its place: a link there would lead to a planted one.
    let is_other = nodes.into_iter().flatten().any(|node| node != Node::Folder);
    protected.iter().any(|other| path.starts_with(other) || (is_other && other.starts_with(path)))
        || named(path, nodes).any(|entry| entry.3)
}

/// Whether a name is one that [`TEMPORARY`] describes.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(TEMPORARY.as_bytes())
        .is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
}

/// Whether the target of a link at `path` can lead outside, by its text alone. Its folder is real, so `..` in front
/// counts exactly; behind a name, which may be another link, it cannot be told and counts as outside.
pub(super) fn leads_outside(path: &Path, target: &[u8]) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    let mut is_named = false;
    for component in Path::new(std::ffi::OsStr::from_bytes(target)).components() {
        match component {
            Component::RootDir | Component::Prefix(_) => return true,
            Component::CurDir => {}
            Component::Normal(_) => is_named = true,
            Component::ParentDir if is_named || depth == 0 => return true,
            Component::ParentDir => depth -= 1,
        }
    }
    false
}

/// Whether what a package manager runs differs between two versions of `package.json`; anything unreadable differs.
pub(super) fn scripts_differ(before: Option<&[u8]>, after: Option<&[u8]>) -> bool {
    const RUN: [&str; 5] = ["scripts", "bin", "lint-staged", "simple-git-hooks", "husky"];
    let run = |text: Option<&[u8]>| -> Result<Vec<serde_json::Value>, serde_json::Error> {
        let Some(text) = text else { return Ok(vec![serde_json::Value::Null; RUN.len()]) };
        let parsed: serde_json::Value = serde_json::from_slice(text)?;
        Ok(RUN.iter().map(|key| parsed.get(key).cloned().unwrap_or_default()).collect())
    };
    match (run(before), run(after)) {
        (Ok(before), Ok(after)) => before != after,
        _ => true,
    }
}

fn nodes(change: &Change) -> [Option<Node>; 2] {
    [change.before.as_ref().map(|entry| entry.node), change.after.as_ref().map(|entry| entry.node)]
}

fn named(
    path: &Path,
    nodes: [Option<Node>; 2],
) -> impl Iterator<Item = &'static (&'static str, On, Risk, bool)> {
    let names: Vec<&[u8]> = path.iter().map(OsStrExt::as_bytes).collect();
    let is_other = nodes.into_iter().flatten().any(|node| node != Node::Folder);
    NAMES.iter().filter(move |(pattern, on, ..)| {
        (*on == Any || is_other) && (0..names.len()).any(|start| matches(pattern, &names[start..]))
    })
}

fn matches(pattern: &str, names: &[&[u8]]) -> bool {
    let mut names = names.iter();
    for part in pattern.split('/') {
        if part == "**" {
            return true;
        }
        let Some(name) = names.next() else { return false };
        let is_match = match part.strip_prefix('*') {
            Some(tail) => {
                name.len() > tail.len()
                    && name[name.len() - tail.len()..].eq_ignore_ascii_case(tail.as_bytes())
            }
            None => name.eq_ignore_ascii_case(part.as_bytes()),
        };
        if !is_match {
            return false;
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_any_depth_beside_their_neighbours() {
        let file = [None, Some(Node::File)];
        for (path, risk, neighbour) in [
            (".git/hooks/post-checkout", Risk::GitHook, ".git/hook/post-checkout"),
            ("sub/.git/HOOKS/x", Risk::GitHook, "sub/git/hooks/x"),
            (".husky/pre-commit", Risk::GitHook, "husky/pre-commit"),
            (".githooks/a", Risk::GitHook, ".githooks2/a"),
            (".git/config", Risk::GitConfig, ".git/config.old"),
            (".git/modules/m/config", Risk::GitConfig, ".git/module/m/config"),
            (".gitattributes", Risk::GitConfig, "gitattributes"),
            (".gitmodules", Risk::GitConfig, ".gitignore"),
            (".git", Risk::GitRedirect, ".gitkeep"),
            (".git/commondir", Risk::GitRedirect, ".git/HEAD"),
            (".git/rebase-merge/git-rebase-todo", Risk::GitUnfinished, ".git/refs/heads/rebase"),
            ("a/b/.envrc", Risk::Environment, "a/b/.envrc.example"),
            (".vscode/tasks.json", Risk::Editor, "vscode/tasks.json"),
            ("x.code-workspace", Risk::Editor, ".code-workspace"),
            (".idea/workspace.xml", Risk::Editor, "idea"),
            ("d/.exrc", Risk::Editor, "d/exrc"),
            (".mcp.json", Risk::Agent, "mcp.json"),
            (".claude/settings.json", Risk::Agent, "claude/settings.json"),
            ("docs/AGENTS.md", Risk::Agent, "docs/AGENTS.txt"),
            ("CLAUDE.md", Risk::Agent, "CLAUDE.md.bak"),
            (".bailiwick/policy/a.cedar", Risk::Bailiwick, "bailiwick/policy/a.cedar"),
            (".github/workflows/ci.yml", Risk::Pipeline, ".github/workflow/ci.yml"),
            (".gitlab-ci.yml", Risk::Pipeline, "gitlab-ci.yml"),
            ("sub/Makefile", Risk::PackageScripts, "sub/Makefile.am"),
            ("build.rs", Risk::PackageScripts, "rebuild.rs"),
            ("setup.py", Risk::PackageScripts, "setup.pyi"),
            ("tests/conftest.py", Risk::PackageScripts, "tests/conftest.pyc"),
            (".npmrc", Risk::PackageScripts, "npmrc"),
            (".pre-commit-config.yaml", Risk::PackageScripts, ".pre-commit-hooks.yaml"),
        ] {
            assert!(named(Path::new(path), file).any(|entry| entry.2 == risk), "{path}");
            assert!(!named(Path::new(neighbour), file).any(|entry| entry.2 == risk), "{neighbour}");
        }
        assert!(named(Path::new(".git"), [None, Some(Node::Folder)]).next().is_none());
    }

    #[test]
    fn protected_paths() {
        let file = [None, Some(Node::File)];
        let given = [PathBuf::from("secret/keys"), PathBuf::from("LICENSE")];
        for (path, expected) in [
            ("secret/keys", true),
            ("secret/keys/a", true),
            ("secret/keys2", false),
            ("secret", true), // a file or link where its folder belongs
            ("secrets", false),
            ("sub/LICENSE", false), // a given path is exact; only built-in names hold at any depth
            ("LICENSE", true),
            ("sub/.envrc", true),
            ("CLAUDE.md", false),
            (".git/worktrees/w/gitdir", true),
            (".git/objects/ab/cd", false),
        ] {
            assert_eq!(is_protected(Path::new(path), file, &given), expected, "{path}");
        }
    }

    #[test]
    fn links_that_leave() {
        for (path, target, outside) in [
            ("l", "/etc", true),
            ("l", "a/b", false),
            ("l", "..", true),
            ("d/l", "..", false),
            ("d/l", "../..", true),
            ("d/e/l", "../../x/y", false),
            ("d/l", "../x/../y", true), // x may be a link
            ("d/l", "./.././x", false),
        ] {
            assert_eq!(leads_outside(Path::new(path), target.as_bytes()), outside, "{path} -> {target}");
        }
    }

    #[test]
    fn package_scripts() {
        for (before, after, expected) in [
            (None, Some(r#"{"scripts":{"postinstall":"x"}}"#), true),
            (None, Some(r#"{"name":"a"}"#), false),
            (
                Some(r#"{"scripts":{"t":"x"},"version":"1"}"#),
                Some(r#"{"version":"2","scripts":{"t":"x"}}"#),
                false,
            ),
            (Some(r#"{"scripts":{"t":"x"}}"#), Some(r#"{"scripts":{"t":"y"}}"#), true),
            (Some("{}"), Some("{"), true),
        ] {
            let (before, after) = (before.map(str::as_bytes), after.map(str::as_bytes));
            assert_eq!(scripts_differ(before, after), expected, "{after:?}");
        }
    }

    #[test]
    fn temporary_names() {
        assert!(is_temporary(b".bailiwick-apply-0123456789abcdef"));
        assert!(!is_temporary(b".bailiwick-apply-notes"));
        assert!(!is_temporary(b".bailiwick"));
    }

    #[test]
    fn every_risk_of_the_table_has_its_own_note() {
        let notes: std::collections::BTreeSet<_> = Risk::ALL.iter().map(|risk| risk.note()).collect();
        assert_eq!(notes.len(), Risk::ALL.len());
    }
}
