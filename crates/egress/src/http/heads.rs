//! What is read from a head before anybody judges it: where it says it goes, what holds for one hop only, and whether
//! its body could be read in two ways. A head that disagrees with its connection goes no further.

use super::Reply;
use crate::name::{self, Name};
use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use ::http::{Method, Version, request};

/// RFC 9110 §7.6.1, with what proxies were once told. `te` is kept when it says `trailers`, for gRPC.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Names that a trailer must not have: they would change what was already decided (RFC 9110 §6.5.1).
const NOT_IN_TRAILERS: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];

/// Whether every place where a request says where it goes says `name` and `port`.
pub(crate) fn agree(head: &request::Parts, name: &Name, port: u16, tls: bool) -> Result<(), Reply> {
    let default = if tls { 443 } else { 80 };
    let check = |place: &str, text: &[u8]| {
        let authority = std::str::from_utf8(text).ok().and_then(|text| name::parse_authority(text).ok());
        match authority {
            Some((said, said_port)) if said == *name && said_port.unwrap_or(default) == port => Ok(()),
            _ => Err(Reply::misdirected(format!(
                "{place} says {}, but this connection is to {name}:{port}",
                name::shown(text)
            ))),
        }
    };
    if head.method == Method::CONNECT {
        return Err(Reply::denied("CONNECT is for the proxy, not for what is behind it"));
    }
    if let Some(scheme) = head.uri.scheme() {
        let expected = if tls { Scheme::HTTPS } else { Scheme::HTTP };
        if *scheme != expected {
            return Err(Reply::misdirected(format!(
                "the request is for {scheme}, but this connection is {expected}"
            )));
        }
    }
    let mut is_said = false;
    if let Some(authority) = head.uri.authority() {
        check("the request's target", authority.as_str().as_bytes())?;
        is_said = head.version >= Version::HTTP_2;
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    if let Some(host) = hosts.next() {
        check("Host", host.as_bytes())?;
        is_said = true;
    }
    if hosts.next().is_some() {
        return Err(Reply::misdirected("the request has more than one Host"));
    }
    if is_said { Ok(()) } else { Err(Reply::misdirected("the request has no Host")) }
}

/// The length of a request's body, if it is said in one way only.
pub(crate) fn body_bytes(head: &request::Parts) -> Result<Option<u64>, Reply> {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = match lengths.next() {
        None => None,
        Some(length) => {
            let text = length.to_str().unwrap_or_default();
            let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let read = text.parse().ok().filter(|_| is_decimal);
            Some(read.ok_or_else(|| Reply::malformed("Content-Length is no number"))?)
        }
    };
    if lengths.next().is_some() {
        return Err(Reply::malformed("the request has more than one Content-Length"));
    }
    match is_chunked(&head.headers) {
        Err(()) => Err(Reply::malformed("the only Transfer-Encoding is chunked")),
        Ok(true) if length.is_some() => {
            Err(Reply::malformed("the request has a Content-Length and a Transfer-Encoding"))
        }
        Ok(_) => Ok(length),
    }
}

/// Whether a message is chunked; an error where it is coded in another way besides, which nobody here undoes.
pub(crate) fn is_chunked(headers: &HeaderMap) -> Result<bool, ()> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(()),
    }
}

/// What a request asks its connection to become.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    None,
    WebSocket,
}

/// A client may ask for cleartext HTTP/2 and is not heard (RFC 9110 §7.8); anything else but WebSocket is refused.
pub(crate) fn upgrade(head: &request::Parts) -> Result<Upgrade, Reply> {
    let Some(asked) = head.headers.get(header::UPGRADE) else { return Ok(Upgrade::None) };
    if head.version >= Version::HTTP_2 {
        return Err(Reply::malformed("HTTP/2 has no Upgrade"));
    }
    let is_only = head.headers.get_all(header::UPGRADE).iter().count() == 1;
    match asked.as_bytes() {
        text if is_only && text.eq_ignore_ascii_case(b"websocket") => {
            let connection = head.headers.get_all(header::CONNECTION);
            let is_meant = tokens(connection.iter()).any(|token| token.eq_ignore_ascii_case("upgrade"));
            match is_meant && head.method == Method::GET && head.version == Version::HTTP_11 {
                true => Ok(Upgrade::WebSocket),
                false => Err(Reply::malformed(
                    "the WebSocket handshake is a GET of HTTP/1.1 with Connection: upgrade",
                )),
            }
        }
        text if is_only && text.eq_ignore_ascii_case(b"h2c") => Ok(Upgrade::None),
        text => Err(Reply::denied(format!("an upgrade to {} is not offered", name::shown(text)))),
    }
}

fn tokens<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a str> {
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// Removes what holds for one hop only, and what `Connection` says is such.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers.get_all(header::CONNECTION).iter())
        .filter_map(|token| token.parse().ok())
        // Naming these would take away what the next hop must see.
        .filter(|name| {
            !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TE | header::AUTHORIZATION)
        })
        .collect();
    let wants_trailers =
        tokens(headers.get_all(header::TE).iter()).any(|token| token.eq_ignore_ascii_case("trailers"));
    for name in named.iter().chain(&HOP_BY_HOP).chain([&PROXY_CONNECTION, &header::TE]) {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes from trailers what must not be there.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    for name in &NOT_IN_TRAILERS {
        trailers.remove(name);
    }
}

/// What a URI says besides where it goes.
pub(crate) fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

/// How `name` and `port` are written in a head.
pub(crate) fn authority(name: &Name, port: u16, tls: bool) -> String {
    if port == if tls { 443 } else { 80 } { name.to_string() } else { format!("{name}:{port}") }
}

/// Writes where a head goes, in the way of the protocol it will be sent in.
pub(crate) fn address(
    head: &mut request::Parts,
    name: &Name,
    port: u16,
    tls: bool,
    h2: bool,
) -> Result<(), Reply> {
    let text = authority(name, port, tls);
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let error = |_| Reply::malformed("the request's target cannot be written");
    if h2 {
        let authority = Authority::try_from(text.as_str()).map_err(error)?;
        let scheme = if tls { Scheme::HTTPS } else { Scheme::HTTP };
        let mut uri = ::http::uri::Parts::default();
        (uri.scheme, uri.authority, uri.path_and_query) = (Some(scheme), Some(authority), Some(path));
        head.uri =
            Uri::from_parts(uri).map_err(|_| Reply::malformed("the request's target cannot be written"))?;
        head.headers.remove(header::HOST);
        head.version = Version::HTTP_2;
    } else {
        let host = HeaderValue::try_from(text).map_err(|_| Reply::malformed("the name cannot be written"))?;
        head.headers.insert(header::HOST, host);
        head.uri = Uri::from(path);
        head.version = Version::HTTP_11;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::Request;

    fn head(uri: &str, version: Version, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn every_place_says_the_same_name_and_port() {
        let name = Name::parse("a.example").unwrap();
        let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
        for (uri, version, headers, port, tls, agrees) in [
            ("/", h1, &[("host", "a.example")][..], 443, true, true),
            ("/", h1, &[("host", "A.EXAMPLE.")], 443, true, true),
            ("/", h1, &[("host", "a.example:443")], 443, true, true),
            ("/", h1, &[("host", "a.example:8443")], 8443, true, true),
            ("/", h1, &[("host", "a.example")], 8443, true, false),
            ("/", h1, &[("host", "a.example:80")], 443, true, false),
            ("/", h1, &[("host", "a.example")], 80, false, true),
            ("/", h1, &[("host", "b.example")], 443, true, false),
            ("/", h1, &[("host", "a.example, b.example")], 443, true, false),
            ("/", h1, &[("host", "u@a.example")], 443, true, false),
            ("/", h1, &[("host", "")], 443, true, false),
            ("/", h1, &[], 443, true, false),
            ("/", h1, &[("host", "a.example"), ("host", "a.example")], 443, true, false),
            ("/", h1, &[("host", "a.example"), ("host", "b.example")], 443, true, false),
            ("https://a.example/", h1, &[("host", "a.example")], 443, true, true),
            ("https://b.example/", h1, &[("host", "a.example")], 443, true, false),
            ("https://a.example/", h1, &[("host", "b.example")], 443, true, false),
            ("https://a.example/", h1, &[], 443, true, false),
            ("http://a.example/", h1, &[("host", "a.example")], 443, true, false),
            ("https://a.example/", h2, &[], 443, true, true),
            ("https://a.example/", h2, &[("host", "a.example")], 443, true, true),
            ("https://a.example/", h2, &[("host", "b.example")], 443, true, false),
            ("https://b.example/", h2, &[], 443, true, false),
            ("https://u@a.example/", h2, &[], 443, true, false),
            ("/", h2, &[], 443, true, false),
        ] {
            let head = head(uri, version, headers);
            assert_eq!(agree(&head, &name, port, tls).is_ok(), agrees, "{uri} {headers:?} {port}");
        }
    }

    #[test]
    fn a_body_has_one_length() {
        for (headers, length) in [
            (&[][..], Some(None)),
            (&[("content-length", "7")], Some(Some(7))),
            (&[("transfer-encoding", "Chunked")], Some(None)),
            (&[("content-length", "7"), ("transfer-encoding", "chunked")], None),
            (&[("content-length", "7"), ("content-length", "7")], None),
            (&[("content-length", "+7")], None),
            (&[("content-length", "7, 7")], None),
            (&[("transfer-encoding", "gzip, chunked")], None),
            (&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")], None),
            (&[("transfer-encoding", "identity")], None),
        ] {
            assert_eq!(body_bytes(&head("/", Version::HTTP_11, headers)).ok(), length, "{headers:?}");
        }
    }

    #[test]
    fn only_websocket_is_an_upgrade() {
        let connection = ("connection", "keep-alive, Upgrade");
        for (headers, asked) in [
            (&[][..], Some(Upgrade::None)),
            (&[("upgrade", "WebSocket"), connection], Some(Upgrade::WebSocket)),
            (&[("upgrade", "websocket")], None),
            (&[("upgrade", "h2c"), connection], Some(Upgrade::None)),
            (&[("upgrade", "websocket, tls/1.0"), connection], None),
            (&[("upgrade", "websocket"), ("upgrade", "x"), connection], None),
            (&[("upgrade", "tcp"), connection], None),
        ] {
            assert_eq!(upgrade(&head("/", Version::HTTP_11, headers)).ok(), asked, "{headers:?}");
        }
    }

    #[test]
    fn what_is_for_one_hop_ends_with_it() {
        let headers = [
            ("connection", "close, x-one, host"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("host", "a.example"),
            ("te", "trailers, gzip"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "close"),
            ("upgrade", "h2c"),
        ];
        let mut head = head("/", Version::HTTP_11, &headers);
        strip(&mut head.headers);
        let mut left: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(left, [("host", "a.example"), ("te", "trailers"), ("x-two", "2")]);
    }
}
