//! The desk seen from outside, over the same bytes a client would send. No test reaches into the database except
//! through the servers, `tally`, or a second SQLite connection that tries to break a rule.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

mod command;
mod effects;
mod protocol;

use std::path::PathBuf;

use serde_json::{Value, json};
use support_desk::{Server, seed, serve};
use tempfile::TempDir;

/// A freshly seeded desk that is removed with the test.
struct Desk {
    _folder: TempDir,
    db: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("desk.db");
        seed(&db).unwrap();
        Self { _folder: folder, db }
    }

    /// Sends raw bytes as one session and gives every answer.
    fn raw(&self, server: Server, bytes: &[u8]) -> Vec<Value> {
        let mut out = Vec::new();
        serve(server, &self.db, bytes, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Sends requests after a handshake and gives their answers, ids checked.
    fn ask(&self, server: Server, requests: &[(&str, Value)]) -> Vec<Value> {
        let mut bytes = HELLO.as_bytes().to_vec();
        for (id, (method, params)) in requests.iter().enumerate() {
            let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
            bytes.extend_from_slice(format!("{request}\n").as_bytes());
        }
        let mut answers = self.raw(server, &bytes);
        assert_eq!(answers.remove(0)["id"], "hello");
        assert_eq!(answers.len(), requests.len());
        for (id, answer) in answers.iter().enumerate() {
            assert_eq!((&answer["id"], &answer["jsonrpc"]), (&json!(id), &json!("2.0")));
        }
        answers
    }

    /// Calls one tool that must succeed, and gives its structured content, or its text when it has none.
    fn call(&self, server: Server, tool: &str, arguments: Value) -> Value {
        let result = self.result(server, tool, &arguments);
        assert_eq!(result["isError"], false, "{tool} {arguments}: {result}");
        let text = result["content"][0]["text"].as_str().unwrap();
        match result.get("structuredContent") {
            Some(content) => {
                assert_eq!(
                    &serde_json::from_str::<Value>(text).unwrap(),
                    content,
                    "the text repeats the structure"
                );
                content.clone()
            }
            None => json!(text),
        }
    }

    /// Calls one tool that must refuse, and gives what it said.
    fn refused(&self, server: Server, tool: &str, arguments: Value) -> String {
        let result = self.result(server, tool, &arguments);
        assert_eq!(result["isError"], true, "{tool} {arguments} was accepted: {result}");
        assert_eq!(result.get("structuredContent"), None);
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    fn result(&self, server: Server, tool: &str, arguments: &Value) -> Value {
        let answer =
            self.ask(server, &[("tools/call", json!({ "name": tool, "arguments": arguments }))]).remove(0);
        answer.get("result").unwrap_or_else(|| panic!("{tool} {arguments}: {answer}")).clone()
    }
}

const HELLO: &str = concat!(
    r#"{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"test","version":"0"}}}"#,
    "\n",
    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    "\n",
);
