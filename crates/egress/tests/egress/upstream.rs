//! A server that real clients reach through the way out: HTTP/1.1 and HTTP/2, with or without TLS, hostile where a path
//! says so. It knows nothing of what is between.

use crate::world::{CANARY, NAME, OTHER};
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) root: CertificateDer<'static>,
    pub(crate) root_pem: String,
    pub(crate) connections: Arc<AtomicUsize>,
    /// What a slow answer waits for.
    pub(crate) go_on: Arc<Notify>,
    /// Every byte that was to be echoed.
    pub(crate) heard: Arc<Mutex<Vec<u8>>>,
}

impl Upstream {
    pub(crate) async fn start(tls: bool) -> Self {
        let (root, root_pem, server) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, go_on) = (Arc::<AtomicUsize>::default(), Arc::new(Notify::new()));
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (counted, waits, hears) = (connections.clone(), go_on.clone(), heard.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                stream.set_nodelay(true).ok();
                let (acceptor, waits, hears) = (acceptor.clone(), waits.clone(), hears.clone());
                tokio::spawn(async move {
                    if !tls {
                        return serve(stream, waits, hears).await;
                    }
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, waits, hears).await;
                    }
                });
            }
        });
        Self { address, root, root_pem, connections, go_on, heard }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

fn certificates() -> (CertificateDer<'static>, String, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([NAME.to_owned(), OTHER.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], leaf_key.serialize_der().try_into().unwrap())
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (root.der().clone(), root.pem(), server)
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn serve(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    go_on: Arc<Notify>,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    let service = service_fn(move |request| {
        let (go_on, heard) = (go_on.clone(), heard.clone());
        async move { Ok::<_, Infallible>(answer(request, go_on, heard).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().enable_connect_protocol().max_frame_size(65_536);
    builder.serve_connection_with_upgrades(TokioIo::new(io), service).await.ok();
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).boxed_unsync())
}

async fn coded(coding: &'static str) -> Response<Body> {
    let plain = format!("the secret is {CANARY}, and then some: {}", "x".repeat(100_000));
    macro_rules! encode {
        ($encoder:ident) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all(plain.as_bytes()).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }
    let body = match coding {
        "gzip" => encode!(GzipEncoder),
        "br" => encode!(BrotliEncoder),
        "deflate" => encode!(ZlibEncoder),
        "zstd" => encode!(ZstdEncoder),
        _ => plain.into_bytes(),
    };
    let mut response = text(body);
    response.headers_mut().insert("content-encoding", HeaderValue::from_static(coding));
    response.headers_mut().insert("etag", HeaderValue::from_static("\"strong\""));
    response
}

/// A body that is given frame by frame.
fn streamed(frames: mpsc::Receiver<Frame<Bytes>>) -> Response<Body> {
    let frames = futures_util::stream::unfold(frames, |mut frames| async move {
        frames.recv().await.map(|frame| (Ok::<_, Infallible>(frame), frames))
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

async fn answer(
    request: Request<Incoming>,
    go_on: Arc<Notify>,
    heard: Arc<Mutex<Vec<u8>>>,
) -> Response<Body> {
    let data = |text: &str| Frame::data(Bytes::copy_from_slice(text.as_bytes()));
    match request.uri().path() {
        "/gzip" => coded("gzip").await,
        "/br" => coded("br").await,
        "/deflate" => coded("deflate").await,
        "/zstd" => coded("zstd").await,
        "/unknown-coding" => coded("x-rot13").await,
        "/redirect" => {
            let mut response = text("");
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert("location", HeaderValue::from_static("https://elsewhere.example/"));
            response
        }
        "/poison" => {
            let mut response = text("bad");
            response.headers_mut().insert("x-poison", HeaderValue::from_static("1"));
            response
        }
        "/spoof" => {
            let mut response = text("not us");
            response.headers_mut().insert("x-bailiwick", HeaderValue::from_static("denied"));
            response.headers_mut().insert("keep-alive", HeaderValue::from_static("timeout=9"));
            response
        }
        // The secret split over chunks, byte by byte.
        "/split" => {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for byte in format!("<{CANARY}>").bytes() {
                    sender.send(Frame::data(vec![byte].into())).await.ok();
                    tokio::task::yield_now().await;
                }
            });
            streamed(receiver)
        }
        // One event, and the second only when the test has seen the first.
        "/events" => {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                sender.send(data("data: one\n\n")).await.ok();
                go_on.notified().await;
                sender.send(data("data: two\n\n")).await.ok();
            });
            let mut response = streamed(receiver);
            response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
            response
        }
        "/trailers" => {
            let body = request.into_body().collect().await.unwrap();
            let sent = body.trailers().and_then(|trailers| trailers.get("x-sent")).cloned();
            let (sender, receiver) = mpsc::channel(2);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            trailers.insert("x-echo", sent.unwrap_or(HeaderValue::from_static("none")));
            trailers.insert("x-secret", HeaderValue::from_static(CANARY));
            sender.send(data("body")).await.unwrap();
            sender.send(Frame::trailers(trailers)).await.unwrap();
            let mut response = streamed(receiver);
            response
                .headers_mut()
                .insert("trailer", HeaderValue::from_static("grpc-status, x-echo, x-secret"));
            response
        }
        "/big" => {
            let megabytes: usize = request.uri().query().unwrap().parse().unwrap();
            let (sender, receiver) = mpsc::channel(2);
            tokio::spawn(async move {
                let megabyte = Bytes::from(vec![b'x'; 1 << 20]);
                for _ in 0..megabytes {
                    if sender.send(Frame::data(megabyte.clone())).await.is_err() {
                        return;
                    }
                }
            });
            streamed(receiver)
        }
        "/sink" => {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            text(count.to_string())
        }
        "/echo" => {
            let mut body = request.into_body();
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                while let Some(Ok(frame)) = body.frame().await {
                    heard.lock().unwrap().extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                    sender.send(frame).await.ok();
                }
            });
            streamed(receiver)
        }
        "/socket" => socket(request),
        _ => {
            let mut all = format!("{:?} {} {}\n", request.version(), request.method(), request.uri());
            for (name, value) in request.headers() {
                all.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
            }
            text(all)
        }
    }
}

/// RFC 6455 as far as it takes to send every frame back, unmasked.
fn socket(mut request: Request<Incoming>) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut io = TokioIo::new(upgraded);
        loop {
            let Ok(first) = io.read_u8().await else { return };
            let length = io.read_u8().await.unwrap();
            assert!(length & 0x80 != 0, "clients mask");
            let length = match length & 0x7f {
                126 => io.read_u16().await.unwrap().into(),
                127 => io.read_u64().await.unwrap(),
                short => short.into(),
            };
            let mut mask = [0; 4];
            io.read_exact(&mut mask).await.unwrap();
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            io.read_exact(&mut payload).await.unwrap();
            for (at, byte) in payload.iter_mut().enumerate() {
                *byte ^= mask[at % 4];
            }
            // Both what arrived and what must not: the secret as it is.
            let mut frame = vec![first, 126];
            let Ok(short) = u16::try_from(payload.len()) else { panic!("the test sends short frames") };
            if short < 126 {
                frame = vec![first, u8::try_from(short).unwrap()];
            } else {
                frame.extend_from_slice(&short.to_be_bytes());
            }
            frame.extend_from_slice(&payload);
            io.write_all(&frame).await.unwrap();
            io.flush().await.unwrap();
            if first & 15 == 8 {
                io.shutdown().await.ok();
                return;
            }
        }
    });
    let mut response = text("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    // The one thing of the request that the test looks for in the answer.
    if let Some(extensions) = request.headers().get("sec-websocket-extensions") {
        headers.insert("sec-websocket-extensions", extensions.clone());
    }
    response
}

/// A listener that says one thing to whoever connects, and closes.
pub(crate) async fn saying(words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                let length = stream.read(&mut buffer).await.unwrap_or(0);
                stream.write_all(words).await.ok();
                stream.write_all(&buffer[..length]).await.ok();
                drain(stream).await;
            });
        }
    });
    address
}

async fn drain(mut stream: TcpStream) {
    stream.shutdown().await.ok();
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
}
