//! One command behind the wall with places on the network that it can reach: this process answers for it as a gate of its
//! own, and the sandbox is its child. What happens on the network ends with this process.

use crate::{NotEnforceable, Outcome, terminal};
use anyhow::Context;
use gateway::adapters::egress::{Owner, Prepared};
use gateway::config::{Config, Confinement, Place};
use gateway::session::Session;
use gateway::solo;
use gateway::wire::record::Body;
use sandbox::warden::{self, Order};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Runs `order` with the places of `settings`, and the secrets that `place` configures.
pub(super) fn run(
    state: &Path,
    place: Option<&Place>,
    settings: &Confinement,
    authorities: &[PathBuf],
    order: Order,
    report: Option<&Path>,
) -> anyhow::Result<Outcome> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    drop(vault::undumpable());
    drop(gateway::adapters::egress::raise_open_files());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(answered(state, place, settings, authorities, order, report));
    // A name that is still being asked for keeps nobody waiting.
    runtime.shutdown_background();
    outcome
}

async fn answered(
    state: &Path,
    place: Option<&Place>,
    settings: &Confinement,
    authorities: &[PathBuf],
    mut order: Order,
    report: Option<&Path>,
) -> anyhow::Result<Outcome> {
    let mut config = place.map(|place| Config::load(&place.config)).transpose()?.unwrap_or_default();
    // Nobody here speaks to a server.
    config.server.clear();
    let trusted = &mut config.gate.authorities;
    for file in authorities {
        trusted.push(file.canonicalize().with_context(|| file.display().to_string())?);
    }
    let solo = solo::open(state, place, config).await.map_err(NotEnforceable)?;
    let gate = &solo.gate;
    gate.tend_secrets();
    let session = Session::new(gate.principal(), "egress", gate.conversations.alone());
    let open_session = gate.open_session(&session, "bailiwick sandbox", "");
    let owner = Owner { session, from: "sandbox".to_owned() };
    let exit =
        Prepared::prepare(gate, owner, settings, &mut order.profile).await.map_err(anyhow::Error::msg)?;

    let (command, line) = warden::command(Path::new("/proc/self/exe"), &["warden"])?;
    let mut command = tokio::process::Command::from(command);
    // Heard before there is anything they could miss.
    let mut signals = Signals::begin()?;
    let mut child =
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit()).spawn()?;
    let line = Arc::new(line);
    let kind = order.profile.network;
    let waiting = line.clone();
    let ready = tokio::task::spawn_blocking(move || {
        // A warden that refuses says why by itself, and its status says which kind of refusal it was.
        waiting.give(&order).ok().and_then(|()| waiting.ready(kind).ok())
    });
    let standing = ready.await?;
    let network = match (exit, standing.and_then(|standing| standing.sockets)) {
        (Some(exit), Some(sockets)) => Some(exit.open(sockets).map_err(anyhow::Error::msg)?),
        _ => None,
    };
    let status = loop {
        tokio::select! {
            ended = child.wait() => break ended?,
            number = signals.next() => {
                if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
                    let _ = rustix::process::kill_process(pid, number);
                }
            }
        }
    };
    if let Some(file) = report {
        let outcome = tokio::task::spawn_blocking(move || line.ended()).await?;
        let mut outcome = serde_json::to_value(&outcome)?;
        let context = network.as_ref().and_then(gateway::adapters::egress::Open::context);
        if let (Some(context), Some(members)) = (context, outcome.as_object_mut()) {
            members.insert("context".to_owned(), serde_json::to_value(context)?);
        }
        std::fs::write(file, serde_json::to_vec(&outcome)?).with_context(|| file.display().to_string())?;
    }
    // With it goes the record of what was sent to models.
    drop(network);
    drop(open_session);
    // Durable after everything noted before it: nothing of that is lost because this program ends.
    if let Err(error) = gate.history.record(None, Body::GateStopped).await {
        terminal::complain(&format!("bailiwick: the end could not be recorded: {error}"));
    }
    let refusals = gate.refusals();
    if refusals > 0 {
        terminal::complain(&format!(
            "bailiwick: {refusals} attempts to reach something else were refused; `bailiwick journal show --state {}` says which",
            gate.place.state.display()
        ));
    }
    let killed = || status.signal().and_then(|signal| u8::try_from(128 + signal).ok());
    let code = status.code().and_then(|code| u8::try_from(code).ok()).or_else(killed);
    Ok(Outcome::Ended(code.unwrap_or(u8::MAX)))
}

/// Signals that are the program's to handle. Those of a terminal reach it there; here they must end nothing.
struct Signals {
    passed_on: [(tokio::signal::unix::Signal, rustix::process::Signal); 4],
    _of_the_terminal: [tokio::signal::unix::Signal; 2],
}

impl Signals {
    fn begin() -> std::io::Result<Self> {
        use rustix::process::Signal;
        Ok(Self {
            passed_on: [
                (signal(SignalKind::terminate())?, Signal::TERM),
                (signal(SignalKind::hangup())?, Signal::HUP),
                (signal(SignalKind::user_defined1())?, Signal::USR1),
                (signal(SignalKind::user_defined2())?, Signal::USR2),
            ],
            _of_the_terminal: [signal(SignalKind::interrupt())?, signal(SignalKind::quit())?],
        })
    }

    async fn next(&mut self) -> rustix::process::Signal {
        let [(one, a), (two, b), (three, c), (four, d)] = &mut self.passed_on;
        tokio::select! {
            _ = one.recv() => *a,
            _ = two.recv() => *b,
            _ = three.recv() => *c,
            _ = four.recv() => *d,
        }
    }
}
