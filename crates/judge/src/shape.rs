//! Turns a tool's JSON Schema into the typed shape that policies are written against.
//! What a schema leaves open stays visible as canonical JSON text; nothing here accepts a call.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Deepest schema nesting followed, `$ref` included; what lies deeper is [`Shape::Any`].
pub const SCHEMA_DEPTH_MAX: usize = 24;

/// What a text means, and so how it is normalized before policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Text as it is.
    Plain,
    /// A file system path: policy sees where it really leads.
    Path,
    /// A URL: policy sees scheme, host, port, path.
    Url,
    /// A host name or address in any spelling.
    Host,
    /// A shell command line: policy sees each command in it, one at a time.
    Command,
}

/// The type of one argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// `boolean`
    Bool,
    /// `integer`
    Long,
    /// `number`; Cedar's `decimal`, judged at both neighbours where four places do not hold it.
    Decimal,
    /// `string`
    Text(Kind),
    /// `array`; a Cedar set, or judged element by element where an element contains a [`Kind`] that is parsed.
    List(Box<Shape>),
    /// `object` with named members.
    Record {
        /// The members by name.
        fields: BTreeMap<String, Field>,
        /// Whether undeclared members are allowed; they are seen together as `args["*"]`, canonical JSON.
        open: bool,
    },
    /// Anything else: policy sees canonical JSON text.
    Any,
}

/// One member of a [`Shape::Record`].
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its type.
    pub shape: Shape,
    /// Whether a call without it is refused.
    pub required: bool,
}

/// The attribute that holds the undeclared members of an open record.
pub const REST: &str = "*";

impl Shape {
    /// The shape of a tool's `inputSchema` (JSON Schema 2020-12; `$ref` into `$defs` or `definitions` only).
    /// `kinds` names reviewed kinds by argument path, e.g. `files[].path` → [`Kind::Path`].
    pub fn of_schema(schema: &Value, kinds: &BTreeMap<String, Kind>) -> Self {
        let reader = Reader { root: schema, kinds };
        match reader.shape(schema, "", 0) {
            record @ Shape::Record { .. } => record,
            _ => Shape::Record { fields: BTreeMap::new(), open: true },
        }
    }

    /// Whether the text at `path` (as in `files[].path`) is of `kind`: a review that says so must not be lost.
    pub fn has_kind(&self, path: &str, kind: Kind) -> bool {
        match self {
            Shape::Text(found) => path.is_empty() && *found == kind,
            Shape::List(item) => {
                path.strip_prefix("[]").is_some_and(|rest| item.has_kind(rest.trim_start_matches('.'), kind))
            }
            Shape::Record { fields, .. } => fields.iter().any(|(name, field)| {
                path.strip_prefix(name.as_str()).is_some_and(|rest| {
                    (rest.is_empty() || rest.starts_with(['.', '[']))
                        && field.shape.has_kind(rest.trim_start_matches('.'), kind)
                })
            }),
            Shape::Bool | Shape::Long | Shape::Decimal | Shape::Any => false,
        }
    }

    /// The shape at `path` (as in `files[].path`), where the schema names it.
    pub fn at(&self, path: &str) -> Option<&Shape> {
        let path = path.trim_start_matches('.');
        if path.is_empty() {
            return Some(self);
        }
        match self {
            Shape::List(item) => item.at(path.strip_prefix("[]")?),
            Shape::Record { fields, .. } => fields.iter().find_map(|(name, field)| {
                let rest = path.strip_prefix(name.as_str())?;
                (rest.is_empty() || rest.starts_with(['.', '['])).then(|| field.shape.at(rest)).flatten()
            }),
            Shape::Bool | Shape::Long | Shape::Decimal | Shape::Text(_) | Shape::Any => None,
        }
    }

    /// Whether a value of this shape must be judged one alternative at a time.
    pub fn is_parsed(&self) -> bool {
        match self {
            Shape::Text(kind) => *kind != Kind::Plain,
            Shape::List(item) => item.is_parsed(),
            Shape::Record { fields, .. } => fields.values().any(|field| field.shape.is_parsed()),
            Shape::Bool | Shape::Long | Shape::Decimal | Shape::Any => false,
        }
    }
}

struct Reader<'a> {
    root: &'a Value,
    kinds: &'a BTreeMap<String, Kind>,
}

impl Reader<'_> {
    fn shape(&self, schema: &Value, path: &str, depth: usize) -> Shape {
        let Some(object) = schema.as_object().filter(|_| depth < SCHEMA_DEPTH_MAX) else { return Shape::Any };
        if let Some(target) = object.get("$ref").and_then(Value::as_str) {
            return match self.resolve(target) {
                Some(found) => self.shape(found, path, depth + 1),
                None => Shape::Any,
            };
        }
        // Branches that only say which members go together change no type.
        let pairs_members = |branches: &Vec<Value>| {
            let plain = |branch: &Value| {
                branch.as_object().is_some_and(|branch| {
                    branch.keys().all(|key| matches!(key.as_str(), "required" | "title" | "description"))
                })
            };
            object.contains_key("properties") && branches.iter().all(plain)
        };
        for key in ["anyOf", "oneOf"] {
            if let Some(branches) =
                object.get(key).and_then(Value::as_array).filter(|list| !pairs_members(list))
            {
                return match non_null(branches).as_slice() {
                    [only] => self.shape(only, path, depth + 1),
                    _ => Shape::Any,
                };
            }
        }
        // These can only narrow a scalar, but can add members to an object.
        let scalar = matches!(type_of(object), Some("boolean" | "integer" | "number" | "string"));
        let all = object.get("allOf").and_then(Value::as_array);
        let widens = all.is_some_and(|branches| !pairs_members(branches));
        if !scalar && (widens || ["not", "if"].iter().any(|key| object.contains_key(*key))) {
            return Shape::Any;
        }
        match type_of(object) {
            Some("boolean") => Shape::Bool,
            Some("integer") => Shape::Long,
            Some("number") => Shape::Decimal,
            Some("string") => Shape::Text(self.kind(object, path)),
            Some("array") => match object.get("items") {
                Some(items) if !object.contains_key("prefixItems") => {
                    Shape::List(Box::new(self.shape(items, &format!("{path}[]"), depth + 1)))
                }
                _ => Shape::Any,
            },
            Some("object") => self.record(object, path, depth),
            _ => Shape::Any,
        }
    }

    fn record(&self, object: &Map<String, Value>, path: &str, depth: usize) -> Shape {
        let required: Vec<&str> = object
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let properties = object.get("properties").and_then(Value::as_object);
        let open = match object.get("additionalProperties") {
            Some(Value::Bool(open)) => *open,
            Some(_) => true,
            None => properties.is_none() && depth > 0,
        } || object.contains_key("patternProperties");
        let fields: BTreeMap<String, Field> = properties
            .into_iter()
            .flatten()
            .map(|(name, schema)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let shape = self.shape(schema, &path, depth + 1);
                let required = required.contains(&name.as_str()) && !nullable(schema);
                (name.clone(), Field { shape, required })
            })
            .collect();
        if fields.is_empty() && open && depth > 0 {
            return Shape::Any;
        }
        Shape::Record { fields, open }
    }

    fn kind(&self, object: &Map<String, Value>, path: &str) -> Kind {
        self.kinds.get(path).copied().unwrap_or(match object.get("format").and_then(Value::as_str) {
            Some("uri" | "url" | "iri") => Kind::Url,
            Some("hostname" | "idn-hostname" | "ipv4" | "ipv6") => Kind::Host,
            _ => Kind::Plain,
        })
    }

    fn resolve(&self, target: &str) -> Option<&Value> {
        let pointer = target.strip_prefix('#')?;
        self.root.pointer(pointer)
    }
}

fn type_of(object: &Map<String, Value>) -> Option<&str> {
    match object.get("type") {
        Some(Value::String(name)) => Some(name),
        Some(Value::Array(names)) => {
            let mut rest = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            rest.next().filter(|_| rest.next().is_none())
        }
        _ if object.contains_key("properties") => Some("object"),
        _ => match (object.get("enum").and_then(Value::as_array), object.get("const")) {
            (Some(values), _) if values.iter().all(Value::is_string) => Some("string"),
            (None, Some(Value::String(_))) => Some("string"),
            _ => None,
        },
    }
}

fn nullable(schema: &Value) -> bool {
    let lists_null =
        |value: &Value| value.as_array().is_some_and(|names| names.iter().any(|name| name == "null"));
    schema.get("type").is_some_and(lists_null)
        || ["anyOf", "oneOf"].iter().any(|key| {
            schema
                .get(key)
                .and_then(Value::as_array)
                .is_some_and(|branches| non_null(branches).len() < branches.len())
        })
}

fn non_null(branches: &[Value]) -> Vec<&Value> {
    branches.iter().filter(|branch| branch.get("type").is_none_or(|name| name != "null")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_schema_form_has_its_shape_and_what_is_open_is_any() {
        let kinds = BTreeMap::from([("files[].path".to_owned(), Kind::Path)]);
        let cases = [
            (json!({"type": "string"}), Shape::Text(Kind::Plain)),
            (json!({"type": ["string", "null"]}), Shape::Text(Kind::Plain)),
            (json!({"type": ["string", "integer"]}), Shape::Any),
            (json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), Shape::Long),
            (json!({"anyOf": [{"type": "integer"}, {"type": "string"}]}), Shape::Any),
            (json!({"type": "string", "format": "uri"}), Shape::Text(Kind::Url)),
            (json!({"enum": ["a", "b"]}), Shape::Text(Kind::Plain)),
            (json!({"enum": ["a", 1]}), Shape::Any),
            (json!({"type": "array", "items": {"type": "number"}}), Shape::List(Box::new(Shape::Decimal))),
            (json!({"type": "array"}), Shape::Any),
            (json!({"type": "object"}), Shape::Any),
            (json!({"$ref": "#/$defs/n"}), Shape::Long),
            (json!({"$ref": "#/$defs/loop"}), Shape::Any),
            (json!({"$ref": "http://example.com/x"}), Shape::Any),
            (json!(true), Shape::Any),
        ];
        for (schema, want) in cases {
            let root = json!({"type": "object", "properties": {"x": schema},
                "$defs": {"n": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"}}});
            let Shape::Record { fields, open } = Shape::of_schema(&root, &kinds) else { panic!("a record") };
            assert_eq!(fields["x"].shape, want, "{root}");
            assert!(!open);
        }
        let nested = json!({"type": "object", "properties": {"files": {"type": "array", "items":
            {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}}});
        assert!(Shape::of_schema(&nested, &kinds).is_parsed());
        assert!(!Shape::of_schema(&nested, &BTreeMap::new()).is_parsed());
    }
}
