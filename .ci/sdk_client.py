#!/usr/bin/env python3
"""Drives one MCP server with the Python SDK's client through a list of steps, and prints one JSON row per step.
It judges nothing; an error is a row like any other. Needs the `mcp` package 2.x.

stdin: {"target": {"command", "args", "env"} | {"url", "headers"}, "mode": "auto" | "legacy", "steps": [[verb, ...], ...]}
"""
import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import ElicitResult

STEP_SECONDS_MAX = 60


def plain(x):
    return x.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    job = json.load(sys.stdin)
    target, asked = job["target"], []

    async def answer(context, params):
        asked.append(params.message)
        properties = plain(params).get("requestedSchema", {}).get("properties", {})
        return ElicitResult(action="accept", content={
            k: True if v.get("type") == "boolean" else "typed" for k, v in properties.items() if k in ("ok", "name")})

    if "url" in target:
        transport = streamable_http_client(target["url"], http_client=create_mcp_http_client(headers=target.get("headers")))
    else:
        transport = StdioServerParameters(command=target["command"], args=target["args"], env=target.get("env") or dict(os.environ))
    async with Client(transport, mode=job.get("mode", "auto"), elicitation_callback=answer, cache=None) as c:
        print(json.dumps({"step": "connect", "version": c.protocol_version}), flush=True)
        for verb, *args in job["steps"]:
            seen, row = [], {"step": verb, "args": args}

            async def progress(done, total, message):
                seen.append([done, total])

            try:
                async with asyncio.timeout(STEP_SECONDS_MAX):
                    match verb:
                        case "tools":
                            row["tools"] = [plain(t) for t in (await c.list_tools()).tools]
                        case "call":
                            row["result"] = plain(await c.call_tool(*args, progress_callback=progress))
                        case "resources":
                            row["resources"] = [plain(r) for r in (await c.list_resources()).resources]
                        case "read":
                            row["result"] = plain(await c.read_resource(*args))
                        case "prompts":
                            row["prompts"] = [plain(p) for p in (await c.list_prompts()).prompts]
                        case "prompt":
                            row["result"] = plain(await c.get_prompt(*args))
            except Exception as e:
                row["error"] = "%s: %s" % (type(e).__name__, e)
            print(json.dumps(dict(row, progress=seen, asked=list(asked))), flush=True)
            asked.clear()


asyncio.run(main())
