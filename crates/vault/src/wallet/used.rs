//! What became of a request: which secrets were put in, or why it was stopped. Both are safe to log.

use super::Handle;
use crate::binding::{Capture, Destination, Mismatch};
use crate::error::SecretError;
use crate::lease::Held;
use crate::name::SecretName;
use std::fmt;
use std::sync::Arc;

/// One secret that was put into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedSecret {
    /// Its name.
    pub name: SecretName,
    /// Which version.
    pub version: u64,
}

/// A field that a body may hold a secret in, and its value.
pub(super) type Field = (Arc<Handle>, String, Result<Arc<Held>, SecretError>);

/// What was put into one request, and what its body and its answer are still to be passed through. It is to be kept until
/// the exchange has ended.
pub struct Used {
    pub(super) secrets: Vec<UsedSecret>,
    pub(super) to: Destination,
    /// Secrets that the body may hold, with the field and the value.
    pub(super) fields: Vec<Field>,
    pub(super) captures: Vec<Capture>,
    /// What was put in: while this lives, these values are looked for in what comes back, rotated or not.
    pub(super) _values: Vec<Arc<Held>>,
}

impl Used {
    /// What was put into the head.
    #[must_use]
    pub fn secrets(&self) -> &[UsedSecret] {
        &self.secrets
    }

    /// Where the request goes.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.to
    }
}

/// A placeholder, or worse a value, where it does not belong. Nothing of the request was changed or may be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret `{secret}` in {place}: {why}")]
pub struct Misuse {
    /// Which secret.
    pub secret: SecretName,
    /// Where in the request.
    pub place: String,
    /// Why that stops it.
    pub why: Why,
}

/// Why a request is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// No binding covers it; this is what the nearest one says.
    Mismatch(Mismatch),
    /// It stands in more than one header of the same name, and servers differ in which they read.
    Twice,
    /// It is the value itself, which nobody inside can have by right.
    Value,
    /// There is no value to put in.
    Unavailable(SecretError),
    /// The value cannot be written in that place.
    Unwritable,
    /// The signature cannot be made anew, for this reason.
    Signature(&'static str),
    /// The body is longer than can be looked through for a field, or inflates without bound.
    TooLarge,
    /// The body says it is compressed, and is not.
    Undecodable,
    /// The body is in this coding, which cannot be undone here.
    Coding(String),
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch(mismatch) => mismatch.fmt(out),
            Self::Twice => out.write_str("the header is there more than once"),
            Self::Value => out.write_str("it is the real value, which nothing inside should know: rotate it"),
            Self::Unavailable(error) => error.fmt(out),
            Self::Unwritable => out.write_str("its value cannot be written there"),
            Self::Signature(why) => out.write_str(why),
            Self::TooLarge => out.write_str("the body is too large to be looked through"),
            Self::Coding(name) => write!(
                out,
                "the body has the content coding `{name}`, which cannot be searched; send it plain, or as gzip, deflate, br or zstd"
            ),
            Self::Undecodable => out.write_str("the body is not compressed the way it says"),
        }
    }
}
