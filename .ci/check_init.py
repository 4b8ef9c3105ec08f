#!/usr/bin/env python3
"""`bailiwick init` and `uninstall` as a person meets them: questions on a real terminal (a pty), and the real Claude Code in a project whose
keys were moved. What counts is every file of the home, and every request that the model was sent.

  check_init.py [WORD...]          only the checks whose names hold one of the words

As root, every check is made twice: as root, and as an ordinary user. Without the realclients harness every check is skipped by name.
Ends with `N passed, N failed`.
"""
import json
import os
import pty
import select
import sys
import time

import check_run
import gate

PATIENCE_SECONDS_MAX = 60
# Values that look like keys, and open nothing.
TOKEN, SESSION, MODEL = "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", "kX9fQ2mLw8Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyR", "Zr4tYb6NcVd1Hs3Jg5Pk7UaBxEyRkX9fQ2mLw8"
KEYS = (TOKEN, SESSION, MODEL)
SERVER = r'''
import sys, json, os
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        r = {"protocolVersion": m["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "t", "version": "1"}}
    elif m.get("method") == "tools/list":
        r = {"tools": [{"name": "length", "description": "says how long its key is", "inputSchema": {"type": "object"}}]}
    elif m.get("method") == "tools/call":
        r = {"content": [{"type": "text", "text": "length %d of %s" % (len(os.environ["GITHUB_TOKEN"]), os.environ["GITHUB_TOKEN"])}]}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
'''
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


def project(g):
    """A project with keys where people have them, and no gate."""
    server = {"command": "/usr/bin/python3", "args": ["server.py"], "env": {"GITHUB_TOKEN": TOKEN}}
    g.write({
        "server.py": SERVER, ".env": "PORT=3000\nSESSION_SECRET=%s\n" % SESSION, ".mcp.json": {"mcpServers": {"tracker": server}},
        ".claude/settings.local.json": {"env": {"ANTHROPIC_API_KEY": MODEL}},
    })
    return g.files()


def talk(g, words, answers):
    """Runs a command on a terminal of its own, answers each question, and gives its status and what it said."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(g.project)
        command = g.become(g.bin, *words)
        os.execvpe(command[0], command, dict(g.env, TERM="xterm"))
    said, asked, end = "", 0, time.monotonic() + PATIENCE_SECONDS_MAX
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(fd, 65536)
        except OSError:
            break
        said += part.decode("utf-8", "replace")
        while said.count("[y/N") > asked:
            os.write(fd, answers[asked].encode() + b"\n")
            asked += 1
    os.close(fd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert asked == len(answers), "%d questions, not %d: %s" % (asked, len(answers), said)
    return status, said


@check
def nothing_happens_without_a_yes(b, g):
    before = project(g)
    status, said = talk(g, ["init"], ["", "n", "no", "n"])
    assert (status, g.files()) == (1, before), said
    assert not any(key in said for key in KEYS), said
    for place in (".env", ".mcp.json", "settings.local.json"):
        assert place in said, (place, said)


@check
def keys_are_moved_where_that_was_answered_and_come_back(b, g):
    before = project(g)
    status, said = talk(g, ["init"], ["all", "y"])
    assert status == 0, said
    text = open(os.path.join(g.project, ".mcp.json"), encoding="utf-8").read()
    assert TOKEN not in text and "--start" in text, text
    kept = {n for n, d in g.files().items() if before.get(n) == d}
    assert {"project/.env", "project/.claude/settings.local.json"} <= kept, kept
    status, said = talk(g, ["uninstall"], ["n"])
    assert status == 1 and os.path.isdir(g.dir), said
    status, said = talk(g, ["uninstall"], ["y", "n"])
    assert (status, g.files()) == (0, before), said
    assert "github-token" in g.run("secret", "list")


@check
def keys_stay_where_that_was_answered(b, g):
    before = project(g)
    status, said = talk(g, ["init"], ["n", "", "x", "y"])
    own = {n: d for n, d in g.files().items() if not n.startswith("project/.bailiwick/")}
    assert (status, own) == (0, before), said
    status, said = talk(g, ["uninstall"], ["y", "y"])
    assert (status, g.files()) == (0, before), said


@check
def each_place_is_asked_about_by_itself(b, g):
    before = project(g)
    # Servers first, then the variables of the project, then those of the client's settings.
    status, said = talk(g, ["init"], ["n", "y", "n", "y"])
    own = {n: d for n, d in g.files().items() if not n.startswith("project/.bailiwick/")}
    assert (status, own) == (0, before), said
    listed = g.run("secret", "list")
    assert "session-secret" in listed and "github-token" not in listed and "anthropic" not in listed, listed
    text = open(os.path.join(g.dir, "bailiwick.toml"), encoding="utf-8").read()
    assert '".env"' in text and "settings" not in text, text
    assert g.run("uninstall", "--yes") and g.files() == before


@check
def the_real_client_works_and_is_told_no_key(b, g):
    before = project(g)
    g.run("init", "--yes", "--keys", "move")
    g.configure("ask_wait_seconds", "1")
    g.policy(check_run.OPEN)
    g.serve()
    looks = [check_run.bash("cat .env .claude/settings.local.json .mcp.json .bailiwick/bailiwick.toml; env; echo looked")]
    looks += [{"tool": "Read", "input": {"file_path": g.project + "/" + name}}
              for name in (".env", ".claude/settings.local.json", ".mcp.json")]
    # In one's own hands no key is changed either, nor moved to where it would be seen.
    looks += [check_run.bash("echo x > .env; mv .claude other; cat other/settings.local.json; echo tried")]
    looks += [{"tool": "mcp__bailiwick__tracker__length", "input": {}}]
    r = b.drive(g, looks)
    # The folders of the client's files are what they were; `holds` looks at all of them.
    b.holds(g, r)
    sent = json.dumps(b.bodies) + r.ran.stdout + r.ran.stderr
    for key in KEYS:
        assert key not in sent, "a key was seen: %s" % sent[max(0, sent.find(key) - 300):][:400]
    assert "SESSION_SECRET" not in sent and "PORT=3000" not in sent, "the file was not hidden"
    told = [text for _, _, text in r.results("mcp__bailiwick__tracker__length")]
    assert told and "length %d of " % len(TOKEN) in told[0], told
    g.stop()
    os.remove(os.path.join(g.project, "answer.txt"))
    g.run("uninstall", "--yes")
    assert g.files() == before


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
    with gate.client(), check_run.Canary() as canary:
        bench = check_run.Bench(fake_anthropic, canary)
        for who, owner in owners:
            for f in chosen:
                g = check_run.Ground(owner)
                try:
                    g.run("uninstall", "--yes", "--purge")
                    g.env.pop("ANTHROPIC_API_KEY")
                    tally.attempt("%s, as %s" % (f.__name__.replace("_", " "), who), lambda: f(bench, g))
                finally:
                    g.stop()
                    g.close()
    sys.exit(tally.done())


if __name__ == "__main__":
    main()
