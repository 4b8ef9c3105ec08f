//! The two smallest gates: one answers every name with NXDOMAIN and closes every connection, the other grants one name.
//! They dial nothing but one server on the host's loopback, and no answer depends on anything but the question.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox::native::network::{Mechanism, Sockets, original_destination};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) const GRANTED: &str = "granted.example";
const GRANTED_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 7);
const REQUEST_BYTES_MAX: usize = 8_192;
const QUESTION_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 253;
const WAIT: Duration = Duration::from_secs(5);

/// What it grants, and what came to it.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) upstream: Option<SocketAddr>,
    mechanism: Mutex<Option<Mechanism>>,
    seen: Mutex<Vec<SocketAddrV4>>,
    questions: Mutex<Vec<String>>,
}

impl Gate {
    pub(crate) fn granting_nothing() -> Self {
        Self::default()
    }

    /// Grants one name, which is served on the host's loopback.
    pub(crate) fn granting_one() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                drop(answer_http(connection));
            }
        });
        Self { upstream: Some(upstream), ..Self::default() }
    }

    pub(crate) fn mechanism(&self) -> Option<Mechanism> {
        *self.mechanism.lock().unwrap()
    }

    /// Every original destination, in order.
    pub(crate) fn seen(&self) -> Vec<SocketAddrV4> {
        self.seen.lock().unwrap().clone()
    }

    /// Every name that was asked for, in order.
    pub(crate) fn questions(&self) -> Vec<String> {
        self.questions.lock().unwrap().clone()
    }

    /// Answers until it is over.
    pub(crate) fn serve(&self, sockets: &Sockets, is_over: &AtomicBool) {
        let copy = |socket: &OwnedFd| socket.try_clone().unwrap();
        let udp = UdpSocket::from(copy(&sockets.dns_udp));
        let tcp = TcpListener::from(copy(&sockets.dns_tcp));
        let capture: Vec<TcpListener> = sockets.capture.iter().map(|each| copy(each).into()).collect();
        *self.mechanism.lock().unwrap() = Some(sockets.mechanism);
        std::thread::scope(|scope| {
            while !is_over.load(Ordering::Relaxed) {
                let mut ready = vec![PollFd::new(&udp, PollFlags::IN), PollFd::new(&tcp, PollFlags::IN)];
                ready.extend(capture.iter().map(|each| PollFd::new(each, PollFlags::IN)));
                poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })).unwrap();
                let mut question = [0; QUESTION_BYTES_MAX];
                while let Ok((length, from)) = udp.recv_from(&mut question) {
                    if let Some(answer) = self.answer(&question[..length]) {
                        udp.send_to(&answer, from).unwrap();
                    }
                }
                while let Ok((connection, _)) = tcp.accept() {
                    scope.spawn(|| self.answer_over_tcp(connection));
                }
                for listener in &capture {
                    while let Ok((connection, _)) = listener.accept() {
                        scope.spawn(|| self.dial(connection));
                    }
                }
            }
        });
    }

    /// Joins a connection to the upstream where it was meant for the granted address, else closes it.
    fn dial(&self, inside: TcpStream) -> io::Result<()> {
        let destination = original_destination(&inside)?;
        self.seen.lock().unwrap().push(destination);
        let Some(upstream) = self.upstream.filter(|_| *destination.ip() == GRANTED_ADDRESS) else {
            return Ok(());
        };
        let outside = TcpStream::connect(upstream)?;
        for end in [&inside, &outside] {
            end.set_read_timeout(Some(WAIT))?;
        }
        let (mut requests, mut to) = (inside.try_clone()?, outside.try_clone()?);
        let there = std::thread::spawn(move || {
            io::copy(&mut requests, &mut to).and_then(|_| to.shutdown(Shutdown::Write))
        });
        let done = io::copy(&mut &outside, &mut &inside);
        inside.shutdown(Shutdown::Both).ok();
        there.join().expect("copying does not panic").ok();
        done.map(drop)
    }

    fn answer_over_tcp(&self, mut connection: TcpStream) -> io::Result<()> {
        connection.set_read_timeout(Some(WAIT))?;
        let mut length = [0; 2];
        connection.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length)).min(QUESTION_BYTES_MAX)];
        connection.read_exact(&mut question)?;
        let Some(answer) = self.answer(&question) else { return Ok(()) };
        let length = u16::try_from(answer.len()).expect("an answer is little longer than its question");
        connection.write_all(&[&length.to_be_bytes()[..], &answer].concat())
    }

    /// RFC 1035 §4.1: one question in, one answer out; what is not a question gets none.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        const A: u16 = 1;
        const IN: u16 = 1;
        let [id0, id1, flags, _, 0, 1, ..] = *question else { return None };
        if flags & 0xf8 != 0 {
            return None; // an answer, or another operation than a query
        }
        let (name, end) = name(question, 12)?;
        let [k0, k1, c0, c1] = *question.get(end..end + 4)?.first_chunk()?;
        let (kind, class) = (u16::from_be_bytes([k0, k1]), u16::from_be_bytes([c0, c1]));
        let is_granted = self.upstream.is_some() && name == GRANTED && class == IN;
        self.questions.lock().unwrap().push(name);
        // Granted names have an A and nothing else: AAAA, HTTPS and SVCB are NODATA, so that no client learns of a way
        // around the captured one.
        let answers = u8::from(is_granted && kind == A);
        let code = if is_granted { 0 } else { 3 };
        let mut answer = vec![id0, id1, 0x80 | flags & 1, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0];
        answer.extend_from_slice(&question[12..end + 4]);
        if answers == 1 {
            // The name of the question, A, IN, one second, four bytes.
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend_from_slice(&GRANTED_ADDRESS.octets());
        }
        Some(answer)
    }
}

/// The name at a place, in small letters, and where it ends. A question has no use for compression, so none is read.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        let label = message.get(at..at + length).filter(|_| length < 64)?;
        if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)) {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        at += length;
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
    }
}

fn answer_http(mut connection: TcpStream) -> io::Result<()> {
    connection.set_read_timeout(Some(WAIT))?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\nupstream")
}

/// What an HTTP server at this address says.
pub(crate) fn fetch(address: SocketAddr) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
}
