//! Asks a person and waits: one question per request, whoever asks again joins it, an answer is spent once.
//! The agent's side can only wait here; answers come over the operator's channel.

use crate::clock;
use crate::history::{History, NotRecorded};
use crate::store::{Store, StoreError};
use crate::wire::control::Approval;
use crate::wire::record::Body;
use judge::approval::{Event, Grant};
use judge::permit::Pending;
use judge::request::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Addresses named in a question, entries.
const LEAKS_SHOWN_MAX: usize = 8;

/// Why there is no grant.
#[derive(Debug, thiserror::Error)]
pub enum NoGrant {
    /// Someone said no.
    #[error("{by} refused it{}", if reason.is_empty() { String::new() } else { format!(": {reason}") })]
    Refused {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Nobody answered in time.
    #[error(
        "nobody answered approval {id} within {seconds} s; an operator can still grant it for the same call"
    )]
    Unanswered {
        /// Which approval.
        id: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It could not be asked, stored or spent.
    #[error("the approval could not be used: {0}")]
    Unusable(#[from] StoreError),
    /// The question could not be recorded.
    #[error(transparent)]
    NotRecorded(#[from] NotRecorded),
}

/// The approvals of one gate.
pub struct Approvers {
    store: Arc<Store>,
    history: Arc<History>,
    /// Counts answers; whoever waits looks again when it changes.
    answers: watch::Sender<u64>,
    /// One answer at a time, so that the journal and the state tell the same story.
    answering: tokio::sync::Mutex<()>,
    /// How long a call waits for an answer.
    wait: Duration,
    /// How long an approval stays open, in seconds.
    open_seconds: i64,
}

/// Addresses in the call that seem to carry data out, in words.
fn carried(request: &Request) -> String {
    let mut said = String::new();
    for leak in request.leaks().iter().take(LEAKS_SHOWN_MAX) {
        let (offer, carrier) = (leak.offer.word(), leak.carrier.word());
        said.push_str(&format!("; it may carry data out to {} ({offer}, in its {carrier})", leak.host));
    }
    said
}

impl Approvers {
    /// Approvals in `store`, recorded in `history`; a call waits for `wait`, a question stays open for `open_seconds`.
    pub fn new(store: Arc<Store>, history: Arc<History>, wait: Duration, open_seconds: i64) -> Self {
        Self {
            store,
            history,
            answers: watch::Sender::new(0),
            answering: tokio::sync::Mutex::default(),
            wait,
            open_seconds,
        }
    }

    /// Asks about `pending` and waits for the answer; a grant given earlier for the same request is spent at once.
    ///
    /// # Errors
    /// [`NoGrant`], which is a denial.
    pub async fn ask(
        &self,
        session: &str,
        call: &str,
        pending: &Pending,
    ) -> Result<(String, Grant), NoGrant> {
        let mut answers = self.answers.subscribe();
        let (request, verdict) = (pending.request(), pending.verdict());
        let now = clock::seconds();
        let fresh = Approval {
            id: crate::random::name("a"),
            state: "pending".to_owned(),
            agent: request.principal().agent.clone(),
            user: request.principal().user.clone(),
            tool: request.tool().name.to_string(),
            cwd: request.cwd().to_string(),
            arguments: serde_json::from_str(&request.arguments().canonical()).unwrap_or_default(),
            why: format!("{verdict}{}", carried(request)),
            request_digest: request.digest().to_owned(),
            policy_digest: verdict.policy_digest().to_owned(),
            asked_at: now,
            expires_at: now + self.open_seconds,
            answered_by: String::new(),
            reason: String::new(),
        };
        let (asked, is_new) = self.store.ask(fresh, now)?;
        if is_new {
            let Approval { id, tool, request_digest, policy_digest, expires_at, .. } = asked.clone();
            let asked = Body::Asked {
                approval: id.clone(),
                call: call.to_owned(),
                tool,
                request: request_digest,
                policy: policy_digest,
                expires_at,
            };
            if let Err(error) = self.history.record(Some(session), asked).await {
                // A question that is not in the journal must not be answerable.
                self.store.step(&id, Event::Withdraw, clock::seconds())?;
                return Err(error.into());
            }
        }
        let deadline = tokio::time::Instant::now() + self.wait;
        loop {
            let approval = self.store.approval(&asked.id, clock::seconds())?;
            match approval.state.as_str() {
                "granted" => {
                    let grant = self.store.spend(
                        &asked.id,
                        request.digest(),
                        verdict.policy_digest(),
                        clock::seconds(),
                    )?;
                    return Ok((asked.id, grant));
                }
                "refused" => {
                    return Err(NoGrant::Refused { by: approval.answered_by, reason: approval.reason });
                }
                "pending" => {}
                _ => return Err(NoGrant::Unanswered { id: asked.id, seconds: self.wait.as_secs() }),
            }
            if tokio::time::timeout_at(deadline, answers.changed()).await.is_err() {
                return Err(NoGrant::Unanswered { id: asked.id, seconds: self.wait.as_secs() });
            }
        }
    }

    /// Every approval kept, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(&self) -> Result<Vec<Approval>, StoreError> {
        self.store.approvals(clock::seconds())
    }

    /// One approval.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn show(&self, id: &str) -> Result<Approval, StoreError> {
        self.store.approval(id, clock::seconds())
    }

    /// Answers an approval; the answer is recorded before anyone who waits can use it.
    ///
    /// # Errors
    /// [`NoGrant::Unusable`] when it is answered or lapsed already, [`NoGrant::NotRecorded`].
    pub async fn answer(&self, id: &str, event: Event) -> Result<Approval, NoGrant> {
        let (answer, by, reason) = match &event {
            Event::Grant { by } => ("grant", by.clone(), String::new()),
            Event::Refuse { by, reason } => ("refuse", by.clone(), reason.clone()),
            Event::Withdraw => ("withdraw", String::new(), String::new()),
            Event::Tick => ("tick", String::new(), String::new()),
        };
        let _one_at_a_time = self.answering.lock().await;
        // Looking first keeps answers to unknown or closed approvals out of the journal.
        let now = clock::seconds();
        let approval = self.store.approval(id, now)?;
        if approval.state != "pending" {
            return Ok(self.store.step(id, event, now)?);
        }
        self.history
            .record(None, Body::Answered { approval: id.to_owned(), answer: answer.to_owned(), by, reason })
            .await?;
        let approval = self.store.step(id, event, clock::seconds())?;
        self.answers.send_modify(|count| *count += 1);
        Ok(approval)
    }

    /// Stores an already granted approval: a call that was approved goes on in its next round, which is recognised by
    /// what the server gave it to bring back (`beside`), under the same grant.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn carry_over(
        &self,
        request: &judge::request::Request,
        beside: &judge::request::tree::Tree,
        policy_digest: &str,
        by: &str,
    ) -> Result<(), StoreError> {
        let now = clock::seconds();
        let approval = Approval {
            id: crate::random::name("a"),
            state: "granted".to_owned(),
            agent: request.principal().agent.clone(),
            user: request.principal().user.clone(),
            tool: request.tool().name.to_string(),
            cwd: request.cwd().to_string(),
            arguments: serde_json::from_str(&request.arguments().canonical()).unwrap_or_default(),
            why: "the same call goes on with the answers it asked for".to_owned(),
            request_digest: request.digest_beside(beside),
            policy_digest: policy_digest.to_owned(),
            asked_at: now,
            expires_at: now + self.open_seconds,
            answered_by: by.to_owned(),
            reason: String::new(),
        };
        let (id, by) = (approval.id.clone(), approval.answered_by.clone());
        self.store.ask(approval, now)?;
        let reason = "carried over to the call's next round".to_owned();
        self.history.note(None, Body::Answered { approval: id, answer: "grant".to_owned(), by, reason });
        Ok(())
    }
}
