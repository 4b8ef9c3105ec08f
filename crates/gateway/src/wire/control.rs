//! What travels over the gate's local socket: one opening line says what the connection is for.
//! Only a process of the same user gets this far.

use crate::wire::approval::Wanted;
use serde::{Deserialize, Serialize};

/// Longest opening line and longest control message, in bytes.
pub const CONTROL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The first line of a connection.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opening {
    /// The rest of the connection is MCP over lines.
    Mcp {
        /// One server; all where absent.
        server: Option<String>,
        /// The conversation it belongs to; one of its own where absent.
        conversation: Option<String>,
        /// Where the client was started.
        #[serde(default)]
        cwd: Option<String>,
    },
    /// One Claude Code hook event; one line answers it.
    Hook {
        /// The event, as the client wrote it.
        event: Box<serde_json::value::RawValue>,
        /// Whether the client ends its run when it is told `defer`, and its settings stop a call where it does not.
        #[serde(default)]
        defers: bool,
    },
    /// Runs the permitted shell command of this call, from inside: after an empty answer its streams are sent, and its exit status is
    /// the last line.
    Shell(String),
    /// Launches an agent behind the wall; answers with [`Launched`](crate::wire::launch::Launched). After that the sockets of its sandbox
    /// are sent where it has some, and it is over with the connection, or with a line that says how it was confined.
    Launch(Box<crate::wire::launch::Launch>),
    /// One request of the operator; lines answer it.
    Control(Control),
}

/// What an operator can ask of a running gate.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Answers with [`Status`].
    Status,
    /// Answers with a list of [`Approval`](crate::wire::approval::Approval).
    Approvals,
    /// Answers with one [`Approval`](crate::wire::approval::Approval).
    Approval(String),
    /// Waits until approvals are not as they were at `seen`, a while at most; answers with [`Waiting`].
    Wait {
        /// What was seen last; 0 for nothing.
        seen: u64,
    },
    /// Grants one; answers with the [`Approval`](crate::wire::approval::Approval).
    Grant {
        /// Its id.
        id: String,
        /// Who grants.
        by: String,
        /// More calls like it; only this one where absent.
        #[serde(default)]
        more: Option<Wanted>,
    },
    /// Refuses one; answers with the [`Approval`](crate::wire::approval::Approval).
    Refuse {
        /// Its id.
        id: String,
        /// Who refuses.
        by: String,
        /// Why, in words for the agent.
        reason: String,
    },
    /// Leaves one to somebody else to answer; answers with the [`Approval`](crate::wire::approval::Approval).
    Leave {
        /// Its id.
        id: String,
        /// Who had it.
        by: String,
        /// The name of who is to answer.
        to: String,
    },
    /// Takes back a standing grant, or an approval that was not used; answers with nothing.
    Withdraw {
        /// Its id.
        id: String,
        /// Who takes it back.
        by: String,
    },
    /// Takes in a grant token; answers with the [`Standing`](crate::wire::approval::Standing) grant.
    Redeem {
        /// The token.
        token: String,
    },
    /// Says which phase is in force in each open conversation, or in one; answers with [`Phases`].
    Phases {
        /// Which; all where absent.
        #[serde(default)]
        conversation: Option<String>,
    },
    /// Puts a conversation into another phase; answers with [`Phases`].
    Phase {
        /// Which; the only one that is open where absent.
        #[serde(default)]
        conversation: Option<String>,
        /// The phase.
        to: String,
        /// Who says so.
        by: String,
        /// For how long at most, in seconds, where it is wider.
        #[serde(default)]
        seconds: Option<i64>,
        /// For how many writes at most, where it is wider.
        #[serde(default)]
        writes: Option<u32>,
    },
    /// Answers with a list of [`Standing`](crate::wire::approval::Standing) grants.
    Grants,
    /// Hands over the permitted shell command of this call, once; answers with a [`sandbox::warden::Order`].
    Fetch(String),
    /// Asks for the network of a fetched command: after an empty answer its sockets are sent over this connection, and it has
    /// its network for as long as the connection stands.
    Exit(String),
    /// Asks for what a fetched command prints to be searched: after an empty answer, what is sent over this connection comes back
    /// as it may be shown, until both sides have ended.
    Shown(String),
    /// Says how a fetched command was confined; answers with nothing.
    Ran {
        /// The call.
        call: String,
        /// How.
        how: crate::wire::record::Confined,
    },
    /// Takes in what the user said in a conversation; answers with nothing.
    Said {
        /// The conversation's name, as its sessions give it.
        conversation: String,
        /// The user's words.
        text: String,
        /// What the task may touch, as `server/tool`; narrows what was said before and never widens it.
        #[serde(default)]
        scope: Option<Vec<String>>,
    },
    /// Has a text read by the reader without tools; answers with [`Read`].
    Quarantine {
        /// The text.
        text: String,
        /// What is asked about it.
        question: String,
        /// The schema of the answer.
        schema: serde_json::Value,
    },
    /// What programs that use the gate's proxy have to be told; answers with [`Proxy`].
    Proxy,
    /// Loads inventory and policies again; answers with [`Status`].
    Reload,
    /// Makes a link that lets somebody into the console; answers with a [`Link`].
    ConsoleLink {
        /// `viewer`, `approver` or `admin`.
        role: String,
        /// Whom it is for; anybody where absent.
        name: Option<String>,
    },
    /// Answers with a list of [`Person`].
    People,
    /// Turns somebody out of the console; answers with nothing.
    Revoke(String),
}

/// A link that lets one person into the console, once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Link {
    /// The link.
    pub link: String,
    /// How long it may be used, in seconds.
    pub seconds: i64,
}

/// Somebody who may look or answer; times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// `viewer`, `approver` or `admin`.
    pub role: String,
    /// How many passkeys they have.
    pub passkeys: usize,
    /// When they came.
    pub added_at: i64,
    /// When a passkey of theirs was last used.
    pub used_at: Option<i64>,
    /// When they were turned out.
    pub revoked_at: Option<i64>,
}

/// What a reader made of a text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Read {
    /// An answer that fits the schema.
    Answer(serde_json::Value),
    /// None, and why.
    Refused(String),
}

/// The phase of one conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseNow {
    /// Its name.
    pub conversation: String,
    /// The phase in force.
    pub phase: String,
    /// When it ends, seconds since 1970; absent where it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// When it ends unless something is called before, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_until: Option<i64>,
    /// Writes that are left; any number where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes_left: Option<u32>,
    /// What comes after.
    pub then: String,
}

/// Where conversations stand, and what is possible there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Phases {
    /// All phases, the narrowest first.
    pub phases: Vec<String>,
    /// The conversations.
    pub conversations: Vec<PhaseNow>,
    /// For each phase that is in force: what each operation could come to there, at best: `allow` or `ask`.
    pub possible: std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>>,
}

/// A running gate.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Status {
    pub version: String,
    pub policies: usize,
    pub tools: usize,
    pub sessions: usize,
    pub records: u64,
    pub url: String,
}

/// The proxy of a running gate. Its environment holds the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proxy {
    /// Where it listens.
    pub address: String,
    /// Whom it serves: `token` or `user`.
    pub clients: String,
    /// A file with whom to trust.
    pub authorities: std::path::PathBuf,
    /// Variables for a program that is to use it.
    pub environment: std::collections::BTreeMap<String, String>,
}

/// What waits for an answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// Names this state of things.
    pub seen: u64,
    /// Every approval kept, newest first.
    pub approvals: Vec<crate::wire::approval::Approval>,
}

/// One answer line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It worked.
    Ok(serde_json::Value),
    /// It did not, with the reason for a person.
    Error(String),
}
