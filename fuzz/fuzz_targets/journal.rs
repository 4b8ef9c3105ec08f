//! A journal whose files were changed behind its back: a fault by name, or the very entries that were written.
//! The first byte picks the file, the second what happens to it; the rest is what is written.
#![no_main]

use journal::{Journal, Reader, SigningKey, VerifierKey, verify};
use libfuzzer_sys::fuzz_target;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

struct Book {
    _folder: tempfile::TempDir,
    dir: PathBuf,
    key: VerifierKey,
    files: Vec<(PathBuf, Vec<u8>)>,
}

const ENTRIES: u64 = 300;

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

static BOOK: LazyLock<Book> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let dir = folder.path().join("journal");
    let key = SigningKey::generate("example.org/log").expect("a key can be made");
    let public = key.verifier();
    let (log, _) = Journal::open(&dir, key, "example.org/log").expect("a journal opens");
    for number in 0..ENTRIES {
        log.append(entry(number)).and_then(|ticket| ticket.wait()).expect("an entry is written");
    }
    log.close().expect("the journal closes");
    let mut files = Vec::new();
    gather(&dir, &mut files);
    files.sort();
    Book { _folder: folder, dir, key: public, files }
});

fn gather(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for found in std::fs::read_dir(dir).expect("a folder is readable").flatten() {
        if found.path().is_dir() {
            gather(&found.path(), files);
        } else if let Ok(bytes) = std::fs::read(found.path()) {
            files.push((found.path(), bytes));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [which, how, rest @ ..] = bytes else { return };
    let book = &*BOOK;
    let (path, whole) = &book.files[usize::from(*which) % book.files.len()];
    let mut changed = whole.clone();
    let at =
        rest.first_chunk::<2>().map_or(0, |at| usize::from(u16::from_le_bytes(*at))) % (changed.len() + 1);
    let text = rest.get(2..).unwrap_or_default();
    match how % 4 {
        0 => changed = rest.to_vec(),
        1 => changed.truncate(at),
        2 => changed.iter_mut().skip(at).zip(text).for_each(|(old, new)| *old = *new),
        _ => drop(changed.splice(at..at, text.iter().copied())),
    }
    std::fs::write(path, &changed).expect("the file is writable");
    let report = verify(&book.dir, &book.key, &[]);
    if let Ok(report) = &report {
        assert!(report.size <= ENTRIES, "{} entries of {ENTRIES}", report.size);
        let reader = Reader::open(&book.dir).expect("a verified journal opens");
        for found in reader.entries(0..report.size) {
            let (index, bytes) = found.expect("a verified entry is readable");
            assert_eq!(bytes, entry(index), "entry {index} was changed and verified");
        }
    } else if let Ok(reader) = Reader::open(&book.dir) {
        // A reader without a key may meet anything; it must end.
        for found in reader.entries(0..reader.size().min(2 * ENTRIES)) {
            if found.is_err() {
                break;
            }
        }
    }
    std::fs::write(path, whole).expect("the file is writable");
});
