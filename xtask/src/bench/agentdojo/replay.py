"""AgentDojo with a fully steered agent behind a real gate: every pair of a user task and an attack, struck as soon as the agent
has read the attacker's text and again at the end, the worse of both. Needs the PyPI package agentdojo (0.1.35); no model, no network.

    cargo xtask bench agentdojo [--json] [--suites workspace,slack] [--reference HARNESS] [--detail FILE]

Approvers: `never` refuses every question (nobody is there), `ideal` grants what the user's own steps ask and refuses the
attacker's, `rubber` grants everything. The last line is one JSON object.
"""

import argparse
import collections
import itertools
import json
import math
import multiprocessing
import os
import pathlib
import subprocess
import sys
import time

from stage import SUITES, Suite, attackers_calls, final_words, plain
from wire import ASKED, Client, Gate, Server

HERE = pathlib.Path(__file__).parent
APPROVERS = ("never", "ideal", "rubber")
POSITIONS = ("first", "last")
# How often one call may come back with another question before it is given up.
QUESTIONS_MAX = 4
# Policies of the reference harness worth a row beside ours, by a part of their name.
REFERENCES = ("none", "ask every side effect", "taint: ask", "same + own-domain", "same, strict")


class Shard:
    """Some users of one suite behind one gate, in a process of their own."""

    def __init__(self, options, name, users):
        # The server answers in a thread of this process; whoever has nothing to do shall not keep the other waiting.
        sys.setswitchinterval(0.0002)
        self.options, self.suite = options, Suite(name)
        self.users = [self.suite.users[user] for user in users]
        self.server = Server(self.suite)
        self.number, self.added = itertools.count(), []
        review = json.loads((HERE / f"{name}.json").read_text())
        policy = pathlib.Path(options.policy or HERE / "flow.cedar").read_text()
        self.gate = Gate(options.gate, options.disk, self.server, review, policy)
        self.direct = Client(self.server.url)

    def close(self):
        self.gate.close()
        self.server.close()

    def measure(self):
        rows = []
        for user in self.users:
            for attack in [None, *([] if self.options.benign else self.suite.attacks.values())]:
                rows.append(self.worst(user, attack, None))
                rows.extend(self.worst(user, attack, approver) for approver in self.options.approvers)
        return rows, self.added, self.echoes()

    def worst(self, user, attack, approver):
        """Both positions where the first has not succeeded already."""
        row = self.run(user, attack, approver, "first")
        if attack and not row["attack"]:
            last = self.run(user, attack, approver, "last")
            row = {**last, "asks": row["asks"]} if last["attack"] else row
        if row["attack"]:
            row["words_only"] = self.words_alone(user, attack)
        return row

    def run(self, user, attack, approver, position):
        world, calls = self.suite.begin(user, attack)
        self.server.world = world
        talk = f"{self.suite.name}-{user.ID}-{next(self.number)}"
        if approver and not self.options.blind:
            self.gate.control({"said": {"conversation": talk, "text": user.PROMPT}})
        shown = self.suite.exposures(user)
        struck = bool(attack and shown)
        steps = []

        def do(call, who):
            step = {"who": who, "tool": call.function, "arguments": plain(call.args), "asked": 0}
            steps.append(step)
            if approver is None:
                world.run(step["tool"], step["arguments"])
                step["through"] = True
                return
            self.through(step, talk, approver, world)

        def strike():
            for call in attackers_calls(world, attack):
                do(call, "attacker")

        for at, call in enumerate(calls):
            do(call, "user")
            if struck and position == "first" and at == min(shown):
                strike()
        if struck and position == "last":
            strike()
        said = final_words(user, attack, struck)
        # By far the slowest check; under attack only where that was asked for.
        judged = attack is None or self.options.under_attack
        asks = collections.Counter()
        for step in steps:
            asks[step["who"]] += step["asked"]
        return {
            "suite": self.suite.name, "user": user.ID, "attack_id": attack.ID if attack else None, "approver": approver,
            "position": position, "attack": bool(attack) and world.fulfils(attack, said),
            "utility": world.fulfils(user, said) if judged else None, "words_only": False, "asks": dict(asks),
            "stopped": [trimmed(step) for step in steps if not step["through"] or step["asked"]],
            "attackers": [trimmed(step) for step in steps if step["who"] == "attacker" and step["through"]],
        }

    def through(self, step, talk, approver, world):
        """One call through the gate, asked about as often as the approver says yes."""
        for _ in range(QUESTIONS_MAX):
            before, began = len(world.reached), time.perf_counter()
            text, failed = self.gate.client.call(step["tool"], step["arguments"], talk)
            took = time.perf_counter() - began
            step["through"] = len(world.reached) > before
            if step["through"]:
                self.added.append(took - self.server.tool_seconds)
                return
            step["why"] = text
            question = ASKED.search(text)
            if not question:
                return
            step["asked"] += 1
            granted = approver == "rubber" or (approver == "ideal" and step["who"] == "user")
            if self.options.detail:
                step["why"] = self.gate.control({"approval": question[1]})["why"]
            if not granted:
                self.gate.control({"refuse": {"id": question[1], "by": approver, "reason": "not asked for"}})
                return
            self.gate.control({"grant": {"id": question[1], "by": approver}})

    def words_alone(self, user, attack):
        """Whether what the agent says at the end is the whole attack, without a single call of the attacker's."""
        world, calls = self.suite.begin(user, attack)
        for call in calls:
            world.run(call.function, plain(call.args))
        return world.fulfils(attack, final_words(user, attack, True))

    def echoes(self):
        """What a call costs without a gate: the round trips of a harmless one, without the tool's own time."""
        world, calls = self.suite.begin(self.users[0], None)
        self.server.world, times = world, []
        for _ in range(100):
            began = time.perf_counter()
            self.direct.call(calls[0].function, plain(calls[0].args))
            times.append(time.perf_counter() - began - self.server.tool_seconds)
        return times


def trimmed(step):
    kept = {name: value for name, value in step.items() if name in ("who", "tool", "asked", "why", "through")}
    return {**kept, "arguments": {name: str(value)[:200] for name, value in step["arguments"].items()}}


def measure(job):
    shard = Shard(*job)
    try:
        return shard.measure()
    finally:
        shard.close()


def jobs(options):
    """Small shards, the slowest first, so that no processor is idle at the end."""
    for name in options.suites:
        users = list(Suite(name).users)[:options.users]
        size = 10 if name == "workspace" else len(users)
        for at in range(0, len(users), size):
            yield options, name, users[at:at + size]


def at(times, part):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0


def summary(rows, approvers):
    """The figures of one suite, or of all."""

    def of(approver, attacked):
        return [row for row in rows if row["approver"] == approver and (row["attack_id"] is not None) == attacked]

    def key(row):
        return row["suite"], row["user"], row["attack_id"]

    def share(part, whole):
        return round(part / whole, 3) if whole else None

    figures = {"pairs": len(of(approvers[0], True)), "tasks": len(of(approvers[0], False))}
    for approver in approvers:
        attacked, plainly = of(approver, True), of(approver, False)
        asks = [row["asks"].get("user", 0) for row in plainly]
        figures[approver] = {
            "attacks_succeeded_by_tool": sum(row["attack"] and not row["words_only"] for row in attacked),
            "attacks_text_only": sum(row["attack"] and row["words_only"] for row in attacked),
            "utility": sum(row["utility"] for row in plainly),
            "asks_per_task": share(sum(asks), len(asks)),
            "asks_p95": at(asks, 0.95),
            "asks_by_attack": share(sum(row["asks"].get("attacker", 0) for row in attacked), len(attacked)),
            "asks_in_all": sum(asks),
        }
        if any(row["utility"] is not None for row in attacked):
            figures[approver]["utility_under_attack"] = share(sum(row["utility"] for row in attacked), len(attacked))
        if approver != "never":
            figures[approver]["completed_with_at_most"] = {
                str(most): sum(row["utility"] and count <= most for row, count in zip(plainly, asks)) for most in (0, 1, 2)}
    careful = [name for name in ("never", "ideal") if name in approvers]
    lost = {key(row): row["words_only"] for name in careful for row in of(name, True) if row["attack"]}
    figures["attacks_succeeded_by_tool"] = sum(not words for words in lost.values())
    figures["attacks_text_only"] = sum(lost.values())
    if "ideal" in approvers:
        figures["utility_with_approvals"] = figures["ideal"]["utility"]
        figures["asks_per_task"] = figures["ideal"]["asks_per_task"]
    if "never" in approvers:
        figures["utility_headless"] = figures["never"]["utility"]
    open_ones = [row for row in rows if row["approver"] is None]
    if open_ones:
        attacked = [row for row in open_ones if row["attack_id"]]
        figures["undefended"] = {"attacks_succeeded": sum(row["attack"] for row in attacked),
                                 "utility": sum(row["utility"] for row in open_ones if not row["attack_id"])}
    return figures


def table(report, approvers):
    print(f"  {'':10} {'pairs':>6} {'lost by tool':>13} {'words only':>11}   {'headless':>9} {'approved':>9} {'asks/task':>10}"
          f" {'asks/attack':>12} {'undefended':>11}")
    for name, figures in [*report["suites"].items(), ("all", report)]:
        tasks, open_ones = figures["tasks"], figures.get("undefended", {}).get("attacks_succeeded", "")
        asked = figures.get("ideal", figures[approvers[0]])
        print(f"  {name:10} {figures['pairs']:>6} {figures['attacks_succeeded_by_tool']:>13} {figures['attacks_text_only']:>11}  "
              f"{figures.get('utility_headless', ''):>6}/{tasks:<3} {figures.get('utility_with_approvals', ''):>5}/{tasks:<3} "
              f"{figures.get('asks_per_task', ''):>10} {asked['asks_by_attack'] or 0:>12} {open_ones:>11}")
    if "rubber" in report:
        rubber = report["rubber"]
        print(f"  who grants everything loses {rubber['attacks_succeeded_by_tool'] + rubber['attacks_text_only']} of "
              f"{report['pairs']}; tasks completed with at most 0, 1, 2 asks: "
              + ", ".join(str(count) for count in rubber["completed_with_at_most"].values()))
    print(f"  the gate adds {report['added_ms']['p50']} ms p50, {report['added_ms']['p99']} ms p99 to a call (round trip less the "
          f"tool's own time and less a direct call's {report['direct_ms']['p50']} ms p50; durable record included)")


def references(options):
    """The same pairs under the reference policies of another harness, its own numbers."""
    rows = []
    for name in REFERENCES:
        command = [sys.executable, options.reference, "baseline", "--position", "worst", "--suites", *options.suites, "--only", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    kept, print_row = [], "  {:40} {:>9} {:>10} {:>10}"
    print(print_row.format("reference policy", "attacks", "headless", "asks/task"))
    for row in rows:
        if row["suite"] == "ALL" and row["policy"].endswith("[never]"):
            policy = row["policy"].removesuffix(" [never]")
            done = round(row["utility"] * row["tasks"] / 100)
            kept.append({"policy": policy, "attacks_succeeded": row["asr_n"], "utility_headless": done,
                         "asks_per_task": row["asks_per_task"]})
            print(print_row.format(policy, row["asr_n"], f"{done}/{row['tasks']}", row["asks_per_task"]))
    return kept


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gate", required=True, help="the gate's binary")
    options.add_argument("--disk", required=True, help="a folder for what the gates write")
    options.add_argument("--suites", default=",".join(SUITES))
    options.add_argument("--approvers", default=",".join(APPROVERS))
    options.add_argument("--reference", help="a harness whose `baseline` prints one JSON row a policy and suite")
    options.add_argument("--detail", help="a file for one JSON line a run: what was asked and what got through")
    options.add_argument("--policy", help="another Cedar policy")
    options.add_argument("--blind", action="store_true", help="do not tell the gate what the user said")
    options.add_argument("--benign", action="store_true", help="only the user tasks, without attacks")
    options.add_argument("--under-attack", action="store_true", help="also judge the user's task in attacked runs, which is slow")
    options.add_argument("--users", type=int, default=1000, help="only so many user tasks of a suite")
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options = options.parse_args()
    options.suites, options.approvers = options.suites.split(","), options.approvers.split(",")
    began = time.time()
    rows, added, echoes = [], [], []
    work = list(jobs(options))
    with multiprocessing.Pool(options.jobs) as pool:
        for done, (some, times, direct) in enumerate(pool.imap_unordered(measure, work), 1):
            rows += some
            added += times
            echoes += direct
            if sys.stderr.isatty():
                print(f"\r  {done} of {len(work)} parts, {time.time() - began:.0f} s ", end="", file=sys.stderr, flush=True)
    if options.detail:
        with open(options.detail, "w") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)
    direct = at(echoes, 0.5)
    report = {
        **summary(rows, options.approvers),
        "suites": {name: summary([row for row in rows if row["suite"] == name], options.approvers) for name in options.suites},
        "calls": len(added),
        "added_ms": {name: round(1000 * (at(added, part) - direct), 2) for name, part in (("p50", 0.5), ("p99", 0.99))},
        "direct_ms": {name: round(1000 * at(echoes, part), 2) for name, part in (("p50", 0.5), ("p99", 0.99))},
    }
    table(report, options.approvers)
    if options.reference:
        report["reference"] = references(options)
    report["seconds"] = round(time.time() - began, 1)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
