//! What was tried on the gate's doors and refused, in the journal where people look. A flood of attempts fills no journal:
//! past a burst of each kind, they are counted and told with the next one.

use crate::history::History;
use crate::wire::record::Body;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Alerts of one rule that are recorded one by one, entries.
const BURST_ENTRIES_MAX: u32 = 20;
/// How long until there is room for one more.
const REFILL: Duration = Duration::from_secs(10);

/// The alerts of one gate.
pub(crate) struct Alarms {
    history: Arc<History>,
    rules: Mutex<HashMap<&'static str, Room>>,
}

/// Room for events that may come in a burst and then only every so often.
pub(crate) struct Room {
    left: u32,
    most: u32,
    refill: Duration,
    since: Instant,
    /// What found no room since the last that did.
    missed: u64,
}

impl Room {
    pub(crate) fn new(most: u32, refill: Duration) -> Self {
        Self { left: most, most, refill, since: Instant::now(), missed: 0 }
    }

    /// Whether there is room for one more now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let refills = now.saturating_duration_since(self.since).as_millis() / self.refill.as_millis().max(1);
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        if refills > 0 {
            self.left = self.left.saturating_add(refills).min(self.most);
            self.since = now;
        }
        if self.left == 0 {
            self.missed += 1;
            return false;
        }
        self.left -= 1;
        true
    }
}

impl Alarms {
    pub(crate) fn new(history: Arc<History>) -> Self {
        Self { history, rules: Mutex::default() }
    }

    /// Records that `rule` was broken, and how.
    pub(crate) fn raise(&self, rule: &'static str, detail: &str) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let room = rules.entry(rule).or_insert_with(|| Room::new(BURST_ENTRIES_MAX, REFILL));
        if !room.take(Instant::now()) {
            return;
        }
        let missed = std::mem::take(&mut room.missed);
        drop(rules);
        let more = if missed == 0 { String::new() } else { format!("; and {missed} more before it") };
        let detail = format!("{detail}{more}");
        tracing::warn!("{rule}: {detail}");
        self.history.note(None, Body::Alert { rule: rule.to_owned(), detail, call: String::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_has_room_and_what_follows_waits() {
        let mut room = Room::new(2, Duration::from_secs(10));
        let begin = room.since;
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(room.take(at(0)) && room.take(at(1)) && !room.take(at(2)) && !room.take(at(3)));
        assert_eq!(room.missed, 2);
        assert!(room.take(at(10)) && !room.take(at(11)));
        assert!(room.take(at(1_000)) && room.take(at(1_001)) && !room.take(at(1_002)));
    }
}
