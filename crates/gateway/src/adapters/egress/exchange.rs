//! One admitted request or connection until it ends: credentials go in where they are bound, what comes back is searched
//! for them, and what it cost is counted. Its receipt is closed whatever happens.

use super::alerts::Alerts;
use super::context::{Checked, Context, Search};
use super::guarded::Guarded;
use crate::receipt::Receipt;
use crate::wire::record::Status;
use egress::{Ended, Exchange, Refused, Rewrite};
use http::request::Parts;
use http::{HeaderMap, response};
use judge::filter::known::{Known, Replace, Stream};
use judge::permit::{Permit, Recorded};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vault::{BodyPass, CaptureBody, Destination, Used, Wallet};

/// Requests of one sandbox that are remembered at once, whatever its settings allow.
const REQUESTS_REMEMBERED_MAX: usize = 100_000;
const MINUTE: Duration = Duration::from_secs(60);
/// One mebibyte, in bytes.
const MIB: u64 = 1 << 20;

/// What one sandbox may still spend on the network.
pub(super) struct Budget {
    per_minute_max: Option<usize>,
    bytes_max: Option<u64>,
    recent: Mutex<VecDeque<Instant>>,
    bytes: AtomicU64,
}

impl Budget {
    pub(super) fn new(requests_per_minute: Option<u32>, mib: Option<u64>) -> Self {
        Self {
            per_minute_max: requests_per_minute.map(|most| most as usize),
            bytes_max: mib.map(|mib| mib.saturating_mul(MIB)),
            recent: Mutex::default(),
            bytes: AtomicU64::new(0),
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// There were as many as there may be.
    pub(super) fn request(&self) -> Result<(), String> {
        self.bytes(0)?;
        let Some(most) = self.per_minute_max.map(|most| most.min(REQUESTS_REMEMBERED_MAX)) else {
            return Ok(());
        };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.front().is_some_and(|at| at.elapsed() > MINUTE) {
            recent.pop_front();
        }
        if recent.len() >= most {
            return Err(format!("this sandbox made its {most} requests of this minute; wait"));
        }
        recent.push_back(Instant::now());
        Ok(())
    }

    /// Counts `more` bytes.
    fn bytes(&self, more: u64) -> Result<(), String> {
        let spent = self.bytes.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        match self.bytes_max {
            Some(most) if spent > most => {
                Err(format!("this sandbox has used up its {} MiB of network", most / MIB))
            }
            _ => Ok(()),
        }
    }
}

/// Leave for one request or connection.
pub(super) struct Passage {
    receipt: Option<Receipt>,
    budget: Arc<Budget>,
    wallet: Arc<Wallet>,
    guarded: Arc<Guarded>,
    alerts: Arc<Alerts>,
    to: String,
    used: Option<Arc<Used>>,
    outgoing: Option<BodyPass>,
    /// For what a model is to read.
    checked: Option<Checked>,
    search: Option<Search>,
    is_searched: bool,
    status: Status,
    refused: String,
}

impl Passage {
    pub(super) fn new(
        receipt: Receipt,
        budget: Arc<Budget>,
        wallet: Arc<Wallet>,
        guarded: Arc<Guarded>,
        alerts: Arc<Alerts>,
    ) -> Self {
        Self {
            receipt: Some(receipt),
            budget,
            wallet,
            guarded,
            alerts,
            to: String::new(),
            used: None,
            outgoing: None,
            checked: None,
            search: None,
            is_searched: false,
            status: Status::Ok,
            refused: String::new(),
        }
    }

    /// Puts credentials into the head of a request to `to`, where they are bound. The permit is spent by this. `body` is
    /// the whole body, where it was wanted.
    ///
    /// # Errors
    /// A placeholder where it is not bound; nothing goes out then.
    pub(super) async fn dressed(
        mut self,
        permit: Permit<Recorded>,
        to: Destination,
        mut head: Parts,
        body: Option<&[u8]>,
        context: Option<&Arc<Context>>,
    ) -> Result<(Parts, Self), Refused> {
        drop(permit);
        self.to = format!("{}:{}", to.host(), to.port());
        if let Some(context) = context {
            // Before anything is put in.
            let search = context.request(&self.to, &head);
            self.search = Some(search.inspect_err(|refused| self.close(Status::Failed, &refused.0))?);
        }
        match self.wallet.inject_with(&to, &mut head, body).await {
            Ok(used) => {
                self.outgoing = self.wallet.body(&used, &head.headers);
                if let Some(search) = &self.search {
                    // A model may read what stands for a value; that is what it is for.
                    let fills = self.outgoing.take().filter(|pass| !pass.keeps_length());
                    let checked = search.body(&head.headers, fills);
                    self.checked =
                        Some(checked.inspect_err(|refused| self.close(Status::Failed, &refused.0))?);
                }
                self.used = Some(Arc::new(used));
                // After the values were fetched: what was never held cannot come back.
                self.is_searched = self.guarded.now()?.is_some();
                Ok((head, self))
            }
            Err(misuse) => {
                let refused = misused(&self.alerts, &self.to, &misuse);
                self.close(Status::Failed, &refused.0);
                Err(refused)
            }
        }
    }

    fn close(&mut self, status: Status, detail: &str) {
        if let Some(receipt) = self.receipt.take() {
            receipt.close(status, detail, b"");
        }
    }
}

impl Exchange for Passage {
    fn outgoing(&mut self) -> Option<Box<dyn Rewrite>> {
        if let Some(checked) = self.checked.take() {
            return Some(Box::new(checked));
        }
        let pass = self.outgoing.take()?;
        Some(Box::new(Out { pass, to: self.to.clone(), alerts: self.alerts.clone() }))
    }

    fn answered(&mut self, head: &mut response::Parts) -> Result<(), Refused> {
        if let Some(used) = &self.used {
            self.wallet.answered(used, head).map_err(|misuse| Refused(misuse.to_string()))?;
        }
        // What was captured just now included.
        if let Some(known) = self.guarded.now()? {
            clean(&known, &mut head.headers);
        }
        Ok(())
    }

    fn incoming(&mut self) -> Option<Box<dyn Rewrite>> {
        let capture = self.used.as_ref().and_then(|used| self.wallet.capture_body(used));
        let guarded = self.guarded.clone();
        self.is_searched.then(|| Box::new(In { capture, guarded, stream: None }) as _)
    }

    fn sent_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Refused> {
        if let Some(search) = &self.search {
            search.fields(trailers, "its trailer")?;
        }
        self.wallet.outgoing_trailers(trailers).map_err(|misuse| misused(&self.alerts, &self.to, &misuse))
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), Refused> {
        if let Some(known) = self.guarded.now()? {
            clean(&known, trailers);
        }
        Ok(())
    }

    fn moved(&mut self, sent_bytes: u64, received_bytes: u64) -> Result<(), Refused> {
        self.budget.bytes(sent_bytes.saturating_add(received_bytes)).map_err(|why| {
            self.status = Status::Withheld;
            self.refused.clone_from(&why);
            Refused(why)
        })
    }

    fn ended(mut self: Box<Self>, how: Ended) {
        let Ended { status, sent_bytes, received_bytes, address, failure } = how;
        let mut detail = status.map_or_else(String::new, |status| format!("{status}, "));
        detail.push_str(&format!("{sent_bytes} bytes out, {received_bytes} bytes in"));
        if let Some(address) = address {
            detail.push_str(&format!(", at {address}"));
        }
        if self.search.is_some() {
            detail.push_str(", searched for all secrets because a model reads it");
        }
        let ended = match (&failure, self.status) {
            (None, status) => status,
            (Some(_), Status::Ok) => Status::Failed,
            (Some(_), status) => status,
        };
        for why in failure.iter().chain(Some(&self.refused).filter(|why| !why.is_empty())) {
            detail.push_str("; ");
            detail.push_str(why);
        }
        self.close(ended, &detail);
    }
}

/// Fields without what must not come in; one whose name is such is left out.
fn clean(known: &Known, fields: &mut HeaderMap) {
    let tells =
        |name: &&http::HeaderName| !known.redact(name.as_str().as_bytes(), Replace::StandIn).1.is_empty();
    let telling: Vec<http::HeaderName> = fields.keys().filter(tells).cloned().collect();
    for name in telling {
        fields.remove(name);
    }
    for value in fields.values_mut() {
        let (cleaned, findings) = known.redact(value.as_bytes(), Replace::StandIn);
        if !findings.is_empty() {
            // What stands in for a value was in a header field before, or is plain text.
            *value = http::HeaderValue::from_bytes(&cleaned)
                .unwrap_or_else(|_| http::HeaderValue::from_static("withheld"));
        }
    }
}

/// What goes out: placeholders become values where they are bound, and end everything elsewhere.
struct Out {
    pass: BodyPass,
    to: String,
    alerts: Arc<Alerts>,
}

fn misused(alerts: &Alerts, to: &str, misuse: &vault::Misuse) -> Refused {
    alerts.raise("secret-misuse", &format!("{to}: {misuse}"));
    Refused(misuse.to_string())
}

impl Rewrite for Out {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        self.pass.push(chunk, out).map_err(|misuse| misused(&self.alerts, &self.to, &misuse))
    }
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Refused> {
        self.pass.flush(out).map_err(|misuse| misused(&self.alerts, &self.to, &misuse))
    }
    fn keeps_length(&self) -> bool {
        self.pass.keeps_length()
    }
}

/// What comes in: credentials that it brings become placeholders, and values that were put in are taken out again.
struct In {
    capture: Option<CaptureBody>,
    guarded: Arc<Guarded>,
    /// Made when the body begins, so that it knows what its head brought.
    stream: Option<Stream>,
}

impl In {
    fn search(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        if self.stream.is_none() {
            self.stream = self.guarded.now()?.map(|known| known.stream(Replace::StandIn));
        }
        match &mut self.stream {
            Some(stream) => stream.push(chunk, out),
            None => out.extend_from_slice(chunk),
        }
        Ok(())
    }
}

impl Rewrite for In {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        match &mut self.capture {
            Some(capture) => capture.push(chunk).map_err(|misuse| Refused(misuse.to_string())),
            None => self.search(chunk, out),
        }
    }
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Refused> {
        if let Some(mut capture) = self.capture.take() {
            let mut body = Vec::new();
            capture.flush(&mut body).map_err(|misuse| Refused(misuse.to_string()))?;
            self.search(&body, out)?;
        }
        if let Some(stream) = &mut self.stream {
            stream.flush(out);
        }
        Ok(())
    }
    fn keeps_length(&self) -> bool {
        self.capture.is_none()
    }
}
