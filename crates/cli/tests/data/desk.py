"""An MCP server with a customer's record, and a file of what it was told."""

import json, sys, time

TOKEN = "gh" + "p_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vWxYzQ"
TEXT = f'Ann wrote from ann.lee@mail.example.org: "my key is {TOKEN}, call me".\nOrder 4711, commit 3f786850e387550fdab836ed7e6dc881de23001b.'
TOOLS = [{"name": name, "description": name, "inputSchema": {"type": "object", "properties": {
    "to": {"type": "string"}, "text": {"type": "string"}}}} for name in ("read", "note", "send", "fail", "loud", "halves")]  # fmt: skip
TOOLS[4]["description"] = f"is loud, and logs in with {TOKEN}"
LISTS = {
    "prompts/list": {"prompts": [{"name": "hello", "description": f"says {TOKEN}"}], "nextCursor": TOKEN},
    "resources/list": {"resources": [{"uri": "desk:key", "name": f"the key {TOKEN}"}]},
}

for line in sys.stdin:
    asked = json.loads(line)
    method, params = asked.get("method"), asked.get("params") or {}
    if "id" not in asked:
        continue
    answer = {"jsonrpc": "2.0", "id": asked["id"]}
    if method == "initialize":
        answer["result"] = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}, "prompts": {}, "resources": {}, "logging": {}},
                            "serverInfo": {"name": "desk", "version": "1"}}  # fmt: skip
    elif method in LISTS:
        answer["result"] = LISTS[method]
    elif method == "tools/list":
        answer["result"] = {"tools": TOOLS}
    elif method == "prompts/get":
        answer["result"] = {"messages": [{"role": "user", "content": {"type": "text", "text": TEXT}}]}
    elif method == "resources/read":
        answer["result"] = {"contents": [{"uri": "desk:key", "text": TEXT}]}
    elif params["name"] == "loud":
        about = {"level": "info", "data": {"said": TEXT}}
        token = params.get("_meta", {}).get("progressToken", 0)
        progress = {"progressToken": token, "progress": 1, "message": f"logging in with {TOKEN}"}
        for kind, told in (("message", about), ("progress", progress), ("strange", {"text": TEXT})):
            print(json.dumps({"jsonrpc": "2.0", "method": f"notifications/{kind}", "params": told}), flush=True)
        print(f"loud: {TEXT}", file=sys.stderr, flush=True)
        time.sleep(0.5)  # what comes after an answer belongs to no call
        answer["result"] = {"content": [{"type": "text", "text": "quiet"}]}
    elif params["name"] == "halves":
        with open("whole") as file:
            whole = file.read()
        half = params["arguments"].get("text", "")
        parts = {"first": whole[:12], "second": whole[12:], "note": "and"}
        parts = parts if half == "" else {"part": parts[half]}
        answer["result"] = {"content": [{"type": "text", "text": "cut"}], "structuredContent": parts}
    elif params["name"] == "fail":
        answer["error"] = {"code": -32000, "message": f"cannot log in with {TOKEN}"}
    else:
        if params["name"] != "read":
            with open("told", "a") as file:
                file.write(json.dumps(params["arguments"]) + "\n")
        text = TEXT if params["name"] == "read" else json.dumps(params["arguments"])
        answer["result"] = {"content": [{"type": "text", "text": text}], "structuredContent": {"said": text}}
    print(json.dumps(answer), flush=True)
