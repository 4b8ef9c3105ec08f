//! What a browser says when a passkey was made or used, as anybody may send it: refused, never a panic, and never believed.
//! A key of another's, whatever its form, signs nothing here.
#![no_main]

use gateway::people::webauthn::{Passkey, RelyingParty, Used};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static PARTY: LazyLock<RelyingParty> =
    LazyLock::new(|| RelyingParty { id: "localhost".to_owned(), origin: "http://localhost:8650".to_owned() });
/// As a browser on the right page would say it, in answer to 32 zero bytes.
const MADE: &str = r#"{"type":"webauthn.create","challenge":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","origin":"http://localhost:8650"}"#;
const USED: &str = r#"{"type":"webauthn.get","challenge":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","origin":"http://localhost:8650"}"#;
/// The base point of P-256 as COSE_Key: a key whose secret is known to be 1, so no input signs with it by chance.
const KEY: [u8; 77] = *b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96\x22\x58\x20\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";

fuzz_target!(|bytes: &[u8]| {
    let challenge = [0; 32];
    if let Ok(made) = PARTY.made(&challenge, MADE.as_bytes(), bytes) {
        assert!(!made.id.is_empty() && made.id.len() <= 1023 && !made.key.is_empty());
        // What was read once is read the same again, and as nothing else under another challenge or name.
        assert_eq!(PARTY.made(&challenge, MADE.as_bytes(), bytes).expect("read before"), made);
        assert!(PARTY.made(&[1; 32], MADE.as_bytes(), bytes).is_err(), "another challenge was answered");
        let other = RelyingParty { id: "example.org".to_owned(), ..PARTY.clone() };
        assert!(other.made(&challenge, MADE.as_bytes(), bytes).is_err(), "another party was meant");
    }
    assert!(PARTY.made(&challenge, USED.as_bytes(), bytes).is_err(), "a use passed as a making");
    assert!(PARTY.made(&[2; 32], bytes, bytes).is_err(), "a challenge nobody was given was answered");
    let (data, signature) = bytes.split_at(bytes.len() / 2);
    let (known, foreign) =
        (Passkey { key: KEY.to_vec(), count: 0 }, Passkey { key: data.to_vec(), count: 0 });
    let used = Used { client_data: USED.as_bytes(), authenticator_data: data, signature };
    assert!(PARTY.used(&challenge, &known, used).is_err(), "a signature holds by chance");
    let _ = PARTY.used(&challenge, &foreign, used).is_ok();
});
