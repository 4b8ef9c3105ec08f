#!/usr/bin/env python3
"""Drives three MCP servers with three real clients, directly and through the gate, and compares what each client saw.
It never asserts a text of the gate's own: the direct answer is the expectation, and a few facts of it are pinned.

  check_clients.py                 through $BAILIWICK
  check_clients.py --direct OUT    only the direct answers, written to OUT/*.json (a baseline; needs no gate)

Clients: the inspector CLI (legacy handshake), the Python SDK (modern first) over stdio and HTTP, Claude Code with a
scripted model. Servers: everything and filesystem (legacy), the harness's own (modern). Ends with `N passed, N failed`.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import gate

SECONDS_MAX = 120
PEERS = gate.peers()
REAL = gate.realclients()
# Fields a proxy between two protocol eras may rightly add, drop or restate.
ERA = {"resultType", "ttlMs", "cacheScope", "_meta", "execution"}


class Server:
    """steps: what the SDK does; facts: name -> what must be true of the direct rows, so that a baseline cannot be empty."""

    def __init__(self, name, command, steps, facts):
        self.name, self.command, self.steps, self.facts = name, command, steps, facts


def servers(files):
    node = os.path.join(PEERS["PEERS_DIR"], "servers/node_modules/.bin/")
    hello = os.path.join(files, "hello.txt")
    text = lambda r: "".join(c.get("text", "") for c in r["result"].get("content", []))
    yield Server("everything", [node + "mcp-server-everything", "stdio"], [
        ["tools"], ["call", "echo", {"message": "hi"}], ["call", "get-structured-content", {"location": "New York"}],
        ["call", "echo", {"message": 7}], ["call", "trigger-long-running-operation", {"duration": 1, "steps": 4}],
        ["call", "trigger-elicitation-request", {}], ["resources"],
        ["read", "demo://resource/static/document/architecture.md"], ["prompts"],
        ["prompt", "args-prompt", {"city": "Rome"}]], {
        "tools": lambda r: len(r[0]["tools"]) >= 12,
        "call": lambda r: text(r[1]) == "Echo: hi",
        "structured": lambda r: "temperature" in r[2]["result"]["structuredContent"],
        "error": lambda r: "error" in r[3] or r[3]["result"].get("isError"),
        "progress": lambda r: len(r[4]["progress"]) >= 2,
        "elicitation": lambda r: len(r[5]["asked"]) == 1,
        "resources": lambda r: len(r[6]["resources"]) >= 1,
        "read": lambda r: r[7]["result"]["contents"][0]["text"],
        "prompts": lambda r: "args-prompt" in [p["name"] for p in r[8]["prompts"]],
        "prompt": lambda r: "Rome" in json.dumps(r[9]["result"])})
    yield Server("filesystem", [node + "mcp-server-filesystem", files], [
        ["tools"], ["call", "read_text_file", {"path": hello}], ["call", "read_text_file", {"path": files + "/none.txt"}]], {
        "tools": lambda r: len(r[0]["tools"]) >= 10,
        "call": lambda r: text(r[1]) == "hello\n",
        "structured": lambda r: r[1]["result"]["structuredContent"]["content"] == "hello\n",
        "error": lambda r: r[2]["result"]["isError"]})
    if REAL:
        yield Server("gwtest", [PEERS["MCP_PY"], "-B", os.path.join(REAL, "mcp_server.py"), "stdio"], [
            ["tools"], ["call", "echo", {"message": "hi"}], ["call", "weather", {"city": "Rome"}], ["call", "boom", {}],
            ["call", "slow", {"n": 3}], ["call", "confirm", {}], ["resources"], ["read", "note://one"]], {
            "tools": lambda r: [t["name"] for t in r[0]["tools"]] == ["echo", "drop", "boom", "weather", "confirm", "slow"],
            "call": lambda r: text(r[1]) == "echo:hi",
            "structured": lambda r: r[2]["result"]["structuredContent"]["city"] == "Rome",
            "error": lambda r: r[3]["result"]["isError"],
            "progress": lambda r: len(r[4]["progress"]) >= 2 and text(r[4]) == "slow done",
            "elicitation": lambda r: r[5]["asked"] == ["Really?"] and text(r[5]) == "confirmed:True",
            "resources": lambda r: r[6]["resources"][0]["uri"] == "note://one",
            "read": lambda r: r[7]["result"]["contents"][0]["text"].startswith("note ")})


def sdk(target, steps, mode="auto"):
    p = subprocess.run([PEERS["MCP_PY"], "-B", os.path.join(gate.HERE, "sdk_client.py")], capture_output=True, text=True,
                       input=json.dumps({"target": target, "steps": steps, "mode": mode}), timeout=SECONDS_MAX)
    rows = [json.loads(x) for x in p.stdout.splitlines()]
    if len(rows) != len(steps) + 1:
        causes = [x.strip(" |+-") for x in p.stderr.splitlines() if re.match(r"[\s|]*[\w.]+(Error|Exception|Timeout)\b", x)]
        raise RuntimeError("the client stopped after %d of %d steps: %s" % (len(rows), len(steps) + 1, causes[-1:] or p.stderr[-300:]))
    return rows[1:]


def inspector(target, step):
    """One step with the inspector CLI: its exit code and the JSON it printed (what is not JSON is left out)."""
    verb, *args = step
    if verb == "tools":
        method = ["--method", "tools/list"]
    elif verb == "call":
        method = ["--method", "tools/call", "--tool-name", args[0]]
        for k, v in args[1].items():
            method += ["--tool-arg", "%s=%s" % (k, v if isinstance(v, str) else json.dumps(v))]
    elif verb == "read":
        method = ["--method", "resources/read", "--uri", args[0]]
    elif verb == "prompt":
        method = ["--method", "prompts/get", "--prompt-name", args[0]]
        for k, v in args[1].items():
            method += ["--prompt-args", "%s=%s" % (k, v)]
    else:
        method = ["--method", verb + "/list"]
    exe = os.path.join(PEERS["PEERS_DIR"], "inspector/node_modules/.bin/mcp-inspector")
    p = subprocess.run([exe, "--cli", *target, *method], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=SECONDS_MAX, env=dict(os.environ, HOME=SCRATCH))
    start = p.stdout.find("{")
    try:
        value = json.loads(p.stdout[start:]) if start >= 0 else None
    except ValueError:
        value = p.stdout
    return {"exit": p.returncode, "value": value, "stderr": p.stderr[-400:] if value is None else ""}


def agreed(x):
    """The part of an answer both eras carry, so that direct and through-gate answers can be equal."""
    if isinstance(x, dict):
        return {k: agreed(v) for k, v in x.items() if k not in ERA}
    return [agreed(v) for v in x] if isinstance(x, list) else x


def difference(direct, through, where=""):
    a, b = agreed(direct), agreed(through)
    if a == b:
        return None
    if isinstance(a, dict) and isinstance(b, dict):
        for k in sorted(a.keys() | b.keys()):
            if a.get(k) != b.get(k):
                return difference(a.get(k), b.get(k), where + "." + k)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            if x != y:
                return difference(x, y, "%s[%d]" % (where, i))
    return "%s: direct %s, through the gate %s" % (where, json.dumps(a)[:250], json.dumps(b)[:250])


def outcome(row):
    """An SDK row as it should survive a proxy; of an error only that it is one (its wording may name the gate)."""
    if row["step"] == "call" and "error" not in row and row["args"][0] == "trigger-long-running-operation":
        return {k: row[k] for k in ("result",)} | {"progressed": len(row["progress"]) > 0}
    if "error" in row:
        return {"failed": True}
    keep = {k: v for k, v in row.items() if k not in ("args", "step", "progress")}
    if row.get("result", {}).get("isError"):
        keep["result"] = {"isError": True}
    return keep


def by_claude(step):
    # Nobody answers a question in a headless run.
    return step[0] == "call" and step[1] not in ("trigger-elicitation-request", "confirm")


def claude_turns(server, prefix):
    # Claude declares its work folder as its one root, and the filesystem server then serves only roots.
    inside = lambda v: v.replace(FILES, "${WORK}") if isinstance(v, str) else v
    return [{"tool": "mcp__%s__%s" % (prefix, s[1]), "input": {k: inside(v) for k, v in s[2].items()}}
            for s in server.steps if by_claude(s)]


def claude(harness, name, turns, config, allowed):
    os.environ["CLAUDE"] = PEERS["CLAUDE"]
    r = harness.run(FILES, name, [[t] for t in turns], mcp=config, args=("--allowedTools", allowed), files={"hello.txt": "hello\n"})
    return [{"error": e} if e else {"text": t} for _, e, t in r.tools], r


def direct(tally, out=None):
    """Each server as its clients see it without the gate; the pinned facts are checked here."""
    seen = {}
    for s in servers(FILES):
        target = {"command": s.command[0], "args": s.command[1:]}
        rows = seen[s.name, "sdk"] = sdk(target, s.steps)
        for fact, holds in s.facts.items():
            tally.attempt("direct sdk %s %s" % (s.name, fact), lambda: require(holds(rows), rows))
        seen[s.name, "inspector"] = [inspector(s.command, step) for step in s.steps]
        if REAL:
            rows, r = claude(HARNESS, "direct-" + s.name, claude_turns(s, s.name), {
                s.name: {"command": s.command[0], "args": s.command[1:]}}, "mcp__" + s.name)
            seen[s.name, "claude"] = rows
            wrong = ["error" in row or bool(row["result"].get("isError"))
                     for step, row in zip(s.steps, seen[s.name, "sdk"]) if by_claude(step)]
            tally.attempt("direct claude " + s.name, lambda: require(["error" in x for x in rows] == wrong, r.stderr or rows))
    if out:
        os.makedirs(out, exist_ok=True)
        for (name, client), rows in seen.items():
            with open(os.path.join(out, "%s-%s.json" % (client, name)), "w", encoding="utf-8") as f:
                json.dump(rows, f, indent=1)
    return seen


def require(holds, seen):
    if not holds:
        raise AssertionError(json.dumps(seen)[:800])


def through(tally, seen):
    named = {s.name: shlex.join(s.command) for s in servers(FILES)}
    with gate.Gate(named, {"00-allow.cedar": gate.ALLOW_ALL}, marks=False) as g:
        auth = {"Authorization": "Bearer " + g.token}
        for s in servers(FILES):
            ways = {
                "stdio": {"command": g.bin, "args": ["mcp", s.name], "env": g.env},
                "http": {"url": "%s/%s" % (g.url, s.name), "headers": auth},
            }
            for (way, target), mode in [(w, m) for w in ways.items() for m in ("auto", "legacy")]:
                label = "sdk %s %s %s" % (way, mode, s.name)
                try:
                    rows = sdk(target, s.steps, mode)
                except Exception as e:
                    tally.check(label, e)
                    continue
                for step, a, b in zip(s.steps, seen[s.name, "sdk"], rows):
                    tally.check("%s %s" % (label, " ".join(map(str, step[:2]))), difference(outcome(a), outcome(b)))
            targets = {"stdio": ["-e", "BAILIWICK_DIR=" + g.dir, "-e", "BAILIWICK_STATE=" + g.state, g.bin, "mcp", s.name],
                       "http": ["%s/%s" % (g.url, s.name), "--transport", "http", "--header", "Authorization: Bearer " + g.token]}
            for way, target in targets.items():
                for step, a in zip(s.steps, seen[s.name, "inspector"]):
                    def same():
                        b = inspector(target, step)
                        failed = a["exit"] or (isinstance(a["value"], dict) and a["value"].get("isError"))
                        if failed:
                            require(b["exit"] or (b["value"] or {}).get("isError"), b)
                        else:
                            problem = difference(a["value"], b["value"])
                            require(problem is None, problem or b)
                    tally.attempt("inspector %s %s %s" % (way, s.name, " ".join(map(str, step[:2]))), same)
            if REAL:
                config = {"bailiwick": {"command": g.bin, "args": ["mcp"], "env": {
                    "BAILIWICK_DIR": g.dir, "BAILIWICK_STATE": g.state}}}
                turns = claude_turns(s, "bailiwick__" + s.name)
                rows, r = claude(HARNESS, "gate-" + s.name, turns, config, "mcp__bailiwick")
                for turn, a, b in zip(turns, seen[s.name, "claude"], rows + [{"missing": r.stderr[-200:]}] * len(turns)):
                    if "error" in a:
                        a, b = {"failed": True}, {"failed": "error" in b}
                    tally.check("claude %s" % turn["tool"], difference(a, b))
            else:
                print("skip claude %s: no harness folder (set BAILIWICK_REALCLIENTS)" % s.name)
        unauthorized(tally, g)


def unauthorized(tally, g):
    """The nearest reject: the same call without the token, and with another one."""
    name = next(iter(g.servers))
    for label, headers in (("no token", {}), ("wrong token", {"Authorization": "Bearer " + "0" * len(g.token)})):
        def refused():
            try:
                rows = sdk({"url": "%s/%s" % (g.url, name), "headers": headers}, [["tools"]])
            except RuntimeError:
                return
            require("error" in rows[0], rows)
        tally.attempt("http with %s is refused" % label, refused)


if __name__ == "__main__":
    SCRATCH = tempfile.mkdtemp(prefix="bailiwick-clients-")
    FILES = os.path.realpath(os.path.join(SCRATCH, "files"))
    os.makedirs(FILES)
    with open(os.path.join(FILES, "hello.txt"), "w") as f:
        f.write("hello\n")
    if REAL:
        sys.dont_write_bytecode = True
        sys.path.insert(0, REAL)
        import harness as HARNESS
    counts = gate.Tally()
    try:
        if sys.argv[1:2] == ["--direct"]:
            direct(counts, sys.argv[2])
        else:
            gate.binary()
            through(counts, direct(counts))
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
    sys.exit(counts.done())
