//! What a passkey signs when it answers an approval, and whether a recorded signature holds. A grant is for exactly these words.
//! Nothing here grants.

use super::unhex;
use super::webauthn::{self, Used};
use crate::wire::approval::Wanted;
use crate::wire::record::Signed;
use aws_lc_rs::digest::{Context, SHA256};

/// What is signed begins with this, so that it is never anything else.
const SIGNED: &str = "bailiwick console answer v1";
const ONCE: &str = "grant once";
const MORE: &str = "grant more ";

/// What a person says yes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Yes {
    /// This call, once.
    Once,
    /// This call, and more like it.
    More(Wanted),
}

impl Yes {
    /// The words that are signed. Different grants have different words.
    pub fn words(&self) -> String {
        match self {
            Yes::Once => ONCE.to_owned(),
            Yes::More(wanted) => format!("{MORE}{}", serde_json::to_string(wanted).unwrap_or_default()),
        }
    }

    /// What these words grant; nothing for other words.
    pub fn read(words: &str) -> Option<Self> {
        let yes = match words.strip_prefix(MORE) {
            Some(wanted) => Yes::More(serde_json::from_str(wanted).ok()?),
            None => Yes::Once,
        };
        // One spelling only.
        (yes.words() == words).then_some(yes)
    }
}

/// The challenge of an answer: every part with its length before it, so that no two answers ever look alike.
pub fn challenge(nonce: &[u8], approval: &str, request: &str, words: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [SIGNED.as_bytes(), nonce, approval.as_bytes(), request.as_bytes(), words.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

impl Signed {
    /// Whether the holder of `key`, a COSE_Key, signed this answer to this request.
    pub fn holds(&self, key: &[u8]) -> bool {
        let Some((nonce, (data, signature))) =
            unhex(&self.nonce).zip(unhex(&self.authenticator_data).zip(unhex(&self.signature)))
        else {
            return false;
        };
        let challenge = challenge(&nonce, &self.approval, &self.request, &self.answer);
        let used = Used {
            client_data: self.client_data.as_bytes(),
            authenticator_data: &data,
            signature: &signature,
        };
        webauthn::signed(&challenge, key, used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_answer_is_bound() {
        let one = challenge(&[1; 32], "a-1", "digest", "grant once");
        assert_eq!(one, challenge(&[1; 32], "a-1", "digest", "grant once"));
        for other in [
            challenge(&[2; 32], "a-1", "digest", "grant once"),
            challenge(&[1; 32], "a-2", "digest", "grant once"),
            challenge(&[1; 32], "a-1", "digesT", "grant once"),
            challenge(&[1; 32], "a-1", "digest", "grant twice"),
            challenge(&[1; 32], "a-1d", "igest", "grant once"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn words_are_read_as_they_are_written_and_no_other_way() {
        let more = Yes::More(Wanted {
            uses: 2,
            seconds: 60,
            idle_seconds: None,
            same_phase: true,
            limits: std::collections::BTreeMap::new(),
        });
        for yes in [Yes::Once, more] {
            assert_eq!(Yes::read(&yes.words()), Some(yes));
        }
        for words in
            ["", "grant", "grant twice", "refuse", r#"grant more {"seconds":60,"uses":2}"#, "grant more {}"]
        {
            assert_eq!(Yes::read(words), None, "{words}");
        }
    }
}
