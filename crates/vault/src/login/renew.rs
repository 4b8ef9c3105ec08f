//! Logins while they last: one renewal at a time, also between processes, and its outcome on disk before anybody uses it. A
//! refresh token may be good once only, so no crash and no caller that goes away may lose its successor.

use super::Login;
use super::client::ClientSecret;
use super::error::LoginError;
use super::keep::{Bearer, Inner, now, unkept};
use super::record::Record;
use super::tokens::{self, Refusal, Shown};
use crate::secret::Secret;
use reqwest::Url;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a renewal that failed for now is believed, in seconds.
const RETRY_SECONDS: u64 = 5;
/// How long a token that replaced a refused one must last before it may be replaced in turn, in seconds.
const REFUSED_AGAIN_SECONDS: u64 = 60;

/// What is known of one login by whoever has the turn.
#[derive(Default)]
pub(super) struct Turn {
    /// The state of the store that `record` was read from.
    mark: Option<u64>,
    record: Option<(u32, Arc<Record>)>,
    /// What was given and could not be written yet, with the version it replaces.
    unkept: Option<(u32, Arc<Record>)>,
    /// Why that version could not be renewed.
    failure: Option<(u32, Failure)>,
    /// When a token was last replaced because the server refused it.
    replaced: Option<Instant>,
}

#[derive(Clone)]
struct Failure {
    at: Instant,
    is_final: bool,
    why: String,
}

impl Inner {
    /// The token, if there is one to be used without asking anybody; an error if asking is of no use.
    pub(super) fn ready(
        &self,
        login: &Login,
        turn: &mut Turn,
        refused: Option<&Bearer>,
    ) -> Result<Option<Bearer>, LoginError> {
        if turn.unkept.is_some() {
            return Ok(None);
        }
        let mark = self.store.mark().map_err(|error| unkept(&login.server, &error))?;
        if turn.mark != Some(mark) {
            turn.record = self.stored(login)?.map(|(version, record)| (version, Arc::new(record)));
            turn.mark = Some(mark);
        }
        let Some((version, record)) = &turn.record else {
            return Err(LoginError::Missing(login.server.clone()));
        };
        let server = || login.server.clone();
        fits(login, record)?;
        let now = now();
        let is_refused = refused.is_some_and(|bearer| same(&bearer.0, &record.access));
        let usable = (!is_refused && !record.is_over(now)).then(|| Bearer(record.access.clone()));
        if usable.is_some() && !record.is_due(now) {
            return Ok(usable);
        }
        let ended = |why: &str| LoginError::Ended { server: server(), why: why.to_owned() };
        if record.refresh.is_none() {
            let why = if is_refused { "the server refuses its token" } else { "its token is too old" };
            return usable
                .map(Some)
                .ok_or_else(|| ended(&format!("{why}, and it has none to renew it with")));
        }
        let again = Duration::from_secs(REFUSED_AGAIN_SECONDS);
        if is_refused && turn.replaced.is_some_and(|at| at.elapsed() < again) {
            return Err(ended("the server refuses every token that is given for it"));
        }
        match &turn.failure {
            Some((of, Failure { is_final: true, why, .. })) if of == version => {
                usable.map(Some).ok_or_else(|| ended(why))
            }
            Some((of, Failure { at, why, .. }))
                if of == version && at.elapsed() < Duration::from_secs(RETRY_SECONDS) =>
            {
                let why = why.clone();
                usable.map(Some).ok_or_else(|| LoginError::NotRenewed { server: server(), why })
            }
            _ => Ok(None),
        }
    }

    /// Renews under the lock of all processes, unless another one just did.
    pub(super) async fn renew(
        &self,
        login: &Login,
        turn: &mut Turn,
        refused: Option<&Bearer>,
    ) -> Result<Bearer, LoginError> {
        let _mine = self.lock(&login.server).await?;
        self.write_down(login, turn)?;
        turn.mark = None;
        if let Some(bearer) = self.ready(login, turn, refused)? {
            return Ok(bearer);
        }
        let not_renewed = |why: String| LoginError::NotRenewed { server: login.server.clone(), why };
        let Some((version, record)) = turn.record.clone() else {
            return Err(LoginError::Missing(login.server.clone()));
        };
        let outcome = self.refresh(login, &record).await;
        match outcome {
            Ok(fresh) => {
                let fresh = Arc::new(fresh);
                self.seen.add(&login.secret()?, fresh.secrets());
                turn.unkept = Some((version, fresh.clone()));
                if refused.is_some() {
                    turn.replaced = Some(Instant::now());
                }
                // A short-lived one may be due again already, and is good all the same.
                if self.write_down(login, turn)? && !fresh.is_over(now()) {
                    return Ok(Bearer(fresh.access.clone()));
                }
            }
            Err(refusal) => {
                let is_final = matches!(refusal, Refusal::Final(_));
                turn.failure = Some((version, Failure { at: Instant::now(), is_final, why: refusal.why() }));
            }
        }
        self.ready(login, turn, refused)?
            .ok_or_else(|| not_renewed("its new token is too old already".into()))
    }

    async fn refresh(&self, login: &Login, record: &Record) -> Result<Record, Refusal> {
        let passing = |error: LoginError| Refusal::Passing(error.to_string());
        let endpoint = Url::parse(&record.token_endpoint)
            .map_err(|_| Refusal::Final("it names no token endpoint".into()))?;
        let refresh =
            record.refresh.as_ref().ok_or_else(|| Refusal::Final("it has no refresh token".into()))?;
        let key = self.key(&record.client, login).await.map_err(passing)?;
        let http = self.http().map_err(passing)?;
        let shown = Shown::Refresh(refresh);
        let grant = tokens::ask(
            http,
            &endpoint,
            &record.issuer,
            &record.client,
            key.as_deref(),
            &record.audience,
            shown,
        )
        .await?;
        Ok(record.renewed(grant, now()))
    }

    /// Writes what was given and is not on disk yet; until that succeeded nobody gets it. Says whether it was written.
    fn write_down(&self, login: &Login, turn: &mut Turn) -> Result<bool, LoginError> {
        let Some((replaced, record)) = turn.unkept.clone() else { return Ok(false) };
        // Where somebody signed in or out meanwhile, theirs counts.
        let is_ours = self.stored(login)?.is_some_and(|(version, _)| version == replaced);
        if is_ours {
            self.write(&login.server, &record)?;
        }
        turn.unkept = None;
        turn.mark = None;
        Ok(is_ours)
    }
}

/// A login is used for the server, the authorization server and the client that it was made for, whatever the configuration says
/// by now.
pub(super) fn fits(login: &Login, record: &Record) -> Result<(), LoginError> {
    let other_server = record.resource != login.resource.as_str();
    let other_issuer = login.issuer.as_ref().is_some_and(|issuer| *issuer != record.issuer);
    let other_client = match &record.client.secret {
        Some((ClientSecret::Named(name), proof)) => login.client.named(*proof) != Some(name),
        Some((ClientSecret::Kept(_), _)) | None => false,
    };
    if other_server || other_issuer || other_client {
        return Err(LoginError::ForAnother { server: login.server.clone() });
    }
    Ok(())
}

fn same(one: &Secret, two: &Secret) -> bool {
    one.expose(|one| two.expose(|two| one == two))
}
