//! The whole filter as one stream: first the values that are known, then everything that is recognised by how it looks.
//! What comes out depends on the bytes that went in, never on how they were cut; it goes back over nothing.

use super::detect::{ALL, ANCHORS, Around, Asks, DIGITS_CALLED_MAX, Found, HANDLE, Hit, Run, State};
use super::finding::{Class, Confidence, Finding};
use super::handle::{Kept, SessionKey};
use super::known::{self, Known, Replace};
use super::personal::Personal;
use super::reconsider::{Declined, Reconsider};
use super::rule::Rule;
use super::sweep::Sweep;
use super::text::{BEHIND_BYTES, Text};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

pub use super::known::FINDINGS_MAX;

/// Input read at a time, so that working memory does not grow with a chunk.
const BLOCK_BYTES: usize = 8192;
/// How far before its anchor a hit may begin, in bytes.
pub(super) const LEAD_BYTES: u64 = 128;
/// Most bytes of replaced texts kept by one stream for being turned back.
pub const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most replaced texts kept by one stream.
pub const KEPT_ENTRIES_MAX: usize = 65_536;
const BY_DIGITS: u16 = u16::MAX;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Credentials.
    pub secrets: bool,
    /// What is personal.
    pub personal: Personal,
    /// Below this, a finding is not replaced and not told.
    pub least: Confidence,
    /// Rules of the user.
    pub rules: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { secrets: true, personal: Personal::NONE, least: Confidence::Possible, rules: Vec::new() }
    }
}

/// Known values, detectors and rules together; share it, replace it when a secret rotates.
#[derive(Clone)]
pub struct Filter(Arc<Compiled>);

struct Compiled {
    known: Known,
    least: Confidence,
    on: Vec<bool>,
    /// For each length of a run of digits, what it calls and what that asks of the run first.
    by_digits: Vec<Vec<(u32, Asks)>>,
    names: Vec<(Arc<str>, Class)>,
    rules: Vec<Rule>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("known", &self.0.known).finish_non_exhaustive()
    }
}

/// A whole text, filtered.
#[must_use]
pub struct Redacted {
    /// The text as it may be shown.
    pub text: Vec<u8>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was replaced, for [`super::handle::Handles`].
    pub kept: Vec<Kept>,
}

impl Filter {
    /// Puts the parts together.
    pub fn compile(settings: &Settings, known: Known) -> Self {
        let on = ALL.iter().map(|detector| match detector.class {
            Class::Personal => settings.personal.has(detector.personal),
            Class::Secret => settings.secrets,
            Class::Handle | Class::Known | Class::Rule => true,
        });
        let on: Vec<bool> = on.collect();
        let mut by_digits = vec![Vec::new(); DIGITS_CALLED_MAX + 1];
        for (by, detector) in ALL.iter().enumerate().filter(|(by, _)| on[*by]) {
            if let Some(Run { digits: (low, high), asks }) = &detector.digits {
                (*low..=*high).for_each(|n| by_digits[usize::from(n)].push((by as u32, *asks)));
            }
        }
        let built_in = ALL.iter().map(|detector| (Arc::from(detector.name), detector.class));
        let rules = settings.rules.iter().map(|rule| (Arc::from(rule.name()), Class::Rule));
        Self(Arc::new(Compiled {
            known,
            least: settings.least,
            by_digits,
            on,
            names: built_in.chain(rules).collect(),
            rules: settings.rules.clone(),
        }))
    }

    /// Filters a whole text.
    pub fn redact(&self, text: &[u8], key: &SessionKey) -> Redacted {
        let mut stream = self.stream(key);
        let mut out = Vec::with_capacity(text.len());
        stream.push(text, &mut out);
        stream.flush(&mut out);
        Redacted { text: out, kept: stream.take_kept(), findings: stream.findings }
    }

    /// Begins to filter a stream; handles are those of the session whose `key` it is.
    pub fn stream(&self, key: &SessionKey) -> Stream {
        let filter = Arc::clone(&self.0);
        let mut known = (!filter.known.is_empty()).then(|| filter.known.stream(Replace::Handle));
        if let Some(known) = &mut known {
            known.trace();
        }
        Stream {
            key: key.clone(),
            known,
            between: Vec::new(),
            raw: Vec::new(),
            raw_start: 0,
            state: ANCHORS.start(),
            digits_from: 0,
            rules_from: vec![0; filter.rules.len()],
            pending: Vec::new(),
            sweep: Sweep::default(),
            reconsider: Reconsider::default(),
            decided: 0,
            shift: (0, 0),
            traced: VecDeque::new(),
            findings: Vec::new(),
            found: 0,
            kept: Vec::new(),
            kept_handles: HashSet::new(),
            kept_bytes: 0,
            filter,
        }
    }
}

/// A place where a detector was called and could not yet answer.
#[derive(Clone, Copy)]
struct Pending {
    by: u32,
    anchor: u16,
    at: u64,
    /// Asked again when so much has been read: twice as far each time, so that small chunks cost no more than large ones.
    again: u64,
}

/// A stream being filtered.
pub struct Stream {
    filter: Arc<Compiled>,
    key: SessionKey,
    known: Option<known::Stream>,
    /// What the known values left, on its way to the detectors.
    between: Vec<u8>,
    raw: Vec<u8>,
    /// Place of the first byte of `raw` in the stream between.
    raw_start: u64,
    state: State,
    digits_from: u64,
    rules_from: Vec<u64>,
    pending: Vec<Pending>,
    sweep: Sweep,
    reconsider: Reconsider,
    decided: u64,
    /// A place in the stream between and the same place in the input, from which on they run together.
    shift: (u64, u64),
    traced: VecDeque<known::Replaced>,
    findings: Vec<Finding>,
    found: u64,
    kept: Vec<Kept>,
    kept_handles: HashSet<Box<str>>,
    kept_bytes: usize,
}

impl Stream {
    /// Reads a chunk and appends to `out` all that can be decided.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let Some(mut known) = self.known.take() else {
            chunk.chunks(BLOCK_BYTES).for_each(|block| self.take(block, out));
            return;
        };
        let mut between = std::mem::take(&mut self.between);
        for block in chunk.chunks(BLOCK_BYTES) {
            known.push(block, &mut between);
            self.traced.extend(known.take_traced());
            self.take(&between, out);
            between.clear();
        }
        self.between = between;
        self.known = Some(known);
    }

    /// Ends the text: what was held back is decided and appended to `out`. The stream may go on with another text.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some(mut known) = self.known.take() {
            let mut between = std::mem::take(&mut self.between);
            known.flush(&mut between);
            self.traced.extend(known.take_traced());
            self.take(&between, out);
            between.clear();
            self.between = between;
            self.known = Some(known);
        }
        self.scan_digits(true);
        self.scan_rules(true);
        self.ask(true);
        self.settle(u64::MAX, true, out);
        self.raw_start = self.read();
        self.raw.clear();
        self.state = ANCHORS.start();
        self.digits_from = self.raw_start;
        self.rules_from.fill(self.raw_start);
        self.sweep.clear();
        self.reconsider.clear();
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
        self.known.as_ref().map_or(0, known::Stream::held_bytes) + (self.read() - self.decided)
    }

    /// What was replaced since this was last asked, each once; at most [`KEPT_BYTES_MAX`] in all.
    pub fn take_kept(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.kept)
    }

    fn read(&self) -> u64 {
        self.raw_start + self.raw.len() as u64
    }

    fn take(&mut self, block: &[u8], out: &mut Vec<u8>) {
        if block.is_empty() {
            return;
        }
        let from = self.read();
        self.raw.extend_from_slice(block);
        let (on, pending) = (&self.filter.on, &mut self.pending);
        ANCHORS.read(&mut self.state, block, |by, anchor, at| {
            if on[by as usize] {
                pending.push(Pending { by, anchor, at: from.saturating_add_signed(at as i64), again: 0 });
            }
        });
        self.scan_digits(false);
        self.scan_rules(false);
        self.ask(false);
        let anchored = (self.read() + 1).saturating_sub(ANCHORS.longest as u64 + LEAD_BYTES);
        let asked = self.pending.iter().map(|pending| pending.at.saturating_sub(LEAD_BYTES)).min();
        let ruled = self.rules_from.iter().copied().min();
        let hold = anchored
            .min(asked.unwrap_or(u64::MAX))
            .min(ruled.unwrap_or(u64::MAX))
            .min(self.digits_from.saturating_sub(LEAD_BYTES));
        self.settle(hold, false, out);
        let keep = self.decided.saturating_sub(BEHIND_BYTES as u64).max(self.raw_start);
        if keep - self.raw_start > 2 * BLOCK_BYTES as u64 {
            self.raw.drain(..(keep - self.raw_start) as usize);
            self.raw_start = keep;
        }
    }

    /// Calls what is called by runs of digits.
    fn scan_digits(&mut self, ended: bool) {
        if self.filter.by_digits.iter().all(Vec::is_empty) {
            self.digits_from = self.read();
            return;
        }
        let mut at = (self.digits_from - self.raw_start) as usize;
        while let Some(next) = self.raw[at..].iter().position(u8::is_ascii_digit) {
            let start = at + next;
            let rest = &self.raw[start..];
            let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            // Two bytes more say which detectors need not be called.
            if start + length + 2 > self.raw.len() && !ended && length <= DIGITS_CALLED_MAX {
                self.digits_from = self.raw_start + start as u64;
                return;
            }
            if start == 0 || !self.raw[start - 1].is_ascii_digit() {
                let byte = |at: usize| self.raw.get(at).copied().unwrap_or(0);
                let around = Around {
                    digits: length,
                    earlier: start.checked_sub(2).map_or(0, byte),
                    before: start.checked_sub(1).map_or(0, byte),
                    after: byte(start + length),
                    beyond: byte(start + length + 1),
                };
                let at = self.raw_start + start as u64;
                for (by, asks) in &self.filter.by_digits[length.min(DIGITS_CALLED_MAX)] {
                    if asks(&around) {
                        self.pending.push(Pending { by: *by, anchor: BY_DIGITS, at, again: 0 });
                    }
                }
            }
            at = start + length;
        }
        self.digits_from = self.read();
    }

    fn scan_rules(&mut self, ended: bool) {
        let read = self.read();
        for (number, rule) in self.filter.rules.iter().enumerate() {
            let reach = rule.reach_bytes() as u64;
            let from = &mut self.rules_from[number];
            if read - *from < 2 * reach && !ended {
                continue;
            }
            let final_before = if ended { u64::MAX } else { read - reach };
            while let Some((whole, part)) = rule.find_at(&self.raw, (*from - self.raw_start) as usize) {
                let place = |at: usize| self.raw_start + at as u64;
                if place(whole.start) >= final_before {
                    break;
                }
                let by = (ALL.len() + number) as u32;
                let (start, end) = (place(part.start), place(part.end));
                self.sweep.fresh().push(Hit { start, end, confidence: Confidence::Likely, by });
                *from = place(whole.end);
            }
            *from = (*from).max(final_before.min(read));
        }
    }

    /// Calls each detector that was called for and can be answered.
    fn ask(&mut self, ended: bool) {
        let read = self.read();
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain_mut(|call| {
            if call.again > read && !ended {
                return true;
            }
            let at = (call.at - self.raw_start) as usize;
            let text = Text::around(&self.raw, at, ended);
            let hits = self.sweep.fresh();
            let before = hits.len();
            let mut found = Found::new(hits, self.raw_start, call.by);
            ALL[call.by as usize].look(&text, at, usize::from(call.anchor), &mut found);
            if text.asked() {
                hits.truncate(before);
                call.again = call.at + 2 * (read - call.at).max(8);
                return true;
            }
            let mut kept = before;
            for index in before..hits.len() {
                let hit = hits[index];
                if hit.confidence >= self.filter.least && hit.start + LEAD_BYTES >= call.at {
                    hits[kept] = hit;
                    kept += 1;
                }
            }
            hits.truncate(kept);
            if kept == before {
                let (from, to) = text.seen();
                let (from, to) = (self.raw_start + from as u64, self.raw_start + to as u64);
                let (by, anchor, at) = (call.by, call.anchor, call.at);
                self.reconsider.declined(Declined { by, anchor, at, from, to });
            }
            false
        });
        self.pending = pending;
    }

    fn settle(&mut self, hold: u64, ended: bool, out: &mut Vec<u8>) {
        self.sweep.sort();
        while let Some(hit) = self.sweep.next(hold) {
            self.gone(hit);
        }
        let limit = hold.min(self.read()).min(self.sweep.begins().unwrap_or(u64::MAX));
        let limit = self.reconsider.ask(&self.raw, self.raw_start, limit, ended, self.filter.least);
        let (hits, limit) = self.reconsider.found(limit);
        hits.into_iter().for_each(|hit| self.gone(hit));
        while let Some(gone) = self.reconsider.next_to_write(limit) {
            let (hit, handle) = (gone.hit, gone.handle.clone());
            if let Some(handle) = handle {
                self.replace(&hit, handle, out);
            }
        }
        self.pass(limit, out);
        self.reconsider.forget(self.decided);
    }

    fn gone(&mut self, hit: Hit) {
        let handle = (hit.by != HANDLE).then(|| {
            let (from, to) = ((hit.start - self.raw_start) as usize, (hit.end - self.raw_start) as usize);
            self.key.handle(&self.filter.names[hit.by as usize].0, &self.raw[from..to])
        });
        self.reconsider.gone(hit, handle);
    }

    fn replace(&mut self, hit: &Hit, handle: Box<str>, out: &mut Vec<u8>) {
        self.pass(hit.start, out);
        let (start, end) = (self.in_input(hit.start), self.in_input(hit.end));
        let (from, to) = ((hit.start - self.raw_start) as usize, (hit.end - self.raw_start) as usize);
        let value = &self.raw[from..to];
        let (kind, class) = &self.filter.names[hit.by as usize];
        out.extend_from_slice(handle.as_bytes());
        let room =
            self.kept_bytes + value.len() <= KEPT_BYTES_MAX && self.kept_handles.len() < KEPT_ENTRIES_MAX;
        if room && !self.kept_handles.contains(&handle) {
            self.kept_bytes += value.len();
            self.kept_handles.insert(handle.clone());
            self.kept.push(Kept::new(handle.clone(), Arc::clone(kind), value));
        }
        let (kind, class) = (Arc::clone(kind), *class);
        self.decided = hit.end;
        self.tell(Finding { kind, class, confidence: hit.confidence, start, end, handle });
    }

    fn tell(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Where a place of the stream between was in the input.
    fn in_input(&self, place: u64) -> u64 {
        let mut shift = self.shift;
        for replaced in self.traced.iter().take_while(|replaced| replaced.written_start < place) {
            if place < replaced.written_end {
                return replaced.start;
            }
            shift = (replaced.written_end, replaced.end);
        }
        shift.1 + (place - shift.0)
    }

    fn pass(&mut self, end: u64, out: &mut Vec<u8>) {
        if end > self.decided {
            let (from, to) = ((self.decided - self.raw_start) as usize, (end - self.raw_start) as usize);
            out.extend_from_slice(&self.raw[from..to]);
            self.decided = end;
        }
        while let Some(replaced) = self.traced.pop_front_if(|replaced| replaced.written_end <= self.decided) {
            self.shift = (replaced.written_end, replaced.end);
            let handle = known::mark(&replaced.handle).into();
            let (kind, confidence) = (replaced.handle, Confidence::Certain);
            let (start, end) = (replaced.start, replaced.end);
            self.tell(Finding { kind, class: Class::Known, confidence, start, end, handle });
        }
    }
}
