"""Files of the auditor: trust, reference, receipts. In: bytes. Out: values, or Refused (exit code 4)."""

import re
import tomllib
from types import SimpleNamespace

from . import checkpoint, collateral, cose, ed25519, keychain, schema, snp, tdx, timestamp
from .cbor import Malformed

HEX = re.compile(r"[0-9a-fA-F]*\Z")
MOST = 2**64 - 1
# The property White_Space of Unicode; Python's own notion has four control characters more.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


CLASSES = ("hardware-tpm", "processor", "paravisor-tpm", "hypervisor-tpm", "unendorsed-tpm", "software")
# Profiles that have a processor's report.
PROFILES = {
    "snp": schema.SNP,
    "tdx": schema.TDX,
    "azure-snp": schema.AZURE_SNP,
    "azure-tdx": schema.AZURE_TDX,
    "gcp-snp": schema.GCP_SNP,
    "gcp-tdx": schema.GCP_TDX,
}
PARTIES = ("amd", "intel", "microsoft-paravisor", "google-hypervisor")


class Refused(Exception):
    """A file of the auditor's own cannot be read as said."""


def _table(value, where, known):
    if type(value) is not dict:
        raise Refused(f"{where} is no table")
    for key in value:
        if key not in known:
            raise Refused(f"{where}.{key} is not known")
    return value


def _list(value, where, check):
    if type(value) is not list:
        raise Refused(f"{where} is no list")
    return [check(one, where) for one in value]


def _digits(value, where):
    if type(value) is not str or not HEX.match(value) or len(value) % 2:
        raise Refused(f"{where} is no hexadecimal digits")
    return bytes.fromhex(value)


def _of(size):
    def check(value, where):
        out = _digits(value, where)
        if len(out) != size:
            raise Refused(f"{where} has not {size} bytes")
        return out

    return check


def _key(value, where):
    out = _of(32)(value, where)
    if ed25519.point(out) is None:
        raise Refused(f"{where} is no key")
    return out


def _release(value, where):
    out = _digits(value, where)
    if len(out) < 32:
        raise Refused(f"{where} is too short")
    return out


def _number(value, where, least=0):
    if type(value) is not int or not least <= value <= MOST:
        raise Refused(f"{where} is no unsigned number")
    return value


def _words(value, where):
    if type(value) is not str or not value.strip(SPACE):
        raise Refused(f"{where} is no text")
    return value.strip(SPACE)


def _class(value, where):
    if type(value) is not str or value not in CLASSES:
        raise Refused(f"{where} is no class")
    return value


def _provider(value, where):
    if type(value) is not str or not 1 <= len(value) <= 64 or not all("!" <= c <= "~" for c in value):
        raise Refused(f"{where} is no name")
    return value


def _party(value, where):
    if type(value) is not str:
        raise Refused(f"{where} is no party")
    for before in ("cloud-provider:", "tpm-manufacturer:"):
        if value.startswith(before):
            _provider(value.removeprefix(before), where)
            return value
    return _one_of(PARTIES)(value, where)


def _one_of(words):
    def check(value, where):
        if type(value) is not str or value not in words:
            raise Refused(f"{where} is none of the words")
        return value

    return check


def _below(most):
    def check(value, where):
        if _number(value, where) >= most:
            raise Refused(f"{where} is too large")
        return value

    return check


def _flag(value, where):
    if type(value) is not bool:
        raise Refused(f"{where} is no truth value")
    return value


def _text(value, where):
    if type(value) is not str:
        raise Refused(f"{where} is no text")
    return value


def _numbers(count):
    """Text of so many numbers from 0 to 255, with full stops between."""

    def check(value, where):
        parts = value.split(".") if type(value) is str else []
        if len(parts) != count or not all(re.fullmatch("0|[1-9][0-9]{0,2}", one) and int(one) < 256 for one in parts):
            raise Refused(f"{where} is no version")
        return tuple(int(one) for one in parts)

    return check


def _rows(data, key, names, where):
    rows = data.get(key, [])
    if type(rows) is not list:
        raise Refused(f"{where} is no array of tables")
    return [_table(row, where, names) for row in rows]


def _keys(data, table, key, check, others=()):
    """The list `table.key`: None if the table is absent, refused if the table is there without it."""
    if table not in data:
        return None
    rows = _table(data[table], table, (key, *others))
    if key not in rows:
        raise Refused(f"{table}.{key} is absent")
    return _list(rows[key], f"{table}.{key}", check)


def _toml(data, known):
    try:
        out = tomllib.loads(data.decode("utf-8").removeprefix("\ufeff"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as e:
        raise Refused(str(e)) from None
    _table(out, "file", known)
    if type(out.get("version")) is not int or out["version"] != 1:
        raise Refused("version")
    return out


def _reference(data):
    out = SimpleNamespace(build=None, configuration=None, pcrs=None, launch={}, rtmrs=None)
    _table(data, "reference", ("build", "configuration", "launch", "pcrs", "rtmrs", "version"))
    for key in ("build", "configuration"):
        if key in data:
            setattr(out, key, _list(data[key], key, _of(32)))
    if "launch" in data:
        rows = _table(data["launch"], "launch", PROFILES)
        out.launch = {PROFILES[name]: _list(values, "launch", _of(48)) for name, values in rows.items()}
    if "rtmrs" in data:
        rows = _table(data["rtmrs"], "rtmrs", {str(i) for i in range(4)})
        out.rtmrs = {int(i): _list(values, "rtmrs", _of(48)) for i, values in rows.items()}
    if "pcrs" in data:
        rows = _table(data["pcrs"], "pcrs", {str(i) for i in range(24)})
        out.pcrs = {int(i): _list(values, "pcrs", _of(32)) for i, values in rows.items()}
    return out


def reference(data):
    return _reference(_toml(data, ("version", "build", "configuration", "launch", "pcrs", "rtmrs")))


def _witness(row):
    value = row.get("key")
    if type(value) is not str or value.count("+") < 2:
        raise Refused("witnesses.key")
    name, hash_, content = value.split("+", 2)
    try:
        content = checkpoint.unbase64(content)
    except Malformed:
        raise Refused("witnesses.key") from None
    key = content[1:]
    if not checkpoint.good_name(name) or len(content) != 33 or content[0] != 4 or ed25519.point(key) is None:
        raise Refused("witnesses.key")
    if hash_ != checkpoint.key_hash(name, 4, key).hex():
        raise Refused("witnesses.key")
    own = row.get("own", False)
    if type(own) is not bool:
        raise Refused("witnesses.own")
    hash_ = checkpoint.key_hash(name, 4, key)
    return SimpleNamespace(name=name, key=key, hash=hash_, organisation=_words(row.get("organisation"), "organisation"), own=own)


def _root(value):
    if type(value) is not str:
        raise Refused("timestamping.root")
    word = value.strip(SPACE)
    if word.startswith("-----BEGIN CERTIFICATE-----") and word.endswith("-----END CERTIFICATE-----"):
        inner = "".join(c for c in word[27:-25] if c not in SPACE)
        try:
            der = checkpoint.unbase64(inner)
        except Malformed:
            raise Refused("timestamping.root") from None
    else:
        der = _digits(word, "timestamping.root")
    try:
        return timestamp.root(der)
    except Malformed:
        raise Refused("timestamping.root") from None


# ---------------------------------------------------------------- what is accepted of processors and clouds


def _read(table, where, known):
    """A table by its keys, each with its check and what it is if absent."""
    _table(table, where, known)
    out = {}
    for name, (check, absent) in known.items():
        if name not in table and absent is Refused:
            raise Refused(f"{where}.{name} is absent")
        out[name] = check(table[name], f"{where}.{name}") if name in table else absent
    return SimpleNamespace(**out)


def _many(check):
    return lambda value, where: _list(value, where, check)


def _floor(value, where):
    byte = _below(256)
    known = {name: (byte, Refused) for name in ("bootloader", "tee", "snp", "microcode")}
    read = _read(value, where, {**known, "fmc": (byte, None)})
    return {name: least for name, least in vars(read).items() if least is not None}


def _big_endian(size):
    return lambda value, where: int.from_bytes(_of(size)(value, where), "big")


def _products(value, where):
    known = {
        "name": (_one_of(snp.PRODUCTS), Refused),
        "floor": (_floor, None),
        "firmware": (_numbers(3), None),
        "mitigations": (_big_endian(8), None),
        "chips": (_many(_of(64)), None),
    }
    rows = _list(value, where, lambda one, where: _read(one, where, known))
    out = {one.name: one for one in rows}
    if len(out) != len(rows):
        raise Refused(f"{where}: one twice")
    return out


def _amd_roots(value, where):
    known = {"product": (_one_of(snp.PRODUCTS), Refused), "key": (_of(48), Refused)}
    rows = _list(value, where, lambda one, where: _read(one, where, known))
    return [(one.product, one.key) for one in rows]


def _snp(table):
    return _read(
        table,
        "snp",
        {
            "products": (_products, Refused),
            "revocation": (_one_of(("required", "optional")), "required"),
            "vmpl": (_number, 0),
            "providers": (_many(_provider), []),
            "denied_chips": (_many(_of(64)), []),
            "guest_abi": (_numbers(2), None),
            "guest_required": (_many(_one_of(snp.GUEST)), []),
            "guest_forbidden": (_many(_one_of(snp.GUEST)), []),
            "platform_required": (_many(_one_of(snp.PLATFORM)), ["alias-check"]),
            "platform_forbidden": (_many(_one_of(snp.PLATFORM)), []),
            "host_data": (_of(32), None),
            "id_keys": (_many(_of(48)), None),
            "author_keys": (_many(_of(48)), None),
            "guest_svn": (_below(2**32), None),
            "roots": (_amd_roots, snp.ROOTS),
        },
    )


def _azure(table):
    return _read(
        table,
        "azure",
        {
            "secure_boot": (_flag, True),
            "tpm_persisted": (_flag, True),
            "console_off": (_flag, True),
            "old_key_operation": (_flag, False),
        },
    )


def _tdx(table):
    return _read(
        table,
        "tdx",
        {
            "statuses": (_many(_one_of([one for one in collateral.STATUSES if one != "Revoked"])), ["UpToDate"]),
            "grace_days": (_below(2**32), 0),
            "denied_advisories": (_many(_text), []),
            "evaluation_floor": (_below(2**32), None),
            "tee_tcb_floor": (_of(16), None),
            "mrseam": (_many(_of(48)), None),
            "features": (_many(_one_of(tdx.FEATURES)), []),
            "flags": (_many(_one_of(tdx.FLAGS)), []),
            "sept_ve": (_one_of(("must-be-disabled", "azure-paravisor")), "must-be-disabled"),
            "xfam": (_big_endian(8), 0x6DBE7),
            "mrconfigid": (_many(_of(48)), [bytes(48)]),
            "mrowner": (_many(_of(48)), [bytes(48)]),
            "mrownerconfig": (_many(_of(48)), [bytes(48)]),
            "platforms": (_many(_of(16)), None),
            "denied_platforms": (_many(_of(16)), []),
            "roots": (_many(_of(32)), [tdx.ROOT]),
        },
    )


def _endorsement(value, where):
    return _read(
        value,
        where,
        {
            "roots": (_many(_of(48)), Refused),
            "firmware": (_many(_of(48)), None),
            "svn_floor": (_below(2**32), None),
            "stands_for_launch": (_flag, False),
        },
    )


def _instances(value, where):
    known = {"project": (_text, Refused), "id": (_number, Refused)}
    rows = _list(value, where, lambda one, where: _read(one, where, known))
    return {(one.project, one.id) for one in rows}


def _gcp(table):
    return _read(
        table,
        "gcp",
        {
            "instances": (_instances, None),
            "roots": (_many(_of(48)), keychain.GOOGLES_ROOTS),
            "endorsement": (_endorsement, None),
        },
    )


def trust(data):
    """The trust file."""
    tables = ("version", "governance", "gateways", "evidence", "release", "bundles", "witnesses", "log", "timestamping", "reference")
    tables += ("snp", "tdx", "azure", "gcp")
    toml = _toml(data, tables)
    out = SimpleNamespace(raw=data)
    out.governance = _keys(toml, "governance", "keys", _key) or []
    out.gateways = _keys(toml, "gateways", "ids", _of(32)) or []
    evidence = _table(toml.get("evidence", {}), "evidence", ("accept", "attestation_keys", "parties"))
    out.accept = _list(evidence.get("accept", ["hardware-tpm"]), "evidence.accept", _class)
    out.parties = _list(evidence["parties"], "evidence.parties", _party) if "parties" in evidence else None
    readers = {"snp": _snp, "tdx": _tdx, "azure": _azure, "gcp": _gcp}
    out.snp, out.tdx, out.azure, out.gcp = (read(toml[name]) if name in toml else None for name, read in readers.items())
    out.attestation_keys = set()
    for row in _rows(evidence, "attestation_keys", ("name", "checked_by"), "evidence.attestation_keys"):
        out.attestation_keys.add(_of(34)(row.get("name"), "attestation_keys.name"))
        _words(row.get("checked_by"), "attestation_keys.checked_by")
    out.release = _keys(toml, "release", "keys", _release)
    out.signers = _keys(toml, "bundles", "signers", _key, ("threshold", "pinned"))
    bundles = toml.get("bundles", {})
    out.threshold = _number(bundles.get("threshold", 1), "bundles.threshold", 1)
    if out.signers and out.threshold > len(set(out.signers)):
        raise Refused("bundles.threshold")
    out.pinned = _list(bundles["pinned"], "bundles.pinned", _of(32)) if "pinned" in bundles else None
    out.witnesses = [_witness(row) for row in _rows(toml, "witnesses", ("key", "organisation", "own"), "witnesses")]
    if len({w.name for w in out.witnesses}) != len(out.witnesses) or len({w.key for w in out.witnesses}) != len(out.witnesses):
        raise Refused("witnesses: one twice")
    out.independent = {w.organisation for w in out.witnesses if not w.own}
    log = _table(
        toml.get("log", {}), "log", ("max_unseen_seconds", "min_witnesses", "max_unquoted_tail_seconds", "max_gap", "max_age_seconds")
    )
    for key in log:
        _number(log[key], "log." + key)
    out.max_unseen = log.get("max_unseen_seconds")
    out.min_witnesses = log.get("min_witnesses")
    if out.min_witnesses is not None and not 1 <= out.min_witnesses <= len(out.independent):
        raise Refused("log.min_witnesses")
    out.max_tail = min(log.get("max_unquoted_tail_seconds", 1200) * 1000, MOST)
    out.max_gap = log.get("max_gap", 0)
    out.max_age = log.get("max_age_seconds")
    out.roots = []
    for row in _rows(toml, "timestamping", ("name", "root"), "timestamping"):
        _words(row.get("name"), "timestamping.name")
        out.roots.append(_root(row.get("root")))
    table = toml.get("reference", {})
    if type(table) is dict and "version" in table:
        raise Refused("reference.version")
    out.reference = _reference(table)
    return out


def receipts(data):
    """The encoded receipts of a file."""
    out = []
    if data.isascii():
        for line in data.decode("ascii").split("\n"):
            if line.strip(SPACE):
                try:
                    out.append(checkpoint.unbase64(line.strip(SPACE)))
                except Malformed:
                    raise Refused("receipts: no base64") from None
    else:
        while data:
            try:
                end = cose.tagged_item(data)
            except Malformed:
                raise Refused("receipts: no statement") from None
            out.append(data[:end])
            data = data[end:]
    if not out:
        raise Refused("receipts: none")
    return out
