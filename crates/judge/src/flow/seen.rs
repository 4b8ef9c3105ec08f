//! What tools answered: the words anybody may have written, those a server vouches for, and those of private compartments.
//! Only hashes are kept, within bounds; a value that is not found here is not trusted for it.

use super::word;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Longest run of words that is found inside a longer text, in words.
const RUN_WORDS_MAX: usize = 6;
/// Most vouched numbers that are computed with.
const NUMBERS_MAX: usize = 1_024;
/// Most runs of vouched words remembered in one conversation; what comes later is not vouched for.
const VOUCHED_MAX: usize = 512 * 1024;
/// Most distinct untrusted words remembered in one conversation, for explanations only.
const UNTRUSTED_MAX: usize = 2 * 1024 * 1024;
/// Most private values remembered in one conversation; once full, every text of the conversation counts as private.
const PRIVATE_MAX: usize = 256 * 1024;
/// Most results that are told apart in explanations.
const SOURCES_MAX: usize = u16::MAX as usize;
/// Shortest private word, in bytes.
const PRIVATE_BYTES_MIN: usize = 5;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    sources: Vec<String>,
    vouched: HashMap<u64, u16>,
    /// Vouched numbers, to compute with.
    numbers: Vec<f64>,
    /// Runs the agent itself wrote somewhere before anybody vouched for them.
    written: HashSet<u64>,
    untrusted: HashMap<u32, u16>,
    private: BTreeMap<String, HashSet<u64>>,
    is_private_full: bool,
}

impl Seen {
    /// A number for a result of `source`.
    pub(super) fn source(&mut self, source: &str) -> u16 {
        if let Some(at) = self.sources.iter().rposition(|known| known == source) {
            return u16::try_from(at).unwrap_or(u16::MAX);
        }
        if self.sources.len() < SOURCES_MAX {
            self.sources.push(source.to_owned());
        }
        u16::try_from(self.sources.len() - 1).unwrap_or(u16::MAX)
    }

    /// The result a number stands for.
    fn name(&self, source: u16) -> &str {
        self.sources.get(usize::from(source)).map_or("an earlier result", String::as_str)
    }

    /// Words the server vouches for.
    pub(super) fn vouch(&mut self, text: &str, source: u16) {
        for line in text.lines() {
            let words = word::plain(line);
            if let [only] = words.as_slice()
                && let Some(Ok(number)) = word::number(only).map(|text| text.parse())
                && self.numbers.len() < NUMBERS_MAX
                && !self.written.contains(&hash(&words))
                && !self.numbers.contains(&number)
            {
                self.numbers.push(number);
            }
            runs(&words, |run| {
                if self.vouched.len() < VOUCHED_MAX {
                    self.vouched.entry(run).or_insert(source);
                }
            });
        }
    }

    /// Numbers that servers vouch for.
    pub(super) fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    /// Words anybody may have written.
    pub(super) fn distrust(&mut self, text: &str, source: u16) {
        word::each(text, |word| {
            if self.untrusted.len() < UNTRUSTED_MAX {
                self.untrusted.insert(short(&word.text), source);
            }
        });
    }

    /// What the agent writes somewhere: no server vouches for it later because it gives it back.
    pub(super) fn wrote(&mut self, words: &[String]) {
        let Self { vouched, written, .. } = self;
        runs(words, |run| {
            if written.len() < VOUCHED_MAX && !vouched.contains_key(&run) {
                written.insert(run);
            }
        });
    }

    /// Values of a private compartment.
    pub(super) fn keep_private(&mut self, compartment: &str, text: &str) {
        let values = self.private.entry(compartment.to_owned()).or_default();
        // `Name: Ann Smith` holds a value beside the line as a whole.
        let parts = text.lines().flat_map(|line| [Some(line), line.split_once(": ").map(|(_, value)| value)]);
        for part in parts.flatten() {
            let words = word::plain(part);
            let value = words.concat();
            let mut add = |value| {
                if values.len() < PRIVATE_MAX {
                    values.insert(value);
                } else {
                    self.is_private_full = true;
                }
            };
            if value.len() >= PRIVATE_BYTES_MIN && words.len() <= RUN_WORDS_MAX {
                add(hash(&words));
            }
            words
                .iter()
                .filter(|word| is_telling(word))
                .for_each(|word| add(hash(std::slice::from_ref(word))));
        }
    }

    /// Whether a server vouches for `words`, and which result of it.
    pub(super) fn vouches(&self, words: &[String]) -> Option<&str> {
        let run = hash(words);
        // What was full when it was written cannot be told from what was not.
        let is_own = self.written.contains(&run) || self.written.len() >= VOUCHED_MAX;
        self.vouched.get(&run).filter(|_| !words.is_empty() && !is_own).map(|source| self.name(*source))
    }

    /// The untrusted results in which each of `words` was read, if all were.
    pub(super) fn read_in(&self, words: &[String]) -> Option<BTreeMap<&str, usize>> {
        let mut sources = BTreeMap::new();
        for word in words {
            *sources.entry(self.name(*self.untrusted.get(&short(word))?)).or_default() += 1;
        }
        (!words.is_empty()).then_some(sources)
    }

    /// Private values in `text`, each with its compartment, without those that `is_known` elsewhere.
    pub(super) fn private_in(
        &self,
        text: &str,
        is_known: impl Fn(&[String]) -> bool,
    ) -> Vec<(String, String)> {
        if self.private.is_empty() {
            return Vec::new();
        }
        if self.is_private_full {
            return vec![("more than can be told apart".to_owned(), "any private value".to_owned())];
        }
        let words = word::plain(text);
        let mut found = Vec::new();
        // `passport:X1234567` is one word, and so is a link with a value in it.
        let inside = |word: &String| {
            let pieces = word.split(|c: char| !c.is_alphanumeric() && c != '@' && c != '.');
            pieces
                .filter(|piece| piece.len() < word.len())
                .map(|piece| vec![piece.to_owned()])
                .collect::<Vec<_>>()
        };
        for piece in words.iter().flat_map(inside) {
            let value = hash(&piece);
            if let Some((compartment, _)) = self.private.iter().find(|(_, values)| values.contains(&value))
                && !is_known(&piece)
            {
                found.push((compartment.clone(), piece.concat()));
            }
        }
        for at in 0..words.len() {
            for length in 1..=RUN_WORDS_MAX.min(words.len() - at) {
                let run = &words[at..at + length];
                let value = hash(run);
                let compartment = self.private.iter().find(|(_, values)| values.contains(&value));
                if let Some((compartment, _)) = compartment
                    && !is_known(run)
                {
                    found.push((compartment.clone(), run.join(" ")));
                }
            }
        }
        found
    }
}

/// Every run of at most [`RUN_WORDS_MAX`] words, and the whole.
fn runs(words: &[String], mut found: impl FnMut(u64)) {
    for at in 0..words.len() {
        for length in 1..=RUN_WORDS_MAX.min(words.len() - at) {
            found(hash(&words[at..at + length]));
        }
    }
    if words.len() > RUN_WORDS_MAX {
        found(hash(words));
    }
}

/// A word that by itself tells something: a number of some length, an address.
fn is_telling(word: &str) -> bool {
    word.len() >= PRIVATE_BYTES_MIN
        && (word.contains('@') || word.bytes().filter(u8::is_ascii_digit).count() >= 4)
}

fn hash(words: &[String]) -> u64 {
    word::hash(words.iter().map(String::as_str))
}

/// Half a hash: enough for an explanation.
fn short(word: &str) -> u32 {
    (word::hash([word]) & u64::from(u32::MAX)) as u32
}
