//! What Claude Code on this machine would not hold to without the launcher, read from its settings and the project's files.
//! It starts nothing but the client's `--version`, and changes nothing.

use gateway::adapters::hook::CLIENT_VERSION_MIN;
use gateway::config::place;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where its administrator's settings are.
const MANAGED: &str = "/etc/claude-code";
/// Settings that start programs or lead the client elsewhere, before any hook is asked.
const STEERING: [&str; 8] = [
    "env",
    "apiKeyHelper",
    "statusLine",
    "otelHeadersHelper",
    "awsAuthRefresh",
    "awsCredentialExport",
    "gcpAuthRefresh",
    "fileSuggestion",
];
/// Skills and commands looked into, per folder.
const SKILLS_SEEN_MAX: usize = 512;

/// One thing, and whether it holds, in words.
pub(crate) type Finding = (&'static str, Result<String, String>);

/// Where to look.
struct Ground {
    project: PathBuf,
    /// The client's own folder of this user.
    own: PathBuf,
    managed: PathBuf,
    version: Option<String>,
}

/// How its hooks come to be asked.
enum Hooked {
    /// By its administrator's settings: these alone, or beside others.
    Managed {
        alone: bool,
    },
    /// By the plugin, or by settings of the user.
    Otherwise(&'static str),
    Not,
}

/// What is to be said of the client, for a project. `launches` says whether `bailiwick run` works here.
pub(crate) fn standing(project: &Path, launches: bool) -> Vec<Finding> {
    let own = std::env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let own = own.or_else(|| place::home().map(|home| home.join(".claude"))).unwrap_or_default();
    let said =
        std::process::Command::new("claude").arg("--version").stdin(std::process::Stdio::null()).output();
    let version = said.ok().map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
    Ground { project: project.to_owned(), own, managed: MANAGED.into(), version }.findings(launches)
}

impl Ground {
    fn findings(&self, launches: bool) -> Vec<Finding> {
        let managed = self.managed();
        let hooked = self.hooked(&managed);
        let mut found = Vec::new();
        match (&self.version, &hooked) {
            (None, Hooked::Not) => return found,
            (None, _) => {}
            (Some(said), _) => found.push(("claude code", version(said))),
        }
        let way_out = match launches {
            true => "`bailiwick run -- claude` works here and leaves none of it open",
            false => "`bailiwick run` would close it, and cannot build its wall here",
        };
        let hooks = match hooked {
            Hooked::Not => {
                let said = "no hooks are installed: the client's own tools are guarded only under `bailiwick run`";
                found.push(("its hooks", Ok(said.to_owned())));
                return found;
            }
            Hooked::Managed { alone: true } => {
                Ok("its administrator's settings start them, and nothing in a repository switches them off"
                    .to_owned())
            }
            Hooked::Managed { alone: false } => Err(
                "hooks of a repository run beside them, and can rewrite what was judged; set `allowManagedHooksOnly`"
                    .to_owned(),
            ),
            Hooked::Otherwise(by) => Err(format!(
                "{by} installs them: `disableAllHooks` in a repository's settings switches them off, its own hooks run beside them, \
                 and no version of the client is demanded; install `bailiwick hook settings` as managed settings, or: {way_out}"
            )),
        };
        found.push(("its hooks", hooks));
        let beside = self.beside(&managed, matches!(hooked, Hooked::Managed { alone: true }));
        found.push((
            "this project",
            if beside.is_empty() {
                Ok("nothing in it switches hooks off or starts programs beside them; look again when it changes".to_owned())
            } else {
                Err(format!("{}; {way_out}", beside.join("; ")))
            },
        ));
        found.push((
            "the client",
            Err(format!(
                "is an ordinary process of this user: files mentioned with `@`, what its Read and Write are permitted, the key of its \
                 model and its requests are behind no wall; {way_out}"
            )),
        ));
        found
    }

    /// The administrator's settings, those in the folder of additions included.
    fn managed(&self) -> Vec<Value> {
        let mut files = vec![self.managed.join("managed-settings.json")];
        let more = std::fs::read_dir(self.managed.join("managed-settings.d"));
        files.extend(more.into_iter().flatten().flatten().map(|entry| entry.path()));
        files.iter().filter_map(|file| json(file)).collect()
    }

    fn hooked(&self, managed: &[Value]) -> Hooked {
        if managed.iter().any(asks_us) {
            return Hooked::Managed { alone: managed.iter().any(|one| one["allowManagedHooksOnly"] == true) };
        }
        let settings = self.settings();
        if settings.iter().any(|(_, one)| plugin(one) == Some(true)) {
            return Hooked::Otherwise("a plugin");
        }
        if settings.iter().any(|(_, one)| asks_us(one)) {
            return Hooked::Otherwise("a settings file");
        }
        Hooked::Not
    }

    /// Settings below the administrator's, by what they are called.
    fn settings(&self) -> Vec<(String, Value)> {
        let files = [
            ("the user's settings", self.own.join("settings.json")),
            (".claude/settings.json", self.project.join(".claude/settings.json")),
            (".claude/settings.local.json", self.project.join(".claude/settings.local.json")),
        ];
        files.into_iter().filter_map(|(name, file)| Some((name.to_owned(), json(&file)?))).collect()
    }

    /// What stands beside the hooks in this project now.
    fn beside(&self, managed: &[Value], alone: bool) -> Vec<String> {
        let mut found = Vec::new();
        for (name, settings) in self.settings() {
            if !alone && settings["disableAllHooks"] == true {
                found.push(format!("{name} has `disableAllHooks`: no hook is asked"));
            }
            if plugin(&settings) == Some(false) {
                found.push(format!("{name} disables the plugin: no hook is asked"));
            }
            if name == "the user's settings" {
                continue;
            }
            if !alone && settings.get("hooks").is_some() && !asks_us(&settings) {
                found.push(format!("{name} has hooks of its own"));
            }
            let steering: Vec<&str> =
                STEERING.into_iter().filter(|member| settings.get(member).is_some()).collect();
            if !steering.is_empty() {
                found.push(format!("{name} sets `{}`", steering.join("`, `")));
            }
        }
        let servers = json(&self.project.join(".mcp.json"));
        let servers = servers.as_ref().and_then(|file| file["mcpServers"].as_object());
        if servers.is_some_and(|servers| !servers.is_empty()) {
            found.push(".mcp.json names servers that start before anything is asked".to_owned());
        }
        if !managed.iter().any(|one| one["disableSkillShellExecution"] == true)
            && let Some(skill) = self.inline()
        {
            found.push(format!("{skill} runs shell lines that no hook sees"));
        }
        found
    }

    /// A skill or command of the project with shell lines in it.
    fn inline(&self) -> Option<String> {
        let entries = |folder: &str| {
            let entries = std::fs::read_dir(self.project.join(".claude").join(folder));
            entries.into_iter().flatten().flatten().take(SKILLS_SEEN_MAX).map(|entry| entry.path())
        };
        let skills = entries("skills").map(|folder| folder.join("SKILL.md"));
        let runs = |file: &PathBuf| std::fs::read_to_string(file).is_ok_and(|text| text.contains("!`"));
        let found = skills.chain(entries("commands")).find(runs)?;
        Some(found.strip_prefix(&self.project).unwrap_or(&found).display().to_string())
    }
}

fn version(said: &str) -> Result<String, String> {
    let parts: Vec<u64> = said
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    let [a, b, c] = CLIENT_VERSION_MIN;
    match <[u64; 3]>::try_from(parts) {
        Ok(found) if found >= CLIENT_VERSION_MIN => {
            Ok(format!("{}, whose hooks fail closed", said.trim().trim_end_matches(" (Claude Code)")))
        }
        Ok([x, y, z]) => {
            Err(format!("{x}.{y}.{z} lets calls run when a hook fails; install {a}.{b}.{c} or newer"))
        }
        Err(_) => Err(format!("it does not say its version; {a}.{b}.{c} or newer is needed")),
    }
}

fn json(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Whether calls are put to this program before they run.
fn asks_us(settings: &Value) -> bool {
    let hooks = settings["hooks"]["PreToolUse"].to_string();
    hooks.contains("bailiwick") && hooks.contains("hook")
}

/// Whether the plugin is switched on or off here; nothing where nothing is said.
fn plugin(settings: &Value) -> Option<bool> {
    let plugins = settings["enabledPlugins"].as_object()?;
    plugins.iter().find(|(name, _)| name.starts_with("bailiwick@"))?.1.as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Made(Ground, #[expect(dead_code, reason = "removed at the end")] tempfile::TempDir);

    fn made(files: &[(&str, &str)]) -> Made {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for (name, text) in files {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), text).unwrap();
        }
        let version = Some("2.1.329 (Claude Code)\n".to_owned());
        Made(Ground { project: at("p"), own: at("own"), managed: at("etc"), version }, root)
    }

    fn said(made: &Made) -> Vec<(&'static str, bool, String)> {
        let found = made.0.findings(true);
        let words = |result: Result<String, String>| match result {
            Ok(text) => (true, text),
            Err(text) => (false, text),
        };
        found.into_iter().map(|(what, result)| (what, words(result))).map(|(a, (b, c))| (a, b, c)).collect()
    }

    fn of(said: &[(&'static str, bool, String)], what: &str) -> (bool, String) {
        said.iter().find(|(name, ..)| *name == what).map(|(_, holds, text)| (*holds, text.clone())).unwrap()
    }

    const PLUGIN: (&str, &str) = ("own/settings.json", r#"{"enabledPlugins":{"bailiwick@bailiwick":true}}"#);

    #[test]
    fn without_hooks_there_is_nothing_to_lack() {
        let said = said(&made(&[("p/.claude/settings.json", r#"{"hooks":{}}"#)]));
        assert!(said.len() == 2 && said.iter().all(|(_, holds, _)| *holds), "{said:?}");
        let mut none = made(&[]);
        none.0.version = None;
        assert!(none.0.findings(true).is_empty());
    }

    #[test]
    fn a_plugin_is_told_what_stands_beside_it() {
        let bare = said(&made(&[PLUGIN]));
        assert!(
            !of(&bare, "its hooks").0 && !of(&bare, "the client").0 && of(&bare, "this project").0,
            "{bare:?}"
        );
        for (file, text, named) in [
            ("p/.claude/settings.json", r#"{"disableAllHooks":true}"#, "disableAllHooks"),
            (
                "p/.claude/settings.local.json",
                r#"{"enabledPlugins":{"bailiwick@bailiwick":false}}"#,
                "disables the plugin",
            ),
            ("p/.claude/settings.json", r#"{"hooks":{"Stop":[]}}"#, "hooks of its own"),
            ("p/.claude/settings.json", r#"{"env":{"PATH":"."}}"#, "`env`"),
            ("p/.mcp.json", r#"{"mcpServers":{"x":{"command":"sh"}}}"#, ".mcp.json"),
            ("p/.claude/skills/s/SKILL.md", "See !`id`", ".claude/skills/s/SKILL.md"),
            ("p/.claude/commands/c.md", "See !`id`", ".claude/commands/c.md"),
        ] {
            let said = said(&made(&[PLUGIN, (file, text)]));
            let (holds, words) = of(&said, "this project");
            assert!(!holds && words.contains(named), "{file}: {words}");
        }
        for (file, text) in [
            ("p/.claude/settings.json", r#"{"permissions":{"allow":["Bash"]}}"#),
            ("p/.mcp.json", r#"{"mcpServers":{}}"#),
            ("p/.claude/skills/s/SKILL.md", "See `id`"),
        ] {
            assert!(of(&said(&made(&[PLUGIN, (file, text)])), "this project").0, "{file}");
        }
    }

    #[test]
    fn managed_settings_close_what_they_close_and_no_more() {
        let settings = gateway::adapters::hook::settings::settings(
            Path::new("/usr/bin/bailiwick"),
            Path::new("/c"),
            Path::new("/s"),
            300,
            None,
            false,
        );
        let managed = ("etc/managed-settings.json", &*settings.to_string());
        let off = ("p/.claude/settings.json", r#"{"disableAllHooks":true,"hooks":{"Stop":[]}}"#);
        let inline = ("p/.claude/commands/c.md", "See !`id`");
        let closed = said(&made(&[managed, off, inline]));
        assert!(
            of(&closed, "its hooks").0 && of(&closed, "this project").0 && !of(&closed, "the client").0,
            "{closed:?}"
        );
        let served = said(&made(&[managed, ("p/.mcp.json", r#"{"mcpServers":{"x":{}}}"#)]));
        assert!(!of(&served, "this project").0, "{served:?}");
        let mut open = settings;
        open["allowManagedHooksOnly"] = json!(false);
        let open = open.to_string();
        let open = said(&made(&[("etc/managed-settings.d/10-gate.json", &open), off]));
        assert!(
            !of(&open, "its hooks").0 && of(&open, "this project").1.contains("disableAllHooks"),
            "{open:?}"
        );
    }

    #[test]
    fn versions_are_numbers() {
        for (said, holds) in [
            ("2.1.295 (Claude Code)", true),
            ("2.1.294 (Claude Code)", false),
            ("2.10.0", true),
            ("1.9.999", false),
            ("", false),
            ("nightly", false),
        ] {
            assert_eq!(version(said).is_ok(), holds, "{said}");
        }
    }
}
