"""Judges one export, docs/spec/verification.md, "Reading".

In: a stream, and what the auditor gives. Out: a Report. What is kept from leaf to leaf stands in Judge; the modules beside it
hold the checks: epochs, calls, erasures, stops, sequences, bundles, outside.
"""

from types import SimpleNamespace

from . import adoption, bundles, calls, cose, digests, epochs, erasures, export, merkle, outside, query, receipts, schema, sequences, stops
from .cbor import Malformed
from .ranges import Ranges
from .report import Report

MOST = 2**64 - 1


class Judge:
    def __init__(self, trust, reference=None, receipts_given=(), checkpoints=(), now=0, question=None):
        self.trust, self.now = trust, now
        self.reference = reference or trust.reference
        self.report = Report()
        self.manifest = None
        self.tree = merkle.Tree()
        self.position = self.next = 0
        self.entries_read = self.withheld = 0
        self.counts = dict.fromkeys(("entries", "leaves", "artifacts", "disclosures", "checkpoints", "timestamps"), 0)
        self.latest = None  # largest `at` of well-formed entries
        self.first_at = None
        self.last_withheld, self.withheld_at = -1, Ranges()
        self.last_leaf = None  # hash of the leaf before, None where a root hides it
        self.keyring = {}
        self.openings = []
        self.pending = None
        self.evidence = self.evidence_before = {}  # since the last leaf, and before the one that is judged: by kind and digest
        epochs.start(self)
        calls.start(self)
        erasures.start(self)
        stops.start(self)
        sequences.start(self)
        bundles.start(self)
        adoption.start(self)
        outside.start(self, checkpoints)
        receipts.start(self, receipts_given)
        query.start(self, question)

    # ------------------------------------------------------------ reading

    def read(self, stream):
        order = export.Order()
        good = False
        try:
            for kind, content, before in export.items(stream):
                check = export.CONTENT.get(kind)
                value = schema.parse(content, check) if check else None
                order.see(kind, value)
                self._item(kind, content, value, before)
            good = order.ended
            why = "ends without a trailer"
        except Malformed as e:
            why = str(e)
        self.report.holds("framing", good, why if not good else None)
        self._flush()
        self._end()
        return self.report

    def _item(self, kind, content, value, before):
        if kind == export.DISCLOSURES:
            self.pending.disclosures = content
            return
        if kind == export.TENANT_PROOF:
            self.pending.proof = value
            return
        if kind == export.LEAF and len(content) != 32:
            raise Malformed("leaf")
        if kind == export.SPAN:
            levels = self._levels(value)
        self._flush()
        if kind in (export.ENTRY, export.LEAF) and self.position >= MOST:
            raise Malformed("index above 2^64 - 2")
        if kind == export.MANIFEST:
            self._manifest(value)
        elif kind == export.ARTIFACT:
            self.counts["artifacts"] += 1
            bundles.artifact(self, value)
            adoption.artifact(self, value)
        elif kind == export.ENTRY:
            self.counts["entries"] += 1
            self.pending = SimpleNamespace(data=content, disclosures=None, proof=None)
            self.evidence, self.evidence_before = {}, self.evidence
        elif kind == export.LEAF:
            receipts.leaf(self, content)
            self._withhold([0], [content])
        elif kind == export.SPAN:
            receipts.span(self, levels, value.roots)
            self._withhold(levels, value.roots)
        elif kind == export.CHECKPOINT:
            self.counts["checkpoints"] += 1
            outside.checkpoint(self, content)
        elif kind == export.TIMESTAMP:
            self.counts["timestamps"] += 1
            outside.timestamp(self, value)
        elif kind == export.TRAILER:
            for name, number in self.counts.items():
                self.report.holds("trailer", getattr(value, name) == number, name)
            self.report.holds("trailer", value.digest == before, "digest")

    def _levels(self, span):
        self._flush()
        if span.count < 2 or self.position + span.count > MOST or self.starts_late:
            raise Malformed("span")
        levels = merkle.division(self.position, span.count)
        if len(levels) != len(span.roots):
            raise Malformed("span with other roots")
        return levels

    @property
    def starts_late(self):
        return self.manifest is not None and self.manifest.first > 0

    def _manifest(self, manifest):
        self.manifest, report = manifest, self.report
        self.position = self.next = manifest.first
        report.holds("gateway", manifest.gateway == digests.sha256(manifest.identity_key), "not of its key")
        if self.trust.gateways:
            report.holds("gateway", manifest.gateway in self.trust.gateways, "not one of the trust file's")
        if manifest.format != 1:
            report.unknown("extensions", "format of the export")
        named = (manifest.tenant is not None, manifest.run is not None)
        wanted = {schema.WHOLE: (False, False), schema.TENANT: (True, False), schema.RUN: (True, True)}[manifest.scope]
        period = manifest.period
        report.holds("scope", named == wanted and (not period or period.from_ < period.until), "manifest")
        outside.manifest(self)

    def _withhold(self, levels, roots):
        for level, root in zip(levels, roots):
            self.tree.append(root, level)
        count = sum(1 << level for level in levels)
        self.evidence = {}
        self.counts["leaves"] += count
        self.withheld += count
        self.last_withheld = self.position + count - 1
        self.withheld_at.add(self.position, self.last_withheld)
        sequences.withhold(self)
        self.next = min(self.next + count, MOST)
        self._grow(count, roots[-1] if levels[-1] == 0 else None)

    def _grow(self, count, hash_):
        self.position += count
        self.last_leaf = hash_
        outside.grown(self)
        adoption.grown(self)

    # ------------------------------------------------------------ an entry

    def _flush(self):
        if self.pending is None:
            return
        pending, self.pending = self.pending, None
        report = self.report
        what, statement, entry = cose.entry(pending.data)
        digest = digests.leaf(pending.data)
        opened = None
        if pending.disclosures is not None:
            opened = schema.attempt(pending.disclosures, schema.disclosures)
            self.counts["disclosures"] += len(opened or ())
        if what == "well formed" and entry.kind == "base":
            epochs.learn_key(self, entry.body)
        if what == "well formed":
            entry.digest, entry.index, entry.statement = digest, self.position, statement
            entry.proof, entry.given, entry.opened = pending.proof, opened, {}
            entry.proof_judged, entry.commitments_opened = False, set()
            entry.has_disclosures = pending.disclosures is not None
            self._well_formed(entry)
        else:
            if statement is not None:
                report.holds("signatures", self._signed(statement), f"entry {self.position}")
            if what == "newer":
                report.unknown("extensions", f"entry {self.position} is of a newer format")
            else:
                report.fails("entries", f"entry {self.position}")
            self.next = min(self.next + 1, MOST)
        self.tree.append(digest)
        self.entries_read += 1
        self._grow(1, digest)

    def _signed(self, statement):
        key = self.keyring.get(statement.key_id)
        return key is not None and statement.valid(key)

    def _well_formed(self, entry):
        report, place = self.report, entry.place
        report.held("entries")
        if entry.critical is None:
            report.held("extensions")
        else:
            report.unknown("extensions", f"entry {entry.index} has a critical extension")
        report.holds("leaves", place.index == self.next, f"entry {entry.index}")
        self.next = max(min(place.index + 1, MOST), self.next)
        report.holds("clock-order", self.latest is None or place.at >= self.latest, f"entry {entry.index}")
        sequences.entry(self, entry)
        self.latest = place.at if self.latest is None else max(self.latest, place.at)
        if self.first_at is None:
            self.first_at = place.at
        outside.entry(self, entry)
        report.holds("signatures", self._signed(entry.statement), f"entry {entry.index}")
        if entry.kind == "base":
            epochs.opening(self, entry)
        epochs.belongs(self, entry)
        sequences.tenant(self, entry)
        sequences.run(self, entry)
        calls.disclosed(self, entry)
        {
            "enrol": epochs.enrol,
            "renewal": epochs.renewal,
            "close": epochs.close,
            "gap": epochs.gap,
            "adopt": adoption.entry,
            "change": epochs.change,
            "event": epochs.event,
            "intent": calls.intent,
            "decision": calls.decision,
            "approval-entry": calls.approval,
        }.get(entry.kind, lambda *_: None)(self, entry)
        erasures.entry(self, entry)
        stops.entry(self, entry)
        if entry.proof is not None and not entry.proof_judged:
            sequences.stray_proof(self)
        query.entry(self, entry)
        receipts.entry(self, entry)

    # ------------------------------------------------------------ the end

    def _end(self):
        report, trust = self.report, self.trust
        if trust.governance or trust.gateways:
            report.held("trust-anchor")
        else:
            report.not_made("trust-anchor")
        if not report.seen["trust-source"]["failed"]:
            report.held("trust-source")
        if self.manifest is not None:
            if self.entries_read or self.withheld:
                report.holds("leaves", self.manifest.end == self.position, "end")
                outside.coverage(self)
                sequences.end(self)
            else:
                report.unknown("entries", "none")
        outside.end(self)
        epochs.end(self)
        calls.end(self)
        erasures.end(self)
        receipts.end(self)
        epochs.enrolment(self)
        adoption.end(self)
        query.end(self)

