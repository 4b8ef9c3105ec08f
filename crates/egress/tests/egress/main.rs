//! Real clients go through to real upstreams on this host's loopback, and what must not go through does not. Nothing
//! here leaves this machine.

#![allow(clippy::unwrap_used, reason = "the test fails where the machine does")]

mod bodies;
mod client;
mod crowd;
mod known;
mod namespace;
mod refusals;
mod requests;
mod tools;
mod upstream;
mod websocket;
mod world;
