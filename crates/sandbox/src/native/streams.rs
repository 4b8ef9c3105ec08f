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
use std::time::{Duration, Instant};

/// Names of the streams, by number.
const NAMES: [&str; 3] = ["input", "output", "error"];
/// `PIPEFS_MAGIC` of `<linux/magic.h>`.
const PIPE_FILE_SYSTEM: rustix::fs::FsWord = 0x5049_5045;
/// Bytes copied at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Most that ended output may take to arrive once a limit was reached, in milliseconds.
const DRAIN_MS_MAX: u64 = 1_000;

/// Where a program's input, output and errors lead.
#[derive(Debug)]
pub struct Standard([OwnedFd; 3]);

impl Standard {
    /// These descriptors.
    pub fn new(input: OwnedFd, output: OwnedFd, error: OwnedFd) -> Self {
        Self([input, output, error])
    }

    /// This process's own. It keeps its errors and terminals; its input and output become `/dev/null`, so that whoever is
    /// at the other end sees when the program closes them.
    ///
    /// # Errors
    /// One of them is closed.
    pub fn take() -> io::Result<Self> {
        let own = [
            io::stdin().as_fd().try_clone_to_owned()?,
            io::stdout().as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
        ];
        let nothing = nothing()?;
        if !rustix::termios::isatty(&own[0]) {
            rustix::stdio::dup2_stdin(&nothing)?;
        }
        if !rustix::termios::isatty(&own[1]) {
            rustix::stdio::dup2_stdout(&nothing)?;
        }
        Ok(Self(own))
    }
}

fn nothing() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// The streams for one program.
pub(super) struct Streams {
    /// What it gets; where it gets a terminal, `/dev/null` stands in.
    pub(super) given: [OwnedFd; 3],
    pub(super) terminal: [bool; 3],
    /// The caller's ends of a terminal.
    screens: [Option<OwnedFd>; 3],
    pending: Vec<(OwnedFd, OwnedFd)>,
    feeds: Vec<(OwnedFd, OwnedFd)>,
    meter: Arc<Meter>,
}

/// How much output is left, and a bell for when none is.
#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicU64,
    bell: OwnedFd,
}

impl Streams {
    /// Looks at the caller's streams. Output is counted where `output_bytes` bounds it.
    /// A pipe is given to `owner`, where ids are shifted: programs open `/dev/stdout` anew, as whoever they are.
    pub(super) fn choose(
        Standard(own): Standard,
        output_bytes: Option<u64>,
        owner: Option<Uid>,
    ) -> Result<Self, RunError> {
        let meter = Arc::new(Meter {
            left: AtomicU64::new(output_bytes.unwrap_or(u64::MAX)),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?,
        });
        let mut terminal = [false; 3];
        let mut screens = [None, None, None];
        let mut pending: Vec<(OwnedFd, OwnedFd)> = Vec::new();
        let mut feeds: Vec<(OwnedFd, OwnedFd)> = Vec::new();
        let mut given = Vec::with_capacity(3);
        for (number, stream) in own.into_iter().enumerate() {
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&stream).map_err(io::Error::from)?.st_mode);
            let stream = match kind {
                FileType::Directory | FileType::BlockDevice => return Err(RunError::Stream(NAMES[number])),
                FileType::CharacterDevice if rustix::termios::isatty(&stream) => {
                    terminal[number] = true;
                    screens[number] = Some(stream);
                    nothing()?
                }
                // A file would come with more than reading or writing on: its other contents, its mode.
                FileType::RegularFile if number == 0 => {
                    let (reader, writer) = io::pipe()?;
                    feeds.push((stream, writer.into()));
                    reader.into()
                }
                kind if number > 0 && (output_bytes.is_some() || kind == FileType::RegularFile) => {
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
        Ok(Self { given, terminal, screens, pending, feeds, meter })
    }

    /// Begins to copy what has to be copied, once the program runs; `shown` is the other side of its terminal.
    pub(super) fn flow(self, shown: Option<OwnedFd>) -> io::Result<Flow> {
        let Self { given, terminal: _, screens, pending, feeds, meter } = self;
        // Held any longer, the caller's readers would not see the program's own end of file.
        drop(given);
        let mut copies = Vec::new();
        for (reader, writer) in pending {
            let meter = meter.clone();
            copies.push(std::thread::spawn(move || meter.copy(File::from(reader), File::from(writer))));
        }
        for (file, writer) in feeds {
            // Not waited for: it ends when the file does, or the program that reads it.
            std::thread::spawn(move || drop(io::copy(&mut File::from(file), &mut File::from(writer))));
        }
        let mut raw = None;
        let screen = screens.iter().flatten().last().map(OwnedFd::try_clone).transpose()?;
        if let (Some(shown), Some(screen)) = (&shown, &screen) {
            let (output, counted) = (File::from(shown.try_clone()?), meter.clone());
            let to = File::from(screen.try_clone()?);
            copies.push(std::thread::spawn(move || counted.copy(output, to)));
            if let [Some(keys), ..] = screens {
                raw = Some(Raw::enter(keys.try_clone()?)?);
                let mut typed = File::from(shown.try_clone()?);
                // Not waited for: it ends with this process, or when the terminal hangs up.
                std::thread::spawn(move || drop(io::copy(&mut File::from(keys), &mut typed)));
            }
        }
        let flow = Flow { copies, meter, shown, screen, _raw: raw };
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
    /// The program's terminal, and the caller's.
    shown: Option<OwnedFd>,
    screen: Option<OwnedFd>,
    _raw: Option<Raw>,
}

impl Flow {
    /// Readable once more output came than may.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.meter.bell.as_fd()
    }

    /// Gives the program's terminal the size of the caller's.
    pub(super) fn resize(&self) {
        if let (Some(shown), Some(screen)) = (&self.shown, &self.screen)
            && let Ok(size) = rustix::termios::tcgetwinsize(screen)
        {
            let _ = rustix::termios::tcsetwinsize(shown, size);
        }
    }

    /// Whether anything is copied, and not all of it has arrived.
    pub(super) fn is_copying(&self) -> bool {
        self.copies.iter().any(|copy| !copy.is_finished())
    }

    /// Waits for what was written to arrive, but not for a reader that may have stopped reading for good.
    pub(super) fn abandon(self) {
        let begun = Instant::now();
        while self.is_copying() && begun.elapsed() < Duration::from_millis(DRAIN_MS_MAX) {
            std::thread::sleep(Duration::from_millis(5));
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
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    fn enter(terminal: OwnedFd) -> io::Result<Self> {
        let before = rustix::termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
