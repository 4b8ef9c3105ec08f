//! Which places on the network a confined program can reach, and how connections to them are treated.
//! A place that is not named here does not exist inside; nothing here resolves or connects.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// `network` of a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Reachable {
    /// `"none"`: nothing but its own loopback.
    #[default]
    None,
    /// `"host"`: whatever the host reaches, its loopback services included.
    Host,
    /// These places by name, each request judged.
    Places(Vec<Place>),
}

/// The same as it is written: a word, or a list.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(Word),
    Places(Vec<Place>),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    None,
    Host,
}

impl From<Written> for Reachable {
    fn from(written: Written) -> Self {
        match written {
            Written::Word(Word::None) => Self::None,
            Written::Word(Word::Host) => Self::Host,
            Written::Places(places) => Self::Places(places),
        }
    }
}

impl From<Reachable> for Written {
    fn from(reachable: Reachable) -> Self {
        match reachable {
            Reachable::None => Self::Word(Word::None),
            Reachable::Host => Self::Word(Word::Host),
            Reachable::Places(places) => Self::Places(places),
        }
    }
}

/// One place, as an operator writes it: `api.example.com`, `https://api.example.com:8443`, `tcp://db.internal:5432`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// Its address in words alone.
    Text(String),
    /// With what has to be said about it.
    Table {
        /// The same words.
        to: String,
        /// Ranges that its name may resolve to although they are no public addresses.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        private: Vec<String>,
        /// The address to dial, instead of asking for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
}

/// How connections to a place are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `https`: TLS ends in the gate, each request is judged, credentials can be put in.
    Https,
    /// `tls`: TLS goes through unopened; for pinned certificates and client certificates. No credentials.
    Tls,
    /// `http`: each request is judged. No credentials.
    Http,
    /// `tcp`: any protocol; only the connection is judged. No credentials.
    Tcp,
}

/// A place, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The name; with `below`, of what its names end in.
    pub name: egress::Name,
    /// Any name below `name` is meant, and not `name` itself.
    pub below: bool,
    /// The port.
    pub port: u16,
    /// How it is treated.
    pub way: Way,
    /// Ranges its name may resolve to although they are not public.
    pub private: Vec<IpNet>,
    /// The address to dial.
    pub address: Option<IpAddr>,
}

impl Way {
    fn of(word: &str) -> Option<(Self, Option<u16>)> {
        Some(match word {
            "https" => (Self::Https, Some(443)),
            "tls" => (Self::Tls, Some(443)),
            "http" => (Self::Http, Some(80)),
            "tcp" => (Self::Tcp, None),
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.below { "*." } else { "" };
        write!(out, "{}://{below}{}:{}", self.way.word(), self.name, self.port)
    }
}

impl Place {
    /// What the words mean.
    ///
    /// # Errors
    /// Words that name no place, in words that say what to write.
    pub fn destination(&self) -> Result<Destination, String> {
        let (text, private, address) = match self {
            Self::Text(text) => (text, [].as_slice(), None),
            Self::Table { to, private, address } => (to, private.as_slice(), *address),
        };
        let wrong =
            |why: &str| format!("`{text}`: {why}; write `[https://|tls://|http://|tcp://]NAME[:PORT]`");
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let (way, standard) =
            Way::of(scheme).ok_or_else(|| wrong("the scheme is none of https, tls, http, tcp"))?;
        let (name, port) = match rest.split_once(':') {
            Some((name, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (name, port.ok_or_else(|| wrong("the port is no number from 1 to 65535"))?)
            }
            None => (rest, standard.ok_or_else(|| wrong("tcp needs a port"))?),
        };
        let (name, below) = name.strip_prefix("*.").map_or((name, false), |name| (name, true));
        let name = egress::Name::parse(name).map_err(|error| wrong(&error.to_string()))?;
        if below && !name.as_str().contains('.') {
            return Err(wrong("everything below a top-level name is no place"));
        }
        let private = private
            .iter()
            .map(|range| {
                let one = || range.parse::<IpAddr>().map(IpNet::from);
                range.parse::<IpNet>().or_else(|_| one()).map_err(|_| {
                    format!("`{text}`: `private`: `{range}` is no range of addresses such as 10.0.0.0/8")
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Destination { name, below, port, way, private, address })
    }
}

impl Destination {
    /// Whether connections to this name are meant.
    pub fn covers(&self, name: &str) -> bool {
        if self.below {
            name.strip_suffix(self.name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            name == self.name.as_str()
        }
    }
}

impl Reachable {
    /// The places, understood; empty for none and for the whole host.
    ///
    /// # Errors
    /// The first that cannot be understood.
    pub fn destinations(&self) -> Result<Vec<Destination>, String> {
        match self {
            Self::None | Self::Host => Ok(Vec::new()),
            Self::Places(places) => places.iter().map(Place::destination).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Destination, String> {
        Place::Text(text.to_owned()).destination()
    }

    #[test]
    fn places_have_one_meaning_or_none() {
        for (text, want) in [
            ("api.example.com", Some("https://api.example.com:443")),
            ("API.Example.com:8443", Some("https://api.example.com:8443")),
            ("https://api.example.com", Some("https://api.example.com:443")),
            ("http://mirror.example.com", Some("http://mirror.example.com:80")),
            ("tls://pinned.example.com", Some("tls://pinned.example.com:443")),
            ("tcp://db.internal:5432", Some("tcp://db.internal:5432")),
            ("*.example.com", Some("https://*.example.com:443")),
            ("tcp://db.internal", None),
            ("ftp://example.com", None),
            ("*.com", None),
            ("*", None),
            ("a.*.com", None),
            ("127.0.0.1", None),
            ("0x7f000001", None),
            ("https://example.com/path", None),
            ("example.com:0", None),
            ("example.com:70000", None),
            ("user@example.com", None),
            ("", None),
        ] {
            assert_eq!(read(text).ok().map(|it| it.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it_only() {
        let below = read("*.example.com").unwrap();
        for (name, covered) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            ("aexample.com", false),
            (".example.com", false),
            ("a.example.com.evil.org", false),
        ] {
            assert_eq!(below.covers(name), covered, "{name}");
        }
        assert!(read("example.com").unwrap().covers("example.com"));
        assert!(!read("example.com").unwrap().covers("a.example.com"));
    }

    #[test]
    fn the_setting_is_a_word_or_a_list() {
        #[derive(Deserialize, Serialize)]
        struct Sandbox {
            network: Reachable,
        }
        let read = |text: &str| toml::from_str::<Sandbox>(text).map(|it| it.network);
        assert_eq!(read("network = \"none\"").unwrap(), Reachable::None);
        assert_eq!(read("network = \"host\"").unwrap(), Reachable::Host);
        assert!(read("network = \"all\"").is_err());
        let places =
            read("network = [\"a.example\", { to = \"tcp://b.example:1\", private = [\"10.0.0.0/8\"] }]");
        assert_eq!(places.unwrap().destinations().unwrap().len(), 2);
        for reachable in
            [Reachable::None, Reachable::Host, Reachable::Places(vec![Place::Text("a.b".into())])]
        {
            let text = toml::to_string(&Sandbox { network: reachable.clone() }).unwrap();
            assert_eq!(read(&text).unwrap(), reachable, "{text}");
        }
    }
}
