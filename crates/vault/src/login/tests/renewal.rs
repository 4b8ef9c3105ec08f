//! Renewals: when, how often, by whom, and what is left after each way in which they fail.

use super::ground::{Ground, error, refuse, text};
use crate::login::record::Record;
use crate::login::{LoginError, secret_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_its_successor_is_on_disk() {
    let ground = Ground::new(|_, _| None).await;
    let login = ground.sign_in().await;
    for (aged, token, renewals) in [
        (2800, "Bearer access-1", 0),
        (100, "Bearer access-2", 1),
        (0, "Bearer access-2", 1),
        (9999, "Bearer access-3", 2),
    ] {
        ground.age(aged);
        assert_eq!(ground.token(&login).await.as_deref(), Ok(token), "after {aged}");
        assert_eq!(ground.renewals(), renewals, "after {aged}");
    }
    // Whoever begins now has the newest of both.
    assert_eq!(text(ground.another().bearer(&login, None).await).as_deref(), Ok("Bearer access-3"));
    ground.age(9999);
    assert_eq!(text(ground.another().bearer(&login, None).await).as_deref(), Ok("Bearer access-4"));
    assert_eq!(ground.token(&login).await.as_deref(), Ok("Bearer access-4"), "and this one notices");
    let asked = ground.fixture.asked();
    let last = &asked.last().unwrap().body;
    assert!(last.starts_with("grant_type=refresh_token&refresh_token=refresh-3&resource=http%3A"), "{last}");
}

#[tokio::test]
async fn a_short_life_is_a_life_and_none_is_none() {
    for (seconds, want) in [(1, Ok("Bearer access-x1")), (0, Err("too old already"))] {
        let ground = Ground::new(move |_, asked| {
            let token = serde_json::json!({
                "access_token": "access-x1", "token_type": "Bearer", "expires_in": seconds, "refresh_token": "refresh-x1",
            });
            asked.body.contains("grant_type=refresh_token").then(|| super::json_answer(200, &token))
        })
        .await;
        let login = ground.sign_in().await;
        ground.age(9999);
        let found = ground.token(&login).await.map_err(|error| error.to_string());
        match (found, want) {
            (Ok(found), Ok(want)) => assert_eq!(found, want),
            (Err(found), Err(want)) => assert!(found.contains(want), "{found}"),
            (found, want) => panic!("{seconds}: {found:?}, not {want:?}"),
        }
    }
}

/// Many callers in two processes, one refresh token that is good once: it is used once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_renewal_serves_everybody() {
    let ground = Ground::new(|_, asked| {
        if asked.body.contains("refresh_token=") {
            std::thread::sleep(Duration::from_millis(30));
        }
        None
    })
    .await;
    let login = ground.sign_in().await;
    ground.age(9999);
    let both = [ground.logins.clone(), ground.another()];
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let (logins, login) = (both[number % 2].clone(), login.clone());
            tokio::spawn(async move { text(logins.bearer(&login, None).await) })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().as_deref(), Ok("Bearer access-2"));
    }
    assert_eq!(ground.renewals(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_no_refresh_token_with_it() {
    let ground = Ground::new(|_, _| None).await;
    let login = ground.sign_in().await;
    ground.age(9999);
    for _ in 0..3 {
        // Given up at its first wait.
        drop(tokio::time::timeout(Duration::ZERO, ground.logins.bearer(&login, None)).await);
    }
    assert_eq!(ground.token(&login).await.as_deref(), Ok("Bearer access-2"));
    assert_eq!(ground.renewals(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let ground = Ground::new(|_, _| None).await;
    let login = ground.sign_in().await;
    let first = ground.logins.bearer(&login, None).await.unwrap();
    let second = ground.logins.bearer(&login, Some(&first)).await.unwrap();
    assert_eq!(text(Ok(second.clone())).as_deref(), Ok("Bearer access-2"));
    let again = ground.logins.bearer(&login, Some(&first)).await;
    assert_eq!(text(again).as_deref(), Ok("Bearer access-2"), "another was refused the old one as well");
    let error = ground.logins.bearer(&login, Some(&second)).await.err().unwrap().to_string();
    assert!(
        error.contains("refuses every token") && error.contains("run `bailiwick login tracker`"),
        "{error}"
    );
    assert_eq!(ground.renewals(), 1);
    assert_eq!(
        ground.token(&login).await.as_deref(),
        Ok("Bearer access-2"),
        "whoever was not refused may use it"
    );
}

#[tokio::test]
async fn the_end_of_a_sign_in_is_said_and_not_asked_for_again() {
    let ended = Arc::new(AtomicBool::new(true));
    let is_ended = ended.clone();
    let ground = Ground::new(move |_, asked| {
        let refreshes = asked.body.contains("grant_type=refresh_token");
        (refreshes && is_ended.load(Ordering::SeqCst)).then(|| error("invalid_grant"))
    })
    .await;
    let login = ground.sign_in().await;
    ground.age(3000);
    assert_eq!(ground.token(&login).await.as_deref(), Ok("Bearer access-1"), "it is still good");
    ground.age(600);
    for _ in 0..3 {
        let error = ground.token(&login).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "the sign-in to server `tracker` has ended (status 400, invalid_grant); run `bailiwick login tracker`"
        );
    }
    assert_eq!(ground.renewals(), 2, "once for each version of the login");
    ended.store(false, Ordering::SeqCst);
    ground.sign_in().await;
    assert_eq!(ground.token(&login).await.as_deref(), Ok("Bearer access-2"), "a new sign-in counts at once");
    // Without a refresh token there is nothing to ask with.
    ground.change(|record| record.refresh = None);
    // A clock of whole seconds may have gone on by one or two.
    ground.age(3590);
    assert_eq!(ground.token(&login).await.as_deref(), Ok("Bearer access-2"));
    assert_eq!(ground.logins.standing(&login), Ok(()));
    ground.age(10);
    let error = ground.token(&login).await.unwrap_err();
    assert!(error.to_string().contains("none to renew it with"), "{error}");
    assert_eq!(ground.logins.standing(&login), Err(error));
}

#[tokio::test]
async fn an_outage_ends_nothing() {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let ground = Ground::new(move |_, asked| {
        let refreshes = asked.body.contains("grant_type=refresh_token");
        (refreshes && down.load(Ordering::SeqCst)).then(|| refuse(503, "busy"))
    })
    .await;
    let login = ground.sign_in().await;
    ground.age(3000);
    assert_eq!(ground.token(&login).await.as_deref(), Ok("Bearer access-1"), "it is still good");
    ground.age(600);
    for _ in 0..3 {
        let error = ground.token(&login).await.unwrap_err();
        assert!(matches!(error, LoginError::NotRenewed { .. }), "{error}");
        assert!(error.to_string().contains("status 503"), "{error}");
    }
    assert_eq!(ground.renewals(), 2, "waiters and hasty callers share one attempt");
    is_down.store(false, Ordering::SeqCst);
    assert_eq!(text(ground.another().bearer(&login, None).await).as_deref(), Ok("Bearer access-2"));
}

/// The disk refuses the successor: nobody gets the token until it is written, and the refresh token is not asked with again.
#[tokio::test]
async fn nothing_is_used_that_is_not_on_disk() {
    use std::os::unix::fs::PermissionsExt as _;
    if rustix::process::geteuid().is_root() {
        // Root writes everywhere; a full store refuses everybody alike.
        return full_store().await;
    }
    let ground = Ground::new(|_, _| None).await;
    let login = ground.sign_in().await;
    ground.age(9999);
    drop(ground.logins.bearer(&login, None).await);
    ground.age(9999);
    let mode =
        |bits| std::fs::set_permissions(ground.folder(), std::fs::Permissions::from_mode(bits)).unwrap();
    mode(0o500);
    let refused = ground.token(&login).await;
    mode(0o700);
    assert!(matches!(refused, Err(LoginError::Store { .. })), "{refused:?}");
    assert_eq!(ground.token(&login).await.as_deref(), Ok("Bearer access-3"));
    assert_eq!(ground.renewals(), 2);
}

async fn full_store() {
    let long = Arc::new(AtomicUsize::new(0));
    let count = long.clone();
    let ground = Ground::new(move |_, asked| {
        asked.body.contains("grant_type=refresh_token").then(|| {
            count.fetch_add(1, Ordering::SeqCst);
            super::json_answer(
                200,
                &serde_json::json!({ "access_token": "access-x1", "refresh_token": "refresh-x1", "token_type": "Bearer" }),
            )
        })
    })
    .await;
    let login = ground.sign_in().await;
    ground.age(9999);
    let file = ground.folder().join("secrets.lock");
    // Where the lock should be is a folder: the store can be read and not written.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    for _ in 0..2 {
        let refused = ground.token(&login).await;
        assert!(matches!(refused, Err(LoginError::Store { .. })), "{refused:?}");
    }
    let kept = Record::read(&ground.store.peek(&secret_of("tracker").unwrap(), None).unwrap().value).unwrap();
    assert!(kept.refresh.unwrap().expose(|it| it == b"refresh-1"), "what was there is still there");
    std::fs::remove_dir(&file).unwrap();
    assert_eq!(ground.token(&login).await.as_deref(), Ok("Bearer access-x1"));
    assert_eq!(long.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_login_is_for_one_server() {
    let ground = Ground::new(|_, _| None).await;
    let login = ground.sign_in().await;
    let with = |url: String| {
        let resource = crate::login::Resource::new(&url).unwrap();
        crate::login::Login { resource, ..login.clone() }
    };
    assert!(ground.token(&with(format!("{}/mcp", ground.base()))).await.is_ok());
    assert_eq!(ground.logins.standing(&login), Ok(()));
    for other in [format!("{}/other", ground.base()), "https://evil.example/mcp".into()] {
        let error = ground.token(&with(other.clone())).await.unwrap_err();
        assert!(matches!(error, LoginError::ForAnother { .. }), "{other}: {error}");
        assert_eq!(ground.logins.standing(&with(other)), Err(error));
    }
    let pinned = crate::login::Login { issuer: Some("https://as.example".into()), ..login.clone() };
    assert!(matches!(ground.token(&pinned).await, Err(LoginError::ForAnother { .. })));
    // Whatever was put under its name by hand is no login.
    let name = secret_of("tracker").unwrap();
    ground.store.set(&name, &crate::Secret::copy_of(b"typed by hand").unwrap()).unwrap();
    assert_eq!(ground.token(&login).await, Err(LoginError::Missing("tracker".into())));
}
