"""What the bare server does with the calls that the gateway will refuse: each does its harm.

In: the real server, a fresh database for each call. Out: what was left, asserted. Without this, a
refusal would show nothing.
"""

import contextlib
import pathlib
import sqlite3
import sys

import database
from agent import directly
from attacks import ATTACKS, PROPER, TWIN, Harm
from narration import Narrator

UPSTREAM_TOOLS = ["append_insight", "create_table", "describe_table", "list_tables", "read_query", "write_query"]


def server_command(path: pathlib.Path) -> list:
    """How the server is started. The package has no `__main__`."""
    return [sys.executable, "-c", "from mcp_server_sqlite import main; main()", "--db-path", path]


def harm_done(attack, text: str, path: pathlib.Path) -> bool:
    """Whether the database, or the answer, shows the harm."""
    rows = database.rows(path)
    match attack.harm:
        case Harm.ALL_DELETED:
            return rows == []
        case Harm.OTHER_DELETED:
            return rows == [row for row in database.CUSTOMERS if row != TWIN]
        case Harm.ALL_READ:
            return rows == database.CUSTOMERS and all(row[1] in text for row in database.CUSTOMERS)
        case Harm.COPIED:
            return "loot" in database.tables(path)
        case Harm.DRIVER_REFUSES:
            return rows == database.CUSTOMERS and "one statement at a time" in text and _script_drops(attack.query)


def _script_drops(script: str) -> bool:
    """Whether a driver that takes several statements loses the table."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(database.SCHEMA)
        connection.executescript(script)
        return connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'").fetchone() == (0,)


async def without_gateway(narrator: Narrator, directory: pathlib.Path) -> None:
    """Sends every bad call, and the good one, straight to the server."""
    path = directory / "unguarded.db"
    database.create(path)
    with (directory / "unguarded.log").open("w", encoding="utf-8") as log:
        async with directly(server_command(path), log) as agent:
            narrator.expect("tools of the bare server", sorted(await agent.tools()), UPSTREAM_TOOLS)
            for attack in ATTACKS:
                database.create(path)
                answer = await agent.call(attack.tool, attack.arguments)
                narrator.expect_that(
                    f"directly, {attack.name} does its harm", harm_done(attack, answer.text, path), answer.text
                )
                narrator.show(f"{attack.name:<33} {attack.harm.value}")
            database.create(path)
            await agent.call("write_query", {"query": PROPER})
            left = [row for row in database.CUSTOMERS if row[2] != database.ERASE]
            narrator.expect("rows after the proper deletion", database.rows(path), left)
    path.unlink()
