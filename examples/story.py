"""Runs every example client against one gateway: list, call, be refused, be halted, be approved, resume.

In: what `run` installed, the built programs. Out: one line a client; exit code 1 if a client was told anything
but what it has to be told, or if the log does not verify afterwards.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests/outside"))
from machine import PROGRAM, Children, Machine, need_programs  # noqa: E402
from sites import Site, Upstream, pin  # noqa: E402

WORK = ROOT / "target/examples"
PYTHON = WORK / "venv/bin/python"
PYTHON_LANGCHAIN = WORK / "venv-langchain/bin/python"
NODE = [WORK / "node_modules/.bin/node", "--preserve-symlinks", "--preserve-symlinks-main"]
INSPECTOR = [*NODE[:1], WORK / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js", "--cli"]
SECONDS = 60

# Clients that speak for themselves. Each is an agent of its own.
PROGRAMS = {
    "python-legacy": [PYTHON, HERE / "clients/python_sdk.py", "URL", "legacy"],
    "python-modern": [PYTHON, HERE / "clients/python_sdk.py", "URL", "2026-07-28"],
    "openai-agents": [PYTHON, HERE / "clients/openai_agents.py", "URL"],
    "langchain": [PYTHON_LANGCHAIN, HERE / "clients/langchain_agent.py", "URL"],
    "typescript-1": [*NODE, WORK / "clients/typescript_v1.mjs", "URL"],
    "typescript-2-legacy": [*NODE, WORK / "clients/typescript_v2.mjs", "URL", "legacy"],
    "typescript-2-modern": [*NODE, WORK / "clients/typescript_v2.mjs", "URL", "2026-07-28"],
}
# The Inspector's command line: one program a call.
ERAS = {"inspector-legacy": "legacy", "inspector-modern": "modern"}
# Whose client declares the extension for tasks, and then asks until people have answered: there is nothing to send again.
TAKES_TASKS = {"inspector-modern"}
A_TASK = "a task, which the client follows until it is over"


def sentence(code: str) -> str:
    """What a refused call is told. SPEC: docs/errors.md."""
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    return page.split(f"### `{code}`")[1].split("> ", 1)[1].split("\n", 1)[0]


def expected(name: str) -> dict:
    """What a client has to be told, whatever it is made with."""
    return {
        "list": ["delete_note", "read_note"],
        "call": "ship on Friday",
        "refused": sentence("policy_denied"),
        "halted": A_TASK if name in TAKES_TASKS else sentence("approval_required"),
        "resumed": "deleted draft",
    }


def approve(machine: Machine) -> None:
    """Says yes to the one action that waits."""
    (action,) = machine.waiting()
    machine.approve(action)


def run_program(command: list, url: str, token: str, machine: Machine) -> dict:
    """Lets a client go through its steps; says yes when it is halted."""
    command = [url if word == "URL" else str(word) for word in command]
    environment = {**os.environ, "COUNTERSIGN_TOKEN": token}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    client = subprocess.Popen(command, text=True, env=environment, **streams)
    late = threading.Timer(SECONDS, client.kill)
    late.start()
    said = []
    noise = threading.Thread(target=lambda: said.extend(client.stderr))
    noise.start()
    told = {}
    for line in client.stdout:
        name, outcome = json.loads(line)
        told[name] = outcome
        if name == "halted":
            approve(machine)
            client.stdin.write("\n")
            client.stdin.flush()
    code = client.wait()
    late.cancel()
    noise.join()
    if code != 0:
        raise RuntimeError(f"exit code {code}\n{''.join(said)}")
    return told


def run_inspector(era: str, url: str, token: str, machine: Machine) -> dict:
    """The same steps with the Inspector's command line."""

    def ask(*arguments) -> dict:
        command = [*INSPECTOR, url, "--transport", "http", "--header", f"Authorization: Bearer {token}"]
        command += ["--protocol-era", era, "--format", "json", "--stored-auth-only", "--quiet", *arguments]
        # It keeps its own files in the home directory.
        environment = {**os.environ, "HOME": str(machine.directory)}
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=SECONDS, env=environment)
        try:
            found = json.loads(done.stdout)
        except json.JSONDecodeError:
            raise RuntimeError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}") from None
        return found.get("result", found)

    def call(tool: str, note: str) -> str:
        return ask("--method", "tools/call", "--tool-name", tool, "--tool-arg", f"name={note}")["content"][0]["text"]

    told = {"list": sorted(tool["name"] for tool in ask("--method", "tools/list")["tools"])}
    told["call"] = call("read_note", "plan")
    told["refused"] = call("read_note", "salaries")
    if f"inspector-{era}" in TAKES_TASKS:
        return told | as_task(lambda: call("delete_note", "draft"), machine)
    told["halted"] = call("delete_note", "draft")
    approve(machine)
    told["resumed"] = call("delete_note", "draft")
    return told


def as_task(call, machine: Machine) -> dict:
    """Says yes while the client waits, which then goes on by itself."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        going = pool.submit(call)
        while not going.done() and not machine.waiting():
            time.sleep(0.2)
        halted = "the client gave up" if going.done() else A_TASK
        if not going.done():
            approve(machine)
        return {"halted": halted, "resumed": going.result()}


def main() -> None:
    need_programs()
    server = [PYTHON, "-I", HERE / "notes.py"]
    modes = {"read_note": "read_only", "delete_note": "destructive", "burn_archive": "destructive"}
    notes = Upstream("notes", pin.listed_by(list(map(str, server))), command=server, modes=modes)
    chosen = sys.argv[1:] or [*PROGRAMS, *ERAS]
    children, fine = Children(), True
    with tempfile.TemporaryDirectory(prefix="countersign-") as directory:
        path = pathlib.Path(directory)
        policies = (HERE / "policies.cedar").read_text(encoding="utf-8")
        machine = Machine(Site(PROGRAM, path / "site", [notes], policies, chosen), path, children)
        machine.serve()
        for name in chosen:
            token, url = machine.site.tokens[name], f"{machine.url}/mcp/notes"
            try:
                if name in ERAS:
                    told = run_inspector(ERAS[name], url, token, machine)
                else:
                    told = run_program(PROGRAMS[name], url, token, machine)
            except Exception as error:
                told, fine = {}, False
                print(f"FAILED  {name}: {error}")
            wanted = expected(name)
            if told and told != wanted:
                fine = False
                wrong = [step for step in wanted if told.get(step) != wanted[step]]
                print(f"WRONG   {name}: " + "; ".join(f"{step}: {told.get(step)!r}" for step in wrong))
            elif told:
                print(f"ok      {name}: listed, called, refused, halted, approved, resumed")
        machine.verdict()
        print("ok      the log of all of them is verified")
        children.stop()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
