//! The layers of the wall by name: what each buys, and what to do on a host that lacks it.
//! A layer that is missing and not waived refuses the run; nothing here enforces anything.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

macro_rules! layers {
    ($($variant:ident $name:literal $waivable:literal $buys:literal $remedy:literal)*) => {
        /// One layer of the wall.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Layer {
            $(#[doc = $buys] $variant,)*
        }

        impl Layer {
            /// All of them, outermost first.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in configuration and receipts.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
            /// Whether an operator may do without it.
            pub fn is_waivable(self) -> bool {
                match self { $(Self::$variant => $waivable),* }
            }
            /// What it buys, in a line.
            pub fn buys(self) -> &'static str {
                match self { $(Self::$variant => $buys),* }
            }
            /// What to do where it is missing.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),* }
            }
        }
    };
}

layers! {
    Namespaces "namespaces" false
        "Own users, mounts, processes, network, IPC, host name and cgroup root: nothing of the host has a name inside."
        "allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile for this program; in a container, a seccomp profile that lets it make them)"
    UserShift "user-shift" false
        "Root inside a namespace is nobody outside: the program's user owns nothing on the host."
        "keep the folders it writes on a file system with idmapped mounts (ext4, xfs, btrfs, tmpfs), or start the gate as an ordinary user (in a container always)"
    Root "root" false
        "A new root: only what the profile names is there at all."
        "use Linux 5.12 or newer (open_tree, mount_setattr)"
    Proc "proc" false
        "/proc shows the sandbox's own processes and no kernel settings."
        "use Linux 5.8 or newer with a /proc that nothing is mounted over (containers: `--security-opt systempaths=unconfined`)"
    Landlock "landlock" true
        "A second lock on every path, abstract socket and signal, from another part of the kernel."
        "use Linux 5.13 or newer with `landlock` in the lsm= boot list"
    Seccomp "seccomp" false
        "Only reviewed system calls: no namespaces, mounts, keyrings, tracing, BPF, io_uring, vsock."
        "use a kernel with CONFIG_SECCOMP_FILTER on x86-64"
    Privileges "privileges" false
        "No capabilities, no set-user-id programs, no inherited descriptors, an own session and keyring."
        "nothing to do: every supported kernel has it"
    Memory "memory" false
        "All memory together is bounded: by a cgroup where one can be made, else by watching."
        "nothing to do: without a cgroup the sandbox counts by itself"
    Processes "processes" false
        "Processes and threads together are bounded."
        "use Linux 5.14 or newer (per-namespace process counts)"
    Cpu "cpu" true
        "Processor time is bounded, where the profile asks."
        "delegate a cgroup with the cpu controller to this user"
    Capture "capture" true
        "Every connection out arrives at the gate, whatever its port."
        "load the kernel modules nf_tables, nft_redir and nft_nat"
    Protection "protection" false
        "Names that the host would execute or obey cannot be planted in a workspace."
        "make the workspace writable for this user, or use it read-only"
}

impl std::fmt::Display for Layer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

/// Which layers held for a run, each with the mechanism that did it, and which were waived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Layer and mechanism, e.g. `landlock: ABI 7`.
    pub held: BTreeMap<Layer, String>,
    /// Missing on this host, by the operator's leave, with what was found.
    pub waived: BTreeMap<Layer, String>,
}

/// A run that was refused because this host cannot enforce a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("this host cannot enforce `{layer}`: {found}; {}", layer.remedy())]
pub struct Unenforceable {
    /// The layer.
    pub layer: Layer,
    /// What the host said.
    pub found: String,
}
