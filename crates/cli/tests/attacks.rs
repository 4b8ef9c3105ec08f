//! Every channel attacked with real programs: as the user that the gate runs as, as another user, and from behind the wall. Nothing
//! that was tried grants, and what the gate can see leaves an alert. Each attack stands beside what it tried to pass for.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod common;

use common::browser::{Browser, code};
use common::{Client, Gate, POLICY, Project, Ran, Web, eventually, finish, ran, words};
use serde_json::{Value, json};
use std::process::Command;

const ASKED: &str = "fix__act_asked";

/// A project where processes of this user may not grant, and whose calls wait for `seconds`.
fn guarded(policy: &str, seconds: &str) -> Project {
    let project = Project::new(policy);
    project.set("ask_wait_seconds", seconds);
    configure(&project, "[approvals]\nterminal = false");
    project
}

fn configure(project: &Project, more: &str) {
    let path = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(path, format!("{text}\n{more}\n")).expect("the configuration");
}

/// Changes the state file, as any program of this user can; says how many rows it changed.
fn tamper(project: &Project, sql: &str) -> usize {
    const PROGRAM: &str = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], timeout=20)\n\
        print(db.execute(sys.argv[2]).rowcount); db.commit()";
    let state = project.state().join("state.db");
    let ran = finish(Command::new("python3").args(["-c", PROGRAM]).arg(state).arg(sql), b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let changed = ran.out.trim().parse().expect("a number");
    assert!(changed > 0, "the attack changed nothing: {sql}");
    changed
}

/// Waits until `count` alerts of `rule` name `what`.
fn alerted(project: &Project, rule: &str, what: &str, count: usize) {
    eventually(&format!("{count} alerts of {rule} about {what}"), || {
        let found = project.records("alert").into_iter().filter(|alert| {
            alert["rule"] == rule && alert["detail"].as_str().is_some_and(|detail| detail.contains(what))
        });
        (found.count() >= count).then_some(())
    });
}

fn id(approval: &Value) -> &str {
    approval["id"].as_str().expect("an id")
}

#[test]
fn what_is_written_into_the_state_file_grants_nothing() {
    let project = guarded(POLICY, "0");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let mut ann = Browser::enrolled(&project, &gate, "ann", "approver");
    let mut ask = |mark: &str| {
        let answer = agent.call(ASKED, json!({ "mark": mark, "amount": 5 }));
        (ran(&answer), words(&answer))
    };
    let mut marks = Vec::new();

    // Granted by hand.
    assert!(!ask("forged").0);
    let approval = project.asked();
    tamper(
        &project,
        &format!("update approval set state = 'granted', answered_by = 'ann' where id = '{}'", id(&approval)),
    );
    assert!(!ask("forged").0, "a forged grant counted");
    alerted(&project, "state-changed", id(&approval), 1);
    // The nearest that counts: the same question, asked again, and granted by a person.
    let approval = project.asked();
    assert_eq!(ann.grant(&approval).status, 200);
    assert!(ask("forged").0);
    marks.push("forged");

    // Used, and granted again by hand.
    tamper(&project, &format!("update approval set state = 'granted' where id = '{}'", id(&approval)));
    assert!(!ask("forged").0, "a grant was used twice");
    alerted(&project, "state-changed", id(&approval), 1);

    // A row of one's own, made from a refused one.
    assert!(!ask("copied").0);
    let approval = eventually("it waits", || {
        project.pending().into_iter().find(|one| one["arguments"]["mark"] == "copied")
    });
    let refused = ann.post_form(&format!("/console/approvals/{}/refuse", id(&approval)), "reason=no");
    assert_eq!(refused.status, 303);
    let columns = "agent, user, tool, cwd, arguments, why, request_digest, policy_digest, asked_at, expires_at, session, approvers, consents, left_to, shown";
    tamper(
        &project,
        &format!(
            "insert into approval (id, state, answered_by, {columns}) select 'a-0', 'granted', 'ann', {columns} from approval where id = '{}'",
            id(&approval)
        ),
    );
    assert!(!ask("copied").0, "a row of one's own counted");
    alerted(&project, "state-changed", "a-0", 1);

    // What a person would see is not what was asked.
    assert!(!ask("shown").0);
    let approval = eventually("it waits", || {
        project.pending().into_iter().find(|one| one["arguments"]["mark"] == "shown")
    });
    tamper(
        &project,
        &format!(
            "update approval set arguments = '{{\"mark\":\"harmless\"}}' where id = '{}'",
            id(&approval)
        ),
    );
    assert_eq!(ann.grant(&approval).status, 409, "somebody would have granted what they did not see");
    assert!(!ask("shown").0);
    alerted(&project, "state-changed", id(&approval), 1);
    assert_eq!(project.marks(), marks);
    assert_eq!(project.verifies().code, 0);
}

#[test]
fn a_call_that_waits_is_not_let_through_by_a_row() {
    let project = guarded(POLICY, "3");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let mut ann = Browser::enrolled(&project, &gate, "ann", "approver");
    let call = agent.begin_call(ASKED, json!({ "mark": "t1" }));
    let approval = project.asked();
    tamper(
        &project,
        &format!("update approval set state = 'granted', answered_by = 'ann' where id = '{}'", id(&approval)),
    );
    // Somebody looks, which is when it is noticed at the latest.
    let page = ann.get(&format!("/console/approvals/{}", id(&approval)));
    assert_eq!(page.status, 409, "{page:?}");
    assert!(!ran(&agent.answer(call)));
    alerted(&project, "state-changed", id(&approval), 1);
    assert_eq!(project.effects().len(), 0);
}

#[test]
fn two_people_are_not_made_of_one_by_a_row() {
    let policy = r#"@approvers("2") permit (principal, action in Action::"write", resource) when { context.approved };"#;
    let project = guarded(policy, "0");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let mut ann = Browser::enrolled(&project, &gate, "ann", "approver");
    for sql in [
        "update approval set approvers = 1 where state = 'pending'",
        r#"update approval set consents = '[{"name":"bob","identity":"passkey bob"}]' where state = 'pending'"#,
    ] {
        agent.call(ASKED, json!({ "mark": "t1" }));
        let approval = project.asked();
        tamper(&project, sql);
        assert_eq!(ann.grant(&approval).status, 409, "{sql}");
        assert!(!ran(&agent.call(ASKED, json!({ "mark": "t1" }))), "{sql}");
        let fresh = project.asked();
        assert_ne!(fresh["id"], approval["id"], "{sql}");
        alerted(&project, "state-changed", id(&approval), 1);
        ann.post_form(&format!("/console/approvals/{}/refuse", id(&fresh)), "reason=no");
    }
    assert_eq!(project.effects().len(), 0);
}

#[test]
fn a_grant_that_stands_is_neither_widened_nor_renewed_nor_made_by_a_row() {
    let policy = r#"permit (principal, action in Action::"write", resource) when { context.approved };"#;
    let project = guarded(policy, "0");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let mut ann = Browser::enrolled(&project, &gate, "ann", "approver");
    let mut attacks = 0;
    for sql in [
        "update standing set uses_left = 9000 where state = 'active'",
        r#"update standing set scope = json_set(scope, '$.limits.mark', 'any') where state = 'active'"#,
        "update standing set scope = json_set(scope, '$.until', json_extract(scope, '$.until') + 999999) where state = 'active'",
        "insert into standing select 'g-0', state, agent, user, tool, json_set(scope, '$.limits.mark', 'any'), 9, given_by, channel, given_at, used_at from standing where state = 'active'",
    ] {
        attacks += 1;
        let mark = format!("m{attacks}");
        agent.call(ASKED, json!({ "mark": mark, "amount": 3 }));
        let approval = eventually("it waits", || {
            project.pending().into_iter().find(|one| one["arguments"]["mark"] == mark.as_str())
        });
        let shaped = json!({ "uses": "3", "seconds": "3600", "limit-0": "at-most", "to-0": "9" });
        let granted = ann.grant_more(&approval, &shaped);
        assert_eq!(granted.status, 200, "{granted:?}");
        assert!(ran(&agent.call(ASKED, json!({ "mark": mark, "amount": 3 }))), "as granted");
        assert!(ran(&agent.call(ASKED, json!({ "mark": mark, "amount": 8 }))), "and like it");
        tamper(&project, sql);
        assert!(!ran(&agent.call(ASKED, json!({ "mark": format!("x{attacks}"), "amount": 3 }))), "{sql}");
        if sql.starts_with("update") {
            // A row that was touched covers not even what was granted.
            assert!(!ran(&agent.call(ASKED, json!({ "mark": mark, "amount": 4 }))), "{sql}");
        }
        alerted(&project, "state-changed", "grant g-", attacks);
        tamper(&project, "delete from standing");
        tamper(&project, "delete from approval");
    }
    assert_eq!(project.effects().len(), 8);
}

#[test]
fn nobody_is_let_in_by_a_row() {
    let project = guarded(POLICY, "0");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let mut ann = Browser::enrolled(&project, &gate, "ann", "approver");
    agent.call(ASKED, json!({ "mark": "t1" }));
    let approval = project.asked();

    // A link of one's own.
    let forged = "00112233445566778899aabbccddeeff";
    let digest: String = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, forged.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    tamper(
        &project,
        &format!("insert into enrolment (digest, role, expires_at) values ('{digest}', 'admin', 9999999999)"),
    );
    let mut eve = Browser::at(&gate);
    assert_eq!(eve.enrol(forged, "eve").status, 403, "a forged link let somebody in");
    alerted(&project, "state-changed", &digest, 1);

    // Somebody else's passkey in ann's name: the key of a fresh browser, put where hers was.
    let key = "a5010203262001215820".to_owned() + &"11".repeat(32) + "225820" + &"22".repeat(32);
    tamper(&project, &format!("update passkey set key = x'{key}' where person = 'ann'"));
    assert_eq!(ann.post_form("/console/sign-out", "").status, 303);
    let how = ann.how();
    assert_eq!(ann.sign_in_as(&how).status, 403, "the wrong passkey was believed");
    alerted(&project, "state-changed", "of ann", 1);

    // Everybody gone, so that somebody could be the first again.
    tamper(&project, "delete from passkey");
    tamper(&project, "delete from person");
    let link = project.run(&["console", "link", "--role", "admin"]);
    assert!(link.code != 0 && link.err.contains("`terminal` in [approvals]"), "{link:?}");
    alerted(&project, "grant-over-the-socket", "let in as admin", 1);
    assert!(ann.get(&format!("/console/approvals/{}", id(&approval))).status == 303, "ann is not there");
    assert_eq!(project.effects().len(), 0);
}

#[test]
fn what_was_changed_while_the_gate_was_down_counts_for_nothing_either() {
    let policy = r#"permit (principal, action in Action::"write", resource) when { context.approved };"#;
    let project = guarded(policy, "0");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let mut ann = Browser::enrolled(&project, &gate, "ann", "approver");
    let arguments = |mark: &str| json!({ "mark": mark, "amount": if mark == "stands" { 4 } else { 3 } });
    let like_it = |mark: &str| json!({ "mark": mark, "amount": 4 });
    let mut ids = std::collections::BTreeMap::new();
    for mark in ["granted", "forged", "used", "shown", "stands"] {
        agent.call(ASKED, arguments(mark));
        let approval = eventually("it waits", || {
            project.pending().into_iter().find(|one| one["arguments"]["mark"] == mark)
        });
        ids.insert(mark, id(&approval).to_owned());
        match mark {
            "granted" | "used" => assert_eq!(ann.grant(&approval).status, 200),
            "stands" => {
                let fields = json!({ "uses": "5", "seconds": "3600", "limit-1": "any" });
                assert_eq!(ann.grant_more(&approval, &fields).status, 200);
            }
            _ => {}
        }
    }
    assert!(ran(&agent.call(ASKED, arguments("used"))));
    drop(agent);
    gate.kill9();
    tamper(
        &project,
        &format!("update approval set state = 'granted', answered_by = 'ann' where id = '{}'", ids["forged"]),
    );
    tamper(&project, &format!("update approval set state = 'granted' where id = '{}'", ids["used"]));
    tamper(&project, &format!("update approval set arguments = '{{}}' where id = '{}'", ids["shown"]));
    let gate = Gate::start(&project);
    for mark in ["forged", "used", "shown"] {
        alerted(&project, "state-changed", &ids[mark], 1);
    }
    // What a passkey granted is believed on the journal's word and its own.
    let mut agent = Client::connect(&project);
    // What is left open covers nothing that was read from somewhere, so this one comes before there is anything read.
    assert!(ran(&agent.call(ASKED, like_it("like it"))), "a grant that stands did not survive");
    assert!(ran(&agent.call(ASKED, arguments("granted"))), "a grant did not survive");
    assert_eq!(project.marks(), ["used", "like it", "granted"]);
    // Renewed while the gate was down: one of five was used.
    drop(agent);
    gate.kill9();
    tamper(&project, "update standing set uses_left = 5 where state = 'active'");
    let _gate = Gate::start(&project);
    alerted(&project, "state-changed", "less is left of it", 1);
    let mut agent = Client::connect(&project);
    assert!(!ran(&agent.call(ASKED, like_it("renewed"))));
    // Everything else is asked about again, and nothing ran that nobody granted.
    for mark in ["forged", "used", "shown"] {
        assert!(!ran(&agent.call(ASKED, arguments(mark))), "{mark}");
    }
    assert_eq!(project.marks(), ["used", "like it", "granted"]);
}

#[test]
fn what_the_terminal_granted_ends_when_it_may_not_any_more() {
    let project = Project::new(POLICY);
    project.set("ask_wait_seconds", "0");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    for mark in ["kept", "ended"] {
        agent.call(ASKED, json!({ "mark": mark }));
        assert_eq!(project.grant(&project.asked()).code, 0);
    }
    drop(agent);
    gate.kill9();
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    assert!(ran(&agent.call(ASKED, json!({ "mark": "kept" }))));
    drop(agent);
    gate.kill9();
    configure(&project, "[approvals]\nterminal = false");
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "ended" }))));
    alerted(&project, "state-changed", "nobody who may granted it", 1);
    assert_eq!(project.marks(), ["kept"]);
}

/// Says each line to the gate's socket over a connection of its own, and prints what it answers.
const SPEAK: &str = "import socket, sys\n\
    for line in sys.argv[2:]:\n\
    \x20   s = socket.socket(socket.AF_UNIX)\n\
    \x20   try:\n\
    \x20       s.settimeout(10); s.connect(sys.argv[1]); s.sendall(line.encode() + b'\\n'); s.shutdown(socket.SHUT_WR)\n\
    \x20       print(s.makefile().read().strip() or 'nothing')\n\
    \x20   except OSError as error: print('failed: %s' % error.strerror)\n";

fn speak(project: &Project, mut command: Command, lines: &[Value]) -> Ran {
    let lines = lines.iter().map(Value::to_string);
    finish(command.args(["-c", SPEAK]).arg(project.state().join("gate.sock")).args(lines), b"")
}

#[test]
fn a_program_of_the_same_user_grants_nothing_over_the_socket() {
    let project = guarded(POLICY, "0");
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    let mut ann = Browser::enrolled(&project, &gate, "ann", "approver");
    agent.call(ASKED, json!({ "mark": "t1" }));
    let approval = project.asked();
    let control = |asked: Value| json!({ "control": asked });
    let more = json!({ "uses": 9, "seconds": 99 });
    let tried = speak(
        &project,
        Command::new("python3"),
        &[
            control(json!({ "grant": { "id": id(&approval), "by": "ann" } })),
            control(json!({ "grant": { "id": id(&approval), "by": "ann", "more": more } })),
            control(json!({ "console-link": { "role": "admin", "name": null } })),
            control(json!({ "console-link": { "role": "admin", "name": "ann" } })),
            control(json!({ "revoke": "ann" })),
            control(json!({ "redeem": { "token": "bwg1.e30.AAAA" } })),
            control(json!({ "redeem": { "token": "x" } })),
        ],
    );
    let answers: Vec<&str> = tried.out.lines().collect();
    assert!(answers.len() == 7 && answers.iter().all(|answer| answer.contains("error")), "{tried:?}");
    alerted(&project, "grant-over-the-socket", id(&approval), 2);
    alerted(&project, "grant-over-the-socket", "let in as admin", 2);
    alerted(&project, "grant-over-the-socket", "turned out", 1);
    alerted(&project, "grant-token-refused", "", 2);
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "t1" }))));
    // Whoever holds a passkey grants the very same.
    assert_eq!(ann.grant(&approval).status, 200);
    assert!(ran(&agent.call(ASKED, json!({ "mark": "t1" }))));
}

/// The same program as another user, where this host lets a test become one.
fn other(user: &str) -> Option<Command> {
    let can =
        Command::new("setpriv").args(["--reuid", user, "--regid", user, "--clear-groups", "true"]).output();
    if !can.is_ok_and(|ran| ran.status.success()) {
        println!("skipped: this test becomes another user, which takes root and setpriv");
        return None;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", "/usr/bin/env", "python3"]);
    Some(command)
}

#[test]
fn another_user_reaches_neither_the_socket_nor_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let Some(stranger) = other("65534") else { return };
    let project = Project::new(POLICY);
    project.set("ask_wait_seconds", "0");
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    agent.call(ASKED, json!({ "mark": "t1" }));
    let approval = project.asked();
    let grant = [json!({ "control": { "grant": { "id": id(&approval), "by": "ann" } } })];
    let turned_away = speak(&project, stranger, &grant);
    assert!(turned_away.out.contains("failed"), "{turned_away:?}");
    // Nothing in the folder is theirs to read: neither the state nor the journal nor its key nor the token.
    let read = "import os, sys\n\
        for at, folders, files in os.walk(sys.argv[1]):\n\
        \x20   for name in files: open(os.path.join(at, name)).close(); print('read', name)\n";
    let files = finish(other("65534").expect("a user").args(["-c", read]).arg(project.state()), b"");
    assert!(!files.out.contains("read"), "{files:?}");

    // With every mode opened by hand it is still not the gate's user who speaks.
    let mut folder = Some(project.state());
    while let Some(at) =
        folder.filter(|at| at.parent().is_some_and(|above| above.starts_with(std::env::temp_dir())))
    {
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        folder = at.parent().map(std::path::Path::to_path_buf);
    }
    let socket = project.state().join("gate.sock");
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).expect("a mode");
    let heard = speak(&project, other("65534").expect("a user"), &grant);
    assert!(!heard.out.contains("\"ok\""), "{heard:?}");
    alerted(&project, "socket-other-user", "user 65534", 1);
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "t1" }))));
    // The nearest that is heard: the same words from the gate's own user.
    let ours = speak(&project, Command::new("python3"), &grant);
    assert!(ours.out.contains("\"ok\""), "{ours:?}");
    assert!(ran(&agent.call(ASKED, json!({ "mark": "t1" }))));
}

#[test]
fn a_page_that_calls_itself_the_gate_is_told_nothing_over_any_door() {
    let project = guarded(POLICY, "0");
    let gate = Gate::start(&project);
    let web = Web::at(&gate);
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let with = |name: &str, value: &str| {
        let mut headers = web.headers();
        headers.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        headers.push((name.to_owned(), value.to_owned()));
        headers
    };
    for (name, value, status, rule) in [
        ("Host", "rebound.example:80", 403, "http-host"),
        ("Origin", "http://rebound.example", 403, "http-origin"),
        ("Authorization", "Bearer 0000", 401, "http-token"),
    ] {
        for path in ["/mcp", "/phases"] {
            let refused = web.send("POST", path, &with(name, value), body);
            assert_eq!(refused.status, status, "{path} {name}: {refused:?}");
        }
        alerted(&project, rule, "", 2);
    }
    let answer = web.send("POST", "/approvals/answer", &with("Host", "rebound.example"), b"{}");
    assert_eq!(answer.status, 403);
    alerted(&project, "webhook-answer-refused", "host", 1);
    let page = web.send("GET", "/console/approvals", &with("Host", "rebound.example"), b"");
    assert_eq!(page.status, 403);
    alerted(&project, "console-host", "rebound.example", 1);
}

#[test]
fn a_token_is_neither_renewed_by_taking_its_row_away_nor_kept_alive_without_its_issuer() {
    let policy = r#"permit (principal, action in Action::"write", resource) when { context.approved };"#;
    let project = guarded(policy, "0");
    let key = project.path().join("ci.key").display().to_string();
    let made = project.run(&["approvals", "key", "ci", "--out", &key]);
    let issuer = made.out.split_once("[[").expect("what to configure").1;
    let before = std::fs::read_to_string(project.config().join("bailiwick.toml")).expect("the configuration");
    configure(&project, &format!("[[{issuer}"));
    let issue = |uses: &str, mark: &str| {
        let arg = format!("mark={mark}");
        let line = [
            "approvals",
            "issue",
            "--key",
            &key,
            "--issuer",
            "ci",
            "--tool",
            "fix/act_asked",
            "--uses",
            uses,
            "--arg",
            &arg,
        ];
        project.run(&line).out.trim().to_owned()
    };
    let (once, kept, unseen) = (issue("1", "once"), issue("9", "kept"), issue("1", "unseen"));
    let gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    for token in [&once, &kept] {
        assert_eq!(project.run_with(&["approvals", "redeem", "-"], token.as_bytes()).code, 0);
    }
    assert!(ran(&agent.call(ASKED, json!({ "mark": "once" }))));
    assert!(ran(&agent.call(ASKED, json!({ "mark": "kept" }))));
    tamper(&project, "delete from standing where uses_left = 0");
    let again = project.run_with(&["approvals", "redeem", "-"], once.as_bytes());
    assert!(again.code != 0 && again.err.contains("changed the state file"), "{again:?}");
    alerted(&project, "state-changed", "was taken out", 1);
    let unseen_id = common::token_id(&unseen);
    assert_eq!(project.run(&["approvals", "withdraw", &unseen_id]).code, 0);
    // The same over a restart, and for one that was taken back before it was ever taken in.
    drop(agent);
    gate.kill9();
    tamper(&project, &format!("delete from standing where id = '{unseen_id}'"));
    let gate = Gate::start(&project);
    for token in [&once, &unseen] {
        let again = project.run_with(&["approvals", "redeem", "-"], token.as_bytes());
        assert!(again.code != 0, "{again:?}");
    }
    let mut agent = Client::connect(&project);
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "once" }))));
    assert!(ran(&agent.call(ASKED, json!({ "mark": "kept" }))), "its signature is checked again");
    // Without its issuer it is nobody's.
    drop(agent);
    gate.kill9();
    std::fs::write(project.config().join("bailiwick.toml"), before).expect("the configuration");
    let _gate = Gate::start(&project);
    let mut agent = Client::connect(&project);
    assert!(!ran(&agent.call(ASKED, json!({ "mark": "kept" }))));
    alerted(&project, "state-changed", "nobody who may grant gave it", 1);
    assert_eq!(project.marks(), ["once", "kept", "kept"]);
}

#[test]
fn from_behind_the_wall_no_channel_is_reached() {
    let project = Project::bare();
    assert_eq!(project.run(&["init", "--yes"]).code, 0);
    project.only_policy("permit (principal, action, resource);\n");
    let data = project.path().with_file_name("data");
    let outside = Project::new(POLICY);
    outside.set("ask_wait_seconds", "0");
    let gate = Gate::start(&outside);
    let mut agent = Client::connect(&outside);
    agent.call(ASKED, json!({ "mark": "t1" }));
    let approval = outside.asked();
    let link = code(&outside, "admin", None);
    let port = gate.url.trim_end_matches("/mcp").rsplit_once(':').expect("a port").1.to_owned();
    let script = r#"
import json, os, socket, sqlite3, sys
state, port, approval, token = sys.argv[1:5]
def tried(what, act):
    try: print(what, "reached", act())
    except Exception as error: print(what, "failed", type(error).__name__)
def web(method, path, body="", **headers):
    s = socket.create_connection(("127.0.0.1", int(port)), 3)
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: localhost:" + port, "Connection: close", "Content-Length: %d" % len(body)]
    s.sendall("\r\n".join(lines + ["%s: %s" % (k.replace("_", "-"), v) for k, v in headers.items()] + ["", body]).encode())
    return s.recv(100)
def say():
    s = socket.socket(socket.AF_UNIX); s.connect(os.path.join(state, "gate.sock"))
    s.sendall(json.dumps({"control": {"grant": {"id": approval, "by": "ann"}}}).encode() + b"\n"); return s.recv(100)
tried("socket", say)
tried("read", lambda: sqlite3.connect("file:%s/state.db?mode=ro" % state, uri=True).execute("select * from approval").fetchall())
tried("write", lambda: sqlite3.connect(state + "/state.db").execute("update approval set state = 'granted'").rowcount)
tried("key", lambda: open(state + "/journal.key").read())
tried("mcp", lambda: web("POST", "/mcp", "{}", Authorization="Bearer " + token))
tried("answer", lambda: web("POST", "/approvals/answer", "{}", webhook_id="x"))
tried("console", lambda: web("GET", "/console/approvals"))
tried("rebound", lambda: web("GET", "/console/approvals", X="y"))
"#;
    std::fs::write(project.path().join("try.py"), script).expect("a script");
    let state = outside.state().display().to_string();
    let line = format!("/usr/bin/python3 try.py {state} {port} {} {}", id(&approval), gate.token);
    let mut inside = project.bailiwick();
    inside.args(["run", "--quiet", "--", "sh", "-c", &line]).env("XDG_DATA_HOME", data);
    let inside = finish(&mut inside, b"");
    let lines: Vec<&str> = inside.out.lines().collect();
    assert!(lines.len() == 8 && lines.iter().all(|line| line.contains("failed")), "{inside:?}");
    // From outside the same program reaches them, so that the wall is what stood in the way.
    let mut free = Command::new("python3");
    free.current_dir(project.path()).args(["try.py", &state, &port, id(&approval), &gate.token]);
    let free = finish(&mut free, b"");
    assert!(free.out.contains("read reached") && free.out.contains("console reached"), "{free:?}");
    drop(link);
}
