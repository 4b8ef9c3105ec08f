//! The addresses of a sign-in: which are fit to carry codes and tokens, where metadata lies, and whose it is. Pure; nothing
//! here opens a connection.

use super::error::LoginError;
use crate::net;
use reqwest::Url;

/// Longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2048;

/// A protected MCP server by its address, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource(Url);

impl Resource {
    /// Parses the `url` of a server.
    ///
    /// # Errors
    /// An address that no token may be sent to: https only, or http to this machine itself; without a user and a fragment.
    pub fn new(text: &str) -> Result<Self, LoginError> {
        parsed("the server's address", text, true).map(Self)
    }

    /// As it is kept and compared: lowercase scheme and host, no default port.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// Whether the server is this machine itself. Only then may anything else of the sign-in be.
    fn is_own(&self) -> bool {
        net::is_own(&self.0)
    }

    /// An address that somebody else named for this sign-in. A server elsewhere cannot make the gate talk to services of
    /// this machine.
    pub(super) fn fit(&self, what: &'static str, text: &str) -> Result<Url, LoginError> {
        parsed(what, text, self.is_own())
    }

    /// Where its metadata lies if it does not say so itself (RFC 9728 §3.1, and at the root as MCP adds).
    pub(super) fn metadata(&self) -> Vec<Url> {
        let mut root = self.0.clone();
        root.set_query(None);
        root.set_path("/.well-known/oauth-protected-resource");
        let path = self.0.path().trim_end_matches('/');
        if path.is_empty() && self.0.query().is_none() {
            return vec![root];
        }
        let mut own = self.0.clone();
        own.set_path(&format!("/.well-known/oauth-protected-resource{path}"));
        vec![own, root]
    }

    /// Whether metadata for `said` is about this server: the server itself, or a path above it on the same origin (whose
    /// metadata lies at the root). A path beside or below is another resource (RFC 9728 §3.3).
    pub(super) fn is_within(&self, said: &str) -> bool {
        let Ok(said) = self.fit("the resource", said) else { return false };
        let same_origin = said.scheme() == self.0.scheme()
            && said.host() == self.0.host()
            && said.port_or_known_default() == self.0.port_or_known_default();
        let (above, own) = (said.path().trim_end_matches('/'), self.0.path().trim_end_matches('/'));
        let path = own.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        same_origin && path && (said.query().is_none() || said.query() == self.0.query())
    }
}

/// Where the metadata of an authorization server may lie, in the order of MCP ("Authorization Server Metadata Discovery").
pub(super) fn issuer_metadata(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    let mut all = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        all.push(at(format!("{path}/.well-known/openid-configuration")));
    }
    all
}

/// The host of an address, with its port, for messages.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What may be shown of a text from elsewhere: short, and nothing but visible ASCII.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

fn parsed(what: &'static str, text: &str, own_machine: bool) -> Result<Url, LoginError> {
    let wrong = |why| LoginError::Address { what, url: shown(text), why };
    if text.len() > ADDRESS_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("it is too long or holds characters that no address has"));
    }
    let url = Url::parse(text).map_err(|_| wrong("it is no address; write https://…"))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(wrong("it holds a user, a password or a fragment"));
    }
    match (url.scheme(), net::is_own(&url)) {
        ("https", false) => Ok(url),
        ("https" | "http", true) if own_machine => Ok(url),
        ("https" | "http", true) => Err(wrong("it is on this machine, and the server is not")),
        _ => Err(wrong("codes and tokens are only sent over https")),
    }
}
