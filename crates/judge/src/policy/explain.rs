//! Explains a denial by the permit that came closest and the conditions it lacked.
//! Explanations are built only after the decision stands; nothing here can change it.

use super::decide;
use super::load::{Policy, Slice};
use crate::request::{Bound, Request};
use cedar_policy::{Entities, PolicySet};
use serde_json::{Value, json};
use std::fmt;

/// Most permits looked at for one explanation.
const PERMITS_MAX: usize = 64;
/// Most conditions looked at in one permit.
const CONDITIONS_MAX: usize = 32;

/// The permit nearest to a denied call, and what kept it from applying.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// The policy's name.
    pub policy: String,
    /// The conditions that did not hold, in the policy language; empty when the policy names another principal.
    pub unmet: Vec<String>,
}

impl fmt::Display for Nearest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unmet.as_slice() {
            [] => write!(out, "`{}` would permit it for another agent or user", self.policy),
            unmet => {
                let conditions: Vec<String> =
                    unmet.iter().map(|condition| format!("`{condition}`")).collect();
                write!(out, "`{}` would permit it if {}", self.policy, conditions.join(" and "))
            }
        }
    }
}

/// The permit with the fewest unmet conditions, judged as if approval had been given.
pub(super) fn nearest(
    policy: &Policy,
    slice: &Slice,
    entities: &Entities,
    request: &Request,
    args: &Bound,
) -> Option<Nearest> {
    let args = decide::expression(args).ok()?;
    let told = decide::Told::of(slice, request);
    let context = decide::context(&request.tool, &request.circumstances, told, args, true);
    let query = decide::query(slice, &request.principal, context).ok()?;
    let holds = |candidate: cedar_policy::Policy| {
        let mut alone = PolicySet::new();
        alone.add(candidate).is_ok()
            && policy.authorizer.is_authorized(&query, &alone, entities).decision()
                == cedar_policy::Decision::Allow
    };
    let mut best: Option<(usize, Nearest)> = None;
    for (name, permit) in slice.permits().take(PERMITS_MAX) {
        let Ok(est) = permit.to_json() else { continue };
        let scope_fits = with_conditions(&est, json!([])).is_some_and(&holds);
        let mut unmet = Vec::new();
        if scope_fits {
            for condition in conditions(&est) {
                if !with_conditions(&est, json!([{ "kind": "when", "body": condition }])).is_some_and(&holds)
                {
                    unmet.push(shown(&condition));
                }
            }
        }
        let distance = if scope_fits { unmet.len() } else { CONDITIONS_MAX + 1 };
        if best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, Nearest { policy: name.to_string(), unmet }));
        }
    }
    best.map(|(_, nearest)| nearest)
}

/// The conjuncts of a policy's `when` clauses, and its `unless` clauses negated (Cedar JSON policy format).
fn conditions(est: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    for clause in est["conditions"].as_array().into_iter().flatten() {
        match clause["kind"].as_str() {
            Some("unless") => out.push(json!({ "!": { "arg": clause["body"] } })),
            _ => conjuncts(&clause["body"], &mut out),
        }
    }
    out.truncate(CONDITIONS_MAX);
    out
}

fn conjuncts(body: &Value, out: &mut Vec<Value>) {
    match body.get("&&") {
        Some(and) => {
            conjuncts(&and["left"], out);
            conjuncts(&and["right"], out);
        }
        None => out.push(body.clone()),
    }
}

fn with_conditions(est: &Value, conditions: Value) -> Option<cedar_policy::Policy> {
    let mut est = est.clone();
    est["conditions"] = conditions;
    cedar_policy::Policy::from_json(None, est).ok()
}

/// A condition as it would stand in a policy file.
fn shown(condition: &Value) -> String {
    let whole = json!({ "effect": "permit", "principal": { "op": "All" }, "action": { "op": "All" },
        "resource": { "op": "All" }, "conditions": [{ "kind": "when", "body": condition }] });
    let text =
        cedar_policy::Policy::from_json(None, whole).map(|policy| policy.to_string()).unwrap_or_default();
    let inner =
        text.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inner, _)| inner);
    inner.split_whitespace().collect::<Vec<_>>().join(" ")
}
