//! What warned, newest first, and who may look and answer. Both are only shown here.

use super::chronicle::records;
use super::guard::{Asked, encoded};
use super::records::{clock, line, unread};
use super::visit::Visitor;
use super::{Console, Refused, approvals::pager, door::failed, html, page};
use crate::wire::record::{Body, Record};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

/// Alerts on one page.
const PAGE_ROWS_MAX: usize = 60;

impl Console {
    pub(super) fn alerts_page(&self, asked: &Asked, visitor: &Visitor) -> Result<Response, Refused> {
        let reader = self.chronicle.reader().map_err(|fault| unread(&fault))?;
        let page = asked.number("page").and_then(|page| usize::try_from(page).ok()).unwrap_or(1).max(1);
        let (count, rows) = self.chronicle.alerts((page - 1) * PAGE_ROWS_MAX, PAGE_ROWS_MAX);
        let rows = records(&reader, &rows).map_err(|fault| unread(&fault))?;
        let main = html! {
            header.top { h1 { "Alerts" } span.aside { (count) " in all" } }
            @if rows.is_empty() { p.empty { "Nothing has warned." } }
            ol.rows { @for (index, record) in &rows { (self.alert(*index, record)) } }
            (pager(page, count.div_ceil(PAGE_ROWS_MAX), ""))
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "alerts", "Alerts", "alerts").around(&main)))
    }

    fn alert(&self, index: u64, record: &Record) -> Markup {
        let (rule, detail) = match &record.body {
            Body::Alert { rule, detail, .. } => (rule.clone(), detail.clone()),
            _ => ("quarantined".to_owned(), line(record).1),
        };
        // An alert of a session is understood from its timeline.
        let to = match &record.session {
            Some(session) => format!("/console/sessions/{}", encoded(session)),
            None => format!("/console/journal/{index}"),
        };
        html! {
            li { a.row href=(to) data-id=(index) {
                span.what { (self.shown.line(&rule)) }
                span.when { (record.at.get(..10).unwrap_or_default()) " " (clock(&record.at)) }
                span.why.whole { (self.shown.look(&detail, 600)) }
            } }
        }
    }

    pub(super) fn people(&self, visitor: &Visitor) -> Result<Response, Refused> {
        let people = self.gate.people.list().map_err(failed)?;
        let main = html! {
            header.top { h1 { "People" } }
            p.note { "Let somebody in with " code { "bailiwick console link --role viewer|approver|admin" } ", and turn them out with "
                code { "bailiwick console people revoke NAME" } "." }
            ol.rows {
                @for person in &people {
                    li { div.row {
                        span.what { (self.shown.line(&person.name)) }
                        span.when { @if let Some(at) = person.used_at { "used " (page::ago(at)) } @else { "came " (page::ago(person.added_at)) } }
                        span.why { (person.passkeys) @if person.passkeys == 1 { " passkey" } @else { " passkeys" } }
                        span.state { @if person.revoked_at.is_some() { (page::word("turned out")) } @else { (self.shown.line(&person.role)) } }
                    } }
                }
            }
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "people", "People", "").around(&main)))
    }
}
