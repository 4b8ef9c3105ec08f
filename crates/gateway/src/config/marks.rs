//! How what tools answer is shown to a model: between marks unless said otherwise. Nothing here looks at a text.

use judge::tool::ToolName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[marks]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Marks {
    /// How every result is shown.
    pub mode: Mode,
    /// How those of a server or of one tool are, by `SERVER` or `SERVER/TOOL`; the tool's own entry counts before its server's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub of: BTreeMap<String, Mode>,
}

/// See [`judge::spotlight::Mode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are those of judge::spotlight::Mode")]
pub enum Mode {
    #[default]
    Delimit,
    Datamark,
    Encode,
    Off,
}

impl From<Mode> for judge::spotlight::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Delimit => Self::Delimit,
            Mode::Datamark => Self::Datamark,
            Mode::Encode => Self::Encode,
            Mode::Off => Self::Off,
        }
    }
}

impl Marks {
    pub(super) fn is_standing(&self) -> bool {
        *self == Self::default()
    }

    /// How results of `tool` are shown.
    pub fn mode(&self, tool: &ToolName) -> judge::spotlight::Mode {
        let own = self.of.get(&tool.to_string()).or_else(|| self.of.get(&tool.server));
        own.copied().unwrap_or(self.mode).into()
    }

    /// Every mode in which results of one server may be shown, or of all servers.
    pub fn modes(&self, server: Option<&str>) -> Vec<judge::spotlight::Mode> {
        let named = |name: &str| server.is_none_or(|server| name.split('/').next() == Some(server));
        let whole = server.and_then(|server| self.of.get(server)).copied().unwrap_or(self.mode);
        let mut modes: Vec<judge::spotlight::Mode> = vec![whole.into()];
        for (_, mode) in self.of.iter().filter(|(name, _)| named(name)) {
            if !modes.contains(&(*mode).into()) {
                modes.push((*mode).into());
            }
        }
        modes.retain(|mode| *mode != judge::spotlight::Mode::Off);
        modes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_counts_before_its_server_and_a_server_before_all() {
        let marks: Marks =
            toml::from_str("mode = \"delimit\"\n[of]\nfiles = \"off\"\n\"files/read\" = \"encode\"").unwrap();
        for (server, tool, want) in
            [("files", "list", "off"), ("files", "read", "encode"), ("mail", "read", "delimit")]
        {
            let tool = ToolName { server: server.to_owned(), tool: tool.to_owned() };
            assert_eq!(marks.mode(&tool).word(), want);
        }
        let words = |server| marks.modes(server).iter().map(|mode| mode.word()).collect::<Vec<_>>();
        assert_eq!(words(Some("files")), ["encode"]);
        assert_eq!(words(Some("mail")), ["delimit"]);
        assert_eq!(words(None), ["delimit", "encode"]);
        assert!(toml::from_str::<Marks>("mode = \"on\"").is_err());
    }
}
