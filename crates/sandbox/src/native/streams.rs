//! What a program's standard streams lead to: the caller's own where that is safe, else a pipe or terminal between.
//! A folder or a disk is refused, because a program could walk from it to the host's files (CVE-2024-21626).

use super::RunError;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FileType, Mode, OFlags, Uid};
use rustix::termios::{OptionalActions, Termios};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Names of the streams, by number.
const NAMES: [&str; 3] = ["input", "output", "error"];
/// `PIPEFS_MAGIC` of `<linux/magic.h>`.
const PIPE_FILE_SYSTEM: rustix::fs::FsWord = 0x5049_5045;
/// Bytes copied at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The streams for one program.
pub(super) struct Streams {
    /// What it gets; where it gets a terminal, `/dev/null` stands in.
    pub(super) given: [OwnedFd; 3],
    pub(super) terminal: [bool; 3],
    copies: Vec<JoinHandle<()>>,
    pending: Vec<(OwnedFd, OwnedFd)>,
    meter: Arc<Meter>,
}

/// How much output is left, and a bell for when none is.
#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicU64,
    bell: OwnedFd,
}

impl Streams {
    /// Looks at this process's own streams. Output is counted where `output_bytes` bounds it.
    /// A pipe is given to `owner`, where ids are shifted: programs open `/dev/stdout` anew, as whoever they are.
    pub(super) fn choose(output_bytes: Option<u64>, owner: Option<Uid>) -> Result<Self, RunError> {
        let own = [io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned()];
        let [input, output] = own;
        let own = [input?, output?, io::stderr().as_fd().try_clone_to_owned()?];
        let meter = Arc::new(Meter {
            left: AtomicU64::new(output_bytes.unwrap_or(u64::MAX)),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?,
        });
        let nothing = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let mut terminal = [false; 3];
        let mut pending = Vec::new();
        let mut given = Vec::with_capacity(3);
        for (number, stream) in own.into_iter().enumerate() {
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&stream).map_err(io::Error::from)?.st_mode);
            let stream = match kind {
                FileType::Directory | FileType::BlockDevice => return Err(RunError::Stream(NAMES[number])),
                FileType::CharacterDevice if rustix::termios::isatty(&stream) => {
                    terminal[number] = true;
                    nothing().map_err(io::Error::from)?
                }
                _ if number > 0 && output_bytes.is_some() => {
                    let (reader, writer) = io::pipe()?;
                    pending.push((reader.into(), stream));
                    writer.into()
                }
                _ => stream,
            };
            if let Some(owner) = owner.filter(|_| is_anonymous_pipe(&stream)) {
                rustix::fs::fchown(&stream, Some(owner), None).map_err(io::Error::from)?;
            }
            given.push(stream);
        }
        let given = <[OwnedFd; 3]>::try_from(given).expect("one was pushed for each of three");
        Ok(Self { given, terminal, copies: Vec::new(), pending, meter })
    }

    /// Begins to copy what has to be copied, once the program runs; `shown` is the other side of its terminal.
    pub(super) fn flow(self, shown: Option<OwnedFd>) -> io::Result<Flow> {
        let Self { given, terminal, mut copies, pending, meter } = self;
        // Held any longer, the caller's readers would not see the program's own end of file.
        drop(given);
        let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        for (reader, writer) in pending {
            let meter = meter.clone();
            copies.push(std::thread::spawn(move || meter.copy(File::from(reader), File::from(writer))));
        }
        let mut raw = None;
        if let Some(shown) = &shown {
            let out = if terminal[1] {
                io::stdout().as_fd().try_clone_to_owned()?
            } else {
                io::stderr().as_fd().try_clone_to_owned()?
            };
            let (screen, counted) = (File::from(shown.try_clone()?), meter.clone());
            copies.push(std::thread::spawn(move || counted.copy(screen, File::from(out))));
            if terminal[0] {
                raw = Some(Raw::enter()?);
                let (keys, mut typed) =
                    (File::from(io::stdin().as_fd().try_clone_to_owned()?), File::from(shown.try_clone()?));
                // Not waited for: it ends with this process, or when the terminal hangs up.
                std::thread::spawn(move || drop(io::copy(&mut &keys, &mut typed)));
            }
        }
        if !terminal[0] {
            rustix::stdio::dup2_stdin(&nothing)?;
        }
        if !terminal[1] {
            rustix::stdio::dup2_stdout(&nothing)?;
        }
        let flow = Flow { copies, meter, shown, _raw: raw };
        flow.resize();
        Ok(flow)
    }
}

/// Not a pipe that has a name on some disk.
fn is_anonymous_pipe(stream: &OwnedFd) -> bool {
    rustix::fs::fstatfs(stream).is_ok_and(|found| found.f_type == PIPE_FILE_SYSTEM)
}

/// Streams of a running program.
pub(super) struct Flow {
    copies: Vec<JoinHandle<()>>,
    meter: Arc<Meter>,
    shown: Option<OwnedFd>,
    _raw: Option<Raw>,
}

impl Flow {
    /// Readable once more output came than may.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.meter.bell.as_fd()
    }

    /// Gives the program's terminal the size of the caller's.
    pub(super) fn resize(&self) {
        if let Some(shown) = &self.shown {
            let size = [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()]
                .into_iter()
                .find_map(|stream| rustix::termios::tcgetwinsize(stream).ok());
            if let Some(size) = size {
                let _ = rustix::termios::tcsetwinsize(shown, size);
            }
        }
    }

    /// Waits until everything that was written has arrived. All writers inside are gone by then, so this ends.
    pub(super) fn drain(self) {
        let Self { copies, shown, .. } = self;
        drop(shown);
        for copy in copies {
            let _ = copy.join();
        }
    }
}

impl Meter {
    fn copy(&self, mut from: File, mut to: File) {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A terminal whose other side is closed answers EIO.
                Err(_) => return,
            };
            let wanted = u64::try_from(read).unwrap_or(u64::MAX);
            let left = self.left.load(Ordering::Relaxed);
            let allowed = wanted.min(left);
            if left != u64::MAX {
                self.left.fetch_sub(allowed, Ordering::Relaxed);
            }
            let allowed_len = usize::try_from(allowed).unwrap_or(read);
            if to.write_all(&buffer[..allowed_len]).is_err() {
                return;
            }
            if allowed < wanted {
                let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
                return;
            }
        }
    }
}

/// The caller's terminal, passing every key through; as it was when dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = rustix::termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
