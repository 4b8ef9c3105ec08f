//! The first process inside: it builds the wall around itself, then starts programs in it and buries the dead.
//! It never returns to what the program was doing before the fork, and keeps nothing of the caller's.

use super::control::{Control, Report, Request};
use super::identity::Identity;
use super::mounts::Plan;
use super::outside::Made;
use super::spent::Spent;
use super::{cgroup, network, privileges};
use crate::layer::{Layer, Layers, Unenforceable};
use crate::profile::{Command, End, Limit, Limits, Network, Profile};
use crate::sys::{self, Fork};
use crate::view;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where the control socket stands once everything else is closed.
const CONTROL: i32 = 3;
/// How often memory is counted where no cgroup bounds it, in milliseconds.
const MEMORY_LOOK_MS: u64 = 25;
/// Every so many looks it is counted with care.
const CAREFUL_LOOK_EVERY: u32 = 10;
/// How often processes are counted, in milliseconds.
const PROCESSES_LOOK_MS: u64 = 1_000;

/// Where a shell may write the folder it ended in.
pub(crate) const PLACE: &str = "/run/place";
/// Longest such folder, in bytes.
const PLACE_BYTES_MAX: u64 = 4_096;

/// What stands, and what is still to be done about it.
struct Walled {
    layers: Layers,
    sockets: Option<network::Sockets>,
    /// No cgroup bounds memory; it is counted here.
    memory_watched: bool,
    /// Mounts keep protected names.
    is_guarded: bool,
}

enum Failure {
    Refused(Unenforceable),
    Failed(String),
    /// The caller is gone.
    Alone,
}

impl From<Unenforceable> for Failure {
    fn from(refusal: Unenforceable) -> Self {
        Self::Refused(refusal)
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Does all of it, and ends this process.
pub(super) fn main(profile: &Profile, identity: Identity, control: Control) -> ! {
    sys::forget_arguments();
    // A panic's backtrace would be the caller's business; here it ends the sandbox.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inside(profile, identity, control)));
    sys::exit_now(i32::from(ended.is_err()));
}

fn inside(profile: &Profile, identity: Identity, control: Control) {
    let limits = profile.limits.clone();
    let environment = environment(profile);
    let home = profile.workspace.as_ref().map_or(PathBuf::from(view::HOME), |it| it.path.clone());
    let Walled { layers, sockets, memory_watched, is_guarded } = match wall(profile, identity, &control) {
        Ok(walled) => walled,
        Err(failure) => {
            let report = match failure {
                Failure::Refused(refusal) => Report::Refused(refusal),
                Failure::Failed(why) => Report::Failed(why),
                Failure::Alone => return,
            };
            // Where nobody listens any more, nobody needs to know.
            let _ = control.send(&report, &[]);
            return;
        }
    };
    if control.send(&Report::Ready(layers), &[]).is_err() {
        return;
    }
    if let Some(sockets) = sockets
        && sockets.send(control.as_fd()).is_err()
    {
        return;
    }
    let Ok(control) = keep_only(control) else { return };
    let guards = if is_guarded { Guarding::begin().map(Some) } else { Ok(None) };
    let Ok(guards) = guards else { return };
    let mut inside = Inside {
        control,
        limits,
        environment,
        home,
        memory_watched,
        running: None,
        has_terminal: false,
        is_last: false,
        told: false,
        looks: 0,
        guards,
    };
    // The socket's end is the sandbox's end.
    let _ = inside.serve();
}

/// Everything between a fresh clone and a closed door, in the order that lets each step still happen.
fn wall(profile: &Profile, identity: Identity, control: &Control) -> Result<Walled, Failure> {
    match control.receive::<Request>()? {
        Some((Request::Begin, _)) => {}
        _ => return Err(Failure::Alone),
    }
    identity.assume()?;
    // Becoming another user cleared both of these.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    rustix::process::setsid()?;
    rustix::system::sethostname(view::HOST_NAME.as_bytes())?;
    privileges::forget_keys()?;

    let sockets = match profile.network {
        Network::Host => None,
        own => network::raise(own == Network::Captured)
            .map_err(|error| Unenforceable { layer: Layer::Capture, found: error.to_string() })?,
    };
    let Some(made) = Made::receive(control)? else { return Err(Failure::Alone) };
    let Made { view, guards, trees, overlay, mut layers, memory_watched, doors } = made;
    for door in &doors {
        cgroup::go_through(door)
            .map_err(|error| Failure::Failed(format!("entering a control group: {error}")))?;
    }
    match sockets.as_ref().map(|sockets| sockets.mechanism) {
        None => {}
        Some(mechanism @ network::Mechanism::Redirect) => {
            layers.held.insert(Layer::Capture, mechanism.to_string());
        }
        Some(mechanism @ network::Mechanism::Ports { .. }) => {
            let found = mechanism.to_string();
            if !profile.waived.contains(&Layer::Capture) {
                return Err(Unenforceable { layer: Layer::Capture, found }.into());
            }
            layers.waived.insert(Layer::Capture, found);
        }
    }
    let plan = Plan {
        view: &view,
        guards: &guards,
        workspace: profile.workspace.as_ref(),
        overlay,
        home: &profile.home,
        hidden: &profile.hidden,
        limits: &profile.limits,
    };
    plan.enter(trees)?;
    layers.held.insert(Layer::Root, "own root, cut-loose mounts".to_owned());
    layers.held.insert(Layer::Proc, "subset=pid".to_owned());

    privileges::drop_capabilities()?;
    layers
        .held
        .insert(Layer::Privileges, "no capabilities, no_new_privs, own session and keyring".to_owned());
    let mut writable = view.writable.clone();
    writable.extend(privileges::standing_writable());
    match privileges::lock_paths(&writable) {
        Ok(version) => drop(layers.held.insert(Layer::Landlock, version)),
        Err(refusal) if profile.waived.contains(&Layer::Landlock) => {
            layers.waived.insert(Layer::Landlock, refusal.found);
        }
        Err(refusal) => return Err(refusal.into()),
    }
    // What this process holds, the others inside, who are the same user, must not read.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let filter = privileges::filter_system_calls(memory_watched)?;
    layers.held.insert(Layer::Seccomp, filter);
    Ok(Walled { layers, sockets, memory_watched, is_guarded: !guards.is_empty() })
}

/// Closes everything but the control socket; standard streams become `/dev/null`.
fn keep_only(control: Control) -> io::Result<Control> {
    let control: OwnedFd = control.into();
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    if control.as_raw_fd() != CONTROL {
        // Descriptor 3 may be anything of the caller's; closing it first makes the duplicate land there.
        sys::close_range(3, 3, 0)?;
        let moved = rustix::io::fcntl_dupfd_cloexec(&control, CONTROL)?;
        debug_assert_eq!(moved.as_raw_fd(), CONTROL);
        std::mem::forget(moved);
        std::mem::forget(control);
    } else {
        std::mem::forget(control);
    }
    std::mem::forget(nothing);
    sys::close_range(4, u32::MAX, 0)?;
    Ok(Control::from_descriptor(sys::adopt(CONTROL)))
}

struct Inside {
    control: Control,
    limits: Limits,
    environment: BTreeMap<String, String>,
    home: PathBuf,
    memory_watched: bool,
    running: Option<Pid>,
    /// Whether it is the job of a terminal.
    has_terminal: bool,
    /// Nothing else is started once that has ended.
    is_last: bool,
    /// The caller knows that the bound on processes was reached.
    told: bool,
    looks: u32,
    /// The mounts that keep protected names, where there are any.
    guards: Option<Guarding>,
}

/// Watches that nothing outside takes a guard away: a name that is moved or removed there loses its mount here.
struct Guarding {
    mounts: File,
    count: usize,
}

impl Guarding {
    fn begin() -> io::Result<Self> {
        let mounts = File::open("/proc/self/mountinfo")?;
        let mut guarding = Self { mounts, count: 0 };
        guarding.count = guarding.now();
        Ok(guarding)
    }

    fn is_broken(&self) -> bool {
        self.now() < self.count
    }

    fn now(&self) -> usize {
        let mut text = Vec::new();
        let mut file = &self.mounts;
        match file.rewind().and_then(|()| file.read_to_end(&mut text)) {
            Ok(_) => text.iter().filter(|byte| **byte == b'\n').count(),
            Err(_) => 0,
        }
    }
}

impl Inside {
    fn serve(&mut self) -> io::Result<()> {
        let deaths = sys::signals_as_descriptor(&[libc::SIGCHLD])?;
        let look_ms = if self.memory_watched { MEMORY_LOOK_MS } else { PROCESSES_LOOK_MS };
        let mut next_look = Instant::now();
        loop {
            let guards = self.guards.as_ref().map_or(deaths.as_fd(), |guards| guards.mounts.as_fd());
            let mut ready = [
                PollFd::new(&self.control, PollFlags::IN),
                PollFd::new(&deaths, PollFlags::IN),
                PollFd::from_borrowed_fd(guards, PollFlags::PRI),
            ];
            // By the clock: what happens inside, however often, must not keep this from looking.
            let wait = self.running.map(|_| next_look.saturating_duration_since(Instant::now()));
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            match rustix::event::poll(&mut ready, wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [asked, died, remounted] = ready.map(|fd| !fd.revents().is_empty());
            if remounted && self.guards.as_ref().is_some_and(Guarding::is_broken) {
                let why =
                    "a protected name was moved or removed outside while the sandbox ran, so it was ended";
                self.control.send(&Report::Failed(why.to_owned()), &[])?;
                return Ok(());
            }
            if self.running.is_some() && Instant::now() >= next_look {
                self.look()?;
                next_look = Instant::now() + Duration::from_millis(look_ms);
            }
            if died {
                while sys::next_signal(deaths.as_fd()).is_some() {}
                if self.bury()? && self.is_last {
                    return Ok(());
                }
            }
            if asked {
                match self.control.receive::<Request>()? {
                    None => return Ok(()),
                    Some((Request::Execute { command, terminal, last }, streams)) => {
                        self.is_last = last;
                        next_look = Instant::now() + Duration::from_millis(look_ms);
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
        match self.start(command, terminal, streams) {
            Ok((pid, shown)) => {
                self.running = Some(pid);
                self.has_terminal = shown.is_some();
                let descriptors: Vec<_> = shown.iter().map(AsFd::as_fd).collect();
                self.control.send(&Report::Started, &descriptors)
            }
            Err(error) => {
                let number = error.raw_os_error().unwrap_or(libc::EIO);
                self.control.send(&Report::NotStarted(number), &[])
            }
        }
    }

    /// The new program's id, and the terminal's other side where it got one.
    fn start(
        &self,
        command: &Command,
        terminal: [bool; 3],
        streams: Vec<OwnedFd>,
    ) -> io::Result<(Pid, Option<OwnedFd>)> {
        let [input, output, error] =
            <[OwnedFd; 3]>::try_from(streams).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        let mut streams = [input, output, error];
        for stream in &mut streams {
            // The host's own could not be opened anew as `/dev/stdin`: nothing of the host's root is in reach.
            if is_nothing(stream) {
                *stream = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
            }
        }
        let mut shown = None;
        if terminal.contains(&true) {
            let flags = rustix::pty::OpenptFlags::RDWR
                | rustix::pty::OpenptFlags::NOCTTY
                | rustix::pty::OpenptFlags::CLOEXEC;
            let ours = rustix::pty::openpt(flags)?;
            rustix::pty::unlockpt(&ours)?;
            let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
            // Of a program before.
            sys::leave_terminal();
            rustix::process::ioctl_tiocsctty(&theirs)?;
            for (stream, _) in streams.iter_mut().zip(terminal).filter(|(_, wanted)| *wanted) {
                *stream = theirs.try_clone()?;
            }
            shown = Some(ours);
        }
        let (mut failed, failing) = io::pipe()?;
        match sys::fork_into(0)? {
            Fork::Child => {
                let error = self.become_program(command, terminal, &streams);
                let number = error.raw_os_error().unwrap_or(libc::EIO);
                let _ = (&failing).write_all(&number.to_ne_bytes());
                sys::exit_now(127)
            }
            Fork::Parent { pid, .. } => {
                drop(failing);
                let mut number = Vec::new();
                failed.read_to_end(&mut number)?;
                match <[u8; 4]>::try_from(number) {
                    Err(_) => Ok((pid, shown)),
                    Ok(number) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number))),
                }
            }
        }
    }

    /// Executes the program in this process; returns why that failed.
    fn become_program(&self, command: &Command, terminal: [bool; 3], streams: &[OwnedFd; 3]) -> io::Error {
        let prepared = || -> io::Result<()> {
            match streams.iter().zip(terminal).find(|(_, wanted)| *wanted) {
                Some((stream, _)) => {
                    // Its group has a parent in the session, this process's, so that it can be stopped and continued from its
                    // terminal.
                    rustix::process::setpgid(None, None)?;
                    sys::block(libc::SIGTTOU)?;
                    rustix::termios::tcsetpgrp(stream, rustix::process::getpid())?;
                }
                // A session is scheduled as one: however many it becomes, whoever counts its memory gets a turn (sched(7), autogroup).
                None => drop(rustix::process::setsid()?),
            }
            let [input, output, error] = streams;
            rustix::stdio::dup2_stdin(input)?;
            rustix::stdio::dup2_stdout(output)?;
            rustix::stdio::dup2_stderr(error)?;
            rustix::process::chdir(command.cwd.as_ref().unwrap_or(&self.home))?;
            rustix::process::umask(Mode::from_raw_mode(0o022));
            sys::default_signals();
            sys::close_on_exec_from(3)?;
            privileges::bound(&self.limits, self.memory_watched)
        };
        if let Err(error) = prepared() {
            return error;
        }
        std::process::Command::new(&command.program)
            .args(&command.arguments)
            .env_clear()
            .envs(&self.environment)
            .exec()
    }

    fn signal(&self, signal: i32) {
        // In a session of its own nobody could continue it, so the kernel would not stop it for less.
        let is_told_to_stop = signal == libc::SIGTSTP && !self.has_terminal;
        let signal = if is_told_to_stop { libc::SIGSTOP } else { signal };
        if let (Some(pid), Some(signal)) = (self.running, Signal::from_named_raw(signal)) {
            // The program leads its own group; who left the group is not asked.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    /// Says how the program ended. True if it did and nothing that it started is left.
    fn bury(&mut self) -> io::Result<bool> {
        let mut ended = None;
        let alone = loop {
            match rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((pid, status))) if Some(pid) == self.running && status.stopped() => {
                    self.control.send(&Report::Stopped, &[])?;
                }
                Ok(Some((pid, status))) if Some(pid) == self.running => {
                    self.running = None;
                    ended = Some(match status.terminating_signal() {
                        Some(signal) => End::Signalled(signal),
                        None => End::Exited(status.exit_status().unwrap_or(255)),
                    });
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break false,
                // Whoever loses its parent in this namespace becomes a child of this process, so without children it is alone.
                Err(error) => break error == rustix::io::Errno::CHILD,
            }
        };
        let Some(end) = ended else { return Ok(false) };
        if !alone || self.memory_watched {
            // What it started, or left in memory, is still there to be counted.
            self.look()?;
        }
        self.control.send(&Report::Ended { end, place: last_place(PLACE.as_ref()), alone }, &[])?;
        Ok(alone)
    }

    /// Counts what no cgroup counts here. What cannot be counted ends the sandbox.
    fn look(&mut self) -> io::Result<()> {
        self.count().inspect_err(|error| {
            let why = format!("what the sandbox uses could not be counted, so it was ended: {error}");
            let _ = self.control.send(&Report::Failed(why), &[]);
        })
    }

    fn count(&mut self) -> io::Result<()> {
        let spent = Spent::now()?;
        self.looks = self.looks.wrapping_add(1);
        let most = self.limits.memory_bytes;
        let with_care = spent.resident_bytes > most || self.looks.is_multiple_of(CAREFUL_LOOK_EVERY);
        if self.memory_watched && with_care && Spent::exact_bytes()? > most {
            self.control.send(&Report::Reached(Limit::Memory), &[])?;
            sys::kill_everyone();
        }
        if !self.told && spent.tasks + 1 >= u64::from(self.limits.processes) {
            self.told = true;
            self.control.send(&Report::Reached(Limit::Processes), &[])?;
        }
        Ok(())
    }
}

/// Whether this is `/dev/null`: the memory device with minor number 3 (devices.txt).
fn is_nothing(stream: &OwnedFd) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|found| {
        rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::CharacterDevice
            && found.st_rdev == rustix::fs::makedev(1, 3)
    })
}

/// Where a shell says it was when it ended, if it does.
pub(crate) fn last_place(place: &std::path::Path) -> Option<PathBuf> {
    let mut text = Vec::new();
    let file =
        rustix::fs::open(place, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()).ok()?;
    std::fs::File::from(file).take(PLACE_BYTES_MAX).read_to_end(&mut text).ok()?;
    let text = String::from_utf8(text).ok()?;
    Some(PathBuf::from(text.trim_end_matches('\n'))).filter(|place| place.is_absolute())
}

/// The profile's environment, with the few variables every program expects.
pub(crate) fn environment(profile: &Profile) -> BTreeMap<String, String> {
    let standing = [
        // Files have another owner inside than outside. Git compares that with what it wrote down, and would read every file
        // anew whenever one side has been at work after the other.
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "core.checkStat"),
        ("GIT_CONFIG_VALUE_0", "minimal"),
        ("HOME", view::HOME),
        ("LOGNAME", view::USER_NAME),
        ("PATH", view::PATH),
        ("SHELL", "/bin/bash"),
        ("TMPDIR", "/tmp"),
        ("USER", view::USER_NAME),
    ];
    let mut environment: BTreeMap<String, String> =
        standing.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    environment.extend(profile.environment.clone());
    environment
}
