"""A proxy that passes every byte on and keeps a copy.

In: an address to forward to. Out: [`Exchange`]s, each one request and all that was answered to it. Bodies
are not touched. Two things change on the way: a `Host` or `Origin` that names the proxy names what is behind it,
as without a proxy; and a credential can be added. Connections last as long as both ends want.
"""

import asyncio
import dataclasses
import json
import threading

LARGEST_HEAD = 64 * 1024
CHUNK = 64 * 1024


@dataclasses.dataclass
class Exchange:
    """One request and its answer."""

    scenario: str
    head: bytes
    body: bytes
    answer: bytearray
    # The caller went away before the answer's end.
    broken_off: bool = False

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def status(self) -> int:
        first = bytes(self.answer[:64]).split(b" ")
        return int(first[1]) if len(first) > 1 else 0

    def header(self, name: str) -> str | None:
        return fields(self.head).get(name)

    @property
    def answer_headers(self) -> dict:
        return fields(bytes(self.answer).partition(b"\r\n\r\n")[0])

    @property
    def content(self) -> bytes:
        """The answer's body, out of its chunks."""
        head, _, rest = bytes(self.answer).partition(b"\r\n\r\n")
        if fields(head).get("transfer-encoding") != "chunked":
            return rest
        out = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size.split(b";")[0] or b"0", 16)
            if length == 0:
                break
            out, rest = out + rest[:length], rest[length + 2 :]
        return out

    @property
    def messages(self) -> list:
        """The JSON-RPC messages that were answered, as they came: bytes."""
        if "text/event-stream" not in self.answer_headers.get("content-type", ""):
            return [self.content] if self.content.strip() else []
        events = self.content.replace(b"\r\n", b"\n").split(b"\n\n")
        lines = [[l[5:].removeprefix(b" ") for l in e.split(b"\n") if l.startswith(b"data:")] for e in events]
        return [m for m in (b"\n".join(l) for l in lines) if m.strip()]

    @property
    def asked(self):
        """The request's message, read."""
        return json.loads(self.body) if self.body else None


def fields(head: bytes) -> dict:
    """Header fields, names in lower case."""
    lines = head.split(b"\r\n")[1:]
    pairs = (line.partition(b":") for line in lines if line)
    return {name.decode().strip().lower(): value.decode().strip() for name, _, value in pairs}


class Recorder:
    """Listens on a port of its own, in a thread of its own."""

    def __init__(self, target: str = "", token: str | None = None):
        self.target, self.token = target, token
        self.scenario = ""
        self.exchanges: list[Exchange] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LARGEST_HEAD)
        server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.address = "{}:{}".format(*server.sockets[0].getsockname())

    async def _serve(self, reader, writer) -> None:
        inner = None
        try:
            host, _, port = self.target.partition(":")
            inner = await asyncio.open_connection(host, int(port), limit=LARGEST_HEAD)
            ahead = asyncio.ensure_future(reader.read(1))
            while ahead and await self._lasts(ahead, inner[0]):
                ahead = await self._exchange(ahead.result(), reader, writer, *inner)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            if inner:
                inner[1].close()

    @staticmethod
    async def _lasts(ahead, inner_reader) -> bool:
        """Waits for the next request; no, if either end closes the connection instead."""
        closed = asyncio.ensure_future(inner_reader.read(1))
        await asyncio.wait({ahead, closed}, return_when=asyncio.FIRST_COMPLETED)
        if closed.done():
            ahead.cancel()
            return False
        closed.cancel()
        await asyncio.wait({closed})
        return bool(ahead.result())

    async def _exchange(self, first: bytes, reader, writer, inner_reader, inner_writer):
        """One request whose first byte is read; the task that reads the next one's, if the connection goes on."""
        head = first + await reader.readuntil(b"\r\n\r\n")
        found = fields(head)
        body = await self._body(reader, found)
        exchange = Exchange(self.scenario, head, body, bytearray())
        self.exchanges.append(exchange)
        inner_writer.write(self._forwarded(head, found, body) + body)
        await inner_writer.drain()
        # Nothing comes before the answer's end, unless the caller goes away.
        ahead = asyncio.ensure_future(reader.read(1))
        ahead.add_done_callback(lambda task: task.cancelled() or task.exception())
        answer = asyncio.ensure_future(self._answer(exchange, inner_reader, writer))
        await asyncio.wait({ahead, answer}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and (ahead.exception() or not ahead.result()):
            answer.cancel()
            exchange.broken_off = True
            return None
        if await answer:
            return ahead
        ahead.cancel()
        return None

    async def _answer(self, exchange, inner_reader, writer) -> bool:
        """Passes an answer on as it comes; whether the connection can be used again."""

        async def take(piece: bytes) -> bytes:
            exchange.answer += piece
            writer.write(piece)
            await writer.drain()
            return piece

        head = fields(await take(await inner_reader.readuntil(b"\r\n\r\n")))
        if head.get("transfer-encoding") == "chunked":
            while length := int((await take(await inner_reader.readuntil(b"\r\n"))).split(b";")[0], 16):
                await take(await inner_reader.readexactly(length + 2))
            await take(await inner_reader.readuntil(b"\r\n"))
        elif "content-length" in head:
            await take(await inner_reader.readexactly(int(head["content-length"])))
        elif exchange.status not in (202, 204, 304):
            while await take(await inner_reader.read(CHUNK)):
                pass
            return False
        return head.get("connection", "").lower() != "close"

    async def _body(self, reader, found: dict) -> bytes:
        if found.get("transfer-encoding") != "chunked":
            return await reader.readexactly(int(found.get("content-length", 0)))
        out = b""
        while length := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            out += await reader.readexactly(length)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return out

    def _forwarded(self, head: bytes, found: dict, body: bytes) -> bytes:
        first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
        changed = {"transfer-encoding", "content-length", "host", "origin", "expect"}
        if self.token:
            changed.add("authorization")
        kept = [line for line in lines if line.split(b":")[0].strip().lower().decode() not in changed]
        kept += [f"{name}: {self._behind(found[name])}".encode() for name in ("host", "origin") if name in found]
        if body or "content-length" in found or "transfer-encoding" in found:
            kept.append(f"Content-Length: {len(body)}".encode())
        if self.token:
            kept.append(f"Authorization: Bearer {self.token}".encode())
        return b"\r\n".join([first, *kept, b"", b""])

    def _behind(self, named: str) -> str:
        port = self.address.rpartition(":")[2]
        for own in (self.address, f"localhost:{port}"):
            if named.removeprefix("http://") == own:
                return named.replace(own, self.target)
        return named
