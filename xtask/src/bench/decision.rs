//! One decision in process: normalize and decide under 100 policies over 30 tools with nested arguments.
//! Beside it Cedar alone answers one question over all 100 policies at once; the judge asks up to two over its slice.

use super::numbers::{Times, round};
use anyhow::Context;
use cedar_policy::{
    Authorizer, Context as CedarContext, Entities, EntityUid, PolicySet, Request, RestrictedExpression as E,
};
use judge::policy::{Decision, Policy, Source};
use judge::request::path::{AbsPath, LinkFact, Links, Zones};
use judge::request::tree::Tree;
use judge::request::{Facts, Principal, RawCall, normalize};
use judge::shape::Shape;
use judge::tool::{Effect, Impact, Inventory, Tool, ToolName};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

const TOOLS: usize = 30;
const POLICIES: usize = 100;
const WARM: usize = 3_000;
const CALLS: usize = 30_000;

struct Plain;

impl Links for Plain {
    fn read_link(&self, _: &AbsPath) -> LinkFact {
        LinkFact::Plain
    }
}

pub(super) fn measure() -> anyhow::Result<Value> {
    let inventory = inventory();
    let text = policies();
    let policy = Policy::load(&[Source { name: "bench.cedar".to_owned(), text: text.clone() }], &inventory)?;
    anyhow::ensure!(policy.len() == POLICIES, "{} policies", policy.len());
    let place = AbsPath::parse;
    let (cwd, home) = (place("/home/ann/desk")?, place("/home/ann")?);
    let zones = Zones {
        workspace: cwd.clone(),
        home: home.clone(),
        temp: vec![place("/tmp")?],
        gate: vec![place("/home/ann/gate")?],
    };
    let facts = Facts {
        now: 1_790_000_000,
        cwd: &cwd,
        home: &home,
        zones: &zones,
        links: &Plain,
        phase: "default",
        transport: "stdio",
        calls_last_minute: 3,
        provenance: judge::flow::Provenance::blank(),
    };
    let cedar = Cedar { policies: text.parse()?, authorizer: Authorizer::new(), entities: Entities::empty() };
    let calls: Vec<(Decision, usize, Tree)> = (0..TOOLS * 10).map(call).collect::<anyhow::Result<_>>()?;

    let (mut whole, mut alone) = (Times::default(), Times::default());
    let mut by_decision: BTreeMap<String, Times> = BTreeMap::new();
    for number in 0..WARM + CALLS {
        let (wanted, tool, arguments) = &calls[number % calls.len()];
        let raw = RawCall {
            principal: principal(),
            name: name(*tool),
            arguments: arguments.clone(),
            beside: Tree::Null,
        };
        let started = Instant::now();
        let request = normalize(raw, &inventory, &facts)?;
        let verdict = policy.decide(&request);
        let took = started.elapsed();
        anyhow::ensure!(verdict.decision() == *wanted, "{verdict}, not {wanted}");
        let started = Instant::now();
        let permitted = cedar.ask(*tool, arguments)?;
        let cedar_took = started.elapsed();
        anyhow::ensure!(
            permitted == (*wanted == Decision::Allow),
            "Cedar alone decides otherwise: {permitted}, {wanted}"
        );
        if number >= WARM {
            whole.add(took);
            alone.add(cedar_took);
            by_decision.entry(wanted.to_string()).or_default().add(took);
        }
    }
    whole.say("normalize + decide");
    for (decision, times) in &by_decision {
        times.say(&format!("  of these {decision}"));
    }
    alone.say("Cedar alone, unsliced, one question");
    let ratio = whole.at(0.5) / alone.at(0.5);
    println!("  ratio of the medians {ratio:.2} (aim: p50 at most 50 µs, p99 at most 200 µs)");
    let each: serde_json::Map<_, _> =
        by_decision.iter().map(|(decision, times)| (decision.clone(), times.summary())).collect();
    Ok(json!({
        "policies": POLICIES, "tools": TOOLS, "decide": whole.summary(), "by_decision": each,
        "cedar_unsliced": alone.summary(), "ratio_p50": round(ratio), "aim": { "p50_us": 50, "p99_us": 200 },
    }))
}

fn principal() -> Principal {
    Principal { agent: "agent".to_owned(), user: "ann".to_owned(), groups: vec!["support".to_owned()] }
}

fn name(tool: usize) -> ToolName {
    ToolName { server: "desk".to_owned(), tool: format!("order_{tool}") }
}

fn inventory() -> Inventory {
    let text = || json!({ "type": "string" });
    let schema = json!({ "type": "object", "required": ["order", "amount_cents"], "properties": {
        "amount_cents": { "type": "integer" },
        "note": text(),
        "order": { "type": "object", "required": ["ship", "lines"], "properties": {
            "id": text(),
            "lines": { "type": "array", "items": { "type": "object", "properties": { "sku": text(), "count": { "type": "integer" } },
                "required": ["sku", "count"], "additionalProperties": false } },
            "ship": { "type": "object", "required": ["country", "address"], "properties": {
                "country": text(),
                "address": { "type": "object", "properties": { "city": text(), "zip": text() }, "required": ["city"],
                    "additionalProperties": false } }, "additionalProperties": false } }, "additionalProperties": false } },
        "additionalProperties": false });
    Inventory::new((0..TOOLS).map(|tool| Tool {
        name: name(tool),
        shape: Shape::of_schema(&schema, &BTreeMap::new()),
        effect: Effect::Write,
        reversible: false,
        impact: Impact::High,
        digest: format!("{tool:064x}"),
        flow: judge::flow::Flow::default(),
    }))
}

/// Three policies for each tool and ten for all of them.
fn policies() -> String {
    let mut text = String::new();
    for tool in 0..TOOLS {
        let action = format!("action == Action::\"desk/order_{tool}\"");
        text.push_str(&format!(
            "@id(\"small-{tool}\") permit(principal, {action}, resource) when {{ context.args.amount_cents <= 5000\n\
             && [\"DE\", \"FR\", \"IT\"].contains(context.args.order.ship.country) }};\n\
             @id(\"asked-{tool}\") permit(principal, {action}, resource) when {{ context.approved && context.args.amount_cents <= 100000 }};\n\
             @id(\"never-{tool}\") forbid(principal, {action}, resource) when {{ context.args.order.ship.country == \"KP\"\n\
             || context.args.order.ship.address.city like \"*nowhere*\" }};\n"
        ));
    }
    for phase in 0..POLICIES - 3 * TOOLS {
        text.push_str(&format!(
            "@id(\"frozen-{phase}\") forbid(principal, action, resource) when {{ context.session.phase == \"frozen-{phase}\"\n\
             && context.tool.effect == \"write\" && context.rate.minute > {phase} }};\n"
        ));
    }
    text
}

/// Six of ten are allowed, two need a person, one is past every limit, one is forbidden.
fn call(number: usize) -> anyhow::Result<(Decision, usize, Tree)> {
    let (decision, cents, country) = match number % 10 {
        0..6 => (Decision::Allow, 100 + number, "DE"),
        6 | 7 => (Decision::Ask, 50_000 + number, "DE"),
        8 => (Decision::Deny, 1_000_000, "FR"),
        _ => (Decision::Deny, 100, "KP"),
    };
    let arguments = json!({ "amount_cents": cents, "note": "as the customer asked on the phone", "order": {
        "id": format!("ord_{number:08}"),
        "lines": [{ "sku": "A-1001", "count": 2 }, { "sku": "B-2002", "count": 1 }],
        "ship": { "country": country, "address": { "city": "Rostock", "zip": "18055" } } } });
    Ok((decision, number % TOOLS, Tree::parse(arguments.to_string().as_bytes())?))
}

/// Cedar as a program would use it that keeps all its policies in one set.
struct Cedar {
    policies: PolicySet,
    authorizer: Authorizer,
    entities: Entities,
}

impl Cedar {
    fn ask(&self, tool: usize, arguments: &Tree) -> anyhow::Result<bool> {
        let uid = |text: String| text.parse::<EntityUid>().map_err(anyhow::Error::from);
        let text = |value: &str| E::new_string(value.to_owned());
        let context = CedarContext::from_pairs([
            ("args".to_owned(), expression(arguments)?),
            ("approved".to_owned(), E::new_bool(false)),
            (
                "session".to_owned(),
                E::new_record([
                    ("phase".to_owned(), text("default")),
                    ("transport".to_owned(), text("stdio")),
                ])?,
            ),
            ("tool".to_owned(), E::new_record([("effect".to_owned(), text("write"))])?),
            ("rate".to_owned(), E::new_record([("minute".to_owned(), E::new_long(3))])?),
        ])?;
        let request = Request::new(
            uid("Agent::\"agent\"".to_owned())?,
            uid(format!("Action::\"desk/order_{tool}\""))?,
            uid(format!("Tool::\"desk/order_{tool}\""))?,
            context,
            None,
        )?;
        let response = self.authorizer.is_authorized(&request, &self.policies, &self.entities);
        Ok(response.decision() == cedar_policy::Decision::Allow)
    }
}

fn expression(tree: &Tree) -> anyhow::Result<E> {
    Ok(match tree {
        Tree::Bool(value) => E::new_bool(*value),
        Tree::Integer(value) => E::new_long(*value),
        Tree::Text(value) => E::new_string(value.clone()),
        Tree::List(items) => E::new_set(items.iter().map(expression).collect::<anyhow::Result<Vec<_>>>()?),
        Tree::Map(members) => {
            let members = members.iter().map(|(name, value)| Ok((name.clone(), expression(value)?)));
            E::new_record(members.collect::<anyhow::Result<Vec<_>>>()?)?
        }
        Tree::Null | Tree::Float(_) => {
            None.context("the benchmark's arguments hold neither null nor fractions")?
        }
    })
}
