//! The marks in use: what comes back is shown to the session between its own, and what looks as if it wanted to steer is noted.
//! Nothing is withheld here, whatever it looks like.

use crate::gate::Gate;
use crate::receipt::{Output, Receipt};
use crate::session::Session;
use judge::label::Labeled;
use judge::spotlight::{self, PREAMBLE};
use judge::suspicion::{Place, advise};
use tokio::runtime::{Handle, RuntimeFlavor};

/// From here on a result is looked at where it does not keep other work of this thread waiting, in bytes.
const SHOWN_AT_ONCE_BYTES_MAX: usize = 16 * 1024;

/// `output` as the session is shown it; what is to be said about it is in its receipt.
pub(crate) fn shown<O: Output>(
    gate: &Gate,
    session: &Session,
    receipt: &mut Receipt,
    output: Labeled<O>,
) -> Labeled<O> {
    let mode = gate.config.marks.mode(output.source());
    let (output, length) = output.peek(|output| output.as_ref().len());
    let source = output.source().to_string();
    let rules = gate.rules();
    let show = || {
        let (output, heard) = spotlight::shown(output, session.marks(), mode, "");
        receipt.advised(&source, &advise(Place::Result, &heard.text, &heard.found));
        let is_vouched = rules.inventory.tool(output.source()).is_some_and(|tool| tool.flow.is_vouched());
        if let Some(reader) = gate.reader.as_ref().filter(|reader| reader.advises() && !is_vouched) {
            reader.look(gate, session, receipt.call(), output.source(), heard.text);
        }
        output
    };
    let is_multi =
        Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if length > SHOWN_AT_ONCE_BYTES_MAX && is_multi { tokio::task::block_in_place(show) } else { show() }
}

/// What a model is told about the marks it will see in results of `server`, or of all; nothing where it will see none.
pub(crate) fn preamble(gate: &Gate, session: &Session, server: Option<&str>) -> Option<String> {
    let modes = gate.config.marks.modes(server);
    let told: Vec<String> = modes.iter().map(|mode| session.marks().preamble(*mode)).collect();
    match told.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        // What one mode adds to another's words is said once.
        [first, more @ ..] => {
            let more = more.iter().map(|text| text.strip_prefix(PREAMBLE).unwrap_or(text).trim().to_owned());
            Some(format!("{first} {}", more.collect::<Vec<_>>().join(" ")))
        }
    }
}
