//! What one conversation knows about where values come from: what was said, configured, endorsed and read.
//! Its label only falls as it reads; what lifts one value is an endorsement, and the caller records it first.

use super::described::Described;
use super::explain::{Explained, Walk};
use super::heard::{Heard, Known};
use super::issued::Issued;
use super::role::{Flow, Format, Role, Trust};
use super::seen::Seen;
use super::word;
use crate::label::{Integrity, Label};
use crate::request::tree::Tree;
use crate::shape::Shape;
use crate::tool::{Effect, Tool, ToolName};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, LazyLock};

/// Most endorsed values of one conversation; what comes later is asked for again.
const ENDORSED_MAX: usize = 4_096;
/// Longest text that is read as YAML, in bytes; a longer one is a text.
const YAML_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A part of what a tool answered.
#[derive(Clone, Debug)]
pub enum Read {
    /// One text, perhaps JSON or YAML, as the tool's review says.
    Text(String),
    /// A structured value.
    Tree(Tree),
}

/// The knowledge of one conversation. The default knows nothing and has read nothing.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    pub(super) heard: Heard,
    pub(super) known: Arc<Known>,
    pub(super) issued: Issued,
    pub(super) described: Described,
    pub(super) seen: Seen,
    endorsed: HashSet<(Role, String)>,
    /// What the task may touch, as `server/tool`; everything where nobody said.
    pub(super) scope: Option<BTreeSet<String>>,
    label: Label,
}

impl Provenance {
    /// A conversation in which only what is configured is known.
    pub fn new(known: Arc<Known>) -> Self {
        Self { known, ..Self::default() }
    }

    /// A conversation of which nothing is known, and in which nothing was read.
    pub fn blank() -> &'static Self {
        static BLANK: LazyLock<Provenance> = LazyLock::new(Provenance::default);
        &BLANK
    }

    /// The label of what comes from this conversation now.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Takes in a message of the user.
    pub fn hear(&mut self, words: &str) {
        self.heard.hear(words);
    }

    /// Begins as if something untrusted had been read, because nobody knows what was.
    pub fn distrust(&mut self) {
        self.label = std::mem::take(&mut self.label).join(&Label::of(Integrity::Untrusted, []));
    }

    /// Whether nothing was said or read in it yet.
    pub fn is_new(&self) -> bool {
        !self.heard.is_any() && self.label == Label::default()
    }

    /// Takes on the label of what was read elsewhere.
    pub fn reads_as(&mut self, label: &Label) {
        self.label = std::mem::take(&mut self.label).join(label);
    }

    /// Narrows what the task may touch to `tools` (`server/tool`). A second scope narrows the first; none ever widens it.
    pub fn narrow(&mut self, tools: impl IntoIterator<Item = String>) {
        let tools: BTreeSet<String> = tools.into_iter().collect();
        self.scope = Some(match self.scope.take() {
            Some(before) => before.intersection(&tools).cloned().collect(),
            None => tools,
        });
    }

    /// Takes in what the operation `name` answered, before the agent does; `tool` is its review, without which nothing of the
    /// answer is trusted.
    pub fn read(&mut self, name: &ToolName, tool: Option<&Tool>, parts: &[Read]) {
        let source = self.seen.source(&name.to_string());
        let unknown = Flow::default();
        let flow = tool.map_or(&unknown, |tool| &tool.flow);
        // Without arguments there is nothing to leave out by: the answer is the whole list.
        let is_whole =
            tool.is_some_and(|tool| matches!(&tool.shape, Shape::Record { fields, .. } if fields.is_empty()));
        if is_whole {
            self.described.begin(&name.server, &name.tool);
        }
        self.parts(name, flow, parts, source);
    }

    /// Takes in what a reader without tools took out of the answer of `name`, whose review is `tool`. Whoever steered the reader
    /// chose it, so nothing of it is vouched for; what was private stays so.
    pub fn read_extracted(&mut self, name: &ToolName, tool: Option<&Tool>, parts: &[Read]) {
        let source = self.seen.source(&name.to_string());
        let flow = Flow { private: tool.and_then(|tool| tool.flow.private.clone()), ..Flow::default() };
        self.parts(name, &flow, parts, source);
    }

    fn parts(&mut self, name: &ToolName, flow: &Flow, parts: &[Read], source: u16) {
        if let Some(compartment) = &flow.private {
            self.label =
                std::mem::take(&mut self.label).join(&Label::of(Integrity::Trusted, [compartment.clone()]));
        }
        for part in parts {
            match part {
                Read::Tree(tree) => self.tree(name, flow, tree, "", source),
                Read::Text(text) => match structured(text, flow.format) {
                    Some(tree) => self.tree(name, flow, &tree, "", source),
                    None => self.text(flow, text, source, flow.result),
                },
            }
        }
    }

    /// Explains a call of `tool` with `arguments`.
    pub fn explain(&self, tool: &Tool, arguments: &Tree) -> Explained {
        let mut walk = Walk { provenance: self, tool, found: Vec::new() };
        walk.call(arguments);
        Explained {
            is_tainted: self.label.integrity() == Integrity::Untrusted,
            is_in_scope: walk.is_in_scope(),
            has_prompt: self.heard.is_any(),
            compartments: self.label.compartments().map(str::to_owned).collect(),
            values: walk.found,
        }
    }

    /// Takes in what a permitted call is about to write, so that nobody vouches for it when it comes back.
    pub fn wrote(&mut self, tool: &Tool, arguments: &Tree) {
        if tool.effect == Effect::Write && self.label.integrity() == Integrity::Untrusted {
            each_text(arguments, &mut |text| {
                let words = word::plain(text);
                if !self.known.names(&words) && !self.heard.says(&words, &[]) {
                    self.seen.wrote(&words);
                }
            });
        }
    }

    /// Lifts exactly the values of `approved` that did not fit, each for what it decides. The approval must be recorded before.
    pub fn endorse(&mut self, approved: &Explained) {
        for value in approved.misfits() {
            for datum in &value.datum {
                if self.endorsed.len() < ENDORSED_MAX {
                    self.endorsed.insert((value.role, datum.clone()));
                }
            }
        }
    }

    pub(super) fn is_endorsed(&self, role: Role, datum: &str) -> bool {
        self.endorsed.contains(&(role, datum.to_owned()))
    }

    fn tree(&mut self, tool: &ToolName, flow: &Flow, tree: &Tree, path: &str, source: u16) {
        match tree {
            Tree::Map(members) => {
                // What a record is: by the tool that answered, the list it stands in, and what names it.
                let mut about = word::parts_of_name(&tool.server);
                about.extend(word::parts_of_name(&tool.tool));
                about.extend(word::parts_of_name(path.rsplit('.').next().unwrap_or(path)));
                let mut ids = Vec::new();
                let mut names = Vec::new();
                let mut measures = Vec::new();
                for (name, value) in members {
                    let inside = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let trust = flow.trust(&inside);
                    // A member's name may be anybody's words as well.
                    if !is_plain(name) {
                        self.text(flow, name, source, trust);
                    } else if trust >= Trust::Vouched {
                        self.seen.vouch(name, source);
                    }
                    if let (Trust::Vouched | Trust::Trusted, Tree::Integer(_) | Tree::Float(_)) =
                        (trust, value)
                        && let Ok(measured) = value.canonical().parse()
                    {
                        measures.push((name.clone(), measured));
                    }
                    let texts = match (trust, value) {
                        (Trust::Issued, value) => Some((&mut ids, value)),
                        (Trust::Name, value) => Some((&mut names, value)),
                        _ => None,
                    };
                    if let Some((list, value)) = texts {
                        if trust == Trust::Issued {
                            about.extend(word::parts_of_name(name));
                        }
                        leaf_texts(value, &mut |text| list.push(word::plain(text)));
                    }
                    self.tree(tool, flow, value, &inside, source);
                }
                let is_directory = flow.result >= Trust::Vouched;
                self.issued.record(&tool.server, is_directory, &about, &ids, &names);
                self.described.measure((&tool.server, &tool.tool), &about, &ids, &measures);
            }
            Tree::List(items) => {
                let inside = format!("{path}[]");
                items.iter().for_each(|item| self.tree(tool, flow, item, &inside, source));
            }
            Tree::Text(text) => {
                let trust = flow.trust(path);
                if trust == Trust::Name {
                    self.described.name(&tool.server, &word::plain(text));
                }
                self.text(flow, text, source, trust);
            }
            // A flag or a number holds no message.
            Tree::Integer(_) | Tree::Float(_) if flow.trust(path) >= Trust::Vouched => {
                self.seen.vouch(&tree.canonical(), source);
            }
            Tree::Integer(_) | Tree::Float(_) => self.seen.distrust(&tree.canonical(), source),
            Tree::Null | Tree::Bool(_) => {}
        }
        if let (Some(compartment), Tree::Integer(_) | Tree::Float(_)) = (&flow.private, tree) {
            self.seen.keep_private(compartment, &tree.canonical());
        }
    }

    fn text(&mut self, flow: &Flow, text: &str, source: u16, trust: Trust) {
        if text.trim().is_empty() {
            return;
        }
        match trust {
            Trust::Trusted => self.heard.hear(text),
            Trust::Vouched | Trust::Issued => self.seen.vouch(text, source),
            Trust::Untrusted | Trust::Name => {
                self.seen.distrust(text, source);
                self.label = std::mem::take(&mut self.label).join(&Label::of(Integrity::Untrusted, []));
            }
        }
        if let Some(compartment) = &flow.private {
            self.seen.keep_private(compartment, text);
        }
    }
}

/// What a text says in structure, where its format has any.
fn structured(text: &str, format: Format) -> Option<Tree> {
    match format {
        Format::Text => None,
        Format::Auto => {
            text.trim_start().starts_with(['{', '[']).then(|| Tree::parse(text.as_bytes()).ok()).flatten()
        }
        Format::Yaml if text.len() <= YAML_BYTES_MAX => super::yaml::parse(text),
        Format::Yaml => None,
    }
}

/// Whether a member's name is one that programs give, and so no message.
fn is_plain(name: &str) -> bool {
    const BYTES_MAX: usize = 64;
    name.len() <= BYTES_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn leaf_texts(tree: &Tree, found: &mut impl FnMut(&str)) {
    match tree {
        Tree::Text(text) => found(text),
        Tree::Integer(_) | Tree::Float(_) => found(&tree.canonical()),
        Tree::List(items) => items.iter().for_each(|item| leaf_texts(item, found)),
        Tree::Null | Tree::Bool(_) | Tree::Map(_) => {}
    }
}

fn each_text(tree: &Tree, found: &mut impl FnMut(&str)) {
    match tree {
        Tree::Map(members) => members.iter().for_each(|(_, value)| each_text(value, found)),
        Tree::List(items) => items.iter().for_each(|item| each_text(item, found)),
        leaf => leaf_texts(leaf, found),
    }
}
