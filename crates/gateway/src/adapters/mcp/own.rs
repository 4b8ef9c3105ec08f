//! The gate's own tools, offered beside those of the servers: `bailiwick__quarantine` where a reader is configured, and
//! `bailiwick__phase` where there are several phases, `bailiwick__permission` for Claude Code's permission prompts. An agent asks for
//! a phase here and never takes one that is wider; and no tool here grants.

use super::bridge;
use super::downstream::{Arrival, Downstream, Endpoint, Refusal, refusal};
use super::link::Link;
use super::serve::{CLIENT_CALL, beside};
use super::upstream::Era;
use super::{INTERNAL_ERROR, INVALID_PARAMS};
use crate::adapters::hook::prompt::{self, Prompt};
use crate::facts::Scene;
use crate::phases::{self, Unmoved};
use crate::wire::frame::{Object, raw};
use crate::{conversation::Conversation, quarantine};
use judge::flow::Provenance;
use judge::request::RawCall;
use judge::request::tree::Tree;
use judge::tool::{OWN, PHASE, QUARANTINE, ToolName, phase_arguments};
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::{Arc, Weak};

/// The tool that answers a client's permission prompts.
const PERMISSION: &str = "permission";

/// A tool of the gate itself.
#[derive(Clone, Copy)]
pub(super) enum Own {
    Quarantine,
    Phase,
    Permission,
}

impl Own {
    const ALL: [Own; 3] = [Own::Quarantine, Own::Phase, Own::Permission];

    fn tool(self) -> ToolName {
        match self {
            Own::Quarantine => quarantine::name(),
            Own::Phase => phases::name(),
            Own::Permission => ToolName { server: OWN.to_owned(), tool: PERMISSION.to_owned() },
        }
    }

    fn name(self) -> String {
        let own = match self {
            Own::Quarantine => QUARANTINE,
            Own::Phase => PHASE,
            Own::Permission => PERMISSION,
        };
        format!("{OWN}__{own}")
    }

    fn definition(self, downstream: &Downstream) -> Object {
        match self {
            Own::Quarantine => quarantine::definition(),
            Own::Permission => prompt::definition(),
            Own::Phase => {
                let names: Vec<&str> = downstream.gate.conversations.ladder().names().collect();
                let description = format!(
                    "Say which phase this conversation is in, or go to another. The phases, from the one that permits least: {}. Going \
                     to one that permits less is always possible; one that permits more is asked for, a person may have to agree, \
                     and it ends by itself.",
                    names.join(", ")
                );
                Object::default()
                    .with("description", raw(description))
                    .with("inputSchema", raw(phase_arguments()))
            }
        }
    }
}

impl Downstream {
    /// The tools of the gate's own that this endpoint has.
    fn own(&self) -> impl Iterator<Item = Own> + '_ {
        let is_all = self.endpoint == Endpoint::All;
        Own::ALL.into_iter().filter(move |own| {
            is_all
                && match own {
                    Own::Quarantine => self.gate.reader.is_some(),
                    Own::Phase => self.gate.conversations.ladder().names().count() > 1,
                    Own::Permission => self.prompts(),
                }
        })
    }

    /// What all servers can do together, and the gate itself.
    pub(super) fn capabilities(&self, links: &[Arc<Link>]) -> serde_json::Value {
        let mut all = bridge::united(links.iter().map(|link| link.upstream.greeting()));
        if self.own().next().is_some() && all["tools"].is_null() {
            all["tools"] = json!({});
        }
        all
    }

    /// The gate's own tools that this caller could call now. What narrows is never denied, so asking for phases is always there.
    pub(super) fn own_tools(&self) -> Vec<Box<RawValue>> {
        let rules = self.gate.rules();
        let scene = Scene::default();
        let facts = scene.look(&self.gate, &self.session);
        let facts = facts.borrow(Provenance::blank());
        let may_call = |own: &Own| match own {
            Own::Phase | Own::Permission => true,
            Own::Quarantine => rules
                .inventory
                .tool(&own.tool())
                .is_some_and(|tool| rules.policy.may_call(tool, self.session.principal(), &facts)),
        };
        self.own()
            .filter(may_call)
            .map(|own| own.definition(self).with("name", raw(own.name())).to_raw())
            .collect()
    }

    /// The tool of the gate's own that a call names.
    pub(super) fn own_called(&self, params: &Object) -> Option<Own> {
        let name = params.text("name")?;
        self.own().find(|own| own.name() == name)
    }

    /// Answers a call of one of them.
    pub(super) async fn call_own(
        self: &Arc<Self>,
        own: Own,
        params: &Object,
        arrival: Arrival,
    ) -> Result<Box<RawValue>, Refusal> {
        match own {
            Own::Quarantine => self.quarantined(params, arrival).await,
            Own::Phase => self.phase(params, &arrival).await,
            Own::Permission => Ok(self.permission(params).await),
        }
    }

    /// Whether this is a client that asks here what its own rules leave to a person. It may say so of itself: being asked grants
    /// nothing.
    fn prompts(&self) -> bool {
        let name = Object::inside(&self.client.info).and_then(|about| about.text("name"));
        self.gate.config.gate.claude_code && name.as_deref() == Some(prompt::CLIENT)
    }

    /// Answers a permission prompt in the one text that the client reads.
    async fn permission(&self, params: &Object) -> Box<RawValue> {
        let asked = params.object("arguments").unwrap_or_default();
        let hooks = self.gate.hooks.get().and_then(Weak::upgrade);
        let decided = match (hooks, asked.text("tool_name"), asked.get("input"), asked.text("tool_use_id")) {
            (Some(hooks), Some(tool), Some(input), Some(use_id)) => {
                let cwd = self.cwd.get().cloned();
                hooks.prompted(&self.session, Prompt { tool, input: input.to_owned(), use_id, cwd }).await
            }
            (None, ..) => Err("the gate follows no client here".to_owned()),
            _ => Err("a permission is for a tool, an input and the id of one call".to_owned()),
        };
        let text = prompt::answer(decided).to_string();
        let mut result = Object::default().with("content", raw(json!([{ "type": "text", "text": text }])));
        if self.era == Era::Modern {
            result.set("resultType", raw("complete"));
        }
        result.to_raw()
    }

    async fn phase(self: &Arc<Self>, params: &Object, arrival: &Arrival) -> Result<Box<RawValue>, Refusal> {
        let arguments = match params.get("arguments") {
            None => Tree::Map(Vec::new()),
            Some(arguments) => Tree::parse(arguments.get().as_bytes())
                .map_err(|error| Refusal::new(INVALID_PARAMS, format!("`arguments`: {error}")))?,
        };
        let about = params.object("_meta").unwrap_or_default();
        let scene =
            Scene { cwd: None, client_call: about.text(CLIENT_CALL).unwrap_or_default(), ..Scene::default() };
        if let Some(conversation) = self.gate.conversations.expected(&scene.client_call) {
            self.session.join(conversation);
        }
        let conversation = self.session.conversation();
        let Some(to) = arguments.member("to").and_then(Tree::as_text).map(str::to_owned) else {
            return Ok(self.answer(standing(&conversation)));
        };
        let beside = beside(params, &["name", "arguments"], &arrival.envelope)?;
        let raw_call = RawCall { beside, ..self.session.call(phases::name(), arguments) };
        match phases::go(&self.gate, &self.session, &to, raw_call, &scene).await {
            Ok(()) => Ok(self.answer(standing(&conversation))),
            Err(Unmoved::Stopped(stop)) => Ok(self.told(&refusal(&stop).message)),
            Err(Unmoved::Unknown(error)) => Ok(self.told(&error.to_string())),
            Err(Unmoved::Failed(error)) => Err(Refusal::new(INTERNAL_ERROR, error.to_string())),
        }
    }

    /// A tool's answer that is one JSON object.
    pub(super) fn answer(&self, text: String) -> Box<RawValue> {
        let structured = RawValue::from_string(text.clone()).unwrap_or_else(|_| raw(json!({})));
        let mut result = Object::default()
            .with("content", raw(json!([{ "type": "text", "text": text }])))
            .with("structuredContent", structured)
            .with("isError", raw(false));
        if self.era == Era::Modern {
            result.set("resultType", raw("complete"));
        }
        result.to_raw()
    }
}

fn standing(conversation: &Conversation) -> String {
    serde_json::to_string(&conversation.phase_now()).unwrap_or_default()
}
