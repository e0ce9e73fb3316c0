"""Signed requests of callers, docs/spec/verification.md, "Signed requests". In: a caller-proof. Out: the content digest."""

import re

from . import checkpoint, ed25519
from .cbor import Malformed

STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
PARAMETER = re.compile(r";([a-z*][a-z0-9_.*-]{0,63})=")
NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")


def _string(value, at):
    found = STRING.match(value, at)
    if not found:
        raise Malformed("no string")
    out = re.sub(r'\\(["\\])', r"\1", found[1])
    if len(out) > 256:
        raise Malformed("string too long")
    return out, found.end()


def _base(data):
    """(lines by name, parameters), or Malformed."""
    if len(data) > 16_384 or any(c != 0x0A and not 0x20 <= c <= 0x7E for c in data):
        raise Malformed("base")
    lines = []
    for line in data.decode("ascii").split("\n"):
        if not line.startswith('"') or '": ' not in line[1:]:
            raise Malformed("line")
        lines.append(line[1:].split('": ', 1))
    names = [name for name, _ in lines]
    if names[-1] != "@signature-params" or "@signature-params" in names[:-1]:
        raise Malformed("last line")
    value, at = lines[-1][1], 1
    if not value.startswith("("):
        raise Malformed("parameters")
    covered = []
    while value[at : at + 1] != ")":
        if covered:
            if value[at : at + 1] != " ":
                raise Malformed("components")
            at += 1
        one, at = _string(value, at)
        covered.append(one)
    at += 1
    if len(covered) > 32 or len(set(covered)) != len(covered) or covered != names[:-1]:
        raise Malformed("components")
    parameters = {}
    while at < len(value):
        found = PARAMETER.match(value, at)
        if not found or found[1] in parameters:
            raise Malformed("parameter")
        name, at = found[1], found.end()
        if name in ("created", "expires"):
            number = NUMBER.match(value, at)
            if not number:
                raise Malformed("number")
            parameters[name], at = int(number[0]), number.end()
        elif name in ("keyid", "nonce", "alg", "tag"):
            parameters[name], at = _string(value, at)
        else:
            raise Malformed("unknown parameter")
    return dict(lines[:-1]), parameters


def content_digest(proof):
    """The covered content digest of a proof that holds, or None."""
    try:
        covered, parameters = _base(proof.signature_base)
        if "@method" not in covered or "content-digest" not in covered:
            return None
        if "@target-uri" not in covered and not ("@authority" in covered and "@path" in covered):
            return None
        if parameters.get("alg") != "ed25519" or parameters.get("tag") != "countersign":
            return None
        if len(parameters.get("nonce", "")) < 16 or "created" not in parameters or "keyid" not in parameters:
            return None
        word = covered["content-digest"]
        if not word.startswith("sha-256=:") or not word.endswith(":") or len(word) < 10:
            return None
        digest = checkpoint.unbase64(word[9:-1])
    except Malformed:
        return None
    if len(digest) != 32 or not ed25519.verify(proof.key, proof.signature, proof.signature_base):
        return None
    return digest
