"""Tests of judging woven code: a small test program is built by rustc, and its mutants run."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import types
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from switched import Judge, Tree, end_if_it_waits, places, stems, used
from weave import Switch

# Woven by hand: function 1 has a mutant that a test notices and one that none does, 2 one that hangs, 3 is not reached.
PROGRAM = """
fn smaller(a: u32, b: u32) -> bool {
    match ::countersign_switch::chosen(1) { 1 => a > b, 2 => a <= b, _ => a < b }
}
fn steps(n: u32) -> u32 {
    let mut left = n;
    while left > 0 {
        if ::countersign_switch::chosen(2) == 0 { left -= 1; }
    }
    n
}
#[expect(dead_code)]
fn unreached() -> bool {
    ::countersign_switch::chosen(3) == 0
}
#[test]
fn one_is_smaller_than_two() { assert!(smaller(1, 2)); }
#[test]
#[should_panic]
fn two_is_not_smaller_than_one() { assert!(smaller(2, 1)); }
#[test]
fn three_steps_are_three() { assert_eq!(steps(3), 3); }
"""


class Judging(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.directory = pathlib.Path(directory.name)
        cls.build("countersign_switch", (HERE.parent / "switch.rs").read_text(), "--crate-type=rlib")
        cls.build("program", PROGRAM, "--test", f"-L{cls.directory}", "--extern=countersign_switch")
        cls.program = cls.directory / "program"

    @classmethod
    def build(cls, name, text, *arguments):
        source = cls.directory / f"{name}.rs"
        source.write_text(text)
        subprocess.run(["rustc", "--edition=2024", *arguments, f"--out-dir={cls.directory}", source], check=True)

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        tree = types.SimpleNamespace(environment=lambda: dict(os.environ), build=self.directory, work=pathlib.Path(work.name))
        self.judge = Judge(tree, 2)
        self.judge.know([(self.program, self.directory, "digest")])
        self.tests = self.judge.tests_of({self.directory}, 20)

    def test_each_test_is_known_by_what_it_reaches(self):
        found = {test.name: test.reached for test in self.tests}
        expected = {"one_is_smaller_than_two": {1}, "two_is_not_smaller_than_one": {1}, "three_steps_are_three": {2}}
        self.assertEqual(found, expected)

    def test_what_is_known_is_kept_until_the_program_is_built_anew(self):
        with unittest.mock.patch.object(self.judge, "run", side_effect=AssertionError("it ran again")):
            self.assertEqual(self.judge.survey(self.program, 20), self.tests)
            self.judge.digests[self.program] = "another"
            with self.assertRaisesRegex(AssertionError, "it ran again"):
                self.judge.survey(self.program, 20)

    def test_a_mutant_that_a_test_notices_is_caught(self):
        self.assertEqual(self.judge.judge(Switch(1, 1, 1), self.tests, 20, "f"), "caught")

    def test_what_caught_one_mutant_comes_first_at_the_next_of_its_function(self):
        self.judge.judge(Switch(1, 1, 1), self.tests, 20, "f")
        with unittest.mock.patch.object(self.judge, "run", return_value=(False, None, 0)) as run:
            self.judge.judge(Switch(1, 2, 1), self.tests, 20, "f")
        self.assertEqual(run.call_args_list[0].args[1], ["one_is_smaller_than_two"])

    def test_what_an_earlier_run_says_caught_others_of_a_function_comes_first(self):
        self.judge.caught_by["f"] = {"program three_steps_are_three", "program two_is_not_smaller_than_one", "gone gone"}
        with unittest.mock.patch.object(self.judge, "run", return_value=(True, None, 0)) as run:
            self.judge.judge(Switch(1, 2, 1), self.tests, 20, "f")
        self.assertEqual([call.args[1] for call in run.call_args_list], [["two_is_not_smaller_than_one"], ["one_is_smaller_than_two"]])

    def test_what_an_earlier_run_says_caught_others_judges_before_anybody_knows_what_tests_reach(self):
        self.judge.caught_by["f"] = {"program one_is_smaller_than_two", "gone gone"}
        with unittest.mock.patch.object(self.judge, "survey", side_effect=AssertionError("it asked")):
            known = self.judge.known({"f", "g"}, {self.directory}, 20)
        self.assertEqual([(test.name, test.reached) for test in known], [("one_is_smaller_than_two", None)])
        self.assertEqual(self.judge.judge(Switch(1, 1, 1), known, 20, "f"), "caught")
        with unittest.mock.patch.dict(os.environ, COUNTERSIGN_MUTANT="1 1"):
            self.assertEqual(self.judge.known({"f"}, {self.directory}, 20), [])

    def test_a_mutant_that_no_test_notices_is_missed(self):
        self.assertEqual(self.judge.judge(Switch(1, 2, 1), self.tests, 20, "f"), "missed")

    def test_a_mutant_that_hangs_is_ended(self):
        self.assertEqual(self.judge.judge(Switch(2, 1, 2), self.tests, 0, "f"), "caught")

    def test_a_test_that_waits_is_ended(self):
        child = subprocess.Popen(["sleep", "1000"], process_group=0)
        end_if_it_waits(child, 1, threading.Event())
        self.assertEqual(child.wait(), -signal.SIGKILL)

    def test_a_test_that_computes_does_not_wait_however_slow_the_machine(self):
        child = subprocess.Popen([sys.executable, "-c", "while True: pass"], process_group=0)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        over, looks = unittest.mock.Mock(), iter([False, False, True])

        def wait(_):
            before = used(child.pid)
            while used(child.pid) == before:
                pass
            return next(looks)

        over.wait = wait
        end_if_it_waits(child, 1, over)
        self.assertIsNone(child.poll())

    def test_a_mutant_that_no_test_reaches_is_missed_without_running_any(self):
        with unittest.mock.patch.object(self.judge, "run", side_effect=AssertionError("it ran")):
            self.assertEqual(self.judge.judge(Switch(3, 1, 3), self.tests, 20, "f"), "missed")

    def test_nothing_is_said_after_it_was_stopped(self):
        self.judge.close()
        self.assertIsNone(self.judge.judge(Switch(1, 2, 1), self.tests, 20, "f"))

    def test_a_test_that_fails_before_anything_is_changed_judges_nothing(self):
        with unittest.mock.patch.dict(os.environ, COUNTERSIGN_MUTANT="1 1"):
            self.judge.digests[self.program] = "another"
            self.assertEqual({test.name for test in self.judge.survey(self.program, 20)}, {"three_steps_are_three"})


WOVEN = types.SimpleNamespace(blamed=lambda line: {1: ["own"], 2: ["own", "other"]}.get(line, []))


def error(line, expansion=None):
    span = {"is_primary": True, "file_name": "src/a.rs", "line_start": line, "expansion": expansion}
    return {"reason": "compiler-message", "message": {"level": "error", "spans": [span], "rendered": f"error in line {line}"}}


class Naming(unittest.TestCase):
    def test_what_is_called_alike_is_likely(self):
        about = stems("src/checks/complete.rs: Checks<'_>::run_closed")
        self.assertTrue(about & stems("cases::run_closes_other_first"))
        self.assertFalse(about & stems("cases::accept_story_of_a_check"))


class Blaming(unittest.TestCase):
    def setUp(self):
        self.tree = Tree(pathlib.Path("work"), pathlib.Path("plain"), [], set())
        self.tree.woven = {"src/a.rs": WOVEN}

    def test_an_error_in_the_copy_of_one_mutant_means_that_it_does_not_build(self):
        self.tree.blame([error(1)])
        self.assertEqual((self.tree.unbuildable, self.tree.unwoven), ({"own"}, set()))

    def test_an_error_beside_the_copies_says_nothing_of_a_mutant(self):
        self.tree.blame([error(2)])
        self.assertEqual((self.tree.unbuildable, self.tree.unwoven), (set(), {"own", "other"}))

    def test_a_function_is_not_given_up_while_a_copy_is_wrong(self):
        self.tree.blame([error(1), error(2)])
        self.assertEqual((self.tree.unbuildable, self.tree.unwoven), ({"own"}, set()))

    def test_an_error_that_no_change_made_ends_the_run(self):
        with self.assertRaisesRegex(SystemExit, "error in line 3"):
            self.tree.blame([error(3)])

    def test_an_error_in_a_macro_is_about_the_line_that_calls_it(self):
        call = error(1)["message"]["spans"][0]
        self.assertEqual(places(error(9, {"span": call})["message"]), [("src/a.rs", 9), ("src/a.rs", 1)])


if __name__ == "__main__":
    unittest.main()
