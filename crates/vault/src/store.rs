//! The encrypted store: one file of sealed values, and the key that opens it kept apart. A value leaves it only as a
//! [`Secret`]; nothing here prints one, and a damaged file is reported and left as it is.

mod file;
mod key;
mod uses;

use crate::disk::{self, DiskError, Stamp};
use crate::name::SecretName;
use crate::secret::Secret;
use file::{FILE_BYTES_MAX, Image, RECORDS_MAX, Record};
pub use key::Unlock;
use key::{Derivation, Key};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uses::Uses;

/// How many versions of one name are kept; older ones are forgotten when a new one is set.
pub const VERSION_ENTRIES_MAX: usize = 5;

/// What went wrong with the store. Nothing in it is lost by any of these.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is something else.
    #[error("this file is not a secret store; it was left as it is")]
    NotAStore,
    /// The key does not open it.
    #[error("the key or passphrase does not open this secret store; the store was left as it is")]
    WrongKey,
    /// Some of its bytes are not what was written.
    #[error(
        "the secret store is damaged or was tampered with; it was left as it is, restore it from a backup"
    )]
    Damaged,
    /// Its key file is gone.
    #[error("the secret store's key file {0} is missing; put it back, without it the store cannot be opened")]
    KeyMissing(PathBuf),
    /// Its key file holds something else.
    #[error("{0} is not a key file: it must hold exactly 32 bytes")]
    KeyLength(PathBuf),
    /// It was made with a passphrase.
    #[error("this secret store is opened with a passphrase, not a key file")]
    NeedsPassphrase,
    /// It was made with a key file.
    #[error("this secret store is opened with a key file, not a passphrase")]
    NeedsKeyFile,
    /// There is no such secret, or no such version.
    #[error("the secret store holds no such version of `{0}`")]
    Absent(SecretName),
    /// A rotation of what does not exist.
    #[error("the secret store holds no `{0}`: set it before rotating it")]
    NothingToRotate(SecretName),
    /// It is as large as it may be.
    #[error("the secret store is full: it holds at most {RECORDS_MAX} versions and {FILE_BYTES_MAX} bytes")]
    Full,
    /// The system gave no random numbers, or refused to encrypt.
    #[error("the system's cryptography failed")]
    Random,
}

/// What may be said about one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: SecretName,
    /// Its versions, oldest first; the last is the one in use.
    pub versions: Vec<Version>,
    /// When it was last used, in seconds since 1970.
    pub last_used: Option<u64>,
}

/// One version of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counted from 1; never used twice while the name exists.
    pub number: u32,
    /// When it was set, in seconds since 1970.
    pub created: u64,
}

/// A value with the version it is.
pub struct Stored {
    /// The value.
    pub value: Secret,
    /// Its version.
    pub version: u32,
}

/// The store in one folder. Several processes may have it open; each sees what another wrote at its next look.
pub struct Store {
    path: PathBuf,
    lock: PathBuf,
    unlock: Unlock,
    state: Mutex<State>,
    uses: Mutex<Uses>,
}

/// The file as last read. `stamp` is `None` while there is no file.
struct State {
    stamp: Option<Stamp>,
    image: Option<Image>,
    /// The derived key, kept because deriving costs a good part of a second.
    key: Option<(Derivation, Key)>,
}

impl Store {
    /// Opens the store in `folder`, which is made (mode 0700) if it is missing. The key file, too, is made on first use;
    /// it may lie elsewhere.
    ///
    /// # Errors
    /// When folder, file or key file are not private, damaged, or do not belong together.
    pub fn open(folder: &Path, unlock: Unlock) -> Result<Self, StoreError> {
        disk::private_folder(folder)?;
        let store = Self {
            path: folder.join("secrets.vault"),
            lock: folder.join("secrets.lock"),
            unlock,
            state: Mutex::new(State { stamp: None, image: None, key: None }),
            uses: Mutex::new(Uses::at(folder.join("secrets.used"))),
        };
        drop(store.current()?);
        Ok(store)
    }

    /// Where a store's key lies unless somebody chose another place.
    #[must_use]
    pub fn key_file(folder: &Path) -> PathBuf {
        folder.join("vault.key")
    }

    /// Sets `name` to a new version and says which. Earlier versions are kept, up to [`VERSION_ENTRIES_MAX`].
    ///
    /// # Errors
    /// When the store cannot be read or written, or is full.
    pub fn set(&self, name: &SecretName, value: &Secret) -> Result<u32, StoreError> {
        self.change(|image, key| put(image, key, name, value))
    }

    /// As [`Store::set`], for a name that must exist already: a typing error must not make a second secret.
    ///
    /// # Errors
    /// As [`Store::set`], and when there is no such name.
    pub fn rotate(&self, name: &SecretName, value: &Secret) -> Result<u32, StoreError> {
        self.change(|image, key| {
            if !image.records.iter().any(|record| record.name == *name) {
                return Err(StoreError::NothingToRotate(name.clone()));
            }
            put(image, key, name, value)
        })
    }

    /// Forgets all versions of `name`.
    ///
    /// # Errors
    /// When there is none, or the store cannot be read or written.
    pub fn remove(&self, name: &SecretName) -> Result<(), StoreError> {
        self.change(|image, _| {
            let before = image.records.len();
            image.records.retain(|record| record.name != *name);
            if image.records.len() == before { Err(StoreError::Absent(name.clone())) } else { Ok(()) }
        })
    }

    /// Everything that is kept, by name; never a value.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let uses = self.uses().all();
        let state = self.current()?;
        let mut entries: Vec<Entry> = Vec::new();
        for record in state.image.iter().flat_map(|image| &image.records) {
            let version = Version { number: record.version, created: record.created };
            match entries.iter_mut().find(|entry| entry.name == record.name) {
                Some(entry) => entry.versions.push(version),
                None => entries.push(Entry {
                    name: record.name.clone(),
                    versions: vec![version],
                    last_used: uses.get(&record.name).copied(),
                }),
            }
        }
        entries.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(entries)
    }

    /// The newest version of `name`. Notes the use.
    ///
    /// # Errors
    /// When there is none, or the store cannot be read.
    pub fn get(&self, name: &SecretName) -> Result<Stored, StoreError> {
        self.fetch(name, None)
    }

    /// One version of `name`. Notes the use.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_version(&self, name: &SecretName, version: u32) -> Result<Stored, StoreError> {
        self.fetch(name, Some(version))
    }

    /// Notes a use of `name` that was served from a copy held elsewhere.
    pub fn note_use(&self, name: &SecretName) {
        self.uses().note(name, now());
    }

    /// Writes the times of last use now instead of later.
    pub fn flush(&self) {
        self.uses().flush();
    }

    /// A number that grows with every change anybody made.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn generation(&self) -> Result<u64, StoreError> {
        Ok(self.current()?.image.as_ref().map_or(0, |image| image.generation))
    }

    /// A number that is another one whenever the file is.
    pub(crate) fn mark(&self) -> Result<u64, StoreError> {
        Ok(self.current()?.stamp.map_or(0, |stamp| stamp.mark()))
    }

    fn fetch(&self, name: &SecretName, version: Option<u32>) -> Result<Stored, StoreError> {
        let stored = self.peek(name, version)?;
        self.note_use(name);
        Ok(stored)
    }

    /// One version of `name`, or the newest, without noting a use.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn peek(&self, name: &SecretName, version: Option<u32>) -> Result<Stored, StoreError> {
        let state = self.current()?;
        let absent = || StoreError::Absent(name.clone());
        let (Some(image), Some((_, key))) = (&state.image, &state.key) else { return Err(absent()) };
        let record = image
            .records
            .iter()
            .filter(|record| record.name == *name && version.is_none_or(|version| record.version == version))
            .max_by_key(|record| record.version)
            .ok_or_else(absent)?;
        Ok(Stored { value: record.open(key, &image.id)?, version: record.version })
    }

    /// The state as it is on disk now; reads only when the file's stamp changed.
    fn current(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        if stamp == state.stamp && (stamp.is_some() == state.image.is_some()) {
            return Ok(state);
        }
        match disk::read_private_stamped(&self.path, FILE_BYTES_MAX)? {
            None => (state.stamp, state.image) = (None, None),
            Some((bytes, stamp)) => {
                let derivation = Image::derivation(&bytes)?;
                if state.key.as_ref().is_none_or(|(known, _)| *known != derivation) {
                    state.key = Some((derivation, self.unlock.key(derivation, false)?));
                }
                let Some((_, key)) = &state.key else { return Err(StoreError::WrongKey) };
                let image = Image::read(&bytes, key)?;
                (state.stamp, state.image) = (Some(stamp), Some(image));
            }
        }
        Ok(state)
    }

    /// Reads, changes and replaces the file under the lock that all processes share.
    fn change<T>(
        &self,
        edit: impl FnOnce(&mut Image, &Key) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _held = disk::lock(&self.lock)?;
        disk::sweep(&self.path);
        // Two states must differ in their time, because the number of a file that is gone is soon used again.
        while Stamp::of(&self.path).is_some_and(|stamp| stamp.is_fresh()) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut state = self.current()?;
        let mut image = match &state.image {
            Some(image) => Image { records: image.records.clone(), ..*image },
            None => {
                let derivation = self.unlock.fresh()?;
                state.key = Some((derivation, self.unlock.key(derivation, true)?));
                Image { derivation, id: key::random()?, generation: 0, records: Vec::new() }
            }
        };
        let Some((_, key)) = &state.key else { return Err(StoreError::WrongKey) };
        let done = edit(&mut image, key)?;
        image.generation += 1;
        disk::replace_private(&self.path, &image.write(key)?)?;
        (state.stamp, state.image) = (Stamp::of(&self.path), Some(image));
        Ok(done)
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(image: &mut Image, key: &Key, name: &SecretName, value: &Secret) -> Result<u32, StoreError> {
    let mine = |record: &&Record| record.name == *name;
    let version = image.records.iter().filter(mine).map(|record| record.version).max().unwrap_or(0);
    let version = version.checked_add(1).ok_or(StoreError::Full)?;
    if image.records.iter().filter(mine).count() >= VERSION_ENTRIES_MAX
        && let Some(oldest) = image.records.iter().position(|record| record.name == *name)
    {
        image.records.remove(oldest);
    }
    if image.records.len() >= RECORDS_MAX {
        return Err(StoreError::Full);
    }
    image.records.push(Record::seal(key, &image.id, name.clone(), version, now(), value)?);
    Ok(version)
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
