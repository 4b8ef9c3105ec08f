"""Bombs with short fuses: each takes some three times what the profile allows, holds it, and says so in the workspace.
`held` there means that nothing stopped it; the sizes are the most they ever take."""

import ctypes, mmap, os, resource, signal, socket, sys, threading, time

BYTES = int(os.environ["BOMB_BYTES"])
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
HOLDS = 60
BEGUN = time.monotonic()
MB = 1 << 20


def hold(until=lambda: False, times=1):
    """Some 0.6 seconds that everybody gets: one long sleep is over at once where the whole machine stood still."""
    for _ in range(times * HOLDS):
        if until():
            break
        time.sleep(0.01)


def hold_for(parent):
    hold(lambda: os.getppid() != parent, 12)


def turns():
    """How often the first process gave way because it had nothing more to do."""
    with open("/proc/1/status", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))


def held(what):
    """Some time, and as many turns of whoever counts as that time has looks: a machine that does not let it run shows nothing."""
    if os.environ["HOW"] == "inside":
        enough = turns() + HOLDS // 3
        hold()
        hold(until=lambda: turns() >= enough, times=8)
    else:
        hold()
    seen = evidence()
    with open(os.environ["WORK"] + "/held", "w") as file:
        file.write(f"{what}\n{seen}")


def evidence():
    """What whoever should have counted could have seen, and whether it ran."""
    lines = [f"after {time.monotonic() - BEGUN:.2f} s"]
    for pid in sorted(filter(str.isdigit, os.listdir("/proc")), key=int)[:20]:
        try:
            with open(f"/proc/{pid}/status", errors="replace") as file:
                wanted = ("Name", "State", "VmRSS", "voluntary", "nonvoluntary")
                lines.append(pid + " " + ", ".join(line.strip() for line in file if line.startswith(wanted)))
        except OSError as error:
            lines.append(f"{pid} {error}")
    return "\n".join(lines)


def fill(memory, size):
    for at in range(0, size, 4096):
        memory[at] = 1


def gathered(reader, writer, count):
    """Waits until all processes said that they have what they want; one that was ended never does."""
    os.close(writer)
    for _ in range(count):
        if not os.read(reader, 1):
            raise OSError("some of them were ended")


def children(size, count, first=lambda: None):
    """`count` processes that hold `size` each; true when all of them got it."""
    reader, writer = os.pipe()
    parent = os.getpid()
    for _ in range(count):
        if os.fork() == 0:
            first()
            fill(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), size)
            os.write(writer, b"1")
            hold_for(parent)
            os._exit(0)
    gathered(reader, writer, count)


def anonymous():
    fill(mmap.mmap(-1, BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), BYTES)


def many_processes():
    children(BYTES // 8, 8)


def many_unreadable_processes():
    """Processes that are not dumpable have no smaps for others."""
    children(BYTES // 8, 8, lambda: LIBC.prctl(4, 0, 0, 0, 0))


def many_misnamed_processes():
    """A name that is no text, in the files that tell what a process uses."""
    children(BYTES // 8, 8, lambda: LIBC.prctl(15, b"\xff) Z 0 (\xff", 0, 0, 0))


def many_headless_processes():
    """First threads that have ended: what the kernel tells of a process, it tells of its first thread."""
    reader, writer = os.pipe()
    parent = os.getpid()

    def body():
        fill(mmap.mmap(-1, BYTES // 8, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), BYTES // 8)
        os.write(writer, b"1")
        hold_for(parent)
        os._exit(0)

    for _ in range(8):
        if os.fork() == 0:
            threading.Thread(target=body).start()
            LIBC.syscall(60, 0)
    gathered(reader, writer, 8)


def many_processes_amid_deaths():
    """The first process looks when nothing happens; so something happens all the time."""
    if os.fork() == 0:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            os.kill(1, signal.SIGCHLD) if os.environ["HOW"] == "inside" else None
            time.sleep(0.001)
        os._exit(0)
    time.sleep(0.1)
    children(BYTES // 8, 8)


def many_processes_and_a_slow_first():
    """The first process only gets what others leave, and they leave nothing."""
    if os.environ["HOW"] == "inside":
        for slower in (lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
                       lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), lambda: os.setpriority(os.PRIO_PGRP, 1, 19),
                       lambda: os.setpriority(os.PRIO_USER, 0, 19), lambda: os.sched_setaffinity(1, {0})):
            try:
                slower()
                print("slower", file=sys.stderr)
            except OSError as error:
                print(error)
    parent = os.getpid()
    for _ in range(24):
        if os.fork() == 0:
            end = time.monotonic() + 5
            while time.monotonic() < end and os.getppid() == parent:
                pass
            os._exit(0)
    children(BYTES // 8, 8)


def many_processes_and_a_blind_first():
    """The first process's own limits, lowered by the same user: it cannot open what it would count by."""
    if os.environ["HOW"] == "inside":
        try:
            resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))
        except OSError as error:
            print(error)
    children(BYTES // 8, 8)


def shared():
    fill(mmap.mmap(-1, BYTES, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS), BYTES)


def shared_and_unmapped():
    """Pages of shared memory stay when nobody maps them any more."""
    memory = mmap.mmap(-1, BYTES, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    for at in range(0, BYTES, 8 * MB):
        for page in range(at, min(at + 8 * MB, BYTES), 4096):
            memory[page] = 1
        memory.madvise(mmap.MADV_DONTNEED, at, min(8 * MB, BYTES - at))
    globals()["kept"] = memory


def memory_files():
    fds = [os.memfd_create("m") for _ in range(BYTES // (8 * MB))]
    for fd in fds:
        os.write(fd, bytes(8 * MB))


def scratch_files():
    for number in range(BYTES // (8 * MB)):
        with open(f"/dev/shm/{os.environ['TOKEN']}{number}", "wb") as file:
            globals().setdefault("files", []).append(file.name)
            file.write(bytes(8 * MB))


def system_v_segments():
    LIBC.shmat.restype = ctypes.c_void_p
    for _ in range(BYTES // (8 * MB)):
        segment = LIBC.shmget(0, 8 * MB, 0o1600)
        if segment < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        globals().setdefault("segments", []).append(segment)
        at = LIBC.shmat(segment, None, 0)
        ctypes.memset(at, 1, 8 * MB)
        LIBC.shmdt(ctypes.c_void_p(at))


def pipes():
    total = 0
    for _ in range(BYTES // MB):
        reader, writer = os.pipe()
        try:
            import fcntl
            fcntl.fcntl(writer, 1031, MB)
        except OSError:
            pass
        os.set_blocking(writer, False)
        try:
            while True:
                total += os.write(writer, bytes(65536))
        except BlockingIOError:
            pass
    if total < BYTES * 3 // 4:
        raise OSError(f"pipes hold {total}")


def sockets():
    total, kept = 0, []
    while total < BYTES:
        for s in socket.socketpair():
            s.setblocking(False)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MB)
            kept.append(s)
            try:
                while True:
                    total += s.send(bytes(32768))
            except BlockingIOError:
                pass
    globals()["kept"] = kept


def page_tables():
    """A page table for every two megabytes of an address space that is only read."""
    step, flags = 2 * MB, 0x02 | 0x20 | 0x4000
    count = BYTES // 4096
    for _ in range(4):
        size = count // 4 * step
        at = LIBC.mmap(None, size, 1, flags, -1, 0)
        if at == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        LIBC.madvise(ctypes.c_void_p(at), ctypes.c_size_t(size), 15)
        for place in range(at, at + size, step):
            ctypes.c_char.from_address(place).value


def processes():
    for _ in range(120):
        if os.fork() == 0:
            hold(times=4)
            os._exit(0)
    hold()


def descriptors():
    for _ in range(900):
        os.dup(0)


def small_files():
    for number in range(2_500):
        open(f"/tmp/{os.environ['TOKEN']}{number}", "w").close()


def disk(folder):
    with open(folder + "/big", "wb", 0) as file:
        for _ in range(60):
            file.write(os.urandom(64 << 10) * 80)
            time.sleep(0.03)


def disk_of_workspace():
    disk(os.environ["WORK"])


def disk_of_home():
    disk(os.environ["KEPT"] if os.environ["HOW"] == "outside" else "/home/agent")


def disk_of_writable_folder():
    disk(os.environ["WRITABLE"])


def one_long_file():
    with open("long", "wb", 0) as file:
        file.truncate(600 * MB)


def output():
    for _ in range(6 * 16):
        os.write(1, bytes(65536))


def time_it_takes():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(3)


name = sys.argv[1]
done = False
try:
    globals()[name]()
    done = True
except (OSError, MemoryError, ValueError) as error:
    print(error, file=sys.stderr)
if done:
    held(name)
# What outlives a process on a host goes with it.
for segment in globals().get("segments", []):
    LIBC.shmctl(segment, 0, None)
for path in globals().get("files", []):
    os.unlink(path)
if os.environ["HOW"] == "outside" and name == "small_files":
    for number in range(2_500):
        os.unlink(f"/tmp/{os.environ['TOKEN']}{number}")
