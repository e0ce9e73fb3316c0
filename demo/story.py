"""The demo: an erasure request, from what the agent may see to what the auditor can prove.

In: paths of `countersign` and `countersign-verify`. Out: the story on the terminal, files below
`demo/out`, exit code 0 only if every assertion held. Started by `demo.sh`.
"""

import asyncio
import fcntl
import json
import pathlib
import shutil
import sys
import tempfile
import textwrap

import attacks
import auditor
import database
import direct
import forge
import signing
from agent import ReceiptBook, through_gateway
from auditor import Auditor
from gateway import Gateway
from narration import Failed, Narrator
from processes import Children

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "out"

READER_TOOLS = ["describe_table", "list_tables", "read_query"]
ERASURE_TOOLS = [*READER_TOOLS, "write_query"]
REFUSAL_KEYS = {"message", "code", "retry", "record", "contact"}


class Story:
    """The scenes, in order, and what they leave for the next."""

    def __init__(self, program: pathlib.Path, verifier: pathlib.Path, directory: pathlib.Path, children: Children):
        self.narrator = Narrator()
        self.directory = directory
        self.database = directory / "customers.db"
        self.export = directory / "export.cbor"
        self.book = ReceiptBook(directory / "receipts.txt")
        self.trust = directory / "trust.toml"
        self.default_trust = directory / "trust-default.toml"
        self.gateway = Gateway(program, directory, children)
        self.verifier = verifier

    async def tell(self) -> None:
        """Everything."""
        self.set_up()
        await direct_scene(self)
        mcp = f"{self.gateway.url}/mcp/customers"
        async with through_gateway(mcp, book=self.book, **self.gateway.credential("reader")) as reader:
            async with through_gateway(mcp, book=self.book, **self.gateway.credential("erasure")) as erasure:
                await self.what_agents_see(reader, erasure)
                await self.a_read(reader)
                await self.refused(reader, erasure)
                await self.the_deletion(erasure)
        self.the_export()
        self.forgeries()
        self.files()
        self.narrator.end()

    def set_up(self) -> None:
        n, gateway = self.narrator, self.gateway
        n.scene("Setting up: a database, a policy, a gateway, a fleet")
        database.create(self.database)
        n.say("Six customers, in an SQLite database behind a real MCP server from PyPI:")
        n.show(database.listing(self.database))
        n.say("Rows 2 and 5 are two people: one address has a Cyrillic letter that looks like the Latin one.")
        gateway.init(pathlib.Path(sys.executable), self.database)
        gateway.start_tpm(gateway.choose_ports())
        gateway.sign_release()
        sentences = gateway.build_bundle()
        n.say("The policy, built into a signed bundle; what it says of deletions:")
        n.show([line.strip() for line in sentences.splitlines() if "write_query" in line][:4])
        gateway.enrol()
        gateway.serve()
        n.passed(f"gateway {gateway.identity[:16]}… is enrolled by the governance key and takes calls")
        n.say("Its TPM is a program on this machine: NO HARDWARE VOUCHES FOR THIS. All else is as it would be.")

    async def what_agents_see(self, reader, erasure) -> None:
        n = self.narrator
        n.scene("What an agent may see")
        n.show(f"{'the server offers':<30} {', '.join(direct.UPSTREAM_TOOLS)}")
        for name, agent, expected in [("reader", reader, READER_TOOLS), ("erasure", erasure, ERASURE_TOOLS)]:
            found = sorted(await agent.tools())
            n.expect(f"tools of agent {name}", found, expected)
            n.show(f"agent {name + ' sees':<24} {', '.join(found)}")
        n.passed("what is not permitted is not listed, for each agent on its own")

    async def a_read(self, reader) -> None:
        n = self.narrator
        n.scene("A read: one customer by e-mail address")
        n.show(f"read_query  {attacks.READ}")
        answer = await reader.call("read_query", {"query": attacks.READ})
        n.expect("the read is allowed", (answer.is_error, answer.decision.get("verdict")), (False, "allow"))
        n.expect_that("the answer has the customer", "Jonas Weber" in answer.text, answer.text)
        n.expect_that("the answer has no other customer", "Maria Silva" not in answer.text, answer.text)
        n.show(answer.text)
        n.passed(f"recorded as entry {answer.decision['index']}; the agent keeps a signed receipt")

    async def refused(self, reader, erasure) -> None:
        n = self.narrator
        n.scene("Refused, before anything reaches the server")
        n.say("A statement is permitted as a whole, character by character, or not at all. No list of bad words.")
        for attack in attacks.ATTACKS:
            answer = await erasure.call(attack.tool, attack.arguments)
            self._refused(attack.name, attack.query, answer, attack.code)
        answer = await reader.call("write_query", {"query": attacks.PROPER})
        self._refused("the right statement, by an agent that may only read", attacks.PROPER, answer, attacks.NO_RIGHT)
        n.expect("rows after all of this", database.rows(self.database), database.CUSTOMERS)
        n.expect("tables after all of this", database.tables(self.database), ["customers"])
        n.passed("all six customers are still there, and each refusal is in the log")

    def _refused(self, name: str, query: str, answer, code: str) -> None:
        n = self.narrator
        n.expect(f"code for {name}", answer.code, code)
        n.expect_that(f"shape of the refusal of {name}", REFUSAL_KEYS <= answer.refusal.keys(), answer.refusal)
        n.expect(f"verdict for {name}", answer.decision.get("verdict"), "deny")
        n.refused(f"{name}: {query}")
        n.show(textwrap.wrap(f"     {code}: {answer.refusal['message']}", 90))

    async def the_deletion(self, erasure) -> None:
        n, gateway, query = self.narrator, self.gateway, {"query": attacks.PROPER}
        n.scene("The proper deletion: halts, is approved by a person, runs once")
        n.show(f"write_query  {attacks.PROPER}")
        self._halts(await erasure.call("write_query", query))
        n.expect("rows while it waits", database.rows(self.database), database.CUSTOMERS)
        n.passed("halted; nothing was deleted")
        approver = gateway.approver_key()
        listed, ids = gateway.pending(approver)
        n.expect(f"actions that wait for approval in {listed!r}", len(ids), 1)
        preview = gateway.show(approver, ids[0])
        n.expect_that("the preview shows the whole statement", attacks.PROPER in preview, preview)
        n.say("The privacy officer is shown exactly what will run, and signs the digest of that:")
        n.show(preview.strip().splitlines())
        gateway.approve(approver, ids[0])
        n.command(f"countersign approve yes {ids[0][:8]}…")
        answer = await erasure.call("write_query", query)
        n.expect("the approved call runs", (answer.is_error, answer.decision.get("verdict")), (False, "allow"))
        n.expect_that("one row is affected", "'affected_rows': 1" in answer.text, answer.text)
        left = [row for row in database.CUSTOMERS if row[2] != database.ERASE]
        n.expect("rows after the deletion", database.rows(self.database), left)
        n.passed(f"the same call again: it runs. {answer.text}")
        n.show(database.listing(self.database))
        n.passed("one customer is gone; the one whose address only looks the same is not")
        self._halts(await erasure.call("write_query", query))
        n.passed("once more the same call: it halts again; the approval was spent")
        self._signed_call()

    def _halts(self, answer) -> None:
        n = self.narrator
        n.expect("the deletion halts", answer.code, "approval_required")
        n.expect("when to retry", answer.refusal.get("retry"), "after_approval")
        n.expect("verdict of a halted call", answer.decision.get("verdict"), "step_up")
        n.show(textwrap.wrap(f"approval_required: {answer.refusal['message']}", 90))

    def _signed_call(self) -> None:
        """The other way in: plain HTTP, signed by the agent's own key, if it has one."""
        n, key = self.narrator, self.gateway.keys / "agent-erasure.key"
        if not key.exists():
            return
        call = {"capability": "customers.read_query", "arguments": {"query": attacks.COUNT}}
        status, answer = signing.signed_call(f"{self.gateway.url}/v1/calls", signing.load_key(key), call)
        n.expect("a signed call over plain HTTP", (status, answer.get("status")), (200, "ok"))
        n.expect_that("five customers are counted", "'customers': 5" in json.dumps(answer["result"]), answer)
        n.expect("receipts in a plain answer", self.book.keep_from(answer), 1)
        n.passed("POST /v1/calls, signed by the agent's key (RFC 9421): five customers are left")

    def the_export(self) -> None:
        n, gateway = self.narrator, self.gateway
        n.scene("The auditor: an export, and a verdict without trusting the operator")
        approver = gateway.approver_key()
        gateway.export(approver, self.export)
        reference = self.directory / "reference.toml"
        auditor.write_reference(reference, gateway.program, gateway.site / "countersign.toml")
        keys = [auditor.public_hex(gateway.keys / f"{name}.key") for name in ("governance", "bundle")]
        auditor.write_trust(self.default_trust, *keys, accept=None)
        auditor.write_trust(self.trust, *keys, accept=["software"])
        self.auditor = Auditor(self.verifier, reference)
        n.say("First with the default trust policy, which wants hardware:")
        verdict = self.auditor.verify(self.export, self.default_trust)
        n.expect(f"exit code with the default policy\n{verdict.text}", verdict.exit_code, 2)
        n.expect_that("it fails for the class", verdict.reason("evidence-class") != "", verdict.report)
        n.refused(f"exit 2, {verdict.first_line}")
        n.say("Then with a software TPM allowed, in so many words, and with the receipts that the agents kept:")
        verdict = self.auditor.verify(self.export, self.trust, pathlib.Path(self.book.path))
        n.expect(f"exit code with software allowed\n{verdict.text}", verdict.exit_code, 0)
        n.expect_that("the first line says what it rests on", "no hardware" in verdict.first_line.lower(), verdict.text)
        n.show(verdict.text.splitlines())
        n.passed(f"exit 0; all {self.book.kept} receipts are in the export")

    def forgeries(self) -> None:
        n = self.narrator
        n.scene("The same export, forged")
        n.say("Each forger puts right whatever needs no key: counts, ranges, the file's own checksum.")
        export = self.export.read_bytes()
        denied = forge.find(export, forge.Verdict.DENY, "customers.write_query")
        last = forge.decisions(export)[-1].index
        dropped = forge.Checkpoints.DROPPED
        for name, forged, code in [
            ("one byte: the first refusal becomes an approval", forge.change_byte(export, denied), "signatures"),
            ("its tail cut: the last record and all after it", forge.cut_tail(export, last), "leaves"),
            ("its tail cut, with the checkpoints over it", forge.cut_tail(export, last, dropped), "receipt-missing"),
            ("one record taken out", forge.take_out(export, denied), "leaves"),
            ("one record hidden behind its hash, as another tenant's", forge.hide(export, denied), "run-chains"),
            ("the file simply ends earlier", forge.chop(export, 1000), "framing"),
        ]:
            path = self.directory / f"forged-{code}.cbor"
            path.write_bytes(forged)
            verdict = self.auditor.verify(path, self.trust, pathlib.Path(self.book.path))
            n.expect(f"verdict on {name}", (verdict.exit_code, verdict.first_failure), (1, code))
            n.refused(f"{name}")
            n.show(textwrap.wrap(f"     exit 1, {code}: {verdict.reason(code)}", 90))

    def files(self) -> None:
        n, where = self.narrator, self.directory
        n.scene("Where everything is, and what to try next")
        verify = " ".join(self.auditor.command(self.export, self.trust, pathlib.Path(self.book.path)))
        python = f"{sys.executable} {HERE / 'forge.py'}"
        n.show(
            [
                f"{where}",
                "  site/            what people wrote: capabilities, policies, who may approve",
                "  export.cbor      what the auditor gets     receipts.txt   what the agents kept",
                "  trust.toml       whom the auditor trusts   reference.toml what should have run",
                "  forged-*.cbor    the forgeries             commands.log   every command, to repeat by hand",
                "",
                "Verify it again, with another trust file or on another machine:",
                f"  {verify}",
                "Forge it yourself (byte, tail, record, hide, chop), and verify that:",
                f"  {python} byte {self.export} {where / 'mine.cbor'}",
                "Change a rule, and see what it means in sentences:",
                f"  {self.gateway.program} bundle inspect --site {self.gateway.site}",
            ]
        )


async def direct_scene(story: Story) -> None:
    """What is at stake."""
    n = story.narrator
    n.scene("Without the gateway: the same calls, straight to the server, on a copy")
    await direct.without_gateway(n, story.directory)
    n.passed("that is what an agent with this server can do; only the second statement is stopped, by luck of the driver")


def fresh_directory() -> tuple[pathlib.Path, object]:
    """A new directory below `demo/out`; those of earlier runs are removed. The lock lives as long as this process."""
    OUT.mkdir(exist_ok=True)
    lock = (OUT / ".lock").open("w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed("another demo runs in this checkout") from None
    for old in OUT.glob("run-*"):
        shutil.rmtree(old)
    return pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=OUT)), lock


def main() -> int:
    program, verifier = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    children = Children()
    try:
        directory, _lock = fresh_directory()
        asyncio.run(Story(program, verifier, directory, children).tell())
    except (Failed, BaseExceptionGroup) as found:
        failures = causes(found)
        if not all(isinstance(failure, Failed) for failure in failures):
            raise
        for failure in failures:
            print(f"\nTHE DEMO FAILED: {failure}\nlogs: {OUT}/run-*/*.log", file=sys.stderr)
        return 1
    finally:
        children.stop()
    return 0


def causes(found: BaseException) -> list[BaseException]:
    """What lies behind the groups that the client library makes."""
    if isinstance(found, BaseExceptionGroup):
        return [cause for inner in found.exceptions for cause in causes(inner)]
    return [found]


if __name__ == "__main__":
    sys.exit(main())
