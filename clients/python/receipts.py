"""Keeps the receipts that a gateway gives with every answer, so that no export can leave a call out unnoticed.

In: answers of a Countersign gateway (`POST /v1/calls`, or results of MCP calls). Out: a file of
receipts, one a line in base64, as `countersign-verify --receipts FILE` reads it. A receipt is on
the disk before the caller sees the answer it came with. Nothing is judged here: whether a
receipt is the gateway's own is the verifier's question.

With the standard library alone:

    book = ReceiptBook("receipts.txt")
    book.keep_from(json.loads(answer))

With any `httpx` client, the one inside the MCP SDK for Python included; every answer passes by:

    client = httpx.AsyncClient(event_hooks={"response": [book.on_async_response]})
    client = httpx.Client(event_hooks={"response": [book.on_response]})
"""

import base64
import binascii
import json
import os
import threading

# Where the gateway puts what it decided, in the `_meta` of an MCP result.
DECISION = "dev.countersign/decision"

# A receipt is about 340 bytes; what is far longer is none, and is not written to the file.
MAX_RECEIPT_BYTES = 4096

# First bytes of every receipt: tag 18, array of four (COSE_Sign1, RFC 9052).
COSE_SIGN1 = b"\xd2\x84"


class NotAReceipt(ValueError):
    """What was given cannot be a receipt. The message never shows it."""


class ReceiptBook:
    """A file of receipts that only grows. Safe to use from several threads, and by several processes."""

    def __init__(self, path: str | os.PathLike):
        self._path = os.fspath(path)
        self._lock = threading.Lock()
        self._kept = 0

    @property
    def path(self) -> str:
        """Where the receipts are."""
        return self._path

    @property
    def kept(self) -> int:
        """How many this object has kept."""
        return self._kept

    def keep(self, receipt: str) -> None:
        """Writes one receipt, given in base64, to the disk; returns once it is there."""
        line = _read(receipt) + b"\n"
        with self._lock:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # One write of one line: with O_APPEND, lines of several processes do not mix.
                if os.write(descriptor, line) != len(line):
                    raise OSError(f"{self._path}: the receipt was written in part")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._kept += 1

    def keep_from(self, answer: object) -> int:
        """Keeps every receipt of an answer; gives how many there were.

        An answer that has none was not recorded: the gateway then released nothing.
        """
        receipts = list(_receipts(answer))
        for receipt in receipts:
            self.keep(receipt)
        return len(receipts)

    def on_response(self, response) -> None:
        """Event hook of an `httpx.Client`."""
        if _is_json(response):
            response.read()
            self._keep_body(response.content)

    async def on_async_response(self, response) -> None:
        """Event hook of an `httpx.AsyncClient`."""
        if _is_json(response):
            await response.aread()
            self._keep_body(response.content)

    def _keep_body(self, body: bytes) -> None:
        try:
            answer = json.loads(body)
        except ValueError:
            return  # no answer of a gateway; the client will say so
        self.keep_from(answer)


def _is_json(response) -> bool:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json"


def _read(receipt: object) -> bytes:
    """The receipt's line. A line break, or another form than base64, could spoil the lines beside it."""
    if not isinstance(receipt, str) or len(receipt) > MAX_RECEIPT_BYTES * 2:
        raise NotAReceipt("a receipt is base64 of a signed statement; this is not")
    try:
        decoded = base64.b64decode(receipt, validate=True)
    except (binascii.Error, ValueError):
        raise NotAReceipt("a receipt is base64 of a signed statement; this is not") from None
    if not decoded.startswith(COSE_SIGN1) or len(decoded) > MAX_RECEIPT_BYTES:
        raise NotAReceipt("a receipt is a signed statement; this is not")
    return base64.b64encode(decoded)


def _receipts(answer: object):
    """Receipts of one answer, at the places where the gateway puts them and nowhere else."""
    if isinstance(answer, list):
        for message in answer:
            yield from _receipts(message)
        return
    if not isinstance(answer, dict):
        return
    result = answer.get("result")
    meta = result.get("_meta") if isinstance(result, dict) else None
    for place in (answer.get("audit"), meta.get(DECISION) if isinstance(meta, dict) else None):
        if isinstance(place, dict) and "receipt" in place:
            yield place["receipt"]
