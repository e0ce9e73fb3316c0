"""DER as docs/spec/timestamp.md narrows it. In: bytes. Out: elements, or Malformed."""

import datetime
import re

from .cbor import Malformed

BOOLEAN, INTEGER, BITS, OCTETS, NULL, OID, SEQUENCE, SET = 1, 2, 3, 4, 5, 6, 0x30, 0x31
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18


class Element:
    """Tag, content, and all bytes of one element."""

    def __init__(self, data, at=0):
        try:
            self.tag, low = data[at], data[at + 1]
        except IndexError:
            raise Malformed("ends early") from None
        if self.tag & 31 == 31:
            raise Malformed("tag of several bytes")
        start = at + 2
        if low < 128:
            size = low
        else:
            raw = data[start : start + (low & 127)]
            if not 1 <= low & 127 <= 4 or len(raw) != low & 127 or raw[0] == 0:
                raise Malformed("length")
            size, start = int.from_bytes(raw, "big"), start + len(raw)
            if size < 128:
                raise Malformed("length not short")
        self.content = data[start : start + size]
        if len(self.content) != size:
            raise Malformed("ends early")
        self.end = start + size
        self.raw = data[at : self.end]


def one(data, tag=None):
    """The element that takes up all of data."""
    out = Element(data)
    if out.end != len(data) or (tag is not None and out.tag != tag):
        raise Malformed("other element")
    return out


class Fields:
    """Elements of a structure, in order; nothing may be left."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def peek(self):
        return self.data[self.at] if self.at < len(self.data) else None

    def take(self, tag=None):
        out = Element(self.data, self.at)
        if tag is not None and out.tag != tag:
            raise Malformed("other tag")
        self.at = out.end
        return out

    def maybe(self, tag):
        return self.take() if self.peek() == tag else None

    def rest(self, tag=None):
        out = []
        while self.peek() is not None:
            out.append(self.take(tag))
        return out

    def end(self):
        if self.peek() is not None:
            raise Malformed("elements left")


def signed(element):
    """Content of an INTEGER in its shortest form."""
    raw = element.content
    if not raw or (len(raw) > 1 and (raw[0], raw[1] >> 7) in ((0, 0), (255, 1))):
        raise Malformed("integer")
    return raw


def integer(element):
    raw = signed(element)
    if raw[0] & 128:
        raise Malformed("negative integer")
    return int.from_bytes(raw, "big")


def boolean(element):
    if element.content not in (b"\x00", b"\xff"):
        raise Malformed("truth value")
    return element.content == b"\xff"


def oid(word):
    """The content of an object identifier that is written with dots; in a token they are compared as bytes."""
    numbers = [int(one) for one in word.split(".")]
    out = b""
    for number in [40 * numbers[0] + numbers[1], *numbers[2:]]:
        part = [number & 127]
        while number := number >> 7:
            part.append(number & 127 | 128)
        out += bytes(reversed(part))
    return out


def algorithm(element):
    """(object identifier, parameters or None)."""
    if element.tag != SEQUENCE:
        raise Malformed("algorithm identifier")
    fields = Fields(element.content)
    name = fields.take(OID).content
    parameters = fields.take() if fields.peek() is not None else None
    fields.end()
    return name, parameters


def bits(element):
    """Content of a BIT STRING without unused bits."""
    if not element.content or element.content[0]:
        raise Malformed("bit string")
    return element.content[1:]


def seconds(year, digits, leap=False):
    """Seconds since 1970 of a year and MMDDhhmmss."""
    month, day, hour, minute, second = (int(digits[i : i + 2]) for i in range(0, 10, 2))
    if leap and second == 60:
        second = 59
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.timezone.utc)
    except ValueError:
        raise Malformed("time") from None
    if year < 1970:
        raise Malformed("before 1970")
    return int((moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds())


def time(element):
    """Seconds since 1970 of a UTCTime or GeneralizedTime of a certificate."""
    word = element.content.decode("latin-1")
    if element.tag == UTC_TIME and re.fullmatch(r"[0-9]{12}Z", word):
        year = int(word[:2])
        return seconds(year + (1900 if year >= 50 else 2000), word[2:])
    if element.tag == GENERALIZED_TIME and re.fullmatch(r"[0-9]{14}Z", word):
        return seconds(int(word[:4]), word[4:])
    raise Malformed("time")
