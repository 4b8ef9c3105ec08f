//! The protocol: frames, handshake, listings, errors. Each accepted message stands beside the nearest rejected one.

use serde_json::{Value, json};
use support_desk::{LINE_BYTES_MAX, Server};

use crate::{Desk, HELLO};

fn code(answer: &Value) -> Option<i64> {
    answer.pointer("/error/code").and_then(Value::as_i64)
}

type IdAndCode = (Value, Option<i64>);

#[test]
fn each_frame_gets_its_answer_and_the_session_goes_on() {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}}"#, "[".repeat(100_000));
    let full = format!("{ping}{}", " ".repeat(LINE_BYTES_MAX - ping.len()));
    let over = format!("{full} ");
    // (line, id of the answer and its error code), or None for a line that is never answered
    let table: &[(&[u8], Option<IdAndCode>)] = &[
        (ping.as_bytes(), Some((json!(1), None))),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping""#, Some((Value::Null, Some(-32700)))),
        (b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}", Some((Value::Null, Some(-32700)))),
        (deep.as_bytes(), Some((Value::Null, Some(-32700)))),
        (full.as_bytes(), Some((json!(1), None))),
        (over.as_bytes(), Some((Value::Null, Some(-32700)))),
        (b"", None),
        (b" \r", None),
        (br#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#, Some((json!("a"), None))),
        (br#"{"jsonrpc":"2.0","id":-1,"method":"ping"}"#, Some((json!(-1), None))),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Some((Value::Null, Some(-32600)))),
        (br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Some((Value::Null, Some(-32600)))),
        (br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Some((json!(1), Some(-32600)))),
        (br#"{"id":1,"method":"ping"}"#, Some((json!(1), Some(-32600)))),
        (br#"{"jsonrpc":"2.0","id":1}"#, Some((json!(1), Some(-32600)))),
        (br#"{"jsonrpc":"2.0","id":1,"method":7}"#, Some((json!(1), Some(-32600)))),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Some((Value::Null, Some(-32600)))),
        (br#""ping""#, Some((Value::Null, Some(-32600)))),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#, Some((json!(1), None))),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, Some((json!(1), Some(-32602)))),
        (br#"{"jsonrpc":"2.0","id":1,"method":"Ping"}"#, Some((json!(1), Some(-32601)))),
        (br#"{"jsonrpc":"2.0","method":"ping"}"#, None),
        (br#"{"jsonrpc":"2.0","method":"notifications/unheard-of"}"#, None),
        (br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, None),
    ];
    let desk = Desk::new();
    for (line, expected) in table {
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        let mut bytes = line.to_vec();
        bytes.extend_from_slice(b"\n{\"jsonrpc\":\"2.0\",\"id\":\"after\",\"method\":\"ping\"}\n");
        let mut answers = desk.raw(Server::Crm, &bytes);
        assert_eq!(
            answers.pop().map(|last| (last["id"].clone(), code(&last))),
            Some((json!("after"), None)),
            "{shown}"
        );
        let got = answers.iter().map(|answer| (answer["id"].clone(), code(answer))).collect::<Vec<_>>();
        assert_eq!(got, expected.iter().cloned().collect::<Vec<_>>(), "{shown}");
    }
}

#[test]
fn a_last_line_without_newline_is_answered() {
    let answers = Desk::new().raw(Server::Mail, br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    assert_eq!(answers, [json!({ "jsonrpc": "2.0", "id": 1, "result": {} })]);
}

#[test]
fn the_handshake_comes_first_and_once() {
    let desk = Desk::new();
    for (method, early, late) in [
        ("ping", None, None),
        ("tools/list", Some(-32600), None),
        ("resources/list", Some(-32600), None),
        ("server/discover", Some(-32601), Some(-32601)),
        ("logging/setLevel", Some(-32601), Some(-32601)),
    ] {
        let request = format!("{}\n", json!({ "jsonrpc": "2.0", "id": 1, "method": method }));
        assert_eq!(code(&desk.raw(Server::Crm, request.as_bytes())[0]), early, "{method} before");
        assert_eq!(
            code(&desk.raw(Server::Crm, format!("{HELLO}{request}").as_bytes())[1]),
            late,
            "{method} after"
        );
    }
    let twice = desk.raw(Server::Crm, format!("{HELLO}{HELLO}").as_bytes());
    assert_eq!((code(&twice[0]), code(&twice[1])), (None, Some(-32600)));
}

#[test]
fn the_version_is_negotiated() {
    let desk = Desk::new();
    for (asked, spoken) in [
        (json!("2025-11-25"), Some("2025-11-25")),
        (json!("2025-06-18"), Some("2025-06-18")),
        (json!("2024-11-05"), Some("2025-11-25")),
        (json!("2026-07-28"), Some("2025-11-25")),
        (json!(20251125), None),
    ] {
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize",
                            "params": { "protocolVersion": asked, "capabilities": {} } });
        let answer = &desk.raw(Server::Billing, format!("{hello}\n").as_bytes())[0];
        assert_eq!(answer.pointer("/result/protocolVersion").and_then(Value::as_str), spoken, "{asked}");
        assert_eq!(code(answer), if spoken.is_some() { None } else { Some(-32602) }, "{asked}");
    }
}

#[test]
fn only_what_is_announced_is_offered() {
    let desk = Desk::new();
    for server in Server::ALL {
        let capabilities = &desk.raw(server, HELLO.as_bytes())[0]["result"]["capabilities"];
        for (capability, method) in
            [("tools", "tools/list"), ("resources", "resources/list"), ("prompts", "prompts/list")]
        {
            let offered = code(&desk.ask(server, &[(method, json!({}))])[0]).is_none();
            assert_eq!(capabilities.get(capability).is_some(), offered, "{server} {method}");
        }
    }
}

#[test]
fn listings_come_in_pages_and_lose_nothing() {
    let desk = Desk::new();
    for (server, method, listing, key, pages, first, last) in [
        (Server::Crm, "tools/list", "tools", "name", vec![4, 2], "customer_get", "ticket_close"),
        (Server::Billing, "tools/list", "tools", "name", vec![4], "order_get", "customer_delete"),
        (Server::Mail, "tools/list", "tools", "name", vec![2], "send", "outbox_list"),
        (
            Server::Crm,
            "resources/list",
            "resources",
            "uri",
            vec![10, 6],
            "desk://refund-rules",
            "ticket://T-1015",
        ),
        (
            Server::Crm,
            "resources/templates/list",
            "resourceTemplates",
            "uriTemplate",
            vec![1],
            "ticket://{id}",
            "ticket://{id}",
        ),
        (Server::Crm, "prompts/list", "prompts", "name", vec![1], "triage_ticket", "triage_ticket"),
    ] {
        let (mut names, mut sizes, mut params) = (Vec::new(), Vec::new(), json!({}));
        loop {
            let answer = desk.ask(server, &[(method, params)]).remove(0);
            let items = answer["result"][listing].as_array().unwrap();
            sizes.push(items.len());
            names.extend(items.iter().map(|item| item[key].as_str().unwrap().to_owned()));
            match answer["result"].get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => break,
            }
        }
        assert_eq!(
            (sizes, names.first().unwrap().as_str(), names.last().unwrap().as_str()),
            (pages, first, last)
        );
        names.dedup();
        assert!(names.is_sorted() || listing == "tools", "{names:?}");
    }
}

#[test]
fn a_cursor_that_was_not_given_out_is_refused() {
    let desk = Desk::new();
    let given = desk.ask(Server::Crm, &[("tools/list", json!({}))])[0]["result"]["nextCursor"].clone();
    for (cursor, accepted) in [
        (given, true),
        (json!(""), false),
        (json!("tools@3"), false),
        (json!("resources@10"), false),
        (json!("tools@-4"), false),
        (json!("tools@99999999999999999999999"), false),
        (json!(4), false),
        (Value::Null, false),
    ] {
        let answer = &desk.ask(Server::Crm, &[("tools/list", json!({ "cursor": cursor }))])[0];
        assert_eq!(code(answer), if accepted { None } else { Some(-32602) }, "{cursor}");
    }
    // The largest number that fits: an empty page or a refusal, never a crash.
    let far = format!("tools@{}", usize::MAX - 3);
    let answer = &desk.ask(Server::Crm, &[("tools/list", json!({ "cursor": far }))])[0];
    assert_eq!(answer["result"], json!({ "tools": [] }));
}

#[test]
fn malformed_calls_are_protocol_errors_and_unfit_arguments_are_tool_errors() {
    let desk = Desk::new();
    for (params, expected) in [
        (json!({ "name": "outbox_list", "arguments": {} }), Ok(false)),
        (json!({ "name": "outbox_list" }), Ok(false)),
        (json!({ "name": "outbox_list", "arguments": { "all": true } }), Ok(true)),
        (json!({ "name": "send", "arguments": {} }), Ok(true)),
        (json!({ "name": "outbox_list", "arguments": [] }), Err(-32602)),
        (json!({ "name": "outbox_list", "arguments": null }), Err(-32602)),
        (json!({ "name": "Outbox_list" }), Err(-32602)),
        (json!({ "name": "customer_get", "arguments": { "id": "C-001" } }), Err(-32602)),
        (json!({ "arguments": {} }), Err(-32602)),
        (json!({ "name": 1 }), Err(-32602)),
    ] {
        let answer = &desk.ask(Server::Mail, &[("tools/call", params.clone())])[0];
        let got = match code(answer) {
            Some(code) => Err(code),
            None => Ok(answer["result"]["isError"].as_bool().unwrap()),
        };
        assert_eq!(got, expected, "{params}");
    }
}

#[test]
fn the_hints_say_what_each_tool_does() {
    let desk = Desk::new();
    let mut got = Vec::new();
    for server in Server::ALL {
        let second = json!({ "cursor": "tools@4" });
        let pages = if server == Server::Crm { vec![json!({}), second] } else { vec![json!({})] };
        for params in pages {
            for tool in desk.ask(server, &[("tools/list", params)])[0]["result"]["tools"].as_array().unwrap()
            {
                let hint = |name: &str| tool["annotations"][name].as_bool().unwrap();
                got.push((
                    tool["name"].as_str().unwrap().to_owned(),
                    (hint("readOnlyHint"), hint("destructiveHint"), hint("idempotentHint")),
                ));
                assert_eq!(tool["inputSchema"]["additionalProperties"], false);
            }
        }
    }
    let (read, add, settle, spend, erase) = (
        (true, false, true),
        (false, false, false),
        (false, false, true),
        (false, true, false),
        (false, true, true),
    );
    let expected = [
        ("customer_get", read),
        ("customer_search", read),
        ("ticket_list", read),
        ("ticket_get", read),
        ("ticket_reply", add),
        ("ticket_close", settle),
        ("order_get", read),
        ("refund_list", read),
        ("refund_create", spend),
        ("customer_delete", erase),
        ("send", add),
        ("outbox_list", read),
    ];
    assert_eq!(got, expected.map(|(name, hints)| (name.to_owned(), hints)));
}

#[test]
fn resources_and_the_prompt_are_read_or_refused() {
    let desk = Desk::new();
    for (method, params, expected) in [
        ("resources/read", json!({ "uri": "ticket://T-1001" }), Ok("/contents/0/text")),
        ("resources/read", json!({ "uri": "desk://refund-rules" }), Ok("/contents/0/text")),
        ("resources/read", json!({ "uri": "ticket://T-9999" }), Err(-32002)),
        ("resources/read", json!({ "uri": "ticket://t-1001" }), Err(-32002)),
        ("resources/read", json!({ "uri": "file:///etc/passwd" }), Err(-32002)),
        ("resources/read", json!({}), Err(-32602)),
        (
            "prompts/get",
            json!({ "name": "triage_ticket", "arguments": { "ticket_id": "T-1001" } }),
            Ok("/messages/1/content/resource/text"),
        ),
        (
            "prompts/get",
            json!({ "name": "triage_ticket", "arguments": { "ticket_id": "T-9999" } }),
            Err(-32602),
        ),
        ("prompts/get", json!({ "name": "triage_ticket", "arguments": {} }), Err(-32602)),
        ("prompts/get", json!({ "name": "triage_ticket" }), Err(-32602)),
        ("prompts/get", json!({ "name": "triage", "arguments": { "ticket_id": "T-1001" } }), Err(-32602)),
    ] {
        let answer = &desk.ask(Server::Crm, &[(method, params.clone())])[0];
        match expected {
            Ok(at) => {
                let text = answer["result"].pointer(at).and_then(Value::as_str).unwrap();
                assert!(text.contains(if params["uri"] == "desk://refund-rules" {
                    "100.00"
                } else {
                    "chip"
                }));
            }
            Err(expected) => assert_eq!(code(answer), Some(expected), "{method} {params}"),
        }
    }
}
