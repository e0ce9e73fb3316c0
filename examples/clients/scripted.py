"""A model that follows a script: the one part of these examples that is not real.

In: what it would decide, turn by turn. Out: tool calls and a last sentence, and what it was told meanwhile.
"""

import dataclasses

READ = ("read_note", {"name": "plan"})
FORBIDDEN = ("read_note", {"name": "salaries"})
HALTED = ("delete_note", {"name": "draft"})
GOODBYE = "I wait for a person."


@dataclasses.dataclass
class Script:
    """Turns of a model."""

    turns: list
    told: list = dataclasses.field(default_factory=list)
    offered: list = dataclasses.field(default_factory=list)

    def next(self, told: list, offered: list):
        """The next call, or `None` when the model has nothing more to ask."""
        self.told, self.offered = told, sorted(offered)
        return self.turns.pop(0) if self.turns else None
