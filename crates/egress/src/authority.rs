//! What the owner of a sandbox answers when somebody inside wants out. The gate implements it; this crate only asks and
//! never knows a policy or a secret.
//!
//! The order for one request: [`Authority::route`] → [`Authority::wants_body`] → [`Authority::admit`] →
//! [`Exchange::incoming`] (asked before anything is sent, because it decides which content codings are asked for) →
//! [`Exchange::outgoing`] → the name is resolved and dialled → [`Exchange::sent_trailers`], [`Exchange::answered`] →
//! [`Exchange::trailers`]; [`Exchange::moved`] while bytes move, and [`Exchange::ended`] exactly once, whatever happens.
//! All but `admit` are called where connections are driven and must not block.

use crate::name::Name;
use bytes::Bytes;
use http::{HeaderMap, request, response};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

/// An answer that may take its time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How connections to one name and port are treated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// What may be seen and changed on the way.
    pub way: Way,
    /// Addresses (loopback, private, link-local …) that this name may resolve to although they are not public.
    pub private: Vec<ipnet::IpNet>,
    /// Dial this address instead of resolving (fixed by the operator; still checked against `private`).
    pub address: Option<IpAddr>,
}

/// What is opened on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// TLS ends here and begins anew towards the upstream; every request is judged.
    Terminate,
    /// TLS goes through unopened: its SNI is checked, nothing of it is seen, no credential is ever put in.
    Splice,
    /// Plain HTTP; every request is judged, no credential is ever put in.
    Plain,
    /// Any other protocol over TCP; only the connection is judged.
    Raw,
}

/// What somebody inside wants.
pub struct Attempt {
    /// Where to.
    pub name: Name,
    /// The TCP port there.
    pub port: u16,
    /// What is to be done there.
    pub what: What,
}

/// A request or a whole connection.
#[allow(clippy::large_enum_variant, reason = "made once for each request and moved once")]
pub enum What {
    /// One request.
    Request {
        /// Whether it goes inside verified TLS.
        tls: bool,
        /// As the client sent it, hop-by-hop fields removed. Its URI is always in origin form (`/path?query`, or `*`),
        /// and it always has exactly one `host`, which agrees with `name` and `port`.
        head: request::Parts,
        /// The length of the body, where the client said so; 0 without a body.
        body_bytes: Option<u64>,
        /// The whole body, where [`Authority::wants_body`] asked for it.
        body: Option<Bytes>,
    },
    /// A whole connection: spliced TLS, or raw TCP.
    Connection {
        /// Whether it is TLS with an SNI that agrees with `name`.
        tls: bool,
    },
}

/// Why not: for the one inside, in words it may read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// The owner of one sandbox's way out.
pub trait Authority: Send + Sync + 'static {
    /// Whether the name server says that `name` exists. Decides nothing else.
    fn knows(&self, name: &Name) -> bool;
    /// How to treat connections to it; `None` refuses them. Asked for every connection and again for every request.
    fn route(&self, name: &Name, port: u16) -> Option<Route>;
    /// The most bytes of a request's body that must be read before it is judged, because what goes into its head depends
    /// on them; a longer body is refused. `None`, the rule: the body streams.
    fn wants_body(&self, head: &request::Parts) -> Option<usize> {
        let _ = head;
        None
    }
    /// Judges and records one attempt; nothing is resolved or dialled before. May change the head (credentials), but not
    /// where it goes: the authority that is sent is `name` and `port`, whatever the head says.
    fn admit(&self, attempt: Attempt) -> Answer<'_, Result<Admitted, Refused>>;
    /// Something was refused before there was anything to judge: an unknown name, an address dialled directly, an SNI
    /// that disagrees, a second authority on one connection; or afterwards, a name that leads where nothing may. For the
    /// record and for alerts; must not block.
    fn refused(&self, refusal: &Refusal);
}

/// Leave to go.
pub struct Admitted {
    /// The head to send (absent for connections; a request without one is refused).
    pub head: Option<request::Parts>,
    /// What follows it until it ends.
    pub exchange: Box<dyn Exchange>,
}

/// One admitted request or connection, until it ends.
pub trait Exchange: Send {
    /// What the request's body is passed through, if it is changed or searched. For WebSocket it is asked once for the
    /// client's messages.
    fn outgoing(&mut self) -> Option<Box<dyn Rewrite>> {
        None
    }
    /// Looks at the trailers of a request, which are never changed.
    ///
    /// # Errors
    /// Ends the exchange; the trailers do not go out.
    fn sent_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Refused> {
        let _ = trailers;
        Ok(())
    }
    /// The answer's head may be changed or refused.
    ///
    /// # Errors
    /// Why the answer must not come in.
    fn answered(&mut self, head: &mut response::Parts) -> Result<(), Refused> {
        let _ = head;
        Ok(())
    }
    /// What the answer's body (decoded from its content coding) is passed through, if it is changed or searched. For
    /// WebSocket it is asked once for the upstream's messages. Asked once, before the request is sent.
    fn incoming(&mut self) -> Option<Box<dyn Rewrite>> {
        None
    }
    /// The answer's trailers may be changed.
    ///
    /// # Errors
    /// Ends the exchange; the trailers do not come in.
    fn trailers(&mut self, trailers: &mut HeaderMap) -> Result<(), Refused> {
        let _ = trailers;
        Ok(())
    }
    /// Called as bytes move, with what moved since the last call: bodies as they are on the wire towards the upstream's
    /// side (before decoding and rewriting), or a connection's bytes.
    ///
    /// # Errors
    /// Ends the exchange.
    fn moved(&mut self, sent_bytes: u64, received_bytes: u64) -> Result<(), Refused> {
        let _ = (sent_bytes, received_bytes);
        Ok(())
    }
    /// It is over. Called exactly once, also when it was cancelled.
    fn ended(self: Box<Self>, how: Ended);
}

/// Bytes in, bytes out; holds back no more than it must.
pub trait Rewrite: Send {
    /// Takes `chunk` and appends what can go on to `out`.
    ///
    /// # Errors
    /// Ends the exchange; nothing of `out` is passed on.
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused>;
    /// Lets go of everything held back: the end of the body, or of a WebSocket message.
    ///
    /// # Errors
    /// Ends the exchange; nothing of `out` is passed on.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Refused>;
    /// Whether what comes out is as long as what went in (then lengths in framing stay true).
    fn keeps_length(&self) -> bool {
        false
    }
}

/// How an exchange went.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// The answer's status, where there was one.
    pub status: Option<u16>,
    /// Bytes of the request's body, or of the connection towards the upstream.
    pub sent_bytes: u64,
    /// Bytes of the answer's body, or of the connection from the upstream.
    pub received_bytes: u64,
    /// The address that was dialled.
    pub address: Option<IpAddr>,
    /// Why it did not come to its natural end.
    pub failure: Option<String>,
}

/// A refusal by the plumbing.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The name, as far as there was one; printable ASCII, but perhaps no [`Name`].
    pub name: Option<String>,
    /// The port, where there was one.
    pub port: Option<u16>,
    /// Why.
    pub why: String,
}
