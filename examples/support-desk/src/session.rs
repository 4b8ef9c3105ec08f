//! One MCP conversation, protocol 2025-11-25: which methods a server offers and what each answers. Nothing but
//! `initialize` and `ping` is answered before the handshake, and a notification never is.

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use crate::wire::{self, Fault, Message, echo};
use crate::{Server, resource, tool};

/// Newest first; a client that asks for anything else is offered the newest.
const PROTOCOLS: [&str; 2] = ["2025-11-25", "2025-06-18"];

const TOOLS_PER_PAGE: usize = 4;
const RESOURCES_PER_PAGE: usize = 10;

pub(crate) struct Session {
    server: Server,
    db: Connection,
    initialized: bool,
}

impl Session {
    pub(crate) fn new(server: Server, db: Connection) -> Self {
        Self { server, db, initialized: false }
    }

    /// Answers one line; `None` for what is never answered.
    pub(crate) fn answer(&mut self, line: &[u8]) -> Option<Value> {
        let (id, method, params) = match wire::parse(line) {
            Ok(Message::Request { id, method, params }) => (id, method, params),
            Ok(Message::Unanswered) => return None,
            Err((id, fault)) => return Some(fault.answer(id.as_ref())),
        };
        Some(match self.result(&method, params) {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err(fault) => fault.answer(Some(&id)),
        })
    }

    fn result(&mut self, method: &str, mut params: Map<String, Value>) -> Result<Value, Fault> {
        // Before the handshake check, so that a client probing for another era (`server/discover`) learns the truth.
        if !offers(self.server, method) {
            return Err(Fault::MethodNotFound(echo(method)));
        }
        if !self.initialized && !matches!(method, "initialize" | "ping") {
            return Err(Fault::NotInitialized(method.to_owned()));
        }
        match method {
            "initialize" => self.initialize(&params),
            "ping" => Ok(json!({})),
            "tools/list" => {
                let tools = tool::tools(self.server).iter().map(tool::Tool::definition).collect();
                page("tools", tools, TOOLS_PER_PAGE, &params)
            }
            "tools/call" => self.call(&mut params),
            "resources/list" => page("resources", resource::all(&self.db)?, RESOURCES_PER_PAGE, &params),
            "resources/templates/list" => {
                page("resourceTemplates", resource::templates(), RESOURCES_PER_PAGE, &params)
            }
            "resources/read" => {
                let contents = resource::read(&self.db, text(&params, "uri")?)?;
                Ok(json!({ "contents": [contents] }))
            }
            "prompts/list" => page("prompts", resource::prompts(), RESOURCES_PER_PAGE, &params),
            "prompts/get" => {
                let arguments = params.get("arguments").unwrap_or(&Value::Null);
                resource::prompt(&self.db, text(&params, "name")?, arguments)
            }
            unknown => Err(Fault::MethodNotFound(echo(unknown))),
        }
    }

    fn initialize(&mut self, params: &Map<String, Value>) -> Result<Value, Fault> {
        if self.initialized {
            return Err(Fault::AlreadyInitialized);
        }
        let asked = text(params, "protocolVersion")?;
        let spoken = PROTOCOLS.into_iter().find(|version| *version == asked).unwrap_or(PROTOCOLS[0]);
        self.initialized = true;
        let (capabilities, instructions) = match self.server {
            Server::Crm => (
                json!({ "tools": {}, "resources": {}, "prompts": {} }),
                "Customers and tickets. Ticket bodies are written by customers.",
            ),
            Server::Billing => {
                (json!({ "tools": {} }), "Orders and refunds, in euro cents. Refunds are final.")
            }
            Server::Mail => (json!({ "tools": {} }), "Outgoing mail."),
        };
        Ok(json!({
            "protocolVersion": spoken,
            "capabilities": capabilities,
            "serverInfo": { "name": self.server.name(), "title": "Support desk", "version": env!("CARGO_PKG_VERSION") },
            "instructions": instructions,
        }))
    }

    fn call(&mut self, params: &mut Map<String, Value>) -> Result<Value, Fault> {
        let arguments = match params.remove("arguments") {
            None => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err(Fault::Params("`arguments` must be an object".to_owned())),
        };
        let name = text(params, "name")?;
        let tool = tool::tools(self.server)
            .iter()
            .find(|tool| tool.name == name)
            .ok_or_else(|| Fault::Params(format!("no tool `{}`; list them with `tools/list`", echo(name))))?;
        tool.call(&mut self.db, arguments)
    }
}

/// Only what the announced capabilities cover is offered.
fn offers(server: Server, method: &str) -> bool {
    match method {
        "initialize" | "ping" | "tools/list" | "tools/call" => true,
        "resources/list" | "resources/templates/list" | "resources/read" | "prompts/list" | "prompts/get" => {
            server == Server::Crm
        }
        _ => false,
    }
}

fn text<'a>(params: &'a Map<String, Value>, name: &str) -> Result<&'a str, Fault> {
    params
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Fault::Params(format!("`{name}` is required and must be a string")))
}

/// One page of a listing. A cursor names its listing and the first item of the page it opens; any other is refused.
fn page(
    listing: &str,
    items: Vec<Value>,
    per_page: usize,
    params: &Map<String, Value>,
) -> Result<Value, Fault> {
    let first = match params.get("cursor") {
        None => 0,
        Some(cursor) => cursor
            .as_str()
            .and_then(|cursor| cursor.strip_prefix(listing)?.strip_prefix('@'))
            .and_then(|at| at.parse::<usize>().ok())
            .filter(|at| *at > 0 && at % per_page == 0)
            .ok_or_else(|| Fault::Params("`cursor` is not one this listing gave out".to_owned()))?,
    };
    let next = first.saturating_add(per_page);
    let more = next < items.len();
    let shown: Vec<Value> = items.into_iter().skip(first).take(per_page).collect();
    let mut page = Map::from_iter([(listing.to_owned(), Value::Array(shown))]);
    if more {
        page.insert("nextCursor".to_owned(), Value::String(format!("{listing}@{next}")));
    }
    Ok(Value::Object(page))
}
