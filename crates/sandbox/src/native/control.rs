//! What the process outside and the first process inside say to each other, with the descriptors they pass.
//! Both ends are this program; the confined program never holds this socket.

use crate::layer::{Layers, Unenforceable};
use crate::profile::{Command, End, Limit};
use crate::protect::Guard;
use crate::view::View;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Longest message, in bytes: a command line as long as the kernel takes, escaped.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Most descriptors beside one message.
pub(super) const DESCRIPTORS_MAX: usize = 64;

/// From outside to inside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Users are mapped; begin.
    Begin,
    /// What was made outside in the meantime. Descriptors come with this and the following messages: those of pieces, of an
    /// overlay's folder, of the doors of control groups. Then come the `contents` of the view's files, which are so long.
    Build {
        view: View,
        contents: Vec<usize>,
        guards: Vec<Guard>,
        layers: Layers,
        memory_watched: bool,
        pieces: Option<usize>,
        overlay: bool,
        doors: usize,
    },
    /// More descriptors.
    Pieces,
    /// Run this; standard input, output and error come with it, unless it gets a terminal for those named.
    /// If it is the `last`, its end is the sandbox's.
    Execute { command: Command, terminal: [bool; 3], last: bool },
    /// End everything that a program left.
    Clear,
    /// Send this signal to what runs.
    Signal(i32),
}

/// From inside to outside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A layer cannot be made here.
    Refused(Unenforceable),
    /// The sandbox failed in a way that is not the host's lack.
    Failed(String),
    /// The wall stands. Where the network is captured its sockets follow.
    Ready(Layers),
    /// The program runs; with the terminal it was given, if any.
    Started,
    /// The program could not be executed: the kernel's error number.
    NotStarted(i32),
    /// A limit was reached.
    Reached(Limit),
    /// The program was stopped by a signal, and may be continued by one.
    Stopped,
    /// The program ended like this, where it said it was, and whether nothing that it started is left.
    Ended { end: End, place: Option<PathBuf>, alone: bool },
}

/// One end.
#[derive(Debug)]
pub(crate) struct Control(UnixStream);

impl Control {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self(one), Self(other)))
    }

    pub(crate) fn from_descriptor(fd: OwnedFd) -> Self {
        Self(UnixStream::from(fd))
    }

    pub(crate) fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        // One call, so that who waits for it is woken once. The descriptors travel with the length, which is never split: it is
        // far smaller than any socket's buffer.
        let parts = [IoSlice::new(&length), IoSlice::new(&body)];
        let sent = rustix::net::sendmsg(&self.0, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
        let rest = sent.checked_sub(length.len()).and_then(|sent| body.get(sent..));
        (&self.0).write_all(rest.ok_or_else(|| io::Error::other("a message was cut short"))?)
    }

    /// Sends bytes as they are, whose number the other side knows.
    pub(crate) fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    /// Receives so many bytes as they are.
    pub(crate) fn receive_bytes(&self, length: usize) -> io::Result<Vec<u8>> {
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::other(format!("{length} bytes; at most {MESSAGE_BYTES_MAX}")));
        }
        let mut bytes = vec![0; length];
        (&self.0).read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next message; `None` when the other side is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut length = [0_u8; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut length)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let received = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                descriptors.extend(fds);
            }
        }
        if received == 0 {
            return Ok(None);
        }
        (&self.0).read_exact(&mut length[received..])?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "a message of {length} bytes; at most {MESSAGE_BYTES_MAX}"
            )));
        }
        let mut body = vec![0; length];
        (&self.0).read_exact(&mut body)?;
        Ok(Some((serde_json::from_slice(&body)?, descriptors)))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Control> for OwnedFd {
    fn from(control: Control) -> Self {
        control.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_with_their_descriptors() {
        let (one, other) = Control::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        one.send(&Request::Signal(15), &[file.as_fd(), file.as_fd()]).unwrap();
        one.send(&Request::Begin, &[]).unwrap();
        let (request, descriptors) = other.receive::<Request>().unwrap().unwrap();
        assert!(matches!(request, Request::Signal(15)));
        assert_eq!(descriptors.len(), 2);
        let (request, descriptors) = other.receive::<Request>().unwrap().unwrap();
        assert!(matches!(request, Request::Begin) && descriptors.is_empty());
        drop(one);
        assert!(other.receive::<Request>().unwrap().is_none());
    }
}
