//! Where in an answer the texts are that a model reads, by method's kind of result, and where only values are. Bytes between them,
//! numbers and order stay as they came; a shape that is not known is left as it is.

use super::downstream::Bytes;
use super::link::Answer;
use crate::wire::frame::{Object, raw};
use judge::spotlight::{Leaf, Speaks};
use serde_json::value::RawValue;

type Say<'a> = dyn FnMut(Leaf, &str) -> Option<String> + 'a;

impl Speaks for Answer {
    fn spoken(self, say: &mut Say<'_>) -> Self {
        if self.is_error {
            let body = strings(&self.body, say).unwrap_or(self.body);
            return Self { body, ..self };
        }
        let Some(mut result) = Object::inside(&self.body) else { return self };
        let mut is_changed = false;
        let mut set = |result: &mut Object, name: &str, value: Option<Box<RawValue>>| {
            if let Some(value) = value {
                result.set(name, value);
                is_changed = true;
            }
        };
        let content = result.get("content").and_then(|content| list(content, &mut |item| block(item, say)));
        set(&mut result, "content", content);
        let contents =
            result.get("contents").and_then(|contents| list(contents, &mut |item| resource(item, say)));
        set(&mut result, "contents", contents);
        // A prompt is put by the user, as the user's words: it is cleaned, and no marks are put into what they say.
        for name in ["structuredContent", "messages", "description", "completion"] {
            let value = result.get(name).and_then(|value| strings(value, say));
            set(&mut result, name, value);
        }
        let body = if is_changed { result.to_raw() } else { self.body };
        Self { body, ..self }
    }
}

/// What a client answers a server is not shown to a model.
impl Speaks for Bytes {
    fn spoken(self, _: &mut Say<'_>) -> Self {
        self
    }
}

/// A list with the items that `change` gives; nothing where none changes.
fn list(
    items: &RawValue,
    change: &mut dyn FnMut(&RawValue) -> Option<Box<RawValue>>,
) -> Option<Box<RawValue>> {
    let items: Vec<Box<RawValue>> = serde_json::from_str(items.get()).ok()?;
    let mut is_changed = false;
    let changed: Vec<Box<RawValue>> = items
        .into_iter()
        .map(|item| {
            let changed = change(&item);
            is_changed |= changed.is_some();
            changed.unwrap_or(item)
        })
        .collect();
    is_changed.then(|| raw(changed))
}

/// One block of a tool's answer.
fn block(item: &RawValue, say: &mut Say<'_>) -> Option<Box<RawValue>> {
    let mut block = Object::inside(item)?;
    match block.text("type")?.as_str() {
        "text" => {
            let said = say(Leaf::Text, &block.text("text")?)?;
            block.set("text", raw(said));
            Some(block.to_raw())
        }
        "resource" => {
            let changed = resource(block.get("resource")?, say)?;
            block.set("resource", changed);
            Some(block.to_raw())
        }
        "resource_link" => strings(item, say),
        // Pictures and sounds are no text.
        _ => None,
    }
}

/// One resource. What a program renders keeps its form.
fn resource(item: &RawValue, say: &mut Say<'_>) -> Option<Box<RawValue>> {
    let mut resource = Object::inside(item)?;
    let text = resource.text("text")?;
    let kind = resource.text("mimeType").unwrap_or_default();
    let is_rendered = resource.text("uri").is_some_and(|uri| uri.starts_with("ui://"))
        || !(kind.is_empty() || kind.starts_with("text/plain") || kind.starts_with("text/markdown"));
    let said = say(if is_rendered { Leaf::Value } else { Leaf::Text }, &text)?;
    resource.set("text", raw(said));
    Some(resource.to_raw())
}

/// Any value with its strings cleaned, member names among them, in one pass; nothing where none changes.
fn strings(value: &RawValue, say: &mut Say<'_>) -> Option<Box<RawValue>> {
    let text = value.get();
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(open) = memchr(bytes, at) {
        let mut close = open + 1;
        while bytes.get(close).is_some_and(|byte| *byte != b'"') {
            close += if bytes[close] == b'\\' { 2 } else { 1 };
        }
        at = close + 1;
        let literal = text.get(open..at)?;
        let said = serde_json::from_str::<String>(literal).ok().and_then(|text| say(Leaf::Value, &text));
        if let Some(said) = said {
            out.push_str(&text[copied..open]);
            out.push_str(&serde_json::Value::from(said).to_string());
            copied = at;
        }
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&text[copied..]);
    RawValue::from_string(out).ok()
}

fn memchr(bytes: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.iter().position(|byte| *byte == b'"').map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(body: &str, is_error: bool) -> (String, Vec<(Leaf, String)>) {
        let body = RawValue::from_string(body.to_owned()).expect("JSON");
        let mut heard = Vec::new();
        let answer = Answer { body, is_error, extensions: Vec::new() }.spoken(&mut |leaf, text| {
            heard.push((leaf, text.to_owned()));
            match leaf {
                Leaf::Text => Some(format!("«{text}»")),
                Leaf::Value => text.contains('!').then(|| text.replace('!', "")),
            }
        });
        (answer.body.get().to_owned(), heard)
    }

    #[test]
    fn texts_are_marked_values_are_cleaned_and_the_rest_keeps_its_bytes() {
        let table = [
            (
                r#"{"content":[{"type":"text","text":"a\"b","x":1.0},{"type":"image","data":"aGk!"}],"isError":false}"#,
                r#"{"content":[{"type":"text","text":"«a\"b»","x":1.0},{"type":"image","data":"aGk!"}],"isError":false}"#,
            ),
            (
                r#"{"structuredContent":{"a!":[1.50,"x!",{"b":"\u00e9!"}],"n":123456789012345678901}, "z": 1e2}"#,
                r#"{"structuredContent":{"a":[1.50,"x",{"b":"é"}],"n":123456789012345678901},"z":1e2}"#,
            ),
            (
                r#"{"structuredContent":{"a": [1.50,  "x"]}, "z": 1e2}"#,
                r#"{"structuredContent":{"a": [1.50,  "x"]}, "z": 1e2}"#,
            ),
            (
                r#"{"contents":[{"uri":"a","text":"x!"},{"uri":"ui://a","text":"x!"},{"uri":"b","mimeType":"text/html","text":"y"},{"uri":"c","blob":"eA=="}]}"#,
                r#"{"contents":[{"uri":"a","text":"«x!»"},{"uri":"ui://a","text":"x"},{"uri":"b","mimeType":"text/html","text":"y"},{"uri":"c","blob":"eA=="}]}"#,
            ),
            (
                r#"{"content":[{"type":"resource","resource":{"uri":"a","text":"x"}},{"type":"resource_link","uri":"u","name":"n!"}]}"#,
                r#"{"content":[{"type":"resource","resource":{"uri":"a","text":"«x»"}},{"type":"resource_link","uri":"u","name":"n"}]}"#,
            ),
            (
                r#"{"messages":[{"role":"user","content":{"type":"text","text":"p!"}}]}"#,
                r#"{"messages":[{"role":"user","content":{"type":"text","text":"p"}}]}"#,
            ),
            (r#"{"tools":[{"name":"x!"}]}"#, r#"{"tools":[{"name":"x!"}]}"#),
            (r#"{"content":"odd!"}"#, r#"{"content":"odd!"}"#),
            ("[1]", "[1]"),
        ];
        for (body, want) in table {
            assert_eq!(spoken(body, false).0, want);
        }
        let (body, heard) = spoken(r#"{"code":-1,"message":"no!","data":["x"]}"#, true);
        assert_eq!(body, r#"{"code":-1,"message":"no","data":["x"]}"#);
        assert!(heard.contains(&(Leaf::Value, "no!".to_owned())));
    }
}
