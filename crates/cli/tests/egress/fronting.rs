//! A connection to a place is a connection to that place, whatever is said in it: other names in the TLS hello, in `Host`, in
//! `:authority` or behind another request's body lead nowhere, and no credential goes there.

use crate::common::finish;
use crate::ground::{CANARY, Ground, PYTHON};
use std::collections::BTreeMap;

/// What agrees with itself, and what of it arrives, in order. HTTP/2 needs Node.
const RIGHT: [(&str, &str); 8] = [
    ("right", "/repos/right"),
    ("right, pieces of one byte", "/repos/pieces-api.e"),
    ("right, two records", "/repos/records"),
    ("right, absolute form", "/repos/absolute"),
    // The framing that counts is the chunks'; nothing else of it is passed on.
    ("chunks and length", "/repos/outer"),
    ("pipelined", "/repos/first"),
    // The offer is dropped, as RFC 9110 lets anybody.
    ("upgrade to h2c", "/repos/h2c"),
    ("h2 right", "/repos/h2-right"),
];

#[test]
fn another_name_within_a_connection_leads_nowhere() {
    let ground = Ground::new();
    std::fs::write(ground.project().join("fronting.py"), include_str!("fronting.py")).unwrap();
    let token = ["--env".to_owned(), "TOKEN=${secret:github}".to_owned()];
    let shown = PYTHON.folders.iter().flat_map(|it| ["--read".to_owned(), it.display().to_string()]);
    let options: Vec<String> = ground.api().into_iter().chain(token).chain(shown).collect();
    let ran = finish(&mut ground.sandbox(&options, &[&PYTHON.program, "fronting.py"]), b"");
    let lines = ran.out.lines().map(serde_json::from_str);
    let said: BTreeMap<String, String> =
        lines.collect::<Result<_, _>>().unwrap_or_else(|_| panic!("{ran:?}"));
    let mut wrong = Vec::new();
    for (name, how) in &said {
        let is_right = RIGHT.iter().any(|(right, _)| right == name);
        // HTTP that cannot be read at all has no words for an answer.
        let is_refused =
            ["bailiwick: ", "UNRECOGNIZED_NAME", "400 Bad Request"].iter().any(|it| how.contains(it));
        if is_right != how.contains("200") || is_right == is_refused && name != "pipelined" {
            wrong.push(format!("{name}: {how}"));
        }
    }
    if !said.contains_key("h2 right") {
        println!("skipped: HTTP/2, for which Node is not here");
    }
    assert!(said.len() > 34 && wrong.is_empty(), "{} tries\n{}", said.len(), wrong.join("\n"));
    let received = ground.upstream.received();
    let targets: Vec<&str> = received.iter().map(|one| one.target.as_str()).collect();
    let right: Vec<&str> =
        RIGHT.iter().filter(|(name, _)| said.contains_key(*name)).map(|(_, target)| *target).collect();
    assert_eq!(targets, right, "what arrived");
    for one in &received {
        assert!(!one.holds("other.example.test") && one.holds(CANARY), "{one:?}");
    }
    let alerts = ground.alerts().join("\n");
    for words in [
        "the TLS hello to api.example.test names other.example.test",
        "the TLS hello to api.example.test names no server",
        "Host says other.example.test",
        "more than one Host",
        "the request's target says other.example.test",
        "CONNECT is for the proxy",
        "something other than TLS was sent",
        "secret-misuse",
    ] {
        assert!(alerts.contains(words), "nobody was told that {words}: {alerts}");
    }
}
