//! A login as it lies in the store, as one value: either all of it is kept or nothing. Lines of a word and a text, written and
//! read without copies that nobody wipes.

use super::client::{Client, ClientSecret, Proof};
use super::tokens::Grant;
use crate::mint::ClientAuth;
use crate::name::SecretName;
use crate::secret::Secret;
use std::sync::Arc;
use zeroize::Zeroizing;

const FIRST_LINE: &str = "bailiwick login 1";
/// A token is renewed when this part of its life is over, in percent …
const RENEW_PERCENT: u64 = 80;
/// … or this long before its end, whichever is earlier and it lives twice as long at least, in seconds.
const RENEW_SECONDS: u64 = 60;

/// A login: tokens, and what is needed to renew and revoke them.
#[derive(Clone)]
pub(super) struct Record {
    /// The server it is for, as configured when somebody signed in.
    pub(super) resource: String,
    /// What the authorization server knows that server by.
    pub(super) audience: String,
    pub(super) issuer: String,
    pub(super) token_endpoint: String,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) client: Client,
    pub(super) scopes: Vec<String>,
    pub(super) access: Arc<Secret>,
    pub(super) refresh: Option<Arc<Secret>>,
    /// When the access token was given and when it ends, in seconds since 1970.
    pub(super) obtained: u64,
    pub(super) expires: Option<u64>,
}

impl Record {
    /// The same login with fresh tokens. A server that gives no new refresh token means the old one to be kept.
    pub(super) fn renewed(&self, grant: Grant, now: u64) -> Self {
        Self {
            scopes: grant.scopes.unwrap_or_else(|| self.scopes.clone()),
            access: grant.access,
            refresh: grant.refresh.or_else(|| self.refresh.clone()),
            obtained: now,
            expires: grant.seconds.map(|seconds| now.saturating_add(seconds)),
            ..self.clone()
        }
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Whether it should be renewed before it is used.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| {
            let life = expires.saturating_sub(self.obtained);
            let part = life * RENEW_PERCENT / 100;
            let after = if life > RENEW_SECONDS * 2 { part.min(life - RENEW_SECONDS) } else { part };
            now >= self.obtained.saturating_add(after)
        })
    }

    /// Everything in it that must be seen nowhere.
    pub(super) fn secrets(&self) -> Vec<Arc<Secret>> {
        let kept = match &self.client.secret {
            Some((ClientSecret::Kept(secret), _)) => Some(secret.clone()),
            _ => None,
        };
        [Some(self.access.clone()), self.refresh.clone(), kept].into_iter().flatten().collect()
    }

    pub(super) fn write(&self) -> Result<Secret, &'static str> {
        let mut lines = Lines(Zeroizing::new(Vec::with_capacity(crate::secret::SECRET_BYTES_MAX)));
        lines.0.extend_from_slice(FIRST_LINE.as_bytes());
        lines.0.push(b'\n');
        lines.text("resource", &self.resource)?;
        lines.text("audience", &self.audience)?;
        lines.text("issuer", &self.issuer)?;
        lines.text("token-endpoint", &self.token_endpoint)?;
        if let Some(endpoint) = &self.revocation_endpoint {
            lines.text("revocation-endpoint", endpoint)?;
        }
        lines.text("client", &self.client.id)?;
        if let Some((secret, auth)) = &self.client.secret {
            let auth = match auth {
                Proof::Shown(ClientAuth::Basic) => "basic",
                Proof::Shown(ClientAuth::Post) => "post",
                Proof::Signed => "signed",
            };
            lines.text("client-auth", auth)?;
            match secret {
                ClientSecret::Kept(secret) => secret.expose(|secret| lines.bytes("client-secret", secret))?,
                ClientSecret::Named(name) => lines.text("client-secret-name", name.as_str())?,
            }
        }
        if !self.scopes.is_empty() {
            lines.text("scopes", &self.scopes.join(" "))?;
        }
        self.access.expose(|token| lines.bytes("access-token", token))?;
        if let Some(refresh) = &self.refresh {
            refresh.expose(|token| lines.bytes("refresh-token", token))?;
        }
        lines.text("obtained", &self.obtained.to_string())?;
        if let Some(expires) = self.expires {
            lines.text("expires", &expires.to_string())?;
        }
        Secret::copy_of(&lines.0).map_err(|_| "it is too long to be kept")
    }

    /// Reads what [`Record::write`] wrote; anything else is nothing.
    pub(super) fn read(value: &Secret) -> Option<Self> {
        value.expose(|bytes| {
            let text = std::str::from_utf8(bytes).ok()?;
            let mut lines = text.split_terminator('\n');
            if lines.next()? != FIRST_LINE {
                return None;
            }
            let all: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ')).collect::<Option<_>>()?;
            let find = |name: &str| all.iter().find(|(word, _)| *word == name).map(|(_, text)| *text);
            let owned = |name: &str| find(name).map(str::to_owned);
            let secret = |name: &str| {
                find(name).map(|text| Secret::copy_of(text.as_bytes()).map(Arc::new)).transpose().ok()
            };
            let auth = match find("client-auth") {
                None => None,
                Some("basic") => Some(Proof::Shown(ClientAuth::Basic)),
                Some("post") => Some(Proof::Shown(ClientAuth::Post)),
                Some("signed") => Some(Proof::Signed),
                Some(_) => return None,
            };
            let client_secret = match (auth, secret("client-secret")?, find("client-secret-name")) {
                (None, None, None) => None,
                (Some(auth), Some(secret), None) => Some((ClientSecret::Kept(secret), auth)),
                (Some(auth), None, Some(name)) => {
                    Some((ClientSecret::Named(SecretName::new(name).ok()?), auth))
                }
                _ => return None,
            };
            Some(Self {
                resource: owned("resource")?,
                audience: owned("audience")?,
                issuer: owned("issuer")?,
                token_endpoint: owned("token-endpoint")?,
                revocation_endpoint: owned("revocation-endpoint"),
                client: Client { id: owned("client")?, secret: client_secret },
                scopes: find("scopes")
                    .map(|all| all.split(' ').map(str::to_owned).collect())
                    .unwrap_or_default(),
                access: secret("access-token")??,
                refresh: secret("refresh-token")?,
                obtained: find("obtained")?.parse().ok()?,
                expires: find("expires").map(str::parse).transpose().ok()?,
            })
        })
    }
}

struct Lines(Zeroizing<Vec<u8>>);

impl Lines {
    fn text(&mut self, name: &str, text: &str) -> Result<(), &'static str> {
        self.bytes(name, text.as_bytes())
    }

    fn bytes(&mut self, name: &str, value: &[u8]) -> Result<(), &'static str> {
        if value.is_empty() || value.contains(&b'\n') {
            return Err("a part of it is empty or holds a line break");
        }
        if self.0.len() + name.len() + value.len() + 2 > self.0.capacity() {
            return Err("it is too long to be kept");
        }
        for part in [name.as_bytes(), b" ", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::tests::ground::record;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let kept = Arc::new(Secret::copy_of(b"a kept secret").unwrap());
        let named = ClientSecret::Named(SecretName::new("app").unwrap());
        let plain = record(7, Some(60));
        for written in [
            plain.clone(),
            Record { refresh: None, expires: None, scopes: Vec::new(), ..plain.clone() },
            Record {
                revocation_endpoint: Some("https://as.example/revoke".into()),
                client: Client {
                    id: "c".into(),
                    secret: Some((ClientSecret::Kept(kept), Proof::Shown(ClientAuth::Post))),
                },
                ..plain.clone()
            },
            Record {
                client: Client {
                    id: "c".into(),
                    secret: Some((named.clone(), Proof::Shown(ClientAuth::Basic))),
                },
                ..plain.clone()
            },
            Record { client: Client { id: "c".into(), secret: Some((named, Proof::Signed)) }, ..plain },
        ] {
            let value = written.write().unwrap();
            let read = Record::read(&value).expect("what was written is read");
            assert_eq!(read.write().unwrap().expose(<[u8]>::to_vec), value.expose(<[u8]>::to_vec));
            let cut = |from: &str, to: &str| {
                value.expose(|bytes| {
                    let text = String::from_utf8(bytes.to_vec()).unwrap().replace(from, to);
                    Record::read(&Secret::copy_of(text.as_bytes()).unwrap()).is_some()
                })
            };
            assert!(cut("scopes a b\n", "scopes a\n"));
            for (from, to) in [
                ("login 1", "login 2"),
                ("access-token access-0\n", ""),
                ("resource https://mcp.example/mcp\n", ""),
                ("obtained 7", "obtained x"),
                ("client c\n", "client\n"),
            ] {
                let whole = value.expose(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
                assert!(!whole.contains(from) || !cut(from, to), "{from:?} to {to:?}");
            }
        }
        assert!(Record { audience: "two\nlines".into(), ..record(7, None) }.write().is_err());
        assert!(Record::read(&Secret::copy_of(b"a token somebody set by hand").unwrap()).is_none());
    }

    #[test]
    fn a_token_is_due_at_80_percent_or_a_minute_before() {
        for (life, due) in [(1000, 800), (3600, 2880), (300, 240), (200, 140), (121, 61), (100, 80), (10, 8)]
        {
            let record = record(5, Some(life));
            assert!(record.is_due(5 + due) && !record.is_due(5 + due - 1), "{life}");
            assert!(record.is_over(5 + life) && !record.is_over(5 + life - 1), "{life}");
        }
        assert!(!record(5, None).is_due(u64::MAX) && !record(5, None).is_over(u64::MAX));
        assert!(record(5, Some(0)).is_due(5) && record(5, Some(u64::MAX - 5)).expires.is_some());
    }

    #[test]
    fn a_renewal_without_a_refresh_token_keeps_the_old_one() {
        let text = |secret: &Option<Arc<Secret>>| secret.as_ref().map(|it| it.expose(<[u8]>::to_vec));
        let access = Arc::new(Secret::copy_of(b"access-1").unwrap());
        let grant = |refresh: Option<&[u8]>| Grant {
            access: access.clone(),
            refresh: refresh.map(|it| Arc::new(Secret::copy_of(it).unwrap())),
            seconds: Some(9),
            scopes: None,
        };
        let kept = record(5, None).renewed(grant(None), 100);
        assert_eq!((text(&kept.refresh), kept.expires), (Some(b"refresh-0".to_vec()), Some(109)));
        let rotated = record(5, None).renewed(grant(Some(b"refresh-1")), 100);
        assert_eq!(text(&rotated.refresh), Some(b"refresh-1".to_vec()));
    }
}
