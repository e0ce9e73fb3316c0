"""Deterministic CBOR as docs/spec/record.md, "Encoding", narrows it.

In: bytes. Out: int, bytes, str, bool, list, dict with integer keys; or Malformed. Tags are read by those who expect one.
"""


class Malformed(Exception):
    """The bytes are not what the specification allows."""


MAX_DEPTH = 16
MAX_ITEMS = 262_144


def head(data, at):
    """Read one head: (major type, argument, where its content starts). Only the shortest form."""
    try:
        first = data[at]
    except IndexError:
        raise Malformed("ends early") from None
    major, low = first >> 5, first & 31
    if low < 24:
        return major, low, at + 1
    if low > 27:
        raise Malformed("indefinite or reserved")
    size = 1 << (low - 24)
    raw = data[at + 1 : at + 1 + size]
    if len(raw) != size:
        raise Malformed("ends early")
    value = int.from_bytes(raw, "big")
    if major == 7:
        raise Malformed("simple value or float")
    if value < (24, 1 << 8, 1 << 16, 1 << 32)[low - 24]:
        raise Malformed("not the shortest form")
    return major, value, at + 1 + size


def item(data, at=0, depth=0):
    """Read one item: (value, where the next one starts)."""
    major, value, at = head(data, at)
    if major == 0:
        return value, at
    if major == 1:
        return -1 - value, at
    if major in (2, 3):
        end = at + value
        if end > len(data):
            raise Malformed("ends early")
        raw = bytes(data[at:end])
        if major == 2:
            return raw, end
        try:
            return raw.decode("utf-8"), end
        except UnicodeDecodeError:
            raise Malformed("not UTF-8") from None
    if major in (4, 5):
        if depth >= MAX_DEPTH:
            raise Malformed("nested too deep")
        if value > MAX_ITEMS or value * (major - 3) > len(data) - at:
            raise Malformed("too many items")
        if major == 4:
            out = []
            for _ in range(value):
                one, at = item(data, at, depth + 1)
                out.append(one)
            return out, at
        table, before = {}, b""
        for _ in range(value):
            start = at
            kind, number, at = head(data, at)
            if kind not in (0, 1) or number >= 1 << 63:
                raise Malformed("map key is no integer of 64 bits")
            encoded = bytes(data[start:at])
            if encoded <= before:
                raise Malformed("map keys not ascending")
            before = encoded
            table[number if kind == 0 else -1 - number], at = item(data, at, depth + 1)
        return table, at
    if major == 7 and value in (20, 21):
        return value == 21, at
    raise Malformed("tag, float, null or undefined")


def whole(data):
    """Read the one item that takes up all of data."""
    value, end = item(data)
    if end != len(data):
        raise Malformed("bytes after the value")
    return value


def encode(value):
    """Encode ints, bytes, str, bool, lists and dicts; what item() reads back."""
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return _head(3, len(raw)) + raw
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(encode(one) for one in value)
    pairs = sorted((encode(key), encode(one)) for key, one in value.items())
    return _head(5, len(pairs)) + b"".join(key + one for key, one in pairs)


def _head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for low, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << (8 * size):
            return bytes([major << 5 | low]) + value.to_bytes(size, "big")
    raise ValueError("number too large")
