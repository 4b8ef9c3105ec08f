//! Decides what may leave the gate towards the agent or the journal, and in which form.
//! What is over a limit is withheld whole and said so; nothing is ever cut and passed on.

pub mod across;
pub mod again;
mod detect;
mod detectors;
mod finding;
pub mod handle;
pub mod known;
pub mod leak;
mod personal;
mod plausible;
mod reconsider;
pub mod rule;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;
mod text;

pub use finding::{Class, Confidence, Finding};
pub use personal::Personal;
pub use stream::{FINDINGS_MAX, Filter, KEPT_BYTES_MAX, KEPT_ENTRIES_MAX, Redacted, Settings, Stream};

use crate::label::Labeled;
use crate::request::tree::Tree;
use crate::tool::ToolName;

/// Largest result handed to an agent, in bytes of JSON.
pub const RESULT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest text kept in a record, in bytes; a longer one is replaced by its length and digest.
pub const RECORD_TEXT_BYTES_MAX: usize = 2048;
/// Largest argument tree kept in a record, in bytes of canonical JSON.
pub const RECORD_ARGUMENTS_BYTES_MAX: usize = 24 * 1024;

/// A result that may go to the agent.
#[must_use]
#[derive(Debug)]
pub struct Release<T> {
    /// The result.
    pub value: T,
    /// Where it came from.
    pub source: ToolName,
}

/// A result that may not.
#[derive(Debug, thiserror::Error)]
pub enum Withheld {
    /// It is too large.
    #[error(
        "the result of `{source_name}` is {bytes} bytes, more than {RESULT_BYTES_MAX}; it was withheld, ask for less"
    )]
    TooLarge {
        /// Where it came from.
        source_name: ToolName,
        /// Its size.
        bytes: usize,
    },
    /// Without what it must not show it is no result any more.
    #[error(
        "the result of `{source_name}` could not be shown without what it must not show; it was withheld"
    )]
    Unwritable {
        /// Where it came from.
        source_name: ToolName,
    },
}

/// A result whose text can be replaced.
pub trait Rewritable: AsRef<[u8]> + Sized {
    /// Whether results of this kind are searched: what a tool says is, what a client says to its own server is not.
    const SEARCHED: bool;
    /// The same result with this text; nothing where the text is no such result.
    fn with_text(self, text: Vec<u8>) -> Option<Self>;
}

/// A result that was searched.
#[must_use]
#[derive(Debug)]
pub struct Searched<T> {
    /// The result, with handles in place of what was found; as it was where nothing was.
    pub result: Labeled<T>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was replaced.
    pub kept: Vec<handle::Kept>,
}

/// Searches a result on its way to the agent, by `search`. One that is too large to be released is not read.
///
/// # Errors
/// [`Withheld::Unwritable`].
pub fn screen<T: Rewritable>(
    result: Labeled<T>,
    search: impl FnOnce(&[u8]) -> Redacted,
) -> Result<Searched<T>, Withheld> {
    let (value, source) = result.into_parts();
    let unchanged = |value, source| Searched {
        result: Labeled::new(value, source),
        findings: Vec::new(),
        kept: Vec::new(),
    };
    if !T::SEARCHED || value.as_ref().len() > RESULT_BYTES_MAX {
        return Ok(unchanged(value, source));
    }
    let Redacted { text, mut findings, kept } = search(value.as_ref());
    findings.retain(|finding| finding.class != Class::Handle);
    if findings.is_empty() {
        return Ok(unchanged(value, source));
    }
    match value.with_text(text) {
        Some(value) => Ok(Searched { result: Labeled::new(value, source), findings, kept }),
        None => Err(Withheld::Unwritable { source_name: source }),
    }
}

/// Releases a result towards the agent.
///
/// # Errors
/// [`Withheld`] when it is larger than [`RESULT_BYTES_MAX`].
pub fn release<T: AsRef<[u8]>>(result: Labeled<T>) -> Result<Release<T>, Withheld> {
    let (value, source) = result.into_parts();
    let bytes = value.as_ref().len();
    if bytes > RESULT_BYTES_MAX {
        return Err(Withheld::TooLarge { source_name: source, bytes });
    }
    Ok(Release { value, source })
}

/// Arguments as a record may hold them: values under credential names masked, long texts replaced by length and digest.
pub fn recordable(arguments: &Tree) -> Tree {
    let masked = mask(arguments);
    let text = masked.canonical();
    if text.len() <= RECORD_ARGUMENTS_BYTES_MAX {
        return masked;
    }
    Tree::Text(format!("[{} bytes, sha256 {}]", text.len(), crate::digest::hex(text.as_bytes())))
}

fn mask(tree: &Tree) -> Tree {
    match tree {
        Tree::Map(members) => Tree::Map(
            members
                .iter()
                .map(|(name, value)| {
                    let kept = if names_a_credential(name) {
                        Tree::Text("[masked]".to_owned())
                    } else {
                        mask(value)
                    };
                    (name.clone(), kept)
                })
                .collect(),
        ),
        Tree::List(items) => Tree::List(items.iter().map(mask).collect()),
        Tree::Text(text) if text.len() > RECORD_TEXT_BYTES_MAX => {
            Tree::Text(format!("[{} bytes, sha256 {}]", text.len(), crate::digest::hex(text.as_bytes())))
        }
        other => other.clone(),
    }
}

/// Whether a member of this name usually holds a credential.
fn names_a_credential(name: &str) -> bool {
    const WORDS: [&str; 11] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "accesskey",
        "privatekey",
        "authorization",
        "credential",
        "cookie",
    ];
    let folded: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    WORDS.iter().any(|word| folded.contains(word))
        && !folded.ends_with("tokens")
        && !folded.starts_with("max")
}
