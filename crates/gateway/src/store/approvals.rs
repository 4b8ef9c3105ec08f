//! Approvals in the state file. Every step is the state machine's, taken and stored in one transaction.

use super::seal::CHANGED;
use super::{Store, StoreError};
use crate::wire::approval::{Approval, Consent};
use judge::approval::{Approver, Ask, Event, Grant, State};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

/// Most approvals that may wait at once; a further ask is denied.
const PENDING_MAX: usize = 2_000;
/// Answered approvals kept for `approvals list`.
const ANSWERED_KEPT: usize = 1_000;
/// Receivers remembered as approved before; beyond that everybody is new.
const RECEIVERS_MAX: i64 = 100_000;

impl Store {
    /// The open approval for this very request and policy, or `fresh`, stored. The flag says whether it is new.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Sqlite`].
    pub fn ask(&self, fresh: Approval, now: i64) -> Result<(Approval, bool), StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let open = transaction
            .prepare_cached(
                "SELECT * FROM approval WHERE request_digest = ?1 AND policy_digest = ?2 \
                 AND state IN ('pending', 'granted') AND expires_at > ?3 ORDER BY asked_at",
            )?
            .query_map(params![fresh.request_digest, fresh.policy_digest, now], read)?
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(open) = open.into_iter().find(|open| self.seals.holds(open)) {
            return Ok((open, false));
        }
        let pending: i64 = transaction.query_row(
            "SELECT count(*) FROM approval WHERE state = 'pending' AND expires_at > ?1",
            [now],
            |row| row.get(0),
        )?;
        if pending >= PENDING_MAX as i64 {
            return Err(StoreError::Full(PENDING_MAX));
        }
        transaction.execute(
            "INSERT INTO approval (id, state, session, agent, user, tool, cwd, arguments, why, request_digest, \
             policy_digest, asked_at, expires_at, approvers, shown, answered_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                fresh.id,
                fresh.state,
                fresh.session,
                fresh.agent,
                fresh.user,
                fresh.tool,
                fresh.cwd,
                fresh.arguments.to_string(),
                fresh.why,
                fresh.request_digest,
                fresh.policy_digest,
                fresh.asked_at,
                fresh.expires_at,
                fresh.approvers,
                serde_json::to_string(&fresh.shown).unwrap_or_default(),
                fresh.answered_by
            ],
        )?;
        let gone = transaction
            .prepare_cached(
                "DELETE FROM approval WHERE state NOT IN ('pending', 'granted') AND id NOT IN \
                 (SELECT id FROM approval ORDER BY asked_at DESC LIMIT ?1) RETURNING id",
            )?
            .query_map([ANSWERED_KEPT as i64], |row| row.get(0))?
            .collect::<Result<Vec<String>, _>>()?;
        let kept = find(&transaction, &fresh.id)?;
        transaction.commit()?;
        self.seals.forget_approvals(&gone);
        self.seals.set(&kept);
        Ok((kept, true))
    }

    /// Who refused this very request of the client's call of this id, under this policy, and why.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn refused(
        &self,
        client_call: &str,
        request: &str,
        policy: &str,
    ) -> Result<Option<(String, String)>, StoreError> {
        if client_call.is_empty() {
            return Ok(None);
        }
        let found = self.locked().query_row(
            "SELECT answered_by, reason FROM approval WHERE request_digest = ?1 AND policy_digest = ?2 \
             AND state = 'refused' AND json_extract(shown, '$.client_call') = ?3 ORDER BY asked_at DESC LIMIT 1",
            [request, policy, client_call],
            |row| Ok((row.get(0)?, row.get(1)?)),
        );
        Ok(found.optional()?)
    }

    /// Every approval kept, newest first, lapsed ones shown as such.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn approvals(&self, now: i64) -> Result<Vec<Approval>, StoreError> {
        let mut all = self.kept_approvals()?;
        for approval in &mut all {
            if self.seals.holds(approval) {
                approval.state = at(approval, now);
            } else {
                "void".clone_into(&mut approval.state);
                CHANGED.clone_into(&mut approval.reason);
            }
        }
        Ok(all)
    }

    /// Every row, as it stands.
    pub(super) fn kept_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        let connection = self.locked();
        let mut query = connection.prepare("SELECT * FROM approval ORDER BY asked_at DESC, id")?;
        Ok(query.query_map([], read)?.collect::<Result<Vec<_>, _>>()?)
    }

    /// The approvals asked over this session that nobody has answered.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn waiting_of(&self, session: &str, now: i64) -> Result<Vec<Approval>, StoreError> {
        let connection = self.locked();
        let mut query = connection.prepare_cached(
            "SELECT * FROM approval WHERE state = 'pending' AND session = ?1 AND expires_at > ?2 ORDER BY asked_at, id",
        )?;
        let mut rows = query.query_map(params![session, now], read)?.collect::<Result<Vec<_>, _>>()?;
        rows.retain(|approval| self.seals.holds(approval));
        Ok(rows)
    }

    /// One approval.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or [`StoreError::Sqlite`].
    pub fn approval(&self, id: &str, now: i64) -> Result<Approval, StoreError> {
        let mut approval = self.ours(&self.locked(), id)?;
        approval.state = at(&approval, now);
        Ok(approval)
    }

    /// Where an approval would stand after `event`; nothing is stored.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::NoStep`] or [`StoreError::Sqlite`].
    pub fn would_step(&self, id: &str, event: Event, now: i64) -> Result<State, StoreError> {
        let approval = self.ours(&self.locked(), id)?;
        Ok(state_of(&approval).after(&ask_of(&approval), event, now)?)
    }

    /// Steps an approval and stores where it stands.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::NoStep`] or [`StoreError::Sqlite`].
    pub fn step(&self, id: &str, event: Event, now: i64) -> Result<Approval, StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let approval = self.ours(&transaction, id)?;
        let state = state_of(&approval).after(&ask_of(&approval), event, now)?;
        let approval = put(&transaction, approval, &state)?;
        transaction.commit()?;
        self.seals.set(&approval);
        Ok(approval)
    }

    /// Spends a grant, at most once whatever else happens: the state is durable before the grant is returned.
    ///
    /// # Errors
    /// [`StoreError::NoStep`] unless granted for exactly this request and policy.
    pub fn spend(&self, id: &str, request: &str, policy: &str, now: i64) -> Result<Grant, StoreError> {
        let mut connection = self.locked();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let approval = self.ours(&transaction, id)?;
        let (grant, state) = state_of(&approval).spend(&ask_of(&approval), request, policy, now)?;
        let approval = put(&transaction, approval, &state)?;
        for value in approval.shown.values.iter().filter(|value| value.role == "receiver") {
            transaction.execute(
                "INSERT OR IGNORE INTO receiver (user, value) SELECT ?1, ?2 \
                 WHERE (SELECT count(*) FROM receiver) < ?3",
                params![approval.user, value.text, RECEIVERS_MAX],
            )?;
        }
        transaction.commit()?;
        self.seals.set(&approval);
        Ok(grant)
    }

    /// Whether a call of `user` to this receiver was never approved and used before.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn is_first_seen(&self, user: &str, value: &str) -> Result<bool, StoreError> {
        let known = self
            .locked()
            .query_row("SELECT 1 FROM receiver WHERE user = ?1 AND value = ?2", [user, value], |_| Ok(()))
            .optional()?;
        Ok(known.is_none())
    }
}

impl Store {
    /// An approval as this process wrote it.
    fn ours(&self, connection: &Connection, id: &str) -> Result<Approval, StoreError> {
        let approval = find(connection, id)?;
        if self.seals.holds(&approval) { Ok(approval) } else { Err(StoreError::Changed(id.to_owned())) }
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
        State::Pending { consents, left_to } => {
            let consent = |by: &Approver| Consent { name: by.name.clone(), identity: by.identity.clone() };
            approval.consents = consents.iter().map(consent).collect();
            approval.left_to = left_to.clone().unwrap_or_default();
        }
        State::Granted { by } => approval.answered_by.clone_from(by),
        State::Refused { by, reason } => {
            approval.answered_by.clone_from(by);
            approval.reason.clone_from(reason);
        }
        State::Expired | State::Void | State::Used => {}
    }
    connection.execute(
        "UPDATE approval SET state = ?2, answered_by = ?3, reason = ?4, consents = ?5, left_to = ?6 WHERE id = ?1",
        params![
            approval.id,
            approval.state,
            approval.answered_by,
            approval.reason,
            serde_json::to_string(&approval.consents).unwrap_or_default(),
            approval.left_to
        ],
    )?;
    Ok(approval)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Approval> {
    let arguments: String = row.get("arguments")?;
    let consents: String = row.get("consents")?;
    let shown: String = row.get("shown")?;
    Ok(Approval {
        id: row.get("id")?,
        state: row.get("state")?,
        session: row.get("session")?,
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
        approvers: row.get("approvers")?,
        consents: serde_json::from_str(&consents).unwrap_or_default(),
        left_to: row.get("left_to")?,
        shown: serde_json::from_str(&shown).unwrap_or_default(),
        answered_by: row.get("answered_by")?,
        reason: row.get("reason")?,
    })
}

/// The word for where an approval stands at `now`.
fn at(approval: &Approval, now: i64) -> String {
    state_of(approval).at(&ask_of(approval), now).name().to_owned()
}

fn ask_of(approval: &Approval) -> Ask {
    Ask {
        request_digest: approval.request_digest.clone(),
        policy_digest: approval.policy_digest.clone(),
        expires_at: approval.expires_at,
        approvers: approval.approvers.max(1),
    }
}

fn state_of(approval: &Approval) -> State {
    let by = approval.answered_by.clone();
    match approval.state.as_str() {
        "pending" => State::Pending {
            consents: approval
                .consents
                .iter()
                .map(|said| Approver { name: said.name.clone(), identity: said.identity.clone() })
                .collect(),
            left_to: Some(approval.left_to.clone()).filter(|to| !to.is_empty()),
        },
        "granted" => State::Granted { by },
        "refused" => State::Refused { by, reason: approval.reason.clone() },
        "expired" => State::Expired,
        "used" => State::Used,
        // A word this version does not know grants nothing.
        _ => State::Void,
    }
}
