//! Tells from their first bytes what may be packed data: gzip, zlib, or a deflate stream without a header.
//! It never unpacks; what it lets through is tried, what it refuses could not say a guarded value.

/// Bytes that decide whether a stream without a header may be deflate.
pub(super) const PROBE_BYTES: usize = 40;

/// Where the deflate stream begins after a gzip or zlib header; `None` while the header is not whole, zero when it is none.
pub(super) fn header(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0x1f] | [0x78] | [0x1f, 0x8b] => None,
        [0x78, flags, ..] => Some(if is_zlib(*flags) { 2 } else { 0 }),
        [0x1f, 0x8b, 8, ..] => gzip_header(&bytes[2..]),
        _ => Some(0),
    }
}

/// RFC 1950 §2.2: the two bytes are a multiple of 31, and no preset dictionary.
fn is_zlib(flags: u8) -> bool {
    (0x7800 + u16::from(flags)).is_multiple_of(31) && flags & 0x20 == 0
}

/// RFC 1952 §2.3: method, flags, time, extra flags, system, then the fields the flags name.
fn gzip_header(rest: &[u8]) -> Option<usize> {
    let flags = *rest.get(1)?;
    let mut at = 8;
    if flags & 4 != 0 {
        let length = [*rest.get(at)?, *rest.get(at + 1)?];
        at += 2 + usize::from(u16::from_le_bytes(length));
    }
    for named in [8, 16] {
        if flags & named != 0 {
            at += rest.get(at..)?.iter().position(|b| *b == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (rest.len() >= at).then_some(at + 2)
}

/// Where a gzip or zlib header may begin.
pub(super) fn seek(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2_iter(0x1f, 0x78, bytes).find(|at| match &bytes[*at..] {
        [0x1f] | [0x1f, 0x8b] | [0x1f, 0x8b, 8, ..] | [0x78] => true,
        // Where the header is not at the start it must be one a compressor writes (levels 1 to 9).
        [0x78, flags, ..] => matches!(flags, 0x01 | 0x5e | 0x9c | 0xda),
        _ => false,
    })
}

/// Whether these first bytes could begin a deflate stream that says at least eight bytes (RFC 1951).
pub(super) fn may_be_deflate(bytes: &[u8]) -> bool {
    let mut bits = Bits { bytes, at: 0 };
    let Some(last) = bits.take(1) else { return false };
    match bits.take(2) {
        Some(1) => fixed(&mut bits, last == 1),
        Some(2) => dynamic(&mut bits).unwrap_or(true),
        // A stored block says what it says in plain, and three is no kind of block.
        _ => false,
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next symbol of a canonical code with so many symbols of each length.
    fn symbol(&mut self, counts: &[u16; 8], symbols: &[u8; 19]) -> Option<u8> {
        let (mut code, mut first, mut index) = (0u16, 0u16, 0u16);
        for count in &counts[1..] {
            code |= self.take(1)? as u16;
            if code < first + count {
                return symbols.get(usize::from(index + code - first)).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for bit in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Some(value)
    }
    fn code(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |code, _| Some(code << 1 | self.take(1)?))
    }
}

/// Follows a block of fixed codes (§3.2.6): what is not deflate soon refers back past its beginning.
fn fixed(bits: &mut Bits<'_>, last: bool) -> bool {
    #[rustfmt::skip]
    const LENGTHS: [(u32, usize); 29] = [
        (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2), (23, 2),
        (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5), (163, 5),
        (195, 5), (227, 5), (258, 0),
    ];
    let mut said = 0;
    let mut next = |said: u32| -> Option<Result<u32, bool>> {
        let seven = bits.code(7)?;
        let symbol = match seven {
            0..=23 => 256 + seven,
            _ => {
                let eight = seven << 1 | bits.code(1)?;
                match eight {
                    192..=199 => 280 + eight - 192,
                    48..=191 => return Some(Ok(1)),
                    _ => {
                        bits.code(1)?;
                        return Some(Ok(1));
                    }
                }
            }
        };
        if symbol == 256 {
            return Some(Err(!last || said >= 8));
        }
        let Some((base, extra)) = LENGTHS.get(symbol as usize - 257) else { return Some(Err(false)) };
        let length = base + bits.take(*extra)?;
        let code = bits.code(5)?;
        if code > 29 {
            return Some(Err(false));
        }
        let more = (code as usize / 2).saturating_sub(1);
        let distance = if code < 4 { code + 1 } else { ((2 + code % 2) << more) + 1 + bits.take(more)? };
        Some(if distance > said { Err(false) } else { Ok(length) })
    };
    loop {
        match next(said) {
            None => return true,
            Some(Err(possible)) => return possible,
            Some(Ok(length)) => said += length,
        }
    }
}

/// The order in which the lengths of the code of code lengths are written (§3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// A code of this many parts is complete.
const WHOLE: u32 = 1 << 15;

/// The code of code lengths must be complete, and the codes that it describes must be as well, as far as they can be read: chance
/// hardly ever is.
fn dynamic(bits: &mut Bits<'_>) -> Option<bool> {
    let (literals, distances) = (bits.take(5)? as usize + 257, bits.take(5)? as usize + 1);
    if literals > 286 || distances > 30 {
        return Some(false);
    }
    let count = bits.take(4)? as usize + 4;
    let (mut lengths, mut counts, mut space) = ([0u8; 19], [0u16; 8], 0);
    for at in &ORDER[..count] {
        let length = bits.take(3)?;
        if length > 0 {
            lengths[*at] = length as u8;
            counts[length as usize] += 1;
            space += 128 >> length;
        }
    }
    if space != 128 {
        return Some(false);
    }
    let mut symbols = [0u8; 19];
    let mut used = 0;
    for length in 1..8 {
        for (symbol, _) in lengths.iter().enumerate().filter(|(_, own)| **own == length) {
            symbols[used] = symbol as u8;
            used += 1;
        }
    }
    let (mut said, mut last, mut parts) = (0, None, [0u32; 2]);
    let mut ends = false;
    while said < literals + distances {
        let (length, times) = match bits.symbol(&counts, &symbols)? {
            16 => match last {
                Some(last) => (last, bits.take(2)? + 3),
                None => return Some(false),
            },
            17 => (0, bits.take(3)? + 3),
            18 => (0, bits.take(7)? + 11),
            length => (u32::from(length), 1),
        };
        last = Some(length);
        for _ in 0..times {
            ends |= said == 256 && length > 0;
            let part = &mut parts[usize::from(said >= literals)];
            *part += if length == 0 { 0 } else { WHOLE >> length };
            said += 1;
            if *part > WHOLE || said > literals + distances {
                return Some(false);
            }
        }
    }
    // One distance, or none, needs no whole code.
    Some(ends && parts[0] == WHOLE && (parts[1] == WHOLE || parts[1] == WHOLE / 2 || parts[1] == 0))
}
