//! Connections to upstreams, kept for the next request to the same name and port of the same sandbox. None is ever used
//! for another name, whatever its certificate says, nor after its route has changed.

use super::body::Body;
use super::{BUFFER_BYTES_MAX, CONNECTION_BYTES, FRAME_BYTES, STREAM_BYTES};
use crate::authority::Route;
use crate::brim::Brim;
use crate::dial::{self, DialError};
use crate::exit::{Exit, Line};
use crate::name::Name;
use crate::tls;
use crate::watch::Watch;
use ::http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Kept connections that had died unnoticed before one is made anew for a request.
const STALE_MAX: usize = 3;
/// Requests that share one HTTP/2 connection: as many as every server should take at least (RFC 9113 §6.5.2). More would
/// wait for those to end, and some never do; they get a connection of their own.
const STREAMS_SHARED_MAX: usize = 100;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("TLS with {0} failed: {1}")]
    Tls(Name, #[source] io::Error),
    #[error("{0} was busy for too long")]
    Busy(Name),
    #[error("{0} took too long to answer")]
    TooSlow(Name),
    #[error("{0} did not answer: {1}")]
    Http(Name, String),
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) name: Name,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// Whether the client speaks HTTP/2, and so whether it is offered to the upstream.
    pub(crate) h2: bool,
    pub(crate) route: Route,
}

/// Every upstream of one sandbox.
#[derive(Default)]
pub(crate) struct Pools(Mutex<HashMap<Key, Arc<Place>>>);

struct Place {
    idle: Mutex<Vec<Idle>>,
    shared: tokio::sync::Mutex<Vec<Shared>>,
    /// It was offered HTTP/2 and took HTTP/1.1.
    is_h1: AtomicBool,
    busy: Arc<Semaphore>,
    used: Mutex<Instant>,
}

struct Idle {
    sender: http1::SendRequest<Body>,
    address: IpAddr,
    since: Instant,
}

/// An HTTP/2 connection.
struct Shared {
    sender: http2::SendRequest<Body>,
    address: IpAddr,
    streams: Arc<Semaphore>,
}

enum Lease {
    H1(http1::SendRequest<Body>, IpAddr),
    H2(http2::SendRequest<Body>, IpAddr),
}

/// What one request takes of an upstream until its answer is read.
pub(crate) struct Busy {
    _place: OwnedSemaphorePermit,
    _stream: Option<OwnedSemaphorePermit>,
}

impl Busy {
    /// Of a connection that nobody else will ever use.
    pub(crate) fn alone() -> Option<Self> {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().ok()?;
        Some(Self { _place: place, _stream: None })
    }
}

impl Pools {
    fn place(&self, key: &Key, busy_max: usize) -> Arc<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(key.clone()).or_insert_with(|| {
            Arc::new(Place {
                idle: Mutex::default(),
                shared: tokio::sync::Mutex::default(),
                is_h1: AtomicBool::new(false),
                busy: Arc::new(Semaphore::new(busy_max.min(Semaphore::MAX_PERMITS))),
                used: Mutex::new(Instant::now()),
            })
        });
        *place.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        place.clone()
    }

    /// Forgets what has had no request for `wait`.
    pub(crate) fn sweep(&self, wait: Duration) {
        let is_fresh = |since: &Instant| since.elapsed() < wait;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, place| {
            let mut idle = place.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|idle| is_fresh(&idle.since) && !idle.sender.is_closed());
            // One is kept while anything is; the others were for more streams than it takes.
            if let Ok(mut shared) = place.shared.try_lock() {
                let mut is_first = true;
                shared.retain(|one| {
                    let is_idle = one.streams.available_permits() == STREAMS_SHARED_MAX;
                    !one.sender.is_closed() && (std::mem::take(&mut is_first) || !is_idle)
                });
            }
            !idle.is_empty()
                // Somebody else holds it: a request is under way.
                || Arc::strong_count(place) > 1
                || is_fresh(&place.used.lock().unwrap_or_else(PoisonError::into_inner))
        });
    }

    /// Sends a request to its upstream over a kept connection or a new one.
    pub(crate) async fn send(
        &self,
        exit: &Exit,
        key: &Key,
        mut request: Request<Body>,
        write: impl Fn(&mut Request<Body>, bool),
        watch: &Watch,
    ) -> Result<(Response<Incoming>, Busy), UpstreamError> {
        let limits = &exit.limits;
        let place = self.place(key, limits.upstream_busy_max);
        let taken = match timeout(limits.connect_wait, place.busy.clone().acquire_owned()).await {
            Ok(Ok(taken)) => taken,
            _ => return Err(UpstreamError::Busy(key.name.clone())),
        };
        let failed = |error: hyper::Error| UpstreamError::Http(key.name.clone(), causes(&error));
        for attempt in 0.. {
            let (mut lease, is_kept, stream) = place.lease(exit, key, attempt < STALE_MAX).await?;
            let address = match &lease {
                Lease::H1(_, address) | Lease::H2(_, address) => *address,
            };
            watch.dialled(address);
            write(&mut request, matches!(lease, Lease::H2(..)));
            let sent = async {
                match &mut lease {
                    Lease::H1(sender, _) => sender.try_send_request(request).await,
                    Lease::H2(sender, _) => sender.try_send_request(request).await,
                }
            };
            match timeout(limits.answer_wait, sent).await {
                Err(_) => return Err(UpstreamError::TooSlow(key.name.clone())),
                Ok(Ok(response)) => {
                    if let Lease::H1(sender, address) = lease {
                        place.clone().keep(exit, sender, address);
                    }
                    return Ok((response, Busy { _place: taken, _stream: stream }));
                }
                // The upstream had closed a kept connection, and nothing of the request was sent.
                Ok(Err(mut error)) => match error.take_message() {
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err(failed(error.into_error())),
                },
            }
        }
        Err(UpstreamError::Busy(key.name.clone()))
    }
}

impl Place {
    /// A connection, whether it had been used before, and a place among those that share it.
    async fn lease(
        &self,
        exit: &Exit,
        key: &Key,
        may_be_kept: bool,
    ) -> Result<(Lease, bool, Option<OwnedSemaphorePermit>), UpstreamError> {
        if key.h2 && !self.is_h1.load(Ordering::Relaxed) {
            // Held while connecting: requests that come meanwhile share what comes of it.
            let mut shared = self.shared.lock().await;
            shared.retain(|one| !one.sender.is_closed());
            for one in shared.iter().filter(|_| may_be_kept) {
                if let Ok(stream) = one.streams.clone().try_acquire_owned() {
                    return Ok((Lease::H2(one.sender.clone(), one.address), true, Some(stream)));
                }
            }
            let lease = connect(exit, key).await?;
            let mut stream = None;
            match &lease {
                Lease::H2(sender, address) => {
                    let streams = Arc::new(Semaphore::new(STREAMS_SHARED_MAX));
                    stream = streams.clone().try_acquire_owned().ok();
                    shared.push(Shared { sender: sender.clone(), address: *address, streams });
                }
                Lease::H1(..) => self.is_h1.store(true, Ordering::Relaxed),
            }
            return Ok((lease, false, stream));
        }
        if may_be_kept && let Some(idle) = self.take_idle(exit.limits.upstream_idle_wait) {
            return Ok((Lease::H1(idle.sender, idle.address), true, None));
        }
        Ok((connect(exit, key).await?, false, None))
    }

    /// The connection that was used last, if it is still good.
    fn take_idle(&self, wait: Duration) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(last) = idle.pop() {
            if last.sender.is_ready() && last.since.elapsed() < wait {
                return Some(last);
            }
        }
        None
    }

    /// Keeps a connection for the next request, once this one's answer has been read.
    fn keep(self: Arc<Self>, exit: &Exit, mut sender: http1::SendRequest<Body>, address: IpAddr) {
        let idle_max = exit.limits.upstream_idle_max;
        exit.scope.spawn(async move {
            if sender.ready().await.is_ok() {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < idle_max {
                    idle.push(Idle { sender, address, since: Instant::now() });
                }
            }
        });
    }
}

async fn connect(exit: &Exit, key: &Key) -> Result<Lease, UpstreamError> {
    let (stream, address) = dial::dial(exit, &key.name, key.port, &key.route).await?;
    if !key.tls {
        let stream = BufReader::new(stream);
        return if key.h2 {
            begin_h2(exit, key, stream, address).await
        } else {
            begin_h1(exit, key, stream, address).await
        };
    }
    let client = if key.h2 { &exit.tls_h2 } else { &exit.tls_h1 };
    let handshake = tls::connect(client.clone(), &key.name, stream);
    let tls = match timeout(exit.limits.connect_wait, handshake).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return Err(UpstreamError::Tls(key.name.clone(), error)),
        Err(_) => return Err(UpstreamError::TooSlow(key.name.clone())),
    };
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = Brim::new(tls);
    if is_h2 { begin_h2(exit, key, io, address).await } else { begin_h1(exit, key, io, address).await }
}

async fn begin_h1(
    exit: &Exit,
    key: &Key,
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: IpAddr,
) -> Result<Lease, UpstreamError> {
    let begun = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(io)).await;
    let (sender, connection) =
        begun.map_err(|error| UpstreamError::Http(key.name.clone(), causes(&error)))?;
    exit.scope.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "upstream");
        }
    });
    Ok(Lease::H1(sender, address))
}

async fn begin_h2(
    exit: &Exit,
    key: &Key,
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: IpAddr,
) -> Result<Lease, UpstreamError> {
    let begun = http2::Builder::new(exit.scope.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_BYTES)
        .initial_connection_window_size(CONNECTION_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(exit.limits.head_bytes_max)
        .handshake(TokioIo::new(io))
        .await;
    let (sender, connection) =
        begun.map_err(|error| UpstreamError::Http(key.name.clone(), causes(&error)))?;
    exit.scope.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream");
        }
    });
    Ok(Lease::H2(sender, address))
}

/// Sends a request on a connection of its own, which becomes something else if the answer is 101.
pub(crate) async fn send_alone(
    line: &Line,
    route: &Route,
    tls: bool,
    request: Request<Body>,
    watch: &Watch,
) -> Result<Response<Incoming>, UpstreamError> {
    let key = Key { name: line.name.clone(), port: line.port, tls, h2: false, route: route.clone() };
    let Lease::H1(mut sender, address) = connect(&line.exit, &key).await? else {
        return Err(UpstreamError::Http(key.name, "it chose a protocol that it was not offered".to_owned()));
    };
    watch.dialled(address);
    match timeout(line.exit.limits.answer_wait, sender.send_request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(UpstreamError::Http(key.name, causes(&error))),
        Err(_) => Err(UpstreamError::TooSlow(key.name)),
    }
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
