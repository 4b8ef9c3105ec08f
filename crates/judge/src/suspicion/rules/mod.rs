//! Every rule, one file for a family and one line here. A rule tells that something is there; what it means is for others to say.

mod addressed;
mod carried;
mod concealed;
mod override_orders;
mod posing;
mod tool_orders;

use super::Place;
use aho_corasick::{AhoCorasick, MatchKind};
use regex::bytes::Regex;
use std::ops::Range;

/// Finds one kind of carrier.
#[derive(Debug)]
pub struct Rule {
    /// Names it in records: lowercase words joined by hyphens.
    pub name: &'static str,
    /// What it says, for people.
    pub says: &'static str,
    /// Where alone it looks; nowhere for everywhere.
    pub place: Option<Place>,
    find: fn(&str) -> Option<Range<usize>>,
    /// Texts in which it finds something.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests read it"))]
    pub(super) matches: &'static [&'static str],
    /// Texts in which it finds nothing.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests read it"))]
    pub(super) near_misses: &'static [&'static str],
}

impl Rule {
    /// The first place where it finds something.
    pub fn find(&self, text: &str) -> Option<Range<usize>> {
        (self.find)(text)
    }
}

/// Every rule.
pub static RULES: &[&Rule] = &[
    &addressed::READER,
    &addressed::SECRECY,
    &carried::PICTURE,
    &carried::ASKED_FOR,
    &concealed::COMMENT,
    &concealed::STYLE,
    &override_orders::OVERRIDE,
    &posing::SYSTEM,
    &tool_orders::ABOUT_TOOLS,
];

/// Whether a stretch of text orders its reader about: what makes a hidden one worth telling.
fn orders(text: &str) -> bool {
    [&override_orders::OVERRIDE, &addressed::READER, &addressed::SECRECY, &posing::SYSTEM]
        .iter()
        .any(|rule| rule.find(text).is_some())
        || super::score(text) > super::SCORE_FLAGGED_OVER
}

/// How much of a text before and after an anchor a pattern may look at, in bytes.
const BEHIND_BYTES: usize = 192;
const AHEAD_BYTES: usize = 384;

/// A pattern that is tried only around words without which it cannot hold: most texts have none of them.
struct Pattern {
    anchors: AhoCorasick,
    regex: Regex,
}

impl Pattern {
    fn compile(anchors: &[&str], alternatives: &[&str]) -> Self {
        let anchors = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(anchors);
        let regex = Regex::new(&format!("(?i)(?:{})", alternatives.join("|")));
        Self {
            anchors: anchors.expect("a few words make an automaton"),
            regex: regex.expect("the tests compile every pattern"),
        }
    }

    /// The first place where it holds.
    fn find(&self, text: &str) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        let mut looked_at = 0;
        let mut waiting: Option<Range<usize>> = None;
        let look = |at: Range<usize>| {
            self.regex
                .find_at(&bytes[..text.floor_char_boundary(at.end)], at.start)
                .map(|found| found.range())
        };
        for hit in self.anchors.find_iter(bytes).filter(|hit| is_word(bytes, hit.range())) {
            let start = text.floor_char_boundary(hit.start().saturating_sub(BEHIND_BYTES)).max(looked_at);
            let end = (hit.end() + AHEAD_BYTES).min(bytes.len());
            match &mut waiting {
                Some(before) if start <= before.end => before.end = end,
                _ => {
                    if let Some(before) = waiting.replace(start..end) {
                        looked_at = text.ceil_char_boundary(before.end);
                        if let Some(found) = look(before) {
                            return Some(found);
                        }
                    }
                }
            }
        }
        waiting.and_then(look)
    }
}

/// Whether an anchor does not stand within a word: it begins none, or a short one is only a part of it.
fn is_word(bytes: &[u8], at: Range<usize>) -> bool {
    let first = bytes[at.start];
    let begins =
        !first.is_ascii_alphanumeric() || at.start == 0 || !bytes[at.start - 1].is_ascii_alphanumeric();
    let ends =
        at.len() > 3 || bytes.get(at.end).is_none_or(|next| !next.is_ascii_alphabetic() || *next == b's');
    begins && ends
}

/// A [`Pattern`] compiled on first use: the words it needs, and its alternatives.
macro_rules! pattern {
    ([$($anchor:literal),+ $(,)?], $($alternative:literal),+ $(,)?) => {{
        static PATTERN: std::sync::LazyLock<super::Pattern> =
            std::sync::LazyLock::new(|| super::Pattern::compile(&[$($anchor),+], &[$($alternative),+]));
        |text: &str| PATTERN.find(text)
    }};
}
use pattern;
