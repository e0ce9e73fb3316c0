#!/usr/bin/env python3
"""Reads the tools of an MCP server and prints capability files with pinned descriptors, for people to finish.

    docs/pin.py ADAPTER -- COMMAND [ARGUMENT...]    a server over stdio, started here, with your rights
    docs/pin.py ADAPTER < listing.json              the result of a tools/list, or a list of descriptors

Out: one file a tool, on standard output. Every tool is `destructive` until a person decides otherwise, and
permitted to nobody until a policy says so. What a server says of its own tools is never taken as a decision.
"""

import hashlib
import json
import subprocess
import sys

DOMAIN = b"countersign/tool-descriptor/v1\0"
# What the digest covers: what a model or a person reads before choosing the tool.
COVERED = ["annotations", "description", "inputSchema", "name", "outputSchema", "title"]
ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Number(str):
    """The text of a number; the digest covers the text, not the value."""


def parse(text: str):
    """JSON with the text of its numbers."""
    return json.loads(text, parse_int=Number, parse_float=Number)


def canonical(value) -> str:
    """Members in order, no white space, fewest escapes. The same as `countersign_json::canonical`."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(ESCAPES.get(c, f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(k)}:{canonical(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return {True: "true", False: "false", None: "null"}[value]


def digest(tool: dict) -> str:
    """The digest that a bundle pins."""
    covered = {name: tool[name] for name in COVERED if name in tool}
    return hashlib.sha256(DOMAIN + canonical(covered).encode()).hexdigest()


def listed_by(command: list) -> list:
    """All tools of a server that speaks MCP 2025-11-25 over its standard streams."""
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def send(message: dict) -> None:
        server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        server.stdin.flush()

    def ask(number: int, method: str, params: dict) -> dict:
        send({"id": number, "method": method, "params": params})
        for line in server.stdout:
            answer = parse(line)
            if answer.get("id") == str(number):
                return answer["result"]
        sys.exit(f"the server ended before it answered {method}")

    try:
        ask(1, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "pin", "version": "1"}})
        send({"method": "notifications/initialized"})
        tools, cursor, number = [], None, 2
        while number == 2 or cursor:
            page = ask(number, "tools/list", {"cursor": cursor} if cursor else {})
            tools, cursor, number = tools + page["tools"], page.get("nextCursor"), number + 1
        return tools
    finally:
        server.kill()


def capability(adapter: str, tool: dict) -> str:
    """A capability file for people to finish."""
    name, schema = tool["name"], canonical(tool["inputSchema"])
    about = " ".join(tool.get("description", "").split())
    return f"""\
# capabilities/{name}.toml. Decide: mode, classification, retention, residency, and rules for each argument.
id = {canonical(f"{adapter}.{name}")}
adapter = {canonical(adapter)}
tool = {canonical(name)}
mode = "destructive"
description = {canonical(about)}
descriptor = "{digest(tool)}"
input_schema = {canonical(schema)}
classification = "CONFIDENTIAL"
retention = "90d"
residency = "undecided"
idempotency_key = "optional"
"""


def main() -> None:
    match sys.argv[1:]:
        case [adapter, "--", *command] if command:
            tools = listed_by(command)
        case [adapter] if not adapter.startswith("-"):
            found = parse(sys.stdin.read())
            tools = found.get("tools", found) if isinstance(found, dict) else found
        case _:
            sys.exit(__doc__)
    print("\n".join(capability(adapter, tool) for tool in tools), end="")


if __name__ == "__main__":
    main()
