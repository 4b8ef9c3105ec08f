//! A new network namespace gets its loopback and, where a program's connections are to be captured, the sockets and
//! rules that bring every name and every TCP connection to the gate. Nothing here answers, decides or dials.
//!
//! Inside, [`DNS`] is the only name server and every name it grants stands for an address of one range that exists
//! nowhere else. The whole range is local to the namespace, so nothing needs a route, and nothing has one.

mod handover;
mod netlink;
mod nft;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, sockopt};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

/// The first address of the range that names stand for inside: 198.18.0.0/15, set aside for benchmarks (RFC 2544)
/// and routed by nobody.
pub const FAKE_NETWORK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// The length of the range's prefix, in bits.
pub const FAKE_PREFIX_BITS: u8 = 15;
/// How many addresses of the range a name can stand for: all but the first, the name server's and the broadcast one.
pub const FAKE_ADDRESSES_MAX: u32 = (1 << (32 - FAKE_PREFIX_BITS)) - 3;
/// Where the sandbox's name server is, over UDP and TCP.
pub const DNS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 1), 53);

/// Where redirected connections arrive. A privileged port: once its capabilities are gone a program cannot take it,
/// not even after the gate has closed it, and no local server of its own wants it.
const CAPTURE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
/// What is listened on where nothing can be redirected: SSH, HTTP and HTTPS.
const CAPTURE_PORTS: [u16; 3] = [22, 80, 443];
/// Connections that wait in one listener until the gate accepts them; more are retried by the client's kernel.
const WAITING_CONNECTIONS_MAX: i32 = 1_024;

/// The `index`th address that a name can stand for, from 198.18.0.2 on; `None` from [`FAKE_ADDRESSES_MAX`] on.
#[must_use]
pub fn fake_address(index: u32) -> Option<Ipv4Addr> {
    (index < FAKE_ADDRESSES_MAX).then(|| Ipv4Addr::from_bits(DNS.ip().to_bits() + 1 + index))
}

/// The index of an address that a name can stand for, the inverse of [`fake_address`]. The one question to ask of an
/// [`original_destination`]: a program that dials the listeners themselves has none.
#[must_use]
pub fn fake_index(address: Ipv4Addr) -> Option<u32> {
    let index = address.to_bits().checked_sub(DNS.ip().to_bits() + 1)?;
    (index < FAKE_ADDRESSES_MAX).then_some(index)
}

/// What `/etc/resolv.conf` says inside. The root as search list keeps resolvers from trying the host's domain, which
/// they would otherwise take from its name.
#[must_use]
pub fn resolv_conf() -> &'static str {
    "nameserver 198.18.0.1\nsearch .\noptions timeout:2 attempts:2\n"
}

/// Why a namespace's network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Loopback would not come up.
    #[error("cannot bring loopback up: {0}; run this inside a new user and network namespace")]
    Loopback(#[source] io::Error),
    /// The range that names stand for would not become local.
    #[error("cannot add 198.18.0.1/15 to loopback: {0}; run this inside a new user and network namespace")]
    Range(#[source] io::Error),
    /// A socket could not be made at an address.
    #[error("cannot listen at {address}: {source}; run this inside a new user and network namespace")]
    Listen {
        /// The address.
        address: SocketAddrV4,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel knows rules and would not take these.
    #[error("cannot load the capture rules: {0}; load the kernel modules nf_tables, nft_redir and nft_nat")]
    Rules(#[source] io::Error),
}

/// How connections come to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// nf_tables turns every TCP connection into the range, whatever its port, and drops what would leave loopback.
    Redirect,
    /// Listeners on ports 22, 80 and 443 take what arrives there; connections to other ports are refused.
    Ports {
        /// What the kernel answered to the rules, an errno.
        refused: i32,
    },
}

impl fmt::Display for Mechanism {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirect => out.write_str("nf_tables redirect of every TCP port"),
            Self::Ports { refused } => {
                write!(out, "listeners on ports 22, 80 and 443 only (nf_tables: {})", errno(*refused))
            }
        }
    }
}

/// The gate's ends of a captured network. All are non-blocking and closed on exec; whoever made them keeps no copy
/// past its own exec, so that inside nothing is left to read or to answer with.
#[derive(Debug)]
pub struct Sockets {
    /// Datagrams to [`DNS`].
    pub dns_udp: OwnedFd,
    /// A listener at [`DNS`].
    pub dns_tcp: OwnedFd,
    /// Listeners whose connections were meant for somewhere else: see [`original_destination`].
    pub capture: Vec<OwnedFd>,
    /// How connections come to be in `capture`.
    pub mechanism: Mechanism,
}

/// Brings up the network of the calling thread's namespace, which must be new and its own: loopback, and with
/// `capture` the name server's address, the listeners and the rules.
///
/// # Errors
/// Whatever the kernel refuses, by name. A kernel without nf_tables is no error: see [`Mechanism::Ports`].
pub fn raise(capture: bool) -> Result<Option<Sockets>, NetworkError> {
    netlink::raise_loopback(capture).map_err(|refusal| match refusal.sequence {
        netlink::RANGE_SEQUENCE => NetworkError::Range(refusal.errno.into()),
        _ => NetworkError::Loopback(refusal.errno.into()),
    })?;
    if !capture {
        return Ok(None);
    }
    let dns_udp = socket(SocketType::DGRAM, DNS)?;
    let dns_tcp = listener(DNS)?;
    // Listening comes before the rules: no connection is ever redirected to a port that somebody else could hold.
    let redirected = listener(CAPTURE)?;
    let (capture, mechanism) = match nft::load() {
        Ok(()) => (vec![redirected], Mechanism::Redirect),
        Err(refusal) if is_missing(refusal.errno) => {
            drop(redirected);
            let each = CAPTURE_PORTS.map(|port| listener(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)));
            let refused = refusal.errno.raw_os_error();
            (each.into_iter().collect::<Result<_, _>>()?, Mechanism::Ports { refused })
        }
        Err(refusal) => return Err(NetworkError::Rules(refusal.errno.into())),
    };
    Ok(Some(Sockets { dns_udp, dns_tcp, capture, mechanism }))
}

/// Where a connection accepted from [`Sockets::capture`] was going: what was redirected, else the address it arrived
/// at. An address without a [`fake_index`] means that the program dialled a listener itself.
///
/// # Errors
/// The connection is not IPv4, or is gone.
pub fn original_destination(connection: impl AsFd) -> io::Result<SocketAddrV4> {
    match sockopt::ip_original_dst(&connection) {
        Ok(address) => Ok(address),
        // Not tracked, or no tracking in this kernel: nothing was redirected.
        Err(Errno::NOENT | Errno::NOPROTOOPT) => {
            let address = rustix::net::getsockname(&connection)?;
            SocketAddrV4::try_from(address).map_err(io::Error::from)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether an answer to the rules says that this kernel has no such rules, rather than that it does not want them.
fn is_missing(errno: Errno) -> bool {
    matches!(
        errno,
        // No netfilter netlink; no nf_tables in it; no such table family; no `nat` chains or `redir` expressions.
        Errno::PROTONOSUPPORT | Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::NOENT
    )
}

fn listener(address: SocketAddrV4) -> Result<OwnedFd, NetworkError> {
    let socket = socket(SocketType::STREAM, address)?;
    rustix::net::listen(&socket, WAITING_CONNECTIONS_MAX).map_err(|errno| listen_error(address, errno))?;
    Ok(socket)
}

/// A bound socket that shares its address with nobody: neither `SO_REUSEADDR` nor `SO_REUSEPORT` is set, so that a
/// program inside cannot bind the same address and take a part of what arrives.
fn socket(kind: SocketType, address: SocketAddrV4) -> Result<OwnedFd, NetworkError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::INET, kind, flags, Some(protocol(kind)))
        .and_then(|socket| rustix::net::bind(&socket, &address).map(|()| socket))
        .map_err(|errno| listen_error(address, errno))
}

fn protocol(kind: SocketType) -> Protocol {
    if kind == SocketType::DGRAM { ipproto::UDP } else { ipproto::TCP }
}

fn listen_error(address: SocketAddrV4, errno: Errno) -> NetworkError {
    NetworkError::Listen { address, source: errno.into() }
}

fn errno(raw: i32) -> io::Error {
    io::Error::from_raw_os_error(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_its_index_are_each_others_inverse() {
        for (index, address) in [
            (Some(0), [198, 18, 0, 2]),
            (Some(253), [198, 18, 0, 255]),
            (Some(FAKE_ADDRESSES_MAX - 1), [198, 19, 255, 254]),
            (None, [198, 18, 0, 1]),
            (None, [198, 18, 0, 0]),
            (None, [198, 19, 255, 255]),
            (None, [198, 20, 0, 0]),
            (None, [198, 17, 255, 255]),
            (None, [127, 0, 0, 1]),
            (None, [255, 255, 255, 255]),
        ] {
            let address = Ipv4Addr::from(address);
            assert_eq!(fake_index(address), index, "{address}");
            if let Some(index) = index {
                assert_eq!(fake_address(index), Some(address));
            }
        }
        assert_eq!(fake_address(FAKE_ADDRESSES_MAX), None);
        assert_eq!(fake_address(u32::MAX), None);
    }

    #[test]
    fn resolv_conf_names_the_address_that_is_bound() {
        let first = resolv_conf().lines().next();
        assert_eq!(first, Some(format!("nameserver {}", DNS.ip()).as_str()));
    }

    #[test]
    fn only_a_kernel_that_lacks_rules_falls_back() {
        for missing in [Errno::PROTONOSUPPORT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT, Errno::NOENT] {
            assert!(is_missing(missing), "{missing}");
        }
        for refused in [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::NOMEM, Errno::EXIST, Errno::PROTO] {
            assert!(!is_missing(refused), "{refused}");
        }
    }
}
