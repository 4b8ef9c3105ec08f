//! An MCP server that does what its caller tells it, good or bad, and writes down every call that reached it.
//! It is this very test program, started again by the gate; it never decides anything.

use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

const FOLDER: &str = "BAILIWICK_FIXTURE";

/// The tools it offers unless told otherwise.
pub fn tools() -> Value {
    let schema = json!({
        "type": "object",
        "properties": {
            "mark": { "type": "string" }, "behave": { "type": "string" }, "amount": { "type": "integer" },
        },
        "required": ["mark"],
        "additionalProperties": false,
    });
    let tool = |name: &str| json!({ "name": name, "description": "acts", "inputSchema": schema });
    json!([tool("act"), tool("act_asked"), tool("act_denied")])
}

/// This very program.
pub fn program() -> PathBuf {
    std::env::current_exe().expect("this program has a path")
}

/// Writes the script that starts it into `folder`, from which it will work.
pub fn install(folder: &Path) {
    // The test harness prints to standard output; what a server says goes around it.
    let program = program();
    let script = format!(
        "{FOLDER}='{}' exec '{}' --exact common::fixture::serves --ignored --nocapture 3>&1 1>/dev/null\n",
        folder.display(),
        program.display()
    );
    std::fs::write(folder.join("serve.sh"), script).expect("the fixture's folder");
}

/// Makes the fixture in `folder` answer `text` when `tool` is called.
pub fn answers(folder: &Path, tool: &str, text: &str) {
    std::fs::write(folder.join(format!("{tool}.answer")), text).expect("the fixture's folder");
}

#[test]
#[ignore = "the gates of the other tests start it as their server"]
fn serves() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let out = std::fs::OpenOptions::new().write(true).open("/dev/fd/3").expect("the gate's pipe");
    serve(&folder, out);
    std::process::exit(0);
}

fn serve(folder: &Path, mut out: impl Write) {
    let mut effects = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("effects"))
        .expect("the fixture's folder");
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let id = message["id"].clone();
        let params = &message["params"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let mut hello = json!({
                    "protocolVersion": params["protocolVersion"], "capabilities": { "tools": { "listChanged": true } },
                    "serverInfo": { "name": "fixture", "version": "1" },
                });
                if let Ok(text) = std::fs::read_to_string(folder.join("instructions.txt")) {
                    hello["instructions"] = text.into();
                }
                hello
            }
            "tools/list" => {
                // As text, so that a listing may hold what no JSON library would write.
                let tools = std::fs::read_to_string(folder.join("tools.json")).expect("the fixture's tools");
                say(&mut out, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":{tools}}}}}"#));
                continue;
            }
            "tools/call" => {
                let effect = json!({ "tool": params["name"], "arguments": params["arguments"] });
                effects.write_all(format!("{effect}\n").as_bytes()).expect("the effect is written");
                match behave(folder, &mut out, &id, params) {
                    Some(result) => result,
                    None => continue,
                }
            }
            "ping" => json!({}),
            _ if id.is_null() => continue,
            _ => {
                let error = json!({ "code": -32601, "message": "method not found" });
                say(&mut out, &json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string());
                continue;
            }
        };
        say(&mut out, &json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
    }
}

/// The answer to a call, unless the answer was already given some other way.
fn behave(folder: &Path, out: &mut impl Write, id: &Value, params: &Value) -> Option<Value> {
    let mark = params["arguments"]["mark"].as_str().unwrap_or_default();
    let told = folder.join(format!("{}.answer", params["name"].as_str().unwrap_or_default()));
    let text = std::fs::read_to_string(told).unwrap_or_else(|_| format!("done {mark}"));
    let done = json!({ "content": [{ "type": "text", "text": text }] });
    let answer = |id: &Value, text: &str| {
        let result = json!({ "content": [{ "type": "text", "text": text }] });
        json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()
    };
    match params["arguments"]["behave"].as_str().unwrap_or_default() {
        "" => Some(done),
        "silent" => None,
        "die" => {
            drop(out.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":"));
            drop(out.flush());
            std::process::exit(9);
        }
        "twice" => {
            say(out, &answer(id, &format!("done {mark}")));
            say(out, &answer(id, "the second answer"));
            None
        }
        "wrong-id" => {
            say(out, &answer(&json!(id.as_u64().unwrap_or(0) + 1_000_000), "not yours"));
            say(out, &answer(&json!("text"), "not yours"));
            None
        }
        "deep" => {
            say(
                out,
                &format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{}1{}}}"#,
                    "[".repeat(10_000),
                    "]".repeat(10_000)
                ),
            );
            None
        }
        "huge" => {
            say(
                out,
                &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"x":"{}"}}}}"#, "x".repeat(40_000_000)),
            );
            None
        }
        "garbage" => {
            for line in [
                "not json",
                "[]",
                "{\"jsonrpc\":\"1.0\"}",
                "",
                "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":1}",
            ] {
                say(out, line);
            }
            drop(out.write_all(b"\xff\xfe\n"));
            Some(done)
        }
        "flood" => {
            let line = "e".repeat(1_000);
            let mut errors = std::io::stderr().lock();
            for _ in 0..8_000 {
                drop(writeln!(errors, "{line}"));
            }
            drop(errors.write_all(&[b'x'; 1_000_000]));
            Some(done)
        }
        "announce" => {
            say(out, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
            Some(done)
        }
        // Waits for a file, so that a test decides how long a call takes.
        "gated" => {
            while !folder.join("go").exists() {
                // The test that would have said so is over.
                if !folder.exists() {
                    std::process::exit(0);
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Some(done)
        }
        other => panic!("the fixture cannot behave `{other}`"),
    }
}

fn say(out: &mut impl Write, line: &str) {
    if out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
