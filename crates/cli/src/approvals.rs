//! The operator's side of approvals: list, show, grant, refuse, watch. Only the running gate can be answered.

use crate::relay::ask;
use crate::{Outcome, terminal};
use gateway::config::Place;
use gateway::wire::control::{Approval, Control};
use std::collections::HashSet;
use std::io::{BufRead, IsTerminal};
use std::time::Duration;

#[derive(clap::Subcommand)]
pub(crate) enum Action {
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
    /// Let exactly this call run, once
    Grant {
        /// Its id, or enough of it
        id: String,
    },
    /// Do not
    Refuse {
        /// Its id, or enough of it
        id: String,
        /// What the agent is told
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Wait for questions and answer them one by one
    Watch,
}

pub(crate) fn run(place: &Place, action: Action) -> anyhow::Result<Outcome> {
    match action {
        Action::List { all, json } => {
            let mut approvals = list(place)?;
            approvals.retain(|approval| all || json || approval.state == "pending");
            if json {
                terminal::say_json(&approvals);
            } else if approvals.is_empty() {
                terminal::say("Nothing waits.");
            }
            for approval in approvals.iter().filter(|_| !json) {
                let arguments: String = approval.arguments.to_string().chars().take(100).collect();
                let line = format!("{}  {}  {}", approval.tool, arguments, approval.why);
                terminal::say(&format!(
                    "{}  {}  {}",
                    approval.id,
                    terminal::word(&approval.state),
                    terminal::safe(&line)
                ));
            }
        }
        Action::Show { id, json } => {
            let approval = one(place, &id)?;
            if json { terminal::say_json(&approval) } else { show(&approval) }
        }
        Action::Grant { id } => answer(place, Control::Grant { id: one(place, &id)?.id, by: operator() })?,
        Action::Refuse { id, reason } => {
            answer(place, Control::Refuse { id: one(place, &id)?.id, by: operator(), reason })?;
        }
        Action::Watch => watch(place)?,
    }
    Ok(Outcome::Done)
}

fn watch(place: &Place) -> anyhow::Result<()> {
    terminal::say("Waiting for questions. Answer g (grant once), r REASON (refuse), or leave it with enter.");
    let mut seen = HashSet::new();
    let interactive = std::io::stdin().is_terminal();
    loop {
        for approval in list(place)?.into_iter().rev().filter(|approval| approval.state == "pending") {
            if !seen.insert(approval.id.clone()) {
                continue;
            }
            show(&approval);
            if !interactive {
                continue;
            }
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line)? == 0 {
                return Ok(());
            }
            let done = match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
                ("g", _) => answer(place, Control::Grant { id: approval.id, by: operator() }),
                ("r", reason) => answer(
                    place,
                    Control::Refuse { id: approval.id, by: operator(), reason: reason.to_owned() },
                ),
                _ => Ok(()),
            };
            if let Err(error) = done {
                terminal::say(&error.to_string());
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn answer(place: &Place, control: Control) -> anyhow::Result<()> {
    let approval: Approval = serde_json::from_value(ask(place, control)?)?;
    terminal::say(&format!("{} {}: {}", approval.id, terminal::word(&approval.state), approval.tool));
    Ok(())
}

fn list(place: &Place) -> anyhow::Result<Vec<Approval>> {
    Ok(serde_json::from_value(ask(place, Control::Approvals)?)?)
}

fn one(place: &Place, id: &str) -> anyhow::Result<Approval> {
    let mut found: Vec<Approval> =
        list(place)?.into_iter().filter(|approval| approval.id.starts_with(id)).collect();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (Some(_), _) => anyhow::bail!("`{id}` begins several approvals; write more of it"),
        (None, _) => anyhow::bail!("there is no approval `{id}`; see `bailiwick approvals list`"),
    }
}

fn show(approval: &Approval) {
    let left = approval.expires_at - gateway::clock::seconds();
    terminal::say(&format!(
        "\n{}  {}  {}",
        approval.id,
        terminal::word(&approval.state),
        terminal::coloured(&approval.tool, 1)
    ));
    terminal::say(&format!(
        "  by       {} for {}",
        terminal::safe(&approval.agent),
        terminal::safe(&approval.user)
    ));
    terminal::say(&format!("  because  {}", terminal::safe(&approval.why)));
    let arguments = serde_json::to_string_pretty(&approval.arguments).unwrap_or_default();
    for (index, line) in arguments.lines().enumerate() {
        terminal::say(&format!(
            "  {}  {}",
            if index == 0 { "exactly" } else { "       " },
            terminal::safe(line)
        ));
    }
    terminal::say(&format!("  in       {}", terminal::safe(&approval.cwd)));
    terminal::say(&format!("  digest   {}", approval.request_digest));
    if approval.state == "pending" {
        terminal::say(&format!("  lapses   in {left} s"));
    } else if !approval.answered_by.is_empty() {
        terminal::say(&format!(
            "  answered by {} {}",
            terminal::safe(&approval.answered_by),
            terminal::safe(&approval.reason)
        ));
    }
}

fn operator() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "operator".to_owned())
}
