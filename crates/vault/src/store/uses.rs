//! When each secret was last used, kept beside the store in `secrets.used` and written rarely. It holds names and times
//! only, and losing it loses nothing else.

use crate::disk;
use crate::name::SecretName;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a use may go unwritten, in seconds.
const FLUSH_SECONDS: u64 = 60;
/// Longest file read, in bytes.
const USES_BYTES_MAX: usize = 1024 * 1024;
/// Most names remembered.
const USES_MAX: usize = 8192;

pub(super) struct Uses {
    path: PathBuf,
    fresh: BTreeMap<SecretName, u64>,
    flushed: Instant,
}

impl Uses {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, fresh: BTreeMap::new(), flushed: Instant::now() }
    }

    pub(super) fn note(&mut self, name: &SecretName, now: u64) {
        if self.fresh.len() < USES_MAX || self.fresh.contains_key(name) {
            self.fresh.insert(name.clone(), now);
        }
        if self.flushed.elapsed() >= Duration::from_secs(FLUSH_SECONDS) {
            self.flush();
        }
    }

    /// What is known: on disk, and since.
    pub(super) fn all(&self) -> BTreeMap<SecretName, u64> {
        let mut all = BTreeMap::new();
        let bytes = disk::read_private(&self.path, USES_BYTES_MAX).ok().flatten().unwrap_or_default();
        for line in String::from_utf8_lossy(&bytes).lines().take(USES_MAX) {
            if let Some((name, time)) = line.split_once(' ')
                && let (Ok(name), Ok(time)) = (SecretName::new(name), time.parse())
            {
                all.insert(name, time);
            }
        }
        for (name, time) in &self.fresh {
            let known = all.entry(name.clone()).or_insert(*time);
            *known = (*known).max(*time);
        }
        all
    }

    /// Writes what is new. A failure is kept for the next time: a use is worth less than the request it served.
    pub(super) fn flush(&mut self) {
        self.flushed = Instant::now();
        if self.fresh.is_empty() {
            return;
        }
        let text: String = self.all().iter().map(|(name, time)| format!("{name} {time}\n")).collect();
        if disk::replace_soon(&self.path, text.as_bytes()).is_ok() {
            self.fresh.clear();
        }
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        self.flush();
    }
}
