"""Reference servers behind one gateway: list, call and refuse.

In: what `run` installed, the built programs. Out: one line a server; exit code 1 if one of them lists anything
but what it lists by itself, if a call fails, if a refused call is carried out, or if the log does not verify.
"""

import dataclasses
import http.server
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "outside"))
from machine import PROGRAM, Children, Machine, need_programs  # noqa: E402
from processes import free_ports  # noqa: E402
from sites import Site, Upstream, pin  # noqa: E402

WORK = ROOT / "target/servers"
NODE = WORK / "node_modules/.bin/node"
FORBIDDEN = "forbidden"
SECONDS = 60


def npm(name: str) -> pathlib.Path:
    """The program of a package."""
    return WORK / f"node_modules/@modelcontextprotocol/{name}/dist/index.js"


@dataclasses.dataclass
class Case:
    """A server, a call that is permitted and what its answer holds, and one that is not."""

    name: str
    command: list
    call: tuple
    holds: str
    refused: tuple
    environment: dict = dataclasses.field(default_factory=dict)
    url: str | None = None
    # Tools whose arguments a site cannot express.
    unregistered: tuple = ()
    tools: list = dataclasses.field(default_factory=list)


def cases(directory: pathlib.Path, page: str) -> list:
    """Every server, with something of its own to work on."""
    files, repository, database = directory / "files", directory / "repository", directory / "store.db"
    files.mkdir()
    (files / "plan.txt").write_text("ship on Friday", encoding="utf-8")
    (files / f"{FORBIDDEN}.txt").write_text("not for agents", encoding="utf-8")
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org", "-C", str(repository)]
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "the first commit"], check=True)
    with sqlite3.connect(database) as store:
        store.execute("create table plans (line text)")
        store.execute("insert into plans values ('ship on Friday')")
    pip = WORK / "venv/bin/python"
    memory = directory / "memory.jsonl"
    entity = {"type": "entity", "name": "plan", "entityType": "note", "observations": ["ship on Friday"]}
    memory.write_text(json.dumps(entity) + "\n", encoding="utf-8")
    everything = [NODE, npm("server-everything")]
    echo = (("echo", {"message": "hello"}), "hello", ("echo", {"message": FORBIDDEN}))
    return [
        Case(
            "filesystem",
            [NODE, npm("server-filesystem"), files],
            ("read_text_file", {"path": str(files / "plan.txt")}),
            "ship on Friday",
            ("read_text_file", {"path": str(files / f"{FORBIDDEN}.txt")}),
        ),
        Case("everything", [*everything, "stdio"], *echo),
        Case("everything-http", everything, *echo),
        Case(
            "memory",
            [NODE, npm("server-memory")],
            ("read_graph", {}),
            "ship on Friday",
            ("search_nodes", {"query": FORBIDDEN}),
            {"MEMORY_FILE_PATH": str(memory)},
            unregistered=("create_entities", "add_observations", "delete_observations"),
        ),
        Case(
            "git",
            [pip, "-m", "mcp_server_git", "--repository", repository],
            ("git_log", {"repo_path": str(repository)}),
            "the first commit",
            ("git_show", {"repo_path": str(repository), "revision": FORBIDDEN}),
            {"PATH": "/usr/bin:/bin", "HOME": str(directory)},
        ),
        Case(
            "time",
            [pip, "-m", "mcp_server_time", "--local-timezone", "UTC"],
            ("get_current_time", {"timezone": "UTC"}),
            "UTC",
            ("get_current_time", {"timezone": FORBIDDEN}),
        ),
        Case(
            "fetch",
            [pip, "-m", "mcp_server_fetch", "--allow-private-ips", "--ignore-robots-txt"],
            ("fetch", {"url": f"{page}/plan.txt"}),
            "ship on Friday",
            ("fetch", {"url": f"{page}/{FORBIDDEN}"}),
            {"PATH": "/usr/bin:/bin"},
        ),
        Case(
            "sqlite",
            [WORK / "venv-sqlite/bin/mcp-server-sqlite", "--db-path", database],
            ("read_query", {"query": "select * from plans"}),
            "ship on Friday",
            ("read_query", {"query": f"select * from {FORBIDDEN}"}),
        ),
    ]


def policies(found: list) -> str:
    """Everything is permitted but what has the forbidden word in its argument."""
    out = ['@id("allow")\npermit (principal, action in Action::"call", resource);\n']
    for case in found:
        tool, arguments = case.refused
        name = next(name for name, value in arguments.items() if FORBIDDEN in str(value))
        out.append(
            f'@id("not-for-{case.name}")\nforbid (principal, action == Action::"{case.name}.{tool}", resource)\n'
            f'when {{ context.input.{name} like "*{FORBIDDEN}*" }};\n'
        )
    return "\n".join(out)


class Client:
    """An MCP client of the 2025 revision, with as little of its own as possible."""

    def __init__(self, url: str, token: str):
        self.url, self.number = url, 0
        self.headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self.headers["accept"] = "application/json, text/event-stream"
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "servers", "version": "1"}}
        self.ask("initialize", about)
        self.send({"method": "notifications/initialized"})

    def send(self, message: dict) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        request = urllib.request.Request(self.url, body, self.headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            if session := answer.headers.get("mcp-session-id"):
                self.headers["mcp-session-id"] = session
            return answer.read()

    def ask(self, method: str, params: dict) -> dict:
        self.number += 1
        text = self.send({"id": self.number, "method": method, "params": params}).decode()
        lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith(("data:", "{"))]
        answers = [json.loads(line) for line in lines if line.strip()]
        (answer,) = (a for a in answers if a.get("id") == self.number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def call(self, tool: str, arguments: dict) -> dict:
        return self.ask("tools/call", {"name": tool, "arguments": arguments})


class Pages(http.server.SimpleHTTPRequestHandler):
    """What `fetch` fetches; remembers what was asked for."""

    asked: list = []

    def __init__(self, *arguments, directory: str, **named):
        super().__init__(*arguments, directory=directory, **named)

    def log_message(self, *_):
        self.asked.append(self.path)


def try_out(case: Case, machine: Machine, token: str) -> None:
    """Raises if anything is other than it has to be."""
    client = Client(f"{machine.url}/mcp/{case.name}", token)
    listed = {tool["name"]: tool for tool in client.ask("tools/list", {})["tools"]}
    by_itself = {tool["name"]: tool for tool in map(plain, case.tools) if tool["name"] not in case.unregistered}
    if listed != by_itself:
        differ = [name for name in listed | by_itself if listed.get(name) != by_itself.get(name)]
        raise RuntimeError(f"listed otherwise: {differ}")
    answer = client.call(*case.call)
    if answer.get("isError") or case.holds not in json.dumps(answer["content"]):
        raise RuntimeError(f"called: {json.dumps(answer)[:500]}")
    answer = client.call(*case.refused)
    if not answer.get("isError") or "Policy does not permit" not in answer["content"][0]["text"]:
        raise RuntimeError(f"not refused: {json.dumps(answer)[:500]}")


def plain(tool: dict) -> dict:
    """A descriptor with numbers as numbers."""
    return json.loads(pin.canonical(tool))


def main() -> None:
    need_programs()
    children, fine = Children(), True
    with tempfile.TemporaryDirectory(prefix="countersign-") as path:
        directory = pathlib.Path(path)

        def handler(*arguments):
            return Pages(*arguments, directory=str(directory / "files"))

        pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        found = cases(directory, f"http://127.0.0.1:{pages.server_port}")
        upstreams = []
        for case in found:
            command, url = case.command, None
            if case.name == "everything-http":
                port = free_ports(1)
                with_port = ["/usr/bin/env", f"PORT={port}", *command, "streamableHttp"]
                log = directory / "everything.log"
                children.start(case.name, with_port, log).wait_for("MCP Streamable HTTP Server listening", SECONDS)
                command, url = [*command, "stdio"], f"http://127.0.0.1:{port}/mcp"
            environment = [f"{key}={value}" for key, value in case.environment.items()]
            case.tools = pin.listed_by(["/usr/bin/env", "-i", *environment, *map(str, command)])
            upstreams.append(Upstream(case.name, case.tools, command, case.environment, url, unregistered=case.unregistered))
        machine = Machine(Site(PROGRAM, directory / "site", upstreams, policies(found)), directory, children)
        machine.serve()
        for case in found:
            try:
                try_out(case, machine, machine.site.tokens["agent"])
                left_out = f" ({len(case.unregistered)} that no site can express)" if case.unregistered else ""
                print(f"ok      {case.name}: {len(case.tools)} tools{left_out}, called, refused")
            except (RuntimeError, OSError, ValueError) as error:
                fine = False
                print(f"FAILED  {case.name}: {error}")
        if any(FORBIDDEN in path for path in Pages.asked):
            fine = False
            print("FAILED  fetch: what was refused was fetched")
        if not fine:
            print((directory / "gateway.log").read_text(encoding="utf-8"))
        machine.verdict()
        print("ok      the log of all of them is verified")
        children.stop()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
