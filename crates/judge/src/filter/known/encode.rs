//! Writes bytes in the encodings values are looked for in.
//! Nothing here decodes.

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn base64(bytes: &[u8], url: bool) -> String {
    let last = if url { b"-_" } else { b"+/" };
    let alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
    digits(bytes, 6, &alphabet)
}

pub(super) fn base32(bytes: &[u8]) -> String {
    let alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'2'..=b'7').collect();
    digits(bytes, 5, &alphabet)
}

fn digits(bytes: &[u8], width: u32, alphabet: &[u8]) -> String {
    let (mut rest, mut bits, mut out) = (0u32, 0, String::new());
    let mask = (1 << width) - 1;
    for byte in bytes {
        rest = rest << 8 | u32::from(*byte);
        bits += 8;
        while bits >= width {
            bits -= width;
            out.push(char::from(alphabet[(rest >> bits & mask) as usize]));
        }
    }
    if bits > 0 {
        out.push(char::from(alphabet[(rest << (width - bits) & mask) as usize]));
    }
    out
}

/// Pads with `=` to a whole group.
pub(super) fn padded(mut text: String, group: usize) -> String {
    while !text.len().is_multiple_of(group) {
        text.push('=');
    }
    text
}
