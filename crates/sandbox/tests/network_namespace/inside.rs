//! Programs run here as a sandbox would run them: in new namespaces, without capabilities, with the gate outside.
//! Nothing here asserts anything about networks.

use crate::gate::Gate;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sandbox::native::network::{self, Sockets};
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const SCRIPT: &str = "NETWORK_TEST_SCRIPT";
const RESOLV_CONF: &str = "NETWORK_TEST_RESOLV_CONF";
const LACKS_RULES: &str = "NETWORK_TEST_LACKS_RULES";
const KEPT: &str = "NETWORK_TEST_KEPT";
const MARK: &str = "-- inside --";

/// The start of every Python script: prints what came of each probe, by the name of the error where there was one.
const PROBE: &str = r#"
import errno, os, socket as s, urllib.request
def probe(label, f):
    try: outcome = f()
    except s.gaierror: outcome = "no-name"
    except TimeoutError: outcome = "HANGS"
    except OSError as e: outcome = errno.errorcode.get(e.errno, repr(e))
    print(label, outcome, flush=True)
def dial(address, port, family=s.AF_INET):
    with s.socket(family, s.SOCK_STREAM) as c:
        c.settimeout(2)
        c.connect((address, port))
        try:
            c.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return (c.makefile("rb").read().split(b"\r\n")[-1] or b"closed").decode()
        except (ConnectionResetError, BrokenPipeError): return "closed"
def datagram(address, port, family=s.AF_INET):
    with s.socket(family, s.SOCK_DGRAM) as c:
        c.settimeout(2)
        c.connect((address, port))
        c.send(b"?")
        c.recv(1)
        return "answered"
def bind(address, port, kind=s.SOCK_STREAM, family=s.AF_INET):
    c = s.socket(family, kind)
    c.setsockopt(s.SOL_SOCKET, s.SO_REUSEADDR, 1)
    c.setsockopt(s.SOL_SOCKET, s.SO_REUSEPORT, 1)
    c.bind((address, port))
    if kind == s.SOCK_STREAM: c.listen()
    return c
def serve(address, port, family=s.AF_INET):
    c = bind(address, port, family=family)
    if os.fork() == 0:
        while True:
            with c.accept()[0] as k: k.recv(99) and k.sendall(b"payload")
    return c
"#;

/// Sets the network up inside, hands the sockets over, and becomes the script without its capabilities.
pub(crate) fn run_as_child() {
    let (Ok(script), Ok(resolv_conf)) = (std::env::var(SCRIPT), std::env::var(RESOLV_CONF)) else { return };
    rustix::mount::mount_bind(&resolv_conf, "/etc/resolv.conf").unwrap();
    if std::env::var_os(LACKS_RULES).is_some() {
        refuse_netfilter();
    }
    let sockets = network::raise(true).unwrap().expect("capture was asked for");
    sockets.send(io::stdin().as_fd()).unwrap();
    drop(sockets);
    io::stdout().write_all(format!("\n{MARK}\n").as_bytes()).unwrap();
    let kept = std::env::var(KEPT).unwrap();
    let [bounding, inheritable] = ["--bounding-set=", "--inh-caps="].map(|set| format!("{set}{kept}"));
    let mut command = Command::new("setpriv");
    command.args([&bounding, &inheritable, "--no-new-privs", "sh", "-c", &script]).stdin(Stdio::null());
    panic!("{}", command.exec());
}

/// Makes this kernel one without netfilter's netlink, as far as this thread and its children can tell.
fn refuse_netfilter() {
    const NETLINK_NETFILTER: u32 = 12;
    let load = |offset| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: offset };
    let unless = |k, jf| libc::sock_filter { code: 0x15, jt: 0, jf, k };
    let answer = |k| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k };
    let errno = libc::SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT as u32;
    let mut filter = [
        load(0), // the call's number, its first argument, its third
        unless(libc::SYS_socket as u32, 5),
        load(16),
        unless(libc::AF_NETLINK as u32, 3),
        load(32),
        unless(NETLINK_NETFILTER, 1),
        answer(errno),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    rustix::thread::set_no_new_privs(true).unwrap();
    // SAFETY: `program` points at `filter`, and both outlive the call, which copies them.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

/// As whom the tests can run here: as both where this is root, else as whoever this is.
pub(crate) fn users() -> impl Iterator<Item = User> {
    let is_root = rustix::process::getuid().is_root();
    let usable = |user: &User| {
        let is_usable = outside(*user).arg("true").status().is_ok_and(|status| status.success());
        if !is_usable {
            skip(&format!("{user:?}"), "cannot make user, network and mount namespaces here");
        }
        is_usable
    };
    [User::Root, User::Ordinary].into_iter().filter(move |user| is_root || *user != User::Root).filter(usable)
}

/// `unshare` as this user, its own arguments to follow.
fn outside(user: User) -> Command {
    let mut command = Command::new("setpriv");
    if user == User::Ordinary && rustix::process::getuid().is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command
        .args(["unshare", "-Urnm"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command
}

pub(crate) fn has(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .output()
        .is_ok_and(|found| found.status.success())
}

pub(crate) fn skip(what: &str, why: &str) {
    eprintln!("skipped: {what} {why}");
}

/// One run inside: as whom, what, and with which capabilities left.
pub(crate) struct Inside {
    user: User,
    script: String,
    kept: String,
    lacks_rules: bool,
}

impl Inside {
    pub(crate) fn new(user: User, script: &str) -> Self {
        Self { user, script: script.into(), kept: "-all".into(), lacks_rules: false }
    }

    pub(crate) fn python(user: User, script: &str) -> Self {
        Self::new(user, &format!("exec setsid -w python3 - <<'END'\n{PROBE}{script}\nEND"))
    }

    pub(crate) fn keeping(self, capability: &str) -> Self {
        Self { kept: format!("-all,+{capability}"), ..self }
    }

    /// On a kernel without nf_tables.
    pub(crate) fn lacking_rules(self) -> Self {
        Self { lacks_rules: true, ..self }
    }

    /// What the script printed, with the gate at work until it ended.
    pub(crate) fn run(&self, gate: &Gate) -> String {
        self.run_and_keep(gate).0
    }

    /// The same, and the sockets, which live on.
    pub(crate) fn run_and_keep(&self, gate: &Gate) -> (String, Sockets) {
        let folder = tempfile::tempdir().unwrap();
        let [program, resolv_conf] = ["test", "resolv.conf"].map(|name| folder.path().join(name));
        // Copied to where an ordinary user can run it.
        std::fs::copy("/proc/self/exe", &program).unwrap();
        std::fs::write(&resolv_conf, network::resolv_conf()).unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let (ours, theirs) = channel(SocketType::SEQPACKET);
        let mut command = outside(self.user);
        command.arg(program).args(["--exact", "child", "--nocapture"]).env(KEPT, &self.kept);
        command.env(SCRIPT, &self.script).env(RESOLV_CONF, resolv_conf);
        command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.lacks_rules {
            command.env(LACKS_RULES, "1");
        }
        let child = command.spawn().unwrap();
        drop(command);
        let sockets = Sockets::receive(ours.as_fd());
        let is_over = AtomicBool::new(false);
        let output = std::thread::scope(|scope| {
            if let Ok(sockets) = &sockets {
                scope.spawn(|| gate.serve(sockets, &is_over));
            }
            let output = child.wait_with_output();
            is_over.store(true, Ordering::Relaxed);
            output.unwrap()
        });
        let [out, err] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let sockets = sockets.unwrap_or_else(|error| panic!("{:?}: {error}: {out}{err}", self.user));
        let (_, printed) = out.split_once(MARK).unwrap_or_else(|| panic!("{out}{err}"));
        assert!(!err.contains("Traceback"), "{err}");
        (printed.trim().to_owned(), sockets)
    }
}

/// Two ends of a Unix socket.
pub(crate) fn channel(kind: SocketType) -> (OwnedFd, OwnedFd) {
    rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
}
