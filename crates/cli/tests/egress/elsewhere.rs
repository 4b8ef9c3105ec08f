//! A credential goes where it is bound and nowhere else: each wrong request beside the right one, judged by what the
//! upstream received. That the gate says no is not enough; somebody must also be able to see that it was asked.

use crate::ground::{CANARY, Ground};

/// One right request and many that are wrong by one thing.
const ASK: &str = r#"
ask() { label=$1; shift; echo "$label: $(curl -sS -m 10 "$@" 2>&1 | tr '\n' ' ')"; }
at=https://api.example.test:$PORT
bearer="Authorization: Bearer $TOKEN"
ask right -H "$bearer" "$at/repos/one"
ask path -H "$bearer" "$at/users/one"
ask dots --path-as-is -H "$bearer" "$at/repos/../users"
ask escaped-dots --path-as-is -H "$bearer" "$at/repos/%2e%2e/users"
ask escaped-slash -H "$bearer" "$at/repos%2fone"
ask header -H "X-Other: $TOKEN" "$at/repos/one"
ask twice -H "$bearer" -H "Authorization: Bearer x$TOKEN" "$at/repos/one"
ask query "$at/repos/one?token=$TOKEN"
ask in-path "$at/repos/$TOKEN"
ask body -d "x=$TOKEN" "$at/repos/one"
printf '%s' "$TOKEN" | gzip > packed
ask packed -H 'Content-Encoding: gzip' --data-binary @packed "$at/repos/one"
ask cookie -b "a=$TOKEN" "$at/repos/one"
ask host -H "$bearer" -H 'Host: other.example.test' "$at/repos/one"
"#;

#[test]
fn a_credential_goes_where_it_is_bound_and_nowhere_else() {
    let ground = Ground::new();
    let ran = ground.with_token(&ground.api(), ASK);
    let received = ground.upstream.received();
    let carried: Vec<&str> =
        received.iter().filter(|one| one.holds(CANARY)).map(|one| one.target.as_str()).collect();
    assert_eq!(carried, ["/repos/one"], "only the right request carries the value: {ran:?}");
    for label in
        ["path", "dots", "escaped-dots", "header", "query", "in-path", "body", "packed", "cookie", "host"]
    {
        let line = ran.out.lines().find(|line| line.starts_with(&format!("{label}: "))).unwrap_or_default();
        assert!(
            line.contains("bailiwick: ") || line.contains("curl: "),
            "{label} is refused in words: {line}"
        );
    }
    let alerts = ground.alerts();
    assert!(alerts.iter().any(|alert| alert.contains("secret-misuse")), "{alerts:?}");
    assert!(!format!("{:?}", ground.journal()).contains(CANARY), "the value is in the journal");
}

#[test]
fn no_credential_goes_where_the_gate_does_not_speak_tls_itself() {
    let ground = Ground::new();
    let (plain, raw) = (ground.upstream.plain, ground.upstream.raw);
    let places = [format!("http://api.example.test:{plain}"), format!("tcp://api.example.test:{raw}")];
    let script = format!(
        "curl -sS -m 10 http://api.example.test:{plain}/repos/one\n\
         curl -sS -m 10 -H \"Authorization: Bearer $TOKEN\" http://api.example.test:{plain}/repos/two\n\
         curl -sS -m 2 -H \"Authorization: Bearer $TOKEN\" http://api.example.test:{raw}/repos/three"
    );
    let ran = ground.with_token(&ground.places(&places.each_ref().map(String::as_str)), &script);
    assert!(ground.upstream.heard("/repos/one"), "the place itself can be reached: {ran:?}");
    assert!(!ground.upstream.heard("/repos/two"), "a placeholder in plain HTTP stops the request");
    assert!(ground.upstream.heard("/repos/three"), "what is not opened passes as it is");
    assert!(!ground.upstream.heard(CANARY), "the value went out: {ran:?}");
}
