//! The gate's mutable state: approvals, grants that stand, phases, people, and where the journal stood at the last start.
//! What must never be lost is in the journal, not here; what somebody else changes here is noticed and counts for nothing.

mod approvals;
pub(crate) mod people;
mod phases;
mod seal;
mod sqlite;
mod standing;

pub use sqlite::{Store, StoreError};
