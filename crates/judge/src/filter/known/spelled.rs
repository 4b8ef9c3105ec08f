//! Reads what invisible characters spell (tags, variation selectors) between the visible ones.
//! It never waits for more of them: after a long stretch without any, what they spelled is read to its end.

use super::lane::Hit;
use super::level::{Level, relabel};
use super::place::{Mapped, Span, Staged};
use super::{Core, Form};

/// Most bytes of input between two characters of one hidden text.
const BETWEEN_BYTES_MAX: u64 = 256;

#[derive(Default)]
pub(super) struct Spelled {
    staged: Staged,
    spelled: Option<Box<Level>>,
    /// Input offset of the end of the last hidden character, while more may follow.
    last_end: Option<u64>,
    started: u64,
}

impl Spelled {
    pub(super) fn reset(&mut self) {
        self.staged.clear();
        self.last_end = None;
        if let Some(spelled) = &mut self.spelled {
            spelled.reset();
        }
    }

    pub(super) fn push(&mut self, byte: u8, span: Span) {
        self.staged.push(byte, span);
    }

    /// Reads what was pushed, when the text has been read up to `end`.
    pub(super) fn read(&mut self, core: &Core, depth: u8, end: u64, hits: &mut Vec<Hit>) {
        if self.staged.len() > 0 {
            let staged = std::mem::take(&mut self.staged);
            let mut from = 0;
            for at in 0..staged.len() {
                let start = staged.spans[at].start();
                if self.is_over(start) {
                    self.spell(core, depth, &staged, from, at, hits);
                    self.finish(core, hits);
                    from = at;
                }
                if self.last_end.is_none() {
                    self.started = start;
                }
                self.last_end = Some(staged.spans[at].end());
            }
            self.spell(core, depth, &staged, from, staged.len(), hits);
            self.staged = staged;
            self.staged.clear();
        }
        if self.is_over(end) {
            self.finish(core, hits);
        }
    }

    fn is_over(&self, start: u64) -> bool {
        self.last_end.is_some_and(|last_end| start.saturating_sub(last_end) > BETWEEN_BYTES_MAX)
    }

    fn spell(
        &mut self,
        core: &Core,
        depth: u8,
        staged: &Staged,
        from: usize,
        to: usize,
        hits: &mut Vec<Hit>,
    ) {
        let spelled = self.spelled.get_or_insert_with(|| Level::boxed(depth + 1, false));
        let known = hits.len();
        spelled.feed(core, &staged.bytes[from..to], Mapped(&staged.spans[from..to]), hits);
        relabel(&mut hits[known..], Form::Hidden);
    }

    pub(super) fn finish(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        if self.last_end.is_some()
            && let Some(spelled) = &mut self.spelled
        {
            let known = hits.len();
            spelled.finish(core, hits);
            relabel(&mut hits[known..], Form::Hidden);
        }
        self.reset();
    }

    /// Where the hidden text began that may go on.
    pub(super) fn begins(&self) -> u64 {
        if self.last_end.is_some() { self.started } else { u64::MAX }
    }

    pub(super) fn hold(&self, core: &Core, end: u64) -> u64 {
        match &self.spelled {
            Some(spelled) if self.last_end.is_some() => spelled.hold(core, end),
            _ => u64::MAX,
        }
    }
}
