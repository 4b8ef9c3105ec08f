#!/usr/bin/env python3
"""Serves, in both protocol eras, the tools, resources and prompts the conformance suites ask for by name.
It is never graded itself: it only has to answer the same way twice, so that direct and through-gate runs compare.

The suite's npm packages do not carry the server they are developed against, so this is our own, written from the
requirements the suites print. Needs the `mcp` package 2.x.

  conformance_fixture.py PORT        http://127.0.0.1:PORT/mcp (PORT 0: any; the URL is the first line of stdout)
"""
import base64
import json
import logging
import re
import socket
import struct
import sys
import warnings
import zlib

import anyio
import uvicorn
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.types import SamplingMessage, TextContent

MODERN = "2026-07-28"
INVALID_PARAMS, MISSING_CAPABILITY = -32602, -32021
EVENTS_MAX = 10_000


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


RED_DOT = base64.b64encode(
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00")) + chunk(b"IEND", b"")).decode()
SILENCE = base64.b64encode(
    b"RIFF" + struct.pack("<I", 38) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    + b"data" + struct.pack("<I", 2) + b"\0\0").decode()


def text(s):
    return {"type": "text", "text": s}


def done(*content):
    return {"content": list(content)}


def image():
    return {"type": "image", "data": RED_DOT, "mimeType": "image/png"}


def embedded(uri, mime, body):
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": body}}


def ask(message, **properties):
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": {
        "type": "object", "properties": properties, "required": list(properties)}}}


def sample(prompt, tokens):
    return {"method": "sampling/createMessage", "params": {
        "messages": [{"role": "user", "content": text(prompt)}], "maxTokens": tokens}}


ROOTS = {"method": "roots/list", "params": {}}
STRING = {"type": "string"}
NAME = ask("What is your name?", name=STRING)


def need(requests, state=None):
    out = {"resultType": "input_required", "inputRequests": requests}
    if state is not None:
        out["requestState"] = state
    return out


def answers(params):
    return {k: v if isinstance(v, dict) else v.model_dump(mode="json", by_alias=True, exclude_none=True)
            for k, v in (params.input_responses or {}).items()}


def answered(given, key, field):
    """The text the person gave for one question, or None when the answer is missing or not of the asked form."""
    content = (given.get(key) or {}).get("content")
    value = content.get(field) if isinstance(content, dict) else None
    return value if isinstance(value, (str, bool)) else None


def declared(ctx):
    caps = ctx.session.client_capabilities
    return set(caps.model_dump(by_alias=True, exclude_none=True)) if caps else set()


TOOLS, BODIES = [], {}


def tool(name, schema=None, description=None):
    TOOLS.append({"name": name, "description": description or name.replace("_", " "),
                  "inputSchema": schema or {"type": "object", "properties": {}}})

    def keep(f):
        BODIES[name] = f
        return f
    return keep


def one_string(name):
    return {"type": "object", "properties": {name: STRING}, "required": [name]}


@tool("test_simple_text")
async def _(ctx, p, a):
    return done(text("This is a simple text response for testing."))


@tool("test_image_content")
async def _(ctx, p, a):
    return done(image())


@tool("test_audio_content")
async def _(ctx, p, a):
    return done({"type": "audio", "data": SILENCE, "mimeType": "audio/wav"})


@tool("test_embedded_resource")
async def _(ctx, p, a):
    return done(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


@tool("test_multiple_content_types")
async def _(ctx, p, a):
    return done(text("Multiple content types test:"), image(),
                embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'))


@tool("test_tool_with_logging")
async def _(ctx, p, a):
    for i, line in enumerate(("Tool execution started", "Tool processing data", "Tool execution completed")):
        if i:
            await anyio.sleep(0.05)
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)
    return done(text("logged"))


@tool("test_logging_tool")
async def _(ctx, p, a):
    await ctx.session.send_log_message("info", "only for those who asked", related_request_id=ctx.request_id)
    return done(text("logged"))


@tool("test_tool_with_progress")
async def _(ctx, p, a):
    for step in (0, 50, 100):
        await ctx.session.report_progress(step, 100)
        await anyio.sleep(0.05)
    return done(text("progressed"))


@tool("test_error_handling")
async def _(ctx, p, a):
    return {"content": [text("This tool intentionally returns an error for testing")], "isError": True}


@tool("test_reconnection")
async def _(ctx, p, a):
    if ctx.close_sse_stream:
        await ctx.close_sse_stream()
    await anyio.sleep(0.2)
    return done(text("Reconnection test completed"))


@tool("test_sampling", one_string("prompt"))
async def _(ctx, p, a):
    r = await ctx.session.create_message(
        messages=[SamplingMessage(role="user", content=TextContent(type="text", text=a["prompt"]))],
        max_tokens=100, related_request_id=ctx.request_id)
    return done(text("LLM response: " + getattr(r.content, "text", "")))


async def elicited(ctx, message, schema):
    r = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return "action=%s, content=%s" % (r.action, json.dumps(r.content))


@tool("test_elicitation", one_string("message"))
async def _(ctx, p, a):
    schema = {"type": "object", "properties": {"response": {"type": "string", "description": "User's response"}},
              "required": ["response"]}
    return done(text("User response: " + await elicited(ctx, a["message"], schema)))


@tool("test_elicitation_sep1034_defaults")
async def _(ctx, p, a):
    return done(text("Elicitation completed: " + await elicited(ctx, "Defaults", {"type": "object", "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True}}})))


@tool("test_elicitation_sep1330_enums")
async def _(ctx, p, a):
    plain = ["option1", "option2", "option3"]
    titled = lambda kind: [{"const": "value%d" % i, "title": "%s %s" % (n, kind)}
                           for i, n in enumerate(("First", "Second", "Third"), 1)]
    return done(text("Elicitation completed: " + await elicited(ctx, "Enums", {"type": "object", "properties": {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"],
                       "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}}}})))


PHONE_OR_MAIL = {
    "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": STRING, "city": STRING}}},
    "properties": {"name": STRING, "address": {"$ref": "#/$defs/address"}, "phone": STRING, "email": STRING,
                   "contactMethod": {"type": "string", "enum": ["phone", "email"]}},
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]}, "else": {"required": ["email"]}, "additionalProperties": False}


@tool("json_schema_2020_12_tool", PHONE_OR_MAIL)
async def _(ctx, p, a):
    return done(text("ok"))


@tool("test_custom_headers", {"type": "object", "required": ["region"], "properties": {
    "region": {"type": "string", "x-mcp-header": "Region"}, "priority": {"type": "integer", "x-mcp-header": "Priority"},
    "query": STRING}})
async def _(ctx, p, a):
    return done(text(json.dumps(a, sort_keys=True)))


@tool("test_missing_capability")
async def _(ctx, p, a):
    if "sampling" not in declared(ctx):
        raise MCPError(MISSING_CAPABILITY, "sampling was not declared", {"requiredCapabilities": {"sampling": {}}})
    return done(text("sampling was declared"))


@tool("test_streaming_elicitation")
async def _(ctx, p, a):
    await ctx.session.report_progress(1, 2)
    return done(text("nothing but notifications came before this"))


@tool("test_trigger_tool_change")
async def _(ctx, p, a):
    await BUS.publish(ToolsListChanged())
    return done(text("changed"))


@tool("test_trigger_prompt_change")
async def _(ctx, p, a):
    await BUS.publish(PromptsListChanged())
    return done(text("changed"))


@tool("test_input_required_result_elicitation")
async def _(ctx, p, a):
    name = answered(answers(p), "user_name", "name")
    return done(text("Hello, %s!" % name)) if name else need({"user_name": NAME})


@tool("test_input_required_result_sampling")
async def _(ctx, p, a):
    got = answers(p).get("capital_question")
    return done(text(json.dumps(got))) if got else need({"capital_question": sample("What is the capital of France?", 100)})


@tool("test_input_required_result_list_roots")
async def _(ctx, p, a):
    got = answers(p).get("client_roots")
    return done(text(json.dumps(got))) if got else need({"client_roots": ROOTS})


def confirm(word):
    async def body(ctx, p, a):
        ok = answered(answers(p), "confirm", "ok")
        if ok is None or p.request_state is None:
            return need({"confirm": ask("Please confirm", ok={"type": "boolean"})}, "awaiting-confirm")
        return done(text(word))
    return body


tool("test_input_required_result_request_state")(confirm("state-ok"))
tool("test_input_required_result_tampered_state")(confirm("state was intact"))


@tool("test_input_required_result_multiple_inputs")
async def _(ctx, p, a):
    got = answers(p)
    if p.request_state and {"user_name", "greeting", "client_roots"} <= set(got):
        return done(text(json.dumps(got, sort_keys=True)))
    return need({"user_name": NAME, "greeting": sample("Generate a greeting", 50), "client_roots": ROOTS}, "awaiting-three")


@tool("test_input_required_result_multi_round")
async def _(ctx, p, a):
    got = answers(p)
    if p.request_state == "round-2" and (color := answered(got, "step2", "color")):
        return done(text("favorite color %s" % color))
    if p.request_state == "round-1" and answered(got, "step1", "name"):
        return need({"step2": ask("Step 2: What is your favorite color?", color=STRING)}, "round-2")
    return need({"step1": ask("Step 1: What is your name?", name=STRING)}, "round-1")


@tool("test_input_required_result_capabilities")
async def _(ctx, p, a):
    # Only questions the client said it can answer.
    can = {"elicitation": ("user_name", NAME), "sampling": ("greeting", sample("Generate a greeting", 50)),
           "roots": ("client_roots", ROOTS)}
    asked = dict(can[c] for c in sorted(declared(ctx) & set(can)))
    return need(asked) if asked and not p.input_responses else done(text("nothing left to ask"))


RESOURCES = {
    "test://static-text": ("Static Text Resource", "text/plain", "This is the content of the static text resource."),
    "test://static-binary": ("Static Binary Resource", "image/png", None),
    "test://watched-resource": ("Watched Resource", "text/plain", "Watched resource content"),
}
PROMPTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


async def list_tools(ctx, params):
    return {"tools": TOOLS}


async def call_tool(ctx, params):
    body = BODIES.get(params.name)
    if body is None:
        raise MCPError(INVALID_PARAMS, "unknown tool: " + params.name)
    return await body(ctx, params, params.arguments or {})


async def list_resources(ctx, params):
    return {"resources": [{"uri": u, "name": n, "description": n, "mimeType": m} for u, (n, m, _) in RESOURCES.items()]}


async def list_templates(ctx, params):
    return {"resourceTemplates": [{"uriTemplate": "test://template/{id}/data", "name": "Resource Template",
                                   "description": "one parameter", "mimeType": "application/json"}]}


async def read_resource(ctx, params):
    uri = str(params.uri)
    if uri in RESOURCES:
        _, mime, body = RESOURCES[uri]
        return {"contents": [dict(uri=uri, mimeType=mime, **({"blob": RED_DOT} if body is None else {"text": body}))]}
    m = re.fullmatch(r"test://template/([^/]+)/data", uri)
    if not m:
        code = INVALID_PARAMS if ctx.protocol_version >= MODERN else -32002
        raise MCPError(code, "resource not found", {"uri": uri})
    body = json.dumps({"id": m[1], "templateTest": True, "data": "Data for ID: " + m[1]})
    return {"contents": [{"uri": uri, "mimeType": "application/json", "text": body}]}


async def empty(ctx, params):
    return {}


async def list_prompts(ctx, params):
    return {"prompts": [{"name": n, "description": n, "arguments": [
        {"name": a, "description": a, "required": True} for a in args]} for n, args in PROMPTS.items()]}


def said(*content):
    return {"messages": [{"role": "user", "content": c} for c in content]}


async def get_prompt(ctx, params):
    args = params.arguments or {}
    if params.name not in PROMPTS:
        raise MCPError(INVALID_PARAMS, "unknown prompt: " + params.name)
    missing = [a for a in PROMPTS[params.name] if a not in args]
    if missing:
        raise MCPError(INVALID_PARAMS, "missing argument: " + missing[0])
    match params.name:
        case "test_simple_prompt":
            return said(text("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            return said(text("Prompt with arguments: arg1='%s', arg2='%s'" % (args["arg1"], args["arg2"])))
        case "test_prompt_with_embedded_resource":
            return said(embedded(args["resourceUri"], "text/plain", "Embedded resource content for testing."),
                        text("Please process the embedded resource above."))
        case "test_prompt_with_image":
            return said(image(), text("Please analyze the image above."))
    context = answered(answers(params), "user_context", "context")
    if context:
        return said(text("Use this context: " + context))
    return need({"user_context": ask("What context should the prompt use?", context=STRING)})


async def complete(ctx, params):
    values = [v for v in ("paris", "park", "party") if v.startswith(params.argument.value)]
    return {"completion": {"values": values, "total": len(values), "hasMore": False}}


class Replayable(EventStore):
    """Keeps the last events so that a client may come back for what it missed."""

    def __init__(self):
        self.events = []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        if len(self.events) > EVENTS_MAX:
            raise RuntimeError("more than EVENTS_MAX events: this fixture is for one short run")
        return str(len(self.events))

    async def replay_events_after(self, last_event_id, send):
        at = int(last_event_id) if last_event_id.isdigit() else 0
        if not 0 < at <= len(self.events):
            return None
        stream = self.events[at - 1][0]
        for i, (s, m) in enumerate(self.events[at:], at + 1):
            if s == stream and m is not None:
                await send(EventMessage(m, str(i)))
        return stream


def named(f):
    """A modern result says what kind it is; a legacy one must not."""
    async def answer(ctx, params):
        out = await f(ctx, params)
        return {"resultType": "complete", **out} if ctx.protocol_version >= MODERN else out
    return answer


# Legacy logging is deprecated, and still part of what the legacy suites test.
warnings.simplefilter("ignore")
BUS = InMemorySubscriptionBus()
SERVER = Server(
    "bailiwick-conformance-fixture", version="1.0.0", on_list_tools=named(list_tools), on_call_tool=named(call_tool),
    on_list_resources=named(list_resources), on_list_resource_templates=named(list_templates), on_read_resource=named(read_resource),
    on_subscribe_resource=empty, on_unsubscribe_resource=empty, on_list_prompts=named(list_prompts), on_get_prompt=named(get_prompt),
    on_completion=named(complete), on_set_logging_level=empty, on_subscriptions_listen=ListenHandler(BUS),
    get_tool_input_schema=lambda name: next((t["inputSchema"] for t in TOOLS if t["name"] == name), None),
    cache_hints={m: CacheHint(ttl_ms=1000, scope="public") for m in (
        "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read", "server/discover")})
SERVER.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="fixture"))


def main():
    logging.disable(logging.WARNING)
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    app = SERVER.streamable_http_app(event_store=Replayable(), retry_interval=500)
    print("http://127.0.0.1:%d/mcp" % listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main()
