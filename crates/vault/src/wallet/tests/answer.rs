//! Values that come back, and credentials that an answer brings.

use super::*;
use crate::binding::Capture;
use http::Response;
use http::response::Parts as Answer;

fn answer(headers: &[(&str, &str)]) -> Answer {
    let mut response = Response::builder();
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap().into_parts().0
}

async fn used(wallet: &Wallet) -> Arc<Used> {
    let mut request = head(wallet, "POST", "/login", &[]);
    Arc::new(wallet.inject(&to(), &mut request).await.ok().unwrap())
}

#[tokio::test]
async fn a_reflected_value_becomes_its_placeholder() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap();
    let used = used(&wallet).await;
    let percent: String = VALUE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let spellings = [
        VALUE.to_owned(),
        format!("Bearer {VALUE}, {VALUE}"),
        percent,
        crate::encode::hex(VALUE.as_bytes()),
        crate::encode::hex(VALUE.as_bytes()).to_uppercase(),
        STANDARD.encode(VALUE),
        STANDARD.encode(format!("x{VALUE}")),
        STANDARD.encode(format!("xy{VALUE}y")),
        base64::engine::general_purpose::URL_SAFE.encode(format!("us:{VALUE}")),
        format!("https://evil.test/?q={}", VALUE.replace('_', "%5F")),
    ];
    for text in &spellings {
        let mut head = answer(&[("x-echo", text)]);
        wallet.answered(&used, &mut head).ok().unwrap();
        let seen = head.headers["x-echo"].to_str().unwrap();
        assert!(seen.contains(placeholder), "{text} -> {seen}");
        let decoded = crate::encode::unpercent(seen.as_bytes());
        for whole in [VALUE.to_owned(), STANDARD.encode(VALUE), crate::encode::hex(VALUE.as_bytes())] {
            assert!(memchr::memmem::find(&decoded, whole.as_bytes()).is_none(), "{text} -> {seen}");
        }
    }
    for innocent in ["text/html", "ghp_other", "a%20b%zz", "bm90IGl0"] {
        let mut head = answer(&[("x-echo", innocent)]);
        wallet.answered(&used, &mut head).ok().unwrap();
        assert_eq!(head.headers["x-echo"], innocent);
    }
}

#[tokio::test]
async fn what_an_answer_brings_becomes_a_handle() {
    let mut login = bound(Place::BodyField { field: "password".into() });
    login.paths = Some(vec![PathPattern::new("/login").unwrap()]);
    login.capture = vec![
        Capture::Cookie { name: "session".into() },
        Capture::Field {
            field: "auth.access_token".into(),
            place: Place::Header { name: AUTHORIZATION, prefix: "Bearer ".into() },
        },
    ];
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![login]).await;
    let used = used(&wallet).await;
    let generation = wallet.generation();
    let fresh = "s3ss10n-Fresh-From-Server";
    let mut head_in = answer(&[
        ("set-cookie", "theme=dark; Path=/"),
        ("set-cookie", &format!("session={fresh}; Path=/; HttpOnly")),
        ("x-copy", fresh),
    ]);
    wallet.answered(&used, &mut head_in).ok().unwrap();
    let cookies: Vec<&str> =
        head_in.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(cookies[0], "theme=dark; Path=/");
    let session = cookies[1].strip_prefix("session=").unwrap().strip_suffix("; Path=/; HttpOnly").unwrap();
    assert!(session != fresh && session.len() == fresh.len());
    assert_eq!(head_in.headers["x-copy"], session, "and it is scrubbed from now on");
    assert_ne!(wallet.generation(), generation);
    // Accepted later in that cookie, at that host, and nowhere else.
    for (to, headers, good) in [
        (to(), ("cookie", format!("session={session}")), true),
        (to(), ("cookie", format!("other={session}")), false),
        (to(), ("x-copy", session.to_owned()), false),
        (to(), ("cookie", format!("session={fresh}")), false),
        (Destination::new("evil.test", 443, true), ("cookie", format!("session={session}")), false),
        (Destination::new(HOST, 443, false), ("cookie", format!("session={session}")), false),
    ] {
        let mut request = head(&wallet, "GET", "/page", &[(headers.0, &headers.1)]);
        let done = wallet.inject(&to, &mut request).await;
        assert_eq!(done.is_ok(), good, "{to:?} {headers:?}");
        if good {
            assert_eq!(header(&request, "cookie"), format!("session={fresh}"));
        }
    }
    let token = "tok_FreshFreshFreshFresh";
    for body in [
        format!(r#"{{ "auth":{{"access_token":"{token}","n":1.0}} , "again":"{token}"}}"#),
        format!(r#"{{"auth":{{"access_token":"{}"}}}}"#, token.replace('F', "\\u0046")),
    ] {
        let mut capture = wallet.capture_body(&used).unwrap();
        let (mut out, (one, two)) = (Vec::new(), body.as_bytes().split_at(20));
        capture.push(one).ok().unwrap();
        capture.push(two).ok().unwrap();
        capture.flush(&mut out).ok().unwrap();
        let text = String::from_utf8(out).unwrap();
        let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
        let handle = tree["auth"]["access_token"].as_str().unwrap();
        assert!(!text.contains(token) && handle != token, "{text}");
        let mut request = head(&wallet, "GET", "/api", &[("authorization", &format!("Bearer {handle}"))]);
        assert!(wallet.inject(&to(), &mut request).await.is_ok());
        assert_eq!(header(&request, "authorization"), format!("Bearer {token}"));
    }
    let mut capture = wallet.capture_body(&used).unwrap();
    let chunk = vec![b' '; 600 * 1024];
    capture.push(&chunk).ok().unwrap();
    assert_eq!(capture.push(&chunk).err().unwrap().why, Why::TooLarge);
}

#[tokio::test]
async fn captured_handles_are_bounded() {
    let mut login = bound(Place::BodyField { field: "password".into() });
    login.capture = vec![Capture::Cookie { name: "session".into() }];
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![login]).await;
    let used = used(&wallet).await;
    for turn in 0..300 {
        let mut head = answer(&[("set-cookie", &format!("session=value-number-{turn:04}"))]);
        wallet.answered(&used, &mut head).ok().unwrap();
    }
    assert_eq!(wallet.captured().len(), 1, "each replaces the one before");
    assert!(wallet.known().len() <= 2 + CAPTURED_ENTRIES_MAX);
    let mut short = answer(&[("set-cookie", "session=1")]);
    wallet.answered(&used, &mut short).ok().unwrap();
    assert_eq!(short.headers["set-cookie"], "session=1", "too short to be a credential");
}
