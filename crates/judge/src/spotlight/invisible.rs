//! Which scalars show nothing, and where they have a duty all the same. It knows characters only, never what a text means.

use super::scrub::Kind;

/// What a scalar is when it shows nothing or steers how others are shown; nothing for every other one.
#[inline]
pub(super) fn unseen(c: char) -> Option<Kind> {
    let kind = match u32::from(c) {
        0x09 | 0x0a | 0x0d => return None,
        0x00..=0x1f | 0x7f..=0x9f => Kind::Control,
        0x20..=0xac => return None,
        0xad | 0x034f | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180e => Kind::Invisible,
        0x200b..=0x200d | 0x2060..=0x2065 | 0x206a..=0x206f | 0x3164 | 0xfeff | 0xffa0 => Kind::Invisible,
        0xfff0..=0xfffb | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a => Kind::Invisible,
        0x061c | 0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069 => Kind::Bidi,
        0x2028 | 0x2029 => Kind::Control,
        0x180b..=0x180d | 0x180f | 0xfe00..=0xfe0f | 0xe0100..=0xe01ef => Kind::Variation,
        0xe0000..=0xe00ff | 0xe01f0..=0xe0fff => Kind::Tag,
        _ => return None,
    };
    Some(kind)
}

/// Whether an unseen scalar does what it is for between these neighbours: joins a picture or a script's letters, or chooses how
/// the one picture before it is drawn.
pub(super) fn has_duty(before: Option<char>, c: char, after: Option<char>) -> bool {
    let Some(before) = before else { return false };
    match c {
        '\u{200d}' => {
            let Some(after) = after else { return false };
            ((pictured(before) || before == '\u{fe0f}') && pictured(after))
                || (joined(before) && joined(after))
        }
        '\u{200c}' => joined(before) && after.is_some_and(joined),
        '\u{fe0e}' | '\u{fe0f}' => {
            pictured(before) || (matches!(before, '0'..='9' | '#' | '*') && after == Some('\u{20e3}'))
        }
        '\u{e0100}'..='\u{e01ef}' => ideograph(before),
        _ => false,
    }
}

/// Pictures, and the signs that can be drawn as one. Brackets are not: they may begin a mark.
fn pictured(c: char) -> bool {
    matches!(u32::from(c),
        0xa9 | 0xae | 0x203c | 0x2049 | 0x2122 | 0x2139 | 0x2194..=0x21aa | 0x2300..=0x2328 | 0x232b..=0x23ff | 0x24c2
        | 0x25aa..=0x25c9 | 0x25cb..=0x2757 | 0x2763..=0x2767 | 0x2776..=0x27bf | 0x2934 | 0x2935 | 0x2b00..=0x2bff | 0x3030 | 0x303d | 0x3297 | 0x3299
        | 0x1f000..=0x1faff)
}

/// Letters and signs of scripts in which joiners choose a letter's form.
fn joined(c: char) -> bool {
    unseen(c).is_none()
        && matches!(u32::from(c),
            0x0600..=0x08ff | 0x0900..=0x0dff | 0x0f00..=0x109f | 0x1780..=0x18af | 0xfb50..=0xfdff | 0xfe70..=0xfefc)
}

fn ideograph(c: char) -> bool {
    matches!(u32::from(c), 0x3005..=0x3007 | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// The length in bytes of a flag of a part of a country at the start of `rest`, which is spelled in tags: England, Scotland, Wales.
pub(super) fn flag(rest: &str) -> Option<usize> {
    const FLAGS: [&str; 3] = [
        "\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
        "\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
        "\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
    ];
    FLAGS.iter().find(|flag| rest.starts_with(**flag)).map(|flag| flag.len())
}

/// The length in bytes of the terminal's control sequence that `rest` begins with: the whole of one that ends, the introducer alone
/// of one that does not.
pub(super) fn sequence(rest: &str) -> usize {
    /// Longest parameters of a sequence, in bytes.
    const PARAMETERS: usize = 64;
    /// Longest text within one, such as a window's title, in bytes.
    const STRING: usize = 8 * 1024;
    let bytes = rest.as_bytes();
    let (introducer, kind) = match bytes {
        [0x1b, kind, ..] => (1, *kind),
        // The same as one scalar, U+0080 and on, is two bytes of UTF-8.
        [0xc2, c1, ..] => (2, c1 - 0x40),
        _ => return rest.chars().next().map_or(0, char::len_utf8),
    };
    let body = if introducer == 1 { 2 } else { introducer };
    let find = |from: usize, limit: usize, ends: &dyn Fn(u8) -> bool, within: &dyn Fn(u8) -> bool| {
        let tail = &bytes[from.min(bytes.len())..bytes.len().min(from + limit)];
        let at = tail.iter().position(|byte| !within(*byte))?;
        ends(tail[at]).then_some(from + at)
    };
    match kind {
        b'[' => find(body, PARAMETERS, &|b| (0x40..0x7f).contains(&b), &|b| (0x20..0x40).contains(&b))
            .map_or(introducer, |end| end + 1),
        // One that is introduced by a single scalar is not searched for its end: that would not be linear.
        b']' | b'P' | b'_' | b'^' | b'X' if introducer == 1 => {
            let ended = find(body, STRING, &|b| b == 7 || b == 0x1b, &|b| b != 7 && b != 0x1b && b != b'\n');
            match ended {
                Some(end) if bytes[end] == 7 => end + 1,
                Some(end) if bytes.get(end + 1) == Some(&b'\\') => end + 2,
                _ => introducer,
            }
        }
        0x20..0x30 if introducer == 1 && bytes.get(2).is_some_and(|end| (0x30..0x7f).contains(end)) => 3,
        0x30..0x7f if introducer == 1 => 2,
        _ => introducer,
    }
}
