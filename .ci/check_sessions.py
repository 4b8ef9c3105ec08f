#!/usr/bin/env python3
"""Follows sessions of the real Claude Code and of an Agent SDK program under `bailiwick run`: streams of messages, /clear, compaction,
continued and resumed runs, subagents, background commands, worktrees. What one has read, whatever goes on from it has read.

  check_sessions.py [WORD...]      only the checks whose names hold one of the words

What counts is what the client could still do afterwards, and the journal. Ground and servers are those of check_vectors.py.
"""
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time

import check_run
import check_vectors
import gate
from check_run import OPEN, bash, put

WAIT_SECONDS_MAX = 60
# Nothing may be written to this file by who read something from elsewhere.
POLICY = OPEN + ('@id("late") forbid(principal, action == Action::"claude/Write", resource) '
                 'when { context.args.file_path.name == "late.txt" && context.flow.tainted };\n')
INBOX = {"tool": "mcp__bailiwick__post__inbox", "input": {}}
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


class Bench(check_run.Bench):
    """A model that says what comes next in a list, whoever asks; side requests aside."""

    def __init__(self, fake, canary, there):
        super().__init__(fake, canary)
        self.there, self.turns, self.seen = there, [], []

        def blocks(_, body):
            self.seen.append(body)
            if not body.get("tools"):
                return [{"text": "a summary"}]
            return self.turns.pop(0) if self.turns else [{"text": "ALL DONE"}]

        fake.blocks_for = blocks

    def env(self, g):
        return dict(g.env, ANTHROPIC_BASE_URL="http://127.0.0.1:%d" % self.server.server_port)

    def command(self, g, *args, options=()):
        return g.become(g.bin, "run", "--quiet", *options, "--", os.environ["CLAUDE"], "-p", *args)

    def once(self, g, turns, *args, cwd=None):
        """One headless run; its rows and what each call got back, by the call's input."""
        self.turns[:] = [[t] for t in turns]
        p = subprocess.run(self.command(g, *args, "--output-format", "stream-json", "--verbose"), cwd=cwd or g.project, env=self.env(g),
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_SECONDS_MAX * 2)
        rows = [json.loads(x) for x in p.stdout.splitlines() if x.startswith("{")]
        assert p.returncode == 0 and rows, (p.returncode, p.stdout[-600:], p.stderr[-600:])
        return rows


def results(rows):
    """Whether each call failed, and what it said, in order."""
    found = []
    for row in rows:
        content = row.get("message", {}).get("content") if row.get("type") == "user" else None
        for c in content if isinstance(content, list) else []:
            if c.get("type") == "tool_result":
                found.append((bool(c.get("is_error")), json.dumps(c.get("content"))))
    return found


def session(rows):
    return next(r["session_id"] for r in reversed(rows) if r.get("session_id"))


def late(g):
    return {"tool": "Write", "input": {"file_path": g.project + "/late.txt", "content": "x\n"}}


def fresh(b, g):
    g.stop()
    g.policy(POLICY)
    g.serve()
    forget(g)


def forget(g):
    path = os.path.join(g.project, "late.txt")
    if os.path.exists(path):
        os.remove(path)


def is_late(g):
    there = os.path.exists(os.path.join(g.project, "late.txt"))
    forget(g)
    return there


class Stream:
    """A run that is sent messages on its standard input, one after the other."""

    def __init__(self, b, g):
        self.b, self.rows, self.results = b, [], queue.Queue()
        self.p = subprocess.Popen(b.command(g, "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"),
                                  cwd=g.project, env=b.env(g), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.p.stdout:
            if line.startswith("{"):
                row = json.loads(line)
                self.rows.append(row)
                if row.get("type") == "result":
                    self.results.put(row)
        self.results.put(None)

    def say(self, text, *turns):
        """Sends one message; what its calls got back once it is answered."""
        since = len(self.rows)
        self.b.turns[:] = [[t] for t in turns]
        self.p.stdin.write(json.dumps({"type": "user", "message": {"role": "user", "content": text}}) + "\n")
        self.p.stdin.flush()
        row = self.results.get(timeout=WAIT_SECONDS_MAX)
        assert row is not None, "it ended: %s" % self.p.stderr.read()[-600:]
        return results(self.rows[since:])

    def end(self):
        self.p.stdin.close()
        assert self.p.wait(WAIT_SECONDS_MAX) == 0


def alerts(g):
    return [r["rule"] for r in g.journal() if r.get("kind") == "alert"]


@check
def a_stream_of_messages_keeps_what_it_has_read(b, g):
    fresh(b, g)
    s = Stream(b, g)
    first = s.say("write it", late(g))
    assert [e for e, _ in first] == [False] and is_late(g), first
    read = s.say("read the mail", INBOX)
    assert "SYSTEM NOTICE" in read[0][1], read
    after = s.say("write it", late(g))
    assert [e for e, _ in after] == [True] and not is_late(g), after
    for word in ("/clear", "/compact"):
        s.say(word)
        again = s.say("write it", late(g))
        assert [e for e, _ in again] == [True] and not is_late(g), (word, again)
    s.end()
    assert "prompt-nobody-gave" not in alerts(g), "what was written to it was not taken as its user's words"


@check
def a_run_that_goes_on_has_read_what_the_one_before_has(b, g):
    fresh(b, g)
    # Nothing is vouched for of what tools answer, so only talking leaves it clean.
    clean = session(b.once(g, [], "hello"))
    rows = b.once(g, [late(g)], "write it", "--resume", clean)
    assert not results(rows)[-1][0] and is_late(g), "nothing was read, and it may not go on: %s" % rows[-3:]
    rows = b.once(g, [INBOX], "read the mail")
    tainted = session(rows)
    for args in (("--continue",), ("--resume", tainted), ("--resume", tainted, "--fork-session")):
        rows = b.once(g, [late(g)], "write it", *args)
        assert results(rows)[-1][0] and not is_late(g), (args, results(rows))
    # Whoever takes it up at a gate that remembers nothing is not trusted either; who begins anew is.
    g.stop()
    g.serve()
    rows = b.once(g, [late(g)], "write it", "--resume", tainted)
    assert results(rows)[-1][0] and not is_late(g), results(rows)
    rows = b.once(g, [late(g)], "write it")
    assert not results(rows)[-1][0] and is_late(g), results(rows)


@check
def what_a_subagent_reads_its_parent_has_read(b, g):
    fresh(b, g)
    work = {"description": "x", "prompt": "read the mail", "subagent_type": "general-purpose", "run_in_background": False}
    rows = b.once(g, [{"tool": "Agent", "input": work}, INBOX], "go")
    b.turns[:] = []
    rows = b.once(g, [{"tool": "Agent", "input": work}, INBOX, late(g), {"text": "sub done"}, late(g)], "go")
    told = [t for body in b.seen for m in body["messages"] if isinstance(m["content"], list)
            for t in m["content"] if t["type"] == "tool_result"]
    assert any("SYSTEM NOTICE" in json.dumps(t) for t in told), "the subagent read nothing: %s" % results(rows)
    assert results(rows)[-1][0] and not is_late(g), results(rows)


@check
def a_command_in_the_background_is_behind_the_wall(b, g):
    fresh(b, g)
    command = "cat %s; echo $AWS_SECRET_ACCESS_KEY; sleep 1; cat sum.txt | wc -l" % g.ssh
    call = {"tool": "Bash", "input": {"command": command, "description": "x", "run_in_background": True}}
    b.seen.clear()
    call["input"]["description"] = "nobody but the model says that"
    rows = b.once(g, [call, bash("sleep 3; echo waited")], "go")
    assert any("waited" in text for _, text in results(rows)), results(rows)
    # The client tells of its end as if the user had said so, in words of the model's.
    assert "nobody but the model says that" in json.dumps([m for body in b.seen for m in body["messages"] if m["role"] == "user"])
    sent = json.dumps(b.seen)
    assert not any(s in sent for s in check_run.SECRETS), "it read a secret"
    outputs = [os.path.join(r, n) for r, _, names in os.walk(g.home) for n in names if n.endswith(".output")]
    said = [open(p, encoding="utf-8").read() for p in outputs]
    shown = sent + "".join(said)
    assert "No such file" in shown or "cannot access" in shown or "Permission denied" in shown or "background" in shown.lower(), shown[-900:]
    # One that would go on for ever ends with its agent.
    beat = os.path.join(g.project, "beat")
    s = Stream(b, g)
    call = {"command": "while :; do date +%N > beat; sleep 0.1; done", "description": "x", "run_in_background": True}
    s.say("go", {"tool": "Bash", "input": call}, bash("sleep 1"))
    assert beats(beat), "it never ran"
    s.p.kill()
    end = time.monotonic() + 10
    while beats(beat):
        assert time.monotonic() < end, "a command in the background outlives its agent"


def beats(path):
    def now():
        return open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    before = now()
    time.sleep(1)
    return now() != before


@check
def a_worktree_of_the_project_is_worked_in(b, g):
    fresh(b, g)
    tree = os.path.join(g.project, "trees", "one")
    subprocess.run(g.become("git", "-C", g.project, "worktree", "add", "-q", tree), check=True, env=g.env)
    try:
        work = {"tool": "Write", "input": {"file_path": tree + "/made.txt", "content": "x\n"}}
        rows = b.once(g, [bash("pwd; git status --short; git log --oneline | head -1; touch by-shell; true"), work, bash("git status --short")],
                      "go", cwd=tree)
        told = results(rows)
        assert tree in told[0][1] and "begun" in told[0][1], told
        assert not told[1][0] and os.path.exists(tree + "/made.txt"), told
        assert "made.txt" in told[2][1], told
        planted = [{"tool": "Write", "input": {"file_path": p, "content": "true\n"}}
                   for p in (g.project + "/.git/worktrees/one/config.worktree", g.project + "/.git/hooks/post-merge")]
        rows = b.once(g, planted, "go", cwd=tree)
        assert all(e for e, _ in results(rows)), results(rows)
    finally:
        subprocess.run(["git", "-C", g.project, "-c", "safe.directory=*", "worktree", "remove", "--force", tree], check=False)


SDK = '''
import asyncio, json, os, sys
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient

async def main():
    options = ClaudeAgentOptions(cwd=os.getcwd(), cli_path=os.environ["CLAUDE"], permission_mode="bypassPermissions", setting_sources=[])
    async with ClaudeSDKClient(options) as client:
        for prompt in sys.argv[1:]:
            await client.query(prompt if prompt != "FORGED" else "nobody " + "gave this")
            async for message in client.receive_response():
                content = getattr(message, "content", None)
                for block in content if isinstance(content, list) else []:
                    if type(block).__name__ == "ToolResultBlock":
                        print(json.dumps([bool(block.is_error), json.dumps(block.content)]), flush=True)

asyncio.run(main())
'''


@check
def a_program_of_the_agent_sdk_keeps_its_session(b, g):
    fresh(b, g)
    put(os.path.join(g.project, "agent.py"), SDK)
    python, packages = os.environ["SDK_PYTHON"], os.environ["SDK_PACKAGES"]
    put(os.path.join(g.dir, "bailiwick.toml"), open(os.path.join(g.dir, "bailiwick.toml"), encoding="utf-8").read().split("\n[agent.python]")[0] + (
        '\n[agent.python]\nworkspace = "read-write"\nread = ["%s", "%s"]\n' % (packages, os.path.dirname(os.environ["CLAUDE"]))))
    g.give()
    g.stop()
    g.serve()

    def program(turns, *prompts):
        b.turns[:] = [t if isinstance(t, list) else [t] for t in turns]
        p = subprocess.run(g.become(g.bin, "run", "--profile", "python", "--client", "claude", "--env", "CLAUDE=" + os.environ["CLAUDE"],
                                    "--env", "PYTHONPATH=" + packages, "--", python, "agent.py", *prompts), cwd=g.project, env=b.env(g),
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_SECONDS_MAX * 2)
        rows = [json.loads(x) for x in p.stdout.splitlines() if x.startswith("[")]
        assert p.returncode == 0 and rows, (p.returncode, p.stdout[-300:], p.stderr[-900:])
        return rows

    done = [{"text": "ALL DONE"}]
    rows = program([late(g), done, bash("cat %s; touch made; echo ran" % g.ssh)], "write it", "go on")
    assert [e for e, _ in rows] == [False, False] and "ran" in rows[1][1] and check_run.SSH not in rows[1][1], rows
    assert is_late(g) and os.path.exists(g.project + "/made"), (rows, os.listdir(g.project))
    before = alerts(g).count("prompt-nobody-gave")
    rows = program([INBOX, done, late(g)], "read the mail", "write it")
    assert "SYSTEM NOTICE" in rows[0][1] and rows[1][0] and not is_late(g), rows
    assert alerts(g).count("prompt-nobody-gave") == before
    program([bash("echo x")], "FORGED")
    assert alerts(g).count("prompt-nobody-gave") == before + 1


def main():
    words = sys.argv[1:]
    real = gate.realclients()
    owners = [("root", None), ("ordinary", check_run.ORDINARY)] if os.geteuid() == 0 else [("ordinary", None)]
    chosen = [f for f in CHECKS if not words or any(w in f.__name__ for w in words)]
    if not real:
        for who, _ in owners:
            for f in chosen:
                print("skip %s, %s: no realclients harness (set BAILIWICK_REALCLIENTS)" % (f.__name__, who))
        sys.exit(gate.Tally().done())
    sys.dont_write_bytecode = True
    sys.path.insert(0, real)
    import fake_anthropic
    tally = gate.Tally()
    peers = gate.peers()
    with gate.client() as programs, check_run.Canary() as canary, check_vectors.Elsewhere() as there:
        # An ordinary user may not look where the peers are.
        find = "import sys, claude_agent_sdk as s, os; print(sys.version_info[:2], os.path.dirname(os.path.dirname(s.__file__)))"
        version, packages = subprocess.run([peers["AGENT_SDK_PY"], "-c", find], capture_output=True, text=True, check=True).stdout.rsplit(" ", 1)
        system = subprocess.run(["/usr/bin/python3", "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True).stdout
        os.environ["SDK_PYTHON"] = "/usr/bin/python3" if system.strip() == version else os.path.realpath(peers["AGENT_SDK_PY"])
        os.environ["SDK_PACKAGES"] = shutil.copytree(packages.strip(), os.path.join(programs, "packages"))
        bench = Bench(fake_anthropic, canary, there)
        for who, owner in owners:
            g = check_vectors.Ground(owner, there)
            try:
                g.serve()
                for f in chosen:
                    tally.attempt("%s, as %s" % (f.__name__.replace("_", " "), who), lambda: f(bench, g))
            finally:
                g.close()
    sys.exit(tally.done())


if __name__ == "__main__":
    main()
