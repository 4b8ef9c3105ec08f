//! One agent's session: who it is, how it came, in which phase it is.
//! What an agent says about itself is kept for the record and never used to decide.

use crate::conversation::Conversation;
use crate::screen::Hidden;
use judge::request::Principal;
use judge::spotlight::Marks;
use judge::tool::ToolName;
use std::sync::{Arc, Mutex, PoisonError};

/// A session.
pub struct Session {
    id: String,
    principal: Principal,
    transport: &'static str,
    phase: Mutex<String>,
    hidden: Hidden,
    conversation: Mutex<Arc<Conversation>>,
    marks: Marks,
}

impl Session {
    /// A session of `principal` over `transport` (`stdio`, `http`, `hook`, `local`), beginning in `phase`, as part of
    /// `conversation`.
    pub fn new(
        principal: Principal,
        transport: &'static str,
        phase: &str,
        conversation: Arc<Conversation>,
    ) -> Self {
        Self::named(crate::random::name("s"), principal, transport, phase, conversation)
    }

    /// The same under a given name.
    pub fn named(
        id: String,
        principal: Principal,
        transport: &'static str,
        phase: &str,
        conversation: Arc<Conversation>,
    ) -> Self {
        Self {
            id,
            principal,
            transport,
            phase: Mutex::new(phase.to_owned()),
            hidden: Hidden::new(),
            marks: Marks::new(&crate::random::bytes()),
            conversation: Mutex::new(conversation),
        }
    }

    /// The conversation it is part of.
    pub fn conversation(&self) -> Arc<Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes it part of `conversation`, as its adapter found out.
    pub fn join(&self, conversation: Arc<Conversation>) {
        *self.conversation.lock().unwrap_or_else(PoisonError::into_inner) = conversation;
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
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
