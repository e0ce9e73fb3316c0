"""Reports of Azure's paravisor, docs/spec/azure.md. In: a report, a policy, for TDX a quote's body. Out: checks, and what is known."""

import base64
import hashlib
import re
from types import SimpleNamespace

from . import digests, strictjson
from .appraisal import Checks
from .cbor import Malformed

MOST = 2600
SNP, TDX = 2, 4
RULES = set("azure.key.operation azure.user_data azure.vm.id azure.vm.tpm_persisted azure.vm.secure_boot azure.vm.console".split())
FLAGS = ("secure-boot", "tpm-enabled", "console-enabled")
OPTIONAL = ("tpm-persisted", "interactive-console-enabled", "filtered-vpci-devices-allowed")
MACHINE = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
USER_DATA = re.compile(r"[0-9a-fA-F]{128}\Z")
URL_BASE64 = re.compile(r"[A-Za-z0-9_-]*\Z")


def policy(table):
    """The policy of a trust file's table, or one that asks nothing."""
    if table is not None:
        return table
    return SimpleNamespace(secure_boot=False, tpm_persisted=False, console_off=False, old_key_operation=True)


class Report:
    """A paravisor's report, or Malformed."""

    def __init__(self, data):
        def number(at):
            if at + 4 > len(data):
                raise Malformed("ends early")
            return int.from_bytes(data[at : at + 4], "little")

        if len(data) > MOST or data[:4] != b"HCLA" or number(4) not in (1, 2):
            raise Malformed("header")
        if number(12) != 2 or number(16) != 0 or any(data[20:32]):
            raise Malformed("header")
        version, self.kind = number(1220), number(1224)
        if version not in (1, 2) or self.kind not in (SNP, TDX) or number(1228) != 1:
            raise Malformed("request data")
        start = 1236 if version == 1 else 1240
        end = start + number(1232)
        if number(8) != end or number(1216) != end - 1216 or end > len(data) or any(data[end:]):
            raise Malformed("lengths")
        if start > len(data):
            raise Malformed("ends early")
        self.claims = data[start:end]
        if self.kind == SNP:
            self.hardware = data[32:1216]
            self.report_data = self.hardware[0x50:0x90]
        else:
            if any(data[32 + 1024 : 1216]):
                raise Malformed("bytes after the TDREPORT")
            self.hardware = data[32 : 32 + 1024]
            self.report_data = self.hardware[128:192]


# ---------------------------------------------------------------- runtime claims


def _number(word):
    """A number in base64url without padding and leading zeros."""
    if type(word) is not str or not URL_BASE64.match(word) or len(word) % 4 == 1:
        raise Malformed("base64url")
    raw = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))
    if not raw or raw[0] == 0 or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != word:
        raise Malformed("base64url")
    return int.from_bytes(raw, "big")


def _jwk(one):
    if type(one) is not dict or set(one) != {"kid", "key_ops", "kty", "e", "n"}:
        raise Malformed("key")
    if one["kid"] not in ("HCLAkPub", "HCLEkPub") or one["kty"] != "RSA" or one["key_ops"] not in (["sign"], ["encrypt"]):
        raise Malformed("key")
    n = _number(one["n"])
    if _number(one["e"]) != 65537 or (one["kid"] == "HCLAkPub" and n.bit_length() != 2048):
        raise Malformed("key")
    return one["kid"], one["key_ops"][0], n


def _is(value, kind):
    return type(value) is kind


class Claims:
    """Runtime claims, or Malformed."""

    def __init__(self, data):
        if len(data) > MOST:
            raise Malformed("too long")
        value, _ = strictjson.read(data)
        if not _is(value, dict) or not _is(value.get("keys"), list):
            raise Malformed("claims")
        keys = [_jwk(one) for one in value["keys"]]
        names = [name for name, _, _ in keys]
        if names.count("HCLAkPub") != 1 or names.count("HCLEkPub") > 1:
            raise Malformed("keys")
        self.operation, self.key = next((operation, n) for name, operation, n in keys if name == "HCLAkPub")
        machine = value.get("vm-configuration")
        if not _is(machine, dict) or not all(_is(machine.get(name), bool) for name in FLAGS):
            raise Malformed("vm-configuration")
        if not _is(machine.get("vmUniqueId"), str) or not MACHINE.match(machine["vmUniqueId"]):
            raise Malformed("vmUniqueId")
        good = all(_is(machine[name], bool) for name in OPTIONAL if name in machine)
        good = good and _is(machine.get("root-cert-thumbprint", ""), str) and _is(machine.get("current-time", 0), int)
        user = value.get("user-data", "0" * 128)
        if not good or not _is(user, str) or not USER_DATA.match(user):
            raise Malformed("claims")
        self.machine = machine
        known = {*FLAGS, *OPTIONAL, "vmUniqueId", "root-cert-thumbprint", "current-time"}
        self.unknown = (set(value) - {"keys", "vm-configuration", "user-data"}) | (set(machine) - known)


# ---------------------------------------------------------------- a TDREPORT

# Where each field of a quote's body stands in a TDREPORT: offset in the body, bytes, offset in the TDREPORT.
REPEATED = [
    (0, 16, 264),
    (16, 48, 280),
    (64, 48, 328),
    (112, 8, 376),
    (120, 8, 512),
    (128, 8, 520),
    (136, 48, 528),
    (184, 48, 576),
    (232, 48, 624),
    (280, 48, 672),
    (328, 192, 720),
    (520, 64, 128),
]
LATER = [(584, 16, 384), (600, 48, 912)]


def tdreport(data):
    """Whether a TDREPORT has its form and holds its own hashes."""
    good = data[:4] == b"\x81\x00\x00\x00" and not any(data[4:16]) and not any(data[192:224])
    good = good and not any(data[400:512]) and not any(data[960:1024])
    hashes = hashlib.sha384(data[256:495]).digest(), hashlib.sha384(data[512:1024]).digest()
    return good and data[32:128] == b"".join(hashes)


def repeats(body, data):
    """Whether a quote's body of 584 or 648 bytes says the same as a TDREPORT."""
    if len(body) not in (584, 648):
        return False
    fields = REPEATED + (LATER if len(body) == 648 else [])
    return all(body[at : at + size] == data[to : to + size] for at, size, to in fields)


def body_of(quote):
    """The body of a quote of version 4 or 5, or None."""
    version = int.from_bytes(quote[:2], "little")
    if version == 4:
        body, size = quote[48 : 48 + 584], 584
    elif version == 5:
        kind, size = int.from_bytes(quote[48:50], "little"), int.from_bytes(quote[50:54], "little")
        if (kind, size) not in ((2, 584), (3, 648)):
            return None
        body = quote[54 : 54 + size]
    else:
        return None
    return body if len(body) == size else None


# ---------------------------------------------------------------- the appraisal


def appraise(data, rules, kind, quote=None):
    """(checks, what is known or None). kind is the hardware that the profile names."""
    checks = Checks(RULES)
    see = checks.see
    try:
        report = Report(data)
    except Malformed:
        report = None
    see("azure.report.structure", report is not None)
    see("azure.report.hardware", report.kind == kind if report else None)
    if not report:
        see("azure.tdreport.structure", None)
        see("azure.tdreport.quote", None)
    elif report.kind == TDX:
        see("azure.tdreport.structure", tdreport(report.hardware))
        body = body_of(quote) if quote is not None else None
        see("azure.tdreport.quote", body is not None and repeats(body, report.hardware))
    else:
        see("azure.tdreport.structure", None)
        see("azure.tdreport.quote", None if quote is None else False)
    bound = digests.sha256(report.claims) + bytes(32) if report else None
    see("azure.runtime.binding", report.report_data == bound if report else None)
    try:
        claims = Claims(report.claims) if report else None
        see("azure.runtime.structure", True if report else None)
    except Malformed:
        claims = None
        see("azure.runtime.structure", False)
    see("azure.runtime.members", not claims.unknown if claims else None)
    machine = claims.machine if claims else None
    see("azure.key.operation", claims.operation == "sign" or rules.old_key_operation if claims else None)
    see("azure.user_data", None)
    see("azure.vm.id", None)
    see("azure.vm.tpm", machine["tpm-enabled"] if claims else None)
    see("azure.vm.tpm_persisted", machine.get("tpm-persisted") is True if claims and rules.tpm_persisted else None)
    see("azure.vm.secure_boot", machine["secure-boot"] if claims and rules.secure_boot else None)
    see("azure.vm.console", not machine["console-enabled"] if claims and rules.console_off else None)
    if checks.failed():
        return checks, None
    return checks, SimpleNamespace(hardware=report.hardware, report_data=bound, key=claims.key)
