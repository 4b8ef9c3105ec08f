"""An MCP server that has to ask the network before it can say what its tools are, and that shows what it was given."""

import json, os, sys, urllib.request

place = f"https://api.example.test:{os.environ['PORT']}/repos/"


def ask(path, token):
    request = urllib.request.Request(place + path, headers={"Authorization": "Bearer " + token})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status


for line in sys.stdin:
    asked = json.loads(line)
    method, params = asked.get("method"), asked.get("params") or {}
    if "id" not in asked:
        continue
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "named", "version": "1"}}  # fmt: skip
    elif method == "tools/list":
        fields = {"token": {"type": "string"}, "note": {"type": "string"}}
        result = {"tools": [{"name": f"use{ask('tools', os.environ['TOKEN'])}", "description": "uses a token",
                             "inputSchema": {"type": "object", "properties": fields}}]}  # fmt: skip
    elif method == "tools/call":
        token = params["arguments"].get("token", "")
        said = {"given": token, "sandbox": token == os.environ["TOKEN"], "status": ask("used", token)}
        result = {"content": [{"type": "text", "text": json.dumps(said)}]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
