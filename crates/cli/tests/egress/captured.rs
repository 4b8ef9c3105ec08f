//! Credentials that an answer brings: inside there is only what stands for them, which is good where they came from and
//! nowhere else.

use crate::ground::{CANARY, Ground};
use crate::upstream::Upstream;

/// What the login says, and what must be seen nowhere inside.
const ISSUED: &str = "tok_canary5b1e7d3f9a2c4086";
const LOGIN: &str = r#"
u=https://api.example.test:$PORT; set -e
curl -sS -m 20 -H "Authorization: Bearer $TOKEN" $u/repos/login > answer
cat answer; echo
got=$(sed 's/.*"token" *: *"\([^"]*\)".*/\1/' answer); echo "got=$got"
ask() { label=$1; shift; echo "$label: $(curl -sS -m 20 "$@" 2>&1 | tr '\n' ' ')"; }
ask used -H "Authorization: Bearer $got" $u/repos/use
ask anywhere-there -H "Authorization: Bearer $got" $u/elsewhere
ask other-header -H "X-Token: $got" $u/repos/header
ask other-port -H "Authorization: Bearer $got" https://api.example.test:$SECOND/repos/port
ask other-host -H "Authorization: Bearer $got" https://other.example.test:$PORT/repos/host
ask body -d "$got" $u/repos/body
ask unbound $u/repos/plain
ask not-granted https://other.example.test:$SECOND/
"#;

#[test]
fn a_field_of_an_answer_becomes_a_handle_that_is_good_where_it_came_from() {
    let upstream = Upstream::open();
    let (port, second) = (upstream.port, upstream.second);
    let text = format!(
        "[secret.github]\n[[secret.github.use]]\nhost = \"api.example.test:{port}\"\npaths = [\"/repos/login\"]\n\
         capture = [{{ field = {{ name = \"auth.token\", place = \"bearer\" }} }}]\n"
    );
    let ground = Ground::configured(upstream, &text);
    assert_eq!(ground.run(&["secret", "set", "github"], CANARY.as_bytes()).code, 0);
    let issued = format!(r#"{{"user": "somebody", "auth": {{"token" : "{ISSUED}", "expires": 3600}}}}"#);
    ground.upstream.offer("/repos/login", issued.clone());
    // The same words of somebody who has no credential to give.
    ground.upstream.offer("/repos/plain", r#"{"auth": {"token": "tok_nobody0000000000000000"}}"#);
    let places = ground.places(&[
        &format!("api.example.test:{port}"),
        &format!("api.example.test:{second}"),
        &format!("other.example.test:{port}"),
    ]);
    let ran = ground.with_token(&places, LOGIN);
    let said = format!("{}{}", ran.out, ran.err);
    let line = |label: &str| {
        let start = format!("{label}: ");
        ran.out.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{label}: {ran:?}"))
    };
    assert!(!said.contains(ISSUED) && !said.contains(CANARY), "{ran:?}");
    let got = ran.out.lines().find_map(|line| line.strip_prefix("got=")).unwrap();
    assert!(
        got.find('_') == Some(3) && got.len() == ISSUED.len() && got != ISSUED,
        "its shape is kept: {got}"
    );
    let answer = ran.out.lines().next().unwrap();
    assert_eq!(answer, issued.replace(ISSUED, got), "and so is all else");
    let received = ground.upstream.received();
    let at = |path: &str| received.iter().filter(|one| one.target == path).collect::<Vec<_>>();
    for path in ["/repos/use", "/elsewhere"] {
        let here = at(path);
        assert_eq!(here.len(), 1, "{path}: {ran:?}");
        assert_eq!(here[0].header("authorization"), format!("Bearer {ISSUED}"), "{path}");
    }
    for (label, path) in [
        ("other-header", "/repos/header"),
        ("other-port", "/repos/port"),
        ("other-host", "/repos/host"),
        ("body", "/repos/body"),
    ] {
        assert!(line(label).contains("bailiwick: "), "{}", line(label));
        assert!(!at(path).iter().any(|one| one.holds(ISSUED) || one.holds(got)), "{label}: {:?}", at(path));
    }
    assert!(line("unbound").contains("tok_nobody0000000000000000"), "{}", line("unbound"));
    let alerts = ground.alerts();
    let place = format!("other.example.test:{second}");
    let told: Vec<_> = alerts.iter().filter(|alert| alert.contains(&place)).collect();
    assert!(told.len() == 1 && told[0].matches(&place).count() == 1, "a place is said once: {told:?}");
    assert!(alerts.iter().filter(|alert| alert.contains("secret-misuse")).count() >= 4, "{alerts:?}");
    assert!(!alerts.iter().any(|alert| alert.contains(ISSUED)), "{alerts:?}");
}
