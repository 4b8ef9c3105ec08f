//! Content codings, undone as the body streams, so that a rewrite sees what the client would. A coding that is not known
//! is refused rather than passed on unseen, and no window or buffer grows with the body.

use super::Reply;
use super::body::{Body, Counted, Failure};
use crate::name;
use ::http::header::{self, HeaderMap};
use ::http::{StatusCode, response};
use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, BufReader};
use tokio_util::io::{StreamReader, poll_read_buf};

/// Codings of one body; no server stacks more.
const CODINGS_MAX: usize = 2;
/// RFC 9659: a zstd window in HTTP has at most 8 MiB. gzip has 32 KiB, brotli 16 MiB by their own rules.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const READ_BYTES: usize = 32 * 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings of an answer's body, in the order they were applied. Takes them out of the head, with what is true of the
/// coded body only.
pub(crate) fn take(head: &mut response::Parts) -> Result<Vec<Coding>, Reply> {
    let mut codings = Vec::new();
    for value in head.headers.get_all(header::CONTENT_ENCODING) {
        for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            codings.push(match token.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"deflate" => Coding::Deflate,
                b"br" => Coding::Brotli,
                b"zstd" => Coding::Zstd,
                _ => {
                    let coding = name::shown(token);
                    return Err(Reply::upstream(format!(
                        "the answer has the content coding {coding}, which cannot be searched"
                    )));
                }
            });
        }
    }
    if codings.len() > CODINGS_MAX {
        return Err(Reply::upstream("the answer is coded too often"));
    }
    if codings.is_empty() {
        head.headers.remove(header::CONTENT_ENCODING);
        return Ok(codings);
    }
    if head.status == StatusCode::PARTIAL_CONTENT {
        return Err(Reply::upstream("the answer is a part of a coded body, which cannot be searched"));
    }
    for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::ACCEPT_RANGES] {
        head.headers.remove(name);
    }
    if head.headers.get(header::ETAG).is_some_and(|etag| !etag.as_bytes().starts_with(b"W/")) {
        head.headers.remove(header::ETAG);
    }
    Ok(codings)
}

/// The body without its codings.
pub(crate) fn decode(body: Counted, codings: &[Coding]) -> Body {
    let Some((last, earlier)) = codings.split_last() else { return body.boxed_unsync() };
    let trailers = Arc::new(Mutex::new(None));
    let source = StreamReader::new(Data { body, trailers: trailers.clone() });
    let mut reader = undo(*last, Box::pin(source));
    for coding in earlier.iter().rev() {
        reader = undo(*coding, Box::pin(BufReader::new(reader)));
    }
    Decoded { reader: Some(reader), buffer: BytesMut::new(), trailers }.boxed_unsync()
}

type Reader = Pin<Box<dyn AsyncRead + Send>>;

fn undo(coding: Coding, coded: Pin<Box<dyn AsyncBufRead + Send>>) -> Reader {
    match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(coded);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
        Coding::Brotli => Box::pin(BrotliDecoder::new(coded)),
        Coding::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
            let mut decoder = ZstdDecoder::with_params(coded, &[window]);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
        Coding::Deflate => Box::pin(Deflate::Unread(Some(coded))),
    }
}

/// RFC 9110 §8.4.1.2: zlib, though some servers send it bare. The first byte tells: zlib's has the method 8.
enum Deflate {
    Unread(Option<Pin<Box<dyn AsyncBufRead + Send>>>),
    Read(Reader),
}

impl AsyncRead for Deflate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Self::Unread(coded) = &mut *self {
            let Some(source) = coded else { return Poll::Ready(Ok(())) };
            let first = ready!(source.as_mut().poll_fill_buf(context))?.first().copied();
            let Some(source) = coded.take() else { return Poll::Ready(Ok(())) };
            *self = Self::Read(match first {
                None => Box::pin(tokio::io::empty()),
                Some(first) if first & 15 == 8 => Box::pin(ZlibDecoder::new(source)),
                Some(_) => Box::pin(DeflateDecoder::new(source)),
            });
        }
        match &mut *self {
            Self::Read(reader) => reader.as_mut().poll_read(context, buffer),
            Self::Unread(_) => Poll::Ready(Ok(())),
        }
    }
}

/// The data of a body; its trailers are put aside.
struct Data {
    body: Counted,
    trailers: Arc<Mutex<Option<HeaderMap>>>,
}

impl Stream for Data {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(frame) => {
                        *self.trailers.lock().unwrap_or_else(PoisonError::into_inner) =
                            frame.into_trailers().ok();
                    }
                },
            }
        }
    }
}

struct Decoded {
    /// `None` once it was read to its end.
    reader: Option<Reader>,
    buffer: BytesMut,
    trailers: Arc<Mutex<Option<HeaderMap>>>,
}

impl HttpBody for Decoded {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        if let Some(reader) = &mut this.reader {
            this.buffer.reserve(READ_BYTES);
            let length = ready!(poll_read_buf(reader.as_mut(), context, &mut this.buffer))?;
            if length > 0 {
                return Poll::Ready(Some(Ok(Frame::data(this.buffer.split().freeze()))));
            }
            this.reader = None;
        }
        let trailers = this.trailers.lock().unwrap_or_else(PoisonError::into_inner).take();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}
