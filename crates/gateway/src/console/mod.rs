//! The web console: people look at what the gate does, and answer what waits for a person.
//! Everything shown came from attackers, and every request may: nothing is shown as markup, and nothing granted without a passkey.

mod alerts;
mod answer;
mod approvals;
mod ceremony;
mod chronicle;
mod door;
mod guard;
mod inventory;
mod live;
mod page;
mod people;
mod pictures;
mod policy;
mod posture;
mod records;
mod sessions;
mod shape;
mod shown;
mod visit;

use crate::alarms::Room;
use crate::gate::Gate;
use crate::people::{Person, Role, Site};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use ceremony::Ceremonies;
use chronicle::Chronicle;
use guard::Asked;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use maud::Markup;
use shown::Shown;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use visit::{Visitor, Visits};

/// Live streams at once.
const STREAMS_CONNECTIONS_MAX: usize = 32;
/// Attempts to come in that may be made at once; each step is one, and there is room for another every two seconds.
const ATTEMPTS_MAX: u32 = 60;

/// The console of one gate.
pub(crate) struct Console {
    gate: Arc<Gate>,
    site: Site,
    visits: Visits,
    ceremonies: Ceremonies,
    shown: Shown,
    streams: Arc<Semaphore>,
    /// Attempts to come in.
    attempts: Mutex<Room>,
    chronicle: Arc<Chronicle>,
    /// What the host was found to hold.
    measured: posture::Measured,
}

/// The pages of `gate`, as browsers ask for them at `site`.
pub fn router(gate: Arc<Gate>, site: Site) -> Router {
    let chronicle = Arc::new(Chronicle::new(gate.clone()));
    let earlier = chronicle.clone();
    // A long journal is gone through before the first page is asked for.
    tokio::task::spawn_blocking(move || earlier.reader().map(drop));
    let console = Arc::new(Console {
        chronicle,
        measured: posture::Measured::default(),
        visits: Visits::new(&site),
        ceremonies: Ceremonies::default(),
        shown: Shown::new(gate.clone()),
        streams: Arc::new(Semaphore::new(STREAMS_CONNECTIONS_MAX)),
        attempts: Mutex::new(Room::new(ATTEMPTS_MAX, Duration::from_secs(2))),
        gate,
        site,
    });
    let paths = ["/console", "/console/", "/console/{*path}"];
    paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(serve))).with_state(console)
}

/// Why a request is not answered as it asked.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    /// The rule that was broken, where somebody should know.
    rule: Option<&'static str>,
    why: String,
}

impl Refused {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, rule: None, why: why.into() }
    }

    /// One that leaves an alert under `rule`.
    fn alarming(status: StatusCode, rule: &'static str, why: impl Into<String>) -> Self {
        Self { status, rule: Some(rule), why: why.into() }
    }

    fn absent() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is nothing here.")
    }
}

async fn serve(State(console): State<Arc<Console>>, request: Request) -> Response {
    let head = guard::Head::of(&request);
    let mut response = match console.answered(request).await {
        Ok(response) => response,
        Err(refused) => {
            if let Some(rule) = refused.rule {
                console.gate.alarms.raise(rule, &format!("{}: {head}", refused.why));
            }
            if head.is_scripted {
                json(refused.status, &serde_json::json!({ "error": refused.why }))
            } else {
                html(refused.status, page::plain("Not here", &refused.why))
            }
        }
    };
    guard::seal(&mut response);
    response
}

impl Console {
    async fn answered(self: &Arc<Self>, request: Request) -> Result<Response, Refused> {
        if let Some(moved) = guard::admit(&self.site, &request)? {
            return Ok(moved);
        }
        let asked = Asked::read(request).await?;
        let path = asked.path();
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let visitor = self.visits.visitor(&self.gate.people, self.gate.history.now(), &asked)?;
        match (&asked.method, parts.as_slice()) {
            (&Method::GET, ["console.css" | "console.js" | "icon.svg"]) => Ok(page::asset(parts[0])),
            (&Method::GET, ["sign-in"]) => self.sign_in_page(&asked, visitor.as_ref()),
            (&Method::GET, ["enrol"]) => self.enrol_page(&asked),
            (&Method::POST, [door @ ("enrol" | "sign-in"), step]) => {
                self.visits.genuine(&asked, None)?;
                if *door == "enrol" {
                    self.enrol(step, &asked).await
                } else {
                    self.sign_in(step, &asked).await
                }
            }
            (&Method::GET, _) => {
                let Some(visitor) = visitor else { return Ok(self.to_door(&asked)) };
                if parts == ["posture"] {
                    return self.posture(&visitor).await;
                }
                // Reading the journal and searching what is shown takes its time, and not that of calls.
                crate::screen::aside(usize::MAX, || self.page(&asked, &visitor, &parts))
            }
            (_, ["sign-out"]) => self.sign_out(&asked, visitor).await,
            (_, _) => {
                let stale = "nobody is signed in here, or not any more; sign in again";
                let visitor = visitor
                    .ok_or_else(|| Refused::alarming(StatusCode::UNAUTHORIZED, "console-session", stale))?;
                self.visits.genuine(&asked, Some(&visitor))?;
                self.act(&asked, &visitor, &parts).await
            }
        }
    }

    /// What is only looked at.
    fn page(self: &Arc<Self>, asked: &Asked, visitor: &Visitor, parts: &[&str]) -> Result<Response, Refused> {
        match parts {
            [] => Ok(redirect("/console/approvals")),
            ["approvals"] => self.approvals(asked, visitor),
            ["approvals", id] => self.approval(visitor, id),
            ["events"] => self.events(asked),
            ["sessions"] => self.sessions(asked, visitor),
            ["sessions", name] => self.session(asked, visitor, name),
            ["journal"] => self.journal(asked, visitor),
            ["journal", index] => self.record(visitor, index),
            ["inventory"] => self.inventory(asked, visitor),
            ["inventory", server, tool] => self.tool(visitor, server, tool),
            ["policy"] => self.policy(asked, visitor),
            ["alerts"] => self.alerts_page(asked, visitor),
            ["people"] => self.people(visitor),
            _ => Err(Refused::absent()),
        }
    }

    /// What changes something.
    async fn act(&self, asked: &Asked, visitor: &Visitor, parts: &[&str]) -> Result<Response, Refused> {
        match parts {
            ["approvals", id, "challenge"] => self.challenge(asked, visitor, id),
            ["approvals", id, "grant"] => self.grant(asked, visitor, id).await,
            ["approvals", id, "refuse"] => self.refuse(asked, visitor, id).await,
            ["people", "challenge"] => self.people_challenge(asked, visitor),
            ["people", "grant"] => self.people_changed(asked, visitor).await,
            ["policy"] => self.policy(asked, visitor),
            _ => Err(Refused::absent()),
        }
    }
}

/// Somebody of at least this role; anybody else leaves an alert.
fn need(person: &Person, role: Role) -> Result<(), Refused> {
    if person.role >= role {
        return Ok(());
    }
    let why = format!("{} is a {} and tried what takes a {}", person.name, person.role.word(), role.word());
    Err(Refused::alarming(StatusCode::FORBIDDEN, "console-role", why))
}

fn html(status: StatusCode, page: Markup) -> Response {
    let mut response = (status, page.into_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    let mut response = (status, value.to_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn redirect(path: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}
