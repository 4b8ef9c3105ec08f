//! One agent's session: who it is, how it came, in which phase it is, how fast it calls.
//! What an agent says about itself is kept for the record and never used to decide.

use judge::request::Principal;
use judge::tool::ToolName;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Calls remembered for the rate; faster sessions count as this many.
const CALLS_REMEMBERED_MAX: usize = 10_000;

/// A session.
pub struct Session {
    id: String,
    principal: Principal,
    transport: &'static str,
    phase: Mutex<String>,
    recent: Mutex<VecDeque<Instant>>,
}

impl Session {
    /// A session of `principal` over `transport` (`stdio`, `http`, `hook`, `local`), beginning in `phase`.
    pub fn new(principal: Principal, transport: &'static str, phase: &str) -> Self {
        Self::named(crate::random::name("s"), principal, transport, phase)
    }

    /// The same under a given name.
    pub fn named(id: String, principal: Principal, transport: &'static str, phase: &str) -> Self {
        Self { id, principal, transport, phase: Mutex::new(phase.to_owned()), recent: Mutex::default() }
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
        self.phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// A call of this session's principal.
    pub fn call(&self, name: ToolName, arguments: judge::request::tree::Tree) -> judge::request::RawCall {
        judge::request::RawCall { principal: self.principal.clone(), name, arguments }
    }

    /// Counts one call and returns how many there were in the last minute, this one included.
    pub fn count_call(&self) -> i64 {
        let mut recent = self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        while recent.front().is_some_and(|at| now.duration_since(*at) > Duration::from_secs(60)) {
            recent.pop_front();
        }
        if recent.len() < CALLS_REMEMBERED_MAX {
            recent.push_back(now);
        }
        i64::try_from(recent.len()).unwrap_or(i64::MAX)
    }
}
