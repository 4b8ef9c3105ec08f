//! The writer against disks that lose, half-do or keep what they report as failed. The oracle re-verifies everything.

use super::*;
use crate::{Reader, verify};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How the one failing operation fails: not done, half done, or done and reported as failed.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Lost,
    Half,
    PersistedAnyway,
}

struct FaultyDisk {
    fails_at: usize,
    mode: Mode,
    operations: AtomicUsize,
}

impl FaultyDisk {
    fn run(
        &self,
        half: impl FnOnce() -> io::Result<()>,
        whole: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if self.operations.fetch_add(1, Ordering::SeqCst) != self.fails_at {
            return whole();
        }
        match self.mode {
            Mode::Lost => {}
            Mode::Half => half()?,
            Mode::PersistedAnyway => whole()?,
        }
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    fn fired(&self) -> bool {
        self.operations.load(Ordering::SeqCst) > self.fails_at
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.run(|| Ok(()), || RealDisk.create(path).map(|_| ()))?;
        fs::OpenOptions::new().append(true).open(path)
    }
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let mut half = file.try_clone()?;
        self.run(|| half.write_all(&bytes[..bytes.len() / 2]), || RealDisk.append(file, bytes))
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.run(|| Ok(()), || RealDisk.sync_data(file))
    }
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let half = || fs::write(format!("{}.tmp", path.display()), &bytes[..bytes.len() / 2]);
        self.run(half, || RealDisk.replace(path, bytes))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.run(|| Ok(()), || RealDisk.sync_dir(path))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(|| Ok(()), || RealDisk.remove(path))
    }
}

const ORIGIN: &str = "example.org/log";
/// Enough to fill a tile.
const ENTRIES: usize = 300;

fn key(scratch: &Path) -> SigningKey {
    let path = scratch.join("key");
    if !path.exists() {
        SigningKey::generate(ORIGIN).unwrap().save(&path).unwrap();
    }
    SigningKey::load(&path).unwrap()
}

fn entry(number: usize) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

/// Every entry acknowledged is in the reopened journal at its index, nothing refused is, and all verifies.
fn check(scratch: &Path, dir: &Path, acked: &[(u64, usize)], refused: &[usize]) {
    let (log, recovery) = Journal::open(dir, key(scratch), ORIGIN).unwrap();
    let reader = Reader::open(dir).unwrap();
    assert_eq!(reader.size(), recovery.size);
    for (index, number) in acked {
        assert_eq!(reader.entry(*index).unwrap(), entry(*number));
    }
    let present: Vec<Vec<u8>> = reader.entries(0..u64::MAX).map(|item| item.unwrap().1).collect();
    for number in refused {
        assert!(!present.contains(&entry(*number)), "entry {number} was refused as never written");
    }
    let next = log.append(entry(9999)).unwrap().wait().unwrap();
    assert_eq!(next.index, recovery.size);
    let anchor = log.checkpoint();
    log.close().unwrap();
    assert_eq!(verify(dir, &key(scratch).verifier(), &[anchor]).unwrap().size, next.index + 1);
}

#[test]
fn whichever_write_fails_nothing_acknowledged_is_lost_and_nothing_follows() {
    for mode in [Mode::Lost, Mode::Half, Mode::PersistedAnyway] {
        for fails_at in 0.. {
            let scratch = tempfile::tempdir().unwrap();
            let dir = scratch.path().join("journal");
            // A journal with a past, so that opening publishes and retires something too.
            let (log, _) = Journal::open(&dir, key(scratch.path()), ORIGIN).unwrap();
            log.append(entry(0)).unwrap().wait().unwrap();
            let frame = fs::read(dir.join(segment_file(0))).unwrap();
            log.close().unwrap();
            fs::write(dir.join(segment_file(1)), &frame[..frame.len() - 1]).unwrap();

            let disk = Arc::new(FaultyDisk { fails_at, mode, operations: AtomicUsize::new(0) });
            let (mut acked, mut refused) = (vec![(0, 0)], vec![]);
            if let Ok((log, _)) = Journal::open_on(disk.clone(), &dir, key(scratch.path()), ORIGIN) {
                // What may follow what: acknowledged, then one failed group, then refusals only.
                let mut stage = 0;
                let mut note = |number: usize, result: Result<Leaf, AppendError>| {
                    let next = match result {
                        Ok(leaf) => {
                            acked.push((leaf.index, number));
                            0
                        }
                        Err(AppendError::NotDurable { .. }) => 1,
                        Err(AppendError::Poisoned { .. }) => {
                            refused.push(number);
                            2
                        }
                        Err(other) => panic!("{other}"),
                    };
                    assert!(next >= stage, "{mode:?} at {fails_at}: entry {number} after stage {stage}");
                    stage = if next == 1 && number <= 6 { 2 } else { next };
                };
                for number in 1..=6 {
                    note(number, log.append(entry(number)).and_then(Ticket::wait));
                    if number == 3 && log.publish().is_err() {
                        assert!(disk.fired());
                    }
                }
                let many: Vec<_> = (7..=ENTRIES).map(|number| (number, log.append(entry(number)))).collect();
                for (number, ticket) in many {
                    note(number, ticket.and_then(Ticket::wait));
                }
                assert_eq!(log.close().is_err(), disk.fired(), "{mode:?} at {fails_at}");
            }
            check(scratch.path(), &dir, &acked, &refused);
            if !disk.fired() {
                assert_eq!(acked.len(), ENTRIES + 1);
                break;
            }
        }
    }
}

/// A disk that loses power at one operation: whatever was not synced by then is undone, file contents by their own
/// sync and names by that of their directory.
struct PowerCut {
    at: usize,
    state: Mutex<(usize, Vec<Undo>)>,
}

struct Undo {
    directory: PathBuf,
    /// The write-ahead file this undoes an append to, by inode.
    inode: Option<u64>,
    undo: Box<dyn FnOnce() + Send>,
}

impl PowerCut {
    fn run<T>(&self, work: impl FnOnce(&mut Vec<Undo>) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        if state.0 > self.at { Err(io::Error::other("power is off")) } else { work(&mut state.1) }
    }

    /// Undoes what was not synced; true when the power did go off.
    fn settle(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.1.drain(..).rev().for_each(|step| (step.undo)());
        state.0 > self.at
    }

    fn name_change(path: &Path) -> Undo {
        let (path, before) = (path.to_owned(), fs::read(path).ok());
        let directory = path.parent().unwrap().to_owned();
        let undo = move || match before {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => drop(fs::remove_file(path)),
        };
        Undo { directory, inode: None, undo: Box::new(undo) }
    }
}

impl Disk for PowerCut {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.run(|undo| {
            undo.push(Self::name_change(path));
            RealDisk.create(path)
        })
    }
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.run(|undo| {
            let (copy, length, inode) = (file.try_clone()?, file.metadata()?.len(), file.metadata()?.ino());
            let step = move || copy.set_len(length).unwrap();
            undo.push(Undo { directory: PathBuf::new(), inode: Some(inode), undo: Box::new(step) });
            RealDisk.append(file, bytes)
        })
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        let inode = file.metadata()?.ino();
        self.run(|undo| {
            undo.retain(|step| step.inode != Some(inode));
            Ok(())
        })
    }
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.run(|undo| {
            undo.push(Self::name_change(path));
            RealDisk.replace(path, bytes)
        })
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.run(|undo| {
            undo.retain(|step| step.directory != path);
            Ok(())
        })
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(|undo| {
            undo.push(Self::name_change(path));
            RealDisk.remove(path)
        })
    }
}

#[test]
fn a_power_failure_at_any_operation_loses_nothing_acknowledged() {
    for at in 0.. {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("journal");
        let disk = Arc::new(PowerCut { at, state: Mutex::default() });
        let mut acked = vec![];
        if let Ok((log, _)) = Journal::open_on(disk.clone(), &dir, key(scratch.path()), ORIGIN) {
            for number in 0..3 {
                acked.extend(
                    log.append(entry(number)).and_then(Ticket::wait).map(|leaf| (leaf.index, number)),
                );
                if number == 1 {
                    let _ = log.publish();
                }
            }
            let many: Vec<_> = (3..ENTRIES).map(|number| (number, log.append(entry(number)))).collect();
            for (number, ticket) in many {
                acked.extend(ticket.and_then(Ticket::wait).map(|leaf| (leaf.index, number)));
            }
        }
        let cut = disk.settle();
        check(scratch.path(), &dir, &acked, &[]);
        if !cut {
            assert_eq!(acked.len(), ENTRIES);
            break;
        }
    }
}

/// A disk whose fdatasync waits for leave.
#[derive(Default)]
struct GatedDisk {
    waiting: AtomicBool,
    open: AtomicBool,
}

impl Disk for GatedDisk {
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.waiting.store(true, Ordering::SeqCst);
        while !self.open.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        RealDisk.sync_data(file)
    }
}

#[test]
fn nothing_is_acknowledged_before_fdatasync_and_the_queue_is_bounded() {
    let scratch = tempfile::tempdir().unwrap();
    let disk = Arc::new(GatedDisk::default());
    let dir = scratch.path().join("journal");
    let (log, _) = Journal::open_on(disk.clone(), &dir, key(scratch.path()), ORIGIN).unwrap();
    let (sender, results) = mpsc::channel();
    let append = |number: usize| {
        let sender = sender.clone();
        log.append_then(entry(number), move |result| sender.send((number, result)).unwrap());
    };
    append(0);
    while !disk.waiting.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    assert_eq!(log.checkpoint().size(), 0);
    assert!(results.try_recv().is_err(), "acknowledged before fdatasync returned");
    (1..=QUEUE_ENTRIES_MAX).for_each(&append);
    assert!(results.try_recv().is_err());
    append(QUEUE_ENTRIES_MAX + 1);
    assert_eq!(results.try_recv().unwrap(), (QUEUE_ENTRIES_MAX + 1, Err(AppendError::QueueFull)));
    disk.open.store(true, Ordering::SeqCst);
    for number in 0..=QUEUE_ENTRIES_MAX {
        let leaf = Leaf { index: number as u64, hash: leaf_hash(&entry(number)) };
        assert_eq!(results.recv().unwrap(), (number, Ok(leaf)));
    }
    assert_eq!(log.checkpoint().size(), QUEUE_ENTRIES_MAX as u64 + 1);
}

#[test]
fn a_panicking_callback_harms_nobody_else() {
    let scratch = tempfile::tempdir().unwrap();
    let (log, _) = Journal::open(&scratch.path().join("journal"), key(scratch.path()), ORIGIN).unwrap();
    log.append_then(entry(0), |_| panic!("a callback's own defect"));
    assert_eq!(log.append(entry(1)).unwrap().wait().unwrap().index, 1);
    log.close().unwrap();
}
