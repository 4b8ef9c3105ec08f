//! Who is asked: a backend and a user, with a private folder and the small programs that do the confining.
//! A subject that cannot be had on this host says why, in the host's own words.

use sandbox::oci::Runtime;
use sandbox::warden::Order;
use sandbox::{Outcome, Profile};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The ordinary user that root becomes; it needs no account.
const ORDINARY: u32 = 1_234;

/// What confines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Native,
    Oci(&'static str),
}

/// On whose behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Oci(name) => name,
        }
    }
}

impl User {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ordinary => "ordinary user",
        }
    }
}

/// A backend, ready to be asked.
pub(crate) struct Subject {
    pub(crate) backend: Backend,
    pub(crate) user: User,
    /// The caller's id on the host.
    pub(crate) caller: u32,
    folder: tempfile::TempDir,
    count: AtomicU32,
}

/// A fresh workspace and state of one case.
pub(crate) struct Place {
    pub(crate) workspace: PathBuf,
    pub(crate) state: PathBuf,
    /// A folder beside the workspace that is not shown unless asked for.
    pub(crate) beside: PathBuf,
    order: PathBuf,
    outcome: PathBuf,
}

/// A program that runs behind a wall.
pub(crate) struct Running {
    pub(crate) child: Child,
    outcome: PathBuf,
}

/// How it went.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) output: String,
    pub(crate) error: String,
    pub(crate) outcome: Option<Outcome>,
}

impl Subject {
    pub(crate) fn prepare(backend: Backend, user: User) -> Result<Self, String> {
        let is_root = rustix::process::geteuid().is_root();
        let caller = match (user, is_root) {
            (User::Root, false) => return Err("these tests do not run as root".to_owned()),
            (User::Root, true) => 0,
            (User::Ordinary, true) => ORDINARY,
            (User::Ordinary, false) => rustix::process::geteuid().as_raw(),
        };
        if let Backend::Oci(name) = backend {
            Runtime::find(Path::new(name)).map_err(|error| error.to_string())?;
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let subject = Self { backend, user, caller, folder, count: AtomicU32::new(0) };
        open_to_all(subject.folder.path());
        // Copied: an ordinary user may not reach the folder it was built in.
        std::fs::copy(example("confine"), subject.folder.path().join("confine"))
            .map_err(|error| format!("example confine: {error}"))?;
        let place = subject.place();
        let ran = subject.run(&place, &subject.profile(&place), &["true"], "");
        match (ran.status, ran.error.contains("this host cannot enforce")) {
            (0, _) => Ok(subject),
            (_, true) => Err(ran.error.trim().to_owned()),
            (status, false) => panic!("{} cannot run `true`: {status}: {}", backend.name(), ran.error),
        }
    }

    pub(crate) fn place(&self) -> Place {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let base = self.folder.path().join(format!("case-{count}"));
        let place = Place {
            workspace: base.join("work"),
            state: base.join("state"),
            beside: base.join("beside"),
            order: base.join("order.json"),
            outcome: base.join("outcome.json"),
        };
        std::fs::create_dir(&base).unwrap();
        for folder in [&place.workspace, &place.state, &place.beside] {
            std::fs::create_dir(folder).unwrap();
        }
        self.hand_over(&base);
        std::fs::set_permissions(&place.state, PermissionsExt::from_mode(0o700)).unwrap();
        place
    }

    /// Makes everything at and below `path` the caller's.
    pub(crate) fn hand_over(&self, path: &Path) {
        if path.symlink_metadata().unwrap().uid() != self.caller {
            std::os::unix::fs::lchown(path, Some(self.caller), Some(self.caller)).unwrap();
        }
        if path.symlink_metadata().unwrap().is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                self.hand_over(&entry.unwrap().path());
            }
        }
    }

    /// The profile every case begins with: the same for all backends.
    pub(crate) fn profile(&self, place: &Place) -> Profile {
        let mut profile = Profile {
            workspace: Some(sandbox::Workspace {
                path: place.workspace.clone(),
                mode: sandbox::Mode::ReadWrite,
                protected: Vec::new(),
                blank: Vec::new(),
            }),
            ..Profile::default()
        };
        profile.limits.disk_spare_bytes = 0;
        // No OCI runtime has it; where the native backend has it, it holds all the same.
        profile.waived.insert(sandbox::Layer::Landlock);
        profile
    }

    pub(crate) fn start(&self, place: &Place, profile: &Profile, command: &[&str]) -> Running {
        self.start_command(place, profile, spoken(command))
    }

    pub(crate) fn start_command(
        &self,
        place: &Place,
        profile: &Profile,
        command: sandbox::Command,
    ) -> Running {
        let runtime = match self.backend {
            Backend::Native => None,
            Backend::Oci(name) => Some(name.into()),
        };
        place.write(profile, command, runtime);
        let mut parts: Vec<PathBuf> = Vec::new();
        if self.user == User::Ordinary && rustix::process::geteuid().is_root() {
            let id = self.caller;
            parts.extend(["setpriv".into(), format!("--reuid={id}").into(), format!("--regid={id}").into()]);
            parts.push("--clear-groups".into());
        }
        parts.extend([self.folder.path().join("confine"), place.order.clone(), place.outcome.clone()]);
        let mut process = Command::new(&parts[0]);
        process.args(&parts[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A secret of the caller's that no program may see.
        let child = process.env("BAILIWICK_CANARY", "canary").spawn().unwrap();
        // The caller's, as they would be had it made them.
        let owner = Some(rustix::fs::Uid::from_raw(self.caller)).filter(|_| self.user == User::Ordinary);
        let pipes = [child.stdin.as_ref().map(AsFd::as_fd), child.stdout.as_ref().map(AsFd::as_fd)];
        for pipe in pipes.into_iter().chain([child.stderr.as_ref().map(AsFd::as_fd)]).flatten() {
            rustix::fs::fchown(pipe, owner, None).unwrap();
        }
        Running { child, outcome: place.outcome.clone() }
    }

    /// Runs `true` by a runtime that is this subject's, but for what `edit`, a script for sed(1), does to its configuration.
    pub(crate) fn run_edited(&self, edit: &str) -> Ran {
        let place = self.place();
        let path = Runtime::find(Path::new(self.backend.name())).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *create*) sed -i '{edit}' bundle/config.json;; esac\nexec {} --cgroup-manager=disabled \"$@\"\n",
            path.path().display()
        );
        let runtime = place.beside.join("edited");
        std::fs::write(&runtime, script).unwrap();
        open_to_all(&runtime);
        place.write(&self.profile(&place), spoken(&["true"]), Some(runtime));
        let mut process = Command::new(self.folder.path().join("confine"));
        let process = process.args([&place.order, &place.outcome]);
        let piped = process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: piped.spawn().unwrap(), outcome: place.outcome.clone() }.end("")
    }

    pub(crate) fn run(&self, place: &Place, profile: &Profile, command: &[&str], input: &str) -> Ran {
        self.start(place, profile, command).end(input)
    }
}

impl Place {
    fn write(&self, profile: &Profile, command: sandbox::Command, runtime: Option<PathBuf>) {
        let order = Order { profile: profile.clone(), command, state: self.state.clone(), runtime };
        std::fs::write(&self.order, serde_json::to_vec(&order).unwrap()).unwrap();
    }
}

fn spoken(command: &[&str]) -> sandbox::Command {
    let (program, arguments) = command.split_first().unwrap();
    sandbox::Command {
        program: (*program).to_owned(),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        cwd: None,
    }
}

impl Running {
    /// Gives `input`, closes it and waits.
    pub(crate) fn end(mut self, input: &str) -> Ran {
        let mut pipe = self.child.stdin.take().unwrap();
        // A program that reads nothing may be gone already.
        let _ = pipe.write_all(input.as_bytes());
        drop(pipe);
        let Output { status, stdout, stderr } = self.child.wait_with_output().unwrap();
        let outcome = std::fs::read(&self.outcome).ok();
        let _ = std::fs::remove_file(&self.outcome);
        Ran {
            status: status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&stdout).into_owned(),
            error: String::from_utf8_lossy(&stderr).into_owned(),
            outcome: outcome.and_then(|text| serde_json::from_slice(&text).ok()),
        }
    }
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// An example of this package, which cargo builds beside its tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join(name)
}
