//! What servers send beside the results of calls: notifications, questions, lists, greetings, errors. All of it is searched on its
//! way to the client, and what cannot be shown without what it must not show is not sent at all.

use super::downstream::{Downstream, Refusal};
use crate::wire::frame::Object;
use serde_json::value::RawValue;

impl Downstream {
    /// `text`, which came from `origin`, as the client may see it.
    ///
    /// # Errors
    /// It may not, in words.
    fn shown(&self, origin: &str, text: &RawValue) -> Result<Option<Box<RawValue>>, String> {
        let (screen, hidden) = (&self.gate.screen, self.session.hidden());
        let Some(cleared) =
            screen.cleared(&self.gate.secrets, hidden, (origin, origin), text.get().as_bytes())?
        else {
            return Ok(None);
        };
        let shown = String::from_utf8(cleared.text).ok().and_then(|text| RawValue::from_string(text).ok());
        shown.map(Some).ok_or_else(|| "without what it must not show it is no message any more".to_owned())
    }

    /// A message that `server` sent by itself, as the client may see it; nothing where it may not.
    pub(super) fn shown_message(&self, server: &str, mut message: Object) -> Option<Object> {
        let Some(params) = message.get("params").map(RawValue::to_owned) else { return Some(message) };
        let method = message.method();
        match self.shown(&format!("{server}/{method}"), &params) {
            Ok(None) => Some(message),
            Ok(Some(shown)) => {
                message.set("params", shown);
                Some(message)
            }
            Err(why) => {
                self.alert(
                    "withheld-message",
                    &format!("server `{server}`: a message `{method}` was withheld: {why}"),
                );
                None
            }
        }
    }

    /// A result that no call gave, as the client may see it. Where a list goes on is no text for anybody.
    ///
    /// # Errors
    /// It may not be seen.
    pub(super) fn shown_result(&self, method: &str, result: Box<RawValue>) -> Result<Box<RawValue>, Refusal> {
        let cursor = Object::inside(&result).and_then(|page| page.get("nextCursor").map(RawValue::to_owned));
        match self.shown(&format!("mcp/{method}"), &result) {
            Ok(None) => Ok(result),
            Ok(Some(shown)) => match (cursor, Object::inside(&shown)) {
                (Some(cursor), Some(page)) => Ok(page.with("nextCursor", cursor).to_raw()),
                _ => Ok(shown),
            },
            Err(why) => {
                Err(Refusal::new(super::INTERNAL_ERROR, format!("what `{method}` gave was withheld: {why}")))
            }
        }
    }

    /// An error as the client may see it.
    pub(super) fn shown_refusal(&self, mut refusal: Refusal) -> Refusal {
        refusal.message = self.gate.screen.said(self.session.hidden(), &refusal.message);
        if let Some(object) = refusal.object.take() {
            match self.shown("mcp/error", &object) {
                Ok(shown) => refusal.object = shown.or(Some(object)),
                Err(why) => refusal.message = format!("an error was withheld: {why}"),
            }
        }
        refusal
    }
}
