//! The store across processes, damage, wrong keys and crashes.

use super::*;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt as _;

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::copy_of(text.as_bytes()).unwrap()
}

fn open(folder: &Path) -> Result<Store, StoreError> {
    Store::open(folder, Unlock::KeyFile(Store::key_file(folder)))
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("secrets");
    (scratch, folder)
}

fn value(store: &Store, of: &str) -> Option<String> {
    let stored = store.get(&name(of)).ok()?;
    Some(stored.value.expose(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
}

#[test]
fn versions_are_kept_listed_and_forgotten() {
    let (_scratch, folder) = scratch();
    let store = open(&folder).unwrap();
    assert!(store.list().unwrap().is_empty());
    assert!(matches!(store.rotate(&name("api"), &secret("x")), Err(StoreError::NothingToRotate(_))));
    for number in 1..=7_u32 {
        assert_eq!(store.set(&name("api"), &secret(&format!("value {number}"))).unwrap(), number);
    }
    store.set(&name("other"), &secret("other value")).unwrap();
    assert_eq!(value(&store, "api").unwrap(), "value 7");
    let at = |version| store.get_version(&name("api"), version).ok().map(|stored| stored.version);
    assert_eq!((at(3), at(2), at(8)), (Some(3), None, None));
    let list = store.list().unwrap();
    assert_eq!(list.len(), 2);
    let numbers: Vec<u32> = list[0].versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, [3, 4, 5, 6, 7]);
    assert!(list[0].last_used.is_some() && list[1].last_used.is_none());
    store.remove(&name("api")).unwrap();
    assert!(matches!(store.get(&name("api")), Err(StoreError::Absent(_))));
    assert!(matches!(store.remove(&name("api")), Err(StoreError::Absent(_))));
    assert_eq!(value(&store, "other").unwrap(), "other value");
}

#[test]
fn another_process_sees_a_rotation_and_nothing_lies_open() {
    let (_scratch, folder) = scratch();
    let gate = open(&folder).unwrap();
    let cli = open(&folder).unwrap();
    cli.set(&name("api"), &secret("the first value")).unwrap();
    assert_eq!(value(&gate, "api").unwrap(), "the first value");
    cli.rotate(&name("api"), &secret("the second value")).unwrap();
    assert_eq!(value(&gate, "api").unwrap(), "the second value");
    gate.flush();
    assert!(cli.list().unwrap()[0].last_used.is_some());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(memchr::memmem::find(&bytes, b"value").is_none());
    }
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_a_crash_left_is_swept_and_the_rest_is_kept() {
    let (_scratch, folder) = scratch();
    let store = open(&folder).unwrap();
    store.set(&name("api"), &secret("some value")).unwrap();
    for (file, kept) in
        [("secrets.vault.tmp-0123", false), ("secrets.vault.bak", true), ("vault.key.new-0", true)]
    {
        let path = folder.join(file);
        disk::create_private(&path, b"left over").unwrap();
        store.set(&name("api"), &secret("other value")).unwrap();
        assert_eq!(path.exists(), kept, "{file}");
    }
    assert_eq!(value(&store, "api").unwrap(), "other value");
}

#[test]
fn concurrent_writers_lose_nothing() {
    let (_scratch, folder) = scratch();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let folder = &folder;
            scope.spawn(move || {
                let store = open(folder).unwrap();
                for turn in 0..5 {
                    store
                        .set(&name(&format!("w{writer}-{turn}")), &secret("a value of some length"))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(open(&folder).unwrap().list().unwrap().len(), 20);
}

#[test]
fn files_that_others_can_read_are_refused() {
    for file in ["", "secrets.vault", "vault.key"] {
        let (_scratch, folder) = scratch();
        open(&folder).unwrap().set(&name("api"), &secret("some value")).unwrap();
        assert!(open(&folder).is_ok());
        let path = if file.is_empty() { folder.clone() } else { folder.join(file) };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(open(&folder), Err(StoreError::Disk(DiskError::NotPrivate { .. }))), "{file}");
    }
}

#[test]
fn the_wrong_key_is_told_from_a_missing_one_and_loses_nothing() {
    let (_scratch, folder) = scratch();
    open(&folder).unwrap().set(&name("api"), &secret("some value")).unwrap();
    let key = Store::key_file(&folder);
    let (right, before) =
        (std::fs::read(&key).unwrap(), std::fs::read(folder.join("secrets.vault")).unwrap());
    std::fs::write(&key, [7; 32]).unwrap();
    assert!(matches!(open(&folder), Err(StoreError::WrongKey)));
    std::fs::write(&key, [7; 31]).unwrap();
    assert!(matches!(open(&folder), Err(StoreError::KeyLength(_))));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(open(&folder), Err(StoreError::KeyMissing(_))));
    assert!(!key.exists(), "a lost key must not be made up anew");
    let phrase = Unlock::Passphrase(secret("a passphrase"));
    assert!(matches!(Store::open(&folder, phrase), Err(StoreError::NeedsKeyFile)));
    assert_eq!(std::fs::read(folder.join("secrets.vault")).unwrap(), before);
    disk::create_private(&key, &right).unwrap();
    assert_eq!(value(&open(&folder).unwrap(), "api").unwrap(), "some value");
}

#[test]
fn a_passphrase_opens_what_it_closed() {
    let (_scratch, folder) = scratch();
    let with = |phrase: &str| Store::open(&folder, Unlock::Passphrase(secret(phrase)));
    with("correct horse").unwrap().set(&name("api"), &secret("some value")).unwrap();
    assert_eq!(value(&with("correct horse").unwrap(), "api").unwrap(), "some value");
    assert!(matches!(with("battery staple"), Err(StoreError::WrongKey)));
    assert!(matches!(open(&folder), Err(StoreError::NeedsPassphrase)));
}

/// Every byte of the file, changed in two ways, and every shorter file: an error, and never another plaintext.
#[test]
fn damage_anywhere_is_noticed() {
    let (_scratch, folder) = scratch();
    let store = open(&folder).unwrap();
    store.set(&name("api"), &secret("the value")).unwrap();
    store.set(&name("other"), &secret("another value")).unwrap();
    let path = folder.join("secrets.vault");
    let whole = std::fs::read(&path).unwrap();
    let image_key = Unlock::KeyFile(Store::key_file(&folder)).key(Derivation::KeyFile, false).unwrap();
    assert!(Image::read(&whole, &image_key).is_ok());
    for at in 0..whole.len() {
        for flip in [1_u8, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            assert!(Image::read(&damaged, &image_key).is_err(), "byte {at} ^ {flip}");
        }
        assert!(Image::read(&whole[..at], &image_key).is_err(), "first {at} bytes");
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(Image::read(&longer, &image_key).is_err());
    disk::replace_private(&path, &longer).unwrap();
    assert!(matches!(store.get(&name("api")), Err(StoreError::Damaged)));
    assert!(store.set(&name("api"), &secret("not written")).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), longer, "a damaged file is left as it is");
    disk::replace_private(&path, b"something else entirely").unwrap();
    assert!(matches!(store.get(&name("api")), Err(StoreError::NotAStore)));
}

proptest! {
    /// Even with the right key, bytes that were never written by the store do not panic.
    #[test]
    fn sealed_nonsense_is_refused(body in proptest::collection::vec(any::<u8>(), 0..200), count in any::<u32>()) {
        let (_scratch, folder) = scratch();
        disk::private_folder(&folder).unwrap();
        let key = Unlock::KeyFile(Store::key_file(&folder)).key(Derivation::KeyFile, true).unwrap();
        let image = Image { derivation: Derivation::KeyFile, id: [1; 16], generation: 3, records: Vec::new() };
        let empty = image.write(&key).unwrap();
        let mut forged = empty[..empty.len() - 28 - 4].to_vec();
        forged.extend_from_slice(&count.to_le_bytes());
        forged.extend_from_slice(&body);
        let seal = key.seal(&[], &forged).unwrap();
        forged.extend_from_slice(&seal);
        let read = Image::read(&forged, &key);
        prop_assert!(read.is_err() || (count == 0 && body.is_empty()));
    }
}
