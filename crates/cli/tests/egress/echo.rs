//! The ways in which the upstream gives a credential back: every place and coding of an answer that somebody inside could
//! read. It never asks whose credential it is.

use crate::upstream::{Received, Reply, pieces, whole};
use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long the long answer is, in bytes.
pub(crate) const LONG_BYTES: usize = 100 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// The ways to give a value back. Each has to bring the word `echo` inside as well, so that silence is no success.
pub(crate) const MODES: &[&str] = &[
    "header",
    "two-headers",
    "header-name",
    "set-cookie",
    "www-authenticate",
    "reason",
    "body",
    "error",
    "bytes",
    "halves",
    "json",
    "json-escaped",
    "percent",
    "hex",
    "HEX",
    "base64",
    "base64-1",
    "base64-2",
    "base64url",
    "double-base64",
    "gzip",
    "br",
    "deflate",
    "zlib",
    "zstd",
    "gzip-twice",
    "gzip-file",
    "gzip-members",
    "sse",
    "trailer",
    "zero-width",
    "redirect",
    "redirect-base64",
    "link",
    "utf-16",
    "entities",
    "wrapped",
    "backwards",
    "part",
];

pub(crate) async fn echo(mode: &str, value: &str) -> Reply {
    let text = format!("echo {value} end");
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let coded = |coding: &'static str, body: Vec<u8>| {
        let mut reply = whole(body);
        reply.headers_mut().insert("content-encoding", HeaderValue::from_static(coding));
        reply
    };
    let said = |name: &str, said: &str| {
        let mut reply = whole(b"echo\n".to_vec());
        reply.headers_mut().insert(
            HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap(),
            HeaderValue::from_str(said).unwrap(),
        );
        reply
    };
    if let Some(to) = mode.strip_prefix("to-") {
        let mut reply = said("location", &format!("https://{to}/repos/followed?t={value}"));
        *reply.status_mut() = StatusCode::FOUND;
        return reply;
    }
    match mode {
        "header" => said("x-echo", value),
        "two-headers" => {
            let mut reply = said("x-echo", value);
            reply.headers_mut().append("x-echo", HeaderValue::from_str(&STANDARD.encode(value)).unwrap());
            reply
        }
        "header-name" => said(value, "1"),
        "set-cookie" => said("set-cookie", &format!("session={value}; Path=/")),
        "www-authenticate" => {
            let mut reply = said("www-authenticate", &format!("Bearer realm=\"{value}\""));
            *reply.status_mut() = StatusCode::UNAUTHORIZED;
            reply
        }
        "reason" => {
            let mut reply = whole(b"echo\n".to_vec());
            let reason = hyper::ext::ReasonPhrase::try_from(value.as_bytes().to_vec()).unwrap();
            reply.extensions_mut().insert(reason);
            reply
        }
        "redirect" | "redirect-base64" => {
            let told = if mode == "redirect" { value.to_owned() } else { URL_SAFE_NO_PAD.encode(value) };
            let mut reply = said("location", &format!("/repos/followed?t={told}"));
            *reply.status_mut() = StatusCode::SEE_OTHER;
            reply
        }
        "link" => {
            let escaped: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            said("link", &format!("</repos?t={escaped}>; rel=next, </{hex}>; rel=prev"))
        }
        "utf-16" => whole(text.encode_utf16().flat_map(u16::to_le_bytes).chain(*b" echo").collect()),
        "entities" => {
            let escaped: String = value.bytes().map(|byte| format!("&#{byte};")).collect();
            whole(format!("<p>echo {escaped} end</p>").into_bytes())
        }
        "wrapped" => {
            let whole_text = STANDARD.encode(value);
            let lines: Vec<&str> =
                whole_text.as_bytes().chunks(16).filter_map(|it| std::str::from_utf8(it).ok()).collect();
            whole(format!("echo\r\n{}\r\nend", lines.join("\r\n")).into_bytes())
        }
        "backwards" => whole(format!("echo {} end", value.chars().rev().collect::<String>()).into_bytes()),
        "part" => {
            let mut reply = whole(text.into_bytes());
            *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
            reply.headers_mut().insert("content-range", HeaderValue::from_static("bytes 0-38/*"));
            reply
        }
        "body" => whole(text.into_bytes()),
        "error" => {
            let mut reply = whole(text.into_bytes());
            *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            reply
        }
        "bytes" => pieces(text.bytes().map(|byte| vec![byte]).collect(), None),
        "halves" => {
            let (before, after) = text.split_at(text.len() / 2);
            pieces(vec![before.into(), after.into()], None)
        }
        "json" => whole(serde_json::json!({ "echo": value }).to_string().into_bytes()),
        "json-escaped" => {
            let escaped: String = value.chars().map(|char| format!("\\u{:04x}", u32::from(char))).collect();
            whole(format!("{{\"echo\":\"{escaped}\"}}").into_bytes())
        }
        "percent" => {
            let escaped: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            whole(format!("echo={escaped}&").into_bytes())
        }
        "hex" => whole(format!("echo {hex} end").into_bytes()),
        "HEX" => whole(format!("echo {} end", hex.to_uppercase()).into_bytes()),
        "base64" => whole(format!("echo {} end", STANDARD.encode(value)).into_bytes()),
        "base64-1" => whole(format!("echo {} end", STANDARD.encode(format!("x{value}y"))).into_bytes()),
        "base64-2" => whole(format!("echo {} end", STANDARD.encode(format!("xx{value}yy"))).into_bytes()),
        "base64url" => whole(format!("echo {} end", URL_SAFE_NO_PAD.encode(value)).into_bytes()),
        "double-base64" => {
            whole(format!("echo {} end", STANDARD.encode(STANDARD.encode(value))).into_bytes())
        }
        "zero-width" => {
            let spread: String = value.chars().flat_map(|char| [char, '\u{200b}']).collect();
            whole(format!("echo {spread} end").into_bytes())
        }
        "gzip" => coded("gzip", gzip(text.as_bytes()).await),
        "gzip-twice" => coded("gzip, gzip", gzip(&gzip(text.as_bytes()).await).await),
        "gzip-file" => whole(gzip(text.as_bytes()).await),
        "gzip-members" => {
            let (before, after) = text.split_at(text.len() / 2);
            coded("gzip", [gzip(before.as_bytes()).await, gzip(after.as_bytes()).await].concat())
        }
        "unknown-coding" => coded("x-rot13", text.into_bytes()),
        "not-the-coding" => coded("gzip", text.into_bytes()),
        "br" => coded(
            "br",
            compressed(BrotliEncoder::new(Vec::new()), text.as_bytes(), BrotliEncoder::into_inner).await,
        ),
        "zlib" => coded(
            "deflate",
            compressed(ZlibEncoder::new(Vec::new()), text.as_bytes(), ZlibEncoder::into_inner).await,
        ),
        "deflate" => coded(
            "deflate",
            compressed(DeflateEncoder::new(Vec::new()), text.as_bytes(), DeflateEncoder::into_inner).await,
        ),
        "zstd" => coded(
            "zstd",
            compressed(ZstdEncoder::new(Vec::new()), text.as_bytes(), ZstdEncoder::into_inner).await,
        ),
        "sse" => {
            let events =
                (0..3).map(|at| format!("id: {at}\nevent: m\ndata: {text}\n\n").into_bytes()).collect();
            let mut reply = pieces(events, None);
            reply.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
            reply
        }
        "trailer" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-echo", HeaderValue::from_str(value).unwrap());
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let mut reply = pieces(vec![b"echo\n".to_vec()], Some(trailers));
            reply.headers_mut().insert("trailer", HeaderValue::from_static("x-echo, grpc-status"));
            reply
        }
        "long" => {
            let filling = vec![b'.'; PIECE_BYTES];
            let count = LONG_BYTES / PIECE_BYTES;
            let mut whole: VecDeque<Vec<u8>> = VecDeque::from(vec![filling; count]);
            let half = value.len() / 2;
            for (at, piece) in whole.iter_mut().enumerate() {
                // Across every tenth border, and in the middle of every hundredth piece.
                match at % 10 {
                    0 => piece[PIECE_BYTES - half..].copy_from_slice(&value.as_bytes()[..half]),
                    1 => piece[..value.len() - half].copy_from_slice(&value.as_bytes()[half..]),
                    _ if at % 100 == 55 => piece[999..999 + value.len()].copy_from_slice(value.as_bytes()),
                    _ => {}
                }
            }
            pieces(whole.into(), None)
        }
        _ => whole(b"echo of nothing\n".to_vec()),
    }
}

pub(crate) async fn gzip(text: &[u8]) -> Vec<u8> {
    compressed(GzipEncoder::new(Vec::new()), text, GzipEncoder::into_inner).await
}

async fn compressed<E: tokio::io::AsyncWrite + Unpin>(
    mut to: E,
    text: &[u8],
    end: fn(E) -> Vec<u8>,
) -> Vec<u8> {
    to.write_all(text).await.unwrap();
    to.shutdown().await.unwrap();
    end(to)
}

/// A WebSocket that says the value in every kind of frame, then tells nobody what it hears.
pub(crate) fn switch(
    headers: &HeaderMap,
    value: String,
    upgrade: hyper::upgrade::OnUpgrade,
    received: Arc<Mutex<Vec<Received>>>,
) -> Reply {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let key = headers["sec-websocket-key"].to_str().unwrap_or_default();
    let accept =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let mut reply = whole(Vec::new());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in [
        ("connection", "Upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("sec-websocket-accept", STANDARD.encode(accept)),
        ("x-echo", value.clone()),
    ] {
        reply.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
    }
    tokio::spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        let mut stream = TokioIo::new(stream);
        let text = format!("echo {value} end");
        let mut out = Vec::new();
        frame(&mut out, 0x81, text.as_bytes());
        frame(&mut out, 0x82, text.as_bytes());
        // One message, a byte in each frame, with a ping in between that says it too.
        let last = text.len() - 1;
        for (at, byte) in text.bytes().enumerate() {
            frame(
                &mut out,
                if at == 0 {
                    0x01
                } else if at == last {
                    0x80
                } else {
                    0x00
                },
                &[byte],
            );
            if at == last / 2 {
                frame(&mut out, 0x89, text.as_bytes());
            }
        }
        drop(stream.write_all(&out).await);
        let mut buffer = vec![0; 4096];
        let mut heard = Vec::new();
        while let Ok(Ok(length @ 1..)) =
            tokio::time::timeout(std::time::Duration::from_secs(1), stream.read(&mut buffer)).await
        {
            heard.extend(unmasked(&buffer[..length]));
        }
        if let Some(one) = received.lock().unwrap().last_mut() {
            one.body.extend(heard);
        }
        let mut bye = Vec::new();
        frame(&mut bye, 0x88, &[&[0x03, 0xe8][..], text.as_bytes()].concat());
        drop(stream.write_all(&bye).await);
    });
    reply
}

fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.extend([first, u8::try_from(payload.len()).unwrap()]);
    out.extend_from_slice(payload);
}

/// The payloads of short frames from a client.
fn unmasked(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let [_, length, a, b, c, d, rest @ ..] = bytes {
        let length = usize::from(length & 0x7f).min(rest.len());
        all.extend(
            rest[..length].iter().zip([a, b, c, d].into_iter().cycle()).map(|(byte, mask)| byte ^ mask),
        );
        bytes = &rest[length..];
    }
    all
}
