//! Runs the gate: opens it, binds its two doors, and closes the books when told to stop.

use crate::{NotEnforceable, Outcome, terminal};
use gateway::adapters::egress::HostProxy;
use gateway::adapters::mcp::http;
use gateway::config::Place;
use gateway::console;
use gateway::gate::Gate;
use gateway::local::{self, Doors};
use gateway::people::{LINK_SECONDS_MAX, Role};
use gateway::wire::record::Body;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether a gate of launches is still needed.
const BEAT: Duration = Duration::from_millis(500);
/// How often in a row nothing must be launched: ten seconds.
const UNNEEDED_BEATS: u32 = 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where HTTP is served, e.g. 127.0.0.1:8650; port 0 picks one [default: from bailiwick.toml]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Print one line of JSON when ready
    #[arg(long)]
    json: bool,
    /// End once no agent that `bailiwick run` launched is left
    #[arg(long, hide = true)]
    while_launched: bool,
}

/// A gate that serves.
pub(crate) struct Running {
    pub(crate) gate: Arc<Gate>,
    pub(crate) url: String,
    proxy: Option<HostProxy>,
    doors: Vec<tokio::task::JoinHandle<()>>,
}

pub(crate) fn run(place: Place, args: Args) -> anyhow::Result<Outcome> {
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let running = start(place, args.listen.as_deref()).await.map_err(NotEnforceable)?;
        // Heard before anyone learns that there is something to stop.
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        announce(&running, args.json).await;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = unneeded(&running.gate), if args.while_launched => {}
            () = running.gate.as_read.makes_room(), if args.while_launched => {}
        }
        running.stop().await;
        Ok(Outcome::Done)
    })
}

/// Returns once nothing was launched for a while.
async fn unneeded(gate: &Gate) {
    let mut beats = 0;
    while beats < UNNEEDED_BEATS {
        tokio::time::sleep(BEAT).await;
        let launched = gate.launches.load(std::sync::atomic::Ordering::Relaxed);
        beats = if launched == 0 { beats + 1 } else { 0 };
    }
}

/// Opens the gate and its doors.
pub(crate) async fn start(place: Place, listen: Option<&str>) -> Result<Running, String> {
    let tls = rustls::crypto::aws_lc_rs::default_provider().install_default();
    drop(tls); // A provider that is installed already is the same one.
    if let Err(error) = gateway::adapters::egress::raise_open_files() {
        tracing::warn!("many connections at a time may wait for one another: {error}");
    }
    // Values pass through this process's memory; no core dump and no process of the same user shall show it.
    if let Err(error) = vault::undumpable() {
        tracing::warn!("this process can be dumped: {error}");
    }
    let gate = Gate::open(place).await?;
    gate.tend_secrets();
    let wanted = listen.unwrap_or(&gate.config.gate.listen).to_owned();
    let address: SocketAddr = wanted
        .parse()
        .map_err(|_| format!("`{wanted}` is no address to listen at; write e.g. 127.0.0.1:8650"))?;
    if !address.ip().is_loopback() && gate.config.gate.allow_hosts.is_empty() {
        return Err(format!(
            "`{wanted}` is not a loopback address; name the hosts clients may call in `allow_hosts`"
        ));
    }
    let token = gate.place.read_token().map_err(|error| error.to_string())?;
    let local = local::bind(&gate.place.socket())?;
    let listener =
        tokio::net::TcpListener::bind(address).await.map_err(|error| format!("{wanted}: {error}"))?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    let url = format!("http://{bound}/mcp");
    let proxy = HostProxy::open(&gate).await?;
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    hosts.extend(gate.config.gate.allow_hosts.iter().cloned());
    let answers = gateway::webhooks::router(gate.clone(), hosts.clone());
    gateway::webhooks::send(&gate);
    let mut router = http::router(gate.clone(), token, hosts).merge(answers);
    let mut doors = Vec::new();
    let settings = &gate.config.console;
    if settings.enabled {
        let own = match &settings.listen {
            Some(address) => Some(own_listener(address, settings.origin.is_some()).await?),
            None => None,
        };
        let at = own.as_ref().map_or(Ok(bound), tokio::net::TcpListener::local_addr);
        match settings.site(at.map_err(|error| error.to_string())?) {
            Ok(site) => {
                gate.people.serve_at(site.clone());
                let pages = console::router(gate.clone(), site);
                match own {
                    Some(listener) => doors.push(tokio::spawn(http::serve(listener, pages))),
                    None => router = router.merge(pages),
                }
            }
            // Whoever asked for it is told; a gate for others' machines that never heard of it has none.
            Err(why) if *settings == Default::default() => tracing::warn!("there is no console: {why}"),
            Err(why) => return Err(why),
        }
    }
    doors.push(tokio::spawn(http::serve(listener, router)));
    let told = Arc::new(Doors { url: url.clone(), proxy: proxy.as_ref().map(|proxy| proxy.told().clone()) });
    doors.push(tokio::spawn(local::serve(gate.clone(), local, told)));
    Ok(Running { gate, url, proxy, doors })
}

/// An address of the console's own.
async fn own_listener(wanted: &str, is_named: bool) -> Result<tokio::net::TcpListener, String> {
    let address: SocketAddr = wanted
        .parse()
        .map_err(|_| format!("[console]: `{wanted}` is no address; write e.g. 127.0.0.1:8651"))?;
    if !address.ip().is_loopback() && !is_named {
        return Err(format!(
            "[console]: `{wanted}` is not a loopback address; say what browsers call it by in `origin`"
        ));
    }
    tokio::net::TcpListener::bind(address).await.map_err(|error| format!("{wanted}: {error}"))
}

impl Running {
    /// Closes the doors, then the books.
    pub(crate) async fn stop(self) {
        for door in &self.doors {
            door.abort();
        }
        drop(self.proxy);
        drop(std::fs::remove_file(self.gate.place.socket()));
        if let Err(error) = self.gate.history.record(None, Body::GateStopped).await {
            tracing::error!("{error}");
        }
    }
}

/// The link that lets the first person into the console, where nobody is there yet.
async fn first_link(gate: &Gate) -> Option<String> {
    if gate.people.site().is_none() || !gate.people.is_empty() {
        return None;
    }
    gate.people.link(Role::Admin, None, "terminal").await.map_err(|error| tracing::warn!("{error}")).ok()
}

async fn announce(running: &Running, json: bool) {
    let site = running.gate.people.site();
    // What is not a terminal may be a log that others read.
    let is_shown = json || std::io::stdout().is_terminal();
    let link = if is_shown { first_link(&running.gate).await } else { None };
    let place = &running.gate.place;
    let rules = running.gate.rules();
    if json {
        let mut ready =
            serde_json::json!({ "url": running.url, "token_file": place.token(), "socket": place.socket() });
        if let Some(proxy) = &running.proxy {
            ready["proxy"] = proxy.told().address.clone().into();
        }
        if let Some(site) = site {
            ready["console"] = site.front().into();
        }
        if let Some(link) = link {
            ready["console_link"] = link.into();
        }
        return terminal::say_json(&ready);
    }
    terminal::say(&format!("The gate is open at {}", running.url));
    terminal::say(&format!("  token    {}", place.token().display()));
    if let Some(proxy) = &running.proxy {
        let address = &proxy.told().address;
        terminal::say(&format!(
            "  proxy    {address}; `bailiwick proxy` prints what programs need to use it"
        ));
    }
    terminal::say(&format!(
        "  journal  {} (public key {})",
        place.journal().display(),
        place.public_key().display()
    ));
    let count = rules.policy.len();
    terminal::say(&format!(
        "  rules    {count} policies over {} reviewed operations",
        rules.inventory.tools().count()
    ));
    if count == 0 {
        terminal::say("  There is no policy, so every call is denied. Write one in .bailiwick/policy/.");
    }
    terminal::say(
        "  clients  `bailiwick mcp` as a stdio command, or the URL with `Authorization: Bearer TOKEN`",
    );
    terminal::say("  answer   `bailiwick approvals watch` in another terminal");
    if let Some(site) = site {
        terminal::say(&format!("  console  {}", site.front()));
    }
    if let Some(link) = link {
        terminal::say(&format!(
            "           nobody is let in yet; once, within {} minutes:",
            LINK_SECONDS_MAX / 60
        ));
        terminal::say(&format!("           {link}"));
    }
}

fn log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("BAILIWICK_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
