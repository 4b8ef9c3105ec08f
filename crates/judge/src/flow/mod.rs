//! Where each value of a call came from, and whether that is good enough for what the value decides.
//! Nothing here guesses: after something untrusted was read, a value counts only where it is *found* among trusted ones.
//!
//! ```text
//! what the user says ─┐
//! what is configured ─┼► Provenance ─explain(tool, arguments)► Explained: a role, an origin and "fits" for each value
//! what tools answer  ─┘
//! ```
//!
//! The rule is positive endorsement: re-encoding, splitting or disguising a value gains an attacker nothing, because what is not
//! found is not trusted (after CaMeL, arXiv 2503.18813, and FIDES, arXiv 2505.23643, but without a plan and without a model).

mod described;
mod explain;
pub mod extract;
mod heard;
mod issued;
mod provenance;
mod review;
mod role;
mod seen;
mod word;
mod yaml;

pub use explain::{Explained, Origin, Value};
pub use heard::Known;
pub use provenance::{Provenance, Read};
pub use role::{Flow, Format, Reach, Role, Trust};
