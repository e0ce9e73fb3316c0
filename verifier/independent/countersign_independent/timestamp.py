"""Tokens of outside clocks, docs/spec/timestamp.md. In: a token, an imprint, roots. Out: what came of it, and the latest time."""

import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from . import der
from .cbor import Malformed
from .der import Fields, oid

DIGESTS = {
    oid("2.16.840.1.101.3.4.2.1"): ("sha256", bytes.fromhex("3031300d060960864801650304020105000420")),
    oid("2.16.840.1.101.3.4.2.2"): ("sha384", bytes.fromhex("3041300d060960864801650304020205000430")),
    oid("2.16.840.1.101.3.4.2.3"): ("sha512", bytes.fromhex("3051300d060960864801650304020305000440")),
}
SHA256 = oid("2.16.840.1.101.3.4.2.1")
RSA_SIGNATURES = {oid("1.2.840.113549.1.1.11"): "sha256", oid("1.2.840.113549.1.1.12"): "sha384", oid("1.2.840.113549.1.1.13"): "sha512"}
EC_SIGNATURES = {oid("1.2.840.10045.4.3.2"): "sha256", oid("1.2.840.10045.4.3.3"): "sha384", oid("1.2.840.10045.4.3.4"): "sha512"}
RSA, EC = oid("1.2.840.113549.1.1.1"), oid("1.2.840.10045.2.1")
CURVES = {oid("1.2.840.10045.3.1.7"): (ec.SECP256R1, 32), oid("1.3.132.0.34"): (ec.SECP384R1, 48)}
HASHES = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
TST_INFO, SIGNED_DATA = oid("1.2.840.113549.1.9.16.1.4"), oid("1.2.840.113549.1.7.2")
CONTENT_TYPE, MESSAGE_DIGEST, CERTIFICATE_V2 = oid("1.2.840.113549.1.9.3"), oid("1.2.840.113549.1.9.4"), oid("1.2.840.113549.1.9.16.2.47")
SUBJECT_KEY, KEY_USAGE, CONSTRAINTS, PURPOSES = oid("2.5.29.14"), oid("2.5.29.15"), oid("2.5.29.19"), oid("2.5.29.37")
FOUR = {SUBJECT_KEY, KEY_USAGE, CONSTRAINTS, PURPOSES}
TIME_STAMPING, ANY_PURPOSE = oid("1.3.6.1.5.5.7.3.8"), oid("2.5.29.37.0")


def _absent_or_null(parameters):
    if parameters is not None and parameters.raw != b"\x05\x00":
        raise Malformed("parameters")


def digest_name(algorithm):
    name, parameters = algorithm
    if name not in DIGESTS:
        raise Malformed("digest algorithm")
    _absent_or_null(parameters)
    return DIGESTS[name][0]


class Key:
    """An accepted key of a certificate, or Malformed."""

    def __init__(self, spki):
        fields = Fields(spki)
        name, parameters = der.algorithm(fields.take(der.SEQUENCE))
        content = der.bits(fields.take(der.BITS))
        fields.end()
        if name == RSA:
            _absent_or_null(parameters)
            inner = Fields(der.one(content, der.SEQUENCE).content)
            self.n, self.e = der.integer(inner.take(der.INTEGER)), der.integer(inner.take(der.INTEGER))
            inner.end()
            if not 2048 <= self.n.bit_length() <= 4096 or not self.n & 1 or not self.e & 1 or not 3 <= self.e < 1 << 32:
                raise Malformed("RSA key")
            self.ec = None
        elif name == EC:
            curve = CURVES.get(parameters.content) if parameters is not None and parameters.tag == der.OID else None
            if curve is None or len(content) != 1 + 2 * curve[1] or content[0] != 4:
                raise Malformed("curve")
            try:
                self.ec = ec.EllipticCurvePublicKey.from_encoded_point(curve[0](), content)
            except ValueError:
                raise Malformed("point") from None
        else:
            raise Malformed("key")

    def made(self, algorithm, signature, message, digest=None):
        """Whether it made the signature; digest is that of the SignerInfo, where there is one."""
        name, parameters = algorithm
        if self.ec is None:
            if name == RSA and digest is not None:
                named = digest
            else:
                named = RSA_SIGNATURES.get(name)
            if named is None or (digest is not None and named != digest):
                return False
            _absent_or_null(parameters)
            size = (self.n.bit_length() + 7) // 8
            value = int.from_bytes(signature, "big")
            if len(signature) != size or value >= self.n:
                return False
            prefix = next(p for word, p in DIGESTS.values() if word == named)
            info = prefix + hashlib.new(named, message).digest()
            wanted = b"\x00\x01" + b"\xff" * (size - 3 - len(info)) + b"\x00" + info
            return pow(value, self.e, self.n).to_bytes(size, "big") == wanted
        named = EC_SIGNATURES.get(name)
        if named is None or parameters is not None or (digest is not None and named != digest):
            return False
        inner = Fields(der.one(signature, der.SEQUENCE).content)
        r, s = der.integer(inner.take(der.INTEGER)), der.integer(inner.take(der.INTEGER))
        inner.end()
        try:
            self.ec.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(HASHES[named]()))
            return True
        except InvalidSignature:
            return False


class Certificate:
    def __init__(self, raw):
        self.raw = raw
        outer = Fields(der.one(raw, der.SEQUENCE).content)
        body = outer.take(der.SEQUENCE)
        self.signed = body.raw
        algorithm = outer.take(der.SEQUENCE)
        self.algorithm = der.algorithm(algorithm)
        self.signature = der.bits(outer.take(der.BITS))
        outer.end()
        fields = Fields(body.content)
        if der.integer(der.one(fields.take(0xA0).content, der.INTEGER)) != 2:
            raise Malformed("version")
        self.serial = der.signed(fields.take(der.INTEGER))
        if fields.take(der.SEQUENCE).raw != algorithm.raw:
            raise Malformed("two algorithms")
        self.issuer = fields.take(der.SEQUENCE).raw
        times = Fields(fields.take(der.SEQUENCE).content)
        self.start, self.stop = der.time(times.take()), der.time(times.take())
        times.end()
        self.subject = fields.take(der.SEQUENCE).raw
        spki = fields.take(der.SEQUENCE)
        self.spki_raw, self.spki = spki.raw, spki.content
        fields.maybe(0x81) or fields.maybe(0xA1)
        fields.maybe(0x82) or fields.maybe(0xA2)
        extensions = fields.maybe(0xA3)
        fields.end()
        self.subject_key = self.usage = self.constraints = self.purposes = None
        self.critical = set()
        self.extensions = {}
        if extensions:
            every = Fields(der.one(extensions.content, der.SEQUENCE).content).rest(der.SEQUENCE)
            if len(every) > 32:
                raise Malformed("extensions")
            for one in every:
                name, critical, value = extension(one)
                if name in self.extensions:
                    raise Malformed("extension twice")
                self.extensions[name] = value
                if critical:
                    self.critical.add(name)
                self._read(name, value)

    def _read(self, name, value):
        if name == SUBJECT_KEY:
            self.subject_key = der.one(value, der.OCTETS).content
        elif name == KEY_USAGE:
            raw = der.one(value, der.BITS).content
            if not raw or raw[0] > 7 or (raw[0] and len(raw) == 1) or (len(raw) > 1 and raw[-1] & ((1 << raw[0]) - 1)):
                raise Malformed("key usage")
            self.usage = {i for i in range(8 * (len(raw) - 1)) if raw[1 + i // 8] >> (7 - i % 8) & 1}
        elif name == CONSTRAINTS:
            fields = Fields(der.one(value, der.SEQUENCE).content)
            flag, length = fields.maybe(der.BOOLEAN), fields.maybe(der.INTEGER)
            fields.end()
            self.constraints = (der.boolean(flag) if flag else False, der.integer(length) if length else None)
            if length and self.constraints[1] >= 2**64:
                raise Malformed("path length")
        elif name == PURPOSES:
            self.purposes = [one.content for one in Fields(der.one(value, der.SEQUENCE).content).rest(der.OID)]

    def known_critical(self):
        return self.critical <= FOUR

    def may_issue(self):
        return (
            self.known_critical()
            and self.constraints is not None
            and self.constraints[0]
            and (self.usage is None or 5 in self.usage)
            and (self.purposes is None or TIME_STAMPING in self.purposes or ANY_PURPOSE in self.purposes)
        )

    def may_stamp(self):
        return (
            self.known_critical()
            and PURPOSES in self.critical
            and self.purposes == [TIME_STAMPING]
            and (self.usage is None or bool(self.usage & {0, 1}))
            and not (self.constraints is not None and self.constraints[0])
        )

    def valid_at(self, millis):
        return self.start * 1000 <= millis <= self.stop * 1000 + 999

    def made(self, *arguments):
        try:
            return Key(self.spki).made(*arguments)
        except Malformed:
            return False


def extension(element):
    """(object identifier, critical, value)."""
    fields = Fields(element.content)
    name = fields.take(der.OID).content
    flag = fields.maybe(der.BOOLEAN)
    value = fields.take(der.OCTETS).content
    fields.end()
    return name, der.boolean(flag) if flag else False, value


def root(raw):
    """A certificate that may be pinned, or Malformed."""
    out = Certificate(raw)
    Key(out.spki)
    if not out.may_issue():
        raise Malformed("may not issue")
    return out


class Token:
    """A token of the accepted form, or Malformed."""

    def __init__(self, data):
        if len(data) > 65_536:
            raise Malformed("too large")
        outer = Fields(der.one(data, der.SEQUENCE).content)
        if outer.take(der.OID).content != SIGNED_DATA:
            raise Malformed("no signed data")
        fields = Fields(der.one(outer.take(0xA0).content, der.SEQUENCE).content)
        outer.end()
        if der.integer(fields.take(der.INTEGER)) != 3:
            raise Malformed("version")
        for one in Fields(fields.take(der.SET).content).rest():
            der.algorithm(one)
        inner = Fields(fields.take(der.SEQUENCE).content)
        if inner.take(der.OID).content != TST_INFO:
            raise Malformed("content")
        self.content = der.one(inner.take(0xA0).content, der.OCTETS).content
        inner.end()
        certificates = fields.maybe(0xA0)
        self.certificates = []
        if certificates:
            every = Fields(certificates.content).rest(der.SEQUENCE)
            if len(every) > 8:
                raise Malformed("certificates")
            self.certificates = [Certificate(one.raw) for one in every]
        fields.maybe(0xA1)
        signers = Fields(fields.take(der.SET).content).rest(der.SEQUENCE)
        fields.end()
        if len(signers) != 1:
            raise Malformed("signers")
        self._signer(Fields(signers[0].content))
        self._info(Fields(der.one(self.content, der.SEQUENCE).content))

    def _signer(self, fields):
        version = der.integer(fields.take(der.INTEGER))
        self.issuer = self.subject_key = None
        if fields.peek() == 0x80:
            self.subject_key = fields.take().content
            wanted = 3
        else:
            sid = Fields(fields.take(der.SEQUENCE).content)
            self.issuer = sid.take(der.SEQUENCE).raw, der.signed(sid.take(der.INTEGER))
            sid.end()
            wanted = 1
        if version != wanted:
            raise Malformed("version of the signer")
        self.digest_algorithm = der.algorithm(fields.take(der.SEQUENCE))
        attributes = fields.take(0xA0)
        self.signed = b"\x31" + attributes.raw[1:]
        found = {}
        for one in Fields(attributes.content).rest(der.SEQUENCE):
            inner = Fields(one.content)
            name = inner.take(der.OID).content
            values = inner.take(der.SET)
            inner.end()
            if name in (CONTENT_TYPE, MESSAGE_DIGEST, CERTIFICATE_V2):
                if name in found:
                    raise Malformed("attribute twice")
                found[name] = der.one(values.content)
        if len(found) != 3:
            raise Malformed("attributes")
        self.attributes = found
        self.signature_algorithm = der.algorithm(fields.take(der.SEQUENCE))
        self.signature = fields.take(der.OCTETS).content
        fields.maybe(0xA1)
        fields.end()

    def _info(self, fields):
        if der.integer(fields.take(der.INTEGER)) != 1:
            raise Malformed("version of the content")
        fields.take(der.OID).content
        imprint = Fields(fields.take(der.SEQUENCE).content)
        if digest_name(der.algorithm(imprint.take(der.SEQUENCE))) != "sha256":
            raise Malformed("imprint")
        self.imprint = imprint.take(der.OCTETS).content
        imprint.end()
        if len(self.imprint) != 32:
            raise Malformed("imprint")
        der.integer(fields.take(der.INTEGER))
        word = fields.take(der.GENERALIZED_TIME).content.decode("latin-1")
        found = re.fullmatch(r"([0-9]{4})([0-9]{10})(?:\.([0-9]{0,8}[1-9]))?Z", word)
        if not found:
            raise Malformed("time")
        nanos = int((found[3] or "").ljust(9, "0"))
        self.time = der.seconds(int(found[1]), found[2], leap=True) * 1000 + -(-nanos // 1_000_000)
        self.latest = self.time
        accuracy = fields.maybe(der.SEQUENCE)
        if accuracy:
            inner = Fields(accuracy.content)
            whole, millis, micros = inner.maybe(der.INTEGER), inner.maybe(0x80), inner.maybe(0x81)
            inner.end()
            if whole:
                self.latest += 1000 * der.integer(whole)
            for one in (millis, micros):
                if one and not 1 <= der.integer(one) <= 999:
                    raise Malformed("accuracy")
            self.latest += (der.integer(millis) if millis else 0) + (1 if micros else 0)
        flag = fields.maybe(der.BOOLEAN)
        if flag:
            der.boolean(flag)
        nonce = fields.maybe(der.INTEGER)
        if nonce:
            der.integer(nonce)
        fields.maybe(0xA0)
        extensions = fields.maybe(0xA1)
        fields.end()
        if extensions:
            for one in Fields(extensions.content).rest(der.SEQUENCE):
                if extension(one)[1]:
                    raise Malformed("critical extension")


MAX_SIGNATURES = 16


def leads(way, others, roots):
    """Whether names lead from the last certificate of a way to a pinned root; a way has at most 4, none twice."""
    last, raws = way[-1], {one.raw for one in way}
    if any(one.subject == last.issuer and one.raw not in raws for one in roots):
        return True
    if len(way) == 3:
        return False
    return any(one.subject == last.issuer and one.raw not in raws and leads(way + [one], others, roots) for one in others)


class Search:
    """Looks for a way that holds, depth first, and looks at so many signatures and no more."""

    def __init__(self, time, others, roots):
        self.time, self.others, self.roots, self.left = time, others, roots, MAX_SIGNATURES

    def _issued(self, way, issuer):
        if self.left == 0:
            return False
        self.left -= 1
        length = issuer.constraints[1] if issuer.constraints else None
        if not issuer.may_issue() or not issuer.valid_at(self.time) or (length is not None and length < len(way) - 1):
            return False
        return issuer.made(way[-1].algorithm, way[-1].signature, way[-1].signed)

    def holds(self, way):
        last, raws = way[-1], {one.raw for one in way}
        for one in self.roots:
            if one.subject == last.issuer and one.raw not in raws and self._issued(way, one):
                return True
        if len(way) == 3:
            return False
        for one in self.others:
            if one.subject == last.issuer and one.raw not in raws and self.holds(way + [one]) and self._issued(way, one):
                return True
        return False


def _attributes_hold(token, certificate, digest):
    """Step 5, without the digest algorithm itself."""
    kind, said, listed = (token.attributes[name] for name in (CONTENT_TYPE, MESSAGE_DIGEST, CERTIFICATE_V2))
    if (kind.tag, kind.content) != (der.OID, TST_INFO):
        return False
    if (said.tag, said.content) != (der.OCTETS, hashlib.new(digest, token.content).digest()):
        return False
    if listed.tag != der.SEQUENCE:
        return False
    first = Fields(Fields(Fields(listed.content).take(der.SEQUENCE).content).take(der.SEQUENCE).content)
    named = first.maybe(der.SEQUENCE)
    word = digest_name(der.algorithm(named)) if named else "sha256"
    return first.take(der.OCTETS).content == hashlib.new(word, certificate.raw).digest()


def verify(data, imprint, roots):
    """("holds" or "nobody's" or the first step that fails, latest time or None)."""
    try:
        token = Token(data)
    except Malformed:
        return "form", None
    if token.imprint != imprint:
        return "imprint", None
    for one in token.certificates:
        if token.issuer == (one.issuer, one.serial) or (token.subject_key is not None and token.subject_key == one.subject_key):
            break
    else:
        return "signer's certificate", None
    if not leads([one], token.certificates, roots):
        return "nobody's", None
    if not Search(token.time, token.certificates, roots).holds([one]):
        return "way to a root", None
    if not one.valid_at(token.time) or not one.may_stamp():
        return "signer", None
    try:
        digest = digest_name(token.digest_algorithm)
        if not _attributes_hold(token, one, digest):
            return "attributes", None
    except Malformed:
        return "attributes", None
    if not one.made(token.signature_algorithm, token.signature, token.signed, digest):
        return "signature", None
    return "holds", token.latest
