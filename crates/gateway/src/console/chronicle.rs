//! What the journal holds, as far as pages need to find it: sessions, alerts, decisions by the minute. Everything else is read
//! from the journal when it is asked for, a bundle at a time.

use crate::gate::Gate;
use crate::wire::record::{Body, Confined, Decided, Record};
use journal::{Fault, Reader};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Records that are gone through when a gate begins; older ones are found on the journal's pages.
const BEGIN_RECORDS_MAX: u64 = 500_000;
/// Sessions known at once; the oldest is forgotten first.
const PAST_SESSIONS_MAX: usize = 20_000;
/// Records of one session that its page finds.
const SESSION_RECORDS_MAX: usize = 20_000;
/// Alerts known at once.
const ALERTS_ENTRIES_MAX: usize = 20_000;
/// Hours of decisions that are counted.
const HOURS_ENTRIES_MAX: usize = 24 * 31;
/// Entries of one bundle of the journal.
const BUNDLE: u64 = 256;

/// Decisions by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) allowed: u64,
    /// Permitted by a person.
    pub(super) granted: u64,
    pub(super) denied: u64,
    /// Questions put to people.
    pub(super) asked: u64,
}

impl Tally {
    fn count(&mut self, decided: &Decided) {
        match decided.decision.as_str() {
            "deny" => self.denied += 1,
            _ if decided.granted_by.is_empty() => self.allowed += 1,
            _ => self.granted += 1,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            allowed: self.allowed + other.allowed,
            granted: self.granted + other.granted,
            denied: self.denied + other.denied,
            asked: self.asked + other.asked,
        }
    }

    pub(super) fn decisions(self) -> u64 {
        self.allowed + self.granted + self.denied
    }
}

/// A session as a list shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    pub(super) name: String,
    pub(super) begun: String,
    pub(super) last: String,
    pub(super) agent: String,
    pub(super) user: String,
    pub(super) client: String,
    pub(super) transport: String,
    pub(super) is_open: bool,
    pub(super) tally: Tally,
    pub(super) alerts: u64,
    /// Its records.
    rows: Vec<u64>,
}

#[derive(Default)]
struct Known {
    reader: Option<Arc<Reader>>,
    /// The first record that was not gone through.
    next: u64,
    sessions: HashMap<String, Past>,
    /// Their names, oldest first.
    order: VecDeque<String>,
    alerts: VecDeque<u64>,
    hours: BTreeMap<String, Tally>,
    walls: BTreeMap<String, Confined>,
    total: Tally,
}

/// The past of one gate.
pub(super) struct Chronicle {
    gate: Arc<Gate>,
    known: Mutex<Known>,
}

impl Chronicle {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, known: Mutex::default() }
    }

    /// Goes through what was written since the last time, and gives the journal as it is now.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) fn reader(&self) -> Result<Arc<Reader>, Fault> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let size = self.gate.history.size();
        if let Some(reader) = known.reader.as_ref().filter(|reader| reader.size() >= size) {
            return Ok(reader.clone());
        }
        let reader = Arc::new(Reader::open(&self.gate.place.journal())?);
        let from = known.next.max(reader.size().saturating_sub(BEGIN_RECORDS_MAX));
        for entry in reader.entries(from..reader.size()) {
            let (index, bytes) = entry?;
            // A record of a newer version is passed over.
            if let Ok(record) = serde_json::from_slice::<Record>(&bytes) {
                known.take(index, record);
            }
        }
        known.next = reader.size();
        known.reader = Some(reader.clone());
        Ok(reader)
    }

    /// Sessions, newest first: how many there are, and those of one page.
    pub(super) fn sessions(&self, wanted: &str, skip: usize, rows: usize) -> (usize, Vec<Past>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let matches = |past: &&Past| {
            wanted.is_empty()
                || [&past.name, &past.agent, &past.user, &past.client, &past.transport]
                    .iter()
                    .any(|text| text.contains(wanted))
        };
        let found = known.order.iter().rev().filter_map(|name| known.sessions.get(name)).filter(matches);
        let light = |past: &Past| Past { rows: Vec::new(), ..past.clone() };
        (found.clone().count(), found.skip(skip).take(rows).map(light).collect())
    }

    /// One session, and its records.
    pub(super) fn session(&self, name: &str) -> Option<(Past, Vec<u64>)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.sessions.get(name).map(|past| (Past { rows: Vec::new(), ..past.clone() }, past.rows.clone()))
    }

    /// Records that warn, newest first: how many there are, and those of one page.
    pub(super) fn alerts(&self, skip: usize, rows: usize) -> (usize, Vec<u64>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (known.alerts.len(), known.alerts.iter().rev().skip(skip).take(rows).copied().collect())
    }

    /// Decisions of the last hours, oldest first, by `2026-01-31T13`.
    pub(super) fn hours(&self) -> BTreeMap<String, Tally> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).hours.clone()
    }

    /// How servers were confined when they were last started.
    pub(super) fn walls(&self) -> BTreeMap<String, Confined> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).walls.clone()
    }

    /// All decisions that were gone through.
    pub(super) fn total(&self) -> Tally {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Known {
    fn take(&mut self, index: u64, record: Record) {
        let hour = record.at.get(..13).unwrap_or_default().to_owned();
        match &record.body {
            Body::Decision(decided) => {
                self.total.count(decided);
                self.hours.entry(hour).or_default().count(decided);
            }
            Body::Asked { .. } => {
                self.total.asked += 1;
                self.hours.entry(hour).or_default().asked += 1;
            }
            Body::Alert { .. } | Body::Quarantined { .. } => {
                if self.alerts.len() >= ALERTS_ENTRIES_MAX {
                    self.alerts.pop_front();
                }
                self.alerts.push_back(index);
            }
            Body::Confined { server, how } => {
                self.walls.insert(server.clone(), how.clone());
            }
            _ => {}
        }
        while self.hours.len() > HOURS_ENTRIES_MAX {
            self.hours.pop_first();
        }
        let Some(name) = record.session else { return };
        if !self.sessions.contains_key(&name) {
            if self.order.len() >= PAST_SESSIONS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.sessions.remove(&oldest);
            }
            self.order.push_back(name.clone());
            let past =
                Past { name: name.clone(), begun: record.at.clone(), is_open: true, ..Past::default() };
            self.sessions.insert(name.clone(), past);
        }
        let Some(past) = self.sessions.get_mut(&name) else { return };
        past.last = record.at;
        if past.rows.len() < SESSION_RECORDS_MAX {
            past.rows.push(index);
        }
        match record.body {
            Body::SessionOpened { transport, agent, user, client, .. } => {
                (past.transport, past.agent, past.user, past.client) = (transport, agent, user, client);
                past.is_open = true;
            }
            Body::SessionClosed => past.is_open = false,
            Body::Decision(decided) => {
                past.tally.count(&decided);
                if past.agent.is_empty() {
                    (past.agent, past.user, past.transport) = (decided.agent, decided.user, decided.via);
                }
            }
            Body::Asked { .. } => past.tally.asked += 1,
            Body::Alert { .. } => past.alerts += 1,
            _ => {}
        }
    }
}

/// These records, in this order; each bundle is read once. A record of a newer version is left out.
pub(super) fn records(reader: &Reader, wanted: &[u64]) -> Result<Vec<(u64, Record)>, Fault> {
    let mut bundles: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    wanted.iter().for_each(|index| bundles.entry(index / BUNDLE).or_default().push(*index));
    let mut found = HashMap::new();
    for (bundle, indexes) in bundles {
        for entry in reader.entries(bundle * BUNDLE..(bundle + 1) * BUNDLE) {
            let (index, bytes) = entry?;
            if indexes.contains(&index)
                && let Ok(record) = serde_json::from_slice::<Record>(&bytes)
            {
                found.insert(index, record);
            }
        }
    }
    Ok(wanted.iter().filter_map(|index| found.remove(index).map(|record| (*index, record))).collect())
}
