"""Runs one attack by name, in this process or in a grandchild in a session of its own; `--list` prints all as lines of JSON.
An attack says how its success is seen on the host; it never judges itself, but for `proved`, where it prints its token."""

import ctypes, json, os, signal, sys

LIBC = ctypes.CDLL(None, use_errno=True)
ATTACKS = {}
E = os.environ
WORK, OUT, TOKEN = E.get("WORK", ""), E.get("OUT", ""), E.get("TOKEN", "")
CANARY = OUT + "/canary"
SHOWN = E.get("SHOWN", "")
VICTIM = int(E.get("VICTIM", "0"))
# Outside the victim, a process of the same user; inside the sandbox's first process.
TARGET = int(E.get("TARGET", "0"))
NEAR = json.loads(E.get("NEAR", "{}"))
SECONDS_MAX = 8


def attack(effect, control="plain", stage="", mode="ReadWrite"):
    """`effect`: see verdict.rs. `control`: where it works outside: plain (as the same user), userns (in an own user
    namespace), root (only as root). `stage`: what the workspace holds before."""
    def register(run):
        ATTACKS[run.__name__] = (run, effect, control, stage, mode)
        return run
    return register


class Failed(Exception):
    pass


def call(number, *arguments):
    """A system call by number; raises where it fails."""
    made = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *made)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def text(value):
    return ctypes.c_char_p(value.encode())


def each(steps):
    """Tries every step, whatever came of those before."""
    for step in steps:
        try:
            step()
        except (OSError, ValueError, Failed) as error:
            print(f"  {error}", file=sys.stderr)


def put(path, content=None):
    with open(path, "w") as file:
        file.write((content or "{}").format(TOKEN) if content is None else content)


def shown(path):
    with open(path, "rb") as file:
        sys.stdout.buffer.write(file.read(1 << 20))
    sys.stdout.flush()


def proved():
    print("PROVED-" + TOKEN, flush=True)


def sh(line):
    import subprocess
    done = subprocess.run(["/bin/sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS_MAX)
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    sys.stdout.flush()
    return done.returncode


def load():
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, folder)
    sys.modules["attack"] = sys.modules["__main__"]
    for topic in ("files", "protected", "processes", "ipc", "network", "kernel"):
        __import__(topic)


def run(name):
    signal.alarm(SECONDS_MAX)
    # Says that nothing stopped the attack before it began.
    print("BEGUN-" + TOKEN, flush=True)
    try:
        ATTACKS[name][0]()
    except (OSError, ValueError, Failed, KeyError) as error:
        print(f"  {type(error).__name__} {error}", file=sys.stderr)
    sys.stdout.flush()


def as_grandchild(name):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.close(reader)
            run(name)
            os._exit(0)
        os._exit(0)
    os.close(writer)
    os.wait()
    # Ends when the last holder of the other side does.
    os.read(reader, 1)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    load()
    if sys.argv[1] == "--list":
        for name, (function, effect, control, stage, mode) in ATTACKS.items():
            assert function.__doc__, name
            print(json.dumps({"name": name, "effect": effect, "control": control, "stage": stage, "mode": mode}))
    elif sys.argv[2] == "grandchild":
        as_grandchild(sys.argv[1])
    else:
        run(sys.argv[1])
