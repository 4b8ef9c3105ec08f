//! Where the web console is served. Nothing here opens a door.

use crate::people::Site;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// `[console]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Whether it is served.
    pub enabled: bool,
    /// An address of its own; beside `/mcp` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// What browsers call it by, e.g. `https://gate.example.com` behind TLS; `http://localhost:PORT` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Default for Console {
    fn default() -> Self {
        Self { enabled: true, listen: None, origin: None }
    }
}

impl Console {
    pub(super) fn is_standing(&self) -> bool {
        *self == Self::default()
    }

    /// The site that is served at `bound`.
    ///
    /// # Errors
    /// An `origin` no browser would make a passkey for, or none for an address that is not loopback; in words.
    pub fn site(&self, bound: SocketAddr) -> Result<Site, String> {
        match &self.origin {
            Some(origin) => Site::of(origin.trim_end_matches('/')),
            None if bound.ip().is_loopback() => Site::of(&format!("http://localhost:{}", bound.port())),
            None => Err(format!(
                "[console]: {bound} is not a loopback address; say what browsers call it by, `origin = \"https://…\"`, or set \
                 `enabled = false`"
            )),
        }
    }
}
