//! The name server: an answer repeats the question it is to, and never tells of an address where there is no such name.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for exists in [true, false] {
        let Some(answer) = egress::fuzzing::dns(bytes, exists) else { continue };
        assert!(answer.len() >= 12 && answer[..2] == bytes[..2], "the same transaction");
        assert!(answer[2] & 0x80 != 0, "an answer");
        assert!(answer.len() <= bytes.len() + 16, "no amplification");
        let answers = u16::from_be_bytes([answer[6], answer[7]]);
        assert!(answers == 0 || exists, "an address of a name that does not exist");
    }
    let shown = egress::fuzzing::shown(bytes);
    assert!(shown.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "records hold plain text");
});
