//! `bailiwick sandbox`: one command behind the wall, in any folder, and what its overlay changed.
//! It asks no running gate; what it confines is as confined as a server of the gate.

mod network;

use crate::{Outcome, relay, terminal};
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use gateway::config::Confinement;
use gateway::config::confine::{Access, Reachable, Site};
use gateway::config::reach::Place as Named;
use gateway::config::{Place, place};
use gateway::wire::control::Control;
use gateway::wire::record::Confined;
use sandbox::native::Standard;
use sandbox::overlay::{Allow, Applied, Kind, Node, Overlay, Selection, shown};
use sandbox::warden::{self, Order};
use sandbox::{Layer, RunError, Sandbox};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The overlay's name where none is given.
const OVERLAY: &str = "default";

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    wall: Wall,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(clap::Args)]
struct Wall {
    /// The folder to work in [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What may happen to that folder [default: read-write]
    #[arg(long, value_enum)]
    access: Option<Changes>,
    /// Keep changes apart, under this name; see `sandbox diff`
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = OVERLAY)]
    overlay: Option<String>,
    /// Show this folder or file as well
    #[arg(long, value_name = "PATH")]
    read: Vec<PathBuf>,
    /// Show this folder or file as well, and let it be changed
    #[arg(long, value_name = "PATH")]
    write: Vec<PathBuf>,
    /// Keep this path in the workspace as it is, whether or not it exists
    #[arg(long, value_name = "PATH")]
    protect: Vec<PathBuf>,
    /// `none`, or `host` for the host's whole network
    #[arg(long, value_enum, conflicts_with = "allow")]
    network: Option<Net>,
    /// Let this place be reached: `[https://|tls://|http://|tcp://]NAME[:PORT]`
    #[arg(long, value_name = "PLACE")]
    allow: Vec<String>,
    /// Let this address or range be reached under the names of --allow, although it is not public
    #[arg(long, value_name = "RANGE", requires = "allow")]
    private: Vec<String>,
    /// Dial this address for the names of --allow, instead of asking for it
    #[arg(long, value_name = "ADDRESS", requires = "allow")]
    address: Option<std::net::IpAddr>,
    /// A file with certificate authorities that places may have besides the system's
    #[arg(long, value_name = "FILE")]
    authority: Vec<PathBuf>,
    /// Put this secret of the project's bailiwick.toml in where it is bound, although no variable names it
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
    /// Set a variable inside, or pass on the one of this name; `${secret:NAME}` in it becomes a placeholder
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// An unpacked OCI root file system instead of the host's programs
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// `native`, or an OCI runtime by name or path
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// All memory together, in MiB
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Processes and threads at once
    #[arg(long, value_name = "COUNT")]
    processes: Option<u32>,
    /// Processor time, in hundredths of one core
    #[arg(long, value_name = "PERCENT")]
    cpu: Option<u32>,
    /// From start to end, in seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Standard output and error together, in MiB
    #[arg(long, value_name = "MIB")]
    output: Option<u64>,
    /// Do without this layer where the host lacks it
    #[arg(long, value_name = "LAYER")]
    waive: Vec<String>,
    /// Settings as in `[shell]` of bailiwick.toml; options given here go before them
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Write how it went, and which layers held, to this file as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Changes {
    /// The folder is not there
    None,
    /// It can be read
    ReadOnly,
    /// It can be changed, but for protected paths
    ReadWrite,
}

#[derive(Clone, Copy, ValueEnum)]
enum Net {
    None,
    Host,
}

#[derive(Subcommand)]
enum Action {
    /// Show what an overlay changed
    Diff {
        #[command(flatten)]
        which: Which,
        /// Names and notes only
        #[arg(long)]
        names: bool,
        /// Print JSON, one line for each change
        #[arg(long)]
        json: bool,
    },
    /// Make changes of an overlay in the folder itself
    Apply {
        #[command(flatten)]
        which: Which,
        /// Protected paths too, when they are named
        #[arg(long)]
        protected: bool,
        /// Links that lead outside the folder too
        #[arg(long)]
        links_outside: bool,
        /// Over what changed in the folder meanwhile
        #[arg(long)]
        conflicts: bool,
    },
    /// Forget changes of an overlay
    Discard {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(clap::Args)]
struct Which {
    /// The overlay
    #[arg(long, value_name = "NAME", default_value = OVERLAY)]
    overlay: String,
    /// The folder it belongs to [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Only these paths, relative to the folder
    paths: Vec<PathBuf>,
}

pub(crate) fn run(dir: Option<&Path>, chosen: Option<&Path>, args: Args) -> anyhow::Result<Outcome> {
    let state = place::sandbox_state(chosen)?;
    match args.action {
        None => confine(dir, chosen, &state, &args.wall, &args.command),
        Some(Action::Diff { which, names, json }) => {
            diff(&which.open(&state)?, &which.selection(), names, json)
        }
        Some(Action::Apply { which, protected, links_outside, conflicts }) => {
            let allow = Allow { protected, links_outside, conflicts };
            tell(&which.open(&state)?.apply(&which.selection(), allow)?)
        }
        Some(Action::Discard { which }) => tell(&which.open(&state)?.discard(&which.selection())?),
    }
}

fn confine(
    dir: Option<&Path>,
    chosen: Option<&Path>,
    state: &Path,
    wall: &Wall,
    command: &[String],
) -> anyhow::Result<Outcome> {
    let settings = wall.settings()?;
    let workspace = folder(wall.workspace.as_deref())?;
    let overlay = place::overlay_of(state, &workspace, wall.overlay.as_deref().unwrap_or(OVERLAY))?;
    let hidden = [state.to_owned()];
    let environment = wall.environment()?;
    let site = Site { workspace: &workspace, home: None, overlay: &overlay, hidden: &hidden };
    let profile = settings.profile(site, command, &environment).map_err(anyhow::Error::msg)?;
    let here = std::env::current_dir()?;
    let order = Order {
        command: sandbox::Command {
            program: command[0].clone(),
            arguments: command[1..].to_vec(),
            cwd: (settings.workspace != Access::None && here.starts_with(&workspace)).then_some(here),
        },
        profile,
        state: place::sandbox_state(None).unwrap_or_else(|_| state.to_owned()),
        runtime: settings.runtime(),
    };
    let names_secrets =
        environment.values().chain(settings.env.values()).any(|text| text.contains("${secret:"));
    if matches!(settings.network, Reachable::Places(_)) || names_secrets || !settings.secrets.is_empty() {
        let place = Place::find(dir, chosen).ok();
        return network::run(
            state,
            place.as_ref(),
            &settings,
            &wall.authority,
            order,
            wall.report.as_deref(),
        );
    }
    let ran = order.start().and_then(|sandbox| sandbox.run_last(&order.command, None));
    if let (Some(file), Ok(outcome)) = (&wall.report, &ran) {
        std::fs::write(file, serde_json::to_vec(outcome)?).with_context(|| file.display().to_string())?;
    }
    let status = match ran {
        Ok(outcome) => {
            for limit in &outcome.reached {
                terminal::complain(&format!("bailiwick: the limit on {limit} was reached"));
            }
            warden::status(&outcome.end)
        }
        Err(error) => {
            terminal::complain(&format!("bailiwick: {error}"));
            match error {
                RunError::Unenforceable(_) => 3,
                error => warden::refusal_status(&error),
            }
        }
    };
    Ok(Outcome::Ended(status))
}

impl Wall {
    fn settings(&self) -> anyhow::Result<Confinement> {
        let mut settings = match &self.profile {
            None => Confinement { output_mib: None, ..Confinement::for_shell() },
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
                toml::from_str(&text).with_context(|| file.display().to_string())?
            }
        };
        if let Some(access) = self.access {
            settings.workspace = match access {
                Changes::None => Access::None,
                Changes::ReadOnly => Access::ReadOnly,
                Changes::ReadWrite => Access::ReadWrite,
            };
        }
        if self.overlay.is_some() {
            anyhow::ensure!(self.access.is_none(), "give --access or --overlay, not both");
            settings.workspace = Access::Overlay;
        }
        settings.read.extend(self.read.iter().cloned());
        settings.write.extend(self.write.iter().cloned());
        settings.protect.extend(self.protect.iter().cloned());
        if let Some(network) = self.network {
            settings.network = match network {
                Net::None => Reachable::None,
                Net::Host => Reachable::Host,
            };
        }
        if !self.allow.is_empty() {
            let place = |to: &String| Named::Table {
                to: to.clone(),
                private: self.private.clone(),
                address: self.address,
            };
            let mut places: Vec<Named> = self.allow.iter().map(place).collect();
            if let Reachable::Places(configured) = settings.network {
                places.extend(configured);
            }
            settings.network = Reachable::Places(places);
        }
        settings.secrets.extend(self.secret.iter().cloned());
        for name in &self.waive {
            let layer = Layer::ALL.iter().find(|layer| layer.name() == name).with_context(|| {
                let names: Vec<&str> =
                    Layer::ALL.iter().filter(|layer| layer.is_waivable()).map(|layer| layer.name()).collect();
                format!("`{name}` is no layer; those that can be waived are {}", names.join(", "))
            })?;
            settings.waive.push(*layer);
        }
        settings.rootfs = self.rootfs.clone().or(settings.rootfs);
        settings.backend = self.backend.clone().unwrap_or(settings.backend);
        settings.memory_mib = self.memory.or(settings.memory_mib);
        settings.processes = self.processes.or(settings.processes);
        settings.cpu_percent = self.cpu.or(settings.cpu_percent);
        settings.seconds = self.seconds.or(settings.seconds);
        settings.output_mib = self.output.or(settings.output_mib);
        Ok(settings)
    }

    fn environment(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.env
            .iter()
            .map(|variable| match variable.split_once('=') {
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => {
                    let value = std::env::var(variable).with_context(|| format!("--env {variable}"))?;
                    Ok((variable.clone(), value))
                }
            })
            .collect()
    }
}

impl Which {
    fn open(&self, state: &Path) -> anyhow::Result<Overlay> {
        let workspace = folder(self.workspace.as_deref())?;
        let mut folder = place::overlay_of(state, &workspace, &self.overlay)?;
        if !folder.exists() {
            // What `bailiwick run` keeps apart is kept with the user's, wherever the state is.
            folder = place::overlay_of(&place::sandbox_state(None)?, &workspace, &self.overlay)?;
        }
        anyhow::ensure!(
            folder.exists(),
            "there is no overlay `{}` of {}; `bailiwick sandbox --overlay {} -- CMD` makes one",
            self.overlay,
            workspace.display(),
            self.overlay
        );
        Ok(Overlay::open(&folder, &workspace)?)
    }

    fn selection(&self) -> Selection {
        if self.paths.is_empty() { Selection::All } else { Selection::Paths(self.paths.clone()) }
    }
}

fn diff(overlay: &Overlay, which: &Selection, names: bool, json: bool) -> anyhow::Result<Outcome> {
    let wanted = |path: &Path| match which {
        Selection::Paths(paths) => paths.iter().any(|wanted| path.starts_with(wanted)),
        Selection::All | Selection::Shown(_) => true,
    };
    for change in overlay.changes()?.iter().filter(|change| wanted(&change.path)) {
        let path = shown(change.path.as_os_str().as_bytes());
        let what = match change.kind {
            Kind::Added(Node::Folder) => "new folder",
            Kind::Added(_) => "new",
            Kind::Modified => "changed",
            Kind::Deleted(_) => "deleted",
            Kind::Replaced { .. } => "replaced",
            Kind::Mode(_) => "mode",
        };
        let notes: Vec<&str> = change.risks.iter().map(|risk| risk.note()).collect();
        if json {
            let size =
                |entry: &Option<_>| entry.as_ref().map(|entry: &sandbox::overlay::Entry| entry.size_bytes);
            terminal::say_json(&serde_json::json!({
                "path": path, "change": what, "risks": notes, "protected": change.is_protected(),
                "bytes_before": size(&change.before), "bytes_after": size(&change.after),
                "host_changed": change.host_changed,
            }));
            continue;
        }
        if names {
            terminal::say(&format!("{what:<10} {}", terminal::coloured(&path, 1)));
            for note in notes {
                terminal::say(&format!("           {} {note}", terminal::coloured("note", 33)));
            }
        } else {
            let mut text = Vec::new();
            overlay.diff(change, &mut text)?;
            terminal::say(String::from_utf8_lossy(&text).trim_end());
        }
        if change.host_changed {
            let conflict = terminal::coloured("conflict", 31);
            terminal::say(&format!("           {conflict} the folder's own version changed meanwhile"));
        }
    }
    Ok(Outcome::Done)
}

/// Says what became of each change; not everything done is not done.
fn tell(applied: &[Applied]) -> anyhow::Result<Outcome> {
    let mut left = 0;
    for one in applied {
        let path = shown(one.path.as_os_str().as_bytes());
        match &one.outcome {
            sandbox::overlay::Outcome::Done => terminal::say(&format!("done    {path}")),
            sandbox::overlay::Outcome::Skipped(why) => {
                left += 1;
                terminal::say(&format!("{}    {path}: {why}", terminal::coloured("left", 33)));
            }
        }
    }
    terminal::say(&format!("{} done, {left} left", applied.len() - left));
    Ok(if left == 0 { Outcome::Done } else { Outcome::DoesNotHold })
}

fn folder(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = named.unwrap_or(Path::new("."));
    path.canonicalize().with_context(|| path.display().to_string())
}

/// Runs one program as the child of a gate, which gives the order over descriptor 3.
pub(crate) fn serve() -> Outcome {
    Outcome::Ended(warden::serve())
}

/// Fetches the permitted command `call` from the gate and runs it. Where it ended is said on descriptor 4, if that is open,
/// for the client's shell to go there.
pub(crate) fn shell(gate: &Place, call: &str) -> anyhow::Result<Outcome> {
    let order = relay::ask(gate, Control::Fetch(call.to_owned()))?;
    let order: Order = serde_json::from_value(order).context("the gate's order cannot be read")?;
    let ran = order.start().map_err(anyhow::Error::from).and_then(|mut sandbox| {
        // What it prints is searched by the gate before the client has it; without a gate there is nothing to print to.
        let (output, shown) = relay::shown(gate, call, std::io::stdout().as_fd().try_clone_to_owned()?)?;
        let (error, shown_error) = relay::shown(gate, call, std::io::stderr().as_fd().try_clone_to_owned()?)?;
        let standard = Standard::new(std::io::stdin().as_fd().try_clone_to_owned()?, output, error);
        // The command has its network for as long as this connection stands; here its sockets are only passed on.
        let _network =
            sandbox.take_sockets().map(|sockets| relay::hand_over(gate, call, &sockets)).transpose()?;
        let ran = sandbox.run_on(standard, &order.command, None);
        for shown in [shown, shown_error] {
            if !shown.join().unwrap_or(false) {
                terminal::complain(
                    "bailiwick: the gate ended; what the command printed after that was withheld",
                );
            }
        }
        Ok(ran)
    });
    let outcome = match ran? {
        Ok(outcome) => outcome,
        Err(error) => {
            terminal::complain(&format!("bailiwick: {error}"));
            return Ok(Outcome::Ended(warden::refusal_status(&error)));
        }
    };
    for limit in &outcome.reached {
        terminal::complain(&format!("bailiwick: the limit on {limit} was reached"));
    }
    // A record that cannot be completed says so itself when its receipt is closed.
    drop(relay::ask(gate, Control::Ran { call: call.to_owned(), how: Confined::from(&outcome) }));
    let stays = |place: &PathBuf| {
        let workspace = order.profile.workspace.as_ref();
        let inside = workspace.is_some_and(|workspace| place.starts_with(&workspace.path));
        inside && place.canonicalize().is_ok_and(|real| real == *place && real.is_dir())
    };
    if let Some(place) = outcome.place.as_ref().filter(|place| stays(place)) {
        say_place(place);
    }
    Ok(Outcome::Ended(warden::status(&outcome.end)))
}

/// Tells the shell of a client where its command ended, if it listens.
pub(crate) fn say_place(place: &Path) {
    drop(std::fs::write("/proc/self/fd/4", place.as_os_str().as_bytes()));
}

/// The layers of the wall on this host: what each buys, and for the first that cannot be made, the remedy.
pub(crate) fn layers(
    state: Option<&Path>,
) -> anyhow::Result<Result<sandbox::Layers, sandbox::Unenforceable>> {
    let profile = sandbox::Profile { network: sandbox::Network::Captured, ..sandbox::Profile::default() };
    match Sandbox::start(&profile, &place::sandbox_state(state)?) {
        Ok(sandbox) => Ok(Ok(sandbox.layers().clone())),
        Err(RunError::Unenforceable(missing)) => Ok(Err(missing)),
        Err(error) => Err(error.into()),
    }
}
