//! The search for values that are known: cut anywhere it finds the same, what it lets through holds no value, and a value
//! planted into any text is found. The first byte seeds the cuts and the second says where the value is planted.
#![no_main]

use judge::filter::known::{Guarded, Known, Replace};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const VALUE: &[u8] = b"tK8-q2Lz.Wm5+Rv9";
const SHORT: &[u8] = b"Xy7Pq2Lm";

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let guarded = |handle, value| Guarded { handle, value, stand_in: b"placeholder-placeholder" };
    Known::compile(&[guarded("long", VALUE), guarded("short", SHORT)]).expect("two values of fitting lengths")
});

fuzz_target!(|bytes: &[u8]| {
    let [seed, place, text @ ..] = bytes else { return };
    let at = usize::from(*place).min(text.len());
    let planted = [&text[..at], VALUE, &text[at..]].concat();
    for how in [Replace::Handle, Replace::StandIn] {
        let (whole, findings) = KNOWN.redact(&planted, how);
        assert!(!findings.is_empty() && !holds(&whole, VALUE), "it was planted");
        assert!(how == Replace::Handle || whole.len() == planted.len(), "framing stays true");
        let (mut out, mut stream) = (Vec::new(), KNOWN.stream(how));
        let mut state = u32::from(*seed) + 1;
        let mut rest = &planted[..];
        while !rest.is_empty() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (chunk, left) = rest.split_at(((state >> 24) as usize % 7).min(rest.len()));
            stream.push(chunk, &mut out);
            rest = left;
        }
        stream.flush(&mut out);
        assert_eq!(out, whole, "cuts change nothing");
    }
});

fn holds(text: &[u8], value: &[u8]) -> bool {
    text.windows(value.len()).any(|window| window == value)
}
