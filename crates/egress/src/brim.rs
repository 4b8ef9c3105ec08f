//! Reads everything that is there, as far as there is room for it: TLS alone gives one record of 16 KiB at a time, and each
//! would be framed, passed on and written by itself. Nothing is waited for once something was read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct Brim<T> {
    io: T,
    /// Came after what was read, and is told next.
    failed: Option<io::Error>,
}

impl<T> Brim<T> {
    pub(crate) fn new(io: T) -> Self {
        Self { io, failed: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Brim<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Err(error));
        }
        let begun = buffer.filled().len();
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            match Pin::new(&mut this.io).poll_read(context, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > before => {}
                Poll::Ready(Err(error)) if before > begun => {
                    this.failed = Some(error);
                    break;
                }
                Poll::Pending if before > begun => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Brim<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
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
    use tokio::io::AsyncReadExt;

    /// Says these words one by one.
    struct Words(Vec<Poll<io::Result<&'static [u8]>>>);

    impl AsyncRead for Words {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop() {
                None => Poll::Ready(Ok(())),
                Some(Poll::Pending) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Poll::Ready(said)) => Poll::Ready(said.map(|said| buffer.put_slice(said))),
            }
        }
    }

    #[tokio::test]
    async fn what_is_there_is_read_at_once_and_what_follows_is_told_next() {
        let reset = || Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        let say = |text: &'static str| Poll::Ready(Ok(text.as_bytes()));
        for (mut words, read) in [
            (vec![say("a"), say("b"), say("c")], &["abc", ""][..]),
            (vec![say("a"), Poll::Pending, say("b")], &["a", "b", ""]),
            (vec![Poll::Pending, say("a"), reset()], &["a", "!", ""]),
            (vec![reset(), say("a")], &["!", "a", ""]),
        ] {
            words.reverse();
            let mut brim = Brim::new(Words(words));
            for expected in read {
                let mut buffer = [0; 16];
                let said = match brim.read(&mut buffer).await {
                    Ok(length) => String::from_utf8(buffer[..length].to_vec()).unwrap(),
                    Err(_) => "!".to_owned(),
                };
                assert_eq!(said, *expected, "{read:?}");
            }
        }
    }
}
