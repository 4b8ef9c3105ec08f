//! HashiCorp Vault and OpenBao over their HTTP API: KV version 2, and credentials with a lease, which are renewed while
//! in use and revoked when let go. The token is renewed as well; nothing the server says in an error is repeated.

use super::{Engine, VaultSource};
use crate::encode::percent;
use crate::net;
use crate::secret::Secret;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How often a token that cannot be renewed is tried again, in seconds.
const TOKEN_RETRY_SECONDS: u64 = 600;

/// One value on one server.
pub(crate) struct Hashi {
    source: VaultSource,
    base: String,
    http: Client,
    token_due: Mutex<Instant>,
}

/// What was read.
pub(crate) struct Read {
    pub(crate) secret: Secret,
    /// The version that the KV engine counts.
    pub(crate) version: Option<u64>,
    pub(crate) lease: Option<Lease>,
}

/// The right to use a made credential for a while. Dropping it gives it back.
pub(crate) struct Lease {
    pub(crate) duration: Duration,
    pub(crate) renewable: bool,
    id: String,
    hashi: Arc<Hashi>,
    token: Arc<Secret>,
}

impl Hashi {
    pub(crate) fn new(source: &VaultSource) -> Result<Arc<Self>, String> {
        let base = net::base(&source.address)?.to_owned();
        let http = net::client(source.ca.as_deref())?;
        // A clean path: the operator wrote it, but a `..` in it would ask for something else than it says.
        let (Engine::Kv2 { path } | Engine::Lease { role: path }) = &source.engine;
        for part in source.mount.split('/').chain(path.split('/')) {
            if part.is_empty() || part == "." || part == ".." {
                return Err(format!("`{}/{path}` is not a plain path", source.mount));
            }
        }
        Ok(Arc::new(Self { source: source.clone(), base, http, token_due: Mutex::new(Instant::now()) }))
    }

    /// The server, for messages.
    pub(crate) fn host(&self) -> String {
        net::host(&self.base)
    }

    pub(crate) async fn read(self: &Arc<Self>, token: Arc<Secret>) -> Result<Read, String> {
        self.renew_token(&token).await;
        let mount = percent(self.source.mount.as_bytes(), b"/");
        let path = match &self.source.engine {
            Engine::Kv2 { path } => format!("{}/data/{}", *mount, *percent(path.as_bytes(), b"/")),
            Engine::Lease { role } => format!("{}/creds/{}", *mount, *percent(role.as_bytes(), b"/")),
        };
        let mut answer = self.ask(Method::GET, &path, &token, None).await?;
        let version = answer.pointer("/data/metadata/version").and_then(Value::as_u64);
        let lease = self.lease(&answer, &token);
        let fields = match self.source.engine {
            Engine::Kv2 { .. } => answer.pointer_mut("/data/data"),
            Engine::Lease { .. } => answer.pointer_mut("/data"),
        };
        let fields = fields.and_then(Value::as_object_mut).ok_or("its answer has no data")?;
        let secret = join(fields, &self.source.fields)?;
        Ok(Read { secret, version, lease })
    }

    fn lease(self: &Arc<Self>, answer: &Value, token: &Arc<Secret>) -> Option<Lease> {
        let id = answer["lease_id"].as_str().filter(|id| !id.is_empty())?;
        Some(Lease {
            duration: Duration::from_secs(answer["lease_duration"].as_u64().unwrap_or(0)),
            renewable: answer["renewable"].as_bool().unwrap_or(false),
            id: id.to_owned(),
            hashi: self.clone(),
            token: token.clone(),
        })
    }

    /// Renews the token itself when two thirds of its time are over. Root tokens and the like cannot be renewed; that is
    /// no reason not to use them, and an expired one shows at the next read.
    async fn renew_token(&self, token: &Secret) {
        {
            let mut due = self.token_due.lock().unwrap_or_else(PoisonError::into_inner);
            if Instant::now() < *due {
                return;
            }
            *due = Instant::now() + Duration::from_secs(TOKEN_RETRY_SECONDS);
        }
        let renewed = self.ask(Method::POST, "auth/token/renew-self", token, Some("{}".into())).await;
        let seconds = renewed.ok().and_then(|answer| answer["auth"]["lease_duration"].as_u64()).unwrap_or(0);
        if seconds > 0 {
            let due = Instant::now() + Duration::from_secs(seconds.min(30 * 86_400)) * 2 / 3;
            *self.token_due.lock().unwrap_or_else(PoisonError::into_inner) = due;
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &Secret,
        body: Option<String>,
    ) -> Result<Value, String> {
        let answer = net::ask(self.request(method, path, token, body)?).await?;
        match answer.status.as_u16() {
            200 => answer.json(),
            204 => Ok(Value::Null),
            403 => Err("it refused the token (403)".into()),
            404 => Err("it has nothing there (404)".into()),
            status => Err(format!("it answered {status}")),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        token: &Secret,
        body: Option<String>,
    ) -> Result<RequestBuilder, String> {
        let mut token =
            token.expose(http::HeaderValue::from_bytes).map_err(|_| "the token is not usable in a header")?;
        token.set_sensitive(true);
        let mut request = self
            .http
            .request(method, format!("{}/v1/{path}", self.base))
            .header("x-vault-token", token)
            .header("x-vault-request", "true");
        if let Some(namespace) = &self.source.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        Ok(match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        })
    }
}

impl Lease {
    /// How long the lease now lasts, if it could be extended.
    pub(crate) async fn renew(&self) -> Result<Duration, String> {
        let increment = self.duration.as_secs();
        let body = serde_json::json!({ "lease_id": self.id, "increment": increment }).to_string();
        let answer = self.hashi.ask(Method::POST, "sys/leases/renew", &self.token, Some(body)).await?;
        let granted = answer["lease_duration"].as_u64().unwrap_or(0);
        // Near its longest life a lease is extended by less and less; then a new credential is due.
        if granted * 2 < increment || granted == 0 {
            return Err("the lease can no longer be extended".into());
        }
        Ok(Duration::from_secs(granted))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let body = serde_json::json!({ "lease_id": self.id }).to_string();
        let (hashi, token) = (self.hashi.clone(), self.token.clone());
        runtime.spawn(async move {
            drop(hashi.ask(Method::POST, "sys/leases/revoke", &token, Some(body)).await);
        });
    }
}

/// The named fields, joined with `:`. Whatever else came with them is wiped.
fn join(fields: &mut Map<String, Value>, names: &[String]) -> Result<Secret, String> {
    let mut joined = Zeroizing::new(Vec::with_capacity(4096));
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            joined.push(b':');
        }
        let value =
            fields.get(name).and_then(Value::as_str).ok_or_else(|| format!("it has no field `{name}`"))?;
        joined.extend_from_slice(value.as_bytes());
    }
    for (_, value) in std::mem::take(fields) {
        if let Value::String(text) = value {
            drop(Zeroizing::new(text));
        }
    }
    Secret::copy_of(&joined).map_err(|error| error.to_string())
}
