//! What every request must be before anything of it is read: asked of this site, from a page of this site, in no frame.
//! And what every answer says to browsers, so that nothing in it can act.

use super::Refused;
use crate::people::Site;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use std::time::Duration;

/// Longest body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long it may take, in seconds.
const BODY_SECONDS_MAX: u64 = 20;
/// Fields of one form or query, entries.
const FIELDS_ENTRIES_MAX: usize = 32;
/// How much of a header is quoted in an alert, in characters.
const QUOTED_CHARS_MAX: usize = 120;

/// Nothing but this site's own files, and those in no other page. The script turns texts of the server into elements in one place.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types console";

const SEALS: [(&str, &str); 9] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    // `no-referrer` would make browsers send `Origin: null` with forms (Fetch, "serializing a request origin").
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "publickey-credentials-create=(self), publickey-credentials-get=(self), camera=(), geolocation=(), microphone=()",
    ),
    ("x-robots-tag", "noindex"),
];

/// Seals an answer, whatever it is.
pub(super) fn seal(response: &mut Response) {
    for (name, value) in SEALS {
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    debug_assert!(response.headers().contains_key(CACHE_CONTROL));
}

/// A request's head in one line, for an alert, and whether the console's script asks.
pub(super) struct Head {
    line: String,
    pub(super) is_scripted: bool,
}

impl Head {
    pub(super) fn of(request: &Request) -> Self {
        let quoted = |name: &HeaderName| {
            let value = request.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            String::from_utf8_lossy(value).chars().take(QUOTED_CHARS_MAX).collect::<String>()
        };
        let path: String = request.uri().path().chars().take(QUOTED_CHARS_MAX).collect();
        let (host, origin) = (quoted(&HOST), quoted(&ORIGIN));
        let kind = one(request.headers(), &CONTENT_TYPE).unwrap_or_default();
        Self {
            line: format!("{} {path}, host `{host}`, origin `{origin}`", request.method()),
            is_scripted: kind.starts_with("application/json"),
        }
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.line)
    }
}

/// Host, frame, origin, in this order. A page asked for by the address instead of the name is asked for again by the name.
pub(super) fn admit(site: &Site, request: &Request) -> Result<Option<Response>, Refused> {
    let headers = request.headers();
    let forbidden = |rule, why: &str| Refused::alarming(StatusCode::FORBIDDEN, rule, why);
    let host = one(headers, &HOST).unwrap_or_default();
    if host != site.host {
        if request.method() == Method::GET && is_own_address(host, site) {
            return Ok(Some(moved(site, request.uri().path())));
        }
        return Err(forbidden("console-host", "a page of the console was asked for by another name"));
    }
    let fetch = |name: &'static str| one(headers, &HeaderName::from_static(name)).unwrap_or_default();
    if ["frame", "iframe", "embed", "object", "fencedframe"].contains(&fetch("sec-fetch-dest")) {
        return Err(forbidden("console-framed", "another page tried to show the console inside itself"));
    }
    let is_read = request.method() == Method::GET;
    if !is_read && request.method() != Method::POST {
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "Only GET and POST are answered here."));
    }
    let from = fetch("sec-fetch-site");
    let is_foreign = from == "cross-site" || from == "same-site";
    let foreign = || forbidden("console-origin", "a page of another origin asked the console for something");
    // Following a link from elsewhere is no attack; everything else from there is.
    if is_foreign && !(is_read && fetch("sec-fetch-mode") == "navigate") {
        return Err(foreign());
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next().map(HeaderValue::as_bytes), origins.next()) {
        (None, _) if is_read => {}
        (Some(origin), None) if origin == site.party.origin.as_bytes() => {}
        _ => return Err(foreign()),
    }
    Ok(None)
}

/// Whether `host` is a loopback address at the port of a site that is called `localhost`.
fn is_own_address(host: &str, site: &Site) -> bool {
    site.host.strip_prefix("localhost").is_some_and(|port| {
        ["127.0.0.1", "[::1]"].iter().any(|address| host.strip_prefix(address) == Some(port))
    })
}

fn moved(site: &Site, path: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(place) = HeaderValue::try_from(format!("{}{path}", site.party.origin)) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// A request that was admitted, its body read.
pub(super) struct Asked {
    pub(super) method: Method,
    uri: http::Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    pub(super) async fn read(request: Request) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let reading = axum::body::to_bytes(body, BODY_BYTES_MAX);
        let body = tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), reading)
            .await
            .map_err(|_| Refused::new(StatusCode::REQUEST_TIMEOUT, "The request did not arrive in time."))?
            .map_err(|_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "The request is too long."))?;
        Ok(Self { method: parts.method, uri: parts.uri, headers: parts.headers, body })
    }

    /// The path below `/console`, decoded, without empty parts.
    pub(super) fn path(&self) -> Vec<String> {
        let path = self.uri.path();
        let below = path.strip_prefix("/console").unwrap_or(path);
        below.split('/').filter(|part| !part.is_empty()).map(decoded).collect()
    }

    /// Path and query as they were asked for.
    pub(super) fn place(&self) -> &str {
        self.uri.path_and_query().map_or("/console", |place| place.as_str())
    }

    /// A field of the query.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        field(self.uri.query().unwrap_or_default(), name)
    }

    /// A number of the query; nothing where it is none.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.query(name)?.parse().ok()
    }

    /// A field of the form.
    pub(super) fn form(&self, name: &str) -> Option<String> {
        field(std::str::from_utf8(&self.body).ok()?, name)
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Refused> {
        serde_json::from_slice(&self.body)
            .map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "The request is malformed."))
    }

    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        one(&self.headers, &HeaderName::from_static(name))
    }

    /// Every value of this cookie: another port of the same name may have set one too.
    pub(super) fn cookies<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let headers = self.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        headers
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(move |(found, _)| *found == name)
            .map(|(_, value)| value)
    }
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

fn field(pairs: &str, name: &str) -> Option<String> {
    let mut pairs = pairs.split('&').take(FIELDS_ENTRIES_MAX);
    pairs.find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(found) == name).then(|| decoded(&value.replace('+', " ")))
    })
}

/// Percent-decoded; what is no UTF-8 is replaced, what is no escape is left.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let escape = (byte == b'%').then(|| digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2)))).flatten();
        match escape.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `text` as a part of a path or a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let part = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_of_the_site_are_admitted() {
        let site = Site::of("http://localhost:8650").expect("a site");
        let admitted = |method: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri("/console/approvals");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::empty()).expect("a request");
            match admit(&site, &request) {
                Ok(None) => "in",
                Ok(Some(_)) => "moved",
                Err(refused) => refused.rule.unwrap_or("refused"),
            }
        };
        let (host, origin) = (("host", "localhost:8650"), ("origin", "http://localhost:8650"));
        for (method, headers, expected) in [
            ("GET", &[host][..], "in"),
            ("GET", &[("host", "127.0.0.1:8650")], "moved"),
            ("GET", &[("host", "[::1]:8650")], "moved"),
            ("POST", &[("host", "127.0.0.1:8650"), ("origin", "http://127.0.0.1:8650")], "console-host"),
            ("GET", &[("host", "127.0.0.1:8651")], "console-host"),
            ("GET", &[("host", "localhost:8650.attacker.example")], "console-host"),
            ("GET", &[("host", "attacker.example")], "console-host"),
            ("GET", &[("host", "localhost")], "console-host"),
            ("GET", &[("host", "LOCALHOST:8650")], "console-host"),
            ("GET", &[host, host], "console-host"),
            ("GET", &[], "console-host"),
            ("POST", &[host, origin], "in"),
            ("POST", &[host], "console-origin"),
            ("POST", &[host, ("origin", "null")], "console-origin"),
            ("POST", &[host, ("origin", "http://localhost:3000")], "console-origin"),
            ("POST", &[host, ("origin", "https://localhost:8650")], "console-origin"),
            ("POST", &[host, origin, origin], "console-origin"),
            ("POST", &[host, origin, ("sec-fetch-site", "same-site")], "console-origin"),
            ("GET", &[host, ("origin", "http://attacker.example")], "console-origin"),
            ("GET", &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], "in"),
            (
                "GET",
                &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
                "console-origin",
            ),
            ("GET", &[host, ("sec-fetch-dest", "iframe")], "console-framed"),
            ("PUT", &[host, origin], "refused"),
        ] {
            assert_eq!(admitted(method, headers), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn fields_are_decoded_and_encoded_back() {
        assert_eq!(field("a=1&b=x%20y+z%", "b").as_deref(), Some("x y z%"));
        assert_eq!(field("a=1", "b"), None);
        for text in ["fix/act", "a b&c=d%", "ünï"] {
            assert_eq!(decoded(&encoded(text)), text);
        }
    }
}
