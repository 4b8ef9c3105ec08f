//! The people who may look and answer: how they come in, what each may do, and how they are turned out again.
//! Whoever comes in was let in by somebody at the gate's own terminal, and stays known by a passkey only.

mod cbor;
pub(crate) mod cose;
pub mod signed;
pub mod webauthn;

use crate::clock;
use crate::history::{History, NotRecorded};
use crate::store::people::{Enrolled, LinkRow, PasskeyRow, PersonRow};
use crate::store::{Store, StoreError};
use crate::wire::record::{Body, Person as Recorded};
use std::sync::{Arc, OnceLock};
use webauthn::{Disbelief, Made, Passkey, RelyingParty, Used};

/// How long a link may be used, in seconds.
pub const LINK_SECONDS_MAX: i64 = 15 * 60;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Length of the code in a link: 128 bits, in hexadecimal digits.
const CODE_CHARS: usize = 32;

/// What a person may do; each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at everything.
    Viewer,
    /// Answer approvals.
    Approver,
    /// Say who else may.
    Admin,
}

impl Role {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Approver => "approver",
            Role::Admin => "admin",
        }
    }

    /// The role of this word.
    pub fn named(word: &str) -> Option<Self> {
        [Role::Viewer, Role::Approver, Role::Admin].into_iter().find(|role| role.word() == word)
    }
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name that answers are recorded under.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// Where the console is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Whom passkeys are made for.
    pub party: RelyingParty,
    /// The `Host` its pages are asked for by.
    pub host: String,
}

impl Site {
    /// The site of `origin`, e.g. `http://localhost:8650`.
    ///
    /// # Errors
    /// Why no browser would make a passkey there, in words.
    pub fn of(origin: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("[console]: `origin = \"{origin}\"`: {why}");
        let (scheme, host) = origin.split_once("://").ok_or_else(|| wrong("write it as https://NAME"))?;
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if name.is_empty() || !name.chars().all(plain) || host.matches(':').count() > 1 {
            return Err(wrong("write the scheme and a lowercase host name, without a path"));
        }
        // WebAuthn §5.1.2: an address is no valid domain.
        if name.split('.').next_back().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit())) {
            return Err(wrong("browsers make passkeys for names, not for addresses"));
        }
        let is_local = name == "localhost" || name.ends_with(".localhost");
        if scheme != "https" && !(scheme == "http" && is_local) {
            return Err(wrong("browsers make passkeys on https only, but for localhost"));
        }
        let party = RelyingParty { id: name.to_owned(), origin: origin.to_owned() };
        Ok(Self { party, host: host.to_owned() })
    }

    /// The address of its first page.
    pub fn front(&self) -> String {
        format!("{}/console", self.party.origin)
    }

    /// The address that enrols with `code`. The code stands where no server and no log sees it.
    pub fn link(&self, code: &str) -> String {
        format!("{}/console/enrol#{code}", self.party.origin)
    }
}

/// Why somebody is not let in, or something about people could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Stranger {
    /// The console is not served, so a link would lead nowhere.
    #[error("the console is not served; set `enabled = true` under [console] and start the gate again")]
    NoConsole,
    /// A name that is none.
    #[error("`{0}` is no usable name: letters, digits and `. _ - @`, at most {NAME_BYTES_MAX}")]
    Name(String),
    /// The code is unknown, used or lapsed.
    #[error("this link is not valid, or not any more; ask for a new one: `bailiwick console link`")]
    Link,
    /// The link is for another name.
    #[error("this link is for `{0}`")]
    Named(String),
    /// The name or the passkey belongs to somebody.
    #[error("this name, or this passkey, is taken; choose another name, or have a link made with `--name`")]
    Taken,
    /// Nobody has this passkey.
    #[error("nobody is known by this passkey")]
    Unknown,
    /// Nobody has this name.
    #[error("there is nobody called `{0}`; see `bailiwick console people`")]
    Nobody(String),
    /// The passkey was not believed.
    #[error("the passkey was not accepted: {0}")]
    Passkey(#[from] Disbelief),
    /// The state file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    NotRecorded(#[from] NotRecorded),
}

/// A passkey that is being made: for whom, by which link.
#[derive(Clone, Debug)]
pub struct Joining {
    code: String,
    name: String,
    handle: Vec<u8>,
    role: Role,
}

impl Joining {
    /// The name it will be known by.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What authenticators know the person by: random, and nothing else (§14.6.1).
    pub fn handle(&self) -> &[u8] {
        &self.handle
    }
    /// What the person will be allowed.
    pub fn role(&self) -> Role {
        self.role
    }
}

/// The people of one gate.
pub struct People {
    store: Arc<Store>,
    history: Arc<History>,
    site: OnceLock<Site>,
    /// One at a time, so that the journal tells of nobody who did not come in.
    joining: tokio::sync::Mutex<()>,
}

impl People {
    /// Those in `store`; what happens to them is recorded in `history`.
    pub fn new(store: Arc<Store>, history: Arc<History>) -> Self {
        Self { store, history, site: OnceLock::new(), joining: tokio::sync::Mutex::default() }
    }

    /// Notes where the console is served; only the first time counts.
    pub fn serve_at(&self, site: Site) {
        drop(self.site.set(site));
    }

    /// Where the console is served, if it is.
    pub fn site(&self) -> Option<&Site> {
        self.site.get()
    }

    /// Whether nobody can come in but by a link.
    pub fn is_empty(&self) -> bool {
        !self.store.is_peopled()
    }

    /// Makes a link that enrols one passkey, of `name` where one is given. It is shown once and kept as a digest only.
    ///
    /// # Errors
    /// [`Stranger`].
    pub async fn link(&self, role: Role, name: Option<String>, how: &str) -> Result<String, Stranger> {
        let site = self.site().ok_or(Stranger::NoConsole)?;
        let known = match &name {
            Some(name) => self.store.person(usable(name)?)?,
            None => None,
        };
        // Somebody who is there already stays what they are.
        let role = known.as_ref().and_then(|known| Role::named(&known.role)).unwrap_or(role);
        let code = crate::random::token()[..CODE_CHARS].to_owned();
        let now = clock::seconds();
        let expires_at = now + LINK_SECONDS_MAX;
        let link = LinkRow { digest: digest_of(&code), role: role.word().to_owned(), name, expires_at };
        let named = link.name.clone().unwrap_or_default();
        self.record("link-made", &named, role, how, link.digest.clone()).await?;
        self.store.add_link(&link, now)?;
        Ok(site.link(&code))
    }

    /// Looks at a link and says whose passkey may be made with it. The link stays usable until one is.
    ///
    /// # Errors
    /// [`Stranger::Link`], [`Stranger::Name`], [`Stranger::Named`], [`Stranger::Taken`].
    pub fn join(&self, code: &str, name: &str) -> Result<Joining, Stranger> {
        let link = self.store.link(&digest_of(code), clock::seconds())?.ok_or(Stranger::Link)?;
        let name = usable(name)?.to_owned();
        if let Some(meant) = link.name.as_ref().filter(|meant| **meant != name) {
            return Err(Stranger::Named(meant.clone()));
        }
        let role = Role::named(&link.role).ok_or(Stranger::Link)?;
        let handle = match self.store.person(&name)? {
            None => crate::random::bytes().to_vec(),
            Some(known) if known.revoked_at.is_none() && link.name.is_some() => known.handle,
            Some(_) => return Err(Stranger::Taken),
        };
        Ok(Joining { code: code.to_owned(), name, handle, role })
    }

    /// Whom a link is for, where it says so; nothing for a link that is not valid.
    ///
    /// # Errors
    /// [`Stranger::Link`].
    pub fn meant(&self, code: &str) -> Result<(Role, Option<String>), Stranger> {
        let link = self.store.link(&digest_of(code), clock::seconds())?.ok_or(Stranger::Link)?;
        Ok((Role::named(&link.role).ok_or(Stranger::Link)?, link.name))
    }

    /// Takes in the passkey that was made, and uses up its link.
    ///
    /// # Errors
    /// [`Stranger`]; then nothing has changed.
    pub async fn enrol(&self, joining: &Joining, made: Made) -> Result<Person, Stranger> {
        let now = clock::seconds();
        let person = PersonRow {
            name: joining.name.clone(),
            role: joining.role.word().to_owned(),
            handle: joining.handle.clone(),
            added_at: now,
            revoked_at: None,
            used_at: None,
            passkeys: 1,
        };
        let key = hex(&made.key);
        let passkey =
            PasskeyRow { id: made.id, person: joining.name.clone(), key: made.key, count: made.count };
        let _one_at_a_time = self.joining.lock().await;
        let code = digest_of(&joining.code);
        if self.store.link(&code, now)?.is_none() {
            return Err(Stranger::Link);
        }
        if self.store.passkey(&passkey.id)?.is_some() || self.is_others(joining)? {
            return Err(Stranger::Taken);
        }
        // First the record; the key is in it, so that what was signed with it can be checked from the journal alone.
        self.record("enrolled", &joining.name, joining.role, "passkey", key).await?;
        match self.store.enrol(&code, &person, &passkey, now)? {
            Enrolled::LinkGone => return Err(Stranger::Link),
            Enrolled::Taken => return Err(Stranger::Taken),
            Enrolled::Done => {}
        }
        Ok(Person { name: joining.name.clone(), role: joining.role })
    }

    /// Whether somebody else came by this name since.
    fn is_others(&self, joining: &Joining) -> Result<bool, Stranger> {
        let known = self.store.person(&joining.name)?;
        Ok(known.is_some_and(|known| known.handle != joining.handle || known.revoked_at.is_some()))
    }

    /// Believes that somebody used their passkey in answer to `challenge`.
    ///
    /// # Errors
    /// [`Stranger::Unknown`] or [`Stranger::Passkey`].
    pub fn recognise(&self, challenge: &[u8], credential: &[u8], used: Used<'_>) -> Result<Person, Stranger> {
        let party = &self.site().ok_or(Stranger::NoConsole)?.party;
        let row = self.store.passkey(credential)?.ok_or(Stranger::Unknown)?;
        let person = self.current(&row.person)?.ok_or(Stranger::Unknown)?;
        let passkey = Passkey { key: row.key.clone(), count: row.count };
        let count = party.used(challenge, &passkey, used)?;
        if !self.store.used(&row, count, clock::seconds())? {
            return Err(Disbelief::Counter.into());
        }
        Ok(person)
    }

    /// A person as they are now; nothing once they were revoked.
    ///
    /// # Errors
    /// [`Stranger::Store`].
    pub fn current(&self, name: &str) -> Result<Option<Person>, Stranger> {
        let row = self.store.person(name)?.filter(|row| row.revoked_at.is_none());
        Ok(row.and_then(|row| Role::named(&row.role).map(|role| Person { name: row.name, role })))
    }

    /// The ids of a person's passkeys.
    ///
    /// # Errors
    /// [`Stranger::Store`].
    pub fn credentials(&self, name: &str) -> Result<Vec<Vec<u8>>, Stranger> {
        Ok(self.store.passkeys_of(name)?.into_iter().map(|row| row.id).collect())
    }

    /// Everybody, those who were turned out included.
    ///
    /// # Errors
    /// [`Stranger::Store`].
    pub fn list(&self) -> Result<Vec<crate::wire::control::Person>, Stranger> {
        let listed = |row: PersonRow| crate::wire::control::Person {
            name: row.name,
            role: row.role,
            passkeys: row.passkeys,
            added_at: row.added_at,
            used_at: row.used_at,
            revoked_at: row.revoked_at,
        };
        Ok(self.store.people()?.into_iter().map(listed).collect())
    }

    /// Turns somebody out: their passkeys are forgotten, and no session of theirs lasts.
    ///
    /// # Errors
    /// [`Stranger::Nobody`].
    pub async fn revoke(&self, name: &str, how: &str) -> Result<(), Stranger> {
        let person = self.current(name)?.ok_or_else(|| Stranger::Nobody(name.to_owned()))?;
        // First the deed: whoever cannot be recorded is still turned out.
        self.store.revoke(name, clock::seconds())?;
        self.record("revoked", name, person.role, how, String::new()).await
    }

    /// Records that somebody signed in or out.
    ///
    /// # Errors
    /// [`Stranger::NotRecorded`]; then they are not in.
    pub async fn note(&self, what: &str, person: &Person) -> Result<(), Stranger> {
        self.record(what, &person.name, person.role, "passkey", String::new()).await
    }

    async fn record(
        &self,
        what: &str,
        name: &str,
        role: Role,
        how: &str,
        key: String,
    ) -> Result<(), Stranger> {
        let recorded = Recorded {
            what: what.to_owned(),
            name: name.to_owned(),
            role: role.word().to_owned(),
            how: how.to_owned(),
            key,
        };
        self.history.record(None, Body::Person(recorded)).await?;
        Ok(())
    }
}

/// A name that cannot pose as another on a screen.
pub(crate) fn usable(name: &str) -> Result<&str, Stranger> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        return Err(Stranger::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(name)
}

fn digest_of(code: &str) -> String {
    judge::digest::hex(code.as_bytes())
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_where_browsers_make_passkeys_and_nowhere_else() {
        for (origin, party) in [
            ("http://localhost:8650", Some("localhost")),
            ("https://gate.example.com", Some("gate.example.com")),
            ("https://gate.example.com:8443", Some("gate.example.com")),
            ("http://gate.localhost:8650", Some("gate.localhost")),
            ("http://gate.example.com", None),
            ("http://127.0.0.1:8650", None),
            ("https://[::1]:8650", None),
            ("https://gate.example.com/console", None),
            ("https://Gate.example.com", None),
            ("https://", None),
            ("gate.example.com", None),
        ] {
            assert_eq!(Site::of(origin).ok().map(|site| site.party.id).as_deref(), party, "{origin}");
        }
        let site = Site::of("https://gate.example.com:8443").expect("a site");
        assert_eq!(
            (site.host.as_str(), site.link("c")),
            ("gate.example.com:8443", "https://gate.example.com:8443/console/enrol#c".to_owned())
        );
    }

    #[test]
    fn a_name_is_plain_and_a_role_is_one_of_three() {
        for (name, is_usable) in [
            ("ann", true),
            ("ann.lee@example.com", true),
            ("", false),
            ("a b", false),
            ("аnn", false),
            ("<b>", false),
        ] {
            assert_eq!(usable(name).is_ok(), is_usable, "{name}");
        }
        assert!(
            usable(&"a".repeat(NAME_BYTES_MAX)).is_ok() && usable(&"a".repeat(NAME_BYTES_MAX + 1)).is_err()
        );
        assert!(Role::Viewer < Role::Approver && Role::Approver < Role::Admin);
        assert_eq!((Role::named("approver"), Role::named("operator")), (Some(Role::Approver), None));
    }
}
