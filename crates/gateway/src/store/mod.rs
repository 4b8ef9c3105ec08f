//! The gate's mutable state: approvals, grants that stand, phases, people, and where the journal stood at the last start.
//! What must never be lost or changed is in the journal, not here.

mod approvals;
pub(crate) mod people;
mod phases;
mod sqlite;
mod standing;

pub use sqlite::{Store, StoreError};
