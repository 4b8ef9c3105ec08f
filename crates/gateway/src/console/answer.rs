//! Answers to approvals. A grant is believed only when a passkey of the person signed the approval's id, the digest of the request
//! that was shown, and the answer itself; a cookie alone grants nothing.

use super::ceremony::Purpose;
use super::door::{failed, replayed};
use super::guard::Asked;
use super::visit::Visitor;
use super::{Console, Refused, json, need, redirect, shape};
use crate::approvers::{self, By, NoGrant};
use crate::people::signed::{self, Yes};
use crate::people::{Person, Role, hex};
use crate::store::StoreError;
use crate::wire::approval::{Approval, BadScope};
use crate::wire::console as wire;
use crate::wire::record::{Body, Signed};
use axum::response::Response;
use http::StatusCode;
use judge::approval::Approver;
use serde_json::json;

/// Longest reason of a refusal, in characters.
const REASON_CHARS_MAX: usize = 500;

/// The only place where the console answers an approval.
async fn answer(
    console: &Console,
    id: &str,
    by: &Person,
    answer: approvers::Answer,
) -> Result<Approval, NoGrant> {
    // Whoever signs in here is one person, whatever name a terminal would give.
    let who = Approver { name: by.name.clone(), identity: format!("passkey {}", by.name) };
    console.gate.approvers.answer(id, answer, By { who, channel: "console" }).await
}

/// What a passkey of somebody's is to sign.
#[derive(Clone, Debug)]
pub(super) struct Signing {
    /// Whom it was given to.
    pub(super) person: String,
    /// The approval, or what else is done.
    pub(super) about: String,
    /// Digest of the request that was shown.
    pub(super) request: String,
    /// The answer, in the words that are signed.
    pub(super) words: String,
    pub(super) nonce: [u8; 32],
}

impl Console {
    /// Gives out what a passkey must sign to grant `id` as it is now.
    pub(super) fn challenge(&self, asked: &Asked, visitor: &Visitor, id: &str) -> Result<Response, Refused> {
        need(&visitor.person, Role::Approver)?;
        let answering: wire::Answering = asked.json()?;
        let approval = self.gate.approvers.show(id).map_err(|error| unanswerable(&error))?;
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
        let yes = match answering.answer.as_str() {
            "grant once" => Yes::Once,
            "grant more" => Yes::More(shape::read(&approval, &answering.fields).map_err(unfit)?),
            _ => return Err(Refused::absent()),
        };
        let means = match &yes {
            Yes::Once => "this call, once".to_owned(),
            Yes::More(wanted) => shape::says(wanted),
        };
        let means = self.shown.words(&means);
        self.to_sign(visitor, &approval.id, answering.request, yes.words(), &means)
    }

    /// Gives out what a passkey of the visitor's must sign to say `words`, which mean this.
    pub(super) fn to_sign(
        &self,
        visitor: &Visitor,
        about: &str,
        request: String,
        words: String,
        means: &str,
    ) -> Result<Response, Refused> {
        let nonce = crate::random::bytes();
        let challenge = signed::challenge(&nonce, about, &request, &words);
        let known = self.gate.people.credentials(&visitor.person.name).map_err(failed)?;
        let options = self.options(&challenge, &known);
        let (person, about) = (visitor.person.name.clone(), about.to_owned());
        let signing = Signing { person, about, request, words, nonce };
        let flow = self.ceremonies.begin(Purpose::Sign(Box::new(signing)), challenge, &visitor.browser);
        Ok(json(StatusCode::OK, &json!({ "flow": flow, "options": options, "means": means })))
    }

    /// What the visitor was to sign about `about`; it is used up.
    pub(super) fn signing(
        &self,
        used: &wire::Used,
        visitor: &Visitor,
        about: &str,
    ) -> Result<Signing, Refused> {
        let ceremony = self.ceremonies.end(&used.flow, &visitor.browser).ok_or_else(replayed)?;
        match ceremony.purpose {
            Purpose::Sign(signing) if signing.person == visitor.person.name && signing.about == about => {
                Ok(*signing)
            }
            _ => Err(replayed()),
        }
    }

    /// Believes that a passkey of the visitor signed this, as somebody of at least this role, and records the signature.
    pub(super) async fn believe(
        &self,
        signing: Signing,
        used: &wire::Used,
        visitor: &Visitor,
        role: Role,
    ) -> Result<Person, Refused> {
        let Signing { about, request, words, nonce, .. } = signing;
        let by = self.recognised(&signed::challenge(&nonce, &about, &request, &words), used)?;
        if by.name != visitor.person.name {
            let why = format!("{} signed an answer of {}", by.name, visitor.person.name);
            return Err(Refused::alarming(StatusCode::FORBIDDEN, "console-passkey", why));
        }
        need(&by, role)?;
        let proof = Signed {
            approval: about,
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
        Ok(by)
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
        let signing = self.signing(&used, visitor, id)?;
        // What stands now must be what was signed, so the challenge is made again from it.
        let now = self.gate.approvers.show(id).map_err(|error| unanswerable(&error))?;
        let yes = Yes::read(&signing.words).ok_or_else(replayed)?;
        let signing = Signing { about: now.id, request: now.request_digest, ..signing };
        let by = self.believe(signing, &used, visitor, Role::Approver).await?;
        let more = match yes {
            Yes::Once => None,
            Yes::More(wanted) => Some(wanted),
        };
        let granted = approvers::Answer::Grant { more };
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
        let refused = approvers::Answer::Refuse { reason };
        answer(self, id, &visitor.person, refused).await.map_err(|error| lost(&error))?;
        Ok(redirect("/console/approvals"))
    }
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

/// What cannot be granted so.
fn unfit(error: BadScope) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, error.to_string())
}
