#!/usr/bin/env python3
"""Runs programs and the real Claude Code under `bailiwick run` from an interactive shell on a real terminal of its own (a pty): sizes,
keys, job control, colours, modes, ends, and whose words a prompt is. What the shell and the programs say is the evidence.

  check_terminal.py [WORD...]      only the checks whose names hold one of the words

As root, every check is made as root and as an ordinary user. Checks of the client need the realclients harness (see check_run.py)
and are skipped by name without it. Ends with `N passed, N failed`.
"""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import sys
import termios
import time

import check_run
import gate
from check_run import put

SIZE = (30, 110)
PATIENCE_SECONDS_MAX = 30
PROMPT = "ready-for-more> "
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


class Shell:
    """An interactive bash with job control on a terminal, and everything that was ever shown there."""

    def __init__(self, g, more=None):
        command = g.become("bash", "--norc", "--noprofile", "-i")
        env = dict(g.env, TERM="xterm-256color", COLORTERM="truecolor", PS1=PROMPT, HISTFILE="/dev/null", **(more or {}))
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(g.project)
            os.execvpe(command[0], command, env)
        self.written, self.bin = "", shlex.quote(g.bin)
        self.size(SIZE)
        self.until(PROMPT)

    def size(self, size):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def read(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.written += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    return

    def until(self, text, since=0):
        """Everything shown since, once `text` (a pattern) is."""
        end = time.monotonic() + PATIENCE_SECONDS_MAX
        while time.monotonic() < end:
            if re.search(text, self.written[since:]):
                return self.written[since:]
            self.read(0.1)
        raise AssertionError("%r never came; the terminal: %r" % (text, self.written[since:][-1200:]))

    def keys(self, text):
        os.write(self.fd, text.encode())

    def line(self, text):
        since = len(self.written)
        self.keys(text + "\r")
        return since

    def run(self, script, *options):
        """Starts `sh -c SCRIPT` behind the wall; where the terminal stands then."""
        return self.line("%s run --quiet %s -- sh -c %s" % (self.bin, " ".join(options), shlex.quote(script)))

    def says(self, command, pattern):
        since = self.line(command)
        return self.until(pattern, since + len(command))

    def modes(self):
        """The terminal's modes as the shell's programs find them."""
        said = self.says("stty -g; echo modes-''end", "modes-end")
        return re.search(r"[0-9a-f]+(:[0-9a-f]+){10,}", said).group()

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def shell(f):
    def with_shell(b, g):
        s = Shell(g)
        try:
            f(s, g)
        finally:
            s.close()
    with_shell.__name__ = f.__name__
    return check(with_shell)


# Nothing that starts other programs: a shell between vfork and exec cannot be stopped.
TICKS = ("exec /usr/bin/python3 -c 'import itertools, time\nfor i in itertools.count(1): print(\"%s %%d.\" %% i, flush=True); time.sleep(0.1)'")
WAITS = "while :; do sleep 0.05; done"


@shell
def its_size_is_the_terminals_and_follows_it(s, g):
    since = s.run("stty size; trap 'stty size' WINCH; echo be''gun; " + WAITS)
    s.until("30 110\r\nbegun", since)
    s.size((41, 97))
    s.until("41 97", since)
    s.keys("\x03")
    s.until(PROMPT, since)


@shell
def an_interrupt_is_the_agents(s, g):
    since = s.run("trap 'echo cau''ght' INT; echo be''gun; " + WAITS)
    s.until("begun", since)
    for _ in range(2):
        s.keys("\x03")
        s.until("caught", since)
        since = len(s.written)
    # The launcher is still there, and the agent may be ended by another key.
    s.keys("\x1c")
    s.until(PROMPT, since)
    s.says("echo status $?", "status 131")
    since = s.run("echo be''gun; " + WAITS)
    s.until("begun", since)
    s.keys("\x03")
    s.until(PROMPT, since)
    s.says("echo status $?", "status 130")


@shell
def it_is_suspended_and_goes_on(s, g):
    before = s.modes()
    since = s.run(TICKS % "tick")
    s.until("tick 3", since)
    for _ in range(2):
        s.keys("\x1a")
        s.until("Stopped", since)
        assert s.modes() == before, "the shell's terminal is not as it was"
        last = max(int(n) for n in re.findall(r"tick (\d+)\.", s.written))
        s.read(1)
        now = max(int(n) for n in re.findall(r"tick (\d+)\.", s.written))
        assert now == last, "it went on while it was suspended: %d, %d" % (last, now)
        s.size((50, 100))
        since = s.line("fg")
        s.until(r"tick %d\." % (last + 3), since)
    s.keys("\x03")
    s.until(PROMPT, since)
    s.says("echo status $?", "status 130")
    assert s.modes() == before


@shell
def it_suspends_itself_and_hears_that_it_goes_on(s, g):
    # As clients do that take every key themselves.
    put(os.path.join(g.project, "suspends.py"), """
import os, signal, sys, termios, tty
before = termios.tcgetattr(0)
signal.signal(signal.SIGCONT, lambda *_: (tty.setraw(0), print("on\\x20again", os.get_terminal_size().lines, end="\\r\\n", flush=True)))
tty.setraw(0)
print("be" "gun", end="\\r\\n", flush=True)
while True:
    key = os.read(0, 1)
    print("key %d." % key[0], end="\\r\\n", flush=True)
    if key == b"\\x1a":
        termios.tcsetattr(0, termios.TCSANOW, before)
        os.kill(os.getpid(), signal.%s)
    if key == b"q":
        sys.exit(7)
""")
    for how in ("SIGTSTP", "SIGSTOP"):
        path = os.path.join(g.project, "suspends.py")
        put(path, re.sub(r"signal\.(%s|SIGTSTP|SIGSTOP)\)\n    if", "signal.%s)\n    if" % how, open(path, encoding="utf-8").read()))
        since = s.run("exec /usr/bin/python3 suspends.py")
        s.until("begun", since)
        s.keys("\x03a")
        s.until(r"key 3\.[^k]*key 97\.", since)
        s.keys("\x1a")
        s.until("Stopped", since)
        s.size((33, 100))
        since = s.line("fg")
        s.until("on again 33", since)
        s.keys("\x03q")
        s.until(r"key 3\.[^k]*key 113\.", since)
        s.until(PROMPT, since)
        s.says("echo status $?", "status 7")


@shell
def jobs_beside_one_another(s, g):
    since = s.run("echo one-be''gun; read line; echo one-got $line")
    s.until("one-begun", since)
    s.keys("\x1a")
    s.until("Stopped", since)
    since = s.run("echo two-be''gun; read line; echo two-got $line")
    s.until("two-begun", since)
    s.keys("words\r")
    s.until("two-got words", since)
    # In the background it may not read the terminal, so it stops again.
    s.says("bg %1; sleep 1; jobs", "Stopped")
    since = s.line("fg %1")
    s.read(0.5)
    s.keys("more\r")
    s.until("one-got more", since)


@shell
def a_pipeline_is_suspended_whole(s, g):
    since = s.line("%s run --quiet -- sh -c %s | sed -u s/^/piped-/" % (s.bin, shlex.quote(TICKS % "tick")))
    s.until("piped-tick 3", since)
    s.keys("\x1a")
    s.until("Stopped", since)
    last = max(int(n) for n in re.findall(r"tick (\d+)\.", s.written))
    s.read(1)
    assert max(int(n) for n in re.findall(r"tick (\d+)\.", s.written)) == last
    since = s.line("fg")
    s.until(r"tick %d\." % (last + 3), since)
    s.keys("\x03")
    s.until(PROMPT, since)
    # The same without any terminal of its own.
    since = s.line("true | %s run --quiet -- sh -c %s 2>&1 | cat" % (s.bin, shlex.quote(TICKS % "tock")))
    s.until("tock 3", since)
    s.keys("\x1a")
    s.until("Stopped", since)
    last = max(int(n) for n in re.findall(r"tock (\d+)\.", s.written))
    s.read(1)
    assert max(int(n) for n in re.findall(r"tock (\d+)\.", s.written)) == last, "it went on"
    since = s.line("fg")
    s.until(r"tock %d\." % (last + 3), since)
    s.keys("\x03")
    s.until(PROMPT, since)


@shell
def it_sees_a_terminal_with_colours(s, g):
    python = "import os; print(\"tty\", [os.isatty(i) for i in range(3)], os.environ.get(\"TERM\"), os.environ.get(\"COLORTERM\"), os.ttyname(0) != \"\")"
    since = s.run("/usr/bin/python3 -c '%s'" % python)
    s.until(r"tty \[True, True, True\] xterm-256color truecolor True", since)
    since = s.run("printf '\\033[31mred\\033[0m\\n'")
    s.until("\x1b\\[31mred\x1b\\[0m", since)
    since = s.run("test -t 0 && test -w /dev/tty && echo to-''tty > /dev/tty")
    s.until("to-tty", since)


@shell
def a_killed_agent_leaves_the_terminal_as_it_was(s, g):
    before = s.modes()
    script = "stty raw -echo; printf '\\033[?1049h\\033[?25l\\033[?2004h\\033[?1003;1006h\\033[>1u'; kill -9 $$"
    since = s.run(script)
    said = s.until(PROMPT, since)
    for undone in ("\x1b[?1049l", "\x1b[?25h", "\x1b[?2004l", "\x1b[?1003l", "\x1b[?1006l", "\x1b[<1u"):
        assert undone in said, "%r is not undone: %r" % (undone, said[-300:])
    s.says("echo status $?", "status 137")
    assert s.modes() == before
    # The nearest that leaves nothing on: nothing is added.
    since = s.run("printf '\\033[?2004hx\\033[?2004l'; printf 'e''nd\\n'")
    said = s.until("end\r\n", since) + s.until(PROMPT, since)
    # But by the shell's own line editor.
    assert said.split("end\r\n", 1)[1].removeprefix("\x1b[?2004h").startswith(PROMPT), said


@shell
def ends_are_the_agents_own(s, g):
    for script, status in (("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 143), ("kill -SEGV $$", 139), ("exec no-such-program", 127)):
        since = s.run(script)
        s.until(PROMPT, since + 20)
        s.says("echo status $?", "status %d\r" % status)


@shell
def what_is_typed_ahead_and_pasted_arrives_whole(s, g):
    since = s.run("stty -echo; echo be''gun; head -c 200000 | md5sum")
    s.until("begun", since)
    lines = "".join("%04d %s\n" % (n, "x" * 94) for n in range(2000))
    for at in range(0, len(lines), 1000):
        s.keys(lines[at:at + 1000])
        time.sleep(0.002)
    import hashlib
    s.until(hashlib.md5(lines[:200000].encode()).hexdigest(), since)


@check
def the_real_client_at_its_terminal(b, g):
    heard = check_run.OPEN + 'forbid(principal, action == Action::"claude/Bash", resource) when { !context.flow.prompt };\n'
    g.stop()
    g.policy(heard)
    g.serve()
    where = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:%d" % b.server.server_port}
    claude = shlex.quote(os.environ["CLAUDE"])
    b.scripts.update(main=[], sub=[])
    g.run("run", "--quiet", "--", os.environ["CLAUDE"], "-p", "hi", env=where)
    # What a person answers once: how it looks, and that this folder may be worked in.
    path = next(os.path.join(r, ".claude.json") for r, _, names in os.walk(os.path.join(g.home, ".local")) if ".claude.json" in names)
    known = json.load(open(path, encoding="utf-8"))
    known.update(hasCompletedOnboarding=True, theme="dark", numStartups=5)
    known.setdefault("projects", {}).setdefault(g.project, {}).update(hasTrustDialogAccepted=True, hasCompletedProjectOnboarding=True)
    put(path, json.dumps(known))
    g.give()
    s = Shell(g, where)
    try:
        before = s.modes()
        since = s.line("%s run -- %s" % (s.bin, claude))
        s.until("behind Bailiwick", since)
        s.read(2)
        assert "auth may not work" not in s.written, "the client complains of its key"
        b.scripts.update(main=[[check_run.bash("echo did-it")]])
        s.keys("please do it now")
        s.read(0.5)
        s.keys("\r")
        s.until("ALL.*DONE", since)
        told = [t for body in b.bodies for m in body["messages"] if isinstance(m["content"], list)
                for t in m["content"] if t["type"] == "tool_result"]
        assert told and "did-it" in json.dumps(told) and not told[-1].get("is_error"), "what was typed was not heard: %s" % told
        assert not [r for r in g.journal() if r.get("rule") == "prompt-nobody-gave"]
        since = len(s.written)
        s.keys("\x1a")
        s.until("Stopped", since)
        assert s.modes() == before
        s.size((40, 100))
        since = s.line("fg")
        s.until("behind Bailiwick", since)
        s.read(1)
        since = len(s.written)
        s.keys("\x03")
        s.read(0.5)
        s.keys("\x03")
        s.until("calls permitted", since)
        s.until(PROMPT, since)
        s.says("echo status $?", "status 0")
        assert s.modes() == before
    finally:
        s.close()


def main():
    words = sys.argv[1:]
    owners = [("root", None), ("ordinary", check_run.ORDINARY)] if os.geteuid() == 0 else [("ordinary", None)]
    chosen = [f for f in CHECKS if not words or any(w in f.__name__ for w in words)]
    tally, real, b = gate.Tally(), gate.realclients(), None
    with gate.client() if real else contextlib.nullcontext(), check_run.Canary() as canary:
        if real:
            sys.path.insert(0, real)
            import fake_anthropic
            b = check_run.Bench(fake_anthropic, canary)
        for who, owner in owners:
            g = check_run.Ground(owner)
            try:
                g.serve()
                for f in chosen:
                    name = "%s, as %s" % (f.__name__.replace("_", " "), who)
                    if f is the_real_client_at_its_terminal and b is None:
                        print("skip %s: no realclients harness (set BAILIWICK_REALCLIENTS)" % name)
                        continue
                    tally.attempt(name, lambda: f(b, g))
            finally:
                g.close()
    sys.exit(tally.done())


if __name__ == "__main__":
    main()
