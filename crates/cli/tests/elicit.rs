//! Small questions on the client's own screen, where the operator wants that: an accepted one is a grant for exactly that call.
//! Everything else waits for the other channels, and so does everything while it is not wanted.

mod common;

use common::{Client, Gate, POLICY, Project, ran, words};
use serde_json::{Value, json};
use std::time::Duration;

const ASKED: &str = "fix__act_asked";

fn project(wanted: bool, impact: &str) -> Project {
    let project = Project::new(POLICY);
    project.set("ask_wait_seconds", "20");
    let path = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, format!("{text}\n[approvals]\nelicit = {wanted}\n")).expect("the configuration");
    let path = project.config().join("tools.lock");
    let mut lock: Value = serde_json::from_slice(&std::fs::read(&path).expect("the lock")).expect("JSON");
    lock["servers"]["fix"]["tools"]["act_asked"]["impact"] = json!(impact);
    std::fs::write(&path, lock.to_string()).expect("the lock");
    project
}

fn client(project: &Project, elicitation: Value) -> Client {
    let mut client = Client::open(project, &[]);
    let hello = json!({
        "protocolVersion": "2025-11-25", "clientInfo": { "name": "test", "version": "1" },
        "capabilities": if elicitation.is_null() { json!({}) } else { json!({ "elicitation": elicitation }) },
    });
    assert!(client.request("initialize", hello)["result"].is_object());
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    client
}

/// The question that reaches the client, and its id.
fn question(client: &mut Client) -> (Value, String) {
    let message = client.receive().expect("a question");
    assert_eq!(message["method"], "elicitation/create", "{message}");
    assert_eq!(message["params"]["requestedSchema"]["type"], "object");
    (message["id"].clone(), message["params"]["message"].as_str().expect("words").to_owned())
}

fn reply(client: &mut Client, id: &Value, action: &str) {
    client.send(&json!({ "jsonrpc": "2.0", "id": id, "result": { "action": action, "content": {} } }));
}

#[test]
fn an_accepted_question_is_a_grant_for_exactly_that_call() {
    let project = project(true, "low");
    let _gate = Gate::start(&project);
    let mut agent = client(&project, json!({}));
    let call = agent.begin_call(ASKED, json!({ "mark": "t1" }));
    let (id, asked) = question(&mut agent);
    assert_eq!(asked, r#"Let fix/act_asked run with {"mark":"t1"}?"#);
    assert_eq!(project.effects().len(), 0);
    reply(&mut agent, &id, "accept");
    assert!(ran(&agent.answer(call)));
    assert_eq!(project.marks(), ["t1"]);
    let answered = &project.noted("answered", 1)[0];
    assert_eq!((&answered["channel"], &answered["answer"]), (&json!("client"), &json!("grant")));
    // A second answer to the same question is nobody's. And now something untrusted was read, which the arguments come from: that
    // is not for whoever sits at the client.
    reply(&mut agent, &id, "accept");
    let call = agent.begin_call(ASKED, json!({ "mark": "t1" }));
    let waiting = project.asked();
    assert_eq!(waiting["shown"]["values"][0]["fits"], false, "{waiting}");
    assert_eq!(project.run(&["approvals", "refuse", waiting["id"].as_str().expect("an id")]).code, 0);
    let first = agent.receive().expect("a message");
    assert!(first["id"] == call && !ran(&first), "{first}");
    // The same again is asked again, and may be declined.
    let mut agent = client(&project, json!({}));
    let call = agent.begin_call(ASKED, json!({ "mark": "t1" }));
    let (second, _) = question(&mut agent);
    reply(&mut agent, &second, "decline");
    let refused = agent.answer(call);
    assert!(!ran(&refused) && words(&refused).contains("declined in the client"), "{refused}");
    assert_eq!(project.marks(), ["t1"]);
}

#[test]
fn a_cancelled_or_odd_answer_grants_nothing_and_the_call_waits_for_the_others() {
    let project = project(true, "low");
    let _gate = Gate::start(&project);
    for (number, reply) in [
        json!({ "result": { "action": "cancel" } }),
        json!({ "result": { "action": "Accept" } }),
        json!({ "result": { "action": true } }),
        json!({ "result": {} }),
        json!({ "error": { "code": -32603, "message": "accept" } }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut agent = client(&project, json!({ "form": {} }));
        let mark = format!("t{number}");
        let call = agent.begin_call(ASKED, json!({ "mark": mark }));
        let (id, _) = question(&mut agent);
        let mut message = reply.clone();
        message["jsonrpc"] = json!("2.0");
        message["id"] = id;
        agent.send(&message);
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(project.effects().len(), number, "{reply}");
        assert_eq!(project.grant(&project.asked()).code, 0);
        assert!(ran(&agent.answer(call)), "{reply}");
    }
}

#[test]
fn a_question_that_was_answered_elsewhere_is_taken_back() {
    let project = project(true, "low");
    let _gate = Gate::start(&project);
    let mut agent = client(&project, json!({}));
    let call = agent.begin_call(ASKED, json!({ "mark": "t1" }));
    let (id, _) = question(&mut agent);
    assert_eq!(project.grant(&project.asked()).code, 0);
    let messages: Vec<Value> = (0..2).map(|_| agent.receive().expect("a message")).collect();
    assert!(messages.iter().any(|one| one["id"] == call && ran(one)), "{messages:?}");
    let taken_back =
        |one: &Value| one["method"] == "notifications/cancelled" && one["params"]["requestId"] == id;
    assert!(messages.iter().any(taken_back), "{messages:?}");
    reply(&mut agent, &id, "accept");
    assert_eq!(project.marks(), ["t1"]);
}

#[test]
fn who_is_not_asked_waits_for_the_other_channels() {
    for (what, wanted, impact, capability) in [
        ("not wanted", false, "low", json!({})),
        ("high impact", true, "high", json!({})),
        ("a client that said nothing", true, "low", Value::Null),
        ("a client that only opens addresses", true, "low", json!({ "url": {} })),
    ] {
        let project = project(wanted, impact);
        let _gate = Gate::start(&project);
        let mut agent = client(&project, capability);
        let call = agent.begin_call(ASKED, json!({ "mark": "t1" }));
        let asked = project.asked();
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(project.grant(&asked).code, 0);
        let first = agent.receive().expect("a message");
        assert!(first["id"] == call && ran(&first), "{what}: {first}");
    }
}

#[test]
fn a_modern_client_is_asked_in_its_own_way_and_brings_the_answer() {
    let project = project(true, "low");
    let _gate = Gate::start(&project);
    let mut agent = Client::open(&project, &[]);
    let about = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": {} } },
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let call = |mark: &str, more: Value| {
        let mut params = json!({ "name": ASKED, "arguments": { "mark": mark }, "_meta": about });
        for (name, value) in more.as_object().expect("members") {
            params[name] = value.clone();
        }
        params
    };
    let asked = agent.request("tools/call", call("t1", json!({})));
    let asked = &asked["result"];
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let (key, question) = asked["inputRequests"].as_object().and_then(|all| all.iter().next()).expect("one");
    assert_eq!(question["method"], "elicitation/create");
    let bring = |mark: &str, action: &str, state: &Value| {
        call(mark, json!({ "requestState": state, "inputResponses": { key: { "action": action } } }))
    };
    // The state is of that call, and of no other.
    let other = agent.request("tools/call", bring("t2", "accept", &asked["requestState"]));
    assert!(!ran(&other), "{other}");
    assert_eq!(project.effects().len(), 0);
    let asked = agent.request("tools/call", call("t1", json!({})));
    let state = &asked["result"]["requestState"];
    assert!(state.is_string(), "the question that was left open is asked again: {asked}");
    let answer = agent.request("tools/call", bring("t1", "accept", state));
    assert!(ran(&answer), "{answer}");
    assert_eq!(project.marks(), ["t1"]);
    assert!(!ran(&agent.request("tools/call", bring("t1", "accept", state))), "it is spent");
    let mut agent = Client::open(&project, &[]);
    let asked = agent.request("tools/call", call("t3", json!({})));
    let refused = agent.request("tools/call", bring("t3", "decline", &asked["result"]["requestState"]));
    assert!(!ran(&refused) && words(&refused).contains("declined in the client"), "{refused}");
    assert_eq!(project.marks(), ["t1"]);
}
