//! Decides: permitted as things stand → Allow; permitted only once an approver says yes → Ask; otherwise Deny.
//! Every reading of a call is judged and the strictest wins; any evaluation error is a Deny.

use super::explain::{self, Nearest};
use super::load::{Policy, Slice, agent};
use crate::filter::leak::Leak;
use crate::flow::Explained;
use crate::request::{Bound, Principal, Request};
use crate::shape::Shape;
use crate::tool::{Effect, Impact, Tool};
use cedar_policy::{Context, Entities, RestrictedExpression};
use std::fmt;
use std::sync::Arc;

/// What happens to a call. Ordered: the strictest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It runs.
    Allow,
    /// It runs once an approver granted exactly this call.
    Ask,
    /// It does not run.
    Deny,
}

impl fmt::Display for Decision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Decision::Allow => "allow",
            Decision::Ask => "ask",
            Decision::Deny => "deny",
        })
    }
}

/// A decision with what it rests on. Not `Clone`: it leads to one course.
#[must_use]
#[derive(Debug)]
pub struct Verdict {
    pub(crate) decision: Decision,
    pub(crate) determining: Vec<Arc<str>>,
    pub(crate) errors: Vec<String>,
    pub(crate) reading: String,
    /// Index of that reading.
    pub(crate) at: usize,
    pub(crate) nearest: Option<Nearest>,
    /// How many people must agree.
    pub(crate) approvers: u8,
    /// Which values are not known to be the user's; empty when all fit.
    pub(crate) doubt: String,
    pub(crate) policy_digest: String,
    pub(crate) request_digest: String,
}

impl Verdict {
    /// The decision.
    pub fn decision(&self) -> Decision {
        self.decision
    }
    /// Names of the policies it rests on; empty when no policy permits the call.
    pub fn determining(&self) -> &[Arc<str>] {
        &self.determining
    }
    /// Evaluation errors; any makes the decision Deny.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }
    /// Which reading of the call decided, e.g. ``command `rm -rf /` ``; empty when there is only one.
    pub fn reading(&self) -> &str {
        &self.reading
    }
    /// For a Deny that was [explained](Policy::explained): the permit that came closest, and what it lacked.
    pub fn nearest(&self) -> Option<&Nearest> {
        self.nearest.as_ref()
    }
    /// Which values of the call do not fit what they decide, and where they came from; empty when all do.
    pub fn doubt(&self) -> &str {
        &self.doubt
    }
    /// How many people must agree where it asks: what `@approvers` of the policies it rests on says, the most of them.
    pub fn approvers(&self) -> u8 {
        self.approvers
    }
    /// Digest of the policies that decided.
    pub fn policy_digest(&self) -> &str {
        &self.policy_digest
    }
    /// Digest of the request decided on.
    pub fn request_digest(&self) -> &str {
        &self.request_digest
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = || self.determining.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let at = if self.reading.is_empty() { String::new() } else { format!(" ({})", self.reading) };
        match self.decision {
            Decision::Allow => write!(out, "permitted by {}", names()),
            Decision::Ask => write!(out, "needs approval under {}{at}{}", names(), self.because()),
            Decision::Deny if !self.errors.is_empty() => {
                write!(
                    out,
                    "a policy could not be evaluated{at}, so the call is denied: {}",
                    self.errors.join("; ")
                )
            }
            Decision::Deny if !self.determining.is_empty() => {
                write!(out, "forbidden by {}{at}{}", names(), self.because())
            }
            Decision::Deny => {
                write!(out, "no policy permits this{at}{}", self.because())?;
                match &self.nearest {
                    Some(nearest) => write!(out, "; {nearest}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Verdict {
    fn because(&self) -> String {
        if self.doubt.is_empty() { String::new() } else { format!(": {}", self.doubt) }
    }
}

/// One evaluation of one reading.
pub(super) struct Outcome {
    pub(super) decision: Decision,
    pub(super) determining: Vec<Arc<str>>,
    pub(super) errors: Vec<String>,
}

impl Policy {
    /// Decides on `request`. Total: whatever goes wrong is a Deny that says so.
    pub fn decide(&self, request: &Request) -> Verdict {
        let denied = |errors: Vec<String>| self.verdict(request, Decision::Deny, Vec::new(), errors);
        let Some(slice) = self.slices.get(&request.tool.name) else {
            return denied(vec![format!(
                "`{}` is not in the inventory the policies were loaded with",
                request.tool.name
            )]);
        };
        let entities = match slice.entities_for(&request.principal) {
            Ok(entities) => entities,
            Err(error) => return denied(vec![error]),
        };
        let mut strictest: Option<Verdict> = None;
        let mut approvers = 1;
        for (at, reading) in request.alternatives.iter().enumerate() {
            let outcome = self.outcome(slice, &entities, request, &reading.args);
            if outcome.decision == Decision::Ask {
                let asked = outcome.determining.iter().filter_map(|name| slice.approvers.get(name));
                approvers = asked.copied().fold(approvers, u8::max);
            }
            if strictest.as_ref().is_some_and(|verdict| verdict.decision >= outcome.decision) {
                continue;
            }
            let mut verdict = self.verdict(request, outcome.decision, outcome.determining, outcome.errors);
            verdict.reading.clone_from(&reading.label);
            verdict.at = at;
            if verdict.decision == Decision::Deny {
                return verdict;
            }
            strictest = Some(verdict);
        }
        if let Some(verdict) = &mut strictest {
            verdict.approvers = approvers;
        }
        strictest.unwrap_or_else(|| denied(vec!["the call has no reading that could be judged".to_owned()]))
    }

    /// The same verdict with the permit that came nearest, where no policy permitted `request`. It costs several
    /// evaluations, so it is asked for only when someone will read it.
    pub fn explained(&self, request: &Request, mut verdict: Verdict) -> Verdict {
        let plain =
            verdict.decision == Decision::Deny && verdict.errors.is_empty() && verdict.determining.is_empty();
        if plain
            && let Some(slice) = self.slices.get(&request.tool.name)
            && let Ok(entities) = slice.entities_for(&request.principal)
            && let Some(reading) = request.alternatives.get(verdict.at)
        {
            verdict.nearest = explain::nearest(self, slice, &entities, request, &reading.args);
        }
        verdict
    }

    /// Whether a call of `tool` with some arguments could be permitted or asked for now: what a list may show.
    pub fn may_call(&self, tool: &Tool, principal: &Principal, facts: &crate::request::Facts<'_>) -> bool {
        self.at_best(tool, principal, facts) < Decision::Deny
    }

    /// The best that a call of `tool` with some arguments could come to now. The same policies decide as at the call, with the
    /// arguments left unknown.
    pub fn at_best(&self, tool: &Tool, principal: &Principal, facts: &crate::request::Facts<'_>) -> Decision {
        let Some(slice) = self.slices.get(&tool.name) else { return Decision::Deny };
        let Ok(entities) = slice.entities_for(principal) else { return Decision::Deny };
        let circumstances = crate::request::Circumstances {
            now: facts.now,
            phase: facts.phase.to_owned(),
            transport: facts.transport.to_owned(),
            calls_last_minute: facts.calls_last_minute,
            leaks: Vec::new(),
        };
        let args = RestrictedExpression::new_unknown("args");
        let could_be = |approved: bool| {
            let context = context(tool, &circumstances, Told::Unknown, args.clone(), approved);
            let Ok(query) = query(slice, principal, context) else {
                return false;
            };
            let response = self.authorizer.is_authorized_partial(&query, &slice.policies, &entities);
            response.decision() != Some(cedar_policy::Decision::Deny)
        };
        match (could_be(false), could_be(true)) {
            (true, _) => Decision::Allow,
            (false, true) => Decision::Ask,
            (false, false) => Decision::Deny,
        }
    }

    pub(super) fn outcome(
        &self,
        slice: &Slice,
        entities: &Entities,
        request: &Request,
        args: &Bound,
    ) -> Outcome {
        let mut first = None;
        for (approved, decision) in [(false, Decision::Allow), (true, Decision::Ask)] {
            let evaluated = expression(args)
                .and_then(|args| {
                    let told = Told::of(slice, request);
                    let context = context(&request.tool, &request.circumstances, told, args, approved);
                    query(slice, &request.principal, context)
                })
                .map(|query| self.authorizer.is_authorized(&query, &slice.policies, entities));
            let response = match evaluated {
                Ok(response) => response,
                Err(error) => {
                    return Outcome { decision: Decision::Deny, determining: vec![], errors: vec![error] };
                }
            };
            let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
            let mut determining: Vec<Arc<str>> =
                response.diagnostics().reason().filter_map(|id| slice.names.get(id).cloned()).collect();
            determining.sort();
            if !errors.is_empty() {
                return Outcome { decision: Decision::Deny, determining, errors };
            }
            if response.decision() == cedar_policy::Decision::Allow {
                return Outcome { decision, determining, errors };
            }
            // A forbid that approval lifts is named when approval does not help either.
            first.get_or_insert(determining);
        }
        Outcome { decision: Decision::Deny, determining: first.unwrap_or_default(), errors: Vec::new() }
    }

    fn verdict(
        &self,
        request: &Request,
        decision: Decision,
        determining: Vec<Arc<str>>,
        errors: Vec<String>,
    ) -> Verdict {
        Verdict {
            decision,
            determining,
            errors,
            reading: String::new(),
            at: 0,
            nearest: None,
            approvers: 1,
            doubt: request.explained.in_words(),
            policy_digest: self.digest().to_owned(),
            request_digest: request.digest().to_owned(),
        }
    }
}

pub(super) fn query(
    slice: &Slice,
    principal: &Principal,
    context: Result<Context, String>,
) -> Result<cedar_policy::Request, String> {
    cedar_policy::Request::new(agent(principal), slice.action.clone(), slice.resource.clone(), context?, None)
        .map_err(|error| error.to_string())
}

/// What an evaluation is told of where values came from and how data would leave.
#[derive(Clone, Copy)]
pub(super) enum Told<'a> {
    /// Nothing, because no policy asks.
    Nothing,
    /// That it is not known yet.
    Unknown,
    /// This.
    Known(&'a Explained),
}

impl<'a> Told<'a> {
    pub(super) fn of(slice: &Slice, request: &'a Request) -> Self {
        if slice.asks_origins { Told::Known(&request.explained) } else { Told::Nothing }
    }
}

/// The context of an evaluation. Its types are those of `schema::generate`: both follow the tool's reviewed shape.
pub(super) fn context(
    tool: &Tool,
    circumstances: &crate::request::Circumstances,
    told: Told<'_>,
    args: RestrictedExpression,
    approved: bool,
) -> Result<Context, String> {
    use RestrictedExpression as E;
    let text = |value: &str| E::new_string(value.to_owned());
    let record = |members: Vec<(&str, E)>| {
        E::new_record(members.into_iter().map(|(name, value)| (name.to_owned(), value)))
            .map_err(|e| e.to_string())
    };
    let words =
        |of: &dyn Fn(&Leak) -> &str| E::new_set(circumstances.leaks.iter().map(|leak| text(of(leak))));
    let effect = match tool.effect {
        Effect::Read => "read",
        Effect::Write => "write",
    };
    let impact = match tool.impact {
        Impact::Low => "low",
        Impact::High => "high",
    };
    let seconds = circumstances.now;
    let (flow, from) = match told {
        Told::Nothing => (None, None),
        Told::Unknown => (Some(E::new_unknown("flow")), Some(E::new_unknown("from"))),
        Told::Known(explained) => {
            let fields: Vec<&str> = match &tool.shape {
                Shape::Record { fields, .. } => fields.keys().map(String::as_str).collect(),
                _ => Vec::new(),
            };
            let mut from = Vec::with_capacity(fields.len());
            for name in fields {
                let (origin, fits) = explained.of(name);
                from.push((name, record(vec![("origin", text(origin)), ("fits", E::new_bool(fits))])?));
            }
            let flow = record(vec![
                ("fits", E::new_bool(explained.fits())),
                ("tainted", E::new_bool(explained.is_tainted)),
                ("prompt", E::new_bool(explained.has_prompt)),
                ("in_scope", E::new_bool(explained.is_in_scope)),
                ("compartments", E::new_set(explained.compartments.iter().map(|name| text(name)))),
            ])?;
            (Some(flow), Some(record(from)?))
        }
    };
    let leaks = match told {
        Told::Nothing => None,
        Told::Unknown | Told::Known(_) => Some(record(vec![
            ("offers", words(&|leak| leak.offer.word())),
            ("carriers", words(&|leak| leak.carrier.word())),
            ("hosts", words(&|leak| &leak.host)),
        ])?),
    };
    let asked = [("flow", flow), ("from", from), ("leaks", leaks)];
    let asked = asked.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let always = [
        ("args".to_owned(), args),
        ("approved".to_owned(), E::new_bool(approved)),
        (
            "session".to_owned(),
            record(vec![
                ("phase", text(&circumstances.phase)),
                ("transport", text(&circumstances.transport)),
            ])?,
        ),
        (
            "tool".to_owned(),
            record(vec![
                ("effect", text(effect)),
                ("reversible", E::new_bool(tool.reversible)),
                ("impact", text(impact)),
            ])?,
        ),
        (
            "time".to_owned(),
            record(vec![
                ("epoch", E::new_long(seconds)),
                ("hour", E::new_long(seconds.rem_euclid(86_400) / 3_600)),
                // 1970-01-01 was a Thursday; Monday is 1 (ISO 8601).
                ("weekday", E::new_long((seconds.div_euclid(86_400) + 3).rem_euclid(7) + 1)),
            ])?,
        ),
        ("rate".to_owned(), record(vec![("minute", E::new_long(circumstances.calls_last_minute))])?),
    ];
    Context::from_pairs(always.into_iter().chain(asked)).map_err(|error| error.to_string())
}

pub(super) fn expression(bound: &Bound) -> Result<RestrictedExpression, String> {
    use RestrictedExpression as E;
    Ok(match bound {
        Bound::Bool(value) => E::new_bool(*value),
        Bound::Long(value) => E::new_long(*value),
        Bound::Decimal(text) => E::new_decimal(text),
        Bound::Text(text) => E::new_string(text.clone()),
        Bound::Set(items) => E::new_set(items.iter().map(expression).collect::<Result<Vec<_>, _>>()?),
        Bound::Record(members) => {
            let members = members
                .iter()
                .map(|(name, value)| Ok((name.clone(), expression(value)?)))
                .collect::<Result<Vec<_>, String>>()?;
            E::new_record(members).map_err(|error| error.to_string())?
        }
        Bound::Each(_) => return Err("an argument still has several readings".to_owned()),
    })
}
