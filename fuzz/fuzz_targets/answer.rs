//! What answers an approval from outside, as anybody may send it: the headers and body of a webhook's answer, and the words that a
//! passkey signs. Nothing is believed without its key, and words are read in one spelling only.
#![no_main]

use gateway::people::signed::Yes;
use gateway::webhooks::Message;
use libfuzzer_sys::fuzz_target;

const SECRET: [u8; 32] = [7; 32];

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Some(yes) = Yes::read(&text) {
        assert_eq!(yes.words(), text, "two spellings of one grant");
    }
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (id, at, signatures) = (line(), line(), line());
    let message = Message { id, at, signatures, body: line().as_bytes() };
    if message.is_fresh(1_790_000_000) {
        assert!(!id.is_empty() && id.len() <= 128);
        let at: i64 = at.parse().expect("a time that is fresh");
        assert!((1_790_000_000 - at).abs() <= 300);
    }
    assert!(!message.is_signed(&SECRET), "a signature holds by chance");
});
