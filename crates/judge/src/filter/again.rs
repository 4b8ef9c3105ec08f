//! What was taken out of one result of a session stays out of all later ones: as it was written, under its own handle; written
//! otherwise, as a guarded value. Otherwise a secret that only its surroundings gave away could be moved out of them and read.

use super::handle::{Handles, Kept};
use super::known::Known;
use super::known::{Guarded, KnownError, VALUE_BYTES_MAX, VALUE_BYTES_MIN};
use super::{Class, Confidence, Finding};
use crate::request::tree::Tree;
use aho_corasick::{AhoCorasick, MatchKind};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Most values of one session that are looked for again; the oldest go first.
pub const AGAIN_ENTRIES_MAX: usize = 512;
/// Fewest letters and digits of a value that is looked for however it is written: a shorter one would be found by chance.
const SAID_CHARS_MIN: usize = 12;

/// A handle, its kind and what it stands for.
type Value = (Box<str>, Arc<str>, Zeroizing<Vec<u8>>);

/// Values of one session, as JSON writes them.
#[derive(Clone)]
pub struct Again {
    exact: Arc<AhoCorasick>,
    values: Arc<[Value]>,
}

impl Again {
    /// The newest values that `handles` stand for; nothing when there is none to look for.
    pub fn of(handles: &Handles) -> Option<Self> {
        let long = VALUE_BYTES_MIN..=VALUE_BYTES_MAX;
        let newest = handles
            .newest()
            .filter(|(handle, _, value)| long.contains(&value.len()) && handle.as_bytes() != *value);
        let values: Arc<[_]> = newest
            .take(AGAIN_ENTRIES_MAX)
            .map(|(handle, kind, value)| (handle.into(), Arc::clone(kind), Zeroizing::new(value.to_vec())))
            .collect();
        let patterns = values.iter().map(|(_, _, value)| value.as_slice());
        let exact = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns).ok()?;
        (!values.is_empty()).then(|| Self { exact: Arc::new(exact), values })
    }

    /// `text` with each value that stands in it as it was read replaced by its handle, what they were, and what was found.
    pub fn hide(&self, text: &[u8]) -> Option<(Vec<u8>, Vec<Kept>, Vec<Finding>)> {
        let (mut out, mut kept, mut findings) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = 0;
        for found in self.exact.find_iter(text) {
            let (handle, kind, value) = &self.values[found.pattern().as_usize()];
            out.extend_from_slice(&text[at..found.start()]);
            out.extend_from_slice(handle.as_bytes());
            at = found.end();
            kept.push(Kept::new(handle.clone(), Arc::clone(kind), value));
            findings.push(Finding {
                kind: Arc::clone(kind),
                class: Class::Secret,
                confidence: Confidence::Certain,
                start: found.start() as u64,
                end: found.end() as u64,
                handle: handle.clone(),
            });
        }
        if findings.is_empty() {
            return None;
        }
        out.extend_from_slice(&text[at..]);
        Some((out, kept, findings))
    }

    /// The same values, to be found however they are written.
    ///
    /// # Errors
    /// There are too many.
    pub fn known(&self) -> Result<Known, KnownError> {
        let values: Vec<(Arc<str>, Zeroizing<String>)> = self
            .values
            .iter()
            .filter_map(|(_, kind, value)| {
                let quoted = Zeroizing::new([b"\"", value.as_slice(), b"\""].concat());
                let Ok(Tree::Text(text)) = Tree::parse(&quoted) else { return None };
                let said = text.bytes().filter(u8::is_ascii_alphanumeric).count();
                (said >= SAID_CHARS_MIN && text.len() <= VALUE_BYTES_MAX)
                    .then(|| (Arc::clone(kind), Zeroizing::new(text)))
            })
            .collect();
        let guarded: Vec<Guarded<'_>> = values
            .iter()
            .map(|(kind, text)| Guarded { handle: kind, value: text.as_bytes(), stand_in: b"" })
            .collect();
        Known::compile(&guarded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::handle::SessionKey;
    use super::*;

    #[test]
    fn what_was_taken_out_once_is_found_alone_and_however_it_is_written() {
        let key = SessionKey::new(&[3; 32]);
        let mut handles = Handles::default();
        assert!(Again::of(&handles).is_none());
        let value = br#"hunter2 \"and\" more"#;
        let handle = key.handle("password", value);
        handles.keep(vec![Kept::new(handle.clone(), "password".into(), value)], "a");
        let again = Again::of(&handles).unwrap();
        let (out, kept, findings) = again.hide(br#"n1: hunter2 \"and\" more."#).unwrap();
        assert_eq!(out, format!("n1: {handle}.").as_bytes());
        assert_eq!((kept.len(), findings.len()), (1, 1));
        assert!(again.hide(b"hunter2 and more").is_none(), "not as it was written");
        let known = again.known().unwrap();
        for written in ["aHVudGVyMiAiYW5kIiBtb3Jl", r"hunter2 \u0022and\u0022 more"] {
            let (out, found) = known.redact(written.as_bytes(), super::super::known::Replace::Handle);
            assert_eq!((&*out, found.len()), (&b"BW-HIDDEN-password-WB"[..], 1), "{written}");
        }
    }
}
