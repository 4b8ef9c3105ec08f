//! From the address of a server to its authorization server: the challenge, then two documents, each in the order the
//! specification gives. No redirect is followed, no document is longer than a bound, nothing is sent but the questions.

use super::Login;
use super::address::{self, Resource};
use super::challenge::Challenge;
use super::error::LoginError;
use super::metadata::{self, ResourceMetadata, ServerMetadata, unusable};
use crate::net;
use reqwest::Url;
use serde_json::Value;

/// Longest document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// What a server wants before it is used.
pub struct Found {
    pub(super) server: ServerMetadata,
    /// What the authorization server knows the resource by.
    pub(super) audience: String,
    pub(super) scopes: Vec<String>,
}

impl Found {
    /// The authorization server.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.server.issuer
    }
}

/// Asks the server what it wants, and those it names.
pub(super) async fn discover(http: &reqwest::Client, login: &Login) -> Result<Found, LoginError> {
    let challenge = challenge(http, &login.resource).await?.unwrap_or_default();
    let about = resource(http, login, &challenge).await?;
    let issuer = metadata::issuer(&about.issuer, &login.resource)?;
    let server = server(http, &about.issuer, &issuer, &login.resource).await?;
    let wanted = challenge.scopes().or(about.scopes).unwrap_or_default();
    let scopes = if login.scopes.is_empty() { wanted } else { login.scopes.clone() };
    Ok(Found { server, audience: about.resource, scopes })
}

/// What the server says to somebody without a token.
async fn challenge(http: &reqwest::Client, resource: &Resource) -> Result<Option<Challenge>, LoginError> {
    let hello = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "bailiwick", "version": env!("CARGO_PKG_VERSION") },
        },
    });
    let request = http
        .post(resource.url().clone())
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(hello.to_string());
    let unreachable =
        |why| LoginError::Unreachable { what: "the server", host: address::host(resource.url()), why };
    let response = net::head(request).await.map_err(unreachable)?;
    if response.status.is_redirection() {
        return Err(LoginError::Redirects { what: "the server", host: address::host(resource.url()) });
    }
    Ok(if response.status == 401 { Challenge::read(&response.headers) } else { None })
}

async fn resource(
    http: &reqwest::Client,
    login: &Login,
    challenge: &Challenge,
) -> Result<ResourceMetadata, LoginError> {
    let what = "the protected resource metadata";
    let (places, is_named) = match &challenge.resource_metadata {
        Some(text) => (vec![login.resource.fit(what, text)?], true),
        None => (login.resource.metadata(), false),
    };
    for place in &places {
        if let Some(document) = document(http, what, place, is_named).await? {
            return ResourceMetadata::read(&document, place, &login.resource, login.issuer.as_deref());
        }
    }
    Err(LoginError::NoResourceMetadata { tried: listed(&places) })
}

async fn server(
    http: &reqwest::Client,
    name: &str,
    issuer: &Url,
    resource: &Resource,
) -> Result<ServerMetadata, LoginError> {
    let places = address::issuer_metadata(issuer);
    for place in &places {
        if let Some(document) = document(http, "the authorization server's metadata", place, false).await? {
            return ServerMetadata::read(&document, place, name, resource);
        }
    }
    Err(LoginError::NoServerMetadata { issuer: name.to_owned(), tried: listed(&places) })
}

/// A document, or nothing where there is none and the next place is to be tried.
async fn document(
    http: &reqwest::Client,
    what: &'static str,
    place: &Url,
    must_be: bool,
) -> Result<Option<Value>, LoginError> {
    let request = http.get(place.clone()).header("accept", "application/json");
    let answer = net::ask_within(request, DOCUMENT_BYTES_MAX).await;
    let answer = answer.map_err(|why| LoginError::Unreachable { what, host: address::host(place), why })?;
    let status = answer.status.as_u16();
    if answer.status.is_redirection() {
        return Err(LoginError::Redirects { what, host: address::host(place) });
    }
    match answer.json() {
        Ok(document) if status == 200 && document.is_object() => Ok(Some(document)),
        // Some servers answer every unknown path with a page.
        _ if !must_be && (status == 200 || (400..500).contains(&status)) => Ok(None),
        _ => Err(unusable(what, place, &format!("status {status} and no JSON object"))),
    }
}

fn listed(places: &[Url]) -> String {
    let texts: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
    texts.join(" nor ")
}
