//! C2SP signed notes, checkpoints and the Ed25519 keys that sign and verify them. A private key never leaves this file
//! except through `save`, and a `Checkpoint` never exists unless its signature was checked or just made.

use crate::tree::{Hash, sha256};
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::{fmt, fs, io, path::Path, str::FromStr};

/// The longest note read, in bytes, and the most signature lines; the spec asks for at least 16 lines.
const NOTE_BYTES_MAX: usize = 64 * 1024;
const NOTE_SIGNATURES_MAX: usize = 64;
/// The longest key name, in bytes; it bounds the checkpoint written with every group.
const NAME_BYTES_MAX: usize = 1024;
/// Signature type byte of plain Ed25519 (C2SP signed-note).
const ED25519_TYPE: u8 = 1;
const SKEY_PREFIX: &str = "PRIVATE+KEY+";

/// Why a key was not made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not a key in signed-note form.
    #[error("not a signed-note Ed25519 key: {why}")]
    Malformed {
        /// What is wrong with it; never contains key material.
        why: &'static str,
    },
    /// Key names have 1 to 1024 bytes, without spaces, plus signs or control characters.
    #[error(
        "key name {name:?} is empty, over 1024 bytes, or has a space, '+' or control character: use one like example.org/log"
    )]
    Name {
        /// The name refused.
        name: String,
    },
    /// The key file can be read by others.
    #[error("key file has mode {mode:o}: only its owner may access it; run chmod 600")]
    Exposed {
        /// The permission bits found.
        mode: u32,
    },
    /// The key file could not be read or written.
    #[error("key file: {0}")]
    Io(#[from] io::Error),
    /// The cryptographic library refused.
    #[error("the cryptographic library could not make or load the key")]
    Crypto,
}

/// Why a text is not a checkpoint signed by the expected key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is not a signed note or its body is not a checkpoint.
    #[error("not a signed checkpoint: {why}")]
    Malformed {
        /// What is wrong with it.
        why: &'static str,
    },
    /// No signature line is by the expected key: unsigned, or signed by another one.
    #[error("no signature by {expected}: it is unsigned, or was signed with another key")]
    UnknownKey {
        /// Name and id of the key asked for.
        expected: String,
    },
    /// A line claims to be by the expected key and is not.
    #[error("the signature by {expected} does not fit the text: it was forged or the text was changed")]
    Forged {
        /// Name and id of the key asked for.
        expected: String,
    },
    /// The checkpoint belongs to another log.
    #[error("checkpoint is for origin {found:?}, not {expected:?}")]
    Origin {
        /// The origin line found.
        found: String,
        /// The key's name, which is the journal's origin.
        expected: String,
    },
}

/// The public half of a journal's key: all that is needed to verify it. Displays and parses as a signed-note vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    public: [u8; 32],
}

impl VerifierKey {
    fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        let bounded = (1..=NAME_BYTES_MAX).contains(&name.len());
        if !bounded || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(KeyError::Name { name: name.to_owned() });
        }
        let identity = [name.as_bytes(), b"\n", &[ED25519_TYPE], &public].concat();
        let id = u32::from_be_bytes(*sha256(&identity).first_chunk().expect("a hash has 32 bytes"));
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// The key's name, which is the journal's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The 32-bit key id of the signed-note format.
    pub fn id(&self) -> u32 {
        self.id
    }

    fn label(&self) -> String {
        format!("{}+{:08x}", self.name, self.id)
    }

    /// Checks a whole signed note and returns its text, the final newline included.
    fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let (text, lines) = split_note(note)?;
        let mut verified = false;
        for line in lines {
            let Signature { name, id, bytes } = line?;
            if name != self.name || id != self.id {
                continue;
            }
            // The spec: a bad signature by a known key rejects the whole note.
            UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(text.as_bytes(), &bytes)
                .map_err(|_| NoteError::Forged { expected: self.label() })?;
            verified = true;
        }
        if verified { Ok(text) } else { Err(NoteError::UnknownKey { expected: self.label() }) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = BASE64.encode([&[ED25519_TYPE][..], &self.public].concat());
        write!(f, "{}+{:08x}+{encoded}", self.name, self.id)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, public) = split_key(text)?;
        let key = Self::new(name, public)?;
        if key.id == id {
            Ok(key)
        } else {
            Err(KeyError::Malformed { why: "key id does not match name and key" })
        }
    }
}

/// `name+id+base64(type || 32 bytes)`, the body shared by public and private keys.
fn split_key(text: &str) -> Result<(&str, u32, [u8; 32]), KeyError> {
    let malformed = |why| KeyError::Malformed { why };
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed("expected name+id+base64"));
    };
    let id = (id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u32::from_str_radix(id, 16).ok())
        .flatten()
        .ok_or(malformed("key id is not 8 hexadecimal digits"))?;
    let bytes = BASE64.decode(encoded).map_err(|_| malformed("key is not base64"))?;
    match bytes.split_first() {
        Some((&ED25519_TYPE, key)) => {
            Ok((name, id, key.try_into().map_err(|_| malformed("Ed25519 keys have 32 bytes"))?))
        }
        _ => Err(malformed("only Ed25519 keys (type 1) are supported")),
    }
}

/// The private half: signs checkpoints. It has no `Debug`, `Clone` or serialization; `save` is the only way out.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SigningKey {
    /// Makes a new key whose name is the journal's origin.
    ///
    /// # Errors
    /// [`KeyError::Name`] or [`KeyError::Crypto`].
    pub fn generate(name: &str) -> Result<Self, KeyError> {
        Self::from_pair(name, Ed25519KeyPair::generate().map_err(|_| KeyError::Crypto)?)
    }

    fn from_pair(name: &str, pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Crypto)?;
        Ok(Self { verifier: VerifierKey::new(name, public)?, pair })
    }

    fn parse(text: &str) -> Result<Self, KeyError> {
        let body =
            text.strip_prefix(SKEY_PREFIX).ok_or(KeyError::Malformed { why: "no PRIVATE+KEY+ prefix" })?;
        let (name, id, seed) = split_key(body)?;
        let key =
            Self::from_pair(name, Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Crypto)?)?;
        if key.verifier.id == id {
            Ok(key)
        } else {
            Err(KeyError::Malformed { why: "key id does not match name and key" })
        }
    }

    /// Reads a key file written by [`save`](Self::save).
    ///
    /// # Errors
    /// [`KeyError::Exposed`] when anyone but the owner has access; otherwise what is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let mut file = fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { mode });
        }
        let mut text = String::new();
        Read::by_ref(&mut file).take(4096).read_to_string(&mut text)?;
        Self::parse(text.trim_end_matches('\n'))
    }

    /// Writes the key, durably, to a new file of mode 0600. An existing file is never replaced.
    ///
    /// # Errors
    /// [`KeyError::Io`], also when the file exists.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let seed =
            self.pair.seed().map_err(|_| KeyError::Crypto)?.as_be_bytes().map_err(|_| KeyError::Crypto)?;
        let encoded = BASE64.encode([&[ED25519_TYPE][..], seed.as_ref()].concat());
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{SKEY_PREFIX}{}+{encoded}", self.verifier.label())?;
        file.sync_all()?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all()?,
            _ => fs::File::open(".")?.sync_all()?,
        }
        Ok(())
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        self.verifier.clone()
    }

    fn sign_note(&self, text: &str) -> String {
        let signature =
            [&self.verifier.id.to_be_bytes()[..], self.pair.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n\u{2014} {} {}\n", self.verifier.name, BASE64.encode(signature))
    }

    pub(crate) fn sign_checkpoint(&self, size: u64, root: Hash) -> Checkpoint {
        let head = TreeHead { origin: self.verifier.name.clone(), size, root };
        let text = self.sign_note(&format!("{}\n{size}\n{}\n", head.origin, BASE64.encode(root)));
        Checkpoint { head, signer: self.verifier.clone(), text }
    }
}

/// A tree size and root that the journal's key has signed: the value to keep elsewhere as an anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    head: TreeHead,
    signer: VerifierKey,
    text: String,
}

impl Checkpoint {
    /// Parses a signed note and checks that `key` signed it for the origin that is the key's name. Signatures by
    /// unknown keys (witnesses) are ignored, as the spec asks.
    ///
    /// # Errors
    /// [`NoteError`] says whether it is malformed, unsigned, forged or of another origin.
    pub fn verify(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let head = TreeHead::parse(key.open(note)?)?;
        if head.origin != key.name {
            return Err(NoteError::Origin { found: head.origin, expected: key.name.clone() });
        }
        Ok(Self { head, signer: key.clone(), text: note.to_owned() })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.head.size
    }

    /// RFC 6962 root hash at that size.
    pub fn root(&self) -> &Hash {
        &self.head.root
    }

    /// The origin line: which log this is.
    pub fn origin(&self) -> &str {
        &self.head.origin
    }

    /// The whole signed note, as served at `checkpoint`.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn signed_by(&self, key: &VerifierKey) -> bool {
        self.signer == *key
    }
}

/// What a checkpoint says, signature aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeHead {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

impl TreeHead {
    /// Reads the head of a signed note without checking any signature.
    pub(crate) fn of_note(note: &str) -> Result<Self, NoteError> {
        Self::parse(split_note(note)?.0)
    }

    fn parse(text: &str) -> Result<Self, NoteError> {
        let malformed = |why| NoteError::Malformed { why };
        let mut lines = text.strip_suffix('\n').ok_or(malformed("no final newline"))?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed("fewer than three lines"));
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(malformed("an empty line"));
        }
        let canonical = size == "0" || (!size.starts_with('0') && size.bytes().all(|b| b.is_ascii_digit()));
        let size =
            size.parse().ok().filter(|_| canonical).ok_or(malformed("tree size is not a plain decimal"))?;
        let root = BASE64.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = root.ok_or(malformed("root hash is not base64 of 32 bytes"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

struct Signature<'a> {
    name: &'a str,
    id: u32,
    bytes: Vec<u8>,
}

/// Splits a note at its last empty line into the text and its parsed signature lines.
fn split_note(
    note: &str,
) -> Result<(&str, impl Iterator<Item = Result<Signature<'_>, NoteError>>), NoteError> {
    let malformed = |why| NoteError::Malformed { why };
    if note.len() > NOTE_BYTES_MAX {
        return Err(malformed("longer than 64 KiB"));
    }
    if note.bytes().any(|b| b < 0x20 && b != b'\n') {
        return Err(malformed("contains a control character"));
    }
    let at = note.rfind("\n\n").ok_or(malformed("no blank line before signatures"))?;
    let (text, signatures) = (&note[..=at], &note[at + 2..]);
    let signatures = signatures.strip_suffix('\n').ok_or(malformed("no signature line"))?;
    if signatures.split('\n').count() > NOTE_SIGNATURES_MAX {
        return Err(malformed("more than 64 signatures"));
    }
    let lines = signatures.split('\n').map(move |line| {
        let line = line.strip_prefix("\u{2014} ").ok_or(malformed("a signature line without em dash"))?;
        let (name, encoded) = line.split_once(' ').ok_or(malformed("a signature line without signature"))?;
        let bytes = BASE64.decode(encoded).map_err(|_| malformed("a signature that is not base64"))?;
        let (id, signature) = bytes.split_first_chunk().ok_or(malformed("a signature without key id"))?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') || signature.is_empty() {
            return Err(malformed("a signature without name or bytes"));
        }
        Ok(Signature { name, id: u32::from_be_bytes(*id), bytes: signature.to_vec() })
    });
    Ok((text, lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The worked example of the note package of the Go checksum database, from which the C2SP format comes.
    const SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const WITNESS: &str = "\u{2014} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
    /// The example of C2SP tlog-checkpoint.
    const CHECKPOINT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

    #[test]
    fn reference_note_is_reproduced_and_opened() {
        let key = SigningKey::parse(SKEY).unwrap();
        assert_eq!(key.verifier().to_string(), VKEY);
        let note = format!("{TEXT}\n{LINE}");
        assert_eq!(key.sign_note(TEXT), note);
        assert_eq!(VKEY.parse::<VerifierKey>().unwrap().open(&note), Ok(TEXT));
    }

    #[test]
    fn notes_open_only_when_the_key_signed_them() {
        let key: VerifierKey = VKEY.parse().unwrap();
        let flipped = LINE.replace("x08go/Z", "x08go/Y");
        let cases = [
            (format!("{TEXT}\n{LINE}"), Ok(())),
            (format!("{TEXT}\n{WITNESS}{LINE}"), Ok(())),
            (format!("{TEXT}\n{WITNESS}"), Err("unknown")),
            (format!("{TEXT}\n"), Err("malformed")),
            (format!("{TEXT}x\n\n{LINE}"), Err("forged")),
            (format!("{TEXT}\n{flipped}"), Err("forged")),
            (format!("{TEXT}\n{LINE}{flipped}"), Err("forged")),
            (format!("{TEXT}\n{}", LINE.trim_end()), Err("malformed")),
            (format!("{TEXT}\t\n\n{LINE}"), Err("malformed")),
            (format!("{TEXT}{LINE}"), Err("malformed")),
            (format!("{TEXT}\n{}", LINE.repeat(65)), Err("malformed")),
            (String::new(), Err("malformed")),
        ];
        for (note, expected) in cases {
            let got = key.open(&note).map(|_| ()).map_err(|error| match error {
                NoteError::Malformed { .. } => "malformed",
                NoteError::UnknownKey { .. } => "unknown",
                NoteError::Forged { .. } => "forged",
                NoteError::Origin { .. } => "origin",
            });
            assert_eq!(got, expected, "{note:?}");
        }
    }

    #[test]
    fn checkpoint_heads() {
        let head = TreeHead::of_note(CHECKPOINT).unwrap();
        assert_eq!((head.origin.as_str(), head.size), ("example.com/behind-the-sofa", 20_852_163));
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let cases = [
            (format!("o\n0\n{root}\n"), true),
            (format!("o\n7\n{root}\nextension\n"), true),
            (format!("o\n07\n{root}\n"), false),
            (format!("o\n+7\n{root}\n"), false),
            (format!("o\n\n{root}\n"), false),
            (format!("\n7\n{root}\n"), false),
            (format!("o\n7\n{root}\n\n"), false),
            (format!("o\n7\n{}\n", &root[4..]), false),
            (format!("o\n18446744073709551616\n{root}\n"), false),
            (format!("o\n7\n{root}"), false),
            ("o\n7\n".to_owned(), false),
        ];
        for (text, accepted) in cases {
            assert_eq!(TreeHead::parse(&text).is_ok(), accepted, "{text:?}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_origin_is_refused() {
        let key = SigningKey::generate("example.org/log").unwrap();
        let made = key.sign_checkpoint(3, [7; 32]);
        assert_eq!(Checkpoint::verify(made.text(), &key.verifier()), Ok(made.clone()));
        let foreign = key.sign_note(&made.text().split_once("\n\n").unwrap().0.replace("/log", "/other"));
        assert!(matches!(Checkpoint::verify(&foreign, &key.verifier()), Err(NoteError::Malformed { .. })));
        let foreign = key.sign_note("example.org/other\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n");
        assert!(matches!(Checkpoint::verify(&foreign, &key.verifier()), Err(NoteError::Origin { .. })));
    }

    #[test]
    fn keys_parse_only_in_canonical_form() {
        for (text, accepted) in [
            (VKEY.to_owned(), true),
            (VKEY.replace("c74f20a3", "c74f20a4"), false),
            (VKEY.replace("PeterNeumann", "Peter Neumann"), false),
            (VKEY.replace("PeterNeumann", ""), false),
            (VKEY.replace("+ARpc", "+Axpc"), false),
            (VKEY[..VKEY.len() - 4].to_owned(), false),
            ("a+b".to_owned(), false),
        ] {
            assert_eq!(text.parse::<VerifierKey>().is_ok(), accepted, "{text}");
        }
        assert!(SigningKey::parse(&SKEY.replace("PRIVATE+", "")).is_err());
        assert!(SigningKey::parse(&SKEY.replace("c74f20a3", "c74f20a4")).is_err());
    }

    #[test]
    fn key_files_are_private_new_and_come_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = SigningKey::generate("example.org/log").unwrap();
        key.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&path).unwrap().starts_with("PRIVATE+KEY+example.org/log+"));
        assert_eq!(SigningKey::load(&path).unwrap().verifier(), key.verifier());
        assert!(matches!(key.save(&path), Err(KeyError::Io(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SigningKey::load(&path), Err(KeyError::Exposed { mode: 0o640 })));
    }
}
