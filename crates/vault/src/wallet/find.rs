//! Looks for a text in others, written plainly, percent-encoded (also more than once), with the escapes of JSON or in HTTP
//! Basic's base64. It decides nothing.

use crate::encode::{unescape, unpercent};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};
use memchr::memmem;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// How many layers of percent encoding are undone.
const LAYERS_MAX: usize = 3;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `text`, what it is without escapes, and what it is when percent encoding is undone, once, twice, …
pub(super) struct Layers<'a>(Vec<Cow<'a, [u8]>>);

impl<'a> Layers<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        let mut layers = vec![Cow::Borrowed(text)];
        for _ in 0..LAYERS_MAX {
            match layers.last() {
                Some(last) if last.contains(&b'%') => {
                    let next = unpercent(last).to_vec();
                    if next == **last {
                        break;
                    }
                    layers.push(Cow::Owned(next));
                }
                _ => break,
            }
        }
        if text.contains(&b'\\') {
            layers.push(Cow::Owned(unescape(text).0.to_vec()));
        }
        Self(layers)
    }

    pub(super) fn hold(&self, needle: &[u8]) -> bool {
        self.0.iter().any(|layer| memmem::find(layer, needle).is_some())
    }
}

/// The credentials of an `Authorization: Basic` value, decoded.
pub(super) fn basic(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    LENIENT.decode(rest.trim_ascii()).ok().map(Zeroizing::new)
}

/// Whether a header's value holds `needle` in any of these spellings.
pub(super) fn in_header(value: &[u8], needle: &[u8]) -> bool {
    Layers::of(value).hold(needle)
        || basic(value).is_some_and(|credentials| memmem::find(&credentials, needle).is_some())
}
