//! Everything in any login that must be seen nowhere, the tokens replaced a while ago included. Whoever else signs in or renews
//! with the same store is noticed at the next look.

use super::LOGIN_PREFIX;
use super::keep::now;
use super::record::Record;
use crate::name::SecretName;
use crate::secret::Secret;
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most replaced values that are looked for at the same time.
const OLD_ENTRIES_MAX: usize = 64;

/// The values, and how often they changed.
#[derive(Default)]
pub(super) struct Seen(Mutex<Values>);

#[derive(Default)]
struct Values {
    /// The state of the store they were read from; none before the first look.
    mark: Option<u64>,
    generation: u64,
    now: BTreeMap<SecretName, Vec<Arc<Secret>>>,
    old: Vec<(SecretName, Arc<Secret>, Instant)>,
}

impl Seen {
    /// Takes in what the store holds by now, and says how often anything changed. Values that left are kept for `grace`, and
    /// while the store cannot be read all are: nothing new can come from it then.
    pub(super) fn look(&self, store: &Store, grace: Duration) -> u64 {
        let mut values = self.values();
        let before = values.old.len();
        values.old.retain(|(_, _, left)| left.elapsed() < grace);
        values.generation += u64::from(before != values.old.len());
        drop(values.read(store));
        values.generation
    }

    /// Adds what is about to be used, before it is.
    pub(super) fn add(&self, name: &SecretName, secrets: Vec<Arc<Secret>>) {
        let mut values = self.values();
        let mut now = values.now.clone();
        now.insert(name.clone(), secrets);
        values.replace(now);
    }

    pub(super) fn each(&self, mut show: impl FnMut(&SecretName, &Secret)) {
        let values = self.values();
        for (name, secrets) in &values.now {
            secrets.iter().for_each(|secret| show(name, secret));
        }
        values.old.iter().for_each(|(name, secret, _)| show(name, secret));
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Values {
    fn read(&mut self, store: &Store) -> Result<(), StoreError> {
        let mark = store.mark()?;
        if self.mark != Some(mark) {
            let mut now = BTreeMap::new();
            for entry in store.list()? {
                if entry.name.as_str().starts_with(LOGIN_PREFIX) {
                    let mut all = Vec::new();
                    for (back, version) in entry.versions.iter().rev().enumerate() {
                        all.extend(secrets(store.peek(&entry.name, Some(version.number))?.value, back > 0));
                    }
                    now.insert(entry.name, all);
                }
            }
            self.replace(now);
            self.mark = Some(mark);
        }
        Ok(())
    }

    fn replace(&mut self, now: BTreeMap<SecretName, Vec<Arc<Secret>>>) {
        let before = std::mem::replace(&mut self.now, now);
        let kept = |secret: &Arc<Secret>, in_now: &BTreeMap<_, Vec<Arc<Secret>>>| {
            in_now.values().flatten().any(|other| secret.expose(|one| other.expose(|two| one == two)))
        };
        for (name, secrets) in &before {
            for secret in secrets.iter().filter(|secret| !kept(secret, &self.now)) {
                self.old.push((name.clone(), secret.clone(), Instant::now()));
            }
        }
        let surplus = self.old.len().saturating_sub(OLD_ENTRIES_MAX);
        self.old.drain(..surplus);
        let is_new = self.now.values().flatten().any(|secret| !kept(secret, &before));
        let is_fewer = before.values().flatten().any(|secret| !kept(secret, &self.now));
        self.generation += u64::from(is_new || is_fewer);
    }
}

/// What must not be seen of a version: nothing of one that was replaced and has ended since. What is no login was put there by
/// hand; then the whole of it must not.
fn secrets(value: Secret, is_replaced: bool) -> Vec<Arc<Secret>> {
    match Record::read(&value) {
        Some(record) if is_replaced && record.is_over(now()) => Vec::new(),
        Some(record) => record.secrets(),
        None => vec![Arc::new(value)],
    }
}
