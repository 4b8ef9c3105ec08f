//! Which system calls a confined program may make: reviewed data (`x86_64.rules`), judged by the kernel before each call.
//! Nothing here decides what a call may reach; that is the work of the namespaces, the root and Landlock.

mod names;
mod oci;
mod parse;
mod program;
mod rules;
#[cfg(test)]
mod tests;

pub use parse::{Cause, Malformed};
pub use program::{INSTRUCTIONS_MAX, Instruction, load};
pub use rules::{Action, Clause, Condition, Rules, Syscall, Test};
