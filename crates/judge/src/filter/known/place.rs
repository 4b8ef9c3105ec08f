//! Where a byte of a decoded view came from in the input stream.
//! Nothing here looks at the bytes themselves.

/// A stretch of the input stream: 47 bits of offset, 16 bits of length (saturating), one bit for "until the end of its run".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span(u64);

impl Span {
    const LENGTH_MAX: u64 = 0xffff;

    pub(super) fn new(start: u64, end: u64) -> Self {
        Self(start << 16 | end.saturating_sub(start).min(Self::LENGTH_MAX))
    }
    pub(super) fn start(self) -> u64 {
        self.0 >> 16
    }
    pub(super) fn end(self) -> u64 {
        self.start() + (self.0 & Self::LENGTH_MAX)
    }
    /// From the start of `self` to the end of `last`.
    pub(super) fn until(self, last: Self) -> Self {
        Self::new(self.start(), last.end().max(self.end()))
    }
}

/// The spans of a slice of bytes.
pub(super) trait Places: Copy {
    /// Whether the bytes are the input itself.
    const FLAT: bool;
    fn span(&self, index: usize) -> Span;
    fn from(&self, index: usize) -> Self;
}

/// Bytes that are the input itself, from this offset on.
#[derive(Clone, Copy)]
pub(super) struct Flat(pub(super) u64);

impl Places for Flat {
    const FLAT: bool = true;
    #[inline(always)]
    fn span(&self, index: usize) -> Span {
        let start = self.0 + index as u64;
        Span(start << 16 | 1)
    }
    fn from(&self, index: usize) -> Self {
        Self(self.0 + index as u64)
    }
}

/// Bytes decoded from the input, one span each.
#[derive(Clone, Copy)]
pub(super) struct Mapped<'a>(pub(super) &'a [Span]);

impl Places for Mapped<'_> {
    const FLAT: bool = false;
    #[inline(always)]
    fn span(&self, index: usize) -> Span {
        self.0[index]
    }
    fn from(&self, index: usize) -> Self {
        Self(&self.0[index..])
    }
}

/// A place in the input, and the same place in the text that was decoded from it.
#[derive(Clone, Copy, Default)]
pub(super) struct At {
    pub(super) input: u64,
    pub(super) own: u64,
}

/// Bytes picked out of a text, and where they stand in the input and in that text (where that is not the input itself).
#[derive(Clone, Copy)]
pub(super) struct Near<'a, P> {
    pub(super) bytes: &'a [u8],
    pub(super) places: P,
    pub(super) own: &'a [Span],
}

/// Decoded bytes on their way to the view that reads them.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) bytes: Vec<u8>,
    pub(super) spans: Vec<Span>,
}

impl Staged {
    pub(super) fn push(&mut self, byte: u8, span: Span) {
        self.bytes.push(byte);
        self.spans.push(span);
    }
    pub(super) fn extend<P: Places>(&mut self, bytes: &[u8], places: P) {
        self.bytes.extend_from_slice(bytes);
        self.spans.extend((0..bytes.len()).map(|i| places.span(i)));
    }
    pub(super) fn drop_first(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.spans.drain(..count);
    }
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}
