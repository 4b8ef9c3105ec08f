//! Public keys of passkeys as COSE_Key (RFC 9052 §7) and what they signed. Nothing here holds a private key.

use super::cbor::{Item, item};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

/// ECDSA with P-256 and SHA-256, Ed25519, and RSA for Windows Hello, as COSE numbers them, best first.
pub(crate) const ALGORITHMS: [i64; 3] = [-8, -7, -257];

/// A public key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    P256 { x: &'a [u8], y: &'a [u8] },
    Ed25519(&'a [u8]),
    Rsa { n: &'a [u8], e: &'a [u8] },
}

impl<'a> Key<'a> {
    /// Reads a key and moves `rest` past it; nothing for a key of another kind or form.
    pub(super) fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let map = item(rest).ok()?;
        let int = |label: i64| match map.get(&Item::Int(label)) {
            Some(Item::Int(value)) => Some(*value),
            _ => None,
        };
        let bytes = |label: i64, length: usize| {
            map.get(&Item::Int(label)).and_then(Item::bytes).filter(|found| found.len() == length)
        };
        // kty (1), alg (3), then by kind: crv (-1), x (-2), y (-3) or n (-1), e (-2): RFC 9053 §7, RFC 8230 §4.
        match (int(1)?, int(3)?) {
            (2, -7) if int(-1)? == 1 => Some(Key::P256 { x: bytes(-2, 32)?, y: bytes(-3, 32)? }),
            (1, -8) if int(-1)? == 6 => Some(Key::Ed25519(bytes(-2, 32)?)),
            (3, -257) => {
                let part = |label: i64| map.get(&Item::Int(label)).and_then(Item::bytes);
                Some(Key::Rsa { n: part(-1)?, e: part(-2)? })
            }
            _ => None,
        }
    }

    /// Whether the holder of this key signed `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::P256 { x, y } => {
                let point = [&[4], *x, *y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
            }
            Key::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
            Key::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    };

    #[test]
    fn each_kind_of_key_believes_its_own_signature_and_no_other() {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
        let point = p256.public_key().as_ref();
        let mut es = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        es.extend([&point[1..33], &[0x22, 0x58, 0x20], &point[33..65]].concat());
        let es_signature = p256.sign(&SystemRandom::new(), b"said").expect("a signature");

        let ed25519 = Ed25519KeyPair::generate().expect("a key");
        let mut ed = vec![0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20];
        ed.extend(ed25519.public_key().as_ref());

        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        // RSAPublicKey: a sequence of two integers, the first of 257 bytes with its leading zero.
        let n = &rsa.public_key().as_ref()[9..265];
        let mut rs = vec![0xa4, 0x01, 0x03, 0x03, 0x39, 0x01, 0x00, 0x20, 0x59, 0x01, 0x00];
        rs.extend([n, &[0x21, 0x43, 0x01, 0x00, 0x01]].concat());
        let mut rs_signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"said", &mut rs_signature).expect("a signature");

        let all = [
            (es, es_signature.as_ref().to_vec()),
            (ed, ed25519.sign(b"said").as_ref().to_vec()),
            (rs, rs_signature),
        ];
        for (at, (cose, _)) in all.iter().enumerate() {
            let mut rest = &cose[..];
            let key = Key::read(&mut rest).expect("a key");
            assert!(rest.is_empty());
            for (of, (_, signature)) in all.iter().enumerate() {
                assert_eq!(key.signed(b"said", signature), at == of, "{at} {of}");
            }
            assert!(!key.signed(b"saId", &all[at].1));
            // Another algorithm under the same kind, or a key cut off, is none.
            let mut other = cose.clone();
            other[4] ^= 0x03;
            assert!(Key::read(&mut &other[..]).is_none());
            assert!(Key::read(&mut &cose[..cose.len() - 1]).is_none());
        }
    }
}
