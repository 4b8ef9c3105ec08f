//! Finds keys that lie in a project's files and in what clients are configured with, by the filter's own detectors.
//! It only reads, follows no link, and says of a value nothing but where it stands.

use super::record;
use gateway::config::clients::Found;
use judge::filter::handle::SessionKey;
use judge::filter::known::{Known, VALUE_BYTES_MAX, VALUE_BYTES_MIN};
use judge::filter::{Class, Confidence, Filter, Personal, Settings};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Folders that hold no files of the project's own, or the gate's.
const SKIPPED: [&str; 8] = [
    ".git",
    "node_modules",
    "target",
    ".venv",
    "venv",
    "__pycache__",
    ".tox",
    gateway::config::place::FOLDER,
];
/// Entries of folders that are looked at, for files with variables.
const ENTRIES_MAX: usize = 200_000;
/// How deep below the project such files are looked for, in folders.
const LEVELS_MAX: usize = 12;
/// Longest file with variables, in bytes.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A value that looks like a key, and where it stands.
pub(super) struct Key {
    /// What calls it so: a variable, a header.
    pub(super) name: String,
    /// The detector that found it.
    pub(super) kind: String,
    pub(super) value: Zeroizing<Vec<u8>>,
}

/// A file with keys in it that programs read themselves.
pub(super) struct Keyed {
    pub(super) file: PathBuf,
    pub(super) keys: Vec<(usize, Key)>,
}

/// Where in a server's configuration something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Variable(String),
    Header(String),
    /// An argument of its command, or its address, where nothing can be put in.
    Fixed(&'static str),
}

/// A key of a server.
pub(super) struct ServerKey {
    pub(super) part: Part,
    /// Where in that part's text.
    pub(super) at: Range<usize>,
    /// Whether the client's file has it, and not the environment that the client starts in.
    pub(super) in_file: bool,
    pub(super) key: Key,
}

/// The filter, asked about files.
pub(super) struct Search(Filter);

impl Search {
    pub(super) fn new() -> anyhow::Result<Self> {
        let settings = Settings {
            secrets: true,
            personal: Personal::NONE,
            least: Confidence::Possible,
            rules: Vec::new(),
        };
        Ok(Self(Filter::compile(&settings, Known::compile(&[])?)))
    }

    fn places(&self, text: &[u8]) -> Vec<(Range<usize>, String)> {
        // The key of handles that nobody is shown.
        let found = self.0.redact(text, &SessionKey::new(&[0; 32])).findings;
        let secret = found.into_iter().filter(|finding| finding.class == Class::Secret);
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
        secret.map(|finding| (place(finding.start)..place(finding.end), finding.kind.to_string())).collect()
    }

    /// Keys in a text of lines `NAME=VALUE`, with the line each stands in.
    fn lines(&self, text: &[u8]) -> Vec<(usize, Key)> {
        let mut keys: Vec<(usize, Key)> = Vec::new();
        for (at, kind) in self.places(text) {
            let start = text[..at.start].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let line = String::from_utf8_lossy(&text[start..at.start]);
            let before = line.split('=').next().unwrap_or_default().trim_start_matches('\u{feff}').trim();
            let name = before.strip_prefix("export ").unwrap_or(before).trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            let name = if !name.is_empty() && name.chars().all(plain) { name } else { &kind };
            let number = text[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
            let key =
                Key { name: name.to_owned(), kind: kind.clone(), value: Zeroizing::new(text[at].to_vec()) };
            keys.push((number, key));
        }
        keys.retain(|(_, key)| can_be_guarded(&key.value));
        keys
    }

    /// Keys in `value`, which `name` is given by what stands between.
    fn value(&self, name: &str, between: &str, value: &str) -> Vec<(Range<usize>, Key)> {
        let opening = format!("{name}{between}");
        let text = Zeroizing::new(format!("{opening}{value}\n"));
        let inside = |at: &Range<usize>| at.start >= opening.len() && at.end < text.len();
        let found = self.places(text.as_bytes()).into_iter().filter(|(at, _)| inside(at));
        let keys = found.map(|(at, kind)| {
            let value = Zeroizing::new(text.as_bytes()[at.clone()].to_vec());
            (at.start - opening.len()..at.end - opening.len(), Key { name: name.to_owned(), kind, value })
        });
        keys.filter(|(_, key)| can_be_guarded(&key.value)).collect()
    }

    /// Keys in what a client has for a server.
    pub(super) fn server(&self, found: &Found) -> Vec<ServerKey> {
        let (server, written) = (&found.server, &found.written);
        let mut keys = Vec::new();
        let mut add =
            |part: &dyn Fn() -> Part, name: &str, between: &str, value: &str, written: Option<&String>| {
                for (mut at, mut key) in self.value(name, between, value) {
                    if matches!(part(), Part::Header(_)) {
                        // A header is put together as what stands before the value, and the value.
                        at.end = value.len();
                        key.value = Zeroizing::new(value.as_bytes()[at.clone()].to_vec());
                    }
                    let in_file = written.is_some_and(|written| memchr(written.as_bytes(), &key.value));
                    keys.push(ServerKey { part: part(), at, in_file, key });
                }
            };
        for (name, value) in &server.env {
            add(&|| Part::Variable(name.clone()), name, "=", value, written.env.get(name));
        }
        for (name, value) in &server.headers {
            add(&|| Part::Header(name.clone()), name, ": ", value, written.headers.get(name));
        }
        let words = server.command.iter().zip(&written.command).skip(1);
        let mut before = String::new();
        for (word, written) in words {
            let name = before.trim_start_matches('-').to_owned();
            add(&|| Part::Fixed("an argument of its command"), &name, "=", word, Some(written));
            before.clone_from(word);
        }
        if let (Some(url), Some(written)) = (&server.url, &written.url) {
            add(&|| Part::Fixed("its address"), "", "", url, Some(written));
        }
        keys
    }

    /// Keys in `files` of variables.
    pub(super) fn files(&self, files: Vec<PathBuf>, notes: &mut Vec<String>) -> Vec<Keyed> {
        let mut keyed = Vec::new();
        for file in files {
            match record::content(&file) {
                Ok((text, _)) if text.len() <= FILE_BYTES_MAX => {
                    let keys = self.lines(&text);
                    if !keys.is_empty() {
                        keyed.push(Keyed { file, keys });
                    }
                }
                Ok(_) => notes
                    .push(format!("{}: longer than {FILE_BYTES_MAX} bytes; not searched", file.display())),
                Err(why) => notes.push(format!("{}: {why}; not searched", file.display())),
            }
        }
        keyed
    }

    /// Keys in the variables that Claude Code's settings of `project` set.
    pub(super) fn settings(&self, project: &Path) -> Vec<Keyed> {
        let mut keyed = Vec::new();
        for name in [".claude/settings.json", ".claude/settings.local.json"] {
            let file = project.join(name);
            let Ok((text, _)) = record::content(&file) else { continue };
            let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
            let Ok(settings) = serde_json::from_slice::<serde_json::Value>(text) else { continue };
            let mut keys = Vec::new();
            for (name, value) in settings["env"].as_object().into_iter().flatten() {
                let found = self.value(name, "=", value.as_str().unwrap_or_default());
                keys.extend(found.into_iter().map(|(_, key)| (0, key)));
            }
            if !keys.is_empty() {
                keyed.push(Keyed { file, keys });
            }
        }
        keyed
    }
}

/// Whether a value is of a length that can be found again wherever it turns up.
fn can_be_guarded(value: &[u8]) -> bool {
    (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len())
}

fn memchr(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

/// Files of variables in `project`, by their names, in order.
pub(super) fn files_of_variables(project: &Path, notes: &mut Vec<String>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = VecDeque::from([(project.to_owned(), 0)]);
    let mut seen = 0;
    while let Some((folder, level)) = waiting.pop_front() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                notes.push(format!(
                    "more than {ENTRIES_MAX} files; those with variables beyond were not looked for"
                ));
                files.sort();
                return files;
            }
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
            let name = name.to_string_lossy();
            if kind.is_dir() && !SKIPPED.contains(&&*name) && level < LEVELS_MAX {
                waiting.push_back((entry.path(), level + 1));
            } else if !kind.is_dir()
                && (name == ".env" || name == ".envrc" || name.starts_with(".env.") || name.ends_with(".env"))
            {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// How many keys of each name there are, in words.
pub(super) fn named<'a>(keys: impl Iterator<Item = &'a Key>) -> String {
    let mut counted: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for key in keys {
        *counted.entry((&key.name, &key.kind)).or_default() += 1;
    }
    let words = counted.into_iter().map(|((name, kind), count)| {
        let times = if count > 1 { format!(" × {count}") } else { String::new() };
        if name == kind { format!("{name}{times}") } else { format!("{name} ({kind}){times}") }
    });
    words.collect::<Vec<_>>().join(", ")
}
