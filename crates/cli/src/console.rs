//! Lets people into the web console and turns them out again. Only the running gate can be asked.

use crate::relay::ask;
use crate::{Outcome, terminal};
use gateway::clock;
use gateway::config::Place;
use gateway::wire::control::{Control, Link, Person};

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Make a link that lets one person in, once, within a quarter of an hour
    Link {
        /// What they may do: viewer, approver or admin
        #[arg(long, default_value = "approver")]
        role: String,
        /// Whom it is for; needed to give somebody a second passkey [default: they choose a name]
        #[arg(long)]
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Who may look and answer
    People {
        #[command(subcommand)]
        action: Option<PeopleAction>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Subcommand)]
pub(crate) enum PeopleAction {
    /// List them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Turn somebody out: their passkeys are forgotten, and no session of theirs lasts
    Revoke {
        /// Their name
        name: String,
    },
}

pub(crate) fn run(place: &Place, action: Action) -> anyhow::Result<Outcome> {
    match action {
        Action::Link { role, name, json } => {
            let link: Link = serde_json::from_value(ask(place, Control::ConsoleLink { role, name })?)?;
            if json {
                terminal::say_json(&link);
            } else {
                terminal::say(&link.link);
                terminal::say(&format!(
                    "  for one person, once, within {} minutes; open it in the browser that has their passkeys",
                    link.seconds / 60
                ));
            }
        }
        Action::People { action: Some(PeopleAction::Revoke { name }), .. } => {
            ask(place, Control::Revoke(name.clone()))?;
            terminal::say(&format!("{} may not come in any more.", terminal::safe(&name)));
        }
        Action::People { action: Some(PeopleAction::List { json }), .. } | Action::People { json, .. } => {
            list(place, json)?;
        }
    }
    Ok(Outcome::Done)
}

fn list(place: &Place, json: bool) -> anyhow::Result<()> {
    let people: Vec<Person> = serde_json::from_value(ask(place, Control::People)?)?;
    if json {
        terminal::say_json(&people);
        return Ok(());
    }
    if people.is_empty() {
        terminal::say("Nobody yet. Let somebody in with `bailiwick console link`.");
    }
    for person in people {
        let standing = match (person.revoked_at, person.used_at) {
            (Some(at), _) => format!("turned out {}", clock::at(at)),
            (None, Some(at)) => format!("last seen {}", clock::at(at)),
            (None, None) => format!("came {}", clock::at(person.added_at)),
        };
        let keys = if person.passkeys == 1 {
            "1 passkey".to_owned()
        } else {
            format!("{} passkeys", person.passkeys)
        };
        terminal::say(&format!(
            "{:<24} {:<9} {keys:<11} {standing}",
            terminal::safe(&person.name),
            person.role
        ));
    }
    Ok(())
}
