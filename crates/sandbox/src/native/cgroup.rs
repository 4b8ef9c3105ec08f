//! Bounds on memory and processor time for all processes of a sandbox together, by a control group where one can be made:
//! version 2 where it is delegated, version 1, or none. It removes the groups it made, and those of callers that died.

use crate::profile::Limits;
use rustix::process::Pid;
use std::fs;
use std::io;
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
pub(super) struct Cgroup {
    folders: Vec<PathBuf>,
    memory: Option<PathBuf>,
    has_cpu: bool,
    version: u8,
}

impl Cgroup {
    /// Makes groups with the bounds of `limits`, as far as this host lets this user.
    pub(super) fn make(limits: &Limits) -> Self {
        let Ok(own) = fs::read_to_string("/proc/self/cgroup") else { return Self::default() };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        let mut made = Self::default();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let path = path.trim_start_matches('/');
            match controllers {
                "" => {
                    for mount in [MOUNT, "/sys/fs/cgroup/unified"] {
                        let parent = Path::new(mount).join(path);
                        // Beside us where we are a leaf of a delegated tree, or below us.
                        let places = [parent.parent().unwrap_or(&parent), parent.as_path()];
                        if places.iter().any(|place| made.version_2(place, &name, limits)) {
                            break;
                        }
                    }
                }
                "memory" => made.version_1_memory(&Path::new(MOUNT).join("memory").join(path), &name, limits),
                "cpu" | "cpu,cpuacct" if limits.cpu_percent.is_some() => {
                    made.version_1_cpu(&Path::new(MOUNT).join(controllers).join(path), &name, limits);
                }
                _ => {}
            }
        }
        made
    }

    fn version_2(&mut self, parent: &Path, name: &str, limits: &Limits) -> bool {
        let enabled = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
        let has = |controller: &str| enabled.split_whitespace().any(|word| word == controller);
        if self.memory.is_some() || !has("memory") || !parent.starts_with(MOUNT) {
            return false;
        }
        sweep(parent);
        let folder = parent.join(name);
        if fs::create_dir(&folder).is_err() {
            return false;
        }
        self.folders.push(folder.clone());
        let bounded = fs::write(folder.join("memory.max"), limits.memory_bytes.to_string()).is_ok();
        // Swap is memory too, and the whole sandbox ends, not the process that asked last.
        let _ = fs::write(folder.join("memory.swap.max"), "0");
        let _ = fs::write(folder.join("memory.oom.group"), "1");
        let _ = fs::write(folder.join("pids.max"), limits.processes.to_string());
        if let Some(percent) = limits.cpu_percent.filter(|_| has("cpu")) {
            let quota = format!("{} {PERIOD_US}", u64::from(percent) * PERIOD_US / 100);
            self.has_cpu = fs::write(folder.join("cpu.max"), quota).is_ok();
        }
        if bounded {
            self.memory = Some(folder);
            self.version = 2;
        }
        bounded
    }

    fn version_1_memory(&mut self, parent: &Path, name: &str, limits: &Limits) {
        sweep(parent);
        let folder = parent.join(name);
        if self.memory.is_some() || fs::create_dir(&folder).is_err() {
            return;
        }
        self.folders.push(folder.clone());
        let bytes = limits.memory_bytes.to_string();
        if fs::write(folder.join("memory.limit_in_bytes"), &bytes).is_ok() {
            // Absent where swap is not accounted.
            let _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), &bytes);
            self.memory = Some(folder);
            self.version = 1;
        }
    }

    fn version_1_cpu(&mut self, parent: &Path, name: &str, limits: &Limits) {
        let Some(percent) = limits.cpu_percent else { return };
        sweep(parent);
        let folder = parent.join(name);
        if fs::create_dir(&folder).is_err() {
            return;
        }
        self.folders.push(folder.clone());
        let quota = (u64::from(percent) * PERIOD_US / 100).to_string();
        self.has_cpu = fs::write(folder.join("cpu.cfs_period_us"), PERIOD_US.to_string())
            .and_then(|()| fs::write(folder.join("cpu.cfs_quota_us"), quota))
            .is_ok();
    }

    /// How memory is bounded, or `None` where it is not.
    pub(super) fn memory(&self) -> Option<String> {
        self.memory.as_ref().map(|_| format!("cgroup v{}", self.version))
    }

    /// Whether processor time is bounded.
    pub(super) fn has_cpu(&self) -> bool {
        self.has_cpu
    }

    /// Whether there is anything to remove.
    pub(super) fn exists(&self) -> bool {
        !self.folders.is_empty()
    }

    /// Puts `pid`, which has started nothing yet, into the groups.
    pub(super) fn enter(&self, pid: Pid) -> io::Result<()> {
        let id = pid.as_raw_nonzero().to_string();
        self.folders.iter().try_for_each(|folder| fs::write(folder.join("cgroup.procs"), &id))
    }

    /// Whether the kernel ended something here for want of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let Some(folder) = &self.memory else { return false };
        let file = if self.version == 2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim().parse::<u64>().is_ok_and(|count| count > 0))
    }

    /// Removes the groups, waiting while the last processes leave them.
    pub(super) fn remove(&self) {
        for folder in &self.folders {
            for _ in 0..REMOVE_ATTEMPTS_MAX {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
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
