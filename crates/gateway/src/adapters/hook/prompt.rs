//! The client's permission prompt: what its own rules leave to a person is decided here as its hook would have it decided, for
//! clients without hooks too. What an agent asks for itself grants nothing: it is the same decision, and waits for the same people.

use super::{Event, Followed, Hooks, SESSIONS_MAX, Side, locked, shell, verdict};
use crate::facts::Patience;
use crate::inventory::CLAUDE;
use crate::session::Session;
use crate::wire::frame::{Object, raw};
use judge::request::tree::Tree;
use judge::tool::ToolName;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// What a client asks permission for.
pub struct Prompt {
    /// Its name of the tool.
    pub tool: String,
    /// The tool's whole input, as it would run.
    pub input: Box<RawValue>,
    /// Its id for the call.
    pub use_id: String,
    /// Where it was started, where that is known.
    pub cwd: Option<String>,
}

impl Hooks {
    /// The input that the client may run now, once; decided, asked about and recorded before this returns. `asker` is the session
    /// the question came over.
    ///
    /// # Errors
    /// Why it must not, in words for the agent.
    pub async fn prompted(&self, asker: &Session, prompt: Prompt) -> Result<Value, String> {
        let Prompt { tool, input, use_id, cwd } = prompt;
        let tree = Tree::parse(input.get().as_bytes());
        let tree = tree.map_err(|error| format!("the tool's input cannot be read: {error}"))?;
        let given: Value = serde_json::from_str(input.get()).map_err(|error| error.to_string())?;
        if !matches!(tree, Tree::Map(_)) || tool.is_empty() || use_id.is_empty() {
            return Err("a permission is for a tool, an input and the id of one call".to_owned());
        }
        let known: Vec<Arc<Followed>> = locked(&self.sessions).values().cloned().collect();
        let canonical = tree.canonical();
        // Its hook decided on this very call, and it asks all the same.
        let admits = |followed: &&Arc<Followed>| {
            let calls = locked(&followed.calls);
            calls.get(&use_id).is_some_and(|judged| judged.covers(&tool, &canonical))
        };
        if let Some(followed) = known.iter().find(admits) {
            return match followed.halt_reason() {
                Some(why) => Err(why),
                None => Ok(given),
            };
        }
        let defers = |followed: &&Arc<Followed>| followed.is_deferred(&use_id, &tool, &canonical);
        let (followed, cwd) = match known.iter().find(defers) {
            Some(followed) => (followed.clone(), followed.cwd()),
            None => (self.unhooked(asker), cwd),
        };
        self.shows_nothing_hidden(&followed, &tool, &tree)?;
        let mut body = Object::default().with("tool_input", input);
        if let Some(cwd) = cwd {
            body.set("cwd", raw(cwd));
        }
        let event = Event {
            side: asker.insider().map_or(Side::Outside, |insider| Side::Inside(insider.clone())),
            name: "PreToolUse".to_owned(),
            session: followed.session.id().to_owned(),
            tool,
            use_id: use_id.clone(),
            input: Ok(tree),
            body,
        };
        // Whoever asks here waits for the answer.
        let answer = self.before(&followed, event, Patience::Hold).await;
        followed.no_longer_deferred(&use_id);
        verdict::said(&answer).map(|instead| instead.cloned().unwrap_or(given))
    }

    /// What is answered here may be read by a model that asked by itself, so nothing that was taken out is put back in it.
    fn shows_nothing_hidden(&self, followed: &Followed, tool: &str, input: &Tree) -> Result<(), String> {
        if self.gate.config.shell.enabled && shell::is_shell(tool) {
            // Put back behind the wall, and never in the answer.
            return Ok(());
        }
        let name = ToolName { server: CLAUDE.to_owned(), tool: tool.to_owned() };
        let meant = self.gate.screen.meant(followed.session.hidden(), &name, input.clone())?;
        if meant.canonical() == input.canonical() {
            return Ok(());
        }
        Err("it holds hidden values, which only the client's hook puts back; leave them out".to_owned())
    }

    /// What is followed of the client behind `asker`, which has no hooks here.
    fn unhooked(&self, asker: &Session) -> Arc<Followed> {
        let mut unhooked = locked(&self.unhooked);
        if let Some(followed) = unhooked.get(asker.id()) {
            followed.session.join(asker.conversation());
            return followed.clone();
        }
        if unhooked.len() >= SESSIONS_MAX {
            let oldest = unhooked.iter().min_by_key(|(_, one)| one.begun).map(|(name, _)| name.clone());
            if let Some(name) = oldest {
                unhooked.remove(&name);
            }
        }
        let name = format!("prompt-{}", asker.id());
        let followed = Arc::new(self.followed(name, asker.conversation(), true));
        unhooked.insert(asker.id().to_owned(), followed.clone());
        followed
    }

    /// The client behind `asker` is gone: what it was permitted and did not fetch runs no more.
    pub fn gone(&self, asker: &str) {
        locked(&self.unhooked).remove(asker);
    }
}

/// The tool as the client lists it.
pub fn definition() -> Object {
    let words =
        "Answers Claude Code's permission prompts. It is not for the model: calling it permits nothing.";
    Object::default().with("description", raw(words)).with(
        "inputSchema",
        raw(serde_json::json!({
            "type": "object",
            "properties": {
                "tool_name": { "type": "string" },
                "input": { "type": "object" },
                "tool_use_id": { "type": "string" },
            },
            "required": ["tool_name", "input", "tool_use_id"],
        })),
    )
}

/// What the client is answered.
pub fn answer(decided: Result<Value, String>) -> Value {
    match decided {
        Ok(input) => serde_json::json!({ "behavior": "allow", "updatedInput": input }),
        Err(why) => serde_json::json!({ "behavior": "deny", "message": why }),
    }
}

/// How a client that is asked for names itself; nobody else is offered the tool.
pub const CLIENT: &str = "claude-code";
