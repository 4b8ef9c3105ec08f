//! The way out for programs of this host that are in no sandbox of the gate's: an explicit proxy on loopback, and what such
//! programs have to be told to use it. Its requests are judged and recorded like those of a sandbox.

use super::{AUTHORITY_FILES, AUTHORITY_VARIABLES, Made, Owner};
use crate::config::Place;
use crate::config::proxy::{Clients, Proxy};
use crate::gate::{Gate, SessionGuard};
use crate::secrets::named_in;
use crate::session::Session;
use crate::wire::control;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Variables that name a proxy, to programs that read the one spelling or the other.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// A proxy in use, until it is dropped.
#[must_use = "dropping it ends the proxy"]
pub struct HostProxy {
    told: control::Proxy,
    _running: egress::Running,
    made: Made,
    _session: SessionGuard,
}

impl HostProxy {
    /// Opens the proxy that the configuration of `gate` describes, where it describes one. Its token and its authority are
    /// made anew each time.
    ///
    /// # Errors
    /// A port that cannot be had, a place or secret that cannot be used; in words.
    pub async fn open(gate: &Arc<Gate>) -> Result<Option<Self>, String> {
        let Some(proxy) = &gate.config.proxy else { return Ok(None) };
        Self::opened(gate, proxy).await.map(Some).map_err(|why| format!("[proxy]: {why}"))
    }

    async fn opened(gate: &Arc<Gate>, proxy: &Proxy) -> Result<Self, String> {
        let address = proxy.address()?;
        let conversation = gate.conversations.alone();
        let session = Session::new(gate.principal(), "egress", conversation);
        let guard = gate.open_session(&session, "bailiwick proxy", "");
        let settings = proxy.settings();
        let mut environment = settings.env.clone();
        let owner = Owner { session, from: "proxy".to_owned() };
        let made = Made::new(gate, owner, &settings, &mut environment).await?;
        for text in settings.env.values() {
            let exposed = named_in(text)?.into_iter().find(|name| made.wallet.placeholder(name).is_none());
            if let Some(name) = exposed {
                return Err(format!(
                    "`env`: secret `{name}` is exposed to processes, and what is told here is printed; leave it out"
                ));
            }
        }
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|error| format!("`listen`: {address}: {error}; give it another port"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let authorities = write_authorities(&gate.place, made.ca.certificate_pem())?;

        let token = crate::random::token();
        let url = format!("http://bailiwick:{token}@{address}");
        environment.extend(PROXY_VARIABLES.map(|name| (name.to_owned(), url.clone())));
        let file = authorities.display().to_string();
        environment.extend(AUTHORITY_VARIABLES.map(|name| (name.to_owned(), file.clone())));
        // Node looks at none of these by itself.
        environment.insert("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned());
        let told = control::Proxy {
            address: address.to_string(),
            clients: proxy.clients.word().to_owned(),
            authorities,
            environment,
        };
        let token = egress::Token::new(token);
        let clients = match proxy.clients {
            Clients::Token => egress::Clients::Holders(token),
            Clients::User => egress::Clients::User(token),
        };
        let running = egress::proxy(listener, &made.exit, clients);
        Ok(Self { told, _running: running, made, _session: guard })
    }

    /// What programs have to be told, the token included: for the operator alone.
    pub fn told(&self) -> &control::Proxy {
        &self.told
    }
}

impl Drop for HostProxy {
    fn drop(&mut self) {
        self.made.context.note();
    }
}

/// The file with whom programs have to trust that go through the proxy: whom this host trusts, and the proxy itself.
pub fn authorities(place: &Place) -> PathBuf {
    place.state.join("proxy").join("authorities.pem")
}

fn write_authorities(place: &Place, own: &str) -> Result<PathBuf, String> {
    let path = authorities(place);
    let in_words = |error: std::io::Error| format!("{}: {error}", path.display());
    place.make_private(path.parent().unwrap_or(&place.state)).map_err(|error| error.to_string())?;
    let hosts = AUTHORITY_FILES.iter().find_map(|file| std::fs::read_to_string(Path::new(file)).ok());
    let text = format!("{}\n{own}", hosts.unwrap_or_default().trim_end());
    // A program that begins just now reads all of it or the one before.
    let draft = path.with_extension("new");
    std::fs::write(&draft, text.trim_start())
        .and_then(|()| std::fs::rename(&draft, &path))
        .map_err(in_words)?;
    Ok(path)
}
