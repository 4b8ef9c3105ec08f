//! `[[phase]]`: what an agent may do now, from the narrowest to the widest. The policies say what each permits; here is only the
//! order, and how long a stay lasts that somebody granted.

use super::Config;
use judge::approval::phase::{Ladder, Rung};
use serde::{Deserialize, Serialize};

/// Longest stay that can be configured, in seconds: a day.
const STAY_SECONDS_MAX: u32 = 86_400;

/// One `[[phase]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its name in policies: `context.session.phase`.
    pub name: String,
    /// The longest stay that can be granted, in seconds.
    #[serde(default = "half_an_hour")]
    pub lasts_seconds: u32,
    /// The longest time without a call in such a stay, in seconds.
    #[serde(default = "ten_minutes")]
    pub idle_seconds: u32,
    /// How many writes one stay permits; any number where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<u32>,
}

fn half_an_hour() -> u32 {
    1_800
}

fn ten_minutes() -> u32 {
    600
}

impl Config {
    /// The phases in their order, and where sessions begin.
    ///
    /// # Errors
    /// What contradicts, in words.
    pub fn ladder(&self) -> Result<Ladder, String> {
        let rung = |phase: &Phase| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if phase.name.is_empty() || !phase.name.chars().all(is_name) {
                return Err(format!("`{}`: a phase is named with letters, digits, `-` and `_`", phase.name));
            }
            for (field, seconds) in
                [("lasts_seconds", phase.lasts_seconds), ("idle_seconds", phase.idle_seconds)]
            {
                if !(1..=STAY_SECONDS_MAX).contains(&seconds) {
                    return Err(format!(
                        "`{}`: `{field}` is {seconds}; write 1 to {STAY_SECONDS_MAX}",
                        phase.name
                    ));
                }
            }
            if phase.writes == Some(0) {
                return Err(format!("`{}`: `writes` is 0; write at least 1, or leave it out", phase.name));
            }
            Ok(Rung {
                name: phase.name.clone(),
                lasts_seconds: i64::from(phase.lasts_seconds),
                idle_seconds: i64::from(phase.idle_seconds),
                writes: phase.writes,
            })
        };
        let rungs = self.phase.iter().map(rung).collect::<Result<Vec<_>, _>>()?;
        Ladder::new(rungs, &self.gate.phase)
            .map_err(|error| format!("{error}; `phase` in [gate] says where they begin"))
    }
}
