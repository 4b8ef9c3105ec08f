//! Handles: the texts that stand where something was replaced, and what they stand for. A handle is made from the value and the
//! session's key, so it is the same each time and tells nothing; it is turned back only where its holder says it may be.
//!
//! `BW-email-k3f9m2qtw7ab-WB`: letters, digits and hyphens, inert in JSON, YAML, URLs, shells and Markdown, and like nothing else.

use super::detect::{Detector, Find, Found};
use super::finding::{Class, Confidence};
use super::personal::Personal;
use super::text::{Bytes, Text};
use crate::request::tree::Tree;
use aws_lc_rs::hmac;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Most handles a session can turn back; the oldest go first, and are then refused.
pub const HANDLES_ENTRIES_MAX: usize = 65_536;
/// Most bytes of values a session keeps for them.
pub const HANDLES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most places remembered in which one value was seen.
pub const ORIGINS_ENTRIES_MAX: usize = 32;
/// Longest handle, in bytes.
pub const HANDLE_BYTES_MAX: usize = 128;

const OPENING: &str = "BW-";
const CLOSING: &str = "-WB";
const GUARDED: &str = "HIDDEN-";
const TAG_CHARS: usize = 12;
static INSIDE: Bytes = Bytes::of("A-Za-z0-9.-");

/// The key of one session, from which its handles are made.
#[derive(Clone)]
pub struct SessionKey(Arc<hmac::Key>);

impl SessionKey {
    /// The key with these bytes, which must be random and secret.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The handle for a value of a kind: the same for the same value, and telling nothing to who has not the key.
    pub(super) fn handle(&self, kind: &str, value: &[u8]) -> Box<str> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(value);
        let tag = context.sign();
        let bits = tag.as_ref().iter().take(8).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let mut out = format!("{OPENING}{kind}-");
        for at in 0..TAG_CHARS {
            out.push(char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(bits >> (5 * at)) as usize & 31]));
        }
        out.push_str(CLOSING);
        out.into()
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Kept").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// A value that was replaced, and the handle in its place.
pub struct Kept {
    handle: Box<str>,
    kind: Arc<str>,
    value: Zeroizing<Vec<u8>>,
}

impl Kept {
    pub(super) fn new(handle: Box<str>, kind: Arc<str>, value: &[u8]) -> Self {
        Self { handle, kind, value: Zeroizing::new(value.to_vec()) }
    }

    /// What stands in its place.
    pub fn handle(&self) -> &str {
        &self.handle
    }
}

/// A handle whose value is known, for the question whether it may be turned back.
pub struct Held<'a> {
    /// What was written.
    pub handle: &'a str,
    /// The kind of value.
    pub kind: &'a str,
    origins: &'a [Arc<str>],
}

impl Held<'_> {
    /// Whether the value was seen there.
    pub fn came_from(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| **known == *origin)
    }
}

struct Entry {
    kind: Arc<str>,
    value: Zeroizing<Vec<u8>>,
    origins: Vec<Arc<str>>,
}

/// What the handles of one session stand for.
#[derive(Default)]
pub struct Handles {
    entries: HashMap<Box<str>, Entry>,
    tags: HashSet<Box<str>>,
    order: VecDeque<Box<str>>,
    bytes: usize,
    kept: u64,
}

/// Why a handle was not turned back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrestored {
    /// It may not be, here.
    NotPermitted,
    /// No value is known for it: it is another session's, or too old, or made up.
    Unknown,
    /// It stands for a value that never leaves the vault.
    Guarded,
    /// It is one of this session's, changed.
    Mangled,
}

/// A handle in a text that is about to be written or sent, which cannot stay there: it would take the place of what it stands for.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{handle}` stands for a hidden value and {}", match .why {
    Unrestored::NotPermitted => "may not be turned back here; leave that part as it is, or ask for permission",
    Unrestored::Unknown => "is not known in this session; read the text again",
    Unrestored::Guarded => "is put in only where its secret is bound; leave that part as it is",
    Unrestored::Mangled => "was changed; write it exactly as it was read",
})]
pub struct HandleInWrite {
    /// The handle, as written.
    pub handle: Box<str>,
    /// Why it stays.
    pub why: Unrestored,
}

impl Handles {
    /// Remembers what was replaced in something read from `origin` (a file, a tool).
    pub fn keep(&mut self, kept: Vec<Kept>, origin: &str) {
        let origin: Arc<str> = origin.into();
        for Kept { handle, kind, value } in kept {
            if let Some(entry) = self.entries.get_mut(&handle) {
                if entry.origins.len() < ORIGINS_ENTRIES_MAX && !entry.origins.contains(&origin) {
                    entry.origins.push(Arc::clone(&origin));
                }
                continue;
            }
            if value.len() > HANDLES_BYTES_MAX {
                continue;
            }
            self.kept += 1;
            self.bytes += value.len();
            self.order.push_back(handle.clone());
            self.tags.insert(tag(&handle).into());
            self.entries.insert(handle, Entry { kind, value, origins: vec![Arc::clone(&origin)] });
            while self.entries.len() > HANDLES_ENTRIES_MAX || self.bytes > HANDLES_BYTES_MAX {
                let Some(oldest) = self.order.pop_front() else { break };
                self.tags.remove(tag(&oldest));
                self.bytes -= self.entries.remove(&oldest).map_or(0, |entry| entry.value.len());
            }
        }
    }

    /// Remembers what was replaced in a text that is no JSON. It is put back in JSON, so it is kept as JSON writes it; what is
    /// not UTF-8 cannot be, and its handle is refused.
    pub fn keep_text(&mut self, kept: Vec<Kept>, origin: &str) {
        let escaped = kept.into_iter().filter_map(|Kept { handle, kind, value }| {
            let text = Zeroizing::new(Tree::Text(std::str::from_utf8(&value).ok()?.to_owned()).canonical());
            Some(Kept::new(handle, kind, text.get(1..text.len() - 1)?.as_bytes()))
        });
        self.keep(escaped.collect(), origin);
    }

    /// Remembers what looks like a handle in something read from `origin`, before anything was replaced in it. It is none of this
    /// session's, so there it is a text like any other and written back as it is.
    pub fn keep_found(&mut self, text: &[u8], origin: &str) {
        let mut kept = Vec::new();
        for handle in found_in(text).take(HANDLES_ENTRIES_MAX) {
            let is_ours =
                self.entries.get(handle).is_some_and(|entry| entry.value.as_slice() != handle.as_bytes());
            // One of a guarded value looks the same whoever wrote it.
            if !is_ours && !handle[OPENING.len()..].starts_with(GUARDED) {
                kept.push(Kept::new(handle.into(), "handle".into(), handle.as_bytes()));
            }
        }
        self.keep(kept, origin);
    }

    /// A number that grows whenever there is something new.
    pub fn generation(&self) -> u64 {
        self.kept
    }

    /// What they stand for, the newest first: handle, kind, value.
    pub(super) fn newest(&self) -> impl Iterator<Item = (&str, &Arc<str>, &[u8])> {
        self.order.iter().rev().filter_map(|handle| {
            let entry = self.entries.get(handle)?;
            Some((&**handle, &entry.kind, entry.value.as_slice()))
        })
    }

    /// How many handles can be turned back.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none can be.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The text with every handle turned back that `permitted` says may be.
    ///
    /// # Errors
    /// Every handle that has to stay; the text must then not be written anywhere.
    pub fn restore(
        &self,
        text: &[u8],
        mut permitted: impl FnMut(&Held<'_>) -> bool,
    ) -> Result<Vec<u8>, Vec<HandleInWrite>> {
        let mut out = Vec::with_capacity(text.len());
        let mut refused: Vec<HandleInWrite> = Vec::new();
        let mut refuse = |handle: &[u8], why| {
            let handle = String::from_utf8_lossy(handle).into();
            let finding = HandleInWrite { handle, why };
            if refused.len() < HANDLES_ENTRIES_MAX && !refused.contains(&finding) {
                refused.push(finding);
            }
        };
        let mut at = 0;
        for start in openings(text) {
            if start < at {
                continue;
            }
            let Some(end) = end_at(text, start) else {
                if let Some(end) = self.mangled(text, start) {
                    refuse(&text[start..end], Unrestored::Mangled);
                }
                continue;
            };
            let handle = std::str::from_utf8(&text[start..end]).unwrap_or_default();
            match self.entries.get_key_value(handle) {
                None if handle[OPENING.len()..].starts_with(GUARDED) => {
                    refuse(handle.as_bytes(), Unrestored::Guarded);
                }
                None => refuse(handle.as_bytes(), Unrestored::Unknown),
                Some((handle, entry)) => {
                    if permitted(&Held { handle, kind: &entry.kind, origins: &entry.origins }) {
                        out.extend_from_slice(&text[at..start]);
                        out.extend_from_slice(&entry.value);
                        at = end;
                    } else {
                        refuse(handle.as_bytes(), Unrestored::NotPermitted);
                    }
                }
            }
        }
        out.extend_from_slice(&text[at..]);
        if refused.is_empty() { Ok(out) } else { Err(refused) }
    }

    /// Turns back an edit that replaces `old` by `new`. What stands in `old` must be in the file already, or the edit will not
    /// find its place; so it may also stand in `new`. Anything else in `new` must be permitted.
    ///
    /// # Errors
    /// Every handle that has to stay; the edit must then not be made.
    pub fn restore_edit(
        &self,
        old: &[u8],
        new: &[u8],
        mut permitted: impl FnMut(&Held<'_>) -> bool,
    ) -> Result<(Vec<u8>, Vec<u8>), Vec<HandleInWrite>> {
        let there: HashSet<&str> = found_in(old).collect();
        let old = self.restore(old, |_| true)?;
        let new = self.restore(new, |held| there.contains(held.handle) || permitted(held))?;
        Ok((old, new))
    }

    /// The end of what was one of this session's handles before somebody changed its case or its ends.
    fn mangled(&self, text: &[u8], start: usize) -> Option<usize> {
        let most = text.len().min(start + HANDLE_BYTES_MAX);
        let end = (start..most).find(|at| !INSIDE.has(text[*at]) && text[*at] != b'_').unwrap_or(most);
        let folded = String::from_utf8_lossy(&text[start..end]).to_ascii_lowercase();
        folded.split(['-', '_', '.']).any(|word| self.tags.contains(word)).then_some(end)
    }
}

/// The handles that stand in a text.
pub fn found_in(text: &[u8]) -> impl Iterator<Item = &str> {
    openings(text).filter_map(|start| std::str::from_utf8(&text[start..end_at(text, start)?]).ok())
}

fn tag(handle: &str) -> &str {
    let end = handle.len().saturating_sub(CLOSING.len());
    handle.get(end.saturating_sub(TAG_CHARS)..end).unwrap_or_default()
}

/// Where a handle may begin, in any case.
fn openings(text: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(b'-', text).filter_map(|at| {
        let start = at.checked_sub(2)?;
        text[start..at].eq_ignore_ascii_case(b"BW").then_some(start)
    })
}

fn end_at(bytes: &[u8], start: usize) -> Option<usize> {
    ending(&Text::around(bytes, start, true), start)
}

/// The end of the handle that begins at a place.
fn ending(text: &Text<'_>, start: usize) -> Option<usize> {
    if !text.is(start, OPENING) {
        return None;
    }
    let from = start + OPENING.len();
    let run = text.run(from, &INSIDE, HANDLE_BYTES_MAX);
    let inside = text.slice(from, run);
    let length = memchr::memmem::find(inside, CLOSING.as_bytes())?;
    let inside = &inside[..length];
    let guarded = inside.strip_prefix(GUARDED.as_bytes()).is_some_and(|name| !name.is_empty());
    let ours = inside.len().checked_sub(TAG_CHARS + 1).is_some_and(|at| {
        let (kind, tag) = inside.split_at(at);
        let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        !kind.is_empty()
            && kind.iter().all(word)
            && tag[0] == b'-'
            && tag[1..].iter().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(b))
    });
    (guarded || ours).then_some(from + length + CLOSING.len())
}

/// Finds handles, so that nothing is made of their parts.
pub(super) static DETECTOR: Detector = Detector {
    name: "handle",
    class: Class::Handle,
    personal: Personal::NONE,
    anchors: &[OPENING],
    digits: None,
    find: Find::Code(find),
    matches: &[],
    near_misses: &[],
};

fn find(text: &Text<'_>, at: usize, found: &mut Found<'_>) {
    if let Some(end) = ending(text, at) {
        found.add(at, end, Confidence::Certain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn handles() -> (Handles, Box<str>, Box<str>) {
        let key = SessionKey::new(&KEY);
        let mut handles = Handles::default();
        let kept = |kind: &str, value: &[u8]| Kept::new(key.handle(kind, value), kind.into(), value);
        let (mail, token) = (kept("email", b"ann@example.org"), kept("github-token", b"a \"b\""));
        let names = (mail.handle.clone(), token.handle.clone());
        handles.keep(vec![mail, token], "notes.txt");
        (handles, names.0, names.1)
    }

    #[test]
    fn a_handle_is_the_same_each_time_and_another_in_another_session() {
        let (one, other) = (SessionKey::new(&KEY), SessionKey::new(&[8; 32]));
        assert_eq!(one.handle("email", b"a"), SessionKey::new(&KEY).handle("email", b"a"));
        assert_ne!(one.handle("email", b"a"), other.handle("email", b"a"));
        assert_ne!(one.handle("email", b"a"), one.handle("phone", b"a"));
        let handle = one.handle("github-token", b"a");
        assert_eq!(found_in(format!("x{handle}y").as_bytes()).collect::<Vec<_>>(), [&*handle]);
        assert!(handle.len() <= HANDLE_BYTES_MAX);
    }

    #[test]
    fn permitted_handles_are_turned_back_and_all_others_are_findings() {
        let (handles, mail, token) = handles();
        let text = format!("to {mail}, with {token}{mail}");
        assert_eq!(
            handles.restore(text.as_bytes(), |held| held.came_from("notes.txt")).unwrap(),
            b"to ann@example.org, with a \"b\"ann@example.org"
        );
        let why =
            |text: String| handles.restore(text.as_bytes(), |held| held.kind == "email").unwrap_err()[0].why;
        let unknown = SessionKey::new(&[9; 32]).handle("email", b"x");
        for (given, want) in [
            (token.to_string(), Unrestored::NotPermitted),
            (unknown.to_string(), Unrestored::Unknown),
            ("BW-HIDDEN-github-WB".to_owned(), Unrestored::Guarded),
            (mail.to_lowercase(), Unrestored::Mangled),
            (mail.trim_end_matches("-WB").to_owned(), Unrestored::Mangled),
            (mail.replace('-', "_").replacen('_', "-", 1), Unrestored::Mangled),
        ] {
            assert_eq!(why(given.clone()), want, "{given}");
        }
        for plain in ["BW-5 and bw-x", "BW-email-short-WB", "BW--WB", "BW-HIDDEN--WB"] {
            assert_eq!(handles.restore(plain.as_bytes(), |_| false).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn an_edit_may_keep_what_it_replaces_and_bring_in_nothing_else() {
        let (handles, mail, token) = handles();
        let old = format!("mail = {mail}");
        let (was, is) = handles
            .restore_edit(old.as_bytes(), format!("mail = {mail} # checked").as_bytes(), |_| false)
            .unwrap();
        assert_eq!(was, b"mail = ann@example.org");
        assert_eq!(is, b"mail = ann@example.org # checked");
        let refused = handles.restore_edit(old.as_bytes(), token.as_bytes(), |_| false).unwrap_err();
        assert_eq!(refused, [HandleInWrite { handle: token, why: Unrestored::NotPermitted }]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let key = SessionKey::new(&KEY);
        let mut handles = Handles::default();
        let value = |n: usize| vec![n as u8; HANDLES_BYTES_MAX / 4 + 1];
        let kept = |n: usize| Kept::new(key.handle("x", &value(n)), "x".into(), &value(n));
        (0..5).for_each(|n| handles.keep(vec![kept(n)], "o"));
        assert_eq!(handles.len(), 3);
        assert!(handles.restore(kept(0).handle.as_bytes(), |_| true).is_err());
        assert!(handles.restore(kept(4).handle.as_bytes(), |_| true).is_ok());
    }
}
