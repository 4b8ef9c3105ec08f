//! Reads UTF-8 a byte at a time and says which ASCII character a scalar would pass for.
//! It never fails: bytes that are not UTF-8 are nobody.

use super::place::{At, Span};

/// A scalar being read.
#[derive(Default)]
pub(super) struct Utf8 {
    code: u32,
    missing: u8,
    read: u8,
    start: Span,
}

impl Utf8 {
    pub(super) fn reset(&mut self) {
        self.missing = 0;
    }

    /// How far a text was read that ends at `end`: what is no whole scalar yet was not.
    pub(super) fn reached(&self, end: At) -> At {
        if self.missing == 0 {
            return end;
        }
        At { input: self.start.start().min(end.input), own: end.own - u64::from(self.read) }
    }

    /// Takes one byte that is not ASCII; gives a scalar when it is complete.
    pub(super) fn step(&mut self, byte: u8, span: Span) -> Option<(u32, Span)> {
        if byte & 0xc0 == 0x80 && self.missing > 0 {
            self.code = self.code << 6 | u32::from(byte & 0x3f);
            self.missing -= 1;
            self.read += 1;
            return (self.missing == 0).then(|| (self.code, self.start.until(span)));
        }
        (self.missing, self.code) = match byte {
            0xc2..=0xdf => (1, u32::from(byte & 0x1f)),
            0xe0..=0xef => (2, u32::from(byte & 0x0f)),
            0xf0..=0xf4 => (3, u32::from(byte & 0x07)),
            _ => (0, 0),
        };
        self.start = span;
        self.read = 1;
        None
    }
}

/// The byte a scalar hidden: tag characters spell ASCII, variation selectors number all 256 bytes.
pub(crate) fn hidden(code: u32) -> Option<u8> {
    match code {
        0xe0020..=0xe007e => Some((code - 0xe0000) as u8),
        0xfe00..=0xfe0f => Some((code - 0xfe00) as u8),
        0xe0100..=0xe01ef => Some((code - 0xe0100 + 16) as u8),
        _ => None,
    }
}

/// The ASCII character this scalar is drawn like, or is a compatibility form of.
pub(crate) fn drawn_like(code: u32) -> Option<u8> {
    match code {
        0x3040..=0x9fff | 0xac00..=0xd7a3 | 0xe0000..=0xe0fff => return None,
        0xff01..=0xff5e => return Some((code - 0xff01 + 0x21) as u8),
        0x1d400..=0x1d6a3 => {
            let letter = ((code - 0x1d400) % 52) as u8;
            return Some(if letter < 26 { b'A' + letter } else { b'a' + letter - 26 });
        }
        0x1d7ce..=0x1d7ff => return Some(b'0' + ((code - 0x1d7ce) % 10) as u8),
        0x1f130..=0x1f149 | 0x1f150..=0x1f169 | 0x1f170..=0x1f189 => {
            return Some(b'A' + ((code - 0x1f130) % 32) as u8);
        }
        _ => {}
    }
    let scalar = char::from_u32(code)?;
    if let Ok(at) = LOOKALIKES.binary_search_by_key(&scalar, |pair| pair.0) {
        return Some(LOOKALIKES[at].1);
    }
    let mut first = None;
    unicode_normalization::char::decompose_compatible(scalar, |part| {
        if first.is_none() && part.is_ascii_graphic() && part != '(' {
            first = Some(part as u8);
        }
    });
    first
}

/// Letters of other scripts that are drawn like ASCII, in order of their scalar (after Unicode's confusables, the ones that
/// pass for a character of a credential).
#[rustfmt::skip]
const LOOKALIKES: &[(char, u8)] = &[
    ('\u{0131}', b'i'), ('\u{0138}', b'k'), ('\u{017f}', b's'), ('\u{0184}', b'b'), ('\u{018d}', b'g'), ('\u{0192}', b'f'),
    ('\u{0196}', b'l'), ('\u{01a6}', b'R'), ('\u{01a7}', b'2'), ('\u{01b7}', b'3'), ('\u{01bc}', b'5'), ('\u{01bd}', b's'),
    ('\u{01c0}', b'l'), ('\u{01c3}', b'!'), ('\u{021c}', b'3'), ('\u{0222}', b'8'), ('\u{0223}', b'8'), ('\u{0251}', b'a'),
    ('\u{0261}', b'g'), ('\u{0263}', b'y'), ('\u{0269}', b'i'), ('\u{026a}', b'i'), ('\u{026f}', b'w'), ('\u{028b}', b'u'),
    ('\u{028f}', b'y'), ('\u{0299}', b'B'), ('\u{029c}', b'H'), ('\u{029f}', b'L'), ('\u{037f}', b'J'), ('\u{0391}', b'A'),
    ('\u{0392}', b'B'), ('\u{0395}', b'E'), ('\u{0396}', b'Z'), ('\u{0397}', b'H'), ('\u{0399}', b'I'), ('\u{039a}', b'K'),
    ('\u{039c}', b'M'), ('\u{039d}', b'N'), ('\u{039f}', b'O'), ('\u{03a1}', b'P'), ('\u{03a4}', b'T'), ('\u{03a5}', b'Y'),
    ('\u{03a7}', b'X'), ('\u{03b1}', b'a'), ('\u{03b3}', b'y'), ('\u{03b5}', b'e'), ('\u{03b9}', b'i'), ('\u{03ba}', b'k'),
    ('\u{03bd}', b'v'), ('\u{03bf}', b'o'), ('\u{03c1}', b'p'), ('\u{03c3}', b'o'), ('\u{03c4}', b't'), ('\u{03c5}', b'u'),
    ('\u{03c7}', b'x'), ('\u{03c9}', b'w'), ('\u{03dc}', b'F'), ('\u{03e8}', b'2'), ('\u{03f2}', b'c'), ('\u{03f3}', b'j'),
    ('\u{03f9}', b'C'), ('\u{03fa}', b'M'), ('\u{0405}', b'S'), ('\u{0406}', b'I'), ('\u{0408}', b'J'), ('\u{0410}', b'A'),
    ('\u{0412}', b'B'), ('\u{0415}', b'E'), ('\u{0417}', b'3'), ('\u{041a}', b'K'), ('\u{041c}', b'M'), ('\u{041d}', b'H'),
    ('\u{041e}', b'O'), ('\u{0420}', b'P'), ('\u{0421}', b'C'), ('\u{0422}', b'T'), ('\u{0423}', b'Y'), ('\u{0425}', b'X'),
    ('\u{042c}', b'b'), ('\u{0430}', b'a'), ('\u{0431}', b'6'), ('\u{0432}', b'B'), ('\u{0433}', b'r'), ('\u{0435}', b'e'),
    ('\u{043a}', b'k'), ('\u{043c}', b'm'), ('\u{043d}', b'h'), ('\u{043e}', b'o'), ('\u{043f}', b'n'), ('\u{0440}', b'p'),
    ('\u{0441}', b'c'), ('\u{0442}', b't'), ('\u{0443}', b'y'), ('\u{0445}', b'x'), ('\u{0448}', b'w'), ('\u{0455}', b's'),
    ('\u{0456}', b'i'), ('\u{0458}', b'j'), ('\u{0461}', b'w'), ('\u{0474}', b'V'), ('\u{0475}', b'v'), ('\u{04ae}', b'Y'),
    ('\u{04af}', b'y'), ('\u{04ba}', b'h'), ('\u{04bb}', b'h'), ('\u{04bd}', b'e'), ('\u{04c0}', b'l'), ('\u{04cf}', b'l'),
    ('\u{04d4}', b'A'), ('\u{04e0}', b'3'), ('\u{0501}', b'd'), ('\u{050c}', b'G'), ('\u{050d}', b'g'), ('\u{051b}', b'q'),
    ('\u{051c}', b'W'), ('\u{051d}', b'w'), ('\u{0555}', b'O'), ('\u{0561}', b'w'), ('\u{0563}', b'q'), ('\u{0566}', b'q'),
    ('\u{0570}', b'h'), ('\u{0578}', b'n'), ('\u{057c}', b'n'), ('\u{057d}', b'u'), ('\u{0581}', b'g'), ('\u{0582}', b'i'),
    ('\u{0584}', b'f'), ('\u{0585}', b'o'), ('\u{05c0}', b'l'), ('\u{05d5}', b'l'), ('\u{05d8}', b'v'), ('\u{05df}', b'l'),
    ('\u{05e1}', b'o'), ('\u{0627}', b'l'), ('\u{0647}', b'o'), ('\u{0661}', b'1'), ('\u{0665}', b'o'), ('\u{0667}', b'V'),
    ('\u{06f1}', b'1'), ('\u{07ca}', b'l'), ('\u{0966}', b'o'), ('\u{13a0}', b'D'), ('\u{13a1}', b'R'), ('\u{13a2}', b'T'),
    ('\u{13a5}', b'i'), ('\u{13a9}', b'Y'), ('\u{13aa}', b'A'), ('\u{13ab}', b'J'), ('\u{13ac}', b'E'), ('\u{13b3}', b'W'),
    ('\u{13b7}', b'M'), ('\u{13bb}', b'H'), ('\u{13bd}', b'Y'), ('\u{13c0}', b'G'), ('\u{13c2}', b'h'), ('\u{13c3}', b'Z'),
    ('\u{13cf}', b'b'), ('\u{13d2}', b'R'), ('\u{13d4}', b'W'), ('\u{13d5}', b'S'), ('\u{13d9}', b'V'), ('\u{13da}', b'S'),
    ('\u{13de}', b'L'), ('\u{13df}', b'C'), ('\u{13e2}', b'P'), ('\u{13e6}', b'K'), ('\u{13e7}', b'd'), ('\u{13f3}', b'G'),
    ('\u{13f4}', b'B'), ('\u{1d04}', b'c'), ('\u{1d0f}', b'o'), ('\u{1d11}', b'o'), ('\u{1d1c}', b'u'), ('\u{1d20}', b'v'),
    ('\u{1d21}', b'w'), ('\u{1d22}', b'z'), ('\u{1d26}', b'r'), ('\u{1d83}', b'g'), ('\u{1d8c}', b'y'), ('\u{1e9d}', b'f'),
    ('\u{1efe}', b'Y'), ('\u{1eff}', b'y'), ('\u{1fbe}', b'i'), ('\u{2010}', b'-'), ('\u{2011}', b'-'), ('\u{2012}', b'-'),
    ('\u{2013}', b'-'), ('\u{2014}', b'-'), ('\u{2044}', b'/'), ('\u{2212}', b'-'), ('\u{2215}', b'/'), ('\u{2223}', b'l'),
    ('\u{2228}', b'v'), ('\u{222a}', b'U'), ('\u{22a4}', b'T'), ('\u{22c1}', b'v'), ('\u{22c3}', b'U'), ('\u{2373}', b'i'),
    ('\u{2374}', b'p'), ('\u{237a}', b'a'), ('\u{2573}', b'X'), ('\u{2c82}', b'B'), ('\u{2c85}', b'r'), ('\u{2c8e}', b'H'),
    ('\u{2c92}', b'l'), ('\u{2c94}', b'K'), ('\u{2c98}', b'M'), ('\u{2c9a}', b'N'), ('\u{2c9e}', b'O'), ('\u{2c9f}', b'o'),
    ('\u{2ca2}', b'P'), ('\u{2ca3}', b'p'), ('\u{2ca4}', b'C'), ('\u{2ca5}', b'c'), ('\u{2ca6}', b'T'), ('\u{2ca8}', b'Y'),
    ('\u{2cac}', b'X'), ('\u{a4d0}', b'B'), ('\u{a4d1}', b'P'), ('\u{a4d2}', b'd'), ('\u{a4d3}', b'D'), ('\u{a4d4}', b'T'),
    ('\u{a4d6}', b'G'), ('\u{a4d7}', b'K'), ('\u{a4d9}', b'J'), ('\u{a4da}', b'C'), ('\u{a4dc}', b'Z'), ('\u{a4dd}', b'F'),
    ('\u{a4df}', b'M'), ('\u{a4e0}', b'N'), ('\u{a4e1}', b'L'), ('\u{a4e2}', b'S'), ('\u{a4e3}', b'R'), ('\u{a4e6}', b'V'),
    ('\u{a4e7}', b'H'), ('\u{a4ea}', b'W'), ('\u{a4eb}', b'X'), ('\u{a4ec}', b'Y'), ('\u{a4ee}', b'A'), ('\u{a4f0}', b'E'),
    ('\u{a4f2}', b'l'), ('\u{a4f3}', b'O'), ('\u{a4f4}', b'U'), ('\u{a731}', b's'), ('\u{ab47}', b'r'), ('\u{ab75}', b'i'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookalikes_are_in_order_and_pass_for_what_they_look_like() {
        assert!(LOOKALIKES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (scalar, want) in
            [('а', b'a'), ('Ｋ', b'K'), ('𝟗', b'9'), ('𝓏', b'z'), ('é', b'e'), ('ⓚ', b'k'), ('²', b'2')]
        {
            assert_eq!(drawn_like(scalar as u32), Some(want), "{scalar}");
        }
        for scalar in ['漢', 'ж', '\u{200b}', '\u{e0041}'] {
            assert_eq!(drawn_like(scalar as u32), None, "{scalar}");
        }
    }
}
