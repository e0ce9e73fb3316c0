"""Weaves many mutants into one source text, each behind a switch, so that they are built together.

In: a file's text and the changes that cargo-mutants would make to it. Out: a text in which the body of each function is
there once as it is and once for each of its changes; `switch.rs` says at run time which of them runs. Whole bodies are
copied, so a woven mutant is, character by character, what cargo-mutants would have built: no precedence, type or borrow
comes out otherwise.
"""

import dataclasses
import hashlib
import re

# What may hold a bracket that opens or closes nothing, and what makes the structure of a body.
TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | \b[bc]?r(\#*)".*?"\1 | "(?:\\.|[^"\\])*" | '(?:\\.[^']*|[^'\\])' | [{}()\[\];]""", re.S | re.X
)
# A brace after this opens a block of statements: an arm, a closure, `else`, `loop`; or the line, or the line from which a
# condition goes on over several, begins with a word that has a block (and no pattern that goes on). The sources are formatted, which makes that enough.
BLOCK = re.compile(r"(=>|\||\belse|\bloop)\s*$")
HEAD = re.compile(r"\s*(\}\s*else\s+)?((if|while)\b(?!\s+let\b[^=]*$)|for\b.*\bin\b)")
# Functions in which no switch can stand: they run at compile time, or the type of their result is that of one body.
UNSWITCHABLE = re.compile(r"\bconst\s+(unsafe\s+)?fn\b|->.*\bimpl\b", re.S)
# A result that is some iterator, and nothing besides: in a box it can be that of any body.
ITERATOR = re.compile(r"(?<=->)\s*impl\s+(Iterator<[^{};+]*>)\s*$")


@dataclasses.dataclass(frozen=True)
class Change:
    """What cargo-mutants would do: the characters of `span` become `replacement`."""

    name: str
    file: str
    # From, to: (line, column), from 1, the end excluded.
    span: tuple
    replacement: str
    # Span of the function around it, doc comment included; none for a constant.
    function: tuple | None
    # What that function is called.
    called: str = ""


@dataclasses.dataclass(frozen=True)
class Switch:
    """What turns a woven mutant on: the function it is in, and its number there; and what a test reaches that reaches it."""

    function: int
    number: int
    place: int

    def __str__(self):
        return f"{self.function} {self.number}"


@dataclasses.dataclass
class Woven:
    text: str
    # By name of the change.
    switches: dict
    # (first line, last line, names): errors of the compiler between these lines are about these changes.
    regions: list

    def blamed(self, line):
        """Names of the changes that an error in this line is about; the shortest region knows best."""
        around = [region for region in self.regions if region[0] <= line <= region[1]]
        return min(around, key=lambda region: region[1] - region[0])[2] if around else []


def opening(text, start, end):
    """Where the brace opens that the last character before `end` closes."""
    depth, opened = 0, None
    for token in TOKEN.finditer(text, start, end):
        if token[0] == "{":
            if depth == 0:
                opened = token.start()
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth == 0 and token.end() == end:
                return opened
    raise ValueError(f"no body ends at character {end}")


def opens_block(text, at):
    """Whether the brace at `at` opens a block of statements, where that is sure."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:at]
    if BLOCK.search(line):
        return True
    if not text.startswith("{\n", at):
        return False
    if line.strip():
        return bool(HEAD.match(line))
    # Alone in its line: the condition begins in the last line that is indented as it is.
    for earlier in reversed(text[:start].splitlines()):
        if earlier.strip() and len(earlier) - len(earlier.lstrip()) <= len(line):
            return bool(HEAD.match(earlier))
    return False


def places(text, opened, end):
    """Where statements begin in a body: (where, the end of the block around it). What is between two of one block is
    reached only by way of the first."""
    out, around = [], []
    for token in TOKEN.finditer(text, opened, end):
        if token[0] in ("{", "(", "["):
            block = [] if token[0] == "{" and (token.start() == opened or opens_block(text, token.start())) else None
            around.append(block)
            if block is not None:
                block.append(token.end())
        elif token[0] in ("}", ")", "]"):
            out += [(at, token.start()) for at in around.pop() or []]
        elif token[0] == ";" and around[-1] is not None:
            around[-1].append(token.end())
    return sorted(out)


def outermost(changes):
    """Changes by the span of the outermost function around them, in the order of the text."""
    spans = sorted({change.function for change in changes if change.function}, key=lambda span: (span[0], [-n for n in span[1]]))
    kept = []
    for span in spans:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return {span: [c for c in changes if c.function and span[0] <= c.function[0] and c.function[1] <= span[1]] for span in kept}


def weave(text, changes):
    """`text` with all `changes` of it that can be switched."""
    lines = [0]
    for line in text.split("\n"):
        lines.append(lines[-1] + len(line) + 1)

    def offset(place):
        return lines[place[0] - 1] + place[1] - 1

    out, regions, switches, at, line = [], [], {}, 0, 1

    def emit(piece):
        nonlocal line
        out.append(piece)
        line += piece.count("\n")

    for nth, (span, inside) in enumerate(outermost(changes).items()):
        start, end = offset(span[0]), offset(span[1])
        opened = opening(text, start, end)
        head = text[start:opened]
        iterator = ITERATOR.search(head)
        said = re.sub(r"//[^\n]*", "", head[: iterator.start()] if iterator else head)
        if UNSWITCHABLE.search(said):
            continue
        before, after = ("::std::boxed::Box::new(", ")") if iterator else ("", "")
        if iterator:
            lifetime = "'_" if "&" in said else "'static"
            head = f"{head[: iterator.start()]} ::std::boxed::Box<dyn {iterator[1]} + {lifetime}> "
        # A change of another file leaves the number of this function, and so what was built of it.
        function = int.from_bytes(hashlib.sha256(f"{inside[0].file} {nth}".encode()).digest()[:6]) << 12
        emit(text[at:start] + head)
        first = line
        emit(f"{{ match ::countersign_switch::chosen({function}) {{\n")
        marks = {place: function + nth for nth, place in enumerate(places(text, opened, end)[1:], 1)}
        for number, change in enumerate(inside, 1):
            from_, to = offset(change.span[0]), offset(change.span[1])
            top = line
            emit(f"{number} => {before}{text[opened:from_]}{change.replacement}{text[to:end]}{after},\n")
            regions.append((top, line - 1, [change.name]))
            # Functions inside this one run also before the statement in whose place they stand.
            own = [mark for (begin, until), mark in marks.items() if change.function == span and begin <= from_ < until]
            switches[change.name] = Switch(function, number, own[-1] if own else function)
        emit(f"_ => {before}")
        copied = opened
        for (begin, _), mark in marks.items():
            emit(f"{text[copied:begin]} ::countersign_switch::reached({mark});")
            copied = begin
        emit(text[copied:end])
        emit(f"{after}\n}} }}")
        regions.append((first, line, [change.name for change in inside]))
        at = end
    emit(text[at:])
    return Woven("".join(out), switches, regions)
