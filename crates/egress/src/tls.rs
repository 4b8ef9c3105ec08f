//! TLS on the way out: its SNI must be the name that was dialled. It is ended here and begun anew towards the verified
//! upstream, or it goes through unopened.
//!
//! A hello without SNI is refused. An `encrypted_client_hello` (RFC 9849) is refused where TLS goes through, because the
//! name within could be another one. Where TLS ends here it is ignored: what it hides reaches nobody, a client that
//! meant it finds its outer name refused, and browsers send it for show (GREASE) on every connection.

use crate::authority::Route;
use crate::brim::Brim;
use crate::capture::Io;
use crate::exit::Line;
use crate::hello::{self, Hello, HelloError};
use crate::name::Name;
use crate::{http, relay};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{StartHandshake, TlsConnector};

/// What is read from a socket at once: TLS alone would ask for a few kilobytes each time.
const READ_BYTES: usize = 64 * 1_024;
/// What TLS holds that the socket has not taken yet.
const WRITE_BYTES_MAX: usize = 256 * 1_024;
/// A fatal `unrecognized_name` alert (RFC 6066 §3), so that a client can say what was wrong.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Why certificates could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The host has none, and none were given.
    #[error("this host has no trusted certificates, and no file with some was given")]
    None,
    /// A file is not what it should be.
    #[error("cannot read certificates from {path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The certificates that this host trusts, and those in PEM files besides.
///
/// # Errors
/// There are none, or a file cannot be read.
pub fn roots(files: &[impl AsRef<Path>]) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in files {
        let path = path.as_ref();
        let error = |why: String| RootsError::File { path: path.to_owned(), why };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|why| error(why.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|why| error(why.to_string()))?;
            roots.add(certificate).map_err(|why| error(why.to_string()))?;
        }
    }
    if roots.is_empty() { Err(RootsError::None) } else { Ok(roots) }
}

/// How TLS towards upstreams is begun.
pub(crate) fn client(
    roots: Arc<RootCertStore>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(client))
}

/// TLS to `name` over a connection to it; fails unless the upstream proves the name.
pub(crate) async fn connect(
    client: Arc<ClientConfig>,
    name: &Name,
    stream: TcpStream,
) -> io::Result<tokio_rustls::client::TlsStream<BufReader<TcpStream>>> {
    let server = ServerName::try_from(name.as_str().to_owned()).map_err(io::Error::other)?;
    let stream = BufReader::with_capacity(READ_BYTES, stream);
    let mut tls = TlsConnector::from(client).connect(server, stream).await?;
    tls.get_mut().1.set_buffer_limit(Some(WRITE_BYTES_MAX));
    Ok(tls)
}

/// Ends TLS here and serves the HTTP in it.
pub(crate) async fn terminate(line: Line, io: impl Io) {
    let mut io = BufReader::with_capacity(READ_BYTES, io);
    let Some(hello) = arrive(&line, &mut io, false).await else { return };
    let server = match line.exit.ca.server(&line.name) {
        Ok(server) => server,
        Err(error) => {
            line.refuse(error.to_string());
            return alert(&mut io).await;
        }
    };
    let handshake = StartHandshake::from_parts(hello.accepted, io).into_stream(server);
    match timeout(line.exit.limits.hello_wait, handshake).await {
        Ok(Ok(mut stream)) => {
            stream.get_mut().1.set_buffer_limit(Some(WRITE_BYTES_MAX));
            serve(line, stream).await;
        }
        // Most often a client that does not trust this sandbox's authority.
        Ok(Err(error)) => line.refuse(format!("the TLS handshake failed: {error}")),
        Err(_) => line.refuse("the TLS handshake took too long"),
    }
}

async fn serve(line: Line, stream: TlsStream<impl Io>) {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = Brim::new(stream);
    if is_h2 { http::serve_h2(line, io, true).await } else { http::serve_h1(line, io, true).await }
}

/// Lets TLS through unopened.
pub(crate) async fn splice(line: Line, mut io: impl Io, route: Route) {
    let Some(hello) = arrive(&line, &mut io, true).await else { return };
    relay::connection(line, io, hello.raw, true, route).await;
}

/// The hello, if it is for the name that was dialled; otherwise everything has been said.
async fn arrive(line: &Line, io: &mut impl Io, goes_through: bool) -> Option<Hello> {
    let limits = &line.exit.limits;
    let why = match timeout(limits.hello_wait, hello::read(io, limits.hello_bytes_max)).await {
        Ok(Ok(hello)) => match agree(&hello, &line.name, goes_through) {
            Ok(()) => return Some(hello),
            Err(why) => why,
        },
        // Scanners and health checks; there is nothing to record.
        Ok(Err(HelloError::Io(error))) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
        Ok(Err(HelloError::NotTls(first))) => {
            line.refuse("something other than TLS was sent to a port that takes TLS");
            if first.is_ascii_uppercase() {
                io.write_all(http::PLAIN_TO_TLS).await.ok();
                io.shutdown().await.ok();
            }
            return None;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no TLS hello came in time".to_owned(),
    };
    line.refuse(why);
    alert(io).await;
    None
}

async fn alert(io: &mut impl Io) {
    io.write_all(&UNRECOGNIZED_NAME).await.ok();
    io.shutdown().await.ok();
}

fn agree(hello: &Hello, name: &Name, goes_through: bool) -> Result<(), String> {
    let client = hello.accepted.client_hello();
    let Some(sni) = client.server_name() else {
        return Err(format!("the TLS hello to {name} names no server"));
    };
    if Name::parse(sni).as_ref() != Ok(name) {
        return Err(format!("the TLS hello to {name} names {}", crate::name::shown(sni.as_bytes())));
    }
    if !goes_through && hello.has_more {
        return Err(format!("the TLS hello to {name} is followed by data that was not asked for"));
    }
    if goes_through && hello.is_encrypted {
        return Err(format!("the TLS hello to {name} hides another one (ECH)"));
    }
    Ok(())
}
