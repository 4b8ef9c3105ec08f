//! The processes a benchmark needs, each in a folder of its own and ended with it: a gate, a fixture, a peer.
//! The gate is the release binary beside this program, with its journal on a real disk.

use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to be ready, in seconds.
const READY_SECONDS_MAX: u64 = 60;

/// A process that ends with its owner.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Resident memory, in KiB.
    pub(super) fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts `command` and waits for its first line.
pub(super) fn start(command: &mut Command) -> anyhow::Result<(Process, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    let out = child.stdout.take().context("a pipe")?;
    let process = Process(child);
    let mut reader = BufReader::new(out);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        bail!("{command:?} ended before it was ready");
    }
    // Whatever it prints later must not block it.
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    Ok((process, line.trim().to_owned()))
}

/// This program, which is also the fixture and the pipe.
pub(super) fn this() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?)
}

/// The gate's binary, built beside this program.
pub(super) fn binary() -> anyhow::Result<PathBuf> {
    let path = this()?.with_file_name("bailiwick");
    anyhow::ensure!(path.exists(), "{} is missing; build it first", path.display());
    Ok(path)
}

/// A folder on the disk that cargo builds on; temporary folders may be in memory.
pub(super) fn folder() -> anyhow::Result<tempfile::TempDir> {
    let disk = crate::target().join("bench");
    std::fs::create_dir_all(&disk)?;
    Ok(tempfile::tempdir_in(disk)?)
}

/// A gate that serves.
pub(super) struct Gate {
    pub(super) process: Process,
    pub(super) url: String,
    pub(super) token: String,
    folder: tempfile::TempDir,
}

impl Gate {
    /// A gate before these servers, under this policy alone.
    pub(super) fn open(servers: &[(&str, &str)], policy: &str) -> anyhow::Result<Self> {
        let folder = folder()?;
        let project = folder.path().join("project");
        std::fs::create_dir(&project)?;
        let mut init = Command::new(binary()?);
        init.current_dir(&project).args(["init", "--yes"]).stdout(Stdio::null()).stdin(Stdio::null());
        for (name, target) in servers {
            init.arg("--server").arg(format!("{name}={target}"));
        }
        crate::succeed(&mut init)?;
        let policies = project.join(".bailiwick/policy");
        for entry in std::fs::read_dir(&policies)? {
            std::fs::remove_file(entry?.path())?;
        }
        for entry in std::fs::read_dir(project.join(".bailiwick/cases"))? {
            std::fs::remove_file(entry?.path())?;
        }
        std::fs::write(policies.join("00-bench.cedar"), policy)?;
        let mut serve = Command::new(binary()?);
        placed(&mut serve, folder.path()).args(["serve", "--json", "--listen", "127.0.0.1:0"]);
        let (process, ready) = start(&mut serve)?;
        let ready: Value = serde_json::from_str(&ready)?;
        let text = |name: &str| {
            ready[name].as_str().map(str::to_owned).with_context(|| format!("no `{name}` in {ready}"))
        };
        let token = std::fs::read_to_string(text("token_file")?)?.trim().to_owned();
        Ok(Self { process, url: text("url")?, token, folder })
    }

    /// A command of the binary, pointed at this gate.
    pub(super) fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(binary()?);
        placed(&mut command, self.folder.path());
        Ok(command)
    }

    pub(super) fn project(&self) -> PathBuf {
        self.folder.path().join("project")
    }
}

fn placed<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let project = folder.join("project");
    command
        .env("BAILIWICK_DIR", project.join(".bailiwick"))
        .env("BAILIWICK_STATE", folder.join("state"))
        .current_dir(project)
}

/// ctrlrun, a gateway that also decides, approves and keeps receipts, where `PEERS_BENCH=1 .ci/peers.sh` put it.
pub(super) struct Ctrlrun {
    pub(super) process: Process,
    pub(super) url: String,
    _folder: tempfile::TempDir,
}

impl Ctrlrun {
    /// `None` where it is not installed.
    pub(super) fn open(upstream: &str) -> anyhow::Result<Option<Self>> {
        let Some(program) = peer("CTRLRUN") else { return Ok(None) };
        let folder = folder()?;
        crate::succeed(Command::new(&program).arg("init").current_dir(folder.path()).stdout(Stdio::null()))?;
        let policy = "schema: ctrlrun.policy/v2\nactions:\n  mcp.b.echo:\n    decision: allow\n";
        std::fs::write(folder.path().join("ctrlrun.yaml"), policy)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut serve = Command::new(&program);
        serve.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        serve
            .args(["gateway", "--upstream", upstream, "--alias", "b", "--principal", "a", "--listen"])
            .arg(format!("127.0.0.1:{port}"));
        let process = Process(serve.spawn()?);
        let until = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            anyhow::ensure!(Instant::now() < until, "ctrlrun did not listen in {READY_SECONDS_MAX} s");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(Self { process, url: format!("http://127.0.0.1:{port}/mcp"), _folder: folder }))
    }
}

/// A program that `.ci/peers.sh` wrote into its `env.sh` under this name.
pub(super) fn peer(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let folder = std::env::var_os("PEERS_DIR")
        .map(PathBuf::from)
        .or_else(|| cache.map(|cache| cache.join("bailiwick-peers")))?;
    let text = std::fs::read_to_string(folder.join("env.sh")).ok()?;
    let before = format!("export {name}='");
    let line = text.lines().find_map(|line| line.strip_prefix(&before))?;
    Some(PathBuf::from(line.trim_end_matches('\'')))
}
