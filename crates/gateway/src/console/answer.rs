//! Answers to approvals. A grant is believed only when a passkey of the person signed the approval's id, the digest of the request
//! that was shown, and the answer itself; a cookie alone grants nothing.

use super::ceremony::Purpose;
use super::door::{failed, replayed};
use super::guard::Asked;
use super::visit::Visitor;
use super::{Console, Refused, json, need, redirect};
use crate::approvers::{self, By, NoGrant};
use crate::people::{Person, Role};
use crate::store::StoreError;
use crate::wire::approval::{Approval, Wanted};
use crate::wire::console as wire;
use crate::wire::record::{Body, Signed};
use aws_lc_rs::digest::{Context, SHA256};
use axum::response::Response;
use http::StatusCode;
use judge::approval::Approver;
use serde_json::json;

/// What is signed begins with this, so that it is never anything else.
const SIGNED: &str = "bailiwick console answer v1";
/// Longest reason of a refusal, in characters.
const REASON_CHARS_MAX: usize = 500;

/// An answer a person can give here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This call, once.
    Grant,
    /// This call, and the same again for a while.
    Repeat,
    /// No, and why.
    Refuse { reason: String },
}

impl Answer {
    /// The words that are signed for a grant. Different grants have different words.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Answer::Grant => "grant once",
            Answer::Repeat => "grant the same call ten times within the hour",
            Answer::Refuse { .. } => "refuse",
        }
    }

    /// The grant of these words.
    fn granted(words: &str) -> Option<Self> {
        [Answer::Grant, Answer::Repeat].into_iter().find(|answer| answer.words() == words)
    }
}

/// The only place where the console answers an approval.
async fn answer(console: &Console, id: &str, by: &Person, answer: Answer) -> Result<Approval, NoGrant> {
    // Whoever signs in here is one person, whatever name a terminal would give.
    let who = Approver { name: by.name.clone(), identity: format!("passkey {}", by.name) };
    let answer = match answer {
        Answer::Grant => approvers::Answer::Grant { more: None },
        Answer::Repeat => approvers::Answer::Grant { more: Some(again()) },
        Answer::Refuse { reason } => approvers::Answer::Refuse { reason },
    };
    console.gate.approvers.answer(id, answer, By { who, channel: "console" }).await
}

/// The same call, with every argument as it is, as the words say.
fn again() -> Wanted {
    let limits = std::collections::BTreeMap::new();
    Wanted { uses: 10, seconds: 3_600, idle_seconds: None, same_phase: true, limits }
}

impl Console {
    /// Gives out what a passkey must sign to grant `id` as it is now.
    pub(super) fn challenge(&self, asked: &Asked, visitor: &Visitor, id: &str) -> Result<Response, Refused> {
        need(&visitor.person, Role::Approver)?;
        let answering: wire::Answering = asked.json()?;
        let approval = self.gate.approvers.show(id).map_err(|error| unanswerable(&error))?;
        Answer::granted(&answering.answer).ok_or_else(Refused::absent)?;
        if approval.state != "pending" {
            return Err(Refused::new(StatusCode::CONFLICT, format!("it is already {}", approval.state)));
        }
        if approval.request_digest != answering.request {
            return Err(Refused::alarming(
                StatusCode::CONFLICT,
                "console-challenge",
                "another request was shown",
            ));
        }
        let nonce = crate::random::bytes();
        let challenge = bound(&nonce, id, &answering.request, &answering.answer);
        let known = self.gate.people.credentials(&visitor.person.name).map_err(failed)?;
        let options = self.options(&challenge, &known);
        let purpose = Purpose::Answer {
            person: visitor.person.name.clone(),
            approval: approval.id,
            request: answering.request,
            answer: answering.answer,
            nonce,
        };
        let flow = self.ceremonies.begin(purpose, challenge, &visitor.browser);
        Ok(json(StatusCode::OK, &json!({ "flow": flow, "options": options })))
    }

    /// Grants `id`, if a passkey of the visitor signed exactly that.
    pub(super) async fn grant(
        &self,
        asked: &Asked,
        visitor: &Visitor,
        id: &str,
    ) -> Result<Response, Refused> {
        need(&visitor.person, Role::Approver)?;
        let used: wire::Used = asked.json()?;
        let ceremony = self.ceremonies.end(&used.flow, &visitor.browser).ok_or_else(replayed)?;
        let Purpose::Answer { person, approval, request, answer: words, nonce } = ceremony.purpose else {
            return Err(replayed());
        };
        if person != visitor.person.name || approval != id {
            return Err(replayed());
        }
        // What stands now must be what was signed, so the challenge is made again from it.
        let now = self.gate.approvers.show(id).map_err(|error| unanswerable(&error))?;
        let signed = bound(&nonce, &now.id, &now.request_digest, &words);
        let by = self.recognised(&signed, &used)?;
        if by.name != visitor.person.name {
            let why = format!("{} signed an answer of {}", by.name, visitor.person.name);
            return Err(Refused::alarming(StatusCode::FORBIDDEN, "console-passkey", why));
        }
        need(&by, Role::Approver)?;
        let granted = Answer::granted(&words).ok_or_else(Refused::absent)?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let proof = Signed {
            approval: approval.clone(),
            request,
            answer: words,
            by: by.name.clone(),
            nonce: hex(&nonce),
            client_data: String::from_utf8_lossy(&used.client_data.0).into_owned(),
            authenticator_data: hex(&used.authenticator_data.0),
            signature: hex(&used.signature.0),
        };
        let recorded = self.gate.history.record(None, Body::Signed(Box::new(proof))).await;
        recorded.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let answered = answer(self, id, &by, granted).await.map_err(|error| lost(&error))?;
        Ok(json(StatusCode::OK, &json!({ "state": answered.state })))
    }

    /// Refuses `id`. That takes no passkey: whoever stole a cookie can stop a call, and start none.
    pub(super) async fn refuse(
        &self,
        asked: &Asked,
        visitor: &Visitor,
        id: &str,
    ) -> Result<Response, Refused> {
        need(&visitor.person, Role::Approver)?;
        let reason: String =
            asked.form("reason").unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        let reason = reason.trim().to_owned();
        answer(self, id, &visitor.person, Answer::Refuse { reason }).await.map_err(|error| lost(&error))?;
        Ok(redirect("/console/approvals"))
    }
}

/// What a passkey signs: every part with its length before it, so that no two answers ever look alike.
fn bound(nonce: &[u8; 32], approval: &str, request: &str, answer: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [SIGNED.as_bytes(), nonce, approval.as_bytes(), request.as_bytes(), answer.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

pub(super) fn unanswerable(error: &StoreError) -> Refused {
    let status = match error {
        StoreError::Unknown(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    };
    Refused::new(status, error.to_string())
}

fn lost(error: &NoGrant) -> Refused {
    Refused::new(StatusCode::CONFLICT, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_answer_is_bound() {
        let one = bound(&[1; 32], "a-1", "digest", "grant once");
        assert_eq!(one, bound(&[1; 32], "a-1", "digest", "grant once"));
        for other in [
            bound(&[2; 32], "a-1", "digest", "grant once"),
            bound(&[1; 32], "a-2", "digest", "grant once"),
            bound(&[1; 32], "a-1", "digesT", "grant once"),
            bound(&[1; 32], "a-1", "digest", "grant twice"),
            bound(&[1; 32], "a-1d", "igest", "grant once"),
        ] {
            assert_ne!(one, other);
        }
    }
}
