//! An agent launched behind the wall: its whole process is confined, its every way out is the gate, and it sees of the gate only
//! its own door. What it may do there is decided call by call, like everywhere.

mod claude;
mod current;
mod door;
mod insider;

pub use current::AsRead;
pub use door::VARIABLE;
pub use insider::Insider;

use crate::adapters::egress::{Open, Owner, Prepared};
use crate::adapters::hook::Hooks;
use crate::config::confine::{Access, Confinement, Reachable, Site};
use crate::config::place;
use crate::gate::Gate;
use crate::session::Session;
use crate::wire::control::{CONTROL_BYTES_MAX, Reply};
use crate::wire::launch::{Launch, Launched, Word};
use crate::wire::lines::{self, Line};
use crate::wire::record::Body;
use current::Current;
use door::Door;
use sandbox::warden::Order;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// What a client needs to live behind the wall: made by the adapter of each client that has one.
struct Fitted<'a> {
    gate: &'a Gate,
    door: &'a Path,
    settings: &'a mut Confinement,
    environment: &'a mut BTreeMap<String, String>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    notes: Vec<String>,
}

/// Fits what one client needs; says in words what cannot be.
type Adapter = fn(&mut Fitted<'_>) -> Result<(), String>;

/// The adapters, by the name of the client's program.
const ADAPTERS: [(&str, Adapter); 1] = [("claude", claude::fit)];

/// The adapter for a program of this name, or for the client that is named for it.
fn adapter(program: &str, client: Option<&str>) -> Result<Option<Adapter>, String> {
    let find = |name: &str| ADAPTERS.iter().find(|(known, _)| *known == name).map(|(_, adapter)| *adapter);
    match client {
        None => Ok(find(program)),
        Some(client) => find(client).map(Some).ok_or_else(|| {
            let known: Vec<&str> = ADAPTERS.iter().map(|(name, _)| *name).collect();
            format!("no client `{client}` is known; there is: {}", known.join(", "))
        }),
    }
}

/// Serves one launch over its operator's connection: the door is open and the network there for as long as that stands.
pub(crate) async fn serve(
    gate: Arc<Gate>,
    hooks: Arc<Hooks>,
    launch: Launch,
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) {
    let reply = |value: Result<serde_json::Value, String>| {
        let reply = value.map_or_else(Reply::Error, Reply::Ok);
        format!("{}\n", serde_json::to_string(&reply).unwrap_or_default())
    };
    let _ends = Ends::begin(&gate);
    let prepared = match current::settle(&gate).await {
        Ok(Current::Yes(notes)) => prepare(&gate, &hooks, &launch, notes).await,
        Ok(Current::No) => {
            drop(writer.write_all(reply(Ok(serde_json::Value::Null)).as_bytes()).await);
            // Held until this gate has ended: that is when the next may begin.
            return std::future::pending().await;
        }
        Err(why) => Err(why),
    };
    let (launched, (_door, insider), exit) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => return drop(writer.write_all(reply(Err(why)).as_bytes()).await),
    };
    let order = serde_json::to_value(&launched).map_err(|error| error.to_string());
    if writer.write_all(reply(order).as_bytes()).await.is_err() {
        return;
    }
    let network = match exit {
        None => None,
        Some(exit) => match network(exit, &reader).await {
            Ok(open) => Some(open),
            Err(why) => return drop(writer.write_all(reply(Err(why)).as_bytes()).await),
        },
    };
    // One line says how it ended; the end of the connection says the same without words.
    let ended = loop {
        let Ok(Line::Whole(line)) = lines::next(&mut reader, CONTROL_BYTES_MAX).await else { break None };
        match serde_json::from_slice(&line) {
            Ok(Word::Given(input)) => insider.give(&input),
            Ok(Word::Ended(how)) => break Some(how),
            Err(_) => break None,
        }
    };
    let context = network.as_ref().and_then(Open::context);
    drop(network);
    if let Some(how) = ended {
        let server = launch.profile.clone().unwrap_or_else(|| name_of(&launch.command));
        drop(gate.history.record(None, Body::Confined { server: format!("agent {server}"), how }).await);
        let context = serde_json::to_value(context).map_err(|error| error.to_string());
        drop(writer.write_all(reply(context).as_bytes()).await);
    }
}

/// Counts a launch, or another client of a gate that ends with its last, until it is over.
pub(crate) struct Ends(Arc<Gate>);

impl Ends {
    pub(crate) fn begin(gate: &Arc<Gate>) -> Self {
        gate.launches.fetch_add(1, Ordering::Relaxed);
        Self(gate.clone())
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.launches.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn network(exit: Prepared, reader: &BufReader<OwnedReadHalf>) -> Result<Open, String> {
    let stream: &UnixStream = reader.get_ref().as_ref();
    let receive = || sandbox::native::network::Sockets::receive(stream.as_fd());
    let sockets = stream.async_io(Interest::READABLE, receive).await;
    exit.open(sockets.map_err(|error| format!("the sockets of the sandbox did not arrive: {error}"))?)
}

fn name_of(command: &[String]) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name);
    program.map_or_else(|| "agent".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The wall for `launch`, the agent's door, and its way out.
async fn prepare(
    gate: &Arc<Gate>,
    hooks: &Arc<Hooks>,
    launch: &Launch,
    notes: Vec<String>,
) -> Result<(Launched, (Door, Arc<Insider>), Option<Prepared>), String> {
    let program = name_of(&launch.command);
    let name = launch.profile.clone().unwrap_or_else(|| program.clone());
    let configured = gate.config.agent.get(&name);
    if launch.profile.is_some() && configured.is_none() {
        let known: Vec<&str> = gate.config.agent.keys().map(String::as_str).collect();
        return Err(format!(
            "there is no [agent.{name}] in bailiwick.toml; there {}",
            if known.is_empty() { "is none".to_owned() } else { format!("are {}", known.join(", ")) }
        ));
    }
    let mut settings = configured.cloned().unwrap_or_else(Confinement::for_agent);
    // Keys that its commands do not see are not for it either.
    settings.hide.extend(gate.config.shell.hide.iter().cloned());
    if launch.overlay.is_some() {
        settings.workspace = Access::Overlay;
    }
    if settings.network == Reachable::Host {
        return Err(format!(
            "[agent.{name}]: an agent on the host's network passes no gate; list the places it needs in `network`"
        ));
    }
    let place = &gate.place;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let is_apart = settings.workspace == Access::Overlay;
    let arguments = launch.command.get(1..).unwrap_or_default();
    let insider = Arc::new(Insider::new(&gate.conversations, is_apart, arguments));
    let door = Door::open(gate, hooks, &place.reserves().join("doors"), insider.clone())?;
    let mut environment = launch.environment.clone();
    environment.insert(VARIABLE.to_owned(), door.socket().display().to_string());
    let socket = door.socket();
    let mut fitted = Fitted {
        gate,
        door: &socket,
        settings: &mut settings,
        environment: &mut environment,
        files: BTreeMap::new(),
        notes,
    };
    if let Some(fit) = adapter(&program, launch.client.as_deref())? {
        fit(&mut fitted)?;
    }
    let (files, notes) = (fitted.files, fitted.notes);
    let overlay = launch.overlay.as_deref().unwrap_or("agent");
    let overlay =
        place::overlay_of(&place.reserves(), place.project(), overlay).map_err(|error| error.to_string())?;
    let home = place.home_of(&format!("agent-{name}"));
    place.make_private(&home).map_err(|error| error.to_string())?;
    let hidden = place.hidden();
    let site = Site { workspace: place.project(), home: Some(&home), overlay: &overlay, hidden: &hidden };
    let mut profile = settings.profile(site, &launch.command, &environment)?;
    profile.read.extend([door.folder().to_owned(), own]);
    profile.files.extend(files);
    let session = Session::new(gate.principal(), "egress", gate.conversations.alone());
    let owner = Owner { session, from: format!("agent {name}") };
    let exit = Prepared::prepare(gate, owner, &settings, &mut profile).await?;
    let command = sandbox::Command {
        program: launch.command.first().cloned().unwrap_or_default(),
        arguments: launch.command.iter().skip(1).cloned().collect(),
        cwd: launch.cwd.starts_with(place.project()).then(|| launch.cwd.clone()),
    };
    let launched = Launched {
        order: Order { profile, command, state: place.reserves(), runtime: settings.runtime() },
        is_captured: exit.is_some(),
        records: gate.history.size(),
        overlay: (settings.workspace == Access::Overlay).then_some(overlay),
        notes,
    };
    Ok((launched, (door, insider), exit))
}
