//! SOCKS greetings: cut anywhere they ask for the same, and only for names.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = egress::fuzzing::socks(bytes, usize::MAX);
    assert_eq!(egress::fuzzing::socks(bytes, 1), whole);
    if let Some((name, _)) = &whole.0 {
        assert!(name.len() <= 255);
    }
});
