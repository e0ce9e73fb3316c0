"""A tool server to put behind the gateway, made with the official SDK: notes that can be read and deleted.

    python notes.py        over standard streams, for either revision of the protocol
"""

from mcp.server.mcpserver import MCPServer

NOTES = {"plan": "ship on Friday", "salaries": "not for agents", "draft": "a first thought"}

server = MCPServer("notes")


@server.tool()
def read_note(name: str) -> str:
    """Gives a note's text."""
    return NOTES[name]


@server.tool()
def delete_note(name: str) -> str:
    """Deletes a note for good."""
    return f"deleted {name}"


@server.tool()
def burn_archive() -> str:
    """Deletes every note."""
    return "there are no notes any more"


if __name__ == "__main__":
    server.run()
