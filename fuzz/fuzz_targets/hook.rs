//! A hook event from the client, against a gate without policies: every answer is an object, none is consent.
//! The gate is a real one with its journal, opened once.
#![no_main]

use gateway::adapters::hook::{Hooks, Side};
use gateway::config::Place;
use gateway::gate::Gate;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};

struct Stand {
    _folder: tempfile::TempDir,
    runtime: Runtime,
    hooks: Hooks,
}

static STAND: LazyLock<Stand> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let config = folder.path().join(".bailiwick");
    std::fs::create_dir_all(config.join("policy")).expect("a folder can be made");
    std::fs::write(config.join("bailiwick.toml"), "[gate]\n").expect("a file can be written");
    std::fs::write(config.join("tools.lock"), r#"{"version":1,"servers":{}}"#)
        .expect("a file can be written");
    let place = Place::of(config, Some(&folder.path().join("state"))).expect("a place");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let gate = runtime.block_on(Gate::open(place)).unwrap_or_else(|why| panic!("{why}"));
    Stand { _folder: folder, runtime, hooks: Hooks::new(gate) }
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = serde_json::from_slice::<&RawValue>(bytes) else { return };
    let stand = &*STAND;
    let answer = stand.runtime.block_on(stand.hooks.answer(event, Side::Outside, false));
    assert!(answer.is_object(), "{answer}");
    let said = answer.to_string();
    assert!(
        !said.contains(r#""allow""#) && !said.contains(r#""approve""#),
        "consent without a policy: {said}"
    );
});
