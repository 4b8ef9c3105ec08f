//! Whether an attack got out, seen from the host. What an attack says about errors is never asked.

use crate::ground::{Case, Ground, Range, SECRET, Said};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Escaped,
    Contained,
    /// Nothing ran, so nothing was learnt.
    NotBegun,
}

/// Names the host would execute or obey; see `protect.rs`.
const PROTECTED: [&str; 21] = [
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
    ".git/config",
    ".git/config.worktree",
    ".git/hooks",
    ".git/modules",
    ".git/worktrees",
    ".git/commondir",
    "ci/deploy",
];
/// Stages on which the sandbox may refuse to run at all.
const REFUSABLE: [&str; 4] = ["two-runs-link", "deep-link", "state-inside", "gate-link"];

/// How the host was before the attack.
pub(crate) struct Before {
    protected: BTreeMap<PathBuf, String>,
    shown: BTreeMap<PathBuf, String>,
    work: BTreeMap<PathBuf, String>,
    out: Vec<PathBuf>,
    out_changed: (i64, i64),
    victim: String,
    semaphores: usize,
}

impl Before {
    pub(crate) fn look(range: &Range, ground: &Ground) -> Self {
        let out = fs::metadata(ground.at("out")).unwrap();
        Self {
            protected: protected(&ground.work),
            shown: tree(&ground.at("shown"), true),
            work: tree(&ground.work, false),
            out: names(&ground.at("out")),
            out_changed: (out.mtime(), out.mtime_nsec()),
            victim: victim(ground.victim.id()),
            semaphores: semaphores(range, ground),
        }
    }
}

pub(crate) fn judge(range: &Range, ground: &Ground, case: &Case, before: &Before, said: &Said) -> Verdict {
    let token = &ground.token;
    let holds =
        |path: &str, text: &str| fs::read_to_string(ground.at(path)).is_ok_and(|all| all.contains(text));
    let escaped = match case.effect.as_str() {
        "secret" => said.output.contains(SECRET) || holds_secret(&ground.work, case),
        "proved" => said.output.contains(&format!("PROVED-{token}")),
        "changed" => !holds("out/canary", SECRET),
        "moved" => !ground.work.join("file").exists(),
        "protected" => protected(&ground.work) != before.protected,
        "changed-shown" => tree(&ground.at("shown"), true) != before.shown,
        "workspace-changed" => tree(&ground.work, false) != before.work,
        "arrived" | "executed-near" => range.arrived(ground.person).contains(token),
        "semaphore" => {
            std::thread::sleep(std::time::Duration::from_millis(300));
            semaphores(range, ground) > before.semaphores
        }
        "executed" => holds("out/executed", token),
        "planted-outside" => {
            let out = fs::metadata(ground.at("out")).unwrap();
            names(&ground.at("out")) != before.out || (out.mtime(), out.mtime_nsec()) != before.out_changed
        }
        "odd" => {
            let upper = ground.at("overlay/upper");
            odd(&ground.work, &["suid", "setid-id"]) || odd(&upper, &[])
        }
        "odd-content" => ["work/suid", "overlay/upper/suid"].iter().any(|file| {
            holds(file, token) && fs::metadata(ground.at(file)).is_ok_and(|found| found.mode() & 0o6000 != 0)
        }),
        "odd-upper" => believed(&ground.at("overlay/upper")) || believed(&ground.work),
        // A process that was killed takes a moment to be seen dead.
        "victim" => (0..10).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            victim(ground.victim.id()) != before.victim
        }),
        "survivor" => end_survivors(token) > 0,
        "crowded" => said.was_crowded,
        other => panic!("no such effect: {other}"),
    };
    let ran = said.output.contains(&format!("BEGUN-{token}"));
    // Whatever an attack left running outside ends with it.
    end_survivors(token);
    match (escaped, ran) {
        (true, _) => Verdict::Escaped,
        (false, true) => Verdict::Contained,
        (false, false) if REFUSABLE.contains(&case.stage.as_str()) && said.error.contains("confine:") => {
            Verdict::Contained
        }
        (false, false) => Verdict::NotBegun,
    }
}

/// How often the neighbour found its semaphore raised.
fn semaphores(range: &Range, ground: &Ground) -> usize {
    range.arrived(ground.person).matches("SEMAPHORE").count()
}

/// The secret was copied into the workspace, where stages do not put it themselves.
fn holds_secret(work: &Path, case: &Case) -> bool {
    if ["gate", "gate-link", "others-file", "hidden"].contains(&case.stage.as_str()) {
        return false;
    }
    let mut found = false;
    walk(work, &mut |path, data| {
        found |=
            data.is_file() && fs::read(path).is_ok_and(|all| String::from_utf8_lossy(&all).contains(SECRET));
    });
    found
}

fn protected(work: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let git = work.join(".git");
    if let Ok(found) = git.symlink_metadata() {
        let is_used = found.is_dir() && git.join("config").is_file();
        let content = if found.is_file() { fs::read_to_string(&git).unwrap() } else { String::new() };
        all.insert(
            git.clone(),
            format!("{:?} {} {content}", found.file_type(), if is_used { found.ino() } else { 0 }),
        );
        if !is_used && found.is_dir() {
            all.extend(tree(&git, false));
        }
    }
    for name in PROTECTED {
        all.extend(tree(&work.join(name), false));
    }
    all
}

/// Everything at and below `top`: kind, mode, content, and the time of change where asked for.
fn tree(top: &Path, with_times: bool) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    walk(top, &mut |path, data| {
        let content = if data.is_file() {
            format!("{:?}", fs::read(path).unwrap_or_default())
        } else if data.is_symlink() {
            format!("{:?}", fs::read_link(path))
        } else {
            String::new()
        };
        let time = if with_times { data.mtime_nsec() } else { 0 };
        all.insert(path.to_owned(), format!("{:o} {time} {content}", data.permissions().mode()));
    });
    all
}

fn walk(path: &Path, look: &mut impl FnMut(&Path, &fs::Metadata)) {
    let Ok(data) = path.symlink_metadata() else { return };
    look(path, &data);
    if data.is_dir() {
        names(path).iter().for_each(|name| walk(name, look));
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

/// A set-id bit, a device, or a security attribute anywhere but at `known`.
fn odd(top: &Path, known: &[&str]) -> bool {
    let mut found = false;
    walk(top, &mut |path, data| {
        let is_known = known.iter().any(|name| path.ends_with(name));
        let kind = data.file_type();
        let has_bit = !data.is_symlink() && data.mode() & 0o6000 != 0;
        let has_attribute = attributes(path)
            .iter()
            .any(|name| name.starts_with("security.cap") || name.starts_with("trusted."));
        found |= !is_known && (has_bit || kind.is_block_device() || kind.is_char_device() || has_attribute);
    });
    found
}

/// Attributes that an overlay would obey, put on by name and not by the overlay itself.
fn believed(top: &Path) -> bool {
    const OBEYED: [&str; 3] = ["user.overlay.redirect", "user.overlay.metacopy", "user.overlay.whiteout"];
    let mut found = false;
    walk(top, &mut |path, _| {
        found |= attributes(path).iter().any(|name| OBEYED.contains(&name.as_str()));
    });
    found
}

fn attributes(path: &Path) -> Vec<String> {
    let mut buffer = vec![0; 4_096];
    let length = rustix::fs::llistxattr(path, &mut buffer[..]).unwrap_or(0);
    buffer[..length].split(|byte| *byte == 0).map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// All that others could change about a process.
fn victim(id: u32) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // State, priority, nice, policy.
    let told: Vec<&str> =
        [3, 18, 19, 41].iter().filter_map(|number| fields.get(number - 3).copied()).collect();
    let status = read("status");
    let cpus = status.lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap_or_default();
    // Starting is no state: it sleeps as soon as it gets to it.
    let told = told.join(" ").replace(['R', 'D'], "S");
    format!("{told} {cpus} {} {}", read("limits"), read("oom_score_adj"))
}

/// Ends processes with `token` in their environment, by id; how many there were.
fn end_survivors(token: &str) -> usize {
    let mut count = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = format!("TOKEN={token}\0");
        if environment.windows(marked.len()).any(|part| part == marked.as_bytes()) {
            count += 1;
            if let Some(id) = rustix::process::Pid::from_raw(id) {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
        }
    }
    count
}
