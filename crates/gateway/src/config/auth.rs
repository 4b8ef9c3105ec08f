//! How the gate signs in to a remote server: names and addresses of an OAuth client, never a secret or a token. Nothing here
//! connects to anything.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use vault::{Login, Preset, Resource, SecretName};

/// `auth` of a server: `"oauth"`, or a table with what the authorization server does not find out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// A client id that was registered there beforehand.
    pub client_id: Option<String>,
    /// The name of the secret that belongs to it.
    pub client_secret: Option<String>,
    /// Or the name of the private key that does, which signs and is never sent.
    pub client_key: Option<String>,
    /// The only authorization server to sign in at.
    pub issuer: Option<String>,
    /// The address of a client-ID metadata document.
    pub client_metadata_url: Option<String>,
    /// What to ask for; what the server asks for when empty.
    pub scopes: Vec<String>,
}

/// The same as it is written.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_metadata_url: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
}

impl Auth {
    /// The login it describes, for the server `name` at `url`.
    ///
    /// # Errors
    /// What is missing, contradicts or cannot carry tokens, in words.
    pub fn login(&self, name: &str, url: &str) -> Result<Login, String> {
        let Self { client_id, client_secret, client_key, issuer, client_metadata_url, scopes } = self;
        if client_secret.is_some() && client_id.is_none() {
            return Err("`auth`: `client_secret` needs a `client_id`".to_owned());
        }
        if client_secret.is_some() && issuer.is_none() {
            return Err("`auth`: `client_secret` needs `issuer`, the only authorization server that it may be sent to; \
                        otherwise the MCP server could name any"
                .to_owned());
        }
        if client_key.is_some() && client_id.is_none() && client_metadata_url.is_none() {
            return Err("`auth`: `client_key` needs a `client_id` or a `client_metadata_url`".to_owned());
        }
        if client_key.is_some() && client_secret.is_some() {
            return Err("`auth`: give it a `client_secret` or a `client_key`, not both".to_owned());
        }
        if client_key.is_some() && issuer.is_none() {
            return Err(
                "`auth`: `client_key` needs `issuer`, the only authorization server that it signs for; \
                        otherwise the MCP server could name any"
                    .to_owned(),
            );
        }
        if client_id.as_ref().is_some_and(|id| id.is_empty() || id.chars().any(char::is_control)) {
            return Err("`auth`: `client_id` is empty or holds control characters".to_owned());
        }
        let named = |what: &str, name: &Option<String>| {
            let name = name.as_deref().map(SecretName::new).transpose();
            name.map_err(|error| format!("`auth`: `{what}` is the name of a secret: {error}"))
        };
        let (secret, key) = (named("client_secret", client_secret)?, named("client_key", client_key)?);
        if vault::scopes(&scopes.join(" ")).is_none_or(|plain| plain != *scopes) {
            return Err("`auth`: each of `scopes` is one word, named once, without `\"` and `\\`".to_owned());
        }
        let login = Login {
            server: name.to_owned(),
            resource: Resource::new(url).map_err(|error| error.to_string())?,
            issuer: issuer.clone(),
            client: Preset { id: client_id.clone(), secret, key, metadata_url: client_metadata_url.clone() },
            scopes: scopes.clone(),
        };
        login.check().map_err(|error| format!("`auth`: {error}"))?;
        Ok(login)
    }
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Auth;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("\"oauth\", or a table with `client_id`, `client_secret`, `client_key`, `issuer`, `client_metadata_url`, `scopes`")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Auth, E> {
        if word == "oauth" {
            Ok(Auth::default())
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Str(word), &self))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Auth, A::Error> {
        let Table { client_id, client_secret, client_key, issuer, client_metadata_url, scopes } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Auth { client_id, client_secret, client_key, issuer, client_metadata_url, scopes })
    }
}

impl Serialize for Auth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { client_id, client_secret, client_key, issuer, client_metadata_url, scopes } = self.clone();
        let table = Table { client_id, client_secret, client_key, issuer, client_metadata_url, scopes };
        if table == Table::default() {
            serializer.serialize_str("oauth")
        } else {
            table.serialize(serializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Server};

    fn read(server: &str) -> Result<Server, String> {
        let config: Config =
            toml::from_str(&format!("[server.tracker]\n{server}\n")).map_err(|error| error.to_string())?;
        let server = config.server["tracker"].clone();
        server.login("tracker").map(|_| server)
    }

    #[test]
    fn each_way_to_sign_in_is_read_and_what_is_missing_is_named() {
        let url = "url = \"https://mcp.example/mcp\"";
        for (auth, missing) in [
            ("auth = \"oauth\"", ""),
            ("auth = {}", ""),
            ("auth = { client_id = \"c\" }", ""),
            ("auth = { client_id = \"c\", client_secret = \"app\", issuer = \"https://as.example\" }", ""),
            (
                "auth = { client_metadata_url = \"https://gate.example/client.json\", scopes = [\"a\", \"b:c\"] }",
                "",
            ),
            ("auth = \"basic\"", "\"oauth\", or a table"),
            ("auth = 7", "\"oauth\", or a table"),
            ("auth = { client = \"c\" }", "unknown field `client`"),
            ("auth = { client_secret = \"app\" }", "needs a `client_id`"),
            ("auth = { client_id = \"c\", client_secret = \"app\" }", "needs `issuer`"),
            ("auth = { client_id = \"c\", client_key = \"app\", issuer = \"https://as.example\" }", ""),
            (
                "auth = { client_metadata_url = \"https://gate.example/client.json\", client_key = \"app\", issuer = \"https://as.example\" }",
                "",
            ),
            ("auth = { client_key = \"app\", issuer = \"https://as.example\" }", "needs a `client_id`"),
            ("auth = { client_id = \"c\", client_key = \"app\" }", "needs `issuer`"),
            (
                "auth = { client_id = \"c\", client_key = \"app\", client_secret = \"b\", issuer = \"https://as.example\" }",
                "not both",
            ),
            ("auth = { client_id = \"\" }", "`client_id` is empty"),
            (
                "auth = { client_id = \"c\", client_secret = \"A VALUE\", issuer = \"https://as.example\" }",
                "name of a secret",
            ),
            ("auth = { scopes = [\"a b\"] }", "one word"),
            ("auth = { scopes = [\"a\", \"a\"] }", "one word"),
            ("auth = { issuer = \"http://as.example\" }", "only sent over https"),
            ("auth = { client_metadata_url = \"http://gate.example/client.json\" }", "only sent over https"),
            ("auth = { client_metadata_url = \"https://gate.example\" }", "hold a path"),
            ("auth = \"oauth\"\nheaders = { authorization = \"Bearer x\" }", "not both"),
        ] {
            let found = read(&format!("{url}\n{auth}"));
            assert_eq!(found.is_ok(), missing.is_empty(), "{auth}: {found:?}");
            let Ok(server) = found else {
                assert!(found.as_ref().is_err_and(|why| why.contains(missing)), "{auth}: {found:?}");
                continue;
            };
            let written = toml::to_string(&server).expect("it can be written");
            assert_eq!(toml::from_str::<Server>(&written).as_ref(), Ok(&server), "{written}");
        }
        for (server, missing) in [
            ("url = \"http://127.0.0.1:8000/mcp\"\nauth = \"oauth\"", ""),
            ("url = \"http://mcp.example/mcp\"\nauth = \"oauth\"", "only sent over https"),
            ("command = [\"x\"]\nauth = \"oauth\"", "only a server with a `url`"),
            ("command = [\"x\"]", ""),
        ] {
            let found = read(server).err().unwrap_or_default();
            assert_eq!(found.is_empty(), missing.is_empty(), "{server}: {found}");
            assert!(found.contains(missing), "{server}: {found}");
        }
    }
}
