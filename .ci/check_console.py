#!/usr/bin/env python3
"""Opens the console in a real headless Chromium with a virtual authenticator, and uses it as people and attackers do.
The agent is the real stdio relay; what ran is looked up in the desk's own database, never in what the gate says.

  check_console.py [NAME...]

Needs `chromium` on PATH (or CHROMIUM); without it every check is skipped by name. SHOTS=DIR keeps screenshots.
Ends with `N passed, N failed`.
"""
import base64
import contextlib
import datetime
import hashlib
import http.server
import itertools
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import gate

PATIENCE_SECONDS_MAX = 20
PAGE_BYTES_MAX = 100_000
SESSIONS, QUESTIONS = 10_000, 1_000
KEYS = {"ArrowDown": ("ArrowDown", 40, ""), "Enter": ("Enter", 13, "\r"), "Tab": ("Tab", 9, ""), "Escape": ("Escape", 27, "")}
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


def chromium():
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def until(what, look):
    end = time.monotonic() + PATIENCE_SECONDS_MAX
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened that " + what)


class Browser:
    """One Chromium, driven over a pipe: JSON messages that end with a zero byte."""

    def __init__(self, program, home):
        to_r, self.to = os.pipe()
        self.from_, from_w = os.pipe()

        def wire():
            # Both may stand in each other's place, so they are moved out of the way first.
            a, b = os.dup(to_r), os.dup(from_w)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
             "--disable-background-networking", "--disable-component-update", "--user-data-dir=" + home, "about:blank"],
            close_fds=False, preexec_fn=wire, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_r)
        os.close(from_w)
        self.ids, self.answers, self.events, self.changed = itertools.count(1), {}, [], threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        rest = b""
        while data := os.read(self.from_, 1 << 20):
            *whole, rest = (rest + data).split(b"\0")
            with self.changed:
                for message in map(json.loads, whole):
                    if "id" in message:
                        self.answers[message["id"]] = message
                    else:
                        self.events.append(message)
                self.changed.notify_all()

    def call(self, method, session=None, **params):
        i = next(self.ids)
        message = {"id": i, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        with self.changed:
            assert self.changed.wait_for(lambda: i in self.answers, PATIENCE_SECONDS_MAX), method + " was not answered"
            answer = self.answers.pop(i)
        assert "error" not in answer, "%s: %s" % (method, answer)
        return answer["result"]

    def close(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()


class Page:
    """One window, with cookies and an authenticator of its own: one person."""

    def __init__(self, browser):
        self.b = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.s = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self("%s.enable" % domain)
        self("WebAuthn.enable")
        self.key_holder = self("WebAuthn.addVirtualAuthenticator", options={
            "protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasResidentKey": True,
            "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True})["authenticatorId"]
        self.size(1280, 860)

    def __call__(self, method, **params):
        return self.b.call(method, self.s, **params)

    def size(self, width, height, phone=False):
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)

    def dark(self, on):
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if on else "light"}])

    def js(self, text):
        r = self("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in r, r["exceptionDetails"]
        return r["result"].get("value")

    def open(self, url):
        self("Page.navigate", url=url)
        self.ready()

    def ready(self):
        until("the page is there", lambda: self.quietly("document.readyState === 'complete' && !!document.querySelector('#main')"))

    def quietly(self, text):
        # While a page is left, its world is gone for a moment.
        try:
            return self.js(text)
        except AssertionError:
            return None

    def path(self):
        return self.quietly("location.pathname")

    def key(self, key):
        name, code, text = KEYS[key] if key in KEYS else (key, ord(key.upper()), key)
        self("Input.dispatchKeyEvent", type="keyDown", key=name, windowsVirtualKeyCode=code, text=text)
        self("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def type(self, text):
        self("Input.insertText", text=text)

    def complaints(self):
        """What the browser itself found wrong with the pages since the last look."""
        with self.b.changed:
            mine = [e for e in self.b.events if e.get("sessionId") == self.s]
            self.b.events = [e for e in self.b.events if e.get("sessionId") != self.s]
        said = [e["params"]["entry"]["text"] for e in mine if e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error"]
        said += [json.dumps(e["params"])[:300] for e in mine if e["method"] in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening")]
        return said

    def shot(self, name):
        folder = os.environ.get("SHOTS")
        if folder:
            os.makedirs(folder, exist_ok=True)
            whole = self("Page.captureScreenshot", format="png", captureBeyondViewport=False)["data"]
            with open(os.path.join(folder, name + ".png"), "wb") as f:
                f.write(base64.b64decode(whole))


class Desk(gate.Gate):
    """The demo's support desk, with all that happened in it, served again."""

    def __init__(self):
        super().__init__({}, {})

    def prepare(self):
        os.rmdir(self.project)
        self.state = os.path.join(self.project, "state")
        self.env["BAILIWICK_STATE"] = self.state
        subprocess.run([self.bin, "demo", "--keep", self.project], check=True, capture_output=True, timeout=120)

    def refunds(self):
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % os.path.join(self.project, "desk.db"), uri=True)) as db:
            tables = {r[0] for r in db.execute("select name from sqlite_master where type = 'table'")}
            return db.execute("select count(*) from %s" % ("refund" if "refund" in tables else "refunds")).fetchone()[0]

    def only(self, kind, **fields):
        """The records of this kind that hold all of these."""
        return [r for r in self.json("journal", "show") if r["kind"] == kind and all(r.get(k) == v for k, v in fields.items())]

    def threads(self):
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as f:
            return int(re.search(r"^Threads:\s+(\d+)", f.read(), re.M).group(1))

    @contextlib.contextmanager
    def rules(self, text):
        """More policy, for a while."""
        path = os.path.join(self.dir, "policy", "90-more.cedar")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        try:
            self.run("policy", "reload")
            yield
        finally:
            os.remove(path)
            self.run("policy", "reload")

    def alerts(self, rule):
        return [r for r in self.json("journal", "show") if r["kind"] == "alert" and r["rule"] == rule]


class Agent:
    """The stdio relay, as a client starts it."""

    def __init__(self, g):
        self.p = subprocess.Popen([g.bin, "mcp"], cwd=g.project, env=g.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ids, self.answers = itertools.count(1), {}
        threading.Thread(target=self.listen, daemon=True).start()
        self.wait(self.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "desk-agent", "version": "1"}}))
        self.p.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        self.p.stdin.flush()

    def listen(self):
        for line in self.p.stdout:
            message = json.loads(line)
            if "id" in message and "method" not in message:
                self.answers[message["id"]] = message

    def send(self, method, params):
        i = next(self.ids)
        self.p.stdin.write(json.dumps({"jsonrpc": "2.0", "id": i, "method": method, "params": params}) + "\n")
        self.p.stdin.flush()
        return i

    def begin(self, tool, **arguments):
        return self.send("tools/call", {"name": tool, "arguments": arguments})

    def cancel(self, i):
        self.p.stdin.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": i}}) + "\n")
        self.p.stdin.flush()

    def wait(self, i):
        until("the call is answered", lambda: i in self.answers)
        return self.answers[i]

    def words(self, i):
        return json.dumps(self.wait(i))

    def close(self):
        self.p.kill()
        self.p.wait()


class Bench:
    def __init__(self, g, page):
        self.g, self.page, self.base = g, page, g.told["console"]
        self.agent = Agent(g)
        self.order = 0

    def ask(self, **k):
        """A refund that needs a person."""
        self.order += 1
        return self.agent.begin("billing__refund_create", **{"order_id": "O-2013", "amount_cents": 9000 + self.order, "reason": "broken on arrival", **k})

    def pending(self):
        return [a for a in self.g.json("approvals", "list") if a["state"] == "pending"]

    def enter(self):
        if "approvals" in (self.page.path() or "") and self.page.quietly("!!document.querySelector('.who')"):
            return
        if not self.g.json("console", "people"):
            self.page.open(self.g.told["console_link"])
            until("the link is read", lambda: self.page.js("document.querySelector('#meant').textContent"))
            self.page.js("document.querySelector('#name').focus()")
            self.page.type("ann")
            self.page.key("Enter")
        else:
            self.page.open(self.base + "/sign-in")
            if self.page.path().endswith("/sign-in"):
                self.page.js("document.querySelector('#sign-in button').focus()")
                self.page.key("Enter")
        until("somebody is in", lambda: self.page.path() == "/console/approvals")
        self.page.ready()

    def second(self):
        """Somebody else, in a browser of their own: invited by ann on the people page."""
        if not hasattr(self, "bob"):
            self.enter()
            self.page.open(self.base + "/people")
            self.page.js("document.querySelector('#invite select').value = 'approver'")
            self.page.js("document.querySelector('#invite input').focus()")
            self.page.type("bob")
            self.page.key("Enter")
            time.sleep(0.3)
            assert not self.page.js("document.querySelector('#link').textContent"), "a name that was typed made a link"
            self.page.key("Tab")
            self.page.key("Enter")
            link = until("the link is made", lambda: self.page.js("document.querySelector('#link').textContent"))
            self.page.shot("invited-desktop-light")
            self.bob = Page(self.page.b)
            self.bob.open(link)
            until("the link is read", lambda: self.bob.js("document.querySelector('#name').value") == "bob")
            self.bob.js("document.querySelector('#enrol button').focus()")
            self.bob.key("Enter")
            until("bob is in", lambda: self.bob.path() == "/console/approvals")
            self.bob.ready()
        return self.bob

    def tab_to(self, where):
        for _ in range(20):
            if self.page.js(where):
                return
            self.page.key("Tab")
        raise AssertionError("the keys do not reach " + where)

    def shown(self, page, approval):
        page.open("%s/approvals/%s" % (self.base, approval["id"]))

    def grants(self, page):
        page.key("g")
        assert page.js("document.activeElement.closest('#grant') !== null")
        page.key("Enter")

    def said(self, page, words):
        until("the page says " + words, lambda: words in (page.quietly("document.querySelector('#said').textContent") or ""))

    def first_row(self):
        return self.page.quietly("document.querySelector('a.row .what')?.textContent") or ""


@check
def the_link_lets_the_first_person_in_and_a_passkey_brings_them_back(b):
    b.enter()
    assert b.page.js("document.querySelector('.who .name').textContent").startswith("ann"), "somebody else is in"
    assert not b.page.js("location.hash"), "the code stayed in the address"
    b.page.open(b.base + "/approvals")
    b.page.js("document.querySelector('.who button').click()")
    until("ann is out", lambda: b.page.path() == "/console/sign-in")
    b.page.shot("sign-in-desktop-light")
    b.enter()
    people = b.g.json("console", "people")
    assert [(p["name"], p["role"], p["passkeys"]) for p in people] == [("ann", "admin", 1)], people
    kept = [c["credentialId"] for c in b.page("WebAuthn.getCredentials", authenticatorId=b.page.key_holder)["credentials"]]
    assert len(kept) == 1, kept
    assert not b.page.complaints(), b.page.complaints()


@check
def a_question_appears_by_itself_and_is_granted_by_keys_alone(b):
    b.enter()
    b.page.open(b.base + "/approvals")
    before = b.g.refunds()
    # The page says when it saw the question, by its own clock.
    b.page.js("""window.seen = 0; new MutationObserver(() => {
        if (!window.seen && document.querySelector('a.row')) window.seen = Date.now() }).observe(document.body, {childList: true, subtree: true})""")
    until("the stream is open", lambda: b.page.js("performance.getEntriesByName(location.origin + '/console/events').length >= 0"))
    time.sleep(0.5)
    asked = time.time() * 1000
    i = b.ask()
    seen = until("the question is on the screen", lambda: b.page.js("window.seen"))
    print("     ask to screen: %d ms" % (seen - asked))
    assert "refund_create" in b.first_row()
    b.page.shot("approvals-desktop-light")
    b.page.key("j")
    b.page.key("Enter")
    until("the question is open", lambda: re.fullmatch(r"/console/approvals/a-\w+", b.page.path() or ""))
    b.page.ready()
    b.page.shot("approval-desktop-light")
    # No button is where the focus is: enter alone does nothing.
    b.page.key("Enter")
    time.sleep(0.3)
    assert i not in b.agent.answers and b.pending(), "enter alone answered"
    b.page.key("g")
    assert b.page.js("document.activeElement.closest('#grant') !== null")
    pressed = time.monotonic()
    b.page.key("Enter")
    answer = b.agent.words(i)
    print("     passkey to result: %d ms" % ((time.monotonic() - pressed) * 1000))
    assert '"isError": true' not in answer, answer
    assert b.g.refunds() == before + 1, "the refund was not made"
    at = lambda kind, **fields: datetime.datetime.fromisoformat(b.g.only(kind, **fields)[-1]["at"])
    decided = b.g.only("decision")[-1]
    answered = at("answered", approval=decided["approval"])
    print("     grant recorded to call let go: %.1f ms, to its outcome: %.1f ms" % tuple(
        1000 * (then - answered).total_seconds() for then in (at("decision"), at("outcome", call=decided["call"]))))
    until("the page says so", lambda: "used" in (b.page.quietly("document.querySelector('h1').textContent") or "") or "granted" in (b.page.quietly("document.querySelector('h1').textContent") or ""))
    assert not b.page.complaints(), b.page.complaints()


@check
def a_refusal_by_keys_reaches_the_model_with_its_reason(b):
    b.enter()
    b.page.open(b.base + "/approvals")
    before, i = b.g.refunds(), b.ask()
    until("the question is on the screen", b.first_row)
    b.page.key("j")
    b.page.key("Enter")
    until("the question is open", lambda: re.fullmatch(r"/console/approvals/a-\w+", b.page.path() or ""))
    b.page.ready()
    b.page.key("r")
    b.page.type("nobody ordered this")
    b.page.key("Enter")
    answer = b.agent.words(i)
    assert "nobody ordered this" in answer and '"isError": true' in answer, answer
    until("the list is back", lambda: b.page.path() == "/console/approvals")
    assert b.g.refunds() == before
    assert not b.page.complaints(), b.page.complaints()


@check
def a_grant_is_shaped_and_signed_by_keys_alone(b):
    b.enter()
    before, i = b.g.refunds(), b.ask(amount_cents=8000)
    approval = until("the question waits", b.pending)[0]
    b.shown(b.page, approval)
    b.page.key("m")
    assert b.page.js("document.activeElement.closest('details.shape') !== null")
    # What policy doubts comes first.
    names = b.page.js("[...document.querySelectorAll('.limit label')].map((e) => e.textContent)")
    doubted = b.page.js("[...document.querySelectorAll('.limit')].map((e) => e.classList.contains('danger'))")
    assert sorted(names) == ["amount_cents", "order_id", "reason"] and names[2] == "reason", names
    assert doubted == sorted(doubted, reverse=True), doubted
    b.tab_to("document.activeElement.labels?.[0]?.textContent === 'amount_cents'")
    # Exactly this, this or one of, at most.
    b.page.key("ArrowDown")
    b.page.key("ArrowDown")
    b.page.key("Tab")
    b.page.type("8500")
    b.page.shot("shape-desktop-light")
    b.page.size(390, 844, phone=True)
    b.page.js("document.querySelector('.limit').scrollIntoView()")
    b.page.shot("shape-phone-light")
    b.page.js("document.querySelector('.bounds').scrollIntoView()")
    b.page.shot("shape-phone-bounds-light")
    b.page.size(1280, 860)
    b.page.js("document.querySelector('details.shape input[name=uses]').select()")
    b.page.type("2")
    b.page.key("Enter")
    time.sleep(0.3)
    assert i not in b.agent.answers and b.pending(), "enter in a field granted"
    b.tab_to("document.activeElement.matches('details.shape button')")
    b.page.key("Enter")
    assert '"isError": true' not in b.agent.words(i)
    b.said(b.page, "Granted")
    signed = b.g.only("signed", approval=approval["id"])[0]["answer"]
    wanted = json.loads(signed.removeprefix("grant more "))
    assert wanted["uses"] == 2 and wanted["limits"] == {"amount_cents": {"at-most": 8500.0}} and wanted["seconds"] == 3600, wanted
    assert '"isError": true' not in b.agent.words(b.ask(amount_cents=8499)), "it does not cover what it says"
    over = b.ask(amount_cents=8501)
    asked = until("more is asked about", b.pending)[0]
    b.g.run("approvals", "refuse", asked["id"])
    b.agent.wait(over)
    assert b.g.refunds() == before + 2
    for grant in b.g.json("approvals", "grants"):
        if grant["state"] == "active":
            b.g.run("approvals", "withdraw", grant["id"])
    assert not b.page.complaints(), b.page.complaints()


@check
def two_people_must_agree_and_one_of_them_is_not_two(b):
    bob = b.second()
    two = """@id("both") @approvers("2") permit (principal, action == Action::"billing/refund_create", resource)
        when { context.approved && context.args.reason == "both" && context.args.amount_cents <= 20000 };"""
    with b.g.rules(two):
        before, i = b.g.refunds(), b.ask(reason="both")
        approval = until("the question waits", b.pending)[0]
        b.shown(b.page, approval)
        assert not b.page.js("document.querySelector('details.shape')"), "more than once is offered where two must agree"
        b.grants(b.page)
        b.said(b.page, "Another person must, too")
        until("it is shown", lambda: "1 of 2 people agreed" in b.page.js("document.querySelector('main').textContent"))
        b.grants(b.page)
        b.said(b.page, "this is the same one")
        assert i not in b.agent.answers and b.g.refunds() == before, "one was two"
        b.shown(bob, approval)
        assert "1 of 2 people agreed" in bob.js("document.querySelector('main').textContent")
        bob.shot("second-desktop-light")
        b.grants(bob)
        answer = b.agent.words(i)
        assert '"isError": true' not in answer, answer
        assert b.g.refunds() == before + 1, "the refund was not made"
    assert b.g.only("decision", approval=approval["id"])[0]["granted_by"] == "ann and bob"
    signers = [r["by"] for r in b.g.only("signed", approval=approval["id"])]
    assert signers == ["ann", "ann", "bob"], signers
    b.page.complaints()


@check
def what_changed_while_it_was_shown_is_granted_in_vain(b):
    b.enter()
    before = b.g.refunds()

    def granted_in_vain(change, words):
        i = b.ask()
        approval = until("the question waits", b.pending)[0]
        b.shown(b.page, approval)
        with change():
            b.grants(b.page)
            answer = b.agent.words(i)
            assert '"isError": true' in answer and words in answer, answer
            for again in b.pending():
                b.g.run("approvals", "refuse", again["id"])
        assert b.g.refunds() == before, "it ran all the same"

    granted_in_vain(lambda: b.g.rules("// Reviewed again.\n"), "changed while it waited")

    @contextlib.contextmanager
    def redefined():
        path = os.path.join(b.g.dir, "tools.lock")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        lock = json.loads(text)
        tool = lock["servers"]["billing"]["tools"]["refund_create"]
        # As if another definition had been reviewed meanwhile.
        tool["definition"]["description"] += " Twice, where asked."
        kept = {name: value for name, value in tool["definition"].items() if name != "execution"}
        plain = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        tool["digest"] = hashlib.sha256(plain.encode()).hexdigest()
        try:
            with open(path, "w", encoding="utf-8") as f:
                json.dump(lock, f)
            b.g.run("policy", "reload")
            yield
        finally:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            b.g.run("policy", "reload")

    granted_in_vain(redefined, "changed")

    # Another argument than the one that was shown: the call that comes is another question.
    first = b.agent.begin("billing__refund_create", order_id="O-2013", amount_cents=7001, reason="as shown")
    approval = until("the question waits", b.pending)[0]
    b.shown(b.page, approval)
    b.agent.cancel(first)
    i = b.agent.begin("billing__refund_create", order_id="O-2013", amount_cents=7002, reason="as shown")
    until("the other is asked about", lambda: len(b.pending()) == 2)
    b.grants(b.page)
    b.said(b.page, "Granted")
    time.sleep(0.3)
    assert i not in b.agent.answers and b.g.refunds() == before, "a grant for one argument let another through"
    b.g.run("approvals", "refuse", b.pending()[0]["id"])
    b.agent.wait(i)
    b.g.run("approvals", "withdraw", approval["id"])
    b.page.complaints()


@check
def what_an_attacker_wrote_stays_text(b):
    b.enter()
    nasty = "<img src=x onerror=alert(1)></pre><script>alert(2)</script>\u202egnp.exe \u200b\u001b[31m " + "<b>" * 20
    i = b.ask(reason=nasty)
    b.page.open(b.base + "/approvals")
    until("the question is on the screen", b.first_row)
    b.page.js("document.querySelector('a.row').click()")
    until("the question is open", lambda: re.fullmatch(r"/console/approvals/a-\w+", b.page.path() or ""))
    b.page.ready()
    shown = b.page.js("document.querySelector('pre.exact').textContent")
    assert "<script>alert(2)</script>" in shown and "U+202E" in shown and "U+200B" in shown, shown
    assert b.page.js("document.querySelectorAll('main img, main script, main b').length") == 0
    b.page.shot("attacked-desktop-light")
    b.page.size(390, 844, phone=True)
    b.page.shot("attacked-phone-light")
    b.page.size(1280, 860)
    b.page.key("r")
    b.page.key("Enter")
    b.agent.wait(i)
    assert not b.page.complaints(), b.page.complaints()


@check
def another_page_neither_frames_nor_posts_nor_borrows_a_passkey(b):
    b.enter()
    i, before = b.ask(), b.g.refunds()
    approval = until("the question waits", b.pending)[0]
    url = "%s/approvals/%s" % (b.base, approval["id"])
    page = """<!doctype html><meta charset=utf-8><main id=main><iframe src="%(url)s"></iframe><form id=f method=post action="%(url)s/refuse">
        <input name=token value=x><input name=reason value=x></form></main>""" % {"url": url}

    class Attacker(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Attacker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        # The same site for a browser: only the port differs, as a server that the agent started would be.
        b.page.open("http://localhost:%d/" % server.server_address[1])
        posted = b.page.js("""fetch('%s/challenge', {method: 'POST', credentials: 'include', mode: 'no-cors', body: '{}'})
            .then((r) => r.type, (e) => String(e))""" % url)
        assert posted == "opaque" or "TypeError" in posted, posted
        borrowed = b.page.js("""navigator.credentials.get({publicKey: {challenge: new Uint8Array(32), rpId: 'localhost', userVerification: 'required'}})
            .then((c) => JSON.parse(new TextDecoder().decode(c.response.clientDataJSON)).origin, (e) => e.name)""")
        assert borrowed != b.base.rsplit("/", 1)[0], borrowed
        b.page.js("document.getElementById('f').submit()")
        time.sleep(1)
    finally:
        server.shutdown()
    assert b.pending() and b.g.refunds() == before, "it was answered"
    assert b.g.alerts("console-origin") and b.g.alerts("console-framed"), "nothing warned"
    b.page.complaints()
    b.page.open(url)
    b.page.key("r")
    b.page.key("Enter")
    b.agent.wait(i)


@check
def every_page_opens_whole_small_and_without_complaint(b):
    b.enter()
    waiting = [b.ask(), b.ask(reason="the customer says it never arrived and wants all of it back today")]
    until("both wait", lambda: len(b.pending()) == 2)
    session = next(r["session"] for r in b.g.json("journal", "show") if r["kind"] == "decision")
    record = next(r["leaf"] for r in b.g.json("journal", "show") if r["kind"] == "decision")
    places = {"approvals": "approvals", "approval": "approvals/" + b.pending()[0]["id"], "sessions": "sessions",
              "session": "sessions/" + session, "journal": "journal", "record": "journal/%d" % record, "inventory": "inventory",
              "tool": "inventory/billing/refund_create", "policy": "policy", "alerts": "alerts", "posture": "posture", "people": "people"}
    b.page.complaints()
    for name, place in places.items():
        for width, height, phone, dark in ((1280, 860, False, False), (1280, 860, False, True), (390, 844, True, False), (390, 844, True, True)):
            b.page.size(width, height, phone)
            b.page.dark(dark)
            b.page.open("%s/%s" % (b.base, place))
            wide = b.page.js("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, "%s is %d px too wide at %d" % (name, wide, width)
            b.page.shot("%s-%s-%s" % (name, "phone" if phone else "desktop", "dark" if dark else "light"))
        size = b.page.js("fetch(location.href).then((r) => r.text()).then((t) => new Blob([t]).size)")
        assert size <= PAGE_BYTES_MAX, "%s is %d bytes" % (name, size)
        nameless = b.page.js("""[...document.querySelectorAll('a, button, input, textarea')].filter((e) => e.type !== 'hidden'
            && !(e.textContent.trim() || e.labels?.length || e.getAttribute('aria-label'))).map((e) => e.outerHTML)""")
        assert not nameless, (name, nameless)
    b.page.size(1280, 860)
    b.page.dark(False)
    assert not b.page.complaints(), b.page.complaints()
    for _ in waiting:
        b.g.run("approvals", "refuse", b.pending()[0]["id"])
    for i in waiting:
        b.agent.wait(i)


@check
def a_call_is_tried_against_the_policies_and_nothing_runs(b):
    b.enter()
    before, records = b.g.refunds(), len([r for r in b.g.json("journal", "show") if r["kind"] == "decision"])
    for arguments, decision in (('{"order_id":"O-1","amount_cents":5000,"reason":"r"}', "allow"),
                                ('{"order_id":"O-1","amount_cents":5001,"reason":"r"}', "ask"),
                                ('{"order_id":"O-1","amount_cents":1000001,"reason":"r"}', "deny")):
        b.page.open(b.base + "/policy?tool=billing/refund_create")
        b.page.js("document.querySelector('#arguments').value = %s" % json.dumps(arguments))
        b.page.js("document.querySelector('.try form').requestSubmit()")
        until("it is decided", lambda: b.page.quietly("document.querySelector('.tried .word')?.textContent") == decision)
    b.page.shot("tried-desktop-light")
    assert b.g.refunds() == before
    assert len([r for r in b.g.json("journal", "show") if r["kind"] == "decision"]) == records


@check
def ten_thousand_sessions_and_a_thousand_questions_stay_small(b):
    """Sizes are bounded here, times only told."""
    b.enter()
    path, wrong = b.g.told["socket"], []

    def come(first):
        # A hook's event is a session and a decision, and starts no server.
        for n in range(first, SESSIONS, 8):
            event = {"hook_event_name": "PreToolUse", "session_id": "%08x-scale" % n, "cwd": b.g.project, "tool_name": "Bash",
                     "tool_input": {"command": "echo %d" % n}, "tool_use_id": "toolu_%d" % n}
            with socket.socket(socket.AF_UNIX) as c:
                c.connect(path)
                c.sendall(json.dumps({"hook": {"event": event}}).encode() + b"\n")
                answer = c.makefile().readline()
                if "hookSpecificOutput" not in answer:
                    wrong.append(answer)

    begun = time.monotonic()
    threads = [threading.Thread(target=come, args=(first,)) for first in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:1]
    print("     %d sessions in %.1f s" % (SESSIONS, time.monotonic() - begun))
    # A thousand calls that wait, of as many clients as it takes: one has 256 under way at most.
    threads, begun, crowd = b.g.threads(), time.monotonic(), [Agent(b.g) for _ in range(5)]
    for n in range(QUESTIONS):
        crowd[n % len(crowd)].begin("billing__refund_create", order_id="O-2013", amount_cents=9000, reason="%d of many, %s" % (n, "x" * 200))
    until("all wait", lambda: len(b.pending()) == QUESTIONS)
    print("     %d calls wait after %.1f s; the gate has %d threads, %d before" % (
        QUESTIONS, time.monotonic() - begun, b.g.threads(), threads))
    assert b.g.threads() <= threads + 16, "waiting calls cost threads"
    for place in ("approvals", "approvals?page=25", "sessions", "sessions?page=100", "sessions?q=00000077", "journal", "journal?q=00000077", "alerts"):
        url = "%s/%s" % (b.base, place)
        took, size = b.page.js("""(async () => { let best = 1e9, size = 0; for (let i = 0; i < 5; i++) { const at = performance.now();
            const r = await fetch('%s'); size = (await r.blob()).size; if (!r.ok) throw r.status; best = Math.min(best, performance.now() - at) }
            return [best, size] })()""" % url)
        print("     %-24s %6.1f ms, %6d bytes" % (place, took, size))
        assert size <= PAGE_BYTES_MAX, "%s is %d bytes" % (place, size)
    b.page.open(b.base + "/approvals")
    assert b.page.js("document.querySelectorAll('a.row').length") == 40
    b.page.shot("many-desktop-light")
    for agent in crowd:
        agent.close()


def main():
    only = set(sys.argv[1:])
    chosen = [f for f in CHECKS if not only or f.__name__ in only]
    program = chromium()
    if not program:
        for f in chosen:
            print("skip %s: no chromium (install it or set CHROMIUM)" % f.__name__)
        sys.exit(gate.Tally().done())
    tally = gate.Tally()
    home = tempfile.mkdtemp(prefix="bailiwick-chromium-")
    browser = None
    try:
        with Desk() as g:
            browser = Browser(program, home)
            bench = Bench(g, Page(browser))
            for f in chosen:
                tally.attempt(f.__name__.replace("_", " "), lambda: f(bench))
            bench.agent.close()
    finally:
        if browser:
            browser.close()
        shutil.rmtree(home, ignore_errors=True)
    sys.exit(tally.done())


if __name__ == "__main__":
    main()
