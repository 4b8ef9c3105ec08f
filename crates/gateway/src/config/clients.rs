//! Finds MCP servers that clients already use in this project: `.mcp.json`, Claude Code, Cursor, VS Code and kin.
//! It only reads; a file it cannot understand is reported and skipped.

use super::{Server, usable_name};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Largest client file read, in bytes.
const CLIENT_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A server some client is configured to use.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name, made usable.
    pub name: String,
    /// How it is reached.
    pub server: Server,
    /// The same as the file has it: what it takes from the environment is not filled in.
    pub written: Server,
    /// The file that names it.
    pub file: PathBuf,
    /// The members that lead to it in that file, the outermost first.
    pub members: Vec<String>,
    /// Whether the file is this project's, and not one of the user's for all projects.
    pub in_project: bool,
}

/// Servers found for `project`, and what could not be read. The first file to name a server wins.
pub fn discover(project: &Path, home: Option<&Path>) -> (Vec<Found>, Vec<String>) {
    let (all, troubles) = entries(project, home);
    let mut found: Vec<Found> = Vec::new();
    for entry in all {
        if !found.iter().any(|known| known.name == entry.name) {
            found.push(entry);
        }
    }
    (found, troubles)
}

/// Every entry of every file, those of one name too.
pub fn entries(project: &Path, home: Option<&Path>) -> (Vec<Found>, Vec<String>) {
    let mut found: Vec<Found> = Vec::new();
    let mut troubles = Vec::new();
    for (file, key) in files(project, home) {
        let value = match read(&file) {
            Ok(Some(value)) => value,
            Ok(None) => continue,
            Err(why) => {
                let trouble = format!("{}: {why}; skipped", file.display());
                if !troubles.contains(&trouble) {
                    troubles.push(trouble);
                }
                continue;
            }
        };
        let members = match key {
            Key::Top(name) => vec![name.to_owned()],
            Key::Project => {
                ["projects".to_owned(), project.display().to_string(), "mcpServers".to_owned()].into()
            }
        };
        let named = members.iter().try_fold(&value, |value, member| value.get(member));
        for (name, entry) in named.and_then(Value::as_object).into_iter().flatten() {
            match (server(entry, expand), server(entry, str::to_owned)) {
                // The gate itself, already put in front.
                (Ok(server), _) if is_the_gate(&server) => {}
                (Ok(server), Ok(written)) => found.push(Found {
                    server,
                    written,
                    file: file.clone(),
                    members: members.iter().chain([name]).cloned().collect(),
                    in_project: file.starts_with(project),
                    name: plain_name(name),
                }),
                (Err(why), _) | (_, Err(why)) => {
                    troubles.push(format!("{}: server `{name}`: {why}; skipped", file.display()));
                }
            }
        }
    }
    (found, troubles)
}

/// What a client's file says; nothing where there is no such file.
fn read(file: &Path) -> Result<Option<Value>, String> {
    let Ok(meta) = std::fs::metadata(file) else { return Ok(None) };
    if !meta.is_file() {
        return Err("is no file".to_owned());
    }
    if meta.len() > CLIENT_FILE_BYTES_MAX {
        return Err(format!("larger than {CLIENT_FILE_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map(Some).map_err(|error| error.to_string())
}

enum Key {
    Top(&'static str),
    Project,
}

fn files(project: &Path, home: Option<&Path>) -> Vec<(PathBuf, Key)> {
    let mut files = vec![
        (project.join(".mcp.json"), Key::Top("mcpServers")),
        (project.join(".claude/settings.json"), Key::Top("mcpServers")),
        (project.join(".claude/settings.local.json"), Key::Top("mcpServers")),
        (project.join(".cursor/mcp.json"), Key::Top("mcpServers")),
        (project.join(".vscode/mcp.json"), Key::Top("servers")),
        (project.join(".gemini/settings.json"), Key::Top("mcpServers")),
    ];
    if let Some(home) = home {
        files.extend([
            (home.join(".claude.json"), Key::Project),
            (home.join(".claude.json"), Key::Top("mcpServers")),
            (home.join(".cursor/mcp.json"), Key::Top("mcpServers")),
            (home.join(".codeium/windsurf/mcp_config.json"), Key::Top("mcpServers")),
            (home.join(".gemini/settings.json"), Key::Top("mcpServers")),
            (home.join(".config/Claude/claude_desktop_config.json"), Key::Top("mcpServers")),
        ]);
    }
    files
}

fn server(entry: &Value, expand: impl Fn(&str) -> String) -> Result<Server, &'static str> {
    let strings = |key: &str| -> Vec<String> {
        entry[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(&expand).collect()
    };
    let pairs = |key: &str| {
        let members = entry[key].as_object().into_iter().flatten();
        members.filter_map(|(name, value)| Some((name.clone(), expand(value.as_str()?)))).collect()
    };
    if entry["disabled"] == true {
        return Err("is disabled");
    }
    if let Some(command) = entry["command"].as_str() {
        let command = std::iter::once(expand(command)).chain(strings("args")).collect();
        return Ok(Server { command, env: pairs("env"), ..Server::default() });
    }
    match entry["type"].as_str() {
        Some("sse") => return Err("uses the HTTP+SSE transport of 2024-11-05, which is not supported"),
        Some("ws") => return Err("uses WebSocket, which is not supported"),
        _ => {}
    }
    match entry["url"].as_str().or_else(|| entry["serverUrl"].as_str()).or_else(|| entry["httpUrl"].as_str())
    {
        Some(url) => Ok(Server { url: Some(expand(url)), headers: pairs("headers"), ..Server::default() }),
        None => Err("has neither `command` nor `url`"),
    }
}

/// `bailiwick mcp …`: the gate, where it has been put in front already.
fn is_the_gate(server: &Server) -> bool {
    let program = server.command.first().and_then(|program| Path::new(program).file_name());
    program.is_some_and(|name| name == "bailiwick") && server.command.iter().skip(1).any(|word| word == "mcp")
}

/// `${NAME}` and `${NAME:-default}`, as the clients expand them.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        let (name, default) =
            name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
        match (std::env::var(name), default) {
            (Ok(value), _) => out.push_str(&value),
            (Err(_), Some(default)) => out.push_str(default),
            (Err(_), None) => out.push_str(&format!("${{{name}}}")),
        }
        rest = tail;
    }
    out + rest
}

fn plain_name(name: &str) -> String {
    let mut plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .take(48)
        .collect();
    while plain.contains("__") {
        plain = plain.replace("__", "_");
    }
    let plain = plain.trim_end_matches('_').to_owned();
    if usable_name(&plain) { plain } else { format!("server-{}", plain.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_gate_itself_is_not_found_but_its_demo_is() {
        let of = |words: &[&str]| Server {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Server::default()
        };
        assert!(is_the_gate(&of(&["/usr/bin/bailiwick", "--dir", "x", "mcp"])));
        assert!(!is_the_gate(&of(&["/usr/bin/bailiwick", "demo-server", "crm"])));
        assert!(!is_the_gate(&of(&["/usr/bin/other", "mcp"])));
    }

    #[test]
    fn what_clients_write_is_read_and_what_cannot_be_served_is_named() {
        let read = |value| server(&value, expand).map_err(str::to_owned);
        assert_eq!(
            read(json!({"command": "npx", "args": ["-y", "x"], "env": {"A": "b"}}))
                .expect("ok")
                .command
                .len(),
            3
        );
        assert_eq!(
            read(json!({"type": "http", "url": "http://h/"})).expect("ok").url.as_deref(),
            Some("http://h/")
        );
        assert!(read(json!({"type": "sse", "url": "http://h/"})).is_err());
        assert!(read(json!({"command": "x", "disabled": true})).is_err());
        assert!(read(json!({})).is_err());
        assert_eq!(expand("a${BAILIWICK_UNSET:-b}c${BAILIWICK_UNSET}"), "abc${BAILIWICK_UNSET}");
        assert_eq!(plain_name("my server__x_"), "my-server_x");
    }
}
