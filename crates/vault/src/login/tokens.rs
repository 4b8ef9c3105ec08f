//! The token endpoint as the gate asks it: a code or a refresh token for tokens, and their revocation (RFC 6749 §4.1.3, §6,
//! RFC 7009, RFC 8707). Of a refusal only its registered code is shown, because it may echo what was sent.

use super::address;
use super::challenge::scopes;
use super::client::{Client, Proof};
use crate::encode::form;
use crate::jwt;
use crate::mint::{ClientAuth, basic};
use crate::net;
use crate::secret::Secret;
use reqwest::Url;
use serde_json::Value;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Shortest and longest token, in bytes: what can be found in whatever comes back.
pub(super) const BYTES_MIN: usize = 8;
const BYTES_MAX: usize = 16 * 1024;
/// What kind of proof a signature is (RFC 7523 §2.2).
const ASSERTION_TYPE: &[u8] = b"urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Longest lifetime believed, in seconds.
const LIFETIME_SECONDS_MAX: u64 = 366 * 86_400;

/// What is shown for tokens.
pub(super) enum Shown<'a> {
    /// A person's consent.
    Code { code: &'a str, redirect_uri: &'a str, verifier: &'a str },
    /// The last refresh token.
    Refresh(&'a Secret),
}

/// What was given.
pub(super) struct Grant {
    pub(super) access: Arc<Secret>,
    pub(super) refresh: Option<Arc<Secret>>,
    /// How long the access token is good for, if that was said.
    pub(super) seconds: Option<u64>,
    /// What it is good for, if that is not what was asked for.
    pub(super) scopes: Option<Vec<String>>,
}

/// Why nothing was given.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It said no, and will again.
    Final(String),
    /// It may give something later.
    Passing(String),
}

impl Refusal {
    pub(super) fn why(self) -> String {
        match self {
            Self::Final(why) | Self::Passing(why) => why,
        }
    }
}

/// Asks for tokens as `client`, which proves itself with `key`, for the resource `audience`.
pub(super) async fn ask(
    http: &reqwest::Client,
    endpoint: &Url,
    issuer: &str,
    client: &Client,
    key: Option<&Secret>,
    audience: &str,
    shown: Shown<'_>,
) -> Result<Grant, Refusal> {
    let mut pairs: Vec<(&str, Zeroizing<Vec<u8>>)> = Vec::new();
    let plain = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
    match shown {
        Shown::Code { code, redirect_uri, verifier } => {
            pairs.push(("grant_type", plain("authorization_code")));
            pairs.push(("code", plain(code)));
            pairs.push(("redirect_uri", plain(redirect_uri)));
            pairs.push(("code_verifier", plain(verifier)));
        }
        Shown::Refresh(token) => {
            pairs.push(("grant_type", plain("refresh_token")));
            pairs.push(("refresh_token", token.expose(|token| Zeroizing::new(token.to_vec()))));
        }
    }
    pairs.push(("resource", plain(audience)));
    let answer = post(http, endpoint, issuer, client, key, pairs).await?;
    let status = answer.status.as_u16();
    if answer.status.is_redirection() {
        return Err(Refusal::Final("it redirects, which is not followed".into()));
    }
    if status == 200 {
        let document = answer.json().map_err(Refusal::Passing)?;
        return grant(document).map_err(|why| Refusal::Final(why.into()));
    }
    let document = answer.json().unwrap_or_default();
    let said = document["error"].as_str();
    let why = format!("status {status}, {}", net::code(said));
    let passing = ["temporarily_unavailable", "server_error", "slow_down"];
    match said {
        Some(code) if matches!(status, 400 | 401 | 403) && !passing.contains(&code) => {
            Err(Refusal::Final(why))
        }
        _ => Err(Refusal::Passing(why)),
    }
}

/// Has a token forgotten by whoever gave it.
pub(super) async fn revoke(
    http: &reqwest::Client,
    endpoint: &Url,
    issuer: &str,
    client: &Client,
    key: Option<&Secret>,
    (token, kind): (&Secret, &str),
) -> Result<(), String> {
    let pairs = vec![
        ("token", token.expose(|token| Zeroizing::new(token.to_vec()))),
        ("token_type_hint", Zeroizing::new(kind.as_bytes().to_vec())),
    ];
    let answer = post(http, endpoint, issuer, client, key, pairs).await.map_err(Refusal::why)?;
    match answer.status.as_u16() {
        200 => Ok(()),
        status => Err(format!("{}: status {status}", address::host(endpoint))),
    }
}

async fn post(
    http: &reqwest::Client,
    endpoint: &Url,
    issuer: &str,
    client: &Client,
    key: Option<&Secret>,
    mut pairs: Vec<(&str, Zeroizing<Vec<u8>>)>,
) -> Result<net::Answer, Refusal> {
    let mut request = http.post(endpoint.clone()).header("accept", "application/json");
    let id = || Zeroizing::new(client.id.as_bytes().to_vec());
    match (&client.secret, key) {
        (None, _) => pairs.push(("client_id", id())),
        (Some((_, Proof::Shown(ClientAuth::Basic))), Some(key)) => {
            request = request.header("authorization", basic(&client.id, key).map_err(Refusal::Final)?);
        }
        (Some((_, Proof::Signed)), Some(key)) => {
            let assertion =
                jwt::assertion(key, &client.id, issuer).map_err(|why| Refusal::Final(why.into()))?;
            pairs.push(("client_id", id()));
            pairs.push(("client_assertion_type", Zeroizing::new(ASSERTION_TYPE.to_vec())));
            pairs.push(("client_assertion", Zeroizing::new(assertion.into_bytes())));
        }
        (Some((_, Proof::Shown(ClientAuth::Post))), Some(key)) => {
            pairs.push(("client_id", id()));
            pairs.push(("client_secret", key.expose(|key| Zeroizing::new(key.to_vec()))));
        }
        (Some(_), None) => return Err(Refusal::Passing("the client's secret is not at hand".into())),
    }
    let pairs: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let request =
        request.header("content-type", "application/x-www-form-urlencoded").body(form(&pairs).to_vec());
    net::ask(request).await.map_err(Refusal::Passing)
}

fn grant(mut document: Value) -> Result<Grant, &'static str> {
    let is_bearer = document["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    let mut take = |name: &str| match document.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => token(text).map(Some),
        Some(_) => Err("its answer holds a token that is no text"),
    };
    let (access, refresh) = (take("access_token")?, take("refresh_token")?);
    let access = access.ok_or("its answer holds no access token")?;
    if !is_bearer {
        return Err("its token is no bearer token");
    }
    let life = &document["expires_in"];
    let seconds = life
        .as_u64()
        .or_else(|| life.as_f64().filter(|life| *life >= 0.0).map(|life| life as u64))
        .or_else(|| life.as_str()?.parse().ok());
    Ok(Grant {
        access,
        refresh,
        seconds: seconds.map(|seconds| seconds.min(LIFETIME_SECONDS_MAX)),
        scopes: document["scope"].as_str().and_then(scopes),
    })
}

/// A token that can be sent in a header, and found in whatever comes back.
fn token(text: String) -> Result<Arc<Secret>, &'static str> {
    let text = Zeroizing::new(text);
    if !(BYTES_MIN..=BYTES_MAX).contains(&text.len()) {
        return Err("its token is too short or too long to be guarded");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its token holds characters that no token has");
    }
    Secret::copy_of(text.as_bytes()).map(Arc::new).map_err(|_| "its token is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_used_and_guarded_is_a_grant() {
        let text = |secret: &Arc<Secret>| secret.expose(|it| String::from_utf8(it.to_vec()).unwrap());
        let whole = r#"{"access_token":"access-1","token_type":"bearer","expires_in":60,"refresh_token":"refresh-1","scope":"a b"}"#;
        let found = grant(serde_json::from_str(whole).unwrap()).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((text(&found.access).as_str(), found.seconds), ("access-1", Some(60)));
        assert_eq!(found.refresh.as_ref().map(text).as_deref(), Some("refresh-1"));
        assert_eq!(found.scopes, Some(vec!["a".to_owned(), "b".to_owned()]));
        let long = format!(r#"{{"access_token":"{}","token_type":"Bearer"}}"#, "x".repeat(BYTES_MAX + 1));
        for (answer, why) in [
            (r#"{"access_token":"access-1","token_type":"Bearer"}"#, None),
            (r#"{"access_token":"access-1","token_type":"Bearer","expires_in":-1.5}"#, None),
            (
                r#"{"access_token":"access-1","token_type":"Bearer","refresh_token":null,"expires_in":"9"}"#,
                None,
            ),
            (r#"{"access_token":"access-1"}"#, Some("no bearer")),
            (r#"{"access_token":"access-1","token_type":"DPoP"}"#, Some("no bearer")),
            (r#"{"token_type":"Bearer"}"#, Some("no access token")),
            (r#"{"access_token":7,"token_type":"Bearer"}"#, Some("no text")),
            (r#"{"access_token":"access\n1","token_type":"Bearer"}"#, Some("characters")),
            (r#"{"access_token":"access 1","token_type":"Bearer"}"#, Some("characters")),
            (r#"{"access_token":"short-1","token_type":"Bearer"}"#, Some("too short")),
            (&long, Some("too long")),
            ("[]", Some("no access token")),
        ] {
            let found = grant(serde_json::from_str(answer).unwrap()).err();
            assert_eq!(found.is_some(), why.is_some(), "{answer:.80}: {found:?}");
            assert!(found.unwrap_or_default().contains(why.unwrap_or_default()), "{answer:.80}: {found:?}");
        }
    }
}
