//! Plans what is seen inside: which pieces of the host appear where, and which small files stand beside them.
//! It looks at single paths only, never at what a folder holds, so its cost does not grow with a workspace.

use crate::profile::{Home, Mode, Network, Profile, System};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The one user inside.
pub(crate) const USER_ID: u32 = 1_000;
/// That user's name.
pub(crate) const USER_NAME: &str = "agent";
/// Where that user's home is seen.
pub(crate) const HOME: &str = "/home/agent";
/// The host's name inside.
pub(crate) const HOST_NAME: &str = "bailiwick";
/// `PATH` inside where the profile has none.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Folders of the host that hold programs and libraries. Those that are links there are links inside.
const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];
/// What programs need of `/etc`: the linker's cache, certificates, time zone, names of protocols, settings of runtimes.
/// Nothing here names users, machines, networks or keys.
const SETTINGS: [&str; 33] = [
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "java",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "java-25-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "python3",
    "python3.11",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
];
/// Longest of these that is copied instead of mounted, in bytes.
const COPIED_BYTES_MAX: u64 = 128 << 10;
/// Devices without side effects.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Folders in memory that programs expect to write to, under one bound.
pub(crate) const SCRATCH: [(&str, &str); 4] =
    [("tmp", "tmp"), ("run", "run"), ("shm", "dev/shm"), ("var-tmp", "var/tmp")];

/// What is seen inside.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct View {
    /// Pieces of the host, those nearer the root first.
    pub(crate) binds: Vec<Bind>,
    /// Small files, by path relative to the root.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    /// Small files of the host that are copied, by path.
    pub(crate) copies: Vec<PathBuf>,
    /// Symbolic links, by path relative to the root.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Where writing is allowed, absolute.
    pub(crate) writable: Vec<PathBuf>,
}

/// One piece of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// Where it is on the host.
    pub(crate) source: PathBuf,
    /// Where it appears, relative to the root.
    pub(crate) target: PathBuf,
    pub(crate) access: Access,
    pub(crate) is_folder: bool,
    /// The owner on the host, who is the user inside.
    pub(crate) owner: (u32, u32),
}

/// What may be done to a piece of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    /// Read and executed. Its owner is shown as nobody.
    ReadOnly,
    /// Read and executed, by its owner as the user inside.
    OwnedReadOnly,
    /// Written too.
    ReadWrite,
    /// A device, opened for both.
    Device,
    /// The lower layer of an overlay.
    Lower,
}

impl Access {
    fn writes(self) -> bool {
        match self {
            Self::ReadOnly | Self::OwnedReadOnly => false,
            Self::ReadWrite | Self::Device | Self::Lower => true,
        }
    }
}

/// Why a profile cannot be shown; the text names the path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct ViewError {
    path: PathBuf,
    why: String,
}

impl ViewError {
    pub(crate) fn new(path: &Path, why: impl ToString) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }
}

impl View {
    /// Plans the view of `profile` on this host.
    pub(crate) fn plan(profile: &Profile) -> Result<Self, ViewError> {
        let mut view = Self::default();
        match &profile.system {
            System::Host => view.host_system(profile),
            System::Rootfs(root) => view.rootfs(root)?,
        }
        for device in DEVICES {
            view.bind(&Path::new("/dev").join(device), Access::Device)?;
        }
        for (link, leads_to) in [
            ("dev/ptmx", "pts/ptmx"),
            ("dev/fd", "/proc/self/fd"),
            ("dev/stdin", "/proc/self/fd/0"),
            ("dev/stdout", "/proc/self/fd/1"),
            ("dev/stderr", "/proc/self/fd/2"),
        ] {
            view.links.push((link.into(), leads_to.into()));
        }
        for path in &profile.read {
            // By the name it was given, whatever links that name leads through on the host.
            let real = plain(path)?.canonicalize().map_err(|error| ViewError::new(path, error))?;
            view.bind_at(&real, path, Access::OwnedReadOnly)?;
        }
        for path in &profile.write {
            view.bind(plain(path)?, Access::ReadWrite)?;
        }
        if let Home::Kept(home) = &profile.home {
            view.bind_at(plain(home)?, Path::new(HOME), Access::ReadWrite)?;
        }
        if let Some(workspace) = &profile.workspace {
            let path = plain(&workspace.path)?;
            if SYSTEM.iter().any(|system| Path::new(system).starts_with(path)) {
                return Err(ViewError::new(path, "is part of the system; choose a project's folder"));
            }
            if let Some(above) = profile.write.iter().find(|above| path.starts_with(above)) {
                return Err(ViewError::new(
                    above,
                    "holds the workspace, which could be moved away; name folders beside it",
                ));
            }
            view.bind(
                path,
                match workspace.mode {
                    Mode::ReadOnly => Access::OwnedReadOnly,
                    Mode::ReadWrite => Access::ReadWrite,
                    Mode::Overlay(_) => Access::Lower,
                },
            )?;
        }
        for (path, content) in &profile.files {
            view.files.push((relative(plain(path)?), content.clone()));
        }
        view.settle();
        Ok(view)
    }

    fn host_system(&mut self, profile: &Profile) {
        for path in SYSTEM.map(Path::new) {
            match std::fs::read_link(path) {
                Ok(leads_to) => self.links.push((relative(path), leads_to)),
                Err(_) => self.bind_if_there(path),
            }
        }
        for name in SETTINGS {
            let path = Path::new("/etc").join(name);
            if profile.files.keys().any(|file| file.starts_with(&path)) {
                continue;
            }
            match std::fs::read_link(&path) {
                // Links within the system keep their meaning; others would lead nowhere.
                Ok(leads_to) if leads_within_system(&leads_to) => {
                    self.links.push((relative(&path), leads_to))
                }
                Ok(_) => {
                    if let Ok(real) = path.canonicalize() {
                        // Absent on this host, or unreadable: then programs do without it here as well.
                        let _ = self.bind_at(&real, &path, Access::ReadOnly);
                    }
                }
                // To copy what is small costs less than to mount it and to take the mount away.
                Err(_) if is_small_file(&path) => self.copies.push(path),
                Err(_) => self.bind_if_there(&path),
            }
        }
        self.links.push(("etc/mtab".into(), "/proc/self/mounts".into()));
        let passwd = format!(
            "root:x:0:0::/nonexistent:/usr/sbin/nologin\n{USER_NAME}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/bash\n\
             nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
        );
        let group = format!("root:x:0:\n{USER_NAME}:x:{USER_ID}:\nnogroup:x:65534:\n");
        let names = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                     protocols: files\nservices: files\n";
        for (name, text) in [
            ("passwd", passwd.as_str()),
            ("group", &group),
            ("nsswitch.conf", names),
            ("hostname", &format!("{HOST_NAME}\n")),
            ("hosts", &format!("127.0.0.1 localhost {HOST_NAME}\n::1 localhost ip6-localhost\n")),
        ] {
            self.files.push((Path::new("etc").join(name), text.into()));
        }
        match profile.network {
            Network::None => {}
            Network::Captured => {
                let text = crate::native::network::resolv_conf();
                self.files.push(("etc/resolv.conf".into(), text.into()));
            }
            Network::Host => {
                let text = std::fs::read("/etc/resolv.conf").unwrap_or_default();
                self.files.push(("etc/resolv.conf".into(), text));
            }
        }
    }

    /// Every part of an unpacked image but those that are the sandbox's own.
    fn rootfs(&mut self, root: &Path) -> Result<(), ViewError> {
        let listed = std::fs::read_dir(plain(root)?).map_err(|error| ViewError::new(root, error))?;
        for entry in listed {
            let entry = entry.map_err(|error| ViewError::new(root, error))?;
            let (name, source) = (entry.file_name(), entry.path());
            if ["proc", "sys", "dev", "tmp", "run", "home", "root"].iter().any(|own| name == *own) {
                continue;
            }
            match std::fs::read_link(&source) {
                Ok(leads_to) => self.links.push((name.into(), leads_to)),
                Err(_) => self.bind_at(&source, &Path::new("/").join(&name), Access::OwnedReadOnly)?,
            }
        }
        Ok(())
    }

    fn bind_if_there(&mut self, path: &Path) {
        // What a host does not have, programs on it do without.
        let _ = self.bind(path, Access::ReadOnly);
    }

    fn bind(&mut self, path: &Path, access: Access) -> Result<(), ViewError> {
        self.bind_at(path, path, access)
    }

    fn bind_at(&mut self, source: &Path, target: &Path, access: Access) -> Result<(), ViewError> {
        let found = std::fs::symlink_metadata(source).map_err(|error| ViewError::new(source, error))?;
        if found.is_symlink() {
            return Err(ViewError::new(source, "is a symbolic link; name the folder it leads to"));
        }
        let target = relative(target);
        if matches!(access, Access::ReadWrite | Access::Lower) {
            self.writable.push(Path::new("/").join(&target));
        }
        let owner = (found.uid(), found.gid());
        self.binds.push(Bind { source: source.to_owned(), target, access, is_folder: found.is_dir(), owner });
        Ok(())
    }

    /// Puts outer pieces before inner ones, and drops those that an outer one shows just the same.
    fn settle(&mut self) {
        self.binds.sort_by_key(|bind| bind.target.components().count());
        let mut kept: Vec<Bind> = Vec::with_capacity(self.binds.len());
        for bind in self.binds.drain(..) {
            let outer = kept.iter().rev().find(|outer| bind.target.starts_with(&outer.target));
            let same = outer.is_some_and(|outer| {
                outer.access.writes() == bind.access.writes()
                    && bind.target.strip_prefix(&outer.target).is_ok_and(|rest| {
                        outer.source.join(rest) == bind.source || rest.as_os_str().is_empty()
                    })
            });
            if !same {
                kept.push(bind);
            }
        }
        self.binds = kept;
    }
}

/// An absolute path without `.` and `..`.
fn plain(path: &Path) -> Result<&Path, ViewError> {
    let is_plain = path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if is_plain && path.parent().is_some() {
        Ok(path)
    } else {
        Err(ViewError::new(path, "is not an absolute path below `/` without `.` and `..`"))
    }
}

pub(crate) fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

fn is_small_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() <= COPIED_BYTES_MAX)
}

/// What one of [`View::copies`] holds; nothing where this process may not read it.
pub(crate) fn copied(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok()?;
    let found = rustix::fs::fstat(&file).ok()?;
    let is_file = rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile;
    let length = u64::try_from(found.st_size).ok().filter(|length| is_file && *length <= COPIED_BYTES_MAX)?;
    let mut content = Vec::with_capacity(usize::try_from(length).ok()? + 1);
    std::fs::File::from(file).take(COPIED_BYTES_MAX + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= COPIED_BYTES_MAX).then_some(content)
}

fn leads_within_system(link: &Path) -> bool {
    let text = link.to_string_lossy();
    text.starts_with("/usr/") || text.starts_with("../usr/") || text.starts_with("/etc/alternatives/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Workspace;

    fn with_workspace(path: &Path, mode: Mode) -> Profile {
        let workspace = Workspace { path: path.to_owned(), mode, protected: Vec::new(), blank: Vec::new() };
        Profile { workspace: Some(workspace), ..Profile::default() }
    }

    #[test]
    fn paths_are_plain_or_refused() {
        for (path, fits) in [
            ("/srv", true),
            ("/srv/a b", true),
            ("/", false),
            ("srv", false),
            ("/srv/../etc", false),
            ("", false),
        ] {
            assert_eq!(plain(Path::new(path)).is_ok(), fits, "{path}");
        }
    }

    #[test]
    fn a_workspace_is_no_part_of_the_system() {
        let folder = tempfile::tempdir().unwrap();
        assert!(View::plan(&with_workspace(folder.path(), Mode::ReadWrite)).is_ok());
        for path in ["/", "/usr", "/nix"] {
            assert!(View::plan(&with_workspace(Path::new(path), Mode::ReadWrite)).is_err(), "{path}");
        }
    }

    #[test]
    fn inner_pieces_come_after_outer_ones_and_repeats_go() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("data");
        std::fs::create_dir(&inner).unwrap();
        let mut profile = with_workspace(folder.path(), Mode::ReadWrite);
        profile.read = vec![inner.clone(), "/usr/bin".into()];
        let view = View::plan(&profile).unwrap();
        let at = |path: &Path| view.binds.iter().position(|bind| bind.target == relative(path));
        assert!(at(folder.path()).unwrap() < at(&inner).unwrap());
        assert_eq!(at(Path::new("/usr/bin")), None, "the outer piece shows it already");
    }

    #[test]
    fn what_is_read_is_seen_by_the_name_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("real")).unwrap();
        std::os::unix::fs::symlink("real", folder.join("link")).unwrap();
        let profile = Profile { read: vec![folder.join("link")], ..Profile::default() };
        let view = View::plan(&profile).unwrap();
        let bind = view.binds.iter().find(|bind| bind.target == relative(&folder.join("link"))).unwrap();
        assert_eq!(bind.source, folder.join("real"));
    }

    #[test]
    fn a_link_is_not_followed_out_of_the_profile() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        let error = View::plan(&with_workspace(&link, Mode::ReadOnly)).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
}
