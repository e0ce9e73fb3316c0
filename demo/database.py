"""The customers of the demo: the same rows each time, so that every number shown is known beforehand.

In: a path. Out: an SQLite database, or its rows. One address is written twice: once as everybody
types it, once with a Cyrillic letter that looks the same, by another person.
"""

import contextlib
import pathlib
import sqlite3

# The address of the erasure request.
ERASE = "user@example.com"
# Looks the same. The third letter is U+0435 CYRILLIC SMALL LETTER IE; it is another customer's.
LOOK_ALIKE = "us\u0435r@example.com"

CUSTOMERS = [
    (1, "Ada Byron", "ada@example.com", "London", "2021-03-14"),
    (2, "Jonas Weber", ERASE, "Bremen", "2022-07-01"),
    (3, "Maria Silva", "maria@example.org", "Porto", "2022-11-30"),
    (4, "Wei Chen", "wei.chen@example.net", "Utrecht", "2023-05-09"),
    (5, "Sergei Orlov", LOOK_ALIKE, "Varna", "2024-01-22"),
    (6, "Noor Haddad", "noor@example.org", "Lyon", "2025-02-17"),
]

SCHEMA = """
CREATE TABLE customers (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL,
  email TEXT NOT NULL UNIQUE,
  city  TEXT NOT NULL,
  since TEXT NOT NULL
);
"""


def create(path: pathlib.Path) -> None:
    """Writes the database anew."""
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", CUSTOMERS)
        connection.commit()


def tables(path: pathlib.Path) -> list[str]:
    """Names of the tables."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute(query)]


def rows(path: pathlib.Path) -> list[tuple]:
    """The customers, by number. None, if there is no such table."""
    if "customers" not in tables(path):
        return []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM customers ORDER BY id").fetchall()


def listing(path: pathlib.Path) -> list[str]:
    """The customers as lines for people."""
    return [f"{number}  {name:<13} {email:<21} {city:<8} {since}" for number, name, email, city, since in rows(path)]
