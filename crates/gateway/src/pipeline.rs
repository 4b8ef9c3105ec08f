//! The life of one call, in order. Every adapter comes through here, and nothing acts anywhere else.
//!
//! ```text
//! RawCall ─normalize► Request ─decide► Verdict ─approve► Permit<Decided>
//!  ─record► Permit<Recorded> ─execute► Labeled<Output> ─filter► Release ─record► Receipt
//! ```

use crate::approvers::NoGrant;
use crate::facts::{Patience, Scene};
use crate::gate::Gate;
use crate::receipt::{Denied, Entry, Failed, Output, Receipt};
use crate::session::Session;
use crate::wire::record::Status;
use judge::approval::Grant;
use judge::filter::{Release, release};
use judge::flow::Read;
use judge::label::Labeled;
use judge::permit::{Course, Decided, Pending, Permit, Recorded};
use judge::policy::Decision;
use judge::request::{RawCall, Request, normalize};
use judge::tool::Effect;
use std::future::Future;

/// Takes one call from the adapter to its released result.
///
/// # Errors
/// [`Stop`]: denied, in words for the agent, or permitted and failed. Either way it is in the journal.
pub async fn call<O, F>(
    gate: &Gate,
    session: &Session,
    raw: RawCall,
    scene: &Scene,
    execute: impl FnOnce(Permit<Recorded>) -> F,
) -> Result<Release<O>, Stop>
where
    O: Output,
    F: Future<Output = Result<Labeled<O>, Failed>>,
{
    call_for(gate, session, raw, scene, Reading::Agent, execute).await
}

/// Who reads what a tool answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The agent: the conversation knows it from then on.
    Agent,
    /// A reader without tools; the caller passes it to nobody else.
    Reader,
}

/// The same, for who reads the result.
///
/// # Errors
/// As for [`call`].
pub async fn call_for<O, F>(
    gate: &Gate,
    session: &Session,
    raw: RawCall,
    scene: &Scene,
    reading: Reading,
    execute: impl FnOnce(Permit<Recorded>) -> F,
) -> Result<Release<O>, Stop>
where
    O: Output,
    F: Future<Output = Result<Labeled<O>, Failed>>,
{
    let name = raw.name.clone();
    let (permit, receipt) = admit(gate, session, raw, scene).await?;
    let answered = execute(permit).await;
    if let (Err(failed), Reading::Agent) = (&answered, reading) {
        // A failure may be told in the server's own words, and nobody reviewed those.
        session.conversation().provenance().read(&name, None, &[Read::Text(failed.detail.clone())]);
    }
    completed(gate, session, receipt, answered, reading)
}

/// The part after the effect: what came back is searched, known and released, and its receipt closed.
///
/// # Errors
/// [`Stop::Failed`].
pub fn completed<O: Output>(
    gate: &Gate,
    session: &Session,
    mut receipt: Receipt,
    answered: Result<Labeled<O>, Failed>,
    reading: Reading,
) -> Result<Release<O>, Stop> {
    let output = match answered {
        Ok(output) => output,
        Err(Failed { status, detail }) => {
            // What a server or the network said on the way is in it.
            let detail = gate.screen.said(session.hidden(), &detail);
            return Err(receipt.failed(Failed { status, detail }));
        }
    };
    let rules = gate.rules();
    let (output, parts) = output.peek(O::parts);
    let reviewed = rules.inventory.tool(output.source());
    if let Some(Err(wrong)) = reviewed.map(|tool| tool.flow.permits(&parts)) {
        let why =
            format!("the answer of {} is not what was reviewed ({wrong}), and is withheld", output.source());
        return Err(receipt.failed(Failed::new(Status::Withheld, why)));
    }
    let (output, mut note) = match gate.screen.passed(&gate.secrets, session.hidden(), output) {
        Ok(passed) => passed,
        Err(withheld) => return Err(receipt.withheld(&withheld)),
    };
    let output = match reading {
        // The conversation knows what was read before the agent does.
        Reading::Agent => {
            let source = output.source().clone();
            let known = |output: &O| output.read_into(&session.conversation(), &rules.inventory, &source);
            let (output, ()) = output.peek(known);
            crate::marks::shown(gate, session, &mut receipt, output)
        }
        Reading::Reader => {
            note = format!("for the reader only{}{note}", if note.is_empty() { "" } else { "; " });
            output
        }
    };
    match release(output) {
        Ok(released) => Ok(receipt.released(released, &note)),
        Err(withheld) => Err(receipt.withheld(&withheld)),
    }
}

/// The part before the effect: what comes back may act once, and its receipt must be closed.
///
/// # Errors
/// [`Stop::Denied`], recorded.
pub async fn admit(
    gate: &Gate,
    session: &Session,
    mut raw: RawCall,
    scene: &Scene,
) -> Result<(Permit<Recorded>, Receipt), Stop> {
    let entry = Entry::of(gate, &raw, session, scene);
    if session.adapter() == "mcp" {
        gate.note_seen(&scene.client_call);
    }
    let betrayed = entry.betrayal().map(str::to_owned);
    if let Some(why) = betrayed.or_else(|| gate.secrets.misplaced(&raw.name, &raw.arguments)) {
        return Err(entry.denied(gate, session, None, why).await);
    }
    if let Some(why) = gate.screen.unsendable(session.hidden(), &raw.name, &raw.arguments) {
        return Err(entry.denied(gate, session, None, why).await);
    }
    raw.arguments = match gate.screen.meant(session.hidden(), &raw.name, raw.arguments) {
        Ok(meant) => meant,
        Err(why) => return Err(entry.denied(gate, session, None, why).await),
    };
    let rules = gate.rules();
    let facts = scene.facts(gate, session);
    let conversation = session.conversation();
    let normalized = normalize(raw, &rules.inventory, &facts.borrow(&conversation.provenance()));
    let request = match normalized {
        Ok(request) => request,
        Err(malformed) => return Err(entry.denied(gate, session, None, malformed.to_string()).await),
    };
    let verdict = rules.policy.decide(&request);
    let permit = match verdict.course(request) {
        Course::Proceed(permit) => permit,
        Course::Ask(pending) => match answered(gate, session, entry.call(), scene, &pending).await {
            // What was granted is what was shown: the same call must still mean the same under the rules in force.
            Ok((approval, grant)) => match still_asks(gate, session, scene, pending) {
                Ok((pending, phase)) => match pending.granted(grant) {
                    Ok(permit) => {
                        return endorsed(gate, session, entry.approved(approval), permit, &phase).await;
                    }
                    Err(pending) => {
                        let why = "the grant is for another call".to_owned();
                        return Err(entry.denied(gate, session, Some(pending.refused()), why).await);
                    }
                },
                Err(pending) => {
                    let why = "what it means or the rules changed while it waited; call again".to_owned();
                    return Err(entry.denied(gate, session, Some(pending.refused()), why).await);
                }
            },
            // Asked and not answered: nothing was decided, so there is no decision to record.
            Err(NoGrant::Deferred { id }) if scene.patience == Patience::Defer => {
                return Err(Stop::Deferred(id));
            }
            Err(none) => {
                let why = match pending.verdict().doubt() {
                    "" => none.to_string(),
                    doubt => format!("{none}; it was asked because of this: {doubt}"),
                };
                return Err(entry.denied(gate, session, Some(pending.refused()), why).await);
            }
        },
        Course::Stop(request, verdict) => {
            let verdict = rules.policy.explained(&request, verdict);
            let why = verdict.to_string();
            return Err(entry.denied(gate, session, Some((request, verdict)), why).await);
        }
    };
    let phase = permit.request().phase().to_owned();
    record(gate, session, entry, permit, &phase).await
}

/// The grant of a call that policy permits once approved: one that stands and covers it, or an approver's answer.
async fn answered(
    gate: &Gate,
    session: &Session,
    call: &str,
    scene: &Scene,
    pending: &Pending,
) -> Result<(String, Grant), NoGrant> {
    if let Some(standing) = gate.approvers.standing_for(pending, &session.phase())? {
        return Ok(standing);
    }
    let mut shown = crate::shown::shown(gate, session, pending);
    shown.client_call.clone_from(&scene.client_call);
    gate.approvers.ask(session.id(), call, pending, shown, scene.patience).await
}

/// A call that waited for its grant, and the phase it is in now, if it is still decided as it was when the question was asked.
fn still_asks(
    gate: &Gate,
    session: &Session,
    scene: &Scene,
    pending: Pending,
) -> Result<(Pending, String), Box<Pending>> {
    let asked = pending.request();
    let raw = RawCall {
        beside: asked.beside().clone(),
        ..session.call(asked.tool().name.clone(), asked.arguments().clone())
    };
    let rules = gate.rules();
    let facts = scene.again(gate, session);
    let conversation = session.conversation();
    let now = normalize(raw, &rules.inventory, &facts.borrow(&conversation.provenance()));
    let still = now.ok().filter(|now| {
        let verdict = rules.policy.decide(now);
        now.digest() == asked.digest()
            && verdict.policy_digest() == pending.verdict().policy_digest()
            && verdict.decision() <= Decision::Ask
    });
    match still {
        Some(now) => Ok((pending, now.phase().to_owned())),
        None => Err(Box::new(pending)),
    }
}

/// Records a call that a person approved, and lifts for this conversation the values that the person was shown.
async fn endorsed(
    gate: &Gate,
    session: &Session,
    entry: Entry,
    permit: Permit<Decided>,
    phase: &str,
) -> Result<(Permit<Recorded>, Receipt), Stop> {
    let explained = permit.request().explained().clone();
    let admitted = record(gate, session, entry, permit, phase).await?;
    session.conversation().endorse(&explained);
    Ok(admitted)
}

/// Takes the call from what its phase permits, and makes the decision durable; only then is there a permit to act on.
async fn record(
    gate: &Gate,
    session: &Session,
    entry: Entry,
    permit: Permit<Decided>,
    phase: &str,
) -> Result<(Permit<Recorded>, Receipt), Stop> {
    let is_write = permit.request().tool().effect == Effect::Write;
    if session.spend_phase(phase, is_write).is_err() {
        let why = format!("the phase `{phase}`, in which it was permitted, is over");
        return Err(entry.denied(gate, session, None, why).await);
    }
    let decision = entry.permitted(&permit);
    match gate.history.record(Some(session.id()), decision).await {
        Ok(leaf) => {
            let request = permit.request();
            session.conversation().wrote(request.tool(), request.arguments());
            Ok((permit.recorded(leaf), Receipt::open(gate, session, entry.call())))
        }
        Err(not_recorded) => {
            Err(Stop::Denied(Denied { call: entry.call().to_owned(), why: not_recorded.to_string() }))
        }
    }
}

/// Denies a call for a reason no policy has to give, and records it like every denial.
pub async fn deny(gate: &Gate, session: &Session, raw: RawCall, scene: &Scene, why: &str) -> Stop {
    Entry::of(gate, &raw, session, scene).denied(gate, session, None, why.to_owned()).await
}

/// How a call ends without a result.
#[derive(Debug)]
pub enum Stop {
    /// It did not run.
    Denied(Denied),
    /// It was permitted, and the tool's side failed or its answer was withheld.
    Failed(Failed),
    /// It did not run, and waits for the approval of this id. Only a call that may be deferred ends like this.
    Deferred(String),
}

/// What an adapter shows of a decision that is only asked about, never acted on.
pub fn preview(
    gate: &Gate,
    session: &Session,
    raw: RawCall,
) -> Result<(Request, judge::policy::Verdict), String> {
    let scene = Scene::default();
    let rules = gate.rules();
    let facts = scene.look(gate, session);
    let conversation = session.conversation();
    let request = normalize(raw, &rules.inventory, &facts.borrow(&conversation.provenance()))
        .map_err(|malformed| malformed.to_string())?;
    let verdict = rules.policy.explained(&request, rules.policy.decide(&request));
    Ok((request, verdict))
}
