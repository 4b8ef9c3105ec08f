//! What a tool is: its published definition beside the function that does it. A tool is never run on arguments that
//! do not fit the schema it publishes.

use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::Server;
use crate::refusal::{Failure, Refusal};
use crate::{billing, crm, mail, shape, wire};

pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) effect: Effect,
    pub(crate) input: fn() -> Value,
    pub(crate) output: Option<fn() -> Value>,
    pub(crate) run: fn(&mut Connection, Value) -> Result<Answer, Failure>,
}

/// The kinds of effect the desk has, as the hints MCP publishes for them.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    Read,
    /// Adds a row; twice adds two.
    Append,
    /// Sets a state; twice is the same as once.
    Settle,
    /// Adds something that cannot be taken back.
    Spend,
    /// Removes something; twice is the same as once.
    Erase,
    /// Leaves the desk for somebody outside.
    Send,
}

impl Effect {
    fn annotations(self) -> Value {
        let (read_only, destructive, idempotent, open_world) = match self {
            Self::Read => (true, false, true, false),
            Self::Append => (false, false, false, false),
            Self::Settle => (false, false, true, false),
            Self::Spend => (false, true, false, false),
            Self::Erase => (false, true, true, false),
            Self::Send => (false, false, false, true),
        };
        json!({ "readOnlyHint": read_only, "destructiveHint": destructive, "idempotentHint": idempotent,
                "openWorldHint": open_world })
    }
}

/// What a tool gives back when it did its work.
pub(crate) enum Answer {
    /// `structuredContent`, repeated as JSON text for clients that read only text.
    Structured(Value),
    Text(String),
}

/// The tools of one server, in listing order.
pub(crate) fn tools(server: Server) -> &'static [Tool] {
    match server {
        Server::Crm => crm::TOOLS,
        Server::Billing => billing::TOOLS,
        Server::Mail => mail::TOOLS,
    }
}

impl Tool {
    /// The definition as `tools/list` publishes it.
    pub(crate) fn definition(&self) -> Value {
        let mut definition = json!({
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": (self.input)(),
            "annotations": self.effect.annotations(),
        });
        if let Some(output) = self.output {
            definition["outputSchema"] = output();
        }
        definition
    }

    /// Runs the tool and gives the `tools/call` result.
    ///
    /// Arguments that do not fit are a tool error, not a protocol error, so that a model can correct itself
    /// (MCP 2025-11-25, server/tools, "Error Handling").
    pub(crate) fn call(
        &self,
        db: &mut Connection,
        arguments: Map<String, Value>,
    ) -> Result<Value, wire::Fault> {
        let arguments = Value::Object(arguments);
        let done = shape::fits(&(self.input)(), &arguments, "arguments")
            .map_err(Failure::from)
            .and_then(|()| (self.run)(db, arguments));
        match done {
            Ok(Answer::Structured(value)) => Ok(
                json!({ "content": [text(&value.to_string())], "structuredContent": value, "isError": false }),
            ),
            Ok(Answer::Text(said)) => Ok(json!({ "content": [text(&said)], "isError": false })),
            Err(Failure::Refused(refusal)) => {
                Ok(json!({ "content": [text(&refusal.to_string())], "isError": true }))
            }
            Err(Failure::Database(error)) => Err(error.into()),
        }
    }
}

/// A text content block.
pub(crate) fn text(said: &str) -> Value {
    json!({ "type": "text", "text": said })
}

/// Arguments that fit the schema, as the tool's own type.
pub(crate) fn arguments<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    Ok(serde_json::from_value(value)?)
}

/// An input or output schema: an object with exactly these properties.
pub(crate) fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// An identifier argument, with an example of its form.
pub(crate) fn id(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 32, "description": description })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{desk, seed};

    #[test]
    fn every_answer_fits_the_schema_its_tool_publishes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("desk.db");
        seed(&path).unwrap();
        let mut db = desk::open(&path).unwrap();
        let mut answered = Vec::new();
        for (server, name, arguments) in [
            (Server::Crm, "customer_get", json!({ "id": "C-001" })),
            (Server::Crm, "ticket_reply", json!({ "ticket_id": "T-1001", "body": "b" })),
            (Server::Crm, "ticket_get", json!({ "id": "T-1001" })),
            (Server::Crm, "ticket_get", json!({ "id": "T-1006" })),
            (
                Server::Billing,
                "refund_create",
                json!({ "order_id": "O-2001", "amount_cents": 1, "reason": "r" }),
            ),
            (Server::Billing, "customer_delete", json!({ "id": "C-001" })),
            (Server::Billing, "order_get", json!({ "order_id": "O-2001" })),
            (Server::Mail, "send", json!({ "to": ["a@example.com"], "subject": "s", "body": "" })),
        ] {
            let tool = tools(server).iter().find(|tool| tool.name == name).unwrap();
            let result = tool.call(&mut db, arguments.as_object().unwrap().clone()).unwrap();
            assert_eq!(result["isError"], false, "{result}");
            if let Some(output) = tool.output {
                let mut content = result["structuredContent"].clone();
                assert_eq!(shape::fits(&output(), &content, name), Ok(()));
                content["extra"] = json!(1);
                assert!(shape::fits(&output(), &content, name).is_err(), "{name} publishes an open schema");
                answered.push(name);
            }
        }
        for tool in Server::ALL.into_iter().flat_map(tools) {
            assert_eq!(
                tool.output.is_some(),
                answered.contains(&tool.name),
                "{} is not covered here",
                tool.name
            );
        }
    }

    #[test]
    fn every_published_input_is_what_its_tool_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("desk.db");
        seed(&path).unwrap();
        let mut db = desk::open(&path).unwrap();
        // The least value of each schema must reach the tool's own type: a drifted name would fail to be read.
        for tool in Server::ALL.into_iter().flat_map(tools) {
            let least = least(&(tool.input)());
            assert_eq!(shape::fits(&(tool.input)(), &least, "arguments"), Ok(()), "{}", tool.name);
            let read = (tool.run)(&mut db, least);
            assert!(!matches!(read, Err(Failure::Refused(Refusal::Arguments(_)))), "{}", tool.name);
        }
    }

    fn least(schema: &Value) -> Value {
        match schema["type"].as_str() {
            Some("object") => Value::Object(
                schema["properties"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(name, each)| (name.clone(), least(each)))
                    .collect(),
            ),
            Some("array") => json!([least(&schema["items"])]),
            Some("integer") => schema["minimum"].clone(),
            _ => schema.pointer("/enum/0").cloned().unwrap_or_else(|| json!("xxx")),
        }
    }
}
