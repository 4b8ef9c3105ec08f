//! The one tree of a JSON text: what is accepted has a canonical form that reads back as the same tree.
//! Every accepted text is also accepted by serde_json, with the same value.
#![no_main]

use judge::request::tree::Tree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tree) = Tree::parse(bytes) else { return };
    let canonical = tree.canonical();
    let again = Tree::parse(canonical.as_bytes()).expect("a canonical form is readable");
    assert_eq!(canonical, again.canonical(), "the canonical form is a fixed point");
    assert!(
        serde_json::from_slice::<serde_json::Value>(bytes).is_ok(),
        "nothing is accepted that JSON does not have"
    );
});
