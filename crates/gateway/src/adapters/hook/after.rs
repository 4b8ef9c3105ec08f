//! What the client's own tools returned, before the model sees it: searched like every other result, and replaced in the tool's
//! own shape. What cannot be replaced is withheld; what cannot even be withheld ends the turn.

use super::{Event, Followed, Hooks, Judged, locked, shell, verdict};
use crate::inventory::CLAUDE;
use crate::screen::Flow;
use crate::wire::frame::Object;
use crate::wire::record::Status;
use crate::written;
use judge::request::tree::Tree;
use judge::spotlight::Source;
use judge::tool::ToolName;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// What the model is told beside a file from which something was taken out.
const ABOUT_HANDLES: &str = "Texts of the form BW-…-WB stand for hidden values. Where you write this file they become what they \
    stand for, if you leave them exactly as they are: in Write's content and in Edit's new_string. Edit's old_string must hold \
    none of them, because the file does not: choose other lines for it, or write the whole file.";

/// What one stream of a command prints, on its way to the client.
pub struct Shown {
    followed: Arc<Followed>,
    call: String,
    flow: Flow,
}

impl Shown {
    /// The next bytes, as far as they may be shown by now.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len());
        self.flow.push(self.followed.session.hidden(), chunk, &mut out);
        out
    }

    /// What was held back.
    pub fn flush(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.flow.flush(self.followed.session.hidden(), &mut out);
        out
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let note = self.flow.note();
        let mut calls = locked(&self.followed.calls);
        let judged = calls.values_mut().find(|judged| judged.is_call(&self.call));
        if let Some(judged) = judged.filter(|_| !note.is_empty()) {
            let more = if judged.taken.is_empty() { "" } else { "; " };
            judged.taken.push_str(&format!("{more}{note}"));
        }
    }
}

impl Hooks {
    /// Searches what the fetched command `call` prints.
    ///
    /// # Errors
    /// There is no such command, or it cannot be searched.
    pub fn shown(&self, call: &str) -> Result<Shown, String> {
        let runs =
            |followed: &Arc<Followed>| locked(&followed.calls).values().any(|judged| judged.is_call(call));
        let followed = self.everybody().into_iter().find(runs).ok_or("no command of this name runs")?;
        let origin = format!("{CLAUDE}/Bash");
        let flow = self.gate.screen.flow(&self.gate.secrets, followed.session.hidden(), &origin)?;
        Ok(Shown { followed, call: call.to_owned(), flow })
    }

    pub(super) fn after(&self, followed: &Arc<Followed>, event: Event) -> Value {
        let judged = locked(&followed.calls).remove(&event.use_id);
        let input = event.input.as_ref().map(Tree::canonical).unwrap_or_default();
        let trouble = match &judged {
            None => Some(("unjudged-call", format!("`{}` ran without a decision of the gate", event.tool))),
            Some(judged) if !judged.covers(&event.tool, &input) => Some((
                "input-mismatch",
                format!(
                    "mismatch: `{}` ran with another input than the gate judged; another hook rewrote it",
                    event.tool
                ),
            )),
            Some(judged)
                if judged.receipt.is_none() && !judged.has_failed && !self.gate.saw(&event.use_id) =>
            {
                Some((
                    "ungated-answer",
                    format!("`{}` was answered by a server that is not the gate", event.tool),
                ))
            }
            Some(_) => None,
        };
        let response = event.body.get("tool_response").map_or("", RawValue::get);
        self.read(followed, &event.tool, response);
        // What came through the gate was searched there.
        let is_own = judged.as_ref().is_none_or(|judged| judged.receipt.is_some() || judged.has_failed);
        let cleared = if is_own { self.cleared(followed, &event, response) } else { None };
        let (shown, note) = match cleared {
            None => (Ok(None), String::new()),
            Some(Ok((instead, note))) => (Ok(Some(instead)), note),
            Some(Err(why)) => {
                (verdict::withheld(&event.tool, response, &why).map(Some).ok_or(why.clone()), why)
            }
        };
        let shown = shown.map(|instead| self.between_marks(followed, &event.tool, response, instead));
        let judged = judged.and_then(|judged| followed.goes_on(judged, &event, response));
        if let Some(Judged { receipt: Some(receipt), taken, .. }) = judged {
            let note = if taken.is_empty() || !note.is_empty() { note } else { taken };
            let status = if shown.is_ok() { Status::Ok } else { Status::Withheld };
            receipt.close(status, &note, response.as_bytes());
        }
        match (trouble, shown) {
            (Some((rule, why)), _) => self.halt(followed, &event, rule, why),
            (None, Err(why)) => {
                let why = format!("what `{}` returned cannot be shown: {why}", event.tool);
                self.halt(followed, &event, "unshowable-result", why)
            }
            (None, Ok(None)) => verdict::nothing(),
            (None, Ok(Some(instead))) => {
                let is_file = instead.get("file").is_some() && event.tool == "Read";
                verdict::shown_instead(&instead, if is_file { ABOUT_HANDLES } else { "" })
            }
        }
    }

    /// The same with a fetched page between the session's marks. What other tools return is left in its form: files are edited by it.
    fn between_marks(
        &self,
        followed: &Followed,
        tool: &str,
        response: &str,
        instead: Option<Value>,
    ) -> Option<Value> {
        if tool != "WebFetch" {
            return instead;
        }
        let name = ToolName { server: CLAUDE.to_owned(), tool: tool.to_owned() };
        let mode = self.gate.config.marks.mode(&name);
        let page = instead.clone().or_else(|| serde_json::from_str(response).ok());
        let marked = page.and_then(|mut page| {
            let text = page.get("result")?.as_str()?;
            let source = Source { tool: &name, label: "" };
            let marked = followed.session.marks().mark(&source, mode, text).text;
            page["result"] = marked.into();
            Some(page)
        });
        marked.or(instead)
    }

    /// What a tool returned without what it must not show, and what that was; nothing when it may be shown as it is.
    fn cleared(
        &self,
        followed: &Followed,
        event: &Event,
        response: &str,
    ) -> Option<Result<(Value, String), String>> {
        let tool = ToolName { server: CLAUDE.to_owned(), tool: event.tool.clone() };
        let file = event.input.as_ref().ok().and_then(|input| written::origin(&tool, input));
        let hidden = followed.session.hidden();
        let screen = &self.gate.screen;
        if let Some(file) = &file {
            screen.note_found(hidden, file, response.as_bytes());
        }
        let place = tool.to_string();
        let from = (place.as_str(), file.as_deref().unwrap_or(&place));
        let cleared = match screen.cleared(&self.gate.secrets, hidden, from, response.as_bytes()) {
            Ok(None) => return None,
            Ok(Some(cleared)) => cleared,
            Err(why) => return Some(Err(why)),
        };
        let instead = serde_json::from_slice(&cleared.text).map(|instead| (instead, cleared.note));
        Some(instead.map_err(|_| "without what it must not show it is no result any more".to_owned()))
    }

    pub(super) fn failed(&self, followed: &Followed, event: &Event) -> Value {
        let failed = locked(&followed.calls).get_mut(&event.use_id).and_then(|judged| {
            judged.has_failed = true;
            (judged.waiting, judged.exit) = (None, None);
            Some((judged.receipt.take()?, std::mem::take(&mut judged.taken)))
        });
        if let Some((receipt, taken)) = failed {
            let error = event.body.text("error").unwrap_or_default();
            self.read(followed, &event.tool, &error);
            receipt.close(Status::Error, &taken, error.as_bytes());
        }
        // The client shows an error as it is, whatever is answered here: the batch it is in is stopped.
        let error = event.body.get("error").map_or("", RawValue::get);
        if let Some(why) = self.unshowable(followed, &event.tool, error) {
            self.alert(followed, "secret-in-error", &why, &event.use_id);
            *locked(&followed.stopped) = Some(why);
        }
        verdict::nothing()
    }

    /// The last look before the model sees what its calls returned: the texts themselves, as it would read them.
    pub(super) fn batch(&self, followed: &Followed, event: &Event) -> Value {
        if let Some(why) = followed.halt_reason().or_else(|| locked(&followed.stopped).take()) {
            return verdict::block(&why);
        }
        let Some(calls) = event.body.get("tool_calls") else { return verdict::nothing() };
        let Ok(calls) = serde_json::from_str::<Vec<Value>>(calls.get()) else {
            return verdict::block("what the calls returned cannot be read");
        };
        for call in &calls {
            let id = call["tool_use_id"].as_str().unwrap_or_default();
            if locked(&followed.calls).get(id).is_some_and(|judged| judged.has_failed) {
                locked(&followed.calls).remove(id);
            }
            // What a call was given may be what was put back in it; what it returned may not.
            let returned = call.get("tool_response").map(Value::to_string).unwrap_or_default();
            let tool = call["tool_name"].as_str().unwrap_or(&event.tool);
            if let Some(why) = self.unshowable(followed, tool, &returned) {
                self.alert(
                    followed,
                    "secret-in-result",
                    &why,
                    call["tool_use_id"].as_str().unwrap_or_default(),
                );
                return verdict::block(&why);
            }
        }
        verdict::nothing()
    }

    /// Why `text`, which is JSON and cannot be replaced any more, must not reach the model.
    fn unshowable(&self, followed: &Followed, tool: &str, text: &str) -> Option<String> {
        // A server's tool is called `mcp__CLIENTS-NAME__SERVER__TOOL` by the client.
        let mut served = tool.strip_prefix("mcp__").into_iter().flat_map(|name| name.rsplit("__"));
        let place = match (served.next(), served.next()) {
            (Some(tool), Some(server)) => format!("{server}/{tool}"),
            _ => format!("{CLAUDE}/{tool}"),
        };
        let hidden = followed.session.hidden();
        match self.gate.screen.cleared(&self.gate.secrets, hidden, (&place, &place), text.as_bytes()) {
            Ok(None) => None,
            Ok(Some(cleared)) => Some(format!(
                "what a call returned cannot be shown, and its client lets nothing be taken out of it (that would be {})",
                cleared.note.trim_start_matches("taken out of it: ")
            )),
            Err(why) => Some(format!("what a call returned cannot be searched: {why}")),
        }
    }

    fn halt(&self, followed: &Followed, event: &Event, rule: &str, why: String) -> Value {
        self.alert(followed, rule, &why, &event.use_id);
        let answer = verdict::halt(&why);
        *locked(&followed.halted) = Some(why);
        answer
    }
}

impl Followed {
    /// Keeps a command that the client has put into the background, until it is known how it ended; gives back any other.
    fn goes_on(&self, judged: Judged, event: &Event, response: &str) -> Option<Judged> {
        let is_asked = event
            .body
            .object("tool_input")
            .and_then(|input| Some(input.get("run_in_background")?.get() == "true"));
        let told = Object::parse(response.as_bytes()).ok();
        let is_told = told.is_some_and(|told| told.text("backgroundTaskId").is_some());
        let is_open = judged.receipt.is_some() && !judged.has_run && shell::is_shell(&judged.tool);
        if !is_open || !(is_told || is_asked == Some(true)) {
            return Some(judged);
        }
        let judged = Judged { is_behind: true, ..judged };
        // The client has no more to say of it under its own name.
        self.remember(format!("{} goes on", event.use_id), judged);
        None
    }
}
