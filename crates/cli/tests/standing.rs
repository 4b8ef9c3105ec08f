//! Grants that stand: more calls like the one that was asked about, and not one call more. Two people where a policy says so.
//! Each call that a grant covers stands beside the nearest that it does not.

mod common;

use common::{Client, Gate, Project, Ran, finish, ran, words};
use serde_json::{Value, json};

const ASKED: &str = "fix__act_asked";
const POLICY: &str = r#"permit (principal, action in Action::"write", resource) when { context.approved };"#;

/// A project whose calls do not wait, and the approval of its first call.
fn asked(policy: &str, arguments: Value) -> (Project, Gate, Client, String) {
    let project = Project::new(policy);
    project.set("ask_wait_seconds", "0");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    agent.call(ASKED, arguments);
    let id = project.asked()["id"].as_str().expect("an id").to_owned();
    (project, gate, agent, id)
}

fn run_as(project: &Project, user: &str, args: &[&str]) -> Ran {
    finish(project.bailiwick().env("USER", user).args(args), b"")
}

fn grants(project: &Project) -> Vec<Value> {
    project.json(&["approvals", "grants", "--json"]).as_array().expect("a list").clone()
}

#[test]
fn more_calls_like_it_run_as_often_as_was_granted() {
    let (project, gate, mut agent, id) = asked(POLICY, json!({ "mark": "first", "amount": 5 }));
    let granted =
        project.run(&["approvals", "grant", &id, "--uses", "2", "--at-most", "amount=5", "--any", "mark"]);
    assert_eq!(granted.code, 0, "{granted:?}");
    for (arguments, is_covered) in [
        (json!({ "mark": "a", "amount": 6 }), false),
        (json!({ "mark": "a", "amount": -1 }), false),
        (json!({ "mark": "a", "amount": 5, "behave": "" }), false),
        (json!({ "mark": "a" }), false),
        (json!({ "mark": "a", "amount": 5 }), true),
    ] {
        assert_eq!(ran(&agent.call(ASKED, arguments.clone())), is_covered, "{arguments}");
    }
    assert!(!ran(&agent.call("fix__act", json!({ "mark": "a", "amount": 5 }))), "another tool");
    // What is left survives a kill.
    gate.kill9();
    drop(agent);
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    assert_eq!(grants(&project)[0]["left"], 1);
    assert!(ran(&agent.call(ASKED, json!({ "mark": "b", "amount": 0 }))));
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "c", "amount": 1 }))), "it is spent");
    assert!(
        ran(&agent.call(ASKED, json!({ "mark": "first", "amount": 5 }))),
        "and the first call was granted too"
    );
    assert_eq!(project.marks(), ["a", "b", "first"]);
    assert_eq!(grants(&project)[0]["state"], "spent");
    let decided = project.records("decision");
    let by_grant = decided.iter().filter(|record| record["approval"] == grants(&project)[0]["id"]).count();
    assert_eq!(by_grant, 2);
    assert_eq!(project.records("granted").len(), 1);
}

#[test]
fn what_was_taken_back_or_is_over_covers_nothing() {
    let (project, _gate, mut agent, id) = asked(POLICY, json!({ "mark": "a" }));
    assert_eq!(project.run(&["approvals", "grant", &id, "--uses", "9", "--any", "mark"]).code, 0);
    assert!(ran(&agent.call(ASKED, json!({ "mark": "b" }))));
    let grant = grants(&project)[0]["id"].as_str().expect("an id").to_owned();
    let taken = project.run(&["approvals", "withdraw", &grant]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "c" }))));
    assert_ne!(project.run(&["approvals", "withdraw", &grant]).code, 0);

    let asked = project.pending().into_iter().find(|one| one["arguments"]["mark"] == "c").expect("asked");
    let id = asked["id"].as_str().expect("an id");
    assert_eq!(project.run(&["approvals", "grant", id, "--for", "1s", "--any", "mark"]).code, 0);
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "d" }))));
    assert_eq!(project.marks(), ["b"]);
}

#[test]
fn a_changed_policy_ends_what_was_granted_under_the_old_one() {
    let (project, _gate, mut agent, id) = asked(POLICY, json!({ "mark": "a" }));
    assert_eq!(project.run(&["approvals", "grant", &id, "--uses", "9", "--any", "mark"]).code, 0);
    project.only_policy(&format!("{POLICY} // reviewed"));
    assert_eq!(project.run(&["policy", "reload"]).code, 0);
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "b" }))));
    assert_eq!(project.effects().len(), 0);
}

#[test]
fn what_cannot_be_granted_is_said_and_nothing_is_granted() {
    let (project, _gate, mut agent, id) = asked(POLICY, json!({ "mark": "a" }));
    for (options, says) in [
        (["--uses", "0"], "1 to 10000 calls"),
        (["--for", "90d"], "1 to 2592000 seconds"),
        (["--for", "soon"], "is no time"),
        (["--any", "marc"], "no argument `marc`; it has mark"),
        (["--under", "mark"], "write the argument"),
        (["--at-most", "mark=many"], "`many` is no number"),
        (["--at-most", "mark=-3"], "no size"),
    ] {
        let refused = project.run(&["approvals", "grant", &id, options[0], options[1]]);
        assert!(refused.code != 0 && refused.err.contains(says), "{options:?}: {refused:?}");
    }
    assert!(grants(&project).is_empty());
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "a" }))));
}

#[test]
fn where_two_must_agree_one_person_is_not_two() {
    let policy = format!(r#"@approvers("2") {POLICY}"#);
    let (project, _gate, mut agent, id) = asked(&policy, json!({ "mark": "a" }));
    let one = project.run(&["approvals", "grant", &id]);
    assert!(one.code == 0 && one.out.contains("1 more must agree"), "{one:?}");
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "a" }))));
    let again = run_as(&project, "somebody-else", &["approvals", "grant", &id]);
    assert!(again.code != 0 && again.err.contains("the same one"), "a name is not a person: {again:?}");
    let more = project.run(&["approvals", "grant", &id, "--uses", "3"]);
    assert!(more.code != 0 && more.err.contains("several people"), "{more:?}");
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "a" }))));
    assert_eq!(project.run(&["approvals", "refuse", &id, "--reason", "no"]).code, 0);
    assert!(
        words(&agent.call(ASKED, json!({ "mark": "a" }))).contains("nobody answered"),
        "a refusal is for one question"
    );
    assert_eq!(project.effects().len(), 0);
}

#[test]
fn a_policy_that_says_no_number_of_people_is_not_loaded() {
    for (annotation, says) in
        [("two", "no number of people"), ("0", "no number of people"), ("6", "no number of people")]
    {
        let project = Project::new(&format!(r#"@approvers("{annotation}") {POLICY}"#));
        let checked = project.run(&["policy", "check"]);
        assert!(checked.code != 0 && format!("{}{}", checked.out, checked.err).contains(says), "{checked:?}");
    }
}

#[test]
fn what_is_left_to_somebody_is_not_answered_by_another() {
    let (project, _gate, mut agent, id) = asked(POLICY, json!({ "mark": "a" }));
    assert_eq!(project.run(&["approvals", "leave", &id, "--to", "bob"]).code, 0);
    let granted = project.run(&["approvals", "grant", &id]);
    assert!(granted.code != 0 && granted.err.contains("left to bob"), "{granted:?}");
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "a" }))));
    assert_eq!(run_as(&project, "bob", &["approvals", "grant", &id]).code, 0);
    assert!(ran(&agent.call(ASKED, json!({ "mark": "a" }))));
}

#[test]
fn what_was_granted_again_and_again_is_suggested_as_a_policy_and_it_answers() {
    let project = Project::new(POLICY);
    project.set("ask_wait_seconds", "10");
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    for amount in [3, 9, 4] {
        let call = agent.begin_call(ASKED, json!({ "mark": "m", "amount": amount }));
        assert_eq!(project.grant(&project.asked()).code, 0);
        assert!(ran(&agent.answer(call)));
    }
    let suggested = project.json(&["policy", "suggest", "--json"]);
    assert_eq!((&suggested[0]["tool"], &suggested[0]["answers"]), (&json!("fix/act_asked"), &json!(3)));
    let policy = suggested[0]["policy"].as_str().expect("a policy").to_owned();
    project.only_policy(&format!("{POLICY}\n{policy}"));
    let reloaded = project.run(&["policy", "reload"]);
    assert_eq!(reloaded.code, 0, "{policy}: {reloaded:?}");
    assert!(ran(&agent.call(ASKED, json!({ "mark": "m", "amount": 9 }))), "nobody is asked");
    let call = agent.begin_call(ASKED, json!({ "mark": "m", "amount": 10 }));
    let asked = project.asked();
    assert_eq!(asked["arguments"]["amount"], 10);
    project.run(&["approvals", "refuse", asked["id"].as_str().expect("an id")]);
    assert!(!ran(&agent.answer(call)));
}
