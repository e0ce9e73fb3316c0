"""The gateway's commands, in the order in which a customer would type them.

In: paths of the binaries, a directory. Out: a running, enrolled gateway. Every command is appended
to `commands.log`, so that each step can be repeated by hand.
"""

import pathlib
import re
import shlex
import subprocess
import urllib.request

import signing
from narration import Failed
from processes import Child, Children, free_ports

SECONDS = 60
ENTRY_ID = re.compile(r"\b[0-9a-f]{32}\b")


class Gateway:
    """One site, its state, and the programs behind it."""

    def __init__(self, program: pathlib.Path, directory: pathlib.Path, children: Children):
        self.program = program
        self.directory = directory
        self.site = directory / "site"
        self.state = directory / "state"
        self.keys = self.site / "keys"
        self.url = ""
        self.identity = ""
        self._children = children
        self._log = directory / "commands.log"

    # What is run once.

    def init(self, python: pathlib.Path, database: pathlib.Path) -> None:
        """Writes an example site and development keys."""
        self._run("init", self.site, "--example", "customers", "--python", python, "--database", database)

    def choose_ports(self) -> int:
        """Puts free ports into the site's settings; the TPM's port. It takes two, one for control."""
        tpm, listen = free_ports(2), free_ports(1)
        settings = self.site / "countersign.toml"
        text = settings.read_text(encoding="utf-8")
        for section, address in [("listen", f"127.0.0.1:{listen}"), ("tpm", f"swtpm:127.0.0.1:{tpm}")]:
            text, count = re.subn(
                rf'(?m)^(\[{section}\](?:\n(?!\[).*)*?\naddress\s*=\s*)"[^"]*"', rf'\g<1>"{address}"', text
            )
            if count != 1:
                raise Failed(f"{settings} has {count} addresses in [{section}], expected 1")
        settings.write_text(text, encoding="utf-8")
        return tpm

    def start_tpm(self, port: int) -> None:
        """Starts a software TPM, and waits until it listens."""
        command = self._command("swtpm", "--dir", self.directory / "tpm", "--port", port)
        child = self._children.start("the software TPM", command, self.directory / "tpm.log")
        child.wait_listening(port, SECONDS)

    def sign_release(self) -> None:
        """The vendor says what may unseal."""
        self._run("release", "sign", "--site", self.site, "--key", self.keys / "release.key")

    def build_bundle(self) -> str:
        """Builds, signs and checks the policy; what it says in sentences."""
        self._run("bundle", "build", "--site", self.site)
        self._run("bundle", "sign", "--site", self.site, "--key", self.keys / "bundle.key")
        self._run("bundle", "check", "--site", self.site)
        return self._run("bundle", "inspect", "--site", self.site)

    def enrol(self) -> None:
        """The customer's governance key takes the gateway into its fleet."""
        request, fleet = self.directory / "request.cbor", self.directory / "fleet.cose"
        self._run("enrol", "request", "--site", self.site, "--state", self.state, "--out", request)
        self._run(
            *("enrol", "sign", "--request", request, "--key", self.keys / "governance.key"),
            *("--fleet", "demo", "--number", "1", "--out", fleet),
        )
        self._run("enrol", "install", "--state", self.state, fleet)

    def serve(self) -> Child:
        """Boots the gateway, and waits until it takes calls."""
        command = self._command("serve", "--site", self.site, "--state", self.state)
        child = self._children.start("the gateway", command, self.directory / "gateway.log")
        ready = re.fullmatch(r"ready (http://\S+) gateway (\S+)", child.wait_for("ready ", SECONDS))
        if not ready:
            raise Failed("the gateway's first line is not `ready URL gateway ID`")
        self.url, self.identity = ready.groups()
        with urllib.request.urlopen(f"{self.url}/healthz", timeout=SECONDS) as answer:
            if answer.status != 200:
                raise Failed(f"/healthz answers {answer.status}")
        return child

    # What people do.

    def pending(self, approver: pathlib.Path) -> tuple[str, list[str]]:
        """What waits for approval, as shown to the approver, and the ids."""
        text = self._run("approve", "list", *self._as(approver))
        return text, list(dict.fromkeys(ENTRY_ID.findall(text)))

    def show(self, approver: pathlib.Path, number: str) -> str:
        """The preview that the approver signs."""
        return self._run("approve", "show", number, *self._as(approver))

    def approve(self, approver: pathlib.Path, number: str) -> str:
        """The approver's signature."""
        return self._run("approve", "yes", number, *self._as(approver))

    def export(self, key: pathlib.Path, out: pathlib.Path) -> None:
        """The file for the auditor."""
        self._run("export", *self._as(key), "--out", out)

    # Who is who.

    def credential(self, agent: str) -> dict:
        """How an agent shows who it is: with a key if it has one, else with a token."""
        key, token = self.keys / f"agent-{agent}.key", self.keys / f"agent-{agent}.token"
        if key.exists():
            return {"auth": signing.SigningAuth(signing.load_key(key))}
        return {"token": token.read_text(encoding="ascii").strip()}

    def approver_key(self) -> pathlib.Path:
        """The one approver of the example."""
        found = sorted(self.keys.glob("approver-*.key"))
        if len(found) != 1:
            raise Failed(f"{self.keys} has {len(found)} approvers' keys, expected 1")
        return found[0]

    def _as(self, key: pathlib.Path) -> list:
        return ["--url", self.url, "--key", key]

    def _command(self, *arguments) -> list[str]:
        command = [str(part) for part in (self.program, *arguments)]
        with self._log.open("a", encoding="utf-8") as log:
            log.write(shlex.join(command) + "\n")
        return command

    def _run(self, *arguments) -> str:
        command = self._command(*arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode != 0:
            raise Failed(f"exit code {done.returncode} of {shlex.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout
