//! Which users exist in a stage, and who they are outside: the program's, and where the runtime needs one its own root.
//! No user inside is ever root outside, and the runtime's root owns nothing there.

use super::runtime::Runtime;
use crate::layer::{Layer, Unenforceable};
use crate::native::identity::Identity;
use crate::view::USER_ID;
use rustix::fs::{Gid, Uid};
use rustix::process::Pid;
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Length of the files that name users and their ranges, in bytes.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// Users of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// The caller is root: two nobodies, one of them the stage's root.
    Shifted { user: u32, root: u32 },
    /// An ordinary user, and the first of that user's subordinate ids as root, mapped by newuidmap(1).
    Subordinate { user: (u32, u32), root: (u32, u32) },
    /// An ordinary user alone, who is root in the stage and [`USER_ID`] in a user namespace of the container's own.
    Single { user: (u32, u32) },
}

impl Ids {
    pub(super) fn choose(identity: Identity, runtime: &Runtime) -> Result<Self, Unenforceable> {
        let user = (identity.user, identity.group);
        if identity.is_shifted {
            // The next nobody: a sandbox that drew that one shares no file with this one's root, which owns none.
            return Ok(Self::Shifted { user: identity.user, root: identity.user + 1 });
        }
        if !runtime.family().needs_user_0() {
            return Ok(Self::Single { user });
        }
        let name = name_of(&read("/etc/passwd"), user.0);
        let first = |list| first_of(&read(list), user.0, name.as_deref());
        match (first("/etc/subuid"), first("/etc/subgid")) {
            (Some(uid), Some(gid)) => Ok(Self::Subordinate { user, root: (uid, gid) }),
            _ => Err(Unenforceable {
                layer: Layer::Namespaces,
                found: format!(
                    "`{}` needs a user for itself beside the program's, and user {} has no line in /etc/subuid and \
                     /etc/subgid; add one, or use crun or the native backend",
                    runtime.name(),
                    user.0
                ),
            }),
        }
    }

    /// Whether the container gets a user namespace of its own in the stage's.
    pub(super) fn nested(self) -> bool {
        matches!(self, Self::Single { .. })
    }

    /// Gives the stage, process `pid`, which waits for it, its users.
    pub(super) fn map(self, pid: Pid) -> Result<(), Unenforceable> {
        let wrong = |error: io::Error| Unenforceable {
            layer: Layer::Namespaces,
            found: format!("mapping users: {error}"),
        };
        let write = |file: &str, text: &str| {
            let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
            // One write: the kernel takes a map whole or not at all.
            std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
        };
        match self {
            Self::Shifted { user, root } => {
                let text = format!("{USER_ID} {user} 1\n0 {root} 1\n");
                write("uid_map", &text).and_then(|()| write("gid_map", &text))
            }
            Self::Subordinate { user, root } => subordinate("newuidmap", pid, user.0, root.0)
                .and_then(|()| subordinate("newgidmap", pid, user.1, root.1)),
            Self::Single { user } => write("setgroups", "deny")
                .and_then(|()| write("uid_map", &format!("0 {} 1\n", user.0)))
                .and_then(|()| write("gid_map", &format!("0 {} 1\n", user.1))),
        }
        .map_err(wrong)
    }

    /// Becomes the stage's root, inside.
    pub(super) fn assume_root(self) -> io::Result<()> {
        match self {
            Self::Shifted { .. } | Self::Subordinate { .. } => rustix::thread::set_thread_groups(&[])?,
            Self::Single { .. } => {}
        }
        let (user, group) = (Uid::ROOT, Gid::ROOT);
        rustix::thread::set_thread_res_gid(group, group, group)?;
        Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
    }

    /// Does something in the stage as the program's user, with all of root's capabilities. What overlayfs writes it writes
    /// as whoever mounted it, and only that user has an id on the host's disks.
    pub(super) fn as_user<T>(self, action: impl FnOnce() -> T) -> io::Result<T> {
        use rustix::thread::CapabilitiesSecureBits as Bits;
        if self.nested() {
            return Ok(action());
        }
        let become_user = |id: u32| -> io::Result<()> {
            let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
            rustix::thread::set_thread_res_gid(group, group, Gid::ROOT)?;
            Ok(rustix::thread::set_thread_res_uid(user, user, Uid::ROOT)?)
        };
        let before = rustix::thread::capabilities_secure_bits()?;
        rustix::thread::set_capabilities_secure_bits(before | Bits::NO_SETUID_FIXUP)?;
        become_user(USER_ID)?;
        let done = action();
        become_user(0)?;
        rustix::thread::set_capabilities_secure_bits(before)?;
        Ok(done)
    }

    /// Whom the program's user is in the stage.
    pub(super) fn user_in_stage(self) -> u32 {
        if self.nested() { 0 } else { USER_ID }
    }
}

/// Only a program with rights of its own may map subordinate ids.
fn subordinate(program: &str, pid: Pid, user: u32, root: u32) -> io::Result<()> {
    let pid = pid.as_raw_nonzero().to_string();
    let [inside, user, root] = [USER_ID, user, root].map(|id| id.to_string());
    let done = Command::new(program)
        .args([&pid, &inside, &user, "1", "0", &root, "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim())))
}

fn read(list: &str) -> String {
    use std::io::Read;
    let mut text = String::new();
    // Absent: then it names nobody.
    let _ = std::fs::File::open(list).and_then(|file| file.take(LIST_BYTES_MAX).read_to_string(&mut text));
    text
}

/// The name of `user` (passwd(5)).
fn name_of(passwd: &str, user: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    })
}

/// The first subordinate id of a user, by number or name (subuid(5)).
fn first_of(list: &str, user: u32, name: Option<&str>) -> Option<u32> {
    list.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let is_theirs = owner.parse() == Ok(user) || Some(owner) == name;
        (is_theirs && count > 0 && first > 0).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_their_users_own() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1234:1234::/home/ann:/bin/sh\n";
        assert_eq!(name_of(passwd, 1_234).as_deref(), Some("ann"));
        assert_eq!(name_of(passwd, 123), None);
        for (list, first) in [
            ("ann:100000:65536\n", Some(100_000)),
            ("1234:200000:1\n", Some(200_000)),
            ("bob:1:5\nann:7:1", Some(7)),
            ("anna:100000:65536\n", None),
            ("12345:100000:65536\n", None),
            ("ann:100000:0\n", None),
            ("ann:0:5\n", None),
            ("ann:-1:5\n", None),
            ("ann:100000\n", None),
            ("", None),
        ] {
            assert_eq!(first_of(list, 1_234, Some("ann")), first, "{list}");
        }
    }
}
