//! Calls of the gate's own tool `bailiwick__quarantine`, offered where a reader is configured.
//! What the call inside it answers goes to the reader and to nobody else.

use super::downstream::{Arrival, Downstream, Instead, Refusal, refusal};
use super::link::{Answer, Call, Lane};
use super::parts::parts;
use super::serve::{CLIENT_CALL, beside};
use super::{INTERNAL_ERROR, INVALID_PARAMS};
use crate::facts::Scene;
use crate::pipeline::{Reading, Stop};
use crate::quarantine::{self, Content};
use crate::receipt::{Failed, Output};
use crate::wire::frame::{Extensions, Object, raw};
use crate::wire::record::Status;
use judge::filter::Release;
use judge::flow::Read;
use judge::request::RawCall;
use judge::request::tree::Tree;
use judge::tool::ToolName;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::mpsc;

impl Downstream {
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
        let scene =
            Scene { cwd: None, client_call: about.text(CLIENT_CALL).unwrap_or_default(), ..Scene::default() };
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
            Ok(released) => Ok(self.answer(released.value.answer.canonical())),
            Err(stop) => Ok(self.told(&refusal(&stop).message)),
        }
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
            Err(Stop::Failed(_) | Stop::Deferred(_)) => Err(failed(format!("`{from}` gave no answer"))),
        }
    }
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
