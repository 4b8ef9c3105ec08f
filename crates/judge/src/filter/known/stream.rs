//! Passes a stream on, with every finding replaced, as soon as nothing in what is passed on can still become one.
//! What comes out depends on the bytes that went in, never on how they were cut.

use super::lane::Hit;
use super::level::Level;
use super::{Form, OVER_LIMIT, Replace, Set, encode, mark};
use std::cmp::Reverse;
use std::sync::Arc;

/// Findings kept with their place; later ones are still replaced, and counted.
pub const FINDINGS_MAX: usize = 65_536;
/// Input read at a time, so that working memory does not grow with a chunk.
const BLOCK_BYTES: usize = 8192;

/// A value found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose value it is.
    pub handle: Arc<str>,
    /// How it was written.
    pub form: Form,
    /// First byte, as an offset in the input stream.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// A stream being filtered.
pub struct Stream {
    known: Arc<Set>,
    how: Replace,
    level: Box<Level>,
    raw: Vec<u8>,
    /// Input offset of the first byte of `raw`.
    raw_start: u64,
    /// Input offset up to which the output is decided.
    decided: u64,
    read: u64,
    fresh: Vec<Hit>,
    ripe: Vec<Hit>,
    /// End of the last replaced stretch.
    group_end: Option<u64>,
    findings: Vec<Finding>,
    found: u64,
    /// How many bytes were written, and what was replaced where, for a reader of the output that wants places in the input.
    written: u64,
    traced: Option<Vec<Replaced>>,
}

/// What was written where a value stood.
#[derive(Clone, Debug)]
pub(in crate::filter) struct Replaced {
    pub(in crate::filter) handle: Arc<str>,
    pub(in crate::filter) written_start: u64,
    pub(in crate::filter) written_end: u64,
    pub(in crate::filter) start: u64,
    pub(in crate::filter) end: u64,
}

impl Stream {
    pub(super) fn new(known: Arc<Set>, how: Replace) -> Self {
        Self {
            known,
            how,
            level: Level::boxed(0, false),
            raw: Vec::new(),
            raw_start: 0,
            decided: 0,
            read: 0,
            fresh: Vec::new(),
            ripe: Vec::new(),
            group_end: None,
            findings: Vec::new(),
            found: 0,
            written: 0,
            traced: None,
        }
    }

    /// From here on tells where in the output its replacements are, instead of keeping findings.
    pub(in crate::filter) fn trace(&mut self) {
        self.traced = Some(Vec::new());
    }

    /// What was replaced since this was last asked. The last one may still grow while nothing is written after it.
    pub(in crate::filter) fn take_traced(&mut self) -> Vec<Replaced> {
        let Some(traced) = &mut self.traced else { return Vec::new() };
        let open =
            traced.last().is_some_and(|last| last.written_end == self.written && self.group_end.is_some());
        let rest = if open { traced.split_off(traced.len() - 1) } else { Vec::new() };
        std::mem::replace(traced, rest)
    }

    /// Reads a chunk and appends to `out` all that can be decided.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.known.values.is_empty() {
            self.read += chunk.len() as u64;
            out.extend_from_slice(chunk);
            return;
        }
        for block in chunk.chunks(BLOCK_BYTES) {
            self.raw.extend_from_slice(block);
            self.level.feed_flat(&self.known.core, block, self.read, &mut self.fresh);
            self.read += block.len() as u64;
            let hold = self.level.hold(&self.known.core, self.read);
            self.settle(hold, false, out);
        }
    }

    /// Ends the text: what was held back is decided and appended to `out`. The stream may go on with another text.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.level.finish(&self.known.core, &mut self.fresh);
        self.settle(u64::MAX, true, out);
        self.level.reset();
        self.group_end = None;
    }

    /// What was found so far, in order; at most [`FINDINGS_MAX`].
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings there were.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// How many bytes are held back.
    pub fn held_bytes(&self) -> u64 {
        self.read - self.decided
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    fn settle(&mut self, hold: u64, last: bool, out: &mut Vec<u8>) {
        let (lead, trail) = (self.known.lead_bytes_max, self.known.trail_bytes_max);
        let mut limit = hold.min(self.read);
        limit -= self.lead_bytes(limit);
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.retain(|hit| {
            let ripe = last || hit.end + trail <= self.read;
            if ripe {
                let hit = self.widened(*hit);
                self.ripe.push(hit);
            } else {
                limit = limit.min(hit.start.saturating_sub(lead));
            }
            !ripe
        });
        self.fresh = fresh;
        if last {
            limit = self.read;
        }
        if !self.ripe.is_empty() {
            // An open finding's end is only how far its run has been read.
            self.ripe.sort_by_key(|hit| {
                let end = if hit.open { 0 } else { hit.end };
                (hit.start, hit.open, Reverse(end), hit.form, hit.value)
            });
            let ready = self.ripe.partition_point(|hit| last || hit.start < limit);
            let ripe = std::mem::take(&mut self.ripe);
            ripe[..ready].iter().for_each(|hit| self.replace(hit, out));
            self.ripe.extend_from_slice(&ripe[ready..]);
        }
        self.pass(limit, out);
        // The bytes a value's leading punctuation may need are kept behind what is decided.
        let keep = self.decided.saturating_sub(lead).max(self.raw_start);
        if keep - self.raw_start > 4 * BLOCK_BYTES as u64
            || (keep - self.raw_start) as usize == self.raw.len()
        {
            self.raw.drain(..(keep - self.raw_start) as usize);
            self.raw_start = keep;
        }
    }

    /// How many bytes before `end` may be the leading punctuation of a value whose core begins there or later.
    fn lead_bytes(&self, end: u64) -> u64 {
        let leads = self.known.leads.iter().flat_map(|lead| (1..=lead.len()).map(move |n| &lead[..n]));
        let fits = |lead: &&[u8]| self.raw(end.saturating_sub(lead.len() as u64), end) == Some(lead);
        leads.filter(fits).map(|lead| lead.len() as u64).max().unwrap_or(0)
    }

    fn raw(&self, start: u64, end: u64) -> Option<&[u8]> {
        let start = usize::try_from(start.checked_sub(self.raw_start)?).ok()?;
        let end = usize::try_from(end.checked_sub(self.raw_start)?).ok()?;
        self.raw.get(start..end)
    }

    /// A lane finds a value by its core; here the value's own first and last punctuation is added where it stands.
    fn widened(&self, mut hit: Hit) -> Hit {
        if hit.form != Form::Raw || hit.open {
            return hit;
        }
        let value = &self.known.values[hit.value as usize];
        let (lead, trail) = (&value.bytes[..value.lead], &value.bytes[value.bytes.len() - value.trail..]);
        if hit.start >= lead.len() as u64 && self.raw(hit.start - lead.len() as u64, hit.start) == Some(lead)
        {
            hit.start -= lead.len() as u64;
        }
        if self.raw(hit.end, hit.end + trail.len() as u64) == Some(trail) {
            hit.end += trail.len() as u64;
        }
        if self.raw(hit.start, hit.end) != Some(&value.bytes[..]) {
            hit.form = Form::Laced;
        }
        hit
    }

    fn replace(&mut self, hit: &Hit, out: &mut Vec<u8>) {
        if let Some(end) = self.group_end
            && hit.start < end
        {
            if hit.end > end {
                if self.how == Replace::StandIn {
                    out.resize(out.len() + (hit.end - end) as usize, FILLER);
                }
                self.group_end = Some(hit.end);
                self.decided = hit.end;
                if let Some(last) = self.traced.as_mut().and_then(|traced| traced.last_mut()) {
                    last.end = hit.end;
                }
                if self.found as usize <= FINDINGS_MAX
                    && let Some(finding) = self.findings.last_mut()
                {
                    finding.end = hit.end;
                }
            }
            return;
        }
        self.pass(hit.start, out);
        let start = hit.start.max(self.decided);
        let before = out.len();
        match self.how {
            Replace::Handle => out.extend_from_slice(mark(self.handle(hit)).as_bytes()),
            Replace::StandIn => self.stand_in(hit, start, out),
        }
        self.decided = hit.end.max(start);
        self.group_end = Some(self.decided);
        self.found += 1;
        let (written_start, end) = (self.written, self.decided);
        self.written += (out.len() - before) as u64;
        let handle = Arc::clone(self.handle(hit));
        if let Some(traced) = &mut self.traced {
            traced.push(Replaced { handle, written_start, written_end: self.written, start, end });
            return;
        }
        if self.findings.len() < FINDINGS_MAX {
            let handle = Arc::clone(self.handle(hit));
            self.findings.push(Finding { handle, form: hit.form, start, end: self.decided });
        }
    }

    fn handle(&self, hit: &Hit) -> &Arc<str> {
        if hit.value == OVER_LIMIT {
            &self.known.over_limit
        } else {
            &self.known.values[hit.value as usize].handle
        }
    }

    /// Writes exactly as many bytes as were found.
    fn stand_in(&self, hit: &Hit, start: u64, out: &mut Vec<u8>) {
        let length = (hit.end - start) as usize;
        let alike = if hit.open || hit.value == OVER_LIMIT { None } else { self.written_alike(hit, start) };
        match alike {
            Some(text) if text.len() == length => out.extend_from_slice(&text),
            _ => out.resize(out.len() + length, FILLER),
        }
    }

    fn written_alike(&self, hit: &Hit, start: u64) -> Option<Vec<u8>> {
        let value = &self.known.values[hit.value as usize];
        let found = self.raw(start, hit.end)?;
        type Writing = fn(&[u8]) -> Vec<u8>;
        let writings: [Writing; 9] = [
            |b| b.to_vec(),
            |b| encode::hex(b).into_bytes(),
            |b| encode::hex(b).to_uppercase().into_bytes(),
            |b| encode::base64(b, false).into_bytes(),
            |b| encode::padded(encode::base64(b, false), 4).into_bytes(),
            |b| encode::base64(b, true).into_bytes(),
            |b| encode::padded(encode::base64(b, true), 4).into_bytes(),
            |b| encode::base32(b).into_bytes(),
            |b| b.iter().rev().copied().collect(),
        ];
        writings.iter().find(|write| write(&value.bytes) == found).map(|write| write(&value.stand_in))
    }

    fn pass(&mut self, end: u64, out: &mut Vec<u8>) {
        if end > self.decided {
            let before = out.len();
            if let Some(raw) = self.raw(self.decided, end) {
                out.extend_from_slice(raw);
            }
            self.written += (out.len() - before) as u64;
            self.decided = end;
        }
    }
}

const FILLER: u8 = b'x';
