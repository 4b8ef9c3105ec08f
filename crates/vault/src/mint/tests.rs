//! What issuers are asked, to the letter, and what is shown of their refusals.

use super::*;
use crate::fixture::{Asked, Fixture};
use crate::sigv4::{KeyPair, ToSign, sha256_hex};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::time::UNIX_EPOCH;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn secret(text: &str) -> Secret {
    Secret::copy_of(text.as_bytes()).unwrap()
}

fn shown(secret: &Secret) -> String {
    secret.expose(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

async fn mint(issuer: &Issuer, values: &[&str]) -> Result<Coin, String> {
    let values: Vec<Secret> = values.iter().map(|value| secret(value)).collect();
    let values: Vec<&Secret> = values.iter().collect();
    assert_eq!(issuer.origins().len(), values.len());
    issuer.mint(&net::client(None).unwrap(), &values, now()).await
}

fn somewhere() -> Origin {
    Origin::Environment("UNUSED".into())
}

fn oauth(base: &str, client: Option<OAuthClient>, grant: OAuthGrant) -> Issuer {
    let endpoint = format!("{base}/token");
    Issuer::OAuth(OAuth {
        endpoint,
        client,
        scope: Some("read write".into()),
        audience: None,
        resource: None,
        grant,
    })
}

fn client(auth: Option<ClientAuth>) -> Option<OAuthClient> {
    Some(OAuthClient { id: "my client".into(), secret: auth.map(|auth| (somewhere(), auth)) })
}

#[tokio::test]
async fn oauth_requests_have_the_shape_of_their_rfc() {
    let token =
        r#"{"access_token":"minted-token","token_type":"Bearer","expires_in":3600,"refresh_token":"next"}"#;
    let exchange = OAuthGrant::Exchange {
        subject: (somewhere(), TokenType::Jwt),
        actor: Some((somewhere(), TokenType::AccessToken)),
        wanted: Some(TokenType::AccessToken),
    };
    let basic = format!("Basic {}", STANDARD.encode("my%20client:s%3Acret%2F1"));
    let (grant, urn) =
        ("urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3A", "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A");
    for (client, grant, values, authorization, body) in [
        (
            client(Some(ClientAuth::Basic)),
            OAuthGrant::ClientCredentials,
            &["s:cret/1"][..],
            basic.as_str(),
            "grant_type=client_credentials&scope=read%20write".to_owned(),
        ),
        (
            client(Some(ClientAuth::Post)),
            OAuthGrant::ClientCredentials,
            &["s:cret/1"],
            "",
            "grant_type=client_credentials&scope=read%20write&client_id=my%20client&client_secret=s%3Acret%2F1".into(),
        ),
        (
            client(None),
            OAuthGrant::Refresh { token: somewhere() },
            &["old&refresh"],
            "",
            "grant_type=refresh_token&refresh_token=old%26refresh&scope=read%20write&client_id=my%20client".into(),
        ),
        (
            client(Some(ClientAuth::Basic)),
            exchange,
            &["sub.ject", "actor", "s:cret/1"],
            &basic,
            format!(
                "grant_type={grant}token-exchange&subject_token=sub.ject&subject_token_type={urn}jwt&actor_token=actor\
                 &actor_token_type={urn}access_token&requested_token_type={urn}access_token&scope=read%20write"
            ),
        ),
    ] {
        let fixture = Fixture::start(move |_| (200, token.to_owned())).await;
        let coin = mint(&oauth(&fixture.base, client, grant), values).await.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((shown(&coin.secret).as_str(), coin.lifetime), ("minted-token", Some(Duration::from_secs(3600))));
        assert_eq!(coin.successor.as_ref().map(shown).as_deref(), Some("next"));
        let asked = fixture.asked();
        let [Asked { method, path, body: sent, .. }] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((method.as_str(), path.as_str(), sent.as_str()), ("POST", "/token", body.as_str()));
        assert_eq!(asked[0].header("authorization"), authorization);
        assert_eq!(asked[0].header("content-type"), "application/x-www-form-urlencoded");
        assert_eq!(asked[0].header("accept"), "application/json");
    }
}

#[tokio::test]
async fn errors_show_a_code_and_no_echo() {
    for (status, answer, why) in [
        (400, r#"{"error":"invalid_grant","error_description":"s3cr3t-echo"}"#, "invalid_grant"),
        (401, r#"{"error":"s3cr3t-echo-0123456789"}"#, "401"),
        (500, "s3cr3t-echo", "500"),
        (200, r#"{"token":"s3cr3t-echo"}"#, "no access token"),
        (200, "s3cr3t-echo", "without JSON"),
        (302, "", "302"),
    ] {
        let fixture = Fixture::start(move |_| (status, answer.to_owned())).await;
        let issuer = oauth(&fixture.base, client(Some(ClientAuth::Post)), OAuthGrant::ClientCredentials);
        let error = mint(&issuer, &["s3cr3t-echo"]).await.err().unwrap();
        assert!(error.contains(why) && !error.contains("s3cr3t-echo"), "{status} {answer}: {error}");
    }
    let long = Fixture::start(|_| (200, "x".repeat(300 * 1024))).await;
    let issuer = oauth(&long.base, client(Some(ClientAuth::Post)), OAuthGrant::ClientCredentials);
    assert!(mint(&issuer, &["s3cr3t-echo"]).await.err().unwrap().contains("longer than"));
    for (base, allowed) in [
        ("https://issuer.example", true),
        ("http://127.0.0.1:1", true),
        ("http://[::1]:1", true),
        ("http://localhost:1", true),
        ("http://issuer.example", false),
        ("http://127.0.0.1.evil.test", false),
        ("https://user:pass@issuer.example", false),
        ("ftp://issuer.example", false),
        ("issuer.example", false),
    ] {
        assert_eq!(net::base(base).is_ok(), allowed, "{base}");
    }
}

#[tokio::test]
async fn a_github_app_asks_for_no_more_than_it_says() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let pem = |kind: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
    };
    // A PKCS#8 key of this size is 26 bytes of frame around the PKCS#1 one that GitHub hands out.
    let keys = [pem("PRIVATE KEY", pkcs8.as_ref()), pem("RSA PRIVATE KEY", &pkcs8.as_ref()[26..])];
    for key in &keys {
        let answer = r#"{"token":"ghs_minted","expires_at":"2027-01-15T09:00:00Z","permissions":{}}"#;
        let fixture = Fixture::start(move |_| (201, answer.to_owned())).await;
        let issuer = Issuer::GitHubApp(GitHubApp {
            api: fixture.base.clone(),
            app: "Iv1.abc".into(),
            installation: 42,
            key: somewhere(),
            repositories: vec!["only-this".into()],
            permissions: vec![("contents".into(), "read".into())],
        });
        let coin = mint(&issuer, &[key]).await.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(
            (shown(&coin.secret).as_str(), coin.lifetime),
            ("ghs_minted", Some(Duration::from_secs(3600)))
        );
        let asked = fixture.asked();
        assert_eq!(
            (asked[0].method.as_str(), asked[0].path.as_str()),
            ("POST", "/app/installations/42/access_tokens")
        );
        assert_eq!(asked[0].body, r#"{"repositories":["only-this"],"permissions":{"contents":"read"}}"#);
        assert_eq!(asked[0].header("accept"), "application/vnd.github+json");
        assert_eq!(asked[0].header("x-github-api-version"), "2022-11-28");
        let jwt = asked[0].header("authorization").strip_prefix("Bearer ").unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
        key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let parts: Vec<serde_json::Value> = signed
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0], serde_json::json!({"alg":"RS256","typ":"JWT"}));
        let claims = serde_json::json!({"iat":1_799_999_940_u64,"exp":1_800_000_540_u64,"iss":"Iv1.abc"});
        assert_eq!(parts[1], claims);
    }
    let refusing = Fixture::start(|_| (401, "s3cr3t".into())).await;
    let mut app = GitHubApp {
        api: refusing.base.clone(),
        app: "1".into(),
        installation: 1,
        key: somewhere(),
        repositories: vec![],
        permissions: vec![],
    };
    let error = mint(&Issuer::GitHubApp(app.clone()), &[&keys[0]]).await.err().unwrap();
    assert_eq!(error, "status 401");
    assert_eq!(refusing.asked()[0].body, "{}");
    app.api = refusing.base.clone();
    let error = mint(&Issuer::GitHubApp(app), &["not a key"]).await.err().unwrap();
    assert!(error.contains("PEM") && !error.contains("not a key"), "{error}");
}

#[tokio::test]
async fn a_role_is_assumed_under_a_session_policy() {
    let answer = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
        <Credentials><AccessKeyId>ASIAMINTED</AccessKeyId><SecretAccessKey>sec+ret/1=</SecretAccessKey>\
        <SessionToken>tok+en/2==</SessionToken><Expiration>2027-01-15T08:15:00Z</Expiration></Credentials>\
        </AssumeRoleResult></AssumeRoleResponse>";
    let role = |base: &str| AssumeRole {
        endpoint: base.to_owned(),
        region: "eu-west-1".into(),
        role: "arn:aws:iam::123456789012:role/agent".into(),
        session: "bailiwick".into(),
        policy: Some(r#"{"Version":"2012-10-17"}"#.into()),
        seconds: 900,
        external_id: Some("ext".into()),
        credentials: somewhere(),
    };
    for (pair, list) in [
        ("AKID:long-lived-secret", "content-type;host;x-amz-date"),
        ("AKID:long-lived-secret:session", "content-type;host;x-amz-date;x-amz-security-token"),
    ] {
        let fixture = Fixture::start(move |_| (200, answer.to_owned())).await;
        let coin = mint(&Issuer::AssumeRole(role(&fixture.base)), &[pair])
            .await
            .unwrap_or_else(|why| panic!("{why}"));
        let minted = coin.secret.expose(KeyPair::parse).unwrap();
        assert_eq!((minted.id.as_str(), minted.secret.as_str()), ("ASIAMINTED", "sec+ret/1="));
        assert_eq!(minted.session.unwrap().as_str(), "tok+en/2==");
        assert_eq!(coin.lifetime, Some(Duration::from_secs(900)));
        let asked = &fixture.asked()[0];
        assert_eq!(
            asked.body,
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fagent\
             &RoleSessionName=bailiwick&DurationSeconds=900&Policy=%7B%22Version%22%3A%222012-10-17%22%7D&ExternalId=ext"
        );
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/"));
        // The signature covers what really arrived.
        let headers = list.split(';').map(|name| (name.to_owned(), asked.header(name).to_owned())).collect();
        let expected = ToSign {
            method: "POST",
            path: "/",
            query: "",
            headers,
            payload: &sha256_hex(asked.body.as_bytes()),
            time: "20270115T080000Z",
            region: "eu-west-1",
            service: "sts",
        }
        .authorization(&KeyPair::parse(pair.as_bytes()).unwrap());
        assert_eq!(asked.header("authorization"), expected.as_str());
        assert!(!format!("{asked:?}").contains("long-lived-secret"));
    }
    for (status, answer, why) in [
        (
            403,
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>s3cr3t</Message></Error></ErrorResponse>",
            "AccessDenied",
        ),
        (200, "<AccessKeyId>A\"B</AccessKeyId>", "no key pair"),
        (200, "s3cr3t", "no key pair"),
    ] {
        let fixture = Fixture::start(move |_| (status, answer.to_owned())).await;
        let error = mint(&Issuer::AssumeRole(role(&fixture.base)), &["AKID:long"]).await.err().unwrap();
        assert!(error.contains(why) && !error.contains("s3cr3t"), "{error}");
    }
}
