"""Tests of the parts of the second verifier. Run by ../run."""

import hashlib
import io
import json
import random
import re
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

from countersign_independent import (  # noqa: E402
    breakorders,
    calls,
    cbor,
    checkpoint,
    corpus,
    cose,
    differ,
    digests,
    ed25519,
    export,
    keys,
    merkle,
    ranges,
    report,
    schema,
    trust,
)
from countersign_independent.judge import Judge  # noqa: E402

SPEC = ROOT / "docs" / "spec"
VECTORS = ROOT / "verifier" / "vectors"


def examples():
    """Bytes of each annotated example of the specification, by the name of its golden file."""
    out = {}
    for page in ("record.md", "evidence.md", "bundle.md", "export.md"):
        for name, block in re.findall(r"<!-- golden: (\S+) -->\n```text\n(.*?)```", (SPEC / page).read_text(), re.S):
            if name.endswith(".hex"):
                out[name] = bytes.fromhex("".join(line.split("#")[0] for line in block.splitlines()).replace(" ", ""))
            else:
                out[name] = block.encode()
    return out


def sign(seed, message, extra=(0, 1, 1, 0)):
    """A signature whose R has a further component, as a signer of bad will makes it: (key, signature)."""
    h = hashlib.sha512(seed).digest()
    a = int.from_bytes(h[:32], "little") & (1 << 254) - 8 | 1 << 254
    r = int.from_bytes(hashlib.sha512(h[32:] + message).digest(), "little") % ed25519.L
    key = encode(ed25519._times(a, ed25519.B))
    point = encode(ed25519._add(ed25519._times(r, ed25519.B), extra))
    k = int.from_bytes(hashlib.sha512(point + key + message).digest(), "little")
    return key, point + ((r + k * a) % ed25519.L).to_bytes(32, "little")


def encode(point):
    inverse = pow(point[2], ed25519.P - 2, ed25519.P)
    x, y = point[0] * inverse % ed25519.P, point[1] * inverse % ed25519.P
    return (y | (x & 1) << 255).to_bytes(32, "little")


class Encoding(unittest.TestCase):
    def test_what_is_written_is_read_back(self):
        value = {0: [], 1: [True, False, 23, 24, 2**64 - 1, -(2**64)], 24: "ä", -1: {5: b"x"}, -2: b""}
        self.assertEqual(cbor.whole(cbor.encode(value)), value)

    def test_what_has_another_encoding_is_refused(self):
        for word in (
            "1817", "190017", "1a00000017", "1b0000000000000017", "9fff", "5f40ff", "bfff", "f6", "f7", "f90000", "fb0000000000000000",
            "a2020001 00", "a201000100", "a1616100", "a140 00", "c000", "d28400", "61ff", "63eda080", "62c080", "0000", "", "18", "41", "8100" * 2, "f814",
        ):  # fmt: skip
            with self.subTest(word), self.assertRaises(cbor.Malformed):
                cbor.whole(bytes.fromhex(word.replace(" ", "")))

    def test_sixteen_arrays_nest_and_seventeen_do_not(self):
        cbor.whole(b"\x81" * 15 + b"\x80")
        with self.assertRaises(cbor.Malformed):
            cbor.whole(b"\x81" * 16 + b"\x80")

    def test_a_claimed_length_is_refused_before_it_is_read(self):
        with self.assertRaises(cbor.Malformed):
            cbor.whole(bytes.fromhex("9a00040000"))


class Signatures(unittest.TestCase):
    torsion = ed25519.decode(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))

    def test_a_plain_signature_is_valid_by_both_ways(self):
        key, signature = sign(bytes(32), b"m")
        self.assertTrue(ed25519.verify(key, signature, b"m"))
        self.assertTrue(ed25519.verify_in_integers(key, signature, b"m"))
        self.assertFalse(ed25519.verify(key, signature, b"n"))

    def test_a_component_of_small_order_in_r_is_allowed(self):
        key, signature = sign(bytes(32), b"m", self.torsion)
        self.assertTrue(ed25519.verify(key, signature, b"m"))

    def test_a_key_of_small_order_is_refused(self):
        for key in (b"\x01" + bytes(31), bytes(32), encode(self.torsion)):
            self.assertIsNone(ed25519.point(key))

    def test_an_s_that_is_not_reduced_is_refused(self):
        key, signature = sign(bytes(32), b"m")
        s = int.from_bytes(signature[32:], "little") + ed25519.L
        self.assertFalse(ed25519.verify(key, signature[:32] + s.to_bytes(32, "little"), b"m"))

    def test_points_that_are_not_canonical_are_refused(self):
        self.assertIsNone(ed25519.decode((ed25519.P + 1).to_bytes(32, "little")))
        self.assertIsNone(ed25519.decode((1 | 1 << 255).to_bytes(32, "little")))


class Trees(unittest.TestCase):
    def test_roots_and_proofs_are_those_of_the_recursive_definition(self):
        def root(leaves):
            if len(leaves) == 1:
                return leaves[0]
            half = 1 << (len(leaves) - 1).bit_length() - 1
            return digests.node(root(leaves[:half]), root(leaves[half:]))

        def path(at, leaves):
            if len(leaves) == 1:
                return []
            half = 1 << (len(leaves) - 1).bit_length() - 1
            if at < half:
                return path(at, leaves[:half]) + [root(leaves[half:])]
            return path(at - half, leaves[half:]) + [root(leaves[:half])]

        every = [digests.leaf(bytes([i])) for i in range(40)]
        tree = merkle.Tree()
        for size, one in enumerate(every, 1):
            tree.append(one)
            self.assertEqual(tree.root(), root(every[:size]))
            for at in range(size):
                proof = path(at, every[:size])
                self.assertTrue(merkle.included(every[at], at, size, proof, tree.root()))
                self.assertFalse(merkle.included(every[at], at + 1, size, proof, tree.root()))
                self.assertFalse(merkle.included(every[at], at, size, proof + [every[0]], tree.root()))

    def test_a_stretch_given_by_its_roots_leads_to_the_same_tree(self):
        every = [digests.leaf(bytes([i])) for i in range(40)]
        for first in range(20):
            for count in range(2, 20):
                tree, at = merkle.Tree(), first
                for one in every[:first]:
                    tree.append(one)
                for level in merkle.division(first, count):
                    tree.append(merkle.over(every[at : at + (1 << level)]), level)
                    at += 1 << level
                self.assertEqual(tree.root(), merkle.over(every[: first + count]))


class Specification(unittest.TestCase):
    def test_the_digests_of_the_example_are_those_of_the_page(self):
        every = examples()
        page = every["digests.txt"].decode()
        for words, value in (
            ("anchor of binding.hex", digests.anchor(every["binding.hex"])),
            ("epoch message of binding.hex", digests.tagged(b"epoch", every["binding.hex"])),
            ("qualifying data of renewal-statement.hex", digests.tagged(b"renewal", every["renewal-statement.hex"])),
            ("qualifying data of close-statement.hex", digests.tagged(b"close", every["close-statement.hex"])),
            ("artifact digest of no bytes", digests.artifact(b"")),
            ("entry digest of entry-base.hex", digests.leaf(every["entry-base.hex"])),
        ):
            self.assertIn(f"{words}: {value.hex()}\n", page)

    def test_the_entries_of_the_example_are_read_and_signed(self):
        key = bytes.fromhex("a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0")
        entries = {name: data for name, data in examples().items() if name.startswith("entry-")}
        self.assertGreaterEqual(len(entries), 6)
        for name, data in entries.items():
            what, statement, _ = cose.entry(data)
            self.assertEqual(what, "well formed", name)
            self.assertTrue(statement.valid(key), name)

    def test_the_checkpoint_of_the_example_is_read_and_signed(self):
        key = bytes.fromhex("d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737")
        note = checkpoint.Checkpoint(examples()["checkpoint.txt"], digests.sha256(key))
        self.assertTrue(note.signed_by(note.origin, key))
        self.assertFalse(note.signed_by(note.origin + "/epoch", key))

    def test_the_table_and_the_order_of_blame_are_those_of_the_page(self):
        page = (SPEC / "verification.md").read_text()
        table = page.split("<!-- table of codes -->")[1].split("\n\n")[0]
        rows = [re.findall(r"[a-z0-9-]+", line) for line in table.strip().splitlines()[2:]]
        self.assertEqual(rows, report.TABLE)
        self.assertEqual(page.split("<!-- order of blame -->")[1].split("```")[1].split()[1:], report.BLAME)

    def test_every_structure_has_the_keys_of_the_cddl(self):
        text = re.sub(r";.*", "", (SPEC / "record.cddl").read_text())
        renamed = {"run-closed": "run_closed", "policy-outcome": "policy", "abandoned-opening": "abandoned"}
        checked = 0
        for name, body in re.findall(r"^([a-z-]+) = \{\n(.*?)^\}", text, re.S | re.M):
            check = getattr(schema, renamed.get(name, name.replace("-", "_")), None)
            if check is None:
                continue
            keys = {int(key): not optional for optional, key in re.findall(r"^\s*(\? )?(-?\d+) =>", body, re.M)}
            known = {number: needed for number, (_, _, needed) in check.__closure__[0].cell_contents.items()}
            self.assertEqual(known, keys, name)
            checked += 1
        self.assertGreaterEqual(checked, 50)


def index_ranges(*pairs):
    return [schema.index_range({1: first, 2: last}) for first, last in pairs]


class Ranges(unittest.TestCase):
    def test_what_is_newly_covered_is_what_was_not_covered_before(self):
        rng = random.Random(1)
        for _ in range(200):
            covered, known = ranges.Ranges(), set()
            for _ in range(12):
                first = rng.randrange(40)
                last = first + rng.randrange(9)
                mine = set(range(first, last + 1))
                new = [index for a, b in covered.add(first, last) for index in range(a, b + 1)]
                self.assertEqual(new, sorted(mine - known))
                known |= mine
                self.assertEqual([index for index in range(60) if covered.has(index)], sorted(known))

    def test_ranges_are_in_order_with_one_entry_between(self):
        for pairs in ((), ((3, 3),), ((0, 1), (3, 3)), ((0, 0), (2, 2**64 - 1))):
            self.assertTrue(ranges.in_order(index_ranges(*pairs)), pairs)
        for pairs in (((4, 3),), ((0, 1), (2, 3)), ((0, 1), (1, 3)), ((5, 6), (1, 2)), ((0, 0), (3, 2))):
            self.assertFalse(ranges.in_order(index_ranges(*pairs)), pairs)

    def test_each_range_lies_within_one(self):
        others = index_ranges((2, 4), (6, 9))
        for pairs in ((), ((2, 4),), ((3, 3), (6, 6), (8, 9))):
            self.assertTrue(ranges.within(index_ranges(*pairs), others), pairs)
        for pairs in (((1, 2),), ((4, 5),), ((4, 6),), ((2, 9),), ((9, 10),), ((3, 3), (10, 10))):
            self.assertFalse(ranges.within(index_ranges(*pairs), others), pairs)


class Orders(unittest.TestCase):
    """What the corpus has no case for: rules and erasures appended to one of its exports."""

    @classmethod
    def setUpClass(cls):
        cases = json.loads((VECTORS / "index.json").read_text())["cases"]
        cls.case = next(one for one in cases if one["name"] == "accept-everything-opened")
        cls.items = differ.parse((VECTORS / cls.case["export"]).read_bytes())

    def log(self, items=None):
        return breakorders.Log(self.items if items is None else items)

    def states(self, log):
        log.manifest[breakorders.END] = log.size
        log.items[0][1] = cbor.encode(log.manifest)
        judge = Judge(trust.trust((VECTORS / self.case["trust"]).read_bytes()), now=self.case["now"])
        return judge.read(io.BytesIO(differ.join(differ.repair(log.items)))).states()

    def erase(self, log, first, last):
        log.shut([{1: first, 2: last}])
        key_id = digests.sha256(keys.public(200))
        statement = {1: log.gateway, 3: [{1: first, 2: last}], 4: "b", 5: key_id, 6: 0, 7: log.at, 8: bytes(32)}
        value = keys.sign("application/countersign.erasure-statement+cose", key_id, cbor.encode(statement))
        commitment, opened = breakorders.opening(calls.ERASURE, bytes(16), value)
        log.add("erasure", {1: statement[3], 2: "b", 3: key_id, 4: 9, 5: commitment, 7: True}, [opened])

    def person(self, *groups):
        return {1: "p", 2: "p", 3: keys.public(200), 4: list(groups), 5: [], 6: []}

    def test_of_a_person_who_is_enrolled_twice_the_first_counts(self):
        for people, state in (
            ([self.person("privacy"), self.person()], "pass"),
            ([self.person(), self.person("privacy")], "fail"),
            ([self.person("legal")], "fail"),
            ([], "fail"),
        ):
            log = self.log()
            log.rules(people)
            self.erase(log, 2, 3)
            states = self.states(log)
            self.assertEqual((states["erasures"], states["missing-disclosures"], states["framing"]), (state, "pass", "pass"))

    def test_a_change_before_any_epoch_is_in_force(self):
        log = self.log([one for one in self.items if one[0] != export.ENTRY or cose.entry(one[1])[2].kind != "base"])
        log.rule = {1: 0, 2: bytes(32)}
        log.rules([self.person("privacy")])
        self.erase(log, 1, 2)
        states = self.states(log)
        self.assertEqual((states["erasures"], states["in-force"], states["framing"]), ("pass", "fail", "pass"))

    def test_each_value_that_is_not_opened_is_missing_if_it_is_promised(self):
        self.assertEqual(self.states(self.log())["missing-disclosures"], "pass")
        tried = 0
        for at, (kind, content) in enumerate(self.items):
            given = cbor.whole(content) if kind == export.DISCLOSURES else []
            for one in given:
                log = self.log()
                log.items[at][1] = cbor.encode([each for each in given if each is not one])
                self.assertEqual(self.states(log)["missing-disclosures"], "fail", one[1])
                log.manifest[breakorders.DISCLOSED] = {1: [field for field in range(1, 21) if field != one[1]], 2: [1, 2, 3, 4]}
                states = self.states(log)
                self.assertNotEqual(states["missing-disclosures"], "fail", one[1])
                tried += 1
        self.assertGreater(tried, 5)


class Corpus(unittest.TestCase):
    def test_another_expectation_is_a_disagreement(self):
        directory = VECTORS
        case = json.loads((directory / "index.json").read_text())["cases"][0]
        got, _ = corpus.judge_case(directory, case)
        self.assertEqual(corpus.differences(got, case), [])
        self.assertTrue(corpus.differences(got, {**case, "exit_code": 1}))
        self.assertTrue(corpus.differences(got, {**case, "states": {**case["states"], "leases": "fail"}}))


if __name__ == "__main__":
    unittest.main()
