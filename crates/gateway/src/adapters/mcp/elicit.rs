//! Approvals on the client's own screen, where the operator wants that: small questions, about one call each, with a yes and a no.
//! Nothing of weight is asked here, because where the agent is the client, the agent answers.

use super::downstream::{Downstream, ask_modern};
use super::link::Call;
use super::upstream::Era;
use crate::approvers::{Answer, By};
use crate::shown::VALUES_MAX;
use crate::wire::approval::Approval;
use crate::wire::frame::{Object, raw};
use judge::approval::Approver;
use judge::tool::OWN;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;

/// A question longer than this is asked elsewhere, in bytes.
const QUESTION_BYTES_MAX: usize = 2_000;
const METHOD: &str = "elicitation/create";

impl Downstream {
    /// Puts the question about this very call, should there come to be one, to the client, and takes in what it answers. It lasts
    /// for as long as it is polled: who polls it waits for the grant as before, over whatever channel it comes.
    pub(super) async fn asks_here(self: &Arc<Self>, tool: &str, arguments: &str, call: &Call) -> Infallible {
        if self.gate.config.approvals.elicit && self.shows_forms() {
            self.asked_here(tool, arguments, call).await;
        }
        std::future::pending().await
    }

    async fn asked_here(self: &Arc<Self>, tool: &str, arguments: &str, call: &Call) {
        let approvers = &self.gate.approvers;
        let arguments: serde_json::Value = serde_json::from_str(arguments).unwrap_or_default();
        let mut changes = approvers.changes();
        let approval = loop {
            // The call may join a question that an earlier one of this session left open.
            let Ok(waiting) = approvers.waiting_of(self.session.id()) else { return };
            let is_it = |one: &Approval| one.tool == tool && one.arguments == arguments;
            if let Some(found) = waiting.into_iter().find(is_it) {
                break found;
            }
            if changes.changed().await.is_err() {
                return;
            }
        };
        let question = question(&approval);
        let question = self.gate.screen.said(self.session.hidden(), &question);
        if !is_small(&approval) || question.len() > QUESTION_BYTES_MAX {
            return;
        }
        let form = json!({ "message": question, "requestedSchema": { "type": "object", "properties": {} } });
        let form = raw(form);
        let said = match (self.era, &call.asks) {
            (Era::Legacy, _) => {
                let origin = (OWN.to_owned(), approval.id.clone());
                self.ask_legacy(&call.lane, METHOD, Some(&form), origin).await
            }
            (Era::Modern, Some(asks)) => ask_modern(asks, METHOD, Some(&form)).await,
            (Era::Modern, None) => return,
        };
        let action = said.ok().and_then(|said| Object::inside(&said)?.text("action"));
        let answer = match action.as_deref() {
            Some("accept") => Answer::Grant { more: None },
            Some("decline") => Answer::Refuse { reason: "declined in the client".to_owned() },
            _ => return,
        };
        let identity = format!("client of {}", self.session.id());
        let by = By { who: Approver { name: "client".to_owned(), identity }, channel: "client" };
        // Somebody else may have answered meanwhile, and theirs stands.
        if let Err(error) = approvers.answer(&approval.id, answer, by).await {
            tracing::debug!("a client's answer came to nothing: {error}");
        }
    }

    /// Whether the client said that it can show a form.
    fn shows_forms(&self) -> bool {
        let declared = Object::inside(&self.client.capabilities).and_then(|all| all.object("elicitation"));
        declared.is_some_and(|kinds| kinds.is_empty() || kinds.get("form").is_some())
    }
}

/// Whether the answer of whoever sits at the client is good enough: little can go wrong, and nothing about the call came from
/// somewhere it should not.
fn is_small(approval: &Approval) -> bool {
    let shown = &approval.shown;
    let all_fit = shown.values.len() < VALUES_MAX && shown.values.iter().all(|value| value.fits);
    shown.impact == "low"
        && approval.approvers <= 1
        && approval.left_to.is_empty()
        && all_fit
        && shown.concerns.iter().all(|concern| concern.weight != "danger")
}

/// The question, in which nothing can pass for something else.
fn question(approval: &Approval) -> String {
    let arguments: String = approval
        .arguments
        .to_string()
        .chars()
        .flat_map(|c| {
            let is_plain = c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
            let escaped = (!is_plain).then(|| c.escape_unicode());
            is_plain.then_some(c).into_iter().chain(escaped.into_iter().flatten())
        })
        .collect();
    format!("Let {} run with {arguments}?", approval.tool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::approval::{Concern, Shown, Value};

    fn approval() -> Approval {
        let value = Value {
            at: "to".to_owned(),
            role: "receiver".to_owned(),
            text: "ann".to_owned(),
            origin: "the user".to_owned(),
            fits: true,
        };
        let shown = Shown { impact: "low".to_owned(), values: vec![value], ..Shown::default() };
        Approval {
            id: "a-1".to_owned(),
            state: "pending".to_owned(),
            session: "s-1".to_owned(),
            agent: "agent".to_owned(),
            user: "ann".to_owned(),
            tool: "notes/add".to_owned(),
            cwd: "/p".to_owned(),
            arguments: json!({ "text": "hi" }),
            why: String::new(),
            request_digest: "r".to_owned(),
            policy_digest: "p".to_owned(),
            asked_at: 0,
            expires_at: 100,
            approvers: 1,
            consents: Vec::new(),
            left_to: String::new(),
            shown,
            answered_by: String::new(),
            reason: String::new(),
        }
    }

    #[test]
    fn only_what_is_small_is_asked_at_the_client() {
        assert!(is_small(&approval()));
        type Change = fn(&mut Approval);
        let cases: [(&str, Change); 7] = [
            ("high impact", |one| one.shown.impact = "high".to_owned()),
            ("an impact that is not known", |one| one.shown.impact = String::new()),
            ("two people", |one| one.approvers = 2),
            ("left to somebody", |one| one.left_to = "bob".to_owned()),
            ("a value that does not fit", |one| one.shown.values[0].fits = false),
            ("a danger", |one| {
                one.shown.concerns = vec![Concern { weight: "danger".to_owned(), text: "x".to_owned() }];
            }),
            ("more values than are shown", |one| {
                one.shown.values = vec![one.shown.values[0].clone(); VALUES_MAX];
            }),
        ];
        for (what, change) in cases {
            let mut approval = approval();
            change(&mut approval);
            assert!(!is_small(&approval), "{what}");
        }
        let mut costly = approval();
        costly.shown.concerns = vec![Concern { weight: "costly".to_owned(), text: "x".to_owned() }];
        assert!(is_small(&costly));
    }

    #[test]
    fn a_question_shows_what_could_hide() {
        let mut approval = approval();
        assert_eq!(question(&approval), r#"Let notes/add run with {"text":"hi"}?"#);
        approval.arguments = json!({ "text": "é\u{202e}x\u{1b}[2J\u{200b}\n" });
        let shown = question(&approval);
        assert_eq!(shown, r#"Let notes/add run with {"text":"é\u{202e}x\u001b[2J\u{200b}\n"}?"#);
    }
}
