//! Calls that a client was told to defer: its run ends, and when it is resumed it asks about the same call again.
//! A client that cannot defer a call ignores the answer and goes on by its own rules; by those it never runs the call, because
//! its settings ask about every tool, and who asks is refused here.

use super::{Event, Followed, locked, verdict};
use crate::config::approvals::OnAsk;
use crate::facts::Patience;
use judge::request::tree::Tree;
use serde_json::Value;

/// The call that a session's run was told to defer, or may be.
pub(super) struct Deferral {
    use_id: String,
    tool: String,
    input: String,
}

impl Followed {
    /// Whether this call may be deferred: one of a run is. A client can take up one call only when it is resumed, so the others
    /// wait where they are.
    pub(super) fn patience(&self, event: &Event, on_ask: OnAsk, defers: bool) -> Patience {
        if on_ask == OnAsk::Hold || !defers || event.use_id.is_empty() {
            return Patience::Hold;
        }
        let mut deferred = locked(&self.deferred);
        match &*deferred {
            Some(other) if other.use_id != event.use_id => Patience::Hold,
            _ => {
                let input = event.input.as_ref().map(Tree::canonical).unwrap_or_default();
                *deferred = Some(Deferral { use_id: event.use_id.clone(), tool: event.tool.clone(), input });
                Patience::Defer
            }
        }
    }

    /// The call was not deferred after all, or has come to its end.
    pub(super) fn no_longer_deferred(&self, use_id: &str) {
        let mut deferred = locked(&self.deferred);
        if deferred.as_ref().is_some_and(|call| call.use_id == use_id) {
            *deferred = None;
        }
    }

    /// The run goes on without what it was told to defer.
    pub(super) fn moved_on(&self) {
        *locked(&self.deferred) = None;
    }

    /// Whether this is the call that was deferred.
    pub(super) fn is_deferred(&self, use_id: &str, tool: &str, input: &str) -> bool {
        locked(&self.deferred)
            .as_ref()
            .is_some_and(|call| call.use_id == use_id && call.tool == tool && call.input == input)
    }

    /// The client's id of the call that was deferred, if it is this one.
    fn deferred_as(&self, event: &Event) -> Option<String> {
        let input = event.input.as_ref().map(Tree::canonical).ok()?;
        let deferred = locked(&self.deferred);
        let call = deferred.as_ref().filter(|call| call.tool == event.tool && call.input == input)?;
        (event.use_id.is_empty() || event.use_id == call.use_id).then(|| call.use_id.clone())
    }
}

/// The client asks for permission of its own: given where the gate has permitted this very call, refused otherwise. What it was to
/// defer and did not is refused too: here nothing could be put behind the wall any more, so it is asked about by itself.
pub(super) fn permission(followed: &Followed, event: &Event) -> Value {
    let input = event.input.as_ref().map(Tree::canonical).unwrap_or_default();
    let permitted = locked(&followed.calls).iter().any(|(use_id, judged)| {
        !judged.has_failed
            && !judged.is_behind
            && (judged.covers(&event.tool, &input) || judged.tool == event.tool && judged.input == input)
            && (event.use_id.is_empty() || *use_id == event.use_id)
    });
    if permitted {
        return verdict::permit();
    }
    match followed.deferred_as(event) {
        Some(use_id) => {
            followed.no_longer_deferred(&use_id);
            verdict::refuse_permission(
                "it waits for approval, and cannot wait beside other calls; make this call again by itself",
            )
        }
        None => verdict::refuse_permission("the gate has not permitted this call"),
    }
}
