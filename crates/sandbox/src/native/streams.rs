//! What a program's standard streams lead to: the caller's own where that is safe, else a pipe or terminal between.
//! A folder or a disk is refused, because a program could walk from it to the host's files (CVE-2024-21626).

use super::RunError;
use super::modes::Modes;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FileType, Mode, OFlags, Uid};
use rustix::termios::{OptionalActions, Termios};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

/// Hears what comes in to a program, as it comes.
pub type Ear = Box<dyn FnMut(&[u8]) + Send>;

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
        is_heard: bool,
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
                kind if number == 0
                    && (kind == FileType::RegularFile
                        || (is_heard && [FileType::Fifo, FileType::Socket].contains(&kind))) =>
                {
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

    /// Begins to copy what has to be copied, once the program runs; `shown` is the other side of its terminal, and `ear` hears its
    /// input.
    pub(super) fn flow(self, shown: Option<OwnedFd>, mut ear: Option<Ear>) -> io::Result<Flow> {
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
            let ear = ear.take();
            std::thread::spawn(move || heard(File::from(file), File::from(writer), ear));
        }
        let (mut raw, modes) = (None, Arc::new(Mutex::new(Modes::default())));
        let screen = screens.iter().flatten().last().map(OwnedFd::try_clone).transpose()?;
        if let (Some(shown), Some(screen)) = (&shown, &screen) {
            let (output, counted) = (File::from(shown.try_clone()?), meter.clone());
            let to = Watched { screen: File::from(screen.try_clone()?), modes: modes.clone() };
            copies.push(std::thread::spawn(move || counted.copy(output, to)));
            if let [Some(keys), ..] = screens {
                raw = Some(Raw::enter(keys.try_clone()?)?);
                let typed = File::from(shown.try_clone()?);
                let ear = ear.take();
                // Not waited for: it ends with this process, or when the terminal hangs up.
                std::thread::spawn(move || heard(File::from(keys), typed, ear));
            }
        }
        let flow = Flow { copies, meter, shown, screen, modes, raw };
        flow.resize();
        Ok(flow)
    }
}

/// Copies until either side ends; whoever listens hears everything first.
fn heard(mut from: File, mut to: File, ear: Option<Ear>) {
    let Some(mut ear) = ear else { return drop(io::copy(&mut from, &mut to)) };
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                ear(&buffer[..read]);
                if to.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The caller's screen, and what was switched on there.
struct Watched {
    screen: File,
    modes: Arc<Mutex<Modes>>,
}

impl Write for Watched {
    fn write(&mut self, output: &[u8]) -> io::Result<usize> {
        let written = self.screen.write(output)?;
        self.modes.lock().unwrap_or_else(PoisonError::into_inner).see(&output[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.screen.flush()
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
    modes: Arc<Mutex<Modes>>,
    raw: Option<Raw>,
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

    /// Whether the caller's terminal is the program's for now.
    pub(super) fn has_terminal(&self) -> bool {
        self.raw.is_some()
    }

    /// Stops this process as its program has stopped, for as long as its caller likes. The caller has its terminal meanwhile.
    pub(super) fn pause(&self) {
        let lines = self.modes.lock().unwrap_or_else(PoisonError::into_inner).undo();
        self.show(&lines);
        if let Some(raw) = &self.raw {
            raw.leave();
        }
        crate::sys::stop();
        self.go_on();
    }

    /// Takes the terminal again, which the caller may have used meanwhile.
    pub(super) fn go_on(&self) {
        if let Some(raw) = &self.raw {
            let _ = raw.again();
        }
        self.resize();
    }

    fn show(&self, text: &[u8]) {
        if let Some(screen) = &self.screen
            && !text.is_empty()
            && let Ok(screen) = screen.try_clone()
        {
            let _ = File::from(screen).write_all(text);
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
    pub(super) fn drain(mut self) {
        drop(self.shown.take());
        for copy in std::mem::take(&mut self.copies) {
            let _ = copy.join();
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let left_on = std::mem::take(&mut *self.modes.lock().unwrap_or_else(PoisonError::into_inner)).undo();
        self.show(&left_on);
    }
}

impl Meter {
    fn copy(&self, mut from: File, mut to: impl Write) {
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
        let raw = Self { terminal, before };
        raw.again()?;
        Ok(raw)
    }

    fn again(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &raw)?;
        Ok(())
    }

    fn leave(&self) {
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.leave();
    }
}
