//! A small support desk on SQLite, served as three ordinary stdio MCP servers over one database file. It knows
//! nothing of policy or approval: whatever a caller asks within the desk's own rules really happens.
//!
//! The desk is what a gate is put in front of, in demonstrations and in tests. One seeded ticket, [`POISON`], carries
//! an injected instruction, and every effect that instruction asks for would succeed here.

mod billing;
mod crm;
mod desk;
mod mail;
mod refusal;
mod resource;
mod seed;
mod session;
mod shape;
mod tool;
mod wire;

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use desk::{Tally, tally};
pub use seed::{POISON, Poison, seed};
pub use wire::LINE_BYTES_MAX;

/// One of the three servers. Each is its own process, as a team would run them, and all share one database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// Customers and tickets; also the `ticket://{id}` resources and the `triage_ticket` prompt.
    Crm,
    /// Orders, refunds, and the erasure of a customer.
    Billing,
    /// Outgoing mail. Messages land in the outbox table and leave the machine never.
    Mail,
}

impl Server {
    /// Every server, in the order a listing shows them.
    pub const ALL: [Self; 3] = [Self::Crm, Self::Billing, Self::Mail];

    /// The name on the command line and in `serverInfo`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::Billing => "billing",
            Self::Mail => "mail",
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Server {
    type Err = UnknownServer;

    fn from_str(name: &str) -> std::result::Result<Self, UnknownServer> {
        Self::ALL
            .into_iter()
            .find(|server| server.name() == name)
            .ok_or_else(|| UnknownServer(name.to_owned()))
    }
}

/// A server name that is none of [`Server::ALL`].
#[derive(Debug, thiserror::Error)]
#[error("no server is named `{0}`; use crm, billing or mail")]
pub struct UnknownServer(String);

/// Why the desk could not be opened, filled or served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// The file is missing, unreadable, or no SQLite database.
    #[error("cannot open the desk at `{}`: {source}; create one with `support-desk seed --db FILE`", path.display())]
    Open {
        /// The file that was asked for.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file is an SQLite database that some other program owns.
    #[error("`{}` is a database of something else; name a file made by `support-desk seed`", path.display())]
    NotADesk {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// Seeding never overwrites: the file already has content.
    #[error("`{}` already holds data; name a new file or remove this one first", path.display())]
    NotEmpty {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// SQLite failed while seeding or counting.
    #[error("the desk's database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// The client's side of the pipe could not be read.
    #[error("cannot read the next frame: {0}")]
    Read(#[source] io::Error),
    /// The answer could not be written to the client.
    #[error("cannot write the answer: {0}")]
    Write(#[source] io::Error),
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, DeskError>;

/// Serves one MCP session: newline-delimited JSON-RPC 2.0 on `stdin` and `stdout`, protocol 2025-11-25.
///
/// Returns when `stdin` ends or the client has closed `stdout`. A malformed frame is answered with -32700 and the
/// session goes on; lines longer than [`LINE_BYTES_MAX`] are skipped without being held in memory.
///
/// # Errors
/// [`DeskError::Open`] and [`DeskError::NotADesk`] before anything is read; [`DeskError::Read`] and
/// [`DeskError::Write`] when the pipes fail. A failing tool is an answer, never an error here.
pub fn serve(server: Server, db: &Path, mut stdin: impl BufRead, mut stdout: impl Write) -> Result<()> {
    let mut session = session::Session::new(server, desk::open(db)?);
    loop {
        let answer = match wire::next_line(&mut stdin).map_err(DeskError::Read)? {
            wire::Line::Whole(line) if line.trim_ascii().is_empty() => None,
            wire::Line::Whole(line) => session.answer(&line),
            wire::Line::TooLong => Some(wire::line_too_long()),
            wire::Line::End => return Ok(()),
        };
        let Some(answer) = answer else { continue };
        match wire::send(&mut stdout, &answer) {
            Ok(()) => {}
            // The client left; that is how a stdio session ends, not a failure of ours.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(DeskError::Write(error)),
        }
    }
}
