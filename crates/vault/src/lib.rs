//! The only home of plaintext secrets: where they come from, where they may be put, and what to look for so that they
//! are seen nowhere else. A value leaves only inside a request that its binding covers, or to a closure that is shown it.
//!
//! - [`Store`] keeps values encrypted; [`Source`] says where else they come from; [`Vault`] holds them by name.
//! - [`Logins`] signs in to remote MCP servers and keeps their tokens.
//! - [`Wallet`] is what one sandbox has: placeholders inside, values put in at the last hop.
//!
//! What cannot be promised: the HTTP stack and the TLS library keep copies of what they send, in buffers that nobody
//! wipes. [`undumpable`] keeps those out of core dumps.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod binding;
mod disk;
mod encode;
mod error;
#[cfg(test)]
#[path = "tests/fixture.rs"]
mod fixture;
mod jwt;
mod keeper;
mod lease;
mod login;
mod mint;
mod name;
mod net;
mod placeholder;
mod secret;
mod sigv4;
mod source;
mod store;
mod wallet;

pub use binding::{
    BadBinding, BasicUser, Binding, Capture, Destination, HostPattern, Mismatch, PathPattern, Place,
    normal_path,
};
pub use disk::DiskError;
pub use error::SecretError;
pub use keeper::{GRACE_SECONDS, Vault};
pub use lease::Held;
pub use login::{
    Attempt, Bearer, Challenge, Forgotten, Found, LOGIN_PREFIX, Login, LoginError, Logins, Preset, Resource,
    SCOPES_BYTES_MAX, SignedIn, scopes,
};
pub use mint::{AssumeRole, ClientAuth, GitHubApp, Issuer, OAuth, OAuthClient, OAuthGrant, TokenType};
pub use name::{BadName, NAME_BYTES_MAX, SecretName};
pub use placeholder::PLACEHOLDER_VALUE_BYTES_MIN;
pub use secret::{BadLength, SECRET_BYTES_MAX, Secret, undumpable};
pub use source::{Engine, Origin, Source, VaultSource};
pub use store::{Entry, Store, StoreError, Stored, Unlock, VERSION_ENTRIES_MAX, Version};
pub use wallet::{
    BODY_FIELD_BYTES_MAX, BodyPass, CAPTURED_ENTRIES_MAX, CaptureBody, Coding, FillError, GRANT_ENTRIES_MAX,
    Grant, Guarded, Look, Misuse, Unpacking, Unread, Used, UsedSecret, Wallet, Why,
};
