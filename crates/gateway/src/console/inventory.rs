//! What each tool may do, as people reviewed it; what arrived since and waits, with what is different about it.
//! Nothing is reviewed here: that is done where the configuration is.

use super::guard::{Asked, encoded};
use super::page;
use super::visit::Visitor;
use super::{Console, Refused, approvals::pager, html};
use crate::facts::Scene;
use crate::inventory::definition::difference;
use crate::inventory::{Lock, Reviewed};
use crate::session::Session;
use axum::response::Response;
use http::StatusCode;
use judge::flow::Reach;
use judge::tool::{Effect, Impact, Tool, ToolName};
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Tools on one page.
const PAGE_ROWS_MAX: usize = 100;
/// Lines of one difference.
const LINES_SHOWN_MAX: usize = 200;

impl Console {
    /// The operations that some policy could permit now.
    pub(super) fn possible(&self) -> BTreeSet<ToolName> {
        let gate = &self.gate;
        let session = self.onlooker();
        let scene = Scene::default();
        let facts = scene.look(gate, &session);
        let conversation = session.conversation();
        let provenance = conversation.provenance();
        let facts = facts.borrow(&provenance);
        let rules = gate.rules();
        let may = |tool: &&Tool| rules.policy.may_call(tool, session.principal(), &facts);
        rules.inventory.tools().filter(may).map(|tool| tool.name.clone()).collect()
    }

    /// A session that only asks what would be.
    pub(super) fn onlooker(&self) -> Session {
        let gate = &self.gate;
        Session::new(gate.principal(), "http", gate.conversations.alone())
    }

    pub(super) fn inventory(&self, asked: &Asked, visitor: &Visitor) -> Result<Response, Refused> {
        // What waits is read from the file: it is put there while the gate runs.
        let lock = Lock::load(&self.gate.place.config)
            .map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let rules = self.gate.rules();
        let possible = self.possible();
        let wanted = asked.query("q").unwrap_or_default();
        let shows_protocol = asked.query("show").as_deref() == Some("protocol");
        let is_protocol = |tool: &Tool| tool.name.tool.starts_with("mcp:");
        let tools: Vec<&Tool> = rules
            .inventory
            .tools()
            .filter(|tool| is_protocol(tool) == shows_protocol && tool.name.to_string().contains(&wanted))
            .collect();
        let all = rules.inventory.tools().count();
        let pages = tools.len().div_ceil(PAGE_ROWS_MAX).max(1);
        let page =
            asked.number("page").and_then(|page| usize::try_from(page).ok()).unwrap_or(1).clamp(1, pages);
        let rows: Vec<&&Tool> = tools.iter().skip((page - 1) * PAGE_ROWS_MAX).take(PAGE_ROWS_MAX).collect();
        let waiting: usize = lock.servers.values().map(|server| server.quarantine.len()).sum();
        let main = html! {
            header.top {
                h1 { "Inventory" }
                nav.tabs aria-label="Which operations" {
                    a href="/console/inventory" aria-current=[(!shows_protocol).then_some("page")] { "Tools" }
                    a href="/console/inventory?show=protocol" aria-current=[shows_protocol.then_some("page")] { "Protocol" }
                }
            }
            p.note { (possible.len()) " of " (all) " operations could be permitted now." }
            @if waiting > 0 && page == 1 {
                section.quarantine {
                    h2 { (waiting) " waiting for review" }
                    p.note { "Nobody can call these. Take one in with " code { "bailiwick inventory review" } "." }
                    @for (server, reviewed) in &lock.servers {
                        @for (name, definition) in &reviewed.quarantine {
                            (self.waiting_definition(server, name, definition, reviewed.tools.get(name)))
                        }
                    }
                }
            }
            form.search method="get" action="/console/inventory" role="search" {
                label.unseen-label for="q" { "Search tools" }
                input #q type="search" name="q" value=(wanted) placeholder="Search: server or tool" autocomplete="off";
                button type="submit" { "Search" }
            }
            ol.rows {
                @for tool in rows {
                    li { a.row.tool href={ "/console/inventory/" (encoded(&tool.name.server)) "/" (encoded(&tool.name.tool)) }
                        data-id=(tool.name) {
                        span.what { span.quiet { (self.shown.line(&tool.name.server)) "/" } (self.shown.line(&tool.name.tool)) }
                        span.state { (badges(tool)) }
                        @if !possible.contains(&tool.name) { span.why { "no policy permits it" } }
                    } }
                }
            }
            (pager(page, pages, &if shows_protocol { "show=protocol&".to_owned() } else if wanted.is_empty() { String::new() } else { format!("q={}&", encoded(&wanted)) }))
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "inventory", "Inventory", "alerts").around(&main)))
    }

    fn waiting_definition(
        &self,
        server: &str,
        name: &str,
        definition: &serde_json::Value,
        reviewed: Option<&Reviewed>,
    ) -> Markup {
        let lines = reviewed.map(|known| difference(&known.definition, definition));
        html! {
            article.diff {
                h3 { (self.shown.line(server)) "/" (self.shown.line(name)) " "
                    (page::word(if lines.is_some() { "changed" } else { "new" })) }
                @match lines {
                    Some(lines) => { pre.text {
                        @for line in lines.iter().take(LINES_SHOWN_MAX) {
                            span class=(if line.starts_with('+') { "added" } else { "removed" }) { (self.shown.line(line)) } "\n"
                        }
                        @if lines.len() > LINES_SHOWN_MAX { span.more { "and " (lines.len() - LINES_SHOWN_MAX) " more lines" } }
                    } }
                    None => { pre.text { (self.shown.json(definition)) } }
                }
            }
        }
    }

    pub(super) fn tool(&self, visitor: &Visitor, server: &str, tool: &str) -> Result<Response, Refused> {
        let rules = self.gate.rules();
        let name = ToolName { server: server.to_owned(), tool: tool.to_owned() };
        let judged = rules.inventory.tool(&name).ok_or_else(Refused::absent)?;
        let reviewed = rules.lock.servers.get(server).and_then(|server| server.tools.get(tool));
        let title: String = name.to_string().chars().filter(char::is_ascii_graphic).collect();
        let is_possible = self.possible().contains(&name);
        let main = html! {
            header.top {
                a.back href="/console/inventory" { "Inventory" }
                h1 { code { (self.shown.line(&name.to_string())) } }
                span.aside { (badges(judged)) }
            }
            dl.facts {
                dt { "Policies" } dd { @if is_possible { "some call of it could be permitted now" } @else { "none permits any call of it now" } }
                dt { "Reaches" } dd { (match judged.reach() { Reach::Outside => "others", _ => "nobody else" }) }
                @if let Some(reviewed) = reviewed {
                    dt { "Review" } dd { (self.shown.block(&reviewed.reason)) }
                    dt { "Pinned" } dd { code.digest { (self.shown.line(&reviewed.digest)) } }
                }
            }
            @if let Some(reviewed) = reviewed {
                section { h2 { "As it was reviewed" } pre.text tabindex="0" { (self.shown.json(&reviewed.definition)) } }
            }
            p { a href={ "/console/policy?tool=" (encoded(&name.to_string())) } { "Try a call of it" } }
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "inventory", &title, "").around(&main)))
    }
}

fn badges(tool: &Tool) -> Markup {
    let (effect, tone) = if tool.effect == Effect::Read { ("reads", "still") } else { ("writes", "wait") };
    html! {
        span class={ "word " (tone) } { (effect) }
        @if tool.impact == Impact::High { " " span.word.bad { "high impact" } }
        @if tool.effect == Effect::Write && !tool.reversible { " " span.word.bad { "cannot be taken back" } }
    }
}
