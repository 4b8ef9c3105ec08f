//! Finds placeholders and values in a stream, as it is, as a form means it, or inflated. It keeps no more than what could
//! be the beginning of a match, and changes nothing.

use super::super::Wallet;
use super::super::find::Layers;
use super::super::used::{Misuse, Why};
use crate::binding::Mismatch;
use crate::encode::{nibble, unpercent};
use crate::lease::Held;
use crate::name::SecretName;
use crate::placeholder::PLACEHOLDER_VALUE_BYTES_MIN;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use memchr::memmem;
use std::io::Write as _;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How much a compressed body may inflate to, in bytes; deflate's own bound is about a thousandfold.
const INFLATED_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// How much is inflated between two looks, in bytes.
const SLICE_BYTES: usize = 16 * 1024;

/// What is looked for: each placeholder and each value of the wallet.
pub(super) struct Needles {
    texts: Vec<(SecretName, Needle)>,
    /// With many texts, one pass looks for all of them.
    ends: Option<Ends>,
}

/// From how many texts on one pass for all is faster than one for each.
const ONE_PASS_MIN: usize = 48;
/// How many of a text's first bytes are looked at before it is compared: no text is shorter.
const BEGIN_BYTES: usize = PLACEHOLDER_VALUE_BYTES_MIN;

/// Which texts have a given end of their first bytes, by a hash of it. The very first bytes tell little: many begin alike.
struct Ends {
    buckets: Vec<Vec<u16>>,
}

impl Ends {
    fn of(texts: &[(SecretName, Needle)]) -> Self {
        let mut buckets = vec![Vec::new(); 1 << 12];
        for (index, (_, needle)) in texts.iter().enumerate() {
            if let Ok(index) = u16::try_from(index) {
                buckets[needle.look(|it| Self::hash(&it[..BEGIN_BYTES]))].push(index);
            }
        }
        Self { buckets }
    }

    fn hash(begin: &[u8]) -> usize {
        let end = &begin[BEGIN_BYTES - 4..];
        let word = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
        (word.wrapping_mul(0x9e37_79b1) >> 20) as usize
    }
}

enum Needle {
    Placeholder(String),
    Value(Arc<Held>),
}

impl Needle {
    fn look<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Placeholder(text) => look(text.as_bytes()),
            Self::Value(held) => held.expose(look),
        }
    }

    fn why(&self) -> Why {
        match self {
            Self::Placeholder(_) => Why::Mismatch(Mismatch::Place),
            Self::Value(_) => Why::Value,
        }
    }
}

impl Needles {
    pub(super) fn of(wallet: &Wallet) -> Self {
        let mut texts = Vec::new();
        for handle in wallet.known() {
            texts.push((handle.name.clone(), Needle::Placeholder(handle.placeholder.clone())));
            let values = wallet.values(&handle);
            texts.extend(values.into_iter().map(|held| (handle.name.clone(), Needle::Value(held))));
        }
        let ends = (texts.len() >= ONE_PASS_MIN).then(|| Ends::of(&texts));
        Self { texts, ends }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<Misuse> {
        let found = match &self.ends {
            None => self.texts.iter().find(|(_, needle)| needle.look(|it| memmem::find(text, it).is_some())),
            Some(ends) => text.windows(BEGIN_BYTES).enumerate().find_map(|(at, begin)| {
                let bucket = ends.buckets[Ends::hash(begin)].iter();
                bucket
                    .map(|index| &self.texts[usize::from(*index)])
                    .find(|(_, needle)| needle.look(|it| text[at..].starts_with(it)))
            }),
        };
        found.map(|(name, needle)| misuse(name, needle.why()))
    }

    /// How many of the last bytes of `text` could be the beginning of something looked for.
    pub(super) fn pending(&self, text: &[u8]) -> usize {
        self.texts.iter().map(|(_, needle)| needle.look(|it| overlap(text, it))).max().unwrap_or(0)
    }

    /// As `find`, in all layers, in the pieces of `text` outside `written`.
    pub(super) fn refuse_except(
        &self,
        text: &[u8],
        written: &[std::ops::Range<usize>],
    ) -> Result<(), Misuse> {
        let mut start = 0;
        let ends = written.iter().map(|range| (range.start, range.end));
        for (end, next) in ends.chain([(text.len(), text.len())]) {
            let piece = text.get(start..end).unwrap_or_default();
            let layers = Layers::of(piece);
            let found = self.texts.iter().find(|(_, needle)| needle.look(|it| layers.hold(it)));
            if let Some((name, needle)) = found {
                return Err(misuse(name, needle.why()));
            }
            start = next;
        }
        Ok(())
    }
}

pub(super) fn misuse(name: &SecretName, why: Why) -> Misuse {
    Misuse { secret: name.clone(), place: "the body".into(), why }
}

/// The length of the longest proper beginning of `needle` that `text` ends with.
fn overlap(text: &[u8], needle: &[u8]) -> usize {
    let Some(first) = needle.first() else { return 0 };
    let start = text.len().saturating_sub(needle.len() - 1);
    memchr::memchr_iter(*first, &text[start..])
        .find(|at| needle.starts_with(&text[start + at..]))
        .map_or(0, |at| text.len() - start - at)
}

/// A stream that is only searched: it keeps what could be the beginning of a match.
struct Scan {
    needles: Arc<Needles>,
    tail: Zeroizing<Vec<u8>>,
}

impl Scan {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self { needles, tail: Zeroizing::default() }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Misuse> {
        self.tail.extend_from_slice(chunk);
        if let Some(misuse) = self.needles.find(&self.tail) {
            return Err(misuse);
        }
        let leaving = self.tail.len() - self.needles.pending(&self.tail);
        self.tail.drain(..leaving);
        Ok(())
    }
}

/// A form as it is meant: with its percent encoding undone.
pub(super) struct FormScan {
    scan: Scan,
    /// A `%` and what follows it, cut off by the end of a chunk.
    cut: Vec<u8>,
}

impl FormScan {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self { scan: Scan::new(needles), cut: Vec::new() }
    }

    /// How many of the last bytes of the stream could encode the beginning of something looked for.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<usize, Misuse> {
        let mut text = std::mem::take(&mut self.cut);
        text.extend_from_slice(chunk);
        let end = text.len();
        let cut = match (end.checked_sub(1), end.checked_sub(2)) {
            (Some(last), _) if text[last] == b'%' => 1,
            (Some(last), Some(before)) if text[before] == b'%' && nibble(&text[last]).is_some() => 2,
            _ => 0,
        };
        self.cut = text.split_off(end - cut);
        self.scan.push(&unpercent(&text))?;
        Ok(3 * self.scan.tail.len() + cut)
    }
}

/// Where inflated bytes go: they are searched and forgotten.
pub(super) struct Inflated {
    scan: Scan,
    began: bool,
    total: u64,
    found: Option<Misuse>,
}

impl Inflated {
    fn new(needles: Arc<Needles>) -> Self {
        Self { scan: Scan::new(needles), began: false, total: 0, found: None }
    }
}

impl std::io::Write for Inflated {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.total += bytes.len() as u64;
        for slice in bytes.chunks(SLICE_BYTES) {
            if let Err(misuse) = self.scan.push(slice) {
                self.found = Some(misuse);
                return Err(std::io::ErrorKind::Other.into());
            }
        }
        if self.total > INFLATED_BYTES_MAX {
            Err(std::io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(bytes.len())
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) enum Decoder {
    Gzip(Box<MultiGzDecoder<Inflated>>),
    Zlib(Box<ZlibDecoder<Inflated>>),
}

impl Decoder {
    pub(super) fn gzip(needles: Arc<Needles>) -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(Inflated::new(needles))))
    }

    pub(super) fn zlib(needles: Arc<Needles>) -> Self {
        Self::Zlib(Box::new(ZlibDecoder::new(Inflated::new(needles))))
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Misuse> {
        if chunk.is_empty() {
            return Ok(());
        }
        match self {
            Self::Gzip(decoder) => decoder.get_mut().began = true,
            Self::Zlib(decoder) => decoder.get_mut().began = true,
        }
        let done = match self {
            Self::Gzip(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
            Self::Zlib(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
        };
        self.outcome(done)
    }

    pub(super) fn finish(&mut self) -> Result<(), Misuse> {
        if !self.began() {
            return Ok(());
        }
        let done = match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zlib(decoder) => decoder.try_finish(),
        };
        self.outcome(done)
    }

    /// A body of no bytes at all is no compressed one, whatever its head says.
    fn began(&self) -> bool {
        match self {
            Self::Gzip(decoder) => decoder.get_ref().began,
            Self::Zlib(decoder) => decoder.get_ref().began,
        }
    }

    fn outcome(&mut self, done: std::io::Result<()>) -> Result<(), Misuse> {
        let sink = match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
        };
        let Err(error) = done else { return Ok(()) };
        if let Some(found) = sink.found.take() {
            return Err(found);
        }
        let too_large = error.kind() == std::io::ErrorKind::FileTooLarge;
        let why = if too_large { Why::TooLarge } else { Why::Undecodable };
        // Whose secret it might be is not known; the first one stands for all.
        match sink.scan.needles.texts.first() {
            Some((name, _)) => Err(misuse(name, why)),
            None => Ok(()),
        }
    }
}
