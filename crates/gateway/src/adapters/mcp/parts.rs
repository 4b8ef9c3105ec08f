//! What a server's answer says, part by part, for the record of where values come from.
//! What cannot be taken apart counts as one text; nothing is left out.

use judge::flow::Read;
use judge::request::tree::Tree;

/// The parts of a `result` or an `error` object: the structured content, each text block as a text of its own, and all the rest
/// as it is.
pub(super) fn parts(body: &str) -> Vec<Read> {
    let Ok(Tree::Map(members)) = Tree::parse(body.as_bytes()) else {
        return vec![Read::Text(body.to_owned())];
    };
    let mut parts = Vec::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("content", Tree::List(blocks)) => parts.extend(blocks.into_iter().map(block)),
            ("structuredContent", value) => parts.push(Read::Tree(value)),
            // What the protocol itself says.
            ("isError" | "resultType", Tree::Bool(_) | Tree::Text(_)) => {}
            (_, value) => parts.push(Read::Tree(Tree::List(vec![Tree::Text(name), value]))),
        }
    }
    parts
}

/// A content block: its text where it is one and nothing else.
fn block(block: Tree) -> Read {
    match &block {
        Tree::Map(members)
            if members.len() == 2 && block.member("type").and_then(Tree::as_text) == Some("text") =>
        {
            match block.member("text").and_then(Tree::as_text) {
                Some(text) => Read::Text(text.to_owned()),
                None => Read::Tree(block),
            }
        }
        _ => Read::Tree(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_an_answer_says_is_left_out() {
        let body = r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b","note":"c"}],
            "structuredContent":{"d":"e"},"isError":false,"_meta":{"f":"g"}}"#;
        let said = format!("{:?}", parts(body));
        for word in ["a", "b", "c", "d", "e", "f", "g"] {
            assert!(said.contains(&format!("{word:?}")), "{word} in {said}");
        }
        assert!(matches!(&parts(body)[0], Read::Text(text) if text == "a"));
        for odd in ["[1]", "{\"a\":1,\"a\":2}", "nothing"] {
            assert!(matches!(parts(odd).as_slice(), [Read::Text(text)] if text == odd), "{odd}");
        }
    }
}
