//! One certificate authority in the format of Java's trust stores (JKS, version 2), which Java reads and nothing else does.
//! The digest at its end guards against accidents, not against anybody: the password is everybody's.

use aws_lc_rs::digest;
use base64::Engine;

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
/// What every Java takes its own store to be sealed with.
const PASSWORD: &str = "changeit";
/// What the format has between the password and the rest of what is digested.
const SALT: &[u8] = b"Mighty Aphrodite";

/// A trust store that holds the one certificate of `pem`.
pub(super) fn trust_store(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let certificate = base64::engine::general_purpose::STANDARD.decode(body).unwrap_or_default();
    let mut store = Vec::with_capacity(certificate.len() + 100);
    for number in [MAGIC, VERSION, 1, TRUSTED_CERTIFICATE] {
        store.extend(number.to_be_bytes());
    }
    text(&mut store, "bailiwick");
    store.extend(0_u64.to_be_bytes());
    text(&mut store, "X.509");
    store.extend(u32::try_from(certificate.len()).unwrap_or(0).to_be_bytes());
    store.extend(certificate);
    let mut whole = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        whole.update(&unit.to_be_bytes());
    }
    whole.update(SALT);
    whole.update(&store);
    store.extend(whole.finish().as_ref());
    store
}

fn text(store: &mut Vec<u8>, text: &str) {
    store.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    store.extend(text.as_bytes());
}
