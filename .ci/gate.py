"""Starts the gate under test in a project of its own, and talks to it the way a person or a client would.
Nothing here reads the gate's insides: only its command line, its one line of JSON and its HTTP endpoint.

Environment: BAILIWICK = the binary (default target/debug/bailiwick), PEERS_DIR = where .ci/peers.sh installed.
"""
import asyncio
import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
READY_SECONDS_MAX = 60
HEAD_BYTES_MAX = 256 * 1024
ALLOW_ALL = "permit(principal, action, resource);\n"


def peers():
    """What .ci/peers.sh wrote into env.sh, by name; PATH holds only what it puts in front."""
    base = os.environ.get("PEERS_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bailiwick-peers")
    try:
        lines = open(os.path.join(base, "env.sh"), encoding="utf-8").read()
    except OSError:
        sys.exit("no peers at %s; run .ci/peers.sh" % base)
    found = dict(re.findall(r"^export (\w+)='([^']*)'", lines, re.M))
    os.environ["PATH"] = found["PATH"] + os.pathsep + os.environ["PATH"]
    return found


@contextlib.contextmanager
def client():
    """A folder where an ordinary user may look too, with Claude Code in it, which CLAUDE names meanwhile. Its own name stays: its
    adapter goes by that."""
    programs = tempfile.mkdtemp(prefix="bwc-")
    try:
        os.chmod(programs, 0o755)
        os.environ["CLAUDE"] = shutil.copy(peers()["CLAUDE"], os.path.join(programs, "claude"))
        yield programs
    finally:
        shutil.rmtree(programs, ignore_errors=True)


def realclients():
    """The folder of the fake model and its harness, or None where this checkout has no such neighbour."""
    for d in (os.environ.get("BAILIWICK_REALCLIENTS"), os.path.join(ROOT, "..", "shared", "tools", "realclients")):
        if d and os.path.exists(os.path.join(d, "harness.py")):
            return os.path.abspath(d)
    return None


def binary():
    path = os.path.abspath(os.environ.get("BAILIWICK") or os.path.join(ROOT, "target", "debug", "bailiwick"))
    if not os.access(path, os.X_OK):
        sys.exit("no gate at %s; build it or set BAILIWICK" % path)
    return path


class Gate:
    """One project folder with its own state, and `bailiwick serve` over it while the context is open.

    servers: name -> URL or command line.  policy: file name -> Cedar text; only_ours removes what init wrote.
    marks=False shows results as servers wrote them, for checks that compare texts.
    """

    def __init__(self, servers, policy, only_ours=False, marks=True):
        self.bin, self.servers, self.policy, self.only_ours, self.marks = binary(), servers, policy, only_ours, marks
        self.process = None

    def __enter__(self):
        self.home = tempfile.mkdtemp(prefix="bailiwick-ci-")
        self.project, self.state = os.path.join(self.home, "project"), os.path.join(self.home, "state")
        self.dir = os.path.join(self.project, ".bailiwick")
        self.env = dict(os.environ, BAILIWICK_DIR=self.dir, BAILIWICK_STATE=self.state)
        os.makedirs(self.project)
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def prepare(self):
        # init has no folder yet to be pointed at: it writes .bailiwick where it is started.
        named = [x for n, s in self.servers.items() for x in ("--server", "%s=%s" % (n, s))]
        self.run("init", "--yes", *named)
        if not self.marks:
            with open(os.path.join(self.dir, "bailiwick.toml"), "a", encoding="utf-8") as f:
                f.write('\n[marks]\nmode = "off"\n')
        folder = os.path.join(self.dir, "policy")
        os.makedirs(folder, exist_ok=True)
        if self.only_ours:
            for f in os.listdir(folder):
                os.remove(os.path.join(folder, f))
        for name, text in self.policy.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(text)

    def start(self):
        err = open(os.path.join(self.home, "serve.stderr"), "ab")
        self.process = subprocess.Popen([self.bin, "serve", "--json", "--listen", "127.0.0.1:0"], cwd=self.project,
                                        env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err)
        err.close()
        first = queue.Queue()
        threading.Thread(target=lambda: first.put(self.process.stdout.readline()), daemon=True).start()
        try:
            line = first.get(timeout=READY_SECONDS_MAX)
            ready = json.loads(line)
        except (queue.Empty, ValueError) as e:
            raise SystemExit("the gate did not say it is ready (%s): %s" % (type(e).__name__, self.complaints()))
        self.told, self.url = ready, ready["url"]
        with open(ready["token_file"], encoding="utf-8") as f:
            self.token = f.read().strip()

    def complaints(self):
        with contextlib.suppress(OSError):
            return open(os.path.join(self.home, "serve.stderr"), encoding="utf-8", errors="replace").read()[-2000:]
        return ""

    def run(self, *args, stdin=None, ok=(0,), seconds_max=120):
        p = subprocess.run([self.bin, *args], cwd=self.project, env=self.env, input=stdin, capture_output=True,
                           text=True, timeout=seconds_max)
        if ok is not None and p.returncode not in ok:
            raise RuntimeError("bailiwick %s: exit %d: %s" % (" ".join(args), p.returncode, (p.stderr or p.stdout)[-600:]))
        return p

    def json(self, *args):
        return rows(self.run(*args, "--json").stdout)

    def kill(self):
        """As the kernel would: no goodbye, nothing flushed."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        if os.environ.get("KEEP"):
            print("kept " + self.home)
        else:
            shutil.rmtree(self.home, ignore_errors=True)


def rows(text):
    """JSON as one value or one per line; a list, or the list inside a lone object, is flattened."""
    try:
        value = json.loads(text)
    except ValueError:
        return [json.loads(x) for x in text.splitlines() if x.strip()]
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list)]
        return lists[0] if len(lists) == 1 else [value]
    return value


class Relay:
    """Adds one header to every request and touches nothing else: Host, Origin, framing and streams pass byte for byte.

    For clients that cannot be given an Authorization header. One upstream connection for each client connection, so a
    client that hangs up hangs up on the gate too (which is how a modern call is cancelled).
    """

    def __init__(self, url, header):
        u = urllib.parse.urlsplit(url)
        self.to, self.path, self.header = (u.hostname, u.port), u.path, header

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        up = threading.Event()

        async def listen():
            self.server = await asyncio.start_server(self.one, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
            up.set()

        def work():
            asyncio.set_event_loop(self.loop)
            self.loop.create_task(listen())
            self.loop.run_forever()

        threading.Thread(target=work, daemon=True).start()
        up.wait()
        self.url = "http://127.0.0.1:%d%s" % (self.server.sockets[0].getsockname()[1], self.path)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def one(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.to)
        except OSError:
            return writer.close()
        ways = [asyncio.create_task(self.requests(reader, up_writer)), asyncio.create_task(self.bytes(up_reader, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for t in ways:
            t.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for w in (writer, up_writer):
            w.close()

    async def bytes(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def requests(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line, rest = head.split(b"\r\n", 1)
            writer.write(line + b"\r\n" + self.header.encode() + b"\r\n" + rest)
            fields = {k.strip().lower(): v.strip() for k, _, v in (x.partition(b":") for x in rest.split(b"\r\n"))}
            if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
                size = -1
                while size:
                    mark = await reader.readuntil(b"\r\n")
                    size = int(mark.split(b";")[0], 16)
                    writer.write(mark + await reader.readexactly(size + 2))
            else:
                writer.write(await reader.readexactly(int(fields.get(b"content-length") or 0)))
            await writer.drain()


class Tally:
    """Counts checks, printing each; `done` prints the line every check here ends with and gives the exit code."""

    def __init__(self):
        self.ok = self.bad = 0

    def check(self, name, problem=None):
        """problem: None when the thing holds, else what was seen."""
        if problem is None:
            self.ok += 1
            print("ok   " + name, flush=True)
        else:
            self.bad += 1
            print("FAIL %s: %s" % (name, str(problem)[:600]), flush=True)

    def attempt(self, name, f):
        t = time.monotonic()
        try:
            f()
        except Exception as e:
            return self.check(name, "%s: %s" % (type(e).__name__, e))
        self.check("%s (%.1f s)" % (name, time.monotonic() - t) if time.monotonic() - t > 20 else name)

    def done(self):
        print("%d passed, %d failed" % (self.ok, self.bad), flush=True)
        return 1 if self.bad else 0
