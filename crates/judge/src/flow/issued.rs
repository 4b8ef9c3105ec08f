//! Names that a server gave to things, tied to what people call these things.
//! An issued name is found through the user's words only where one single thing has the name that the user said.

use super::heard::Heard;
use std::collections::{BTreeSet, HashMap};

/// Most issued names remembered in one conversation; what comes later is not found.
const IDS_MAX: usize = 64 * 1024;
/// Most names remembered of one thing.
const NAMES_OF_ONE_MAX: usize = 16;

/// Issued names and what they stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Issued {
    /// Names in words, by issued name.
    names: HashMap<String, BTreeSet<Vec<String>>>,
    /// Issued names, by name in words.
    owners: HashMap<Vec<String>, BTreeSet<String>>,
}

impl Issued {
    /// Notes one record: its issued names and what people call it.
    pub(super) fn record(&mut self, ids: &[Vec<String>], names: &[Vec<String>]) {
        for id in ids {
            let id = id.join(" ");
            if self.names.len() >= IDS_MAX && !self.names.contains_key(&id) {
                continue;
            }
            let known = self.names.entry(id.clone()).or_default();
            for name in names.iter().filter(|name| !name.is_empty()) {
                // Who shares a name is noted even where the name is not, so that it is never taken for the only one.
                let owners = self.owners.entry(name.clone()).or_default();
                if owners.len() < 2 {
                    owners.insert(id.clone());
                }
                if known.len() < NAMES_OF_ONE_MAX {
                    known.insert(name.clone());
                }
            }
        }
    }

    /// The name by which the user said the thing that `id` stands for.
    pub(super) fn named(&self, id: &[String], heard: &Heard) -> Option<String> {
        let names = self.names.get(&id.join(" "))?;
        let is_only = |name: &Vec<String>| self.owners.get(name).is_some_and(|owners| owners.len() == 1);
        names.iter().find(|name| is_only(name) && heard.says(name, &[])).map(|name| name.join(" "))
    }
}
