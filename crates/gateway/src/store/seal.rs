//! Knows which rows of the state file this process wrote itself: what they held is remembered in its memory, where no other process
//! can write. A row that anybody else wrote, changed or took away counts for nothing and leaves an alert. Nothing here is a secret.

use super::people::{LinkRow, PasskeyRow, PersonRow};
use super::{Store, StoreError};
use crate::alarms::Alarms;
use crate::ledger::Ledger;
use crate::wire::approval::{Approval, Standing};
use rusqlite::params;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What stands for a row that is known of and must not come again.
const GONE: &str = "";
/// Rows named in alerts, entries; beyond that they are refused in silence.
const ACCUSED_ENTRIES_MAX: usize = 10_000;
/// The rule of these alerts.
const RULE: &str = "state-changed";
/// Why a row of somebody else's grants nothing, as approvers are shown it.
pub(super) const CHANGED: &str = "the gate did not write this, or not so; somebody changed the state file";

/// A row whose content matters.
pub(super) trait Row {
    /// Its kind and name.
    fn key(&self) -> String;
    /// All of it that matters.
    fn content(&self) -> Vec<u8>;
}

impl Row for Approval {
    fn key(&self) -> String {
        format!("approval {}", self.id)
    }
    fn content(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Row for Standing {
    fn key(&self) -> String {
        key_of_grant(&self.id)
    }
    fn content(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Row for PersonRow {
    fn key(&self) -> String {
        format!("person {}", self.name)
    }
    fn content(&self) -> Vec<u8> {
        let Self { name, role, handle, added_at, revoked_at, used_at: _, passkeys: _ } = self;
        serde_json::to_vec(&(name, role, handle, added_at, revoked_at)).unwrap_or_default()
    }
}

impl Row for PasskeyRow {
    fn key(&self) -> String {
        format!("passkey {} of {}", judge::digest::hex(&self.id), self.person)
    }
    fn content(&self) -> Vec<u8> {
        let Self { id, person, key, count } = self;
        serde_json::to_vec(&(id, person, key, count)).unwrap_or_default()
    }
}

impl Row for LinkRow {
    fn key(&self) -> String {
        format!("link {}", self.digest)
    }
    fn content(&self) -> Vec<u8> {
        let Self { digest, role, name, expires_at } = self;
        serde_json::to_vec(&(digest, role, name, expires_at)).unwrap_or_default()
    }
}

fn key_of_grant(id: &str) -> String {
    format!("grant {id}")
}

/// What this process wrote.
#[derive(Default)]
pub(super) struct Seals {
    rows: Mutex<HashMap<String, String>>,
    /// Who came in and was not turned out.
    people: Mutex<HashSet<String>>,
    accused: Mutex<HashSet<String>>,
    alarms: OnceLock<Arc<Alarms>>,
}

impl Seals {
    /// Remembers a row as it stands now; to be called once it is durable.
    pub(super) fn set(&self, row: &impl Row) {
        self.rows().insert(row.key(), judge::digest::hex(&row.content()));
    }

    /// Whether this process wrote the row so; if not, that leaves an alert.
    pub(super) fn holds(&self, row: &impl Row) -> bool {
        let key = row.key();
        let is_ours = self.rows().get(&key).is_some_and(|seal| *seal == judge::digest::hex(&row.content()));
        if !is_ours {
            self.accuse(&key, "is not as the gate wrote it, and counts for nothing");
        }
        is_ours
    }

    /// Forgets a row that this process took away.
    pub(super) fn forget(&self, row: &impl Row) {
        self.rows().remove(&row.key());
    }

    /// Forgets the approvals of these names.
    pub(super) fn forget_approvals(&self, ids: &[String]) {
        let mut rows = self.rows();
        for id in ids {
            rows.remove(&format!("approval {id}"));
        }
    }

    /// Whether a standing grant of this id that is not in the state file was there; if so, that leaves an alert.
    pub(super) fn lacks_grant(&self, id: &str) -> bool {
        let key = key_of_grant(id);
        let was_there = self.rows().contains_key(&key);
        if was_there {
            self.accuse(&key, "was taken out of the state file");
        }
        was_there
    }

    /// Notes who came in.
    pub(super) fn let_in(&self, name: &str) {
        self.people.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Notes who was turned out.
    pub(super) fn turn_out(&self, name: &str) {
        self.people.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn accuse(&self, key: &str, what: &str) {
        let mut accused = self.accused.lock().unwrap_or_else(PoisonError::into_inner);
        if accused.len() < ACCUSED_ENTRIES_MAX
            && accused.insert(key.to_owned())
            && let Some(alarms) = self.alarms.get()
        {
            alarms.raise(RULE, &format!("{key} {what}"));
        }
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Whether somebody came in and was not turned out, whatever the state file says now.
    pub(crate) fn is_peopled(&self) -> bool {
        !self.seals.people.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Believes what an earlier run left as far as `ledger`, which is what the journal says, bears it out. The rest is closed, and
    /// leaves alerts in `alarms`, as does whatever somebody else changes from now on.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub(crate) fn vouch(&self, ledger: &Ledger, alarms: Arc<Alarms>, now: i64) -> Result<(), StoreError> {
        drop(self.seals.alarms.set(alarms));
        let seals = &self.seals;
        let denied = |key: &str, why: &str| seals.accuse(key, &format!("counts for nothing: {why}"));
        for mut approval in self.kept_approvals()? {
            let is_open =
                matches!(approval.state.as_str(), "pending" | "granted") && approval.expires_at > now;
            if is_open && let Err(why) = ledger.bears_out(&approval) {
                // What a call carried into its next round ends with the gate, and is no attack.
                if !ledger.was_carried(&approval.id) {
                    denied(&approval.key(), why);
                }
                "void".clone_into(&mut approval.state);
                CHANGED.clone_into(&mut approval.reason);
                self.locked().execute(
                    "UPDATE approval SET state = ?2, reason = ?3 WHERE id = ?1",
                    params![approval.id, approval.state, approval.reason],
                )?;
            }
            seals.set(&approval);
        }
        let mut missing: HashSet<&str> = ledger.grants(now).collect();
        for mut standing in self.kept_standing()? {
            missing.remove(standing.id.as_str());
            if standing.state == "active" && standing.scope.until > now {
                match ledger.bears_out_grant(&standing) {
                    // No later than it was last used: what is idle must not be kept alive.
                    Ok(used_at) => standing.used_at = standing.used_at.min(used_at),
                    Err(why) => {
                        denied(&standing.key(), why);
                        "withdrawn".clone_into(&mut standing.state);
                    }
                }
                self.locked().execute(
                    "UPDATE standing SET state = ?2, used_at = ?3 WHERE id = ?1",
                    params![standing.id, standing.state, standing.used_at],
                )?;
            }
            seals.set(&standing);
        }
        for id in missing {
            seals.rows().insert(key_of_grant(id), GONE.to_owned());
        }
        ledger.within().for_each(|name| seals.let_in(name));
        for person in self.kept_people()? {
            if ledger.knows(&person) {
                seals.set(&person);
            }
            for passkey in self.kept_passkeys(&person.name)? {
                if ledger.enrolled(&passkey) {
                    seals.set(&passkey);
                }
            }
        }
        for link in self.kept_links()? {
            if ledger.made(&link) {
                seals.set(&link);
            }
        }
        Ok(())
    }
}
