//! What is permitted: the policies as they are in force, and a call tried against them. Trying records nothing and runs nothing.

use super::guard::Asked;
use super::page;
use super::visit::Visitor;
use super::{Console, Refused, html};
use crate::gate::sources;
use crate::pipeline::preview;
use axum::response::Response;
use http::StatusCode;
use judge::request::tree::Tree;
use judge::tool::ToolName;
use maud::{Markup, html};

/// Operations that can be chosen from.
const TOOLS_SHOWN_MAX: usize = 1_000;

impl Console {
    pub(super) fn policy(&self, asked: &Asked, visitor: &Visitor) -> Result<Response, Refused> {
        let field = |name: &str| asked.form(name).or_else(|| asked.query(name)).unwrap_or_default();
        let (tool, arguments, said) = (field("tool"), field("arguments"), field("said"));
        let tried = (asked.method == http::Method::POST).then(|| self.tried(&tool, &arguments, &said));
        let rules = self.gate.rules();
        let files = sources(&self.gate.place.config.join("policy")).unwrap_or_default();
        let possible = self.possible();
        let main = html! {
            header.top { h1 { "Policy" }
                span.aside { (rules.policy.len()) " policies, " (possible.len()) " of " (rules.inventory.tools().count()) " operations possible" } }
            section.try {
                h2 { "Try a call" }
                form method="post" action="/console/policy" {
                    input type="hidden" name="token" value=(visitor.csrf);
                    label for="tool" { "Tool" }
                    input #tool name="tool" list="tools" value=(tool) placeholder="server/tool" autocomplete="off" spellcheck="false" required;
                    datalist #tools {
                        @for name in rules.inventory.tools().map(|tool| tool.name.to_string()).take(TOOLS_SHOWN_MAX) { option value=(name) {} }
                    }
                    label for="arguments" { "Arguments, as JSON" }
                    textarea #arguments name="arguments" spellcheck="false" placeholder="{}" { (arguments) }
                    label for="said" { "What the user said, if anything" }
                    input #said name="said" value=(said) autocomplete="off";
                    button.primary type="submit" { "Decide" }
                    p.note { "Nothing runs, and nothing is recorded." }
                }
                @if let Some(tried) = tried { div.tried role="status" { (tried) } }
            }
            section {
                h2 { "In force" }
                p.note { "Digest " code.digest { (rules.policy.digest()) } }
                @for file in &files {
                    details open[files.len() == 1] {
                        summary { code { (self.shown.line(&file.name)) } }
                        pre.text { (self.shown.block(&file.text)) }
                    }
                }
                @if files.is_empty() { p.empty { "There is no policy, so every call is denied." } }
            }
        };
        Ok(html(StatusCode::OK, self.page_of(visitor, "policy", "Policy", "").around(&main)))
    }

    fn tried(&self, tool: &str, arguments: &str, said: &str) -> Markup {
        let Some((server, tool)) = tool.split_once('/') else {
            return html! { p { (page::word("deny")) " A tool is written " code { "server/tool" } "." } };
        };
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let tree = match Tree::parse(arguments.as_bytes()) {
            Ok(tree) => tree,
            Err(error) => {
                return html! { p { (page::word("deny")) " The arguments are no JSON the gate accepts: " (self.shown.line(&error.to_string())) } };
            }
        };
        let session = self.onlooker();
        if !said.is_empty() {
            session.conversation().hear(said);
        }
        let name = ToolName { server: server.to_owned(), tool: tool.to_owned() };
        match preview(&self.gate, &session, session.call(name, tree)) {
            Err(malformed) => html! { p { (page::word("deny")) " " (self.shown.prose(&malformed)) } },
            Ok((request, verdict)) => html! {
                p.verdict { (page::word(&verdict.decision().to_string())) }
                p.prose { (self.shown.prose(&verdict.to_string())) }
                @let policies: Vec<String> = verdict.determining().iter().map(ToString::to_string).collect();
                dl.facts {
                    @if !policies.is_empty() { dt { "Policies" } dd { (self.shown.line(&policies.join(", "))) } }
                    @if !said.is_empty() && !request.explained().values.is_empty() {
                        dt { "Values" } dd { ul.plain { @for value in request.explained().values.iter().take(20) {
                            li { (self.shown.prose(&value.to_string())) }
                        } } }
                    }
                    dt { "Request" } dd { code.digest { (verdict.request_digest()) } }
                }
            },
        }
    }
}
