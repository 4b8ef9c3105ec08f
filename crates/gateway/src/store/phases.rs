//! Where conversations were narrowed to, so that a restart does not widen them. What was widened is not kept: it ends with the gate.

use super::{Store, StoreError};
use rusqlite::params;
use std::collections::HashMap;

/// Most conversations remembered; the oldest is forgotten first.
const REMEMBERED_MAX: usize = 10_000;

impl Store {
    /// Phases by the name of the conversation.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn narrowed(&self) -> Result<HashMap<String, String>, StoreError> {
        let connection = self.locked();
        let mut query = connection.prepare("SELECT conversation, name FROM phase")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Remembers that a conversation was narrowed to `phase`.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn narrow(&self, conversation: &str, phase: &str, now: i64) -> Result<(), StoreError> {
        let connection = self.locked();
        connection.execute(
            "INSERT INTO phase (conversation, name, at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (conversation) DO UPDATE SET name = ?2, at = ?3",
            params![conversation, phase, now],
        )?;
        connection.execute(
            "DELETE FROM phase WHERE conversation NOT IN (SELECT conversation FROM phase ORDER BY at DESC LIMIT ?1)",
            [REMEMBERED_MAX as i64],
        )?;
        Ok(())
    }
}
