//! A value that must not be seen: kept in memory of its own, wiped when dropped, shown only to a closure. It is never
//! printed, cloned, compared or serialized.
//!
//! ```compile_fail
//! let secret = vault::Secret::new(vec![b'x'; 8]).unwrap();
//! println!("{secret:?}");
//! ```
//! ```compile_fail
//! let secret = vault::Secret::new(vec![b'x'; 8]).unwrap();
//! println!("{secret}");
//! ```
//! ```compile_fail
//! let secret = vault::Secret::new(vec![b'x'; 8]).unwrap();
//! let other = secret.clone();
//! ```
//! ```compile_fail
//! let one = vault::Secret::new(vec![b'x'; 8]).unwrap();
//! let two = vault::Secret::new(vec![b'x'; 8]).unwrap();
//! assert!(one == two);
//! ```
//! ```compile_fail
//! let secret = vault::Secret::new(vec![b'x'; 8]).unwrap();
//! serde_json::to_string(&secret).unwrap();
//! ```
//! ```
//! let secret = vault::Secret::new(vec![b'x'; 8]).unwrap();
//! assert_eq!(secret.expose(<[u8]>::len), 8);
//! ```

use zeroize::Zeroize;

/// Longest value, in bytes: a key file or a certificate chain fits, a disk image does not.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// A secret value. Its bytes lie on pages of their own, locked in memory where the limit of the process allows it, and
/// are overwritten when the value is dropped.
pub struct Secret {
    // Field order is drop order: `lock` must let go of the pages before they are freed.
    lock: Option<region::LockGuard>,
    pages: Box<[u8]>,
    start: usize,
    length: usize,
}

/// The value is longer than [`SECRET_BYTES_MAX`] or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is 1 to {SECRET_BYTES_MAX} bytes; keep larger things in a file and only its key here")]
pub struct BadLength;

impl Secret {
    /// Takes over `bytes`, which are wiped where they were.
    ///
    /// # Errors
    /// When there are none, or more than [`SECRET_BYTES_MAX`].
    pub fn new(mut bytes: Vec<u8>) -> Result<Self, BadLength> {
        let taken = Self::copy_of(&bytes);
        bytes.zeroize();
        taken
    }

    /// Copies `bytes`; wiping the original remains the caller's duty.
    ///
    /// # Errors
    /// As [`Secret::new`].
    pub fn copy_of(bytes: &[u8]) -> Result<Self, BadLength> {
        if bytes.is_empty() || bytes.len() > SECRET_BYTES_MAX {
            return Err(BadLength);
        }
        // Locks of pages do not nest: two secrets on one page would unlock each other. Hence whole pages each.
        let page = region::page::size();
        let span = bytes.len().next_multiple_of(page);
        let mut pages = vec![0_u8; span + page].into_boxed_slice();
        let start = pages.as_ptr().align_offset(page);
        if start > page {
            return Err(BadLength);
        }
        let lock = region::lock(pages[start..].as_ptr(), span).ok();
        pages[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(Self { lock, pages, start, length: bytes.len() })
    }

    /// Reads a value to its end, such as from standard input, and drops one end of line.
    ///
    /// # Errors
    /// When it cannot be read, is empty, or is longer than [`SECRET_BYTES_MAX`].
    pub fn read(input: impl std::io::Read) -> std::io::Result<Self> {
        use std::io::Read as _;
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 3));
        input.take(SECRET_BYTES_MAX as u64 + 3).read_to_end(&mut bytes)?;
        Self::copy_of(without_newline(&bytes)).map_err(std::io::Error::other)
    }

    /// Asks for a value at the terminal, without echo. The prompt goes to the terminal as well, never to a pipe.
    ///
    /// # Errors
    /// When there is no terminal, or as [`Secret::read`].
    pub fn ask(prompt: &str) -> std::io::Result<Self> {
        use std::io::{BufRead as _, Read as _, Write as _};
        let mut terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        terminal.write_all(prompt.as_bytes())?;
        let quiet = Quiet::new(terminal.try_clone()?)?;
        let mut line = zeroize::Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 3));
        let input = (&terminal).take(SECRET_BYTES_MAX as u64 + 3);
        std::io::BufReader::with_capacity(1, input).read_until(b'\n', &mut line)?;
        drop(quiet);
        terminal.write_all(b"\n")?;
        Self::copy_of(without_newline(&line)).map_err(std::io::Error::other)
    }

    /// Shows the value to `look`, which must not keep a copy: it is the only way to see it.
    pub fn expose<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.pages[self.start..self.start + self.length])
    }

    /// Whether the value is locked in memory, so that it is never written to swap.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.pages.zeroize();
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet(std::fs::File, rustix::termios::Termios);

impl Quiet {
    fn new(terminal: std::fs::File) -> std::io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(&terminal)?;
        let mut during = before.clone();
        during.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &during)?;
        Ok(Self(terminal, before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _restored = rustix::termios::tcsetattr(&self.0, rustix::termios::OptionalActions::Now, &self.1);
    }
}

/// `bytes` without one end of line: programs and editors add it, no credential ends in it.
pub(crate) fn without_newline(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Keeps this process's memory out of core dumps and away from debuggers of the same user. To be called once, early,
/// by the process that holds secrets; child processes inherit the core limit but decide about the rest themselves.
///
/// # Errors
/// When the system refuses.
pub fn undumpable() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_value_is_read_to_its_end() {
        let long = vec![b'x'; SECRET_BYTES_MAX + 3];
        for (input, value) in [
            (&b"value\n"[..], Some(&b"value"[..])),
            (b"value\r\n", Some(b"value")),
            (b"two\nlines\n\n", Some(b"two\nlines\n")),
            (b" spaces ", Some(b" spaces ")),
            (b"\n", None),
            (b"", None),
            (&long, None),
        ] {
            let read = Secret::read(input).ok().map(|secret| secret.expose(<[u8]>::to_vec));
            assert_eq!(read.as_deref(), value);
        }
    }

    #[test]
    fn a_value_has_a_length() {
        assert!(Secret::new(vec![1; SECRET_BYTES_MAX]).is_ok());
        assert!(Secret::new(vec![1]).is_ok());
        assert!(Secret::new(Vec::new()).is_err());
        assert!(Secret::new(vec![1; SECRET_BYTES_MAX + 1]).is_err());
    }

    /// Reads the process's own memory where the value lay: before the drop it is there, afterwards it is not.
    #[test]
    fn a_dropped_value_is_gone_from_memory() {
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let pattern: Vec<u8> = (0..4000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let secret = Secret::copy_of(&pattern).unwrap();
        let address = secret.expose(|bytes| bytes.as_ptr().addr()) as u64;
        let mut seen = vec![0; pattern.len()];
        memory.read_exact_at(&mut seen, address).unwrap();
        assert_eq!(seen, pattern);
        drop(secret);
        seen.fill(0);
        // The page may have gone back to the system; then the read fails and nothing is there either.
        if memory.read_exact_at(&mut seen, address).is_ok() {
            assert_ne!(seen, pattern);
            let kept =
                seen.windows(16).filter(|window| pattern.windows(16).any(|part| part == *window)).count();
            assert_eq!(kept, 0, "windows of the value that are still there");
        }
    }

    #[test]
    fn neighbours_keep_their_locks() {
        let one = Secret::new(vec![7; 100]).unwrap();
        let two = Secret::new(vec![8; 100]).unwrap();
        drop(one);
        assert!(two.expose(|bytes| bytes.iter().all(|byte| *byte == 8)));
    }
}
