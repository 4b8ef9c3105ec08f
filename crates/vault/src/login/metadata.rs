//! The two documents a sign-in begins with: protected resource metadata (RFC 9728) and the metadata of an authorization server
//! (RFC 8414, OpenID Connect Discovery). Pure; a document that is not about whom it was asked for is never used.

use super::address::{self, Resource, shown};
use super::challenge::scopes;
use super::error::LoginError;
use crate::mint::ClientAuth;
use reqwest::Url;
use serde_json::Value;

/// Most authorization servers of one resource looked at.
const ISSUERS_ENTRIES_MAX: usize = 16;

/// What a server says about how to get a token for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResourceMetadata {
    /// Its own identifier, to the letter: what authorization servers know it by.
    pub(super) resource: String,
    /// The authorization server to be used.
    pub(super) issuer: String,
    pub(super) scopes: Option<Vec<String>>,
}

impl ResourceMetadata {
    /// Takes the document at `from` for what `resource` says of itself; of several authorization servers `wanted`, or the
    /// first.
    pub(super) fn read(
        document: &Value,
        from: &Url,
        resource: &Resource,
        wanted: Option<&str>,
    ) -> Result<Self, LoginError> {
        let wrong = |why: &str| unusable("the protected resource metadata", from, why);
        let said = document["resource"].as_str().ok_or_else(|| wrong("it names no `resource`"))?;
        if !resource.is_within(said) {
            return Err(LoginError::OtherResource {
                said: shown(said),
                configured: resource.as_str().to_owned(),
            });
        }
        let servers = document["authorization_servers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut servers = servers.iter().take(ISSUERS_ENTRIES_MAX).filter_map(Value::as_str);
        let first = servers.next().ok_or_else(|| wrong("it names no `authorization_servers`"))?;
        let issuer = match wanted {
            None => first,
            Some(wanted) => {
                std::iter::once(first).chain(servers).find(|server| *server == wanted).ok_or_else(|| {
                    LoginError::UnexpectedIssuer { said: shown(first), configured: wanted.to_owned() }
                })?
            }
        };
        let scopes = match &document["scopes_supported"] {
            Value::Null => None,
            listed => Some(words(listed).and_then(|all| scopes(&all.join(" "))).ok_or_else(|| {
                wrong("its `scopes_supported` cannot all be asked for; set `scopes` in `auth`")
            })?),
        };
        Ok(Self { resource: said.to_owned(), issuer: issuer.to_owned(), scopes })
    }
}

/// What an authorization server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerMetadata {
    pub(super) issuer: String,
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) registration: Option<Url>,
    pub(super) revocation: Option<Url>,
    /// Whether its answers name it (RFC 9207).
    pub(super) says_iss: bool,
    /// Whether an address of a metadata document is a client id to it.
    pub(super) takes_documents: bool,
    /// Whether a client without a secret may ask for tokens.
    pub(super) takes_public: bool,
    /// Whether a client may prove itself by a signature.
    pub(super) takes_signed: bool,
    /// How a secret is to be shown.
    pub(super) auth: ClientAuth,
    /// Whether `offline_access` is one of its scopes.
    pub(super) has_offline: bool,
}

impl ServerMetadata {
    /// Takes the document at `from` for that of `issuer`, the authorization server of `resource`.
    pub(super) fn read(
        document: &Value,
        from: &Url,
        issuer: &str,
        resource: &Resource,
    ) -> Result<Self, LoginError> {
        let wrong = |why: String| unusable("the authorization server's metadata", from, &why);
        let said = document["issuer"].as_str().ok_or_else(|| wrong("it names no `issuer`".into()))?;
        if said != issuer {
            return Err(LoginError::OtherIssuer { said: shown(said), expected: issuer.to_owned() });
        }
        let endpoint = |name: &'static str, what| match document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => resource.fit(what, text).map(Some),
            Some(_) => Err(wrong(format!("its `{name}` is no text"))),
        };
        let needed = |name: &'static str, what| {
            endpoint(name, what)?.ok_or_else(|| wrong(format!("it names no `{name}`")))
        };
        let listed = |name: &str| match document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(list) => words(list).map(Some).ok_or_else(|| wrong(format!("its `{name}` is no list"))),
        };
        let has = |list: &Option<Vec<String>>, word: &str| {
            list.as_ref().is_some_and(|list| list.iter().any(|one| one == word))
        };
        if !has(&listed("code_challenge_methods_supported")?, "S256") {
            return Err(LoginError::NoPkce(issuer.to_owned()));
        }
        for (name, word) in
            [("response_types_supported", "code"), ("grant_types_supported", "authorization_code")]
        {
            let list = listed(name)?;
            if list.is_some() && !has(&list, word) {
                return Err(wrong(format!("its `{name}` lacks `{word}`")));
            }
        }
        let methods = listed("token_endpoint_auth_methods_supported")?;
        let flag = |name: &str| document[name].as_bool().unwrap_or(false);
        Ok(Self {
            issuer: issuer.to_owned(),
            authorization: needed("authorization_endpoint", "the authorization endpoint")?,
            token: needed("token_endpoint", "the token endpoint")?,
            registration: endpoint("registration_endpoint", "the registration endpoint")?,
            revocation: endpoint("revocation_endpoint", "the revocation endpoint")?,
            says_iss: flag("authorization_response_iss_parameter_supported"),
            takes_documents: flag("client_id_metadata_document_supported"),
            takes_public: methods.is_none() || has(&methods, "none"),
            takes_signed: has(&methods, "private_key_jwt"),
            // RFC 8414 §2: without a list it is `client_secret_basic`.
            auth: if methods.is_some()
                && !has(&methods, "client_secret_basic")
                && has(&methods, "client_secret_post")
            {
                ClientAuth::Post
            } else {
                ClientAuth::Basic
            },
            has_offline: has(&listed("scopes_supported")?, "offline_access"),
        })
    }
}

/// An authorization server's identifier: an address without a query (RFC 8414 §2).
pub(super) fn issuer(text: &str, resource: &Resource) -> Result<Url, LoginError> {
    let url = resource.fit("the authorization server", text)?;
    if url.query().is_some() {
        return Err(LoginError::Address {
            what: "the authorization server",
            url: shown(text),
            why: "it holds a query",
        });
    }
    Ok(url)
}

/// A list of words.
fn words(list: &Value) -> Option<Vec<String>> {
    let plain = |word: &Value| word.as_str().filter(|word| !word.contains(' ')).map(str::to_owned);
    list.as_array()?.iter().map(plain).collect()
}

pub(super) fn unusable(what: &'static str, from: &Url, why: &str) -> LoginError {
    LoginError::Document { what, host: address::host(from), why: why.to_owned() }
}
