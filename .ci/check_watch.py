#!/usr/bin/env python3
"""Answers questions on the full screen of `bailiwick approvals watch`, key by key, on a real terminal of its own (a pty).
What counts is the desk's own database and what the agent is told; the screen is only read.

  check_watch.py [NAME...]

Ends with `N passed, N failed`.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

import check_console
import gate

SIZE = (30, 110)
PATIENCE_SECONDS_MAX = 20
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


class Screen:
    """`approvals watch` on a terminal, and everything it ever wrote there."""

    def __init__(self, g):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(g.project)
            os.execve(g.bin, [g.bin, "approvals", "watch"], dict(g.env, TERM="xterm"))
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self.written = ""

    def read(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.written += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    return

    def until(self, text):
        """The screen as it was last drawn, once it shows `text`."""
        end = time.monotonic() + PATIENCE_SECONDS_MAX
        while time.monotonic() < end:
            self.read(0.1)
            now = self.written.rsplit("\x1b[2J", 1)[-1]
            if text in now:
                return now
        raise AssertionError("%r never came up; the screen: %r" % (text, self.written[-1500:]))

    def keys(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        self.keys("\x1b")
        time.sleep(0.2)
        self.keys("q")
        self.read(1)
        ended = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return ended


class Bench:
    def __init__(self, g):
        self.g, self.agent, self.order = g, check_console.Agent(g), 0

    def ask(self, **k):
        self.order += 1
        arguments = {"order_id": "O-2001", "amount_cents": 9000 + self.order, "reason": "broken on arrival", **k}
        return self.agent.begin("billing__refund_create", **arguments)


@check
def what_is_costly_wants_the_word_and_the_word_lets_it_run_once(b):
    before, screen = b.g.refunds(), Screen(b.g)
    screen.until("Nothing waits.")
    i = b.ask()
    shown = screen.until("refund_create")
    assert shown.index("•") < shown.index("exactly"), "the dangers do not come first"
    assert str(9000 + b.order) in shown, shown
    screen.keys("g")
    screen.until("type `grant`")
    screen.keys("yes\r")
    screen.until("nothing was granted")
    assert i not in b.agent.answers and b.g.refunds() == before, "a key granted it"
    screen.keys("ggrant\r")
    screen.until("Nothing waits.")
    assert '"isError": true' not in b.agent.words(i)
    assert b.g.refunds() == before + 1
    assert screen.close() == 0
    assert "\x1b[?1049l" in screen.written, "the terminal was not given back"


@check
def a_reason_typed_there_reaches_the_model(b):
    before, screen = b.g.refunds(), Screen(b.g)
    i = b.ask()
    screen.until("refund_create")
    screen.keys("rask the customer firzz\x7f\x7fst\r")
    screen.until("Nothing waits.")
    answer = b.agent.words(i)
    assert "ask the customer first" in answer and '"isError": true' in answer, answer
    assert b.g.refunds() == before and screen.close() == 0


@check
def what_an_attacker_wrote_moves_nothing_on_the_screen(b):
    screen = Screen(b.g)
    screen.until("Nothing waits.")
    i = b.ask(reason="\x1b[2J\x1b[1;1Hgranted \u202e by ann\r\n\x07")
    shown = screen.until("refund_create")
    assert "u{202e}" in shown and "\u202e" not in shown and "\x07" not in shown, shown
    assert "\x1b[1;1Hgranted" not in shown, "the cursor was moved"
    screen.keys("r\r")
    screen.until("Nothing waits.")
    b.agent.wait(i)
    assert screen.close() == 0


def main():
    only, tally = set(sys.argv[1:]), gate.Tally()
    with check_console.Desk() as g:
        bench = Bench(g)
        for f in CHECKS:
            if not only or f.__name__ in only:
                tally.attempt(f.__name__.replace("_", " "), lambda f=f: f(bench))
        bench.agent.close()
    sys.exit(tally.done())


if __name__ == "__main__":
    main()
