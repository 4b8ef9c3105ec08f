//! What a benchmark puts behind and between: a small MCP server with one tool that echoes, and a pipe that only copies.
//! Both run as processes of their own, started by the benchmark as `xtask fixture` and `xtask pipe`.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Most bytes of one HTTP head or body; only a benchmark calls.
const PART_BYTES_MAX: u64 = 1024 * 1024;

/// Serves the echo server: `stdio` on standard streams, `http` at a free port that is printed first.
pub(crate) fn serve(how: &str) -> anyhow::Result<()> {
    match how {
        "stdio" => {
            let mut out = std::io::stdout().lock();
            for line in std::io::stdin().lock().lines() {
                if let Some(answer) = answer(line?.as_bytes())? {
                    out.write_all(format!("{answer}\n").as_bytes())?;
                    out.flush()?;
                }
            }
            Ok(())
        }
        "http" => each_connection(|stream| drop(converse(&stream))),
        other => bail!("there is no fixture `{other}`"),
    }
}

/// Copies bytes and nothing else: `-- COMMAND…` between standard streams and a child, `HOST:PORT` between connections.
pub(crate) fn pipe(arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        ["--", program, rest @ ..] => {
            let mut child =
                Command::new(program).args(rest).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let (to, from) = (child.stdin.take().context("a pipe")?, child.stdout.take().context("a pipe")?);
            let up = std::thread::spawn(move || copy(std::io::stdin().lock(), to));
            copy(from, std::io::stdout().lock());
            drop(up);
            child.wait()?;
            Ok(())
        }
        [address] => {
            let address = (*address).to_owned();
            each_connection(move |near| {
                let Ok(far) = TcpStream::connect(&address) else { return };
                drop(far.set_nodelay(true));
                let (Ok(near_reader), Ok(far_reader)) = (near.try_clone(), far.try_clone()) else { return };
                let up = std::thread::spawn(move || {
                    copy(near_reader, &far);
                    drop(far.shutdown(std::net::Shutdown::Write));
                });
                copy(far_reader, &near);
                drop(near.shutdown(std::net::Shutdown::Both));
                drop(up.join());
            })
        }
        _ => bail!("pipe HOST:PORT, or pipe -- COMMAND ARGUMENTS"),
    }
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

fn each_connection(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let serve = std::sync::Arc::new(serve);
    for stream in listener.incoming() {
        let (stream, serve) = (stream?, serve.clone());
        stream.set_nodelay(true)?;
        std::thread::spawn(move || serve(stream));
    }
    Ok(())
}

/// One kept-alive HTTP connection of a client that sends a length with every body.
fn converse(stream: &TcpStream) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if (&mut reader).take(PART_BYTES_MAX).read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            (&mut reader).take(PART_BYTES_MAX).read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<u64>()?.min(PART_BYTES_MAX);
            }
        }
        let mut body = vec![0; usize::try_from(length)?];
        reader.read_exact(&mut body)?;
        let answer = if first.starts_with("POST ") { answer(&body)? } else { None };
        let response = match answer {
            Some(answer) => {
                let answer = answer.to_string();
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                    answer.len()
                )
            }
            None if first.starts_with("POST ") => {
                "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            None => "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        out.write_all(response.as_bytes())?;
    }
}

/// The answer to one message; none to a notification.
fn answer(message: &[u8]) -> anyhow::Result<Option<Value>> {
    let message: Value = serde_json::from_slice(message)?;
    let Some(id) = message.get("id").cloned() else { return Ok(None) };
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "echo", "version": "1" } }),
        "ping" => json!({}),
        "tools/list" => json!({ "tools": [{ "name": "echo", "description": "Gives back what it gets.",
            "inputSchema": { "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] },
            "annotations": { "readOnlyHint": true } }] }),
        "tools/call" => {
            json!({ "content": [{ "type": "text", "text": message["params"]["arguments"]["text"] }] })
        }
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            return Ok(Some(json!({ "jsonrpc": "2.0", "id": id, "error": error })));
        }
    };
    Ok(Some(json!({ "jsonrpc": "2.0", "id": id, "result": result })))
}
