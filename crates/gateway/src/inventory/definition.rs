//! One tool definition as a server lists it: its bytes, its digest, and a readable difference from another.
//! A definition that cannot be read strictly is nobody else's problem: it is only ever one tool.

use judge::request::tree::Tree;
use serde_json::value::RawValue;

/// Largest definition considered, in bytes.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1024;
/// Longest tool name, in bytes (MCP 2025-11-25 recommends at most 128 characters).
const NAME_BYTES_MAX: usize = 128;

/// A tool definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The tool's name.
    pub name: String,
    /// The definition, strictly read.
    pub tree: Tree,
    /// SHA-256 of its canonical form without `execution`, lowercase hexadecimal.
    pub digest: String,
}

impl Definition {
    /// Reads one entry of a `tools/list` result.
    ///
    /// # Errors
    /// Why this entry is not a usable tool; the other entries are unaffected.
    pub fn read(raw: &RawValue) -> Result<Self, String> {
        if raw.get().len() > DEFINITION_BYTES_MAX {
            return Err(format!("its definition is larger than {DEFINITION_BYTES_MAX} bytes"));
        }
        let tree = Tree::parse(raw.get().as_bytes()).map_err(|error| error.to_string())?;
        let name = tree.member("name").and_then(Tree::as_text).unwrap_or_default().to_owned();
        let usable = |c: char| !c.is_control() && !c.is_whitespace() && !is_hidden(c);
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || !name.chars().all(usable)
            || name.starts_with("mcp:")
        {
            return Err(format!("`{}` is no usable tool name", name.escape_debug()));
        }
        match tree.member("inputSchema") {
            Some(Tree::Map(_)) => {}
            _ => return Err(format!("`{name}` has no `inputSchema` object")),
        }
        let digest = digest(&tree);
        Ok(Self { name, tree, digest })
    }

    /// The definition as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::from_str(&self.tree.canonical()).unwrap_or_default()
    }
}

/// `execution` says only how tasks are offered, which the gate does not pass on and which differs between protocol
/// versions of one server.
fn digest(tree: &Tree) -> String {
    let kept = match tree {
        Tree::Map(members) => {
            Tree::Map(members.iter().filter(|(name, _)| name != "execution").cloned().collect())
        }
        other => other.clone(),
    };
    judge::digest::hex(kept.canonical().as_bytes())
}

/// The difference between two JSON values, one line per changed leaf: `- path: old`, `+ path: new`.
pub fn difference(old: &serde_json::Value, new: &serde_json::Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", Some(old), Some(new), &mut lines);
    lines
}

fn compare(
    path: &str,
    old: Option<&serde_json::Value>,
    new: Option<&serde_json::Value>,
    lines: &mut Vec<String>,
) {
    use serde_json::Value;
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut keys: Vec<&String> =
                a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
            keys.sort();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, a.get(key), b.get(key), lines);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                compare(&format!("{path}[{index}]"), a.get(index), b.get(index), lines);
            }
        }
        (old, new) if old == new => {}
        (old, new) => {
            lines.extend(old.map(|value| format!("- {path}: {}", visible(value))));
            lines.extend(new.map(|value| format!("+ {path}: {}", visible(value))));
        }
    }
}

/// A value with everything invisible spelled out: what hides from a reviewer is what an attacker writes.
fn visible(value: &serde_json::Value) -> String {
    let shown = |c: char| c.is_ascii_graphic() || c == ' ' || (c.is_alphanumeric() && !is_hidden(c));
    value
        .to_string()
        .chars()
        .map(|c| if shown(c) { c.to_string() } else { c.escape_unicode().to_string() })
        .collect()
}

/// Characters that take part in text without being seen: joiners, direction marks, fillers, tag characters.
pub fn is_hidden(c: char) -> bool {
    matches!(u32::from(c),
        0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
        | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &serde_json::Value) -> Result<Definition, String> {
        Definition::read(&crate::wire::frame::raw(value))
    }

    #[test]
    fn a_definition_is_pinned_by_everything_but_execution() {
        let base = json!({"name": "t", "description": "d", "inputSchema": {"type": "object"}});
        let pinned = read(&base).expect("usable").digest;
        for (pointer, value, same) in [
            ("/execution", json!({"taskSupport": "optional"}), true),
            ("/description", json!("d\u{200b}"), false),
            ("/inputSchema/title", json!("x"), false),
            ("/annotations", json!({"readOnlyHint": true}), false),
            ("/_meta", json!({"x": 1}), false),
        ] {
            let mut changed = base.clone();
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            changed.pointer_mut(parent).expect("a parent")[key] = value;
            assert_eq!(read(&changed).expect("usable").digest == pinned, same, "{pointer}");
        }
    }

    #[test]
    fn an_unusable_definition_says_why() {
        for bad in [
            json!({"inputSchema": {}}),
            json!({"name": "", "inputSchema": {}}),
            json!({"name": "a b", "inputSchema": {}}),
            json!({"name": "mcp:x", "inputSchema": {}}),
            json!({"name": "t"}),
            json!({"name": "t", "inputSchema": []}),
            json!(7),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
        assert!(read(&json!({"name": "a.b-c_d", "inputSchema": {}})).is_ok());
    }

    #[test]
    fn a_difference_shows_what_hides() {
        let lines =
            difference(&json!({"a": {"b": 1}, "c": [1]}), &json!({"a": {"b": "x\u{200b}"}, "c": [1, 2]}));
        assert_eq!(lines, ["- a.b: 1", "+ a.b: \"x\\u{200b}\"", "+ c[1]: 2"]);
    }
}
