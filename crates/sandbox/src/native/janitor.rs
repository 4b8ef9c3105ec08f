//! Removes what a sandbox would leave on the host: control groups and reserved names.
//! A process of its own does it when the caller cannot, because it was killed. Before that it makes the first process inside,
//! while the caller prepares what that one will need; it does nothing else.

use super::RunError;
use super::cgroup::Cgroup;
use super::control::{Control, Request};
use crate::layer::{Layer, Unenforceable};
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
    fn give_names_back(&self) {
        if let Some(reserve) = &self.reserve {
            reserve.give_back();
        }
    }
}

/// The first process inside, a child of the caller's.
#[derive(Debug)]
pub(crate) struct First {
    pid: Pid,
    pidfd: OwnedFd,
}

impl First {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Ends it, and with it everything inside, in the time this takes.
    fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// It is gone only when all others inside are.
    fn bury(&self) {
        bury(self.pid);
    }
}

/// The process that makes the first one inside, and cleans up after a caller that was killed.
#[derive(Debug)]
pub(crate) struct Janitor {
    pid: Pid,
    /// The line to it, until it is dismissed.
    line: Option<Control>,
    first: Option<First>,
    litter: Litter,
}

#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The first process was made, its descriptor comes with this; it has begun unless it was `refused` something.
    Made { pid: i32, refused: Option<Unenforceable> },
    /// It could not be made.
    Refused(Unenforceable),
    /// The caller gives the names back; remove the control groups and go.
    Dismissed,
}

impl Janitor {
    /// Forks the janitor of `litter`, nothing of which may be there yet. It goes on to fork `first` into `namespaces`, gives it
    /// its users by `map`, and has it begin. Returned with it is the line to the first process.
    pub(crate) fn hire(
        litter: Litter,
        namespaces: i32,
        map: impl FnOnce(Pid) -> Result<(), Unenforceable>,
        first: impl FnOnce(Control),
    ) -> io::Result<(Self, Control)> {
        let (ours, theirs) = Control::pair()?;
        let (control, of_first) = Control::pair()?;
        match sys::fork_into(0)? {
            Fork::Parent { pid, .. } => Ok((Self { pid, line: Some(ours), first: None, litter }, control)),
            Fork::Child => {
                drop(ours);
                let begun = match sys::fork_into(namespaces | sys::SIBLING) {
                    Ok(Fork::Child) => {
                        drop((theirs, control));
                        first(of_first);
                        // It ends its process itself; whatever it does, it does not become the caller.
                        sys::exit_now(1)
                    }
                    Ok(Fork::Parent { pid, pidfd }) => {
                        drop(of_first);
                        Ok(begin(First { pid, pidfd }, map, control, &theirs))
                    }
                    Err(error) => {
                        // Or the caller waits for ever for what a first process would say.
                        drop((of_first, control));
                        Err(refused(error))
                    }
                };
                if let Err(refusal) = &begun {
                    let _ = theirs.send(&Word::Refused(refusal.clone()), &[]);
                }
                wait_and_clean(&litter, &theirs, begun.ok());
                sys::exit_now(0)
            }
        }
    }

    /// The first process inside, once it has begun.
    pub(crate) fn first(&mut self) -> Result<&First, RunError> {
        let lost = || RunError::Failed("the process that cleans up was lost".to_owned());
        if self.first.is_none() {
            let line = self.line.as_ref().ok_or_else(lost)?;
            match line.receive::<Word>()? {
                Some((Word::Made { pid, refused }, descriptors)) => {
                    let made = Pid::from_raw(pid).zip(descriptors.into_iter().next());
                    self.first = made.map(|(pid, pidfd)| First { pid, pidfd });
                    refused.map_or(Ok(()), Err)?;
                }
                Some((Word::Refused(refusal), _)) => {
                    // There is nothing to wait for any more, and nobody who would answer again.
                    self.dismiss(false, || ());
                    return Err(refusal.into());
                }
                Some((Word::Dismissed, _)) | None => {}
            }
        }
        self.first.as_ref().ok_or_else(lost)
    }

    pub(crate) fn cgroup(&mut self) -> &mut Cgroup {
        &mut self.litter.cgroup
    }

    pub(crate) fn reserve(&self) -> Option<&Reserve> {
        self.litter.reserve.as_ref()
    }

    /// Ends everything inside and removes what it would leave, half of it each. `release` lets go of what keeps the names; they are
    /// given back while the first process dies if it is `alone`, and after that otherwise.
    pub(crate) fn dismiss(&mut self, alone: bool, release: impl FnOnce()) {
        let Some(line) = self.line.take() else { return };
        let first = self.first.take();
        if let Some(first) = &first {
            first.kill();
        }
        let told = line.send(&Word::Dismissed, &[]);
        if !alone && let Some(first) = &first {
            first.bury();
        }
        release();
        self.litter.give_names_back();
        if alone && let Some(first) = &first {
            first.bury();
        }
        if told.is_err() {
            self.litter.cgroup.remove();
        }
        bury(self.pid);
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        if self.line.is_some() {
            // Nothing stands: whatever it was to become ends here. A first process that is still being made is waited for.
            let _ = self.first();
            self.dismiss(false, || ());
        }
    }
}

fn bury(pid: Pid) {
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) {}
}

fn refused(error: io::Error) -> Unenforceable {
    Unenforceable { layer: Layer::Namespaces, found: error.to_string() }
}

/// Has the first process begin. The caller's line to it is not kept: its end must be the sandbox's end.
fn begin(
    first: First,
    map: impl FnOnce(Pid) -> Result<(), Unenforceable>,
    control: Control,
    line: &Control,
) -> First {
    let begun = map(first.pid).and_then(|()| control.send(&Request::Begin, &[]).map_err(refused));
    let made = Word::Made { pid: first.pid.as_raw_nonzero().get(), refused: begun.err() };
    // Where nobody listens any more, there is only the end to wait for.
    let _ = line.send(&made, &[first.pidfd.as_fd()]);
    first
}

fn wait_and_clean(litter: &Litter, line: &Control, first: Option<First>) {
    // Out of the caller's terminal, group and streams, so that what ends the caller does not end this.
    let _ = rustix::process::setsid();
    let _ = sys::signals_as_descriptor(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]);
    if let Ok(nothing) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&nothing);
        let _ = rustix::stdio::dup2_stdout(&nothing);
        let _ = rustix::stdio::dup2_stderr(&nothing);
    }
    let dismissed = matches!(line.receive::<Word>(), Ok(Some((Word::Dismissed, _))));
    if let Some(first) = &first {
        first.kill();
        wait_for(first.pidfd.as_fd());
    }
    litter.cgroup.remove();
    if !dismissed {
        litter.give_names_back();
    }
}

fn wait_for(process: BorrowedFd<'_>) {
    while let Err(rustix::io::Errno::INTR) =
        rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], None)
    {}
}
