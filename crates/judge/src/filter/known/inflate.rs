//! Unpacks gzip, zlib and raw deflate as they are decoded, within a bound on size and ratio.
//! It never trusts a length it reads, and what is over a bound is a finding, not a pass.

use super::lane::Hit;
use super::level::{Level, relabel};
use super::packed::{PROBE_BYTES, header, may_be_deflate, seek};
use super::place::{Span, Staged};
use super::{Core, Form, OVER_LIMIT};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT};

/// Unpacked bytes allowed at once and per packed byte: text packs 3 to 20 times, a bomb 1000 times.
const UNPACKED_BYTES_FREE: u64 = 64 * 1024;
const UNPACKED_RATIO_MAX: u64 = 100;
/// Packed bytes unpacked at a time; a finding begins where its piece does.
const PIECE_BYTES: usize = 32;
const WINDOW_BYTES: usize = 32 * 1024;
const HEADER_BYTES_MAX: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning, where even a stream without a header may stand.
    Start,
    /// Further on, where only a header gives packed data away.
    Seek,
    Header,
    Body,
    Over,
}

pub(super) struct Inflate {
    state: State,
    piece: Staged,
    engine: Option<Box<Engine>>,
    end: usize,
    packed_bytes: u64,
    unpacked_bytes: u64,
    staged: Staged,
    says: Option<Box<Level>>,
}

struct Engine {
    core: DecompressorOxide,
    window: [u8; WINDOW_BYTES],
}

impl Inflate {
    pub(super) fn boxed() -> Box<Self> {
        Box::new(Self {
            state: State::Start,
            piece: Staged::default(),
            engine: None,
            end: 0,
            packed_bytes: 0,
            unpacked_bytes: 0,
            staged: Staged::default(),
            says: None,
        })
    }

    pub(super) fn reset(&mut self) {
        self.state = State::Start;
        self.piece.clear();
    }

    /// Begins to unpack what `piece` now holds.
    fn begin(&mut self) {
        self.state = State::Body;
        let engine = self.engine.get_or_insert_with(|| {
            Box::new(Engine { core: DecompressorOxide::new(), window: [0; WINDOW_BYTES] })
        });
        engine.core.init();
        self.end = 0;
        self.packed_bytes = 0;
        self.unpacked_bytes = 0;
        self.staged.clear();
        if let Some(says) = &mut self.says {
            says.reset();
        }
    }

    pub(super) fn feed(&mut self, core: &Core, depth: u8, text: &[u8], spans: &[Span], hits: &mut Vec<Hit>) {
        let mut at = 0;
        while at < text.len() {
            if self.state == State::Over {
                return;
            }
            if self.state == State::Seek && self.piece.len() == 0 {
                match seek(&text[at..]) {
                    Some(found) => at += found,
                    None => return,
                }
            }
            self.piece.push(text[at], spans[at]);
            at += 1;
            match self.state {
                State::Start if self.piece.len() >= PROBE_BYTES => self.started(),
                State::Seek | State::Header => self.read_header(),
                State::Body if self.piece.len() >= PIECE_BYTES => self.unpack(core, depth, hits),
                _ => {}
            }
        }
    }

    fn started(&mut self) {
        match header(&self.piece.bytes) {
            None => self.state = State::Header,
            Some(0) if may_be_deflate(&self.piece.bytes) => self.begin(),
            Some(0) => {
                let from = seek(&self.piece.bytes).unwrap_or(self.piece.len());
                self.piece.drop_first(from);
                self.state = State::Seek;
                if self.piece.len() > 0 {
                    self.read_header();
                }
            }
            Some(length) => {
                self.piece.drop_first(length);
                self.begin();
            }
        }
    }

    fn read_header(&mut self) {
        match header(&self.piece.bytes) {
            None if self.piece.len() < HEADER_BYTES_MAX => self.state = State::Header,
            None | Some(0) => {
                self.piece.drop_first(1);
                let from = seek(&self.piece.bytes).unwrap_or(self.piece.len());
                self.piece.drop_first(from);
                self.state = State::Seek;
                if self.piece.len() > 0 {
                    self.read_header();
                }
            }
            Some(length) => {
                self.piece.drop_first(length);
                self.begin();
            }
        }
    }

    fn unpack(&mut self, core: &Core, depth: u8, hits: &mut Vec<Hit>) {
        let Some(engine) = &mut self.engine else { return };
        let (Some(first), Some(last)) = (self.piece.spans.first(), self.piece.spans.last()) else { return };
        let span = first.until(*last);
        self.packed_bytes += self.piece.len() as u64;
        let mut used = 0;
        loop {
            let (status, read, written) = decompress(
                &mut engine.core,
                &self.piece.bytes[used..],
                &mut engine.window,
                self.end,
                TINFL_FLAG_HAS_MORE_INPUT,
            );
            used += read;
            let out = &engine.window[self.end..self.end + written];
            self.staged.bytes.extend_from_slice(out);
            self.staged.spans.resize(self.staged.bytes.len(), span);
            self.end = (self.end + written) % WINDOW_BYTES;
            self.unpacked_bytes += written as u64;
            let from = hits.len();
            let says = self.says.get_or_insert_with(|| Level::boxed(depth + 1, false));
            says.feed_mapped(core, &self.staged, hits);
            self.staged.clear();
            compressed(&mut hits[from..]);
            if self.unpacked_bytes > UNPACKED_BYTES_FREE + UNPACKED_RATIO_MAX * self.packed_bytes {
                hits.push(Hit {
                    start: span.start(),
                    end: span.end(),
                    value: OVER_LIMIT,
                    form: Form::OverLimit,
                    open: true,
                });
                self.state = State::Over;
                break;
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => break,
                _ => {
                    self.state = State::Seek;
                    break;
                }
            }
        }
        self.piece.clear();
        if self.state != State::Body {
            self.finish_says(core, hits);
        }
    }

    fn finish_says(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        if let Some(says) = &mut self.says {
            let from = hits.len();
            says.finish(core, hits);
            compressed(&mut hits[from..]);
        }
    }

    pub(super) fn finish(&mut self, core: &Core, depth: u8, hits: &mut Vec<Hit>) {
        if self.state == State::Start {
            self.started();
        }
        if self.state == State::Body {
            self.unpack(core, depth, hits);
            if self.state == State::Body {
                self.finish_says(core, hits);
            }
        }
        self.state = State::Over;
    }

    pub(super) fn hold(&self, core: &Core, end: u64) -> u64 {
        let piece = self.piece.spans.first().map_or(u64::MAX, |span| span.start());
        match &self.says {
            Some(says) if self.state == State::Body => piece.min(says.hold(core, end)),
            _ => piece,
        }
    }
}

fn compressed(hits: &mut [Hit]) {
    relabel(hits, Form::Compressed);
    hits.iter_mut().for_each(|hit| hit.open = true);
}
