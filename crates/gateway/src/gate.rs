//! The gate as a whole: rules, journal, approvals, and where it stands. Built once, shared by every adapter.
//! It owns; it does not act.

use crate::adapters::hook::Hooks;
use crate::alarms::Alarms;
use crate::approvers::Approvers;
use crate::config::{Config, Place};
use crate::conversation::Conversations;
use crate::history::History;
use crate::inventory::{self, Lock, propose};
use crate::launch::AsRead;
use crate::ledger::Ledger;
use crate::people::People;
use crate::quarantine::Reader;
use crate::receipt::close_orphans;
use crate::screen::Screen;
use crate::secrets::Secrets;
use crate::store::{Store, StoreError};
use crate::wire::record::{Body, Record};
use judge::case::CaseFile;
use judge::policy::{Policy, Source};
use judge::request::Principal;
use judge::request::path::{AbsPath, Zones};
use judge::tool::Inventory;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

/// Most case files and policy files read.
const FILES_MAX: usize = 1_000;
/// Client call ids remembered for joining hook and proxy.
const SEEN_MAX: usize = 4_096;
/// Principals whose calls are counted at once.
const PRINCIPALS_MAX: usize = 1_024;
/// Calls of one principal remembered for its rate; a faster one counts as this many.
const CALLS_REMEMBERED_MAX: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);
/// Definitions of one server kept in quarantine.
const QUARANTINE_MAX: usize = 1_000;

/// What decides: loaded together, replaced together.
pub struct Rules {
    /// The reviewed definitions.
    pub lock: Lock,
    /// The same as the judge sees them.
    pub inventory: Inventory,
    /// The policies, checked against that inventory.
    pub policy: Policy,
}

/// A running gate.
pub struct Gate {
    /// Where it lives.
    pub place: Place,
    /// Its configuration.
    pub config: Config,
    /// Its journal.
    pub history: Arc<History>,
    /// What was tried and refused.
    pub(crate) alarms: Arc<Alarms>,
    /// Its approvals.
    pub approvers: Approvers,
    /// The people who may look and answer.
    pub people: People,
    /// Which parts of the file system are whose.
    pub ground: Zones,
    /// What `~` stands for.
    pub home: AbsPath,
    /// What was refused on the way to the network.
    pub(crate) refused: AtomicUsize,
    /// Who follows the client sessions with hooks, once somebody does.
    pub(crate) hooks: OnceLock<Weak<Hooks>>,
    /// Its secrets.
    pub secrets: Arc<Secrets>,
    /// What results are searched for.
    pub screen: Screen,
    /// Who reads what nobody vouches for, where one is configured.
    pub reader: Option<Arc<Reader>>,
    /// Where values come from, by conversation.
    pub conversations: Conversations,
    /// Whom upstream servers are verified by.
    pub roots: rustls::RootCertStore,
    /// Sessions open now.
    pub sessions: AtomicUsize,
    /// Agents that run behind the wall now.
    pub launches: AtomicUsize,
    /// The configuration as it was read.
    pub as_read: AsRead,
    rules: RwLock<Arc<Rules>>,
    /// When each principal called in the last minute.
    calls: Mutex<HashMap<Principal, VecDeque<Instant>>>,
    /// Client call ids that came through a proxy, newest last.
    seen: Mutex<VecDeque<String>>,
    /// Guards `tools.lock` against two quarantines at once.
    lock_file: Mutex<()>,
}

impl Rules {
    /// Loads inventory and policies of a configuration folder and checks its cases.
    ///
    /// # Errors
    /// Every fault, in words that name the file and what to do.
    pub fn load(place: &Place, config: &Config) -> Result<Self, String> {
        let mut lock = Lock::load(&place.config).map_err(|error| error.to_string())?;
        if config.gate.claude_code {
            let claude = lock.servers.entry(inventory::CLAUDE.to_owned()).or_default();
            for (name, tool) in propose::claude_code() {
                claude.tools.entry(name).or_insert(tool);
            }
        }
        for (server, reviewed) in &lock.servers {
            for (name, tool) in &reviewed.tools {
                let shape = tool.to_tool(server, name).shape;
                // A review that says what a text means must never be lost in the schema's forms.
                if let Some((at, _)) = tool.kinds.iter().find(|(at, kind)| !shape.has_kind(at, kind.0)) {
                    return Err(format!(
                        "{}: {server}/{name}: `kinds` names `{at}`, which is no text argument of the reviewed definition; \
                         correct the path or remove it",
                        place.config.join(inventory::lock::FILE).display()
                    ));
                }
            }
        }
        let inventory = inventory::inventory(&lock);
        let sources = sources(&place.config.join("policy"))?;
        let policy = Policy::load(&sources, &inventory).map_err(|error| error.to_string())?;
        Ok(Self { lock, inventory, policy })
    }

    /// Runs the case files of `folder` against these rules; a line per case that does not hold.
    ///
    /// # Errors
    /// A case file that cannot be read.
    pub fn failing_cases(&self, place: &Place, config: &Config) -> Result<(usize, Vec<String>), String> {
        let mut failing = Vec::new();
        let mut count = 0;
        let ground = place.zones().map_err(|error| error.to_string())?;
        let facts = judge::request::Facts {
            now: 0,
            cwd: &ground.workspace,
            home: &ground.home,
            zones: &ground,
            links: &crate::facts::FileSystem,
            phase: &config.gate.phase,
            transport: "case",
            calls_last_minute: 1,
            provenance: judge::flow::Provenance::blank(),
        };
        for (path, text) in files(&place.config.join("cases"), "md")? {
            let file = CaseFile::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            for case in file.cases {
                count += 1;
                if let Err(broken) = case.check(&self.inventory, &self.policy, principal(config), facts) {
                    failing.push(format!("{}: {broken}", path.display()));
                }
            }
        }
        Ok((count, failing))
    }
}

impl Gate {
    /// Opens the gate at `place`: rules, journal, state. What an earlier run left open is closed as ambiguous.
    ///
    /// # Errors
    /// Anything that cannot be enforced, in words that name the file and what to do. Nothing is served then.
    pub async fn open(place: Place) -> Result<Arc<Self>, String> {
        let config = Config::load(&place.config).map_err(|error| error.to_string())?;
        place.private_state().map_err(|error| error.to_string())?;
        let as_read = AsRead::now(&place, &config);
        let rules = Rules::load(&place, &config)?;
        let (_, failing) = rules.failing_cases(&place, &config)?;
        if !failing.is_empty() {
            return Err(format!("the policies do not hold their own cases:\n{}", failing.join("\n")));
        }
        let ground = place.zones().map_err(|error| error.to_string())?;
        let store = Store::open(&place.store()).map_err(|error| match error {
            StoreError::Newer { .. } => error.to_string(),
            other => format!("{}: {other}", place.store().display()),
        })?;
        let store = Arc::new(store);
        let secrets = Arc::new(Secrets::open(&config, &place.secrets())?);
        let screen = Screen::open(&config.filter)?;
        let reader = Reader::open(&config)?.map(Arc::new);
        let narrowed = store.narrowed().map_err(|error| error.to_string())?;
        let conversations = Conversations::new(config.flow.known()?, config.ladder()?, narrowed);
        let roots = egress::roots(&config.gate.authorities).map_err(|error| error.to_string())?;
        let (history, recovery) = History::open(&place.journal(), &place.key())?;
        let history = Arc::new(history);
        let begun: u64 = store
            .meta("journal_size_at_start")
            .map_err(|error| error.to_string())?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let ambiguous = close_orphans(&history, orphans(&place.journal(), begun)?);
        let torn_bytes = recovery.torn.as_ref().map_or(0, |torn| torn.bytes);
        if ambiguous > 0 || torn_bytes > 0 {
            history.note(None, Body::Recovered { torn_bytes, ambiguous });
        }
        let started = Body::GateStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy: rules.policy.digest().to_owned(),
            policies: rules.policy.len(),
            inventory: rules.inventory.digest(),
            tools: rules.inventory.tools().count(),
        };
        // Durable after everything noted above, so the next start looks for orphans from here.
        let leaf = history.record(None, started).await.map_err(|error| error.to_string())?;
        store
            .set_meta("journal_size_at_start", &leaf.index().to_string())
            .map_err(|error| error.to_string())?;
        let alarms = Arc::new(Alarms::new(history.clone()));
        // What the journal does not know of was written by somebody else.
        let ledger = Ledger::read(&place.journal(), &config.approvals, crate::clock::seconds())?;
        store.vouch(&ledger, alarms.clone(), crate::clock::seconds()).map_err(|error| error.to_string())?;
        let people = People::new(store.clone(), history.clone());
        let approvers = Approvers::new(
            store,
            history.clone(),
            Duration::from_secs(config.gate.ask_wait_seconds),
            i64::try_from(config.gate.ask_open_seconds).unwrap_or(i64::MAX / 4),
        );
        Ok(Arc::new(Self {
            alarms,
            approvers,
            people,
            home: ground.home.clone(),
            ground,
            history,
            refused: AtomicUsize::new(0),
            hooks: OnceLock::new(),
            secrets,
            screen,
            reader,
            conversations,
            roots,
            sessions: AtomicUsize::new(0),
            launches: AtomicUsize::new(0),
            as_read,
            rules: RwLock::new(Arc::new(rules)),
            calls: Mutex::default(),
            seen: Mutex::default(),
            lock_file: Mutex::new(()),
            config,
            place,
        }))
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads inventory and policies again; the old ones stay in force when the new ones have a fault.
    ///
    /// # Errors
    /// The faults.
    pub async fn reload(&self) -> Result<(), String> {
        let rules = Rules::load(&self.place, &self.config)?;
        let (_, failing) = rules.failing_cases(&self.place, &self.config)?;
        if !failing.is_empty() {
            return Err(failing.join("\n"));
        }
        let body = Body::PolicyLoaded {
            policy: rules.policy.digest().to_owned(),
            policies: rules.policy.len(),
            inventory: rules.inventory.digest(),
            tools: rules.inventory.tools().count(),
        };
        self.history.record(None, body).await.map_err(|error| error.to_string())?;
        let before = self.rules();
        for (server, reviewed) in &rules.lock.servers {
            for (tool, now) in &reviewed.tools {
                let old = before.lock.servers.get(server).and_then(|server| server.tools.get(tool));
                let same = old.is_some_and(|old| {
                    old.digest == now.digest && old.effect == now.effect && old.impact == now.impact
                });
                if !same {
                    let (server, tool, definition) = (server.clone(), tool.clone(), now.digest.clone());
                    self.history
                        .note(None, Body::Reviewed { server, tool, definition, by: "operator".to_owned() });
                }
            }
        }
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }

    /// Counts one call of `principal` and returns how many there were in the last minute, this one included, over all
    /// of its sessions.
    pub fn count_call(&self, principal: &Principal) -> i64 {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= PRINCIPALS_MAX {
            calls.retain(|_, recent| recent.back().is_some_and(|at| at.elapsed() < MINUTE));
        }
        let recent = calls.entry(principal.clone()).or_default();
        while recent.front().is_some_and(|at| at.elapsed() > MINUTE) {
            recent.pop_front();
        }
        if recent.len() < CALLS_REMEMBERED_MAX {
            recent.push_back(Instant::now());
        }
        i64::try_from(recent.len()).unwrap_or(i64::MAX)
    }

    /// How many calls of `principal` there were in the last minute. Counts nothing.
    pub fn recent_calls(&self, principal: &Principal) -> i64 {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = calls
            .get(principal)
            .map_or(0, |recent| recent.iter().filter(|at| at.elapsed() <= MINUTE).count());
        i64::try_from(recent).unwrap_or(i64::MAX)
    }

    /// Remembers that the client's call of this id came through the gate.
    pub fn note_seen(&self, client_call: &str) {
        if client_call.is_empty() {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(client_call.to_owned());
    }

    /// Whether the client's call of this id came through the gate.
    pub fn saw(&self, client_call: &str) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|seen| seen == client_call)
    }

    /// How often something was refused on its way to the network.
    pub fn refusals(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Fetches secrets and keeps them fresh for as long as the runtime lives.
    pub fn tend_secrets(&self) {
        tokio::spawn(self.secrets.clone().tend());
    }

    /// The principal of MCP clients.
    pub fn principal(&self) -> Principal {
        principal(&self.config)
    }

    /// Puts definitions that appeared or changed into quarantine, each once: recorded, and kept in `tools.lock` for
    /// review.
    pub async fn quarantine(
        self: &Arc<Self>,
        server: &str,
        found: Vec<(inventory::Definition, &'static str)>,
    ) {
        if found.is_empty() {
            return;
        }
        let (gate, server) = (self.clone(), server.to_owned());
        let kept = tokio::task::spawn_blocking(move || gate.quarantine_now(&server, found)).await;
        if kept.is_err() {
            tracing::error!("the quarantine could not be kept");
        }
    }

    fn quarantine_now(&self, server: &str, found: Vec<(inventory::Definition, &'static str)>) {
        let _one_at_a_time = self.lock_file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lock = match Lock::load(&self.place.config) {
            Ok(lock) => lock,
            Err(error) => return tracing::error!("the quarantine could not be read: {error}"),
        };
        let reviewed = lock.servers.entry(server.to_owned()).or_default();
        let mut changed = false;
        for (definition, why) in found {
            let json = definition.to_json();
            let known = reviewed.quarantine.get(&definition.name) == Some(&json);
            let is_reviewed =
                reviewed.tools.get(&definition.name).is_some_and(|tool| tool.digest == definition.digest);
            if known || is_reviewed || reviewed.quarantine.len() >= QUARANTINE_MAX {
                continue;
            }
            reviewed.quarantine.insert(definition.name.clone(), json);
            changed = true;
            self.history.note(
                None,
                Body::Quarantined {
                    server: server.to_owned(),
                    tool: definition.name.clone(),
                    definition: definition.digest.clone(),
                    why: why.to_owned(),
                },
            );
        }
        if changed && let Err(error) = lock.save(&self.place.config) {
            tracing::error!("the quarantine could not be written: {error}");
        }
    }

    /// Records that a session begins; the guard records its end.
    pub fn open_session(
        self: &Arc<Self>,
        session: &crate::session::Session,
        client: &str,
        era: &str,
    ) -> SessionGuard {
        let Principal { agent, user, groups: _ } = session.principal().clone();
        let transport = session.transport().to_owned();
        let client = client.chars().take(200).collect();
        let body = Body::SessionOpened { transport, agent, user, client, era: era.to_owned() };
        self.history.note(Some(session.id()), body);
        self.sessions.fetch_add(1, Ordering::Relaxed);
        SessionGuard { gate: self.clone(), session: session.id().to_owned() }
    }
}

/// Ends a session's record when dropped.
pub struct SessionGuard {
    gate: Arc<Gate>,
    session: String,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.gate.history.note(Some(&self.session), Body::SessionClosed);
        self.gate.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The principal a configuration gives to MCP clients.
pub fn principal(config: &Config) -> Principal {
    let user = config
        .gate
        .user
        .clone()
        .or_else(|| std::env::var("USER").ok())
        .unwrap_or_else(|| "operator".to_owned());
    Principal { agent: config.gate.agent.clone(), user, groups: config.gate.groups.clone() }
}

/// The policy files of a folder, in order of name. A missing folder is no policies: everything is denied.
///
/// # Errors
/// A file that cannot be read.
pub fn sources(folder: &Path) -> Result<Vec<Source>, String> {
    let name = |path: &Path| format!("policy/{}", path.file_name().unwrap_or_default().to_string_lossy());
    Ok(files(folder, "cedar")?.into_iter().map(|(path, text)| Source { name: name(&path), text }).collect())
}

/// The files with this extension in `folder`, in order of name, each with its text. A missing folder holds none.
///
/// # Errors
/// A file that cannot be read, or too many.
pub fn files(folder: &Path, extension: &str) -> Result<Vec<(PathBuf, String)>, String> {
    let in_words = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(in_words(folder, error)),
    };
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry.map_err(|error| in_words(folder, error))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        return Err(format!("{}: more than {FILES_MAX} .{extension} files", folder.display()));
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            std::fs::read_to_string(&path).map_err(|error| in_words(&path, error)).map(|text| (path, text))
        })
        .collect()
}

/// Permitted calls since leaf `from` that have no outcome.
fn orphans(journal: &Path, from: u64) -> Result<Vec<(Option<String>, String)>, String> {
    let reader = match journal::Reader::open(journal) {
        Ok(reader) => reader,
        Err(_) if from == 0 => return Ok(Vec::new()),
        Err(fault) => return Err(format!("{}: {fault}", journal.display())),
    };
    let mut open: HashMap<String, Option<String>> = HashMap::new();
    for entry in reader.entries(from..reader.size()) {
        let (_, bytes) = entry.map_err(|fault| format!("{}: {fault}", journal.display()))?;
        let Ok(record) = serde_json::from_slice::<Record>(&bytes) else { continue };
        match record.body {
            Body::Decision(decided) if decided.decision != "deny" => {
                open.insert(decided.call, record.session);
            }
            Body::Outcome { call, .. } => {
                open.remove(&call);
            }
            _ => {}
        }
    }
    Ok(open.into_iter().map(|(call, session)| (session, call)).collect())
}
