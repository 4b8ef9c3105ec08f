//! AWS signatures that are made anew, and those that cannot be.

use super::*;

const PAIR: &str = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

async fn aws(value: &str) -> Bench {
    let place = Place::SigV4 { service: "service".into(), region: "us-east-1".into() };
    bench(value, vec![Binding::new("example.amazonaws.com", place).unwrap()]).await
}

fn signed(id: &str, service: &str, headers: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={id}/20150830/us-east-1/{service}/aws4_request, SignedHeaders={headers}, Signature=00"
    )
}

#[tokio::test]
async fn a_request_is_signed_anew_with_the_real_pair() {
    let Bench { wallet, _scratch, .. } = aws(PAIR).await;
    let id = wallet.placeholder(&name("token")).unwrap().to_owned();
    assert!(id.len() == 20 && id.starts_with("AKIA"));
    let to = Destination::new("example.amazonaws.com", 443, true);
    let date = ("x-amz-date", "20150830T123600Z");
    let host = ("host", "example.amazonaws.com");
    // AWS's own vectors: get-vanilla, and post-x-www-form-urlencoded with its body at hand.
    let get = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let post = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (method, headers, list, body, signature) in [
        ("GET", vec![host, date], "host;x-amz-date", None, get),
        ("GET", vec![date], "host;x-amz-date", None, get),
        ("POST", vec![form, host, date], "content-type;host;x-amz-date", Some(&b"Param1=value1"[..]), post),
    ] {
        let authorization = signed(&id, "service", list);
        let mut all = headers.clone();
        all.push(("authorization", &authorization));
        let mut request = head(&wallet, method, "/", &all);
        assert_eq!(wallet.wants_body(&request), body.is_some());
        let done = wallet.inject_with(&to, &mut request, body).await;
        assert!(done.is_ok(), "{}", done.err().unwrap());
        let sent = header(&request, "authorization");
        assert!(sent.contains("Credential=AKIDEXAMPLE/") && sent.ends_with(signature), "{sent}");
    }
}

#[tokio::test]
async fn what_cannot_be_signed_anew_is_stopped() {
    let Bench { wallet, _scratch, .. } = aws(&format!("{PAIR}:SessionTokenValue")).await;
    let id = wallet.placeholder(&name("token")).unwrap().to_owned();
    let to = Destination::new("example.amazonaws.com", 443, true);
    let good = signed(&id, "service", "host;x-amz-date");
    let date = ("x-amz-date", "20150830T123600Z");
    let mut request = head(&wallet, "GET", "/", &[date, ("authorization", &good)]);
    assert!(wallet.inject(&to, &mut request).await.is_ok());
    assert_eq!(header(&request, "x-amz-security-token"), "SessionTokenValue");
    assert!(header(&request, "authorization").contains("SignedHeaders=host;x-amz-date;x-amz-security-token"));
    let other = signed(&id, "iam", "host;x-amz-date");
    let unsigned = signed(&id, "service", "x-amz-date");
    let absent = signed(&id, "service", "host;x-amz-date;x-gone");
    let chunked = ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    for (method, target, headers) in [
        ("GET", "/", vec![date, ("authorization", other.as_str())]),
        ("GET", "/", vec![date, ("authorization", &unsigned)]),
        ("GET", "/", vec![date, ("authorization", &absent)]),
        ("GET", "/", vec![("x-amz-date", "20150831T123600Z"), ("authorization", &good)]),
        ("GET", "/", vec![("authorization", &good)]),
        ("PUT", "/", vec![date, chunked, ("authorization", &good)]),
        ("POST", "/", vec![date, ("authorization", &good)]),
        ("GET", "/?X-Amz-Signature=00", vec![date, ("authorization", &good)]),
    ] {
        let mut request = head(&wallet, method, target, &headers);
        let found = why(&wallet, &to, &mut request).await;
        assert!(matches!(found, Some(Why::Signature(_))), "{method} {target} {headers:?}: {found:?}");
    }
    for target in ["/?X-Amz-Credential=@%2F20150830", "/@"] {
        let mut request = head(&wallet, "GET", target, &[]);
        assert_eq!(why(&wallet, &to, &mut request).await, Some(Why::Mismatch(Mismatch::Place)));
    }
}
