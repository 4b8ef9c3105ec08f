#!/usr/bin/env python3
"""Measures the real Claude Code under `bailiwick run` beside the bare client, turn about, against a scripted model: the time to the first
prompt, a task of many calls, what each shell command costs, and how much memory the gate takes. Nothing is asserted here.

  bench_run.py [--calls 200] [--rounds 3] [--starts 7]

BAILIWICK should be a release build. The last line is one JSON object; times in milliseconds, memory in MiB.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import check_run
import gate
from check_run import OPEN


class Bench(check_run.Bench):
    def __init__(self, fake, canary):
        super().__init__(fake, canary)
        self.turns, self.arrived = [], []

        def blocks(_, body):
            self.arrived.append(time.monotonic())
            if not body.get("tools"):
                return [{"text": "side request"}]
            done = sum(1 for m in body["messages"] if m["role"] == "assistant")
            return self.turns[done] if done < len(self.turns) else [{"text": "ALL DONE"}]

        fake.blocks_for = blocks

    def run(self, g, walled, turns):
        """When the model was asked first, how long it took to the end, and the pauses between its turns."""
        self.turns, self.arrived = turns, []
        env = dict(g.env, ANTHROPIC_BASE_URL="http://127.0.0.1:%d" % self.server.server_port, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1")
        command = [g.bin, "run", "--quiet", "--"] if walled else []
        begun = time.monotonic()
        p = subprocess.run([*command, os.environ["CLAUDE"], "-p", "go", "--allowedTools", "Bash,Read,Write"], cwd=g.project, env=env,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True)
        ended = time.monotonic()
        assert p.returncode == 0 and "ALL DONE" in p.stdout, (p.stdout[-300:], p.stderr[-600:])
        pauses = [1000 * (b - a) for a, b in zip(self.arrived, self.arrived[1:])]
        return 1000 * (self.arrived[0] - begun), 1000 * (ended - begun), pauses


def resident(pid):
    """MiB, its own and shared."""
    with open("/proc/%d/status" % pid, encoding="utf-8") as f:
        fields = dict(line.split(":", 1) for line in f)
    return {"now": int(fields["VmRSS"].split()[0]) / 1024, "most": int(fields["VmHWM"].split()[0]) / 1024}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--calls", type=int, default=200)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--starts", type=int, default=7)
    a = p.parse_args()
    real = gate.realclients()
    if not real:
        sys.exit("no realclients harness (set BAILIWICK_REALCLIENTS)")
    os.environ["CLAUDE"] = gate.peers()["CLAUDE"]
    sys.path.insert(0, real)
    import fake_anthropic
    g = check_run.Ground(None)
    try:
        with check_run.Canary() as canary:
            b = Bench(fake_anthropic, canary)
            g.policy(OPEN)
            # A task as they are: it looks, reads, writes, and runs commands.
            kinds = [lambda i: check_run.bash("echo %d; ls | wc -l" % i),
                     lambda i: {"tool": "Read", "input": {"file_path": g.project + "/sum.txt"}},
                     lambda i: {"tool": "Write", "input": {"file_path": "%s/made-%d.txt" % (g.project, i), "content": "%d\n" % i}},
                     lambda i: check_run.bash("cat made-*.txt | tail -1; true # %d" % i)]
            task = [[kinds[i % 4](i)] for i in range(a.calls)]
            shells = [[check_run.bash("echo %d" % i)] for i in range(60)]

            def clean():
                for name in os.listdir(g.project):
                    if name.startswith("made-"):
                        os.remove(os.path.join(g.project, name))

            found = {"first_cold": [[], []], "first": [[], []], "task": [[], []], "shell": [[], []]}
            for walled in (False, True):
                b.run(g, walled, [])  # Its home is new the first time.
            # With nothing of ours running yet: the launcher starts the gate as well.
            for _ in range(a.rounds):
                time.sleep(15)
                for walled in (False, True):
                    found["first_cold"][walled].append(b.run(g, walled, [])[0])
            # The launcher's gate ends some seconds after the last agent.
            time.sleep(15)
            g.serve()
            for _ in range(a.starts):
                for walled in (False, True):
                    found["first"][walled].append(b.run(g, walled, [])[0])
            for _ in range(a.rounds):
                for walled in (False, True):
                    found["shell"][walled] += b.run(g, walled, shells)[2][5:-1]
            memory = [resident(g.process.pid)]
            for _ in range(a.rounds):
                for walled in (False, True):
                    clean()
                    found["task"][walled].append(b.run(g, walled, task)[1])
            memory.append(resident(g.process.pid))
            mid = {k: [statistics.median(v) for v in pair] for k, pair in found.items()}
            out = {"calls": a.calls, "rounds": a.rounds}
            for k, (bare, walled) in mid.items():
                out[k] = {"bare_ms": round(bare, 1), "run_ms": round(walled, 1), "more_ms": round(walled - bare, 1), "ratio": round(walled / bare, 3)}
            out["gate_mib"] = [{k: round(v, 1) for k, v in m.items()} for m in memory]
            print(json.dumps(out))
    finally:
        g.close()


if __name__ == "__main__":
    main()
