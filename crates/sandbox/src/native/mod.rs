//! The native backend: a process in namespaces of its own, and a janitor who cleans up whatever happens.
//! It says what runs when; each wall is made in a file of its own.
//!
//! ```text
//! caller ──fork──► janitor          waits for the caller's end, then removes what would be left
//!    └──clone──► first process      builds the wall around itself (init.rs), reports, starts programs
//!                    └──fork──► program
//! ```

mod cgroup;
pub(crate) mod control;
mod identity;
mod init;
mod janitor;
mod mounts;
pub mod network;
mod privileges;
mod streams;
mod supervise;

pub use streams::Standard;
pub use supervise::Outcome;

use crate::layer::{Layer, Layers, Unenforceable};
use crate::overlay::{Overlay, OverlayError};
use crate::profile::{Command, Mode, Network, Profile};
use crate::protect::{Guards, ProtectError};
use crate::sys::{self, Fork};
use crate::view::{View, ViewError};
use cgroup::Cgroup;
use control::{Control, Report, Request};
use identity::Identity;
use janitor::{Janitor, Litter};
use mounts::{Plan, Trees};
use rustix::process::{Pid, Signal, WaitOptions};
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
    init: Pid,
    init_fd: OwnedFd,
    control: Control,
    layers: Layers,
    sockets: Option<network::Sockets>,
    janitor: Janitor,
    profile: Profile,
    identity: Identity,
}

impl Sandbox {
    /// Builds the wall of `profile`. `state` is a private folder of the caller's that no profile shows.
    ///
    /// # Errors
    /// What the profile asks for cannot be shown or enforced here; `EBUSY` in a process with other threads.
    pub fn start(profile: &Profile, state: &Path) -> Result<Self, RunError> {
        let view = View::plan(profile)?;
        let workspace = profile.workspace.as_ref();
        let overlay = match workspace.map(|workspace| (&workspace.path, &workspace.mode)) {
            Some((path, Mode::Overlay(state))) => {
                Some((state.as_path(), Overlay::open(state, path)?.hold()?))
            }
            _ => None,
        };
        let mut guards = match workspace {
            Some(workspace) if workspace.mode == Mode::ReadWrite => {
                Guards::take(&workspace.path, &workspace.protected, state)?
            }
            Some(workspace) => Guards::of_existing(&workspace.path),
            None => Guards::none(),
        };
        if let Some(workspace) = workspace {
            guards.hide(&workspace.path, &profile.hidden);
        }
        let cgroup = Cgroup::make(&profile.limits);
        // From here on there may be something to clean up.
        let janitor = Janitor::hire(Litter { cgroup, guards })?;
        let layers = janitor.litter_layers(profile)?;

        let identity = Identity::choose()?;
        let overlay_owner = overlay.as_ref().map(|(state, _)| owner_of(state)).transpose()?;
        let owners = identity.owners(&view, overlay_owner)?;
        let shifted = owners.as_ref();
        let trees = shifted.map(|owners| Trees::cut(&view, Some(owners))).transpose()?;
        let overlay_tree = match (&overlay, shifted, overlay_owner) {
            (Some((state, _)), Some(owners), Some(owner)) => Some(mounts::cut_state(state, owners, owner)?),
            _ => None,
        };
        let (control, theirs) = Control::pair()?;
        let mut namespaces = sys::NAMESPACES;
        if profile.network != Network::Host {
            namespaces |= sys::NETWORK_NAMESPACE;
        }
        let memory_watched = !layers.held.get(&Layer::Memory).is_some_and(|how| how.starts_with("cgroup"));
        let fork = sys::fork_into(namespaces)
            .map_err(|error| Unenforceable { layer: Layer::Namespaces, found: error.to_string() })?;
        let (init, init_fd) = match fork {
            Fork::Child => {
                drop(control);
                let plan = Plan {
                    view: &view,
                    guards: &janitor.litter().guards.guards,
                    workspace: workspace.map(|workspace| workspace.path.as_path()),
                    overlay: overlay.as_ref().map(|(state, _)| (*state, overlay_tree)),
                    home: &profile.home,
                    limits: &profile.limits,
                    network: profile.network,
                };
                let writable = view.writable.clone();
                init::main(
                    init::Setup { profile, identity, plan, trees, writable, layers, memory_watched },
                    theirs,
                )
            }
            Fork::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop(theirs);
        // Told before anything can run inside: whatever happens to this process, the janitor ends that one.
        janitor.watch(init_fd.as_fd())?;
        let mut sandbox = Self {
            init,
            init_fd,
            control,
            layers: Layers::default(),
            sockets: None,
            janitor,
            profile: profile.clone(),
            identity,
        };
        identity.map(init)?;
        sandbox.control.send(&Request::Begin, &[])?;
        // While it builds: entering a control group can take as long as a grace period of the kernel.
        sandbox.janitor.litter().cgroup.enter(init)?;
        sandbox.layers = sandbox.until_ready()?;
        if profile.network == Network::Captured {
            sandbox.sockets = Some(network::Sockets::receive(sandbox.control.as_fd())?);
        }
        Ok(sandbox)
    }

    fn until_ready(&self) -> Result<Layers, RunError> {
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
        supervise::run(self, command, standard, lifeline.map(AsFd::as_fd))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The first process of the namespace takes all others with it, and is gone only when they are.
        let _ = rustix::process::pidfd_send_signal(&self.init_fd, Signal::KILL);
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitpid(Some(self.init), WaitOptions::empty())
        {}
        self.janitor.litter().remove();
        self.janitor.dismiss();
    }
}

fn owner_of(path: &Path) -> io::Result<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|found| (found.uid(), found.gid()))
}
