//! A tool definition from a server: one hostile definition never takes the whole inventory with it.
//! Whatever is accepted yields a schema that policies load against, and a call that is decided on.
#![no_main]

use gateway::inventory::Definition;
use judge::policy::{Decision, Policy, Source};
use judge::shape::Shape;
use judge::tool::{Effect, Impact, Inventory, Tool, ToolName};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

fuzz_target!(|bytes: &[u8]| {
    let Ok(raw) = serde_json::from_slice::<&RawValue>(bytes) else { return };
    let Ok(definition) = Definition::read(raw) else { return };
    let json = definition.to_json();
    let again = Definition::read(&gateway::wire::frame::raw(&json)).expect("a stored definition is readable");
    assert_eq!(
        (&again.name, &again.digest),
        (&definition.name, &definition.digest),
        "a stored definition keeps its digest"
    );
    // Loading is slow; a page of nested braces teaches nothing more than a small one.
    if bytes.len() > 4_096 {
        return;
    }
    let tool = Tool {
        name: ToolName { server: "desk".to_owned(), tool: definition.name.clone() },
        shape: Shape::of_schema(&json["inputSchema"], &BTreeMap::new()),
        effect: Effect::Read,
        reversible: true,
        impact: Impact::Low,
        digest: definition.digest.clone(),
        flow: judge::flow::Flow::default(),
    };
    let inventory = Inventory::new([tool]);
    let any =
        Source { name: "any.cedar".to_owned(), text: "permit(principal, action, resource);".to_owned() };
    let policy = Policy::load(&[any], &inventory).unwrap_or_else(|error| panic!("{error}"));
    let request = bailiwick_fuzz::call(&inventory, "desk", &definition.name, "{}");
    if let Some(request) = request {
        let verdict = policy.decide(&request);
        assert_eq!(verdict.decision(), Decision::Allow, "{verdict}");
    }
});
