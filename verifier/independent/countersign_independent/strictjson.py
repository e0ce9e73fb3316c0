"""Strict JSON, docs/spec/tdx.md, "Collateral". In: bytes. Out: values, and where the members of the outermost object stand; or Malformed."""

import re

from .cbor import Malformed

MAX_DEPTH, MAX_MEMBERS = 12, 128
MOST = 2**64 - 1
SPACE = " \t\n\r"
NUMBER = re.compile(r"0|[1-9][0-9]*")
FOUR = re.compile(r"[0-9a-fA-F]{4}")
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class _Reader:
    def __init__(self, text):
        self.text, self.at, self.spans = text, 0, {}

    def peek(self):
        return self.text[self.at : self.at + 1]

    def space(self):
        while self.peek() and self.peek() in SPACE:
            self.at += 1

    def expect(self, word):
        if not self.text.startswith(word, self.at):
            raise Malformed(f"no {word}")
        self.at += len(word)

    def value(self, depth):
        first = self.peek()
        if first == "{":
            return self.table(depth + 1)
        if first == "[":
            return self.list(depth + 1)
        if first == '"':
            return self.string()
        for word, value in (("true", True), ("false", False), ("null", None)):
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return value
        found = NUMBER.match(self.text, self.at)
        if not found or len(found[0]) > 20 or int(found[0]) > MOST:
            raise Malformed("no value")
        self.at = found.end()
        if self.peek() and self.peek() in ".eE0123456789":
            raise Malformed("number")
        return int(found[0])

    def table(self, depth):
        if depth > MAX_DEPTH:
            raise Malformed("too deep")
        out = {}
        self.expect("{")
        self.space()
        if self.peek() == "}":
            self.at += 1
            return out
        while True:
            self.space()
            name = self.string()
            self.space()
            self.expect(":")
            self.space()
            if name in out:
                raise Malformed("name twice")
            start = self.at
            out[name] = self.value(depth)
            if depth == 1:
                self.spans[name] = (start, self.at)
            if len(out) > MAX_MEMBERS:
                raise Malformed("too many members")
            self.space()
            if self.peek() == "}":
                self.at += 1
                return out
            self.expect(",")

    def list(self, depth):
        if depth > MAX_DEPTH:
            raise Malformed("too deep")
        out = []
        self.expect("[")
        self.space()
        if self.peek() == "]":
            self.at += 1
            return out
        while True:
            self.space()
            out.append(self.value(depth))
            self.space()
            if self.peek() == "]":
                self.at += 1
                return out
            self.expect(",")

    def unit(self):
        found = FOUR.match(self.text, self.at)
        if not found:
            raise Malformed("escape")
        self.at += 4
        return int(found[0], 16)

    def string(self):
        self.expect('"')
        out = []
        while True:
            one = self.peek()
            if not one or one < " ":
                raise Malformed("string")
            self.at += 1
            if one == '"':
                return "".join(out)
            if one != "\\":
                out.append(one)
                continue
            kind = self.peek()
            self.at += 1
            if kind != "u":
                if kind not in ESCAPES or not kind:
                    raise Malformed("escape")
                out.append(ESCAPES[kind])
                continue
            code = self.unit()
            if 0xD800 <= code < 0xDC00:
                self.expect("\\u")
                low = self.unit()
                if not 0xDC00 <= low < 0xE000:
                    raise Malformed("half of a pair")
                code = 0x10000 + (code - 0xD800 << 10) + low - 0xDC00
            elif 0xDC00 <= code < 0xE000:
                raise Malformed("half of a pair")
            out.append(chr(code))


def read(data):
    """(value, bytes of each member of the outermost object as they stand)."""
    try:
        text = bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    reader = _Reader(text)
    reader.space()
    value = reader.value(0)
    reader.space()
    if reader.at != len(text):
        raise Malformed("bytes after the value")
    return value, {name: text[start:end].encode() for name, (start, end) in reader.spans.items()}
