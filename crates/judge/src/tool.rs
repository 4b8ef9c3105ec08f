//! The reviewed inventory as plain values: which operations exist, what their arguments are, what they can do.
//! A tool that is not in it does not exist for the judge; nothing here reads a file or trusts a server's word.

use crate::flow::Flow;
use crate::shape::{Kind, Shape};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What a call does to the world, as reviewed (never as the server claims).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Changes nothing outside the answer.
    Read,
    /// Changes something.
    Write,
}

/// How much one wrong call can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// A nuisance.
    Low,
    /// Money, data, people, or anything that leaves the trust boundary.
    High,
}

/// The name policy knows an operation by: `server/tool`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName {
    /// The server's name in the configuration.
    pub server: String,
    /// The tool's own name, or `mcp:METHOD` for a protocol method that carries data.
    pub tool: String,
}

impl fmt::Display for ToolName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.server, self.tool)
    }
}

/// One reviewed operation.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: ToolName,
    /// Its arguments.
    pub shape: Shape,
    /// Reviewed effect.
    pub effect: Effect,
    /// Whether its effect can be taken back.
    pub reversible: bool,
    /// Reviewed impact.
    pub impact: Impact,
    /// SHA-256 of the definition that was reviewed, lowercase hexadecimal.
    pub digest: String,
    /// What its arguments decide and how far its answers are trusted, as reviewed.
    pub flow: Flow,
}

/// All reviewed operations, by name.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    tools: BTreeMap<ToolName, Tool>,
}

impl Inventory {
    /// An inventory of `tools`; a later duplicate name replaces the earlier.
    pub fn new(tools: impl IntoIterator<Item = Tool>) -> Self {
        Self { tools: tools.into_iter().map(|tool| (tool.name.clone(), tool)).collect() }
    }

    /// The reviewed tool of this name.
    pub fn tool(&self, name: &ToolName) -> Option<&Tool> {
        self.tools.get(name)
    }

    /// Every reviewed tool, ordered by name.
    pub fn tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.values()
    }

    /// The reviewed names nearest to one that does not exist, best first, at most three.
    pub fn nearest(&self, name: &ToolName) -> Vec<&ToolName> {
        let wanted = name.to_string();
        let mut scored: Vec<_> = self
            .tools
            .keys()
            .map(|known| (edit_distance(&wanted, &known.to_string()), known))
            .filter(|(distance, known)| *distance <= known.to_string().len() / 2)
            .collect();
        scored.sort();
        scored.into_iter().take(3).map(|(_, known)| known).collect()
    }

    /// SHA-256 over every reviewed definition and its review, lowercase hexadecimal.
    pub fn digest(&self) -> String {
        let mut text = String::new();
        for tool in self.tools.values() {
            text.push_str(&format!(
                "{} {} {:?} {} {:?} {}\n",
                tool.name,
                tool.digest,
                tool.effect,
                tool.reversible,
                tool.impact,
                tool.flow.text()
            ));
        }
        crate::digest::hex(text.as_bytes())
    }
}

/// The protocol methods that carry data and so are judged like tools, for one server: `mcp:resources/read` and kin.
/// The last, `mcp:other`, stands for every method this version does not know by name.
pub fn protocol_operations(server: &str) -> Vec<Tool> {
    let text = |names: &[&str]| {
        let properties: serde_json::Map<_, _> =
            names.iter().map(|name| ((*name).to_owned(), serde_json::json!({"type": "string"}))).collect();
        serde_json::json!({"type": "object", "properties": properties, "additionalProperties": true})
    };
    let operation = |method: &str, schema: Value, kinds: &[(&str, Kind)], effect| Tool {
        name: ToolName { server: server.to_owned(), tool: format!("mcp:{method}") },
        shape: Shape::of_schema(
            &schema,
            &kinds.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect(),
        ),
        effect,
        reversible: effect == Effect::Read,
        impact: Impact::Low,
        digest: crate::digest::hex(schema.to_string().as_bytes()),
        flow: Flow::default(),
    };
    vec![
        operation("resources/read", text(&["uri"]), &[], Effect::Read),
        operation("resources/subscribe", text(&["uri"]), &[], Effect::Read),
        operation("prompts/get", text(&["name"]), &[], Effect::Read),
        operation("completion/complete", text(&[]), &[], Effect::Read),
        operation("logging/setLevel", text(&["level"]), &[], Effect::Read),
        operation("sampling/createMessage", text(&[]), &[], Effect::Write),
        operation("elicitation/create", text(&["message", "mode", "url"]), &[], Effect::Write),
        operation("roots/list", text(&[]), &[], Effect::Read),
        operation("other", text(&["method"]), &[], Effect::Write),
    ]
}

/// The server name that what leaves a sandbox over the network goes by.
pub const EGRESS: &str = "egress";
/// A request that by its method only reads (RFC 9110, section 9.2.1).
pub const EGRESS_READ: &str = "read";
/// Any other request.
pub const EGRESS_WRITE: &str = "write";
/// A connection whose content the gate does not see.
pub const EGRESS_CONNECT: &str = "connect";

/// What programs behind the wall do on the network, judged like tools: `egress/read`, `egress/write`, `egress/connect`.
pub fn egress_operations() -> Vec<Tool> {
    let (text, number) = (serde_json::json!({"type": "string"}), serde_json::json!({"type": "integer"}));
    let texts = serde_json::json!({"type": "array", "items": {"type": "string"}});
    let request = serde_json::json!({
        "type": "object", "additionalProperties": false,
        "required": ["from", "method", "url", "headers", "carries"],
        "properties": {
            "from": text, "method": text, "url": text, "query_bytes": number, "headers": texts, "body_bytes": number,
            "carries": texts,
        },
    });
    let connection = serde_json::json!({
        "type": "object", "additionalProperties": false,
        "required": ["from", "host", "port", "tls"],
        "properties": { "from": text, "host": text, "port": number, "tls": {"type": "boolean"} },
    });
    let operation = |tool: &str, schema: &Value, kind: (&str, Kind), effect| Tool {
        name: ToolName { server: EGRESS.to_owned(), tool: tool.to_owned() },
        shape: Shape::of_schema(schema, &[(kind.0.to_owned(), kind.1)].into()),
        effect,
        reversible: effect == Effect::Read,
        impact: if effect == Effect::Read { Impact::Low } else { Impact::High },
        digest: crate::digest::hex(schema.to_string().as_bytes()),
        flow: Flow::default(),
    };
    vec![
        operation(EGRESS_READ, &request, ("url", Kind::Url), Effect::Read),
        operation(EGRESS_WRITE, &request, ("url", Kind::Url), Effect::Write),
        operation(EGRESS_CONNECT, &connection, ("host", Kind::Host), Effect::Write),
    ]
}

/// The server name that the gate's own tools go by.
pub const OWN: &str = "bailiwick";
/// The tool that has untrusted content read by a reader without tools.
pub const QUARANTINE: &str = "quarantine";

/// The tool by which an agent asks for another phase.
pub const PHASE: &str = "phase";

/// The arguments of [`PHASE`] in JSON Schema.
pub fn phase_arguments() -> Value {
    serde_json::json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "to": { "type": "string", "description": "The phase to go to. Leave it out to be told which is in force." },
            "why": { "type": "string", "maxLength": 500, "description": "What it is needed for, for the person who is asked." },
        },
    })
}

/// The arguments of [`QUARANTINE`] in JSON Schema.
pub fn quarantine_arguments() -> Value {
    serde_json::json!({
        "type": "object", "additionalProperties": false, "required": ["question", "schema"],
        "properties": {
            "call": {
                "type": "object", "additionalProperties": false, "required": ["tool"],
                "description": "The call whose result is read: the tool by its name here, and its arguments. Or give `text`.",
                "properties": { "tool": {"type": "string"}, "arguments": {"type": "object"} },
            },
            "text": { "type": "string", "description": "The content itself. Or give `call`." },
            "question": { "type": "string", "description": "What to find out about the content." },
            "schema": {
                "type": "object",
                "description": "JSON Schema of the answer: an object whose `properties` are boolean; integer or number with `minimum` \
                    and `maximum`; enum of words; string with `format` date or date-time; string with `maxLength` up to 200 and perhaps \
                    `format` email, url, host or id; or an array of one of these with `maxItems` up to 32. Every field is required.",
            },
        },
    })
}

/// What the gate itself offers, judged like tools: `bailiwick/quarantine` and `bailiwick/phase`. What widens what an agent may do
/// is of high impact.
pub fn own_operations() -> Vec<Tool> {
    let own = |name: &str, schema: Value, effect, impact| Tool {
        name: ToolName { server: OWN.to_owned(), tool: name.to_owned() },
        shape: Shape::of_schema(&schema, &BTreeMap::new()),
        effect,
        reversible: true,
        impact,
        digest: crate::digest::hex(schema.to_string().as_bytes()),
        flow: Flow::default(),
    };
    vec![
        own(QUARANTINE, quarantine_arguments(), Effect::Read, Impact::Low),
        own(PHASE, phase_arguments(), Effect::Write, Impact::High),
    ]
}

fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
