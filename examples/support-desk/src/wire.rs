//! JSON-RPC 2.0 over newline-delimited lines: bounded reading, one parsed message, the error codes. Nothing here
//! knows a method by name, and no line grows past its bound in memory.

use std::io::{self, BufRead, Write};

use serde::Serialize;
use serde_json::{Map, Number, Value, json};

/// The longest accepted line in bytes, newline excluded. The largest honest message, a mail with every attachment
/// full and escaped, stays below it.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// How much of a caller's own text an error message repeats.
const ECHO_CHARS_MAX: usize = 80;

pub(crate) enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// Reads up to the next newline. The rest of an over-long line is drained, so the following one is read cleanly; a
/// last line without a newline counts as a line.
pub(crate) fn next_line(stdin: &mut impl BufRead) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut read_any = false;
    let mut too_long = false;
    loop {
        let chunk = match stdin.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            return Ok(if too_long {
                Line::TooLong
            } else if read_any {
                Line::Whole(line)
            } else {
                Line::End
            });
        }
        read_any = true;
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..newline.unwrap_or(chunk.len())];
        too_long |= line.len() + part.len() > LINE_BYTES_MAX;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = newline.map_or(chunk.len(), |at| at + 1);
        stdin.consume(used);
        if newline.is_some() {
            return Ok(if too_long { Line::TooLong } else { Line::Whole(line) });
        }
    }
}

/// Writes one message and flushes, since the client waits for it.
pub(crate) fn send(stdout: &mut impl Write, message: &Value) -> io::Result<()> {
    // `Value`'s display is compact JSON with newlines escaped, so one message is one line.
    writeln!(stdout, "{message}")?;
    stdout.flush()
}

/// What a request is called; MCP allows a string or an integer, never null.
#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Text(String),
    Integer(Number),
}

/// One incoming message, as far as JSON-RPC describes it.
pub(crate) enum Message {
    Request {
        id: Id,
        method: String,
        params: Map<String, Value>,
    },
    /// Notifications and responses: neither is ever answered.
    Unanswered,
}

/// A protocol error: the request was wrong, or we failed; a tool's own refusal is a result instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the frame is not json: {0}; send one json-rpc message per line")]
    NotJson(String),
    #[error("the line is longer than {LINE_BYTES_MAX} bytes and was skipped")]
    LineTooLong,
    #[error("not a json-rpc 2.0 message: {0}")]
    NotAMessage(&'static str),
    #[error("send `initialize` before `{0}`")]
    NotInitialized(String),
    #[error("this session is already initialized")]
    AlreadyInitialized,
    #[error("method `{0}` is not offered by this server")]
    MethodNotFound(String),
    #[error("{0}")]
    Params(String),
    #[error("no resource `{0}`; list them with `resources/list`")]
    ResourceNotFound(String),
    // The cause stays private: it may name files of this machine.
    #[error("the desk's database failed; nothing was changed by this call")]
    Database(#[from] rusqlite::Error),
}

impl Fault {
    fn code(&self) -> i64 {
        match self {
            Self::NotJson(_) | Self::LineTooLong => -32700,
            Self::NotAMessage(_) | Self::NotInitialized(_) | Self::AlreadyInitialized => -32600,
            Self::MethodNotFound(_) => -32601,
            Self::Params(_) => -32602,
            Self::Database(_) => -32603,
            // MCP 2025-11-25, server/resources, "Error Handling".
            Self::ResourceNotFound(_) => -32002,
        }
    }

    /// The error message for `id`; `null` when the request could not be told (JSON-RPC 2.0 §5).
    pub(crate) fn answer(&self, id: Option<&Id>) -> Value {
        json!({ "jsonrpc": "2.0", "id": id, "error": { "code": self.code(), "message": self.to_string() } })
    }
}

pub(crate) fn line_too_long() -> Value {
    Fault::LineTooLong.answer(None)
}

/// Parses one line; a failure carries the id to answer under, if it could be told.
pub(crate) fn parse(line: &[u8]) -> Result<Message, (Option<Id>, Fault)> {
    let message: Value =
        serde_json::from_slice(line).map_err(|error| (None, Fault::NotJson(error.to_string())))?;
    // Batches left MCP with 2025-06-18, so an array is no message.
    let Value::Object(mut message) = message else {
        return Err((None, Fault::NotAMessage("expected one object")));
    };
    let id = match message.remove("id") {
        None => None,
        Some(Value::String(text)) => Some(Id::Text(text)),
        Some(Value::Number(number)) if !number.is_f64() => Some(Id::Integer(number)),
        Some(_) => return Err((None, Fault::NotAMessage("`id` must be a string or an integer"))),
    };
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err((id, Fault::NotAMessage("`jsonrpc` must be \"2.0\"")));
    }
    let method = match message.remove("method") {
        Some(Value::String(method)) => method,
        None if message.contains_key("result") || message.contains_key("error") => {
            return Ok(Message::Unanswered);
        }
        _ => return Err((id, Fault::NotAMessage("`method` must be a string"))),
    };
    let Some(id) = id else { return Ok(Message::Unanswered) };
    match message.remove("params") {
        None => Ok(Message::Request { id, method, params: Map::new() }),
        Some(Value::Object(params)) => Ok(Message::Request { id, method, params }),
        Some(_) => Err((Some(id), Fault::Params("`params` must be an object".to_owned()))),
    }
}

/// A caller's own text, cut to what an error message may repeat.
pub(crate) fn echo(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(ECHO_CHARS_MAX).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn a_line_at_the_bound_is_read_and_one_byte_more_is_skipped() {
        for (length, whole) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
            let mut bytes = vec![b'x'; length];
            bytes.extend_from_slice(b"\nnext\n");
            // A small buffer makes the line arrive in many chunks.
            let mut reader = BufReader::with_capacity(1000, bytes.as_slice());
            match next_line(&mut reader).unwrap() {
                Line::Whole(line) => assert!(whole && line.len() == length, "{length}"),
                Line::TooLong => assert!(!whole, "{length}"),
                Line::End => panic!("ended early"),
            }
            assert!(matches!(next_line(&mut reader).unwrap(), Line::Whole(line) if line == b"next"));
            assert!(matches!(next_line(&mut reader).unwrap(), Line::End));
        }
    }

    #[test]
    fn echo_cuts_after_the_bound_only() {
        assert_eq!(echo(&"é".repeat(ECHO_CHARS_MAX)), "é".repeat(ECHO_CHARS_MAX));
        assert_eq!(echo(&"é".repeat(ECHO_CHARS_MAX + 1)), "é".repeat(ECHO_CHARS_MAX) + "…");
    }
}
