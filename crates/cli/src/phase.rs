//! The operator's side of phases: which is in force, what is possible there and until when, and another one.
//! Only the running gate can be asked; going wider is recorded with who said so.

use crate::relay::ask;
use crate::{Outcome, terminal};
use gateway::config::Place;
use gateway::wire::control::{Control, Phases};

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Which phase is in force, what is possible in it, and until when
    Status {
        /// One conversation [default: all that are open]
        #[arg(long, value_name = "NAME")]
        conversation: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a conversation into another phase; a wider one ends by itself
    Set {
        /// The phase
        to: String,
        /// The conversation [default: the only one that is open]
        #[arg(long, value_name = "NAME")]
        conversation: Option<String>,
        /// For so long at most, where it is wider: 90s, 30m, 8h
        #[arg(long = "for", value_name = "TIME")]
        lasts: Option<String>,
        /// For so many writes at most, where it is wider
        #[arg(long, value_name = "N")]
        writes: Option<u32>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(place: &Place, action: Action) -> anyhow::Result<Outcome> {
    let (control, json) = match action {
        Action::Status { conversation, json } => (Control::Phases { conversation }, json),
        Action::Set { to, conversation, lasts, writes, json } => {
            let seconds = lasts.as_deref().map(crate::approvals::seconds).transpose()?;
            let by = crate::approvals::operator();
            (Control::Phase { conversation, to, by, seconds, writes }, json)
        }
    };
    let phases: Phases = serde_json::from_value(ask(place, control)?)?;
    if json {
        terminal::say_json(&phases)
    } else {
        show(&phases)
    }
    Ok(Outcome::Done)
}

fn show(phases: &Phases) {
    terminal::say(&format!("Phases, the one that permits least first: {}", phases.phases.join(", ")));
    if phases.conversations.is_empty() {
        terminal::say("No conversation is open.");
    }
    let now = gateway::clock::seconds();
    for conversation in &phases.conversations {
        let mut ends = Vec::new();
        ends.extend(conversation.until.map(|until| format!("for {} s", until - now)));
        ends.extend(conversation.idle_until.map(|until| format!("{} s without a call", until - now)));
        ends.extend(conversation.writes_left.map(|left| format!("{left} writes")));
        let ends = if ends.is_empty() {
            String::new()
        } else {
            format!(", {}; then {}", ends.join(" or "), conversation.then)
        };
        let line = format!("{}  in {}{ends}", conversation.conversation, conversation.phase);
        terminal::say(&terminal::safe(&line));
    }
    for (phase, possible) in &phases.possible {
        terminal::say(&format!("In {}, with some arguments:", terminal::coloured(&terminal::safe(phase), 1)));
        for (operation, decision) in possible {
            let space = " ".repeat(6_usize.saturating_sub(decision.len()));
            terminal::say(&format!("  {}{space}{}", terminal::word(decision), terminal::safe(operation)));
        }
    }
}
