//! Watches one program from outside: passes signals on, keeps time, output and disk within bounds, says how it ended.
//! It starts nothing; what runs was started behind the wall.

use super::control::{Report, Request};
use super::streams::{Ear, Flow, Standard, Streams};
use super::{RunError, Sandbox};
use crate::layer::Layers;
use crate::profile::{Command, End, Home, Limit, Limits, Mode};
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often free space is looked at while something may write, in milliseconds.
const DISK_LOOK_MS: u64 = 200;
/// Files that writing leaves free on a disk that counts them.
const SPARE_FILES: u64 = 10_000;
/// Signals that are the program's to handle.
const PASSED_ON: [i32; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How the program ended.
    pub end: End,
    /// Limits that were reached on the way, those that ended nothing included.
    pub reached: BTreeSet<Limit>,
    /// Where it was when it ended, if it wrote that to `/run/place`: its own word, so not to be trusted.
    pub place: Option<PathBuf>,
    /// The layers that held.
    pub layers: Layers,
}

pub(super) fn run(
    sandbox: &mut Sandbox,
    command: &Command,
    standard: Standard,
    lifeline: Option<BorrowedFd<'_>>,
    ear: Option<Ear>,
    last: bool,
) -> Result<Outcome, RunError> {
    let limits = sandbox.profile.limits.clone();
    let begun = Instant::now();
    let mut signals = PASSED_ON.to_vec();
    signals.extend([libc::SIGWINCH, libc::SIGTSTP, libc::SIGCONT]);
    let signals = sys::signals_as_descriptor(&signals)?;
    let streams = Streams::choose(standard, limits.output_bytes, sandbox.identity.nobody(), ear.is_some())?;
    let request = Request::Execute { command: command.clone(), terminal: streams.terminal, last };
    sandbox.is_alone = false;
    sandbox.control.send(&request, &streams.given.each_ref().map(AsFd::as_fd))?;
    let shown = match sandbox.control.receive::<Report>()? {
        Some((Report::Started, descriptors)) => descriptors.into_iter().next(),
        Some((Report::NotStarted(number), _)) => {
            sandbox.is_alone = true;
            let error = io::Error::from_raw_os_error(number);
            return Err(RunError::NotStarted { program: command.program.clone(), error });
        }
        other => return Err(RunError::Failed(format!("{other:?} instead of a start"))),
    };
    let flow = streams.flow(shown, ear)?;
    let mut watch = Watch {
        disks: Disk::all(sandbox, &limits),
        limits,
        begun,
        reached: BTreeSet::new(),
        place: None,
        alone: false,
        is_told_to_stop: false,
    };
    let end = watch.until_end(sandbox, &flow, signals.as_fd(), lifeline)?;
    let ended_here = matches!(end, End::Limit(_));
    sandbox.is_alone = watch.alone;
    // Nothing that the program started outlives it.
    let cleared = if watch.alone { Ok(()) } else { sandbox.control.send(&Request::Clear, &[]) };
    if ended_here || cleared.is_err() {
        flow.abandon();
    } else {
        // What was written last is still on its way.
        flow.drain();
    }
    if sandbox.janitor.cgroup().ran_out_of_memory() {
        watch.reached.insert(Limit::Memory);
    }
    let end = match end {
        End::Signalled(libc::SIGKILL) if !ended_here && watch.reached.contains(&Limit::Memory) => {
            End::Limit(Limit::Memory)
        }
        end => end,
    };
    Ok(Outcome { end, reached: watch.reached, place: watch.place, layers: sandbox.layers.clone() })
}

struct Watch {
    limits: Limits,
    begun: Instant,
    disks: Vec<Disk>,
    reached: BTreeSet<Limit>,
    place: Option<PathBuf>,
    /// Nothing that the program started is left.
    alone: bool,
    /// The caller wants it to stop, and it has not yet.
    is_told_to_stop: bool,
}

impl Watch {
    fn until_end(
        &mut self,
        sandbox: &Sandbox,
        flow: &Flow,
        signals: BorrowedFd<'_>,
        lifeline: Option<BorrowedFd<'_>>,
    ) -> Result<End, RunError> {
        loop {
            let idle = sandbox.control.as_fd();
            let mut ready = [
                PollFd::new(&sandbox.control, PollFlags::IN),
                PollFd::from_borrowed_fd(signals, PollFlags::IN),
                PollFd::from_borrowed_fd(flow.bell(), PollFlags::IN),
                PollFd::from_borrowed_fd(lifeline.unwrap_or(idle), PollFlags::IN),
            ];
            match rustix::event::poll(&mut ready, self.next_look().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            let [told, signalled, flooded, lost] = ready.map(|fd| !fd.revents().is_empty());
            // Before the end it causes: a program whose output is no longer read dies of that.
            if flooded {
                return Ok(self.ends(Limit::Output));
            }
            if told {
                match sandbox.control.receive::<Report>()? {
                    Some((Report::Ended { end, place, alone }, _)) => {
                        (self.place, self.alone) = (place, alone);
                        return Ok(end);
                    }
                    Some((Report::Reached(limit), _)) => drop(self.reached.insert(limit)),
                    // One that stops itself stops its terminal's job, and otherwise nobody: others may share this process's group.
                    Some((Report::Stopped, _)) if flow.has_terminal() || self.is_told_to_stop => {
                        self.is_told_to_stop = false;
                        flow.pause();
                        sandbox.control.send(&Request::Signal(libc::SIGCONT), &[])?;
                    }
                    Some((Report::Stopped, _)) => {}
                    Some((Report::Failed(why), _)) => return Err(RunError::Failed(why)),
                    // The kernel ends a whole control group for want of memory, the first process included.
                    None => return Ok(End::Signalled(libc::SIGKILL)),
                    Some((other, _)) => return Err(RunError::Failed(format!("{other:?} while running"))),
                }
            }
            if signalled {
                while let Some(signal) = sys::next_signal(signals) {
                    match signal {
                        libc::SIGWINCH => flow.resize(),
                        libc::SIGCONT => flow.go_on(),
                        _ => {
                            self.is_told_to_stop |= signal == libc::SIGTSTP;
                            sandbox.control.send(&Request::Signal(signal), &[])?;
                        }
                    }
                }
            }
            if lifeline.is_some() && lost {
                return Ok(End::Signalled(libc::SIGKILL));
            }
            if self.limits.wall_ms.is_some_and(|most| self.begun.elapsed() >= Duration::from_millis(most)) {
                return Ok(self.ends(Limit::Time));
            }
            if self.disks.iter().any(Disk::is_short) {
                return Ok(self.ends(Limit::Disk));
            }
        }
    }

    fn ends(&mut self, limit: Limit) -> End {
        self.reached.insert(limit);
        End::Limit(limit)
    }

    fn next_look(&self) -> Option<Timespec> {
        let time =
            self.limits.wall_ms.map(|most| Duration::from_millis(most).saturating_sub(self.begun.elapsed()));
        let disk = self.disks.first().map(|_| Duration::from_millis(DISK_LOOK_MS));
        let next = [time, disk].into_iter().flatten().min()?;
        Timespec::try_from(next).ok()
    }
}

/// The disk that a program's writing could fill.
struct Disk {
    path: PathBuf,
    spare_bytes: u64,
    free_bytes: u64,
    free_files: u64,
}

impl Disk {
    fn all(sandbox: &Sandbox, limits: &Limits) -> Vec<Self> {
        let profile = &sandbox.profile;
        let workspace = profile.workspace.as_ref().and_then(|workspace| match &workspace.mode {
            Mode::ReadOnly => None,
            Mode::ReadWrite => Some(&workspace.path),
            Mode::Overlay(state) => Some(state),
        });
        let home = match &profile.home {
            Home::Scratch => None,
            Home::Kept(home) => Some(home),
        };
        let spare_bytes = limits.disk_spare_bytes;
        let watched = profile.write.iter().chain(workspace).chain(home).filter_map(|path| {
            let (free_bytes, free_files) = free(path)?;
            // Where there is less to begin with, half of that is spared.
            let spare_bytes = if spare_bytes <= free_bytes { spare_bytes } else { free_bytes / 2 };
            Some(Self { path: path.clone(), spare_bytes, free_bytes, free_files })
        });
        watched.collect()
    }

    /// Less is free than must be, and less than there was.
    fn is_short(&self) -> bool {
        free(&self.path).is_some_and(|(bytes, files)| {
            (bytes < self.spare_bytes && bytes < self.free_bytes)
                || (files < SPARE_FILES && files < self.free_files)
        })
    }
}

fn free(path: &std::path::Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(path).ok()?;
    // File systems that do not count files say zero of zero.
    let files = if found.f_files == 0 { u64::MAX } else { found.f_favail };
    Some((found.f_bavail.saturating_mul(found.f_frsize), files))
}
