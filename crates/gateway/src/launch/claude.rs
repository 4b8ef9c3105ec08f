//! Claude Code behind the wall: the gate's hooks as managed settings that nothing in the repository can switch off, its MCP servers
//! replaced by the gate's, and its key put in where requests leave. Its process never holds the key.

use super::Fitted;
use crate::adapters::hook::settings::inside;
use crate::config::callable;
use crate::config::reach::{Place, Reachable};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where the client looks for what its administrator decided.
const MANAGED: &str = "/etc/claude-code";
/// Where the client's requests go unless told otherwise.
const API: &str = "https://api.anthropic.com";
/// The name by which a model's API on this machine is reached from inside.
const HERE: &str = "model.bailiwick.internal";
/// Secrets that sign its requests, and the variables it reads them from.
const KEYS: [(&str, &str); 3] = [
    ("anthropic-api-key", "ANTHROPIC_API_KEY"),
    ("anthropic-auth-token", "ANTHROPIC_AUTH_TOKEN"),
    ("claude-oauth-token", "CLAUDE_CODE_OAUTH_TOKEN"),
];
/// Where the client's source of its key finds the placeholder.
const KEY_INSIDE: &str = "BAILIWICK_MODEL_KEY";
/// Variables that would lead its requests elsewhere.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
/// What it does beside its work that no gate has to let through.
const QUIET: [&str; 4] = [
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_TELEMETRY",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
];

/// Fits the client's view.
pub(super) fn fit(fitted: &mut Fitted<'_>) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let wait = fitted.gate.config.gate.ask_wait_seconds;
    let servers = json!({ "mcpServers": { "bailiwick": {
        "type": "stdio", "command": program, "args": ["mcp"],
        "env": { super::VARIABLE: fitted.door },
    } } });
    for variable in QUIET {
        fitted.environment.entry(variable.to_owned()).or_insert_with(|| "1".to_owned());
    }
    let is_signed = model(fitted)?;
    keys(fitted, is_signed);
    // A client that is told both the key and its source complains of that at every start.
    if let Some(key) = fitted.environment.remove(KEYS[0].1) {
        fitted.environment.insert(KEY_INSIDE.to_owned(), key);
    }
    let mut managed = inside(&program, wait);
    own(fitted, &mut managed);
    for (name, content) in [("managed-settings.json", managed), ("managed-mcp.json", servers)] {
        fitted.files.insert(PathBuf::from(MANAGED).join(name), content.to_string().into_bytes());
    }
    Ok(())
}

/// Says in `managed` what settings of the repository could say otherwise: where the model is, that no proxy leads there, and what
/// signs. A repository can name a program as the source of the key, and the client runs it before it asks anybody.
fn own(fitted: &Fitted<'_>, managed: &mut serde_json::Value) {
    let set = |name: &str| fitted.settings.env.get(name).or(fitted.environment.get(name));
    let mut variables: BTreeMap<&str, &str> = BTreeMap::from(PROXIES.map(|name| (name, "")));
    let base = set("ANTHROPIC_BASE_URL").map_or(API, String::as_str);
    variables.insert("ANTHROPIC_BASE_URL", base);
    let door = fitted.door.display().to_string();
    variables.insert(super::VARIABLE, &door);
    managed["env"] = json!(variables);
    // Programs that a repository's settings could name in their place would run beside the client, with its door.
    managed["statusLine"] = json!({ "type": "command", "command": "printf 'behind Bailiwick'" });
    managed["otelHeadersHelper"] = json!("printf {}");
    if let Some(name) = [KEY_INSIDE, KEYS[0].1].into_iter().find(|name| set(name).is_some()) {
        managed["apiKeyHelper"] = json!(format!("printf %s \"${name}\""));
    }
}

/// Lets the model's API be reached, and says whether what signs its requests can be put in there.
fn model(fitted: &mut Fitted<'_>) -> Result<bool, String> {
    let base = fitted.settings.env.get("ANTHROPIC_BASE_URL").or(fitted.environment.get("ANTHROPIC_BASE_URL"));
    let base = base.cloned().unwrap_or_else(|| API.to_owned());
    let wrong = |why: String| format!("ANTHROPIC_BASE_URL `{base}`: {why}");
    callable(&base).map_err(wrong)?;
    let url: http::Uri = base.parse().map_err(|_| wrong("is no URL".to_owned()))?;
    let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
    let bare = host.trim_matches(['[', ']']);
    let here = match bare.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => Some(address),
        _ if bare == "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        _ => None,
    };
    let port = url.port_u16().map_or(String::new(), |port| format!(":{port}"));
    let name = if here.is_some() { HERE } else { host };
    let to = format!("{scheme}://{name}{port}");
    if here.is_some() {
        // Its own loopback is another one inside.
        let path = url.path().trim_end_matches('/');
        fitted.environment.insert("ANTHROPIC_BASE_URL".to_owned(), format!("{to}{path}"));
        fitted.settings.env.remove("ANTHROPIC_BASE_URL");
    }
    let place = match here {
        Some(address) => Place::Table { to, private: vec![address.to_string()], address: Some(address) },
        None => Place::Text(to),
    };
    let mut places = match &fitted.settings.network {
        Reachable::Places(places) => places.clone(),
        Reachable::None | Reachable::Host => Vec::new(),
    };
    if !places.contains(&place) {
        places.push(place);
    }
    fitted.settings.network = Reachable::Places(places);
    Ok(scheme == "https")
}

fn keys(fitted: &mut Fitted<'_>, is_signed: bool) {
    let has = |variable: &str, fitted: &Fitted<'_>| {
        fitted.settings.env.contains_key(variable) || fitted.environment.contains_key(variable)
    };
    // The operator's shell passes none on: what is there was named for this agent.
    if KEYS.iter().any(|(_, variable)| has(variable, fitted)) {
        return;
    }
    for (secret, variable) in KEYS {
        if is_signed && fitted.gate.config.secret.contains_key(secret) {
            fitted.environment.insert(variable.to_owned(), format!("${{secret:{secret}}}"));
            return;
        }
    }
    if is_signed {
        fitted.notes.push(format!(
            "no key is configured for the model's API; keep one with `bailiwick secret set {}` and add\n\n\
             [secret.{}]\nuse = [{{ host = \"api.anthropic.com\", place = {{ header = \"x-api-key\" }} }}]",
            KEYS[0].0, KEYS[0].0
        ));
    } else {
        // An endpoint on this machine has its own key; the client only wants to see one.
        fitted.environment.insert(KEYS[0].1.to_owned(), "kept-by-bailiwick".to_owned());
    }
}
