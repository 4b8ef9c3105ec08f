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
#[path = "egress/captured.rs"]
mod captured;
#[path = "egress/clients.rs"]
mod clients;
#[path = "egress/context.rs"]
mod context;
#[path = "egress/echo.rs"]
mod echo;
#[path = "egress/elsewhere.rs"]
mod elsewhere;
#[path = "egress/fronting.rs"]
mod fronting;
#[path = "egress/git.rs"]
mod git;
#[path = "egress/ground.rs"]
mod ground;
#[path = "egress/host.rs"]
mod host;
#[path = "egress/killed.rs"]
mod killed;
#[path = "egress/named.rs"]
mod named;
#[path = "egress/nowhere.rs"]
mod nowhere;
#[path = "egress/ordinary.rs"]
mod ordinary;
#[path = "egress/packages.rs"]
mod packages;
#[path = "egress/placements.rs"]
mod placements;
#[path = "egress/policy.rs"]
mod policy;
#[path = "egress/remote.rs"]
mod remote;
#[path = "egress/rotation.rs"]
mod rotation;
#[path = "egress/served.rs"]
mod served;
#[path = "egress/shell.rs"]
mod shell;
#[path = "egress/upstream.rs"]
mod upstream;
