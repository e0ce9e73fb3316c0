"""A tool server for tests, in every manner of speaking and misbehaving. Standard library only.

    python3 upstream.py MANNER

MANNER is how it opens (see `open_with`); the tool that is called says how it misbehaves.
"""

import json
import os
import subprocess
import sys
import time

MODERN = "io.modelcontextprotocol/protocolVersion"
out = sys.stdout.buffer


def raw(text):
    out.write(text.encode() if isinstance(text, str) else text)
    out.flush()


def send(message):
    raw(json.dumps(message) + "\n")


def result(id, value):
    send({"jsonrpc": "2.0", "id": id, "result": value})


def error(id, code, **data):
    send({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no", **data}})


def read():
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(0)
    return line, json.loads(line)


def open_with(manner):
    """Answers until the handshake is over."""
    asked = False
    while True:
        _, message = read()
        method, id = message.get("method"), message.get("id")
        if method == "server/discover":
            asked = True
            if manner == "modern":
                assert message["params"]["_meta"][MODERN] == "2026-07-28"
                return result(id, {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}})
            if manner == "legacy-named":
                error(id, -32022, data={"supported": ["2025-06-18"], "requested": "2026-07-28"})
            elif manner == "future":
                error(id, -32022, data={"supported": ["2099-01-01"], "requested": "2026-07-28"})
            elif manner == "legacy-crashing":
                sys.exit(1)
            elif manner == "garbage":
                raw("Welcome!\n")
            elif manner != "legacy-silent":
                error(id, -32601)
        elif method == "initialize":
            if manner == "modern" or (asked and manner in ("legacy-named", "legacy-touchy", "legacy-silent")):
                error(id, -32022, data={"supported": ["2026-07-28"]})
                continue
            assert message["params"]["protocolVersion"] == "2025-11-25"
            result(id, {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}})
            _, message = read()
            assert message["method"] == "notifications/initialized"
            return


def tool(name, **more):
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def pages(manner, id, cursor):
    if manner == "endless-pages":
        return result(id, {"tools": [], "nextCursor": "again"})
    if manner == "many-tools":
        return result(id, {"tools": [tool(f"t{n}") for n in range(1001)]})
    if manner == "same-names":
        return result(id, {"tools": [tool("a"), tool("a")]})
    if cursor is None:
        return raw('{"jsonrpc":"2.0","id":%d,"result":{"tools":[ {"name":"a", "x":1.50, "inputSchema":{}} ],"nextCursor":"p\\"2"}}\n' % id)
    assert cursor == 'p"2'
    return result(id, {"tools": [tool("b", annotations={"readOnlyHint": True})]})


def misbehave(name, id, line, message, held, cancelled):
    arguments = message["params"]["arguments"]
    if name == "echo":
        result(id, {"content": [], "line": line.decode()})
    elif name == "reverse":
        held.append((id, arguments["n"]))
        if len(held) == arguments["of"]:
            for id, n in reversed(held):
                result(id, {"content": [], "n": n})
            held.clear()
    elif name == "fail":
        result(id, {"content": [], "isError": True})
    elif name == "input":
        result(id, {"resultType": "input_required", "requestState": "s"})
    elif name == "task":
        result(id, {"resultType": "task", "taskId": "t", "status": "working"})
    elif name == "refuse":
        error(id, -32602)
    elif name == "environment":
        result(id, {"content": [], "environment": dict(os.environ), "directory": os.getcwd()})
    elif name == "ask":
        send({"jsonrpc": "2.0", "id": "q1", "method": arguments["method"], "params": {}})
        line, _ = read()
        result(id, {"content": [], "reply": line.decode()})
    elif name == "progress":
        token = message["params"]["_meta"]["progressToken"]
        for n in range(arguments["of"]):
            send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": n}})
        send({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 10**9, "progress": 1}})
        result(id, {"content": []})
    elif name == "cancelled":
        result(id, {"content": [], "cancelled": cancelled})
    elif name == "errors":
        sys.stderr.write("secret\n" * 200_000)
        sys.stderr.flush()
        result(id, {"content": []})
    elif name == "wrong-ids":
        for other in (id + 1000, str(id), float(id), None):
            result(other, {"content": [], "wrong": True})
        result(id, {"content": [], "wrong": False})
    elif name == "twice":
        result(id, {"content": [], "n": 1})
        result(id, {"content": [], "n": 2})
    elif name == "duplicate-key":
        raw('{"jsonrpc":"2.0","id":%d,"result":{"isError":true,"isError":false}}\n' % id)
    elif name == "both":
        raw('{"jsonrpc":"2.0","id":%d,"result":{},"error":{"code":1,"message":""}}\n' % id)
    elif name == "not-json":
        raw("oops\n")
    elif name == "deep":
        raw('{"jsonrpc":"2.0","id":%d,"result":{"a":%s%s}}\n' % (id, "[" * 100_000, "]" * 100_000))
    elif name == "huge":
        raw('{"jsonrpc":"2.0","id":%d,"result":{"a":"%s"}}\n' % (id, "x" * arguments["bytes"]))
    elif name == "endless":
        while True:
            raw(b"x" * 65536)
    elif name == "flood":
        while True:
            send({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
    elif name == "drip":
        raw('{"jsonrpc":"2.0","id":%d' % id)
    elif name == "exit":
        sys.exit(3)
    elif name == "answer-and-exit":
        result(id, {"content": [], "last": True})
        sys.exit(0)
    elif name == "deaf":
        time.sleep(3600)
    elif name == "family":
        child = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
        result(id, {"content": [], "pids": [os.getpid(), child.pid]})
    else:
        assert name == "hang"


def main():
    manner = sys.argv[1]
    open_with(manner)
    held, cancelled = [], []
    while True:
        line, message = read()
        method, id = message.get("method"), message.get("id")
        if manner == "modern" and id is not None:
            assert message["params"]["_meta"][MODERN] == "2026-07-28"
        if method == "tools/list":
            pages(manner, id, message.get("params", {}).get("cursor"))
        elif method == "tools/call":
            misbehave(message["params"]["name"], id, line, message, held, cancelled)
        elif method == "notifications/cancelled":
            cancelled.append(message["params"]["requestId"])


main()
