//! A server that is a program of ours: JSON-RPC lines on its standard streams, its errors in the log.
//! It runs confined unless the operator switched that off, and it dies with the connection.

use super::{Host, Inbound, UpstreamError, related};
use crate::adapters::egress;
use crate::arguments::Given;
use crate::config::confine::Site;
use crate::config::{Place, Server};
use crate::gate::Gate;
use crate::screen::Hidden;
use crate::secrets::Secrets;
use crate::wire::frame::{FRAME_BYTES_MAX, Kind, Object};
use crate::wire::lines::{self, Line as Text};
use rustix::process::Pid;
use sandbox::warden::{self, Line, Order};
use sandbox::{Layers, Network};
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};

/// How long a server may refuse to read before it counts as gone, in seconds.
const WRITE_SECONDS_MAX: u64 = 30;
/// Lines of its standard error kept in the log per connection.
const ERROR_LINES_MAX: usize = 200;
/// Longest line of standard error, in bytes.
const ERROR_LINE_BYTES_MAX: usize = 4 * 1024;
/// Requests that may wait on one server at once.
const WAITING_MAX: usize = 4_096;
/// How long a confined server's wall may take to stand, in seconds.
const WALL_SECONDS_MAX: u64 = 30;
/// Variables of the gate's own environment that an unconfined server gets.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR"];

type Waiting = Mutex<HashMap<u64, oneshot::Sender<Object>>>;

/// A running server.
pub(super) struct Child {
    stdin: tokio::sync::Mutex<ChildStdin>,
    shared: Arc<Shared>,
    /// Reaped when this is dropped, so its id names no other process before.
    _process: tokio::process::Child,
    /// A confined server's life hangs on it.
    _line: Option<Arc<Line>>,
    /// Its way to the network, where it has one.
    exit: Option<egress::Open>,
    /// The layers that hold for it.
    pub(super) layers: Option<Layers>,
}

/// What was started, not yet spoken to.
struct Started {
    process: tokio::process::Child,
    line: Option<Arc<Line>>,
    layers: Option<Layers>,
    exit: Option<egress::Open>,
}

struct Shared {
    waiting: Waiting,
    alive: AtomicBool,
    group: Option<Pid>,
}

impl Child {
    /// Starts `command` of the server configured as `name`.
    pub(super) async fn start(
        name: &str,
        command: &[String],
        server: &Server,
        place: &Place,
        owner: Option<&Host>,
        inbox: mpsc::Sender<Inbound>,
    ) -> Result<Self, UpstreamError> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| UpstreamError::Broken("its command is empty".into()))?;
        let Started { mut process, line, layers, exit } = if server.sandbox.enabled {
            confined(name, command, server, place, owner).await?
        } else {
            unconfined(program, arguments, server, place.project())?
        };
        let stdin = process.stdin.take().expect("stdin was asked to be a pipe");
        let stdout = process.stdout.take().expect("stdout was asked to be a pipe");
        let stderr = process.stderr.take().expect("stderr was asked to be a pipe");
        let group = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let shared = Arc::new(Shared { waiting: Mutex::default(), alive: AtomicBool::new(true), group });
        let secrets = owner.map(|host| host.gate.secrets.clone());
        tokio::spawn(read(stdout, shared.clone(), inbox, secrets.clone()));
        tokio::spawn(log(stderr, program.clone(), owner.map(|host| host.gate.clone())));
        let stdin = tokio::sync::Mutex::new(stdin);
        Ok(Self { stdin, shared, _process: process, _line: line, exit, layers })
    }

    pub(super) fn given(&self, name: &vault::SecretName) -> Given {
        match (&self.layers, &self.exit) {
            (None, _) => Given::Value,
            (Some(_), None) => Given::Placeholder(None),
            (Some(_), Some(exit)) => Given::Placeholder(exit.placeholder(name)),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Relaxed)
    }

    pub(super) async fn request(&self, id: u64, message: Object) -> Result<Object, UpstreamError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.shared.waiting();
            if waiting.len() >= WAITING_MAX {
                return Err(UpstreamError::Broken(format!("{WAITING_MAX} requests wait for it already")));
            }
            waiting.insert(id, answer);
        }
        // Whatever happens to the caller, nobody waits for this id afterwards.
        let _forget = Forget { shared: &self.shared, id };
        if !self.is_alive() {
            return Err(UpstreamError::Gone);
        }
        self.send(&message).await?;
        answered.await.map_err(|_| UpstreamError::Gone)
    }

    pub(super) async fn send(&self, message: &Object) -> Result<(), UpstreamError> {
        let mut line = message.to_raw().get().as_bytes().to_vec();
        // White space between tokens may hold line breaks; in JSON they occur nowhere else.
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        line.push(b'\n');
        let mut stdin = self.stdin.lock().await;
        let write = async { stdin.write_all(&line).await.and(stdin.flush().await) };
        match tokio::time::timeout(Duration::from_secs(WRITE_SECONDS_MAX), write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(UpstreamError::Gone),
            Err(_) => {
                // A half-written line cannot be taken back.
                self.shared.end();
                Err(UpstreamError::Silent(WRITE_SECONDS_MAX))
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// An ordinary process of the gate's user, because the operator wants it so.
fn unconfined(
    program: &str,
    arguments: &[String],
    server: &Server,
    project: &Path,
) -> Result<Started, UpstreamError> {
    let process = Command::new(program)
        .args(arguments)
        .current_dir(server.cwd.as_deref().unwrap_or(project))
        .env_clear()
        .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(&server.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .map_err(UpstreamError::Start)?;
    Ok(Started { process, line: None, layers: None, exit: None })
}

/// A process behind a wall, with a home of its own that it finds again.
async fn confined(
    name: &str,
    command: &[String],
    server: &Server,
    place: &Place,
    owner: Option<&Host>,
) -> Result<Started, UpstreamError> {
    let refuse = |why: String| UpstreamError::Unconfined(why);
    let home = place.home_of(name);
    place.make_private(&home).map_err(|error| refuse(error.to_string()))?;
    let hidden = place.hidden();
    let site = Site {
        workspace: place.project(),
        home: Some(&home),
        overlay: &place.overlay(name),
        hidden: &hidden,
    };
    let mut profile = server.sandbox.profile(site, command, &server.env).map_err(refuse)?;
    for path in server.sandbox.unseen(&profile, command) {
        tracing::warn!(
            "server `{name}` names {path}, which it cannot see; add it to `read` or `write` of [server.{name}.sandbox]"
        );
    }
    let exit = match owner {
        Some(host) => host.exit(name, &server.sandbox, &mut profile).await.map_err(refuse)?,
        // Nobody answers for what it would do there.
        None if profile.network == Network::Captured => {
            profile.network = Network::None;
            None
        }
        None => None,
    };
    let network = profile.network;
    let order = Order {
        command: sandbox::Command {
            program: command[0].clone(),
            arguments: command[1..].to_vec(),
            cwd: server.cwd.clone(),
        },
        profile,
        state: place.reserves(),
        runtime: server.sandbox.runtime(),
    };
    let (mut warden, line) =
        warden::command(Path::new("/proc/self/exe"), &["warden"]).map_err(UpstreamError::Start)?;
    warden.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Command::from(warden);
    let process = process.process_group(0).spawn().map_err(UpstreamError::Start)?;
    let line = Arc::new(line);
    let waiting = line.clone();
    let ready = tokio::task::spawn_blocking(move || {
        waiting.give(&order).map_err(|error| error.to_string())?;
        waiting.ready(network).map_err(|error| error.to_string())
    });
    let standing = tokio::time::timeout(Duration::from_secs(WALL_SECONDS_MAX), ready)
        .await
        .map_err(|_| UpstreamError::Silent(WALL_SECONDS_MAX))?
        .map_err(|_| UpstreamError::Gone)?
        .map_err(refuse)?;
    let exit = match (exit, standing.sockets) {
        (Some(exit), Some(sockets)) => Some(exit.open(sockets).map_err(refuse)?),
        _ => None,
    };
    Ok(Started { process, line: Some(line), layers: Some(standing.layers), exit })
}

struct Forget<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Object>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody will be answered any more, and the server goes, with what it started.
    fn end(&self) {
        self.waiting().clear();
        if let Some(group) = self.group.filter(|_| self.alive.swap(false, Ordering::SeqCst)) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

async fn read(
    stdout: impl AsyncRead + Unpin,
    shared: Arc<Shared>,
    inbox: mpsc::Sender<Inbound>,
    secrets: Option<Arc<Secrets>>,
) {
    let mut reader = BufReader::with_capacity(64 * 1024, stdout);
    loop {
        let line = match lines::next(&mut reader, FRAME_BYTES_MAX).await {
            Ok(Text::Whole(line)) => line,
            Ok(Text::TooLong) => {
                tracing::warn!("a server sent a message over {FRAME_BYTES_MAX} bytes; it was dropped");
                continue;
            }
            Ok(Text::End) | Err(_) => break,
        };
        let line = match cleaned(line, secrets.as_deref()) {
            Ok(line) => line,
            Err(why) => {
                tracing::error!("what a server said was withheld: {why}");
                break;
            }
        };
        let message =
            match Object::parse(&line).and_then(|message| message.kind().map(|kind| (message, kind))) {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!("a server wrote a line that is no message ({error}); it was dropped");
                    continue;
                }
            };
        match message {
            (response, Kind::Response) => {
                let id = response.get("id").and_then(|id| id.get().parse().ok());
                match id.and_then(|id: u64| shared.waiting().remove(&id)) {
                    // The caller may have given up in this moment.
                    Some(answer) => drop(answer.send(response)),
                    None => tracing::debug!("a server answered a request that nobody waits for"),
                }
            }
            (message, Kind::Request | Kind::Notification) => {
                if !shared.alive.load(Ordering::Relaxed) {
                    break;
                }
                let related = related(&message);
                if inbox.send(Inbound::Message { message, related }).await.is_err() {
                    break;
                }
            }
        }
    }
    shared.end();
}

/// A line without values, where there is somebody who knows them.
fn cleaned(line: Vec<u8>, secrets: Option<&Secrets>) -> Result<Vec<u8>, String> {
    match secrets {
        Some(secrets) => secrets.clean(line),
        None => Ok(line),
    }
}

async fn log(stderr: impl AsyncRead + Unpin, program: String, gate: Option<Arc<Gate>>) {
    let hidden = Hidden::new();
    let mut reader = BufReader::new(stderr);
    let mut kept = 0;
    loop {
        match lines::next(&mut reader, ERROR_LINE_BYTES_MAX).await {
            Ok(Text::Whole(line)) if kept < ERROR_LINES_MAX => {
                kept += 1;
                let line = cleaned(line, gate.as_ref().map(|gate| &*gate.secrets));
                let line = line.unwrap_or_else(|why| format!("[withheld: {why}]").into_bytes());
                let line = String::from_utf8_lossy(&line);
                let line =
                    gate.as_ref().map_or_else(|| line.to_string(), |gate| gate.screen.said(&hidden, &line));
                tracing::info!(target: "server", "{program}: {}", line.escape_debug());
            }
            // A flood is read and thrown away, so that the server is never blocked by it.
            Ok(Text::Whole(_) | Text::TooLong) => {}
            Ok(Text::End) | Err(_) => return,
        }
    }
}
