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
use crate::native::outside::{CgroupEntry, Outside, Parts};
use crate::native::{Outcome, RunError, Sandbox};
use crate::profile::{Command, Profile};
use crate::seccomp;
use ids::Ids;
use runtime::Family;
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
    start(runtime, profile, state)?.run_last(command, None)
}

/// Prepares the wall of `profile`; `runtime` builds its inner half once there is a program to run, anew for each.
///
/// # Errors
/// What the profile asks for cannot be shown or enforced here, or not by this runtime; `EBUSY` in a process with other
/// threads. Landlock is beyond the OCI specification, so a profile must waive it.
pub fn start(runtime: &Runtime, profile: &Profile, state: &Path) -> Result<Sandbox, RunError> {
    let outside = Outside::plan(profile, state)?;
    let ids = Ids::choose(outside.identity, runtime)?;
    // Entered before it begins: a group left by the runtime's own processes would be counted wrong.
    outside.stand(
        |init| ids.map(init),
        CgroupEntry::First,
        |layers| name_layers(layers, runtime, profile),
        |Parts { profile, identity: _ }, control| {
            if let Some(made) = stage::begin(&control) {
                stage::main(stage::Setup { profile, runtime, ids, made }, control)
            }
        },
    )
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
