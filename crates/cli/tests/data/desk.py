"""An MCP server with a customer's record, and a file of what it was told."""

import json, sys

TOKEN = "gh" + "p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ"
TEXT = f'Ann wrote from ann.lee@mail.example.org: "my key is {TOKEN}, call me".\nOrder 4711, commit 3f786850e387550fdab836ed7e6dc881de23001b.'
TOOLS = [{"name": name, "description": name, "inputSchema": {"type": "object", "properties": {
    "to": {"type": "string"}, "text": {"type": "string"}}}} for name in ("read", "note", "send", "fail")]  # fmt: skip

for line in sys.stdin:
    asked = json.loads(line)
    method, params = asked.get("method"), asked.get("params") or {}
    if "id" not in asked:
        continue
    answer = {"jsonrpc": "2.0", "id": asked["id"]}
    if method == "initialize":
        answer["result"] = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                            "serverInfo": {"name": "desk", "version": "1"}}  # fmt: skip
    elif method == "tools/list":
        answer["result"] = {"tools": TOOLS}
    elif params["name"] == "fail":
        answer["error"] = {"code": -32000, "message": f"cannot log in with {TOKEN}"}
    else:
        if params["name"] != "read":
            with open("told", "a") as file:
                file.write(json.dumps(params["arguments"]) + "\n")
        text = TEXT if params["name"] == "read" else json.dumps(params["arguments"])
        answer["result"] = {"content": [{"type": "text", "text": text}], "structuredContent": {"said": text}}
    print(json.dumps(answer), flush=True)
