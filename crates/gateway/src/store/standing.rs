//! Standing grants in the state file: given, used a bounded number of times, taken back. A use is durable before it counts.

use super::{Store, StoreError};
use crate::wire::approval::{Scope, Standing};
use judge::approval::scope::Life;
use judge::approval::{Grant, NoStep};
use judge::permit::Pending;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

/// Most grants that stand at once.
const STANDING_MAX: usize = 1_000;
/// Grants that are over and still kept to be shown. Those of tokens are kept as long as the token could be used.
const OVER_KEPT: usize = 1_000;

impl Store {
    /// Keeps a new standing grant. A second one of the same id is none: a token is taken in once.
    ///
    /// # Errors
    /// [`StoreError::Scope`], [`StoreError::TooMany`] or [`StoreError::Sqlite`].
    pub fn stand(&self, grant: &Standing, now: i64) -> Result<Standing, StoreError> {
        grant.scope.to_judge()?;
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(known) = find(&transaction, &grant.id)? {
            return if self.seals.holds(&known) { Ok(lapsed(known, now)) } else { Err(changed(&grant.id)) };
        }
        // One that was taken out of the file must not come again.
        if self.seals.lacks_grant(&grant.id) {
            return Err(changed(&grant.id));
        }
        let active: i64 = transaction.query_row(
            "SELECT count(*) FROM standing WHERE state = 'active' AND json_extract(scope, '$.until') > ?1",
            [now],
            |row| row.get(0),
        )?;
        // One that is over before it began takes nobody's place.
        if grant.state == "active" && active >= STANDING_MAX as i64 {
            return Err(StoreError::TooMany(STANDING_MAX));
        }
        let Scope { agent, user, tool, .. } = &grant.scope;
        transaction.execute(
            "INSERT INTO standing (id, state, agent, user, tool, scope, uses_left, given_by, channel, given_at, used_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                grant.id,
                grant.state,
                agent,
                user,
                tool,
                serde_json::to_string(&grant.scope).unwrap_or_default(),
                grant.left,
                grant.by,
                grant.channel,
                grant.given_at,
                grant.used_at
            ],
        )?;
        transaction.execute(
            "DELETE FROM standing WHERE json_extract(scope, '$.until') <= ?1 AND id NOT IN \
             (SELECT id FROM standing ORDER BY given_at DESC LIMIT ?2)",
            params![now, OVER_KEPT as i64],
        )?;
        let kept = find(&transaction, &grant.id)?.unwrap_or_else(|| grant.clone());
        transaction.commit()?;
        self.seals.set(&kept);
        Ok(kept)
    }

    /// Every standing grant kept, newest first, lapsed ones shown as such.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn standing(&self, now: i64) -> Result<Vec<Standing>, StoreError> {
        let seen = |grant: Standing| {
            if self.seals.holds(&grant) {
                return lapsed(grant, now);
            }
            Standing { state: Life::Withdrawn.name().to_owned(), ..grant }
        };
        Ok(self.kept_standing()?.into_iter().map(seen).collect())
    }

    /// Every row, as it stands.
    pub(super) fn kept_standing(&self) -> Result<Vec<Standing>, StoreError> {
        let connection = self.locked();
        let mut query = connection.prepare("SELECT * FROM standing ORDER BY given_at DESC, id")?;
        Ok(query.query_map([], read)?.collect::<Result<Vec<_>, _>>()?)
    }

    /// The standing grant `id`, where it is known.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn standing_of(&self, id: &str, now: i64) -> Result<Option<Standing>, StoreError> {
        match find(&self.locked(), id)? {
            Some(known) if !self.seals.holds(&known) => Err(changed(id)),
            known => Ok(known.map(|standing| lapsed(standing, now))),
        }
    }

    /// Uses a grant that covers `pending`, if one stands; the use is durable before the grant is returned.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn spend_standing(
        &self,
        pending: &Pending,
        phase: &str,
        now: i64,
    ) -> Result<Option<(String, Grant)>, StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let principal = pending.request().principal();
        let candidates = transaction
            .prepare_cached(
                "SELECT * FROM standing WHERE tool = ?1 AND state = 'active' AND agent = ?2 AND user = ?3 \
                 ORDER BY given_at",
            )?
            .query_map(
                params![pending.request().tool().name.to_string(), principal.agent, principal.user],
                read,
            )?
            .collect::<Result<Vec<_>, _>>()?;
        for mut standing in candidates {
            let Ok(scope) = standing.scope.to_judge() else { continue };
            if !self.seals.holds(&standing) {
                continue;
            }
            if let Ok((grant, life)) = scope.spend(life_of(&standing), pending, &standing.by, phase, now) {
                put(&transaction, &mut standing, life)?;
                transaction.commit()?;
                self.seals.set(&standing);
                return Ok(Some((standing.id, grant)));
            }
        }
        Ok(None)
    }

    /// Takes a standing grant back; absent where there is none of this id.
    ///
    /// # Errors
    /// [`StoreError::NoStep`] for one that is over, [`StoreError::Sqlite`].
    pub fn withdraw_standing(&self, id: &str, now: i64) -> Result<Option<Standing>, StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(mut standing) = find(&transaction, id)? else { return Ok(None) };
        if !self.seals.holds(&standing) {
            return Err(changed(id));
        }
        let life = standing.scope.to_judge()?.at(life_of(&standing), now);
        if !matches!(life, Life::Active { .. }) {
            return Err(NoStep::Closed(life.name()).into());
        }
        put(&transaction, &mut standing, Life::Withdrawn)?;
        transaction.commit()?;
        self.seals.set(&standing);
        Ok(Some(standing))
    }
}

fn changed(id: &str) -> StoreError {
    StoreError::Changed(id.to_owned())
}

fn find(connection: &Connection, id: &str) -> Result<Option<Standing>, StoreError> {
    Ok(connection.query_row("SELECT * FROM standing WHERE id = ?1", [id], read).optional()?)
}

fn put(connection: &Connection, standing: &mut Standing, life: Life) -> Result<(), StoreError> {
    life.name().clone_into(&mut standing.state);
    standing.left = match life {
        Life::Active { left, used_at } => {
            standing.used_at = used_at;
            left
        }
        Life::Spent => 0,
        Life::Lapsed | Life::Withdrawn => standing.left,
    };
    connection.execute(
        "UPDATE standing SET state = ?2, uses_left = ?3, used_at = ?4 WHERE id = ?1",
        params![standing.id, standing.state, standing.left, standing.used_at],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Standing> {
    let scope: String = row.get("scope")?;
    let scope = serde_json::from_str(&scope).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(Standing {
        id: row.get("id")?,
        state: row.get("state")?,
        by: row.get("given_by")?,
        channel: row.get("channel")?,
        scope,
        left: row.get("uses_left")?,
        given_at: row.get("given_at")?,
        used_at: row.get("used_at")?,
    })
}

fn lapsed(mut standing: Standing, now: i64) -> Standing {
    if let Ok(scope) = standing.scope.to_judge() {
        scope.at(life_of(&standing), now).name().clone_into(&mut standing.state);
    }
    standing
}

fn life_of(standing: &Standing) -> Life {
    match standing.state.as_str() {
        "active" => Life::Active { left: standing.left, used_at: standing.used_at },
        "spent" => Life::Spent,
        "lapsed" => Life::Lapsed,
        // A word this version does not know grants nothing.
        _ => Life::Withdrawn,
    }
}
