//! A grant token as anybody may send it: refused, never a panic, and never one that an issuer did not sign. What a signer signs is
//! read back as it was signed, and no change of a byte is.
#![no_main]

use gateway::config::approvals::Issuer;
use gateway::tokens::{SigningKey, Token};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("a key").0);
static ISSUERS: LazyLock<[Issuer; 1]> =
    LazyLock::new(|| [Issuer { name: "ci".to_owned(), key: SIGNER.public() }]);

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    assert!(Token::verified(&text, &ISSUERS[..]).is_err(), "a signature holds by chance");
    // As a payload of an issuer that writes what it likes: bounds still hold, whatever it says.
    let Ok(token) = serde_json::from_slice::<Token>(bytes) else { return };
    let signed = SIGNER.sign(&token);
    if let Ok(read) = Token::verified(&signed, &ISSUERS[..]) {
        assert_eq!((read.issuer.as_str(), &read.id, read.uses), ("ci", &token.id, token.uses));
        for at in [0, signed.len() / 2, signed.len() - 2] {
            let mut bent = signed.clone().into_bytes();
            bent[at] ^= 1;
            let bent = String::from_utf8_lossy(&bent).into_owned();
            assert!(Token::verified(&bent, &ISSUERS[..]).is_err(), "a bent token was believed");
        }
        if read.check(1_790_000_000).is_ok() {
            assert!(read.uses >= 1 && read.scope.until > 1_790_000_000 && read.scope.to_judge().is_ok());
        }
    }
});
