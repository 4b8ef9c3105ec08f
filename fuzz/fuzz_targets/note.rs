//! Keys, checkpoints and proofs as someone else wrote them: refused or read, never a panic.
//! Nothing is accepted under a key that did not sign it.
#![no_main]

use journal::{Checkpoint, SigningKey, VerifierKey, leaf_hash, verify_consistency, verify_inclusion};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEY: LazyLock<VerifierKey> =
    LazyLock::new(|| SigningKey::generate("example.org/log").expect("a key can be made").verifier());

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(
                key.to_string().parse::<VerifierKey>().expect("a written key is readable").id(),
                key.id()
            );
        }
        // The key is made anew for each run, so no input can hold its signature.
        assert!(Checkpoint::verify(text, &KEY).is_err(), "a note is accepted that was never signed");
    }
    let number = |at: usize| {
        bytes.get(at..at + 8).map_or(0, |b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
    };
    let proof: Vec<[u8; 32]> =
        bytes.get(16..).unwrap_or_default().chunks_exact(32).map(|c| c.try_into().expect("32")).collect();
    let (index, size) = (number(0), number(8));
    let (first, last) = (leaf_hash(b"a"), leaf_hash(bytes));
    // A proof of random hashes holds only for the trivial trees: one leaf, or twice the same tree.
    if verify_inclusion(&last, index, size, &proof, &first).is_ok() {
        panic!("an inclusion proof for {index} of {size} holds by chance");
    }
    if verify_consistency(index, &first, size, &last, &proof).is_ok() {
        assert_eq!(index, 0, "a consistency proof for {index} to {size} holds by chance");
    }
});
