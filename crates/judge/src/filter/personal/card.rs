//! Payment cards: the issuer's first digits, the length that issuer uses, and the check digit.

use super::super::detect::{Detector, Found, Run};
use super::super::finding::Confidence;
use super::super::text::Text;
use super::Personal;
use super::number::{Number, announced, luhn};

pub(super) static CARD: Detector = Detector {
    digits: Some(Run {
        digits: (4, 19),
        asks: |run| run.begins() && ((run.digits == 4 && run.goes_on()) || (run.digits > 12 && run.ends())),
    }),
    matches: &[
        "card «4111 1111 1111 1111» ok",
        "«5500-0055-5555-5559»",
        "pan=«378282246310005»",
        "«3782 822463 10005»,",
        "\"number\": \"«6011000990139424»\"",
        "«2223003122003222»",
    ],
    near_misses: &[
        "4111 1111 1111 1112",
        "4111-1111 1111-1111",
        "1700000000000000",
        "id 4111111111111111111111",
        "x4111111111111111",
        "0000 0000 0000 0000",
        "1.4111111111111111",
        "9999 9999 9999 9995",
    ],
    ..Detector::personal("card", Personal::CARD, find)
};

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let Some(number) = Number::at(text, at) else { return };
    let length = number.digits.len();
    let grouped = number.grouped(&[4, 4, 4, 4], b" -")
        || number.grouped(&[4, 6, 5], b" -")
        || number.grouped(&[4, 6, 4], b" -")
        || number.grouped(&[4, 4, 4, 4, 3], b" -");
    if !(grouped || number.bare(length))
        || !number.ends(text)
        || !issued(&number.digits)
        || !luhn(&number.digits)
    {
        return;
    }
    let named =
        || announced(text, at, &["card", "pan", "cc", "visa", "mastercard", "amex", "credit", "debit"]);
    let sure = if grouped || named() { Confidence::Certain } else { Confidence::Likely };
    found.add(number.start, number.end, sure);
}

/// Whether some issuer gives out numbers that begin so and are as long.
fn issued(digits: &[u8]) -> bool {
    if digits.len() < 13 || digits.iter().all(|digit| *digit == digits[0]) {
        return false;
    }
    let first = |n: usize| digits[..n].iter().fold(0u32, |value, digit| value * 10 + u32::from(*digit));
    let (two, three, four) = (first(2), first(3), first(4));
    match digits.len() {
        14 => matches!(three, 300..=305 | 309) || matches!(two, 36 | 38),
        15 => matches!(two, 34 | 37),
        13 => digits[0] == 4,
        16 => {
            digits[0] == 4
                || matches!(two, 51..=55 | 62 | 65 | 81)
                || matches!(three, 644..=649)
                || matches!(four, 2221..=2720 | 3528..=3589 | 6011)
                || matches!(two, 50 | 56..=58 | 60 | 63 | 67)
        }
        19 => matches!(two, 62 | 65) || digits[0] == 4,
        17 | 18 => two == 62,
        _ => false,
    }
}
