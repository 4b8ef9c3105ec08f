//! The gate's sockets cross from the new namespace in one message, and each is shown to be what it should be before
//! anybody reads from it. Nothing else is ever said on this channel.

use super::{CAPTURE, CAPTURE_PORTS, DNS, Mechanism, Sockets, protocol};
use rustix::fs::OFlags;
use rustix::io::FdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, sockopt,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Kind and version of the message.
const MAGIC: [u8; 4] = *b"bwn\x01";
/// Magic, mechanism, count of descriptors, two zeros, the errno of [`Mechanism::Ports`] in this machine's order.
const HEADER_BYTES: usize = 12;
const REDIRECT: u8 = 0;
const PORTS: u8 = 1;
/// Two for names, and one for each captured port.
const DESCRIPTORS_MAX: usize = 2 + CAPTURE_PORTS.len();

impl Sockets {
    /// Sends them to the other end of a Unix socket, stream or sequenced. The caller's own copies remain.
    ///
    /// # Errors
    /// What the socket says, or that there are more descriptors than [`receive`](Self::receive) takes.
    pub fn send(&self, over: BorrowedFd<'_>) -> io::Result<()> {
        let Self { dns_udp, dns_tcp, capture, mechanism } = self;
        let mut descriptors = vec![dns_udp.as_fd(), dns_tcp.as_fd()];
        descriptors.extend(capture.iter().map(AsFd::as_fd));
        let header = header(*mechanism, descriptors.len() as u8);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(refused("more sockets than one handover takes"));
        }
        let sent = rustix::net::sendmsg(over, &[IoSlice::new(&header)], &mut ancillary, SendFlags::NOSIGNAL)?;
        if sent == header.len() { Ok(()) } else { Err(refused("the handover was cut short")) }
    }

    /// Receives what [`send`](Self::send) sent, waiting as the socket `over` does.
    ///
    /// # Errors
    /// What the socket says; `InvalidData` where the message is not exactly one handover, or one of its descriptors is
    /// not a socket of the right kind, in the right state, at the right address.
    pub fn receive(over: BorrowedFd<'_>) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            over,
            &mut [IoSliceMut::new(&mut header)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        // Taken out of the buffer first, so that whatever came is closed whenever this returns early.
        let mut descriptors = Vec::with_capacity(DESCRIPTORS_MAX);
        for message in ancillary.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(each) => descriptors.extend(each),
                _ => return Err(refused("the handover carries something other than sockets")),
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
            || received.bytes != HEADER_BYTES
        {
            return Err(refused("the handover is longer or shorter than one message"));
        }
        let mechanism = mechanism(&header, descriptors.len())?;
        let mut descriptors = descriptors.into_iter();
        let mut next = |kind, address| {
            let socket = descriptors.next().ok_or_else(|| refused("the handover lacks sockets"))?;
            examine(&socket, kind, address).map(|()| socket)
        };
        let dns_udp = next(SocketType::DGRAM, DNS)?;
        let dns_tcp = next(SocketType::STREAM, DNS)?;
        let capture = capture_addresses(mechanism)
            .into_iter()
            .map(|address| next(SocketType::STREAM, address))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { dns_udp, dns_tcp, capture, mechanism })
    }
}

/// Where the capture listeners of a mechanism are.
fn capture_addresses(mechanism: Mechanism) -> Vec<SocketAddrV4> {
    match mechanism {
        Mechanism::Redirect => vec![CAPTURE],
        Mechanism::Ports { .. } => {
            CAPTURE_PORTS.iter().map(|port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, *port)).collect()
        }
    }
}

fn header(mechanism: Mechanism, descriptors: u8) -> [u8; HEADER_BYTES] {
    let (kind, refused) = match mechanism {
        Mechanism::Redirect => (REDIRECT, 0),
        Mechanism::Ports { refused } => (PORTS, refused),
    };
    let [m0, m1, m2, m3] = MAGIC;
    let [r0, r1, r2, r3] = refused.to_ne_bytes();
    [m0, m1, m2, m3, kind, descriptors, 0, 0, r0, r1, r2, r3]
}

/// The mechanism that a header states, where the header is the only one that could state it with these descriptors.
fn mechanism(bytes: &[u8; HEADER_BYTES], descriptors: usize) -> io::Result<Mechanism> {
    let [.., kind, _, _, _, r0, r1, r2, r3] = *bytes;
    let mechanism = match kind {
        REDIRECT => Mechanism::Redirect,
        PORTS => Mechanism::Ports { refused: i32::from_ne_bytes([r0, r1, r2, r3]) },
        _ => return Err(refused("the handover names an unknown mechanism")),
    };
    let expected = 2 + capture_addresses(mechanism).len();
    if descriptors != expected || *bytes != header(mechanism, expected as u8) {
        return Err(refused("the handover is of another version, or its count of sockets is wrong"));
    }
    Ok(mechanism)
}

/// Shows that a descriptor is the socket it should be: kind, protocol, state, flags and address.
fn examine(socket: &OwnedFd, kind: SocketType, address: SocketAddrV4) -> io::Result<()> {
    let is_ours = sockopt::socket_domain(socket)? == AddressFamily::INET
        && sockopt::socket_type(socket)? == kind
        && sockopt::socket_protocol(socket)? == Some(protocol(kind))
        && sockopt::socket_acceptconn(socket)? == (kind == SocketType::STREAM)
        && !sockopt::socket_reuseport(socket)?
        && !sockopt::socket_reuseaddr(socket)?
        && rustix::net::getsockname(socket)? == address.into()
        && rustix::fs::fcntl_getfl(socket)?.contains(OFlags::NONBLOCK)
        && rustix::io::fcntl_getfd(socket)?.contains(FdFlags::CLOEXEC);
    if is_ours {
        Ok(())
    } else {
        Err(refused(&format!("no such socket as the one for {address} was handed over")))
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
