"""The official Python SDK.

    COUNTERSIGN_TOKEN=… python python_sdk.py URL legacy|2026-07-28
"""

import asyncio
import os
import sys

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from steps import approved, step


async def main(url: str, mode: str) -> None:
    headers = {"Authorization": f"Bearer {os.environ['COUNTERSIGN_TOKEN']}"}
    async with (
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):

        async def call(tool: str, **arguments) -> str:
            result = await client.call_tool(tool, arguments)
            return result.content[0].text

        step("list", sorted(tool.name for tool in (await client.list_tools()).tools))
        step("call", await call("read_note", name="plan"))
        step("refused", await call("read_note", name="salaries"))
        step("halted", await call("delete_note", name="draft"))
        approved()
        step("resumed", await call("delete_note", name="draft"))


asyncio.run(main(*sys.argv[1:]))
