//! The gate's mutable state: approvals and where the journal stood at the last start.
//! What must never be lost or changed is in the journal, not here.

mod sqlite;

pub use sqlite::{Store, StoreError};
