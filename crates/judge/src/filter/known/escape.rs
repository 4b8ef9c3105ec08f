//! Undoes escapes written into a text (percent, backslash, character references, quoted-printable) and reads the plain text.
//! It never searches what has no escape near it: that is the same text the level above already searches.

use super::lane::Hit;
use super::level::{Level, relabel};
use super::place::{Places, Span, Staged};
use super::{Core, Form};

/// Longest escape, introducer included (`&CounterClockwise…;` is no way to write a credential).
pub(super) const ESCAPE_BYTES_MAX: usize = 12;
const STAGED_BYTES_MAX: usize = 4096;
/// How often it is asked whether plain text must still be read, in bytes of the level.
const CHECK_BYTES: u64 = 128;

#[derive(Default)]
pub(super) struct Escapes {
    partial: Staged,
    surrogate: Option<(u32, Span)>,
    staged: Staged,
    plain: Option<Box<Level>>,
    /// Level offset up to which plain text is still read after the last escape; zero when none is near.
    limit: u64,
    /// Level offset at which it is asked next whether anything that was under way at the last escape still is.
    check: u64,
    /// Input offset of the end of the last escape.
    last_end: u64,
    /// From the escape on that has text read again.
    wake: Option<Wake>,
}

/// What the level above knew when an escape had text read again, in input offsets.
#[derive(Clone, Copy)]
pub(super) struct Wake {
    /// Before this nothing is found any more.
    pub(super) floor: u64,
    /// From here on something was under way.
    pub(super) from: u64,
}

/// Text of a level just before the bytes being read.
#[derive(Default)]
pub(super) struct History {
    kept: Staged,
    /// Level offset of the end.
    pub(super) end: u64,
}

impl History {
    pub(super) fn reset(&mut self) {
        self.kept.clear();
        self.end = 0;
    }
    pub(super) fn extend<P: Places>(&mut self, bytes: &[u8], places: P, reach: usize) {
        self.end += bytes.len() as u64;
        if bytes.len() >= reach {
            self.kept.clear();
            let from = bytes.len() - reach;
            self.kept.extend(&bytes[from..], places.from(from));
            return;
        }
        if self.kept.len() + bytes.len() > 4 * reach {
            let drop = self.kept.len() + bytes.len() - reach;
            self.kept.bytes.drain(..drop);
            self.kept.spans.drain(..drop);
        }
        self.kept.extend(bytes, places);
    }
}

/// What is being read, and what came just before it.
pub(super) struct Text<'a, P> {
    pub(super) bytes: &'a [u8],
    pub(super) places: P,
    pub(super) history: &'a History,
}

impl<P: Places> Text<'_, P> {
    /// Where in the input the byte stands that is being read at this level offset.
    fn start(&self, at: u64) -> u64 {
        self.places.span((at - self.history.end) as usize).start()
    }

    fn copy(&self, from: u64, to: u64, out: &mut Staged) {
        let here = self.history.end;
        let kept = &self.history.kept;
        let oldest = here - kept.len() as u64;
        let from = from.max(oldest);
        if from < here {
            let (a, b) = ((from - oldest) as usize, (to.min(here).max(from) - oldest) as usize);
            out.bytes.extend_from_slice(&kept.bytes[a..b]);
            out.spans.extend_from_slice(&kept.spans[a..b]);
        }
        if to > here {
            let (a, b) = ((from.max(here) - here) as usize, (to - here) as usize);
            out.extend(&self.bytes[a..b], self.places.from(a));
        }
    }
}

enum Reading {
    More,
    Literal,
    /// The escape ends before the byte just read.
    Ended(u32),
    /// The escape ends with the byte just read.
    Scalar(u32),
    Byte(u8),
    Nothing,
}

impl Escapes {
    pub(super) fn reset(&mut self) {
        self.partial.clear();
        self.staged.clear();
        self.surrogate = None;
        self.limit = 0;
        self.wake = None;
    }

    /// Tells what is known where an escape may have text read again.
    pub(super) fn wake(&mut self, wake: Wake) {
        self.wake = Some(wake);
    }

    /// Reads the text from `from` on, up to the end or to an escape that would have text read again. Before that is read,
    /// [`Escapes::wake`] must be told what is known by then.
    pub(super) fn feed<P: Places>(
        &mut self,
        core: &Core,
        depth: u8,
        text: &Text<'_, P>,
        from: usize,
        introducers: &mut Introducers,
        hits: &mut Vec<Hit>,
    ) -> usize {
        let bytes = text.bytes;
        let here = text.history.end;
        let (mut at, mut literal) = (from, from);
        while at < bytes.len() {
            if self.partial.len() == 0 {
                let next = introducers.next(bytes, at);
                if next == bytes.len() {
                    break;
                }
                self.plain_text(core, text, here + literal as u64, here + next as u64, hits);
                literal = next;
                if self.limit == 0 && self.wake.is_none() {
                    let Some(length) = literal_bytes(&bytes[next..]) else { return next };
                    at = next + length;
                    continue;
                }
                self.partial.push(bytes[next], text.places.span(next));
                at = next + 1;
                literal = at;
                continue;
            }
            self.partial.push(bytes[at], text.places.span(at));
            let begun = here + at as u64 + 1 - self.partial.len() as u64;
            match read(&self.partial.bytes) {
                Reading::More if self.partial.len() < ESCAPE_BYTES_MAX => {
                    at += 1;
                    literal = at;
                }
                Reading::More | Reading::Literal => {
                    self.partial.bytes.pop();
                    self.partial.spans.pop();
                    self.surrogate = None;
                    self.partial_is_plain();
                    if self.limit == 0 {
                        self.wake = None;
                    }
                    literal = at;
                }
                Reading::Ended(scalar) => {
                    self.partial.bytes.pop();
                    self.partial.spans.pop();
                    self.decoded(core, depth, text, begun, scalar, hits);
                    literal = at;
                }
                Reading::Scalar(scalar) => {
                    self.decoded(core, depth, text, begun, scalar, hits);
                    at += 1;
                    literal = at;
                }
                Reading::Byte(byte) => {
                    self.begin(core, depth, text, begun, hits);
                    let span = self.partial_span();
                    self.surrogate = None;
                    self.staged.push(byte, span);
                    self.partial.clear();
                    at += 1;
                    literal = at;
                }
                Reading::Nothing => {
                    self.begin(core, depth, text, begun, hits);
                    self.partial.clear();
                    at += 1;
                    literal = at;
                }
            }
        }
        if self.partial.len() == 0 {
            self.plain_text(core, text, here + literal as u64, here + bytes.len() as u64, hits);
        }
        self.read_staged(core, hits);
        bytes.len()
    }

    fn partial_span(&self) -> Span {
        match (self.partial.spans.first(), self.partial.spans.last()) {
            (Some(first), Some(last)) => first.until(*last),
            _ => Span::default(),
        }
    }

    fn partial_is_plain(&mut self) {
        if self.limit != 0 {
            self.staged.bytes.append(&mut self.partial.bytes);
            self.staged.spans.append(&mut self.partial.spans);
        }
        self.partial.clear();
    }

    fn decoded<P: Places>(
        &mut self,
        core: &Core,
        depth: u8,
        text: &Text<'_, P>,
        begun: u64,
        scalar: u32,
        hits: &mut Vec<Hit>,
    ) {
        self.begin(core, depth, text, begun, hits);
        let mut span = self.partial_span();
        self.partial.clear();
        let scalar = match (scalar, self.surrogate.take()) {
            (0xd800..=0xdbff, _) => {
                self.surrogate = Some((scalar, span));
                return;
            }
            (0xdc00..=0xdfff, Some((high, first))) => {
                span = first.until(span);
                0x10000 + ((high - 0xd800) << 10) + (scalar - 0xdc00)
            }
            _ => scalar,
        };
        if let Some(scalar) = char::from_u32(scalar) {
            let mut four = [0; 4];
            scalar.encode_utf8(&mut four).bytes().for_each(|byte| self.staged.push(byte, span));
        }
    }

    /// An escape was read: from now on, and from `reach` bytes before it, the plain text is another text.
    fn begin<P: Places>(
        &mut self,
        core: &Core,
        depth: u8,
        text: &Text<'_, P>,
        begun: u64,
        hits: &mut Vec<Hit>,
    ) {
        if self.limit == 0 {
            self.plain.get_or_insert_with(|| Level::boxed(depth + 1, false)).reset();
            self.staged.clear();
            text.copy(begun.saturating_sub(core.reach_bytes as u64), begun, &mut self.staged);
            let from = self.wake.map_or(0, |wake| wake.from);
            let over = self.staged.spans.partition_point(|span| span.end() <= from);
            self.staged.drop_first(over);
        }
        // A chain of escapes keeps the plain text alive at least one longest match past the last of them.
        self.limit = begun + (ESCAPE_BYTES_MAX + core.reach_bytes) as u64;
        self.check = begun + CHECK_BYTES;
        self.last_end = self.partial_span().end();
        if self.staged.len() > STAGED_BYTES_MAX {
            self.read_staged(core, hits);
        }
    }

    fn plain_text<P: Places>(
        &mut self,
        core: &Core,
        text: &Text<'_, P>,
        from: u64,
        to: u64,
        hits: &mut Vec<Hit>,
    ) {
        if from < to {
            self.surrogate = None;
        }
        let mut from = from;
        while from < to && self.limit != 0 {
            if from >= self.check.min(self.limit) {
                // Nothing began by the last escape that could still be found: from here on this is the text of the level above.
                self.read_staged(core, hits);
                let end = text.start(from);
                if from >= self.limit
                    || self.plain.as_ref().is_none_or(|plain| plain.begins(core, end) > self.last_end)
                {
                    return self.finish_plain(core, hits);
                }
                self.check = from + CHECK_BYTES;
            }
            let end = to.min(self.check).min(self.limit);
            text.copy(from, end, &mut self.staged);
            from = end;
        }
    }

    fn read_staged(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        if self.limit == 0 || self.staged.len() == 0 {
            return;
        }
        if let Some(plain) = &mut self.plain {
            let from = hits.len();
            plain.feed_mapped(core, &self.staged, hits);
            self.escaped(from, hits);
        }
        self.staged.clear();
    }

    fn finish_plain(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        if self.limit != 0
            && let Some(plain) = &mut self.plain
        {
            let from = hits.len();
            plain.finish(core, hits);
            self.escaped(from, hits);
        }
        self.limit = 0;
        self.wake = None;
        self.surrogate = None;
    }

    /// Names the hits of the plain text. What stands before the floor was passed on by some cuts, so it is by all.
    fn escaped(&self, from: usize, hits: &mut Vec<Hit>) {
        let floor = self.wake.map_or(0, |wake| wake.floor);
        let mut kept = from;
        for at in from..hits.len() {
            let hit = hits[at];
            if hit.end > floor {
                hits[kept] = Hit { start: hit.start.max(floor), ..hit };
                kept += 1;
            }
        }
        hits.truncate(kept);
        relabel(&mut hits[from..], Form::Escaped);
    }

    pub(super) fn finish(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        self.partial_is_plain();
        self.read_staged(core, hits);
        self.finish_plain(core, hits);
    }

    /// Where the earliest of all that is under way began.
    pub(super) fn begins(&self, core: &Core, end: u64) -> u64 {
        let partial = self.partial.spans.first().map_or(u64::MAX, |span| span.start());
        let surrogate = self.surrogate.map_or(u64::MAX, |(_, span)| span.start());
        let pending = partial.min(surrogate);
        match &self.plain {
            Some(plain) if self.limit != 0 => pending.min(plain.begins(core, end.min(pending))),
            _ => pending,
        }
    }

    pub(super) fn hold(&self, core: &Core, end: u64) -> u64 {
        let partial = self.partial.spans.first().map_or(u64::MAX, |span| span.start());
        let surrogate = self.surrogate.map_or(u64::MAX, |(_, span)| span.start());
        let pending = partial.min(surrogate);
        let floor = self.wake.map_or(u64::MAX, |wake| wake.floor);
        match &self.plain {
            // What is pending has no length yet.
            Some(plain) if self.limit != 0 => pending.min(plain.hold(core, end.min(pending)).max(floor)),
            _ => pending.min(floor),
        }
    }
}

/// How many bytes of a text that begins with an introducer are no escape; nothing where they are one, or may yet become one.
fn literal_bytes(text: &[u8]) -> Option<usize> {
    for end in 2..=text.len().min(ESCAPE_BYTES_MAX) {
        match read(&text[..end]) {
            Reading::More if end < ESCAPE_BYTES_MAX => {}
            Reading::More | Reading::Literal => return Some(end - 1),
            _ => return None,
        }
    }
    None
}

/// Positions of the next `\`, `%`, `&` and of the next `=`, each looked for once.
#[derive(Default)]
pub(super) struct Introducers {
    strong: Option<usize>,
    equals: Option<usize>,
}

impl Introducers {
    fn next(&mut self, bytes: &[u8], at: usize) -> usize {
        let strong = match self.strong {
            Some(found) if found >= at => found,
            _ => memchr::memchr3(b'\\', b'%', b'&', &bytes[at..]).map_or(bytes.len(), |i| at + i),
        };
        self.strong = Some(strong);
        let equals = match self.equals {
            Some(found) if found >= at => found,
            _ => memchr::memchr_iter(b'=', &bytes[at..])
                .map(|i| at + i)
                .find(|i| {
                    bytes.get(i + 1).is_none_or(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F' | b'\r' | b'\n'))
                })
                .unwrap_or(bytes.len()),
        };
        self.equals = Some(equals);
        strong.min(equals)
    }
}

/// A whole text with the escapes in it undone.
pub(super) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let scalar = |out: &mut Vec<u8>, code: u32| match char::from_u32(code) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.push(code as u8),
    };
    let mut at = 0;
    while at < text.len() {
        let mut used = 1;
        if matches!(text[at], b'\\' | b'%' | b'&' | b'=') {
            for end in at + 2..=text.len().min(at + ESCAPE_BYTES_MAX) {
                match read(&text[at..end]) {
                    Reading::More => continue,
                    Reading::Literal => {}
                    Reading::Ended(code) => {
                        scalar(&mut out, code);
                        used = end - 1 - at;
                    }
                    Reading::Scalar(code) => {
                        scalar(&mut out, code);
                        used = end - at;
                    }
                    Reading::Byte(byte) => {
                        out.push(byte);
                        used = end - at;
                    }
                    Reading::Nothing => used = end - at,
                }
                break;
            }
            if used > 1 {
                at += used;
                continue;
            }
        }
        out.push(text[at]);
        at += 1;
    }
    out
}

/// Reads an escape whose last byte has just arrived.
fn read(sequence: &[u8]) -> Reading {
    let last = sequence[sequence.len() - 1];
    match (sequence[0], sequence.len()) {
        (b'%', 2) if last.is_ascii_hexdigit() => Reading::More,
        (b'%', 3) => hex(&sequence[1..]).map_or(Reading::Literal, |v| Reading::Byte(v as u8)),
        (b'=', 2) if matches!(last, b'0'..=b'9' | b'A'..=b'F' | b'\r') => Reading::More,
        (b'=', 2) if last == b'\n' => Reading::Nothing,
        (b'=', 3) if sequence[1] == b'\r' => {
            if last == b'\n' {
                Reading::Nothing
            } else {
                Reading::Literal
            }
        }
        // A control character is never written so: `=10` is an assignment.
        (b'=', 3) => match hex(&sequence[1..]) {
            Some(v) if v >= 0x20 && !last.is_ascii_lowercase() => Reading::Byte(v as u8),
            _ => Reading::Literal,
        },
        (b'&', _) => reference(sequence),
        (b'\\', 2) => match last {
            b'u' | b'x' | b'U' | b'0'..=b'7' => Reading::More,
            b'n' => Reading::Byte(b'\n'),
            b'r' => Reading::Byte(b'\r'),
            b't' => Reading::Byte(b'\t'),
            b'\n' => Reading::Nothing,
            b'\\' | b'/' | b'"' | b'\'' | b'-' | b'_' | b'.' | b'+' | b'=' | b'$' | b'!' | b'@' | b'&'
            | b'%' => Reading::Byte(last),
            _ => Reading::Literal,
        },
        (b'\\', n) => backslash(sequence, n, last),
        _ => Reading::Literal,
    }
}

fn backslash(sequence: &[u8], n: usize, last: u8) -> Reading {
    let width = match sequence[1] {
        b'u' if sequence[2] == b'{' => {
            return match last {
                b'{' if n == 3 => Reading::More,
                b'}' if n > 4 => hex(&sequence[3..n - 1]).map_or(Reading::Literal, Reading::Scalar),
                _ if last.is_ascii_hexdigit() && n < 11 => Reading::More,
                _ => Reading::Literal,
            };
        }
        b'u' => 6,
        b'x' => 4,
        b'U' => 10,
        _ => {
            let octal = |digits: &[u8]| digits.iter().fold(0u32, |v, d| v * 8 + u32::from(d - b'0'));
            return match last {
                b'0'..=b'7' if n == 4 => Reading::Byte(octal(&sequence[1..]) as u8),
                b'0'..=b'7' => Reading::More,
                _ => Reading::Ended(octal(&sequence[1..n - 1])),
            };
        }
    };
    if !last.is_ascii_hexdigit() {
        return Reading::Literal;
    }
    match (n == width, hex(&sequence[2..])) {
        (false, _) => Reading::More,
        (true, Some(v)) if sequence[1] == b'x' => Reading::Byte(v as u8),
        (true, Some(v)) => Reading::Scalar(v),
        (true, None) => Reading::Literal,
    }
}

fn reference(sequence: &[u8]) -> Reading {
    let n = sequence.len();
    let last = sequence[n - 1];
    if last != b';' {
        let fits = last.is_ascii_alphanumeric() || (n == 2 && last == b'#');
        return if fits { Reading::More } else { Reading::Literal };
    }
    let name = &sequence[1..n - 1];
    let scalar = match name {
        [b'#', b'x' | b'X', digits @ ..] => hex(digits),
        [b'#', digits @ ..] => std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()),
        _ => NAMED.iter().find(|(named, _)| named.as_bytes() == name).map(|(_, c)| u32::from(*c)),
    };
    scalar.map_or(Reading::Literal, Reading::Scalar)
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0u32, |v, d| Some(v << 4 | char::from(*d).to_digit(16)?))
}

/// The named references of ASCII, and the two spaces that are used to lace.
#[rustfmt::skip]
const NAMED: &[(&str, char)] = &[
    ("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("nbsp", ' '), ("sol", '/'), ("plus", '+'),
    ("equals", '='), ("lowbar", '_'), ("UnderBar", '_'), ("hyphen", '-'), ("dash", '-'), ("period", '.'), ("comma", ','),
    ("colon", ':'), ("semi", ';'), ("excl", '!'), ("quest", '?'), ("num", '#'), ("dollar", '$'), ("percnt", '%'),
    ("ast", '*'), ("midast", '*'), ("commat", '@'), ("lpar", '('), ("rpar", ')'), ("lsqb", '['), ("lbrack", '['),
    ("rsqb", ']'), ("rbrack", ']'), ("lcub", '{'), ("lbrace", '{'), ("rcub", '}'), ("rbrace", '}'), ("verbar", '|'),
    ("vert", '|'), ("bsol", '\\'), ("Hat", '^'), ("grave", '`'), ("tilde", '~'), ("Tab", '\t'), ("NewLine", '\n'),
    ("shy", '\u{ad}'), ("zwj", '\u{200d}'), ("zwnj", '\u{200c}'), ("AMP", '&'), ("LT", '<'), ("GT", '>'), ("QUOT", '"'),
];
