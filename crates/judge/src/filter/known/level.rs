//! One text and everything it may also be: compacted, unescaped, decoded, unpacked, each a text in its turn, to a fixed depth.
//! A level reads bytes once, in order, and never looks ahead, so how they were cut into chunks cannot matter.

use super::escape::{ESCAPE_BYTES_MAX, Escapes, History, Introducers, Text, Wake};
use super::inflate::Inflate;
use super::lane::{Hit, Lane};
use super::place::{At, Flat, Mapped, Near, Places, Span, Staged};
use super::run::{BASE32, BASE64, HEX, Run};
use super::scalar::{Utf8, drawn_like, hidden};
use super::spelled::Spelled;
use super::{Core, Form};

/// Decodings that are undone one inside the other; below the last, values are still found as patterns in any simple encoding.
pub(super) const DEPTH_MAX: u8 = 4;

pub(super) struct Level {
    depth: u8,
    /// Whether this text is the content of an encoded run, so that it may be packed.
    may_be_packed: bool,
    alnum: Lane,
    dense: Lane,
    exact: Lane,
    utf8: Utf8,
    history: History,
    /// How much of this text was read, in its own bytes.
    read: u64,
    deeper: Option<Deeper>,
}

/// The readings of a text that are texts themselves.
struct Deeper {
    escapes: Escapes,
    base64: Run,
    hex: Run,
    base32: Run,
    spelled: Spelled,
    packed: Option<Box<Inflate>>,
    packed_checked: bool,
}

/// How many bytes of input may lie between for one byte between two of a decoded text: four escapes, one inside the other.
/// It is the same at every depth, so that a text which is read again at another depth hangs together as it did.
pub(super) const INPUT_BYTES_PER_BYTE_MAX: u64 = 256;

pub(super) fn scale(depth: u8) -> u64 {
    if depth == 0 { 1 } else { INPUT_BYTES_PER_BYTE_MAX }
}

/// Gives hits of a text inside another the form of its wrapping.
pub(super) fn relabel(hits: &mut [Hit], form: Form) {
    for hit in hits {
        hit.form = match hit.form {
            Form::Raw | Form::Laced => form,
            Form::OverLimit => Form::OverLimit,
            Form::Compressed if form != Form::Escaped => Form::Compressed,
            held if held == form => held,
            _ => Form::Nested,
        };
    }
}

const fn kept(alnum: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte as usize] = (!alnum || (byte as u8).is_ascii_alphanumeric()) as u8;
        byte += 1;
    }
    table
}
pub(super) static ALNUM: [u8; 256] = kept(true);
pub(super) static DENSE: [u8; 256] = kept(false);
static EVERY: [u8; 256] = [1; 256];

impl Level {
    pub(super) fn boxed(depth: u8, may_be_packed: bool) -> Box<Self> {
        let deeper = (depth < DEPTH_MAX).then(|| Deeper {
            escapes: Escapes::default(),
            base64: Run::new(&BASE64),
            hex: Run::new(&HEX),
            base32: Run::new(&BASE32),
            spelled: Spelled::default(),
            packed: None,
            packed_checked: false,
        });
        Box::new(Self {
            depth,
            may_be_packed,
            alnum: Lane::default(),
            dense: Lane::default(),
            exact: Lane::default(),
            utf8: Utf8::default(),
            history: History::default(),
            read: 0,
            deeper,
        })
    }

    pub(super) fn reset(&mut self) {
        self.alnum.reset();
        self.dense.reset();
        self.exact.reset();
        self.utf8.reset();
        self.history.reset();
        self.read = 0;
        if let Some(deeper) = &mut self.deeper {
            deeper.escapes.reset();
            deeper.base64.reset();
            deeper.hex.reset();
            deeper.base32.reset();
            deeper.spelled.reset();
            if let Some(packed) = &mut deeper.packed {
                packed.reset();
            }
            deeper.packed_checked = false;
        }
    }

    pub(super) fn feed_mapped(&mut self, core: &Core, staged: &Staged, hits: &mut Vec<Hit>) {
        if self.may_be_packed
            && let Some(deeper) = &mut self.deeper
        {
            deeper.packed_checked = true;
            let packed = deeper.packed.get_or_insert_with(Inflate::boxed);
            packed.feed(core, self.depth, &staged.bytes, &staged.spans, hits);
        }
        self.feed(core, &staged.bytes, Mapped(&staged.spans), hits);
    }

    pub(super) fn feed_flat(&mut self, core: &Core, bytes: &[u8], start: u64, hits: &mut Vec<Hit>) {
        self.feed(core, bytes, Flat(start), hits);
    }

    pub(super) fn feed<P: Places>(&mut self, core: &Core, bytes: &[u8], places: P, hits: &mut Vec<Hit>) {
        if bytes.is_empty() {
            return;
        }
        let mut introducers = Introducers::default();
        let mut from = 0;
        loop {
            let to = match &mut self.deeper {
                Some(deeper) => {
                    let text = Text { bytes, places, history: &self.history };
                    deeper.escapes.feed(core, self.depth, &text, from, &mut introducers, hits)
                }
                None => bytes.len(),
            };
            if from < to {
                self.read_stretch(core, &bytes[from..to], places.from(from), hits);
            }
            if to == bytes.len() {
                break;
            }
            // Text from before an escape is about to be read again: what could not become a finding until here never will.
            let here = places.span(to).start();
            let wake =
                Wake { floor: self.hold(core, here).min(here), from: self.begins(core, here).min(here) };
            if let Some(deeper) = &mut self.deeper {
                deeper.escapes.wake(wake);
            }
            from = to;
        }
        if self.deeper.is_some() {
            self.history.extend(bytes, places, core.reach_bytes + 2 * ESCAPE_BYTES_MAX);
        }
    }

    fn read_stretch<P: Places>(&mut self, core: &Core, bytes: &[u8], places: P, hits: &mut Vec<Hit>) {
        let (depth, scale) = (self.depth, scale(self.depth));
        let from = self.alnum.filled();
        self.fill(core, bytes, places);
        self.read += bytes.len() as u64;
        if let Some(deeper) = &mut self.deeper {
            let end = At { input: places.span(bytes.len() - 1).end(), own: self.read };
            let end = self.utf8.reached(end);
            for run in [&mut deeper.hex, &mut deeper.base32] {
                run.feed(core, depth, self.alnum.fresh(from), hits);
                run.lapse(core, depth, end, hits);
            }
            deeper.base64.feed(core, depth, Near { bytes, places, own: &[] }, hits);
            deeper.spelled.read(core, depth, end.input, hits);
        }
        self.alnum.search(&core.alnum, scale, hits);
        self.dense.search(&core.dense, scale, hits);
        self.exact.search(&core.exact, scale, hits);
    }

    /// Fills the lanes: ASCII by the slice, other scalars as what they are drawn like.
    fn fill<P: Places>(&mut self, core: &Core, bytes: &[u8], places: P) {
        if !core.exact.is_empty() {
            self.exact.fill(bytes, places, self.read, &EVERY);
        }
        let mut at = 0;
        while at < bytes.len() {
            let ascii = ascii_bytes(&bytes[at..]);
            if ascii > 0 {
                self.utf8.reset();
                let own = self.read + at as u64;
                self.alnum.fill(&bytes[at..at + ascii], places.from(at), own, &ALNUM);
                if !core.dense.is_empty() {
                    self.dense.fill(&bytes[at..at + ascii], places.from(at), own, &DENSE);
                }
                at += ascii;
                continue;
            }
            if let Some((code, span)) = self.utf8.step(bytes[at], places.span(at)) {
                if let Some(byte) = hidden(code)
                    && let Some(deeper) = &mut self.deeper
                {
                    deeper.spelled.push(byte, span);
                }
                if let Some(byte) = drawn_like(code) {
                    let end = self.read + at as u64 + 1;
                    let width = char::from_u32(code).map_or(1, char::len_utf8) as u64;
                    let own = (!P::FLAT).then(|| Span::new(end.saturating_sub(width), end));
                    if byte.is_ascii_alphanumeric() {
                        self.alnum.push(byte, span, own);
                    }
                    if !core.dense.is_empty() {
                        self.dense.push(byte, span, own);
                    }
                }
            }
            at += 1;
        }
    }

    pub(super) fn finish(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        let depth = self.depth;
        let Some(deeper) = &mut self.deeper else { return };
        deeper.escapes.finish(core, hits);
        deeper.base64.finish(core, depth, hits);
        deeper.hex.finish(core, depth, hits);
        deeper.base32.finish(core, depth, hits);
        deeper.spelled.finish(core, hits);
        if deeper.packed_checked
            && let Some(packed) = &mut deeper.packed
        {
            packed.finish(core, depth, hits);
        }
    }

    /// Where the earliest of all that is under way began, whatever of it is decided, when the input has been read up to `end`.
    pub(super) fn begins(&self, core: &Core, end: u64) -> u64 {
        let scale = scale(self.depth);
        let reached = self.utf8.reached(At { input: end, own: self.read });
        let lanes = [(&self.alnum, &core.alnum), (&self.dense, &core.dense), (&self.exact, &core.exact)];
        let mut begins = if reached.input < end { reached.input } else { u64::MAX };
        for (lane, index) in lanes {
            begins = begins.min(lane.hold(index, scale, reached));
        }
        if let Some(deeper) = &self.deeper {
            begins = begins.min(deeper.escapes.begins(core, reached.input)).min(deeper.spelled.begins());
            for run in [&deeper.base64, &deeper.hex, &deeper.base32] {
                begins = begins.min(run.begins(self.depth, reached));
            }
        }
        begins
    }

    /// No hit that is still to come begins before this, when the input has been read up to `end`.
    pub(super) fn hold(&self, core: &Core, end: u64) -> u64 {
        let scale = scale(self.depth);
        let reached = self.utf8.reached(At { input: end, own: self.read });
        let lanes = [(&self.alnum, &core.alnum), (&self.dense, &core.dense), (&self.exact, &core.exact)];
        let mut hold = if reached.input < end { reached.input } else { u64::MAX };
        for (lane, index) in lanes {
            hold = hold.min(lane.hold(index, scale, reached));
        }
        if let Some(deeper) = &self.deeper {
            hold = hold.min(deeper.escapes.hold(core, reached.input));
            for run in [&deeper.base64, &deeper.hex, &deeper.base32] {
                hold = hold.min(run.hold(core, self.depth, reached));
            }
            hold = hold.min(deeper.spelled.hold(core, reached.input));
            if let Some(packed) = &deeper.packed
                && deeper.packed_checked
            {
                hold = hold.min(packed.hold(core, reached.input));
            }
        }
        hold
    }
}

impl Core {
    /// Whether decoded bytes could say a value: a cheap look that errs only towards yes.
    pub(super) fn may_say(&self, bytes: &[u8], at_start: bool) -> bool {
        if !self.dense.is_empty() || !self.exact.is_empty() {
            return true;
        }
        let chars: usize = bytes.iter().map(|b| usize::from(SAYING[usize::from(*b)])).sum();
        let enough = chars >= self.alnum_chars_min.min(bytes.len() + 1);
        enough || super::packed::seek(bytes).is_some() || (at_start && super::packed::may_be_deflate(bytes))
    }
}

/// Letters and digits, and bytes that may begin a scalar drawn like one.
static SAYING: [u8; 256] = {
    let mut table = ALNUM;
    let mut byte = 0xc2;
    while byte < 0xf5 {
        table[byte] = 1;
        byte += 1;
    }
    table
};

/// How many bytes from the start are ASCII.
fn ascii_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    for block in bytes.chunks_exact(32) {
        if !block.is_ascii() {
            break;
        }
        at += 32;
    }
    at + bytes[at..].iter().position(|b| *b >= 0x80).unwrap_or(bytes.len() - at)
}
