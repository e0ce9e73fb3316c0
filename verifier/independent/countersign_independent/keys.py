"""The keys of the corpus, which are public: their seeds are 32 equal bytes. For the differ. In: key ids. Out: statements."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import cbor, digests

_keys = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(256)]
KEYS = {digests.sha256(key.public_key().public_bytes_raw()): key for key in _keys}


def public(number):
    return _keys[number].public_key().public_bytes_raw()


def sign(type_, key_id, payload, signature=bytes(64)):
    """A signed statement: by that key if it is one of these and no signature is given, else with this signature."""
    header = cbor.encode({1: -19, 4: key_id, 16: type_})
    if key_id in KEYS and signature == bytes(64):
        signature = KEYS[key_id].sign(cbor.encode(["Signature1", header, b"", payload]))
    return b"\xd2" + cbor.encode([header, {}, payload, signature])
