"""The file of an export, docs/spec/export.md and verification.md, "Reading".

In: a stream. Out: (kind, content, start, digest of all bytes before it), in order; or Malformed where framing ends.
"""

import hashlib

from . import schema
from .cbor import Malformed, head

MAGIC = b"\xd9\xd9\xf7\x74countersign-export-1"
MAX_ITEM = 33_554_432
MAX_EVIDENCE = 16
EVIDENCE = ("application/countersign.tpm-evidence+cbor", "application/countersign.platform-evidence+cbor")
MANIFEST, ARTIFACT, ENTRY, LEAF, DISCLOSURES, CHECKPOINT, TRAILER, SPAN, TENANT_PROOF, TIMESTAMP = range(10)


def items(stream):
    """Items as they come, with the SHA-256 of what stands before each."""
    hasher = hashlib.sha256()

    def take(size):
        out = stream.read(size)
        if len(out) != size:
            raise Malformed("ends early")
        return out

    magic = take(len(MAGIC))
    if magic != MAGIC:
        raise Malformed("no magic")
    hasher.update(magic)
    while True:
        first = stream.read(1)
        if not first:
            return
        start = first + take(2)
        if start[0] != 0x82 or start[1] > 9 or start[2] >> 5 != 2:
            raise Malformed("no item")
        low = start[2] & 31
        if 24 <= low <= 27:
            start += take(1 << (low - 24))
        size = head(start, 2)[1]
        if size > MAX_ITEM:
            raise Malformed("item too large")
        content = take(size)
        yield start[1], content, hasher.digest()
        hasher.update(start)
        hasher.update(content)


class Order:
    """Refuses items that stand where they must not."""

    def __init__(self):
        self.manifest = self.leaves = self.ended = False
        self.after_entry = set()
        self.before = None
        self.evidence = 0

    def see(self, kind, value):
        """An item of this kind; value is that of its content, where it has a structure."""
        evidence = kind == ARTIFACT and value.kind in EVIDENCE
        if self.before == EVIDENCE and not evidence and kind != ENTRY and (kind != ARTIFACT or self.leaves):
            raise Malformed("evidence before no entry")
        if evidence:
            self.evidence += 1
            if self.evidence > MAX_EVIDENCE:
                raise Malformed("more evidence than one entry has")
        elif kind in (ENTRY, LEAF, SPAN):
            self.evidence = 0
        if self.ended or (kind == MANIFEST) == self.manifest:
            raise Malformed("order")
        if kind == MANIFEST:
            self.manifest = True
        elif kind == ARTIFACT:
            if self.leaves and not evidence:
                raise Malformed("artifact after leaves")
        else:
            self.leaves = True
        if kind in (DISCLOSURES, TENANT_PROOF):
            if self.before not in (ENTRY, DISCLOSURES, TENANT_PROOF) or kind in self.after_entry:
                raise Malformed("order")
            self.after_entry.add(kind)
        else:
            self.after_entry = set()
        if kind == TIMESTAMP and self.before not in (CHECKPOINT, TIMESTAMP):
            raise Malformed("timestamp after no checkpoint")
        self.ended = kind == TRAILER
        self.before = EVIDENCE if evidence else kind


CONTENT = {
    MANIFEST: schema.manifest,
    ARTIFACT: schema.artifact,
    SPAN: schema.span,
    TENANT_PROOF: schema.tenant_proof,
    TIMESTAMP: schema.timestamp,
    TRAILER: schema.trailer,
}
