#!/usr/bin/env python3
"""Runs the real Claude Code with its own sandbox, whose traffic leaves through the gate's proxy. The evidence is what an
upstream on loopback received, what the model was told and what the journal holds; never what the gate says it did.

  check_proxy.py

Needs the realclients harness and, as Claude Code's sandbox does, bwrap and socat; without them it is skipped by name. Ends with `N passed, N failed`.
"""
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading

import gate

POLICY = {"00-proxy.cedar": """
permit(principal, action == Action::"egress/read", resource) when { context.args.from == "proxy" };
"""}
SECRET = "correct-horse-battery-staple-9"
NAME = "up.example.test"


class Upstream(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder):
        self.received = []
        super().__init__(("127.0.0.1", 0), Answer)
        self.pem = os.path.join(folder, "up.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=" + NAME, "-addext", "subjectAltName=DNS:" + NAME,
                        "-addext", "basicConstraints=critical,CA:FALSE",
                        "-keyout", self.pem + ".key", "-out", self.pem], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem, self.pem + ".key")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.received.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        body = ("reached %s with %s\n" % (self.path, self.headers.get("authorization"))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Proxied(gate.Gate):
    """A gate with a proxy for the programs of its user, and one place to go."""

    def prepare(self):
        super().prepare()
        self.up = Upstream(self.home)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        at = "%s:%d" % (NAME, self.up.server_port)
        with open(os.path.join(self.dir, "bailiwick.toml"), "w", encoding="utf-8") as f:
            f.write('[gate]\nauthorities = ["%s"]\n[secret.horse]\n[[secret.horse.use]]\nhost = "%s"\npaths = ["/api/*"]\n'
                    'always = true\n[proxy]\nlisten = "127.0.0.1:%d"\nclients = "user"\nsecrets = ["horse"]\n'
                    'network = [{ to = "https://%s", private = ["127.0.0.0/8"], address = "127.0.0.1" }]\n'
                    % (self.up.pem, at, self.port, at))
        self.run("secret", "set", "horse", stdin=SECRET)


def main():
    name = "commands that claude code confines leave through the proxy"
    real, tally = gate.realclients(), gate.Tally()
    lacks = [t for t in ("bwrap", "socat", "curl", "openssl") if not shutil.which(t)]
    if not real or lacks:
        print("skip %s: %s" % (name, "no realclients harness (set BAILIWICK_REALCLIENTS)" if not real else "no " + ", ".join(lacks)))
        sys.exit(tally.done())
    os.environ["CLAUDE"] = gate.peers()["CLAUDE"]
    sys.dont_write_bytecode = True
    sys.path.insert(0, real)
    import harness

    def check():
        with Proxied({}, POLICY, only_ours=True) as g:
            network = json.loads(g.run("hook", "settings").stdout)["sandbox"]["network"]
            assert network == {"httpProxyPort": g.port, "socksProxyPort": g.port}, network
            at = "https://%s:%d" % (NAME, g.up.server_port)
            trust = "--cacert %s/proxy/authorities.pem" % g.state
            commands = [
                "curl -sS -m 20 %s %s/api/one" % (trust, at),
                "curl -sS -m 20 %s -x ${FTP_PROXY} %s/api/two" % (trust, at),
                "curl -sS -m 20 %s -X POST %s/api/three" % (trust, at),
                "curl -sS -m 20 -v https://other.example.test/ 2>&1",
                "curl -sS -m 20 http://other.example.test/",
                "curl -sS -m 20 --noproxy '*' -k https://127.0.0.1:%d/api/direct 2>&1 || echo stopped" % g.up.server_port,
            ]
            settings = {"sandbox": dict(enabled=True, failIfUnavailable=True, allowUnsandboxedCommands=False,
                                        autoAllowBashIfSandboxed=True, network=network)}
            out = os.path.join(g.project, "runs")
            r = harness.run(out, "proxy", [[harness.bash(c)] for c in commands], settings=settings, user=settings)
            told = [t[2] for t in r.tools]
            assert len(told) == len(commands), (told, r.stderr[-500:], r.result)
            for at, words in enumerate(["reached /api/one", "reached /api/two", "bailiwick: ", "403", "bailiwick: ", "stopped"]):
                assert words in told[at], "%s: %s" % (commands[at], told[at])
            paths = [p for p, _ in g.up.received]
            assert paths == ["/api/one", "/api/two"], paths
            assert all(h.get("authorization") == "Bearer " + SECRET for _, h in g.up.received), g.up.received
            assert SECRET not in json.dumps(r.api) + json.dumps(told), "the model was told the value"
            rows = json.dumps(g.json("journal", "show"))
            assert "egress/read" in rows and "other.example.test" in rows and SECRET not in rows, rows[:600]
            g.kill()
            r = harness.run(out, "after", [[harness.bash(commands[0])]], settings=settings, user=settings)
            assert "reached" not in r.tools[0][2] and len(g.up.received) == 2, r.tools

    tally.attempt(name, check)
    sys.exit(tally.done())


if __name__ == "__main__":
    main()
