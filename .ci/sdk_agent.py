#!/usr/bin/env python3
"""One run of the real Claude Agent SDK under the gate, with the module of examples/agent-sdk. Prints one JSON line for each tool
result as the SDK shows it. Everything it needs comes from the environment: BAILIWICK, CLAUDE, WORK, and what points at the model."""
import asyncio
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "agent-sdk"))
from bailiwick_gate import Gate  # noqa: E402
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient  # noqa: E402


async def main():
    work, claude = os.environ["WORK"], os.environ["CLAUDE"]
    gate = Gate(work, binary=os.environ["BAILIWICK"])
    options = ClaudeAgentOptions(cwd=work, cli_path=claude, model="claude-sonnet-4-5", can_use_tool=gate.can_use_tool,
                                 settings=gate.settings(), hooks=gate.hooks(), setting_sources=[],
                                 mcp_servers={"bailiwick": {"command": os.environ["BAILIWICK"], "args": ["mcp"]}})
    async with ClaudeSDKClient(options) as client:
        await client.query("go")
        async for message in client.receive_response():
            content = getattr(message, "content", None)
            for block in content if isinstance(content, list) else []:
                if type(block).__name__ == "ToolResultBlock":
                    text = block.content if isinstance(block.content, str) else json.dumps(block.content)
                    print(json.dumps({"is_error": bool(block.is_error), "text": text}), flush=True)


asyncio.run(main())
