//! The first message of TLS: cut anywhere it reads alike, and what is sent on is what came.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = egress::fuzzing::hello(bytes, usize::MAX);
    for step in [1, 3, 700] {
        assert_eq!(egress::fuzzing::hello(bytes, step), whole);
    }
});
