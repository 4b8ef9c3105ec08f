//! What comes back: values in an answer's head become placeholders again, and credentials that the answer brings become
//! handles when the binding says so. The body of an answer is scrubbed elsewhere; here only bound fields are looked at.

use super::Wallet;
use super::used::{Misuse, Used, Why};
use crate::binding::{Binding, Capture, HostPattern, Place};
use crate::encode::{hex, percent, unpercent};
use crate::placeholder::PLACEHOLDER_VALUE_BYTES_MIN;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use http::response::Parts;
use memchr::memmem;
use serde_json::Value as Json;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Longest answer that is looked through for credentials, in bytes.
const CAPTURE_BYTES_MAX: usize = 1024 * 1024;

impl Wallet {
    /// Turns every value in the answer's headers back into its placeholder, and captures the cookies that bindings name.
    ///
    /// # Errors
    /// When a credential that must be captured cannot be; the answer must not be passed on then.
    pub fn answered(&self, used: &Used, head: &mut Parts) -> Result<(), Misuse> {
        let names: Vec<&str> = used
            .captures
            .iter()
            .filter_map(|capture| match capture {
                Capture::Cookie { name } => Some(name.as_str()),
                Capture::Field { .. } => None,
            })
            .collect();
        if !names.is_empty() {
            self.capture_cookies(used, &names, &mut head.headers)?;
        }
        self.scrub(&mut head.headers);
        Ok(())
    }

    /// The same for trailers, which bring no cookies.
    pub fn trailers(&self, trailers: &mut HeaderMap) {
        self.scrub(trailers);
    }

    /// What the answer's body (decoded from its content coding) must be passed through, if a binding names fields in it.
    #[must_use]
    pub fn capture_body(self: &Arc<Self>, used: &Arc<Used>) -> Option<CaptureBody> {
        let wanted = used.captures.iter().any(|capture| matches!(capture, Capture::Field { .. }));
        wanted.then(|| CaptureBody { wallet: self.clone(), used: used.clone(), body: Zeroizing::default() })
    }

    fn capture_cookies(&self, used: &Used, names: &[&str], headers: &mut HeaderMap) -> Result<(), Misuse> {
        let all: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        headers.remove(SET_COOKIE);
        for header in all {
            let bytes = header.as_bytes();
            let end = bytes.iter().position(|byte| *byte == b';').unwrap_or(bytes.len());
            let equals = bytes[..end].iter().position(|byte| *byte == b'=').unwrap_or(end);
            let name = bytes[..equals].trim_ascii();
            let value = bytes.get(equals + 1..end).unwrap_or_default().trim_ascii();
            let known = names
                .iter()
                .find(|known| known.as_bytes() == name)
                .filter(|_| value.len() >= PLACEHOLDER_VALUE_BYTES_MIN);
            let Some(name) = known else {
                headers.append(SET_COOKIE, header);
                continue;
            };
            let place = Place::Cookie { name: (*name).to_owned() };
            let placeholder = self.captured_as(used, value, &format!("cookie {name}"), place)?;
            let text = [name.as_bytes(), b"=", placeholder.as_bytes(), &bytes[end..]].concat();
            if let Ok(text) = HeaderValue::from_bytes(&text) {
                headers.append(SET_COOKIE, text);
            }
        }
        Ok(())
    }

    /// Bound to the host it came from, and to nothing else.
    fn captured_as(&self, used: &Used, value: &[u8], what: &str, place: Place) -> Result<String, Misuse> {
        let failed = |why: Why| {
            let secret = self.granted.first().map(|handle| handle.name.clone());
            secret.map(|secret| Misuse { secret, place: format!("the answer's {what}"), why })
        };
        let binding = Binding {
            host: HostPattern::Exact(used.to.host().to_owned()),
            port: used.to.port(),
            methods: None,
            paths: None,
            place,
            always: false,
            capture: Vec::new(),
        };
        self.capture(value, &used.to, what, vec![binding])
            .or_else(|error| failed(Why::Unavailable(error)).map_or(Ok(String::new()), Err))
    }

    fn scrub(&self, headers: &mut HeaderMap) {
        let longest = headers.values().map(HeaderValue::len).max().unwrap_or(0);
        for handle in self.known() {
            for held in self.values(&handle) {
                if held.expose(<[u8]>::len) > longest {
                    continue;
                }
                let spellings = held.expose(Spellings::of);
                for header in headers.values_mut() {
                    if let Some(clean) = spellings.strike(header.as_bytes(), &handle.placeholder) {
                        // A placeholder with characters that no header takes, as of a PEM key, is not shown at all.
                        *header = HeaderValue::from_bytes(&clean)
                            .unwrap_or(HeaderValue::from_static("[withheld: it held a secret]"));
                    }
                }
            }
        }
    }
}

/// A text in another light, byte for byte.
type View<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// One value as servers echo it.
struct Spellings {
    raw: Zeroizing<Vec<u8>>,
    percent: Zeroizing<String>,
    hex: Zeroizing<String>,
    base64: [Zeroizing<Vec<u8>>; 3],
}

impl Spellings {
    fn of(value: &[u8]) -> Self {
        Self {
            raw: Zeroizing::new(value.to_vec()),
            percent: Zeroizing::new(percent(value, b"").to_ascii_lowercase()),
            hex: Zeroizing::new(hex(value)),
            base64: [0, 1, 2].map(|offset| base64_core(value, offset)),
        }
    }

    /// `text` without the value in any of these spellings; nothing when it is not there.
    fn strike(&self, text: &[u8], placeholder: &str) -> Option<Vec<u8>> {
        let same = |text: &[u8]| text.to_vec();
        let lower = |text: &[u8]| text.to_ascii_lowercase();
        // Both alphabets of base64 as one: the lengths are the same.
        let unify = |text: &[u8]| -> Vec<u8> {
            text.iter()
                .map(|byte| match byte {
                    b'-' => b'+',
                    b'_' => b'/',
                    byte => *byte,
                })
                .collect()
        };
        let [first, second, third] = &self.base64;
        let views: [(&[u8], View<'_>); 6] = [
            (&self.raw, &same),
            (self.percent.as_bytes(), &lower),
            (self.hex.as_bytes(), &lower),
            (first, &unify),
            (second, &unify),
            (third, &unify),
        ];
        let mut clean: Option<Vec<u8>> = None;
        for (needle, view) in views {
            let current = clean.as_deref().unwrap_or(text);
            if !needle.is_empty() && needle.len() <= current.len() {
                clean = cut(current, &Zeroizing::new(view(current)), needle, placeholder).or(clean);
            }
        }
        // Percent-encoded in part, or more than is needed: then the whole text goes.
        let current = clean.as_deref().unwrap_or(text);
        if current.contains(&b'%') && memmem::find(&unpercent(current), &self.raw).is_some() {
            clean = Some(placeholder.as_bytes().to_vec());
        }
        clean
    }
}

/// `text` with `placeholder` wherever `needle` is in `seen`, which is `text` in another light and as long.
fn cut(text: &[u8], seen: &[u8], needle: &[u8], placeholder: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut from = 0;
    for at in memmem::find_iter(seen, needle) {
        out.extend_from_slice(&text[from..at]);
        out.extend_from_slice(placeholder.as_bytes());
        from = at + needle.len();
    }
    out.extend_from_slice(&text[from..]);
    (from > 0).then_some(out)
}

/// The characters of base64 that `value` alone decides when it stands `offset` bytes after a multiple of three.
fn base64_core(value: &[u8], offset: usize) -> Zeroizing<Vec<u8>> {
    let padded = Zeroizing::new([&[0; 2][..offset], value].concat());
    let text = Zeroizing::new(STANDARD_NO_PAD.encode(&*padded));
    let start = [0, 2, 3][offset.min(2)];
    let end = padded.len() * 8 / 6;
    Zeroizing::new(text.as_bytes().get(start..end).unwrap_or_default().to_vec())
}

/// The body of an answer in which bound fields become handles. It is kept whole until its end.
pub struct CaptureBody {
    wallet: Arc<Wallet>,
    used: Arc<Used>,
    body: Zeroizing<Vec<u8>>,
}

impl CaptureBody {
    /// Takes `chunk`; nothing leaves before the end.
    ///
    /// # Errors
    /// When the body is longer than can be looked through.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Misuse> {
        if self.body.len() + chunk.len() > CAPTURE_BYTES_MAX {
            let secret = self.wallet.granted.first().map(|handle| handle.name.clone());
            let place = "the answer's body".to_owned();
            return secret.map_or(Ok(()), |secret| Err(Misuse { secret, place, why: Why::TooLarge }));
        }
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    /// The end: appends the body to `out` with each bound field replaced. A body that is no JSON passes as it is.
    ///
    /// # Errors
    /// When a credential cannot be captured.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let mut body = std::mem::take(&mut self.body);
        if let Ok(mut tree) = serde_json::from_slice::<Json>(&body) {
            for capture in &self.used.captures {
                let Capture::Field { field, place } = capture else { continue };
                let at = field.split('.').try_fold(&mut tree, |tree, key| tree.get_mut(key));
                let Some(Json::String(text)) = at else { continue };
                if text.len() < PLACEHOLDER_VALUE_BYTES_MIN {
                    continue;
                }
                let what = format!("field {field}");
                let placeholder =
                    self.wallet.captured_as(&self.used, text.as_bytes(), &what, place.clone())?;
                let old = Zeroizing::new(Json::from(text.as_str()).to_string());
                let new = Json::from(placeholder.as_str()).to_string();
                drop(Zeroizing::new(std::mem::replace(text, placeholder)));
                let replaced = replace(&body, old.as_bytes(), new.as_bytes());
                // Written with escapes of its own choice: then the document is written anew.
                body = replaced.unwrap_or_else(|| Zeroizing::new(tree.to_string().into_bytes()));
            }
        }
        out.extend_from_slice(&body);
        Ok(())
    }
}

fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() + new.len()));
    let mut from = 0;
    for at in memmem::find_iter(text, old) {
        out.extend_from_slice(&text[from..at]);
        out.extend_from_slice(new);
        from = at + old.len();
    }
    out.extend_from_slice(&text[from..]);
    (from > 0).then_some(out)
}
