//! Everything about a sandbox that is made outside of it: what will be shown, guarded and bounded, and who cleans up.
//! The first process inside begins meanwhile; what it does is its backend's.

use super::cgroup::Cgroup;
use super::control::{Control, DESCRIPTORS_MAX, Request};
use super::identity::Identity;
use super::janitor::{Janitor, Litter};
use super::mounts::{self, Trees};
use super::{RunError, Sandbox, network};
use crate::layer::{Layer, Layers, Unenforceable};
use crate::overlay::Overlay;
use crate::profile::{Home, Mode, Network, Profile};
use crate::protect::{Guard, Guards, Reserve};
use crate::sys;
use crate::view::View;
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What is planned outside, before anything is made.
pub(crate) struct Outside<'a> {
    profile: &'a Profile,
    pub(crate) identity: Identity,
    litter: Litter,
}

/// What the first process inside begins with.
pub(crate) struct Parts<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) identity: Identity,
}

/// What is made outside while the first process begins.
pub(crate) struct Made {
    pub(crate) view: View,
    pub(crate) guards: Vec<Guard>,
    /// Pieces of the host where ids are shifted.
    pub(crate) trees: Option<Trees>,
    /// The folder with `upper` and `work` of an overlay, where ids are shifted.
    pub(crate) overlay: Option<OwnedFd>,
    /// The layers that are made outside.
    pub(crate) layers: Layers,
    /// No cgroup bounds memory; it is counted inside.
    pub(crate) memory_watched: bool,
    /// Control groups that the first process enters itself.
    pub(crate) doors: Vec<OwnedFd>,
}

impl Made {
    fn send(self, control: &Control) -> io::Result<()> {
        let Self { mut view, guards, trees, overlay, layers, memory_watched, doors } = self;
        let contents: Vec<Vec<u8>> =
            view.files.iter_mut().map(|(_, content)| std::mem::take(content)).collect();
        let pieces = trees.as_ref().map(|trees| trees.0.len());
        let (doors, trees) = (&doors, trees.iter().flat_map(|trees| &trees.0));
        let build = Request::Build {
            view,
            contents: contents.iter().map(Vec::len).collect(),
            guards,
            layers,
            memory_watched,
            pieces,
            overlay: overlay.is_some(),
            doors: doors.len(),
        };
        let descriptors: Vec<_> = trees.chain(&overlay).chain(doors).map(AsFd::as_fd).collect();
        let (first, more) = descriptors.split_at(descriptors.len().min(DESCRIPTORS_MAX));
        control.send(&build, first)?;
        more.chunks(DESCRIPTORS_MAX).try_for_each(|more| control.send(&Request::Pieces, more))?;
        control.send_bytes(&contents.concat())
    }

    /// What the caller made; `None` when it is gone.
    pub(crate) fn receive(control: &Control) -> io::Result<Option<Self>> {
        let Some((request, mut descriptors)) = control.receive::<Request>()? else { return Ok(None) };
        let Request::Build { mut view, contents, guards, layers, memory_watched, pieces, overlay, doors } =
            request
        else {
            return Ok(None);
        };
        while descriptors.len() < pieces.unwrap_or(0) + usize::from(overlay) + doors {
            match control.receive::<Request>()? {
                Some((Request::Pieces, more)) if !more.is_empty() => descriptors.extend(more),
                _ => return Ok(None),
            }
        }
        let bytes =
            control.receive_bytes(contents.iter().fold(0, |sum, length| sum.saturating_add(*length)))?;
        let mut bytes = bytes.as_slice();
        for ((_, content), length) in view.files.iter_mut().zip(contents) {
            let (first, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
            *content = first.to_vec();
            bytes = rest;
        }
        let doors = descriptors.split_off(descriptors.len().saturating_sub(doors));
        let overlay = if overlay { descriptors.pop() } else { None };
        let trees = pieces.map(|_| Trees(descriptors));
        Ok(Some(Self { view, guards, trees, overlay, layers, memory_watched, doors }))
    }
}

/// When the first process enters its control groups, which can take as long as a grace period of the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupEntry {
    /// Before it builds.
    First,
    /// While it builds; it starts no program before it was told to.
    Meanwhile,
}

impl<'a> Outside<'a> {
    /// Plans all of it for `profile`, whose memory of what must be removed is `state`.
    pub(crate) fn plan(profile: &'a Profile, state: &Path) -> Result<Self, RunError> {
        refuse_state_inside(profile, state)?;
        let is_guarded = profile.workspace.as_ref().filter(|workspace| workspace.mode == Mode::ReadWrite);
        let reserve = is_guarded.map(|workspace| Reserve::of(&workspace.path, state)).transpose()?;
        let litter = Litter { cgroup: Cgroup::plan(&profile.limits), reserve };
        Ok(Self { profile, identity: Identity::choose()?, litter })
    }

    /// Has the first process made, which gets its users by `map`, makes what it needs in the meantime, and waits until it has
    /// built its wall. `name_layers` may say more of the layers that are made outside, or refuse them.
    pub(crate) fn stand(
        self,
        map: impl FnOnce(Pid) -> Result<(), Unenforceable>,
        entry: CgroupEntry,
        name_layers: impl FnOnce(&mut Layers) -> Result<(), Unenforceable>,
        inside: impl FnOnce(Parts<'_>, Control),
    ) -> Result<Sandbox, RunError> {
        let Self { profile, identity, litter } = self;
        let mut namespaces = sys::NAMESPACES;
        if profile.network != Network::Host {
            namespaces |= sys::NETWORK_NAMESPACE;
        }
        // Before there is anything to clean up.
        let (mut janitor, control) = Janitor::hire(litter, namespaces, map, |control| {
            inside(Parts { profile, identity }, control);
        })?;
        let view = View::plan(profile)?;
        let workspace = profile.workspace.as_ref();
        let guards = match (workspace, janitor.reserve()) {
            (Some(workspace), Some(reserve)) => Guards::take(&workspace.path, &workspace.protected, reserve),
            (Some(workspace), None) => Guards::of_existing(&workspace.path),
            (None, _) => Ok(Guards::none()),
        }?;
        let guards = match workspace {
            Some(workspace) => guards.with_blank(&workspace.path, &workspace.blank)?,
            None => guards,
        };
        janitor.cgroup().make(&profile.limits);
        let mut layers = layers(profile, janitor.cgroup(), &guards)?;
        name_layers(&mut layers)?;
        let (state, overlay_hold) = match workspace.map(|workspace| (&workspace.path, &workspace.mode)) {
            Some((path, Mode::Overlay(state))) => {
                (Some(state.as_path()), Some(Overlay::open(state, path)?.hold()?))
            }
            _ => (None, None),
        };
        let owner = state.map(owner_of).transpose()?;
        let owners = identity.owners(&view, owner)?;
        let trees = owners.as_ref().map(|owners| Trees::cut(&view, Some(owners))).transpose()?;
        let overlay = match (state, &owners, owner) {
            (Some(state), Some(owners), Some(owner)) => Some(mounts::cut_state(state, owners, owner)?),
            _ => None,
        };
        let memory_watched = janitor.cgroup().memory().is_none();
        let doors = match entry {
            CgroupEntry::First => Vec::new(),
            CgroupEntry::Meanwhile => janitor.cgroup().doors()?,
        };
        let made =
            Made { view, guards: guards.guards.clone(), trees, overlay, layers, memory_watched, doors };

        let first = janitor.first()?.pid();
        let mut sandbox = Sandbox {
            control,
            layers: Layers::default(),
            sockets: None,
            guards: Some(guards),
            janitor,
            is_alone: true,
            _overlay: overlay_hold,
            profile: profile.clone(),
            identity,
        };
        if entry == CgroupEntry::First {
            sandbox.janitor.cgroup().enter(first)?;
        }
        let sent = made.send(&sandbox.control);
        let entered = match entry {
            CgroupEntry::First => Ok(()),
            CgroupEntry::Meanwhile => sandbox.janitor.cgroup().enter_without_door(first),
        };
        // What the first process says comes before what could not be said to it.
        sandbox.layers = sandbox.until_ready()?;
        // Who stood for owners has ended by now.
        drop(owners);
        sent.and(entered)?;
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
