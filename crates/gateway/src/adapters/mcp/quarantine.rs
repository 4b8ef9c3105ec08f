//! The gate's own tool `bailiwick__quarantine`: offered beside those of the servers where a reader is configured.
//! What the call inside it answers goes to the reader and to nobody else.

use super::bridge;
use super::downstream::{Arrival, Downstream, Endpoint, Instead, Refusal, refusal};
use super::link::{Answer, Call, Lane, Link};
use super::parts::parts;
use super::serve::{CLIENT_CALL, beside};
use super::upstream::Era;
use super::{INTERNAL_ERROR, INVALID_PARAMS};
use crate::facts::Scene;
use crate::pipeline::{Reading, Stop};
use crate::quarantine::{self, Content};
use crate::receipt::{Failed, Output};
use crate::wire::frame::{Extensions, Object, raw};
use crate::wire::record::Status;
use judge::filter::Release;
use judge::flow::{Provenance, Read};
use judge::request::RawCall;
use judge::request::tree::Tree;
use judge::tool::{OWN, QUARANTINE, ToolName};
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::mpsc;

impl Downstream {
    /// Whether this endpoint has tools of the gate's own.
    pub(super) fn has_own_tools(&self) -> bool {
        self.endpoint == Endpoint::All && self.gate.reader.is_some()
    }

    /// What all servers can do together, and the gate itself.
    pub(super) fn capabilities(&self, links: &[Arc<Link>]) -> serde_json::Value {
        let mut all = bridge::united(links.iter().map(|link| link.upstream.greeting()));
        if self.has_own_tools() && all["tools"].is_null() {
            all["tools"] = json!({});
        }
        all
    }

    /// The gate's own tools that this caller could call now.
    pub(super) fn own_tools(&self) -> Vec<Box<RawValue>> {
        let rules = self.gate.rules();
        let Some(tool) = rules.inventory.tool(&quarantine::name()).filter(|_| self.has_own_tools()) else {
            return Vec::new();
        };
        let scene = Scene::default();
        let facts = scene.look(&self.gate, &self.session);
        if !rules.policy.may_call(tool, self.session.principal(), &facts.borrow(Provenance::blank())) {
            return Vec::new();
        }
        vec![quarantine::definition().with("name", raw(own_name())).to_raw()]
    }

    /// Whether a call is one of the gate's own tool.
    pub(super) fn is_own(&self, params: &Object) -> bool {
        self.has_own_tools() && params.text("name").is_some_and(|name| name == own_name())
    }

    /// Answers a call of it.
    pub(super) async fn quarantined(
        self: &Arc<Self>,
        params: &Object,
        arrival: Arrival,
    ) -> Result<Box<RawValue>, Refusal> {
        let wrong = |why: String| Refusal::new(INVALID_PARAMS, why);
        let arguments = match params.get("arguments") {
            None => Tree::Null,
            Some(arguments) => Tree::parse(arguments.get().as_bytes())
                .map_err(|error| wrong(format!("`arguments`: {error}")))?,
        };
        let beside = beside(params, &["name", "arguments"], &arrival.envelope)?;
        let about = params.object("_meta").unwrap_or_default();
        let scene = Scene { cwd: None, client_call: about.text(CLIENT_CALL).unwrap_or_default() };
        if let Some(conversation) = self.gate.conversations.expected(&scene.client_call) {
            self.session.join(conversation);
        }
        let inside = Inside::read(&arguments).map_err(wrong)?;
        let raw_call = RawCall { beside, ..self.session.call(quarantine::name(), arguments) };
        let fetch = || async {
            match inside {
                Inside::Text(text) => Ok(Content { text, from: quarantine::name() }),
                Inside::Call { tool, arguments } => self.fetched(tool, &arguments, &scene).await,
            }
        };
        let released = quarantine::call(&self.gate, &self.session, raw_call, &scene, fetch).await;
        match released {
            Ok(released) => Ok(self.answer(&released.value.answer)),
            Err(stop) => Ok(self.told(&refusal(&stop).message)),
        }
    }

    fn answer(&self, answer: &Tree) -> Box<RawValue> {
        let text = answer.canonical();
        let structured: Box<RawValue> =
            RawValue::from_string(text.clone()).unwrap_or_else(|_| raw(json!({})));
        let mut result = Object::default()
            .with("content", raw(json!([{ "type": "text", "text": text }])))
            .with("structuredContent", structured)
            .with("isError", raw(false));
        if self.era == Era::Modern {
            result.set("resultType", raw("complete"));
        }
        result.to_raw()
    }

    /// What the call inside answers: judged, recorded and run like any other, but read by nobody here.
    async fn fetched(
        self: &Arc<Self>,
        tool: String,
        arguments: &Tree,
        scene: &Scene,
    ) -> Result<Content, Failed> {
        let failed = |why: String| {
            Failed::new(Status::Failed, format!("nothing of the call inside is passed on: {why}"))
        };
        let arguments =
            RawValue::from_string(arguments.canonical()).map_err(|error| failed(error.to_string()))?;
        let params = Object::default().with("name", raw(tool)).with("arguments", arguments);
        // What its server says while it runs reaches nobody, and nobody can be asked.
        let (nowhere, _) = mpsc::channel(1);
        let arrival = Arrival::on(Lane(nowhere));
        let outgoing = match self.outgoing(params, &arrival).await {
            Ok(outgoing) => outgoing,
            Err(Instead::Told(why)) => return Err(failed(why)),
            // Those words may be a server's.
            Err(Instead::Refused(refusal)) if refusal.code == INTERNAL_ERROR => {
                return Err(failed("its server cannot be reached".to_owned()));
            }
            Err(Instead::Refused(refusal)) => return Err(failed(refusal.message)),
        };
        let from: ToolName = outgoing.name.clone();
        let call = Call {
            lane: arrival.lane,
            progress: None,
            log_level: None,
            asks: None,
            extensions: Extensions::new(),
        };
        match self.clone().judged(outgoing, call, scene.clone(), Reading::Reader).await {
            Ok(Release { value, .. }) if value.status() == Status::Ok => {
                Ok(Content { text: text(&value), from })
            }
            Ok(_) => Err(failed(format!("`{from}` answered with an error, which is not passed on"))),
            Err(Stop::Denied(denied)) => Err(failed(format!("{} (record {})", denied.why, denied.call))),
            // Its words may be the server's.
            Err(Stop::Failed(_)) => Err(failed(format!("`{from}` gave no answer"))),
        }
    }
}

fn own_name() -> String {
    format!("{OWN}__{QUARANTINE}")
}

/// What the content is.
enum Inside {
    Text(String),
    Call { tool: String, arguments: Tree },
}

impl Inside {
    fn read(arguments: &Tree) -> Result<Self, String> {
        match (arguments.member("text"), arguments.member("call")) {
            (Some(Tree::Text(text)), None) => Ok(Self::Text(text.clone())),
            (None, Some(call)) => {
                let tool = call.member("tool").and_then(Tree::as_text).ok_or("`call.tool` is not a text")?;
                let arguments = call.member("arguments").cloned().unwrap_or(Tree::Map(Vec::new()));
                if !matches!(arguments, Tree::Map(_)) {
                    return Err("`call.arguments` is not an object".to_owned());
                }
                Ok(Self::Call { tool: tool.to_owned(), arguments })
            }
            _ => Err("give it a `call` or a `text`, and not both".to_owned()),
        }
    }
}

/// All that an answer says, as the reader gets it.
fn text(answer: &Answer) -> String {
    let texts: Vec<String> = parts(answer.body.get())
        .into_iter()
        .map(|part| match part {
            Read::Text(text) => text,
            Read::Tree(tree) => tree.canonical(),
        })
        .collect();
    texts.join("\n\n")
}
