#!/usr/bin/env python3
"""Runs the official MCP conformance suites on one server directly and through the gate, and compares check by check.
It never judges the gate by a score of its own: what the server earns directly is the whole expectation.

  check_conformance.py                 direct and through $BAILIWICK
  check_conformance.py --relay-only    through the header-adding relay alone (tests this script, needs no gate)

The conformance command takes a URL and no headers, so the gate is met through a loopback relay that only adds
Authorization. Host and Origin arrive unchanged, so the dns-rebinding scenarios still judge the gate itself.
Ends with `N passed, N failed`; a scenario fails when any of its checks is worse through the gate.
"""
import collections
import contextlib
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

import gate

SUITES = [
    ("0.1.16", "CONFORMANCE_0_1_16", ["--suite", "active"]),
    ("0.1.16 pending", "CONFORMANCE_0_1_16", ["--suite", "pending"]),
    ("0.2.0-alpha.12 2025-11-25", "CONFORMANCE_0_2_0_alpha_12", ["--requirements", "2025-11-25"]),
    ("0.2.0-alpha.12 2026-07-28", "CONFORMANCE_0_2_0_alpha_12", ["--requirements", "2026-07-28"]),
]
SUITE_SECONDS_MAX = 600
RANK = {"SUCCESS": 0, "INFO": 0, "SKIPPED": 1, "WARNING": 2, "FAILURE": 3, "missing": 4}


@contextlib.contextmanager
def fixture(python):
    p = subprocess.Popen([python, "-B", os.path.join(gate.HERE, "conformance_fixture.py"), "0"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield p.stdout.readline().strip()
    finally:
        p.kill()
        p.wait()


def run(command, args, url):
    """Every check's outcome, worst first named last: {(scenario, check id, occurrence): (status, message)}."""
    with tempfile.TemporaryDirectory(prefix="bailiwick-conformance-") as out:
        subprocess.run([command, "server", "--url", url, *args, "-o", out], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=SUITE_SECONDS_MAX)
        seen, count = {}, collections.Counter()
        for path in sorted(glob.glob(out + "/**/checks.json", recursive=True)):
            folder = os.path.basename(os.path.dirname(path))
            scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z?$", "", folder).removeprefix("server-")
            for c in json.load(open(path, encoding="utf-8")):
                count[scenario, c["id"]] += 1
                seen[scenario, c["id"], count[scenario, c["id"]]] = (c["status"], c.get("errorMessage") or "")
        return seen


def total(checks):
    n = collections.Counter(s for s, _ in checks.values())
    return "%d/%d" % (n["SUCCESS"], n["FAILURE"])


def compare(tally, name, direct, through):
    print("\n%s   passed/failed checks: direct %s, through the gate %s" % (name, total(direct), total(through)))
    worse = collections.defaultdict(list)
    for key in sorted(direct.keys() | through.keys()):
        a, b = direct.get(key, ("missing", "")), through.get(key, ("missing", ""))
        if a[0] == b[0]:
            continue
        # A check that only appears through the gate is judged as if the server had passed it.
        sign = "WORSE" if RANK[b[0]] > (RANK[a[0]] if a[0] != "missing" else 0) else "better"
        if sign == "WORSE":
            worse[key[0]].append(key[1])
        print("  %-6s %-44s %-58s %8s -> %-8s %s" % (sign, key[0], key[1], a[0], b[0], b[1][:150]))
    if not direct:
        return tally.check(name, "the suite reported nothing at all")
    for scenario in sorted({k[0] for k in direct}):
        tally.check("%s: %s" % (name, scenario), ", ".join(worse[scenario]) or None if scenario in worse else None)


def main():
    peers = gate.peers()
    tally = gate.Tally()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(fixture(peers["MCP_PY"]))
        if "--relay-only" in sys.argv:
            behind, header = server, "X-Bailiwick-Relay: 1"
        else:
            g = stack.enter_context(gate.Gate({"fixture": server}, {"00-allow.cedar": gate.ALLOW_ALL}))
            behind, header = g.url + "/fixture", "Authorization: Bearer " + g.token
        relay = stack.enter_context(gate.Relay(behind, header))
        for name, command, args in SUITES:
            compare(tally, name, run(peers[command], args, server), run(peers[command], args, relay.url))
    sys.exit(tally.done())


if __name__ == "__main__":
    main()
