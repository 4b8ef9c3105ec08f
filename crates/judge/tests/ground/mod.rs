//! The ground that every page and property stands on: a project, a home, a gate, and no symbolic links.
//! Nothing here decides, and no real file is looked at.

use judge::request::path::{AbsPath, LinkFact, Links, Zones};
use judge::request::{Facts, Principal};

/// A disk on which everything exists and nothing is a link.
pub(crate) struct Plain;

impl Links for Plain {
    fn read_link(&self, _: &AbsPath) -> LinkFact {
        LinkFact::Plain
    }
}

pub(crate) struct Ground {
    pub(crate) zones: Zones,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let at = |text: &str| AbsPath::parse(text).expect("an absolute path");
        Ground {
            zones: Zones {
                workspace: at("/w/project"),
                home: at("/home/u"),
                temp: vec![at("/tmp")],
                gate: vec![at("/w/project/.bailiwick"), at("/home/u/.local/share/bailiwick")],
            },
        }
    }

    /// Thursday 1970-01-01 00:00 UTC, no phase, the first call of its minute.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            now: 0,
            cwd: &self.zones.workspace,
            home: &self.zones.home,
            zones: &self.zones,
            links: &Plain,
            phase: "",
            transport: "case",
            calls_last_minute: 1,
            provenance: judge::flow::Provenance::blank(),
        }
    }
}

pub(crate) fn principal() -> Principal {
    Principal { agent: "agent".into(), user: "user".into(), groups: Vec::new() }
}
