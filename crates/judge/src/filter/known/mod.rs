//! Finds the values the vault guards in any text, however they are written, and replaces them.
//! It never guesses what looks like a secret: it knows these values and finds only them.
//!
//! A text is read once. It is compacted to its letters and digits, where a value is found whether or not it is spaced, laced
//! with invisible or look-alike characters, or wrapped; beside it stand the texts it may also be (unescaped, decoded, unpacked),
//! each read the same way, to a fixed depth. Every reader takes bytes in order and never looks ahead: output cannot depend on
//! chunking, time is linear, and memory does not grow with the stream. Only an escape has text read again that came before it, from
//! where something was under way; nothing is found there that was passed on by then.
//!
//! Held back at the end of a chunk: only what could still become a finding. That is at most the longest way a value is written
//! ([`Known::held_bytes_max`]), except inside packed data over its limit or already found to hold a value, which is replaced.

mod encode;
mod escape;
mod index;
mod inflate;
mod lane;
mod level;
mod packed;
mod place;
mod run;
mod scalar;
mod spelled;
mod stream;
#[cfg(test)]
mod tests;
mod variants;

pub(crate) use scalar::{drawn_like, hidden};
pub(super) use stream::Replaced;
pub use stream::{FINDINGS_MAX, Finding, Stream};

use index::Index;
use std::sync::Arc;

/// Shortest value that can be guarded, in bytes: a shorter one is found by chance.
pub const VALUE_BYTES_MIN: usize = 8;
/// Longest value, in bytes: a certificate chain with its key fits.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Most values in one set.
pub const VALUES_MAX: usize = 20_000;
const OVER_LIMIT: u32 = u32::MAX;
const REACH_BYTES_MIN: usize = 256;

/// A value to be guarded, borrowed while the set is compiled.
#[derive(Clone, Copy)]
pub struct Guarded<'a> {
    /// The name written in its place.
    pub handle: &'a str,
    /// The secret itself, at least [`VALUE_BYTES_MIN`] bytes.
    pub value: &'a [u8],
    /// A harmless text of the same shape.
    pub stand_in: &'a [u8],
}

/// Why a set of values cannot be guarded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(clippy::enum_variant_names, reason = "each says what there is too much of")]
pub enum KnownError {
    /// A value would be found by chance.
    #[error(
        "the value of `{handle}` is {bytes} bytes, fewer than {VALUE_BYTES_MIN}; give it a longer secret"
    )]
    TooShort {
        /// Whose value.
        handle: String,
        /// Its length.
        bytes: usize,
    },
    /// A value is no credential.
    #[error(
        "the value of `{handle}` is {bytes} bytes, more than {VALUE_BYTES_MAX}; guard the parts that are secret"
    )]
    TooLong {
        /// Whose value.
        handle: String,
        /// Its length.
        bytes: usize,
    },
    /// More values than one set holds.
    #[error("{values} values are guarded, more than {VALUES_MAX}; drop those that are no longer in use")]
    TooMany {
        /// How many.
        values: usize,
    },
}

/// What is written where a value stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// A text that names the handle and can be mistaken for nothing else.
    Handle,
    /// As many bytes as were found: the stand-in written alike where that fits, else filler.
    StandIn,
}

/// How a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Byte for byte.
    Raw,
    /// With characters between, look-alikes, other widths.
    Laced,
    /// With escapes.
    Escaped,
    /// In hexadecimal.
    Hex,
    /// As decimal, octal or binary numbers.
    Digits,
    /// In base32.
    Base32,
    /// In base64.
    Base64,
    /// Backwards.
    Reversed,
    /// Letters turned by 13.
    Rot13,
    /// In invisible characters.
    Hidden,
    /// Inside packed data.
    Compressed,
    /// In one encoding inside another.
    Nested,
    /// Not a value: packed data that unpacks to more than may be read.
    OverLimit,
}

struct Value {
    handle: Arc<str>,
    bytes: Box<[u8]>,
    stand_in: Box<[u8]>,
    /// Bytes before and after the part a lane finds.
    lead: usize,
    trail: usize,
}

/// What the readers of a text need to know.
struct Core {
    alnum: Index,
    dense: Index,
    exact: Index,
    /// Fewest letters and digits in which any value is said.
    alnum_chars_min: usize,
    /// How far before and after an escape the unescaped text is read, in bytes.
    reach_bytes: usize,
    /// The shortest value, in bytes: what is too short to say it in some encoding is not decoded.
    shortest_bytes: usize,
}

/// A compiled set of guarded values; share it, replace it when a secret rotates.
#[derive(Clone)]
pub struct Known(Arc<Set>);

struct Set {
    core: Core,
    values: Vec<Value>,
    over_limit: Arc<str>,
    /// The different leading punctuations of values.
    leads: Vec<Box<[u8]>>,
    lead_bytes_max: u64,
    trail_bytes_max: u64,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("values", &self.0.values.len()).finish_non_exhaustive()
    }
}

impl Known {
    /// Compiles the set.
    ///
    /// # Errors
    /// [`KnownError`] when a value is too short or too long to be guarded, or there are too many.
    pub fn compile(values: &[Guarded<'_>]) -> Result<Self, KnownError> {
        if values.len() > VALUES_MAX {
            return Err(KnownError::TooMany { values: values.len() });
        }
        let mut variants = variants::Variants::default();
        let mut held = Vec::with_capacity(values.len());
        for (number, guarded) in values.iter().enumerate() {
            let Guarded { handle, value, stand_in } = *guarded;
            let (handle_text, bytes) = (handle.to_owned(), value.len());
            if bytes < VALUE_BYTES_MIN {
                return Err(KnownError::TooShort { handle: handle_text, bytes });
            }
            if bytes > VALUE_BYTES_MAX {
                return Err(KnownError::TooLong { handle: handle_text, bytes });
            }
            variants.add(number as u32, value);
            let outside = |b: &u8| b.is_ascii() && !b.is_ascii_alphanumeric();
            held.push(Value {
                handle: handle.into(),
                bytes: value.into(),
                stand_in: stand_in.into(),
                lead: value.iter().take_while(|b| outside(b)).count().min(bytes / 2),
                trail: value.iter().rev().take_while(|b| outside(b)).count().min(bytes / 2),
            });
        }
        let mut leads: Vec<Box<[u8]>> =
            held.iter().filter(|v| v.lead > 0).map(|v| v.bytes[..v.lead].into()).collect();
        leads.sort();
        leads.dedup();
        let longest = values.iter().map(|v| v.value.len()).max().unwrap_or(0);
        let alnum = Index::compile(variants.alnum);
        Ok(Self(Arc::new(Set {
            core: Core {
                alnum_chars_min: alnum.shortest(),
                alnum,
                dense: Index::compile(variants.dense),
                exact: Index::compile(variants.exact),
                shortest_bytes: values.iter().map(|v| v.value.len()).min().unwrap_or(VALUE_BYTES_MIN),
                reach_bytes: (3 * longest).max(REACH_BYTES_MIN),
            },
            leads,
            lead_bytes_max: held.iter().map(|v| v.lead as u64).max().unwrap_or(0),
            trail_bytes_max: held.iter().map(|v| v.trail as u64).max().unwrap_or(0),
            values: held,
            over_limit: "over-limit".into(),
        })))
    }

    /// Whether nothing is guarded.
    pub fn is_empty(&self) -> bool {
        self.0.values.is_empty()
    }

    /// Memory the compiled set uses, in bytes.
    pub fn bytes_used(&self) -> usize {
        let Set { core, values, .. } = &*self.0;
        let values: usize =
            values.iter().map(|v| v.bytes.len() + v.stand_in.len() + size_of::<Value>()).sum();
        values + core.alnum.bytes_used() + core.dense.bytes_used() + core.exact.bytes_used()
    }

    /// The longest a stream of plain text is ever held back, in bytes: the longest pattern with the widest gaps.
    pub fn held_bytes_max(&self) -> u64 {
        let Core { alnum, dense, exact, .. } = &self.0.core;
        let widest = [alnum, dense, exact].map(|index| index.longest() as u64 * (1 + index.gap_bytes_max()));
        widest.into_iter().max().unwrap_or(0) * level::INPUT_BYTES_PER_BYTE_MAX
    }

    /// Filters a whole text.
    pub fn redact(&self, text: &[u8], how: Replace) -> (Vec<u8>, Vec<Finding>) {
        let mut stream = self.stream(how);
        let mut out = Vec::with_capacity(text.len());
        stream.push(text, &mut out);
        stream.flush(&mut out);
        (out, stream.into_findings())
    }

    /// Begins to filter a stream.
    pub fn stream(&self, how: Replace) -> Stream {
        Stream::new(Arc::clone(&self.0), how)
    }
}

/// The text that stands for a handle: letters, digits and hyphens only, so that it is inert in JSON, URLs, shells and Markdown.
pub(super) fn mark(handle: &str) -> String {
    let inert = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("BW-HIDDEN-{}-WB", handle.chars().map(inert).collect::<String>())
}
