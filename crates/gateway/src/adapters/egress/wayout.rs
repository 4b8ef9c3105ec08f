//! Answers for one sandbox: which names exist, and whether one request or connection may go. Every yes is in the journal
//! before it is given, and every no leaves a record or an alert.

use super::alerts::Alerts;
use super::context::Context;
use super::exchange::{Budget, Passage};
use super::guarded::Guarded;
use crate::config::Confinement;
use crate::config::reach::Destination;
use crate::facts::Scene;
use crate::gate::Gate;
use crate::pipeline::{self, Stop};
use crate::session::Session;
use egress::{Admitted, Answer, Attempt, Authority, Name, Refusal, Refused, Route, What};
use http::request::Parts;
use judge::request::tree::Tree;
use judge::tool::{EGRESS, EGRESS_CONNECT, EGRESS_READ, EGRESS_WRITE, ToolName};
use std::sync::Arc;
use vault::Wallet;

/// Methods that only read (RFC 9110, section 9.2.1).
const SAFE_METHODS: [http::Method; 4] =
    [http::Method::GET, http::Method::HEAD, http::Method::OPTIONS, http::Method::TRACE];

/// On whose behalf a sandbox runs.
pub struct Owner {
    /// The session it belongs to.
    pub session: Session,
    /// What runs in it, in the words that policies know: `server NAME`, `shell`, `sandbox`.
    pub from: String,
}

/// The way out of one sandbox.
pub struct WayOut {
    gate: Arc<Gate>,
    owner: Owner,
    destinations: Vec<Destination>,
    wallet: Arc<Wallet>,
    budget: Arc<Budget>,
    alerts: Arc<Alerts>,
    guarded: Arc<Guarded>,
    context: Arc<Context>,
}

impl WayOut {
    /// # Errors
    /// As [`Context::new`].
    pub(super) fn new(
        gate: Arc<Gate>,
        owner: Owner,
        destinations: Vec<Destination>,
        wallet: Arc<Wallet>,
        settings: &Confinement,
    ) -> Result<Self, String> {
        let budget = Arc::new(Budget::new(settings.requests_per_minute, settings.network_mib));
        let alerts = Arc::new(Alerts::new(gate.clone(), owner.session.id(), &owner.from));
        let guarded = Arc::new(Guarded::new(gate.clone(), wallet.clone()));
        let context =
            Context::new(&gate, owner.session.id(), &destinations, alerts.clone(), guarded.clone())?;
        let context = Arc::new(context);
        Ok(Self { gate, owner, destinations, wallet, budget, alerts, guarded, context })
    }

    pub(super) fn context(&self) -> Arc<Context> {
        self.context.clone()
    }

    fn destination(&self, name: &Name, port: u16) -> Option<&Destination> {
        self.destinations.iter().find(|it| it.port == port && it.covers(name.as_str()))
    }

    async fn judge(&self, attempt: Attempt) -> Result<Admitted, Refused> {
        let Attempt { name, port, what } = attempt;
        self.budget.request().map_err(Refused)?;
        let (tool, arguments) = match &what {
            What::Request { tls, head, body_bytes, .. } => {
                let tool = if SAFE_METHODS.contains(&head.method) { EGRESS_READ } else { EGRESS_WRITE };
                (tool, self.request(&name, port, *tls, head, *body_bytes))
            }
            What::Connection { tls } => (EGRESS_CONNECT, self.connection(&name, port, *tls)),
        };
        let call =
            self.owner.session.call(ToolName { server: EGRESS.to_owned(), tool: tool.to_owned() }, arguments);
        let admitted = pipeline::admit(&self.gate, &self.owner.session, call, &Scene::default()).await;
        let (permit, receipt) = match admitted {
            Ok(admitted) => admitted,
            Err(Stop::Denied(denied)) => {
                return Err(Refused(format!("{} (record {})", denied.why, denied.call)));
            }
            Err(Stop::Failed(failed)) => return Err(Refused(failed.detail)),
            Err(Stop::Deferred(approval)) => {
                return Err(Refused(format!("approval {approval} waits for an answer")));
            }
        };
        let (budget, wallet) = (self.budget.clone(), self.wallet.clone());
        let passage = Passage::new(receipt, budget, wallet, self.guarded.clone(), self.alerts.clone());
        match what {
            What::Connection { .. } => {
                // Spent on this one connection.
                drop(permit);
                Ok(Admitted { head: None, exchange: Box::new(passage) })
            }
            What::Request { tls, head, body, .. } => {
                let to = vault::Destination::new(name.as_str(), port, tls);
                let context = self.context.is_model(&name, port).then_some(&self.context);
                let (head, passage) = passage.dressed(permit, to, head, body.as_deref(), context).await?;
                Ok(Admitted { head: Some(head), exchange: Box::new(passage) })
            }
        }
    }

    /// What the judge is told of a request.
    fn request(&self, name: &Name, port: u16, tls: bool, head: &Parts, body_bytes: Option<u64>) -> Tree {
        let scheme = if tls { "https" } else { "http" };
        let text = |text: &str| Tree::Text(text.to_owned());
        let length = |bytes: u64| Tree::Integer(i64::try_from(bytes).unwrap_or(i64::MAX));
        let mut headers: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
        headers.sort_unstable();
        let secrets = self.wallet.named_in(&vault::Destination::new(name.as_str(), port, tls), head);
        let mut members = vec![
            ("from", text(&self.owner.from)),
            ("method", text(head.method.as_str())),
            ("url", Tree::Text(format!("{scheme}://{name}:{port}{}", head.uri.path()))),
            ("headers", Tree::List(headers.into_iter().map(text).collect())),
            ("carries", Tree::List(secrets.iter().map(|name| text(name.as_str())).collect())),
        ];
        if let Some(query) = head.uri.query() {
            members.push(("query_bytes", length(query.len() as u64)));
        }
        members.extend(body_bytes.map(|bytes| ("body_bytes", length(bytes))));
        tree(members)
    }

    fn connection(&self, name: &Name, port: u16, tls: bool) -> Tree {
        tree(vec![
            ("from", Tree::Text(self.owner.from.clone())),
            ("host", Tree::Text(name.to_string())),
            ("port", Tree::Integer(i64::from(port))),
            ("tls", Tree::Bool(tls)),
        ])
    }
}

fn tree(members: Vec<(&str, Tree)>) -> Tree {
    Tree::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

impl Authority for WayOut {
    fn knows(&self, name: &Name) -> bool {
        self.destinations.iter().any(|it| it.covers(name.as_str()))
    }

    fn route(&self, name: &Name, port: u16) -> Option<Route> {
        self.destination(name, port).map(super::route)
    }

    fn wants_body(&self, head: &Parts) -> Option<usize> {
        self.wallet.wants_body(head).then_some(vault::BODY_FIELD_BYTES_MAX)
    }

    fn admit(&self, attempt: Attempt) -> Answer<'_, Result<Admitted, Refused>> {
        Box::pin(self.judge(attempt))
    }

    fn refused(&self, refusal: &Refusal) {
        let Refusal { name, port, why } = refusal;
        let mut place = name.clone().unwrap_or_else(|| "an address".to_owned());
        if let Some(port) = port {
            place.push_str(&format!(":{port}"));
        }
        // Most reasons name the place by themselves.
        let said = name.as_ref().is_some_and(|name| why.contains(name.as_str()));
        let detail = if said { why.clone() } else { format!("{place}: {why}") };
        self.alerts.raise("egress-refused", &detail);
    }
}
