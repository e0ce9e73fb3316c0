"""What a spectator sees, and the checks behind it: a line that is shown was asserted before.

In: words and expectations. Out: text on the terminal (colours only there), or [`Failed`].
"""

import os
import sys
import textwrap
import time

WIDTH = 96


class Failed(Exception):
    """Reality differs from the story."""


class Narrator:
    """Tells the story and counts what was asserted."""

    def __init__(self, out=sys.stdout):
        self.out = out
        self.started = time.monotonic()
        self.asserted = 0
        self.scenes = 0
        self.colours = out.isatty() and "NO_COLOR" not in os.environ

    def _paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self.colours else text

    def _print(self, text: str = "") -> None:
        print(text, file=self.out, flush=True)

    def scene(self, title: str) -> None:
        """Begins the next scene; the first has number 0."""
        heading = f"── {self.scenes}. {title} "
        self.scenes += 1
        self._print()
        self._print(self._paint(heading.ljust(WIDTH, "─"), "1;36"))

    def say(self, text: str) -> None:
        """A sentence or two."""
        self._print(textwrap.fill(" ".join(text.split()), WIDTH))

    def show(self, lines) -> None:
        """Something as it is, indented."""
        for line in [lines] if isinstance(lines, str) else lines:
            self._print(f"    {line}")

    def command(self, line: str) -> None:
        """A command that was run."""
        self._print(self._paint(f"    $ {line}", "2"))

    def passed(self, text: str) -> None:
        """Something good that was asserted."""
        self._print(f"  {self._paint('ok', '32')}       {text}")

    def refused(self, text: str) -> None:
        """Something bad that did not get through."""
        self._print(f"  {self._paint('refused', '31')}  {text}")

    def expect(self, what: str, found, expected) -> None:
        """Goes on if both are equal."""
        self.asserted += 1
        if found != expected:
            raise Failed(f"{what}\n  expected: {expected!r}\n  found:    {found!r}")

    def expect_that(self, what: str, holds: bool, found="") -> None:
        """Goes on if it holds."""
        self.asserted += 1
        if not holds:
            raise Failed(f"{what}\n  found: {found!r}")

    def end(self) -> None:
        """The last line."""
        seconds = time.monotonic() - self.started
        self._print()
        self._print(f"All {self.asserted} assertions held, in {seconds:.0f} s.")
