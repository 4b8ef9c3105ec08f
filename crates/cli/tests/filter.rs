//! What the filter does to results of a real server: secrets and persons are taken out, handles go back where they may and
//! stop a call where they may not, so that nothing is ever saved over by them.

#![allow(clippy::unwrap_used, reason = "the test fails where the machine does")]

mod common;

use common::{Client, Gate, Project, words};
use serde_json::{Value, json};

const EMAIL: &str = "ann.lee@mail.example.org";
const POLICY: &str = r#"
permit (principal, action, resource);
@id("leave-her-alone") forbid (principal, action == Action::"desk/send", resource)
when { context.args has to && context.args.to like "ann.*" && context.args has text && context.args.text == "again" };
"#;

fn project() -> Project {
    let project = Project::bare();
    let server = project.path().join("desk.py");
    std::fs::write(&server, include_str!("data/desk.py")).unwrap();
    let command = format!("desk=/usr/bin/python3 {}", server.display());
    let init = project.run(&["init", "--yes", "--no-claude-code", "--server", &command]);
    assert!(init.code == 0 && init.out.contains("read"), "{init:?}");
    project.only_policy(POLICY);
    project
}

fn configure(project: &Project, filter: &str) {
    let text = format!(
        // Texts are compared, so they are shown as they are.
        "{filter}\n[marks]\nmode = \"off\"\n[gate]\nclaude_code = false\n[server.desk]\ncommand = [\"/usr/bin/python3\", {:?}]\n\
         [server.desk.sandbox]\nworkspace = \"read-write\"\n",
        project.path().join("desk.py")
    );
    std::fs::write(project.config().join("bailiwick.toml"), text).unwrap();
}

/// The handle of this kind in a text.
fn handle<'a>(text: &'a str, kind: &str) -> &'a str {
    let start = text.find(&format!("BW-{kind}-")).unwrap_or_else(|| panic!("no {kind} in {text}"));
    let end = text[start..].find("-WB").unwrap() + start + 3;
    &text[start..end]
}

#[test]
fn what_is_taken_out_of_results_goes_back_only_where_it_may() {
    let project = project();
    configure(&project, "[filter]\npersonal = [\"email\"]\nrestore = [\"desk/send.to\"]\n");
    let gate = Gate::start(&project);
    let mut client = Client::connect_to(&project, &["desk"]);

    let read = client.call("read", json!({}));
    let text = words(&read);
    let token = format!("gh{}", "p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ");
    assert!(!read.to_string().contains(&token) && !read.to_string().contains(EMAIL), "{read}");
    assert!(text.contains("Order 4711, commit 3f786850e387550fdab836ed7e6dc881de23001b."), "{text}");
    assert_eq!(read["result"]["structuredContent"]["said"], json!(text), "the same in both places");
    let email = handle(&text, "email").to_owned();
    let secret = handle(&text, "github-token").to_owned();

    // The same value has the same handle, and errors are searched too.
    assert_eq!(words(&client.call("read", json!({}))), text);
    let failed = client.call("fail", json!({})).to_string();
    assert!(failed.contains(&secret) && !failed.contains(&token), "{failed}");

    for (tool, arguments, want) in [
        ("send", json!({ "to": email, "text": "hello" }), Ok(&*email)),
        // What is judged is what would be sent.
        ("send", json!({ "to": email, "text": "again" }), Err("leave-her-alone")),
        ("send", json!({ "to": "x", "text": email }), Err("may not be turned back here")),
        ("note", json!({ "to": email }), Err("may not be turned back here")),
        ("note", json!({ "text": format!("save {secret} for later") }), Err("may not be turned back here")),
        ("send", json!({ "to": "BW-email-aaaaaaaaaaaa-WB" }), Err("is not known in this session")),
        ("send", json!({ "to": email.to_ascii_lowercase() }), Err("was changed")),
        ("note", json!({ "text": "BW- is no handle" }), Ok("BW- is no handle")),
    ] {
        let answer = client.call(tool, arguments.clone());
        let said = words(&answer);
        match want {
            Ok(shown) => assert!(said.contains(shown), "{arguments}: {answer}"),
            Err(why) => assert!(said.contains(why), "{arguments}: {answer}"),
        }
        assert!(!answer.to_string().contains(EMAIL), "{answer}");
    }
    let told = std::fs::read_to_string(project.path().join("told")).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told, [json!({ "to": EMAIL, "text": "hello" }), json!({ "text": "BW- is no handle" })]);

    drop(client);
    drop(gate);
    let journal = Value::from(project.journal()).to_string();
    assert!(!journal.contains(EMAIL) && !journal.contains(&token), "{journal}");
    assert!(journal.contains("taken out of it: 2 email, 2 github-token"), "{journal}");
}

#[test]
fn a_value_of_the_vault_is_found_in_parts() {
    const VALUE: &str = "correct-horse-battery-staple-9";
    let project = project();
    configure(&project, "");
    assert_eq!(project.run_with(&["secret", "set", "horse"], VALUE.as_bytes()).code, 0);
    std::fs::write(project.path().join("whole"), VALUE).unwrap();
    let gate = Gate::start(&project);
    let mut client = Client::connect_to(&project, &["desk"]);
    let both = client.call("halves", json!({}));
    assert_eq!(both["result"]["structuredContent"]["second"], "", "its other half went as well: {both}");
    // One by one: the first half is nothing yet, the second makes it a value.
    let first = client.call("halves", json!({ "text": "first" }));
    assert_eq!(first["result"]["structuredContent"]["part"], VALUE[..12], "{first}");
    let second = client.call("halves", json!({ "text": "second" }));
    assert_eq!(second["result"]["structuredContent"]["part"], "BW-HIDDEN-horse-WB", "{second}");
    drop(client);
    drop(gate);
    let journal = Value::from(project.journal()).to_string();
    assert_eq!(journal.matches("taken out of it: the value of horse").count(), 2, "{journal}");
}

#[test]
fn everything_a_server_says_is_searched_and_not_only_its_results() {
    let project = project();
    configure(&project, "[filter]\npersonal = [\"email\"]\n");
    let mut command = project.bailiwick();
    command.env("BAILIWICK_LOG", "info");
    let gate = Gate::start_by(&project, command);
    let mut client = Client::connect_to(&project, &["desk"]);
    let token = format!("gh{}", "p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ");
    let mut heard = Vec::new();
    let meta = json!({ "name": "loud", "arguments": {}, "_meta": { "progressToken": "p1" } });
    let id = client.begin("tools/call", meta);
    loop {
        let message = client.receive().expect("a message");
        let is_answer = message["id"] == json!(id);
        heard.push(message);
        if is_answer {
            break;
        }
    }
    let kinds: Vec<&str> = heard.iter().filter_map(|message| message["method"].as_str()).collect();
    for kind in ["notifications/message", "notifications/progress", "notifications/strange"] {
        assert!(kinds.contains(&kind), "{heard:?}");
    }
    let progress = heard.iter().find(|message| message["method"] == "notifications/progress").unwrap();
    assert_eq!(progress["params"]["progressToken"], "p1", "{progress}");
    heard.push(client.request("tools/list", json!({})));
    let prompts = client.request("prompts/list", json!({}));
    assert_eq!(
        prompts["result"]["nextCursor"],
        json!(token),
        "where a list goes on is the server's own word"
    );
    heard.push(prompts["result"]["prompts"].clone());
    heard.push(client.request("resources/list", json!({})));
    heard.push(client.request("prompts/get", json!({ "name": "hello" })));
    heard.push(client.request("resources/read", json!({ "uri": "desk:key" })));
    let handle = handle(&words(&client.call("read", json!({}))), "github-token").to_owned();
    for message in &heard {
        let message = message.to_string();
        assert!(!message.contains(&token) && !message.contains(EMAIL), "{message}");
    }
    for (number, message) in
        heard.iter().enumerate().filter(|(_, message)| message["result"]["content"].is_null())
    {
        assert!(message.to_string().contains(&handle), "{number}: {message}");
    }
    drop(client);
    let log = gate.log();
    assert!(log.contains("loud: Ann wrote") && !log.contains(&token) && !log.contains(EMAIL), "{log}");
}

#[test]
fn what_is_personal_is_taken_out_and_kept_in_by_tool_and_direction() {
    let project = project();
    let filter = "[filter]\npersonal = [\"email\"]\nrestore = [\"desk/note.to\"]\n[filter.of.\"desk/read\"]\npersonal = []\n\
                  [filter.of.\"desk/note\"]\nsent = [\"email\"]\n";
    configure(&project, filter);
    let gate = Gate::start(&project);
    let mut client = Client::connect_to(&project, &["desk"]);

    assert!(words(&client.call("read", json!({}))).contains(EMAIL), "off for this tool");
    let sent = words(&client.call("send", json!({ "to": EMAIL })));
    assert!(
        !sent.contains(EMAIL) && sent.contains("BW-email-"),
        "it may be sent there, and is taken out of the answer: {sent}"
    );
    let email = handle(&sent, "email").to_owned();
    let denied = client.call("note", json!({ "text": format!("write to {EMAIL}") })).to_string();
    assert!(denied.contains("argument `text` says personal data (email)"), "{denied}");
    let noted = client.call("note", json!({ "to": email })).to_string();
    assert!(!noted.contains("personal data"), "its handle may go where it is put back: {noted}");
    drop(client);
    drop(gate);
}

#[test]
fn the_filter_does_what_its_settings_say() {
    let project = project();
    for (filter, hidden, shown) in [
        ("", &["github-token"][..], &[EMAIL, "4711"][..]),
        ("[filter]\nsecrets = \"off\"\n", &[], &["p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ", EMAIL]),
        (
            "[[filter.rule]]\nname = \"order\"\npattern = 'Order [0-9]{4}'\nmatches = [\"Order 1234\"]\n\
             near_misses = [\"Order 12\"]\n",
            &["github-token", "order"],
            &[EMAIL],
        ),
    ] {
        configure(&project, filter);
        let gate = Gate::start(&project);
        let mut client = Client::connect_to(&project, &["desk"]);
        let text = words(&client.call("read", json!({})));
        hidden.iter().for_each(|kind| drop(handle(&text, kind).to_owned()));
        shown.iter().for_each(|shown| assert!(text.contains(shown), "{filter}: {text}"));
        drop(client);
        drop(gate);
    }
    for (filter, why) in [
        ("[filter]\npersonal = [\"shoe-size\"]\n", "`shoe-size` in `personal` is no kind of personal data"),
        (
            "[filter.of.dusk]\npersonal = [\"all\"]\n",
            "`dusk` is no SERVER or SERVER/TOOL; the servers are desk",
        ),
        ("[filter]\nrestore = [\"desk\"]\n", "is not SERVER/TOOL.ARGUMENT"),
        ("[filter]\nrestore = [\"claude/Write.content\"]\n", "`claude` is no server"),
        ("[[filter.rule]]\nname = \"x\"\npattern = 'a'\nmatches = [\"b\"]\nnear_misses = [\"c\"]\n", "rule"),
    ] {
        configure(&project, filter);
        let ran = project.run(&["serve"]);
        assert!(ran.code != 0 && ran.err.contains(why), "{filter}: {ran:?}");
    }
}
