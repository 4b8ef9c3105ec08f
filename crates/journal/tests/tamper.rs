//! Every way to change a finished record that we know of, beside the untouched journal: each is found and named. The
//! attacker here has the files and sometimes another key, never the journal's own, except where a row says so.

use journal::{
    Change, Checkpoint, Fault, Journal, OpenError, Reader, SigningKey, VerifierKey, leaf_hash, verify,
};
use std::fs;
use std::path::{Path, PathBuf};

const ORIGIN: &str = "example.org/log";
const MAGIC: &[u8] = b"\x89bwkwal\x01";

/// A journal of 600 published entries and four groups in its write-ahead log, as a running writer leaves it.
struct Bench {
    scratch: tempfile::TempDir,
    public: VerifierKey,
    /// Checkpoints at 300, 600 and the end, kept elsewhere.
    anchors: Vec<Checkpoint>,
}

const PUBLISHED: u64 = 600;
const WAL_GROUPS: u64 = 4;
const SIZE: u64 = PUBLISHED + WAL_GROUPS;

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number:06}").into_bytes()
}

fn fill(log: &Journal, range: std::ops::Range<u64>) {
    let tickets: Vec<_> = range.map(|number| log.append(entry(number)).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let key = SigningKey::generate(ORIGIN).unwrap();
        key.save(&path("key")).unwrap();
        let public = key.verifier();
        let (log, _) = Journal::open(&path("live"), key, ORIGIN).unwrap();
        let mut anchors = vec![];
        fill(&log, 0..300);
        log.publish().unwrap();
        anchors.push(log.checkpoint());
        copy(&path("live"), &path("old"));
        fill(&log, 300..PUBLISHED);
        log.publish().unwrap();
        anchors.push(log.checkpoint());
        (PUBLISHED..SIZE).for_each(|number| fill(&log, number..number + 1));
        anchors.push(log.checkpoint());
        copy(&path("live"), &path("base"));
        Self { scratch, public, anchors }
    }

    fn key(&self) -> SigningKey {
        SigningKey::load(&self.scratch.path().join("key")).unwrap()
    }

    fn old(&self) -> PathBuf {
        self.scratch.path().join("old")
    }

    fn copy(&self) -> PathBuf {
        let dir = self.scratch.path().join("case");
        let _ = fs::remove_dir_all(&dir);
        copy(&self.scratch.path().join("base"), &dir);
        dir
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target)
        } else {
            drop(fs::copy(item.path(), target))
        }
    }
}

fn change(file: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

fn change_bundle(file: PathBuf, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
    change(file, |bytes| {
        let mut entries = vec![];
        let mut rest = &bytes[..];
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let (entry, tail) = tail.split_at(u16::from_be_bytes(*length).into());
            entries.push(entry.to_vec());
            rest = tail;
        }
        edit(&mut entries);
        *bytes = entries.iter().flat_map(|e| [&(e.len() as u16).to_be_bytes()[..], e].concat()).collect();
    });
}

/// Rewrites the hash of one leaf in a level-0 tile.
fn set_hash(file: PathBuf, position: usize, entry: &[u8]) {
    change(file, |bytes| bytes[32 * position..32 * (position + 1)].copy_from_slice(&leaf_hash(entry)));
}

fn wal_file(dir: &Path) -> PathBuf {
    dir.join(format!("wal/{PUBLISHED:020}"))
}

/// Splits the write-ahead file into its frames, edits the list, and writes it back.
fn change_frames(dir: &Path, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
    change(wal_file(dir), |bytes| {
        let mut starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(MAGIC)).collect();
        starts.push(bytes.len());
        let mut frames = starts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect();
        edit(&mut frames);
        *bytes = frames.concat();
    });
}

fn last_byte(frame: &mut [u8]) -> &mut u8 {
    frame.last_mut().unwrap()
}

struct Case {
    name: &'static str,
    tamper: fn(&Bench, &Path),
    /// How many of the three anchors the verifier was given.
    anchors: usize,
    found: fn(&Fault) -> bool,
    /// Whether the writer, too, refuses to go on from this; it only reads the tree's right edge.
    open_refuses: bool,
}

macro_rules! case {
    ($name:literal, $anchors:literal, $tamper:expr, $found:pat $(if $guard:expr)?, $open_refuses:literal) => {
        Case { name: $name, tamper: $tamper, anchors: $anchors, found: |fault| matches!(fault, $found $(if $guard)?), open_refuses: $open_refuses }
    };
}

#[test]
fn every_tampering_is_found_and_named() {
    let bench = Bench::new();
    let cases = [
        case!("entry edited", 0, |_, d| change_bundle(d.join("tile/entries/001"), |e| e[44][0] ^= 1),
            Fault::Entry { index: 300, change: Change::Edited, file } if file == "tile/entries/001", false),
        case!(
            "entry deleted",
            0,
            |_, d| change_bundle(d.join("tile/entries/001"), |e| drop(e.remove(44))),
            Fault::Entry { index: 300, change: Change::Deleted, .. },
            false
        ),
        case!(
            "entry deleted, the rest moved up",
            0,
            |_, d| {
                let mut first = vec![];
                change_bundle(d.join("tile/entries/001"), |e| first = e.remove(0));
                change_bundle(d.join("tile/entries/000"), |e| {
                    e.remove(9);
                    e.push(first);
                });
            },
            Fault::Entry { index: 9, change: Change::Deleted, .. },
            false
        ),
        case!(
            "last entry deleted",
            0,
            |_, d| change_bundle(d.join("tile/entries/002.p/88"), |e| drop(e.pop())),
            Fault::Entry { index: 599, change: Change::Deleted, .. },
            true
        ),
        case!(
            "entry inserted",
            0,
            |_, d| change_bundle(d.join("tile/entries/000"), |e| e.insert(7, b"new".to_vec())),
            Fault::Entry { index: 7, change: Change::Inserted, .. },
            false
        ),
        case!(
            "entries reordered",
            0,
            |_, d| change_bundle(d.join("tile/entries/000"), |e| e.swap(3, 200)),
            Fault::Entry { index: 3, change: Change::Reordered, .. },
            false
        ),
        case!(
            "bundle malformed",
            0,
            |_, d| change(d.join("tile/entries/000"), |b| b.truncate(b.len() - 1)),
            Fault::Malformed { .. },
            false
        ),
        case!("entry and its hash edited", 0, |_, d| {
            change_bundle(d.join("tile/entries/000"), |e| e[5] = b"new".to_vec());
            set_hash(d.join("tile/0/000"), 5, b"new");
        }, Fault::Tile { position: 0, file } if file == "tile/1/000.p/2", false),
        case!(
            "entry and hash edited at the right edge",
            2,
            |_, d| {
                change_bundle(d.join("tile/entries/002.p/88"), |e| e[5] = b"new".to_vec());
                set_hash(d.join("tile/0/002.p/88"), 5, b"new");
            },
            Fault::Root { size: PUBLISHED, intact: 300, .. },
            true
        ),
        case!(
            "upper tile edited",
            0,
            |_, d| change(d.join("tile/1/000.p/2"), |b| b[40] ^= 1),
            Fault::Tile { position: 1, .. },
            true
        ),
        case!(
            "hash tile edited",
            0,
            |_, d| change(d.join("tile/0/001"), |b| b[0] ^= 1),
            Fault::Entry { index: 256, change: Change::Edited, .. },
            false
        ),
        case!("bundle missing", 0, |_, d| fs::remove_file(d.join("tile/entries/001")).unwrap(),
            Fault::Missing { file } if file == "tile/entries/001", false),
        case!(
            "hash tile missing",
            0,
            |_, d| fs::remove_file(d.join("tile/0/001")).unwrap(),
            Fault::Missing { .. },
            false
        ),
        case!(
            "upper tile missing",
            0,
            |_, d| fs::remove_dir_all(d.join("tile/1")).unwrap(),
            Fault::Missing { .. },
            true
        ),
        case!(
            "partial tile missing",
            0,
            |_, d| fs::remove_dir_all(d.join("tile/0/002.p")).unwrap(),
            Fault::Missing { .. },
            true
        ),
        case!(
            "hash tile cut",
            0,
            |_, d| change(d.join("tile/0/000"), |b| b.truncate(8160)),
            Fault::Malformed { .. },
            false
        ),
        case!("checkpoint missing", 0, |_, d| fs::remove_file(d.join("checkpoint")).unwrap(),
            Fault::Missing { file } if file == "checkpoint", true),
        case!(
            "checkpoint unsigned",
            0,
            |_, d| change(d.join("checkpoint"), |b| {
                let text = String::from_utf8(b.clone()).unwrap();
                *b = text.split_once("\n\n").unwrap().0.as_bytes().to_vec();
            }),
            Fault::Checkpoint { .. },
            true
        ),
        case!(
            "checkpoint of another size",
            0,
            |_, d| change(d.join("checkpoint"), |b| {
                *b = String::from_utf8(b.clone()).unwrap().replace("\n600\n", "\n599\n").into_bytes();
            }),
            Fault::Checkpoint { source: journal::NoteError::Forged { .. }, .. },
            true
        ),
        case!(
            "whole journal remade with another key of the same name",
            0,
            |_, d| {
                fs::remove_dir_all(d).unwrap();
                let (log, _) = Journal::open(d, SigningKey::generate(ORIGIN).unwrap(), ORIGIN).unwrap();
                fill(&log, 0..SIZE);
            },
            Fault::Checkpoint { source: journal::NoteError::UnknownKey { .. }, .. },
            true
        ),
        case!(
            "write-ahead log rewritten with another key",
            0,
            |_, d| {
                let other = d.with_extension("other");
                let _ = fs::remove_dir_all(&other);
                let (log, _) = Journal::open(&other, SigningKey::generate(ORIGIN).unwrap(), ORIGIN).unwrap();
                fill(&log, 0..PUBLISHED);
                log.publish().unwrap();
                fill(&log, PUBLISHED..SIZE);
                fs::copy(wal_file(&other), wal_file(d)).unwrap();
            },
            Fault::Checkpoint { .. },
            true
        ),
        case!(
            "old checkpoint, newer tiles left",
            0,
            |b, d| {
                fs::copy(b.old().join("checkpoint"), d.join("checkpoint")).unwrap();
                fs::create_dir_all(d.join("tile/1/000.p")).unwrap();
                copy(&b.old().join("tile"), &d.join("tile"));
                fs::remove_file(wal_file(d)).unwrap();
            },
            Fault::RolledBack { size: 300, .. },
            true
        ),
        case!(
            "old checkpoint, write-ahead log left",
            0,
            |b, d| {
                fs::copy(b.old().join("checkpoint"), d.join("checkpoint")).unwrap();
                copy(&b.old().join("tile"), &d.join("tile"));
            },
            Fault::Gap { expected: 300, found: PUBLISHED, .. },
            true
        ),
        case!(
            "whole journal rolled back",
            2,
            |b, d| {
                fs::remove_dir_all(d).unwrap();
                copy(&b.old(), d);
            },
            Fault::RolledBack { size: 300, seen: PUBLISHED, .. },
            false
        ),
        case!(
            "write-ahead log deleted",
            3,
            |_, d| fs::remove_file(wal_file(d)).unwrap(),
            Fault::RolledBack { size: PUBLISHED, seen: SIZE, .. },
            false
        ),
        case!(
            "last group deleted",
            3,
            |_, d| change_frames(d, |f| drop(f.pop())),
            Fault::RolledBack { size: 603, seen: SIZE, .. },
            false
        ),
        case!(
            "last group cut short",
            3,
            |_, d| change(wal_file(d), |b| b.truncate(b.len() - 1)),
            Fault::RolledBack { size: 603, seen: SIZE, .. },
            false
        ),
        case!(
            "first group edited",
            0,
            |_, d| change_frames(d, |f| *last_byte(&mut f[0]) ^= 1),
            Fault::Frame { offset: 0, .. },
            true
        ),
        case!(
            "first group cut short",
            0,
            |_, d| change_frames(d, |f| f[0].truncate(9)),
            Fault::Frame { offset: 0, .. },
            true
        ),
        // To the writer this one looks like pages lost in a power failure: it keeps the bytes and says so.
        case!(
            "last group edited",
            0,
            |_, d| change_frames(d, |f| *last_byte(&mut f[3]) ^= 1),
            Fault::Frame { .. },
            false
        ),
        case!(
            "middle group deleted",
            0,
            |_, d| change_frames(d, |f| drop(f.remove(1))),
            Fault::Gap { expected: 601, found: 602, .. },
            true
        ),
        case!(
            "groups reordered",
            0,
            |_, d| change_frames(d, |f| f.swap(1, 2)),
            Fault::Gap { expected: 601, found: 602, .. },
            true
        ),
        case!(
            "group repeated",
            0,
            |_, d| change_frames(d, |f| f.push(f[3].clone())),
            Fault::Gap { expected: SIZE, found: 603, .. },
            true
        ),
        case!(
            "forked with the journal's own key",
            1,
            |b, d| {
                fs::remove_dir_all(d).unwrap();
                let (log, _) = Journal::open(d, b.key(), ORIGIN).unwrap();
                fill(&log, 1..SIZE + 1);
            },
            Fault::Fork { size: 300 },
            false
        ),
        case!(
            "forked in the write-ahead log",
            3,
            |b, d| {
                fs::remove_file(wal_file(d)).unwrap();
                let (log, _) = Journal::open(d, b.key(), ORIGIN).unwrap();
                fill(&log, 0..WAL_GROUPS);
            },
            Fault::Fork { size: SIZE },
            false
        ),
        case!(
            "another journal of the same key holder",
            0,
            |_, d| {
                fs::remove_dir_all(d).unwrap();
                drop(
                    Journal::open(d, SigningKey::generate("example.org/other").unwrap(), "example.org/other")
                        .unwrap(),
                );
            },
            Fault::Checkpoint { .. },
            true
        ),
    ];
    for Case { name, tamper, anchors, found, open_refuses } in cases {
        let dir = bench.copy();
        let untouched = verify(&dir, &bench.public, &bench.anchors).unwrap();
        assert_eq!((untouched.size, untouched.published, untouched.groups), (SIZE, PUBLISHED, WAL_GROUPS));
        assert_eq!(untouched.checkpoint, bench.anchors[2]);
        tamper(&bench, &dir);
        let fault = verify(&dir, &bench.public, &bench.anchors[..anchors]).expect_err(name);
        assert!(found(&fault), "{name}: found as {fault:?}");
        if anchors == 3 || name.contains("rolled back") || name.contains("fork") {
            // What only an anchor can show passes without one: the table's anchors are needed.
            assert!(verify(&dir, &bench.public, &[]).is_ok(), "{name} without an anchor");
        }
        let opened = Journal::open(&dir, bench.key(), ORIGIN);
        assert_eq!(matches!(&opened, Err(OpenError::Damaged(_))), open_refuses, "{name}: {:?}", opened.err());
    }
}

#[test]
fn an_edited_last_group_is_kept_for_a_person_to_see() {
    let bench = Bench::new();
    let dir = bench.copy();
    change_frames(&dir, |frames| *last_byte(&mut frames[3]) ^= 1);
    let tail = fs::read(wal_file(&dir)).unwrap();
    let (log, recovery) = Journal::open(&dir, bench.key(), ORIGIN).unwrap();
    let torn = recovery.torn.unwrap();
    assert_eq!((recovery.size, torn.offset + torn.bytes), (SIZE - 1, tail.len() as u64));
    assert_eq!(fs::read(dir.join(torn.kept.unwrap())).unwrap(), tail[torn.offset as usize..]);
    drop(log);
    assert!(verify(&dir, &bench.public, &bench.anchors[..2]).is_ok());
}

#[test]
fn an_anchor_must_be_of_this_journal() {
    let bench = Bench::new();
    let dir = bench.copy();
    let stranger = SigningKey::generate(ORIGIN).unwrap();
    let (log, _) = Journal::open(&dir.with_extension("other"), stranger, ORIGIN).unwrap();
    assert!(matches!(
        verify(&dir, &bench.public, &[log.checkpoint()]),
        Err(Fault::ForeignAnchor { size: 0 })
    ));
    assert_eq!(Checkpoint::verify(bench.anchors[0].text(), &bench.public), Ok(bench.anchors[0].clone()));
    assert!(Checkpoint::verify(log.checkpoint().text(), &bench.public).is_err());
}

#[test]
fn every_cut_of_the_last_group_loses_that_group_only() {
    let bench = Bench::new();
    let whole = fs::read(wal_file(&bench.copy())).unwrap();
    let mut lengths = vec![];
    change_frames(&bench.copy(), |frames| lengths.extend(frames.iter().map(Vec::len)));
    let last = whole.len() - lengths.last().unwrap();
    for cut in last..=whole.len() {
        let dir = bench.copy();
        change(wal_file(&dir), |bytes| bytes.truncate(cut));
        let kept = if cut == whole.len() { SIZE } else { SIZE - 1 };
        let report = verify(&dir, &bench.public, &bench.anchors[..2]).unwrap();
        let unfinished = if kept == SIZE { 0 } else { cut - last };
        assert_eq!((report.size, report.unfinished_bytes), (kept, unfinished as u64), "cut at {cut}");

        let (log, recovery) = Journal::open(&dir, bench.key(), ORIGIN).unwrap();
        assert_eq!((recovery.size, recovery.recovered_groups), (kept, kept - PUBLISHED));
        assert_eq!(recovery.torn.map_or(0, |torn| torn.bytes), unfinished as u64);
        let reader = Reader::open(&dir).unwrap();
        assert_eq!(reader.size(), kept);
        for (number, item) in reader.entries(0..u64::MAX).enumerate() {
            assert_eq!(item.unwrap(), (number as u64, entry(number as u64)));
        }
        assert_eq!(log.append(b"after".to_vec()).unwrap().wait().unwrap().index, kept);
        drop(log);
        assert_eq!(verify(&dir, &bench.public, &bench.anchors[..2]).unwrap().size, kept + 1);
        let last_anchor = verify(&dir, &bench.public, &bench.anchors);
        assert_eq!(last_anchor.is_ok(), kept == SIZE, "an anchor of the cut group must not be satisfied");
    }
}
