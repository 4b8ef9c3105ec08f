//! A gate for one act of the operator, such as `bailiwick sandbox` or a look at servers: its only policy is that the places
//! the operator named may be reached, and its journal says what was done there. No agent, hook or approver comes here.

use crate::config::{Config, FILE, Place};
use crate::gate::Gate;
use crate::inventory::Lock;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Runs at the same time, each with a journal of its own.
const RUNS_MAX: u32 = 256;
/// What the operator said by naming places.
const POLICY: &str = "@id(\"named-on-the-command-line\")\n\
    permit (principal, action in [Action::\"egress/read\", Action::\"egress/write\", Action::\"egress/connect\"], resource);\n";

/// A gate, and the right to its journal.
pub struct Solo {
    /// The gate.
    pub gate: Arc<Gate>,
    _turn: OwnedFd,
}

/// Opens the first free one below `state`, with what `config` says of secrets, servers and authorities, and the store of
/// `place`, where there is one.
///
/// # Errors
/// What cannot be written or opened, in words.
pub async fn open(state: &Path, place: Option<&Place>, config: Config) -> Result<Solo, String> {
    let (authorities, models) = (config.gate.authorities.clone(), config.gate.models.clone());
    let in_words = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    for number in 0..RUNS_MAX {
        let folder = state.join("runs").join(number.to_string());
        let own = Place::of(folder.join(crate::config::place::FOLDER), Some(&folder.join("state")))
            .map_err(|error| error.to_string())?;
        let own = match place {
            Some(place) => own.with_secrets_of(place),
            None => own.with_users_secrets().map_err(|error| error.to_string())?,
        };
        own.private_state().map_err(|error| error.to_string())?;
        let lock = folder.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let turn = rustix::fs::open(&lock, flags, Mode::from_raw_mode(0o600))
            .map_err(|error| in_words(&lock, &error))?;
        match rustix::fs::flock(&turn, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => continue,
            Err(error) => return Err(in_words(&lock, &error)),
        }
        let mut config = Config { secret: config.secret, server: config.server, ..Config::default() };
        config.gate.claude_code = false;
        config.gate.authorities = authorities;
        config.gate.models = models;
        config.gate.agent = "operator".to_owned();
        let policies = own.config.join("policy");
        std::fs::create_dir_all(&policies).map_err(|error| in_words(&policies, &error))?;
        let text = toml::to_string(&config).map_err(|error| error.to_string())?;
        Lock::empty().save(&own.config).map_err(|error| error.to_string())?;
        for (path, text) in [(own.config.join(FILE), text.as_str()), (policies.join("run.cedar"), POLICY)] {
            std::fs::write(&path, text).map_err(|error| in_words(&path, &error))?;
        }
        return Ok(Solo { gate: Gate::open(own).await?, _turn: turn });
    }
    Err(format!("{RUNS_MAX} sandboxes with a network run already"))
}
