"""Tests of weaving: woven text is built by rustc and run, and each mutant in it does what it would do by itself."""

import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from weave import Change, opening, places, weave

SOURCE = """\
/// A brace in a comment: {
fn all(a: bool, b: bool, c: bool) -> bool {
    a && b && c
}
fn name<'a>(n: &'a str) -> String where String: From<&'a str> {
    // }
    let odd = ['{', '\\'', '"', '}'];
    fn inner(n: usize) -> usize {
        n + 1
    }
    format!("}}{}{}{n}", r#"{""#, inner(odd.len()))
}
const fn fixed() -> u32 {
    1 + 2
}
fn few() -> impl Iterator<Item = u32> {
    [1, 2].into_iter().map(|n| n * 2)
}
fn long<'a>(of: &'a [u32], more: &[u32]) -> impl Iterator<Item = &'a u32> + use<'a> {
    of.iter().skip(more.len())
}
struct Part<'a>(&'a [&'a str]);
impl<'a> Part<'a> {
    fn words(&self) -> impl Iterator<Item = &'a str> {
        let short = |word: &&str| word.len() < 3;
        self.0.iter().copied().filter(short)
    }
}
fn main() {
    print!("{} {} {} {:?}", all(true, false, false), name("x"), fixed(), few().collect::<Vec<_>>());
    print!(" {:?} {:?}", long(&[1, 2], &[0]).next(), Part(&["a", "bcd"]).words().collect::<Vec<_>>());
}
"""


def change(name, text, replacement, function=None, source=SOURCE):
    """The change of the only `text` in the source, in the function that begins with `function`."""

    def place(offset):
        before = source[:offset]
        return before.count("\n") + 1, offset - before.rfind("\n")

    at = source.index(text)
    around = None
    if function:
        start = source.index(function)
        indent = " " * (start - source.rfind("\n", 0, start) - 1)
        around = place(start), place(source.index(f"\n{indent}}}", start) + len(indent) + 2)
    return Change(name, "src/main.rs", (place(at), place(at + len(text))), replacement, around)


CHANGES = [
    change("or", "&& b", "|| b", "/// A brace"),
    change("true", "a && b && c", "true", "/// A brace"),
    change("minus", "n + 1", "n - 1", "fn inner"),
    change("empty", 'format!("}}{}{}{n}", r#"{""#, inner(odd.len()))', "String::new()", "fn name"),
    change("in a constant function", "1 + 2", "1 * 2", "const fn"),
    change("plus", "n * 2", "n + 2", "fn few"),
    change("of a type without a name", "skip(more.len())", "skip(0)", "fn long"),
    change("none", "let short = |word: &&str| word.len() < 3;\n        self.0.iter().copied().filter(short)", "::std::iter::empty()", "fn words"),
    change("longer", "len() < 3", "len() > 2", "fn words"),
    change("outside functions", "fixed() -> u32", "fixed() -> u64"),
]
PLAIN = 'false }{"5x 3 [2, 4] Some(2) ["a"]'


class Weaving(unittest.TestCase):
    def test_the_body_is_the_last_block_of_a_function(self):
        start, end = SOURCE.index("fn name"), SOURCE.index("const fn") - 1
        self.assertEqual(opening(SOURCE, start, end), SOURCE.index("{\n    // }"))

    def test_a_function_without_an_end_is_refused(self):
        with self.assertRaises(ValueError):
            opening("fn f() { ", 0, 9)

    def test_what_no_switch_can_choose_is_left_out(self):
        self.assertEqual(list(weave(SOURCE, CHANGES).switches), ["or", "true", "minus", "empty", "plus", "none", "longer"])

    def test_an_error_is_about_the_change_in_whose_copy_it_stands(self):
        woven = weave(SOURCE, CHANGES)
        lines = woven.text.split("\n")
        line = next(nth for nth, text in enumerate(lines, 1) if "|| b" in text)
        self.assertEqual(woven.blamed(line), ["or"])
        self.assertEqual(woven.blamed(line - 2), ["or", "true"])
        self.assertEqual(woven.blamed(len(lines) - 2), [])

    def test_a_change_of_one_function_leaves_the_numbers_of_others(self):
        few = weave(SOURCE, CHANGES[1:]).switches
        self.assertEqual(few["empty"], weave(SOURCE, CHANGES).switches["empty"])


BODY = """\
{
    let [a, b] = [0; 2];
    if a > b {
        one(S { a });
        two();
    } else if a
        < b
    {
        three();
    }
    for T {
        b,
    } in a
    {
        b;
    }
    match a {
        0 => {
            four();
        }
        _ => S { a }.five(|x| {
            x;
        }),
    }
}"""


class Placing(unittest.TestCase):
    def test_statements_of_blocks_are_places_and_nothing_else_is(self):
        def before(at):
            return BODY[:at].split("\n")[-1].strip()

        found = [before(at) for at, _ in places(BODY, 0, len(BODY))]
        expected = [
            "{", "let [a, b] = [0; 2];", "if a > b {", "one(S { a });", "two();", "{", "three();", "0 => {", "four();",
            "_ => S { a }.five(|x| {", "x;",
        ]  # fmt: skip
        self.assertEqual(found, expected)

    def test_a_mutant_has_the_last_place_before_it_in_its_block(self):
        source = f"fn f() {BODY}\n"
        texts = ["a > b", "two()", "S { a }.five", "x;"]
        changes = [change(text, text, "", "fn f", source) for text in texts]
        switches = weave(source, changes).switches
        nth = [switches[text].place - switches[text].function for text in texts]
        self.assertEqual(nth, [1, 3, 1, 9])

    def test_a_function_inside_another_may_run_before_its_place(self):
        source = "fn f() {\n    inner();\n    fn inner() {\n        x()\n    }\n}\n"
        switch = weave(source, [change("x", "x()", "", "fn inner", source), change("f", "inner();", "", "fn f", source)]).switches["x"]
        self.assertEqual(switch.place, switch.function)


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.directory = pathlib.Path(directory.name)
        cls.woven = weave(SOURCE, CHANGES)
        cls.build("countersign_switch", (HERE.parent / "switch.rs").read_text(), "--crate-type=rlib")
        cls.build("woven", cls.woven.text, f"-L{cls.directory}", "--extern=countersign_switch")

    @classmethod
    def build(cls, name, text, *arguments):
        source = cls.directory / f"{name}.rs"
        source.write_text(text)
        subprocess.run(["rustc", "--edition=2024", "--cap-lints=allow", *arguments, f"--out-dir={cls.directory}", source], check=True)

    def run_woven(self, **environment):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COUNTERSIGN_MUTANT")}
        return subprocess.run([self.directory / "woven"], env=kept | environment, check=True, capture_output=True, text=True).stdout

    def test_without_a_choice_it_is_the_code_as_it_was(self):
        self.assertEqual(self.run_woven(), PLAIN)

    def test_each_mutant_does_what_it_would_do_by_itself(self):
        expected = {
            # `a || b && c` is `a || (b && c)`.
            "or": PLAIN.replace("false", "true"),
            "true": PLAIN.replace("false", "true"),
            "minus": PLAIN.replace("5x", "3x"),
            "empty": PLAIN.replace('}{"5x', ""),
            "plus": PLAIN.replace("[2, 4]", "[3, 4]"),
            "none": PLAIN.replace('["a"]', "[]"),
            "longer": PLAIN.replace('"a"', '"bcd"'),
        }
        found = {name: self.run_woven(COUNTERSIGN_MUTANT=str(switch)) for name, switch in self.woven.switches.items()}
        self.assertEqual(found, expected)

    def test_what_is_reached_is_written_once_for_each_process(self):
        reached = self.directory / "reached"
        for _ in range(2):
            self.run_woven(COUNTERSIGN_MUTANT_REACHED=str(reached))
        found = collections.Counter(map(int, reached.read_text().split()))
        self.assertEqual(set(found.values()), {2})
        self.assertLessEqual({switch.place for switch in self.woven.switches.values()}, set(found))


if __name__ == "__main__":
    unittest.main()
