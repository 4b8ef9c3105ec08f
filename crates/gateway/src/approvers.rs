//! Asks a person and waits: one question per request, whoever asks again joins it, an answer is spent once.
//! The agent's side can only wait here; answers come over the operator's channel.

use crate::clock;
use crate::facts::Patience;
use crate::history::{History, NotRecorded};
use crate::store::{Store, StoreError};
use crate::wire::approval::{Approval, BadScope, Shown, Standing, Wanted};
use crate::wire::record::Body;
use judge::approval::{Approver, Event, Grant};
use judge::permit::Pending;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// Bells kept before those that nobody holds are thrown away, entries.
const BELLS_ENTRIES_MAX: usize = 4_096;

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
    /// Nobody has answered yet, and the call comes back.
    #[error("approval {id} waits for an answer")]
    Deferred {
        /// Which approval.
        id: String,
    },
    /// It could not be asked, stored or spent.
    #[error("the approval could not be used: {0}")]
    Unusable(#[from] StoreError),
    /// More is wanted than can be granted.
    #[error(transparent)]
    Scope(#[from] BadScope),
    /// The question could not be recorded.
    #[error(transparent)]
    NotRecorded(#[from] NotRecorded),
}

/// The approvals of one gate.
pub struct Approvers {
    store: Arc<Store>,
    history: Arc<History>,
    /// Counts questions and answers, for whoever shows them.
    changes: watch::Sender<u64>,
    /// What rings for those who wait for one approval, and for nobody else: a thousand wait without waking each other.
    bells: Mutex<HashMap<String, Weak<watch::Sender<()>>>>,
    /// One answer at a time, so that the journal and the state tell the same story.
    answering: tokio::sync::Mutex<()>,
    /// How long a call waits for an answer.
    wait: Duration,
    /// How long an approval stays open, in seconds.
    open_seconds: i64,
}

/// Somebody who answers, and how it is known who that is. Only a channel makes one.
#[derive(Clone, Debug)]
pub struct By {
    /// Who.
    pub who: Approver,
    /// Over which channel: `terminal`, `console`, `webhook`, `token`, `client`.
    pub channel: &'static str,
}

/// What a standing grant rests on; the record names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Basis<'a> {
    /// The answer to this approval.
    Approval(&'a str),
    /// This token.
    Token(&'a str),
}

/// What an approver says.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Yes.
    Grant {
        /// And to more calls like it, where wanted.
        more: Option<Wanted>,
    },
    /// No.
    Refuse {
        /// What the agent is told.
        reason: String,
    },
    /// Somebody else shall say.
    Leave {
        /// Who, by name.
        to: String,
    },
    /// What was asked or granted is taken back.
    Withdraw,
}

impl Approvers {
    /// Approvals in `store`, recorded in `history`; a call waits for `wait`, a question stays open for `open_seconds`.
    pub fn new(store: Arc<Store>, history: Arc<History>, wait: Duration, open_seconds: i64) -> Self {
        Self {
            store,
            history,
            changes: watch::Sender::new(1),
            bells: Mutex::default(),
            answering: tokio::sync::Mutex::default(),
            wait,
            open_seconds,
        }
    }

    /// Whether a call of `user` to the receiver `value` was never approved before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_first_seen(&self, user: &str, value: &str) -> Result<bool, StoreError> {
        self.store.is_first_seen(user, value)
    }

    /// Uses a grant that stands and covers `pending`, if there is one. The use is durable before it counts; what was decided
    /// is recorded with the grant's id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn standing_for(
        &self,
        pending: &Pending,
        phase: &str,
    ) -> Result<Option<(String, Grant)>, StoreError> {
        self.store.spend_standing(pending, phase, clock::seconds())
    }

    /// Asks about `pending` and waits for the answer; a grant given earlier for the same request is spent at once. A call that is
    /// deferred does not wait, and finds the answer when it comes back.
    ///
    /// # Errors
    /// [`NoGrant`], which is a denial.
    pub async fn ask(
        &self,
        session: &str,
        call: &str,
        pending: &Pending,
        shown: Shown,
        patience: Patience,
    ) -> Result<(String, Grant), NoGrant> {
        let (request, verdict) = (pending.request(), pending.verdict());
        let now = clock::seconds();
        if patience == Patience::Defer
            && let Some((by, reason)) =
                self.store.refused(&shown.client_call, request.digest(), verdict.policy_digest())?
        {
            return Err(NoGrant::Refused { by, reason });
        }
        let fresh = Approval {
            session: session.to_owned(),
            why: verdict.to_string(),
            policy_digest: verdict.policy_digest().to_owned(),
            approvers: verdict.approvers(),
            shown,
            ..self.of(request, now)
        };
        let (asked, is_new) = self.store.ask(fresh, now)?;
        let bell = self.bell(&asked.id);
        let mut answers = bell.subscribe();
        if is_new {
            let shown = asked.question();
            let Approval { id, tool, request_digest, policy_digest, expires_at, .. } = asked.clone();
            let asked = Body::Asked {
                approval: id.clone(),
                call: call.to_owned(),
                tool,
                request: request_digest,
                policy: policy_digest,
                expires_at,
                shown,
            };
            if let Err(error) = self.history.record(Some(session), asked).await {
                // A question that is not in the journal must not be answerable.
                self.store.step(&id, Event::Withdraw, clock::seconds())?;
                self.ring(&id);
                return Err(error.into());
            }
            self.changed();
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
                "pending" if patience == Patience::Defer => return Err(NoGrant::Deferred { id: asked.id }),
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

    /// What waits for an answer and was asked over this session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn waiting_of(&self, session: &str) -> Result<Vec<Approval>, StoreError> {
        self.store.waiting_of(session, clock::seconds())
    }

    /// One approval.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn show(&self, id: &str) -> Result<Approval, StoreError> {
        self.store.approval(id, clock::seconds())
    }

    /// Where approvals, grants and phases are kept.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Tells of every question and answer.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What rings when this approval is answered, for as long as somebody holds it.
    fn bell(&self, id: &str) -> Arc<watch::Sender<()>> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(id).and_then(Weak::upgrade) {
            return bell;
        }
        if bells.len() >= BELLS_ENTRIES_MAX {
            bells.retain(|_, bell| bell.strong_count() > 0);
        }
        let bell = Arc::new(watch::Sender::new(()));
        bells.insert(id.to_owned(), Arc::downgrade(&bell));
        bell
    }

    fn ring(&self, id: &str) {
        let bell = self.bells.lock().unwrap_or_else(PoisonError::into_inner).get(id).and_then(Weak::upgrade);
        if let Some(bell) = bell {
            bell.send_replace(());
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Every grant that stands or stood, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn standing(&self) -> Result<Vec<Standing>, StoreError> {
        self.store.standing(clock::seconds())
    }

    /// Takes in an answer to the approval `id`; it is recorded before anyone who waits can use it.
    ///
    /// # Errors
    /// [`NoGrant::Unusable`] when it is answered or lapsed already, is somebody else's to answer, or more is wanted than can be
    /// granted; [`NoGrant::NotRecorded`].
    pub async fn answer(&self, id: &str, answer: Answer, by: By) -> Result<Approval, NoGrant> {
        let _one_at_a_time = self.answering.lock().await;
        let now = clock::seconds();
        let approval = self.store.approval(id, now)?;
        let By { who, channel } = by;
        let Approver { name, identity } = who.clone();
        let (word, reason, event, more) = match answer {
            Answer::Grant { more } => {
                let more = more.map(|wanted| approval.scope(&wanted, now).map(|scope| (wanted, scope)));
                ("grant", String::new(), Event::Grant { by: who }, more.transpose()?)
            }
            Answer::Refuse { reason } => ("refuse", reason.clone(), Event::Refuse { by: who, reason }, None),
            Answer::Leave { to } => ("leave", format!("left to {to}"), Event::Leave { by: who, to }, None),
            Answer::Withdraw => ("withdraw", String::new(), Event::Withdraw, None),
        };
        // Looking first keeps answers to unknown or closed approvals out of the journal.
        self.store.would_step(id, event.clone(), now)?;
        let answered = Body::Answered {
            approval: id.to_owned(),
            answer: word.to_owned(),
            by: name.clone(),
            reason,
            channel: channel.to_owned(),
            identity,
        };
        self.history.record(None, answered).await?;
        if let Some((wanted, scope)) = more {
            let standing = Standing {
                id: crate::random::name("g"),
                state: "active".to_owned(),
                by: name,
                channel: channel.to_owned(),
                scope,
                left: wanted.uses,
                given_at: now,
                used_at: now,
            };
            self.stand(standing, Basis::Approval(id)).await?;
        }
        let approval = self.store.step(id, event, clock::seconds())?;
        self.ring(id);
        self.changed();
        Ok(approval)
    }

    /// Takes in a grant that stands, recorded before it can be used. One that is known already is returned as it stands.
    ///
    /// # Errors
    /// [`NoGrant::Unusable`], [`NoGrant::NotRecorded`].
    pub(crate) async fn stand(&self, standing: Standing, basis: Basis<'_>) -> Result<Standing, NoGrant> {
        if let Some(known) = self.store.standing_of(&standing.id, clock::seconds())? {
            return Ok(known);
        }
        let (approval, token) = match basis {
            Basis::Approval(id) => (id, ""),
            Basis::Token(text) => ("", text),
        };
        let granted = Body::Granted {
            grant: standing.id.clone(),
            by: standing.by.clone(),
            channel: standing.channel.clone(),
            uses: standing.left,
            scope: serde_json::to_value(&standing.scope).unwrap_or_default(),
            approval: approval.to_owned(),
            token: token.to_owned(),
        };
        self.history.record(None, granted).await?;
        let standing = self.store.stand(&standing, clock::seconds())?;
        self.changed();
        Ok(standing)
    }

    /// Keeps a grant that is over before it began, so that one of its id is never taken in.
    ///
    /// # Errors
    /// [`NoGrant::NotRecorded`], or what the store says.
    pub async fn forestall(&self, over: Standing, by: By) -> Result<(), NoGrant> {
        let kept = self.store.stand(&over, clock::seconds())?;
        if kept.state != over.state {
            // It was taken in a moment ago.
            return Box::pin(self.withdraw(&over.id, by)).await;
        }
        self.withdrawn(over.id, by).await
    }

    /// Takes back a standing grant, or an approval that was not used.
    ///
    /// # Errors
    /// [`NoGrant::Unusable`] for one that is over or unknown, [`NoGrant::NotRecorded`].
    pub async fn withdraw(&self, id: &str, by: By) -> Result<(), NoGrant> {
        let now = clock::seconds();
        if self.store.standing_of(id, now)?.is_none() {
            return self.answer(id, Answer::Withdraw, by).await.map(|_| ());
        }
        // What is taken back is gone before it is written down: nothing may use it in between.
        self.store.withdraw_standing(id, now)?;
        self.withdrawn(id.to_owned(), by).await
    }

    async fn withdrawn(&self, grant: String, by: By) -> Result<(), NoGrant> {
        self.changed();
        let withdrawn = Body::Withdrawn { grant, by: by.who.name, channel: by.channel.to_owned() };
        Ok(self.history.record(None, withdrawn).await.map(|_| ())?)
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
            state: "granted".to_owned(),
            why: "the same call goes on with the answers it asked for".to_owned(),
            request_digest: request.digest_beside(beside),
            policy_digest: policy_digest.to_owned(),
            answered_by: by.to_owned(),
            ..self.of(request, now)
        };
        let (id, by) = (approval.id.clone(), approval.answered_by.clone());
        self.store.ask(approval, now)?;
        let reason = "carried over to the call's next round".to_owned();
        let (answer, channel, identity) = ("grant".to_owned(), "carried".to_owned(), String::new());
        self.history.note(None, Body::Answered { approval: id, answer, by, reason, channel, identity });
        Ok(())
    }

    /// A question about `request`, asked at `now`.
    fn of(&self, request: &judge::request::Request, now: i64) -> Approval {
        Approval {
            id: crate::random::name("a"),
            state: "pending".to_owned(),
            session: String::new(),
            agent: request.principal().agent.clone(),
            user: request.principal().user.clone(),
            tool: request.tool().name.to_string(),
            cwd: request.cwd().to_string(),
            arguments: serde_json::from_str(&request.arguments().canonical()).unwrap_or_default(),
            why: String::new(),
            request_digest: request.digest().to_owned(),
            policy_digest: String::new(),
            asked_at: now,
            expires_at: now + self.open_seconds,
            approvers: 1,
            consents: Vec::new(),
            left_to: String::new(),
            shown: Shown::default(),
            answered_by: String::new(),
            reason: String::new(),
        }
    }
}
