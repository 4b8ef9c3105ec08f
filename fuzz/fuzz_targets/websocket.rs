//! WebSocket frames: what may pass says the same on the other side, however it was cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for is_client in [true, false] {
        let whole = egress::fuzzing::websocket(is_client, bytes, usize::MAX);
        for step in [1, 5] {
            assert_eq!(egress::fuzzing::websocket(is_client, bytes, step), whole);
        }
    }
});
