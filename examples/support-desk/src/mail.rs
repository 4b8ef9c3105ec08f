//! The `mail` server's tools: put a message into the outbox, and read the outbox. Nothing is handed to a network;
//! the outbox row is the whole effect.

use rusqlite::{Connection, TransactionBehavior, params};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::refusal::{Failure, Refusal};
use crate::tool::{Answer, Effect, Tool, arguments, object};
use crate::wire::echo;

const RECIPIENTS_MAX: u32 = 20;
/// How many messages one listing gives back.
const OUTBOX_ROWS_MAX: u32 = 50;
const ATTACHMENTS_MAX: u32 = 5;
/// All attachments of one message together. Small enough that a full message, every byte escaped in JSON, is still
/// one line of the protocol.
const ATTACHMENT_BYTES_MAX: usize = 120 * 1024;
/// RFC 5321 §4.5.3.1.3 leaves 254 octets for an address.
const ADDRESS_CHARS_MAX: usize = 254;

pub(crate) const TOOLS: &[Tool] = &[
    Tool {
        name: "send",
        title: "Send mail",
        description: "Sends one message to every recipient, with text attachments. Sent mail cannot be called back.",
        effect: Effect::Send,
        input: || {
            let attachment = object(
                json!({
                    "name": { "type": "string", "minLength": 1, "maxLength": 100, "description": "File name" },
                    "content": { "type": "string", "description": "Text of the file" },
                }),
                &["name", "content"],
            );
            object(
                json!({
                    "to": { "type": "array", "minItems": 1, "maxItems": RECIPIENTS_MAX,
                            "items": { "type": "string", "minLength": 3, "maxLength": ADDRESS_CHARS_MAX } },
                    "subject": { "type": "string", "minLength": 1, "maxLength": 200 },
                    "body": { "type": "string", "maxLength": 20_000 },
                    "attachments": { "type": "array", "maxItems": ATTACHMENTS_MAX, "items": attachment },
                }),
                &["to", "subject", "body"],
            )
        },
        output: Some(|| {
            let text = json!({ "type": "string" });
            object(
                json!({ "message_id": text, "to": { "type": "array", "items": text }, "sent_at": text }),
                &["message_id", "to", "sent_at"],
            )
        }),
        run: send,
    },
    Tool {
        name: "outbox_list",
        title: "List sent mail",
        description: "Lists the latest 50 messages sent, oldest first, with attachment names and sizes.",
        effect: Effect::Read,
        input: || object(json!({}), &[]),
        output: None,
        run: outbox_list,
    },
];

#[derive(Deserialize)]
struct Message {
    to: Vec<String>,
    subject: String,
    body: String,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
struct Attachment {
    name: String,
    content: String,
}

fn send(db: &mut Connection, given: Value) -> Result<Answer, Failure> {
    let Message { to, subject, body, attachments } = arguments(given)?;
    let to = to.into_iter().map(Address::parse).collect::<Result<Vec<_>, _>>()?;
    // A line break in a subject would start a header of the sender's choosing.
    if subject.chars().any(char::is_control) {
        return Err(Refusal::Subject.into());
    }
    let bytes: usize = attachments.iter().map(|attachment| attachment.content.len()).sum();
    if bytes > ATTACHMENT_BYTES_MAX {
        return Err(Refusal::AttachmentsTooLarge { bytes, bytes_max: ATTACHMENT_BYTES_MAX }.into());
    }
    for Attachment { name, .. } in &attachments {
        if name == "." || name == ".." || name.contains(|c: char| matches!(c, '/' | '\\') || c.is_control()) {
            return Err(Refusal::AttachmentName(echo(name)).into());
        }
    }

    let act = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (id, sent_at): (i64, String) = act.query_row(
        "INSERT INTO outbox (subject, body, sent_at) VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
         RETURNING id, sent_at",
        [&subject, &body],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (position, Address(address)) in (0_i64..).zip(&to) {
        act.execute("INSERT INTO outbox_recipients VALUES (?1, ?2, ?3)", params![id, position, address])?;
    }
    for (position, Attachment { name, content }) in (0_i64..).zip(&attachments) {
        act.execute(
            "INSERT INTO outbox_attachments VALUES (?1, ?2, ?3, ?4)",
            params![id, position, name, content],
        )?;
    }
    act.commit()?;
    let to: Vec<&str> = to.iter().map(|Address(address)| address.as_str()).collect();
    Ok(Answer::Structured(json!({ "message_id": format!("M-{id}"), "to": to, "sent_at": sent_at })))
}

/// A mail address of the plain kind, `name@domain.tld`: no display name, no quoting, no second address hidden in it.
struct Address(String);

impl Address {
    fn parse(text: String) -> Result<Self, Refusal> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        let label = |label: &str| {
            !label.is_empty()
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match text.split_once('@') {
            Some((name, domain))
                if !name.is_empty()
                    && name.chars().all(plain)
                    && domain.contains('.')
                    && domain.split('.').all(label) =>
            {
                Ok(Self(text))
            }
            _ => Err(Refusal::Address(echo(&text))),
        }
    }
}

fn outbox_list(db: &mut Connection, _given: Value) -> Result<Answer, Failure> {
    let look = db.transaction()?;
    let mut messages = look.prepare(
        "SELECT id, subject, body, sent_at FROM (SELECT * FROM outbox ORDER BY id DESC LIMIT ?1) ORDER BY id",
    )?;
    let mut recipients =
        look.prepare("SELECT address FROM outbox_recipients WHERE message_id = ?1 ORDER BY position")?;
    let mut attachments = look.prepare(
        "SELECT name, octet_length(content) FROM outbox_attachments WHERE message_id = ?1 ORDER BY position",
    )?;
    let messages = messages
        .query_map([OUTBOX_ROWS_MAX], |row| {
            let id: i64 = row.get(0)?;
            let to =
                recipients.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
            let attachments = attachments
                .query_map([id], |row| {
                    Ok(json!({ "name": row.get::<_, String>(0)?, "bytes": row.get::<_, i64>(1)? }))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(json!({
                "message_id": format!("M-{id}"),
                "to": to,
                "subject": row.get::<_, String>(1)?,
                "body": row.get::<_, String>(2)?,
                "attachments": attachments,
                "sent_at": row.get::<_, String>(3)?,
            }))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Answer::Structured(json!({ "messages": messages })))
}
