//! What the `crm` server offers beside tools: tickets and the refund rules as resources, and one prompt. Everything
//! here only reads.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::crm;
use crate::wire::{Fault, echo};

const RULES_URI: &str = "desk://refund-rules";
const RULES: &str = "# Refund rules\n\n\
- Refund at most what the customer paid on the order the ticket is about.\n\
- Damaged in transit: up to the price of the damaged item, no questions.\n\
- Above 100.00, a person decides.\n\
- Mail goes to the address on file and nowhere else.\n";

/// Every resource of the desk, the rules first, then the tickets by id.
pub(crate) fn all(db: &Connection) -> Result<Vec<Value>, Fault> {
    let mut resources = vec![json!({ "uri": RULES_URI, "name": "refund-rules", "title": "Refund rules",
                                     "mimeType": "text/markdown" })];
    let mut tickets = db.prepare("SELECT id, subject FROM tickets ORDER BY id")?;
    let tickets = tickets.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for ticket in tickets {
        let (id, subject) = ticket?;
        resources.push(json!({ "uri": format!("ticket://{id}"), "name": id, "title": subject,
                               "mimeType": "text/markdown" }));
    }
    Ok(resources)
}

pub(crate) fn templates() -> Vec<Value> {
    vec![json!({ "uriTemplate": "ticket://{id}", "name": "ticket", "title": "A ticket by id",
                 "description": "The ticket as the customer wrote it, with the replies so far",
                 "mimeType": "text/markdown" })]
}

/// The contents of one resource.
pub(crate) fn read(db: &Connection, uri: &str) -> Result<Value, Fault> {
    let text = if uri == RULES_URI {
        Some(RULES.to_owned())
    } else if let Some(id) = uri.strip_prefix("ticket://") {
        crm::ticket(db, id)?.map(|ticket| page(&ticket))
    } else {
        None
    };
    let text = text.ok_or_else(|| Fault::ResourceNotFound(echo(uri)))?;
    Ok(json!({ "uri": uri, "mimeType": "text/markdown", "text": text }))
}

fn page(ticket: &Value) -> String {
    let field = |at: &str| ticket.pointer(at).and_then(Value::as_str).unwrap_or("none");
    let mut page = format!(
        "# {}: {}\n\nStatus: {}. Order: {}. From: {} <{}>\n\n{}\n",
        field("/id"),
        field("/subject"),
        field("/status"),
        field("/order_id"),
        field("/customer/name"),
        field("/customer/email"),
        field("/body"),
    );
    for reply in ticket["replies"].as_array().into_iter().flatten() {
        page.push_str(&format!("\n---\nReply: {}\n", reply["body"].as_str().unwrap_or_default()));
    }
    page
}

pub(crate) fn prompts() -> Vec<Value> {
    vec![json!({
        "name": "triage_ticket",
        "title": "Triage a ticket",
        "description": "Read a ticket and propose what to do about it",
        "arguments": [{ "name": "ticket_id", "description": "Ticket id, such as T-1001", "required": true }],
    })]
}

/// One prompt, filled with its arguments.
pub(crate) fn prompt(db: &Connection, name: &str, arguments: &Value) -> Result<Value, Fault> {
    if name != "triage_ticket" {
        return Err(Fault::Params(format!("no prompt `{}`", echo(name))));
    }
    let id = arguments["ticket_id"].as_str().ok_or_else(|| {
        Fault::Params("prompt `triage_ticket` needs the string argument `ticket_id`".to_owned())
    })?;
    let ticket = read(db, &format!("ticket://{id}")).map_err(|fault| match fault {
        Fault::ResourceNotFound(_) => Fault::Params(format!("no ticket `{}`", echo(id))),
        other => other,
    })?;
    let say = "Read the ticket below, say in one sentence what the customer needs, and propose the next step under \
               the refund rules.";
    Ok(json!({
        "description": format!("Triage ticket {id}"),
        "messages": [
            { "role": "user", "content": { "type": "text", "text": say } },
            { "role": "user", "content": { "type": "resource", "resource": ticket } },
        ],
    }))
}
