//! What the process outside and the first process inside say to each other, with the descriptors they pass.
//! Both ends are this program; the confined program never holds this socket.

use crate::layer::{Layers, Unenforceable};
use crate::profile::{Command, End, Limit};
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
const DESCRIPTORS_MAX: usize = 4;

/// From outside to inside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Users are mapped; begin.
    Begin,
    /// Run this; standard input, output and error come with it, unless it gets a terminal for those named.
    Execute { command: Command, terminal: [bool; 3] },
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
    /// The program ended like this, and where it said it was.
    Ended { end: End, place: Option<PathBuf> },
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
        // The descriptors travel with the length, which is never split: it is far smaller than any socket's buffer.
        let sent =
            rustix::net::sendmsg(&self.0, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)?;
        if sent != length.len() {
            return Err(io::Error::other("a message was cut short"));
        }
        (&self.0).write_all(&body)
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
