//! What an agent may do now: conversations go to a narrower phase freely, and to a wider one only as somebody granted, which is
//! recorded first. Nothing here decides who may grant.

use crate::clock;
use crate::conversation::Conversation;
use crate::facts::Scene;
use crate::gate::Gate;
use crate::pipeline::{self, Stop};
use crate::receipt::{Failed, Output};
use crate::session::Session;
use crate::store::StoreError;
use crate::wire::control::Phases;
use crate::wire::record::{Body, Status};
use judge::approval::phase::NoMove;
use judge::filter::Rewritable;
use judge::flow::Provenance;
use judge::label::Labeled;
use judge::request::RawCall;
use judge::spotlight::{Leaf, Speaks};
use judge::tool::{Inventory, OWN, PHASE, ToolName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name policies know it by.
pub fn name() -> ToolName {
    ToolName { server: OWN.to_owned(), tool: PHASE.to_owned() }
}

/// Why a conversation stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum NotMoved {
    /// There is no such phase, or it is wider.
    #[error(transparent)]
    NoMove(#[from] NoMove),
    /// It could not be recorded.
    #[error(transparent)]
    NotRecorded(#[from] crate::history::NotRecorded),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none of this name, or none at all, or several.
    #[error("{0}")]
    Which(String),
}

/// Why an agent that asked is not in another phase.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unmoved {
    /// There is no such phase.
    #[error(transparent)]
    Unknown(NoMove),
    /// Policy or a person said no, or nobody has answered yet.
    #[error("{0:?}")]
    Stopped(Stop),
    /// It could not be recorded or kept.
    #[error(transparent)]
    Failed(NotMoved),
}

/// Takes an agent's conversation to the phase `to`: at once where that permits no more, and else as `call`, a call of [`name`], is
/// decided like any other.
///
/// # Errors
/// [`Unmoved`].
pub(crate) async fn go(
    gate: &Arc<Gate>,
    session: &Session,
    to: &str,
    call: RawCall,
    scene: &Scene,
) -> Result<(), Unmoved> {
    let conversation = session.conversation();
    match gate.narrow(&conversation, to, &session.principal().agent).await {
        Ok(()) => return Ok(()),
        Err(NotMoved::NoMove(NoMove::Wider(..))) => {}
        Err(NotMoved::NoMove(error)) => return Err(Unmoved::Unknown(error)),
        Err(error) => return Err(Unmoved::Failed(error)),
    }
    let (widening, to) = (gate.clone(), to.to_owned());
    let moved = pipeline::call(gate, session, call, scene, |permit| async move {
        let by = permit.granted_by().unwrap_or("policy").to_owned();
        let failed = |error: NotMoved| Failed::new(Status::Failed, error.to_string());
        widening.widen(&conversation, &to, &by, (None, None)).await.map_err(failed)?;
        let stands = serde_json::to_string(&conversation.phase_now()).unwrap_or_default();
        Ok(Labeled::new(Moved(stands), name()))
    });
    moved.await.map(drop).map_err(Unmoved::Stopped)
}

/// Where a conversation stands, in JSON: the gate's own words.
#[derive(Debug)]
struct Moved(String);

impl AsRef<[u8]> for Moved {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Rewritable for Moved {
    const SEARCHED: bool = true;

    fn with_text(self, text: Vec<u8>) -> Option<Self> {
        String::from_utf8(text).ok().map(Self)
    }
}

impl Speaks for Moved {
    fn spoken(self, _: &mut dyn FnMut(Leaf, &str) -> Option<String>) -> Self {
        self
    }
}

impl Output for Moved {
    fn read_into(&self, _: &Conversation, _: &Inventory, _: &ToolName) {}
}

impl Gate {
    /// Puts `conversation` into a phase that permits no more than the one in force.
    ///
    /// # Errors
    /// [`NotMoved`].
    pub async fn narrow(&self, conversation: &Conversation, to: &str, by: &str) -> Result<(), NotMoved> {
        let from = conversation.phase();
        // First narrower, then written down: nothing may run in between as if it were not.
        conversation.narrow(to)?;
        let then = conversation.phase_now().then;
        self.conversations.remember(conversation.name(), &then);
        self.approvers.store().narrow(conversation.name(), &then, clock::seconds())?;
        self.record_phase(conversation, from, to, by, (None, None)).await
    }

    /// Puts `conversation` into the phase `to` for a while, as `by` granted.
    ///
    /// # Errors
    /// [`NotMoved`].
    pub async fn widen(
        &self,
        conversation: &Conversation,
        to: &str,
        by: &str,
        limits: (Option<i64>, Option<u32>),
    ) -> Result<(), NotMoved> {
        self.conversations.ladder().rung(to)?;
        self.record_phase(conversation, conversation.phase(), to, by, limits).await?;
        Ok(conversation.widen(to, limits.0, limits.1)?)
    }

    async fn record_phase(
        &self,
        conversation: &Conversation,
        from: String,
        to: &str,
        by: &str,
        (seconds, writes): (Option<i64>, Option<u32>),
    ) -> Result<(), NotMoved> {
        let moved = Body::Phase {
            conversation: conversation.name().to_owned(),
            from,
            to: to.to_owned(),
            by: by.to_owned(),
            seconds,
            writes,
        };
        Ok(self.history.record(None, moved).await.map(|_| ())?)
    }

    /// The open conversation called `name`, or the only one.
    ///
    /// # Errors
    /// [`NotMoved::Which`].
    pub fn conversation(&self, name: Option<&str>) -> Result<Arc<Conversation>, NotMoved> {
        let mut open = self.conversations.all();
        match name {
            Some(name) => self.conversations.find(name).ok_or_else(|| {
                NotMoved::Which(format!(
                    "no conversation `{name}` is open; `bailiwick phase status` lists them"
                ))
            }),
            None if open.len() == 1 => Ok(open.remove(0)),
            None if open.is_empty() => Err(NotMoved::Which("no conversation is open".to_owned())),
            None => Err(NotMoved::Which(format!(
                "{} conversations are open; say which with --conversation (`bailiwick phase status` lists them)",
                open.len()
            ))),
        }
    }

    /// Where `conversations` stand and what is possible there.
    pub fn phases(self: &Arc<Self>, conversations: &[Arc<Conversation>]) -> Phases {
        let mut possible = BTreeMap::new();
        for conversation in conversations {
            possible.entry(conversation.phase()).or_insert_with(|| self.possible(conversation));
        }
        Phases {
            phases: self.conversations.ladder().names().map(str::to_owned).collect(),
            conversations: conversations.iter().map(|conversation| conversation.phase_now()).collect(),
            possible,
        }
    }

    /// What each operation could come to now, at best; without those that are denied whatever they are called with.
    fn possible(self: &Arc<Self>, conversation: &Arc<Conversation>) -> BTreeMap<String, String> {
        let session = Session::new(self.principal(), "local", conversation.clone());
        let scene = Scene::default();
        let facts = scene.look(self, &session);
        let facts = facts.borrow(Provenance::blank());
        let rules = self.rules();
        let at_best = |tool| rules.policy.at_best(tool, session.principal(), &facts);
        let operations =
            rules.inventory.tools().map(|tool| (tool.name.to_string(), at_best(tool).to_string()));
        operations.filter(|(_, decision)| decision != "deny").collect()
    }
}
