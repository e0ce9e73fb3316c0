"""Tests of the command that mutates, and of what its explanations say, without cargo-mutants."""

import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import mutants
from mutants import Mutant, explain, order, parse_explanations, parse_list

SOURCE = ["fn f() {", "    a < b && c < d", "    a < b", "}"]
NAMES = [
    "record/src/time.rs:2:7: replace < with <= in f",
    "record/src/time.rs:2:16: replace < with <= in f",
    "record/src/time.rs:3:7: replace < with <= in f",
]
TEXT = """
[[survivor]]
file = "record/src/time.rs"
line = "a < b && c < d"
mutations = ["replace < with <= in f"]
nth = 2
why = "c is never d"
"""


class Reading(unittest.TestCase):
    def setUp(self):
        self.mutants = parse_list(NAMES, lambda _: SOURCE)

    def test_mutants_that_look_alike_are_numbered(self):
        line = "a < b && c < d"
        self.assertEqual([(m.line, m.nth) for m in self.mutants.values()], [(line, 1), (line, 2), ("a < b", 1)])

    def test_a_mutant_is_the_same_after_lines_were_added_above(self):
        moved = parse_list([name.replace("rs:", "rs:1") for name in NAMES], lambda _: [""] * 10 + SOURCE)
        self.assertEqual(list(moved.values()), list(self.mutants.values()))

    def test_an_explanation_explains_one_mutant(self):
        explained, complaints = explain(parse_explanations(TEXT), self.mutants.values())
        self.assertEqual((explained, complaints), ({self.mutants[NAMES[1]]}, []))

    def test_an_explanation_of_code_that_is_gone_is_stale(self):
        explained, complaints = explain(parse_explanations(TEXT.replace("c < d", "c < e")), self.mutants.values())
        self.assertEqual((explained, len(complaints)), (set(), 1))
        self.assertIn("matches nothing", complaints[0])

    def test_an_explanation_that_could_mean_two_explains_none(self):
        explained, complaints = explain(parse_explanations(TEXT.replace("nth = 2", "")), self.mutants.values())
        self.assertEqual((explained, len(complaints)), (set(), 1))
        self.assertIn("say nth", complaints[0])

    def test_an_explanation_without_a_reason_is_refused(self):
        with self.assertRaises(ValueError):
            parse_explanations(TEXT.replace("c is never d", " "))

    def test_a_misspelt_key_is_refused(self):
        with self.assertRaises(ValueError):
            parse_explanations(TEXT.replace("nth", "nht"))

    def test_files_that_decide_a_verdict_come_first(self):
        names = [f"src/{name}.rs:1:1: delete !" for name in ("ledger", "main", "checks/who")]
        ordered = order(parse_list(names, lambda _: ["!x"]))
        self.assertEqual(ordered, [names[2], names[0], names[1]])


class Remembering(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        patch = unittest.mock.patch.object(mutants, "WORK", pathlib.Path(directory.name))
        patch.start()
        self.addCleanup(patch.stop)

    def test_what_is_stored_is_read_again(self):
        mutant = Mutant("src/a.rs", "delete !", "!x", 1)
        state = mutants.State("of-no-package")
        state.outcomes[mutant] = "missed"
        state.store()
        self.assertEqual(mutants.State("of-no-package").outcomes, {mutant: "missed"})


    def test_what_caught_the_changes_of_a_function_is_read_as_it_was_written(self):
        caught = {"src/a.rs: <impl A for B>::f": {"tamper a::b", "corpus c"}, "src/a.rs: g": {"corpus d"}}
        self.assertEqual(mutants.parse_caught(mutants.caught_text(caught)), caught)
        self.assertEqual(mutants.parse_caught(mutants.caught_text({"src/a.rs: g": set()})), {})


class Explanations(unittest.TestCase):
    def test_every_explanation_is_about_a_line_that_is_there(self):
        for file, _, line, _, _ in parse_explanations(mutants.EXPLANATIONS.read_text()):
            lines = [text.strip() for text in (mutants.VERIFIER / file).read_text().split("\n")]
            self.assertIn(line, lines, file)


if __name__ == "__main__":
    unittest.main()
