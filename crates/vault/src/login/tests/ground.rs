//! A protected server and its authorization server, and logins in a store of their own. It does what the specification wants
//! unless a test twists one answer.

use crate::fixture::{Asked, Fixture};
use crate::login::client::Client;
use crate::login::metadata::ServerMetadata;
use crate::login::record::Record;
use crate::login::{Attempt, Login, LoginError, Logins, Preset, Resource, secret_of};
use crate::mint::ClientAuth;
use crate::name::SecretName;
use crate::secret::Secret;
use crate::source::Source;
use crate::store::{Store, Unlock};
use hyper::Response;
use reqwest::Url;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(super) struct Ground {
    pub(super) fixture: Fixture,
    pub(super) logins: Logins,
    pub(super) store: Arc<Store>,
    scratch: tempfile::TempDir,
}

impl Ground {
    /// `twist` answers first where it wants to.
    pub(super) async fn new(
        twist: impl Fn(&str, &Asked) -> Option<Response<String>> + Send + Sync + 'static,
    ) -> Self {
        let given = AtomicUsize::new(0);
        let fixture = Fixture::start_with(move |asked| {
            let base = format!("http://{}", asked.header("host"));
            twist(&base, asked).unwrap_or_else(|| answer(&base, asked, &given))
        })
        .await;
        let scratch = tempfile::tempdir().unwrap();
        let (logins, store) = open(&scratch);
        Self { fixture, logins, store, scratch }
    }

    /// As another process would see it.
    pub(super) fn another(&self) -> Logins {
        open(&self.scratch).0
    }

    pub(super) fn base(&self) -> &str {
        &self.fixture.base
    }

    pub(super) fn port(&self) -> &str {
        self.base().rsplit_once(':').unwrap().1
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.scratch.path().join("secrets")
    }

    pub(super) fn login(&self) -> Login {
        Login {
            server: "tracker".into(),
            resource: Resource::new(&format!("{}/mcp", self.base())).unwrap(),
            issuer: None,
            client: Preset::default(),
            scopes: Vec::new(),
        }
    }

    /// A person who agrees at once: the attempt, and what the browser brings back.
    pub(super) async fn consent(
        &self,
        login: &Login,
        more: &[String],
    ) -> Result<(Attempt, String), LoginError> {
        let found = self.logins.discover(login).await?;
        let attempt = self.logins.begin(login, found, "http://127.0.0.1:7/callback", more).await?;
        let address = reqwest::Url::parse(&attempt.address()).unwrap();
        let state = address.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        Ok((attempt, format!("code=code-1&state={state}")))
    }

    /// Signs in.
    pub(super) async fn sign_in(&self) -> Login {
        let login = self.login();
        let (attempt, query) = self.consent(&login, &[]).await.unwrap();
        self.logins.finish(attempt, &query).await.unwrap();
        login
    }

    pub(super) async fn token(&self, login: &Login) -> Result<String, LoginError> {
        text(self.logins.bearer(login, None).await)
    }

    /// Lets so many seconds pass for the login as it is stored.
    pub(super) fn age(&self, seconds: u64) {
        self.change(|record| {
            record.obtained = record.obtained.saturating_sub(seconds);
            record.expires = record.expires.map(|expires| expires.saturating_sub(seconds));
        });
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Record)) {
        let name = secret_of("tracker").unwrap();
        let mut record = Record::read(&self.store.peek(&name, None).unwrap().value).unwrap();
        change(&mut record);
        self.store.set(&name, &record.write().unwrap()).unwrap();
    }

    /// How often the token endpoint was asked to renew.
    pub(super) fn renewals(&self) -> usize {
        let asked = self.fixture.asked();
        asked.iter().filter(|one| one.body.contains("grant_type=refresh_token")).count()
    }
}

pub(super) fn text(bearer: Result<crate::login::Bearer, LoginError>) -> Result<String, LoginError> {
    bearer.map(|bearer| bearer.header().unwrap().to_str().unwrap().to_owned())
}

fn open(scratch: &tempfile::TempDir) -> (Logins, Arc<Store>) {
    let folder = scratch.path().join("secrets");
    let store = Arc::new(Store::open(&folder, Unlock::KeyFile(Store::key_file(&folder))).unwrap());
    let app = SecretName::new("app").unwrap();
    store.set(&app, &Secret::copy_of(b"app-secret-1").unwrap()).unwrap();
    let sources = BTreeMap::from([(app, Source::Store)]);
    let vault = crate::Vault::new(Some(store.clone()), sources, Duration::from_secs(60)).unwrap();
    (Logins::new(vault, store.clone(), &folder, &[]), store)
}

pub(super) fn resource(base: &str) -> Value {
    json!({
        "resource": format!("{base}/mcp"), "authorization_servers": [format!("{base}/as")], "scopes_supported": ["all"],
    })
}

pub(super) fn server(base: &str) -> Value {
    json!({
        "issuer": format!("{base}/as"),
        "authorization_endpoint": format!("{base}/as/authorize"),
        "token_endpoint": format!("{base}/as/token"),
        "registration_endpoint": format!("{base}/as/register"),
        "revocation_endpoint": format!("{base}/as/revoke"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    })
}

pub(super) fn json_answer(status: u16, document: &Value) -> Response<String> {
    Response::builder().status(status).body(document.to_string()).unwrap()
}

pub(super) fn refuse(status: u16, body: &str) -> Response<String> {
    Response::builder().status(status).body(body.to_owned()).unwrap()
}

pub(super) fn error(code: &str) -> Response<String> {
    json_answer(400, &json!({ "error": code, "error_description": "s3cr3t" }))
}

pub(super) fn redirect() -> Response<String> {
    Response::builder().status(302).header("location", "/elsewhere").body(String::new()).unwrap()
}

/// Every token is new, and a refresh token is good once: `refresh-N` gives `access-N+1` and `refresh-N+1`.
fn answer(base: &str, asked: &Asked, given: &AtomicUsize) -> Response<String> {
    match asked.path.as_str() {
        "/mcp" => {
            let at = format!("{base}/.well-known/oauth-protected-resource/mcp");
            let challenge = format!("Bearer resource_metadata=\"{at}\", scope=\"read\"");
            Response::builder().status(401).header("www-authenticate", challenge).body(String::new()).unwrap()
        }
        "/.well-known/oauth-protected-resource/mcp" => json_answer(200, &resource(base)),
        "/.well-known/oauth-authorization-server/as" => json_answer(200, &server(base)),
        "/as/register" => json_answer(201, &json!({ "client_id": "client-1" })),
        "/as/revoke" => refuse(200, ""),
        "/as/token" => {
            let before = given.load(Ordering::SeqCst);
            let refreshes = asked.body.contains("grant_type=refresh_token");
            if refreshes && !asked.body.contains(&format!("refresh_token=refresh-{before}&")) {
                return error("invalid_grant");
            }
            let number = before + 1;
            given.store(number, Ordering::SeqCst);
            json_answer(
                200,
                &json!({
                    "access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"),
                    "token_type": "Bearer", "expires_in": 3600,
                }),
            )
        }
        _ => refuse(404, ""),
    }
}

/// What an authorization server far away says of itself.
pub(in crate::login) fn server_metadata() -> ServerMetadata {
    let url = |path: &str| Url::parse(&format!("https://as.example{path}")).unwrap();
    ServerMetadata {
        issuer: "https://as.example".into(),
        authorization: url("/authorize?tenant=1"),
        token: url("/token"),
        registration: Some(url("/register")),
        revocation: None,
        says_iss: false,
        takes_documents: true,
        takes_public: true,
        takes_signed: false,
        auth: ClientAuth::Basic,
        has_offline: false,
    }
}

/// A sign-in there, under way.
pub(in crate::login) fn attempt(says_iss: bool) -> Attempt {
    let login = Login {
        server: "tracker".into(),
        resource: Resource::new("https://mcp.example/mcp").unwrap(),
        issuer: None,
        client: Preset::default(),
        scopes: Vec::new(),
    };
    let server = ServerMetadata { says_iss, ..server_metadata() };
    let client = Client { id: "my client".into(), secret: None };
    let redirect = "http://127.0.0.1:7/callback".to_owned();
    Attempt::new(login, server, "https://mcp.example".into(), client, vec!["a".into(), "b".into()], redirect)
        .unwrap()
}

/// What comes of it.
pub(in crate::login) fn record(obtained: u64, seconds: Option<u64>) -> Record {
    let secret = |text: &str| Arc::new(Secret::copy_of(text.as_bytes()).unwrap());
    Record {
        resource: "https://mcp.example/mcp".into(),
        audience: "https://mcp.example".into(),
        issuer: "https://as.example".into(),
        token_endpoint: "https://as.example/token".into(),
        revocation_endpoint: None,
        client: Client { id: "a client".into(), secret: None },
        scopes: vec!["a".into(), "b".into()],
        access: secret("access-0"),
        refresh: Some(secret("refresh-0")),
        obtained,
        expires: seconds.map(|seconds| obtained + seconds),
    }
}
