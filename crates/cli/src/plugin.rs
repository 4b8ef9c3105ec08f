//! `bailiwick hook plugin`: writes the Claude Code plugin of this program to a folder, for those who do not use the launcher.
//! It installs nothing, and overwrites nothing but a plugin that it wrote itself.

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::adapters::hook::settings;
use gateway::config::{Gate, place};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const MANIFEST: &str = include_str!("../../../plugin/.claude-plugin/plugin.json");
const MARKETPLACE: &str = include_str!("../../../plugin/.claude-plugin/marketplace.json");
const SKILL: &str = include_str!("../../../plugin/skills/denied/SKILL.md");
const README: &str = include_str!("../../../plugin/README.md");
/// Where the manifest is, by which a folder is known to be a plugin of ours.
const MANIFEST_AT: &str = ".claude-plugin/plugin.json";

/// The plugin's files, with `program` as hooks and servers start it.
fn files(program: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let written = program.to_str().context("the path of this program is not UTF-8")?;
    let word = if written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)) {
        written.to_owned()
    } else {
        format!("'{}'", written.replace('\'', r"'\''"))
    };
    let servers = json!({ "mcpServers": { "bailiwick": { "command": written, "args": ["mcp"] } } });
    let pretty = |value: &Value| serde_json::to_string_pretty(value).map(|text| text + "\n");
    Ok(vec![
        (MANIFEST_AT, MANIFEST.to_owned()),
        (".claude-plugin/marketplace.json", MARKETPLACE.to_owned()),
        (".mcp.json", pretty(&servers)?),
        ("hooks/hooks.json", pretty(&settings::plugin(&word, Gate::default().ask_wait_seconds))?),
        ("skills/denied/SKILL.md", SKILL.to_owned()),
        ("README.md", README.to_owned()),
    ])
}

pub(crate) fn write(folder: &Path) -> anyhow::Result<Outcome> {
    let folder = std::path::absolute(folder)?;
    let is_ours = std::fs::read(folder.join(MANIFEST_AT)).is_ok_and(|manifest| {
        serde_json::from_slice::<Value>(&manifest).is_ok_and(|manifest| manifest["name"] == "bailiwick")
    });
    let is_empty = std::fs::read_dir(&folder).map_or(true, |mut entries| entries.next().is_none());
    anyhow::ensure!(is_ours || is_empty, "{} holds something else; name a new folder", folder.display());
    // What an agent may edit must not be what guards it.
    if let Some(project) = folder.ancestors().find(|above| above.join(place::FOLDER).is_dir()) {
        anyhow::bail!(
            "{} is in the project {}, where its agent could change it; name a folder elsewhere",
            folder.display(),
            project.display()
        );
    }
    let program: PathBuf = std::env::current_exe()?;
    for (name, content) in files(&program)? {
        let path = folder.join(name);
        let above = path.parent().context("a file without a folder")?;
        std::fs::create_dir_all(above).with_context(|| above.display().to_string())?;
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    terminal::say(&format!("Wrote {}. To install it:", folder.display()));
    terminal::say(&format!("  claude plugin marketplace add '{}'", folder.display()));
    terminal::say("  claude plugin install bailiwick@bailiwick");
    terminal::say(
        "A plugin is no wall: `bailiwick doctor` names what it leaves open, `bailiwick run` closes it.",
    );
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_of_the_repository_is_the_one_that_is_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin");
        let mut names = Vec::new();
        for (name, content) in files(Path::new("bailiwick")).unwrap() {
            let there = std::fs::read_to_string(folder.join(name)).unwrap();
            if name.ends_with(".json") {
                let [there, content] =
                    [&there, &content].map(|text| serde_json::from_str::<Value>(text).unwrap());
                assert_eq!(there, content, "plugin/{name} is not what `bailiwick hook plugin` writes");
            } else {
                assert_eq!(there, content, "plugin/{name}");
            }
            names.push(name);
        }
        let manifest: Value = serde_json::from_str(MANIFEST).unwrap();
        assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"), "a plugin is cached by its version");
        assert_eq!(names.len(), 6);
    }

    #[test]
    fn a_program_with_a_quote_in_its_path_is_one_word_of_a_shell() {
        let written = files(Path::new("/o'p t/bailiwick")).unwrap();
        let (_, hooks) = written.iter().find(|(name, _)| *name == "hooks/hooks.json").unwrap();
        let hooks: Value = serde_json::from_str(hooks).unwrap();
        let hook = &hooks["hooks"]["PreToolUse"][0]["hooks"][0];
        assert_eq!(hook["command"], r"'/o'\''p t/bailiwick' hook || exit 2");
        assert_eq!(hook["onFailure"], "block");
    }
}
