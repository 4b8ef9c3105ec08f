//! Why a secret cannot be had. No message holds a value, nor anything that an issuer or a program printed.

use crate::name::SecretName;

/// Why a secret cannot be had. Cheap to clone: every waiter of one failed attempt gets it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nobody configured it.
    #[error("no secret is called `{0}`; set it with `bailiwick secret set {0}` or name its source")]
    Unknown(SecretName),
    /// Its source has no value.
    #[error("secret `{name}`: {place} holds no value")]
    Missing {
        /// Which secret.
        name: SecretName,
        /// Where it was looked for.
        place: String,
    },
    /// Its source could not be read.
    #[error("secret `{name}`: {why}")]
    Source {
        /// Which secret.
        name: SecretName,
        /// What went wrong, without any value.
        why: String,
    },
    /// An issuer did not give a credential.
    #[error("secret `{name}`: {issuer} gave no credential: {why}")]
    Issuer {
        /// Which secret.
        name: SecretName,
        /// Who was asked: a kind and a host.
        issuer: String,
        /// Its status and error code, bounded and plain.
        why: String,
    },
    /// The value is of no use where it is wanted.
    #[error("secret `{name}`: {why}")]
    Shape {
        /// Which secret.
        name: SecretName,
        /// What is wrong with the value, without showing it.
        why: &'static str,
    },
    /// Two secrets need each other, or one names another that does not exist.
    #[error("secret `{name}`: {why}")]
    Reference {
        /// Which secret.
        name: SecretName,
        /// Which reference, and what is wrong with it.
        why: String,
    },
}
