//! How a client is greeted, in both eras: what there is, and what models are told before anything else.
//! Instructions of servers that nobody reviewed are never passed on.

use super::bridge;
use super::downstream::{Downstream, Endpoint, Refusal};
use super::link::Link;
use super::upstream::{Era, MODERN, meta};
use crate::wire::frame::{Object, raw};
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;

impl Downstream {
    pub(super) async fn initialize(self: &Arc<Self>, params: &Object) -> Result<Box<RawValue>, Refusal> {
        let asked = params.text("protocolVersion").unwrap_or_default();
        match &self.endpoint {
            Endpoint::One(server) => {
                let link = self.link(server).await?;
                let greeting = bridge::initialized(link.upstream.greeting(), &asked);
                Ok(self.instructed(&link, greeting).to_raw())
            }
            Endpoint::All => {
                let links = self.reachable().await;
                let capabilities = self.capabilities(&links);
                let mut greeting = json!({
                    "protocolVersion": bridge::spoken(&asked),
                    "capabilities": capabilities,
                    "serverInfo": { "name": "bailiwick", "version": env!("CARGO_PKG_VERSION") },
                });
                if let Some(words) = self.about_marks(None) {
                    greeting["instructions"] = words.into();
                }
                Ok(raw(greeting))
            }
        }
    }

    pub(super) async fn discover(self: &Arc<Self>) -> Result<Box<RawValue>, Refusal> {
        match &self.endpoint {
            Endpoint::One(server) => {
                let link = self.link(server).await?;
                let found = bridge::discovered(link.upstream.greeting());
                Ok(self.instructed(&link, found).to_raw())
            }
            Endpoint::All => {
                let links = self.reachable().await;
                let capabilities = self.capabilities(&links);
                let mut found = json!({
                    "resultType": "complete", "supportedVersions": [MODERN], "capabilities": capabilities,
                    "ttlMs": 0, "cacheScope": "private",
                    "_meta": { meta::SERVER: { "name": "bailiwick", "version": env!("CARGO_PKG_VERSION") } },
                });
                if let Some(words) = self.about_marks(None) {
                    found["instructions"] = words.into();
                }
                Ok(raw(found))
            }
        }
    }

    /// A greeting whose instructions are the reviewed ones, and ours about the marks: instructions are read by models.
    fn instructed(&self, link: &Link, mut greeting: Object) -> Object {
        let text = greeting.text("instructions");
        let is_reviewed = text.as_ref().is_some_and(|text| {
            let digest = judge::digest::hex(text.as_bytes());
            let rules = self.gate.rules();
            rules.lock.servers.get(&link.server).is_some_and(|server| server.instructions == digest)
        });
        if !is_reviewed {
            greeting.remove("instructions");
        }
        if text.is_some() && !is_reviewed {
            self.alert(
                "instructions-changed",
                &format!("server `{}` gives instructions nobody reviewed; withheld", link.server),
            );
        }
        if let Some(ours) = self.about_marks(Some(&link.server)) {
            let words = text.filter(|_| is_reviewed).map_or(ours.clone(), |text| format!("{text}\n\n{ours}"));
            greeting.set("instructions", raw(words));
        }
        greeting
    }

    /// What a model is told about marks. A client may keep what it discovered for its next session, so no session is named in it.
    fn about_marks(&self, server: Option<&str>) -> Option<String> {
        let words = crate::marks::preamble(&self.gate, &self.session, server)?;
        Some(if self.era == Era::Modern { judge::spotlight::PREAMBLE.to_owned() } else { words })
    }
}
