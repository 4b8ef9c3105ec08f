//! What going through costs: added latency and lost throughput against a direct TLS connection, on loopback.
//! Client, gate and upstream share the machine's cores in every case, so "through" pays for its TLS from the same
//! budget. `through [MEGABYTES] [REQUESTS] [PEER=ADDRESS,AUTHORITY.pem]...`; each peer is an HTTP proxy that ends TLS with
//! the authority in that file. The last line is JSON.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, not the product")]

use bytes::Bytes;
use egress::{
    Admitted, Answer, Attempt, Authority, Ca, Ended, Exchange, Exit, Limits, Name, Outside, Refusal, Refused,
    Route, System, Way, What,
};
use futures_util::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const NAME: &str = "upstream.example";

struct Everything(Way);
struct Nothing;
impl Exchange for Nothing {
    fn ended(self: Box<Self>, _: Ended) {}
}
impl Authority for Everything {
    fn knows(&self, _: &Name) -> bool {
        true
    }
    fn route(&self, _: &Name, _: u16) -> Option<Route> {
        let private = vec!["127.0.0.0/8".parse().unwrap()];
        Some(Route { way: self.0, private, address: Some([127, 0, 0, 1].into()) })
    }
    fn admit(&self, attempt: Attempt) -> Answer<'_, Result<Admitted, Refused>> {
        let head = match attempt.what {
            What::Request { head, .. } => Some(head),
            What::Connection { .. } => None,
        };
        Box::pin(async move { Ok(Admitted { head, exchange: Box::new(Nothing) }) })
    }
    fn refused(&self, refusal: &Refusal) {
        println!("refused: {refusal:?}");
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>) -> Response<Body> {
    let megabytes: usize = request.uri().query().map_or(0, |query| query.parse().unwrap());
    request.into_body().collect().await.unwrap();
    let megabyte = Bytes::from(vec![b'x'; 1 << 20]);
    let frames = stream::iter((0..megabytes).map(move |_| Ok(Frame::data(megabyte.clone()))));
    if megabytes == 0 {
        Response::new(Empty::new().boxed_unsync())
    } else {
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

async fn upstream() -> (SocketAddr, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().max_frame_size(65_536).max_send_buf_size(1 << 20);
                builder.serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
    (address, certificate.der().clone())
}

enum Client {
    H1(hyper::client::conn::http1::SendRequest<Body>),
    H2(hyper::client::conn::http2::SendRequest<Body>),
}

async fn client(
    address: SocketAddr,
    tunnel: Option<(SocketAddr, &str)>,
    root: CertificateDer<'static>,
    protocol: &str,
) -> Client {
    let mut stream = TcpStream::connect(tunnel.map_or(address, |(tunnel, _)| tunnel)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    if let Some((_, host)) = tunnel {
        let head = format!("CONNECT {host}:{0} HTTP/1.1\r\nHost: {host}:{0}\r\n\r\n", address.port());
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = BufReader::with_capacity(64 * 1_024, stream);
    let server = ServerName::try_from(NAME).unwrap();
    let io = TokioIo::new(TlsConnector::from(Arc::new(config)).connect(server, stream).await.unwrap());
    if protocol == "h2" {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_frame_size(65_536);
        let (sender, connection) = builder.handshake(io).await.unwrap();
        tokio::spawn(connection);
        Client::H2(sender)
    } else {
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Client::H1(sender)
    }
}

impl Client {
    async fn get(&mut self, port: u16, megabytes: usize) -> usize {
        let path = if megabytes == 0 { "/".to_owned() } else { format!("/?{megabytes}") };
        let empty = Empty::new().boxed_unsync();
        let response = match self {
            Self::H1(sender) => {
                sender.ready().await.unwrap();
                let request = Request::builder().uri(path).header("host", format!("{NAME}:{port}"));
                sender.send_request(request.body(empty).unwrap()).await
            }
            Self::H2(sender) => {
                let request = Request::builder().uri(format!("https://{NAME}:{port}{path}"));
                sender.send_request(request.body(empty).unwrap()).await
            }
        };
        let mut body = response.unwrap().into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        bytes
    }
}

/// A runtime of its own, for ever.
fn apart<T: Send + 'static>(threads: usize, task: impl Future<Output = T> + Send + 'static) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let done = runtime.block_on(async { tokio::spawn(task).await.unwrap() });
    std::mem::forget(runtime);
    done
}

fn main() {
    let (peers, numbers): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.contains('='));
    let mut numbers = numbers.iter().map(|number| number.parse().unwrap());
    let megabytes: usize = numbers.next().unwrap_or(1_024);
    let requests: usize = numbers.next().unwrap_or(3_000);
    let (address, root) = apart(1, upstream());
    let mut cases = Vec::new();
    for protocol in ["http/1.1", "h2"] {
        cases.push(("direct", protocol, None, root.clone()));
        for peer in &peers {
            let (label, rest) = peer.split_once('=').unwrap();
            let (tunnel, authority) = rest.split_once(',').unwrap();
            let ca = CertificateDer::from_pem_slice(&std::fs::read(authority).unwrap()).unwrap();
            cases.push((label, protocol, Some((tunnel.parse().unwrap(), "127.0.0.1")), ca));
        }
        for (label, way) in [("spliced", Way::Splice), ("terminated", Way::Terminate)] {
            let trusted = root.clone();
            let (tunnel, ca) = apart(1, async move {
                let mut roots = RootCertStore::empty();
                roots.add(trusted).unwrap();
                let outside = Outside { roots, resolve: Arc::new(System) };
                let ca = Arc::new(Ca::new(&[Name::parse(NAME).unwrap()]).unwrap());
                let exit =
                    Exit::new(Arc::new(Everything(way)), ca.clone(), outside, Limits::default()).unwrap();
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let tunnel = listener.local_addr().unwrap();
                std::mem::forget(egress::proxy(listener, &exit, None));
                (tunnel, CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes()).unwrap())
            });
            let root = if way == Way::Splice { root.clone() } else { ca };
            cases.push((label, protocol, Some((tunnel, NAME)), root));
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Interleaved, so that what else the machine does falls on all alike; the best of the rounds counts.
    const ROUNDS: usize = 3;
    let mut best = vec![(Duration::MAX, 0.0_f64); cases.len()];
    for _ in 0..ROUNDS {
        for ((_, protocol, tunnel, root), best) in cases.iter().zip(&mut best) {
            let (protocol, tunnel, root) = (*protocol, *tunnel, root.clone());
            // All of the client on the one thread.
            let measured = runtime.spawn(async move {
                let mut client = client(address, tunnel, root, protocol).await;
                let mut took = Vec::with_capacity(requests);
                for _ in 0..requests {
                    let begun = Instant::now();
                    client.get(address.port(), 0).await;
                    took.push(begun.elapsed());
                }
                took.sort_unstable();
                let begun = Instant::now();
                let bytes = client.get(address.port(), megabytes).await;
                assert_eq!(bytes, megabytes << 20);
                (took[requests / 2], megabytes as f64 / begun.elapsed().as_secs_f64())
            });
            let measured = runtime.block_on(measured).unwrap();
            *best = (best.0.min(measured.0), best.1.max(measured.1));
        }
    }
    let mut direct = best[0];
    let mut rows = Vec::new();
    for ((label, protocol, ..), (p50, speed)) in cases.iter().zip(&best) {
        if *label == "direct" {
            direct = (*p50, *speed);
        }
        let added = p50.saturating_sub(direct.0);
        let share = speed / direct.1;
        println!(
            "{protocol:9} {label:11} p50 {p50:>9.1?} (+{added:.1?})  {speed:6.0} MB/s ({:.0} %)",
            100.0 * share
        );
        let (p50_us, added_us) = (p50.as_secs_f64() * 1e6, added.as_secs_f64() * 1e6);
        rows.push(format!(
            "{{\"protocol\":\"{protocol}\",\"way\":\"{label}\",\"p50_us\":{p50_us:.1},\"added_us\":{added_us:.1},\
             \"mb_per_s\":{speed:.0},\"of_direct\":{share:.3}}}"
        ));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
    println!("[{}]", rows.join(","));
}
