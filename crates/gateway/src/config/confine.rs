//! How servers and shell commands are confined: the operator's settings, and the sandbox profile they make.
//! Nothing is started here, and what a setting does not name is not given.

pub use super::reach::Reachable;

use super::place::home;
use sandbox::runtimes::Runtimes;
use sandbox::{Home, Layer, Limits, Mode, Network, Profile, System, Workspace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Variables of the gate's own environment that say how to speak to people, and nothing else.
const LANGUAGE: [&str; 6] = ["LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLORTERM", "TZ"];
/// One mebibyte, in bytes.
const MIB: u64 = 1 << 20;

/// `[server.NAME.sandbox]`, `[shell]`, or a file for `bailiwick sandbox --profile`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Confinement {
    /// Off means: an ordinary process of your user, with all that this user can do.
    #[serde(skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// `native`, or the name or path of an OCI runtime.
    #[serde(skip_serializing_if = "is_native")]
    pub backend: String,
    /// What may happen to the project's folder.
    #[serde(skip_serializing_if = "is_default")]
    pub workspace: Access,
    /// More folders and files to see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<PathBuf>,
    /// More folders and files to change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<PathBuf>,
    /// More paths in the project, relative to it, that cannot be created or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protect: Vec<PathBuf>,
    /// Files and folders of the project, relative to it, that are shown empty: those with keys, say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<PathBuf>,
    /// What can be reached: `none`, `host`, or a list of places.
    #[serde(skip_serializing_if = "is_default")]
    pub network: Reachable,
    /// Requests to those places, in one minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Everything sent to and received from them, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mib: Option<u64>,
    /// Secrets that are put in although no variable names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// More variables inside. `${secret:NAME}` stands for a secret: what is inside is a placeholder.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// An unpacked OCI root file system instead of the host's programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<PathBuf>,
    /// Layers to do without where this host lacks them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waive: Vec<Layer>,
    /// All memory together, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Processes and threads at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Processor time, in hundredths of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
    /// Open files of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Length of one file, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mib: Option<u64>,
    /// Everything in memory folders such as `/tmp`, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch_mib: Option<u64>,
    /// What stays free on the project's disk, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_spare_mib: Option<u64>,
    /// From start to end, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Standard output and error together, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_mib: Option<u64>,
}

/// What may happen to the project's folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// It is not there.
    None,
    /// It is read.
    #[default]
    ReadOnly,
    /// It is changed in place.
    ReadWrite,
    /// Changes are kept apart until somebody applies them.
    Overlay,
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            enabled: true,
            backend: NATIVE.to_owned(),
            workspace: Access::default(),
            read: Vec::new(),
            write: Vec::new(),
            protect: Vec::new(),
            hide: Vec::new(),
            network: Reachable::default(),
            requests_per_minute: None,
            network_mib: None,
            secrets: Vec::new(),
            env: BTreeMap::new(),
            rootfs: None,
            waive: Vec::new(),
            memory_mib: None,
            processes: None,
            cpu_percent: None,
            open_files: None,
            file_mib: None,
            scratch_mib: None,
            disk_spare_mib: None,
            seconds: None,
            output_mib: None,
        }
    }
}

/// The backend that needs nothing but the kernel.
const NATIVE: &str = "native";

/// Where a confined program works.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The project's folder.
    pub workspace: &'a Path,
    /// A home to keep between runs; otherwise one in memory.
    pub home: Option<&'a Path>,
    /// Where the changes of an overlay are kept.
    pub overlay: &'a Path,
    /// The gate's own folders, which nobody inside sees.
    pub hidden: &'a [PathBuf],
}

impl Confinement {
    /// The settings for shell commands: the project can be worked on.
    pub fn for_shell() -> Self {
        Self { workspace: Access::ReadWrite, output_mib: Some(64), ..Self::default() }
    }

    /// The settings for a whole agent: the project can be worked on, and nothing is reached that nobody named.
    pub fn for_agent() -> Self {
        Self { workspace: Access::ReadWrite, network: Reachable::Places(Vec::new()), ..Self::default() }
    }

    /// The profile for `command` at `site`, with `environment` on top of what toolchains need.
    ///
    /// # Errors
    /// A path that is not there, or a layer that cannot be waived; the text names it and says what to do.
    pub fn profile(
        &self,
        site: Site<'_>,
        command: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Result<Profile, String> {
        for layer in &self.waive {
            if !layer.is_waivable() {
                return Err(format!("`waive`: `{layer}` cannot be waived; remove it"));
            }
        }
        let users_home = home();
        let mut runtimes = match &self.rootfs {
            None => Runtimes::find(users_home.as_deref(), &std::env::var_os("PATH").unwrap_or_default()),
            Some(_) => Runtimes::default(),
        };
        runtimes.show_command(command, users_home.as_deref(), &real_path(site.workspace, "the project")?);
        let mut variables: BTreeMap<String, String> = LANGUAGE
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect();
        if self.rootfs.is_none() {
            variables.insert("PATH".to_owned(), runtimes.path.clone());
        }
        variables.extend(runtimes.environment.clone());
        variables.extend(self.env.clone());
        variables.extend(environment.clone());
        let mut read = runtimes.read;
        read.extend(real(&self.read, "read")?);
        let workspace = match self.workspace {
            Access::None => None,
            access => Some(Workspace {
                path: real_path(site.workspace, "the project")?,
                mode: match access {
                    Access::ReadWrite => Mode::ReadWrite,
                    Access::Overlay => Mode::Overlay(site.overlay.to_owned()),
                    Access::None | Access::ReadOnly => Mode::ReadOnly,
                },
                protected: self.protect.clone(),
                blank: hidden(&real_path(site.workspace, "the project")?, &self.hide),
            }),
        };
        if let (Some(workspace), Some(home)) =
            (&workspace, users_home.and_then(|home| home.canonicalize().ok()))
            && home.starts_with(&workspace.path)
        {
            return Err(format!(
                "{} holds your home folder, with its keys; work in a project's folder",
                workspace.path.display()
            ));
        }
        Ok(Profile {
            system: self
                .rootfs
                .as_deref()
                .map_or(Ok(System::Host), |path| real_path(path, "rootfs").map(System::Rootfs))?,
            workspace,
            home: site.home.map_or(Home::Scratch, |home| Home::Kept(home.to_owned())),
            read,
            write: real(&self.write, "write")?,
            hidden: site.hidden.to_vec(),
            files: BTreeMap::new(),
            environment: variables,
            network: match self.network {
                Reachable::None => Network::None,
                Reachable::Host => Network::Host,
                Reachable::Places(_) => Network::Captured,
            },
            limits: self.limits(),
            waived: self.waive.iter().copied().collect(),
        })
    }

    /// The OCI runtime to use; `None` for the native backend.
    pub fn runtime(&self) -> Option<PathBuf> {
        (!is_native(&self.backend)).then(|| PathBuf::from(&self.backend))
    }

    fn limits(&self) -> Limits {
        let standing = Limits::default();
        let mib = |set: Option<u64>, otherwise| set.map_or(otherwise, |mib| mib.saturating_mul(MIB));
        Limits {
            processes: self.processes.unwrap_or(standing.processes),
            memory_bytes: mib(self.memory_mib, standing.memory_bytes),
            cpu_percent: self.cpu_percent,
            open_files: self.open_files.unwrap_or(standing.open_files),
            file_bytes: mib(self.file_mib, standing.file_bytes),
            scratch_bytes: mib(self.scratch_mib, standing.scratch_bytes),
            scratch_files: standing.scratch_files,
            disk_spare_bytes: mib(self.disk_spare_mib, standing.disk_spare_bytes),
            wall_ms: self.seconds.map(|seconds| seconds.saturating_mul(1_000)),
            output_bytes: self.output_mib.map(|mib| mib.saturating_mul(MIB)),
        }
    }

    /// What of `command` would not be seen inside: folders and files it names outside of what is shown.
    pub fn unseen<'a>(&self, profile: &Profile, command: &'a [String]) -> Vec<&'a str> {
        let workspace = profile.workspace.as_ref().map(|workspace| &workspace.path);
        let shown: Vec<&PathBuf> = profile.read.iter().chain(&profile.write).chain(workspace).collect();
        let is_seen = |path: &Path| {
            ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/tmp", "/dev", "/proc", "/nix/store", "/gnu/store"]
                .iter()
                .any(|system| path.starts_with(system) && *system != "/tmp")
                || shown.iter().any(|folder| path.starts_with(folder))
        };
        command
            .iter()
            .map(String::as_str)
            .filter(|word| {
                let path = Path::new(word);
                path.is_absolute()
                    && path.canonicalize().is_ok_and(|found| !is_seen(&found) && !is_seen(path))
            })
            .collect()
    }
}

fn real(paths: &[PathBuf], what: &str) -> Result<Vec<PathBuf>, String> {
    paths.iter().map(|path| real_path(path, what)).collect()
}

fn real_path(path: &Path, what: &str) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|error| format!("`{what}`: {}: {error}", path.display()))
}

/// Where each of `paths` really is in `project`. What a link leads out of it is not seen inside in any case.
fn hidden(project: &Path, paths: &[PathBuf]) -> Vec<PathBuf> {
    let real = |path: &PathBuf| match project.join(path).canonicalize() {
        Ok(found) => found.strip_prefix(project).ok().map(Path::to_owned),
        Err(_) => Some(path.clone()),
    };
    paths.iter().filter_map(real).collect()
}

fn is_true(value: &bool) -> bool {
    *value
}
fn is_native(value: &str) -> bool {
    value == NATIVE
}
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
