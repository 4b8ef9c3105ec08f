//! Which secrets there are, where their values come from, and where each may be put: names and places, never a value.
//! Nothing here fetches or decides anything.

use judge::tool::ToolName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use vault::{BasicUser, Binding, Capture, HostPattern, PathPattern, SecretName, Source};

/// `[secret.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secret {
    /// Where its value comes from; the encrypted store when absent.
    #[serde(skip_serializing_if = "Fetch::is_store")]
    pub from: Fetch,
    /// What programs get of it.
    #[serde(skip_serializing_if = "Expose::is_placeholder")]
    pub expose: Expose,
    /// Where its value may be put.
    #[serde(rename = "use", skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<Use>,
    /// Arguments of tools in which an agent may write `${secret:NAME}` for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Argument>,
}

/// `SERVER/TOOL.ARGUMENT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Argument {
    /// The tool.
    pub tool: ToolName,
    /// Its argument, by its exact name.
    pub name: String,
}

impl TryFrom<String> for Argument {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(server, rest)| Some((server, rest.rsplit_once('.')?)));
        match parts {
            // What runs in the client or on the network is not sent by the gate, so nothing could be put in.
            Some((server, _)) if crate::inventory::RESERVED.contains(&server) => {
                Err(format!("`{text}`: `{server}` is no server that the gate sends arguments to"))
            }
            Some((server, (tool, name))) if !server.is_empty() && !tool.is_empty() && !name.is_empty() => {
                let tool = ToolName { server: server.to_owned(), tool: tool.to_owned() };
                Ok(Self { tool, name: name.to_owned() })
            }
            _ => Err(format!("`{text}` is not SERVER/TOOL.ARGUMENT")),
        }
    }
}

impl From<Argument> for String {
    fn from(argument: Argument) -> Self {
        format!("{}.{}", argument.tool, argument.name)
    }
}

/// What programs get of a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expose {
    /// A placeholder; the value is put in on the wire.
    #[default]
    Placeholder,
    /// The value itself, for programs that cannot do without. Whatever runs in their sandbox can read it.
    Process,
}

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fetch {
    /// The encrypted store, under the secret's own name.
    #[default]
    Store,
    /// A variable of the gate's own environment.
    Env(String),
    /// A file, without the line break at its end.
    File(PathBuf),
    /// What a program prints; it is run without a shell.
    Exec(Vec<String>),
    /// The desktop's keyring.
    Keyring {
        /// Its `service` attribute.
        service: String,
        /// Its `account` attribute.
        account: String,
    },
    /// A Vault or OpenBao server.
    Vault(VaultServer),
    /// An OAuth 2.0 token endpoint.
    Oauth(Oauth),
    /// An installation of a GitHub App.
    GithubApp(GithubApp),
    /// A role of AWS, through STS.
    AwsRole(AwsRole),
}

/// A credential that is needed to get another: `env:NAME`, `file:PATH`, or another secret's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(String);

/// See [`vault::VaultSource`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of vault::VaultSource")]
pub struct VaultServer {
    pub address: String,
    pub mount: String,
    /// A path of the KV engine, version 2; or give a `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A role whose credentials the engine makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default = "value_field")]
    pub fields: Vec<String>,
    pub token: Origin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

fn value_field() -> Vec<String> {
    vec!["value".to_owned()]
}

/// See [`vault::OAuth`]. With `subject` it is a token exchange, with `refresh_token` a refresh, else client credentials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of RFC 6749 and RFC 8693")]
pub struct Oauth {
    pub token_endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Origin>,
    /// The client's secret goes in the body instead of the `Authorization` field.
    #[serde(default)]
    pub secret_in_body: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Origin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Origin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Origin>,
}

/// See [`vault::GitHubApp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are GitHub's")]
pub struct GithubApp {
    #[serde(default = "github_api")]
    pub api: String,
    pub app: String,
    pub installation: u64,
    pub key: Origin,
    #[serde(default)]
    pub repositories: Vec<String>,
    #[serde(default)]
    pub permissions: BTreeMap<String, String>,
}

fn github_api() -> String {
    "https://api.github.com".to_owned()
}

/// See [`vault::AssumeRole`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are AWS's")]
pub struct AwsRole {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    pub region: String,
    pub role: String,
    /// The session policy, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    #[serde(default = "quarter_of_an_hour")]
    pub seconds: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// `ACCESS_KEY_ID:SECRET_ACCESS_KEY`.
    pub credentials: Origin,
}

fn quarter_of_an_hour() -> u32 {
    900
}

/// One place a value may be put, and nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The host, by its exact name, with its port if that is not 443. Always inside TLS that the gate verified.
    pub host: String,
    /// Methods; any when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Paths, exact or ending in `/*`; any when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Where in the request.
    #[serde(default)]
    pub place: Place,
    /// Put it in also where the program sends no placeholder.
    #[serde(default)]
    pub always: bool,
    /// What in the answers is a credential itself: programs get placeholders of those too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capture: Vec<Caught>,
}

/// Where in a request a value goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// `Authorization: Bearer`.
    #[default]
    Bearer,
    /// `Authorization: Basic`, as the password of any user.
    Basic,
    /// The same, where the value is `USER:PASSWORD`.
    BasicPair,
    /// A header field, alone or after a prefix.
    Header(String),
    /// A header field with something before the value.
    PrefixedHeader {
        /// The field.
        name: String,
        /// What comes before, the space included.
        prefix: String,
    },
    /// A cookie.
    Cookie(String),
    /// A parameter of the query.
    Query(String),
    /// A field of a JSON or form body.
    Body(String),
    /// A signature of AWS; the value is `ACCESS_KEY_ID:SECRET_ACCESS_KEY` with perhaps `:SESSION_TOKEN`.
    Sigv4 {
        /// The service, such as `s3`.
        service: String,
        /// The region.
        region: String,
    },
}

/// A credential in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caught {
    /// A cookie of this name.
    Cookie(String),
    /// A field of a JSON answer, at most 1 MiB long.
    Field {
        /// Its name; dots lead into nested objects.
        name: String,
        /// Where programs put it afterwards, at the same host.
        #[serde(default)]
        place: Place,
    },
}

impl Fetch {
    fn is_store(&self) -> bool {
        *self == Self::Store
    }

    /// Where its value comes from, understood.
    ///
    /// # Errors
    /// What is missing or contradicts, in words.
    pub fn source(&self) -> Result<Source, String> {
        Ok(match self {
            Self::Store => Source::Store,
            Self::Env(name) => Source::Environment(name.clone()),
            Self::File(path) => Source::File(path.clone()),
            Self::Exec(argv) if argv.is_empty() => return Err("`exec` needs a program".to_owned()),
            Self::Exec(argv) => Source::Exec(argv.clone()),
            Self::Keyring { service, account } => {
                Source::Keyring { service: service.clone(), account: account.clone() }
            }
            Self::Vault(server) => Source::Vault(vault::VaultSource {
                address: server.address.clone(),
                mount: server.mount.clone(),
                engine: match (&server.path, &server.role) {
                    (Some(path), None) => vault::Engine::Kv2 { path: path.clone() },
                    (None, Some(role)) => vault::Engine::Lease { role: role.clone() },
                    _ => return Err("give `vault` a `path` or a `role`, and not both".to_owned()),
                },
                fields: server.fields.clone(),
                token: server.token.read()?,
                namespace: server.namespace.clone(),
                ca: server.ca.clone(),
            }),
            Self::Oauth(oauth) => Source::Minted(vault::Issuer::OAuth(oauth.read()?)),
            Self::GithubApp(app) => Source::Minted(vault::Issuer::GitHubApp(vault::GitHubApp {
                api: app.api.clone(),
                app: app.app.clone(),
                installation: app.installation,
                key: app.key.read()?,
                repositories: app.repositories.clone(),
                permissions: app.permissions.clone().into_iter().collect(),
            })),
            Self::AwsRole(role) => Source::Minted(vault::Issuer::AssumeRole(vault::AssumeRole {
                endpoint: role
                    .endpoint
                    .clone()
                    .unwrap_or_else(|| format!("https://sts.{}.amazonaws.com", role.region)),
                region: role.region.clone(),
                role: role.role.clone(),
                session: "bailiwick".to_owned(),
                policy: role.policy.clone(),
                seconds: role.seconds,
                external_id: role.external_id.clone(),
                credentials: role.credentials.read()?,
            })),
        })
    }
}

impl Origin {
    fn read(&self) -> Result<vault::Origin, String> {
        match self.0.split_once(':') {
            Some(("env", name)) => Ok(vault::Origin::Environment(name.to_owned())),
            Some(("file", path)) => Ok(vault::Origin::File(path.into())),
            Some(_) => Err(format!("`{}`: write `env:NAME`, `file:PATH` or a secret's name", self.0)),
            None => SecretName::new(&self.0).map(vault::Origin::Secret).map_err(|error| error.to_string()),
        }
    }
}

impl Oauth {
    fn read(&self) -> Result<vault::OAuth, String> {
        let auth = if self.secret_in_body { vault::ClientAuth::Post } else { vault::ClientAuth::Basic };
        let secret = self.client_secret.as_ref().map(Origin::read).transpose()?;
        let client = match (&self.client_id, secret) {
            (Some(id), secret) => {
                Some(vault::OAuthClient { id: id.clone(), secret: secret.map(|secret| (secret, auth)) })
            }
            (None, None) => None,
            (None, Some(_)) => return Err("`client_secret` needs a `client_id`".to_owned()),
        };
        let token = |origin: &Origin| origin.read().map(|origin| (origin, vault::TokenType::AccessToken));
        let grant = match (&self.subject, &self.refresh_token) {
            (None, None) => vault::OAuthGrant::ClientCredentials,
            (None, Some(refresh)) => vault::OAuthGrant::Refresh { token: refresh.read()? },
            (Some(subject), None) => vault::OAuthGrant::Exchange {
                subject: token(subject)?,
                actor: self.actor.as_ref().map(token).transpose()?,
                wanted: None,
            },
            (Some(_), Some(_)) => return Err("give `subject` or `refresh_token`, not both".to_owned()),
        };
        Ok(vault::OAuth {
            endpoint: self.token_endpoint.clone(),
            client,
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            resource: self.resource.clone(),
            grant,
        })
    }
}

impl Expose {
    fn is_placeholder(&self) -> bool {
        *self == Self::Placeholder
    }
}

impl Use {
    /// The binding it is.
    ///
    /// # Errors
    /// A host, method, path or field that is none, in words.
    pub fn binding(&self) -> Result<Binding, String> {
        let wrong = |error: vault::BadBinding| error.to_string();
        let (host, port) = match self.host.rsplit_once(':') {
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, port.ok_or_else(|| format!("`{}`: the port is no number from 1 to 65535", self.host))?)
            }
            None => (self.host.as_str(), 443),
        };
        let methods = self
            .methods
            .iter()
            .map(|method| method.parse().map_err(|_| format!("`{method}` is no method")))
            .collect::<Result<Vec<_>, _>>()?;
        let paths = self.paths.iter().map(|path| PathPattern::new(path)).collect::<Result<Vec<_>, _>>();
        let paths = paths.map_err(wrong)?;
        let capture = self.capture.iter().map(Caught::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Binding {
            host: HostPattern::new(host).map_err(wrong)?,
            port,
            methods: (!methods.is_empty()).then_some(methods),
            paths: (!paths.is_empty()).then_some(paths),
            place: self.place.read()?,
            always: self.always,
            capture,
        })
    }
}

impl Place {
    fn read(&self) -> Result<vault::Place, String> {
        let header = |name: &str, prefix: &str| {
            let name = name.parse().map_err(|_| format!("`{name}` is no header field"))?;
            Ok::<_, String>(vault::Place::Header { name, prefix: prefix.to_owned() })
        };
        Ok(match self {
            Self::Bearer => header("authorization", "Bearer ")?,
            Self::Basic => vault::Place::Basic { user: BasicUser::AsSent },
            Self::BasicPair => vault::Place::Basic { user: BasicUser::InSecret },
            Self::Header(name) => header(name, "")?,
            Self::PrefixedHeader { name, prefix } => header(name, prefix)?,
            Self::Cookie(name) => vault::Place::Cookie { name: name.clone() },
            Self::Query(parameter) => vault::Place::Query { parameter: parameter.clone() },
            Self::Body(field) => vault::Place::BodyField { field: field.clone() },
            Self::Sigv4 { service, region } => {
                vault::Place::SigV4 { service: service.clone(), region: region.clone() }
            }
        })
    }
}

impl Caught {
    fn read(&self) -> Result<Capture, String> {
        Ok(match self {
            Self::Cookie(name) => Capture::Cookie { name: name.clone() },
            Self::Field { name, place } => Capture::Field { field: name.clone(), place: place.read()? },
        })
    }
}
