//! What the way out costs: latency added to a request and throughput lost by a long answer, against TLS without anything
//! between and against mitmproxy. What this machine lacks is skipped by name.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The long answer, in MiB.
const MEGABYTES: &str = "1024";
const REQUESTS: &str = "1000";
/// How long a peer may take to listen, in seconds.
const PEER_SECONDS_MAX: u64 = 30;

pub(super) fn measure() -> anyhow::Result<Value> {
    crate::succeed(crate::cargo().args([
        "build",
        "--quiet",
        "--release",
        "-p",
        "bailiwick-egress",
        "--example",
        "through",
    ]))?;
    let room = tempfile::tempdir()?;
    let mut arguments = vec![MEGABYTES.to_owned(), REQUESTS.to_owned()];
    let (mitmproxy, skipped) = match Mitmproxy::start(room.path()) {
        Ok(peer) => {
            arguments.push(format!("mitmproxy={},{}", peer.address, peer.authority));
            (Some(peer), Vec::new())
        }
        Err(why) => (None, vec![format!("mitmproxy: {why:#}")]),
    };
    let output = Command::new(crate::target().join("release/examples/through"))
        .args(&arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    drop(mitmproxy);
    if !output.status.success() {
        bail!("through: {}", output.status);
    }
    let said = String::from_utf8(output.stdout)?;
    let mut lines: Vec<&str> = said.lines().collect();
    let rows: Value = serde_json::from_str(lines.pop().context("it said nothing")?)?;
    lines.iter().for_each(|line| println!("  {line}"));
    skipped.iter().for_each(|skip| println!("  skipped {skip}"));
    Ok(json!({ "rows": rows, "skipped": skipped }))
}

/// A running mitmdump, which ends with this.
struct Mitmproxy {
    process: Child,
    address: String,
    authority: String,
}

impl Mitmproxy {
    fn start(room: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = room.join("mitmproxy");
        let mut command = Command::new("mitmdump");
        command.args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port", &port.to_string()]);
        for setting in
            ["ssl_insecure=true", "stream_large_bodies=1m", &format!("confdir={}", settings.display())]
        {
            command.args(["--set", setting]);
        }
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let authority = settings.join("mitmproxy-ca-cert.pem");
        let address = format!("127.0.0.1:{port}");
        let peer = Self { process, address, authority: authority.display().to_string() };
        let begun = Instant::now();
        while !authority.exists() || TcpStream::connect(&peer.address).is_err() {
            if begun.elapsed() > Duration::from_secs(PEER_SECONDS_MAX) {
                bail!("it did not listen within {PEER_SECONDS_MAX} s");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }
}

impl Drop for Mitmproxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
