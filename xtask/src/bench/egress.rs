//! What the way out costs: latency added to a request and throughput lost by a long answer, against TLS without anything
//! between, the gate as a whole, mitmproxy and sandbox-runtime's proxy. What this machine lacks is skipped by name.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The long answer, in MiB.
const MEGABYTES: &str = "1024";
const REQUESTS: &str = "1000";
/// How long a peer may take to listen, in seconds.
const PEER_SECONDS_MAX: u64 = 30;
const SRT: &str = include_str!("egress/srt.mjs");

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
    let gate = crate::target().join("release/bailiwick");
    let mut arguments = vec![MEGABYTES.to_owned(), REQUESTS.to_owned(), format!("whole={}", gate.display())];
    let (mut peers, mut skipped) = (Vec::new(), Vec::new());
    for (name, started) in [("mitmproxy", mitmproxy(room.path())), ("sandbox-runtime", srt(room.path()))] {
        match started {
            Ok((process, said)) => {
                arguments.extend(said);
                peers.push(process);
            }
            Err(why) => skipped.push(format!("{name}: {why:#}")),
        }
    }
    let output = Command::new(crate::target().join("release/examples/through"))
        .args(&arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    drop(peers);
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

/// A running peer, which ends with this.
struct Peer(Child);

/// A peer, and how it is named to the measurement.
type Started = anyhow::Result<(Peer, Vec<String>)>;

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mitmproxy(room: &Path) -> Started {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let settings = room.join("mitmproxy");
    let program = std::env::var_os("MITMDUMP").unwrap_or_else(|| "mitmdump".into());
    let mut command = Command::new(program);
    command.args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port", &port.to_string()]);
    for setting in ["ssl_insecure=true", "stream_large_bodies=1m", &format!("confdir={}", settings.display())]
    {
        command.args(["--set", setting]);
    }
    let process = Peer(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let authority = settings.join("mitmproxy-ca-cert.pem");
    let address = format!("127.0.0.1:{port}");
    let begun = Instant::now();
    while !authority.exists() || TcpStream::connect(&address).is_err() {
        if begun.elapsed() > Duration::from_secs(PEER_SECONDS_MAX) {
            bail!("it did not listen within {PEER_SECONDS_MAX} s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = format!("mitmproxy={address},{},{}", authority.display(), process.0.id());
    Ok((process, vec![said]))
}

fn srt(room: &Path) -> Started {
    let package = std::env::var_os("SANDBOX_RUNTIME").map(PathBuf::from);
    let package = package.context("SANDBOX_RUNTIME names no installed package; see .ci/peers.sh")?;
    let script = room.join("srt.mjs");
    std::fs::write(&script, SRT)?;
    let mut command = Command::new("node");
    command.arg(&script).arg(&package).arg(room).env("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    let mut process =
        Peer(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().context("a pipe")?).read_line(&mut line)?;
    let [ended, unopened] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        bail!("it did not start");
    };
    let id = process.0.id();
    let said = vec![
        format!("srt, not opened=127.0.0.1:{unopened},-,{id}"),
        format!("srt, ended=127.0.0.1:{ended},{},{id}", room.join("srt.pem").display()),
    ];
    Ok((process, said))
}
