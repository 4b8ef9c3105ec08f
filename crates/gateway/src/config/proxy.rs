//! `[proxy]`: the way out for programs of this host that are in no sandbox of the gate's, such as those of a client that
//! confines its commands by itself. It listens on loopback only, and nothing here does.

use super::Confinement;
use super::reach::Reachable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// `[proxy]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// The address and port; a loopback address. Port 0 picks one.
    #[serde(default = "listen")]
    pub listen: String,
    /// Whom it serves.
    #[serde(default, skip_serializing_if = "is_token")]
    pub clients: Clients,
    /// The places that can be reached through it.
    pub network: Reachable,
    /// Requests to those places, in one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Everything sent to and received from them, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_mib: Option<u64>,
    /// Secrets that are put in although no variable names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// More variables of `bailiwick proxy`. `${secret:NAME}` stands for a secret: what is given out is a placeholder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// Whom the proxy serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clients {
    /// Who shows the token.
    #[default]
    Token,
    /// Those, and processes of this user that are in no sandbox: for clients that can be told a port and no token.
    User,
}

impl Clients {
    /// The word it is written with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::User => "user",
        }
    }
}

fn listen() -> String {
    "127.0.0.1:8651".to_owned()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_token(clients: &Clients) -> bool {
    *clients == Clients::Token
}

impl Proxy {
    /// Where it listens.
    ///
    /// # Errors
    /// What is no loopback address and port, and a network that is no list of places; in words.
    pub fn address(&self) -> Result<SocketAddr, String> {
        let address: SocketAddr = self.listen.parse().map_err(|_| {
            format!("`listen`: `{}` is no address and port; write e.g. 127.0.0.1:8651", self.listen)
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "`listen`: `{}` can be reached from other machines; use 127.0.0.1",
                self.listen
            ));
        }
        if self.network == Reachable::Host {
            return Err("`network`: what goes through a proxy has a name; list the places".to_owned());
        }
        self.network.destinations().map_err(|why| format!("`network`: {why}"))?;
        Ok(address)
    }

    /// The port that a client can be told once and for all, where there is one and it needs no token.
    pub fn port_for_clients(&self) -> Option<u16> {
        let port = self.address().ok()?.port();
        (self.clients == Clients::User && port != 0).then_some(port)
    }

    /// The same as it is said of a sandbox.
    pub fn settings(&self) -> Confinement {
        Confinement {
            network: self.network.clone(),
            requests_per_minute: self.requests_per_minute,
            network_mib: self.network_mib,
            secrets: self.secrets.clone(),
            env: self.env.clone(),
            ..Confinement::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_for_places_or_not_at_all() {
        for (text, says) in [
            ("network = []", Ok("127.0.0.1:8651")),
            ("network = [\"a.example\"]\nlisten = \"127.0.0.2:0\"\nclients = \"user\"", Ok("127.0.0.2:0")),
            ("network = [\"a.example\"]\nlisten = \"[::1]:3128\"", Ok("[::1]:3128")),
            ("network = [\"a.example\"]\nlisten = \"0.0.0.0:3128\"", Err("other machines")),
            ("network = [\"a.example\"]\nlisten = \"192.0.2.1:3128\"", Err("other machines")),
            ("network = [\"a.example\"]\nlisten = \"[::]:3128\"", Err("other machines")),
            ("network = [\"a.example\"]\nlisten = \"localhost:3128\"", Err("is no address")),
            ("network = [\"127.0.0.1\"]", Err("`network`")),
            ("network = \"host\"", Err("list the places")),
            ("listen = \"127.0.0.1:1\"", Err("missing field `network`")),
            ("network = []\nclients = \"anybody\"", Err("unknown variant")),
            ("network = []\ntoken = \"x\"", Err("unknown field")),
        ] {
            let read = toml::from_str::<Proxy>(text).map_err(|error| error.to_string());
            match (read.and_then(|proxy| proxy.address()), says) {
                (Ok(address), Ok(want)) => assert_eq!(address.to_string(), want, "{text}"),
                (Err(why), Err(want)) => assert!(why.contains(want), "{text}: {why}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
        let port = |text: &str| toml::from_str::<Proxy>(text).unwrap().port_for_clients();
        assert_eq!(port("network = []\nclients = \"user\""), Some(8651));
        assert_eq!(port("network = []"), None, "a client would have to show the token");
        assert_eq!(port("network = []\nclients = \"user\"\nlisten = \"127.0.0.1:0\""), None, "it changes");
    }
}
