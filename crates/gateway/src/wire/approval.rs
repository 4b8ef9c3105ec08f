//! Approvals and standing grants as approvers see them, and what an approver can say: over the local socket, in the console, in
//! webhooks, in the state file. Nothing here decides.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An approval as an approver sees it: exactly what will run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// `pending`, `granted`, `refused`, `expired`, `void` or `used`.
    pub state: String,
    /// The session it came from.
    #[serde(default)]
    pub session: String,
    /// The agent.
    pub agent: String,
    /// On whose behalf.
    pub user: String,
    /// `server/tool`.
    pub tool: String,
    /// Where relative paths in them start.
    pub cwd: String,
    /// The whole arguments.
    pub arguments: serde_json::Value,
    /// Why it is asked.
    pub why: String,
    /// SHA-256 of the request.
    pub request_digest: String,
    /// SHA-256 of the policies.
    pub policy_digest: String,
    /// When it was asked, seconds since 1970.
    pub asked_at: i64,
    /// When it lapses, seconds since 1970.
    pub expires_at: i64,
    /// How many people must agree.
    #[serde(default = "one")]
    pub approvers: u8,
    /// Who agreed already, where more than one must.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Consent>,
    /// Who is to answer, where it was left to somebody; anybody when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub left_to: String,
    /// What else there is to see about it.
    #[serde(default)]
    pub shown: Shown,
    /// Who answered; empty while pending.
    #[serde(default)]
    pub answered_by: String,
    /// The reason of a refusal.
    #[serde(default)]
    pub reason: String,
}

fn one() -> u8 {
    1
}

/// One yes of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The name that records show.
    pub name: String,
    /// What tells people apart.
    pub identity: String,
}

/// What an approver is shown beside the call itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// What is dangerous about it, the worst first.
    pub concerns: Vec<Concern>,
    /// Where each value came from.
    pub values: Vec<Value>,
    /// The commands it would run, each for itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// What it would change in a text, line by line: ` `, `-` or `+` first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<String>,
    /// `read` or `write`.
    pub effect: String,
    /// `low` or `high`.
    pub impact: String,
    /// Whether it can be taken back.
    pub is_reversible: bool,
    /// Whether untrusted content was read before.
    pub is_tainted: bool,
    /// The compartments that were read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compartments: Vec<String>,
    /// The phase it was asked in.
    pub phase: String,
    /// SHA-256 of the reviewed definition of the tool.
    pub definition: String,
    /// The client's own id for the call, where it gave one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_call: String,
}

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// `danger`, `costly` or `note`.
    pub weight: String,
    /// What, in words.
    pub text: String,
}

/// One value of the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The argument's path.
    pub at: String,
    /// What it decides: `receiver`, `object`, `amount`, `parameter`, `content`.
    pub role: String,
    /// The value, shortened.
    pub text: String,
    /// Where it came from, in words.
    pub origin: String,
    /// Whether that is good enough.
    pub fits: bool,
}

/// What an approver wants beside "once": more calls like this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// How often, this call not counted.
    pub uses: u32,
    /// For how long, in seconds.
    pub seconds: i64,
    /// It also ends when it was not used for so long, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<i64>,
    /// Only in the phase the call was made in.
    #[serde(default)]
    pub same_phase: bool,
    /// What arguments may be that need not be as they are in this call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Limit>,
}

/// What one argument may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// This value.
    Is(serde_json::Value),
    /// One of these.
    OneOf(Vec<serde_json::Value>),
    /// A number of at most this size, and not below zero.
    AtMost(f64),
    /// A path that really leads to this folder or below it.
    Under(String),
    /// Anything that policy would not doubt.
    Any,
}

/// What a standing grant covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// For this agent.
    pub agent: String,
    /// On behalf of this user.
    pub user: String,
    /// `server/tool`.
    pub tool: String,
    /// SHA-256 of its reviewed definition; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// SHA-256 of the policies; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Only in this phase; in any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What each argument may be.
    #[serde(default)]
    pub limits: BTreeMap<String, Limit>,
    /// How many people gave it.
    #[serde(default = "one")]
    pub approvers: u8,
    /// When it ends, in seconds since 1970.
    pub until: i64,
    /// It also ends when it was not used for so long, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<i64>,
}

/// A grant that stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Its id.
    pub id: String,
    /// `active`, `spent`, `lapsed` or `withdrawn`.
    pub state: String,
    /// Who gave it.
    pub by: String,
    /// Over which channel, or by which token.
    pub channel: String,
    /// What it covers.
    pub scope: Scope,
    /// So many times more.
    pub left: u32,
    /// When it was given, seconds since 1970.
    pub given_at: i64,
    /// When it was given or last used, seconds since 1970.
    pub used_at: i64,
}

/// Why a scope cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadScope(pub String);

impl Limit {
    fn to_judge(&self, name: &str) -> Result<judge::approval::scope::Limit, BadScope> {
        use judge::approval::scope::Limit as L;
        let tree = |value: &serde_json::Value| {
            judge::request::tree::Tree::parse(value.to_string().as_bytes())
                .map_err(|error| BadScope(format!("`{name}`: {error}")))
        };
        Ok(match self {
            Limit::Is(value) => L::Is(tree(value)?),
            Limit::OneOf(values) => L::OneOf(values.iter().map(tree).collect::<Result<_, _>>()?),
            Limit::AtMost(most) if most.is_finite() && *most >= 0.0 => L::AtMost(*most),
            Limit::AtMost(most) => {
                return Err(BadScope(format!("`{name}`: {most} is no size that a number can have at most")));
            }
            Limit::Under(folder) if folder.starts_with('/') && !folder.contains("/..") => {
                L::Under(folder.clone())
            }
            Limit::Under(folder) => {
                return Err(BadScope(format!("`{name}`: `{folder}` is no absolute path of a folder")));
            }
            Limit::Any => L::Any,
        })
    }
}

impl Scope {
    /// The scope as the judge knows it.
    ///
    /// # Errors
    /// [`BadScope`]: a tool without a server, a limit that cannot be, more than is ever granted.
    pub fn to_judge(&self) -> Result<judge::approval::scope::Scope, BadScope> {
        let (server, tool) = self
            .tool
            .split_once('/')
            .ok_or_else(|| BadScope(format!("`{}` is no operation; write `server/tool`", self.tool)))?;
        let limits = self.limits.iter().map(|(name, limit)| Ok((name.clone(), limit.to_judge(name)?)));
        Ok(judge::approval::scope::Scope {
            agent: self.agent.clone(),
            user: self.user.clone(),
            tool: judge::tool::ToolName { server: server.to_owned(), tool: tool.to_owned() },
            definition: self.definition.clone(),
            policy_digest: self.policy.clone(),
            phase: self.phase.clone(),
            limits: limits.collect::<Result<_, _>>()?,
            approvers: self.approvers,
            until: self.until,
            idle_seconds: self.idle_seconds,
        })
    }
}

impl Approval {
    /// SHA-256 of the question as it is kept and shown: of all of it but what answers change.
    pub fn question(&self) -> String {
        let nobody = Self {
            state: String::new(),
            consents: Vec::new(),
            left_to: String::new(),
            answered_by: String::new(),
            reason: String::new(),
            ..self.clone()
        };
        judge::digest::hex(&serde_json::to_vec(&nobody).unwrap_or_default())
    }

    /// The scope of a standing grant for calls like this one: each argument as it is here, but for what is wanted.
    ///
    /// # Errors
    /// [`BadScope`].
    pub fn scope(&self, wanted: &Wanted, now: i64) -> Result<Scope, BadScope> {
        use judge::approval::scope::{SECONDS_MAX, USES_MAX};
        if self.approvers > 1 {
            return Err(BadScope(
                "several people must agree to each of these calls; grant it once".to_owned(),
            ));
        }
        if wanted.uses == 0 || wanted.uses > USES_MAX {
            return Err(BadScope(format!("a grant stands for 1 to {USES_MAX} calls")));
        }
        if wanted.seconds <= 0 || wanted.seconds > SECONDS_MAX {
            return Err(BadScope(format!("a grant stands for 1 to {SECONDS_MAX} seconds")));
        }
        let given = self.arguments.as_object().cloned().unwrap_or_default();
        let mut limits: BTreeMap<String, Limit> =
            given.iter().map(|(name, value)| (name.clone(), Limit::Is(value.clone()))).collect();
        for (name, limit) in &wanted.limits {
            if !given.contains_key(name) {
                let known: Vec<&str> = given.keys().map(String::as_str).collect();
                return Err(BadScope(format!(
                    "the call has no argument `{name}`; it has {}",
                    known.join(", ")
                )));
            }
            if !self.shown.commands.is_empty() && *limit == Limit::Any {
                let why = "a command may do anything, so nothing is left open where one runs; permit it in a policy";
                return Err(BadScope(why.to_owned()));
            }
            let limit = match (limit, given.get(name)) {
                // As it is here, or one of the others.
                (Limit::OneOf(others), Some(here)) => {
                    Limit::OneOf(std::iter::once(here).chain(others).cloned().collect())
                }
                (limit, _) => limit.clone(),
            };
            limits.insert(name.clone(), limit);
        }
        let scope = Scope {
            agent: self.agent.clone(),
            user: self.user.clone(),
            tool: self.tool.clone(),
            definition: Some(self.shown.definition.clone()),
            policy: Some(self.policy_digest.clone()),
            phase: wanted.same_phase.then(|| self.shown.phase.clone()),
            limits,
            approvers: 1,
            until: now.saturating_add(wanted.seconds),
            idle_seconds: wanted.idle_seconds,
        };
        scope.to_judge().map(|_| scope)
    }
}
