//! Bytes of a whole connection, both ways, counted as they move. Nothing moves before the connection is admitted, and
//! at most one buffer is held in each direction; between two sockets the many bytes of a busy one are the kernel's.

use crate::authority::{Attempt, Refused, Route, What};
use crate::capture::Io;
use crate::dial;
use crate::exit::Line;
use crate::pipe::Pipe;
use crate::watch::{Direction, Watch};
use crate::websocket::Messages;
use std::any::Any;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

/// What is read at once: little at first, for the many connections that say little, growing for those that fill it.
const READ_BYTES_MIN: usize = 8 * 1_024;
const READ_BYTES_MAX: usize = 64 * 1_024;

/// Judges a whole connection, dials it, sends `first` (what was read of it already) and copies until both sides ended.
pub(crate) async fn connection(line: Line, io: impl Io, first: Vec<u8>, tls: bool, route: Route) {
    let attempt = Attempt { name: line.name.clone(), port: line.port, what: What::Connection { tls } };
    let admitted = match line.exit.authority.admit(attempt).await {
        Ok(admitted) => admitted,
        Err(refused) => return tracing::debug!(name = %line.name, %refused, "a connection"),
    };
    let watch = Watch::new(admitted.exchange);
    let (mut outside, address) = match dial::dial(&line.exit, &line.name, line.port, &route).await {
        Ok(dialled) => dialled,
        Err(error) => return watch.failed(error.to_string()),
    };
    watch.dialled(address);
    if let Err(refused) = watch.moved(Direction::Out, first.len()) {
        return tracing::debug!(name = %line.name, %refused, "a connection");
    }
    if let Err(error) = outside.write_all(&first).await {
        return watch.failed(error.to_string());
    }
    drop(first);
    both_ways(io, outside, &watch, line.exit.limits.silence_wait, None, None).await;
}

/// Why copying ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    Frame(#[from] crate::websocket::FrameError),
    #[error("nothing moved for too long")]
    Silence,
}

/// Copies until both sides ended, and says so to `watch`. Messages are passed through what is given for their direction.
pub(crate) async fn both_ways(
    inside: impl Io,
    outside: impl Io,
    watch: &Watch,
    silence_wait: Duration,
    outgoing: Option<Messages>,
    incoming: Option<Messages>,
) {
    let reads = AtomicU64::new(0);
    let pump = |direction| Pump { watch, direction, reads: &reads, silence_wait };
    let (out, back) = (pump(Direction::Out), pump(Direction::In));
    let (mut inside, mut outside) = (Some(inside), Some(outside));
    let ended = match (&outgoing, &incoming, socket(&mut inside), socket(&mut outside)) {
        (None, None, Some(inside), Some(outside)) => {
            let ((from_inside, to_inside), (from_outside, to_outside)) = (inside.split(), outside.split());
            tokio::try_join!(out.pour(from_inside, to_outside), back.pour(from_outside, to_inside)).map(drop)
        }
        _ => {
            let (Some(inside), Some(outside)) = (inside, outside) else { return };
            let (mut from_inside, mut to_inside) = tokio::io::split(inside);
            let (mut from_outside, mut to_outside) = tokio::io::split(outside);
            let out = out.copy(&mut from_inside, &mut to_outside, outgoing, Until::End);
            let back = back.copy(&mut from_outside, &mut to_inside, incoming, Until::End);
            tokio::try_join!(out, back).map(drop)
        }
    };
    match ended {
        Ok(()) => watch.complete(),
        Err(error) => watch.failed(error.to_string()),
    }
}

/// The socket, where bytes come and go through nothing else.
fn socket<T: Any>(io: &mut Option<T>) -> Option<&mut TcpStream> {
    (io as &mut dyn Any).downcast_mut::<Option<TcpStream>>()?.as_mut()
}

/// When copying stops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    /// Or when so much comes at a time that there is a better way.
    Busy,
}

struct Pump<'a> {
    watch: &'a Watch,
    direction: Direction,
    /// Reads in either direction: a long download is not silence because nothing is sent.
    reads: &'a AtomicU64,
    silence_wait: Duration,
}

impl Pump<'_> {
    /// From one socket to another.
    async fn pour(self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), RelayError> {
        if self.copy(&mut from, &mut to, None, Until::Busy).await? == Until::End {
            return Ok(());
        }
        if let Ok(pipe) = Pipe::new() {
            let mut is_fresh = true;
            loop {
                match self.wait(pipe.take(from.as_ref())).await {
                    // A kernel that does not offer it has taken nothing.
                    Err(RelayError::Io(error)) if is_fresh && is_unoffered(&error) => break,
                    Err(error) => return Err(error),
                    Ok(0) => return Ok(to.shutdown().await?),
                    Ok(length) => {
                        self.watch.moved(self.direction, length)?;
                        pipe.give(to.as_ref(), length).await?;
                    }
                }
                is_fresh = false;
            }
        }
        self.copy(&mut from, &mut to, None, Until::End).await.map(drop)
    }

    async fn copy(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        mut messages: Option<Messages>,
        until: Until,
    ) -> Result<Until, RelayError> {
        let mut buffer = vec![0; READ_BYTES_MIN];
        let mut rewritten = Vec::new();
        loop {
            let length = self.wait(from.read(&mut buffer)).await?;
            if length == 0 {
                to.shutdown().await?;
                return Ok(Until::End);
            }
            self.watch.moved(self.direction, length)?;
            match &mut messages {
                None => to.write_all(&buffer[..length]).await?,
                Some(messages) => {
                    messages.push(&mut buffer[..length], &mut rewritten)?;
                    to.write_all(&rewritten).await?;
                    rewritten.clear();
                }
            }
            to.flush().await?;
            if length == READ_BYTES_MAX && until == Until::Busy {
                return Ok(until);
            }
            if length == buffer.len() && length < READ_BYTES_MAX {
                buffer = vec![0; 2 * length];
            }
        }
    }

    /// Waits for what one direction reads, unless nothing moves in either.
    async fn wait(&self, read: impl Future<Output = io::Result<usize>>) -> Result<usize, RelayError> {
        let mut read = pin!(read);
        loop {
            let before = self.reads.load(Ordering::Relaxed);
            match timeout(self.silence_wait, &mut read).await {
                Ok(read) => {
                    self.reads.fetch_add(1, Ordering::Relaxed);
                    return match read {
                        // TLS that was not closed properly. What is copied out of TLS has an end of its own (RFC 6455 §7).
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                        read => Ok(read?),
                    };
                }
                Err(_) if self.reads.load(Ordering::Relaxed) != before => {}
                Err(_) => return Err(RelayError::Silence),
            }
        }
    }
}

fn is_unoffered(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}
