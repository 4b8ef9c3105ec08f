//! Grants that an operator signed beforehand, for workflows nobody watches: `bwg1.PAYLOAD.SIGNATURE`, both base64url, the payload
//! JSON, the signature Ed25519 (RFC 8032) over `bwg1.PAYLOAD`. Verified with a public key alone; a token is taken in once, and
//! what it grants is bounded like any grant that stands.

use crate::approvers::{Basis, By, NoGrant};
use crate::clock;
use crate::config::approvals::Issuer;
use crate::gate::Gate;
use crate::wire::approval::{Scope, Standing};
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use judge::approval::scope::{SECONDS_MAX, USES_MAX};
use serde::{Deserialize, Serialize};

/// What every token begins with: its kind and version.
const VERSION: &str = "bwg1";
/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How far ahead an issuer's clock may be, in seconds.
pub(crate) const SKEW_SECONDS_MAX: i64 = 300;
const KEY_BYTES: usize = 32;

/// What an issuer signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Names the grant everywhere.
    pub id: String,
    /// Who issued it, by the name the gate knows them by.
    pub issuer: String,
    /// When, in seconds since 1970.
    pub issued_at: i64,
    /// How often it may be used.
    pub uses: u32,
    /// What it covers.
    pub scope: Scope,
}

/// Why a token is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    /// It is none.
    #[error("this is no grant token; one begins with `{VERSION}.` and has three parts")]
    Form,
    /// Signed by nobody whose tokens count.
    #[error("its signature is not `{0}`'s, or nobody of that name is an [[approvals.issuer]]")]
    Signature(String),
    /// Its time has not come or is over, or it asks for more than can be granted.
    #[error("{0}")]
    Bounds(String),
    /// It could not be recorded or kept.
    #[error(transparent)]
    NoGrant(#[from] NoGrant),
}

/// An issuer's public key.
#[derive(Debug)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// Reads 32 bytes in base64.
    ///
    /// # Errors
    /// In words.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`key` is no Ed25519 public key: {KEY_BYTES} bytes in base64");
        let bytes = STANDARD.decode(text.trim()).map_err(|_| wrong())?;
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

/// An issuer's private key. It is on the operator's side only; no gate needs it.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new key, and the PKCS #8 document (RFC 8410) to keep.
    ///
    /// # Errors
    /// The system's generator fails, in words.
    pub fn generate() -> Result<(Self, Vec<u8>), String> {
        let pair = Ed25519KeyPair::generate().map_err(|_| "no key could be made".to_owned())?;
        let kept = pair.to_pkcs8().map_err(|_| "the key could not be written".to_owned())?;
        Ok((Self(pair), kept.as_ref().to_vec()))
    }

    /// Reads a PKCS #8 document.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn read(kept: &[u8]) -> Result<Self, String> {
        Ed25519KeyPair::from_pkcs8(kept).map(Self).map_err(|_| "this is no Ed25519 key in PKCS #8".to_owned())
    }

    /// The public half in base64, as `[[approvals.issuer]]` wants it.
    pub fn public(&self) -> String {
        STANDARD.encode(self.0.public_key().as_ref())
    }

    /// Signs `token`.
    pub fn sign(&self, token: &Token) -> String {
        let payload = serde_json::to_vec(token).unwrap_or_default();
        let signed = format!("{VERSION}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

impl Token {
    /// A new one.
    pub fn new(issuer: String, uses: u32, scope: Scope) -> Self {
        Self { id: crate::random::name("k"), issuer, issued_at: clock::seconds(), uses, scope }
    }

    /// Reads a token that one of `issuers` signed.
    ///
    /// # Errors
    /// [`BadToken::Form`], [`BadToken::Signature`].
    pub fn verified(text: &str, issuers: &[Issuer]) -> Result<Self, BadToken> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(BadToken::Form);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(BadToken::Form)?;
        let (version, payload) = signed.split_once('.').ok_or(BadToken::Form)?;
        if version != VERSION {
            return Err(BadToken::Form);
        }
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken::Form);
        let (payload, signature) = (decoded(payload)?, decoded(signature)?);
        let token: Self = serde_json::from_slice(&payload).map_err(|_| BadToken::Form)?;
        let keys = issuers.iter().filter(|issuer| issuer.name == token.issuer);
        for key in keys.filter_map(|issuer| PublicKey::read(&issuer.key).ok()) {
            let key = UnparsedPublicKey::new(&signature::ED25519, key.0);
            if key.verify(signed.as_bytes(), &signature).is_ok() {
                return Ok(token);
            }
        }
        Err(BadToken::Signature(token.issuer.chars().take(64).collect()))
    }

    /// Checks what every gate checks of a token at `now`, whoever signed it.
    ///
    /// # Errors
    /// [`BadToken::Bounds`].
    pub fn check(&self, now: i64) -> Result<(), BadToken> {
        let wrong = |why: String| Err(BadToken::Bounds(why));
        let Self { id, issued_at, uses, scope, .. } = self;
        if !id.starts_with("k-")
            || id.len() > 64
            || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return wrong(format!("`{}` is no token's id", id.escape_debug()));
        }
        if *issued_at > now + SKEW_SECONDS_MAX {
            return wrong("it was issued in the future; look at both clocks".to_owned());
        }
        if scope.until <= now {
            return wrong("it has ended".to_owned());
        }
        if scope.until > issued_at.saturating_add(SECONDS_MAX) {
            return wrong(format!("it stands longer than {SECONDS_MAX} s"));
        }
        if !(1..=USES_MAX).contains(uses) {
            return wrong(format!("it is for {uses} uses; a grant is for 1 to {USES_MAX}"));
        }
        if !(1..=judge::approval::PEOPLE_MAX).contains(&scope.approvers) {
            return wrong(format!("{} people cannot have given it", scope.approvers));
        }
        scope.to_judge().map(|_| ()).or_else(|error| wrong(error.to_string()))
    }
}

impl Gate {
    /// Takes in a token. A second time it is the same grant, with what is left of it.
    ///
    /// # Errors
    /// [`BadToken`]; one that was not signed by an issuer leaves an alert.
    pub async fn redeem(&self, text: &str) -> Result<Standing, BadToken> {
        let text = text.trim();
        let token = Token::verified(text, &self.config.approvals.issuer).inspect_err(|error| {
            self.alarms.raise("grant-token-refused", &error.to_string());
        })?;
        let now = clock::seconds();
        token.check(now)?;
        let standing = Standing {
            id: token.id,
            state: "active".to_owned(),
            by: token.issuer,
            channel: "token".to_owned(),
            scope: token.scope,
            left: token.uses,
            given_at: now,
            used_at: now,
        };
        Ok(self.approvers.stand(standing, Basis::Token(text)).await?)
    }

    /// Makes sure that the token `id` is never taken in again, whether it was or not.
    ///
    /// # Errors
    /// [`NoGrant`].
    pub async fn revoke(&self, id: &str, by: By) -> Result<(), NoGrant> {
        let now = clock::seconds();
        let known = self.approvers.store().standing_of(id, now)?;
        if known.is_some() || !id.starts_with("k-") {
            return self.approvers.withdraw(id, by).await;
        }
        let scope = Scope {
            agent: String::new(),
            user: String::new(),
            tool: "/".to_owned(),
            definition: None,
            policy: None,
            phase: None,
            limits: std::collections::BTreeMap::new(),
            approvers: 1,
            // As long as any token that exists now could stand.
            until: now + SECONDS_MAX + SKEW_SECONDS_MAX,
            idle_seconds: None,
        };
        let tombstone = Standing {
            id: id.to_owned(),
            state: "withdrawn".to_owned(),
            by: by.who.name.clone(),
            channel: by.channel.to_owned(),
            scope,
            left: 0,
            given_at: now,
            used_at: now,
        };
        self.approvers.forestall(tombstone, by).await
    }
}
