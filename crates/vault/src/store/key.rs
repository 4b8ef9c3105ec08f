//! The key that the store is sealed under: 32 random bytes in a private file, or derived from a passphrase. It is never
//! written into the store, and a key file that others can read is refused.

use super::StoreError;
use crate::disk;
use crate::secret::Secret;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{pbkdf2, rand};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Length of the key, in bytes.
pub(super) const KEY_BYTES: usize = 32;
/// Length of the tag that AES-256-GCM adds, in bytes.
pub(super) const TAG_BYTES: usize = 16;
/// Rounds of PBKDF2-HMAC-SHA-256 for a new store; OWASP's figure for it. A memory-hard function would be stronger, but
/// it is not in the one crypto library this project has, and the key file is the default.
pub(super) const PBKDF2_ROUNDS: u32 = 600_000;
/// Most rounds believed from a file, so that a forged one cannot keep the gate busy for hours.
pub(super) const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;

/// What opens the store.
pub enum Unlock {
    /// A file with the key, made on first use.
    KeyFile(PathBuf),
    /// A passphrase, stretched with PBKDF2.
    Passphrase(Secret),
}

/// How the key of one store is come by, as its header says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Derivation {
    KeyFile,
    Pbkdf2 { rounds: u32, salt: [u8; 16] },
}

/// The key itself.
pub(super) struct Key(Secret);

impl Unlock {
    /// How a new store of this kind is to be opened.
    pub(super) fn fresh(&self) -> Result<Derivation, StoreError> {
        match self {
            Self::KeyFile(_) => Ok(Derivation::KeyFile),
            Self::Passphrase(_) => Ok(Derivation::Pbkdf2 { rounds: PBKDF2_ROUNDS, salt: random()? }),
        }
    }

    /// The key for `derivation`. A missing key file is made only when `may_create`: a store without its key must not
    /// get a new one, which would look like a wrong key for ever after.
    pub(super) fn key(&self, derivation: Derivation, may_create: bool) -> Result<Key, StoreError> {
        match (self, derivation) {
            (Self::KeyFile(path), Derivation::KeyFile) => key_file(path, may_create),
            (Self::Passphrase(phrase), Derivation::Pbkdf2 { rounds, salt }) => {
                let rounds = NonZeroU32::new(rounds.min(PBKDF2_ROUNDS_MAX)).ok_or(StoreError::Damaged)?;
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                phrase.expose(|phrase| {
                    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, phrase, key.as_mut());
                });
                Ok(Key(Secret::copy_of(key.as_ref()).map_err(|_| StoreError::Random)?))
            }
            (Self::KeyFile(_), Derivation::Pbkdf2 { .. }) => Err(StoreError::NeedsPassphrase),
            (Self::Passphrase(_), Derivation::KeyFile) => Err(StoreError::NeedsKeyFile),
        }
    }
}

fn key_file(path: &Path, may_create: bool) -> Result<Key, StoreError> {
    let missing = || StoreError::KeyMissing(path.to_owned());
    let bytes = match disk::read_private(path, KEY_BYTES + 1)? {
        Some(bytes) => bytes,
        None if may_create => {
            let fresh = Zeroizing::new(random::<KEY_BYTES>()?);
            disk::create_private(path, fresh.as_ref())?;
            disk::read_private(path, KEY_BYTES + 1)?.ok_or_else(missing)?
        }
        None => return Err(missing()),
    };
    if bytes.len() != KEY_BYTES {
        return Err(StoreError::KeyLength(path.to_owned()));
    }
    Ok(Key(Secret::copy_of(&bytes).map_err(|_| StoreError::KeyLength(path.to_owned()))?))
}

impl Key {
    fn aead(&self) -> Result<LessSafeKey, StoreError> {
        self.0.expose(|key| {
            UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| StoreError::Random)
        })
    }

    /// `nonce ‖ ciphertext ‖ tag`. The nonce is random: 2³² seals under one key stay safe, a store makes thousands.
    pub(super) fn seal(&self, plain: &[u8], about: &[u8]) -> Result<Vec<u8>, StoreError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .aead()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(about),
                &mut sealed[NONCE_LEN..],
            )
            .map_err(|_| StoreError::Random)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// The plaintext of `sealed`, or nothing when key, `about` or a single bit differ.
    pub(super) fn open(&self, sealed: &[u8], about: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = Zeroizing::new(rest.to_vec());
        let length = self.aead().ok()?.open_in_place(nonce, Aad::from(about), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| StoreError::Random)?;
    Ok(bytes)
}
