//! Bytes of a whole connection, both ways, counted as they move. Nothing moves before the connection is admitted, and
//! at most one buffer is held in each direction.

use crate::authority::{Attempt, Refused, Route, What};
use crate::capture::Io;
use crate::dial;
use crate::exit::Line;
use crate::watch::{Direction, Watch};
use crate::websocket::Messages;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
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
    let (from_inside, to_inside) = tokio::io::split(inside);
    let (from_outside, to_outside) = tokio::io::split(outside);
    let reads = AtomicU64::new(0);
    let pump = |direction| Pump { watch, direction, reads: &reads, silence_wait };
    let out = pump(Direction::Out).copy(from_inside, to_outside, outgoing);
    let back = pump(Direction::In).copy(from_outside, to_inside, incoming);
    match tokio::try_join!(out, back) {
        Ok(_) => watch.complete(),
        Err(error) => watch.failed(error.to_string()),
    }
}

struct Pump<'a> {
    watch: &'a Watch,
    direction: Direction,
    /// Reads in either direction: a long download is not silence because nothing is sent.
    reads: &'a AtomicU64,
    silence_wait: Duration,
}

impl Pump<'_> {
    async fn copy(
        self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        mut messages: Option<Messages>,
    ) -> Result<(), RelayError> {
        let mut buffer = vec![0; READ_BYTES_MIN];
        let mut rewritten = Vec::new();
        loop {
            let length = self.read(&mut from, &mut buffer).await?;
            if length == 0 {
                to.shutdown().await?;
                return Ok(());
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
            if length == buffer.len() && length < READ_BYTES_MAX {
                buffer = vec![0; 2 * length];
            }
        }
    }

    async fn read(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> Result<usize, RelayError> {
        loop {
            let before = self.reads.load(Ordering::Relaxed);
            match timeout(self.silence_wait, from.read(buffer)).await {
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
