//! The files of a new configuration folder, as texts. Nothing is written here.

use gateway::config::Config;
use gateway::inventory::lock::Lock;
use judge::shape::Kind;
use std::path::PathBuf;

const START: &str = include_str!("../start/00-start.cedar");
const EGRESS: &str = include_str!("../start/30-egress.cedar");
const START_CLAUDE: &str = include_str!("../start/20-claude-code.cedar");
const CASES: &str = include_str!("../start/cases.md");

/// Each file by its path in the folder, the configuration itself last: it is what makes the folder one.
pub(super) fn files(config: &Config, agents: &str, lock: &Lock) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = vec![
        ("tools.lock", lock.text()?),
        ("cases/README.md", CASES.to_owned()),
        ("policy/00-start.cedar", START.to_owned()),
        ("policy/30-egress.cedar", EGRESS.to_owned()),
    ];
    let servers = of_servers(config, lock);
    if !servers.is_empty() {
        files.push(("policy/10-servers.cedar", servers));
    }
    if config.gate.claude_code {
        files.push(("policy/20-claude-code.cedar", START_CLAUDE.to_owned()));
    }
    files.push((gateway::config::FILE, toml::to_string_pretty(config)? + agents));
    Ok(files.into_iter().map(|(path, text)| (PathBuf::from(path), text)).collect())
}

/// What servers may ask, and where their tools' paths may lead.
fn of_servers(config: &Config, lock: &Lock) -> String {
    let questions: Vec<String> = config
        .server
        .keys()
        .flat_map(|server| {
            ["elicitation/create", "roots/list"].map(|method| format!("Action::\"{server}/mcp:{method}\""))
        })
        .collect();
    let mut text = String::new();
    if !questions.is_empty() {
        text.push_str("// Questions of servers to the person at the client, who answers them there.\n@id(\"servers-may-ask\")\n");
        text.push_str(&format!(
            "permit (\n  principal,\n  action in [\n    {}\n  ],\n  resource\n);\n",
            questions.join(",\n    ")
        ));
    }
    for (server, reviewed) in &lock.servers {
        for (tool, known) in &reviewed.tools {
            text.extend(
                known
                    .kinds
                    .iter()
                    .filter(|(_, kind)| kind.0 == Kind::Path)
                    .filter_map(|(at, _)| fence(server, tool, at)),
            );
        }
    }
    text
}

/// A path outside the project needs a person, for an argument of the tool itself (not of one nested deeper).
fn fence(server: &str, tool: &str, at: &str) -> Option<String> {
    let name = at.trim_end_matches("[]");
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    if name.contains(['.', '[']) || ![server, tool, name].into_iter().all(plain) {
        return None;
    }
    Some(format!(
        "\n@id(\"{server}-{tool}-{name}-stays-in-the-workspace\")\n\
         forbid (principal, action == Action::\"{server}/{tool}\", resource)\nwhen {{\n  context.args has \"{name}\" &&\n  \
         ![\"workspace\", \"temp\"].contains(context.args[\"{name}\"].zone) && !context.approved\n}};\n"
    ))
}
