//! Signing in to a remote server, and out again: prints the address that a person opens, waits for the browser to come back,
//! and leaves the tokens in the encrypted store. No token is ever printed.

mod landing;

use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::{Config, Place};
use gateway::secrets::Secrets;
use landing::Landing;
use std::process::{Command, Stdio};
use std::time::Duration;
use vault::{Forgotten, Login, Logins};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server, as bailiwick.toml names it
    server: String,
    /// Ask for this as well, besides what was granted before; several at once are separated by spaces
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Open the address in the desktop's browser
    #[arg(long)]
    open: bool,
    /// Where the browser comes back to on 127.0.0.1, for authorization servers that want to know it beforehand [default: any]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// How long to wait for the browser, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
}

pub(crate) fn sign_in(place: &Place, args: &Args) -> anyhow::Result<Outcome> {
    let config = Config::load(&place.config)?;
    let Args { server, scopes, open, port, wait } = args;
    let login = configured(&config, server)?.with_context(|| {
        format!(
            "server `{server}` has no `auth` in bailiwick.toml; add `auth = \"oauth\"` to [server.{server}]"
        )
    })?;
    let more = vault::scopes(&scopes.join(" "))
        .context("`--scope` is a word, or words separated by spaces, without `\"` and `\\`")?;
    let logins = logins(place, &config)?;
    let wait = Duration::from_secs(*wait);
    runtime()?.block_on(async {
        let found = logins.discover(&login).await?;
        let landing = Landing::bind(*port).await?;
        let attempt = logins.begin(&login, found, &landing.address(), &more).await?;
        let address = attempt.address();
        terminal::say(&format!("Server `{server}` leads to the authorization server {}", terminal::safe(&attempt.issuer())));
        terminal::say(&match attempt.scopes() {
            [] => "It is asked for whatever it grants by itself.".to_owned(),
            scopes => format!("It is asked for: {}", terminal::safe(&scopes.join(", "))),
        });
        terminal::say("Open this address in a browser on this machine, and only if you asked for it:\n");
        terminal::say(&address);
        terminal::say(&format!("\nThe answer is awaited for {} s.", wait.as_secs()));
        if *open {
            open_browser(&address);
        }
        let arrival = tokio::time::timeout(wait, landing.arrival()).await.ok().flatten().with_context(|| {
            format!("no answer came within {} s; run `bailiwick login {server}` again", wait.as_secs())
        })?;
        let outcome = logins.finish(attempt, arrival.query()).await;
        arrival.answer(outcome.is_ok()).await;
        let done = outcome?;
        let scopes = if done.scopes.is_empty() { String::new() } else { format!(", for {}", done.scopes.join(", ")) };
        terminal::say(&format!("Signed in to server `{server}`{}.", terminal::safe(&scopes)));
        terminal::say(&match (done.is_renewable, done.seconds) {
            (true, _) => "The token is renewed by itself; a running gate uses it from now on.".to_owned(),
            (false, Some(seconds)) => format!(
                "The token ends in {seconds} s and cannot be renewed: then sign in again. A running gate uses it from now on."
            ),
            (false, None) => "The token cannot be renewed. A running gate uses it from now on.".to_owned(),
        });
        Ok(Outcome::Done)
    })
}

pub(crate) fn sign_out(place: &Place, server: &str) -> anyhow::Result<Outcome> {
    let config = Config::load(&place.config)?;
    let login = configured(&config, server).ok().flatten();
    let logins = logins(place, &config)?;
    let forgotten = runtime()?.block_on(logins.forget(server, login.as_ref()))?;
    terminal::say(&match forgotten {
        Forgotten::Revoked => format!("Signed out of server `{server}`; its authorization server knows."),
        Forgotten::NotOffered => format!(
            "Signed out of server `{server}`. Its authorization server offers no revocation, so the token ends by itself."
        ),
        Forgotten::NotRevoked(why) => format!(
            "Signed out of server `{server}` here, but its authorization server did not revoke the tokens: {}; do it there.",
            terminal::safe(&why)
        ),
    });
    Ok(Outcome::Done)
}

/// Whether somebody is signed in to each server that wants it.
pub(crate) fn standing(place: &Place, config: &Config) -> Vec<(String, Result<(), String>)> {
    let wanting = config.server.iter().filter(|(_, server)| server.auth.is_some());
    let ask = |name: &str| -> Result<(), String> {
        let login = configured(config, name).map_err(|error| error.to_string())?;
        let login = login.ok_or("it has no `auth`")?;
        let secrets = Secrets::open(config, &place.secrets())?;
        let logins = secrets.logins().ok_or("there is no secret store")?;
        logins.standing(&login).map_err(|error| error.to_string())
    };
    wanting.map(|(name, _)| (name.clone(), ask(name))).collect()
}

/// The login that the configuration describes for `server`, if it has one.
fn configured(config: &Config, server: &str) -> anyhow::Result<Option<Login>> {
    let known = config.server.get(server);
    let known = known.with_context(|| format!("no server is called `{server}` in bailiwick.toml"))?;
    known.login(server).map_err(anyhow::Error::msg)
}

fn logins(place: &Place, config: &Config) -> anyhow::Result<Logins> {
    // Tokens pass through this process's memory.
    if let Err(error) = vault::undumpable() {
        terminal::complain(&format!("this process can be dumped: {error}"));
    }
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let secrets = Secrets::open(config, &place.secrets()).map_err(anyhow::Error::msg)?;
    secrets.logins().cloned().context("nobody is signed in to any server here")
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Leaves the rest to the desktop; whether it does anything is seen there.
fn open_browser(address: &str) {
    let mut command = Command::new("xdg-open");
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        terminal::complain(&format!("xdg-open: {error}; open the address yourself"));
    }
}
