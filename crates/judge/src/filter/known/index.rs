//! The set of byte patterns a lane looks for: a bitmap over eight-byte windows, then an exact table, then the patterns.
//! It never sees a stream; it answers for one window at a time.

use super::Form;

/// Every pattern begins with a window of this many bytes.
pub(super) const WINDOW_BYTES: usize = 8;
const BIT_CASE: u64 = 0x2020_2020_2020_2020;
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// One text to be found in a lane.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) bytes: Box<[u8]>,
    folded: Box<[u8]>,
    pub(super) value: u32,
    pub(super) form: Form,
    /// Whether letter case may differ (hexadecimal, base32).
    pub(super) any_case: bool,
    /// Most bytes that may lie between two bytes of the pattern.
    pub(super) gap_bytes_max: u16,
}

impl Pattern {
    pub(super) fn new(bytes: Vec<u8>, value: u32, form: Form, any_case: bool, gap_bytes_max: u16) -> Self {
        let folded = bytes.iter().map(|b| fold(*b)).collect();
        Self { bytes: bytes.into(), folded, value, form, any_case, gap_bytes_max }
    }
    pub(super) fn is(&self, text: &[u8]) -> bool {
        if self.any_case { self.bytes.eq_ignore_ascii_case(text) } else { *self.bytes == *text }
    }
}

#[inline(always)]
pub(super) fn fold(byte: u8) -> u8 {
    byte | 0x20
}

/// Patterns that share their first window, and how far they agreed with a text so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) low: u32,
    pub(super) high: u32,
    pub(super) depth: u32,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    patterns: Vec<Pattern>,
    bitmap: Vec<u64>,
    shift: u32,
    table: Vec<(u64, u32, u32)>,
    starts: Vec<u64>,
    gap_bytes_max: u64,
}

impl Index {
    /// Patterns shorter than a window are left out: they would be found everywhere.
    pub(super) fn compile(mut patterns: Vec<Pattern>) -> Self {
        patterns.retain(|p| p.bytes.len() >= WINDOW_BYTES);
        patterns.sort_by(|a, b| {
            a.folded
                .cmp(&b.folded)
                .then_with(|| (a.value, a.form, &a.bytes).cmp(&(b.value, b.form, &b.bytes)))
        });
        patterns.dedup_by(|b, a| a.bytes == b.bytes && a.any_case == b.any_case);
        if patterns.is_empty() {
            return Self::default();
        }
        let bits = (patterns.len() * 64).next_power_of_two().clamp(1 << 15, 1 << 22);
        let slots = (patterns.len() * 2).next_power_of_two().max(16);
        let mut index = Self {
            bitmap: vec![0; bits / 64],
            shift: 64 - bits.trailing_zeros(),
            table: vec![(0, 0, 0); slots],
            starts: vec![0; (WINDOW_BYTES - 1) << 10],
            gap_bytes_max: patterns.iter().map(|p| u64::from(p.gap_bytes_max)).max().unwrap_or(0),
            patterns,
        };
        let mut low = 0;
        while low < index.patterns.len() {
            let key = window(&index.patterns[low].folded);
            let mut high = low + 1;
            while high < index.patterns.len() && window(&index.patterns[high].folded) == key {
                high += 1;
            }
            index.insert(key, low as u32, high as u32);
            low = high;
        }
        index
    }

    fn insert(&mut self, key: u64, low: u32, high: u32) {
        let hash = key.wrapping_mul(SPREAD);
        let bit = hash >> self.shift;
        self.bitmap[(bit / 64) as usize] |= 1 << (bit % 64);
        let mut slot = self.slot(hash);
        while self.table[slot].2 != 0 {
            slot = (slot + 1) & (self.table.len() - 1);
        }
        self.table[slot] = (key, low, high);
        for length in 1..WINDOW_BYTES {
            let (word, bit) = self.start(key, length);
            self.starts[word] |= bit;
        }
    }

    fn slot(&self, hash: u64) -> usize {
        (hash as usize >> 7) & (self.table.len() - 1)
    }

    fn start(&self, folded: u64, length: usize) -> (usize, u64) {
        let kept = folded & (u64::MAX >> (64 - 8 * length as u32));
        let bit = (kept.wrapping_mul(SPREAD) >> 48) as usize;
        (((length - 1) << 10) + bit / 64, 1 << (bit % 64))
    }

    /// Whether some pattern may begin with these bytes, fewer than a window.
    pub(super) fn may_start(&self, tail: &[u8]) -> bool {
        if tail.is_empty() || self.starts.is_empty() {
            return false;
        }
        let folded = tail.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(fold(*byte)));
        let (word, bit) = self.start(folded, tail.len());
        self.starts[word] & bit != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
    pub(super) fn gap_bytes_max(&self) -> u64 {
        self.gap_bytes_max
    }
    pub(super) fn shortest(&self) -> usize {
        self.patterns.iter().map(|p| p.bytes.len()).min().unwrap_or(usize::MAX)
    }
    pub(super) fn longest(&self) -> usize {
        self.patterns.iter().map(|p| p.bytes.len()).max().unwrap_or(0)
    }
    pub(super) fn pattern(&self, at: u32) -> &Pattern {
        &self.patterns[at as usize]
    }
    pub(super) fn bytes_used(&self) -> usize {
        let patterns: usize = self.patterns.iter().map(|p| 2 * p.bytes.len() + size_of::<Pattern>()).sum();
        patterns + self.bitmap.len() * 8 + self.table.len() * 16 + self.starts.len() * 8
    }

    /// Calls `found` with the position of every window of `bytes` whose fingerprint a pattern shares.
    #[inline]
    pub(super) fn windows(&self, bytes: &[u8], mut found: impl FnMut(usize, Range)) {
        if self.bitmap.is_empty() {
            return;
        }
        let (bitmap, shift) = (&self.bitmap[..], self.shift);
        let mask = bitmap.len() - 1;
        for (at, eight) in bytes.windows(WINDOW_BYTES).enumerate() {
            let key = window(eight);
            let hash = key.wrapping_mul(SPREAD);
            let bit = hash >> shift;
            if bitmap[(bit / 64) as usize & mask] >> (bit % 64) & 1 != 0
                && let Some(range) = self.exact(key, hash)
            {
                found(at, range);
            }
        }
    }

    #[cold]
    fn exact(&self, key: u64, hash: u64) -> Option<Range> {
        let mut slot = self.slot(hash);
        loop {
            let (held, low, high) = self.table[slot];
            if high == 0 {
                return None;
            }
            if held == key {
                return Some(Range { low, high, depth: WINDOW_BYTES as u32 });
            }
            slot = (slot + 1) & (self.table.len() - 1);
        }
    }

    /// Keeps the patterns whose next byte is this one.
    pub(super) fn narrow(&self, range: &mut Range, byte: u8) {
        let (byte, depth) = (fold(byte), range.depth as usize);
        let held = &self.patterns[range.low as usize..range.high as usize];
        let low = held.partition_point(|p| p.folded.get(depth).is_none_or(|b| *b < byte));
        let high = held.partition_point(|p| p.folded.get(depth).is_none_or(|b| *b <= byte));
        range.high = range.low + high as u32;
        range.low += low as u32;
        range.depth += 1;
    }
}

#[inline(always)]
fn window(bytes: &[u8]) -> u64 {
    let mut eight = [0; WINDOW_BYTES];
    eight.copy_from_slice(&bytes[..WINDOW_BYTES]);
    u64::from_le_bytes(eight) | BIT_CASE
}
