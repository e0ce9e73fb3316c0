"""Breaks a structure in DER so that all lengths around the change are right again. For the differ. In: bytes. Out: other bytes."""

from . import der
from .cbor import Malformed

TAGS = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x17, 0x18, 0x1F, 0x30, 0x31, 0x80, 0x81, 0x82, 0xA0, 0xA1, 0xA2, 0xA3)
MORE = ("0500", "0101ff", "010100", "010101", "020101", "0201ff", "a000", "a100", "800105", "810105", "180f32303236303130313030303030305a")


def length(size):
    if size < 128:
        return bytes([size])
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw


def element(tag, content):
    return bytes([tag]) + length(len(content)) + content


def elements(data, start, end, path, out):
    """(start, start of content, end, those around it) of each element, as deep as they can be read."""
    at = start
    while at < end:
        try:
            one = der.Element(data[:end], at)
        except Malformed:
            return
        inner = one.end - len(one.content)
        out.append((at, inner, one.end, path))
        if one.tag & 0x20 or (one.tag == der.OCTETS and len(one.content) > 3 and len(path) < 12):
            elements(data, inner, one.end, path + [(at, inner, one.end)], out)
        at = one.end


def changed(rng, data, start, inner, end, every):
    """What stands in the place of one element."""
    tag, content, raw = data[start], data[inner:end], data[start:end]
    what = rng.randrange(8)
    if what == 0:
        return b""
    if what == 1:
        return raw + raw
    if what == 2:
        return element(rng.choice(TAGS), content)
    if what == 3 and content:
        at = rng.randrange(len(content))
        return element(tag, content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :])
    if what == 4:
        return element(tag, rng.choice((b"", content[:-1], content + b"\x00", b"\x00" + content, b"\xff" + content, b"\x80" + content)))
    if what == 5:
        other = rng.choice(every)
        return data[other[0] : other[2]]
    if what == 6 and len(content) < 256:
        return bytes([tag, 0x81, len(content)]) + content
    return raw + bytes.fromhex(rng.choice(MORE))


def break_der(rng, data):
    every = []
    elements(data, 0, len(data), [], every)
    if not every:
        return data
    start, inner, end, path = rng.choice(every)
    new = changed(rng, data, start, inner, end, every)
    for around, content, stop in reversed(path):
        new = element(data[around], data[content:start] + new + data[end:stop])
        start, end = around, stop
    return data[:start] + new + data[end:]
