//! Shows what was reviewed, what changed since, and takes a person's review.

use crate::{Outcome, relay, terminal};
use gateway::config::{Config, Place};
use gateway::inventory::lock::{Lock, Word};
use gateway::inventory::survey::{self, Change};
use gateway::wire::control::Control;
use judge::tool::{Effect, Impact};

#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// What was reviewed
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// What the servers offer now that differs from the review
    Diff {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Accept what differs, or change what a review says
    Review {
        /// SERVER/TOOL or SERVER/instructions; with @DIGEST as `diff` printed it, only what was looked at is accepted
        names: Vec<String>,
        /// Accept everything that differs
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// What the named tools do: read or write
        #[arg(long, requires = "names")]
        effect: Option<String>,
        /// What one wrong call can cost: low or high
        #[arg(long, requires = "names")]
        impact: Option<String>,
        /// Whether it can be taken back
        #[arg(long, requires = "names")]
        reversible: Option<bool>,
    },
}

pub(crate) fn run(place: &Place, action: Action) -> anyhow::Result<Outcome> {
    let config = Config::load(&place.config)?;
    let mut lock = Lock::load(&place.config)?;
    match action {
        Action::Show { json: true } => terminal::say_json(&lock),
        Action::Show { json: false } => {
            for server in lock.servers.keys() {
                terminal::say(&terminal::coloured(server, 1));
                table(&lock, server);
            }
        }
        Action::Diff { json } => {
            let (differing, unseen) = differences(place, &config, &lock);
            if json {
                let rows: Vec<_> = differing.iter().map(|(server, change)| serde_json::json!({
                    "name": format!("{server}/{}", change.name()), "change": kind(change), "lines": lines(change),
                })).collect();
                terminal::say_json(&rows);
            } else {
                differing.iter().for_each(|(server, change)| print(server, change));
                let count = differing.len();
                terminal::say(&if count == 0 && !unseen.is_empty() {
                    format!("{} could not be looked at; nothing differs elsewhere", unseen.join(", "))
                } else if count == 0 {
                    "Nothing differs from the review.".to_owned()
                } else {
                    format!(
                        "{count} differences; accept with `bailiwick inventory review SERVER/TOOL` or `--all`"
                    )
                });
            }
            let is_all = differing.is_empty() && unseen.is_empty();
            return Ok(if is_all { Outcome::Done } else { Outcome::DoesNotHold });
        }
        Action::Review { names, all, effect, impact, reversible } => {
            let effect = effect.map(|word| parse::<Effect>(&word)).transpose()?;
            let impact = impact.map(|word| parse::<Impact>(&word)).transpose()?;
            let mut reviewed = 0;
            let chosen = |server: &str, change: &Change| {
                let name = format!("{server}/{}", change.name());
                all || names.iter().map(|given| looked_at(given)).any(|(given, digest)| {
                    given == name && digest.is_none_or(|digest| change.digest().starts_with(digest))
                })
            };
            let (differing, unseen) = differences(place, &config, &lock);
            for (server, change) in differing {
                if chosen(&server, &change) {
                    print(&server, &change);
                    survey::accept(&mut lock, &server, &change);
                    reviewed += 1;
                }
            }
            for name in &names {
                let (name, digest) = looked_at(name);
                let Some((server, tool)) = name.split_once('/') else {
                    anyhow::bail!("`{name}` is not SERVER/TOOL")
                };
                let known = lock.servers.get_mut(server).and_then(|server| server.tools.get_mut(tool));
                let Some(known) = known else {
                    if tool == "instructions" {
                        continue;
                    }
                    anyhow::bail!(
                        "server `{server}` offers no tool `{tool}`; see `bailiwick inventory diff`"
                    );
                };
                if let Some(digest) = digest.filter(|digest| !known.digest.starts_with(*digest)) {
                    anyhow::bail!(
                        "`{name}` is no longer what `{digest}` named; look again with `bailiwick inventory diff`"
                    );
                }
                if effect.is_none() && impact.is_none() && reversible.is_none() {
                    continue;
                }
                if let Some(effect) = effect {
                    known.effect = Word(effect);
                }
                if let Some(impact) = impact {
                    known.impact = Word(impact);
                }
                known.reversible = reversible.unwrap_or(known.reversible);
                known.reason = "said by the reviewer".to_owned();
                reviewed += 1;
            }
            // Whoever asked for all of it must not believe that they got it.
            let ended = if all && !unseen.is_empty() { Outcome::DoesNotHold } else { Outcome::Done };
            if reviewed == 0 {
                terminal::say("Nothing to review.");
                return Ok(ended);
            }
            lock.save(&place.config)?;
            terminal::say(&format!(
                "{reviewed} reviewed; {} is written",
                place.config.join(gateway::inventory::lock::FILE).display()
            ));
            // A gate that runs takes the review at once; one that does not will when it starts.
            match relay::ask(place, Control::Reload) {
                Ok(_) => terminal::say("the running gate has taken it"),
                Err(error) => terminal::complain(&format!("not yet in force: {error:#}")),
            }
            return Ok(ended);
        }
    }
    Ok(Outcome::Done)
}

/// A name, and the digest of what was looked at where it is given: `SERVER/TOOL@DIGEST`.
fn looked_at(given: &str) -> (&str, Option<&str>) {
    let is_digest = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match given.rsplit_once('@') {
        Some((name, digest)) if is_digest(digest) => (name, Some(digest)),
        _ => (given, None),
    }
}

fn parse<T>(word: &str) -> anyhow::Result<T>
where
    Word<T>: serde::de::DeserializeOwned,
{
    Ok(serde_json::from_value::<Word<T>>(serde_json::json!(word))?.0)
}

/// What differs from the review, and the servers that could not be looked at.
fn differences(place: &Place, config: &Config, lock: &Lock) -> (Vec<(String, Change)>, Vec<String>) {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return (Vec::new(), config.server.keys().cloned().collect());
    };
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let (mut all, mut unseen) = (Vec::new(), Vec::new());
    let surveyor = match runtime.block_on(survey::Surveyor::open(place, config)) {
        Ok(surveyor) => Some(surveyor),
        Err(why) => {
            terminal::complain(&format!("servers are looked at without network and credentials: {why}"));
            None
        }
    };
    for (name, server) in &config.server {
        match runtime.block_on(survey::look(name, server, place, surveyor.as_ref())) {
            Ok(found) => {
                for why in &found.malformed {
                    terminal::complain(&format!("server `{name}`: {}", terminal::safe(why)));
                }
                all.extend(
                    survey::changes(lock, name, &found).into_iter().map(|change| (name.clone(), change)),
                );
            }
            Err(error) => {
                terminal::complain(&format!("server `{name}`: {error}"));
                unseen.push(name.clone());
            }
        }
    }
    (all, unseen)
}

fn kind(change: &Change) -> &'static str {
    match change {
        Change::Appeared(_) => "appeared",
        Change::Changed(..) => "changed",
        Change::Gone(_) => "gone",
        Change::Instructions(_) => "instructions",
    }
}

fn lines(change: &Change) -> Vec<String> {
    let suspicions = survey::suspicions(change).into_iter().map(|says| format!("! {says}"));
    let lines = match change {
        Change::Appeared(definition) => {
            gateway::inventory::definition::difference(&serde_json::json!({}), &definition.to_json())
        }
        Change::Changed(_, lines) => lines.clone(),
        Change::Gone(_) => Vec::new(),
        Change::Instructions(text) => vec![format!("+ {}", serde_json::json!(text))],
    };
    lines.into_iter().chain(suspicions).collect()
}

fn print(server: &str, change: &Change) {
    let digest = change.digest();
    terminal::say(&format!(
        "{} {server}/{}{}",
        terminal::coloured(kind(change), 33),
        terminal::safe(change.name()),
        digest.get(..12).map(|short| format!("@{short}")).unwrap_or_default()
    ));
    for line in lines(change) {
        let code = if line.starts_with(['-', '!']) { 31 } else { 32 };
        terminal::say(&format!("    {}", terminal::coloured(&terminal::safe(&line), code)));
    }
}

/// One line per reviewed tool of a server.
pub(crate) fn table(lock: &Lock, server: &str) {
    let Some(reviewed) = lock.servers.get(server) else { return };
    for (name, tool) in &reviewed.tools {
        let effect = if tool.effect.0 == Effect::Read { "read " } else { "write" };
        let impact =
            if tool.impact.0 == Impact::Low { "low ".to_owned() } else { terminal::coloured("high", 31) };
        let back = if tool.reversible { "            " } else { "irreversible" };
        terminal::say(&format!("  {name:<28} {effect} {impact} {back}  {}", terminal::safe(&tool.reason)));
    }
    for name in reviewed.quarantine.keys() {
        terminal::say(&format!(
            "  {name:<28} {}",
            terminal::coloured("quarantined, see `bailiwick inventory diff`", 31)
        ));
    }
}
