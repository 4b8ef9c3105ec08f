//! Netlink requests are written by hand, sent at once, and their answers read to the last one; loopback comes up here.
//! Nothing waits: the kernel answers within the call that sends.

use super::{DNS, FAKE_PREFIX_BITS};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The request that makes the range local, in what [`raise_loopback`] sends.
pub(super) const RANGE_SEQUENCE: u32 = 2;

/// `NLM_F_*` of linux/netlink.h.
pub(super) mod flag {
    pub(in super::super) const REQUEST: u16 = 0x1;
    pub(in super::super) const ACK: u16 = 0x4;
    pub(in super::super) const EXCL: u16 = 0x200;
    pub(in super::super) const CREATE: u16 = 0x400;
    pub(in super::super) const APPEND: u16 = 0x800;
}

const NLMSG_ERROR: u16 = 2;
const HEADER_BYTES: usize = 16;
/// An answer repeats its request, and ours fit in one page.
const ANSWER_BYTES_MAX: usize = 4_096;
const NESTED: u16 = 0x8000;

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RT_SCOPE_HOST: u8 = 254;
/// Loopback is the first interface of every network namespace.
pub(super) const LOOPBACK_INDEX: u32 = 1;

/// What the kernel said to one of the requests.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Which one, counted from 1; 0 where none was reached.
    pub(super) sequence: u32,
    pub(super) errno: Errno,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { sequence: 0, errno }
    }
}

/// Brings loopback up, which gives it 127.0.0.1/8 and ::1; with `range`, makes all of the fake range local to it.
pub(super) fn raise_loopback(range: bool) -> Result<(), Refusal> {
    let [index, up] = [LOOPBACK_INDEX, IFF_UP].map(u32::to_ne_bytes);
    let [i0, i1, i2, i3] = index;
    let [u0, u1, u2, u3] = up;
    let mut requests = Requests::with_capacity(128);
    // struct ifinfomsg: family, pad, type, index, flags, which flags to change
    let link = [0, 0, 0, 0, i0, i1, i2, i3, u0, u1, u2, u3, u0, u1, u2, u3];
    requests.add(RTM_NEWLINK, flag::ACK, &link, |_| ());
    if range {
        // struct ifaddrmsg: family, prefix, flags, scope, index. On loopback a prefix is local as a whole.
        let family = AddressFamily::INET.as_raw() as u8;
        let address = [family, FAKE_PREFIX_BITS, 0, RT_SCOPE_HOST, i0, i1, i2, i3];
        requests.add(RTM_NEWADDR, flag::ACK | flag::CREATE | flag::EXCL, &address, |requests| {
            requests.attribute(IFA_LOCAL, &DNS.ip().octets());
            requests.attribute(IFA_ADDRESS, &DNS.ip().octets());
        });
    }
    requests.send(None)
}

/// Requests, one after the other, each numbered from 1.
pub(super) struct Requests {
    bytes: Vec<u8>,
    sequence: u32,
    last_acknowledged: u32,
}

impl Requests {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), sequence: 0, last_acknowledged: 0 }
    }

    /// Adds a request: its type, its flags, the fixed part of its body, and its attributes.
    pub(super) fn add(&mut self, kind: u16, flags: u16, body: &[u8], attributes: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.sequence += 1;
        if flags & flag::ACK != 0 {
            self.last_acknowledged = self.sequence;
        }
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(body);
        self.pad();
        attributes(self);
        let length = u32::from(self.length_since(start));
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Adds an attribute to the request or the attribute that is being written.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.enclosed(kind, |requests| requests.bytes.extend_from_slice(value));
    }

    /// Adds an attribute made of attributes.
    pub(super) fn nest(&mut self, kind: u16, attributes: impl FnOnce(&mut Self)) {
        self.enclosed(kind | NESTED, attributes);
    }

    fn enclosed(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        value(self);
        let length = self.length_since(start);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn length_since(&self, start: usize) -> u16 {
        u16::try_from(self.bytes.len() - start).expect("requests are constants, far below 64 KiB")
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Sends them in one datagram and reads the answers up to that of the last request which asked for one. `None` is
    /// the protocol `NETLINK_ROUTE`.
    pub(super) fn send(self, protocol: Option<Protocol>) -> Result<(), Refusal> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            protocol,
        )?;
        let sent = rustix::net::send(&socket, &self.bytes, SendFlags::empty())?;
        if sent != self.bytes.len() {
            return Err(Errno::MSGSIZE.into());
        }
        let mut answer = [0; ANSWER_BYTES_MAX];
        loop {
            let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
            if read_answers(&answer[..length], self.last_acknowledged)? {
                return Ok(());
            }
        }
    }
}

/// Whether the answer to request `last` is in a datagram, and nothing in it is a refusal.
fn read_answers(mut datagram: &[u8], last: u32) -> Result<bool, Refusal> {
    let mut is_last = false;
    while !datagram.is_empty() {
        // struct nlmsghdr: length, type, flags, sequence, port; then, in an answer, the error
        let length = word(datagram, 0)? as usize;
        let sequence = word(datagram, 8)?;
        if half(datagram, 4)? != NLMSG_ERROR || length < HEADER_BYTES + 4 {
            return Err(Refusal { sequence, errno: Errno::PROTO });
        }
        let error = word(datagram, HEADER_BYTES)?.cast_signed();
        if error != 0 {
            return Err(Refusal { sequence, errno: Errno::from_raw_os_error(error.saturating_neg()) });
        }
        is_last |= sequence == last;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(is_last)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Refusal> {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Errno::PROTO)?;
    Ok(u32::from_ne_bytes(*bytes))
}

fn half(bytes: &[u8], at: usize) -> Result<u16, Refusal> {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Errno::PROTO)?;
    Ok(u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_nested_attributes_and_padding_stays_outside_them() {
        let mut requests = Requests::with_capacity(0);
        requests.add(7, flag::ACK, &[9], |requests| {
            requests.nest(1, |requests| requests.attribute(2, &[5; 5]));
        });
        let mut expected = Vec::new();
        expected.extend_from_slice(&36u32.to_ne_bytes());
        expected.extend_from_slice(&7u16.to_ne_bytes());
        expected.extend_from_slice(&(flag::ACK | flag::REQUEST).to_ne_bytes());
        expected.extend_from_slice(&1u32.to_ne_bytes());
        expected.extend_from_slice(&[0, 0, 0, 0, 9, 0, 0, 0]);
        expected.extend_from_slice(&16u16.to_ne_bytes());
        expected.extend_from_slice(&(1 | NESTED).to_ne_bytes());
        expected.extend_from_slice(&9u16.to_ne_bytes());
        expected.extend_from_slice(&2u16.to_ne_bytes());
        expected.extend_from_slice(&[5, 5, 5, 5, 5, 0, 0, 0]);
        assert_eq!(requests.bytes, expected);
        assert_eq!((requests.sequence, requests.last_acknowledged), (1, 1));
    }

    fn answer(kind: u16, sequence: u32, error: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&36u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&error.to_ne_bytes());
        bytes.resize(36, 0);
        bytes
    }

    #[test]
    fn an_answer_counts_only_when_it_is_whole_and_says_so() {
        let two = [answer(NLMSG_ERROR, 1, 0), answer(NLMSG_ERROR, 2, 0)].concat();
        let refused = [answer(NLMSG_ERROR, 1, 0), answer(NLMSG_ERROR, 2, -1)].concat();
        let ours = |bytes: &[u8]| read_answers(bytes, 2).map_err(|refusal| (refusal.sequence, refusal.errno));
        assert_eq!(ours(&two), Ok(true));
        assert_eq!(ours(&two[..36]), Ok(false));
        assert_eq!(ours(&refused), Err((2, Errno::PERM)));
        assert_eq!(ours(&answer(3, 2, 0)), Err((2, Errno::PROTO)), "only answers are expected");
        assert_eq!(ours(&two[..19]), Err((0, Errno::PROTO)), "cut short");
        let mut endless = answer(NLMSG_ERROR, 1, 0);
        endless[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(ours(&endless), Err((1, Errno::PROTO)), "a length that would never advance");
    }
}
