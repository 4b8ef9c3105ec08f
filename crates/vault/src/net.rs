//! Requests to issuers and secret servers: https (or loopback), no redirect, no proxy from the environment, everything
//! bounded. What an issuer answers is never repeated in an error, because it may hold what was sent.

use crate::disk;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a whole request may take, in seconds.
const REQUEST_SECONDS_MAX: u64 = 15;
/// How long a connection may take, in seconds.
const CONNECT_SECONDS_MAX: u64 = 5;
/// Longest answer read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Longest certificate file, in bytes.
const CA_BYTES_MAX: usize = 1024 * 1024;

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The body as JSON. Only the caller knows which of its strings to wipe.
    pub(crate) fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.body)
            .map_err(|_| format!("status {} without JSON", self.status.as_u16()))
    }
}

/// A client that trusts the system's roots, and `ca` if given.
pub(crate) fn client(ca: Option<&Path>) -> Result<Client, String> {
    client_trusting(ca)
}

/// A client that trusts the system's roots and those in each of `files`.
pub(crate) fn client_trusting<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Client, String> {
    // The process has one provider; whoever comes first sets the same one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent("bailiwick")
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
        .timeout(Duration::from_secs(REQUEST_SECONDS_MAX));
    for path in files {
        let pem = disk::read_any(path, CA_BYTES_MAX).map_err(|error| error.to_string())?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|_| format!("{} is no PEM", path.display()))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| causes(&error))
}

/// `address` without its last slash, if credentials may be sent there: https, or http to this machine itself.
pub(crate) fn base(address: &str) -> Result<&str, String> {
    let url = reqwest::Url::parse(address).map_err(|_| format!("`{address}` is not an address"))?;
    let own = is_own(&url);
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    match url.scheme() {
        "https" if bare => Ok(address.trim_end_matches('/')),
        "http" if own && bare => Ok(address.trim_end_matches('/')),
        _ => Err(format!(
            "credentials are only sent over https, not to `{}`",
            url.origin().ascii_serialization()
        )),
    }
}

/// Whether an address is of this machine itself.
pub(crate) fn is_own(url: &reqwest::Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// The host of an address, for messages.
pub(crate) fn host(address: &str) -> String {
    reqwest::Url::parse(address)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "an unreadable address".to_owned())
}

/// Sends and reads the answer, whatever its status.
pub(crate) async fn ask(request: RequestBuilder) -> Result<Answer, String> {
    ask_within(request, ANSWER_BYTES_MAX).await
}

/// The same, where an answer is at most `bytes_max` bytes.
pub(crate) async fn ask_within(request: RequestBuilder, bytes_max: usize) -> Result<Answer, String> {
    let mut response = request.send().await.map_err(|error| causes(&error.without_url()))?;
    let status = response.status();
    let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
    while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error.without_url()))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(format!("its answer is longer than {bytes_max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body })
}

/// Status and fields of an answer.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
}

/// Sends and reads no more than the head of the answer.
pub(crate) async fn head(request: RequestBuilder) -> Result<Head, String> {
    let response = request.send().await.map_err(|error| causes(&error.without_url()))?;
    Ok(Head { status: response.status(), headers: response.headers().clone() })
}

/// An error code that an issuer gave, if it is a plain word; anything else could be an echo.
pub(crate) fn code(text: Option<&str>) -> &str {
    match text {
        Some(text)
            if text.len() <= 48 && text.bytes().all(|b| b.is_ascii_alphabetic() || b"_-. ".contains(&b)) =>
        {
            text
        }
        _ => "no reason that can be shown",
    }
}

/// The error and what caused it: the reason of a failed handshake is at the bottom.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}
