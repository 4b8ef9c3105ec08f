//! Signed webhooks: questions go out to where people are, and signed answers come back, after Standard Webhooks 1.0 (HMAC-SHA-256
//! over `id.timestamp.body`). Whoever holds the secret is believed; nothing an agent can reach holds it.

use crate::adapters::mcp::http::names;
use crate::approvers::{Answer, By};
use crate::clock;
use crate::config::approvals::Webhook;
use crate::gate::Gate;
use crate::screen::Hidden;
use crate::wire::approval::{Approval, Wanted};
use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use judge::approval::Approver;
use serde::Deserialize;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How old a message may be, or how far ahead its clock, in seconds.
const SKEW_SECONDS_MAX: i64 = 300;
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for a receiver, in seconds.
const SEND_SECONDS_MAX: u64 = 10;
/// When a message that was not taken is sent again, in seconds after the one before.
const AGAIN_SECONDS: [u64; 4] = [1, 5, 25, 120];
/// Messages on their way at once; a further one waits.
const SENDING_MAX: usize = 16;
/// Answers remembered so that none counts twice.
const SEEN_MAX: usize = 10_000;
/// Longest name of a message, in bytes.
const ID_BYTES_MAX: usize = 128;
/// Signatures of one message that are tried: a receiver that changes its key sends two.
const SIGNATURES_ENTRIES_MAX: usize = 8;
/// Questions remembered as sent.
const SENT_MAX: usize = 10_000;

/// What comes back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Returned {
    /// Which approval.
    approval: String,
    /// The digest of the request that was shown: what is answered is what was seen.
    request_digest: String,
    /// `grant` or `refuse`.
    answer: String,
    /// Who answered, as the receiver knows them.
    by: String,
    /// Why, in words for the agent.
    #[serde(default)]
    reason: String,
    /// More calls like it.
    #[serde(default)]
    more: Option<Wanted>,
}

/// Sends every question to every webhook for as long as the runtime lives.
pub fn send(gate: &Arc<Gate>) {
    if gate.config.approvals.webhook.is_empty() {
        return;
    }
    let gate = gate.clone();
    tokio::spawn(async move {
        let http = match crate::adapters::mcp::upstream::http_client(&gate.config.gate.authorities) {
            Ok(http) => http,
            Err(why) => return tracing::error!("no webhook can be sent: {why}"),
        };
        let places = Arc::new(tokio::sync::Semaphore::new(SENDING_MAX));
        let mut changes = gate.approvers.changes();
        let (mut sent, mut order) = (HashSet::new(), VecDeque::new());
        loop {
            for approval in gate.approvers.list().unwrap_or_default() {
                if approval.state != "pending" || !sent.insert(approval.id.clone()) {
                    continue;
                }
                order.push_back(approval.id.clone());
                if order.len() > SENT_MAX
                    && let Some(oldest) = order.pop_front()
                {
                    sent.remove(&oldest);
                }
                for webhook in &gate.config.approvals.webhook {
                    let Ok(place) = places.clone().acquire_owned().await else { return };
                    let (gate, http) = (gate.clone(), http.clone());
                    let (webhook, approval) = (webhook.clone(), approval.clone());
                    tokio::spawn(async move {
                        deliver(&gate, &http, &webhook, &approval).await;
                        drop(place);
                    });
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}

async fn deliver(gate: &Gate, http: &reqwest::Client, webhook: &Webhook, approval: &Approval) {
    let mut data = serde_json::to_value(approval).unwrap_or_default();
    // What is told to somebody outside passes the filter like everything that leaves.
    let hidden = Hidden::new();
    each_text(&mut data, &|text| gate.screen.said(&hidden, text));
    let question = serde_json::json!({ "type": "approval.asked", "timestamp": clock::stamp(), "data": data });
    let body = question.to_string();
    let mut why = String::new();
    for wait in std::iter::once(0).chain(AGAIN_SECONDS) {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        if gate.approvers.show(&approval.id).map_or(true, |now| now.state != "pending") {
            return;
        }
        match post_once(gate, http, webhook, &approval.id, &body).await {
            Ok(()) => return,
            Err(error) => why = error,
        }
    }
    gate.alarms
        .raise("webhook-unreachable", &format!("`{}` was not told of {}: {why}", webhook.name, approval.id));
}

async fn post_once(
    gate: &Gate,
    http: &reqwest::Client,
    webhook: &Webhook,
    id: &str,
    body: &str,
) -> Result<(), String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret(gate, webhook).await?);
    let now = clock::seconds().to_string();
    let signature = STANDARD.encode(hmac::sign(&key, format!("{id}.{now}.{body}").as_bytes()));
    let sending = http
        .post(&webhook.url)
        .timeout(Duration::from_secs(SEND_SECONDS_MAX))
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", &now)
        .header("webhook-signature", format!("v1,{signature}"))
        .body(body.to_owned())
        .send();
    let answered = sending.await.map_err(|error| error.without_url().to_string())?;
    match answered.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answered with HTTP {}", status.as_u16())),
    }
}

/// What a webhook signs with: its secret as text, or the bytes behind `whsec_`, as Standard Webhooks writes one.
async fn secret(gate: &Gate, webhook: &Webhook) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    let name = vault::SecretName::new(&webhook.secret).map_err(|error| error.to_string())?;
    let value = gate.secrets.value(&name).await?;
    let text = value.trim();
    let bytes = match text.strip_prefix("whsec_") {
        Some(encoded) => zeroize::Zeroizing::new(
            STANDARD.decode(encoded).map_err(|_| format!("secret `{name}` is no base64 after `whsec_`"))?,
        ),
        None => zeroize::Zeroizing::new(text.as_bytes().to_vec()),
    };
    Ok(bytes)
}

/// An answer as it came: its headers and body may be anybody's.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub at: &'a str,
    /// `webhook-signature`: several, with spaces between.
    pub signatures: &'a str,
    /// The body, as it was signed.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// Whether it says that it was sent about `now`, and has a name.
    pub fn is_fresh(&self, now: i64) -> bool {
        let age = self.at.parse::<i64>().ok().map(|at| now.saturating_sub(at).saturating_abs());
        !self.id.is_empty() && self.id.len() <= ID_BYTES_MAX && age.is_some_and(|age| age <= SKEW_SECONDS_MAX)
    }

    /// Whether whoever holds `secret` signed it.
    pub fn is_signed(&self, secret: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut signed = format!("{}.{}.", self.id, self.at).into_bytes();
        signed.extend_from_slice(self.body);
        let offered = self.signatures.split(' ').take(SIGNATURES_ENTRIES_MAX);
        let mut offered = offered.filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        offered.any(|offered| hmac::verify(&key, &signed, &offered).is_ok())
    }
}

/// Takes answers in.
struct Answers {
    gate: Arc<Gate>,
    hosts: Vec<String>,
    seen: Mutex<(HashSet<String>, VecDeque<String>)>,
}

/// The route answers come back to: `POST /approvals/answer`, for who asks for one of `hosts`.
pub fn router(gate: Arc<Gate>, hosts: Vec<String>) -> Router {
    let answers = Arc::new(Answers { gate, hosts, seen: Mutex::default() });
    Router::new()
        .route("/approvals/answer", post(answer))
        .layer(DefaultBodyLimit::max(ANSWER_BYTES_MAX))
        .with_state(answers)
}

async fn answer(
    State(answers): State<Arc<Answers>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    match answers.take(&headers, &body).await {
        Ok(approval) => (StatusCode::OK, serde_json::json!({ "state": approval.state }).to_string()),
        Err((status, why)) => {
            if status != StatusCode::CONFLICT {
                answers.gate.alarms.raise("webhook-answer-refused", &why);
            }
            (status, serde_json::json!({ "error": why }).to_string())
        }
    }
}

impl Answers {
    async fn take(&self, headers: &HeaderMap, body: &[u8]) -> Result<Approval, (StatusCode, String)> {
        let forbidden = |why: &str| (StatusCode::FORBIDDEN, why.to_owned());
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = text("host");
        if !names(host, &self.hosts) {
            return Err(forbidden("this host name is not the gate's"));
        }
        // A browser never answers: whatever page it shows has no business here.
        if headers.contains_key("origin") {
            return Err(forbidden("answers do not come from web pages"));
        }
        let (id, at, signatures) = (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"));
        let message = Message { id, at, signatures, body };
        if !message.is_fresh(clock::seconds()) {
            return Err(forbidden("`webhook-id` is missing, or `webhook-timestamp` is not now"));
        }
        let webhook = self.signer(&message).await;
        let webhook = webhook.ok_or_else(|| forbidden("no webhook that may answer signed this"))?;
        if !self.is_first(id) {
            return Err(forbidden("this answer was sent before"));
        }
        let malformed = |why: String| (StatusCode::BAD_REQUEST, why);
        let returned: Returned =
            serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        let Returned { approval, request_digest, answer, by, reason, more } = returned;
        let shown = self.gate.approvers.show(&approval);
        let shown = shown.map_err(|error| (StatusCode::NOT_FOUND, error.to_string()))?;
        if shown.request_digest != request_digest {
            return Err(malformed("`request_digest` is not that of this approval".to_owned()));
        }
        let answer = match answer.as_str() {
            "grant" => Answer::Grant { more },
            "refuse" => Answer::Refuse { reason },
            other => {
                return Err(malformed(format!("`{}` is neither `grant` nor `refuse`", other.escape_debug())));
            }
        };
        let name: String = by.chars().filter(|c| !c.is_control()).take(64).collect();
        // The receiver vouches for who it was; for the rule of two it is one person.
        let who = Approver { name, identity: format!("webhook {}", webhook.name) };
        let answered = self.gate.approvers.answer(&approval, answer, By { who, channel: "webhook" }).await;
        answered.map_err(|error| (StatusCode::CONFLICT, error.to_string()))
    }

    /// The webhook whose answers count and whose secret signed this.
    async fn signer(&self, message: &Message<'_>) -> Option<&Webhook> {
        for webhook in self.gate.config.approvals.webhook.iter().filter(|webhook| webhook.answers) {
            let Ok(secret) = secret(&self.gate, webhook).await else { continue };
            if message.is_signed(&secret) {
                return Some(webhook);
            }
        }
        None
    }

    fn is_first(&self, id: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *seen;
        if !known.insert(id.to_owned()) {
            return false;
        }
        order.push_back(id.to_owned());
        if order.len() > SEEN_MAX
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }
}

fn each_text(value: &mut serde_json::Value, said: &impl Fn(&str) -> String) {
    use serde_json::Value;
    match value {
        Value::String(text) => *text = said(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, said)),
        Value::Object(members) => members.values_mut().for_each(|member| each_text(member, said)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
