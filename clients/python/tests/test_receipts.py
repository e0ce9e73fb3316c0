"""Tests of the receipt book, with the standard library alone."""

import asyncio
import base64
import json
import pathlib
import stat
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from receipts import DECISION, NotAReceipt, ReceiptBook


def receipt(number: int) -> str:
    return base64.b64encode(b"\xd2\x84" + number.to_bytes(4, "big")).decode()


class Response:
    """What an `httpx` response shows its hooks."""

    def __init__(self, body: bytes, kind: str = "application/json; charset=utf-8"):
        self.headers = {"content-type": kind}
        self._body, self.content = body, None

    def read(self):
        self.content = self._body

    async def aread(self):
        self.content = self._body


class Books(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.book = ReceiptBook(pathlib.Path(directory.name) / "receipts.txt")

    def lines(self) -> list[str]:
        path = pathlib.Path(self.book.path)
        return path.read_text(encoding="ascii").splitlines() if path.exists() else []

    def test_a_receipt_of_a_plain_call_is_kept(self):
        self.assertEqual(self.book.keep_from({"status": "ok", "audit": {"receipt": receipt(1)}}), 1)
        self.assertEqual(self.lines(), [receipt(1)])

    def test_a_receipt_of_an_mcp_result_is_kept(self):
        answer = {"jsonrpc": "2.0", "id": 1, "result": {"_meta": {DECISION: {"receipt": receipt(2)}}}}
        self.assertEqual(self.book.keep_from(answer), 1)
        self.assertEqual(self.lines(), [receipt(2)])

    def test_a_refusal_has_a_receipt_too(self):
        self.assertEqual(self.book.keep_from({"status": "refused", "audit": {"receipt": receipt(3)}}), 1)

    def test_an_answer_without_a_record_has_none(self):
        self.assertEqual(self.book.keep_from({"status": "refused", "audit": None}), 0)
        self.assertEqual(self.lines(), [])

    def test_what_a_tool_calls_a_receipt_is_not_taken_for_one(self):
        self.assertEqual(self.book.keep_from({"result": {"receipt": receipt(4), "content": [{"receipt": receipt(4)}]}}), 0)

    def test_text_that_would_spoil_the_file_is_refused(self):
        for bad in ["AAAA", receipt(1) + "\n" + receipt(2), "not base64!", "", None, 7, receipt(1) * 4000]:
            with self.subTest(bad=str(bad)[:20]), self.assertRaises(NotAReceipt):
                self.book.keep(bad)
        self.assertEqual(self.lines(), [])

    def test_earlier_receipts_stay_when_a_book_is_opened_again(self):
        self.book.keep(receipt(1))
        ReceiptBook(self.book.path).keep(receipt(2))
        self.assertEqual(self.lines(), [receipt(1), receipt(2)])

    def test_only_the_caller_may_read_the_file(self):
        self.book.keep(receipt(1))
        self.assertEqual(stat.S_IMODE(pathlib.Path(self.book.path).stat().st_mode), 0o600)

    def test_lines_of_many_threads_do_not_mix(self):
        books = [ReceiptBook(self.book.path) for _ in range(4)]
        work = lambda book, start: [book.keep(receipt(start + i)) for i in range(16)]
        threads = [threading.Thread(target=work, args=(b, 100 * n)) for n, b in enumerate(books)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual(sorted(self.lines()), sorted(receipt(100 * n + i) for n in range(4) for i in range(16)))

    def test_a_hook_keeps_before_the_caller_sees_the_answer(self):
        body = json.dumps({"audit": {"receipt": receipt(5)}}).encode()
        self.book.on_response(Response(body))
        asyncio.run(self.book.on_async_response(Response(body)))
        self.assertEqual((self.book.kept, self.lines()), (2, [receipt(5)] * 2))

    def test_a_hook_leaves_streams_and_other_bodies_alone(self):
        stream = Response(b"data: {}", "text/event-stream")
        self.book.on_response(stream)
        self.assertIsNone(stream.content)
        self.book.on_response(Response(b"{ not json"))
        self.assertEqual(self.book.kept, 0)


if __name__ == "__main__":
    unittest.main()
