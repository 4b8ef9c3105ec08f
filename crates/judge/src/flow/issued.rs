//! Names that a server gave to things, tied to what people call these things.
//! An issued name is found through the user's words only where one single thing has the name that the user said, and only for
//! the kind of thing it was issued for: the 13th event is not the 13th file.

use super::heard::Heard;
use super::word;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most issued names remembered in one conversation; what comes later is not found.
const IDS_MAX: usize = 64 * 1024;
/// Most names remembered of one thing.
const NAMES_OF_ONE_MAX: usize = 16;
/// Most kinds of things told apart in one conversation.
const KINDS_MAX: usize = 4 * 1024;
/// Shortest issued name, in characters, that no two kinds of things share if letters and digits are in it.
const STRONG_CHARS_MIN: usize = 8;
/// Most words of a name by whose parts it is found.
const PARTS_WORDS_MAX: usize = 16;
/// Words of the names of tools and arguments that say what is done or that something is named, not what it is.
const NO_KIND: [&str; 40] = [
    "a",
    "add",
    "all",
    "append",
    "by",
    "cancel",
    "create",
    "delete",
    "fetch",
    "find",
    "for",
    "from",
    "get",
    "id",
    "in",
    "key",
    "list",
    "name",
    "new",
    "no",
    "number",
    "of",
    "query",
    "read",
    "recent",
    "ref",
    "remove",
    "reschedule",
    "result",
    "search",
    "send",
    "set",
    "sha",
    "share",
    "show",
    "the",
    "to",
    "update",
    "with",
    "write",
];

/// Issued names and what they stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Issued {
    /// What is told apart: the server, and the words that say what it issued a name for.
    kinds: Vec<Kind>,
    /// Names in words with the kinds they were seen with, by issued name.
    names: HashMap<String, BTreeMap<Vec<String>, BTreeSet<usize>>>,
    /// Issued names, by server and name in words.
    owners: HashMap<(String, Vec<String>), BTreeSet<String>>,
    /// The same, by each part of a name that is several words.
    parts: HashMap<(String, Vec<String>), BTreeSet<String>>,
}

/// One kind of thing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    server: String,
    words: BTreeSet<String>,
    /// The answer as a whole is vouched for: a directory, in which nobody enters himself.
    is_directory: bool,
}

impl Issued {
    /// Notes one record of `server`: its issued names and what people call it; `about` says what kind of thing it is.
    pub(super) fn record(
        &mut self,
        server: &str,
        is_directory: bool,
        about: &[String],
        ids: &[Vec<String>],
        names: &[Vec<String>],
    ) {
        if ids.is_empty() {
            return;
        }
        let kind = Kind { server: server.to_owned(), words: kind_of(about), is_directory };
        let at = self.kinds.iter().position(|known| *known == kind).unwrap_or(self.kinds.len());
        if at == self.kinds.len() {
            if at >= KINDS_MAX {
                return;
            }
            self.kinds.push(kind);
        }
        for id in ids {
            let id = id.join(" ");
            if self.names.len() >= IDS_MAX && !self.names.contains_key(&id) {
                continue;
            }
            let known = self.names.entry(id.clone()).or_default();
            for name in names.iter().filter(|name| !name.is_empty()) {
                // Who shares a name is noted even where the name is not, so that it is never taken for the only one.
                let owned = [(&mut self.owners, vec![name.clone()]), (&mut self.parts, parts(name))];
                for (owners, names) in owned {
                    for name in names {
                        let owners = owners.entry((server.to_owned(), name)).or_default();
                        if owners.len() < 2 {
                            owners.insert(id.clone());
                        }
                    }
                }
                if known.len() < NAMES_OF_ONE_MAX || known.contains_key(name) {
                    known.entry(name.clone()).or_default().insert(at);
                }
            }
        }
    }

    /// The name under which a directory of `server` lists `value`, if that is how the user called it, in full and at least in two
    /// words, and nothing else has that name.
    pub(super) fn listed(&self, server: &str, value: &[String], heard: &Heard) -> Option<String> {
        let names = self.names.get(&value.join(" "))?;
        let in_directory = |at: &usize| self.kinds[*at].is_directory && self.kinds[*at].server == server;
        let is_said = |name: &Vec<String>| {
            let owners = self.owners.get(&(server.to_owned(), name.clone()));
            name.len() >= 2 && owners.is_some_and(|owners| owners.len() == 1) && heard.says(name, &[])
        };
        let found = names.iter().find(|(name, kinds)| kinds.iter().any(in_directory) && is_said(name));
        found.map(|(name, _)| name.join(" "))
    }

    /// The name by which the user said the thing that `id` stands for at `server`, as an argument whose name or tool says `about`.
    pub(super) fn named(
        &self,
        server: &str,
        about: &[String],
        id: &[String],
        heard: &Heard,
    ) -> Option<String> {
        let id = id.join(" ");
        let names = self.names.get(&id)?;
        let wanted = kind_of(about);
        let is_strong = id.chars().count() >= STRONG_CHARS_MIN
            && id.chars().any(char::is_alphabetic)
            && id.bytes().any(|b| b.is_ascii_digit());
        let is_kind = |at: &usize| {
            let kind = &self.kinds[*at];
            kind.server == server && (is_strong || !kind.words.is_disjoint(&wanted))
        };
        let is_only = |owners: &HashMap<(String, Vec<String>), BTreeSet<String>>, name: &[String]| {
            owners.get(&(server.to_owned(), name.to_vec())).is_some_and(|owners| owners.len() == 1)
        };
        let is_said = |name: &Vec<String>| {
            (is_only(&self.owners, name) && heard.says(name, &[]))
                || parts(name)
                    .iter()
                    .any(|part| tells(name, part) && is_only(&self.parts, part) && heard.says(part, &[]))
        };
        names
            .iter()
            .find(|(name, kinds)| kinds.iter().any(is_kind) && is_said(name))
            .map(|(name, _)| name.join(" "))
    }
}

/// What kind of thing words speak of, in the singular.
pub(super) fn kind_of(about: &[String]) -> BTreeSet<String> {
    let singular =
        |word: &String| word.strip_suffix('s').filter(|rest| rest.len() > 2).unwrap_or(word).to_owned();
    about.iter().map(singular).filter(|word| NO_KIND.binary_search(&word.as_str()).is_err()).collect()
}

/// The words inside a name: `grocery-list-today.docx` is called by `grocery`, `list` and `today`.
fn inner(name: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for (at, word) in name.iter().enumerate() {
        let stem = word
            .rsplit_once('.')
            .filter(|(stem, end)| at + 1 == name.len() && !stem.is_empty() && end.len() <= 4);
        let word = stem.map_or(word.as_str(), |(stem, _)| stem);
        words.extend(
            word.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned),
        );
    }
    words
}

/// Every run of at least two words inside a name.
fn parts(name: &[String]) -> Vec<Vec<String>> {
    let words = inner(name);
    if words.len() > PARTS_WORDS_MAX {
        return Vec::new();
    }
    let runs = |from: usize| (from + 2..=words.len()).map(move |to| (from, to));
    (0..words.len()).flat_map(runs).map(|(from, to)| words[from..to].to_vec()).collect()
}

/// Whether `part` holds every word of the name that tells it from others.
fn tells(name: &[String], part: &[String]) -> bool {
    inner(name).iter().all(|word| word::is_weak(word) || word::number(word).is_some() || part.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_thing_is_found_by_its_kind_and_by_the_words_that_tell_it_from_others() {
        let mut heard = Heard::default();
        heard.hear(
            "Add eggs to the grocery list, then tell me about the 'Networking event' and the board meeting.",
        );
        let mut issued = Issued::default();
        let table = [
            ("search_events", "13", "networking event"),
            ("list_files", "13", "vacation-plans.docx"),
            ("list_files", "9", "grocery-list-today.docx"),
            ("list_files", "21", "board-meeting-minutes.docx"),
            ("list_files", "22", "board-meeting-2024.docx"),
            ("list_files", "23", "eggs.docx"),
        ];
        for (tool, id, name) in table {
            issued.record("s", false, &word::parts_of_name(tool), &[words(id)], &[words(name)]);
        }
        let named = |about: &str, id: &str| {
            issued.named("s", &word::parts_of_name(about), &words(id), &heard).is_some()
        };
        assert!(named("event_id", "13") && named("cancel_event", "13"));
        assert!(!named("file_id", "13"), "the event was named, not the file");
        assert!(!named("id", "13"), "nothing says what kind of thing is meant");
        assert!(named("file_id", "9"));
        assert!(!named("file_id", "22"), "two names hold these words");
        assert!(!named("file_id", "21"), "and this one says more than the user");
        assert!(!named("file_id", "23"), "one word is no name");
        assert!(issued.named("t", &words("file"), &words("9"), &heard).is_none(), "another server");
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(NO_KIND.is_sorted());
    }
}
