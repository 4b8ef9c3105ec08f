//! Makes an AWS signature anew: the client signed with a placeholder, the upstream gets one made with the real key pair
//! over the same headers. The client's own signature is not looked at: it proves nothing.

use crate::binding::Destination;
use crate::encode::unpercent;
use crate::lease::Held;
use crate::sigv4::{KeyPair, ToSign, sha256_hex};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Method, Uri};

/// How the header of a signed request begins.
pub(super) const ALGORITHM: &[u8] = b"AWS4-HMAC-SHA256";

const PAYLOAD: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

pub(super) fn is_signed(value: &HeaderValue) -> bool {
    value.as_bytes().starts_with(ALGORITHM)
}

/// Whether the signature covers a body whose hash the head does not tell.
pub(super) fn needs_body(head: &Parts) -> bool {
    let length = head.headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let empty = match length {
        Some(length) => length == b"0",
        None => {
            !head.headers.contains_key(TRANSFER_ENCODING)
                && matches!(head.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS)
        }
    };
    !head.headers.contains_key(PAYLOAD) && !empty
}

/// Signs the request anew in `headers`.
#[expect(clippy::too_many_arguments, reason = "a request is signed whole: each of its parts is one")]
pub(super) fn sign(
    to: &Destination,
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    body: Option<&[u8]>,
    service: &str,
    region: &str,
    held: &Held,
) -> Result<(), &'static str> {
    let pair = held
        .expose(KeyPair::parse)
        .ok_or("its value is not an access key pair (ID:SECRET[:TOKEN] or JSON)")?;
    let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let field = |name: &str| {
        let start = sent.find(&format!("{name}="))? + name.len() + 1;
        sent[start..].split([',', ' ']).next()
    };
    let scope: Vec<&str> = field("Credential").unwrap_or_default().split('/').collect();
    let [_, day, scope_region, scope_service, "aws4_request"] = scope[..] else {
        return Err("its credential scope is not ID/DATE/REGION/SERVICE/aws4_request");
    };
    if scope_region != region || scope_service != service {
        return Err("its binding names another AWS service or region");
    }
    let time = headers.get(DATE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if time.len() != 16 || time.get(..8) != Some(day) {
        return Err("its x-amz-date is missing or does not agree with the credential scope");
    }
    let mut signed: Vec<String> =
        field("SignedHeaders").unwrap_or_default().split(';').map(str::to_ascii_lowercase).collect();
    if !signed.iter().any(|name| name == "host") {
        return Err("it does not sign the host");
    }
    let claimed = headers.get(PAYLOAD).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let payload = match (claimed, body) {
        (Some(claimed), _) if claimed.starts_with("STREAMING-AWS4-") => {
            return Err("chunk signatures cannot be made anew; let the client sign UNSIGNED-PAYLOAD");
        }
        (Some(claimed), _) => claimed,
        (None, Some(body)) => sha256_hex(body),
        (None, None) => {
            // `needs_body` was asked before: what has no body here has none at all.
            let length = headers.get(CONTENT_LENGTH).map_or(&b"0"[..], HeaderValue::as_bytes);
            let bodiless = length == b"0" && !headers.contains_key(TRANSFER_ENCODING);
            let silent = matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
            if !bodiless || !(silent || headers.contains_key(CONTENT_LENGTH)) {
                return Err("its body must be read before it is signed");
            }
            sha256_hex(b"")
        }
    };
    headers.remove(TOKEN);
    signed.retain(|name| name != TOKEN.as_str());
    if let Some(token) = &pair.session {
        let mut value =
            HeaderValue::from_str(token).map_err(|_| "its session token is not usable in a header")?;
        value.set_sensitive(true);
        headers.insert(TOKEN, value);
        signed.push(TOKEN.as_str().to_owned());
    }
    let mut lines = Vec::with_capacity(signed.len());
    for name in signed {
        let value = if name == HOST.as_str() {
            headers
                .get(HOST)
                .and_then(|value| value.to_str().ok())
                .map_or_else(|| to.authority(), str::to_owned)
        } else {
            let all = headers.get_all(name.as_str());
            let all: Result<Vec<&str>, _> = all.iter().map(HeaderValue::to_str).collect();
            match all {
                Ok(all) if !all.is_empty() => all.join(","),
                _ => return Err("it signs a header that is not there"),
            }
        };
        lines.push((name, value));
    }
    let query = uri.query().unwrap_or_default();
    if query
        .split('&')
        .any(|pair| unpercent(pair.as_bytes()).to_ascii_lowercase().starts_with(b"x-amz-signature"))
    {
        return Err("it is signed twice, in a header and in the address");
    }
    let authorization = ToSign {
        method: method.as_str(),
        path: uri.path(),
        query,
        headers: lines,
        payload: &payload,
        time: &time,
        region,
        service,
    }
    .authorization(&pair);
    let mut value =
        HeaderValue::from_str(&authorization).map_err(|_| "its key id is not usable in a header")?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}
