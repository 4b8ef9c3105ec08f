//! Proposes what a tool does and what its arguments mean, with the reason, for a person to review.
//! A proposal errs to the careful side: what is not plainly a read is a write, what is not plainly harmless is high.

use super::lock::{Reviewed, Word};
use super::{CLAUDE, CLAUDE_CODE_TOOLS, Definition};
use judge::shape::Kind;
use judge::tool::{Effect, Impact};
use serde_json::Value;
use std::collections::BTreeMap;

const READS: [&str; 22] = [
    "get", "list", "read", "search", "find", "show", "query", "fetch", "describe", "count", "lookup", "view",
    "browse", "check", "status", "stat", "tree", "echo", "info", "inspect", "glob", "grep",
];
const IRREVERSIBLE: [&str; 19] = [
    "delete", "remove", "drop", "destroy", "purge", "send", "pay", "publish", "execute", "exec", "run",
    "deploy", "merge", "buy", "truncate", "wipe", "revoke", "share", "notify",
];
/// Words that are as often a thing as a deed: `refund_create` pays, `refund_list` only looks.
const THING_OR_DEED: [&str; 8] = ["refund", "transfer", "post", "email", "mail", "invite", "charge", "order"];

/// A proposal for one definition of `server`.
pub fn propose(server: &str, definition: &Definition) -> Reviewed {
    let json = definition.to_json();
    let words = words(&definition.name);
    let has = |list: &[&str]| words.iter().find(|word| list.contains(&word.as_str())).cloned();
    let hint = |name: &str| json["annotations"][name].as_bool();
    let reads = has(&READS).filter(|_| hint("readOnlyHint") != Some(false));
    let deed = has(&IRREVERSIBLE).or_else(|| has(&THING_OR_DEED).filter(|_| reads.is_none()));
    let (effect, reversible, impact, reason) = match (deed, reads, hint("readOnlyHint")) {
        (Some(word), _, _) => (
            Effect::Write,
            false,
            Impact::High,
            format!("its name says `{word}`, which cannot be taken back"),
        ),
        (None, Some(word), said) => {
            let also = if said == Some(true) { ", and the server says it only reads" } else { "" };
            (Effect::Read, true, Impact::Low, format!("its name says `{word}`{also}"))
        }
        (None, None, Some(true)) => {
            // The server's word alone is not enough to let a call run freely.
            (Effect::Read, true, Impact::High, "only the server says it reads; its name does not".to_owned())
        }
        (None, None, _) => match hint("destructiveHint") {
            Some(false) => {
                (Effect::Write, true, Impact::Low, "the server says it writes without destroying".to_owned())
            }
            _ => (
                Effect::Write,
                false,
                Impact::High,
                "nothing says that it only reads or can be undone".to_owned(),
            ),
        },
    };
    let mut kinds = BTreeMap::new();
    meanings(&json["inputSchema"], "", 0, &mut kinds);
    let shape = judge::shape::Shape::of_schema(
        &json["inputSchema"],
        &kinds.iter().map(|(at, kind)| (at.clone(), kind.0)).collect(),
    );
    // What a name suggests but the schema does not type as text stays visible as JSON.
    kinds.retain(|at, kind| shape.has_kind(at, kind.0));
    if server == CLAUDE {
        return built_in(definition, json, kinds);
    }
    let means = |wanted: &[Kind]| kinds.values().any(|kind| wanted.contains(&kind.0));
    let (effect, reversible, impact, reason) = if means(&[Kind::Command]) {
        (Effect::Write, false, Impact::High, "it takes a command line".to_owned())
    } else if means(&[Kind::Url, Kind::Host]) && impact == Impact::Low {
        (effect, reversible, Impact::High, format!("{reason}, and it reaches where its arguments say"))
    } else {
        (effect, reversible, impact, reason)
    };
    let (reason, flow) = match super::catalogue::flow(definition) {
        Some((known, flow)) => {
            (format!("{reason}; its data flow is that of the public `{known}` server"), Some(flow.clone()))
        }
        None => (reason, None),
    };
    Reviewed {
        effect: Word(effect),
        reversible,
        impact: Word(impact),
        reason: format!("proposed: {reason}"),
        kinds,
        flow,
        digest: definition.digest.clone(),
        definition: json,
    }
}

/// Claude Code's built-in tools, reviewed by this project.
pub fn claude_code() -> BTreeMap<String, Reviewed> {
    let listed: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_str(CLAUDE_CODE_TOOLS).expect("the bundled list is JSON; a test reads it");
    listed
        .iter()
        .filter_map(|raw| Definition::read(raw).ok())
        .map(|definition| (definition.name.clone(), propose(CLAUDE, &definition)))
        .collect()
}

fn built_in(definition: &Definition, json: Value, mut kinds: BTreeMap<String, Word<Kind>>) -> Reviewed {
    let (effect, reversible, impact, reason) = match definition.name.as_str() {
        "Read"
        | "Glob"
        | "Grep"
        | "ListMcpResourcesTool"
        | "ReadMcpResourceTool"
        | "ReadMcpResourceDirTool"
        | "ToolSearch"
        | "TaskGet"
        | "TaskList"
        | "ListAgents"
        | "CronList" => (Effect::Read, true, Impact::Low, "reads"),
        "TodoWrite" | "TaskCreate" | "TaskUpdate" | "TaskStop" | "EnterPlanMode" | "ExitPlanMode"
        | "AskUserQuestion" | "ReportFindings" | "SendUserMessage" => {
            (Effect::Write, true, Impact::Low, "changes only the session")
        }
        "Agent" | "Skill" => {
            (Effect::Write, true, Impact::Low, "starts work whose every call is judged by itself")
        }
        "Write" | "Edit" | "NotebookEdit" => (Effect::Write, true, Impact::Low, "writes a file"),
        "WebFetch" | "WebSearch" => {
            (Effect::Read, false, Impact::High, "leaves this machine, and what it asks for is seen there")
        }
        _ => (Effect::Write, false, Impact::High, "runs or schedules what the call says"),
    };
    match definition.name.as_str() {
        "Bash" | "Monitor" => {
            kinds.insert("command".to_owned(), Word(Kind::Command));
        }
        "Grep" => {
            kinds.remove("glob");
        }
        _ => {}
    }
    Reviewed {
        effect: Word(effect),
        reversible,
        impact: Word(impact),
        reason: format!("built in: {reason}"),
        kinds,
        flow: None,
        digest: definition.digest.clone(),
        definition: json,
    }
}

/// The words of a name in any of the usual spellings: `refund_create`, `createRefund`, `Refund-Create`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before_lower) {
            words.push(String::new());
        }
        before_lower = c.is_lowercase() || c.is_numeric();
        if c.is_alphanumeric() {
            words.last_mut().expect("there is always a word").extend(c.to_lowercase());
        }
    }
    words
}

/// Argument paths whose names say that they hold a path, URL, host or command.
fn meanings(schema: &Value, at: &str, depth: usize, kinds: &mut BTreeMap<String, Word<Kind>>) {
    if depth > 8 {
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        match property["type"].as_str() {
            Some("string") => {
                if let Some(kind) = meaning(name) {
                    kinds.insert(path, Word(kind));
                }
            }
            Some("array") => {
                let items = &property["items"];
                if items["type"] == "string"
                    && let Some(kind) = meaning(name.trim_end_matches('s'))
                {
                    kinds.insert(format!("{path}[]"), Word(kind));
                }
                meanings(items, &format!("{path}[]"), depth + 1, kinds);
            }
            _ => meanings(property, &path, depth + 1, kinds),
        }
    }
}

fn meaning(name: &str) -> Option<Kind> {
    let words = words(name);
    let last = words.last().map_or("", String::as_str);
    match last {
        "path" | "file" | "filename" | "filepath" | "directory" | "dir" | "folder" | "cwd" => {
            Some(Kind::Path)
        }
        "url" | "uri" | "link" | "href" | "endpoint" => {
            (last != "uri" && last != "link").then_some(Kind::Url)
        }
        "host" | "hostname" | "domain" => Some(Kind::Host),
        "command" | "cmd" | "shell" => Some(Kind::Command),
        _ => match name {
            "source" | "destination" => Some(Kind::Path),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn proposed(definition: &Value) -> Reviewed {
        propose("s", &Definition::read(&crate::wire::frame::raw(definition)).expect("usable"))
    }

    #[test]
    fn doubt_is_a_write_and_a_servers_word_alone_is_not_harmless() {
        let table = [
            ("ticket_get", json!({}), Effect::Read, Impact::Low),
            ("getTicket", json!({"readOnlyHint": true}), Effect::Read, Impact::Low),
            ("get_and_delete", json!({"readOnlyHint": true}), Effect::Write, Impact::High),
            ("get_ticket", json!({"readOnlyHint": false}), Effect::Write, Impact::High),
            ("refund_list", json!({}), Effect::Read, Impact::Low),
            ("refund_create", json!({"readOnlyHint": true}), Effect::Write, Impact::High),
            ("refund_list", json!({"readOnlyHint": false}), Effect::Write, Impact::High),
            ("frobnicate", json!({"readOnlyHint": true}), Effect::Read, Impact::High),
            ("frobnicate", json!({"destructiveHint": false}), Effect::Write, Impact::Low),
            ("frobnicate", json!({}), Effect::Write, Impact::High),
        ];
        for (name, annotations, effect, impact) in table {
            let got = proposed(&json!({"name": name, "annotations": annotations, "inputSchema": {}}));
            assert_eq!((got.effect.0, got.impact.0), (effect, impact), "{name} {annotations}");
        }
    }

    #[test]
    fn a_command_line_is_never_harmless_and_a_url_leaves() {
        let with = |argument: &str| {
            let schema = json!({"properties": {argument: {"type": "string"}}});
            let got = proposed(
                &json!({"name": "get_x", "annotations": {"readOnlyHint": true}, "inputSchema": schema}),
            );
            (got.effect.0, got.impact.0)
        };
        assert_eq!(with("command"), (Effect::Write, Impact::High));
        assert_eq!(with("url"), (Effect::Read, Impact::High));
        assert_eq!(with("text"), (Effect::Read, Impact::Low));
    }

    #[test]
    fn names_say_what_texts_mean() {
        let got = proposed(&json!({"name": "t", "inputSchema": {"properties": {
            "file_path": {"type": "string"}, "paths": {"type": "array", "items": {"type": "string"}},
            "targetUrl": {"type": "string"}, "text": {"type": "string"}, "profile": {"type": "string"},
            "edits": {"type": "array", "items": {"type": "object", "properties": {"file": {"type": "string"}}}}}}}));
        let kinds: Vec<(&str, Kind)> = got.kinds.iter().map(|(path, kind)| (path.as_str(), kind.0)).collect();
        assert_eq!(
            kinds,
            [
                ("edits[].file", Kind::Path),
                ("file_path", Kind::Path),
                ("paths[]", Kind::Path),
                ("targetUrl", Kind::Url),
            ]
        );
    }

    #[test]
    fn the_built_in_tools_are_all_usable_and_bash_is_a_command() {
        let tools = claude_code();
        assert!(tools.len() > 20, "{}", tools.len());
        assert_eq!(tools["Bash"].kinds["command"].0, Kind::Command);
        assert_eq!(tools["Write"].kinds["file_path"].0, Kind::Path);
        assert_eq!(tools["WebFetch"].impact.0, Impact::High);
    }
}
