//! The judge: from a call to a decision to a permit, with no clock, file, socket, async or unsafe.
//! It never acts; whoever acts must hold what it returns.
//!
//! ```text
//! RawCall ─normalize► Request ─decide► Verdict ─course► Permit<Decided> ─recorded► Permit<Recorded>
//! ```

pub mod approval;
pub mod case;
pub mod digest;
pub mod filter;
pub mod flow;
pub mod label;
pub mod permit;
pub mod policy;
pub mod redteam;
pub mod request;
pub mod shape;
pub mod spotlight;
pub mod suspicion;
pub mod tool;
