"""Calls that must not get through, and what each does where nothing stands in its way.

In: nothing. Out: a table. `direct.py` shows that each does its harm on the real server without
the gateway; `story.py` shows that the gateway refuses each, with which code.
"""

import dataclasses
import enum

from database import CUSTOMERS, ERASE, LOOK_ALIKE


class Harm(enum.Enum):
    """What is left when the call got through."""

    ALL_DELETED = "every customer deleted"
    OTHER_DELETED = "another customer deleted"
    ALL_READ = "every customer read"
    COPIED = "every customer copied to another table"
    DRIVER_REFUSES = "refused by this server's driver only; a driver that takes scripts drops the table"


@dataclasses.dataclass(frozen=True)
class Attack:
    """One call, by the name under which it is shown."""

    name: str
    tool: str
    query: str
    harm: Harm
    code: str

    @property
    def arguments(self) -> dict:
        return {"query": self.query}


READ = f"SELECT * FROM customers WHERE email = '{ERASE}'"
COUNT = "SELECT COUNT(*) AS customers FROM customers"
# The statement that the erasure request needs.
PROPER = f"DELETE FROM customers WHERE email = '{ERASE}'"

BAD_FORM = "invalid_arguments"
NO_TOOL = "unknown_capability"
# For a tool that exists, called by an agent that has no right to it.
NO_RIGHT = "policy_denied"

ATTACKS = [
    Attack("without the one address", "write_query", "DELETE FROM customers", Harm.ALL_DELETED, BAD_FORM),
    Attack("... OR 1=1", "write_query", f"{PROPER} OR 1=1", Harm.ALL_DELETED, BAD_FORM),
    Attack(
        "a second statement", "write_query", f"{PROPER}; DROP TABLE customers", Harm.DRIVER_REFUSES, BAD_FORM
    ),
    Attack(
        "a comment", "write_query", f"DELETE FROM customers -- WHERE email = '{ERASE}'", Harm.ALL_DELETED, BAD_FORM
    ),
    Attack(
        "a look-alike letter (Cyrillic е)",
        "write_query",
        f"DELETE FROM customers WHERE email = '{LOOK_ALIKE}'",
        Harm.OTHER_DELETED,
        BAD_FORM,
    ),
    Attack(
        "reading everybody",
        "read_query",
        f"SELECT * FROM customers WHERE email = '{ERASE}' OR 1=1",
        Harm.ALL_READ,
        BAD_FORM,
    ),
    Attack(
        "a tool that is not offered",
        "create_table",
        "CREATE TABLE loot AS SELECT * FROM customers",
        Harm.COPIED,
        NO_TOOL,
    ),
]

TWIN = next(row for row in CUSTOMERS if row[2] == LOOK_ALIKE)
