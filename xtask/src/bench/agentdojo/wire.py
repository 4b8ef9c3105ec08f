"""The wire: a suite as an MCP server over HTTP, a running gate before it, and the client that the steered agent is.

Both sides speak MCP 2026-07-28, which is stateless: one request a call, here and there.
"""

import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

PROTOCOL = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
# What a call that needs an approval answers when nobody waits for one.
ASKED = re.compile(r"approval (\S+) within")


class Server:
    """The tools of one suite over whatever world is on stage."""

    def __init__(self, suite):
        self.suite, self.world, self.tool_seconds = suite, None, 0.0
        outer = self

        class Exchange(http.server.BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm, wbufsize = "HTTP/1.1", True, -1

            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                answer = outer.answer(json.loads(body))
                data = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(200 if data else 202)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):  # noqa: N802
                self.send_error(405)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/mcp"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, message):
        method, params = message.get("method"), message.get("params") or {}
        if message.get("id") is None:
            return None
        about = {"_meta": {PREFIX + "serverInfo": {"name": f"agentdojo-{self.suite.name}", "version": "1"}}}
        listed = {"resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "public", **about}
        if method == "server/discover":
            result = {"supportedVersions": [PROTOCOL], "capabilities": {"tools": {}}, **listed}
        elif method == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                      "serverInfo": {"name": f"agentdojo-{self.suite.name}", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": self.suite.definitions(), **listed}
        elif method == "tools/call":
            began = time.perf_counter()
            text, failed = self.world.run(params["name"], params.get("arguments") or {})
            self.tool_seconds = time.perf_counter() - began
            result = {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": failed}
        else:
            error = {"code": -32601, "message": "no such method"}
            return {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}

    def close(self):
        self.http.shutdown()
        self.http.server_close()


class Client:
    """A client on one kept-alive connection."""

    def __init__(self, url, token=None):
        host, self.path = url.removeprefix("http://").split("/", 1)
        self.to = http.client.HTTPConnection(host, timeout=120)
        self.token, self.sent = token, 0

    def call(self, tool, arguments, conversation=None):
        """The text of a result, and whether it is an error."""
        self.sent += 1
        about = {PREFIX + "protocolVersion": PROTOCOL, PREFIX + "clientCapabilities": {},
                 PREFIX + "clientInfo": {"name": "steered", "version": "1"}}
        params = {"name": tool, "arguments": arguments, "_meta": about}
        body = json.dumps({"jsonrpc": "2.0", "id": self.sent, "method": "tools/call", "params": params}).encode()
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream",
                   "mcp-protocol-version": PROTOCOL, "mcp-method": "tools/call", "mcp-name": tool}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        if conversation:
            headers["bailiwick-conversation"] = conversation
        self.to.request("POST", "/" + self.path, body, headers)
        response = self.to.getresponse()
        text = response.read().decode()
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            text = [line[5:] for line in text.splitlines() if line.startswith("data:")][-1]
        answer = json.loads(text)
        if "error" in answer:
            return answer["error"]["message"], True
        result = answer["result"]
        return "".join(part.get("text", "") for part in result["content"]), bool(result.get("isError"))


class Gate:
    """A real gate in a folder of its own, with the suite's review and policy, that nobody waits at."""

    def __init__(self, binary, disk, server, review, policy):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=disk))
        project = self.folder / "project"
        project.mkdir()
        self.name = server.suite.name
        environment = {**os.environ, "BAILIWICK_STATE": str(self.folder / "state")}
        run = dict(cwd=project, env=environment, stdin=subprocess.DEVNULL)
        subprocess.run([binary, "init", "--yes", "--server", f"{self.name}={server.url}"], check=True,
                       stdout=subprocess.DEVNULL, **run)
        place = project / ".bailiwick"
        for old in [*(place / "policy").iterdir(), *(place / "cases").iterdir()]:
            old.unlink()
        (place / "policy" / "00-flow.cedar").write_text(policy)
        (place / "bailiwick.toml").write_text(
            f"[gate]\nask_wait_seconds = 0\nclaude_code = false\n\n[server.{self.name}]\nurl = {json.dumps(server.url)}\n\n"
            f"[flow]\nknown = {json.dumps(review['known'])}\n")
        lock = json.loads((place / "tools.lock").read_text())
        tools = lock["servers"][self.name]["tools"]
        missing = set(tools) ^ set(review["tools"])
        assert not missing, f"the review of {self.name} and its server differ in {missing}"
        for name, reviewed in review["tools"].items():
            # A review stands in the place of the whole proposal, what texts mean included.
            tools[name] = {**tools[name], "kinds": {}, **reviewed}
        (place / "tools.lock").write_text(json.dumps(lock, indent=1))
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen([binary, "serve", "--json", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                        stderr=self.log, **run)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the gate did not start: {(self.folder / 'log').read_text()[-2000:]}")
        ready = json.loads(line)
        self.socket = ready["socket"]
        self.client = Client(f"{ready['url']}/{self.name}", pathlib.Path(ready["token_file"]).read_text().strip())

    def control(self, request):
        """One request of the operator over the gate's own socket."""
        with socket.socket(socket.AF_UNIX) as to:
            to.connect(self.socket)
            to.sendall(json.dumps({"control": request}).encode() + b"\n")
            reply = json.loads(to.makefile().readline())
        if "error" in reply:
            raise RuntimeError(f"{request}: {reply['error']}")
        return reply["ok"]

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
