//! Who the gate is to an authorization server, in MCP's order: a client registered beforehand, the address of a client-ID
//! metadata document, or a registration made now (RFC 7591). Pure but for the one request that registers.

use super::address::{self, Resource};
use super::error::LoginError;
use super::metadata::ServerMetadata;
use super::{Login, Preset};
use crate::mint::ClientAuth;
use crate::name::SecretName;
use crate::net;
use crate::secret::Secret;
use reqwest::Url;
use serde_json::{Value, json};
use std::sync::Arc;

/// Longest client id or client secret, in bytes.
const CLIENT_BYTES_MAX: usize = 4 * 1024;

/// A client of one authorization server.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) id: String,
    /// What it proves itself with; a public client has nothing.
    pub(super) secret: Option<(ClientSecret, Proof)>,
}

/// How a client proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It shows its secret.
    Shown(ClientAuth),
    /// It signs with a private key (`private_key_jwt`, RFC 7523).
    Signed,
}

/// A client's secret.
#[derive(Clone)]
pub(super) enum ClientSecret {
    /// Given at the registration, and kept with the login.
    Kept(Arc<Secret>),
    /// Configured by the operator, fetched when it is needed.
    Named(SecretName),
}

/// How the gate becomes a client.
pub(super) enum Identity {
    Known(Client),
    Register(Url),
}

/// Chooses among what the operator configured and what the authorization server offers.
pub(super) fn identity(
    preset: &Preset,
    server: &ServerMetadata,
    resource: &Resource,
) -> Result<Identity, LoginError> {
    let signs = preset.key.clone().map(|name| (ClientSecret::Named(name), Proof::Signed));
    if signs.is_some() && !server.takes_signed {
        return Err(LoginError::NoSigned(server.issuer.clone()));
    }
    if let Some(id) = &preset.id {
        let shown = preset.secret.clone().map(|name| (ClientSecret::Named(name), Proof::Shown(server.auth)));
        return Ok(Identity::Known(Client { id: id.clone(), secret: signs.or(shown) }));
    }
    if let Some(address) = preset.metadata_url.as_ref().filter(|_| server.takes_documents) {
        metadata_document(address, resource)?;
        return Ok(Identity::Known(Client { id: address.clone(), secret: signs }));
    }
    match &server.registration {
        Some(endpoint) => Ok(Identity::Register(endpoint.clone())),
        None => {
            let refused = if preset.metadata_url.is_some() {
                " (it does not understand the one that is set)"
            } else if server.takes_documents {
                " (it understands those)"
            } else {
                " (it does not understand those)"
            };
            Err(LoginError::NoClient(server.issuer.clone(), refused))
        }
    }
}

/// A client id that is an address: https and with a path, as MCP wants it.
pub(super) fn metadata_document(text: &str, resource: &Resource) -> Result<(), LoginError> {
    let url = resource.fit("`client_metadata_url`", text)?;
    if url.scheme() != "https" || url.path() == "/" {
        return Err(LoginError::Address {
            what: "`client_metadata_url`",
            url: address::shown(text),
            why: "it must be https and hold a path",
        });
    }
    Ok(())
}

/// Registers the gate as a native client with this one redirect.
pub(super) async fn register(
    http: &reqwest::Client,
    endpoint: &Url,
    server: &ServerMetadata,
    redirect_uri: &str,
    scopes: &[String],
) -> Result<Client, LoginError> {
    let host = || address::host(endpoint);
    let request = http
        .post(endpoint.clone())
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .body(registration(server, redirect_uri, scopes).to_string());
    let what = "the registration endpoint";
    let answer =
        net::ask(request).await.map_err(|why| LoginError::Unreachable { what, host: host(), why })?;
    let status = answer.status.as_u16();
    if answer.status.is_redirection() {
        return Err(LoginError::Redirects { what, host: host() });
    }
    let wrong = |why: String| LoginError::Registration { host: host(), why };
    let document = answer.json().map_err(wrong)?;
    if !matches!(status, 200 | 201) {
        return Err(wrong(format!("status {status}, {}", net::code(document["error"].as_str()))));
    }
    registered(document, server).map_err(|why| wrong(why.to_owned()))
}

fn registration(server: &ServerMetadata, redirect_uri: &str, scopes: &[String]) -> Value {
    let auth = match (server.takes_public, server.auth) {
        (true, _) => "none",
        (false, ClientAuth::Basic) => "client_secret_basic",
        (false, ClientAuth::Post) => "client_secret_post",
    };
    let mut wanted = json!({
        "client_name": "Bailiwick",
        "application_type": "native",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": auth,
    });
    if !scopes.is_empty() {
        wanted["scope"] = scopes.join(" ").into();
    }
    wanted
}

/// The client that `document` describes. What the server registered counts, not what was asked for (RFC 7591 §3.2.1).
fn registered(mut document: Value, server: &ServerMetadata) -> Result<Client, &'static str> {
    let fits =
        |text: &str| text.len() <= CLIENT_BYTES_MAX && text.bytes().all(|byte| (0x20..=0x7E).contains(&byte));
    let id = document["client_id"].as_str().filter(|id| !id.is_empty() && fits(id)).map(str::to_owned);
    let id = id.ok_or("its answer holds no usable client id")?;
    let auth = match (document["token_endpoint_auth_method"].as_str(), server.takes_public) {
        (Some("none"), _) | (None, true) => None,
        (Some("client_secret_basic"), _) => Some(ClientAuth::Basic),
        (Some("client_secret_post"), _) => Some(ClientAuth::Post),
        (None, false) => Some(server.auth),
        (Some(_), _) => return Err("it wants a way to prove the client that the gate does not know"),
    };
    let secret = match (auth, document.get_mut("client_secret").map(Value::take)) {
        (None, _) => None,
        (Some(auth), Some(Value::String(text))) if fits(&text) && text.len() >= super::tokens::BYTES_MIN => {
            let secret = Secret::new(text.into_bytes()).map_err(|_| "its client secret is unusable")?;
            Some((ClientSecret::Kept(Arc::new(secret)), Proof::Shown(auth)))
        }
        (Some(_), _) => return Err("its answer holds no usable client secret"),
    };
    Ok(Client { id, secret })
}

impl Login {
    /// Whether what is configured can work at all; nothing is asked of anybody.
    ///
    /// # Errors
    /// What is missing or contradicts.
    pub fn check(&self) -> Result<(), LoginError> {
        self.secret()?;
        if let Some(url) = &self.client.metadata_url {
            metadata_document(url, &self.resource)?;
        }
        if let Some(text) = &self.issuer {
            super::metadata::issuer(text, &self.resource)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::tests::ground::server_metadata as server;

    #[test]
    fn an_identity_is_chosen_in_the_order_of_the_specification() {
        let resource = Resource::new("https://mcp.example/mcp").unwrap();
        let document = Some("https://gate.example/client.json".to_owned());
        let (documents, none) = (server(), ServerMetadata { takes_documents: false, ..server() });
        let closed = ServerMetadata { registration: None, ..none.clone() };
        for (id, document, server, chosen) in [
            (Some("preset"), document.clone(), &documents, "preset"),
            (None, document.clone(), &documents, "https://gate.example/client.json"),
            (None, document.clone(), &none, "registers at https://as.example/register"),
            (None, None, &documents, "registers at https://as.example/register"),
            (Some("preset"), None, &closed, "preset"),
            (None, None, &closed, "`client_id`"),
            (None, document, &closed, "does not understand the one"),
            (None, Some("http://gate.example/client.json".into()), &documents, "https"),
            (None, Some("https://gate.example/".into()), &documents, "hold a path"),
        ] {
            let preset = Preset { id: id.map(str::to_owned), metadata_url: document, ..Preset::default() };
            let found = match identity(&preset, server, &resource) {
                Ok(Identity::Known(client)) => client.id,
                Ok(Identity::Register(endpoint)) => format!("registers at {endpoint}"),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(chosen), "{preset:?}: {found}");
        }
    }

    #[test]
    fn what_was_registered_counts() {
        let private = ServerMetadata { takes_public: false, ..server() };
        for (answer, server, want) in [
            (r#"{"client_id":"c"}"#, &server(), Ok("none")),
            (r#"{"client_id":"c","client_secret":"long enough"}"#, &server(), Ok("none")),
            (
                r#"{"client_id":"c","client_secret":"long enough","token_endpoint_auth_method":"client_secret_post"}"#,
                &server(),
                Ok("post"),
            ),
            (r#"{"client_id":"c","client_secret":"long enough"}"#, &private, Ok("basic")),
            (r#"{"client_id":"c"}"#, &private, Err("no usable client secret")),
            (r#"{"client_id":"c","client_secret":"short"}"#, &private, Err("no usable client secret")),
            (
                r#"{"client_id":"c","token_endpoint_auth_method":"private_key_jwt"}"#,
                &server(),
                Err("does not know"),
            ),
            (r#"{"client_id":""}"#, &server(), Err("no usable client id")),
            (r#"{"client_id":"a\nb"}"#, &server(), Err("no usable client id")),
            (r#"{"client_id":7}"#, &server(), Err("no usable client id")),
            ("[]", &server(), Err("no usable client id")),
        ] {
            let found =
                registered(serde_json::from_str(answer).unwrap(), server).map(|client| match client.secret {
                    None => "none",
                    Some((_, Proof::Shown(ClientAuth::Basic))) => "basic",
                    Some((_, Proof::Shown(ClientAuth::Post))) => "post",
                    Some((_, Proof::Signed)) => "signed",
                });
            match (found, want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want, "{answer}"),
                (Err(found), Err(want)) => assert!(found.contains(want), "{answer}: {found}"),
                (found, want) => panic!("{answer}: {found:?}, not {want:?}"),
            }
        }
        let asked = registration(&server(), "http://127.0.0.1:7/callback", &["a".into(), "b".into()]);
        assert_eq!(asked["token_endpoint_auth_method"], "none");
        assert_eq!((&asked["application_type"], &asked["scope"]), (&json!("native"), &json!("a b")));
        assert_eq!(asked["redirect_uris"], json!(["http://127.0.0.1:7/callback"]));
    }
}
