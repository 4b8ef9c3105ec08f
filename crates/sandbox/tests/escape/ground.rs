//! The ground an attack is tried on: a workspace, a canary beside it, a victim, neighbours that listen, and who attacks.
//! Everything is in temporary folders, and every process ends with its ground.

use sandbox::profile::{Command as Program, Limits, Mode, Profile, Workspace};
use sandbox::warden::Order;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, thread, time::Duration};

pub(crate) const SECRET: &str = "canary-5e1f0c9d-secret";
/// An ordinary user no file of the host belongs to.
const ORDINARY: u32 = 1_234;
/// Somebody else.
const OTHER: u32 = 4_321;
/// How long an attempt may take before it is ended, in seconds.
const SECONDS_MAX: &str = "30";
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Person {
    Root,
    Ordinary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Outside,
    Inside,
    Grandchild,
}

/// An attack, as `attack.py --list` tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) effect: String,
    pub(crate) control: String,
    pub(crate) stage: String,
    pub(crate) mode: String,
}

impl Case {
    /// No attack of the list: the plain ground.
    pub(crate) fn plain(stage: &str) -> Self {
        let [name, effect, control, mode] = ["", "", "plain", "ReadWrite"].map(str::to_owned);
        Self { name, effect, control, stage: stage.to_owned(), mode }
    }
}

impl Person {
    /// Both where this is root, else whoever this is.
    pub(crate) fn all() -> Vec<Self> {
        if rustix::process::geteuid().is_root() {
            vec![Self::Root, Self::Ordinary]
        } else {
            vec![Self::Ordinary]
        }
    }

    pub(crate) fn id(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Ordinary if rustix::process::geteuid().is_root() => ORDINARY,
            Self::Ordinary => rustix::process::geteuid().as_raw(),
        }
    }

    /// A command as this person, with a bare environment.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = if self.id() == rustix::process::geteuid().as_raw() {
            Command::new(program)
        } else {
            let mut command = Command::new("setpriv");
            let id = self.id();
            command.args([&format!("--reuid={id}"), &format!("--regid={id}"), "--clear-groups"]).arg(program);
            command
        };
        command.env_clear().env("PATH", PATH).stdin(Stdio::null());
        command
    }
}

impl fmt::Display for Person {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if *self == Self::Root { "root" } else { "ordinary user" })
    }
}

/// What all grounds share: the attacks, the program that confines, and a neighbour per person.
pub(crate) struct Range {
    folder: tempfile::TempDir,
    pub(crate) confine: PathBuf,
    near: BTreeMap<Person, (Child, serde_json::Value)>,
}

impl Range {
    pub(crate) fn open() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = open_folder();
        let attacks = folder.path().join("attacks");
        fs::create_dir(&attacks).unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escape/attacks");
        for entry in fs::read_dir(sources).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), attacks.join(entry.file_name())).unwrap();
        }
        let compiled =
            Command::new("/usr/bin/python3").args(["-m", "compileall", "-q"]).arg(&attacks).status();
        assert!(compiled.unwrap().success());
        let confine = folder.path().join("confine");
        fs::copy(built_example(), &confine).unwrap();
        let mut range = Self { folder, confine, near: BTreeMap::new() };
        for person in Person::all() {
            let own = range.folder.path().join(format!("near-{}", person.id()));
            fs::create_dir(&own).unwrap();
            give(&own, person);
            let name = format!("escape-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let mut child = person
                .command(Path::new("/usr/bin/python3"))
                .arg(range.attacks().join("neighbour.py"))
                .args([own.as_os_str(), SECRET.as_ref(), name.as_ref()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            range.near.insert(person, (child, serde_json::from_str(&line).unwrap()));
        }
        range
    }

    pub(crate) fn attacks(&self) -> PathBuf {
        self.folder.path().join("attacks")
    }

    pub(crate) fn cases(&self) -> Vec<Case> {
        let listed = Command::new("/usr/bin/python3")
            .arg(self.attacks().join("attack.py"))
            .arg("--list")
            .output()
            .unwrap();
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        listed
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    pub(crate) fn near(&self, person: Person) -> &serde_json::Value {
        &self.near[&person].1
    }

    /// What arrived at the neighbour so far.
    pub(crate) fn arrived(&self, person: Person) -> String {
        let file = self.near(person)["arrived"].as_str().unwrap();
        String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        for (child, _) in self.near.values_mut() {
            // The end of its input is its end.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// The example that confines, built now if it is not: this test has threads, and the first process of a sandbox is forked.
fn built_example() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().and_then(Path::parent).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    cargo.args(["--example", "confine", "--target-dir"]).arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "the example `confine` builds");
    profile.join("examples/confine")
}

fn open_folder() -> tempfile::TempDir {
    // Not in `/tmp`, which is the sandbox's own inside, so that what is shown there would be below what may be written.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub(crate) fn give(path: &Path, person: Person) {
    chown(path, Some(person.id()), Some(person.id())).unwrap();
}

/// One attempt's ground.
pub(crate) struct Ground {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) person: Person,
    pub(crate) token: String,
    pub(crate) work: PathBuf,
    pub(crate) victim: Child,
    protected: Vec<PathBuf>,
    write: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
    listeners: Vec<Child>,
}

/// What an attempt printed, and how the program that confines it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) output: String,
    pub(crate) error: String,
    pub(crate) was_crowded: bool,
}

impl Ground {
    pub(crate) fn lay(range: &Range, person: Person, case: &Case) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let token = format!("mark{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = open_folder();
        give(folder.path(), person);
        let work = folder.path().join(if case.stage == "write-parent" { "above/work" } else { "work" });
        let mut ground = Self {
            victim: person
                .command(Path::new("/usr/bin/perl"))
                .args(["-e", "sleep 600", SECRET])
                .env("PASSWORD", SECRET)
                .spawn()
                .unwrap(),
            token,
            work,
            person,
            protected: Vec::new(),
            write: Vec::new(),
            hidden: Vec::new(),
            listeners: Vec::new(),
            folder,
        };
        for name in ["out", "out/empty", "shown", "home", "overlay"] {
            ground.make_folder(&ground.at(name));
        }
        ground.make_folder(ground.work.parent().unwrap());
        ground.make_folder(&ground.work.clone());
        ground.write_file("out/canary", SECRET);
        ground.write_file("shown/data", "shown");
        ground.write_file("work/file", "file\n");
        if !ground.state().starts_with(&ground.work) || case.stage == "state-inside" {
            ground.make_folder(&ground.state_of(case));
        }
        ground.listen("shown", range);
        ground.stage(case, range);
        ground
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        match path.strip_prefix("work") {
            Some(rest) => self.work.join(rest.trim_start_matches('/')),
            None => self.folder.path().join(path),
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn state_of(&self, case: &Case) -> PathBuf {
        if case.stage == "state-inside" { self.work.join("state") } else { self.state() }
    }

    fn make_folder(&self, path: &Path) {
        if !path.exists() {
            fs::create_dir(path).unwrap();
            give(path, self.person);
        }
    }

    pub(crate) fn write_file(&self, path: &str, content: &str) {
        fs::write(self.at(path), content).unwrap();
        give(&self.at(path), self.person);
    }

    /// A daemon's socket and fifo in `folder`; what comes there arrives at the neighbour's.
    fn listen(&mut self, folder: &str, range: &Range) {
        let script = "import os,socket,sys,select\n\
            f,to=sys.argv[1:]\ns=socket.socket(socket.AF_UNIX);s.bind(f+'/daemon.sock');s.listen()\n\
            os.mkfifo(f+'/daemon.fifo');p=os.open(f+'/daemon.fifo',os.O_RDWR|os.O_NONBLOCK)\n\
            a=os.open(to,os.O_WRONLY|os.O_APPEND);print('up',flush=True)\n\
            while True:\n r,_,_=select.select([s,p],[],[])\n if s in r:\n  c,_=s.accept();os.write(a,c.recv(999)+b'\\n');c.close()\n\
            \x20if p in r: os.write(a,os.read(p,999)+b'\\n')\n";
        let mut child = self
            .person
            .command(Path::new("/usr/bin/python3"))
            .args(["-S", "-E", "-c", script])
            .arg(self.at(folder))
            .arg(range.near(self.person)["arrived"].as_str().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        self.listeners.push(child);
    }

    fn git(&self, line: &str) {
        let done = self.shell(&format!("cd '{}' && {line}", self.work.display())).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// A shell as the person, with a home of its own.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut command = self.person.command(Path::new("/bin/sh"));
        command.args(["-c", line]).env("HOME", self.at("home")).env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    fn stage(&mut self, case: &Case, range: &Range) {
        const INIT: &str = "git init -q -b main && git config user.name a && git config user.email a@b.c && \
             mkdir -p .git/hooks && touch .git/hooks/post-checkout && git add file && git commit -qm one";
        let other = if self.person == Person::Root { OTHER } else { 0 };
        let can_give_away = rustix::process::geteuid().is_root();
        match case.stage.as_str() {
            "git" => self.git(INIT),
            "git-hooks-path" => self.git(&format!("{INIT} && git config core.hooksPath .husky")),
            "git-include" => self.git(&format!("{INIT} && git config include.path ../.gitconfig")),
            "git-file" => self.write_file("work/.git", "gitdir: /nonexistent\n"),
            "gate" => {
                self.make_folder(&self.at("work/.bailiwick"));
                self.write_file("work/.bailiwick/secret", SECRET);
            }
            "hidden" => {
                for place in ["work/private", "shown/private"] {
                    self.make_folder(&self.at(place));
                    self.write_file(&format!("{place}/secret"), SECRET);
                    self.hidden.push(self.at(place));
                }
            }
            "gate-link" => {
                self.make_folder(&self.at("work/config"));
                self.write_file("work/config/secret", SECRET);
                symlink("config", self.at("work/.bailiwick")).unwrap();
            }
            "write-parent" => self.write.push(self.work.parent().unwrap().to_owned()),
            "protected-deep" => {
                self.make_folder(&self.at("work/ci"));
                self.protected.push("ci/deploy".into());
            }
            "two-runs-link" => {
                self.make_folder(&self.at("work/elsewhere"));
                symlink("elsewhere", self.at("work/ci")).unwrap();
                self.protected.push("ci/deploy".into());
            }
            "deep-link" => {
                symlink(self.at("out"), self.at("work/ci")).unwrap();
                self.protected.push("ci/deploy".into());
            }
            "others-file" => {
                self.write_file("work/theirs", SECRET);
                fs::set_permissions(self.at("work/theirs"), fs::Permissions::from_mode(0o600)).unwrap();
                if can_give_away {
                    chown(self.at("work/theirs"), Some(other), Some(other)).unwrap();
                }
            }
            "suid" => {
                self.write_file("work/suid", &"x".repeat(64));
                fs::set_permissions(self.at("work/suid"), fs::Permissions::from_mode(0o4755)).unwrap();
            }
            "setid-id" => {
                fs::copy("/usr/bin/id", self.at("work/setid-id")).unwrap();
                if can_give_away {
                    chown(self.at("work/setid-id"), Some(other), Some(other)).unwrap();
                }
                fs::set_permissions(self.at("work/setid-id"), fs::Permissions::from_mode(0o4755)).unwrap();
            }
            "work-socket" => self.listen("work", range),
            "" | "fd7" | "folder9" | "state-inside" => {}
            other => panic!("no such stage: {other}"),
        }
    }

    pub(crate) fn environment(&self, range: &Range, how: How) -> BTreeMap<String, String> {
        let target = if how == How::Outside { self.victim.id() } else { 1 };
        let setid = if self.person == Person::Root { OTHER } else { 0 };
        let path = |path: PathBuf| path.display().to_string();
        [
            ("WORK", path(self.work.clone())),
            ("OUT", path(self.at("out"))),
            ("SHOWN", path(self.at("shown"))),
            ("TOKEN", self.token.clone()),
            ("VICTIM", self.victim.id().to_string()),
            ("TARGET", target.to_string()),
            ("SETID", setid.to_string()),
            ("NEAR", range.near(self.person).to_string()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            ("PATH", PATH.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub(crate) fn profile(&self, range: &Range, mode: &str, how: How) -> Profile {
        let mode = match mode {
            "ReadOnly" => Mode::ReadOnly,
            "Overlay" => Mode::Overlay(self.at("overlay")),
            _ => Mode::ReadWrite,
        };
        Profile {
            workspace: Some(Workspace {
                path: self.work.clone(),
                mode,
                protected: self.protected.clone(),
                blank: Vec::new(),
            }),
            read: vec![range.attacks(), self.at("shown")],
            write: self.write.clone(),
            hidden: self.hidden.clone(),
            environment: self.environment(range, how),
            limits: Limits {
                processes: 200,
                memory_bytes: 256 << 20,
                open_files: 512,
                scratch_bytes: 64 << 20,
                scratch_files: 10_000,
                file_bytes: 64 << 20,
                disk_spare_bytes: 1 << 20,
                wall_ms: Some(25_000),
                ..Limits::default()
            },
            ..Profile::default()
        }
    }

    /// The program that confines, given `profile` and `command`; its outcome is at `outcome`.
    pub(crate) fn confined(
        &self,
        range: &Range,
        profile: Profile,
        command: &[&str],
        state: PathBuf,
    ) -> Command {
        let (program, arguments) = command.split_first().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let order = Order {
            profile,
            command: Program { program: (*program).to_owned(), arguments, cwd: None },
            state,
            runtime: None,
        };
        // Its own command line, which every process may read, holds the secret as well.
        let file = format!("order-{SECRET}.json");
        self.write_file(&file, &serde_json::to_string(&order).unwrap());
        let mut confined = self.person.command(&range.confine);
        confined.arg(self.at(&file)).arg(self.at("outcome")).env("PASSWORD", SECRET);
        confined
    }

    /// Tries the attack once, and what follows it.
    pub(crate) fn run(&self, range: &Range, case: &Case, how: How) -> Said {
        let script = range.attacks().join("attack.py").display().to_string();
        let by = if how == How::Grandchild { "grandchild" } else { "direct" };
        let attack = ["/usr/bin/python3", "-S", "-E", &script, &case.name, by];
        let mut command = if how == How::Outside {
            let mut command = if case.control == "userns" {
                let mut command = self.person.command(Path::new("/usr/bin/unshare"));
                command.args(["-Urmn", "--"]).arg(attack[0]);
                command
            } else {
                self.person.command(Path::new(attack[0]))
            };
            command.args(&attack[1..]).envs(self.environment(range, how)).env("PASSWORD", SECRET);
            command.current_dir(&self.work);
            command
        } else {
            self.confined(range, self.profile(range, &case.mode, how), &attack, self.state_of(case))
        };
        let inherited = match case.stage.as_str() {
            "fd7" => Some(fs::File::open(self.at("out/canary")).unwrap()),
            "folder9" => Some(fs::File::open(self.at("out")).unwrap()),
            _ => None,
        };
        if let Some(inherited) = inherited {
            // SAFETY: dup2(2) is async-signal-safe; the descriptor is owned by the closure.
            unsafe {
                command.pre_exec(move || {
                    if libc::dup2(inherited.as_raw_fd(), 7) < 0 {
                        Err(std::io::Error::last_os_error())
                    } else {
                        Ok(())
                    }
                });
            }
        }
        let said =
            if case.effect == "crowded" { self.while_holding(command) } else { heard(&mut command, false) };
        match case.effect.as_str() {
            "executed" => {
                let git = "git status; git diff; git add -A; git commit -qm two --allow-empty; git status";
                let _ = self.shell(&format!("cd '{}'; {git}", self.work.display())).output();
            }
            "planted-outside" | "protected" if case.stage == "state-inside" && how != How::Outside => {
                let again = self.profile(range, &case.mode, how);
                let _ = self.confined(range, again, &["true"], self.state_of(case)).output();
            }
            _ => {}
        }
        said
    }

    /// Asks, while the attack holds all it could get, whether another process of the same user still gets some.
    fn while_holding(&self, mut command: Command) -> Said {
        let file = self.at("said");
        let mut child =
            command.stdout(fs::File::create(&file).unwrap()).stderr(Stdio::null()).spawn().unwrap();
        for _ in 0..300 {
            if fs::read_to_string(&file).unwrap().contains("HOLDING") {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(200));
        let other = "import ctypes,sys; sys.exit(ctypes.CDLL(None).inotify_init1(0) < 0)";
        let got = self.person.command(Path::new("/usr/bin/python3")).args(["-c", other]).status().unwrap();
        let _ = child.wait();
        Said { output: fs::read_to_string(&file).unwrap(), error: String::new(), was_crowded: !got.success() }
    }
}

/// Runs `command`; processes that hold its streams for longer than the attack may last are not waited for.
pub(crate) fn heard(command: &mut Command, keeps_input: bool) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let [output, error] = ["output", "error"].map(|name| folder.path().join(name));
    if !keeps_input {
        command.stdin(Stdio::null());
    }
    command.stdout(fs::File::create(&output).unwrap()).stderr(fs::File::create(&error).unwrap());
    let mut child = command.spawn().unwrap();
    let limit = SECONDS_MAX.parse::<u64>().unwrap();
    for _ in 0..limit * 100 {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let late = child.try_wait().unwrap().is_none();
    if late {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let mut error = text(&error);
    if late {
        error.push_str("\nended by the test: it hung");
    }
    Said { output: text(&output), error, was_crowded: false }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for child in self.listeners.iter_mut().chain([&mut self.victim]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
