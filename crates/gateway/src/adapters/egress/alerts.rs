//! What was refused on the way out, said where people look: once in the same words, afterwards only counted.
//! A program that knocks all day fills no journal.

use crate::gate::Gate;
use crate::wire::record::Body;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Different words of one sandbox that are recorded.
const DIFFERENT_MAX: usize = 256;

/// The alerts of one sandbox.
pub(super) struct Alerts {
    gate: Arc<Gate>,
    session: String,
    from: String,
    said: Mutex<HashSet<String>>,
}

impl Alerts {
    pub(super) fn new(gate: Arc<Gate>, session: &str, from: &str) -> Self {
        Self { gate, session: session.to_owned(), from: from.to_owned(), said: Mutex::default() }
    }

    /// Records that `rule` was broken, and how.
    pub(super) fn raise(&self, rule: &str, detail: &str) {
        self.gate.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= DIFFERENT_MAX || !said.insert(detail.to_owned()) {
            return;
        }
        let detail = format!("{}: {detail}", self.from);
        tracing::warn!("{rule}: {detail}");
        let body = Body::Alert { rule: rule.to_owned(), detail, call: String::new() };
        self.gate.history.note(Some(&self.session), body);
    }
}
