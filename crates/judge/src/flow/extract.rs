//! A small schema: what a reader without tools may answer about content that nobody vouches for.
//! What does not fit is refused by the schema's own words; no word of an answer is ever quoted.
//!
//! An answer of numbers, flags, dates and words from the schema itself holds no message as long as it can say little
//! ([`ANSWER_BITS_MAX`], [`NUMBER_BITS_MAX`]). Texts hold messages however short they are, and stay untrusted.

use super::provenance::Read;
use super::word::is_hidden;
use crate::request::tree::Tree;
use regex::Regex;
use std::sync::LazyLock;

/// Largest schema, in bytes of JSON.
pub const SCHEMA_BYTES_MAX: usize = 8 * 1024;
/// Most fields of a schema.
pub const FIELDS_ENTRIES_MAX: usize = 16;
/// Longest text in an answer, in characters.
pub const TEXT_CHARS_MAX: u64 = 200;
/// Longest list in an answer.
pub const LIST_ITEMS_MAX: u64 = 32;
/// Most words to choose from.
pub const CHOICES_ENTRIES_MAX: usize = 32;
/// Longest of these words, in characters.
pub const CHOICE_CHARS_MAX: usize = 40;
/// Longest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// What all numbers, flags, dates and choices of one answer may say together before they count as a message, in bits.
pub const ANSWER_BITS_MAX: f64 = 64.0;
/// What one number may say before it counts as a name somebody chose, such as that of an account, in bits.
pub const NUMBER_BITS_MAX: f64 = 32.0;
/// Places after the decimal point of a number.
const DECIMAL_PLACES: i32 = 4;
/// Longest description of a field, in characters.
const DESCRIPTION_CHARS_MAX: usize = 200;

/// What an answer must be: an object of exactly these fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    fields: Vec<Field>,
    source: Tree,
}

#[derive(Clone, Debug, PartialEq)]
struct Field {
    name: String,
    kind: Kind,
    /// A list of at most so many, where it is one.
    items_max: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Flag,
    Integer { least: i64, most: i64 },
    Number { least: f64, most: f64 },
    Choice(Vec<String>),
    Date,
    Moment,
    Text { chars_max: usize, class: Option<Class> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Email,
    Url,
    Host,
    Id,
}

/// Why something is no small schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is no JSON that everybody reads in one way.
    #[error("the schema is {0}")]
    NotJson(String),
    /// It is over [`SCHEMA_BYTES_MAX`].
    #[error("the schema is over {SCHEMA_BYTES_MAX} bytes")]
    TooLarge,
    /// Its outer form.
    #[error("the schema {0}")]
    Form(String),
    /// One of its fields.
    #[error("the schema's field `{name}` {why}")]
    Field {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Why an answer is none; in words of the schema, never of the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is over [`ANSWER_BYTES_MAX`].
    #[error("it is over {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JSON that everybody reads in one way.
    #[error("it is not plain JSON")]
    NotJson,
    /// It is no object.
    #[error("it is not an object")]
    NotAnObject,
    /// A field is missing.
    #[error("it lacks `{0}`")]
    Missing(String),
    /// It holds more than the schema names.
    #[error("it holds a field that the schema does not name")]
    Extra,
    /// A field holds something else.
    #[error("its `{name}` is not {wanted}")]
    Wrong {
        /// The field.
        name: String,
        /// What it should be.
        wanted: String,
    },
}

impl Schema {
    /// Reads a schema from JSON.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn parse(text: &[u8]) -> Result<Self, SchemaError> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(SchemaError::TooLarge);
        }
        let tree = Tree::parse(text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
        Self::read(&tree)
    }

    /// Reads a schema: `{"type": "object", "properties": {NAME: …}}` (a subset of JSON Schema 2020-12) in which every field is
    /// required and one of `boolean`, `integer` and `number` with `minimum` and `maximum`, `enum` of words, `string` with
    /// `format` `date` or `date-time`, `string` with `maxLength` and perhaps `format` `email`, `url`, `host` or `id`, or an
    /// `array` with `maxItems` of one of these.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn read(source: &Tree) -> Result<Self, SchemaError> {
        let form = |why: &str| SchemaError::Form(why.to_owned());
        if source.canonical().len() > SCHEMA_BYTES_MAX {
            return Err(SchemaError::TooLarge);
        }
        let Tree::Map(members) = source else { return Err(form("is not an object")) };
        if let Some((name, _)) = members.iter().find(|(name, _)| {
            !["type", "properties", "required", "additionalProperties", "title", "description"]
                .contains(&name.as_str())
        }) {
            return Err(SchemaError::Form(format!("has `{name}`, which a small schema does not")));
        }
        if source.member("type").and_then(Tree::as_text) != Some("object") {
            return Err(form("is not of `type` `object`"));
        }
        if !matches!(source.member("additionalProperties"), None | Some(Tree::Bool(false))) {
            return Err(form("has `additionalProperties`, which may only be false"));
        }
        let Some(Tree::Map(properties)) = source.member("properties") else {
            return Err(form("has no `properties`"));
        };
        if properties.is_empty() || properties.len() > FIELDS_ENTRIES_MAX {
            return Err(SchemaError::Form(format!(
                "has {} `properties`; give it 1 to {FIELDS_ENTRIES_MAX}",
                properties.len()
            )));
        }
        let mut fields = Vec::with_capacity(properties.len());
        for (name, field) in properties {
            if !is_name(name) {
                return Err(form(
                    "has a field whose name is not 1 to 64 letters, digits, `_` and `-` of ASCII",
                ));
            }
            let field =
                Field::read(name, field).map_err(|why| SchemaError::Field { name: name.clone(), why })?;
            fields.push(field);
        }
        if let Some(required) = source.member("required") {
            let Tree::List(named) = required else { return Err(form("has `required`, which is no list")) };
            let is_named = |field: &Field| named.iter().any(|one| one.as_text() == Some(&field.name));
            if named.len() != fields.len() || !fields.iter().all(is_named) {
                return Err(form("has `required`, which must name every field or be left out"));
            }
        }
        Ok(Self { fields, source: source.clone() })
    }

    /// The schema as it was given, in one spelling.
    pub fn canonical(&self) -> String {
        self.source.canonical()
    }

    /// The answer in `text`, its fields in the schema's order.
    ///
    /// # Errors
    /// [`Mismatch`]: anything but exactly the fields with exactly their types.
    pub fn check(&self, text: &[u8]) -> Result<Tree, Mismatch> {
        if text.len() > ANSWER_BYTES_MAX {
            return Err(Mismatch::TooLong);
        }
        let answer = Tree::parse(text).map_err(|_| Mismatch::NotJson)?;
        let Tree::Map(members) = &answer else { return Err(Mismatch::NotAnObject) };
        let mut checked = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let value = answer.member(&field.name).ok_or_else(|| Mismatch::Missing(field.name.clone()))?;
            if !field.admits(value) {
                return Err(Mismatch::Wrong { name: field.name.clone(), wanted: field.in_words() });
            }
            checked.push((field.name.clone(), value.clone()));
        }
        if members.len() != checked.len() {
            return Err(Mismatch::Extra);
        }
        Ok(Tree::Map(checked))
    }

    /// Whether no answer can hold a message, so that reading one makes nothing less trusted.
    pub fn is_constrained(&self) -> bool {
        self.fields.iter().all(|field| !self.is_untrusted(field))
    }

    /// What a conversation must know of an answer that was checked: texts as untrusted, numbers as values nobody vouches for.
    pub fn reads(&self, answer: &Tree) -> Vec<Read> {
        let mut reads = Vec::new();
        for field in &self.fields {
            let is_untrusted = self.is_untrusted(field);
            let values: &[Tree] = match answer.member(&field.name) {
                Some(Tree::List(items)) => items,
                Some(value) => std::slice::from_ref(value),
                None => &[],
            };
            for value in values {
                match value {
                    Tree::Text(text) if is_untrusted => reads.push(Read::Tree(Tree::Text(text.clone()))),
                    // As a text it says who could have written it; as a number it would hold no message.
                    Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) if is_untrusted => {
                        reads.push(Read::Tree(Tree::Text(value.canonical())));
                    }
                    Tree::Integer(_) | Tree::Float(_) => reads.push(Read::Tree(value.clone())),
                    _ => {}
                }
            }
        }
        reads
    }

    /// Whether what stands in `field` counts as somebody's words.
    fn is_untrusted(&self, field: &Field) -> bool {
        let all: f64 = self.fields.iter().filter_map(Field::bits).sum();
        match field.kind.bits() {
            None => true,
            Some(one) => all > ANSWER_BITS_MAX || (field.kind.is_number() && one > NUMBER_BITS_MAX),
        }
    }
}

impl Field {
    fn read(name: &str, field: &Tree) -> Result<Self, String> {
        let Tree::Map(members) = field else { return Err("is not an object".to_owned()) };
        if field.member("type").and_then(Tree::as_text) != Some("array") {
            return Ok(Self { name: name.to_owned(), kind: Kind::read(field)?, items_max: None });
        }
        only(members, &["items", "maxItems"])?;
        let items_max = match field.member("maxItems") {
            Some(Tree::Integer(most)) if (1..=LIST_ITEMS_MAX as i64).contains(most) => *most as usize,
            _ => return Err(format!("needs `maxItems` of 1 to {LIST_ITEMS_MAX}")),
        };
        let items = field.member("items").ok_or("has no `items`")?;
        if !matches!(items, Tree::Map(_)) || items.member("type").and_then(Tree::as_text) == Some("array") {
            return Err("has `items` that are no plain values".to_owned());
        }
        Ok(Self { name: name.to_owned(), kind: Kind::read(items)?, items_max: Some(items_max) })
    }

    fn admits(&self, value: &Tree) -> bool {
        match (self.items_max, value) {
            (None, value) => self.kind.admits(value),
            (Some(most), Tree::List(items)) => {
                items.len() <= most && items.iter().all(|item| self.kind.admits(item))
            }
            (Some(_), _) => false,
        }
    }

    fn in_words(&self) -> String {
        match self.items_max {
            None => self.kind.in_words(),
            Some(most) => format!("a list of at most {most}, each {}", self.kind.in_words()),
        }
    }

    /// What it can say; nothing where that is a text.
    fn bits(&self) -> Option<f64> {
        let one = self.kind.bits()?;
        Some(self.items_max.map_or(one, |most| one * most as f64 + (most as f64 + 1.0).log2()))
    }
}

impl Kind {
    fn read(field: &Tree) -> Result<Self, String> {
        let Tree::Map(members) = field else { return Err("is not an object".to_owned()) };
        let kind = match field.member("type") {
            None if field.member("enum").is_some() => "string",
            None => return Err("has no `type`".to_owned()),
            Some(kind) => kind.as_text().ok_or("has a `type` that is no word")?,
        };
        match kind {
            "boolean" => only(members, &[]).map(|()| Kind::Flag),
            "integer" => {
                only(members, &["minimum", "maximum"])?;
                match (field.member("minimum"), field.member("maximum")) {
                    (Some(Tree::Integer(least)), Some(Tree::Integer(most))) if least <= most => {
                        Ok(Kind::Integer { least: *least, most: *most })
                    }
                    _ => Err(BOUNDS.to_owned()),
                }
            }
            "number" => {
                only(members, &["minimum", "maximum"])?;
                match (field.member("minimum").and_then(float), field.member("maximum").and_then(float)) {
                    (Some(least), Some(most)) if least <= most => Ok(Kind::Number { least, most }),
                    _ => Err(BOUNDS.to_owned()),
                }
            }
            "string" if field.member("enum").is_some() => {
                only(members, &["enum"])?;
                choices(field.member("enum")).map(Kind::Choice)
            }
            "string" => Self::read_text(members, field),
            _ => Err("has a `type` that is none of boolean, integer, number, string, array".to_owned()),
        }
    }

    fn read_text(members: &[(String, Tree)], field: &Tree) -> Result<Self, String> {
        let format = match field.member("format") {
            None => None,
            Some(format) => Some(format.as_text().ok_or("has a `format` that is no word")?),
        };
        let class = match format {
            Some("date") => return only(members, &["format", "maxLength"]).map(|()| Kind::Date),
            Some("date-time") => return only(members, &["format", "maxLength"]).map(|()| Kind::Moment),
            None => None,
            Some("email") => Some(Class::Email),
            Some("url" | "uri") => Some(Class::Url),
            Some("host" | "hostname") => Some(Class::Host),
            Some("id") => Some(Class::Id),
            Some(_) => {
                return Err("has a `format` that is none of date, date-time, email, url, host, id".to_owned());
            }
        };
        only(members, &["format", "maxLength"])?;
        match field.member("maxLength") {
            Some(Tree::Integer(most)) if (1..=TEXT_CHARS_MAX as i64).contains(most) => {
                Ok(Kind::Text { chars_max: *most as usize, class })
            }
            _ => Err(format!("needs `maxLength` of 1 to {TEXT_CHARS_MAX}")),
        }
    }

    fn admits(&self, value: &Tree) -> bool {
        match (self, value) {
            (Kind::Flag, Tree::Bool(_)) => true,
            (Kind::Integer { least, most }, Tree::Integer(value)) => (least..=most).contains(&value),
            (Kind::Number { least, most }, value) => float(value).is_some_and(|number| {
                (*least..=*most).contains(&number) && has_few_places(&value.canonical())
            }),
            (Kind::Choice(words), Tree::Text(text)) => words.contains(text),
            (Kind::Date, Tree::Text(text)) => is_date(text),
            (Kind::Moment, Tree::Text(text)) => is_moment(text),
            (Kind::Text { chars_max, class }, Tree::Text(text)) => {
                text.chars().count() <= *chars_max
                    && !text.chars().any(|c| c.is_control() || is_hidden(c))
                    && class.is_none_or(|class| class.admits(text))
            }
            _ => false,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Kind::Flag => "true or false".to_owned(),
            Kind::Integer { least, most } => format!("a whole number from {least} to {most}"),
            Kind::Number { least, most } => {
                format!("a number from {least} to {most} with at most {DECIMAL_PLACES} decimal places")
            }
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Date => "a date (YYYY-MM-DD)".to_owned(),
            Kind::Moment => "a date and time (YYYY-MM-DDThh:mm:ssZ)".to_owned(),
            Kind::Text { chars_max, class: None } => {
                format!("a text of at most {chars_max} characters on one line")
            }
            Kind::Text { chars_max, class: Some(class) } => {
                format!("{} of at most {chars_max} characters", class.in_words())
            }
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Kind::Integer { .. } | Kind::Number { .. })
    }

    /// What one of it can say; nothing where that is a text.
    fn bits(&self) -> Option<f64> {
        const DATES: f64 = 3_652_059.0; // days of the years 1 to 9999
        const TIMES: f64 = 86_400.0 * 105.0; // seconds of a day, quarter hours of offset
        match self {
            Kind::Flag => Some(1.0),
            Kind::Integer { least, most } => Some((*most as f64 - *least as f64 + 1.0).log2()),
            Kind::Number { least, most } => Some(((most - least) * 10f64.powi(DECIMAL_PLACES) + 1.0).log2()),
            Kind::Choice(words) => Some((words.len() as f64).log2()),
            Kind::Date => Some(DATES.log2()),
            Kind::Moment => Some((DATES * TIMES).log2()),
            Kind::Text { .. } => None,
        }
    }
}

impl Class {
    fn admits(self, text: &str) -> bool {
        static EMAIL: LazyLock<Regex> =
            LazyLock::new(|| compiled(&format!(r"^[A-Za-z0-9._%+-]{{1,64}}@{HOST}$")));
        static URL: LazyLock<Regex> =
            LazyLock::new(|| compiled(&format!(r"^https?://{HOST}(:[0-9]{{1,5}})?([/?#][!-~]*)?$")));
        static HOSTS: LazyLock<Regex> = LazyLock::new(|| compiled(&format!("^{HOST}$")));
        static ID: LazyLock<Regex> = LazyLock::new(|| compiled(r"^[A-Za-z0-9][A-Za-z0-9._:/#-]*$"));
        match self {
            Class::Email => EMAIL.is_match(text),
            Class::Url => URL.is_match(text),
            Class::Host => HOSTS.is_match(text),
            Class::Id => ID.is_match(text),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Class::Email => "a mail address",
            Class::Url => "an http or https URL",
            Class::Host => "a host name",
            Class::Id => "an id of letters, digits and . _ : / # -",
        }
    }
}

const BOUNDS: &str = "needs `minimum` and `maximum`, the first no greater, both within ±(2^53 − 1)";
/// Names of at least two labels, in ASCII.
const HOST: &str =
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]";

fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a regular expression")
}

/// A field's name is a program's, so that it says nothing.
fn is_name(name: &str) -> bool {
    const BYTES_MAX: usize = 64;
    !name.is_empty()
        && name.len() <= BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A keyword that is not understood might be one that somebody relies on.
fn only(members: &[(String, Tree)], known: &[&str]) -> Result<(), String> {
    for (name, value) in members {
        match name.as_str() {
            "type" => {}
            "title" | "description" => {
                let is_short =
                    value.as_text().is_some_and(|text| text.chars().count() <= DESCRIPTION_CHARS_MAX);
                if !is_short {
                    return Err(format!(
                        "has a `{name}` that is no text of at most {DESCRIPTION_CHARS_MAX} characters"
                    ));
                }
            }
            name if known.contains(&name) => {}
            name => return Err(format!("has `{name}`, which is not used with its type")),
        }
    }
    Ok(())
}

fn choices(list: Option<&Tree>) -> Result<Vec<String>, String> {
    let wrong = || {
        format!(
            "needs an `enum` of 1 to {CHOICES_ENTRIES_MAX} different texts of 1 to {CHOICE_CHARS_MAX} characters each"
        )
    };
    let Some(Tree::List(items)) = list else { return Err(wrong()) };
    let mut words: Vec<String> = Vec::with_capacity(items.len().min(CHOICES_ENTRIES_MAX));
    for item in items {
        let word = item.as_text().ok_or_else(wrong)?;
        let is_plain = !word.chars().any(|c| c.is_control() || is_hidden(c));
        let is_short = (1..=CHOICE_CHARS_MAX).contains(&word.chars().count());
        if !is_plain
            || !is_short
            || words.len() == CHOICES_ENTRIES_MAX
            || words.iter().any(|known| known == word)
        {
            return Err(wrong());
        }
        words.push(word.to_owned());
    }
    if words.is_empty() { Err(wrong()) } else { Ok(words) }
}

fn float(value: &Tree) -> Option<f64> {
    match value {
        Tree::Integer(value) => Some(*value as f64),
        Tree::Float(value) => Some(*value),
        _ => None,
    }
}

fn has_few_places(number: &str) -> bool {
    !number.contains(['e', 'E'])
        && number.split_once('.').is_none_or(|(_, places)| places.len() <= DECIMAL_PLACES as usize)
}

/// `YYYY-MM-DD`, a day that exists (RFC 3339, section 5.7).
fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = text.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
    };
    let is_dashed = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let (true, Some(year), Some(month), Some(day)) = (is_dashed, digits(0..4), digits(5..7), digits(8..10))
    else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    year > 0 && (1..=last).contains(&day)
}

/// `YYYY-MM-DDThh:mm:ss` and `Z` or an offset in quarter hours.
fn is_moment(text: &str) -> bool {
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        compiled(r"^T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-](0[0-9]|1[0-3]):(00|15|30|45))$")
    });
    text.split_at_checked(10).is_some_and(|(date, time)| is_date(date) && TIME.is_match(time))
}
