//! Bodies cut anywhere, compressed, with a bound field or without.

use super::*;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::Value as Json;
use std::io::Write as _;

async fn pass(wallet: &Wallet, headers: &[(&str, &str)]) -> BodyPass {
    let mut request = head(wallet, "POST", "/login", headers);
    let used = wallet.inject(&to(), &mut request).await.ok().unwrap();
    wallet.body(&used, &request.headers).unwrap()
}

fn run(mut pass: BodyPass, chunks: &[&[u8]]) -> (Vec<u8>, Option<Why>) {
    let mut out = Vec::new();
    for chunk in chunks {
        if let Err(misuse) = pass.push(chunk, &mut out) {
            return (out, Some(misuse.why));
        }
    }
    let why = pass.flush(&mut out).err().map(|misuse| misuse.why);
    (out, why)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_placeholder_is_stopped_wherever_it_is_split() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap().to_owned();
    let spelled: String = placeholder.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for (kind, needle, clean, why) in [
        ("text/plain", placeholder.as_str(), placeholder.as_str(), Why::Mismatch(Mismatch::Place)),
        ("text/plain", VALUE, VALUE, Why::Value),
        (
            "application/x-www-form-urlencoded",
            spelled.as_str(),
            placeholder.as_str(),
            Why::Mismatch(Mismatch::Place),
        ),
    ] {
        let text = format!("ghp_ before {needle} after ghp_");
        for cut in 0..=text.len() {
            let (one, two) = text.as_bytes().split_at(cut);
            let (out, found) = run(pass(&wallet, &[("content-type", kind)]).await, &[one, two]);
            assert_eq!(found, Some(why.clone()), "{kind} cut at {cut}");
            let start = text.find(needle).unwrap();
            assert!(out.len() <= start, "nothing of it has left");
            assert!(text.as_bytes().starts_with(&out));
        }
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        let (out, found) = run(pass(&wallet, &[("content-type", kind)]).await, &bytes);
        assert!(out.len() <= text.find(needle).unwrap(), "nor byte by byte");
        assert_eq!(found, Some(why));
        // Nearly the same, in every chunking, goes through unchanged.
        let near = format!("ghp_ {} ghp_gh {} ghp", &clean[..clean.len() - 1], &clean[1..]);
        for size in 1..=near.len() {
            let chunks: Vec<&[u8]> = near.as_bytes().chunks(size).collect();
            let pass = pass(&wallet, &[("content-type", kind)]).await;
            assert!(pass.keeps_length());
            let (out, found) = run(pass, &chunks);
            assert_eq!((out.as_slice(), found), (near.as_bytes(), None), "{kind} chunks of {size}");
        }
    }
}

#[tokio::test]
async fn nothing_is_held_back_without_need() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    let mut pass = pass(&wallet, &[]).await;
    let mut out = Vec::new();
    pass.push(b"an ordinary chunk ghp", &mut out).ok().unwrap();
    assert_eq!(out, b"an ordinary chunk ");
    pass.push(b"!", &mut out).ok().unwrap();
    assert_eq!(out, b"an ordinary chunk ghp!");
}

#[tokio::test]
async fn compressed_bodies_are_looked_into() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap().to_owned();
    let bad = format!("{}{placeholder} and more", "padding ".repeat(5000));
    let good = bad.replace(&placeholder, "ghp_something-else");
    let members = [gzip(b"first member"), gzip(bad.as_bytes())].concat();
    let zlib = {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bad.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    for (coding, body, outcome) in [
        ("gzip", gzip(good.as_bytes()), None),
        ("gzip", gzip(bad.as_bytes()), Some(Why::Mismatch(Mismatch::Place))),
        ("x-gzip", members, Some(Why::Mismatch(Mismatch::Place))),
        ("deflate", zlib, Some(Why::Mismatch(Mismatch::Place))),
        ("gzip", b"not gzip at all".to_vec(), Some(Why::Undecodable)),
        ("gzip", gzip(good.as_bytes())[..100].to_vec(), Some(Why::Undecodable)),
        ("gzip", Vec::new(), None),
        ("gzip", gzip(VALUE.as_bytes()), Some(Why::Value)),
    ] {
        for size in [1, 7, body.len().max(1)] {
            let chunks: Vec<&[u8]> = body.chunks(size).collect();
            let (out, found) = run(pass(&wallet, &[("content-encoding", coding)]).await, &chunks);
            assert_eq!(found, outcome, "{coding} by {size}");
            if outcome.is_none() {
                assert_eq!(out, body);
            }
        }
    }
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::CompressorWriter::new(&mut out, 4_096, 5, 22).write_all(text).unwrap();
    out
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 3).unwrap()
}

#[tokio::test]
async fn brotli_and_zstd_are_looked_into_and_what_nobody_can_read_is_refused() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap().to_owned();
    let bad = format!("{}{placeholder} and more", "padding ".repeat(5_000));
    let good = bad.replace(&placeholder, "ghp_something-else");
    let place = Some(Why::Mismatch(Mismatch::Place));
    let skipped = |text: &str| {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        [&[0x50, 0x2a, 0x4d, 0x18], &length[..], text.as_bytes(), &zstd(b"harmless")].concat()
    };
    let wide = {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        encoder.write_all(&[7; 100]).unwrap();
        encoder.finish().unwrap()
    };
    for (coding, body, outcome) in [
        ("br", brotli(good.as_bytes()), None),
        ("br", brotli(bad.as_bytes()), place.clone()),
        ("br", brotli(VALUE.as_bytes()), Some(Why::Value)),
        ("br", brotli(good.as_bytes())[..20].to_vec(), Some(Why::Undecodable)),
        ("br", b"\xff\xffno brotli".to_vec(), Some(Why::Undecodable)),
        ("br", Vec::new(), None),
        ("zstd", zstd(good.as_bytes()), None),
        ("ZSTD", zstd(bad.as_bytes()), place.clone()),
        ("zstd", [zstd(b"first frame"), zstd(VALUE.as_bytes())].concat(), Some(Why::Value)),
        ("zstd", skipped("comment"), None),
        ("zstd", skipped(VALUE), Some(Why::Value)),
        ("zstd", zstd(good.as_bytes())[..20].to_vec(), Some(Why::Undecodable)),
        ("zstd", wide, Some(Why::Undecodable)),
        ("zstd", b"no zstd".to_vec(), Some(Why::Undecodable)),
        ("identity", good.clone().into_bytes(), None),
        ("aws-chunked", good.clone().into_bytes(), None),
        ("aws-chunked", bad.clone().into_bytes(), place.clone()),
        ("aws-chunked, gzip", gzip(bad.as_bytes()), place.clone()),
        ("compress", good.clone().into_bytes(), Some(Why::Coding("compress".into()))),
        ("compress", Vec::new(), None),
        ("gzip, br", gzip(b"any"), Some(Why::Coding("more than one".into()))),
    ] {
        for size in [1, 7, body.len().max(1)] {
            let chunks: Vec<&[u8]> = body.chunks(size).collect();
            let (out, found) = run(pass(&wallet, &[("content-encoding", coding)]).await, &chunks);
            assert_eq!(found, outcome, "{coding} by {size}");
            if outcome.is_none() {
                assert_eq!(out, body);
            }
        }
    }
}

#[tokio::test]
async fn a_bomb_is_read_in_slices_and_a_long_body_is_read_whole() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    let zeros = vec![b'0'; 64 << 20];
    let ends_badly = [&zeros[..], VALUE.as_bytes()].concat();
    for (coding, harmless, harmful) in [
        ("br", brotli(&zeros), brotli(&ends_badly)),
        ("zstd", zstd(&zeros), zstd(&ends_badly)),
        ("gzip", gzip(&zeros), gzip(&ends_badly)),
    ] {
        for (body, outcome) in [(harmless, None), (harmful, Some(Why::Value))] {
            let (_, found) = run(pass(&wallet, &[("content-encoding", coding)]).await, &[&body]);
            assert_eq!(found, outcome, "{coding}: {} bytes", body.len());
        }
    }
}

#[tokio::test]
async fn escapes_hide_nothing() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap().to_owned();
    let units = |text: &str| text.bytes().map(|byte| format!("\\u{byte:04x}")).collect::<String>();
    let json = ("content-type", "application/json");
    for (needle, why) in [(placeholder.as_str(), Why::Mismatch(Mismatch::Place)), (VALUE, Why::Value)] {
        let (one, rest) = needle.split_at(5);
        let all = units(needle);
        let last = format!("{}{}", &needle[..needle.len() - 1], units(&needle[needle.len() - 1..]));
        let later = format!("{one}{}{}", units(&rest[..1]), &rest[1..]);
        for (said, near) in [
            (all.as_str(), all[..all.len() - 1].to_owned()),
            (&last, format!("{}!", &last[..last.len() - 6])),
            (&later, later.replacen("\\u", "\\\\u", 1)),
        ] {
            let text = format!(r#"{{"a":"\n ghp_","b":"{said}"}}"#);
            let close = format!(r#"{{"a":"\n ghp_","b":"{near}"}}"#);
            for size in (1..14).chain([text.len()]) {
                for kind in [json, ("content-type", "text/plain")] {
                    let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                    let (out, found) = run(pass(&wallet, &[kind]).await, &chunks);
                    assert_eq!(found, Some(why.clone()), "{text} by {size}");
                    assert!(
                        out.len() <= text.find(said).unwrap(),
                        "nothing of it has left: {text} by {size}"
                    );
                    let chunks: Vec<&[u8]> = close.as_bytes().chunks(size).collect();
                    let (out, found) = run(pass(&wallet, &[kind]).await, &chunks);
                    assert_eq!((out.as_slice(), found), (close.as_bytes(), None), "{close} by {size}");
                }
            }
            let coded = [json, ("content-encoding", "br")];
            let (_, found) = run(pass(&wallet, &coded).await, &[&brotli(text.as_bytes())]);
            assert_eq!(found, Some(why.clone()), "{text}, packed");
            let (_, found) = run(pass(&wallet, &coded).await, &[&brotli(close.as_bytes())]);
            assert_eq!(found, None, "{close}, packed");
        }
    }
    // Beside a field that is filled as well.
    let field = bound(Place::BodyField { field: "password".into() });
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![field]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap().to_owned();
    for (copy, is_stopped) in [(units("ghp_other"), false), (units(&placeholder), true), (units(VALUE), true)]
    {
        let body = format!(r#"{{"password":"{placeholder}","copy":"{copy}"}}"#);
        let (out, found) = run(pass(&wallet, &[json]).await, &[body.as_bytes()]);
        assert_eq!((found.is_some(), out.is_empty()), (is_stopped, is_stopped), "{copy}");
    }
}

#[tokio::test]
async fn a_bound_field_is_filled_and_no_other() {
    let field = bound(Place::BodyField { field: "auth.password".into() });
    let bench_json = bench("pass\"word\\with é-7", vec![field.clone()]).await;
    let json = [("content-type", "application/json; charset=utf-8")];
    let place = Some(Why::Mismatch(Mismatch::Place));
    for (body, outcome) in [
        (
            r#"{ "n":1.50, "auth" : {"user":"u","password": "@"} }"#,
            Ok(r#"{ "n":1.50, "auth" : {"user":"u","password": "pass\"word\\with é-7"} }"#),
        ),
        (r#"{"auth":{"password":"other"}}"#, Ok(r#"{"auth":{"password":"other"}}"#)),
        (r#"{"auth":{"password":"x@"}}"#, Err(())),
        (r#"{"auth":{"user":"@"}}"#, Err(())),
        (r#"{"password":"@"}"#, Err(())),
        (r#"{"auth":{"password":"@","copy":"@"}}"#, Err(())),
        (r#"{"auth":{"password":"@","password":"@"}}"#, Err(())),
        (r#"{"auth":{"password":"@"},"@":1}"#, Err(())),
        (r#"{"auth":{"password":"@"},"note":"see @ here"}"#, Err(())),
        (r#"[{"auth":{"password":"@"}}]"#, Err(())),
        (r#"{"auth":{"password":"@"}"#, Err(())),
        ("@", Err(())),
        ("", Ok("")),
    ] {
        let wallet = &bench_json.wallet;
        let placeholder = Json::from(wallet.placeholder(&name("token")).unwrap()).to_string();
        let body = body.replace('@', placeholder.trim_matches('"'));
        let pass = pass(wallet, &json).await;
        assert!(!pass.keeps_length());
        let (one, two) = body.as_bytes().split_at(body.len() / 2);
        let (out, found) = run(pass, &[one, two]);
        match outcome {
            Ok(text) => assert_eq!((String::from_utf8(out).unwrap().as_str(), found), (text, None)),
            Err(()) => assert!(found == place && out.is_empty(), "{body}: {found:?}"),
        }
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let field = bound(Place::BodyField { field: "password".into() });
    let bench_form = bench("a&b=c d+é-secret", vec![field]).await;
    for (body, outcome) in [
        ("user=u&password=@&x=%20", Ok("user=u&password=a%26b%3Dc%20d%2B%C3%A9-secret&x=%20")),
        ("p%61ssword=@", Ok("p%61ssword=a%26b%3Dc%20d%2B%C3%A9-secret")),
        ("user=@&password=x", Err(())),
        ("password=@&copy=@", Err(())),
        ("password=@x", Err(())),
        ("@", Err(())),
    ] {
        let wallet = &bench_form.wallet;
        let placeholder = crate::encode::percent(wallet.placeholder(&name("token")).unwrap().as_bytes(), b"");
        let body = body.replace('@', &placeholder);
        let (out, found) = run(pass(wallet, &form).await, &[body.as_bytes()]);
        match outcome {
            Ok(text) => assert_eq!((String::from_utf8(out).unwrap().as_str(), found), (text, None)),
            Err(()) => assert!(found == place && out.is_empty(), "{body}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn a_field_is_filled_only_where_the_request_is_covered_and_small() {
    let mut field = bound(Place::BodyField { field: "password".into() });
    field.paths = Some(vec![PathPattern::new("/login").unwrap()]);
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![field]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap().to_owned();
    let body = format!(r#"{{"password":"{placeholder}"}}"#);
    let json = [("content-type", "application/json")];
    for (target, to, filled) in [
        ("/login", to(), true),
        ("/logout", to(), false),
        ("/login", Destination::new("evil.test", 443, true), false),
        ("/login", Destination::new(HOST, 443, false), false),
    ] {
        let mut request = head(&wallet, "POST", target, &json);
        let used = wallet.inject(&to, &mut request).await.ok().unwrap();
        let (out, found) = run(wallet.body(&used, &request.headers).unwrap(), &[body.as_bytes()]);
        assert_eq!(found.is_none(), filled, "{target} {to:?}");
        assert_eq!(memchr::memmem::find(&out, VALUE.as_bytes()).is_some(), filled);
    }
    let padding = " ".repeat(BODY_FIELD_BYTES_MAX);
    let (_, found) = run(pass(&wallet, &json).await, &[padding.as_bytes(), body.as_bytes()]);
    assert_eq!(found, Some(Why::Mismatch(Mismatch::Place)), "too far in to be filled");
    let (out, found) = run(pass(&wallet, &json).await, &[padding.as_bytes(), b"{}"]);
    assert_eq!((out.len(), found), (padding.len() + 2, None));
    let mut request = head(
        &wallet,
        "POST",
        "/login",
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    );
    let used = wallet.inject(&to(), &mut request).await.ok().unwrap();
    let (_, found) = run(wallet.body(&used, &request.headers).unwrap(), &[&gzip(body.as_bytes())]);
    assert_eq!(found, Some(Why::Mismatch(Mismatch::Place)), "a compressed body is not rewritten");
}

/// With many secrets all are looked for in one pass; it finds the same.
#[tokio::test]
async fn many_secrets_are_found_as_few_are() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("secrets");
    let store = Arc::new(Store::open(&folder, Unlock::KeyFile(Store::key_file(&folder))).unwrap());
    let values: Vec<String> =
        (0..40).map(|number| format!("ghp_{number:04}RealRealRealReal{number:04}")).collect();
    let names: Vec<SecretName> = (0..40).map(|number| name(&format!("s{number}"))).collect();
    for (name, value) in names.iter().zip(&values) {
        store.set(name, &Secret::copy_of(value.as_bytes()).unwrap()).unwrap();
    }
    let sources = names.iter().map(|name| (name.clone(), Source::Store)).collect();
    let vault = Vault::new(Some(store), sources, Duration::from_secs(60)).unwrap();
    let grants = names.iter().map(|name| Grant { name: name.clone(), bindings: vec![] }).collect();
    let wallet = Wallet::new(grants, vault).await.unwrap();
    let mut request = Request::get("/").body(()).unwrap().into_parts().0;
    let used = wallet.inject(&to(), &mut request).await.ok().unwrap();
    let body = || wallet.body(&used, &http::HeaderMap::new()).unwrap();
    for (name, value) in names.iter().zip(&values) {
        for text in [value.as_str(), wallet.placeholder(name).unwrap()] {
            let whole = format!("ghp_0001{text}ghp_");
            for cut in [0, 9, 12, 20, 8 + text.len() - 1, whole.len()] {
                let (one, two) = whole.as_bytes().split_at(cut);
                let (mut pass, mut out) = (body(), Vec::new());
                let stopped = pass.push(one, &mut out).and_then(|()| pass.push(two, &mut out)).err().unwrap();
                assert_eq!(stopped.secret, *name);
                assert!(out.len() <= 8);
            }
            let near = format!("ghp_0001{}!ghp_", &text[..text.len() - 1]);
            assert_eq!(run(body(), &[near.as_bytes()]), (near.clone().into_bytes(), None));
        }
    }
}

#[tokio::test]
async fn trailers_hold_neither() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    for (value, outcome) in
        [("plain", None), ("x @", Some(Why::Mismatch(Mismatch::Place))), ("!", Some(Why::Value))]
    {
        let trailers = head(&wallet, "GET", "/", &[("x-checksum", value)]).headers;
        assert_eq!(wallet.outgoing_trailers(&trailers).err().map(|misuse| misuse.why), outcome);
    }
}
