//! What the journal holds: one JSON object per leaf, versioned, readable without this program.
//! Arguments are here only as `judge::filter::recordable` gives them; raw results are never here.

use serde::{Deserialize, Serialize};

/// The version written into every record.
pub const RECORD_VERSION: u32 = 1;

/// One leaf.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`RECORD_VERSION`] at the time of writing.
    pub v: u32,
    /// When, RFC 3339 in UTC with microseconds.
    pub at: String,
    /// The session it belongs to; absent for the gate's own events.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// Which layers of the wall held for a process, with the mechanism of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confined {
    /// Layer and mechanism.
    pub layers: std::collections::BTreeMap<String, String>,
    /// Layers missing on this host that the operator waived, and what was found.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub waived: std::collections::BTreeMap<String, String>,
    /// Limits that were reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<String>,
}

impl From<&sandbox::Layers> for Confined {
    fn from(layers: &sandbox::Layers) -> Self {
        let named = |map: &std::collections::BTreeMap<sandbox::Layer, String>| {
            map.iter().map(|(layer, how)| (layer.to_string(), how.clone())).collect()
        };
        Self { layers: named(&layers.held), waived: named(&layers.waived), reached: Vec::new() }
    }
}

impl From<&sandbox::Outcome> for Confined {
    fn from(outcome: &sandbox::Outcome) -> Self {
        let reached = outcome.reached.iter().map(ToString::to_string).collect();
        Self { reached, ..Self::from(&outcome.layers) }
    }
}

/// What the programs of one sandbox sent to the APIs of models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Requests, all of them searched.
    pub requests: u64,
    /// Bytes of heads and bodies that were searched.
    pub bytes: u64,
    /// The most secrets that were looked for at a time.
    pub secrets: usize,
    /// Requests, or parts of them, that held a value or could not be searched, and did not go out.
    pub refused: u64,
}

/// What happened to somebody who may look or answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// `link-made`, `enrolled`, `signed-in`, `signed-out` or `revoked`.
    pub what: String,
    /// Who; empty for a link that is for anybody.
    pub name: String,
    /// `viewer`, `approver` or `admin`.
    pub role: String,
    /// By what: `terminal`, `passkey`, or `console, by` an admin.
    pub how: String,
    /// The public key that was enrolled, a COSE_Key in hexadecimal; of a link, the SHA-256 of its code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
}

/// An answer as a passkey signed it: enough to check it with the public key of its `enrolled` record alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The approval.
    pub approval: String,
    /// Digest of the request that was shown.
    pub request: String,
    /// The answer, in the words that were signed.
    pub answer: String,
    /// Who.
    pub by: String,
    /// What the gate chose at random for this answer, in hexadecimal.
    pub nonce: String,
    /// The browser's client data, whose challenge is the digest of all of the above.
    pub client_data: String,
    /// The authenticator data, in hexadecimal.
    pub authenticator_data: String,
    /// The signature, in hexadecimal.
    pub signature: String,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the field names are the vocabulary; docs/journal.md explains each")]
pub enum Body {
    GateStarted {
        version: String,
        policy: String,
        policies: usize,
        inventory: String,
        tools: usize,
    },
    GateStopped,
    Recovered {
        torn_bytes: u64,
        ambiguous: usize,
    },
    PolicyLoaded {
        policy: String,
        policies: usize,
        inventory: String,
        tools: usize,
    },
    SessionOpened {
        transport: String,
        agent: String,
        user: String,
        client: String,
        era: String,
    },
    SessionClosed,
    Decision(Box<Decided>),
    Asked {
        approval: String,
        call: String,
        tool: String,
        request: String,
        policy: String,
        expires_at: i64,
        /// SHA-256 of the question as it is kept and shown, before anybody answered.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        shown: String,
    },
    Answered {
        approval: String,
        answer: String,
        by: String,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        channel: String,
        /// What tells whoever answered from others over the channel.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        identity: String,
    },
    Granted {
        grant: String,
        by: String,
        channel: String,
        uses: u32,
        scope: serde_json::Value,
        /// The approval whose answer gave it, where one did.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        approval: String,
        /// The token that gave it, where one did.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        token: String,
    },
    Withdrawn {
        grant: String,
        by: String,
        channel: String,
    },
    Phase {
        conversation: String,
        from: String,
        to: String,
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        writes: Option<u32>,
    },
    Outcome {
        call: String,
        status: Status,
        #[serde(default)]
        detail: String,
        bytes: usize,
        result: String,
        ms: u64,
        /// How a shell command was confined; absent where the gate started nothing for the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confined: Option<Confined>,
        /// What looked suspicious in the result; nothing was decided by it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        advice: Vec<String>,
    },
    Extracted {
        call: String,
        from: String,
        bytes: usize,
        content: String,
        model: String,
        schema: serde_json::Value,
        answer: serde_json::Value,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        refused: String,
    },
    Confined {
        server: String,
        #[serde(flatten)]
        how: Confined,
    },
    Quarantined {
        server: String,
        tool: String,
        definition: String,
        why: String,
    },
    Reviewed {
        server: String,
        tool: String,
        definition: String,
        by: String,
    },
    Sensed {
        client_call: String,
        tool: String,
        event: String,
    },
    Prompt {
        bytes: usize,
        digest: String,
    },
    Context(Context),
    Person(Person),
    Signed(Box<Signed>),
    Alert {
        rule: String,
        detail: String,
        #[serde(default)]
        call: String,
    },
}

/// Where one value of a call came from, as it was judged. The value itself is among the arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The argument's path, as `recipients[0]`.
    pub at: String,
    /// The word that policies know it by: `said`, `vouched`, `untrusted`, `unseen` and so on.
    pub origin: String,
    /// The tools that said it, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Whether that was good enough for what it decides.
    pub fits: bool,
}

/// A decision on one call, durable before any effect of that call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decided {
    /// Names this call in every later record.
    pub call: String,
    /// The client's own id for the call, where it gave one (joins hook and proxy records).
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub client_call: String,
    /// The adapter it came through: `mcp`, `hook` or `api`.
    pub via: String,
    /// The agent.
    pub agent: String,
    /// On whose behalf.
    pub user: String,
    /// `server/tool`.
    pub tool: String,
    /// `allow`, `ask` or `deny`.
    pub decision: String,
    /// The policies it rests on.
    pub policies: Vec<String>,
    /// The explanation, as the agent was told.
    pub why: String,
    /// SHA-256 of the request; empty when the call had no normal form.
    pub request: String,
    /// SHA-256 of the policies.
    pub policy: String,
    /// The approval that was spent, where one was.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub approval: String,
    /// Who granted it.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub granted_by: String,
    /// Where its values came from.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub origins: Vec<Origin>,
    /// The arguments, credentials masked and long texts replaced by length and digest.
    pub arguments: serde_json::Value,
    /// What the client sent beside them, the same way; null for nothing.
    #[serde(skip_serializing_if = "serde_json::Value::is_null", default)]
    pub beside: serde_json::Value,
}

/// How a permitted call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The tool answered.
    Ok,
    /// The tool answered with an error.
    Error,
    /// The tool could not be reached, or died.
    Failed,
    /// The caller gave up.
    Cancelled,
    /// No answer in time; the effect may have happened.
    Timeout,
    /// The gate ended before an answer; the effect may have happened.
    Ambiguous,
    /// The tool answered, but the answer was withheld.
    Withheld,
}
