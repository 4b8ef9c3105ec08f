//! What going through costs: added latency and lost throughput against a direct TLS connection, on loopback.
//! Client, gate and upstream have one thread each and share the machine's cores in every case, so "through" pays for its
//! TLS from the same budget; what each costs in processor time is told apart.
//! `through [MEGABYTES] [REQUESTS] [whole=BAILIWICK] [PEER=ADDRESS,AUTHORITY.pem,PROCESS]...`; each peer is an HTTP proxy that ends TLS
//! with the authority in that file, or lets it through where the file is `-`. With `whole`, the gate itself is measured as well,
//! with values that it guards. The last line is JSON.

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
use std::io::BufRead;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

mod whole;

const NAME: &str = "upstream.example";
/// What bodies are made of: text as people write it, because some of the ways search it.
static MEGABYTE: LazyLock<Bytes> =
    LazyLock::new(|| include_str!("main.rs").bytes().cycle().take(1 << 20).collect());

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
    let frames = stream::iter((0..megabytes).map(|_| Ok(Frame::data(MEGABYTE.clone()))));
    if megabytes == 0 {
        Response::new(Empty::new().boxed_unsync())
    } else {
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

async fn upstream() -> (SocketAddr, CertificateDer<'static>, String) {
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
    (address, certificate.der().clone(), certificate.pem())
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
) -> Option<Client> {
    let mut stream = TcpStream::connect(tunnel.map_or(address, |(tunnel, _)| tunnel)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    if let Some((_, host)) = tunnel {
        let head = format!("CONNECT {host}:{0} HTTP/1.1\r\nHost: {host}:{0}\r\n\r\n", address.port());
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
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
    let stream = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
    let is_spoken = |stream: &tokio_rustls::client::TlsStream<_>| {
        protocol != "h2" || stream.get_ref().1.alpn_protocol() == Some(b"h2")
    };
    // A peer that does not speak HTTP/2 says so in either way.
    let io = match stream {
        Ok(stream) if is_spoken(&stream) => TokioIo::new(stream),
        Ok(_) => return None,
        Err(_) if protocol == "h2" => return None,
        Err(error) => panic!("{error}"),
    };
    if protocol == "h2" {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_frame_size(65_536);
        let (sender, connection) = builder.handshake(io).await.unwrap();
        tokio::spawn(connection);
        Some(Client::H2(sender))
    } else {
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Some(Client::H1(sender))
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

/// One thread for all of it, whose name tells a profiler whose time it is.
fn threaded(name: &str) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name(name).enable_all().build().unwrap()
}

/// A runtime of its own, for ever.
fn apart<T: Send + 'static>(name: &str, task: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = threaded(name);
    let done = runtime.block_on(async { tokio::spawn(task).await.unwrap() });
    std::mem::forget(runtime);
    done
}

/// Processor time of a process so far, in seconds; the kernel counts hundredths.
fn spent(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// Memory of a process, in MiB: `VmRSS` now, `VmHWM` at its most.
fn memory(process: &str, which: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
}

/// A way out in a process of its own, on one thread like everybody else.
struct Gate {
    process: std::process::Child,
    tunnel: SocketAddr,
    authority: CertificateDer<'static>,
}

impl Gate {
    fn start(way: &str, room: &std::path::Path) -> Self {
        let [root, authority] = ["root.der".to_owned(), format!("{way}.pem")].map(|name| room.join(name));
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.arg("gate").arg(way).args([&root, &authority]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        std::io::BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let authority = CertificateDer::from_pem_slice(&std::fs::read(authority).unwrap()).unwrap();
        Self { process, tunnel: said.trim().parse().unwrap(), authority }
    }

    /// What it does, until its standard input ends.
    fn run(arguments: &[String]) {
        let [way, root, authority] = arguments else { panic!("gate WAY ROOT AUTHORITY") };
        let way = if way == "spliced" { Way::Splice } else { Way::Terminate };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(std::fs::read(root).unwrap())).unwrap();
        egress::raise_open_files().unwrap();
        let runtime = threaded("gate");
        let _inside = runtime.enter();
        let outside = Outside { roots, resolve: Arc::new(System) };
        let ca = Arc::new(Ca::new(&[Name::parse(NAME).unwrap()]).unwrap());
        let exit = Exit::new(Arc::new(Everything(way)), ca.clone(), outside, Limits::default()).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        std::fs::write(authority, ca.certificate_pem()).unwrap();
        println!("{}", listener.local_addr().unwrap());
        let _running = egress::proxy(listener, &exit, egress::Clients::Anybody);
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// One way to the upstream.
struct Case {
    label: String,
    protocol: &'static str,
    tunnel: Option<(SocketAddr, &'static str)>,
    root: CertificateDer<'static>,
    /// The process between, where it is ours.
    gate: Option<String>,
}

/// The best of some rounds.
struct Best {
    p50: Duration,
    mb_per_s: f64,
    /// Processor seconds for 1 GB: of client and upstream together, and of the gate.
    ends_s: f64,
    gate_s: f64,
}

/// Interleaved, so that what else the machine does falls on all alike.
const ROUNDS: usize = 3;
/// Values that the whole gate looks for.
const VALUES: usize = 100;
/// Connections that are open at once.
const CROWD: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "gate") {
        return Gate::run(&arguments[1..]);
    }
    let (peers, numbers): (Vec<String>, Vec<String>) =
        arguments.into_iter().partition(|argument| argument.contains('='));
    let mut numbers = numbers.iter().map(|number| number.parse().unwrap());
    let megabytes: usize = numbers.next().unwrap_or(1_024);
    let requests: usize = numbers.next().unwrap_or(3_000);
    egress::raise_open_files().unwrap();
    let (address, root, pem) = apart("upstream", upstream());
    let room = tempfile::tempdir().unwrap();
    std::fs::write(room.path().join("root.der"), &root).unwrap();
    let root_pem = room.path().join("root.pem");
    std::fs::write(&root_pem, pem).unwrap();
    let (wholes, peers): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.starts_with("whole="));
    let wholes: Vec<(String, whole::Whole)> = wholes
        .iter()
        .filter_map(|whole| whole.strip_prefix("whole="))
        .flat_map(|program| [0, VALUES].map(|values| (program, values)))
        .map(|(program, values)| {
            let label =
                if values == 0 { "gate, judged".to_owned() } else { format!("gate, {values} values") };
            (label, whole::Whole::start(program, NAME, address.port(), &root_pem, values))
        })
        .collect();
    let gates = ["spliced", "terminated"].map(|way| (way, Gate::start(way, room.path())));
    let mut cases = Vec::new();
    for protocol in ["http/1.1", "h2"] {
        let direct =
            Case { label: "direct".to_owned(), protocol, tunnel: None, root: root.clone(), gate: None };
        cases.push(direct);
        for peer in &peers {
            let (label, rest) = peer.split_once('=').unwrap();
            let [tunnel, authority, process] = rest.split(',').collect::<Vec<_>>().try_into().unwrap();
            let root = match authority {
                "-" => root.clone(),
                file => CertificateDer::from_pem_slice(&std::fs::read(file).unwrap()).unwrap(),
            };
            let tunnel = Some((tunnel.parse().unwrap(), "127.0.0.1"));
            cases.push(Case {
                label: label.to_owned(),
                protocol,
                tunnel,
                root,
                gate: Some(process.to_owned()),
            });
        }
        for (label, whole) in &wholes {
            let (tunnel, gate) = (Some((whole.tunnel, NAME)), Some(whole.process()));
            cases.push(Case { label: label.clone(), protocol, tunnel, root: whole.authority.clone(), gate });
        }
        for (way, gate) in &gates {
            let root = if *way == "spliced" { root.clone() } else { gate.authority.clone() };
            let (tunnel, gate) = (Some((gate.tunnel, NAME)), Some(gate.process.id().to_string()));
            cases.push(Case { label: (*way).to_owned(), protocol, tunnel, root, gate });
        }
    }
    let runtime = threaded("client");
    let mut best: Vec<Option<Best>> = Vec::new();
    for round in 0..ROUNDS {
        for (at, case) in cases.iter().enumerate() {
            let (protocol, tunnel, root) = (case.protocol, case.tunnel, case.root.clone());
            let gate = case.gate.clone();
            // All of the client on the one thread.
            let measured = runtime.spawn(async move {
                let mut client = client(address, tunnel, root, protocol).await?;
                let mut took = Vec::with_capacity(requests);
                for _ in 0..requests {
                    let begun = Instant::now();
                    client.get(address.port(), 0).await;
                    took.push(begun.elapsed());
                }
                took.sort_unstable();
                let spent = || (spent("self"), gate.as_deref().map_or(0.0, spent));
                let (begun, before) = (Instant::now(), spent());
                let bytes = client.get(address.port(), megabytes).await;
                assert_eq!(bytes, megabytes << 20);
                let (elapsed, after) = (begun.elapsed().as_secs_f64(), spent());
                let gigabytes = megabytes as f64 / 1_024.0;
                Some(Best {
                    p50: took[requests / 2],
                    mb_per_s: megabytes as f64 / elapsed,
                    ends_s: (after.0 - before.0) / gigabytes,
                    gate_s: (after.1 - before.1) / gigabytes,
                })
            });
            let measured = runtime.block_on(measured).unwrap();
            if round == 0 {
                best.push(measured);
                continue;
            }
            let (Some(best), Some(measured)) = (&mut best[at], measured) else { continue };
            best.p50 = best.p50.min(measured.p50);
            best.mb_per_s = best.mb_per_s.max(measured.mb_per_s);
            best.ends_s = best.ends_s.min(measured.ends_s);
            best.gate_s = best.gate_s.min(measured.gate_s);
        }
    }
    let mut direct = (Duration::ZERO, 1.0);
    let mut rows = Vec::new();
    for (Case { label, protocol, .. }, best) in cases.iter().zip(&best) {
        let Some(Best { p50, mb_per_s, ends_s, gate_s }) = best else {
            println!("{protocol:9} {label:16} does not speak it");
            continue;
        };
        if label == "direct" {
            direct = (*p50, *mb_per_s);
        }
        let added = p50.saturating_sub(direct.0);
        let share = mb_per_s / direct.1;
        println!(
            "{protocol:9} {label:16} p50 {p50:>9.1?} (+{added:.1?})  {mb_per_s:6.0} MB/s ({:.0} %)  for 1 GB: ends {ends_s:.2} s, gate {gate_s:.2} s",
            100.0 * share
        );
        let (p50_us, added_us) = (p50.as_secs_f64() * 1e6, added.as_secs_f64() * 1e6);
        rows.push(format!(
            "{{\"protocol\":\"{protocol}\",\"way\":\"{label}\",\"p50_us\":{p50_us:.1},\"added_us\":{added_us:.1},\
             \"mb_per_s\":{mb_per_s:.0},\"of_direct\":{share:.3},\"ends_cpu_s_per_gb\":{ends_s:.2},\"gate_cpu_s_per_gb\":{gate_s:.2}}}"
        ));
    }
    for ((way, gate), case) in gates.iter().zip(&cases[cases.len() - gates.len()..]) {
        let process = gate.process.id().to_string();
        let (most, before) = (memory(&process, "VmHWM"), memory(&process, "VmRSS"));
        let (tunnel, root) = (case.tunnel, case.root.clone());
        let crowd = runtime.spawn(async move {
            let mut clients = Vec::new();
            for _ in 0..CROWD {
                clients.push(client(address, tunnel, root.clone(), "http/1.1").await.unwrap());
            }
            for client in &mut clients {
                client.get(address.port(), 0).await;
            }
            clients
        });
        let clients = runtime.block_on(crowd).unwrap();
        let after = memory(&process, "VmRSS");
        drop(clients);
        println!(
            "{way:11} most {most:.0} MiB for bodies of {megabytes} MiB; {CROWD} connections open: {after:.0} MiB (before {before:.0})"
        );
        rows.push(format!(
            "{{\"way\":\"{way}\",\"most_mib\":{most:.1},\"connections\":{CROWD},\"mib\":{after:.1},\"before_mib\":{before:.1}}}"
        ));
    }
    println!("[{}]", rows.join(","));
}
