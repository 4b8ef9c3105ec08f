//! What a confined program may see, use and spend: plain data whose defaults give nothing away.
//! Nothing here looks at the host; a profile means the same on every backend.

use crate::layer::Layer;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a program may see, use and spend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Where programs and libraries come from.
    pub system: System,
    /// The folder it works in, seen at its own place.
    pub workspace: Option<Workspace>,
    /// Where `HOME` leads.
    pub home: Home,
    /// More of the host that is seen, read-only, at its own place: language runtimes, data sets. Absolute.
    pub read: Vec<PathBuf>,
    /// More of the host that may be written, at its own place. Absolute.
    pub write: Vec<PathBuf>,
    /// Folders that are shown empty wherever they would appear in the workspace: the caller's own. Absolute.
    #[serde(default)]
    pub hidden: Vec<PathBuf>,
    /// Small files that are shown read-only, by absolute path, in place of what the host has there.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// The whole environment; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// What it can reach.
    pub network: Network,
    /// What it may spend.
    pub limits: Limits,
    /// Layers the operator accepts to do without where the host lacks them.
    pub waived: BTreeSet<Layer>,
}

/// Where programs and libraries come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum System {
    /// The host's `/usr` and the few files of `/etc` that programs need, read-only.
    #[default]
    Host,
    /// An unpacked OCI root file system, read-only.
    Rootfs(PathBuf),
}

/// The folder a program works in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    /// What may happen to it.
    pub mode: Mode,
    /// Paths in it, relative to it, that cannot be created or changed from inside, whether or not they exist.
    pub protected: Vec<PathBuf>,
    /// Files and folders in it, relative to it, that are shown empty and cannot be changed from inside. What does not exist stays absent.
    #[serde(default)]
    pub blank: Vec<PathBuf>,
}

impl Workspace {
    /// Where its changes are kept, where they are kept apart.
    pub(crate) fn overlay(&self) -> Option<&Path> {
        match &self.mode {
            Mode::Overlay(state) => Some(state),
            Mode::ReadOnly | Mode::ReadWrite => None,
        }
    }
}

/// What may happen to a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing.
    #[default]
    ReadOnly,
    /// Changes are made in place, protected paths excepted.
    ReadWrite,
    /// Changes are kept apart in this folder (see [`crate::overlay`]) until somebody applies them.
    Overlay(PathBuf),
}

/// Where `HOME` leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Home {
    /// An empty folder in memory, gone with the sandbox.
    #[default]
    Scratch,
    /// This private folder of the host, kept between runs. Absolute.
    Kept(PathBuf),
}

/// What a program can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Its own loopback, nothing else.
    #[default]
    None,
    /// Its own loopback; every name and every connection elsewhere arrives at sockets handed to the caller.
    Captured,
    /// The host's network as it is. Weakens the wall: loopback services and abstract sockets are in reach.
    Host,
}

/// What a program and all it starts may spend together, unless a field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads at once.
    pub processes: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processor time per second, in hundredths of one core; `None` for all there is.
    pub cpu_percent: Option<u32>,
    /// Open files of one process.
    pub open_files: u32,
    /// Length of one file, in bytes.
    pub file_bytes: u64,
    /// All of `/tmp`, `/run`, `/dev/shm` and a scratch home, in bytes.
    pub scratch_bytes: u64,
    /// The same, in files.
    pub scratch_files: u64,
    /// What writing leaves free on the disk of the workspace, in bytes.
    pub disk_spare_bytes: u64,
    /// From start to end, in milliseconds; `None` for as long as it likes.
    pub wall_ms: Option<u64>,
    /// Standard output and error together, in bytes; `None` where the reader bounds them.
    pub output_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 1_024,
            memory_bytes: 4 << 30,
            cpu_percent: None,
            open_files: 4_096,
            file_bytes: 16 << 30,
            scratch_bytes: 1 << 30,
            scratch_files: 200_000,
            disk_spare_bytes: 1 << 30,
            wall_ms: None,
            output_bytes: None,
        }
    }
}

/// What to run: a program found on the profile's `PATH` inside, its arguments, and where it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// A name, or a path inside.
    pub program: String,
    /// Its arguments, its own name excepted.
    pub arguments: Vec<String>,
    /// The working folder inside; the workspace when absent, else the home.
    pub cwd: Option<PathBuf>,
}

/// How a confined program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// By itself, with this status, 0 to 255.
    Exited(i32),
    /// By this signal, of its own or its caller's.
    Signalled(i32),
    /// It was ended because a limit was reached.
    Limit(Limit),
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Limit {
    /// [`Limits::memory_bytes`].
    Memory,
    /// [`Limits::processes`]; the program is told by failing forks and need not end.
    Processes,
    /// [`Limits::wall_ms`].
    Time,
    /// [`Limits::output_bytes`].
    Output,
    /// [`Limits::disk_spare_bytes`].
    Disk,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Time => "time",
            Self::Output => "output",
            Self::Disk => "disk",
        })
    }
}
