"""The agent against the real server, and over HTTP against a stand-in for the gateway."""

import asyncio
import base64
import contextlib
import io
import logging
import pathlib
import socket
import tempfile
import unittest

import mcp.types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

import direct
import signing
from agent import DECISION, REFUSAL, ReceiptBook, through_gateway
from narration import Failed, Narrator
from test_signing import KEY, verify

# The stand-in's library warns of a tool that it does not list; that is the point.
logging.getLogger("mcp").setLevel(logging.ERROR)

TOKEN = "0123456789abcdef0123456789abcdef"
# No gateway signed it; it has the beginning of one.
RECEIPT = base64.b64encode(b"\xd2\x84 a receipt").decode()


def stand_in() -> Server:
    """Answers as the gateway does: a refusal has a code, every result a decision."""
    server = Server("stand-in")

    @server.list_tools()
    async def _tools():
        return [mcp.types.Tool(name="read_query", inputSchema={"type": "object"})]

    @server.call_tool(validate_input=False)
    async def _call(name, arguments):
        refused = name != "read_query"
        return mcp.types.CallToolResult(
            content=[mcp.types.TextContent(type="text", text="no such tool" if refused else "[]")],
            isError=refused,
            _meta={
                DECISION: {"verdict": "deny" if refused else "allow", "receipt": RECEIPT},
                **({REFUSAL: {"code": "unknown_capability"}} if refused else {}),
            },
        )

    return server


@contextlib.asynccontextmanager
async def served(authenticate):
    """The stand-in on a port of its own; whoever `authenticate` does not know gets 401."""
    manager = StreamableHTTPSessionManager(stand_in(), json_response=True, stateless=True)

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        messages, body = [], b""
        while True:
            messages.append(await receive())
            body += messages[-1].get("body", b"")
            if not messages[-1].get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        url = f"http://{headers['host']}{scope['path']}"
        try:
            authenticate(scope["method"], url, headers, body)
        except Exception:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return

        async def replay():
            return messages.pop(0) if messages else await receive()

        await manager.handle_request(scope, replay, send)

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    async with manager.run():
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp/customers"
        finally:
            server.should_exit = True
            await task
            listening.close()


def by_token(_method, _url, headers, _body):
    assert headers.get("authorization") == f"Bearer {TOKEN}"


def by_signature(method, url, headers, body):
    verify(KEY.public_key(), method, url, headers, body)


async def conversation(authenticate, **credential):
    with tempfile.TemporaryDirectory() as directory:
        book = ReceiptBook(pathlib.Path(directory) / "receipts.txt")
        async with served(authenticate) as url, through_gateway(url, book=book, **credential) as agent:
            tools = await agent.tools()
            allowed = await agent.call("read_query", {"query": "…"})
            refused = await agent.call("create_table", {"query": "…"})
        return tools, allowed, refused, pathlib.Path(book.path).read_text(encoding="ascii").split()


class OverHttp(unittest.TestCase):
    def assert_conversation(self, found):
        tools, allowed, refused, receipts = found
        self.assertEqual(tools, ["read_query"])
        self.assertEqual((allowed.text, allowed.code, allowed.decision["verdict"]), ("[]", None, "allow"))
        self.assertEqual((refused.code, refused.decision["verdict"]), ("unknown_capability", "deny"))
        self.assertEqual(receipts, [RECEIPT, RECEIPT])

    def test_an_agent_with_a_token_is_told_results_refusals_and_receipts(self):
        self.assert_conversation(asyncio.run(conversation(by_token, token=TOKEN)))

    def test_an_agent_that_signs_signs_every_request_of_the_client(self):
        self.assert_conversation(asyncio.run(conversation(by_signature, auth=signing.SigningAuth(KEY))))

    def test_an_agent_without_a_credential_is_not_let_in(self):
        with self.assertRaises(BaseException):
            asyncio.run(asyncio.wait_for(conversation(by_token), 20))


class Directly(unittest.TestCase):
    def test_every_attack_works_on_the_bare_server(self):
        with tempfile.TemporaryDirectory() as directory:
            narrator = Narrator(io.StringIO())
            asyncio.run(direct.without_gateway(narrator, pathlib.Path(directory)))
            self.assertEqual(narrator.asserted, 9)


class Narration(unittest.TestCase):
    def test_an_expectation_that_does_not_hold_stops_the_story(self):
        with self.assertRaises(Failed):
            Narrator(io.StringIO()).expect("two", 1 + 1, 3)
        with self.assertRaises(Failed):
            Narrator(io.StringIO()).expect_that("nothing", False)

    def test_there_are_no_colours_where_there_is_no_terminal(self):
        out = io.StringIO()
        narrator = Narrator(out)
        narrator.scene("A scene")
        narrator.passed("a thing")
        self.assertNotIn("\033", out.getvalue())
