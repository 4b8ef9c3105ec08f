//! International bank account numbers (ISO 13616): the country's length and the remainder of 97.

use super::super::detect::{Detector, Found, Run};
use super::super::finding::Confidence;
use super::super::text::{BLANK, Text, UPPER, WORD};
use super::Personal;

/// How many characters an account number has, by country.
const LENGTHS: [(&[u8; 2], usize); 77] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"XK", 20),
];

pub(super) static IBAN: Detector = Detector {
    digits: Some(Run { digits: (2, 20), asks: |run| run.before.is_ascii_uppercase() }),
    matches: &[
        "to «DE89370400440532013000» now",
        "«GB82 WEST 1234 5698 7654 32»",
        "iban=«FR1420041010050500013M02606»;",
        "«NL91 ABNA 0417 1643 00», please",
    ],
    near_misses: &[
        "DE89370400440532013001",
        "XDE89370400440532013000",
        "DE8937040044053201300",
        "GB82 WEST 1234",
        "AB12 CDEF 3456",
    ],
    ..Detector::personal("iban", Personal::IBAN, find)
};

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let Some(start) = at.checked_sub(2) else { return };
    let country = text.slice(start, at);
    let Some((_, length)) = LENGTHS.iter().find(|(code, _)| **code == *country) else { return };
    if !text.begins(start) {
        return;
    }
    let (mut place, mut chars) = (start, Vec::with_capacity(34));
    loop {
        let end = text.run(place, &UPPER, length - chars.len());
        chars.extend_from_slice(text.slice(place, end));
        place = end;
        if chars.len() == *length || end == text.run(end, &BLANK, 1) || !chars.len().is_multiple_of(4) {
            break;
        }
        place = end + 1;
    }
    if chars.len() != *length || text.within(place, &WORD) {
        return;
    }
    chars.rotate_left(4);
    let rest = chars.iter().fold(0u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    if rest == 1 {
        found.add(start, place, Confidence::Certain);
    }
}
