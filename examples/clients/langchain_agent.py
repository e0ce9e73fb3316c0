"""LangChain's MCP adapter and its agent, with a scripted model.

    COUNTERSIGN_TOKEN=… python langchain_agent.py URL
"""

import asyncio
import os
import sys

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.client import MultiServerMCPClient

from scripted import FORBIDDEN, GOODBYE, HALTED, READ, Script
from steps import approved, step


class Scripted(BaseChatModel):
    """In place of a model behind an API."""

    script: Script
    offered: list = []

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools, **_):
        return self.model_copy(update={"offered": [tool.name for tool in tools]})

    def _generate(self, messages, stop=None, run_manager=None, **_) -> ChatResult:
        told = ["".join(self._texts(m.content)) for m in messages if isinstance(m, ToolMessage)]
        turn = self.script.next(told, self.offered)
        calls = [] if turn is None else [{"name": turn[0], "args": turn[1], "id": f"call-{len(told)}"}]
        message = AIMessage(content="" if calls else GOODBYE, tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])

    @staticmethod
    def _texts(content) -> list:
        return [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]


async def main(url: str) -> None:
    headers = {"Authorization": f"Bearer {os.environ['COUNTERSIGN_TOKEN']}"}
    client = MultiServerMCPClient({"notes": {"transport": "streamable_http", "url": url, "headers": headers}})
    tools = await client.get_tools()

    async def run(turns: list) -> Script:
        script = Script(turns)
        agent = create_agent(Scripted(script=script), tools, system_prompt="Tidy the notes.")
        asked = {"role": "user", "content": "Read the plan and the salaries, and delete the draft."}
        done = await agent.ainvoke({"messages": [asked]})
        assert done["messages"][-1].content == GOODBYE
        return script

    first = await run([READ, FORBIDDEN, HALTED])
    step("list", first.offered)
    for name, told in zip(("call", "refused", "halted"), first.told, strict=True):
        step(name, told)
    approved()
    step("resumed", (await run([HALTED])).told[0])


asyncio.run(main(*sys.argv[1:]))
