//! Writes what happened into the journal: decisions durably before their effect, outcomes after.
//! Nothing here decides; when the disk refuses, so does the gate.

use crate::clock;
use crate::wire::record::{Body, RECORD_VERSION, Record};
use journal::{AppendError, Journal, Recovery, SigningKey};
use judge::permit::Leaf;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How often a note is offered to a full queue.
const NOTE_ATTEMPTS_MAX: u32 = 600;
/// How long it waits in between.
const NOTE_PAUSE: Duration = Duration::from_millis(50);

/// The record could not be made durable. The call that needed it is denied.
#[derive(Debug, thiserror::Error)]
#[error(
    "the journal cannot be written ({0}); every call is denied until the gate is restarted with a working disk"
)]
pub struct NotRecorded(String);

/// What was written so far, for whoever shows it: a change means that there is more to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Records on disk.
    pub records: u64,
    /// Those of approvals.
    pub approvals: u64,
    /// Those that warn.
    pub alerts: u64,
}

/// The gate's journal.
pub struct History {
    journal: Arc<Journal>,
    pulse: Arc<watch::Sender<Pulse>>,
}

impl History {
    /// Opens or creates the journal in `dir` with the key in `key_file`, repairing a torn tail.
    ///
    /// # Errors
    /// A locked, damaged or unwritable journal, or an unreadable key: in words that name the file.
    pub fn open(dir: &Path, key_file: &Path) -> Result<(Self, Recovery), String> {
        let in_words = |what: &Path, why: String| format!("{}: {why}", what.display());
        let key = if key_file.exists() {
            SigningKey::load(key_file).map_err(|error| in_words(key_file, error.to_string()))?
        } else if dir.exists() {
            return Err(in_words(key_file, "the journal's signing key is missing; restore it, or move the journal away to begin a new one".into()));
        } else {
            let name = format!("bailiwick.local/{}", &crate::random::token()[..16]);
            let key = SigningKey::generate(&name).map_err(|error| in_words(key_file, error.to_string()))?;
            keep(&key, key_file).map_err(|error| in_words(key_file, error))?;
            key
        };
        let verifier = key.verifier();
        let origin = verifier.name().to_owned();
        let (journal, recovery) =
            Journal::open(dir, key, &origin).map_err(|error| in_words(dir, error.to_string()))?;
        // Only now: a key that does not fit the journal is not published beside it.
        let (public, text) = (key_file.with_extension("vkey"), format!("{verifier}\n"));
        if std::fs::read_to_string(&public).ok().as_ref() != Some(&text) {
            let draft = key_file.with_extension("vkey.new");
            std::fs::write(&draft, text)
                .and_then(|()| std::fs::rename(&draft, &public))
                .map_err(|error| in_words(&public, error.to_string()))?;
        }
        let records = journal.checkpoint().size();
        let pulse = Arc::new(watch::Sender::new(Pulse { records, ..Pulse::default() }));
        Ok((Self { journal: Arc::new(journal), pulse }, recovery))
    }

    /// Writes a record and waits until it is on disk.
    ///
    /// # Errors
    /// [`NotRecorded`] when it is not.
    pub async fn record(&self, session: Option<&str>, body: Body) -> Result<Leaf, NotRecorded> {
        let (done, acknowledged) = oneshot::channel();
        let (pulse, beat) = (self.pulse.clone(), Beat::of(&body));
        self.journal.append_then(encode(session, body)?, move |result| {
            if let Ok(leaf) = &result {
                beat.tell(&pulse, leaf.index);
            }
            // A caller that stopped waiting no longer acts on the answer.
            let _ = done.send(result);
        });
        match acknowledged.await {
            Ok(Ok(leaf)) => Ok(Leaf::durable(leaf.index)),
            Ok(Err(error)) => Err(NotRecorded(error.to_string())),
            Err(_) => Err(NotRecorded("the journal's writer has stopped".to_owned())),
        }
    }

    /// Writes a record in order, without waiting for the disk: for what has already happened. A full queue is waited
    /// out in the background, so that a flood of notes costs order and never an outcome.
    pub fn note(&self, session: Option<&str>, body: Body) {
        let teller = (self.pulse.clone(), Beat::of(&body));
        match encode(session, body) {
            Ok(bytes) => note(self.journal.clone(), bytes, teller, NOTE_ATTEMPTS_MAX),
            Err(error) => tracing::error!("a record was lost: {error}"),
        }
    }

    /// What was written so far.
    pub fn now(&self) -> Pulse {
        *self.pulse.borrow()
    }

    /// Tells whenever something was written.
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.subscribe()
    }

    /// How many records are on disk.
    pub fn size(&self) -> u64 {
        self.journal.checkpoint().size()
    }
}

/// What kind of record it is, for the pulse.
#[derive(Clone, Copy, Debug)]
struct Beat {
    approvals: u64,
    alerts: u64,
}

impl Beat {
    fn of(body: &Body) -> Self {
        let approvals = match body {
            Body::Asked { .. } | Body::Answered { .. } => 1,
            Body::Decision(decided) => u64::from(!decided.approval.is_empty()),
            _ => 0,
        };
        Self { approvals, alerts: u64::from(matches!(body, Body::Alert { .. } | Body::Quarantined { .. })) }
    }

    fn tell(self, pulse: &watch::Sender<Pulse>, index: u64) {
        pulse.send_modify(|pulse| {
            pulse.records = pulse.records.max(index + 1);
            pulse.approvals += self.approvals;
            pulse.alerts += self.alerts;
        });
    }
}

fn note(journal: Arc<Journal>, bytes: Vec<u8>, teller: (Arc<watch::Sender<Pulse>>, Beat), attempts: u32) {
    let again = (bytes.clone(), Arc::downgrade(&journal), tokio::runtime::Handle::try_current().ok());
    journal.append_then(bytes, move |result| match (result, again) {
        (Ok(leaf), _) => teller.1.tell(&teller.0, leaf.index),
        (Err(AppendError::QueueFull), (bytes, journal, Some(runtime))) if attempts > 0 => {
            runtime.spawn(async move {
                tokio::time::sleep(NOTE_PAUSE).await;
                if let Some(journal) = journal.upgrade() {
                    note(journal, bytes, teller, attempts - 1);
                }
            });
        }
        (Err(error), _) => tracing::error!("a record was lost: {error}"),
    });
}

/// Saves a fresh key whole or not at all, and never over another one: a gate killed half-way must still start again.
fn keep(key: &SigningKey, key_file: &Path) -> Result<(), String> {
    let draft = key_file.with_extension(crate::random::name("new"));
    key.save(&draft).map_err(|error| error.to_string())?;
    let kept = std::fs::hard_link(&draft, key_file).and_then(|()| std::fs::remove_file(&draft));
    // The journal must not become durable before the name of its key.
    let parent = key_file.parent().unwrap_or(Path::new("."));
    kept.and_then(|()| std::fs::File::open(parent)?.sync_all()).map_err(|error| error.to_string())
}

fn encode(session: Option<&str>, body: Body) -> Result<Vec<u8>, NotRecorded> {
    let record = Record { v: RECORD_VERSION, at: clock::stamp(), session: session.map(str::to_owned), body };
    serde_json::to_vec(&record).map_err(|error| NotRecorded(error.to_string()))
}
