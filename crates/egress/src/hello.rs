//! The first message of TLS, read within bounds and kept whole, so that it can be looked at and then sent on as it was.
//! Nothing of it is answered here.

use rustls::server::{Accepted, Acceptor};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

const READ_BYTES: usize = 4_096;
/// TLS record and handshake types, and extensions (RFC 8446 §4, §5.1; RFC 9849).
const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Type and length of a handshake message.
const HEADER_BYTES: usize = 4;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// A ClientHello that TLS itself accepted.
pub(crate) struct Hello {
    /// Every byte that was read.
    pub(crate) raw: Vec<u8>,
    pub(crate) accepted: Accepted,
    /// Whether it has an `encrypted_client_hello`, real or for show: the two cannot be told apart.
    pub(crate) is_encrypted: bool,
    /// Whether `raw` has more than `accepted` was given: early data, which only a server that offered it gets.
    pub(crate) has_more: bool,
}

/// Why there is no hello.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("the connection ended in its TLS hello: {0}")]
    Io(#[from] io::Error),
    #[error("this is not TLS")]
    NotTls(u8),
    #[error("the TLS hello is malformed: {0}")]
    Malformed(String),
    #[error("the TLS hello is longer than {0} bytes")]
    TooLong(usize),
}

/// Reads one, however it is split.
pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> Result<Hello, HelloError> {
    let mut acceptor = Acceptor::default();
    let mut raw = Vec::new();
    let mut chunk = [0; READ_BYTES];
    loop {
        let length = io.read(&mut chunk).await?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        raw.extend_from_slice(&chunk[..length]);
        match raw.first() {
            Some(&RECORD_HANDSHAKE) | None => {}
            Some(&first) => return Err(HelloError::NotTls(first)),
        }
        if raw.len() > bytes_max {
            return Err(HelloError::TooLong(bytes_max));
        }
        let mut unread = &chunk[..length];
        while !unread.is_empty() {
            acceptor.read_tls(&mut unread)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let extensions =
                        extensions(&raw).ok_or_else(|| HelloError::Malformed("its extensions".to_owned()))?;
                    let is_encrypted = extensions.contains(&ENCRYPTED_CLIENT_HELLO);
                    return Ok(Hello { raw, accepted, is_encrypted, has_more: !unread.is_empty() });
                }
                Err((error, _)) => return Err(HelloError::Malformed(error.to_string())),
            }
        }
    }
}

/// The types of a ClientHello's extensions; `None` if it is not whole. What came after it is not looked at: how much has, is the
/// network's chance.
fn extensions(raw: &[u8]) -> Option<Vec<u16>> {
    let mut records = Cursor(raw);
    let mut message = Vec::new();
    let end = loop {
        if let [CLIENT_HELLO, a, b, c, ..] = message[..]
            && let end = HEADER_BYTES + u32::from_be_bytes([0, a, b, c]) as usize
            && message.len() >= end
        {
            break end;
        }
        if records.take(3)?.first() != Some(&RECORD_HANDSHAKE) {
            return None;
        }
        let length = records.number(2)?;
        message.extend_from_slice(records.take(length)?);
    };
    let mut body = Cursor(&message[HEADER_BYTES..end]);
    body.take(2 + 32)?; // version, random
    for bytes in [1, 2, 1] {
        let length = body.number(bytes)?; // session, cipher suites, compression
        body.take(length)?;
    }
    let mut types = Vec::new();
    if body.0.is_empty() {
        return Some(types);
    }
    let length = body.number(2)?;
    let mut extensions = Cursor(body.take(length)?);
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let length = extensions.number(2)?;
        extensions.take(length)?;
        types.push(u16::try_from(kind).ok()?);
    }
    Some(types)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extensions_are_those_of_the_first_message_whatever_follows() {
        let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, 4, 0xfe, 0x0d, 0, 0]].concat();
        let message = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
        let record = |part: &[u8]| [&[22, 3, 1, 0, u8::try_from(part.len()).unwrap()][..], part].concat();
        let (one, two) = (record(&message), [record(&message[..2]), record(&message[2..])].concat());
        let encrypted = Some(vec![ENCRYPTED_CLIENT_HELLO]);
        for raw in [&one, &two] {
            assert_eq!(extensions(raw), encrypted);
            for noise in [&[22][..], &[22, 3, 1, 0, 9, 9], &[23, 3, 3, 0, 1, 0], &one] {
                assert_eq!(extensions(&[raw, noise].concat()), encrypted);
            }
            assert_eq!(extensions(&raw[..raw.len() - 1]), None);
        }
        assert_eq!(extensions(&[&record(&message[..9])[..], &[23, 3, 3, 0, 1, 0]].concat()), None);
    }

    proptest! {
        #[test]
        fn no_hello_is_too_strange(body in proptest::collection::vec(any::<u8>(), 0..300), is_near in any::<bool>()) {
            let mut raw = body.clone();
            if is_near {
                let length = u8::try_from(body.len() % 250).unwrap();
                raw = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
            }
            extensions(&raw);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert!(runtime.block_on(read(&mut &*raw, 1_000)).is_err());
        }
    }
}
