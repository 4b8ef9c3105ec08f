//! Whether a gate that runs already is the one that a launch wants: its configuration as the folder says it now. One that was started for
//! launches only follows the folder, by loading policies anew or by making room for a fresh gate; any other says what it does not follow.

use crate::config::{Config, Place};
use crate::gate::{Gate, Rules, files};
use crate::inventory::lock;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};
use tokio::sync::Notify;

/// The configuration as the gate has read it.
pub struct AsRead {
    config: serde_json::Value,
    /// The digest of what its rules were loaded from.
    rules: Mutex<String>,
    makes_room: OnceLock<Notify>,
}

/// What a launch finds.
pub(super) enum Current {
    /// The gate it wants, or one that is as good as it gets; what its operator should know, in words.
    Yes(Vec<String>),
    /// An old one, which nobody needs: it ends now, and the next will be right.
    No,
}

impl AsRead {
    /// What is read now.
    pub(crate) fn now(place: &Place, config: &Config) -> Self {
        Self {
            config: plain(config),
            rules: Mutex::new(digest(place).unwrap_or_default()),
            makes_room: OnceLock::new(),
        }
    }

    /// Waits until this gate, which was started for launches only, should make room for one that has read the configuration as it is.
    pub async fn makes_room(&self) {
        self.makes_room.get_or_init(Notify::new).notified().await;
    }
}

/// Settles whether `gate` serves a launch of now.
///
/// # Errors
/// A fault in the configuration, with which no gate would start, in words.
pub(super) async fn settle(gate: &Gate) -> Result<Current, String> {
    let read = &gate.as_read;
    let is_for_launches = read.makes_room.get();
    let mut notes = Vec::new();
    let now = Config::load(&gate.place.config).map_err(|error| error.to_string());
    match (now.map(|now| plain(&now)), is_for_launches) {
        (Ok(now), _) if now == read.config => {}
        (Ok(_), Some(makes_room)) if gate.launches.load(Ordering::Relaxed) == 1 => {
            makes_room.notify_one();
            return Ok(Current::No);
        }
        (Err(why), Some(_)) => return Err(why),
        (Ok(_) | Err(_), _) => {
            let until = if is_for_launches.is_some() {
                "the agents that run here have ended"
            } else {
                "it is started again"
            };
            notes.push(format!(
                "bailiwick.toml was changed; the gate that runs goes on with what it began with until {until}"
            ));
        }
    }
    let digest = digest(&gate.place).unwrap_or_default();
    let is_same = *read.rules.lock().unwrap_or_else(PoisonError::into_inner) == digest;
    if is_same {
        return Ok(Current::Yes(notes));
    }
    let loaded = Rules::load(&gate.place, &gate.config);
    let in_force = gate.rules();
    let is_other = loaded.as_ref().map(|loaded| {
        loaded.policy.digest() != in_force.policy.digest()
            || loaded.inventory.digest() != in_force.inventory.digest()
    });
    match (is_other, is_for_launches) {
        (Ok(false), _) => {}
        (Ok(true), Some(_)) => {
            gate.reload().await?;
            notes.push("the policies were changed, and are loaded anew".to_owned());
        }
        (Err(why), Some(_)) => return Err(why.clone()),
        (Ok(true) | Err(_), None) => {
            notes.push(
                "the policies were changed and are not in force yet; `bailiwick policy reload` loads them"
                    .to_owned(),
            );
            return Ok(Current::Yes(notes));
        }
    }
    *read.rules.lock().unwrap_or_else(PoisonError::into_inner) = digest;
    Ok(Current::Yes(notes))
}

/// A configuration as a value that can be compared.
fn plain(config: &Config) -> serde_json::Value {
    serde_json::to_value(config).unwrap_or_default()
}

fn digest(place: &Place) -> Result<String, String> {
    let mut read = std::fs::read(place.config.join(lock::FILE)).unwrap_or_default();
    for (folder, extension) in [("policy", "cedar"), ("cases", "md")] {
        for (path, text) in files(&place.config.join(folder), extension)? {
            read.push(0);
            read.extend(path.display().to_string().as_bytes());
            read.push(0);
            read.extend(text.as_bytes());
        }
    }
    Ok(judge::digest::hex(&read))
}
