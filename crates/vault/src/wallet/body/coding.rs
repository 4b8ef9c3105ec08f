//! Bodies as they are without their content coding, for whoever must look at them on their way. What is unpacked is looked
//! at in slices and forgotten; nothing here keeps it, and how much it may become is bounded.

use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};
use std::io::{self, Write as _};

/// How much a body may unpack to, in bytes.
const UNPACKED_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// How much is unpacked between two looks, in bytes.
const SLICE_BYTES: usize = 16 * 1024;
/// RFC 9659: a zstd window in HTTP has at most 8 MiB. brotli has 16 MiB by its own rules, deflate 32 KiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Longest name of a coding that is repeated to anybody.
const NAME_BYTES_MAX: usize = 32;

/// How a body is coded, as its head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all, or only in pieces that are what they are.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Zlib,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// In a way that is not known here, or more than once.
    Unknown(String),
}

impl Coding {
    /// What `headers` say of their body.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut coding = Self::Plain;
        for value in headers.get_all(CONTENT_ENCODING) {
            for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let name = String::from_utf8_lossy(token).to_ascii_lowercase();
                let next = match name.as_str() {
                    // `aws-chunked` frames a body and leaves its bytes as they are.
                    "" | "identity" | "aws-chunked" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Zlib,
                    "br" => Self::Brotli,
                    "zstd" => Self::Zstd,
                    _ => Self::Unknown(name.escape_default().take(NAME_BYTES_MAX).collect()),
                };
                coding = match coding {
                    Self::Plain => next,
                    _ => Self::Unknown("more than one".to_owned()),
                };
            }
        }
        coding
    }
}

/// What looks at a body on its way, slice by slice.
pub trait Look {
    /// Why it must not go on.
    type Stop;
    /// Looks at the next bytes.
    ///
    /// # Errors
    /// Nothing more may be sent.
    fn look(&mut self, slice: &[u8]) -> Result<(), Self::Stop>;
}

/// Why a coded body cannot be looked at any further.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread<S> {
    /// Whoever looked at it stopped it.
    Stopped(S),
    /// It is not coded the way it says.
    Malformed,
    /// It unpacks to more than may be read.
    TooLarge,
}

/// A body that is unpacked as it passes, and shown to `L`.
pub struct Unpacking<L: Look> {
    decoder: Decoder<L>,
    is_begun: bool,
}

enum Decoder<L: Look> {
    Plain(Shown<L>),
    Gzip(Box<MultiGzDecoder<Shown<L>>>),
    Zlib(Box<ZlibDecoder<Shown<L>>>),
    Brotli(Box<brotli::DecompressorWriter<Shown<L>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Shown<L>>>),
}

/// Where unpacked bytes go.
struct Shown<L: Look> {
    look: L,
    total: u64,
    stopped: Option<L::Stop>,
}

impl<L: Look> io::Write for Shown<L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What writes again after an error must not get further.
        if self.stopped.is_some() {
            return Err(io::ErrorKind::Other.into());
        }
        self.total += bytes.len() as u64;
        if self.total > UNPACKED_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        for slice in bytes.chunks(SLICE_BYTES) {
            if let Err(stop) = self.look.look(slice) {
                self.stopped = Some(stop);
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<L: Look> Unpacking<L> {
    /// Shows `look` what a body in `coding` says.
    ///
    /// # Errors
    /// The coding is not known; its name.
    pub fn new(coding: &Coding, look: L) -> Result<Self, String> {
        let shown = Shown { look, total: 0, stopped: None };
        let decoder = match coding {
            Coding::Plain => Decoder::Plain(shown),
            Coding::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(shown))),
            Coding::Zlib => Decoder::Zlib(Box::new(ZlibDecoder::new(shown))),
            Coding::Brotli => Decoder::Brotli(Box::new(brotli::DecompressorWriter::new(shown, SLICE_BYTES))),
            Coding::Zstd => {
                let made = zstd::stream::write::Decoder::new(shown).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    Ok(decoder)
                });
                Decoder::Zstd(Box::new(made.map_err(|error| format!("zstd, and {error}"))?))
            }
            Coding::Unknown(name) => return Err(name.clone()),
        };
        Ok(Self { decoder, is_begun: false })
    }

    /// Takes `chunk`, and shows what it says.
    ///
    /// # Errors
    /// Nothing more may be sent.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Unread<L::Stop>> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.is_begun = true;
        let done = match &mut self.decoder {
            Decoder::Plain(shown) => shown.write_all(chunk),
            Decoder::Gzip(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
            Decoder::Zlib(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
            Decoder::Brotli(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
            Decoder::Zstd(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
        };
        self.outcome(done)
    }

    /// The end of the body. One of no bytes at all is no coded one, whatever its head says.
    ///
    /// # Errors
    /// It ended too early, or nothing more may be sent.
    pub fn finish(&mut self) -> Result<(), Unread<L::Stop>> {
        if !self.is_begun {
            return Ok(());
        }
        let done = match &mut self.decoder {
            Decoder::Plain(_) => Ok(()),
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Zlib(decoder) => decoder.try_finish(),
            Decoder::Brotli(decoder) => decoder.close(),
            Decoder::Zstd(decoder) => decoder.do_finish(),
        };
        self.outcome(done)
    }

    /// Whoever looks at it.
    pub fn look(&mut self) -> &mut L {
        &mut self.shown().look
    }

    fn shown(&mut self) -> &mut Shown<L> {
        match &mut self.decoder {
            Decoder::Plain(shown) => shown,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zlib(decoder) => decoder.get_mut(),
            Decoder::Brotli(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn outcome(&mut self, done: io::Result<()>) -> Result<(), Unread<L::Stop>> {
        let shown = self.shown();
        if let Some(stopped) = shown.stopped.take() {
            return Err(Unread::Stopped(stopped));
        }
        let Err(error) = done else { return Ok(()) };
        if error.kind() == io::ErrorKind::FileTooLarge || shown.total > UNPACKED_BYTES_MAX {
            return Err(Unread::TooLarge);
        }
        Err(Unread::Malformed)
    }
}
