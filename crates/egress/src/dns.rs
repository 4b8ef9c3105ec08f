//! The sandbox's name server: one question in, one answer out, from what the authority knows. Nothing is ever
//! forwarded, so no name leaves as a message.

use crate::authority::Refusal;
use crate::exit::{Exit, PROXY_NAME};
use crate::name::{self, Name};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long a question may be, in bytes; a longer one is none.
const QUESTION_BYTES_MAX: usize = 1_232;
/// TCP connections to the name server at a time.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may keep an answer, in seconds: policies change.
const TTL_SECONDS: [u8; 4] = 5_u32.to_be_bytes();
const HEADER_BYTES: usize = 12;

const IN: u16 = 1;
const A: u16 = 1;
const ANY: u16 = 255;

/// RFC 1035 §4.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    NoError = 0,
    Malformed = 1,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// Answers datagrams for ever.
pub(crate) async fn serve_udp(exit: Arc<Exit>, socket: UdpSocket) {
    let mut question = [0; QUESTION_BYTES_MAX + 1];
    loop {
        match socket.recv_from(&mut question).await {
            Ok((length, from)) if length <= QUESTION_BYTES_MAX => {
                if let Some(answer) = answer(&question[..length], |name| lookup(&exit, name)) {
                    // A full socket buffer loses an answer, as a network would; the client asks again.
                    socket.try_send_to(&answer, from).ok();
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the name server's socket");
                tokio::time::sleep(exit.limits.accept_pause).await;
            }
        }
    }
}

/// Answers connections for ever.
pub(crate) async fn serve_tcp(exit: Arc<Exit>, listener: TcpListener, spawn: impl Fn(Connection)) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let exit = exit.clone();
                spawn(Box::pin(async move {
                    let _place = place;
                    timeout(exit.limits.hello_wait, answer_stream(&exit, stream)).await.ok();
                }));
            }
            Err(_) => tokio::time::sleep(exit.limits.accept_pause).await,
        }
    }
}

/// One connection, until it ends.
pub(crate) type Connection = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn answer_stream(exit: &Exit, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let length = usize::from(stream.read_u16().await?);
        if length > QUESTION_BYTES_MAX {
            return Ok(());
        }
        let mut question = vec![0; length];
        stream.read_exact(&mut question).await?;
        let Some(answer) = answer(&question, |name| lookup(exit, name)) else { return Ok(()) };
        let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}

fn lookup(exit: &Exit, asked: Result<Name, &[u8]>) -> Option<Ipv4Addr> {
    let found = match &asked {
        Ok(name) if name.as_str() == PROXY_NAME || exit.authority.knows(name) => exit.names.address(name),
        _ => None,
    };
    if found.is_none() {
        let name = match asked {
            Ok(name) => name.to_string(),
            Err(bytes) => name::shown(bytes),
        };
        let why = "no such name is granted".to_owned();
        exit.authority.refused(&Refusal { name: Some(name), port: None, why });
    }
    found
}

/// The answer to a message; `None` to what is no question. `lookup` gets what is no host name as the bytes it was.
pub(crate) fn answer(
    message: &[u8],
    lookup: impl FnOnce(Result<Name, &[u8]>) -> Option<Ipv4Addr>,
) -> Option<Vec<u8>> {
    let header: &[u8; HEADER_BYTES] = message.first_chunk()?;
    let [_, _, flags, _, q0, q1, a0, a1, n0, n1, ..] = *header;
    if flags & 0x80 != 0 {
        return None; // an answer; answering those is how two servers talk for ever
    }
    if flags & 0x78 != 0 {
        return Some(reply(header, &[], Code::NotImplemented, None));
    }
    // One question, no answers, no authorities; additional records (EDNS, RFC 6891) are neither read nor returned,
    // which says that this server has no extensions.
    if [q0, q1, a0, a1, n0, n1] != [0, 1, 0, 0, 0, 0] {
        return Some(reply(header, &[], Code::Malformed, None));
    }
    let Some((name, end)) = read_name(message) else {
        return Some(reply(header, &[], Code::Malformed, None));
    };
    let Some([k0, k1, c0, c1]) = message.get(end..).and_then(|rest| rest.first_chunk()) else {
        return Some(reply(header, &[], Code::Malformed, None));
    };
    let (kind, class) = (u16::from_be_bytes([*k0, *k1]), u16::from_be_bytes([*c0, *c1]));
    let question = &message[HEADER_BYTES..end + 4];
    if class != IN {
        return Some(reply(header, question, Code::Refused, None));
    }
    let Some(address) = lookup(Name::parse(&name).map_err(|_| &*name)) else {
        return Some(reply(header, question, Code::NoSuchName, None));
    };
    // A known name has an A and nothing else: AAAA, HTTPS and SVCB are NODATA, so that no client learns of another way
    // (IPv6, QUIC, ECH) than the captured one.
    Some(reply(header, question, Code::NoError, matches!(kind, A | ANY).then_some(address)))
}

fn reply(header: &[u8; HEADER_BYTES], question: &[u8], code: Code, address: Option<Ipv4Addr>) -> Vec<u8> {
    let mut reply = Vec::with_capacity(HEADER_BYTES + question.len() + 16);
    reply.extend_from_slice(&header[..2]);
    // An answer, the operation and "recursion desired" as asked; "recursion available" and the code.
    reply.extend_from_slice(&[0x80 | header[2] & 0x79, 0x80 | code as u8]);
    reply.extend_from_slice(&[0, u8::from(!question.is_empty()), 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    reply.extend_from_slice(question);
    if let Some(address) = address {
        // The question's name, A, IN.
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        reply.extend_from_slice(&TTL_SECONDS);
        reply.extend_from_slice(&[0, 4]);
        reply.extend_from_slice(&address.octets());
    }
    reply
}

/// The question's name with dots, and where it ends. A question has no use for compression, so a pointer is malformed.
/// A dot inside a label comes out as a byte that no name has.
fn read_name(message: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        let label = message.get(at..at + length).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(label.iter().map(|byte| if *byte == b'.' { b'/' } else { *byte }));
        at += length;
        if name.len() > name::NAME_BYTES_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(name: &[&[u8]], kind: u16, class: u16) -> Vec<u8> {
        let mut message = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label);
        }
        message.push(0);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&class.to_be_bytes());
        message
    }

    fn only_granted(name: Result<Name, &[u8]>) -> Option<Ipv4Addr> {
        (name.ok()?.as_str() == "a.example").then_some(Ipv4Addr::new(198, 18, 0, 2))
    }

    #[test]
    fn a_known_name_has_one_address_and_no_other_exists() {
        let known: &[&[u8]] = &[b"a", b"ExAmple"];
        for (name, kind, class, code, answers) in [
            (known, A, IN, Code::NoError, 1),
            (known, ANY, IN, Code::NoError, 1),
            (known, 28, IN, Code::NoError, 0), // AAAA
            (known, 64, IN, Code::NoError, 0), // SVCB
            (known, 65, IN, Code::NoError, 0), // HTTPS
            (known, 16, IN, Code::NoError, 0), // TXT
            (known, A, 3, Code::Refused, 0),   // CHAOS
            (&[b"b", b"example"], A, IN, Code::NoSuchName, 0),
            (&[b"x", b"a", b"example"], A, IN, Code::NoSuchName, 0),
            (&[b"a.example"], A, IN, Code::NoSuchName, 0),
            (&[b"a\0", b"example"], A, IN, Code::NoSuchName, 0),
            (&[], 2, IN, Code::NoSuchName, 0),
        ] {
            let asked = question(name, kind, class);
            let reply = answer(&asked, only_granted).unwrap();
            assert_eq!(reply[..2], [7, 9]);
            assert_eq!((reply[3] & 15, reply[7]), (code as u8, answers), "{name:?} {kind}");
            assert_eq!(reply[12..asked.len()], asked[12..], "the question comes back in its own spelling");
            if answers == 1 {
                assert_eq!(reply[reply.len() - 4..], [198, 18, 0, 2]);
            }
        }
    }

    #[test]
    fn what_is_no_question_is_told_so_or_dropped() {
        let asked = question(&[b"a", b"example"], A, IN);
        let with = |at: usize, byte: u8| {
            let mut asked = asked.clone();
            asked[at] = byte;
            asked
        };
        let edns = [&with(11, 1)[..], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
        for (message, code) in [
            (asked.clone(), Some(Code::NoError)),
            (edns, Some(Code::NoError)),
            (with(2, 0x81), None),
            (with(2, 0x28), Some(Code::NotImplemented)),
            (with(5, 2), Some(Code::Malformed)),
            (with(5, 0), Some(Code::Malformed)),
            (with(7, 1), Some(Code::Malformed)),
            (with(12, 0xc0), Some(Code::Malformed)),
            (with(12, 0x40), Some(Code::Malformed)),
            (asked[..asked.len() - 1].to_vec(), Some(Code::Malformed)),
            (asked[..14].to_vec(), Some(Code::Malformed)),
            (asked[..11].to_vec(), None),
            (vec![], None),
        ] {
            let reply = answer(&message, only_granted);
            assert_eq!(reply.map(|reply| reply[3] & 15), code.map(|code| code as u8), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(mut message in proptest::collection::vec(any::<u8>(), 0..600), is_near in any::<bool>()) {
            if is_near && message.len() >= HEADER_BYTES {
                message[2..HEADER_BYTES].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            }
            if let Some(reply) = answer(&message, only_granted) {
                prop_assert!(reply.len() <= message.len() + 16 && reply[2] & 0x80 != 0);
            }
        }
    }
}
