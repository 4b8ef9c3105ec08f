//! Every place in a request where a secret can be bound, by real clients: the value arrives there, and a placeholder anywhere
//! else stops the request.

use crate::common::finish;
use crate::ground::{CANARY, Ground, found_in, spellings};
use crate::upstream::{Received, Upstream};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

const PAIR: &str = "robot-0b3e:pw_canary4d1f7a90c2be";
const KEYS: &str = "AKIAQX3CANARY7PLMN2Z:canary/secret+key0123456789abcdefghijkl";

/// A place: its name, which is its path too, what the configuration calls it, what a client sends there, and whether the
/// value is there in what arrived.
struct Place {
    name: &'static str,
    called: &'static str,
    curl: &'static str,
    arrived: fn(&Received) -> bool,
}

const PLACES: [Place; 9] = [
    Place {
        name: "bearer",
        called: "\"bearer\"",
        curl: "-H \"Authorization: Bearer $TOKEN\"",
        arrived: |one| one.header("authorization") == format!("Bearer {CANARY}"),
    },
    Place {
        name: "basic",
        called: "\"basic\"",
        curl: "-u \"somebody:$TOKEN\"",
        arrived: |one| basic(one) == format!("somebody:{CANARY}"),
    },
    Place {
        name: "header",
        called: "{ header = \"X-Api-Key\" }",
        curl: "-H \"x-api-key: $TOKEN\"",
        arrived: |one| one.header("x-api-key") == CANARY,
    },
    Place {
        name: "prefixed",
        called: "{ prefixed-header = { name = \"Authorization\", prefix = \"token \" } }",
        curl: "-H \"Authorization: token $TOKEN\"",
        arrived: |one| one.header("authorization") == format!("token {CANARY}"),
    },
    Place {
        name: "cookie",
        called: "{ cookie = \"sid\" }",
        curl: "-b \"a=1; sid=$TOKEN; b=2\"",
        arrived: |one| one.header("cookie") == format!("a=1; sid={CANARY}; b=2"),
    },
    Place {
        name: "query",
        called: "{ query = \"key\" }",
        curl: "-G -d a=1 -d \"key=$TOKEN\" -d b=2",
        arrived: |one| one.target == format!("/repos/query?a=1&key={CANARY}&b=2"),
    },
    Place {
        name: "form",
        called: "{ body = \"token\" }",
        curl: "-d x=1 -d \"token=$TOKEN\" -d y=2",
        arrived: |one| one.body == format!("x=1&token={CANARY}&y=2").into_bytes(),
    },
    Place {
        name: "json",
        called: "{ body = \"token\" }",
        curl: "-H 'Content-Type: application/json' -d '{\"x\":[1],\"token\":\"'\"$TOKEN\"'\"}'",
        arrived: |one| one.body == format!("{{\"x\":[1],\"token\":\"{CANARY}\"}}").into_bytes(),
    },
    Place {
        name: "always",
        called: "\"bearer\"\nalways = true",
        curl: "-H 'X-Nothing: here'",
        arrived: |one| one.header("authorization") == format!("Bearer {CANARY}"),
    },
];

fn basic(one: &Received) -> String {
    let shown = one.header("authorization");
    let text = shown.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// Each client at each path: those in the diagonal are right.
#[test]
fn a_value_arrives_where_it_is_bound_and_at_no_other_place() {
    let upstream = Upstream::open();
    let port = upstream.port;
    let mut text = "[secret.github]\n".to_owned();
    let mut script =
        "ask() { label=$1; shift; echo \"$label: $(curl -sS -m 20 \"$@\" 2>&1 | tr '\\n' ' ')\"; }\n"
            .to_owned();
    for to in &PLACES {
        let Place { name, called, .. } = to;
        writeln!(
            text,
            "[[secret.github.use]]\nhost = \"api.example.test:{port}\"\npaths = [\"/repos/{name}\"]\nplace = {called}"
        )
        .unwrap();
        for by in &PLACES {
            writeln!(
                script,
                "ask {}-at-{name} {} https://api.example.test:$PORT/repos/{name}",
                by.name, by.curl
            )
            .unwrap();
        }
    }
    let ground = Ground::configured(upstream, &text);
    assert_eq!(ground.run(&["secret", "set", "github"], CANARY.as_bytes()).code, 0);
    let ran = ground.with_token(&ground.api(), &script);
    let received = ground.upstream.received();
    let mut wrong = Vec::new();
    for to in &PLACES {
        let path = format!("/repos/{}", to.name);
        let here: Vec<_> =
            received.iter().filter(|one| one.target.split('?').next() == Some(&path)).collect();
        if !here.iter().any(|one| (to.arrived)(one)) {
            wrong.push(format!("{}: the value is not there: {here:?}", to.name));
        }
        // A form and JSON are one place; without a placeholder a request goes as it is, or with the value by itself.
        for one in here.iter().filter(|one| one.holds(CANARY) || basic(one).contains(CANARY)) {
            if !PLACES
                .iter()
                .any(|place| (place.arrived)(one) && (place.called == to.called || to.name == "query"))
            {
                wrong.push(format!("{}: the value is elsewhere: {one:?}", to.name));
            }
        }
        for by in PLACES.iter().filter(|by| by.called != to.called && by.name != "always") {
            let label = format!("{}-at-{}: ", by.name, to.name);
            let line = ran.out.lines().find(|line| line.starts_with(&label)).unwrap_or_default();
            let same = to.name == "always" && by.name == "bearer";
            if !same && !line.contains("bailiwick: secret `github`") {
                wrong.push(format!("{label}is not refused in words: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{ran:?}", wrong.join("\n"));
    assert!(!spellings(CANARY).iter().any(|needle| ran.out.contains(needle)), "{ran:?}");
}

#[test]
fn a_pair_and_a_signature_are_made_of_a_value_nobody_inside_has() {
    let upstream = Upstream::open();
    let port = upstream.port;
    let bound = |name: &str, place: &str| {
        format!(
            "[secret.{name}]\n[[secret.{name}.use]]\nhost = \"api.example.test:{port}\"\nplace = {place}\n"
        )
    };
    let text = bound("pair", "\"basic-pair\"")
        + &bound("aws", "{ sigv4 = { service = \"s3\", region = \"eu-west-1\" } }");
    let ground = Ground::configured(upstream, &text);
    for (name, value) in [("pair", PAIR), ("aws", KEYS)] {
        assert_eq!(ground.run(&["secret", "set", name], value.as_bytes()).code, 0);
    }
    let mut options = ground.api();
    for variable in ["PAIR=${secret:pair}", "AWS=${secret:aws}"] {
        options.extend(["--env".to_owned(), variable.to_owned()]);
    }
    let script = "env; u=https://api.example.test:$PORT; s() { curl -sS -m 20 --aws-sigv4 \"aws:amz:$1:s3\" -u \"$AWS:none\" \"$2\"; }\n\
        curl -sS -m 20 -u \"$PAIR\" $u/pair\n\
        s eu-west-1 \"$u/signed/a%20b?list-type=2&prefix=x%2Fy\"\n\
        echo; s us-east-1 $u/elsewhere\n\
        curl -sS -m 20 -H \"X: $AWS\" $u/shown";
    let ran = finish(&mut ground.sandbox(&options, &["sh", "-c", script]), b"");
    let received = ground.upstream.received();
    let targets: Vec<&str> = received.iter().map(|one| one.target.as_str()).collect();
    assert_eq!(targets, ["/pair", "/signed/a%20b?list-type=2&prefix=x%2Fy"], "{ran:?}");
    assert_eq!(basic(&received[0]), PAIR);
    let shown = received[1].header("authorization");
    assert_eq!(shown, signature(&received[1]), "{received:?}");
    assert!(ran.out.contains("its binding names another AWS service or region"), "{ran:?}");
    let values =
        [PAIR, KEYS].iter().flat_map(|value| value.split_once(':').into_iter()).flat_map(|(a, b)| [a, b]);
    for value in values {
        assert!(!format!("{ran:?}").contains(value), "{value} is seen inside: {ran:?}");
        assert!(found_in(&ground.state(), &[value]).is_empty(), "{value} is in a file");
    }
}

/// The signature that belongs to a GET request of S3, as its documentation describes it.
fn signature(one: &Received) -> String {
    let (id, secret) = KEYS.split_once(':').unwrap();
    let shown = one.header("authorization");
    let field = |name: &str| {
        shown.split(&format!("{name}=")).nth(1).unwrap().split([',', ' ']).next().unwrap().to_owned()
    };
    let (time, signed) = (one.header("x-amz-date"), field("SignedHeaders"));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sum = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let (path, query) = one.target.split_once('?').unwrap_or((&one.target, ""));
    let value = |name: &str| {
        if name == "host" && one.header("host").is_empty() { one.authority.clone() } else { one.header(name) }
    };
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", value(name).trim())).collect();
    let payload =
        Some(one.header("x-amz-content-sha256")).filter(|sum| !sum.is_empty()).unwrap_or_else(|| sum(""));
    let request = format!("GET\n{path}\n{query}\n{headers}\n{signed}\n{payload}");
    let scope = format!("{}/eu-west-1/s3/aws4_request", &time[..8]);
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    for part in scope.split('/') {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sum(&request));
    let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}")
}
