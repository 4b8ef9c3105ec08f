//! A host name in its one canonical spelling. An IP literal in whatever spelling never becomes one, nor does anything
//! that two parsers could read differently.

use std::fmt;
use std::sync::Arc;

/// How long a name may be, in bytes, without a trailing dot (RFC 1035 §3.1).
pub const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A host name: lower-case ASCII labels of letters, digits, hyphens and underscores; no trailing dot; not an address.
/// Internationalised names are in their `xn--` form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why something is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or nothing but a dot.
    #[error("the host name is empty")]
    Empty,
    /// The whole or a label is too long.
    #[error("the host name is longer than 253 bytes, or a label of it than 63")]
    TooLong,
    /// A label is empty, or has a hyphen at an end.
    #[error("the host name has an empty label, or one with a hyphen at its end")]
    Label,
    /// A byte that no host name has.
    #[error(
        "the host name has a byte other than letters, digits, '-', '_' and '.'; write international names as xn--"
    )]
    Byte,
    /// It would be read as an address, by somebody.
    #[error("an IP address was given where a host name is needed; addresses are never dialled directly")]
    Address,
}

impl Name {
    /// Reads hostile bytes. Upper case is lowered and one trailing dot removed; nothing else is forgiven.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let bytes = bytes.as_ref();
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if bytes.contains(&b':') || bytes.contains(&b'[') {
            return Err(NameError::Address);
        }
        let mut name = String::with_capacity(bytes.len());
        let mut last: &[u8] = &[];
        for label in bytes.split(|byte| *byte == b'.') {
            if label.len() > LABEL_BYTES_MAX {
                return Err(NameError::TooLong);
            }
            if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return Err(NameError::Byte);
            }
            if label.is_empty() || label.starts_with(b"-") || label.ends_with(b"-") {
                return Err(NameError::Label);
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            last = label;
        }
        // What ends in a number is an IPv4 address to inet_aton and to the URL standard: "127.1", "0x7f000001", "017700000001".
        if is_number(last) {
            return Err(NameError::Address);
        }
        Ok(Self(name.into()))
    }

    /// The canonical spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', hex @ ..] => hex.iter().all(u8::is_ascii_hexdigit),
        _ => label.iter().all(u8::is_ascii_digit),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, out)
    }
}

/// Reads `host` or `host:port`, as in `Host`, `:authority` and `CONNECT`. No user name, no IP literal, no empty port.
///
/// # Errors
/// What is wrong with the host; a port that is none is [`NameError::Byte`].
pub fn parse_authority(text: &str) -> Result<(Name, Option<u16>), NameError> {
    let (host, port) = match text.rsplit_once(':') {
        None => (text, None),
        Some((host, port)) => {
            // "[::1]" and "::1" have colons of their own.
            if host.contains(':') || host.contains('[') {
                return Err(NameError::Address);
            }
            let is_decimal = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| is_decimal && *port != 0).ok_or(NameError::Byte)?;
            (host, Some(port))
        }
    };
    Ok((Name::parse(host)?, port))
}

/// What of hostile bytes may be shown and kept: printable ASCII, bounded.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut shown: String =
        bytes.iter().take(NAME_BYTES_MAX).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    shown.truncate(4 * NAME_BYTES_MAX);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_has_one_spelling_and_an_address_is_none() {
        use NameError::{Address, Byte, Empty, Label, TooLong};
        let long_label = "a".repeat(63);
        let longest = format!("{}.{}", [&*long_label; 3].join("."), "b".repeat(61));
        for (spelled, read) in [
            ("example.com", Ok("example.com")),
            ("EXAMPLE.Com", Ok("example.com")),
            ("example.com.", Ok("example.com")),
            ("example.com..", Err(Label)),
            (".example.com", Err(Label)),
            ("a..b", Err(Label)),
            ("-a.b", Err(Label)),
            ("a-.b", Err(Label)),
            ("a-b.c", Ok("a-b.c")),
            ("_dmarc.example.com", Ok("_dmarc.example.com")),
            ("localhost", Ok("localhost")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("bücher.example", Err(Byte)),
            ("example.com\0.evil", Err(Byte)),
            ("example%2ecom", Err(Byte)),
            ("example。com", Err(Byte)),
            ("user@example.com", Err(Byte)),
            ("example.com/x", Err(Byte)),
            ("exa mple.com", Err(Byte)),
            ("*.example.com", Err(Byte)),
            ("", Err(Empty)),
            (".", Err(Empty)),
            (&longest, Ok(&*longest)),
            (&format!("{longest}c"), Err(TooLong)),
            (&format!("{long_label}a.b"), Err(TooLong)),
            ("127.0.0.1", Err(Address)),
            ("127.0.0.1.", Err(Address)),
            ("127.1", Err(Address)),
            ("2130706433", Err(Address)),
            ("0x7f000001", Err(Address)),
            ("0X7F.1", Err(Address)),
            ("0x7f.0x1", Err(Address)),
            ("017700000001", Err(Address)),
            ("0177.0.0.01", Err(Address)),
            ("0x", Err(Address)),
            ("::1", Err(Address)),
            ("[::1]", Err(Address)),
            ("::ffff:127.0.0.1", Err(Address)),
            ("example.com:443", Err(Address)),
            ("1.example", Ok("1.example")),
            ("1e", Ok("1e")),
            ("0xg", Ok("0xg")),
        ] {
            let name = Name::parse(spelled);
            assert_eq!(name.as_ref().map(Name::as_str).map_err(|why| *why), read, "{spelled:?}");
        }
    }

    #[test]
    fn an_authority_is_a_name_and_perhaps_a_port() {
        for (text, read) in [
            ("a.example", Some(("a.example", None))),
            ("A.example:8443", Some(("a.example", Some(8443)))),
            ("a.example:65535", Some(("a.example", Some(65_535)))),
            ("a.example:65536", None),
            ("a.example:0", None),
            ("a.example:", None),
            ("a.example:+1", None),
            ("a.example:000443", None),
            ("u@a.example:443", None),
            ("[::1]:443", None),
            ("::1", None),
            ("127.0.0.1:443", None),
            ("a.example:443:443", None),
        ] {
            let authority = parse_authority(text).ok();
            let read = read.map(|(name, port)| (name.to_owned(), port));
            assert_eq!(authority.map(|(name, port)| (name.as_str().to_owned(), port)), read, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_canonical_and_no_address(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(name) = Name::parse(&bytes) {
                prop_assert_eq!(Name::parse(name.as_str()), Ok(name.clone()));
                prop_assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
                prop_assert!(!name.as_str().ends_with('.') && name.as_str().len() <= NAME_BYTES_MAX);
            }
        }

        #[test]
        fn likely_names_too(text in "[a-zA-Z0-9x._:%\\[\\]-]{0,40}") {
            if let Ok((name, _)) = parse_authority(&text) {
                prop_assert_eq!(parse_authority(name.as_str()), Ok((name, None)));
            }
        }
    }
}
