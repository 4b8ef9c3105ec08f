//! What an agent may do now: conversations go to a narrower phase freely, and to a wider one only as somebody granted, which is
//! recorded first. Nothing here decides who may grant.

use crate::clock;
use crate::conversation::Conversation;
use crate::facts::Scene;
use crate::gate::Gate;
use crate::session::Session;
use crate::store::StoreError;
use crate::wire::control::Phases;
use crate::wire::record::Body;
use judge::approval::phase::NoMove;
use judge::flow::Provenance;
use judge::tool::{OWN, PHASE, ToolName};
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
