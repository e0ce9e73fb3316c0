"""What Intel says of platforms and of its quoting enclave, docs/spec/tdx.md, "Collateral" and "Levels". In: answers. Out: levels."""

import contextlib
import re
from types import SimpleNamespace

from . import der, strictjson
from .cbor import Malformed

OF_ENCLAVES = ("UpToDate", "OutOfDate", "Revoked")
OF_PLATFORMS = (
    "UpToDate SWHardeningNeeded ConfigurationNeeded ConfigurationAndSWHardeningNeeded OutOfDate OutOfDateConfigurationNeeded Revoked"
).split()
STATUSES = [*OF_PLATFORMS, "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded"]
MOST = 256
DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")
ADVISORY = re.compile(r"[!-~]{1,64}")
DIGITS = re.compile(r"[0-9a-fA-F]*")
MAX_ANSWER = 256 * 1024


# ---------------------------------------------------------------- members


def _exactly(value, needed, allowed=()):
    if type(value) is not dict or not set(needed) <= set(value) <= {*needed, *allowed}:
        raise Malformed("members")
    return value


def _hex(value, size):
    if type(value) is not str or len(value) != 2 * size or not DIGITS.fullmatch(value):
        raise Malformed("digits")
    return bytes.fromhex(value)


def _number(value, bits):
    if type(value) is not int or value >> bits:
        raise Malformed("number")
    return value


def _date(value):
    found = DATE.fullmatch(value) if type(value) is str else None
    if not found:
        raise Malformed("date")
    return der.seconds(int(found[1]), "".join(found.groups()[1:]))


def _list(value):
    if type(value) is not list or len(value) > MOST:
        raise Malformed("list")
    return value


def _level(value, tcb, statuses):
    _exactly(value, ("tcb", "tcbDate", "tcbStatus"), ("advisoryIDs",))
    if value["tcbStatus"] not in statuses:
        raise Malformed("status")
    advisories = _list(value.get("advisoryIDs", []))
    if not all(type(one) is str and ADVISORY.fullmatch(one) for one in advisories):
        raise Malformed("advisory")
    return SimpleNamespace(status=value["tcbStatus"], date=_date(value["tcbDate"]), advisories=advisories, **tcb(value["tcb"]))


def _of_enclave(value):
    return {"svn": _number(_exactly(value, ("isvsvn",))["isvsvn"], 16)}


def _components(value):
    if type(value) is not list or len(value) != 16:
        raise Malformed("components")
    for one in value:
        _exactly(one, ("svn",), ("category", "type"))
        if not all(type(one.get(name, "")) is str for name in ("category", "type")):
            raise Malformed("component")
    return [_number(one["svn"], 8) for one in value]


def _of_platform(value):
    _exactly(value, ("sgxtcbcomponents", "tdxtcbcomponents", "pcesvn"))
    return {
        "sgx": _components(value["sgxtcbcomponents"]),
        "tdx": _components(value["tdxtcbcomponents"]),
        "pcesvn": _number(value["pcesvn"], 16),
    }


def _of_enclaves(value):
    return [_level(one, _of_enclave, OF_ENCLAVES) for one in _list(value)]


def _module(value, levels=None):
    return SimpleNamespace(
        mrsigner=_hex(value["mrsigner"], 48),
        attributes=_hex(value["attributes"], 8),
        attributes_mask=_hex(value["attributesMask"], 8),
        levels=levels,
    )


MODULE = ("mrsigner", "attributes", "attributesMask")


def _info(value):
    needed = "id version issueDate nextUpdate fmspc pceId tcbType tcbEvaluationDataNumber tdxModule tcbLevels".split()
    _exactly(value, needed, ("tdxModuleIdentities",))
    if _number(value["tcbType"], 64) != 0:
        raise Malformed("tcbType")
    modules = {}
    for one in _list(value.get("tdxModuleIdentities", [])):
        _exactly(one, ("id", *MODULE, "tcbLevels"))
        if type(one["id"]) is not str or one["id"] in modules:
            raise Malformed("name of a module")
        modules[one["id"]] = _module(one, _of_enclaves(one["tcbLevels"]))
    return SimpleNamespace(
        issued=_date(value["issueDate"]),
        next=_date(value["nextUpdate"]),
        fmspc=_hex(value["fmspc"], 6),
        pceid=_hex(value["pceId"], 2),
        evaluation=_number(value["tcbEvaluationDataNumber"], 32),
        module=_module(_exactly(value["tdxModule"], MODULE)),
        modules=modules,
        levels=[_level(one, _of_platform, OF_PLATFORMS) for one in _list(value["tcbLevels"])],
    )


def _identity(value):
    needed = "id version issueDate nextUpdate miscselect miscselectMask attributes attributesMask tcbEvaluationDataNumber mrsigner"
    _exactly(value, [*needed.split(), "isvprodid", "tcbLevels"])
    return SimpleNamespace(
        issued=_date(value["issueDate"]),
        next=_date(value["nextUpdate"]),
        miscselect=_hex(value["miscselect"], 4),
        miscselect_mask=_hex(value["miscselectMask"], 4),
        attributes=_hex(value["attributes"], 16),
        attributes_mask=_hex(value["attributesMask"], 16),
        evaluation=_number(value["tcbEvaluationDataNumber"], 32),
        mrsigner=_hex(value["mrsigner"], 32),
        product=_number(value["isvprodid"], 16),
        levels=_of_enclaves(value["tcbLevels"]),
    )


INFO = SimpleNamespace(member="tcbInfo", id=("TDX", 3), read=_info)
IDENTITY = SimpleNamespace(member="enclaveIdentity", id=("TD_QE", 2), read=_identity)


class Statement:
    """An answer of Intel's service, or Malformed.

    `form` is whether it says what it is; `read` is None where its id, version or members are others than they have to be.
    """

    def __init__(self, data, kind):
        if len(data) > MAX_ANSWER:
            raise Malformed("too long")
        answer, spans = strictjson.read(data)
        _exactly(answer, (kind.member, "signature"))
        inner = answer[kind.member]
        if type(inner) is not dict:
            raise Malformed("no object")
        self.signed, signature = spans[kind.member], answer["signature"]
        self.signature = bytes.fromhex(signature) if type(signature) is str and re.fullmatch("[0-9a-fA-F]{128}", signature) else b""
        named = inner.get("id"), inner.get("version")
        self.form = type(named[0]) is str and type(named[1]) is int
        self.right, self.read = named == kind.id, None
        if self.right:
            with contextlib.suppress(Malformed):
                self.read = kind.read(inner)


# ---------------------------------------------------------------- levels


def first(levels, reached):
    """The first level that is reached, or None."""
    return next((one for one in levels or () if reached(one)), None)


def module(info, version):
    """The module of a stated version, or None."""
    return info.module if version[1] == 0 else info.modules.get(f"TDX_{version[1]:02X}")


def platform_level(info, of, version):
    start = 0 if version[1] == 0 else 2

    def reached(level):
        return (
            all(own >= least for own, least in zip(of.components, level.sgx))
            and of.pcesvn >= level.pcesvn
            and all(own >= least for own, least in zip(version[start:], level.tdx[start:]))
        )

    return first(info.levels, reached)


def out_of_date(status):
    return status in ("OutOfDate", "OutOfDateConfigurationNeeded")


def join(of_platform, other):
    """A platform's status with that of something that runs on it."""
    if "Revoked" in (of_platform, other):
        return "Revoked"
    if other == "OutOfDate":
        return "OutOfDateConfigurationNeeded" if "Configuration" in of_platform else "OutOfDate"
    return of_platform


def joint(pairs, of_enclave):
    """The status of levels (platform's, module's or None) of each stated version, and of the quoting enclave's level."""
    joined = [join(one.status, two.status if two is not None else "UpToDate") for one, two in pairs]
    status = joined[0]
    if len(joined) == 2:
        now = joined[1]
        if "Revoked" in joined:
            status = "Revoked"
        elif not out_of_date(status):
            status = now
        elif not out_of_date(now):
            both = "Configuration" in status or "Configuration" in now
            status = "TDRelaunchAdvisedConfigurationNeeded" if both else "TDRelaunchAdvised"
    return join(status, of_enclave.status)
