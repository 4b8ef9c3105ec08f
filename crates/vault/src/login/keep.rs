//! The logins of a store: made, used, forgotten. A token leaves here as a header value for the server that it is for, and what
//! was configured by hand goes only where that says.

use super::attempt::Attempt;
use super::client::{self, Client, ClientSecret, Identity};
use super::discover::{self, Found};
use super::error::LoginError;
use super::record::Record;
use super::renew::{Turn, fits};
use super::seen::Seen;
use super::tokens::{self, Shown};
use super::{Login, secret_of};
use crate::disk;
use crate::keeper::Vault;
use crate::name::SecretName;
use crate::net;
use crate::secret::Secret;
use crate::store::{Store, StoreError};
use reqwest::Url;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long another process may take over its renewal, in seconds, and how often it is looked whether it is done.
const LOCK_SECONDS_MAX: u64 = 40;
const LOCK_LOOK_MS: u64 = 50;

/// All logins of one store.
#[derive(Clone)]
pub struct Logins(Arc<Inner>);

pub(super) struct Inner {
    vault: Arc<Vault>,
    pub(super) store: Arc<Store>,
    folder: PathBuf,
    authorities: Vec<PathBuf>,
    http: OnceLock<Result<reqwest::Client, String>>,
    pub(super) seen: Seen,
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Turn>>>>,
}

/// An access token, to be sent to the one server it is for.
#[derive(Clone)]
pub struct Bearer(pub(super) Arc<Secret>);

impl Bearer {
    /// The value of the `Authorization` field, marked as one that no log shows.
    #[must_use]
    pub fn header(&self) -> Option<http::HeaderValue> {
        let bytes = self.0.expose(|token| zeroize::Zeroizing::new([b"Bearer ".as_slice(), token].concat()));
        let mut value = http::HeaderValue::from_bytes(&bytes).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// What came of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// What was granted; empty when nobody said.
    pub scopes: Vec<String>,
    /// How long the access token is good for, in seconds, if that was said.
    pub seconds: Option<u64>,
    /// Whether it can be renewed without a person.
    pub is_renewable: bool,
}

/// What came of forgetting a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// The authorization server forgot it as well.
    Revoked,
    /// The authorization server offers no revocation; its tokens end by themselves.
    NotOffered,
    /// The authorization server did not do it.
    NotRevoked(String),
}

impl Logins {
    /// The logins in `store`, which lies in `folder`. Secrets that the operator configured come from `vault`; besides the
    /// system's, the PEM files `authorities` are trusted.
    #[must_use]
    pub fn new(vault: Arc<Vault>, store: Arc<Store>, folder: &Path, authorities: &[PathBuf]) -> Self {
        Self(Arc::new(Inner {
            vault,
            store,
            folder: folder.to_owned(),
            authorities: authorities.to_vec(),
            http: OnceLock::new(),
            seen: Seen::default(),
            turns: Mutex::default(),
        }))
    }

    /// Asks the server, and whom it names, how to sign in.
    ///
    /// # Errors
    /// Anything that is missing, unsafe or contradicts.
    pub async fn discover(&self, login: &Login) -> Result<Found, LoginError> {
        discover::discover(self.0.http()?, login).await
    }

    /// Prepares a sign-in that comes back to `redirect_uri`. With scopes in `more`, what was granted before is asked for too.
    ///
    /// # Errors
    /// There is no client identity, or none could be registered.
    pub async fn begin(
        &self,
        login: &Login,
        found: Found,
        redirect_uri: &str,
        more: &[String],
    ) -> Result<Attempt, LoginError> {
        let Found { server, audience, mut scopes } = found;
        let mut add = |scope: &String| {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        };
        if !more.is_empty() {
            let before = self.0.stored(login)?.map(|(_, record)| record);
            let same = |record: &Record| {
                record.resource == login.resource.as_str() && record.issuer == server.issuer
            };
            before.iter().filter(|record| same(record)).flat_map(|record| &record.scopes).for_each(&mut add);
            more.iter().for_each(&mut add);
        }
        // Alone it would mean: nothing else.
        if server.has_offline && login.scopes.is_empty() && !scopes.is_empty() {
            let offline = "offline_access".to_owned();
            if !scopes.contains(&offline) {
                scopes.push(offline);
            }
        }
        let client = match client::identity(&login.client, &server, &login.resource)? {
            Identity::Known(client) => client,
            Identity::Register(endpoint) => {
                client::register(self.0.http()?, &endpoint, &server, redirect_uri, &scopes).await?
            }
        };
        Attempt::new(login.clone(), server, audience, client, scopes, redirect_uri.to_owned())
    }

    /// Ends a sign-in with the query of the request that the browser came back with: checks whose answer it is, exchanges the
    /// code, and keeps the tokens.
    ///
    /// # Errors
    /// It is not the answer, nothing was granted, or it could not be kept.
    pub async fn finish(&self, attempt: Attempt, query: &str) -> Result<SignedIn, LoginError> {
        let code = attempt.answer(query)?;
        let Attempt { login, server, audience, client, scopes, redirect_uri, verifier, .. } = attempt;
        let key = self.0.key(&client, &login).await?;
        let shown = Shown::Code { code: &code.0, redirect_uri: &redirect_uri, verifier: &verifier };
        let http = self.0.http()?;
        let grant =
            tokens::ask(http, &server.token, &server.issuer, &client, key.as_deref(), &audience, shown).await;
        let host = || super::address::host(&server.token);
        let grant = grant.map_err(|refusal| LoginError::Token { host: host(), why: refusal.why() })?;
        let seconds = grant.seconds;
        let now = now();
        let record = Record {
            resource: login.resource.as_str().to_owned(),
            audience,
            issuer: server.issuer,
            token_endpoint: server.token.into(),
            revocation_endpoint: server.revocation.map(Into::into),
            client,
            scopes: grant.scopes.unwrap_or(scopes),
            access: grant.access,
            refresh: grant.refresh,
            obtained: now,
            expires: seconds.map(|seconds| now.saturating_add(seconds)),
        };
        let _mine = self.0.lock(&login.server).await?;
        self.0.write(&login.server, &record)?;
        Ok(SignedIn { is_renewable: record.refresh.is_some(), scopes: record.scopes, seconds })
    }

    /// Forgets the login of `server`, every version of it, and has its tokens revoked where that is offered.
    ///
    /// # Errors
    /// Nobody is signed in, or the store cannot be written. What cannot be revoked is forgotten all the same.
    pub async fn forget(&self, server: &str, login: Option<&Login>) -> Result<Forgotten, LoginError> {
        let name = secret_of(server)?;
        let _mine = self.0.lock(server).await?;
        let stored = match self.0.store.peek(&name, None) {
            Ok(stored) => Record::read(&stored.value),
            Err(StoreError::Absent(_)) => return Err(LoginError::Missing(server.to_owned())),
            Err(error) => return Err(unkept(server, &error)),
        };
        let forgotten = match stored {
            Some(record) => self.0.revoke(&record, login).await,
            None => Forgotten::NotOffered,
        };
        self.0.store.remove(&name).map_err(|error| unkept(server, &error))?;
        Ok(forgotten)
    }

    /// The token to use for `login` now, renewed if it is due, or if it is the one that was `refused`.
    ///
    /// # Errors
    /// Nobody is signed in, the sign-in is over, or it cannot be renewed now.
    pub async fn bearer(&self, login: &Login, refused: Option<&Bearer>) -> Result<Bearer, LoginError> {
        let turn = {
            let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(login.server.clone()).or_default().clone()
        };
        let mut turn = turn.lock_owned().await;
        self.0.store.note_use(&login.secret()?);
        if let Some(bearer) = self.0.ready(login, &mut turn, refused)? {
            return Ok(bearer);
        }
        // A caller that goes away must not take a refresh token with it that is good once.
        let (inner, login, refused) = (self.0.clone(), login.clone(), refused.cloned());
        let server = login.server.clone();
        let renewing = tokio::spawn(async move { inner.renew(&login, &mut turn, refused.as_ref()).await });
        renewing.await.unwrap_or_else(|_| {
            Err(LoginError::NotRenewed { server, why: "the renewal was broken off".into() })
        })
    }

    /// Whether somebody is signed in for `login`, as far as can be said without asking anybody.
    ///
    /// # Errors
    /// Nobody is, or the sign-in is over.
    pub fn standing(&self, login: &Login) -> Result<(), LoginError> {
        let (_, record) = self.0.stored(login)?.ok_or_else(|| LoginError::Missing(login.server.clone()))?;
        fits(login, &record)?;
        if record.refresh.is_none() && record.is_over(now()) {
            let why = "its token is too old, and it has none to renew it with".into();
            return Err(LoginError::Ended { server: login.server.clone(), why });
        }
        Ok(())
    }

    /// A number that changes whenever a value of [`Logins::each`] does.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.seen.look(&self.0.store, self.0.vault.grace())
    }

    /// Shows everything that must be seen nowhere: tokens and client secrets of every login in the store, and of those
    /// replaced for as long as their grace lasts.
    pub fn each(&self, show: impl FnMut(&SecretName, &Secret)) {
        self.0.seen.each(show);
    }
}

impl Inner {
    pub(super) fn http(&self) -> Result<&reqwest::Client, LoginError> {
        let made =
            self.http.get_or_init(|| net::client_trusting(self.authorities.iter().map(PathBuf::as_path)));
        made.as_ref().map_err(|why| LoginError::Unreachable {
            what: "the authorization server",
            host: "any address".into(),
            why: why.clone(),
        })
    }

    pub(super) fn stored(&self, login: &Login) -> Result<Option<(u32, Record)>, LoginError> {
        match self.store.peek(&login.secret()?, None) {
            Ok(stored) => Ok(Record::read(&stored.value).map(|record| (stored.version, record))),
            Err(StoreError::Absent(_)) => Ok(None),
            Err(error) => Err(unkept(&login.server, &error)),
        }
    }

    pub(super) fn write(&self, server: &str, record: &Record) -> Result<(), LoginError> {
        let wrong = |why: &str| LoginError::Store { server: server.to_owned(), why: why.to_owned() };
        let value = record.write().map_err(wrong)?;
        self.store.set(&secret_of(server)?, &value).map_err(|error| unkept(server, &error))?;
        Ok(())
    }

    /// The client's secret, if it has one. One that was configured is sent only while it still is.
    pub(super) async fn key(
        &self,
        client: &Client,
        login: &Login,
    ) -> Result<Option<Arc<Secret>>, LoginError> {
        match &client.secret {
            None => Ok(None),
            Some((ClientSecret::Kept(secret), _)) => Ok(Some(secret.clone())),
            Some((ClientSecret::Named(name), proof)) if login.client.named(*proof) == Some(name) => {
                let held = self.vault.hold(name).await;
                let why = |error: crate::SecretError| LoginError::Store {
                    server: login.server.clone(),
                    why: error.to_string(),
                };
                held.map(|held| Some(held.shared())).map_err(why)
            }
            Some((ClientSecret::Named(_), _)) => Err(LoginError::ForAnother { server: login.server.clone() }),
        }
    }

    async fn revoke(&self, record: &Record, login: Option<&Login>) -> Forgotten {
        let Some(endpoint) = record.revocation_endpoint.as_deref().and_then(|url| Url::parse(url).ok())
        else {
            return Forgotten::NotOffered;
        };
        let key = match (&record.client.secret, login) {
            (None, _) => Ok(None),
            (Some((ClientSecret::Kept(secret), _)), _) => Ok(Some(secret.clone())),
            (Some(_), Some(login)) => self.key(&record.client, login).await,
            (Some(_), None) => return Forgotten::NotRevoked("its client's secret is not configured".into()),
        };
        let outcome = match (key, self.http()) {
            (Ok(key), Ok(http)) => {
                // RFC 7009 §2.1: with the refresh token its access tokens should go too; where they do not, they end soon.
                let token = match &record.refresh {
                    Some(refresh) => (&**refresh, "refresh_token"),
                    None => (&*record.access, "access_token"),
                };
                tokens::revoke(http, &endpoint, &record.issuer, &record.client, key.as_deref(), token).await
            }
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        };
        outcome.map_or_else(Forgotten::NotRevoked, |()| Forgotten::Revoked)
    }

    /// The turn among all processes with this store.
    pub(super) async fn lock(&self, server: &str) -> Result<std::fs::File, LoginError> {
        let path = self.folder.join(format!("{}.lock", secret_of(server)?));
        let end = Instant::now() + Duration::from_secs(LOCK_SECONDS_MAX);
        loop {
            let locked = disk::try_lock(&path)
                .map_err(|error| LoginError::Store { server: server.to_owned(), why: error.to_string() })?;
            match locked {
                Some(file) => return Ok(file),
                None if Instant::now() < end => tokio::time::sleep(Duration::from_millis(LOCK_LOOK_MS)).await,
                None => {
                    let why = "another process has been renewing it for too long".into();
                    return Err(LoginError::NotRenewed { server: server.to_owned(), why });
                }
            }
        }
    }
}

pub(super) fn unkept(server: &str, error: &StoreError) -> LoginError {
    LoginError::Store { server: server.to_owned(), why: error.to_string() }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
