//! The vault: every secret by name, fetched when first needed, kept while it is good, renewed before it is not. One
//! attempt at a time asks a source; whoever waits shares its outcome, and a value that is still good outlives a failure.

use crate::disk::{self, Stamp};
use crate::error::SecretError;
use crate::lease::{Fetched, Held, Lifetime, Slot};
use crate::mint::Issuer;
use crate::name::SecretName;
use crate::net;
use crate::secret::{SECRET_BYTES_MAX, Secret, without_newline};
use crate::source::hashi::Hashi;
use crate::source::{Engine, Origin, Source, exec};
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How long the answer of a program or keyring is taken for granted, and how long it may be used while asking again
/// fails, in seconds.
const EXEC_FRESH_SECONDS: u64 = 300;
const EXEC_STALE_SECONDS: u64 = 3600;
/// The same for a KV engine, whose operators expect a rotation to show soon.
const KV_FRESH_SECONDS: u64 = 60;
const KV_STALE_SECONDS: u64 = 600;
/// What is assumed of an issuer that does not say how long its credential lasts, in seconds.
const UNSAID_SECONDS: u64 = 600;
/// How often [`Vault::tend`] looks, in seconds.
const TEND_SECONDS: u64 = 15;
/// How deep secrets may need one another.
const DEPTH_MAX: usize = 4;
/// How long an old value is still looked for in what passes, unless the operator says otherwise, in seconds.
pub const GRACE_SECONDS: u64 = 300;

/// All secrets of a gate. It is the one owner of their values.
pub struct Vault {
    store: Option<Arc<Store>>,
    slots: BTreeMap<SecretName, (Well, Slot)>,
    generation: AtomicU64,
    grace: Duration,
}

/// A source, ready to be drawn from.
enum Well {
    Still(Source),
    Hashi(Arc<Hashi>, Origin, Engine),
    Issuer(Issuer, reqwest::Client),
}

impl Vault {
    /// A vault over `sources`, with `store` for those that lie in it.
    ///
    /// # Errors
    /// When a secret needs another that is not there, needs itself, or is described in a way that cannot work. No
    /// source is asked yet.
    pub fn new(
        store: Option<Arc<Store>>,
        sources: BTreeMap<SecretName, Source>,
        grace: Duration,
    ) -> Result<Arc<Self>, SecretError> {
        for name in sources.keys() {
            depth(name, &sources, 0)?;
        }
        let mut slots = BTreeMap::new();
        for (name, source) in sources {
            let wrong = |why: String| SecretError::Source { name: name.clone(), why };
            let well = match source {
                Source::Store if store.is_none() => return Err(wrong("there is no secret store".into())),
                Source::Vault(source) => {
                    let hashi = Hashi::new(&source).map_err(wrong)?;
                    Well::Hashi(hashi, source.token, source.engine)
                }
                Source::Minted(issuer) => Well::Issuer(issuer, net::client(None).map_err(wrong)?),
                still => Well::Still(still),
            };
            slots.insert(name, (well, Slot::default()));
        }
        Ok(Arc::new(Self { store, slots, generation: AtomicU64::new(1), grace }))
    }

    /// The secrets it knows by name.
    pub fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.slots.keys()
    }

    /// The value of `name` that is to be used now.
    ///
    /// # Errors
    /// When there is no such secret, or its source gives none and no earlier value is still good.
    pub async fn hold(&self, name: &SecretName) -> Result<Arc<Held>, SecretError> {
        let (well, slot) = self.slots.get(name).ok_or_else(|| SecretError::Unknown(name.clone()))?;
        let held = match self.quick(name, well, slot)? {
            Some(held) => held,
            None => self.draw(name, well, slot).await?,
        };
        if let (Well::Still(Source::Store), Some(store)) = (well, &self.store) {
            store.note_use(name);
        }
        Ok(held)
    }

    /// Shows `look` every value of `name` that must not be seen anywhere: the one in use and those it replaced, for as
    /// long as their grace lasts. Asks no source.
    pub fn guarded<T>(&self, name: &SecretName, look: impl FnOnce(&[Arc<Held>]) -> T) -> T {
        match self.slots.get(name) {
            Some((_, slot)) => look(&slot.known(self.grace)),
            None => look(&[]),
        }
    }

    /// How long a replaced value is still looked for.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// A number that changes whenever some value does.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Renews what is due, for ever: so that no request waits for an issuer, and tokens that nobody uses stay alive.
    pub async fn tend(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(TEND_SECONDS));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for (name, (well, slot)) in &self.slots {
                slot.known(self.grace);
                if slot.is_due(Instant::now()) {
                    drop(self.draw(name, well, slot).await);
                }
            }
        }
    }

    /// What can be had without waiting.
    fn quick(&self, name: &SecretName, well: &Well, slot: &Slot) -> Result<Option<Arc<Held>>, SecretError> {
        let now = Instant::now();
        match well {
            Well::Still(Source::Store) => {
                let store = self.store.as_ref().ok_or_else(|| SecretError::Unknown(name.clone()))?;
                let broken =
                    |error: StoreError| SecretError::Source { name: name.clone(), why: error.to_string() };
                if let Some(held) = slot.current_at(store.mark().map_err(broken)?) {
                    return Ok(Some(held));
                }
                let _turn = slot.reading();
                // The mark first: should the file change in between, the value is newer and read once more.
                let mark = store.mark().map_err(broken)?;
                let stored = store.get(name).map_err(broken)?;
                let fetched = Fetched { version: stored.version.into(), mark, ..Fetched::of(stored.value) };
                Ok(Some(self.keep(slot, fetched)))
            }
            Well::Still(Source::File(path)) => {
                let missing =
                    || SecretError::Missing { name: name.clone(), place: path.display().to_string() };
                if let Some(held) = slot.current_at(Stamp::of(path).ok_or_else(missing)?.mark()) {
                    return Ok(Some(held));
                }
                let _turn = slot.reading();
                let mark = Stamp::of(path).ok_or_else(missing)?.mark();
                let secret =
                    read_file(path).map_err(|why| SecretError::Source { name: name.clone(), why })?;
                Ok(Some(self.keep(slot, Fetched { mark, ..Fetched::of(secret) })))
            }
            Well::Still(Source::Environment(variable)) => match slot.current(now) {
                Some(held) => Ok(Some(held)),
                None => {
                    let place = || format!("the variable `{variable}`");
                    let secret = read_environment(variable)
                        .ok_or_else(|| SecretError::Missing { name: name.clone(), place: place() })?;
                    Ok(Some(self.keep(slot, Fetched::of(secret))))
                }
            },
            Well::Still(Source::Exec(_) | Source::Keyring { .. } | Source::Vault(_) | Source::Minted(_))
            | Well::Hashi(..)
            | Well::Issuer(..) => Ok(slot.current(now).filter(|_| !slot.is_due(now))),
        }
    }

    /// Asks the source, unless somebody is asking already: then a value that is still good is used, or their outcome.
    async fn draw(&self, name: &SecretName, well: &Well, slot: &Slot) -> Result<Arc<Held>, SecretError> {
        let began = Instant::now();
        let _turn = match slot.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                if let Some(held) = slot.current(began) {
                    return Ok(held);
                }
                slot.turn.lock().await
            }
        };
        let now = Instant::now();
        if let Some(held) = slot.current(now)
            && !slot.is_due(now)
        {
            return Ok(held);
        }
        if let Some(error) = slot.failure_since(began) {
            return Err(error);
        }
        match self.fetch(name, well, slot).await {
            Ok(fetched) => Ok(self.keep(slot, fetched)),
            Err(error) => {
                slot.failed(error.clone());
                slot.current(Instant::now()).ok_or(error)
            }
        }
    }

    async fn fetch(&self, name: &SecretName, well: &Well, slot: &Slot) -> Result<Fetched, SecretError> {
        let source_error = |why: String| SecretError::Source { name: name.clone(), why };
        match well {
            Well::Still(Source::Exec(argv)) => Ok(Fetched::soft(
                exec::ask(argv).await.map_err(source_error)?,
                EXEC_FRESH_SECONDS,
                EXEC_STALE_SECONDS,
            )),
            Well::Still(Source::Keyring { service, account }) => {
                let words = ["secret-tool", "lookup", "service", service, "account", account];
                let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                Ok(Fetched::soft(
                    exec::ask(&argv).await.map_err(source_error)?,
                    EXEC_FRESH_SECONDS,
                    EXEC_STALE_SECONDS,
                ))
            }
            Well::Still(_) => Err(source_error("it is not fetched this way".into())),
            Well::Hashi(hashi, token, engine) => {
                if let Some(extended) = slot.extend().await {
                    return Ok(extended);
                }
                let token = self.origin(name, token).await?;
                let issuer_error = |why| SecretError::Issuer {
                    name: name.clone(),
                    issuer: format!("the secret server at {}", hashi.host()),
                    why,
                };
                let read = hashi.read(token).await.map_err(issuer_error)?;
                Ok(match (engine, read.lease) {
                    (Engine::Lease { .. }, Some(lease)) => Fetched::leased(read.secret, lease),
                    (Engine::Kv2 { .. } | Engine::Lease { .. }, _) => {
                        let fetched = Fetched::soft(read.secret, KV_FRESH_SECONDS, KV_STALE_SECONDS);
                        Fetched { version: read.version.unwrap_or(0), ..fetched }
                    }
                })
            }
            Well::Issuer(issuer, http) => {
                let mut values = Vec::new();
                for origin in issuer.origins() {
                    values.push(self.origin(name, origin).await?);
                }
                let values: Vec<&Secret> = values.iter().map(|value| &**value).collect();
                let coin = issuer
                    .mint(http, &values, SystemTime::now())
                    .await
                    .map_err(|why| SecretError::Issuer { name: name.clone(), issuer: issuer.title(), why })?;
                if let (Some(successor), Some(Origin::Secret(origin))) = (coin.successor, issuer.succeeded())
                {
                    self.succeed(origin, &successor)?;
                }
                let lifetime = coin.lifetime.unwrap_or(Duration::from_secs(UNSAID_SECONDS));
                Ok(Fetched { lifetime: Lifetime::of(lifetime), ..Fetched::of(coin.secret) })
            }
        }
    }

    /// A credential needed to get another one. Boxed because it may need yet another; `DEPTH_MAX` bounds that.
    fn origin<'a>(
        &'a self,
        wanted: &'a SecretName,
        origin: &'a Origin,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Secret>, SecretError>> + Send + 'a>> {
        Box::pin(async move {
            let missing = |place: String| SecretError::Missing { name: wanted.clone(), place };
            match origin {
                Origin::Secret(name) => Ok(self.hold(name).await?.shared()),
                Origin::Environment(variable) => read_environment(variable)
                    .map(Arc::new)
                    .ok_or_else(|| missing(format!("the variable `{variable}`"))),
                Origin::File(path) => read_file(path)
                    .map(Arc::new)
                    .map_err(|why| SecretError::Source { name: wanted.clone(), why }),
            }
        })
    }

    /// Writes a refresh token's successor over it. The old one may be void already, so a failure is an error.
    fn succeed(&self, origin: &SecretName, successor: &Secret) -> Result<(), SecretError> {
        let in_store = matches!(self.slots.get(origin), Some((Well::Still(Source::Store), _)));
        let unkept = |why: String| SecretError::Source { name: origin.clone(), why };
        match &self.store {
            Some(store) if in_store => match store.get(origin) {
                Ok(known) if known.value.expose(|old| successor.expose(|new| old == new)) => Ok(()),
                _ => store.set(origin, successor).map(drop).map_err(|error| unkept(error.to_string())),
            },
            _ => {
                Err(unkept("its issuer sent a successor, which can be kept only in the secret store".into()))
            }
        }
    }

    fn keep(&self, slot: &Slot, fetched: Fetched) -> Arc<Held> {
        let (held, changed) = slot.keep(fetched);
        if changed {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        held
    }
}

fn depth(name: &SecretName, sources: &BTreeMap<SecretName, Source>, above: usize) -> Result<(), SecretError> {
    let wrong = |why: String| SecretError::Reference { name: name.clone(), why };
    if above > DEPTH_MAX {
        return Err(wrong(format!("it needs itself, or more than {DEPTH_MAX} others in a row")));
    }
    for needed in sources.get(name).map(Source::needs).unwrap_or_default() {
        if !sources.contains_key(needed) {
            return Err(wrong(format!("it needs `{needed}`, which nobody configured")));
        }
        depth(needed, sources, above + 1)?;
    }
    Ok(())
}

fn read_environment(variable: &str) -> Option<Secret> {
    use std::os::unix::ffi::OsStringExt as _;
    Secret::new(std::env::var_os(variable)?.into_vec()).ok()
}

fn read_file(path: &std::path::Path) -> Result<Secret, String> {
    let bytes = disk::read_any(path, SECRET_BYTES_MAX + 2).map_err(|error| error.to_string())?;
    Secret::copy_of(without_newline(&bytes)).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
