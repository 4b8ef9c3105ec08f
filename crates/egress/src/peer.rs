//! Who is at the other end of a connection over loopback, as the kernel says it. What cannot be found out is nobody of
//! ours; nothing that the peer says by itself counts.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::net::TcpStream;

/// The state of a connection that both ends have open, in the kernel's table.
const ESTABLISHED: &str = "01";
/// Namespaces of which a peer has the same as this process: whoever is in a sandbox has others.
const NAMESPACES: [&str; 3] = ["user", "pid", "net"];

/// Whether `stream` was opened by a process of this user that is in no sandbox. Blocks while it looks.
pub(crate) fn is_ours(local: SocketAddr, remote: SocketAddr) -> bool {
    is_ours_below(Path::new("/proc"), local, remote)
}

/// Both ends of a connection, where it has them.
pub(crate) fn ends(stream: &TcpStream) -> Option<(SocketAddr, SocketAddr)> {
    Some((stream.local_addr().ok()?, stream.peer_addr().ok()?))
}

fn is_ours_below(proc: &Path, local: SocketAddr, remote: SocketAddr) -> bool {
    if !local.ip().to_canonical().is_loopback() || !remote.ip().to_canonical().is_loopback() {
        return false;
    }
    let uid = rustix::process::geteuid().as_raw();
    // A client may have opened a socket of either family to reach an IPv4 address.
    let socket = ["tcp", "tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(proc.join("self/net").join(table)).ok()?;
        table.lines().skip(1).filter_map(Row::read).find(|row| row.local == remote && row.remote == local)
    });
    let Some(socket) = socket.filter(|socket| socket.uid == uid && socket.inode != 0) else { return false };
    let held = PathBuf::from(format!("socket:[{}]", socket.inode));
    // The youngest first: most clients are programs that have just begun.
    let mut processes: Vec<u32> = fs::read_dir(proc)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    processes.sort_unstable_by(|a, b| b.cmp(a));
    processes.into_iter().map(|process| proc.join(process.to_string())).any(|process| {
        fs::metadata(&process).is_ok_and(|it| it.uid() == uid)
            && holds(&process, &held)
            && NAMESPACES.iter().all(|kind| is_shared(proc, &process, kind))
    })
}

fn holds(process: &Path, held: &Path) -> bool {
    let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    open.into_iter().any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|it| it == held))
}

fn is_shared(proc: &Path, process: &Path, kind: &str) -> bool {
    let of = |process: &Path| fs::read_link(process.join("ns").join(kind)).ok();
    of(process).is_some_and(|theirs| of(&proc.join("self")) == Some(theirs))
}

/// One connection in the kernel's table, seen from one of its ends.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    local: SocketAddr,
    remote: SocketAddr,
    uid: u32,
    inode: u64,
}

impl Row {
    /// `sl local_address rem_address st tx:rx tr:tm->when retrnsmt uid timeout inode …`
    fn read(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if *fields.get(3)? != ESTABLISHED {
            return None;
        }
        Some(Self {
            local: address(fields[1])?,
            remote: address(fields[2])?,
            uid: fields.get(7)?.parse().ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    }
}

/// `0100007F:1F90`: words as this machine keeps them, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.as_flattened().try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn rows_are_read_as_the_kernel_writes_them() {
        let row = |address: &str, state: &str| {
            format!(
                "   1: {address}:9C40 0100007F:0C38 {state} 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0"
            )
        };
        let found = Row::read(&row("0100007F", "01")).unwrap();
        assert_eq!(found.local, "127.0.0.1:40000".parse().unwrap());
        assert_eq!((found.remote, found.uid, found.inode), ("127.0.0.1:3128".parse().unwrap(), 1000, 4711));
        let mapped = Row::read(&row("0000000000000000FFFF00000100007F", "01")).unwrap();
        assert_eq!(mapped.local, found.local, "an IPv6 socket to an IPv4 address is the same end");
        for wrong in [row("0100007F", "06"), row("0100007F", "08"), row("0100007", "01"), String::new()] {
            assert_eq!(Row::read(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_process_that_holds_the_other_end_is_found_and_one_that_let_go_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, remote) = listener.accept().unwrap();
        let local = accepted.local_addr().unwrap();
        assert!(is_ours(local, remote), "this very process");
        let elsewhere = SocketAddr::new(remote.ip(), remote.port().wrapping_add(1));
        assert!(!is_ours(local, elsewhere), "no such connection");
        assert!(!is_ours("192.0.2.1:80".parse().unwrap(), remote), "no loopback");
        let empty = tempfile::tempdir().unwrap();
        assert!(!is_ours_below(empty.path(), local, remote), "a machine that says nothing");
        drop(client);
        assert!(!is_ours(local, remote), "nobody holds it any more");
    }
}
