"""Puts an agent of the Claude Agent SDK under a running Bailiwick gate: every tool call is decided there before it runs.
Nothing here decides; whatever goes wrong is a denial.

    gate = Gate(project)
    options = ClaudeAgentOptions(cwd=project, can_use_tool=gate.can_use_tool, hooks=gate.hooks(), settings=gate.settings(),
                                 setting_sources=[])
"""
import asyncio
import json
import subprocess
import uuid

from claude_agent_sdk import HookMatcher, PermissionResultAllow, PermissionResultDeny

ANSWER_BYTES_MAX = 16 * 1024 * 1024
RESULT_SECONDS_MAX = 30
RESULTS = ("PostToolUse", "PostToolUseFailure", "PostToolBatch")


class Gate:
    """One agent's way to the gate of `project`. `binary` is the bailiwick command, `arguments` what it needs to find its gate."""

    def __init__(self, project, binary="bailiwick", arguments=()):
        self.project, self.cwd = str(project), str(project)
        self.command = (str(binary), *map(str, arguments))
        # The SDK says no session to `can_use_tool`; one name joins what is asked here with what is heard below.
        self.session = str(uuid.uuid4())

    def settings(self):
        """Settings under which the agent asks about every tool, also about those it would otherwise just run."""
        run = subprocess.run([*self.command, "hook", "settings", "--prompts"], cwd=self.project, capture_output=True, check=True)
        return run.stdout.decode()

    async def can_use_tool(self, name, tool_input, context):
        """The SDK's question about one call. It is held here until the gate has decided, and a person where one must."""
        try:
            answer = await self._ask({"hook_event_name": "PreToolUse", "cwd": self.cwd, "tool_name": name,
                                      "tool_input": tool_input, "tool_use_id": context.tool_use_id})
            said = answer["hookSpecificOutput"]
            if said["hookEventName"] == "PreToolUse" and said["permissionDecision"] == "allow":
                # A shell command comes back as one that runs the judged one behind the wall.
                return PermissionResultAllow(updated_input=said.get("updatedInput", tool_input))
            return PermissionResultDeny(message=said["permissionDecisionReason"])
        except Exception as error:  # Nothing may be taken for consent.
            return PermissionResultDeny(message="the gate could not be asked (%s)" % type(error).__name__)

    def hooks(self):
        """What the SDK tells of results: searched, redacted and recorded by the gate before the model reads them."""
        return {event: [HookMatcher(hooks=[self._result])] for event in RESULTS}

    async def _result(self, data, _use_id, _context):
        try:
            self.cwd = data.get("cwd") or self.cwd
            return await asyncio.wait_for(self._ask(data), RESULT_SECONDS_MAX)
        except Exception as error:
            why = "the gate could not be asked (%s), so the result is not shown" % type(error).__name__
            return {"continue_": False, "stopReason": why, "decision": "block", "reason": why}

    async def _ask(self, event):
        process = await asyncio.create_subprocess_exec(
            *self.command, "hook", cwd=self.project, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL)
        try:
            out, _ = await process.communicate(json.dumps(dict(event, session_id=self.session)).encode())
        finally:
            # An agent that gave up waits no longer: nothing may be granted to it.
            if process.returncode is None:
                process.kill()
        if process.returncode != 0 or len(out) > ANSWER_BYTES_MAX:
            raise RuntimeError("no answer")
        answer = json.loads(out)
        # `continue` is a word of Python's own; the SDK spells it so.
        if "continue" in answer:
            answer["continue_"] = answer.pop("continue")
        return answer
