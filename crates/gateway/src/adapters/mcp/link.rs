//! One server within one client's session: the connection, the definitions it shows now, the calls under way.
//! A call reaches the server only with a recorded permit, and only if its definition is the reviewed one.

use super::upstream::{Client, Era, Host, INBOX_MESSAGES_MAX, Inbound, Upstream, UpstreamError};
use crate::gate::Gate;
use crate::inventory::Definition;
use crate::receipt::{Failed, Output};
use crate::secrets::Secrets;
use crate::session::Session;
use crate::wire::frame::{Extensions, Object, raw};
use crate::wire::record::{Body, Status};
use judge::filter::Rewritable;
use judge::label::Labeled;
use judge::permit::{Permit, Recorded};
use judge::tool::ToolName;
use serde_json::value::RawValue;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Pages of a list read from one server.
pub const PAGES_MAX: usize = 100;
/// Tools known of one server.
pub const TOOLS_MAX: usize = 10_000;
/// Cursors of one server remembered.
const CURSORS_MAX: usize = 1_024;
/// Questions of one server put to its client at once; a further one makes the server wait.
const QUESTIONS_MAX: usize = 16;

/// What goes to a client.
#[derive(Debug)]
pub enum Parcel {
    /// A message.
    Message(Object),
    /// The stream may be closed and asked for again after so many milliseconds.
    Pause(u64),
}

/// Where messages to a client go: its only stream, or the stream of one request.
#[derive(Clone, Debug)]
pub struct Lane(pub mpsc::Sender<Parcel>);

impl Lane {
    /// Sends; a client that has gone is told nothing.
    pub async fn send(&self, message: Object) {
        drop(self.0.send(Parcel::Message(message)).await);
    }
    /// Says that the answer will take a while.
    pub async fn pause(&self, retry_ms: u64) {
        drop(self.0.send(Parcel::Pause(retry_ms)).await);
    }
    /// Sends if there is room; what nobody reads is dropped.
    pub fn offer(&self, message: Object) {
        if self.0.try_send(Parcel::Message(message)).is_err() {
            tracing::debug!("a client does not read what servers send by themselves; a message was dropped");
        }
    }
}

/// A question a server asks in the middle of a call, on its way to a modern client.
pub struct Ask {
    /// The entry for `inputRequests`.
    pub request: serde_json::Value,
    /// Where the bare result goes.
    pub answer: oneshot::Sender<Box<RawValue>>,
}

/// A call under way.
#[derive(Clone)]
pub struct Call {
    /// Where its notifications go.
    pub lane: Lane,
    /// The client's own progress token.
    pub progress: Option<Box<RawValue>>,
    /// The log level a modern client asked for.
    pub log_level: Option<String>,
    /// Where a legacy server's questions go when the client is modern.
    pub asks: Option<mpsc::Sender<Ask>>,
    /// Members of the request's envelope that are not JSON-RPC's.
    pub extensions: Extensions,
}

/// What is known of one tool as the server lists it now.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Digest of the definition.
    pub digest: String,
    /// `x-mcp-header` annotations: header name and argument path.
    pub headers: Vec<(String, Vec<String>)>,
}

/// A server's answer, raw.
#[derive(Debug)]
pub struct Answer {
    /// The `result`, or the `error` object.
    pub body: Box<RawValue>,
    /// Whether it is an error object.
    pub is_error: bool,
    /// Members of the response's envelope that are not JSON-RPC's.
    pub extensions: Extensions,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        self.body.get().as_bytes()
    }
}

impl Rewritable for Answer {
    const SEARCHED: bool = true;

    fn with_text(self, text: Vec<u8>) -> Option<Self> {
        let body = RawValue::from_string(String::from_utf8(text).ok()?).ok()?;
        Some(Self { body, ..self })
    }
}

impl Output for Answer {
    fn status(&self) -> Status {
        let says_error = || {
            Object::inside(&self.body)
                .is_some_and(|body| body.get("isError").is_some_and(|flag| flag.get() == "true"))
        };
        if self.is_error || says_error() { Status::Error } else { Status::Ok }
    }

    fn parts(&self) -> Vec<judge::flow::Read> {
        super::parts::parts(self.body.get())
    }
}

/// The connection.
pub struct Link {
    /// The server's name.
    pub server: String,
    /// The connection itself.
    pub upstream: Upstream,
    /// Tools as listed now; `None` when the server said that they changed.
    definitions: Mutex<Option<HashMap<String, Listed>>>,
    /// Cursors the server gave out, newest last.
    cursors: Mutex<VecDeque<String>>,
    /// Questions of the server that are being put to the client.
    pub questions: Arc<Semaphore>,
    /// Counts the changes the server announced.
    changes: AtomicU64,
    calls: Mutex<HashMap<u64, Call>>,
    call_seconds_max: u64,
    secrets: Arc<Secrets>,
}

impl Link {
    /// Connects to `server`; its own messages arrive at the returned receiver.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn open(
        gate: &Arc<Gate>,
        session: &Session,
        server: &str,
        client: &Client,
        prefer: Era,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Inbound>), UpstreamError> {
        let configured = gate
            .config
            .server
            .get(server)
            .ok_or_else(|| UpstreamError::Refused("it is not configured".into()))?;
        let (inbox, messages) = mpsc::channel(INBOX_MESSAGES_MAX);
        let host = Host {
            gate: gate.clone(),
            session: session.id().to_owned(),
            principal: session.principal().clone(),
        };
        let upstream =
            Upstream::connect(server, configured, &gate.place, Some(&host), client, prefer, inbox).await?;
        if let Some(layers) = upstream.layers() {
            gate.history.note(None, Body::Confined { server: server.to_owned(), how: layers.into() });
        }
        let link = Self {
            server: server.to_owned(),
            upstream,
            definitions: Mutex::default(),
            cursors: Mutex::default(),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            changes: AtomicU64::new(0),
            calls: Mutex::default(),
            call_seconds_max: gate.config.gate.call_seconds_max,
            secrets: gate.secrets.clone(),
        };
        Ok((Arc::new(link), messages))
    }

    /// Era of this connection.
    pub fn era(&self) -> Era {
        self.upstream.greeting().era
    }

    /// Whether the server declared the capability at `pointer`, e.g. `/tools/listChanged`.
    pub fn has(&self, pointer: &str) -> bool {
        let capabilities = self.upstream.greeting().result.get("capabilities");
        capabilities
            .and_then(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).ok())
            .and_then(|value| value.pointer(pointer).map(|found| *found != false))
            .unwrap_or(false)
    }

    /// Remembers a cursor the server gave out.
    pub fn note_cursor(&self, cursor: String) {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        if cursors.len() >= CURSORS_MAX {
            cursors.pop_front();
        }
        cursors.push_back(cursor);
    }

    /// Whether the server gave out this cursor.
    pub fn gave_cursor(&self, cursor: &str) -> bool {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|given| given == cursor)
    }

    /// The server said that its tools changed: nothing it listed before counts.
    pub fn tools_changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        *self.definitions.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The call a server's message belongs to: the one named, or the only one under way.
    pub fn call(&self, related: Option<u64>) -> Option<Call> {
        let calls = self.calls();
        match related {
            Some(id) => calls.get(&id).cloned(),
            None if calls.len() == 1 => calls.values().next().cloned(),
            None => None,
        }
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request the protocol needs and no policy decides on: lists, log levels, subscriptions of the gate itself.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub async fn plumb(&self, method: &str, params: Option<Object>) -> Result<Object, UpstreamError> {
        let id = self.upstream.next_id();
        let seconds = self.call_seconds_max.min(60);
        let request = self.upstream.request(id, method, params, &[]);
        tokio::time::timeout(Duration::from_secs(seconds), request)
            .await
            .map_err(|_| UpstreamError::Silent(seconds))?
    }

    /// Holds a `subscriptions/listen` open until the server ends it or the future is dropped.
    pub async fn hold_listen(&self, filter: serde_json::Value) {
        let id = self.upstream.next_id();
        let params = Object::default().with("notifications", raw(filter));
        let mut cancel = CancelOnDrop { link: self, id, armed: true };
        drop(self.upstream.request(id, "subscriptions/listen", Some(params), &[]).await);
        cancel.armed = false;
    }

    /// The tool as the server lists it now.
    ///
    /// # Errors
    /// [`UpstreamError`] when it cannot be listed.
    pub async fn listed(&self, tool: &str) -> Result<Option<Listed>, UpstreamError> {
        if let Some(known) = &*self.definitions.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(known.get(tool).cloned());
        }
        let before = self.changes.load(Ordering::SeqCst);
        let known = self.list_tools().await?;
        let found = known.get(tool).cloned();
        let mut definitions = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        // A list that was under way when the server announced a change may be the old one.
        if self.changes.load(Ordering::SeqCst) == before {
            *definitions = Some(known);
        }
        Ok(found)
    }

    /// Remembers what one list page showed; a page that is the whole list replaces everything known.
    pub fn remember(&self, definitions: &[Definition], whole: bool) {
        let mut known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        if whole {
            *known = Some(HashMap::new());
        }
        if let Some(known) = known.as_mut() {
            for definition in definitions.iter().take(TOOLS_MAX) {
                known.insert(definition.name.clone(), listed(definition));
            }
        }
    }

    async fn list_tools(&self) -> Result<HashMap<String, Listed>, UpstreamError> {
        let mut known = HashMap::new();
        let mut cursor: Option<Box<RawValue>> = None;
        for _ in 0..PAGES_MAX {
            let params = cursor.take().map(|cursor| Object::default().with("cursor", cursor));
            let answer = self.plumb("tools/list", params).await?;
            let page = answer.object("result").unwrap_or_default();
            for entry in entries(&page, "tools") {
                if let Ok(definition) = Definition::read(&entry) {
                    known.insert(definition.name.clone(), listed(&definition));
                }
            }
            cursor = page.get("nextCursor").filter(|raw| raw.get() != "null").map(RawValue::to_owned);
            if cursor.is_none() || known.len() > TOOLS_MAX {
                return Ok(known);
            }
        }
        Err(UpstreamError::Broken(format!("its tool list has more than {PAGES_MAX} pages")))
    }

    /// Sends the permitted request and waits for its answer. `headers` are its `Mcp-Param-*` values.
    ///
    /// # Errors
    /// [`Failed`], with whether the effect may have happened.
    pub async fn execute(
        &self,
        permit: Permit<Recorded>,
        method: &str,
        params: Object,
        headers: &[(String, String)],
        call: Call,
    ) -> Result<Labeled<Answer>, Failed> {
        let tool = permit.request().tool().clone();
        drop(permit);
        if method == "tools/call" {
            // The permit is for a definition; a person may have taken long to grant it.
            let now = self.listed(&tool.name.tool).await.ok().flatten();
            if now.is_none_or(|now| now.digest != tool.digest) {
                return Err(Failed::new(
                    Status::Failed,
                    format!("`{}` changed before it could be called", tool.name),
                ));
            }
        }
        let source = tool.name;
        self.repeat(&source, method, params, headers, call).await
    }

    /// Sends a permitted call once more with the answers its server asked for.
    ///
    /// # Errors
    /// As [`Link::execute`].
    pub(super) async fn repeat(
        &self,
        source: &ToolName,
        method: &str,
        mut params: Object,
        headers: &[(String, String)],
        call: Call,
    ) -> Result<Labeled<Answer>, Failed> {
        if let Some(arguments) = params.object("arguments").filter(|_| method == "tools/call") {
            let filled = self.secrets.filled_in(source, arguments, |name| self.upstream.given(name)).await;
            let filled = filled.map_err(|why| Failed::new(Status::Failed, why))?;
            params.set("arguments", filled.to_raw());
        }
        let id = self.upstream.next_id();
        if call.progress.is_some() {
            let about = params.object("_meta").unwrap_or_default().with("progressToken", raw(id));
            params.set("_meta", about.to_raw());
        }
        let extensions = call.extensions.clone();
        self.calls().insert(id, call);
        let mut guard = CancelOnDrop { link: self, id, armed: true };
        let request = self.upstream.request_with(id, method, Some(params), headers, extensions);
        let answered = tokio::time::timeout(Duration::from_secs(self.call_seconds_max), request).await;
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                guard.armed = false;
                let status = if error.is_ambiguous() { Status::Ambiguous } else { Status::Failed };
                return Err(Failed::new(status, format!("server `{}`: {error}", self.server)));
            }
            Err(_) => {
                let detail =
                    format!("server `{}` did not answer within {} s", self.server, self.call_seconds_max);
                return Err(Failed::new(Status::Timeout, detail));
            }
        };
        guard.armed = false;
        drop(guard);
        let (body, is_error) = match (answer.get("result"), answer.get("error")) {
            (Some(result), None) => (result.to_owned(), false),
            (_, Some(error)) => (error.to_owned(), true),
            (None, None) => (raw(serde_json::json!({})), false),
        };
        // What two readers read differently is nothing to hand on: one of them may see a question in it.
        if Object::inside(&body).is_none() {
            let detail = format!(
                "server `{}` answered with no object, or with a member that stands twice in it",
                self.server
            );
            return Err(Failed::new(Status::Failed, detail));
        }
        Ok(Labeled::new(Answer { body, is_error, extensions: answer.extensions() }, source.clone()))
    }
}

/// Forgets a call, and cancels it at the server where nobody waited for the end.
struct CancelOnDrop<'a> {
    link: &'a Link,
    id: u64,
    armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.link.calls().remove(&self.id);
        if self.armed {
            self.link.upstream.cancel_soon(self.id);
        }
    }
}

/// The entries of the list `name` in a result page.
pub fn entries(page: &Object, name: &str) -> Vec<Box<RawValue>> {
    page.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn listed(definition: &Definition) -> Listed {
    let mut headers = Vec::new();
    let json = definition.to_json();
    annotations(&json["inputSchema"], &mut Vec::new(), &mut headers);
    Listed { digest: definition.digest.clone(), headers }
}

/// `x-mcp-header` annotations reachable through `properties` alone (MCP 2026-07-28, transports).
fn annotations(schema: &serde_json::Value, path: &mut Vec<String>, out: &mut Vec<(String, Vec<String>)>) {
    if path.len() > 16 {
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        path.push(name.clone());
        if let Some(header) = property["x-mcp-header"].as_str() {
            out.push((header.to_owned(), path.clone()));
        }
        annotations(property, path, out);
        path.pop();
    }
}

/// The `Mcp-Param-*` values of a call, by header name, from its arguments.
pub fn param_headers(listed: &Listed, arguments: &judge::request::tree::Tree) -> Vec<(String, String)> {
    use judge::request::tree::Tree;
    let value = |path: &[String]| {
        let mut at = arguments;
        for name in path {
            at = at.member(name)?;
        }
        match at {
            Tree::Text(text) => Some(text.clone()),
            Tree::Bool(_) | Tree::Integer(_) => Some(at.canonical()),
            Tree::Null | Tree::Float(_) | Tree::List(_) | Tree::Map(_) => None,
        }
    };
    listed.headers.iter().filter_map(|(name, path)| Some((name.clone(), value(path)?))).collect()
}
