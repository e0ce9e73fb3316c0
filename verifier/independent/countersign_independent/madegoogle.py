"""A made-up Google: certificates of a TPM's key, the key's word about another, and endorsements of firmware.

In: what it is like. Out: bytes. For tests and for googles.py. Keys follow from numbers, and are public. Nothing here is used to judge anything.
"""

import base64
import datetime
import functools
import hashlib
import random

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from . import der, digests, tpmkeys
from .breakder import element
from .der import oid
from .reopen import sized

SHA = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
KEY_USAGE, CONSTRAINTS, PURPOSES, NAMES = "2.5.29.15", "2.5.29.19", "2.5.29.37", "2.5.29.17"
INSTANCE = "1.3.6.1.4.1.11129.2.1.21"
OF_ENDORSEMENT_KEYS, OF_ATTESTATION_KEYS = "2.23.133.8.1", "2.23.133.8.3"


# ---------------------------------------------------------------- keys


def _prime(rng, bits):
    while True:
        out = rng.getrandbits(bits) | 3 << bits - 2 | 1
        if all(out % small for small in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)) and pow(2, out - 1, out) == 1:
            if all(pow(base, out - 1, out) == 1 for base in (3, 5, 7, 11)) and out % 65537 != 1:
                return out


@functools.cache
def rsa_key(number, bits=2048, exponent=65537):
    rng = random.Random(f"rsa {number} {bits}")
    while True:
        p, q = _prime(rng, bits // 2), _prime(rng, bits // 2)
        totient = (p - 1) * (q - 1)
        if p != q and totient % exponent and (exponent != 3 or totient % 3):
            break
    d = pow(exponent, -1, totient)
    public = rsa.RSAPublicNumbers(exponent, p * q)
    private = rsa.RSAPrivateNumbers(p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public)
    return private.private_key()


@functools.cache
def ec_key(number, bits=256):
    return ec.derive_private_key(number + 1000, ec.SECP256R1() if bits == 256 else ec.SECP384R1())


def spki(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def pin(key):
    return hashlib.sha384(spki(key)).hexdigest()


def signed(key, data, scheme):
    """scheme: "pkcs1", "pss" or "ecdsa", a digest, and for PSS the length of the salt."""
    kind, digest, *salt = scheme
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(SHA[digest]))
    if kind == "pss":
        return key.sign(data, padding.PSS(padding.MGF1(SHA[digest]), salt[0]), SHA[digest])
    return key.sign(data, padding.PKCS1v15(), SHA[digest])


# ---------------------------------------------------------------- certificates


def sequence(*parts):
    return element(0x30, b"".join(parts))


def integer(value):
    return element(2, value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True))


def identifier(word):
    return element(6, oid(word))


def attribute(word, value, tag=der.OCTETS):
    return element(0x31, sequence(identifier(word), element(tag, value)))


def named(word):
    """A name of one common name, or of nothing."""
    return sequence(attribute("2.5.4.3", word.encode(), 0x0C)) if word else sequence()


def when(seconds):
    return element(0x18, datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y%m%d%H%M%SZ").encode())


def _digest(word):
    return sequence(identifier("2.16.840.1.101.3.4.2." + {"sha256": "1", "sha384": "2", "sha512": "3"}[word]), b"\x05\x00")


def algorithm(scheme):
    kind, digest, *salt = scheme
    at = ("sha256", "sha384", "sha512").index(digest)
    if kind == "ecdsa":
        return sequence(identifier(f"1.2.840.10045.4.3.{2 + at}"))
    if kind == "pkcs1":
        return sequence(identifier(f"1.2.840.113549.1.1.{11 + at}"), b"\x05\x00")
    mask = sequence(identifier("1.2.840.113549.1.1.8"), _digest(digest))
    return sequence(
        identifier("1.2.840.113549.1.1.10"),
        sequence(element(0xA0, _digest(digest)), element(0xA1, mask), element(0xA2, integer(salt[0]))),
    )


def usage(*bits):
    """A keyUsage of these bits."""
    if not bits:
        return element(3, b"\x00")
    size = max(bits) // 8 + 1
    value = sum(1 << 8 * size - 1 - one for one in bits)
    return element(3, bytes([8 * size - 1 - max(bits)]) + value.to_bytes(size, "big"))


def constraints(issues, length=None):
    return sequence(*([element(1, b"\xff")] if issues else []), *([integer(length)] if length is not None else []))


def purposes(*words):
    return sequence(*map(identifier, words))


def maker(*attributes):
    """A subjectAltName of one directory name."""
    return sequence(element(0xA4, sequence(*attributes)))


MAKER, MODEL = attribute("2.23.133.2.1", b"id:474F4F47", 0x0C), attribute("2.23.133.2.2", b"vTPM", 0x0C)


def instance(zone="z", project_number=1, project="project", number=42, name="m", more=b""):
    words = [element(0x0C, word.encode()) for word in (zone, project, name)]
    return sequence(words[0], integer(project_number), words[1], integer(number), words[2], more)


class Certificate:
    """One that nothing is wrong with, until an attribute is set otherwise."""

    def __init__(self, subject, issuer, key, signer, extensions, at):
        self.subject, self.issuer, self.key, self.signer = subject, issuer, key, signer
        self.extensions = extensions  # by identifier: critical, value
        self.start, self.stop = at - 1000, at + 1_000_000
        self.scheme = None
        self.version, self.serial = 2, 5
        self.alter = lambda body: body
        self.more = b""

    def der(self):
        scheme = self.scheme or (("ecdsa", "sha256") if isinstance(self.signer, ec.EllipticCurvePrivateKey) else ("pkcs1", "sha256"))
        named_ = algorithm(scheme)
        body = [element(0xA0, integer(self.version)), integer(self.serial), named_, named(self.issuer)]
        body += [sequence(when(self.start), when(self.stop)), named(self.subject), spki(self.key)]
        every = []
        for word, (critical, value) in self.extensions.items():
            every.append(sequence(identifier(word), *([element(1, b"\xff")] if critical else []), element(4, value)))
        if every:
            body.append(element(0xA3, sequence(*every)))
        body = self.alter(sequence(*body))
        return sequence(body, named_, element(3, b"\x00" + signed(self.signer, body, scheme))) + self.more


def of_issuer(length=None):
    return {CONSTRAINTS: (True, constraints(True, length)), KEY_USAGE: (True, usage(5, 6))}


def of_key():
    return {
        CONSTRAINTS: (True, constraints(False)),
        KEY_USAGE: (True, usage(0)),
        PURPOSES: (False, purposes(OF_ENDORSEMENT_KEYS)),
        NAMES: (True, maker(MAKER, MODEL)),
        INSTANCE: (False, instance()),
    }


def pem(*ders):
    return b"".join(b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(one) + b"-----END CERTIFICATE-----\n" for one in ders)


# ---------------------------------------------------------------- messages


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def message(fields):
    """Fields of numbers, bytes, messages, or raw ones, which stand as they are."""
    out = b""
    for number, value in fields:
        if number is None:
            out += value
        elif isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            inner = message(value) if isinstance(value, list) else value
            out += varint(number << 3 | 2) + varint(len(inner)) + inner
    return out


# ---------------------------------------------------------------- a machine


class Google:
    """What Google says of one machine, until an attribute is set otherwise. at is the time of the opening, in milliseconds."""

    def __init__(self, at, launch, kind):
        self.at, self.seconds = at, at // 1000
        self.key = rsa_key(1)
        root, issuer = ec_key(1), rsa_key(2)
        self.certificates = [
            Certificate("", "issuer", self.key, issuer, of_key(), self.seconds),
            Certificate("issuer", "root", issuer, root, of_issuer(0), self.seconds),
            Certificate("root", "root", root, root, of_issuer(), self.seconds),
        ]
        self.attributes, self.scheme, self.name_algorithm, self.policy = 0x00050072, ("pkcs1", "sha256"), "sha256", b""
        self.qualifying = None
        self.change_key = lambda key: key
        self.change_chain = lambda ders: ders
        self.change_all = lambda every: every
        # The endorsement.
        top, endorser = rsa_key(3), rsa_key(4)
        signs = {CONSTRAINTS: (True, constraints(False)), KEY_USAGE: (True, usage(0))}
        self.endorsers = [
            Certificate("endorser", "top", endorser, top, signs, self.seconds),
            Certificate("top", "top", top, top, of_issuer(), self.seconds),
        ]
        entry = [(1, 4), (2, launch)] if kind == 7 else [(1, 4), (2, 1), (3, launch)]
        self.statement = [(1, [(1, self.seconds - 10)]), (2, 77), (3, b"commit"), (5, b"\xab" * 48)]
        self.statement.append((kind, [(1, 5), (2, entry)]))
        self.endorsed = True
        self.endorsers_scheme = ("pss", "sha256", 32)
        self.issuers_text = None
        self.change_endorsement = lambda data: data
        self.change_issuers = lambda ders: ders
        self.change_signed = lambda fields: fields
        self.change_outer = lambda fields: fields

    def public(self):
        head = {"sha256": b"\x00\x0b", "sha384": b"\x00\x0c"}[self.name_algorithm] + self.attributes.to_bytes(4, "big") + sized(self.policy)
        digest = {"sha256": b"\x00\x0b", "sha384": b"\x00\x0c"}[self.scheme[1]]
        numbers = self.key.public_key().public_numbers()
        if isinstance(self.key, rsa.RSAPrivateKey):
            size = numbers.n.bit_length() // 8
            bits = numbers.n.bit_length().to_bytes(2, "big")
            return b"\x00\x01" + head + b"\x00\x10\x00\x14" + digest + bits + bytes(4) + sized(numbers.n.to_bytes(size, "big"))
        size = 32 if self.key.curve.name == "secp256r1" else 48
        curve = b"\x00\x03" if size == 32 else b"\x00\x04"
        point = sized(numbers.x.to_bytes(size, "big")) + sized(numbers.y.to_bytes(size, "big"))
        return b"\x00\x23" + head + b"\x00\x10\x00\x18" + digest + curve + b"\x00\x10" + point

    def word(self, about, anchor):
        """The platform-key of the evidence: its word about the attestation key."""
        public = self.public()
        key = tpmkeys.Key(about)
        algorithm_ = {"sha256": 0x0B, "sha384": 0x0C}[self.name_algorithm]
        name = tpmkeys.data_name(algorithm_, public)
        said = bytes.fromhex("ff5443478017") + sized(tpmkeys.data_name(algorithm_, b"\x40\x00\x00\x0b" + name))
        said += sized(self.qualifying or digests.sha256(anchor)) + bytes(16) + b"\x01" + bytes(8) + sized(key.name) + sized(key.qualified)
        out = signed(self.key, said, self.scheme)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            size = 32 if self.key.curve.name == "secp256r1" else 48
            halves = der.Fields(der.one(out, der.SEQUENCE).content)
            out = b"".join(sized(der.integer(halves.take()).to_bytes(size, "big")) for _ in range(2))
            start = b"\x00\x18"
        else:
            out, start = sized(out), b"\x00\x14"
        digest = {"sha256": b"\x00\x0b", "sha384": b"\x00\x0c"}[self.scheme[1]]
        return self.change_key({1: public, 2: said, 3: start + digest + out})

    def endorsement(self):
        ders = [one.der() for one in self.endorsers]
        issuers = self.change_issuers(ders[1:])
        text = self.issuers_text if self.issuers_text is not None else pem(*reversed(issuers))
        inner = message(self.change_signed([*self.statement, (4, ders[0]), (6, text)]))
        outer = [(1, inner), (2, signed(self.endorsers[0].key, inner, self.endorsers_scheme))]
        return self.change_endorsement(message(self.change_outer(outer)))

    def evidence(self, given, about, anchor):
        """A platform-evidence, decoded, with all that is Google's exchanged; about is the key that Google's vouches for."""
        out = dict(given)
        every = [one for one in given[5] if one[1] < 11]
        every += [{1: 11, 2: one} for one in self.change_chain([one.der() for one in self.certificates])]
        if self.endorsed:
            every.append({1: 12, 2: self.endorsement()})
        out[4], out[5] = self.word(about, anchor), self.change_all(every)
        return out
