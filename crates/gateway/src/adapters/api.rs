//! What agents that speak no MCP ask of the gate over HTTP: which phase they are in, and for another. Whoever asks is behind the same
//! token as MCP clients; asking for more is a call that is judged, and nothing here takes a phase or grants one.

use crate::facts::{Patience, Scene};
use crate::gate::Gate;
use crate::phases::{self, Unmoved};
use crate::pipeline::Stop;
use crate::session::Session;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use judge::request::tree::Tree;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Longest body, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long it may take, in seconds.
const BODY_SECONDS_MAX: u64 = 20;
/// Longest name of one asking, in bytes.
const ID_BYTES_MAX: usize = 128;

/// A phase that is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Its name.
    to: String,
    /// Why, for whoever is asked.
    #[serde(default)]
    why: Option<String>,
    /// Names this asking; asked again under the same name, it finds its answer.
    #[serde(default)]
    id: String,
    /// Whether the answer may take as long as a person takes; otherwise it is asked again later.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// `GET /phases` says where the conversation `name` stands, `POST /phases` asks for another phase.
pub(crate) async fn phases(gate: &Arc<Gate>, name: Option<String>, request: Request) -> Response {
    let Some(name) = name else {
        return refused(
            StatusCode::BAD_REQUEST,
            "say which conversation in the header `Bailiwick-Conversation`",
        );
    };
    match *request.method() {
        Method::GET => match gate.conversation(Some(&name)) {
            Ok(conversation) => told(StatusCode::OK, &gate.phases(&[conversation])),
            Err(error) => refused(StatusCode::NOT_FOUND, &error.to_string()),
        },
        Method::POST => ask(gate, &name, request).await.unwrap_or_else(|refused| refused),
        _ => refused(StatusCode::METHOD_NOT_ALLOWED, "GET says where you are, POST asks for another phase"),
    }
}

#[allow(clippy::result_large_err, reason = "a refusal is the response itself, made once per request")]
async fn ask(gate: &Arc<Gate>, name: &str, request: Request) -> Result<Response, Response> {
    let malformed = |why: &str| refused(StatusCode::BAD_REQUEST, why);
    let reading = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX);
    let body = tokio::time::timeout(Duration::from_secs(BODY_SECONDS_MAX), reading)
        .await
        .map_err(|_| refused(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))?
        .map_err(|_| refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"))?;
    let Asked { to, why, id, wait } = serde_json::from_slice(&body).map_err(|error| {
        malformed(&format!("send {{\"to\": PHASE}} and perhaps `why`, `id`, `wait`: {error}"))
    })?;
    if id.len() > ID_BYTES_MAX {
        return Err(malformed("`id` is too long"));
    }
    let mut arguments = json!({ "to": to });
    if let Some(why) = why {
        arguments["why"] = why.into();
    }
    let arguments =
        Tree::parse(arguments.to_string().as_bytes()).map_err(|error| malformed(&error.to_string()))?;
    let conversation = gate.conversations.named(name);
    let session = Session::new(gate.principal(), "http", conversation.clone());
    let _open = gate.open_session(&session, "HTTP", "");
    let patience = if wait { Patience::Hold } else { Patience::Defer };
    let scene = Scene { patience, client_call: id, ..Scene::default() };
    let call = session.call(phases::name(), arguments);
    match phases::go(gate, &session, &to, call, &scene).await {
        Ok(()) => Ok(told(StatusCode::OK, &conversation.phase_now())),
        Err(Unmoved::Unknown(error)) => Err(malformed(&error.to_string())),
        Err(Unmoved::Stopped(Stop::Deferred(approval))) => {
            Ok(told(StatusCode::ACCEPTED, &json!({ "approval": approval })))
        }
        Err(Unmoved::Stopped(Stop::Denied(denied))) => {
            Err(refused(StatusCode::FORBIDDEN, &format!("{} (record {})", denied.why, denied.call)))
        }
        Err(Unmoved::Stopped(Stop::Failed(failed))) => Err(broken(&failed.detail)),
        Err(Unmoved::Failed(error)) => Err(broken(&error.to_string())),
    }
}

fn broken(why: &str) -> Response {
    refused(StatusCode::INTERNAL_SERVER_ERROR, why)
}

fn refused(status: StatusCode, why: &str) -> Response {
    told(status, &json!({ "error": why }))
}

fn told(status: StatusCode, what: &impl serde::Serialize) -> Response {
    let text = serde_json::to_string(what).unwrap_or_default();
    let mut response = (status, text).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
