//! The life of one approval: asked → granted | refused | expired | void, and a grant used at most once.
//! Nothing here knows a clock, a channel or a person's intent; it only says which steps exist.

use crate::policy::Verdict;

/// What an approver is asked about, fixed when the question is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Digest of the exact request shown.
    pub request_digest: String,
    /// Digest of the policies that asked.
    pub policy_digest: String,
    /// When the question lapses, in seconds since 1970.
    pub expires_at: i64,
}

/// Where an approval stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Waiting for an answer.
    Pending,
    /// Someone said yes; not used yet.
    Granted {
        /// Who answered.
        by: String,
    },
    /// Someone said no.
    Refused {
        /// Who answered.
        by: String,
        /// What the agent is told.
        reason: String,
    },
    /// Nobody answered in time, or the grant was not used in time.
    Expired,
    /// The request was withdrawn, or its policy changed, before the grant was used.
    Void,
    /// The grant was used.
    Used,
}

/// What can happen to an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An approver grants.
    Grant {
        /// Who.
        by: String,
    },
    /// An approver refuses.
    Refuse {
        /// Who.
        by: String,
        /// Why, in words for the agent.
        reason: String,
    },
    /// The agent's side gave up waiting.
    Withdraw,
    /// Time passed.
    Tick,
}

/// A step that does not exist, e.g. granting what was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the approval is already {state}")]
pub struct Closed {
    state: &'static str,
}

/// Proof that a person granted exactly one request under exactly one policy. Not `Clone`: it is spent by use.
#[must_use]
#[derive(Debug)]
pub struct Grant {
    request_digest: String,
    policy_digest: String,
    by: String,
}

impl Grant {
    /// Who granted.
    pub fn by(&self) -> &str {
        &self.by
    }
    pub(crate) fn covers(&self, verdict: &Verdict) -> bool {
        self.request_digest == verdict.request_digest && self.policy_digest == verdict.policy_digest
    }
}

impl State {
    /// The word for this state, as stored and shown.
    pub fn name(&self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Granted { .. } => "granted",
            State::Refused { .. } => "refused",
            State::Expired => "expired",
            State::Void => "void",
            State::Used => "used",
        }
    }

    /// The state after `event` at `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`Closed`] where the approval has already been answered or has lapsed.
    pub fn after(self, ask: &Ask, event: Event, now: i64) -> Result<State, Closed> {
        let state = self.at(ask, now);
        match (state, event) {
            (State::Pending, Event::Grant { by }) => Ok(State::Granted { by }),
            (State::Pending, Event::Refuse { by, reason }) => Ok(State::Refused { by, reason }),
            (State::Pending | State::Granted { .. }, Event::Withdraw) => Ok(State::Void),
            (state, Event::Tick) => Ok(state),
            (state, Event::Grant { .. } | Event::Refuse { .. } | Event::Withdraw) => {
                Err(Closed { state: state.name() })
            }
        }
    }

    /// Uses a grant for the request and policy that stand now; the second value replaces the stored state.
    ///
    /// # Errors
    /// [`Closed`] unless granted, unexpired and not used before.
    pub fn spend(
        self,
        ask: &Ask,
        request_digest: &str,
        policy_digest: &str,
        now: i64,
    ) -> Result<(Grant, State), Closed> {
        match self.at(ask, now) {
            State::Granted { by }
                if ask.request_digest == request_digest && ask.policy_digest == policy_digest =>
            {
                let Ask { request_digest, policy_digest, .. } = ask.clone();
                Ok((Grant { request_digest, policy_digest, by }, State::Used))
            }
            State::Granted { .. } => Err(Closed { state: State::Void.name() }),
            state => Err(Closed { state: state.name() }),
        }
    }

    /// The state once the time is `now`.
    pub fn at(self, ask: &Ask, now: i64) -> State {
        match self {
            State::Pending | State::Granted { .. } if now >= ask.expires_at => State::Expired,
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_that_exists_beside_the_nearest_that_does_not() {
        let ask = Ask { request_digest: "r".into(), policy_digest: "p".into(), expires_at: 100 };
        let granted = || State::Granted { by: "ann".into() };
        let grant = || Event::Grant { by: "ann".into() };
        let refuse = || Event::Refuse { by: "ann".into(), reason: "no".into() };
        assert_eq!(State::Pending.after(&ask, grant(), 99), Ok(granted()));
        assert_eq!(State::Pending.after(&ask, grant(), 100), Err(Closed { state: "expired" }));
        assert_eq!(granted().after(&ask, grant(), 1), Err(Closed { state: "granted" }));
        assert_eq!(granted().after(&ask, refuse(), 1), Err(Closed { state: "granted" }));
        assert_eq!(State::Used.after(&ask, Event::Withdraw, 1), Err(Closed { state: "used" }));
        assert_eq!(granted().after(&ask, Event::Withdraw, 1), Ok(State::Void));
        assert_eq!(State::Pending.after(&ask, Event::Tick, 100), Ok(State::Expired));
        assert!(granted().spend(&ask, "r", "p", 99).is_ok());
        for (state, request, policy, now) in [
            (granted(), "other", "p", 99),
            (granted(), "r", "other", 99),
            (granted(), "r", "p", 100),
            (State::Used, "r", "p", 99),
            (State::Pending, "r", "p", 99),
            (State::Void, "r", "p", 99),
        ] {
            assert!(
                state.clone().spend(&ask, request, policy, now).is_err(),
                "{state:?} {request} {policy} {now}"
            );
        }
    }
}
