//! What one sandbox has instead of secrets: a placeholder for each, and the rules by which the gate turns it into the
//! value at the last hop. A placeholder anywhere but under its binding stops the request; so does a value that came from
//! inside, where nobody can have it.

mod answer;
mod body;
mod find;
mod inject;
mod resign;
mod used;

pub use answer::CaptureBody;
pub use body::{BODY_FIELD_BYTES_MAX, BodyPass, Coding, Look, Unpacking, Unread};
pub use used::{Misuse, Used, UsedSecret, Why};

use crate::binding::{Binding, Destination, Place};
use crate::error::SecretError;
use crate::keeper::Vault;
use crate::lease::Held;
use crate::name::SecretName;
use crate::placeholder::{self, PLACEHOLDER_VALUE_BYTES_MIN};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Most secrets of one sandbox.
pub const GRANT_ENTRIES_MAX: usize = 256;
/// Most credentials captured from answers that are kept at the same time; the oldest goes first.
pub const CAPTURED_ENTRIES_MAX: usize = 64;

/// One secret of one sandbox, and where it may be put.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Which.
    pub name: SecretName,
    /// Where; a secret without any can be named but never used.
    pub bindings: Vec<Binding>,
}

/// The secrets of one sandbox.
pub struct Wallet {
    vault: Arc<Vault>,
    granted: Vec<Arc<Handle>>,
    captured: Mutex<VecDeque<Arc<Handle>>>,
    /// Captured values that were replaced, and when.
    former: Mutex<Vec<(Arc<Handle>, Instant)>>,
    captures: AtomicU64,
    generation: AtomicU64,
    grace: Duration,
}

/// A placeholder with what it stands for.
struct Handle {
    name: SecretName,
    placeholder: String,
    bindings: Vec<Binding>,
    value: Value,
    /// Where a captured credential came from, so that its successor replaces it.
    origin: Option<(Destination, String)>,
}

enum Value {
    Vaulted,
    Captured(Arc<Held>),
}

/// What must be scrubbed for one secret, shown by [`Wallet::guarded`].
pub struct Guarded<'a> {
    /// Its name.
    pub name: &'a SecretName,
    /// What stands for it in this sandbox.
    pub placeholder: &'a str,
    /// Its value now, and those it had until a short while ago.
    pub values: &'a [Arc<Held>],
}

/// A text that asks for a placeholder nobody granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// This sandbox has no such secret.
    #[error("`${{secret:{0}}}`: this sandbox was not granted that secret")]
    NotGranted(SecretName),
    /// What stands between the braces is no name.
    #[error("`${{secret:` is not followed by a secret's name and `}}`")]
    Malformed,
}

impl Wallet {
    /// A wallet with a fresh placeholder for each grant. Each value is fetched once, to take its shape.
    ///
    /// # Errors
    /// When a secret cannot be had, is too short to have a placeholder, or is granted twice.
    pub async fn new(grants: Vec<Grant>, vault: Arc<Vault>) -> Result<Self, SecretError> {
        let mut granted: Vec<Arc<Handle>> = Vec::with_capacity(grants.len().min(GRANT_ENTRIES_MAX));
        for Grant { name, bindings } in grants {
            let wrong = |why| SecretError::Shape { name: name.clone(), why };
            if granted.len() == GRANT_ENTRIES_MAX {
                return Err(wrong("a sandbox has at most 256 secrets"));
            }
            if granted.iter().any(|other| other.name == name) {
                return Err(wrong("it is granted twice; put all its bindings into one grant"));
            }
            let held = vault.hold(&name).await?;
            let taken: Vec<&str> = granted.iter().map(|handle| handle.placeholder.as_str()).collect();
            let aws = bindings.iter().any(|binding| matches!(binding.place, Place::SigV4 { .. }));
            let placeholder = if aws {
                placeholder::access_key_id().map_err(|_| wrong("no placeholder could be drawn for it"))?
            } else {
                held.expose(|value| placeholder::like(&name, value, &taken))?
            };
            let handle = Handle { name, placeholder, bindings, value: Value::Vaulted, origin: None };
            granted.push(Arc::new(handle));
        }
        let grace = vault.grace();
        Ok(Self {
            vault,
            granted,
            captured: Mutex::default(),
            former: Mutex::default(),
            captures: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            grace,
        })
    }

    /// What stands for `name` in this sandbox. For an AWS key pair it is an access key id; the client's secret key may
    /// be any text.
    #[must_use]
    pub fn placeholder(&self, name: &SecretName) -> Option<&str> {
        self.granted.iter().find(|handle| handle.name == *name).map(|handle| handle.placeholder.as_str())
    }

    /// `text` with each `${secret:NAME}` replaced by its placeholder.
    ///
    /// # Errors
    /// When a name is malformed or was not granted.
    pub fn fill(&self, text: &str) -> Result<String, FillError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${secret:") {
            out.push_str(before);
            let (name, behind) = after.split_once('}').ok_or(FillError::Malformed)?;
            let name = SecretName::new(name).map_err(|_| FillError::Malformed)?;
            out.push_str(self.placeholder(&name).ok_or(FillError::NotGranted(name))?);
            rest = behind;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Shows `look` everything that must not be seen inside: every value, current or recently replaced, with its
    /// placeholder. Asks no source.
    pub fn guarded<T>(&self, look: impl FnOnce(&[Guarded<'_>]) -> T) -> T {
        let handles = self.known();
        let values: Vec<Vec<Arc<Held>>> = handles.iter().map(|handle| self.values(handle)).collect();
        let guarded: Vec<Guarded<'_>> = handles
            .iter()
            .zip(&values)
            .map(|(handle, values)| Guarded { name: &handle.name, placeholder: &handle.placeholder, values })
            .collect();
        look(&guarded)
    }

    /// A number that changes whenever what [`Wallet::guarded`] shows may have changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.vault.generation().wrapping_add(self.generation.load(Ordering::Acquire))
    }

    /// Handles that may be used.
    fn handles(&self) -> Vec<Arc<Handle>> {
        self.granted.iter().chain(self.captured().iter()).cloned().collect()
    }

    /// Handles whose values must not be seen.
    fn known(&self) -> Vec<Arc<Handle>> {
        let mut known = self.handles();
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        former.retain(|(_, replaced)| replaced.elapsed() < self.grace);
        known.extend(former.iter().map(|(handle, _)| handle.clone()));
        known
    }

    /// What must not be seen of `handle`. Values too short to have a placeholder are never put in either, and looking
    /// for them would find them everywhere.
    fn values(&self, handle: &Handle) -> Vec<Arc<Held>> {
        let mut values = match &handle.value {
            Value::Captured(held) => vec![held.clone()],
            Value::Vaulted => self.vault.guarded(&handle.name, <[Arc<Held>]>::to_vec),
        };
        values.retain(|held| held.expose(<[u8]>::len) >= PLACEHOLDER_VALUE_BYTES_MIN);
        values
    }

    async fn hold(&self, handle: &Handle) -> Result<Arc<Held>, SecretError> {
        let held = match &handle.value {
            Value::Captured(held) => return Ok(held.clone()),
            Value::Vaulted => self.vault.hold(&handle.name).await?,
        };
        if held.expose(<[u8]>::len) < PLACEHOLDER_VALUE_BYTES_MIN {
            return Err(placeholder::too_short(&handle.name));
        }
        Ok(held)
    }

    fn captured(&self) -> MutexGuard<'_, VecDeque<Arc<Handle>>> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle for a credential that `from` sent as `what`; it replaces the one sent there before. A value that is
    /// known already keeps its placeholder.
    fn capture(
        &self,
        value: &[u8],
        from: &Destination,
        what: &str,
        bindings: Vec<Binding>,
    ) -> Result<String, SecretError> {
        let number = self.captures.fetch_add(1, Ordering::Relaxed);
        let name = SecretName::new(&format!("captured-{number}"))
            .expect("letters, a dash and at most twenty digits");
        let origin = (from.clone(), what.to_owned());
        let same = |handle: &&Arc<Handle>| {
            handle.origin.as_ref() == Some(&origin)
                && matches!(&handle.value, Value::Captured(held) if held.expose(|known| known == value))
        };
        if let Some(known) = self.captured().iter().find(same) {
            return Ok(known.placeholder.clone());
        }
        let wrong = |why| SecretError::Shape { name: name.clone(), why };
        let handles = self.handles();
        let taken: Vec<&str> = handles.iter().map(|handle| handle.placeholder.as_str()).collect();
        let placeholder = placeholder::like(&name, value, &taken)
            .or_else(|_| placeholder::artificial())
            .map_err(|_| wrong("no placeholder could be drawn for it"))?;
        let secret = crate::Secret::copy_of(value).map_err(|_| wrong("it is empty or too long"))?;
        let handle = Arc::new(Handle {
            name,
            placeholder: placeholder.clone(),
            bindings,
            value: Value::Captured(Arc::new(Held::fixed(secret))),
            origin: Some(origin),
        });
        let mut captured = self.captured();
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = captured.iter().position(|other| other.origin == handle.origin);
        let replaced = replaced.or((captured.len() >= CAPTURED_ENTRIES_MAX).then_some(0));
        if let Some(old) = replaced.and_then(|index| captured.remove(index)) {
            former.push((old, Instant::now()));
            if former.len() > CAPTURED_ENTRIES_MAX {
                former.remove(0);
            }
        }
        captured.push_back(handle);
        self.generation.fetch_add(1 << 32, Ordering::AcqRel);
        Ok(placeholder)
    }
}

/// A copy of a value that wipes itself.
fn copied(held: &Held) -> Zeroizing<Vec<u8>> {
    held.expose(|value| Zeroizing::new(value.to_vec()))
}

#[cfg(test)]
mod tests;
