//! The system calls that no safe library offers, each wrapped so that its callers need no `unsafe`.
//! Nothing here knows what it is used for.

use rustix::process::Pid;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Which side of a fork this is.
pub(crate) enum Fork {
    /// The new process.
    Child,
    /// The old one, with a way to wait for the new one.
    Parent {
        /// The new process's id, as this one sees it.
        pid: Pid,
        /// Readable once the new process has ended.
        pidfd: OwnedFd,
    },
}

/// New namespaces for [`fork_into`]: user, mount, pid, IPC, host name, cgroup.
pub(crate) const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;
/// The network namespace, which a profile may do without.
pub(crate) const NETWORK_NAMESPACE: i32 = libc::CLONE_NEWNET;
/// The new process is a child of this one's parent, for [`fork_into`].
pub(crate) const SIBLING: i32 = libc::CLONE_PARENT;

/// Forks this process, the child into new `namespaces` (clone(2)).
///
/// # Errors
/// What clone(2) says, and `EBUSY` in a process with other threads, whose locks a fork would leave held for ever.
pub(crate) fn fork_into(namespaces: i32) -> io::Result<Fork> {
    if !is_single_threaded()? {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut pidfd: RawFd = -1;
    let flags = libc::c_long::from(namespaces | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child gets a copy of the address space, and no stack is passed, so it goes on as after
    // fork(2). This process has one thread (checked above), so no lock is held by a thread the child lacks. `pidfd` is a
    // valid place for the one descriptor that CLONE_PIDFD writes.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize) };
    match pid {
        0 => Ok(Fork::Child),
        pid if pid > 0 => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(io::Error::last_os_error)?;
            // SAFETY: clone(2) succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that nothing else owns.
            Ok(Fork::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// A process that does nothing, in a user namespace of its own, and lends its stack's memory from whoever made it: what is
/// written about it in `/proc` is all it is for. It must be ended before `Parked` is dropped, which does that.
pub(crate) struct Parked {
    pub(crate) pid: Pid,
    _stack: Box<[u128; PARKED_STACK_WORDS]>,
}

/// Stack of such a process, in words of 16 bytes.
const PARKED_STACK_WORDS: usize = 256;

/// Starts one. It ends with its parent.
pub(crate) fn park_in_user_namespace() -> io::Result<Parked> {
    extern "C" fn park(parent: *mut libc::c_void) -> libc::c_int {
        // SAFETY: plain system calls without pointers. They could write `errno`, which is the parent's as well: none of
        // them fails, and pause(2) never returns because nothing here is handled.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // Gone before that was asked for: the number it had is no longer ours to follow.
            if libc::getppid() as usize != parent as usize {
                return 0;
            }
            loop {
                libc::pause();
            }
        }
    }
    let mut stack = Box::new([0_u128; PARKED_STACK_WORDS]);
    let flags = libc::CLONE_VM | libc::CLONE_NEWUSER | libc::SIGCHLD;
    let parent = std::process::id() as usize as *mut libc::c_void;
    // SAFETY: the child runs on its own stack, whose end is given because stacks grow down, and which outlives it:
    // `Parked` owns the stack and ends the child first. It touches no other memory (see `park`).
    let pid = unsafe { libc::clone(park, stack.as_mut_ptr_range().end.cast(), flags, parent) };
    // A number below zero is no process, and would name many.
    match Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw) {
        Some(pid) => Ok(Parked { pid, _stack: stack }),
        None => Err(io::Error::last_os_error()),
    }
}

impl Parked {
    /// Has it end, and does not wait for that.
    pub(crate) fn end(&self) {
        let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.end();
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::empty())
        {}
    }
}

/// Whether this process has one thread. Read from the kernel: the number of links of its task folder, less two.
fn is_single_threaded() -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self/task")?.nlink() == 3)
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Attributes for [`set_mount_attributes`].
pub(crate) mod mount_attribute {
    /// No writing.
    pub(crate) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
    /// Set-user-id bits and file capabilities do nothing.
    pub(crate) const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
    /// Device files open nothing.
    pub(crate) const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;
    /// Nothing can be executed.
    pub(crate) const NO_EXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
}

/// Adds `attributes` to the mount `tree` is the root of, and to those below it if `deep`; `owners` translates the owners of
/// its files (mount_setattr(2), Linux 5.12).
pub(crate) fn set_mount_attributes(
    tree: BorrowedFd<'_>,
    attributes: u64,
    owners: Option<BorrowedFd<'_>>,
    deep: bool,
) -> io::Result<()> {
    let mut attr = MountAttr { attr_set: attributes, ..MountAttr::default() };
    if let Some(owners) = owners {
        attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attr.userns_fd = u64::try_from(owners.as_raw_fd()).expect("an open descriptor is not negative");
    }
    let flags = libc::AT_EMPTY_PATH | if deep { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a static C string, `attr` is the kernel's struct of the size given, and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives this process a new, empty session keyring (keyctl(2)).
pub(crate) fn new_session_keyring() -> io::Result<()> {
    let no_name = std::ptr::null::<libc::c_char>();
    let join = libc::KEYCTL_JOIN_SESSION_KEYRING;
    // SAFETY: with a null name this makes an anonymous keyring and reads no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, join, no_name, 0, 0, 0) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has every descriptor from `first` on closed when a program is executed (close_range(2)).
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` to `last` now. Owners of such descriptors in this process must never use or drop
/// them afterwards, which is why only a process that is about to forget all it had may call this.
pub(crate) fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: closing touches no memory. The sole callers are a fresh child that keeps none of its parent's owners (they are
    // forgotten, never dropped, because it leaves by `exit`), and callers that only set a flag.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Blocks `signals` for this thread and makes them readable from a descriptor (signalfd(2)).
pub(crate) fn signals_as_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: `set` is a plain value that sigemptyset initialises before it is read; the descriptor returned is new.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// The next signal of a descriptor made by [`signals_as_descriptor`]; `None` when none waits.
pub(crate) fn next_signal(signals: BorrowedFd<'_>) -> Option<i32> {
    let mut bytes = [0_u8; size_of::<libc::signalfd_siginfo>()];
    let read = rustix::io::read(signals, &mut bytes).ok()?;
    // `ssi_signo` is the first field, an unsigned 32-bit number.
    (read == bytes.len()).then(|| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Keeps `signal` from this thread.
pub(crate) fn block(signal: i32) -> io::Result<()> {
    signals_as_descriptor(&[signal]).map(drop)
}

/// Stops this process's group as its terminal's key would, until somebody continues it. Where nobody could, it goes on at once.
pub(crate) fn stop() {
    // SAFETY: `set` is initialised before it is read; kill(2) touches no memory.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTSTP);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::kill(0, libc::SIGTSTP);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Gives up this session's terminal, if it has one.
pub(crate) fn leave_terminal() {
    if let Ok(terminal) = std::fs::File::open("/dev/tty") {
        // SAFETY: TIOCNOTTY takes no argument.
        let _ = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
    }
}

/// Lets every signal through again and forgets what was ignored, as a program expects to start.
pub(crate) fn default_signals() {
    // SAFETY: setting default actions and an empty mask touches no memory but `set`, which is initialised first.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        for signal in 1..32 {
            if signal != libc::SIGKILL && signal != libc::SIGSTOP {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

/// Ends this process at once, without running anything of its parent's that it inherited.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) does not return and runs no handlers.
    unsafe { libc::_exit(status) }
}

/// The version of Landlock this kernel has; 0 when none.
pub(crate) fn landlock_version() -> i32 {
    // SAFETY: with a null attribute of size 0 and LANDLOCK_CREATE_RULESET_VERSION the call reads and writes no memory.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// Takes over a descriptor by its number. Only [`crate::native`]'s first process inside calls this, for the one descriptor it
/// left open itself.
pub(crate) fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: the caller has just made this descriptor and has forgotten, not dropped, what owned it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Ends every process this one may signal but itself; inside a process namespace of which it is the first, all others.
pub(crate) fn kill_everyone() {
    assert_eq!(std::process::id(), 1, "only the first process of a namespace may end everyone in it");
    // SAFETY: kill(2) touches no memory.
    let _ = unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Has the program that this process becomes find `fd` as `number`. Safe between fork and exec.
pub(crate) fn pass_as(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: fcntl(2) and dup2(2) touch no memory and are async-signal-safe; `number` is nobody's in a process that is about
    // to execute another program.
    let result = unsafe {
        if fd.as_raw_fd() == number {
            libc::fcntl(number, libc::F_SETFD, 0)
        } else {
            libc::dup2(fd.as_raw_fd(), number)
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A look at a descriptor that may not be open. It is used to ask exactly that.
pub(crate) fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: `number` is not -1, and the only use is fcntl(2), which answers EBADF for what is not open.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Overwrites this process's arguments, which anybody in its process namespace could read. Only for a child that goes on to
/// do nothing with them.
pub(crate) fn forget_arguments() {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // arg_start and arg_end, the 48th and 49th of proc_pid_stat(5); what follows the name begins with the third.
    let place = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<usize>().ok());
    if let (Some(start), Some(end)) = (place(48), place(49))
        && start != 0
        && end > start
    {
        // SAFETY: the kernel says that this range of this process's stack holds its arguments. Nobody else reads them: this is
        // a single-threaded child that keeps no reference into them.
        unsafe { std::ptr::write_bytes(start as *mut u8, 0, end - start) };
    }
}

/// `struct shm_info` of `<sys/shm.h>`.
#[repr(C)]
#[derive(Default)]
struct SharedSegments {
    used_ids: libc::c_int,
    total_pages: libc::c_ulong,
    resident_pages: libc::c_ulong,
    swapped_pages: libc::c_ulong,
    swap_attempts: libc::c_ulong,
    swap_successes: libc::c_ulong,
}

/// Pages of System V shared memory of this IPC namespace, attached by anybody or not (shmctl(2), `SHM_INFO`).
pub(crate) fn shared_segment_pages() -> u64 {
    const SHM_INFO: libc::c_int = 14;
    let mut found = SharedSegments::default();
    // SAFETY: with SHM_INFO the kernel ignores the id and writes one `struct shm_info`, which `found` is laid out as.
    let result = unsafe { libc::shmctl(0, SHM_INFO, (&raw mut found).cast::<libc::shmid_ds>()) };
    if result < 0 { 0 } else { found.total_pages }
}
