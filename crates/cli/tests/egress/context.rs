//! What a model is sent: an agent behind the wall speaks to a Messages API that remembers every byte, and a value that the
//! gate guards is in none of them. That there were requests, and that all were searched, is in the journal.

use crate::common::finish;
use crate::ground::{CANARY, Ground};
use crate::upstream::Upstream;

/// A value that the programs inside have by right, and a model must not read.
const LEAKED: &str = "lk_canary8c2d6e0f4b7a9153";
const REPLY: &str =
    r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"done"}]}"#;

/// An agent: each turn sends what the tools of the turn before gave, in another way of writing it.
const AGENT: &str = r#"
import base64, gzip, http.client, json, os, ssl, sys
real, token, port = os.environ["REAL"], os.environ["TOKEN"], int(os.environ["PORT"])
units = "".join(f"\\u{ord(each):04x}" for each in real)
def body(text):
    return json.dumps({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "look around"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": text}]},
    ]}).encode()
def pieces(text):
    return (text[at:at + 7] for at in range(0, len(text), 7))
near = real[:-1] + "!"
packed, kind = {"Content-Encoding": "gzip"}, "application/json"
for label, said, more, host in (
    ("clean", body("nothing to see"), {}, "api"),
    ("placeholder", body("TOKEN=" + token), {}, "api"),
    ("near", body("REAL=" + near), {}, "api"),
    ("clean-packed", gzip.compress(body("nothing to see")), packed, "api"),
    ("clean-pieces", pieces(body("nothing " * 9_000)), {}, "api"),
    ("raw", body("REAL=" + real), {}, "api"),
    ("escaped", body("@").replace(b"@", units.encode()), {}, "api"),
    ("base64", body(base64.b64encode(b"REAL=" + real.encode()).decode()), {}, "api"),
    ("hex", body(real.encode().hex()), {}, "api"),
    ("packed", gzip.compress(body("REAL=" + real)), packed, "api"),
    ("pieces", pieces(body("x" * 70_000 + real)), {}, "api"),
    ("header", body("hi"), {"X-Note": real}, "api"),
    ("unread", body("hi"), {"Content-Encoding": "compress"}, "api"),
    ("elsewhere", body("REAL=" + real), {}, "other"),
):
    by = http.client.HTTPSConnection(f"{host}.example.test", port, timeout=20, context=ssl.create_default_context())
    try:
        by.request("POST", "/v1/messages?turn=" + label, said, {"Content-Type": kind, "anthropic-version": "2023-06-01", **more})
        answer = by.getresponse()
        print(label, answer.status, answer.read().decode().strip(), flush=True)
    except OSError as error:
        print(label, "cut", error, flush=True)
"#;

#[test]
fn no_value_is_in_what_a_model_reads_and_it_can_be_shown() {
    let upstream = Upstream::open();
    let port = upstream.port;
    let text = format!(
        "[gate]\nmodels = [\"api.example.test:{port}\"]\n[secret.leaked]\nexpose = \"process\"\n\
         [secret.github]\n[[secret.github.use]]\nhost = \"other.example.test:{port}\"\n"
    );
    let ground = Ground::configured(upstream, &text);
    for (name, value) in [("github", CANARY), ("leaked", LEAKED)] {
        assert_eq!(ground.run(&["secret", "set", name], value.as_bytes()).code, 0);
    }
    ground.upstream.offer("/v1/messages", REPLY);
    std::fs::write(ground.project().join("agent.py"), AGENT).unwrap();
    let mut options =
        ground.places(&[&format!("api.example.test:{port}"), &format!("other.example.test:{port}")]);
    for variable in ["REAL=${secret:leaked}", "TOKEN=${secret:github}"] {
        options.extend(["--env".to_owned(), variable.to_owned()]);
    }
    for folder in ground.python_folders() {
        options.extend(["--read".to_owned(), folder.display().to_string()]);
    }
    let report = ground.path("report.json");
    options.extend(["--report".to_owned(), report.display().to_string()]);
    let ran = finish(&mut ground.sandbox(&options, &[ground.python(), "agent.py"]), b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let received = ground.upstream.received();
    let mut wrong = Vec::new();
    for (label, goes) in [
        ("clean", true),
        ("placeholder", true),
        ("near", true),
        ("clean-packed", true),
        ("clean-pieces", true),
        ("raw", false),
        ("escaped", false),
        ("base64", false),
        ("hex", false),
        ("packed", false),
        ("pieces", false),
        ("header", false),
        ("unread", false),
        ("elsewhere", true),
    ] {
        let line = ran.out.lines().find(|line| line.split(' ').next() == Some(label)).unwrap_or_default();
        let target = format!("/v1/messages?turn={label}");
        let here: Vec<_> = received.iter().filter(|one| one.target == target).collect();
        let is_told = match goes {
            true => line.contains(" 200 ") && line.contains("done") && here.len() == 1,
            // Said in words, or cut off while the body was on its way.
            false => line.contains("bailiwick: ") || line.contains(" cut "),
        };
        if !is_told {
            wrong.push(format!("{label}: {line}: {here:?}"));
        }
        if label != "elsewhere" && here.iter().any(|one| one.holds(LEAKED)) {
            wrong.push(format!("{label}: the model has read it"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{ran:?}", wrong.join("\n"));
    // Nothing of it in any other way of writing it either: what arrived of the refused ones is what came before.
    for one in received.iter().filter(|one| one.sni == "api.example.test") {
        for spelling in crate::ground::spellings(LEAKED) {
            assert!(!one.holds(&spelling), "{spelling}: {one:?}");
        }
    }
    let journal = ground.journal();
    let context: Vec<_> = journal.iter().filter(|record| record["kind"] == "context").collect();
    assert_eq!(context.len(), 1, "{journal:?}");
    assert_eq!((&context[0]["requests"], &context[0]["secrets"]), (&13.into(), &2.into()), "{context:?}");
    assert_eq!(context[0]["refused"], 8, "{context:?}");
    assert!(context[0]["bytes"].as_u64().unwrap() > 140_000, "{context:?}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["context"]["requests"], 13, "{report}");
    let alerts = ground.alerts();
    assert!(
        alerts.iter().any(|alert| alert.contains("secret-in-context") && alert.contains("`leaked`")),
        "{alerts:?}"
    );
    assert!(!format!("{journal:?}").contains(LEAKED), "nor is it in the journal");
}

#[test]
fn a_model_that_could_not_be_searched_is_not_reached_at_all() {
    let upstream = Upstream::open();
    let port = upstream.port;
    let ground = Ground::configured(upstream, &format!("[gate]\nmodels = [\"tls.example.test:{port}\"]\n"));
    for (place, runs) in [
        (format!("tls://tls.example.test:{port}"), false),
        (format!("tcp://tls.example.test:{port}"), false),
        (format!("https://tls.example.test:{port}"), true),
        (format!("tls://api.example.test:{port}"), true),
    ] {
        let ran = ground.inside(&ground.places(&[&place]), "true");
        assert_eq!(ran.code == 0, runs, "{place}: {ran:?}");
        assert!(runs || ran.err.contains("is a model's API"), "{place}: {ran:?}");
    }
}
