//! What a server says when it wants a token: the Bearer challenge of `WWW-Authenticate` (RFC 6750 §3, RFC 9728 §5.1). It is
//! written by strangers: bounded, and only what is understood is taken from it.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Longest challenge read, in bytes.
const CHALLENGE_BYTES_MAX: usize = 8 * 1024;
/// Longest list of scopes, in bytes.
pub const SCOPES_BYTES_MAX: usize = 2 * 1024;

/// A Bearer challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Where the server's metadata lies.
    pub(super) resource_metadata: Option<String>,
    scope: Option<String>,
    error: Option<String>,
}

impl Challenge {
    /// The Bearer challenges in `headers`, as one: of each parameter the first.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut found = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            if let Some(text) = value.to_str().ok().filter(|text| text.len() <= CHALLENGE_BYTES_MAX) {
                read(text, &mut found);
            }
        }
        found
    }

    /// The scopes that are wanted, if they are scopes.
    #[must_use]
    pub fn scopes(&self) -> Option<Vec<String>> {
        self.scope.as_deref().and_then(scopes).filter(|scopes| !scopes.is_empty())
    }

    /// Whether a token was refused that another may replace: it is invalid, or nothing is said about why.
    #[must_use]
    pub fn wants_another(&self) -> bool {
        self.error.as_deref().is_none_or(|error| error == "invalid_token")
    }

    /// Whether the token is good and not good enough.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}

/// A list of scopes separated by spaces; nothing when one of them is none (RFC 6749 §3.3). Repeated ones are left out.
#[must_use]
pub fn scopes(text: &str) -> Option<Vec<String>> {
    let fits = |byte: u8| byte == 0x21 || (0x23..=0x5B).contains(&byte) || (0x5D..=0x7E).contains(&byte);
    let mut all: Vec<String> = Vec::new();
    if text.len() > SCOPES_BYTES_MAX {
        return None;
    }
    for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
        if !scope.bytes().all(fits) {
            return None;
        }
        if !all.iter().any(|known| known == scope) {
            all.push(scope.to_owned());
        }
    }
    Some(all)
}

/// Reads a list of challenges (RFC 9110 §11.6.1). A word before `=` is a parameter, any other begins a scheme.
fn read(text: &str, found: &mut Option<Challenge>) {
    let bytes = text.as_bytes();
    let (mut at, mut is_bearer) = (0, false);
    while at < bytes.len() {
        if matches!(bytes[at], b' ' | b'\t' | b',') {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && is_token(bytes[at]) {
            at += 1;
        }
        if start == at {
            // Not the grammar: nothing after it can be trusted to be what it seems.
            return;
        }
        let word = &text[start..at];
        let mut next = at;
        while next < bytes.len() && matches!(bytes[next], b' ' | b'\t') {
            next += 1;
        }
        if bytes.get(next) != Some(&b'=') {
            is_bearer = word.eq_ignore_ascii_case("bearer");
            if is_bearer {
                found.get_or_insert_default();
            }
            continue;
        }
        at = next + 1;
        let Some(value) = value(bytes, &mut at) else { return };
        let Some(challenge) = found.as_mut().filter(|_| is_bearer) else { continue };
        let slot = match word.to_ascii_lowercase().as_str() {
            "resource_metadata" => &mut challenge.resource_metadata,
            "scope" => &mut challenge.scope,
            "error" => &mut challenge.error,
            _ => continue,
        };
        slot.get_or_insert(value);
    }
}

/// A value after `=`: a quoted string, or anything up to the next comma or space (a token, or the rest of a token68).
fn value(bytes: &[u8], at: &mut usize) -> Option<String> {
    while matches!(bytes.get(*at), Some(b' ' | b'\t')) {
        *at += 1;
    }
    let mut value = Vec::new();
    if bytes.get(*at) != Some(&b'"') {
        while let Some(byte) = bytes.get(*at).filter(|byte| !matches!(byte, b' ' | b'\t' | b',')) {
            value.push(*byte);
            *at += 1;
        }
        return String::from_utf8(value).ok();
    }
    *at += 1;
    loop {
        match bytes.get(*at)? {
            b'"' => break,
            b'\\' => {
                *at += 1;
                value.push(*bytes.get(*at)?);
            }
            byte => value.push(*byte),
        }
        *at += 1;
    }
    *at += 1;
    String::from_utf8(value).ok()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
