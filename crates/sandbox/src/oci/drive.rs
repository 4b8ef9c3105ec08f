//! Drives the runtime from the stage: has it create and start one container, then waits for the program and buries the dead.
//! The runtime is asked for nothing after the start; what it made ends with the stage's namespaces.

use super::config::{self, BUNDLE, Facts, SCRATCH};
use super::stage::{self, RUNTIME, STATE, Setup};
use crate::native::control::{Control, Report, Request};
use crate::native::init;
use crate::native::spent::Spent;
use crate::profile::{Command, End, Limit};
use crate::{seccomp, sys, view};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Resource, Signal, WaitOptions};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How often memory is counted where no cgroup bounds it, in milliseconds.
const MEMORY_LOOK_MS: i64 = 10;
/// How often processes are counted, in milliseconds.
const PROCESSES_LOOK_MS: i64 = 1_000;
/// Longest that one step of the runtime takes, in milliseconds.
const STEP_MS_MAX: u64 = 30_000;
/// Between two looks at whether the program has replaced the runtime, in milliseconds.
const LOOK_MS: u64 = 1;
/// What is read of the runtime's log, in bytes.
const LOG_BYTES_MAX: u64 = 256 * 1024;
/// The container's name, in a folder where it is alone.
const CONTAINER: &str = "sandbox";
/// The runtime's log, a JSON object a line.
const LOG: &str = "log";
/// Where the runtime says which process it made.
const PID_FILE: &str = "pid";
/// Where the runtime hands over the terminal it made.
const CONSOLE: &str = "console";

/// The stage once everything is prepared.
pub(super) struct Drive<'a> {
    setup: &'a Setup<'a>,
    control: Control,
    deaths: OwnedFd,
    environment: BTreeMap<String, String>,
    runtime: PathBuf,
    running: Option<Pid>,
    /// The caller knows that the bound on processes was reached.
    told: bool,
}

/// Why there is no program.
enum NotRun {
    /// It cannot be executed: the kernel's error number.
    Number(i32),
    /// The runtime failed.
    Failed(String),
}

impl From<io::Error> for NotRun {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl<'a> Drive<'a> {
    pub(super) fn new(setup: &'a Setup<'a>, control: Control) -> io::Result<Self> {
        let deaths = sys::signals_as_descriptor(&[libc::SIGCHLD])?;
        // Standard streams of the caller's are the program's alone, or its end of file would never come.
        let nothing = stage::nothing()?;
        rustix::stdio::dup2_stdin(&nothing)?;
        rustix::stdio::dup2_stdout(&nothing)?;
        rustix::stdio::dup2_stderr(&nothing)?;
        sys::close_on_exec_from(3)?;
        let environment = init::environment(setup.profile);
        let runtime = config::staged(RUNTIME);
        Ok(Self { setup, control, deaths, environment, runtime, running: None, told: false })
    }

    pub(super) fn serve(&mut self) -> io::Result<()> {
        let look_ms = if self.setup.made.memory_watched { MEMORY_LOOK_MS } else { PROCESSES_LOOK_MS };
        loop {
            let wait = Timespec { tv_sec: look_ms / 1_000, tv_nsec: look_ms % 1_000 * 1_000_000 };
            let mut ready =
                [PollFd::new(&self.control, PollFlags::IN), PollFd::new(&self.deaths, PollFlags::IN)];
            let idle = rustix::event::poll(&mut ready, Some(&wait).filter(|_| self.running.is_some()));
            match idle {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [asked, died] = ready.map(|fd| !fd.revents().is_empty());
            if idle == Ok(0) {
                self.look()?;
            }
            if died {
                while sys::next_signal(self.deaths.as_fd()).is_some() {}
                self.bury()?;
            }
            if asked {
                match self.control.receive::<Request>()? {
                    None => return Ok(()),
                    Some((Request::Execute { command, terminal, last: _ }, streams)) => {
                        self.execute(&command, terminal, streams)?;
                    }
                    Some((Request::Clear, _)) => sys::kill_everyone(),
                    Some((Request::Signal(signal), _)) => self.signal(signal),
                    Some((Request::Begin | Request::Build { .. } | Request::Pieces, _)) => {}
                }
            }
        }
    }

    fn execute(&mut self, command: &Command, terminal: [bool; 3], streams: Vec<OwnedFd>) -> io::Result<()> {
        self.forget();
        let report = match self.run(command, terminal, streams) {
            Ok((pid, shown)) => {
                self.running = Some(pid);
                let descriptors: Vec<_> = shown.iter().map(AsFd::as_fd).collect();
                self.control.send(&Report::Started, &descriptors)?;
                // It may have ended while nobody looked.
                return self.bury();
            }
            Err(NotRun::Number(number)) => Report::NotStarted(number),
            Err(NotRun::Failed(why)) => Report::Failed(format!("{}: {why}", self.setup.runtime.name())),
        };
        self.control.send(&report, &[])
    }

    /// Removes what is left of the container before: nothing of it runs any more.
    fn forget(&self) {
        for file in [LOG, PID_FILE, CONSOLE] {
            // Absent the first time, and mostly after.
            let _ = std::fs::remove_file(file);
        }
        let _ = std::fs::remove_dir_all(Path::new(STATE).join(CONTAINER));
    }

    /// The program's id, and the terminal's other side where it got one.
    fn run(
        &self,
        command: &Command,
        terminal: [bool; 3],
        streams: Vec<OwnedFd>,
    ) -> Result<(Pid, Option<OwnedFd>), NotRun> {
        let mut streams = <[OwnedFd; 3]>::try_from(streams)
            .map_err(|_| NotRun::Failed("a stream is missing".to_owned()))?;
        // A terminal of the container's own can only be all three streams.
        let whole = terminal == [true; 3];
        let mut shown = None;
        if terminal.contains(&true) && !whole {
            let (ours, theirs) = open_terminal()?;
            for (stream, _) in streams.iter_mut().zip(terminal).filter(|(_, wanted)| *wanted) {
                *stream = theirs.try_clone()?;
            }
            shown = Some(ours);
        }
        if !self.has_folder(command) {
            return Err(NotRun::Number(libc::ENOENT));
        }
        self.write_config(command, whole)?;
        let console = whole.then(|| std::os::unix::net::UnixListener::bind(CONSOLE)).transpose()?;
        let bundle = config::staged(BUNDLE);
        let mut create = vec!["create".into(), "--bundle".into(), bundle.into_os_string()];
        create.extend(["--pid-file".into(), config::staged(PID_FILE).into_os_string()]);
        if whole {
            create.extend(["--console-socket".into(), config::staged(CONSOLE).into_os_string()]);
        }
        create.push(CONTAINER.into());
        let streams = streams.map(Stdio::from);
        self.step(&create, streams)?;
        if let Some(console) = console {
            shown = Some(receive_terminal(&console)?);
        }
        let pid = std::fs::read_to_string(PID_FILE)?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| NotRun::Failed("it wrote no process id".to_owned()))?;
        let before = name_of(pid);
        let [one, two, three] = [stage::nothing()?, stage::nothing()?, stage::nothing()?];
        self.step(&["start".into(), CONTAINER.into()], [one.into(), two.into(), three.into()])?;
        self.until_executed(pid, before.as_deref())?;
        Ok((pid, shown))
    }

    /// Whether the folder that the command starts in is there. A runtime would make it, and so change a workspace.
    fn has_folder(&self, command: &Command) -> bool {
        let (view, profile) = (&self.setup.made.view, self.setup.profile);
        let cwd = config::cwd(profile, command);
        if let Some((place, _)) = config::place_of(view, cwd) {
            return place.is_dir();
        }
        let cwd = cwd.strip_prefix("/").unwrap_or(cwd);
        let scratch = config::scratch_parts(&profile.home).into_iter().map(|(_, target)| target);
        let scratch: Vec<&Path> = scratch.map(|target| Path::new(target.trim_start_matches('/'))).collect();
        let mut mounted =
            scratch.iter().copied().chain(view.binds.iter().map(|piece| piece.target.as_path()));
        if cwd.starts_with("proc") || mounted.any(|target| target.starts_with(cwd)) {
            return true;
        }
        // What scratch holds at first is only what is mounted in it. Links the runtime follows as it will.
        let is_scratch = scratch.iter().any(|target| cwd.starts_with(target));
        let is_link = view.links.iter().any(|(link, _)| cwd.starts_with(link));
        !is_scratch && (is_link || Path::new(BUNDLE).join(config::ROOT).join(cwd).is_dir())
    }

    fn write_config(&self, command: &Command, terminal: bool) -> io::Result<()> {
        let bounds = config::bounds(&self.setup.profile.limits).map(|(name, bound)| {
            // A bound can only be lowered; where the caller's own is lower already, that one holds.
            let most = resource(name).and_then(|resource| rustix::process::getrlimit(resource).maximum);
            (name, most.map_or(bound, |most| most.min(bound)))
        });
        let seccomp = seccomp::Rules::builtin().oci(self.setup.made.memory_watched);
        let facts = Facts {
            profile: self.setup.profile,
            view: &self.setup.made.view,
            guards: &self.setup.made.guards,
            environment: &self.environment,
            command,
            terminal,
            nested: self.setup.ids.nested(),
            seccomp: &seccomp,
            bounds: &bounds,
        };
        std::fs::write(Path::new(BUNDLE).join("config.json"), serde_json::to_vec(&facts.config())?)
    }

    /// A subcommand of the runtime, with nothing of the caller's around it.
    fn command(&self, arguments: &[OsString], [input, output, error]: [Stdio; 3]) -> std::process::Command {
        let mut command = std::process::Command::new(&self.runtime);
        command.arg0(self.setup.runtime.name()).arg("--root").arg(config::staged(STATE));
        command.arg("--log").arg(config::staged(LOG)).args(["--log-format", "json"]);
        command.args(self.setup.runtime.family().options()).args(arguments);
        command.env_clear().env("PATH", view::PATH).env("XDG_RUNTIME_DIR", config::staged(STATE));
        command.stdin(input).stdout(output).stderr(error);
        command
    }

    /// One subcommand of the runtime, to its end.
    fn step(&self, arguments: &[OsString], streams: [Stdio; 3]) -> Result<(), NotRun> {
        let mut command = self.command(arguments, streams);
        let mut child = command.spawn()?;
        // Its copies of the program's streams go with it.
        drop(command);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > Duration::from_millis(STEP_MS_MAX) {
                let _ = child.kill();
                return Err(NotRun::Failed(format!("it took longer than {STEP_MS_MAX} ms")));
            }
            let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let _ = rustix::event::poll(&mut [PollFd::new(&self.deaths, PollFlags::IN)], Some(&wait));
            while sys::next_signal(self.deaths.as_fd()).is_some() {}
        };
        if status.success() { Ok(()) } else { Err(self.complaint()) }
    }

    /// What the runtime wrote in its log.
    fn complaint(&self) -> NotRun {
        use std::io::Read;
        let mut text = String::new();
        let _ = std::fs::File::open(LOG).and_then(|file| file.take(LOG_BYTES_MAX).read_to_string(&mut text));
        understand(&text)
    }

    /// Waits until the program has replaced the runtime in process `pid`, which was called `before`.
    fn until_executed(&self, pid: Pid, before: Option<&str>) -> Result<(), NotRun> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(STEP_MS_MAX) {
            if name_of(pid).as_deref() != before {
                return self.inspect(pid);
            }
            if has_ended(pid) && name_of(pid).as_deref() == before {
                return Err(match self.complaint() {
                    NotRun::Failed(_) => NotRun::Number(libc::ENOEXEC),
                    known @ NotRun::Number(_) => known,
                });
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Err(NotRun::Failed("the program did not begin".to_owned()))
    }

    /// Holds the runtime to its word: what the receipt says of the program must be what the kernel says of it. The wall ends
    /// with an error otherwise, whatever the program has done by then.
    fn inspect(&self, pid: Pid) -> Result<(), NotRun> {
        let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let status = std::fs::read_to_string(folder.join("status"))?;
        if let Some(line) = differing(&status, self.setup.ids.user_in_stage()) {
            return Err(NotRun::Failed(format!("it built another wall than it was asked for: `{line}`")));
        }
        // Absent once the program has ended.
        let own = std::fs::read_link("/proc/self/ns/mnt")?;
        if std::fs::read_link(folder.join("ns/mnt")).is_ok_and(|theirs| theirs == own) {
            return Err(NotRun::Failed("it gave the program no mounts of its own".to_owned()));
        }
        Ok(())
    }

    fn signal(&self, signal: i32) {
        // Its group has nobody beside it who could continue it, so the kernel would not stop it for less.
        let signal = if signal == libc::SIGTSTP { libc::SIGSTOP } else { signal };
        if let (Some(pid), Some(signal)) = (self.running, Signal::from_named_raw(signal)) {
            // The program leads its own group; who left the group is not asked.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    fn bury(&mut self) -> io::Result<()> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        while let Ok(Some((pid, status))) = rustix::process::wait(options) {
            if Some(pid) == self.running && status.stopped() {
                self.control.send(&Report::Stopped, &[])?;
            } else if Some(pid) == self.running {
                self.running = None;
                let end = match status.terminating_signal() {
                    Some(signal) => End::Signalled(signal),
                    None => End::Exited(status.exit_status().unwrap_or(255)),
                };
                let place = init::last_place(&Path::new(SCRATCH).join(init::PLACE.trim_start_matches('/')));
                self.control.send(&Report::Ended { end, place, alone: false }, &[])?;
            }
        }
        Ok(())
    }

    /// Counts what no cgroup counts here.
    fn look(&mut self) -> io::Result<()> {
        let limits = &self.setup.profile.limits;
        let spent = Spent::now()?;
        if self.setup.made.memory_watched && spent.resident_bytes > limits.memory_bytes {
            // Pages shared between processes were counted once for each; count them properly before ending anything.
            if Spent::exact_bytes()? > limits.memory_bytes {
                self.control.send(&Report::Reached(Limit::Memory), &[])?;
                sys::kill_everyone();
            }
        }
        if !self.told && spent.tasks + 1 >= u64::from(limits.processes) {
            self.told = true;
            self.control.send(&Report::Reached(Limit::Processes), &[])?;
        }
        Ok(())
    }
}

/// The kernel's name of a process, its own even when it has ended.
fn name_of(pid: Pid) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()
}

fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // After the name, which is in parentheses and may hold anything.
    matches!(stat.rsplit(')').next().map(str::trim_start), Some(rest) if rest.starts_with(['Z', 'X']))
}

/// The first line of a process's status (proc_pid_status(5)) that is not what it must be behind the wall.
fn differing(status: &str, user: u32) -> Option<String> {
    let (ids, none) = (format!("{user} {user} {user} {user}"), "0000000000000000");
    let wanted = [
        ("Uid:", ids.as_str()),
        ("Gid:", ids.as_str()),
        ("CapInh:", none),
        ("CapPrm:", none),
        ("CapEff:", none),
        ("CapBnd:", none),
        ("CapAmb:", none),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ];
    wanted.into_iter().find_map(|(name, wanted)| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or(name);
        let found = line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
        (found != wanted).then(|| line.replace('\t', " "))
    })
}

/// What a runtime's log means: either the program is not there or cannot be executed, or the last thing that went wrong.
fn understand(log: &str) -> NotRun {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let errors = lines.filter(|line| matches!(line["level"].as_str(), Some("error" | "fatal")));
    let last = errors.filter_map(|line| line["msg"].as_str().map(str::to_owned)).next_back();
    let Some(message) = last else { return NotRun::Failed("it failed and logged nothing".to_owned()) };
    let lower = message.to_lowercase();
    let about_program = ["exec: \"", "executable", "exec \"", "exec /", "exec user process"];
    if about_program.iter().any(|words| lower.contains(words)) {
        for (words, number) in [
            ("not found", libc::ENOENT),
            ("no such file", libc::ENOENT),
            ("permission denied", libc::EACCES),
            ("is a directory", libc::EACCES),
            ("operation not permitted", libc::EACCES),
            ("not executable", libc::EACCES),
            ("exec format error", libc::ENOEXEC),
        ] {
            if lower.contains(words) {
                return NotRun::Number(number);
            }
        }
    }
    NotRun::Failed(message)
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_CORE" => Resource::Core,
        "RLIMIT_NPROC" => Resource::Nproc,
        "RLIMIT_NOFILE" => Resource::Nofile,
        "RLIMIT_FSIZE" => Resource::Fsize,
        "RLIMIT_RTPRIO" => Resource::Rtprio,
        _ => return None,
    })
}

/// A terminal between, for some of the streams; it is nobody's controlling terminal.
fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags =
        rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&ours)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    Ok((ours, theirs))
}

/// The other side of the container's terminal, as the runtime hands it over.
fn receive_terminal(console: &std::os::unix::net::UnixListener) -> io::Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let (connection, _) = console.accept()?;
    let mut name = [0; 4_096];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [io::IoSliceMut::new(&mut name)];
    rustix::net::recvmsg(&connection, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let terminal = descriptors.flatten().next();
    terminal
        .filter(|terminal: &OwnedFd| terminal.as_raw_fd() > 2)
        .ok_or_else(|| io::Error::other("the runtime handed no terminal over"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_held_to_its_word() {
        let good = "Name:\tsh\nUid:\t7\t7\t7\t7\nGid:\t7\t7\t7\t7\nCapInh:\t0000000000000000\n\
                    CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
                    CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(differing(good, 7), None);
        for (from, to) in [
            ("Uid:\t7\t7\t7\t7", "Uid:\t7\t7\t0\t7"),
            ("Gid:\t7\t7\t7\t7", "Gid:\t7\t0\t7\t7"),
            ("CapBnd:\t0000000000000000", "CapBnd:\t0000000000000001"),
            ("CapEff:\t0000000000000000\n", ""),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("Seccomp:\t2", "Seccomp:\t0"),
        ] {
            assert!(differing(&good.replace(from, to), 7).is_some(), "{to}");
        }
    }

    #[test]
    fn a_missing_program_is_told_from_a_failing_runtime() {
        for (message, number) in [
            ("exec: \\\"nope\\\": executable file not found in $PATH", Some(libc::ENOENT)),
            ("exec: \\\"/x\\\": stat /x: no such file or directory", Some(libc::ENOENT)),
            ("exec: \\\"/x\\\": permission denied", Some(libc::EACCES)),
            ("executable file `nope` not found in $PATH: No such file or directory", Some(libc::ENOENT)),
            ("open executable: Operation not permitted", Some(libc::EACCES)),
            ("error mounting \\\"/x\\\": no such file or directory", None),
            ("mount `proc`: Permission denied", None),
        ] {
            let log = format!(
                "{{\"level\":\"warning\",\"msg\":\"x\"}}\n{{\"level\":\"error\",\"msg\":\"{message}\"}}\n"
            );
            let found = match understand(&log) {
                NotRun::Number(number) => Some(number),
                NotRun::Failed(_) => None,
            };
            assert_eq!(found, number, "{message}");
        }
        assert!(matches!(understand(""), NotRun::Failed(_)));
        assert!(matches!(understand("not json\n"), NotRun::Failed(_)));
    }
}
