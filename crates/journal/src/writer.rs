//! The one writer: group commit into the write-ahead log, and tiles published from it in the background. Nothing is
//! acknowledged before fdatasync returned, and after any failed write nothing more is written until the journal is
//! opened anew.

use crate::note::{Checkpoint, SigningKey, VerifierKey};
use crate::reader::{Snapshot, Tiles, published, read, segment_files};
use crate::tile::{ENTRY_BYTES_MAX, Edge, TileId, put_entry};
use crate::tree::{Frontier, Hash, leaf_hash, sha256};
use crate::verify::Fault;
use crate::wal::{GROUP_BYTES_MAX, Replayed, Segment, Tail, put_frame, replay, segment_file};
use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

/// The most entries waiting to be written.
pub const QUEUE_ENTRIES_MAX: usize = 8192;
/// The most entry bytes waiting to be written.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most entries in one group, so under one signature and one fdatasync.
pub const GROUP_ENTRIES_MAX: usize = 4096;
/// A write-ahead segment that reached this many bytes is published and deleted.
pub const SEGMENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most segments waiting to be published; beyond that, appends wait.
pub const SEGMENTS_PENDING_MAX: usize = 4;

/// A durable entry's place in the log. One exists only for an entry that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Position in the log, from 0.
    pub index: u64,
    /// RFC 6962 leaf hash of the entry.
    pub hash: Hash,
}

/// Why an entry was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The entry is longer than [`ENTRY_BYTES_MAX`]; nothing was written.
    #[error(
        "entry of {bytes} bytes is over the {ENTRY_BYTES_MAX} an entry may have: split it or record its digest"
    )]
    TooLong {
        /// The entry's length.
        bytes: usize,
    },
    /// The queue is at its bound; nothing was written.
    #[error(
        "{QUEUE_ENTRIES_MAX} entries or {QUEUE_BYTES_MAX} bytes are already waiting to be written: try again later"
    )]
    QueueFull,
    /// Writing this entry's group failed. It may or may not be there when the journal is opened again.
    #[error("entry is not durable: {cause}; free the disk or fix it, then open the journal again")]
    NotDurable {
        /// What failed.
        cause: Arc<str>,
    },
    /// An earlier write failed; this entry was never written.
    #[error(
        "journal stopped after a failed write: {cause}; free the disk or fix it, then open the journal again"
    )]
    Poisoned {
        /// What failed.
        cause: Arc<str>,
    },
    /// The journal is closed; nothing was written.
    #[error("journal is closed")]
    Closed,
}

/// Why a journal was not opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process or another `Journal` has it open.
    #[error("another writer has this journal open: stop it first")]
    Locked,
    /// The key is not for this origin.
    #[error("key is named {key:?} but the journal's origin is {origin:?}: use the journal's own key")]
    Origin {
        /// The key's name.
        key: String,
        /// The origin asked for.
        origin: String,
    },
    /// What is on disk is not a journal of this key that an interrupted writer could have left.
    #[error("journal is damaged, run verify: {0}")]
    Damaged(#[from] Fault),
    /// A file or thread could not be made.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Recovery {
    /// The journal did not exist and was made.
    pub created: bool,
    /// Entries in the journal now.
    pub size: u64,
    /// Entries the previous writer left in the write-ahead log, published now.
    pub recovered_entries: u64,
    /// The groups these came in.
    pub recovered_groups: u64,
    /// An interrupted last append that was dropped.
    pub torn: Option<TornTail>,
}

/// An interrupted append, acknowledged to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The write-ahead file, now deleted.
    pub file: String,
    /// Where in it the incomplete group began, in bytes.
    pub offset: u64,
    /// Bytes dropped.
    pub bytes: u64,
    /// Where the bytes were kept when the group had its full length but not its content: pages lost in a power
    /// failure look like an edit, so a person may want to look. `None` for a group that simply ends early.
    pub kept: Option<String>,
}

type Reply = mpsc::SyncSender<Result<(), AppendError>>;
type Done = Box<dyn FnOnce(Result<Leaf, AppendError>) + Send>;

/// A journal open for appending. Only one exists per directory. Dropping it closes it.
pub struct Journal {
    shared: Arc<Shared>,
    key: VerifierKey,
    threads: Vec<JoinHandle<()>>,
    _lock: File,
}

/// The promise of an acknowledgement.
#[derive(Debug)]
#[must_use = "an entry is durable only once wait() returned its leaf"]
pub struct Ticket(mpsc::Receiver<Result<Leaf, AppendError>>);

impl Ticket {
    /// Waits until the entry is on disk.
    ///
    /// # Errors
    /// [`AppendError`] when it is not, or may not be.
    pub fn wait(self) -> Result<Leaf, AppendError> {
        self.0.recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Journal {
    /// Opens or creates the journal in `dir`, repairing what an interrupted writer left.
    ///
    /// # Errors
    /// [`OpenError`]; a journal that is damaged rather than interrupted is refused untouched.
    pub fn open(dir: &Path, key: SigningKey, origin: &str) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(Arc::new(RealDisk), dir, key, origin)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        key: SigningKey,
        origin: &str,
    ) -> Result<(Self, Recovery), OpenError> {
        let io = |what| move |source| OpenError::Io { what, source };
        let verifier = key.verifier();
        if verifier.name() != origin {
            return Err(OpenError::Origin { key: verifier.name().to_owned(), origin: origin.to_owned() });
        }
        let wal = dir.join("wal");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&wal)
            .map_err(io("making the journal's directory"))?;
        let lock = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("lock"));
        let lock = lock.map_err(io("opening the lock file"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked,
            TryLockError::Error(source) => OpenError::Io { what: "locking the journal", source },
        })?;

        let empty = !dir.join("tile").exists() && segment_files(dir)?.is_empty();
        let created = empty && !dir.join("checkpoint").exists();
        if created {
            let first = key.sign_checkpoint(0, Frontier::default().root());
            let parent =
                dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            disk.sync_dir(parent)
                .and_then(|()| disk.replace(&dir.join("checkpoint"), first.text().as_bytes()))
                .and_then(|()| disk.sync_dir(dir))
                .map_err(io("writing the first checkpoint"))?;
        }
        let snapshot = Snapshot::take(dir)?;
        let (checkpoint, edge) = published(&snapshot, &Tiles::new(dir), &verifier)?;
        // All is checked before anything is changed, so that damage is found as it was left.
        let mut rehearsal = edge.clone();
        replay(&snapshot.segments, Some(&verifier), &mut rehearsal, |_, _| Ok(()), |_| {})?;
        let size = rehearsal.size();
        if let Some((witness, seen)) = Tiles::new(dir).beyond(size)? {
            return Err(Fault::RolledBack { size, seen, witness }.into());
        }
        let mut publisher = Publisher { dir: dir.to_owned(), disk: disk.clone(), edge };
        let replayed = publisher.publish(&snapshot.segments, Some(&verifier))?;
        let torn = publisher.retire(&snapshot.segments, &replayed)?;
        let head = match &replayed.head {
            None => checkpoint,
            Some(head) => Checkpoint::verify(head, &verifier)
                .map_err(|source| Fault::Checkpoint { file: "wal".into(), source })?,
        };
        let recovery = Recovery {
            created,
            size,
            recovered_entries: replayed.entries,
            recovered_groups: replayed.groups,
            torn,
        };

        let shared =
            Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), head: Mutex::new(head) });
        let (jobs, queue) = mpsc::sync_channel(SEGMENTS_PENDING_MAX);
        let frontier = publisher.edge.frontier.clone();
        let (dir, frame) = (dir.to_owned(), Vec::new());
        let writer = Writer { shared: shared.clone(), dir, disk, key, frontier, frame, segment: None, jobs };
        let publisher_shared = shared.clone();
        let threads = vec![
            thread::Builder::new().name("journal-write".into()).spawn(move || writer.run()),
            thread::Builder::new()
                .name("journal-publish".into())
                .spawn(move || publisher.run(&queue, &publisher_shared)),
        ];
        let mut journal = Self { shared, key: verifier, threads: vec![], _lock: lock };
        for thread in threads {
            journal.threads.push(thread.map_err(io("starting the journal's threads"))?);
        }
        Ok((journal, recovery))
    }

    /// Queues one entry, waiting for room in the queue if need be. The entry is durable once the ticket says so.
    ///
    /// # Errors
    /// [`AppendError`] when the entry was not queued.
    pub fn append(&self, bytes: Vec<u8>) -> Result<Ticket, AppendError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let done: Done = Box::new(move |result| {
            // The caller may have dropped its ticket.
            let _ = sender.send(result);
        });
        match self.enqueue(bytes, done, true) {
            Ok(()) => Ok(Ticket(receiver)),
            Err((error, _)) => Err(error),
        }
    }

    /// Queues one entry without ever waiting: for async callers. `done` is called exactly once, on the journal's
    /// thread or, when the entry is refused at once, on this one; it must be quick and must not call `append`.
    pub fn append_then(&self, bytes: Vec<u8>, done: impl FnOnce(Result<Leaf, AppendError>) + Send + 'static) {
        if let Err((error, done)) = self.enqueue(bytes, Box::new(done), false) {
            done(Err(error));
        }
    }

    fn enqueue(&self, bytes: Vec<u8>, done: Done, may_wait: bool) -> Result<(), (AppendError, Done)> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err((AppendError::TooLong { bytes: bytes.len() }, done));
        }
        // Hashed here, not on the writer's thread, so that callers share the work.
        let leaf = leaf_hash(&bytes);
        let mut queue = self.shared.queue();
        loop {
            if let Some(cause) = &queue.poison {
                return Err((AppendError::Poisoned { cause: cause.clone() }, done));
            }
            if queue.closed {
                return Err((AppendError::Closed, done));
            }
            if queue.items.len() < QUEUE_ENTRIES_MAX && queue.bytes + bytes.len() <= QUEUE_BYTES_MAX {
                break;
            }
            if !may_wait {
                return Err((AppendError::QueueFull, done));
            }
            queue.waiting += 1;
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.waiting -= 1;
        }
        let idle = queue.items.is_empty() || queue.waiting > 0;
        queue.bytes += bytes.len();
        queue.items.push_back(Pending { bytes, leaf, done });
        drop(queue);
        if idle {
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Publishes everything acknowledged so far as tiles and replaces the `checkpoint` file; returns when that is
    /// durable.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] or [`AppendError::Closed`].
    pub fn publish(&self) -> Result<(), AppendError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        {
            let mut queue = self.shared.queue();
            match (&queue.poison, queue.closed) {
                (Some(cause), _) => return Err(AppendError::Poisoned { cause: cause.clone() }),
                (None, true) => return Err(AppendError::Closed),
                (None, false) => queue.publish.push(sender),
            }
        }
        self.shared.changed.notify_all();
        receiver.recv().unwrap_or_else(|_| Err(self.shared.refusal()))
    }

    /// The latest durable checkpoint: the value to anchor elsewhere or have witnessed.
    pub fn checkpoint(&self) -> Checkpoint {
        self.shared.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The public key that verifies this journal.
    pub fn verifier(&self) -> &VerifierKey {
        &self.key
    }

    /// Writes what is queued, publishes it and stops.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] when anything could not be written.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.stop();
        match &self.shared.queue().poison {
            Some(cause) => Err(AppendError::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn stop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A callback may hold the last reference; a thread cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Pending {
    bytes: Vec<u8>,
    leaf: Hash,
    done: Done,
}

impl Pending {
    fn finish(self, result: Result<Leaf, AppendError>) {
        // A panicking callback must not stop the log for everyone else.
        let _ = catch_unwind(AssertUnwindSafe(move || (self.done)(result)));
    }
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Pending>,
    bytes: usize,
    waiting: usize,
    publish: Vec<Reply>,
    closed: bool,
    poison: Option<Arc<str>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    head: Mutex<Checkpoint>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses everything queued and everything to come. The first cause is kept.
    fn poison(&self, cause: Arc<str>) {
        let mut queue = self.queue();
        let cause = queue.poison.get_or_insert(cause).clone();
        let refused = std::mem::take(&mut queue.items);
        queue.publish.clear();
        drop(queue);
        self.changed.notify_all();
        for pending in refused {
            pending.finish(Err(AppendError::Poisoned { cause: cause.clone() }));
        }
    }

    fn refusal(&self) -> AppendError {
        match &self.queue().poison {
            Some(cause) => AppendError::Poisoned { cause: cause.clone() },
            None => AppendError::Closed,
        }
    }

    /// Waits for work and takes one group of it. `None` when the journal is closed and empty, or poisoned.
    fn take(&self) -> Option<(Vec<Pending>, Vec<Reply>)> {
        let mut queue = self.queue();
        loop {
            if queue.poison.is_some() {
                return None;
            }
            if !queue.items.is_empty() || !queue.publish.is_empty() {
                break;
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut count, mut group_bytes) = (0, 0);
        for pending in queue.items.iter().take(GROUP_ENTRIES_MAX) {
            let bytes = pending.bytes.len() + size_of::<u16>();
            if group_bytes + bytes > GROUP_BYTES_MAX {
                break;
            }
            group_bytes += bytes;
            count += 1;
        }
        let group: Vec<Pending> = queue.items.drain(..count).collect();
        queue.bytes -= group.iter().map(|pending| pending.bytes.len()).sum::<usize>();
        // Whoever asked to publish has acknowledged entries in mind; these are written already.
        let publish = std::mem::take(&mut queue.publish);
        let waiting = queue.waiting > 0;
        drop(queue);
        if waiting {
            self.changed.notify_all();
        }
        Some((group, publish))
    }
}

/// Poisons the journal when its thread ends by a panic: waiting callers then hear of it.
struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison("a thread of the journal panicked".into());
        }
    }
}

struct OpenSegment {
    file: File,
    name: String,
    bytes: usize,
}

struct Job {
    segment: Option<String>,
    replies: Vec<Reply>,
}

struct Writer {
    shared: Arc<Shared>,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    key: SigningKey,
    frontier: Frontier,
    frame: Vec<u8>,
    segment: Option<OpenSegment>,
    jobs: mpsc::SyncSender<Job>,
}

impl Writer {
    fn run(mut self) {
        let shared = self.shared.clone();
        let _guard = PanicGuard(&shared);
        while let Some((group, publish)) = shared.take() {
            if !group.is_empty() && !self.commit(group) {
                return;
            }
            let full = self.segment.as_ref().is_some_and(|segment| segment.bytes >= SEGMENT_BYTES_MAX);
            if full || !publish.is_empty() {
                self.rotate(publish);
            }
        }
        self.rotate(vec![]);
    }

    /// Makes one group durable and acknowledges it; false when that failed and the journal is poisoned.
    fn commit(&mut self, group: Vec<Pending>) -> bool {
        let (first, mut grown, mut bundle) = (self.frontier.size(), self.frontier.clone(), Vec::new());
        for pending in &group {
            grown.push(pending.leaf, |_, _, _| {});
            put_entry(&mut bundle, &pending.bytes);
        }
        let checkpoint = self.key.sign_checkpoint(grown.size(), grown.root());
        let count = u16::try_from(group.len()).expect("a group has at most GROUP_ENTRIES_MAX entries");
        put_frame(&mut self.frame, first, count, &bundle, checkpoint.text());
        if let Err(error) = self.write(first) {
            let cause: Arc<str> = format!("writing the write-ahead log: {error}").into();
            // Poisoned first: whoever hears of the failure must not be able to append again.
            self.shared.poison(cause.clone());
            for pending in group {
                pending.finish(Err(AppendError::NotDurable { cause: cause.clone() }));
            }
            return false;
        }
        self.frontier = grown;
        *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = checkpoint;
        for (index, pending) in (first..).zip(group) {
            let leaf = Leaf { index, hash: pending.leaf };
            pending.finish(Ok(leaf));
        }
        true
    }

    fn write(&mut self, first: u64) -> io::Result<()> {
        let segment = match &mut self.segment {
            Some(segment) => segment,
            None => {
                let name = segment_file(first);
                let file = self.disk.create(&self.dir.join(&name))?;
                self.disk.sync_dir(&self.dir.join("wal"))?;
                self.segment.insert(OpenSegment { file, name, bytes: 0 })
            }
        };
        self.disk.append(&mut segment.file, &self.frame)?;
        self.disk.sync_data(&segment.file)?;
        segment.bytes += self.frame.len();
        Ok(())
    }

    fn rotate(&mut self, replies: Vec<Reply>) {
        let segment = self.segment.take().map(|segment| segment.name);
        if segment.is_some() || !replies.is_empty() {
            // The publisher ends only after this sender; if it panicked, the journal is poisoned and replies drop.
            let _ = self.jobs.send(Job { segment, replies });
        }
    }
}

struct Publisher {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    edge: Edge,
}

impl Publisher {
    fn run(mut self, jobs: &mpsc::Receiver<Job>, shared: &Shared) {
        let _guard = PanicGuard(shared);
        let mut failed = false;
        for Job { segment, replies } in jobs {
            // After a failure the edge no longer matches what is published: nothing more is, until reopened.
            if let Some(name) = segment.filter(|_| !failed)
                && let Err(fault) = self.publish_segment(name)
            {
                failed = true;
                shared.poison(format!("publishing: {fault}").into());
            }
            for reply in replies {
                let _ = reply.send(if failed { Err(shared.refusal()) } else { Ok(()) });
            }
        }
    }

    fn publish_segment(&mut self, file: String) -> Result<(), Fault> {
        let segments = [Segment { bytes: read(&self.dir, &file)?, file }];
        let replayed = self.publish(&segments, None)?;
        match replayed.tail {
            None => self.retire(&segments, &replayed).map(|_| ()),
            Some(tail) => Err(Fault::Frame { file: tail.file, offset: tail.offset as u64, why: tail.why }),
        }
    }

    /// Turns the groups of `segments` into tiles, then replaces the checkpoint. Each step is durable before the next.
    fn publish(&mut self, segments: &[Segment], key: Option<&VerifierKey>) -> Result<Replayed, Fault> {
        let Self { dir, disk, edge } = self;
        let mut touched = BTreeSet::new();
        let mut outgrown = Vec::new();
        let mut put = |tile: TileId, bytes: &[u8]| {
            let file = tile.path();
            let path = dir.join(&file);
            let fault = |source| Fault::Io { file: file.clone(), source };
            let parent = path.parent().expect("a tile lies below the journal's directory");
            if !touched.contains(parent) {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fault)?;
                touched.extend(
                    parent.ancestors().take_while(|above| *above != dir.as_path()).map(Path::to_owned),
                );
            }
            disk.replace(&path, bytes).map_err(fault)
        };
        let replayed = replay(
            segments,
            key,
            edge,
            |tile, bytes| {
                outgrown.push(tile);
                put(tile, &bytes)
            },
            |_| {},
        )?;
        let Some(head) = &replayed.head else { return Ok(replayed) };
        for (tile, bytes) in edge.partials() {
            put(tile, bytes)?;
        }
        touched.insert(dir.clone());
        // Children before parents: a name is durable only if the directory it stands in is.
        for directory in touched.iter().rev() {
            let fault = |source| Fault::Io { file: "tile".into(), source };
            disk.sync_dir(directory).map_err(fault)?;
        }
        disk.replace(&dir.join("checkpoint"), head.as_bytes())
            .and_then(|()| disk.sync_dir(dir))
            .map_err(|source| Fault::Io { file: "checkpoint".into(), source })?;
        for tile in outgrown {
            // The spec lets a log drop partial tiles once the full one is there; one left behind harms nobody.
            let _ = fs::remove_dir_all(dir.join(tile.path() + ".p"));
        }
        Ok(replayed)
    }

    /// Deletes segments whose groups are all published, first keeping the bytes of a tail that looks damaged.
    fn retire(&self, segments: &[Segment], replayed: &Replayed) -> Result<Option<TornTail>, Fault> {
        let mut torn = None;
        if let Some(tail) = &replayed.tail {
            let mut kept = None;
            if !tail.short {
                let bytes =
                    segments.last().and_then(|segment| segment.bytes.get(tail.offset..)).unwrap_or_default();
                let digest =
                    sha256(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
                let file = format!("torn-{:020}-{digest}", self.edge.size());
                let kept_durably = self.disk.replace(&self.dir.join(&file), bytes);
                kept_durably
                    .and_then(|()| self.disk.sync_dir(&self.dir))
                    .map_err(|source| Fault::Io { file: file.clone(), source })?;
                kept = Some(file);
            }
            let Tail { file, offset, bytes, .. } = tail;
            torn = Some(TornTail { file: file.clone(), offset: *offset as u64, bytes: *bytes as u64, kept });
        }
        for Segment { file, .. } in segments {
            self.disk
                .remove(&self.dir.join(file))
                .map_err(|source| Fault::Io { file: file.clone(), source })?;
        }
        let wal = self.disk.sync_dir(&self.dir.join("wal"));
        wal.map_err(|source| Fault::Io { file: "wal".into(), source })?;
        Ok(torn)
    }
}

/// What the journal asks of a disk; a trait so that tests can make each step fail, lost or persisted anyway.
trait Disk: Send + Sync {
    /// Makes a new, empty write-ahead file.
    fn create(&self, path: &Path) -> io::Result<File> {
        fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Puts a whole file in place: after a crash there is the old one or the new one, never a part.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&name)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&name, path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

struct RealDisk;

impl Disk for RealDisk {}

#[cfg(test)]
mod tests;
