//! GitHub App installation tokens: a signed JWT is exchanged for a token that reaches only the named repositories with
//! the named permissions. The app's key signs here and is never sent.

use super::{Coin, until};
use crate::jwt;
use crate::net;
use crate::secret::Secret;
use crate::source::Origin;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far the JWT is dated back for clocks that differ, and how long it is good for, in seconds; GitHub takes 600.
const JWT_BACK_SECONDS: u64 = 60;
const JWT_SECONDS: u64 = 540;

/// An installation of a GitHub App, and how much of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHubApp {
    /// Such as `https://api.github.com`.
    pub api: String,
    /// The app's client id (or its number).
    pub app: String,
    /// The number of the installation.
    pub installation: u64,
    /// The app's private key, PEM.
    pub key: Origin,
    /// Names of the only repositories wanted; none means all that are installed.
    pub repositories: Vec<String>,
    /// The only permissions wanted, such as `("contents", "read")`; none means all that are installed.
    pub permissions: Vec<(String, String)>,
}

impl GitHubApp {
    pub(super) async fn mint(
        &self,
        http: &reqwest::Client,
        key: &Secret,
        now: SystemTime,
    ) -> Result<Coin, String> {
        let jwt = self.jwt(key, now)?;
        let mut body = serde_json::Map::new();
        if !self.repositories.is_empty() {
            body.insert("repositories".into(), json!(self.repositories));
        }
        if !self.permissions.is_empty() {
            let permissions: serde_json::Map<String, Value> =
                self.permissions.iter().map(|(what, right)| (what.clone(), json!(right))).collect();
            body.insert("permissions".into(), Value::Object(permissions));
        }
        let url = format!("{}/app/installations/{}/access_tokens", net::base(&self.api)?, self.installation);
        let request = http
            .post(url)
            .bearer_auth(jwt)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .header("content-type", "application/json")
            .body(Value::Object(body).to_string());
        let answer = net::ask(request).await?;
        if answer.status.as_u16() != 201 {
            return Err(format!("status {}", answer.status.as_u16()));
        }
        let mut json = answer.json()?;
        let Some(Value::String(token)) = json.get_mut("token").map(Value::take) else {
            return Err("its answer holds no token".into());
        };
        let secret = Secret::new(token.into_bytes()).map_err(|error| error.to_string())?;
        let lifetime = json["expires_at"].as_str().and_then(|time| until(time, now));
        Ok(Coin { secret, lifetime, successor: None })
    }

    fn jwt(&self, key: &Secret, now: SystemTime) -> Result<String, String> {
        let key = jwt::Key::read(key).ok().filter(|key| matches!(key, jwt::Key::Rsa(_)));
        let key = key.ok_or("its key is not an RSA private key in PEM")?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = json!({
            "iat": now.saturating_sub(JWT_BACK_SECONDS),
            "exp": now + JWT_SECONDS,
            "iss": self.app,
        });
        Ok(key.sign(&claims)?)
    }
}
