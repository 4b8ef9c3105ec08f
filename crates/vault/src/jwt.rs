//! Signed statements of who somebody is (RFC 7519, RFC 7523): a private key signs here and is never sent anywhere.

use crate::secret::Secret;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far a statement is dated back for clocks that differ, and how long it is good for, in seconds.
const BACK_SECONDS: u64 = 60;
const GOOD_SECONDS: u64 = 120;

/// A private key that signs.
pub(crate) enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// The key in `pem`: RSA from 2048 bits, P-256, P-384 or Ed25519.
    pub(crate) fn read(pem: &Secret) -> Result<Self, &'static str> {
        let unusable = "its key is no private key in PEM that could sign (RSA, P-256, P-384, Ed25519)";
        let curves: [(&'static EcdsaSigningAlgorithm, &str); 2] =
            [(&ECDSA_P256_SHA256_FIXED_SIGNING, "ES256"), (&ECDSA_P384_SHA384_FIXED_SIGNING, "ES384")];
        pem.expose(|pem| match PrivateKeyDer::from_pem_slice(pem) {
            Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok().map(Self::Rsa),
            Ok(PrivateKeyDer::Sec1(der)) => curves.into_iter().find_map(|(curve, name)| {
                let pair = EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der());
                pair.ok().map(|pair| Self::Ec(pair, name))
            }),
            Ok(PrivateKeyDer::Pkcs8(der)) => {
                let der = der.secret_pkcs8_der();
                let curve = |(curve, name)| {
                    EcdsaKeyPair::from_pkcs8(curve, der).ok().map(|pair| Self::Ec(pair, name))
                };
                let rsa = || RsaKeyPair::from_pkcs8(der).ok().map(Self::Rsa);
                let edwards = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Ed25519);
                rsa().or_else(|| curves.into_iter().find_map(curve)).or_else(edwards)
            }
            _ => None,
        })
        .ok_or(unusable)
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_, name) => name,
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// `claims`, signed.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, &'static str> {
        let header = json!({ "alg": self.algorithm(), "typ": "JWT" }).to_string();
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let (random, unsigned) = (SystemRandom::new(), "its key does not sign");
        let signature = match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
                    .map_err(|_| unsigned)?;
                signature
            }
            Self::Ec(pair, _) => {
                pair.sign(&random, signed.as_bytes()).map_err(|_| unsigned)?.as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// What proves `client` to the authorization server `issuer`, once and for two minutes. It names the server by its identifier and
/// not by an endpoint, so that nobody in between can show it elsewhere.
pub(crate) fn assertion(pem: &Secret, client: &str, issuer: &str) -> Result<String, &'static str> {
    let key = Key::read(pem)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut once = [0; 16];
    SystemRandom::new().fill(&mut once).map_err(|_| "the system gives no random bytes")?;
    key.sign(&json!({
        "iss": client,
        "sub": client,
        "aud": issuer,
        "jti": URL_SAFE_NO_PAD.encode(once),
        "iat": now.saturating_sub(BACK_SECONDS),
        "exp": now + GOOD_SECONDS,
    }))
}

/// The public half of what is in `pem`, for tests that verify.
#[cfg(test)]
pub(crate) fn public(pem: &Secret) -> Vec<u8> {
    use aws_lc_rs::signature::KeyPair as _;
    match Key::read(pem).expect("a key") {
        Key::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        Key::Ec(pair, _) => pair.public_key().as_ref().to_vec(),
        Key::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
    };
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    #[test]
    fn a_statement_is_signed_by_the_key_it_names_and_by_no_other() {
        let kinds: [(_, &dyn VerificationAlgorithm, _); 3] = [
            (&PKCS_ECDSA_P256_SHA256, &ECDSA_P256_SHA256_FIXED, "ES256"),
            (&PKCS_ECDSA_P384_SHA384, &ECDSA_P384_SHA384_FIXED, "ES384"),
            (&PKCS_ED25519, &ED25519, "EdDSA"),
        ];
        for (kind, verify, name) in kinds {
            let made =
                || Secret::copy_of(KeyPair::generate_for(kind).unwrap().serialize_pem().as_bytes()).unwrap();
            let (pem, other) = (made(), made());
            let (one, two) =
                (assertion(&pem, "c", "https://as.example"), assertion(&pem, "c", "https://as.example"));
            let (one, two) = (one.unwrap(), two.unwrap());
            assert_ne!(one, two, "each is good once");
            let (signed, signature) = one.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let verified = |key: &Secret, text: &str| {
                UnparsedPublicKey::new(verify, public(key)).verify(text.as_bytes(), &signature).is_ok()
            };
            assert!(verified(&pem, signed) && !verified(&other, signed), "{name}");
            assert!(!verified(&pem, &format!("{signed}x")), "{name}");
            let part = |at: usize| -> Value {
                let part = signed.split('.').nth(at).unwrap();
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
            };
            assert_eq!(part(0), json!({ "alg": name, "typ": "JWT" }));
            let claims = part(1);
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("c"), &json!("c")));
            assert_eq!(claims["aud"], "https://as.example");
            let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
            assert_eq!(life, BACK_SECONDS + GOOD_SECONDS);
        }
        for wrong in ["no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(assertion(&Secret::copy_of(wrong.as_bytes()).unwrap(), "c", "i").is_err());
        }
    }
}
