"""Exports of the corpus whose openings show other evidence, and all that follows from it made anew. For generators and tests.

In: items of an export for which a TPM and a processor vouch together, and what is to be changed of its platform-evidence.
Out: items; KeyError where there is no such evidence. The keys are those of the corpus, made of equal bytes, and public: also its TPM's.
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from . import cbor, cose, digests, export, keys, merkle, platforms, schema, tpm

ATTESTATION = ec.derive_private_key(int.from_bytes(bytes([1]) * 32, "big"), ec.SECP256R1())
# Where a statement has the head of the log.
HEADS = {"renewal": 4, "close": 3}


def sized(data):
    return len(data).to_bytes(2, "big") + data


def signature(key, data):
    """A TPMT_SIGNATURE of P-256 with SHA-256."""
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return bytes.fromhex("0018000b") + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))


def _over(statement, qualifying):
    """A TPMS_ATTEST over other qualifying data, and its signature."""
    r = tpm.Reader(statement)
    r.take(6)
    r.tpm2b(68)
    before = statement[: r.at]
    r.tpm2b(66)
    out = before + sized(qualifying) + statement[r.at :]
    return out, signature(ATTESTATION, out)


def attested(evidence, qualifying):
    """A tpm-evidence over other qualifying data."""
    out = cbor.whole(evidence)
    for at in (3, 7):
        out[at], out[at + 1] = _over(out[at], qualifying)
    return cbor.encode(out)


def _shown(evidence, change, binding, payload):
    """Evidence of an opening, platform-evidence changed and the TPM's over it."""
    anchor = digests.anchor(binding)
    platform = change(cbor.whole(evidence[platforms.PLATFORM]), anchor)
    qualifying = digests.tagged(b"beside", anchor + digests.artifact(platform))
    payload[3][3], shown = _named({platforms.TPM: attested(evidence[platforms.TPM], qualifying), platforms.PLATFORM: platform})
    return shown


def _named(evidence):
    """(references, artifacts)."""
    references = [{1: kind, 2: digests.artifact(data)} for kind, data in evidence.items()]
    return references, [[export.ARTIFACT, cbor.encode({1: kind, 2: data})] for kind, data in evidence.items()]


def _vouched(evidence, use, tree, payload):
    """Evidence of a renewal or close, for the log as it is now."""
    said = cbor.whole(payload[3][1])
    said[HEADS[use]][2] = tree.root(said[HEADS[use]][1])
    payload[3][1] = cbor.encode(said)
    qualifying = digests.tagged(use.encode(), payload[3][1])
    payload[3][2], shown = _named({platforms.TPM: attested(evidence[platforms.TPM], qualifying)})
    return shown


def reopened(items, change):
    """change makes the bytes of a platform-evidence of a decoded one and the anchor. Checkpoints and trailer are the caller's."""
    out, tree, evidence, others = [], merkle.Tree(), {}, {}
    for kind, content in items:
        if kind == export.ARTIFACT:
            one = schema.parse(content, schema.artifact)
            if one.kind in export.EVIDENCE:
                evidence[one.kind] = one.bytes
                continue
        if kind == export.ENTRY:
            statement = cose.statement(content)
            raw = statement.payload
            for old, new in others.items():
                raw = raw.replace(old, new)
            payload = cbor.whole(raw)
            use = next((one for one in ("base", *HEADS) if f".{one}+" in statement.type), None)
            if use == "base":
                out += _shown(evidence, change, payload[3][1], payload)
            elif use:
                out += _vouched(evidence, use, tree, payload)
            evidence = {}
            old, content = digests.leaf(content), keys.sign(statement.type, statement.key_id, cbor.encode(payload))
            others[old] = digests.leaf(content)
            tree.append(others[old])
        out.append([kind, content])
    return out
