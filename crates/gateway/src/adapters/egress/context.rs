//! Requests to the APIs of models, which are what a model reads: none goes out that holds a value the gate guards, however
//! it is written, and how many were searched is counted, so that it can be shown. What stands for values may be read.

use super::alerts::Alerts;
use super::guarded::Guarded;
use crate::config::reach::{Destination, Place, Way};
use crate::gate::Gate;
use crate::wire::record::{Body, Context as Counted};
use egress::{Name, Refused, Rewrite};
use http::HeaderMap;
use http::request::Parts;
use judge::filter::known::{Known, Replace, Stream};
use std::sync::{Arc, Mutex, PoisonError};
use vault::{BodyPass, Coding, Look, Unpacking, Unread};

/// Longest coded body that is kept until it is searched whole, in bytes: the most that any of these APIs takes.
const CODED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The models of one sandbox, and what they were sent.
pub(super) struct Context {
    models: Vec<Destination>,
    gate: Arc<Gate>,
    session: String,
    alerts: Arc<Alerts>,
    guarded: Arc<Guarded>,
    counted: Mutex<Counted>,
}

impl Context {
    /// # Errors
    /// A model that is no place, or one among `destinations` that is not opened and cannot be searched; in words.
    pub(super) fn new(
        gate: &Arc<Gate>,
        session: &str,
        destinations: &[Destination],
        alerts: Arc<Alerts>,
        guarded: Arc<Guarded>,
    ) -> Result<Self, String> {
        let models = gate.config.gate.models.iter().map(|model| {
            Place::Text(model.clone()).destination().map_err(|why| format!("`[gate] models`: {why}"))
        });
        let models = models.collect::<Result<Vec<_>, _>>()?;
        let unopened = destinations.iter().find(|it| {
            let is_model = models.iter().any(|model| {
                let meet = model.covers(it.name.as_str()) || it.covers(model.name.as_str());
                model.port == it.port && (meet || model.name == it.name && model.below == it.below)
            });
            is_model && matches!(it.way, Way::Tls | Way::Tcp)
        });
        if let Some(unopened) = unopened {
            return Err(format!(
                "`{unopened}` is a model's API, and what it is sent could not be searched for secrets; \
                 write `https://`, or take it out of `models` in [gate]"
            ));
        }
        let counted = Mutex::default();
        Ok(Self { models, gate: gate.clone(), session: session.to_owned(), alerts, guarded, counted })
    }

    /// Whether requests to it are read by a model.
    pub(super) fn is_model(&self, name: &Name, port: u16) -> bool {
        self.models.iter().any(|model| model.port == port && model.covers(name.as_str()))
    }

    /// Begins a request: its head is searched at once, as it came from inside.
    ///
    /// # Errors
    /// It holds a value; nothing goes out.
    pub(super) fn request(self: &Arc<Self>, to: &str, head: &Parts) -> Result<Search, Refused> {
        let known = self.guarded.now()?;
        self.count(|counted| {
            counted.requests += 1;
            counted.secrets = counted.secrets.max(self.gate.secrets.count());
        });
        let search = Search { context: self.clone(), known, to: to.to_owned() };
        search.text(head.uri.to_string().as_bytes(), "its address")?;
        search.fields(&head.headers, "its head")?;
        Ok(search)
    }

    /// What was counted so far, where there was anything to count.
    pub(super) fn counted(&self) -> Option<Counted> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        (counted.requests > 0).then(|| counted.clone())
    }

    /// Writes down what was counted.
    pub(super) fn note(&self) {
        if let Some(counted) = self.counted() {
            self.gate.history.note(Some(&self.session), Body::Context(counted));
        }
    }

    fn count(&self, count: impl FnOnce(&mut Counted)) {
        count(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The search of one request.
#[derive(Clone)]
pub(super) struct Search {
    context: Arc<Context>,
    known: Option<Known>,
    to: String,
}

impl Search {
    /// What its body is passed through on its way out.
    pub(super) fn body(&self, headers: &HeaderMap, then: Option<BodyPass>) -> Result<Checked, Refused> {
        let stream = || self.known.as_ref().map(|known| known.stream(Replace::StandIn));
        let coding = Coding::of(headers);
        let way = match &coding {
            Coding::Plain => Passing::Plain(Seen(stream())),
            coding => {
                let unpacking = Unpacking::new(coding, Seen(stream())).map_err(|name| {
                    self.refused(&format!(
                        "its body has the content coding `{name}`, which cannot be searched for secrets"
                    ))
                })?;
                Passing::Coded { unpacking: Box::new(unpacking), raw: Seen(stream()), held: Vec::new() }
            }
        };
        Ok(Checked { search: self.clone(), way, then })
    }

    /// Fields of a head or trailer.
    pub(super) fn fields(&self, fields: &HeaderMap, place: &str) -> Result<(), Refused> {
        for (name, value) in fields {
            self.text(name.as_str().as_bytes(), place)?;
            self.text(value.as_bytes(), place)?;
        }
        Ok(())
    }

    fn text(&self, text: &[u8], place: &str) -> Result<(), Refused> {
        self.context.count(|counted| counted.bytes += text.len() as u64);
        let Some(known) = &self.known else { return Ok(()) };
        match known.redact(text, Replace::StandIn).1.first() {
            Some(found) => Err(self.held(place, &found.handle)),
            None => Ok(()),
        }
    }

    fn held(&self, place: &str, secret: &str) -> Refused {
        self.refused(&format!(
            "{place} holds the value of secret `{secret}`, which no model may read; find out how it got there, and rotate it"
        ))
    }

    fn refused(&self, why: &str) -> Refused {
        self.context.count(|counted| counted.refused += 1);
        self.context.alerts.raise("secret-in-context", &format!("{}: {why}", self.to));
        Refused(why.to_owned())
    }
}

/// A text in which a value may have been seen.
struct Seen(Option<Stream>);

impl Look for Seen {
    type Stop = Arc<str>;
    fn look(&mut self, slice: &[u8]) -> Result<(), Arc<str>> {
        self.pass(slice, &mut Vec::new())
    }
}

impl Seen {
    /// What can be decided of it, which is as it was.
    fn pass(&mut self, slice: &[u8], out: &mut Vec<u8>) -> Result<(), Arc<str>> {
        match &mut self.0 {
            None => out.extend_from_slice(slice),
            Some(stream) => stream.push(slice, out),
        }
        self.found()
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Arc<str>> {
        if let Some(stream) = &mut self.0 {
            stream.flush(out);
        }
        self.found()
    }

    fn found(&self) -> Result<(), Arc<str>> {
        let found = self.0.as_ref().and_then(|stream| stream.findings().first());
        found.map_or(Ok(()), |found| Err(found.handle.clone()))
    }
}

/// A body on its way to a model: nothing of it leaves before it is known to be no part of a value.
pub(super) struct Checked {
    search: Search,
    way: Passing,
    /// Fills the field that a binding names.
    then: Option<BodyPass>,
}

enum Passing {
    Plain(Seen),
    /// Kept whole: what a coded byte says is known only later.
    Coded {
        unpacking: Box<Unpacking<Seen>>,
        raw: Seen,
        held: Vec<u8>,
    },
}

impl Checked {
    fn stopped(&self, secret: &str) -> Refused {
        self.search.held("its body", secret)
    }

    fn unread(&self, unread: Unread<Arc<str>>) -> Refused {
        match unread {
            Unread::Stopped(secret) => self.stopped(&secret),
            Unread::Malformed => {
                self.search.refused("its body is not coded the way it says, and cannot be searched")
            }
            Unread::TooLarge => self.search.refused("its body is too large to be searched for secrets"),
        }
    }

    fn pass_on(&mut self, text: Vec<u8>, out: &mut Vec<u8>) -> Result<(), Refused> {
        match &mut self.then {
            None => out.extend_from_slice(&text),
            Some(then) => then.push(&text, out).map_err(|misuse| self.search.refused(&misuse.to_string()))?,
        }
        Ok(())
    }
}

impl Rewrite for Checked {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        self.search.context.count(|counted| counted.bytes += chunk.len() as u64);
        let mut text = Vec::new();
        let seen = match &mut self.way {
            Passing::Plain(seen) => seen.pass(chunk, &mut text).map_err(Unread::Stopped),
            Passing::Coded { held, .. } if held.len() + chunk.len() > CODED_BYTES_MAX => {
                Err(Unread::TooLarge)
            }
            Passing::Coded { unpacking, raw, held } => {
                held.extend_from_slice(chunk);
                raw.look(chunk).map_err(Unread::Stopped).and_then(|()| unpacking.push(chunk))
            }
        };
        seen.map_err(|unread| self.unread(unread))?;
        self.pass_on(text, out)
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Refused> {
        let mut text = Vec::new();
        let seen = match &mut self.way {
            Passing::Plain(seen) => seen.end(&mut text).map_err(Unread::Stopped),
            Passing::Coded { unpacking, raw, held } => {
                text = std::mem::take(held);
                let ended = unpacking
                    .finish()
                    .and_then(|()| unpacking.look().end(&mut Vec::new()).map_err(Unread::Stopped));
                ended.and_then(|()| raw.end(&mut Vec::new()).map_err(Unread::Stopped))
            }
        };
        seen.map_err(|unread| self.unread(unread))?;
        self.pass_on(text, out)?;
        match &mut self.then {
            None => Ok(()),
            Some(then) => then.flush(out).map_err(|misuse| self.search.refused(&misuse.to_string())),
        }
    }

    fn keeps_length(&self) -> bool {
        self.then.as_ref().is_none_or(BodyPass::keeps_length)
    }
}
