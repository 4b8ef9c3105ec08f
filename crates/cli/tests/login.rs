//! Signing in to a protected MCP server by the real binary, the browser played by the test, and what the gate then does with
//! the tokens. Judged by what the server received and by what lies on disk, not by what the gate says of itself.

#![allow(clippy::unwrap_used, reason = "the test fails where the machine does")]

mod common;

#[path = "login/world.rs"]
mod world;

use common::{Client, Gate, POLICY, Project, Ran, Web, ran, words};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use world::{CANARY, World};

const DESK: &str = r#"
@id("desk") permit (principal, action in [Action::"desk/echo", Action::"desk/write", Action::"desk/steal"], resource);
"#;

/// A project with the fixture `fix` and the protected server `desk`, to which nobody is signed in.
fn project(world: &World) -> Project {
    let project = Project::new(POLICY);
    if let Some(authority) = &world.authority {
        let file = project.fixture().join("authority.pem");
        std::fs::write(&file, authority).unwrap();
        project.set("authorities", &format!("[{:?}]", file.display().to_string()));
    }
    configure(&project, &format!("\n[server.desk]\nurl = \"{}/mcp\"\nauth = \"oauth\"\n", world.base));
    project
}

fn configure(project: &Project, more: &str) {
    let path = project.config().join("bailiwick.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + more).unwrap();
}

/// The same, signed in, its tools reviewed and permitted.
fn signed_in(world: &World) -> Project {
    let project = project(world);
    let (ran, page) = sign_in(&project, world, &[]);
    assert_eq!((ran.code, page.0), (0, 200), "{ran:?} {page:?}");
    let reviewed = project.run(&["inventory", "review", "--all"]);
    assert_eq!(reviewed.code, 0, "{reviewed:?}");
    project.only_policy(&format!("{POLICY}{DESK}"));
    project
}

/// `bailiwick login desk`, and what the browser showed in the end.
fn sign_in(project: &Project, world: &World, more: &[&str]) -> (Ran, (u16, String)) {
    let mut child = project
        .bailiwick()
        .args(["login", "desk"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut page) = (String::new(), (0, String::new()));
    loop {
        let start = said.len();
        if out.read_line(&mut said).unwrap() == 0 {
            break;
        }
        let line = said[start..].trim().to_owned();
        if line.starts_with("http") {
            page = world.browse(&line);
        }
    }
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    (Ran { code: output.status.code().unwrap_or(-1), out: said, err }, page)
}

/// Files below `folder` that hold `needle`.
fn holding(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(holding(&entry.path(), needle));
        } else if kind.is_file() {
            let mut bytes = Vec::new();
            drop(std::fs::File::open(entry.path()).and_then(|mut file| file.read_to_end(&mut bytes)));
            if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn the_gate_is_the_client_and_nobody_else_sees_a_token() {
    let world = World::open();
    let project = signed_in(&world);
    let gate = Gate::start_by(&project, {
        let mut command = project.bailiwick();
        command.env("BAILIWICK_LOG", "trace");
        command
    });
    let mut client = Client::connect(&project);
    let web = Web::connect(&gate);
    let mut heard = String::new();
    for answer in [client.call("desk__echo", json!({})), web.call("desk__echo", json!({}))] {
        assert!(ran(&answer) && words(&answer).contains("echo for"), "{answer}");
        heard.push_str(&answer.to_string());
    }
    let calls = world.calls("tools/call");
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|(token, _)| token == &format!("Bearer access-{CANARY}-2")), "{calls:?}");
    // Refused, it is replaced once, for both, and its successor is used.
    world.state().forget_access();
    for answer in [client.call("desk__echo", json!({})), web.call("desk__echo", json!({}))] {
        assert!(ran(&answer), "{answer}");
        heard.push_str(&answer.to_string());
    }
    assert_eq!((world.grants("refresh_token"), world.grants("authorization_code")), (1, 1));
    assert!(world.calls("tools/call").iter().rev().take(1).all(|(token, _)| token.ends_with("-3")));
    // The successor is on disk before it is used: a gate that was killed goes on with it.
    drop((client, web));
    let log = gate.log();
    let own_token = gate.token.clone();
    gate.kill9();
    world.state().forget_access();
    let gate = Gate::start(&project);
    let answer = Web::connect(&gate).call("desk__echo", json!({}));
    assert!(ran(&answer), "{answer}");
    heard.push_str(&answer.to_string());
    assert_eq!(world.grants("refresh_token"), 2);
    // The server echoed the token plainly and in base64; nobody got it, and it lies open nowhere.
    let packed = {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("access-{CANARY}"));
        text[4..text.len() - 4].to_owned()
    };
    let journal = format!("{:?}", project.journal());
    for needle in [CANARY, packed.as_str()] {
        for (place, text) in [("an answer", &heard), ("the log", &log), ("the journal", &journal)] {
            assert!(!text.contains(needle), "a token is in {place}: {text:.3000}");
        }
        let files = holding(project.path().parent().unwrap(), needle);
        assert!(files.is_empty(), "a token lies open in {files:?}");
    }
    assert!(log.contains("hyper") || log.len() > 1000, "the log was on");
    // The agent's own token went nowhere, and to the server went only tokens that were given for it.
    for own in [own_token, gate.token.clone()] {
        let own = own.trim().to_owned();
        let state = world.state();
        let forwarded = state.received.iter().any(|one| format!("{one:?}").contains(&own));
        assert!(!own.is_empty() && !forwarded, "the agent's token was forwarded");
    }
    let state = world.state();
    let strange = |one: &&world::Received| {
        let token = one.header("authorization");
        one.path == "/mcp" && !token.is_empty() && !token.starts_with(&format!("Bearer access-{CANARY}-"))
    };
    assert!(!state.received.iter().any(|one| strange(&one)));
}

/// As it is outside of tests: everything over TLS, verified.
#[test]
fn all_of_it_is_verified_where_it_is_tls() {
    let world = World::open_tls();
    let project = signed_in(&world);
    let gate = Gate::start(&project);
    assert!(ran(&Web::connect(&gate).call("desk__echo", json!({}))));
    world.state().forget_access();
    assert!(ran(&Web::connect(&gate).call("desk__echo", json!({}))));
    assert_eq!(world.grants("refresh_token"), 1);
    drop(gate);
    let doctor = |wanted: &str| {
        let said = project.run(&["doctor"]);
        assert!(said.out.contains(wanted), "{said:?}");
    };
    doctor("somebody is signed in to server `desk`");
    assert_eq!(project.run(&["logout", "desk"]).code, 0);
    doctor("nobody is signed in to server `desk`; run `bailiwick login desk`");
    // Whom nobody vouches for gets nothing, not even a question who is there.
    project.set("authorities", "[]");
    let before = world.state().received.len();
    let (ran, _) = sign_in(&project, &world, &[]);
    assert!(ran.code != 0 && ran.err.contains("the server at 127.0.0.1"), "{ran:?}");
    assert_eq!(world.state().received.len(), before);
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    let world = World::open();
    // Of so short a life four fifths are over when the call comes.
    world.state().seconds = 6;
    let project = signed_in(&world);
    std::thread::sleep(std::time::Duration::from_secs(5));
    let before = world.grants("refresh_token");
    world.state().seconds = 3600;
    let _gate = Gate::start(&project);
    let mut client = Client::connect(&project);
    assert!(ran(&client.call("desk__echo", json!({}))));
    assert!(ran(&client.call("desk__echo", json!({}))));
    assert_eq!(world.grants("refresh_token"), before + 1);
    let calls = world.calls("tools/call");
    assert!(calls.len() == 2 && calls[0].0 == calls[1].0, "none was refused first: {calls:?}");
}

#[test]
fn who_is_not_signed_in_is_told_so_and_everything_else_goes_on() {
    let world = World::open();
    let project = signed_in(&world);
    let left = project.run(&["logout", "desk"]);
    assert!(left.code == 0 && left.out.contains("its authorization server knows"), "{left:?}");
    assert!(world.state().access.is_empty(), "the tokens are revoked");
    let again = project.run(&["logout", "desk"]);
    assert!(again.code != 0 && again.err.contains("nobody is signed in"), "{again:?}");
    let gate = Gate::start(&project);
    let mut client = Client::connect(&project);
    let answer = client.call("desk__echo", json!({}));
    assert!(!ran(&answer) && words(&answer).contains("run `bailiwick login desk`"), "{answer}");
    assert!(ran(&client.call("fix__act", json!({ "mark": "beside" }))));
    let before = world.calls("initialize").len();
    // Signed in while the gate runs.
    let (ran_, page) = sign_in(&project, &world, &[]);
    assert_eq!((ran_.code, page.1.as_str()), (0, "Signed in. You can close this window."), "{ran_:?}");
    let answer = client.call("desk__echo", json!({}));
    assert!(ran(&answer), "{answer}");
    assert!(world.calls("initialize").len() > before);
    // What a sign-in does not allow is said with what to type, unless the server's words are not to be typed.
    let answer = client.call("desk__write", json!({}));
    assert!(
        !ran(&answer) && words(&answer).contains("run `bailiwick login desk --scope 'write'`"),
        "{answer}"
    );
    let answer = client.call("desk__steal", json!({}));
    assert!(
        !ran(&answer) && words(&answer).contains("--scope SCOPE") && !answer.to_string().contains(CANARY),
        "{answer}"
    );
    let (wider, _) = sign_in(&project, &world, &["--scope", "write"]);
    assert!(wider.code == 0 && wider.out.contains("for read, write"), "{wider:?}");
    assert!(ran(&client.call("desk__write", json!({}))));
    // The end of a sign-in is said as well, and does not take the gate down.
    world.state().forget_access();
    world.state().forget_refresh();
    for _ in 0..2 {
        let answer = client.call("desk__echo", json!({}));
        assert!(
            !ran(&answer) && words(&answer).contains("has ended (status 400, invalid_grant)"),
            "{answer}"
        );
    }
    assert!(ran(&client.call("fix__act", json!({ "mark": "beside" }))));
    drop(gate);
}

#[test]
fn an_answer_that_is_not_ours_signs_nobody_in() {
    let world = World::open();
    let project = project(&world);
    let none = project.run(&["login", "fix"]);
    assert!(none.code != 0 && none.err.contains("add `auth = \"oauth\"` to [server.fix]"), "{none:?}");
    let unknown = project.run(&["login", "nobody"]);
    assert!(unknown.code != 0 && unknown.err.contains("no server is called `nobody`"), "{unknown:?}");
    let iss = format!("iss={}/as", world.base);
    for (says_iss, answer, words) in [
        (false, "code=x&state=STATEx", "wrong `state`"),
        (false, "code=x", "no `state`"),
        (false, "code=x&state=STATE&iss=https://evil.example", "wrong `iss`"),
        (true, "code=x&state=STATE", "no `iss`"),
        (
            true,
            &format!("error=access_denied&error_description=not+today&state=STATE&{iss}"),
            "access_denied: not today",
        ),
        (false, "error=access_denied&state=other", "wrong `state`"),
        (true, &format!("code=another&state=STATE&{iss}"), "invalid_grant"),
    ] {
        {
            let mut state = world.state();
            (state.says_iss, state.answer) = (says_iss, Some(answer.to_owned()));
        }
        let before = world.grants("authorization_code");
        let (ran, page) = sign_in(&project, &world, &[]);
        assert!(ran.code != 0 && ran.err.contains(words), "{answer}: {ran:?}");
        assert_eq!(
            (page.0, page.1.as_str()),
            (400, "The sign-in failed. The terminal says why."),
            "{answer}"
        );
        let exchanged = world.grants("authorization_code") - before;
        assert_eq!(exchanged, usize::from(words == "invalid_grant"), "{answer}: nothing else is exchanged");
    }
    let list = project.run(&["secret", "list"]);
    assert!(!list.out.contains("oauth.desk"), "{list:?}");
    world.state().answer = None;
    let waited = project.run(&["login", "desk", "--wait", "1"]);
    assert!(waited.code != 0 && waited.err.contains("no answer came within 1 s"), "{waited:?}");
    let (ran, _) = sign_in(&project, &world, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!format!("{ran:?}").contains(CANARY), "a token or a code was printed: {ran:?}");
    // A login is no secret to be used elsewhere, and nobody types one.
    let list = project.run(&["secret", "list"]);
    assert!(list.out.contains("oauth.desk") && list.out.contains("a login"), "{list:?}");
    let typed = project.run_with(&["secret", "set", "oauth.desk"], b"a value of mine");
    assert!(typed.code != 0 && typed.err.contains("the name of a login"), "{typed:?}");
    configure(&project, "\n[secret.\"oauth.desk\"]\nexpose = \"process\"\n");
    let served = project.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(served.code != 0 && served.err.contains("those of logins"), "{served:?}");
}
