//! Makes the new root: pieces of the host, folders in memory, devices, `/proc`, and guards over a workspace.
//! It runs in the mount namespace of the new process and changes nothing outside it.

use crate::layer::{Layer, Unenforceable};
use crate::profile::{Home, Limits, Workspace};
use crate::protect::{Guard, GuardKind};
use crate::sys::{self, mount_attribute as attribute};
use crate::view::{self, Access, Bind, View};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Memory for the root's own folders and files, in bytes; what the profile allows comes on top.
const ROOT_BYTES_MAX: u64 = 4 << 20;
/// Entries of the root's own.
const ROOT_ENTRIES_MAX: u64 = 4_096;
/// Inotify instances and watches inside, at most: half of what a user has by default.
const INOTIFY_INSTANCES: &str = "64";
const INOTIFY_WATCHES: &str = "65536";
/// An empty folder of the root, which nobody can write to once that is sealed.
const EMPTY: &str = "var/empty";
/// An empty file inside.
const BLANK: &str = "var/blank";
/// Where an overlay's two sides stand while it is mounted.
const OVERLAY_SIDES: [&str; 2] = ["tmp/.lower", "tmp/.state"];

/// Pieces of the host, cut loose and ready to be put in place, in the order of [`View::binds`].
pub(crate) struct Trees(pub(crate) Vec<OwnedFd>);

/// Whom the owners of files are shown as: a user namespace per owner, or nothing where ids are not shifted.
pub(crate) type Owners = HashMap<(u32, u32), Owner>;

/// How one owner is shown.
pub(crate) struct Owner {
    /// The user namespace that translates.
    pub(crate) namespace: OwnedFd,
    pub(crate) _parked: sys::Parked,
}

impl Trees {
    /// Cuts the pieces of `view` loose. With `owners` (as root), each writable piece is shown as owned by the user inside.
    pub(crate) fn cut(view: &View, owners: Option<&Owners>) -> Result<Self, Unenforceable> {
        view.binds.iter().map(|bind| cut(bind, owners)).collect::<Result<_, _>>().map(Self)
    }
}

fn cut(bind: &Bind, owners: Option<&Owners>) -> Result<OwnedFd, Unenforceable> {
    let wrong = |error: io::Error| {
        let layer = if owners.is_some() { Layer::UserShift } else { Layer::Root };
        Unenforceable { layer, found: format!("{}: {error}", bind.source.display()) }
    };
    let tree = clone_tree(&bind.source, owners.is_none()).map_err(wrong)?;
    let (mut attributes, owned) = match bind.access {
        Access::ReadOnly => (attribute::READ_ONLY | attribute::NO_DEVICES, false),
        Access::OwnedReadOnly | Access::Lower => (attribute::READ_ONLY | attribute::NO_DEVICES, true),
        Access::ReadWrite => (attribute::NO_DEVICES, true),
        Access::Device => (attribute::READ_ONLY | attribute::NO_EXEC, false),
    };
    attributes |= attribute::NO_SUID;
    let owner = owners
        .filter(|_| owned)
        .and_then(|owners| owners.get(&bind.owner))
        .map(|owner| owner.namespace.as_fd());
    // As an ordinary user a piece comes with all that is mounted below it, because the kernel will not uncover what was
    // covered; root takes the piece alone.
    sys::set_mount_attributes(tree.as_fd(), attributes, owner, owners.is_none()).map_err(wrong)?;
    Ok(tree)
}

/// A private copy of the mount at `path`, no component of which may be a symbolic link.
pub(crate) fn clone_tree(path: &Path, deep: bool) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let place = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    clone_at(place.as_fd(), Path::new(""), deep)
}

pub(crate) fn clone_at(folder: BorrowedFd<'_>, path: &Path, deep: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if deep {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(folder, path, flags)?)
}

/// The folder of an overlay, cut loose and shown as owned by the user inside.
pub(crate) fn cut_state(state: &Path, owners: &Owners, owner: (u32, u32)) -> Result<OwnedFd, Unenforceable> {
    let wrong = |error: io::Error| Unenforceable {
        layer: Layer::UserShift,
        found: format!("{}: {error}", state.display()),
    };
    let tree = clone_tree(state, false).map_err(wrong)?;
    let attributes = attribute::NO_SUID | attribute::NO_DEVICES;
    sys::set_mount_attributes(
        tree.as_fd(),
        attributes,
        owners.get(&owner).map(|owner| owner.namespace.as_fd()),
        false,
    )
    .map_err(wrong)?;
    Ok(tree)
}

/// What the root is made of besides the host's pieces.
pub(crate) struct Plan<'a> {
    pub(crate) view: &'a View,
    pub(crate) guards: &'a [Guard],
    pub(crate) workspace: Option<&'a Workspace>,
    /// The folder with `upper` and `work` of an overlay, cut loose where ids are shifted.
    pub(crate) overlay: Option<OwnedFd>,
    pub(crate) home: &'a Home,
    pub(crate) hidden: &'a [PathBuf],
    pub(crate) limits: &'a Limits,
}

impl Plan<'_> {
    /// Builds the root from `trees`, enters it, and lets go of the host's.
    pub(crate) fn enter(self, trees: Option<Trees>) -> Result<(), Unenforceable> {
        self.build(trees).map_err(|step| step.refusal())
    }

    fn build(mut self, trees: Option<Trees>) -> Result<(), Step> {
        rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
            .map_err(at("making mounts private"))?;
        let trees = match trees {
            Some(trees) => trees,
            None => Trees::cut(self.view, None).map_err(Step::Refused)?,
        };
        let overlay_state = match (self.overlay.take(), self.workspace.and_then(Workspace::overlay)) {
            (Some(tree), _) => Some(tree),
            (None, Some(state)) => Some(clone_tree(state, false).map_err(at("opening the overlay"))?),
            (None, None) => None,
        };
        let root = memory(ROOT_BYTES_MAX, ROOT_ENTRIES_MAX, "0755").map_err(at("the root"))?;
        // Upon the old root, which stays this process's root until the pivot.
        attach(root.as_fd(), Path::new("/")).map_err(at("attaching the root"))?;
        rustix::process::fchdir(&root).map_err(at("entering the root"))?;

        let write = |path: &Path, content: &[u8]| {
            make_folder(path.parent().unwrap_or(Path::new("")))?;
            std::fs::write(path, content).map_err(at_path(path))
        };
        for path in &self.view.copies {
            view::copied(path).map_or(Ok(()), |content| write(&view::relative(path), &content))?;
        }
        for (path, content) in &self.view.files {
            write(path, content)?;
        }
        for (path, leads_to) in &self.view.links {
            make_folder(path.parent().unwrap_or(Path::new("")))?;
            std::os::unix::fs::symlink(leads_to, path).map_err(at_path(path))?;
        }
        self.scratch()?;
        let mut lower = None;
        for (bind, tree) in self.view.binds.iter().zip(trees.0) {
            make_place(&bind.target, bind.is_folder)?;
            if bind.access == Access::Lower {
                lower = Some((bind.target.clone(), tree));
            } else {
                attach(tree.as_fd(), &bind.target).map_err(at_path(&bind.target))?;
            }
        }
        if let (Some((target, lower)), Some(state)) = (lower, overlay_state) {
            overlay(&target, &lower, &state)?;
        }
        terminals()?;
        processes().map_err(|step| step.of(Layer::Proc))?;
        hide(self.hidden)?;
        if let Some(Workspace { path, .. }) = self.workspace {
            guard(path.strip_prefix("/").unwrap_or(path), self.guards)
                .map_err(|step| step.of(Layer::Protection))?;
        }
        bound_kernel_objects();
        bound_shared_memory(self.limits.memory_bytes);

        rustix::process::pivot_root(".", ".").map_err(at("changing the root"))?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(at("leaving the host's root"))?;
        rustix::process::chdir("/").map_err(at("entering the root"))?;
        sys::set_mount_attributes(root.as_fd(), attribute::READ_ONLY | attribute::NO_DEVICES, None, false)
            .map_err(at("sealing the root"))
    }

    /// Folders in memory, all from one piece so that they share one bound.
    fn scratch(&self) -> Result<(), Step> {
        let scratch =
            memory(self.limits.scratch_bytes, self.limits.scratch_files, "0700").map_err(at("scratch"))?;
        make_folder(Path::new("tmp"))?;
        attach(scratch.as_fd(), Path::new("tmp")).map_err(at("attaching scratch"))?;
        let home = view::HOME.trim_start_matches('/');
        let mut parts = view::SCRATCH.to_vec();
        match self.home {
            Home::Scratch => parts.push(("home", home)),
            Home::Kept(_) => {}
        }
        let mut cut = Vec::with_capacity(parts.len());
        for (part, target) in parts {
            let place = Path::new("tmp").join(part);
            std::fs::create_dir(&place).map_err(at_path(&place))?;
            let mode = if part == "tmp" || part == "shm" || part == "var-tmp" { 0o1777 } else { 0o700 };
            rustix::fs::chmod(&place, Mode::from_raw_mode(mode))
                .map_err(|error| at_path(&place)(error.into()))?;
            cut.push((target, clone_at(CWD, &place, false).map_err(at_path(&place))?));
        }
        for (target, tree) in cut {
            // `/tmp` itself covers the whole from which it was cut.
            make_folder(Path::new(target))?;
            attach(tree.as_fd(), Path::new(target)).map_err(at_path(Path::new(target)))?;
        }
        Ok(())
    }
}

/// Mounts the overlay of `lower` and what `state` holds at `target`.
pub(crate) fn overlay(target: &Path, lower: &OwnedFd, state: &OwnedFd) -> Result<(), Step> {
    let [lower_side, state_side] = OVERLAY_SIDES.map(Path::new);
    for (side, tree) in [(lower_side, lower), (state_side, state)] {
        make_folder(side)?;
        attach(tree.as_fd(), side).map_err(at_path(side))?;
    }
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(at("overlayfs"))?;
    for (key, value) in [
        ("lowerdir", lower_side.to_path_buf()),
        ("upperdir", state_side.join("upper")),
        ("workdir", state_side.join("work")),
        ("redirect_dir", "nofollow".into()),
        ("index", "off".into()),
        ("xino", "off".into()),
    ] {
        rustix::mount::fsconfig_set_string(&fs, key, value.as_path()).map_err(at("overlayfs"))?;
    }
    rustix::mount::fsconfig_set_flag(&fs, "userxattr").map_err(at("overlayfs"))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = rustix::mount::fsconfig_create(&fs)
        .and_then(|()| rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes))
        .map_err(at("overlayfs"))?;
    attach(mount.as_fd(), target).map_err(at_path(target))?;
    for side in [lower_side, state_side] {
        rustix::mount::unmount(side, UnmountFlags::DETACH).map_err(at("overlayfs"))?;
        std::fs::remove_dir(side).map_err(at_path(side))?;
    }
    Ok(())
}

/// Own pseudo-terminals.
fn terminals() -> Result<(), Step> {
    let fs = rustix::mount::fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC).map_err(at("devpts"))?;
    for (key, value) in [("ptmxmode", "0666"), ("mode", "0620")] {
        rustix::mount::fsconfig_set_string(&fs, key, value).map_err(at("devpts"))?;
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsconfig_create(&fs)
        .and_then(|()| rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes))
        .map_err(at("devpts"))?;
    make_folder(Path::new("dev/pts"))?;
    attach(mount.as_fd(), Path::new("dev/pts")).map_err(at("devpts"))
}

/// `/proc` with the sandbox's own processes and nothing else.
fn processes() -> Result<(), Step> {
    let fs = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).map_err(at("proc"))?;
    rustix::mount::fsconfig_set_string(&fs, "subset", "pid").map_err(at("proc subset=pid"))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsconfig_create(&fs)
        .and_then(|()| rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes))
        .map_err(at("mounting proc"))?;
    make_folder(Path::new("proc"))?;
    attach(mount.as_fd(), Path::new("proc")).map_err(at("proc"))
}

/// Shows the caller's own folders empty, wherever they came into view with others.
fn hide(hidden: &[PathBuf]) -> Result<(), Step> {
    for path in hidden {
        let place = path.strip_prefix("/").unwrap_or(path);
        if place.as_os_str().is_empty() || !place.is_dir() {
            continue;
        }
        make_folder(Path::new(EMPTY))?;
        let tree = clone_at(CWD, Path::new(EMPTY), false).map_err(at_path(place))?;
        sys::set_mount_attributes(tree.as_fd(), attribute::READ_ONLY, None, false).map_err(at_path(place))?;
        attach(tree.as_fd(), place).map_err(at_path(place))?;
    }
    Ok(())
}

/// Puts a mount over each guarded name of the workspace at `root`.
fn guard(root: &Path, guards: &[Guard]) -> Result<(), Step> {
    if guards.is_empty() {
        return Ok(());
    }
    for Guard { path, kind } in guards {
        let place = root.join(path);
        let (source, attributes) = match kind {
            GuardKind::Pinned => (&place, 0),
            GuardKind::Sealed => (&place, attribute::READ_ONLY),
            GuardKind::Emptied => {
                make_folder(Path::new(EMPTY))?;
                (&PathBuf::from(EMPTY), attribute::READ_ONLY)
            }
            GuardKind::Blank => {
                make_place(Path::new(BLANK), false)?;
                (&PathBuf::from(BLANK), attribute::READ_ONLY)
            }
        };
        let tree =
            clone_at(CWD, source, false).or_else(|_| clone_at(CWD, source, true)).map_err(at_path(&place))?;
        sys::set_mount_attributes(
            tree.as_fd(),
            attributes | attribute::NO_SUID | attribute::NO_DEVICES,
            None,
            true,
        )
        .map_err(at_path(&place))?;
        attach(tree.as_fd(), &place).map_err(at_path(&place))?;
    }
    Ok(())
}

/// Shared memory of System V is held by nobody once it is detached, so where memory is counted by looking at processes the
/// kernel has to bound it. Where it does not let us, this is one way to more memory than the profile says.
fn bound_shared_memory(bytes: u64) {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
    let _ = std::fs::write("/proc/sys/kernel/shmall", (bytes / page).to_string());
}

/// No user namespace can be made in this one, whatever the filter of system calls lets through. The filter is the layer;
/// this is a second lock where the kernel has it.
fn bound_kernel_objects() {
    let _ = std::fs::write("/proc/sys/user/max_user_namespaces", "0");
    // Watches are counted for the host's user as well: what is used up here would be missing there.
    let _ = std::fs::write("/proc/sys/user/max_inotify_instances", INOTIFY_INSTANCES);
    let _ = std::fs::write("/proc/sys/user/max_inotify_watches", INOTIFY_WATCHES);
}

/// A new file system in memory.
pub(crate) fn memory(bytes: u64, files: u64, mode: &str) -> io::Result<OwnedFd> {
    let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let limits = [("size", bytes.to_string()), ("nr_inodes", files.to_string()), ("mode", mode.to_owned())];
    for (key, value) in &limits {
        rustix::mount::fsconfig_set_string(&fs, *key, value.as_str())?;
    }
    rustix::mount::fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

pub(crate) fn attach(tree: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn make_folder(path: &Path) -> Result<(), Step> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(at_path(path))
}

/// Something to mount on.
fn make_place(path: &Path, is_folder: bool) -> Result<(), Step> {
    if is_folder {
        return make_folder(path);
    }
    make_folder(path.parent().unwrap_or(Path::new("")))?;
    if path.symlink_metadata().is_err() {
        std::fs::File::create(path).map_err(at_path(path))?;
    }
    Ok(())
}

/// What went wrong, while doing what.
pub(crate) enum Step {
    Failed { doing: String, error: io::Error, layer: Layer },
    Refused(Unenforceable),
}

impl Step {
    fn of(self, layer: Layer) -> Self {
        match self {
            Self::Failed { doing, error, .. } => Self::Failed { doing, error, layer },
            refused @ Self::Refused(_) => refused,
        }
    }

    pub(crate) fn refusal(self) -> Unenforceable {
        match self {
            Self::Failed { doing, error, layer } => {
                Unenforceable { layer, found: format!("{doing}: {error}") }
            }
            Self::Refused(refusal) => refusal,
        }
    }
}

fn at<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Step {
    move |error| Step::Failed { doing: doing.to_owned(), error: error.into(), layer: Layer::Root }
}

fn at_path(path: &Path) -> impl FnOnce(io::Error) -> Step {
    let doing = Path::new("/").join(path).display().to_string();
    move |error| Step::Failed { doing, error, layer: Layer::Root }
}
