"""The agent: a real MCP client (the official Python SDK), which knows nothing of the gateway.

In: where the server is, and how the agent shows who it is. Out: what the agent is told. The same
client talks to the gateway over Streamable HTTP, and to the bare server over stdio.
"""

import contextlib
import dataclasses
import pathlib
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "clients" / "python"))

from receipts import DECISION, ReceiptBook  # noqa: E402

REFUSAL = "dev.countersign/refusal"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of one call."""

    text: str
    is_error: bool
    refusal: dict
    decision: dict

    @property
    def code(self) -> str | None:
        """Why it was refused, if it was."""
        return self.refusal.get("code") if self.is_error else None


class Agent:
    """An MCP session."""

    def __init__(self, session: ClientSession):
        self._session = session

    async def tools(self) -> list[str]:
        """Names of the tools that it may see."""
        return [tool.name for tool in (await self._session.list_tools()).tools]

    async def call(self, tool: str, arguments: dict) -> Answer:
        """Calls a tool."""
        result = await self._session.call_tool(tool, arguments)
        text = "\n".join(part.text for part in result.content if part.type == "text")
        meta = result.meta or {}
        decision, refusal = meta.get(DECISION) or {}, meta.get(REFUSAL) or {}
        return Answer(text, bool(result.isError), refusal, decision)


@contextlib.asynccontextmanager
async def through_gateway(url: str, *, book: ReceiptBook, token: str | None = None, auth=None):
    """An agent at `<gateway>/mcp/<adapter>`, which shows a token or signs what it sends.

    The receipt of every answer is in `book` before the agent sees the answer.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else None
    client = create_mcp_http_client(headers=headers, auth=auth)
    client.event_hooks = {**client.event_hooks, "response": [*client.event_hooks["response"], book.on_async_response]}
    async with (
        client as http,
        streamable_http_client(url, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield Agent(session)


@contextlib.asynccontextmanager
async def directly(command: list, log):
    """An agent at the bare server, with nothing between them."""
    server = StdioServerParameters(command=str(command[0]), args=[str(part) for part in command[1:]])
    async with stdio_client(server, errlog=log) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        yield Agent(session)
