//! Signing in to remote MCP servers as an OAuth client (MCP authorization, 2025-06-18 to 2026-07-28). Tokens are kept in the
//! encrypted store, renewed before they end, and given out as one header value for one server; nobody else's token ever
//! passes here.
//!
//! - [`Resource`] is the server signed in to, [`Challenge`] what it says when it wants a token.
//! - [`Logins`] discovers, signs in, renews and forgets; [`Attempt`] is one sign-in between its address and its answer.

mod address;
mod attempt;
mod challenge;
mod client;
mod discover;
mod error;
mod keep;
mod metadata;
mod record;
mod renew;
mod seen;
mod tokens;

pub use address::Resource;
pub use attempt::Attempt;
pub use challenge::{Challenge, SCOPES_BYTES_MAX, scopes};
pub use discover::Found;
pub use error::LoginError;
pub use keep::{Bearer, Forgotten, Logins, SignedIn};

use crate::name::SecretName;

/// What precedes a server's name in the name of its login. No other secret may be called so.
pub const LOGIN_PREFIX: &str = "oauth.";

/// Where one server's login is kept, and how it is obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The server's name in the configuration.
    pub server: String,
    /// The server itself: its tokens go nowhere else.
    pub resource: Resource,
    /// The only authorization server to sign in at; whichever the server names when absent.
    pub issuer: Option<String>,
    /// Who the gate is to that authorization server.
    pub client: Preset,
    /// What to ask for; what the server asks for when empty.
    pub scopes: Vec<String>,
}

/// A client identity that the operator configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preset {
    /// A client id registered beforehand.
    pub id: Option<String>,
    /// The secret that belongs to it.
    pub secret: Option<SecretName>,
    /// Or the private key that does, in PEM: it signs who the client is, and is never sent.
    pub key: Option<SecretName>,
    /// The address of a client-ID metadata document, which is the client id where that is understood.
    pub metadata_url: Option<String>,
}

impl Login {
    /// The name of its secret in the store. Two servers may share one; the [`Resource`] inside says whose it is.
    ///
    /// # Errors
    /// A server's name that does not fit.
    pub fn secret(&self) -> Result<SecretName, LoginError> {
        secret_of(&self.server)
    }
}

impl Preset {
    /// The configured secret of a client that proves itself so.
    fn named(&self, proof: client::Proof) -> Option<&SecretName> {
        match proof {
            client::Proof::Shown(_) => self.secret.as_ref(),
            client::Proof::Signed => self.key.as_ref(),
        }
    }
}

/// The name of the login of `server`.
pub(crate) fn secret_of(server: &str) -> Result<SecretName, LoginError> {
    SecretName::new(&format!("{LOGIN_PREFIX}{}", server.to_ascii_lowercase()))
        .map_err(|_| LoginError::Name(server.chars().take(80).collect()))
}

#[cfg(test)]
mod tests;
