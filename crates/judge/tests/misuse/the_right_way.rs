//! The only way to an effect: decide, record, act, filter.

use judge::approval::{Approver, Ask, Event, Grant, State};
use judge::filter::{Release, Withheld, release};
use judge::label::Labeled;
use judge::permit::{Course, Decided, Leaf, Permit, Recorded};
use judge::policy::{Decision, Verdict};
use judge::request::Request;

fn act(permit: Permit<Recorded>) -> Labeled<String> {
    Labeled::new(format!("done under leaf {}", permit.leaf()), permit.request().tool().name.clone())
}

fn record(permit: Permit<Decided>, index: u64) -> Permit<Recorded> {
    permit.recorded(Leaf::durable(index))
}

fn grant(ask: &Ask, verdict: &Verdict) -> Option<Grant> {
    let granted = State::fresh().after(ask, Event::Grant { by: Approver::named("ann") }, 0).ok()?;
    granted.spend(ask, verdict.request_digest(), verdict.policy_digest(), 0).ok().map(|(grant, _)| grant)
}

#[allow(dead_code)]
fn run(request: Request, verdict: Verdict, ask: &Ask) -> Option<Result<Release<String>, Withheld>> {
    assert!(verdict.decision() <= Decision::Deny);
    let permit = match verdict.course(request) {
        Course::Proceed(permit) => permit,
        Course::Ask(pending) => {
            let grant = grant(ask, pending.verdict())?;
            pending.granted(grant).ok()?
        }
        Course::Stop(..) => return None,
    };
    Some(release(act(record(permit, 0))))
}

pub(crate) fn main() {}
