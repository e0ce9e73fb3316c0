"""A gateway on a software TPM: enrolment, the running program, approvals, export and verdict.

In: the built programs and a site. Out: an URL to which any MCP client can be pointed.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "demo"))
from processes import Child, Children, free_ports  # noqa: E402

SECONDS = 60
PROGRAM = ROOT / "target/debug/countersign"
VERIFIER = ROOT / "target/debug/countersign-verify"
ACTION = re.compile(r"\b[0-9a-f]{32}\b")


def need_programs() -> None:
    """The programs that are tested are those of this directory."""
    for program in (PROGRAM, VERIFIER):
        if not program.is_file():
            sys.exit(f"{program} is not there; build it first: cargo build --bins, and the same in verifier/")


class Machine:
    """One site on one software TPM."""

    def __init__(self, site, directory: pathlib.Path, children: Children, listen: int | None = None):
        self.site, self.directory, self.children = site, directory, children
        self.state = directory / "state"
        self.export = directory / "export.cbor"
        self.url = ""
        tpm, listen = free_ports(2), listen or free_ports(1)
        site.edit("device:/dev/tpmrm0", f"swtpm:127.0.0.1:{tpm}")
        site.edit("127.0.0.1:0", f"127.0.0.1:{listen}")
        swtpm = [PROGRAM, "swtpm", "--dir", directory / "tpm", "--port", tpm]
        children.start("the software TPM", swtpm, directory / "tpm.log").wait_listening(tpm, SECONDS)
        self._run("release", "sign", "--site", site.path, "--key", site.key("release"))
        self._run("bundle", "build", "--site", site.path)
        self._run("bundle", "sign", "--site", site.path, "--key", site.key("bundle"))
        self._enrol()

    def _enrol(self) -> None:
        request, fleet = self.directory / "request.cbor", self.directory / "fleet.cose"
        self._run("enrol", "request", "--site", self.site.path, "--state", self.state, "--out", request)
        sign = ["--request", request, "--key", self.site.key("governance"), "--fleet", "outside", "--number", "1"]
        self._run("enrol", "sign", *sign, "--out", fleet)
        self._run("enrol", "install", "--state", self.state, fleet)

    def serve(self) -> Child:
        """Boots the gateway, and waits until it takes calls."""
        command = [PROGRAM, "serve", "--site", self.site.path, "--state", self.state]
        child = self.children.start("the gateway", command, self.directory / "gateway.log")
        self.url = child.wait_for("ready ", SECONDS).split()[1]
        return child

    def waiting(self) -> list:
        """Ids of the actions that wait for a person."""
        return list(dict.fromkeys(ACTION.findall(self._as_officer("approve", "list"))))

    def approve(self, action: str) -> str:
        """The officer says yes."""
        return self._as_officer("approve", "yes", action)

    def verdict(self) -> dict:
        """Exports the whole log and has it judged; the report."""
        self.export.unlink(missing_ok=True)
        self._as_officer("export", "--out", self.export)
        command = [VERIFIER, self.export, "--trust", self._trust(), "--json"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=SECONDS, check=False)
        report = json.loads(done.stdout)
        # An auditor without reference values: genuine, and what ran is not compared with anything.
        if done.returncode != 0 or report.get("first_failure"):
            raise RuntimeError(f"exit code {done.returncode} of the verifier: {report.get('first_failure')}\n{done.stderr}")
        return report

    def replayed(self) -> dict:
        """Runs the gateway's stages again on what was exported; the report."""
        return json.loads(self._run("replay", self.export, "--trust", self._trust(), "--json"))

    def _trust(self) -> pathlib.Path:
        path = self.directory / "trust.toml"
        settings = (self.site.path / "countersign.toml").read_bytes()
        digest = hashlib.sha256(b"countersign/artifact/v1\0" + settings).hexdigest()
        build = hashlib.sha256(b"countersign/artifact/v1\0" + PROGRAM.read_bytes()).hexdigest()
        zero = "00" * 32
        pcrs = "".join(f'{register} = ["{zero}"]\n' for register in (4, 7, 11, 12, 13))
        path.write_text(
            f"version = 1\n[governance]\nkeys = [{self.site.setting('governance', 'public_key')}]\n"
            f"[bundles]\nsigners = {self.site.setting('bundle', 'signers')}\nthreshold = 1\n"
            f'[evidence]\naccept = ["software"]\n[reference]\nbuild = ["{build}"]\nconfiguration = ["{digest}"]\n'
            f"[reference.pcrs]\n{pcrs}",
            encoding="utf-8",
        )
        return path

    def _as_officer(self, command: str, *arguments) -> str:
        return self._run(command, *arguments, "--url", self.url, "--key", self.site.key("approver-privacy"))

    def _run(self, *arguments) -> str:
        command = [str(a) for a in (PROGRAM, *arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"exit code {done.returncode} of {' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout
