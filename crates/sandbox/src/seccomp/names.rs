//! The names of constants and errors that rules may use, each with the value `libc` gives it.
//! A name that is not here is an error of the rules, never a zero.

macro_rules! table {
    ($($name:ident $(= $value:expr)?;)*) => {
        &[$((stringify!($name), table!(@ $name $($value)?))),*]
    };
    (@ $name:ident) => { libc::$name as u64 };
    (@ $name:ident $value:expr) => { $value };
}

const CONSTANTS: &[(&str, u64)] = table! {
    ADDR_NO_RANDOMIZE;
    AF_INET;
    AF_INET6;
    AF_NETLINK;
    AF_UNIX;
    CLONE_FILES;
    CLONE_FS;
    CLONE_NEWCGROUP;
    CLONE_NEWIPC;
    CLONE_NEWNET;
    CLONE_NEWNS;
    CLONE_NEWPID;
    CLONE_NEWUSER;
    CLONE_NEWUTS;
    CLONE_SYSVSEM;
    IPPROTO_ICMP;
    IPPROTO_ICMPV6;
    IPPROTO_TCP;
    IPPROTO_UDP;
    NETLINK_ROUTE;
    O_CREAT;
    O_TMPFILE_BIT = 0o20_000_000; // __O_TMPFILE of <asm-generic/fcntl.h>: O_TMPFILE without its O_DIRECTORY
    RENAME_WHITEOUT;
    SOCK_PACKET = 10; // <linux/net.h>
    S_IFIFO;
    S_IFMT;
    S_IFREG;
    S_IFSOCK;
    S_ISGID;
    S_ISUID;
    TIOCCONS;
    TIOCLINUX;
    TIOCSETD = 0x5423; // <asm-generic/ioctls.h>
    TIOCSTI;
};

const ERRORS: &[(&str, u64)] = table! {
    EAFNOSUPPORT;
    EINVAL;
    ENOSYS;
    EPERM;
    EPROTONOSUPPORT;
};

/// A constant of the kernel's headers.
pub(super) fn constant(name: &str) -> Option<u64> {
    CONSTANTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The number of an error.
pub(super) fn error(name: &str) -> Option<u16> {
    ERRORS.iter().find(|(known, _)| *known == name).and_then(|(_, value)| u16::try_from(*value).ok())
}
