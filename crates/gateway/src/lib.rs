//! The enforcement point: everything between an agent's bytes and a tool's effect.
//! `pipeline` is the story; nothing in this crate acts on a tool except through it.

pub mod adapters;
pub(crate) mod alarms;
pub mod approvers;
mod arguments;
pub mod clock;
pub mod config;
pub mod console;
pub mod conversation;
pub mod facts;
pub mod gate;
pub mod history;
pub mod inventory;
pub mod launch;
pub(crate) mod ledger;
pub mod local;
pub(crate) mod marks;
pub mod people;
pub mod phases;
pub mod pipeline;
pub mod quarantine;
pub mod random;
pub mod receipt;
pub mod screen;
pub mod secrets;
pub mod session;
mod shown;
pub mod solo;
pub mod store;
pub mod tokens;
pub mod visible;
pub mod webhooks;
pub mod wire;
mod written;
