//! A hostile upstream behind TLS: it gives every credential back in whatever shape the path asks for, and remembers every
//! byte it was sent. It never refuses anybody, so what did not arrive here was stopped on the way.

use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The names its certificate is for.
pub(crate) const NAMES: [&str; 6] = [
    "api.example.test",
    "other.example.test",
    "sub.api.example.test",
    "raw.example.test",
    "tls.example.test",
    "plain.example.test",
];
/// How long the long answer is, in bytes.
pub(crate) const LONG_BYTES: usize = 100 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) sni: String,
    pub(crate) authority: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    }

    /// Whether `text` is anywhere in it.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let head =
            format!("{} {} {} {}\n{:?}", self.sni, self.authority, self.method, self.target, self.headers);
        head.contains(text) || String::from_utf8_lossy(&self.body).contains(text)
    }
}

/// The upstream, until it is dropped.
pub(crate) struct Upstream {
    runtime: Option<tokio::runtime::Runtime>,
    /// The certificate authority, as PEM.
    pub(crate) authority: String,
    /// Where it speaks TLS.
    pub(crate) port: u16,
    /// Where it speaks plain HTTP.
    pub(crate) plain: u16,
    /// Where it takes any bytes, over TCP and UDP.
    pub(crate) raw: u16,
    /// Where it speaks TLS once more, for what is bound to a port.
    pub(crate) second: u16,
    received: Arc<Mutex<Vec<Received>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Upstream {
    pub(crate) fn open() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let (authority, tls) = certificates();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (received, bytes) = <(Arc<Mutex<Vec<Received>>>, Arc<Mutex<Vec<u8>>>)>::default();
        let world = World { received: received.clone() };
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listen = || {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            let port = listener.local_addr().unwrap().port();
            (listener, port)
        };
        let (tls_listener, port) = listen();
        let (second_listener, second) = listen();
        let (plain_listener, plain) = listen();
        let (raw_listener, udp, raw) = loop {
            let (listener, raw) = listen();
            if let Ok(udp) = std::net::UdpSocket::bind(("127.0.0.1", raw)) {
                udp.set_nonblocking(true).unwrap();
                break (listener, udp, raw);
            }
        };
        let _inside = runtime.enter();
        for listener in [tls_listener, second_listener] {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (world, acceptor) = (world.clone(), acceptor.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (world, acceptor) = (world.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let sni = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
                        world.serve(sni, stream).await;
                    });
                }
            });
        }
        let listener = tokio::net::TcpListener::from_std(plain_listener).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let world = world.clone();
                tokio::spawn(async move { world.serve("plain".to_owned(), stream).await });
            }
        });
        let listener = tokio::net::TcpListener::from_std(raw_listener).unwrap();
        let heard = bytes.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        heard.lock().unwrap().extend_from_slice(&buffer[..length]);
                        if stream.write_all(b"heard\n").await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
        let heard = bytes.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(length) = udp.recv(&mut buffer).await {
                heard.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        drop(_inside);
        Self { runtime: Some(runtime), authority, port, plain, raw, second, received, bytes }
    }

    /// Everything so far, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Whether `text` arrived anywhere in any way.
    pub(crate) fn heard(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).contains(text)
            || self.received().iter().any(|one| one.holds(text))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn certificates() -> (String, rustls::ServerConfig) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (authority.pem(), tls)
}

type Reply = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone)]
struct World {
    received: Arc<Mutex<Vec<Received>>>,
}

impl World {
    async fn serve<S>(self, sni: String, stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service = hyper::service::service_fn(move |request| {
            let (world, sni) = (self.clone(), sni.clone());
            async move { Ok::<_, Infallible>(world.answer(sni, request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().max_buf_size(1 << 20);
        drop(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
    }

    async fn answer(&self, sni: String, mut request: Request<Incoming>) -> Reply {
        let upgrade =
            request.headers().contains_key("sec-websocket-key").then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let path = head.uri.path().to_owned();
        let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
        // A body that breaks off arrived as far as it came.
        let mut got = Vec::new();
        let mut body = body;
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                got.extend_from_slice(&data);
            }
        }
        let said =
            head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let value = said.rsplit(' ').next().unwrap_or_default().to_owned();
        self.received.lock().unwrap().push(Received {
            sni,
            authority,
            method: head.method.to_string(),
            target,
            headers: head.headers.clone(),
            body: got.clone(),
        });
        if let Some(upgrade) = upgrade {
            return switch(&head.headers, value, upgrade, self.received.clone());
        }
        match path.rsplit_once("/echo/") {
            Some((_, mode)) => echo(mode, &value).await,
            None if path.starts_with("/mcp") => remote(&value, &got),
            None => {
                let mut reply = whole(b"reached\n".to_vec());
                // Files that clients ask for and that were not offered.
                if ["/git", "/simple", "/npm", "/crates"].iter().any(|start| path.starts_with(start)) {
                    *reply.status_mut() = StatusCode::NOT_FOUND;
                }
                reply
            }
        }
    }
}

/// An MCP server over Streamable HTTP with one tool, which tells what it was called with.
fn remote(value: &str, body: &[u8]) -> Reply {
    let message: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => serde_json::json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "r", "version": "1"},
        }),
        "tools/list" => serde_json::json!({ "tools": [
            { "name": "tell", "description": "tells", "inputSchema": { "type": "object", "properties": {} } }
        ] }),
        "tools/call" => {
            serde_json::json!({ "content": [{ "type": "text", "text": format!("you are [{value}]") }] })
        }
        _ => {
            let mut reply = whole(Vec::new());
            *reply.status_mut() = StatusCode::ACCEPTED;
            return reply;
        }
    };
    let answer = serde_json::json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    let mut reply = whole(answer.to_string().into_bytes());
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    reply
}

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
];

async fn echo(mode: &str, value: &str) -> Reply {
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
        "location" => {
            let mut reply = said("location", &format!("https://other.example.test/?t={value}"));
            *reply.status_mut() = StatusCode::FOUND;
            reply
        }
        "reason" => {
            let mut reply = whole(b"echo\n".to_vec());
            let reason = hyper::ext::ReasonPhrase::try_from(value.as_bytes().to_vec()).unwrap();
            reply.extensions_mut().insert(reason);
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

async fn gzip(text: &[u8]) -> Vec<u8> {
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

fn whole(body: Vec<u8>) -> Reply {
    Response::new(http_body_util::Full::new(Bytes::from(body)).boxed_unsync())
}

fn pieces(pieces: Vec<Vec<u8>>, trailers: Option<HeaderMap>) -> Reply {
    let frames = pieces.into_iter().map(|piece| Frame::data(Bytes::from(piece)));
    let frames: Vec<_> = frames.chain(trailers.map(Frame::trailers)).map(Ok).collect();
    Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
}

/// A WebSocket that says the value in every kind of frame, then tells nobody what it hears.
fn switch(
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
