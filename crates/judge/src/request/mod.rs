//! Turns a raw call into the normal form that policy decides on: reviewed tool, typed arguments, real paths, parsed commands.
//! What cannot be given one meaning is refused here by name; nothing here decides and nothing here looks at the world.

pub mod command;
pub mod host;
pub mod path;
pub mod tree;
pub mod url;

use crate::filter::leak::{Leak, leaks_in};
use crate::flow::{Explained, Provenance};
use crate::shape::{Field, Kind, REST, Shape};
use crate::tool::{Inventory, Tool, ToolName};
use command::{Command, Word};
use path::{AbsPath, Links, Zone, Zones};
use std::collections::{BTreeMap, BTreeSet};
use tree::Tree;

/// Most readings of one call that are judged: commands in a line × elements of parsed lists × decimal neighbours.
pub const ALTERNATIVES_MAX: usize = 512;
/// How many list values together weigh as much as one more reading; bounds the work before a decision.
const LIST_VALUES_PER_ALTERNATIVE: usize = 256;

/// Who acts: an agent, on behalf of a user who belongs to groups.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The agent's name, e.g. `claude-code`.
    pub agent: String,
    /// The person on whose behalf, e.g. a login name or a token's subject.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

/// A call as an adapter received it, its arguments already one unambiguous tree.
#[derive(Clone, Debug)]
pub struct RawCall {
    /// Who acts.
    pub principal: Principal,
    /// What is called.
    pub name: ToolName,
    /// With which arguments; `Null` counts as none.
    pub arguments: Tree,
    /// What the client sends beside the arguments and no policy types: unknown members, the state of an earlier
    /// round. Recorded and part of the digest; `Null` for nothing.
    pub beside: Tree,
}

/// What the judge may know of the world, gathered by the caller. The judge never asks for more.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub now: i64,
    /// Where the agent works; relative paths start here.
    pub cwd: &'a AbsPath,
    /// What `~` stands for.
    pub home: &'a AbsPath,
    /// Which parts of the file system are whose.
    pub zones: &'a Zones,
    /// How symbolic links stand right now.
    pub links: &'a (dyn Links + Sync),
    /// The phase in force for the session.
    pub phase: &'a str,
    /// How the call arrived: `stdio`, `http`, `hook`, `api`.
    pub transport: &'a str,
    /// Calls the principal made in the last 60 seconds, over all its sessions, this one included.
    pub calls_last_minute: i64,
    /// What the conversation knows about where values come from.
    pub provenance: &'a Provenance,
}

/// One call in normal form. Its digest names exactly what was asked, by whom, against which definition.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) principal: Principal,
    pub(crate) tool: Tool,
    pub(crate) arguments: Tree,
    pub(crate) alternatives: Vec<Alternative>,
    pub(crate) circumstances: Circumstances,
    pub(crate) explained: Explained,
    digest: String,
    cwd: AbsPath,
    resolved: String,
    beside: Tree,
}

impl Request {
    /// What came beside the arguments.
    pub fn beside(&self) -> &Tree {
        &self.beside
    }
    /// The digest this request will have when it comes again with something else beside it.
    pub fn digest_beside(&self, beside: &Tree) -> String {
        digest(&self.principal, &self.tool, &self.cwd, &self.arguments, &self.resolved, beside)
    }
    /// Where each value came from, as known when the call was made.
    pub fn explained(&self) -> &Explained {
        &self.explained
    }
    /// Where relative paths start.
    pub fn cwd(&self) -> &AbsPath {
        &self.cwd
    }
    /// Who acts.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
    /// The reviewed tool.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }
    /// The arguments as received.
    pub fn arguments(&self) -> &Tree {
        &self.arguments
    }
    /// The phase it was made in.
    pub fn phase(&self) -> &str {
        &self.circumstances.phase
    }
    /// Addresses in the arguments that seem to carry data out.
    pub fn leaks(&self) -> &[Leak] {
        &self.circumstances.leaks
    }
    /// SHA-256 over principal, working folder, tool, reviewed definition, canonical arguments and what they resolved
    /// to, lowercase hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// One reading of a call that policy decides on, with the words that name it among the others.
#[derive(Clone, Debug)]
pub(crate) struct Alternative {
    pub(crate) args: Bound,
    pub(crate) label: String,
}

/// The circumstances of a call that policy may ask about.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) now: i64,
    pub(crate) phase: String,
    pub(crate) transport: String,
    pub(crate) calls_last_minute: i64,
    /// Addresses in the arguments that seem to carry data out.
    pub(crate) leaks: Vec<Leak>,
}

/// A normalized argument, ready to be written in the policy language.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    Bool(bool),
    Long(i64),
    /// Text that Cedar's `decimal` reads: at most four places.
    Decimal(String),
    Text(String),
    Set(Vec<Bound>),
    Record(Vec<(String, Bound)>),
    /// Alternatives to be judged one at a time, each with the words that name it.
    Each(Vec<(String, Bound)>),
}

/// Why a call has no normal form. Every one of these is a denial.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The inventory has no such reviewed tool.
    #[error("`{name}` is not a reviewed tool{}", near(.nearest))]
    UnknownTool {
        /// The name asked for.
        name: ToolName,
        /// Reviewed names that look alike.
        nearest: Vec<ToolName>,
    },
    /// A required argument is absent.
    #[error("argument `{at}` is missing; `{tool}` requires it")]
    Missing {
        /// Which argument.
        at: String,
        /// Whose.
        tool: ToolName,
    },
    /// An argument that the reviewed definition does not name.
    #[error(
        "argument `{at}` is not in the reviewed definition of `{tool}`; leave it out, or review the tool again"
    )]
    Unexpected {
        /// Which argument.
        at: String,
        /// Whose.
        tool: ToolName,
    },
    /// An argument of another type than reviewed.
    #[error("argument `{at}` must be {want}, got {got}")]
    WrongType {
        /// Which argument.
        at: String,
        /// What the definition says.
        want: &'static str,
        /// What came.
        got: &'static str,
    },
    /// A text of a parsed kind that does not parse to one meaning.
    #[error("argument `{at}` is not a usable {kind}: {why}")]
    Unreadable {
        /// Which argument.
        at: String,
        /// `path`, `URL`, `host` or `number`.
        kind: &'static str,
        /// The reason.
        why: String,
    },
    /// The gate's own files or program.
    #[error("argument `{at}` reaches the gate's own files or program; no policy can permit that")]
    OwnGround {
        /// Which argument.
        at: String,
    },
    /// More readings than are judged.
    #[error("the call has more than {ALTERNATIVES_MAX} commands or list elements to judge; split it")]
    TooManyAlternatives,
}

fn near(names: &[ToolName]) -> String {
    match names {
        [] => "; see `bailiwick inventory show`".to_owned(),
        names => {
            let list: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("; did you mean {}?", list.join(" or "))
        }
    }
}

/// Brings `raw` into normal form against the reviewed `inventory`.
///
/// # Errors
/// [`Malformed`], each a denial: an unreviewed tool, arguments that do not fit the reviewed definition, or a path,
/// URL, host or number without one meaning.
pub fn normalize(raw: RawCall, inventory: &Inventory, facts: &Facts<'_>) -> Result<Request, Malformed> {
    let RawCall { principal, name, arguments, beside } = raw;
    let Some(tool) = inventory.tool(&name) else {
        let nearest = inventory.nearest(&name).into_iter().cloned().collect();
        return Err(Malformed::UnknownTool { name, nearest });
    };
    let arguments = if arguments == Tree::Null { Tree::Map(Vec::new()) } else { arguments };
    let bound = Binder { tool, facts }.bind(&arguments, &tool.shape, "")?;
    let resolved = crate::digest::hex(format!("{bound:?}").as_bytes());
    let alternatives = expand(bound)?.into_iter().map(|(label, args)| Alternative { args, label }).collect();
    let digest = digest(&principal, tool, facts.cwd, &arguments, &resolved, &beside);
    let explained = facts.provenance.explain(tool, &arguments);
    Ok(Request {
        principal,
        tool: tool.clone(),
        alternatives,
        circumstances: Circumstances {
            now: facts.now,
            phase: facts.phase.to_owned(),
            transport: facts.transport.to_owned(),
            calls_last_minute: facts.calls_last_minute,
            leaks: leaks_in(&arguments),
        },
        arguments,
        explained,
        digest,
        cwd: facts.cwd.clone(),
        resolved,
        beside,
    })
}

fn digest(
    principal: &Principal,
    tool: &Tool,
    cwd: &AbsPath,
    arguments: &Tree,
    resolved: &str,
    beside: &Tree,
) -> String {
    let text = |value: &str| Tree::Text(value.to_owned());
    let whole = Tree::List(vec![
        text("bailiwick request v1"),
        text(&principal.agent),
        text(&principal.user),
        Tree::List(principal.groups.iter().map(|group| text(group)).collect()),
        text(cwd.as_str()),
        text(&tool.name.server),
        text(&tool.name.tool),
        text(&tool.digest),
        arguments.clone(),
        text(resolved),
        beside.clone(),
    ]);
    crate::digest::hex(whole.canonical().as_bytes())
}

struct Binder<'a> {
    tool: &'a Tool,
    facts: &'a Facts<'a>,
}

impl Binder<'_> {
    /// Whatever an argument is said to mean: text that is a path into the gate's own ground is refused.
    fn keep_out(&self, value: &Tree, at: &str) -> Result<(), Malformed> {
        match value {
            Tree::Text(text) if text.starts_with(['/', '~', '.']) && text.len() <= path::PATH_BYTES_MAX => {
                match path::resolve(text, self.facts.cwd, self.facts.home, self.facts.links) {
                    Ok(path) => self.zone(&path, at).map(|_| ()),
                    Err(_) => Ok(()),
                }
            }
            Tree::List(items) => items.iter().try_for_each(|item| self.keep_out(item, at)),
            Tree::Map(members) => members.iter().try_for_each(|(_, value)| self.keep_out(value, at)),
            Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Text(_) => Ok(()),
        }
    }

    fn bind(&self, value: &Tree, shape: &Shape, at: &str) -> Result<Bound, Malformed> {
        match (shape, value) {
            (Shape::Bool, Tree::Bool(value)) => Ok(Bound::Bool(*value)),
            (Shape::Long, Tree::Integer(value)) => Ok(Bound::Long(*value)),
            (Shape::Decimal, Tree::Integer(value)) => decimal(*value as f64, at),
            (Shape::Decimal, Tree::Float(value)) => decimal(*value, at),
            (Shape::Text(kind), Tree::Text(text)) => self.text(text, *kind, at),
            (Shape::List(item), Tree::List(values)) => self.list(values, item, at),
            (Shape::Record { fields, open }, Tree::Map(members)) => self.record(members, fields, *open, at),
            (Shape::Any, value) => {
                self.keep_out(value, at)?;
                Ok(Bound::Text(value.canonical()))
            }
            (shape, value) => {
                let at = if at.is_empty() { "arguments" } else { at }.to_owned();
                Err(Malformed::WrongType { at, want: name_of(shape), got: kind_of(value) })
            }
        }
    }

    fn record(
        &self,
        members: &[(String, Tree)],
        fields: &BTreeMap<String, Field>,
        open: bool,
        at: &str,
    ) -> Result<Bound, Malformed> {
        let inside = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        let mut bound = Vec::with_capacity(members.len());
        let mut rest = Vec::new();
        for (name, value) in members {
            match fields.get(name) {
                // An explicit null for an optional argument says the same as leaving it out.
                Some(field) if *value == Tree::Null && !field.required && field.shape != Shape::Any => {}
                Some(field) => {
                    let value = self.bind(value, &field.shape, &inside(name))?;
                    if value != Bound::Each(Vec::new()) {
                        bound.push((name.clone(), value));
                    }
                }
                None if open => rest.push((name.clone(), value.clone())),
                None => return Err(Malformed::Unexpected { at: inside(name), tool: self.tool.name.clone() }),
            }
        }
        for (name, field) in fields {
            if field.required && !members.iter().any(|(member, _)| member == name) {
                return Err(Malformed::Missing { at: inside(name), tool: self.tool.name.clone() });
            }
        }
        if !rest.is_empty() {
            rest.iter().try_for_each(|(name, value)| self.keep_out(value, &inside(name)))?;
            bound.push((REST.to_owned(), Bound::Text(Tree::Map(rest).canonical())));
        }
        // One order for one meaning: what was granted must be found again when a client writes its members in another.
        bound.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Bound::Record(bound))
    }

    fn list(&self, values: &[Tree], item: &Shape, at: &str) -> Result<Bound, Malformed> {
        let each = |(index, value)| {
            let at = format!("{at}[{index}]");
            self.bind(value, item, &at).map(|bound| (at, bound))
        };
        let items: Vec<(String, Bound)> = values.iter().enumerate().map(each).collect::<Result<_, _>>()?;
        if item.is_parsed() {
            return Ok(Bound::Each(items));
        }
        // A decimal between two places inside a list is judged at its neighbours like any other.
        let mut sets = vec![Vec::new()];
        for (_, item) in items {
            let mut readings = expand(item)?;
            if let [_] = readings.as_slice() {
                let (_, only) = readings.remove(0);
                sets.iter_mut().for_each(|set| set.push(only.clone()));
                bounded(sets.len().saturating_mul(values.len()) / LIST_VALUES_PER_ALTERNATIVE)?;
                continue;
            }
            bounded(sets.len() * readings.len())?;
            sets = sets
                .iter()
                .flat_map(|set: &Vec<Bound>| {
                    readings.iter().map(move |(_, reading)| set.iter().chain([reading]).cloned().collect())
                })
                .collect();
        }
        let mut sets = sets.into_iter().map(Bound::Set);
        match (sets.next(), sets.len()) {
            (Some(only), 0) => Ok(only),
            (first, _) => {
                Ok(Bound::Each(first.into_iter().chain(sets).map(|set| (at.to_owned(), set)).collect()))
            }
        }
    }

    fn text(&self, text: &str, kind: Kind, at: &str) -> Result<Bound, Malformed> {
        let unreadable = |kind, why: String| Malformed::Unreadable { at: at.to_owned(), kind, why };
        match kind {
            Kind::Plain => {
                self.keep_out(&Tree::Text(text.to_owned()), at)?;
                Ok(Bound::Text(text.to_owned()))
            }
            Kind::Path => {
                let path = path::resolve(text, self.facts.cwd, self.facts.home, self.facts.links)
                    .map_err(|why| unreadable("path", why.to_string()))?;
                Ok(record([
                    ("given", Bound::Text(text.to_owned())),
                    ("real", Bound::Text(path.real.as_str().to_owned())),
                    ("name", Bound::Text(path.real.name().unwrap_or_default().to_owned())),
                    ("zone", Bound::Text(self.zone(&path, at)?.to_owned())),
                    ("exists", Bound::Bool(path.exists)),
                ]))
            }
            Kind::Url => {
                let url = url::Url::parse(text).map_err(|why| unreadable("URL", why.to_string()))?;
                Ok(record([
                    ("text", Bound::Text(url.to_string())),
                    ("scheme", Bound::Text(url.scheme().as_str().to_owned())),
                    ("host", Bound::Text(url.host().to_string())),
                    ("class", Bound::Text(class_word(url.host().class()).to_owned())),
                    ("port", Bound::Long(i64::from(url.port()))),
                    ("path", Bound::Text(url.path().to_owned())),
                    ("query", Bound::Bool(url.query().is_some())),
                    ("userinfo", Bound::Bool(url.has_userinfo())),
                ]))
            }
            Kind::Host => {
                let host = host::Host::parse(text).map_err(|why| unreadable("host", why.to_string()))?;
                Ok(record([
                    ("name", Bound::Text(host.to_string())),
                    ("class", Bound::Text(class_word(host.class()).to_owned())),
                ]))
            }
            Kind::Command => self.command_line(text, at),
        }
    }

    /// The word for the zone a path leads into.
    ///
    /// # Errors
    /// The gate's own ground: no policy can permit that. A folder around it is not refused, or nothing could list the
    /// project it lies in; what a program does below such a folder is for the sandbox to stop.
    fn zone(&self, path: &path::Resolved, at: &str) -> Result<&'static str, Malformed> {
        let zones = self.facts.zones;
        let reached = [&path.real, &path.entry];
        if reached.iter().any(|path| zones.zone(path) == Zone::Gate) {
            return Err(Malformed::OwnGround { at: at.to_owned() });
        }
        Ok(zone_word(zones.zone(&path.real)))
    }

    /// Every command of the line, each judged by itself; a part that cannot be read is one more, opaque command.
    fn command_line(&self, text: &str, at: &str) -> Result<Bound, Malformed> {
        let parsed = command::parse(text);
        let moves =
            parsed.commands.iter().any(|command| matches!(command.program.as_str(), "cd" | "pushd" | "popd"));
        let mut each = Vec::with_capacity(parsed.commands.len() + 1);
        for command in &parsed.commands {
            if command.program == "bailiwick" {
                return Err(Malformed::OwnGround { at: at.to_owned() });
            }
            each.push((format!("command `{}`", line_of(command)), self.command(command, moves, at)?));
        }
        if parsed.opaque.is_some() || each.is_empty() {
            let why = parsed.opaque.map_or_else(|| "no command in it".to_owned(), |why| why.to_string());
            each.push((format!("a part that cannot be read ({why})"), opaque(text)));
        }
        Ok(Bound::Each(each))
    }

    fn command(&self, command: &Command, moves: bool, at: &str) -> Result<Bound, Malformed> {
        let known = |words: &[Word]| -> Vec<String> { words.iter().filter_map(path_text).collect() };
        let words: Vec<String> = command.words.iter().filter_map(Word::literal).map(str::to_owned).collect();
        // What a command names, where it is named from, and, if it was named by a path, the program itself.
        let mut paths: Vec<String> =
            command.words.iter().filter_map(path_text).flat_map(|word| paths_in(&word)).collect();
        paths.extend(
            command
                .assignments
                .iter()
                .filter_map(|(_, value)| path_text(value))
                .filter(|value| !value.is_empty()),
        );
        paths.push(".".to_owned());
        paths.extend(command.given.contains('/').then(|| command.given.clone()));
        let unknown = |words: &[Word]| words.iter().any(|word| path_text(word).is_none());
        let dynamic =
            [&command.words, &command.reads, &command.writes].into_iter().any(|words| unknown(words));
        Ok(record([
            ("program", Bound::Text(command.program.clone())),
            ("given", Bound::Text(command.given.clone())),
            ("line", Bound::Text(line_of(command))),
            (
                "first",
                Bound::Text(words.iter().find(|word| !word.starts_with('-')).cloned().unwrap_or_default()),
            ),
            ("words", texts(words)),
            ("env", texts(command.assignments.iter().map(|(name, _)| name.clone()))),
            ("zones", self.zones(&paths, unknown(&command.words), moves, at)?),
            ("reads", texts(known(&command.reads))),
            ("read_zones", self.zones(&known(&command.reads), unknown(&command.reads), moves, at)?),
            ("writes", texts(known(&command.writes))),
            ("write_zones", self.zones(&known(&command.writes), unknown(&command.writes), moves, at)?),
            ("dynamic", Bound::Bool(dynamic)),
            ("opaque", Bound::Bool(command.opaque.is_some())),
        ]))
    }

    /// The zones that `paths` lie in; `unknown` stands for what only the shell will know.
    fn zones(&self, paths: &[String], some_unknown: bool, moves: bool, at: &str) -> Result<Bound, Malformed> {
        let mut found: BTreeSet<&str> = some_unknown.then_some("unknown").into_iter().collect();
        for given in paths {
            let relative = !given.starts_with('/') && !given.starts_with('~');
            found.insert(match path::resolve(given, self.facts.cwd, self.facts.home, self.facts.links) {
                Ok(path) if !(relative && moves) => self.zone(&path, at)?,
                _ => "unknown",
            });
        }
        Ok(texts(found.into_iter().map(str::to_owned)))
    }
}

fn opaque(text: &str) -> Bound {
    let unknown = || texts(["unknown".to_owned()]);
    record([
        ("program", Bound::Text(String::new())),
        ("given", Bound::Text(String::new())),
        ("line", Bound::Text(text.to_owned())),
        ("first", Bound::Text(String::new())),
        ("words", texts([])),
        ("env", texts([])),
        ("zones", unknown()),
        ("reads", texts([])),
        ("read_zones", unknown()),
        ("writes", texts([])),
        ("write_zones", unknown()),
        ("dynamic", Bound::Bool(true)),
        ("opaque", Bound::Bool(true)),
    ])
}

fn record<const N: usize>(members: [(&str, Bound); N]) -> Bound {
    Bound::Record(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn texts(items: impl IntoIterator<Item = String>) -> Bound {
    Bound::Set(items.into_iter().map(Bound::Text).collect())
}

fn line_of(command: &Command) -> String {
    let mut line = command.given.clone();
    for word in &command.words {
        line.push(' ');
        match word {
            Word::Literal(text) | Word::Dynamic(text) => line.push_str(text),
            Word::Home(rest) => {
                line.push('~');
                line.push_str(rest);
            }
        }
    }
    line
}

/// A word as a path to resolve; a quoted `~` is a name and not a home. `None` for what only the shell knows.
fn path_text(word: &Word) -> Option<String> {
    match word {
        Word::Literal(text) if text.starts_with('~') => Some(format!("./{text}")),
        Word::Literal(text) => Some(text.clone()),
        Word::Home(rest) => Some(format!("~{rest}")),
        Word::Dynamic(_) => None,
    }
}

/// The paths a word may carry: itself, what follows `=` (`--output=/x`, `of=/x`), and what is attached to a short
/// option (`-o/x`). Which of them the program means is not known, so all of them count.
fn paths_in(word: &str) -> Vec<String> {
    let whole = (!word.starts_with('-')).then_some(word);
    let value = word.split_once('=').map(|(_, value)| value);
    let attached = match word.strip_prefix('-').filter(|option| !option.starts_with('-')) {
        Some(option) => option.char_indices().nth(1).and_then(|(at, _)| option.get(at..)),
        None => None,
    };
    // A bare word is a name in the working folder as far as anyone here can know.
    let is_path = |text: &&str| !text.is_empty();
    [whole, value, attached].into_iter().flatten().filter(is_path).map(str::to_owned).collect()
}

fn zone_word(zone: Zone) -> &'static str {
    match zone {
        Zone::System => "system",
        Zone::Home => "home",
        Zone::Temp => "temp",
        Zone::Workspace => "workspace",
        Zone::Gate => "gate",
    }
}

fn class_word(class: host::Class) -> &'static str {
    match class {
        host::Class::Public => "public",
        host::Class::Private => "private",
        host::Class::Loopback => "loopback",
        host::Class::LinkLocal => "link-local",
        host::Class::Metadata => "metadata",
        host::Class::Multicast => "multicast",
        host::Class::Reserved => "reserved",
        host::Class::Unspecified => "unspecified",
    }
}

/// A number as Cedar's `decimal` (four places); one that lies between two places is judged at both.
fn decimal(value: f64, at: &str) -> Result<Bound, Malformed> {
    const SCALE: f64 = 10_000.0;
    const LARGEST: f64 = 900_000_000_000_000.0;
    if value.abs() > LARGEST {
        let why = format!("{value:e} is past what policy can compare (±9·10^14)");
        return Err(Malformed::Unreadable { at: at.to_owned(), kind: "number", why });
    }
    let text = |scaled: i64| {
        let sign = if scaled < 0 { "-" } else { "" };
        let magnitude = scaled.unsigned_abs();
        format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
    };
    let nearest = format!("{value:.4}");
    if nearest.parse() == Ok(value) {
        return Ok(Bound::Decimal(nearest));
    }
    let floor = (value * SCALE).floor() as i64;
    let neighbours =
        [floor, floor + 1].map(|scaled| (format!("{at} at {}", text(scaled)), Bound::Decimal(text(scaled))));
    Ok(Bound::Each(neighbours.into()))
}

/// All readings of a bound value without [`Bound::Each`], each with the words that name it.
fn expand(bound: Bound) -> Result<Vec<(String, Bound)>, Malformed> {
    match bound {
        Bound::Each(branches) => {
            let mut out = Vec::new();
            for (label, branch) in branches {
                for (inner, value) in expand(branch)? {
                    out.push((join(&label, &inner), value));
                }
                bounded(out.len())?;
            }
            Ok(out)
        }
        Bound::Record(members) => {
            let mut rows: Vec<(String, Vec<(String, Bound)>)> =
                vec![(String::new(), Vec::with_capacity(members.len()))];
            for (name, value) in members {
                let readings = expand(value)?;
                bounded(rows.len() * readings.len())?;
                if let [(label, _)] = readings.as_slice()
                    && label.is_empty()
                {
                    let (_, value) = readings.into_iter().next().expect("matched one reading");
                    for (_, row) in &mut rows {
                        row.push((name.clone(), value.clone()));
                    }
                    continue;
                }
                rows = rows
                    .into_iter()
                    .flat_map(|(label, row)| {
                        let name = &name;
                        readings
                            .iter()
                            .map(move |(inner, value)| {
                                let row =
                                    row.iter().cloned().chain([(name.clone(), value.clone())]).collect();
                                (join(&label, inner), row)
                            })
                            .collect::<Vec<_>>()
                    })
                    .collect();
            }
            Ok(rows.into_iter().map(|(label, row)| (label, Bound::Record(row))).collect())
        }
        plain @ (Bound::Bool(_) | Bound::Long(_) | Bound::Decimal(_) | Bound::Text(_) | Bound::Set(_)) => {
            Ok(vec![(String::new(), plain)])
        }
    }
}

fn bounded(alternatives: usize) -> Result<(), Malformed> {
    if alternatives > ALTERNATIVES_MAX { Err(Malformed::TooManyAlternatives) } else { Ok(()) }
}

fn join(a: &str, b: &str) -> String {
    match (a, b) {
        ("", one) | (one, "") => one.to_owned(),
        (a, b) => format!("{a}, {b}"),
    }
}

fn name_of(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "true or false",
        Shape::Long => "a whole number",
        Shape::Decimal => "a number",
        Shape::Text(_) => "a string",
        Shape::List(_) => "a list",
        Shape::Record { .. } => "an object",
        Shape::Any => "a value",
    }
}

fn kind_of(value: &Tree) -> &'static str {
    match value {
        Tree::Null => "null",
        Tree::Bool(_) => "a boolean",
        Tree::Integer(_) => "a whole number",
        Tree::Float(_) => "a number with a fraction",
        Tree::Text(_) => "a string",
        Tree::List(_) => "a list",
        Tree::Map(_) => "an object",
    }
}
