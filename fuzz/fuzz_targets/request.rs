//! A call's arguments against a reviewed tool with every kind of argument: normalized or refused, then decided.
//! A policy that permits everything meets no evaluation error, so no argument can upset the judge itself.
#![no_main]

use judge::policy::{Decision, Policy, Source};
use judge::shape::{Kind, Shape};
use judge::tool::{Effect, Impact, Inventory, Tool, ToolName};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const SCHEMA: &str = r#"{"type":"object","properties":{
  "text":{"type":"string"},"path":{"type":"string"},"url":{"type":"string"},"host":{"type":"string"},
  "command":{"type":"string"},"whole":{"type":"integer"},"real":{"type":"number"},"flag":{"type":"boolean"},
  "list":{"type":"array","items":{"type":"string"}},"paths":{"type":"array","items":{"type":"string"}},
  "reals":{"type":"array","items":{"type":"number"}},"any":{},
  "deep":{"type":"object","properties":{"to":{"type":"object","properties":{"cents":{"type":"integer"}},"required":["cents"]},
  "rate":{"type":"number"}},"additionalProperties":false}}}"#;

static RULES: LazyLock<(Inventory, Policy)> = LazyLock::new(|| {
    let kinds = [
        ("path", Kind::Path),
        ("url", Kind::Url),
        ("host", Kind::Host),
        ("command", Kind::Command),
        ("paths", Kind::Path),
    ];
    let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind)).into();
    let schema = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let inventory = Inventory::new([Tool {
        name: ToolName { server: "s".to_owned(), tool: "t".to_owned() },
        shape: Shape::of_schema(&schema, &kinds),
        effect: Effect::Write,
        reversible: false,
        impact: Impact::High,
        digest: String::new(),
        flow: judge::flow::Flow::default(),
    }]);
    let any =
        Source { name: "any.cedar".to_owned(), text: "permit(principal, action, resource);".to_owned() };
    let policy = Policy::load(&[any], &inventory).expect("the policy loads");
    (inventory, policy)
});

fuzz_target!(|arguments: &str| {
    let (inventory, policy) = &*RULES;
    let Some(request) = bailiwick_fuzz::call(inventory, "s", "t", arguments) else { return };
    let verdict = policy.decide(&request);
    assert_eq!(verdict.errors(), [""; 0], "{verdict}");
    assert_eq!(verdict.decision(), Decision::Allow, "{verdict}");
});
