"""The auditor: trust and reference values of its own making, and what the verifier says.

In: keys that people published, files that the auditor has from elsewhere (program, configuration),
an export. Out: `trust.toml`, `reference.toml`, and reports. Nothing here is taken from the export.
"""

import dataclasses
import hashlib
import json
import pathlib
import subprocess

import signing

# Registers of the profile. A software TPM that booted nothing has zeros in all of them.
REGISTERS = [4, 7, 11, 12, 13]
ZERO = "00" * 32
SECONDS = 60


def public_hex(key_file: pathlib.Path) -> str:
    """The public half of an Ed25519 key file, as people would publish it."""
    return signing.public_bytes(signing.load_key(key_file)).hex()


def artifact_digest(content: bytes) -> str:
    """How entries name a file. SPEC: docs/spec/record.md, digests."""
    return hashlib.sha256(b"countersign/artifact/v1\0" + content).hexdigest()


def write_trust(path: pathlib.Path, governance: str, bundle_signer: str, accept: list[str] | None) -> None:
    """Whom the auditor trusts. With `accept` left out, the verifier's default holds: hardware only."""
    lines = [
        "# Whom this auditor trusts. It came from the customer's own people, not with the export.",
        "version = 1",
        "[governance]",
        f'keys = ["{governance}"]',
        "[bundles]",
        f'signers = ["{bundle_signer}"]',
        "threshold = 1",
    ]
    if accept is not None:
        lines += [
            "[evidence]",
            "# The demo's TPM is a program: it proves how things fit together, and vouches for nothing.",
            f"accept = {json.dumps(accept)}",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_reference(path: pathlib.Path, program: pathlib.Path, configuration: pathlib.Path) -> None:
    """What ran, as the auditor computes it from its own copies."""
    lines = [
        "# What the auditor expects to have run; computed from the files themselves.",
        "version = 1",
        f'build = ["{artifact_digest(program.read_bytes())}"]',
        f'configuration = ["{artifact_digest(configuration.read_bytes())}"]',
        "[pcrs]",
        *(f'{register} = ["{ZERO}"]' for register in REGISTERS),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the verifier said."""

    exit_code: int
    text: str
    report: dict

    @property
    def first_line(self) -> str:
        return next((line for line in self.text.splitlines() if line.strip()), "")

    @property
    def first_failure(self) -> str | None:
        return self.report.get("first_failure")

    def reason(self, code: str) -> str:
        """What the report says of a check."""
        return next((check.get("reason") or "" for check in self.report.get("checks", []) if check["code"] == code), "")


class Auditor:
    """Runs `countersign-verify`; needs no gateway, no network, no TPM."""

    def __init__(self, verifier: pathlib.Path, reference: pathlib.Path):
        self._verifier = verifier
        self._reference = reference

    def command(self, export: pathlib.Path, trust: pathlib.Path, receipts: pathlib.Path | None = None) -> list[str]:
        command = [str(self._verifier), str(export), "--trust", str(trust), "--reference", str(self._reference)]
        return command + (["--receipts", str(receipts)] if receipts else [])

    def verify(self, export: pathlib.Path, trust: pathlib.Path, receipts: pathlib.Path | None = None) -> Verdict:
        """Both reports, for people and for programs; they must agree."""
        command = self.command(export, trust, receipts)
        people = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        program = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=SECONDS, check=False)
        if people.returncode != program.returncode:
            raise RuntimeError(f"exit codes differ: {people.returncode}, with --json {program.returncode}")
        try:
            report = json.loads(program.stdout)
        except json.JSONDecodeError:
            raise RuntimeError(f"no report: {people.stdout}{people.stderr}") from None
        return Verdict(people.returncode, people.stdout, report)
