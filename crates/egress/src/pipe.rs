//! Bytes from one socket to another by way of the kernel alone (`splice(2)`): they are counted here and never held. A
//! connection comes to this only once it has moved enough to be worth two more descriptors for each direction.

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What is under way at once. Linux gives an ordinary user up to this much, and less where the user has many pipes.
const PIPE_BYTES: usize = 1 << 20;
const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

pub(crate) struct Pipe {
    from: OwnedFd,
    to: OwnedFd,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Whatever it holds will do.
        fcntl_setpipe_size(&to, PIPE_BYTES).ok();
        Ok(Self { from, to })
    }

    /// Takes what there is of `socket`, as much as fits. Must be empty; 0 is the end.
    pub(crate) async fn take(&self, socket: &TcpStream) -> io::Result<usize> {
        let act = || Ok(splice(socket, None, &self.to, None, PIPE_BYTES, FLAGS)?);
        socket.async_io(Interest::READABLE, act).await
    }

    /// Gives the `bytes` that were taken to `socket`.
    pub(crate) async fn give(&self, socket: &TcpStream, mut bytes: usize) -> io::Result<()> {
        while bytes > 0 {
            let act = || Ok(splice(&self.from, None, socket, None, bytes, FLAGS)?);
            match socket.async_io(Interest::WRITABLE, act).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                given => bytes -= given,
            }
        }
        Ok(())
    }
}
