//! Who the program is: one user inside, mapped to one that owns nothing of the host's.
//! Root outside is never root inside; an ordinary user keeps the rights to its own files that the view shows, and no others.

use super::mounts::{Owner, Owners};
use crate::layer::{Layer, Unenforceable};
use crate::sys;
use crate::view::{Access, USER_ID, View};
use rustix::process::Pid;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Write};

/// Ids that stand for nobody on any host: above every range that distributions and container tools hand out
/// (systemd's UIDS-GIDS: 0x70000000 to 0x7FFFFFFD is unused).
const NOBODY_FIRST: u32 = 0x7000_0000;
/// How many of them there are.
const NOBODY_COUNT: u32 = 0x0FF0_0000;

/// Whom the user inside is, outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// Ids are shifted: the caller is root, and the program is nobody.
    pub(crate) is_shifted: bool,
}

impl Identity {
    /// For root a fresh nobody, so that two sandboxes share not even a user; for others themselves.
    pub(crate) fn choose() -> io::Result<Self> {
        let user = rustix::process::geteuid();
        if !user.is_root() {
            return Ok(Self {
                user: user.as_raw(),
                group: rustix::process::getegid().as_raw(),
                is_shifted: false,
            });
        }
        let mut bytes = [0_u8; 4];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let nobody = NOBODY_FIRST + u32::from_ne_bytes(bytes) % NOBODY_COUNT;
        Ok(Self { user: nobody, group: nobody, is_shifted: true })
    }

    /// That user's id outside, where it is nobody's.
    pub(crate) fn nobody(self) -> Option<rustix::fs::Uid> {
        self.is_shifted.then(|| rustix::fs::Uid::from_raw(self.user))
    }

    /// Gives the new process `pid`, which waits for it, its one user and group.
    pub(crate) fn map(self, pid: Pid) -> Result<(), Unenforceable> {
        let wrong = |error: io::Error| Unenforceable {
            layer: Layer::Namespaces,
            found: format!("mapping users: {error}"),
        };
        if !self.is_shifted {
            write_to(pid, "setgroups", "deny").map_err(wrong)?;
        }
        write_to(pid, "uid_map", &format!("{USER_ID} {} 1", self.user)).map_err(wrong)?;
        write_to(pid, "gid_map", &format!("{USER_ID} {} 1", self.group)).map_err(wrong)
    }

    /// Becomes that user, inside.
    pub(crate) fn assume(self) -> io::Result<()> {
        use rustix::fs::{Gid, Uid};
        let (user, group) = (Uid::from_raw(USER_ID), Gid::from_raw(USER_ID));
        if self.is_shifted {
            rustix::thread::set_thread_groups(&[])?;
        }
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
        Ok(())
    }

    /// For each owner of a writable piece, a translation that shows it as the user inside. Only where ids are shifted.
    pub(crate) fn owners(
        self,
        view: &View,
        more: Option<(u32, u32)>,
    ) -> Result<Option<Owners>, Unenforceable> {
        if !self.is_shifted {
            return Ok(None);
        }
        let wrong = |error: io::Error| Unenforceable {
            layer: Layer::UserShift,
            found: format!("translating owners: {error}"),
        };
        let mut owners = Owners::new();
        let owned = view
            .binds
            .iter()
            .filter(|bind| !matches!(bind.access, Access::ReadOnly | Access::Device))
            .map(|bind| bind.owner);
        for owner in owned.chain(more) {
            if let Entry::Vacant(place) = owners.entry(owner) {
                place.insert(self.translation(owner).map_err(wrong)?);
            }
        }
        Ok(Some(owners))
    }

    /// A user namespace that translates `owner` on disk to the user inside. Only its mapping is used; nothing runs in it. Whoever
    /// stands for it is ending already, which takes a while.
    fn translation(self, (user, group): (u32, u32)) -> io::Result<Owner> {
        let parked = sys::park_in_user_namespace()?;
        write_to(parked.pid, "uid_map", &format!("{user} {} 1", self.user))?;
        write_to(parked.pid, "gid_map", &format!("{group} {} 1", self.group))?;
        let namespace = File::open(format!("/proc/{}/ns/user", parked.pid.as_raw_nonzero()))?.into();
        parked.end();
        Ok(Owner { namespace, _parked: parked })
    }
}

fn write_to(pid: Pid, file: &str, text: &str) -> io::Result<()> {
    let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
    // One write: the kernel takes a map whole or not at all.
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}
