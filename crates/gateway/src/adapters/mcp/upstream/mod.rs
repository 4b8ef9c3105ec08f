//! A connection to one MCP server, whichever transport and era it speaks.
//! Nothing here asks whether a message may be sent; whoever sends holds a permit.

mod child;
mod remote;

pub(crate) use remote::http_client;

use crate::adapters::egress;
use crate::arguments::Given;
use crate::config::{Confinement, Place, Reach, Server};
use crate::gate::Gate;
use crate::session::Session;
use crate::wire::frame::{self, Extensions, Object, raw};
use judge::request::Principal;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// The modern protocol version.
pub const MODERN: &str = "2026-07-28";
/// The versions with a handshake, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// How long a server may take to say what it is, in seconds.
const GREETING_SECONDS_MAX: u64 = 30;
/// How long a server may take to answer a probe it may not know, in seconds.
const PROBE_SECONDS_MAX: u64 = 5;
/// How long a server may take to accept a message it does not answer, in seconds.
const SEND_SECONDS_MAX: u64 = 35;
/// Messages from a server that wait to be handled; a server that sends more waits.
pub const INBOX_MESSAGES_MAX: usize = 256;

/// Reserved `_meta` members of the modern protocol.
pub mod meta {
    /// The protocol version of a request.
    pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// What the client can do.
    pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Who the client says it is.
    pub const CLIENT: &str = "io.modelcontextprotocol/clientInfo";
    /// The log level wanted for a request.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// Which `subscriptions/listen` a notification belongs to.
    pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
    /// Who the server says it is.
    pub const SERVER: &str = "io.modelcontextprotocol/serverInfo";
}

/// A protocol era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: handshake, sessions, requests from the server.
    Legacy,
    /// 2026-07-28: stateless, every request says who asks.
    Modern,
}

impl Era {
    /// The word records use.
    pub fn name(self) -> &'static str {
        match self {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        }
    }
}

/// What the client behind the gate says of itself; passed on so that servers see whom they serve.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its capabilities, as it sent them.
    pub capabilities: Box<RawValue>,
    /// Its name and version, as it sent them.
    pub info: Box<RawValue>,
    /// The handshake version it asked for.
    pub version: String,
}

impl Client {
    /// The gate itself, looking at everything: some servers offer a tool only to clients that can answer it.
    pub fn surveyor() -> Self {
        let capabilities = serde_json::json!({
            "roots": { "listChanged": true }, "sampling": {}, "elicitation": { "form": {}, "url": {} },
        });
        Self { capabilities: raw(capabilities), ..Self::gate() }
    }

    /// The gate itself, asking for nothing.
    pub fn gate() -> Self {
        Self {
            capabilities: raw(serde_json::json!({})),
            info: raw(serde_json::json!({ "name": "bailiwick", "version": env!("CARGO_PKG_VERSION") })),
            version: LEGACY[0].to_owned(),
        }
    }
}

/// What a server said of itself.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The era it speaks on this connection.
    pub era: Era,
    /// The result of `initialize` or `server/discover`, as received.
    pub result: Object,
}

/// What a server did by itself.
#[derive(Debug)]
pub enum Inbound {
    /// It sent a message.
    Message {
        /// The message.
        message: Object,
        /// The request it belongs to, where that is known.
        related: Option<u64>,
    },
    /// It closed the stream of a request it has not answered, to be asked again later (MCP 2025-11-25, polling).
    Paused {
        /// The request.
        related: u64,
        /// When to ask again, in milliseconds.
        retry_ms: u64,
    },
}

/// Why a server could not be used. The text is safe for agents: no command lines, no headers.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The program cannot be started.
    #[error("the server's program cannot be started: {0}")]
    Start(std::io::Error),
    /// It cannot be confined as configured, so it does not run.
    #[error("the server cannot be confined: {0}")]
    Unconfined(String),
    /// It ended, or closed its streams.
    #[error("the server has ended")]
    Gone,
    /// It did not answer in time.
    #[error("the server did not answer within {0} s")]
    Silent(u64),
    /// It answered something that is not the protocol.
    #[error("the server broke the protocol: {0}")]
    Broken(String),
    /// It refused the gate's credentials, or has none to accept.
    #[error(
        "the server wants authorization (HTTP {0}); set `headers`, or `auth = \"oauth\"`, for it in bailiwick.toml"
    )]
    Unauthorized(u16),
    /// The gate is not signed in there, or not for this; nobody but a person can change that.
    #[error("{0}")]
    SignIn(String),
    /// The connection failed.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// It forgot the session; the next call begins a new one.
    #[error("the server ended the session; call again")]
    SessionGone,
    /// It would not introduce itself.
    #[error("the server refused to start: {0}")]
    Refused(String),
}

impl UpstreamError {
    /// Whether the effect may have happened all the same.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Gone | Self::Silent(_) | Self::Broken(_) | Self::Unreachable(_) => true,
            Self::Start(_)
            | Self::Unconfined(_)
            | Self::Unauthorized(_)
            | Self::SignIn(_)
            | Self::SessionGone
            | Self::Refused(_) => false,
        }
    }
}

/// The session and gate that a server is used for: who answers for what its program does on the network, and whose credentials
/// are sent to it. A server that is looked at before there is a gate has none.
pub struct Host {
    /// The gate.
    pub gate: Arc<Gate>,
    /// The session's name in the journal.
    pub session: String,
    /// Who acts.
    pub principal: Principal,
}

impl Host {
    /// The way out for the program of server `name`, prepared in its `profile`.
    async fn exit(
        &self,
        name: &str,
        settings: &Confinement,
        profile: &mut sandbox::Profile,
    ) -> Result<Option<egress::Prepared>, String> {
        // A server's program acts for nobody's words.
        let conversation = self.gate.conversations.alone();
        let session = Session::named(self.session.clone(), self.principal.clone(), "egress", conversation);
        let owner = egress::Owner { session, from: format!("server {name}") };
        egress::Prepared::prepare(&self.gate, owner, settings, profile).await
    }
}

/// A connection to one server.
pub struct Upstream {
    wire: Arc<Wire>,
    greeting: Greeting,
    client: Client,
    next: AtomicU64,
}

enum Wire {
    Child(Box<child::Child>),
    Remote(remote::Remote),
}

impl Upstream {
    /// Connects to `server`, which is configured as `name`, for `host` and on behalf of `client`, in the era it `prefer`s where the
    /// server speaks both. What the server sends by itself goes to `inbox`.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn connect(
        name: &str,
        server: &Server,
        place: &Place,
        host: Option<&Host>,
        client: &Client,
        prefer: Era,
        inbox: mpsc::Sender<Inbound>,
    ) -> Result<Self, UpstreamError> {
        let reach = server.reach().map_err(|why| UpstreamError::Broken(why.to_owned()))?;
        let order = match prefer {
            Era::Legacy => [Era::Legacy, Era::Modern],
            Era::Modern => [Era::Modern, Era::Legacy],
        };
        let mut last = UpstreamError::Gone;
        let mut wire: Option<Wire> = None;
        for (attempt, era) in order.into_iter().enumerate() {
            let live = match wire.take() {
                Some(live) => live,
                None => match reach {
                    Reach::Command(command) => Wire::Child(Box::new(
                        child::Child::start(name, command, server, place, host, inbox.clone()).await?,
                    )),
                    Reach::Url(url) => {
                        Wire::Remote(remote::Remote::new(name, url, server, host, inbox.clone()).await?)
                    }
                },
            };
            match greet(&live, era, client, attempt).await {
                Ok(result) => {
                    let greeting = Greeting { era, result };
                    let upstream = Self {
                        wire: Arc::new(live),
                        greeting,
                        client: client.clone(),
                        next: AtomicU64::new(8),
                    };
                    upstream.settle().await?;
                    return Ok(upstream);
                }
                Err(
                    error @ (UpstreamError::Start(_)
                    | UpstreamError::Unconfined(_)
                    | UpstreamError::Unauthorized(_)
                    | UpstreamError::SignIn(_)
                    | UpstreamError::Unreachable(_)),
                ) => {
                    return Err(error);
                }
                Err(error) => {
                    // A process that died of the probe is started anew; one that only refused it is kept.
                    wire = (!matches!(error, UpstreamError::Gone)).then_some(live);
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// What the server said of itself.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The layers that hold for a server that the gate started confined.
    pub fn layers(&self) -> Option<&sandbox::Layers> {
        match &*self.wire {
            Wire::Child(child) => child.layers.as_ref(),
            Wire::Remote(_) => None,
        }
    }

    /// What the server gets where an agent named the secret `name` in an argument.
    pub(crate) fn given(&self, name: &vault::SecretName) -> Given {
        match &*self.wire {
            Wire::Child(child) => child.given(name),
            Wire::Remote(_) => Given::Value,
        }
    }

    /// Whether the connection still stands.
    pub fn is_alive(&self) -> bool {
        match &*self.wire {
            Wire::Child(child) => child.is_alive(),
            Wire::Remote(remote) => remote.is_alive(),
        }
    }

    /// A fresh request id on this connection.
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request under `id` and waits for its response, without a limit of time. Dropping the future gives up
    /// on the answer; over HTTP that cancels a modern request.
    ///
    /// # Errors
    /// [`UpstreamError`]; a JSON-RPC error is a response.
    pub async fn request(
        &self,
        id: u64,
        method: &str,
        params: Option<Object>,
        headers: &[(String, String)],
    ) -> Result<Object, UpstreamError> {
        self.request_with(id, method, params, headers, Extensions::new()).await
    }

    /// The same, with members of the envelope that are not JSON-RPC's.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn request_with(
        &self,
        id: u64,
        method: &str,
        params: Option<Object>,
        headers: &[(String, String)],
        extensions: Extensions,
    ) -> Result<Object, UpstreamError> {
        let params = self.dressed(params);
        let mut message = frame::request(id, method, params.as_ref().map(Object::to_raw));
        for (name, value) in extensions {
            message.set(&name, value);
        }
        self.wire.request(id, method, params.as_ref(), message, self.greeting.era, headers).await
    }

    /// Sends a notification.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn notify(&self, method: &str, params: Option<Object>) -> Result<(), UpstreamError> {
        let message = frame::notification(method, self.dressed(params).map(|params| params.to_raw()));
        self.wire.send(message).await
    }

    /// Answers a request of the server.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn respond(&self, response: Object) -> Result<(), UpstreamError> {
        self.wire.send(response).await
    }

    /// Tells the server, in its own time, that nobody waits for `id` any more.
    pub fn cancel_soon(&self, id: u64) {
        let over_http = matches!(*self.wire, Wire::Remote(_));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // A modern HTTP request is cancelled by closing its stream, which dropping its future did.
        if over_http && self.greeting.era == Era::Modern {
            return;
        }
        let wire = self.wire.clone();
        runtime.spawn(async move {
            let params = raw(serde_json::json!({ "requestId": id, "reason": "the caller gave up" }));
            if let Err(error) = wire.send(frame::notification("notifications/cancelled", Some(params))).await
            {
                tracing::debug!("a cancellation did not reach the server: {error}");
            }
        });
    }

    /// Params as this server's era wants them: modern requests say who asks, legacy ones do not.
    fn dressed(&self, params: Option<Object>) -> Option<Object> {
        let mut params = params.unwrap_or_default();
        let mut about = params.object("_meta").unwrap_or_default();
        match self.greeting.era {
            Era::Modern => {
                about.set(meta::VERSION, raw(MODERN));
                if about.get(meta::CAPABILITIES).is_none() {
                    about.set(meta::CAPABILITIES, self.client.capabilities.clone());
                }
                if about.get(meta::CLIENT).is_none() {
                    about.set(meta::CLIENT, self.client.info.clone());
                }
            }
            Era::Legacy => {
                for name in [meta::VERSION, meta::CAPABILITIES, meta::CLIENT, meta::LOG_LEVEL] {
                    about.remove(name);
                }
            }
        }
        if about.is_empty() {
            params.remove("_meta");
        } else {
            params.set("_meta", about.to_raw());
        }
        (!params.is_empty()).then_some(params)
    }

    /// Finishes a handshake.
    async fn settle(&self) -> Result<(), UpstreamError> {
        if self.greeting.era == Era::Legacy {
            let version = self.greeting.result.text("protocolVersion").unwrap_or_default();
            if let Wire::Remote(remote) = &*self.wire {
                remote.begin_session(&version);
            }
            self.wire.send(frame::notification("notifications/initialized", None)).await?;
            if let Wire::Remote(remote) = &*self.wire {
                remote.listen();
            }
        }
        Ok(())
    }
}

async fn greet(wire: &Wire, era: Era, client: &Client, attempt: usize) -> Result<Object, UpstreamError> {
    let (method, params) = match era {
        Era::Modern => {
            let about = serde_json::json!({
                meta::VERSION: MODERN, meta::CAPABILITIES: client.capabilities, meta::CLIENT: client.info,
            });
            ("server/discover", serde_json::json!({ "_meta": about }))
        }
        Era::Legacy => (
            "initialize",
            serde_json::json!({
                "protocolVersion": client.version, "capabilities": client.capabilities, "clientInfo": client.info,
            }),
        ),
    };
    // A server that does not know `server/discover` may stay silent; the handshake it must answer.
    let seconds = if era == Era::Modern && attempt == 0 { PROBE_SECONDS_MAX } else { GREETING_SECONDS_MAX };
    let params = Object::inside(&raw(params));
    let id = attempt as u64 + 1;
    let message = frame::request(id, method, params.as_ref().map(Object::to_raw));
    let answer = tokio::time::timeout(
        Duration::from_secs(seconds),
        wire.request(id, method, params.as_ref(), message, era, &[]),
    )
    .await
    .map_err(|_| UpstreamError::Silent(seconds))??;
    if let Some(error) = answer.object("error") {
        return Err(UpstreamError::Refused(
            error.text("message").unwrap_or_default().chars().take(300).collect(),
        ));
    }
    let result =
        answer.object("result").ok_or_else(|| UpstreamError::Broken("its greeting is no object".into()))?;
    let speaks = match era {
        Era::Legacy => result.text("protocolVersion").is_some(),
        Era::Modern => result
            .get("supportedVersions")
            .and_then(|raw| serde_json::from_str::<Vec<String>>(raw.get()).ok())
            .is_some_and(|versions| versions.iter().any(|version| version == MODERN)),
    };
    if speaks {
        Ok(result)
    } else {
        Err(UpstreamError::Refused("it speaks no version the gate knows".into()))
    }
}

impl Wire {
    async fn request(
        &self,
        id: u64,
        method: &str,
        params: Option<&Object>,
        message: Object,
        era: Era,
        headers: &[(String, String)],
    ) -> Result<Object, UpstreamError> {
        let name = params.and_then(|params| match method {
            "tools/call" | "prompts/get" => params.text("name"),
            "resources/read" => params.text("uri"),
            _ => None,
        });
        match self {
            Wire::Child(child) => child.request(id, message).await,
            Wire::Remote(remote) => remote.request(id, method, name.as_deref(), message, era, headers).await,
        }
    }

    async fn send(&self, message: Object) -> Result<(), UpstreamError> {
        let send = async {
            match self {
                Wire::Child(child) => child.send(&message).await,
                Wire::Remote(remote) => remote.send(&message).await,
            }
        };
        let limit = Duration::from_secs(SEND_SECONDS_MAX);
        tokio::time::timeout(limit, send).await.map_err(|_| UpstreamError::Silent(SEND_SECONDS_MAX))?
    }
}

/// The request a server's own message belongs to: a progress token or a subscription id, both of which are request
/// ids the gate gave out.
fn related(message: &Object) -> Option<u64> {
    let params = message.object("params")?;
    let token = params.get("progressToken").map(RawValue::get).and_then(|text| text.parse().ok());
    token.or_else(|| params.object("_meta")?.get(meta::SUBSCRIPTION)?.get().parse().ok())
}
