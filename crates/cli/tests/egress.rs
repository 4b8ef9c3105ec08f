//! The only way out, attacked from inside by real programs, with a hostile upstream at its other end. Success is read from
//! what that upstream received and what came back inside, never from what an attack says of itself.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the test fails where the machine does; counts are for the reader"
)]

mod common;

#[path = "egress/canary.rs"]
mod canary;
#[path = "egress/elsewhere.rs"]
mod elsewhere;
#[path = "egress/ground.rs"]
mod ground;
#[path = "egress/upstream.rs"]
mod upstream;
