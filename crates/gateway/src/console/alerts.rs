//! What warned, newest first. It is only shown here.

use super::chronicle::records;
use super::guard::{Asked, encoded};
use super::records::{clock, line, unread};
use super::visit::Visitor;
use super::{Console, Refused, approvals::pager, html};
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
}
