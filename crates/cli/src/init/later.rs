//! `bailiwick init --keys move` where there is a configuration already: only keys are looked for, and only what names them changes.
//! Everything else of `bailiwick.toml` stays as somebody wrote it, comments too.

use super::keep::Keeping;
use super::record::{self, Change, Record};
use super::survey::{Told, find};
use super::{Args, agents, asked, choice};
use crate::{Outcome, terminal};
use anyhow::Context;
use gateway::config::secret::Secret;
use gateway::config::{Config, Place};
use gateway::inventory::lock::Lock;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use toml_edit::{DocumentMut, value};

pub(super) fn run(place: &Place, args: &Args, is_elsewhere: (bool, bool)) -> anyhow::Result<Outcome> {
    let lock = Lock::load(&place.config)?;
    let before = Config::load(&place.config)?;
    let found = find(place, args)?;
    if !found.has_keys() {
        terminal::say("No keys were found.");
        return Ok(Outcome::Done);
    }
    found.say();
    if !args.yes && std::io::stdin().is_terminal() && !asked("Put them into the vault? [y/N]")? {
        terminal::say("Nothing was written.");
        return Ok(Outcome::DoesNotHold);
    }
    let reviewed = lock.servers.iter().filter(|(_, reviewed)| !reviewed.tools.is_empty());
    let told =
        Told { reached: reviewed.map(|(name, _)| name.clone()).collect(), is_elsewhere, is_new: false };
    let mut keeping = Keeping::open(&place.secrets())?;
    let mut config = before.clone();
    let changes = found.keep_servers(place, &mut keeping, &mut config, &told)?;
    for path in found.keep_all(place, &mut keeping)? {
        if !config.shell.hide.contains(&path) {
            config.shell.hide.push(path);
        }
    }
    agents::bind_all(&keeping, &mut config);
    let file = place.config.join(gateway::config::FILE);
    let toml = Change::of(&file, place.project(), |text| {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        rewritten(text, &before, &config).map(String::into_bytes)
    });
    let toml = toml.map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
    carry_out(place, &keeping, &toml, &changes)
        .context("init ended half-way; `bailiwick uninstall` puts back what it did")?;
    choice("A gate that runs reads this when it is started anew.");
    Ok(Outcome::Done)
}

fn carry_out(place: &Place, keeping: &Keeping, toml: &Change, changes: &[Change]) -> anyhow::Result<()> {
    let _turn = record::turn(place)?;
    let secrets = keeping.fresh.iter().map(ToString::to_string);
    let (mut record, is_ours) = match Record::read(place)? {
        Some(record) => (record, true),
        None => (Record::begin(place, Vec::new(), Vec::new(), &[], Vec::new())?, false),
    };
    record.secrets.extend(secrets);
    // The configuration goes with its folder, where that is ours; else it is a file that was there before.
    let record = if is_ours {
        record.will_rewrite(toml);
        record.with(place, changes)?
    } else {
        record.with(place, std::slice::from_ref(toml))?.with(place, changes)?
    };
    keeping.store()?;
    // Before the clients that then rely on it.
    if is_ours {
        toml.make_own()?
    } else {
        toml.make(&record)?
    }
    changes.iter().try_for_each(|change| change.make(&record))
}

/// `text`, which says `before`, so that it says `after`.
fn rewritten(text: &str, before: &Config, after: &Config) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    for (name, server) in &after.server {
        let Some(old) = before.server.get(name) else { continue };
        for (table, new, old) in [("env", &server.env, &old.env), ("headers", &server.headers, &old.headers)]
        {
            for (key, text) in new.iter().filter(|(key, text)| old.get(*key) != Some(*text)) {
                document["server"][name.as_str()][table][key.as_str()] = value(text.as_str());
            }
        }
    }
    let hides = after.shell.hide != before.shell.hide;
    let has_shell = document.contains_key("shell");
    if hides && has_shell {
        let paths = after.shell.hide.iter().map(|path| path.display().to_string());
        document["shell"]["hide"] = value(paths.collect::<toml_edit::Array>());
    }
    let mut text = document.to_string();
    if hides && !has_shell {
        append(&mut text, "shell", &after.shell)?;
    }
    let new: BTreeMap<&str, &Secret> = after
        .secret
        .iter()
        .filter(|(name, setting)| before.secret.get(*name) != Some(*setting))
        .map(|(name, setting)| (name.as_str(), setting))
        .collect();
    if let Some(name) = new.keys().find(|name| before.secret.contains_key(**name)) {
        return Err(format!(
            "[secret.{name}] is there already and says otherwise; change it by hand, then try again"
        ));
    }
    if !new.is_empty() {
        append(&mut text, "secret", &new)?;
    }
    // What was not understood as it was meant is not written.
    let said = |config: &Config| toml::to_string(config).map_err(|error| error.to_string());
    if said(&agents::is_readable(&text)?)? != said(after)? {
        return Err("cannot be changed so that it says this; change it by hand".to_owned());
    }
    Ok(text)
}

fn append(text: &mut String, name: &str, table: &impl serde::Serialize) -> Result<(), String> {
    let table =
        toml::to_string_pretty(&BTreeMap::from([(name, table)])).map_err(|error| error.to_string())?;
    text.push('\n');
    text.push_str(&table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway::config::secret::Expose;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_somebody_wrote_stays_as_it_is() {
        let text = "# mine\n[gate]\nlisten = \"127.0.0.1:1\"   # why\n\n[server.a]\ncommand = [ 'x' ]\nenv = { T = \"v\", U = 'u' } # both\n";
        let before = config(text);
        let mut after = before.clone();
        after.server.get_mut("a").unwrap().env.insert("T".to_owned(), "${secret:t}".to_owned());
        after.secret.insert("t".to_owned(), Secret { expose: Expose::Process, ..Secret::default() });
        after.shell.hide.push(".env".into());
        let new = rewritten(text, &before, &after).unwrap();
        assert!(new.starts_with(
            "# mine\n[gate]\nlisten = \"127.0.0.1:1\"   # why\n\n[server.a]\ncommand = [ 'x' ]\n"
        ));
        assert!(new.contains("env = { T = \"${secret:t}\", U = 'u' } # both\n"), "{new}");
        assert!(new.contains("[secret.t]\nexpose = \"process\"\n"), "{new}");
        // The nearest that is not written: what stands there already and says otherwise.
        let mut other = after.clone();
        other.secret.insert("t".to_owned(), Secret::default());
        assert!(rewritten(&new, &after, &other).is_err());
    }
}
