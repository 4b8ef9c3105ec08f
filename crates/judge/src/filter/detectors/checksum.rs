//! Check sums that some tokens carry in themselves. They raise confidence; a token whose sum is wrong is still hidden.

/// CRC-32 (ISO-HDLC), as zlib has it.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Whether `sum` is the CRC-32 of `body` in base 62 (digits, then capitals, then small letters), padded with zeros.
pub(super) fn crc32_base62(body: &[u8], sum: &[u8]) -> bool {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        b'A'..=b'Z' => Some(u64::from(byte - b'A') + 10),
        b'a'..=b'z' => Some(u64::from(byte - b'a') + 36),
        _ => None,
    };
    let said = sum.iter().try_fold(0u64, |said, byte| said.checked_mul(62)?.checked_add(digit(*byte)?));
    said == Some(u64::from(crc32(body)))
}

/// Whether a bech32 text (BIP 173) ends in its own check sum; in one case.
pub(super) fn bech32(text: &[u8]) -> bool {
    const DIGITS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const SPREAD: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let text = text.to_ascii_lowercase();
    let Some(at) = text.iter().rposition(|byte| *byte == b'1') else { return false };
    let (name, data) = (&text[..at], &text[at + 1..]);
    let step = |sum: u32, value: u32| {
        let top = sum >> 25;
        let sum = (sum & 0x1ff_ffff) << 5 ^ value;
        (0..5).fold(sum, |sum, bit| if top >> bit & 1 == 1 { sum ^ SPREAD[bit] } else { sum })
    };
    let high = name.iter().fold(1, |sum, byte| step(sum, u32::from(byte >> 5)));
    let low = name.iter().fold(step(high, 0), |sum, byte| step(sum, u32::from(byte & 31)));
    let sum = data.iter().try_fold(low, |sum, byte| {
        let value = DIGITS.iter().position(|digit| digit == byte)?;
        Some(step(sum, value as u32))
    });
    sum == Some(1)
}

/// The bytes that base64 of either alphabet says, as far as it says any; at most `bytes_max`.
pub(super) fn base64(text: &[u8], bytes_max: usize) -> Vec<u8> {
    let (mut out, mut rest, mut bits) = (Vec::new(), 0u32, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        rest = rest << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((rest >> bits) as u8);
            if out.len() >= bytes_max {
                break;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values_hold_and_a_changed_byte_does_not() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        // 0xcbf43926 in base 62, counted by another program.
        assert!(crc32_base62(b"123456789", b"3jZRME") && !crc32_base62(b"123456780", b"3jZRME"));
        assert!(bech32(b"a12uel5l") && bech32(b"A12UEL5L"));
        assert!(!bech32(b"a12uel5m") && !bech32(b"nothing"));
        assert_eq!(base64(b"dXNlcjpwYXNz", 99), b"user:pass");
        assert_eq!(base64(b"dXNlcjpwYXNz", 4), b"user");
    }
}
