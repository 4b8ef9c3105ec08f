//! Tells open pages that there is something new to see, as server-sent events. It says how much, never what.

use super::guard::Asked;
use super::{Console, Refused};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Changes within this time are told together.
const TOGETHER: Duration = Duration::from_millis(30);
/// How often a silent stream is kept alive, and looks whether its visit still stands.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Console {
    pub(super) fn events(self: &Arc<Self>, asked: &Asked) -> Result<Response, Refused> {
        let busy = || Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open");
        let place = self.streams.clone().try_acquire_owned().map_err(|_| busy())?;
        let visitor = self
            .visits
            .visitor(&self.gate.people, self.gate.history.now(), asked)?
            .ok_or_else(Refused::absent)?;
        let mut pulse = self.gate.history.pulse();
        pulse.mark_changed();
        let console = self.clone();
        let events = stream::unfold(
            (console, pulse, visitor, place),
            |(console, mut pulse, visitor, place)| async {
                let changed = tokio::time::timeout(KEEP_ALIVE, pulse.changed()).await;
                if !console.visits.stands(&console.gate.people, &visitor) {
                    return None;
                }
                let event = match changed {
                    Err(_) => Bytes::from_static(b": still here\n\n"),
                    Ok(Err(_)) => return None,
                    Ok(Ok(())) => {
                        tokio::time::sleep(TOGETHER).await;
                        let now = *pulse.borrow_and_update();
                        let (records, approvals, alerts) = (now.records, now.approvals, now.alerts);
                        let told = serde_json::json!({ "records": records, "approvals": approvals, "alerts": alerts });
                        Bytes::from(format!("data: {told}\n\n"))
                    }
                };
                Some((Ok::<_, Infallible>(event), (console, pulse, visitor, place)))
            },
        );
        let mut response = Response::new(Body::from_stream(events));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        Ok(response)
    }
}
