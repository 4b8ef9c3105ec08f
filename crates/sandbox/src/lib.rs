//! Profile in, confined process out. This crate is the only home of `unsafe`, and it knows nothing of policy, tools or
//! secrets: it makes a wall, says which layers of it hold, and leaves nothing behind.

pub mod layer;
pub mod native;
pub mod oci;
pub mod overlay;
pub mod profile;
pub mod protect;
pub mod runtimes;
pub mod seccomp;
mod sys;
mod view;
pub mod warden;

pub use layer::{Layer, Layers, Unenforceable};
pub use native::{Outcome, RunError, Sandbox, Standard};
pub use profile::{Command, End, Home, Limit, Limits, Mode, Network, Profile, System, Workspace};
pub use protect::give_back;
pub use view::ViewError;
pub use warden::pass;
