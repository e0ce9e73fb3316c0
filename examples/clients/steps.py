"""How an example tells what happened, and waits for a person."""

import json


def step(name: str, outcome) -> None:
    """One line of JSON."""
    print(json.dumps([name, outcome]), flush=True)


def approved() -> None:
    """Waits for a line of input: by then, somebody has said yes with `countersign approve`."""
    input()
