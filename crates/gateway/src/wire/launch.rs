//! What a launcher asks of the gate, and what it is told to do. No secret is in either: what is inside are placeholders.

use crate::wire::record::Confined;
use sandbox::warden::Order;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What an operator wants launched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// The name of its settings, `[agent.NAME]`; that of its program where absent.
    pub profile: Option<String>,
    /// The program, by absolute path, and its arguments.
    pub command: Vec<String>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// Variables of the operator's that it may be given. No secret is among them.
    pub environment: BTreeMap<String, String>,
    /// Keep its changes to the project apart, under this name.
    #[serde(default)]
    pub overlay: Option<String>,
    /// The client that it drives, where the program's name does not say.
    #[serde(default)]
    pub client: Option<String>,
}

/// What the launcher does next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launched {
    /// The wall, and what runs behind it.
    pub order: Order,
    /// Whether its sockets are to be handed over.
    pub is_captured: bool,
    /// How many records there were before.
    pub records: u64,
    /// Its overlay's folder, where it has one.
    pub overlay: Option<PathBuf>,
    /// What its operator should know, in words.
    pub notes: Vec<String>,
}

/// How a permitted command ended that the gate ran for an agent behind the wall.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit status, 128 and more for a signal.
    pub status: u8,
    /// The folder it ended in, where that counts for the next one.
    pub place: Option<PathBuf>,
}

/// What a launcher says while its agent runs, a line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// This came in to the agent from outside: it was typed, or written to its standard input.
    Given(String),
    /// It is over.
    Ended(Confined),
}
