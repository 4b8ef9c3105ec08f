//! One sandbox's way out, put together: what it asks, what it dials with and what bounds it. Everything that runs ends
//! with the [`Running`] it belongs to.

use crate::authority::{Authority, Refusal};
use crate::ca::Ca;
use crate::dial::Resolve;
use crate::fake::Names;
use crate::http::pool::Pools;
use crate::name::Name;
use crate::proxy::{self, Clients};
use crate::{capture, dns, tls};
use rustix::io::Errno;
use rustls::{ClientConfig, RootCertStore};
use std::future::Future;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The name that stands for the explicit proxy inside a captured network. Its last label is no top-level domain.
pub const PROXY_NAME: &str = "proxy.bailiwick";
/// The ports of [`PROXY_NAME`]: HTTP and SOCKS5 are told apart by their first byte, so either serves both.
pub const PROXY_PORTS: [u16; 2] = [3128, 1080];

/// The gate's ends of a captured network: what its sandbox handed over.
#[derive(Debug)]
pub struct Sockets {
    /// Datagrams to the name server.
    pub dns_udp: OwnedFd,
    /// A listener at the name server's address.
    pub dns_tcp: OwnedFd,
    /// Listeners whose connections were meant for somewhere else.
    pub capture: Vec<OwnedFd>,
}

/// What this process may open once it asked to: two for each connection, four more while one is busy.
const OPEN_FILES_MAX: u64 = 65_536;

/// Lets this process open as many files as its connections need, as far as the system lets it by itself.
///
/// # Errors
/// The system did not; then connections wait for one another once it has given as many as it would.
pub fn raise_open_files() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX);
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(())
}

/// What bounds one [`Exit`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections from inside at a time; more are refused, and the authority is told.
    pub connections_max: usize,
    /// How long a TLS ClientHello may be, in bytes, records included.
    pub hello_bytes_max: usize,
    /// How long a client may take for its ClientHello, TLS handshake, SOCKS greeting or DNS questions.
    pub hello_wait: Duration,
    /// How long a client may take for a request's head, and may keep an HTTP/1 connection without one.
    pub head_wait: Duration,
    /// How long the fields of a head may be together, in bytes.
    pub head_bytes_max: u32,
    /// Requests of one HTTP/2 connection at a time.
    pub streams_max: u32,
    /// How long resolving, connecting and the TLS handshake with an upstream may take together.
    pub connect_wait: Duration,
    /// How long an upstream may take from the request's first byte to its answer's head.
    pub answer_wait: Duration,
    /// How long a connection that is not HTTP may be silent in both directions.
    pub silence_wait: Duration,
    /// How long an upstream connection is kept without a request.
    pub upstream_idle_wait: Duration,
    /// Upstream connections kept without a request, for each name and port.
    pub upstream_idle_max: usize,
    /// Requests under way at a time, for each name and port; more wait.
    pub upstream_busy_max: usize,
    /// How long a listener rests after the system refused it a connection.
    pub accept_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            hello_bytes_max: 64 * 1_024,
            hello_wait: Duration::from_secs(10),
            head_wait: Duration::from_secs(90),
            head_bytes_max: 256 * 1_024,
            streams_max: 256,
            connect_wait: Duration::from_secs(15),
            answer_wait: Duration::from_secs(3_600),
            silence_wait: Duration::from_secs(3_600),
            upstream_idle_wait: Duration::from_secs(30),
            upstream_idle_max: 32,
            upstream_busy_max: 1_024,
            accept_pause: Duration::from_millis(20),
        }
    }
}

/// How the world is reached.
pub struct Outside {
    /// Whom upstreams are verified by; see [`crate::roots`].
    pub roots: RootCertStore,
    /// What resolves names once they are admitted.
    pub resolve: Arc<dyn Resolve>,
}

/// One sandbox's way out. Its tables, certificates and upstream connections are shared by all that enters through it
/// and by nobody else.
pub struct Exit {
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) ca: Arc<Ca>,
    pub(crate) resolve: Arc<dyn Resolve>,
    pub(crate) limits: Limits,
    pub(crate) names: Names,
    pub(crate) pools: Pools,
    pub(crate) tls_h1: Arc<ClientConfig>,
    pub(crate) tls_h2: Arc<ClientConfig>,
    /// What drives upstream connections; they may outlive the connection that they were made for.
    pub(crate) scope: Scope,
    places: Arc<Semaphore>,
}

impl Exit {
    /// A way out that nobody has entered yet. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The TLS configuration is impossible, which a complete build never is.
    pub fn new(
        authority: Arc<dyn Authority>,
        ca: Arc<Ca>,
        outside: Outside,
        limits: Limits,
    ) -> Result<Arc<Self>, rustls::Error> {
        let roots = Arc::new(outside.roots);
        let exit = Arc::new(Self {
            authority,
            ca,
            resolve: outside.resolve,
            names: Names::default(),
            pools: Pools::default(),
            tls_h1: tls::client(roots.clone(), &[b"http/1.1"])?,
            tls_h2: tls::client(roots, &[b"h2", b"http/1.1"])?,
            scope: Scope(CancellationToken::new()),
            places: Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS))),
            limits,
        });
        let swept = Arc::downgrade(&exit);
        exit.scope.spawn(async move {
            loop {
                let Some(wait) = swept.upgrade().map(|exit| exit.limits.upstream_idle_wait / 2) else {
                    return;
                };
                tokio::time::sleep(wait.max(Duration::from_millis(10))).await;
                let Some(exit) = swept.upgrade() else { return };
                exit.pools.sweep(exit.limits.upstream_idle_wait);
            }
        });
        Ok(exit)
    }

    /// Tells the authority of a refusal that it was not asked about.
    pub(crate) fn refuse(&self, name: Option<String>, port: Option<u16>, why: impl Into<String>) {
        self.authority.refused(&Refusal { name, port, why: why.into() });
    }

    /// Accepts connections for ever, as many at a time as there are places.
    async fn accept(self: Arc<Self>, scope: Scope, listener: TcpListener, entrance: Entrance) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let Ok(place) = self.places.clone().try_acquire_owned() else {
                        (entrance.full)(&self, stream);
                        continue;
                    };
                    stream.set_nodelay(true).ok();
                    scope.spawn((entrance.enter)(
                        self.clone(),
                        scope.clone(),
                        stream,
                        Place(Arc::new(place)),
                    ));
                }
                Err(error) => {
                    // Not a client that left in the queue: they wait, and somebody must know why.
                    if matches!(
                        error.raw_os_error().map(Errno::from_raw_os_error),
                        Some(Errno::MFILE | Errno::NFILE)
                    ) {
                        self.refuse(None, None, "connections wait: the gate may open no more files; raise its limit (RLIMIT_NOFILE)");
                    }
                    tracing::debug!(%error, "accepting");
                    tokio::time::sleep(self.limits.accept_pause).await;
                }
            }
        }
    }

    /// What is said to whoever comes when all places are taken.
    pub(crate) fn full(&self) -> String {
        format!(
            "there are {} connections, as many as this sandbox may have; close some",
            self.limits.connections_max
        )
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        self.scope.0.cancel();
    }
}

/// What becomes of a connection.
struct Entrance {
    enter: Box<dyn Fn(Arc<Exit>, Scope, TcpStream, Place) -> dns::Connection + Send + Sync>,
    /// Where there is no place for it.
    full: Box<TurnAway>,
}

type TurnAway = dyn Fn(&Exit, TcpStream) + Send + Sync;

/// Tasks that end together.
#[derive(Clone)]
pub(crate) struct Scope(CancellationToken);

impl Scope {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.0.clone();
        tokio::spawn(async move {
            token.run_until_cancelled(task).await;
        });
    }
}

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for Scope {
    fn execute(&self, task: F) {
        self.spawn(async move {
            task.await;
        });
    }
}

/// One of the connections that there may be. It is taken for as long as anybody holds it: a tunnel or a WebSocket outlives
/// the HTTP that it began as.
#[derive(Clone)]
pub(crate) struct Place(#[allow(dead_code, reason = "it is held, not read")] Arc<OwnedSemaphorePermit>);

/// Somebody inside, on the way to one name and port.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) place: Place,
    pub(crate) exit: Arc<Exit>,
    pub(crate) scope: Scope,
    pub(crate) name: Name,
    pub(crate) port: u16,
}

impl Line {
    pub(crate) fn refuse(&self, why: impl Into<String>) {
        self.exit.refuse(Some(self.name.to_string()), Some(self.port), why);
    }
}

/// Something that accepts connections. Dropping it closes its sockets and ends every connection that came through them,
/// at once.
#[must_use = "dropping it ends everything"]
pub struct Running(Scope);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.cancel();
    }
}

/// Takes over the sockets of a captured network, until the answer is dropped. Must be called within a Tokio runtime.
///
/// # Errors
/// A descriptor is not the socket it should be.
pub fn serve(sockets: Sockets, exit: &Arc<Exit>) -> io::Result<Running> {
    let running = Running(Scope(CancellationToken::new()));
    let scope = &running.0;
    scope.spawn(dns::serve_udp(exit.clone(), udp(sockets.dns_udp)?));
    let connections = scope.clone();
    scope.spawn(dns::serve_tcp(exit.clone(), tcp(sockets.dns_tcp)?, move |each| connections.spawn(each)));
    for listener in sockets.capture {
        capture_from(exit, scope, tcp(listener)?, capture::original_destination);
    }
    Ok(running)
}

fn capture_from(
    exit: &Arc<Exit>,
    scope: &Scope,
    listener: TcpListener,
    destination: fn(&TcpStream) -> io::Result<SocketAddrV4>,
) {
    let entrance = Entrance {
        enter: Box::new(move |exit, scope, stream, place| {
            let destination = destination(&stream);
            Box::pin(capture::enter(exit, scope, stream, place, destination))
        }),
        full: Box::new(move |exit, stream| capture::full(exit, &stream, destination(&stream))),
    };
    scope.spawn(exit.clone().accept(scope.clone(), listener, entrance));
}

/// An explicit HTTP and SOCKS5 proxy on `listener` for `clients`, until the answer is dropped. Must be called within a Tokio
/// runtime.
pub fn proxy(listener: TcpListener, exit: &Arc<Exit>, clients: Clients) -> Running {
    let running = Running(Scope(CancellationToken::new()));
    let clients = Arc::new(clients);
    let entrance = Entrance {
        enter: Box::new(move |exit, scope, stream, place| {
            Box::pin(proxy::enter(exit, scope, stream, place, clients.clone()))
        }),
        full: Box::new(|exit, stream| proxy::full(exit, &stream)),
    };
    running.0.spawn(exit.clone().accept(running.0.clone(), listener, entrance));
    running
}

fn tcp(descriptor: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(descriptor);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn udp(descriptor: OwnedFd) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::from(descriptor);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}
