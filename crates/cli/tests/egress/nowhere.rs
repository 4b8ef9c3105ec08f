//! Nothing reaches anything that was not named: everything is tried inside that reaches something outside, and whether it
//! arrived is asked of the other end. What can be tried outside without harm is tried there too, so that a no means something.

use crate::common::finish;
use crate::ground::{CANARY, Ground, PYTHON};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TRIES: &str = include_str!("nowhere.py");
/// Tries that arrive somewhere when they are made outside.
const ARRIVE_OUTSIDE: [&str; 11] = [
    "tcp 127.0.0.1",
    "tcp 127.1",
    "tcp 0x7f000001",
    "tcp 2130706433",
    "tcp 0177.0.0.1",
    "tcp 0",
    "tcp ::1",
    "tcp ::ffff:127.0.0.1",
    "tcp localhost",
    "udp 127.0.0.1",
    "unix abstract",
];

/// Services of this host that nobody inside may find: at one port of every address, over TCP and UDP, and at a name of no
/// file system.
struct Neighbour {
    port: u16,
    name: String,
    own: IpAddr,
    knocks: Arc<AtomicUsize>,
}

impl Neighbour {
    fn open() -> Self {
        let knocks = Arc::new(AtomicUsize::new(0));
        let (listener, udp) = loop {
            let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
            let here = listener.local_addr().unwrap();
            if let Ok(udp) = UdpSocket::bind(here) {
                break (listener, udp);
            }
        };
        let port = listener.local_addr().unwrap().port();
        let name = format!("bailiwick-test-{}-{port}", std::process::id());
        let unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let count = knocks.clone();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                count.fetch_add(1, Ordering::Relaxed);
                drop(stream.write_all(b"heard\n"));
            }
        });
        let count = knocks.clone();
        std::thread::spawn(move || {
            while let Ok((_, from)) = udp.recv_from(&mut [0; 100]) {
                count.fetch_add(1, Ordering::Relaxed);
                drop(udp.send_to(b"heard\n", from));
            }
        });
        let count = knocks.clone();
        std::thread::spawn(move || {
            while unix.accept().is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Nothing is sent by this: it asks which address would be used.
        let own = UdpSocket::bind("0.0.0.0:0").and_then(|it| {
            it.connect("198.51.100.1:9")?;
            Ok(it.local_addr()?.ip())
        });
        Self { port, name, own: own.unwrap_or(Ipv4Addr::LOCALHOST.into()), knocks }
    }

    fn knocks(&self) -> usize {
        self.knocks.load(Ordering::Relaxed)
    }

    fn variables(&self) -> [(&'static str, String); 3] {
        [("NEAR", self.port.to_string()), ("OWN", self.own.to_string()), ("ABSTRACT", self.name.clone())]
    }
}

/// What became of each try.
fn said(out: &str) -> BTreeMap<String, String> {
    let lines = out.lines().filter(|line| line.starts_with('['));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Every try behind the wall with these options.
fn inside(ground: &Ground, near: &Neighbour, options: &[String]) -> BTreeMap<String, String> {
    std::fs::write(ground.project().join("nowhere.py"), TRIES).unwrap();
    let variables = near.variables().map(|(name, value)| ["--env".to_owned(), format!("{name}={value}")]);
    let shown = PYTHON.folders.iter().flat_map(|it| ["--read".to_owned(), it.display().to_string()]);
    let options: Vec<String> =
        options.iter().cloned().chain(variables.into_iter().flatten()).chain(shown).collect();
    let ran = finish(&mut ground.sandbox(&options, &[&PYTHON.program, "nowhere.py"]), b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    said(&ran.out)
}

#[test]
fn nothing_reaches_what_was_not_named() {
    let (ground, near) = (Ground::new(), Neighbour::open());
    let mut outside = Command::new(&PYTHON.program);
    outside.args(["-c", TRIES]).args(ARRIVE_OUTSIDE).envs(near.variables()).env("PORT", "1");
    let outside = finish(&mut outside, b"");
    let arrived = said(&outside.out).values().filter(|how| how.starts_with("reached")).count();
    assert_eq!(arrived, ARRIVE_OUTSIDE.len(), "the tries themselves work: {outside:?}");
    let knocks = near.knocks();
    assert!(knocks >= arrived);

    let reached = ground.inside(&ground.api(), "curl -sS https://api.example.test:$PORT/first");
    assert!(ground.upstream.heard("/first"), "what is named is reached: {reached:?}");
    let before = ground.upstream.knocks();
    let said = inside(&ground, &near, &ground.api());
    let wrong: Vec<_> = said.iter().filter(|(_, how)| !how.starts_with("no: ")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(said.len() > 140, "{} tries", said.len());
    assert_eq!(near.knocks(), knocks, "somebody inside reached a service of the host");
    assert_eq!(ground.upstream.knocks(), before, "something arrived");
    let alerts = ground.alerts().join("\n");
    for words in [
        "other.example.test: no such name is granted",
        "c2vjcmv0.attacker.test: no such name is granted",
        "198.18.77.7:80 was dialled directly",
        &format!("api.example.test:{} is not granted", near.port),
        "localhost:",
        "addresses are never dialled directly",
        "the only SOCKS command is CONNECT",
    ] {
        assert!(alerts.contains(words), "nobody was told that `{words}`: {alerts}");
    }
    for name in ["connect 127.0.0.1", "connect other.example.test", "absolute localhost", "absolute https"] {
        assert!(said[name].contains("bailiwick: "), "{name} is refused in words: {}", said[name]);
    }
}

#[test]
fn an_empty_list_of_places_is_none() {
    let (ground, near) = (Ground::new(), Neighbour::open());
    std::fs::write(ground.path("none.toml"), "workspace = \"read-write\"\nnetwork = []\n").unwrap();
    let listed = ["--profile".to_owned(), ground.path("none.toml").display().to_string()];
    for options in [&listed[..], &["--network".to_owned(), "none".to_owned()], &[]] {
        let said = inside(&ground, &near, options);
        let wrong: Vec<_> = said.iter().filter(|(_, how)| !how.starts_with("no: ")).collect();
        assert!(wrong.is_empty(), "{options:?}: {wrong:#?}");
    }
    assert_eq!(near.knocks() + ground.upstream.knocks(), 0, "something arrived");
}

/// A name whose addresses are in a file that stands in for the system's, so that it changes from one moment to the next.
#[test]
fn a_name_that_is_bound_to_another_address_is_not_followed() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can have a list of hosts of its own");
        return;
    }
    let ground = Ground::new();
    let port = ground.upstream.port;
    let hosts = ground.path("hosts");
    let options = |private: &[&str]| {
        let ranges = private.iter().flat_map(|range| ["--private".to_owned(), (*range).to_owned()]);
        let place = ["--allow".to_owned(), format!("api.example.test:{port}")];
        let token = ["--env".to_owned(), "TOKEN=${secret:github}".to_owned()];
        place.into_iter().chain(token).chain(ranges).collect::<Vec<_>>()
    };
    let ask = |address: &str, private: &[&str]| {
        std::fs::write(&hosts, format!("{address} api.example.test\n")).unwrap();
        let script =
            "curl -sS -m 20 -H \"Authorization: Bearer $TOKEN\" https://api.example.test:$PORT/repos/one";
        let sandbox = ground.sandbox(&options(private), &["sh", "-c", script]);
        let mut apart = Command::new("unshare");
        apart.args(["-m", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(&hosts);
        apart.arg(sandbox.get_program()).args(sandbox.get_args()).current_dir(ground.project()).env_clear();
        apart.envs(sandbox.get_envs().filter_map(|(name, value)| Some((name, value?))));
        finish(&mut apart, b"")
    };
    let right = ask("127.0.0.1", &["127.0.0.1/32"]);
    assert!(right.out.contains("reached"), "{right:?}");
    let before = ground.upstream.knocks();
    let forbidden = [
        ("127.0.0.1", "an address of this host"),
        ("127.0.0.2", "a loopback address"),
        ("0.0.0.0", "an unspecified address"),
        ("10.0.0.1", "a private address"),
        ("169.254.169.254", "a link-local or metadata address"),
        ("100.64.0.1", "address"),
        ("::1", "address"),
        ("::ffff:127.0.0.1", "an address of this host"),
        ("64:ff9b::7f00:1", "address"),
        ("fd00:ec2::254", "address"),
        ("fe80::1", "address"),
    ];
    for (address, what) in forbidden {
        let ran = ask(address, &["127.0.0.9/32", "10.9.0.0/16"]);
        assert!(ran.out.contains("bailiwick: api.example.test resolves to"), "{address}: {ran:?}");
        assert!(ran.out.contains(what), "{address} is called {what}: {ran:?}");
    }
    let alerts = ground.alerts().join("\n");
    for (address, _) in forbidden {
        let told = format!("api.example.test resolves to {address}, ");
        assert!(alerts.contains(&told), "nobody was told of {address}: {alerts}");
    }
    assert_eq!(ground.upstream.knocks(), before, "something arrived");
    let received = ground.upstream.received();
    assert_eq!(
        received.iter().filter(|one| one.holds(CANARY)).count(),
        1,
        "only the right one: {received:?}"
    );
}
