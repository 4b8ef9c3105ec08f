//! The `billing` server's tools: read orders and refunds, pay a refund, erase a customer. No order is ever refunded
//! beyond its total, and one idempotency key never pays twice.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::refusal::{Failure, Refusal};
use crate::tool::{Answer, Effect, Tool, arguments, id, object};
use crate::wire::echo;

/// The largest single refund the schema lets through: one million, in cents.
const REFUND_CENTS_MAX: u32 = 100_000_000;
/// How many refunds one listing gives back.
const REFUND_ROWS_MAX: u32 = 100;

pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "order_get",
        title: "Get an order",
        description: "Reads one order: its lines, its total and what was refunded so far, in euro cents.",
        effect: Effect::Read,
        input: || object(json!({ "order_id": id("Order id, such as O-2001") }), &["order_id"]),
        output: Some(order_schema),
        run: order_get,
    },
    Tool {
        name: "refund_list",
        title: "List a customer's refunds",
        description: "Lists the latest 100 refunds paid on a customer's orders, newest first.",
        effect: Effect::Read,
        input: || object(json!({ "customer_id": id("Customer id, such as C-001") }), &["customer_id"]),
        output: None,
        run: refund_list,
    },
    Tool {
        name: "refund_create",
        title: "Pay a refund",
        description: "Pays money back on an order, up to what is left of its total. This cannot be undone. A repeated \
                      idempotency key gives back the first refund and pays nothing.",
        effect: Effect::Spend,
        input: || {
            object(
                json!({
                    "order_id": id("Order id, such as O-2001"),
                    "amount_cents": { "type": "integer", "minimum": 1, "maximum": REFUND_CENTS_MAX,
                                      "description": "Amount in euro cents" },
                    "reason": { "type": "string", "minLength": 1, "maxLength": 500 },
                    "idempotency_key": { "type": "string", "minLength": 1, "maxLength": 100,
                                         "description": "The same key never pays twice" },
                }),
                &["order_id", "amount_cents", "reason"],
            )
        },
        output: Some(refund_schema),
        run: refund_create,
    },
    Tool {
        name: "customer_delete",
        title: "Erase a customer",
        description: "Erases a customer with their tickets and replies. Orders and refunds stay, without a name. This \
                      cannot be undone.",
        effect: Effect::Erase,
        input: || object(json!({ "id": id("Customer id, such as C-001") }), &["id"]),
        output: None,
        run: customer_delete,
    },
];

fn order_schema() -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let line = object(
        json!({ "sku": text, "name": text, "quantity": number, "unit_cents": number }),
        &["sku", "name", "quantity", "unit_cents"],
    );
    object(
        json!({
            "id": text,
            "customer_id": { "type": ["string", "null"] },
            "placed_on": text,
            "total_cents": number,
            "refunded_cents": number,
            "lines": { "type": "array", "items": line },
        }),
        &["id", "customer_id", "placed_on", "total_cents", "refunded_cents", "lines"],
    )
}

fn refund_schema() -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let refund = object(
        json!({ "id": text, "order_id": text, "amount_cents": number, "reason": text, "created_at": text }),
        &["id", "order_id", "amount_cents", "reason", "created_at"],
    );
    object(
        json!({ "refund": refund, "left_cents": number, "replayed": { "type": "boolean" } }),
        &["refund", "left_cents", "replayed"],
    )
}

#[derive(Deserialize)]
struct ByOrder {
    order_id: String,
}

#[derive(Deserialize)]
struct ByCustomer {
    customer_id: String,
}

#[derive(Deserialize)]
struct ById {
    id: String,
}

#[derive(Deserialize)]
struct Refund {
    order_id: String,
    amount_cents: i64,
    reason: String,
    idempotency_key: Option<String>,
}

fn order_get(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let ByOrder { order_id } = arguments(given)?;
    // One transaction, so total, refunds and lines are of one moment.
    let look = db.transaction()?;
    let found = look
        .query_row(
            "SELECT id, customer_id, placed_on, total_cents,
                    (SELECT coalesce(sum(amount_cents), 0) FROM refunds WHERE order_id = orders.id)
             FROM orders WHERE id = ?1",
            [&order_id],
            |row| {
                Ok(json!({
                    "id": row.get::<_, String>(0)?,
                    "customer_id": row.get::<_, Option<String>>(1)?,
                    "placed_on": row.get::<_, String>(2)?,
                    "total_cents": row.get::<_, i64>(3)?,
                    "refunded_cents": row.get::<_, i64>(4)?,
                }))
            },
        )
        .optional()?;
    let mut order = found.ok_or_else(|| not_found("order", &order_id))?;
    let mut lines = look.prepare(
        "SELECT sku, name, quantity, unit_cents FROM order_lines WHERE order_id = ?1 ORDER BY line",
    )?;
    let lines = lines
        .query_map([&order_id], |row| {
            Ok(json!({
                "sku": row.get::<_, String>(0)?,
                "name": row.get::<_, String>(1)?,
                "quantity": row.get::<_, i64>(2)?,
                "unit_cents": row.get::<_, i64>(3)?,
            }))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    order["lines"] = Value::Array(lines);
    Ok(Answer::Structured(order))
}

fn refund_list(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let ByCustomer { customer_id } = arguments(given)?;
    let look = db.transaction()?;
    let known: bool =
        look.query_row("SELECT EXISTS (SELECT 1 FROM customers WHERE id = ?1)", [&customer_id], |row| {
            row.get(0)
        })?;
    if !known {
        return Err(not_found("customer", &customer_id).into());
    }
    let mut found = look.prepare(
        "SELECT r.id, r.order_id, r.amount_cents, r.reason, r.created_at
         FROM refunds r JOIN orders o ON o.id = r.order_id WHERE o.customer_id = ?1 ORDER BY r.id DESC LIMIT ?2",
    )?;
    let refunds = found
        .query_map(params![customer_id, REFUND_ROWS_MAX], refund_row)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Answer::Structured(json!({ "refunds": refunds })))
}

fn refund_row(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "id": format!("R-{}", row.get::<_, i64>(0)?),
        "order_id": row.get::<_, String>(1)?,
        "amount_cents": row.get::<_, i64>(2)?,
        "reason": row.get::<_, String>(3)?,
        "created_at": row.get::<_, String>(4)?,
    }))
}

fn refund_create(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let Refund { order_id, amount_cents, reason, idempotency_key } = arguments(given)?;
    // Immediate: two servers refunding one order take turns, so the second sees what the first has paid.
    let act = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let order = act
        .query_row(
            "SELECT total_cents - (SELECT coalesce(sum(amount_cents), 0) FROM refunds WHERE order_id = orders.id)
             FROM orders WHERE id = ?1",
            [&order_id],
            |row| row.get::<_, i64>(0),
        )
        .optional()?;
    let left_cents = order.ok_or_else(|| not_found("order", &order_id))?;

    // The key is looked at before the amount: a replay of a full refund has nothing left to pay, and is still honoured.
    if let Some(key) = &idempotency_key {
        let earlier = act
            .query_row(
                "SELECT id, order_id, amount_cents, reason, created_at FROM refunds WHERE idempotency_key = ?1",
                [key],
                refund_row,
            )
            .optional()?;
        if let Some(refund) = earlier {
            let same = refund["order_id"] == json!(order_id)
                && refund["amount_cents"] == json!(amount_cents)
                && refund["reason"] == json!(reason);
            if !same {
                return Err(Refusal::KeyReused(key.clone()).into());
            }
            return Ok(Answer::Structured(
                json!({ "refund": refund, "left_cents": left_cents, "replayed": true }),
            ));
        }
    }

    if amount_cents > left_cents {
        return Err(Refusal::RefundOverTotal { order_id, amount_cents, left_cents }.into());
    }
    let refund = act.query_row(
        "INSERT INTO refunds (order_id, amount_cents, reason, idempotency_key, created_at)
         VALUES (?1, ?2, ?3, ?4, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
         RETURNING id, order_id, amount_cents, reason, created_at",
        params![order_id, amount_cents, reason, idempotency_key],
        refund_row,
    )?;
    act.commit()?;
    Ok(Answer::Structured(
        json!({ "refund": refund, "left_cents": left_cents - amount_cents, "replayed": false }),
    ))
}

fn customer_delete(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let ById { id } = arguments(given)?;
    match db.execute("DELETE FROM customers WHERE id = ?1", [&id])? {
        0 => Err(not_found("customer", &id).into()),
        _ => Ok(Answer::Text(format!("customer {id} and their tickets are erased"))),
    }
}

fn not_found(what: &'static str, id: &str) -> Refusal {
    Refusal::NotFound { what, id: echo(id) }
}
