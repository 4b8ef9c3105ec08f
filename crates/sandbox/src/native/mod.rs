//! The native backend: a process in namespaces of its own, and a janitor who cleans up whatever happens.
//! It says what runs when; each wall is made in a file of its own.
//!
//! ```text
//! caller ──fork──► janitor          makes the first process, waits for the caller's end, then removes what would be left
//!    └──────────► first process     builds the wall around itself (init.rs), reports, starts programs
//!                    └──fork──► program
//! ```

pub(crate) mod cgroup;
pub(crate) mod control;
pub(crate) mod identity;
pub(crate) mod init;
pub(crate) mod janitor;
mod modes;
pub(crate) mod mounts;
pub mod network;
pub(crate) mod outside;
pub(crate) mod privileges;
pub(crate) mod spent;
mod streams;
mod supervise;

pub use streams::{Ear, Standard};
pub use supervise::Outcome;

use crate::layer::{Layers, Unenforceable};
use crate::overlay::OverlayError;
use crate::profile::{Command, Profile};
use crate::protect::{Guards, ProtectError};
use crate::view::ViewError;
use control::{Control, Report};
use identity::Identity;
use janitor::Janitor;
use outside::{CgroupEntry, Outside, Parts};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Why a program did not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host lacks a layer that was not waived.
    #[error(transparent)]
    Unenforceable(#[from] Unenforceable),
    /// The profile names something that cannot be shown.
    #[error("the profile cannot be shown: {0}")]
    View(#[from] ViewError),
    /// A protected name cannot be kept as it is.
    #[error("the workspace cannot be protected: {0}")]
    Protect(#[from] ProtectError),
    /// The overlay cannot be used.
    #[error("the overlay cannot be used: {0}")]
    Overlay(#[from] OverlayError),
    /// The program is not there inside, or is no program.
    #[error("`{program}` cannot be started inside: {error}")]
    NotStarted {
        /// As it was asked for.
        program: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A standard stream that would lead out of the sandbox.
    #[error(
        "standard {0} is a folder or a disk, which would be a way out; give a file, a pipe or a terminal"
    )]
    Stream(&'static str),
    /// The sandbox itself failed.
    #[error("the sandbox failed: {0}")]
    Failed(String),
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A wall that stands, with nothing or one program running behind it. Dropping it ends everything inside.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) control: Control,
    pub(crate) layers: Layers,
    pub(crate) sockets: Option<network::Sockets>,
    /// What is guarded stays reserved for as long as this is held.
    pub(crate) guards: Option<Guards>,
    pub(crate) janitor: Janitor,
    /// Nothing runs inside but the first process.
    pub(crate) is_alone: bool,
    _overlay: Option<OwnedFd>,
    pub(crate) profile: Profile,
    pub(crate) identity: Identity,
}

impl Sandbox {
    /// Builds the wall of `profile`. `state` is a private folder of the caller's that no profile shows.
    ///
    /// # Errors
    /// What the profile asks for cannot be shown or enforced here; `EBUSY` in a process with other threads.
    pub fn start(profile: &Profile, state: &Path) -> Result<Self, RunError> {
        let outside = Outside::plan(profile, state)?;
        let identity = outside.identity;
        outside.stand(
            |init| identity.map(init),
            CgroupEntry::Meanwhile,
            |_| Ok(()),
            |Parts { profile, identity }, control| init::main(profile, identity, control),
        )
    }

    pub(crate) fn until_ready(&self) -> Result<Layers, RunError> {
        match self.control.receive::<Report>()? {
            Some((Report::Ready(layers), _)) => Ok(layers),
            Some((Report::Refused(refusal), _)) => Err(refusal.into()),
            Some((Report::Failed(why), _)) => Err(RunError::Failed(why)),
            Some((other, _)) => Err(RunError::Failed(format!("{other:?} before it was ready"))),
            None => Err(RunError::Failed("the first process ended while building".to_owned())),
        }
    }

    /// The layers that hold.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The sockets at which everything arrives that leaves a captured network; once.
    pub fn take_sockets(&mut self) -> Option<network::Sockets> {
        self.sockets.take()
    }

    /// Runs `command` on this process's own standard streams and waits for its end, or the end of `lifeline`.
    ///
    /// # Errors
    /// The program is not there, or the sandbox failed.
    pub fn run(&mut self, command: &Command, lifeline: Option<&dyn AsFd>) -> Result<Outcome, RunError> {
        self.run_on(Standard::take()?, command, lifeline)
    }

    /// Runs `command` on these streams. A sandbox runs any number of commands, one after the other; each finds the files
    /// that the ones before it left, and none of their processes.
    ///
    /// # Errors
    /// The program is not there, or the sandbox failed.
    pub fn run_on(
        &mut self,
        standard: Standard,
        command: &Command,
        lifeline: Option<&dyn AsFd>,
    ) -> Result<Outcome, RunError> {
        supervise::run(self, command, standard, lifeline.map(AsFd::as_fd), None, false)
    }

    /// Runs `command` as [`run`](Self::run) does, with somebody who hears what comes in to it from outside: what is typed at its terminal
    /// or written to its standard input.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_heard(&mut self, command: &Command, ear: Ear) -> Result<Outcome, RunError> {
        supervise::run(self, command, Standard::take()?, None, Some(ear), false)
    }

    /// Runs `command` as [`run`](Self::run) does, and then takes the sandbox down, which begins as soon as it has ended.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_last(mut self, command: &Command, lifeline: Option<&dyn AsFd>) -> Result<Outcome, RunError> {
        supervise::run(&mut self, command, Standard::take()?, lifeline.map(AsFd::as_fd), None, true)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let (guards, alone) = (&mut self.guards, self.is_alone);
        self.janitor.dismiss(alone, || *guards = None);
    }
}
