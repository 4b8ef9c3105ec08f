//! A grant that an approver shapes for more calls like one: the form, and what was filled in. Everything that is not opened stays as
//! it is in the call. Nothing here grants.

use super::Console;
use crate::wire::approval::{Approval, BadScope, Limit, Value, Wanted};
use judge::approval::scope::{SECONDS_MAX, USES_MAX};
use judge::shape::{Kind, Shape};
use maud::{Markup, html};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Arguments that can be opened; further ones stay as they are.
const ARGUMENTS_ENTRIES_MAX: usize = 40;
/// Values that one argument may be one of.
const VALUES_ENTRIES_MAX: usize = 100;
/// How much of an argument is shown beside its limit, in characters.
const LOOK_CHARS_MAX: usize = 80;
/// How long a grant can stand and be idle here, in seconds, and in words.
const TIMES: [(i64, &str); 6] = [
    (600, "10 minutes"),
    (3_600, "1 hour"),
    (8 * 3_600, "8 hours"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (SECONDS_MAX, "30 days"),
];
/// What is chosen at first.
const USES: u32 = 10;
const SECONDS: i64 = 3_600;

/// How an argument can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    Is,
    OneOf,
    AtMost,
    Under,
    Any,
}

impl Opening {
    const ALL: [Opening; 5] = [Opening::Is, Opening::OneOf, Opening::AtMost, Opening::Under, Opening::Any];

    fn word(self) -> &'static str {
        match self {
            Opening::Is => "is",
            Opening::OneOf => "one-of",
            Opening::AtMost => "at-most",
            Opening::Under => "under",
            Opening::Any => "any",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Opening::Is => "exactly this",
            Opening::OneOf => "this, or one of",
            Opening::AtMost => "at most",
            Opening::Under => "below the folder",
            Opening::Any => "whatever policy would not doubt",
        }
    }

    /// Whether an argument of this kind, which is `here` in the call, can be opened so.
    fn fits(self, here: &Json, kind: Option<Kind>, runs_commands: bool) -> bool {
        match self {
            Opening::Is => true,
            Opening::OneOf => !here.is_array() && !here.is_object(),
            Opening::AtMost => here.is_number(),
            Opening::Under => kind == Some(Kind::Path),
            Opening::Any => !runs_commands && kind != Some(Kind::Command),
        }
    }

    /// The limit that `text` gives.
    fn limit(self, name: &str, here: &Json, text: &str) -> Result<Option<Limit>, BadScope> {
        let wrong = |why: String| BadScope(format!("`{name}`: {why}"));
        Ok(Some(match self {
            Opening::Is => return Ok(None),
            Opening::Any => Limit::Any,
            Opening::Under => Limit::Under(text.trim().to_owned()),
            Opening::AtMost => {
                let most = text.trim().parse().map_err(|_| wrong(format!("`{}` is no number", text.trim())));
                Limit::AtMost(most?)
            }
            Opening::OneOf => {
                let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                if lines.is_empty() || lines.len() > VALUES_ENTRIES_MAX {
                    return Err(wrong(format!("write 1 to {VALUES_ENTRIES_MAX} values, each on a line")));
                }
                let value = |line: &&str| match here {
                    Json::String(_) => Ok(Json::String((*line).to_owned())),
                    _ => serde_json::from_str(line).map_err(|_| wrong(format!("`{line}` is no such value"))),
                };
                Limit::OneOf(lines.iter().map(value).collect::<Result<_, _>>()?)
            }
        }))
    }
}

/// What was filled in.
pub(super) fn read(approval: &Approval, fields: &BTreeMap<String, String>) -> Result<Wanted, BadScope> {
    let field = |name: &str| fields.get(name).map(|text| text.trim()).unwrap_or_default();
    let number = |name: &str, what: &str| {
        field(name).parse::<i64>().map_err(|_| BadScope(format!("`{}` is no {what}", field(name))))
    };
    let mut limits = BTreeMap::new();
    let given = approval.arguments.as_object();
    for (at, (name, here)) in given.into_iter().flatten().take(ARGUMENTS_ENTRIES_MAX).enumerate() {
        let word = field(&format!("limit-{at}"));
        let opening = Opening::ALL.into_iter().find(|opening| opening.word() == word);
        let opening = match (opening, word) {
            (Some(opening), _) => opening,
            (None, "") => Opening::Is,
            (None, _) => return Err(BadScope(format!("`{name}` cannot be opened so"))),
        };
        let text = fields.get(&format!("to-{at}")).map(String::as_str).unwrap_or_default();
        if let Some(limit) = opening.limit(name, here, text)? {
            limits.insert(name.clone(), limit);
        }
    }
    let uses = number("uses", "number of calls")?;
    let wanted = Wanted {
        uses: u32::try_from(uses).map_err(|_| BadScope(format!("{uses} is no number of calls")))?,
        seconds: number("seconds", "time")?,
        idle_seconds: if field("idle").is_empty() { None } else { Some(number("idle", "time")?) },
        same_phase: !field("same_phase").is_empty(),
        limits,
    };
    // What cannot stand is said before anybody signs it.
    approval.scope(&wanted, crate::clock::seconds()).map(|_| wanted)
}

/// What it comes to, in a line for whoever is about to sign it.
pub(super) fn says(wanted: &Wanted) -> String {
    let time = TIMES.iter().find(|(seconds, _)| *seconds == wanted.seconds);
    let time = time.map_or_else(|| format!("{} s", wanted.seconds), |(_, words)| (*words).to_owned());
    let open: Vec<&str> = wanted.limits.keys().map(String::as_str).collect();
    let open =
        if open.is_empty() { "nothing opened".to_owned() } else { format!("{} opened", open.join(", ")) };
    format!("this call and {} like it within {time}, {open}", wanted.uses)
}

impl Console {
    /// The form for more calls like this one.
    pub(super) fn shape_form(&self, approval: &Approval, action: &str) -> Markup {
        let rules = self.gate.rules();
        let name = approval.tool.split_once('/');
        let shape = name.and_then(|(server, tool)| {
            let name = judge::tool::ToolName { server: server.to_owned(), tool: tool.to_owned() };
            Some(&rules.inventory.tool(&name)?.shape)
        });
        let runs_commands = !approval.shown.commands.is_empty();
        let given = approval.arguments.as_object();
        let mut arguments: Vec<_> =
            given.into_iter().flatten().take(ARGUMENTS_ENTRIES_MAX).enumerate().collect();
        arguments.sort_by_key(|(at, (name, _))| (rank(approval, name), *at));
        html! {
            details.shape {
                summary { "Grant more calls like this one… " kbd { "m" } }
                form data-action=(action) data-request=(approval.request_digest) data-answer="grant more" {
                    p.note { "An argument you leave as it is must be as in this call, and one that the call does not have must stay away." }
                    @for (at, (name, here)) in arguments {
                        @let kind = shape.and_then(|shape| kind_of(shape, name));
                        @let (limit, to) = (format!("limit-{at}"), format!("to-{at}"));
                        div.limit.danger[is_doubted(approval, name)] {
                            label for=(limit) { code { (self.shown.look(name, LOOK_CHARS_MAX)) } }
                            span.here { (self.shown.look(&plain(here), LOOK_CHARS_MAX)) }
                            select id=(limit) name=(limit) {
                                @for opening in Opening::ALL {
                                    @if opening.fits(here, kind, runs_commands) {
                                        option value=(opening.word()) selected[opening == Opening::Is] { (opening.says()) }
                                    }
                                }
                            }
                            textarea name=(to) rows="1" spellcheck="false" autocomplete="off"
                                aria-label={ "What " (self.shown.words(name)) " may be" } {}
                        }
                    }
                    div.bounds {
                        label { "Calls" input type="number" name="uses" min="1" max=(USES_MAX) value=(USES) required; }
                        label { "Within" select name="seconds" { (times(Some(SECONDS))) } }
                        label { "Ends when idle for" select name="idle" { option value="" { "no limit" } (times(None)) } }
                        @if !approval.shown.phase.is_empty() {
                            label.check { input type="checkbox" name="same_phase" checked; "Only in phase " code { (self.shown.line(&approval.shown.phase)) } }
                        }
                    }
                    button.grant type="submit" { "Grant these with passkey" }
                }
            }
        }
    }
}

fn times(chosen: Option<i64>) -> Markup {
    html! {
        @for (seconds, words) in TIMES { option value=(seconds) selected[Some(seconds) == chosen] { (words) } }
    }
}

fn kind_of(shape: &Shape, name: &str) -> Option<Kind> {
    [Kind::Path, Kind::Command].into_iter().find(|kind| shape.has_kind(name, *kind))
}

/// Those that decide most come first, and what policy doubts before all others.
fn rank(approval: &Approval, name: &str) -> (bool, usize) {
    const ROLES: [&str; 4] = ["receiver", "object", "amount", "parameter"];
    let roles = values_of(approval, name).map(|value| ROLES.iter().position(|role| *role == value.role));
    let role = roles.map(|found| found.unwrap_or(ROLES.len())).min().unwrap_or(ROLES.len());
    (!is_doubted(approval, name), role)
}

fn is_doubted(approval: &Approval, name: &str) -> bool {
    values_of(approval, name).any(|value| !value.fits)
}

fn values_of<'a>(approval: &'a Approval, name: &'a str) -> impl Iterator<Item = &'a Value> {
    approval.shown.values.iter().filter(move |value| {
        value.at.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked() -> Approval {
        serde_json::from_value(json!({
            "id": "a-1", "state": "pending", "agent": "a", "user": "u", "tool": "pay/send", "cwd": "/w",
            "arguments": { "amount": 7, "file": "/w/src/a", "note": "x", "to": "ann" },
            "why": "", "request_digest": "r", "policy_digest": "p", "asked_at": 0, "expires_at": 1,
            "shown": { "values": [
                { "at": "note", "role": "content", "text": "x", "origin": "", "fits": true },
                { "at": "to", "role": "receiver", "text": "ann", "origin": "", "fits": true },
                { "at": "file", "role": "object", "text": "x", "origin": "", "fits": false },
            ] }
        }))
        .expect("an approval")
    }

    #[test]
    fn what_is_filled_in_is_what_is_granted_and_no_more() {
        let with = |fields: &[(&str, &str)]| {
            let mut all: BTreeMap<String, String> = [("uses", "3"), ("seconds", "60")]
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into();
            all.extend(fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
            read(&asked(), &all).map(|wanted| serde_json::to_value(wanted).expect("JSON"))
        };
        let bounds = json!({ "uses": 3, "seconds": 60, "same_phase": false });
        assert_eq!(with(&[]), Ok(bounds.clone()));
        assert_eq!(
            with(&[("to-0", "9"), ("limit-0", "is")]),
            Ok(bounds),
            "a text without its choice opens nothing"
        );
        for (fields, limits) in [
            ([("limit-0", "at-most"), ("to-0", " 50 ")], json!({ "amount": { "at-most": 50.0 } })),
            ([("limit-1", "under"), ("to-1", "/w/src")], json!({ "file": { "under": "/w/src" } })),
            ([("limit-2", "any"), ("to-2", "")], json!({ "note": "any" })),
            ([("limit-3", "one-of"), ("to-3", "bob\n\ncy\n")], json!({ "to": { "one-of": ["bob", "cy"] } })),
            ([("limit-0", "one-of"), ("to-0", "8\n9")], json!({ "amount": { "one-of": [8, 9] } })),
        ] {
            assert_eq!(with(&fields).map(|wanted| wanted["limits"].clone()), Ok(limits), "{fields:?}");
        }
        for fields in [
            [("limit-0", "at-most"), ("to-0", "")],
            [("limit-0", "at-most"), ("to-0", "-1")],
            [("limit-0", "at-most"), ("to-0", "NaN")],
            [("limit-0", "one-of"), ("to-0", "eight")],
            [("limit-1", "under"), ("to-1", "src")],
            [("limit-1", "under"), ("to-1", "/w/../etc")],
            [("limit-2", "all"), ("to-2", "")],
            [("limit-3", "one-of"), ("to-3", " \n")],
            [("uses", "0"), ("to-0", "")],
            [("uses", "-1"), ("to-0", "")],
            [("seconds", "0"), ("to-0", "")],
            [("seconds", "9999999999"), ("to-0", "")],
            [("idle", "soon"), ("to-0", "")],
        ] {
            assert!(with(&fields).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn what_is_doubted_and_what_decides_most_comes_first() {
        let asked = asked();
        let mut names = vec!["amount", "file", "note", "to"];
        names.sort_by_key(|name| rank(&asked, name));
        assert_eq!(names, ["file", "to", "amount", "note"]);
        assert!(is_doubted(&asked, "file") && !is_doubted(&asked, "fil"));
    }
}
