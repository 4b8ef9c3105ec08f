//! What the console's own script sends: the two WebAuthn ceremonies, with bytes as unpadded base64url.
//! All of it may be anybody's words.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Bytes, written as base64url.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        URL_SAFE_NO_PAD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Bytes as base64url.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Somebody came by a link.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The code of the link.
    pub code: String,
    /// The name to be known by; absent where only the link is asked about.
    #[serde(default)]
    pub name: Option<String>,
}

/// A passkey was made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The ceremony it ends.
    pub flow: String,
    /// The client data.
    pub client_data: Bytes,
    /// The attestation object.
    pub attestation: Bytes,
}

/// A passkey was used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// The ceremony it ends.
    pub flow: String,
    /// The passkey's id.
    pub credential: Bytes,
    /// The client data.
    pub client_data: Bytes,
    /// The authenticator data.
    pub authenticator_data: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// An approval is about to be answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answering {
    /// Digest of the request as it was shown.
    pub request: String,
    /// The answer: `grant once`, or `grant more` as shaped in `fields`.
    pub answer: String,
    /// What was filled in.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}
