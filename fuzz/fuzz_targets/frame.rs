//! A protocol frame: its members' bytes pass unchanged, and an odd envelope is an error, never a panic.
//! What the gate writes it can read, and reads as the same kind.
#![no_main]

use gateway::wire::frame::Object;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = Object::parse(bytes) else { return };
    let written = frame.to_raw();
    let again = Object::parse(written.get().as_bytes()).expect("a written frame is readable");
    let members = |frame: &Object| -> Vec<(String, String)> {
        frame.members().map(|(name, value)| (name.to_owned(), value.get().to_owned())).collect()
    };
    assert_eq!(members(&frame), members(&again), "no member changes by a single byte");
    assert_eq!(format!("{:?}", frame.kind()), format!("{:?}", again.kind()));
    for (_, value) in frame.members() {
        let at = value.get().as_bytes();
        assert!(bytes.windows(at.len()).any(|window| window == at), "a value's bytes are those received");
    }
    drop((frame.method(), frame.object("params")));
});
