//! Clients made of their parts, so that each part can be wrong: tunnels, TLS with any SNI, and HTTP with any head.

use crate::world::World;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) fn empty() -> Body {
    Empty::new().boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A tunnel to `authority`, or what was answered instead.
pub(crate) async fn connect(world: &World, authority: &str, fields: &str) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => break,
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(stream);
    }
    let length = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    Err(answer + &String::from_utf8(body).unwrap())
}

pub(crate) fn trusting(pem: &str, protocols: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    client
}

pub(crate) async fn tls<S: AsyncRead + AsyncWrite + Unpin>(
    client: ClientConfig,
    sni: &str,
    io: S,
) -> io::Result<TlsStream<S>> {
    let server = ServerName::try_from(sni.to_owned()).unwrap();
    TlsConnector::from(Arc::new(client)).connect(server, io).await
}

/// A client of one connection.
pub(crate) enum Client {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

impl Client {
    /// Through a tunnel and TLS, with the one protocol.
    pub(crate) async fn secure(world: &World, protocol: &str) -> Self {
        let tunnel = connect(world, &world.authority(), "").await.unwrap();
        let client = trusting(world.ca.certificate_pem(), &[protocol]);
        let stream = tls(client, crate::world::NAME, tunnel).await.unwrap();
        if protocol == "h2" { Self::h2(stream).await } else { Self::h1(stream).await }
    }

    pub(crate) async fn h1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(async move { connection.with_upgrades().await.ok() });
        Self::H1(sender)
    }

    pub(crate) async fn h2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(async move { connection.await.ok() });
        Self::H2(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// A request to the upstream, in the way of this client's protocol.
    pub(crate) fn request(&self, world: &World, path: &str) -> http::request::Builder {
        let authority = world.authority();
        match self {
            Self::H1(_) => Request::builder().uri(path).header("host", authority),
            Self::H2(_) => Request::builder().uri(format!("https://{authority}{path}")),
        }
    }

    pub(crate) async fn get(&mut self, world: &World, path: &str) -> (u16, http::HeaderMap, String) {
        let request = self.request(world, path).body(empty()).unwrap();
        let (head, body) = self.send(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
    }
}
