//! Server-sent events: cut anywhere, a stream yields the same events.
//! The first byte of the input seeds the cuts; the rest is the stream.
#![no_main]

use gateway::wire::sse::{Event, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((seed, stream)) = bytes.split_first() else { return };
    let read = |chunks: &mut dyn Iterator<Item = &[u8]>| -> Option<Vec<Event>> {
        let (mut reader, mut events) = (Reader::default(), Vec::new());
        for chunk in chunks {
            reader.push(chunk, &mut events).ok()?;
        }
        Some(events)
    };
    let whole = read(&mut std::iter::once(stream));
    let (mut rest, mut state) = (stream, u32::from(*seed) + 1);
    let mut cut = std::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = (state >> 24) as usize % 7;
        let (chunk, left) = rest.split_at(size.min(rest.len()));
        let more = !rest.is_empty();
        rest = left;
        more.then_some(chunk)
    });
    assert_eq!(whole, read(&mut cut));
    assert_eq!(whole, read(&mut stream.chunks(1)));
});
