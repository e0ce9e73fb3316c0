"""Runs a gateway with a certified authorization server: OAuth clients of others find it, and people sign in.

In: what `examples/run` installed, the built programs. Out: one line for each thing that was tried; exit code 1 if
anybody was told anything but what they have to be told, or if the log does not say who called, and for whom.
"""

import base64
import dataclasses
import json
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/outside"))
from machine import PROGRAM, Children, Machine, need_programs  # noqa: E402
from processes import free_ports  # noqa: E402
from sites import Site, Upstream, pin, quoted  # noqa: E402

import person  # noqa: E402

WORK = ROOT / "target/examples"
PYTHON = WORK / "venv/bin/python"
NODE = [WORK / "node_modules/.bin/node", "--preserve-symlinks", "--preserve-symlinks-main"]
SECONDS = 60
SCOPE = "notes:read"
CALLBACK = "http://127.0.0.1/callback"
ELSEWHERE = "https://elsewhere.example"
# How long the tokens of `brief` live, in seconds.
BRIEF = 2
PEOPLE = {
    "grant_types": ["authorization_code", "refresh_token"],
    "redirect_uris": [CALLBACK],
    "token_endpoint_auth_method": "none",
}
ALONE = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
GRANTED = ["delete_note", "read_note"]


@dataclasses.dataclass
class Agent:
    """A client of the issuer that is an agent of the site."""

    group: str
    about: dict
    secret: str = dataclasses.field(default_factory=secrets.token_hex)

    def client(self, name: str) -> dict:
        """What the issuer knows of it."""
        secret = {} if "token_endpoint_auth_method" in self.about else {"client_secret": self.secret}
        return {"client_id": name, "application_type": "native", **self.about, **secret}


AGENTS = {
    "desk": Agent("desks", PEOPLE),
    "laptop": Agent("desks", PEOPLE | {"dpop_bound_access_tokens": True}),
    "night": Agent("jobs", ALONE),
    "brief": Agent("jobs", ALONE | {"lifetime": BRIEF}),
}


class Wrong(Exception):
    """Somebody was told something else."""


def same(what: str, found, wanted) -> None:
    """One comparison; the difference in words."""
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, not {wanted!r}")


def sentence(code: str) -> str:
    """What a refused call is told. SPEC: docs/errors.md."""
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    return page.split(f"### `{code}`")[1].split("> ", 1)[1].split("\n", 1)[0]


@dataclasses.dataclass
class Issuer:
    """The authorization server: its log, and what its own metadata says (RFC 8414)."""

    child: object
    url: str

    def __post_init__(self):
        self.metadata = read(f"{self.url}/.well-known/oauth-authorization-server")

    def token(self, client: str, **asked) -> str:
        """A token for a client that acts for nobody."""
        pair = base64.b64encode(f"{client}:{AGENTS[client].secret}".encode()).decode()
        form = urllib.parse.urlencode({"grant_type": "client_credentials", **asked}).encode()
        request = urllib.request.Request(self.metadata["token_endpoint"], form, {"Authorization": f"Basic {pair}"})
        return read(request)["access_token"]

    def asked(self, method: str, page: str) -> int:
        """How often anybody asked the issuer for this page of its metadata."""
        path = urllib.parse.urlsplit(self.metadata[page]).path
        return self.child.log.read_text(encoding="utf-8").splitlines().count(f"{method} {path}")


def read(request) -> dict:
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


def answered(url: str, token: str | None) -> tuple:
    """Status and challenge of a request with this token."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, answer.headers["WWW-Authenticate"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["WWW-Authenticate"]


def start_issuer(children: Children, directory: pathlib.Path, door: str) -> Issuer:
    clients = [agent.client(name) for name, agent in AGENTS.items()]
    path = directory / "issuer.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"resources": [door, ELSEWHERE], "scope": SCOPE, "clients": clients}), encoding="utf-8")
    child = children.start("the issuer", [*NODE, WORK / "issuer/issuer.mjs", path], directory / "issuer.log")
    return Issuer(child, child.wait_for("ready ", SECONDS).split()[1])


def write_site(path: pathlib.Path, issuer: Issuer, gateway: str) -> Site:
    """A site that pins the issuer's keys as they are now; nobody fetches them afterwards."""
    server = [PYTHON, "-I", HERE.parent / "notes.py"]
    modes = {"read_note": "read_only", "delete_note": "destructive", "burn_archive": "destructive"}
    notes = Upstream("notes", pin.listed_by(list(map(str, server))), command=server, modes=modes)
    site = Site(PROGRAM, path, [notes], (HERE / "policies.cedar").read_text(encoding="utf-8"), agents=())
    for directory in ("issuers", "jwks"):
        (path / directory).mkdir(exist_ok=True)
    with urllib.request.urlopen(issuer.metadata["jwks_uri"], timeout=SECONDS) as answer:
        (path / "jwks/corp.json").write_bytes(answer.read())
    (path / "issuers/corp.toml").write_text(
        f'name = "corp"\nurl = {quoted(issuer.url)}\naudience = {quoted(gateway)}\njwks = "jwks/corp.json"\n'
        f'algorithms = ["ES256"]\nrequired_scope = {quoted(SCOPE)}\nleeway_seconds = 0\n',
        encoding="utf-8",
    )
    for name, agent in AGENTS.items():
        (path / f"agents/{name}.toml").write_text(
            f'urn = "agent:outside/{name}@1"\ntenant = "demo"\ngroups = [{quoted(agent.group)}]\n'
            f'\n[oauth]\nissuer = "corp"\nclient = {quoted(name)}\n',
            encoding="utf-8",
        )
    with (path / "capabilities/notes-delete-note.toml").open("a", encoding="utf-8") as file:
        file.write("min_assurance = 2\n")
    return site


class Story:
    """What is tried, in this order."""

    def __init__(self, machine: Machine, issuer: Issuer):
        self.machine, self.issuer = machine, issuer
        self.door = f"{machine.url}/mcp/notes"
        self.described = f'resource_metadata="{machine.url}/.well-known/oauth-protected-resource/mcp/notes"'
        # Digests of the tokens that clients called with, by client.
        self.tokens = {}
        # What a client that may read is told; the same whoever it is.
        self.reads = {"list": ["read_note"], "call": "ship on Friday", "refused": sentence("policy_denied")}

    def tell(self, command: list, who: str | None = None, secret: str = "") -> tuple:
        """What a client tells that goes through its steps, and what it says when it gives up; `who` signs in."""
        environment = {**os.environ, "COUNTERSIGN_SECRET": secret}
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        client = subprocess.Popen(list(map(str, command)), text=True, env=environment, **streams)
        late = threading.Timer(SECONDS, client.kill)
        late.start()
        said = []
        noise = threading.Thread(target=lambda: said.extend(client.stderr))
        noise.start()
        told = {}
        try:
            for line in client.stdout:
                name, outcome = json.loads(line)
                if name == "authorize":
                    self._authorized(outcome)
                    client.stdin.write(person.allow(who, outcome, CALLBACK) + "\n")
                    client.stdin.flush()
                else:
                    told[name] = outcome
        except BaseException:
            client.kill()
            raise
        finally:
            client.wait()
            late.cancel()
            noise.join()
        return told, "".join(said)

    def _authorized(self, url: str) -> None:
        """Where the client sends the person is what it found out by itself."""
        where, _, query = url.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        same("where the person is sent", where, self.issuer.metadata["authorization_endpoint"])
        same("the resource that is asked for", asked.get("resource"), self.door)
        # Beside it clients ask for what they refresh their tokens with, where the issuer has that.
        same("the scope that is asked for", asked.get("scope", "").removesuffix(" offline_access"), SCOPE)
        same("the form of the challenge", asked.get("code_challenge_method"), "S256")

    def python(self, how: str, *more, who: str | None = None, secret: str = "") -> tuple:
        return self.tell([PYTHON, HERE / "python_sdk.py", self.door, how, *more], who, secret)

    # ---- what is tried; the words after the name are its line

    def a_person_signs_in(self) -> None:
        """Python SDK: finds the issuer, Ada signs in, listed, called, refused"""
        told, said = self.python("person", "desk", who="ada")
        self.tokens["desk"] = told.pop("token", None)
        same("what the client was told", told or said, self.reads)

    def an_agent_on_its_own(self) -> None:
        """Python SDK: client credentials, listed, called, refused"""
        told, said = self.python("alone", "night", self.issuer.url, secret=AGENTS["night"].secret)
        self.tokens["night"] = told.pop("token", None)
        same("what the client was told", told or said, self.reads)

    def a_token_that_is_bound(self) -> None:
        """TypeScript SDK: bound token (DPoP), Bob signs in, listed, called, refused; no use to a thief"""
        told, said = self.tell([*NODE, WORK / "issuer/typescript_v2.mjs", self.door, "laptop"], who="bob")
        self.tokens["laptop"] = told.pop("token", None)
        stolen = {name: told.pop(name) for name in list(told) if name not in self.reads}
        same("what the client was told", told or said, self.reads | {"list": GRANTED})
        same("status with a proof", stolen.pop("with a proof", [said])[0], 200)
        reasons = {
            "as a bearer token": "the token is bound to a key and came without a proof",
            "without a proof": "there is not exactly one proof",
            "with a proof that was used": "the proof was used before, or made before this gateway started",
            "with a proof by another key": "the proof is by another key than the token is bound to",
            "with a proof for another method": "the proof is for another method",
        }
        same("what a thief can do", list(stolen), list(reasons))
        for name, reason in reasons.items():
            status, challenge = stolen[name]
            same(f"status {name}", status, 401)
            start = f'DPoP error="invalid_dpop_proof", error_description="{reason}", algs="'
            same(f"challenge {name}", challenge[: len(start)], start)

    def a_client_that_registers_itself(self) -> None:
        """Python SDK: registers itself with the issuer, Eve signs in, and is no agent here"""
        tokens = self.issuer.asked("POST", "token_endpoint")
        told, said = self.python("person", who="eve")
        same("what the client was told", told, {})
        same("why it gave up", sentence("unauthenticated") in said, True)
        same("how many clients registered", self.issuer.asked("POST", "registration_endpoint"), 1)
        same("how many tokens were asked for", self.issuer.asked("POST", "token_endpoint") - tokens, 1)

    def tokens_that_are_for_something_else(self) -> None:
        """refused: no token, for another resource, without the scope, for none, expired"""
        here = {"resource": self.door, "scope": SCOPE}
        token = self.issuer.token
        brief, ends = token("brief", **here), time.time() + BRIEF
        bad = 'Bearer error="invalid_token", error_description='
        narrow = 'Bearer error="insufficient_scope", error_description='
        end = f'scope="{SCOPE}", {self.described}'
        rows = {
            "that is for this": (token("night", **here), 200, None),
            "that is not there": (None, 401, f"Bearer {end}"),
            "for another resource": (
                token("night", resource=ELSEWHERE, scope=SCOPE),
                401,
                f'{bad}"the token is meant for another resource", {end}',
            ),
            "without the scope": (
                token("night", resource=self.door),
                403,
                f'{narrow}"the token lacks the scope that is needed here", {end}',
            ),
            "for none": (token("night", scope=SCOPE), 401, f'Bearer error="invalid_token", {end}'),
        }
        for name, (sent, *wanted) in rows.items():
            same(f"answer to a token {name}", answered(self.door, sent), tuple(wanted))
        time.sleep(max(0.0, ends - time.time()))
        expired = (401, f'{bad}"the token has expired", {end}')
        same("answer to a token that has expired", answered(self.door, brief), expired)

    def the_log(self) -> None:
        """the log is verified and replayed; it names agent and person, and keeps no token"""
        self.machine.verdict()
        same("what a replay says", self.machine.replayed()["status"], "match")
        reader = [PYTHON, HERE / "records.py", self.machine.export]
        lines = subprocess.run(list(map(str, reader)), capture_output=True, text=True, timeout=SECONDS, check=True)
        found = [json.loads(line) for line in lines.stdout.splitlines()]

        def record(agent: str, user: str | None, assurance: int, code: str | None) -> dict:
            return {
                "capability": "notes.read_note",
                "code": code,
                "assurance": assurance,
                "agent": f"agent:outside/{agent}@1",
                "user": user and f"corp:{user}",
                "proof": assurance == 2,
                "issuer": self.issuer.url,
                "token": self.tokens[agent],
                "client": agent,
                "subject": user or agent,
                "scopes": [SCOPE],
                "audience": [self.door],
            }

        callers = [("desk", "ada", 1), ("night", None, 1), ("laptop", "bob", 2)]
        same("the records", found, [record(*caller, code) for caller in callers for code in (None, "policy_denied")])
        # What every token of the issuer begins with.
        header = self.issuer.token("night", resource=self.door).split(".")[0].encode()
        for file in (self.machine.export, self.machine.directory / "gateway.log"):
            same(f"whether {file.name} has a token in it", header in file.read_bytes(), False)
        # Once by who wrote the site.
        same("how often the issuer's keys were fetched", self.issuer.asked("GET", "jwks_uri"), 1)


STEPS = [
    Story.a_person_signs_in,
    Story.an_agent_on_its_own,
    Story.a_token_that_is_bound,
    Story.a_client_that_registers_itself,
    Story.tokens_that_are_for_something_else,
    Story.the_log,
]


def main() -> None:
    need_programs()
    children, fine = Children(), True
    with tempfile.TemporaryDirectory(prefix="countersign-") as directory:
        path, listen = pathlib.Path(directory), free_ports(1)
        gateway = f"http://127.0.0.1:{listen}"
        issuer = start_issuer(children, path, f"{gateway}/mcp/notes")
        machine = Machine(write_site(path / "site", issuer, gateway), path, children, listen)
        machine.serve()
        story = Story(machine, issuer)
        for tried in STEPS:
            try:
                tried(story)
                print(f"ok      {tried.__doc__}")
            except Exception as error:
                fine = False
                print(f"WRONG   {tried.__doc__}: {error}")
        children.stop()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
