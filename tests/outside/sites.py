"""A site directory for any MCP servers: upstreams, pinned tools, agents with tokens, policies.

In: servers with their listings, agents, Cedar policies. Out: the files of a site, and tokens. Keys and
settings are those of `countersign init`; digests are those of `docs/pin.py`.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
import secrets
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import pin  # noqa: E402

# TOML's basic strings are JSON's, for the characters that are used here.
quoted = json.dumps
TENANT = "demo"
LARGEST_TEXT = 200_000
SCALARS = ("string", "integer", "boolean")

ALLOW = '@id("allow")\npermit (principal, action in Action::"call", resource);\n'


@dataclasses.dataclass
class Upstream:
    """An MCP server: how it is reached, and what it lists."""

    name: str
    tools: list
    command: list | None = None
    environment: dict | None = None
    url: str | None = None
    # Modes by tool, for those that are not `network`.
    modes: dict = dataclasses.field(default_factory=dict)
    # Tools that are left out of the site: nobody looked at them.
    unregistered: tuple = ()
    # What else of MCP is registered.
    methods: tuple = ()
    # What its tools and methods may ask back.
    asks: tuple = ()
    # Tools that may answer with a task first.
    tasks: tuple = ()

    def adapter(self) -> str:
        lines = [f"name = {quoted(self.name)}"]
        if self.url:
            return "\n".join([*lines, 'kind = "mcp-http"', f"url = {quoted(self.url)}", ""])
        program, *arguments = map(str, self.command)
        lines += ['kind = "mcp-stdio"', f"command = {quoted(program)}", f"args = {quoted(arguments)}", 'sandbox = "none"']
        if self.environment:
            pairs = ", ".join(f"{quoted(key)} = {quoted(value)}" for key, value in self.environment.items())
            lines.append(f"environment = {{ {pairs} }}")
        return "\n".join([*lines, ""])

    def capabilities(self) -> dict:
        """Files of all that is registered, by what they are called."""
        tools = {t["name"]: self._tool(t) for t in self.tools if t["name"] not in self.unregistered}
        return tools | {method: self._capability(method, "method", "read_only", "") for method in self.methods}

    def _tool(self, tool: dict) -> str:
        mode = self.modes.get(tool["name"], "local_write")
        schema = json.dumps(restricted(tool["inputSchema"], tool["inputSchema"]))
        more = f'descriptor = "{pin.digest(tool)}"\ninput_schema = {quoted(schema)}\n'
        if tool["name"] in self.tasks:
            more += "tasks = true\n"
        if mode == "destructive":
            more += 'approvers = "officers"\n'
        return self._capability(tool["name"], "tool", mode, more)

    def _capability(self, name: str, kind: str, mode: str, more: str) -> str:
        asks = f"asks = {quoted(list(self.asks))}\n" if self.asks and asking(kind, name) else ""
        # Clients that were not made for us send no keys.
        repeated = "not_needed" if mode == "local_write" else "optional"
        return (
            f"id = {quoted(f'{self.name}.{name}')}\nadapter = {quoted(self.name)}\n{kind} = {quoted(name)}\n"
            f'mode = "{mode}"\ndescription = {quoted(f"The {kind} {name}")}\nclassification = "INTERNAL"\n'
            f'retention = "90d"\nresidency = "eu"\nidempotency_key = "{repeated}"\n{asks}{more}'
        )


def asking(kind: str, name: str) -> bool:
    """Whether MCP lets a server ask back in answer to this."""
    return kind == "tool" or name in ("prompts/get", "resources/read")


def restricted(schema, root) -> dict:
    """The part of a JSON Schema that a site can express: one type each, references resolved, no conditions."""
    if "$ref" in schema:
        found = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return restricted(found, root)
    for choice in schema.get("anyOf", schema.get("oneOf", [])):
        if choice.get("type") != "null" and "const" not in choice and "type" not in schema:
            return restricted(choice, root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next(k for k in kind if k != "null")
    if kind == "object":
        properties = {name: restricted(value, root) for name, value in schema.get("properties", {}).items()}
        required = [name for name in schema.get("required", []) if name in properties]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    if kind == "array":
        return {"type": "array", "items": restricted(schema.get("items") or {"type": "string"}, root)}
    return {"type": kind if kind in SCALARS else "integer"}


class Site:
    """A site that was written."""

    def __init__(self, program: pathlib.Path, path: pathlib.Path, upstreams: list, policies: str = ALLOW, agents=("agent",)):
        self.path = path
        self.tokens = {}
        command = [program, "init", path, "--database", "unused", "--listen", "127.0.0.1:0"]
        subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
        for directory in ("adapters", "agents", "capabilities", "policies"):
            shutil.rmtree(path / directory)
            (path / directory).mkdir()
        for name in agents:
            self._agent(name)
        self._officer()
        self._write("policies/policies.cedar", policies)
        for upstream in upstreams:
            self._write(f"adapters/{upstream.name}.toml", upstream.adapter())
            for name, text in upstream.capabilities().items():
                file = re.sub(r"[^a-z0-9]+", "-", f"{upstream.name}-{name}".lower())
                self._write(f"capabilities/{file}.toml", text)

    def key(self, name: str) -> pathlib.Path:
        """A development key, such as `governance`."""
        return self.path / "keys" / f"{name}.key"

    def setting(self, section: str, name: str) -> str:
        """A text or number of the settings."""
        text = (self.path / "countersign.toml").read_text(encoding="utf-8")
        (found,) = re.findall(rf"(?m)^\[{section}\](?:.*\n(?!\[))*?{name}\s*=\s*(.*?)\s*(?:#.*)?$", text)
        return found

    def edit(self, old: str, new: str) -> None:
        """Replaces what stands once in the settings."""
        settings = self.path / "countersign.toml"
        text = settings.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise RuntimeError(f"{old!r} stands {text.count(old)} times in {settings}")
        settings.write_text(text.replace(old, new), encoding="utf-8")

    def _agent(self, name: str) -> None:
        token = secrets.token_hex(32)
        self.tokens[name] = token
        digest = hashlib.sha256(b"countersign/token/v1" + token.encode()).hexdigest()
        urn = f"agent:outside/{name}@1"
        self._write(
            f"agents/{name}.toml",
            f'urn = "{urn}"\ntenant = "{TENANT}"\ntoken_digest = "{digest}"\ngroups = [{quoted(name)}]\n',
        )

    def _officer(self) -> None:
        public = re.search(r'public_key = "(.*?)"', (self.path / "approvers/privacy.toml").read_text(encoding="utf-8"))[1]
        shutil.rmtree(self.path / "approvers")
        (self.path / "approvers").mkdir()
        self._write(
            "approvers/officer.toml",
            f'id = "officer"\nname = "Officer"\npublic_key = "{public}"\n'
            f'groups = ["officers", "exporter"]\ntenants = ["{TENANT}"]\n',
        )

    def _write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")
