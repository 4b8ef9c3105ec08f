//! HashiCorp Vault and OpenBao: against a fixture of the documented API, and against a real server if one is at hand.

use super::*;
use crate::source::VaultSource;
use std::process::{Child, Command, Stdio};

fn source(base: &str, mount: &str, engine: Engine, fields: &[&str], token: Origin) -> Source {
    Source::Vault(VaultSource {
        address: base.to_owned(),
        mount: mount.to_owned(),
        engine,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        token,
        namespace: Some("team/a".into()),
        ca: None,
    })
}

fn kv(path: &str) -> Engine {
    Engine::Kv2 { path: path.into() }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn requests_have_the_documented_shape() {
    let fixture = Fixture::start(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/v1/auth/token/renew-self") => {
            (200, r#"{"auth":{"client_token":"hvs.token","lease_duration":3600,"renewable":true}}"#.into())
        }
        ("GET", "/v1/secret/data/app/prod%20x") => {
            (200, r#"{"lease_id":"","data":{"data":{"user":"u","password":"p:w"},"metadata":{"version":3}}}"#.into())
        }
        ("GET", "/v1/database/creds/reader") => (
            200,
            r#"{"lease_id":"database/creds/reader/1","lease_duration":600,"renewable":true,"data":{"username":"v-1","password":"pw-1"}}"#.into(),
        ),
        ("POST", "/v1/sys/leases/renew") => {
            (200, r#"{"lease_id":"database/creds/reader/1","renewable":true,"lease_duration":600}"#.into())
        }
        ("POST", "/v1/sys/leases/revoke") => (204, String::new()),
        ("GET", "/v1/secret/data/forbidden") => (403, r#"{"errors":["s3cr3t"]}"#.into()),
        _ => (404, r#"{"errors":["s3cr3t"]}"#.into()),
    })
    .await;
    let token = || Origin::Secret(name("login"));
    let with = |mount, engine, fields| source(&fixture.base, mount, engine, fields, token());
    let sources = vec![
        ("login", Source::Exec(vec!["echo".into(), "hvs.token".into()])),
        ("both", with("secret", kv("app/prod x"), &["user", "password"][..])),
        ("absent", with("secret", kv("app/prod x"), &["nothing"])),
        ("forbidden", with("secret", kv("forbidden"), &["x"])),
        ("missing", with("secret", kv("missing"), &["x"])),
        ("lease", with("database", Engine::Lease { role: "reader".into() }, &["username", "password"])),
    ];
    let vault = vault(None, sources).unwrap();
    let both = vault.hold(&name("both")).await.ok().unwrap();
    assert_eq!((shown(&both).as_str(), both.version()), ("u:p:w", 3));
    for (of, why) in [("absent", "no field `nothing`"), ("forbidden", "403"), ("missing", "404")] {
        let error = vault.hold(&name(of)).await.err().unwrap().to_string();
        assert!(error.contains(why) && !error.contains("s3cr3t"), "{error}");
    }
    let lease = vault.hold(&name("lease")).await.ok().unwrap();
    assert_eq!(shown(&lease), "v-1:pw-1");
    let seen = |path: &str| fixture.asked().iter().filter(|asked| asked.path == path).count();
    // Two thirds of the lease are over: it is renewed, and the value stays.
    vault.age("lease", Duration::from_secs(410));
    assert_eq!(shown(&vault.hold(&name("lease")).await.ok().unwrap()), "v-1:pw-1");
    assert_eq!((seen("/v1/sys/leases/renew"), seen("/v1/database/creds/reader")), (1, 1));
    for asked in fixture.asked() {
        assert_eq!(asked.header("x-vault-token"), "hvs.token");
        assert_eq!(asked.header("x-vault-namespace"), "team/a");
        assert_eq!(asked.header("x-vault-request"), "true");
    }
    let renewal = fixture.asked().into_iter().find(|asked| asked.path.ends_with("renew")).unwrap();
    assert_eq!(renewal.body, r#"{"lease_id":"database/creds/reader/1","increment":600}"#);
    drop((lease, vault));
    eventually("the lease is given back", || seen("/v1/sys/leases/revoke") == 1).await;
    for (mount, path) in [("secret", "../sys"), ("..", "x"), ("secret", "a//b"), ("", "x")] {
        let bad =
            source("https://vault.example", mount, kv(path), &["x"], Origin::Environment("PATH".into()));
        assert!(super::vault(None, vec![("bad", bad)]).is_err(), "{mount} {path}");
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The real thing: KV version 2 with a rotation, and leases of an engine that makes users, here at a stand-in for
/// RabbitMQ's management API. `BAO_BINARY` names the server's program.
#[tokio::test]
#[ignore = "needs an OpenBao or Vault server: BAO_BINARY=/path/to/bao"]
async fn a_real_server() {
    let binary = std::env::var("BAO_BINARY").expect("BAO_BINARY names the server's program");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let root = "root-token-of-this-test";
    let listen = format!("-dev-listen-address=127.0.0.1:{port}");
    let child = Command::new(&binary)
        .args(["server", "-dev", "-dev-no-store-token", &format!("-dev-root-token-id={root}"), &listen])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Server(child);
    let base = format!("http://127.0.0.1:{port}");
    let http = crate::net::client(None).unwrap();
    let call = async |method: &str, path: &str, body: &str| {
        let method = method.parse().unwrap();
        let request = http.request(method, format!("{base}/v1/{path}")).header("x-vault-token", root);
        crate::net::ask(request.body(body.to_owned())).await
    };
    let mut up = false;
    for _ in 0..200 {
        up = call("GET", "sys/health", "").await.is_ok_and(|answer| answer.status == 200);
        if up {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(up, "the server does not come up");
    let users: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let rabbit = {
        let users = users.clone();
        Fixture::start(move |asked| {
            users.lock().unwrap().push(format!("{} {}", asked.method, asked.path));
            (204, String::new())
        })
        .await
    };
    let connection = format!(
        r#"{{"connection_uri":"{}","username":"admin","password":"admin","verify_connection":false}}"#,
        rabbit.base
    );
    for (method, path, body) in [
        ("POST", "secret/data/app", r#"{"data":{"key":"the first value"}}"#),
        ("POST", "sys/mounts/rabbitmq", r#"{"type":"rabbitmq"}"#),
        ("POST", "rabbitmq/config/connection", connection.as_str()),
        ("POST", "rabbitmq/config/lease", r#"{"ttl":60,"max_ttl":3600}"#),
        ("POST", "rabbitmq/roles/agent", r#"{"tags":"monitoring"}"#),
    ] {
        let answer = call(method, path, body).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {}", String::from_utf8_lossy(&answer.body));
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("token");
    std::fs::write(&file, format!("{root}\n")).unwrap();
    let with = |mount: &str, engine, fields: &[&str], token: Origin| {
        let Source::Vault(source) = source(&base, mount, engine, fields, token) else { unreachable!() };
        Source::Vault(VaultSource { namespace: None, ..source })
    };
    let bad = scratch.path().join("bad");
    std::fs::write(&bad, "hvs.wrong").unwrap();
    let lease = Engine::Lease { role: "agent".into() };
    let sources = vec![
        ("key", with("secret", kv("app"), &["key"], Origin::File(file.clone()))),
        ("user", with("rabbitmq", lease, &["username", "password"], Origin::File(file))),
        ("refused", with("secret", kv("app"), &["key"], Origin::File(bad))),
    ];
    let vault = vault(None, sources).unwrap();
    let key = vault.hold(&name("key")).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((shown(&key).as_str(), key.version()), ("the first value", 1));
    call("POST", "secret/data/app", r#"{"data":{"key":"the second value"}}"#).await.unwrap();
    vault.age("key", Duration::from_secs(61));
    let key = vault.hold(&name("key")).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((shown(&key).as_str(), key.version()), ("the second value", 2));
    let error = vault.hold(&name("refused")).await.err().unwrap().to_string();
    assert!(error.contains("403"), "{error}");
    let user = vault.hold(&name("user")).await.unwrap_or_else(|error| panic!("{error}"));
    let first = shown(&user);
    assert!(user.expires().is_some() && first.contains(':'));
    vault.age("user", Duration::from_secs(41));
    assert_eq!(shown(&vault.hold(&name("user")).await.ok().unwrap()), first, "renewed, not made anew");
    vault.age("user", Duration::from_secs(3600));
    let again = vault.hold(&name("user")).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(again.expires().is_some());
    drop((user, again, vault));
    eventually("the user is deleted", || {
        users.lock().unwrap().iter().any(|line| line.starts_with("DELETE /api/users/"))
    })
    .await;
}
