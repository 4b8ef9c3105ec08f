//! What passes for a mark of ours or for the frame of a conversation: look-alikes, chat templates' tokens, tags that only a system
//! writes. It finds places in a text that has nothing unseen in it any more, and changes nothing.

use super::WORD;
use crate::filter::known::drawn_like;

/// Most blanks skipped within a mark that is written loosely, in characters.
const BLANKS: usize = 4;
/// Longest name in a token such as `<|im_start|>`, in characters.
const TOKEN_CHARS: usize = 40;
/// Tags that frame a conversation or a tool's call, in small letters. Tags that ordinary documents use as well are not here.
const FRAMES: [&str; 26] = [
    "system",
    "system-reminder",
    "system_reminder",
    "system-prompt",
    "system_prompt",
    "system-message",
    "system_message",
    "system-instruction",
    "system_instruction",
    "system-instructions",
    "system_instructions",
    "function_calls",
    "function_call",
    "function_results",
    "function_result",
    "fnr",
    "invoke",
    "tool_use",
    "tool_call",
    "tool_calls",
    "tool_result",
    "tool_results",
    "tool_response",
    "start_of_turn",
    "end_of_turn",
    "user-prompt-submit-hook",
];
/// Who speaks in a transcript.
const SPEAKERS: [&str; 5] = ["human:", "assistant:", "system:", "user:", "developer:"];

/// The small ASCII letter or sign that a scalar is drawn like; nothing for others.
#[inline]
pub(super) fn folded(c: char) -> Option<u8> {
    match c {
        '\0'..='\x7f' => Some((c as u8).to_ascii_lowercase()),
        '‹' | '«' | '〈' | '⟨' | '\u{2329}' | '❮' | '❰' | '⧼' | '⟪' | '《' | '≪' | '˂' | '﹤' | 'ᐸ' | '𐒼' => {
            Some(b'<')
        }
        '›' | '»' | '〉' | '⟩' | '\u{232a}' | '❯' | '❱' | '⧽' | '⟫' | '》' | '≫' | '˃' | '﹥' | 'ᐳ' => {
            Some(b'>')
        }
        '｜' | '∣' | 'ǀ' | '│' | '❘' | '⎮' | '￨' => Some(b'|'),
        '▁' | '＿' | '‗' => Some(b'_'),
        '∕' | '⁄' | '⧸' | '╱' | '／' => Some(b'/'),
        '―' | '‑' | '‒' | '–' | '—' | '−' | '﹣' | '－' | '⁃' => Some(b'-'),
        _ => drawn_like(u32::from(c)).map(|byte| byte.to_ascii_lowercase()),
    }
}

/// A cursor over a text, a folded scalar at a time.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }
    fn step(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }
    fn take(&mut self, wanted: u8) -> bool {
        let taken = self.peek().and_then(folded) == Some(wanted);
        if taken {
            self.step();
        }
        taken
    }
    fn blanks(&mut self, chars_max: usize) {
        for _ in 0..chars_max {
            match self.peek() {
                Some(c) if c.is_whitespace() || c == '\u{2800}' => self.step(),
                _ => break,
            }
        }
    }
    /// A word, with at most one blank or joint between its letters.
    fn word(&mut self, word: &str, loosely: bool) -> bool {
        for (index, wanted) in word.bytes().enumerate() {
            if loosely && index > 0 && self.peek().is_some_and(|c| c.is_whitespace() || "._-*".contains(c)) {
                let mut next = *self;
                next.step();
                if next.peek().and_then(folded) == Some(wanted) {
                    *self = next;
                }
            }
            if !self.take(wanted) {
                return false;
            }
        }
        true
    }
}

/// The end of a look-alike of our marks that begins at `at`, whichever session's: an angle, a slash or none, and the word.
pub(super) fn mark(text: &str, at: usize) -> Option<usize> {
    let mut reader = Reader { text, at };
    let rest = &text.as_bytes()[at..];
    let escapes: [&[u8]; 8] =
        [b"&lt;", b"&#60;", b"&#x3c;", b"\\u003c", b"%3c", b"\\x3c", b"&#060;", b"&#x003c;"];
    match escapes
        .iter()
        .find(|escape| rest.len() >= escape.len() && rest[..escape.len()].eq_ignore_ascii_case(escape))
    {
        Some(escape) => reader.at += escape.len(),
        None if !reader.take(b'<') => return None,
        None => {}
    }
    reader.blanks(BLANKS);
    for _ in 0..2 {
        if !reader.take(b'/') {
            reader.take(b'\\');
        }
        reader.blanks(BLANKS);
    }
    if !reader.word(WORD, true) {
        return None;
    }
    while reader
        .peek()
        .is_some_and(|c| folded(c).is_some_and(|byte| byte == b'-' || byte.is_ascii_alphanumeric()))
    {
        reader.step();
    }
    Some(reader.at)
}

/// Whether the angle or bracket at `at` begins a frame of a conversation.
pub(super) fn frame(text: &str, at: usize) -> bool {
    let mut reader = Reader { text, at };
    if reader.take(b'[') {
        reader.take(b'/');
        return reader.word("inst", false) && reader.take(b']');
    }
    // A quotation mark of the same look is no bracket of a template, and what was neutralised has one.
    if reader.peek().is_some_and(|c| "‹«".contains(c)) || !reader.take(b'<') {
        return false;
    }
    if reader.take(b'|') {
        let mut length = 0;
        while let Some(byte) = reader.peek().and_then(folded) {
            if byte == b'|' {
                reader.step();
                return length > 0 && reader.peek().and_then(folded) == Some(b'>');
            }
            if length >= TOKEN_CHARS || !(byte.is_ascii_alphanumeric() || b"_-/".contains(&byte)) {
                return false;
            }
            length += 1;
            reader.step();
        }
        return false;
    }
    if reader.take(b'<') {
        reader.take(b'/');
        return reader.word("sys", false) && reader.take(b'>');
    }
    reader.blanks(1);
    reader.take(b'/');
    reader.blanks(1);
    let anthropic = &mut reader.clone();
    if anthropic.word("antml:", false) {
        return true;
    }
    FRAMES.iter().any(|frame| {
        let mut reader = reader;
        let ends = |c: char| c.is_whitespace() || matches!(folded(c), Some(b'>' | b'/'));
        reader.word(frame, false) && reader.peek().is_none_or(ends)
    })
}

/// Whether the line that begins at `at` begins as somebody's turn in a transcript.
pub(super) fn turn(text: &str, at: usize) -> bool {
    SPEAKERS.iter().any(|speaker| Reader { text, at }.word(speaker, false))
}
