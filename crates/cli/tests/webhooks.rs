//! Questions go out signed and signed answers come back; whoever cannot sign, or says it twice, late or about another call, grants
//! nothing and leaves an alert.

mod common;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, Client, Gate, Project, Web, eventually, ran};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

const ASKED: &str = "fix__act_asked";
const SECRET: &str = "whsec_c2l4dGVlbiBieXRlcyBhdCBsZWFzdCBhcmUgaGVyZQ==";
const POLICY: &str = r#"permit (principal, action in Action::"write", resource) when { context.approved };"#;

/// The headers and the body of a message.
type Message = (Vec<(String, String)>, String);

/// Somebody who is told of questions.
#[derive(Clone, Default)]
struct Chat(Arc<Mutex<Vec<Message>>>);

impl Chat {
    /// Listens; the address to tell.
    fn listen() -> (Self, String) {
        let chat = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/told", listener.local_addr().expect("an address"));
        let told = chat.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("a connection");
                let mut all = Vec::new();
                let mut chunk = [0; 4096];
                let message = loop {
                    let count = stream.read(&mut chunk).expect("a request");
                    all.extend_from_slice(&chunk[..count]);
                    if let Some(message) = whole(&all) {
                        break message;
                    }
                };
                // The first time it is not there; it is told again.
                let status = if number == 0 { "503 Service Unavailable" } else { "204 No Content" };
                if number > 0 {
                    told.0.lock().expect("no panic").push(message);
                }
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        (chat, url)
    }

    fn told(&self) -> Message {
        eventually("the chat is told", || self.0.lock().expect("no panic").last().cloned())
    }
}

fn whole(all: &[u8]) -> Option<Message> {
    let text = String::from_utf8_lossy(all);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let headers: Vec<(String, String)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    (body.len() >= length).then(|| (headers, body.to_owned()))
}

fn sign(secret: &str, id: &str, at: &str, body: &str) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a prefix")).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    format!("v1,{}", STANDARD.encode(hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes())))
}

fn seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

struct Told {
    project: Project,
    gate: Gate,
    chat: Chat,
}

impl Told {
    fn new(answers: bool) -> Self {
        let (chat, url) = Chat::listen();
        let project = Project::new(POLICY);
        project.set("ask_wait_seconds", "20");
        let path = project.config().join("bailiwick.toml");
        let text = std::fs::read_to_string(&path).expect("the configuration");
        let more = format!(
            "[approvals]\nterminal = false\n\n[[approvals.webhook]]\nname = \"chat\"\nurl = \"{url}\"\nsecret = \"chat-key\"\nanswers = {answers}\n\n[secret.chat-key]\n"
        );
        std::fs::write(&path, format!("{text}\n{more}")).expect("the configuration");
        let set = project.run_with(&["secret", "set", "chat-key"], SECRET.as_bytes());
        assert_eq!(set.code, 0, "{set:?}");
        let gate = Gate::start(&project);
        Self { project, gate, chat }
    }

    /// Posts an answer with these headers.
    fn answer(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let web = Web::at(&self.gate);
        let host = web.headers().remove(0);
        let mut all = vec![host, ("Content-Type".to_owned(), "application/json".to_owned())];
        all.retain(|(name, _)| !headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)));
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        web.send("POST", "/approvals/answer", &all, body.as_bytes())
    }

    /// The same, signed as it should be.
    fn signed(&self, id: &str, body: &str) -> Answer {
        let at = seconds().to_string();
        let signature = sign(SECRET, id, &at, body);
        self.answer(
            &[("webhook-id", id), ("webhook-timestamp", &at), ("webhook-signature", &signature)],
            body,
        )
    }
}

#[test]
fn a_question_goes_out_signed_and_a_signed_answer_lets_the_call_run() {
    let told = Told::new(true);
    let mut agent = Client::connect(&told.project);
    let call = agent.begin_call(ASKED, json!({ "mark": "a" }));
    let (headers, body) = told.chat.told();
    let header =
        |name: &str| headers.iter().find(|(is, _)| is == name).map(|(_, value)| value.clone()).expect("it");
    let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
    assert_eq!(header("webhook-signature"), sign(SECRET, &id, &at, &body));
    let question: Value = serde_json::from_str(&body).expect("JSON");
    let data = &question["data"];
    assert_eq!((&data["tool"], &data["arguments"]), (&json!("fix/act_asked"), &json!({ "mark": "a" })));
    assert!(data["shown"]["concerns"].is_array());
    let by_socket = told.project.run(&["approvals", "grant", data["id"].as_str().expect("an id")]);
    assert!(by_socket.code != 0 && by_socket.err.contains("`terminal` in [approvals]"), "{by_socket:?}");
    let answer = json!({ "approval": data["id"], "request_digest": data["request_digest"], "answer": "grant", "by": "ann" });
    let taken = told.signed("answer-1", &answer.to_string());
    assert_eq!(taken.status, 200, "{taken:?}");
    assert!(ran(&agent.answer(call)));
    let answered = &told.project.records("answered")[0];
    assert_eq!((&answered["by"], &answered["channel"]), (&json!("ann"), &json!("webhook")));
    assert_eq!(told.signed("answer-2", &answer.to_string()).status, 409, "it is answered");
    let call = agent.begin_call(ASKED, json!({ "mark": "b" }));
    let data = eventually("the next is told", || {
        let question: Value = serde_json::from_str(&told.chat.told().1).ok()?;
        (question["data"]["arguments"]["mark"] == "b").then(|| question["data"].clone())
    });
    let answer = json!({ "approval": data["id"], "request_digest": data["request_digest"], "answer": "refuse",
        "by": "ann", "reason": "not now" });
    assert_eq!(told.signed("answer-3", &answer.to_string()).status, 200);
    assert!(common::words(&agent.answer(call)).contains("not now"));
    assert_eq!(told.project.marks(), ["a"]);
}

#[test]
fn no_other_answer_grants_and_each_leaves_an_alert() {
    let told = Told::new(true);
    let mut agent = Client::connect(&told.project);
    let call = agent.begin_call(ASKED, json!({ "mark": "a" }));
    let data = serde_json::from_str::<Value>(&told.chat.told().1).expect("JSON")["data"].clone();
    let answer = json!({ "approval": data["id"], "request_digest": data["request_digest"], "answer": "grant", "by": "ann" });
    let body = answer.to_string();
    let at = seconds().to_string();
    let good = sign(SECRET, "x", &at, &body);
    let other = sign("whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg==", "x", &at, &body);
    let old = (seconds() - 301).to_string();
    let signed_old = sign(SECRET, "x", &old, &body);
    let mut tried = 0;
    for (what, status, headers) in [
        ("unsigned", 403, vec![("webhook-id", "x"), ("webhook-timestamp", at.as_str())]),
        (
            "another key",
            403,
            vec![("webhook-id", "x"), ("webhook-timestamp", &at), ("webhook-signature", &other)],
        ),
        (
            "another id",
            403,
            vec![("webhook-id", "y"), ("webhook-timestamp", &at), ("webhook-signature", &good)],
        ),
        (
            "old",
            403,
            vec![("webhook-id", "x"), ("webhook-timestamp", &old), ("webhook-signature", &signed_old)],
        ),
        ("no time", 403, vec![("webhook-id", "x"), ("webhook-signature", &good)]),
        (
            "a web page",
            403,
            vec![
                ("webhook-id", "x"),
                ("webhook-timestamp", &at),
                ("webhook-signature", &good),
                ("Origin", "http://127.0.0.1"),
            ],
        ),
        (
            "a rebound name",
            403,
            vec![
                ("webhook-id", "x"),
                ("webhook-timestamp", &at),
                ("webhook-signature", &good),
                ("Host", "evil.test"),
            ],
        ),
    ] {
        assert_eq!(told.answer(&headers, &body).status, status, "{what}");
        tried += 1;
    }
    let mut another = answer.clone();
    another["request_digest"] = json!("0".repeat(64));
    assert_eq!(told.signed("a", &another.to_string()).status, 400, "about another call");
    another = answer.clone();
    another["answer"] = json!("yes");
    assert_eq!(told.signed("b", &another.to_string()).status, 400, "another word");
    assert_eq!(told.signed("b", &body).status, 403, "an id that was used");
    let large = format!("{{\"approval\":\"{}\"}}", "a".repeat(100_000));
    assert_eq!(told.signed("c", &large).status, 413);
    assert_eq!(told.project.effects().len(), 0);
    let alerts = told.project.noted("alert", tried + 3);
    assert!(alerts.iter().all(|alert| alert["rule"] == "webhook-answer-refused"), "{alerts:?}");
    assert_eq!(told.signed("d", &body).status, 200, "and the right one does");
    assert!(ran(&agent.answer(call)));
}

#[test]
fn a_webhook_that_may_not_answer_is_only_told() {
    let told = Told::new(false);
    let mut agent = Client::connect(&told.project);
    agent.begin_call(ASKED, json!({ "mark": "a" }));
    let data = serde_json::from_str::<Value>(&told.chat.told().1).expect("JSON")["data"].clone();
    let answer = json!({ "approval": data["id"], "request_digest": data["request_digest"], "answer": "grant", "by": "ann" });
    assert_eq!(told.signed("a", &answer.to_string()).status, 403);
    assert_eq!(told.project.effects().len(), 0);
}
