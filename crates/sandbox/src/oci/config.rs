//! The bundle's `config.json` as a value (OCI runtime specification 1.0.2): what a profile means, said to a runtime.
//! It is worked out from plain facts alone; nothing here looks at the host or changes it.

use crate::profile::{Command, Home, Limits, Profile};
use crate::protect::{Guard, GuardKind};
use crate::view::{self, Access, Bind, USER_ID, View};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder in memory that holds everything, in the stage's mount namespace. Every user can reach it by this path, which
/// is not so of any folder of the caller's.
pub(super) const STAGE: &str = "/tmp";
/// The bundle, in [`STAGE`].
pub(super) const BUNDLE: &str = "bundle";
/// The root file system, in [`BUNDLE`].
pub(super) const ROOT: &str = "rootfs";
/// Pieces of the host, by their number in [`View::binds`], in [`STAGE`].
pub(super) const TREES: &str = "trees";
/// Folders in memory under one bound, in [`STAGE`].
pub(super) const SCRATCH: &str = "scratch";
/// `/proc` as the program sees it, in [`STAGE`].
pub(super) const PROC: &str = "proc";
/// What hidden folders look like, in [`STAGE`].
pub(super) const EMPTY: &str = "empty";
/// What hidden files look like, in [`STAGE`].
pub(super) const BLANK: &str = "blank";

/// All that a configuration is made from.
pub(super) struct Facts<'a> {
    pub(super) profile: &'a Profile,
    pub(super) view: &'a View,
    pub(super) guards: &'a [Guard],
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) command: &'a Command,
    /// Standard streams are one new terminal.
    pub(super) terminal: bool,
    /// The container gets a user namespace of its own, in which the stage's root is the one user.
    pub(super) nested: bool,
    /// The `linux.seccomp` object.
    pub(super) seccomp: &'a Value,
    /// Bounds that this process is under itself, which cannot be raised.
    pub(super) bounds: &'a [(&'static str, u64)],
}

/// What one process may use, by the specification's names.
pub(super) fn bounds(limits: &Limits) -> [(&'static str, u64); 5] {
    [
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NPROC", u64::from(limits.processes)),
        ("RLIMIT_NOFILE", u64::from(limits.open_files)),
        ("RLIMIT_FSIZE", limits.file_bytes),
        ("RLIMIT_RTPRIO", 0),
    ]
}

impl Facts<'_> {
    /// The whole file.
    pub(super) fn config(&self) -> Value {
        let none: [&str; 0] = [];
        let mut arguments = vec![self.command.program.as_str()];
        arguments.extend(self.command.arguments.iter().map(String::as_str));
        let environment: Vec<String> =
            self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let rlimits: Vec<Value> = self
            .bounds
            .iter()
            .map(|(name, bound)| json!({ "type": name, "hard": bound, "soft": bound }))
            .collect();
        // User, process and network namespaces are the stage's. With the processes' own the program would be the first
        // of it, and such a one is spared every signal it does not handle, its own included.
        let mut namespaces = vec!["mount", "ipc", "uts", "cgroup"];
        let mut linux = json!({ "seccomp": self.seccomp });
        if self.nested {
            namespaces.push("user");
            for map in ["uidMappings", "gidMappings"] {
                linux[map] = json!([{ "containerID": USER_ID, "hostID": 0, "size": 1 }]);
            }
        }
        linux["namespaces"] = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": self.terminal,
                "user": { "uid": USER_ID, "gid": USER_ID, "umask": 0o022 },
                "args": arguments,
                "env": environment,
                "cwd": cwd(self.profile, self.command),
                "capabilities": {
                    "bounding": none, "effective": none, "inheritable": none, "permitted": none, "ambient": none,
                },
                "rlimits": rlimits,
                "noNewPrivileges": true,
            },
            "root": { "path": ROOT, "readonly": true },
            "hostname": view::HOST_NAME,
            "mounts": self.mounts(),
            "linux": linux,
        })
    }

    /// In the order in which they are made. Their attributes are set on the sources already and only repeated here: a
    /// runtime that forgets one weakens nothing.
    fn mounts(&self) -> Vec<Value> {
        let mut mounts = Vec::new();
        for (part, target) in scratch_parts(&self.profile.home) {
            mounts.push(bind(&staged(SCRATCH).join(part), Path::new(target), &["rw", "nosuid", "nodev"]));
        }
        let shown = self.view.binds.iter().enumerate().filter(|(_, piece)| is_shown(piece));
        for (number, piece) in shown {
            let writing = match piece.access {
                Access::ReadWrite | Access::Lower => "rw",
                Access::ReadOnly | Access::OwnedReadOnly | Access::Device => "ro",
            };
            mounts.push(bind(&tree(number), &piece.target, &[writing, "nosuid", "nodev"]));
        }
        mounts.extend(self.guarded());
        mounts.push(bind(&staged(PROC), Path::new("proc"), &["rw", "nosuid", "nodev", "noexec"]));
        mounts.push(json!({
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        }));
        mounts
    }

    /// A mount over each guarded name of the workspace.
    fn guarded(&self) -> Vec<Value> {
        let Some(workspace) = &self.profile.workspace else { return Vec::new() };
        let Some((tree, target)) = place_of(self.view, &workspace.path) else { return Vec::new() };
        let guards = self.guards.iter();
        guards
            .map(|Guard { path, kind }| {
                let (source, writing) = match kind {
                    GuardKind::Pinned => (tree.join(path), "rw"),
                    GuardKind::Sealed => (tree.join(path), "ro"),
                    GuardKind::Emptied => (staged(EMPTY), "ro"),
                    GuardKind::Blank => (staged(BLANK), "ro"),
                };
                bind(&source, &target.join(path), &[writing, "nosuid", "nodev"])
            })
            .collect()
    }
}

/// Where the program starts.
pub(super) fn cwd<'a>(profile: &'a Profile, command: &'a Command) -> &'a Path {
    let workspace = || profile.workspace.as_ref().map(|workspace| workspace.path.as_path());
    command.cwd.as_deref().or_else(workspace).unwrap_or(Path::new(view::HOME))
}

/// Folders of [`SCRATCH`] and where they are seen.
pub(super) fn scratch_parts(home: &Home) -> Vec<(&'static str, &'static str)> {
    let mut parts = view::SCRATCH.to_vec();
    match home {
        Home::Scratch => parts.push(("home", view::HOME)),
        Home::Kept(_) => {}
    }
    parts
}

/// Where the piece with this number stands in the stage.
pub(super) fn tree(number: usize) -> PathBuf {
    staged(TREES).join(number.to_string())
}

/// A place in the stage.
pub(super) fn staged(name: &str) -> PathBuf {
    Path::new(STAGE).join(name)
}

/// Whether a piece is named in the configuration. The devices are those that every runtime must supply.
pub(super) fn is_shown(piece: &Bind) -> bool {
    piece.access != Access::Device
}

/// Where in the stage, and where inside, an absolute path of the inside comes from.
pub(super) fn place_of(view: &View, path: &Path) -> Option<(PathBuf, PathBuf)> {
    let target = path.strip_prefix("/").unwrap_or(path);
    let shown = view.binds.iter().enumerate().filter(|(_, piece)| target.starts_with(&piece.target));
    let (number, piece) = shown.max_by_key(|(_, piece)| piece.target.components().count())?;
    let rest = target.strip_prefix(&piece.target).ok()?;
    let place = if rest.as_os_str().is_empty() { tree(number) } else { tree(number).join(rest) };
    Some((place, target.to_owned()))
}

fn bind(source: &Path, target: &Path, options: &[&str]) -> Value {
    let mut all = vec!["rbind", "rprivate"];
    all.extend(options);
    json!({
        "destination": Path::new("/").join(target), "type": "bind", "source": source, "options": all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Mode, Workspace};

    fn piece(source: &str, target: &str, access: Access) -> Bind {
        let (source, target) = (PathBuf::from(source), PathBuf::from(target));
        Bind { source, target, access, is_folder: true, owner: (0, 0) }
    }

    fn config(change: impl FnOnce(&mut Facts<'_>)) -> Value {
        let view = View {
            binds: vec![
                piece("/usr", "usr", Access::ReadOnly),
                piece("/dev/null", "dev/null", Access::Device),
                piece("/srv/work", "srv/work", Access::ReadWrite),
            ],
            ..View::default()
        };
        let workspace = Workspace {
            path: "/srv/work".into(),
            mode: Mode::ReadWrite,
            protected: Vec::new(),
            blank: Vec::new(),
        };
        let profile = Profile { workspace: Some(workspace), ..Profile::default() };
        let guard = |path: &str, kind| Guard { path: path.into(), kind };
        let guards = [
            guard(".git", GuardKind::Pinned),
            guard(".git/hooks", GuardKind::Sealed),
            guard(".bailiwick", GuardKind::Emptied),
        ];
        let environment = BTreeMap::from([("A".to_owned(), "1=2".to_owned())]);
        let command = Command { program: "sh".into(), arguments: vec!["-c".into(), "id".into()], cwd: None };
        let bounds = bounds(&profile.limits);
        let mut facts = Facts {
            profile: &profile,
            view: &view,
            guards: &guards,
            environment: &environment,
            command: &command,
            terminal: false,
            nested: false,
            seccomp: &json!({ "defaultAction": "SCMP_ACT_ERRNO" }),
            bounds: &bounds,
        };
        change(&mut facts);
        facts.config()
    }

    fn kinds(config: &Value) -> Vec<&str> {
        let listed = config["linux"]["namespaces"].as_array().unwrap();
        listed.iter().map(|namespace| namespace["type"].as_str().unwrap()).collect()
    }

    #[test]
    fn nothing_is_given_that_was_not_asked_for() {
        let config = config(|_| {});
        for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
            assert_eq!(config["process"]["capabilities"][set], json!([]), "{set}");
        }
        assert_eq!(config["process"]["noNewPrivileges"], true);
        assert_eq!(config["process"]["user"]["uid"], 1_000);
        assert_eq!(config["process"]["env"], json!(["A=1=2"]));
        assert_eq!(config["process"]["args"], json!(["sh", "-c", "id"]));
        assert_eq!(config["process"]["cwd"], "/srv/work");
        assert_eq!(config["root"]["readonly"], true);
        assert_eq!(config["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    }

    #[test]
    fn mounts_come_in_order_with_their_rights() {
        let config = config(|_| {});
        let found: Vec<(&str, &str, &str)> = config["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| {
                let text = |key: &str| mount[key].as_str().unwrap();
                (text("destination"), text("source"), mount["options"][2].as_str().unwrap())
            })
            .collect();
        let wanted = [
            ("/tmp", "/tmp/scratch/tmp", "rw"),
            ("/run", "/tmp/scratch/run", "rw"),
            ("/dev/shm", "/tmp/scratch/shm", "rw"),
            ("/var/tmp", "/tmp/scratch/var-tmp", "rw"),
            ("/home/agent", "/tmp/scratch/home", "rw"),
            ("/usr", "/tmp/trees/0", "ro"),
            ("/srv/work", "/tmp/trees/2", "rw"),
            ("/srv/work/.git", "/tmp/trees/2/.git", "rw"),
            ("/srv/work/.git/hooks", "/tmp/trees/2/.git/hooks", "ro"),
            ("/srv/work/.bailiwick", "/tmp/empty", "ro"),
            ("/proc", "/tmp/proc", "rw"),
            ("/dev/pts", "devpts", "newinstance"),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn only_a_single_user_needs_a_namespace_of_its_own() {
        let shared = config(|_| {});
        assert_eq!(kinds(&shared), ["mount", "ipc", "uts", "cgroup"]);
        assert_eq!(shared["linux"]["uidMappings"], Value::Null);
        let nested = config(|facts| facts.nested = true);
        assert_eq!(kinds(&nested), ["mount", "ipc", "uts", "cgroup", "user"]);
        let map = json!([{ "containerID": 1_000, "hostID": 0, "size": 1 }]);
        assert_eq!((&nested["linux"]["uidMappings"], &nested["linux"]["gidMappings"]), (&map, &map));
    }

    #[test]
    fn a_kept_home_is_no_scratch() {
        assert!(scratch_parts(&Home::Scratch).iter().any(|(part, _)| *part == "home"));
        assert!(!scratch_parts(&Home::Kept("/srv/home".into())).iter().any(|(part, _)| *part == "home"));
    }

    #[test]
    fn a_path_inside_comes_from_the_innermost_piece() {
        let view = View {
            binds: vec![piece("/a", "srv", Access::ReadOnly), piece("/b", "srv/in", Access::ReadWrite)],
            ..View::default()
        };
        for (path, place) in [
            ("/srv", Some("/tmp/trees/0")),
            ("/srv/x", Some("/tmp/trees/0/x")),
            ("/srv/in/x", Some("/tmp/trees/1/x")),
            ("/srv/inner", Some("/tmp/trees/0/inner")),
            ("/etc", None),
        ] {
            let found = place_of(&view, Path::new(path)).map(|(place, _)| place);
            assert_eq!(found.as_deref(), place.map(Path::new), "{path}");
        }
    }
}
