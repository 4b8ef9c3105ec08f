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

/// Undoes the escapes of JSON (RFC 8259 §7) once, and tells how much of `text` that was: an escape that its end cuts off is
/// left. What is no escape stays as it is.
pub(crate) fn unescape(text: &[u8]) -> (Zeroizing<Vec<u8>>, usize) {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let (plain, length) = match (byte, rest.get(1)) {
            (b'\\', None) => return (out, at),
            (b'\\', Some(b'u')) => match unit(rest) {
                Unit::Cut => return (out, at),
                Unit::None => (None, 1),
                Unit::Whole(high @ 0xd800..=0xdbff) => match unit(&rest[6..]) {
                    Unit::Cut => return (out, at),
                    Unit::Whole(low @ 0xdc00..=0xdfff) => {
                        let scalar = 0x1_0000 + ((u32::from(high) - 0xd800) << 10) + u32::from(low) - 0xdc00;
                        (char::from_u32(scalar), 12)
                    }
                    _ => (Some(char::REPLACEMENT_CHARACTER), 6),
                },
                Unit::Whole(scalar) => {
                    (Some(char::from_u32(scalar.into()).unwrap_or(char::REPLACEMENT_CHARACTER)), 6)
                }
            },
            (b'\\', Some(escaped)) => match b"\"\\/bfnrt".iter().position(|known| known == escaped) {
                Some(known) => (Some(char::from(b"\"\\/\x08\x0c\n\r\t"[known])), 2),
                None => (None, 1),
            },
            _ => (None, 1),
        };
        match plain {
            Some(plain) => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.push(byte),
        }
        at += length;
    }
    (out, at)
}

/// One `\u` and its four digits.
enum Unit {
    Whole(u16),
    /// The text ends within it.
    Cut,
    None,
}

fn unit(text: &[u8]) -> Unit {
    let head = text.iter().zip(b"\\u").take_while(|(said, meant)| said == meant).count();
    if head < 2 {
        return if head == text.len() { Unit::Cut } else { Unit::None };
    }
    let digits = text[2..]
        .iter()
        .take(4)
        .map_while(nibble)
        .fold((0, 0), |(value, count), digit| (value << 4 | u16::from(digit), count + 1));
    match digits {
        (value, 4) => Unit::Whole(value),
        (_, count) if text.len() == 2 + count => Unit::Cut,
        _ => Unit::None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        for (text, plain, left) in [
            ("plain", "plain", 0),
            (r#"\u0067\u0048p\/\"\\\n"#, "gHp/\"\\\n", 0),
            (r"\uD83D\uDE00", "\u{1f600}", 0),
            (r"\uD83Dx", "\u{fffd}x", 0),
            (r"\uDE00", "\u{fffd}", 0),
            (r"\x41 \u00g1 %41", r"\x41 \u00g1 %41", 0),
            ("a\\", "a", 1),
            (r"a\u", "a", 2),
            (r"a\u004", "a", 5),
            (r"a\uD83D", "a", 6),
            (r"a\uD83D\uDE0", "a", 11),
        ] {
            let (out, read) = unescape(text.as_bytes());
            assert_eq!((String::from_utf8_lossy(&out).as_ref(), text.len() - read), (plain, left), "{text}");
        }
    }
}
