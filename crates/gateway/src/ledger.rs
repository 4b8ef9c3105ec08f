//! What the journal says of approvals, standing grants and people, read when a gate begins: only what it bears out is believed of the
//! state file. Nothing here writes, and nothing here is believed on anybody's word but the journal's and a passkey's.

use crate::config::approvals::{Approvals, Issuer};
use crate::people::LINK_SECONDS_MAX;
use crate::people::signed::Yes;
use crate::store::people::{LinkRow, PasskeyRow, PersonRow};
use crate::tokens::{SKEW_SECONDS_MAX, Token};
use crate::wire::approval::{Approval, Consent, Limit, Scope, Standing};
use crate::wire::record::{Body, Person, Record, Signed};
use judge::approval::scope::SECONDS_MAX;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// How far from the beginning of a record its kind stands, in bytes: session names are short.
const KIND_BYTES_MAX: usize = 1_024;
/// How much later than its record a grant may end than it would, in seconds.
const SLACK_SECONDS: i64 = 10;

/// What was written about one open question.
struct Question {
    shown: String,
    said: Vec<Consent>,
    left_to: String,
    is_over: bool,
}

/// What was written about one standing grant.
struct Given {
    by: String,
    channel: String,
    uses: u32,
    scope: Scope,
    /// Whether somebody who may grant so gave it.
    is_proven: bool,
    is_withdrawn: bool,
    used: u32,
    used_at: i64,
}

/// What was written about one person.
struct Known {
    role: String,
    /// Public keys in hexadecimal.
    keys: Vec<String>,
    is_revoked: bool,
}

/// What was written about one link.
struct Link {
    role: String,
    name: String,
    at: i64,
}

/// What the journal says.
#[derive(Default)]
pub(crate) struct Ledger {
    questions: HashMap<String, Question>,
    carried: HashSet<String>,
    given: HashMap<String, Given>,
    /// Tokens that were taken back before they were taken in, as long as they could be.
    forestalled: HashSet<String>,
    people: HashMap<String, Known>,
    links: HashMap<String, Link>,
    /// Who signed what, by approval.
    proven: HashMap<String, Vec<(String, String)>>,
}

impl Ledger {
    /// Goes through the journal in `folder`, as a gate with these `settings` believes it at `now`.
    ///
    /// # Errors
    /// The journal cannot be read, in words.
    pub(crate) fn read(folder: &Path, settings: &Approvals, now: i64) -> Result<Self, String> {
        let mut ledger = Self::default();
        let in_words = |fault: journal::Fault| format!("{}: {fault}", folder.display());
        if !folder.exists() {
            return Ok(ledger);
        }
        let reader = journal::Reader::open(folder).map_err(in_words)?;
        for entry in reader.entries(0..reader.size()) {
            let (_, bytes) = entry.map_err(in_words)?;
            if !matters(&bytes) {
                continue;
            }
            if let Ok(record) = serde_json::from_slice::<Record>(&bytes) {
                ledger.take(record, settings, now);
            }
        }
        Ok(ledger)
    }

    fn take(&mut self, record: Record, settings: &Approvals, now: i64) {
        let at = crate::clock::read(&record.at).unwrap_or(0);
        match record.body {
            Body::Asked { approval, shown, expires_at, .. } if expires_at > now => {
                let fresh = Question { shown, said: Vec::new(), left_to: String::new(), is_over: false };
                self.questions.insert(approval, fresh);
            }
            Body::Answered { approval, channel, .. } if channel == "carried" => {
                self.carried.insert(approval);
            }
            Body::Answered { approval, answer, by, reason, channel, identity } => {
                let may = self.may(&channel, settings, &approval, &by);
                let Some(question) = self.questions.get_mut(&approval) else { return };
                match answer.as_str() {
                    "grant" if may => {
                        question.said.push(Consent { name: by, identity });
                        question.left_to.clear();
                    }
                    "grant" => {}
                    "leave" => {
                        reason.strip_prefix("left to ").unwrap_or_default().clone_into(&mut question.left_to);
                    }
                    _ => question.is_over = true,
                }
            }
            Body::Decision(decided) => {
                if let Some(question) = self.questions.get_mut(&decided.approval) {
                    question.is_over = true;
                } else if let Some(given) = self.given.get_mut(&decided.approval) {
                    given.used = given.used.saturating_add(1);
                    given.used_at = at;
                }
            }
            Body::Granted { grant, by, channel, uses, scope, approval, token } => {
                let Ok(scope) = serde_json::from_value::<Scope>(scope) else { return };
                if scope.until <= now {
                    return;
                }
                let is_proven = match channel.as_str() {
                    "token" => is_signed(&token, &settings.issuer, &scope, uses),
                    "console" => self.said(&approval, &by, &scope, uses, at),
                    _ => self.may(&channel, settings, &approval, &by),
                };
                let given = Given {
                    by,
                    channel,
                    uses,
                    scope,
                    is_proven,
                    is_withdrawn: self.forestalled.contains(&grant),
                    used: 0,
                    used_at: at,
                };
                // The first record counts: a grant is given once.
                self.given.entry(grant).or_insert(given);
            }
            Body::Withdrawn { grant, .. } => {
                if let Some(given) = self.given.get_mut(&grant) {
                    given.is_withdrawn = true;
                } else if at > now - SECONDS_MAX - SKEW_SECONDS_MAX {
                    self.forestalled.insert(grant);
                }
            }
            Body::Signed(signed) => {
                let is_more =
                    || at > now - SECONDS_MAX && matches!(Yes::read(&signed.answer), Some(Yes::More(_)));
                if self.questions.contains_key(&signed.approval) || is_more() {
                    self.prove(&signed);
                }
            }
            Body::Person(person) => self.meet(person, at),
            _ => {}
        }
    }

    /// Whether an answer over `channel` counts now.
    fn may(&self, channel: &str, settings: &Approvals, approval: &str, by: &str) -> bool {
        match channel {
            "terminal" => settings.terminal,
            "console" => self.proven.get(approval).is_some_and(|said| said.iter().any(|(who, _)| who == by)),
            "webhook" => settings.webhook.iter().any(|webhook| webhook.answers),
            "client" => settings.elicit,
            _ => false,
        }
    }

    fn prove(&mut self, signed: &Signed) {
        let Some(known) = self.people.get(&signed.by).filter(|known| !known.is_revoked) else { return };
        if known.keys.iter().any(|key| crate::people::unhex(key).is_some_and(|key| signed.holds(&key))) {
            let said = self.proven.entry(signed.approval.clone()).or_default();
            said.push((signed.by.clone(), signed.answer.clone()));
        }
    }

    /// Whether `by` signed a grant that opens all that `scope` leaves open.
    fn said(&self, approval: &str, by: &str, scope: &Scope, uses: u32, at: i64) -> bool {
        let said = self.proven.get(approval).into_iter().flatten();
        let mut yes = said.filter(|(who, _)| who == by).filter_map(|(_, words)| Yes::read(words));
        yes.any(|yes| match yes {
            Yes::Once => false,
            Yes::More(wanted) => {
                let mut open = scope.limits.iter().filter(|(_, limit)| !matches!(limit, Limit::Is(_)));
                wanted.uses == uses
                    && scope.until <= at.saturating_add(wanted.seconds).saturating_add(SLACK_SECONDS)
                    && scope.idle_seconds == wanted.idle_seconds
                    && open.all(|(name, _)| wanted.limits.contains_key(name))
            }
        })
    }

    fn meet(&mut self, person: Person, at: i64) {
        let Person { what, name, role, key, .. } = person;
        match what.as_str() {
            "link-made" => drop(self.links.insert(key, Link { role, name, at })),
            "enrolled" => {
                let fresh = || Known { role, keys: Vec::new(), is_revoked: false };
                self.people.entry(name).or_insert_with(fresh).keys.push(key);
            }
            "revoked" => {
                if let Some(known) = self.people.get_mut(&name) {
                    (known.is_revoked, known.keys) = (true, Vec::new());
                }
            }
            _ => {}
        }
    }

    /// Whether an open approval is as the journal tells.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn bears_out(&self, approval: &Approval) -> Result<(), &'static str> {
        let question = self.questions.get(&approval.id).ok_or("the journal knows of no such question")?;
        if question.is_over {
            return Err("by the journal it was used, refused or withdrawn");
        }
        if question.shown != approval.question() {
            return Err("by the journal another question was asked");
        }
        if approval.state == "granted" {
            let enough = question.said.len() >= usize::from(approval.approvers.max(1));
            return if enough { Ok(()) } else { Err("by the journal nobody who may granted it") };
        }
        // An answer that was recorded and not kept is lost with the gate that took it; never the other way around.
        let consents = &approval.consents;
        if !question.said.starts_with(consents) {
            return Err("by the journal others agreed to it");
        }
        if consents.len() == question.said.len() && approval.left_to != question.left_to {
            return Err("by the journal it was left to somebody else");
        }
        Ok(())
    }

    /// Whether an approval went on in a call's next round without being asked for.
    pub(crate) fn was_carried(&self, id: &str) -> bool {
        self.carried.contains(id)
    }

    /// Whether an active grant is as the journal tells, and when it was given or last used.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn bears_out_grant(&self, standing: &Standing) -> Result<i64, &'static str> {
        let given = self.given.get(&standing.id).ok_or("the journal knows of no such grant")?;
        if given.is_withdrawn {
            return Err("by the journal it was taken back");
        }
        if !given.is_proven {
            return Err("nobody who may grant gave it");
        }
        if (&given.by, &given.channel, &given.scope) != (&standing.by, &standing.channel, &standing.scope) {
            return Err("by the journal another grant was given");
        }
        if standing.left > given.uses.saturating_sub(given.used) {
            return Err("by the journal less is left of it");
        }
        Ok(given.used_at.max(standing.given_at))
    }

    /// The grants that could still be used at `now`, whatever became of them.
    pub(crate) fn grants(&self, now: i64) -> impl Iterator<Item = &str> {
        let given = self.given.iter().filter(move |(_, given)| given.scope.until > now).map(|(id, _)| id);
        given.chain(&self.forestalled).map(String::as_str)
    }

    /// Whether somebody came in so, or was turned out.
    pub(crate) fn knows(&self, person: &PersonRow) -> bool {
        self.people.get(&person.name).is_some_and(|known| {
            known.role == person.role && (person.revoked_at.is_some() || !known.is_revoked)
        })
    }

    /// Everybody who came in and was not turned out.
    pub(crate) fn within(&self) -> impl Iterator<Item = &str> {
        self.people.iter().filter(|(_, known)| !known.is_revoked).map(|(name, _)| name.as_str())
    }

    /// Whether this passkey was enrolled.
    pub(crate) fn enrolled(&self, passkey: &PasskeyRow) -> bool {
        let key = crate::people::hex(&passkey.key);
        self.people.get(&passkey.person).is_some_and(|known| !known.is_revoked && known.keys.contains(&key))
    }

    /// Whether this link was made.
    pub(crate) fn made(&self, link: &LinkRow) -> bool {
        self.links.get(&link.digest).is_some_and(|made| {
            made.role == link.role
                && made.name == link.name.as_deref().unwrap_or_default()
                && link.expires_at <= made.at + LINK_SECONDS_MAX + SLACK_SECONDS
        })
    }
}

/// Whether an issuer signed exactly this grant.
fn is_signed(token: &str, issuers: &[Issuer], scope: &Scope, uses: u32) -> bool {
    Token::verified(token, issuers).is_ok_and(|token| token.scope == *scope && token.uses == uses)
}

/// Whether a record is of a kind that is looked at; reading only its beginning keeps a long journal quick to go through.
fn matters(bytes: &[u8]) -> bool {
    const KIND: &[u8] = b"\"kind\":\"";
    const KINDS: [&[u8]; 7] =
        [b"asked\"", b"answered\"", b"granted\"", b"withdrawn\"", b"signed\"", b"person\"", b"decision\""];
    const USED: &[u8] = b"\"approval\":\"";
    let head = &bytes[..bytes.len().min(KIND_BYTES_MAX)];
    let Some(at) = memchr::memmem::find(head, KIND) else { return true };
    let kind = &bytes[at + KIND.len()..];
    match KINDS.iter().position(|known| kind.starts_with(known)) {
        None => false,
        // A decision matters where it used an approval.
        Some(6) => memchr::memmem::find(kind, USED).is_some(),
        Some(_) => true,
    }
}
