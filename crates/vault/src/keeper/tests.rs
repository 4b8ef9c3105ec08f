//! Secrets by name from every source, with rotation, expiry and failing issuers.

mod hashi;

use super::*;
use crate::fixture::Fixture;
use crate::mint::{OAuth, OAuthGrant};
use crate::store::Unlock;
use std::sync::atomic::{AtomicBool, AtomicU32};

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::copy_of(text.as_bytes()).unwrap()
}

fn shown(held: &Held) -> String {
    held.expose(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

fn store(scratch: &tempfile::TempDir) -> Arc<Store> {
    let folder = scratch.path().join("secrets");
    Arc::new(Store::open(&folder, Unlock::KeyFile(Store::key_file(&folder))).unwrap())
}

fn vault(store: Option<Arc<Store>>, sources: Vec<(&str, Source)>) -> Result<Arc<Vault>, SecretError> {
    let sources = sources.into_iter().map(|(of, source)| (name(of), source)).collect();
    Vault::new(store, sources, Duration::from_secs(60))
}

fn minted(base: &str, grant: OAuthGrant) -> Source {
    let endpoint = format!("{base}/token");
    Source::Minted(Issuer::OAuth(OAuth {
        endpoint,
        client: None,
        scope: None,
        audience: None,
        resource: None,
        grant,
    }))
}

fn token(number: u32, seconds: u32) -> String {
    format!(r#"{{"access_token":"token-{number}","expires_in":{seconds}}}"#)
}

impl Vault {
    /// Makes what is held of `of` older.
    fn age(&self, of: &str, by: Duration) {
        self.slots[&name(of)].1.age(by);
    }
}

/// Eight tasks use a secret while another process rotates it fifty times: no use fails, and once a rotation is
/// complete nobody gets an older version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load() {
    let scratch = tempfile::tempdir().unwrap();
    let (gate, cli) = (store(&scratch), store(&scratch));
    cli.set(&name("api"), &secret("value 1")).unwrap();
    let vault = vault(Some(gate), vec![("api", Source::Store)]).unwrap();
    let (rotated, done) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (vault, rotated, done) = (vault.clone(), rotated.clone(), done.clone());
            tokio::spawn(async move {
                let mut uses = 0_u32;
                while !done.load(Ordering::Acquire) {
                    let least = u64::from(rotated.load(Ordering::Acquire));
                    let held = vault.hold(&name("api")).await.unwrap_or_else(|error| panic!("{error}"));
                    assert!(held.version() >= least, "{} after {least}", held.version());
                    assert_eq!(shown(&held), format!("value {}", held.version()));
                    uses += 1;
                    tokio::task::yield_now().await;
                }
                uses
            })
        })
        .collect();
    let rotating = tokio::task::spawn_blocking(move || {
        for number in 2..=50 {
            assert_eq!(cli.rotate(&name("api"), &secret(&format!("value {number}"))).unwrap(), number);
            rotated.store(number, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
    rotating.await.unwrap();
    for task in tasks {
        assert!(task.await.unwrap() > 0);
    }
    assert!(vault.generation() > 2);
    let guarded = vault.guarded(&name("api"), <[Arc<Held>]>::len);
    assert!((2..=17).contains(&guarded), "{guarded}");
}

#[tokio::test]
async fn files_programs_and_variables() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("mounted");
    std::fs::write(&path, "first value\n").unwrap();
    let echo = |text: &str| Source::Exec(vec!["echo".into(), text.into()]);
    let keyring = Source::Keyring { service: "no-such-service".into(), account: "nobody".into() };
    let sources = vec![
        ("file", Source::File(path.clone())),
        ("exec", echo("printed value")),
        ("path", Source::Environment("PATH".into())),
        ("unset", Source::Environment("BAILIWICK_NO_SUCH_VARIABLE".into())),
        ("gone", Source::File(scratch.path().join("gone"))),
        ("keyring", keyring),
    ];
    let vault = vault(None, sources).unwrap();
    let value = async |of: &str| vault.hold(&name(of)).await.map(|held| shown(&held));
    assert_eq!(value("file").await.unwrap(), "first value");
    let other = scratch.path().join("other");
    std::fs::write(&other, "second value").unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(value("file").await.unwrap(), "second value");
    assert_eq!(value("exec").await.unwrap(), "printed value");
    assert_eq!(value("path").await.unwrap(), std::env::var("PATH").unwrap());
    assert!(matches!(value("unset").await, Err(SecretError::Missing { .. })));
    assert!(matches!(value("gone").await, Err(SecretError::Missing { .. })));
    assert!(matches!(value("keyring").await, Err(SecretError::Source { .. })));
    assert!(matches!(value("nobody").await, Err(SecretError::Unknown(_))));
    let old =
        vault.guarded(&name("file"), |values| values.iter().map(|held| shown(held)).collect::<Vec<_>>());
    assert_eq!(old, ["second value", "first value"]);
}

#[tokio::test]
async fn references_are_checked_before_anything_is_asked() {
    let needs =
        |of: &str| minted("https://issuer.example", OAuthGrant::Refresh { token: Origin::Secret(name(of)) });
    for (sources, good) in [
        (vec![("a", needs("b")), ("b", Source::Environment("PATH".into()))], true),
        (vec![("a", needs("b"))], false),
        (vec![("a", needs("a"))], false),
        (vec![("a", needs("b")), ("b", needs("a"))], false),
        (vec![("a", Source::Store)], false),
        (vec![("a", minted("http://issuer.example", OAuthGrant::ClientCredentials))], true),
    ] {
        assert_eq!(vault(None, sources.clone()).is_ok(), good, "{sources:?}");
    }
    let plain =
        vault(None, vec![("a", minted("http://issuer.example", OAuthGrant::ClientCredentials))]).unwrap();
    let error = plain.hold(&name("a")).await.err().unwrap().to_string();
    assert!(error.contains("only sent over https"), "{error}");
}

/// A token is minted once for all who wait, again before it ends, and outlives an issuer that fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minted_once_renewed_early_and_kept_through_failure() {
    let (count, failing) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let fixture = {
        let (count, failing) = (count.clone(), failing.clone());
        Fixture::start(move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            std::thread::sleep(Duration::from_millis(50));
            if failing.load(Ordering::SeqCst) {
                (503, "token-secret".into())
            } else {
                (200, token(number, 1000))
            }
        })
        .await
    };
    let vault = vault(None, vec![("api", minted(&fixture.base, OAuthGrant::ClientCredentials))]).unwrap();
    let many: Vec<_> = (0..20)
        .map(|_| {
            let vault = vault.clone();
            tokio::spawn(async move { vault.hold(&name("api")).await.map(|held| shown(&held)) })
        })
        .collect();
    for one in many {
        assert_eq!(one.await.unwrap().unwrap(), "token-1");
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "one attempt for all");
    vault.age("api", Duration::from_secs(790));
    assert_eq!(shown(&vault.hold(&name("api")).await.ok().unwrap()), "token-1");
    vault.age("api", Duration::from_secs(15));
    let generation = vault.generation();
    assert_eq!(shown(&vault.hold(&name("api")).await.ok().unwrap()), "token-2", "80 % of its life are over");
    assert_ne!(vault.generation(), generation);
    assert_eq!(vault.guarded(&name("api"), <[Arc<Held>]>::len), 2);
    failing.store(true, Ordering::SeqCst);
    vault.age("api", Duration::from_secs(900));
    let asked = count.load(Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(shown(&vault.hold(&name("api")).await.ok().unwrap()), "token-2", "it is still good");
    }
    assert_eq!(count.load(Ordering::SeqCst), asked + 1, "a failing issuer is not asked at every use");
    vault.age("api", Duration::from_secs(200));
    let error = vault.hold(&name("api")).await.err().unwrap();
    assert!(matches!(error, SecretError::Issuer { .. }), "{error}");
    assert!(!error.to_string().contains("token-"), "{error}");
    failing.store(false, Ordering::SeqCst);
    assert!(vault.hold(&name("api")).await.is_ok());
}

#[tokio::test]
async fn a_successor_of_a_refresh_token_is_kept() {
    let fixture = Fixture::start(|asked| {
        let next = if asked.body.contains("first-refresh") { "second-refresh" } else { "third-refresh" };
        (200, format!(r#"{{"access_token":"access","expires_in":1000,"refresh_token":"{next}"}}"#))
    })
    .await;
    let scratch = tempfile::tempdir().unwrap();
    let store = store(&scratch);
    store.set(&name("refresh"), &secret("first-refresh")).unwrap();
    let grant = || OAuthGrant::Refresh { token: Origin::Secret(name("refresh")) };
    let sources = vec![("refresh", Source::Store), ("api", minted(&fixture.base, grant()))];
    let both = vault(Some(store.clone()), sources).unwrap();
    for expected in ["second-refresh", "third-refresh"] {
        assert!(both.hold(&name("api")).await.is_ok());
        let kept = store.get(&name("refresh")).ok().unwrap();
        assert_eq!(kept.value.expose(<[u8]>::to_vec), expected.as_bytes());
        both.age("api", Duration::from_secs(2000));
    }
    let elsewhere = vec![
        ("refresh", Source::Exec(vec!["echo".into(), "first-refresh".into()])),
        ("api", minted(&fixture.base, grant())),
    ];
    let error = vault(None, elsewhere).unwrap().hold(&name("api")).await.err().unwrap();
    assert!(error.to_string().contains("only in the secret store"), "{error}");
}
