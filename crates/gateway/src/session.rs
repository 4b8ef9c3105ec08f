//! One agent's session: who it is, how it came, in which phase it is.
//! What an agent says about itself is kept for the record and never used to decide.

use crate::conversation::Conversation;
use crate::launch::Insider;
use crate::screen::Hidden;
use judge::approval::phase::NoMove;
use judge::request::Principal;
use judge::spotlight::Marks;
use judge::tool::ToolName;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A session.
pub struct Session {
    id: String,
    principal: Principal,
    transport: &'static str,
    /// The phase of the call that began it, for what runs on behalf of one call.
    phase: Option<String>,
    hidden: Hidden,
    conversation: Mutex<Arc<Conversation>>,
    /// The agent behind the wall at whose door it began.
    insider: OnceLock<Arc<Insider>>,
    marks: Marks,
}

impl Session {
    /// A session of `principal` over `transport` (`stdio`, `http`, `hook`, `local`), as part of `conversation`.
    pub fn new(principal: Principal, transport: &'static str, conversation: Arc<Conversation>) -> Self {
        Self::named(crate::random::name("s"), principal, transport, conversation)
    }

    /// The same under a given name.
    pub fn named(
        id: String,
        principal: Principal,
        transport: &'static str,
        conversation: Arc<Conversation>,
    ) -> Self {
        Self {
            id,
            principal,
            transport,
            phase: None,
            hidden: Hidden::new(),
            marks: Marks::new(&crate::random::bytes()),
            conversation: Mutex::new(conversation),
            insider: OnceLock::new(),
        }
    }

    /// The same for what one call judged in `phase` has running: it stays in that phase, and its calls are that call's.
    #[must_use]
    pub fn of_a_call(mut self, phase: &str) -> Self {
        self.phase = Some(phase.to_owned());
        self
    }

    /// The conversation it is part of.
    pub fn conversation(&self) -> Arc<Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes it part of `conversation`, as its adapter found out. Whoever is behind a wall stays in the one that belongs to its door.
    pub fn join(&self, conversation: Arc<Conversation>) {
        if self.insider.get().is_some() {
            return;
        }
        *self.conversation.lock().unwrap_or_else(PoisonError::into_inner) = conversation;
    }

    /// Makes it one of this agent's behind the wall, and part of its conversation, for good.
    pub fn begins_at(&self, insider: &Arc<Insider>) {
        self.join(insider.conversation().clone());
        drop(self.insider.set(insider.clone()));
    }

    /// The agent behind the wall at whose door it began.
    pub fn insider(&self) -> Option<&Arc<Insider>> {
        self.insider.get()
    }

    /// Its name in the journal.
    pub fn id(&self) -> &str {
        &self.id
    }
    /// Who acts.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
    /// How it came.
    pub fn transport(&self) -> &'static str {
        self.transport
    }
    /// The adapter that speaks this transport.
    pub fn adapter(&self) -> &'static str {
        match self.transport {
            "stdio" | "http" => "mcp",
            other => other,
        }
    }
    /// The phase in force.
    pub fn phase(&self) -> String {
        self.phase.clone().unwrap_or_else(|| self.conversation().phase())
    }

    /// Notes a permitted call that was judged in `phase`.
    ///
    /// # Errors
    /// That phase is over.
    pub fn spend_phase(&self, phase: &str, is_write: bool) -> Result<(), NoMove> {
        if self.phase.is_some() { Ok(()) } else { self.conversation().spend_phase(phase, is_write) }
    }

    /// What was taken out of the results it got.
    pub fn hidden(&self) -> &Hidden {
        &self.hidden
    }

    /// The marks between which results are shown to it.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// A call of this session's principal.
    pub fn call(&self, name: ToolName, arguments: judge::request::tree::Tree) -> judge::request::RawCall {
        judge::request::RawCall {
            principal: self.principal.clone(),
            name,
            arguments,
            beside: judge::request::tree::Tree::Null,
        }
    }
}
