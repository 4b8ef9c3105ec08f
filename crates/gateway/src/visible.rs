//! Text from elsewhere as a person sees it: what could hide, move or turn other text is spelled out.
//! Nothing is taken away, so two texts that differ look different.

use crate::inventory::definition::is_hidden;

/// A run of text, or one character that would not be seen as itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text that shows what it is.
    Plain(&'a str),
    /// A character that is spelled out.
    Spelled(char),
}

/// Whether a character is seen as itself nowhere.
pub fn is_unseen(c: char) -> bool {
    // Line and paragraph separators break lines where nobody expects it.
    c.is_control() || is_hidden(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `text` cut into what is seen and what is spelled out; `keeps_lines` leaves line breaks as they are.
pub fn parts(text: &str, keeps_lines: bool) -> impl Iterator<Item = Part<'_>> {
    let is_spelled = move |c: char| is_unseen(c) && !(keeps_lines && c == '\n');
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        if is_spelled(first) {
            rest = &rest[first.len_utf8()..];
            return Some(Part::Spelled(first));
        }
        let end = rest.find(is_spelled).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(end);
        rest = after;
        Some(Part::Plain(plain))
    })
}

/// `text` in one line for a terminal, with everything unseen as `\\u{…}`.
pub fn spelled(text: &str) -> String {
    let part = |part: Part<'_>| match part {
        Part::Plain(plain) => plain.to_owned(),
        Part::Spelled(c) => c.escape_unicode().to_string(),
    };
    parts(text, false).map(part).collect()
}

/// What an unseen character does, in words.
pub fn name(c: char) -> &'static str {
    match u32::from(c) {
        0x09 => "tab",
        0x0A => "line feed",
        0x0D => "carriage return",
        0x08 => "backspace",
        0x1B => "escape, begins a terminal command",
        0x00AD => "soft hyphen",
        0x061C => "Arabic letter mark",
        0x200B => "zero width space",
        0x200C => "zero width non-joiner",
        0x200D => "zero width joiner",
        0x200E => "left-to-right mark",
        0x200F => "right-to-left mark",
        0x2028 => "line separator",
        0x2029 => "paragraph separator",
        0x202A => "left-to-right embedding",
        0x202B => "right-to-left embedding",
        0x202C => "pop directional formatting",
        0x202D => "left-to-right override",
        0x202E => "right-to-left override",
        0x2060 => "word joiner",
        0x2066 => "left-to-right isolate",
        0x2067 => "right-to-left isolate",
        0x2068 => "first strong isolate",
        0x2069 => "pop directional isolate",
        0xFE00..=0xFE0F | 0xE0100..=0xE01EF => "variation selector",
        0xFEFF => "zero width no-break space",
        0xE0000..=0xE007F => "tag character",
        0x00..=0x1F | 0x7F..=0x9F => "control character",
        _ => "invisible character",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_spelled_and_what_shows_is_left() {
        for (text, seen) in [
            ("plain, ünïcode 漢字 שלום", "plain, ünïcode 漢字 שלום"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\nb", "a\\u{a}b"),
            ("\u{200b}\u{e0041}", "\\u{200b}\\u{e0041}"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("", ""),
        ] {
            assert_eq!(spelled(text), seen);
        }
        let lines: Vec<_> = parts("a\nb\rc", true).collect();
        assert_eq!(lines, [Part::Plain("a\nb"), Part::Spelled('\r'), Part::Plain("c")]);
        for c in (0..0x11_0000).filter_map(char::from_u32).filter(|c| is_unseen(*c)) {
            assert!(!name(c).is_empty());
        }
    }
}
