//! Labels, and values that carry where they came from: nothing that comes back is plain data until it has been released.
//! Labels only join here; what lifts a single value is a recorded endorsement.

use crate::tool::ToolName;
use std::collections::BTreeSet;

/// A value with the operation it came from. The value can be read only by the filter.
#[must_use]
#[derive(Debug)]
pub struct Labeled<T> {
    value: T,
    source: ToolName,
}

impl<T> Labeled<T> {
    /// Labels what `source` answered.
    pub fn new(value: T, source: ToolName) -> Self {
        Self { value, source }
    }
    /// The operation it came from.
    pub fn source(&self) -> &ToolName {
        &self.source
    }
    /// Looks at what steers the protocol (a result's kind, a server's questions) before the filter has run.
    pub fn peek<R>(self, look: impl FnOnce(&T) -> R) -> (Self, R) {
        let seen = look(&self.value);
        (self, seen)
    }
    pub(crate) fn into_parts(self) -> (T, ToolName) {
        (self.value, self.source)
    }
}

/// Who could have written something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Integrity {
    /// The user, the operator, or a server they vouch for.
    #[default]
    Trusted,
    /// Anybody.
    Untrusted,
}

/// A label: who could have written something, and which compartments it may hold. Labels form a lattice; nothing lowers
/// the least trusted part of a join, and a value that is lifted is lifted by itself (`flow::Provenance::endorse`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    integrity: Integrity,
    compartments: BTreeSet<String>,
}

impl Label {
    /// The label of something written by `integrity` that may hold values of `compartments`.
    pub fn of(integrity: Integrity, compartments: impl IntoIterator<Item = String>) -> Self {
        Self { integrity, compartments: compartments.into_iter().collect() }
    }

    /// Who could have written it.
    pub fn integrity(&self) -> Integrity {
        self.integrity
    }

    /// What it may hold, in order.
    pub fn compartments(&self) -> impl Iterator<Item = &str> {
        self.compartments.iter().map(String::as_str)
    }

    /// The label of what is made of both: the least trusted writer, all compartments.
    pub fn join(mut self, other: &Self) -> Self {
        self.integrity = self.integrity.max(other.integrity);
        self.compartments.extend(other.compartments.iter().cloned());
        self
    }

    /// Whether what has this label may go where `other` is allowed: no less trusted, and into no compartment less.
    pub fn flows_to(&self, other: &Self) -> bool {
        self.integrity <= other.integrity && self.compartments.is_subset(&other.compartments)
    }
}
