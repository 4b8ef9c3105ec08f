//! A server behind an URL: Streamable HTTP, with a session in the legacy era and without one in the modern.
//! Redirects are not followed and proxies from the environment are not used: the address judged is the address called.

use super::{Era, Host, Inbound, MODERN, UpstreamError};
use crate::config::Server;
use crate::secrets::Secrets;
use crate::wire::frame::{FRAME_BYTES_MAX, Kind, Object};
use crate::wire::sse;
use base64::Engine;
use futures_util::StreamExt;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use vault::{Bearer, Challenge, Destination, Login, LoginError, Logins, Wallet};

/// How long a TCP and TLS connection may take, in seconds.
const CONNECT_SECONDS_MAX: u64 = 10;
/// How often a broken event stream is taken up again before it is given up.
const RESUME_MAX: usize = 8;
/// Longest pause a server may ask for before its stream is taken up again, in milliseconds.
const RETRY_MS_MAX: u64 = 30_000;
/// Longest list of scopes repeated in an error, in bytes.
const SCOPES_BYTES_MAX: usize = 200;

/// A remote server.
pub(super) struct Remote {
    shared: Arc<Shared>,
    listener: Mutex<Option<AbortHandle>>,
}

/// The gate's own wallet for one server: it puts values in where they are bound, and takes them out of what comes back.
struct Credentials {
    wallet: Wallet,
    secrets: Arc<Secrets>,
    to: Destination,
}

/// The gate's own sign-in to one server. Its token goes into each request as that is sent, and nowhere else.
struct SignIn {
    logins: Logins,
    login: Login,
}

struct Shared {
    http: reqwest::Client,
    url: Uri,
    /// Sent with every request; secrets in it by their placeholders.
    fixed: HeaderMap,
    credentials: Option<Credentials>,
    sign_in: Option<SignIn>,
    session: Mutex<Session>,
    alive: AtomicBool,
    inbox: mpsc::Sender<Inbound>,
}

#[derive(Default)]
struct Session {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

/// A client that goes where it is told and nowhere else; `authorities` are files of those it trusts besides the system's.
///
/// # Errors
/// A file that holds no certificates, in words.
pub(crate) fn http_client(authorities: &[PathBuf]) -> Result<reqwest::Client, String> {
    let mut http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
        .tcp_nodelay(true);
    for file in authorities {
        let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let pem = std::fs::read(file).map_err(|error| unusable(&error))?;
        for certificate in reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))? {
            http = http.add_root_certificate(certificate);
        }
    }
    http.build().map_err(|error| error.to_string())
}

impl Remote {
    /// A client of `url` that sends the headers and the token that `server`, configured as `name`, gives it.
    pub(super) async fn new(
        name: &str,
        url: &str,
        server: &Server,
        host: Option<&Host>,
        inbox: mpsc::Sender<Inbound>,
    ) -> Result<Self, UpstreamError> {
        let broken = |why: String| UpstreamError::Broken(why);
        let authorities: &[PathBuf] = host.map_or(&[], |host| &host.gate.config.gate.authorities);
        let http = http_client(authorities).map_err(broken)?;
        let uri: Uri = url.parse().map_err(|_| broken("its `url` is none".to_owned()))?;
        let secrets = host.map(|host| &host.gate.secrets);
        let credentials = match secrets {
            Some(secrets) => Some(Credentials::new(secrets, server, &uri).await.map_err(broken)?),
            None => None,
        };
        let logins = secrets.and_then(|secrets| secrets.logins());
        let sign_in = match (server.login(name).map_err(broken)?, logins) {
            (None, _) => None,
            (Some(login), Some(logins)) => Some(SignIn { logins: logins.clone(), login }),
            (Some(_), None) => {
                return Err(UpstreamError::SignIn(LoginError::Missing(name.to_owned()).to_string()));
            }
        };
        let mut fixed = HeaderMap::new();
        for (name, value) in &server.headers {
            let name = HeaderName::try_from(name)
                .map_err(|_| broken(format!("header name `{name}` is not usable")))?;
            let value = match &credentials {
                Some(credentials) => {
                    credentials.wallet.fill(value).map_err(|error| broken(error.to_string()))?
                }
                None => value.clone(),
            };
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| broken(format!("the value of header `{name}` is not usable")))?;
            value.set_sensitive(true);
            fixed.insert(name, value);
        }
        let shared = Shared {
            http,
            url: uri,
            fixed,
            credentials,
            sign_in,
            session: Mutex::default(),
            alive: AtomicBool::new(true),
            inbox,
        };
        Ok(Self { shared: Arc::new(shared), listener: Mutex::default() })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Relaxed)
    }

    /// From now on every request names the negotiated version.
    pub(super) fn begin_session(&self, version: &str) {
        self.shared.session().version = HeaderValue::try_from(version).ok();
    }

    /// Opens the stream for what a legacy server sends by itself.
    pub(super) fn listen(&self) {
        let task = tokio::spawn(listen(self.shared.clone()));
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
    }

    pub(super) async fn request(
        &self,
        id: u64,
        method: &str,
        name: Option<&str>,
        message: Object,
        era: Era,
        headers: &[(String, String)],
    ) -> Result<Object, UpstreamError> {
        let mut extra = HeaderMap::new();
        if era == Era::Modern {
            extra.insert("mcp-protocol-version", HeaderValue::from_static(MODERN));
            extra.insert("mcp-method", header_value(method));
            extra.extend(name.map(|name| (HeaderName::from_static("mcp-name"), header_value(name))));
            for (name, value) in headers {
                if let Ok(name) = HeaderName::try_from(format!("mcp-param-{name}")) {
                    extra.insert(name, header_value(value));
                }
            }
        }
        let response = self.shared.post(&message, extra).await?;
        if method == "initialize"
            && let Some(session) = response.headers().get("mcp-session-id")
        {
            self.shared.session().id = Some(session.clone());
        }
        self.shared.answer(id, response).await
    }

    pub(super) async fn send(&self, message: &Object) -> Result<(), UpstreamError> {
        let response = self.shared.post(message, HeaderMap::new()).await?;
        match response.status().as_u16() {
            200..=299 => Ok(()),
            status => Err(self.shared.refusal(status)),
        }
    }
}

impl Credentials {
    async fn new(secrets: &Arc<Secrets>, server: &Server, url: &Uri) -> Result<Self, String> {
        let wallet = secrets.own_wallet(server.headers.values()).await?;
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let to = Destination::new(url.host().unwrap_or_default(), port, is_tls);
        Ok(Self { wallet, secrets: secrets.clone(), to })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take() {
            listener.abort();
        }
        // A session that ends is told so, if there is still a runtime to say it in.
        if let (Some(_), Ok(runtime)) =
            (self.shared.session().id.clone(), tokio::runtime::Handle::try_current())
        {
            let shared = self.shared.clone();
            runtime.spawn(async move {
                let patience = Duration::from_secs(CONNECT_SECONDS_MAX);
                let goodbye = |http: &reqwest::Client| http.delete(shared.url.to_string()).timeout(patience);
                drop(shared.exchange(Method::DELETE, HeaderMap::new(), goodbye).await);
            });
        }
    }
}

impl Shared {
    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn headers(&self, extra: HeaderMap) -> HeaderMap {
        let mut headers = self.fixed.clone();
        let session = self.session();
        headers.extend(session.id.clone().map(|id| (HeaderName::from_static("mcp-session-id"), id)));
        headers.extend(
            session.version.clone().map(|version| (HeaderName::from_static("mcp-protocol-version"), version)),
        );
        headers.extend(extra);
        headers
    }

    /// The headers of one request, with values in place of placeholders where they are bound.
    async fn dressed(&self, method: Method, extra: HeaderMap) -> Result<HeaderMap, UpstreamError> {
        let headers = self.headers(extra);
        let Some(Credentials { wallet, to, .. }) = &self.credentials else { return Ok(headers) };
        let request = http::Request::builder().method(method).uri(self.url.clone()).body(());
        let (mut head, ()) = request.map_err(|error| UpstreamError::Broken(error.to_string()))?.into_parts();
        head.headers = headers;
        wallet.inject(to, &mut head).await.map_err(|misuse| UpstreamError::Refused(misuse.to_string()))?;
        Ok(head.headers)
    }

    /// Sends what `build` makes, with headers and token, and once more with another token if that one is refused: what a server
    /// refuses so it has not done.
    async fn exchange(
        &self,
        method: Method,
        extra: HeaderMap,
        build: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, UpstreamError> {
        let mut refused: Option<Bearer> = None;
        loop {
            let mut headers = self.dressed(method.clone(), extra.clone()).await?;
            let bearer = self.bearer(refused.as_ref()).await?;
            if let Some(bearer) = &bearer {
                let unusable = || UpstreamError::Broken("its token fits in no header".to_owned());
                headers.insert(AUTHORIZATION, bearer.header().ok_or_else(unusable)?);
            }
            let response = build(&self.http).headers(headers).send().await.map_err(unreachable)?;
            let (Some(SignIn { login, .. }), Some(bearer)) = (&self.sign_in, bearer) else {
                return Ok(response);
            };
            let challenge = || Challenge::read(response.headers()).unwrap_or_default();
            match response.status().as_u16() {
                401 if refused.is_none() && challenge().wants_another() => refused = Some(bearer),
                401 => {
                    let why = format!(
                        "server `{0}` refuses the token of its sign-in; run `bailiwick login {0}`",
                        login.server
                    );
                    return Err(UpstreamError::SignIn(why));
                }
                403 if challenge().wants_more() => return Err(self.more(&login.server, &challenge())),
                _ => return Ok(response),
            }
        }
    }

    /// The token to send now.
    async fn bearer(&self, refused: Option<&Bearer>) -> Result<Option<Bearer>, UpstreamError> {
        let Some(SignIn { logins, login }) = &self.sign_in else { return Ok(None) };
        match logins.bearer(login, refused).await {
            Ok(bearer) => Ok(Some(bearer)),
            Err(error) => Err(UpstreamError::SignIn(self.cleaned_text(error.to_string())?)),
        }
    }

    /// A sign-in that is good, and not good enough. What the server wants more is repeated only if a person can safely type it.
    fn more(&self, server: &str, challenge: &Challenge) -> UpstreamError {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":._/-".contains(&byte);
        let scopes = challenge.scopes().map(|scopes| scopes.join(" ")).filter(|scopes| {
            scopes.len() <= SCOPES_BYTES_MAX
                && !scopes.starts_with('-')
                && scopes.bytes().all(|byte| plain(byte) || byte == b' ')
        });
        // Somebody may have written the token there.
        let scopes =
            scopes.and_then(|scopes| self.cleaned_text(scopes.clone()).ok().filter(|clean| *clean == scopes));
        let wanted = match scopes {
            Some(scopes) => format!("--scope '{scopes}'"),
            None => "--scope SCOPE, with what its documentation names".to_owned(),
        };
        UpstreamError::SignIn(format!(
            "the sign-in to server `{server}` does not allow this; run `bailiwick login {server} {wanted}`"
        ))
    }

    fn cleaned_text(&self, text: String) -> Result<String, UpstreamError> {
        let cleaned = self.cleaned(text.into_bytes())?;
        Ok(String::from_utf8_lossy(&cleaned).into_owned())
    }

    /// What came, without values.
    fn cleaned(&self, body: Vec<u8>) -> Result<Vec<u8>, UpstreamError> {
        match &self.credentials {
            Some(credentials) => credentials.secrets.clean(body).map_err(UpstreamError::Refused),
            None => Ok(body),
        }
    }

    async fn post(&self, message: &Object, extra: HeaderMap) -> Result<reqwest::Response, UpstreamError> {
        let body = message.to_raw();
        self.exchange(Method::POST, extra, |http| {
            http.post(self.url.to_string())
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "application/json, text/event-stream")
                .body(body.get().to_owned())
        })
        .await
    }

    /// What an HTTP status without a JSON-RPC answer means.
    fn refusal(&self, status: u16) -> UpstreamError {
        match (status, &self.sign_in) {
            (401 | 403, Some(SignIn { login, .. })) => UpstreamError::SignIn(format!(
                "server `{}` refuses this to whoever is signed in there (HTTP {status})",
                login.server
            )),
            _ => self.plain_refusal(status),
        }
    }

    fn plain_refusal(&self, status: u16) -> UpstreamError {
        match status {
            401 | 403 => UpstreamError::Unauthorized(status),
            404 if self.session().id.is_some() => {
                self.alive.store(false, Ordering::Relaxed);
                UpstreamError::SessionGone
            }
            status => UpstreamError::Refused(format!("HTTP {status}")),
        }
    }

    /// The response to `id`, from a JSON body or an event stream that also carries the request's notifications.
    async fn answer(&self, id: u64, response: reqwest::Response) -> Result<Object, UpstreamError> {
        let status = response.status().as_u16();
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/event-stream") && status == 200 {
            return self.answer_in_stream(id, response).await;
        }
        let body = self.cleaned(read(response).await?)?;
        match Object::parse(&body) {
            // An error that does not name its request can only be about this one.
            Ok(answer) if answer.get("error").is_some() => Ok(answer),
            Ok(answer) if is_answer(&answer, id) && status == 200 => Ok(answer),
            _ if status == 200 => Err(UpstreamError::Broken("its answer is no JSON-RPC response".into())),
            _ => Err(self.refusal(status)),
        }
    }

    async fn answer_in_stream(&self, id: u64, first: reqwest::Response) -> Result<Object, UpstreamError> {
        let mut last_event = None;
        let mut response = first;
        for _ in 0..RESUME_MAX {
            let (answer, pause) = self.stream(response, Some(id), &mut last_event).await?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
            // The server closed a resumable stream early (MCP 2025-11-25, polling): take it up again.
            let Some(event) = last_event.clone().filter(|_| self.session().version.is_some()) else { break };
            let retry_ms = u64::try_from(pause.as_millis()).unwrap_or(RETRY_MS_MAX);
            if self.inbox.send(Inbound::Paused { related: id, retry_ms }).await.is_err() {
                return Err(UpstreamError::Gone);
            }
            tokio::time::sleep(pause).await;
            let extra =
                HeaderMap::from_iter([(HeaderName::from_static("last-event-id"), header_value(&event))]);
            response = self.get(extra).await?;
        }
        Err(UpstreamError::Broken("its event stream ended without an answer".into()))
    }

    async fn get(&self, extra: HeaderMap) -> Result<reqwest::Response, UpstreamError> {
        let stream =
            |http: &reqwest::Client| http.get(self.url.to_string()).header(ACCEPT, "text/event-stream");
        let response = self.exchange(Method::GET, extra, stream).await?;
        match response.status().as_u16() {
            200 => Ok(response),
            status => Err(self.refusal(status)),
        }
    }

    /// Reads a stream to its end or to the response to `id`; everything else goes to the inbox.
    async fn stream(
        &self,
        response: reqwest::Response,
        id: Option<u64>,
        last_event: &mut Option<String>,
    ) -> Result<(Option<Object>, Duration), UpstreamError> {
        let mut reader = sse::Reader::default();
        let mut chunks = response.bytes_stream();
        let mut events = Vec::new();
        let mut pause = Duration::from_millis(200);
        while let Some(chunk) = chunks.next().await {
            let Ok(chunk) = chunk else { break };
            reader.push(&chunk, &mut events).map_err(|error| UpstreamError::Broken(error.to_string()))?;
            for event in events.drain(..) {
                if let Some(ms) = event.retry_ms {
                    pause = Duration::from_millis(ms.min(RETRY_MS_MAX));
                }
                if event.id.is_some() {
                    *last_event = event.id;
                }
                if event.data.is_empty() {
                    continue;
                }
                let data = self.cleaned(event.data)?;
                let message = match Object::parse(&data)
                    .and_then(|message| message.kind().map(|kind| (message, kind)))
                {
                    Ok(found) => found,
                    Err(error) => {
                        tracing::warn!("a server sent an event that is no message ({error}); it was dropped");
                        continue;
                    }
                };
                match message {
                    (answer, Kind::Response) if id.is_some_and(|id| is_answer(&answer, id)) => {
                        return Ok((Some(answer), pause));
                    }
                    (_, Kind::Response) => {
                        tracing::debug!("a server answered a request that nobody waits for")
                    }
                    (message, Kind::Request | Kind::Notification) => {
                        let related = id.or_else(|| super::related(&message));
                        if self.inbox.send(Inbound::Message { message, related }).await.is_err() {
                            return Err(UpstreamError::Gone);
                        }
                    }
                }
            }
        }
        Ok((None, pause))
    }
}

/// Keeps the stream of a legacy session open; a server that offers none is left in peace.
async fn listen(shared: Arc<Shared>) {
    let mut last_event: Option<String> = None;
    for _ in 0..RESUME_MAX {
        let extra = last_event
            .iter()
            .map(|event| (HeaderName::from_static("last-event-id"), header_value(event)))
            .collect();
        let Ok(response) = shared.get(extra).await else { return };
        let Ok((_, pause)) = shared.stream(response, None, &mut last_event).await else { return };
        tokio::time::sleep(pause).await;
    }
}

async fn read(response: reqwest::Response) -> Result<Vec<u8>, UpstreamError> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(unreachable)?);
        if body.len() > FRAME_BYTES_MAX {
            return Err(UpstreamError::Broken(format!("its answer is over {FRAME_BYTES_MAX} bytes")));
        }
    }
    Ok(body)
}

fn is_answer(message: &Object, id: u64) -> bool {
    message.get("id").is_some_and(|found| found.get().parse() == Ok(id))
}

/// The transport's own words without the URL, which may hold credentials.
fn unreachable(error: reqwest::Error) -> UpstreamError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    UpstreamError::Unreachable(text)
}

/// A header value for any text: as it is where that is unambiguous, else base64 (MCP 2026-07-28, transports).
fn header_value(text: &str) -> HeaderValue {
    let printable = text.bytes().all(|byte| (0x20..=0x7E).contains(&byte));
    let padded = text.starts_with(' ') || text.ends_with(' ');
    let marked = text.starts_with("=?base64?") && text.ends_with("?=");
    let plain = printable && !padded && !marked;
    let encoded = || format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text));
    let text = if plain { text.to_owned() } else { encoded() };
    HeaderValue::try_from(text).expect("printable ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_follow_the_specs_vectors() {
        for (text, want) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(header_value(text), want, "{text:?}");
        }
    }
}
