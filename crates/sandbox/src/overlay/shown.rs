//! Names and text a hostile program chose, made fit for a terminal. Nothing that moves a cursor, hides, or reorders
//! text leaves here as it is.

use std::fmt::Write;

/// A name with everything that could deceive a reader or drive a terminal escaped: `\n`, `\x1b`, `\u{202e}`, `\xff`
/// for a byte that is not UTF-8, and `\\` so that the result is unambiguous.
pub fn shown(name: &[u8]) -> String {
    escaped(name, true)
}

/// A line of text, likewise, but with tabs and backslashes as they are.
pub(super) fn shown_line(line: &[u8]) -> String {
    escaped(line, false)
}

/// Whether a name shows as it is.
pub(super) fn is_plain(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| !name.chars().any(deceives))
}

fn escaped(bytes: &[u8], is_name: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let _ = match c {
                '\\' if is_name => out.write_str("\\\\"),
                '\t' if !is_name => out.write_char('\t'),
                '\n' | '\r' | '\t' => write!(out, "{}", c.escape_default()),
                c if c.is_ascii() && deceives(c) => write!(out, "\\x{:02x}", u32::from(c)),
                c if deceives(c) => write!(out, "{}", c.escape_unicode()),
                c => out.write_char(c),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Controls, and the Unicode characters that reorder, join, or take no room (UTS #55, "Trojan Source").
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_drive_a_terminal() {
        for (name, expected) in [
            (&b"plain-\xc3\xa9.txt"[..], "plain-é.txt"),
            (b"a\nb", "a\\nb"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"c1\xc2\x9b2J", "c1\\u{9b}2J"),
            ("rtl\u{202e}txt.exe".as_bytes(), "rtl\\u{202e}txt.exe"),
            ("zero\u{200b}width".as_bytes(), "zero\\u{200b}width"),
            ("tag\u{e0041}".as_bytes(), "tag\\u{e0041}"),
            (b"latin\xe9", "latin\\xe9"),
            (b"a\\nb", "a\\\\nb"),
        ] {
            assert_eq!(shown(name), expected);
            assert_eq!(is_plain(name), !expected.contains('\\') || expected.contains("\\\\"), "{expected}");
        }
        assert_eq!(shown_line(b"\tprintf(\"\\n\");\r"), "\tprintf(\"\\n\");\\r");
    }
}
