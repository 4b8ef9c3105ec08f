//! Checks a value against the part of JSON Schema our tools use, so a tool's published schema is also the one it
//! enforces. Keywords outside that part are never ignored: a schema that uses one fits nothing.

use serde_json::{Map, Value};

/// Where a value does not fit its schema, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{at}` {why}")]
pub(crate) struct Misfit {
    at: String,
    why: String,
}

/// Says whether `value` fits `schema`; `at` names the value in the answer.
pub(crate) fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), Misfit> {
    let misfit = |why: String| Err(Misfit { at: at.to_owned(), why });
    let Some(schema) = schema.as_object() else { return misfit("has a schema that is no object".to_owned()) };
    // Types before bounds: a bound means nothing for another type.
    if let Some(expected) = schema.get("type")
        && !has_type(expected, value)
    {
        return misfit(format!("must be of type {expected}"));
    }
    let length = match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        _ => 0,
    } as u64;
    for (keyword, bound) in schema {
        let (holds, why) = match keyword.as_str() {
            "type"
            | "title"
            | "description"
            | "default"
            | "properties"
            | "required"
            | "additionalProperties"
            | "items" => continue,
            "enum" => (bound.as_array().is_some_and(|all| all.contains(value)), "must be one of"),
            "minimum" => (at_least(value, bound), "must be at least"),
            "maximum" => (at_least(bound, value), "must be at most"),
            "minLength" => {
                (bound.as_u64().is_some_and(|min| length >= min), "must have at least this many characters:")
            }
            "maxLength" => {
                (bound.as_u64().is_some_and(|max| length <= max), "must have at most this many characters:")
            }
            "minItems" => {
                (bound.as_u64().is_some_and(|min| length >= min), "must have at least this many items:")
            }
            "maxItems" => {
                (bound.as_u64().is_some_and(|max| length <= max), "must have at most this many items:")
            }
            unknown => return misfit(format!("has a schema with the unsupported keyword {unknown}")),
        };
        if !holds {
            return misfit(format!("{why} {bound}"));
        }
    }
    match value {
        Value::Object(fields) => members_fit(schema, fields, at),
        Value::Array(items) => match schema.get("items") {
            Some(each) => {
                items.iter().enumerate().try_for_each(|(n, item)| fits(each, item, &format!("{at}[{n}]")))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn members_fit(schema: &Map<String, Value>, fields: &Map<String, Value>, at: &str) -> Result<(), Misfit> {
    let under = |name: &str| format!("{at}.{}", crate::wire::echo(name));
    for name in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !fields.contains_key(name) {
            return Err(Misfit { at: under(name), why: "is required".to_owned() });
        }
    }
    for (name, field) in fields {
        match schema.get("properties").and_then(|properties| properties.get(name)) {
            Some(property) => fits(property, field, &under(name))?,
            None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                return Err(Misfit { at: under(name), why: "is not an argument here".to_owned() });
            }
            None => {}
        }
    }
    Ok(())
}

fn has_type(expected: &Value, value: &Value) -> bool {
    match expected {
        Value::Array(any) => any.iter().any(|one| has_type(one, value)),
        Value::String(name) => match name.as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            _ => false,
        },
        _ => false,
    }
}

fn at_least(value: &Value, bound: &Value) -> bool {
    match (value.as_i64(), bound.as_i64()) {
        (Some(value), Some(bound)) => value >= bound,
        // Beyond i64 on the value's side only: our bounds are small literals.
        (None, Some(_)) => value.is_u64(),
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_accepted_value_stands_beside_the_nearest_rejected() {
        let person = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"],
                             "additionalProperties": false });
        for (schema, fit, unfit) in [
            (json!({ "type": "integer", "minimum": 1 }), json!(1), json!(0)),
            (json!({ "type": "integer", "maximum": 5 }), json!(5), json!(6)),
            (json!({ "type": "integer", "maximum": 5 }), json!(5), json!(u64::MAX)),
            (json!({ "type": "integer" }), json!(1), json!(1.0)),
            (json!({ "type": "string", "minLength": 1 }), json!("é"), json!("")),
            (json!({ "type": "string", "maxLength": 2 }), json!("éé"), json!("ééé")),
            (json!({ "type": "array", "minItems": 1 }), json!([1]), json!([])),
            (json!({ "type": "array", "maxItems": 1 }), json!([1]), json!([1, 2])),
            (json!({ "type": "array", "items": { "type": "string" } }), json!(["a"]), json!(["a", 1])),
            (json!({ "type": ["string", "null"] }), json!(null), json!(false)),
            (json!({ "enum": ["open"] }), json!("open"), json!("Open")),
            (person.clone(), json!({ "a": "" }), json!({})),
            (person.clone(), json!({ "a": "" }), json!({ "a": "", "b": "" })),
            (person, json!({ "a": "" }), json!({ "a": null })),
        ] {
            assert_eq!(fits(&schema, &fit, "arguments"), Ok(()), "{schema}");
            assert!(fits(&schema, &unfit, "arguments").is_err(), "{schema} fits {unfit}");
        }
        assert!(
            fits(&json!({ "pattern": ".*" }), &json!(""), "arguments").is_err(),
            "an unknown keyword fits nothing"
        );
    }
}
