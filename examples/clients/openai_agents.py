"""The OpenAI Agents SDK, with a scripted model.

    COUNTERSIGN_TOKEN=… python openai_agents.py URL
"""

import asyncio
import json
import os
import sys

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStreamableHttp
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from scripted import FORBIDDEN, GOODBYE, HALTED, READ, Script
from steps import approved, step


class Scripted(Model):
    """In place of a model behind an API."""

    def __init__(self, script: Script):
        self.script = script

    async def get_response(self, system_instructions, input, model_settings, tools, *_, **__) -> ModelResponse:
        outputs = [i for i in input if isinstance(i, dict) and i.get("type") == "function_call_output"]
        turn = self.script.next([self._text(i["output"]) for i in outputs], [tool.name for tool in tools])
        return ModelResponse(output=[self._item(turn, len(outputs))], usage=Usage(), response_id=None)

    def stream_response(self, *_, **__):
        raise NotImplementedError("the example does not stream")

    @staticmethod
    def _text(output) -> str:
        if isinstance(output, list):
            return "".join(part.get("text", "") for part in output)
        # A single text result comes as it is, or as the JSON of its content.
        found = json.loads(output) if output.startswith("{") else {"text": output}
        return found["text"]

    @staticmethod
    def _item(turn, number: int):
        if turn is None:
            text = ResponseOutputText(text=GOODBYE, type="output_text", annotations=[])
            return ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        name, arguments = turn
        identity = {"id": f"f{number}", "call_id": f"call-{number}"}
        return ResponseFunctionToolCall(**identity, name=name, arguments=json.dumps(arguments), type="function_call")


async def main(url: str) -> None:
    set_tracing_disabled(True)
    headers = {"Authorization": f"Bearer {os.environ['COUNTERSIGN_TOKEN']}"}
    async with MCPServerStreamableHttp(params={"url": url, "headers": headers}, name="notes") as notes:

        async def run(turns: list) -> Script:
            script = Script(turns)
            agent = Agent(name="assistant", instructions="Tidy the notes.", mcp_servers=[notes], model=Scripted(script))
            done = await Runner.run(agent, "Read the plan and the salaries, and delete the draft.")
            assert done.final_output == GOODBYE
            return script

        first = await run([READ, FORBIDDEN, HALTED])
        step("list", first.offered)
        for name, told in zip(("call", "refused", "halted"), first.told, strict=True):
            step(name, told)
        approved()
        step("resumed", (await run([HALTED])).told[0])


asyncio.run(main(*sys.argv[1:]))
