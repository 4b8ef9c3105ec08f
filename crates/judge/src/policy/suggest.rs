//! Policies that would have answered what people were asked, for somebody to review: the least that covers what was granted and
//! nothing of what was refused. Nothing here loads or permits anything.

use crate::request::tree::Tree;
use crate::shape::{Field, Kind, Shape};
use crate::tool::{Inventory, Tool, ToolName};
use std::collections::{BTreeMap, BTreeSet};

/// Granted calls of one operation before a policy is suggested, at least.
pub const GRANTED_MIN: usize = 3;
/// Most different values of one argument that are listed, entries.
const VALUES_MAX: usize = 8;

/// One call that somebody was asked about.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Which operation.
    pub tool: ToolName,
    /// Its arguments, as recorded.
    pub arguments: Tree,
    /// Whether the answer was yes.
    pub is_granted: bool,
}

/// What would have answered the calls of one operation.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// The operation.
    pub tool: ToolName,
    /// How many questions it would have answered.
    pub answers: usize,
    /// The policy, or why there is none.
    pub policy: Result<String, String>,
}

/// What would have answered `all`, operation by operation, the most asked first.
pub fn suggest(all: &[Answered], inventory: &Inventory) -> Vec<Suggestion> {
    let mut by_tool: BTreeMap<&ToolName, (Vec<&Tree>, Vec<&Tree>)> = BTreeMap::new();
    for Answered { tool, arguments, is_granted } in all {
        let (granted, refused) = by_tool.entry(tool).or_default();
        if *is_granted { granted.push(arguments) } else { refused.push(arguments) }
    }
    let mut suggestions: Vec<Suggestion> = by_tool
        .into_iter()
        .filter(|(_, (granted, _))| granted.len() >= GRANTED_MIN)
        .map(|(name, (granted, refused))| Suggestion {
            tool: name.clone(),
            answers: granted.len(),
            policy: match inventory.tool(name) {
                Some(tool) => written(tool, &granted, &refused),
                None => Err("it is not reviewed any more".to_owned()),
            },
        })
        .collect();
    suggestions.sort_by_key(|suggestion| std::cmp::Reverse(suggestion.answers));
    suggestions
}

/// What one argument was, over all granted calls.
enum Seen {
    /// One of these texts, which policies find at this place.
    Texts(BTreeSet<String>, &'static str),
    /// Numbers from the smallest to the largest.
    Numbers(i64, i64),
    /// Only this.
    Flag(bool),
    /// Either.
    Flags,
    /// More texts than can be listed.
    Open,
}

fn written(tool: &Tool, granted: &[&Tree], refused: &[&Tree]) -> Result<String, String> {
    let Shape::Record { fields, open } = &tool.shape else {
        return Err("its arguments were reviewed as no object".to_owned());
    };
    if *open {
        return Err("it takes arguments that nobody reviewed, so no policy can name them all".to_owned());
    }
    let mut conditions = Vec::new();
    let mut covers: Vec<(&str, Option<Seen>, bool)> = Vec::new();
    for (name, Field { shape, required }) in fields {
        let values: Vec<&Tree> = granted.iter().filter_map(|call| call.member(name)).collect();
        let attribute = attribute(name);
        let has = format!("context.args has {}", key(name));
        if values.is_empty() {
            if !required {
                conditions.push(format!("!({has})"));
            }
            covers.push((name, None, false));
            continue;
        }
        let seen = seen(name, shape, &values)?;
        let condition = condition(&attribute, name, &seen);
        conditions.push(match (required, values.len() == granted.len()) {
            (true, _) => condition,
            (false, true) => format!("{has} && {condition}"),
            (false, false) => format!("(if {has} then {condition} else true)"),
        });
        covers.push((name, Some(seen), values.len() == granted.len()));
    }
    if let Some(call) = refused.iter().find(|call| is_covered(call, &covers)) {
        return Err(format!("a call like these was refused: {}", call.canonical()));
    }
    let id = tool.name.to_string().replace(['/', ':'], "-");
    let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" &&\n  ") };
    Ok(format!(
        "@id({})\npermit (principal, action == Action::{}, resource)\nwhen {{\n  {conditions}\n}};\n",
        quoted(&format!("suggested-{id}")),
        quoted(&tool.name.to_string()),
    ))
}

fn seen(name: &str, shape: &Shape, values: &[&Tree]) -> Result<Seen, String> {
    let texts = |place| {
        let texts: Option<BTreeSet<String>> =
            values.iter().map(|value| value.as_text().map(str::to_owned)).collect();
        let texts = texts.ok_or_else(|| format!("`{name}` was recorded as no text"))?;
        if texts.iter().any(|text| is_masked(text)) {
            return Err(format!("`{name}` is not in the journal as it was"));
        }
        Ok(if texts.len() > VALUES_MAX { Seen::Open } else { Seen::Texts(texts, place) })
    };
    match shape {
        Shape::Text(Kind::Plain) => texts(""),
        Shape::Text(Kind::Path) => texts(".given"),
        Shape::Text(Kind::Url) => texts(".text"),
        Shape::Text(Kind::Host) => texts(".name"),
        Shape::Text(Kind::Command) => match texts(".line")? {
            Seen::Open => Err(format!("`{name}` was more than {VALUES_MAX} different command lines")),
            // A line of several commands is judged one by one, so the line itself is in none of them.
            Seen::Texts(lines, _) if lines.iter().any(|line| line.contains(['|', ';', '&', '\n'])) => {
                Err(format!("`{name}` was several commands at once"))
            }
            seen => Ok(seen),
        },
        Shape::Long => {
            let numbers: Option<Vec<i64>> = values
                .iter()
                .map(|value| match value {
                    Tree::Integer(number) => Some(*number),
                    _ => None,
                })
                .collect();
            let numbers = numbers.ok_or_else(|| format!("`{name}` was recorded as no number"))?;
            let (least, most) = (numbers.iter().min(), numbers.iter().max());
            Ok(Seen::Numbers(least.copied().unwrap_or(0), most.copied().unwrap_or(0)))
        }
        Shape::Bool => Ok(match values {
            [Tree::Bool(first), rest @ ..] if rest.iter().all(|value| **value == Tree::Bool(*first)) => {
                Seen::Flag(*first)
            }
            _ => Seen::Flags,
        }),
        Shape::Decimal | Shape::List(_) | Shape::Record { .. } | Shape::Any => {
            Err(format!("`{name}` is no text, whole number or flag; write that policy by hand"))
        }
    }
}

fn condition(attribute: &str, name: &str, seen: &Seen) -> String {
    match seen {
        Seen::Texts(texts, place) => {
            let listed: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}].contains({attribute}{place})", listed.join(", "))
        }
        Seen::Numbers(least, most) => format!("{attribute} >= {least} && {attribute} <= {most}"),
        Seen::Flag(value) => format!("{attribute} == {value}"),
        Seen::Flags => "true".to_owned(),
        // Whatever it is, it has to be the user's.
        Seen::Open => format!("context.from{}.fits", member(name)),
    }
}

fn is_covered(call: &Tree, covers: &[(&str, Option<Seen>, bool)]) -> bool {
    covers.iter().all(|(name, seen, always)| match (call.member(name), seen) {
        (None, _) => !always,
        (Some(_), None) => false,
        (Some(value), Some(seen)) => match (seen, value) {
            (Seen::Texts(texts, _), Tree::Text(text)) => texts.contains(text),
            (Seen::Numbers(least, most), Tree::Integer(number)) => (least..=most).contains(&number),
            (Seen::Flag(flag), value) => *value == Tree::Bool(*flag),
            (Seen::Flags | Seen::Open, _) => true,
            _ => false,
        },
    })
}

/// What a record has in place of a credential or of a long text.
fn is_masked(text: &str) -> bool {
    text == "[masked]" || (text.starts_with('[') && text.contains(" bytes, sha256 "))
}

fn is_word(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn key(name: &str) -> String {
    if is_word(name) { name.to_owned() } else { quoted(name) }
}

fn member(name: &str) -> String {
    if is_word(name) { format!(".{name}") } else { format!("[{}]", quoted(name)) }
}

fn attribute(name: &str) -> String {
    format!("context.args{}", member(name))
}

/// A text of the policy language.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || !c.is_ascii() => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Flow;
    use crate::policy::{Policy, Source};
    use crate::tool::{Effect, Impact};

    fn inventory() -> Inventory {
        let schema = serde_json::json!({
            "type": "object", "additionalProperties": false, "required": ["to"],
            "properties": { "to": {"type": "string"}, "amount": {"type": "integer"}, "now": {"type": "boolean"},
                "odd name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}} },
        });
        Inventory::new([Tool {
            name: ToolName { server: "bank".into(), tool: "pay".into() },
            shape: Shape::of_schema(&schema, &BTreeMap::new()),
            effect: Effect::Write,
            reversible: false,
            impact: Impact::High,
            digest: "d".into(),
            flow: Flow::default(),
        }])
    }

    fn answered(arguments: &str, is_granted: bool) -> Answered {
        let tool = ToolName { server: "bank".into(), tool: "pay".into() };
        Answered { tool, arguments: Tree::parse(arguments.as_bytes()).expect("JSON"), is_granted }
    }

    fn only(all: &[Answered]) -> Result<String, String> {
        let mut suggestions = suggest(all, &inventory());
        assert_eq!(suggestions.len(), 1);
        suggestions.remove(0).policy
    }

    #[test]
    fn the_least_that_covers_what_was_granted_loads_and_nothing_refused_is_in_it() {
        let granted = [
            answered(r#"{"to":"ann \"a\"","amount":5,"now":true}"#, true),
            answered(r#"{"to":"bob","amount":20,"now":true,"odd name":"é"}"#, true),
            answered(r#"{"to":"bob","amount":7,"now":true}"#, true),
        ];
        let policy = only(&granted).expect("a policy");
        for part in [
            r#"["ann \"a\"", "bob"].contains(context.args.to)"#,
            "context.args has amount && context.args.amount >= 5 && context.args.amount <= 20",
            "context.args has now && context.args.now == true",
            r#"(if context.args has "odd name" then ["\u{e9}"].contains(context.args["odd name"]) else true)"#,
            "!(context.args has tags)",
        ] {
            assert!(policy.contains(part), "{part} in\n{policy}");
        }
        let source = Source { name: "suggested".into(), text: policy };
        Policy::load(&[source], &inventory()).expect("it loads as it is");
        for (refused, is_in_the_way) in [
            (r#"{"to":"bob","amount":6,"now":true}"#, true),
            (r#"{"to":"eve","amount":6,"now":true}"#, false),
            (r#"{"to":"bob","amount":21,"now":true}"#, false),
            (r#"{"to":"bob","amount":6}"#, false),
        ] {
            let all: Vec<Answered> = granted.iter().cloned().chain([answered(refused, false)]).collect();
            assert_eq!(only(&all).is_err(), is_in_the_way, "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_not_suggested() {
        let three = |arguments: &str| vec![answered(arguments, true); 3];
        assert!(suggest(&three(r#"{"to":"a"}"#)[..2], &inventory()).is_empty(), "two are too few");
        assert!(only(&three(r#"{"to":"[masked]"}"#)).is_err());
        assert!(only(&three(r#"{"to":"[900 bytes, sha256 00]"}"#)).is_err());
        assert!(only(&three(r#"{"to":"a","tags":["x"]}"#)).is_err());
        let many: Vec<Answered> =
            (0..20).map(|number| answered(&format!(r#"{{"to":"{number}"}}"#), true)).collect();
        let policy = only(&many).expect("a policy");
        assert!(policy.contains("context.from.to.fits"), "{policy}");
        Policy::load(&[Source { name: "s".into(), text: policy }], &inventory()).expect("it loads");
    }
}
