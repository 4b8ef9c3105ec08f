//! Finds placeholders and values in a stream, as it is, as a form or JSON means it. It keeps no more than what could be the
//! beginning of a match, and changes nothing.

use super::super::Wallet;
use super::super::find::Layers;
use super::super::used::{Misuse, Why};
use crate::binding::Mismatch;
use crate::encode::{nibble, unescape, unpercent};
use crate::lease::Held;
use crate::name::SecretName;
use crate::placeholder::PLACEHOLDER_VALUE_BYTES_MIN;
use memchr::memmem;
use std::sync::Arc;
use zeroize::Zeroizing;

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

    /// Whose misuse it is where no secret is meant in particular: the first one stands for all.
    pub(super) fn unread(&self, why: Why) -> Result<(), Misuse> {
        self.texts.first().map_or(Ok(()), |(name, _)| Err(misuse(name, why)))
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

/// A text as its escapes mean it. It is looked through from its first escape on; before that it is what it is.
pub(super) struct EscapeScan {
    scan: Scan,
    is_begun: bool,
    /// An escape cut off by the end of a chunk.
    cut: Zeroizing<Vec<u8>>,
}

impl EscapeScan {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self { scan: Scan::new(needles), is_begun: false, cut: Zeroizing::default() }
    }

    /// How many of the last bytes of the stream could encode the beginning of something looked for. `held` is what precedes
    /// `chunk` and may be such a beginning, as it is.
    pub(super) fn push(&mut self, held: &[u8], chunk: &[u8]) -> Result<usize, Misuse> {
        if !self.is_begun {
            if memchr::memchr(b'\\', chunk).is_none() {
                return Ok(0);
            }
            self.is_begun = true;
            self.scan.tail.extend_from_slice(held);
        }
        let mut text = std::mem::take(&mut self.cut);
        text.extend_from_slice(chunk);
        let (plain, read) = unescape(&text);
        self.cut.extend_from_slice(&text[read..]);
        self.scan.push(&plain)?;
        Ok(6 * self.scan.tail.len() + self.cut.len())
    }
}

/// A stream that is only searched, as it is and as its escapes mean it.
pub(super) struct Twice {
    plain: Scan,
    escaped: EscapeScan,
}

impl Twice {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self { plain: Scan::new(needles.clone()), escaped: EscapeScan::new(needles) }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Misuse> {
        self.escaped.push(&self.plain.tail, chunk)?;
        self.plain.push(chunk)
    }
}
