//! Grants that are signed beforehand: a key for who issues them, a token, and taking one in. A private key is written once, for its
//! owner's eyes, and never printed.

use super::wanted::{self, Limits};
use crate::relay::ask;
use crate::{Outcome, terminal};
use gateway::config::{Config, Place};
use gateway::tokens::{SigningKey, Token};
use gateway::wire::approval::{Limit, Scope, Standing};
use gateway::wire::control::Control;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The options of `issue`.
#[derive(clap::Args)]
pub(crate) struct Issue {
    /// The issuer's private key, as `bailiwick approvals key` wrote it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The issuer, as [[approvals.issuer]] names them
    #[arg(long, value_name = "NAME")]
    issuer: String,
    /// What may be called
    #[arg(long, value_name = "SERVER/TOOL")]
    tool: String,
    /// An argument and its value, as JSON or a text, repeatable; one that is not named must be absent
    #[arg(long = "arg", value_name = "ARGUMENT=VALUE")]
    fixed: Vec<String>,
    #[command(flatten)]
    limits: Limits,
    /// So many calls
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// For so long from now: 90s, 30m, 8h, 7d
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    lasts: String,
    /// Only in this phase
    #[arg(long, value_name = "NAME")]
    phase: Option<String>,
    /// Only while the policies have this digest
    #[arg(long, value_name = "SHA-256")]
    policy: Option<String>,
    /// For this agent [default: that of bailiwick.toml]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// On behalf of this user [default: that of bailiwick.toml]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Makes a key and says what to configure.
pub(super) fn key(issuer: &str, out: &Path) -> anyhow::Result<Outcome> {
    let (key, kept) = SigningKey::generate().map_err(anyhow::Error::msg)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .map_err(|error| anyhow::anyhow!("{}: {error}", out.display()))?;
    file.write_all(&kept)?;
    file.sync_all()?;
    terminal::say(&format!(
        "The private key is in {}. Whoever has it grants; keep it where no agent runs.",
        out.display()
    ));
    let name = serde_json::Value::from(issuer);
    terminal::say(&format!(
        "Its tokens count once this stands in bailiwick.toml:\n\n[[approvals.issuer]]\nname = {name}\nkey = \"{}\"",
        key.public()
    ));
    Ok(Outcome::Done)
}

/// Prints a token.
pub(super) fn issue(place: impl FnOnce() -> anyhow::Result<Place>, issue: Issue) -> anyhow::Result<Outcome> {
    let Issue { key, issuer, tool, fixed, limits, uses, lasts, phase, policy, agent, user } = issue;
    let unreadable = |why: String| anyhow::anyhow!("{}: {why}", key.display());
    let kept = std::fs::read(&key).map_err(|error| unreadable(error.to_string()))?;
    let key = SigningKey::read(&kept).map_err(unreadable)?;
    let (agent, user) = match (agent, user) {
        (Some(agent), Some(user)) => (agent, user),
        (agent, user) => {
            let principal = gateway::gate::principal(&Config::load(&place()?.config)?);
            (agent.unwrap_or(principal.agent), user.unwrap_or(principal.user))
        }
    };
    let mut all = limits.read()?;
    for text in fixed {
        let (name, value) = wanted::pair(&text, "--arg")?;
        match all.get_mut(name) {
            None => drop(all.insert(name.to_owned(), Limit::Is(wanted::value(value)))),
            Some(Limit::OneOf(several)) => several.push(wanted::value(value)),
            Some(_) => anyhow::bail!("`{name}` is limited twice; say one thing about it"),
        }
    }
    let now = gateway::clock::seconds();
    let scope = Scope {
        agent,
        user,
        tool,
        definition: None,
        policy,
        phase,
        limits: all,
        approvers: 1,
        until: now.saturating_add(wanted::seconds(&lasts)?),
        idle_seconds: None,
    };
    let token = Token::new(issuer, uses, scope);
    token.check(now)?;
    terminal::say(&key.sign(&token));
    terminal::complain(&format!("{}: `bailiwick approvals withdraw {}` revokes it", token.id, token.id));
    Ok(Outcome::Done)
}

/// Takes a token in.
pub(super) fn redeem(place: &Place, file: &Path) -> anyhow::Result<Outcome> {
    let standing = taken_in(place, file)?;
    super::show::standing(&standing);
    Ok(if standing.state == "active" { Outcome::Done } else { Outcome::DoesNotHold })
}

/// The grant of the token in `file`, or on standard input where that is `-`.
///
/// # Errors
/// It cannot be read, or the gate does not take it.
pub(crate) fn taken_in(place: &Place, file: &Path) -> anyhow::Result<Standing> {
    let mut token = String::new();
    let most = gateway::tokens::TOKEN_BYTES_MAX as u64 + 1;
    let unreadable = |error: std::io::Error| anyhow::anyhow!("{}: {error}", file.display());
    if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_string(&mut token).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(file).map_err(unreadable)?;
        file.take(most).read_to_string(&mut token).map_err(unreadable)?;
    }
    Ok(serde_json::from_value(ask(place, Control::Redeem { token })?)?)
}
