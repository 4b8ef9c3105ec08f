//! What every page has around it, and the files they share. Nothing here knows what a page says.

use super::visit::Visitor;
use crate::clock;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use maud::{DOCTYPE, Markup, html};

/// The places of the console, in order: path and name.
const PLACES: [(&str, &str); 8] = [
    ("approvals", "Approvals"),
    ("sessions", "Sessions"),
    ("journal", "Journal"),
    ("inventory", "Inventory"),
    ("policy", "Policy"),
    ("alerts", "Alerts"),
    ("posture", "Posture"),
    ("people", "People"),
];

/// A file that all pages share.
pub(super) fn asset(name: &str) -> Response {
    let (kind, text) = match name {
        "console.css" => ("text/css; charset=utf-8", include_str!("assets/console.css")),
        "console.js" => ("text/javascript; charset=utf-8", include_str!("assets/console.js")),
        _ => ("image/svg+xml", include_str!("assets/icon.svg")),
    };
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// One page of somebody who is signed in.
pub(super) struct Page<'a> {
    pub(super) visitor: &'a Visitor,
    /// The place it belongs to.
    pub(super) place: &'static str,
    pub(super) title: String,
    /// How many approvals wait.
    pub(super) waiting: usize,
    /// What makes it look again: `approvals`, `records`, `alerts`; nothing for a page that stands still.
    pub(super) live: &'static str,
}

impl Page<'_> {
    pub(super) fn around(&self, main: &Markup) -> Markup {
        let person = &self.visitor.person;
        let seen = self.visitor.seen;
        let seen = match self.live {
            "approvals" => seen.approvals,
            "alerts" => seen.alerts,
            _ => seen.records,
        };
        let body = html! {
            a.skip href="#main" { "Skip to content" }
            header.bar {
                a.brand href="/console/approvals" { (mark()) span { "Bailiwick" } }
                nav aria-label="Console" {
                    @for (path, name) in PLACES {
                        a href={ "/console/" (path) } aria-current=[(path == self.place).then_some("page")] {
                            (name)
                            @if path == "approvals" && self.waiting > 0 { span.count { (self.waiting) } }
                        }
                    }
                }
                form.who method="post" action="/console/sign-out" {
                    input type="hidden" name="token" value=(self.visitor.csrf);
                    span.name { (person.name) " " span.quiet { (person.role.word()) } }
                    button.link type="submit" { "Sign out" }
                }
            }
            main #main tabindex="-1" data-live=(self.live) data-seen=(seen) { (main) }
            p #said .said role="status" aria-live="polite" {}
            dialog #keys aria-label="Keys" {
                h2 { "Keys" }
                dl.keys {
                    dt { kbd { "j" } " " kbd { "k" } } dd { "next, previous" }
                    dt { kbd { "enter" } } dd { "open" }
                    dt { kbd { "u" } } dd { "back to the list" }
                    dt { kbd { "g" } } dd { "go to the grant button" }
                    dt { kbd { "m" } } dd { "grant more calls like it" }
                    dt { kbd { "r" } } dd { "refuse, with a reason" }
                    dt { kbd { "/" } } dd { "search" }
                    dt { kbd { "1" } "…" kbd { "8" } } dd { "the places above" }
                    dt { kbd { "?" } } dd { "this" }
                }
                form method="dialog" { button { "Close" } }
            }
        };
        let title =
            if self.waiting > 0 { format!("({}) {}", self.waiting, self.title) } else { self.title.clone() };
        whole(&title, &self.visitor.csrf, "console", &body)
    }
}

/// A page for somebody who is not signed in.
pub(super) fn door(title: &str, token: &str, main: &Markup) -> Markup {
    let body = html! {
        main #main .card {
            p.brand { (mark()) span { "Bailiwick" } }
            h1 { (title) }
            (main)
            p #said .said role="alert" {}
            noscript { p.warning { "Passkeys need the console's script; please allow it for this site." } }
        }
    };
    whole(title, token, "door", &body)
}

/// A page that only says something.
pub(super) fn plain(title: &str, says: &str) -> Markup {
    let body = html! {
        main #main .card {
            p.brand { (mark()) span { "Bailiwick" } }
            h1 { (title) }
            p { (says) }
            p { a href="/console/approvals" { "To the console" } }
        }
    };
    whole(title, "", "door", &body)
}

fn whole(title: &str, token: &str, class: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if !token.is_empty() { meta name="console-token" content=(token); }
                title { (title) " · Bailiwick" }
                link rel="icon" href="/console/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/console/console.css";
                script src="/console/console.js" defer {}
            }
            body class=(class) { (body) }
        }
    }
}

fn mark() -> Markup {
    html! { img src="/console/icon.svg" alt="" width="20" height="20"; }
}

/// A time that the script keeps telling anew.
pub(super) fn ago(seconds: i64) -> Markup {
    html! { time datetime=(clock::at(seconds)) data-at=(seconds) { (span(clock::seconds() - seconds)) " ago" } }
}

/// A time that comes.
pub(super) fn until(seconds: i64) -> Markup {
    let left = seconds - clock::seconds();
    html! {
        time datetime=(clock::at(seconds)) data-until=(seconds) {
            @if left > 0 { "in " (span(left)) } @else { "lapsed" }
        }
    }
}

fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A decision or state as a small coloured word.
pub(super) fn word(word: &str) -> Markup {
    let tone = match word {
        "allow" | "ok" | "holds" => "good",
        "granted" | "used" | "answer" | "signed" => "person",
        "ask" | "pending" | "ambiguous" | "waived" => "wait",
        "deny" | "refused" | "alert" | "failed" | "error" | "timeout" | "withheld" | "lacks" => "bad",
        _ => "still",
    };
    html! { span class={ "word " (tone) } { (word) } }
}
