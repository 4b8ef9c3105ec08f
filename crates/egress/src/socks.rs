//! SOCKS5 (RFC 1928, RFC 1929): CONNECT to a host name. Addresses are refused with the reply that says so, whatever they
//! are; other commands too.

use crate::exit::Exit;
use crate::name::{self, Name};
use crate::proxy;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const NO_PASSWORD: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const DOMAIN: u8 = 3;

/// RFC 1928 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Succeeded = 0,
    NotAllowed = 2,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

/// Where a client wants to go, if anybody may; the client has its answer. What is granted is only dialled once its first
/// request or connection is admitted, so an upstream that fails is seen later.
pub(crate) async fn greet(
    exit: &Exit,
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    shown: proxy::Asked<'_>,
) -> io::Result<(Name, u16)> {
    let (answer, name, port, why) = match read(io, shown).await? {
        Asked::Nothing(why) => {
            exit.refuse(None, None, why);
            return Err(io::Error::other(why));
        }
        Asked::Address(port) => {
            (Answer::AddressNotSupported, None, Some(port), name::NameError::Address.to_string())
        }
        Asked::Command => {
            (Answer::CommandNotSupported, None, None, "the only SOCKS command is CONNECT".to_owned())
        }
        Asked::Name(host, port) => match Name::parse(&host) {
            Err(error) => {
                (Answer::AddressNotSupported, Some(name::shown(&host)), Some(port), error.to_string())
            }
            Ok(name) if exit.authority.route(&name, port).is_some() => {
                reply(io, Answer::Succeeded).await?;
                return Ok((name, port));
            }
            Ok(name) => {
                let why = format!("{name}:{port} is not granted");
                (Answer::NotAllowed, Some(name.to_string()), Some(port), why)
            }
        },
    };
    exit.refuse(name, port, why.clone());
    reply(io, answer).await?;
    io.shutdown().await?;
    Err(io::Error::other(why))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Name(Vec<u8>, u16),
    Address(u16),
    Command,
    Nothing(&'static str),
}

pub(crate) async fn read(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    shown: proxy::Asked<'_>,
) -> io::Result<Asked> {
    let [version, count] = take(io).await?;
    let mut methods = vec![0; count.into()];
    io.read_exact(&mut methods).await?;
    // One who is known may insist on a password all the same; then it is looked at.
    let token = shown.token.filter(|_| !shown.is_known || !methods.contains(&NO_PASSWORD));
    let method = if token.is_some() { PASSWORD } else { NO_PASSWORD };
    if version != VERSION || !methods.contains(&method) {
        io.write_all(&[VERSION, NO_METHOD]).await?;
        return Ok(Asked::Nothing("the SOCKS client offers no way to show the token that is wanted"));
    }
    io.write_all(&[VERSION, method]).await?;
    if let Some(token) = token {
        let [version, length] = take(io).await?;
        let mut user = vec![0; length.into()];
        io.read_exact(&mut user).await?;
        let [length] = take(io).await?;
        let mut password = vec![0; length.into()];
        io.read_exact(&mut password).await?;
        let is_shown = version == PASSWORD_VERSION && token.is_shown(&password);
        io.write_all(&[PASSWORD_VERSION, u8::from(!is_shown)]).await?;
        if !is_shown {
            return Ok(Asked::Nothing("the proxy was not shown its token"));
        }
    }
    let [version, command, _, kind] = take(io).await?;
    if version != VERSION {
        return Ok(Asked::Nothing("the SOCKS request is malformed"));
    }
    let host_bytes = match kind {
        1 => 4,
        DOMAIN => {
            let [length] = take(io).await?;
            usize::from(length)
        }
        4 => 16,
        _ => return Ok(Asked::Nothing("the SOCKS request is malformed")),
    };
    let mut host = vec![0; host_bytes];
    io.read_exact(&mut host).await?;
    let port = u16::from_be_bytes(take(io).await?);
    Ok(match (command, kind) {
        (CONNECT, DOMAIN) => Asked::Name(host, port),
        (CONNECT, _) => Asked::Address(port),
        _ => Asked::Command,
    })
}

async fn take<const N: usize>(io: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn reply(io: &mut (impl AsyncWrite + Unpin), answer: Answer) -> io::Result<()> {
    // Bound to nothing that anybody could reach.
    io.write_all(&[VERSION, answer as u8, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Token;
    use proptest::prelude::*;

    fn ask(bytes: &[u8], token: Option<&Token>) -> Option<Asked> {
        ask_as(bytes, proxy::Asked { token, is_known: false })
    }

    fn ask_as(bytes: &[u8], shown: proxy::Asked<'_>) -> Option<Asked> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut io = tokio::io::join(bytes, Vec::new());
            read(&mut io, shown).await.ok()
        })
    }

    #[test]
    fn a_greeting_asks_for_a_name_or_gets_nothing() {
        let token = Token::new("s3cret");
        let name = [&[5, 1, 0, 3, 9][..], b"a.example", &[1, 187]].concat();
        let open = |request: &[u8]| [&[5, 1, 0][..], request].concat();
        let shown = |password: &str| [&[5, 2, 0, 2, 1, 1, b'x', 6][..], password.as_bytes(), &name].concat();
        for (bytes, token, asked) in [
            (open(&name), None, Some(Asked::Name(b"a.example".to_vec(), 443))),
            (open(&[5, 1, 0, 1, 127, 0, 0, 1, 0, 80]), None, Some(Asked::Address(80))),
            (open(&[5, 2, 0, 1, 127, 0, 0, 1, 0, 80]), None, Some(Asked::Command)),
            (open(&[5, 3, 0, 3, 1, b'a', 0, 80]), None, Some(Asked::Command)),
            (open(&name[..9]), None, None),
            (shown("s3cret"), Some(&token), Some(Asked::Name(b"a.example".to_vec(), 443))),
            (shown("s3creT"), Some(&token), Some(Asked::Nothing("the proxy was not shown its token"))),
        ] {
            assert_eq!(ask(&bytes, token), asked, "{bytes:?}");
        }
        assert!(matches!(ask(&open(&name), Some(&token)), Some(Asked::Nothing(_))));
        let known = proxy::Asked { token: Some(&token), is_known: true };
        let there = Some(Asked::Name(b"a.example".to_vec(), 443));
        assert_eq!(ask_as(&open(&name), known), there, "who is known needs no token");
        let insists = |password: &str| [&[5, 1, 2, 1, 1, b'x', 6][..], password.as_bytes(), &name].concat();
        assert_eq!(ask_as(&insists("s3cret"), known), there);
        assert!(matches!(ask_as(&insists("s3creT"), known), Some(Asked::Nothing(_))));
        assert!(matches!(ask(&[4, 1, 0, 80, 1, 1, 1, 1, 0], None), Some(Asked::Nothing(_)) | None));
    }

    proptest! {
        #[test]
        fn no_greeting_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..600), is_near in any::<bool>()) {
            let bytes = if is_near { [&[5, 1, 0, 5][..], &bytes].concat() } else { bytes };
            ask(&bytes, None);
            ask(&bytes, Some(&Token::new("t")));
        }
    }
}
