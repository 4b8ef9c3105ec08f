//! One compacted view of a text (only its letters and digits, say), searched for patterns as it grows.
//! It never decides what to do with a hit and never keeps more than the bytes a match may still need.

use super::Form;
use super::index::{Index, Range, WINDOW_BYTES};
use super::place::{At, Mapped, Near, Places, Span};

/// Searched bytes kept before they are moved out.
const KEPT_BYTES_MAX: usize = 4096;

/// A pattern found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) value: u32,
    pub(super) form: Form,
    /// Found in something compressed: the rest of its run must go too.
    pub(super) open: bool,
}

#[derive(Clone, Copy)]
struct Begun {
    at: usize,
    range: Range,
}

#[derive(Default)]
pub(super) struct Lane {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Where the bytes stand in the view's own text, where that is not the input itself.
    own: Vec<Span>,
    filled: usize,
    searched: usize,
    begun: Vec<Begun>,
}

impl Lane {
    pub(super) fn reset(&mut self) {
        self.filled = 0;
        self.searched = 0;
        self.begun.clear();
    }

    /// Appends those of `bytes`, which begin at `own` in their text, that `keep` names. Every byte is written, and the end
    /// advances only past a kept one: no branch.
    #[inline]
    pub(super) fn fill<P: Places>(&mut self, bytes: &[u8], places: P, own: u64, keep: &[u8; 256]) {
        self.reserve(bytes.len(), !P::FLAT);
        if !P::FLAT {
            let mut end = self.filled;
            for (at, byte) in (own..).zip(bytes) {
                self.own[end] = Span::new(at, at + 1);
                end += usize::from(keep[usize::from(*byte)]);
            }
        }
        let (out, spans) = (&mut self.bytes[self.filled..], &mut self.spans[self.filled..]);
        let (out, spans) = (&mut out[..bytes.len()], &mut spans[..bytes.len()]);
        let mut end = 0;
        for (i, byte) in bytes.iter().enumerate() {
            out[end] = *byte;
            spans[end] = places.span(i);
            end += usize::from(keep[usize::from(*byte)]);
        }
        self.filled += end;
    }

    pub(super) fn push(&mut self, byte: u8, span: Span, own: Option<Span>) {
        self.reserve(1, own.is_some());
        self.bytes[self.filled] = byte;
        self.spans[self.filled] = span;
        if let Some(own) = own {
            self.own[self.filled] = own;
        }
        self.filled += 1;
    }

    fn reserve(&mut self, more: usize, has_own: bool) {
        // One more than asked: the branchless fill writes before it knows whether to keep.
        let want = self.filled + more + 1;
        if self.bytes.len() < want {
            self.bytes.resize(want + 64, 0);
            self.spans.resize(want + 64, Span::default());
        }
        if has_own && self.own.len() < want {
            self.own.resize(want + 64, Span::default());
        }
    }

    /// What has been appended since the last [`Lane::search`], for readers of runs.
    pub(super) fn fresh(&self, from: usize) -> Near<'_, Mapped<'_>> {
        let own = if self.own.is_empty() { &[] } else { &self.own[from..self.filled] };
        let places = Mapped(&self.spans[from..self.filled]);
        Near { bytes: &self.bytes[from..self.filled], places, own }
    }
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Searches what was appended; `scale` is how many input bytes one byte of the view's own text may stand for.
    pub(super) fn search(&mut self, index: &Index, scale: u64, hits: &mut Vec<Hit>) {
        let mut begun = std::mem::take(&mut self.begun);
        begun.retain_mut(|b| self.advance(index, scale, b, hits));
        if self.filled >= self.searched + WINDOW_BYTES {
            index.windows(&self.bytes[self.searched..self.filled], |at, range| {
                let mut new = Begun { at: self.searched + at, range };
                if self.advance(index, scale, &mut new, hits) {
                    begun.push(new);
                }
            });
            self.searched = self.filled + 1 - WINDOW_BYTES;
        }
        self.begun = begun;
        self.drop_searched();
    }

    /// Follows one candidate as far as there is text. Returns whether it may still become a match.
    fn advance(&self, index: &Index, scale: u64, begun: &mut Begun, hits: &mut Vec<Hit>) -> bool {
        let Begun { at, range } = begun;
        loop {
            while range.low < range.high {
                let pattern = index.pattern(range.low);
                if pattern.bytes.len() != range.depth as usize {
                    break;
                }
                let end = *at + pattern.bytes.len();
                if end > self.filled {
                    break;
                }
                let gap_bytes_max = u64::from(pattern.gap_bytes_max);
                if pattern.is(&self.bytes[*at..end])
                    && (*at + 1..end).all(|next| self.is_near(next, gap_bytes_max, scale))
                {
                    let span = self.spans[*at].until(self.spans[end - 1]);
                    hits.push(Hit {
                        start: span.start(),
                        end: self.spans[end - 1].end(),
                        value: pattern.value,
                        form: pattern.form,
                        open: false,
                    });
                }
                range.low += 1;
            }
            if range.low >= range.high {
                return false;
            }
            let next = *at + range.depth as usize;
            if next >= self.filled {
                return true;
            }
            if !self.is_near(next, index.gap_bytes_max(), scale) {
                return false;
            }
            index.narrow(range, self.bytes[next]);
        }
    }

    /// Whether the byte at `at` is near enough to the one before it: in the view's own text, and in the input as far as what is
    /// written there can be longer. Text that is read again at another depth is as near to itself as it was.
    fn is_near(&self, at: usize, gap_bytes_max: u64, scale: u64) -> bool {
        let gap = |spans: &[Span]| spans[at].start().saturating_sub(spans[at - 1].end());
        gap(&self.spans) <= gap_bytes_max * scale && (self.own.is_empty() || gap(&self.own) <= gap_bytes_max)
    }

    fn drop_searched(&mut self) {
        let kept = self.begun.first().map_or(self.searched, |b| b.at.min(self.searched));
        if kept > KEPT_BYTES_MAX {
            self.bytes.copy_within(kept..self.filled, 0);
            self.spans.copy_within(kept..self.filled, 0);
            if !self.own.is_empty() {
                self.own.copy_within(kept..self.filled, 0);
            }
            self.filled -= kept;
            self.searched -= kept;
            self.begun.iter_mut().for_each(|b| b.at -= kept);
        }
    }

    /// Where the earliest match that could still be completed begins, given how far the text was read.
    pub(super) fn hold(&self, index: &Index, scale: u64, end: At) -> u64 {
        let mut hold = u64::MAX;
        let Some(last) = self.filled.checked_sub(1) else { return hold };
        let most = index.gap_bytes_max();
        let is_far = !self.own.is_empty() && end.own.saturating_sub(self.own[last].end()) > most;
        if is_far || end.input.saturating_sub(self.spans[last].end()) > most * scale {
            return hold;
        }
        if let Some(first) = self.begun.first() {
            hold = self.spans[first.at].start();
        }
        for at in (self.searched.max((self.filled + 1).saturating_sub(WINDOW_BYTES))..self.filled).rev() {
            if at < last && !self.is_near(at + 1, most, scale) {
                break;
            }
            // Every beginning of it must be one: what was given up once is given up for good.
            let tail = &self.bytes[at..self.filled];
            if (1..=tail.len()).all(|length| index.may_start(&tail[..length])) {
                hold = hold.min(self.spans[at].start());
            }
        }
        hold
    }
}
