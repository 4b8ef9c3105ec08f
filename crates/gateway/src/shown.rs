//! What an approver is shown beside the call itself: its dangers first, where each value came from, what it would change.
//! Everything here passed the filter; nothing here decides, and nothing is left out because it is long without saying so.

use crate::gate::Gate;
use crate::session::Session;
use crate::wire::approval::{Concern, Shown, Value};
use judge::approval::concern::{commands, concerns};
use judge::permit::Pending;
use judge::request::tree::Tree;
use judge::tool::{Effect, Impact};

/// Values shown, entries.
pub(crate) const VALUES_MAX: usize = 64;
/// Commands shown, entries.
const COMMANDS_MAX: usize = 64;
/// Lines of a difference shown.
const DIFF_LINES_MAX: usize = 400;
/// Texts longer than this are not compared, in bytes.
const DIFF_BYTES_MAX: usize = 256 * 1024;
/// Lines shown around a change.
const CONTEXT_LINES: usize = 3;
/// How clients name a text that is replaced, and the one that replaces it.
const REPLACED: [(&str, &str); 4] =
    [("old_string", "new_string"), ("oldText", "newText"), ("old_str", "new_str"), ("old_text", "new_text")];
/// How clients name a whole new text of a file.
const WHOLE: [&str; 4] = ["content", "file_text", "contents", "text"];
/// How clients name that file.
const FILE: [&str; 4] = ["file_path", "path", "notebook_path", "filename"];

/// What there is to see about `pending`.
pub(crate) fn shown(gate: &Gate, session: &Session, pending: &Pending) -> Shown {
    let (request, verdict) = (pending.request(), pending.verdict());
    let said = |text: &str| gate.screen.said(session.hidden(), text);
    let user = &request.principal().user;
    // What cannot be looked up is new.
    let is_first_seen = |value: &str| gate.approvers.is_first_seen(user, value).unwrap_or(true);
    let explained = request.explained();
    let tool = request.tool();
    let mut lines = commands(request);
    let more = lines.len().saturating_sub(COMMANDS_MAX);
    lines.truncate(COMMANDS_MAX);
    let mut shown = Shown {
        concerns: concerns(request, verdict, is_first_seen)
            .into_iter()
            .map(|concern| Concern { weight: concern.weight.word().to_owned(), text: said(&concern.text) })
            .collect(),
        values: explained
            .values
            .iter()
            .take(VALUES_MAX)
            .map(|value| Value {
                at: value.at.clone(),
                role: value.role.word().to_owned(),
                text: said(&value.text),
                origin: value.origin.to_string(),
                fits: value.fits || !explained.is_tainted,
            })
            .collect(),
        commands: lines.iter().map(|line| said(line)).collect(),
        diff: said(
            &changes(request.arguments(), &|path| read(gate, request.cwd().as_str(), path)).join("\n"),
        )
        .lines()
        .map(str::to_owned)
        .collect(),
        effect: match tool.effect {
            Effect::Read => "read",
            Effect::Write => "write",
        }
        .to_owned(),
        impact: match tool.impact {
            Impact::Low => "low",
            Impact::High => "high",
        }
        .to_owned(),
        is_reversible: tool.reversible,
        is_tainted: explained.is_tainted,
        compartments: explained.compartments.clone(),
        phase: session.phase(),
        definition: tool.digest.clone(),
        client_call: String::new(),
    };
    if more > 0 {
        let text = format!("{more} more commands; look at the arguments themselves");
        shown.concerns.insert(0, Concern { weight: "danger".to_owned(), text });
    }
    shown
}

/// What stands in a file of the project now; nothing for what lies elsewhere or is no text.
fn read(gate: &Gate, cwd: &str, path: &str) -> Option<String> {
    let path = std::path::Path::new(cwd).join(path).canonicalize().ok()?;
    let is_ours = path.starts_with(gate.ground.workspace.as_str());
    let bytes = std::fs::metadata(&path).ok().filter(|found| found.is_file() && is_ours)?.len();
    if bytes > DIFF_BYTES_MAX as u64 { None } else { std::fs::read_to_string(path).ok() }
}

/// The lines that a call takes away and adds, as its arguments say; empty for a call that edits no text.
fn changes(arguments: &Tree, read: &impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut lines = Vec::new();
    replaced(arguments, &mut lines, 0);
    let text = |names: &[&str]| names.iter().find_map(|name| arguments.member(name).and_then(Tree::as_text));
    if lines.is_empty()
        && let (Some(file), Some(new)) = (text(&FILE), text(&WHOLE))
    {
        difference(&read(file).unwrap_or_default(), new, &mut lines);
    }
    if lines.len() > DIFF_LINES_MAX {
        let more = lines.len() - DIFF_LINES_MAX;
        lines.truncate(DIFF_LINES_MAX);
        lines.push(format!("… and {more} lines more; look at the arguments themselves"));
    }
    lines
}

fn replaced(value: &Tree, lines: &mut Vec<String>, depth: usize) {
    match value {
        Tree::Map(members) if depth < 4 => {
            for (old, new) in REPLACED {
                let text = |name| value.member(name).and_then(Tree::as_text);
                if let (Some(old), Some(new)) = (text(old), text(new)) {
                    difference(old, new, lines);
                }
            }
            members.iter().for_each(|(_, value)| replaced(value, lines, depth + 1));
        }
        Tree::List(items) if depth < 4 => items.iter().for_each(|item| replaced(item, lines, depth + 1)),
        _ => {}
    }
}

fn difference(old: &str, new: &str, lines: &mut Vec<String>) {
    if old.len() + new.len() > DIFF_BYTES_MAX || lines.len() > DIFF_LINES_MAX {
        lines.push("… a text too long to compare here; look at the arguments themselves".to_owned());
        return;
    }
    let compared = similar::TextDiff::from_lines(old, new);
    for (index, group) in compared.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if index > 0 || !lines.is_empty() {
            lines.push("…".to_owned());
        }
        for change in group.iter().flat_map(|operation| compared.iter_changes(operation)) {
            let sign = match change.tag() {
                similar::ChangeTag::Delete => '-',
                similar::ChangeTag::Insert => '+',
                similar::ChangeTag::Equal => ' ',
            };
            lines.push(format!("{sign} {}", change.value().trim_end_matches(['\n', '\r'])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_edits_is_shown_line_by_line_and_nothing_else_is() {
        let stands = |path: &str| (path == "a.txt").then(|| "one\ntwo\nthree\n".to_owned());
        let edits = |arguments: &str| changes(&Tree::parse(arguments.as_bytes()).expect("JSON"), &stands);
        assert_eq!(
            edits(r#"{"file_path":"a.txt","old_string":"x\ny","new_string":"x\nz"}"#),
            ["  x", "- y", "+ z"]
        );
        assert_eq!(
            edits(
                r#"{"path":"a.txt","edits":[{"oldText":"1","newText":"2"},{"oldText":"3","newText":"4"}]}"#
            ),
            ["- 1", "+ 2", "…", "- 3", "+ 4"]
        );
        assert_eq!(
            edits(r#"{"file_path":"a.txt","content":"one\n2\nthree\n"}"#),
            ["  one", "- two", "+ 2", "  three"]
        );
        assert_eq!(edits(r#"{"file_path":"new.txt","content":"one\n"}"#), ["+ one"]);
        assert!(edits(r#"{"to":"ann","content":"one"}"#).is_empty());
        let long = format!(r#"{{"file_path":"b","content":"{}"}}"#, "line\\n".repeat(DIFF_LINES_MAX + 5));
        assert_eq!(
            edits(&long).last().map(String::as_str),
            Some("… and 5 lines more; look at the arguments themselves")
        );
    }
}
