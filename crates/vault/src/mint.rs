//! Short-lived credentials, made by an issuer when they are needed. What they are made from never leaves this crate
//! except to that issuer.

mod aws;
mod github;
mod oauth;

pub use aws::AssumeRole;
pub use github::GitHubApp;
pub(crate) use oauth::basic;
pub use oauth::{ClientAuth, OAuth, OAuthClient, OAuthGrant, TokenType};

use crate::net;
use crate::secret::Secret;
use crate::source::Origin;
use std::time::{Duration, SystemTime};

/// Who makes a credential, and how narrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// An OAuth 2.0 token endpoint: client credentials, token exchange or refresh.
    OAuth(OAuth),
    /// GitHub, for an installation of an app.
    GitHubApp(GitHubApp),
    /// AWS STS, for a role with a session policy.
    AssumeRole(AssumeRole),
}

/// A credential fresh from its issuer.
pub(crate) struct Coin {
    pub(crate) secret: Secret,
    /// How long it is good for.
    pub(crate) lifetime: Option<Duration>,
    /// What the issuer wants to be asked with next time, instead of what it was asked with now.
    pub(crate) successor: Option<Secret>,
}

impl Issuer {
    /// What must be known to ask it, in the order in which [`Issuer::mint`] takes the values.
    pub(crate) fn origins(&self) -> Vec<&Origin> {
        match self {
            Self::OAuth(oauth) => oauth.origins(),
            Self::GitHubApp(app) => vec![&app.key],
            Self::AssumeRole(role) => vec![&role.credentials],
        }
    }

    /// What is replaced by [`Coin::successor`].
    pub(crate) fn succeeded(&self) -> Option<&Origin> {
        match self {
            Self::OAuth(OAuth { grant: OAuthGrant::Refresh { token }, .. }) => Some(token),
            Self::OAuth(_) | Self::GitHubApp(_) | Self::AssumeRole(_) => None,
        }
    }

    /// A kind and a host, for messages.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::OAuth(oauth) => format!("the token endpoint at {}", net::host(&oauth.endpoint)),
            Self::GitHubApp(app) => format!("GitHub at {}", net::host(&app.api)),
            Self::AssumeRole(role) => format!("AWS STS at {}", net::host(&role.endpoint)),
        }
    }

    /// Asks for a credential. Errors are free of anything that was sent or answered.
    pub(crate) async fn mint(
        &self,
        http: &reqwest::Client,
        values: &[&Secret],
        now: SystemTime,
    ) -> Result<Coin, String> {
        match (self, values) {
            (Self::OAuth(oauth), values) => oauth.mint(http, values).await,
            (Self::GitHubApp(app), [key]) => app.mint(http, key, now).await,
            (Self::AssumeRole(role), [pair]) => role.mint(http, pair, now).await,
            _ => Err("not everything it needs is there".into()),
        }
    }
}

/// How long from `now` until the RFC 3339 time `text`.
fn until(text: &str, now: SystemTime) -> Option<Duration> {
    let then: jiff::Timestamp = text.parse().ok()?;
    SystemTime::from(then).duration_since(now).ok()
}

#[cfg(test)]
mod tests;
