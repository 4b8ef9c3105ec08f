//! The explanation of one call: for each value of its arguments what it decides, where it came from, and whether that fits.
//! An explanation is what policies, approvers and records see; it permits nothing by itself.

use super::provenance::Provenance;
use super::role::{Reach, Role};
use super::word;
use crate::request::tree::Tree;
use crate::shape::{Field, REST, Shape};
use crate::tool::{Effect, Tool};
use std::collections::BTreeMap;
use std::fmt;

/// Most values of one call that are explained; a call with more does not fit.
const VALUES_MAX: usize = 4_096;
/// Longest value quoted, in characters.
const QUOTED_CHARS_MAX: usize = 200;

/// Where a value came from, the best that could be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The user said it.
    Said,
    /// The operator configured it.
    Configured,
    /// A person endorsed it in this conversation.
    Endorsed,
    /// A server's name of the thing that the user called by this name.
    Issued(String),
    /// A directory that is vouched for lists it under the full name that the user said.
    Listed(String),
    /// The one thing that fits how the user described it: its name begins so, or it is the largest.
    Described(String),
    /// A server vouches for it.
    Vouched(String),
    /// Its type holds no message: a date, a number, a flag.
    Typed,
    /// Made of words that were said, configured or vouched for.
    Made,
    /// Free text, judged by its parts.
    Text,
    /// Every word of it was read in untrusted results: these.
    Untrusted(Vec<String>),
    /// Nobody said it and nothing held it.
    Unseen,
}

impl Origin {
    /// The word policies know it by.
    pub fn word(&self) -> &'static str {
        match self {
            Origin::Said => "said",
            Origin::Configured => "configured",
            Origin::Endorsed => "endorsed",
            Origin::Issued(_) => "issued",
            Origin::Listed(_) => "listed",
            Origin::Described(_) => "described",
            Origin::Vouched(_) => "vouched",
            Origin::Typed => "typed",
            Origin::Made => "made",
            Origin::Text => "text",
            Origin::Untrusted(_) => "untrusted",
            Origin::Unseen => "unseen",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Said => out.write_str("the user said it"),
            Origin::Configured => out.write_str("it is configured"),
            Origin::Endorsed => out.write_str("it was endorsed in this conversation"),
            Origin::Issued(name) => write!(out, "it stands for `{name}`, which the user said"),
            Origin::Listed(name) => write!(out, "a directory lists it as `{name}`, which the user said"),
            Origin::Described(how) => write!(out, "the user described it: it alone {how}"),
            Origin::Vouched(source) => write!(out, "{source} vouches for it"),
            Origin::Typed => out.write_str("its type holds no message"),
            Origin::Made => out.write_str("it is made of words that were said or vouched for"),
            Origin::Text => out.write_str("it is free text without foreign links or private values"),
            Origin::Untrusted(sources) => {
                write!(out, "the user never said it; it was read in {}", sources.join(", "))
            }
            Origin::Unseen => out.write_str("the user never said it, and nothing that was read holds it"),
        }
    }
}

/// One value of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The argument's path, as `recipients[0]`.
    pub at: String,
    /// What it decides.
    pub role: Role,
    /// The value, or the part of it that does not fit; at most 200 characters.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
    /// Whether that is good enough.
    pub fits: bool,
    /// What an approval of the call endorses: the whole datum, in words.
    pub(super) datum: Vec<String>,
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, role, text, origin, fits, .. } = self;
        let not = if *fits { "" } else { "does not fit: " };
        write!(out, "{at} `{text}` ({}): {not}{origin}", role.word())
    }
}

/// One call, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Something untrusted has been read in the conversation.
    pub is_tainted: bool,
    /// The user's words are known.
    pub has_prompt: bool,
    /// The call touches nothing, or what the task may touch.
    pub is_in_scope: bool,
    /// The compartments that have been read.
    pub compartments: Vec<String>,
    /// Its values, in order.
    pub values: Vec<Value>,
}

impl Explained {
    /// Whether the call is as good as the user's own: within the task, and either nothing untrusted was read or each value fits
    /// what it decides.
    pub fn fits(&self) -> bool {
        self.is_in_scope && (!self.is_tainted || self.values.iter().all(|value| value.fits))
    }

    /// The values that do not fit.
    pub fn misfits(&self) -> impl Iterator<Item = &Value> {
        self.values.iter().filter(|value| self.is_tainted && !value.fits)
    }

    /// For one top-level argument: the word of its least trusted origin, and whether all of it fits.
    pub fn of(&self, argument: &str) -> (&'static str, bool) {
        let inside = |value: &&Value| {
            value
                .at
                .strip_prefix(argument)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let least = self.values.iter().filter(inside).max_by(|a, b| a.origin.cmp(&b.origin));
        let fits = !self.is_tainted || self.values.iter().filter(inside).all(|value| value.fits);
        (least.map_or("typed", |value| value.origin.word()), fits)
    }

    /// What does not fit, for people: empty when everything does.
    pub fn in_words(&self) -> String {
        const SHOWN_MAX: usize = 5;
        let mut words: Vec<String> = self
            .misfits()
            .take(SHOWN_MAX)
            .map(|value| format!("{} `{}`: {}", value.at, value.text, value.origin))
            .collect();
        let left = self.misfits().count().saturating_sub(SHOWN_MAX);
        if left > 0 {
            words.push(format!("and {left} more"));
        }
        if !self.is_in_scope {
            words.insert(0, "the task was not to touch this".to_owned());
        }
        if !words.is_empty() && !self.has_prompt {
            words.push("what the user said is not known here".to_owned());
        }
        words.join("; ")
    }
}

/// Walks the arguments beside their reviewed shape.
pub(super) struct Walk<'a> {
    pub(super) provenance: &'a Provenance,
    pub(super) tool: &'a Tool,
    pub(super) found: Vec<Value>,
}

impl Walk<'_> {
    /// Explains the whole call: its arguments, and where none of them decides anything, that it is made at all.
    pub(super) fn call(&mut self, arguments: &Tree) {
        self.value(arguments, Some(&self.tool.shape), "", "");
        let has_effect = self.tool.effect == Effect::Write && self.tool.reach() != Reach::None;
        let decides = |value: &Value| !matches!(value.role, Role::Content | Role::Free);
        if has_effect && !self.found.iter().any(decides) {
            let name = self.tool.name.to_string();
            let (origin, fits) = match self.provenance.is_endorsed(Role::Receiver, &name) {
                true => (Origin::Endorsed, true),
                false => (Origin::Unseen, false),
            };
            self.found.push(value_of(
                "the call itself",
                Role::Receiver,
                &name,
                origin,
                fits,
                vec![name.clone()],
            ));
        }
    }

    pub(super) fn is_in_scope(&self) -> bool {
        let scope = self.provenance.scope.as_ref();
        self.tool.reach() == Reach::None
            || scope.is_none_or(|scope| scope.contains(&self.tool.name.to_string()))
    }

    fn value(&mut self, value: &Tree, shape: Option<&Shape>, at: &str, path: &str) {
        if self.found.len() >= VALUES_MAX {
            return;
        }
        match value {
            Tree::Map(members) => {
                let none = BTreeMap::new();
                let fields = match shape {
                    Some(Shape::Record { fields, .. }) => fields,
                    _ => &none,
                };
                for (name, value) in members {
                    let join = |to: &str| if to.is_empty() { name.clone() } else { format!("{to}.{name}") };
                    let field = fields.get(name).map(|Field { shape, .. }| shape);
                    if field.is_none() && !self.tool.flow.mentions(&join(path)) {
                        // A member nobody reviewed may say as much as a value.
                        self.leaf(
                            &Tree::Text(name.clone()),
                            None,
                            &join(at),
                            if path.is_empty() { REST } else { path },
                        );
                    }
                    self.value(value, field, &join(at), &join(path));
                }
            }
            Tree::List(items) => {
                let item = match shape {
                    Some(Shape::List(item)) => Some(&**item),
                    _ => None,
                };
                for (index, value) in items.iter().enumerate() {
                    self.value(value, item, &format!("{at}[{index}]"), &format!("{path}[]"));
                }
            }
            leaf => self.leaf(leaf, shape, at, path),
        }
        if self.found.len() == VALUES_MAX {
            let too_many = format!("more than {VALUES_MAX} values");
            self.found.push(value_of(at, Role::Receiver, &too_many, Origin::Unseen, false, Vec::new()));
        }
    }

    fn leaf(&mut self, leaf: &Tree, shape: Option<&Shape>, at: &str, path: &str) {
        let role = self.tool.role(path, shape);
        let text = match leaf {
            Tree::Null | Tree::Bool(_) => return,
            Tree::Text(text) => text.clone(),
            number => number.canonical(),
        };
        if role == Role::Free || text.trim().is_empty() {
            return;
        }
        if role == Role::Content {
            return self.content(&text, at);
        }
        let nouns = self.nouns(path);
        let is_number = matches!(leaf, Tree::Integer(_) | Tree::Float(_));
        let origin = self.origin(&text, role, &nouns, is_number);
        if fits(&origin, role) {
            self.found.push(value_of(at, role, &text, origin, true, Vec::new()));
            return;
        }
        // Several values in one text, each for itself; what a mail address is called does not count.
        let parts: Vec<&str> = parts(&text).collect();
        let judged: Vec<(Origin, &str)> =
            parts.iter().map(|part| (self.origin(part, role, &nouns, false), *part)).collect();
        let is_split = parts.len() > 1 || parts.first().is_some_and(|only| *only != text.trim());
        if is_split
            && role != Role::Parameter
            && !judged.is_empty()
            && judged.iter().all(|(origin, _)| fits(origin, role))
        {
            let (worst, _) = judged.into_iter().max_by(|a, b| a.0.cmp(&b.0)).unwrap_or((Origin::Unseen, ""));
            self.found.push(value_of(at, role, &text, worst, true, Vec::new()));
            return;
        }
        let datum = vec![key(&word::plain(&text))];
        self.found.push(value_of(at, role, &text, origin, false, datum));
    }

    /// What the argument at `path` speaks of: its name, or what it stands in, or the tool where the name is only `id`.
    fn nouns(&self, path: &str) -> Vec<String> {
        let mut nouns = Vec::new();
        for part in path.rsplit('.') {
            nouns.extend(word::parts_of_name(part.trim_end_matches("[]")));
            if nouns.iter().any(|noun| !matches!(noun.as_str(), "id" | "ids" | "number" | "name")) {
                return nouns;
            }
        }
        nouns.extend(word::parts_of_name(&self.tool.name.tool));
        nouns
    }

    fn origin(&self, text: &str, role: Role, nouns: &[String], is_number: bool) -> Origin {
        let Provenance { heard, known, issued, described, seen, .. } = self.provenance;
        if text.chars().any(word::is_hidden) {
            return Origin::Unseen;
        }
        let words = word::plain(text);
        if words.is_empty() {
            return Origin::Unseen;
        }
        let number = match words.as_slice() {
            [one] => word::number(one),
            _ => None,
        };
        if known.names(&words) {
            return Origin::Configured;
        }
        if let Some(number) = number.as_ref().filter(|_| role == Role::Amount)
            && (heard.allows(number) || heard.computes(number, seen.numbers()))
        {
            return Origin::Said;
        }
        if heard.says(&words, nouns) {
            return Origin::Said;
        }
        if self.provenance.is_endorsed(role, &key(&words)) {
            return Origin::Endorsed;
        }
        if let Some(name) = issued.named(&self.tool.name.server, nouns, &words, heard) {
            return Origin::Issued(name);
        }
        if role == Role::Receiver
            && let Some(name) = issued.listed(&self.tool.name.server, &words, heard)
        {
            return Origin::Listed(name);
        }
        if let Some(how) = described.called(&self.tool.name.server, &words, heard) {
            return Origin::Described(how);
        }
        if role == Role::Object
            && let Some(how) = described.extreme(&self.tool.name.server, nouns, &words, heard)
        {
            return Origin::Described(how);
        }
        if let Some(source) = seen.vouches(&words) {
            return Origin::Vouched(source.to_owned());
        }
        if role == Role::Parameter {
            if is_number || is_moment(text) {
                return Origin::Typed;
            }
            let is_trusted = |word: &String| {
                word::is_glue(word)
                    || heard.uses(word)
                    || seen.vouches(std::slice::from_ref(word)).is_some()
                    || known.names(std::slice::from_ref(word))
            };
            if words.iter().all(is_trusted) {
                return Origin::Made;
            }
        }
        self.untrusted(&words)
    }

    fn untrusted(&self, words: &[String]) -> Origin {
        match self.provenance.seen.read_in(words) {
            Some(sources) => Origin::Untrusted(sources.into_keys().map(str::to_owned).collect()),
            None => Origin::Unseen,
        }
    }

    /// Free text that leaves: links nobody said, and private values nobody said, do not go with it.
    fn content(&mut self, text: &str, at: &str) {
        let Provenance { heard, known, seen, .. } = self.provenance;
        if self.tool.reach() != Reach::Outside {
            return;
        }
        let is_endorsed = |words: &[String]| self.provenance.is_endorsed(Role::Content, &key(words));
        let mut wrong = Vec::new();
        for link in links(text) {
            let words = word::plain(&link);
            let is_known = known.names(&words)
                || words.first().is_some_and(|link| known.names_host(link))
                || heard.says(&words, &[])
                || seen.vouches(&words).is_some()
                || is_endorsed(&words);
            if !is_known {
                wrong.push((format!("link {link}"), self.untrusted(&words), key(&words)));
            }
        }
        let is_known = |words: &[String]| known.names(words) || heard.says(words, &[]) || is_endorsed(words);
        for (compartment, value) in seen.private_in(text, is_known) {
            let words: Vec<String> = value.split(' ').map(str::to_owned).collect();
            wrong.push((format!("private value {value}"), Origin::Untrusted(vec![compartment]), key(&words)));
        }
        if wrong.is_empty() {
            self.found.push(value_of(at, Role::Content, text, Origin::Text, true, Vec::new()));
        }
        for (shown, origin, datum) in wrong {
            self.found.push(value_of(at, Role::Content, &shown, origin, false, vec![datum]));
        }
    }
}

fn fits(origin: &Origin, role: Role) -> bool {
    match origin {
        Origin::Said | Origin::Configured | Origin::Endorsed => true,
        Origin::Listed(_) | Origin::Described(_) => {
            matches!(role, Role::Receiver | Role::Object | Role::Parameter)
        }
        Origin::Issued(_) => matches!(role, Role::Object | Role::Parameter),
        Origin::Vouched(_) => matches!(role, Role::Amount | Role::Parameter),
        Origin::Typed | Origin::Made => role == Role::Parameter,
        Origin::Text => role == Role::Content,
        Origin::Untrusted(_) | Origin::Unseen => role == Role::Free,
    }
}

fn value_of(at: &str, role: Role, text: &str, origin: Origin, fits: bool, datum: Vec<String>) -> Value {
    let text = text.chars().take(QUOTED_CHARS_MAX).collect();
    Value { at: at.to_owned(), role, text, origin, fits, datum }
}

/// The name under which a datum is endorsed.
fn key(words: &[String]) -> String {
    words.join(" ")
}

/// The values in a text that lists several: `Ann <ann@corp.example>, bob@corp.example`.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', '\n']).map(str::trim).filter(|part| !part.is_empty()).map(|part| {
        let inside = part.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
        inside.map_or(part, |(_, address)| address.trim()).trim()
    })
}

/// Whether `text` is a date, a time, or both, in digits (ISO 8601 and `DD/MM/YYYY`).
fn is_moment(text: &str) -> bool {
    const CHARS_MAX: usize = 35;
    let is_date = |text: &str| {
        let parts: Vec<&str> = text.split(['-', '/', '.']).collect();
        parts.len() == 3
            && parts
                .iter()
                .all(|part| matches!(part.len(), 1 | 2 | 4) && part.bytes().all(|b| b.is_ascii_digit()))
            && parts.iter().filter(|part| part.len() == 4).count() == 1
    };
    let is_time = |text: &str| {
        let text = text.trim_end_matches('Z');
        let text = text.rsplit_once(['+', '-']).map_or(text, |(time, _)| time);
        let parts: Vec<&str> = text.split([':', '.']).collect();
        (2..=4).contains(&parts.len())
            && parts
                .iter()
                .all(|part| (1..=6).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let text = text.trim();
    text.len() <= CHARS_MAX
        && match text.split_once([' ', 'T']) {
            Some((date, time)) => is_date(date) && is_time(time),
            None => is_date(text) || (text.contains(':') && is_time(text)),
        }
}

/// The links in a text: with a scheme, with `www.`, or a domain that clients make clickable.
fn links(text: &str) -> Vec<String> {
    const DOMAINS: [&str; 22] = [
        "com", "org", "net", "io", "ai", "dev", "co", "app", "ly", "me", "info", "biz", "xyz", "ru", "cn",
        "uk", "de", "to", "gg", "sh", "site", "link",
    ];
    let ends = |c: char| c.is_whitespace() || c.is_control() || "()<>[]{}\"'`|,;".contains(c);
    text.split(ends)
        .map(|part| part.trim_matches(['.', '!', '?', ':', '*', '_', '=']))
        .filter(|part| {
            let lower = part.to_lowercase();
            if lower.contains("://") || lower.starts_with("www.") || lower.starts_with("//") {
                return true;
            }
            let host = lower.split(['/', '?', '#', ':']).next().unwrap_or("");
            let last = host.rsplit('.').next().unwrap_or("");
            let is_host = host.contains('.') && !host.contains('@') && last.chars().all(char::is_alphabetic);
            is_host && (DOMAINS.contains(&last) || (last.len() >= 2 && lower[host.len()..].starts_with('/')))
        })
        .map(str::to_owned)
        .collect()
}
