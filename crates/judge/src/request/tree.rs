//! Parses JSON into the one tree that every conforming parser would build from the same bytes (I-JSON, RFC 7493).
//! Nothing is guessed or repaired here: what two parsers could read differently is refused by name.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Deepest nesting accepted, in levels of list or map.
pub const DEPTH_MAX: usize = 64;
/// Most values accepted in one tree, keys not counted.
pub const NODES_MAX: usize = 100_000;
/// Largest integer magnitude that IEEE 754 doubles hold exactly: 2^53 − 1 (RFC 7493 §2.2).
pub const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// A JSON value without duplicate keys, lone surrogates or numbers that lose digits in a double.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number without a fraction, at most [`INTEGER_MAX`] in magnitude; `5.0` is `5`.
    Integer(i64),
    /// Any other finite number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Tree>),
    /// An object, members in the order received, keys unique.
    Map(Vec<(String, Tree)>),
}

/// Why bytes are not a [`Tree`].
#[derive(Debug, thiserror::Error)]
#[error(
    "not usable JSON: {reason}; send plain JSON without duplicate keys, at most {DEPTH_MAX} levels deep, \
         integers within ±(2^53 − 1)"
)]
pub struct TreeError {
    reason: String,
}

impl Tree {
    /// Reads exactly one JSON value from `bytes` (UTF-8, RFC 8259).
    ///
    /// # Errors
    /// Invalid UTF-8 or JSON, trailing bytes, a duplicate key at any depth, a lone surrogate, more than
    /// [`DEPTH_MAX`] levels or [`NODES_MAX`] values, an integer past [`INTEGER_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TreeError> {
        let mut nodes = 0;
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let tree = Node { depth: 0, nodes: &mut nodes }.deserialize(&mut reader).map_err(refused)?;
        reader.end().map_err(refused)?;
        Ok(tree)
    }

    /// The member `key` of a map; `None` for anything else.
    pub fn member(&self, key: &str) -> Option<&Tree> {
        match self {
            Tree::Map(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// One spelling per value: keys sorted by code point, no white space, shortest numbers (after RFC 8785).
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        self.write_canonical(&mut out);
        out
    }

    fn write_canonical(&self, out: &mut String) {
        match self {
            Tree::Null => out.push_str("null"),
            Tree::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Tree::Integer(value) => out.push_str(&value.to_string()),
            Tree::Float(value) => out.push_str(&serde_json::Value::from(*value).to_string()),
            Tree::Text(text) => write_string(text, out),
            Tree::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_canonical(out);
                }
                out.push(']');
            }
            Tree::Map(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
                out.push('{');
                for (index, (key, value)) in sorted.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write_canonical(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn refused(error: serde_json::Error) -> TreeError {
    TreeError { reason: error.to_string() }
}

struct Node<'a> {
    depth: usize,
    nodes: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Tree;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        *self.nodes += 1;
        if *self.nodes > NODES_MAX {
            return Err(D::Error::custom(format_args!("more than {NODES_MAX} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Tree;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Tree, E> {
        if value.unsigned_abs() > INTEGER_MAX.unsigned_abs() {
            return Err(E::custom(format_args!(
                "the integer {value} is past 2^53 and parsers disagree on it"
            )));
        }
        Ok(Tree::Integer(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Tree, E> {
        i64::try_from(value)
            .map_err(|_| {
                E::custom(format_args!("the integer {value} is past 2^53 and parsers disagree on it"))
            })
            .and_then(|value| self.visit_i64(value))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        if value.fract() != 0.0 {
            return Ok(Tree::Float(value));
        }
        if value.abs() > INTEGER_MAX as f64 {
            return Err(E::custom(format_args!(
                "the number {value:e} is past 2^53 and parsers disagree on it"
            )));
        }
        Ok(Tree::Integer(value as i64))
    }
    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let depth = deeper(self.depth).map_err(A::Error::custom)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Node { depth, nodes: &mut *self.nodes })? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let depth = deeper(self.depth).map_err(A::Error::custom)?;
        let mut members: Vec<(String, Tree)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
            }
            let value = map.next_value_seed(Node { depth, nodes: &mut *self.nodes })?;
            members.push((key, value));
        }
        Ok(Tree::Map(members))
    }
}

fn deeper(depth: usize) -> Result<usize, String> {
    if depth >= DEPTH_MAX { Err(format!("nested deeper than {DEPTH_MAX} levels")) } else { Ok(depth + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parsers_agree_on_is_read_and_the_nearest_disagreement_is_refused() {
        let table: &[(&str, Option<&str>)] = &[
            (r#"{"b":1,"a":[true,null]}"#, Some(r#"{"a":[true,null],"b":1}"#)),
            (r#"{"a":1,"a":2}"#, None),
            (r#"{"a":1,"\u0061":2}"#, None),
            (r#"{"x":{"a":1,"a":1}}"#, None),
            ("9007199254740991", Some("9007199254740991")),
            ("9007199254740992", None),
            ("-9007199254740992", None),
            ("18446744073709551616", None),
            ("1e400", None),
            ("9007199254740993.0", None),
            ("5.0", Some("5")),
            ("-0.0", Some("0")),
            ("0.1", Some("0.1")),
            (r#""\ud83d\ude00""#, Some("\"\u{1F600}\"")),
            (r#""\ud83d""#, None),
            (r#""\ude00x""#, None),
            ("[1] ", Some("[1]")),
            ("[1] 2", None),
            ("NaN", None),
            ("", None),
        ];
        for (text, want) in table {
            let got = Tree::parse(text.as_bytes()).ok().map(|tree| tree.canonical());
            assert_eq!(got.as_deref(), *want, "{text}");
        }
        assert!(Tree::parse(b"\"\xff\"").is_err());
        let nest = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Tree::parse(nest(DEPTH_MAX).as_bytes()).is_ok());
        assert!(Tree::parse(nest(DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(Tree::parse(nest(10_000).as_bytes()).is_err());
    }
}
