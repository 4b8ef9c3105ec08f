//! Lists as this caller may see them: reviewed tools it could call now, every other entry byte for byte.
//! One malformed entry costs only itself; a definition that changed is quarantined and not shown.

use super::bridge;
use super::downstream::{Downstream, Endpoint, Refusal, locked};
use super::link::{Link, PAGES_MAX, TOOLS_MAX, entries};
use super::upstream::{Era, UpstreamError, meta};
use crate::facts::Scene;
use crate::inventory::Definition;
use crate::wire::frame::{Object, raw};
use judge::tool::ToolName;
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Resources whose server is remembered for one client.
const RESOURCE_HOMES_MAX: usize = 100_000;

impl Downstream {
    /// Answers one of the four list methods.
    pub(super) async fn list(
        self: &Arc<Self>,
        method: &str,
        params: Object,
    ) -> Result<Box<RawValue>, Refusal> {
        let kind = match method {
            "tools/list" => "tools",
            "prompts/list" => "prompts",
            "resources/templates/list" => "resourceTemplates",
            _ => "resources",
        };
        match &self.endpoint {
            Endpoint::One(server) => {
                let link = self.link(server).await?;
                let page = self.page(&link, method, kind, params).await?;
                Ok(bridge::result(page, link.upstream.greeting(), self.era, true).to_raw())
            }
            Endpoint::All => {
                let mut all: Vec<Box<RawValue>> = Vec::new();
                for link in self.reachable().await {
                    let capability = if kind == "resourceTemplates" { "resources" } else { kind };
                    if !link.has(&format!("/{capability}")) {
                        continue;
                    }
                    match self.whole(&link, method, kind).await {
                        Ok(found) => all.extend(found),
                        Err(refusal) => self
                            .alert("list-failed", &format!("server `{}`: {}", link.server, refusal.message)),
                    }
                }
                if kind == "tools" {
                    all.extend(self.own_tools());
                }
                let mut result = Object::default().with(kind, raw(all));
                if self.era == Era::Modern {
                    result.set("resultType", raw("complete"));
                    bridge::uncached(&mut result);
                    let about = json!({ meta::SERVER: { "name": "bailiwick", "version": env!("CARGO_PKG_VERSION") } });
                    result.set("_meta", raw(about));
                }
                Ok(result.to_raw())
            }
        }
    }

    /// Every page of one server's list, names prefixed.
    async fn whole(
        self: &Arc<Self>,
        link: &Arc<Link>,
        method: &str,
        kind: &str,
    ) -> Result<Vec<Box<RawValue>>, Refusal> {
        let mut all = Vec::new();
        let mut params = Object::default();
        for _ in 0..PAGES_MAX {
            let page = self.page(link, method, kind, params).await?;
            for entry in entries(&page, kind) {
                all.push(self.homed(link, kind, entry));
            }
            match page.get("nextCursor").filter(|raw| raw.get() != "null") {
                Some(cursor) => params = Object::default().with("cursor", cursor.to_owned()),
                None => return Ok(all),
            }
        }
        Err(UpstreamError::Broken(format!("its list has more than {PAGES_MAX} pages")).into())
    }

    /// An entry under its name in the endpoint of all servers; resources keep theirs and are remembered.
    fn homed(&self, link: &Link, kind: &str, entry: Box<RawValue>) -> Box<RawValue> {
        let Some(object) = Object::inside(&entry) else { return entry };
        match kind {
            "tools" | "prompts" => {
                let name = format!("{}__{}", link.server, object.text("name").unwrap_or_default());
                object.with("name", raw(name)).to_raw()
            }
            _ => {
                let mut homes = locked(&self.resource_homes);
                if let Some(uri) = object.text("uri").filter(|_| homes.len() < RESOURCE_HOMES_MAX) {
                    // A resource that two servers claim belongs to neither.
                    let home = homes.entry(uri).or_insert_with(|| link.server.clone());
                    if *home != link.server {
                        home.clear();
                    }
                }
                entry
            }
        }
    }

    /// One page of one server's list, filtered.
    async fn page(
        self: &Arc<Self>,
        link: &Arc<Link>,
        method: &str,
        kind: &str,
        params: Object,
    ) -> Result<Object, Refusal> {
        // A list is the protocol's own business and nobody decides on it, so nothing of the client's goes with it but a
        // cursor that this very server gave out.
        let cursor = params.text("cursor");
        if let Some(cursor) = cursor.as_deref().filter(|cursor| !link.gave_cursor(cursor)) {
            let shown: String = cursor.chars().take(80).collect();
            return Err(Refusal::new(super::INVALID_PARAMS, format!("`{shown}` is no cursor of this list")));
        }
        let is_first = cursor.is_none();
        let own = cursor.map(|cursor| Object::default().with("cursor", raw(cursor)));
        let answer = link.plumb(method, own).await?;
        if let Some(error) = answer.object("error") {
            let error = bridge::error(error, link.era(), self.era);
            return Err(Refusal::passed_on(&error));
        }
        let mut page = answer
            .object("result")
            .ok_or_else(|| UpstreamError::Broken("its list is no object".to_owned()))?;
        if let Some(cursor) = page.text("nextCursor") {
            link.note_cursor(cursor);
        }
        if kind == "tools" {
            let is_whole = is_first && page.get("nextCursor").is_none();
            let shown = self.reviewed(link, entries(&page, kind), is_whole).await;
            page.set(kind, raw(shown));
            if link.era() == Era::Modern {
                bridge::uncached(&mut page);
            }
        }
        Ok(page)
    }

    /// The entries that are the reviewed tools and that this caller could call now.
    async fn reviewed(&self, link: &Link, listed: Vec<Box<RawValue>>, is_whole: bool) -> Vec<Box<RawValue>> {
        let rules = self.gate.rules();
        let scene = Scene::default();
        let mut shown = Vec::new();
        let mut definitions = Vec::new();
        let mut quarantined = Vec::new();
        let mut malformed: Vec<String> = Vec::new();
        {
            let facts = scene.look(&self.gate, &self.session);
            for entry in listed.into_iter().take(TOOLS_MAX) {
                let definition = match Definition::read(&entry) {
                    Ok(definition) => definition,
                    Err(why) => {
                        malformed.push(why);
                        continue;
                    }
                };
                let name = ToolName { server: link.server.clone(), tool: definition.name.clone() };
                match rules.inventory.tool(&name) {
                    Some(tool) if tool.digest == definition.digest => {
                        if rules.policy.may_call(
                            tool,
                            self.session.principal(),
                            &facts.borrow(judge::flow::Provenance::blank()),
                        ) {
                            shown.push(entry);
                        }
                    }
                    Some(_) => quarantined.push((definition.clone(), "its definition changed")),
                    None => quarantined.push((definition.clone(), "nobody has reviewed it")),
                }
                definitions.push(definition);
            }
        }
        if let Some(first) = malformed.first() {
            let count = malformed.len();
            self.alert(
                "malformed-tools",
                &format!("server `{}`: {count} left out, the first because {first}", link.server),
            );
        }
        self.gate.quarantine(&link.server, quarantined).await;
        link.remember(&definitions, is_whole);
        shown
    }
}
