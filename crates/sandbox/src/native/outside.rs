//! Everything about a sandbox that is made outside of it: what will be shown, guarded and bounded, and who cleans up.
//! It ends with the fork of the first process inside; what that does is its backend's.

use super::cgroup::Cgroup;
use super::control::{Control, Request};
use super::identity::Identity;
use super::janitor::{Janitor, Litter};
use super::mounts::{self, Trees};
use super::{RunError, Sandbox, network};
use crate::layer::{Layer, Layers, Unenforceable};
use crate::overlay::Overlay;
use crate::profile::{Home, Mode, Network, Profile};
use crate::protect::{Guard, Guards, Reserve};
use crate::sys::{self, Fork};
use crate::view::View;
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What is made outside.
pub(crate) struct Outside<'a> {
    profile: &'a Profile,
    pub(crate) identity: Identity,
    pub(crate) layers: Layers,
    view: View,
    guards: Guards,
    trees: Option<Trees>,
    overlay: Option<(&'a Path, Option<OwnedFd>)>,
    overlay_hold: Option<OwnedFd>,
    litter: Litter,
    janitor: Janitor,
}

/// What the first process inside gets of it.
pub(crate) struct Parts<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) identity: Identity,
    pub(crate) view: &'a View,
    pub(crate) guards: &'a [Guard],
    pub(crate) trees: Option<Trees>,
    pub(crate) overlay: Option<(&'a Path, Option<OwnedFd>)>,
    pub(crate) layers: Layers,
    /// No cgroup bounds memory; it is counted inside.
    pub(crate) memory_watched: bool,
}

/// When the first process enters its control groups, which can take as long as a grace period of the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupEntry {
    /// Before it begins.
    First,
    /// While it builds; it starts no program before it was told to.
    Meanwhile,
}

impl<'a> Outside<'a> {
    /// Makes all of it for `profile`, whose memory of what must be removed is `state`.
    pub(crate) fn prepare(profile: &'a Profile, state: &Path) -> Result<Self, RunError> {
        let view = View::plan(profile)?;
        refuse_state_inside(profile, state)?;
        let workspace = profile.workspace.as_ref();
        let is_guarded = workspace.filter(|workspace| workspace.mode == Mode::ReadWrite);
        let reserve = is_guarded.map(|workspace| Reserve::of(&workspace.path, state)).transpose()?;
        let mut litter = Litter { cgroup: Cgroup::plan(&profile.limits), reserve };
        // Before there is anything to clean up.
        let janitor = Janitor::hire(&litter)?;
        let guards = match (workspace, &litter.reserve) {
            (Some(workspace), Some(reserve)) => Guards::take(&workspace.path, &workspace.protected, reserve),
            (Some(workspace), None) => Guards::of_existing(&workspace.path),
            (None, _) => Ok(Guards::none()),
        }?;
        litter.cgroup.make(&profile.limits);
        let layers = layers(profile, &litter.cgroup, &guards)?;

        let (state, overlay_hold) = match workspace.map(|workspace| (&workspace.path, &workspace.mode)) {
            Some((path, Mode::Overlay(state))) => {
                (Some(state.as_path()), Some(Overlay::open(state, path)?.hold()?))
            }
            _ => (None, None),
        };
        let identity = Identity::choose()?;
        let owner = state.map(owner_of).transpose()?;
        let owners = identity.owners(&view, owner)?;
        let trees = owners.as_ref().map(|owners| Trees::cut(&view, Some(owners))).transpose()?;
        let overlay = match (state, &owners, owner) {
            (Some(state), Some(owners), Some(owner)) => {
                Some((state, Some(mounts::cut_state(state, owners, owner)?)))
            }
            (state, ..) => state.map(|state| (state, None)),
        };
        Ok(Self { profile, identity, layers, view, guards, trees, overlay, overlay_hold, litter, janitor })
    }

    /// Forks the first process, gives it its users by `map`, and waits until it has built its wall.
    pub(crate) fn stand(
        self,
        map: impl FnOnce(Pid) -> Result<(), Unenforceable>,
        entry: CgroupEntry,
        inside: impl FnOnce(Parts<'_>, Control),
    ) -> Result<Sandbox, RunError> {
        let Self { profile, identity, layers, view, guards, trees, overlay, overlay_hold, litter, janitor } =
            self;
        let (control, theirs) = Control::pair()?;
        let mut namespaces = sys::NAMESPACES;
        if profile.network != Network::Host {
            namespaces |= sys::NETWORK_NAMESPACE;
        }
        let memory_watched = litter.cgroup.memory().is_none();
        let fork = sys::fork_into(namespaces)
            .map_err(|error| Unenforceable { layer: Layer::Namespaces, found: error.to_string() })?;
        let (init, init_fd) = match fork {
            Fork::Child => {
                drop(control);
                let guards = &guards.guards;
                let view = &view;
                let parts = Parts { profile, identity, view, guards, trees, overlay, layers, memory_watched };
                inside(parts, theirs);
                // It ends its process itself; whatever it does, it does not become the caller.
                sys::exit_now(1)
            }
            Fork::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop(theirs);
        let mut sandbox = Sandbox {
            init,
            init_fd,
            control,
            layers: Layers::default(),
            sockets: None,
            guards: Some(guards),
            litter,
            janitor,
            _overlay: overlay_hold,
            profile: profile.clone(),
            identity,
        };
        // Told before anything can run inside.
        sandbox.janitor.watch(sandbox.init_fd.as_fd())?;
        map(init)?;
        if entry == CgroupEntry::First {
            sandbox.litter.cgroup.enter(init)?;
        }
        sandbox.control.send(&Request::Begin, &[])?;
        if entry == CgroupEntry::Meanwhile {
            sandbox.litter.cgroup.enter(init)?;
        }
        sandbox.layers = sandbox.until_ready()?;
        if profile.network == Network::Captured {
            sandbox.sockets = Some(network::Sockets::receive(sandbox.control.as_fd())?);
        }
        Ok(sandbox)
    }
}

/// What remembers reserved names must be out of reach of who could have other names removed by it.
fn refuse_state_inside(profile: &Profile, state: &Path) -> Result<(), RunError> {
    let state = state.canonicalize()?;
    let workspace = profile.workspace.as_ref().filter(|workspace| workspace.mode == Mode::ReadWrite);
    let kept = match &profile.home {
        Home::Kept(home) => Some(home),
        Home::Scratch => None,
    };
    let writable = profile.write.iter().chain(kept).chain(workspace.map(|workspace| &workspace.path));
    let hidden = profile.hidden.iter().any(|hidden| state.starts_with(hidden));
    match writable.into_iter().find(|folder| state.starts_with(folder) && !hidden) {
        None => Ok(()),
        Some(folder) => Err(RunError::Failed(format!(
            "the state folder {} lies in {}, which can be changed from inside; keep it elsewhere",
            state.display(),
            folder.display()
        ))),
    }
}

/// The layers that are made outside, with `profile`'s leave where one could not be.
fn layers(profile: &Profile, cgroup: &Cgroup, guards: &Guards) -> Result<Layers, Unenforceable> {
    let mut layers = Layers::default();
    let mut hold = |layer, how: &str| drop(layers.held.insert(layer, how.to_owned()));
    hold(Layer::Namespaces, "user, mount, process, network, ipc, host name, cgroup");
    hold(Layer::Processes, "per-namespace count");
    hold(Layer::Memory, cgroup.memory().unwrap_or("counted"));
    if rustix::process::geteuid().is_root() {
        hold(Layer::UserShift, "idmapped mounts");
    }
    if !guards.guards.is_empty() {
        hold(Layer::Protection, "mounts and reserved names");
    }
    if profile.limits.cpu_percent.is_some() {
        if cgroup.has_cpu() {
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

fn owner_of(path: &Path) -> io::Result<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|found| (found.uid(), found.gid()))
}
