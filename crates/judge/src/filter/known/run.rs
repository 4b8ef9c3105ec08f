//! Follows runs of one alphabet (base64, hexadecimal, base32), decodes them at every alignment and reads what they say.
//! It never judges whether a run looks like an encoding: every run long enough is one.

use super::lane::Hit;
use super::level::{Level, relabel, scale};
use super::place::{At, Mapped, Near, Places, Span, Staged};
use super::{Core, Form};

const NOT: u8 = 0xff;
/// A run is kept whole up to here; a longer one is decoded as it comes.
const HEAD_CHARS_MAX: usize = 64;
/// Most bytes between two lines of one run: line end, indent, quote marks.
const BETWEEN_BYTES_MAX: u8 = 12;

/// How an alphabet is written.
pub(super) struct Alphabet {
    digit: [u8; 256],
    bits: u32,
    /// Shortest run worth decoding, in characters, when values are long; shorter ones are known as patterns.
    run_chars_min: usize,
    alignments: u8,
    /// Line from which a run may be wrapped, in characters.
    wrap_chars_min: Option<u32>,
    /// Most bytes between two characters when the run is read from a lane.
    gap_bytes_max: u64,
    form: Form,
}

const fn digits(ranges: &[(u8, u8, u8)]) -> [u8; 256] {
    let mut table = [NOT; 256];
    let mut at = 0;
    while at < ranges.len() {
        let (first, last, value) = ranges[at];
        let mut byte = first;
        while byte <= last {
            table[byte as usize] = value + (byte - first);
            byte += 1;
        }
        at += 1;
    }
    table
}

impl Alphabet {
    /// A value of eight bytes takes eleven characters of base64; the longer the shortest value, the fewer runs can hold one.
    fn chars_min(&self, core: &Core) -> usize {
        (core.shortest_bytes * 8).div_ceil(self.bits as usize).min(self.run_chars_min)
    }
}

pub(super) static BASE64: Alphabet = Alphabet {
    digit: digits(&[
        (b'A', b'Z', 0),
        (b'a', b'z', 26),
        (b'0', b'9', 52),
        (b'+', b'+', 62),
        (b'-', b'-', 62),
        (b'/', b'/', 63),
        (b'_', b'_', 63),
    ]),
    bits: 6,
    run_chars_min: 16,
    alignments: 4,
    wrap_chars_min: Some(40),
    gap_bytes_max: u64::MAX,
    form: Form::Base64,
};
pub(super) static HEX: Alphabet = Alphabet {
    digit: digits(&[(b'0', b'9', 0), (b'a', b'f', 10), (b'A', b'F', 10)]),
    bits: 4,
    run_chars_min: 24,
    alignments: 2,
    wrap_chars_min: None,
    gap_bytes_max: 4,
    form: Form::Hex,
};
pub(super) static BASE32: Alphabet = Alphabet {
    digit: digits(&[(b'A', b'Z', 0), (b'2', b'7', 26)]),
    bits: 5,
    run_chars_min: 24,
    alignments: 1,
    wrap_chars_min: None,
    gap_bytes_max: 4,
    form: Form::Base32,
};

/// One alphabet followed through one text.
pub(super) struct Run {
    alphabet: &'static Alphabet,
    head: Staged,
    line_chars: u32,
    between_bytes: u8,
    last: Span,
    /// Where the last character ends in the text that is read.
    last_own: u64,
    /// Where the run that is pending began.
    started: u64,
    active: bool,
    decoders: Vec<Decoder>,
    open: Option<Hit>,
}

struct Decoder {
    skip: u8,
    rest: u32,
    bits: u32,
    begun: Option<Span>,
    staged: Staged,
    says: Box<Level>,
}

impl Run {
    pub(super) fn new(alphabet: &'static Alphabet) -> Self {
        Self {
            alphabet,
            head: Staged::default(),
            line_chars: 0,
            between_bytes: 0,
            last: Span::default(),
            last_own: 0,
            started: 0,
            active: false,
            decoders: Vec::new(),
            open: None,
        }
    }

    pub(super) fn reset(&mut self) {
        self.head.clear();
        self.line_chars = 0;
        self.between_bytes = 0;
        self.active = false;
        self.open = None;
    }

    pub(super) fn feed<P: Places>(&mut self, core: &Core, depth: u8, near: Near<'_, P>, hits: &mut Vec<Hit>) {
        let Near { bytes, places, own } = near;
        let digit = &self.alphabet.digit;
        let chars_min = self.alphabet.chars_min(core);
        let probe = chars_min - 1;
        let mut at = 0;
        while at < bytes.len() {
            if !self.active && self.head.len() == 0 && at + probe < bytes.len() {
                // Nothing is pending, so a run must reach from before here to `probe`: look there first.
                if let Some(miss) = (at..=at + probe).rev().find(|i| digit[usize::from(bytes[*i])] == NOT) {
                    at = miss + 1;
                    continue;
                }
                let most = (at + HEAD_CHARS_MAX).min(bytes.len());
                let end = (at + chars_min..most).find(|i| digit[usize::from(bytes[*i])] == NOT);
                if let Some(end) = end
                    && self.alphabet.gap_bytes_max == u64::MAX
                    && !(matches!(bytes[end], b'\r' | b'\n') && self.wraps_after((end - at) as u32))
                {
                    self.short(core, depth, &bytes[at..end], places.from(at), hits);
                    at = end + 1;
                    continue;
                }
            }
            let value = digit[usize::from(bytes[at])];
            if value == NOT {
                self.outside(core, depth, bytes[at], hits);
            } else {
                let own = own.get(at).copied().unwrap_or_default();
                self.inside(core, depth, bytes[at], (places.span(at), own), hits);
            }
            at += 1;
        }
        self.read(core, hits);
    }

    fn inside(&mut self, core: &Core, depth: u8, byte: u8, (span, own): (Span, Span), hits: &mut Vec<Hit>) {
        let pending = self.active || self.head.len() > 0;
        if pending && self.is_over(depth, At { input: span.start(), own: own.start() }) {
            self.end(core, depth, hits);
        }
        if !self.active && self.head.len() == 0 {
            self.started = span.start();
        }
        self.last_own = own.end();
        if self.between_bytes > 0 {
            self.between_bytes = 0;
            self.line_chars = 0;
        }
        self.line_chars += 1;
        self.last = span;
        if self.active {
            let value = self.alphabet.digit[usize::from(byte)];
            let bits = self.alphabet.bits;
            self.decoders.iter_mut().for_each(|decoder| decoder.push(value, bits, span));
            return;
        }
        self.head.push(byte, span);
        if self.head.len() >= HEAD_CHARS_MAX {
            self.begin(depth);
        }
    }

    fn wraps_after(&self, line_chars: u32) -> bool {
        self.alphabet.wrap_chars_min.is_some_and(|min| line_chars >= min)
    }

    fn outside(&mut self, core: &Core, depth: u8, byte: u8, hits: &mut Vec<Hit>) {
        let wraps = self.wraps_after(self.line_chars)
            && self.between_bytes < BETWEEN_BYTES_MAX
            && (matches!(byte, b'\r' | b'\n')
                || (self.between_bytes > 0 && matches!(byte, b' ' | b'\t' | b'>')));
        if wraps {
            self.between_bytes += 1;
        } else {
            self.end(core, depth, hits);
        }
    }

    /// Reads a run that ended before it was long: most say nothing at any alignment, which their bytes show at once.
    fn short<P: Places>(&mut self, core: &Core, depth: u8, chars: &[u8], places: P, hits: &mut Vec<Hit>) {
        let (width, digit) = (self.alphabet.bits, &self.alphabet.digit);
        let mut last = None;
        for skip in 0..usize::from(self.alphabet.alignments) {
            let mut said = [0; HEAD_CHARS_MAX];
            let (mut rest, mut bits, mut length) = (0u32, 0, 0);
            for char in &chars[skip..] {
                rest = rest << width | u32::from(digit[usize::from(*char)]);
                bits += width;
                if bits >= 8 {
                    bits -= 8;
                    said[length] = (rest >> bits) as u8;
                    length += 1;
                }
            }
            if core.may_say(&said[..length], skip == 0) {
                self.ready(depth);
                let decoder = &mut self.decoders[skip];
                decoder.reset(skip);
                for (at, char) in chars.iter().enumerate() {
                    decoder.push(digit[usize::from(*char)], width, places.span(at));
                }
                let from = hits.len();
                decoder.says.feed_mapped(core, &decoder.staged, hits);
                decoder.staged.clear();
                decoder.says.finish(core, hits);
                last = last.or(Some(from));
            }
        }
        if let Some(from) = last {
            self.last = places.span(chars.len() - 1);
            self.found(from, hits);
            self.open = None;
        }
    }

    fn ready(&mut self, depth: u8) {
        if self.decoders.is_empty() {
            self.decoders.extend((0..self.alphabet.alignments).map(|_| Decoder {
                skip: 0,
                rest: 0,
                bits: 0,
                begun: None,
                staged: Staged::default(),
                says: Level::boxed(depth + 1, true),
            }));
        }
    }

    fn begin(&mut self, depth: u8) {
        self.active = true;
        let bits = self.alphabet.bits;
        self.ready(depth);
        for (skip, decoder) in self.decoders.iter_mut().enumerate() {
            decoder.reset(skip);
            for (byte, span) in self.head.bytes.iter().zip(&self.head.spans) {
                decoder.push(self.alphabet.digit[usize::from(*byte)], bits, *span);
            }
        }
        self.head.clear();
    }

    fn read(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        if !self.active {
            return;
        }
        let from = hits.len();
        for decoder in &mut self.decoders {
            decoder.says.feed_mapped(core, &decoder.staged, hits);
            decoder.staged.clear();
        }
        self.found(from, hits);
    }

    fn end(&mut self, core: &Core, depth: u8, hits: &mut Vec<Hit>) {
        if !self.active && self.head.len() >= self.alphabet.chars_min(core) {
            let head = std::mem::take(&mut self.head);
            self.short(core, depth, &head.bytes, Mapped(&head.spans), hits);
            self.head = head;
        }
        if self.active {
            self.read(core, hits);
            let from = hits.len();
            self.decoders.iter_mut().for_each(|decoder| decoder.says.finish(core, hits));
            self.found(from, hits);
        }
        self.reset();
    }

    /// Names the hits of this run, and carries an open one on to where the run has got.
    fn found(&mut self, from: usize, hits: &mut Vec<Hit>) {
        relabel(&mut hits[from..], self.alphabet.form);
        let first = hits[from..].iter().filter(|hit| hit.open).min_by_key(|hit| hit.start).copied();
        if self.open.is_none_or(|open| first.is_some_and(|first| first.start < open.start)) {
            self.open = first.or(self.open);
        }
        if let Some(open) = &mut self.open {
            hits.push(Hit { end: self.last.end(), ..*open });
            // One byte of overlap, so that the next stretch joins this one.
            open.start = open.start.max(self.last.end().saturating_sub(1));
        }
    }

    /// Ends a run that nothing can go on any more, when the text has been read up to `end`: what it says is known now, and
    /// must not come after what stands behind it was passed on.
    pub(super) fn lapse(&mut self, core: &Core, depth: u8, end: At, hits: &mut Vec<Hit>) {
        if (self.active || self.head.len() > 0) && self.is_over(depth, end) {
            self.end(core, depth, hits);
        }
    }

    /// Whether the next character, when it begins there, begins another run.
    fn is_over(&self, depth: u8, start: At) -> bool {
        let most = self.alphabet.gap_bytes_max;
        start.input.saturating_sub(self.last.end()) > most.saturating_mul(scale(depth))
            || (depth > 0 && start.own.saturating_sub(self.last_own) > most)
    }

    pub(super) fn finish(&mut self, core: &Core, depth: u8, hits: &mut Vec<Hit>) {
        self.end(core, depth, hits);
    }

    /// Where the run began that may go on when the text has been read up to `end`.
    pub(super) fn begins(&self, depth: u8, end: At) -> u64 {
        let pending = self.active || self.head.len() > 0;
        if pending && !self.is_over(depth, end) { self.started } else { u64::MAX }
    }

    pub(super) fn hold(&self, core: &Core, depth: u8, end: At) -> u64 {
        let pending = self.active || self.head.len() > 0;
        if !pending || self.is_over(depth, end) {
            return u64::MAX;
        }
        if !self.active {
            return self.head.spans.first().map_or(u64::MAX, |span| span.start());
        }
        let decoders = self.decoders.iter().map(|decoder| {
            let begun = decoder.begun.map_or(u64::MAX, |span| span.start());
            begun.min(decoder.says.hold(core, end.input))
        });
        decoders.min().unwrap_or(u64::MAX).min(self.open.map_or(u64::MAX, |open| open.start))
    }
}

impl Decoder {
    fn reset(&mut self, skip: usize) {
        self.skip = skip as u8;
        self.bits = 0;
        self.begun = None;
        self.staged.clear();
        self.says.reset();
    }

    #[inline]
    fn push(&mut self, value: u8, width: u32, span: Span) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let begun = *self.begun.get_or_insert(span);
        self.rest = self.rest << width | u32::from(value);
        self.bits += width;
        if self.bits >= 8 {
            self.bits -= 8;
            self.staged.push((self.rest >> self.bits) as u8, begun.until(span));
            self.begun = (self.bits > 0).then_some(span);
        }
    }
}
