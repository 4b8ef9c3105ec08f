//! How long a value is good: the one in use, those it replaced, and when it must be asked for anew. Only values live
//! here; who is asked is decided elsewhere.

use crate::error::SecretError;
use crate::secret::Secret;
use crate::source::hashi::Lease;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A credential is asked for anew when this part of its life is over, in percent …
const RENEW_PERCENT: u32 = 80;
/// … or this long before its end, whichever is earlier and it lives twice as long at least, in seconds.
const RENEW_SECONDS: u64 = 60;
/// How long a failed attempt is believed while an older value is still good, in seconds.
const RETRY_SECONDS: u64 = 5;
/// Most replaced values of one secret that are looked for at the same time.
const GUARDED_MAX: usize = 16;
/// Longest life believed, in seconds: far enough to never matter, near enough to add to a clock.
const LIFE_SECONDS_MAX: u64 = 366 * 86_400;

/// A value in use, with what is known about it.
pub struct Held {
    secret: Arc<Secret>,
    version: u64,
    lifetime: Lifetime,
    /// Given back when the last user of this value is done with it.
    lease: Option<Arc<Lease>>,
}

impl Held {
    /// The value, as [`Secret::expose`].
    pub fn expose<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        self.secret.expose(look)
    }

    /// Which version it is: the store's or KV engine's own number, otherwise counted from 1 since the start.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it ends, if it does.
    #[must_use]
    pub fn expires(&self) -> Option<Instant> {
        self.lifetime.expires
    }

    pub(crate) fn shared(&self) -> Arc<Secret> {
        self.secret.clone()
    }

    /// A value that came from elsewhere and is never renewed.
    pub(crate) fn fixed(secret: Secret) -> Self {
        Self { secret: Arc::new(secret), version: 1, lifetime: Lifetime::default(), lease: None }
    }
}

/// When a value is asked for anew, and when it must no longer be used.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lifetime {
    due: Option<Instant>,
    expires: Option<Instant>,
}

impl Lifetime {
    /// Of a credential that lasts `life` from now.
    pub(crate) fn of(life: Duration) -> Self {
        let life = life.min(Duration::from_secs(LIFE_SECONDS_MAX));
        let now = Instant::now();
        Self { due: Some(now + renewed_after(life)), expires: Some(now + life) }
    }

    fn soft(fresh_seconds: u64, stale_seconds: u64) -> Self {
        let now = Instant::now();
        let after = |seconds| Some(now + Duration::from_secs(seconds));
        Self { due: after(fresh_seconds), expires: after(stale_seconds) }
    }

    /// Of a lease, which is renewed when two thirds of it are over.
    fn leased(life: Duration) -> Self {
        let life = life.min(Duration::from_secs(LIFE_SECONDS_MAX));
        Self { due: Some(Instant::now() + life * 2 / 3), expires: Some(Instant::now() + life) }
    }
}

/// When a credential that lasts `life` is asked for anew.
fn renewed_after(life: Duration) -> Duration {
    let part = life * RENEW_PERCENT / 100;
    let before = Duration::from_secs(RENEW_SECONDS);
    if life > before * 2 { part.min(life - before) } else { part }
}

/// What a source gave.
pub(crate) struct Fetched {
    pub(crate) secret: Arc<Secret>,
    /// 0 when the source does not count.
    pub(crate) version: u64,
    /// The state of the source that this was read from.
    pub(crate) mark: u64,
    pub(crate) lifetime: Lifetime,
    pub(crate) lease: Option<Arc<Lease>>,
}

impl Fetched {
    pub(crate) fn of(secret: Secret) -> Self {
        Self { secret: Arc::new(secret), version: 0, mark: 0, lifetime: Lifetime::default(), lease: None }
    }

    pub(crate) fn soft(secret: Secret, fresh_seconds: u64, stale_seconds: u64) -> Self {
        Self { lifetime: Lifetime::soft(fresh_seconds, stale_seconds), ..Self::of(secret) }
    }

    pub(crate) fn leased(secret: Secret, lease: Lease) -> Self {
        Self { lifetime: Lifetime::leased(lease.duration), lease: Some(Arc::new(lease)), ..Self::of(secret) }
    }
}

/// The values of one secret.
#[derive(Default)]
pub(crate) struct Slot {
    /// Whose turn it is to ask the source.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// The same for sources that answer at once; so that nobody slower puts an older reading over a newer one.
    reading: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Held>>,
    mark: u64,
    counted: u64,
    /// Values that were replaced, and when.
    old: Vec<(Arc<Held>, Instant)>,
    failure: Option<(SecretError, Instant)>,
}

impl Slot {
    /// The value in use, unless its life is over.
    pub(crate) fn current(&self, now: Instant) -> Option<Arc<Held>> {
        let state = self.state();
        state.current.clone().filter(|held| held.lifetime.expires.is_none_or(|expires| now < expires))
    }

    /// Takes the turn of those who read at once.
    pub(crate) fn reading(&self) -> MutexGuard<'_, ()> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value in use, if it was read when the source was as `mark` says.
    pub(crate) fn current_at(&self, mark: u64) -> Option<Arc<Held>> {
        let state = self.state();
        state.current.clone().filter(|_| state.mark == mark)
    }

    /// Whether there is a value that should be asked for anew, and asking did not just fail.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let state = self.state();
        let waiting = state
            .failure
            .as_ref()
            .is_some_and(|(_, at)| now.duration_since(*at) < Duration::from_secs(RETRY_SECONDS));
        let due = state.current.as_ref().and_then(|held| held.lifetime.due);
        due.is_some_and(|due| due <= now) && !waiting
    }

    /// The outcome of an attempt that ended after `began`, if it failed.
    pub(crate) fn failure_since(&self, began: Instant) -> Option<SecretError> {
        self.state().failure.as_ref().filter(|(_, at)| *at >= began).map(|(error, _)| error.clone())
    }

    pub(crate) fn failed(&self, error: SecretError) {
        self.state().failure = Some((error, Instant::now()));
    }

    /// Takes up what a source gave; says whether the value is another one than before.
    pub(crate) fn keep(&self, fetched: Fetched) -> (Arc<Held>, bool) {
        let Fetched { secret, version, mark, lifetime, lease } = fetched;
        let mut state = self.state();
        let state = &mut *state;
        state.failure = None;
        state.mark = mark;
        let same = state
            .current
            .as_ref()
            .filter(|current| secret.expose(|new| current.expose(|old| new == old)))
            .map(|current| (current.secret.clone(), current.version));
        let changed = same.is_none();
        state.counted += u64::from(changed);
        let (secret, known) = same.unwrap_or((secret, state.counted));
        let held =
            Arc::new(Held { secret, version: if version > 0 { version } else { known }, lifetime, lease });
        if let Some(old) = state.current.replace(held.clone()).filter(|_| changed) {
            state.old.push((old, Instant::now()));
            if state.old.len() > GUARDED_MAX {
                state.old.remove(0);
            }
        }
        (held, changed)
    }

    /// The value in use and those replaced less than `grace` ago or held by somebody. Others are let go.
    pub(crate) fn known(&self, grace: Duration) -> Vec<Arc<Held>> {
        let mut state = self.state();
        // Whoever still holds one may be in the middle of an exchange that used it, however long that lasts.
        state.old.retain(|(held, replaced)| replaced.elapsed() < grace || Arc::strong_count(held) > 1);
        let State { current, old, .. } = &*state;
        current.iter().chain(old.iter().map(|(held, _)| held)).cloned().collect()
    }

    /// The same value for longer, if it has a lease that can be renewed.
    pub(crate) async fn extend(&self) -> Option<Fetched> {
        let (secret, lease, version) = {
            let state = self.state();
            let held = state.current.as_ref()?;
            (held.shared(), held.lease.clone().filter(|lease| lease.renewable)?, held.version)
        };
        let life = lease.renew().await.ok()?;
        Some(Fetched { secret, version, mark: 0, lifetime: Lifetime::leased(life), lease: Some(lease) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Slot {
    /// Lets time pass for the value in use.
    pub(crate) fn age(&self, by: Duration) {
        let mut state = self.state();
        let Some(held) = state.current.take() else { return };
        let Held { secret, version, lifetime, lease } = &*held;
        let earlier = |at: Option<Instant>| at.and_then(|at| at.checked_sub(by));
        let lifetime = Lifetime { due: earlier(lifetime.due), expires: earlier(lifetime.expires) };
        let (secret, version, lease) = (secret.clone(), *version, lease.clone());
        state.current = Some(Arc::new(Held { secret, version, lifetime, lease }));
        if let Some((_, at)) = &mut state.failure {
            *at = at.checked_sub(by).unwrap_or(*at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_due_at_80_percent_or_a_minute_before() {
        for (life, due) in [(1000, 800), (3600, 2880), (300, 240), (200, 140), (121, 61), (100, 80), (10, 8)]
        {
            assert_eq!(renewed_after(Duration::from_secs(life)), Duration::from_secs(due), "{life}");
        }
    }

    #[test]
    fn an_old_value_is_guarded_while_in_grace_or_in_use() {
        let slot = Slot::default();
        let put = |text: &[u8]| slot.keep(Fetched::of(Secret::copy_of(text).unwrap()));
        let (first, _) = put(b"first value");
        assert!(put(b"second value").1);
        assert!(!put(b"second value").1);
        assert_eq!(slot.known(Duration::from_secs(60)).len(), 2);
        assert_eq!(slot.known(Duration::ZERO).len(), 2, "somebody holds it");
        drop(first);
        assert_eq!(slot.known(Duration::ZERO).len(), 1);
    }
}
