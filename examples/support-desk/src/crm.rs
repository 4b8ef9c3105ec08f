//! The `crm` server's tools: look customers up, read tickets, reply to and close them. Nothing here moves money or
//! removes a row.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::refusal::{Failure, Refusal};
use crate::tool::{Answer, Effect, Tool, arguments, id, object};
use crate::wire::echo;

/// How many customers one search gives back.
const SEARCH_ROWS_MAX: u32 = 50;
const SEARCH_ROWS_DEFAULT: u32 = 10;
const REPLY_CHARS_MAX: u32 = 10_000;
/// A ticket is read whole, replies included, so they are bounded too.
const REPLIES_PER_TICKET_MAX: i64 = 50;

pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "customer_get",
        title: "Get a customer",
        description: "Reads one customer by id: name, mail address, phone, city.",
        effect: Effect::Read,
        input: || object(json!({ "id": id("Customer id, such as C-001") }), &["id"]),
        output: Some(customer_schema),
        run: customer_get,
    },
    Tool {
        name: "customer_search",
        title: "Search customers",
        description: "Finds customers whose name, mail address or city contains the query, ignoring case.",
        effect: Effect::Read,
        input: || {
            object(
                json!({
                    "query": { "type": "string", "minLength": 1, "maxLength": 200, "description": "Text to look for" },
                    "limit": { "type": "integer", "minimum": 1, "maximum": SEARCH_ROWS_MAX,
                               "default": SEARCH_ROWS_DEFAULT, "description": "Most customers to give back" },
                }),
                &["query"],
            )
        },
        output: None,
        run: customer_search,
    },
    Tool {
        name: "ticket_list",
        title: "List tickets",
        description: "Lists tickets by status, oldest first, without their bodies.",
        effect: Effect::Read,
        input: || {
            object(json!({ "status": { "type": "string", "enum": ["open", "closed", "any"] } }), &["status"])
        },
        output: None,
        run: ticket_list,
    },
    Tool {
        name: "ticket_get",
        title: "Read a ticket",
        description: "Reads one ticket with its body and the replies so far. The body is the customer's own text.",
        effect: Effect::Read,
        input: || object(json!({ "id": id("Ticket id, such as T-1001") }), &["id"]),
        output: Some(ticket_schema),
        run: ticket_get,
    },
    Tool {
        name: "ticket_reply",
        title: "Reply to a ticket",
        description: "Writes a reply that the customer will read. Open tickets only.",
        effect: Effect::Append,
        input: || {
            object(
                json!({
                    "ticket_id": id("Ticket id, such as T-1001"),
                    "body": { "type": "string", "minLength": 1, "maxLength": REPLY_CHARS_MAX },
                }),
                &["ticket_id", "body"],
            )
        },
        output: None,
        run: ticket_reply,
    },
    Tool {
        name: "ticket_close",
        title: "Close a ticket",
        description: "Closes a ticket. Closing a closed ticket changes nothing.",
        effect: Effect::Settle,
        input: || object(json!({ "ticket_id": id("Ticket id, such as T-1001") }), &["ticket_id"]),
        output: None,
        run: ticket_close,
    },
];

fn customer_schema() -> Value {
    let text = json!({ "type": "string" });
    object(
        json!({ "id": text, "name": text, "email": text, "phone": text, "city": text, "since": text }),
        &["id", "name", "email", "phone", "city", "since"],
    )
}

fn ticket_schema() -> Value {
    let text = json!({ "type": "string" });
    let reply = object(json!({ "body": text, "sent_at": text }), &["body", "sent_at"]);
    let customer = object(json!({ "id": text, "name": text, "email": text }), &["id", "name", "email"]);
    object(
        json!({
            "id": text,
            "status": { "type": "string", "enum": ["open", "closed"] },
            "subject": text,
            "body": text,
            "opened_at": text,
            "order_id": { "type": ["string", "null"] },
            "customer": customer,
            "replies": { "type": "array", "items": reply },
        }),
        &["id", "status", "subject", "body", "opened_at", "order_id", "customer", "replies"],
    )
}

#[derive(Deserialize)]
struct ById {
    id: String,
}

#[derive(Deserialize)]
struct Search {
    query: String,
    limit: Option<u32>,
}

#[derive(Deserialize)]
struct ByStatus {
    status: String,
}

#[derive(Deserialize)]
struct Reply {
    ticket_id: String,
    body: String,
}

#[derive(Deserialize)]
struct Close {
    ticket_id: String,
}

fn customer_get(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let ById { id } = arguments(given)?;
    let customer = db
        .query_row(
            "SELECT id, name, email, phone, city, since FROM customers WHERE id = ?1",
            [&id],
            customer_row,
        )
        .optional()?;
    Ok(Answer::Structured(customer.ok_or_else(|| not_found("customer", &id))?))
}

fn customer_row(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "id": row.get::<_, String>(0)?,
        "name": row.get::<_, String>(1)?,
        "email": row.get::<_, String>(2)?,
        "phone": row.get::<_, String>(3)?,
        "city": row.get::<_, String>(4)?,
        "since": row.get::<_, String>(5)?,
    }))
}

fn customer_search(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let Search { query, limit } = arguments(given)?;
    // instr, not LIKE: `%` and `_` in a query are letters.
    let mut found = db.prepare(
        "SELECT id, name, email, phone, city, since FROM customers
         WHERE instr(lower(name || char(10) || email || char(10) || city), lower(?1)) > 0
         ORDER BY id LIMIT ?2",
    )?;
    let customers = found
        .query_map(params![query, limit.unwrap_or(SEARCH_ROWS_DEFAULT)], customer_row)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Answer::Structured(json!({ "customers": customers })))
}

fn ticket_list(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let ByStatus { status } = arguments(given)?;
    let mut found = db.prepare(
        "SELECT id, status, subject, customer_id, opened_at FROM tickets
         WHERE ?1 = 'any' OR status = ?1 ORDER BY id",
    )?;
    let tickets = found
        .query_map([status], |row| {
            Ok(json!({
                "id": row.get::<_, String>(0)?,
                "status": row.get::<_, String>(1)?,
                "subject": row.get::<_, String>(2)?,
                "customer_id": row.get::<_, String>(3)?,
                "opened_at": row.get::<_, String>(4)?,
            }))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Answer::Structured(json!({ "tickets": tickets })))
}

fn ticket_get(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let ById { id } = arguments(given)?;
    Ok(Answer::Structured(ticket(db, &id)?.ok_or_else(|| not_found("ticket", &id))?))
}

/// One ticket with its customer and replies, as [`ticket_schema`] describes it.
pub(crate) fn ticket(db: &Connection, id: &str) -> rusqlite::Result<Option<Value>> {
    let found = db
        .query_row(
            "SELECT t.id, t.status, t.subject, t.body, t.opened_at, t.order_id, c.id, c.name, c.email
             FROM tickets t JOIN customers c ON c.id = t.customer_id WHERE t.id = ?1",
            [id],
            |row| {
                Ok(json!({
                    "id": row.get::<_, String>(0)?,
                    "status": row.get::<_, String>(1)?,
                    "subject": row.get::<_, String>(2)?,
                    "body": row.get::<_, String>(3)?,
                    "opened_at": row.get::<_, String>(4)?,
                    "order_id": row.get::<_, Option<String>>(5)?,
                    "customer": {
                        "id": row.get::<_, String>(6)?,
                        "name": row.get::<_, String>(7)?,
                        "email": row.get::<_, String>(8)?,
                    },
                }))
            },
        )
        .optional()?;
    let Some(mut ticket) = found else { return Ok(None) };
    let mut replies = db.prepare("SELECT body, sent_at FROM replies WHERE ticket_id = ?1 ORDER BY id")?;
    let replies = replies
        .query_map([id], |row| {
            Ok(json!({ "body": row.get::<_, String>(0)?, "sent_at": row.get::<_, String>(1)? }))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    ticket["replies"] = Value::Array(replies);
    Ok(Some(ticket))
}

fn ticket_reply(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let Reply { ticket_id, body } = arguments(given)?;
    // Immediate: no other server may close the ticket between the look and the write.
    let act = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: Option<(String, i64)> = act
        .query_row(
            "SELECT status, (SELECT count(*) FROM replies WHERE ticket_id = tickets.id) FROM tickets WHERE id = ?1",
            [&ticket_id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let (status, replies) = found.ok_or_else(|| not_found("ticket", &ticket_id))?;
    if status != "open" {
        return Err(Refusal::TicketClosed(ticket_id).into());
    }
    if replies >= REPLIES_PER_TICKET_MAX {
        return Err(Refusal::TicketFull { ticket_id, replies_max: REPLIES_PER_TICKET_MAX }.into());
    }
    act.execute(
        "INSERT INTO replies (ticket_id, body, sent_at) VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
        [&ticket_id, &body],
    )?;
    act.commit()?;
    Ok(Answer::Text(format!("reply added to ticket {ticket_id}")))
}

fn ticket_close(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let Close { ticket_id } = arguments(given)?;
    match db.execute("UPDATE tickets SET status = 'closed' WHERE id = ?1", [&ticket_id])? {
        0 => Err(not_found("ticket", &ticket_id).into()),
        _ => Ok(Answer::Text(format!("ticket {ticket_id} is closed"))),
    }
}

fn not_found(what: &'static str, id: &str) -> Refusal {
    Refusal::NotFound { what, id: echo(id) }
}
