//! State in one SQLite file with numbered migrations. A file of a newer version is never opened.

use crate::wire::control::Approval;
use judge::approval::{Ask, Closed, Event, Grant, State};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use std::path::Path;
use std::sync::Mutex;

/// Each entry takes the file from version `index` to `index + 1`; entries are never edited, only added.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE approval (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        agent TEXT NOT NULL,
        user TEXT NOT NULL,
        tool TEXT NOT NULL,
        cwd TEXT NOT NULL,
        arguments TEXT NOT NULL,
        why TEXT NOT NULL,
        request_digest TEXT NOT NULL,
        policy_digest TEXT NOT NULL,
        asked_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        answered_by TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX approval_open ON approval (request_digest, state);
"];

/// Most approvals that may wait at once; a further ask is denied.
const PENDING_MAX: usize = 256;
/// Answered approvals kept for `approvals list`.
const ANSWERED_KEPT: usize = 1_000;

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file was written by a newer version.
    #[error(
        "{path}: written by a newer version of bailiwick (state {found}, this one knows {known}); upgrade, or start with another --state"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: usize,
    },
    /// SQLite could not.
    #[error("the state file cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No such approval.
    #[error("there is no approval `{0}`; see `bailiwick approvals list`")]
    Unknown(String),
    /// The approval has been answered or has lapsed.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// Too many wait already.
    #[error("{PENDING_MAX} approvals wait already; answer some first")]
    Full,
}

/// The state file.
pub struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens or creates the file at `path` and brings it to this version.
    ///
    /// # Errors
    /// [`StoreError::Newer`] or [`StoreError::Sqlite`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let from =
            usize::try_from(found).ok().filter(|version| *version <= MIGRATIONS.len()).ok_or_else(|| {
                StoreError::Newer { path: path.display().to_string(), found, known: MIGRATIONS.len() }
            })?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for migration in &MIGRATIONS[from..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
        transaction.commit()?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// A value kept under `name`.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        let found = self
            .locked()
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
            .optional()?;
        Ok(found)
    }

    /// Keeps `value` under `name`.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.locked().execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
            params![name, value],
        )?;
        Ok(())
    }

    /// The open approval for this very request and policy, or `fresh`, stored. The flag says whether it is new.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Sqlite`].
    pub fn ask(&self, fresh: Approval, now: i64) -> Result<(Approval, bool), StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let open = transaction
            .query_row(
                "SELECT * FROM approval WHERE request_digest = ?1 AND policy_digest = ?2 \
                 AND state IN ('pending', 'granted') AND expires_at > ?3 ORDER BY asked_at LIMIT 1",
                params![fresh.request_digest, fresh.policy_digest, now],
                read,
            )
            .optional()?;
        if let Some(open) = open {
            return Ok((open, false));
        }
        let pending: i64 = transaction.query_row(
            "SELECT count(*) FROM approval WHERE state = 'pending' AND expires_at > ?1",
            [now],
            |row| row.get(0),
        )?;
        if pending >= PENDING_MAX as i64 {
            return Err(StoreError::Full);
        }
        transaction.execute(
            "INSERT INTO approval (id, state, agent, user, tool, cwd, arguments, why, request_digest, policy_digest, \
             asked_at, expires_at, answered_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                fresh.id, fresh.state, fresh.agent, fresh.user, fresh.tool, fresh.cwd, fresh.arguments.to_string(), fresh.why,
                fresh.request_digest, fresh.policy_digest, fresh.asked_at, fresh.expires_at, fresh.answered_by
            ],
        )?;
        transaction.execute(
            "DELETE FROM approval WHERE state NOT IN ('pending', 'granted') AND id NOT IN \
             (SELECT id FROM approval ORDER BY asked_at DESC LIMIT ?1)",
            [ANSWERED_KEPT as i64],
        )?;
        transaction.commit()?;
        Ok((fresh, true))
    }

    /// Every approval kept, newest first, lapsed ones shown as such.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn approvals(&self, now: i64) -> Result<Vec<Approval>, StoreError> {
        let connection = self.locked();
        let mut query = connection.prepare("SELECT * FROM approval ORDER BY asked_at DESC, id")?;
        let rows = query.query_map([], read)?.collect::<Result<Vec<_>, _>>()?;
        Ok(rows.into_iter().map(|approval| lapsed(approval, now)).collect())
    }

    /// One approval.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or [`StoreError::Sqlite`].
    pub fn approval(&self, id: &str, now: i64) -> Result<Approval, StoreError> {
        Ok(lapsed(find(&self.locked(), id)?, now))
    }

    /// Steps an approval and stores where it stands.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::Closed`] or [`StoreError::Sqlite`].
    pub fn step(&self, id: &str, event: Event, now: i64) -> Result<Approval, StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let approval = find(&transaction, id)?;
        let state = state_of(&approval).after(&ask_of(&approval), event, now)?;
        let approval = put(&transaction, approval, &state)?;
        transaction.commit()?;
        Ok(approval)
    }

    /// Spends a grant, at most once whatever else happens: the state is durable before the grant is returned.
    ///
    /// # Errors
    /// [`StoreError::Closed`] unless granted for exactly this request and policy.
    pub fn spend(&self, id: &str, request: &str, policy: &str, now: i64) -> Result<Grant, StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let approval = find(&transaction, id)?;
        let (grant, state) = state_of(&approval).spend(&ask_of(&approval), request, policy, now)?;
        put(&transaction, approval, &state)?;
        transaction.commit()?;
        Ok(grant)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn find(connection: &Connection, id: &str) -> Result<Approval, StoreError> {
    connection
        .query_row("SELECT * FROM approval WHERE id = ?1", [id], read)
        .optional()?
        .ok_or_else(|| StoreError::Unknown(id.to_owned()))
}

fn put(connection: &Connection, mut approval: Approval, state: &State) -> Result<Approval, StoreError> {
    approval.state = state.name().to_owned();
    match state {
        State::Granted { by } => approval.answered_by.clone_from(by),
        State::Refused { by, reason } => {
            approval.answered_by.clone_from(by);
            approval.reason.clone_from(reason);
        }
        State::Pending | State::Expired | State::Void | State::Used => {}
    }
    connection.execute(
        "UPDATE approval SET state = ?2, answered_by = ?3, reason = ?4 WHERE id = ?1",
        params![approval.id, approval.state, approval.answered_by, approval.reason],
    )?;
    Ok(approval)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Approval> {
    let arguments: String = row.get("arguments")?;
    Ok(Approval {
        id: row.get("id")?,
        state: row.get("state")?,
        agent: row.get("agent")?,
        user: row.get("user")?,
        tool: row.get("tool")?,
        cwd: row.get("cwd")?,
        arguments: serde_json::from_str(&arguments).unwrap_or(serde_json::Value::String(arguments)),
        why: row.get("why")?,
        request_digest: row.get("request_digest")?,
        policy_digest: row.get("policy_digest")?,
        asked_at: row.get("asked_at")?,
        expires_at: row.get("expires_at")?,
        answered_by: row.get("answered_by")?,
        reason: row.get("reason")?,
    })
}

fn lapsed(mut approval: Approval, now: i64) -> Approval {
    approval.state = state_of(&approval).at(&ask_of(&approval), now).name().to_owned();
    approval
}

fn ask_of(approval: &Approval) -> Ask {
    Ask {
        request_digest: approval.request_digest.clone(),
        policy_digest: approval.policy_digest.clone(),
        expires_at: approval.expires_at,
    }
}

fn state_of(approval: &Approval) -> State {
    let by = approval.answered_by.clone();
    match approval.state.as_str() {
        "pending" => State::Pending,
        "granted" => State::Granted { by },
        "refused" => State::Refused { by, reason: approval.reason.clone() },
        "expired" => State::Expired,
        "used" => State::Used,
        // A word this version does not know grants nothing.
        _ => State::Void,
    }
}
