//! Asks a detector once more when something it saw was taken out: what it took for a part of one thing may have been a part of
//! another, and a text that was filtered is not to say anything new. A detector is asked again once, and never about what is out.

use super::detect::{ALL, Found, HANDLE, Hit};
use super::finding::Confidence;
use super::stream::LEAD_BYTES;
use super::sweep::Sweep;
use super::text::{BEHIND_BYTES, Text};
use std::collections::VecDeque;

/// Beyond what a detector saw the first time, it sees so much more.
const MORE_BYTES: u64 = 256;

/// A detector that found nothing where it was called.
#[derive(Clone, Copy)]
pub(super) struct Declined {
    pub(super) by: u32,
    pub(super) anchor: u16,
    pub(super) at: u64,
    /// What it saw, in places of the stream.
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A stretch that is taken out, or a handle that was there before and stays.
pub(super) struct Gone {
    pub(super) hit: Hit,
    /// What is written in its place; nothing for what stays.
    pub(super) handle: Option<Box<str>>,
}

#[derive(Default)]
pub(super) struct Reconsider {
    declined: Vec<Declined>,
    /// In order, none over another.
    gone: VecDeque<Gone>,
    written: usize,
    sweep: Sweep,
}

impl Reconsider {
    pub(super) fn clear(&mut self) {
        self.declined.clear();
        self.gone.clear();
        self.written = 0;
        self.sweep.clear();
    }

    pub(super) fn declined(&mut self, call: Declined) {
        self.declined.push(call);
    }

    /// Notes what is taken out; anything over what was noted before is not.
    pub(super) fn gone(&mut self, hit: Hit, handle: Option<Box<str>>) {
        if self.between(hit.start, hit.end).next().is_none() {
            let at = self.gone.partition_point(|other| other.hit.start < hit.start);
            self.gone.insert(at, Gone { hit, handle });
        }
    }

    /// The next stretch to write, when it begins before `limit`.
    pub(super) fn next_to_write(&mut self, limit: u64) -> Option<&Gone> {
        let next = self.gone.get(self.written).filter(|gone| gone.hit.start < limit)?;
        self.written += 1;
        Some(next)
    }

    /// Forgets what no detector will see any more, now that all before `decided` is written.
    pub(super) fn forget(&mut self, decided: u64) {
        let behind = decided.saturating_sub(BEHIND_BYTES as u64);
        while self.written > 0 && self.gone.front().is_some_and(|gone| gone.hit.end <= behind) {
            self.gone.pop_front();
            self.written -= 1;
        }
    }

    /// The stretches that are gone between two places.
    fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &Gone> {
        let first = self.gone.partition_point(|gone| gone.hit.end <= from);
        self.gone.range(first..).take_while(move |gone| gone.hit.start < to)
    }

    /// Asks those again who saw what is gone, as far as all of it is known, which is up to `limit`. Returns how far nothing can come
    /// of it any more. `raw` is the stream from `raw_start` on, whole when `ended`.
    pub(super) fn ask(
        &mut self,
        raw: &[u8],
        raw_start: u64,
        limit: u64,
        ended: bool,
        least: Confidence,
    ) -> u64 {
        let mut declined = std::mem::take(&mut self.declined);
        let mut settled = limit;
        declined.retain_mut(|call| {
            while call.to <= limit || ended {
                if self.between(call.from, call.to).next().is_none() {
                    return false;
                }
                match self.ask_one(call, raw, raw_start, limit, ended, least) {
                    Some(more) => call.to = more,
                    None => return false,
                }
            }
            settled = settled.min(call.at.saturating_sub(LEAD_BYTES));
            true
        });
        self.declined = declined;
        settled
    }

    /// Nothing when it has answered, or up to where it must be able to see.
    fn ask_one(
        &mut self,
        call: &Declined,
        raw: &[u8],
        raw_start: u64,
        limit: u64,
        ended: bool,
        least: Confidence,
    ) -> Option<u64> {
        let anchor =
            ALL[call.by as usize].anchors.get(usize::from(call.anchor)).map_or(1, |text| text.len() as u64);
        let from = call.at.saturating_sub(BEHIND_BYTES as u64).max(raw_start);
        let end = raw_start + raw.len() as u64;
        let to = (call.to + MORE_BYTES).min(if ended { end } else { limit });
        // Where each part of the view begins, and where it stands in the stream; nowhere what stands for what is gone.
        let mut parts: Vec<(u64, Option<u64>)> = vec![(0, Some(from))];
        let (mut at, mut anchored) = (from, None);
        let mut view = Vec::new();
        let copy = |view: &mut Vec<u8>, from: u64, to: u64| {
            if from < to {
                view.extend_from_slice(&raw[(from - raw_start) as usize..(to - raw_start) as usize]);
            }
        };
        for gone in self.between(from, to) {
            if gone.hit.start < call.at + anchor && call.at < gone.hit.end {
                return None;
            }
            if anchored.is_none() && call.at < gone.hit.start {
                anchored = Some(view.len() + (call.at - at) as usize);
            }
            copy(&mut view, at, gone.hit.start);
            parts.push((view.len() as u64, None));
            let handle = gone.handle.as_deref().map(str::as_bytes);
            match handle {
                Some(handle) => view.extend_from_slice(handle),
                None => copy(&mut view, gone.hit.start.max(from), gone.hit.end.min(end)),
            }
            at = gone.hit.end.max(at);
            parts.push((view.len() as u64, Some(at)));
        }
        let anchored = anchored.unwrap_or_else(|| view.len() + (call.at - at) as usize);
        copy(&mut view, at, to);
        let text = Text::around(&view, anchored, ended && to == end);
        let mut hits = Vec::new();
        ALL[call.by as usize].look(
            &text,
            anchored,
            usize::from(call.anchor),
            &mut Found::new(&mut hits, 0, call.by),
        );
        if text.asked() {
            return Some((call.to + MORE_BYTES).max(to + 1));
        }
        for hit in hits {
            let part = parts.partition_point(|(view, _)| *view <= hit.start) - 1;
            let in_one = parts.get(part + 1).is_none_or(|(view, _)| hit.end <= *view);
            let (view, Some(place)) = parts[part] else { continue };
            let start = place + (hit.start - view);
            let end = start + (hit.end - hit.start);
            if in_one && hit.confidence >= least && start + LEAD_BYTES >= call.at {
                self.sweep.fresh().push(Hit { start, end, ..hit });
            }
        }
        None
    }

    /// What was found by asking again, up to `limit`, and before which place no more of it begins.
    pub(super) fn found(&mut self, limit: u64) -> (Vec<Hit>, u64) {
        self.sweep.sort();
        let mut hits = Vec::new();
        while let Some(hit) = self.sweep.next(limit) {
            if hit.by != HANDLE {
                hits.push(hit);
            }
        }
        (hits, limit.min(self.sweep.begins().unwrap_or(u64::MAX)))
    }
}
