//! Looks at a server as it is now, on the operator's behalf: lists its tools, calls none of them.
//! What it finds is compared with what was reviewed; accepting is a person's act.

use super::lock::{Lock, Reviewed};
use super::{Definition, definition, propose};
use crate::adapters::mcp::link::{PAGES_MAX, entries};
use crate::adapters::mcp::upstream::{Client, Era, Host, INBOX_MESSAGES_MAX, Upstream, UpstreamError};
use crate::config::{Config, Place, Server};
use crate::session::Session;
use crate::solo::{self, Solo};
use crate::wire::frame::Object;
use judge::suspicion::{Place as Where, advise};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long one page of a list may take, in seconds.
const PAGE_SECONDS_MAX: u64 = 60;

/// A server as it is now.
#[derive(Debug, Default)]
pub struct Found {
    /// Its usable tools.
    pub tools: Vec<Definition>,
    /// Why others are not usable.
    pub malformed: Vec<String>,
    /// SHA-256 of its instructions; empty when it gives none.
    pub instructions: String,
    /// The text of its instructions.
    pub instructions_text: String,
}

/// What stands between a server now and its review.
#[derive(Debug)]
pub enum Change {
    /// A tool nobody reviewed.
    Appeared(Definition),
    /// A reviewed tool with another definition; the lines of its difference.
    Changed(Definition, Vec<String>),
    /// A reviewed tool that is gone.
    Gone(String),
    /// The server says something else to models; its text now.
    Instructions(String),
}

impl Change {
    /// SHA-256 of what would be accepted, lowercase hexadecimal; empty for a tool that is gone.
    pub fn digest(&self) -> String {
        match self {
            Change::Appeared(found) | Change::Changed(found, _) => found.digest.clone(),
            Change::Gone(_) => String::new(),
            Change::Instructions(text) => judge::digest::hex(text.as_bytes()),
        }
    }

    /// The name of the tool it is about; `instructions` for those.
    pub fn name(&self) -> &str {
        match self {
            Change::Appeared(found) | Change::Changed(found, _) => &found.name,
            Change::Gone(name) => name,
            Change::Instructions(_) => "instructions",
        }
    }
}

/// A gate that servers are looked at through: each reaches the places of its own `network`, and gets what is configured for it.
pub struct Surveyor {
    host: Host,
    _solo: Solo,
}

impl Surveyor {
    /// One for the servers of `config`, with the secrets of `place`.
    ///
    /// # Errors
    /// What cannot be opened, in words.
    pub async fn open(place: &Place, config: &Config) -> Result<Self, String> {
        let solo = solo::open(&place.state, Some(place), config.clone()).await?;
        let conversation = solo.gate.conversations.alone();
        let session = Session::new(solo.gate.principal(), "survey", conversation);
        let host = Host {
            gate: solo.gate.clone(),
            session: session.id().to_owned(),
            principal: session.principal().clone(),
        };
        Ok(Self { host, _solo: solo })
    }
}

/// Connects to `server` and lists what it offers. Without a surveyor it has no network and no credentials.
///
/// # Errors
/// [`UpstreamError`].
pub async fn look(
    name: &str,
    server: &Server,
    place: &Place,
    surveyor: Option<&Surveyor>,
) -> Result<Found, UpstreamError> {
    let host = surveyor.map(|surveyor| &surveyor.host);
    let (inbox, mut ignored) = mpsc::channel(INBOX_MESSAGES_MAX);
    let draining = tokio::spawn(async move { while ignored.recv().await.is_some() {} });
    let upstream =
        Upstream::connect(name, server, place, host, &Client::surveyor(), Era::Legacy, inbox).await?;
    let mut found = Found::default();
    if let Some(text) = upstream.greeting().result.text("instructions") {
        found.instructions = judge::digest::hex(text.as_bytes());
        found.instructions_text = text;
    }
    let has_tools = upstream
        .greeting()
        .result
        .object("capabilities")
        .is_some_and(|capabilities| capabilities.get("tools").is_some());
    let mut cursor: Option<Box<RawValue>> = None;
    for _ in 0..if has_tools { PAGES_MAX } else { 0 } {
        let params = cursor.take().map(|cursor| Object::default().with("cursor", cursor));
        let request = upstream.request(upstream.next_id(), "tools/list", params, &[]);
        let answer = tokio::time::timeout(Duration::from_secs(PAGE_SECONDS_MAX), request)
            .await
            .map_err(|_| UpstreamError::Silent(PAGE_SECONDS_MAX))??;
        let page = answer
            .object("result")
            .ok_or_else(|| UpstreamError::Broken("its tool list is no object".to_owned()))?;
        for entry in entries(&page, "tools") {
            match Definition::read(&entry) {
                Ok(definition) => found.tools.push(definition),
                Err(why) => found.malformed.push(why),
            }
        }
        cursor = page.get("nextCursor").filter(|raw| raw.get() != "null").map(RawValue::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    draining.abort();
    Ok(found)
}

/// What differs between `found` and the review of `server`.
pub fn changes(lock: &Lock, server: &str, found: &Found) -> Vec<Change> {
    let nothing = BTreeMap::new();
    let reviewed = lock.servers.get(server);
    let tools = reviewed.map_or(&nothing, |server| &server.tools);
    let mut changes = Vec::new();
    if reviewed.map_or("", |server| server.instructions.as_str()) != found.instructions {
        changes.push(Change::Instructions(found.instructions_text.clone()));
    }
    for definition in &found.tools {
        match tools.get(&definition.name) {
            None => changes.push(Change::Appeared(definition.clone())),
            Some(known) if known.digest == definition.digest => {}
            Some(known) => {
                let lines = definition::difference(&known.definition, &definition.to_json());
                changes.push(Change::Changed(definition.clone(), lines));
            }
        }
    }
    let gone = tools.keys().filter(|name| !found.tools.iter().any(|definition| definition.name == **name));
    changes.extend(gone.cloned().map(Change::Gone));
    changes
}

/// What looks suspicious in the words a change would put before models, for whoever reviews it. Nothing is refused for it.
pub fn suspicions(change: &Change) -> Vec<String> {
    let said = match change {
        Change::Appeared(definition) | Change::Changed(definition, _) => {
            let mut said = String::new();
            strings(&definition.to_json(), &mut said);
            said
        }
        Change::Gone(_) => return Vec::new(),
        Change::Instructions(text) => text.clone(),
    };
    // No session shows this, so any marks will do to find what poses as some.
    let cleaned = judge::spotlight::Marks::new(&[0; 32]).clean(&said);
    let advice = advise(Where::Description, &cleaned.text, &cleaned.found);
    let mut says: Vec<String> =
        advice.findings.iter().map(|finding| format!("{}: {}", finding.rule, finding.says)).collect();
    if advice.is_like_orders() {
        says.push("like-orders: it is worded like orders to an agent".to_owned());
    }
    says
}

/// Every string in a value, a line each.
fn strings(value: &serde_json::Value, said: &mut String) {
    match value {
        serde_json::Value::String(text) => {
            said.push_str(text);
            said.push('\n');
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, said)),
        serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
            said.push_str(name);
            said.push('\n');
            strings(value, said);
        }),
        _ => {}
    }
}

/// Accepts one change into the lock. A changed tool keeps its review of effect and impact where the careful proposal
/// for its new definition is no stricter.
pub fn accept(lock: &mut Lock, server: &str, change: &Change) {
    let reviewed = lock.servers.entry(server.to_owned()).or_default();
    match change {
        Change::Appeared(definition) => {
            reviewed.tools.insert(definition.name.clone(), propose::propose(server, definition));
        }
        Change::Changed(definition, _) => {
            let fresh = propose::propose(server, definition);
            let kept = reviewed.tools.get(&definition.name).filter(|known| {
                known.effect.0 >= fresh.effect.0
                    && known.impact.0 >= fresh.impact.0
                    && (fresh.reversible || !known.reversible)
            });
            let tool = match kept {
                Some(known) => Reviewed {
                    digest: fresh.digest,
                    definition: fresh.definition,
                    kinds: fresh.kinds.into_iter().chain(known.kinds.clone()).collect(),
                    ..known.clone()
                },
                None => fresh,
            };
            reviewed.tools.insert(definition.name.clone(), tool);
        }
        Change::Gone(name) => {
            reviewed.tools.remove(name);
        }
        Change::Instructions(text) => {
            reviewed.instructions =
                if text.is_empty() { String::new() } else { judge::digest::hex(text.as_bytes()) };
        }
    }
    reviewed.quarantine.remove(change.name());
}
