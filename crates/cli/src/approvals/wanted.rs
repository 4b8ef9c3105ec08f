//! What an operator writes to grant more than one call: how often, how long, and what arguments may be.
//! It only reads the command line; whether that can be granted is the gate's to say.

use gateway::wire::approval::{Limit, Wanted};
use std::collections::BTreeMap;

/// How often and how long where only one of them, or a limit, is given.
const STANDING: (u32, i64) = (10, 3_600);

/// The options of `grant` that make a grant stand.
#[derive(clap::Args)]
pub(crate) struct More {
    /// So many more calls [default: 10]
    #[arg(long, value_name = "N")]
    uses: Option<u32>,
    /// For so long: 90s, 30m, 8h, 7d [default: 1h]
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// Ends when it was not used for so long
    #[arg(long, value_name = "TIME")]
    idle: Option<String>,
    /// Only in the phase this call was made in
    #[arg(long)]
    same_phase: bool,
    #[command(flatten)]
    limits: Limits,
}

/// What arguments may be.
#[derive(clap::Args)]
pub(crate) struct Limits {
    /// Leave this argument open, repeatable: after an untrusted read only to what the user or the operator said
    #[arg(long, value_name = "ARGUMENT")]
    any: Vec<String>,
    /// A path that leads to this folder or below it, repeatable
    #[arg(long, value_name = "ARGUMENT=FOLDER")]
    under: Vec<String>,
    /// A number of at most this size, repeatable
    #[arg(long, value_name = "ARGUMENT=NUMBER")]
    at_most: Vec<String>,
    /// Another value it may have, as JSON or a text, repeatable
    #[arg(long, value_name = "ARGUMENT=VALUE")]
    or: Vec<String>,
}

impl More {
    /// What is wanted beside this call; nothing where no option was given.
    ///
    /// # Errors
    /// The option that cannot be read, in words.
    pub(crate) fn wanted(self) -> anyhow::Result<Option<Wanted>> {
        let Self { uses, lasts, idle, same_phase, limits } = self;
        let limits = limits.read()?;
        if uses.is_none() && lasts.is_none() && idle.is_none() && !same_phase && limits.is_empty() {
            return Ok(None);
        }
        Ok(Some(Wanted {
            uses: uses.unwrap_or(STANDING.0),
            seconds: lasts.as_deref().map_or(Ok(STANDING.1), seconds)?,
            idle_seconds: idle.as_deref().map(seconds).transpose()?,
            same_phase,
            limits,
        }))
    }
}

impl Limits {
    /// By argument.
    ///
    /// # Errors
    /// What cannot be read, or is said twice about one argument.
    pub(super) fn read(self) -> anyhow::Result<BTreeMap<String, Limit>> {
        let Self { any, under, at_most, or } = self;
        let mut limits = BTreeMap::new();
        let mut put = |name: &str, limit| match limits.insert(name.to_owned(), limit) {
            Some(_) => Err(anyhow::anyhow!("`{name}` is limited twice; say one thing about it")),
            None => Ok(()),
        };
        for name in any {
            put(&name, Limit::Any)?;
        }
        for text in under {
            let (name, folder) = pair(&text, "--under")?;
            let folder = std::path::absolute(folder)?;
            put(name, Limit::Under(folder.display().to_string()))?;
        }
        for text in at_most {
            let (name, number) = pair(&text, "--at-most")?;
            let number =
                number.parse().map_err(|_| anyhow::anyhow!("--at-most {text}: `{number}` is no number"))?;
            put(name, Limit::AtMost(number))?;
        }
        let mut several: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
        for text in or {
            let (name, value) = pair(&text, "--or")?;
            several.entry(name.to_owned()).or_default().push(self::value(value));
        }
        for (name, values) in several {
            put(&name, Limit::OneOf(values))?;
        }
        Ok(limits)
    }
}

/// JSON where it is JSON, a text otherwise.
pub(super) fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

pub(super) fn pair<'a>(text: &'a str, option: &str) -> anyhow::Result<(&'a str, &'a str)> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| anyhow::anyhow!("{option} {text}: write the argument, `=`, and what it may be"))
}

/// Seconds in `90s`, `30m`, `8h` or `7d`.
///
/// # Errors
/// Anything else, in words.
pub(crate) fn seconds(text: &str) -> anyhow::Result<i64> {
    let wrong = || anyhow::anyhow!("`{text}` is no time; write e.g. 90s, 30m, 8h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    count.checked_mul(factor).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beside_what_is_none() {
        for (text, is) in [("90s", 90), ("30m", 1_800), ("8h", 28_800), ("7d", 604_800)] {
            assert_eq!(seconds(text).ok(), Some(is), "{text}");
        }
        for text in ["", "s", "90", "-1s", "0m", "1w", "9223372036854775807d", "1.5h", "µ"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
