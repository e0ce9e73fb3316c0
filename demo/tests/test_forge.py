"""Forgers, on a synthetic export of the format's shape, and on the format's own example."""

import hashlib
import pathlib
import unittest

import cbor
import forge
from forge import Checkpoints, Item, Kind, Verdict

GOLDEN = pathlib.Path(__file__).parents[2] / "verifier" / "record" / "testdata" / "golden" / "export.hex"
GATEWAY = b"\x11" * 32


def entry(index: int, kind: str, body: dict) -> Item:
    protected = cbor.write({1: -19, 4: b"\x22" * 32, 16: f"application/countersign.{kind}+cose"})
    payload = cbor.write({1: 1, 2: {1: index, 2: b"\x33" * 32, 3: 1_700_000_000_000, 4: index}, 3: body})
    return Item(Kind.ENTRY, cbor.write(cbor.Tag(18, [protected, {}, payload, b"\x44" * 64])))


def decision(index: int, verdict: Verdict, capability: str) -> Item:
    body = {1: b"\x55" * 16, 5: int(verdict), 7: 0, 12: {1: capability, 3: "customers"}, 33: False}
    if verdict != Verdict.ALLOW:
        body[6] = "invalid_arguments"
    return entry(index, "decision", body)


def checkpoint(size: int) -> Item:
    return Item(Kind.CHECKPOINT, f"countersign/11\n{size}\nroot\n\n— line\n".encode())


def items() -> list[Item]:
    manifest = {1: 1, 2: GATEWAY, 4: 0, 5: 5, 6: 1, 7: "auditor"}
    return [
        Item(Kind.MANIFEST, cbor.write(manifest)),
        Item(Kind.ARTIFACT, b"evidence"),
        entry(0, "base", {1: 0}),
        decision(1, Verdict.ALLOW, "customers.read_query"),
        Item(Kind.DISCLOSURES, cbor.write([[1, b"salt", b"x"], [2, b"salt", b"y"]])),
        decision(2, Verdict.DENY, "customers.write_query"),
        Item(Kind.DISCLOSURES, cbor.write([[1, b"salt", b"z"]])),
        entry(3, "intent", {1: 0}),
        decision(4, Verdict.ALLOW, "customers.write_query"),
        Item(Kind.DISCLOSURES, cbor.write([[1, b"salt", b"w"]])),
        checkpoint(3),
        checkpoint(5),
    ]


def manifest_end(export: bytes) -> int:
    return cbor.parse(forge.parse(export)[0].content)[5]


class Forgers(unittest.TestCase):
    def setUp(self):
        self.export = forge.build(items())

    def assert_trailer_is_right(self, export: bytes):
        at = len(forge.MAGIC)
        while at < len(export):
            start = at
            (kind, content), at = cbor.read(export, at)
        self.assertEqual(kind, Kind.TRAILER)
        trailer, found = cbor.parse(content), forge.parse(export)
        self.assertEqual(trailer[6], hashlib.sha256(export[:start]).digest())
        self.assertEqual(trailer[1], sum(item.kind == Kind.ENTRY for item in found))
        self.assertEqual(trailer[2], sum(item.kind == Kind.LEAF for item in found))
        self.assertEqual(trailer[5], sum(item.kind == Kind.CHECKPOINT for item in found))

    def test_parsing_and_building_gives_the_same_bytes(self):
        self.assertEqual(forge.build(forge.parse(self.export)), self.export)
        self.assert_trailer_is_right(self.export)

    def test_the_example_of_the_format_is_read_and_built_byte_for_byte(self):
        lines = GOLDEN.read_text(encoding="utf-8").splitlines()
        export = bytes.fromhex("".join(line.split("#")[0].strip() for line in lines))
        self.assertEqual(forge.build(forge.parse(export)), export)
        found = [(record.index, record.verdict) for record in forge.decisions(export)]
        self.assertEqual(found, [(3, Verdict.STEP_UP), (6, Verdict.ALLOW)])

    def test_disclosures_are_counted_one_by_one(self):
        (_, trailer), _ = cbor.read(self.export, self.export.rindex(b"\x82\x06"))
        self.assertEqual(cbor.parse(trailer)[4], 4)

    def test_decisions_are_found_by_verdict_and_capability(self):
        self.assertEqual(forge.find(self.export, Verdict.DENY), 2)
        self.assertEqual(forge.find(self.export, Verdict.ALLOW, "customers.write_query"), 4)
        self.assertEqual([record.code for record in forge.decisions(self.export)], [None, "invalid_arguments", None])
        with self.assertRaises(ValueError):
            forge.find(self.export, Verdict.DEFER)

    def test_changing_a_byte_changes_one_byte_of_one_entry_and_the_checksum(self):
        forged = forge.change_byte(self.export, 2)
        self.assertEqual(len(forged), len(self.export))
        before, after = forge.parse(self.export), forge.parse(forged)
        changed = [(a.content, b.content) for a, b in zip(before, after, strict=True) if a.content != b.content]
        self.assertEqual(len(changed), 1)
        self.assertEqual(sum(a != b for a, b in zip(*changed[0], strict=True)), 1)
        self.assertEqual(forge.find(forged, Verdict.ALLOW, "customers.write_query"), 2)
        self.assert_trailer_is_right(forged)

    def test_taking_a_record_out_takes_its_disclosures_along(self):
        forged = forge.take_out(self.export, 2)
        self.assertEqual([record.index for record in forge.decisions(forged)], [1, 4])
        self.assertEqual(sum(item.kind == Kind.DISCLOSURES for item in forge.parse(forged)), 2)
        self.assertEqual(manifest_end(forged), 4)
        self.assert_trailer_is_right(forged)

    def test_hiding_a_record_leaves_its_hash(self):
        gone = items()[5].content
        forged = forge.hide(self.export, 2)
        self.assertIn(Item(Kind.LEAF, hashlib.sha256(b"\0" + gone).digest()), forge.parse(forged))
        self.assertEqual(manifest_end(forged), 5)
        self.assertEqual(cbor.parse(forge.parse(forged)[0].content)[forge.MANIFEST_SCOPE], forge.SCOPE_TENANT)
        self.assert_trailer_is_right(forged)

    def test_cutting_the_tail_keeps_checkpoints_unless_told(self):
        forged = forge.cut_tail(self.export, 3)
        self.assertEqual([record.index for record in forge.decisions(forged)], [1, 2])
        self.assertEqual(manifest_end(forged), 3)
        self.assertEqual(sum(item.kind == Kind.CHECKPOINT for item in forge.parse(forged)), 2)
        self.assert_trailer_is_right(forged)

    def test_cutting_the_tail_can_drop_what_would_tell(self):
        forged = forge.cut_tail(self.export, 3, Checkpoints.DROPPED)
        sizes = [forge.checkpoint_size(i.content) for i in forge.parse(forged) if i.kind == Kind.CHECKPOINT]
        self.assertEqual(sizes, [3])
        self.assert_trailer_is_right(forged)

    def test_an_entry_that_is_not_there_cannot_be_forged(self):
        for forger in (forge.change_byte, forge.take_out, forge.hide, forge.cut_tail):
            with self.assertRaises(ValueError):
                forger(self.export, 9)

    def test_other_files_are_no_exports(self):
        for other in (b"", b"{}", forge.MAGIC, forge.chop(self.export, 1)):
            with self.assertRaises(ValueError):
                forge.parse(other)
