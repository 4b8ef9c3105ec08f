//! Which OCI runtime: where it is, and the few ways in which runtimes differ that the specification leaves open.
//! Nothing here runs it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a runtime is looked for besides `PATH`, which often lacks the system's own folders.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// An OCI runtime: any program with the command line of `runc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    path: PathBuf,
    name: String,
    family: Family,
}

/// What the specification leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Does without a user 0 in the container's user namespace, and without control groups.
    Crun,
    /// Needs a user 0 of its own; does without control groups where it may not make any.
    Runc,
    /// Runs programs on a kernel of its own and reaches the host's files as its own root, which owns none here. Refused.
    Gvisor,
    /// Taken to be like `runc` without its options; what it builds is looked at like the others'.
    Other,
}

impl Runtime {
    /// Finds a runtime by name or path.
    ///
    /// # Errors
    /// It is not there, or is not executable.
    pub fn find(name: &Path) -> io::Result<Self> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("no OCI runtime `{}`", name.display()));
        let found = if name.components().count() > 1 {
            name.to_owned()
        } else {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            let folders = std::env::split_paths(&paths).chain(FOLDERS.iter().map(PathBuf::from));
            let mut places = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
            places.find(|place| is_executable(place)).ok_or_else(missing)?
        };
        let path = found.canonicalize().map_err(|_| missing())?;
        if !is_executable(&path) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("`{}` is not executable", path.display()),
            ));
        }
        // The name asked for, not where a link leads: alternatives are called after what they stand in for.
        let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { family: Family::of(&name), path, name })
    }

    /// Its name, e.g. `crun`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }
}

impl Family {
    fn of(name: &str) -> Self {
        // `crun-vm` and the like run something else behind the name.
        match name {
            "crun" => Self::Crun,
            "runc" => Self::Runc,
            "runsc" => Self::Gvisor,
            _ => Self::Other,
        }
    }

    /// Options before the subcommand. Control groups are not the runtime's: one is made around it.
    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Crun => &["--cgroup-manager=disabled"],
            Self::Runc => &["--rootless=true"],
            Self::Gvisor | Self::Other => &[],
        }
    }

    /// Whether it works in a user namespace with one user alone.
    pub(super) fn needs_user_0(self) -> bool {
        self != Self::Crun
    }
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_found_by_name_and_path() {
        let folder = tempfile::tempdir().unwrap();
        let (program, text) = (folder.path().join("runc"), folder.path().join("crun"));
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&text, "").unwrap();
        let found = Runtime::find(&program).unwrap();
        assert_eq!((found.name(), found.family()), ("runc", Family::Runc));
        for (path, kind) in [
            (text.as_path(), io::ErrorKind::PermissionDenied),
            (folder.path(), io::ErrorKind::PermissionDenied),
            (Path::new("no-such-runtime"), io::ErrorKind::NotFound),
            (Path::new("/nowhere/runc"), io::ErrorKind::NotFound),
        ] {
            assert_eq!(Runtime::find(path).unwrap_err().kind(), kind, "{}", path.display());
        }
    }

    #[test]
    fn a_name_decides_the_family_only_as_a_whole() {
        for (name, family) in [
            ("crun", Family::Crun),
            ("runc", Family::Runc),
            ("runsc", Family::Gvisor),
            ("crun-vm", Family::Other),
            ("kata-runtime", Family::Other),
        ] {
            assert_eq!(Family::of(name), family, "{name}");
        }
    }
}
