"""As much CBOR as an export needs: definite lengths, integer keys, no floats (RFC 8949 4.2.1).

In: bytes. Out: values, or where a value stands. Byte strings are `bytes`, texts are `str`, maps are
`dict`, tags are [`Tag`].
"""

import dataclasses

UINT, NINT, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
SIMPLES = {20: False, 21: True, 22: None}


@dataclasses.dataclass(frozen=True)
class Tag:
    """A tagged value."""

    number: int
    value: object


def head(data: bytes, at: int) -> tuple[int, int, int]:
    """Major type, argument, and where the head ends."""
    major, low = data[at] >> 5, data[at] & 0x1F
    if low < 24:
        return major, low, at + 1
    if low > 27:
        raise ValueError(f"byte {at}: not a definite length")
    end = at + 1 + (1 << (low - 24))
    if end > len(data):
        raise ValueError(f"byte {at}: ends inside a head")
    return major, int.from_bytes(data[at + 1 : end], "big"), end


def read(data: bytes, at: int = 0) -> tuple[object, int]:
    """A value, and where it ends."""
    major, n, at = head(data, at)
    if major == UINT:
        return n, at
    if major == NINT:
        return -1 - n, at
    if major in (BYTES, TEXT):
        if at + n > len(data):
            raise ValueError(f"byte {at}: ends inside a string")
        part = data[at : at + n]
        return (part.decode() if major == TEXT else part), at + n
    if major == ARRAY:
        found = []
        for _ in range(n):
            value, at = read(data, at)
            found.append(value)
        return found, at
    if major == MAP:
        pairs = {}
        for _ in range(n):
            key, at = read(data, at)
            pairs[key], at = read(data, at)
        return pairs, at
    if major == TAG:
        value, at = read(data, at)
        return Tag(n, value), at
    if n not in SIMPLES:
        raise ValueError(f"byte {at}: simple value {n}")
    return SIMPLES[n], at


def parse(data: bytes) -> object:
    """A value that takes up all bytes."""
    value, end = read(data)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes follow the value")
    return value


def locate(data: bytes, at: int, *path: int) -> int | None:
    """Where the value under these keys of nested maps starts; nothing, if it is not there."""
    for wanted in path:
        major, n, at = head(data, at)
        if major != MAP:
            raise ValueError(f"byte {at}: not a map")
        for _ in range(n):
            key, at = read(data, at)
            if key == wanted:
                break
            _, at = read(data, at)
        else:
            return None
    return at


def _head(major: int, n: int) -> bytes:
    if n < 24:
        return bytes([major << 5 | n])
    size = next(size for size in (1, 2, 4, 8) if n < 1 << (8 * size))
    return bytes([major << 5 | 23 + size.bit_length()]) + n.to_bytes(size, "big")


def write(value: object) -> bytes:
    """The one deterministic encoding."""
    if value is None or isinstance(value, bool):
        return bytes([SIMPLE << 5 | next(n for n, simple in SIMPLES.items() if simple is value)])
    if isinstance(value, int):
        return _head(UINT, value) if value >= 0 else _head(NINT, -1 - value)
    if isinstance(value, bytes):
        return _head(BYTES, len(value)) + value
    if isinstance(value, str):
        return _head(TEXT, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(ARRAY, len(value)) + b"".join(map(write, value))
    if isinstance(value, dict):
        pairs = sorted((write(key), write(value)) for key, value in value.items())
        return _head(MAP, len(pairs)) + b"".join(key + value for key, value in pairs)
    if isinstance(value, Tag):
        return _head(TAG, value.number) + write(value.value)
    raise TypeError(f"cannot encode {type(value).__name__}")
