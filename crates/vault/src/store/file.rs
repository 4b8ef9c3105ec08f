//! The bytes of `secrets.vault`: a header, one sealed record per version, and a seal over all of it. Reading never
//! panics, never believes a length beyond its bound, and accepts nothing whose last seal does not hold.
//!
//! ```text
//! "BWVAULT1" ‖ derivation (1) ‖ rounds u32 ‖ salt (16) ‖ id (16) ‖ key check (28) ‖ generation u64 ‖ count u32
//! count × ( name length u8 ‖ name ‖ version u32 ‖ created u64 ‖ sealed length u32 ‖ nonce ‖ ciphertext ‖ tag )
//! seal of nothing about all the bytes before it (28)
//! ```
//! Integers are little-endian. Each record is sealed about the store's id, its name, version and time, so none can be
//! moved; the last seal means that none can be left out or put back without the key. A whole older file still opens: who
//! can write the folder can undo a rotation, and the generation shows it.

use super::StoreError;
use super::key::{Derivation, Key, PBKDF2_ROUNDS_MAX, TAG_BYTES};
use crate::name::{NAME_BYTES_MAX, SecretName};
use crate::secret::{SECRET_BYTES_MAX, Secret};
use aws_lc_rs::aead::NONCE_LEN;

/// Most records (versions of all names) in one store.
pub(super) const RECORDS_MAX: usize = 4096;
/// Longest file, in bytes.
pub(super) const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"BWVAULT1";
const SEAL_BYTES: usize = NONCE_LEN + TAG_BYTES;
const HEADER_BYTES: usize = 8 + 1 + 4 + 16 + 16;

/// A store as it lies on disk: values stay sealed.
pub(super) struct Image {
    pub(super) derivation: Derivation,
    pub(super) id: [u8; 16],
    pub(super) generation: u64,
    pub(super) records: Vec<Record>,
}

/// One version of one secret, sealed.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) name: SecretName,
    pub(super) version: u32,
    /// Seconds since 1970.
    pub(super) created: u64,
    sealed: Vec<u8>,
}

impl Record {
    pub(super) fn seal(
        key: &Key,
        id: &[u8; 16],
        name: SecretName,
        version: u32,
        created: u64,
        value: &Secret,
    ) -> Result<Self, StoreError> {
        let about = about(id, &name, version, created);
        let sealed = value.expose(|plain| key.seal(plain, &about))?;
        Ok(Self { name, version, created, sealed })
    }

    pub(super) fn open(&self, key: &Key, id: &[u8; 16]) -> Result<Secret, StoreError> {
        let about = about(id, &self.name, self.version, self.created);
        let plain = key.open(&self.sealed, &about).ok_or(StoreError::Damaged)?;
        Secret::copy_of(&plain).map_err(|_| StoreError::Damaged)
    }
}

fn about(id: &[u8; 16], name: &SecretName, version: u32, created: u64) -> Vec<u8> {
    let mut about = b"bailiwick secret".to_vec();
    about.extend_from_slice(id);
    about.extend_from_slice(&version.to_le_bytes());
    about.extend_from_slice(&created.to_le_bytes());
    about.extend_from_slice(name.as_str().as_bytes());
    about
}

impl Image {
    fn header(&self) -> Vec<u8> {
        let (kind, rounds, salt) = match self.derivation {
            Derivation::KeyFile => (0, 0, [0; 16]),
            Derivation::Pbkdf2 { rounds, salt } => (1, rounds, salt),
        };
        let mut header = MAGIC.to_vec();
        header.push(kind);
        header.extend_from_slice(&rounds.to_le_bytes());
        header.extend_from_slice(&salt);
        header.extend_from_slice(&self.id);
        header
    }

    /// The file.
    pub(super) fn write(&self, key: &Key) -> Result<Vec<u8>, StoreError> {
        let mut out = self.header();
        let check = key.seal(&[], &out)?;
        out.extend_from_slice(&check);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.records.len()).unwrap_or(u32::MAX).to_le_bytes());
        for Record { name, version, created, sealed } in &self.records {
            out.push(u8::try_from(name.as_str().len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(&version.to_le_bytes());
            out.extend_from_slice(&created.to_le_bytes());
            out.extend_from_slice(&u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(sealed);
        }
        let seal = key.seal(&[], &out)?;
        out.extend_from_slice(&seal);
        if out.len() > FILE_BYTES_MAX {
            return Err(StoreError::Full);
        }
        Ok(out)
    }

    /// How the key of `bytes` is come by; the first thing to know, and not yet trusted.
    pub(super) fn derivation(bytes: &[u8]) -> Result<Derivation, StoreError> {
        let mut input = Input(bytes);
        if &input.array::<8>()? != MAGIC {
            return Err(StoreError::NotAStore);
        }
        let (kind, rounds, salt) = (input.array::<1>()?[0], input.u32()?, input.array::<16>()?);
        match kind {
            0 => Ok(Derivation::KeyFile),
            1 if (1..=PBKDF2_ROUNDS_MAX).contains(&rounds) => Ok(Derivation::Pbkdf2 { rounds, salt }),
            _ => Err(StoreError::Damaged),
        }
    }

    /// Reads `bytes` under `key`. The seals are checked before a single length in them is believed.
    pub(super) fn read(bytes: &[u8], key: &Key) -> Result<Self, StoreError> {
        let derivation = Self::derivation(bytes)?;
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(StoreError::Damaged)?;
        let check = rest.get(..SEAL_BYTES).ok_or(StoreError::Damaged)?;
        key.open(check, header).ok_or(StoreError::WrongKey)?;
        let (body, seal) = bytes
            .split_at_checked(bytes.len().saturating_sub(SEAL_BYTES))
            .filter(|(body, _)| body.len() >= HEADER_BYTES + SEAL_BYTES)
            .ok_or(StoreError::Damaged)?;
        key.open(seal, body).ok_or(StoreError::Damaged)?;
        let mut input = Input(body);
        input.take(HEADER_BYTES - 16)?;
        let id = input.array()?;
        input.take(SEAL_BYTES)?;
        let generation = input.u64()?;
        let count = input.u32()? as usize;
        if count > RECORDS_MAX {
            return Err(StoreError::Damaged);
        }
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            records.push(input.record()?);
        }
        if !input.0.is_empty() {
            return Err(StoreError::Damaged);
        }
        Ok(Self { derivation, id, generation, records })
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(StoreError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.take(N)?.try_into().map_err(|_| StoreError::Damaged)
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn record(&mut self) -> Result<Record, StoreError> {
        let length = usize::from(self.array::<1>()?[0]);
        if length > NAME_BYTES_MAX {
            return Err(StoreError::Damaged);
        }
        let name = std::str::from_utf8(self.take(length)?).map_err(|_| StoreError::Damaged)?;
        let name = SecretName::new(name).map_err(|_| StoreError::Damaged)?;
        let (version, created, sealed) = (self.u32()?, self.u64()?, self.u32()? as usize);
        if !(SEAL_BYTES..=SECRET_BYTES_MAX + SEAL_BYTES).contains(&sealed) {
            return Err(StoreError::Damaged);
        }
        Ok(Record { name, version, created, sealed: self.take(sealed)?.to_vec() })
    }
}
