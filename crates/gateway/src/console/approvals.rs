//! What waits for a person: a list, and each question whole. Nothing is answered here.

use super::answer::unanswerable;
use super::guard::{Asked, encoded};
use super::page::{self, Page};
use super::visit::Visitor;
use super::{Console, Refused, html};
use crate::people::Role;
use crate::wire::approval::Approval;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

/// Rows on one page.
const PAGE_ROWS_MAX: usize = 40;
/// How much of the arguments a row shows, in characters.
const LOOK_CHARS_MAX: usize = 140;

impl Console {
    pub(super) fn approvals(&self, asked: &Asked, visitor: &Visitor) -> Result<Response, Refused> {
        let all = self.gate.approvers.list().map_err(|error| unanswerable(&error))?;
        let (mut waiting, answered): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| one.state == "pending");
        // Whoever waits longest is first.
        waiting.sort_by(|a, b| (a.asked_at, &a.id).cmp(&(b.asked_at, &b.id)));
        let shows_answered = asked.query("show").as_deref() == Some("answered");
        let shown = if shows_answered { &answered } else { &waiting };
        let pages = shown.len().div_ceil(PAGE_ROWS_MAX).max(1);
        let page =
            asked.number("page").and_then(|page| usize::try_from(page).ok()).unwrap_or(1).clamp(1, pages);
        let rows = shown.iter().skip((page - 1) * PAGE_ROWS_MAX).take(PAGE_ROWS_MAX);
        let around = Page {
            visitor,
            place: "approvals",
            title: "Approvals".to_owned(),
            waiting: waiting.len(),
            live: "approvals",
        };
        let main = html! {
            header.top {
                h1 { "Approvals" }
                nav.tabs aria-label="Which approvals" {
                    a href="/console/approvals" aria-current=[(!shows_answered).then_some("page")] {
                        "Waiting " span.quiet { (waiting.len()) }
                    }
                    a href="/console/approvals?show=answered" aria-current=[shows_answered.then_some("page")] {
                        "Answered " span.quiet { (answered.len()) }
                    }
                }
            }
            @if shown.is_empty() {
                p.empty { @if shows_answered { "Nothing was answered yet." } @else { "Nothing waits for you." } }
            }
            ol.rows {
                @for approval in rows { (self.row(approval)) }
            }
            (pager(page, pages, if shows_answered { "show=answered&" } else { "" }))
        };
        Ok(html(StatusCode::OK, around.around(&main)))
    }

    fn row(&self, approval: &Approval) -> Markup {
        let arguments = short(&approval.arguments);
        html! {
            li {
                a.row href={ "/console/approvals/" (encoded(&approval.id)) } data-id=(approval.id) {
                    span.what { (self.shown.line(&approval.tool)) }
                    span.when { (page::ago(approval.asked_at)) }
                    code.args { (self.shown.look(&arguments, LOOK_CHARS_MAX)) }
                    span.state {
                        @if approval.state == "pending" { "lapses " (page::until(approval.expires_at)) }
                        @else {
                            (page::word(&approval.state))
                            @if !approval.answered_by.is_empty() { " " (self.shown.line(&approval.answered_by)) }
                        }
                    }
                    span.why { (self.shown.look(&approval.why, LOOK_CHARS_MAX)) }
                }
            }
        }
    }

    pub(super) fn approval(&self, visitor: &Visitor, id: &str) -> Result<Response, Refused> {
        let approval = self.gate.approvers.show(id).map_err(|error| unanswerable(&error))?;
        let around = Page {
            visitor,
            place: "approvals",
            title: approval.tool.chars().filter(char::is_ascii_graphic).collect(),
            waiting: self.waiting(),
            live: "approvals",
        };
        let is_open = approval.state == "pending";
        let main = html! {
            header.top {
                a.back href="/console/approvals" { "Approvals" }
                h1 { code { (self.shown.line(&approval.tool)) } " " (page::word(&approval.state)) }
            }
            (self.concerns(&approval))
            section.exactly {
                h2 { "Exactly this would run" }
                pre.exact tabindex="0" { (self.shown.json(&approval.arguments)) }
            }
            (self.effects(&approval))
            section {
                h2 { "Why you are asked" }
                p.prose { (self.shown.prose(&approval.why)) }
            }
            @if is_open && visitor.person.role >= Role::Approver { (self.answers(&approval, visitor)) }
            @else if is_open { p.note { "You may look; an approver answers." } }
            section {
                h2 { "About it" }
                dl.facts {
                    dt { "Agent" } dd { (self.shown.line(&approval.agent)) " for " (self.shown.line(&approval.user)) }
                    dt { "Folder" } dd { code { (self.shown.line(&approval.cwd)) } }
                    dt { "Asked" } dd { (page::ago(approval.asked_at)) }
                    @if is_open { dt { "Lapses" } dd { (page::until(approval.expires_at)) } }
                    @if !approval.answered_by.is_empty() {
                        dt { "Answered" } dd { "by " (self.shown.line(&approval.answered_by)) }
                    }
                    @if !approval.reason.is_empty() { dt { "Reason" } dd { (self.shown.block(&approval.reason)) } }
                    dt { "Request" } dd { code.digest { (self.shown.line(&approval.request_digest)) } }
                    dt { "Policies" } dd { code.digest { (self.shown.line(&approval.policy_digest)) } }
                    dt { "Approval" } dd { code { (self.shown.line(&approval.id)) } }
                }
            }
        };
        Ok(html(StatusCode::OK, around.around(&main)))
    }

    /// What is dangerous about it, the worst first.
    fn concerns(&self, approval: &Approval) -> Markup {
        html! {
            @if !approval.shown.concerns.is_empty() {
                section.concerns aria-label="Look at this first" {
                    ul {
                        @for concern in &approval.shown.concerns {
                            li class=(weight(&concern.weight)) {
                                strong { (self.shown.line(&concern.weight)) } " " (self.shown.prose(&concern.text))
                            }
                        }
                    }
                }
            }
        }
    }

    /// What it would run and change, and where each value came from.
    fn effects(&self, approval: &Approval) -> Markup {
        let shown = &approval.shown;
        html! {
            @if shown.commands.len() > 1 {
                section {
                    h2 { "Commands, one by one" }
                    ol.commands { @for command in &shown.commands { li { code { (self.shown.line(command)) } } } }
                }
            }
            @if !shown.diff.is_empty() {
                section {
                    h2 { "What changes" }
                    pre.diff tabindex="0" {
                        @for line in &shown.diff {
                            span class=(match line.chars().next() { Some('-') => "gone", Some('+') => "new", _ => "same" }) {
                                (self.shown.line(line)) "\n"
                            }
                        }
                    }
                }
            }
            @if !shown.values.is_empty() {
                section {
                    h2 { "Where its values came from" }
                    ul.values {
                        @for value in &shown.values {
                            li class=(if value.fits { "fits" } else { "danger" }) {
                                code { (self.shown.line(&value.at)) } " " (self.shown.look(&value.text, LOOK_CHARS_MAX))
                                " " span.quiet { (self.shown.line(&value.role)) ": " (self.shown.line(&value.origin)) }
                            }
                        }
                    }
                }
            }
            @if approval.approvers > 1 {
                section {
                    h2 { (approval.consents.len()) " of " (approval.approvers) " people agreed" }
                    @for said in &approval.consents { p { (self.shown.line(&said.name)) } }
                }
            }
        }
    }

    fn answers(&self, approval: &Approval, visitor: &Visitor) -> Markup {
        let action = format!("/console/approvals/{}", encoded(&approval.id));
        html! {
            section.answers aria-label="Answer" {
                form #grant data-action=(action) data-request=(approval.request_digest) data-answer="grant once" {
                    button #give .grant type="submit" { "Grant once with passkey " kbd { "g" } }
                }
                form #refuse method="post" action={ (action) "/refuse" } {
                    input type="hidden" name="token" value=(visitor.csrf);
                    label.unseen-label for="reason" { "Reason, told to the agent" }
                    input #reason name="reason" maxlength="500" autocomplete="off" placeholder="Reason, told to the agent";
                    button.refuse type="submit" { "Refuse " kbd { "r" } }
                }
                @if approval.approvers == 1 { (self.shape_form(approval, &action)) }
            }
        }
    }

    /// How many approvals wait.
    pub(super) fn waiting(&self) -> usize {
        let all = self.gate.approvers.list().unwrap_or_default();
        all.iter().filter(|approval| approval.state == "pending").count()
    }
}

/// The class of a weight; what is unknown looks dangerous.
fn weight(word: &str) -> &'static str {
    match word {
        "note" => "note",
        "costly" => "costly",
        _ => "danger",
    }
}

/// Arguments in one line, without the outermost braces.
fn short(arguments: &serde_json::Value) -> String {
    match arguments {
        serde_json::Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            members.join("  ")
        }
        other => other.to_string(),
    }
}

/// Links to the pages around this one.
pub(super) fn pager(page: usize, pages: usize, query: &str) -> Markup {
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if page > 1 { a rel="prev" href={ "?" (query) "page=" (page - 1) } { "Back" } }
                span.quiet { "Page " (page) " of " (pages) }
                @if page < pages { a rel="next" href={ "?" (query) "page=" (page + 1) } { "More" } }
            }
        }
    }
}
