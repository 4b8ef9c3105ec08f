//! Counts what all processes inside use together, where no control group does it for us.
//! It reads `/proc` of its own namespace, and errs towards counting too much.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// What all processes inside use together, quickly counted.
pub(crate) struct Spent {
    /// Pages in memory, those that processes share counted once for each, and the folders in memory.
    pub(crate) resident_bytes: u64,
    /// Processes and threads.
    pub(crate) tasks: u64,
}

impl Spent {
    /// Counts now.
    pub(crate) fn now() -> Self {
        let page = page_bytes();
        let mut spent = Self { resident_bytes: scratch_bytes(), tasks: 0 };
        for_each_process(|folder| {
            let Ok(stat) = fs::read_to_string(folder.join("stat")) else { return };
            // The name, in parentheses, may hold anything; fields after it are counted from state, which is the third.
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let number =
                |index: usize| fields.get(index - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
            spent.tasks += number(20);
            spent.resident_bytes += number(24) * page;
        });
        spent
    }

    /// Memory in bytes, counted with care: shared pages once, and also what no process has mapped into its pages now: shared
    /// anonymous memory, tables of pages, files in memory. Buffers of sockets and pipes are not seen.
    pub(crate) fn exact_bytes() -> u64 {
        let mut bytes = scratch_bytes();
        let mut shared: HashMap<String, u64> = HashMap::new();
        for_each_process(|folder| {
            let Ok(status) = fs::read_to_string(folder.join("status")) else { return };
            bytes += kilobytes(&status, "VmPTE:");
            match fs::read_to_string(folder.join("smaps_rollup")) {
                Ok(rollup) if !rollup.is_empty() => {
                    bytes += kilobytes(&rollup, "Pss:").saturating_sub(kilobytes(&rollup, "Pss_Shmem:"));
                }
                // A process may hide its pages, not their number.
                _ => bytes += kilobytes(&status, "VmRSS:"),
            }
            let Ok(maps) = fs::read_to_string(folder.join("maps")) else { return };
            for (object, length) in maps.lines().filter_map(shared_memory) {
                let largest = shared.entry(object).or_default();
                *largest = length.max(*largest);
            }
        });
        bytes + shared.values().sum::<u64>() + crate::sys::shared_segment_pages() * page_bytes()
    }
}

/// The name and length of nameless shared memory in one line of `maps` (proc_pid_maps(5)).
fn shared_memory(line: &str) -> Option<(String, u64)> {
    let mut fields = line.split_whitespace();
    let (range, permissions, _offset) = (fields.next()?, fields.next()?, fields.next()?);
    let (device, inode, path) = (fields.next()?, fields.next()?, fields.next()?);
    let nameless = ["/dev/zero", "/memfd:"].iter().any(|start| path.starts_with(start));
    if !permissions.ends_with('s') || !nameless {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let length = u64::from_str_radix(end, 16).ok()?.checked_sub(u64::from_str_radix(start, 16).ok()?)?;
    Some((format!("{device} {inode}"), length))
}

fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4_096)
}

/// A value of a file like `status`, in bytes.
fn kilobytes(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    value.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// What lies in `/tmp` and the other folders of the same piece of memory.
fn scratch_bytes() -> u64 {
    rustix::fs::statvfs("/tmp")
        .map_or(0, |found| found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(found.f_frsize))
}

fn for_each_process(mut look: impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            look(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameless_shared_memory_is_found_in_maps() {
        for (line, length) in [
            ("7f00-9f00 rw-s 00000000 00:01 7 /dev/zero (deleted)", Some(0x2000)),
            ("7f00-8f00 rw-s 00000000 00:01 7 /memfd:x (deleted)", Some(0x1000)),
            // Counted by the kernel for the whole namespace.
            ("7f00-8f00 rw-s 00000000 00:01 7 /SYSV0000 (deleted)", None),
            ("7f00-8f00 rw-p 00000000 00:01 7 /dev/zero (deleted)", None),
            ("7f00-8f00 rw-s 00000000 00:01 7 /srv/file", None),
            ("7f00-8f00 rw-p 00000000 00:00 0", None),
            ("nonsense", None),
        ] {
            assert_eq!(shared_memory(line).map(|(_, length)| length), length, "{line}");
        }
    }

    #[test]
    fn this_process_is_counted() {
        assert!(Spent::now().tasks >= 1 && Spent::exact_bytes() > 0);
    }
}
