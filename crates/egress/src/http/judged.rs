//! One request, from its head to its answer: agreed with its connection, judged, sent, and its answer let in. Nothing is
//! resolved, dialled or sent before the authority has admitted it.

use super::body::{Body, Counted, Rewritten};
use super::heads::{self, Upgrade};
use super::pool::{self, Busy, Key};
use super::{MARK, Reply, coding};
use crate::authority::{Admitted, Attempt, Exchange, Rewrite, Route, Way, What};
use crate::exit::Line;
use crate::relay;
use crate::watch::Watch;
use crate::websocket::{Messages, Role};
use ::http::header::{self, HeaderName, HeaderValue};
use ::http::{Request, Response, StatusCode, Version, request, response};
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, Full, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::time::timeout;

/// How long a body may take to come that must be read before anything else is done.
const WHOLE_WAIT: Duration = Duration::from_secs(60);
/// Most of a refused request's body that is read to keep its connection, in bytes, and how long that may take.
const SPARED_BYTES_MAX: u64 = 64 * 1_024;
const SPARED_WAIT: Duration = Duration::from_secs(2);
const EXTENSIONS: HeaderName = header::SEC_WEBSOCKET_EXTENSIONS;

/// Answers one request, whatever it is.
pub(crate) async fn answer(line: Line, tls: bool, request: Request<Incoming>) -> Response<Body> {
    match go(&line, tls, request).await {
        Ok(response) => response,
        Err(reply) => reply.response(),
    }
}

async fn go(line: &Line, tls: bool, request: Request<Incoming>) -> Result<Response<Body>, Reply> {
    let (mut head, body) = request.into_parts();
    let upgraded = head.extensions.remove::<OnUpgrade>();
    // Extensions are how libraries talk to themselves (RFC 8441 comes in one); none goes any further.
    head.extensions.clear();
    let h2 = head.version == Version::HTTP_2;
    let plumbing = |reply: Reply| {
        line.refuse(reply.why.clone());
        reply
    };
    heads::agree(&head, &line.name, line.port, tls).map_err(plumbing)?;
    let body_bytes = heads::body_bytes(&head).map_err(plumbing)?;
    let upgrade = heads::upgrade(&head).map_err(plumbing)?;
    heads::strip(&mut head.headers);
    head.uri = heads::origin_form(&head.uri);
    let host = HeaderValue::try_from(heads::authority(&line.name, line.port, tls));
    head.headers.insert(header::HOST, host.map_err(|_| Reply::malformed("the name cannot be written"))?);
    let route = route(line, tls).map_err(plumbing)?;

    let is_empty = body.is_end_stream();
    let body_bytes = if is_empty { Some(0) } else { body_bytes };
    let wanted = line.exit.authority.wants_body(&head).filter(|_| !is_empty);
    let (whole, body) = match wanted {
        None => (None, Sending::Streamed(body)),
        Some(bytes_max) => {
            let whole = timeout(WHOLE_WAIT, whole(body, bytes_max)).await;
            let whole = whole.map_err(|_| Reply::malformed("its body did not come"))??;
            (Some(whole.clone()), Sending::Whole(whole))
        }
    };
    let waits = head.headers.contains_key(header::EXPECT);
    let what = What::Request { tls, head, body_bytes, body: whole };
    let attempt = Attempt { name: line.name.clone(), port: line.port, what };
    let Admitted { head, exchange } = match line.exit.authority.admit(attempt).await {
        Ok(admitted) => admitted,
        Err(refused) => {
            if let Sending::Streamed(body) = body
                && body_bytes.is_some_and(|bytes| bytes <= SPARED_BYTES_MAX)
                && !h2
                && !waits
            {
                spare(body).await;
            }
            return Err(Reply::denied(refused.0));
        }
    };
    let watch = Watch::new(exchange);
    let Some(head) = head else {
        watch.failed("it was admitted without a head");
        return Err(Reply::denied("it was admitted without a head"));
    };

    // Asked before anything is sent: what is searched must come in a form that can be.
    let incoming = ask(&watch, |exchange| exchange.incoming())?;
    let outgoing = ask(&watch, |exchange| exchange.outgoing())?;
    let passage = Passage { line, route, tls, h2, watch, incoming, outgoing };
    match (upgrade, upgraded) {
        (Upgrade::WebSocket, Some(inside)) => passage.upgrade(head, inside).await,
        (Upgrade::WebSocket, None) => Err(Reply::malformed("this connection cannot become a WebSocket")),
        (Upgrade::None, _) => passage.send(head, body, is_empty).await,
    }
}

/// The route as it is now, which may not be what it was when the connection began.
fn route(line: &Line, tls: bool) -> Result<Route, Reply> {
    let way = if tls { Way::Terminate } else { Way::Plain };
    match line.exit.authority.route(&line.name, line.port) {
        Some(route) if route.way == way => Ok(route),
        Some(_) if tls => Err(Reply::denied(format!("{}:{} is not granted for HTTPS", line.name, line.port))),
        Some(_) => Err(Reply::denied(format!("{}:{} is not granted for plain HTTP", line.name, line.port))),
        None => Err(Reply::denied(format!("{}:{} is not granted", line.name, line.port))),
    }
}

/// A request's body on its way out.
enum Sending {
    Streamed(Incoming),
    Whole(Bytes),
}

/// Reads the rest of a refused request: the connection could not be used again with its body still on the way, and a client
/// that has sent it already would find it closed.
async fn spare(body: Incoming) {
    let limit = usize::try_from(SPARED_BYTES_MAX).unwrap_or(usize::MAX);
    let _ = timeout(SPARED_WAIT, Limited::new(body, limit).collect()).await;
}

/// All of a body that must be known before its head is finished; trailers are not.
async fn whole(body: Incoming, bytes_max: usize) -> Result<Bytes, Reply> {
    let read = Limited::new(body, bytes_max).collect().await;
    read.map(Collected::to_bytes).map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Reply::denied(format!(
            "its body is longer than {bytes_max} bytes, and must be read before its head can be finished"
        )),
        None => Reply::malformed(format!("its body broke off: {error}")),
    })
}

type Passed = Option<Box<dyn Rewrite>>;

fn ask(watch: &Watch, question: fn(&mut dyn Exchange) -> Passed) -> Result<Passed, Reply> {
    watch.ask(|exchange| Ok(question(exchange))).map_err(|refused| Reply::denied(refused.0))
}

/// An admitted request on its way.
struct Passage<'a> {
    line: &'a Line,
    route: Route,
    tls: bool,
    h2: bool,
    watch: Watch,
    incoming: Passed,
    outgoing: Passed,
}

impl Passage<'_> {
    async fn send(
        self,
        mut head: request::Parts,
        body: Sending,
        is_empty: bool,
    ) -> Result<Response<Body>, Reply> {
        let Self { line, route, tls, h2, watch, incoming, outgoing } = self;
        if incoming.is_some() {
            head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        // The client was told to go on when its body was first asked for; the upstream needs no asking.
        head.headers.remove(header::EXPECT);
        let body = if is_empty {
            empty()
        } else {
            if outgoing.as_ref().is_some_and(|rewrite| !rewrite.keeps_length()) {
                head.headers.remove(header::CONTENT_LENGTH);
            }
            let body = match body {
                Sending::Streamed(body) => Counted::sent(body, watch.clone()).boxed_unsync(),
                Sending::Whole(body) => Counted::sent(Full::new(body), watch.clone()).boxed_unsync(),
            };
            passed(body, outgoing, &watch)
        };
        let is_head = head.method == ::http::Method::HEAD;
        // Written once for each protocol, to find out here whether it can be.
        let mut written = [head.clone(), head];
        for (head, h2) in written.iter_mut().zip([false, true]) {
            heads::address(head, &line.name, line.port, tls, h2)?;
        }
        let write = |request: &mut Request<Body>, h2: bool| {
            let head = &written[usize::from(h2)];
            request.method_mut().clone_from(&head.method);
            request.uri_mut().clone_from(&head.uri);
            request.headers_mut().clone_from(&head.headers);
            *request.version_mut() = head.version;
        };
        let key = Key { name: line.name.clone(), port: line.port, tls, h2, route };
        let sent = line.exit.pools.send(&line.exit, &key, Request::new(body), write, &watch).await;
        let (response, busy) = sent.map_err(|error| {
            watch.failed(error.to_string());
            // A body that was stopped on its way out is no upstream that did not answer.
            watch.refused().map_or_else(|| Reply::upstream(error.to_string()), |why| Reply::denied(why.0))
        })?;
        let (mut head, body) = response.into_parts();
        let codings =
            let_in(&mut head, &watch, incoming.is_some()).inspect_err(|reply| watch.failed(&*reply.why))?;
        let body = Counted::received(body, watch.clone(), busy);
        if body.is_end_stream() || is_head {
            watch.complete();
            return Ok(Response::from_parts(head, empty()));
        }
        if incoming.as_ref().is_some_and(|rewrite| !rewrite.keeps_length()) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let body = coding::decode(body, &codings);
        Ok(Response::from_parts(head, passed(body, incoming, &watch)))
    }

    async fn upgrade(self, mut head: request::Parts, inside: OnUpgrade) -> Result<Response<Body>, Reply> {
        let Self { line, route, tls, h2: _, watch, incoming, outgoing } = self;
        let is_searched = incoming.is_some() || outgoing.is_some();
        heads::address(&mut head, &line.name, line.port, tls, false)?;
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if is_searched {
            // Compression is an extension, and so is anything else that changes what frames mean.
            head.headers.remove(EXTENSIONS);
            head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let request = Request::from_parts(head, empty());
        let failed = |why: String| {
            watch.failed(&*why);
            Reply::upstream(why)
        };
        let sent = pool::send_alone(line, &route, tls, request, &watch).await;
        let mut response = sent.map_err(|error| failed(error.to_string()))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let (mut head, body) = response.into_parts();
            let codings = let_in(&mut head, &watch, incoming.is_some())
                .inspect_err(|reply| watch.failed(&*reply.why))?;
            if incoming.as_ref().is_some_and(|rewrite| !rewrite.keeps_length()) {
                head.headers.remove(header::CONTENT_LENGTH);
            }
            // Nothing else is ever sent on this connection; its place is its own.
            let busy = Busy::alone().ok_or_else(|| failed("there is no place for it".to_owned()))?;
            let body = coding::decode(Counted::received(body, watch.clone(), busy), &codings);
            return Ok(Response::from_parts(head, passed(body, incoming, &watch)));
        }
        let is_websocket = response.headers().get(header::UPGRADE);
        if !is_websocket.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            return Err(failed("the upstream switched to something other than WebSocket".to_owned()));
        }
        if is_searched && response.headers().contains_key(EXTENSIONS) {
            return Err(failed(
                "the upstream chose a WebSocket extension that it was not offered".to_owned(),
            ));
        }
        let outside = hyper::upgrade::on(&mut response);
        let (mut head, _) = response.into_parts();
        let_in(&mut head, &watch, false).inspect_err(|reply| watch.failed(&*reply.why))?;
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        head.headers.remove(header::CONTENT_LENGTH);
        let silence_wait = line.exit.limits.silence_wait;
        let place = line.place.clone();
        line.scope.spawn(async move {
            let _place = place;
            let (inside, outside) = match tokio::try_join!(inside, outside) {
                Ok(both) => both,
                Err(error) => return watch.failed(error.to_string()),
            };
            let outgoing = outgoing.map(|rewrite| Messages::new(Role::Client, rewrite));
            let incoming = incoming.map(|rewrite| Messages::new(Role::Server, rewrite));
            relay::both_ways(
                TokioIo::new(inside),
                TokioIo::new(outside),
                &watch,
                silence_wait,
                outgoing,
                incoming,
            )
            .await;
        });
        Ok(Response::from_parts(head, empty()))
    }
}

/// An answer's head, made ours and shown to the exchange. With `is_searched`, its codings are taken off.
fn let_in(
    head: &mut response::Parts,
    watch: &Watch,
    is_searched: bool,
) -> Result<Vec<coding::Coding>, Reply> {
    watch.answered(head.status.as_u16());
    if heads::is_chunked(&head.headers).is_err() {
        return Err(Reply::upstream("the answer has a Transfer-Encoding other than chunked"));
    }
    head.extensions.clear();
    heads::strip(&mut head.headers);
    head.headers.remove(header::TE);
    head.headers.remove(MARK);
    let codings = if is_searched { coding::take(head)? } else { Vec::new() };
    watch.ask(|exchange| exchange.answered(head)).map_err(|refused| Reply::denied(refused.0))?;
    Ok(codings)
}

fn passed(body: Body, rewrite: Passed, watch: &Watch) -> Body {
    match rewrite {
        None => body,
        Some(rewrite) => Rewritten::new(body, rewrite, watch.clone()).boxed_unsync(),
    }
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
