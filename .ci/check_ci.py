#!/usr/bin/env python3
"""Runs the recipe of examples/ci with the real Claude Code as its agent, and reads the workflow that calls it.

  check_ci.py [WORD...]            only the checks whose names hold one of the words

Needs the realclients harness as check_run.py does; without it every check is skipped by name. Ends with `N passed, N failed`.
"""
import json
import os
import subprocess

import check_run as run
import gate
from check_run import bash

RECIPE = os.path.join(gate.ROOT, "examples", "ci")
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


@check
def the_workflow_calls_the_recipe_and_hands_it_no_more_than_it_takes(b, g):
    try:
        import yaml
    except ImportError:
        print("     no YAML reader here: the workflow was only looked through")
        text = open(os.path.join(RECIPE, "workflow.yml"), encoding="utf-8").read()
        assert "examples/ci/agent.sh" in text and "persist-credentials: false" in text
        return
    with open(os.path.join(RECIPE, "workflow.yml"), encoding="utf-8") as f:
        job = yaml.safe_load(f)["jobs"]["agent"]
    steps = {s.get("name", s.get("uses")): s for s in job["steps"]}
    agent = steps["Run the agent"]
    assert agent["run"].startswith("examples/ci/agent.sh ") and "--privileged" not in job["container"]["options"]
    taken = open(os.path.join(RECIPE, "agent.sh"), encoding="utf-8").read()
    for name in agent["env"]:
        assert name in taken or name.startswith("SECRET_"), "%s is handed over and not used" % name
    assert steps["actions/checkout@v5"]["with"]["persist-credentials"] is False
    assert steps["Keep what it did"]["if"] == "always()"


@check
def an_agent_that_nobody_watches(b, g):
    g.stop()
    out = os.path.join(g.base, "out")
    os.makedirs(out)
    state = os.path.join(g.base, "ci-state")
    os.makedirs(state, 0o700)
    recipe = run.shutil.copytree(RECIPE, os.path.join(g.base, "recipe"))
    g.give()
    b.bodies.clear()
    b.scripts.update(main=[[bash("env; cat " + g.ssh)], [bash("rm -rf " + g.project)],
                           [{"tool": "Write", "input": {"file_path": g.project + "/answer.txt", "content": "42\n"}}]], sub=[])
    value = "canary-of-the-secret-store-61b7"
    env = dict(g.env, ANTHROPIC_BASE_URL="http://127.0.0.1:%d" % b.server.server_port, BAILIWICK_STATE=state, PATH=g.base + ":" + g.env["PATH"],
               BAILIWICK_SECRETS="model-key", SECRET_MODEL_KEY=value)
    p = subprocess.run(g.become("bash", os.path.join(recipe, "agent.sh"), out, os.environ["CLAUDE"], "-p", "go"), cwd=g.project, env=env,
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=run.RUN_SECONDS_MAX)
    assert p.returncode == 0 and "ALL DONE" in p.stdout, (p.returncode, p.stdout[-600:], p.stderr[-600:])
    assert open(g.project + "/answer.txt", encoding="utf-8").read() == "42\n" and os.path.exists(g.project + "/sum.txt")
    report = json.load(open(os.path.join(out, "report.json"), encoding="utf-8"))
    assert report["denied"] == 2 and report["permitted"] >= 1, report
    said = json.dumps(b.bodies) + p.stdout + p.stderr + open(os.path.join(out, "journal.json"), encoding="utf-8").read()
    assert b.bodies and not [s for s in (*run.SECRETS, value) if s in said], "a secret was shown"
    g.run("journal", "verify", "--log", out + "/journal", "--key", out + "/journal.vkey", "--seen", out + "/checkpoint")
    os.remove(g.project + "/answer.txt")
    g.serve()


def main():
    run.CHECKS[:] = CHECKS
    run.main()


if __name__ == "__main__":
    main()
