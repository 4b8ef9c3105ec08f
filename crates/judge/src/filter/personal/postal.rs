//! Postal addresses by their structure: a number, a street, and what usually follows. Places without a street are not looked for.

use super::super::detect::{Detector, Found, Run};
use super::super::finding::Confidence;
use super::super::text::{ALNUM, BLANK, Bytes, DIGIT, Text};
use super::Personal;

static LETTERS: Bytes = Bytes::of("A-Za-z.'-");
const STREETS: [&[u8]; 34] = [
    b"street",
    b"st",
    b"st.",
    b"avenue",
    b"ave",
    b"ave.",
    b"road",
    b"rd",
    b"rd.",
    b"boulevard",
    b"blvd",
    b"blvd.",
    b"lane",
    b"ln",
    b"ln.",
    b"drive",
    b"dr",
    b"dr.",
    b"court",
    b"ct",
    b"ct.",
    b"place",
    b"terrace",
    b"square",
    b"highway",
    b"hwy",
    b"parkway",
    b"pkwy",
    b"crescent",
    b"close",
    b"gardens",
    b"grove",
    b"way",
    b"trail",
];
/// Streets that are also everyday words: a town must follow.
const EVERYDAY: [&[u8]; 10] =
    [b"st", b"drive", b"court", b"place", b"square", b"close", b"gardens", b"grove", b"way", b"trail"];
const WAYS: [&str; 12] = [
    "rue ",
    "avenue ",
    "av. ",
    "boulevard ",
    "bd ",
    "place ",
    "chemin ",
    "all\u{e9}e ",
    "impasse ",
    "quai ",
    "calle ",
    "via ",
];
const SUFFIXES: [&str; 9] = ["straße", "strasse", "str.", "weg", "platz", "allee", "gasse", "straat", "laan"];

pub(super) static POSTAL: Detector = Detector {
    digits: Some(Run {
        digits: (1, 5),
        asks: |run| {
            (run.before == b' ' && b"e.gztn".contains(&run.earlier))
                || (run.begins()
                    && matches!(run.after, b' ' | b',')
                    && (run.beyond.is_ascii_alphabetic() || run.beyond == b' '))
                || (run.begins() && run.after.is_ascii_uppercase() && run.beyond == b' ')
        },
    }),
    matches: &[
        "lives at «742 Evergreen Terrace, Springfield, IL 62704» now",
        "«1600 Pennsylvania Ave NW, Washington, DC 20500»",
        "«221B Baker Street, London NW1 6XE»",
        "«10 Downing Street», London",
        "Sitz: «Hauptstraße 12, 10115 Berlin»",
        "«12 rue de la Paix, 75002 Paris»",
    ],
    near_misses: &[
        "5 min drive",
        "step 3 Create Place",
        "line 12 of street.rs",
        "rue 12 x",
        "version 3 Main",
        "404 Not Found",
        "the weg 12",
        "100 Continue",
    ],
    ..Detector::personal("postal-address", Personal::POSTAL, find)
};

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if !text.begins(at) || matches!(text.before(at), Some(b'.' | b'-' | b'/' | b':')) {
        return;
    }
    let number = text.run(at, &DIGIT, 5);
    let number = if text.within(number, &ALNUM) { number + 1 } else { number };
    if text.within(number, &ALNUM) {
        return;
    }
    if let Some((start, end)) =
        german(text, at, number).or_else(|| english(text, at, number)).or_else(|| french(text, at, number))
    {
        found.add(start, end, Confidence::Possible);
    }
}

/// `742 Evergreen Terrace, Springfield, IL 62704`
fn english(text: &Text<'_>, at: usize, number: usize) -> Option<(usize, usize)> {
    let mut place = number;
    for count in 0..5 {
        let word = text.run(place, &BLANK, 1);
        let end = text.run(word, &LETTERS, 24);
        if word == place || end == word || !text.at(word)?.is_ascii_uppercase() {
            return None;
        }
        let end = if text.at(end - 1) == Some(b'.') && count == 0 { end - 1 } else { end };
        let said = text.slice(word, end).to_ascii_lowercase();
        if count > 0 && STREETS.contains(&&said[..]) {
            let town = city(text, end);
            return if EVERYDAY.contains(&&said[..]) {
                Some((at, town?))
            } else {
                Some((at, town.unwrap_or(end)))
            };
        }
        place = end;
    }
    None
}

/// What follows a street: a quarter, a town, a state and a code, as far as they are there.
fn city(text: &Text<'_>, from: usize) -> Option<usize> {
    let mut place = from;
    for _ in 0..8 {
        let sign = if text.at(place) == Some(b',') { place + 1 } else { place };
        let word = text.run(sign, &BLANK, 1);
        if word == sign {
            return None;
        }
        if text.within(word, &DIGIT) {
            let end = text.run(word, &DIGIT, 6);
            return (end - word == 5 && !text.within(end, &ALNUM)).then_some(end);
        }
        let end = text.run(word, &ALNUM, 24);
        if end == word || !text.at(word)?.is_ascii_uppercase() {
            return None;
        }
        // London NW1 6XE
        let outward = text.slice(word, end);
        let inward = text.ahead(end, 4);
        if outward.len() <= 4
            && outward.iter().any(u8::is_ascii_digit)
            && matches!(inward, [b' ', d, a, b] if d.is_ascii_digit() && a.is_ascii_uppercase() && b.is_ascii_uppercase())
            && !text.within(end + 4, &ALNUM)
        {
            return Some(end + 4);
        }
        place = end;
    }
    None
}

/// `Hauptstraße 12, 10115 Berlin`
fn german(text: &Text<'_>, at: usize, number: usize) -> Option<(usize, usize)> {
    let last = at.checked_sub(2).and_then(|at| text.at(at))?;
    if text.before(at) != Some(b' ') || !b"e.gztn".contains(&last) {
        return None;
    }
    let before = text.slice(at.saturating_sub(60), at);
    let line = before.rsplit(|b| matches!(b, b'\n' | b',' | b';' | b':' | b'"' | b'\t')).next()?;
    let street = line.strip_suffix(b" ")?;
    let folded = String::from_utf8_lossy(street).to_lowercase();
    if !SUFFIXES.iter().any(|suffix| folded.ends_with(suffix)) {
        return None;
    }
    let word = street.iter().rposition(|b| *b == b' ').map_or(street, |blank| &street[blank + 1..]);
    if word.len() < 7 || !word.first()?.is_ascii_uppercase() {
        return None;
    }
    let start = at - 1 - word.len();
    let code = if text.at(number) == Some(b',') {
        text.run(number + 1, &BLANK, 1)
    } else {
        text.run(number, &BLANK, 1)
    };
    let end = text.run(code, &DIGIT, 6);
    let town = text.run(end, &BLANK, 1);
    let last = text.run(town, &LETTERS, 30);
    let whole = code > number && (4..=5).contains(&(end - code)) && town > end && last > town;
    Some((start, if whole { last } else { number }))
}

/// `12 rue de la Paix, 75002 Paris`
fn french(text: &Text<'_>, at: usize, number: usize) -> Option<(usize, usize)> {
    let sign = if text.at(number) == Some(b',') { number + 1 } else { number };
    let way = text.run(sign, &BLANK, 1);
    let written = text.ahead(way, 12).to_ascii_lowercase();
    let found = WAYS.iter().find(|word| written.starts_with(word.as_bytes()))?;
    let name = way + found.len();
    let comma = text.seek(name, ",", 48)?;
    let code = text.run(comma + 1, &BLANK, 1);
    let end = text.run(code, &DIGIT, 6);
    let town = text.run(end, &BLANK, 1);
    let last = text.run(town, &LETTERS, 30);
    (way > sign && end - code == 5 && last > town).then_some((at, last))
}
