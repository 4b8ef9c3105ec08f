//! A sandbox as a child process of a program that has threads, secrets or better things to do: the gate.
//! The child is the same binary started afresh, so nothing of the parent's memory ever enters a sandbox.
//!
//! Parent and child talk over one socket. Its end is the sandbox's end, whoever dies first.

use crate::layer::Layers;
use crate::native::control::Control;
use crate::native::{Outcome, RunError, Sandbox, network};
use crate::oci::{self, Runtime};
use crate::profile::{Command, End, Limit, Network, Profile};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// The descriptor at which a warden finds its line to the parent.
const LINE: i32 = 3;
/// Exit status of a run that never began.
const NOT_BEGUN: u8 = 125;
/// Exit status for a program that could not be executed, as shells have it.
const NOT_EXECUTABLE: u8 = 126;
/// Exit status for a program that is not there, as shells have it.
const NOT_FOUND: u8 = 127;
/// Exit status when time ran out, as timeout(1) has it.
const OUT_OF_TIME: u8 = 124;

/// What a warden is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The wall.
    pub profile: Profile,
    /// What runs behind it.
    pub command: Command,
    /// A private folder of the caller's that no profile shows.
    pub state: PathBuf,
    /// An OCI runtime, by name or path, to build the wall instead of this crate.
    #[serde(default)]
    pub runtime: Option<PathBuf>,
}

impl Order {
    /// Builds the wall.
    ///
    /// # Errors
    /// As [`Sandbox::start`]; or there is no such runtime.
    pub fn start(&self) -> Result<Sandbox, RunError> {
        match &self.runtime {
            None => Sandbox::start(&self.profile, &self.state),
            Some(runtime) => {
                let found = Runtime::find(runtime).map_err(|error| {
                    RunError::Failed(format!("OCI runtime {}: {error}", runtime.display()))
                })?;
                oci::start(&found, &self.profile, &self.state)
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Told {
    /// The wall stands; where the network is captured its sockets follow.
    Ready(Layers),
    /// Nothing runs, and why.
    Refused(String),
    /// It is over.
    Ended(Outcome),
}

/// The parent's end of the line.
#[derive(Debug)]
pub struct Line(Control);

/// A wall that stands, as its parent sees it.
#[derive(Debug)]
pub struct Standing {
    /// The layers that hold.
    pub layers: Layers,
    /// Where the network is captured: the sockets at which everything arrives.
    pub sockets: Option<network::Sockets>,
}

/// Why a warden did not get as far as running something; the text says what and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// A command that starts `program` (this binary, or one that calls [`serve`]) as a warden, to be given its order over the line. Standard streams,
/// process group and the like are the caller's to set; the line must be kept for as long as the sandbox is to live.
///
/// # Errors
/// No socket could be made.
pub fn command(program: &Path, arguments: &[&str]) -> io::Result<(std::process::Command, Line)> {
    let (ours, theirs) = Control::pair()?;
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear();
    pass(&mut command, theirs.into(), LINE);
    Ok((command, Line(ours)))
}

/// Has the program that `command` starts find `file` as its descriptor `number`, which is none of its standard streams.
pub fn pass(command: &mut std::process::Command, file: OwnedFd, number: i32) {
    // SAFETY: between fork and exec the closure only calls fcntl(2) and dup2(2), which are async-signal-safe, on a
    // descriptor it owns.
    unsafe {
        command.pre_exec(move || sys::pass_as(file.as_fd(), number));
    }
}

impl Line {
    /// Sends the order to the warden that was started. It waits while the warden reads.
    ///
    /// # Errors
    /// The warden is gone.
    pub fn give(&self, order: &Order) -> io::Result<()> {
        self.0.send(order, &[])
    }

    /// Waits until the wall stands.
    ///
    /// # Errors
    /// What the warden could not do; or it ended.
    pub fn ready(&self, network: Network) -> Result<Standing, Refused> {
        let lost = |error: io::Error| Refused(format!("the sandbox's process was lost: {error}"));
        match self.0.receive::<Told>().map_err(lost)? {
            Some((Told::Ready(layers), _)) => {
                let sockets = match network {
                    Network::Captured => Some(network::Sockets::receive(self.0.as_fd()).map_err(lost)?),
                    Network::None | Network::Host => None,
                };
                Ok(Standing { layers, sockets })
            }
            Some((Told::Refused(why), _)) => Err(Refused(why)),
            Some((Told::Ended(_), _)) | None => {
                Err(Refused("the sandbox's process ended at once".to_owned()))
            }
        }
    }

    /// Waits for the end; `None` if the warden was killed.
    pub fn ended(&self) -> Option<Outcome> {
        loop {
            match self.0.receive::<Told>() {
                Ok(Some((Told::Ended(outcome), _))) => return Some(outcome),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// The child's whole life. Returns the exit status.
pub fn serve() -> u8 {
    if rustix::io::fcntl_getfd(sys::borrow(LINE)).is_err() {
        complain("a warden is started by the gate, not by hand");
        return NOT_BEGUN;
    }
    let line = Control::from_descriptor(sys::adopt(LINE));
    let order = match line.receive::<Order>() {
        Ok(Some((order, _))) => order,
        Ok(None) => return NOT_BEGUN,
        Err(error) => {
            complain(&format!("the order cannot be read: {error}"));
            return NOT_BEGUN;
        }
    };
    let mut sandbox = match order.start() {
        Ok(sandbox) => sandbox,
        Err(error) => return refuse(&line, &error),
    };
    let ready = line
        .send(&Told::Ready(sandbox.layers().clone()), &[])
        .and_then(|()| sandbox.take_sockets().map_or(Ok(()), |sockets| sockets.send(line.as_fd())));
    if ready.is_err() {
        // Nobody waits for it any more.
        return NOT_BEGUN;
    }
    match sandbox.run_last(&order.command, Some(&line)) {
        Ok(outcome) => {
            if let End::Limit(limit) = outcome.end {
                complain(&format!("ended: the limit on {limit} was reached"));
            }
            let status = status(&outcome.end);
            let _ = line.send(&Told::Ended(outcome), &[]);
            status
        }
        Err(error) => refuse(&line, &error),
    }
}

fn refuse(line: &Control, error: &RunError) -> u8 {
    complain(&error.to_string());
    let _ = line.send(&Told::Refused(error.to_string()), &[]);
    refusal_status(error)
}

/// The exit status that tells a shell how a program ended.
pub fn status(end: &End) -> u8 {
    match end {
        End::Exited(status) => u8::try_from(*status & 0xff).unwrap_or(u8::MAX),
        End::Signalled(signal) => 128_u8.saturating_add(u8::try_from(*signal).unwrap_or(127)),
        End::Limit(Limit::Time) => OUT_OF_TIME,
        End::Limit(_) => 137,
    }
}

/// The exit status that tells a shell why a program never ran.
pub fn refusal_status(error: &RunError) -> u8 {
    match error {
        RunError::NotStarted { error, .. } if error.kind() == io::ErrorKind::NotFound => NOT_FOUND,
        RunError::NotStarted { .. } => NOT_EXECUTABLE,
        _ => NOT_BEGUN,
    }
}

fn complain(what: &str) {
    use std::io::Write;
    // Where nobody reads errors there is nobody to tell.
    let _ = writeln!(io::stderr(), "bailiwick: {what}");
}
