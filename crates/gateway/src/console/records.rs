//! One record of the journal in one line, and the journal's pages: search, one record whole, and the proof that it is there.
//! The proof is computed and checked each time it is shown.

use super::chronicle::records;
use super::guard::{Asked, encoded};
use super::page::{self, Page};
use super::shown::Shown;
use super::visit::Visitor;
use super::{Console, Refused, html};
use crate::wire::record::{Body, Record};
use axum::response::Response;
use http::StatusCode;
use journal::{Checkpoint, Fault, Hash, Reader, VerifierKey};
use maud::{Markup, html};

/// Rows on one page.
const PAGE_ROWS_MAX: u64 = 60;
/// Records that one search goes through; the next one goes on from there.
const SEARCH_RECORDS_MAX: u64 = 50_000;
/// How much of a line is shown, in characters.
const LINE_CHARS_MAX: usize = 170;

/// A record's kind and what it says, in one line.
pub(super) fn line(record: &Record) -> (&'static str, String) {
    match &record.body {
        Body::GateStarted { version, policies, tools, .. } => {
            ("gate", format!("started, version {version}, {policies} policies over {tools} operations"))
        }
        Body::GateStopped => ("gate", "stopped".to_owned()),
        Body::Recovered { torn_bytes, ambiguous } => (
            "gate",
            format!("came back: {ambiguous} calls ambiguous, {torn_bytes} unacknowledged bytes dropped"),
        ),
        Body::PolicyLoaded { policies, tools, .. } => {
            ("gate", format!("loaded {policies} policies over {tools} operations"))
        }
        Body::SessionOpened { transport, agent, user, client, .. } => {
            ("session", format!("{agent} for {user} over {transport}, {client}"))
        }
        Body::SessionClosed => ("session", "ended".to_owned()),
        Body::Decision(decided) => {
            let kind = match decided.decision.as_str() {
                "deny" => "deny",
                _ if decided.granted_by.is_empty() => "allow",
                _ => "granted",
            };
            (kind, format!("{} {}", decided.tool, decided.arguments))
        }
        Body::Asked { tool, approval, .. } => ("ask", format!("{tool}, approval {approval}")),
        Body::Answered { approval, answer, by, reason, channel, .. } => {
            ("answer", format!("{answer} by {by} over {channel} on {approval} {reason}"))
        }
        Body::Granted { grant, by, channel, uses, scope, .. } => {
            let tool = scope["tool"].as_str().unwrap_or_default();
            ("grant", format!("{grant} stands for {uses} calls of {tool}, by {by} over {channel}"))
        }
        Body::Withdrawn { grant, by, .. } => ("grant", format!("{grant} taken back by {by}")),
        Body::Phase { from, to, by, .. } => ("phase", format!("{from} to {to} by {by}")),
        Body::Outcome { status, bytes, ms, detail, .. } => {
            ("outcome", format!("{status:?}, {bytes} bytes in {ms} ms {detail}"))
        }
        Body::Extracted { from, refused, answer, .. } => ("read", format!("{from}: {answer} {refused}")),
        Body::Confined { server, how } => {
            let layers: Vec<&str> = how.layers.keys().map(String::as_str).collect();
            ("wall", format!("{server}: {}", layers.join(", ")))
        }
        Body::Quarantined { server, tool, why, .. } => {
            ("alert", format!("{server}/{tool} is quarantined: {why}"))
        }
        Body::Reviewed { server, tool, by, .. } => ("review", format!("{server}/{tool} by {by}")),
        Body::Sensed { tool, event, .. } => ("sensed", format!("{tool} {event}")),
        Body::Prompt { bytes, .. } => ("prompt", format!("{bytes} bytes from the user")),
        Body::Context(context) => (
            "context",
            format!(
                "{} requests to models, {} bytes searched, {} refused",
                context.requests, context.bytes, context.refused
            ),
        ),
        Body::Person(person) => {
            ("people", format!("{} {} as {}, by {}", person.what, person.name, person.role, person.how))
        }
        Body::Signed(signed) => {
            ("signed", format!("{} of {} by {}", signed.answer, signed.approval, signed.by))
        }
        Body::Alert { rule, detail, .. } => ("alert", format!("{rule}: {detail}")),
    }
}

/// A time as it is read in a list.
pub(super) fn clock(at: &str) -> Markup {
    html! { time datetime=(at) title=(at) { (at.get(11..19).unwrap_or(at)) } }
}

/// A row that leads to the record.
pub(super) fn row(shown: &Shown, index: u64, record: &Record) -> Markup {
    let (kind, text) = line(record);
    html! {
        li {
            a.row.record href={ "/console/journal/" (index) } data-id=(index) {
                span.when { (record.at.get(5..10).unwrap_or_default()) " " (clock(&record.at)) }
                (page::word(kind))
                code.args { (shown.look(&text, LINE_CHARS_MAX)) }
            }
        }
    }
}

/// The journal cannot be read: said, not hidden.
pub(super) fn unread(fault: &Fault) -> Refused {
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the journal cannot be read: {fault}"))
}

impl Console {
    pub(super) fn journal(&self, asked: &Asked, visitor: &Visitor) -> Result<Response, Refused> {
        let reader = self.chronicle.reader().map_err(|fault| unread(&fault))?;
        let wanted = asked.query("q").unwrap_or_default();
        let before = asked.number("before").unwrap_or(u64::MAX).min(reader.size());
        let (found, next) = back(&reader, before, &wanted).map_err(|fault| unread(&fault))?;
        let more = |before: u64| format!("?q={}&before={before}", encoded(&wanted));
        let main = html! {
            header.top {
                h1 { "Journal" }
                span.aside { (reader.size()) " records" }
            }
            form.search method="get" action="/console/journal" role="search" {
                label.unseen-label for="q" { "Search the records" }
                input #q type="search" name="q" value=(wanted) placeholder="Search: a tool, a session, a value, a rule" autocomplete="off";
                button type="submit" { "Search" }
            }
            @if found.is_empty() {
                p.empty { "Nothing " @if next > 0 { "so far" } @else { "in the journal" } " holds that." }
            }
            ol.rows { @for (index, record) in &found { (row(&self.shown, *index, record)) } }
            @if next > 0 { nav.pager aria-label="Pages" { a rel="next" href=(more(next)) { "Further back" } } }
            section.proof {
                h2 { "Last checkpoint" }
                pre.text { (self.shown.block(reader.latest_checkpoint().trim_end())) }
                (self.checkpoint(&reader))
            }
        };
        // Only the newest page moves.
        let live = if before == reader.size() && wanted.is_empty() { "records" } else { "" };
        Ok(html(StatusCode::OK, self.page_of(visitor, "journal", "Journal", live).around(&main)))
    }

    /// What the public key says of the checkpoint.
    fn checkpoint(&self, reader: &Reader) -> Markup {
        match self.verified(reader) {
            Ok(checkpoint) => html! {
                p { (page::word("holds")) " Signed by " code { (self.shown.line(checkpoint.origin())) } " over "
                    (checkpoint.size()) " records. Keep it elsewhere, and nobody can cut the journal unseen: "
                    code { "bailiwick journal verify --seen FILE" } "." }
            },
            Err(why) => html! { p { (page::word("lacks")) " " (self.shown.line(&why)) } },
        }
    }

    pub(super) fn verified(&self, reader: &Reader) -> Result<Checkpoint, String> {
        let path = self.gate.place.public_key();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let key: VerifierKey = text.trim().parse().map_err(|error| format!("{}: {error}", path.display()))?;
        Checkpoint::verify(reader.latest_checkpoint(), &key).map_err(|error| error.to_string())
    }

    pub(super) fn record(&self, visitor: &Visitor, index: &str) -> Result<Response, Refused> {
        let index: u64 = index.parse().map_err(|_| Refused::absent())?;
        let reader = self.chronicle.reader().map_err(|fault| unread(&fault))?;
        if index >= reader.size() {
            return Err(Refused::absent());
        }
        let bytes = reader.entry(index).map_err(|fault| unread(&fault))?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let session = value["session"].as_str().map(str::to_owned);
        let title = format!("Record {index}");
        let main = html! {
            header.top {
                a.back href="/console/journal" { "Journal" }
                h1 { (title) span.quiet { " " (self.shown.line(value["kind"].as_str().unwrap_or_default())) } }
                @if let Some(session) = &session {
                    a.aside href={ "/console/sessions/" (encoded(session)) } { "Its session" }
                }
            }
            section { pre.exact tabindex="0" { (self.shown.json(&value)) } }
            section.proof { h2 { "Proof that it is there" } (self.proof(&reader, index, &bytes)) }
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "journal", &title, "").around(&main)))
    }

    fn proof(&self, reader: &Reader, index: u64, bytes: &[u8]) -> Markup {
        let proven = || -> Result<(Vec<Hash>, Checkpoint), String> {
            let checkpoint = self.verified(reader)?;
            let path = reader.inclusion_proof(index, checkpoint.size()).map_err(|fault| fault.to_string())?;
            let leaf = journal::leaf_hash(bytes);
            journal::verify_inclusion(&leaf, index, checkpoint.size(), &path, checkpoint.root())
                .map_err(|error| error.to_string())?;
            Ok((path, checkpoint))
        };
        let hex = |hash: &Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match proven() {
            Err(why) => html! { p { (page::word("lacks")) " " (self.shown.line(&why)) } },
            Ok((path, checkpoint)) => html! {
                p { (page::word("holds")) " This record is leaf " (index) " of the " (checkpoint.size())
                    " that the signed checkpoint covers (RFC 6962, checked just now)." }
                dl.facts {
                    dt { "Leaf" } dd { code.digest { (hex(&journal::leaf_hash(bytes))) } }
                    dt { "Path" } dd { ol.path { @for hash in &path { li { code.digest { (hex(hash)) } } } } }
                    dt { "Root" } dd { code.digest { (hex(checkpoint.root())) } }
                }
            },
        }
    }

    /// What is around a page of this place.
    pub(super) fn page_of<'a>(
        &self,
        visitor: &'a Visitor,
        place: &'static str,
        title: &str,
        live: &'static str,
    ) -> Page<'a> {
        Page { visitor, place, title: title.to_owned(), waiting: self.waiting(), live }
    }
}

/// Records before `before` that hold `wanted`, newest first, and where a further search goes on; 0 at the beginning.
fn back(reader: &Reader, before: u64, wanted: &str) -> Result<(Vec<(u64, Record)>, u64), Fault> {
    if wanted.is_empty() {
        let from = before.saturating_sub(PAGE_ROWS_MAX);
        let all: Vec<u64> = (from..before).rev().collect();
        return Ok((records(reader, &all)?, from));
    }
    let wanted = wanted.to_lowercase();
    let (mut found, mut end, mut seen) = (Vec::new(), before, 0);
    while end > 0
        && found.len() < usize::try_from(PAGE_ROWS_MAX).unwrap_or(usize::MAX)
        && seen < SEARCH_RECORDS_MAX
    {
        // A bundle is read once and whole.
        let from = (end - 1) / 256 * 256;
        let bundle: Vec<(u64, Vec<u8>)> = reader.entries(from..end).collect::<Result<_, _>>()?;
        seen += end - from;
        end = from;
        for (index, bytes) in bundle.into_iter().rev() {
            let is_it = String::from_utf8_lossy(&bytes).to_lowercase().contains(&wanted);
            if is_it && let Ok(record) = serde_json::from_slice::<Record>(&bytes) {
                found.push((index, record));
            }
        }
    }
    Ok((found, end))
}
