//! The relying party of WebAuthn Level 3: what a browser sends after a passkey was made or used is believed here, or not.
//! It keeps nothing: who asked for which challenge, and which passkeys there are, the caller knows.

use super::cbor::{Item, item};
use super::cose::Key;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Longest credential id (§4, "Credential ID"), in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 1023;
/// Longest client data or attestation object that is looked at, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Bits of the flags of authenticator data (§6.1).
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENDED: u8 = 0x80;

/// Why a passkey was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message says it")]
pub enum Disbelief {
    #[error("what the browser sent is malformed: {0}")]
    Malformed(&'static str),
    #[error("it was made for another purpose")]
    Purpose,
    #[error("it answers another challenge")]
    Challenge,
    #[error("it was made on a page of another origin")]
    Origin,
    #[error("it was made inside another page")]
    CrossOrigin,
    #[error("it was made for another relying party")]
    RelyingParty,
    #[error("nobody was present")]
    Presence,
    #[error("the authenticator did not verify who was there")]
    Verification,
    #[error("its key is of a kind that is not accepted")]
    Algorithm,
    #[error("it comes with an attestation that was not asked for")]
    Attestation,
    #[error("it is not signed by the passkey")]
    Signature,
    #[error("its counter went backwards: the passkey may have been copied")]
    Counter,
}

use Disbelief::Malformed;

/// What passkeys are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// A host name: `localhost` or that of the console.
    pub id: String,
    /// The one origin of its pages.
    pub origin: String,
}

/// A passkey as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: Vec<u8>,
    /// Its public key, as COSE_Key.
    pub key: Vec<u8>,
    /// Its counter.
    pub count: u32,
}

/// A passkey as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// Its public key, as COSE_Key.
    pub key: Vec<u8>,
    /// Its counter when it was last used.
    pub count: u32,
}

/// What a browser sends when a passkey was used; all of it may be anybody's words.
#[derive(Clone, Copy, Debug)]
pub struct Used<'a> {
    /// The client data, as JSON.
    pub client_data: &'a [u8],
    /// The authenticator data.
    pub authenticator_data: &'a [u8],
    /// The signature over both.
    pub signature: &'a [u8],
}

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: bool,
    #[serde(rename = "topOrigin", default)]
    top_origin: Option<String>,
}

impl RelyingParty {
    /// Believes that a passkey was made in answer to `challenge` (§7.1, steps 5 to 27).
    ///
    /// # Errors
    /// [`Disbelief`].
    pub fn made(&self, challenge: &[u8], client_data: &[u8], attestation: &[u8]) -> Result<Made, Disbelief> {
        self.client(client_data, "webauthn.create", challenge)?; // steps 5 to 11
        if attestation.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed("the attestation object is too long"));
        }
        let mut rest = attestation;
        let object = item(&mut rest).map_err(|_| Malformed("the attestation object"))?; // step 13
        if !rest.is_empty() {
            return Err(Malformed("something follows the attestation object"));
        }
        let member = |name: &'static str| object.get(&Item::Text(name));
        let data =
            member("authData").and_then(Item::bytes).ok_or(Malformed("there is no authenticator data"))?;
        let read = AuthenticatorData::read(data)?;
        self.authenticator(&read)?; // steps 14 to 18
        let attested = read.attested.ok_or(Malformed("there is no key in the authenticator data"))?;
        // Step 20 was asked for by the options; a key of another kind is not one that was asked for.
        let mut cose = attested.key;
        Key::read(&mut cose).ok_or(Disbelief::Algorithm)?;
        // Steps 22 and 23: `none` was asked for, and it is the only statement that needs no trust anchor (§8.7).
        match (member("fmt"), member("attStmt")) {
            (Some(Item::Text("none")), Some(Item::Map(members))) if members.is_empty() => {}
            _ => return Err(Disbelief::Attestation),
        }
        // Steps 26 and 27, an id of usual length that nobody has yet, end at the caller, who knows the others.
        Ok(Made { id: attested.id.to_vec(), key: attested.key.to_vec(), count: read.count })
    }

    /// Believes that `passkey` was used in answer to `challenge` (§7.2, steps 10 to 24), and gives its new counter.
    ///
    /// # Errors
    /// [`Disbelief`].
    pub fn used(&self, challenge: &[u8], passkey: &Passkey, used: Used<'_>) -> Result<u32, Disbelief> {
        self.client(used.client_data, "webauthn.get", challenge)?; // steps 10 to 15
        let read = AuthenticatorData::read(used.authenticator_data)?;
        self.authenticator(&read)?; // steps 16 to 19
        if !used.is_signed_by(&passkey.key) {
            return Err(Disbelief::Signature); // steps 21 and 22
        }
        // Step 23: an authenticator that counts never counts the same twice.
        if (read.count != 0 || passkey.count != 0) && read.count <= passkey.count {
            return Err(Disbelief::Counter);
        }
        Ok(read.count)
    }

    fn client(&self, bytes: &[u8], kind: &str, challenge: &[u8]) -> Result<(), Disbelief> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed("the client data is too long"));
        }
        let data: ClientData = serde_json::from_slice(bytes).map_err(|_| Malformed("the client data"))?;
        if data.kind != kind {
            return Err(Disbelief::Purpose);
        }
        let answered = URL_SAFE_NO_PAD.decode(&data.challenge).map_err(|_| Malformed("the challenge"))?;
        if verify_slices_are_equal(&answered, challenge).is_err() {
            return Err(Disbelief::Challenge);
        }
        if data.origin != self.origin {
            return Err(Disbelief::Origin);
        }
        if data.cross_origin || data.top_origin.is_some() {
            return Err(Disbelief::CrossOrigin);
        }
        Ok(())
    }

    fn authenticator(&self, data: &AuthenticatorData<'_>) -> Result<(), Disbelief> {
        if data.rp_id_hash != digest(&SHA256, self.id.as_bytes()).as_ref() {
            return Err(Disbelief::RelyingParty);
        }
        if data.flags & USER_PRESENT == 0 {
            return Err(Disbelief::Presence);
        }
        if data.flags & USER_VERIFIED == 0 {
            return Err(Disbelief::Verification);
        }
        if data.flags & (BACKUP_ELIGIBLE | BACKED_UP) == BACKED_UP {
            return Err(Malformed("it is backed up and cannot be"));
        }
        Ok(())
    }
}

/// Whether the holder of `key`, a COSE_Key, answered `challenge`, and was verified when they did. For what was believed when it came
/// in: where the page was is not asked again.
pub fn signed(challenge: &[u8], key: &[u8], used: Used<'_>) -> bool {
    let Ok(said) = serde_json::from_slice::<ClientData>(used.client_data) else { return false };
    let answers = URL_SAFE_NO_PAD.decode(&said.challenge).is_ok_and(|answered| answered == challenge);
    let was_verified = AuthenticatorData::read(used.authenticator_data)
        .is_ok_and(|data| data.flags & USER_PRESENT != 0 && data.flags & USER_VERIFIED != 0);
    said.kind == "webauthn.get" && answers && was_verified && used.is_signed_by(key)
}

impl Used<'_> {
    /// Whether the holder of `key`, a COSE_Key, signed both (steps 21 and 22 of §7.2).
    fn is_signed_by(&self, mut key: &[u8]) -> bool {
        let hash = digest(&SHA256, self.client_data);
        let message = [self.authenticator_data, hash.as_ref()].concat();
        Key::read(&mut key).is_some_and(|key| key.signed(&message, self.signature))
    }
}

/// Authenticator data (§6.1), as it is written.
struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8],
    flags: u8,
    count: u32,
    attested: Option<Attested<'a>>,
}

/// Attested credential data (§6.5.2).
struct Attested<'a> {
    id: &'a [u8],
    key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Disbelief> {
        let short = Malformed("the authenticator data is cut off");
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Malformed("the authenticator data is too long"));
        }
        let (rp_id_hash, rest) = bytes.split_at_checked(32).ok_or(short)?;
        let (&flags, rest) = rest.split_first().ok_or(short)?;
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or(short)?;
        let attested = if flags & ATTESTED == 0 { None } else { Some(Attested::read(&mut rest)?) };
        if flags & EXTENDED != 0 {
            // No extension was asked for; those that come anyway are read over (step 20 of §7.2).
            match item(&mut rest) {
                Ok(Item::Map(_)) => {}
                _ => return Err(Malformed("its extensions")),
            }
        }
        if !rest.is_empty() {
            return Err(Malformed("something follows the authenticator data"));
        }
        Ok(Self { rp_id_hash, flags, count: u32::from_be_bytes(*count), attested })
    }
}

impl<'a> Attested<'a> {
    fn read(rest: &mut &'a [u8]) -> Result<Self, Disbelief> {
        let short = Malformed("the credential is cut off");
        let (_aaguid, after) = rest.split_at_checked(16).ok_or(short)?;
        let (length, after) = after.split_first_chunk::<2>().ok_or(short)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 || length > CREDENTIAL_BYTES_MAX {
            return Err(Malformed("the credential's id is of no usual length"));
        }
        let (id, after) = after.split_at_checked(length).ok_or(short)?;
        let mut end = after;
        item(&mut end).map_err(|_| Malformed("the credential's key"))?;
        let key = &after[..after.len() - end.len()];
        *rest = end;
        Ok(Self { id, key })
    }
}
