//! Turns a URL into the one form in which scheme, host, port and path can be compared, and refuses what parsers dispute.
//! Never fetches or resolves anything, and never keeps a user name or password.

use std::fmt;

use thiserror::Error;
use url::Url as Whatwg;

use crate::request::host::{Host, HostError};

/// Longest URL accepted, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// A URL in normal form: lowercase scheme, one spelling of the host, explicit port, no dot segments, unreserved characters
/// decoded, hex digits uppercase, no user information, no fragment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    scheme: Scheme,
    host: Host,
    port: u16,
    path: String,
    query: Option<String>,
    userinfo: bool,
}

/// The schemes a request can go out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// `http`, port 80.
    Http,
    /// `https`, port 443.
    Https,
    /// `ws`, port 80.
    Ws,
    /// `wss`, port 443.
    Wss,
}

/// Why a text is not a URL we can judge.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// No text at all.
    #[error("the url is empty; write one")]
    Empty,
    /// Past [`URL_BYTES_MAX`].
    #[error("the url is {bytes} bytes, more than {URL_BYTES_MAX}; shorten it")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A control character.
    #[error("the url holds the control character {0:?}; percent-encode it")]
    Control(char),
    /// White space of any script.
    #[error("the url holds white space; percent-encode it")]
    Whitespace,
    /// A backslash anywhere.
    #[error("the url holds a backslash, which some clients read as '/'; write '/' or '%5C'")]
    Backslash,
    /// No scheme.
    #[error("the url is relative; write it with scheme and host")]
    Relative,
    /// A scheme that is not judged.
    #[error("the scheme {0:?} is not http, https, ws or wss; use one of those")]
    Scheme(String),
    /// `http:/x`, `http:x`, `http:///x`.
    #[error("the scheme is not followed by exactly two slashes; write scheme://host/path")]
    Slashes,
    /// Nothing where the host belongs.
    #[error("the url has no host; write scheme://host/path")]
    NoHost,
    /// `http://a@b@c/`.
    #[error(
        "the url has more than one '@' before its path, which clients split differently; encode the others"
    )]
    ManyAt,
    /// `http://a?@b/`.
    #[error("the url has '@' where some clients still look for the host; put '/' before the '?' or '#'")]
    AtBeforePath,
    /// Port 0, past 65535, signed or not a number.
    #[error("the port {0:?} is not a number from 1 to 65535; write it in digits or leave it out")]
    Port(String),
    /// A `%` that encodes nothing.
    #[error("the url has a '%' not followed by two hex digits; encode it as %25")]
    Percent,
    /// `%00`, `%0a` or `%0d`.
    #[error("the url's path holds an encoded NUL or line break; remove it")]
    EncodedControl,
    /// The host cannot be read.
    #[error("url host: {0}")]
    Host(#[from] HostError),
    /// This reading and the WHATWG reading differ; on what.
    #[error("two readings of the url disagree on its {0}; write it plainly")]
    Disputed(&'static str),
    /// The WHATWG reading refuses it.
    #[error("not a url: {0}")]
    Syntax(#[from] url::ParseError),
}

impl Url {
    /// Reads an absolute http(s) or ws(s) URL.
    ///
    /// # Errors
    /// [`UrlError`], one variant per cause.
    pub fn parse(given: &str) -> Result<Self, UrlError> {
        let raw = Raw::split(given)?;
        let host = Host::parse(raw.host)?;
        let port = match raw.port {
            None => raw.scheme.default_port(),
            Some(digits) => digits
                .parse::<u16>()
                .ok()
                .filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| UrlError::Port(digits.to_owned()))?,
        };
        let whatwg = Whatwg::parse(given)?;
        // Our reading of the raw text against the WHATWG reading: whoever sends it uses one or the other.
        let theirs = Host::parse(whatwg.host_str().ok_or(UrlError::NoHost)?)?;
        if theirs != host {
            return Err(UrlError::Disputed("host"));
        }
        if whatwg.port_or_known_default() != Some(port) {
            return Err(UrlError::Disputed("port"));
        }
        let userinfo = raw.userinfo.is_some();
        let theirs_has = !whatwg.username().is_empty() || whatwg.password().is_some();
        if theirs_has && !userinfo {
            return Err(UrlError::Disputed("user information"));
        }
        Ok(Url {
            scheme: raw.scheme,
            host,
            port,
            path: decode_unreserved(whatwg.path()),
            query: whatwg.query().map(decode_unreserved),
            userinfo,
        })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, in its one spelling.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Explicit, or the scheme's default.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts with `/`; reserved characters stay encoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Without the `?`. `Some("")` when there is a bare `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Whether a user name or password was given. Its text is not kept.
    pub fn has_userinfo(&self) -> bool {
        self.userinfo
    }
}

impl Scheme {
    /// Its lowercase text.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        }
    }

    /// The port when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http | Scheme::Ws => 80,
            Scheme::Https | Scheme::Wss => 443,
        }
    }
}

impl fmt::Display for Url {
    /// The text form, without user information; the port only when it is not the default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let userinfo = if self.userinfo { " (user information removed)" } else { "" };
        write!(f, "{self}{userinfo}")
    }
}

/// The raw text cut at RFC 3986's delimiters, before any parser had a chance to be lenient.
struct Raw<'a> {
    scheme: Scheme,
    userinfo: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
}

impl<'a> Raw<'a> {
    fn split(given: &'a str) -> Result<Self, UrlError> {
        refuse_characters(given)?;
        let (scheme, rest) = split_scheme(given)?;
        let rest = rest.strip_prefix("//").ok_or(UrlError::Slashes)?;
        if rest.starts_with('/') {
            return Err(UrlError::Slashes);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if !tail.starts_with('/') && tail.contains('@') {
            return Err(UrlError::AtBeforePath);
        }
        let (userinfo, hostport) = match authority.split_once('@') {
            Some((_, after)) if after.contains('@') => return Err(UrlError::ManyAt),
            Some((userinfo, after)) => (Some(userinfo), after),
            None => (None, authority),
        };
        let port_at = match hostport.rfind(']') {
            Some(bracket) => hostport[bracket..].find(':').map(|colon| bracket + colon),
            None => hostport.find(':'),
        };
        let (host, port) = match port_at {
            Some(colon) => (&hostport[..colon], Some(&hostport[colon + 1..])),
            None => (hostport, None),
        };
        if host.is_empty() {
            return Err(UrlError::NoHost);
        }
        Ok(Raw { scheme, userinfo, host, port })
    }
}

fn refuse_characters(given: &str) -> Result<(), UrlError> {
    if given.is_empty() {
        return Err(UrlError::Empty);
    }
    if given.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong { bytes: given.len() });
    }
    for c in given.chars() {
        match c {
            c if c.is_control() => return Err(UrlError::Control(c)),
            c if c.is_whitespace() => return Err(UrlError::Whitespace),
            '\\' => return Err(UrlError::Backslash),
            _ => {}
        }
    }
    let bytes = given.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'%') {
        let code = hex_pair(bytes, at + 1).ok_or(UrlError::Percent)?;
        if matches!(code, 0 | b'\r' | b'\n') {
            return Err(UrlError::EncodedControl);
        }
    }
    Ok(())
}

fn split_scheme(given: &str) -> Result<(Scheme, &str), UrlError> {
    let (scheme, rest) = given.split_once(':').ok_or(UrlError::Relative)?;
    let spelled = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !spelled {
        return Err(UrlError::Relative);
    }
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "ws" => Scheme::Ws,
        "wss" => Scheme::Wss,
        other => return Err(UrlError::Scheme(other.to_owned())),
    };
    Ok((scheme, rest))
}

fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let (high, low) = (digit(*bytes.get(at)?)?, digit(*bytes.get(at + 1)?)?);
    u8::try_from(high * 16 + low).ok()
}

/// RFC 3986 §6.2.2: decode what never needed encoding, write the rest with uppercase digits.
fn decode_unreserved(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        match hex_pair(rest.as_bytes(), at + 1) {
            Some(code) => {
                match char::from(code) {
                    c @ ('A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~') => out.push(c),
                    _ => out.push_str(&format!("%{code:02X}")),
                }
                rest = &rest[at + 3..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form() {
        for (given, want) in [
            ("http://example.com", "http://example.com/"),
            ("HTTP://EXAMPLE.com:80/", "http://example.com/"),
            ("https://example.com.:443/a", "https://example.com/a"),
            ("https://example.com:8443/a", "https://example.com:8443/a"),
            ("http://a.com/./b/../c", "http://a.com/c"),
            ("http://a.com/%2e%2E/c", "http://a.com/c"),
            ("http://a.com/../../c", "http://a.com/c"),
            ("http://a.com/%41%2d%7e%2f", "http://a.com/A-~%2F"),
            ("http://a.com/%252e%252e/x", "http://a.com/%252e%252e/x"),
            ("http://a.com//x", "http://a.com//x"),
            ("http://a.com/x?q=%61#f", "http://a.com/x?q=a"),
            ("http://a.com?", "http://a.com/?"),
            ("http://a.com/\u{e9}", "http://a.com/%C3%A9"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://2130706433:8080", "http://127.0.0.1:8080/"),
            ("http://[::1]:90/", "http://[::1]:90/"),
            ("http://[::ffff:1.2.3.4]/", "http://[::ffff:1.2.3.4]/"),
            ("http://b\u{fc}cher.de/", "http://xn--bcher-kva.de/"),
            ("http://a.com:65535/", "http://a.com:65535/"),
            ("wss://a.com/s", "wss://a.com/s"),
            ("http://a.com/@b", "http://a.com/@b"),
            ("http://a.com/?u=b@c.com", "http://a.com/?u=b@c.com"),
            ("http://a.com/x:y;z", "http://a.com/x:y;z"),
        ] {
            let url = Url::parse(given).unwrap_or_else(|e| panic!("{given:?}: {e}"));
            assert_eq!(url.to_string(), want, "{given:?}");
            assert_eq!(Url::parse(want).unwrap(), url, "{given:?}");
            assert!(!url.has_userinfo());
        }
    }

    #[test]
    fn user_information_is_told_and_not_kept() {
        for given in [
            "http://u:p4ss@a.com/x",
            "http://good.com@a.com/x",
            "http://@a.com/x",
            "http://:p4ss@a.com/x",
            "http://u%40b:p4ss@a.com/x",
        ] {
            let url = Url::parse(given).unwrap_or_else(|e| panic!("{given:?}: {e}"));
            assert!(url.has_userinfo(), "{given}");
            assert_eq!(url.to_string(), "http://a.com/x");
            assert!(!format!("{url:?}").contains("p4ss"));
        }
    }

    #[test]
    fn what_parsers_dispute_is_refused() {
        for (given, want) in [
            ("", UrlError::Empty),
            ("a.com/x", UrlError::Relative),
            ("/x", UrlError::Relative),
            ("//a.com/x", UrlError::Relative),
            ("://a.com", UrlError::Relative),
            ("file:///etc/passwd", UrlError::Scheme("file".into())),
            ("data:text/html,x", UrlError::Scheme("data".into())),
            ("javascript://a.com/%0aalert(1)", UrlError::EncodedControl),
            ("gopher://a.com/", UrlError::Scheme("gopher".into())),
            ("ftp://a.com/", UrlError::Scheme("ftp".into())),
            ("http:a.com", UrlError::Slashes),
            ("http:/a.com", UrlError::Slashes),
            ("http:///a.com", UrlError::Slashes),
            ("http:////a.com", UrlError::Slashes),
            ("http://", UrlError::NoHost),
            ("http://?x", UrlError::NoHost),
            ("http://:80/", UrlError::NoHost),
            ("http://u@/x", UrlError::NoHost),
            ("http:/\\evil.com", UrlError::Backslash),
            ("http:\\\\evil.com", UrlError::Backslash),
            ("http://a.com\\@evil.com", UrlError::Backslash),
            ("http://a@b@c/", UrlError::ManyAt),
            ("http://a#@evil.com/", UrlError::AtBeforePath),
            ("http://a?@evil.com/", UrlError::AtBeforePath),
            (" http://a.com", UrlError::Whitespace),
            ("http://a.com ", UrlError::Whitespace),
            ("http://a.com/a b", UrlError::Whitespace),
            ("http://a.com/\u{a0}", UrlError::Whitespace),
            ("http://a\t.com", UrlError::Control('\t')),
            ("ht\ntp://a.com", UrlError::Control('\n')),
            ("http://a.com/\0", UrlError::Control('\0')),
            ("http://a.com:/", UrlError::Port("".into())),
            ("http://a.com:0/", UrlError::Port("0".into())),
            ("http://a.com:+80/", UrlError::Port("+80".into())),
            ("http://a.com/%zz", UrlError::Percent),
            ("http://a.com/%", UrlError::Percent),
            ("http://a.com/%0d%0aHost:x", UrlError::EncodedControl),
            ("http://a.com/%00", UrlError::EncodedControl),
            ("http://a%2ecom/", UrlError::Host(HostError::Percent)),
            ("http://a_b.com/", UrlError::Host(HostError::Underscore)),
            ("http://a..com/", UrlError::Host(HostError::EmptyLabel("a..com".into()))),
        ] {
            assert_eq!(Url::parse(given), Err(want), "{given:?}");
        }
        for given in [
            "http://a.com:65536/",
            "http://a.com:80:80/",
            "http://[::1]x/",
            "http://[::1/",
            "http://x[::1]/",
            "http://a.com:8a/",
            "http://1.2.3.256/",
            "http://a\u{200b}.com/",
            "http://a\u{ff0f}b.com/",
        ] {
            assert!(Url::parse(given).is_err(), "{given:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_form_is_stable(tail in "[a-c0-9.:@/?#%&=\\[\\]x-]{0,30}") {
            if let Ok(url) = Url::parse(&format!("http://{tail}")) {
                let again = Url::parse(&url.to_string());
                proptest::prop_assert_eq!(again.map(|u| u.to_string()), Ok(url.to_string()));
            }
        }
    }
}
