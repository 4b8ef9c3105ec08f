#!/usr/bin/env python3
"""Runs the real Claude Code and Agent SDK where approvals reach them: deferred calls, the permission prompt tool, questions.
It never trusts what the gate says it did: the work folder and the requests the model was sent are the evidence.

  check_channels.py [NAME...]

Needs the realclients harness like check_claude.py; without it every check is skipped by name. Ends with `N passed, N failed`.
"""
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import gate
from check_claude import Bench, POLICY, REASON, VAULTED

SECONDS_MAX = 90
ASKING = dict(POLICY, **{"20-asking.cedar": """
permit(principal, action == Action::"gwtest/echo", resource) when { context.approved && context.args.message == "asked" };
"""})
CHECKS = []


def check(**config):
    """config: [approvals] of the gate that the check runs against."""
    def keep(f):
        CHECKS.append((f, config))
        return f
    return keep


class Configured(gate.Gate):
    """A gate with more in its configuration."""

    def __init__(self, *args, more="", **k):
        super().__init__(*args, **k)
        self.more = more

    def prepare(self):
        super().prepare()
        self.run("secret", "set", "horse", stdin=VAULTED)
        with open(os.path.join(self.dir, "bailiwick.toml"), "a", encoding="utf-8") as f:
            f.write(self.more)
        # Reviewed as being of little consequence, which nothing is by itself.
        path = os.path.join(self.dir, "tools.lock")
        with open(path, encoding="utf-8") as f:
            lock = json.load(f)
        lock["servers"]["gwtest"]["tools"]["echo"]["impact"] = "low"
        with open(path, "w", encoding="utf-8") as f:
            json.dump(lock, f)


class Channels(Bench):
    def __init__(self, g, harness, out):
        super().__init__(g, harness, out)
        self.sdk = gate.peers().get("AGENT_SDK_PY")

    def run(self, name, *calls, settings=None, tools=(), **k):
        k.setdefault("files", {"hello.txt": "hello\n"})
        return self.h.run(self.out, name, [[c] for c in calls], settings or self.settings, mcp=self.mcp, env=self.where(),
                          args=("--allowedTools", "mcp__bailiwick", *tools), **k)

    @contextlib.contextmanager
    def model(self, d, turns):
        """The fake model alone, playing `turns`; the environment that points a client at it."""
        with open(os.path.join(d, "s.json"), "w", encoding="utf-8") as f:
            json.dump({"turns": turns, "final": "ALL DONE"}, f)
        port = os.path.join(d, "port")
        with contextlib.suppress(OSError):
            os.remove(port)
        fake = subprocess.Popen([sys.executable, os.path.join(self.h.HERE, "fake_anthropic.py"), "--scenario",
                                 os.path.join(d, "s.json"), "--log", os.path.join(d, "api.jsonl"), "--portfile", port,
                                 "--var", "WORK=" + os.path.join(d, "work")], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + SECONDS_MAX
            while not os.path.exists(port) and time.monotonic() < until:
                time.sleep(0.05)
            home = os.path.join(d, "home")
            yield {"PATH": os.environ["PATH"], "HOME": home, "TERM": "dumb", "LANG": "C.UTF-8",
                   "ANTHROPIC_BASE_URL": "http://127.0.0.1:" + open(port, encoding="utf-8").read(),
                   "ANTHROPIC_API_KEY": "sk-ant-fake-0000", "ANTHROPIC_MODEL": "claude-sonnet-4-5",
                   "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1",
                   "CLAUDE_CONFIG_DIR": os.path.join(home, ".claude"), **self.where()}
        finally:
            fake.kill()
            fake.wait()

    def resume(self, r, calls, prompt=()):
        """Takes the session of `r` up again, as a person would once the question was answered: its records, and what the model
        was told of the call."""
        d = r.dir
        with self.model(d, [[c] for c in calls]) as env:
            p = subprocess.run([os.environ["CLAUDE"], "-p", *prompt, "--output-format", "stream-json", "--verbose",
                                "--settings", os.path.join(d, "settings.json"), "--mcp-config", os.path.join(d, "mcp_config.json"),
                                "--strict-mcp-config", "--resume", r.result["session_id"]],
                               cwd=os.path.join(d, "work"), env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               timeout=SECONDS_MAX)
        rows = [json.loads(x) for x in p.stdout.splitlines() if x.startswith("{")]
        told = [c for x in rows if x.get("type") == "user" and isinstance(x["message"]["content"], list)
                for c in x["message"]["content"] if c["type"] == "tool_result"]
        result = next((x for x in reversed(rows) if x.get("type") == "result" or "stop_reason" in x), {})
        return result, told

    @contextlib.contextmanager
    def whole_messages(self):
        """The fake model refuses to stream, so that a turn of several calls arrives as one message."""
        here, folder = self.h.HERE, tempfile.mkdtemp(prefix="bailiwick-model-")
        try:
            copy = os.path.join(folder, "realclients")
            shutil.copytree(here, copy)
            path = os.path.join(copy, "fake_anthropic.py")
            os.chmod(copy, 0o755)
            os.chmod(path, 0o755)
            text = open(path, encoding="utf-8").read()
            streams = '        if body.get("stream"):\n'
            assert text.count(streams) == 1, "the fake model has changed"
            no = ('        if body.get("stream"):\n            return self.send_json(404, {"type": "error", "error": '
                  '{"type": "not_found_error", "message": "no streaming here"}})\n')
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.replace(streams, no + streams))
            self.h.HERE = copy
            yield
        finally:
            self.h.HERE = here
            shutil.rmtree(folder, ignore_errors=True)


def deferred(r):
    return r.result.get("terminal_reason") == "tool_deferred" and r.result["deferred_tool_use"]["input"].get("command")


DEFER = {"on_ask": '"defer"'}


@check(**DEFER)
def a_deferred_call_runs_once_when_the_session_is_resumed_after_a_grant(b):
    call = b.h.bash("touch asked.txt")
    r = b.run("defer", call)
    assert deferred(r) == "touch asked.txt" and not b.exists(r, "asked.txt"), r.result
    waiting = b.pending()
    result, told = b.resume(r, [call])
    assert not told and not b.exists(r, "asked.txt"), "not answered, and it ran: %s %s" % (result, told)
    assert b.pending() == waiting, "the same question again"
    b.g.run("approvals", "grant", waiting)
    _, told = b.resume(r, [call])
    assert told and not told[0].get("is_error") and b.exists(r, "asked.txt"), told
    ran = [x for x in b.journal() if x.get("kind") == "decision" and x.get("approval") == waiting]
    assert len(ran) == 1 and ran[0]["decision"] == "ask", ran
    os.remove(os.path.join(r.dir, "work", "asked.txt"))
    b.resume(r, [call])
    assert not b.exists(r, "asked.txt"), "it ran twice"


@check(**DEFER)
def a_deferred_call_that_is_refused_is_denied_with_the_reason(b):
    call = b.h.bash("touch refused.txt")
    r = b.run("refused", call)
    assert deferred(r), r.result
    b.g.run("approvals", "refuse", b.pending(), "--reason", REASON)
    _, told = b.resume(r, [call])
    assert told and told[0]["is_error"] and REASON in json.dumps(told[0]) and not b.exists(r, "refused.txt"), told
    b.clean(json.dumps(told[0]))


@check(**DEFER)
def of_several_calls_one_is_deferred_and_the_others_wait(b):
    two = [b.h.bash("touch one.txt"), b.h.bash("touch two.txt")]

    def grant_second():
        until = time.monotonic() + SECONDS_MAX
        while time.monotonic() < until:
            rows = {x["arguments"]["command"]: x["id"] for x in b.g.json("approvals", "list") if x["state"] == "pending"}
            if len(rows) == 2:
                b.g.run("approvals", "grant", rows["touch two.txt"])
                return rows["touch one.txt"]
            time.sleep(0.2)
        raise AssertionError("two questions did not come up")

    import threading
    got = {}
    t = threading.Thread(target=lambda: got.update(r=b.h.run(b.out, "several", [two], b.settings, mcp=b.mcp, env=b.where())))
    t.start()
    first = grant_second()
    t.join()
    r = got["r"]
    assert deferred(r) == "touch one.txt" and b.exists(r, "two.txt") and not b.exists(r, "one.txt"), (r.result, r.tools)
    b.g.run("approvals", "grant", first)
    _, told = b.resume(r, two)
    assert b.exists(r, "one.txt"), told


@check(**DEFER)
def where_the_client_does_not_defer_nothing_runs_by_its_own_rules(b):
    # Measured on 2.1.329: among several calls of one message `defer` counts for nothing said, and its own rules would run them.
    settings = json.loads(json.dumps(b.settings))
    settings["permissions"]["allow"] = ["Bash(touch:*)", "Bash"]
    two = [b.h.bash("touch one.txt"), b.h.bash("touch two.txt"), b.h.bash("echo read")]
    with b.whole_messages():
        r = b.h.run(b.out, "ignored", [two], settings, mcp=b.mcp, env=dict(b.where(), IS_SANDBOX="1"),
                    args=("--permission-mode", "bypassPermissions"))
    assert not b.exists(r, "one.txt") and not b.exists(r, "two.txt"), r.tools
    assert [t[1] for t in r.tools] == [True, True, False] and "by itself" in r.tools[0][2], r.tools
    assert len([x for x in b.g.json("approvals", "list") if x["state"] == "pending"]) == 2


PROMPT = ("--permission-prompt-tool", "mcp__bailiwick__bailiwick__permission")


@check()
def without_hooks_the_permission_prompt_decides_asks_and_puts_commands_behind_the_wall(b):
    settings = json.loads(b.g.run("hook", "settings", "--prompts").stdout)
    assert "hooks" not in settings, settings
    secret = os.path.join(b.g.home, "secret.txt")
    with open(secret, "w", encoding="utf-8") as f:
        f.write("host only")
    seen = []

    def answer():
        first = b.pending()
        seen.append(os.path.exists(os.path.join(b.out, "prompt", "work", "asked.txt")))
        b.g.run("approvals", "grant", first)
        second = b.pending()
        b.g.run("approvals", "refuse", second, "--reason", REASON)

    r, _ = b.during("prompt", [b.h.bash("echo hi"), b.h.bash("rm hello.txt"), b.h.bash("cat " + secret), b.read(),
                               b.h.write("made.txt"), b.h.bash("touch asked.txt"), b.h.bash("touch refused.txt"), b.echo("hi"),
                               b.echo("bye")],
                    answer, settings=settings, tools=PROMPT)
    assert [t[1] for t in r.tools] == [False, True, True, False, True, False, True, False, True], r.tools
    told = [t[2] for t in r.tools]
    assert "hi" in told[0] and "hello" in told[3] and "host only" not in "".join(told) and REASON in told[6], told
    assert b.exists(r, "hello.txt") and not b.exists(r, "made.txt") and not b.exists(r, "refused.txt")
    assert seen == [False] and b.exists(r, "asked.txt"), (seen, told)
    for text in told:
        b.clean(text)
    confined = [row for row in b.journal() if row.get("kind") == "outcome" and row.get("confined")]
    assert len(confined) == 3, confined
    # The model was not offered the tool that answers.
    offered = json.dumps(r.api[0]["body"])
    assert "bailiwick__permission" not in offered, offered[max(0, offered.find("bailiwick__permission") - 200):][:400]


@check()
def with_hooks_a_prompt_is_answered_from_what_the_hook_admitted(b):
    settings = json.loads(json.dumps(b.settings))
    settings["permissions"] = json.loads(b.g.run("hook", "settings", "--prompts").stdout)["permissions"]
    # Without the hook that answers permission requests, they all reach the tool.
    del settings["hooks"]["PermissionRequest"]
    r = b.run("both", b.h.bash("echo hi"), b.h.bash("rm hello.txt"), b.read(), settings=settings, tools=PROMPT)
    assert [t[1] for t in r.tools] == [False, True, False] and "hi" in r.tools[0][2], r.tools
    decided = [x for x in b.journal() if x.get("kind") == "decision" and x["tool"].startswith("claude/")]
    assert len(decided) == 3, decided


@check()
def a_model_that_calls_the_permission_tool_itself_is_granted_nothing(b):
    asked = b.h.call("bailiwick", "bailiwick__permission", tool_name="Bash", tool_use_id="toolu_mine",
                     input={"command": "touch mine.txt", "description": "x"})
    r = b.run("mine", asked, b.h.bash("rm hello.txt"))
    assert all(t[1] for t in r.tools) and b.exists(r, "hello.txt") and not b.exists(r, "mine.txt"), r.tools

    def answer():
        b.g.run("approvals", "refuse", b.pending())

    # A client without hooks that lets it call: judged as the call it names, which waits for a person; and still nothing ran.
    settings = json.loads(b.g.run("hook", "settings", "--prompts").stdout)
    for said in ("refuse", "grant"):
        r, _ = b.during("mine-" + said, [asked], lambda: b.g.run("approvals", said, b.pending()), settings=settings)
        answer = r.tools[0][2]
        assert ("deny" in answer) == (said == "refuse") and not b.exists(r, "mine.txt"), r.tools


@check()
def an_agent_of_the_sdk_asks_the_gate_about_every_call(b):
    d = os.path.join(b.out, "sdk")
    work = os.path.join(d, "work")
    os.makedirs(work)
    os.makedirs(os.path.join(d, "home"))
    for name, text in (("hello.txt", "hello\n"), ("kept.env", "HORSE=%s\n" % b.vaulted)):
        with open(os.path.join(work, name), "w", encoding="utf-8") as f:
            f.write(text)
    secret = os.path.join(b.g.home, "secret.txt")
    with open(secret, "w", encoding="utf-8") as f:
        f.write("host only")
    calls = [b.h.bash("echo hi"), b.h.bash("rm hello.txt"), b.h.bash("cat " + secret),
             {"tool": "Read", "input": {"file_path": "${WORK}/kept.env"}}, b.h.write("made.txt"),
             b.h.bash("touch asked.txt"), b.h.bash("touch refused.txt"), b.echo("hi"), b.echo("bye"),
             b.h.bash("ls")]
    with b.model(d, [[c] for c in calls]) as env:
        env.update(WORK=work, CLAUDE=os.environ["CLAUDE"], BAILIWICK=b.g.bin)
        with subprocess.Popen([b.sdk, "-B", os.path.join(gate.HERE, "sdk_agent.py")], env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=work) as p:
            waiting = b.pending()
            early = os.path.exists(os.path.join(work, "asked.txt"))
            b.g.run("approvals", "grant", waiting)
            b.g.run("approvals", "refuse", b.pending(), "--reason", REASON)
            out, err = p.communicate(timeout=SECONDS_MAX)
    told = [json.loads(x) for x in out.splitlines()]
    texts = [x["text"] for x in told]
    assert [x["is_error"] for x in told] == [False, True, True, False, True, False, True, False, True, True], (told, err[-600:])
    assert "hi" in texts[0] and "host only" not in "".join(texts) and REASON in texts[6], texts
    assert "BW-HIDDEN-horse-WB" in texts[3], texts[3]
    made = sorted(os.listdir(work))
    assert not early and "hello.txt" in made and "asked.txt" in made and "made.txt" not in made and "refused.txt" not in made, made
    with open(os.path.join(d, "api.jsonl"), encoding="utf-8") as f:
        assert b.vaulted not in f.read(), "the model was sent a secret"
    # What cannot be asked is denied: no gate, no binary, nothing said, something else said.
    text = ("import asyncio, sys\nfrom types import SimpleNamespace as C\nfrom bailiwick_gate import Gate\n"
            "for c in sys.argv[1:]:\n    g = Gate('.', binary=c.split()[0], arguments=c.split()[1:])\n"
            "    print(asyncio.run(g.can_use_tool('Bash', {'command': 'echo hi'}, C(tool_use_id='t1'))).behavior)\n")
    nowhere = tempfile.mkdtemp(prefix="bailiwick-nowhere-")
    p = subprocess.run([b.sdk, "-B", "-c", text, b.g.bin, "/no/such/binary", "true", "echo {}", "echo {\"hookSpecificOutput\":{}}"],
                       env={"PATH": os.environ["PATH"], "PYTHONPATH": os.path.join(gate.ROOT, "examples", "agent-sdk"),
                            "HOME": nowhere, "BAILIWICK_STATE": nowhere, "BAILIWICK_DIR": b.g.dir},
                       cwd=nowhere, capture_output=True, text=True, timeout=SECONDS_MAX)
    shutil.rmtree(nowhere, ignore_errors=True)
    assert p.stdout.split() == ["deny"] * 5, (p.stdout, p.stderr[-600:])
    closed = {x["call"] for x in b.journal() if x.get("kind") == "outcome" and x["status"] == "ok"}
    ran = [x for x in b.journal() if x.get("kind") == "decision" and x["decision"] != "deny" and x["tool"].startswith("claude/")]
    assert len(ran) == 4 and sum(x["call"] in closed for x in ran) >= 3, (ran, closed)


@check(elicit="true")
def a_small_question_is_asked_on_the_clients_own_screen(b):
    def answering(action):
        settings = json.loads(json.dumps(b.settings))
        said = {"hookSpecificOutput": {"hookEventName": "Elicitation", "action": action, "content": {}}}
        settings["hooks"]["Elicitation"] = [{"hooks": [{"type": "command", "command": "echo " + shlex.quote(json.dumps(said))}]}]
        return settings

    r = b.run("accept", b.echo("asked"), settings=answering("accept"))
    assert not r.tools[0][1] and "echo:asked" in r.tools[0][2], r.tools
    answered = [x for x in b.journal() if x.get("kind") == "answered"]
    assert [x["channel"] for x in answered] == ["client"], answered
    r = b.run("decline", b.echo("asked"), settings=answering("decline"))
    assert r.tools[0][1] and "declined in the client" in r.tools[0][2], r.tools
    # Nobody answers at the client: the question waits for the others.
    r, _ = b.during("cancel", [b.echo("asked")], lambda: b.g.run("approvals", "grant", b.pending()))
    assert not r.tools[0][1] and "echo:asked" in r.tools[0][2], r.tools


def main():
    only = set(sys.argv[1:])
    chosen = [(f, c) for f, c in CHECKS if not only or f.__name__ in only]
    real = gate.realclients()
    if not real:
        for f, _ in chosen:
            print("skip %s: no realclients harness (set BAILIWICK_REALCLIENTS)" % f.__name__)
        sys.exit(gate.Tally().done())
    peers = gate.peers()
    os.environ["CLAUDE"] = peers["CLAUDE"]
    sys.dont_write_bytecode = True
    sys.path.insert(0, real)
    import harness
    tally = gate.Tally()
    command = shlex.join([peers["MCP_PY"], "-B", os.path.join(real, "mcp_server.py"), "stdio"])
    for f, config in chosen:
        more = "\n[approvals]\n" + "".join("%s = %s\n" % kv for kv in config.items())
        with Configured({"gwtest": command}, ASKING, only_ours=True, more=more) as g:
            out = os.path.join(g.project, "runs")
            os.makedirs(out)
            tally.attempt(f.__name__.replace("_", " "), lambda: f(Channels(g, harness, out)))
    sys.exit(tally.done())


if __name__ == "__main__":
    main()
