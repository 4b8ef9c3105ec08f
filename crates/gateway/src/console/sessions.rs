//! What agents did: sessions, each call with its decision, where its values came from, what held it and what came back; and one
//! value followed through all of it.

use super::chronicle::{Past, Tally, records};
use super::guard::{Asked, encoded};
use super::page;
use super::pictures::{self, Edge};
use super::records::{clock, line, unread};
use super::visit::Visitor;
use super::{Console, Refused, approvals::pager, html};
use crate::wire::record::{Body, Confined, Decided, Record, Status};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use std::collections::HashMap;

/// Sessions on one page.
const PAGE_ROWS_MAX: usize = 50;
/// Records of a session on one page.
const TIMELINE_ROWS_MAX: usize = 120;
/// Records of a session that its flow is drawn from, the newest.
const FLOW_RECORDS_MAX: usize = 2_000;
/// Edges of a flow.
const FLOW_ENTRIES_MAX: usize = 24;
/// How much of a text is shown, in characters.
const LOOK_CHARS_MAX: usize = 220;
/// Bars of the picture of questions.
const ASKS_ENTRIES_MAX: usize = 48;
/// Hours of the picture of decisions.
const HOURS_SHOWN: i64 = 48;

/// A call as the records of one page tell it.
#[derive(Default)]
struct Ending<'a> {
    outcome: Option<&'a Body>,
    asked: Option<&'a str>,
    alerts: Vec<&'a str>,
}

impl Console {
    pub(super) fn sessions(&self, asked: &Asked, visitor: &Visitor) -> Result<Response, Refused> {
        self.chronicle.reader().map_err(|fault| unread(&fault))?;
        let wanted = asked.query("q").unwrap_or_default();
        let page = asked.number("page").and_then(|page| usize::try_from(page).ok()).unwrap_or(1).max(1);
        let (count, rows) = self.chronicle.sessions(&wanted, (page - 1) * PAGE_ROWS_MAX, PAGE_ROWS_MAX);
        let hours: Vec<String> = (0..HOURS_SHOWN)
            .rev()
            .map(|back| crate::clock::at(crate::clock::seconds() - back * 3_600).chars().take(13).collect())
            .collect();
        let counted = self.chronicle.hours();
        let shown = hours.iter().filter_map(|hour| counted.get(hour));
        let total = shown.fold(Tally::default(), |total, one| total.and(*one));
        let (_, latest) = self.chronicle.sessions("", 0, ASKS_ENTRIES_MAX);
        let asks: Vec<(String, u64)> =
            latest.iter().rev().map(|past| (past.name.clone(), past.tally.asked)).collect();
        let main = html! {
            header.top { h1 { "Sessions" } span.aside { (count) " in all" } }
            @if wanted.is_empty() && page == 1 {
                div.pictures {
                    figure {
                        figcaption { "Decisions, last " (HOURS_SHOWN) " hours"
                            span.key { i.good {} (total.allowed) " allowed" } span.key { i.person {} (total.granted) " granted" }
                            span.key { i.bad {} (total.denied) " denied" } }
                        (pictures::decisions(&counted, &hours))
                    }
                    figure {
                        figcaption { "Questions per session, last " (asks.len()) }
                        (pictures::asks(&asks, ASKS_ENTRIES_MAX))
                    }
                }
            }
            form.search method="get" action="/console/sessions" role="search" {
                label.unseen-label for="q" { "Search sessions" }
                input #q type="search" name="q" value=(wanted) placeholder="Search: agent, user, client, session" autocomplete="off";
                button type="submit" { "Search" }
            }
            @if rows.is_empty() { p.empty { "No session " @if wanted.is_empty() { "yet." } @else { "is called that." } } }
            ol.rows {
                @for past in &rows {
                    li {
                        a.row href={ "/console/sessions/" (encoded(&past.name)) } data-id=(past.name) {
                            span.what { (self.shown.line(&past.agent)) " " span.quiet { "for " (self.shown.line(&past.user)) } }
                            span.when { (past.last.get(..10).unwrap_or_default()) " " (clock(&past.last)) }
                            span.why { (self.shown.look(&client(&past.client), 80)) " over " (self.shown.line(&past.transport)) " " code { (past.name) } }
                            span.state { (tally(past)) @if past.is_open { " " (page::word("open")) } }
                        }
                    }
                }
            }
            (pager(page, count.div_ceil(PAGE_ROWS_MAX), &query(&wanted)))
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "sessions", "Sessions", "records").around(&main)))
    }

    pub(super) fn session(&self, asked: &Asked, visitor: &Visitor, name: &str) -> Result<Response, Refused> {
        let reader = self.chronicle.reader().map_err(|fault| unread(&fault))?;
        let (past, rows) = self.chronicle.session(name).ok_or_else(Refused::absent)?;
        let followed = asked.query("value").filter(|value| !value.is_empty());
        let recent = &rows[rows.len().saturating_sub(FLOW_RECORDS_MAX)..];
        let all = records(&reader, recent).map_err(|fault| unread(&fault))?;
        let pages = rows.len().div_ceil(TIMELINE_ROWS_MAX).max(1);
        // The last page is what happened last; it is shown first.
        let page =
            asked.number("page").and_then(|page| usize::try_from(page).ok()).unwrap_or(1).clamp(1, pages);
        let end = rows.len().saturating_sub((page - 1) * TIMELINE_ROWS_MAX);
        let shown = &rows[end.saturating_sub(TIMELINE_ROWS_MAX)..end];
        let timeline = records(&reader, shown).map_err(|fault| unread(&fault))?;
        let edges = self.edges(&all);
        let title = format!("Session {name}");
        let main = html! {
            header.top {
                a.back href="/console/sessions" { "Sessions" }
                h1 { (self.shown.line(&past.agent)) " " span.quiet { "for " (self.shown.line(&past.user)) }
                    @if past.is_open { " " (page::word("open")) } }
                span.aside { (tally(&past)) }
            }
            dl.facts {
                dt { "Client" } dd { (self.shown.look(&client(&past.client), 160)) " over " (self.shown.line(&past.transport)) }
                dt { "From" } dd { (past.begun.get(..19).unwrap_or(&past.begun).replace('T', " ")) " to " (past.last.get(..19).unwrap_or(&past.last).replace('T', " ")) " UTC" }
                dt { "Session" } dd { code { (past.name) } }
            }
            @if !edges.is_empty() {
                section { h2 { "Where values came from, and where they went" } (pictures::flow(&edges)) }
            }
            section {
                h2 { "Follow one value" }
                form.search method="get" role="search" {
                    label.unseen-label for="value" { "A value" }
                    input #value type="search" name="value" value=(followed.clone().unwrap_or_default())
                        placeholder="An address, an amount, a name" autocomplete="off";
                    button type="submit" { "Follow" }
                }
                @if let Some(value) = &followed { (self.followed(&all, value)) }
            }
            section {
                h2 { "Timeline" }
                ol.timeline { (self.timeline(&timeline)) }
                (pager(page, pages, &followed.map_or(String::new(), |value| format!("value={}&", encoded(&value)))))
            }
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "sessions", &title, "records").around(&main)))
    }

    fn timeline(&self, rows: &[(u64, Record)]) -> Markup {
        let mut endings: HashMap<&str, Ending<'_>> = HashMap::new();
        let decided: std::collections::HashSet<&str> = rows
            .iter()
            .filter_map(|(_, record)| match &record.body {
                Body::Decision(decided) => Some(decided.call.as_str()),
                _ => None,
            })
            .collect();
        for (_, record) in rows {
            match &record.body {
                body @ Body::Outcome { call, .. } => endings.entry(call).or_default().outcome = Some(body),
                Body::Asked { call, approval, .. } => endings.entry(call).or_default().asked = Some(approval),
                Body::Alert { call, detail, .. } if !call.is_empty() => {
                    endings.entry(call).or_default().alerts.push(detail);
                }
                _ => {}
            }
        }
        let is_told = |body: &Body| match body {
            Body::Outcome { call, .. } | Body::Asked { call, .. } | Body::Alert { call, .. } => {
                decided.contains(call.as_str())
            }
            _ => false,
        };
        html! {
            @for (index, record) in rows {
                @match &record.body {
                    Body::Decision(decided) => (self.call(*index, record, decided, endings.remove(decided.call.as_str()).unwrap_or_default())),
                    body if is_told(body) => {},
                    _ => (self.event(*index, record)),
                }
            }
        }
    }

    fn event(&self, index: u64, record: &Record) -> Markup {
        let (kind, text) = line(record);
        html! {
            li.event {
                a.when href={ "/console/journal/" (index) } { (clock(&record.at)) }
                div { (page::word(kind)) " " span.quiet { (self.shown.look(&text, LOOK_CHARS_MAX)) } }
            }
        }
    }

    fn call(&self, index: u64, record: &Record, decided: &Decided, ending: Ending<'_>) -> Markup {
        let kind = line(record).0;
        let arguments = decided.arguments.to_string();
        let odd: Vec<_> = decided.origins.iter().filter(|origin| !origin.fits).collect();
        html! {
            li.call {
                a.when href={ "/console/journal/" (index) } { (clock(&record.at)) }
                div {
                    p.head { (page::word(kind)) " " strong { (self.shown.line(&decided.tool)) }
                        @if !decided.granted_by.is_empty() { span.quiet { " by " (self.shown.line(&decided.granted_by)) } }
                        @if let Some(approval) = ending.asked { " " a.quiet href={ "/console/approvals/" (encoded(approval)) } { "its question" } }
                    }
                    code.args { (self.shown.look(&arguments, LOOK_CHARS_MAX)) }
                    @if kind != "allow" { p.why { (self.shown.prose(&decided.why)) } }
                    @if !odd.is_empty() {
                        p.why { @for origin in odd {
                            span.chip.bad { (self.shown.line(&origin.at)) ": " (self.shown.line(&origin.origin))
                                @if !origin.from.is_empty() { ", read in " (self.shown.line(&origin.from.join(", "))) } } " "
                        } }
                    }
                    @for alert in &ending.alerts { p.why { (page::word("alert")) " " (self.shown.look(alert, LOOK_CHARS_MAX)) } }
                    @if let Some(outcome) = ending.outcome { (self.outcome(outcome)) }
                }
            }
        }
    }

    fn outcome(&self, outcome: &Body) -> Markup {
        let Body::Outcome { status, detail, bytes, ms, confined, advice, .. } = outcome else {
            return html! {};
        };
        let word = format!("{status:?}").to_lowercase();
        html! {
            p.outcome {
                @if *status != Status::Ok { (page::word(&word)) " " }
                span.quiet { (bytes) " bytes in " (ms) " ms" }
                @if !detail.is_empty() { " " span.chip { (self.shown.look(detail, LOOK_CHARS_MAX)) } }
                @for tag in advice { " " span.chip.wait { (self.shown.line(tag)) } }
            }
            @if let Some(how) = confined { (self.wall(how)) }
        }
    }

    /// The layers that held, and those that did not.
    pub(super) fn wall(&self, how: &Confined) -> Markup {
        html! {
            p.layers {
                @for (layer, by) in &how.layers { span.chip.good title=(by) { (self.shown.line(layer)) } " " }
                @for (layer, why) in &how.waived { span.chip.bad title=(why) { "without " (self.shown.line(layer)) } " " }
                @for limit in &how.reached { span.chip.wait { "reached " (self.shown.line(limit)) } " " }
            }
        }
    }

    /// Edges from the values whose origins were recorded.
    fn edges(&self, all: &[(u64, Record)]) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (_, record) in all.iter().rev() {
            let Body::Decision(decided) = &record.body else { continue };
            let tone = match line(record).0 {
                "allow" => "good",
                "granted" => "person",
                _ => "bad",
            };
            for origin in
                decided.origins.iter().filter(|origin| !["typed", "text", "made"].contains(&&*origin.origin))
            {
                let Some(value) = value_at(&decided.arguments, &origin.at) else { continue };
                let sources = match origin.origin.as_str() {
                    "untrusted" | "vouched" => origin.from.clone(),
                    "said" | "issued" | "listed" | "described" => vec!["the user".to_owned()],
                    "configured" => vec!["the configuration".to_owned()],
                    "endorsed" => vec!["a person's approval".to_owned()],
                    _ => vec!["nowhere that was seen".to_owned()],
                };
                let named = origin.at.split(['.', '[']).next().unwrap_or(&origin.at);
                for source in sources {
                    let edge = Edge {
                        source: self.shown.words(&source),
                        value: self.shown.words(&format!("{named}: {value}")),
                        sink: self.shown.words(&decided.tool),
                        tone,
                    };
                    if edges.len() < FLOW_ENTRIES_MAX && !edges.contains(&edge) {
                        edges.push(edge);
                    }
                }
            }
        }
        edges.reverse();
        edges
    }

    /// One value from where it was first seen to where it went.
    fn followed(&self, all: &[(u64, Record)], value: &str) -> Markup {
        let wanted = value.to_lowercase();
        let holds = |record: &Record| {
            let text = match &record.body {
                Body::Decision(decided) => decided.arguments.to_string(),
                Body::Extracted { answer, .. } => answer.to_string(),
                Body::Alert { detail, .. } | Body::Outcome { detail, .. } => detail.clone(),
                _ => return false,
            };
            text.to_lowercase().contains(&wanted)
        };
        let found: Vec<&(u64, Record)> = all.iter().filter(|(_, record)| holds(record)).collect();
        let first_origin = found.iter().find_map(|(_, record)| match &record.body {
            Body::Decision(decided) => decided.origins.iter().find(|origin| {
                value_at(&decided.arguments, &origin.at)
                    .is_some_and(|text| text.to_lowercase().contains(&wanted))
            }),
            _ => None,
        });
        html! {
            @if found.is_empty() { p.note { "No call of this session carried it." } }
            @if let Some(origin) = first_origin {
                p { "First seen: " strong { @match origin.origin.as_str() {
                    "said" | "issued" | "listed" | "described" => "the user said it",
                    "configured" => "it is configured",
                    "endorsed" => "a person endorsed it",
                    "untrusted" => "nobody vouches for it",
                    "vouched" => "a server vouches for it",
                    "typed" => "its type holds no message",
                    "unseen" => "nowhere that was read",
                    _ => "in text",
                } } @if !origin.from.is_empty() { ", in " code { (self.shown.line(&origin.from.join(", "))) } } }
            }
            ol.timeline {
                @for (index, record) in found.iter().take(TIMELINE_ROWS_MAX) { (self.event(*index, record)) }
            }
        }
    }
}

/// The value of an argument's path, `to[0].name`, as text.
fn value_at(arguments: &serde_json::Value, path: &str) -> Option<String> {
    let mut at = arguments;
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        at = match part.strip_suffix(']') {
            Some(index) => at.get(index.parse::<usize>().ok()?)?,
            None => at.get(part)?,
        };
    }
    match at {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Object(_) | serde_json::Value::Array(_) | serde_json::Value::Null => None,
        other => Some(other.to_string()),
    }
}

fn tally(past: &Past) -> Markup {
    let Tally { allowed, granted, denied, asked } = past.tally;
    html! {
        span.tally {
            @if allowed > 0 { span.good { (allowed) " allowed" } " " }
            @if granted > 0 { span.person { (granted) " granted" } " " }
            @if denied > 0 { span.bad { (denied) " denied" } " " }
            @if asked > granted { span.quiet { (asked) " asked" } " " }
            @if past.alerts > 0 { span.bad { (past.alerts) " alerts" } }
            @if past.tally.decisions() == 0 && past.alerts == 0 { span.quiet { "no calls" } }
        }
    }
}

/// A client's own words about itself, shorter where they are the usual ones.
fn client(said: &str) -> String {
    let read: serde_json::Value = serde_json::from_str(said).unwrap_or_default();
    match (read["name"].as_str(), read["version"].as_str()) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        (Some(name), None) => name.to_owned(),
        _ => said.to_owned(),
    }
}

fn query(wanted: &str) -> String {
    if wanted.is_empty() { String::new() } else { format!("q={}&", encoded(wanted)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_to_its_value_or_nowhere() {
        let arguments = json!({ "to": ["a@b.example", { "name": "x" }], "amount": 5, "note": null });
        for (path, value) in [
            ("to[0]", Some("a@b.example")),
            ("to[1].name", Some("x")),
            ("amount", Some("5")),
            ("to", None),
            ("to[9]", None),
            ("note", None),
            ("gone.deeper", None),
        ] {
            assert_eq!(value_at(&arguments, path).as_deref(), value, "{path}");
        }
    }
}
