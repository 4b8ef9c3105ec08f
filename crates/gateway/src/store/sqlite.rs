//! State in one SQLite file with numbered migrations. A file of a newer version is never opened.

use super::seal::Seals;
use crate::wire::approval::BadScope;
use judge::approval::NoStep;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::Path;
use std::sync::Mutex;

/// Each entry takes the file from version `index` to `index + 1`; entries are never edited, only added.
const MIGRATIONS: [&str; 3] = [
    "
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
",
    "
    ALTER TABLE approval ADD COLUMN session TEXT NOT NULL DEFAULT '';
    ALTER TABLE approval ADD COLUMN approvers INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE approval ADD COLUMN consents TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE approval ADD COLUMN left_to TEXT NOT NULL DEFAULT '';
    ALTER TABLE approval ADD COLUMN shown TEXT NOT NULL DEFAULT '{}';
    CREATE INDEX approval_state ON approval (state, asked_at);
    CREATE TABLE standing (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        agent TEXT NOT NULL,
        user TEXT NOT NULL,
        tool TEXT NOT NULL,
        scope TEXT NOT NULL,
        uses_left INTEGER NOT NULL,
        given_by TEXT NOT NULL,
        channel TEXT NOT NULL,
        given_at INTEGER NOT NULL,
        used_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX standing_for ON standing (tool, state);
    CREATE TABLE receiver (user TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (user, value)) STRICT;
    CREATE TABLE phase (conversation TEXT PRIMARY KEY, name TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
",
    super::people::MIGRATION,
];

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
    /// The approval has been answered or has lapsed, or is somebody else's to answer.
    #[error(transparent)]
    NoStep(#[from] NoStep),
    /// A standing grant that cannot be.
    #[error(transparent)]
    Scope(#[from] BadScope),
    /// Somebody else wrote it.
    #[error("`{0}` is not as the gate wrote it: somebody changed the state file, so it counts for nothing")]
    Changed(String),
    /// Too many wait already.
    #[error("{0} approvals wait already; answer some first")]
    Full(usize),
    /// Too many grants stand.
    #[error("{0} grants stand already; take some back first")]
    TooMany(usize),
}

/// The state file.
pub struct Store {
    connection: Mutex<Connection>,
    /// What this process wrote.
    pub(super) seals: Seals,
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
        Ok(Self { connection: Mutex::new(connection), seals: Seals::default() })
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

    pub(super) fn locked(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
