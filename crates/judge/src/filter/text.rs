//! The part of a stream that a detector may look at: a bounded stretch around the place where it was called.
//! A byte that has not come yet is never guessed at: asking for one means the detector is asked again when it has come.

use std::cell::Cell;

/// How far before its anchor a detector sees, in bytes.
pub(super) const BEHIND_BYTES: usize = 256;
/// How far beyond its anchor a detector sees, in bytes: the longest private key block with room to spare.
pub(super) const AHEAD_BYTES: usize = 20 * 1024;

/// A set of byte values.
pub(super) struct Bytes([bool; 256]);

impl Bytes {
    /// The set written like a bracket expression: `a-z0-9_`; a hyphen at either end stands for itself.
    pub(super) const fn of(written: &str) -> Self {
        let written = written.as_bytes();
        let mut set = [false; 256];
        let mut at = 0;
        while at < written.len() {
            if at + 2 < written.len() && written[at + 1] == b'-' {
                let mut byte = written[at];
                while byte <= written[at + 2] {
                    set[byte as usize] = true;
                    byte += 1;
                }
                at += 3;
            } else {
                set[written[at] as usize] = true;
                at += 1;
            }
        }
        Self(set)
    }

    #[inline]
    pub(super) const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

pub(super) static DIGIT: Bytes = Bytes::of("0-9");
pub(super) static UPPER: Bytes = Bytes::of("A-Z0-9");
pub(super) static LOWER: Bytes = Bytes::of("a-z0-9");
pub(super) static ALNUM: Bytes = Bytes::of("A-Za-z0-9");
pub(super) static WORD: Bytes = Bytes::of("A-Za-z0-9_");
pub(super) static WORDS: Bytes = Bytes::of("A-Za-z0-9_-");
pub(super) static HEX: Bytes = Bytes::of("0-9a-f");
pub(super) static HEXES: Bytes = Bytes::of("0-9a-fA-F");
pub(super) static BASE32: Bytes = Bytes::of("A-Z2-7");
pub(super) static BASE64PAD: Bytes = Bytes::of("A-Za-z0-9+/=");
pub(super) static WORDSPAD: Bytes = Bytes::of("A-Za-z0-9_.=-");
pub(super) static BLANK: Bytes = Bytes::of(" \t");

/// A stretch of the stream; places are indexes into what is in memory of it.
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    floor: usize,
    ceiling: usize,
    ended: bool,
    asked: Cell<bool>,
    /// What was looked at.
    low: Cell<usize>,
    high: Cell<usize>,
}

impl<'a> Text<'a> {
    /// What may be seen from `anchor`; `ended` when nothing follows `bytes`.
    #[inline]
    pub(super) fn around(bytes: &'a [u8], anchor: usize, ended: bool) -> Self {
        Self {
            bytes,
            floor: anchor.saturating_sub(BEHIND_BYTES),
            ceiling: anchor.saturating_add(AHEAD_BYTES),
            ended,
            asked: Cell::new(false),
            low: Cell::new(anchor),
            high: Cell::new(anchor),
        }
    }

    /// The stretch that was looked at so far.
    pub(super) fn seen(&self) -> (usize, usize) {
        (self.low.get(), self.high.get())
    }

    #[inline]
    fn sees(&self, from: usize, to: usize) {
        self.low.set(self.low.get().min(from));
        self.high.set(self.high.get().max(to));
    }

    /// Whether a byte was wanted that has not come yet, so that whatever was concluded may be wrong.
    #[inline]
    pub(super) fn asked(&self) -> bool {
        self.asked.get()
    }

    /// The byte at a place, if there is one and it may be seen.
    #[inline]
    pub(super) fn at(&self, place: usize) -> Option<u8> {
        if place < self.floor || place >= self.ceiling {
            return None;
        }
        self.sees(place, place + 1);
        let byte = self.bytes.get(place).copied();
        if byte.is_none() && !self.ended {
            self.asked.set(true);
        }
        byte
    }

    /// The byte before a place.
    #[inline]
    pub(super) fn before(&self, place: usize) -> Option<u8> {
        self.at(place.checked_sub(1)?)
    }

    /// Whether the byte at a place is in `set`.
    #[inline]
    pub(super) fn within(&self, place: usize, set: &Bytes) -> bool {
        self.at(place).is_some_and(|byte| set.has(byte))
    }

    /// The end of the run of `set` that begins at `from`, at most `chars_max` long.
    pub(super) fn run(&self, from: usize, set: &Bytes, chars_max: usize) -> usize {
        let limit = from.saturating_add(chars_max).min(self.ceiling);
        let seen = limit.min(self.bytes.len());
        let end = (from..seen).find(|at| !set.has(self.bytes[*at])).unwrap_or(seen.max(from));
        if end == seen && end < limit && !self.ended {
            self.asked.set(true);
        }
        self.sees(from, end + 1);
        end
    }

    /// The start of the run of `set` that ends before `to`, at most `chars_max` long.
    pub(super) fn run_back(&self, to: usize, set: &Bytes, chars_max: usize) -> usize {
        let limit = to.saturating_sub(chars_max).max(self.floor).min(to);
        let start = (limit..to.min(self.bytes.len()))
            .rev()
            .find(|at| !set.has(self.bytes[*at]))
            .map_or(limit, |at| at + 1);
        self.sees(start.saturating_sub(1), to);
        start
    }

    /// Whether the text at a place is `wanted`.
    pub(super) fn is(&self, place: usize, wanted: &str) -> bool {
        wanted.bytes().enumerate().all(|(at, byte)| self.at(place + at) == Some(byte))
    }

    /// The same in any case; `wanted` in lowercase.
    pub(super) fn is_folded(&self, place: usize, wanted: &str) -> bool {
        wanted
            .bytes()
            .enumerate()
            .all(|(at, byte)| self.at(place + at).is_some_and(|found| found.to_ascii_lowercase() == byte))
    }

    /// The first place from `from`, less than `chars_max` away, where `wanted` stands.
    pub(super) fn seek(&self, from: usize, wanted: &str, chars_max: usize) -> Option<usize> {
        let limit = from.saturating_add(chars_max).min(self.ceiling);
        let seen = limit.min(self.bytes.len());
        let found = memchr::memmem::find(self.bytes.get(from..seen)?, wanted.as_bytes());
        if found.is_none() && seen < limit && !self.ended {
            self.asked.set(true);
        }
        self.sees(from, found.map_or(seen, |at| from + at + wanted.len()));
        found.map(|at| from + at)
    }

    /// The bytes of a stretch that has been seen.
    #[inline]
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        let (start, end) = (start.max(self.floor), end.min(self.ceiling).min(self.bytes.len()));
        self.sees(start, end);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The next bytes, so many or as many as there are.
    pub(super) fn ahead(&self, start: usize, chars: usize) -> &'a [u8] {
        let end = start.saturating_add(chars).min(self.ceiling);
        if end > self.bytes.len() && !self.ended {
            self.asked.set(true);
        }
        self.slice(start, end)
    }

    /// Whether a word may begin here: what precedes is no letter, digit or underscore, or is the end of an escape.
    pub(super) fn begins(&self, place: usize) -> bool {
        let Some(byte) = self.before(place) else { return true };
        if !WORD.has(byte) {
            return true;
        }
        let back = |n: usize| place.checked_sub(n).and_then(|at| self.at(at));
        if matches!(byte, b'n' | b't' | b'r' | b'b' | b'f' | b'v' | b'0') && back(2) == Some(b'\\') {
            return true;
        }
        if HEXES.has(byte) && back(2).is_some_and(|b| HEXES.has(b)) {
            let (third, fourth) = (back(3), back(4));
            if third == Some(b'%') || (third == Some(b'x') && fourth == Some(b'\\')) {
                return true;
            }
            let four = [third, fourth].iter().all(|b| b.is_some_and(|b| HEXES.has(b)));
            if four && back(5) == Some(b'u') && back(6) == Some(b'\\') {
                return true;
            }
        }
        // The end of a colour: ESC [ 1 ; 32 m
        byte == b'm' && {
            let from = self.run_back(place - 1, &COLOUR, 12);
            from < place - 1 && self.before(from) == Some(0x1b)
        }
    }
}

static COLOUR: Bytes = Bytes::of("0-9;[");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_come_is_asked_for_and_what_has_is_not() {
        let text = |ended| Text::around(b"abc-12", 0, ended);
        let open = text(false);
        assert_eq!((open.run(0, &ALNUM, 9), open.asked()), (3, false));
        assert_eq!((open.run(4, &ALNUM, 2), open.asked()), (6, false));
        assert_eq!((open.run(4, &ALNUM, 9), open.asked()), (6, true));
        let closed = text(true);
        assert_eq!((closed.run(4, &ALNUM, 9), closed.at(6), closed.asked()), (6, None, false));
        assert_eq!(closed.run_back(3, &ALNUM, 9), 0);
        assert_eq!(closed.run_back(3, &ALNUM, 2), 1);
    }

    #[test]
    fn a_word_begins_after_an_escape_and_not_within_a_word() {
        let table = [
            ("=|a", true),
            ("x|a", false),
            ("_|a", false),
            ("-|a", true),
            ("\\n|a", true),
            ("on|a", false),
            ("%3D|a", true),
            ("x3D|a", false),
            ("\\x3d|a", true),
            ("\\u003d|a", true),
            ("\u{1b}[1;32m|a", true),
            ("[32m|a", false),
            ("|a", true),
        ];
        for (written, want) in table {
            let at = written.find('|').unwrap();
            let text = written.replace('|', "");
            assert_eq!(Text::around(text.as_bytes(), at, true).begins(at), want, "{written}");
        }
    }
}
