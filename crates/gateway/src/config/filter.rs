//! What is taken out of the results of tools beside the values of secrets, which always are. Nothing here looks at a text.

use super::secret::Argument;
use crate::inventory::CLAUDE;
use judge::filter::rule::{RULES_ENTRIES_MAX, Rule, Written};
use judge::filter::{Confidence, Personal, Settings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const KINDS: &str = "email, phone, card, iban, identity, ip, postal, all or none";

/// `[filter]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// How sure it must be that something is a credential.
    pub secrets: Sure,
    /// What about persons is taken out: `email`, `phone`, `card`, `iban`, `identity`, `ip`, `postal`, `all`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub personal: Vec<String>,
    /// The same kinds: what no call may carry in its arguments, other than as a handle.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<String>,
    /// Either for a server or one tool, by `SERVER` or `SERVER/TOOL`; the tool's own entry counts before its server's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub of: BTreeMap<String, Of>,
    /// Rules of your own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<OwnRule>,
    /// Arguments of tools in which what was taken out is put back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restore: Vec<Argument>,
}

/// What is different for one server or tool; what is absent is as everywhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Of {
    /// Taken out of what it returns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personal: Option<Vec<String>>,
    /// Not to be sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Vec<String>>,
}

/// Which kinds of personal data are looked for, by direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Taken out of what a tool returns.
    pub returned: Personal,
    /// Not to be sent to a tool.
    pub sent: Personal,
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

    /// Which kinds are looked for at `SERVER` or `SERVER/TOOL`.
    ///
    /// # Errors
    /// A kind that is none, in words.
    pub fn kinds_of(&self, place: &str) -> Result<Kinds, String> {
        let server = place.split('/').next().unwrap_or_default();
        let own = [place, server].into_iter().filter_map(|name| Some((name, self.of.get(name)?)));
        let own: Vec<(&str, &Of)> = own.collect();
        let read = |standing: &[String], field: &str, of: fn(&Of) -> Option<&Vec<String>>| {
            let named = own.iter().find_map(|(name, own)| Some((*name, of(own)?)));
            let (at, words) = match named {
                Some((name, words)) => (format!("[filter.of.\"{name}\"]"), words.as_slice()),
                None => ("[filter]".to_owned(), standing),
            };
            words.iter().try_fold(Personal::NONE, |kinds, word| {
                let kind = Personal::named(word).ok_or_else(|| {
                    format!("{at}: `{word}` in `{field}` is no kind of personal data; write {KINDS}")
                });
                Ok::<_, String>(kinds.and(kind?))
            })
        };
        Ok(Kinds {
            returned: read(&self.personal, "personal", |own| own.personal.as_ref())?,
            sent: read(&self.sent, "sent", |own| own.sent.as_ref())?,
        })
    }

    /// Whether everything in it can be understood, and each place in it is one of `servers` or what the client has itself.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check<'a>(&self, mut servers: impl Iterator<Item = &'a String> + Clone) -> Result<(), String> {
        self.kinds_of("")?;
        for place in self.of.keys() {
            let server = place.split('/').next().unwrap_or_default();
            let tool = place.split_once('/').map(|(_, tool)| tool);
            if tool == Some("") || !(server == CLAUDE || servers.clone().any(|name| name == server)) {
                let known =
                    servers.by_ref().map(String::as_str).chain([CLAUDE]).collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "[filter.of.\"{place}\"]: `{place}` is no SERVER or SERVER/TOOL; the servers are {known}"
                ));
            }
            self.kinds_of(place)?;
        }
        Ok(())
    }

    /// What it asks for, understood.
    ///
    /// # Errors
    /// A kind that is none, or a rule that does not hold its own examples, in words.
    pub fn settings(&self) -> Result<Settings, String> {
        let personal = self.kinds_of("")?.returned;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Filter {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_tool_counts_before_its_server_and_a_server_before_all_in_each_direction() {
        let filter = read(
            "personal = [\"email\"]\nsent = [\"card\"]\n[of.crm]\npersonal = [\"all\"]\n[of.\"crm/find\"]\npersonal = []\n\
             [of.\"mail/send\"]\nsent = [\"card\", \"iban\"]\n",
        );
        let table = [
            ("desk/read", Personal::EMAIL, Personal::CARD),
            ("crm/list", Personal::ALL, Personal::CARD),
            ("crm/find", Personal::NONE, Personal::CARD),
            ("crm", Personal::ALL, Personal::CARD),
            ("mail/send", Personal::EMAIL, Personal::CARD.and(Personal::IBAN)),
            ("mail/sendall", Personal::EMAIL, Personal::CARD),
        ];
        for (place, returned, sent) in table {
            assert_eq!(filter.kinds_of(place), Ok(Kinds { returned, sent }), "{place}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let servers = ["crm".to_owned()];
        let check = |text: &str| read(text).check(servers.iter());
        assert_eq!(
            check("[of.crm]\nsent = [\"email\"]\n[of.\"claude/Bash\"]\npersonal = [\"none\"]"),
            Ok(())
        );
        for (text, words) in [
            ("personal = [\"mail\"]", ["[filter]", "`mail` in `personal`"]),
            ("sent = [\"cards\"]", ["[filter]", "`cards` in `sent`"]),
            ("[of.\"crm/find\"]\nsent = [\"x\"]", ["[filter.of.\"crm/find\"]", "`x` in `sent`"]),
            ("[of.crn]\nsent = [\"email\"]", ["`crn` is no SERVER", "crm, claude"]),
            ("[of.\"crm/\"]\nsent = []", ["`crm/` is no SERVER", "crm, claude"]),
        ] {
            let said = check(text).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{text}: {said}");
        }
        assert!(toml::from_str::<Filter>("[of.crm]\nreceived = []").is_err());
    }
}
