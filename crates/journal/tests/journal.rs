//! What a journal promises its callers: order, durability across reopening, proofs that verify, and one writer. Only
//! the public interface is used here.

use journal::{
    AppendError, ENTRY_BYTES_MAX, Fault, Journal, OpenError, Reader, SigningKey, leaf_hash, verify,
    verify_consistency, verify_inclusion,
};
use std::path::Path;

const ORIGIN: &str = "example.org/log";

fn key(scratch: &Path) -> SigningKey {
    let path = scratch.join("key");
    if !path.exists() {
        SigningKey::generate(ORIGIN).unwrap().save(&path).unwrap();
    }
    SigningKey::load(&path).unwrap()
}

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

fn append(log: &Journal, range: std::ops::Range<u64>) {
    let tickets: Vec<_> = range.clone().map(|number| log.append(entry(number)).unwrap()).collect();
    for (number, ticket) in range.zip(tickets) {
        let leaf = ticket.wait().unwrap();
        assert_eq!((leaf.index, leaf.hash), (number, leaf_hash(&entry(number))));
    }
}

#[test]
fn entries_and_proofs_come_back_from_tiles_and_write_ahead_log_alike() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    let public = key(scratch.path()).verifier();
    let mut anchors = vec![];
    let mut size = 0;
    // Sizes around tile borders; after each: close, publish, or leave it in the write-ahead log.
    let steps = [
        (1, 'c'),
        (255, 'p'),
        (256, 'c'),
        (257, 'w'),
        (511, 'w'),
        (512, 'p'),
        (700, 'w'),
        (70_000, 'w'),
        (70_300, 'c'),
    ];
    let (mut log, recovery) = Journal::open(&dir, key(scratch.path()), ORIGIN).unwrap();
    assert!(recovery.created);
    for (next, after) in steps {
        append(&log, size..next);
        size = next;
        let checkpoint = log.checkpoint();
        match after {
            'p' => log.publish().unwrap(),
            'c' => {
                log.close().unwrap();
                let recovery;
                (log, recovery) = Journal::open(&dir, key(scratch.path()), ORIGIN).unwrap();
                assert_eq!((recovery.size, recovery.recovered_entries, recovery.created), (size, 0, false));
            }
            _ => {}
        }
        anchors.push(checkpoint.clone());
        let report = verify(&dir, &public, &anchors).unwrap();
        assert_eq!((report.size, report.unfinished_bytes, &report.checkpoint), (size, 0, &checkpoint));
        assert_eq!(report.published == size, after != 'w');

        let reader = Reader::open(&dir).unwrap();
        assert_eq!((reader.size(), reader.latest_checkpoint()), (size, checkpoint.text()));
        let low = size.saturating_sub(300);
        let read: Vec<_> = reader.entries(low..u64::MAX).map(Result::unwrap).collect();
        assert_eq!(read, (low..size).map(|number| (number, entry(number))).collect::<Vec<_>>());
        for index in [0, size / 3, size / 2, size - 1] {
            let leaf = reader.leaf(index).unwrap();
            assert_eq!((leaf, reader.entry(index).unwrap()), (leaf_hash(&entry(index)), entry(index)));
            let proof = reader.inclusion_proof(index, size).unwrap();
            verify_inclusion(&leaf, index, size, &proof, checkpoint.root()).unwrap();
        }
        for anchor in &anchors {
            let (old, root) = (anchor.size(), anchor.root());
            assert_eq!(reader.root(old).unwrap(), *root);
            let proof = reader.consistency_proof(old, size).unwrap();
            verify_consistency(old, root, size, checkpoint.root(), &proof).unwrap();
            let proof = reader.inclusion_proof(old - 1, old).unwrap();
            verify_inclusion(&reader.leaf(old - 1).unwrap(), old - 1, old, &proof, root).unwrap();
        }
        for outside in [reader.entry(size).err(), reader.leaf(u64::MAX).err(), reader.root(size + 1).err()] {
            assert!(matches!(outside, Some(Fault::OutOfRange { .. })));
        }
        assert!(matches!(reader.inclusion_proof(size, size), Err(Fault::OutOfRange { .. })));
        assert!(matches!(reader.consistency_proof(size, size - 1), Err(Fault::OutOfRange { .. })));
    }
}

#[test]
fn what_open_and_append_refuse() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    let (log, _) = Journal::open(&dir, key(scratch.path()), ORIGIN).unwrap();
    assert!(matches!(Journal::open(&dir, key(scratch.path()), ORIGIN), Err(OpenError::Locked)));

    let longest = vec![1; ENTRY_BYTES_MAX];
    let too_long = vec![1; ENTRY_BYTES_MAX + 1];
    assert_eq!(log.append(longest.clone()).unwrap().wait().unwrap().index, 0);
    assert_eq!(log.append(too_long).err(), Some(AppendError::TooLong { bytes: ENTRY_BYTES_MAX + 1 }));
    assert_eq!(log.append(vec![]).unwrap().wait().unwrap().index, 1);
    log.close().unwrap();
    assert_eq!(Reader::open(&dir).unwrap().entry(0).unwrap(), longest);

    let stranger = SigningKey::generate(ORIGIN).unwrap();
    assert!(matches!(
        Journal::open(&dir, stranger, ORIGIN),
        Err(OpenError::Damaged(Fault::Checkpoint { .. }))
    ));
    assert!(matches!(Journal::open(&dir, key(scratch.path()), "other"), Err(OpenError::Origin { .. })));
    let (_, recovery) = Journal::open(&dir, key(scratch.path()), ORIGIN).unwrap();
    assert_eq!((recovery.size, recovery.created), (2, false));
}

#[test]
fn segments_of_long_entries_rotate_and_verify_beside_a_running_writer() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    let (log, _) = Journal::open(&dir, key(scratch.path()), ORIGIN).unwrap();
    let public = log.verifier().clone();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let tickets: Vec<_> =
                (0..1200u16).map(|i| log.append(i.to_be_bytes().repeat(30_000)).unwrap()).collect();
            tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
        });
        let mut anchors = vec![];
        while !writer.is_finished() {
            anchors.push(log.checkpoint());
            let report = verify(&dir, &public, &anchors).unwrap();
            assert!(report.size >= anchors.last().unwrap().size());
            let reader = Reader::open(&dir).unwrap();
            let last = reader.size().saturating_sub(1);
            for item in reader.entries(last..u64::MAX) {
                assert_eq!(item.unwrap().1, (last as u16).to_be_bytes().repeat(30_000));
            }
        }
    });
    log.close().unwrap();
    let report = verify(&dir, &public, &[]).unwrap();
    assert_eq!((report.size, report.published, report.groups), (1200, 1200, 0));
    assert_eq!(std::fs::read_dir(dir.join("wal")).unwrap().count(), 0);
}

#[test]
fn readers_see_no_hole_while_segments_are_published_and_deleted_under_them() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("journal");
    let (log, _) = Journal::open(&dir, key(scratch.path()), ORIGIN).unwrap();
    let public = log.verifier().clone();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..700 {
                append(&log, number..number + 1);
                log.publish().unwrap();
            }
        });
        let reading = || {
            while !writer.is_finished() {
                let least = log.checkpoint().size();
                let reader = Reader::open(&dir).unwrap();
                assert!(reader.size() >= least);
                let read: Vec<_> = reader.entries(0..u64::MAX).map(Result::unwrap).collect();
                assert_eq!(
                    read,
                    (0..reader.size()).map(|number| (number, entry(number))).collect::<Vec<_>>()
                );
                assert!(verify(&dir, &public, &[]).unwrap().size >= least);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(reading);
            scope.spawn(reading);
        });
    });
}
