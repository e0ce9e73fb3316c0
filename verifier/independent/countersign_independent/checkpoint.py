"""Checkpoints and lines of witnesses, docs/spec/record.md. In: bytes. Out: Checkpoint, or Malformed."""

import base64
import binascii
import unicodedata

from . import digests, ed25519
from .cbor import Malformed

MAX_SIZE = 16_384


def unbase64(word):
    """Base64 with padding that prints back to itself."""
    try:
        out = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("no base64") from None
    if base64.b64encode(out).decode() != word:
        raise Malformed("base64 in another form")
    return out


def key_hash(name, kind, key):
    return digests.sha256(name.encode() + b"\n" + bytes([kind]) + key)[:4]


def good_name(name):
    return bool(name) and not any(c == "+" or c.isspace() or unicodedata.category(c) == "Cc" for c in name)


class Checkpoint:
    """Text, size, root and lines (name, key hash, signature) of a checkpoint of this gateway."""

    def __init__(self, data, gateway):
        if len(data) > MAX_SIZE:
            raise Malformed("too large")
        try:
            lines = data.decode("utf-8").split("\n")
        except UnicodeDecodeError:
            raise Malformed("not UTF-8") from None
        if len(lines) < 6 or lines[-1] or lines[3]:
            raise Malformed("other lines")
        self.origin = "countersign/" + gateway.hex()
        if lines[0] != self.origin:
            raise Malformed("of another log")
        if not lines[1].isascii() or not lines[1].isdigit() or str(int(lines[1])) != lines[1] or int(lines[1]) >= 1 << 64:
            raise Malformed("size")
        self.size = int(lines[1])
        self.root = unbase64(lines[2])
        if len(self.root) != 32:
            raise Malformed("root")
        self.text = "\n".join(lines[:3] + [""]).encode()
        self.lines = []
        for line in lines[4:-1]:
            parts = line.split(" ")
            if len(parts) != 3 or parts[0] != "—" or not good_name(parts[1]):
                raise Malformed("signature line")
            content = unbase64(parts[2])
            if len(content) < 4:
                raise Malformed("signature line")
            self.lines.append((parts[1], content[:4], content[4:]))

    def signed_by(self, name, key):
        """Whether the first line of this name and key holds."""
        for word, hash_, signature in self.lines:
            if word == name and hash_ == key_hash(name, 1, key):
                return ed25519.verify(key, signature, self.text)
        return False

    def cosignature(self, key, content):
        """The time of a witness's line, or None if it does not hold."""
        time = int.from_bytes(content[:8], "big")
        if len(content) != 72 or time >= 1 << 63:
            return None
        text = b"cosignature/v1\ntime %d\n" % time + self.text
        return time if ed25519.verify(key, content[8:], text) else None
