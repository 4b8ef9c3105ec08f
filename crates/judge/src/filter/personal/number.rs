//! A number as people write it: groups of digits with one sign between them. It never says what the number is.

use super::super::text::{DIGIT, Text, WORD};

/// Longest number, in digits.
const DIGITS: usize = 20;
/// Most groups.
const GROUPS: usize = 8;

/// Digits, and how they were grouped.
pub(super) struct Number {
    /// Values 0 to 9.
    pub(super) digits: Vec<u8>,
    /// How many digits each group has.
    pub(super) groups: Vec<usize>,
    /// What stood between them.
    pub(super) between: Vec<u8>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Number {
    /// The number that begins at `start`, when a number may begin there: not within a word or behind another number.
    pub(super) fn at(text: &Text<'_>, start: usize) -> Option<Self> {
        if continues(text, start, b".-/") {
            return None;
        }
        let mut number =
            Self { digits: Vec::new(), groups: Vec::new(), between: Vec::new(), start, end: start };
        let mut at = start;
        loop {
            let end = text.run(at, &DIGIT, DIGITS + 1);
            number.digits.extend(text.slice(at, end).iter().map(|b| b - b'0'));
            number.groups.push(end - at);
            number.end = end;
            if number.digits.len() > DIGITS || number.groups.len() > GROUPS {
                return None;
            }
            let Some(sign @ (b' ' | b'-' | b'.' | b'/')) = text.at(end) else { break };
            if !text.within(end + 1, &DIGIT) {
                break;
            }
            number.between.push(sign);
            at = end + 1;
        }
        Some(number)
    }

    /// Whether no word goes on where it ends.
    pub(super) fn ends(&self, text: &Text<'_>) -> bool {
        !text.within(self.end, &WORD)
    }

    /// Whether it is in these groups with one and the same sign between them, among `signs`.
    pub(super) fn grouped(&self, groups: &[usize], signs: &[u8]) -> bool {
        self.groups == groups
            && self.between.first().is_some_and(|first| signs.contains(first))
            && self.between.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// Whether it is all in one.
    pub(super) fn bare(&self, digits: usize) -> bool {
        self.groups == [digits]
    }
}

/// Whether what is here goes on from a word, or from a number with one of `signs` between.
pub(super) fn continues(text: &Text<'_>, start: usize, signs: &[u8]) -> bool {
    let Some(before) = text.before(start) else { return false };
    if WORD.has(before) && !text.begins(start) {
        return true;
    }
    // A handle may stand for the number.
    let number = start >= 2 && (text.within(start - 2, &DIGIT) || (start >= 4 && text.is(start - 4, "-WB")));
    let thousands = before == b',' && text.run(start, &DIGIT, 4) == start + 3;
    number && (signs.contains(&before) || thousands)
}

/// Whether one of these words, in small letters, stands on the same line shortly before.
pub(super) fn announced(text: &Text<'_>, at: usize, words: &[&str]) -> bool {
    let before = text.slice(at.saturating_sub(48), at);
    let line = before.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    // What stands before a handle stood farther away, or nearer, before it was written there; and its kind is no announcement.
    let line = memchr::memmem::rfind(line, b"-WB").map_or(line, |at| &line[at + 2..]).to_ascii_lowercase();
    words.iter().any(|word| {
        memchr::memmem::find_iter(&line, word.as_bytes()).any(|found| {
            // A whole word, or the end of one in a name like `customer_phone`.
            let before = found.checked_sub(1).and_then(|at| line.get(at)).copied().unwrap_or(b' ');
            !before.is_ascii_alphabetic()
        })
    })
}

/// The check digit of Luhn holds.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let value = u32::from(*digit) * (1 + at as u32 % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The remainder of a decimal number.
pub(super) fn modulo(digits: &[u8], by: u64) -> u64 {
    digits.iter().fold(0, |rest, digit| (rest * 10 + u64::from(*digit)) % by)
}

/// The sum of each digit times its weight.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// Two digits as a number.
pub(super) fn two(digits: &[u8], at: usize) -> u32 {
    digits.get(at..at + 2).map_or(0, |pair| u32::from(pair[0]) * 10 + u32::from(pair[1]))
}

/// Whether these may be a month and a day.
pub(super) fn date(month: u32, day: u32) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}
