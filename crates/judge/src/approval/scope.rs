//! Grants that stand: an approver says yes to calls of one shape, for a while, so many times, instead of to one call.
//! A standing grant covers only what it names: an argument it does not speak of, a changed definition or policy, end it.

use super::{Grant, NoStep};
use crate::permit::Pending;
use crate::request::tree::Tree;
use crate::request::{Bound, Request};
use crate::shape::{Field, Kind, Shape};
use crate::tool::ToolName;
use std::collections::BTreeMap;

/// Most times one grant may be used.
pub const USES_MAX: u32 = 10_000;
/// Longest that one grant may stand, in seconds: 30 days.
pub const SECONDS_MAX: i64 = 30 * 86_400;

/// What one argument may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// This value.
    Is(Tree),
    /// One of these.
    OneOf(Vec<Tree>),
    /// A number of at most this size, and not below zero.
    AtMost(f64),
    /// A path that really leads to this folder or below it.
    Under(String),
    /// Anything that policy would not doubt: after an untrusted read, only what the user or the operator said.
    Any,
}

/// What a standing grant covers, fixed when it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    /// For this agent.
    pub agent: String,
    /// On behalf of this user.
    pub user: String,
    /// This operation.
    pub tool: ToolName,
    /// Its reviewed definition; any where absent.
    pub definition: Option<String>,
    /// Under these policies; any where absent.
    pub policy_digest: Option<String>,
    /// Only in this phase; in any where absent.
    pub phase: Option<String>,
    /// What each argument may be. One that is not named here must be absent.
    pub limits: BTreeMap<String, Limit>,
    /// How many people gave it.
    pub approvers: u8,
    /// When it ends, in seconds since 1970.
    pub until: i64,
    /// It also ends when it was not used for so long, in seconds.
    pub idle_seconds: Option<i64>,
}

/// How far a standing grant has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It may be used.
    Active {
        /// So many times more.
        left: u32,
        /// When it was given or last used, in seconds since 1970.
        used_at: i64,
    },
    /// It was used as often as it may be.
    Spent,
    /// Its time is over.
    Lapsed,
    /// Somebody took it back.
    Withdrawn,
}

/// Why a standing grant does not cover a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// It is over.
    #[error(transparent)]
    Over(#[from] NoStep),
    /// Another agent, user, operation, phase, definition or policy.
    #[error("it is for another {0}")]
    Other(&'static str),
    /// An argument it does not allow.
    #[error("`{0}` is not what was granted")]
    Argument(String),
    /// Data would leave in an argument that was left open.
    #[error("the call may carry data out to {0}")]
    Leaks(String),
    /// More people must agree to this call than gave the grant.
    #[error("{0} people must agree to this call")]
    Approvers(u8),
}

impl Life {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Life::Active { .. } => "active",
            Life::Spent => "spent",
            Life::Lapsed => "lapsed",
            Life::Withdrawn => "withdrawn",
        }
    }
}

impl Scope {
    /// Where a grant of this scope stands once the time is `now`.
    pub fn at(&self, life: Life, now: i64) -> Life {
        match life {
            Life::Active { used_at, .. }
                if now >= self.until
                    || self.idle_seconds.is_some_and(|idle| now >= used_at.saturating_add(idle)) =>
            {
                Life::Lapsed
            }
            life => life,
        }
    }

    /// Uses a grant of this scope once for `pending` in `phase`; the second value replaces the stored life.
    ///
    /// # Errors
    /// [`Outside`]: the call has to be asked about.
    pub fn spend(
        &self,
        life: Life,
        pending: &Pending,
        by: &str,
        phase: &str,
        now: i64,
    ) -> Result<(Grant, Life), Outside> {
        let Life::Active { left, .. } = self.at(life, now) else {
            return Err(NoStep::Closed(self.at(life, now).name()).into());
        };
        self.cover(pending.request(), phase)?;
        let verdict = pending.verdict();
        if self.policy_digest.as_deref().is_some_and(|digest| digest != verdict.policy_digest()) {
            return Err(Outside::Other("set of policies"));
        }
        if verdict.approvers() > self.approvers {
            return Err(Outside::Approvers(verdict.approvers()));
        }
        let life = match left {
            0 => return Err(NoStep::Closed(Life::Spent.name()).into()),
            1 => Life::Spent,
            left => Life::Active { left: left - 1, used_at: now },
        };
        let request_digest = verdict.request_digest().to_owned();
        let policy_digest = verdict.policy_digest().to_owned();
        Ok((Grant { request_digest, policy_digest, by: by.to_owned() }, life))
    }

    fn cover(&self, request: &Request, phase: &str) -> Result<(), Outside> {
        let other = |is_other: bool, what| if is_other { Err(Outside::Other(what)) } else { Ok(()) };
        other(request.tool().name != self.tool, "operation")?;
        other(request.principal().agent != self.agent, "agent")?;
        other(request.principal().user != self.user, "user")?;
        other(self.definition.as_ref().is_some_and(|digest| *digest != request.tool().digest), "definition")?;
        other(self.phase.as_deref().is_some_and(|only| only != phase), "phase")?;
        // What a client sends beside the arguments belongs to one call.
        other(*request.beside() != Tree::Null, "round of a call")?;
        let empty = Vec::new();
        let given = match request.arguments() {
            Tree::Map(members) => members,
            _ => &empty,
        };
        for (name, value) in given {
            let limit = self.limits.get(name).ok_or_else(|| Outside::Argument(name.clone()))?;
            if !limit.allows(name, value, request) {
                return Err(Outside::Argument(name.clone()));
            }
        }
        // An argument whose value was fixed may not be left out either: its absence may mean more.
        let fixed = self.limits.iter().filter(|(_, limit)| !matches!(limit, Limit::Any));
        for (name, _) in fixed {
            if !given.iter().any(|(given, _)| given == name) {
                return Err(Outside::Argument(name.clone()));
            }
        }
        let is_open = self.limits.values().any(|limit| !matches!(limit, Limit::Is(_) | Limit::OneOf(_)));
        match request.leaks().first() {
            Some(leak) if is_open => Err(Outside::Leaks(leak.host.clone())),
            _ => Ok(()),
        }
    }
}

impl Limit {
    fn allows(&self, name: &str, value: &Tree, request: &Request) -> bool {
        match self {
            Limit::Is(only) => only.canonical() == value.canonical(),
            Limit::OneOf(several) => several.iter().any(|one| one.canonical() == value.canonical()),
            Limit::AtMost(most) => match value {
                Tree::Integer(value) => (0.0..=*most).contains(&(*value as f64)),
                Tree::Float(value) => (0.0..=*most).contains(value),
                _ => false,
            },
            Limit::Under(folder) => is_path(request, name) && leads_under(request, name, folder),
            Limit::Any => !is_command(request, name) && request.explained().of(name).1,
        }
    }
}

/// A program may do anything, so a command line is never left open.
fn is_command(request: &Request, name: &str) -> bool {
    has_kind(request, name, Kind::Command)
}

fn is_path(request: &Request, name: &str) -> bool {
    has_kind(request, name, Kind::Path)
}

fn has_kind(request: &Request, name: &str, kind: Kind) -> bool {
    let Shape::Record { fields, .. } = &request.tool().shape else { return false };
    let of = |shape: &Shape| match shape {
        Shape::Text(is) => *is == kind,
        Shape::List(item) => matches!(&**item, Shape::Text(is) if *is == kind),
        _ => false,
    };
    fields.get(name).is_some_and(|Field { shape, .. }| of(shape))
}

/// In every reading of the call.
fn leads_under(request: &Request, name: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    let is_under =
        |real: &str| real.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let member = |bound: &Bound, name: &str| match bound {
        Bound::Record(members) => members.iter().find(|(is, _)| is == name).map(|(_, value)| value.clone()),
        _ => None,
    };
    request.alternatives.iter().all(|reading| {
        let real = member(&reading.args, name).and_then(|path| member(&path, "real"));
        matches!(real, Some(Bound::Text(real)) if is_under(&real))
    })
}
