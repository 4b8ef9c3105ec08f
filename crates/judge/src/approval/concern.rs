//! What an approver should look at first: the dangerous parts of one call, in words, the worst before the others.
//! It orders and names; it decides nothing and hides nothing.

use crate::flow::{Origin, Role};
use crate::policy::Verdict;
use crate::request::{Bound, Request};
use crate::tool::{Effect, Impact};

/// Most concerns about one call; the last says how many more there are.
const CONCERNS_MAX: usize = 12;

/// How bad. Ordered: the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Worth knowing.
    Note,
    /// Costs something when it is wrong.
    Costly,
    /// What an attack looks like.
    Danger,
}

impl Weight {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Weight::Note => "note",
            Weight::Costly => "costly",
            Weight::Danger => "danger",
        }
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// How bad.
    pub weight: Weight,
    /// What, in words.
    pub text: String,
}

/// What is dangerous about `request`, the worst first. `is_first_seen` says of a receiver whether nobody ever approved it before.
pub fn concerns(request: &Request, verdict: &Verdict, is_first_seen: impl Fn(&str) -> bool) -> Vec<Concern> {
    let mut found = Vec::new();
    let mut note = |weight, text: String| found.push(Concern { weight, text });
    let explained = request.explained();
    for value in explained.misfits() {
        let weight = match value.origin {
            Origin::Untrusted(_) => Weight::Danger,
            _ if matches!(value.role, Role::Receiver | Role::Object) => Weight::Danger,
            _ => Weight::Costly,
        };
        note(weight, format!("{} `{}`: {}", value.at, value.text, value.origin));
    }
    if !explained.is_in_scope {
        note(Weight::Danger, "the task was not to touch this".to_owned());
    }
    for leak in request.leaks() {
        let (offer, carrier) = (leak.offer.word(), leak.carrier.word());
        note(Weight::Danger, format!("it may carry data out to {} ({offer}, in its {carrier})", leak.host));
    }
    for reading in &request.alternatives {
        reading_of(&reading.args, &reading.label, &mut note);
    }
    for value in &explained.values {
        if value.role == Role::Receiver && value.at != "the call itself" && is_first_seen(&value.text) {
            note(Weight::Costly, format!("{} `{}` has not been approved before", value.at, value.text));
        }
        if value.role == Role::Amount {
            note(Weight::Costly, format!("{} is {}", value.at, value.text));
        }
    }
    let tool = request.tool();
    if tool.effect == Effect::Write && !tool.reversible {
        note(Weight::Costly, "it cannot be taken back".to_owned());
    }
    if tool.impact == Impact::High {
        note(Weight::Costly, "it was reviewed as high impact".to_owned());
    }
    if verdict.approvers() > 1 {
        note(Weight::Note, format!("{} people must agree", verdict.approvers()));
    }
    if explained.is_tainted && explained.fits() {
        note(
            Weight::Note,
            "untrusted content was read before, and each value here is known to be the user's".to_owned(),
        );
    }
    found.sort_by_key(|concern| std::cmp::Reverse(concern.weight));
    found.dedup();
    if found.len() > CONCERNS_MAX {
        let more = found.len() - (CONCERNS_MAX - 1);
        found.truncate(CONCERNS_MAX - 1);
        let weight = Weight::Costly;
        found.push(Concern { weight, text: format!("and {more} more; look at the arguments themselves") });
    }
    found
}

/// The commands that a call would run, each for itself; empty for what runs none.
pub fn commands(request: &Request) -> Vec<String> {
    let lines = request.alternatives.iter().filter_map(|reading| {
        let mut line = None;
        walk(&reading.args, "", &mut |_, name, value| {
            if let ("line", Bound::Text(text)) = (name, value) {
                line.get_or_insert(text.clone());
            }
        });
        line
    });
    lines.collect()
}

fn reading_of(args: &Bound, label: &str, note: &mut impl FnMut(Weight, String)) {
    let mut is_opaque = false;
    walk(args, "", &mut |at, name, value| match (name, value) {
        ("opaque", Bound::Bool(true)) if !is_opaque => {
            is_opaque = true;
            note(
                Weight::Danger,
                format!("it cannot be known what runs: {}", if label.is_empty() { at } else { label }),
            );
        }
        ("given" | "words" | "line", Bound::Text(text)) if name != "line" && is_wide(text) => {
            note(Weight::Costly, format!("{at} `{text}` may mean many files"));
        }
        ("words", Bound::Set(words)) => {
            for word in words {
                if let Bound::Text(text) = word
                    && is_wide(text)
                {
                    note(Weight::Costly, format!("`{text}` may mean many files"));
                }
            }
        }
        ("zone", Bound::Text(zone)) if zone != "workspace" => {
            note(Weight::Costly, format!("{at} is outside the project ({zone})"));
        }
        _ => {}
    });
}

/// A pattern, or a root of many things.
fn is_wide(text: &str) -> bool {
    text.contains(['*', '?']) || matches!(text, "/" | "~" | "." | "..")
}

fn walk(bound: &Bound, at: &str, found: &mut impl FnMut(&str, &str, &Bound)) {
    if let Bound::Record(members) = bound {
        for (name, value) in members {
            found(at, name, value);
            let inside = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            walk(value, &inside, found);
        }
    }
}
