//! Opens the desk's database file and counts what is in it. A file that `seed` did not make is never written to.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{DeskError, Result};

/// Marks our files among other SQLite databases (`PRAGMA application_id`): "desk" in ASCII.
pub(crate) const APPLICATION_ID: i32 = 0x6465_736b;

/// How long one server waits for another to finish its transaction.
const BUSY_MS_MAX: u64 = 5_000;

/// Opens an existing desk.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    // Without CREATE: a mistyped path must fail here, not serve an empty desk.
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let id = application_id(&db).map_err(|source| DeskError::Open { path: path.to_owned(), source })?;
    if id != APPLICATION_ID {
        return Err(DeskError::NotADesk { path: path.to_owned() });
    }
    Ok(db)
}

pub(crate) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let prepare = || {
        // No URI flag: a path such as `file:x?mode=…` stays a plain file name.
        let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(Duration::from_millis(BUSY_MS_MAX))?;
        // A bundled SQLite has this on by default, a system one has not; erasing a customer depends on it.
        db.pragma_update(None, "foreign_keys", true)?;
        Ok(db)
    };
    prepare().map_err(|source| DeskError::Open { path: path.to_owned(), source })
}

pub(crate) fn application_id(db: &Connection) -> rusqlite::Result<i32> {
    db.pragma_query_value(None, "application_id", |row| row.get(0))
}

/// What has happened at a desk, in counts; taken before and after a run, the difference is the run's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Customers on file.
    pub customers: u64,
    /// Tickets still open.
    pub tickets_open: u64,
    /// Replies written to customers.
    pub replies: u64,
    /// Refunds paid.
    pub refunds: u64,
    /// The sum of all refunds, in cents.
    pub refunded_cents: u64,
    /// Messages in the outbox.
    pub mails: u64,
}

/// Counts what is at the desk, in one consistent read.
///
/// # Errors
/// [`DeskError::Open`] and [`DeskError::NotADesk`] for a file that is no desk, [`DeskError::Database`] otherwise.
pub fn tally(db: &Path) -> Result<Tally> {
    let count = |row: &rusqlite::Row<'_>, at: usize| row.get::<_, i64>(at).map(i64::unsigned_abs);
    Ok(open(db)?.query_row(
        "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM tickets WHERE status = 'open'),
                (SELECT count(*) FROM replies), (SELECT count(*) FROM refunds),
                (SELECT coalesce(sum(amount_cents), 0) FROM refunds), (SELECT count(*) FROM outbox)",
        [],
        |row| {
            Ok(Tally {
                customers: count(row, 0)?,
                tickets_open: count(row, 1)?,
                replies: count(row, 2)?,
                refunds: count(row, 3)?,
                refunded_cents: count(row, 4)?,
                mails: count(row, 5)?,
            })
        },
    )?)
}
