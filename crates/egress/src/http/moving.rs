//! Whether anything still moves on a connection. One that moves may be as slow as it likes; one on which nothing moves, in
//! either direction, for long enough is over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// How often bytes moved on one connection.
#[derive(Clone, Default)]
pub(crate) struct Moving(Arc<AtomicU64>);

impl Moving {
    /// The same connection, with its moves counted.
    pub(crate) fn watch<T>(&self, io: T) -> Watched<T> {
        Watched { io, moving: self.clone() }
    }

    /// Drives what serves the connection to its end; nothing when for `wait` nothing moved.
    pub(crate) async fn drive<T>(
        self,
        mut connection: Pin<Box<dyn Future<Output = T> + Send>>,
        wait: Duration,
    ) -> Option<T> {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            match timeout(wait, connection.as_mut()).await {
                Ok(ended) => return Some(ended),
                Err(_) if self.0.load(Ordering::Relaxed) != before => {}
                Err(_) => return None,
            }
        }
    }

    fn moved(&self, bytes: usize) {
        if bytes > 0 {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(crate) struct Watched<T> {
    io: T,
    moving: Moving,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        self.moving.moved(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
        self.moving.moved(written);
        Poll::Ready(Ok(written))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(context, bytes))?;
        self.moving.moved(written);
        Poll::Ready(Ok(written))
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::sleep;

    const WAIT: Duration = Duration::from_secs(100);

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_goes_on_and_what_stands_still_ends() {
        for (pause_seconds, is_driven) in [(1, true), (90, true), (250, false)] {
            for reads in [false, true] {
                let moving = Moving::default();
                let (ours, mut theirs) = tokio::io::duplex(1);
                let mut ours = moving.watch(ours);
                let connection = async move {
                    match reads {
                        true => ours.read_exact(&mut [0; 9]).await.map(drop),
                        false => ours.write_all(&[0; 9]).await,
                    }
                };
                let other = async move {
                    for _ in 0..9 {
                        sleep(Duration::from_secs(pause_seconds)).await;
                        let moved = match reads {
                            true => theirs.write_all(&[0]).await.is_ok(),
                            false => theirs.read_exact(&mut [0]).await.is_ok(),
                        };
                        if !moved {
                            return;
                        }
                    }
                };
                let (driven, ()) = tokio::join!(moving.drive(Box::pin(connection), WAIT), other);
                assert_eq!(driven.is_some(), is_driven, "a byte every {pause_seconds} s, reading: {reads}");
            }
        }
    }
}
