//! MCP over Streamable HTTP, both eras: `/mcp` for all servers, `/mcp/NAME` for one.
//! Nobody gets past the first screen without a permitted host, origin and bearer token.
#![allow(clippy::result_large_err, reason = "a refusal is the response itself, made once per request")]

use super::downstream::{Arrival, Downstream, Endpoint};
use super::link::{Lane, Parcel};
use super::upstream::{Era, LEGACY, meta};
use super::{HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR};
use crate::adapters::api;
use crate::conversation::NAME_BYTES_MAX;
use crate::gate::Gate;
use crate::wire::frame::{self, FRAME_BYTES_MAX, FrameError, Kind, Object};
use crate::wire::sse;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine;
use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Names the conversation that a request belongs to, so that what the user said in it is known.
const CONVERSATION: HeaderName = HeaderName::from_static("bailiwick-conversation");
/// A grant token for the calls of whoever sends it.
const GRANT: HeaderName = HeaderName::from_static("bailiwick-grant");
/// Sessions kept at once; the one idle longest makes room.
const SESSIONS_MAX: usize = 512;
/// How long a session may be idle, in seconds.
const IDLE_SECONDS_MAX: u64 = 12 * 3_600;
/// Messages that wait for a client to read.
const LANE_MESSAGES_MAX: usize = 256;
/// Streams of one session that are closed to be asked for again.
const SHELF_MAX: usize = 64;
/// Connections served at once; a further one waits to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may take to send the head of a request, and be idle between two, in seconds.
const HEADER_SECONDS_MAX: u64 = 60;
/// How long a body may take, in seconds.
const BODY_SECONDS_MAX: u64 = 60;
/// How much of a header is quoted in an alert, in characters.
const QUOTED_CHARS_MAX: usize = 120;
/// How long an answer may take before its stream is opened, in seconds; then comments keep it alive.
const KEEP_ALIVE_SECONDS: u64 = 15;

/// The HTTP side of a gate.
pub struct Http {
    gate: Arc<Gate>,
    token: String,
    /// Host names that may be asked for.
    hosts: Vec<String>,
    sessions: Mutex<HashMap<String, Session>>,
}

/// Exchanges by the name of their stream.
type Shelf = Arc<Mutex<HashMap<String, Exchange>>>;

struct Session {
    client: Arc<Downstream>,
    endpoint: Endpoint,
    /// The session's own stream, while no client reads it.
    stream: Arc<Mutex<Option<mpsc::Receiver<Parcel>>>>,
    /// Answers whose stream was closed to be asked for again.
    shelf: Shelf,
    used: Instant,
}

/// The routes of `gate`, for clients that hold `token` and ask for one of `hosts`.
pub fn router(gate: Arc<Gate>, token: String, hosts: Vec<String>) -> Router {
    let http = Arc::new(Http { gate, token, hosts, sessions: Mutex::default() });
    Router::new()
        .route("/mcp", any(all))
        .route("/mcp/{server}", any(one))
        .route("/phases", any(phases))
        .with_state(http)
}

/// Whether `authority`, with or without a port, is one of `hosts`.
pub(crate) fn names(authority: &str, hosts: &[String]) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// Serves connections with `router` until the task is dropped. Connections are few and must say what they want soon,
/// so that nobody without a token can use up what the gate needs to answer the others.
pub async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        drop(stream.set_nodelay(true));
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let serving = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(HEADER_SECONDS_MAX))
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = serving.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
}

async fn all(State(http): State<Arc<Http>>, request: Request) -> Response {
    http.serve(Endpoint::All, request).await.unwrap_or_else(|refused| refused)
}

async fn one(State(http): State<Arc<Http>>, Path(server): Path<String>, request: Request) -> Response {
    http.serve(Endpoint::One(server), request).await.unwrap_or_else(|refused| refused)
}

/// What agents that speak no MCP ask about phases, past the same screen.
async fn phases(State(http): State<Arc<Http>>, request: Request) -> Response {
    if let Err(refused) = http.screen(request.headers()) {
        return refused;
    }
    match conversation(request.headers()) {
        Ok(name) => {
            let name = name.map(str::to_owned);
            api::phases(&http.gate, name, request).await
        }
        Err(refused) => refused,
    }
}

impl Http {
    async fn serve(self: &Arc<Self>, endpoint: Endpoint, request: Request) -> Result<Response, Response> {
        self.screen(request.headers())?;
        if let Some(token) = one_header(request.headers(), &GRANT) {
            let refused = |why: &str| refuse(StatusCode::FORBIDDEN, None, INVALID_REQUEST, why);
            self.gate.redeem(token).await.map_err(|error| refused(&format!("Bailiwick-Grant: {error}")))?;
        }
        if let Endpoint::One(server) = &endpoint
            && !self.gate.config.server.contains_key(server)
        {
            return Err(refuse(
                StatusCode::NOT_FOUND,
                None,
                METHOD_NOT_FOUND,
                "no such server is configured",
            ));
        }
        match *request.method() {
            Method::POST => self.post(endpoint, request).await,
            Method::GET => self.get(&endpoint, request.headers()),
            Method::DELETE => self.delete(request.headers()),
            _ => Err(not_allowed()),
        }
    }

    /// Host, origin, token: in this order, so that a page in a browser learns nothing.
    fn screen(&self, headers: &HeaderMap) -> Result<(), Response> {
        let forbidden = |why: &str| refuse(StatusCode::FORBIDDEN, None, INVALID_REQUEST, why);
        let tried = |rule, what: &str| {
            let what: String = what.escape_debug().take(QUOTED_CHARS_MAX).collect();
            self.gate.alarms.raise(rule, &format!("a request over HTTP {what}"));
        };
        let host = one_header(headers, &HOST).ok_or_else(|| forbidden("there is no usable Host header"))?;
        if !self.knows_host(host) {
            tried("http-host", &format!("asked for `{host}`"));
            return Err(forbidden("this Host is not served here; add it to `allow_hosts`"));
        }
        match headers.get_all(ORIGIN).iter().collect::<Vec<_>>().as_slice() {
            [] => {}
            [origin] => {
                let origin = origin.to_str().unwrap_or_default();
                let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
                if !rest.is_some_and(|host| self.knows_host(host)) {
                    tried("http-origin", &format!("came from a page of `{origin}`"));
                    return Err(forbidden("this Origin may not call here"));
                }
            }
            _ => return Err(forbidden("there is more than one Origin header")),
        }
        let given = one_header(headers, &AUTHORIZATION).unwrap_or_default();
        let token = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let same = token.is_some_and(|(_, token)| {
            aws_lc_rs::constant_time::verify_slices_are_equal(token.trim().as_bytes(), self.token.as_bytes())
                .is_ok()
        });
        if same {
            return Ok(());
        }
        if !given.is_empty() {
            tried("http-token", "gave another token than the gate's");
        }
        let mut refused =
            refuse(StatusCode::UNAUTHORIZED, None, INVALID_REQUEST, "a bearer token is required");
        refused
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bailiwick\""));
        Err(refused)
    }

    fn knows_host(&self, authority: &str) -> bool {
        names(authority, &self.hosts)
    }

    async fn post(self: &Arc<Self>, endpoint: Endpoint, request: Request) -> Result<Response, Response> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers;
        let kind = one_header(&headers, &CONTENT_TYPE).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(refuse(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                None,
                INVALID_REQUEST,
                "send application/json",
            ));
        }
        let accept: Vec<&str> =
            headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let takes = |kind: &str| {
            accept.is_empty() || accept.iter().any(|given| given.contains(kind) || given.contains("*/*"))
        };
        if !takes("application/json") && !takes("application/*") {
            let why = "accept application/json and text/event-stream";
            return Err(refuse(StatusCode::NOT_ACCEPTABLE, None, INVALID_REQUEST, why));
        }
        let reading = axum::body::to_bytes(body, FRAME_BYTES_MAX);
        let timely =
            tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), reading).await.map_err(|_| {
                refuse(StatusCode::REQUEST_TIMEOUT, None, INVALID_REQUEST, "the body did not arrive in time")
            })?;
        let body = timely.map_err(|_| {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, None, INVALID_REQUEST, &FrameError::TooLarge.to_string())
        })?;
        let bad = |error: &FrameError| {
            let code = if matches!(error, FrameError::Syntax(_)) { PARSE_ERROR } else { INVALID_REQUEST };
            refuse(StatusCode::BAD_REQUEST, None, code, &error.to_string())
        };
        let message = Object::parse(&body).map_err(|error| bad(&error))?;
        let kind = message.kind().map_err(|error| bad(&error))?;
        if is_modern(&headers, &message) {
            self.post_modern(endpoint, &headers, message, kind).await
        } else {
            self.post_legacy(endpoint, &headers, message, kind).await
        }
    }

    async fn post_legacy(
        self: &Arc<Self>,
        endpoint: Endpoint,
        headers: &HeaderMap,
        message: Object,
        kind: Kind,
    ) -> Result<Response, Response> {
        let id = message.get("id").map(serde_json::value::RawValue::to_owned);
        let opens = message.method() == "initialize" && !headers.contains_key("mcp-session-id");
        let (name, client) = if opens {
            let (era, about) = Downstream::client_of(&message);
            self.open(crate::random::token(), endpoint, era, about)
        } else {
            self.session(headers, &endpoint)?
        };
        if let Some(conversation) = conversation(headers)? {
            client.join(conversation);
        }
        if kind != Kind::Request {
            let (sender, _) = mpsc::channel(1);
            client.receive(message, Arrival::on(Lane(sender))).await;
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        let (sender, messages) = mpsc::channel(LANE_MESSAGES_MAX);
        let receiving = client.clone();
        let task = tokio::spawn(async move { receiving.receive(message, Arrival::on(Lane(sender))).await });
        // A legacy client that goes away has not cancelled: the task goes on without a listener.
        // Legacy servers answer in streams, and some clients only look there.
        let streams = headers
            .get_all(ACCEPT)
            .iter()
            .any(|value| value.to_str().is_ok_and(|value| value.contains("text/event-stream")));
        // Streams that can be taken up again came with 2025-11-25.
        let shelf = self.sessions().get(&name).map(|session| session.shelf.clone());
        let shelf = shelf.filter(|_| client.client_version() == LEGACY[0]);
        let exchange = Exchange { messages, task: Some(task), abort: false, shelf };
        let mut response = exchange.answer(!streams, |_| StatusCode::OK).await;
        if opens {
            if response.extensions().get::<Errored>().is_some() {
                self.close(&name);
            } else if let Ok(value) = HeaderValue::try_from(&name) {
                response.headers_mut().insert("mcp-session-id", value);
            }
        }
        if response.extensions().get::<Unanswered>().is_some() {
            return Err(refuse(StatusCode::OK, id.as_deref(), INVALID_REQUEST, "the request was cancelled"));
        }
        Ok(response)
    }

    async fn post_modern(
        self: &Arc<Self>,
        endpoint: Endpoint,
        headers: &HeaderMap,
        message: Object,
        kind: Kind,
    ) -> Result<Response, Response> {
        let id = message.get("id").map(serde_json::value::RawValue::to_owned);
        match kind {
            Kind::Request => {}
            // Over HTTP a client cancels by closing the stream; a notification could cancel someone else's request.
            Kind::Notification => return Ok(StatusCode::ACCEPTED.into_response()),
            Kind::Response => {
                let why = "responses are not posted in this protocol version";
                return Err(refuse(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why));
            }
        }
        let param_headers = matching_headers(headers, &message)
            .map_err(|why| refuse(StatusCode::BAD_REQUEST, id.as_deref(), HEADER_MISMATCH, &why))?;
        let (_, about) = Downstream::client_of(&message);
        // Who asks the same way shares connections; nothing else is carried from one request to the next.
        let conversation = conversation(headers)?;
        let name = format!(
            "modern {endpoint:?} {:?} {} {}",
            conversation.unwrap_or_default(),
            about.info.get(),
            about.capabilities.get()
        );
        let known = {
            let mut sessions = self.sessions();
            sessions.get_mut(&name).map(|session| {
                session.used = Instant::now();
                session.client.clone()
            })
        };
        let client = known.unwrap_or_else(|| self.open(name, endpoint, Era::Modern, about).1);
        if let Some(conversation) = conversation {
            client.join(conversation);
        }
        let (sender, messages) = mpsc::channel(LANE_MESSAGES_MAX);
        let task = tokio::spawn(async move {
            let key = Some(crate::random::name("r"));
            client
                .receive(
                    message,
                    Arrival { key, param_headers: Some(param_headers), ..Arrival::on(Lane(sender)) },
                )
                .await
        });
        Ok(Exchange { messages, task: Some(task), abort: true, shelf: None }
            .answer(true, modern_status)
            .await)
    }

    fn get(self: &Arc<Self>, endpoint: &Endpoint, headers: &HeaderMap) -> Result<Response, Response> {
        let version = one_header(headers, &HeaderName::from_static("mcp-protocol-version"));
        if version.is_some_and(|version| !LEGACY.contains(&version)) {
            return Err(not_allowed());
        }
        if !one_header(headers, &ACCEPT)
            .is_some_and(|accept| accept.contains("text/event-stream") || accept.contains("*/*"))
        {
            return Err(refuse(
                StatusCode::NOT_ACCEPTABLE,
                None,
                INVALID_REQUEST,
                "accept text/event-stream",
            ));
        }
        let (name, _) = self.session(headers, endpoint)?;
        if let Some(event) = one_header(headers, &HeaderName::from_static("last-event-id")) {
            let shelf = self.sessions().get(&name).map(|session| session.shelf.clone());
            let exchange = shelf.as_ref().and_then(|shelf| locked(shelf).remove(event));
            if let Some(mut exchange) = exchange {
                exchange.shelf = shelf;
                return Ok(exchange.stream(VecDeque::new()));
            }
        }
        let slot = self.sessions().get(&name).map(|session| session.stream.clone());
        let messages = slot.as_ref().and_then(|slot| locked(slot).take());
        let (Some(slot), Some(messages)) = (slot, messages) else {
            return Err(refuse(
                StatusCode::CONFLICT,
                None,
                INVALID_REQUEST,
                "the session's stream is open already",
            ));
        };
        let mut returned = Returned { slot, messages: Some(messages) };
        let stream = futures_util::stream::poll_fn(move |context| {
            let Some(messages) = returned.messages.as_mut() else { return std::task::Poll::Ready(None) };
            match std::task::ready!(messages.poll_recv(context)) {
                Some(Parcel::Message(message)) => std::task::Poll::Ready(Some(event(&message))),
                Some(Parcel::Pause(_)) => std::task::Poll::Ready(Some(keep_alive())),
                None => std::task::Poll::Ready(None),
            }
        });
        Ok(event_stream(Body::from_stream(stream)))
    }

    fn delete(&self, headers: &HeaderMap) -> Result<Response, Response> {
        match one_header(headers, &HeaderName::from_static("mcp-session-id")) {
            Some(name) if !name.starts_with("modern ") && self.close(name) => {
                Ok(StatusCode::OK.into_response())
            }
            Some(_) => Err(no_session()),
            None => Err(not_allowed()),
        }
    }

    fn open(
        &self,
        name: String,
        endpoint: Endpoint,
        era: Era,
        about: super::upstream::Client,
    ) -> (String, Arc<Downstream>) {
        let (sender, messages) = mpsc::channel(LANE_MESSAGES_MAX);
        let client = Downstream::begin(&self.gate, "http", endpoint.clone(), era, about, Lane(sender));
        let session = Session {
            client: client.clone(),
            endpoint,
            stream: Arc::new(Mutex::new(Some(messages))),
            shelf: Shelf::default(),
            used: Instant::now(),
        };
        let mut sessions = self.sessions();
        sessions.retain(|_, session| {
            let kept = session.used.elapsed() < Duration::from_secs(IDLE_SECONDS_MAX);
            if !kept {
                session.client.end();
            }
            kept
        });
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) =
                sessions.iter().min_by_key(|(_, session)| session.used).map(|(name, _)| name.clone())
            && let Some(session) = sessions.remove(&oldest)
        {
            session.client.end();
        }
        sessions.insert(name.clone(), session);
        (name, client)
    }

    fn session(
        &self,
        headers: &HeaderMap,
        endpoint: &Endpoint,
    ) -> Result<(String, Arc<Downstream>), Response> {
        let name = one_header(headers, &HeaderName::from_static("mcp-session-id")).ok_or_else(|| {
            refuse(
                StatusCode::BAD_REQUEST,
                None,
                INVALID_REQUEST,
                "begin with `initialize`, then send Mcp-Session-Id",
            )
        })?;
        let mut sessions = self.sessions();
        match sessions
            .get_mut(name)
            .filter(|session| session.endpoint == *endpoint && !name.starts_with("modern "))
        {
            Some(session) => {
                session.used = Instant::now();
                Ok((name.to_owned(), session.client.clone()))
            }
            None => Err(no_session()),
        }
    }

    fn close(&self, name: &str) -> bool {
        let session = self.sessions().remove(name);
        session.as_ref().inspect(|session| session.client.end()).is_some()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        locked(&self.sessions)
    }
}

/// One request being answered: what its call sends on the way, and its response.
struct Exchange {
    messages: mpsc::Receiver<Parcel>,
    task: Option<JoinHandle<Option<Object>>>,
    /// Whether a client that goes away has cancelled.
    abort: bool,
    /// Where this goes when its stream is closed to be asked for again.
    shelf: Option<Shelf>,
}

/// Marks a response whose request was cancelled and has no answer.
#[derive(Clone)]
struct Unanswered;
/// Marks a response that holds a JSON-RPC error.
#[derive(Clone)]
struct Errored;

/// The next thing that happens in an exchange.
enum Step {
    Message(Object),
    Pause(u64),
    /// The response, after what was sent before it.
    End(Vec<Object>, Option<Object>),
    Quiet,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(task) = self.task.take().filter(|_| self.abort) {
            task.abort();
        }
    }
}

impl Exchange {
    async fn step(&mut self) -> Step {
        let Some(task) = self.task.as_mut() else { return Step::End(Vec::new(), None) };
        tokio::select! {
            biased;
            Some(parcel) = self.messages.recv() => match parcel {
                Parcel::Message(message) => Step::Message(message),
                Parcel::Pause(ms) => Step::Pause(ms),
            },
            response = task => {
                self.task = None;
                let mut before = Vec::new();
                while let Ok(parcel) = self.messages.try_recv() {
                    if let Parcel::Message(message) = parcel {
                        before.push(message);
                    }
                }
                Step::End(before, response.ok().flatten())
            }
            () = tokio::time::sleep(Duration::from_secs(KEEP_ALIVE_SECONDS)) => Step::Quiet,
        }
    }

    /// A JSON body if the response comes before anything else and its status is not plain success, or if `as_json`;
    /// an event stream otherwise.
    async fn answer(mut self, as_json: bool, status: impl Fn(&Object) -> StatusCode) -> Response {
        let first = self.step().await;
        let mut errored = false;
        if let Step::End(before, response) = &first
            && before.is_empty()
        {
            let Some(response) = response else {
                let mut nothing = StatusCode::OK.into_response();
                nothing.extensions_mut().insert(Unanswered);
                return nothing;
            };
            if as_json || status(response) != StatusCode::OK {
                return json(status(response), response);
            }
            errored = response.get("error").is_some();
        }
        let mut ready = VecDeque::new();
        let mut answer = match self.take(first, &mut ready) {
            Some(exchange) => exchange.stream(ready),
            None => event_stream(Body::from_stream(futures_util::stream::iter(ready))),
        };
        if errored {
            answer.extensions_mut().insert(Errored);
        }
        answer
    }

    /// Turns a step into chunks; the exchange comes back while its stream goes on.
    fn take(mut self, step: Step, ready: &mut VecDeque<Chunk>) -> Option<Self> {
        match step {
            Step::Message(message) => ready.push_back(event(&message)),
            Step::Quiet => ready.push_back(keep_alive()),
            Step::Pause(ms) => {
                if let Some(shelf) = self.shelf.take() {
                    let name = crate::random::name("e");
                    // First what to resume from, then when (MCP 2025-11-25, resumability).
                    ready.push_back(Ok(Bytes::from(format!("id: {name}\ndata: \n\n"))));
                    ready.push_back(Ok(Bytes::from(format!("id: {name}\nretry: {ms}\ndata: \n\n"))));
                    let mut shelf = locked(&shelf);
                    if shelf.len() >= SHELF_MAX {
                        shelf.clear();
                    }
                    shelf.insert(name, self);
                    return None;
                }
                ready.push_back(keep_alive());
            }
            Step::End(before, response) => {
                ready.extend(before.iter().chain(&response).map(event));
                return None;
            }
        }
        Some(self)
    }

    fn stream(self, ready: VecDeque<Chunk>) -> Response {
        let stream =
            futures_util::stream::unfold((Some(self), ready), |(mut exchange, mut ready)| async move {
                loop {
                    if let Some(chunk) = ready.pop_front() {
                        return Some((chunk, (exchange, ready)));
                    }
                    let mut open = exchange.take()?;
                    let step = open.step().await;
                    exchange = open.take(step, &mut ready);
                }
            });
        event_stream(Body::from_stream(stream))
    }
}

/// A session's stream that goes back when its reader leaves.
struct Returned {
    slot: Arc<Mutex<Option<mpsc::Receiver<Parcel>>>>,
    messages: Option<mpsc::Receiver<Parcel>>,
}

impl Drop for Returned {
    fn drop(&mut self) {
        *locked(&self.slot) = self.messages.take();
    }
}

/// A request is modern when its header or its body names a version without a handshake.
/// The conversation that the program around the agent says its requests belong to.
fn conversation(headers: &HeaderMap) -> Result<Option<&str>, Response> {
    match one_header(headers, &CONVERSATION) {
        Some(name) if name.is_empty() || name.len() > NAME_BYTES_MAX => {
            let why = format!("Bailiwick-Conversation is empty or longer than {NAME_BYTES_MAX} bytes");
            Err(refuse(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, &why))
        }
        None if headers.contains_key(&CONVERSATION) => {
            let why = "Bailiwick-Conversation must stand once, in plain text";
            Err(refuse(StatusCode::BAD_REQUEST, None, INVALID_REQUEST, why))
        }
        name => Ok(name),
    }
}

fn is_modern(headers: &HeaderMap, message: &Object) -> bool {
    let header = one_header(headers, &HeaderName::from_static("mcp-protocol-version"));
    if header.is_some_and(|version| !LEGACY.contains(&version)) {
        return true;
    }
    let about = message.object("params").and_then(|params| params.object("_meta"));
    message.method() != "initialize" && about.is_some_and(|about| about.get(meta::VERSION).is_some())
}

/// Headers that intermediaries route by must agree with the body, which is what is judged (MCP 2026-07-28,
/// transports). A body without its envelope is refused later, for that reason. Returns the `Mcp-Param-*` values.
fn matching_headers(headers: &HeaderMap, message: &Object) -> Result<Vec<(String, String)>, String> {
    let params = message.object("params").unwrap_or_default();
    let about = params.object("_meta").unwrap_or_default();
    let (Some(version), Some(_)) = (about.text(meta::VERSION), about.object(meta::CAPABILITIES)) else {
        return Ok(Vec::new());
    };
    let method = message.method();
    let name = match method.as_str() {
        "tools/call" | "prompts/get" => params.text("name"),
        "resources/read" => params.text("uri"),
        _ => None,
    };
    agree(headers, "mcp-protocol-version", &version, false)?;
    agree(headers, "mcp-method", &method, false)?;
    if let Some(name) = name {
        agree(headers, "mcp-name", &name, true)?;
    }
    let mut values = Vec::new();
    for header in headers.keys() {
        if let Some(param) = header.as_str().strip_prefix("mcp-param-") {
            let value = one_header(headers, header)
                .ok_or_else(|| format!("header `{header}` is unusable or stands twice"))?;
            let value = decoded(value).ok_or_else(|| format!("header `{header}` is not validly encoded"))?;
            values.push((param.to_owned(), value));
        }
    }
    Ok(values)
}

fn agree(headers: &HeaderMap, name: &'static str, body: &str, encoded: bool) -> Result<(), String> {
    let given = one_header(headers, &HeaderName::from_static(name))
        .ok_or_else(|| format!("header `{name}` is missing, unusable or stands twice"))?;
    let given = if encoded { decoded(given) } else { Some(given.to_owned()) };
    if given.as_deref() == Some(body) {
        Ok(())
    } else {
        Err(format!("header `{name}` does not say what the body says"))
    }
}

/// The value of an encoded header: base64 between the two marks, itself otherwise.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
            String::from_utf8(bytes).ok()
        }
        None => Some(value.to_owned()),
    }
}

fn one_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| only.trim())
}

fn modern_status(response: &Object) -> StatusCode {
    let code = response.object("error").and_then(|error| error.get("code")?.get().parse::<i64>().ok());
    match code {
        None => StatusCode::OK,
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(PARSE_ERROR | INVALID_REQUEST | INVALID_PARAMS | -32022..=-32020) => StatusCode::BAD_REQUEST,
        Some(_) => StatusCode::OK,
    }
}

fn json(status: StatusCode, message: &Object) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], message.to_raw().get().to_owned()).into_response()
}

type Chunk = Result<Bytes, std::convert::Infallible>;

fn keep_alive() -> Chunk {
    Ok(Bytes::from_static(b": waiting\n\n"))
}

fn event(message: &Object) -> Chunk {
    Ok(Bytes::from(sse::message(message.to_raw().get())))
}

fn event_stream(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

fn refuse(status: StatusCode, id: Option<&serde_json::value::RawValue>, code: i64, why: &str) -> Response {
    json(status, &frame::error(id, code, why, None))
}

fn no_session() -> Response {
    refuse(StatusCode::NOT_FOUND, None, INVALID_REQUEST, "no such session; begin with `initialize`")
}

fn not_allowed() -> Response {
    let mut refused =
        refuse(StatusCode::METHOD_NOT_ALLOWED, None, INVALID_REQUEST, "this method is not served here");
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    refused
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
