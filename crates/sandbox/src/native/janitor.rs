//! Removes what a sandbox would leave on the host: control groups and reserved names.
//! A process of its own does it when the caller cannot, because it was killed; it does nothing else.

use super::cgroup::Cgroup;
use super::control::Control;
use crate::layer::{Layer, Layers, Unenforceable};
use crate::profile::Profile;
use crate::protect::Guards;
use crate::sys::{self, Fork};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What would be left.
#[derive(Debug)]
pub(super) struct Litter {
    pub(super) cgroup: Cgroup,
    pub(super) guards: Guards,
}

impl Litter {
    pub(super) fn remove(&self) {
        self.cgroup.remove();
        self.guards.release();
    }

    fn exists(&self) -> bool {
        self.cgroup.exists() || self.guards.is_reserving()
    }
}

/// The process that cleans up after a caller that was killed.
#[derive(Debug)]
pub(super) struct Janitor {
    litter: Litter,
    /// Its process and the line to it, where there is something it could have to do.
    hired: Option<(Pid, Control)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The first process inside, which must be gone before anything is removed; its descriptor comes with this.
    Watch,
    /// All is clean; go.
    Dismissed,
}

impl Janitor {
    /// Forks the janitor of `litter`, if there is any.
    pub(super) fn hire(litter: Litter) -> io::Result<Self> {
        if !litter.exists() {
            return Ok(Self { litter, hired: None });
        }
        let (ours, theirs) = Control::pair()?;
        match sys::fork_into(0)? {
            Fork::Parent { pid, .. } => Ok(Self { litter, hired: Some((pid, ours)) }),
            Fork::Child => {
                drop(ours);
                wait_and_clean(&litter, theirs);
                sys::exit_now(0)
            }
        }
    }

    pub(super) fn litter(&self) -> &Litter {
        &self.litter
    }

    /// The layers that were made outside, with `profile`'s leave where one could not be.
    pub(super) fn litter_layers(&self, profile: &Profile) -> Result<Layers, Unenforceable> {
        let mut layers = Layers::default();
        let mut hold = |layer, how: &str| drop(layers.held.insert(layer, how.to_owned()));
        hold(Layer::Namespaces, "user, mount, process, network, ipc, host name, cgroup");
        hold(Layer::Processes, "per-namespace count");
        hold(Layer::Memory, self.litter.cgroup.memory().as_deref().unwrap_or("counted"));
        if rustix::process::geteuid().is_root() {
            hold(Layer::UserShift, "idmapped mounts");
        }
        if !self.litter.guards.guards.is_empty() {
            hold(Layer::Protection, "mounts and reserved names");
        }
        if profile.limits.cpu_percent.is_some() {
            if self.litter.cgroup.has_cpu() {
                hold(Layer::Cpu, "cgroup");
            } else {
                let found = "no cgroup with the cpu controller can be made".to_owned();
                if !profile.waived.contains(&Layer::Cpu) {
                    return Err(Unenforceable { layer: Layer::Cpu, found });
                }
                layers.waived.insert(Layer::Cpu, found);
            }
        }
        Ok(layers)
    }

    pub(super) fn watch(&self, init: BorrowedFd<'_>) -> io::Result<()> {
        self.hired.as_ref().map_or(Ok(()), |(_, line)| line.send(&Word::Watch, &[init]))
    }

    /// Sends the janitor home: everything was removed.
    pub(super) fn dismiss(&mut self) {
        if let Some((pid, line)) = self.hired.take() {
            let _ = line.send(&Word::Dismissed, &[]);
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
            Ok(Some((Word::Dismissed, _))) => return,
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
