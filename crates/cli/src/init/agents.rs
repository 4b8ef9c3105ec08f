//! Which agents are installed here, and what each needs behind the wall, in the words of `bailiwick.toml`. Nothing is run.

use super::keep::{self, Keeping};
use gateway::config::secret::{Place, Use};
use gateway::config::{Config, Confinement, confine};
use std::path::{Path, PathBuf};

/// A variable, the secret that stands for it, the host where that goes, and the place there.
type AgentKey = (&'static str, &'static str, &'static str, &'static str);

/// What is known of one agent.
struct Agent {
    program: &'static str,
    /// Where its model is, besides what its adapter adds.
    model: Option<&'static str>,
    /// The variables it reads its key from, the secrets that stand for them, and where those go.
    keys: &'static [AgentKey],
    /// Whether the launcher puts the key into the variable by itself.
    is_fitted: bool,
}

/// The agents, by the names of their programs.
const AGENTS: [Agent; 3] = [
    Agent {
        program: "claude",
        model: None,
        keys: &[
            ("ANTHROPIC_API_KEY", "anthropic-api-key", "api.anthropic.com", "x-api-key"),
            ("ANTHROPIC_AUTH_TOKEN", "anthropic-auth-token", "api.anthropic.com", BEARER),
            ("CLAUDE_CODE_OAUTH_TOKEN", "claude-oauth-token", "api.anthropic.com", BEARER),
        ],
        is_fitted: true,
    },
    Agent {
        program: "codex",
        model: Some("https://api.openai.com"),
        keys: &[("OPENAI_API_KEY", "openai-api-key", "api.openai.com", BEARER)],
        is_fitted: false,
    },
    Agent {
        program: "gemini",
        model: Some("https://generativelanguage.googleapis.com"),
        keys: &[("GEMINI_API_KEY", "gemini-api-key", "generativelanguage.googleapis.com", "x-goog-api-key")],
        is_fitted: false,
    },
];
/// `Authorization: Bearer`, not a header of the key's own.
const BEARER: &str = "bearer";

/// Files that say what a project is written in, and where its packages come from.
const REGISTRIES: [(&str, &[&str]); 8] = [
    ("package.json", &["https://registry.npmjs.org"]),
    ("pyproject.toml", &["https://pypi.org", "https://files.pythonhosted.org"]),
    ("requirements.txt", &["https://pypi.org", "https://files.pythonhosted.org"]),
    ("Cargo.toml", &["https://index.crates.io", "https://static.crates.io"]),
    ("go.mod", &["https://proxy.golang.org", "https://sum.golang.org"]),
    ("Gemfile", &["https://rubygems.org"]),
    ("composer.json", &["https://repo.packagist.org"]),
    ("pom.xml", &["https://repo.maven.apache.org"]),
];

/// Variables of agents' keys that may be in the environment of this shell.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    AGENTS.iter().flat_map(|agent| agent.keys).map(|(variable, ..)| *variable)
}

/// What to add to the configuration for the agents of this host.
pub(super) struct Proposed {
    /// `[agent.NAME]` sections, with comments.
    pub(super) text: String,
    /// One line for each.
    pub(super) says: Vec<String>,
    /// Their programs.
    pub(super) programs: Vec<&'static str>,
}

/// Proposes sections for the agents that are installed, and names in `config` the places of keys that the store holds for them.
pub(super) fn propose(project: &Path, keeping: &Keeping, config: &mut Config) -> Proposed {
    let mut proposed = Proposed { text: String::new(), says: Vec::new(), programs: Vec::new() };
    for agent in AGENTS.iter().filter(|agent| is_installed(agent.program)) {
        let held = bind(agent, keeping, config);
        let variables = held.iter().filter(|_| !agent.is_fitted);
        let env: Vec<String> = variables
            .map(|(variable, secret, ..)| {
                format!("{variable} = {}", quoted(&format!("${{secret:{secret}}}")))
            })
            .collect();
        proposed.text.push_str(&section(agent, project, &env, !held.is_empty()));
        let key = match held.first() {
            Some((_, secret, ..)) => {
                format!("its key is `{secret}` in the vault, put in where requests leave")
            }
            None => format!("keep its key with `bailiwick secret set {}`", agent.keys[0].1),
        };
        proposed.programs.push(agent.program);
        proposed.says.push(format!(
            "agent    {}: works on the project, reaches its model and nothing else; {key}",
            agent.program
        ));
    }
    proposed
}

/// Says in `config` where the keys of `agent` go that the store holds, and gives those.
fn bind(agent: &Agent, keeping: &Keeping, config: &mut Config) -> Vec<AgentKey> {
    let held: Vec<AgentKey> =
        agent.keys.iter().filter(|(_, secret, ..)| keeping.holds(secret)).copied().collect();
    for (_, secret, host, place) in &held {
        let place = if *place == BEARER { Place::Bearer } else { Place::Header((*place).to_owned()) };
        let wanted: Use = keep::at(host, place);
        let setting = config.secret.entry((*secret).to_owned()).or_default();
        if !setting.uses.contains(&wanted) {
            setting.uses.push(wanted);
        }
    }
    held
}

/// The same for every agent that `config` has settings for.
pub(super) fn bind_all(keeping: &Keeping, config: &mut Config) {
    for agent in &AGENTS {
        if config.agent.contains_key(agent.program) {
            bind(agent, keeping, config);
        }
    }
}

fn section(agent: &Agent, project: &Path, env: &[String], is_keyed: bool) -> String {
    let mut text = format!(
        "\n# `bailiwick run -- {0}`: the whole agent behind the wall; what its commands may do is in [shell].\n[agent.{0}]\n",
        agent.program
    );
    text.push_str(
        "workspace = \"read-write\"   # \"overlay\" keeps its changes apart until you apply them\n",
    );
    text.push_str("# Its model's API is reached; each other place it needs is a line, and each request there is judged.\nnetwork = [\n");
    text.extend(agent.model.map(|model| format!("  {},\n", quoted(model))));
    let mut known: Vec<&str> = Vec::new();
    for (file, places) in REGISTRIES.iter().filter(|(file, _)| project.join(file).exists()) {
        for place in places.iter().filter(|place| !known.contains(place)).collect::<Vec<_>>() {
            text.push_str(&format!(
                "  # {},   # packages ({file}); left out because what is installed runs\n",
                quoted(place)
            ));
            known.push(place);
        }
    }
    text.push_str("]\n");
    if !env.is_empty() {
        text.push_str(&format!("env = {{ {} }}\n", env.join(", ")));
    }
    if let (false, Some((variable, secret, host, place))) = (is_keyed, agent.keys.first()) {
        let place =
            if *place == BEARER { quoted(BEARER) } else { format!("{{ header = {} }}", quoted(place)) };
        text.push_str(&format!(
            "# Once `bailiwick secret set {secret}` keeps its key, take the `#` away: it is put in where requests leave.\n\
             # [secret.{secret}]\n# use = [{{ host = {}, place = {place} }}]\n",
            quoted(host)
        ));
        if !agent.is_fitted {
            text.push_str(&format!(
                "# and above: env = {{ {variable} = {} }}\n",
                quoted(&format!("${{secret:{secret}}}"))
            ));
        }
    }
    text
}

/// The settings that `text` gives, for a look before it is written.
pub(super) fn is_readable(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The shell's settings with files of keys hidden from it.
pub(super) fn shell(hide: &[PathBuf]) -> Confinement {
    Confinement { hide: hide.to_vec(), ..confine::Confinement::for_shell() }
}
