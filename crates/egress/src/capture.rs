//! Where a captured connection was going: its synthetic address is turned back into the name it stands for. A
//! connection to anything that stands for no name is reset.

use crate::authority::Way;
use crate::exit::{Exit, Line, PROXY_NAME, PROXY_PORTS, Place, Scope};
use crate::proxy::{self, Clients};
use crate::{http, relay, tls};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What bytes come and go through.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Where a redirected connection was going, else the address it arrived at.
pub(crate) fn original_destination(stream: &TcpStream) -> io::Result<SocketAddrV4> {
    match sockopt::ip_original_dst(stream) {
        Ok(address) => Ok(address),
        // Not tracked, or no tracking in this kernel: nothing was redirected.
        Err(Errno::NOENT | Errno::NOPROTOOPT) => {
            SocketAddrV4::try_from(rustix::net::getsockname(stream)?).map_err(io::Error::from)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Carries a captured connection until it ends.
pub(crate) async fn enter(
    exit: Arc<Exit>,
    scope: Scope,
    stream: TcpStream,
    place: Place,
    destination: io::Result<SocketAddrV4>,
) {
    let Ok(destination) = destination else { return reset(&stream) };
    let port = destination.port();
    let Some(name) = exit.names.name(*destination.ip()) else {
        exit.refuse(
            None,
            Some(port),
            format!("{destination} was dialled directly; only names that are granted have addresses"),
        );
        return reset(&stream);
    };
    if name.as_str() == PROXY_NAME {
        if PROXY_PORTS.contains(&port) {
            return proxy::enter(exit, scope, stream, place, Arc::new(Clients::Anybody)).await;
        }
        exit.refuse(Some(name.to_string()), Some(port), "the proxy listens on ports 3128 and 1080 only");
        return reset(&stream);
    }
    // The name may have been taken away since its address was given.
    if !exit.authority.knows(&name) {
        exit.refuse(Some(name.to_string()), Some(port), "the name of this address is no longer granted");
        return reset(&stream);
    }
    let line = Line { place, exit, scope, name, port };
    if line.exit.authority.route(&line.name, port).is_none() {
        line.refuse(format!("{}:{port} is not granted", line.name));
        return reset(&stream);
    }
    carry(line, stream).await;
}

/// Turns away a captured connection for which there is no place.
pub(crate) fn full(exit: &Exit, stream: &TcpStream, destination: io::Result<SocketAddrV4>) {
    let destination = destination.ok();
    match destination.and_then(|destination| exit.names.name(*destination.ip())) {
        Some(name) if name.as_str() == PROXY_NAME => proxy::full(exit, stream),
        name => {
            let port = destination.map(|destination| destination.port());
            exit.refuse(name.map(|name| name.to_string()), port, exit.full());
            reset(stream);
        }
    }
}

/// Treats a connection as its route says, until it ends.
pub(crate) async fn carry(line: Line, io: impl Io) {
    let Some(route) = line.exit.authority.route(&line.name, line.port) else {
        return line.refuse(format!("{}:{} is not granted", line.name, line.port));
    };
    match route.way {
        Way::Terminate => tls::terminate(line, io).await,
        Way::Splice => tls::splice(line, io, route).await,
        Way::Plain => http::serve_plain(line, io).await,
        Way::Raw => relay::connection(line, io, Vec::new(), false, route).await,
    }
}

/// Ends a connection so that the client sees a failure at once, rather than an empty answer.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().ok();
}
