//! What an operator configures: where things are, which servers there are, which limits hold.
//! Read once at start and at reload; nothing here connects to anything.

pub mod approvals;
pub mod auth;
pub mod clients;
pub mod confine;
pub mod console;
pub mod filter;
pub mod flow;
pub mod marks;
pub mod phase;
pub mod place;
pub mod proxy;
pub mod quarantine;
pub mod reach;
pub mod secret;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub use auth::Auth;
pub use confine::Confinement;
pub use place::Place;

/// The configuration file's name in its folder.
pub const FILE: &str = "bailiwick.toml";

/// `bailiwick.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The gate itself.
    #[serde(default)]
    pub gate: Gate,
    /// How the client's shell commands are confined.
    #[serde(default = "Confinement::for_shell", skip_serializing_if = "is_standing_shell")]
    pub shell: Confinement,
    /// How agents are confined that `bailiwick run` launches, by the name of their program or of a profile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agent: BTreeMap<String, Confinement>,
    /// The servers behind it, by name.
    #[serde(default)]
    pub server: BTreeMap<String, Server>,
    /// The phases, the narrowest first; only the one that sessions begin in where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phase: Vec<phase::Phase>,
    /// Over which channels people grant.
    #[serde(default, skip_serializing_if = "approvals::Approvals::is_standing")]
    pub approvals: approvals::Approvals,
    /// The way out for programs that are in no sandbox of the gate's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<proxy::Proxy>,
    /// Secrets, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret: BTreeMap<String, secret::Secret>,
    /// Where values come from.
    #[serde(default, skip_serializing_if = "flow::Flow::is_standing")]
    pub flow: flow::Flow,
    /// Calls that an attack may make, as the operator decided: `server/tool` and the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accepted: BTreeMap<String, String>,
    /// Who reads what nobody vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<quarantine::Quarantine>,
    /// What is taken out of results.
    #[serde(default, skip_serializing_if = "filter::Filter::is_standing")]
    pub filter: filter::Filter,
    /// How results are shown.
    #[serde(default, skip_serializing_if = "marks::Marks::is_standing")]
    pub marks: marks::Marks,
    /// The web console.
    #[serde(default, skip_serializing_if = "console::Console::is_standing")]
    pub console: console::Console,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gate: Gate::default(),
            shell: Confinement::for_shell(),
            agent: BTreeMap::new(),
            server: BTreeMap::new(),
            phase: Vec::new(),
            approvals: approvals::Approvals::default(),
            proxy: None,
            secret: BTreeMap::new(),
            flow: flow::Flow::default(),
            accepted: BTreeMap::new(),
            quarantine: None,
            filter: filter::Filter::default(),
            marks: marks::Marks::default(),
            console: console::Console::default(),
        }
    }
}

fn is_standing_shell(shell: &Confinement) -> bool {
    *shell == Confinement::for_shell()
}

/// Models' APIs that everybody knows.
const MODELS: [&str; 3] = ["api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com"];

fn are_standing_models(models: &Vec<String>) -> bool {
    models == &MODELS
}

/// Settings of the gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Where HTTP is served; a loopback address unless `allow_hosts` names what clients may call it.
    pub listen: String,
    /// `Host` names accepted besides the listening address itself, e.g. `gate.example.com`.
    pub allow_hosts: Vec<String>,
    /// The agent's name in policies, for MCP clients.
    pub agent: String,
    /// On whose behalf it acts; the operating system's user when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// That user's groups.
    pub groups: Vec<String>,
    /// The phase sessions begin in.
    pub phase: String,
    /// How long a call waits for an approver, in seconds.
    pub ask_wait_seconds: u64,
    /// How long an unanswered or unused approval stays open, in seconds.
    pub ask_open_seconds: u64,
    /// How long a tool may take, in seconds.
    pub call_seconds_max: u64,
    /// Files with certificate authorities, in PEM, that upstream servers may have besides the system's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<PathBuf>,
    /// Where the APIs of models are, written like places of `network`. What sandboxes send there is searched for every secret.
    #[serde(skip_serializing_if = "are_standing_models")]
    pub models: Vec<String>,
    /// Serve Claude Code hooks: its built-in tools are reviewed with the others, as server `claude`.
    pub claude_code: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8650".to_owned(),
            allow_hosts: Vec::new(),
            agent: "agent".to_owned(),
            user: None,
            groups: Vec::new(),
            phase: "default".to_owned(),
            ask_wait_seconds: 300,
            ask_open_seconds: 3_600,
            call_seconds_max: 600,
            authorities: Vec::new(),
            models: MODELS.map(str::to_owned).to_vec(),
            claude_code: true,
        }
    }
}

/// One server: a command that speaks MCP on its standard streams, or a URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The command and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Or the Streamable HTTP endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Environment of the command; nothing else but `PATH`, `HOME`, `LANG` and `TMPDIR` is passed on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Headers sent with every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How the gate signs in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// The command's working folder; the project's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// How the command is confined.
    #[serde(default, skip_serializing_if = "is_standing")]
    pub sandbox: Confinement,
}

fn is_standing(sandbox: &Confinement) -> bool {
    *sandbox == Confinement::default()
}

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Reach<'a> {
    /// A program to start.
    Command(&'a [String]),
    /// An endpoint to call.
    Url(&'a str),
}

/// Why the configuration cannot be used; the text names the file and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct ConfigError {
    path: PathBuf,
    why: String,
}

impl ConfigError {
    pub(crate) fn new(path: &Path, why: impl ToString) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }
}

impl Config {
    /// Reads `bailiwick.toml` in `folder`.
    ///
    /// # Errors
    /// A missing or unreadable file, an unknown field, a server with both or neither of `command` and `url`.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError::new(&path, format!("{error}; run `bailiwick init` first")))?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::new(&path, error))?;
        config.approvals.check().map_err(|why| ConfigError::new(&path, format!("[approvals]: {why}")))?;
        config.ladder().map_err(|why| ConfigError::new(&path, format!("[[phase]]: {why}")))?;
        if let Some(quarantine) = &config.quarantine {
            quarantine.check().map_err(|why| ConfigError::new(&path, format!("[quarantine]: {why}")))?;
        }
        if let Some(proxy) = &config.proxy {
            proxy.address().map_err(|why| ConfigError::new(&path, format!("[proxy]: {why}")))?;
        }
        config.filter.check(config.server.keys()).map_err(|why| ConfigError::new(&path, why))?;
        for (name, server) in &config.server {
            let wrong = |why: &str| ConfigError::new(&path, format!("server `{name}`: {why}"));
            server.reach().map_err(wrong)?;
            if !usable_name(name) {
                let why = format!(
                    "server `{name}`: use letters, digits, `-` and single `_` only, at most 48, and none of `claude`, `egress` and `bailiwick`"
                );
                return Err(ConfigError::new(&path, why));
            }
            server.login(name).map_err(|why| wrong(&why))?;
        }
        Ok(config)
    }
}

/// Checks that the gate may send something to `url` that nobody else shall read.
///
/// # Errors
/// It is no URL, names a user, or is plain `http` to another machine, in words.
pub(crate) fn callable(url: &str) -> Result<(), String> {
    let parsed: http::Uri =
        url.parse().map_err(|_| "`url` is none; write e.g. https://api.example.com/v1/messages")?;
    let host = parsed.host().unwrap_or_default();
    let is_here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match parsed.scheme_str() {
        _ if url.contains('@') => Err("`url` may hold no user name; use a secret".to_owned()),
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if is_here => Ok(()),
        Some("http") => {
            Err("`url` is http to another machine; what is sent goes there over https only".to_owned())
        }
        _ => Err("`url` is neither https nor http to this machine".to_owned()),
    }
}

/// A server's name also prefixes its tools as `NAME__tool`, so it holds no double underscore.
pub fn usable_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty()
        && name.len() <= 48
        && name.chars().all(plain)
        && !name.contains("__")
        && !name.ends_with('_')
        && !crate::inventory::RESERVED.contains(&name)
}

impl Server {
    /// Where it is reached.
    ///
    /// # Errors
    /// Both or neither of `command` and `url`.
    pub fn reach(&self) -> Result<Reach<'_>, &'static str> {
        match (self.command.as_slice(), &self.url) {
            ([], Some(url)) => Ok(Reach::Url(url)),
            ([_, ..], None) => Ok(Reach::Command(&self.command)),
            ([], None) => Err("give it a `command` or a `url`"),
            ([_, ..], Some(_)) => Err("give it a `command` or a `url`, not both"),
        }
    }

    /// The login that its `auth` describes, if it has one; `name` is its own.
    ///
    /// # Errors
    /// What is missing or contradicts, in words.
    pub fn login(&self, name: &str) -> Result<Option<vault::Login>, String> {
        let Some(auth) = &self.auth else { return Ok(None) };
        let url = self.url.as_deref().ok_or("only a server with a `url` has `auth`")?;
        if self.headers.keys().any(|header| header.eq_ignore_ascii_case("authorization")) {
            return Err("give it `auth` or a header `Authorization`, not both".to_owned());
        }
        auth.login(name, url).map(Some)
    }
}
