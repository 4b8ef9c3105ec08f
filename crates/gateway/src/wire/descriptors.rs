//! Open files handed over a Unix socket, a few at a time: the streams of a command that runs somewhere else.
//! What arrives beyond them, or cut short, is closed and refused.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Most files in one message.
pub const FILES_MAX: usize = 3;
/// Kind and version of the message.
const MAGIC: [u8; 4] = *b"bwf\x01";

/// Sends `files` to the other end of `over`. The caller's own copies remain.
///
/// # Errors
/// What the socket says, or that there are too many.
pub fn send(over: BorrowedFd<'_>, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if files.len() > FILES_MAX || !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(refused("more files than one message takes"));
    }
    let sent = rustix::net::sendmsg(over, &[IoSlice::new(&MAGIC)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == MAGIC.len() { Ok(()) } else { Err(refused("the message was cut short")) }
}

/// Receives what [`send`] sent.
///
/// # Errors
/// What the socket says; `InvalidData` for anything but one such message.
pub fn receive(over: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut head = [0; MAGIC.len()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        over,
        &mut [IoSliceMut::new(&mut head)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    // Taken out of the buffer first, so that whatever came is closed whenever this returns early.
    let mut files = Vec::with_capacity(FILES_MAX);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(each) = message {
            files.extend(each);
        }
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let is_cut = received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    if is_cut || received.bytes != MAGIC.len() || head != MAGIC {
        return Err(refused("this is no handover of files"));
    }
    Ok(files)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn files_arrive_and_other_messages_are_refused() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        send(theirs.as_fd(), &[theirs.as_fd(), ours.as_fd()]).expect("sent");
        assert_eq!(receive(ours.as_fd()).expect("received").len(), 2);
        theirs.write_all(b"bwf").expect("written");
        assert_eq!(receive(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        theirs.write_all(b"xwf\x01").expect("written");
        assert_eq!(receive(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let many = [theirs.as_fd(); FILES_MAX + 1];
        assert!(send(theirs.as_fd(), &many).is_err());
        drop(theirs);
        assert_eq!(receive(ours.as_fd()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
