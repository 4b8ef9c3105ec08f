//! Percent encoding, form bodies and hexadecimal, as the protocols around credentials write them. Nothing here looks at
//! what it encodes.

use zeroize::Zeroizing;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Percent-encodes everything but the unreserved characters of RFC 3986 and those in `keep`.
pub(crate) fn percent(bytes: &[u8], keep: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(bytes.len() * 3));
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(byte.into());
        } else {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)].into());
            out.push(HEX[usize::from(byte & 15)].into());
        }
    }
    out
}

/// Undoes percent encoding once; a `%` that begins no byte stays as it is.
pub(crate) fn unpercent(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1).and_then(nibble), text.get(at + 2).and_then(nibble)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

pub(crate) fn nibble(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn form(pairs: &[(&str, &[u8])]) -> Zeroizing<Vec<u8>> {
    let room = pairs.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(b'&');
        }
        out.extend_from_slice(percent(name.as_bytes(), b"").as_bytes());
        out.push(b'=');
        out.extend_from_slice(percent(value, b"").as_bytes());
    }
    out
}

/// Lowercase hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).fold(String::new(), |mut out, digit| {
        out.push(HEX[usize::from(digit)].to_ascii_lowercase().into());
        out
    })
}
