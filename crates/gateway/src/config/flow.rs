//! `[flow]`: what the operator says about where values come from.
//! What is configured here counts like the user's own words; nothing here is read from anywhere else.

use judge::flow::Known;
use serde::{Deserialize, Serialize};

/// `[flow]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// Receivers, places and names that are known: `ann@corp.example`, `*@corp.example`, `*.corp.example`, `general`.
    pub known: Vec<String>,
}

impl Flow {
    /// The same for the judge.
    ///
    /// # Errors
    /// An entry that is neither a value nor a pattern, in words.
    pub fn known(&self) -> Result<Known, String> {
        Known::new(self.known.iter().map(String::as_str)).map_err(|why| format!("[flow] known: {why}"))
    }

    pub(super) fn is_standing(&self) -> bool {
        *self == Self::default()
    }
}
