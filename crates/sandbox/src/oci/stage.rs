//! The stage: the first process of new namespaces, who puts everything the bundle needs into memory there and then drives
//! the runtime. It never returns to what the program was doing before the fork.

use super::config::{self, BLANK, BUNDLE, EMPTY, PROC, ROOT, SCRATCH, STAGE, TREES};
use super::drive::Drive;
use super::ids::Ids;
use super::runtime::Runtime;
use crate::layer::{Layer, Unenforceable};
use crate::native::control::{Control, Report, Request};
use crate::native::mounts::{self, Trees};
use crate::native::outside::Made;
use crate::native::{network, privileges};
use crate::profile::{Network, Profile, Workspace};
use crate::sys::{self, mount_attribute as attribute};
use crate::view::{self, Access, View};
use rustix::fs::{FsWord, Gid, Mode, OFlags, Uid};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags};
use rustix::process::{DumpableBehavior, Signal};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Memory for the bundle and what the runtime keeps about it, in bytes.
const STAGE_BYTES_MAX: u64 = 64 << 20;
/// Entries of the same.
const STAGE_ENTRIES_MAX: u64 = 16_384;
/// Where runtimes expect control groups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// `CGROUP2_SUPER_MAGIC`.
const CGROUP2: FsWord = 0x6367_7270;
/// Where the runtime itself stands in the stage.
pub(super) const RUNTIME: &str = "runtime";
/// What the runtime keeps about its container.
pub(super) const STATE: &str = "state";

/// All that the stage needs to know.
pub(super) struct Setup<'a> {
    pub(super) profile: &'a Profile,
    pub(super) runtime: &'a Runtime,
    pub(super) ids: Ids,
    /// Pieces cut by root already; an ordinary user cuts them here.
    pub(super) made: Made,
}

enum Failure {
    Refused(Unenforceable),
    Failed(String),
}

impl From<Unenforceable> for Failure {
    fn from(refusal: Unenforceable) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Waits until everything is made outside; `None` when the caller is gone.
pub(super) fn begin(control: &Control) -> Option<Made> {
    match control.receive::<Request>() {
        Ok(Some((Request::Begin, _))) => Made::receive(control).ok().flatten(),
        Ok(_) | Err(_) => None,
    }
}

/// Does all of it, and ends this process.
pub(super) fn main(setup: Setup<'_>, control: Control) -> ! {
    // A panic's backtrace would be the caller's business; here it ends the sandbox.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inside(setup, control)));
    sys::exit_now(i32::from(ended.is_err()));
}

fn inside(mut setup: Setup<'_>, control: Control) {
    let sockets = match prepare(&mut setup) {
        Ok(sockets) => sockets,
        Err(failure) => {
            let report = match failure {
                Failure::Refused(refusal) => Report::Refused(refusal),
                Failure::Failed(why) => Report::Failed(why),
            };
            // Where nobody listens any more, nobody needs to know.
            let _ = control.send(&report, &[]);
            return;
        }
    };
    if control.send(&Report::Ready(std::mem::take(&mut setup.made.layers)), &[]).is_err() {
        return;
    }
    if let Some(sockets) = sockets
        && sockets.send(control.as_fd()).is_err()
    {
        return;
    }
    if let Ok(mut drive) = Drive::new(&setup, control) {
        // The socket's end is the sandbox's end.
        let _ = drive.serve();
    }
}

/// Everything up to where only the program is missing.
fn prepare(setup: &mut Setup<'_>) -> Result<Option<network::Sockets>, Failure> {
    rustix::process::setsid()?;
    privileges::forget_keys()?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    // An ordinary user cuts them as itself: its own files are not the stage's root's.
    let trees = match setup.made.trees.take() {
        Some(trees) => trees,
        None => Trees::cut(&setup.made.view, None)?,
    };
    let runtime = mounts::clone_tree(setup.runtime.path(), false)
        .map_err(|error| Failure::Failed(format!("{}: {error}", setup.runtime.path().display())))?;
    let state = setup.profile.workspace.as_ref().and_then(Workspace::overlay);
    let overlay_state = match (setup.made.overlay.take(), state) {
        (Some(tree), _) => Some(tree),
        (None, Some(state)) => Some(mounts::clone_tree(state, false)?),
        (None, None) => None,
    };
    setup.ids.assume_root()?;
    survive_nobody(DumpableBehavior::Dumpable)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));

    let sockets = raise_network(setup)?;
    processes_of_the_stage()?;
    forbid_user_namespaces(setup.ids.nested());
    unify_cgroups();
    let refuse = |layer| move |error: io::Error| Unenforceable { layer, found: error.to_string() };
    let stage = mounts::memory(STAGE_BYTES_MAX, STAGE_ENTRIES_MAX, "0711").map_err(refuse(Layer::Root))?;
    mounts::attach(stage.as_fd(), Path::new(STAGE))?;
    rustix::process::chdir(STAGE)?;
    for folder in [BUNDLE, TREES, SCRATCH, PROC, EMPTY, STATE] {
        std::fs::create_dir(folder)?;
    }
    std::fs::File::create(RUNTIME)?;
    std::fs::File::create(BLANK)?;
    mounts::attach(runtime.as_fd(), Path::new(RUNTIME))?;
    processes(Path::new(PROC), Some("pid")).map_err(refuse(Layer::Proc))?;
    scratch(setup)?;
    root_files(&setup.made.view)?;
    place_trees(setup, trees, overlay_state)?;
    // What this process holds is the caller's; the others inside must not read it.
    survive_nobody(DumpableBehavior::NotDumpable)?;
    Ok(sockets)
}

/// Ends with the caller. To be said anew whenever this process has become another user, as is who may look at it.
fn survive_nobody(looked_at: DumpableBehavior) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(rustix::process::set_dumpable_behavior(looked_at)?)
}

fn raise_network(setup: &mut Setup<'_>) -> Result<Option<network::Sockets>, Failure> {
    let sockets = match setup.profile.network {
        Network::Host => None,
        own => network::raise(own == Network::Captured)
            .map_err(|error| Unenforceable { layer: Layer::Capture, found: error.to_string() })?,
    };
    match sockets.as_ref().map(|sockets| sockets.mechanism) {
        None => {}
        Some(mechanism @ network::Mechanism::Redirect) => {
            setup.made.layers.held.insert(Layer::Capture, mechanism.to_string());
        }
        Some(mechanism @ network::Mechanism::Ports { .. }) => {
            let found = mechanism.to_string();
            if !setup.profile.waived.contains(&Layer::Capture) {
                return Err(Unenforceable { layer: Layer::Capture, found }.into());
            }
            setup.made.layers.waived.insert(Layer::Capture, found);
        }
    }
    Ok(sockets)
}

/// `/proc` of the stage's own processes, for the runtime, which finds itself and its container there.
fn processes_of_the_stage() -> Result<(), Unenforceable> {
    processes(Path::new("/proc"), None)
        .map_err(|error| Unenforceable { layer: Layer::Proc, found: format!("mounting proc: {error}") })
}

fn processes(target: &Path, subset: Option<&str>) -> io::Result<()> {
    let fs = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(subset) = subset {
        rustix::mount::fsconfig_set_string(&fs, "subset", subset)?;
    }
    rustix::mount::fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    mounts::attach(mount.as_fd(), target)
}

/// No more user namespaces than the runtime needs, whatever its filter of system calls lets through. The filter is the
/// layer; this is a second lock where the kernel has it.
fn forbid_user_namespaces(nested: bool) {
    let _ = std::fs::write("/proc/sys/user/max_user_namespaces", if nested { "1" } else { "0" });
}

/// Shows the runtime control groups of version 2 alone: crun refuses to start where both versions are there, though it is
/// asked to make none. Where it cannot be done nothing is lost but that.
fn unify_cgroups() {
    if rustix::fs::statfs(CGROUPS).is_ok_and(|found| found.f_type == CGROUP2) {
        return;
    }
    let _ = (|| -> io::Result<()> {
        let fs = rustix::mount::fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&fs)?;
        let mount = rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        mounts::attach(mount.as_fd(), Path::new(CGROUPS))
    })();
}

/// Folders in memory that the program may write, all of one piece so that they share one bound.
fn scratch(setup: &Setup<'_>) -> Result<(), Failure> {
    let limits = &setup.profile.limits;
    let scratch = mounts::memory(limits.scratch_bytes, limits.scratch_files, "0711")?;
    mounts::attach(scratch.as_fd(), Path::new(SCRATCH))?;
    let user = setup.ids.user_in_stage();
    for (part, _) in config::scratch_parts(&setup.profile.home) {
        let place = Path::new(SCRATCH).join(part);
        std::fs::create_dir(&place)?;
        let mode = if part == "tmp" || part == "shm" || part == "var-tmp" { 0o1777 } else { 0o700 };
        rustix::fs::chown(&place, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))?;
        rustix::fs::chmod(&place, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// The root's own files and links. Devices and their links are every runtime's to supply.
fn root_files(view: &View) -> io::Result<()> {
    let root = Path::new(BUNDLE).join(ROOT);
    std::fs::create_dir(&root)?;
    let write = |path: &Path, content: &[u8]| {
        let place = root.join(path);
        std::fs::create_dir_all(place.parent().unwrap_or(&root))?;
        std::fs::write(&place, content)
    };
    for path in &view.copies {
        view::copied(path).map_or(Ok(()), |content| write(&view::relative(path), &content))?;
    }
    for (path, content) in &view.files {
        write(path, content)?;
    }
    for (path, leads_to) in view.links.iter().filter(|(path, _)| !path.starts_with("dev")) {
        let place = root.join(path);
        std::fs::create_dir_all(place.parent().unwrap_or(&root))?;
        std::os::unix::fs::symlink(leads_to, &place)?;
    }
    Ok(())
}

/// Puts each piece where the configuration names it.
fn place_trees(setup: &Setup<'_>, trees: Trees, overlay_state: Option<OwnedFd>) -> Result<(), Unenforceable> {
    let wrong = |place: &Path, error: io::Error| Unenforceable {
        layer: Layer::Root,
        found: format!("{}: {error}", place.display()),
    };
    let mut lower = None;
    for (number, (piece, tree)) in setup.made.view.binds.iter().zip(trees.0).enumerate() {
        if !config::is_shown(piece) {
            continue;
        }
        let place = config::tree(number);
        let made = if piece.is_folder {
            std::fs::create_dir(&place)
        } else {
            std::fs::File::create(&place).map(drop)
        };
        made.map_err(|error| wrong(&place, error))?;
        if piece.access == Access::Lower {
            lower = Some((relative(&place), tree));
        } else {
            mounts::attach(tree.as_fd(), &place).map_err(|error| wrong(&place, error))?;
        }
    }
    if let (Some((place, lower)), Some(state)) = (lower, overlay_state) {
        setup
            .ids
            .as_user(|| mounts::overlay(&place, &lower, &state))
            .map_err(|error| wrong(&place, error))?
            .map_err(mounts::Step::refusal)?;
    }
    [EMPTY, BLANK].map(Path::new).into_iter().try_for_each(|empty| {
        mounts::clone_at(rustix::fs::CWD, empty, false)
            .and_then(|tree| {
                let attributes = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEVICES;
                sys::set_mount_attributes(tree.as_fd(), attributes, None, false)?;
                mounts::attach(tree.as_fd(), empty)
            })
            .map_err(|error| wrong(empty, error))
    })
}

/// A place in the stage, as seen from there.
fn relative(place: &Path) -> PathBuf {
    place.strip_prefix(STAGE).unwrap_or(place).to_owned()
}

/// `/dev/null`, for whatever must lead nowhere.
pub(super) fn nothing() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}
