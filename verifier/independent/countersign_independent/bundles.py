"""Artifacts and bundles, docs/spec/verification.md, "What code and rules". In: artifacts, digests in force. Out: observations."""

from . import cose, digests, export, schema
from .cbor import Malformed

SIGNED, PLAIN = "application/countersign.signed-bundle+cbor", "application/countersign.bundle+cbor"


def start(judge):
    judge.bundles, judge.bundle_signers, judge.newer_bundles = {}, {}, set()


def artifact(judge, one):
    raw = judge.trust.raw
    if len(raw) >= 16 and raw in one.bytes:
        judge.report.fails("trust-source")
    if one.kind in export.EVIDENCE:
        judge.evidence[one.kind, digests.artifact(one.bytes)] = one.bytes
    elif one.kind == SIGNED:
        try:
            outer = schema.parse(one.bytes, schema.signed_bundle)
        except Malformed:
            judge.report.fails("bundle", "malformed")
            return
        _payload(judge, outer.payload, outer.signatures)
    elif one.kind == PLAIN:
        _payload(judge, one.bytes, [])


def _payload(judge, payload, signatures):
    digest = digests.artifact(payload)
    if cose.newer(payload):
        judge.report.unknown("bundle", "newer format")
        judge.newer_bundles.add(digest)
        return
    bundle = schema.attempt(payload, schema.bundle_payload)
    if bundle is None:
        judge.report.fails("bundle", "malformed payload")
        return
    judge.bundles[digest] = bundle
    keys = {digests.sha256(key): key for key in judge.trust.signers or ()}
    for one in signatures:
        said = cose.genuine(one, "bundle", keys, schema.bundle_statement)
        mine = (digest, bundle.name, bundle.environment, bundle.version)
        if said and (said.digest, said.name, said.environment, said.version) == mine:
            judge.bundle_signers.setdefault(digest, set()).add(cose.statement(one).key_id)


def in_force(judge, digest):
    """What is observed of a bundle that comes into force."""
    report, trust = judge.report, judge.trust
    if digest in judge.newer_bundles:
        report.unknown("bundle", "newer format")
        report.unknown("bundle-signers", "newer format")
        return
    if not report.holds("bundle", digest in judge.bundles, "not in the export"):
        return
    if trust.signers is None:
        report.not_made("bundle-signers")
    else:
        signers = judge.bundle_signers.get(digest, ())
        report.holds("bundle-signers", bool(trust.signers) and len(signers) >= trust.threshold, "too few")
    if trust.pinned is None:
        report.not_made("bundle-pins")
    else:
        report.holds("bundle-pins", digest in trust.pinned, "not pinned")


def agent(bundle, key_id):
    """The first agent of a bundle with this key, or None."""
    for one in bundle.registry.agents:
        if one.key is not None and digests.sha256(one.key) == key_id:
            return one
    return None


def approver(bundle, key_id):
    for one in bundle.registry.approvers:
        if digests.sha256(one.key) == key_id:
            return one
    return None
