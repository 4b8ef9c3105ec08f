//! The OCI backend: the same wall, its inner half built by an OCI runtime of the operator's choice, from the same profile.
//! The runtime never runs with rights on the host: it works in a stage, namespaces of its own in which it is nobody outside.
//!
//! ```text
//! caller ──fork──► janitor          as in the native backend
//!    └──clone──► stage              user, mount, process, network namespaces; cuts what the profile shows, writes the
//!                   │               bundle into memory (stage.rs, config.rs), then drives the runtime (drive.rs)
//!                   ├──► RUNTIME create; RUNTIME start
//!                   └──► program    behind the runtime's wall; reaped by the stage, ended with it
//! ```
//!
//! Everything is in the stage's namespaces: bundle, runtime state, container, mounts. Its end is their end, so nothing has
//! to be deleted by name, whoever dies first. Around it stand the native backend's control group and janitor.

mod config;
mod drive;
mod ids;
mod runtime;
mod stage;

pub use runtime::Runtime;

use crate::layer::{Layer, Layers, Unenforceable};
use crate::native::cgroup::Cgroup;
use crate::native::control::{Control, Request};
use crate::native::identity::Identity;
use crate::native::janitor::{Janitor, Litter};
use crate::native::mounts::{self, Trees};
use crate::native::{Outcome, RunError, Sandbox, network};
use crate::overlay::Overlay;
use crate::profile::{Command, Mode, Network, Profile};
use crate::protect::Guards;
use crate::seccomp;
use crate::sys::{self, Fork};
use crate::view::View;
use ids::Ids;
use runtime::Family;
use std::os::fd::AsFd;
use std::path::Path;

/// Runs `command` behind the wall of `profile`, built by `runtime`, and waits for its end. `state` is a private folder of
/// the caller's that no profile shows.
///
/// # Errors
/// As [`start`] and [`Sandbox::run`].
pub fn run(
    runtime: &Runtime,
    profile: &Profile,
    command: &Command,
    state: &Path,
) -> Result<Outcome, RunError> {
    start(runtime, profile, state)?.run(command, None)
}

/// Prepares the wall of `profile`; `runtime` builds its inner half once there is a program to run, anew for each.
///
/// # Errors
/// What the profile asks for cannot be shown or enforced here, or not by this runtime; `EBUSY` in a process with other
/// threads. Landlock is beyond the OCI specification, so a profile must waive it.
pub fn start(runtime: &Runtime, profile: &Profile, state: &Path) -> Result<Sandbox, RunError> {
    let view = View::plan(profile)?;
    let workspace = profile.workspace.as_ref();
    let overlay = match workspace.map(|workspace| (&workspace.path, &workspace.mode)) {
        Some((path, Mode::Overlay(state))) => Some((state.as_path(), Overlay::open(state, path)?.hold()?)),
        _ => None,
    };
    let guards = match workspace {
        Some(workspace) if workspace.mode == Mode::ReadWrite => {
            Guards::take(&workspace.path, &workspace.protected, state)?
        }
        Some(workspace) => Guards::of_existing(&workspace.path),
        None => Guards::none(),
    };
    let cgroup = Cgroup::make(&profile.limits);
    let janitor = Janitor::hire(Litter { cgroup, guards })?;
    let mut layers = janitor.litter_layers(profile)?;
    name_layers(&mut layers, runtime, profile)?;

    let identity = Identity::choose()?;
    let ids = Ids::choose(identity, runtime)?;
    let overlay_owner = overlay.as_ref().map(|(state, _)| crate::native::owner_of(state)).transpose()?;
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
            let setup = stage::Setup {
                profile,
                runtime,
                ids,
                view: &view,
                guards: &janitor.litter().guards.guards,
                trees,
                overlay: overlay.as_ref().map(|(state, _)| (*state, overlay_tree)),
                layers,
                memory_watched,
            };
            stage::main(setup, theirs)
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    // Told before anything can run inside: whatever happens to this process, the janitor ends that one.
    janitor.watch(init_fd.as_fd())?;
    let mut sandbox = Sandbox {
        init,
        init_fd,
        control,
        layers: Layers::default(),
        sockets: None,
        janitor,
        profile: profile.clone(),
        identity,
    };
    ids.map(init)?;
    // Before it begins: a group left by the runtime's own processes would be counted wrong.
    sandbox.janitor.litter().cgroup.enter(init)?;
    sandbox.control.send(&Request::Begin, &[])?;
    sandbox.layers = sandbox.until_ready()?;
    if profile.network == Network::Captured {
        sandbox.sockets = Some(network::Sockets::receive(sandbox.control.as_fd())?);
    }
    Ok(sandbox)
}

/// Says of each layer who makes it. Where it is the runtime, its program is looked at before the run counts as begun, and a
/// wall that is not what was asked for ends it.
fn name_layers(layers: &mut Layers, runtime: &Runtime, profile: &Profile) -> Result<(), Unenforceable> {
    let name = runtime.name();
    if runtime.family() == Family::Gvisor {
        let found = format!(
            "`{name}` reaches the host's files as its own root, not as the program's user, and shows no process whose \
             rights could be looked at; use crun, runc or the native backend"
        );
        return Err(Unenforceable { layer: Layer::UserShift, found });
    }
    let calls = seccomp::Rules::builtin().syscalls().len();
    for (layer, how) in [
        (Layer::Namespaces, format!("user, process, network; mount, ipc, host name, cgroup by {name}")),
        (Layer::Root, format!("own root by {name}, cut-loose mounts")),
        (Layer::Proc, "subset=pid".to_owned()),
        (Layer::Privileges, format!("no capabilities, no_new_privs, own session and keyring by {name}")),
        (Layer::Seccomp, format!("{calls} calls judged, by {name}")),
        (Layer::Processes, format!("per-namespace count by {name}")),
    ] {
        layers.held.insert(layer, how);
    }
    if !profile.waived.contains(&Layer::Landlock) {
        let found = format!(
            "the OCI specification has no word for Landlock, so `{name}` cannot be asked for it; waive it, or use the \
             native backend"
        );
        return Err(Unenforceable { layer: Layer::Landlock, found });
    }
    layers.waived.insert(Layer::Landlock, format!("not offered by {name}"));
    Ok(())
}
