//! Undoes escapes written into a text (percent, backslash, character references, quoted-printable) and reads the plain text.
//! It never searches what has no escape near it: that is the same text the level above already searches.

use super::Core;
use super::lane::Hit;
use super::level::Level;
use super::place::{Places, Span, Staged};

/// Longest escape, introducer included (`&CounterClockwise…;` is no way to write a credential).
pub(super) const ESCAPE_BYTES_MAX: usize = 12;
const STAGED_BYTES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Escapes {
    partial: Staged,
    surrogate: Option<(u32, Span)>,
    staged: Staged,
    plain: Option<Box<Level>>,
    /// Level offset up to which plain text is still read after the last escape; zero when none is near.
    limit: u64,
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

    /// Where the text began that ends here and is this many bytes of this level long, as far as it is kept.
    fn start(&self, bytes: usize) -> u64 {
        self.kept.spans.get(self.kept.len().saturating_sub(bytes)).map_or(u64::MAX, |span| span.start())
    }
}

/// What is being read, and what came just before it.
pub(super) struct Text<'a, P> {
    pub(super) bytes: &'a [u8],
    pub(super) places: P,
    pub(super) history: &'a History,
}

impl<P: Places> Text<'_, P> {
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
    }

    pub(super) fn feed<P: Places>(
        &mut self,
        core: &Core,
        depth: u8,
        text: &Text<'_, P>,
        hits: &mut Vec<Hit>,
    ) {
        let bytes = text.bytes;
        let here = text.history.end;
        let (mut at, mut literal) = (0, 0);
        let mut introducers = Introducers::default();
        while at < bytes.len() {
            if self.partial.len() == 0 {
                let next = introducers.next(bytes, at);
                if next == bytes.len() {
                    break;
                }
                self.plain_text(core, text, here + literal as u64, here + next as u64, hits);
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
        }
        // A chain of escapes keeps the plain text alive at least one longest match past the last of them.
        self.limit = begun + (ESCAPE_BYTES_MAX + core.reach_bytes) as u64;
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
        if self.limit == 0 {
            return;
        }
        let end = to.min(self.limit);
        if from < end {
            text.copy(from, end, &mut self.staged);
        }
        if to > self.limit {
            self.read_staged(core, hits);
            self.finish_plain(core, hits);
        }
    }

    fn read_staged(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        if self.limit == 0 || self.staged.len() == 0 {
            return;
        }
        if let Some(plain) = &mut self.plain {
            let from = hits.len();
            plain.feed_mapped(core, &self.staged, hits);
            super::level::relabel(&mut hits[from..], super::Form::Escaped);
        }
        self.staged.clear();
    }

    fn finish_plain(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        if self.limit != 0
            && let Some(plain) = &mut self.plain
        {
            let from = hits.len();
            plain.finish(core, hits);
            super::level::relabel(&mut hits[from..], super::Form::Escaped);
        }
        self.limit = 0;
    }

    pub(super) fn finish(&mut self, core: &Core, hits: &mut Vec<Hit>) {
        self.partial_is_plain();
        self.read_staged(core, hits);
        self.finish_plain(core, hits);
    }

    pub(super) fn hold(&self, core: &Core, history: &History, end: u64) -> u64 {
        let partial = self.partial.spans.first().map_or(u64::MAX, |span| span.start());
        let surrogate = self.surrogate.map_or(u64::MAX, |(_, span)| span.start());
        let pending = partial.min(surrogate);
        match &self.plain {
            // What is pending has no length yet.
            Some(plain) if self.limit != 0 => pending.min(plain.hold(core, end.min(pending))),
            // Should it become an escape, plain text begins as far before it as a match can reach.
            _ if self.partial.len() > 0 => pending.min(history.start(self.partial.len() + core.reach_bytes)),
            _ => pending,
        }
    }
}

/// Positions of the next `\`, `%`, `&` and of the next `=`, each looked for once.
#[derive(Default)]
struct Introducers {
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
