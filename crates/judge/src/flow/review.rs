//! The words in which a review says what a tool's flow is, in JSON.
//! An unknown word is an error, never a default.

use super::extract::Schema;
use super::role::{Flow, Format, Reach, Role, Trust};
use crate::request::tree::Tree;
use serde_json::Value;
use std::collections::BTreeMap;

const REACHES: [(&str, Reach); 3] =
    [("none", Reach::None), ("inside", Reach::Inside), ("outside", Reach::Outside)];
const ROLES: [(&str, Role); 6] = [
    ("receiver", Role::Receiver),
    ("object", Role::Object),
    ("amount", Role::Amount),
    ("parameter", Role::Parameter),
    ("content", Role::Content),
    ("free", Role::Free),
];
const TRUSTS: [(&str, Trust); 5] = [
    ("untrusted", Trust::Untrusted),
    ("name", Trust::Name),
    ("vouched", Trust::Vouched),
    ("issued", Trust::Issued),
    ("trusted", Trust::Trusted),
];
const FORMATS: [(&str, Format); 3] = [("auto", Format::Auto), ("yaml", Format::Yaml), ("text", Format::Text)];

impl Flow {
    /// Reads a review's `flow`: `{"reach", "arguments", "result", "fields", "format", "private", "answer"}`, all optional.
    ///
    /// # Errors
    /// A member or word that does not exist, in words.
    pub fn read(review: &Value) -> Result<Self, String> {
        let members = review.as_object().ok_or("`flow` is not an object")?;
        let mut flow = Self::default();
        for (name, value) in members {
            match name.as_str() {
                "reach" => flow.reach = Some(word(name, value, &REACHES)?),
                "arguments" => flow.arguments = words(name, value, &ROLES)?,
                "result" => flow.result = word(name, value, &TRUSTS)?,
                "fields" => flow.fields = words(name, value, &TRUSTS)?,
                "format" => flow.format = word(name, value, &FORMATS)?,
                "private" => {
                    flow.private =
                        Some(value.as_str().ok_or("`private` is not a compartment's name")?.to_owned());
                }
                "answer" => {
                    let schema =
                        Tree::parse(value.to_string().as_bytes()).map_err(|error| error.to_string())?;
                    flow.answer = Some(Schema::read(&schema).map_err(|error| format!("`answer`: {error}"))?);
                }
                other => {
                    return Err(format!(
                        "`flow` has no `{other}`; it has reach, arguments, result, fields, format, private, answer"
                    ));
                }
            }
        }
        Ok(flow)
    }
}

fn words<T: Copy>(name: &str, value: &Value, known: &[(&str, T)]) -> Result<BTreeMap<String, T>, String> {
    let members = value.as_object().ok_or_else(|| format!("`{name}` is not an object of paths and words"))?;
    members.iter().map(|(path, value)| Ok((path.clone(), word(path, value, known)?))).collect()
}

fn word<T: Copy>(name: &str, value: &Value, known: &[(&str, T)]) -> Result<T, String> {
    let found = value.as_str().and_then(|text| known.iter().find(|(word, _)| *word == text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        format!("`{name}` is {value}, not one of {}", words.join(", "))
    })
}
