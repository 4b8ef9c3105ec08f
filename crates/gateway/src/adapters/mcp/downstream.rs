//! One client: who it is, which servers it reaches, what it waits for and what is asked of it.
//! It routes messages between the client and its links; whatever carries data goes through `serve` and the pipeline.

use super::bridge;
use super::link::{Ask, Lane, Link};
use super::upstream::{Client, Era, Inbound, MODERN, UpstreamError, meta};
use super::{DENIED, INTERNAL_ERROR, METHOD_NOT_FOUND};
use crate::facts::Scene;
use crate::gate::{Gate, SessionGuard};
use crate::pipeline::{self, Stop};
use crate::receipt::{Failed, Output};
use crate::session::Session;
use crate::wire::frame::{self, Extensions, Kind, Object, raw};
use crate::wire::record::{Body, Status};
use judge::filter::Rewritable;
use judge::label::Labeled;
use judge::request::tree::Tree;
use judge::tool::ToolName;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How long a client may take to answer a server's question, in seconds.
const CLIENT_SECONDS_MAX: u64 = 600;
/// How long after a failure a server is not tried again, in seconds.
const RETRY_SECONDS_MIN: u64 = 10;
/// Requests one client may have under way.
const RUNNING_MAX: usize = 1_024;
/// Subscriptions one client may hold.
pub(super) const LISTENS_MAX: usize = 64;

/// Which servers an endpoint offers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// One, its names unchanged.
    One(String),
    /// All, their tools and prompts named `SERVER__NAME`.
    All,
}

/// A client's session.
pub struct Downstream {
    pub(super) gate: Arc<Gate>,
    pub(super) session: Session,
    pub(super) endpoint: Endpoint,
    pub(super) era: Era,
    pub(super) client: Client,
    /// Where it was started, where that is known.
    pub(super) cwd: OnceLock<String>,
    /// Where messages go that belong to no request.
    pub(super) lane: Lane,
    links: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
    /// Questions to the client that wait for its answer.
    asked: Mutex<HashMap<u64, Asked>>,
    next_ask: AtomicU64,
    running: Mutex<HashMap<String, CancellationToken>>,
    pub(super) parked: Mutex<HashMap<String, super::serve::Parked>>,
    pub(super) listens: Mutex<HashMap<String, Listen>>,
    pub(super) log_level: Mutex<Option<String>>,
    /// Subscriptions of a legacy client at modern servers, by URI.
    pub(super) subscribed: Mutex<HashMap<String, Held>>,
    /// Which server offers a resource, as learned from lists.
    pub(super) resource_homes: Mutex<HashMap<String, String>>,
    /// Ends the tasks of this session.
    pub(super) ended: CancellationToken,
    _guard: SessionGuard,
}

/// One server's place in a session.
#[derive(Default)]
struct Slot {
    link: Option<Arc<Link>>,
    /// When connecting failed last, and why.
    failed: Option<(Instant, String)>,
}

/// A request under way; forgotten when this is dropped, also with a client that went away.
struct Underway {
    downstream: Arc<Downstream>,
    key: String,
    cancelled: CancellationToken,
}

impl Drop for Underway {
    fn drop(&mut self) {
        locked(&self.downstream.running).remove(&self.key);
    }
}

/// A question to a legacy client. One that nobody waits for any more is taken back.
struct Question<'a> {
    downstream: &'a Downstream,
    lane: &'a Lane,
    id: u64,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if locked(&self.downstream.asked).remove(&self.id).is_some() {
            let params = raw(serde_json::json!({ "requestId": self.id }));
            self.lane.offer(frame::notification("notifications/cancelled", Some(params)));
        }
    }
}

struct Asked {
    answer: oneshot::Sender<Object>,
    /// The server's own request: its name and raw id.
    origin: (String, String),
}

/// A subscription at a server that ends when this is dropped.
pub(super) struct Held(Option<tokio::task::AbortHandle>);

impl Held {
    /// Lets it last as long as the session.
    fn for_good(mut self) {
        self.0 = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A modern client's subscription.
#[derive(Clone)]
pub struct Listen {
    /// Its id, which names it in every notification.
    pub id: Box<RawValue>,
    /// What it wants.
    pub filter: serde_json::Value,
    /// Where it goes.
    pub lane: Lane,
}

/// How one request came.
pub struct Arrival {
    /// Where its notifications go.
    pub lane: Lane,
    /// Members of the request's envelope that are not JSON-RPC's.
    pub envelope: Extensions,
    /// Members of the response's envelope that are not JSON-RPC's, as the server sent them.
    pub extensions: Arc<Mutex<Extensions>>,
    /// What tells it from other requests under way, where ids of several clients may collide; its id otherwise.
    pub key: Option<String>,
    /// Its `Mcp-Param-*` headers, for modern HTTP: lowercase name and decoded value.
    pub param_headers: Option<Vec<(String, String)>>,
}

impl Arrival {
    /// A request whose messages go to `lane`.
    pub fn on(lane: Lane) -> Self {
        Self { lane, envelope: Extensions::new(), extensions: Arc::default(), key: None, param_headers: None }
    }
}

/// An error to answer with.
pub struct Refusal {
    /// JSON-RPC code.
    pub code: i64,
    /// For people and models.
    pub message: String,
    /// More, as the protocol defines.
    pub data: Option<serde_json::Value>,
    /// A server's own error object, passed on as it is in place of the above.
    pub object: Option<Box<RawValue>>,
}

impl Refusal {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None, object: None }
    }
}

impl Refusal {
    /// A server's error object.
    pub fn passed_on(error: &Object) -> Self {
        Self {
            code: error.get("code").and_then(|code| code.get().parse().ok()).unwrap_or(INTERNAL_ERROR),
            message: error.text("message").unwrap_or_default(),
            data: None,
            object: Some(error.to_raw()),
        }
    }

    /// The error response to `id`.
    pub fn response(self, id: &RawValue) -> Object {
        match self.object {
            Some(object) => {
                Object::default().with("jsonrpc", raw("2.0")).with("id", id.to_owned()).with("error", object)
            }
            None => frame::error(Some(id), self.code, &self.message, self.data),
        }
    }
}

/// What is answered in place of a call that does not go out.
pub(super) enum Instead {
    /// Words for the model.
    Told(String),
    /// An error.
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Instead {
    fn from(refusal: E) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        Self::new(INTERNAL_ERROR, error.to_string())
    }
}

impl Downstream {
    /// Begins a session of a client.
    pub fn begin(
        gate: &Arc<Gate>,
        transport: &'static str,
        endpoint: Endpoint,
        era: Era,
        client: Client,
        lane: Lane,
    ) -> Arc<Self> {
        let conversation = gate.conversations.alone();
        let session = Session::new(gate.principal(), transport, conversation);
        let guard = gate.open_session(&session, client.info.get(), era.name());
        Arc::new(Self {
            gate: gate.clone(),
            session,
            endpoint,
            era,
            client,
            cwd: OnceLock::new(),
            lane,
            links: Mutex::default(),
            asked: Mutex::default(),
            next_ask: AtomicU64::new(1),
            running: Mutex::default(),
            parked: Mutex::default(),
            listens: Mutex::default(),
            log_level: Mutex::default(),
            subscribed: Mutex::default(),
            resource_homes: Mutex::default(),
            ended: CancellationToken::new(),
            _guard: guard,
        })
    }

    /// Makes its session part of the conversation of this name.
    pub fn join(&self, conversation: &str) {
        self.session.join(self.gate.conversations.named(conversation));
    }

    /// Makes its session one of this agent's behind the wall.
    pub fn begins_at(&self, insider: &Arc<crate::launch::Insider>) {
        self.session.begins_at(insider);
    }

    /// The client that opens with `first`, and the era it speaks: modern requests say so in `_meta`.
    pub fn client_of(first: &Object) -> (Era, Client) {
        let params = first.object("params").unwrap_or_default();
        let about = params.object("_meta").unwrap_or_default();
        let is_modern = first.method() != "initialize" && about.get(meta::VERSION).is_some();
        let own = Client::gate();
        let pick = |modern: Option<&RawValue>, legacy: Option<&RawValue>| {
            let found = if is_modern { modern } else { legacy };
            found.filter(|raw| raw.get().starts_with('{')).map(RawValue::to_owned)
        };
        let client = Client {
            capabilities: pick(about.get(meta::CAPABILITIES), params.get("capabilities"))
                .unwrap_or(own.capabilities),
            info: pick(about.get(meta::CLIENT), params.get("clientInfo")).unwrap_or(own.info),
            version: params
                .text("protocolVersion")
                .map_or(own.version, |asked| bridge::spoken(&asked).to_owned()),
        };
        (if is_modern { Era::Modern } else { Era::Legacy }, client)
    }

    /// Era of this client.
    pub fn era(&self) -> Era {
        self.era
    }

    /// The handshake version this client asked for.
    pub fn client_version(&self) -> &str {
        &self.client.version
    }

    /// Ends everything this session started.
    pub fn end(&self) {
        self.ended.cancel();
        if let Some(hooks) = self.gate.hooks.get().and_then(Weak::upgrade) {
            hooks.gone(self.session.id());
        }
        locked(&self.parked).clear();
    }

    /// Takes one message of the client; the response, where there is one. A request counts as under way from this
    /// call on, not from when the future is first polled, so that a cancellation right behind it finds it.
    pub fn receive(
        self: &Arc<Self>,
        message: Object,
        mut arrival: Arrival,
    ) -> impl Future<Output = Option<Object>> + Send + use<> {
        let this = self.clone();
        let kind = message.kind();
        arrival.envelope = message.extensions();
        let begun = match &kind {
            Ok(Kind::Request) => Some(self.begin_request(&message, &arrival)),
            _ => None,
        };
        async move {
            match (kind, begun) {
                (Ok(Kind::Request), Some(Ok((id, underway)))) => {
                    let extensions = arrival.extensions.clone();
                    let response = tokio::select! {
                        response = this.serve(&message, arrival) => Some(response),
                        () = underway.cancelled.cancelled() => None,
                    };
                    drop(underway);
                    response.map(|response| {
                        let mut response = match response {
                            Ok(result) => frame::result(&id, result),
                            Err(refusal) => refusal.response(&id),
                        };
                        for (name, value) in locked(&extensions).drain(..) {
                            response.set(&name, value);
                        }
                        response
                    })
                }
                (Ok(Kind::Request), Some(Err(refusal))) => Some(refusal),
                (Ok(Kind::Request), None) => None,
                (Ok(Kind::Notification), _) => {
                    this.notified(message).await;
                    None
                }
                (Ok(Kind::Response), _) => {
                    this.answered(message);
                    None
                }
                (Err(error), _) => Some(frame::error(None, super::INVALID_REQUEST, &error.to_string(), None)),
            }
        }
    }

    fn begin_request(
        self: &Arc<Self>,
        message: &Object,
        arrival: &Arrival,
    ) -> Result<(Box<RawValue>, Underway), Object> {
        let Some(id) = message.get("id").map(RawValue::to_owned) else {
            return Err(frame::error(None, super::INVALID_REQUEST, "the request has no id", None));
        };
        let key = arrival.key.clone().unwrap_or_else(|| id.get().to_owned());
        let cancelled = CancellationToken::new();
        let mut running = locked(&self.running);
        if running.len() >= RUNNING_MAX {
            let text = format!("more than {RUNNING_MAX} requests are under way");
            return Err(frame::error(Some(&id), INTERNAL_ERROR, &text, None));
        }
        if running.contains_key(&key) {
            let text = "this id is under way already";
            return Err(frame::error(Some(&id), super::INVALID_REQUEST, text, None));
        }
        running.insert(key.clone(), cancelled.clone());
        Ok((id, Underway { downstream: self.clone(), key, cancelled }))
    }

    async fn notified(self: &Arc<Self>, message: Object) {
        let method = message.method();
        let params = message.object("params").unwrap_or_default();
        match method.as_str() {
            "notifications/initialized" => {}
            "notifications/cancelled" => {
                if let Some(id) = params.get("requestId")
                    && let Some(running) = locked(&self.running).get(id.get())
                {
                    running.cancel();
                }
            }
            // Said bare: what else the client wrote is nothing anyone decided on.
            "notifications/roots/list_changed" => {
                for link in self.open_links().await {
                    if link.era() == Era::Legacy {
                        drop(link.upstream.notify(&method, None).await);
                    }
                }
            }
            _ => self.unknown_notification(&method, params).await,
        }
    }

    fn answered(&self, message: Object) {
        let id = message.get("id").and_then(|id| id.get().parse().ok());
        match id.and_then(|id: u64| locked(&self.asked).remove(&id)) {
            Some(asked) => drop(asked.answer.send(message)),
            None => tracing::debug!("a client answered a question nobody asked"),
        }
    }

    /// The servers this endpoint offers, by name.
    pub(super) fn servers(&self) -> Vec<String> {
        match &self.endpoint {
            Endpoint::One(server) => vec![server.clone()],
            Endpoint::All => self.gate.config.server.keys().cloned().collect(),
        }
    }

    /// The links open now.
    pub(super) async fn open_links(&self) -> Vec<Arc<Link>> {
        let slots: Vec<_> = locked(&self.links).values().cloned().collect();
        let mut open = Vec::new();
        for slot in slots {
            open.extend(slot.lock().await.link.clone());
        }
        open
    }

    /// The link to `server`, opened at first use and again after the server ended. A server that just failed is not
    /// tried again at once, so that it delays nobody twice.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub(super) async fn link(self: &Arc<Self>, server: &str) -> Result<Arc<Link>, UpstreamError> {
        let slot = locked(&self.links).entry(server.to_owned()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(link) = slot.link.as_ref().filter(|link| link.upstream.is_alive()) {
            return Ok(link.clone());
        }
        if let Some((at, why)) = &slot.failed
            && at.elapsed() < Duration::from_secs(RETRY_SECONDS_MIN)
        {
            return Err(UpstreamError::Refused(why.clone()));
        }
        let (link, messages) =
            match Link::open(&self.gate, &self.session, server, &self.client, self.era).await {
                Ok(opened) => opened,
                Err(error) => {
                    // Whether somebody signed in is looked up here, and may change any moment.
                    if !matches!(error, UpstreamError::SignIn(_)) {
                        slot.failed = Some((Instant::now(), error.to_string()));
                    }
                    return Err(error);
                }
            };
        tokio::spawn(listen(Arc::downgrade(self), link.clone(), messages, self.ended.clone()));
        if link.era() == Era::Modern {
            let kinds = [
                ("tools", "toolsListChanged"),
                ("prompts", "promptsListChanged"),
                ("resources", "resourcesListChanged"),
            ];
            let wanted: serde_json::Map<_, _> = kinds
                .iter()
                .filter(|(capability, _)| link.has(&format!("/{capability}/listChanged")))
                .map(|(_, name)| ((*name).to_owned(), serde_json::json!(true)))
                .collect();
            if !wanted.is_empty() {
                self.hold(&link, serde_json::Value::Object(wanted)).for_good();
            }
        }
        *slot = Slot { link: Some(link.clone()), failed: None };
        Ok(link)
    }

    /// Holds a subscription at a modern server for as long as this session lasts.
    pub(super) fn hold(&self, link: &Arc<Link>, filter: serde_json::Value) -> Held {
        let (link, ended) = (Arc::downgrade(link), self.ended.clone());
        let task = tokio::spawn(async move {
            let Some(link) = link.upgrade() else { return };
            tokio::select! {
                () = link.hold_listen(filter) => {}
                () = ended.cancelled() => {}
            }
        });
        Held(Some(task.abort_handle()))
    }

    /// Brings a message that a server sent by itself to the client.
    async fn inbound(self: &Arc<Self>, link: &Arc<Link>, inbound: Inbound) {
        let (message, related) = match inbound {
            Inbound::Message { message, related } => (message, related),
            Inbound::Paused { related, retry_ms } => {
                if let Some(call) = link.call(Some(related)) {
                    call.lane.pause(retry_ms).await;
                }
                return;
            }
        };
        let id = message.get("id").map(RawValue::to_owned);
        let Some(message) = self.shown_message(&link.server, message) else {
            if let Some(id) = id {
                let error = frame::error(
                    Some(&id),
                    INTERNAL_ERROR,
                    "the question was withheld from the client",
                    None,
                );
                drop(link.upstream.respond(error).await);
            }
            return;
        };
        if matches!(message.kind(), Ok(Kind::Request)) {
            let (this, link) = (self.clone(), link.clone());
            // A server that asks without end, or never reads the answers, waits for its own earlier questions.
            let Ok(one_of_few) = link.questions.clone().acquire_owned().await else { return };
            tokio::spawn(async move {
                this.question(&link, message, related).await;
                drop(one_of_few);
            });
            return;
        }
        let method = message.method();
        match method.as_str() {
            "notifications/progress" => progress(link, message, related),
            "notifications/message" => self.logged(link, message, related),
            "notifications/cancelled" => self.withdrawn(link, &message),
            "notifications/subscriptions/acknowledged" => {}
            "notifications/tools/list_changed" => {
                link.tools_changed();
                self.announce("toolsListChanged", message);
            }
            "notifications/prompts/list_changed" => self.announce("promptsListChanged", message),
            "notifications/resources/list_changed" => self.announce("resourcesListChanged", message),
            "notifications/resources/updated" => self.announce("resourceSubscriptions", message),
            _ => match link.call(related).filter(|_| related.is_some()) {
                Some(call) => call.lane.offer(message),
                None => self.lane.offer(message),
            },
        }
    }

    fn logged(&self, link: &Link, message: Object, related: Option<u64>) {
        let call = link.call(related);
        match (self.era, call) {
            (Era::Legacy, Some(call)) if related.is_some() => call.lane.offer(message),
            (Era::Legacy, _) => self.lane.offer(message),
            (Era::Modern, Some(call)) => {
                let level =
                    message.object("params").and_then(|params| params.text("level")).unwrap_or_default();
                let wanted = call.log_level.as_deref();
                if wanted.is_some_and(|wanted| bridge::log_rank(&level) >= bridge::log_rank(wanted)) {
                    call.lane.offer(message);
                }
            }
            // A modern client hears of a request only on that request's stream.
            (Era::Modern, None) => {}
        }
    }

    /// A change of lists or resources: a legacy client always hears it, a modern one where it listens.
    fn announce(&self, kind: &str, message: Object) {
        let params = message.object("params").unwrap_or_default();
        let without_subscription = |mut params: Object| {
            let mut about = params.object("_meta").unwrap_or_default();
            about.remove(meta::SUBSCRIPTION);
            if about.is_empty() {
                params.remove("_meta");
            } else {
                params.set("_meta", about.to_raw());
            }
            params
        };
        let bare = without_subscription(params);
        if self.era == Era::Legacy {
            let mut message = message;
            if bare.is_empty() {
                message.remove("params");
            } else {
                message.set("params", bare.to_raw());
            }
            return self.lane.offer(message);
        }
        let listens: Vec<Listen> = locked(&self.listens).values().cloned().collect();
        let changed = bare.text("uri").unwrap_or_default();
        for listen in listens {
            let wants = match &listen.filter[kind] {
                serde_json::Value::Bool(wants) => *wants,
                serde_json::Value::Array(uris) => {
                    uris.iter().filter_map(serde_json::Value::as_str).any(|uri| changed.starts_with(uri))
                }
                _ => false,
            };
            if wants {
                let about =
                    bare.object("_meta").unwrap_or_default().with(meta::SUBSCRIPTION, listen.id.clone());
                let params = bare.clone().with("_meta", about.to_raw());
                listen.lane.offer(message.clone().with("params", params.to_raw()));
            }
        }
    }

    /// A server takes back its question.
    fn withdrawn(&self, link: &Link, message: &Object) {
        let Some(id) =
            message.object("params").and_then(|params| params.get("requestId").map(|id| id.get().to_owned()))
        else {
            return;
        };
        let origin = (link.server.clone(), id);
        let asked = {
            let mut asked = locked(&self.asked);
            let found = asked.iter().find(|(_, asked)| asked.origin == origin).map(|(id, _)| *id);
            found.inspect(|id| drop(asked.remove(id)))
        };
        if let Some(id) = asked {
            let params = raw(serde_json::json!({ "requestId": id }));
            self.lane.offer(frame::notification("notifications/cancelled", Some(params)));
        }
    }

    /// A server's question to the client: judged like any call, then asked in the client's way.
    async fn question(self: &Arc<Self>, link: &Arc<Link>, message: Object, related: Option<u64>) {
        let Some(id) = message.get("id").map(RawValue::to_owned) else { return };
        let method = message.method();
        if method == "ping" {
            return drop(link.upstream.respond(frame::result(&id, raw(serde_json::json!({})))).await);
        }
        let params = message.get("params").map(RawValue::to_owned);
        let origin = (link.server.clone(), id.get().to_owned());
        let call = link.call(related);
        let response = match self.put(&link.server, &method, params.as_deref(), call, origin).await {
            Ok(answer) => frame::result(&id, answer),
            Err(refusal) => refusal.response(&id),
        };
        drop(link.upstream.respond(response).await);
    }

    /// Puts a judged question to the client and returns its bare result.
    pub(super) async fn put(
        self: &Arc<Self>,
        server: &str,
        method: &str,
        params: Option<&RawValue>,
        call: Option<super::link::Call>,
        origin: (String, String),
    ) -> Result<Box<RawValue>, Refusal> {
        self.can_be_asked(method)?;
        let (name, arguments) = operation(server, method, params)?;
        let source = name.clone();
        let (lane, asks) = match call {
            Some(call) => (call.lane, call.asks),
            None => (self.lane.clone(), None),
        };
        let era = self.era;
        let scene = Scene::default();
        let asked = pipeline::call(
            &self.gate,
            &self.session,
            self.session.call(name, arguments),
            &scene,
            |permit| async move {
                drop(permit);
                let answer = match (era, asks) {
                    (Era::Legacy, _) => self.ask_legacy(&lane, method, params, origin).await,
                    (Era::Modern, Some(asks)) => ask_modern(&asks, method, params).await,
                    (Era::Modern, None) => Err("the client cannot be asked outside of a call".to_owned()),
                };
                answer
                    .map(|answer| Labeled::new(Bytes(answer), source))
                    .map_err(|why| Failed::new(Status::Failed, why))
            },
        );
        match asked.await {
            Ok(released) => Ok(released.value.0),
            Err(stop) => Err(refusal(&stop)),
        }
    }

    /// A client is asked only what it said it can answer.
    pub(super) fn can_be_asked(&self, method: &str) -> Result<(), Refusal> {
        let needed = match method {
            "sampling/createMessage" => "sampling",
            "elicitation/create" => "elicitation",
            "roots/list" => "roots",
            _ => return Ok(()),
        };
        let declared = Object::inside(&self.client.capabilities).is_some_and(|all| all.get(needed).is_some());
        if declared {
            return Ok(());
        }
        Err(Refusal::new(METHOD_NOT_FOUND, format!("the client did not declare `{needed}`")))
    }

    pub(super) async fn ask_legacy(
        &self,
        lane: &Lane,
        method: &str,
        params: Option<&RawValue>,
        origin: (String, String),
    ) -> Result<Box<RawValue>, String> {
        if lane.0.is_closed() {
            return Err("the client cannot be asked within this call".to_owned());
        }
        let id = self.next_ask.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        locked(&self.asked).insert(id, Asked { answer, origin });
        let question = Question { downstream: self, lane, id };
        lane.send(frame::request(id, method, params.map(RawValue::to_owned))).await;
        let answer = tokio::time::timeout(Duration::from_secs(CLIENT_SECONDS_MAX), answered).await;
        drop(question);
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Err("the question was withdrawn".to_owned()),
            Err(_) => return Err(format!("the client did not answer within {CLIENT_SECONDS_MAX} s")),
        };
        match (answer.get("result"), answer.object("error")) {
            (Some(result), _) => Ok(result.to_owned()),
            (None, error) => Err(error
                .and_then(|error| error.text("message"))
                .unwrap_or_else(|| "the client refused".to_owned())),
        }
    }

    /// A notification of a method this version does not know: passed on if policy permits `mcp:other`.
    async fn unknown_notification(self: &Arc<Self>, method: &str, params: Object) {
        for link in self.open_links().await {
            let Ok((name, arguments)) = operation(&link.server, method, Some(&params.to_raw())) else {
                return;
            };
            let source = name.clone();
            let scene = Scene::default();
            let sent = pipeline::call(
                &self.gate,
                &self.session,
                self.session.call(name, arguments),
                &scene,
                |permit| async {
                    drop(permit);
                    let sent = link.upstream.notify(method, Some(params.clone())).await;
                    sent.map(|()| Labeled::new(Bytes(raw(serde_json::json!({}))), source))
                        .map_err(|error| Failed::new(Status::Failed, error.to_string()))
                },
            );
            drop(sent.await);
        }
    }

    /// Notes something odd that is not a call.
    pub(super) fn alert(&self, rule: &str, detail: &str) {
        let detail = self.gate.screen.said(self.session.hidden(), detail);
        let body = Body::Alert { rule: rule.to_owned(), detail, call: String::new() };
        self.gate.history.note(Some(self.session.id()), body);
    }
}

/// A raw JSON result as released output.
pub(super) struct Bytes(pub(super) Box<RawValue>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.get().as_bytes()
    }
}

impl Rewritable for Bytes {
    const SEARCHED: bool = false;

    fn with_text(self, _: Vec<u8>) -> Option<Self> {
        None
    }
}

impl Output for Bytes {}

/// The name policy knows a protocol method by, and its parameters as arguments; `_meta` is the protocol's own.
pub(super) fn operation(
    server: &str,
    method: &str,
    params: Option<&RawValue>,
) -> Result<(ToolName, Tree), Refusal> {
    let unusable = |why: String| Refusal::new(super::INVALID_PARAMS, why);
    let tree = match params {
        Some(params) => Tree::parse(params.get().as_bytes()).map_err(|error| unusable(error.to_string()))?,
        None => Tree::Null,
    };
    let mut members = match tree {
        Tree::Map(members) => members,
        Tree::Null => Vec::new(),
        _ => return Err(unusable("`params` is not an object".to_owned())),
    };
    members.retain(|(name, _)| name != "_meta");
    let known = [
        "resources/read",
        "resources/subscribe",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
    ];
    let (tool, members) = if known.contains(&method) {
        (format!("mcp:{method}"), members)
    } else {
        let whole = vec![
            ("method".to_owned(), Tree::Text(method.to_owned())),
            ("params".to_owned(), Tree::Map(members)),
        ];
        ("mcp:other".to_owned(), whole)
    };
    Ok((ToolName { server: server.to_owned(), tool }, Tree::Map(members)))
}

/// How a call that ended without a result is answered.
pub(super) fn refusal(stop: &Stop) -> Refusal {
    match stop {
        Stop::Denied(denied) => {
            Refusal::new(DENIED, format!("denied by the gate: {} (record {})", denied.why, denied.call))
        }
        Stop::Failed(failed) => Refusal::new(INTERNAL_ERROR, failed.detail.clone()),
        Stop::Deferred(approval) => {
            Refusal::new(DENIED, format!("denied by the gate: approval {approval} waits for an answer"))
        }
    }
}

/// Knows no such method.
pub(super) fn unknown_method(method: &str) -> Refusal {
    Refusal::new(METHOD_NOT_FOUND, format!("method not found: {method}"))
}

/// Speaks another version than `asked`.
pub(super) fn unsupported_version(asked: &str) -> Refusal {
    Refusal {
        code: super::UNSUPPORTED_VERSION,
        message: format!("unsupported protocol version: {asked}"),
        data: Some(serde_json::json!({ "supported": [MODERN], "requested": asked })),
        object: None,
    }
}

/// A server's progress on a call, under the client's own token.
fn progress(link: &Link, message: Object, related: Option<u64>) {
    let Some(call) = related.and_then(|id| link.call(Some(id))) else { return };
    let (Some(token), Some(params)) = (call.progress.clone(), message.object("params")) else { return };
    call.lane.offer(message.with("params", params.with("progressToken", token).to_raw()));
}

pub(super) async fn ask_modern(
    asks: &mpsc::Sender<Ask>,
    method: &str,
    params: Option<&RawValue>,
) -> Result<Box<RawValue>, String> {
    let (answer, answered) = oneshot::channel();
    let ask = Ask { request: bridge::input_request(method, params), answer };
    asks.send(ask).await.map_err(|_| "the client has gone".to_owned())?;
    answered.await.map_err(|_| "the client did not answer".to_owned())
}

async fn listen(
    downstream: Weak<Downstream>,
    link: Arc<Link>,
    mut messages: mpsc::Receiver<Inbound>,
    ended: CancellationToken,
) {
    loop {
        let inbound = tokio::select! {
            inbound = messages.recv() => inbound,
            () = ended.cancelled() => None,
        };
        let (Some(inbound), Some(downstream)) = (inbound, downstream.upgrade()) else { return };
        downstream.inbound(&link, inbound).await;
    }
}

/// Locks a mutex whose holder never panics half-way through a change.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
