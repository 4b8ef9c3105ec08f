//! The MCP adapter: serves both protocol eras, speaks both, and bridges all four pairs.
//! Every request that carries data goes through the pipeline; what the protocol itself needs is answered here.

pub mod bridge;
pub mod downstream;
mod elicit;
mod greet;
pub mod http;
pub mod link;
mod lists;
mod own;
mod parts;
mod quarantine;
mod serve;
mod shown;
mod spoken;
pub mod stdio;
pub mod upstream;

/// Refuses a message that is no JSON-RPC.
pub const PARSE_ERROR: i64 = -32700;
/// Refuses an envelope.
pub const INVALID_REQUEST: i64 = -32600;
/// Knows no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Refuses the parameters.
pub const INVALID_PARAMS: i64 = -32602;
/// Failed inside.
pub const INTERNAL_ERROR: i64 = -32603;
/// A header and the body disagree (MCP 2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// The version is not spoken here (MCP 2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;
/// The gate denied it. Outside the ranges JSON-RPC and MCP reserve.
pub const DENIED: i64 = -31_001;
