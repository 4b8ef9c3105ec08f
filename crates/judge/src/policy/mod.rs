//! The policy decision point: loads Cedar policies against the reviewed inventory and decides on requests.
//! This is the only user of Cedar, the empty policy denies everything, and an error while deciding is a denial.

mod decide;
mod explain;
mod load;
mod schema;
pub mod suggest;

pub use decide::{Decision, Verdict};
pub use explain::Nearest;
pub use load::{Fault, LoadError, POLICY_BYTES_MAX, Policy, Source};
