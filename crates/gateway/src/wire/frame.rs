//! A JSON-RPC message as received: its members in order, each one's bytes untouched unless a bridge replaces it.
//! Nothing here knows a method's meaning; a message that could be read two ways does not become a frame.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Largest message accepted in either direction, in bytes.
pub const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Deepest nesting accepted in a message, in levels; a deeper one breaks recursive readers on the other side.
pub const FRAME_DEPTH_MAX: usize = 128;

/// A JSON object whose member values keep their exact bytes.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: Vec<(String, Box<RawValue>)>,
}

/// Members of a message beside those of JSON-RPC, in order.
pub type Extensions = Vec<(String, Box<RawValue>)>;

/// Why bytes are not a frame. The text is safe to send to either side.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Not JSON, or JSON that readers disagree on.
    #[error("not one usable JSON object: {0}")]
    Syntax(String),
    /// More than [`FRAME_DEPTH_MAX`] levels.
    #[error("nested deeper than {FRAME_DEPTH_MAX} levels")]
    TooDeep,
    /// More than [`FRAME_BYTES_MAX`] bytes.
    #[error("larger than {FRAME_BYTES_MAX} bytes")]
    TooLarge,
    /// A JSON array: batches ended with protocol 2025-06-18.
    #[error("batches are not supported; send one message at a time")]
    Batch,
    /// Not a JSON-RPC 2.0 request, notification or response.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    Envelope(&'static str),
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has an id and a result or an error.
    Response,
}

impl Object {
    /// Reads one JSON object; refuses duplicate members at this level, invalid UTF-8, and nesting past
    /// [`FRAME_DEPTH_MAX`]. Values inside keep their bytes.
    ///
    /// # Errors
    /// [`FrameError`] other than `Envelope`.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge);
        }
        if depth(bytes) > FRAME_DEPTH_MAX {
            return Err(FrameError::TooDeep);
        }
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(FrameError::Batch);
        }
        serde_json::from_slice(bytes).map_err(|error| FrameError::Syntax(error.to_string()))
    }

    /// Reads the object inside `raw`; `None` when it is something else or has duplicate members.
    pub fn inside(raw: &RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    /// The bytes of member `name`.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| &**value)
    }

    /// The object at member `name`; `None` when absent or something else.
    pub fn object(&self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::inside)
    }

    /// The string at member `name`; `None` when absent or something else.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The members in order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.members.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Replaces member `name` in place, or appends it.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.members.iter_mut().find(|(member, _)| member == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    /// Removes member `name`.
    pub fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.members.iter().position(|(member, _)| member == name)?;
        Some(self.members.remove(at).1)
    }

    /// The object with member `name` set.
    #[must_use]
    pub fn with(mut self, name: &str, value: Box<RawValue>) -> Self {
        self.set(name, value);
        self
    }

    /// The object as bytes, members in order.
    pub fn to_raw(&self) -> Box<RawValue> {
        let size: usize = self.members.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum();
        let mut out = String::with_capacity(size + 2);
        out.push('{');
        for (index, (name, value)) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(&serde_json::Value::from(name.as_str()).to_string());
            out.push(':');
            out.push_str(value.get());
        }
        out.push('}');
        RawValue::from_string(out).expect("members are JSON values and names are JSON strings")
    }

    /// The members of a message that JSON-RPC does not define: extensions, passed on as they are.
    pub fn extensions(&self) -> Extensions {
        let own = ["jsonrpc", "id", "method", "params", "result", "error"];
        self.members.iter().filter(|(name, _)| !own.contains(&name.as_str())).cloned().collect()
    }

    /// What this message is, if it is a JSON-RPC 2.0 message with a usable id.
    ///
    /// # Errors
    /// [`FrameError::Envelope`] naming what is wrong.
    pub fn kind(&self) -> Result<Kind, FrameError> {
        if self.text("jsonrpc").as_deref() != Some("2.0") {
            return Err(FrameError::Envelope("`jsonrpc` is not \"2.0\""));
        }
        let has_id = match self.get("id") {
            None => false,
            Some(id) if usable_id(id) => true,
            Some(_) => return Err(FrameError::Envelope("`id` is neither a string nor an integer")),
        };
        match (self.get("method"), has_id) {
            (Some(_), _) if self.text("method").is_none() => {
                Err(FrameError::Envelope("`method` is not a string"))
            }
            (Some(_), true) => Ok(Kind::Request),
            (Some(_), false) => Ok(Kind::Notification),
            (None, true) if self.get("result").is_some() != self.get("error").is_some() => Ok(Kind::Response),
            (None, _) => Err(FrameError::Envelope("it is no request, notification or response")),
        }
    }

    /// The method name; empty for a response.
    pub fn method(&self) -> String {
        self.text("method").unwrap_or_default()
    }
}

/// An id is a string or an integer (MCP; JSON-RPC 2.0 §4 also allows null and fractions).
fn usable_id(id: &RawValue) -> bool {
    let text = id.get();
    text.starts_with('"')
        || (text.len() <= 20 && text.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()))
}

/// The deepest nesting of lists and objects, strings skipped.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Any serializable value as raw JSON.
pub fn raw(value: impl serde::Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(&value).expect("plain values with string keys serialize")
}

/// A request.
pub fn request(id: u64, method: &str, params: Option<Box<RawValue>>) -> Object {
    let object = notification(method, params);
    let mut members = vec![("jsonrpc".to_owned(), raw("2.0")), ("id".to_owned(), raw(id))];
    members.extend(object.members.into_iter().skip(1));
    Object { members }
}

/// A notification.
pub fn notification(method: &str, params: Option<Box<RawValue>>) -> Object {
    let mut members = vec![("jsonrpc".to_owned(), raw("2.0")), ("method".to_owned(), raw(method))];
    members.extend(params.map(|params| ("params".to_owned(), params)));
    Object { members }
}

/// A successful response to `id`.
pub fn result(id: &RawValue, result: Box<RawValue>) -> Object {
    Object {
        members: vec![
            ("jsonrpc".to_owned(), raw("2.0")),
            ("id".to_owned(), id.to_owned()),
            ("result".to_owned(), result),
        ],
    }
}

/// An error response; without an id where the request's could not be read.
pub fn error(id: Option<&RawValue>, code: i64, message: &str, data: Option<serde_json::Value>) -> Object {
    let mut body = serde_json::json!({ "code": code, "message": message });
    if let Some(data) = data {
        body["data"] = data;
    }
    let mut members = vec![("jsonrpc".to_owned(), raw("2.0"))];
    members.extend(id.map(|id| ("id".to_owned(), id.to_owned())));
    members.push(("error".to_owned(), raw(body)));
    Object { members }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.len() < 64 {
                        if members.iter().any(|(member, _)| *member == name) {
                            return Err(A::Error::custom(format_args!("the member {name:?} stands twice")));
                        }
                    } else if members.len() == 64 {
                        return many(members, (name, value), map);
                    }
                    members.push((name, value));
                }
                Ok(Object { members })
            }
        }
        /// The same for objects with many members, in linear time.
        fn many<'de, A: MapAccess<'de>>(
            mut members: Vec<(String, Box<RawValue>)>,
            next: (String, Box<RawValue>),
            mut map: A,
        ) -> Result<Object, A::Error> {
            let mut seen: std::collections::HashSet<String> =
                members.iter().map(|(name, _)| name.clone()).collect();
            let mut next = Some(next);
            while let Some((name, value)) = next {
                if !seen.insert(name.clone()) {
                    return Err(A::Error::custom(format_args!("the member {name:?} stands twice")));
                }
                members.push((name, value));
                next = map.next_entry()?;
            }
            Ok(Object { members })
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_and_what_reads_two_ways_is_refused() {
        let kept = [
            r#"{"jsonrpc":"2.0","id":1,"method":"x/unknown","params":{"a":1e2,"b":"\u00e9 \/"},"extension":[1, 2]}"#,
            r#"{"jsonrpc":"2.0","id":"1","result":{"a":{"b":1},"a2":1.0}}"#,
        ];
        for text in kept {
            let object = Object::parse(text.as_bytes()).expect(text);
            assert_eq!(object.to_raw().get(), text);
            assert!(object.kind().is_ok());
        }
        let deep = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Object::parse(deep(FRAME_DEPTH_MAX - 1).as_bytes()).is_ok());
        assert!(matches!(Object::parse(deep(FRAME_DEPTH_MAX).as_bytes()), Err(FrameError::TooDeep)));
        assert!(matches!(Object::parse(deep(10_000).as_bytes()), Err(FrameError::TooDeep)));
        for bad in [
            &br#"{"a":1,"a":1}"#[..],
            br#"{"a":1,"\u0061":1}"#,
            b"{\"a\":\"\xff\"}",
            b"{",
            b"1",
            b"",
            b"{} {}",
        ] {
            assert!(Object::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(matches!(Object::parse(b" [{}]"), Err(FrameError::Batch)));
        let wide: String = (0..100).map(|n| format!("\"k{n}\":1,")).collect();
        assert!(Object::parse(format!("{{{wide}\"k\":1}}").as_bytes()).is_ok());
        assert!(Object::parse(format!("{{{wide}\"k70\":1}}").as_bytes()).is_err());
    }

    #[test]
    fn an_id_is_a_string_or_an_integer() {
        for (id, usable) in [
            ("1", true),
            ("-5", true),
            ("\"a\"", true),
            ("null", false),
            ("1.5", false),
            ("true", false),
            ("{}", false),
            ("[1]", false),
            ("1e3", false),
            ("123456789012345678901234567890", false),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let object = Object::parse(text.as_bytes()).expect("an object");
            assert_eq!(object.kind().is_ok(), usable, "{id}");
        }
    }
}
