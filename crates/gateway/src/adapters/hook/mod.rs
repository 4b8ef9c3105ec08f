//! The Claude Code hook adapter: each built-in tool call of the client is judged and recorded before it runs.
//! Hooks are a sensor and a convenience; what goes through MCP is decided at the proxy and only joined here.

mod after;
mod deferral;
mod heard;
pub mod prompt;
pub mod settings;
mod shell;
pub mod verdict;
mod words;

pub use after::Shown;

use crate::adapters::egress::{Owner, Prepared};
use crate::conversation::Conversation;
use crate::facts::{Patience, Scene};
use crate::gate::{Gate, SessionGuard};
use crate::inventory::CLAUDE;
use crate::launch::Insider;
use crate::pipeline::{self, Stop};
use crate::receipt::Receipt;
use crate::session::Session;
use crate::wire::frame::Object;
use crate::wire::record::{Body, Confined, Status};
use judge::flow::Read;
use judge::permit::{Permit, Recorded};
use judge::policy::Decision;
use judge::request::Principal;
use judge::request::path::AbsPath;
use judge::request::tree::Tree;
use judge::tool::{OWN, ToolName};
use sandbox::warden::Order;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The oldest client whose hooks fail closed (`onFailure: block`).
pub const CLIENT_VERSION_MIN: [u64; 3] = [2, 1, 295];
/// Client sessions followed at once; the oldest is forgotten.
const SESSIONS_MAX: usize = 256;
/// Calls of one session between their decision and their end.
const CALLS_MAX: usize = 1_024;
/// How much of a transcript is read to learn the client's version, in bytes.
const TRANSCRIPT_BYTES_MAX: u64 = 64 * 1024;

/// The hook side of a gate.
pub struct Hooks {
    gate: Arc<Gate>,
    sessions: Mutex<HashMap<String, Arc<Followed>>>,
    /// Clients that only ask here what their own rules leave to a person, by the session they ask over.
    unhooked: Mutex<HashMap<String, Arc<Followed>>>,
}

/// One session of the client.
struct Followed {
    session: Session,
    begun: Instant,
    _guard: SessionGuard,
    calls: Mutex<HashMap<String, Judged>>,
    /// Why the model must not see what came back; set once, never cleared.
    halted: Mutex<Option<String>>,
    /// Why the results of the calls under way must not be seen; the turn ends, the session goes on.
    stopped: Mutex<Option<String>>,
    too_old: Mutex<Option<String>>,
    /// The call this run was told to defer.
    deferred: Mutex<Option<deferral::Deferral>>,
    /// Where the client said last that it works.
    cwd: Mutex<Option<String>>,
    /// Nothing was known of it when it was first heard of, and nothing was heard of it since.
    is_new: AtomicBool,
    /// Whether it has no hooks: nothing is heard of a call after its decision, and its shell stays where it is.
    is_unhooked: bool,
}

/// A call the client was permitted to run.
struct Judged {
    tool: String,
    /// What was judged, and what the client must run instead, where that differs.
    input: String,
    replaced: Option<String>,
    receipt: Option<Receipt>,
    waiting: Option<shell::Waiting>,
    /// The way out of a command that was fetched and has not asked for it yet.
    exit: Option<Prepared>,
    /// What was taken out of what it printed, in words.
    taken: String,
    /// It has failed. The client may report it again as if it had run (2.1.329 does for a file that is not there).
    has_failed: bool,
    /// The gate was told how it ran.
    has_run: bool,
    /// The client has put it into the background, and says no more of it.
    is_behind: bool,
}

impl Judged {
    /// Whether this is the call of this record.
    fn is_call(&self, call: &str) -> bool {
        self.receipt.as_ref().is_some_and(|receipt| receipt.call() == call)
    }

    /// Whether the client may run, or has run, this input of this tool.
    fn covers(&self, tool: &str, input: &str) -> bool {
        self.tool == tool && self.replaced.as_deref().unwrap_or(&self.input) == input
    }
}

/// On which side of the wall a client is.
#[derive(Clone)]
pub enum Side {
    /// An ordinary process: it starts the sandboxes of its commands itself.
    Outside,
    /// Launched behind the wall: the gate starts them beside its own.
    Inside(Arc<Insider>),
}

/// One event, read.
struct Event {
    side: Side,
    name: String,
    session: String,
    tool: String,
    use_id: String,
    input: Result<Tree, String>,
    body: Object,
}

impl Hooks {
    /// Follows the client sessions of `gate`.
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate, sessions: Mutex::default(), unhooked: Mutex::default() }
    }

    /// Answers one hook event of a client on this `side`, in its own output shape. `defers` says whether it can be told to defer a
    /// call.
    pub async fn answer(&self, event: &RawValue, side: Side, defers: bool) -> Value {
        let event = match Event::read(event, side) {
            Ok(event) => event,
            Err(why) => return verdict::fail_closed("", &why),
        };
        let followed = self.follow(&event);
        let is_new = followed.is_new.swap(false, Ordering::Relaxed);
        match event.name.as_str() {
            "PreToolUse" => {
                let patience = followed.patience(&event, self.gate.config.approvals.on_ask, defers);
                self.before(&followed, event, patience).await
            }
            "PermissionRequest" => deferral::permission(&followed, &event),
            "PostToolUse" => self.after(&followed, event),
            "PostToolUseFailure" => self.failed(&followed, &event),
            "PostToolBatch" => {
                followed.moved_on();
                self.batch(&followed, &event)
            }
            // A subagent begins with a conversation of its own, in which nothing was said yet.
            "SessionStart" | "SubagentStart" => self.begun(&followed, &event, is_new),
            "UserPromptSubmit" => self.submitted(&followed, &event).await,
            "ConfigChange" => {
                let file = event.body.text("file_path").unwrap_or_default();
                self.alert(
                    &followed,
                    "settings-changed",
                    &format!("the client's settings changed in {file}; refused"),
                    "",
                );
                verdict::block("settings cannot change while the gate guards this session; start a new one")
            }
            "SessionEnd" => {
                // A halted session stays halted, also when the client takes it up again.
                if followed.halt_reason().is_none() {
                    locked(&self.sessions).retain(|_, one| !Arc::ptr_eq(one, &followed));
                }
                verdict::nothing()
            }
            // An event this version does not know may be the one before a call.
            _ if !event.tool.is_empty() => verdict::fail_closed("", "the event is not one the gate knows"),
            _ => verdict::nothing(),
        }
    }

    fn follow(&self, event: &Event) -> Arc<Followed> {
        let mut sessions = locked(&self.sessions);
        let key = match &event.side {
            Side::Outside => event.session.clone(),
            // Sessions of another agent are none of its own, whatever it calls them.
            Side::Inside(insider) => format!("{} {}", insider.name(), event.session),
        };
        if let Some(followed) = sessions.get(&key) {
            return followed.clone();
        }
        if sessions.len() >= SESSIONS_MAX {
            // The calls of a forgotten session close as cancelled; its next event begins it anew.
            let idle = |followed: &&Arc<Followed>| followed.halt_reason().is_none();
            let oldest = sessions.iter().filter(|(_, one)| idle(one)).min_by_key(|(_, one)| one.begun);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                sessions.remove(&name);
            }
        }
        let name = format!("claude-{}", plain(&event.session));
        let halted = sessions.values().find_map(|one| one.halt_reason().filter(|_| one.session.id() == name));
        let conversation = self.gate.conversations.named(&name);
        let is_new = conversation.is_new();
        let conversation = match &event.side {
            Side::Outside => conversation,
            Side::Inside(insider) => {
                self.gate.conversations.also(&name, insider.conversation());
                insider.conversation().clone()
            }
        };
        let followed = self.followed(name, conversation, false);
        if let Side::Inside(insider) = &event.side {
            followed.session.begins_at(insider);
        }
        *locked(&followed.halted) = halted;
        followed.is_new.store(is_new, Ordering::Relaxed);
        let followed = Arc::new(followed);
        sessions.insert(key, followed.clone());
        followed
    }

    /// Begins to follow a client's session.
    fn followed(&self, name: String, conversation: Arc<Conversation>, is_unhooked: bool) -> Followed {
        let principal = Principal { agent: "claude-code".to_owned(), ..self.gate.principal() };
        let session = Session::named(name, principal, "hook", conversation);
        let guard = self.gate.open_session(&session, "claude-code", "hook");
        Followed {
            session,
            begun: Instant::now(),
            _guard: guard,
            calls: Mutex::default(),
            halted: Mutex::default(),
            stopped: Mutex::default(),
            too_old: Mutex::default(),
            deferred: Mutex::default(),
            cwd: Mutex::default(),
            is_new: AtomicBool::new(false),
            is_unhooked,
        }
    }

    async fn before(&self, followed: &Arc<Followed>, event: Event, patience: Patience) -> Value {
        let use_id = event.use_id.clone();
        let answer = self.judged(followed, event, patience).await;
        if patience == Patience::Defer && !verdict::defers(&answer) {
            followed.no_longer_deferred(&use_id);
        }
        answer
    }

    async fn judged(&self, followed: &Arc<Followed>, event: Event, patience: Patience) -> Value {
        if let Some(why) = followed.too_old(&event) {
            return verdict::deny(&why);
        }
        if let Some(why) = followed.halt_reason() {
            return verdict::deny(&why);
        }
        let input = match &event.input {
            Ok(input) => input.clone(),
            Err(why) => return verdict::deny(&format!("the tool's input cannot be read: {why}")),
        };
        if let Some(name) = event.tool.strip_prefix("mcp__") {
            return self.before_mcp(followed, &event, name, &input);
        }
        let cwd = match event.cwd() {
            Ok(cwd) => cwd,
            Err(why) => return verdict::deny(&format!("the working folder cannot be read: {why}")),
        };
        *locked(&followed.cwd) = cwd.as_ref().map(ToString::to_string);
        let name = ToolName { server: CLAUDE.to_owned(), tool: event.tool.clone() };
        let scene = Scene { cwd, client_call: event.use_id.clone(), patience };
        let call = followed.session.call(name, input.clone());
        match pipeline::admit(&self.gate, &followed.session, call, &scene).await {
            Ok((permit, receipt)) => {
                let why = match permit.granted_by() {
                    Some(by) => format!("granted by {by}"),
                    None => permit.verdict().to_string(),
                };
                self.release(followed, event, &input, permit, receipt, &why).await
            }
            Err(Stop::Denied(denied)) => verdict::deny(&format!("{} (record {})", denied.why, denied.call)),
            Err(Stop::Failed(failed)) => verdict::deny(&failed.detail),
            Err(Stop::Deferred(approval)) => {
                let (client_call, tool) = (event.use_id, format!("{CLAUDE}/{}", event.tool));
                self.note(followed, Body::Sensed { client_call, tool, event: "deferred".to_owned() });
                verdict::defer(&format!(
                    "approval {approval} waits for an answer; resume the session once it was given"
                ))
            }
        }
    }

    /// Lets a permitted call run: a shell command behind the wall, anything else in the client, which acts on this permit.
    /// The receipt is closed by the events that follow.
    async fn release(
        &self,
        followed: &Arc<Followed>,
        event: Event,
        input: &Tree,
        permit: Permit<Recorded>,
        receipt: Receipt,
        why: &str,
    ) -> Value {
        let mut judged = Judged {
            tool: event.tool.clone(),
            input: input.canonical(),
            replaced: None,
            receipt: None,
            waiting: None,
            exit: None,
            taken: String::new(),
            has_failed: false,
            has_run: false,
            is_behind: false,
        };
        let mut answer = verdict::allow(why);
        let meant = permit.request().arguments().canonical();
        if meant != judged.input {
            // Handles were put back: the client runs what was judged.
            match serde_json::from_str(&meant) {
                Ok(input) => answer = verdict::allow_instead(why, &input),
                Err(error) => {
                    let why = format!("what was taken out cannot be put back: {error}");
                    receipt.close(Status::Error, &why, b"");
                    return verdict::deny(&why);
                }
            }
            judged.replaced = Some(meant);
        }
        if self.gate.config.shell.enabled && shell::is_shell(&judged.tool) {
            match self.behind_the_wall(followed, &event, permit, receipt.call()).await {
                Ok((waiting, replaced, canonical)) => {
                    judged.waiting = Some(waiting);
                    judged.replaced = Some(canonical);
                    answer = verdict::allow_instead(why, &replaced);
                }
                Err(why) => {
                    receipt.close(Status::Error, &why, b"");
                    return verdict::deny(&why);
                }
            }
        }
        judged.receipt = Some(receipt);
        followed.remember(event.use_id, judged);
        answer
    }

    /// A permitted command, what the client is to run to fetch it, and that in canonical form.
    async fn behind_the_wall(
        &self,
        followed: &Followed,
        event: &Event,
        permit: Permit<Recorded>,
        call: &str,
    ) -> Result<(shell::Waiting, Value, String), String> {
        let place = &self.gate.place;
        let cwd = event.body.text("cwd");
        let session = &followed.session;
        let session = Session::named(
            session.id().to_owned(),
            session.principal().clone(),
            "egress",
            session.conversation(),
        )
        .of_a_call(permit.request().phase());
        let owner = Owner { session, from: "shell".to_owned() };
        let waiting = shell::Waiting::prepare(permit, cwd.as_deref(), &self.gate, owner, &event.side).await?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let input = event.body.get("tool_input").ok_or("the call has no input")?;
        let found = matches!(event.side, Side::Outside).then_some(place);
        let replaced = match followed.is_unhooked {
            true => shell::fetching(input, &program, found, call),
            false => shell::rewritten(input, &program, found, call),
        };
        let replaced = replaced.ok_or("the call has no `command`")?;
        let tree = Tree::parse(replaced.to_string().as_bytes()).map_err(|error| error.to_string())?;
        Ok((waiting, replaced, tree.canonical()))
    }

    /// What a shell that the client started is to run, once.
    ///
    /// # Errors
    /// No such call waits: it was never permitted, or it was fetched before.
    pub fn fetch(&self, call: &str) -> Result<Order, &'static str> {
        let order = self.find(call, |judged| {
            let (order, exit) = judged.waiting.take()?.order();
            judged.exit = exit;
            Some(order)
        });
        order.ok_or("no permitted command waits under this name; it runs once")
    }

    /// The way out of a fetched command, once.
    ///
    /// # Errors
    /// It has none, or has it already.
    pub fn exit(&self, call: &str) -> Result<Prepared, &'static str> {
        self.find(call, |judged| judged.exit.take()).ok_or("no command of this name waits for a way out")
    }

    /// Notes how a fetched command was confined and ended, for its receipt.
    pub fn ran(&self, call: &str, how: Confined) {
        self.find(call, |judged| {
            judged.has_run = true;
            judged.receipt.as_mut().map(|receipt| receipt.confined(how.clone()))
        });
        // Nothing more will be heard of a call of a client without hooks, or of one in the background.
        for followed in self.everybody() {
            let mut calls = locked(&followed.calls);
            let is_over =
                |judged: &Judged| judged.is_call(call) && (followed.is_unhooked || judged.is_behind);
            let ended = calls.iter().find(|(_, judged)| is_over(judged));
            let Some(use_id) = ended.map(|(use_id, _)| use_id.clone()) else { continue };
            if let Some(Judged { receipt: Some(receipt), taken, .. }) = calls.remove(&use_id) {
                receipt.close(Status::Ok, &taken, b"");
            }
        }
    }

    /// Everybody who is followed.
    fn everybody(&self) -> Vec<Arc<Followed>> {
        let mut all: Vec<Arc<Followed>> = locked(&self.sessions).values().cloned().collect();
        all.extend(locked(&self.unhooked).values().cloned());
        all
    }

    fn find<T>(&self, call: &str, mut take: impl FnMut(&mut Judged) -> Option<T>) -> Option<T> {
        self.everybody().iter().find_map(|followed| {
            let mut calls = locked(&followed.calls);
            let judged = calls.values_mut().find(|judged| judged.is_call(call))?;
            take(judged)
        })
    }

    /// A tool of an MCP server: let through to the proxy, which decides and records, unless policy denies it already.
    fn before_mcp(&self, followed: &Arc<Followed>, event: &Event, name: &str, input: &Tree) -> Value {
        let rules = self.gate.rules();
        let configured = &self.gate.config.server;
        let known = served(name).find(|name| {
            let is_own = name.server == OWN;
            (is_own || configured.contains_key(&name.server)) && rules.inventory.tool(name).is_some()
        });
        let Some(known) = known else {
            let why = format!("`{}` is not a reviewed tool behind the gate", event.tool);
            self.alert(followed, "ungated-server", &why, &event.use_id);
            return verdict::deny(&why);
        };
        let call = followed.session.call(known.clone(), input.clone());
        match pipeline::preview(&self.gate, &followed.session, call) {
            // To ask for a phase and to go to a narrower one is always possible; the proxy decides on the others.
            _ if known == crate::phases::name() => {}
            Ok((_, verdict)) if verdict.decision() == Decision::Deny => {
                return verdict::deny(&verdict.to_string());
            }
            Ok(_) => {}
            Err(malformed) => return verdict::deny(&malformed),
        }
        self.gate.conversations.expect(&event.use_id, followed.session.conversation());
        self.note(
            followed,
            Body::Sensed {
                client_call: event.use_id.clone(),
                tool: known.to_string(),
                event: "hook".to_owned(),
            },
        );
        followed.remember(
            event.use_id.clone(),
            Judged {
                tool: event.tool.clone(),
                input: input.canonical(),
                replaced: None,
                receipt: None,
                waiting: None,
                exit: None,
                taken: String::new(),
                has_failed: false,
                has_run: false,
                is_behind: false,
            },
        );
        verdict::allow("the gate decides on this call where it is served")
    }

    /// Takes in what one of the client's own tools answered; what servers answer is taken in where it is served.
    fn read(&self, followed: &Followed, tool: &str, answer: &str) {
        if !tool.starts_with("mcp__") {
            let name = ToolName { server: CLAUDE.to_owned(), tool: tool.to_owned() };
            let parts = [Read::Text(answer.to_owned())];
            followed.session.conversation().read(&self.gate.rules().inventory, &name, &parts);
        }
    }

    fn note(&self, followed: &Followed, body: Body) {
        self.gate.history.note(Some(followed.session.id()), body);
    }

    fn alert(&self, followed: &Followed, rule: &str, detail: &str, call: &str) {
        tracing::warn!("{rule}: {detail}");
        let body = Body::Alert { rule: rule.to_owned(), detail: detail.to_owned(), call: call.to_owned() };
        self.note(followed, body);
    }
}

impl Followed {
    fn remember(&self, use_id: String, judged: Judged) {
        let mut calls = locked(&self.calls);
        if calls.len() >= CALLS_MAX
            && let Some(name) = calls.keys().next().cloned()
        {
            calls.remove(&name);
        }
        calls.insert(use_id, judged);
    }

    fn cwd(&self) -> Option<String> {
        locked(&self.cwd).clone()
    }

    fn halt_reason(&self) -> Option<String> {
        locked(&self.halted).clone()
    }

    /// Why this client cannot be guarded: its version ignores `onFailure`, so a broken hook would let calls run.
    fn too_old(&self, event: &Event) -> Option<String> {
        let mut known = locked(&self.too_old);
        if known.is_none() {
            let version =
                event.body.text("transcript_path").and_then(|path| client_version(Path::new(&path)))?;
            let old = version < CLIENT_VERSION_MIN;
            let [a, b, c] = version;
            let [x, y, z] = CLIENT_VERSION_MIN;
            *known = Some(if old {
                format!("Claude Code {a}.{b}.{c} is too old to be guarded; install {x}.{y}.{z} or newer")
            } else {
                String::new()
            });
        }
        known.clone().filter(|why| !why.is_empty())
    }
}

impl Event {
    fn read(raw: &RawValue, side: Side) -> Result<Self, String> {
        let body = Object::parse(raw.get().as_bytes()).map_err(|error| error.to_string())?;
        let name = body.text("hook_event_name").ok_or("the event has no `hook_event_name`")?;
        let session = body.text("session_id").ok_or("the event has no `session_id`")?;
        let input = match body.get("tool_input") {
            Some(input) => Tree::parse(input.get().as_bytes()).map_err(|error| error.to_string()),
            None => Ok(Tree::Null),
        };
        Ok(Self {
            side,
            tool: body.text("tool_name").unwrap_or_default(),
            use_id: body.text("tool_use_id").unwrap_or_default(),
            name,
            session,
            input,
            body,
        })
    }

    /// Where the client works; `None` where it does not say, which stands for the project.
    fn cwd(&self) -> Result<Option<AbsPath>, String> {
        let Some(cwd) = self.body.get("cwd") else { return Ok(None) };
        let cwd: String = serde_json::from_str(cwd.get()).map_err(|error| error.to_string())?;
        AbsPath::parse(&cwd).map(Some).map_err(|error| error.to_string())
    }
}

/// The names an MCP tool of the client may stand for: `CLIENT__SERVER__TOOL` where a client knows the whole gate by one
/// name, or `SERVER__TOOL` where it knows one server of the gate by its own. The client's built-in tools are neither.
fn served(name: &str) -> impl Iterator<Item = ToolName> {
    let split = |name: &str| {
        let (server, tool) = name.split_once("__")?;
        Some(ToolName { server: server.to_owned(), tool: tool.to_owned() })
    };
    let through_all = name.split_once("__").and_then(|(_, rest)| split(rest));
    [through_all, split(name)].into_iter().flatten().filter(|name| name.server != CLAUDE)
}

/// The version the client writes into its transcript, where it has written one.
fn client_version(transcript: &Path) -> Option<[u64; 3]> {
    use std::io::Read;
    // The path is the client's word; anything but a plain file could make the gate wait.
    std::fs::symlink_metadata(transcript).ok().filter(std::fs::Metadata::is_file)?;
    let mut head = Vec::new();
    std::fs::File::open(transcript).ok()?.take(TRANSCRIPT_BYTES_MAX).read_to_end(&mut head).ok()?;
    let head = String::from_utf8_lossy(&head);
    let text = head.split_once("\"version\":\"")?.1.split('"').next()?;
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
