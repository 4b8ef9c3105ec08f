//! `[approvals]`: over which channels people and workflows may grant, and who is told of questions.
//! Nothing here connects to anything, and nothing here grants.

use serde::{Deserialize, Serialize};

/// Most issuers and most webhooks.
const EACH_MAX: usize = 32;

/// `[approvals]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Approvals {
    /// Whether processes of the gate's own user may grant and widen, as `bailiwick approvals` does. Turn it off where agents run
    /// as that user outside a sandbox: then only people with a passkey, webhooks and tokens can.
    pub terminal: bool,
    /// What Claude Code is told of a call that needs approval.
    pub on_ask: OnAsk,
    /// Whether MCP clients are asked about small things on their own screen. Where the agent is the client, the agent answers.
    pub elicit: bool,
    /// Whose tokens count as approval.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuer: Vec<Issuer>,
    /// Who is told of questions, and may answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook: Vec<Webhook>,
}

/// What Claude Code is told of a call that needs approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnAsk {
    /// Nothing until somebody answered: the call waits.
    #[default]
    Hold,
    /// To end its run; it asks again when it is resumed (headless runs of one call a turn only).
    Defer,
}

/// Somebody who signs grants beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The name that records show.
    pub name: String,
    /// Their public key: Ed25519, 32 bytes in base64.
    pub key: String,
}

/// Somewhere questions are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The name that records show.
    pub name: String,
    /// Where to: `https`, or `http` to this machine.
    pub url: String,
    /// The secret both sides sign with.
    pub secret: String,
    /// Whether answers that come back signed with it count.
    #[serde(default)]
    pub answers: bool,
}

impl Default for Approvals {
    fn default() -> Self {
        Self {
            terminal: true,
            on_ask: OnAsk::default(),
            elicit: false,
            issuer: Vec::new(),
            webhook: Vec::new(),
        }
    }
}

impl Approvals {
    /// Whether it is as if nothing were said.
    pub fn is_standing(&self) -> bool {
        *self == Self::default()
    }

    /// Checks what can be checked without connecting.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.issuer.len() > EACH_MAX || self.webhook.len() > EACH_MAX {
            return Err(format!("more than {EACH_MAX} issuers or webhooks"));
        }
        let names = self.issuer.iter().map(|issuer| &issuer.name);
        let mut names: Vec<&String> = names.chain(self.webhook.iter().map(|hook| &hook.name)).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("`{}` is named twice", twice[0]));
        }
        if names.first().is_some_and(|name| name.is_empty()) {
            return Err("a `name` is empty".to_owned());
        }
        for issuer in &self.issuer {
            crate::tokens::PublicKey::read(&issuer.key)
                .map_err(|why| format!("issuer `{}`: {why}", issuer.name))?;
        }
        for webhook in &self.webhook {
            let wrong = |why: String| format!("webhook `{}`: {why}", webhook.name);
            super::callable(&webhook.url).map_err(wrong)?;
            vault::SecretName::new(&webhook.secret)
                .map_err(|error| format!("webhook `{}`: `secret`: {error}", webhook.name))?;
        }
        Ok(())
    }
}
