//! Every detector at once: cut anywhere they find the same, findings are in order and within the text, what is no finding stays as it
//! was, and what was replaced can be put back. The first byte seeds the cuts.
#![no_main]

use judge::filter::handle::{Handles, SessionKey};
use judge::filter::known::Known;
use judge::filter::{Class, Filter, Personal, Settings};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static FILTER: LazyLock<Filter> = LazyLock::new(|| {
    let settings = Settings { personal: Personal::ALL, ..Settings::default() };
    Filter::compile(&settings, Known::compile(&[]).expect("no values"))
});

fuzz_target!(|bytes: &[u8]| {
    let [seed, text @ ..] = bytes else { return };
    let key = SessionKey::new(&[5; 32]);
    let whole = FILTER.redact(text, &key);
    let (mut out, mut stream) = (Vec::new(), FILTER.stream(&key));
    let mut state = u32::from(*seed) + 1;
    let mut rest = text;
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (chunk, left) = rest.split_at(((state >> 24) as usize % 9).min(rest.len()));
        stream.push(chunk, &mut out);
        rest = left;
    }
    stream.flush(&mut out);
    assert_eq!(out, whole.text, "cuts change nothing");
    let mut expected = Vec::new();
    let mut at = 0;
    for found in whole.findings.iter().filter(|found| found.class != Class::Handle) {
        assert!(at <= found.start && found.start < found.end && found.end <= text.len() as u64, "in order");
        expected.extend_from_slice(&text[at as usize..found.start as usize]);
        expected.extend_from_slice(found.handle.as_bytes());
        at = found.end;
    }
    expected.extend_from_slice(&text[at as usize..]);
    assert_eq!(expected, whole.text, "only what was found was replaced");
    // What looks like a handle before is somebody else's, and is refused.
    if judge::filter::handle::found_in(text).next().is_none() {
        let mut handles = Handles::default();
        handles.keep(whole.kept, "here");
        if let Ok(restored) = handles.restore(&whole.text, |_| true) {
            assert_eq!(restored, text, "put back as it was");
        }
    }
});
