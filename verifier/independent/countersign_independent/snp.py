"""Reports of AMD SEV-SNP, docs/spec/snp.md. In: a report, certificates, a list, a policy, a moment. Out: checks, and what is known."""

import hashlib
from types import SimpleNamespace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from . import der, x509
from .appraisal import Checks
from .cbor import Malformed
from .der import oid

REPORT = 1184
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
PRODUCTS = ("Milan", "Genoa", "Turin")
ROOTS = [
    ("Milan", bytes.fromhex("1249f67f15cf229a4069195e1a9ce537d1765ef706a1f4a123c36be9518786515d25ecc007f366b564d2b3f31c48082e")),
    ("Genoa", bytes.fromhex("32ab53a6ce5ec14926207396e5c475ae768a6a9831b7e860b5acf2e1c1dff222bc5a8bfc43eb5e06393189c1f246d880")),
    ("Turin", bytes.fromhex("3475f08a9727f8ac9a1deaea5f2a2097aa59d64d05c2a678c229c873e6359d3a6926287a2a22cd5f88a385e333a2fcc5")),
]
GUEST = {"smt": 16, "single-socket": 20, "cxl": 21, "aes-256": 22, "rapl-off": 23, "ciphertext-hiding": 24, "page-swap-off": 25}
PLATFORM = {"smt": 0, "tsme": 1, "ecc": 2, "rapl-off": 3, "ciphertext-hiding": 4, "alias-check": 5, "tio": 7}
PARTS = {
    "Milan": ("bootloader", "tee", None, None, None, None, "snp", "microcode"),
    "Genoa": ("bootloader", "tee", None, None, None, None, "snp", "microcode"),
    "Turin": ("fmc", "bootloader", "tee", "snp", None, None, None, "microcode"),
}
RULES = set(
    """snp.product.accepted snp.provider.accepted snp.chip.accepted snp.guest.abi snp.guest.features snp.platform.features
snp.tcb.reported snp.tcb.committed snp.tcb.launch snp.firmware snp.mitigations snp.vmpl snp.measurement snp.host-data snp.id-key
snp.author-key snp.image snp.guest.svn""".split()
)
AMD = "1.3.6.1.4.1.3704.1"


def policy(table):
    """The policy of a trust file's table, or one that asks nothing."""
    if table is not None:
        return table
    products = {name: SimpleNamespace(floor=None, firmware=None, mitigations=None, chips=None) for name in PRODUCTS}
    return SimpleNamespace(
        products=products,
        revocation="optional",
        vmpl=2**32 - 1,
        providers=None,
        denied_chips=[],
        guest_abi=None,
        guest_required=[],
        guest_forbidden=[],
        platform_required=[],
        platform_forbidden=[],
        host_data=None,
        id_keys=None,
        author_keys=None,
        guest_svn=None,
        roots=ROOTS,
    )


# ---------------------------------------------------------------- the report


class Report:
    """Fields of a report of 1184 bytes."""

    def __init__(self, data):
        def number(at, size):
            return int.from_bytes(data[at : at + size], "little")

        self.data = data
        self.version, self.svn, self.policy = number(0, 4), number(4, 4), number(8, 8)
        self.vmpl, self.algorithm = number(0x30, 4), number(0x34, 4)
        self.current, self.reported = data[0x38:0x40], data[0x180:0x188]
        self.committed, self.launch = data[0x1E0:0x1E8], data[0x1F0:0x1F8]
        self.platform, self.flags = number(0x40, 8), number(0x48, 4)
        self.signing_key = self.flags >> 2 & 7
        self.report_data, self.measurement = data[0x50:0x90], data[0x90:0xC0]
        self.host_data, self.id_key, self.author_key = data[0xC0:0xE0], data[0xE0:0x110], data[0x110:0x140]
        self.migration = data[0x160:0x180]
        self.chip = data[0x1A0:0x1E0]
        # build, minor and major in the report; compared in the other order, but the build last
        self.firmware, self.committed_firmware = ((data[at + 2], data[at + 1], data[at]) for at in (0x1E8, 0x1EC))
        self.mitigations = number(0x1F8, 8), number(0x200, 8)
        self.r, self.s = number(0x2A0, 48), number(0x2E8, 48)

    def reserved(self):
        """Whether all that has to be zero is, for this version, and bit 17 of the policy is one."""
        zeros = [(0x4C, 4), (0x18B, 21), (0x1EB, 1), (0x1EF, 1), (0x208, 152), (0x2D0, 24), (0x318, 24), (0x330, 368)]
        if self.version < 3:
            zeros.append((0x188, 3))
        if self.version < 5:
            zeros.append((0x1F8, 16))
        bits = self.policy >> 26 == 0 and self.policy >> 17 & 1 == 1 and self.platform & ~0xBF == 0 and self.flags >> 5 == 0
        return bits and not any(any(self.data[at : at + size]) for at, size in zeros)

    def product(self):
        """The product of the processor that a report from version 3 on names, or None."""
        family, model = self.data[0x188], self.data[0x189]
        if family == 0x19 and model <= 0x0F:
            return "Milan"
        if family == 0x19 and (0x10 <= model <= 0x1F or 0xA0 <= model <= 0xAF):
            return "Genoa"
        return "Turin" if family == 0x1A and model <= 0x11 else None


def parts(tcb, product):
    """Parts of a TCB by name."""
    return {name: value for name, value in zip(PARTS[product], tcb) if name}


def reaches(one, other):
    return all(name in one and one[name] >= least for name, least in other.items())


# ---------------------------------------------------------------- certificates


def _named(name, before):
    """The product of a common name with this before it, or None."""
    return name[len(before) :] if name is not None and name.startswith(before) and name[len(before) :] in PRODUCTS else None


def issuer_kind(one):
    """(kind, product) of an issuer, or None."""
    name = x509.common_name(one)
    for kind, before in (("VLEK", "SEV-VLEK-"), ("VCEK", "SEV-")):
        product = _named(name, before)
        if product:
            return kind, product
    return None


def signing_key(one):
    """What the certificate of a signing key says, or Malformed."""
    kind = {"SEV-VCEK": "VCEK", "SEV-VLEK": "VLEK"}.get(x509.common_name(one))
    own = x509.key(one)
    if kind is None or own is None or own.ec is None or not isinstance(own.ec.curve, ec.SECP384R1):
        raise Malformed("name or key")
    if one.constraints is not None and one.constraints[0]:
        raise Malformed("issues")

    def extension(number, tag):
        value = one.extensions.get(oid(f"{AMD}.{number}"))
        return None if value is None else der.one(value, tag)

    def small(number):
        element = extension(number, der.INTEGER)
        value = None if element is None else der.integer(element)
        if value is not None and value > 255:
            raise Malformed("not a byte")
        return value

    named = extension(2, x509.IA5)
    word = named.content.decode("latin-1") if named else ""
    product = next((p for p in PRODUCTS if word == p or word.startswith(p + "-")), None)
    if product is None:
        raise Malformed("product")
    found = {"bootloader": small("3.1"), "tee": small("3.2"), "snp": small("3.3"), "microcode": small("3.8"), "fmc": small("3.9")}
    if (found["fmc"] is not None) != (product == "Turin"):
        raise Malformed("fmcSPL")
    if any(found[name] is None for name in PARTS[product] if name):
        raise Malformed("versions")
    if any(small(f"3.{number}") not in (None, 0) for number in (4, 5, 6, 7)):
        raise Malformed("spl4 to spl7")
    hardware = one.extensions.get(oid(AMD + ".4"))
    provider = one.extensions.get(oid(AMD + ".5"))
    if (hardware is None) == (kind == "VCEK") or (provider is None) == (kind == "VLEK"):
        raise Malformed("hwID or cspID")
    if hardware is not None:
        size = 8 if product == "Turin" else 64
        if len(hardware) != size:
            hardware = der.one(hardware, der.OCTETS).content
        if len(hardware) != size:
            raise Malformed("hwID")
    if provider is not None:
        provider = der.one(provider, x509.IA5).content.decode("latin-1")
        if not 1 <= len(provider) <= 64 or not all("!" <= c <= "~" for c in provider):
            raise Malformed("cspID")
    if not one.known_critical():
        raise Malformed("critical extension")
    tcb = bytes(found[name] if name else 0 for name in PARTS[product])
    return SimpleNamespace(kind=kind, product=product, tcb=tcb, hardware=hardware, provider=provider, key=own.ec)


# ---------------------------------------------------------------- the appraisal


def _read(read, data):
    try:
        return None if data is None else read(data)
    except Malformed:
        return None


def _big(one):
    own = x509.key(one)
    return own is not None and own.ec is None and own.n.bit_length() == 4096


def appraise(data, certificates, crl, rules, report_data, moment):
    """(checks, what is known or None). Certificates are signing key's, issuer's and root's; crl is None where there is none."""
    checks = Checks(RULES)
    see = checks.see
    report = Report(data) if len(data) == REPORT else None
    see("snp.report.structure", report is not None)
    known = see("snp.report.version", report.version in (2, 3, 4, 5) if report else None)
    see("snp.report.reserved", report.reserved() if known else None)
    see("snp.report.algorithm", report.algorithm == 1 if report else None)
    vek, issuer, root = (_read(x509.certificate, one) for one in certificates)
    digest = hashlib.sha384(root.spki_raw).digest() if root else None
    pinned = next((product for product, pin in rules.roots if pin == digest), None)
    see("snp.root.pinned", pinned is not None)
    see("snp.root.signature", _big(root) and x509.issued(root, root, 1) if root else None)
    if issuer is None or root is None:
        see("snp.issuer.signature", False if issuer is None else None)
    else:
        see("snp.issuer.signature", _big(issuer) and x509.issued(root, issuer, 1))
    of = issuer_kind(issuer) if issuer else None
    see("snp.issuer.kind", of is not None if issuer else None)
    said = _read(signing_key, vek)
    see("snp.key.form", said is not None)
    see("snp.key.signature", x509.issued(issuer, vek, 0) if issuer and vek else None)
    chain = (vek, issuer, root)
    see("snp.chain.validity", all(one.valid_at(moment) for one in chain) if all(chain) else None)
    see("snp.chain.revocation", _not_revoked(crl, issuer, root, rules, moment))
    _signing_key(see, report, said, of, pinned, known)
    see("snp.report.signature", signed(report, said.key) if report and said else None)
    _policy(see, report, said, rules, known)
    _values(see, report, said, rules, report_data)
    if checks.failed():
        return checks, None
    parties = ["amd"] + (["cloud-provider:" + said.provider] if said.kind == "VLEK" else [])
    return checks, SimpleNamespace(parties=parties, launch=report.measurement, registers=None)


def _not_revoked(crl, issuer, root, rules, moment):
    if crl is None:
        return False if rules.revocation == "required" else None
    one = _read(x509.List, crl)
    if one is None:
        return False
    if not issuer or not root:
        return None
    return one.genuine(root) and one.current(moment) and not one.serials & {issuer.serial, root.serial}


def _signing_key(see, report, said, of, pinned, known):
    kind = {0: "VCEK", 1: "VLEK"}.get(report.signing_key) if report else None
    if report and said and of:
        good = kind is not None and kind == said.kind == of[0] and (kind == "VLEK" or report.flags >> 1 & 1 == 0)
        see("snp.key.kind", good)
    else:
        see("snp.key.kind", False if report and kind is None else None)
    if known and said and of and pinned:
        good = said.product == pinned == of[1]
        good = good and (report.product() == said.product if report.version >= 3 else said.product != "Turin")
        see("snp.key.product", good)
    else:
        see("snp.key.product", None)
    see("snp.key.tcb", said.tcb == report.reported if report and said else None)
    if not report or not said:
        see("snp.key.chip", None)
    elif said.kind == "VLEK":
        see("snp.key.chip", True)
    else:
        see("snp.key.chip", any(report.chip) and report.chip == said.hardware.ljust(64, b"\x00"))


def signed(report, key):
    if not (0 < report.r < ORDER and 0 < report.s < ORDER):
        return False
    try:
        key.verify(utils.encode_dss_signature(report.r, report.s), report.data[:0x2A0], ec.ECDSA(hashes.SHA384()))
        return True
    except InvalidSignature:
        return False


def _bits(value, numbers, required, forbidden):
    if not required and not forbidden:
        return None
    return all(value >> numbers[one] & 1 for one in required) and not any(value >> numbers[one] & 1 for one in forbidden)


def _policy(see, report, said, rules, known):
    """From snp.product.accepted to snp.vmpl."""
    product = rules.products.get(said.product) if said else None
    see("snp.product.accepted", product is not None if said else None)
    if said and said.kind == "VLEK" and rules.providers is not None:
        see("snp.provider.accepted", said.provider in rules.providers)
    else:
        see("snp.provider.accepted", True if said else None)
    if not report:
        see("snp.chip.accepted", None)
    else:
        asked, good = bool(rules.denied_chips), True
        if rules.denied_chips:
            good = any(report.chip) and report.chip not in rules.denied_chips
        if product and product.chips is not None:
            asked, good = True, good and any(report.chip) and report.chip in product.chips
        see("snp.chip.accepted", good if asked else None)
    see("snp.guest.debug", report.policy >> 19 & 1 == 0 if report else None)
    see("snp.guest.migration", report.policy >> 18 & 1 == 0 and report.migration == b"\xff" * 32 if report else None)
    abi = (report.policy >> 8 & 255, report.policy & 255) if report else None
    see("snp.guest.abi", abi >= rules.guest_abi if report and rules.guest_abi is not None else None)
    see("snp.guest.features", _bits(report.policy, GUEST, rules.guest_required, rules.guest_forbidden) if report else None)
    see("snp.platform.features", _bits(report.platform, PLATFORM, rules.platform_required, rules.platform_forbidden) if report else None)
    if report and said:
        tcbs = [report.current, report.committed, report.reported, report.launch]
        clean = all(not value for tcb in tcbs for name, value in zip(PARTS[said.product], tcb) if name is None)
        current, committed, reported, launch = (parts(tcb, said.product) for tcb in tcbs)
        good = clean and reaches(committed, reported) and reaches(current, committed)
        see("snp.tcb.order", good and report.committed_firmware <= report.firmware)
        floor = product.floor if product else None
        for word, one in (("reported", reported), ("committed", committed), ("launch", launch)):
            see("snp.tcb." + word, reaches(one, floor) if clean and floor is not None else None)
    else:
        for word in ("order", "reported", "committed", "launch"):
            see("snp.tcb." + word, None)
    asked = report and product and product.firmware is not None
    see("snp.firmware", report.committed_firmware >= product.firmware if asked else None)
    if known and product and product.mitigations is not None:
        needed = product.mitigations
        see("snp.mitigations", report.version >= 5 and all(one & needed == needed for one in report.mitigations))
    else:
        see("snp.mitigations", None)
    see("snp.vmpl", report.vmpl <= rules.vmpl if report else None)


def _values(see, report, said, rules, report_data):
    """From snp.report.data on; for measurement and image a trust file has no rule."""
    good = report.report_data == report_data and any(report_data) if report and report_data is not None else None
    see("snp.report.data", good)
    see("snp.measurement", None)
    see("snp.host-data", report.host_data == rules.host_data if report and rules.host_data is not None else None)
    good = report.id_key in rules.id_keys and any(report.id_key) if report and rules.id_keys is not None else None
    see("snp.id-key", good)
    if report and rules.author_keys is not None:
        see("snp.author-key", report.flags & 1 == 1 and report.author_key in rules.author_keys and any(report.author_key))
    else:
        see("snp.author-key", None)
    see("snp.image", None)
    see("snp.guest.svn", report.svn >= rules.guest_svn if report and rules.guest_svn is not None else None)
