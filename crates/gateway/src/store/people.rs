//! People, their passkeys and the links that enrol them, in the gate's state file. Of a link only its digest is kept.
//! Nothing here believes anybody; `people` does, and then asks for a row.

use super::{Store, StoreError};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

/// The tables.
pub(super) const MIGRATION: &str = "
    CREATE TABLE person (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        handle BLOB NOT NULL UNIQUE,
        added_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT;
    CREATE TABLE passkey (
        id BLOB PRIMARY KEY,
        person TEXT NOT NULL REFERENCES person (name),
        key BLOB NOT NULL,
        count INTEGER NOT NULL,
        added_at INTEGER NOT NULL,
        used_at INTEGER
    ) STRICT;
    CREATE INDEX passkey_person ON passkey (person);
    CREATE TABLE enrolment (
        digest TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        name TEXT,
        expires_at INTEGER NOT NULL,
        used_at INTEGER
    ) STRICT;
";
/// Links that were not used yet, entries; the oldest makes room.
const LINKS_ENTRIES_MAX: i64 = 64;

/// A row of `person`, with how many passkeys it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PersonRow {
    pub(crate) name: String,
    pub(crate) role: String,
    /// What authenticators know the person by.
    pub(crate) handle: Vec<u8>,
    pub(crate) added_at: i64,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) used_at: Option<i64>,
    pub(crate) passkeys: usize,
}

/// A row of `passkey`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PasskeyRow {
    pub(crate) id: Vec<u8>,
    pub(crate) person: String,
    pub(crate) key: Vec<u8>,
    pub(crate) count: u32,
}

/// A link that may still be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkRow {
    /// Of its code.
    pub(crate) digest: String,
    pub(crate) role: String,
    pub(crate) name: Option<String>,
    pub(crate) expires_at: i64,
}

/// How an enrolment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enrolled {
    /// It is done.
    Done,
    /// The link was used or has lapsed meanwhile.
    LinkGone,
    /// The name belongs to somebody, or the passkey does.
    Taken,
}

const PERSON: &str = "SELECT name, role, handle, added_at, revoked_at, \
     (SELECT max(used_at) FROM passkey WHERE person = name) AS used_at, \
     (SELECT count(*) FROM passkey WHERE person = name) AS passkeys FROM person";
const LINK: &str = "SELECT digest, role, name, expires_at FROM enrolment";

impl Store {
    pub(crate) fn people(&self) -> Result<Vec<PersonRow>, StoreError> {
        let mut all = self.kept_people()?;
        all.retain(|person| self.seals.holds(person));
        Ok(all)
    }

    /// Every row, as it stands.
    pub(super) fn kept_people(&self) -> Result<Vec<PersonRow>, StoreError> {
        let connection = self.locked();
        let mut query = connection.prepare(&format!("{PERSON} ORDER BY added_at, name"))?;
        Ok(query.query_map([], person)?.collect::<Result<Vec<_>, _>>()?)
    }

    pub(crate) fn person(&self, name: &str) -> Result<Option<PersonRow>, StoreError> {
        Ok(find(&self.locked(), name)?.filter(|person| self.seals.holds(person)))
    }

    /// Keeps a link.
    pub(crate) fn add_link(&self, link: &LinkRow, now: i64) -> Result<(), StoreError> {
        let connection = self.locked();
        connection.execute("DELETE FROM enrolment WHERE used_at IS NOT NULL OR expires_at <= ?1", [now])?;
        connection.execute(
            "DELETE FROM enrolment WHERE digest NOT IN (SELECT digest FROM enrolment ORDER BY expires_at DESC LIMIT ?1)",
            [LINKS_ENTRIES_MAX - 1],
        )?;
        connection.execute(
            "INSERT INTO enrolment (digest, role, name, expires_at) VALUES (?1, ?2, ?3, ?4)",
            params![link.digest, link.role, link.name, link.expires_at],
        )?;
        self.seals.set(link);
        Ok(())
    }

    /// The link of this digest, as long as it may be used.
    pub(crate) fn link(&self, digest: &str, now: i64) -> Result<Option<LinkRow>, StoreError> {
        self.open_link(&self.locked(), digest, now)
    }

    fn open_link(
        &self,
        connection: &Connection,
        digest: &str,
        now: i64,
    ) -> Result<Option<LinkRow>, StoreError> {
        let query = format!("{LINK} WHERE digest = ?1 AND used_at IS NULL AND expires_at > ?2");
        let found = connection.query_row(&query, params![digest, now], link).optional()?;
        Ok(found.filter(|link| self.seals.holds(link)))
    }

    /// Every row, as it stands.
    pub(super) fn kept_links(&self) -> Result<Vec<LinkRow>, StoreError> {
        let connection = self.locked();
        let mut query = connection.prepare(&format!("{LINK} WHERE used_at IS NULL"))?;
        Ok(query.query_map([], link)?.collect::<Result<Vec<_>, _>>()?)
    }

    /// Uses up a link and adds `passkey` of `person`, whole or not at all. A person who is there already keeps role and handle.
    pub(crate) fn enrol(
        &self,
        digest: &str,
        person: &PersonRow,
        passkey: &PasskeyRow,
        now: i64,
    ) -> Result<Enrolled, StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(link) = self.open_link(&transaction, digest, now)? else { return Ok(Enrolled::LinkGone) };
        let known = find(&transaction, &person.name)?;
        if known.as_ref().is_some_and(|known| !self.seals.holds(known)) {
            return Ok(Enrolled::Taken);
        }
        // Another key for somebody is only enrolled by a link that was made for them.
        let is_own = |known: &PersonRow| {
            known.revoked_at.is_none()
                && known.handle == person.handle
                && link.name.as_ref() == Some(&known.name)
        };
        if known.as_ref().is_some_and(|known| !is_own(known)) {
            return Ok(Enrolled::Taken);
        }
        if known.is_none() {
            transaction.execute(
                "INSERT INTO person (name, role, handle, added_at) VALUES (?1, ?2, ?3, ?4)",
                params![person.name, link.role, person.handle, now],
            )?;
        }
        let added = transaction.execute(
            "INSERT OR IGNORE INTO passkey (id, person, key, count, added_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![passkey.id, person.name, passkey.key, passkey.count, now],
        )?;
        if added == 0 {
            return Ok(Enrolled::Taken);
        }
        transaction.execute("UPDATE enrolment SET used_at = ?2 WHERE digest = ?1", params![digest, now])?;
        let entered = find(&transaction, &person.name)?;
        transaction.commit()?;
        if let Some(entered) = entered {
            self.seals.set(&entered);
        }
        self.seals.set(passkey);
        self.seals.let_in(&person.name);
        self.seals.forget(&link);
        Ok(Enrolled::Done)
    }

    pub(crate) fn passkey(&self, id: &[u8]) -> Result<Option<PasskeyRow>, StoreError> {
        let query = "SELECT id, person, key, count FROM passkey WHERE id = ?1";
        let found = self.locked().query_row(query, [id], passkey).optional()?;
        Ok(found.filter(|passkey| self.seals.holds(passkey)))
    }

    pub(crate) fn passkeys_of(&self, name: &str) -> Result<Vec<PasskeyRow>, StoreError> {
        let mut all = self.kept_passkeys(name)?;
        all.retain(|passkey| self.seals.holds(passkey));
        Ok(all)
    }

    /// Every row, as it stands.
    pub(super) fn kept_passkeys(&self, name: &str) -> Result<Vec<PasskeyRow>, StoreError> {
        let connection = self.locked();
        let mut query = connection.prepare("SELECT id, person, key, count FROM passkey WHERE person = ?1")?;
        Ok(query.query_map([name], passkey)?.collect::<Result<Vec<_>, _>>()?)
    }

    /// Keeps the new counter of a passkey; false when another use of it was kept since `before`.
    pub(crate) fn used(&self, before: &PasskeyRow, count: u32, now: i64) -> Result<bool, StoreError> {
        let changed = self.locked().execute(
            "UPDATE passkey SET count = ?3, used_at = ?4 WHERE id = ?1 AND count = ?2",
            params![before.id, before.count, count, now],
        )?;
        if changed == 1 {
            self.seals.set(&PasskeyRow { count, ..before.clone() });
        }
        Ok(changed == 1)
    }

    /// Takes away a person's passkeys for good; false when there is nobody of that name left to revoke.
    pub(crate) fn revoke(&self, name: &str, now: i64) -> Result<bool, StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = transaction.execute(
            "UPDATE person SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL",
            params![name, now],
        )?;
        let passkeys = transaction
            .prepare("DELETE FROM passkey WHERE person = ?1 RETURNING id, person, key, count")?
            .query_map([name], passkey)?
            .collect::<Result<Vec<_>, _>>()?;
        // A link made for them must not bring them back.
        let links = transaction
            .prepare("DELETE FROM enrolment WHERE name = ?1 RETURNING digest, role, name, expires_at")?
            .query_map([name], link)?
            .collect::<Result<Vec<_>, _>>()?;
        let person = find(&transaction, name)?;
        transaction.commit()?;
        self.seals.turn_out(name);
        passkeys.iter().for_each(|passkey| self.seals.forget(passkey));
        links.iter().for_each(|link| self.seals.forget(link));
        if let Some(person) = person {
            self.seals.set(&person);
        }
        Ok(changed == 1)
    }
}

fn find(connection: &Connection, name: &str) -> Result<Option<PersonRow>, StoreError> {
    Ok(connection.query_row(&format!("{PERSON} WHERE name = ?1"), [name], person).optional()?)
}

fn link(row: &rusqlite::Row<'_>) -> rusqlite::Result<LinkRow> {
    Ok(LinkRow {
        digest: row.get("digest")?,
        role: row.get("role")?,
        name: row.get("name")?,
        expires_at: row.get("expires_at")?,
    })
}

fn person(row: &rusqlite::Row<'_>) -> rusqlite::Result<PersonRow> {
    let passkeys: i64 = row.get("passkeys")?;
    Ok(PersonRow {
        name: row.get("name")?,
        role: row.get("role")?,
        handle: row.get("handle")?,
        added_at: row.get("added_at")?,
        revoked_at: row.get("revoked_at")?,
        used_at: row.get("used_at")?,
        passkeys: usize::try_from(passkeys).unwrap_or(0),
    })
}

fn passkey(row: &rusqlite::Row<'_>) -> rusqlite::Result<PasskeyRow> {
    Ok(PasskeyRow { id: row.get(0)?, person: row.get(1)?, key: row.get(2)?, count: row.get(3)? })
}
