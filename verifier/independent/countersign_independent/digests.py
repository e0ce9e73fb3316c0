"""Digests under domains, docs/spec/record.md, "Digests". In: bytes. Out: digests."""

import hashlib


def sha256(data):
    return hashlib.sha256(data).digest()


def tagged(domain, data):
    """H(domain, data)."""
    return sha256(b"countersign/" + domain + b"/v1\x00" + data)


def anchor(binding):
    return hashlib.sha512(b"countersign/anchor/v1\x00" + binding).digest()


def artifact(data):
    return tagged(b"artifact", data)


def leaf(data):
    return sha256(b"\x00" + data)


def node(left, right):
    return sha256(b"\x01" + left + right)
