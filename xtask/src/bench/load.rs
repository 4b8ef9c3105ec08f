//! Clients that call the echo tool and check every answer: over standard streams, or over one kept-alive connection.
//! They keep no state but the connection, so what is measured is the other side.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an answer may take, in seconds.
const ANSWER_SECONDS_MAX: u64 = 30;

/// One client of one way to the echo tool.
pub(super) trait Caller: Send {
    /// Sends one message; the answer's body, or none to a notification.
    fn exchange(&mut self, message: &str) -> anyhow::Result<Option<Value>>;

    /// The handshake.
    fn begin(&mut self) -> anyhow::Result<()> {
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": { "protocolVersion": "2025-11-25",
            "capabilities": {}, "clientInfo": { "name": "bench", "version": "1" } } });
        let answer = self.exchange(&hello.to_string())?.context("no answer to the handshake")?;
        anyhow::ensure!(answer.get("result").is_some(), "the handshake was refused: {answer}");
        self.exchange(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)?;
        Ok(())
    }

    /// One call of the echo tool, timed; the answer must be the echo.
    fn call(&mut self, number: u64) -> anyhow::Result<Duration> {
        let text = format!("hello {number}");
        let id = number + 1;
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{text}"}}}}}}"#
        );
        let started = Instant::now();
        let answer = self.exchange(&message)?.context("no answer to a call")?;
        let took = started.elapsed();
        // Through the gate it stands between marks.
        let said = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
        anyhow::ensure!(said.lines().any(|line| line == text), "not the echo: {answer}");
        Ok(took)
    }
}

/// A client on the standard streams of a process.
pub(super) struct Lines {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Lines {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let (to, from) = (child.stdin.take().context("a pipe")?, child.stdout.take().context("a pipe")?);
        let mut client = Self { child, to, from: BufReader::new(from) };
        client.begin()?;
        Ok(client)
    }
}

impl Caller for Lines {
    fn exchange(&mut self, message: &str) -> anyhow::Result<Option<Value>> {
        self.to.write_all(format!("{message}\n").as_bytes())?;
        if !message.contains(r#""id":"#) {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            if self.from.read_line(&mut line)? == 0 {
                bail!("the server ended");
            }
            let message: Value = serde_json::from_str(&line)?;
            if message.get("method").is_none() {
                return Ok(Some(message));
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client on one kept-alive HTTP connection.
pub(super) struct Http {
    stream: BufReader<TcpStream>,
    path: String,
    host: String,
    headers: String,
    session: String,
}

impl Http {
    /// `url` is `http://HOST:PORT/PATH`; `headers` are whole lines, each with its line end.
    pub(super) fn connect(url: &str, headers: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").context("an http URL")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let stream = TcpStream::connect(host).with_context(|| url.to_owned())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
        let mut client = Self {
            stream: BufReader::new(stream),
            path: format!("/{path}"),
            host: host.to_owned(),
            headers: headers.to_owned(),
            session: String::new(),
        };
        client.begin()?;
        Ok(client)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the connection ended");
        }
        Ok(line.trim_end().to_owned())
    }

    fn body(&mut self, length: Option<usize>, chunked: bool) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        if !chunked {
            body.resize(length.unwrap_or(0), 0);
            self.stream.read_exact(&mut body)?;
            return Ok(body);
        }
        loop {
            let size = usize::from_str_radix(self.line()?.split(';').next().unwrap_or_default().trim(), 16)?;
            let before = body.len();
            body.resize(before + size, 0);
            self.stream.read_exact(&mut body[before..])?;
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

impl Caller for Http {
    fn exchange(&mut self, message: &str) -> anyhow::Result<Option<Value>> {
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             mcp-protocol-version: 2025-11-25\r\n{}{}content-length: {}\r\n\r\n{message}",
            self.path,
            self.host,
            self.headers,
            self.session,
            message.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let (mut length, mut chunked, mut events) = (None, false, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.parse()?),
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "content-type" => events = value.starts_with("text/event-stream"),
                "mcp-session-id" => self.session = format!("mcp-session-id: {value}\r\n"),
                _ => {}
            }
        }
        let body = String::from_utf8(self.body(length, chunked)?)?;
        if !status.contains(" 2") {
            bail!("{status}: {body}");
        }
        if !message.contains(r#""id":"#) {
            return Ok(None);
        }
        let text = if events {
            body.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or_default()
        } else {
            &body
        };
        Ok(Some(serde_json::from_str(text.trim()).with_context(|| body.clone())?))
    }
}

/// Many clients at once for a while: calls a second, and how long each took.
pub(super) fn crowd(
    callers: usize,
    time: Duration,
    connect: &(dyn Fn() -> anyhow::Result<Http> + Sync),
) -> anyhow::Result<(f64, Vec<Duration>)> {
    let clients: Vec<Http> = (0..callers).map(|_| connect()).collect::<anyhow::Result<_>>()?;
    let started = Instant::now();
    let waits: Vec<anyhow::Result<Vec<Duration>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while started.elapsed() < time {
                        times.push(client.call(times.len() as u64)?);
                    }
                    Ok(times)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a caller broke"))).collect()
    });
    let took = started.elapsed().as_secs_f64();
    let times: Vec<Duration> =
        waits.into_iter().collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect();
    Ok((times.len() as f64 / took, times))
}
