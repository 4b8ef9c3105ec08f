//! The way in: a link makes a passkey, a passkey signs in. Nobody comes in any other way.

use super::ceremony::{CEREMONY_SECONDS_MAX, Purpose};
use super::guard::{Asked, encoded};
use super::visit::Visitor;
use super::{Console, Refused, html, json, page, redirect};
use crate::people::cose::ALGORITHMS;
use crate::people::webauthn::Used;
use crate::people::{Person, Stranger};
use crate::wire::console::{self as wire, base64url};
use axum::response::Response;
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use maud::html;
use serde_json::json;

impl Console {
    /// Where somebody who is not signed in is sent.
    pub(super) fn to_door(&self, asked: &Asked) -> Response {
        let place = asked.place();
        if place.len() > 500 {
            return redirect("/console/sign-in");
        }
        redirect(&format!("/console/sign-in?next={}", encoded(place)))
    }

    pub(super) fn sign_in_page(&self, asked: &Asked, visitor: Option<&Visitor>) -> Result<Response, Refused> {
        let next = asked.query("next").unwrap_or_default();
        // Only a plain path of this console is ever gone to.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~?=&%".contains(c);
        let next = match next {
            next if next.starts_with("/console") && next.chars().all(plain) => next,
            _ => "/console/approvals".to_owned(),
        };
        if visitor.is_some() {
            return Ok(redirect(&next));
        }
        let nobody = self.gate.people.is_empty();
        let main = html! {
            @if nobody {
                p { "Nobody has a passkey here yet. The gate prints a link for the first person when it starts, and whenever asked:" }
                pre.command { "bailiwick console link" }
            } @else {
                p { "Your passkey is all it takes." }
                form #sign-in data-next=(next) {
                    button.primary type="submit" autofocus { "Sign in with a passkey" }
                }
                p.quiet { "No passkey yet? Ask whoever runs the gate for a link: " code { "bailiwick console link" } }
            }
        };
        Ok(self.at_door(asked, "Sign in", &main))
    }

    pub(super) fn enrol_page(&self, asked: &Asked) -> Result<Response, Refused> {
        let main = html! {
            p { "This link lets one person in, once. Choose the name your answers are recorded under, then make a passkey." }
            form #enrol {
                label for="code" { "Code" }
                input #code name="code" autocomplete="off" spellcheck="false" required;
                label for="name" { "Name" }
                input #name name="name" autocomplete="username" spellcheck="false" maxlength="64"
                    pattern="[A-Za-z0-9._@\\-]+" required autofocus;
                p.quiet #meant {}
                button.primary type="submit" { "Make a passkey" }
            }
        };
        Ok(self.at_door(asked, "Come in", &main))
    }

    fn at_door(&self, asked: &Asked, title: &str, main: &maud::Markup) -> Response {
        let (_, token, cookie) = self.visits.before(asked);
        let mut response = html(StatusCode::OK, page::door(title, &token, main));
        if let Some(cookie) = cookie {
            set(&mut response, &cookie);
        }
        response
    }

    pub(super) async fn enrol(&self, step: &str, asked: &Asked) -> Result<Response, Refused> {
        let (browser, _, _) = self.visits.before(asked);
        self.knocked()?;
        let people = &self.gate.people;
        match step {
            "begin" => {
                let join: wire::Join = asked.json()?;
                let Some(name) = join.name else {
                    let (role, name) =
                        people.meant(&join.code).map_err(|error| refused("console-link", &error))?;
                    return Ok(json(StatusCode::OK, &json!({ "role": role.word(), "name": name })));
                };
                let joining =
                    people.join(&join.code, &name).map_err(|error| refused("console-link", &error))?;
                let challenge = crate::random::bytes();
                let known = people.credentials(joining.name()).map_err(failed)?;
                let options = json!({
                    "rp": { "id": self.site.party.id, "name": "Bailiwick" },
                    "user": { "id": base64url(joining.handle()), "name": joining.name(), "displayName": joining.name() },
                    "challenge": base64url(&challenge),
                    "pubKeyCredParams": ALGORITHMS.map(|alg| json!({ "type": "public-key", "alg": alg })),
                    "excludeCredentials": credentials(&known),
                    "authenticatorSelection": {
                        "residentKey": "required", "requireResidentKey": true, "userVerification": "required"
                    },
                    "attestation": "none",
                    "timeout": CEREMONY_SECONDS_MAX * 1_000,
                });
                let flow = self.ceremonies.begin(Purpose::Join(Box::new(joining)), challenge, &browser);
                Ok(json(StatusCode::OK, &json!({ "flow": flow, "options": options })))
            }
            "finish" => {
                let made: wire::Made = asked.json()?;
                let ceremony = self.ceremonies.end(&made.flow, &browser).ok_or_else(replayed)?;
                let Purpose::Join(joining) = ceremony.purpose else { return Err(replayed()) };
                let made = self
                    .site
                    .party
                    .made(&ceremony.challenge, &made.client_data.0, &made.attestation.0)
                    .map_err(|error| refused("console-passkey", &error.into()))?;
                let person =
                    people.enrol(&joining, made).await.map_err(|error| refused("console-link", &error))?;
                self.come_in(&person).await
            }
            _ => Err(Refused::absent()),
        }
    }

    pub(super) async fn sign_in(&self, step: &str, asked: &Asked) -> Result<Response, Refused> {
        let (browser, _, _) = self.visits.before(asked);
        self.knocked()?;
        match step {
            "begin" => {
                let challenge = crate::random::bytes();
                let options = self.options(&challenge, &[]);
                let flow = self.ceremonies.begin(Purpose::SignIn, challenge, &browser);
                Ok(json(StatusCode::OK, &json!({ "flow": flow, "options": options })))
            }
            "finish" => {
                let used: wire::Used = asked.json()?;
                let ceremony = self.ceremonies.end(&used.flow, &browser).ok_or_else(replayed)?;
                if !matches!(ceremony.purpose, Purpose::SignIn) {
                    return Err(replayed());
                }
                let person = self.recognised(&ceremony.challenge, &used)?;
                self.come_in(&person).await
            }
            _ => Err(Refused::absent()),
        }
    }

    /// What a browser is asked to have signed; by one of `known`, where there are any.
    pub(super) fn options(&self, challenge: &[u8], known: &[Vec<u8>]) -> serde_json::Value {
        json!({
            "challenge": base64url(challenge),
            "rpId": self.site.party.id,
            "allowCredentials": credentials(known),
            "userVerification": "required",
            "timeout": CEREMONY_SECONDS_MAX * 1_000,
        })
    }

    /// Whose passkey answered `challenge`.
    pub(super) fn recognised(&self, challenge: &[u8], used: &wire::Used) -> Result<Person, Refused> {
        let said = Used {
            client_data: &used.client_data.0,
            authenticator_data: &used.authenticator_data.0,
            signature: &used.signature.0,
        };
        let found = self.gate.people.recognise(challenge, &used.credential.0, said);
        found.map_err(|error| refused("console-passkey", &error))
    }

    async fn come_in(&self, person: &Person) -> Result<Response, Refused> {
        self.gate.people.note("signed-in", person).await.map_err(failed)?;
        let mut response = json(StatusCode::OK, &json!({ "name": person.name }));
        set(&mut response, &self.visits.begin(person));
        Ok(response)
    }

    pub(super) async fn sign_out(
        &self,
        asked: &Asked,
        visitor: Option<Visitor>,
    ) -> Result<Response, Refused> {
        let mut response = redirect("/console/sign-in");
        if let Some(visitor) = visitor {
            self.visits.genuine(asked, Some(&visitor))?;
            set(&mut response, &self.visits.end(&visitor));
            self.gate.people.note("signed-out", &visitor.person).await.map_err(failed)?;
        }
        Ok(response)
    }

    /// Counts an attempt to come in.
    fn knocked(&self) -> Result<(), Refused> {
        if self
            .attempts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take(std::time::Instant::now())
        {
            return Ok(());
        }
        let why = "too many attempts to come in; wait a moment";
        Err(Refused::alarming(StatusCode::TOO_MANY_REQUESTS, "console-rate", why))
    }
}

/// A challenge that is unknown, was answered, has lapsed, or belongs to somebody else.
pub(super) fn replayed() -> Refused {
    let why = "this challenge is not open: it was answered already, it lapsed, or it was never given to this browser";
    Refused::alarming(StatusCode::FORBIDDEN, "console-challenge", why)
}

pub(super) fn failed(error: Stranger) -> Refused {
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// A name that is merely taken or misspelled is no attack.
fn refused(rule: &'static str, error: &Stranger) -> Refused {
    match error {
        Stranger::Name(_) | Stranger::Named(_) | Stranger::Taken => {
            Refused::new(StatusCode::CONFLICT, error.to_string())
        }
        Stranger::Store(_) | Stranger::NotRecorded(_) | Stranger::NoConsole => {
            Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
        _ => Refused::alarming(StatusCode::FORBIDDEN, rule, error.to_string()),
    }
}

fn credentials(known: &[Vec<u8>]) -> Vec<serde_json::Value> {
    known.iter().map(|id| json!({ "type": "public-key", "id": base64url(id) })).collect()
}

fn set(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}
