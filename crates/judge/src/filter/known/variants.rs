//! The texts one value is looked for as: itself and each simple encoding of it, compacted the way lanes compact.
//! Encodings inside encodings are not listed here; levels undo those.

use super::escape::unescaped;
use super::index::{Pattern, WINDOW_BYTES};
use super::level::{ALNUM, DENSE};
use super::place::Span;
use super::scalar::{Utf8, drawn_like};
use super::{Form, encode};

/// Below this many letters and digits a value is only found closely written: few characters far apart are nobody's.
const SCATTERED_CHARS_MIN: usize = 12;
/// Three invisible characters and one that is drawn.
const GAP_BYTES_CLOSE: u16 = 12;
/// Bytes that may stand between two characters of a laced or spaced value: a wrapped and indented line, three tag characters.
const GAP_BYTES: u16 = 24;
/// Each of a value's own punctuation marks may be laced as well, with three invisible characters.
const LACED_BYTES: u16 = 10;
const OWN_GAP_BYTES_MAX: usize = 64;

/// The patterns of all values, by the lane that finds them.
#[derive(Default)]
pub(super) struct Variants {
    pub(super) alnum: Vec<Pattern>,
    pub(super) dense: Vec<Pattern>,
    pub(super) exact: Vec<Pattern>,
}

impl Variants {
    pub(super) fn add(&mut self, number: u32, value: &[u8]) {
        self.add_text(number, value, Form::Raw);
        // Where something around it is unescaped, what looks like an escape in the value itself is as well.
        let plain = unescaped(value);
        if plain != value {
            self.add_text(number, &plain, Form::Escaped);
        }
        // After an equals sign two digits are an escape, too: what stands behind them says enough.
        let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
        if value.len() >= 2 + SCATTERED_CHARS_MIN && value[..2].iter().all(hex) {
            self.add_text(number, &value[2..], Form::Escaped);
        }
        self.add_wide(number, value);
        let reversed: Vec<u8> = match std::str::from_utf8(value) {
            Ok(text) => text.chars().rev().collect::<String>().into_bytes(),
            Err(_) => value.iter().rev().copied().collect(),
        };
        self.add_text(number, &reversed, Form::Reversed);
        let turned: Vec<u8> = value.iter().map(|b| rot13(*b)).collect();
        self.add_text(number, &turned, Form::Rot13);

        let each = |write: &dyn Fn(u8) -> String| value.iter().map(|b| write(*b)).collect::<String>();
        let hex = encode::hex(value);
        self.add_code(number, reverse(&hex), Form::Hex, true);
        self.add_code(number, hex, Form::Hex, true);
        self.add_code(number, each(&|b| format!("x{b:02x}")), Form::Escaped, true);
        self.add_code(number, each(&|b| format!("0x{b:02x}")), Form::Hex, true);
        self.add_code(number, each(&|b| format!("u00{b:02x}")), Form::Escaped, true);
        self.add_code(number, each(&|b| format!("u{b:02x}")), Form::Escaped, true);
        self.add_code(number, each(&|b| b.to_string()), Form::Digits, false);
        self.add_code(number, each(&|b| format!("{b:03o}")), Form::Digits, false);
        self.add_code(number, each(&|b| format!("{b:08b}")), Form::Digits, false);
        for offset in 0..3 {
            let text = within(value, offset, 6, |padded| encode::base64(padded, false));
            if offset == 0 {
                self.add_code(number, reverse(&text), Form::Base64, false);
                self.add_code(
                    number,
                    text.bytes().map(|b| char::from(rot13(b))).collect(),
                    Form::Base64,
                    false,
                );
            }
            self.add_code(number, text, Form::Base64, false);
        }
        for offset in 0..5 {
            self.add_code(number, within(value, offset, 5, encode::base32), Form::Base32, true);
        }
    }

    /// A text that may be laced and spaced: by its letters and digits where there are enough, else by its visible characters,
    /// else byte for byte.
    fn add_text(&mut self, number: u32, text: &[u8], form: Form) {
        let alnum = compact(text, true);
        if alnum.len() >= WINDOW_BYTES && alnum.len() * 2 >= text.len() {
            let gap = if alnum.len() < SCATTERED_CHARS_MIN { GAP_BYTES_CLOSE } else { GAP_BYTES };
            let own = text.split(u8::is_ascii_alphanumeric).map(<[u8]>::len).max().unwrap_or(0);
            let gap = gap + LACED_BYTES * own.min(OWN_GAP_BYTES_MAX) as u16;
            self.alnum.push(Pattern::new(alnum, number, form, false, gap));
            return;
        }
        let dense = compact(text, false);
        if dense.len() >= WINDOW_BYTES && dense.len() * 2 >= text.len() {
            for separator in b"-_.,:|" {
                let spaced = dense.iter().flat_map(|b| [*b, *separator]).take(dense.len() * 2 - 1).collect();
                self.dense.push(Pattern::new(spaced, number, form, false, GAP_BYTES_CLOSE));
            }
            self.dense.push(Pattern::new(dense, number, form, false, GAP_BYTES_CLOSE));
            return;
        }
        self.exact.push(Pattern::new(text.to_vec(), number, form, false, 0));
        if let Ok(text) = std::str::from_utf8(text) {
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            self.exact.push(Pattern::new(wide[..wide.len() - 1].to_vec(), number, form, false, 0));
        }
    }

    /// A text of which ASCII is only a part, in UTF-16: the rest of it is no text there, and its ASCII stands alone.
    fn add_wide(&mut self, number: u32, value: &[u8]) {
        let Some(text) = std::str::from_utf8(value).ok().filter(|text| !text.is_ascii()) else { return };
        let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        for wide in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
            let alnum = compact(&wide, true);
            if alnum.len() >= WINDOW_BYTES && alnum.len() * 4 >= wide.len() {
                self.alnum.push(Pattern::new(alnum, number, Form::Laced, false, GAP_BYTES));
            } else {
                self.exact.push(Pattern::new(wide, number, Form::Laced, false, 0));
            }
        }
    }

    fn add_code(&mut self, number: u32, text: String, form: Form, any_case: bool) {
        let alnum = compact(text.as_bytes(), true);
        self.alnum.push(Pattern::new(alnum, number, form, any_case, GAP_BYTES));
    }
}

/// What a lane would keep of a text.
pub(super) fn compact(text: &[u8], alnum: bool) -> Vec<u8> {
    let keep = if alnum { &ALNUM } else { &DENSE };
    let mut utf8 = Utf8::default();
    let mut out = Vec::new();
    for byte in text {
        if byte.is_ascii() {
            utf8.reset();
            if keep[usize::from(*byte)] == 1 {
                out.push(*byte);
            }
        } else if let Some((code, _)) = utf8.step(*byte, Span::default())
            && let Some(byte) = drawn_like(code)
            && keep[usize::from(byte)] == 1
        {
            out.push(byte);
        }
    }
    out
}

/// The characters of an encoding that are the value's alone when it stands `offset` bytes into what is encoded.
fn within(value: &[u8], offset: usize, bits: usize, write: impl Fn(&[u8]) -> String) -> String {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(value);
    let text = write(&padded);
    let first = (offset * 8).div_ceil(bits);
    let last = padded.len() * 8 / bits;
    text[first..last].to_owned()
}

fn reverse(text: &str) -> String {
    text.chars().rev().collect()
}

pub(super) fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        _ => byte,
    }
}
