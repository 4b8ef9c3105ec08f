//! The door of one agent that was launched behind the wall: the only socket of the gate that it sees. Hooks, MCP and permitted
//! shell commands come in here; whatever an operator may ask is refused here and leaves an alert.

use super::Insider;
use crate::adapters::hook::{Hooks, Side};
use crate::adapters::mcp::downstream::Endpoint;
use crate::adapters::mcp::stdio;
use crate::gate::Gate;
use crate::wire::control::{CONTROL_BYTES_MAX, Opening, Reply};
use crate::wire::descriptors;
use crate::wire::launch::Ended;
use crate::wire::lines::{self, Line};
use crate::wire::record::Body;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Connections at one door at once; a further one waits to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Longest path of a socket, in bytes (`sun_path` of unix(7), less its end).
const PATH_BYTES_MAX: usize = 107;
/// How long a door takes to open at most, after its folder is there.
const DOOR_OPENS_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// The variable that tells programs inside where the door is.
pub const VARIABLE: &str = "BAILIWICK_DOOR";
/// Where a shell says in which folder it ended.
const PLACE_DESCRIPTOR: i32 = 4;
/// Longest such folder, in bytes (`PATH_MAX` of limits.h).
const PLACE_BYTES_MAX: u64 = 4_096;

/// A door that is open until this is dropped.
pub(super) struct Door {
    folder: PathBuf,
    serving: JoinHandle<()>,
}

impl Door {
    /// Opens a door in a folder of its own under `doors`, for one agent.
    ///
    /// # Errors
    /// It cannot be made, in words.
    pub(super) fn open(
        gate: &Arc<Gate>,
        hooks: &Arc<Hooks>,
        doors: &Path,
        insider: Arc<Insider>,
    ) -> Result<Self, String> {
        let folder = doors.join(&crate::random::token()[..8]);
        let in_words = |error: std::io::Error| format!("{}: {error}", folder.display());
        // Whoever reaches the folder may enter: its own name is behind folders that only this user may pass.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(doors).map_err(in_words)?;
        sweep(doors);
        std::fs::DirBuilder::new().mode(0o711).create(&folder).map_err(in_words)?;
        let socket = socket_in(&folder);
        if socket.as_os_str().len() > PATH_BYTES_MAX {
            return Err(format!("{}: is too long for a socket", socket.display()));
        }
        let listener = UnixListener::bind(&socket).map_err(in_words)?;
        let open_to_inside = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&socket, open_to_inside).map_err(in_words)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o711)).map_err(in_words)?;
        let serving = tokio::spawn(serve(gate.clone(), hooks.clone(), listener, Side::Inside(insider)));
        Ok(Self { folder, serving })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket_in(&self.folder)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Takes away the doors of gates that were killed: nobody answers at them.
fn sweep(doors: &Path) {
    for door in std::fs::read_dir(doors).into_iter().flatten().flatten() {
        let age = door.metadata().and_then(|data| data.modified()).ok().and_then(|made| made.elapsed().ok());
        // Another gate may be opening a new one.
        let is_new = age.is_none_or(|age| age < DOOR_OPENS_MAX);
        let folder = door.path();
        let answers = || std::os::unix::net::UnixStream::connect(socket_in(&folder)).is_ok();
        if !is_new && !answers() {
            drop(std::fs::remove_dir_all(&folder));
        }
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("door")
}

async fn serve(gate: Arc<Gate>, hooks: Arc<Hooks>, listener: UnixListener, side: Side) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Ends with the door: nothing that came in goes on after it.
    let mut inside = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        while inside.try_join_next().is_some() {}
        let (gate, hooks, side) = (gate.clone(), hooks.clone(), side.clone());
        inside.spawn(async move {
            connection(gate, hooks, stream, side).await;
            drop(place);
        });
    }
}

async fn connection(gate: Arc<Gate>, hooks: Arc<Hooks>, stream: UnixStream, side: Side) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    let Ok(Line::Whole(first)) = lines::next(&mut reader, CONTROL_BYTES_MAX).await else { return };
    let answer = match serde_json::from_slice::<Opening>(&first) {
        Ok(Opening::Mcp { server, conversation: _, cwd }) => {
            // Which conversation it is, is said by the agent's hooks, not by who connects.
            let endpoint = server.map_or(Endpoint::All, Endpoint::One);
            let insider = match &side {
                Side::Inside(insider) => Some(insider.clone()),
                Side::Outside => None,
            };
            let origin = stdio::Origin { conversation: None, cwd, insider };
            return stdio::serve(gate, endpoint, origin, reader, writer).await;
        }
        Ok(Opening::Hook { event, defers }) => tokio::select! {
            answer = hooks.answer(&event, side, defers) => answer.to_string(),
            _ = lines::next(&mut reader, CONTROL_BYTES_MAX) => return,
        },
        Ok(Opening::Shell(call)) => return shell(&gate, &call, reader, writer).await,
        Ok(Opening::Control(_) | Opening::Launch(_)) => {
            let (rule, detail) =
                ("operator-request-from-inside", "an agent behind the wall asked as an operator");
            let alert = Body::Alert { rule: rule.to_owned(), detail: detail.to_owned(), call: String::new() };
            gate.history.note(None, alert);
            told(&Reply::Error("this is the agent's door; operators have their own".to_owned()))
        }
        Err(error) => told(&Reply::Error(format!("the request cannot be read: {error}"))),
    };
    drop(writer.write_all(format!("{answer}\n").as_bytes()).await.and(writer.shutdown().await));
}

fn told(reply: &Reply) -> String {
    serde_json::to_string(reply).unwrap_or_default()
}

/// Runs the permitted command `call` on the streams that come next, in a sandbox of its own beside the agent's. It ends when the
/// connection does.
async fn shell(gate: &Gate, call: &str, mut reader: BufReader<OwnedReadHalf>, mut writer: OwnedWriteHalf) {
    let ready = told(&Reply::Ok(serde_json::Value::Null));
    if writer.write_all(format!("{ready}\n").as_bytes()).await.is_err() {
        return;
    }
    let stream: &UnixStream = reader.get_ref().as_ref();
    let streams = stream.async_io(Interest::READABLE, || descriptors::receive(stream.as_fd())).await;
    let reply = match streams.map_err(|error| error.to_string()).and_then(|files| start(gate, call, files)) {
        Err(why) => Reply::Error(why),
        Ok((mut child, place)) => tokio::select! {
            ended = child.wait() => match ended.map(|status| ended_in(status, &place)) {
                Ok(ended) => serde_json::to_value(ended).map_or_else(|error| Reply::Error(error.to_string()), Reply::Ok),
                Err(error) => Reply::Error(error.to_string()),
            },
            // Nobody waits for it any more. Its wall comes down with it.
            _ = lines::next(&mut reader, CONTROL_BYTES_MAX) => {
                drop(child.kill().await);
                return;
            }
        },
    };
    drop(writer.write_all(format!("{}\n", told(&reply)).as_bytes()).await.and(writer.shutdown().await));
}

/// What a command says of its end: nothing but what is whole counts.
fn ended_in(status: ExitStatus, place: &PipeReader) -> Ended {
    let mut text = Vec::new();
    // Whatever of the command is still there does not hold this up.
    let read = rustix::io::ioctl_fionbio(place, true).map_err(std::io::Error::from);
    let read = read.and_then(|()| place.take(PLACE_BYTES_MAX + 1).read_to_end(&mut text));
    let is_whole = read.is_ok() && !text.is_empty() && text.len() as u64 <= PLACE_BYTES_MAX;
    let place = String::from_utf8(text).ok().filter(|_| is_whole).map(PathBuf::from);
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ended { status: u8::try_from(code).unwrap_or(u8::MAX), place }
}

/// Starts the command on the agent's own streams. Where it ends is said on a pipe of the gate's: a file of the agent's would be
/// opened anew there, with the gate's rights.
fn start(
    gate: &Gate,
    call: &str,
    files: Vec<OwnedFd>,
) -> Result<(tokio::process::Child, PipeReader), String> {
    let in_words = |error: std::io::Error| error.to_string();
    let [input, output, error] =
        <[OwnedFd; 3]>::try_from(files).map_err(|_| "a command needs its three streams".to_owned())?;
    let (place, said) = std::io::pipe().map_err(in_words)?;
    let program = std::env::current_exe().map_err(in_words)?;
    let mut command = std::process::Command::new(program);
    command.env_clear();
    for name in ["PATH", "HOME", "XDG_DATA_HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .arg("--dir")
        .arg(&gate.place.config)
        .arg("--state")
        .arg(&gate.place.state)
        .args(["shell", "--", call])
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(error));
    sandbox::pass(&mut command, said.into(), PLACE_DESCRIPTOR);
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(in_words)?;
    Ok((child, place))
}
