"""Signed statements and entries, docs/spec/record.md. In: bytes. Out: Statement or Entry, or Malformed."""

from types import SimpleNamespace

from . import cbor, ed25519, schema
from .cbor import Malformed

PREFIX, SUFFIX = "application/countersign.", "+cose"
MAX_ENTRY = 65_535


class Statement:
    """A COSE_Sign1 of the one shape that the record format knows."""

    def __init__(self, data):
        major, value, at = cbor.head(data, 0)
        if (major, value) != (6, 18):
            raise Malformed("no tag 18")
        parts, self.end = cbor.item(data, at)
        if type(parts) is not list or len(parts) != 4:
            raise Malformed("no array of four")
        header, unprotected, self.payload, self.signature = parts
        schema.raw(header)
        schema.raw(self.payload)
        schema.b64(self.signature)
        if type(unprotected) is not dict or unprotected:
            raise Malformed("unprotected header")
        fields = schema.parse(header, schema.table({"1 algorithm": int, "4 key": schema.b32, "16 type": schema.text}))
        if type(fields.algorithm) is not int or fields.algorithm != -19:
            raise Malformed("other algorithm")
        self.key_id, self.type = fields.key, fields.type
        self.signed = cbor.encode(["Signature1", header, b"", self.payload])

    def valid(self, key):
        return ed25519.verify(key, self.signature, self.signed)


def statement(data):
    """The statement that takes up all of data."""
    out = Statement(data)
    if out.end != len(data):
        raise Malformed("bytes after the statement")
    return out


def genuine(data, kind, keys, check):
    """The payload of a statement of this type by one of keys {key id: key}, or None."""
    try:
        one = statement(data)
        if one.type != PREFIX + kind + SUFFIX or one.key_id not in keys or not one.valid(keys[one.key_id]):
            return None
        return schema.parse(one.payload, check)
    except Malformed:
        return None


def newer(payload):
    """Whether a payload is of another version: all of it a map whose first key is 1 with an unsigned value other than 1."""
    try:
        value = cbor.whole(payload)
    except Malformed:
        return False
    if type(value) is not dict or next(iter(value), None) != 1:
        return False
    return type(value[1]) is int and value[1] >= 0 and value[1] != 1


_payload = {
    kind: schema.table(
        {
            "1 version": schema.uint,
            "2 place": schema.place,
            "3 body": check,
            "?-1 critical": schema.extensions,
            "?-2 optional": schema.extensions,
        }
    )
    for kind, check in schema.KINDS.items()
}


def entry(data):
    """(what, statement or None, entry or None); what is "well formed", "newer" or "malformed"."""
    try:
        one = statement(data)
    except Malformed:
        return "malformed", None, None
    if len(data) > MAX_ENTRY:
        return "malformed", one, None
    kind = one.type[len(PREFIX) : -len(SUFFIX)] if one.type.startswith(PREFIX) and one.type.endswith(SUFFIX) else None
    if kind not in _payload or newer(one.payload):
        return "newer", one, None
    try:
        payload = schema.parse(one.payload, _payload[kind])
        if payload.version != 1:
            raise Malformed("version")
    except Malformed:
        return "malformed", one, None
    return "well formed", one, SimpleNamespace(kind=kind, place=payload.place, body=payload.body, critical=payload.critical)


def tagged_item(data):
    """Where the first item under tag 18 ends."""
    major, value, at = cbor.head(data, 0)
    if (major, value) != (6, 18):
        raise Malformed("no tag 18")
    return cbor.item(data, at)[1]
