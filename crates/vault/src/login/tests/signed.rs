//! A client that proves itself by a signature: its key is never sent, each proof is another, and it is for the one
//! authorization server that says that it takes such.

use super::ground::{Ground, json_answer, server};
use crate::jwt;
use crate::login::{Login, LoginError, Preset};
use crate::name::SecretName;
use crate::secret::Secret;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn key() -> Secret {
    Secret::copy_of(rcgen::KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap()
}

async fn ground(methods: &'static [&'static str]) -> (Ground, Login, Secret) {
    let ground = Ground::new(move |base, asked| {
        (asked.path == "/.well-known/oauth-authorization-server/as").then(|| {
            let mut document = server(base);
            document["token_endpoint_auth_methods_supported"] = methods.into();
            document["client_id_metadata_document_supported"] = true.into();
            json_answer(200, &document)
        })
    })
    .await;
    let (app, pem) = (SecretName::new("app").unwrap(), key());
    ground.store.set(&app, &pem).unwrap();
    let client = Preset { id: Some("preset".into()), key: Some(app), ..Preset::default() };
    let login = Login { client, issuer: Some(format!("{}/as", ground.base())), ..ground.login() };
    (ground, login, pem)
}

/// The fields of a request's body.
fn fields(body: &str) -> BTreeMap<String, String> {
    let url = Url::parse(&format!("http://x/?{body}")).unwrap();
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[tokio::test]
async fn a_client_signs_for_its_authorization_server_and_sends_no_key() {
    let (ground, login, pem) = ground(&["private_key_jwt"]).await;
    let (attempt, query) = ground.consent(&login, &[]).await.unwrap();
    ground.logins.finish(attempt, &query).await.unwrap();
    ground.age(3600);
    assert_eq!(ground.token(&login).await.unwrap(), "Bearer access-2", "it renews so as well");
    let asked = ground.fixture.asked();
    let public = jwt::public(&pem);
    let mut once = BTreeSet::new();
    for one in asked.iter().filter(|one| one.path == "/as/token") {
        assert_eq!(one.header("authorization"), "");
        let fields = fields(&one.body);
        assert_eq!(fields["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        assert!(!fields.contains_key("client_secret"));
        let (signed, signature) = fields["client_assertion"].rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public)
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        let claims = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!((&claims["iss"], &claims["sub"]), (&"preset".into(), &"preset".into()));
        assert_eq!(claims["aud"], format!("{}/as", ground.base()), "the server, not one of its endpoints");
        assert!(once.insert(claims["jti"].to_string()), "each proof is good once");
    }
    assert_eq!(once.len(), 2);
    let inner = pem.expose(|pem| String::from_utf8(pem.to_vec()).unwrap());
    let inner = inner.lines().nth(1).unwrap();
    assert!(asked.iter().all(|one| !one.body.contains(inner)), "the key stays here");

    // With another key configured, or none, the login is not used.
    ground.age(3600);
    for client in [
        Preset { key: Some(SecretName::new("other").unwrap()), ..login.client.clone() },
        Preset { key: None, secret: login.client.key.clone(), ..login.client.clone() },
        Preset::default(),
    ] {
        let changed = Login { client, ..login.clone() };
        assert!(matches!(ground.token(&changed).await, Err(LoginError::ForAnother { .. })));
    }
}

#[tokio::test]
async fn a_metadata_document_may_sign_and_what_cannot_is_told_before_anybody_is_asked() {
    let (ground_, login, _) = ground(&["none", "private_key_jwt"]).await;
    let address = "https://gate.example/client.json".to_owned();
    let client = Preset { id: None, metadata_url: Some(address.clone()), ..login.client.clone() };
    let login = Login { client, ..login };
    let (attempt, query) = ground_.consent(&login, &[]).await.unwrap();
    ground_.logins.finish(attempt, &query).await.unwrap();
    let exchange = fields(&ground_.fixture.asked().pop().unwrap().body);
    assert_eq!(exchange["client_id"], address);
    assert!(exchange.contains_key("client_assertion"));

    let (without, login, _) = ground(&["client_secret_basic"]).await;
    let refused = without.consent(&login, &[]).await.err().unwrap();
    assert!(refused.to_string().contains("private_key_jwt"), "{refused}");
    let (broken, login, _) = ground(&["private_key_jwt"]).await;
    let app = SecretName::new("app").unwrap();
    broken.store.set(&app, &Secret::copy_of(b"no key at all").unwrap()).unwrap();
    let (attempt, query) = broken.consent(&login, &[]).await.unwrap();
    let refused = broken.logins.finish(attempt, &query).await.err().unwrap();
    assert!(refused.to_string().contains("no private key in PEM"), "{refused}");
    assert!(broken.fixture.asked().iter().all(|one| one.path != "/as/token"), "nothing was sent");
}
