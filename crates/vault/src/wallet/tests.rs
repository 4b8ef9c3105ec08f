//! Tables of requests: each that is let through beside the nearest that is not.

mod answer;
mod body;
mod sign;

use super::*;
use crate::binding::{BasicUser, Mismatch, PathPattern};
use crate::secret::Secret;
use crate::source::Source;
use crate::store::{Store, Unlock};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, Method, Request};
use std::collections::BTreeMap;

const VALUE: &str = "ghp_RealRealRealRealRealRealRealReal0000";
const HOST: &str = "api.example.org";

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

struct Bench {
    _scratch: tempfile::TempDir,
    store: Arc<Store>,
    wallet: Arc<Wallet>,
}

async fn bench(value: &str, bindings: Vec<Binding>) -> Bench {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("secrets");
    let store = Arc::new(Store::open(&folder, Unlock::KeyFile(Store::key_file(&folder))).unwrap());
    store.set(&name("token"), &Secret::copy_of(value.as_bytes()).unwrap()).unwrap();
    let sources = BTreeMap::from([(name("token"), Source::Store)]);
    let vault = Vault::new(Some(store.clone()), sources, Duration::from_secs(60)).unwrap();
    let wallet = Wallet::new(vec![Grant { name: name("token"), bindings }], vault).await.unwrap();
    Bench { _scratch: scratch, store, wallet: Arc::new(wallet) }
}

fn bound(place: Place) -> Binding {
    Binding::new(HOST, place).unwrap()
}

fn bearer() -> Binding {
    bound(Place::Header { name: AUTHORIZATION, prefix: "Bearer ".into() })
}

fn to() -> Destination {
    Destination::new(HOST, 443, true)
}

/// A request head; `@` in the address and in header values stands for the placeholder, `!` for the value.
fn head(wallet: &Wallet, method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let placeholder = wallet.placeholder(&name("token")).unwrap();
    let full = |text: &str| text.replace('@', placeholder).replace('!', VALUE);
    let mut request = Request::builder().method(method).uri(full(target));
    for (name, value) in headers {
        request = request.header(*name, full(value));
    }
    request.body(()).unwrap().into_parts().0
}

fn header(head: &Parts, name: &str) -> String {
    head.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

async fn why(wallet: &Wallet, to: &Destination, head: &mut Parts) -> Option<Why> {
    let before = (head.uri.clone(), head.headers.clone());
    let misuse = wallet.inject(to, head).await.err();
    if let Some(misuse) = &misuse {
        assert_eq!((&head.uri, &head.headers), (&before.0, &before.1), "a stopped request is unchanged");
        let text = format!("{misuse} {misuse:?}");
        assert!(!text.contains(VALUE) && !text.contains(wallet.placeholder(&name("token")).unwrap()));
    }
    misuse.map(|misuse| misuse.why)
}

#[tokio::test]
async fn a_bound_header_is_filled_and_no_other() {
    let mut binding = bearer();
    binding.methods = Some(vec![Method::GET, Method::POST]);
    binding.paths = Some(vec![PathPattern::new("/user").unwrap(), PathPattern::new("/repos/*").unwrap()]);
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![binding]).await;
    let authorization = [("authorization", "Bearer @")];
    let stop = |mismatch| Some(Why::Mismatch(mismatch));
    let elsewhere = |host, port, tls| Destination::new(host, port, tls);
    for (to, method, target, headers, outcome) in [
        (to(), "GET", "/user", &authorization[..], None),
        (to(), "POST", "/repos/x?page=2", &authorization, None),
        (to(), "GET", "https://api.example.org/repos/x", &authorization, None),
        (to(), "GET", "/user", &[("authorization", "bearer @")], None),
        (to(), "GET", "/admin?x=1", &[("authorization", "Bearer something-else")], None),
        (elsewhere("API.example.org.", 443, true), "GET", "/user", &authorization, None),
        (elsewhere("evil.test", 443, true), "GET", "/user", &authorization, stop(Mismatch::Host)),
        (elsewhere("v2.api.example.org", 443, true), "GET", "/user", &authorization, stop(Mismatch::Host)),
        (
            elsewhere("api.example.org.evil.test", 443, true),
            "GET",
            "/user",
            &authorization,
            stop(Mismatch::Host),
        ),
        (elsewhere(HOST, 8443, true), "GET", "/user", &authorization, stop(Mismatch::Port)),
        (elsewhere(HOST, 443, false), "GET", "/user", &authorization, stop(Mismatch::Tls)),
        (to(), "DELETE", "/user", &authorization, stop(Mismatch::Method)),
        (to(), "GET", "/users", &authorization, stop(Mismatch::Path)),
        (to(), "GET", "/admin?p=/repos/x", &authorization, stop(Mismatch::Path)),
        (to(), "GET", "/repos/../admin", &authorization, stop(Mismatch::Path)),
        (to(), "GET", "/repos/%2e%2e/admin", &authorization, stop(Mismatch::Path)),
        (to(), "GET", "/repos//x", &authorization, stop(Mismatch::Path)),
        (to(), "GET", "/repos/%2fadmin", &authorization, stop(Mismatch::Path)),
        (to(), "GET", "/user", &[("authorization", "@")], stop(Mismatch::Place)),
        (to(), "GET", "/user", &[("authorization", "Bearer x@")], stop(Mismatch::Place)),
        (to(), "GET", "/user", &[("authorization", "Bearer @x")], stop(Mismatch::Place)),
        (to(), "GET", "/user", &[("x-api-key", "Bearer @")], stop(Mismatch::Place)),
        (to(), "GET", "/user", &[("user-agent", "curl @")], stop(Mismatch::Place)),
        (to(), "GET", "/user", &[("cookie", "a=b; c=@")], stop(Mismatch::Place)),
        (to(), "GET", "/user?token=@", &[], stop(Mismatch::Place)),
        (to(), "GET", "/repos/@", &[], stop(Mismatch::Place)),
        (to(), "GET", "/repos/x?@", &[], stop(Mismatch::Place)),
        (to(), "GET", "/user", &[("authorization", "Bearer @"), ("x-copy", "@")], stop(Mismatch::Place)),
        (to(), "GET", "/user?token=@", &authorization, stop(Mismatch::Place)),
        (
            to(),
            "GET",
            "/user",
            &[("authorization", "Bearer @"), ("authorization", "Bearer @")],
            Some(Why::Twice),
        ),
        (
            to(),
            "GET",
            "/user",
            &[("authorization", "Bearer @"), ("authorization", "Bearer y")],
            Some(Why::Twice),
        ),
        (to(), "GET", "/user", &[("authorization", "Bearer !")], Some(Why::Value)),
        (to(), "GET", "/repos/!", &[], Some(Why::Value)),
        (to(), "GET", "/user?q=a!b", &[], Some(Why::Value)),
    ] {
        let mut request = head(&wallet, method, target, headers);
        let found = why(&wallet, &to, &mut request).await;
        assert_eq!(found, outcome, "{to:?} {method} {target} {headers:?}");
        let carries = headers.iter().any(|(_, value)| value.contains('@'));
        if outcome.is_none() && carries {
            assert_eq!(header(&request, "authorization"), format!("Bearer {VALUE}"));
            assert!(request.headers["authorization"].is_sensitive());
        }
    }
}

#[tokio::test]
async fn encoded_placeholders_are_found() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![bearer()]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap().to_owned();
    let percent = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    let once = percent(&placeholder);
    let twice = once.replace('%', "%25");
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for (target, headers, outcome) in [
        (format!("/x?q={once}"), vec![], Some(Why::Mismatch(Mismatch::Place))),
        (format!("/x?q={twice}"), vec![], Some(Why::Mismatch(Mismatch::Place))),
        (format!("/{once}"), vec![], Some(Why::Mismatch(Mismatch::Place))),
        ("/".into(), vec![("x", once.clone())], Some(Why::Mismatch(Mismatch::Place))),
        (
            "/".into(),
            vec![("authorization", basic(&format!("u:{placeholder}")))],
            Some(Why::Mismatch(Mismatch::Place)),
        ),
        ("/".into(), vec![("authorization", basic(&format!("u:{VALUE}")))], Some(Why::Value)),
        (format!("/?q={}", percent(VALUE)), vec![], Some(Why::Value)),
        ("/?q=%41%42".into(), vec![("authorization", basic("user:other"))], None),
    ] {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut request = head(&wallet, "GET", &target, &headers);
        assert_eq!(why(&wallet, &to(), &mut request).await, outcome, "{target} {headers:?}");
    }
    let to = Destination::new(&format!("{placeholder}.evil.test"), 443, true);
    let mut request = head(&wallet, "GET", "/", &[]);
    assert_eq!(why(&wallet, &to, &mut request).await, Some(Why::Mismatch(Mismatch::Host)));
    let to = Destination::new(&format!("{VALUE}.evil.test"), 443, true);
    assert_eq!(why(&wallet, &to, &mut request).await, Some(Why::Value));
}

#[tokio::test]
async fn basic_query_and_cookie() {
    let basic = |user: &str| format!("Basic {}", STANDARD.encode(user));
    let sent =
        |wallet: &Wallet, user: &str| basic(&user.replace('@', wallet.placeholder(&name("token")).unwrap()));
    for (user, client, outcome) in [
        (BasicUser::Fixed("bot".into()), "bot:@", Some(format!("bot:{VALUE}"))),
        (BasicUser::Fixed("bot".into()), "other:@", None),
        (BasicUser::Fixed("bot".into()), "bot:@x", None),
        (BasicUser::AsSent, "anyone:@", Some(format!("anyone:{VALUE}"))),
        (BasicUser::AsSent, "@:x", None),
        (BasicUser::InSecret, "@", Some(VALUE.to_owned())),
        (BasicUser::InSecret, "bot:@", None),
    ] {
        let Bench { wallet, _scratch, .. } =
            bench(VALUE, vec![bound(Place::Basic { user: user.clone() })]).await;
        let authorization = sent(&wallet, client);
        let mut request = head(&wallet, "GET", "/", &[("authorization", &authorization)]);
        let stopped = why(&wallet, &to(), &mut request).await;
        match outcome {
            Some(text) => assert_eq!(header(&request, "authorization"), basic(&text), "{user:?}"),
            None => assert_eq!(stopped, Some(Why::Mismatch(Mismatch::Place)), "{user:?} {client}"),
        }
    }
    let query = bound(Place::Query { parameter: "key".into() });
    let Bench { wallet, _scratch, .. } = bench("a+b/c d&e=f-Secret-Value", vec![query]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap().to_owned();
    let encoded = (*crate::encode::percent(placeholder.as_bytes(), b"")).clone();
    for (target, outcome) in [
        (format!("/x?a=1&key={encoded}&z=2"), Ok("/x?a=1&key=a%2Bb%2Fc%20d%26e%3Df-Secret-Value&z=2")),
        (format!("/x?k%65y={encoded}"), Ok("/x?key=a%2Bb%2Fc%20d%26e%3Df-Secret-Value")),
        (format!("/x?other={encoded}"), Err(())),
        (format!("/x?key=x{encoded}"), Err(())),
        (format!("/x?{encoded}=key"), Err(())),
        (format!("/x?key={encoded}&other={encoded}"), Err(())),
        (format!("/x?KEY={encoded}"), Err(())),
    ] {
        let mut request = Request::get(&target).body(()).unwrap().into_parts().0;
        let done = wallet.inject(&to(), &mut request).await;
        assert_eq!(
            done.map(|_| request.uri.to_string()).map_err(|_| ()),
            outcome.map(str::to_owned),
            "{target}"
        );
    }
    let cookie = bound(Place::Cookie { name: "session".into() });
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![cookie]).await;
    for (cookies, outcome) in [
        ("a=b; session=@; c=d", Some(format!("a=b; session={VALUE}; c=d"))),
        ("session=@", Some(format!("session={VALUE}"))),
        ("a=@", None),
        ("session=x@", None),
        ("session=@; a=@", None),
    ] {
        let mut request = head(&wallet, "GET", "/", &[("cookie", cookies)]);
        let stopped = why(&wallet, &to(), &mut request).await;
        match outcome {
            Some(text) => assert_eq!(header(&request, "cookie"), text),
            None => assert_eq!(stopped, Some(Why::Mismatch(Mismatch::Place)), "{cookies}"),
        }
    }
}

#[tokio::test]
async fn always_puts_it_in_only_where_it_belongs() {
    let mut binding = bearer();
    binding.always = true;
    binding.paths = Some(vec![PathPattern::new("/v1/*").unwrap()]);
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![binding]).await;
    for (to, target, sent, expected) in [
        (to(), "/v1/x", None, format!("Bearer {VALUE}")),
        (to(), "/v1/x", Some("Bearer a-token-of-somebody-else"), format!("Bearer {VALUE}")),
        (to(), "/v2/x", None, String::new()),
        (to(), "/v1/../v1/x", None, String::new()),
        (Destination::new(HOST, 443, false), "/v1/x", None, String::new()),
        (Destination::new("evil.test", 443, true), "/v1/x", None, String::new()),
    ] {
        let headers: Vec<(&str, &str)> = sent.iter().map(|value| ("authorization", *value)).collect();
        let mut request = head(&wallet, "GET", target, &headers);
        let used = wallet.inject(&to, &mut request).await.unwrap_or_else(|misuse| panic!("{misuse}"));
        assert_eq!(header(&request, "authorization"), expected, "{to:?} {target}");
        assert_eq!(used.secrets().len(), usize::from(!expected.is_empty()));
    }
    for (place, target, expected) in [
        (Place::Query { parameter: "key".into() }, "/x?key=mine&a=1", format!("/x?a=1&key={VALUE}")),
        (Place::Query { parameter: "key".into() }, "/x", format!("/x?key={VALUE}")),
    ] {
        let Bench { wallet, _scratch, .. } =
            bench(VALUE, vec![Binding { always: true, ..bound(place) }]).await;
        let mut request = head(&wallet, "GET", target, &[]);
        assert!(wallet.inject(&to(), &mut request).await.is_ok());
        assert_eq!(request.uri.to_string(), expected);
    }
}

#[tokio::test]
async fn a_rotation_takes_effect_and_the_old_value_stays_guarded() {
    let Bench { wallet, store, _scratch } = bench(VALUE, vec![bearer()]).await;
    let generation = wallet.generation();
    let second = "ghp_SecondSecondSecondSecondSecondSecond";
    store.rotate(&name("token"), &Secret::copy_of(second.as_bytes()).unwrap()).unwrap();
    let mut request = head(&wallet, "GET", "/", &[("authorization", "Bearer @")]);
    let used = wallet.inject(&to(), &mut request).await.ok().unwrap();
    assert_eq!(header(&request, "authorization"), format!("Bearer {second}"));
    assert_eq!(used.secrets(), [UsedSecret { name: name("token"), version: 2 }]);
    assert_ne!(wallet.generation(), generation);
    let values = wallet.guarded(|guarded| {
        let copy = |held: &Arc<Held>| held.expose(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        guarded[0].values.iter().map(copy).collect::<Vec<_>>()
    });
    assert_eq!(values, [second, VALUE]);
    let mut request = head(&wallet, "GET", "/?q=!", &[]);
    assert_eq!(why(&wallet, &to(), &mut request).await, Some(Why::Value), "the old value is still a value");
    store.rotate(&name("token"), &Secret::copy_of(b"short").unwrap()).unwrap();
    let mut request = head(&wallet, "GET", "/", &[("authorization", "Bearer @")]);
    assert!(matches!(why(&wallet, &to(), &mut request).await, Some(Why::Unavailable(_))));
    store.rotate(&name("token"), &Secret::copy_of(b"with\nline end").unwrap()).unwrap();
    assert_eq!(why(&wallet, &to(), &mut request).await, Some(Why::Unwritable));
    store.remove(&name("token")).unwrap();
    assert!(matches!(why(&wallet, &to(), &mut request).await, Some(Why::Unavailable(_))));
}

#[tokio::test]
async fn texts_are_filled_with_placeholders() {
    let Bench { wallet, _scratch, .. } = bench(VALUE, vec![]).await;
    let placeholder = wallet.placeholder(&name("token")).unwrap();
    assert_eq!(wallet.fill("a ${secret:token} b ${HOME}").unwrap(), format!("a {placeholder} b ${{HOME}}"));
    assert_eq!(wallet.fill("${secret:token}${secret:token}").unwrap(), placeholder.repeat(2));
    assert_eq!(wallet.fill("${secret:other}"), Err(FillError::NotGranted(name("other"))));
    for malformed in ["${secret:", "${secret:token", "${secret:}", "${secret:A}"] {
        assert_eq!(wallet.fill(malformed), Err(FillError::Malformed));
    }
    let other = bench(VALUE, vec![]).await;
    assert_ne!(Some(placeholder), other.wallet.placeholder(&name("token")), "each sandbox has its own");
    assert!(wallet.placeholder(&name("other")).is_none());
    let header_name = HeaderName::from_static("x-unbound");
    let mut request = head(&wallet, "GET", "/", &[(header_name.as_str(), "@")]);
    assert_eq!(why(&wallet, &to(), &mut request).await, Some(Why::Mismatch(Mismatch::Host)));
}
