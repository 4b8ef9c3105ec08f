//! A person's answer lets exactly one call run, once, and survives whatever the gate goes through.
//! The agent's side only waits; no test here answers over its connection.

mod common;

use common::{Client, Gate, POLICY, Project, eventually, ran, words};
use serde_json::json;
use std::time::Duration;

const ASKED: &str = "fix__act_asked";

#[test]
fn a_grant_lets_the_waiting_call_run_once_and_the_same_call_asks_again() {
    let project = Project::new(POLICY);
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let id = agent.begin_call(ASKED, json!({ "mark": "t1", "amount": 5 }));
    let approval = project.asked();
    assert_eq!(approval["tool"], "fix/act_asked");
    assert_eq!(
        approval["arguments"],
        json!({ "mark": "t1", "amount": 5 }),
        "the approver sees exactly what will run"
    );
    assert_eq!(project.effects().len(), 0, "an asked call waits");
    assert_eq!(project.grant(&approval).code, 0);
    let answer = agent.answer(id);
    assert!(ran(&answer), "{answer}");
    assert_eq!(project.marks(), ["t1"]);

    let id = agent.begin_call(ASKED, json!({ "mark": "t1", "amount": 5 }));
    let second = project.asked();
    assert_ne!(second["id"], approval["id"], "a grant is for one call");
    assert_ne!(project.grant(&approval).code, 0, "what was used cannot be granted again");
    assert_eq!(project.marks(), ["t1"]);
    assert_eq!(project.run(&["approvals", "refuse", second["id"].as_str().expect("an id")]).code, 0);
    assert!(!ran(&agent.answer(id)));

    let decided = project.records("decision");
    let granted =
        decided.iter().find(|record| record["approval"] == approval["id"]).expect("the granted decision");
    assert_eq!((&granted["decision"], &granted["granted_by"]), (&json!("ask"), &json!("tester")));
    let kinds: Vec<_> = project
        .journal()
        .iter()
        .map(|record| record["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    let at = |kind: &str| {
        kinds.iter().position(|found| found == kind).unwrap_or_else(|| panic!("no {kind} in {kinds:?}"))
    };
    assert!(
        at("asked") < at("answered") && at("answered") < at("decision") && at("decision") < at("outcome"),
        "{kinds:?}"
    );
}

#[test]
fn a_refusal_and_its_reason_reach_the_caller() {
    let project = Project::new(POLICY);
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let id = agent.begin_call(ASKED, json!({ "mark": "t1" }));
    let approval = project.asked();
    let refused = project.run(&[
        "approvals",
        "refuse",
        approval["id"].as_str().expect("an id"),
        "--reason",
        "not on a Friday",
    ]);
    assert_eq!(refused.code, 0, "{refused:?}");
    let answer = agent.answer(id);
    assert!(!ran(&answer) && words(&answer).contains("not on a Friday"), "{answer}");
    assert_ne!(project.grant(&approval).code, 0, "what was refused cannot be granted");
    assert_eq!(project.effects().len(), 0);
    assert!(project.records("decision").iter().all(|record| record["decision"] == "deny"));
}

#[test]
fn an_approval_survives_a_kill_and_lets_the_retried_call_run() {
    let project = Project::new(POLICY);
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    agent.begin_call(ASKED, json!({ "mark": "t1" }));
    let asked = project.asked();
    gate.kill9();
    drop(agent);
    let gate = Gate::start(&project);
    assert_eq!(project.asked()["id"], asked["id"]);
    assert_eq!(project.grant(&asked).code, 0);
    // The grant itself must survive too.
    gate.kill9();
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let other = agent.begin_call(ASKED, json!({ "mark": "t2" }));
    let second = project.asked();
    assert_ne!(second["id"], asked["id"]);
    let answer = agent.call(ASKED, json!({ "mark": "t1" }));
    assert!(ran(&answer), "{answer}");
    project.run(&["approvals", "refuse", second["id"].as_str().expect("an id")]);
    assert!(!ran(&agent.answer(other)));
    assert_eq!(project.marks(), ["t1"]);
    assert_eq!(project.verifies().code, 0);
}

#[test]
fn a_grant_covers_neither_other_arguments_nor_another_tool() {
    let project =
        Project::new(r#"permit (principal, action in Action::"write", resource) when { context.approved };"#);
    project.set("ask_wait_seconds", "0");
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let answer = agent.call(ASKED, json!({ "mark": "t1", "amount": 1 }));
    assert!(words(&answer).contains("nobody answered"), "{answer}");
    let approval = project.asked();
    assert_eq!(project.grant(&approval).code, 0);
    for (tool, arguments) in [
        (ASKED, json!({ "mark": "t1", "amount": 2 })),
        (ASKED, json!({ "mark": "t1" })),
        (ASKED, json!({ "mark": "t1 ", "amount": 1 })),
        (ASKED, json!({ "mark": "t1", "amount": 1, "behave": "" })),
        ("fix__act", json!({ "mark": "t1", "amount": 1 })),
    ] {
        let answer = agent.call(tool, arguments.clone());
        assert!(!ran(&answer), "{tool} {arguments}: {answer}");
    }
    assert_eq!(project.effects().len(), 0);
    // The order of members is not part of what was shown.
    let answer = agent.call(ASKED, json!({ "amount": 1, "mark": "t1" }));
    assert!(ran(&answer), "{answer}");
    assert_eq!(project.effects().len(), 1);
}

#[test]
fn a_changed_policy_voids_what_was_granted_under_the_old_one() {
    let project = Project::new(POLICY);
    project.set("ask_wait_seconds", "0");
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    agent.call(ASKED, json!({ "mark": "t1" }));
    let asked = project.asked();
    assert_eq!(project.grant(&asked).code, 0);
    project.only_policy(&format!(
        "{POLICY}\n@id(\"more\") forbid (principal, action == Action::\"fix/act_denied\", resource);"
    ));
    let reloaded = project.run(&["policy", "reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    let answer = agent.call(ASKED, json!({ "mark": "t1" }));
    assert!(!ran(&answer), "{answer}");
    assert_eq!(project.effects().len(), 0);
    let asked_anew = project.asked();
    assert_ne!(asked_anew["id"], asked["id"], "the question is put again under the new policy");

    // A policy with a fault leaves the old one in force.
    project.only_policy("permit (principal, action == Action::\"fix/act_denied\", resource");
    assert_ne!(project.run(&["policy", "reload"]).code, 0);
    assert!(!ran(&agent.call("fix__act_denied", json!({ "mark": "t1" }))));
    assert!(ran(&agent.call("fix__act", json!({ "mark": "t2" }))));
}

#[test]
fn what_lapsed_cannot_be_granted_and_what_was_granted_lapses() {
    let project = Project::new(POLICY);
    project.set("ask_wait_seconds", "0");
    project.set("ask_open_seconds", "2");
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let all = || project.json(&["approvals", "list", "--json"]);
    let lapses = |id: &serde_json::Value| {
        eventually("the approval lapses", || {
            all()
                .as_array()
                .expect("a list")
                .iter()
                .any(|one| one["id"] == *id && one["state"] == "expired")
                .then_some(())
        });
    };
    agent.call(ASKED, json!({ "mark": "t1" }));
    let asked = project.asked();
    lapses(&asked["id"]);
    let granted = project.grant(&asked);
    assert!(granted.code != 0 && granted.err.contains("expired"), "{granted:?}");

    agent.call(ASKED, json!({ "mark": "t1" }));
    let asked = project.asked();
    assert_eq!(project.grant(&asked).code, 0);
    lapses(&asked["id"]);
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "t1" }))));
    assert_eq!(project.effects().len(), 0);
}

#[test]
fn many_identical_calls_at_once_spend_one_grant_once() {
    let project = Project::new(POLICY);
    project.set("ask_wait_seconds", "20");
    let _gate = Gate::start(&project);
    let mut agents: Vec<Client> = (0..3).map(|_| Client::connect(&project)).collect();
    let mut waiting = Vec::new();
    for (which, agent) in agents.iter_mut().enumerate() {
        for _ in 0..4 {
            waiting.push((which, agent.begin_call(ASKED, json!({ "mark": "once" }))));
        }
    }
    let asked = project.asked();
    // Two operators at once, too.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| project.grant(&asked));
        }
    });
    let effects =
        eventually("the granted call runs", || (!project.effects().is_empty()).then(|| project.effects()));
    assert_eq!(effects.len(), 1);
    std::thread::sleep(Duration::from_millis(200));
    // Callers that came late ask anew; none of them may run.
    for approval in project.pending() {
        project.run(&["approvals", "refuse", approval["id"].as_str().expect("an id")]);
    }
    let ran_count = waiting.into_iter().filter(|(which, id)| ran(&agents[*which].answer(*id))).count();
    assert_eq!((ran_count, project.effects().len()), (1, 1));
    let spent = project.records("decision").iter().filter(|record| record["decision"] == "ask").count();
    assert_eq!(spent, 1);
}
