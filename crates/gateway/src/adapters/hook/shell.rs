//! The client's shell commands, run behind the wall: the hook replaces the command by one that fetches the judged command
//! from the gate. What runs is what was judged, once, whatever happened to the client's copy of it in between.

use super::Side;
use crate::adapters::egress::{Owner, Prepared};
use crate::config::Place;
use crate::config::confine::{Access, Site};
use crate::config::place;
use crate::gate::Gate;
use judge::permit::{Permit, Recorded};
use judge::request::tree::Tree;
use sandbox::warden::Order;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The client's tool whose input is a command line.
const TOOL: &str = "Bash";
/// The overlay that commands work in where the project's folder is one.
const OVERLAY: &str = "shell";
/// Runs the command line in `$1`, and says where it ended. A trap of the command's own goes before.
const RUN: &str = "trap 'pwd -P >/run/place' EXIT\neval \"$1\"";

/// One permitted command, waiting to be fetched.
pub(super) struct Waiting {
    permit: Permit<Recorded>,
    order: Order,
    exit: Option<Prepared>,
}

/// Whether the gate runs this tool's calls itself.
pub(super) fn is_shell(tool: &str) -> bool {
    tool == TOOL
}

impl Waiting {
    /// The command of `permit`, to run in `cwd`.
    ///
    /// # Errors
    /// It cannot be confined as configured, or would not see its working folder; in words for the agent.
    pub(super) async fn prepare(
        permit: Permit<Recorded>,
        cwd: Option<&str>,
        gate: &Arc<Gate>,
        owner: Owner,
        side: &Side,
    ) -> Result<Self, String> {
        let place = &gate.place;
        let mut shell = gate.config.shell.clone();
        // One overlay cannot stand twice. A command must not change in place what its agent's changes are kept apart from.
        let is_apart = matches!(side, Side::Inside(insider) if insider.is_apart());
        if is_apart && shell.workspace == Access::ReadWrite {
            shell.workspace = Access::ReadOnly;
        }
        let line = permit.request().arguments().member("command").and_then(Tree::as_text);
        let line = line.ok_or("the call has no `command`")?.to_owned();
        let overlay =
            place::overlay_of(&place.state, place.project(), OVERLAY).map_err(|error| error.to_string())?;
        let hidden = place.hidden();
        let site = Site { workspace: place.project(), home: None, overlay: &overlay, hidden: &hidden };
        let mut profile = shell.profile(site, &[], &BTreeMap::new())?;
        let workspace = profile.workspace.iter().map(|workspace| &workspace.path);
        let mut shown = workspace.chain(&profile.read).chain(&profile.write);
        let cwd = cwd.map(|cwd| Path::new(cwd).canonicalize().unwrap_or_else(|_| cwd.into()));
        if let Some(cwd) = cwd.as_deref().filter(|cwd| !shown.any(|folder| cwd.starts_with(folder))) {
            return Err(format!(
                "commands run confined to the project, which does not hold the working folder {}; go back to the project, \
                 or ask the operator to add the folder to `read` or `write` of [shell]",
                cwd.display()
            ));
        }
        let command = sandbox::Command {
            program: "bash".to_owned(),
            arguments: ["-c", RUN, "bash", &line].map(str::to_owned).into(),
            cwd,
        };
        let exit = Prepared::prepare(gate, owner, &shell, &mut profile).await?;
        Ok(Self {
            order: Order { profile, command, state: place.reserves(), runtime: shell.runtime() },
            permit,
            exit,
        })
    }

    /// What fetches and runs it. The permit is spent by this.
    pub(super) fn order(self) -> (Order, Option<Prepared>) {
        let Self { permit, order, exit } = self;
        drop(permit);
        (order, exit)
    }
}

/// The client's input with its command replaced by one that fetches call `call` from the gate: `None` where the input is not
/// a shell's. The client's shell goes where the command ended, as it would have.
pub(super) fn rewritten(input: &RawValue, program: &Path, gate: Option<&Place>, call: &str) -> Option<Value> {
    let mut input: Value = serde_json::from_str(input.get()).ok()?;
    let command = input.get_mut("command")?;
    let (program, found) = (quoted(program), found(gate));
    *command = Value::String(format!(
        "{{ bailiwick_place=$({program}{found} shell {call} 4>&1 >&3 3>&-); \
         bailiwick_status=$?; }} 3>&1; [ -z \"$bailiwick_place\" ] || cd -- \"$bailiwick_place\"; \
         (exit $bailiwick_status)"
    ));
    Some(input)
}

/// The same in one plain command, for a client that looks at what it is given in place of its own. Its shell stays where it is.
pub(super) fn fetching(input: &RawValue, program: &Path, gate: Option<&Place>, call: &str) -> Option<Value> {
    let mut input: Value = serde_json::from_str(input.get()).ok()?;
    let command = input.get_mut("command")?;
    *command = Value::String(format!("{}{} shell {call}", quoted(program), found(gate)));
    Some(input)
}

/// How the gate is found; from inside it is found at the door.
fn found(gate: Option<&Place>) -> String {
    gate.map_or(String::new(), |gate| {
        format!(" --dir {} --state {}", quoted(&gate.config), quoted(&gate.state))
    })
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_command_is_replaced() {
        let raw = RawValue::from_string(
            r#"{"command":"rm -rf x","timeout":5,"run_in_background":true}"#.to_owned(),
        );
        let place = Place::of("/p/it's/.bailiwick".into(), Some(Path::new("/s"))).unwrap();
        let input = rewritten(&raw.unwrap(), Path::new("/bin/b"), Some(&place), "c-1").unwrap();
        assert_eq!((&input["timeout"], &input["run_in_background"]), (&5.into(), &true.into()));
        let command = input["command"].as_str().unwrap();
        assert!(
            command.contains(r"--dir '/p/it'\''s/.bailiwick'") && command.contains("shell c-1"),
            "{command}"
        );
        assert!(!command.contains("rm"), "{command}");
    }
}
