//! Bounds on memory and processor time for all processes of a sandbox together, by a control group where one can be made:
//! version 2 where it is delegated, version 1, or none. It removes the groups it made, and those of callers that died.

use crate::profile::Limits;
use rustix::fs::Access;
use rustix::process::Pid;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where control groups are mounted, by convention of every distribution.
const MOUNT: &str = "/sys/fs/cgroup";
/// How names of our groups begin; the id of the process that made it follows.
const PREFIX: &str = "bailiwick-";
/// How often a group that is still emptying is tried again.
const REMOVE_ATTEMPTS_MAX: u32 = 200;
/// Length of a processor period, in microseconds.
const PERIOD_US: u64 = 100_000;

/// The groups of one sandbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cgroup {
    places: Vec<Place>,
    memory: Option<(PathBuf, Version)>,
    has_cpu: bool,
}

/// Where a group may be made.
#[derive(Clone, Debug)]
struct Place {
    folder: PathBuf,
    kind: Kind,
}

impl Place {
    /// In version 1 a process may move one thread. While it moves none but its own, nobody has to wait until all others that
    /// might be forking have been told, which can take as long as a grace period of the kernel.
    fn has_door(&self) -> bool {
        match self.kind {
            Kind::Unified => false,
            Kind::Memory | Kind::Cpu => true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unified,
    Memory,
    Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroup {
    /// Finds where groups could be made for `limits`, as far as this host lets this user. Makes none.
    pub(crate) fn plan(limits: &Limits) -> Self {
        let Ok(own) = fs::read_to_string("/proc/self/cgroup") else { return Self::default() };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut places = Vec::new();
        let mut add = |parent: &Path, kind| {
            if rustix::fs::access(parent, Access::WRITE_OK).is_ok() {
                places.push(Place { folder: parent.join(&name), kind });
            }
        };
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let path = path.trim_start_matches('/');
            match controllers {
                "" => {
                    for mount in [MOUNT, "/sys/fs/cgroup/unified"] {
                        let own = Path::new(mount).join(path);
                        // Beside us where we are a leaf of a delegated tree, or below us.
                        let above = own.parent().filter(|above| above.starts_with(mount));
                        let parent =
                            above.into_iter().chain([own.as_path()]).find(|parent| enables_memory(parent));
                        if let Some(parent) = parent {
                            add(parent, Kind::Unified);
                        }
                    }
                }
                "memory" => add(&Path::new(MOUNT).join("memory").join(path), Kind::Memory),
                "cpu" | "cpu,cpuacct" if limits.cpu_percent.is_some() => {
                    add(&Path::new(MOUNT).join(controllers).join(path), Kind::Cpu);
                }
                _ => {}
            }
        }
        Self { places, memory: None, has_cpu: false }
    }

    /// Makes the groups with the bounds of `limits`.
    pub(crate) fn make(&mut self, limits: &Limits) {
        for Place { folder, kind } in self.places.clone() {
            if let Some(parent) = folder.parent() {
                sweep(parent);
            }
            if (kind != Kind::Cpu && self.memory.is_some()) || fs::create_dir(&folder).is_err() {
                continue;
            }
            let set = |file: &str, value: String| fs::write(folder.join(file), value).is_ok();
            let memory = limits.memory_bytes.to_string();
            let quota = |percent: u32| u64::from(percent) * PERIOD_US / 100;
            match kind {
                Kind::Unified => {
                    if set("memory.max", memory) {
                        // Swap is memory too, and the whole sandbox ends, not the process that asked last. Absent where
                        // the kernel has no swap or is too old.
                        let _ = set("memory.swap.max", "0".to_owned());
                        let _ = set("memory.oom.group", "1".to_owned());
                        self.memory = Some((folder.clone(), Version::Two));
                    }
                    // The kernel counts processes by user namespace as well.
                    let _ = set("pids.max", limits.processes.to_string());
                    if let Some(percent) = limits.cpu_percent {
                        self.has_cpu |= set("cpu.max", format!("{} {PERIOD_US}", quota(percent)));
                    }
                }
                Kind::Memory => {
                    if set("memory.limit_in_bytes", memory.clone()) {
                        // Absent where swap is not accounted.
                        let _ = set("memory.memsw.limit_in_bytes", memory);
                        self.memory = Some((folder.clone(), Version::One));
                    }
                }
                Kind::Cpu => {
                    if let Some(percent) = limits.cpu_percent {
                        self.has_cpu |= set("cpu.cfs_period_us", PERIOD_US.to_string())
                            && set("cpu.cfs_quota_us", quota(percent).to_string());
                    }
                }
            }
        }
    }

    /// How memory is bounded, or `None` where it is not.
    pub(crate) fn memory(&self) -> Option<&'static str> {
        self.memory.as_ref().map(|(_, version)| match version {
            Version::One => "cgroup v1",
            Version::Two => "cgroup v2",
        })
    }

    /// Whether processor time is bounded.
    pub(crate) fn has_cpu(&self) -> bool {
        self.has_cpu
    }

    /// Puts `pid`, which has started nothing yet, into the groups.
    pub(crate) fn enter(&self, pid: Pid) -> io::Result<()> {
        self.made().try_for_each(|place| put(place, pid))
    }

    /// Puts `pid` into the groups that have no door.
    pub(crate) fn enter_without_door(&self, pid: Pid) -> io::Result<()> {
        self.made().filter(|place| !place.has_door()).try_for_each(|place| put(place, pid))
    }

    /// Opens the doors of those groups that have one, for a process with one thread to [`go_through`].
    pub(crate) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |place: &Place| fs::OpenOptions::new().write(true).open(place.folder.join("tasks"));
        self.made().filter(|place| place.has_door()).map(|place| open(place).map(OwnedFd::from)).collect()
    }

    fn made(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.folder.exists())
    }

    /// Whether the kernel ended something here for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let Some((folder, version)) = &self.memory else { return false };
        let file = match version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim().parse::<u64>().is_ok_and(|count| count > 0))
    }

    /// Removes the groups, waiting while the last processes leave them.
    pub(crate) fn remove(&self) {
        for place in &self.places {
            for _ in 0..REMOVE_ATTEMPTS_MAX {
                match fs::remove_dir(&place.folder) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Goes through a door that [`Cgroup::doors`] opened.
pub(crate) fn go_through(door: &OwnedFd) -> io::Result<()> {
    rustix::io::write(door, b"0")?;
    Ok(())
}

fn put(place: &Place, pid: Pid) -> io::Result<()> {
    fs::write(place.folder.join("cgroup.procs"), pid.as_raw_nonzero().to_string())
}

fn enables_memory(parent: &Path) -> bool {
    let enabled = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
    enabled.split_whitespace().any(|word| word == "memory")
}

/// Removes groups whose makers were killed together with whoever should have removed them.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(maker) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let id = maker.split('-').next().unwrap_or_default();
        if !id.is_empty() && !Path::new("/proc").join(id).exists() {
            // Fails while something runs in it; then it is tried by the next.
            let _ = fs::remove_dir(entry.path());
        }
    }
}
