//! Where one secret may be put: host, port, method, path and placement, over verified TLS only. Anything not written
//! here is refused; nothing is a wildcard unless it was written as one.

use crate::encode::nibble;
use http::{HeaderName, Method};
use std::fmt;

/// Where a request goes, as the gate established it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: String,
    port: u16,
    tls_verified: bool,
}

impl Destination {
    /// `tls_verified` says that the gate itself speaks TLS with the upstream and has verified its name as `host`.
    #[must_use]
    pub fn new(host: &str, port: u16, tls_verified: bool) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Self { host, port, tls_verified }
    }

    /// The host's name in lowercase.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

/// Which hosts: one, or all below a name if it was written `*.name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Every host below this name, but not the name itself.
    Below(String),
}

/// Which paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// Every path that begins so; it ends in `/`.
    Below(String),
}

/// What is wrong with a binding as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBinding {
    /// Not a host.
    #[error(
        "`{0}` is not a host: write a name such as `api.example.org`, or `*.example.org` for all below it"
    )]
    Host(String),
    /// Not a path.
    #[error(
        "`{0}` is not a path pattern: write `/exact/path` or `/below/*`, without `..`, `//`, `%` or `*` elsewhere"
    )]
    Path(String),
}

impl HostPattern {
    /// Parses `api.example.org` or `*.example.org`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn new(text: &str) -> Result<Self, BadBinding> {
        let bad = || BadBinding::Host(text.chars().take(80).collect());
        let lower = text.to_ascii_lowercase();
        let (below, name) = match lower.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, lower.as_str()),
        };
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let address = !below && name.parse::<std::net::Ipv6Addr>().is_ok();
        if !address && (name.len() > 253 || !name.split('.').all(label)) {
            return Err(bad());
        }
        match below {
            // `*.com` is a wildcard over strangers.
            true if !name.contains('.') => Err(bad()),
            true => Ok(Self::Below(name.to_owned())),
            false => Ok(Self::Exact(name.to_owned())),
        }
    }

    fn covers(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host == name,
            Self::Below(name) => host.strip_suffix(name.as_str()).is_some_and(|rest| {
                rest.len() > 1 && rest.ends_with('.') && !rest.starts_with('.') && !rest.contains("..")
            }),
        }
    }
}

impl PathPattern {
    /// Parses `/exact/path` or `/below/*`.
    ///
    /// # Errors
    /// When it is neither, or would never match a normal path.
    pub fn new(text: &str) -> Result<Self, BadBinding> {
        let bad = || BadBinding::Path(text.chars().take(80).collect());
        let (below, path) = match text.strip_suffix("/*") {
            Some(rest) => (true, format!("{rest}/")),
            None => (false, text.to_owned()),
        };
        if path.contains(['*', '%', '?', '#']) || normal_path(&path).as_deref() != Some(path.as_str()) {
            return Err(bad());
        }
        Ok(if below { Self::Below(path) } else { Self::Exact(path) })
    }

    fn covers(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Below(start) => path.starts_with(start.as_str()),
        }
    }
}

/// A request's path, percent-decoded once; nothing when two servers could read it differently: dot segments, empty
/// segments, an encoded slash, a backslash, control characters, a second layer of encoding, path parameters on dots.
#[must_use]
pub fn normal_path(raw: &str) -> Option<String> {
    let raw = raw.as_bytes();
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let byte = match raw[at] {
            b'%' => {
                let byte = nibble(raw.get(at + 1)?)? << 4 | nibble(raw.get(at + 2)?)?;
                at += 2;
                if byte == b'/' || byte == b'%' {
                    return None;
                }
                byte
            }
            byte => byte,
        };
        if byte < 0x20 || byte == 0x7f || byte == b'\\' {
            return None;
        }
        bytes.push(byte);
        at += 1;
    }
    let path = String::from_utf8(bytes).ok()?;
    let rest = path.strip_prefix('/')?;
    let segments: Vec<&str> = rest.split('/').collect();
    let last = segments.len() - 1;
    let plain = segments.iter().enumerate().all(|(index, segment)| {
        let name = segment.split(';').next().unwrap_or_default();
        !(matches!(name, "." | "..")
            || (segment.is_empty() && index != last)
            || (name.is_empty() && !segment.is_empty()))
    });
    plain.then_some(path)
}

/// Where in a request a secret is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The whole value of a header, after a prefix such as `Bearer `.
    Header {
        /// The header.
        name: HeaderName,
        /// What stands before the secret; compared without regard to case.
        prefix: String,
    },
    /// HTTP Basic authentication.
    Basic {
        /// Who logs in.
        user: BasicUser,
    },
    /// One cookie.
    Cookie {
        /// Its name.
        name: String,
    },
    /// The whole value of a query parameter.
    Query {
        /// The parameter.
        parameter: String,
    },
    /// The whole value of one field of a JSON or form body.
    BodyField {
        /// Its name; dots lead into nested JSON objects.
        field: String,
    },
    /// An AWS signature, made anew with the real key pair. The secret is `ID:SECRET[:TOKEN]` or JSON.
    SigV4 {
        /// Such as `s3`.
        service: String,
        /// Such as `eu-west-1`.
        region: String,
    },
}

/// Who logs in with HTTP Basic authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BasicUser {
    /// Always this one.
    Fixed(String),
    /// The one that the client sent; the secret is the password alone.
    AsSent,
    /// The secret is `user:password`.
    InSecret,
}

/// A credential that an answer brings and that becomes a new handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// The value of a cookie; afterwards accepted in that cookie.
    Cookie {
        /// Its name.
        name: String,
    },
    /// A field of a JSON answer; afterwards accepted in `place`.
    Field {
        /// Its name; dots lead into nested objects.
        field: String,
        /// Where the client will put it.
        place: Place,
    },
}

/// One place where a secret may be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Which hosts.
    pub host: HostPattern,
    /// Which port.
    pub port: u16,
    /// Which methods; `None` for all.
    pub methods: Option<Vec<Method>>,
    /// Which paths; `None` for all.
    pub paths: Option<Vec<PathPattern>>,
    /// Where in the request.
    pub place: Place,
    /// Whether it is put in even when the client sent none.
    pub always: bool,
    /// Which credentials in the answers become handles.
    pub capture: Vec<Capture>,
}

/// Why a request is not one that a secret may be put into. Ordered: a later reason was nearer to fitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    /// Another host.
    Host,
    /// Another port.
    Port,
    /// Not TLS, or TLS that the gate did not verify.
    Tls,
    /// Another method.
    Method,
    /// Another path, or one that could be read in two ways.
    Path,
    /// Another place in the request.
    Place,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Host => "its binding names another host",
            Self::Port => "its binding names another port",
            Self::Tls => "it is only sent over TLS that the gate has verified",
            Self::Method => "its binding names other methods",
            Self::Path => "its binding names other paths, or this one can be read in two ways",
            Self::Place => "its binding names another place in the request",
        })
    }
}

impl Binding {
    /// A binding to port 443 of `host`, all methods and paths.
    ///
    /// # Errors
    /// When `host` is not one.
    pub fn new(host: &str, place: Place) -> Result<Self, BadBinding> {
        Ok(Self {
            host: HostPattern::new(host)?,
            port: 443,
            methods: None,
            paths: None,
            place,
            always: false,
            capture: Vec::new(),
        })
    }

    /// Whether a request may carry the secret at all; where in it, the caller must see.
    pub(crate) fn covers(&self, to: &Destination, method: &Method, path: &str) -> Result<(), Mismatch> {
        let Self { host, port, methods, paths, place: _, always: _, capture: _ } = self;
        let Destination { host: to_host, port: to_port, tls_verified } = to;
        if !host.covers(to_host) {
            return Err(Mismatch::Host);
        }
        if port != to_port {
            return Err(Mismatch::Port);
        }
        if !tls_verified {
            return Err(Mismatch::Tls);
        }
        if methods.as_ref().is_some_and(|methods| !methods.contains(method)) {
            return Err(Mismatch::Method);
        }
        match paths {
            None => Ok(()),
            Some(paths) => match normal_path(path) {
                Some(path) if paths.iter().any(|pattern| pattern.covers(&path)) => Ok(()),
                _ => Err(Mismatch::Path),
            },
        }
    }
}

#[cfg(test)]
mod tests;
