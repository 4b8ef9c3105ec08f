//! The gate's own socket: operators, hooks and line-based MCP clients of the same user come in here.
//! A process of another user is turned away before it has said a word.

use crate::adapters::egress::Prepared;
use crate::adapters::hook::{Hooks, Shown, Side};
use crate::adapters::mcp::downstream::Endpoint;
use crate::adapters::mcp::stdio;
use crate::approvers::{Answer, By};
use crate::facts::Scene;
use crate::gate::Gate;
use crate::launch;
use crate::people::{LINK_SECONDS_MAX, Role};
use crate::phases::NotMoved;
use crate::pipeline::Stop;
use crate::quarantine::{self, Content};
use crate::session::Session;
use crate::store::StoreError;
use crate::wire::control::{CONTROL_BYTES_MAX, Control, Link, Opening, Phases, Read, Reply, Status, Waiting};
use crate::wire::lines::{self, Line};
use crate::wire::record::Body;
use judge::approval::Approver;
use judge::approval::phase::NoMove;
use judge::request::tree::Tree;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

/// How long somebody may wait for something to change.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a command may print nothing until the line it ended is shown.
const PAUSE: Duration = Duration::from_secs(1);

/// Binds the socket at `path`, replacing one that nobody answers at.
///
/// # Errors
/// A gate that runs already, or a path that cannot be bound; the text says which.
pub fn bind(path: &Path) -> Result<UnixListener, String> {
    let in_words = |why: String| format!("{}: {why}", path.display());
    if path.as_os_str().len() > 100 {
        return Err(in_words("is too long for a socket; give a shorter --state".to_owned()));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(in_words("a gate is running here already".to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(in_words(error.to_string()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(|error| in_words(error.to_string()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| in_words(error.to_string()))?;
    Ok(listener)
}

/// The gate's other doors, which operators ask for here.
pub struct Doors {
    /// Where MCP is served over HTTP.
    pub url: String,
    /// The proxy, where there is one.
    pub proxy: Option<crate::wire::control::Proxy>,
}

/// Serves connections until the task is dropped.
pub async fn serve(gate: Arc<Gate>, listener: UnixListener, doors: Arc<Doors>) {
    let hooks = Arc::new(Hooks::new(gate.clone()));
    drop(gate.hooks.set(Arc::downgrade(&hooks)));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a local connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let peer = stream.peer_cred().map(|peer| (peer.uid(), peer.pid()));
        match peer {
            Ok((uid, _)) if uid == rustix::process::geteuid().as_raw() => {}
            Ok((uid, pid)) => {
                let process = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
                gate.alarms.raise("socket-other-user", &format!("user {uid}{process} was turned away"));
                continue;
            }
            Err(_) => continue,
        }
        let (gate, hooks, doors) = (gate.clone(), hooks.clone(), doors.clone());
        tokio::spawn(async move { connection(gate, hooks, doors, stream).await });
    }
}

async fn connection(gate: Arc<Gate>, hooks: Arc<Hooks>, doors: Arc<Doors>, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    let Ok(Line::Whole(first)) = lines::next(&mut reader, CONTROL_BYTES_MAX).await else { return };
    let answer = match serde_json::from_slice::<Opening>(&first) {
        Ok(Opening::Mcp { server, conversation, cwd }) => {
            let endpoint = server.map_or(Endpoint::All, Endpoint::One);
            let origin = stdio::Origin { conversation, cwd, insider: None };
            let _needed = launch::Ends::begin(&gate);
            return stdio::serve(gate, endpoint, origin, reader, writer).await;
        }
        Ok(Opening::Hook { event, defers }) => tokio::select! {
            answer = hooks.answer(&event, Side::Outside, defers) => answer.to_string(),
            // A hook that ended no longer waits: nothing may be granted to it.
            _ = lines::next(&mut reader, CONTROL_BYTES_MAX) => return,
        },
        Ok(Opening::Launch(launch)) => return launch::serve(gate, hooks, *launch, reader, writer).await,
        Ok(Opening::Shell(_)) => refused("only an agent behind the wall has its commands run here"),
        Ok(Opening::Control(Control::Exit(call))) => {
            return match hooks.exit(&call) {
                Ok(exit) => hold_open(exit, reader, writer).await,
                Err(why) => {
                    let line = serde_json::to_string(&Reply::Error(why.to_owned())).unwrap_or_default();
                    drop(writer.write_all(format!("{line}\n").as_bytes()).await);
                }
            };
        }
        Ok(Opening::Control(Control::Shown(call))) => {
            return match hooks.shown(&call) {
                Ok(shown) => show(shown, reader, writer).await,
                Err(why) => {
                    let line = serde_json::to_string(&Reply::Error(why)).unwrap_or_default();
                    drop(writer.write_all(format!("{line}\n").as_bytes()).await);
                }
            };
        }
        Ok(Opening::Control(control)) => {
            let reply = answer(&gate, &hooks, &doors, control).await;
            serde_json::to_string(&reply.unwrap_or_else(Reply::Error)).unwrap_or_default()
        }
        Err(error) => serde_json::to_string(&Reply::Error(format!("the request cannot be read: {error}")))
            .unwrap_or_default(),
    };
    drop(writer.write_all(format!("{answer}\n").as_bytes()).await.and(writer.shutdown().await));
}

fn refused(why: &str) -> String {
    serde_json::to_string(&Reply::Error(why.to_owned())).unwrap_or_default()
}

/// Takes over the sockets that come next, and answers at them until the other side is gone.
async fn hold_open(exit: Prepared, mut reader: BufReader<OwnedReadHalf>, mut writer: OwnedWriteHalf) {
    let ready = serde_json::to_string(&Reply::Ok(serde_json::Value::Null)).unwrap_or_default();
    if writer.write_all(format!("{ready}\n").as_bytes()).await.is_err() {
        return;
    }
    let stream: &UnixStream = reader.get_ref().as_ref();
    let receive = || sandbox::native::network::Sockets::receive(stream.as_fd());
    let sockets = match stream.async_io(Interest::READABLE, receive).await {
        Ok(sockets) => sockets,
        Err(error) => return tracing::warn!("the sockets of a sandbox did not arrive: {error}"),
    };
    match exit.open(sockets) {
        Ok(_open) => drop(lines::next(&mut reader, CONTROL_BYTES_MAX).await),
        Err(why) => tracing::warn!("a sandbox has no network: {why}"),
    }
}

/// Takes what a command prints and gives back what may be shown of it. A command that pauses at the end of a line is shown that
/// line; otherwise it is held back until enough came after it.
async fn show(mut shown: Shown, mut reader: BufReader<OwnedReadHalf>, mut writer: OwnedWriteHalf) {
    let ready = serde_json::to_string(&Reply::Ok(serde_json::Value::Null)).unwrap_or_default();
    if writer.write_all(format!("{ready}\n").as_bytes()).await.is_err() {
        return;
    }
    let mut chunk = vec![0; 64 * 1024];
    let mut line_ended = false;
    loop {
        let read = tokio::time::timeout(PAUSE, reader.read(&mut chunk)).await;
        let (out, ended) = match read {
            Err(_) if line_ended => (shown.flush(), false),
            Err(_) => continue,
            Ok(Ok(count @ 1..)) => (shown.push(&chunk[..count]), false),
            Ok(_) => (shown.flush(), true),
        };
        line_ended = matches!(read, Ok(Ok(count @ 1..)) if chunk[count - 1] == b'\n');
        if writer.write_all(&out).await.is_err() || ended {
            return drop(writer.shutdown().await);
        }
    }
}

async fn answer(gate: &Arc<Gate>, hooks: &Hooks, doors: &Doors, control: Control) -> Result<Reply, String> {
    let url = &doors.url;
    let approvers = &gate.approvers;
    match control {
        Control::Status => told(Ok::<_, String>(status(gate, url))),
        Control::Approvals => told(approvers.list()),
        Control::Approval(id) => told(approvers.show(&id)),
        Control::Wait { seen } => told(waited(gate, seen).await),
        Control::Grant { id, by, .. } if !gate.config.approvals.terminal => {
            Err(no_terminal(gate, &format!("{by} would have granted {id}")))
        }
        Control::Grant { id, by, more } => {
            told(approvers.answer(&id, Answer::Grant { more }, operator(by)).await)
        }
        Control::Refuse { id, by, reason } => {
            told(approvers.answer(&id, Answer::Refuse { reason }, operator(by)).await)
        }
        Control::Leave { id, by, to } => {
            told(approvers.answer(&id, Answer::Leave { to }, operator(by)).await)
        }
        Control::Withdraw { id, by } => told(gate.revoke(&id, operator(by)).await),
        Control::Redeem { token } => told(gate.redeem(&token).await),
        Control::Grants => told(approvers.standing()),
        Control::Phases { conversation } => {
            let open = match conversation {
                Some(name) => vec![gate.conversation(Some(&name)).map_err(|error| error.to_string())?],
                None => gate.conversations.all(),
            };
            told(Ok::<_, String>(gate.phases(&open)))
        }
        Control::Phase { conversation, to, by, seconds, writes } => {
            told(phase(gate, conversation, &to, &by, (seconds, writes)).await)
        }
        Control::Exit(_) | Control::Shown(_) => Err("this is not asked for here".to_owned()),
        Control::Fetch(call) => told(hooks.fetch(&call)),
        Control::Ran { call, how } => {
            hooks.ran(&call, how);
            told(Ok::<_, String>(()))
        }
        Control::Said { conversation, text, scope } => {
            let digest = judge::digest::hex(text.as_bytes());
            let prompt = Body::Prompt { bytes: text.len(), digest };
            gate.history.record(Some(&conversation), prompt).await.map_err(|error| error.to_string())?;
            let conversation = gate.conversations.named(&conversation);
            conversation.hear(&text);
            if let Some(scope) = scope {
                conversation.provenance().narrow(scope);
            }
            told(Ok::<_, String>(()))
        }
        Control::Quarantine { text, question, schema } => {
            told(quarantined(gate, text, question, schema).await)
        }
        Control::Proxy => told(
            doors
                .proxy
                .as_ref()
                .ok_or("this gate has no proxy; give bailiwick.toml a [proxy] and start it again"),
        ),
        Control::ConsoleLink { role, name } if !may_let_in(gate) => {
            let whom = name.as_deref().unwrap_or("somebody");
            Err(no_terminal(gate, &format!("{whom} would have been let in as {role}")))
        }
        Control::Revoke(name) if !may_let_in(gate) => {
            Err(no_terminal(gate, &format!("{name} would have been turned out")))
        }
        Control::ConsoleLink { role, name } => {
            let role =
                Role::named(&role).ok_or_else(|| format!("`{role}` is none of viewer, approver, admin"))?;
            let link = gate.people.link(role, name, "terminal").await;
            told(link.map(|link| Link { link, seconds: LINK_SECONDS_MAX }))
        }
        Control::People => told(gate.people.list()),
        Control::Revoke(name) => told(gate.people.revoke(&name, "terminal").await),
        Control::Reload => told(gate.reload().await.map(|()| status(gate, url))),
    }
}

/// Whether a process of this user may say who grants: where it may grant itself, and as long as nobody else can.
fn may_let_in(gate: &Gate) -> bool {
    gate.config.approvals.terminal || gate.people.is_empty()
}

/// Why a process of this user may not grant, which leaves an alert.
fn no_terminal(gate: &Gate, detail: &str) -> String {
    gate.alarms.raise("grant-over-the-socket", detail);
    "grants are given in the console, by webhooks and by tokens here; `terminal` in [approvals] says whether by processes of this \
     user too"
        .to_owned()
}

/// Narrows where that is narrower, widens as this operator says otherwise.
async fn phase(
    gate: &Arc<Gate>,
    conversation: Option<String>,
    to: &str,
    by: &str,
    limits: (Option<i64>, Option<u32>),
) -> Result<Phases, NotMoved> {
    let conversation = gate.conversation(conversation.as_deref())?;
    match gate.narrow(&conversation, to, by).await {
        Err(NotMoved::NoMove(NoMove::Wider(..))) if !gate.config.approvals.terminal => {
            return Err(NotMoved::Which(no_terminal(gate, &format!("{by} would have widened to {to}"))));
        }
        Err(NotMoved::NoMove(NoMove::Wider(..))) => gate.widen(&conversation, to, by, limits).await?,
        moved => moved?,
    }
    Ok(gate.phases(&[conversation]))
}

/// Whoever speaks over this socket is this user, whatever name they give: they are one person.
fn operator(name: String) -> By {
    let identity = format!("uid {}", rustix::process::geteuid().as_raw());
    By { who: Approver { name, identity }, channel: "terminal" }
}

/// What waits, once it is not as it was at `seen`, or after [`WAIT_MAX`].
async fn waited(gate: &Gate, seen: u64) -> Result<Waiting, StoreError> {
    let mut changes = gate.approvers.changes();
    drop(tokio::time::timeout(WAIT_MAX, changes.wait_for(|now| *now != seen)).await);
    let seen = *changes.borrow();
    Ok(Waiting { seen, approvals: gate.approvers.list()? })
}

/// Has the operator's text read, judged and recorded like a call of an agent.
async fn quarantined(
    gate: &Arc<Gate>,
    text: String,
    question: String,
    schema: serde_json::Value,
) -> Result<Read, String> {
    let conversation = gate.conversations.alone();
    let session = Session::new(gate.principal(), "local", conversation);
    let _guard = gate.open_session(&session, "bailiwick quarantine", "");
    let arguments = serde_json::json!({ "text": text, "question": question, "schema": schema });
    let arguments = Tree::parse(arguments.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let raw = session.call(quarantine::name(), arguments);
    let content = || async { Ok(Content { text, from: quarantine::name() }) };
    match quarantine::call(gate, &session, raw, &Scene::default(), content).await {
        Ok(released) => serde_json::from_str(&released.value.answer.canonical())
            .map(Read::Answer)
            .map_err(|error| error.to_string()),
        Err(Stop::Denied(denied)) => Ok(Read::Refused(format!("{} (record {})", denied.why, denied.call))),
        Err(Stop::Failed(failed)) => Ok(Read::Refused(failed.detail)),
        Err(Stop::Deferred(approval)) => {
            Ok(Read::Refused(format!("approval {approval} waits for an answer")))
        }
    }
}

fn told(found: Result<impl serde::Serialize, impl std::fmt::Display>) -> Result<Reply, String> {
    let found = found.map_err(|error| error.to_string())?;
    serde_json::to_value(found).map(Reply::Ok).map_err(|error| error.to_string())
}

fn status(gate: &Gate, url: &str) -> Status {
    let rules = gate.rules();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        policies: rules.policy.len(),
        tools: rules.inventory.tools().count(),
        sessions: gate.sessions.load(Ordering::Relaxed),
        records: gate.history.size(),
        url: url.to_owned(),
    }
}
