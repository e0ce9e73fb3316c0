"""Certificates of a TPM's key, docs/spec/tpm-keys.md, "Certificates". In: DER, the key's own first; roots, a moment. Out: checks, the key.

Only what a platform's attestation key needs: no certificates of endorsement keys, and no lists, which profiles have no place for.
"""

import hashlib

from . import der, x509
from .appraisal import Checks
from .cbor import Malformed
from .der import Fields, oid
from .timestamp import FOUR

MOST_ISSUERS = 4
GOOGLES_ROOTS = [
    bytes.fromhex("13049d8f8816caa7948217e9342e413aed87e74b83835bdfd0697cbe48032a4ef6081fb3114c72c645f1f4633d420ffb"),
    bytes.fromhex("280914468f4137ceb7d07a0d4de67825aba569f65fd7aa5c056fa73eaa63099d8524204548bc3a7f1595b0592b0d5ade"),
]
ALTERNATIVE_NAME, MANUFACTURER = oid("2.5.29.17"), oid("2.23.133.2.1")
PURPOSES = [[oid("2.23.133.8.1")], [oid("2.23.133.8.3")]]
INSTANCE = oid("1.3.6.1.4.1.11129.2.1.21")
DIRECTORY_NAME, UTF8 = 0xA4, 0x0C
MOST = 2**64 - 1


def attests(one):
    """tpm.chain.purpose of an attestation key."""
    issues = one.constraints is not None and one.constraints[0]
    known = one.critical <= FOUR | {ALTERNATIVE_NAME}
    return one.usage == {x509.DIGITAL_SIGNATURE} and one.purposes in PURPOSES and not issues and known


def maker(one):
    """The one manufacturer in the one directory name of subjectAltName, or Malformed."""
    if ALTERNATIVE_NAME not in one.extensions:
        raise Malformed("no subjectAltName")
    names = Fields(der.one(one.extensions[ALTERNATIVE_NAME], der.SEQUENCE).content).rest()
    if len(names) != 1 or names[0].tag != DIRECTORY_NAME:
        raise Malformed("not one directory name")
    found = []
    for part in Fields(der.one(names[0].content, der.SEQUENCE).content).rest(der.SET):
        for pair in Fields(part.content).rest(der.SEQUENCE):
            fields = Fields(pair.content)
            name, value = fields.take(der.OID).content, fields.take().content
            fields.end()
            if name == MANUFACTURER:
                found.append(value)
    if len(found) != 1 or not 1 <= len(found[0]) <= 64 or not all(0x21 <= byte <= 0x7E for byte in found[0]):
        raise Malformed("manufacturer")
    return found[0]


def machine(one):
    """(project, number of the machine) that a certificate is for; None where it does not say; or Malformed."""
    if INSTANCE not in one.extensions:
        return None
    fields = Fields(der.one(one.extensions[INSTANCE], der.SEQUENCE).content)
    text(fields.take(UTF8))
    number(fields.take(der.INTEGER))
    project, number_ = text(fields.take(UTF8)), number(fields.take(der.INTEGER))
    text(fields.take(UTF8))
    fields.maybe(0xA0)
    fields.end()
    return project, number_


def text(element):
    try:
        return element.content.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("no UTF-8") from None


def number(element):
    out = der.integer(element)
    if out > MOST:
        raise Malformed("too large")
    return out


def _attempt(read, one):
    try:
        return read(one)
    except Malformed:
        return None


def issued(chain):
    """Whether each issuer issued the one before, and the last one itself."""
    pairs = list(zip(chain[1:], chain)) + [(chain[-1], chain[-1])]
    return all(x509.issued(issuer, one, min(below, len(chain) - 2)) for below, (issuer, one) in enumerate(pairs))


def pin(one):
    """What a trust file names a root by."""
    return hashlib.sha384(one.spki_raw).digest()


def appraise(certificates, roots, instances, moment):
    """(checks, the key that is vouched for or None). instances is None where nobody asks for the machine."""
    checks = Checks(set())
    see = checks.see
    chain = None
    if 2 <= len(certificates) <= 1 + MOST_ISSUERS:
        chain = [_attempt(x509.certificate, one) for one in certificates]
    good = see("tpm.chain.structure", chain is not None and None not in chain)
    see("tpm.chain.path", issued(chain) if good else None)
    see("tpm.chain.root", pin(chain[-1]) in roots if good else None)
    see("tpm.chain.validity", all(one.valid_at(moment) for one in chain) if good else None)
    see("tpm.chain.revocation", None)
    see("tpm.chain.purpose", attests(chain[0]) if good else None)
    see("tpm.chain.maker", _attempt(maker, chain[0]) is not None if good else None)
    _machine(checks, chain[0] if good else None, instances)
    own = x509.key(chain[0]) if good else None
    accepted = own is not None and (own.ec is not None or own.e == 65537)
    see("tpm.chain.key", accepted if good else None)
    see("tpm.chain.activation", None)
    return checks, material(own) if accepted and not checks.failed() else None


def _machine(checks, one, instances):
    """tpm.chain.instance: a rule, unless what the certificate says is malformed."""
    try:
        found = machine(one) if one else None
    except Malformed:
        checks.see("tpm.chain.instance", False)
        return
    if one is None or instances is None:
        checks.see("tpm.chain.instance", None)
        return
    checks.rules = {"tpm.chain.instance"}
    checks.see("tpm.chain.instance", found in instances)


def material(own):
    """What makes up a key of a certificate, as tpmkeys.Key has it."""
    if own.ec is None:
        return own.n
    numbers = own.ec.public_numbers()
    return own.ec.curve.name, numbers.x, numbers.y
