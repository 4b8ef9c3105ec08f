//! Doors for the fuzz targets to the readers of hostile bytes that nobody outside this crate may call. Compiled for
//! fuzzing only; nothing here decides anything.

use crate::authority::{Refused, Rewrite};
use crate::websocket::{Messages, Role, payloads};
use crate::{dns, hello, name, socks};
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest hello that is read, in bytes.
const HELLO_BYTES_MAX: usize = 16 * 1_024;

/// Bytes that come at most `step` at a time, and what was answered.
struct Wire<'a> {
    input: &'a [u8],
    step: usize,
    output: Vec<u8>,
}

impl AsyncRead for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.step.max(1).min(into.remaining()).min(self.input.len());
        let (now, rest) = self.input.split_at(length);
        into.put_slice(now);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn done<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a wire of fuzzing never waits"),
    }
}

/// The server name of a ClientHello and whether it has an encrypted one, if it is a hello at all.
pub fn hello(input: &[u8], step: usize) -> Option<(Option<String>, bool)> {
    let mut wire = Wire { input, step, output: Vec::new() };
    let hello = done(hello::read(&mut wire, HELLO_BYTES_MAX)).ok()?;
    assert!(input.starts_with(&hello.raw), "what is sent on is what came");
    Some((hello.accepted.client_hello().server_name().map(str::to_owned), hello.is_encrypted))
}

/// What the name server answers to `message`, when every name exists or none does.
pub fn dns(message: &[u8], exists: bool) -> Option<Vec<u8>> {
    dns::answer(message, |asked| asked.ok().filter(|_| exists).map(|_| Ipv4Addr::new(100, 64, 0, 1)))
}

/// The name and port that a SOCKS client asks for, and what it was answered on the way.
pub fn socks(input: &[u8], step: usize) -> (Option<(Vec<u8>, u16)>, Vec<u8>) {
    let mut wire = Wire { input, step, output: Vec::new() };
    let asked = match done(socks::read(&mut wire, crate::proxy::Asked::default())) {
        Ok(socks::Asked::Name(name, port)) => Some((name, port)),
        _ => None,
    };
    (asked, wire.output)
}

/// How a name is shown in records, whatever bytes it was.
pub fn shown(bytes: &[u8]) -> String {
    name::shown(bytes)
}

struct Same;

impl Rewrite for Same {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        out.extend_from_slice(chunk);
        Ok(())
    }
    fn flush(&mut self, _: &mut Vec<u8>) -> Result<(), Refused> {
        Ok(())
    }
}

/// The payloads of a client's (or server's) frames once they have been passed on: those of messages joined, those of
/// control frames. Nothing when they may not be.
pub fn websocket(is_client: bool, input: &[u8], step: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let role = if is_client { Role::Client } else { Role::Server };
    let mut messages = Messages::new(role, Box::new(Same));
    let mut wire = Vec::new();
    for chunk in input.to_vec().chunks_mut(step.max(1)) {
        messages.push(chunk, &mut wire).ok()?;
    }
    Some(payloads(role, &mut wire))
}
