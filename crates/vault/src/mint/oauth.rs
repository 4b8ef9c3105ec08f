//! OAuth 2.0 token endpoints: client credentials (RFC 6749 §4.4), refresh (§6) and token exchange (RFC 8693). Only the
//! token is taken from the answer; an error shows the registered error code alone.

use super::Coin;
use crate::encode::{form, percent};
use crate::net;
use crate::secret::Secret;
use crate::source::Origin;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest lifetime believed, in seconds.
const LIFETIME_SECONDS_MAX: u64 = 7 * 86_400;

/// What to ask of a token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// The token endpoint.
    pub endpoint: String,
    /// The client asking; public clients have no secret.
    pub client: Option<OAuthClient>,
    /// The scopes wanted, separated by spaces.
    pub scope: Option<String>,
    /// The logical name of the service the token is for (RFC 8693; common elsewhere).
    pub audience: Option<String>,
    /// The service the token is for (RFC 8707).
    pub resource: Option<String>,
    /// What is shown for it.
    pub grant: OAuthGrant,
}

/// The client of an OAuth server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthClient {
    /// Its id.
    pub id: String,
    /// Its secret, if it has one, and how it is shown.
    pub secret: Option<(Origin, ClientAuth)>,
}

/// How a client shows its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the `Authorization` header: `client_secret_basic`.
    Basic,
    /// In the body: `client_secret_post`.
    Post,
}

/// What is shown for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuthGrant {
    /// Nothing but the client itself.
    ClientCredentials,
    /// A refresh token. When the server sends a new one it is written to the store, if it came from there.
    Refresh {
        /// The refresh token.
        token: Origin,
    },
    /// Another token.
    Exchange {
        /// Whose rights are asked for.
        subject: (Origin, TokenType),
        /// Who acts for them.
        actor: Option<(Origin, TokenType)>,
        /// What is wanted.
        wanted: Option<TokenType>,
    },
}

/// What kind a token is (RFC 8693 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An access token.
    AccessToken,
    /// A refresh token.
    RefreshToken,
    /// An id token.
    IdToken,
    /// A JWT.
    Jwt,
    /// A SAML 2.0 assertion.
    Saml2,
}

impl TokenType {
    fn urn(self) -> &'static [u8] {
        match self {
            Self::AccessToken => b"urn:ietf:params:oauth:token-type:access_token",
            Self::RefreshToken => b"urn:ietf:params:oauth:token-type:refresh_token",
            Self::IdToken => b"urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => b"urn:ietf:params:oauth:token-type:jwt",
            Self::Saml2 => b"urn:ietf:params:oauth:token-type:saml2",
        }
    }
}

impl OAuth {
    pub(super) fn origins(&self) -> Vec<&Origin> {
        let mut origins: Vec<&Origin> = match &self.grant {
            OAuthGrant::ClientCredentials => Vec::new(),
            OAuthGrant::Refresh { token } => vec![token],
            OAuthGrant::Exchange { subject, actor, .. } => {
                std::iter::once(&subject.0).chain(actor.as_ref().map(|actor| &actor.0)).collect()
            }
        };
        origins
            .extend(self.client.iter().filter_map(|client| client.secret.as_ref()).map(|secret| &secret.0));
        origins
    }

    pub(super) async fn mint(&self, http: &reqwest::Client, values: &[&Secret]) -> Result<Coin, String> {
        let mut values = values.iter();
        let mut next = || values.next().ok_or_else(|| "not everything it needs is there".to_owned());
        let mut pairs: Vec<(&str, Zeroizing<Vec<u8>>)> = Vec::new();
        let plain = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        let shown = |secret: &Secret| secret.expose(plain);
        match &self.grant {
            OAuthGrant::ClientCredentials => pairs.push(("grant_type", plain(b"client_credentials"))),
            OAuthGrant::Refresh { .. } => {
                pairs.push(("grant_type", plain(b"refresh_token")));
                pairs.push(("refresh_token", shown(next()?)));
            }
            OAuthGrant::Exchange { subject, actor, wanted } => {
                pairs.push(("grant_type", plain(b"urn:ietf:params:oauth:grant-type:token-exchange")));
                pairs.push(("subject_token", shown(next()?)));
                pairs.push(("subject_token_type", plain(subject.1.urn())));
                if let Some(actor) = actor {
                    pairs.push(("actor_token", shown(next()?)));
                    pairs.push(("actor_token_type", plain(actor.1.urn())));
                }
                if let Some(wanted) = wanted {
                    pairs.push(("requested_token_type", plain(wanted.urn())));
                }
            }
        }
        for (name, value) in
            [("scope", &self.scope), ("audience", &self.audience), ("resource", &self.resource)]
        {
            if let Some(value) = value {
                pairs.push((name, plain(value.as_bytes())));
            }
        }
        let mut request = http.post(net::base(&self.endpoint)?).header("accept", "application/json");
        if let Some(client) = &self.client {
            match &client.secret {
                Some((_, ClientAuth::Basic)) => {
                    request = request.header("authorization", basic(&client.id, next()?)?)
                }
                Some((_, ClientAuth::Post)) => {
                    pairs.push(("client_id", plain(client.id.as_bytes())));
                    pairs.push(("client_secret", shown(next()?)));
                }
                None => pairs.push(("client_id", plain(client.id.as_bytes()))),
            }
        }
        let pairs: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let request =
            request.header("content-type", "application/x-www-form-urlencoded").body(form(&pairs).to_vec());
        coin(&net::ask(request).await?)
    }
}

/// RFC 6749 §2.3.1: id and secret are form-encoded before they are joined.
pub(crate) fn basic(id: &str, secret: &Secret) -> Result<http::HeaderValue, String> {
    let id = percent(id.as_bytes(), b"");
    let joined = secret.expose(|secret| Zeroizing::new(format!("{}:{}", *id, *percent(secret, b""))));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(joined.as_bytes())));
    let mut value = http::HeaderValue::from_str(&text).map_err(|_| "its client secret is not usable")?;
    value.set_sensitive(true);
    Ok(value)
}

fn coin(answer: &net::Answer) -> Result<Coin, String> {
    let status = answer.status.as_u16();
    let mut json = answer.json()?;
    if status != 200 {
        return Err(format!("status {status}, {}", net::code(json["error"].as_str())));
    }
    let mut take = |name: &str| match json.get_mut(name).map(Value::take) {
        Some(Value::String(text)) => Secret::new(text.into_bytes()).ok(),
        _ => None,
    };
    let secret = take("access_token").ok_or("its answer holds no access token")?;
    let successor = take("refresh_token");
    let seconds = json["expires_in"].as_u64().or_else(|| json["expires_in"].as_str()?.parse().ok());
    let lifetime = seconds.map(|seconds| Duration::from_secs(seconds.min(LIFETIME_SECONDS_MAX)));
    Ok(Coin { secret, lifetime, successor })
}
