//! Approvals and grants as text. What came from elsewhere is spelled out, so that it cannot move the cursor or hide.

use crate::terminal::{coloured, safe, say, word};
use gateway::wire::approval::{Approval, Limit, Standing};

/// Longest arguments in a line of the list, in characters.
const LINE_CHARS_MAX: usize = 100;

/// Approvals line by line, those that ask about the same operation together.
pub(super) fn list(approvals: &[Approval]) {
    for group in groups(approvals) {
        if let [first, _, ..] = group.as_slice() {
            let line = format!("{} × {} by {}", group.len(), safe(&first.tool), safe(&first.agent));
            say(&coloured(&line, 1));
        }
        for approval in group {
            let arguments: String = approval.arguments.to_string().chars().take(LINE_CHARS_MAX).collect();
            say(&format!(
                "{}  {}  {}",
                approval.id,
                word(&approval.state),
                safe(&format!("{}  {arguments}", approval.tool))
            ));
            if let Some(first) = approval.shown.concerns.first() {
                say(&format!("    {}", coloured(&safe(&first.text), colour(&first.weight))));
            }
        }
    }
}

/// Approvals that ask for the same agent about the same operation, in the order of their first.
pub(super) fn groups(approvals: &[Approval]) -> Vec<Vec<&Approval>> {
    let mut groups: Vec<Vec<&Approval>> = Vec::new();
    for approval in approvals {
        let alike = |group: &&mut Vec<&Approval>| {
            let first = group[0];
            (&first.tool, &first.agent, &first.user, &first.state)
                == (&approval.tool, &approval.agent, &approval.user, &approval.state)
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(approval),
            None => groups.push(vec![approval]),
        }
    }
    groups
}

/// One approval whole.
pub(super) fn whole(approval: &Approval) {
    lines(approval).iter().for_each(|line| say(line));
}

/// The lines of one approval: what is dangerous about it first.
pub(super) fn lines(approval: &Approval) -> Vec<String> {
    let mut lines =
        vec![format!("{}  {}  {}", approval.id, word(&approval.state), coloured(&safe(&approval.tool), 1))];
    let mut put = |name: &str, text: String| lines.push(format!("  {name:<9}{text}"));
    for (index, concern) in approval.shown.concerns.iter().enumerate() {
        put(
            if index == 0 { "look" } else { "" },
            coloured(&format!("• {}", safe(&concern.text)), colour(&concern.weight)),
        );
    }
    put("by", format!("{} for {}", safe(&approval.agent), safe(&approval.user)));
    put("because", safe(&approval.why));
    for (index, command) in approval.shown.commands.iter().enumerate() {
        put(if index == 0 { "runs" } else { "" }, safe(command));
    }
    let arguments = serde_json::to_string_pretty(&approval.arguments).unwrap_or_default();
    for (index, line) in arguments.lines().enumerate() {
        put(if index == 0 { "exactly" } else { "" }, safe(line));
    }
    for (index, line) in approval.shown.diff.iter().enumerate() {
        let code = match line.chars().next() {
            Some('-') => 31,
            Some('+') => 32,
            _ => 2,
        };
        put(if index == 0 { "changes" } else { "" }, coloured(&safe(line), code));
    }
    for (index, value) in approval.shown.values.iter().enumerate() {
        let mark = if value.fits { " " } else { "!" };
        let text = format!("{mark} {} `{}` ({}): {}", value.at, value.text, value.role, value.origin);
        put(if index == 0 { "from" } else { "" }, coloured(&safe(&text), if value.fits { 2 } else { 31 }));
    }
    put("in", safe(&approval.cwd));
    if !approval.shown.phase.is_empty() {
        put("phase", safe(&approval.shown.phase));
    }
    put("digest", approval.request_digest.clone());
    if approval.approvers > 1 {
        let names: Vec<&str> = approval.consents.iter().map(|said| said.name.as_str()).collect();
        put("agree", safe(&format!("{} of {}: {}", names.len(), approval.approvers, names.join(", "))));
    }
    if !approval.left_to.is_empty() {
        put("left to", safe(&approval.left_to));
    }
    if approval.state == "pending" {
        put("lapses", format!("in {} s", approval.expires_at - gateway::clock::seconds()));
    } else if !approval.answered_by.is_empty() {
        put("answered", format!("by {} {}", safe(&approval.answered_by), safe(&approval.reason)));
    }
    lines
}

/// One grant that stands.
pub(super) fn standing(grant: &Standing) {
    let left = grant.scope.until - gateway::clock::seconds();
    say(&format!(
        "{}  {}  {}  {} left, {} s, given by {} ({})",
        grant.id,
        word(&grant.state),
        coloured(&safe(&grant.scope.tool), 1),
        grant.left,
        left.max(0),
        safe(&grant.by),
        safe(&grant.channel)
    ));
    for (name, limit) in &grant.scope.limits {
        let words = match limit {
            Limit::Is(value) => format!("is {value}"),
            Limit::OneOf(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                format!("is one of {}", values.join(", "))
            }
            Limit::AtMost(most) => format!("is at most {most}"),
            Limit::Under(folder) => format!("lies under {folder}"),
            Limit::Any => "is open".to_owned(),
        };
        say(&safe(&format!("    {name} {words}")));
    }
    if let Some(phase) = &grant.scope.phase {
        say(&safe(&format!("    only in phase {phase}")));
    }
}

pub(super) fn colour(weight: &str) -> u8 {
    match weight {
        "danger" => 31,
        "costly" => 33,
        _ => 2,
    }
}
