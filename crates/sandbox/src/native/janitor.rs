//! Removes what a sandbox would leave on the host: control groups and reserved names.
//! A process of its own does it when the caller cannot, because it was killed; it does nothing else.

use super::cgroup::Cgroup;
use super::control::Control;
use crate::protect::Reserve;
use crate::sys::{self, Fork};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What could be left, known before any of it is made.
#[derive(Clone, Debug)]
pub(crate) struct Litter {
    pub(crate) cgroup: Cgroup,
    pub(crate) reserve: Option<Reserve>,
}

impl Litter {
    fn remove(&self) {
        self.cgroup.remove();
        self.give_names_back();
    }

    fn give_names_back(&self) {
        if let Some(reserve) = &self.reserve {
            reserve.give_back();
        }
    }

    fn may_exist(&self) -> bool {
        self.cgroup.is_planned() || self.reserve.is_some()
    }
}

/// The process that cleans up after a caller that was killed.
#[derive(Debug)]
pub(crate) struct Janitor {
    /// Its process and the line to it, where there is something it could have to do.
    hired: Option<(Pid, Control)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The first process inside, which must be gone before anything is removed; its descriptor comes with this.
    Watch,
    /// The names are being given back; remove the control groups and go.
    Dismissed,
}

impl Janitor {
    /// Forks the janitor of `litter`, if there may be any. Nothing of it must be there yet.
    pub(crate) fn hire(litter: &Litter) -> io::Result<Self> {
        if !litter.may_exist() {
            return Ok(Self { hired: None });
        }
        let (ours, theirs) = Control::pair()?;
        match sys::fork_into(0)? {
            Fork::Parent { pid, .. } => Ok(Self { hired: Some((pid, ours)) }),
            Fork::Child => {
                drop(ours);
                wait_and_clean(litter, theirs);
                sys::exit_now(0)
            }
        }
    }

    /// Names the first process inside: whatever happens to the caller, the janitor ends it.
    pub(crate) fn watch(&self, init: BorrowedFd<'_>) -> io::Result<()> {
        self.hired.as_ref().map_or(Ok(()), |(_, line)| line.send(&Word::Watch, &[init]))
    }

    /// Removes everything, half of it each, and sees the janitor off. Nothing runs inside any more.
    pub(crate) fn dismiss(&mut self, litter: &Litter) {
        if let Some((pid, line)) = self.hired.take() {
            if line.send(&Word::Dismissed, &[]).is_err() {
                litter.cgroup.remove();
            }
            litter.give_names_back();
            while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Some(pid), WaitOptions::empty())
            {
            }
        }
    }
}

fn wait_and_clean(litter: &Litter, line: Control) {
    // Out of the caller's terminal, group and streams, so that what ends the caller does not end this.
    let _ = rustix::process::setsid();
    let _ = sys::signals_as_descriptor(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]);
    if let Ok(nothing) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&nothing);
        let _ = rustix::stdio::dup2_stdout(&nothing);
        let _ = rustix::stdio::dup2_stderr(&nothing);
    }
    let mut init: Option<OwnedFd> = None;
    loop {
        match line.receive::<Word>() {
            Ok(Some((Word::Watch, descriptors))) => init = descriptors.into_iter().next(),
            Ok(Some((Word::Dismissed, _))) => return litter.cgroup.remove(),
            Ok(None) | Err(_) => break,
        }
    }
    if let Some(init) = init {
        let _ = rustix::process::pidfd_send_signal(&init, Signal::KILL);
        while let Err(rustix::io::Errno::INTR) =
            rustix::event::poll(&mut [PollFd::new(&init.as_fd(), PollFlags::IN)], None)
        {}
    }
    litter.remove();
}
