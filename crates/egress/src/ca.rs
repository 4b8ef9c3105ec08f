//! The certificate authority of one sandbox: made in memory, constrained to the names of that sandbox, and gone with it.
//! Its keys are never written anywhere and sign nothing but leaves for those names, which live for a week at most.

use crate::name::Name;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use time::{Duration, OffsetDateTime};

/// Before their making, for clocks that are behind.
const VALID_BEFORE: Duration = Duration::days(1);
/// What trusts an authority inside was told so once, when the sandbox began, and cannot be told of another: it lasts longer
/// than any sandbox runs. What ends it is the end of its key, which is in this memory only.
const AUTHORITY_VALID: Duration = Duration::days(3_650);
const LEAF_VALID: Duration = Duration::days(7);
/// How long before its end a leaf is made anew.
const LEAF_SPARE: Duration = Duration::days(3);
/// Leaves kept; past it all are forgotten and made anew, at some tens of microseconds each.
const LEAVES_MAX: usize = 4_096;
/// RFC 5280 upper bound of a common name.
const COMMON_NAME_BYTES_MAX: usize = 64;

/// A certificate authority for the names of one sandbox.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    certificate: CertificateDer<'static>,
    permitted: Vec<Name>,
    leaf_key: KeyPair,
    until: OffsetDateTime,
    leaves: Mutex<HashMap<Name, Leaf>>,
}

#[derive(Clone)]
struct Leaf {
    server: Arc<ServerConfig>,
    #[cfg(test)]
    certificate: CertificateDer<'static>,
    until: OffsetDateTime,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The authority may not sign for this name.
    #[error("{0} is outside the names that this sandbox's certificate authority was made for")]
    Outside(Name),
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS would not take it.
    #[error("cannot use a certificate: {0}")]
    Tls(#[from] rustls::Error),
}

impl Ca {
    /// An authority for `names` and, as name constraints go, what is beneath them: for `*.example.com` give
    /// `example.com`. Without names it can sign nothing.
    ///
    /// # Errors
    /// Keys or the certificate could not be made.
    pub fn new(names: &[Name]) -> Result<Self, CaError> {
        let now = OffsetDateTime::now_utc();
        let until = now + AUTHORITY_VALID;
        let mut params = CertificateParams::default();
        params.not_before = now - VALID_BEFORE;
        params.not_after = until;
        params.distinguished_name = common_name("Bailiwick sandbox");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        // Constraints of one kind of name say nothing of another, so addresses are excluded by themselves; and no
        // constraint at all would permit every name, so an authority without names gets one that nobody has.
        let mut permitted: Vec<_> =
            names.iter().map(|name| GeneralSubtree::DnsName(name.to_string())).collect();
        if permitted.is_empty() {
            permitted.push(GeneralSubtree::DnsName("invalid".to_owned()));
        }
        let every = |address: IpAddr| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 0));
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: permitted,
            excluded_subtrees: vec![every([0; 4].into()), every([0; 16].into())],
        });
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            permitted: names.to_vec(),
            leaf_key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            until,
            leaves: Mutex::default(),
        })
    }

    /// The authority's certificate, for the trust stores inside.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// What ends TLS for `name`.
    pub(crate) fn server(&self, name: &Name) -> Result<Arc<ServerConfig>, CaError> {
        self.server_at(name, OffsetDateTime::now_utc())
    }

    fn server_at(&self, name: &Name, now: OffsetDateTime) -> Result<Arc<ServerConfig>, CaError> {
        if let Some(leaf) = self.leaves.lock().unwrap_or_else(PoisonError::into_inner).get(name)
            && now + LEAF_SPARE < leaf.until
        {
            return Ok(leaf.server.clone());
        }
        let leaf = self.leaf(name, now)?;
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if leaves.len() >= LEAVES_MAX {
            leaves.clear();
        }
        leaves.insert(name.clone(), leaf.clone());
        Ok(leaf.server)
    }

    fn leaf(&self, name: &Name, now: OffsetDateTime) -> Result<Leaf, CaError> {
        if !self.permitted.iter().any(|permitted| is_beneath(name, permitted)) {
            return Err(CaError::Outside(name.clone()));
        }
        let until = (now + LEAF_VALID).min(self.until);
        let mut params = CertificateParams::default();
        params.not_before = now - VALID_BEFORE;
        params.not_after = until;
        let common = name.as_str();
        params.distinguished_name =
            common_name(if common.len() > COMMON_NAME_BYTES_MAX { "-" } else { common });
        params.subject_alt_names = vec![SanType::DnsName(common.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(self.leaf_key.serialize_der().into());
        let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone(), self.certificate.clone()], key)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Leaf {
            server: Arc::new(server),
            #[cfg(test)]
            certificate: leaf.der().clone(),
            until,
        })
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// RFC 5280 §4.2.1.10: zero or more labels added to the left.
fn is_beneath(name: &Name, permitted: &Name) -> bool {
    let left = name.as_str().strip_suffix(permitted.as_str());
    left.is_some_and(|left| left.is_empty() || left.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};

    #[test]
    fn leaves_are_made_for_the_given_names_only() {
        let name = |text: &str| Name::parse(text).unwrap();
        let ca = Ca::new(&[name("a.example"), name("b.example")]).unwrap();
        for (asked, is_permitted) in [
            ("a.example", true),
            ("x.a.example", true),
            ("b.example", true),
            ("xa.example", false),
            ("example", false),
            ("c.example", false),
        ] {
            assert_eq!(ca.server(&name(asked)).is_ok(), is_permitted, "{asked}");
        }
        assert!(Ca::new(&[]).unwrap().server(&name("a.example")).is_err());
        assert!(Arc::ptr_eq(
            &ca.server(&name("a.example")).unwrap(),
            &ca.server(&name("a.example")).unwrap()
        ));
        assert!(ca.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    }
    #[test]
    fn a_sandbox_that_runs_for_long_gets_new_leaves_under_the_authority_it_trusts() {
        let name = Name::parse("a.example").unwrap();
        let ca = Ca::new(std::slice::from_ref(&name)).unwrap();
        let begun = OffsetDateTime::now_utc();
        let at = |days| ca.server_at(&name, begun + Duration::days(days)).unwrap();
        let first = at(0);
        assert!(Arc::ptr_eq(&first, &at(3)), "a leaf that is good for long yet is kept");
        let second = at(5);
        assert!(!Arc::ptr_eq(&first, &second), "one that ends soon is not");
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let server = ServerName::try_from("a.example").unwrap();
        for (asked, on, is_good) in
            [(0, 0, true), (0, 6, true), (0, 8, false), (8, 8, true), (400, 406, true)]
        {
            let leaf = ca.leaf(&name, begun + Duration::days(asked)).unwrap().certificate;
            let now = begun + Duration::days(on);
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                now.unix_timestamp().unsigned_abs(),
            ));
            let verified = verifier.verify_server_cert(&leaf, &[], &server, &[], now);
            assert_eq!(verified.is_ok(), is_good, "made on day {asked}, seen on day {on}: {verified:?}");
        }
    }
}
