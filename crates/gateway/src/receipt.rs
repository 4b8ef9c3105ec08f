//! The journal's view of one call: an entry that becomes a decision record, a receipt that becomes its outcome.
//! A receipt that nobody closes says so itself; no permitted call ends without a word.

use crate::clock;
use crate::conversation::Conversation;
use crate::facts::Scene;
use crate::gate::Gate;
use crate::history::History;
use crate::pipeline::Stop;
use crate::session::Session;
use crate::wire::record::{Body, Confined, Decided as DecidedRecord, Origin, Status};
use judge::filter::{Release, Rewritable, Withheld, recordable};
use judge::flow::{Read, Value};
use judge::permit::{Decided, Permit};
use judge::policy::Verdict;
use judge::request::tree::Tree;
use judge::request::{RawCall, Request};
use judge::spotlight::Speaks;
use judge::tool::{Inventory, ToolName};
use std::sync::Arc;
use std::time::Instant;

/// Values of one call whose origin is recorded, entries.
const ORIGINS_ENTRIES_MAX: usize = 64;

/// A call that did not run.
#[derive(Debug)]
pub struct Denied {
    /// The call's name in the journal.
    pub call: String,
    /// Why, in words for the agent.
    pub why: String,
}

/// A permitted call whose tool did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Failed {
    /// How it ended.
    pub status: Status,
    /// Why, in words for the agent.
    pub detail: String,
}

impl Failed {
    /// A failure of this status and text.
    pub fn new(status: Status, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// What a tool answered, as bytes that the filter reads.
pub trait Output: Rewritable + Speaks {
    /// Whether the tool's answer is a success or an error of its own.
    fn status(&self) -> Status {
        Status::Ok
    }

    /// What it says, for whoever asks later where a value came from.
    fn parts(&self) -> Vec<Read> {
        vec![Read::Text(String::from_utf8_lossy(self.as_ref()).into_owned())]
    }

    /// Tells `conversation` what `source` answered.
    fn read_into(&self, conversation: &Conversation, inventory: &Inventory, source: &ToolName) {
        conversation.read(inventory, source, &self.parts());
    }
}

/// What will be recorded about a call, whatever is decided.
pub struct Entry {
    record: DecidedRecord,
    betrayal: Option<String>,
}

impl Entry {
    /// Begins the entry of one call, in which no value that the gate guards is written.
    pub fn of(gate: &Gate, raw: &RawCall, session: &Session, scene: &Scene) -> Self {
        let mut betrayal = None;
        let mut written = |tree: &Tree| {
            let text = tree.canonical();
            match gate.secrets.searched(text.as_bytes()) {
                Ok(None) => serde_json::from_str(&recordable(tree).canonical()).unwrap_or_default(),
                Ok(Some((clean, name))) => {
                    betrayal = Some(format!(
                        "it holds the value of secret `{name}`, which only the gate may put in; \
                         if nobody typed it there, it has leaked: rotate it"
                    ));
                    let clean = Tree::parse(&clean).map(|clean| recordable(&clean).canonical());
                    clean.ok().and_then(|clean| serde_json::from_str(&clean).ok()).unwrap_or_default()
                }
                Err(why) => {
                    betrayal = Some(format!("it could not be searched for secrets: {why}"));
                    serde_json::Value::Null
                }
            }
        };
        let (arguments, beside) = (written(&raw.arguments), written(&raw.beside));
        Self {
            betrayal,
            record: DecidedRecord {
                call: crate::random::name("c"),
                client_call: scene.client_call.clone(),
                via: session.adapter().to_owned(),
                agent: raw.principal.agent.clone(),
                user: raw.principal.user.clone(),
                tool: raw.name.to_string(),
                decision: "deny".to_owned(),
                policies: Vec::new(),
                why: String::new(),
                request: String::new(),
                policy: String::new(),
                approval: String::new(),
                granted_by: String::new(),
                origins: Vec::new(),
                arguments,
                beside,
            },
        }
    }

    /// The call's name in the journal.
    pub fn call(&self) -> &str {
        &self.record.call
    }

    /// Why the call may not even be judged: what it says would betray a secret.
    pub fn betrayal(&self) -> Option<&str> {
        self.betrayal.as_deref()
    }

    /// Notes which approval was spent.
    #[must_use]
    pub fn approved(mut self, approval: String) -> Self {
        self.record.approval = approval;
        self
    }

    /// The record of a permit.
    pub fn permitted(&self, permit: &Permit<Decided>) -> Body {
        let mut record = self.record.clone();
        record.decision = permit.verdict().decision().to_string();
        permit.granted_by().unwrap_or_default().clone_into(&mut record.granted_by);
        Body::Decision(Box::new(with(record, permit.request(), permit.verdict())))
    }

    /// Records a denial and says it.
    pub async fn denied(
        self,
        gate: &Gate,
        session: &Session,
        judged: Option<(Request, Verdict)>,
        why: String,
    ) -> Stop {
        let mut record = self.record;
        let why = gate.screen.said(session.hidden(), &why);
        record.why.clone_from(&why);
        let mut record = match &judged {
            Some((request, verdict)) => with(record, request, verdict),
            None => record,
        };
        record.why.clone_from(&why);
        "deny".clone_into(&mut record.decision);
        let call = record.call.clone();
        // The denial stands whether or not the disk takes the record.
        if let Err(error) = gate.history.record(Some(session.id()), Body::Decision(Box::new(record))).await {
            tracing::error!("a denial could not be recorded: {error}");
        }
        Stop::Denied(Denied { call, why })
    }
}

fn with(mut record: DecidedRecord, request: &Request, verdict: &Verdict) -> DecidedRecord {
    record.policies = verdict.determining().iter().map(ToString::to_string).collect();
    record.why = verdict.to_string();
    request.digest().clone_into(&mut record.request);
    verdict.policy_digest().clone_into(&mut record.policy);
    record.origins = request.explained().values.iter().take(ORIGINS_ENTRIES_MAX).map(origin).collect();
    record
}

fn origin(value: &Value) -> Origin {
    let from = match &value.origin {
        judge::flow::Origin::Untrusted(sources) => sources.clone(),
        judge::flow::Origin::Vouched(source) => vec![source.clone()],
        _ => Vec::new(),
    };
    Origin { at: value.at.clone(), origin: value.origin.word().to_owned(), from, fits: value.fits }
}

/// An open receipt: the call may have had its effect, and its outcome is still to be written.
pub struct Receipt {
    history: Arc<History>,
    session: String,
    call: String,
    begun: Instant,
    confined: Option<Confined>,
    advice: Vec<String>,
    closed: bool,
}

impl Receipt {
    /// Opens the receipt of a recorded call.
    pub fn open(gate: &Gate, session: &Session, call: &str) -> Self {
        Self {
            history: gate.history.clone(),
            session: session.id().to_owned(),
            call: call.to_owned(),
            begun: Instant::now(),
            confined: None,
            advice: Vec::new(),
            closed: false,
        }
    }

    /// The call's name in the journal.
    pub fn call(&self) -> &str {
        &self.call
    }

    /// Notes how what ran was confined.
    pub fn confined(&mut self, how: Confined) {
        self.confined = Some(how);
    }

    /// Notes what is to be said about the result, and raises an alert. It changes nothing about the result.
    pub fn advised(&mut self, tool: &str, advice: &judge::suspicion::Advice) {
        if advice.is_empty() {
            return;
        }
        let says: Vec<&str> = advice.findings.iter().map(|finding| finding.says).collect();
        let says =
            if says.is_empty() { "it is worded like orders to an agent".to_owned() } else { says.join("; ") };
        self.advice = advice.tags().into_iter().map(str::to_owned).collect();
        let body = Body::Alert {
            rule: "suspicious-result".to_owned(),
            detail: format!("{tool}: {says} (score {})", advice.score),
            call: self.call.clone(),
        };
        self.history.note(Some(&self.session), body);
    }

    /// Closes with a released result; `note` says what was taken out of it.
    pub fn released<O: Output>(self, release: Release<O>, note: &str) -> Release<O> {
        self.close(release.value.status(), note, release.value.as_ref());
        release
    }

    /// Closes with a failure on the tool's side.
    pub fn failed(self, failed: Failed) -> Stop {
        self.close(failed.status, &failed.detail, b"");
        Stop::Failed(failed)
    }

    /// Closes with a result that may not leave.
    pub fn withheld(self, withheld: &Withheld) -> Stop {
        let detail = withheld.to_string();
        self.close(Status::Withheld, &detail, b"");
        Stop::Failed(Failed::new(Status::Withheld, detail))
    }

    /// Closes with what an adapter saw happen.
    pub fn close(mut self, status: Status, detail: &str, result: &[u8]) {
        self.closed = true;
        self.write(status, detail, result);
    }

    fn write(&self, status: Status, detail: &str, result: &[u8]) {
        let digest = if result.is_empty() { String::new() } else { judge::digest::hex(result) };
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let detail = detail.chars().take(2_000).collect();
        let body = Body::Outcome {
            call: self.call.clone(),
            status,
            detail,
            bytes: result.len(),
            result: digest,
            ms,
            confined: self.confined.clone(),
            advice: self.advice.clone(),
        };
        self.history.note(Some(&self.session), body);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.closed {
            self.write(
                Status::Cancelled,
                "the caller went away before the answer; the effect may have happened",
                b"",
            );
        }
    }
}

/// Writes an outcome for every call of an earlier run that has none: the effect may or may not have happened.
/// Returns how many there were.
pub fn close_orphans(history: &History, orphans: Vec<(Option<String>, String)>) -> usize {
    let count = orphans.len();
    for (session, call) in orphans {
        let detail = format!("the gate ended before an answer; found at {}", clock::stamp());
        let body = Body::Outcome {
            call,
            status: Status::Ambiguous,
            detail,
            bytes: 0,
            result: String::new(),
            ms: 0,
            confined: None,
            advice: Vec::new(),
        };
        history.note(session.as_deref(), body);
    }
    count
}
