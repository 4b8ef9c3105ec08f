//! HTTP/1.1 and HTTP/2 towards the one inside: every request of every connection and stream is judged by itself.
//! Nothing here knows who may do what.

pub(crate) mod body;
mod coding;
pub(crate) mod heads;
pub(crate) mod judged;
mod moving;
pub(crate) mod pool;

use crate::capture::Io;
use crate::exit::Line;
use ::http::{HeaderValue, Response, StatusCode, header};
use body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use moving::Moving;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// Fields of one head.
const HEADERS_MAX: usize = 256;
/// What HTTP/1 buffers of a connection that has not been passed on.
pub(crate) const BUFFER_BYTES_MAX: usize = 256 * 1_024;
/// HTTP/2 flow control: what may be under way in one stream, and in all of a connection.
pub(crate) const STREAM_BYTES: u32 = 1 << 20;
pub(crate) const CONNECTION_BYTES: u32 = 4 << 20;
pub(crate) const FRAME_BYTES: u32 = 64 * 1_024;
/// How often an HTTP/2 client is asked whether it is there: its answer moves bytes where streams have nothing to say.
const PING_WAIT: Duration = Duration::from_secs(60);
/// How long it may take to answer. One that is only slow has everything before the question to read first; one that is
/// not there is known by nothing moving.
const PONG_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Says whose answer this is; an upstream's own field of this name is removed.
pub(crate) const MARK: &str = "x-bailiwick";

/// What is said to plain HTTP on a port where TLS ends.
pub(crate) const PLAIN_TO_TLS: &[u8] = b"HTTP/1.1 403 Forbidden\r\nx-bailiwick: denied\r\ncontent-type: text/plain\r\n\
    connection: close\r\ncontent-length: 67\r\n\r\nbailiwick: plain HTTP was sent to a port that takes TLS; use https\n";

/// Who could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Denied,
    Upstream,
}

/// An answer of our own.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) whose: Whose,
    pub(crate) why: String,
}

impl Reply {
    pub(crate) fn denied(why: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, whose: Whose::Denied, why: why.into() }
    }

    pub(crate) fn malformed(why: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, ..Self::denied(why) }
    }

    /// RFC 9110 §15.5.20: a client that reused a connection for another name may try again with a new one.
    pub(crate) fn misdirected(why: impl Into<String>) -> Self {
        Self { status: StatusCode::MISDIRECTED_REQUEST, ..Self::denied(why) }
    }

    pub(crate) fn upstream(why: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, whose: Whose::Upstream, why: why.into() }
    }

    pub(crate) fn response(self) -> Response<Body> {
        let text = Bytes::from(format!("bailiwick: {}\n", self.why));
        let mut response = Response::new(Full::new(text).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let whose = if self.whose == Whose::Denied { "denied" } else { "upstream" };
        headers.insert(MARK, HeaderValue::from_static(whose));
        response
    }
}

/// Serves HTTP/1.1.
pub(crate) async fn serve_h1(line: Line, io: impl Io, tls: bool) {
    let limits = line.exit.limits.clone();
    let service = service_fn(move |request| {
        let line = line.clone();
        async move { Ok::<_, Infallible>(judged::answer(line, tls, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_wait)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "http/1");
    }
}

/// Serves HTTP/2.
pub(crate) async fn serve_h2(line: Line, io: impl Io, tls: bool) {
    let limits = line.exit.limits.clone();
    let mut builder = hyper::server::conn::http2::Builder::new(line.scope.clone());
    let service = service_fn(move |request| {
        let line = line.clone();
        async move { Ok::<_, Infallible>(judged::answer(line, tls, request).await) }
    });
    let moving = Moving::default();
    let served = builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_WAIT)
        .keep_alive_timeout(PONG_WAIT)
        .initial_stream_window_size(STREAM_BYTES)
        .initial_connection_window_size(CONNECTION_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.head_bytes_max)
        .serve_connection(TokioIo::new(moving.watch(io)), service);
    match moving.drive(Box::pin(served), limits.silence_wait).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "http/2"),
        None => tracing::debug!("http/2: nothing moved for too long"),
    }
}

/// Serves HTTP without TLS: HTTP/1.1, or HTTP/2 from a client that knows it will be understood (RFC 9113 §3.3).
pub(crate) async fn serve_plain(line: Line, mut io: impl Io) {
    let mut first = Vec::with_capacity(PREFACE.len());
    let read = async {
        while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
            let mut byte = [0; PREFACE.len()];
            let wanted = PREFACE.len() - first.len();
            let length = io.read(&mut byte[..wanted]).await.ok().filter(|length| *length > 0)?;
            first.extend_from_slice(&byte[..length]);
        }
        Some(())
    };
    if let Ok(Some(())) = timeout(line.exit.limits.head_wait, read).await {
        let is_h2 = first == PREFACE;
        let (from, to) = tokio::io::split(io);
        let io = tokio::io::join(std::io::Cursor::new(first).chain(from), to);
        if is_h2 { serve_h2(line, io, false).await } else { serve_h1(line, io, false).await }
    }
}
