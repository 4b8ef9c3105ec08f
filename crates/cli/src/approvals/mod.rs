//! The operator's side of approvals: list, show, grant, refuse, leave, take back, watch. Only the running gate can be answered.

mod show;
pub(crate) mod token;
mod wanted;
mod watch;

use crate::relay::ask;
use crate::{Outcome, terminal};
pub(crate) use wanted::seconds;

use gateway::config::Place;
use gateway::wire::approval::{Approval, Standing};
use gateway::wire::control::Control;

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    #[command(flatten)]
    Answered(Answered),
    /// Make a key whose tokens can count as approval
    Key {
        /// The issuer's name in records
        issuer: String,
        /// Where the private key is written
        #[arg(long, value_name = "FILE")]
        out: std::path::PathBuf,
    },
    /// Sign a grant beforehand, for a workflow nobody watches; prints the token
    Issue(Box<token::Issue>),
}

/// What the running gate answers.
#[derive(clap::Subcommand)]
pub(crate) enum Answered {
    /// What waits, and what was answered
    List {
        /// Also what was answered or has lapsed
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One approval whole: exactly what would run
    Show {
        /// Its id, or enough of it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let exactly this call run, once; with any option below, more calls like it too
    Grant {
        /// Its id, or enough of it
        id: String,
        #[command(flatten)]
        more: wanted::More,
    },
    /// Do not
    Refuse {
        /// Its id, or enough of it
        id: String,
        /// What the agent is told
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Leave it to somebody else to answer
    Leave {
        /// Its id, or enough of it
        id: String,
        /// Their name
        #[arg(long)]
        to: String,
    },
    /// The grants that stand
    Grants {
        /// Also those that are over
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a token in
    Redeem {
        /// The file it is in, or `-` for standard input
        token: std::path::PathBuf,
    },
    /// Take back a grant that stands, an approval that was not used, or a token wherever it is
    Withdraw {
        /// Its id, or enough of it
        id: String,
    },
    /// Wait for questions and answer them: a full screen on a terminal, their texts otherwise
    Watch,
}

pub(crate) fn run(place: impl Fn() -> anyhow::Result<Place>, action: Action) -> anyhow::Result<Outcome> {
    match action {
        Action::Key { issuer, out } => token::key(&issuer, &out),
        Action::Issue(issue) => token::issue(place, *issue),
        Action::Answered(action) => answered(&place()?, action),
    }
}

fn answered(place: &Place, action: Answered) -> anyhow::Result<Outcome> {
    match action {
        Answered::List { all, json } => {
            let mut approvals = list(place)?;
            approvals.retain(|approval| all || json || approval.state == "pending");
            if json {
                terminal::say_json(&approvals);
            } else if approvals.is_empty() {
                terminal::say("Nothing waits.");
            } else {
                show::list(&approvals);
            }
        }
        Answered::Show { id, json } => {
            let approval = one(place, &id)?;
            if json { terminal::say_json(&approval) } else { show::whole(&approval) }
        }
        Answered::Grant { id, more } => {
            let more = more.wanted()?;
            answer(place, Control::Grant { id: one(place, &id)?.id, by: operator(), more })?;
        }
        Answered::Refuse { id, reason } => {
            answer(place, Control::Refuse { id: one(place, &id)?.id, by: operator(), reason })?;
        }
        Answered::Leave { id, to } => {
            answer(place, Control::Leave { id: one(place, &id)?.id, by: operator(), to })?;
        }
        Answered::Grants { all, json } => {
            let mut grants = standing(place)?;
            grants.retain(|grant| all || json || grant.state == "active");
            if json {
                terminal::say_json(&grants);
            } else if grants.is_empty() {
                terminal::say("No grant stands.");
            }
            grants.iter().filter(|_| !json).for_each(show::standing);
        }
        Answered::Redeem { token } => return token::redeem(place, &token),
        Answered::Withdraw { id } => {
            let known = standing(place)?.into_iter().map(|grant| grant.id);
            let known = known.chain(list(place)?.into_iter().map(|approval| approval.id));
            // A token that was never shown to this gate is revoked all the same.
            let id = if id.starts_with("k-") { id } else { only(known, &id)? };
            ask(place, Control::Withdraw { id: id.clone(), by: operator() })?;
            terminal::say(&format!("{id} was taken back."));
        }
        Answered::Watch => watch::run(place)?,
    }
    Ok(Outcome::Done)
}

fn answer(place: &Place, control: Control) -> anyhow::Result<()> {
    let approval: Approval = serde_json::from_value(ask(place, control)?)?;
    terminal::say(&format!("{} {}: {}", approval.id, terminal::word(&approval.state), approval.tool));
    match (approval.state.as_str(), approval.consents.len()) {
        ("pending", 1..) => {
            let more = usize::from(approval.approvers).saturating_sub(approval.consents.len());
            terminal::say(&format!("  {more} more must agree"));
        }
        ("pending", _) if !approval.left_to.is_empty() => {
            terminal::say(&format!("  left to {}", terminal::safe(&approval.left_to)));
        }
        _ => {}
    }
    Ok(())
}

fn list(place: &Place) -> anyhow::Result<Vec<Approval>> {
    Ok(serde_json::from_value(ask(place, Control::Approvals)?)?)
}

fn standing(place: &Place) -> anyhow::Result<Vec<Standing>> {
    Ok(serde_json::from_value(ask(place, Control::Grants)?)?)
}

fn one(place: &Place, id: &str) -> anyhow::Result<Approval> {
    let approvals = list(place)?;
    let id = only(approvals.iter().map(|approval| approval.id.clone()), id)?;
    let found = approvals.into_iter().find(|approval| approval.id == id);
    found.ok_or_else(|| anyhow::anyhow!("there is no approval `{id}`"))
}

fn only(known: impl Iterator<Item = String>, id: &str) -> anyhow::Result<String> {
    let mut found: Vec<String> = known.filter(|known| known.starts_with(id)).collect();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (Some(_), _) => anyhow::bail!("`{id}` begins several; write more of it"),
        (None, _) => anyhow::bail!("there is no approval `{id}`; see `bailiwick approvals list`"),
    }
}

pub(crate) fn operator() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "operator".to_owned())
}
