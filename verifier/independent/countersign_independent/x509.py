"""Certificates and revocation lists of vendors, docs/spec/snp.md, "Certificates" and "The revocation list".

In: DER. Out: certificates, lists, and whether one issued the other. The form of a certificate is that of timestamp.md.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from . import der, timestamp
from .cbor import Malformed
from .der import Fields, oid

MAX_CERTIFICATE, MAX_LIST = 32 * 1024, 1024 * 1024
PSS, MGF1 = oid("1.2.840.113549.1.1.10"), oid("1.2.840.113549.1.1.8")
COMMON_NAME = oid("2.5.4.3")
IA5 = 0x16
SIZES = {"sha256": 32, "sha384": 48, "sha512": 64}
LIST_EXTENSIONS = {oid("2.5.29.35"), oid("2.5.29.20")}
CERT_SIGN, CRL_SIGN, DIGITAL_SIGNATURE = 5, 6, 0


def certificate(data):
    """A certificate, or Malformed."""
    if len(data) > MAX_CERTIFICATE:
        raise Malformed("too large")
    return timestamp.Certificate(data)


def key(one):
    """Its accepted key, or None."""
    try:
        return timestamp.Key(one.spki)
    except Malformed:
        return None


def common_name(one):
    """The bytes of the one common name of the subject, whatever their type, or None."""
    found = []
    try:
        for part in Fields(der.one(one.subject, der.SEQUENCE).content).rest(der.SET):
            for pair in Fields(part.content).rest(der.SEQUENCE):
                fields = Fields(pair.content)
                name, value = fields.take(der.OID).content, fields.take()
                fields.end()
                if name == COMMON_NAME:
                    found.append(value)
        return found[0].content.decode("latin-1") if len(found) == 1 else None
    except Malformed:
        return None


def _pss_digest(parameters):
    """The one digest that RSASSA-PSS parameters name, with a salt of its length."""
    if parameters is None or parameters.tag != der.SEQUENCE:
        raise Malformed("parameters")
    fields = Fields(parameters.content)
    digest = timestamp.digest_name(der.algorithm(der.one(fields.take(0xA0).content)))
    mask, inner = der.algorithm(der.one(fields.take(0xA1).content))
    salt = der.integer(der.one(fields.take(0xA2).content, der.INTEGER))
    trailer = fields.maybe(0xA3)
    fields.end()
    if mask != MGF1 or inner is None or timestamp.digest_name(der.algorithm(inner)) != digest or salt != SIZES[digest]:
        raise Malformed("mask or salt")
    if trailer and der.integer(der.one(trailer.content, der.INTEGER)) != 1:
        raise Malformed("trailer")
    return digest


def made(issuer, algorithm, signature, message):
    """Whether the key of a certificate made a signature."""
    try:
        if algorithm[0] != PSS:
            return issuer.made(algorithm, signature, message)
        digest, own = timestamp.HASHES[_pss_digest(algorithm[1])](), timestamp.Key(issuer.spki)
        if own.ec is not None:
            return False
        public = rsa.RSAPublicNumbers(own.e, own.n).public_key()
        public.verify(signature, message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return True
    except (Malformed, InvalidSignature, ValueError):
        return False


def issued(issuer, one, below):
    """Whether a certificate issued another; below is how many issuers stand under the issuer."""
    constraints = issuer.constraints
    return (
        issuer.subject == one.issuer
        and issuer.known_critical()
        and constraints is not None
        and constraints[0]
        and (constraints[1] is None or constraints[1] >= below)
        and (issuer.usage is None or CERT_SIGN in issuer.usage)
        and made(issuer, one.algorithm, one.signature, one.signed)
    )


class List:
    """A revocation list, or Malformed."""

    def __init__(self, data):
        if len(data) > MAX_LIST:
            raise Malformed("too large")
        outer = Fields(der.one(data, der.SEQUENCE).content)
        body = outer.take(der.SEQUENCE)
        self.signed = body.raw
        algorithm = outer.take(der.SEQUENCE)
        self.algorithm = der.algorithm(algorithm)
        self.signature = der.bits(outer.take(der.BITS))
        outer.end()
        fields = Fields(body.content)
        if der.integer(fields.take(der.INTEGER)) != 1:
            raise Malformed("version")
        if fields.take(der.SEQUENCE).raw != algorithm.raw:
            raise Malformed("two algorithms")
        self.issuer = fields.take(der.SEQUENCE).raw
        self.start, self.stop = der.time(fields.take()), der.time(fields.take())
        entries = fields.maybe(der.SEQUENCE)
        extensions = fields.maybe(0xA0)
        fields.end()
        self.serials = set()
        for one in Fields(entries.content).rest(der.SEQUENCE) if entries else ():
            inner = Fields(one.content)
            self.serials.add(der.signed(inner.take(der.INTEGER)))
            der.time(inner.take())
            of_entry = inner.maybe(der.SEQUENCE)
            inner.end()
            if of_entry:
                self._extensions(of_entry.content, set())
        if extensions:
            self._extensions(der.one(extensions.content, der.SEQUENCE).content, LIST_EXTENSIONS)

    @staticmethod
    def _extensions(content, known):
        seen = set()
        for one in Fields(content).rest(der.SEQUENCE):
            name, critical, _ = timestamp.extension(one)
            if name in seen or (critical and name not in known):
                raise Malformed("extension of a list")
            seen.add(name)

    def genuine(self, issuer):
        usage = issuer.usage
        signs = usage is None or bool(usage & {CERT_SIGN, CRL_SIGN})
        return self.issuer == issuer.subject and signs and made(issuer, self.algorithm, self.signature, self.signed)

    def current(self, millis):
        return self.start * 1000 <= millis <= self.stop * 1000 + 999
