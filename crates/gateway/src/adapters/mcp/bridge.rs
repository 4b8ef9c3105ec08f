//! What one era says in the other's words. Pure: objects in, objects out, and nothing that both eras share is touched.

use super::upstream::{Era, Greeting, LEGACY, MODERN, meta};
use super::{INTERNAL_ERROR, INVALID_PARAMS};
use crate::wire::frame::{Object, raw};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A result from an `up` server for a client of era `down`; `cached` marks results that carry cache hints
/// (lists, reads, discovery: MCP 2026-07-28, caching).
pub fn result(mut result: Object, up: &Greeting, down: Era, cached: bool) -> Object {
    match (down, up.era) {
        (Era::Modern, Era::Legacy) => {
            if result.get("resultType").is_none() {
                result.set("resultType", raw("complete"));
            }
            if cached {
                uncached(&mut result);
            }
            if let Some(server) = up.result.get("serverInfo") {
                let about = result.object("_meta").unwrap_or_default().with(meta::SERVER, server.to_owned());
                result.set("_meta", about.to_raw());
            }
        }
        (Era::Legacy, Era::Modern) => {
            for name in ["resultType", "ttlMs", "cacheScope"] {
                result.remove(name);
            }
            if let Some(mut about) = result.object("_meta") {
                about.remove(meta::SERVER);
                if about.is_empty() {
                    result.remove("_meta");
                } else {
                    result.set("_meta", about.to_raw());
                }
            }
            // Before 2026-07-28 structured content is always an object.
            if result.get("structuredContent").is_some_and(|content| !content.get().starts_with('{')) {
                result.remove("structuredContent");
            }
        }
        (Era::Modern, Era::Modern) | (Era::Legacy, Era::Legacy) => {}
    }
    result
}

/// Marks a result as nobody's to keep: what a caller may see changes with policy.
pub fn uncached(result: &mut Object) {
    result.set("ttlMs", raw(0));
    result.set("cacheScope", raw("private"));
}

/// An error object from a server of era `up` for a client of era `down`.
pub fn error(mut error: Object, up: Era, down: Era) -> Object {
    let code: i64 = error.get("code").and_then(|code| code.get().parse().ok()).unwrap_or(INTERNAL_ERROR);
    match (down, up, code) {
        // Resource not found has another code in the modern era.
        (Era::Modern, Era::Legacy, -32002) => error.set("code", raw(INVALID_PARAMS)),
        // Codes a legacy client cannot know.
        (Era::Legacy, Era::Modern, -32022..=-32020) => error.set("code", raw(INTERNAL_ERROR)),
        _ => {}
    }
    error
}

/// The answer to `initialize` for a client that asked for `asked`.
pub fn initialized(up: &Greeting, asked: &str) -> Object {
    match up.era {
        Era::Legacy => up.result.clone(),
        Era::Modern => {
            let info = up
                .result
                .object("_meta")
                .and_then(|about| about.get(meta::SERVER).map(RawValue::to_owned))
                .or_else(|| up.result.get("serverInfo").map(RawValue::to_owned))
                .unwrap_or_else(|| raw(json!({ "name": "server", "version": "0" })));
            let mut result = Object::default()
                .with("protocolVersion", raw(spoken(asked)))
                .with(
                    "capabilities",
                    up.result.get("capabilities").map_or_else(|| raw(json!({})), RawValue::to_owned),
                )
                .with("serverInfo", info);
            if let Some(instructions) = up.result.get("instructions") {
                result.set("instructions", instructions.to_owned());
            }
            result
        }
    }
}

/// The answer to `server/discover`.
pub fn discovered(up: &Greeting) -> Object {
    let mut found = match up.era {
        Era::Modern => up.result.clone(),
        Era::Legacy => {
            let mut capabilities = up.result.object("capabilities").unwrap_or_default();
            capabilities.remove("tasks");
            let mut found = Object::default()
                .with("resultType", raw("complete"))
                .with("supportedVersions", raw([MODERN]))
                .with("capabilities", capabilities.to_raw());
            if let Some(instructions) = up.result.get("instructions") {
                found.set("instructions", instructions.to_owned());
            }
            result(found, up, Era::Modern, false)
        }
    };
    found.set("supportedVersions", raw([MODERN]));
    uncached(&mut found);
    found
}

/// The handshake version both sides speak when a client asks for `asked`.
pub fn spoken(asked: &str) -> &str {
    if LEGACY.contains(&asked) { asked } else { LEGACY[0] }
}

/// The capabilities of one endpoint over many servers: what any of them can do.
pub fn united<'a>(servers: impl IntoIterator<Item = &'a Greeting>) -> Value {
    let mut all = serde_json::Map::new();
    for server in servers {
        let capabilities: Value = server
            .result
            .get("capabilities")
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        for name in ["tools", "prompts", "resources", "completions", "logging"] {
            let Some(found) = capabilities.get(name) else { continue };
            let known = all.entry(name).or_insert_with(|| json!({}));
            for flag in ["listChanged", "subscribe"] {
                if found[flag] == true {
                    known[flag] = json!(true);
                }
            }
        }
    }
    Value::Object(all)
}

/// A request of a legacy server as one entry of a modern `inputRequests`.
pub fn input_request(method: &str, params: Option<&RawValue>) -> Value {
    let mut params: Value =
        params.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_else(|| json!({}));
    if let Some(members) = params.as_object_mut() {
        for name in ["_meta", "task", "elicitationId"] {
            members.remove(name);
        }
    }
    json!({ "method": method, "params": params })
}

/// A level's rank (RFC 5424); `None` for words that are no level.
pub fn log_rank(level: &str) -> Option<usize> {
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
        .iter()
        .position(|known| *known == level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(text.as_bytes()).expect("test JSON")
    }

    fn greeting(era: Era) -> Greeting {
        let result = match era {
            Era::Legacy => object(
                r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{},"tasks":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"i","x":1}"#,
            ),
            Era::Modern => object(
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}},"ttlMs":9,"cacheScope":"public"}"#,
            ),
        };
        Greeting { era, result }
    }

    #[test]
    fn same_era_results_are_untouched_and_others_translated() {
        let legacy = r#"{"content":[],"structuredContent":{"a":1.0},"x":1}"#;
        let modern = r#"{"resultType":"complete","content":[],"structuredContent":[1],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}"#;
        for (text, up, down, want) in [
            (legacy, Era::Legacy, Era::Legacy, legacy),
            (modern, Era::Modern, Era::Modern, modern),
            (modern, Era::Modern, Era::Legacy, r#"{"content":[]}"#),
            (
                legacy,
                Era::Legacy,
                Era::Modern,
                r#"{"content":[],"structuredContent":{"a":1.0},"x":1,"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}"#,
            ),
        ] {
            assert_eq!(result(object(text), &greeting(up), down, false).to_raw().get(), want);
        }
    }

    #[test]
    fn greetings_are_translated() {
        let text = initialized(&greeting(Era::Modern), "2025-03-26").to_raw().get().to_owned();
        assert_eq!(
            text,
            r#"{"protocolVersion":"2025-03-26","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#
        );
        assert_eq!(
            initialized(&greeting(Era::Legacy), "x").text("protocolVersion").as_deref(),
            Some("2025-06-18")
        );
        let found = discovered(&greeting(Era::Legacy));
        assert_eq!(found.object("capabilities").expect("an object").to_raw().get(), r#"{"tools":{}}"#);
        assert_eq!(found.get("ttlMs").expect("a hint").get(), "0");
        assert_eq!(spoken("2026-07-28"), "2025-11-25");
    }

    #[test]
    fn codes_a_client_cannot_know_are_translated() {
        for (code, up, down, want) in [
            (-32002, Era::Legacy, Era::Modern, -32602),
            (-32002, Era::Legacy, Era::Legacy, -32002),
            (-32021, Era::Modern, Era::Legacy, -32603),
            (-32021, Era::Modern, Era::Modern, -32021),
        ] {
            let given = object(&format!(r#"{{"code":{code},"message":"m"}}"#));
            assert_eq!(error(given, up, down).get("code").expect("a code").get(), want.to_string());
        }
    }
}
