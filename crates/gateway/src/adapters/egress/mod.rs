//! The egress adapter: what programs behind the wall want from the network is a call like any other, judged and recorded
//! before anything is resolved or dialled. Nothing is dialled here; the `egress` crate does that with leave.

mod alerts;
mod context;
mod exchange;
mod guarded;
mod host;
mod java;
mod wayout;

pub use egress::raise_open_files;
pub use host::{HostProxy, authorities};
pub use wayout::{Owner, WayOut};

use crate::config::Confinement;
use crate::config::reach::Destination;
use crate::gate::Gate;
use context::Context;
use sandbox::{Network, Profile};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use vault::{SecretName, Wallet};

/// Where programs find the certificate authority of their sandbox, whatever the rest of their root is.
const AUTHORITY: &str = "/.bailiwick/authority.pem";
/// Where programs of this host look for authorities by themselves.
const AUTHORITY_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt"];
/// Where Java looks, in its own format.
const JAVA_AUTHORITY_FILES: [&str; 2] = ["/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts"];
/// Variables that name a file of authorities to programs that do not look in the system's place.
const AUTHORITY_VARIABLES: [&str; 9] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];

/// A way out that is ready before its sandbox stands.
pub struct Prepared(Made);

/// A way out that nobody has entered yet.
struct Made {
    exit: Arc<egress::Exit>,
    ca: Arc<egress::Ca>,
    wallet: Arc<Wallet>,
    context: Arc<Context>,
}

impl Made {
    /// A way out to the places of `settings`, with placeholders for the secrets that `environment` names.
    async fn new(
        gate: &Arc<Gate>,
        owner: Owner,
        settings: &Confinement,
        environment: &mut BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let destinations = settings.network.destinations().map_err(|why| format!("`network`: {why}"))?;
        let wallet = gate.secrets.wallet(environment, &settings.secrets, true).await?;
        let names: Vec<egress::Name> = destinations.iter().map(|it| it.name.clone()).collect();
        let ca = Arc::new(egress::Ca::new(&names).map_err(|error| error.to_string())?);
        let outside = egress::Outside { roots: gate.roots.clone(), resolve: Arc::new(egress::System) };
        let way = WayOut::new(gate.clone(), owner, destinations, wallet.clone(), settings)?;
        let context = way.context();
        let exit = egress::Exit::new(Arc::new(way), ca.clone(), outside, egress::Limits::default())
            .map_err(|error| error.to_string())?;
        Ok(Self { exit, ca, wallet, context })
    }
}

/// A way out in use. The sandbox has a network for as long as this is held, and not a moment longer.
#[must_use = "dropping it takes the network away"]
pub struct Open {
    _running: egress::Running,
    _exit: Arc<egress::Exit>,
    wallet: Arc<Wallet>,
    context: Arc<Context>,
}

impl Open {
    /// What stands in the sandbox for the secret `name`, where it has it.
    pub fn placeholder(&self, name: &SecretName) -> Option<String> {
        self.wallet.placeholder(name).map(str::to_owned)
    }

    /// What was sent to models so far, and searched; nothing when there was nothing.
    pub fn context(&self) -> Option<crate::wire::record::Context> {
        self.context.counted()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.context.note();
    }
}

impl Prepared {
    /// Makes what `profile` needs to reach the places of `settings`: a certificate authority that its programs trust, and
    /// placeholders for the secrets that its environment names. `None` where it has no network of its own to leave.
    ///
    /// # Errors
    /// A place or secret that cannot be used, in words that name it and say what to do.
    pub async fn prepare(
        gate: &Arc<Gate>,
        owner: Owner,
        settings: &Confinement,
        profile: &mut Profile,
    ) -> Result<Option<Self>, String> {
        if profile.network != Network::Captured {
            settings.network.destinations().map_err(|why| format!("`network`: {why}"))?;
            gate.secrets.wallet(&mut profile.environment, &settings.secrets, false).await?;
            return Ok(None);
        }
        let made = Made::new(gate, owner, settings, &mut profile.environment).await?;
        trust(&made.ca, profile);
        Ok(Some(Self(made)))
    }

    /// Takes over the sockets of the sandbox that stands now.
    ///
    /// # Errors
    /// A socket that is none.
    pub fn open(self, sockets: sandbox::native::network::Sockets) -> Result<Open, String> {
        let sockets =
            egress::Sockets { dns_udp: sockets.dns_udp, dns_tcp: sockets.dns_tcp, capture: sockets.capture };
        let running = egress::serve(sockets, &self.0.exit).map_err(|error| error.to_string())?;
        let Made { exit, wallet, context, .. } = self.0;
        Ok(Open { _running: running, _exit: exit, wallet, context })
    }
}

/// Has the programs of `profile` believe `ca` and nobody else.
fn trust(ca: &egress::Ca, profile: &mut Profile) {
    let pem = ca.certificate_pem().as_bytes().to_vec();
    if profile.system == sandbox::System::Host {
        for path in AUTHORITY_FILES {
            profile.files.insert(PathBuf::from(path), pem.clone());
        }
        for path in JAVA_AUTHORITY_FILES {
            profile.files.insert(PathBuf::from(path), java::trust_store(ca.certificate_pem()));
        }
    }
    profile.files.insert(PathBuf::from(AUTHORITY), pem);
    for variable in AUTHORITY_VARIABLES {
        profile.environment.insert(variable.to_owned(), AUTHORITY.to_owned());
    }
}

/// What a route to `destination` is.
fn route(destination: &Destination) -> egress::Route {
    use crate::config::reach::Way;
    egress::Route {
        way: match destination.way {
            Way::Https => egress::Way::Terminate,
            Way::Tls => egress::Way::Splice,
            Way::Http => egress::Way::Plain,
            Way::Tcp => egress::Way::Raw,
        },
        private: destination.private.clone(),
        address: destination.address,
    }
}
