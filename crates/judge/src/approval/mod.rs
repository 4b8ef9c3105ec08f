//! The life of one approval: asked → granted | refused | expired | void, and a grant used at most once.
//! Nothing here knows a clock, a channel or a person's intent; it only says which steps exist.

pub mod concern;
pub mod phase;
pub mod scope;

use crate::policy::Verdict;

/// Most people that a policy can ask to agree.
pub const PEOPLE_MAX: u8 = 5;

/// What an approver is asked about, fixed when the question is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Digest of the exact request shown.
    pub request_digest: String,
    /// Digest of the policies that asked.
    pub policy_digest: String,
    /// When the question lapses, in seconds since 1970.
    pub expires_at: i64,
    /// How many people must say yes, at least one.
    pub approvers: u8,
}

/// Somebody who answers, as the channel proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// The name that records show.
    pub name: String,
    /// What tells people apart: two answers with one identity are one person's.
    pub identity: String,
}

impl Approver {
    /// Somebody whose name is all that is known.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), identity: name.to_owned() }
    }
}

/// Where an approval stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Waiting for an answer.
    Pending {
        /// Who said yes already, where more than one must.
        consents: Vec<Approver>,
        /// The name of the one who is to answer, where it was left to somebody.
        left_to: Option<String>,
    },
    /// As many as must said yes; not used yet.
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
        by: Approver,
    },
    /// An approver refuses.
    Refuse {
        /// Who.
        by: Approver,
        /// Why, in words for the agent.
        reason: String,
    },
    /// An approver leaves the answer to somebody else.
    Leave {
        /// Who.
        by: Approver,
        /// To whom, by name.
        to: String,
    },
    /// The agent's side gave up, or an approver took back what was granted and not used.
    Withdraw,
    /// Time passed.
    Tick,
}

/// A step that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStep {
    /// E.g. granting what was refused.
    #[error("the approval is already {0}")]
    Closed(&'static str),
    /// The second yes must come from another person.
    #[error("{0} said yes already; {1} people must, and this is the same one")]
    SamePerson(String, u8),
    /// It was left to somebody else.
    #[error("it was left to {0} to answer")]
    LeftTo(String),
    /// A grant for another request or under other policies.
    #[error("the grant is for another request, or the policies changed since")]
    NotCovered,
}

/// Proof that people granted exactly one request under exactly one policy. Not `Clone`: it is spent by use.
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
    /// A question that nobody has answered.
    pub fn fresh() -> Self {
        State::Pending { consents: Vec::new(), left_to: None }
    }

    /// The word for this state, as stored and shown.
    pub fn name(&self) -> &'static str {
        match self {
            State::Pending { .. } => "pending",
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
    /// [`NoStep`] where the approval has been answered or has lapsed, is somebody else's to answer, or the same person says
    /// yes twice.
    pub fn after(self, ask: &Ask, event: Event, now: i64) -> Result<State, NoStep> {
        match (self.at(ask, now), event) {
            (state, Event::Tick) => Ok(state),
            (State::Pending { .. } | State::Granted { .. }, Event::Withdraw) => Ok(State::Void),
            (State::Pending { left_to: Some(to), .. }, Event::Grant { by } | Event::Leave { by, .. })
                if to != by.name =>
            {
                Err(NoStep::LeftTo(to))
            }
            (State::Pending { mut consents, .. }, Event::Grant { by }) => {
                if consents.iter().any(|said| said.identity == by.identity) {
                    return Err(NoStep::SamePerson(by.name, ask.approvers));
                }
                consents.push(by);
                if consents.len() < usize::from(ask.approvers) {
                    // Whoever it was left to has answered; the next may be anybody.
                    return Ok(State::Pending { consents, left_to: None });
                }
                let names: Vec<String> = consents.into_iter().map(|said| said.name).collect();
                Ok(State::Granted { by: names.join(" and ") })
            }
            // Anybody may say no.
            (State::Pending { .. }, Event::Refuse { by, reason }) => {
                Ok(State::Refused { by: by.name, reason })
            }
            (State::Pending { consents, .. }, Event::Leave { to, .. }) => {
                Ok(State::Pending { consents, left_to: Some(to) })
            }
            (state, _) => Err(NoStep::Closed(state.name())),
        }
    }

    /// Uses a grant for the request and policy that stand now; the second value replaces the stored state.
    ///
    /// # Errors
    /// [`NoStep`] unless granted, unexpired, not used before, and for this very request and policy.
    pub fn spend(
        self,
        ask: &Ask,
        request_digest: &str,
        policy_digest: &str,
        now: i64,
    ) -> Result<(Grant, State), NoStep> {
        match self.at(ask, now) {
            State::Granted { by }
                if ask.request_digest == request_digest && ask.policy_digest == policy_digest =>
            {
                let Ask { request_digest, policy_digest, .. } = ask.clone();
                Ok((Grant { request_digest, policy_digest, by }, State::Used))
            }
            State::Granted { .. } => Err(NoStep::NotCovered),
            state => Err(NoStep::Closed(state.name())),
        }
    }

    /// The state once the time is `now`.
    pub fn at(self, ask: &Ask, now: i64) -> State {
        match self {
            State::Pending { .. } | State::Granted { .. } if now >= ask.expires_at => State::Expired,
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(approvers: u8) -> Ask {
        Ask { request_digest: "r".into(), policy_digest: "p".into(), expires_at: 100, approvers }
    }
    fn grant(who: &str) -> Event {
        Event::Grant { by: Approver::named(who) }
    }
    fn refuse(who: &str) -> Event {
        Event::Refuse { by: Approver::named(who), reason: "no".into() }
    }
    fn leave(who: &str, to: &str) -> Event {
        Event::Leave { by: Approver::named(who), to: to.into() }
    }

    #[test]
    fn each_step_that_exists_beside_the_nearest_that_does_not() {
        let one = ask(1);
        let granted = || State::Granted { by: "ann".into() };
        assert_eq!(State::fresh().after(&one, grant("ann"), 99), Ok(granted()));
        assert_eq!(State::fresh().after(&one, grant("ann"), 100), Err(NoStep::Closed("expired")));
        assert_eq!(granted().after(&one, grant("ann"), 1), Err(NoStep::Closed("granted")));
        assert_eq!(granted().after(&one, refuse("ann"), 1), Err(NoStep::Closed("granted")));
        assert_eq!(granted().after(&one, Event::Withdraw, 1), Ok(State::Void));
        assert_eq!(State::Used.after(&one, Event::Withdraw, 1), Err(NoStep::Closed("used")));
        assert_eq!(State::fresh().after(&one, Event::Tick, 100), Ok(State::Expired));
        assert!(granted().spend(&one, "r", "p", 99).is_ok());
        for (state, request, policy, now) in [
            (granted(), "other", "p", 99),
            (granted(), "r", "other", 99),
            (granted(), "r", "p", 100),
            (State::Used, "r", "p", 99),
            (State::fresh(), "r", "p", 99),
            (State::Void, "r", "p", 99),
        ] {
            assert!(
                state.clone().spend(&one, request, policy, now).is_err(),
                "{state:?} {request} {policy} {now}"
            );
        }
    }

    #[test]
    fn two_must_agree_and_one_cannot_be_both() {
        let two = ask(2);
        let once = State::fresh().after(&two, grant("ann"), 1).expect("a first yes");
        assert_eq!(once.name(), "pending");
        assert!(once.clone().spend(&two, "r", "p", 1).is_err());
        assert_eq!(once.clone().after(&two, grant("ann"), 2), Err(NoStep::SamePerson("ann".into(), 2)));
        let alias = Event::Grant { by: Approver { name: "bob".into(), identity: "ann".into() } };
        assert_eq!(once.clone().after(&two, alias, 2), Err(NoStep::SamePerson("bob".into(), 2)));
        assert_eq!(once.clone().after(&two, refuse("bob"), 2).map(|state| state.name()), Ok("refused"));
        let both = once.after(&two, grant("bob"), 2).expect("a second yes");
        assert_eq!(both, State::Granted { by: "ann and bob".into() });
    }

    #[test]
    fn what_was_left_to_somebody_is_theirs_and_anybody_may_refuse() {
        let one = ask(1);
        let left = State::fresh().after(&one, leave("ann", "bob"), 1).expect("left");
        assert_eq!(left.clone().after(&one, grant("ann"), 2), Err(NoStep::LeftTo("bob".into())));
        assert_eq!(left.clone().after(&one, leave("ann", "cy"), 2), Err(NoStep::LeftTo("bob".into())));
        assert_eq!(left.clone().after(&one, grant("bob"), 2).map(|state| state.name()), Ok("granted"));
        assert_eq!(left.after(&one, refuse("ann"), 2).map(|state| state.name()), Ok("refused"));
    }

    fn event() -> impl Strategy<Value = Event> {
        let who = prop_oneof![Just("ann"), Just("bob"), Just("cy")];
        prop_oneof![
            who.clone().prop_map(grant),
            who.clone().prop_map(refuse),
            (who.clone(), who).prop_map(|(by, to)| leave(by, to)),
            Just(Event::Withdraw),
            Just(Event::Tick),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: at most one use, none without as many different people as must, none after the
        /// end, and what is closed stays closed.
        #[test]
        fn no_order_of_events_grants_more_than_was_said(
            steps in proptest::collection::vec((event(), 0..130_i64, any::<bool>()), 0..24),
            approvers in 1..4_u8,
        ) {
            let ask = ask(approvers);
            let mut state = State::fresh();
            let mut now = 0;
            let mut said: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
            let mut uses = 0;
            for (event, later, tries) in steps {
                now += later / 8;
                let was_closed = matches!(state, State::Refused { .. } | State::Expired | State::Void | State::Used);
                if let Event::Grant { by } = &event {
                    said.insert(by.identity.clone());
                }
                let before = state.clone();
                state = state.after(&ask, event, now).unwrap_or(before.clone());
                prop_assert!(!was_closed || state == before);
                if tries && let Ok((_grant, next)) = state.clone().spend(&ask, "r", "p", now) {
                    uses += 1;
                    prop_assert!(now < ask.expires_at);
                    prop_assert!(said.len() >= usize::from(approvers));
                    state = next;
                }
            }
            prop_assert!(uses <= 1);
        }
    }
}
