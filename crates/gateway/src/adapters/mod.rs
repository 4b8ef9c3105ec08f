//! Between a client's bytes and the pipeline: each adapter speaks one protocol and decides nothing.

pub(crate) mod api;
pub mod egress;
pub mod hook;
pub mod mcp;
