//! One sandbox's way out as the tests set it up: an authority that grants what it is told to and remembers everything,
//! and a resolver that answers what it is told to.

use crate::upstream::Upstream;
use egress::{
    Admitted, Answer, Attempt, Authority, Ca, Clients, Ended, Exchange, Exit, Limits, Name, Outside, Refusal,
    Refused, Resolve, Rewrite, Route, Running, Token, Way, What,
};
use rustls::RootCertStore;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

pub(crate) const NAME: &str = "upstream.example";
pub(crate) const OTHER: &str = "other.example";
pub(crate) const CANARY: &str = "canary";
/// Longest body that is read before its head is finished, in bytes.
pub(crate) const WANTED_BYTES_MAX: usize = 16;
/// What ends an exchange when it is in a body.
pub(crate) const FORBIDDEN: &str = "misused";
pub(crate) const REDACTED: &str = "[REDACTED]";

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Remembers what it was asked.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) routes: Mutex<HashMap<(String, u16), Route>>,
    /// Whether what comes in and goes out is rewritten.
    pub(crate) rewrites: AtomicBool,
    /// Bytes either way after which an exchange is ended; 0 for none.
    pub(crate) budget: AtomicUsize,
    pub(crate) admitted: Mutex<Vec<String>>,
    pub(crate) refused: Mutex<Vec<String>>,
    pub(crate) ended: Arc<Mutex<Vec<Ended>>>,
}

impl Gate {
    pub(crate) fn grant(&self, name: &str, port: u16, way: Way) {
        let private = vec!["127.0.0.0/8".parse().unwrap()];
        self.grant_route(name, port, Route { way, private, address: None });
    }

    pub(crate) fn grant_route(&self, name: &str, port: u16, route: Route) {
        self.routes.lock().unwrap().insert((name.to_owned(), port), route);
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        std::mem::take(&mut self.refused.lock().unwrap())
    }

    pub(crate) fn admissions(&self) -> Vec<String> {
        std::mem::take(&mut self.admitted.lock().unwrap())
    }

    /// What has ended, once there are that many.
    pub(crate) async fn ended(&self, count: usize) -> Vec<Ended> {
        loop {
            let ended = self.ended.lock().unwrap().clone();
            if ended.len() >= count {
                return ended;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

impl Authority for Gate {
    fn knows(&self, name: &Name) -> bool {
        self.routes.lock().unwrap().keys().any(|(known, _)| known == name.as_str())
    }

    fn route(&self, name: &Name, port: u16) -> Option<Route> {
        self.routes.lock().unwrap().get(&(name.to_string(), port)).cloned()
    }

    fn wants_body(&self, head: &http::request::Parts) -> Option<usize> {
        head.headers.contains_key("x-signed").then_some(WANTED_BYTES_MAX)
    }

    fn admit(&self, attempt: Attempt) -> Answer<'_, Result<Admitted, Refused>> {
        Box::pin(async move {
            let name = attempt.name;
            let mut body = None;
            let (text, head) = match attempt.what {
                What::Connection { tls } => (format!("connection {name} tls={tls}"), None),
                What::Request { head, body_bytes, body: whole, .. } => {
                    body = whole;
                    (format!("{} {name}{} {body_bytes:?}", head.method, head.uri), Some(head))
                }
            };
            self.admitted.lock().unwrap().push(text);
            let mut head = head;
            if let Some(head) = &mut head {
                if let Some(body) = body {
                    head.headers
                        .insert("x-signed", String::from_utf8(body.to_vec()).unwrap().parse().unwrap());
                }
                if head.uri.path() == "/forbidden" {
                    return Err(Refused("this path is not granted".to_owned()));
                }
                if head.headers.get("authorization").is_some_and(|value| value == "placeholder") {
                    head.headers.insert("authorization", CANARY.parse().unwrap());
                }
            }
            let exchange = Going {
                rewrites: self.rewrites.load(SeqCst),
                left: match self.budget.load(SeqCst) {
                    0 => u64::MAX,
                    budget => budget as u64,
                },
                ended: self.ended.clone(),
            };
            Ok(Admitted { head, exchange: Box::new(exchange) })
        })
    }

    fn refused(&self, refusal: &Refusal) {
        self.refused.lock().unwrap().push(refusal.why.clone());
    }
}

struct Going {
    rewrites: bool,
    left: u64,
    ended: Arc<Mutex<Vec<Ended>>>,
}

impl Exchange for Going {
    fn outgoing(&mut self) -> Option<Box<dyn Rewrite>> {
        self.rewrites.then(|| Box::new(Replace::new("placeholder", CANARY)) as _)
    }
    fn incoming(&mut self) -> Option<Box<dyn Rewrite>> {
        self.rewrites.then(|| Box::new(Replace::new(CANARY, REDACTED)) as _)
    }
    fn answered(&mut self, head: &mut http::response::Parts) -> Result<(), Refused> {
        match head.headers.contains_key("x-poison") {
            true => Err(Refused("the answer is poisoned".to_owned())),
            false => Ok(()),
        }
    }
    fn sent_trailers(&mut self, trailers: &http::HeaderMap) -> Result<(), Refused> {
        match trailers.values().any(|value| value.as_bytes() == CANARY.as_bytes()) {
            true => Err(Refused("a secret in a trailer".to_owned())),
            false => Ok(()),
        }
    }
    fn trailers(&mut self, trailers: &mut http::HeaderMap) -> Result<(), Refused> {
        for value in trailers.values_mut() {
            if value.as_bytes() == CANARY.as_bytes() {
                *value = REDACTED.parse().unwrap();
            }
        }
        Ok(())
    }
    fn moved(&mut self, sent_bytes: u64, received_bytes: u64) -> Result<(), Refused> {
        self.left = self
            .left
            .checked_sub(sent_bytes + received_bytes)
            .ok_or_else(|| Refused("the budget is spent".to_owned()))?;
        Ok(())
    }
    fn ended(self: Box<Self>, how: Ended) {
        self.ended.lock().unwrap().push(how);
    }
}

/// Replaces one text by another, wherever it is split.
pub(crate) struct Replace {
    from: &'static [u8],
    to: &'static [u8],
    held: Vec<u8>,
}

impl Replace {
    pub(crate) fn new(from: &'static str, to: &'static str) -> Self {
        Self { from: from.as_bytes(), to: to.as_bytes(), held: Vec::new() }
    }
}

impl Rewrite for Replace {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        if chunk.windows(FORBIDDEN.len()).any(|text| text == FORBIDDEN.as_bytes()) {
            return Err(Refused("a placeholder where it is not bound".to_owned()));
        }
        self.held.extend_from_slice(chunk);
        let mut at = 0;
        while let Some(found) = self.held[at..].iter().position(|byte| *byte == self.from[0]) {
            out.extend_from_slice(&self.held[at..at + found]);
            at += found;
            let rest = &self.held[at..];
            if rest.starts_with(self.from) {
                out.extend_from_slice(self.to);
                at += self.from.len();
            } else if self.from.starts_with(rest) {
                self.held.drain(..at);
                return Ok(());
            } else {
                out.push(self.from[0]);
                at += 1;
            }
        }
        out.extend_from_slice(&self.held[at..]);
        self.held.clear();
        Ok(())
    }
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Refused> {
        out.append(&mut self.held);
        Ok(())
    }
}

/// Answers each question with the next of its answers, the last one for ever, and counts.
pub(crate) struct Answers {
    pub(crate) answers: Vec<Vec<IpAddr>>,
    pub(crate) asked: AtomicUsize,
}

impl Answers {
    pub(crate) fn new(answers: Vec<Vec<IpAddr>>) -> Self {
        Self { answers, asked: AtomicUsize::new(0) }
    }
}

impl Resolve for Answers {
    fn resolve<'a>(
        &'a self,
        _: &'a Name,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        let at = self.asked.fetch_add(1, SeqCst).min(self.answers.len() - 1);
        Box::pin(async move { Ok(self.answers[at].clone()) })
    }
    fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(vec![])
    }
}

pub(crate) struct World {
    pub(crate) gate: Arc<Gate>,
    pub(crate) ca: Arc<Ca>,
    pub(crate) exit: Arc<Exit>,
    pub(crate) upstream: Upstream,
    pub(crate) resolve: Arc<Answers>,
    pub(crate) proxy: SocketAddr,
    pub(crate) running: Running,
}

impl World {
    /// An upstream of both names, granted under the first in this way, and a proxy to reach it through.
    pub(crate) async fn new(way: Way) -> Self {
        Self::with(way, vec![vec![Ipv4Addr::LOCALHOST.into()]], None).await
    }

    /// The same, with bounds of its own.
    pub(crate) async fn limited(way: Way, limits: Limits) -> Self {
        Self::made(way, vec![vec![Ipv4Addr::LOCALHOST.into()]], None, limits).await
    }

    pub(crate) async fn with(way: Way, answers: Vec<Vec<IpAddr>>, token: Option<&str>) -> Self {
        Self::made(way, answers, token, Limits::default()).await
    }

    async fn made(way: Way, answers: Vec<Vec<IpAddr>>, token: Option<&str>, limits: Limits) -> Self {
        let tls = matches!(way, Way::Terminate | Way::Splice);
        let upstream = Upstream::start(tls).await;
        let gate = Arc::new(Gate::default());
        gate.grant(NAME, upstream.port(), way);
        let ca = Arc::new(Ca::new(&[name(NAME), name(OTHER)]).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(upstream.root.clone()).unwrap();
        let resolve = Arc::new(Answers::new(answers));
        let outside = Outside { roots, resolve: resolve.clone() };
        let exit = Exit::new(gate.clone(), ca.clone(), outside, limits).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let running = egress::proxy(
            listener,
            &exit,
            token.map_or(Clients::Anybody, |token| Clients::Holders(Token::new(token))),
        );
        Self { gate, ca, exit, upstream, resolve, proxy, running }
    }

    pub(crate) fn authority(&self) -> String {
        format!("{NAME}:{}", self.upstream.port())
    }
}
