//! Hostile and broken input at every edge: clients, servers, HTTP, configuration, state, disk.
//! Each bad thing stands beside a good one that still works, and nothing bad ever runs.

mod common;

use common::{Client, Gate, POLICY, Project, Web, fixture, ran, words};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Messages no client should send: what, the bytes, the JSON-RPC code, and words of the answer.
fn bad_messages() -> Vec<(&'static str, Vec<u8>, i64, &'static str)> {
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{{"name":"fix__act","arguments":{arguments}}}}}"#
        )
    };
    let deep = |levels: usize| {
        call(&format!(r#"{{"mark":"bad","x":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels)))
    };
    let mut bad: Vec<(&'static str, Vec<u8>, i64, &'static str)> = vec![
        ("nested 10,000 deep", deep(10_000).into_bytes(), -32600, "nested deeper"),
        ("nested one too deep", deep(126).into_bytes(), -32600, "nested deeper"),
        ("a member twice", br#"{"jsonrpc":"2.0","id":77,"id":78,"method":"ping"}"#.to_vec(), -32700, "stands twice"),
        ("a member twice, escaped", br#"{"jsonrpc":"2.0","id":77,"method":"ping","m\u0065thod":"tools/list"}"#.to_vec(), -32700, "stands twice"),
        (
            "a parameter twice",
            br#"{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"fix__act","name":"fix__act_denied","arguments":{"mark":"bad"}}}"#.to_vec(),
            -32602,
            "stands twice",
        ),
        ("an argument twice", call(r#"{"mark":"bad","mark":"worse"}"#).into_bytes(), -32602, "arguments"),
        ("an argument twice, escaped", call(r#"{"mark":"bad","\u006dark":"worse"}"#).into_bytes(), -32602, "arguments"),
        ("a lone high surrogate", call(r#"{"mark":"bad\ud800"}"#).into_bytes(), -32602, "arguments"),
        ("a lone low surrogate in a name", call(r#"{"mark":"bad","\udc00":1}"#).into_bytes(), -32602, "arguments"),
        ("an integer past 2^53", call(r#"{"mark":"bad","amount":9007199254740993}"#).into_bytes(), -32602, "arguments"),
        ("an integer past 2^64", call(r#"{"mark":"bad","amount":99999999999999999999}"#).into_bytes(), -32602, "arguments"),
        ("a batch", format!("[{}]", call(r#"{"mark":"bad"}"#)).into_bytes(), -32600, "batch"),
        ("an empty batch", b"[]".to_vec(), -32600, "batch"),
        ("garbage", b"hello there".to_vec(), -32700, "JSON"),
        ("half a message", br#"{"jsonrpc":"2.0","id":77,"#.to_vec(), -32700, "JSON"),
        ("two messages in one", br#"{"jsonrpc":"2.0","id":77,"method":"ping"}{"jsonrpc":"2.0","id":78,"method":"ping"}"#.to_vec(), -32700, "JSON"),
        ("a bare text", br#""tools/call""#.to_vec(), -32700, "JSON"),
        ("another version", br#"{"jsonrpc":"1.0","id":77,"method":"ping"}"#.to_vec(), -32600, "jsonrpc"),
        ("a number as method", br#"{"jsonrpc":"2.0","id":77,"method":7}"#.to_vec(), -32600, "method"),
        ("params that are a list", br#"{"jsonrpc":"2.0","id":77,"method":"tools/call","params":[1]}"#.to_vec(), -32602, "params"),
        ("arguments that are a list", call("[1]").into_bytes(), 0, ""),
        ("arguments that are a text", call(r#""x""#).into_bytes(), 0, ""),
        ("an unknown argument", call(r#"{"mark":"bad","more":1}"#).into_bytes(), 0, ""),
        ("no argument at all", call("{}").into_bytes(), 0, ""),
        ("a wrong type", call(r#"{"mark":7}"#).into_bytes(), 0, ""),
    ];
    let mut not_utf8 = call(r#"{"mark":"bad?"}"#).into_bytes();
    let at = not_utf8.iter().position(|byte| *byte == b'?').expect("a mark");
    not_utf8[at] = 0xff;
    bad.push(("bytes that are not UTF-8", not_utf8, -32700, "JSON"));
    for id in ["null", "1.5", "1e3", "true", "{}", "[1]", "123456789012345678901234567890"] {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"fix__act","arguments":{{"mark":"bad"}}}}}}"#
        );
        bad.push(("an unusable id", call.into_bytes(), -32600, "id"));
    }
    bad
}

/// Whether an answer is the refusal that was expected: a JSON-RPC error of this code, or a denial for code 0.
fn refused(what: &str, answer: &Value, code: i64, names: &str) {
    if code == 0 {
        assert!(!ran(answer), "{what}: {answer}");
        return;
    }
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(answer["error"]["code"] == code && message.contains(names), "{what}: {answer}");
}

#[test]
fn bad_lines_are_answered_and_the_next_call_works() {
    let project = Project::new(POLICY);
    let mut gate = Gate::start(&project);
    let mut client = Client::connect(&project);
    let mut good = Vec::new();
    for (what, mut bytes, code, names) in bad_messages() {
        bytes.push(b'\n');
        client.send_bytes(&bytes);
        refused(what, &client.receive().expect("an answer"), code, names);
        good.push(format!("good-{}", good.len()));
        let answer = client.call("fix__act", json!({ "mark": good.last() }));
        assert!(ran(&answer), "after {what}: {answer}");
    }
    // Ids that can be used, beside those that cannot.
    for id in ["0", "-5", "9007199254740993", "\"a\"", "\"\"", "\"\\ud83d\\ude00\""] {
        client.send_bytes(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n").as_bytes());
        let answer = client.receive().expect("an answer");
        assert_eq!(answer["id"], serde_json::from_str::<Value>(id).expect("an id"));
        assert!(answer["result"].is_object(), "{answer}");
    }
    assert_eq!(project.marks(), good);
    assert!(gate.is_running());
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

#[test]
fn bad_bodies_are_answered_and_the_next_call_works() {
    let project = Project::new(POLICY);
    let mut gate = Gate::start(&project);
    let client = Web::connect(&gate);
    let mut good = Vec::new();
    for (what, bytes, code, names) in bad_messages() {
        let answer = client.post(&bytes);
        assert!(matches!(answer.status, 200 | 400), "{what}: {answer:?}");
        refused(what, &answer.message(), code, names);
        good.push(format!("good-{}", good.len()));
        let answer = client.call("fix__act", json!({ "mark": good.last() }));
        assert!(ran(&answer), "after {what}: {answer}");
    }
    assert_eq!(project.marks(), good);
    assert!(gate.is_running());
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

#[test]
fn a_message_of_100_megabytes_is_thrown_away() {
    let project = Project::new(POLICY);
    let gate = Gate::start(&project);
    let mut bytes = br#"{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"fix__act","arguments":{"mark":""#.to_vec();
    bytes.resize(100_000_000, b'x');
    bytes.extend_from_slice(b"\"}}}\n");
    let mut client = Client::connect(&project);
    client.send_bytes(&bytes);
    refused("100 MB over stdio", &client.receive().expect("an answer"), -32600, "larger than");
    assert!(ran(&client.call("fix__act", json!({ "mark": "good" }))));
    let web = Web::connect(&gate);
    let answer = web.post(&bytes);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(ran(&web.call("fix__act", json!({ "mark": "good too" }))));
    // A megabyte is not too much.
    let large = "x".repeat(1_000_000);
    assert!(ran(&client.call("fix__act", json!({ "mark": large }))));
    assert_eq!(project.marks(), ["good".to_owned(), "good too".to_owned(), large]);
}

#[test]
fn a_server_that_misbehaves_costs_only_its_own_calls() {
    let project = Project::new(POLICY);
    project.set("call_seconds_max", "2");
    let gate = Gate::start(&project);
    let mut client = Client::connect(&project);
    for (behave, runs, names, status) in [
        ("silent", false, "did not answer within 2 s", "timeout"),
        ("wrong-id", false, "did not answer within 2 s", "timeout"),
        ("deep", false, "did not answer within 2 s", "timeout"),
        ("huge", false, "did not answer within 2 s", "timeout"),
        ("die", false, "has ended", "ambiguous"),
        ("twice", true, "done bad-twice", "ok"),
        ("garbage", true, "done bad-garbage", "ok"),
        ("flood", true, "done bad-flood", "ok"),
    ] {
        let bad = format!("bad-{behave}");
        let answer = client.call("fix__act", json!({ "mark": bad, "behave": behave }));
        assert_eq!(ran(&answer), runs, "{behave}: {answer}");
        assert!(words(&answer).contains(names), "{behave}: {answer}");
        let good = format!("after-{behave}");
        let answer = client.call("fix__act", json!({ "mark": good }));
        assert!(ran(&answer) && words(&answer) == format!("done {good}"), "after {behave}: {answer}");
        let journal = project.journal();
        let decision = journal.iter().find(|record| record["arguments"]["mark"] == *bad).expect("a decision");
        let outcome =
            journal.iter().find(|record| record["kind"] == "outcome" && record["call"] == decision["call"]);
        assert_eq!(outcome.map(|record| record["status"].clone()), Some(json!(status)), "{behave}");
    }
    assert_eq!(project.effects().len(), 16, "nothing was sent twice");
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

#[test]
fn one_malformed_tool_costs_only_itself() {
    let project = Project::new(POLICY);
    let good = fixture::tools().to_string();
    let good = good.strip_suffix(']').expect("a list");
    let gate = Gate::start(&project);
    for bad in [
        "7",
        "null",
        "[]",
        "{}",
        r#"{"name":5,"inputSchema":{}}"#,
        r#"{"name":"x"}"#,
        r#"{"name":"x y","inputSchema":{}}"#,
        r#"{"name":"mcp:other","inputSchema":{}}"#,
        r#"{"name":"x","name":"act_denied","inputSchema":{}}"#,
        r#"{"name":"x\ud800","inputSchema":{}}"#,
        r#"{"name":"x","inputSchema":{"maximum":99999999999999999999}}"#,
    ] {
        std::fs::write(project.fixture().join("tools.json"), format!("{good},{bad}]"))
            .expect("the fixture's folder");
        let mut client = Client::connect(&project);
        assert_eq!(client.tools(), ["fix__act", "fix__act_asked"], "{bad}");
        assert!(ran(&client.call("fix__act", json!({ "mark": bad }))), "{bad}");
    }
    assert_eq!(project.effects().len(), 11);
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

#[test]
fn http_lets_in_only_who_may_and_says_what_is_missing() {
    let project = Project::new(POLICY);
    let gate = Gate::start(&project);
    let web = Web::connect(&gate);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "fix__act", "arguments": { "mark": "bad" } } })
    .to_string();
    let with = |name: &str, value: Option<&str>| {
        let mut headers = web.headers();
        headers.retain(|(found, _)| found != name);
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        headers
    };
    let mut both = web.headers();
    both.push(("Host".to_owned(), "evil.example".to_owned()));
    let port = gate.url.split(':').nth(2).and_then(|rest| rest.split('/').next()).expect("a port");
    let own = |name: &str| format!("http://{name}:{port}");
    type Headers = Vec<(String, String)>;
    let cases: Vec<(&str, u16, Headers)> = vec![
        ("no token", 401, with("Authorization", None)),
        (
            "a wrong token",
            401,
            with(
                "Authorization",
                Some("Bearer 0000000000000000000000000000000000000000000000000000000000000000"),
            ),
        ),
        ("a prefix of the token", 401, with("Authorization", Some(&format!("Bearer {}", &gate.token[..32])))),
        ("an empty token", 401, with("Authorization", Some("Bearer "))),
        ("another scheme", 401, with("Authorization", Some(&format!("Basic {}", gate.token)))),
        ("another host", 403, with("Host", Some("evil.example"))),
        ("a host that only begins right", 403, with("Host", Some("127.0.0.1.evil.example"))),
        ("two hosts", 400, both),
        ("a foreign origin", 403, with("Origin", Some("https://evil.example"))),
        ("a null origin", 403, with("Origin", Some("null"))),
        ("an origin that only begins right", 403, with("Origin", Some("http://localhost.evil.example"))),
        ("an unknown session", 404, with("Mcp-Session-Id", Some("0123456789abcdef"))),
        ("no session", 400, with("Mcp-Session-Id", None)),
        ("another kind of body", 415, with("Content-Type", Some("text/plain"))),
        ("another kind of answer", 406, with("Accept", Some("text/html"))),
    ];
    for (what, status, headers) in cases {
        let answer = web.send("POST", "/mcp", &headers, call.as_bytes());
        // Two Host headers are refused by whoever sees them first.
        let as_expected = answer.status == status || (what == "two hosts" && answer.status == 403);
        assert!(as_expected, "{what}: {answer:?}");
        assert!(!answer.body.contains(&gate.token), "{what}");
    }
    for (method, path, status) in [("PUT", "/mcp", 405), ("POST", "/mcp/none", 404), ("POST", "/", 404)] {
        let answer = web.send(method, path, &web.headers(), b"");
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    assert_eq!(project.effects().len(), 0);
    for good in
        [with("Origin", Some(&own("localhost"))), with("Origin", Some(&own("127.0.0.1"))), web.headers()]
    {
        let answer = web.send("POST", "/mcp", &good, call.as_bytes());
        assert!(answer.status == 200 && ran(&answer.message()), "{answer:?}");
    }
    assert_eq!(project.effects().len(), 3);
    // A session belongs to its endpoint and ends when its client says so.
    assert_eq!(web.send("POST", "/mcp/fix", &web.headers(), call.as_bytes()).status, 404);
    assert_eq!(web.send("DELETE", "/mcp", &web.headers(), b"").status, 200);
    assert_eq!(web.post(call.as_bytes()).status, 404);
    assert_eq!(project.effects().len(), 3);
}

#[test]
fn a_fault_in_a_policy_is_named_with_its_place() {
    let project = Project::new(POLICY);
    for (policy, place, names) in [
        ("permit (principal, action, resource)", "policy/test.cedar:1:", ""),
        ("\n\npermitt (principal, action, resource);", "policy/test.cedar:3:1", ""),
        ("permit (principal, action == Action::\"fix/actt\", resource);", "policy/test.cedar:1:", "fix/actt"),
        (
            "// one\npermit (principal, action == Action::\"fix/act\", resource)\nwhen { context.args.amont > 1 };",
            "policy/test.cedar:3:",
            "amont",
        ),
        (
            "permit (principal, action == Action::\"fix/act\", resource)\nwhen { context.args.mark > 1 };",
            "policy/test.cedar:2:",
            "",
        ),
        (
            "permit (principal, action == Action::\"fix/act\", resource)\nwhen { context.args.amount > 1 };",
            "policy/test.cedar:2:",
            "amount",
        ),
        (
            "@id(\"a\") permit (principal, action == Action::\"fix/act\", resource);\n@id(\"a\") permit (principal, action == Action::\"fix/act_asked\", resource);",
            "policy/test.cedar:",
            "`a`",
        ),
    ] {
        project.only_policy(policy);
        let checked = project.run(&["policy", "check"]);
        assert_eq!(checked.code, 1, "{policy}: {checked:?}");
        assert!(checked.out.contains(place) && checked.out.contains(names), "{policy}: {}", checked.out);
        let served = project.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(served.code, 3, "{policy}: {served:?}");
        assert!(served.err.contains(place), "{policy}: {served:?}");
    }
    project.only_policy(POLICY);
    let checked = project.run(&["policy", "check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
}

#[test]
fn a_fault_in_the_configuration_is_named_and_nothing_is_served() {
    let project = Project::new(POLICY);
    let file = project.config().join("bailiwick.toml");
    let good = std::fs::read_to_string(&file).expect("a configuration");
    for (from, to, names) in [
        ("[gate]\n", "[gate]\nlissten = \"127.0.0.1:1\"\n", "lissten"),
        ("[gate]\n", "[gat]\nx = 1\n[gate]\n", "gat"),
        ("call_seconds_max = 600", "call_seconds_max = \"long\"", "call_seconds_max"),
        ("call_seconds_max = 600", "call_seconds_max = -1", "call_seconds_max"),
        ("[server.fix]\n", "[server.fix]\nurl = \"http://127.0.0.1:9/\"\n", "not both"),
        ("[server.fix]", "[server.a__b]", "a__b"),
        ("[server.fix]", "[server.claude]", "claude"),
        ("[gate]\n", "[gate\n", ""),
    ] {
        assert!(good.contains(from), "{from} in {good}");
        std::fs::write(&file, good.replacen(from, to, 1)).expect("the configuration");
        let served = project.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(served.code, 3, "{to}: {served:?}");
        assert!(served.err.contains("bailiwick.toml") && served.err.contains(names), "{to}: {served:?}");
    }
    std::fs::write(&file, &good).expect("the configuration");
    for (listen, names) in
        [("0.0.0.0:0", "allow_hosts"), ("nonsense", "nonsense"), ("127.0.0.1:99999", "127.0.0.1:99999")]
    {
        let served = project.run(&["serve", "--listen", listen]);
        assert!(served.code == 3 && served.err.contains(names), "{listen}: {served:?}");
    }
    assert_eq!(Gate::start(&project).stop(), Some(0));
    let nowhere = Project::bare();
    let served = nowhere.run(&["serve"]);
    assert!(served.code != 0 && served.err.contains("bailiwick init"), "{served:?}");
}

#[test]
fn no_policy_denies_everything_and_says_so() {
    let project = Project::new(POLICY);
    std::fs::remove_file(project.config().join("policy/test.cedar")).expect("the policy");
    let mut serving = project
        .bailiwick()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the gate starts");
    let mut said = BufReader::new(serving.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let line = said.by_ref().find(|line| line.contains("every call is denied"));
    let mut client = Client::connect(&project);
    let listed = client.tools();
    let answer = client.call("fix__act", json!({ "mark": "bad" }));
    serving.kill().expect("it was running");
    serving.wait().expect("it ends");
    assert!(line.is_some());
    assert_eq!(listed, Vec::<String>::new());
    assert!(words(&answer).contains("no policy permits this"), "{answer}");
    assert_eq!(project.effects().len(), 0);
}

#[test]
fn an_edited_lock_a_newer_state_and_a_missing_key_are_refused() {
    let project = Project::new(POLICY);
    let refused = |names: &[&str]| {
        let served = project.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(served.code, 3, "{served:?}");
        assert!(names.iter().all(|name| served.err.contains(name)), "{names:?}: {served:?}");
    };
    let works = || {
        let _gate = Gate::start(&project);
        assert!(ran(&Client::connect(&project).call("fix__act", json!({ "mark": "good" }))));
    };
    assert_eq!(Gate::start(&project).stop(), Some(0));

    let lock = project.config().join("tools.lock");
    let good = std::fs::read_to_string(&lock).expect("a lock");
    for (edited, names) in [
        (
            good.replacen("\"description\": \"acts\"", "\"description\": \"acts well\"", 1),
            "does not match its digest",
        ),
        (good.replacen("\"version\": 1", "\"version\": 2", 1), "version"),
        (good.replacen("\"servers\"", "\"server\"", 1), "tools.lock"),
        (good[..good.len() / 2].to_owned(), "tools.lock"),
        (String::new(), "tools.lock"),
    ] {
        assert_ne!(good, edited);
        std::fs::write(&lock, edited).expect("the lock");
        refused(&["tools.lock", names]);
    }
    std::fs::write(&lock, &good).expect("the lock");
    works();

    // SQLite keeps `user_version` big-endian at byte 60 of the file.
    let state = project.state().join("state.db");
    assert_eq!(Gate::start(&project).stop(), Some(0));
    let good = std::fs::read(&state).expect("the state");
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&state, newer).expect("the state");
    refused(&["state.db", "newer version", "99"]);
    std::fs::write(&state, b"this is no database, and long enough to look like one: ".repeat(100))
        .expect("the state");
    refused(&["state"]);
    std::fs::write(&state, good).expect("the state");
    works();

    let key = project.state().join("journal.key");
    let aside = project.path().join("aside");
    std::fs::rename(&key, &aside).expect("the key");
    refused(&["journal.key", "missing"]);
    std::fs::rename(&aside, &key).expect("the key");

    // Another project's key opens nothing here, and is not published beside this journal.
    let other = Project::new(POLICY);
    assert_eq!(Gate::start(&other).stop(), Some(0));
    std::fs::rename(&key, &aside).expect("the key");
    std::fs::copy(other.state().join("journal.key"), &key).expect("another key");
    refused(&["journal"]);
    std::fs::rename(&aside, &key).expect("the key");
    assert_eq!(project.verifies().code, 0);

    // A journal damaged where it was already published is not written on.
    assert_eq!(Gate::start(&project).stop(), Some(0));
    let checkpoint = project.journal_folder().join("checkpoint");
    let good = std::fs::read(&checkpoint).expect("a checkpoint");
    std::fs::write(&checkpoint, b"nothing\n").expect("the checkpoint");
    refused(&["journal"]);
    std::fs::write(&checkpoint, good).expect("the checkpoint");

    // State that others may enter is refused by name.
    let open = Command::new("chmod").arg("755").arg(project.state()).status().expect("chmod");
    assert!(open.success());
    refused(&["chmod 700"]);
    assert!(Command::new("chmod").arg("700").arg(project.state()).status().expect("chmod").success());
    works();
}

#[test]
fn a_second_gate_on_the_same_state_is_refused_and_the_first_goes_on() {
    let project = Project::new(POLICY);
    let _gate = Gate::start(&project);
    let mut client = Client::connect(&project);
    let second = project.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 3, "{second:?}");
    assert!(second.err.contains("journal") || second.err.contains("running"), "{second:?}");
    assert!(ran(&client.call("fix__act", json!({ "mark": "good" }))));
    assert!(ran(&Client::connect(&project).call("fix__act", json!({ "mark": "good" }))));
    assert_eq!(project.verifies().code, 0);
}

#[test]
fn a_full_file_denies_and_what_was_recorded_still_verifies() {
    let project = Project::new(POLICY);
    // No file may grow past this; the signal that would end the process is ignored, so writes fail as on a full disk.
    let mut limited = Command::new("/bin/sh");
    project.point(&mut limited);
    limited.args(["-c", "trap '' XFSZ; ulimit -f 480; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_bailiwick")]);
    let gate = Gate::start_by(&project, limited);
    fill(&project, gate);
    goes_on(&project);
}

#[test]
fn a_gate_that_cannot_write_anything_does_not_open() {
    let project = Project::new(POLICY);
    let mut limited = Command::new("/bin/sh");
    project.point(&mut limited);
    limited.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_bailiwick")]);
    let served = common::finish(limited.args(["serve", "--listen", "127.0.0.1:0"]), b"");
    assert!(served.code == 3 && served.err.contains(&project.state().display().to_string()), "{served:?}");
    assert_eq!(served.out, "", "it says nothing that a client could take for an open gate");
}

/// A file system of its own, gone when dropped.
struct Small(std::path::PathBuf);

impl Small {
    /// Nothing where mounting is not allowed.
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the gate may still be ending when a test fails.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_denies_and_what_was_recorded_still_verifies() {
    let project = Project::new(POLICY);
    // The server keeps its home on the same disk, and is not what fills it.
    let config = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let text = text.replace("[server.fix.sandbox]\n", "[server.fix.sandbox]\ndisk_spare_mib = 0\n");
    std::fs::write(&config, text).expect("the configuration");
    let Some(_small) = Small::mount(&project.state()) else {
        eprintln!(
            "skipped a_full_disk_denies_and_what_was_recorded_still_verifies: mounting is not allowed here"
        );
        return;
    };
    let gate = Gate::start(&project);
    fill(&project, gate);
    let more = Command::new("mount").args(["-o", "remount,size=16m"]).arg(project.state()).status();
    assert!(more.is_ok_and(|status| status.success()));
    goes_on(&project);
}

/// Calls until the journal takes no more, and sees that nothing runs from then on.
fn fill(project: &Project, mut gate: Gate) {
    let mut client = Client::connect(project);
    let mut good = 0;
    let denied = (0..20_000).find_map(|number| {
        let answer = client.call("fix__act", json!({ "mark": format!("{number}"), "amount": number }));
        good += usize::from(ran(&answer));
        (!ran(&answer)).then_some(answer)
    });
    let denied = denied.expect("the journal reaches its limit");
    assert!(words(&denied).contains("the journal cannot be written"), "{denied}");
    for _ in 0..20 {
        assert!(!ran(&client.call("fix__act", json!({ "mark": "late" }))));
        assert!(!ran(&Web::connect(&gate).call("fix__act", json!({ "mark": "late" }))));
    }
    assert_eq!(project.effects().len(), good);
    assert!(gate.is_running());
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
    let verified = project.verifies();
    assert_eq!(verified.code, 0, "{verified:?}");
    let decided: HashSet<String> = project
        .records("decision")
        .iter()
        .filter(|record| record["decision"] == "allow")
        .map(|record| record["arguments"]["mark"].as_str().expect("a mark").to_owned())
        .collect();
    for mark in project.marks() {
        assert!(decided.contains(&mark), "`{mark}` had an effect and no record");
    }
    gate.kill9();
}

/// With room again, it goes on where it was.
fn goes_on(project: &Project) {
    let gate = Gate::start(project);
    assert!(ran(&Client::connect(project).call("fix__act", json!({ "mark": "again" }))));
    assert_eq!(gate.stop(), Some(0));
    let verified = project.verifies();
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn a_modern_request_must_say_the_same_in_its_headers_and_its_body() {
    let project = Project::new(POLICY);
    let gate = Gate::start(&project);
    let web = Web::at(&gate);
    let about = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let body = |name: &str, about: &Value| {
        let params = json!({ "name": name, "arguments": { "mark": "good" }, "_meta": about });
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
    };
    let headers = |version: &str, method: &str, name: &str| {
        let mut headers = web.headers();
        for (header, value) in [("Mcp-Protocol-Version", version), ("Mcp-Method", method), ("Mcp-Name", name)]
        {
            if !value.is_empty() {
                headers.push((header.to_owned(), value.to_owned()));
            }
        }
        headers
    };
    let good = headers("2026-07-28", "tools/call", "fix__act");
    let mut twice = good.clone();
    twice.push(("Mcp-Name".to_owned(), "fix__act".to_owned()));
    let mut older = about.clone();
    older["io.modelcontextprotocol/protocolVersion"] = "2030-01-01".into();
    for (what, headers, body) in [
        ("another name", headers("2026-07-28", "tools/call", "fix__act_asked"), body("fix__act", &about)),
        ("another method", headers("2026-07-28", "tools/list", "fix__act"), body("fix__act", &about)),
        ("no method", headers("2026-07-28", "", "fix__act"), body("fix__act", &about)),
        ("no name", headers("2026-07-28", "tools/call", ""), body("fix__act", &about)),
        ("no version in the headers", headers("", "tools/call", "fix__act"), body("fix__act", &about)),
        (
            "another version in the headers",
            headers("2030-01-01", "tools/call", "fix__act"),
            body("fix__act", &about),
        ),
        ("another version in the body", good.clone(), body("fix__act", &older)),
        (
            "an unknown version in both",
            headers("2030-01-01", "tools/call", "fix__act"),
            body("fix__act", &older),
        ),
        ("nothing in the body", good.clone(), body("fix__act", &json!({}))),
        ("a name twice", twice, body("fix__act", &about)),
    ] {
        let answer = web.send("POST", "/mcp", &headers, body.as_bytes());
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
    }
    assert_eq!(project.effects().len(), 0);
    let answer = web.send("POST", "/mcp", &good, body("fix__act", &about).as_bytes());
    assert!(answer.status == 200 && ran(&answer.message()), "{answer:?}");
    assert_eq!(project.marks(), ["good"]);
}
