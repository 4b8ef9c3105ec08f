//! The policy information point: what the judge may know of the world, gathered before it is asked.
//! Everything here only looks; a fact that cannot be had is reported as unknown, never guessed.

use crate::clock;
use crate::gate::Gate;
use crate::session::Session;
use judge::flow::Provenance;
use judge::request::Facts;
use judge::request::path::{AbsPath, LinkFact, Links, Zones};
use std::path::Path;

/// Where and how one call is made, as its adapter knows it.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The agent's working folder, where the adapter knows it; the project otherwise.
    pub cwd: Option<AbsPath>,
    /// The client's own id for the call; empty when it gave none.
    pub client_call: String,
    /// What becomes of it while nobody has answered.
    pub patience: Patience,
}

/// What becomes of a call that a person must approve, while nobody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// It waits.
    #[default]
    Hold,
    /// It goes away and comes back under the same client's id.
    Defer,
}

/// Facts for one decision, owned.
pub struct Gathered<'a> {
    cwd: &'a AbsPath,
    home: &'a AbsPath,
    zones: &'a Zones,
    now: i64,
    phase: String,
    transport: &'static str,
    calls_last_minute: i64,
}

impl Scene {
    /// Gathers the facts for one call, which it counts.
    pub fn facts<'a>(&'a self, gate: &'a Gate, session: &Session) -> Gathered<'a> {
        self.gathered(gate, session, gate.count_call(session.principal()))
    }

    /// Gathers the facts for a look at what would be decided now, which counts as no call.
    pub fn look<'a>(&'a self, gate: &'a Gate, session: &Session) -> Gathered<'a> {
        self.gathered(gate, session, gate.recent_calls(session.principal()).saturating_add(1))
    }

    /// Gathers the facts anew for a call that has been counted.
    pub fn again<'a>(&'a self, gate: &'a Gate, session: &Session) -> Gathered<'a> {
        self.gathered(gate, session, gate.recent_calls(session.principal()).max(1))
    }

    fn gathered<'a>(&'a self, gate: &'a Gate, session: &Session, calls_last_minute: i64) -> Gathered<'a> {
        Gathered {
            cwd: self.cwd.as_ref().unwrap_or(&gate.ground.workspace),
            home: &gate.home,
            zones: &gate.ground,
            now: clock::seconds(),
            phase: session.phase(),
            transport: session.transport(),
            calls_last_minute,
        }
    }
}

impl Gathered<'_> {
    /// The judge's view of them, with what the conversation knows.
    pub fn borrow<'a>(&'a self, provenance: &'a Provenance) -> Facts<'a> {
        Facts {
            now: self.now,
            cwd: self.cwd,
            home: self.home,
            zones: self.zones,
            links: &FileSystem,
            phase: &self.phase,
            transport: self.transport,
            calls_last_minute: self.calls_last_minute,
            provenance,
        }
    }
}

/// Symbolic links as they stand on this machine.
pub struct FileSystem;

impl Links for FileSystem {
    fn read_link(&self, path: &AbsPath) -> LinkFact {
        let path = Path::new(path.as_str());
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_symlink() => match std::fs::read_link(path) {
                Ok(target) => {
                    target.into_os_string().into_string().map_or(LinkFact::Unreadable, LinkFact::Link)
                }
                Err(_) => LinkFact::Unreadable,
            },
            Ok(_) => LinkFact::Plain,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                LinkFact::Absent
            }
            Err(_) => LinkFact::Unreadable,
        }
    }
}
