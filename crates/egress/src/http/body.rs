//! Bodies on their way: counted frame by frame, passed through what the exchange says, and never held whole.

use super::heads;
use super::pool::Busy;
use crate::authority::Rewrite;
use crate::watch::{Direction, Watch};
use ::http::HeaderMap;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Any body on its way.
pub(crate) type Body = UnsyncBoxBody<Bytes, Failure>;

/// A body as it comes from the wire, counted.
pub(crate) struct Counted<B = Incoming> {
    body: B,
    watch: Watch,
    direction: Direction,
    /// The upstream's place that a request takes, until its answer is read.
    _busy: Option<Busy>,
}

impl<B> Counted<B> {
    pub(crate) fn sent(body: B, watch: Watch) -> Self {
        Self { body, watch, direction: Direction::Out, _busy: None }
    }
}

impl Counted {
    pub(crate) fn received(body: Incoming, watch: Watch, busy: Busy) -> Self {
        let counted = Self { body, watch, direction: Direction::In, _busy: Some(busy) };
        counted.note_end();
        counted
    }
}

impl<B: HttpBody> Counted<B> {
    /// An exchange is complete once its answer is, and nobody polls a body past its end.
    fn note_end(&self) {
        if self.direction == Direction::In && self.body.is_end_stream() {
            self.watch.complete();
        }
    }
}

impl<B> HttpBody for Counted<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            None => {
                if this.direction == Direction::In {
                    this.watch.complete();
                }
                return Poll::Ready(None);
            }
            Some(Err(error)) => {
                this.watch.failed(match this.direction {
                    Direction::Out => format!("the request's body broke off: {error}"),
                    Direction::In => format!("the answer's body broke off: {error}"),
                });
                return Poll::Ready(Some(Err(error.into())));
            }
            Some(Ok(frame)) => frame,
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                if let Err(refused) = this.watch.moved(this.direction, data.len()) {
                    return Poll::Ready(Some(Err(refused.into())));
                }
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    heads::strip_trailers(&mut trailers);
                    let asked = this.watch.ask(|exchange| match this.direction {
                        Direction::Out => exchange.sent_trailers(&trailers),
                        Direction::In => exchange.trailers(&mut trailers),
                    });
                    if let Err(refused) = asked {
                        return Poll::Ready(Some(Err(refused.into())));
                    }
                    Frame::trailers(trailers)
                }
                Err(other) => other,
            },
        };
        this.note_end();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body passed through a [`Rewrite`].
pub(crate) struct Rewritten {
    body: Body,
    rewrite: Box<dyn Rewrite>,
    keeps_length: bool,
    watch: Watch,
    is_begun: bool,
    rest: Rest,
}

/// What is left to give.
enum Rest {
    Body,
    /// Everything was let go of; trailers may follow.
    Trailers(Option<HeaderMap>),
}

impl Rewritten {
    pub(crate) fn new(body: Body, rewrite: Box<dyn Rewrite>, watch: Watch) -> Self {
        let keeps_length = rewrite.keeps_length();
        Self { body, rewrite, keeps_length, watch, is_begun: false, rest: Rest::Body }
    }
}

impl HttpBody for Rewritten {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        loop {
            if let Rest::Trailers(trailers) = &mut this.rest {
                return Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            this.is_begun = true;
            let mut out = Vec::new();
            let passed = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.rest = Rest::Trailers(None);
                    this.rewrite.flush(&mut out)
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let pushed = this.rewrite.push(&data, &mut out);
                        // What is framed by its length is never asked for more than that, so the end is told here.
                        if pushed.is_ok() && this.body.is_end_stream() {
                            this.rest = Rest::Trailers(None);
                            this.rewrite.flush(&mut out)
                        } else {
                            pushed
                        }
                    }
                    Err(frame) => {
                        this.rest = Rest::Trailers(frame.into_trailers().ok());
                        this.rewrite.flush(&mut out)
                    }
                },
            };
            if let Err(refused) = passed {
                this.watch.refuse(&refused);
                return Poll::Ready(Some(Err(refused.into())));
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.rest {
            // Its end may be known before what was held back has been given.
            Rest::Body => !self.is_begun && self.body.is_end_stream(),
            Rest::Trailers(ref trailers) => trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        // Once something is held back the hint would be too small; before the first frame it is the whole length.
        if self.keeps_length { self.body.size_hint() } else { SizeHint::default() }
    }
}
