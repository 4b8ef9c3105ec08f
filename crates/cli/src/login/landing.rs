//! Where the browser comes back to after a sign-in (RFC 8252 §7.3): one path at one port of 127.0.0.1, answered once. What
//! connects may be anybody, so all is bounded, nothing it sends is shown, and whose answer it is others decide.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

const PATH: &str = "/callback";
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a request may take to arrive, and its answer to leave, in seconds.
const EXCHANGE_SECONDS_MAX: u64 = 10;
/// Connections at once: browsers open some that they never use.
const CONNECTIONS_MAX: usize = 16;

/// A door that is open until somebody came through it.
pub(crate) struct Landing {
    listener: TcpListener,
    port: u16,
}

/// A browser that came back, and waits for a page.
pub(crate) struct Arrival {
    query: String,
    page: oneshot::Sender<bool>,
    left: oneshot::Receiver<()>,
}

impl Landing {
    /// Opens `port` of 127.0.0.1, or any for 0.
    pub(crate) async fn bind(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
            anyhow::anyhow!("127.0.0.1:{port} cannot be listened at ({error}); choose another `--port`")
        })?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// Where the browser is to be sent.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    /// The first browser that comes to the right place. The door is closed then.
    pub(crate) async fn arrival(self) -> Option<Arrival> {
        let (sender, mut arrivals) = mpsc::channel(1);
        let (listener, port) = (self.listener, self.port);
        let door = tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            while let Ok(turn) = room.clone().acquire_owned().await {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let sender = sender.clone();
                tokio::spawn(async move {
                    let patience = Duration::from_secs(EXCHANGE_SECONDS_MAX);
                    if let Ok(Some((stream, asked))) =
                        tokio::time::timeout(patience, read(stream, port)).await
                    {
                        receive(stream, asked, sender).await;
                    }
                    drop(turn);
                });
            }
        });
        let arrival = arrivals.recv().await;
        door.abort();
        arrival
    }
}

impl Arrival {
    /// What it brought.
    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    /// Shows the person how it ended, and waits until that is on its way.
    pub(crate) async fn answer(self, is_signed_in: bool) {
        let _ = self.page.send(is_signed_in);
        drop(tokio::time::timeout(Duration::from_secs(EXCHANGE_SECONDS_MAX), self.left).await);
    }
}

/// What a request asks for, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Callback(String),
    Other(&'static str),
}

async fn read(mut stream: TcpStream, port: u16) -> Option<(TcpStream, Asked)> {
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    loop {
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        head.extend_from_slice(&piece[..count]);
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let asked = std::str::from_utf8(&head[..end])
                .map_or(Asked::Other("400 Bad Request"), |head| asked(head, port));
            return Some((stream, asked));
        }
        if head.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
}

/// Reads a head. A page of some other name that resolves to this machine is not let in, whatever it asks for.
fn asked(head: &str, port: u16) -> Asked {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut hosts = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| value.trim());
    let is_here = hosts.next() == Some(format!("127.0.0.1:{port}").as_str()) && hosts.next().is_none();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match (is_here, path == PATH, method == "GET") {
        (false, _, _) => Asked::Other("421 Misdirected Request"),
        (true, false, _) => Asked::Other("404 Not Found"),
        (true, true, false) => Asked::Other("405 Method Not Allowed"),
        (true, true, true) => Asked::Callback(query.to_owned()),
    }
}

async fn receive(mut stream: TcpStream, asked: Asked, arrivals: mpsc::Sender<Arrival>) {
    let (status, text, left) = match asked {
        Asked::Other(status) => (status, "There is nothing here.", None),
        Asked::Callback(query) => {
            let (page, outcome) = oneshot::channel();
            let (gone, left) = oneshot::channel();
            if arrivals.try_send(Arrival { query, page, left }).is_err() {
                ("410 Gone", "Another answer came before this one.", None)
            } else if outcome.await == Ok(true) {
                ("200 OK", "Signed in. You can close this window.", Some(gone))
            } else {
                ("400 Bad Request", "The sign-in failed. The terminal says why.", Some(gone))
            }
        }
    };
    let page = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'\r\n\r\n{text}",
        text.len()
    );
    let patience = Duration::from_secs(EXCHANGE_SECONDS_MAX);
    let leave = async {
        stream.write_all(page.as_bytes()).await?;
        stream.shutdown().await
    };
    drop(tokio::time::timeout(patience, leave).await);
    drop(left);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_browser_that_was_sent_here_is_let_in() {
        for (head, want) in [
            ("GET /callback?code=a&state=b HTTP/1.1\r\nHost: 127.0.0.1:7", Ok("code=a&state=b")),
            ("GET /callback HTTP/1.1\r\nAccept: */*\r\nhost:  127.0.0.1:7 ", Ok("")),
            ("GET /callback?code=a HTTP/1.1\r\nHost: evil.example:7", Err("421")),
            ("GET /callback?code=a HTTP/1.1\r\nHost: 127.0.0.1:8", Err("421")),
            ("GET /callback?code=a HTTP/1.1\r\nHost: 127.0.0.1:7\r\nHost: 127.0.0.1:7", Err("421")),
            ("GET /callback?code=a HTTP/1.1", Err("421")),
            ("POST /callback?code=a HTTP/1.1\r\nHost: 127.0.0.1:7", Err("405")),
            ("GET /callback/x?code=a HTTP/1.1\r\nHost: 127.0.0.1:7", Err("404")),
            ("GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1:7", Err("404")),
            ("", Err("421")),
        ] {
            match (asked(head, 7), want) {
                (Asked::Callback(query), Ok(want)) => assert_eq!(query, want, "{head:?}"),
                (Asked::Other(status), Err(want)) => assert!(status.starts_with(want), "{head:?}: {status}"),
                (found, want) => panic!("{head:?}: {found:?}, not {want:?}"),
            }
        }
    }
}
