"""What a TPM says, docs/spec/verification.md, "Appraisal of a TPM". In: tpm-evidence and a binding. Out: failures and facts."""

from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from . import digests, eventlog
from .cbor import Malformed

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Reader:
    """Reads numbers and byte strings from front to back."""

    def __init__(self, data, order="big"):
        self.data, self.at, self.order = data, 0, order

    def take(self, size):
        out = self.data[self.at : self.at + size]
        if len(out) != size:
            raise Malformed("ends early")
        self.at += size
        return out

    def number(self, size):
        return int.from_bytes(self.take(size), self.order)

    def tpm2b(self, most):
        size = self.number(2)
        if size > most:
            raise Malformed("too long")
        return self.take(size)

    def end(self):
        if self.at != len(self.data):
            raise Malformed("bytes after the structure")


def name_of(public):
    return b"\x00\x0b" + digests.sha256(public)


class Key:
    """A TPMT_PUBLIC of P-256 for ECDSA with SHA-256."""

    def __init__(self, data):
        r = Reader(data)
        if r.number(2) != 0x23 or r.number(2) != 0x0B:
            raise Malformed("type or name algorithm")
        self.attributes = r.number(4)
        self.policy = r.tpm2b(64)
        if [r.number(2) for _ in range(5)] != [0x10, 0x18, 0x0B, 0x03, 0x10]:
            raise Malformed("parameters")
        x, y = r.tpm2b(32), r.tpm2b(32)
        r.end()
        try:
            numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
            self.key = numbers.public_key()
        except ValueError:
            raise Malformed("no point") from None
        self.name = name_of(data)


def attestation_attributes(attributes):
    return attributes & 0x00050032 == 0x00050032 and attributes & ~(0x00050032 | 0x440) == 0


def release_key(data):
    """The release key, or Malformed."""
    key = Key(data)
    if key.attributes != 0x00040040 or key.policy:
        raise Malformed("no release key")
    return key


def signed(key, data, signature):
    """Whether a TPMT_SIGNATURE over data is valid."""
    try:
        r = Reader(signature)
        if r.number(2) != 0x18 or r.number(2) != 0x0B:
            return False
        one, two = (int.from_bytes(r.tpm2b(32), "big") for _ in range(2))
        r.end()
    except Malformed:
        return False
    if not (0 < one < ORDER and 0 < two < ORDER):
        return False
    try:
        key.verify(utils.encode_dss_signature(one, two), data, ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def attest(data, kind):
    """A TPMS_ATTEST of the given type, or Malformed."""
    r = Reader(data)
    if r.number(4) != 0xFF544347 or r.number(2) != kind:
        raise Malformed("magic or type")
    out = SimpleNamespace(signer=r.tpm2b(68), extra=r.tpm2b(66), clock=r.number(8), resets=r.number(4), restarts=r.number(4))
    out.safe = r.number(1)
    if out.safe > 1:
        raise Malformed("safe")
    out.firmware = r.number(8)
    if kind == 0x8018:
        count = r.number(4)
        if count > 16:
            raise Malformed("count")
        out.banks = []
        for _ in range(count):
            algorithm, size = r.number(2), r.number(1)
            out.banks.append((algorithm, size, r.take(size)))
        out.digest = r.tpm2b(64)
    elif kind == 0x8017:
        out.name, out.qualified = r.tpm2b(68), r.tpm2b(68)
    else:
        out.index, out.offset, out.contents = r.tpm2b(68), r.number(2), r.tpm2b(2048)
    r.end()
    return out


def policy(release):
    """Of PolicyAuthorize by the release key with the reference of the seal."""
    return digests.sha256(digests.sha256(bytes(32) + b"\x00\x00\x01\x6a" + release.name) + b"countersign-seal-v1")


def selection(quote):
    """Indexes of the one usable selection of a quote, or None."""
    if len(quote.banks) != 1:
        return None
    algorithm, size, bits = quote.banks[0]
    if algorithm != 0x0B or size != 3:
        return None
    out = [i for i in range(24) if bits[i // 8] >> (i % 8) & 1]
    return None if not out or 16 in out or 23 in out else out


def appraise(evidence, binding, release, qualifying):
    """(names of failed checks, facts or None)."""
    bad = []

    def need(good, what):
        if not good:
            bad.append(what)

    def form(read, what):
        try:
            return read()
        except Malformed:
            bad.append(what)
            return None

    key = form(lambda: Key(evidence.ak_public), "attestation key: form")
    certify = form(lambda: attest(evidence.certify, 0x8014), "certification: form")
    quote = form(lambda: attest(evidence.quote, 0x8018), "quote: form")
    if key:
        need(attestation_attributes(key.attributes), "attestation key: attributes")
        need(key.name == binding.ak_name, "attestation key: name")
        qualified = b"\x00\x0b" + digests.sha256(b"\x40\x00\x00\x0b" + key.name)
        need(signed(key.key, evidence.certify, evidence.certify_signature), "certification: signature")
        need(signed(key.key, evidence.quote, evidence.quote_signature), "quote: signature")
    for word, one in (("certification", certify), ("quote", quote)):
        if one:
            need(not key or one.signer == qualified, word + ": signer")
            need(one.extra == qualifying, word + ": qualifying data")
            need(one.safe == 1, word + ": clock")
    public = bytes.fromhex("01500020000b220800180020") + policy(release) + b"\x00\x08"
    need(evidence.nv_public == public, "certification: public area")
    if certify:
        need(certify.index == name_of(evidence.nv_public), "certification: name")
        need(certify.offset == 0 and len(certify.contents) == 8, "certification: value")
    values = None
    if quote:
        chosen = selection(quote)
        need(chosen is not None and chosen == sorted(binding.pcrs), "quote: selection")
        if chosen is not None:
            given = {one.index: one.value for one in evidence.pcrs}
            if len(given) == len(evidence.pcrs) and sorted(given) == chosen:
                need(quote.digest == digests.sha256(b"".join(given[i] for i in chosen)), "quote: digest")
                values = given
            else:
                bad.append("quote: digest")
    if quote and certify:
        same = (quote.resets, quote.restarts, quote.firmware) == (certify.resets, certify.restarts, certify.firmware)
        need(same, "pair: one session")
        need(quote.clock >= certify.clock, "pair: order of the clocks")
    if evidence.event_log is not None:
        replayed = form(lambda: eventlog.replay(evidence.event_log), "event log: form")
        if replayed is not None and values is not None:
            need(all(replayed[i] == value for i, value in values.items()), "event log: values")
    if bad:
        return bad, None
    return bad, SimpleNamespace(
        ak_name=key.name,
        counter=int.from_bytes(certify.contents, "big"),
        release=release.name,
        boots=(quote.resets, quote.restarts),
        clock=quote.clock,
        values=values,
        software=evidence.profile == 1 or quote.firmware & 0xFFFFFFFF == 0x00163636,
    )
