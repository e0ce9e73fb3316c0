"""The comparison of both wires finds what it has to find.

    python3 -m unittest discover -s tests/conformance
"""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "outside"))
from recorder import Exchange  # noqa: E402
from wire import Comparison, elements, members  # noqa: E402

HEAD = b"POST /mcp HTTP/1.1\r\nhost: x\r\n\r\n"
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x": 1.0}}}'
BEHIND = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x": 1.0}}}'
RESULT = b'{"jsonrpc":"2.0","id":7,"result":{"content":[ ],"z":1,"a":2}}'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}'


def answered(*messages: bytes, status: bytes = b"200 OK") -> bytearray:
    if len(messages) == 1:
        return bytearray(b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\n\r\n" + messages[0])
    events = b"".join(b"data: " + message + b"\n\n" for message in messages)
    return bytearray(b"HTTP/1.1 " + status + b"\r\ncontent-type: text/event-stream\r\n\r\n" + events)


def compared(asked: bytes, answer: bytearray, asked_behind: bytes = BEHIND, answer_behind: bytearray | None = None) -> dict:
    """Differences between one exchange before the gateway and one behind it."""
    before = Exchange("s", HEAD, asked, answer)
    behind = Exchange("s", HEAD, asked_behind, answer_behind or answered(RESULT))
    return Comparison([before], [behind]).differences


class Wires(unittest.TestCase):
    def test_the_same_bytes_with_other_ids_are_the_same(self):
        self.assertEqual(compared(CALL, answered(RESULT.replace(b'"id":7', b'"id":1'))), {})

    def test_what_the_gateway_adds_is_permitted_and_nothing_else_of_meta(self):
        ours = RESULT.replace(b'"a":2', b'"a":2,"_meta":{"dev.countersign/decision":{}}')
        self.assertEqual(compared(CALL, answered(ours)), {})
        self.assertTrue(compared(CALL, answered(ours.replace(b"dev.countersign/", b"dev.other/"))))

    def test_a_number_that_is_written_otherwise_is_a_difference(self):
        self.assertTrue(compared(CALL.replace(b"1.0", b"1"), answered(RESULT)))

    def test_white_space_within_a_value_is_a_difference(self):
        self.assertTrue(compared(CALL, answered(RESULT.replace(b"[ ]", b"[]"))))

    def test_a_member_that_is_lost_is_a_difference(self):
        self.assertTrue(compared(CALL, answered(RESULT.replace(b',"a":2', b""))))

    def test_a_member_that_is_added_is_a_difference(self):
        self.assertTrue(compared(CALL, answered(RESULT.replace(b'"z":1', b'"z":1,"b":3'))))

    def test_arguments_that_were_changed_are_a_difference_also_where_none_were_sent(self):
        self.assertTrue(compared(CALL.replace(b',"arguments":{"x": 1.0}', b""), answered(RESULT)))
        none = BEHIND.replace(b'{"x": 1.0}', b"{}")
        self.assertEqual(compared(CALL.replace(b',"arguments":{"x": 1.0}', b""), answered(RESULT), none), {})

    def test_an_interim_message_that_is_lost_or_comes_late_is_a_difference(self):
        behind = answered(NOTE, NOTE.replace(b'"x"', b'"y"'), RESULT)
        self.assertTrue(compared(CALL, answered(NOTE, RESULT), BEHIND, behind))
        late = answered(NOTE.replace(b'"x"', b'"y"'), NOTE, RESULT)
        self.assertTrue(compared(CALL, late, BEHIND, behind))
        self.assertEqual(compared(CALL, behind, BEHIND, behind), {})

    def test_a_call_that_does_not_arrive_or_that_nobody_made_is_a_difference(self):
        exchange = Exchange("s", HEAD, CALL, answered(RESULT))
        self.assertTrue(Comparison([exchange], []).differences)
        self.assertTrue(Comparison([], [exchange]).differences)

    def test_a_call_that_the_gateway_refuses_is_not_taken_for_the_same_call_that_it_lets_through(self):
        refused = Exchange("s", HEAD, CALL, answered(b'{"jsonrpc":"2.0","id":1,"error":{}}', status=b"400 Bad Request"))
        passed, behind = Exchange("s", HEAD, CALL, answered(RESULT)), Exchange("s", HEAD, BEHIND, answered(RESULT))
        self.assertEqual(Comparison([refused, passed], [behind]).differences, {})

    def test_a_listing_may_be_shorter_and_never_other(self):
        asked = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
        full = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"b"}]}}'
        for shown, differs in ((b'[{"name":"b"}]', False), (b'[{"name": "b"}]', True), (b'[{"name":"c"}]', True)):
            part = b'{"jsonrpc":"2.0","id":1,"result":{"tools":' + shown + b"}}"
            self.assertEqual(bool(compared(asked, answered(part), asked, answered(full))), differs, shown)

    def test_values_are_read_as_they_are_written(self):
        self.assertEqual(members('{ "a" : 1.50 , "b":[1, 2]}'), {"a": "1.50", "b": "[1, 2]"})
        self.assertEqual(elements('[ {"a" :1}, "x" ]'), ['{"a" :1}', '"x"'])


if __name__ == "__main__":
    unittest.main()
