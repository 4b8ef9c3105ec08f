//! One sign-in, between the address that a person opens and the answer that the browser brings back: PKCE (RFC 7636), `state`,
//! `iss` (RFC 9207), `resource` (RFC 8707). Pure; what does not prove whose answer it is, is not looked at further.

use super::Login;
use super::address::shown;
use super::client::Client;
use super::error::LoginError;
use super::metadata::ServerMetadata;
use crate::encode::unpercent;
use crate::net;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use zeroize::Zeroizing;

/// How much chance is in `state` and in the verifier, in bytes.
const RANDOM_BYTES: usize = 32;
/// Longest answer of a browser, in bytes.
const ANSWER_BYTES_MAX: usize = 8 * 1024;
/// Longest words of a refusal that are shown, in bytes.
const WORDS_BYTES_MAX: usize = 200;

/// A sign-in under way. It exists in memory only, and is good for one answer.
pub struct Attempt {
    pub(super) login: Login,
    pub(super) server: ServerMetadata,
    /// What the authorization server knows the resource by.
    pub(super) audience: String,
    pub(super) client: Client,
    pub(super) scopes: Vec<String>,
    pub(super) redirect_uri: String,
    pub(super) verifier: Zeroizing<String>,
    state: String,
}

/// What an authorization server gave for the person's consent. Good once.
pub(super) struct Code(pub(super) Zeroizing<String>);

impl Attempt {
    pub(super) fn new(
        login: Login,
        server: ServerMetadata,
        audience: String,
        client: Client,
        scopes: Vec<String>,
        redirect_uri: String,
    ) -> Result<Self, LoginError> {
        let no_random = |_| LoginError::Answer("the system gives no random numbers");
        let (state, verifier) = (random().map_err(no_random)?, random().map_err(no_random)?);
        let state = state.to_string();
        Ok(Self { login, server, audience, client, scopes, redirect_uri, verifier, state })
    }

    /// The address that a person must open in a browser.
    #[must_use]
    pub fn address(&self) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()));
        let mut url: Url = self.server.authorization.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("state", &self.state)
            .append_pair("resource", &self.audience);
        if !self.scopes.is_empty() {
            query.append_pair("scope", &self.scopes.join(" "));
        }
        drop(query);
        url.into()
    }

    /// Takes the query of the request that the browser was sent back with. First whose answer it is, then what it says: an
    /// error from somebody else is not even shown.
    pub(super) fn answer(&self, query: &str) -> Result<Code, LoginError> {
        if query.len() > ANSWER_BYTES_MAX {
            return Err(LoginError::Answer("it is too long"));
        }
        let mut answer = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            answer.take(name, value)?;
        }
        let state = answer.state.ok_or(LoginError::Answer("it has no `state`"))?;
        verify_slices_are_equal(state.as_bytes(), self.state.as_bytes()).map_err(|_| LoginError::State)?;
        let expected = &self.server.issuer;
        let mixed = |why| LoginError::MixUp { expected: expected.clone(), why };
        match answer.iss {
            Some(iss) if *iss != *expected => return Err(mixed("wrong")),
            None if self.server.says_iss => return Err(mixed("no")),
            _ => {}
        }
        if let Some(error) = answer.error {
            let description = answer.description.filter(|words| is_plain(words));
            return Err(LoginError::Refused {
                code: net::code(Some(&error)).to_owned(),
                description: description.map(|words| format!(": {}", *words)).unwrap_or_default(),
            });
        }
        match answer.code {
            Some(code) if code.bytes().all(|byte| (0x20..=0x7E).contains(&byte)) && !code.is_empty() => {
                Ok(Code(code))
            }
            _ => Err(LoginError::Answer("it has neither a code nor an error")),
        }
    }

    /// Where it leads, for the person.
    #[must_use]
    pub fn issuer(&self) -> String {
        shown(&self.server.issuer)
    }

    /// What is asked for; empty when that is left to the authorization server.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

#[derive(Default)]
struct Parameters {
    code: Option<Zeroizing<String>>,
    state: Option<Zeroizing<String>>,
    iss: Option<Zeroizing<String>>,
    error: Option<Zeroizing<String>>,
    description: Option<Zeroizing<String>>,
}

impl Parameters {
    fn take(&mut self, name: &str, value: &str) -> Result<(), LoginError> {
        let slot = match name {
            "code" => &mut self.code,
            "state" => &mut self.state,
            "iss" => &mut self.iss,
            "error" => &mut self.error,
            "error_description" => &mut self.description,
            _ => return Ok(()),
        };
        let spaced = Zeroizing::new(value.replace('+', " "));
        let bytes = unpercent(spaced.as_bytes());
        let text = std::str::from_utf8(&bytes).map_err(|_| LoginError::Answer("it is not text"))?;
        // Two of a kind could be read differently by two readers (RFC 6749 §3.1).
        if slot.replace(Zeroizing::new(text.to_owned())).is_some() {
            return Err(LoginError::Answer("it says something twice"));
        }
        Ok(())
    }
}

/// Whether words may be shown: short, and of the characters that RFC 6749 §4.1.2.1 allows there.
fn is_plain(words: &str) -> bool {
    words.len() <= WORDS_BYTES_MAX
        && words.bytes().all(|byte| (0x20..=0x7E).contains(&byte) && byte != b'"' && byte != b'\\')
}

fn random() -> Result<Zeroizing<String>, aws_lc_rs::error::Unspecified> {
    let mut bytes = Zeroizing::new([0_u8; RANDOM_BYTES]);
    aws_lc_rs::rand::fill(&mut *bytes)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::tests::ground::attempt;

    #[test]
    fn the_address_carries_what_the_specification_wants_and_no_verifier() {
        let attempt = attempt(false);
        let address = attempt.address();
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, attempt.verifier.as_bytes()));
        let state = &attempt.state;
        assert_eq!(
            address,
            format!(
                "https://as.example/authorize?tenant=1&response_type=code&client_id=my+client\
                 &redirect_uri=http%3A%2F%2F127.0.0.1%3A7%2Fcallback&code_challenge={challenge}&code_challenge_method=S256\
                 &state={state}&resource=https%3A%2F%2Fmcp.example&scope=a+b"
            )
        );
        assert!(!address.contains(attempt.verifier.as_str()));
        assert_eq!((attempt.verifier.len(), state.len()), (43, 43));
        assert_ne!(super::random().unwrap(), super::random().unwrap());
    }

    #[test]
    fn an_answer_proves_whose_it_is_before_it_is_believed() {
        let iss = "iss=https%3A%2F%2Fas.example";
        for (says_iss, query, want) in [
            (false, "code=abc%2Fd&state=STATE", Ok("abc/d")),
            (false, "state=STATE&code=abc&unknown=1", Ok("abc")),
            (false, &format!("code=abc&state=STATE&{iss}"), Ok("abc")),
            (true, &format!("code=abc&state=STATE&{iss}"), Ok("abc")),
            (true, "code=abc&state=STATE", Err("no `iss`")),
            (true, &format!("code=abc&state=STATE&{iss}%2F"), Err("wrong `iss`")),
            (false, "code=abc&state=STATE&iss=https://AS.example", Err("wrong `iss`")),
            (false, "code=abc&state=STATF", Err("wrong `state`")),
            (false, "code=abc&state=STATE0", Err("wrong `state`")),
            (false, "code=abc&state=", Err("wrong `state`")),
            (false, "code=abc", Err("no `state`")),
            (false, "code=abc&code=abd&state=STATE", Err("twice")),
            (false, "code=abc&state=STATE&state=STATE", Err("twice")),
            (false, "code=&state=STATE", Err("neither")),
            (false, "state=STATE", Err("neither")),
            (false, "code=%ff&state=STATE", Err("not text")),
            (false, "code=a%0Ab&state=STATE", Err("neither")),
            (
                false,
                "error=access_denied&error_description=The+person+said+no&state=STATE",
                Err("access_denied: The person said no"),
            ),
            (
                false,
                "error=access_denied&error_description=%1b%5b31m&state=STATE",
                Err("refused: access_denied"),
            ),
            (false, "error=%3Cb%3E&state=STATE", Err("no reason that can be shown")),
            (false, "error=access_denied&state=other", Err("wrong `state`")),
            (
                false,
                "error=access_denied&error_description=mine&state=STATE&iss=https://evil.example",
                Err("wrong `iss`"),
            ),
        ] {
            let attempt = attempt(says_iss);
            let found = attempt.answer(&query.replace("STATE", &attempt.state));
            match (found, want) {
                (Ok(code), Ok(want)) => assert_eq!(code.0.as_str(), want, "{query}"),
                (Err(error), Err(want)) => {
                    let error = error.to_string();
                    assert!(error.contains(want) && !error.contains('\u{1b}'), "{query}: {error}");
                    assert!(!error.contains("mine"), "{query}: {error}");
                }
                (found, want) => panic!("{query}: {:?}, not {want:?}", found.map(|code| code.0.to_string())),
            }
        }
        let long = format!("code=abc&state=x&pad={}", "x".repeat(ANSWER_BYTES_MAX));
        assert!(matches!(attempt(false).answer(&long), Err(LoginError::Answer("it is too long"))));
    }
}
