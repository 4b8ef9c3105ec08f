//! Real clients run in real namespaces against the two smallest gates there can be: one that grants nothing and one that
//! grants one name. Nothing leaves this machine: every address that is not loopback is dialled to see that it fails.

#![allow(clippy::unwrap_used, reason = "the test fails where the machine does")]

#[path = "network_namespace/gate.rs"]
mod gate;
#[path = "network_namespace/inside.rs"]
mod inside;

use gate::{GRANTED, Gate, fetch};
use inside::{Inside, channel, has, skip, users};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType};
use sandbox::native::network::{Mechanism, Sockets};
use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

#[test]
fn real_programs_reach_the_granted_name_and_no_other() {
    let programs = [
        ("curl", "curl -sS -m 5 http://NAME/"),
        ("curl", "curl -sS -m 5 http://NAME:8080/"),
        ("getent", "getent ahostsv4 NAME | sed -n 's/ *STREAM.*/ granted/p'"),
        ("getent", "RES_OPTIONS=use-vc getent ahostsv4 NAME | sed -n 's/ *STREAM.*/ granted/p'"),
        (
            "python3",
            "python3 -c 'from urllib.request import *; print(urlopen(\"http://NAME:9\").read().decode())'",
        ),
        ("node", "node -e 'fetch(\"http://NAME:3000\").then(r => r.text()).then(console.log)'"),
    ];
    for user in users() {
        for (program, line) in programs {
            if !has(program) {
                skip(program, "is not installed");
                continue;
            }
            for (name, reaches) in [(GRANTED, true), ("other.example", false)] {
                let gate = Gate::granting_one();
                let script = format!("({}) 2>/dev/null; true", line.replace("NAME", name));
                let output = Inside::new(user, &script).run(&gate);
                let reached = output.contains("upstream") || output.contains("198.18.0.7 granted");
                assert_eq!(reached, reaches, "{user:?}: {script}: {output}");
            }
        }
    }
}

#[test]
fn everything_else_fails_at_once() {
    let upstream = Gate::granting_one().upstream.expect("there is one");
    assert_eq!(fetch(upstream), "upstream", "the host's loopback service is there, for the host");
    let port = upstream.port();
    let script = format!(
        r#"
probe("granted", lambda: dial("{GRANTED}", 80))
probe("granted-address", lambda: dial("198.18.0.7", 22))
probe("granted-mapped", lambda: dial("::ffff:198.18.0.7", 443, s.AF_INET6))
probe("other-name", lambda: dial("other.example", 80))
probe("unknown-fake", lambda: dial("198.19.200.1", 443))
probe("last-fake", lambda: dial("198.19.255.254", 65535))
probe("name-server-port", lambda: dial("198.18.0.1", 853))
probe("capture-port", lambda: dial("127.0.0.1", 1))
probe("host-loopback", lambda: dial("127.0.0.1", {port}))
probe("private", lambda: dial("10.0.0.1", 80))
probe("metadata", lambda: dial("169.254.169.254", 80))
probe("public", lambda: dial("1.1.1.1", 443))
probe("beside-range", lambda: dial("198.20.0.1", 443))
probe("public-v6", lambda: dial("2606:4700:4700::1111", 443, s.AF_INET6))
probe("nat64", lambda: dial("64:ff9b::101:101", 443, s.AF_INET6))
probe("public-dns", lambda: datagram("1.1.1.1", 53))
probe("public-dns-v6", lambda: datagram("2606:4700:4700::1111", 53, s.AF_INET6))
probe("quic", lambda: datagram("198.18.0.7", 443))
probe("multicast", lambda: datagram("224.0.0.251", 5353))
"#
    );
    let expected = "granted upstream|granted-address upstream|granted-mapped upstream|other-name no-name|\
        unknown-fake closed|last-fake closed|name-server-port closed|capture-port closed|\
        host-loopback ECONNREFUSED|private ENETUNREACH|metadata ENETUNREACH|public ENETUNREACH|\
        beside-range ENETUNREACH|public-v6 ENETUNREACH|nat64 ENETUNREACH|public-dns ENETUNREACH|\
        public-dns-v6 ENETUNREACH|quic ECONNREFUSED|multicast ENETUNREACH";
    for user in users() {
        let gate = Gate::granting_one();
        let output = Inside::python(user, &script).run(&gate);
        assert_eq!(output.replace('\n', "|"), expected, "{user:?}");
        let seen = gate.seen();
        for (address, port) in
            [("198.18.0.7", 22), ("198.19.255.254", 65535), ("198.18.0.1", 853), ("127.0.0.1", 1)]
        {
            let destination = SocketAddrV4::new(address.parse().unwrap(), port);
            assert!(seen.contains(&destination), "{user:?}: {destination} is not among {seen:?}");
        }
    }
}

#[test]
fn packets_of_its_own_making_have_nowhere_to_go() {
    let script = r#"
raw = lambda: s.socket(s.AF_INET, s.SOCK_RAW, s.IPPROTO_ICMP)
ping = lambda address: raw().sendto(b"\x08\0\xf7\xff\0\0\0\0", (address, 0))
probe("raw", lambda: raw() and "opened")
probe("packet", lambda: s.socket(s.AF_PACKET, s.SOCK_RAW, 0) and "opened")
probe("ping-itself", lambda: ping("127.0.0.1"))
probe("ping", lambda: ping("1.1.1.1"))
"#;
    for user in users() {
        for (inside, expected) in [
            (Inside::python(user, script), "raw EPERM|packet EPERM|ping-itself EPERM|ping EPERM"),
            // With the capability that it never has, the namespace alone still leads nowhere.
            (
                Inside::python(user, script).keeping("net_raw"),
                "raw opened|packet opened|ping-itself 8|ping ENETUNREACH",
            ),
        ] {
            assert_eq!(inside.run(&Gate::granting_one()).replace('\n', "|"), expected, "{user:?}");
        }
    }
}

#[test]
fn a_gate_that_grants_nothing_is_a_closed_door() {
    let script = format!(
        "probe('name', lambda: dial('{GRANTED}', 80))\nprobe('address', lambda: dial('198.18.0.7', 80))\n\
         probe('url', lambda: urllib.request.urlopen('http://198.18.0.7:8080/', timeout=2).status)"
    );
    for user in users() {
        let gate = Gate::granting_nothing();
        let output = Inside::python(user, &script).run(&gate);
        let [name, address, url] = *output.lines().collect::<Vec<_>>() else { panic!("{user:?}: {output}") };
        assert_eq!((name, address), ("name no-name", "address closed"), "{user:?}");
        assert!(!url.contains("200") && !url.contains("HANGS"), "{user:?}: {url}");
        assert!(gate.questions().contains(&GRANTED.to_string()), "the question came to the gate");
    }
}

#[test]
fn loopback_servers_of_its_own_work_without_the_gate() {
    let script = r#"
serve("127.0.0.1", 8080); serve("::1", 8080, s.AF_INET6); serve("0.0.0.0", 8081)
probe("v4", lambda: dial("127.0.0.1", 8080))
probe("v6", lambda: dial("::1", 8080, s.AF_INET6))
probe("any", lambda: dial("127.9.9.9", 8081))
probe("localhost", lambda: dial("localhost", 8080))
probe("nobody", lambda: dial("127.0.0.1", 8082))
os.killpg(0, 9)
"#;
    for user in users() {
        let gate = Gate::granting_nothing();
        let output = Inside::python(user, script).run(&gate);
        let expected = "v4 payload|v6 payload|any payload|localhost payload|nobody ECONNREFUSED";
        assert_eq!(output.replace('\n', "|"), expected, "{user:?}");
        assert_eq!(gate.seen(), [], "{user:?}");
    }
}

#[test]
fn a_program_cannot_take_what_was_meant_for_the_gate() {
    let script = r#"
serve("198.18.0.7", 443); serve("0.0.0.0", 444); serve("::", 445, s.AF_INET6); serve("198.18.0.7", 8443)
probe("own", lambda: dial("127.0.0.1", 444))
for port in (443, 444, 445, 8443): probe(port, lambda: dial("198.18.0.7", port))
for kind in (s.SOCK_STREAM, s.SOCK_DGRAM):
    for address in ("198.18.0.1", "0.0.0.0"): probe("dns", lambda: bind(address, 53, kind) and "taken")
for address in ("127.0.0.1", "0.0.0.0"): probe("capture", lambda: bind(address, 1) and "taken")
probe("free", lambda: bind("0.0.0.0", 2) and "taken")
os.killpg(0, 9)
"#;
    let expected = "own payload|443 upstream|444 upstream|445 upstream|8443 upstream|dns EADDRINUSE|dns EADDRINUSE|\
        dns EADDRINUSE|dns EADDRINUSE|capture EADDRINUSE|capture EADDRINUSE|free taken";
    for user in users() {
        // With the one capability that binding these ports takes; it has none when it is run in earnest.
        let inside = Inside::python(user, script).keeping("net_bind_service");
        assert_eq!(inside.run(&Gate::granting_one()).replace('\n', "|"), expected, "{user:?}");
        let inside = Inside::python(user, "probe('bind', lambda: bind('198.18.0.7', 443))");
        assert_eq!(inside.run(&Gate::granting_one()), "bind EACCES", "{user:?}");
    }
}

#[test]
fn without_rules_the_usual_ports_are_listened_on() {
    let script = r#"
serve("198.18.0.7", 8080)
for port in (22, 80, 443): probe(port, lambda: dial("granted.example", port))
probe("taken", lambda: dial("granted.example", 8080))
probe("other-port", lambda: dial("granted.example", 8081))
probe("other-name", lambda: dial("other.example", 80))
probe("unknown", lambda: dial("198.19.3.4", 443))
probe("public", lambda: dial("1.1.1.1", 443))
probe("bind", lambda: bind("198.18.0.7", 443))
os.killpg(0, 9)
"#;
    let expected = "22 upstream|80 upstream|443 upstream|taken payload|other-port ECONNREFUSED|other-name no-name|\
        unknown closed|public ENETUNREACH|bind EADDRINUSE";
    for user in users() {
        let gate = Gate::granting_one();
        let inside = Inside::python(user, script).keeping("net_bind_service").lacking_rules();
        assert_eq!(inside.run(&gate).replace('\n', "|"), expected, "{user:?}");
        let refused = Errno::PROTONOSUPPORT.raw_os_error();
        assert_eq!(gate.mechanism(), Some(Mechanism::Ports { refused }), "{user:?}");
        assert!(gate.seen().contains(&SocketAddrV4::new(Ipv4Addr::new(198, 19, 3, 4), 443)), "{user:?}");
    }
}

#[test]
fn what_would_leave_by_another_interface_is_dropped() {
    let script = r#"ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up &&
        ip addr add 10.9.0.1/24 dev v0 && ip addr add 2001:db8::1/64 dev v0 nodad && echo interface && python3 -c '
import socket as s
for family, address in ((s.AF_INET, "10.9.0.2"), (s.AF_INET6, "2001:db8::2")):
    try: print("sent", s.socket(family, s.SOCK_DGRAM).sendto(b"?", (address, 9)))
    except PermissionError: print("dropped")'"#;
    for user in users() {
        for (lacks_rules, expected) in
            [(false, "interface|dropped|dropped"), (true, "interface|sent 1|sent 1")]
        {
            let inside = Inside::new(user, script).keeping("all");
            let inside = if lacks_rules { inside.lacking_rules() } else { inside };
            let output = inside.run(&Gate::granting_one());
            if !output.contains("interface") {
                skip("contain", "no veth interfaces here");
                continue;
            }
            assert_eq!(output.replace('\n', "|"), expected, "{user:?}");
        }
    }
}

#[test]
fn a_handover_is_taken_only_whole_and_genuine() {
    let Some(user) = users().next() else { return };
    let gate = Gate::granting_one();
    let sockets = Inside::new(user, "true").run_and_keep(&gate).1;
    let Sockets { dns_udp, dns_tcp, capture, .. } = &sockets;
    let [udp, tcp, capture] = [dns_udp.as_fd(), dns_tcp.as_fd(), capture[0].as_fd()];
    let (null, elsewhere) = (File::open("/dev/null").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (null, elsewhere) = (null.as_fd(), elsewhere.as_fd());
    let good: &[u8] = b"bwn\x01\0\x03\0\0\0\0\0\0";
    let table: [(&str, &[u8], &[BorrowedFd<'_>], bool); 13] = [
        ("genuine", good, &[udp, tcp, capture], true),
        ("empty", b"", &[], false),
        ("another kind", b"bwm\x01\0\x03\0\0\0\0\0\0", &[udp, tcp, capture], false),
        ("another version", b"bwn\x02\0\x03\0\0\0\0\0\0", &[udp, tcp, capture], false),
        ("unknown mechanism", b"bwn\x01\x02\x03\0\0\0\0\0\0", &[udp, tcp, capture], false),
        ("longer", b"bwn\x01\0\x03\0\0\0\0\0\0\0", &[udp, tcp, capture], false),
        ("shorter", b"bwn\x01\0\x03\0\0\0\0\0", &[udp, tcp, capture], false),
        ("one too few", good, &[udp, tcp], false),
        ("one too many", good, &[udp, tcp, capture, capture], false),
        ("more than there is room for", good, &[udp, tcp, capture, capture, capture, capture], false),
        ("out of order", good, &[tcp, udp, capture], false),
        ("not a socket", good, &[udp, tcp, null], false),
        ("a listener elsewhere", good, &[udp, tcp, elsewhere], false),
    ];
    for (name, header, descriptors, is_taken) in table {
        let (ours, theirs) = channel(SocketType::SEQPACKET);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        rustix::net::sendmsg(&theirs, &[IoSlice::new(header)], &mut ancillary, SendFlags::empty()).unwrap();
        drop(theirs);
        assert_eq!(Sockets::receive(ours.as_fd()).is_ok(), is_taken, "{name}");
    }
    let (ours, theirs) = channel(SocketType::STREAM);
    sockets.send(theirs.as_fd()).unwrap();
    assert!(Sockets::receive(ours.as_fd()).is_ok(), "over a stream");
    rustix::io::ioctl_fionbio(udp, false).unwrap();
    sockets.send(theirs.as_fd()).unwrap();
    assert!(Sockets::receive(ours.as_fd()).is_err(), "one that would block its reader");
}

/// The setup child of these tests: `unshare` runs this binary again, to run this. Does nothing otherwise.
#[test]
fn child() {
    inside::run_as_child();
}
