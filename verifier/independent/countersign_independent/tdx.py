"""Quotes of Intel TDX and their collateral, docs/spec/tdx.md. In: a quote, collateral, a policy, a moment. Out: checks, and what is known."""

import hashlib
import re
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from . import checkpoint, collateral, der, x509
from .appraisal import Checks
from .cbor import Malformed
from .der import Fields, oid
from .tpm import ORDER, Reader

VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
ROOT = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")
TRUST_DOMAIN = 0x81
BODIES = {2: 584, 3: 648, 4: 885}
DEBUG, PROFILING, SEPT_VE_DISABLE, MIGRATABLE = 1 << 0, 1 << 4 | 1 << 5 | 1 << 6, 1 << 28, 1 << 29
FEATURES = {"lass": 27, "pks": 30, "key-locker": 31, "perfmon": 63}
NAMED = DEBUG | PROFILING | SEPT_VE_DISABLE | MIGRATABLE | sum(1 << bit for bit in FEATURES.values())
FLAGS = ("dynamic-platform", "cached-keys", "smt")
INTEL = "1.2.840.113741.1.13.1"
MAX_BLOCKS, MAX_CHAIN, MAX_ANSWER = 16, 64 * 1024, 2 * 1024 * 1024
RULES = set(
    """tdx.td.septve tdx.td.features tdx.td.xfam tdx.td.mrseam tdx.td.mrtd tdx.td.configid tdx.td.owner tdx.td.ownerconfig tdx.td.rtmr0
tdx.td.rtmr1 tdx.td.rtmr2 tdx.td.rtmr3 tdx.tcbinfo.evaluation tdx.qeidentity.evaluation tdx.tcb.floor tdx.tcb.status
tdx.tcb.advisories tdx.platform.flags tdx.platform.id""".split()
)


def policy(table):
    """The policy of a trust file's table, or one that asks nothing."""
    if table is not None:
        return table
    return SimpleNamespace(
        statuses=[one for one in collateral.STATUSES if one != "Revoked"],
        grace_days=0,
        denied_advisories=[],
        evaluation_floor=None,
        tee_tcb_floor=None,
        mrseam=None,
        features=list(FEATURES),
        flags=list(FLAGS),
        sept_ve="azure-paravisor",
        xfam=2**64 - 1,
        mrconfigid=None,
        mrowner=None,
        mrownerconfig=None,
        platforms=None,
        denied_platforms=[],
        roots=[ROOT],
    )


# ---------------------------------------------------------------- the quote


class Body:
    """A report on a trust domain."""

    def __init__(self, kind, data):
        self.kind, self.data = kind, data
        self.versions = [data[:16]] + ([data[584:600]] if kind > 2 else [])
        self.mrseam, self.mrsignerseam, self.seam_attributes = data[16:64], data[64:112], data[112:120]
        self.attributes, self.xfam = (int.from_bytes(data[at : at + 8], "little") for at in (120, 128))
        self.mrtd, self.config, self.owner, self.owner_config = (data[at : at + 48] for at in (136, 184, 232, 280))
        self.rtmrs = [data[at : at + 48] for at in range(328, 520, 48)]
        self.report_data = data[520:584]

    def service_domains(self):
        """Hashes of service domains that have to be zero."""
        out = [self.data[600:648]] if self.kind > 2 else []
        return out + ([self.data[729:777], self.data[829:877]] if self.kind > 3 else [])


class Quote:
    """What can be read of a quote; what cannot is None."""

    def __init__(self, data):
        self.data = data
        self.there = 48 <= len(data) <= 65536
        self.header = self.there and not any(data[8:12])
        self.body = self.parts = self.certification = self.key = self.signature = None
        self.form = False
        if not self.there:
            return
        self.version, self.key_type, self.tee = (int.from_bytes(data[at:end], "little") for at, end in ((0, 2), (2, 4), (4, 8)))
        self.vendor = data[12:28]
        end = self._body()
        if end is None:
            return
        self.signed = data[:end]
        try:
            self._signature(end)
        except Malformed:
            self.form = False

    def _body(self):
        kind, start = 2, 48
        if self.version == 5:
            kind, size, start = int.from_bytes(self.data[48:50], "little"), int.from_bytes(self.data[50:54], "little"), 54
            if BODIES.get(kind) != size:
                return None
        elif self.version != 4:
            return None
        if self.tee != TRUST_DOMAIN:
            return None
        end = start + BODIES[kind]
        if end > len(self.data):
            return None
        self.body = Body(kind, self.data[start:end])
        return end

    def _signature(self, at):
        r = Reader(self.data[at:], "little")
        if r.number(4) != len(r.data) - 4:
            raise Malformed("length of the signature data")
        self.signature, self.key = r.take(64), r.take(64)
        kind, size = r.number(2), r.number(4)
        self.certification = kind == 6 and size == len(r.data) - r.at
        self.form = True
        if kind != 6:
            return
        report, of_report, authentication = r.take(384), r.take(64), r.take(r.number(2))
        inner, size = r.number(2), r.number(4)
        chain = r.take(len(r.data) - r.at)
        self.certification = self.certification and inner == 5 and size == len(chain)
        zero = not any(any(report[at:end]) for at, end in ((20, 48), (96, 128), (160, 256), (260, 320)))
        self.parts = SimpleNamespace(
            raw=report, report=report if zero else None, of_report=of_report, authentication=authentication, chain=chain
        )


def raw_signed(key, data, signature):
    """Whether 64 bytes r and s, big-endian, are a signature of a P-256 key over data."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if key is None or len(signature) != 64 or not (0 < r < ORDER and 0 < s < ORDER):
        return False
    try:
        key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def point(data):
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + data)
    except ValueError:
        return None


# ---------------------------------------------------------------- certificates


def p256(one):
    """The P-256 key of a certificate, or None."""
    own = x509.key(one)
    return own.ec if own is not None and own.ec is not None and isinstance(own.ec.curve, ec.SECP256R1) else None


def pem(data, label):
    """DER of each block with this label, or Malformed."""
    begin, end = (b"-----%s %s-----" % (word, label) for word in (b"BEGIN", b"END"))
    out, rest = [], data.rstrip(b"\x00").strip(b" \t\r\n")
    while rest:
        if not rest.startswith(begin) or end not in rest or len(out) == MAX_BLOCKS:
            raise Malformed("no block")
        inner, rest = rest[len(begin) :].split(end, 1)
        try:
            out.append(checkpoint.unbase64(re.sub(rb"[ \t\r\n]", b"", inner).decode("ascii")))
        except UnicodeDecodeError:
            raise Malformed("no base64") from None
        rest = rest.lstrip(b" \t\r\n")
    return out


def chain(data, count):
    """That many certificates, or None."""
    try:
        if len(data) > MAX_CHAIN:
            return None
        ders = pem(data, b"CERTIFICATE")
        return [x509.certificate(one) for one in ders] if len(ders) == count else None
    except Malformed:
        return None


def header(data):
    """A chain as a header of Intel's service has it: percent signs are taken off."""
    if len(data) > MAX_ANSWER or re.search(rb"%(?![0-9a-fA-F]{2})", data):
        return b""
    return re.sub(rb"%(..)", lambda found: bytes([int(found[1], 16)]), data)


def revoked(data):
    """A list, as DER or as one block of PEM, or Malformed."""
    if len(data) > MAX_ANSWER:
        raise Malformed("too long")
    if data.startswith(b"-----BEGIN"):
        ders = pem(data, b"X509 CRL")
        if len(ders) != 1:
            raise Malformed("not one list")
        data = ders[0]
    return x509.List(data)


def last(one, name):
    """Whether a certificate is the last of a chain, in this role."""
    issues = one.constraints is not None and one.constraints[0]
    signs = one.usage is not None and x509.DIGITAL_SIGNATURE in one.usage
    return not issues and signs and one.known_critical() and x509.common_name(one) == name


def _pairs(element, numbers, needed):
    """Values of a SEQUENCE of pairs by number, in this order; the first `needed` have to be there."""
    fields = Fields(der.one(element.raw, der.SEQUENCE).content)
    out = {}
    for at, number in enumerate(numbers):
        if fields.peek() is None and at >= needed:
            break
        pair = Fields(fields.take(der.SEQUENCE).content)
        if pair.take(der.OID).content != oid(f"{INTEL}.{number}"):
            raise Malformed("another identifier")
        out[number] = pair.take()
        pair.end()
    fields.end()
    return out


def _octets(element, size):
    if element.tag != der.OCTETS or len(element.content) != size:
        raise Malformed("octets")
    return element.content


def _small(element, most):
    if element.tag != der.INTEGER or der.integer(element) > most:
        raise Malformed("number")
    return der.integer(element)


def platform(one):
    """What Intel's extension says of a platform, or Malformed."""
    raw = one.extensions.get(oid(INTEL))
    if raw is None:
        raise Malformed("no extension")
    top = _pairs(der.one(raw, der.SEQUENCE), ["1", "2", "3", "4", "5", "6", "7"], 5)
    if len(top) == 6:
        raise Malformed("6 without 7")
    tcb = _pairs(top["2"], [f"2.{number}" for number in range(1, 19)], 18)
    _octets(tcb["2.18"], 16)
    if top["5"].tag != 0x0A:
        raise Malformed("SGX type")
    der.integer(top["5"])
    flags = None
    if "7" in top:
        _octets(top["6"], 16)
        found = _pairs(top["7"], ["7.1", "7.2", "7.3"], 3)
        if any(value.tag != der.BOOLEAN for value in found.values()):
            raise Malformed("flags")
        flags = dict(zip(FLAGS, (der.boolean(value) for value in found.values())))
    return SimpleNamespace(
        ppid=_octets(top["1"], 16),
        components=[_small(tcb[f"2.{number}"], 255) for number in range(1, 17)],
        pcesvn=_small(tcb["2.17"], 65535),
        pceid=_octets(top["3"], 2),
        fmspc=_octets(top["4"], 6),
        flags=flags,
    )


def _read(read, data):
    try:
        return read(data)
    except Malformed:
        return None


# ---------------------------------------------------------------- the appraisal


def appraise(data, given, rules, report_data, moment):
    """(checks, what is known or None). given is collateral by kind of endorsement, 5 to 10."""
    checks = Checks(RULES)
    see = checks.see
    quote = Quote(data)
    there, body, parts = quote.there, quote.body, quote.parts
    see("tdx.quote.header", quote.header)
    see("tdx.quote.version", quote.version in (4, 5) if there else None)
    see("tdx.quote.tee", quote.tee == TRUST_DOMAIN if there else None)
    see("tdx.quote.keytype", quote.key_type == 2 if there else None)
    see("tdx.quote.vendor", quote.vendor == VENDOR if there else None)
    see("tdx.quote.body", body is not None if there and quote.version in (4, 5) and quote.tee == TRUST_DOMAIN else None)
    see("tdx.quote.form", quote.form if body else None)
    see("tdx.quote.certification", quote.certification if body else None)
    certificates = chain(parts.chain, 3) if parts else None
    of = _platform(see, parts, certificates, rules, moment)
    _enclave(see, quote, parts, certificates)
    _domain(see, body, rules, report_data)
    see("tdx.collateral.present", True)
    lists = _lists(see, given, certificates, moment)
    info = _statement(see, "tdx.tcbinfo", given[5], given[6], lists, rules, moment, collateral.INFO)
    fits = info is not None and info.read is not None and of is not None
    see("tdx.tcbinfo.fmspc", info.read.fmspc == of.fmspc if fits else None)
    see("tdx.tcbinfo.pceid", info.read.pceid == of.pceid if fits else None)
    _evaluation(see, "tdx.tcbinfo", info, rules)
    identity = _statement(see, "tdx.qeidentity", given[7], given[8], lists, rules, moment, collateral.IDENTITY)
    _evaluation(see, "tdx.qeidentity", identity, rules)
    of_enclave = _identity(see, parts, identity)
    _levels(see, body, of, info, of_enclave, rules, moment)
    _flags(see, of, rules)
    see("tdx.eventlog.form", None)
    see("tdx.eventlog.replay", None)
    if checks.failed():
        return checks, None
    return checks, SimpleNamespace(parties=["intel"], launch=body.mrtd, registers=body.rtmrs)


def _platform(see, parts, certificates, rules, moment):
    """The chain of the platform; what its extension says, or None."""
    see("tdx.pck.form", certificates is not None if parts else None)
    if certificates is None:
        for word in ("root", "chain", "validity", "extension"):
            see("tdx.pck." + word, None)
        return None
    pck, ca, root = certificates
    see("tdx.pck.root", hashlib.sha256(root.raw).digest() in rules.roots)
    good = x509.issued(root, ca, 1) and x509.issued(ca, pck, 0)
    good = good and x509.common_name(ca) in ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
    see("tdx.pck.chain", good and last(pck, "Intel SGX PCK Certificate"))
    see("tdx.pck.validity", all(one.valid_at(moment) for one in certificates))
    of = _read(platform, pck)
    see("tdx.pck.extension", of is not None)
    return of


def _enclave(see, quote, parts, certificates):
    """The quoting enclave, and the attestation key."""
    report = parts.report if parts else None
    see("tdx.qe.form", report is not None if parts else None)
    see("tdx.qe.signature", raw_signed(p256(certificates[0]), parts.raw, parts.of_report) if certificates else None)
    see("tdx.qe.debug", report[48] >> 1 & 1 == 0 if report else None)
    bound = hashlib.sha256(quote.key + parts.authentication).digest() + bytes(32) if report else None
    see("tdx.quote.key", report[320:384] == bound if report else None)
    see("tdx.quote.signature", raw_signed(point(quote.key), quote.signed, quote.signature) if quote.key else None)


def _domain(see, body, rules, report_data):
    """The trust domain itself."""

    def td(code, good, asked=True):
        see("tdx.td." + code, good() if body and asked else None)

    def among(value, known):
        return lambda: value() in known

    td("debug", lambda: not body.attributes & DEBUG)
    td("profiling", lambda: not body.attributes & PROFILING)
    td("migratable", lambda: not body.attributes & MIGRATABLE)
    td("reserved", lambda: not body.attributes & ~NAMED)
    td("septve", lambda: bool(body.attributes & SEPT_VE_DISABLE) or rules.sept_ve == "azure-paravisor")
    td("features", lambda: all(not body.attributes >> bit & 1 or name in rules.features for name, bit in FEATURES.items()))
    td("xfam", lambda: body.xfam & 3 == 3 and not body.xfam & ~rules.xfam)
    td("vmid", lambda: body.data[648] == 0, body and body.kind == 4)
    td("servicetd", lambda: not any(any(one) for one in body.service_domains()), body and body.kind > 2)
    td("mrseam", among(lambda: body.mrseam, rules.mrseam), rules.mrseam is not None)
    td("mrtd", None, False)
    td("configid", among(lambda: body.config, rules.mrconfigid), rules.mrconfigid is not None)
    td("owner", among(lambda: body.owner, rules.mrowner), rules.mrowner is not None)
    td("ownerconfig", among(lambda: body.owner_config, rules.mrownerconfig), rules.mrownerconfig is not None)
    for index in range(4):
        td(f"rtmr{index}", None, False)
    td("reportdata", lambda: body.report_data == report_data and any(report_data), report_data is not None)


def _lists(see, given, certificates, moment):
    """Both lists; the root's, where it can be read."""
    out = []
    for word, kind, at, of, taken in (("rootcrl", 10, 2, "pckca", 1), ("pckcrl", 9, 1, "pck", 0)):
        one = _read(revoked, given[kind])
        see(f"tdx.{word}.form", one is not None)
        see(f"tdx.{word}.signature", one.genuine(certificates[at]) if one and certificates else None)
        see(f"tdx.{word}.validity", one.current(moment) if one else None)
        see(f"tdx.{of}.revocation", certificates[taken].serial not in one.serials if one and certificates else None)
        out.append(one)
    return out[0]


def _statement(see, before, answer, issuers, of_root, rules, moment, kind):
    """A signed statement of Intel's: checks from form to validity; what could be read, or None."""
    said = _read(lambda data: collateral.Statement(data, kind), answer)
    see(before + ".form", said is not None and said.form)
    found = chain(header(issuers), 2)
    if found:
        signer, root = found
        good = hashlib.sha256(root.raw).digest() in rules.roots and x509.issued(root, signer, 0)
        see(before + ".chain", good and last(signer, "Intel SGX TCB Signing"))
        see(before + ".chainvalidity", signer.valid_at(moment) and root.valid_at(moment))
        see(before + ".revocation", signer.serial not in of_root.serials if of_root else None)
        see(before + ".signature", raw_signed(p256(signer), said.signed, said.signature) if said else None)
    else:
        see(before + ".chain", False)
        for word in ("chainvalidity", "revocation", "signature"):
            see(f"{before}.{word}", None)
    right = see(before + ".id", said.right if said and said.form else None)
    see(before + ".members", said.read is not None if right else None)
    read = said.read if said else None
    see(before + ".validity", read.issued * 1000 <= moment <= read.next * 1000 if read else None)
    return said


def _evaluation(see, before, said, rules):
    read = said.read if said else None
    asked = read is not None and rules.evaluation_floor is not None
    see(before + ".evaluation", read.evaluation >= rules.evaluation_floor if asked else None)


def _identity(see, parts, said):
    """The quoting enclave against its identity; its level, or None."""
    read = said.read if said else None
    if not parts or not parts.report or not read:
        for word in ("mrsigner", "isvprodid", "miscselect", "attributes", "tcb"):
            see("tdx.qe." + word, None)
        return None
    report = parts.report
    see("tdx.qe.mrsigner", report[128:160] == read.mrsigner)
    see("tdx.qe.isvprodid", int.from_bytes(report[256:258], "little") == read.product)
    see("tdx.qe.miscselect", masked(report[16:20][::-1], read.miscselect_mask) == read.miscselect)
    see("tdx.qe.attributes", masked(report[48:64], read.attributes_mask) == read.attributes)
    level = collateral.first(read.levels, lambda one: one.svn <= int.from_bytes(report[258:260], "little"))
    see("tdx.qe.tcb", level is not None)
    return level


def masked(value, mask):
    return bytes(one & two for one, two in zip(value, mask))


def _levels(see, body, of, info, of_enclave, rules, moment):
    """Module, platform, and what they come to together."""
    read = info.read if info else None
    floor = rules.tee_tcb_floor if body else None
    floored = all(above(version, floor) for version in body.versions) if floor is not None else None
    if not body or not read:
        for word in ("module.identity", "module.tcb", "platform.tcb", "tcb.floor", "tcb.revoked", "tcb.status", "tcb.advisories"):
            see("tdx." + word, floored if word == "tcb.floor" else None)
        return
    modules = [collateral.module(read, version) for version in body.versions]
    see("tdx.module.identity", all(one is not None and _signed_module(body, one) for one in modules))
    of_modules = [
        one and collateral.first(one.levels, lambda level, least=version[0]: level.svn <= least)
        for one, version in zip(modules, body.versions)
    ]
    own = [one is not None and one.levels is not None for one in modules]
    reached = None not in modules and all(level is not None for level, has in zip(of_modules, own) if has)
    see("tdx.module.tcb", reached)
    of_platforms = [collateral.platform_level(read, of, version) for version in body.versions] if of else []
    see("tdx.platform.tcb", all(one is not None for one in of_platforms) if of else None)
    see("tdx.tcb.floor", floored)
    if not reached or not of or None in of_platforms or of_enclave is None:
        see("tdx.tcb.revoked", None)
        see("tdx.tcb.status", None)
        see("tdx.tcb.advisories", None)
        return
    status = collateral.joint(list(zip(of_platforms, of_modules)), of_enclave)
    matched = [*of_platforms, *(one for one in of_modules if one is not None), of_enclave]
    revoked = status == "Revoked"
    see("tdx.tcb.revoked", not revoked)
    see("tdx.tcb.status", None if revoked else accepted(status, matched, rules, moment))
    see("tdx.tcb.advisories", not any(name in rules.denied_advisories for one in matched for name in one.advisories))


def _signed_module(body, one):
    return body.mrsignerseam == one.mrsigner and masked(body.seam_attributes, one.attributes_mask) == one.attributes


def above(version, floor):
    """Whether a stated version is at least the floor."""
    major = (version[1], version[0]) >= (floor[1], floor[0])
    return major and all(one >= least for one, least in zip(version[2:], floor[2:]))


def accepted(status, matched, rules, moment):
    if status == "Revoked":
        return False
    if status in rules.statuses:
        return True
    better = {"OutOfDate": "UpToDate", "OutOfDateConfigurationNeeded": "ConfigurationNeeded"}.get(status)
    if better not in rules.statuses or not rules.grace_days:
        return False
    oldest = min(one.date for one in matched if collateral.out_of_date(one.status))
    return moment <= (oldest + rules.grace_days * 86_400) * 1000


def _flags(see, of, rules):
    if of is None:
        see("tdx.platform.flags", None)
        see("tdx.platform.id", None)
        return
    wanted = [name for name in FLAGS if name not in rules.flags]
    see("tdx.platform.flags", not wanted or (of.flags is not None and not any(of.flags[name] for name in wanted)))
    asked = bool(rules.denied_platforms) or rules.platforms is not None
    good = of.ppid not in rules.denied_platforms and (rules.platforms is None or of.ppid in rules.platforms)
    see("tdx.platform.id", good if asked else None)
