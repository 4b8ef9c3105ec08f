"""An MCP server with one tool that runs what it is told, and tells what came of it. It is as confined as anything else."""

import json, subprocess, sys

TOOL = {"name": "sh", "description": "runs a script", "inputSchema": {
    "type": "object", "properties": {"script": {"type": "string"}}, "required": ["script"]}}  # fmt: skip

for line in sys.stdin:
    asked = json.loads(line)
    method, params = asked.get("method"), asked.get("params") or {}
    if "id" not in asked:
        continue
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "shell", "version": "1"}}  # fmt: skip
    elif method == "tools/list":
        result = {"tools": [TOOL]}
    elif method == "tools/call":
        ran = subprocess.run(["sh", "-c", params["arguments"]["script"]], stdin=subprocess.DEVNULL, capture_output=True)
        text = (ran.stdout + ran.stderr).decode(errors="replace")
        print(text, file=sys.stderr, flush=True)
        result = {"content": [{"type": "text", "text": text}]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
