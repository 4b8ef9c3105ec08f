//! The whole way: programs in a captured network namespace, with no proxy variable, reach what is granted by its name
//! and nothing else. This binary is run again as the setup child, which hands the sockets over.

use crate::upstream::saying;
use crate::world::{NAME, World};
use egress::{Sockets, Way};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sandbox::native::network;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const SCRIPT: &str = "EGRESS_TEST_SCRIPT";
const RESOLV_CONF: &str = "EGRESS_TEST_RESOLV_CONF";

/// The setup child of these tests: `unshare` runs this binary again, to run this. Does nothing otherwise.
#[test]
fn child() {
    let (Ok(script), Ok(resolv_conf)) = (std::env::var(SCRIPT), std::env::var(RESOLV_CONF)) else { return };
    rustix::mount::mount_bind(&resolv_conf, "/etc/resolv.conf").unwrap();
    let sockets = network::raise(true).unwrap().expect("capture was asked for");
    sockets.send(io::stdin().as_fd()).unwrap();
    drop(sockets);
    let mut command = Command::new("sh");
    panic!("{}", command.args(["-c", &script]).stdin(Stdio::null()).exec());
}

/// Enters the namespace's sockets into `world` and gives what the script printed, if namespaces can be made here.
async fn inside(world: &World, script: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf = folder.path().join("resolv.conf");
    std::fs::write(&resolv_conf, network::resolv_conf()).unwrap();
    std::fs::write(folder.path().join("ca.pem"), world.ca.certificate_pem()).unwrap();
    let (ours, theirs): (OwnedFd, OwnedFd) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    let mut command = Command::new("unshare");
    command.arg("-Urnm").arg(std::env::current_exe().unwrap());
    command.args(["--exact", "namespace::child", "--nocapture"]).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env(RESOLV_CONF, resolv_conf);
    command.env(SCRIPT, format!("cd {}; {script}", folder.path().display()));
    let mut child = command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    drop(command);
    let received =
        tokio::task::spawn_blocking(move || network::Sockets::receive(ours.as_fd())).await.unwrap();
    let Ok(network::Sockets { dns_udp, dns_tcp, capture, .. }) = received else {
        eprintln!("skipped: no namespaces here: {:?}", child.wait());
        return None;
    };
    let running = egress::serve(Sockets { dns_udp, dns_tcp, capture }, &world.exit).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    drop(running);
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test]
async fn programs_reach_what_is_granted_and_nothing_else() {
    let world = World::new(Way::Terminate).await;
    let port = world.upstream.port();
    let raw = saying(b"raw upstream\n").await.port();
    world.gate.grant(NAME, raw, Way::Raw);
    let script = format!(
        r#"
say() {{ label=$1; shift; echo "$label: $("$@" 2>&1 | tr '\n' ' ')"; }}
say https curl -sS -m 9 --cacert ca.pem https://{NAME}:{port}/seen
say raw python3 -c 'import socket as s; c = s.create_connection(("{NAME}", {raw}), 5); c.sendall(b"x"); print(c.recv(99))'
say tcp-dns env RES_OPTIONS=use-vc curl -sS -m 9 --cacert ca.pem https://{NAME}:{port}/seen
say trailing-dot curl -sS -m 9 --cacert ca.pem https://{NAME}.:{port}/seen
say other-name curl -sS -m 9 https://other.example/
say other-port curl -sS -m 9 https://{NAME}:9/
say sni curl -sS -m 9 --cacert ca.pem --connect-to other.example:{port}:{NAME}:{port} https://other.example:{port}/
say host curl -sS -m 9 --cacert ca.pem -H 'Host: other.example' https://{NAME}:{port}/
say plain curl -sS -m 9 http://{NAME}:{port}/
say direct curl -sS -m 9 http://198.18.200.1/
say own curl -sS -m 9 http://198.18.0.1/
say loopback curl -sS -m 9 http://127.0.0.1:{port}/
say proxied curl -sS -m 9 -x http://proxy.bailiwick:3128 --cacert ca.pem https://{NAME}:{port}/seen
say socks curl -sS -m 9 -x socks5h://proxy.bailiwick:1080 --cacert ca.pem https://{NAME}:{port}/seen
say proxied-denied curl -sSv -m 9 -x http://proxy.bailiwick:3128 https://other.example/
say reason curl -sS -m 9 -x http://proxy.bailiwick:3128 http://other.example/
"#
    );
    let Some(output) = inside(&world, &script).await else { return };
    for (label, expected) in [
        ("https", "GET https://upstream.example"),
        ("raw", "b'raw upstream"),
        ("tcp-dns", "/seen"),
        ("trailing-dot", "/seen"),
        ("other-name", "Could not resolve"),
        ("other-port", "reset"),
        ("sni", "unrecognized name"),
        ("host", "bailiwick: "),
        ("plain", "use https"),
        ("direct", "reset"),
        ("own", "reset"),
        ("loopback", "(7)"),
        ("proxied", "/seen"),
        ("socks", "/seen"),
        ("proxied-denied", "403"),
        ("reason", "bailiwick: other.example:80 is not granted"),
    ] {
        let line =
            output.lines().find_map(|line| line.strip_prefix(&format!("{label}: "))).unwrap_or_default();
        // How a reset is told differs between the versions of a client.
        let is_so = line.contains(expected)
            || (expected == "reset"
                && (line.contains("reset")
                    || line.contains("(7)")
                    || line.contains("(35)")
                    || line.contains("(56)")));
        assert!(is_so, "{label}: {line}\n{output}");
    }
    let refusals = world.gate.refusals();
    for why in [
        "no such name is granted",
        "dialled directly",
        "names other.example",
        "says other.example",
        "is not granted",
    ] {
        assert!(refusals.iter().any(|refusal| refusal.contains(why)), "{why}: {refusals:?}");
    }
}

#[tokio::test]
async fn an_address_whose_name_was_taken_away_leads_nowhere() {
    let world = World::new(Way::Raw).await;
    let port = world.upstream.port();
    let gate = world.gate.clone();
    // The program keeps the address; its grant is taken away between two connections.
    let script = format!(
        r#"python3 -c '
import socket as s, time
a = s.gethostbyname("{NAME}")
def dial():
    try:
        c = s.create_connection((a, {port}), 5); c.sendall(b"GET /head HTTP/1.0\r\nhost: x\r\n\r\n")
        return c.recv(12)
    except OSError as e: return type(e).__name__
print("before", dial(), flush=True)
while dial() == b"HTTP/1.0 200": time.sleep(0.01)
print("after", dial(), flush=True)'"#
    );
    let watched = tokio::spawn(async move {
        gate.ended(1).await;
        gate.routes.lock().unwrap().clear();
    });
    let Some(output) = inside(&world, &script).await else { return };
    watched.await.unwrap();
    assert!(output.contains("before b'HTTP/1.0 200'"), "{output}");
    assert!(output.contains("after ConnectionResetError") || output.contains("after b''"), "{output}");
    assert!(world.gate.refusals().iter().any(|refusal| refusal.contains("no longer granted")));
}
