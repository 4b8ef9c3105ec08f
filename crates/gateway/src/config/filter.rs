//! What is taken out of the results of tools beside the values of secrets, which always are. Nothing here looks at a text.

use super::secret::Argument;
use judge::filter::rule::{RULES_ENTRIES_MAX, Rule, Written};
use judge::filter::{Confidence, Personal, Settings};
use serde::{Deserialize, Serialize};

/// `[filter]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// How sure it must be that something is a credential.
    pub secrets: Sure,
    /// What about persons is taken out: `email`, `phone`, `card`, `iban`, `identity`, `ip`, `postal`, `all`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub personal: Vec<String>,
    /// Rules of your own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<OwnRule>,
    /// Arguments of tools in which what was taken out is put back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restore: Vec<Argument>,
}

/// How sure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sure {
    /// Credentials are not looked for.
    Off,
    /// Its surroundings say so.
    Possible,
    /// Its own form says so.
    #[default]
    Likely,
    /// Its check digits say so.
    Certain,
}

/// See [`Written`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names are those of judge::filter::rule::Written")]
pub struct OwnRule {
    pub name: String,
    pub pattern: String,
    pub matches: Vec<String>,
    pub near_misses: Vec<String>,
}

impl Filter {
    pub(super) fn is_standing(&self) -> bool {
        *self == Self::default()
    }

    /// What it asks for, understood.
    ///
    /// # Errors
    /// A kind that is none, or a rule that does not hold its own examples, in words.
    pub fn settings(&self) -> Result<Settings, String> {
        let mut personal = Personal::NONE;
        for word in &self.personal {
            let kind = Personal::named(word);
            personal =
                personal.and(kind.ok_or_else(|| format!("[filter]: `{word}` is no kind of personal data"))?);
        }
        let least = match self.secrets {
            Sure::Off | Sure::Possible => Confidence::Possible,
            Sure::Likely => Confidence::Likely,
            Sure::Certain => Confidence::Certain,
        };
        if self.rule.len() > RULES_ENTRIES_MAX {
            return Err(format!("[[filter.rule]]: more than {RULES_ENTRIES_MAX} rules"));
        }
        let rules = self.rule.iter().map(OwnRule::read).collect::<Result<_, _>>();
        let rules = rules.map_err(|why| format!("[[filter.rule]]: {why}"))?;
        Ok(Settings { secrets: self.secrets != Sure::Off, personal, least, rules })
    }
}

impl OwnRule {
    /// The rule, which holds its examples.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn read(&self) -> Result<Rule, String> {
        let matches: Vec<&str> = self.matches.iter().map(String::as_str).collect();
        let near_misses: Vec<&str> = self.near_misses.iter().map(String::as_str).collect();
        let (name, pattern) = (&self.name, &self.pattern);
        Rule::compile(&Written { name, pattern, matches: &matches, near_misses: &near_misses })
            .map_err(|error| error.to_string())
    }
}
