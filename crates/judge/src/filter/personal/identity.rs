//! Numbers that a state gives to a person. Each has its form and, where it has them, its check digits; a form that other numbers
//! share counts only when a word before it says what it is.

use super::super::detect::{Detector, Found, Run};
use super::super::finding::Confidence;
use super::super::text::{ALNUM, Bytes, DIGIT, Text, WORD};
use super::Personal;
use super::number::{Number, announced, date, luhn, modulo, two, weighted};

static CAPITAL: Bytes = Bytes::of("A-Z");

/// One country's number that consists of digits.
struct Form {
    /// How it is usually grouped, and the signs between; grouped so, it needs no word before it.
    groups: &'static [&'static [usize]],
    signs: &'static [u8],
    /// How many digits it has when written in one.
    bare: usize,
    /// Words that announce it. Without any, its form and checks are enough.
    words: &'static [&'static str],
    /// Whether its form alone tells little, so that even grouped it must be announced.
    weak: bool,
    holds: fn(&[u8]) -> bool,
}

const FORMS: [Form; 15] = [
    // United States: social security number
    Form {
        groups: &[&[3, 2, 4]],
        signs: b"-",
        bare: 9,
        words: &["ssn", "social security"],
        weak: false,
        holds: us,
    },
    // Germany: tax identification
    Form {
        groups: &[&[2, 3, 3, 3]],
        signs: b" ",
        bare: 11,
        words: &["steuer", "idnr", "tin", "tax id"],
        weak: false,
        holds: de,
    },
    // France: social security
    Form {
        groups: &[&[1, 2, 2, 2, 3, 3, 2]],
        signs: b" ",
        bare: 15,
        words: &["nir", "insee", "securite sociale", "s\u{e9}curit\u{e9} sociale", "secu"],
        weak: false,
        holds: fr,
    },
    // Netherlands: citizen service number
    Form {
        groups: &[],
        signs: b"",
        bare: 9,
        words: &["bsn", "burgerservice", "sofi"],
        weak: true,
        holds: nl,
    },
    // Belgium: national register
    Form {
        groups: &[&[2, 2, 2, 3, 2]],
        signs: b".-",
        bare: 11,
        words: &["rijksregister", "registre national", "insz", "niss"],
        weak: false,
        holds: be,
    },
    // Poland: PESEL
    Form { groups: &[], signs: b"", bare: 11, words: &["pesel"], weak: true, holds: pl },
    // Sweden: personal number
    Form {
        groups: &[&[6, 4], &[8, 4]],
        signs: b"-",
        bare: 12,
        words: &["personnummer", "ssn"],
        weak: false,
        holds: se,
    },
    // Brazil: CPF
    Form { groups: &[&[3, 3, 3, 2]], signs: b".-", bare: 11, words: &["cpf"], weak: false, holds: br },
    // India: Aadhaar
    Form {
        groups: &[&[4, 4, 4]],
        signs: b" -",
        bare: 12,
        words: &["aadhaar", "aadhar", "uidai", "uid"],
        weak: true,
        holds: india,
    },
    // Canada: social insurance number
    Form {
        groups: &[&[3, 3, 3]],
        signs: b" -",
        bare: 9,
        words: &["sin", "social insurance"],
        weak: true,
        holds: luhn,
    },
    // Australia: tax file number
    Form { groups: &[&[3, 3, 3]], signs: b" ", bare: 9, words: &["tfn", "tax file"], weak: true, holds: au },
    // Switzerland: AHV
    Form { groups: &[&[3, 4, 4, 2]], signs: b".", bare: 13, words: &["ahv", "avs"], weak: false, holds: ch },
    // South Korea: resident registration
    Form { groups: &[&[6, 7]], signs: b"-", bare: 13, words: &["rrn", "resident"], weak: false, holds: kr },
    // Denmark: CPR
    Form {
        groups: &[&[6, 4]],
        signs: b"-",
        bare: 10,
        words: &["cpr"],
        weak: true,
        holds: |d| date(two(d, 2), two(d, 0)),
    },
    // United Kingdom: NHS number
    Form { groups: &[&[3, 3, 4]], signs: b" -", bare: 10, words: &["nhs"], weak: true, holds: nhs },
];

pub(super) static DIGITS: Detector = Detector {
    digits: Some(Run {
        digits: (1, 15),
        asks: |run| run.begins() && ((run.digits > 8 && run.ends()) || run.goes_on()),
    }),
    matches: &[
        "ssn: «536-90-4399»",
        "it is «536-90-4399».",
        "SSN «536904399»",
        "IdNr «86 095 742 719»",
        "steuer-id: «86095742719»",
        "n° «2 55 08 14 168 025 38»",
        "bsn «111222333»",
        "«85.07.30-033.28»",
        "pesel: «44051401359»",
        "«811218-9876»",
        "cpf «529.982.247-25»",
        "aadhaar «2341 2341 2346»",
        "sin «046 454 286»",
        "tfn «123 456 782»",
        "«756.9217.0769.85»",
        "nhs «943 476 5919»",
    ],
    near_misses: &[
        "000-90-4399",
        "666-90-4399",
        "536-00-4399",
        "986-90-4399",
        "86 095 742 718",
        "111222333",
        "44051401359",
        "811218-9875",
        "529.982.247-26",
        "2341 2341 2346",
        "85.07.30-033.29",
        "756.9217.0769.86",
        "using 046 454 286",
    ],
    ..Detector::personal("national-id", Personal::IDENTITY, digits)
};

fn digits(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let Some(number) = Number::at(text, at) else { return };
    if !(9..=15).contains(&number.digits.len()) || !number.ends(text) {
        return;
    }
    let holds = |form: &&Form| {
        let mixed = form.signs == b".-";
        let grouped = form.groups.iter().any(|groups| {
            number.grouped(groups, form.signs)
                || (mixed && number.groups == *groups && number.between.iter().all(|b| b".-".contains(b)))
        });
        let said = || announced(text, at, form.words);
        ((grouped && (!form.weak || said())) || (number.bare(form.bare) && said()))
            && (form.holds)(&number.digits)
    };
    if FORMS.iter().any(|form| holds(&form)) {
        found.add(number.start, number.end, Confidence::Certain);
    }
}

fn us(d: &[u8]) -> bool {
    let area = u32::from(d[0]) * 100 + two(d, 1);
    !matches!(area, 0 | 666 | 900..) && two(d, 3) != 0 && d[5..].iter().any(|digit| *digit != 0)
}

fn de(d: &[u8]) -> bool {
    let mut counts = [0; 10];
    d[..10].iter().for_each(|digit| counts[usize::from(*digit)] += 1);
    let repeated = counts.iter().filter(|count| **count > 1).count();
    // ISO 7064, modulo 11, 10
    let product = d[..10].iter().fold(10u32, |product, digit| {
        let sum = (u32::from(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    let check = (11 - product) % 10;
    d[0] != 0 && repeated == 1 && counts.iter().all(|count| *count <= 3) && u32::from(d[10]) == check
}

fn fr(d: &[u8]) -> bool {
    matches!(d[0], 1..=4 | 7 | 8)
        && matches!(two(d, 3), 1..=12 | 20..=42 | 50..)
        && 97 - modulo(&d[..13], 97) == u64::from(two(d, 13))
}

fn nl(d: &[u8]) -> bool {
    let sum = weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
    sum >= u32::from(d[8]) && (sum - u32::from(d[8])).is_multiple_of(11) && d.iter().any(|digit| *digit != 0)
}

fn be(d: &[u8]) -> bool {
    let check = u64::from(two(d, 9));
    let later: Vec<u8> = std::iter::once(2).chain(d[..9].iter().copied()).collect();
    two(d, 2) <= 12 && (97 - modulo(&d[..9], 97) == check || 97 - modulo(&later, 97) == check)
}

fn pl(d: &[u8]) -> bool {
    date(two(d, 2) % 20, two(d, 4)) && weighted(d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

fn se(d: &[u8]) -> bool {
    let short = &d[d.len() - 10..];
    date(two(short, 2), two(short, 4)) && luhn(short)
}

fn br(d: &[u8]) -> bool {
    let check = |n: usize| {
        let sum: u32 =
            d[..n].iter().enumerate().map(|(at, digit)| u32::from(*digit) * (n + 1 - at) as u32).sum();
        sum * 10 % 11 % 10 == u32::from(d[n])
    };
    d.iter().any(|digit| *digit != d[0]) && check(9) && check(10)
}

/// Verhoeff's check digit.
fn india(d: &[u8]) -> bool {
    const TURN: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let product = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let turned = |digit: u8, times: usize| (0..times % 8).fold(digit, |digit, _| TURN[usize::from(digit)]);
    d[0] > 1 && d.iter().rev().enumerate().fold(0, |sum, (at, digit)| product(sum, turned(*digit, at))) == 0
}

fn au(d: &[u8]) -> bool {
    weighted(d, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}

fn ch(d: &[u8]) -> bool {
    d[..3] == [7, 5, 6] && weighted(d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

fn kr(d: &[u8]) -> bool {
    let sum = weighted(&d[..12], &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    date(two(d, 2), two(d, 4)) && (11 - sum % 11) % 10 == u32::from(d[12])
}

fn nhs(d: &[u8]) -> bool {
    let check = 11 - weighted(&d[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    check % 11 == u32::from(d[9]) && check != 10
}

pub(super) static LETTERED: Detector = Detector {
    digits: Some(Run {
        digits: (2, 17),
        asks: |run| match run.digits {
            2 => run.before.is_ascii_uppercase() || (run.before == b' ' && run.goes_on()),
            6 => run.before.is_ascii_uppercase() || matches!(run.after, b'-' | b'+' | b'A'),
            7 => matches!(run.before, b'X' | b'Y' | b'Z'),
            8 => run.after.is_ascii_uppercase() || run.after == b'-',
            17 => run.after == b'X',
            _ => false,
        },
    }),
    matches: &[
        "nino «AB 12 34 56 C»",
        "«AB123456C»",
        "dni «12345678Z»",
        "nie: «X1234567L»",
        "cf «RSSMRA85M01H501Q»",
        "id «11010519491231002X»",
        "hetu «131052-308T»",
    ],
    near_misses: &[
        "BG123456C",
        "AB123456E",
        "12345678A",
        "X1234567M",
        "RSSMRA85M01H501X",
        "110105194912310021",
        "131052-308U",
        "DEADBEEF12345678",
        "0AB123456C",
    ],
    ..Detector::personal("national-id", Personal::IDENTITY, lettered)
};

fn lettered(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    let end = text.run(at, &DIGIT, 18);
    let span = match end - at {
        2 => insurance(text, at).or_else(|| fiscal(text, at)),
        6 => insurance(text, at).or_else(|| finnish(text, at)),
        7 | 8 => spanish(text, at, end),
        17 => chinese(text, at, end),
        _ => None,
    };
    if let Some((start, end)) = span
        && text.begins(start)
        && !text.within(end, &WORD)
    {
        found.add(start, end, Confidence::Certain);
    }
}

/// United Kingdom, national insurance: `AB 12 34 56 C`.
fn insurance(text: &Text<'_>, at: usize) -> Option<(usize, usize)> {
    let spaced = text.before(at) == Some(b' ');
    let start = at.checked_sub(if spaced { 3 } else { 2 })?;
    let letters = text.slice(start, start + 2);
    let [first, second] = letters else { return None };
    let barred: [&[u8]; 7] = [b"BG", b"GB", b"NK", b"KN", b"TN", b"NT", b"ZZ"];
    let allowed = |byte: &u8| byte.is_ascii_uppercase() && !b"DFIQUV".contains(byte);
    if !allowed(first) || !allowed(second) || *second == b'O' || barred.contains(&letters) {
        return None;
    }
    let mut place = at;
    for _ in 0..3 {
        if text.run(place, &DIGIT, 2) != place + 2 {
            return None;
        }
        place += 2;
        if spaced {
            if text.at(place) != Some(b' ') {
                return None;
            }
            place += 1;
        }
    }
    matches!(text.at(place), Some(b'A'..=b'D')).then_some((start, place + 1))
}

/// Spain: eight digits and a letter, or X, Y, Z, seven digits and a letter.
fn spanish(text: &Text<'_>, at: usize, end: usize) -> Option<(usize, usize)> {
    let digits: Vec<u8> = text.slice(at, end).iter().map(|b| b - b'0').collect();
    let (start, number) = match (digits.len(), text.before(at)) {
        (7, Some(letter @ b'X'..=b'Z')) => (at - 1, std::iter::once(letter - b'X').chain(digits).collect()),
        (8, _) => (at, digits),
        _ => return None,
    };
    let letter = if text.at(end) == Some(b'-') { end + 1 } else { end };
    let check = b"TRWAGMYFPDXBNJZSQVHLCKE"[modulo(&number, 23) as usize];
    (text.at(letter) == Some(check)).then_some((start, letter + 1))
}

/// Italy, fiscal code: six letters, year, month letter, day, place, check letter.
fn fiscal(text: &Text<'_>, at: usize) -> Option<(usize, usize)> {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let start = at.checked_sub(6)?;
    let end = text.run(start, &ALNUM, 17);
    let code = text.slice(start, end);
    let form = code.len() == 16
        && code.iter().enumerate().all(|(at, byte)| {
            if matches!(at, 6 | 7 | 9 | 10 | 12..=14) { byte.is_ascii_digit() } else { CAPITAL.has(*byte) }
        });
    if !form {
        return None;
    }
    let value = |byte: u8| u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
    let sum: u32 = code[..15]
        .iter()
        .enumerate()
        .map(|(at, byte)| if at % 2 == 0 { ODD[value(*byte) as usize] } else { value(*byte) })
        .sum();
    (u32::from(code[15] - b'A') == sum % 26).then_some((start, end))
}

/// China, resident identity: region, birth date, order, and the check of ISO 7064, modulo 11-2.
fn chinese(text: &Text<'_>, at: usize, end: usize) -> Option<(usize, usize)> {
    let digits: Vec<u8> = text.slice(at, end).iter().map(|b| b - b'0').collect();
    let sum = weighted(&digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let born = matches!(two(&digits, 6), 19 | 20) && date(two(&digits, 10), two(&digits, 12));
    (born && sum % 11 == 2 && text.at(end) == Some(b'X')).then_some((at, end + 1))
}

/// Finland: `131052-308T`.
fn finnish(text: &Text<'_>, at: usize) -> Option<(usize, usize)> {
    if !matches!(text.at(at + 6), Some(b'-' | b'+' | b'A')) || text.run(at + 7, &DIGIT, 4) != at + 10 {
        return None;
    }
    let digits: Vec<u8> =
        text.slice(at, at + 6).iter().chain(text.slice(at + 7, at + 10)).map(|b| b - b'0').collect();
    let check = b"0123456789ABCDEFHJKLMNPRSTUVWXY"[modulo(&digits, 31) as usize];
    (date(two(&digits, 2), two(&digits, 0)) && text.at(at + 10) == Some(check)).then_some((at, at + 11))
}
