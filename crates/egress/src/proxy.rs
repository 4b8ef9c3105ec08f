//! The explicit proxy: HTTP CONNECT, HTTP requests in absolute form, and SOCKS5. Every one of them ends in the same
//! question as a captured connection; what differs is that the answer can be read.

use crate::capture::{self, Io};
use crate::exit::{Exit, Line, Place, Scope};
use crate::http::body::Body;
use crate::http::{BUFFER_BYTES_MAX, MARK, Reply, judged};
use crate::name::{self, NameError};
use crate::{peer, socks};
use ::http::header::{self, HeaderMap, HeaderValue};
use ::http::uri::Scheme;
use ::http::{Method, Request, Response, StatusCode};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Whom an explicit proxy serves.
pub enum Clients {
    /// Whoever reaches it: it listens where nobody else is.
    Anybody,
    /// Who shows the token: as a Bearer token, or as the password of Basic or SOCKS5.
    Holders(Token),
    /// Those too, and without it the processes of this user that are in no sandbox, as the kernel says it of a connection
    /// over loopback: for clients that can be told a port and nothing else.
    User(Token),
}

impl Clients {
    fn token(&self) -> Option<&Token> {
        match self {
            Self::Anybody => None,
            Self::Holders(token) | Self::User(token) => Some(token),
        }
    }

    /// Whether the one at the other end need not show anything.
    async fn knows(&self, stream: &TcpStream) -> bool {
        let (Self::User(_), Some((local, remote))) = (self, peer::ends(stream)) else { return false };
        tokio::task::spawn_blocking(move || peer::is_ours(local, remote)).await.unwrap_or(false)
    }
}

/// What a connection has to show.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// Shown, this is enough.
    pub(crate) token: Option<&'a Token>,
    /// It is enough already.
    pub(crate) is_known: bool,
}

impl Asked<'_> {
    fn is_enough(self, headers: &HeaderMap) -> bool {
        self.is_known || self.token.is_none_or(|token| token.is_in(headers))
    }
}

/// What a client of the proxy must show. Has no `Debug`.
pub struct Token(Vec<u8>);

impl Token {
    /// The token as it is shown: as a Bearer token, or as the password of Basic or SOCKS5.
    #[must_use]
    pub fn new(token: impl Into<Vec<u8>>) -> Self {
        Self(token.into())
    }

    pub(crate) fn is_shown(&self, shown: &[u8]) -> bool {
        !self.0.is_empty() && verify_slices_are_equal(&self.0, shown).is_ok()
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::PROXY_AUTHORIZATION) else { return false };
        let Some(space) = value.as_bytes().iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, rest) = value.as_bytes().split_at(space);
        let credentials = rest.trim_ascii();
        match scheme.to_ascii_lowercase().as_slice() {
            b"bearer" => self.is_shown(credentials),
            b"basic" => STANDARD.decode(credentials).is_ok_and(|pair| {
                let colon = pair.iter().position(|byte| *byte == b':');
                colon.is_some_and(|colon| self.is_shown(&pair[colon + 1..]))
            }),
            _ => false,
        }
    }
}

/// Serves one connection to the proxy.
pub(crate) async fn enter(
    exit: Arc<Exit>,
    scope: Scope,
    stream: TcpStream,
    place: Place,
    clients: Arc<Clients>,
) {
    let mut first = [0];
    match timeout(exit.limits.head_wait, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        _ => return,
    }
    let is_known = clients.knows(&stream).await;
    if first == [socks::VERSION] {
        let mut stream = stream;
        let asked = Asked { token: clients.token(), is_known };
        let greeted = timeout(exit.limits.hello_wait, socks::greet(&exit, &mut stream, asked)).await;
        if let Ok(Ok((name, port))) = greeted {
            capture::carry(Line { place, exit, scope, name, port }, stream).await;
        }
        return;
    }
    serve_http(exit, scope, stream, place, clients, is_known).await;
}

/// Turns away a connection to the proxy for which there is no place. Whoever speaks HTTP can read why.
pub(crate) fn full(exit: &Exit, stream: &TcpStream) {
    let why = exit.full();
    let text = format!("bailiwick: {why}\n");
    exit.refuse(None, None, why);
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\n{MARK}: denied\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    // A fresh socket has room for it.
    stream.try_write((head + &text).as_bytes()).ok();
}

async fn serve_http(
    exit: Arc<Exit>,
    scope: Scope,
    io: impl Io,
    place: Place,
    clients: Arc<Clients>,
    is_known: bool,
) {
    let head_wait = exit.limits.head_wait;
    let service = service_fn(move |request| {
        let (exit, scope, place, clients) = (exit.clone(), scope.clone(), place.clone(), clients.clone());
        async move {
            let asked = Asked { token: clients.token(), is_known };
            let answered = answer(exit, scope, place, asked, request).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(Reply::response))
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_wait)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "proxy");
    }
}

async fn answer(
    exit: Arc<Exit>,
    scope: Scope,
    place: Place,
    asked: Asked<'_>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Reply> {
    if !asked.is_enough(request.headers()) {
        exit.refuse(None, None, "the proxy was not shown its token");
        let status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let mut response = Reply { status, ..Reply::denied("this proxy wants its token") }.response();
        let challenge = HeaderValue::from_static("Basic realm=\"bailiwick\"");
        response.headers_mut().insert(header::PROXY_AUTHENTICATE, challenge);
        return Ok(response);
    }
    let is_connect = *request.method() == Method::CONNECT;
    let Some(authority) = request.uri().authority() else {
        return Err(Reply::malformed(
            "this is a proxy: use CONNECT, or a request with an absolute http:// target",
        ));
    };
    let text = authority.as_str().to_owned();
    let refuse = |why: String| {
        exit.refuse(Some(name::shown(text.as_bytes())), None, why.clone());
        Reply::denied(why)
    };
    let (name, port) = name::parse_authority(&text).map_err(|error| match error {
        NameError::Address => refuse(format!("{}: {error}", name::shown(text.as_bytes()))),
        _ => Reply::malformed(refuse(error.to_string()).why),
    })?;
    if !is_connect {
        if request.uri().scheme() != Some(&Scheme::HTTP) {
            return Err(refuse("only http:// targets are forwarded; use CONNECT for https".to_owned()));
        }
        let line = Line { place, exit: exit.clone(), scope, name, port: port.unwrap_or(80) };
        return Ok(judged::answer(line, false, request).await);
    }
    let Some(port) = port else { return Err(Reply::malformed("CONNECT needs a port")) };
    let line = Line { place, exit: exit.clone(), scope, name, port };
    if line.exit.authority.route(&line.name, port).is_none() {
        let why = format!("{}:{port} is not granted", line.name);
        line.refuse(why.clone());
        return Err(Reply::denied(why));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    line.scope.clone().spawn(async move {
        let Ok(io) = upgraded.await else { return };
        // The socket itself, unless the client began to speak before it was told to.
        match io.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) if parts.read_buf.is_empty() => capture::carry(line, parts.io.into_inner()).await,
            Ok(parts) => {
                let first = std::io::Cursor::new(parts.read_buf);
                let (from, to) = tokio::io::split(parts.io.into_inner());
                capture::carry(line, tokio::io::join(first.chain(from), to)).await;
            }
            Err(io) => capture::carry(line, TokioIo::new(io)).await,
        }
    });
    Ok(Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync()))
}
