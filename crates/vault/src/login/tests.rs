//! Whole sign-ins and renewals against a server and its authorization server on loopback, each refusal beside what is accepted.

pub(super) mod ground;
mod renewal;
mod signed;

use super::*;
use ground::{Ground, error, json_answer, redirect, refuse};
use serde_json::json;

#[test]
fn a_challenge_is_read_in_every_form_and_nothing_is_made_up() {
    let address = "https://mcp.example/.well-known/oauth-protected-resource";
    let whole = format!("Bearer resource_metadata=\"{address}\", scope=\"a b\", error=\"invalid_token\"");
    for (values, metadata, scopes, another, more) in [
        (vec![whole.as_str()], Some(address), Some(2), true, false),
        (vec!["bearer  Scope = a"], None, Some(1), true, false),
        (vec!["Bearer"], None, None, true, false),
        (vec!["Basic realm=\"x, Bearer scope=y\", Bearer error=insufficient_scope"], None, None, false, true),
        (vec!["Negotiate abc==, Bearer scope=a"], None, Some(1), true, false),
        (vec!["Basic realm=\"x\"", "Bearer scope=\"a\\\"\""], None, None, true, false),
        (vec!["Bearer scope=a", "Bearer scope=b, error=invalid_request"], None, Some(1), false, false),
        (vec!["Bearer scope=\"unended"], None, None, true, false),
        (vec!["Bearer scope=\"\""], None, None, true, false),
    ] {
        let mut headers = http::HeaderMap::new();
        for value in &values {
            headers.append("www-authenticate", value.parse().unwrap());
        }
        let found = Challenge::read(&headers).unwrap_or_else(|| panic!("{values:?}"));
        assert_eq!(found.resource_metadata.as_deref(), metadata, "{values:?}");
        assert_eq!(found.scopes().map(|all| all.len()), scopes, "{values:?}");
        assert_eq!((found.wants_another(), found.wants_more()), (another, more), "{values:?}");
    }
    for none in ["Basic realm=x", "", "Digest Bearer=x", "\"Bearer\"", "DPoP algs=ES256"] {
        let headers = http::HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, none.parse().unwrap())]);
        assert_eq!(Challenge::read(&headers), None, "{none:?}");
    }
    for (text, count) in [("a b a", Some(2)), ("", Some(0)), ("a\"b", None), ("a\\b", None), ("é", None)] {
        assert_eq!(super::scopes(text).map(|all| all.len()), count, "{text:?}");
    }
    assert_eq!(super::scopes(&"x".repeat(SCOPES_BYTES_MAX + 1)), None);
}

proptest::proptest! {
    /// Strangers write all of these.
    #[test]
    fn nothing_that_is_read_ends_the_process(
        challenge in "[ -~\\t]{0,80}|[Bb]earer( ?(scope|error|resource_metadata) ?= ?[ -~]{0,20},?){0,4}",
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..200),
        query in "([a-z_]{0,18}=[ -~]{0,20}&?){0,6}",
    ) {
        let headers = http::HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, challenge.parse().unwrap())]);
        if let Some(found) = Challenge::read(&headers) {
            for scope in found.scopes().unwrap_or_default() {
                proptest::prop_assert!(!scope.contains([' ', '"', '\\']));
            }
        }
        let secret = crate::Secret::new(bytes).unwrap();
        proptest::prop_assert!(record::Record::read(&secret).is_none());
        proptest::prop_assert!(ground::attempt(false).answer(&query).is_err());
    }
}

#[test]
fn a_resource_is_itself_or_what_is_above_it() {
    let resource = Resource::new("https://MCP.example:443/a/mcp").unwrap();
    for (said, within) in [
        ("https://mcp.example/a/mcp", true),
        ("https://mcp.example/a/mcp/", true),
        ("https://mcp.example:443/a", true),
        ("https://mcp.example/", true),
        ("https://mcp.example", true),
        ("https://mcp.example/a/mc", false),
        ("https://mcp.example/a/mcp/x", false),
        ("https://mcp.example/b", false),
        ("https://mcp.example/a/mcp?x=1", false),
        ("https://mcp.example/a/mcp#x", false),
        ("https://mcp.example:8443/a/mcp", false),
        ("http://mcp.example/a/mcp", false),
        ("https://mcp.example.evil.example/a/mcp", false),
        ("https://user@mcp.example/a/mcp", false),
        ("mcp.example", false),
    ] {
        assert_eq!(resource.is_within(said), within, "{said}");
    }
    let places = |text: &str| -> Vec<String> {
        Resource::new(text).unwrap().metadata().into_iter().map(Into::into).collect()
    };
    let well_known = "https://mcp.example/.well-known/oauth-protected-resource";
    assert_eq!(places("https://mcp.example/a/mcp"), [format!("{well_known}/a/mcp"), well_known.into()]);
    assert_eq!(places("https://mcp.example/mcp?k=v"), [format!("{well_known}/mcp?k=v"), well_known.into()]);
    assert_eq!(places("https://mcp.example/"), [well_known]);
    for (text, good) in [
        ("https://mcp.example/mcp", true),
        ("http://127.0.0.1:8000/mcp", true),
        ("http://[::1]/mcp", true),
        ("http://mcp.example/mcp", false),
        ("https://mcp.example/mcp#x", false),
        ("https://user:word@mcp.example/mcp", false),
        ("ftp://mcp.example/", false),
        ("mcp.example", false),
        ("https://mcp.example/ü", false),
    ] {
        assert_eq!(Resource::new(text).is_ok(), good, "{text}");
    }
    // What a server elsewhere names is never on this machine; what one here names may be.
    let (far, near) = (resource, Resource::new("http://localhost:1/mcp").unwrap());
    for (text, from_far, from_near) in [
        ("https://as.example/", true, true),
        ("https://127.0.0.1/", false, true),
        ("http://127.0.0.1/", false, true),
        ("https://localhost:8443/", false, true),
        ("http://as.example/", false, false),
        ("javascript:alert(1)", false, false),
    ] {
        assert_eq!(far.fit("it", text).is_ok(), from_far, "{text}");
        assert_eq!(near.fit("it", text).is_ok(), from_near, "{text}");
    }
}

#[tokio::test]
async fn a_sign_in_asks_in_order_and_keeps_what_it_got() {
    let ground = Ground::new(|_, _| None).await;
    let login = ground.login();
    let (attempt, query) = ground.consent(&login, &[]).await.unwrap();
    assert_eq!(
        (attempt.issuer(), attempt.scopes()),
        (format!("{}/as", ground.base()), &["read".to_owned()][..])
    );
    let done = ground.logins.finish(attempt, &query).await.unwrap();
    let wanted = SignedIn { scopes: vec!["read".into()], seconds: Some(3600), is_renewable: true };
    assert_eq!(done, wanted);
    let asked: Vec<String> =
        ground.fixture.asked().iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    assert_eq!(
        asked,
        [
            "POST /mcp",
            "GET /.well-known/oauth-protected-resource/mcp",
            "GET /.well-known/oauth-authorization-server/as",
            "POST /as/register",
            "POST /as/token",
        ]
    );
    let exchange = &ground.fixture.asked()[4];
    let resource = format!("resource=http%3A%2F%2F127.0.0.1%3A{}%2Fmcp", ground.port());
    for part in
        ["grant_type=authorization_code", "code=code-1", &resource, "client_id=client-1", "code_verifier="]
    {
        assert!(exchange.body.contains(part), "{part}: {}", exchange.body);
    }
    assert_eq!(exchange.header("authorization"), "");
    assert_eq!(ground.token(&login).await.unwrap(), "Bearer access-1");
    assert_eq!(ground.fixture.asked().len(), 5, "a fresh token is used as it is");
    // What lies on disk shows nothing of it.
    for entry in std::fs::read_dir(ground.folder()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for needle in [&b"access-1"[..], b"refresh-1", b"client-1"] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
    }
    let mut seen = Vec::new();
    assert!(ground.logins.generation() > 0);
    ground.logins.each(|name, secret| {
        seen.push((name.to_string(), secret.expose(|it| String::from_utf8(it.to_vec()).unwrap())));
    });
    let tracker = |text: &str| ("oauth.tracker".to_owned(), text.to_owned());
    assert_eq!(seen, [tracker("access-1"), tracker("refresh-1")]);
    // Of what was replaced, whatever may still be good: also for who begins only now.
    ground.age(3000);
    assert_eq!(ground.token(&login).await.unwrap(), "Bearer access-2");
    let known = |logins: &Logins| {
        let mut texts = std::collections::BTreeSet::new();
        let _ = logins.generation();
        logins.each(|_, secret| {
            texts.insert(secret.expose(|it| String::from_utf8(it.to_vec()).unwrap()));
        });
        Vec::from_iter(texts)
    };
    let both = ["access-1", "access-2", "refresh-1", "refresh-2"];
    assert_eq!(known(&ground.another()), both);
    ground.age(9999);
    assert!(known(&ground.logins).iter().map(String::as_str).eq(both), "in grace");
    assert_eq!(ground.logins.forget("tracker", Some(&login)).await, Ok(Forgotten::Revoked));
    let last = ground.fixture.asked().pop().unwrap();
    assert_eq!(last.path, "/as/revoke");
    assert!(last.body.contains("token=refresh-2&token_type_hint=refresh_token"), "{}", last.body);
    let missing = LoginError::Missing("tracker".into());
    assert_eq!(ground.token(&login).await, Err(missing.clone()));
    assert_eq!(ground.logins.forget("tracker", None).await, Err(missing));
}

#[tokio::test]
async fn metadata_is_found_wherever_the_specification_lets_it_lie() {
    // Without a challenge: below the path, then at the root; then three places of the authorization server's.
    let silent = |asked: &crate::fixture::Asked| (asked.path == "/mcp").then(|| refuse(401, ""));
    for (moved, last) in [
        ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server/as"),
        ("/.well-known/oauth-authorization-server/as", "/.well-known/openid-configuration/as"),
        ("both", "/as/.well-known/openid-configuration"),
    ] {
        let ground = Ground::new(move |base, asked| {
            let gone = match moved {
                "both" => asked.path.ends_with("/as") && asked.path.starts_with("/.well-known"),
                path => asked.path == path,
            };
            if gone {
                // A page for every unknown path is no metadata.
                return Some(refuse(if moved == "both" { 200 } else { 404 }, "<html>not here</html>"));
            }
            match asked.path.as_str() {
                "/.well-known/oauth-protected-resource" => Some(json_answer(200, &ground::resource(base))),
                "/.well-known/openid-configuration/as" | "/as/.well-known/openid-configuration" => {
                    Some(json_answer(200, &ground::server(base)))
                }
                _ => silent(asked),
            }
        })
        .await;
        let found =
            ground.logins.discover(&ground.login()).await.unwrap_or_else(|error| panic!("{moved}: {error}"));
        assert_eq!(found.scopes, ["all"], "without a challenge the metadata's scopes count");
        assert_eq!(ground.fixture.asked().pop().unwrap().path, last, "{moved}");
    }
}

#[tokio::test]
async fn what_is_missing_or_unsafe_is_refused_in_words() {
    type Twist = Box<dyn Fn(&str) -> serde_json::Value + Send + Sync>;
    let resource = |change: fn(&mut serde_json::Value, &str)| -> (&'static str, Twist) {
        (
            "/.well-known/oauth-protected-resource/mcp",
            Box::new(move |base| {
                let mut document = ground::resource(base);
                change(&mut document, base);
                document
            }),
        )
    };
    let server = |change: fn(&mut serde_json::Value, &str)| -> (&'static str, Twist) {
        (
            "/.well-known/oauth-authorization-server/as",
            Box::new(move |base| {
                let mut document = ground::server(base);
                change(&mut document, base);
                document
            }),
        )
    };
    let cases: Vec<((&'static str, Twist), &str)> = vec![
        (resource(|_, _| {}), ""),
        (resource(|it, base| it["resource"] = base.into()), ""),
        (resource(|it, base| it["resource"] = format!("{base}/other").into()), "not for the configured"),
        (resource(|it, _| it["resource"] = "https://evil.example/mcp".into()), "not for the configured"),
        (resource(|it, _| it["resource"] = 7.into()), "names no `resource`"),
        (resource(|it, _| it["authorization_servers"] = json!([])), "names no `authorization_servers`"),
        (
            resource(|it, _| it["authorization_servers"] = json!(["http://as.example"])),
            "only sent over https",
        ),
        (resource(|it, base| it["authorization_servers"] = json!([format!("{base}/as?x")])), "holds a query"),
        (resource(|it, _| it["scopes_supported"] = json!(["a\"b"])), "set `scopes`"),
        (resource(|it, _| it["pad"] = "x".repeat(70_000).into()), "longer than"),
        (server(|it, _| it["pad"] = "x".repeat(60_000).into()), ""),
        (server(|it, _| it["pad"] = "x".repeat(70_000).into()), "longer than"),
        (server(|it, base| it["issuer"] = format!("{base}/as/").into()), "says that it is"),
        (server(|it, _| it["issuer"] = json!(null)), "names no `issuer`"),
        (server(|it, _| it["code_challenge_methods_supported"] = json!(["plain"])), "PKCE with S256"),
        (server(|it, _| it["code_challenge_methods_supported"] = json!(null)), "PKCE with S256"),
        (server(|it, _| it["code_challenge_methods_supported"] = json!(["plain", "S256"])), ""),
        (server(|it, _| it["response_types_supported"] = json!(["token"])), "lacks `code`"),
        (server(|it, _| it["token_endpoint"] = "http://as.example/token".into()), "only sent over https"),
        (server(|it, _| it["token_endpoint"] = json!(null)), "names no `token_endpoint`"),
        (server(|it, _| it["authorization_endpoint"] = "javascript:x".into()), "only sent over https"),
        (server(|it, _| it["registration_endpoint"] = "http://as.example/r".into()), "only sent over https"),
        (server(|it, _| it["registration_endpoint"] = json!(null)), "registers no clients by itself"),
    ];
    for (at, ((path, document), words)) in cases.into_iter().enumerate() {
        let ground =
            Ground::new(move |base, asked| (asked.path == path).then(|| json_answer(200, &document(base))))
                .await;
        let outcome = ground.consent(&ground.login(), &[]).await.map(drop);
        match outcome {
            Ok(()) => assert_eq!(words, "", "case {at} is accepted"),
            Err(error) => {
                let error = error.to_string();
                assert!(!words.is_empty() && error.contains(words), "case {at}: {error}, not {words:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_answers_oddly_is_refused_in_words() {
    let resource = "/.well-known/oauth-protected-resource/mcp";
    let server = "/.well-known/oauth-authorization-server/as";
    let whole = json!({ "client_id": "c" }).to_string();
    let cases = [
        (resource, redirect(), "redirects"),
        (server, redirect(), "redirects"),
        ("/mcp", redirect(), "redirects"),
        ("/as/register", redirect(), "redirects"),
        ("/as/token", redirect(), "redirects"),
        (resource, refuse(404, ""), "status 404"),
        (resource, refuse(200, "<html>"), "no JSON object"),
        (server, refuse(404, ""), "publishes no metadata"),
        (server, refuse(503, ""), "status 503"),
        ("/as/register", refuse(400, r#"{"error":"invalid_redirect_uri"}"#), "invalid_redirect_uri"),
        ("/as/register", refuse(201, &whole), ""),
        ("/as/token", error("invalid_grant"), "status 400, invalid_grant"),
        ("/as/token", refuse(200, r#"{"access_token":"token-12"}"#), "no bearer token"),
        ("/as/token", refuse(500, "s3cr3t"), "status 500, no reason"),
    ];
    for (path, answer, words) in cases {
        let ground = Ground::new(move |_, asked| (asked.path == path).then(|| answer.clone())).await;
        let outcome = match ground.consent(&ground.login(), &[]).await {
            Ok((attempt, query)) => ground.logins.finish(attempt, &query).await.map(drop),
            Err(error) => Err(error),
        };
        let said = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said.is_empty(), words.is_empty(), "{path}: {said}");
        assert!(said.contains(words) && !said.contains("s3cr3t"), "{path}: {said}");
        assert!(
            !said.contains("code-1") && !ground.fixture.asked().iter().any(|one| one.path == "/elsewhere")
        );
    }
    let nothing = Ground::new(|_, asked| asked.path.contains("well-known").then(|| refuse(404, ""))).await;
    let login =
        Login { resource: Resource::new(&format!("{}/other", nothing.base())).unwrap(), ..nothing.login() };
    let said = nothing.logins.discover(&login).await.err().unwrap().to_string();
    assert!(
        said.contains("names no authorization server") && said.contains("oauth-protected-resource/other"),
        "{said}"
    );
}

#[tokio::test]
async fn the_operators_word_goes_before_the_servers() {
    let ground = Ground::new(|_, _| None).await;
    let login = Login { scopes: vec!["mine".into()], ..ground.login() };
    let (attempt, _) = ground.consent(&login, &[]).await.unwrap();
    assert_eq!(attempt.scopes(), ["mine"]);
    let pinned = |issuer: String| Login { issuer: Some(issuer), ..ground.login() };
    assert!(ground.logins.discover(&pinned(format!("{}/as", ground.base()))).await.is_ok());
    let other = ground.logins.discover(&pinned("https://as.example".into())).await.err().unwrap();
    assert!(matches!(other, LoginError::UnexpectedIssuer { .. }), "{other}");
    // A client's secret from the vault goes to the token endpoint, in the way it wants.
    let login = Login {
        client: Preset {
            id: Some("preset".into()),
            secret: Some(SecretName::new("app").unwrap()),
            ..Preset::default()
        },
        ..pinned(format!("{}/as", ground.base()))
    };
    let (attempt, query) = ground.consent(&login, &[]).await.unwrap();
    ground.logins.finish(attempt, &query).await.unwrap();
    let exchange = ground.fixture.asked().pop().unwrap();
    assert_eq!(exchange.header("authorization"), "Basic cHJlc2V0OmFwcC1zZWNyZXQtMQ==");
    let registered = ground.fixture.asked().iter().filter(|one| one.path == "/as/register").count();
    assert_eq!(registered, 1, "only the first sign-in had no client of its own");
    // Renewed with it as well, and only while it is still configured.
    ground.age(3600);
    assert_eq!(ground.token(&login).await.unwrap(), "Bearer access-2");
    ground.age(3600);
    let bare = Login { client: Preset::default(), ..login };
    assert!(matches!(ground.token(&bare).await, Err(LoginError::ForAnother { .. })));
    // A wider sign-in keeps what was granted before.
    let more = ["write".to_owned(), "read".to_owned()];
    let (attempt, _) = ground.consent(&ground.login(), &more).await.unwrap();
    assert_eq!(attempt.scopes(), ["read", "write"]);
}
