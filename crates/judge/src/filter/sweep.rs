//! Settles which of several overlapping hits is written: a handle before all, then the surest, then the longest. What a hit loses
//! to a better one is only the part they share; the rest of it is still replaced. Nothing is settled that a later hit may change.

use super::detect::{HANDLE, Hit};
use std::cmp::Reverse;
use std::collections::VecDeque;

/// Hits that wait to be settled.
#[derive(Default)]
pub(super) struct Sweep {
    fresh: Vec<Hit>,
    sorted: VecDeque<Hit>,
}

type Order = (u64, Reverse<(bool, super::finding::Confidence, u64)>, u32);

fn rank(hit: &Hit) -> (bool, super::finding::Confidence, u64) {
    (hit.by == HANDLE, hit.confidence, hit.end - hit.start)
}

fn order(hit: &Hit) -> Order {
    (hit.start, Reverse(rank(hit)), hit.by)
}

impl Sweep {
    /// Where new hits are put.
    pub(super) fn fresh(&mut self) -> &mut Vec<Hit> {
        &mut self.fresh
    }

    pub(super) fn clear(&mut self) {
        self.fresh.clear();
        self.sorted.clear();
    }

    /// Puts new hits in order.
    pub(super) fn sort(&mut self) {
        if !self.fresh.is_empty() {
            self.sorted.extend(self.fresh.drain(..));
            self.sorted.make_contiguous().sort_by_key(order);
        }
    }

    /// Where the next hit begins, settled or not.
    pub(super) fn begins(&self) -> Option<u64> {
        self.sorted.front().map(|hit| hit.start)
    }

    /// The next stretch to be replaced, when no hit that begins at `hold` or later can change it.
    pub(super) fn next(&mut self, hold: u64) -> Option<Hit> {
        loop {
            let hit = *self.sorted.front()?;
            if hit.end > hold {
                return None;
            }
            self.sorted.pop_front();
            let within = |other: &&Hit| other.start < hit.end;
            if hit.by != HANDLE && self.sorted.iter().take_while(within).any(|other| other.by == HANDLE) {
                // What a handle was written into was replaced when it was: this is no new secret.
                continue;
            }
            let better =
                self.sorted.iter().take_while(within).find(|other| rank(other) > rank(&hit)).copied();
            let Some(better) = better else {
                self.cut(hit.end, hit.by == HANDLE);
                return Some(hit);
            };
            if better.end < hit.end {
                self.put(Hit { start: better.end, ..hit });
            }
            if better.start > hit.start {
                let piece = Hit { end: better.start, ..hit };
                self.cut(piece.end, false);
                return Some(piece);
            }
        }
    }

    /// Takes away what other hits have before `end`.
    fn cut(&mut self, end: u64, whole: bool) {
        let mut rest = Vec::new();
        while let Some(hit) = self.sorted.front().filter(|hit| hit.start < end) {
            if hit.end > end && !whole {
                rest.push(Hit { start: end, ..*hit });
            }
            self.sorted.pop_front();
        }
        rest.into_iter().for_each(|hit| self.put(hit));
    }

    fn put(&mut self, hit: Hit) {
        let at = self.sorted.partition_point(|other| order(other) < order(&hit));
        self.sorted.insert(at, hit);
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Confidence::{Certain, Likely, Possible};
    use super::*;

    #[test]
    fn the_better_hit_wins_and_no_byte_of_the_other_is_let_go() {
        let hit = |start, end, confidence, by| Hit { start, end, confidence, by };
        type Case<'a> = (&'a [Hit], &'a [(u64, u64, u32)]);
        let table: [Case<'_>; 7] = [
            (&[hit(0, 9, Possible, 1), hit(0, 9, Likely, 2)], &[(0, 9, 2)]),
            (&[hit(0, 9, Possible, 1), hit(3, 6, Likely, 2)], &[(0, 3, 1), (3, 6, 2), (6, 9, 1)]),
            (&[hit(0, 9, Certain, 1), hit(3, 6, Likely, 2)], &[(0, 9, 1)]),
            (&[hit(0, 5, Likely, 1), hit(3, 9, Likely, 2)], &[(0, 3, 1), (3, 9, 2)]),
            (&[hit(0, 5, Certain, 1), hit(3, 9, Likely, 2)], &[(0, 5, 1), (5, 9, 2)]),
            (&[hit(0, 9, Certain, 1), hit(3, 6, Possible, HANDLE)], &[(3, 6, 0)]),
            (&[hit(0, 3, Certain, 1), hit(3, 6, Possible, HANDLE)], &[(0, 3, 1), (3, 6, 0)]),
        ];
        for (hits, want) in table {
            let mut sweep = Sweep::default();
            sweep.fresh().extend_from_slice(hits);
            sweep.sort();
            assert_eq!(sweep.next(2), None, "nothing is settled before its end");
            let mut got = Vec::new();
            while let Some(hit) = sweep.next(u64::MAX) {
                got.push((hit.start, hit.end, hit.by));
            }
            assert_eq!(got, want);
        }
    }
}
