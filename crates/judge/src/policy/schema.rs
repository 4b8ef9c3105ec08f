//! Generates the Cedar schema from the reviewed inventory, every nested argument typed.
//! A policy that names a tool or an argument which does not exist cannot load; nothing here is written by hand twice.

use crate::shape::{Field, REST, Shape};
use crate::tool::{Effect, Impact, Inventory, Tool};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The action groups a tool belongs to, by its review.
pub(super) fn groups(tool: &Tool) -> Vec<&'static str> {
    let mut groups = vec![match tool.effect {
        Effect::Read => "read",
        Effect::Write => "write",
    }];
    if !tool.reversible {
        groups.push("irreversible");
    }
    if tool.impact == Impact::High {
        groups.push("high-impact");
    }
    if tool.name.tool.starts_with("mcp:") {
        groups.push("mcp");
    }
    groups
}

const GROUPS: [&str; 5] = ["read", "write", "irreversible", "high-impact", "mcp"];

/// The schema in Cedar's JSON form.
pub(super) fn generate(inventory: &Inventory) -> Value {
    let mut actions: Map<String, Value> =
        GROUPS.iter().map(|group| ((*group).to_owned(), json!({ "memberOf": [] }))).collect();
    for tool in inventory.tools() {
        let member_of: Vec<_> = groups(tool).into_iter().map(|group| json!({ "id": group })).collect();
        actions.insert(
            tool.name.to_string(),
            json!({
                "memberOf": member_of,
                "appliesTo": {
                    "principalTypes": ["Agent"],
                    "resourceTypes": ["Server"],
                    "context": record(context(&tool.shape)),
                },
            }),
        );
    }
    json!({ "": {
        "commonTypes": common_types(),
        "entityTypes": {
            "Group": {}, "User": { "memberOfTypes": ["Group"] }, "Agent": { "memberOfTypes": ["User"] }, "Server": {},
        },
        "actions": actions,
    }})
}

fn context(args: &Shape) -> Value {
    let names = match args {
        Shape::Record { fields, .. } => fields.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let from: Map<String, Value> =
        names.into_iter().map(|name| (name, json!({ "type": "Origin" }))).collect();
    json!({
        "args": typed(args),
        "approved": { "type": "Boolean" },
        "session": { "type": "Session" },
        "tool": { "type": "Tool" },
        "time": { "type": "Time" },
        "rate": { "type": "Rate" },
        "flow": { "type": "Flow" },
        "from": record(Value::Object(from)),
        "leaks": { "type": "Leaks" },
    })
}

fn common_types() -> Value {
    let texts = || json!({ "type": "Set", "element": { "type": "String" } });
    let text = || json!({ "type": "String" });
    let long = || json!({ "type": "Long" });
    let flag = || json!({ "type": "Boolean" });
    json!({
        "Path": record(json!({ "given": text(), "real": text(), "name": text(), "zone": text(), "exists": flag() })),
        "Url": record(json!({ "text": text(), "scheme": text(), "host": text(), "class": text(), "port": long(),
            "path": text(), "query": flag(), "userinfo": flag() })),
        "Host": record(json!({ "name": text(), "class": text() })),
        "Command": record(json!({ "program": text(), "given": text(), "line": text(), "first": text(), "words": texts(),
            "env": texts(), "zones": texts(), "reads": texts(), "read_zones": texts(), "writes": texts(),
            "write_zones": texts(), "dynamic": flag(), "opaque": flag() })),
        "Session": record(json!({ "phase": text(), "transport": text() })),
        "Tool": record(json!({ "effect": text(), "reversible": flag(), "impact": text() })),
        "Time": record(json!({ "epoch": long(), "hour": long(), "weekday": long() })),
        "Rate": record(json!({ "minute": long() })),
        "Flow": record(json!({ "fits": flag(), "tainted": flag(), "prompt": flag(), "in_scope": flag(),
            "compartments": texts() })),
        "Origin": record(json!({ "origin": text(), "fits": flag() })),
        "Leaks": record(json!({ "offers": texts(), "carriers": texts(), "hosts": texts() })),
    })
}

fn typed(shape: &Shape) -> Value {
    use crate::shape::Kind;
    match shape {
        Shape::Bool => json!({ "type": "Boolean" }),
        Shape::Long => json!({ "type": "Long" }),
        Shape::Decimal => json!({ "type": "Extension", "name": "decimal" }),
        Shape::Text(Kind::Plain) | Shape::Any => json!({ "type": "String" }),
        Shape::Text(Kind::Path) => json!({ "type": "Path" }),
        Shape::Text(Kind::Url) => json!({ "type": "Url" }),
        Shape::Text(Kind::Host) => json!({ "type": "Host" }),
        Shape::Text(Kind::Command) => json!({ "type": "Command" }),
        Shape::List(item) if item.is_parsed() => typed(item),
        Shape::List(item) => json!({ "type": "Set", "element": typed(item) }),
        Shape::Record { fields, open } => record(Value::Object(members(fields, *open))),
    }
}

fn members(fields: &BTreeMap<String, Field>, open: bool) -> Map<String, Value> {
    let mut members: Map<String, Value> = fields
        .iter()
        .map(|(name, field)| {
            let mut attribute = typed(&field.shape);
            // A list that is judged element by element is absent when it is empty.
            let judged_one_by_one = matches!(&field.shape, Shape::List(item) if item.is_parsed());
            attribute["required"] = json!(field.required && !judged_one_by_one);
            (name.clone(), attribute)
        })
        .collect();
    if open && !fields.contains_key(REST) {
        members.insert(REST.to_owned(), json!({ "type": "String", "required": false }));
    }
    members
}

fn record(attributes: Value) -> Value {
    json!({ "type": "Record", "attributes": attributes })
}
