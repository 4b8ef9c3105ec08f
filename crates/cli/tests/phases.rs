//! Phases: an agent goes to a narrower one freely, to a wider one only as somebody granted, and the wider one ends by itself.
//! Reads go on where writes are over.

mod common;

use common::{Answer, Client, Gate, Project, Web, ran, words};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("looking") permit (principal, action in Action::"read", resource);
@id("acting") permit (principal, action == Action::"fix/act", resource) when { context.session.phase == "write" };
@id("widening") permit (principal, action == Action::"bailiwick/phase", resource) when { context.approved };
"#;
const PHASES: &str = r#"
[[phase]]
name = "look"

[[phase]]
name = "plan"

[[phase]]
name = "write"
writes = 1
"#;

fn project() -> Project {
    let project = Project::new(POLICY);
    project.set("phase", "\"plan\"");
    project.set("ask_wait_seconds", "5");
    let path = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, format!("{text}\n{PHASES}")).expect("the configuration");
    // One of the fixture's tools was reviewed as reading.
    let path = project.config().join("tools.lock");
    let mut lock: Value = serde_json::from_slice(&std::fs::read(&path).expect("the lock")).expect("JSON");
    lock["servers"]["fix"]["tools"]["act_denied"]["effect"] = json!("read");
    std::fs::write(&path, lock.to_string()).expect("the lock");
    project
}

/// A client whose conversation has a name.
fn named(project: &Project) -> Client {
    Client::connect_to(project, &["--conversation", "task-1"])
}

fn now(answer: &Value) -> String {
    let phase = &answer["result"]["structuredContent"]["phase"];
    phase.as_str().unwrap_or_else(|| panic!("no phase in {answer}")).to_owned()
}

#[test]
fn write_for_one_step_then_gone_and_reads_go_on() {
    let project = project();
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    assert_eq!(now(&agent.call("bailiwick__phase", json!({}))), "plan");
    assert!(!ran(&agent.call("fix__act", json!({ "mark": "early" }))));
    let asking = agent.begin_call("bailiwick__phase", json!({ "to": "write", "why": "to act once" }));
    let asked = project.asked();
    assert_eq!(asked["tool"], "bailiwick/phase");
    assert_eq!(asked["arguments"]["to"], "write");
    assert_eq!(project.grant(&asked).code, 0);
    assert_eq!(now(&agent.answer(asking)), "write");
    let status = project.json(&["phase", "status", "--json"]);
    assert_eq!(status["conversations"][0]["phase"], "write");
    assert_eq!(status["conversations"][0]["writes_left"], 1);
    assert_eq!(status["possible"]["write"]["fix/act"], "allow");
    assert!(ran(&agent.call("fix__act_denied", json!({ "mark": "look" }))), "reading takes no write");
    assert!(ran(&agent.call("fix__act", json!({ "mark": "one" }))));
    let over = agent.call("fix__act", json!({ "mark": "two" }));
    assert!(!ran(&over) && words(&over).contains("no policy permits"), "{over}");
    assert!(ran(&agent.call("fix__act_denied", json!({ "mark": "look" }))), "reads go on");
    assert_eq!(project.marks().iter().filter(|mark| *mark != "look").collect::<Vec<_>>(), ["one"]);
    let status = project.json(&["phase", "status", "--json"]);
    assert_eq!(status["conversations"][0]["phase"], "plan");
    assert_eq!(status["possible"]["plan"]["fix/act"], Value::Null);
    let moves = project.records("phase");
    assert_eq!(
        (&moves[0]["from"], &moves[0]["to"], &moves[0]["by"]),
        (&json!("plan"), &json!("write"), &json!("tester"))
    );
}

#[test]
fn narrower_is_free_and_stays_and_nobody_takes_what_is_wider() {
    let project = project();
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    assert_eq!(now(&agent.call("bailiwick__phase", json!({ "to": "look" }))), "look");
    let unknown = agent.call("bailiwick__phase", json!({ "to": "wirte" }));
    assert!(!ran(&unknown) && words(&unknown).contains("`look`, `plan`, `write`"), "{unknown}");
    let asking = agent.begin_call("bailiwick__phase", json!({ "to": "plan" }));
    let asked = project.asked();
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(project.run(&["approvals", "refuse", id, "--reason", "look first"]).code, 0);
    let refused = agent.answer(asking);
    assert!(!ran(&refused) && words(&refused).contains("look first"), "{refused}");
    assert_eq!(now(&agent.call("bailiwick__phase", json!({}))), "look");
}

#[test]
fn an_operator_widens_for_a_while_and_what_was_narrowed_survives_a_kill() {
    let project = project();
    let gate = Gate::start(&project);
    let mut agent = named(&project);
    let set = |to: &str, more: &[&str]| {
        let mut line = vec!["phase", "set", to, "--conversation", "task-1"];
        line.extend(more);
        project.run(&line)
    };
    let wide = set("write", &["--for", "1s", "--writes", "5"]);
    assert!(wide.code == 0 && wide.out.contains("in write"), "{wide:?}");
    assert!(ran(&agent.call("fix__act", json!({ "mark": "one" }))));
    assert!(!ran(&agent.call("fix__act", json!({ "mark": "two" }))), "the phase itself permits one");
    assert_eq!(set("write", &["--for", "1s"]).code, 0);
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert!(!ran(&agent.call("fix__act", json!({ "mark": "late" }))));
    assert_eq!(set("look", &[]).code, 0);
    assert!(set("wirte", &[]).err.contains("there is no phase"));
    gate.kill9();
    drop(agent);
    let _gate = Gate::start(&project);
    let mut agent = named(&project);
    assert_eq!(now(&agent.call("bailiwick__phase", json!({}))), "look");
    assert_eq!(project.marks(), ["one"]);
}

#[test]
fn phases_with_a_mistake_are_named_at_the_start() {
    for (phases, says) in [
        ("[[phase]]\nname = \"look\"", "sessions begin in phase `plan`, which is not among `look`"),
        ("[[phase]]\nname = \"plan\"\n[[phase]]\nname = \"plan\"", "named twice"),
        ("[[phase]]\nname = \"plan\"\nwrites = 0", "`writes` is 0"),
        ("[[phase]]\nname = \"plan\"\nidle_seconds = 0", "`idle_seconds` is 0"),
        ("[[phase]]\nname = \"a b\"", "a phase is named with"),
        ("[[phase]]\nname = \"plan\"\nlasts = 3", "unknown field `lasts`"),
    ] {
        let project = Project::new(POLICY);
        project.set("phase", "\"plan\"");
        let path = project.config().join("bailiwick.toml");
        let text = std::fs::read_to_string(&path).expect("the configuration");
        std::fs::write(&path, format!("{text}\n{phases}\n")).expect("the configuration");
        let checked = project.run(&["policy", "check"]);
        assert!(checked.code != 0 && checked.err.contains(says), "{phases}: {checked:?}");
    }
}

/// Asks over HTTP, as a program that speaks no MCP.
fn over_http(gate: &Gate, method: &str, conversation: &str, body: &Value) -> (u16, Value) {
    let web = Web::at(gate);
    let mut headers = web.headers();
    if !conversation.is_empty() {
        headers.push(("Bailiwick-Conversation".to_owned(), conversation.to_owned()));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let Answer { status, body, .. } = web.send(method, "/phases", &headers, body.as_bytes());
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[test]
fn over_http_a_phase_is_asked_for_and_never_taken() {
    let project = project();
    project.set("ask_wait_seconds", "20");
    let gate = Gate::start(&project);
    let mut agent = named(&project);
    assert!(!ran(&agent.call("fix__act", json!({ "mark": "early" }))));
    let (status, told) = over_http(&gate, "GET", "task-1", &Value::Null);
    assert_eq!((status, &told["conversations"][0]["phase"]), (200, &json!("plan")), "{told}");
    for (method, conversation, body, expected) in [
        ("GET", "", Value::Null, 400),
        ("GET", "another", Value::Null, 404),
        ("POST", "", json!({ "to": "write" }), 400),
        ("POST", "task-1", json!({ "to": "wirte" }), 400),
        ("POST", "task-1", json!({ "to": "write", "seconds": 9 }), 400),
        ("POST", "task-1", json!({ "to": "write", "id": "x".repeat(129) }), 400),
        ("POST", "task-1", Value::Null, 400),
        ("PUT", "task-1", json!({ "to": "write" }), 405),
    ] {
        let (status, told) = over_http(&gate, method, conversation, &body);
        assert_eq!(status, expected, "{method} {conversation} {body}: {told}");
        assert!(told["error"].is_string(), "{told}");
    }
    // Not waiting: it is asked, and asked again under the same name it is found refused, and not asked anew.
    let ask = |id: &str| json!({ "to": "write", "why": "to act once", "id": id, "wait": false });
    let (status, told) = over_http(&gate, "POST", "task-1", &ask("one"));
    assert_eq!(status, 202, "{told}");
    let asked = project.asked();
    assert_eq!((&asked["id"], &asked["tool"]), (&told["approval"], &json!("bailiwick/phase")));
    assert_eq!(asked["arguments"], json!({ "to": "write", "why": "to act once" }));
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(project.run(&["approvals", "refuse", id, "--reason", "look first"]).code, 0);
    let (status, told) = over_http(&gate, "POST", "task-1", &ask("one"));
    assert!(status == 403 && told["error"].as_str().is_some_and(|why| why.contains("look first")), "{told}");
    assert!(project.pending().is_empty());
    // Waiting: the answer comes once a person gave it.
    let waiting = std::thread::scope(|scope| {
        let asking = scope.spawn(|| over_http(&gate, "POST", "task-1", &json!({ "to": "write" })));
        let asked = project.asked();
        assert_eq!(project.grant(&asked).code, 0);
        asking.join().expect("an answer")
    });
    assert_eq!((waiting.0, &waiting.1["phase"]), (200, &json!("write")), "{waiting:?}");
    assert!(ran(&agent.call("fix__act", json!({ "mark": "one" }))));
    assert!(!ran(&agent.call("fix__act", json!({ "mark": "two" }))));
    // Narrower is free here too.
    let (status, told) = over_http(&gate, "POST", "task-1", &json!({ "to": "look" }));
    assert_eq!((status, &told["phase"]), (200, &json!("look")));
    assert_eq!(project.marks(), ["one"]);
}
