//! Counts what all processes inside use together, where no control group does it for us.
//! It reads `/proc` of its own namespace, and errs towards counting too much; what it cannot read is an error, never nothing.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What all processes inside use together, quickly counted.
pub(crate) struct Spent {
    /// Pages in memory, those that processes share counted once for each, and the folders in memory.
    pub(crate) resident_bytes: u64,
    /// Processes and threads.
    pub(crate) tasks: u64,
}

impl Spent {
    /// Counts now.
    ///
    /// # Errors
    /// When processes, or one of them, cannot be read.
    pub(crate) fn now() -> io::Result<Self> {
        let page = page_bytes();
        let mut spent = Self { resident_bytes: scratch_bytes()?, tasks: 0 };
        for_each_process(|process| {
            spent.tasks += process.stat.threads;
            spent.resident_bytes += process.stat.resident_pages * page;
            Ok(())
        })?;
        Ok(spent)
    }

    /// Memory in bytes, counted with care: shared pages once, and also what no process has mapped into its pages now: shared
    /// anonymous memory, tables of pages, files in memory. Buffers of sockets and pipes are not seen.
    ///
    /// # Errors
    /// When processes, or one of them, cannot be read.
    pub(crate) fn exact_bytes() -> io::Result<u64> {
        let mut bytes = scratch_bytes()?;
        let mut shared: HashMap<String, u64> = HashMap::new();
        for_each_process(|process| {
            let Some(status) = text_of_the_living(&process.folder.join("status"))? else { return Ok(()) };
            bytes += kilobytes(&status, "VmPTE:");
            match text_of_the_living(&process.folder.join("smaps_rollup")) {
                Ok(Some(rollup)) if !rollup.is_empty() => {
                    bytes += kilobytes(&rollup, "Pss:").saturating_sub(kilobytes(&rollup, "Pss_Shmem:"));
                }
                // A process may hide its pages, not their number.
                _ => bytes += kilobytes(&status, "VmRSS:"),
            }
            // Where it hides them, its resident pages were counted above.
            let Ok(Some(maps)) = text_of_the_living(&process.folder.join("maps")) else { return Ok(()) };
            for (object, length) in maps.lines().filter_map(shared_memory) {
                let largest = shared.entry(object).or_default();
                *largest = length.max(*largest);
            }
            Ok(())
        })?;
        Ok(bytes + shared.values().sum::<u64>() + crate::sys::shared_segment_pages() * page_bytes())
    }
}

/// A process, seen through a thread of it that still has its memory.
struct Process {
    folder: PathBuf,
    stat: Stat,
}

/// What `stat` says of a process or thread (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    has_ended: bool,
    threads: u64,
    resident_pages: u64,
}

impl Stat {
    /// The name, in parentheses, may hold anything; fields after it are counted from state, which is the third.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| fields.get(index - 3)?.parse::<u64>().ok();
        Some(Self {
            has_ended: matches!(*fields.first()?, "Z" | "X"),
            threads: number(20)?,
            resident_pages: number(24)?,
        })
    }

    /// Of the process or thread in this folder, unless it is gone.
    fn read(folder: &Path) -> io::Result<Option<Self>> {
        let Some(text) = text_of_the_living(&folder.join("stat"))? else { return Ok(None) };
        Self::parse(&text).map(Some).ok_or_else(|| io::Error::other(format!("what does {text:?} mean?")))
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
fn scratch_bytes() -> io::Result<u64> {
    let found = rustix::fs::statvfs("/tmp")?;
    Ok(found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(found.f_frsize))
}

fn for_each_process(mut look: impl FnMut(&Process) -> io::Result<()>) -> io::Result<()> {
    for folder in numbered(Path::new("/proc"))? {
        let Some(stat) = Stat::read(&folder)? else { continue };
        let process = Process { folder, stat };
        // A first thread that has ended shows nothing of the memory that the others still hold.
        let shown = if process.stat.has_ended && process.stat.threads > 1 {
            a_living_thread(&process)?.unwrap_or(process)
        } else {
            process
        };
        look(&shown)?;
    }
    Ok(())
}

fn a_living_thread(process: &Process) -> io::Result<Option<Process>> {
    let threads = match numbered(&process.folder.join("task")) {
        Err(error) if is_gone(&error) => return Ok(None),
        threads => threads?,
    };
    for folder in threads {
        if let Some(stat) = Stat::read(&folder)?.filter(|stat| !stat.has_ended) {
            return Ok(Some(Process { folder, stat }));
        }
    }
    Ok(None)
}

/// The folders that have numbers for names.
fn numbered(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A file of `/proc`, whatever bytes a process put into it; none once that process is gone.
fn text_of_the_living(file: &Path) -> io::Result<Option<String>> {
    match fs::read(file) {
        Ok(read) => Ok(Some(String::from_utf8_lossy(&read).into_owned())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
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
    fn whatever_a_process_is_called_its_numbers_are_read() {
        let rest = "S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 4 0 9 1000 77 0";
        for (name, state, want) in [
            ("sh", "S", Some((false, 4, 77))),
            (") R 9 9 (", "S", Some((false, 4, 77))),
            ("\u{fffd}\n", "Z", Some((true, 4, 77))),
        ] {
            let found = Stat::parse(&format!("7 ({name}) {}", rest.replacen('S', state, 1)));
            assert_eq!(found.map(|it| (it.has_ended, it.threads, it.resident_pages)), want, "{name:?}");
        }
        assert_eq!(Stat::parse("7 (sh) S 1"), None);
    }

    #[test]
    fn this_process_is_counted() {
        assert!(Spent::now().unwrap().tasks >= 1 && Spent::exact_bytes().unwrap() > 0);
    }
}
