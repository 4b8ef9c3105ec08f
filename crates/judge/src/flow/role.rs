//! What each argument of a tool decides and how far each part of its answer is to be trusted, as reviewed.
//! What a review leaves open gets the careful reading; nothing here looks at a value.

use super::extract::{Mismatch, Schema};
use super::provenance::Read;
use crate::shape::{Kind, Shape};
use crate::tool::{Effect, Impact, Tool};
use std::collections::BTreeMap;

/// What a call touches beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Nothing.
    None,
    /// The user's own things: files, calendar, settings.
    Inside,
    /// Somebody else: mail, payments, what other people read, servers that see what they are asked.
    Outside,
}

/// What an argument decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Where something goes, who gets access, what is bought, which place outside is asked: said by the user or configured.
    Receiver,
    /// Which existing thing is changed, deleted or passed on: said, configured, or the issued name of a thing the user named.
    Object,
    /// How much: a number that the user said or bounded, or vouched data.
    Amount,
    /// A detail: said, configured, vouched, made of such words, or of a type that holds no message.
    Parameter,
    /// Free text: judged by its links and by private values in it.
    Content,
    /// Decides nothing.
    Free,
}

impl Role {
    /// The word of a review for it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Receiver => "receiver",
            Role::Object => "object",
            Role::Amount => "amount",
            Role::Parameter => "parameter",
            Role::Content => "content",
            Role::Free => "free",
        }
    }
}

/// How far a part of an answer is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Anybody may have written it.
    #[default]
    Untrusted,
    /// What somebody called a thing: untrusted, but it ties the user's words to what is issued beside it.
    Name,
    /// The server's own data: may fill parameters.
    Vouched,
    /// The server's own names of things: may say which object is meant where the user said its [`Trust::Name`].
    Issued,
    /// As good as the user's own words.
    Trusted,
}

/// How a result that is one text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON where it is JSON, a text otherwise.
    #[default]
    Auto,
    /// YAML.
    Yaml,
    /// A text.
    Text,
}

/// The reviewed flow of one tool. The default is the careful reading of everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// What a call touches; by effect and kinds of arguments where absent.
    pub reach: Option<Reach>,
    /// Roles by argument path, as `recipients[]` or `attachments[].file_id`; a path covers what lies below it.
    pub arguments: BTreeMap<String, Role>,
    /// Trust in a result as a whole.
    pub result: Trust,
    /// Trust in its fields, by path, as `[].id`.
    pub fields: BTreeMap<String, Trust>,
    /// How its text is read.
    pub format: Format,
    /// The compartment its answers belong to.
    pub private: Option<String>,
    /// All that it may answer; anything else is withheld.
    pub answer: Option<Schema>,
}

/// Last words of argument names that hold free text.
const CONTENT: [&str; 18] = [
    "body",
    "content",
    "contents",
    "text",
    "message",
    "description",
    "title",
    "subject",
    "comment",
    "note",
    "notes",
    "summary",
    "markdown",
    "html",
    "caption",
    "reason",
    "details",
    "prompt",
];
/// Last words of argument names that say how much.
const AMOUNT: [&str; 8] = ["amount", "amounts", "price", "total", "sum", "cents", "quantity", "qty"];
/// Last words of argument names that name an existing thing.
const OBJECT: [&str; 6] = ["id", "ids", "number", "sha", "ref", "key"];

impl Flow {
    /// Whether an answer is one that may be given.
    ///
    /// # Errors
    /// Where it is not what was reviewed. The words quote nothing of it.
    pub fn permits(&self, parts: &[Read]) -> Result<(), Mismatch> {
        let Some(schema) = &self.answer else { return Ok(()) };
        parts.iter().try_for_each(|part| match part {
            Read::Text(text) => schema.check(text.as_bytes()).map(drop),
            Read::Tree(tree) => schema.check(tree.canonical().as_bytes()).map(drop),
        })
    }

    /// Whether a server vouches for all of an answer.
    pub fn is_vouched(&self) -> bool {
        self.result >= Trust::Vouched && self.fields.values().all(|trust| *trust >= Trust::Vouched)
    }

    /// Trust in the field at `path` of an answer.
    pub(super) fn trust(&self, path: &str) -> Trust {
        covering(&self.fields, path).copied().unwrap_or(self.result)
    }

    /// Whether the review speaks of the argument at `path`, or of one inside it.
    pub(super) fn mentions(&self, path: &str) -> bool {
        let lies_in = |inside: &str| {
            inside.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.arguments.keys().any(|inside| lies_in(inside))
    }

    /// One line that names everything reviewed, for digests.
    pub(crate) fn text(&self) -> String {
        format!("{self:?}")
    }
}

impl Tool {
    /// What a call of this tool touches.
    pub fn reach(&self) -> Reach {
        self.flow.reach.unwrap_or(match (self.effect, self.impact) {
            (Effect::Write, _) => Reach::Outside,
            // A place that an argument names sees what it is asked.
            (Effect::Read, Impact::High) => Reach::Outside,
            (Effect::Read, Impact::Low) if names_a_place(&self.shape) => Reach::Outside,
            (Effect::Read, Impact::Low) => Reach::None,
        })
    }

    /// The role of the argument at `path`, whose shape is `shape` where the review knows it.
    pub fn role(&self, path: &str, shape: Option<&Shape>) -> Role {
        if let Some(role) = covering(&self.flow.arguments, path) {
            return *role;
        }
        if self.reach() == Reach::None {
            return Role::Free;
        }
        let name = path.rsplit('.').next().unwrap_or(path).trim_end_matches("[]");
        let words = super::word::parts_of_name(name);
        let last = words.last().map_or("", String::as_str);
        match shape {
            Some(Shape::Text(Kind::Url | Kind::Host | Kind::Command)) => Role::Receiver,
            Some(Shape::Text(Kind::Path)) => Role::Object,
            Some(Shape::Bool) => Role::Free,
            Some(Shape::Long | Shape::Decimal) if AMOUNT.contains(&last) => Role::Amount,
            Some(Shape::Long | Shape::Decimal) if OBJECT.contains(&last) => Role::Object,
            Some(Shape::Long | Shape::Decimal) => Role::Parameter,
            _ if CONTENT.contains(&last) => Role::Content,
            _ if AMOUNT.contains(&last) => Role::Amount,
            _ if OBJECT.contains(&last) => Role::Object,
            _ => Role::Receiver,
        }
    }
}

/// The value of the longest path in `map` that is `path` or lies above it.
fn covering<'a, T>(map: &'a BTreeMap<String, T>, path: &str) -> Option<&'a T> {
    let lies_in = |over: &str| {
        path.strip_prefix(over)
            .is_some_and(|rest| rest.is_empty() || over.is_empty() || rest.starts_with(['.', '[']))
    };
    map.iter().filter(|(over, _)| lies_in(over)).max_by_key(|(over, _)| over.len()).map(|(_, value)| value)
}

fn names_a_place(shape: &Shape) -> bool {
    match shape {
        Shape::Text(kind) => matches!(kind, Kind::Url | Kind::Host | Kind::Command),
        Shape::List(item) => names_a_place(item),
        Shape::Record { fields, .. } => fields.values().any(|field| names_a_place(&field.shape)),
        Shape::Bool | Shape::Long | Shape::Decimal | Shape::Any => false,
    }
}
