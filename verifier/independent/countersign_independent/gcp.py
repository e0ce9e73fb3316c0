"""Google's statement about the firmware that a launch measurement is of, docs/spec/gcp.md, "Launch endorsement".

In: an endorsement, the measurement that was verified, a policy, a moment. Out: checks, and whether it holds in all that was asked.
"""

from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from . import keychain, tdx, x509
from .appraisal import Checks
from .cbor import Malformed
from .protobuf import MOST, Field, message, sized

LARGEST = 256 * 1024
RULES = {"gcp.endorsement.root", "gcp.endorsement.firmware", "gcp.endorsement.svn"}
SMALL = 2**32 - 1


def policy(table):
    """The policy of a trust file's table, or one that asks nothing."""
    if table is not None:
        return table
    return SimpleNamespace(instances=None, roots=keychain.GOOGLES_ROOTS, endorsement=None)


# ---------------------------------------------------------------- the messages


def _whole(data):
    return data


def _of(fields):
    return lambda data: message(data, fields)


TIMESTAMP = {1: Field("seconds", most=MOST), 2: Field("nanoseconds", most=999_999_999)}
OF_SNP = {1: Field("processors", most=SMALL), 2: Field("measurement", sized(48), needed=True)}
OF_TDX = {1: Field("memory", most=SMALL), 2: Field("early", most=1), 3: Field("measurement", sized(48), needed=True)}
SNP = {
    1: Field("svn", most=SMALL),
    2: Field("entries", _of(OF_SNP), many=True),
    3: Field("family", sized(0, 16)),
    4: Field("image", sized(0, 16)),
    5: Field("policy", most=MOST),
    6: Field("issuers", _whole),
}
TDX = {1: Field("svn", most=SMALL), 2: Field("entries", _of(OF_TDX), many=True)}
GOLDEN = {
    1: Field("at", _of(TIMESTAMP), needed=True),
    2: Field("changelist", most=MOST),
    3: Field("commit", _whole),
    4: Field("certificate", _whole, needed=True),
    5: Field("firmware", sized(48), needed=True),
    6: Field("issuers", _whole),
    7: Field("snp", _of(SNP)),
    8: Field("tdx", _of(TDX)),
}
ENDORSEMENT = {1: Field("signed", _whole, needed=True), 2: Field("signature", _whole, needed=True)}


class Endorsement:
    """A VMLaunchEndorsement, or Malformed."""

    def __init__(self, data):
        if len(data) > LARGEST:
            raise Malformed("too large")
        outer = message(data, ENDORSEMENT)
        self.signed, self.signature = outer.signed, outer.signature
        self.said = message(outer.signed, GOLDEN)
        processors = [one.processors or 0 for one in self.said.snp.entries] if self.said.snp else []
        if len(set(processors)) != len(processors):
            raise Malformed("a number of processors twice")

    def millis(self):
        """When it was signed, in whole milliseconds."""
        at = self.said.at
        return (at.seconds or 0) * 1000 + (at.nanoseconds or 0) // 1_000_000

    def chain(self):
        """The endorser's certificate, then each issuer's, the root's last; or None."""
        try:
            issuers = tdx.pem(self.said.issuers or b"", b"CERTIFICATE")
            return [x509.certificate(one) for one in (self.said.certificate, *reversed(issuers))] if issuers else None
        except Malformed:
            return None


# ---------------------------------------------------------------- the appraisal


def _endorses(one):
    """Whether a certificate is one that signs and issues nothing."""
    issues = one.constraints is not None and one.constraints[0]
    return one.known_critical() and not issues and (one.usage is None or x509.DIGITAL_SIGNATURE in one.usage)


def _leads(chain):
    return _endorses(chain[0]) and all(x509.issued(issuer, one, below) for below, (issuer, one) in enumerate(zip(chain[1:], chain)))


def _signed(one, signature, message_):
    own = x509.key(one)
    if own is None or own.ec is not None:
        return False
    try:
        key = rsa.RSAPublicNumbers(own.e, own.n).public_key()
        key.verify(signature, message_, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        return True
    except (InvalidSignature, ValueError):
        return False


def appraise(data, kind, measurement, asked, moment):
    """(checks, whether each passed or was not asked for). kind is "snp" or "tdx"; asked is the table of the trust file, or None."""
    checks = Checks(RULES)
    see = checks.see
    try:
        one = Endorsement(data)
    except Malformed:
        one = None
    see("gcp.endorsement.structure", one is not None)
    chain = one.chain() if one else None
    see("gcp.endorsement.path", chain is not None and _leads(chain) if one else None)
    see("gcp.endorsement.root", keychain.pin(chain[-1]) in asked.roots if chain and asked else None)
    see("gcp.endorsement.validity", all(each.valid_at(moment) for each in chain) if chain else None)
    see("gcp.endorsement.signature", _signed(chain[0], one.signature, one.signed) if chain else None)
    see("gcp.endorsement.time", one.millis() <= moment if one else None)
    of = getattr(one.said, kind) if one else None
    see("gcp.endorsement.measurement", of is not None and any(each.measurement == measurement for each in of.entries) if one else None)
    named = one and asked and asked.firmware is not None
    see("gcp.endorsement.firmware", one.said.firmware in asked.firmware if named else None)
    floor = of and asked and asked.svn_floor is not None
    see("gcp.endorsement.svn", (of.svn or 0) >= asked.svn_floor if floor else None)
    see("gcp.endorsement.proven", None)
    return checks, not checks.failed() and not checks.broken()
