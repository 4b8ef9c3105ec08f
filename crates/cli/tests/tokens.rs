//! Grants signed beforehand: what a token says runs as often as it says, and no other signature, scope or time does.
//! A token that was revoked is never taken in, whether it was shown before or not.

mod common;

use common::{Client, Gate, Project, Web, ran};
use serde_json::json;
use std::path::PathBuf;

const ASKED: &str = "fix__act_asked";
const POLICY: &str = r#"permit (principal, action in Action::"write", resource) when { context.approved };"#;

struct Issuer {
    project: Project,
    key: PathBuf,
}

impl Issuer {
    /// A project in which the tokens of `ci` count.
    fn new() -> Self {
        let project = Project::new(POLICY);
        project.set("ask_wait_seconds", "0");
        let key = project.path().join("ci.key");
        let made = project.run(&["approvals", "key", "ci", "--out", &key.display().to_string()]);
        assert_eq!(made.code, 0, "{made:?}");
        let config = made.out.split_once("[[").expect("what to configure").1;
        let path = project.config().join("bailiwick.toml");
        let text = std::fs::read_to_string(&path).expect("the configuration");
        std::fs::write(&path, format!("{text}\n[[{config}")).expect("the configuration");
        Self { project, key }
    }

    fn issue(&self, options: &[&str]) -> String {
        let key = self.key.display().to_string();
        let mut line = vec!["approvals", "issue", "--key", &key, "--issuer", "ci", "--tool", "fix/act_asked"];
        line.extend(options);
        let issued = self.project.run(&line);
        assert_eq!(issued.code, 0, "{issued:?}");
        issued.out.trim().to_owned()
    }

    fn redeem(&self, token: &str) -> common::Ran {
        self.project.run_with(&["approvals", "redeem", "-"], token.as_bytes())
    }
}

#[test]
fn what_it_says_runs_as_often_as_it_says() {
    let ci = Issuer::new();
    let _gate = Gate::start(&ci.project);
    let token = ci.issue(&["--uses", "2", "--arg", "mark=nightly", "--at-most", "amount=9"]);
    let file = ci.project.path().join("token");
    std::fs::write(&file, &token).expect("a file");
    let mut agent = Client::connect_to(&ci.project, &["--grant", &file.display().to_string()]);
    for (arguments, is_covered) in [
        (json!({ "mark": "other", "amount": 1 }), false),
        (json!({ "mark": "nightly", "amount": 10 }), false),
        (json!({ "mark": "nightly" }), false),
        (json!({ "mark": "nightly", "amount": 9 }), true),
    ] {
        assert_eq!(ran(&agent.call(ASKED, arguments.clone())), is_covered, "{arguments}");
    }
    drop(agent);
    // Shown again it is the same grant.
    let mut agent = Client::connect_to(&ci.project, &["--grant", &file.display().to_string()]);
    assert!(ran(&agent.call(ASKED, json!({ "mark": "nightly", "amount": 1 }))));
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "nightly", "amount": 2 }))));
    let decided = ci.project.records("decision");
    let granted: Vec<_> =
        decided.iter().filter(|record| record["approval"] == common::token_id(&token)).collect();
    assert_eq!(granted.len(), 2);
    assert_eq!(granted[0]["granted_by"], "ci");
}

#[test]
fn nothing_but_a_token_of_an_issuer_is_taken_in() {
    let ci = Issuer::new();
    let _gate = Gate::start(&ci.project);
    let token = ci.issue(&["--any", "mark"]);
    let parts: Vec<&str> = token.split('.').collect();
    let other = Issuer::new();
    let forged = other.issue(&["--any", "mark"]);
    let wider = ci.issue(&["--any", "mark", "--uses", "1000"]);
    let swapped = format!("{}.{}.{}", parts[0], wider.split('.').nth(1).expect("a payload"), parts[2]);
    for (text, says) in [
        (String::new(), "no grant token"),
        ("a".repeat(20_000), "no grant token"),
        (parts[..2].join("."), "no grant token"),
        (token.replacen("bwg1", "bwg2", 1), "no grant token"),
        (format!("{}.{}.{}", parts[0], parts[1], "AAAA"), "its signature is not"),
        (swapped, "its signature is not"),
        (forged, "its signature is not"),
    ] {
        let refused = ci.redeem(&text);
        assert!(refused.code != 0 && refused.err.contains(says), "{text:.40}: {refused:?}");
    }
    let mut agent = Client::connect(&ci.project);
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "a" }))));
    assert_eq!(ci.project.effects().len(), 0);
    let alerts = ci.project.noted("alert", 7);
    assert!(alerts.iter().all(|alert| alert["rule"] == "grant-token-refused"), "{alerts:?}");
    assert_eq!(ci.redeem(&token).code, 0, "and the whole one is");
    assert!(ran(&agent.call(ASKED, json!({ "mark": "a" }))));
}

#[test]
fn what_was_revoked_or_is_over_is_never_taken_in() {
    let ci = Issuer::new();
    let _gate = Gate::start(&ci.project);
    let mut agent = Client::connect(&ci.project);
    let (shown, unseen) =
        (ci.issue(&["--any", "mark", "--uses", "9"]), ci.issue(&["--any", "mark", "--uses", "9"]));
    assert_eq!(ci.redeem(&shown).code, 0);
    assert!(ran(&agent.call(ASKED, json!({ "mark": "a" }))));
    for token in [&shown, &unseen] {
        let revoked = ci.project.run(&["approvals", "withdraw", &common::token_id(token)]);
        assert_eq!(revoked.code, 0, "{revoked:?}");
        assert_eq!(ci.redeem(token).code, 1, "what was revoked stays so");
    }
    assert_eq!(ci.project.noted("withdrawn", 2).len(), 2);
    assert_eq!(ci.project.records("granted").len(), 1, "what was only taken back was never given");
    let brief = ci.issue(&["--any", "mark", "--for", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert!(ci.redeem(&brief).err.contains("has ended"));
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "b" }))));
    assert_eq!(ci.project.marks(), ["a"]);
}

#[test]
fn over_http_it_comes_with_a_header() {
    let ci = Issuer::new();
    let gate = Gate::start(&ci.project);
    let token = ci.issue(&["--any", "mark"]);
    let web = Web::connect(&gate);
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": ASKED, "arguments": { "mark": "a" } } });
    let posted = |token: &str| {
        let mut headers = web.headers();
        headers.push(("Bailiwick-Grant".to_owned(), token.to_owned()));
        web.send("POST", "/mcp", &headers, call.to_string().as_bytes())
    };
    let refused = posted("bwg1.x.y");
    assert_eq!(refused.status, 403, "{refused:?}");
    let granted = posted(&token);
    assert_eq!(granted.status, 200, "{granted:?}");
    assert_eq!(ci.project.marks(), ["a"]);
}
