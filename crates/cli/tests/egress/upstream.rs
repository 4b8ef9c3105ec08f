//! A hostile upstream behind TLS: it gives every credential back in whatever shape the path asks for, and remembers every
//! byte it was sent. It never refuses anybody, so what did not arrive here was stopped on the way.

use crate::echo::{echo, switch};
use crate::git;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The names its certificate is for.
pub(crate) const NAMES: [&str; 7] = [
    "api.example.test",
    "other.example.test",
    "sub.api.example.test",
    "raw.example.test",
    "tls.example.test",
    "plain.example.test",
    "localhost",
];
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
    world: World,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Upstream {
    pub(crate) fn open() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let (authority, tls) = certificates();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let world = World::default();
        let opened = world.clone();
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
                    world.knocked();
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
                world.knocked();
                let world = world.clone();
                tokio::spawn(async move { world.serve("plain".to_owned(), stream).await });
            }
        });
        let listener = tokio::net::TcpListener::from_std(raw_listener).unwrap();
        let (heard, world) = (bytes.clone(), opened.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                world.knocked();
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
        let (heard, world) = (bytes.clone(), opened.clone());
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(length) = udp.recv(&mut buffer).await {
                world.knocked();
                heard.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        drop(_inside);
        Self { runtime: Some(runtime), authority, port, plain, raw, second, world: opened, bytes }
    }

    /// Everything so far, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.world.received.lock().unwrap().clone()
    }

    /// Connections and datagrams so far, at any of its ports.
    pub(crate) fn knocks(&self) -> usize {
        self.world.knocks.load(Ordering::Relaxed)
    }

    /// Runs `task` to its end, here.
    pub(crate) fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(task)
    }

    /// Serves the bare repository in `folder` at `/repos/tiny.git`.
    pub(crate) fn repository(&self, folder: &Path) {
        *self.world.repository.lock().unwrap() = Some(folder.to_owned());
    }

    /// Answers `GET` of `path` with `body` from now on.
    pub(crate) fn offer(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.world.files.lock().unwrap().insert(path.to_owned(), body.into());
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

pub(crate) type Reply = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone, Default)]
struct World {
    received: Arc<Mutex<Vec<Received>>>,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    knocks: Arc<AtomicUsize>,
    repository: Arc<Mutex<Option<PathBuf>>>,
}

impl World {
    fn knocked(&self) {
        self.knocks.fetch_add(1, Ordering::Relaxed);
    }

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
        let one = Received {
            sni,
            authority,
            method: head.method.to_string(),
            target,
            headers: head.headers.clone(),
            body: got.clone(),
        };
        self.received.lock().unwrap().push(one.clone());
        let repository = self.repository.lock().unwrap().clone();
        if let (Some(folder), Some(rest)) = (repository, one.target.strip_prefix("/repos/tiny.git/")) {
            return git::answer(&folder, rest, &one).await;
        }
        if let Some(upgrade) = upgrade {
            return switch(&head.headers, value, upgrade, self.received.clone());
        }
        if let Some(file) = self.files.lock().unwrap().get(&path) {
            return file_at(&path, file.clone());
        }
        if head
            .headers
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
        {
            return called(&got);
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

/// A file, with the type that clients of package registries insist on.
fn file_at(path: &str, body: Vec<u8>) -> Reply {
    let kind = if path.ends_with('/') { "text/html" } else { "application/octet-stream" };
    let mut reply = whole(body);
    reply.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    reply
}

/// A gRPC method that gives its message back, and says in a trailer that all is well.
fn called(message: &[u8]) -> Reply {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut reply = pieces(vec![message.to_vec()], Some(trailers));
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    reply
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

pub(crate) fn whole(body: Vec<u8>) -> Reply {
    Response::new(http_body_util::Full::new(Bytes::from(body)).boxed_unsync())
}

pub(crate) fn pieces(pieces: Vec<Vec<u8>>, trailers: Option<HeaderMap>) -> Reply {
    let frames = pieces.into_iter().map(|piece| Frame::data(Bytes::from(piece)));
    let frames: Vec<_> = frames.chain(trailers.map(Frame::trailers)).map(Ok).collect();
    Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
}
