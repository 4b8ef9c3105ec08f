//! `tools.lock`: every reviewed definition with its review, and what arrived since and waits.
//! A definition that does not match its own digest is refused: the file was edited, not reviewed.

use super::Definition;
use crate::config::ConfigError;
use judge::flow::Flow;
use judge::shape::{Kind, Shape};
use judge::tool::{Effect, Impact, Tool, ToolName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// The file's name in the configuration folder.
pub const FILE: &str = "tools.lock";
/// The format's version.
const LOCK_VERSION: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Format version.
    pub version: u32,
    /// By server name.
    pub servers: BTreeMap<String, ReviewedServer>,
}

/// One server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewedServer {
    /// SHA-256 of the instructions it gives to models; empty when it gives none.
    #[serde(default)]
    pub instructions: String,
    /// Reviewed tools by name.
    pub tools: BTreeMap<String, Reviewed>,
    /// Definitions that appeared or changed and wait for review, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quarantine: BTreeMap<String, serde_json::Value>,
}

/// One reviewed tool.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reviewed {
    /// `read` or `write`.
    pub effect: Word<Effect>,
    /// Whether its effect can be taken back.
    pub reversible: bool,
    /// `low` or `high`.
    pub impact: Word<Impact>,
    /// Why the three above say what they say.
    pub reason: String,
    /// What text arguments mean, by path: `path`, `url`, `host`, `command`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, Word<Kind>>,
    /// What arguments decide and how far answers are trusted, as [`judge::flow::Flow::read`] has it; the careful reading of
    /// everything where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<serde_json::Value>,
    /// SHA-256 of the definition.
    pub digest: String,
    /// The definition as reviewed.
    pub definition: serde_json::Value,
}

/// A judge's value by its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<T>(pub T);

macro_rules! words {
    ($kind:ty { $($word:literal = $value:expr),* $(,)? }) => {
        impl Serialize for Word<$kind> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $(if self.0 == $value { return serializer.serialize_str($word); })*
                serializer.serialize_str("plain")
            }
        }
        impl<'de> Deserialize<'de> for Word<$kind> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                match word.as_str() {
                    $($word => Ok(Word($value)),)*
                    other => Err(serde::de::Error::custom(format!(
                        "`{other}` is not one of {}", [$($word),*].join(", ")
                    ))),
                }
            }
        }
    };
}
words!(Effect { "read" = Effect::Read, "write" = Effect::Write });
words!(Impact { "low" = Impact::Low, "high" = Impact::High });
words!(Kind { "plain" = Kind::Plain, "path" = Kind::Path, "url" = Kind::Url, "host" = Kind::Host, "command" = Kind::Command });

impl Lock {
    /// A lock without servers.
    pub fn empty() -> Self {
        Self { version: LOCK_VERSION, servers: BTreeMap::new() }
    }

    /// Reads the file in `folder`; each definition must match its digest.
    ///
    /// # Errors
    /// A missing or unreadable file, another version, an edited definition.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(FILE);
        let wrong = |why: String| ConfigError::new(&path, why);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| wrong(format!("{error}; run `bailiwick init` first")))?;
        let lock: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if lock.version != LOCK_VERSION {
            return Err(wrong(format!(
                "has format version {}, this program knows {LOCK_VERSION}",
                lock.version
            )));
        }
        for (server, reviewed) in &lock.servers {
            for (name, tool) in &reviewed.tools {
                let read = Definition::read(&crate::wire::frame::raw(&tool.definition))
                    .map_err(|why| wrong(format!("{server}/{name}: {why}")))?;
                tool.flow().map_err(|why| wrong(format!("{server}/{name}: {why}")))?;
                if read.digest != tool.digest || read.name != *name {
                    return Err(wrong(format!(
                        "{server}/{name}: the definition does not match its digest, so it was edited and not reviewed; \
                         restore the file, or remove the tool and run `bailiwick inventory review`"
                    )));
                }
            }
        }
        Ok(lock)
    }

    /// Writes the file in `folder`, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ConfigError> {
        let path = folder.join(FILE);
        let wrong = |error: std::io::Error| ConfigError::new(&path, error);
        let draft = folder.join(format!("{FILE}.new"));
        let text = self.text().map_err(|error| ConfigError::new(&path, error))?;
        let mut file = std::fs::File::create(&draft).map_err(wrong)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
        std::fs::rename(&draft, &path).map_err(wrong)
    }

    /// The file's text.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl Reviewed {
    /// The reviewed flow.
    ///
    /// # Errors
    /// A word that does not exist, in words.
    pub fn flow(&self) -> Result<Flow, String> {
        self.flow.as_ref().map_or_else(|| Ok(Flow::default()), Flow::read)
    }

    /// The judge's view of this tool.
    pub fn to_tool(&self, server: &str, name: &str) -> Tool {
        let kinds = self.kinds.iter().map(|(path, kind)| (path.clone(), kind.0)).collect();
        Tool {
            name: ToolName { server: server.to_owned(), tool: name.to_owned() },
            shape: Shape::of_schema(&self.definition["inputSchema"], &kinds),
            effect: self.effect.0,
            reversible: self.reversible,
            impact: self.impact.0,
            digest: self.digest.clone(),
            // A lock with another word was not loaded.
            flow: self.flow().unwrap_or_default(),
        }
    }
}
