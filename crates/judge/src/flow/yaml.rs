//! YAML answers as trees, for tools whose reviewed format it is.
//! What could be read in two ways is no tree: the whole answer is then one text, and trusted as such.

use crate::request::tree::{DEPTH_MAX, NODES_MAX, Tree};
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::HashMap;

/// The one document in `text`; `None` for several, for duplicate keys, and past the bounds of a [`Tree`].
pub(super) fn parse(text: &str) -> Option<Tree> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut found = None;
    loop {
        match reader.event()? {
            Event::StreamEnd => return found,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            _ if found.is_some() => return None,
            event => found = Some(reader.node(event, 0)?),
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, (Tree, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn event(&mut self) -> Option<Event<'a>> {
        self.events.next_event()?.ok().map(|(event, _)| event)
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Option<Tree> {
        let before = self.nodes;
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return None;
        }
        let (tree, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.event()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                (Tree::List(items), anchor)
            }
            Event::MappingStart(anchor, _) => {
                let mut members: Vec<(String, Tree)> = Vec::new();
                loop {
                    let name = match self.event()? {
                        Event::MappingEnd => break,
                        Event::Scalar(text, ..) => text.into_owned(),
                        _ => return None,
                    };
                    if members.iter().any(|(known, _)| *known == name) {
                        return None;
                    }
                    let event = self.event()?;
                    members.push((name, self.node(event, depth + 1)?));
                }
                (Tree::Map(members), anchor)
            }
            Event::Alias(anchor) => {
                let (tree, nodes) = self.anchors.get(&anchor)?;
                self.nodes += nodes;
                return (self.nodes <= NODES_MAX).then(|| tree.clone());
            }
            _ => return None,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (tree.clone(), self.nodes - before));
        }
        Some(tree)
    }
}

/// Plain numbers, flags and nothing (YAML 1.2 core schema, §10.3.2); anything else is text.
fn scalar(text: &str, style: ScalarStyle) -> Tree {
    let as_text = || Tree::Text(text.to_owned());
    if style != ScalarStyle::Plain {
        return as_text();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Tree::Null,
        "true" | "True" | "TRUE" => Tree::Bool(true),
        "false" | "False" | "FALSE" => Tree::Bool(false),
        _ if text.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
            match Tree::parse(text.as_bytes()) {
                Ok(number @ (Tree::Integer(_) | Tree::Float(_))) => number,
                _ => as_text(),
            }
        }
        _ => as_text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_beside_several() {
        let text = "- id_: '13'\n  size: 4\n  shared: &a {ann@x.org: r}\n  title: |-\n    two\n    lines\n- id_: '14'\n  shared: *a\n";
        let tree = parse(text).expect("plain YAML");
        assert_eq!(
            tree.canonical(),
            r#"[{"id_":"13","shared":{"ann@x.org":"r"},"size":4,"title":"two\nlines"},{"id_":"14","shared":{"ann@x.org":"r"}}]"#
        );
        for refused in ["a: 1\na: 2\n", "--- 1\n--- 2\n", "? [a]\n: b\n", "a: *nobody\n", "'open", "a: b: c"]
        {
            assert!(parse(refused).is_none(), "{refused}");
        }
        let bomb = format!("a: &a [{}]\n", "x,".repeat(9))
            + &(1..9).map(|n| format!("{n}: &a [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n")).collect::<String>();
        assert!(parse(&bomb).is_none());
        assert!(parse(&"[".repeat(100_000)).is_none());
    }
}
